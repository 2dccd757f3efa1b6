"""The pregnancy and the birth: when it began, whether the child is born, how, under which anaesthesia."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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
    no_later_than,
    number,
    reference_of,
    span,
    spanning,
    status_of,
    texts,
    told_as,
)
from cds_service.ehr.reading.observations import Entry, Observed, is_withheld
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


_Event = tuple[Moment, Evidence]


def read_birth(view: View, observed: Observed) -> Finding:
    """
    When the last child was born: its cord clamping, else its birth, else the delivery procedure that was completed.

    An hour that is known outweighs one that is vague. None counts that is in the future. A procedure is charted when
    somebody gets to it, often when the surgery ends, so it tells the hour only where nothing else does. A delivery that
    was over before the recorded hour contradicts it: then the earlier one counts, because the hour after the birth may
    be over (R18).
    """
    clamped, born = _births_observed(view, observed)
    of_this_birth = _of_the_last(
        [[event for event in told if not event[0].is_future(view.now)] for told in (clamped, born, _births_done(view))],
        timedelta(hours=view.knowledge.times.this_birth_hours),
    )
    *observed_at, done = of_this_birth
    known = [[event for event in told if event[0].precision is Precision.TIME] for told in observed_at]
    found = next((_last(events) for events in (*known, *observed_at, done) if events), None)
    if found is None:
        return ABSENT
    told = [event for events in observed_at for event in events]
    if done and told and all(_last(done)[0].surely_before(at) for at, _ in told):
        found = _last(done)
    return Finding(State.PRESENT, (found[1],), at=found[0])


def _last(events: Iterable[_Event]) -> _Event:
    return max(events, key=lambda pair: (pair[0].latest, pair[0].earliest, pair[1].reference))


def _of_the_last(told: list[list[_Event]], within: timedelta) -> list[list[_Event]]:
    """What of these belongs to the last birth. What is older was the birth of another child."""
    everything = [event for events in told for event in events]
    since = _last(everything)[0].earliest - within if everything else _EVER
    return [[event for event in events if event[0].latest >= since] for events in told]


def _births_observed(view: View, observed: Observed) -> tuple[list[_Event], list[_Event]]:
    """Each cord clamping and each birth that an Observation tells."""
    clamped: list[_Event] = []
    born: list[_Event] = []
    for entry in observed:
        if entry.status not in _COUNTS or entry.resource.get("dataAbsentReason"):
            continue
        # Words speak only where the code says nothing to us.
        means = entry.concepts or view.means(entry.resource.get("code"), "pregnancy")
        if means.isdisjoint(_TOLD_AT):
            continue
        at = _told_at(entry, view)
        if at is not None:
            event = (at, Evidence(entry.evidence.reference, None, None, at.text))
            (clamped if "cord_clamp_time" in means else born).append(event)
    return clamped, born


_TOLD_AT: Final = frozenset({"birth_time", "cord_clamp_time"})


def _told_at(entry: Entry, view: View) -> Moment | None:
    """
    The instant that an Observation tells by its value; without a value, when it was true.

    A value that cannot be read is not the hour at which somebody wrote it down: it was some time in the day before.
    """
    told = told_as(entry.resource, "value", "valueDateTime")
    if not told:
        return entry.at
    at = None
    if told == ["valueDateTime"]:
        at = moment(entry.resource["valueDateTime"], view.zone)
    elif told == ["valueTime"]:
        at = _clock_time(entry.resource["valueTime"], entry.at, view)
    if at is None and entry.at is not None:
        earliest = entry.at.earliest - timedelta(hours=view.knowledge.times.this_birth_hours)
        at = Moment(earliest, entry.at.latest, Precision.YEAR, entry.at.text)
    return at


def _clock_time(time: object, charted: Moment | None, view: View) -> Moment | None:
    """An hour of the day on which it was charted. None when that is not sure: another zone, or just after midnight."""
    zone = view.zone
    if charted is None or charted.precision < Precision.DAY or not isinstance(time, str):
        return None
    at = moment(f"{charted.earliest.astimezone(zone).date().isoformat()}T{time}", zone)
    same_clock = at is not None and at.earliest.utcoffset() == charted.earliest.utcoffset()
    return at if at is not None and same_clock and at.latest <= min(charted.latest, view.now) else None


def _births_done(view: View) -> list[_Event]:
    return [
        (at, Evidence(reference_of(procedure), None, None, at.text))
        for procedure in view.chart.of("Procedure")
        if status_of(procedure) in _DONE
        and view.means(procedure.get("code"), "pregnancy") & _DELIVERIES
        and (at := performed(procedure, view.zone)) is not None
    ]


def performed(procedure: Resource, zone: tzinfo) -> Moment | None:
    """When a Procedure was done: at its time, or somewhere between its start and its end. An end alone is vague."""
    start, end = span(procedure.get("performedPeriod"), zone)
    if start is None and end is not None:
        end = no_later_than(end)
    times = (moment(procedure.get("performedDateTime"), zone), start, end)
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
        if _is_since(entry.at, since) and not is_withheld(entry.resource):
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
    """
    Neuraxial, general, or nobody wrote it down. Both means that the general one counts.

    Of a general anaesthetic whose status is "unknown" nobody knows whether it was given.
    """
    chart = view.chart
    neuraxial: list[Evidence] = []
    general: list[Evidence] = []
    of_this_birth = [p for p in chart.of("Procedure") if _is_since(performed(p, view.zone), since)]
    procedures = [p for p in of_this_birth if status_of(p) in _UNDER_WAY]
    unclear = [
        Evidence(reference_of(p))
        for p in of_this_birth
        if status_of(p) == "unknown" and "general_anaesthesia" in view.means(p.get("code"), "pregnancy")
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
    if unclear and not general:
        doubtful = unknown(Doubt.UNCLEAR, *unclear)
        return {
            "anaesthesia": doubtful,
            "general_anaesthesia": doubtful,
            "neuraxial_anaesthesia": present(*neuraxial) if neuraxial else silent,
        }
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

    One whose date does not say that it is of this pregnancy, that lies ahead of the clock, or that stands beside the
    reason why there is none, may warn beside the latest, but it answers nothing.
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
        vague = entry.at is None or ahead or entry.at.earliest < pregnancy_began
        if entry.at is None or vague or not entry.surely_hers or is_withheld(entry.resource):
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
    told = (e for e in observed.of("breastfeeding_status") if not is_withheld(e.resource))
    said = [e for e in told if e.at is None or not e.at.is_future(view.now)]
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
        if entry.at is not None and entry.at.precision >= Precision.DAY and _says_something(entry)
    ]
    return tuple(found)


# By these an Observation tells what was found, itself or in its members. Without any it is an empty form.
_TELLS: Final = ("value", "interpretation", "hasMember", "note")


def _says_something(entry: Entry) -> bool:
    """Was it done? One that says why it has no value, or that holds nothing, was not."""
    if is_withheld(entry.resource):
        return False
    return any(
        name.startswith(_TELLS) and told is not False and (told == 0 or bool(told))
        for holder, _ in entry.parts
        if not is_withheld(holder)
        for name, told in holder.items()
    )
