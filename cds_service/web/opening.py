"""Opens the house: from the settings and the tenants file to an application that keeps in step with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cds_service.advisor import Advisor
from cds_service.ehr.keys import Keys
from cds_service.ehr.trust import Trust
from cds_service.errors import SiteUnfit
from cds_service.events import Event, listen, tell
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
    def by(cls, settings: Settings, clock: Callable[[], datetime]) -> Shared:
        """
        As the settings say. Raises SiteUnfit when a store cannot be opened.

        Without a key of its own, which production demands, the audit names patients otherwise after each start.
        """
        library = Library()
        explanations = None
        if settings.explanation_key is not None:
            base = settings.public_base_url or ""
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
        advisors: dict[str, Advisor] = {}
        unfit: list[str] = []
        for tenant in file.tenants:
            try:
                advisors[tenant.id] = self._advisor(tenant, file.site_of(tenant))
            except SiteUnfit as error:
                unfit += [f"{self.path}: {tenant.id}: {line}" for line in error.defects]
        if advisors:
            unfit += tenant_defects(file, next(iter(advisors.values())).knowledge)
        if unfit:
            raise SiteUnfit(*unfit)
        keys = {tenant.id: self._keys_of(tenant) for tenant in file.tenants}
        with ThreadPoolExecutor(_AT_ONCE) as fetching:  # some may hang, and none may keep the others
            list(fetching.map(Keys.make_ready, keys.values()))
        shared, settings = self.shared, self.shared.settings
        trust = Trust(file.tenants, keys, shared.records.tokens.spend, self.base_url, shared.clock)
        origins = {t.id: frozenset((*settings.cors_origins, *t.cors_origins)) for t in file.tenants}
        house = House(advisors, trust, origins, keys)
        shared.metrics.tenants = frozenset(advisors)
        return Built(_app(house, shared), len(advisors), file.files)

    def _advisor(self, tenant: Tenant, site: Site) -> Advisor:
        terms = Terms(tenant.id, tenant.issuer, tenant.mode == "shadow", frozenset(tenant.off))
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
    """What is served: `running()` is the application, kept in step with its files while the block lasts."""

    shared: Shared
    app: WSGIApplication
    tenants: int

    @contextmanager
    def running(self) -> Iterator[WSGIApplication]:
        stop = listen(self.shared.metrics.hear)
        _tell_knowledge(self.shared.library.knowledge)
        try:
            if isinstance(self.app, Reloading):
                with self.app.watching():
                    yield self.app
            else:
                yield self.app
        finally:
            stop()
            self.shared.records.close()


def opened_for(path: Path, settings: Settings, clock: Callable[[], datetime], *, production: bool, here: str) -> Opened:
    """
    For the tenants of a file. `here` is the address to which tokens are, unless the settings name another.

    Raises SiteUnfit or KnowledgeUnfit.
    """
    shared = Shared.by(settings, clock)
    app = Reloading(Tenancies(path, production, settings.public_base_url or here, shared))
    return Opened(shared, app, len(shared.metrics.tenants))


def opened_to_all(
    site: Site, settings: Settings, clock: Callable[[], datetime], *, fhir_servers: tuple[str, ...] = ()
) -> Opened:
    """For whoever is on this machine, at one site. Raises SiteUnfit or KnowledgeUnfit."""
    shared, terms = Shared.by(settings, clock), Terms()
    advisor = advisor_at(
        site,
        clock,
        fhir_servers=fhir_servers,
        explanations=shared.explanations,
        memory=shared.memory(terms),
        library=shared.library,
    )
    shared.metrics.tenants = frozenset({terms.tenant})
    return Opened(shared, _app(House.open_to_all(advisor, settings.cors_origins), shared), 1)


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
