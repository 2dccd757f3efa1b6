"""What can be drafted with one click, each button with one order behind it, and nothing that is ordered already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1
from typing import Final, Literal
from uuid import NAMESPACE_URL, uuid5

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.hooks.response import Action, Suggestion
from cds_service.rendering.orders import Placed, Resource, ServiceDraft, SlotError
from cds_service.rendering.standing import Standing
from cds_service.rendering.wording import DELETE_DRAFT, Card

# The words of a button, what kind of action it is, and what it acts on: a resource, or a reference.
Draft = tuple[Mapping[str, str], Literal["create", "delete"], Resource | None, str | None]

_OURS: Final = uuid5(NAMESPACE_URL, "urn:cds-service").bytes
# Two bits of the digit after the third stroke say that this is an RFC 9562 UUID.
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_DRAFT: Final = re.compile(r"MedicationRequest/[A-Za-z0-9\-.]{1,255}")


def identifier(who: Encountered, *about: object) -> str:
    """A UUID that is the same whenever the same call is answered: an EHR may ask twice, and feedback comes later."""
    name = "|".join([who.hook_instance, *map(str, about)])
    # RFC 9562, version 5, as `uuid.uuid5` makes it, but without an object for a moment: that was most of a button.
    digits = sha1(_OURS + name.encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"


@dataclass(frozen=True)
class Offers:
    """
    The drafts of one answer. Two of its cards may call for the same order: it is offered once.

    `adds` is what the modifiers add to the orders: to that of the medicine, and to what the nurse watches.
    """

    thought: Consultation
    standing: Standing
    placed: Placed
    adds: tuple[str, ...]
    offered: set[tuple[object, ...]] = field(default_factory=set)

    def on(self, topic: str, variant: str, card: Card) -> tuple[tuple[Suggestion, ...], list[str]]:
        """The suggestions of one card, and the names of those left out because they are ordered already."""
        found: list[Suggestion] = []
        already: list[str] = []
        for index, (row, label, description) in enumerate(card.suggestions):
            if row.variants and variant not in row.variants:
                continue
            service = self.standing.orders.service.get(row.order)
            if service is not None and not service.codes.isdisjoint(self.thought.already_ordered):
                already.append(service.row.text.replace("$medicine", self.standing.medicine))
                continue
            for number, (words, kind, resource, reference) in enumerate(self._drafts(row.order, service)):
                about = (topic, index, number) if number else (topic, index)
                action = Action(kind, description.fill(words), resource, reference)
                found.append(Suggestion(label.fill(words), identifier(self.placed.who, *about), (action,)))
        return tuple(found), already

    def _drafts(self, order: str, service: ServiceDraft | None) -> list[Draft]:
        """What a button drafts; as a rule one thing. An order that cannot be filled in is not suggested."""
        try:
            if service is not None:
                return self._service(service)
            return self._deletions() if order == DELETE_DRAFT else self._medicine()
        except SlotError:
            return []

    def _service(self, service: ServiceDraft) -> list[Draft]:
        if service.sameness in self.offered:
            return []
        self.offered.add(service.sameness)
        resource = self.standing.orders.service_order(service, self.standing.known, self.placed, self._watch)
        return [(self.standing.words, "create", resource, None)] if resource is not None else []

    def _medicine(self) -> list[Draft]:
        dose, orders = self.thought.dose, self.standing.orders
        if dose is None or self.thought.occasion.ppd_order:
            return []
        if not orders.medication[dose.protocol.id].codes.isdisjoint(self.thought.already_ordered):
            return []
        words = orders.dose_words(dose, self.standing.approval)
        return [(words, "create", orders.medicine_order(dose, words, self.placed, self.adds), None)]

    def _deletions(self) -> list[Draft]:
        if not self.thought.occasion.ppd_order:
            return []
        references = dict.fromkeys(order.reference for order in self.thought.orders if order.for_prevention)
        return [
            (self.standing.words, "delete", None, reference) for reference in references if _DRAFT.fullmatch(reference)
        ]

    @cached_property
    def _watch(self) -> tuple[Resource, ...]:
        return self.standing.watch_notes(self.adds)
