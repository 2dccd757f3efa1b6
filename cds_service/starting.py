"""Makes the advisor of a site ready, or says in plain lines why it cannot be."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cds_service.advisor import Advisor
from cds_service.clinical.approval import ceiling_defects, defects
from cds_service.ehr.gathering import Sources
from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.rendering.languages import in_language
from cds_service.rendering.wording import Wording
from cds_service.settings import Site, Terms

if TYPE_CHECKING:
    from cds_service.explanations import Explanations
    from cds_service.records.memory import Memory

# A call makes thousands of objects, of which it leaves eight to the collector. It came once a call, for those eight.
_OBJECTS_BETWEEN_COLLECTIONS: Final = 20_000


@contextmanager
def what_is_there_stays() -> Iterator[None]:
    """While calls are answered, the collector passes over all that was read at start, and comes less often."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()  # to look through the knowledge for what has died held up every caller for 0.1 s
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


@dataclass(frozen=True)
class Library:
    """The knowledge and the cards that were read already: sites that need no more share them. Raises KnowledgeUnfit."""

    knowledge: Knowledge = field(default_factory=load_knowledge)
    _spoken: dict[str, tuple[Knowledge, Wording]] = field(default_factory=dict)

    def of(self, site: Site) -> Knowledge:
        """With the site's own terminology it is another one, and read anew: the operator may have changed it."""
        return self.knowledge if site.terminology is None else load_knowledge(expansions=site.terminology)

    def spoken(self, language: str, knowledge: Knowledge) -> tuple[Knowledge, Wording]:
        """The knowledge and the cards in the words of that language. Raises SiteUnfit or KnowledgeUnfit."""
        if knowledge is not self.knowledge:
            return in_language(language, knowledge)
        if language not in self._spoken:
            self._spoken[language] = in_language(language, knowledge)
        return self._spoken[language]


def advisor_at(
    site: Site,
    clock: Callable[[], datetime],
    *,
    forgiven: str | None = None,
    fhir_servers: tuple[str, ...] = (),
    explanations: Explanations | None = None,
    memory: Memory | None = None,
    terms: Terms = Terms(),  # noqa: B008  (frozen)
    library: Library | None = None,
) -> Advisor:
    """
    The advisor of a site. `forgiven`: the words of a defect that is reported elsewhere. `fhir_servers`: also allowed.
    Advisors with the same `library` share what was read.

    Raises KnowledgeUnfit or SiteUnfit: refused at start, never at the bedside.
    """
    library = library or Library()
    knowledge = library.of(site)
    if unfit := list(ceiling_defects(knowledge)):
        raise KnowledgeUnfit(*unfit)
    if unfit := [line for line in defects(site, knowledge) if forgiven is None or forgiven not in line]:
        raise SiteUnfit(*unfit)
    sources = Sources.of(site, knowledge, fhir_servers)
    knowledge, wording = library.spoken(site.language, knowledge)
    return Advisor(knowledge, wording, site, clock, sources, explanations, memory=memory, terms=terms)
