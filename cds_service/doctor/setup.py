"""What the doctor examines: the files and options that were named, and the environment that `serve` would see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from cds_service.clinical.approval import ceiling_defects, defects
from cds_service.ehr.gathering import Sources
from cds_service.ehr.servers import Server
from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.knowledge import Knowledge
from cds_service.knowledge.loader import FOLDER, banned_words
from cds_service.knowledge.shapes import Reviewed
from cds_service.rendering import wording
from cds_service.settings import DEFAULT_SITE, Settings, Site
from cds_service.starting import Library
from cds_service.tenants import Tenant, TenantsFile
from cds_service.tenants import defects as tenant_defects

# Settings that are of use all together, or not at all.
_SIGN_ON: Final = "CDS_INSIGHTS_OIDC_"


@dataclass(frozen=True, slots=True)
class Place:
    """A hospital that is served: by which name we call it, its site, and whose calls it is for."""

    name: str
    site: Site
    tenant: Tenant | None = None
    has_file: bool = True


@dataclass(frozen=True, eq=False)
class Setup:
    """
    The setup as it was typed. Whatever is worked out from it is worked out once, and changes nothing.

    With `tenants`, and without `insecure`, it is one for production. `url` is where the EHR calls. `fhir_server`,
    `patient` and `token` are for looking at a chart as the EHR would. `clock` tells the time as an aware datetime.
    `mounts` tells on what kind of disk a file lies.
    """

    environment: Mapping[str, str] = field(repr=False)
    clock: Callable[[], datetime]
    site: Path | None = None
    tenants: Path | None = None
    insecure: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    url: str | None = None
    fhir_server: str | None = None
    patient: str | None = None
    token: str | None = field(default=None, repr=False)
    mounts: Path = Path("/proc/mounts")

    @property
    def production(self) -> bool:
        return self.tenants is not None and not self.insecure

    @property
    def listens_here_alone(self) -> bool:
        """Can nobody but this machine reach the address that is listened on?"""
        host = f"[{self.host}]" if ":" in self.host else self.host
        server = Server.at(f"http://{host}")
        return server is not None and server.is_here

    @property
    def base_url(self) -> str:
        """The address that tokens must be for."""
        return self.settings.public_base_url or f"http://{self.host}:{self.port}"

    # --- the environment ----------------------------------------------------------------------------

    @cached_property
    def _read(self) -> tuple[Settings, Mapping[str, str]]:
        """
        The settings, without those that cannot be used; and what is wrong with these, by variable.

        A start ends at the first of them. Here it is left out, and the rest is read again.
        """
        usable, found = dict(self.environment), dict[str, str]()
        while True:
            try:
                return Settings.from_environment(usable), found
            except SiteUnfit as unfit:
                before = len(usable)
                for line in unfit.defects:
                    name = line.partition(":")[0]
                    found.setdefault(name, line)
                    usable.pop(name, None)
                if len(usable) == before:  # what is wrong is what is missing: then those go that would need it
                    usable = {name: value for name, value in usable.items() if not name.startswith(_SIGN_ON)}

    @property
    def settings(self) -> Settings:
        return self._read[0]

    @property
    def unusable(self) -> Mapping[str, str]:
        """The variables that a start would refuse, each with the line that says so."""
        return self._read[1]

    # --- the knowledge and the files ----------------------------------------------------------------

    @property
    def library(self) -> Library | None:
        return shipped().library

    @property
    def knowledge(self) -> Knowledge | None:
        return self.library.knowledge if self.library is not None else None

    @property
    def reviews_due(self) -> Mapping[str, Reviewed]:
        """When each table and each card should be read again."""
        return shipped().reviews_due

    @cached_property
    def tenants_file(self) -> TenantsFile | None:
        """The tenants file, if it can be used."""
        try:
            return None if self.tenants is None else TenantsFile.from_file(self.tenants, production=self.production)
        except SiteUnfit:
            return None

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every hospital whose site file can be read; without a file, the site that offers no medicine."""
        if self.tenants is not None:
            file = self.tenants_file
            tenants = () if file is None else file.tenants
            return tuple(
                Place(f"tenant {t.id}", file.site_of(t), t, has_file=t.site is not None) for t in tenants if file
            )
        if self.site is None:
            return (Place("", DEFAULT_SITE, has_file=False),)
        try:
            return (Place(str(self.site), Site.from_file(self.site)),)
        except SiteUnfit:
            return ()

    def knows_topics(self, codes: Iterable[str]) -> bool:
        """Does the knowledge have all of these topics?"""
        return self.knowledge is not None and {row.code for row in self.knowledge.topics.topic} >= set(codes)

    @cached_property
    def refused(self) -> tuple[str, ...]:
        """Every line with which `serve` would refuse to start: all of them, not those of the first file alone."""
        return tuple(dict.fromkeys(self._refused()))

    def _refused(self) -> Iterator[str]:
        yield from self.unusable.values()
        if self.production:
            yield from _lines(self.settings.fit_for_production, but=self.unusable)
        yield from shipped().defects
        tables, tenants, site = self.knowledge, self.tenants, self.site
        if tenants is not None:
            yield from _lines(lambda: TenantsFile.from_file(tenants, production=self.production))
        elif site is not None:
            yield from _lines(lambda: Site.from_file(site))
        for place in self.places if self.library is not None else ():
            for line in _of_site(place.site, self.library):
                yield f"{place.name}: {line.removeprefix('site: ')}"
        if self.tenants_file is not None and tables is not None:
            yield from tenant_defects(self.tenants_file, tables)


@dataclass(frozen=True, slots=True)
class Shipped:
    """The knowledge and the cards of this program, with what is wrong with them."""

    library: Library | None
    defects: tuple[str, ...] = ()
    reviews_due: Mapping[str, Reviewed] = field(default_factory=dict)


@cache
def shipped() -> Shipped:
    """Read once: while this program runs, they stay what they are."""
    try:
        library = Library()
    except KnowledgeUnfit as unfit:
        return Shipped(None, unfit.defects)
    tables = library.knowledge
    found = (*ceiling_defects(tables), *wording.defects(None, tables, banned_words(FOLDER)))
    if found:
        return Shipped(library, found, tables.reviews_due)
    return Shipped(library, (), {**tables.reviews_due, **wording.load_wording(knowledge=tables).reviews_due})


def _of_site(site: Site, library: Library | None) -> Iterator[str]:
    """What a start with this site file would refuse."""
    if library is None:
        return
    tables = library.knowledge
    if site.terminology is not None:
        yield from _lines(lambda: library.of(site))
    yield from _lines(lambda: library.spoken(site.language, tables))
    yield from defects(site, tables)
    yield from _lines(lambda: Sources.of(site, tables))


def _lines(read: Callable[[], object], but: Mapping[str, object] = {}) -> Iterator[str]:
    """What is wrong with what is read, a line each; without lines about the settings that are told elsewhere."""
    try:
        read()
    except (SiteUnfit, KnowledgeUnfit) as unfit:
        yield from (line for line in unfit.defects if line.partition(":")[0] not in but)
