"""
The draft orders that a clinician may accept and sign: built and checked once at start, filled in for each woman.

A skeleton is validated against FHIR R4 when the tables load. What is filled in later (who, how much, when) is checked
by a small table, so that a broken slot costs a suggestion and never sends a broken order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.servicerequest import ServiceRequest
from pydantic import ValidationError

from cds_service.clinical.consultation import Encountered, Ordered
from cds_service.clinical.dosing import Dose
from cds_service.clinical.eligibility import Met
from cds_service.clinical.facts import Facts, State
from cds_service.clinical.moment import Precision
from cds_service.errors import KnowledgeUnfit
from cds_service.hooks.request import FHIR_ID
from cds_service.knowledge.loader import Knowledge
from cds_service.knowledge.narrative import MEDICINES, Code, FormatCode, OrderTable, ServiceOrder
from cds_service.knowledge.shapes import Protocol
from cds_service.rendering.wording import Phrase

Resource = dict[str, Any]

# What fhir.resources does not check (it knows no code bindings): the required codes that we send, ids and targets.
_STATUS: Final = frozenset({"draft"})
_INTENT: Final = frozenset({"order"})
_INTENTS: Final = frozenset(
    {"proposal", "plan", "order", "original-order", "reflex-order", "filler-order", "instance-order", "option"}
)
_PRIORITY: Final = frozenset({"routine", "urgent", "asap", "stat"})
# The public Sandbox sends these two as one object each (its code, 2026-03).
_LISTS: Final = frozenset({"category", "reasonCode"})
_UNITS_OF_TIME: Final = frozenset({"s", "min", "h", "d", "wk", "mo", "a"})
_TARGETS: Final[Mapping[str, re.Pattern[str]]] = {
    "subject": re.compile(rf"Patient/{FHIR_ID}"),
    "encounter": re.compile(rf"Encounter/{FHIR_ID}"),
}
_ENTRY: Final = re.compile(rf"[A-Z][A-Za-z]{{2,40}}/{FHIR_ID}")
_REASONS: Final = ("Condition/", "Observation/")
_ONE_DAY: Final = timedelta(days=1)  # the zones of the birth and of the order may differ
_LARGEST_QUANTITY: Final = Decimal(1000)
_VALIDATORS: Final[Mapping[str, Any]] = {"MedicationRequest": MedicationRequest, "ServiceRequest": ServiceRequest}


class SlotError(ValueError):
    """Something to be filled in is not fit to be sent. The order is then not suggested."""


@dataclass(frozen=True)
class Placed:
    """For whom, at which stay, and when."""

    who: Encountered
    facts: Facts

    @cached_property
    def whom(self) -> Resource:
        """The woman and her stay, as every order names them. Raises SlotError."""
        return _whom(self.who)


@dataclass(frozen=True, slots=True)
class MedicationDraft:
    """The medicine of one protocol: the skeleton, and what the protocol says of the dose."""

    skeleton: Resource
    codes: frozenset[str]
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ServiceDraft:
    """Something other than the medicine: a skeleton for each medicine, and what makes two orders the same order."""

    row: ServiceOrder
    skeleton: Mapping[str, Resource]
    notes: tuple[Resource, ...]
    codes: frozenset[str]
    sameness: tuple[object, ...]


@dataclass(frozen=True)
class OrderSet:
    """
    Every order that can be drafted: the medicine by protocol, the others by id. Codes are written "system|code".

    `start_checks` are the lines of the start checklist, each with the id of its rule; "" where no rule says it.
    """

    table: OrderTable
    start_within_min: int
    valid_hours: int
    medication: Mapping[str, MedicationDraft]
    service: Mapping[str, ServiceDraft]
    dosage: Phrase
    notes: tuple[Phrase, ...]
    before_start: Phrase
    start_checks: tuple[tuple[str, str], ...]
    original: OrderSet | None = None

    @classmethod
    def prepare(cls, knowledge: Knowledge) -> OrderSet:
        """All skeletons, validated as FHIR R4. Raises KnowledgeUnfit naming each that is not."""
        table = knowledge.orders
        prepared = cls(
            table=table,
            start_within_min=knowledge.protocols.start_within_min,
            valid_hours=knowledge.protocols.valid_hours,
            medication={p.id: _medication_draft(knowledge, p) for p in knowledge.protocols.protocol},
            service={row.id: _service_draft(row, knowledge) for row in table.service},
            dosage=Phrase(table.medication.dosage_text),
            notes=tuple(Phrase(text) for text in table.medication.notes),
            before_start=Phrase(table.before_start),
            start_checks=tuple(_start_checks(knowledge)),
            original=cls.of(knowledge.original) if knowledge.original is not None else None,
        )
        if defects := (*_unknown_codes(knowledge), *prepared._defects()):
            raise KnowledgeUnfit(*defects)
        return prepared

    @classmethod
    def of(cls, knowledge: Knowledge) -> OrderSet:
        """The skeletons of this knowledge: prepared at the first call, remembered for the next."""
        key = (knowledge.hash, knowledge.translation)
        found = _PREPARED.get(key)
        if found is None:
            found = _PREPARED[key] = cls.prepare(knowledge)
        return found

    def medicine_order(
        self, dose: Dose, words: Mapping[str, str], placed: Placed, adds: Iterable[str] = ()
    ) -> Resource:
        """The draft for the medicine, in the words of the dose. Raises SlotError."""
        return {
            **self.medication[dose.protocol.id].skeleton,
            **placed.whom,
            **_for_medicine(
                _pointing(placed.facts, self.table.medication.because, self.table.medication.computed_from)
            ),
            "note": [{"text": text} for text in (*(note.fill(words) for note in self.notes), *adds)],
            **self._dosage(dose, words, placed),
        }

    def corrected(self, draft: Mapping[str, Any], dose: Dose, words: Mapping[str, str], placed: Placed) -> Resource:
        """
        The draft as received, with the dosage of the protocol: a whole resource with the same id.

        Raises SlotError when what was received would not make valid FHIR R4: it is then not sent back.
        """
        whole = {
            "intent": "order",
            **placed.whom,
            **{
                name: [v] if name in _LISTS and isinstance(v, dict) else v for name, v in (_tidied(draft) or {}).items()
            },
            "status": "draft",
            **self._dosage(dose, words, placed),
        }
        try:
            if whole["intent"] not in _INTENTS or whole.get("priority", "routine") not in _PRIORITY:
                raise SlotError("draft")
            _VALIDATORS["MedicationRequest"].model_validate(whole)
        except (ValidationError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise SlotError("draft") from error
        return whole

    def _dosage(self, dose: Dose, words: Mapping[str, str], placed: Placed) -> Resource:
        """How much, how fast and until when it may be started."""
        table, protocol = self.table.medication, dose.protocol
        (dosage,) = self.medication[protocol.id].skeleton["dosageInstruction"]
        quantity = _quantity(self.table, dose.dose_mg, table.dose_unit)
        start = placed.facts.now
        return {
            "dosageInstruction": [
                {
                    **dosage,
                    "text": self.dosage.fill(words),
                    "doseAndRate": [
                        {
                            "type": _concept([table.dose_type]),
                            "doseQuantity": quantity,
                            "rateQuantity": _quantity(self.table, protocol.rate_ml_per_h, table.rate_unit),
                        }
                    ],
                    "maxDosePerAdministration": quantity,
                }
            ],
            "dispenseRequest": {
                "validityPeriod": {"start": _instant(start), "end": _instant(start + timedelta(hours=self.valid_hours))}
            },
        }

    def service_order(
        self, draft: ServiceDraft, medicine: str, placed: Placed, during: Iterable[Resource] = ()
    ) -> Resource | None:
        """
        Something other than the medicine, or None when its day has passed. Raises SlotError.

        `during` is noted on what is done during the infusion.
        """
        row = draft.row
        order = {**draft.skeleton[medicine], **placed.whom, **_pointing(placed.facts, row.because)}
        days = row.after_days if row.after_days is not None else row.within_days
        day = _day_after_birth(placed.facts, days) if days is not None else None
        if day is not None:
            if day < placed.facts.now.date().isoformat():
                return None
            order |= {"occurrenceDateTime": day} if row.after_days is not None else {"occurrencePeriod": {"end": day}}
        notes = [*draft.notes]
        if row.during_infusion:
            notes += during
        return order | {"note": notes} if notes else order

    def start_lines(self, modifiers: Iterable[Met]) -> tuple[str, ...]:
        """The start checklist. A modifier that is met adds its line, or puts it in the place of another rule's."""
        asked = [(met.row.instead_of, met.row.start_check) for met in modifiers if met.row.start_check is not None]
        instead = {id_: line for id_, line in asked if id_ is not None}
        added = (line for id_, line in asked if id_ is None)
        return tuple(dict.fromkeys([*(instead.get(id_, line) for id_, line in self.start_checks), *added]))

    def start_notes(self, modifiers: Iterable[Met]) -> tuple[Resource, ...]:
        """The same, as the notes of an order."""
        return tuple({"text": self.before_start.fill({"says": line})} for line in self.start_lines(modifiers))

    def is_same(self, draft: ServiceDraft, order: Ordered, placed: Placed) -> bool:
        """
        Is this order the same as that draft? By our own words, or by a code, the urgency and the day.

        An EPDS on day 42 is none on day 7, and none now. A consult some day is none at once; one at once will do.
        A blood pressure once a shift is none every five minutes: what has a rhythm is the same by our words alone.
        """
        row = draft.row
        named = self.by_words.get(order.words)
        if named is not None and named.row.id == row.id:
            return True
        if row.timing is not None:
            return False
        if draft.codes.isdisjoint(order.codes) or (row.priority != "routine" and not order.urgent):
            return False
        if named is not None and named.row.after_days != row.after_days:
            return False
        if row.after_days is None:
            return order.due is None or order.due <= placed.facts.now.date()
        day = _day_after_birth(placed.facts, row.after_days)
        return day is not None and order.due is not None and abs(order.due - date.fromisoformat(day)) <= _ONE_DAY

    @cached_property
    def by_words(self) -> Mapping[str, ServiceDraft]:
        """Our drafts by their words in lower case, about either medicine, also by those they were translated from."""
        return {
            **(self.original.by_words if self.original is not None else {}),
            **{
                " ".join(skeleton["code"]["text"].lower().split()): draft
                for draft in self.service.values()
                for skeleton in draft.skeleton.values()
            },
        }

    def dose_words(self, dose: Dose, approval: str | None) -> dict[str, str]:
        """Everything about the dose that an order or a suggestion may say."""
        return {
            **self.medication[dose.protocol.id].words,
            "dose": f"{dose.dose_mg:f}",
            "drug_volume": f"{dose.drug_volume_ml:f}",
            "diluent_volume": f"{dose.diluent_volume_ml:f}",
            "concentration": f"{dose.concentration_mg_per_ml:f}",
            "approval": approval or self.table.no_approval,
        }

    def _defects(self) -> Iterator[str]:
        medication = {id_: draft.skeleton for id_, draft in self.medication.items()}
        services = {
            f"{id_} {medicine}".strip(): skeleton
            for id_, draft in self.service.items()
            for medicine, skeleton in draft.skeleton.items()
        }
        for name, skeleton in {**medication, **services}.items():
            where = f"tables/orders.toml: {name}"
            sample = {**skeleton, "subject": {"reference": "Patient/example"}}
            try:
                _VALIDATORS[skeleton["resourceType"]].model_validate(sample)
            except (ValidationError, KeyError, RecursionError) as error:
                yield f"{where}: not valid FHIR R4: {str(error).splitlines()[0]}"
            yield from (f"{where}: {line}" for line in _wrong_codes(skeleton))


