"""Which medicines she takes, gets or is about to get, by which route, and when the last dose was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from cds_service.clinical.facts import ABSENT, Evidence, Finding, State, unknown
from cds_service.clinical.moment import Moment
from cds_service.ehr.chart import Chart, Had
from cds_service.ehr.elements import (
    Resource,
    codings,
    concepts_in,
    first,
    members,
    moment,
    reference_of,
    relative,
    span,
    status_of,
    texts,
)
from cds_service.ehr.reading.view import View, missing
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import MedicineFact
from cds_service.knowledge.terminology import Terminology


class How(StrEnum):
    """In which way an entry says that the medicine matters."""

    ORDERED = "ordered"
    DRAFTED = "drafted"
    AS_NEEDED = "as needed"
    RUNNING = "running"
    GIVEN = "given"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Medicine:
    """One order, administration or report: which medicine, how it stands, until when, and by which route."""

    concepts: frozenset[str]
    how: How
    until: Moment | None
    routes: frozenset[str]
    infusion: bool
    for_prevention: bool
    encounter: str | None
    evidence: Evidence
    reference: str


_ORDER_ACTIVE: Final = frozenset({"active", "on-hold", "draft", "unknown"})
_ORDER_ENDED: Final = frozenset({"completed", "stopped"})
_REPORT_ACTIVE: Final = frozenset({"active", "intended", "on-hold", "unknown"})
_GIVEN: Final = frozenset({"completed", "stopped", "unknown"})
_RUNNING: Final = frozenset({"in-progress", "on-hold"})


def read_medicines(view: View, *, elsewhere: bool) -> dict[str, Finding]:
    """
    Every fact of the medicine table, and whether the medication list was received whole.

    `elsewhere`: the site declares that administrations are recorded in another system (D07).
    """
    listed = tuple(_medicines(view.chart, view.knowledge, view.zone))
    had = _had(view.chart, elsewhere=elsewhere)
    began = _encounter_began(view.chart, view.zone)
    found = {row.fact: _find(row, listed, had, view, began) for row in view.knowledge.medicines.row}
    found["administrations_elsewhere"] = Finding(State.PRESENT) if elsewhere else ABSENT
    found["medication_list"] = Finding(State.PRESENT) if had is Had.WHOLE else unknown(missing(had))
    return found


def _had(chart: Chart, *, elsewhere: bool) -> Had:
    """Orders and administrations. Reported medicines only where the EHR has them: failing counts, silence does not."""
    needed = [chart.had["medication_orders"]]
    if not elsewhere:
        needed.append(chart.had["medication_administrations"])
    reported = chart.had["reported_medicines"]
    if reported is not Had.NOT_ASKED:
        needed.append(reported)
    return min(needed)


def _encounter_began(chart: Chart, zone: tzinfo) -> Moment | None:
    return span(chart.encounter.get("period"), zone)[0] if chart.encounter is not None else None


def _medicines(chart: Chart, knowledge: Knowledge, zone: tzinfo) -> Iterator[Medicine]:
    others = (*chart.of("Medication"), *(d for d in chart.drafts if d.get("resourceType") == "Medication"))
    pool = {reference_of(m): m for m in others}
    drafts = [d for d in chart.drafts if d.get("resourceType") == "MedicationRequest"]
    drafted = {reference_of(d) for d in drafts}
    for resource in drafts:
        yield from _order(resource, pool, knowledge, zone, drafted=True)
    for resource in chart.of("MedicationRequest"):
        if reference_of(resource) not in drafted:
            yield from _order(resource, pool, knowledge, zone, drafted=False)
    prevention = {
        reference_of(order)
        for order in (*drafts, *chart.of("MedicationRequest"))
        if is_for_prevention(order, knowledge)
    }
    for resource in chart.of("MedicationAdministration"):
        yield from _administration(resource, pool, knowledge, zone, prevention)
    for resource in chart.of("MedicationStatement"):
        yield from _statement(resource, pool, knowledge, zone)


def concepts_of(resource: Resource, pool: Mapping[str, Resource], knowledge: Knowledge) -> frozenset[str]:
    """
    Which medicines an order, administration or report is about: by code, and by the words beside it.

    The code may stand in the entry, in a contained Medication, or in one of the same Bundle (Epic). Real orders carry
    product codes that no list holds whole, so the words always speak, too.
    """
    terms = knowledge.terminology
    found: set[str] = set()
    for concept in _medication_concepts(resource, pool):
        coded = terms.codings_of(codings(concept)).says
        said: set[str] = set()
        for text in texts(concept):
            said |= {name for name, _, _ in terms.meaning_of_text("medicines", text)}
        found |= coded | said
    return frozenset(found)


def _medication_concepts(resource: Resource, pool: Mapping[str, Resource]) -> Iterator[object]:
    yield resource.get("medicationCodeableConcept")
    reference = resource.get("medicationReference")
    if not isinstance(reference, dict):
        return
    yield {"text": reference.get("display")}
    target = relative(reference)
    contained = {f"#{m.get('id')}": m for m in members(resource.get("contained"))}
    medication = contained.get(target or "") or pool.get(target or "")
    if medication is not None:
        yield medication.get("code")
        for ingredient in members(medication.get("ingredient")):
            yield ingredient.get("itemCodeableConcept")


def routes_of(resource: Resource, terms: Terminology) -> frozenset[str]:
    """The routes that an entry names, as concepts; empty when it names none."""
    found: set[str] = set()
    dosages = [*members(resource.get("dosageInstruction")), *members(resource.get("dosage"))]
    for dosage in dosages:
        route = dosage.get("route")
        coded = {c for c in terms.codings_of(codings(route)).says if c.startswith("route_")}
        if not coded:
            for text in texts(route):
                coded |= {n for n, _, _ in terms.meaning_of_text("orders", text) if n.startswith("route_")}
        if not coded and isinstance(route, dict) and (codings(route) or route.get("text")):
            coded = {"route_unknown"}
        found |= coded
    return frozenset(found)


def is_for_prevention(resource: Resource, knowledge: Knowledge) -> bool:
    """Is the reason postpartum depression, by code, by words, or by our protocol's uri?"""
    terms = knowledge.terminology
    for reason in concepts_in(resource.get("reasonCode")):
        if "reason_postpartum_depression" in terms.codings_of(codings(reason)).says:
            return True
        if any(
            name == "reason_postpartum_depression"
            for text in texts(reason)
            for name, _, _ in terms.meaning_of_text("orders", text)
        ):
            return True
    ours = {protocol.uri for protocol in knowledge.protocols.protocol}
    for element in ("instantiatesUri", "instantiatesCanonical", "instantiates"):
        listed = resource.get(element)
        if isinstance(listed, list) and any(isinstance(u, str) and u.split("|")[0] in ours for u in listed):
            return True
    return False


