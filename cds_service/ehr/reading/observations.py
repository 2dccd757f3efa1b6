"""What was measured: vital signs, weight, laboratory values, blood loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Any, Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, Number, State, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.elements import (
    Resource,
    codings,
    members,
    moment,
    no_later_than,
    reference_of,
    relative,
    span,
    spanning,
    texts,
)
from cds_service.ehr.reading.view import View, missing
from cds_service.ehr.units import Units
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import ObservationFact, TimeTable

_COUNTS: Final = frozenset({"final", "amended", "corrected"})
_VITAL: Final = _COUNTS | {"preliminary"}
# A pressure that is written on the panel itself, such as "190/120", is one of both, and cannot be read.
_PANEL: Final = "blood_pressure_panel"
_ON_A_PANEL: Final = frozenset({"systolic", "diastolic"})


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """
    One Observation of hers that may count: what it is about, when, and the resource itself.

    `parts` are the resource and its components, each with the concepts that it is about.
    """

    resource: Resource
    concepts: frozenset[str]
    parts: tuple[tuple[Mapping[str, Any], frozenset[str]], ...]
    at: Moment | None
    issued: str
    status: str
    evidence: Evidence
    surely_hers: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One number with its date and evidence. `value` is None when the entry is about this, but cannot be believed.

    `issued` decides between readings of one instant. None: nobody wrote when it was issued.
    """

    value: Number | None
    at: Moment | None
    issued: datetime | None
    evidence: Evidence
    panel: str
    doubt: Doubt | None = None


class Observed:
    """Every Observation that may count: hers, not in error, not about somebody else. Looked up by what it is about."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._about: dict[str, list[Entry]] = {}
        self._all = tuple(entries)
        for entry in self._all:
            for concept in {concept for _, concepts in entry.parts for concept in concepts}:
                self._about.setdefault(concept, []).append(entry)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._all)

    def about(self, concept: str) -> Iterable[Entry]:
        """The entries that are about a concept, themselves or in a component, in the chart's order."""
        return self._about.get(concept, ())

    def of(self, concept: str, statuses: frozenset[str] = _COUNTS) -> Iterator[Entry]:
        """The entries that are themselves about a concept, and whose status counts."""
        return (e for e in self.about(concept) if concept in e.concepts and e.status in statuses)

    def about_any(self, concepts: Iterable[str]) -> list[Entry]:
        """The entries that are about any of these, each once."""
        return list(dict.fromkeys(entry for concept in concepts for entry in self.about(concept)))


def observe(view: View) -> Observed:
    """The Observations of a chart, indexed."""
    return Observed(_entries(view))


def _entries(view: View) -> Iterator[Entry]:
    meaning_of = view.knowledge.terminology.codings_of
    hers = f"Patient/{view.chart.patient.get('id')}"
    for resource in view.chart.of("Observation"):
        status = resource.get("status")
        if not isinstance(status, str) or status not in _VITAL:
            continue
        focus = _focus(resource, hers) if resource.get("focus") else hers
        if focus not in (None, hers):
            continue
        at = when(resource, view.zone, view.now)
        parts = tuple(
            (part, meaning_of(codings(part.get("code"))).says)
            for part in ((resource, *members(resource["component"])) if "component" in resource else (resource,))
        )
        yield Entry(
            resource=resource,
            concepts=parts[0][1],
            parts=parts,
            at=at,
            issued=str(resource.get("issued") or ""),
            status=status,
            evidence=Evidence(reference_of(resource), date=at.text if at else None),
            surely_hers=focus is not None,
        )


def _focus(resource: Resource, hers: str) -> str | None:
    """Whom an Observation looks at: the newborn, it may be. None when it says so and nobody can read it."""
    focus = resource["focus"]
    listed = focus if isinstance(focus, list) else [focus]
    subject = relative(resource.get("subject"))
    looked_at = [hers if (target := relative(one)) == subject else target for one in listed]
    stranger = next((target for target in looked_at if target not in (None, hers)), None)
    return stranger or (None if None in looked_at else hers)


def when(resource: Resource, zone: tzinfo, now: datetime) -> Moment | None:
    """
    When an Observation was true: its effective time, whole. A period is over when it ends, or it goes on.

    When it was issued only tells that it was measured before, so that alone reassures nobody.
    """
    issued = moment(resource.get("issued"), zone)
    told = [name for name in resource if name.startswith("effective") and resource[name] is not None]
    if not told:
        return no_later_than(issued) if issued is not None else None
    found = [at for name in told if (at := _effective(resource[name], zone, now)) is not None]
    at = spanning(found)
    if len(found) == len(told):
        return at
    return no_later_than(latest) if (latest := at or issued) is not None else None


