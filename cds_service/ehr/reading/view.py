"""One chart as it is read at one instant, and the tables it is read by. Every reader in this room takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, TypeVar

from cds_service.clinical.facts import Doubt
from cds_service.ehr.answers import Had
from cds_service.ehr.chart import Chart
from cds_service.ehr.elements import codings, texts
from cds_service.ehr.units import Units
from cds_service.ehr.wanted import Wanted
from cds_service.knowledge import Knowledge
from cds_service.knowledge.terminology import Terminology

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class View:
    """
    `now` is aware; `zone` is where a date without a zone was written. `wanted` is what was asked, so that
    what was not asked can be told from what is not there.
    """

    chart: Chart
    knowledge: Knowledge
    units: Units
    wanted: Wanted
    now: datetime
    zone: tzinfo
    _read: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, read: Callable[[View], _Read]) -> _Read:
        """What a reader finds in this chart and several ask for: read for the first, and kept for the next."""
        if (kept := self._read.get(read)) is None:
            kept = self._read[read] = read(self)
        found: _Read = kept
        return found

    def had(self, key: str) -> Had:
        """How a query was answered."""
        return self.chart.had[key]

    def had_for(self, *concepts: str) -> Had:
        """How the Observation queries that ask for these concepts were answered; the worst of them."""
        asking, had = self.wanted.asking, self.chart.had
        answers = [had[key] for concept in concepts for key in asking.get(concept, ())]
        return min(answers, default=Had.NOT_ASKED) if len(answers) != 1 else answers[0]

    def means(self, concept: object, domain: str) -> frozenset[str]:
        """What a CodeableConcept stands for."""
        return meaning_of(concept, domain, self.knowledge.terminology)


def meaning_of(concept: object, domain: str, terms: Terminology) -> frozenset[str]:
    """What a CodeableConcept stands for: by code, and by words where no code says anything to us."""
    coded = terms.codings_of(codings(concept)).says
    if coded:
        return coded
    return frozenset(name for text in texts(concept) for name, _, _ in terms.meaning_of_text(domain, text))


def missing(had: Had) -> Doubt:
    """Why a list that did not come whole leaves its facts unknown."""
    return {Had.CUT_SHORT: Doubt.INCOMPLETE, Had.RESTRICTED: Doubt.RESTRICTED}.get(had, Doubt.NOT_RECEIVED)