def has_reason(resource: Resource) -> bool:
    """Does the order say why at all?"""
    return bool(concepts_in(resource.get("reasonCode")) or members(resource.get("reasonReference")))


def _order(
    resource: Resource, pool: Mapping[str, Resource], knowledge: Knowledge, zone: tzinfo, *, drafted: bool
) -> Iterator[Medicine]:
    status = status_of(resource)
    if resource.get("doNotPerform") is True or (not drafted and status not in _ORDER_ACTIVE | _ORDER_ENDED):
        return
    if drafted and status in {"cancelled", "entered-in-error"}:
        return
    if _all_as_needed(resource):
        how = How.AS_NEEDED
    elif drafted or status == "draft":
        how = How.DRAFTED
    else:
        how = How.ORDERED if status in _ORDER_ACTIVE else How.ENDED
    authored = moment(resource.get("authoredOn"), zone)
    yield _medicine(
        resource,
        concepts_of(resource, pool, knowledge),
        how,
        until=first((_order_ends(resource, zone), authored)) if how is How.ENDED else authored,
        knowledge=knowledge,
        # To warn: a scheduled order of a vasopressor runs. Mouth, nose and skin are ruled out by route.
        infusion=True,
        for_prevention=is_for_prevention(resource, knowledge),
        word=how.value if how is not How.ENDED else str(status),
    )


def _all_as_needed(resource: Resource) -> bool:
    dosages = members(resource.get("dosageInstruction"))
    return bool(dosages) and all(d.get("asNeededBoolean") is True or d.get("asNeededCodeableConcept") for d in dosages)


def _order_ends(resource: Resource, zone: tzinfo) -> Moment | None:
    dispense = resource.get("dispenseRequest")
    validity = dispense.get("validityPeriod") if isinstance(dispense, dict) else None
    bounds = [
        span(repeat.get("boundsPeriod"), zone)[1]
        for dosage in members(resource.get("dosageInstruction"))
        if isinstance(timing := dosage.get("timing"), dict) and isinstance(repeat := timing.get("repeat"), dict)
    ]
    ends: Moment | None = first((*bounds, span(validity, zone)[1]))
    return ends