def _effective(value: object, zone: tzinfo, now: datetime) -> Moment | None:
    """One effective[x]: a date, an instant or a Period. More than one is not FHIR, and then it was between them."""
    if not isinstance(value, dict):
        return moment(value, zone)
    start, end = span(value, zone)
    if start is None:
        return no_later_than(end) if end is not None else None
    if value.get("end") is None and not start.is_future(now):
        return Moment(start.earliest, now, start.precision, start.text)
    return spanning((start, end)) if end is not None else None


def read_observations(view: View, observed: Observed, birth: Moment | None) -> dict[str, Finding]:
    """Every fact of the observation table, and the blood pressure as a pair."""
    times = view.knowledge.times
    found: dict[str, Finding] = {}
    readings: dict[str, list[Reading]] = {}
    read: dict[tuple[object, ...], list[Reading]] = {}
    for row in view.knowledge.observations.row:
        # Two rows may look at the same numbers in two ways, as the latest and the highest pressure do.
        same = (row.concepts, row.unit, row.plausible, row.preliminary, row.ratio, row.measured_only)
        if same not in read:
            panels = [_PANEL] if _ON_A_PANEL & set(row.concepts) else []
            read[same] = list(_readings(row, observed.about_any((*row.concepts, *panels)), view))
        readings[row.fact] = [r for r in read[same] if r.doubt is not Doubt.NOT_RECORDED]
        recent = [r for r in read[same] if _in_window(row, r, view.now, times, birth)]
        found[row.fact] = _find(row, readings[row.fact], recent, view.had_for(*row.concepts), view.now)
    found["blood_pressure"] = _pressure(
        readings["systolic"], readings["diastolic"], view.had_for("systolic", "diastolic"), view.now
    )
    found["believable_weight"] = _believable(found["weight"], times)
    found["weights_agree"] = _weights(readings["weight"], times, view.now, birth)
    return found


def _readings(row: ObservationFact, entries: Iterable[Entry], view: View) -> Iterator[Reading]:
    wanted = frozenset(row.concepts)
    accepted = _VITAL if row.preliminary else _COUNTS
    for entry in entries:
        if entry.status not in accepted:
            continue
        about = [part for part, concepts in entry.parts if concepts & wanted]
        for holder in about or [entry.resource]:
            if row.measured_only and _not_measured(entry, view.knowledge):
                continue
            value, doubt = _value(row, holder, view.units)
            if not about:
                if doubt is Doubt.NOT_RECORDED:
                    continue
                value, doubt = None, Doubt.UNREADABLE  # a panel that holds a value of its own
            elif not entry.surely_hers and doubt is not Doubt.NOT_RECORDED:
                value, doubt = None, Doubt.UNCLEAR
            shown = holder.get("valueQuantity")
            evidence = Evidence(
                entry.evidence.reference,
                _shown(shown),
                view.units.code_of(shown) if isinstance(shown, dict) else None,
                entry.evidence.date,
            )
            issued = moment(entry.issued, view.zone)
            panel = entry.evidence.reference if holder is not entry.resource else ""
            yield Reading(value, entry.at, issued.latest if issued else None, evidence, panel, doubt)


def _not_measured(entry: Entry, knowledge: Knowledge) -> bool:
    """29463-7 counts as measured unless its method or code says stated, estimated or before the pregnancy."""
    terms = knowledge.terminology
    for place in (entry.resource.get("method"), entry.resource.get("code")):
        if "body_weight_not_measured" in terms.codings_of(codings(place)).says:
            return True
        for text in texts(place):
            if any(c == "body_weight_not_measured" for c, _, _ in terms.meaning_of_text("measurements", text)):
                return True
    return False


def _value(row: ObservationFact, holder: Mapping[str, Any], units: Units) -> tuple[Number | None, Doubt | None]:
    told = [name for name in holder if name.startswith("value") and holder[name] is not None]
    quantity = holder.get("valueQuantity")
    if told == ["valueQuantity"] and isinstance(quantity, dict) and quantity.get("value") is None:
        return None, Doubt.NOT_RECORDED
    if told != ["valueQuantity"] or not isinstance(quantity, dict) or holder.get("dataAbsentReason"):
        # Another kind of value, two of them, or a value beside the reason why there is none.
        return None, Doubt.UNREADABLE if told else Doubt.NOT_RECORDED
    value = _times_upper_limit(holder, quantity, units) if row.ratio else units.convert(quantity, row.unit)
    if value is None:
        return None, Doubt.UNREADABLE
    low, high = row.plausible
    return (value, None) if low <= value <= high else (None, Doubt.UNREADABLE)


