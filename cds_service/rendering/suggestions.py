"""What can be drafted with one click, each button with one purpose behind it, and nothing that is ordered already."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha1
from typing import Final, Literal
from uuid import NAMESPACE_URL, uuid5

from cds_service.clinical.approval import MEDICINE
from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.hooks.request import FHIR_ID
from cds_service.hooks.response import Action, Suggestion
from cds_service.rendering.dialects import Dialect
from cds_service.rendering.orders import Placed, Resource, ServiceDraft, SlotError
from cds_service.rendering.standing import Standing
from cds_service.rendering.wording import UPDATE_DRAFT, Button, Card

# The words of a button, what kind of action it is, and what it acts on: a resource, or a reference.
Draft = tuple[Mapping[str, str], Literal["create", "update", "delete"], Resource | None, str | None]

_OURS: Final = uuid5(NAMESPACE_URL, "urn:cds-service").bytes
# Two bits of the digit after the third stroke say that this is an RFC 9562 UUID.
_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_DRAFT: Final = re.compile(rf"MedicationRequest/{FHIR_ID}")
# With these, another dosage alone would not make the draft right.
_NOT_MENDED_BY_DOSAGE: Final = frozenset(
    {"other_medicine", "medicine_unclear", "other_strength", "strength_unclear", "second_order"}
)
_NOT_OF_THE_DRAFT: Final = frozenset({"no_monitoring"})


def identifier(who: Encountered, *about: object) -> str:
    """A UUID that is the same whenever the same call is answered: an EHR may ask twice, and feedback comes later."""
    name = "|".join([who.hook_instance, *map(str, about)])
    # RFC 9562, version 5, as `uuid.uuid5` makes it, but without an object for a moment: that was most of a button.
    digits = sha1(_OURS + name.encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"


@dataclass(frozen=True, slots=True)
class Offered:
    """What one card offers: buttons, what must be ordered by hand in this EHR, and what is ordered already."""

    suggestions: tuple[Suggestion, ...]
    by_hand: tuple[str, ...]
    already: tuple[str, ...]


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
    dialect: Dialect
    offered: set[tuple[object, ...]] = field(default_factory=set)

    def on(self, topic: str, variant: str, card: Card) -> Offered:
        """What the card of this topic offers, in the order of its file."""
        joined: dict[str, Suggestion] = {}
        by_hand: list[str] = []
        already: list[str] = []
        for index, button in enumerate(card.buttons):
            row = button.row
            if row.variants and variant not in row.variants:
                continue
            service = self.standing.orders.service.get(row.order)
            if service is not None and self._is_ordered(service):
                already.append(service.row.text.replace("$medicine", self.standing.medicine))
                continue
            for number, draft in enumerate(self._drafts(row.order, service)):
                about = (topic, index, number) if number else (topic, index)
                action = self._action(button, draft, identifier(self.placed.who, *about))
                if not self._can_be_taken(row.order, action):
                    by_hand.append(action.description)
                elif (first := joined.get(row.accompanies or "")) is not None:
                    joined[str(row.accompanies)] = _with(first, action)
                else:
                    name = f"{row.order} {number}".removesuffix(" 0")
                    joined[name] = Suggestion(self._label(button, draft, action), action.uuid, (action,))
        arranged = (one for suggestion in joined.values() for one in self.dialect.arranged(_named(suggestion)))
        return Offered(tuple(arranged), tuple(by_hand), tuple(already))

    def _action(self, button: Button, draft: Draft, uuid: str) -> Action:
        words, kind, resource, reference = draft
        if resource is not None and kind == "create":
            resource = self._known_to_the_ehr(button.row.order, {**resource, "id": uuid})
        return Action(kind, button.description.fill(words), resource, reference, button.label.fill(words), uuid)

    def _label(self, button: Button, draft: Draft, action: Action) -> str:
        return button.accompanied.fill(draft[0]) if button.accompanied else action.label

    # --- what this EHR can take over ------------------------------------------------------------

    def _can_be_taken(self, order: str, action: Action) -> bool:
        if not self.dialect.can_take(action):
            return False
        if order != MEDICINE or self.dialect.keeps_dose or self.thought.dose is None:
            return True
        # The dose would be that of the item in the EHR's catalogue: it must be known to be the protocol's.
        protocol = self.thought.dose.protocol.id
        return any(row.order == MEDICINE and row.defaults == protocol for row in self.standing.catalogue)

    def _known_to_the_ehr(self, order: str, resource: Resource) -> Resource:
        """The order with the codes of the EHR's own catalogue before the public ones."""
        member = "medicationCodeableConcept" if order == MEDICINE else "code"
        own = [
            {"system": row.system, "code": row.code, **({"display": row.display} if row.display else {})}
            for row in self.standing.catalogue
            if row.order == order
        ]
        public = self.dialect.coded(resource[member].get("coding", ()))
        return {**resource, member: {**resource[member], "coding": [*own, *public]}} if own or public else resource

    # --- what a button drafts -------------------------------------------------------------------

    def _drafts(self, order: str, service: ServiceDraft | None) -> Iterable[Draft]:
        """What a button drafts; as a rule one thing. An order that cannot be filled in is not suggested."""
        try:
            if service is not None:
                return self._service(service)
            if order == MEDICINE:
                return self._medicine()
            return self._corrections() if order == UPDATE_DRAFT else self._deletions()
        except SlotError:
            return ()

    def _is_ordered(self, service: ServiceDraft) -> bool:
        return any(self.standing.orders.is_same(service, order, self.placed) for order in self.thought.already_ordered)

    def _service(self, service: ServiceDraft) -> list[Draft]:
        if service.sameness in self.offered:
            return []
        self.offered.add(service.sameness)
        resource = self.standing.orders.service_order(service, self.standing.known, self.placed, self._during)
        return [(self.standing.words, "create", resource, None)] if resource is not None else []

    def _medicine(self) -> list[Draft]:
        dose, orders = self.thought.dose, self.standing.orders
        if dose is None or self.thought.occasion.ppd_order:
            return []
        ours = orders.medication[dose.protocol.id].codes
        if any(not ours.isdisjoint(order.codes) for order in self.thought.already_ordered):
            return []
        words = orders.dose_words(dose, self.standing.approval)
        return [(words, "create", orders.medicine_order(dose, words, self.placed, self.adds), None)]

    def _corrections(self) -> list[Draft]:
        """The one draft for prevention with the dosage of the protocol, where that alone makes it right."""
        dose, orders = self.thought.dose, self.standing.orders
        drafted = [order.reference for order in self.thought.orders if order.for_prevention and order.selected]
        differs = {departure.id for departure in self.thought.departures} - _NOT_OF_THE_DRAFT
        if dose is None or len(drafted) != 1 or not differs or differs & _NOT_MENDED_BY_DOSAGE:
            return []
        words = orders.dose_words(dose, self.standing.approval)
        drafts = list(self._still_drafts(drafted))
        return [(words, "update", orders.corrected(draft, dose, words, self.placed), None) for draft in drafts]

    def _deletions(self) -> list[Draft]:
        if not self.thought.occasion.ppd_order:
            return []
        references = dict.fromkeys(order.reference for order in self.thought.orders if order.for_prevention)
        return [
            (self.standing.words, "delete", None, f"{draft['resourceType']}/{draft['id']}")
            for draft in self._still_drafts(references)
        ]

    def _still_drafts(self, references: Iterable[str]) -> Iterator[Mapping[str, object]]:
        """The orders of the call behind these references, but for those that somebody has signed already."""
        for reference in references:
            draft = self.placed.who.drafts.get(reference)
            if draft is not None and _DRAFT.fullmatch(reference) and draft.get("status") in ("draft", None):
                yield draft

    @cached_property
    def _during(self) -> tuple[Resource, ...]:
        """What the nurse checks before the start, and watches from then on."""
        before = self.standing.orders.start_notes(self.thought.eligibility.modifiers)
        return (*before, *self.standing.watch_notes(self.adds))


def _with(suggestion: Suggestion, action: Action) -> Suggestion:
    return Suggestion(suggestion.label, suggestion.uuid, (*suggestion.actions, action))


def _named(suggestion: Suggestion) -> Suggestion:
    """A button that turned out to do one thing only is called what that is called."""
    if len(suggestion.actions) > 1:
        return suggestion
    return Suggestion(suggestion.actions[0].label, suggestion.uuid, suggestion.actions)