# By the hash that names every byte of the knowledge, and its translation: skeletons depend on nothing else.
_PREPARED: Final[dict[tuple[str, str], OrderSet]] = {}


# --- skeletons -----------------------------------------------------------------------------------


def _medication_draft(knowledge: Knowledge, protocol: Protocol) -> MedicationDraft:
    table, order = knowledge.orders, knowledge.orders.medication
    substance = ((table.rxnorm, protocol.rxnorm), (table.snomed, protocol.snomed), (table.atc, protocol.atc))
    called = knowledge.called(protocol.medicine)
    words = {
        "medicine": called,
        "Medicine": called.capitalize(),
        "total_volume": f"{protocol.total_volume_ml:f}",
        "strength": f"{protocol.strength_mg_per_ml:f}",
        "rate": f"{protocol.rate_ml_per_h:f}",
        "duration": str(protocol.duration_min),
        "start_within": str(knowledge.protocols.start_within_min),
        "valid_hours": str(knowledge.protocols.valid_hours),
    }
    skeleton = {
        "resourceType": "MedicationRequest",
        "instantiatesUri": [protocol.uri],
        "status": "draft",
        "intent": "order",
        "category": [_concept([order.category])],
        "priority": "routine",
        "medicationCodeableConcept": {
            "coding": [{"system": s, "code": c, "display": protocol.medicine.capitalize()} for s, c in substance],
            "text": Phrase(order.medicine_text).fill(words),
        },
        "reasonCode": [{**_concept(order.reason), "text": order.reason_text}],
        "dosageInstruction": [
            {
                "sequence": 1,
                "timing": {
                    "repeat": {"count": 1, "duration": protocol.duration_min, "durationUnit": order.duration_unit}
                },
                "asNeededBoolean": False,
                "route": _concept([order.route]),
            }
        ],
        "substitution": {"allowedBoolean": False},
    }
    return MedicationDraft(skeleton, frozenset(f"{s}|{c}" for s, c in substance), words)


