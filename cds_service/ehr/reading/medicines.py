"""Which medicines she takes, gets or is about to get, by which route, when last, and which of them nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.chart import Chart
from cds_service.ehr.elements import (
    Resource,
    codes_in,
    codings,
    concepts_in,
    first,
    local,
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
    """
    One order, administration or report: which medicine, how it stands, until when, and by which route.

    Where it is over and nobody wrote its end, `since` is its start and `until` reaches from there to now. `names` holds
    the codes and words that nobody here knows, of a medicine without a concept. A medicine that has neither is only
    pointed at, and nobody can tell what it is.
    """

    concepts: frozenset[str]
    names: frozenset[str]
    how: How
    until: Moment | None
    since: Moment | None
    routes: frozenset[str]
    infusion: bool
    for_prevention: bool
    encounter: str | None
    evidence: Evidence


# Every word and code for it, whichever of the two it is, and by whichever route.
KETAMINES: Final = frozenset({"ketamine", "esketamine", "esketamine_nasal"})
_TOPICAL: Final = "route_topical"
_NO_INFUSION: Final = frozenset({"route_nasal", "route_other", _TOPICAL})
# By status. What is listed nowhere (cancelled, entered-in-error, not-done, not-taken) never counts.
_ORDER_ACTIVE: Final = frozenset({"active", "on-hold", "draft", "unknown"})
_ORDER_ENDED: Final = frozenset({"completed", "stopped"})
_REPORT_ACTIVE: Final = frozenset({"active", "intended", "on-hold", "unknown"})
_REPORT_ENDED: Final = frozenset({"completed", "stopped"})
_GIVEN: Final = frozenset({"completed", "stopped", "unknown"})
_RUNNING: Final = frozenset({"in-progress", "on-hold"})
_COUNTING: Final = {
    "MedicationRequest": _ORDER_ACTIVE | _ORDER_ENDED,
    "MedicationAdministration": _GIVEN | _RUNNING,
    "MedicationStatement": _REPORT_ACTIVE | _REPORT_ENDED,
}
_READABLE: Final = re.compile(r"Medication/[A-Za-z0-9._~-]{1,256}")
_LONGEST_TEXT: Final = 400


def read_medicines(view: View, *, elsewhere: bool) -> dict[str, Finding]:
    """
    Every fact of the medicine table, and whether the medication list was received whole.

    `elsewhere`: the site declares that administrations are recorded in another system (D07).
    """
    listed = view.once(_medicines)
    had = _had(view.chart, elsewhere=elsewhere)
    began = _encounter_began(view.chart, view.zone)
    rows = view.knowledge.medicines.row
    found = {row.fact: _find(row, listed, had, view, began) for row in rows}
    found["administrations_elsewhere"] = Finding(State.PRESENT) if elsewhere else ABSENT
    nameless = [m for m in listed if not m.concepts and not m.names and _could_count(rows, m, view, began)]
    if had is not Had.WHOLE:
        found["medication_list"] = unknown(missing(had))
    elif nameless:
        # It points at a medicine that nobody could look up: it may be any of those that a rule asks for.
        found["medication_list"] = unknown(Doubt.UNCLEAR, *(m.evidence for m in nameless))
    else:
        found["medication_list"] = Finding(State.PRESENT)
    return found


def not_recognised(view: View) -> tuple[Evidence, ...]:
    """
    The medicines that could count now and whose codes and words tell us nothing: no rule has looked at them.

    One entry for each medicine, the most telling: what runs before what was given, ordered, or has ended.
    """
    began = _encounter_began(view.chart, view.zone)
    unknown_ones = [
        m for m in view.once(_medicines) if m.names and _could_count(view.knowledge.medicines.row, m, view, began)
    ]
    by_name: dict[frozenset[str], Evidence] = {}
    for medicine in sorted(unknown_ones, key=_how_telling):
        by_name.setdefault(medicine.names, medicine.evidence)
    return tuple(by_name.values())


_TELLING: Final = (How.RUNNING, How.GIVEN, How.DRAFTED, How.ORDERED, How.AS_NEEDED, How.ENDED)


def _how_telling(medicine: Medicine) -> tuple[int, float, str]:
    """What runs first; within that the newest, and what is not dated before it, as it may be newer still."""
    newest = -medicine.until.latest.timestamp() if medicine.until else float("-inf")
    return _TELLING.index(medicine.how), newest, medicine.evidence.reference


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


def _medicines(view: View) -> tuple[Medicine, ...]:
    chart = view.chart
    reader = _Reader(chart, view.knowledge, view.zone, view.now)
    drafted = drafted_references(chart)
    orders = [draft for draft in chart.drafts if draft.get("resourceType") == "MedicationRequest"]
    standing = (order for order in chart.of("MedicationRequest") if reference_of(order) not in drafted)
    return (
        *(medicine for draft in orders for medicine in reader.order(draft, drafted=True)),
        *(medicine for order in standing for medicine in reader.order(order, drafted=False)),
        *(medicine for given in chart.of("MedicationAdministration") for medicine in reader.administration(given)),
        *(medicine for report in chart.of("MedicationStatement") for medicine in reader.statement(report)),
    )


def drafted_references(chart: Chart) -> frozenset[str]:
    """The orders of this call, by reference: an order of the chart among them is the same one. Without id it is not."""
    return frozenset(reference for draft in chart.drafts if "/" in (reference := reference_of(draft)))


# --- which medicine an entry is about --------------------------------------------------------------


class Pool:
    """
    What orders, administrations and reports point at: Medications, and the Conditions and Observations of a reason.

    `known_at`: the servers on which an id is the EHR's own (see `Chart`). The same id elsewhere is another thing.
    """

    def __init__(
        self,
        medications: Iterable[Resource] = (),
        reasons: Iterable[Resource] = (),
        known_at: frozenset[str] = frozenset(),
    ) -> None:
        self.known_at = known_at
        self._medications = _by_reference(medications, {"Medication"})
        self._maybe_reasons = reasons

    @cached_property
    def _reasons(self) -> dict[str, Resource]:
        """Sorted only once an order points at one: a chart holds thousands of Observations."""
        return _by_reference(self._maybe_reasons, {"Condition", "Observation"})

    def holds(self, target: str) -> bool:
        """Is the Medication of this `Type/id` here?"""
        return target in self._medications

    def medication(self, reference: object, inside: Iterable[Resource]) -> Resource | None:
        """The Medication that a reference points at, here or among what its own resource contains."""
        target = local(reference, self.known_at) or ""
        return _contained(target, inside) if target.startswith("#") else self._medications.get(target)

    def reason(self, reference: object, inside: Iterable[Resource]) -> Resource | None:
        """The Condition or Observation that a reference points at, likewise."""
        target = local(reference, self.known_at) or ""
        return _contained(target, inside) if target.startswith("#") else self._reasons.get(target)


def medication_pool(chart: Chart) -> Pool:
    """What the chart holds, and what Epic sends as draft orders of their own."""
    reasons = (*chart.of("Condition"), *chart.of("Observation"))
    return Pool((*chart.of("Medication"), *chart.drafts), reasons, chart.known_at)


def _by_reference(resources: Iterable[Resource], kinds: set[str]) -> dict[str, Resource]:
    """Those of these types, by each reference that may point at them."""
    held: dict[str, Resource] = {}
    for one in (one for one in resources if one.get("resourceType") in kinds):
        held[reference_of(one)] = one
        held[f"urn:uuid:{one.get('id')}"] = one
    return held


def _contained(target: str, inside: Iterable[Resource]) -> Resource | None:
    # Some write the "#" of the reference into the id, too.
    return next((one for one in inside if f"#{str(one.get('id')).removeprefix('#')}" == target), None)


def wanted_medications(resources: Iterable[Resource], pool: Pool, knowledge: Knowledge | None = None) -> frozenset[str]:
    """
    The `Medication/id` references that must be read from the EHR to tell what these entries are about.

    Those of orders, administrations and reports that count at all, are neither contained nor in the pool, and are not
    understood from their code or display. Without `knowledge` any code or display counts as understood.
    """
    return frozenset(
        target
        for resource in resources
        if status_of(resource) in _COUNTING.get(str(resource.get("resourceType")), ())
        and resource.get("doNotPerform") is not True
        and (target := local(resource.get("medicationReference"), pool.known_at)) is not None
        and _READABLE.fullmatch(target)
        and not pool.holds(target)
        and not (_names(resource, pool) if knowledge is None else concepts_of(resource, pool, knowledge))
    )


def concepts_of(resource: Resource, pool: Pool, knowledge: Knowledge) -> frozenset[str]:
    """
    Which medicines an order, administration or report is about: by code, and by the words beside it.

    The code may stand in the entry, in a contained Medication, or in one of the same Bundle (Epic). Real orders carry
    product codes that no list holds whole, so the words always speak, too.
    """
    terms = knowledge.terminology
    negated = _negated(knowledge.order_check.words.negations)
    found: set[str] = set()
    for concept in medication_concepts(resource, pool):
        found |= terms.codings_of(codings(concept)).says
        for text in texts(concept):
            said = negated.sub(" ", text[:_LONGEST_TEXT])
            found |= {name for name, _, _ in terms.meaning_of_text("medicines", said)}
    return frozenset(found)


@lru_cache(maxsize=4)
def _negated(negations: tuple[str, ...]) -> re.Pattern[str]:
    """A negation and the word that it denies: "without epinephrine"."""
    words = "|".join(re.escape(word) for word in sorted(negations, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{words})\s+\S+", re.IGNORECASE)


def medication_concepts(resource: Resource, pool: Pool) -> Iterator[object]:
    """Each CodeableConcept that says what an entry is about, wherever its medicine is described."""
    yield resource.get("medicationCodeableConcept")
    reference = resource.get("medicationReference")
    if not isinstance(reference, dict):
        return
    yield {"text": reference.get("display")}
    medication = medication_of(resource, pool)
    if medication is None:
        return
    yield medication.get("code")
    inside = (*members(resource.get("contained")), *members(medication.get("contained")))
    for ingredient in members(medication.get("ingredient")):
        yield ingredient.get("itemCodeableConcept")
        item = ingredient.get("itemReference")
        if isinstance(item, dict):
            yield {"text": item.get("display")}
            substance = pool.medication(item, inside)
            yield substance.get("code") if substance is not None else None


def medication_of(resource: Resource, pool: Pool) -> Resource | None:
    """The Medication that an entry points at: contained in it, or in the pool."""
    return pool.medication(resource.get("medicationReference"), members(resource.get("contained")))


def _names(resource: Resource, pool: Pool) -> frozenset[str]:
    """Every code and every word by which an entry names its medicine, known or not. For comparing only."""
    return frozenset(
        name.lower()
        for concept in medication_concepts(resource, pool)
        for name in (*codes_in(concept), *texts(concept))
        if name.strip()
    )


# --- by which route, and why ----------------------------------------------------------------------


def routes_of(resource: Resource, terms: Terminology) -> frozenset[str]:
    """The routes that an entry names, as concepts; empty when it names none."""
    found: set[str] = set()
    for dosage in _dosages(resource):
        route = dosage.get("route")
        coded = {c for c in terms.codings_of(codings(route)).says if c.startswith("route_")}
        if not coded:
            for text in texts(route):
                coded |= {n for n, _, _ in terms.meaning_of_text("orders", text) if n.startswith("route_")}
        if not coded and isinstance(route, dict) and (codings(route) or route.get("text")):
            coded = {"route_unknown"}
        found |= coded
    return frozenset(found)


def is_for_prevention(resource: Resource, pool: Pool, knowledge: Knowledge, *, offered: bool = False) -> bool:
    """
    Is the reason postpartum depression: by code, by words, by our protocol's uri, or by the site's own orderable?

    `offered`: this service offered the medicine to her within a day. Then an order that states no reason is for that.
    """
    terms = knowledge.terminology
    for named in medication_concepts(resource, pool) if knowledge.local else ():
        if "reason_postpartum_depression" in terms.codings_of(codings(named)).says:
            return True
    for reason in _reasons(resource, pool):
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
    return offered and not _states_a_reason(resource)


def _reasons(resource: Resource, pool: Pool) -> Iterator[object]:
    """Each CodeableConcept that says what an entry is for: its own, or of the Condition or Observation it points at."""
    yield from concepts_in(resource.get("reasonCode"))
    for reference in members(resource.get("reasonReference")):
        yield {"text": reference.get("display")}
        if (reason := pool.reason(reference, members(resource.get("contained")))) is not None:
            yield reason.get("code")
            yield reason.get("valueCodeableConcept")


def _states_a_reason(resource: Resource) -> bool:
    """Codes, words, or a pointer to a reason: whatever it is, somebody meant something by it."""
    return any(codings(r) or any(texts(r)) for r in concepts_in(resource.get("reasonCode"))) or bool(
        members(resource.get("reasonReference"))
    )


# --- how an entry stands --------------------------------------------------------------------------


class _Reader:
    """Reads the entries of one chart, with the Medications and orders that they point at."""

    def __init__(self, chart: Chart, knowledge: Knowledge, zone: tzinfo, now: datetime) -> None:
        self.knowledge = knowledge
        self.zone = zone
        self.now = now
        self.pool = medication_pool(chart)
        orders = (*chart.of("MedicationRequest"), *chart.drafts)
        self.orders = {reference_of(o): o for o in orders if o.get("resourceType") == "MedicationRequest"}

    def order(self, resource: Resource, *, drafted: bool) -> Iterator[Medicine]:
        status = status_of(resource)
        if resource.get("doNotPerform") is True or (not drafted and status not in _ORDER_ACTIVE | _ORDER_ENDED):
            return
        if drafted and status in {"cancelled", "entered-in-error"}:
            return
        if _all_as_needed(resource.get("dosageInstruction")):
            how = How.AS_NEEDED
        elif drafted or status == "draft":
            how = How.DRAFTED
        else:
            how = How.ORDERED if status in _ORDER_ACTIVE else How.ENDED
        authored = moment(resource.get("authoredOn"), self.zone)
        start, end = _order_runs(resource, self.zone)
        if start is None and _is_rated(resource.get("dosageInstruction")):
            start = authored  # an infusion: from when it was written it may have run until now
        yield from self._medicine(
            resource,
            how,
            until=first((end, authored)) if how is How.ENDED else authored,
            since=start if how is How.ENDED and end is None else None,
            # To warn: a scheduled order of a vasopressor runs. Mouth, nose and skin are ruled out by route.
            infusion=True,
            word=how.value if how is not How.ENDED else status,
        )

    def administration(self, resource: Resource) -> Iterator[Medicine]:
        status = status_of(resource)
        if status not in _GIVEN | _RUNNING:
            return
        start, end = span(resource.get("effectivePeriod"), self.zone)
        at = moment(resource.get("effectiveDateTime"), self.zone)
        rated = _is_rated(resource.get("dosage"))
        running = status in _RUNNING and end is None
        yield from self._medicine(
            resource,
            How.RUNNING if running else How.GIVEN,
            until=first((end, at, start)),
            since=start if first((end, at)) is None and not running else None,
            infusion=running or rated or start is not None,
            word="running" if running else "given",
            ordered_by=self.orders.get(local(resource.get("request"), self.pool.known_at) or ""),
        )

    def statement(self, resource: Resource) -> Iterator[Medicine]:
        status = status_of(resource)
        start, end = span(resource.get("effectivePeriod"), self.zone)
        at = moment(resource.get("effectiveDateTime"), self.zone)
        if status in _REPORT_ACTIVE:
            how, word = How.ORDERED, "reported"
            if _all_as_needed(resource.get("dosage")):
                how = How.AS_NEEDED
        elif status in _REPORT_ENDED:
            how, word = How.ENDED, "reported, ended"
        else:
            return
        until = first((end, at))
        since = start if how is How.ENDED and until is None else None
        yield from self._medicine(resource, how, until=until, since=since, infusion=False, word=word)

    def _medicine(
        self,
        resource: Resource,
        how: How,
        *,
        until: Moment | None,
        since: Moment | None,
        infusion: bool,
        word: str,
        ordered_by: Resource | None = None,
    ) -> Iterator[Medicine]:
        concepts = concepts_of(resource, self.pool, self.knowledge)
        names: frozenset[str] = frozenset()
        if not concepts and ordered_by is not None:  # a dose often says less than the order that it was given by
            concepts, names = concepts_of(ordered_by, self.pool, self.knowledge), _names(ordered_by, self.pool)
        if not concepts:
            names = names or _names(resource, self.pool)
            if not names and not resource.get("medicationReference"):
                return  # a draft whose medicine is not chosen yet (the public Sandbox sends it)
        if since is not None:  # over, and nobody wrote when
            until = Moment(since.earliest, max(since.latest, self.now), Precision.YEAR, since.text)
        yield Medicine(
            concepts=concepts,
            names=frozenset() if concepts else names,
            how=how,
            until=until,
            since=since,
            routes=self._routes(resource, concepts),
            infusion=infusion,
            for_prevention=any(
                is_for_prevention(r, self.pool, self.knowledge) for r in (resource, ordered_by) if r is not None
            ),
            encounter=relative(resource.get("context") or resource.get("encounter")),
            evidence=Evidence(reference_of(resource), word, None, until.text if until else None),
        )

    def _routes(self, resource: Resource, concepts: frozenset[str]) -> frozenset[str]:
        """The routes that an entry names. Of ketamine on the skin, its words may tell what no route does."""
        terms = self.knowledge.terminology
        routes = routes_of(resource, terms)
        if routes or concepts.isdisjoint(KETAMINES):
            return routes
        dosed = (d.get("text") for d in _dosages(resource))
        named = (text for concept in medication_concepts(resource, self.pool) for text in texts(concept))
        said = (text for text in (*dosed, *named) if isinstance(text, str))
        return frozenset(
            {_TOPICAL for text in said for n, _, _ in terms.meaning_of_text("orders", text) if n == _TOPICAL}
        )


def _dosages(resource: Resource) -> list[Resource]:
    return [*members(resource.get("dosageInstruction")), *members(resource.get("dosage"))]


def _all_as_needed(dosages: object) -> bool:
    listed = members(dosages)
    return bool(listed) and all(d.get("asNeededBoolean") is True or d.get("asNeededCodeableConcept") for d in listed)


def _order_runs(resource: Resource, zone: tzinfo) -> tuple[Moment | None, Moment | None]:
    """From when until when an order is to be carried out: by all of its dosages, else by when it may be had."""
    dispense = resource.get("dispenseRequest")
    start, end = span(dispense.get("validityPeriod") if isinstance(dispense, dict) else None, zone)
    bounds = [
        span(repeat.get("boundsPeriod"), zone)
        for dosage in members(resource.get("dosageInstruction"))
        if isinstance(timing := dosage.get("timing"), dict) and isinstance(repeat := timing.get("repeat"), dict)
    ]
    bounds = [bound for bound in bounds if any(bound)]
    ends = [last for _, last in bounds if last is not None]
    if bounds and len(ends) == len(bounds):
        end = max(ends, key=lambda last: last.latest)
    return first((*(began for began, _ in bounds), start)), end


def _is_rated(dosages: object) -> bool:
    """Is it given at a rate?"""
    entries = (entry for dosage in members(dosages) for entry in (dosage, *members(dosage.get("doseAndRate"))))
    return any(name.startswith("rate") for entry in entries for name in entry)


# --- what it counts for ---------------------------------------------------------------------------


def _find(row: MedicineFact, listed: Iterable[Medicine], had: Had, view: View, began: Moment | None) -> Finding:
    wanted, unless = frozenset(row.concepts), frozenset(row.unless)
    found: list[Medicine] = []
    nameless: list[Medicine] = []
    for medicine in listed:
        if medicine.concepts & wanted and not medicine.concepts & unless:
            if _counts(row, medicine, view, began) and not _on_the_skin(medicine, wanted):
                found.append(medicine)
        elif not medicine.concepts and not medicine.names and _counts(row, medicine, view, began):
            nameless.append(medicine)
    if found:
        return Finding(State.PRESENT, tuple(m.evidence for m in found), at=found[0].until)
    if had is not Had.WHOLE:
        return unknown(missing(had))
    return unknown(Doubt.UNCLEAR, *(m.evidence for m in nameless)) if nameless else ABSENT


def _could_count(rows: Iterable[MedicineFact], medicine: Medicine, view: View, began: Moment | None) -> bool:
    """Would it count for any row, were it the medicine of that row?"""
    return any(_counts(row, medicine, view, began) for row in rows)


def _counts(row: MedicineFact, medicine: Medicine, view: View, began: Moment | None) -> bool:
    """Whatever the medicine is: is it given as the row demands, and when it matters?"""
    return (
        _by_route(row, medicine)
        and (row.form == "any" or (row.form == "infusion") == medicine.infusion)
        and (row.for_prevention is None or row.for_prevention == medicine.for_prevention)
        and _matters(row, medicine, view.now)
        and (not row.this_encounter or _in_this_encounter(medicine, view.chart, began))
    )


def _on_the_skin(medicine: Medicine, wanted: frozenset[str]) -> bool:
    """Ketamine in a cream is no systemic exposure. Other medicines may be: opioids come as patches."""
    return medicine.routes == {_TOPICAL} and wanted <= KETAMINES


def _by_route(row: MedicineFact, medicine: Medicine) -> bool:
    """Neuraxial only when the entry says so and says nothing else; an unknown route is systemic."""
    neuraxial = medicine.routes == {"route_neuraxial"}
    if row.form == "infusion" and medicine.routes and medicine.routes <= _NO_INFUSION:
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
            # To warn, it was last taken when it ended: by its end, else by now where a start is all that it tells, else
            # by when the order was written.
            return row.ended and row.within_hours is not None and _within(row, medicine, now)


def _within(row: MedicineFact, medicine: Medicine, now: datetime) -> bool:
    window = timedelta(seconds=float(row.within_hours or 0) * 3600)
    return medicine.until is None or medicine.until.possibly_within(window, now)


def _in_this_encounter(medicine: Medicine, chart: Chart, began: Moment | None) -> bool:
    """By its own encounter, else by date; what does not tell may have been in this stay."""
    if chart.encounter is None or medicine.until is None:
        return True
    if medicine.encounter == reference_of(chart.encounter):
        return True
    return began is None or not (medicine.since or medicine.until).surely_before(began)
