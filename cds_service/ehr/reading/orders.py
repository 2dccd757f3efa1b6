"""The ketamine and esketamine orders drafted in this call, in mg, mL and minutes; and what else is on order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import Any, Final

from cds_service.clinical.consultation import Ordered
from cds_service.clinical.order_check import DraftedOrder, infusion_minutes
from cds_service.ehr.chart import Chart
from cds_service.ehr.elements import Resource, codings, concepts_in, members, reference_of, status_of, texts
from cds_service.ehr.reading.dosage import Dosages, dosage_texts
from cds_service.ehr.reading.medicines import (
    KETAMINES,
    Pool,
    concepts_of,
    drafted_references,
    is_for_prevention,
    medication_concepts,
    medication_of,
    medication_pool,
    routes_of,
)
from cds_service.ehr.units import Units
from cds_service.knowledge import Knowledge
from cds_service.knowledge.terminology import SYSTEMS

_DEAD: Final = frozenset({"cancelled", "entered-in-error", "revoked", "stopped", "completed"})
_STANDING: Final = frozenset({"active", "draft"})
_URGENT: Final = ("urgent", "asap", "stat")
_MONITORING: Final = ("order_oximetry", "order_blood_pressure")
# The most telling first: a nasal dose is never for prevention, wherever else the order points.
_ROUTES: Final = {
    "route_nasal": "nasal",
    "route_neuraxial": "neuraxial",
    "route_other": "other",
    "route_topical": "other",
    "route_unknown": "other",
    "route_intravenous": "iv",
}
_OFFICIAL: Final[dict[str, str]] = {}
for _uri, _name in SYSTEMS.items():
    _OFFICIAL.setdefault(_name, _uri)


def read_drafted(
    chart: Chart, knowledge: Knowledge, units: Units, *, offered: bool = False
) -> tuple[DraftedOrder, ...]:
    """
    Every (es)ketamine order drafted or being signed in this call. Never raises on odd JSON.

    `offered`: this service offered the medicine to her within a day.
    """
    pool = medication_pool(chart)
    found: list[Resource] = []
    for draft in chart.drafts:
        if (
            draft.get("resourceType") == "MedicationRequest"
            and stands(draft)
            and concepts_of(draft, pool, knowledge) & KETAMINES
            and draft not in found
        ):
            found.append(draft)
    reader = _Reader(knowledge, units, pool, offered)
    return tuple(reader.order(draft, chart.selected) for draft in found)


def another_active(chart: Chart, knowledge: Knowledge) -> bool:
    """Is an (es)ketamine order active in the chart that is not among the drafts of this call?"""
    pool = medication_pool(chart)
    drafted = drafted_references(chart)
    return any(
        status_of(order) in {"active", "on-hold"}
        and order.get("doNotPerform") is not True
        and reference_of(order) not in drafted
        and bool(concepts_of(order, pool, knowledge) & KETAMINES)
        for order in chart.of("MedicationRequest")
    )


def monitoring_ordered(chart: Chart, knowledge: Knowledge) -> bool:
    """Are oxygen saturation and blood pressure both on order, drafted or active?"""
    terms = knowledge.terminology
    ordered: set[str] = set()
    for order in _on_order(chart, "ServiceRequest"):
        for concept in (order.get("code"), *concepts_in(order.get("orderDetail"))):
            ordered |= terms.codings_of(codings(concept)).says
            for text in texts(concept):
                ordered |= {name for name, _, _ in terms.meaning_of_text("orders", text)}
    return ordered.issuperset(_MONITORING)


def already_ordered(chart: Chart) -> tuple[Ordered, ...]:
    """Every service and medicine that is drafted or active, its codes under their official URIs."""
    pool = medication_pool(chart)
    services = [
        Ordered(_codes([order.get("code")]), _words(order.get("code")), _due(order), order.get("priority") in _URGENT)
        for order in _on_order(chart, "ServiceRequest")
    ]
    medicines = [Ordered(_codes(medication_concepts(o, pool))) for o in _on_order(chart, "MedicationRequest")]
    return (*services, *medicines)


def _codes(concepts: Iterable[object]) -> frozenset[str]:
    return frozenset(
        f"{_official(system)}|{code}"
        for concept in concepts
        for coding in codings(concept)
        if isinstance(coding, Mapping)
        and isinstance(system := coding.get("system"), str)
        and isinstance(code := coding.get("code"), str)
    )


def _words(concept: object) -> str:
    return " ".join(next(texts(concept), "").lower().split())


def _due(order: Resource) -> date | None:
    """The day on which it is to be done, as written."""
    period = order.get("occurrencePeriod")
    text = order.get("occurrenceDateTime") or (period.get("start") if isinstance(period, Mapping) else None)
    try:
        return date.fromisoformat(text[:10]) if isinstance(text, str) else None
    except ValueError:
        return None


def _official(system: str) -> str:
    return _OFFICIAL.get(SYSTEMS.get(system, ""), system)


def _on_order(chart: Chart, kind: str) -> Iterator[Resource]:
    yield from (o for o in chart.drafts if o.get("resourceType") == kind and stands(o))
    drafted = drafted_references(chart)
    for order in chart.of(kind):
        if status_of(order) in _STANDING and stands(order) and reference_of(order) not in drafted:
            yield order


def stands(order: Resource) -> bool:
    """Is it to be done? What was cancelled, what is over and what must not be done is no order."""
    return order.get("doNotPerform") is not True and status_of(order) not in _DEAD


# --- one drafted order ----------------------------------------------------------------------------


class _Reader:
    """Reads orders with the tables, the units and the Medications at hand."""

    def __init__(self, knowledge: Knowledge, units: Units, pool: Pool, offered: bool) -> None:
        self.knowledge = knowledge
        self.offered = offered
        self.terms = knowledge.terminology
        self.pool = pool
        self.dosages = Dosages(units, knowledge.order_check.words)

    def order(self, order: Resource, selected: frozenset[str]) -> DraftedOrder:
        strengths = self._strengths(order)
        strength = next(iter(strengths)) if len(strengths) == 1 else None
        told = self.dosages.stated(order)
        if told.volume_ml is not None and not {told.dose_mg, told.dose_mg_per_kg} - {None} and strength is not None:
            told.dose_mg = told.volume_ml * strength
        route = self._route(order)
        unreadable = {"strength"} if len(strengths) > 1 else set()
        if route == "route_unknown":  # never taken for intravenous, and said to be what it is
            unreadable.add("route")
        drafted = DraftedOrder(
            reference=reference_of(order),
            medicine=self._medicine(order),
            route=_ROUTES.get(route or ""),
            for_prevention=is_for_prevention(order, self.pool, self.knowledge, offered=self.offered),
            dose_mg=told.dose_mg,
            dose_mg_per_kg=told.dose_mg_per_kg,
            minutes=told.minutes,
            bolus=told.bolus,
            repeats=told.repeats,
            strength=strength,
            selected=reference_of(order) in selected,
            dose_is_range=told.dose_is_range,
            volume_ml=told.volume_ml,
            mixed_ml=told.mixed_ml,
            longest_minutes=told.longest_minutes,
            rate_mg_per_min=told.rate_mg_per_min,
            rate_mg_per_kg_per_min=told.rate_mg_per_kg_per_min,
            rate_ml_per_h=told.rate_ml_per_h,
            repeatable=told.repeatable,
            unreadable=frozenset(told.unreadable | unreadable),
        )
        return replace(drafted, minutes=infusion_minutes(drafted, None))

    # -- medicine, route, strength

    def _medicine(self, order: Resource) -> str | None:
        """Esketamine or ketamine. Some say "ketamine" beside it as its class: only evidence of its own counts."""
        named: set[str] = set()
        for concept in medication_concepts(order, self.pool):
            for single in _said_singly(concept):
                found = concepts_of({"medicationCodeableConcept": single}, Pool(), self.knowledge) & KETAMINES
                if found:
                    named.add("ketamine" if found == {"ketamine"} else "esketamine")
        return named.pop() if len(named) == 1 else None

    def _route(self, order: Resource) -> str | None:
        """By the route, else by the words of the dosage, else by the product when it names only one."""
        named = routes_of(order, self.terms)
        if not named:
            named = self._routes_in(dosage_texts(order))
        if not named or named == {"route_unknown"}:
            product = concepts_of(order, self.pool, self.knowledge)
            by_product = self._routes_in(text for c in medication_concepts(order, self.pool) for text in texts(c))
            if "esketamine_nasal" in product or "route_nasal" in by_product:
                return "route_nasal"
            named = named or by_product
            if len(named) > 1:
                return None
        return next((concept for concept in _ROUTES if concept in named), None)

    def _routes_in(self, said: Iterable[str]) -> frozenset[str]:
        return frozenset(
            name
            for text in said
            for name, _, _ in self.terms.meaning_of_text("orders", text)
            if name.startswith("route_")
        )

    def _strengths(self, order: Resource) -> set[Fraction]:
        """Every mg/mL that the product states: by its ingredient, and by its name."""
        found: set[Fraction] = set()
        medication = medication_of(order, self.pool)
        ingredients = members(medication.get("ingredient")) if medication is not None else []
        for part in ingredients:
            item = {"medicationCodeableConcept": part.get("itemCodeableConcept")}
            ours = len(ingredients) == 1 or concepts_of(item, Pool(), self.knowledge) & KETAMINES
            strength = part.get("strength")
            if ours and isinstance(strength, Mapping):
                mass = self.dosages.amount(strength.get("numerator"), "mg")
                volume = self.dosages.amount(strength.get("denominator"), "mL")
                if mass is not None and volume is not None:
                    found.add(mass / volume)
        for concept in medication_concepts(order, self.pool):
            for text in texts(concept):
                found |= self.dosages.strengths_in(text)
            found |= set(self._strengths_of_local(concept))
        return found

    def _strengths_of_local(self, concept: object) -> Iterator[Fraction]:
        """What the site's own file says of the products behind its codes."""
        named = [(c.get("system"), c.get("code")) for c in codings(concept) if isinstance(c, Mapping)]
        for row in self.knowledge.local:
            if row.strength_mg_per_ml is not None and any((row.system, code) in named for code in row.codes):
                yield Fraction(row.strength_mg_per_ml)


def _said_singly(concept: object) -> Iterator[dict[str, Any]]:
    """Each code and each text of a concept by itself, as a concept."""
    for coding in codings(concept):
        if isinstance(coding, Mapping):
            yield {"coding": [{"system": coding.get("system"), "code": coding.get("code")}]}
    for text in texts(concept):
        yield {"text": text}
