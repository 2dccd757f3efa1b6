"""The pregnancy and the birth: when it began, whether the child is born, how, under which anaesthesia."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.elements import (
    Resource,
    codings,
    first,
    moment,
    number,
    reference_of,
    span,
    spanning,
    status_of,
    texts,
)
from cds_service.ehr.reading.observations import Observed
from cds_service.ehr.reading.view import View, missing
from cds_service.knowledge.terminology import Terminology

_DELIVERIES: Final = frozenset({"delivery", "caesarean", "vaginal_birth", "delivery_procedure_expansion"})
_DONE: Final = frozenset({"completed"})
_UNDER_WAY: Final = frozenset({"completed", "in-progress", "preparation", "on-hold", "stopped"})
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_ORDERED: Final = frozenset({"active", "on-hold", "draft", "completed"})
_DEAD: Final = frozenset({"entered-in-error", "revoked", "cancelled"})
_DENIED: Final = re.compile(r"(?<!\w)(?:not?|non|never|denies|negative)(?!\w)")
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
        if entry.resource.get("dataAbsentReason"):
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
    """When a Procedure was done: at its time, or somewhere between its start and its end."""
    times = (moment(procedure.get("performedDateTime"), zone), *span(procedure.get("performedPeriod"), zone))
    return spanning(at for at in times if at is not None)


def read_due_date(view: View, observed: Observed) -> Finding:
    """Is a due date ahead, and not further than a pregnancy lasts?"""
    furthest = view.now + timedelta(days=view.knowledge.times.pregnancy_days)
    for at in _dates(observed, "due_date", view.zone):
        if at.latest >= view.now and at.earliest <= furthest:
            return Finding(State.PRESENT, at=at)
    return ABSENT


def read_pregnancy_status(view: View, observed: Observed) -> Finding:
    """
    Pregnancy by the latest Observation of pregnancy status, beside the problem list.

    One from before the longest pregnancy speaks of another one, and one ahead of the clock of none. An undated one
    tells no more than that she was pregnant once.
    """
    longest = timedelta(days=view.knowledge.times.pregnancy_days)
    fresh = [
        (entry.at.latest, entry.issued, entry)
        for entry in observed.of("pregnancy_status")
        if entry.surely_hers and entry.at is not None and entry.at.surely_within(longest, view.now)
    ]
    if not fresh:
        return ABSENT
    *_, latest = max(fresh, key=lambda row: row[:2])
    concept = latest.resource.get("valueCodeableConcept")
    denied = any(_DENIED.search(text.lower()) for text in texts(concept))
    return present(latest.evidence) if not denied and "pregnancy" in view.means(concept, "pregnancy") else ABSENT


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
    had = min(view.had("procedures"), view.had_for("delivery_method"))
    return Doubt.NOT_RECORDED if had is Had.WHOLE else missing(had)


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
        # An order for a birth that is completed was for an earlier child.
        orders = [r for r in view.chart.of("ServiceRequest") if status_of(r) in _ORDERED - _DONE]
        for order in (*_drafted(view, "ServiceRequest"), *orders):
            if order.get("doNotPerform") is not True:
                yield Evidence(reference_of(order)), view.means(order.get("code"), "pregnancy")


def _drafted(view: View, *kinds: str) -> list[Resource]:
    return [d for d in view.chart.drafts if d.get("resourceType") in kinds and status_of(d) not in _DEAD]


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
    orders = [
        r
        for r in chart.of("ServiceRequest")
        if status_of(r) in _ORDERED and (status_of(r) not in _DONE or _is_since(_wanted_at(r, view.zone), since))
    ]
    for resource in (*procedures, *orders, *_drafted(view, "ServiceRequest", "Procedure")):
        if resource.get("doNotPerform") is True:
            continue
        means = view.means(resource.get("code"), "pregnancy")
        if "general_anaesthesia" in means:
            general.append(Evidence(reference_of(resource)))
        elif "neuraxial_anaesthesia" in means and status_of(resource) != "stopped":
            # A block that was given up explains nothing. A general anaesthetic that was begun has acted.
            neuraxial.append(Evidence(reference_of(resource)))
    silent = unknown(_silence(view))
    told = bool(neuraxial or general)
    # A general anaesthetic may stand on a page that did not come.
    cut_short = view.had("procedures") is Had.CUT_SHORT
    return {
        "anaesthesia": present(*general, *neuraxial) if told else silent,
        "general_anaesthesia": present(*general) if general else (ABSENT if told and not cut_short else silent),
        "neuraxial_anaesthesia": present(*neuraxial) if neuraxial else (ABSENT if told else silent),
    }


def _wanted_at(order: Resource, zone: tzinfo) -> Moment | None:
    """When an order was to be carried out, else when it was written."""
    at: Moment | None = first(moment(order.get(element), zone) for element in ("occurrenceDateTime", "authoredOn"))
    return at


# --- the rest of the stay -------------------------------------------------------------------------


def read_asa(view: View, observed: Observed, pregnancy_began: datetime) -> Finding:
    """
    ASA physical status 1 to 6, this pregnancy: as a coded class, a number, or a Roman numeral.

    One whose date does not say that it is of this pregnancy, or that lies ahead of the clock, may warn beside the
    latest, but it answers nothing.
    """
    terms = view.knowledge.terminology
    found: list[tuple[Moment, int | None, Evidence]] = []
    unsure: list[tuple[int | None, Evidence]] = []
    for entry in observed.about_any(("asa_score", *_ASA_CLASSES)):
        if entry.status not in _COUNTS:
            continue
        own_class = _asa_class(entry.concepts)
        if own_class is None and "asa_score" not in entry.concepts:
            continue
        if entry.at is not None and entry.at.latest < pregnancy_began:
            continue
        value = own_class or _asa_value(entry.resource, terms)
        shown = None if value is None else str(value)
        evidence = Evidence(entry.evidence.reference, shown, None, entry.evidence.date)
        ahead = entry.at is not None and entry.at.is_future(view.now)
        if entry.at is None or ahead or entry.at.earliest < pregnancy_began or not entry.surely_hers:
            unsure.append((value, evidence))
        else:
            found.append((entry.at, value, evidence))
    had = view.had_for("asa_score")
    if not found and not unsure:
        return unknown(Doubt.NOT_RECORDED if had is Had.WHOLE else missing(had))
    newest = max((at.earliest for at, _, _ in found), default=None)
    latest = [(v, e) for at, v, e in found if newest is None or at.latest > newest or at.earliest == newest] + unsure
    numbers = tuple(sorted({v for v, _ in latest if v is not None}))
    if not numbers:
        return unknown(Doubt.UNREADABLE, *(e for _, e in latest))
    return Finding(
        State.PRESENT,
        tuple(e for v, e in latest if v is not None),
        values=numbers,
        conflict=len(numbers) > 1,
        incomplete=bool(unsure) or had is not Had.WHOLE or any(v is None for v, _ in latest),
    )


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
    """Assumed, unless the latest entry says no (M04). What is ahead of the clock says nothing."""
    said = [e for e in observed.of("breastfeeding_status") if e.at is None or not e.at.is_future(view.now)]
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
    # A month or a year, or the time of issue alone, does not say that it was done after the answer.
    found += [
        entry.at
        for entry in observed.of("suicide_risk_assessment")
        if entry.at is not None and entry.at.precision >= Precision.DAY
    ]
    return tuple(found)