def _administration(
    resource: Resource, pool: Mapping[str, Resource], knowledge: Knowledge, zone: tzinfo, prevention: set[str]
) -> Iterator[Medicine]:
    status = status_of(resource)
    if status not in _GIVEN | _RUNNING:
        return
    start, end = span(resource.get("effectivePeriod"), zone)
    at = moment(resource.get("effectiveDateTime"), zone)
    dosage = resource.get("dosage")
    rated = isinstance(dosage, dict) and any(name.startswith("rate") for name in dosage)
    running = status in _RUNNING and end is None
    yield _medicine(
        resource,
        concepts_of(resource, pool, knowledge),
        How.RUNNING if running else How.GIVEN,
        until=first((end, at, start)),
        knowledge=knowledge,
        infusion=running or rated or start is not None,
        for_prevention=is_for_prevention(resource, knowledge) or relative(resource.get("request")) in prevention,
        word="running" if running else "given",
    )


def _statement(
    resource: Resource, pool: Mapping[str, Resource], knowledge: Knowledge, zone: tzinfo
) -> Iterator[Medicine]:
    status = status_of(resource)
    _, end = span(resource.get("effectivePeriod"), zone)
    at = moment(resource.get("effectiveDateTime"), zone)
    if status in _REPORT_ACTIVE:
        how, word = How.ORDERED, "reported"
        if _statement_as_needed(resource):
            how = How.AS_NEEDED
    elif status in {"completed", "stopped"}:
        how, word = How.ENDED, "reported, ended"
    else:
        return
    yield _medicine(
        resource,
        concepts_of(resource, pool, knowledge),
        how,
        until=first((end, at)),
        knowledge=knowledge,
        infusion=False,
        for_prevention=is_for_prevention(resource, knowledge),
        word=word,
    )


def _statement_as_needed(resource: Resource) -> bool:
    dosages = members(resource.get("dosage"))
    return bool(dosages) and all(d.get("asNeededBoolean") is True or d.get("asNeededCodeableConcept") for d in dosages)


def _medicine(
    resource: Resource,
    concepts: frozenset[str],
    how: How,
    *,
    until: Moment | None,
    knowledge: Knowledge,
    infusion: bool,
    for_prevention: bool,
    word: str,
) -> Medicine:
    return Medicine(
        concepts=concepts,
        how=how,
        until=until,
        routes=routes_of(resource, knowledge.terminology),
        infusion=infusion,
        for_prevention=for_prevention,
        encounter=relative(resource.get("context") or resource.get("encounter")),
        evidence=Evidence(reference_of(resource), word, None, until.text if until else None),
        reference=reference_of(resource),
    )


def _find(row: MedicineFact, listed: Iterable[Medicine], had: Had, view: View, began: Moment | None) -> Finding:
    wanted, unless = frozenset(row.concepts), frozenset(row.unless)
    found = [
        m
        for m in listed
        if m.concepts & wanted
        and not m.concepts & unless
        and _by_route(row, m)
        and (row.form == "any" or (row.form == "infusion") == m.infusion)
        and (row.for_prevention is None or row.for_prevention == m.for_prevention)
        and _matters(row, m, view.now)
        and (not row.this_encounter or _in_this_encounter(m, view.chart, began))
    ]
    if found:
        return Finding(State.PRESENT, tuple(m.evidence for m in found), at=found[0].until)
    return ABSENT if had is Had.WHOLE else unknown(missing(had))


def _by_route(row: MedicineFact, medicine: Medicine) -> bool:
    """Neuraxial only when the entry says so and says nothing else; an unknown route is systemic."""
    neuraxial = medicine.routes == {"route_neuraxial"}
    if row.form == "infusion" and medicine.routes and medicine.routes <= {"route_nasal", "route_other"}:
        return False
    return {"any": True, "systemic": not neuraxial, "neuraxial": neuraxial}[row.route]


def _matters(row: MedicineFact, medicine: Medicine, now: datetime) -> bool:
    """Active, running, or given within the window: to warn, an undated dose counts."""
    if row.prn_only:
        return medicine.how is How.AS_NEEDED
    match medicine.how:
        case How.AS_NEEDED:
            return False
        case How.ORDERED | How.DRAFTED:
            return row.active
        case How.RUNNING:
            return row.active or row.for_prevention is True
        case How.GIVEN:
            if row.this_encounter:
                return True
            return row.within_hours is not None and _within(row, medicine, now)
        case How.ENDED:
            # A stopped order tells when it was last taken only by its end, else by when it was written.
            return row.within_hours is not None and medicine.until is not None and _within(row, medicine, now)


def _within(row: MedicineFact, medicine: Medicine, now: datetime) -> bool:
    window = timedelta(seconds=float(row.within_hours or 0) * 3600)
    return medicine.until is None or medicine.until.possibly_within(window, now)


def _in_this_encounter(medicine: Medicine, chart: Chart, began: Moment | None) -> bool:
    """By its own encounter, else by date; what does not tell may have been in this stay."""
    if chart.encounter is None or medicine.until is None:
        return True
    if medicine.encounter == reference_of(chart.encounter):
        return True
    return began is None or not medicine.until.surely_before(began)