def _times_upper_limit(holder: Mapping[str, Any], quantity: Mapping[str, Any], units: Units) -> Fraction | None:
    """A laboratory value as a multiple of the upper limit that came with it; of several limits the lowest."""
    code = units.code_of(quantity)
    value = units.convert(quantity, code) if code is not None else None
    if code is None or value is None:
        return None
    limits = []
    for limit in members(holder.get("referenceRange")):
        high = limit.get("high")
        if isinstance(high, dict):
            if high.get("code") is None and high.get("unit") is None:
                high = {**quantity, "comparator": high.get("comparator"), "value": high.get("value")}
            upper = units.convert(high, code)
            if upper is not None and upper > 0:
                limits.append(Fraction(upper))
    return Fraction(value) / min(limits) if limits else None


def _find(row: ObservationFact, readings: list[Reading], recent: list[Reading], had: Had, now: datetime) -> Finding:
    """
    The values that count, by the row's window. What is ahead of the clock or cannot be read may be anything.

    Behind such an entry an earlier value of the window stands, to warn, but it is no longer the whole story. An entry
    without a value (seen in Synthea output) says nothing, but where there is no other it does not say "none", either.
    """
    empty = [r for r in recent if r.doubt is Doubt.NOT_RECORDED]
    recent = [r for r in recent if r.doubt is not Doubt.NOT_RECORDED]
    ahead = [r for r in recent if r.at is not None and r.at.is_future(now)]
    usable = [r for r in recent if r.at is None or not r.at.is_future(now)]
    if not usable:
        if ahead:
            return unknown(Doubt.IN_THE_FUTURE, *(r.evidence for r in ahead))
        if had < Had.CUT_SHORT:
            return unknown(missing(had))
        if readings and row.if_none == "unknown":
            return unknown(Doubt.TOO_OLD, _newest(readings)[-1].evidence)
        if had is Had.CUT_SHORT:
            return unknown(Doubt.INCOMPLETE)
        if row.if_none == "absent" and not empty:
            return ABSENT
        return unknown(Doubt.NOT_RECORDED, *(r.evidence for r in empty))
    chosen = _newest(usable) if row.take == "latest" else usable
    doubted = [r for r in chosen if r.value is None]
    if row.take == "latest" and (doubted or ahead):
        if row.window_hours is None:
            why = doubted[0].doubt or Doubt.UNREADABLE if doubted else Doubt.IN_THE_FUTURE
            return unknown(why, *(r.evidence for r in (doubted or ahead)))
        chosen = _newest([r for r in usable if r.value is not None])
    believed = [r for r in chosen if r.value is not None]
    if not believed:
        return unknown(doubted[0].doubt or Doubt.UNREADABLE, *(r.evidence for r in doubted))
    if row.take == "highest":
        top = max(r.value for r in believed if r.value is not None)
        believed = [r for r in believed if r.value == top][:1]
    values = tuple(sorted({r.value for r in believed if r.value is not None}))
    return Finding(
        State.PRESENT,
        tuple(r.evidence for r in believed),
        values=values,
        at=_when_true(believed),
        conflict=len(values) > 1,
        incomplete=had is not Had.WHOLE or bool(doubted or ahead),
    )


def _in_window(row: ObservationFact, reading: Reading, now: datetime, times: TimeTable, birth: Moment | None) -> bool:
    """To warn: it could lie inside the window. An undated hazard counts."""
    if reading.at is None:
        return True
    if row.this_birth:
        before = timedelta(hours=times.this_birth_hours)
        start = (birth.earliest if birth is not None else now) - before
        return reading.at.latest >= start
    if row.window_hours is None:
        return True
    return reading.at.possibly_within(timedelta(hours=row.window_hours), now)


def _newest(readings: list[Reading]) -> list[Reading]:
    """
    The latest readings: by effective time, then issued. More than one when nobody can tell which is the latest.

    Whatever could be the newest is kept: an undated reading, and one whose day, month or year may end after another
    was measured.
    """
    since = max((r.at.earliest for r in readings if r.at is not None and r.at.precision >= Precision.DAY), default=None)
    newest = [r for r in readings if since is None or r.at is None or r.at.latest > since or r.at.earliest == since]
    return sorted(_last_issued(newest), key=lambda r: (_dated(r), r.evidence.reference, str(r.value)))


def _last_issued(readings: list[Reading]) -> list[Reading]:
    """Of readings of one and the same instant the one that was issued last, if each says when it was."""
    if len({r.at and (r.at.earliest, r.at.latest) for r in readings}) > 1 or any(r.at is None for r in readings):
        return readings
    issued = [r.issued for r in readings if r.issued is not None]
    if len(issued) < len(readings):
        return readings
    return [r for r in readings if r.issued == max(issued)]


def _dated(reading: Reading) -> tuple[bool, float]:
    """From old to new, an undated reading first."""
    return (reading.at is not None, reading.at.latest.timestamp() if reading.at is not None else 0.0)