def _service_draft(row: ServiceOrder, knowledge: Knowledge) -> ServiceDraft:
    codes = frozenset(f"{c.system}|{c.code}" for c in row.code)
    names: dict[str, str] = {medicine: knowledge.called(medicine) for medicine in MEDICINES}
    names[""] = knowledge.orders.the_medicine
    minutes: dict[str, int] = {p.medicine: p.duration_min for p in knowledge.protocols.protocol}
    ucum = knowledge.orders.ucum
    return ServiceDraft(
        row=row,
        skeleton={
            medicine: {**_service_skeleton(row, names[medicine]), **_timing(row, minutes.get(medicine), ucum)}
            for medicine in names
        },
        notes=tuple({"text": text} for text in row.note),
        codes=codes,
        sameness=(codes or row.id, row.after_days, row.within_days),
    )


def _service_skeleton(row: ServiceOrder, called: str) -> Resource:
    text = Phrase(row.text).fill({"medicine": called})
    return {
        "resourceType": "ServiceRequest",
        "status": "draft",
        "intent": "order",
        "priority": row.priority,
        "code": {**(_concept(row.code) if row.code else {}), "text": text},
    }


def _timing(row: ServiceOrder, infusion_min: int | None, ucum: str) -> Resource:
    """
    How often. The words are the whole of it; the figures are its first part, as long as that one lasts.

    Without a medicine nobody knows how long the infusion is, and there are no figures.
    """
    if row.timing is None:
        return {}
    timing: Resource = {"code": {"text": row.timing}}
    if row.every_min is not None and infusion_min is not None:
        lasts = {"value": infusion_min + row.until_min_after_end, "unit": "min", "system": ucum, "code": "min"}
        timing["repeat"] = {"boundsDuration": lasts, "frequency": 1, "period": row.every_min, "periodUnit": "min"}
    return {"occurrenceTiming": timing}


