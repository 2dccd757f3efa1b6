"""Makes the advisor of a site ready, or says in plain lines why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from cds_service.advisor import Advisor
from cds_service.clinical.approval import ceiling_defects, defects
from cds_service.ehr.gathering import Sources
from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import Site, Terms

if TYPE_CHECKING:
    from cds_service.explanations import Explanations
    from cds_service.records.memory import Memory


def advisor_at(
    site: Site,
    clock: Callable[[], datetime],
    *,
    forgiven: str | None = None,
    fhir_servers: tuple[str, ...] = (),
    explanations: Explanations | None = None,
    memory: Memory | None = None,
    terms: Terms = Terms(),  # noqa: B008  (frozen)
) -> Advisor:
    """
    The advisor of a site. `forgiven`: the words of a defect that is reported elsewhere. `fhir_servers`: also allowed.

    Raises KnowledgeUnfit or SiteUnfit: refused at start, never at the bedside.
    """
    knowledge = load_knowledge(expansions=site.terminology)
    if unfit := list(ceiling_defects(knowledge)):
        raise KnowledgeUnfit(*unfit)
    if unfit := [line for line in defects(site, knowledge) if forgiven is None or forgiven not in line]:
        raise SiteUnfit(*unfit)
    sources = Sources.of(site, knowledge, fhir_servers)
    wording = load_wording(knowledge=knowledge)
    return Advisor(knowledge, wording, site, clock, sources, explanations, memory=memory, terms=terms)
