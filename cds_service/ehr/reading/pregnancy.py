"""The pregnancy and the birth: when it began, whether the child is born, how, under which anaesthesia."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment
from cds_service.ehr.chart import Had
from cds_service.ehr.elements import (
    Resource,
    codings,
    first,
    moment,
    number,
    reference_of,
    span,
    status_of,
    texts,
)
from cds_service.ehr.reading.observations import Observed
from cds_service.ehr.reading.view import View
from cds_service.knowledge.terminology import Terminology

_DELIVERIES: Final = frozenset({"delivery", "caesarean", "vaginal_birth", "delivery_procedure_expansion"})
_DONE: Final = frozenset({"completed"})
_UNDER_WAY: Final = frozenset({"completed", "in-progress", "preparation", "on-hold", "stopped"})
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_ORDERED: Final = frozenset({"active", "on-hold", "draft", "completed"})
_COUNTS: Final = frozenset({"final", "amended", "corrected"})


def began(view: View, observed: Observed, birth: Finding) -> datetime:
    """
    When this pregnancy began: last menstrual period, else 280 days before the due date, else 300 days ago.

    `birth` is the birth that ended it, absent while she is pregnant. A date that cannot belong to this pregnancy (it
    lasts 300 days at most) is one of an earlier pregnancy that nobody took off the chart.
    """
    times = view.knowledge.times
    end = birth.at.latest if birth.at is not None else view.now
    longest = timedelta(days=times.pregnancy_days)
    overdue = timedelta(days=times.pregnancy_days - times.gestation_days)
    periods = [m.earliest for m in _dates(observed, "last_menstrual_period", view.zone)]
    if hers := [start for start in periods if end - longest <= start <= end]:
        return max(hers)
    due = _dates(observed, "due_date", view.zone)
    if ahead := [m.earliest for m in due if end - overdue <= m.latest and m.earliest <= end + longest]:
        return max(ahead) - timedelta(days=times.gestation_days)
    return view.now - longest


def _dates(observed: Observed, concept: str, zone: tzinfo) -> list[Moment]:
    found = (moment(entry.resource.get("valueDateTime"), zone) for entry in observed.of(concept))
    return [at for at in found if at is not None]


def read_birth(view: View, observed: Observed) -> Finding:
    """Birth of the last child, cord clamp or completed delivery procedure: the latest that is not in the future."""
    found = [
        (at, evidence)
        for at, evidence in (*_births_observed(view, observed), *_births_done(view))
        if not at.is_future(view.now)
    ]
    if not found:
        return ABSENT
    at, evidence = max(found, key=lambda pair: (pair[0].latest, pair[0].earliest, pair[1].reference))
    return Finding(State.PRESENT, (evidence,), at=at)


def _births_observed(view: View, observed: Observed) -> Iterator[tuple[Moment, Evidence]]:
    for entry in observed:
        if entry.status not in _COUNTS:
            continue
        named = "birth_time" in entry.concepts
        if entry.concepts and not named:
            continue  # words speak only where the code says nothing to us
        if not named and "cord_clamp_time" not in view.means(entry.resource.get("code"), "pregnancy"):
            continue
        at = first((moment(entry.resource.get("valueDateTime"), view.zone), entry.at))
        if at is not None:
            yield at, Evidence(entry.evidence.reference, None, None, at.text)


def _births_done(view: View) -> Iterator[tuple[Moment, Evidence]]:
    for procedure in view.chart.of("Procedure"):
        if status_of(procedure) in _DONE and view.means(procedure.get("code"), "pregnancy") & _DELIVERIES:
            at = performed(procedure, view.zone)
            if at is not None:
                yield at, Evidence(reference_of(procedure), None, None, at.text)


def performed(procedure: Resource, zone: tzinfo) -> Moment | None:
    """When a Procedure was done: its end, else its time."""
    start, end = span(procedure.get("performedPeriod"), zone)
    at: Moment | None = first((moment(procedure.get("performedDateTime"), zone), end, start))
    return at


def read_due_date(view: View, observed: Observed) -> Finding:
    """Is a due date ahead?"""
    for at in _dates(observed, "due_date", view.zone):
        if at.latest >= view.now:
            return Finding(State.PRESENT, at=at)
    return ABSENT


def read_pregnancy_status(view: View, observed: Observed) -> Finding:
    """Pregnancy by an Observation of pregnancy status, beside the problem list."""
    for entry in observed.of("pregnancy_status"):
        if "pregnancy" in view.means(entry.resource.get("valueCodeableConcept"), "pregnancy"):
            return present(entry.evidence)
    return ABSENT


# --- mode and anaesthesia -------------------------------------------------------------------------


def encounter_began(view: View) -> Moment | None:
    """When the encounter of the context began, if it was sent and says so."""
    encounter = view.chart.encounter
    return span(encounter.get("period"), view.zone)[0] if encounter is not None else None


def this_birth_since(view: View, birth: Finding) -> datetime:
    """From when on procedures belong to this birth: the start of the stay, else a day before the birth or now."""
    start = encounter_began(view)
    anchor = birth.at.earliest if birth.at is not None else view.now
    day_before = anchor - timedelta(hours=view.knowledge.times.this_birth_hours)
    return min(day_before, start.earliest) if start is not None else day_before


def read_mode(view: View, observed: Observed, *, born: bool, since: datetime) -> dict[str, Finding]:
    """
    Mode of delivery: after birth from what was done, before it from what is drafted or ordered.

    Two different modes are a conflict: forceps that became a caesarean is a caesarean only if somebody says so.
    """
    caesarean: list[Evidence] = []
    vaginal: list[Evidence] = []
    for evidence, means in _modes(view, observed, born=born, since=since):
        if "caesarean" in means:
            caesarean.append(evidence)
        elif "vaginal_birth" in means:
            vaginal.append(evidence)
    if caesarean and vaginal:
        both = unknown(Doubt.CONFLICTING, *caesarean, *vaginal)
        return {"delivery_mode": both, "caesarean": both}
    if caesarean:
        return {"delivery_mode": present(*caesarean), "caesarean": present(*caesarean)}
    if vaginal:
        return {"delivery_mode": present(*vaginal), "caesarean": ABSENT}
    silent = unknown(_silence(view))
    return {"delivery_mode": silent, "caesarean": silent}


def _silence(view: View) -> Doubt:
    """Not recorded is unknown, not none: and so is not received."""
    asked = (view.had("procedures"), view.had_for("delivery_method"))
    return Doubt.NOT_RECORDED if all(h is Had.WHOLE for h in asked) else Doubt.NOT_RECEIVED


def _modes(view: View, observed: Observed, *, born: bool, since: datetime) -> Iterator[tuple[Evidence, frozenset[str]]]:
    for entry in observed.of("delivery_method"):
        if _is_since(entry.at, since):
            yield entry.evidence, view.means(entry.resource.get("valueCodeableConcept"), "pregnancy")
    # Before the birth a completed delivery is one of an earlier child.
    wanted_status = _DONE if born else _UNDER_WAY - _DONE
    for procedure in view.chart.of("Procedure"):
        if status_of(procedure) in wanted_status and _is_since(performed(procedure, view.zone), since):
            yield Evidence(reference_of(procedure)), view.means(procedure.get("code"), "pregnancy")
    if not born:
        orders = [r for r in view.chart.of("ServiceRequest") if status_of(r) in _ORDERED]
        for order in (*view.chart.drafts, *orders):
            if order.get("resourceType") == "ServiceRequest" and order.get("doNotPerform") is not True:
                yield Evidence(reference_of(order)), view.means(order.get("code"), "pregnancy")


def _is_since(at: Moment | None, since: datetime) -> bool:
    return at is None or at.latest >= since


def read_anaesthesia(view: View, since: datetime) -> dict[str, Finding]:
    """Neuraxial, general, or nobody wrote it down. Both means that the general one counts."""
    chart = view.chart
    neuraxial: list[Evidence] = []
    general: list[Evidence] = []
    procedures = [
        p for p in chart.of("Procedure") if status_of(p) in _UNDER_WAY and _is_since(performed(p, view.zone), since)
    ]
    orders = [r for r in chart.of("ServiceRequest") if status_of(r) in _ORDERED]
    drafts = [d for d in chart.drafts if d.get("resourceType") in {"ServiceRequest", "Procedure"}]
    for resource in (*procedures, *orders, *drafts):
        if resource.get("doNotPerform") is True:
            continue
        means = view.means(resource.get("code"), "pregnancy")
        if "general_anaesthesia" in means:
            general.append(Evidence(reference_of(resource)))
        elif "neuraxial_anaesthesia" in means:
            neuraxial.append(Evidence(reference_of(resource)))
    silent = unknown(_silence(view))
    told = bool(neuraxial or general)
    return {
        "anaesthesia": present(*general, *neuraxial) if told else silent,
        "general_anaesthesia": present(*general) if general else (ABSENT if told else silent),
        "neuraxial_anaesthesia": present(*neuraxial) if neuraxial else (ABSENT if told else silent),
    }


# --- the rest of the stay -------------------------------------------------------------------------


def read_asa(view: View, observed: Observed, pregnancy_began: datetime) -> Finding:
    """ASA physical status 1 to 6, this pregnancy: as a coded class, a number, or a Roman numeral."""
    terms = view.knowledge.terminology
    found: list[tuple[Moment | None, int | None, Evidence]] = []
    for entry in observed.about_any(("asa_score", *_ASA_CLASSES)):
        if entry.status not in _COUNTS:
            continue
        own_class = _asa_class(entry.concepts)
        if own_class is None and "asa_score" not in entry.concepts:
            continue
        if entry.at is None or entry.at.earliest >= pregnancy_began:
            value = own_class or _asa_value(entry.resource, terms)
            shown = None if value is None else str(value)
            found.append((entry.at, value, Evidence(entry.evidence.reference, shown, None, entry.evidence.date)))
    if not found:
        had = view.had_for("asa_score")
        return unknown(Doubt.NOT_RECORDED if had is Had.WHOLE else Doubt.NOT_RECEIVED)
    newest = max((at.latest for at, _, _ in found if at is not None), default=None)
    latest = [row for row in found if row[0] is None or row[0].latest == newest]
    values = {value for _, value, _ in latest}
    evidence = tuple(e for _, _, e in latest)
    if None in values:
        return unknown(Doubt.UNREADABLE, *evidence)
    numbers = tuple(sorted(v for v in values if v is not None))
    return Finding(State.PRESENT, evidence, values=numbers, conflict=len(numbers) > 1)


_ASA_CLASSES: Final = tuple(f"asa_class_{n}" for n in range(1, 7))


def _asa_class(concepts: frozenset[str]) -> int | None:
    return next((int(c[-1]) for c in sorted(concepts) if c.startswith("asa_class_")), None)


_ROMAN: Final = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}


def _bare(text: str) -> str:
    """The class alone: "ASA II", "Class 2" and "IIE" (emergency) are all seen."""
    return text.upper().replace("ASA", "").replace("CLASS", "").strip(" :-E")


def _asa_value(resource: Resource, terms: Terminology) -> int | None:
    concept = resource.get("valueCodeableConcept")
    coded = _asa_class(terms.codings_of(codings(concept)).says)
    if coded is not None:
        return coded
    quantity = resource.get("valueQuantity")
    plain = first((resource.get("valueInteger"), quantity.get("value") if isinstance(quantity, dict) else None))
    words = [resource.get("valueString"), *texts(concept)]
    words += [c.get("code") for c in codings(concept) if isinstance(c, dict)]
    for candidate in (plain, *words):
        told = _bare(candidate) if isinstance(candidate, str) else candidate
        if isinstance(told, str) and told in _ROMAN:
            return _ROMAN[told]
        value = number(told)
        if value is not None and value == value.to_integral_value() and 1 <= value <= len(_ROMAN):
            return int(value)
    return None


def read_breastfeeding(view: View, observed: Observed) -> Finding:
    """Assumed, unless the latest entry says no (M04)."""
    said = list(observed.of("breastfeeding_status"))
    dated = sorted((e for e in said if e.at is not None), key=lambda e: (e.at.latest if e.at else _EVER, e.issued))
    for entry in (*reversed(dated), *(e for e in said if e.at is None)):
        value = entry.resource
        if value.get("valueBoolean") is False:
            return Finding(State.ABSENT, (entry.evidence,))
        coded = view.means(value.get("valueCodeableConcept"), "pregnancy")
        if "breastfeeding_no" in coded:
            return Finding(State.ABSENT, (entry.evidence,))
        if "breastfeeding_yes" in coded or value.get("valueBoolean") is True:
            return present(entry.evidence)
    return Finding(State.PRESENT)


def read_assessments(view: View, observed: Observed) -> tuple[Moment, ...]:
    """Each suicide risk assessment that is recorded, with its date."""
    found = [
        at
        for procedure in view.chart.of("Procedure")
        if status_of(procedure) in _DONE
        and (at := performed(procedure, view.zone)) is not None
        and "suicide_risk_assessment" in view.means(procedure.get("code"), "screens")
    ]
    found += [entry.at for entry in observed.of("suicide_risk_assessment") if entry.at is not None]
    return tuple(found)
