"""What can be drafted with one click, each button with one order behind it, and nothing that is ordered already."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.hooks.response import Action, Suggestion
from cds_service.rendering.orders import OrderSet, Placed, SlotError
from cds_service.rendering.wording import DELETE_DRAFT, MEDICINE, Card, SuggestionWording

_OURS: Final[UUID] = uuid5(NAMESPACE_URL, "urn:cds-service")
_DRAFT: Final = re.compile(r"MedicationRequest/[A-Za-z0-9\-.]{1,255}")


def identifier(who: Encountered, *about: object) -> str:
    """A UUID that is the same whenever the same call is answered: an EHR may ask twice, and feedback comes later."""
    return str(uuid5(_OURS, "|".join([who.hook_instance, *map(str, about)])))


@dataclass(frozen=True)
class Offers:
    """
    The drafts of one answer. Two of its cards may call for the same order: it is offered once.

    `medicine` is what the medicine is called, `known` its name or "" when nobody can tell; `adds` is what the modifiers
    add to its order, and `watch` what the nurse watches.
    """

    thought: Consultation
    who: Encountered
    orders: OrderSet
    approval: str | None
    medicine: str
    known: str
    adds: tuple[str, ...]
    watch: tuple[str, ...]
    offered: set[tuple[object, ...]] = field(default_factory=set)

    def on(self, topic: str, variant: str, card: Card) -> tuple[tuple[Suggestion, ...], list[str]]:
        """The suggestions of one card, and the names of those left out because they are ordered already."""
        found: list[Suggestion] = []
        already: list[str] = []
        for index, (row, label, description) in enumerate(card.suggestions):
            if row.variants and variant not in row.variants:
                continue
            if name := self._already(row):
                already.append(name)
                continue
            for number, (words, kind, payload) in enumerate(self._drafts(row)):
                about = (topic, index, number) if number else (topic, index)
                action = Action(kind, description.fill(words), **payload)
                found.append(Suggestion(label.fill(words), identifier(self.who, *about), (action,)))
        return tuple(found), already

    def _already(self, row: SuggestionWording) -> str | None:
        if row.order in {MEDICINE, DELETE_DRAFT}:
            return None
        order = self.orders.table.order(row.order)
        if self.orders.codes[order.id] & self.thought.already_ordered:
            return order.text.replace("$medicine", self.medicine)
        return None

    def _drafts(self, row: SuggestionWording) -> Iterator[tuple[dict[str, str], Any, dict[str, Any]]]:
        """The words of a button, what kind of action it is, and what it acts on."""
        words = {"medicine": self.medicine}
        try:
            if row.order == DELETE_DRAFT:
                yield from ((words, "delete", {"resource_id": reference}) for reference in self._prevention_drafts())
            elif row.order == MEDICINE:
                if self.thought.dose is not None and not self._medicine_ordered():
                    resource = self.orders.medicine_order(self.thought.dose, self._placed(), self.adds)
                    yield self.orders.dose_words(self.thought.dose, self.approval), "create", {"resource": resource}
            elif self._first_time(row.order):
                draft = self.orders.service_order(row.order, self.known, self._placed(), self.watch)
                if draft is not None:
                    yield words, "create", {"resource": draft}
        except SlotError:
            return  # an order that cannot be filled in is not suggested

    def _placed(self) -> Placed:
        return Placed(self.who, self.thought.facts, self.approval)

    def _prevention_drafts(self) -> list[str]:
        if not self.thought.occasion.ppd_order:
            return []
        references = dict.fromkeys(order.reference for order in self.thought.orders if order.for_prevention)
        return [reference for reference in references if _DRAFT.fullmatch(reference)]

    def _first_time(self, order_id: str) -> bool:
        order = self.orders.table.order(order_id)
        key = (self.orders.codes[order.id] or order.id, order.after_days, order.within_days)
        if key in self.offered:
            return False
        self.offered.add(key)
        return True

    def _medicine_ordered(self) -> bool:
        dose = self.thought.dose
        if dose is None or self.thought.occasion.ppd_order:
            return True
        table, protocol = self.orders.table, dose.protocol
        systems = ((table.rxnorm, protocol.rxnorm), (table.snomed, protocol.snomed), (table.atc, protocol.atc))
        return bool({f"{system}|{code}" for system, code in systems} & self.thought.already_ordered)
