"""Is everything that this service would start with in order? Every defect, not only the first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cds_service.clinical import derived
from cds_service.clinical.approval import ceiling_defects, defects
from cds_service.ehr.gathering import Sources
from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.knowledge.loader import FOLDER
from cds_service.rendering import wording
from cds_service.rendering.orders import OrderSet
from cds_service.settings import Site
from cds_service.tenants import TenantsFile
from cds_service.tenants import defects as tenant_defects


@dataclass(frozen=True, slots=True)
class Report:
    """The defects, one line each, and what was checked."""

    defects: tuple[str, ...]
    checked: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        count = len(self.defects)
        return (*self.checked, *self.defects, "no defects" if not count else f"{count} defect{'s' * (count > 1)}")


def check_everything(
    site: Path | None, knowledge: Path | None, cards: Path | None, tenants: Path | None = None
) -> Report:
    """Checks the knowledge, the cards against it, and the site file or the tenants file against both."""
    found: list[str] = []
    told: list[str] = []
    place = None
    if site is not None:
        try:
            place = Site.from_file(site)
        except SiteUnfit as unfit:
            found += unfit.defects
    tables: Knowledge | None = None
    try:
        tables = load_knowledge(knowledge or FOLDER, expansions=place.terminology if place else None)
    except KnowledgeUnfit as unfit:
        found += unfit.defects
    if tables is not None:
        found += ceiling_defects(tables)
        found += _underived(tables)
        found += _orders(tables)
        if place is not None:
            found += defects(place, tables)
            found += _sources(place, tables)
        if tenants is not None:
            found += _tenants(tenants, tables)
        told.append(f"knowledge {tables.version} {tables.hash}")
        told.append(_review(place))
    found += wording.defects(cards, tables)
    return Report(tuple(found), tuple(told))


def _review(site: Site | None) -> str:
    if site is not None and site.review is not None:
        return f"reviewed for this site by {', '.join(site.review.by)} on {site.review.on}"
    return "not clinically reviewed"


def _sources(site: Site, tables: Knowledge) -> tuple[str, ...]:
    """The FHIR servers and forms that the site names must be ones that can be read."""
    try:
        Sources.of(site, tables)
    except SiteUnfit as unfit:
        return unfit.defects
    return ()


def _tenants(path: Path, tables: Knowledge) -> list[str]:
    """What production would refuse: in the tenants file, in the files that it names, and in each tenant's site."""
    try:
        file = TenantsFile.from_file(path, production=True)
    except SiteUnfit as unfit:
        return list(unfit.defects)
    found = list(tenant_defects(file, tables))
    for tenant in file.tenants:
        site = file.site_of(tenant)
        found += [f"{path}: {tenant.id}: {line}" for line in (*defects(site, tables), *_sources(site, tables))]
    return found


def _orders(tables: Knowledge) -> tuple[str, ...]:
    """The order skeletons must be valid FHIR R4."""
    try:
        OrderSet.prepare(tables)
    except KnowledgeUnfit as unfit:
        return unfit.defects
    return ()


def _underived(tables: Knowledge) -> list[str]:
    """Facts that a table names as derived must be derived, and the reverse."""
    named = {row.fact for row in tables.derived.row}
    return [
        f"tables/derived.toml: {fact}: nothing in the code derives it"
        for fact in sorted(named - derived.names() - derived.READ)
    ]