def _when_true(readings: list[Reading]) -> Moment | None:
    """When the last of these was measured that says so to the day. They agree on the value, or conflict anyway."""
    dated = [r.at for r in readings if r.at is not None]
    return max(dated, key=lambda at: (at.precision >= Precision.DAY, at.earliest, at.precision), default=None)


def _pressure(systolic: list[Reading], diastolic: list[Reading], had: Had, now: datetime) -> Finding:
    """The latest blood pressure with both values: of one panel, or two single values of the same instant."""
    ahead = [s for s in systolic if s.at is not None and s.at.is_future(now)]
    if ahead:
        return unknown(Doubt.IN_THE_FUTURE, *(r.evidence for r in ahead[:2]))
    if not systolic and had < Had.CUT_SHORT:
        return unknown(Doubt.NOT_RECEIVED)
    partners: dict[object, list[Reading]] = {}
    for reading in diastolic:
        partners.setdefault(_measurement(reading), []).append(reading)
    dated = [s for s in systolic if s.at is not None]
    pairs = [(s, d) for s in dated for d in partners.get(_measurement(s), ())]
    if not pairs:
        why = Doubt.INCOMPLETE if dated else Doubt.NOT_DATED if systolic else Doubt.NOT_RECORDED
        return unknown(why, *(r.evidence for r in systolic[:2]))
    newest = _newest([s for s, _ in pairs])
    latest = [(s, d) for s, d in pairs if s in newest]
    if any(s.value is None or d.value is None for s, d in latest):
        return unknown(Doubt.UNREADABLE, *(s.evidence for s, _ in latest))
    if any(s.value <= d.value for s, d in latest if s.value is not None and d.value is not None):
        return unknown(Doubt.CONFLICTING, *(s.evidence for s, _ in latest))  # swapped: no heart pumps so
    distinct = {(s.value, d.value) for s, d in latest}
    s, d = latest[0]
    evidence = Evidence(
        s.evidence.reference, f"{s.evidence.value}/{d.evidence.value}", s.evidence.unit, s.evidence.date
    )
    return Finding(
        State.PRESENT,
        (evidence,),
        at=_when_true([s for s, _ in latest]),
        conflict=len(distinct) > 1,
        incomplete=had is not Had.WHOLE,
    )


def _measurement(reading: Reading) -> object:
    """What two values of one measurement share: the panel that they stand in, else the instant."""
    return reading.panel or (reading.at and (reading.at.earliest, reading.at.latest))


def _believable(weight: Finding, times: TimeTable) -> Finding:
    """A weight outside the limits of D14 is a slip of the pen: it neither reassures nor warns (R17)."""
    low, high = times.weight_believable_kg
    if weight.state is State.PRESENT and not all(low <= value <= high for value in weight.values):
        return unknown(Doubt.CONFLICTING, *weight.evidence)
    return weight


def _weights(readings: list[Reading], times: TimeTable, now: datetime, birth: Moment | None) -> Finding:
    """D14: weights of the last days on the same side of the birth must agree, and the one to dose on be believable."""
    recent = [
        r
        for r in readings
        if r.value is not None
        and r.at is not None
        and not r.at.is_future(now)
        and r.at.possibly_within(timedelta(days=times.weight_conflict_days), now)
    ]
    recent.sort(key=lambda r: (_dated(r), r.evidence.reference, str(r.value)))
    for n, earlier in enumerate(recent):
        for later in recent[n + 1 :]:
            if _same_side(earlier, later, birth) and earlier.value is not None and later.value is not None:
                first, second = Fraction(earlier.value), Fraction(later.value)
                # Where the dates do not tell which was first, the smaller difference is allowed.
                base = first if _surely_first(earlier, later) else min(first, second)
                if abs(second - first) > base * Fraction(times.weight_conflict_percent) / 100:
                    return unknown(Doubt.CONFLICTING, earlier.evidence, later.evidence)
    if recent and (value := recent[-1].value) is not None:
        low, high = times.weight_believable_kg
        if not low <= value <= high:
            return unknown(Doubt.CONFLICTING, recent[-1].evidence)
    return Finding(State.PRESENT)


def _same_side(one: Reading, other: Reading, birth: Moment | None) -> bool:
    if birth is None or one.at is None or other.at is None:
        return True
    return not (one.at.surely_before(birth) and other.at.surely_after(birth))


def _surely_first(one: Reading, other: Reading) -> bool:
    return one.at is not None and other.at is not None and one.at.surely_before(other.at)


def _shown(quantity: object) -> str | None:
    value = quantity.get("value") if isinstance(quantity, dict) else None
    return None if value is None or isinstance(value, str | bool | list | dict) else str(value)
