"""
Opens the house: from the settings and the tenants file to an application that keeps in step with them.

First all that is read is found fit. Only then is a store opened, and with it brought up to date: after a start that was
refused the version before must still run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cds_service.advisor import Advisor
from cds_service.database import Database
from cds_service.ehr.keys import Keys
from cds_service.ehr.trust import Trust
from cds_service.errors import SiteUnfit
from cds_service.events import Event, listen, silence, tell
from cds_service.explanations import Explanations
from cds_service.knowledge import Knowledge
from cds_service.records import Records
from cds_service.records.memory import Memory
from cds_service.records.pseudonyms import Pseudonyms
from cds_service.settings import Settings, Site, Terms
from cds_service.starting import Library, advisor_at
from cds_service.tenants import Tenant, TenantsFile
from cds_service.tenants import defects as tenant_defects
from cds_service.web.app import create_app
from cds_service.web.house import House
from cds_service.web.load import Load
from cds_service.web.metrics import Metrics
from cds_service.web.reloading import Built, Reloading

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_AT_ONCE: Final = 16
silence("alembic.runtime.migration")  # it would tell of each step, and nothing that is not told at start anyway


@dataclass(frozen=True)
class Shared:
    """What outlives a change of the tenants file: the stores, the counters, the time, the load, and what was read."""

    settings: Settings
    clock: Callable[[], datetime]
    records: Records
    pseudonyms: Pseudonyms
    explanations: Explanations | None
    metrics: Metrics
    load: Load
    library: Library = field(default_factory=Library)

    @classmethod
    def by(cls, settings: Settings, clock: Callable[[], datetime], library: Library, here: str) -> Shared:
        """
        As the settings say; links lead `here` unless they name another address. Raises SiteUnfit for a store.

        Without a key of its own, which production demands, the audit names patients otherwise after each start.
        """
        explanations = None
        if settings.explanation_key is not None:
            base = settings.public_base_url or here
            explanations = Explanations.at(settings.explanations, settings.explanation_key, base)
        pseudonyms = Pseudonyms(settings.audit_key or os.urandom(32))
        records = Records.at(settings.database)
        metrics = Metrics(library.knowledge, ())
        return cls(settings, clock, records, pseudonyms, explanations, metrics, Load(), library)

    def memory(self, terms: Terms) -> Memory:
        return Memory(self.records.trail, self.pseudonyms, terms)


@dataclass
class Tenancies:
    """Builds the application for the tenants of a file, as often as it changes. Tokens must be for `base_url`."""

    path: Path
    production: bool
    base_url: str
    shared: Shared
    _keys: dict[str, tuple[object, Keys]] = field(default_factory=dict)

    def __call__(self) -> Built:
        """Raises SiteUnfit or KnowledgeUnfit with every defect of every tenant."""
        file = TenantsFile.from_file(self.path, production=self.production)
        advisors = _advisors(self.path, file, self._advisor)
        keys = {tenant.id: self._keys_of(tenant) for tenant in file.tenants}
        with ThreadPoolExecutor(_AT_ONCE) as fetching:  # some may hang, and none may keep the others
            list(fetching.map(Keys.make_ready, keys.values()))
        shared, settings = self.shared, self.shared.settings
        trust = Trust(file.tenants, keys, shared.records.tokens.spend, self.base_url, shared.clock)
        origins = {t.id: frozenset((*settings.cors_origins, *t.cors_origins)) for t in file.tenants}
        house = House(advisors, trust, origins, keys)
        shared.metrics.tenants = frozenset(advisors)
        return Built(_app(house, shared), len(advisors), file.files)

    def _advisor(self, site: Site, terms: Terms) -> Advisor:
        shared = self.shared
        return advisor_at(
            site,
            shared.clock,
            explanations=shared.explanations,
            memory=shared.memory(terms),
            terms=terms,
            library=shared.library,
        )

    def _keys_of(self, tenant: Tenant) -> Keys:
        """Keys that were fetched outlive a change of the file: their place may be out of reach just now."""
        made_from = (tenant.jwks, tenant.private_addresses, tenant.algorithms)
        before = self._keys.get(tenant.id)
        if tenant.jwks is None or before is None or before[0] != made_from:
            before = (made_from, Keys.of(tenant, production=self.production))
            self._keys[tenant.id] = before
        return before[1]


@dataclass(frozen=True)
class Opened:
    """What is served: the application, for how many tenants. `look_soon` has it look at its files now."""

    shared: Shared
    app: WSGIApplication
    tenants: int
    look_soon: Callable[[], None] = lambda: None


# Given the address at which callers reach us, unless the settings name another: what is served while the block lasts.
Opening = Callable[[str], AbstractContextManager[Opened]]


def opening_for(path: Path, settings: Settings, clock: Callable[[], datetime], *, production: bool) -> Opening:
    """
    For the tenants of a file. Opens nothing yet, makes no file and fetches no key.

    Raises SiteUnfit or KnowledgeUnfit. What it returns raises SiteUnfit when a store cannot be opened.
    """
    library = Library()
    _check_key(settings)
    file = TenantsFile.from_file(path, production=production)
    _advisors(path, file, lambda site, terms: advisor_at(site, clock, terms=terms, library=library))
    for tenant in file.tenants:
        Keys.of(tenant, production=production)

    @contextmanager
    def opening(here: str) -> Iterator[Opened]:
        with _shared(settings, clock, library, here) as shared:
            app = Reloading(Tenancies(path, production, settings.public_base_url or here, shared), file.files)
            with app.watching():
                yield Opened(shared, app, len(shared.metrics.tenants), app.look_soon)

    return opening


def opening_to_all(
    site: Site, settings: Settings, clock: Callable[[], datetime], *, fhir_servers: tuple[str, ...] = ()
) -> Opening:
    """For whoever is on this machine, at one site; else as `opening_for`."""
    library, terms = Library(), Terms()
    advisor = partial(advisor_at, site, clock, fhir_servers=fhir_servers, library=library)
    _check_key(settings)
    advisor()

    @contextmanager
    def opening(here: str) -> Iterator[Opened]:
        with _shared(settings, clock, library, here) as shared:
            shared.metrics.tenants = frozenset({terms.tenant})
            asked = advisor(explanations=shared.explanations, memory=shared.memory(terms))
            yield Opened(shared, _app(House.open_to_all(asked, settings.cors_origins), shared), 1)

    return opening


def _check_key(settings: Settings) -> None:
    """Before there is a file of explanations. Raises SiteUnfit."""
    if settings.explanation_key is not None:
        Explanations(Database.in_memory(), settings.explanation_key, "").close()


def _advisors(path: Path, file: TenantsFile, advisor: Callable[[Site, Terms], Advisor]) -> dict[str, Advisor]:
    """Each tenant's, by its id. Raises SiteUnfit or KnowledgeUnfit with every defect of every tenant."""
    advisors: dict[str, Advisor] = {}
    unfit: list[str] = []
    for tenant in file.tenants:
        try:
            advisors[tenant.id] = advisor(file.site_of(tenant), _terms(tenant))
        except SiteUnfit as error:
            unfit += [f"{path}: {tenant.id}: {line}" for line in error.defects]
    if advisors:
        unfit += tenant_defects(file, next(iter(advisors.values())).knowledge)
    if unfit:
        raise SiteUnfit(*unfit)
    return advisors


def _terms(tenant: Tenant) -> Terms:
    return Terms(tenant.id, tenant.issuer, tenant.mode == "shadow", frozenset(tenant.off))


@contextmanager
def _shared(settings: Settings, clock: Callable[[], datetime], library: Library, here: str) -> Iterator[Shared]:
    """Counts from now on: the first keys that cannot be fetched are counted, too. Raises SiteUnfit."""
    shared = Shared.by(settings, clock, library, here)
    stop = listen(shared.metrics.hear)
    try:
        _tell_knowledge(library.knowledge)
        yield shared
    finally:
        stop()
        shared.records.close()


def _app(house: House, shared: Shared) -> WSGIApplication:
    return create_app(
        house,
        records=shared.records,
        metrics=shared.metrics,
        metrics_token=shared.settings.metrics_token,
        load=shared.load,
        readers=shared.settings.insights,
    )


def _tell_knowledge(knowledge: Knowledge) -> None:
    due = [reviewed.again for reviewed in knowledge.reviews_due.values()]
    expires = datetime.combine(min(due), time(), UTC).timestamp() if due else None
    tell(Event.KNOWLEDGE, version=knowledge.version, hash=knowledge.hash, expires=expires)