def _start_checks(knowledge: Knowledge) -> Iterator[tuple[str, str]]:
    """What no criterion says, and what each criterion says that can change until the start."""
    yield from (("", row.says) for row in knowledge.orders.start_check if row.only_if is None)
    for row in (*knowledge.contraindications.criterion, *knowledge.reviews.criterion):
        if row.start_check is not None:
            yield row.id, row.start_check


def _concept(codes: Iterable[Code | FormatCode]) -> Resource:
    return {"coding": [{"system": c.system, "code": c.code, "display": c.label} for c in codes]}


def _wrong_codes(resource: Resource) -> Iterator[str]:
    """Codes with a required binding, which fhir.resources lets through whatever they say."""
    for name, allowed in (("status", _STATUS), ("intent", _INTENT), ("priority", _PRIORITY)):
        if resource[name] not in allowed:
            yield f"{name} cannot be {resource[name]}"
    for dosage in resource.get("dosageInstruction", ()):
        unit = dosage["timing"]["repeat"]["durationUnit"]
        if unit not in _UNITS_OF_TIME:
            yield f"durationUnit cannot be {unit}"


def _unknown_codes(knowledge: Knowledge) -> Iterator[str]:
    """Codes to be sent that the value sets do not know under their concept; units that nobody can read back."""
    table = knowledge.orders
    rows = [("medication", (table.medication.route, *table.medication.reason))]
    rows += [(row.id, row.code) for row in table.service]
    for name, codes in rows:
        for code in codes:
            meaning = knowledge.terminology.codings_of([{"system": code.system, "code": code.code}])
            if code.concept not in meaning.says | meaning.hints:
                yield f"tables/orders.toml: {name}: {code.code} is not in the value set {code.concept}"


# --- slots ---------------------------------------------------------------------------------------


def _whom(who: Encountered) -> Resource:
    """The woman and her stay. A stay that is no fit reference is left out; a woman that is not, stops the order."""
    if not _TARGETS["subject"].fullmatch(who.patient):
        raise SlotError("subject")
    whom: Resource = {"subject": {"reference": who.patient}}
    if who.encounter is not None and _TARGETS["encounter"].fullmatch(who.encounter):
        whom["encounter"] = {"reference": who.encounter}
    return whom


def _tidied(value: Any) -> Any:
    """
    The same JSON without what is null or empty, its members by name; None when nothing is left.

    EHRs send such members, and nobody may send them back (CDS Hooks 2.0, use of JSON). By name, so that the same draft
    gives the same bytes, however it was sent.
    """
    if isinstance(value, Mapping):
        return {name: kept for name in sorted(value) if (kept := _tidied(value[name])) is not None} or None
    if isinstance(value, list):
        return [kept for item in value if (kept := _tidied(item)) is not None] or None
    return None if isinstance(value, str) and not value.strip() else value


def _pointing(facts: Facts, because: Iterable[str], computed_from: Iterable[str] = ()) -> Resource:
    """
    The chart entries behind an order, as the elements of FHIR that hold them.

    A reason is a Condition or an Observation; anything else supports. An entry without an id cannot be pointed to.
    """
    reasons, support = list(_entries(facts, because)), list(_entries(facts, computed_from))
    support = [*(r for r in reasons if not r.startswith(_REASONS)), *support]
    reasons = [r for r in reasons if r.startswith(_REASONS)]
    listed = {"reasonReference": reasons, "supportingInfo": support}
    return {name: [{"reference": r} for r in dict.fromkeys(found)] for name, found in listed.items() if found}


def _for_medicine(pointing: Resource) -> Resource:
    """FHIR R4 gives the element another name there."""
    return {name.replace("supportingInfo", "supportingInformation"): found for name, found in pointing.items()}


def _entries(facts: Facts, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if facts[name].state is State.PRESENT:
            yield from (e.reference for e in facts[name].evidence if _ENTRY.fullmatch(e.reference))


def _quantity(table: OrderTable, value: Decimal, unit: str) -> Resource:
    if not value.is_finite() or not 0 < value <= _LARGEST_QUANTITY:
        raise SlotError(unit)
    return {"value": value, "unit": unit, "system": table.ucum, "code": unit}


def _day_after_birth(facts: Facts, days: int) -> str | None:
    """A calendar day, when the birth is known to the day; before the birth there is none."""
    birth = facts["birth"]
    if birth.state is not State.PRESENT or birth.at is None or birth.at.precision < Precision.DAY:
        return None
    if birth.at.is_future(facts.now):
        return None
    return (birth.at.earliest.date() + timedelta(days=days)).isoformat()


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
