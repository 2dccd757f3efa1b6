"""What was measured: vital signs, weight, laboratory values, blood loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Any, Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, Number, State, unknown
from cds_service.clinical.moment import Moment
from cds_service.ehr.chart import Had
from cds_service.ehr.elements import (
    Resource,
    codings,
    members,
    moment,
    reference_of,
    relative,
    span,
    texts,
)
from cds_service.ehr.reading.view import View
from cds_service.ehr.units import Units
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import ObservationFact, TimeTable

_COUNTS: Final = frozenset({"final", "amended", "corrected"})
_VITAL: Final = _COUNTS | {"preliminary"}


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


@dataclass(frozen=True, slots=True)
class Reading:
    """One number with its date and evidence. `value` is None when the entry is about this, but cannot be believed."""

    value: Number | None
    at: Moment | None
    rank: tuple[str, str]
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
        if "focus" in resource and any(relative(f) not in (None, hers) for f in members(resource["focus"])):
            continue
        at = when(resource, view.zone)
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
        )


def when(resource: Resource, zone: tzinfo) -> Moment | None:
    """When an Observation was true: its effective time, else when it was issued."""
    at = moment(resource.get("effectiveDateTime"), zone)
    if at is None:
        start, end = span(resource.get("effectivePeriod"), zone)
        at = moment(resource.get("effectiveInstant"), zone) or end or start or moment(resource.get("issued"), zone)
    return at


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
            read[same] = list(_readings(row, observed.about_any(row.concepts), view))
        readings[row.fact] = read[same]
        recent = [r for r in readings[row.fact] if _in_window(row, r, view.now, times, birth)]
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
        for holder in (part for part, concepts in entry.parts if concepts & wanted):
            if row.measured_only and _not_measured(entry, view.knowledge):
                continue
            value, doubt = _value(row, holder, view.units)
            if doubt is Doubt.NOT_RECORDED:
                continue  # an Observation without a value says nothing (seen in Synthea output)
            shown = holder.get("valueQuantity")
            evidence = Evidence(
                entry.evidence.reference,
                _shown(shown),
                view.units.code_of(shown) if isinstance(shown, dict) else None,
                entry.evidence.date,
            )
            id_ = str(entry.resource.get("id") or "")
            panel = entry.evidence.reference if holder is not entry.resource else ""
            yield Reading(value, entry.at, (entry.issued, id_), evidence, panel, doubt)


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
    quantity = holder.get("valueQuantity")
    if not isinstance(quantity, dict) or quantity.get("value") is None:
        told = any(name.startswith("value") and name != "valueQuantity" for name in holder)
        return None, Doubt.UNREADABLE if told else Doubt.NOT_RECORDED
    value = _times_upper_limit(holder, quantity, units) if row.ratio else units.convert(quantity, row.unit)
    if value is None:
        return None, Doubt.UNREADABLE
    low, high = row.plausible
    return (value, None) if low <= value <= high else (None, Doubt.UNREADABLE)


def _times_upper_limit(holder: Mapping[str, Any], quantity: Mapping[str, Any], units: Units) -> Fraction | None:
    """A laboratory value as a multiple of the upper limit that came with it."""
    for limit in members(holder.get("referenceRange")):
        high = limit.get("high")
        code = units.code_of(quantity)
        if isinstance(high, dict) and code is not None:
            value = units.convert(quantity, code)
            upper = units.convert(
                {
                    **high,
                    "code": high.get("code") or quantity.get("code"),
                    "unit": high.get("unit") or quantity.get("unit"),
                },
                code,
            )
            if value is not None and upper:
                return Fraction(value) / Fraction(upper)
    return None


def _find(row: ObservationFact, readings: list[Reading], recent: list[Reading], had: Had, now: datetime) -> Finding:
    """The values that count, by the row's window. What is too old or ahead of the clock cannot be relied on."""
    if had < Had.CUT_SHORT:
        return unknown(Doubt.NOT_RECEIVED)
    usable = [r for r in recent if r.at is None or not r.at.is_future(now)]
    if not usable:
        if recent:
            return unknown(Doubt.IN_THE_FUTURE, *(r.evidence for r in recent))
        if readings and row.if_none == "unknown":
            return unknown(Doubt.TOO_OLD, _newest(readings)[0].evidence)
        if had is Had.CUT_SHORT:
            return unknown(Doubt.INCOMPLETE)
        return ABSENT if row.if_none == "absent" else unknown(Doubt.NOT_RECORDED)
    chosen = _newest(usable) if row.take == "latest" else usable
    believed = [r for r in chosen if r.value is not None]
    doubted = [r for r in chosen if r.value is None]
    if not believed or (doubted and row.take == "latest"):
        return unknown(doubted[0].doubt or Doubt.UNREADABLE, *(r.evidence for r in chosen))
    if row.take == "highest":
        top = max(r.value for r in believed if r.value is not None)
        believed = [r for r in believed if r.value == top][:1]
    values = tuple(sorted({r.value for r in believed if r.value is not None}))
    return Finding(
        State.PRESENT,
        tuple(r.evidence for r in believed),
        values=values,
        at=_newest(believed)[0].at,
        conflict=len(values) > 1,
        incomplete=had is Had.CUT_SHORT or bool(doubted),
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
    The latest readings: by effective time, then issued. More than one when they tie with different values.

    An undated reading could be the newest, so it is kept beside the newest dated one.
    """
    undated = [r for r in readings if r.at is None]
    dated = [r for r in readings if r.at is not None]
    if not dated:
        return sorted(undated, key=lambda r: r.rank)
    top = max((r.at.latest, r.rank[0]) for r in dated if r.at is not None)
    newest = [r for r in dated if r.at is not None and (r.at.latest, r.rank[0]) == top]
    return sorted([*newest, *undated], key=lambda r: r.rank)


def _pressure(systolic: list[Reading], diastolic: list[Reading], had: Had, now: datetime) -> Finding:
    """The latest blood pressure with both values: of one panel, or two single values of the same instant."""
    if had < Had.CUT_SHORT:
        return unknown(Doubt.NOT_RECEIVED)
    partners: dict[object, list[Reading]] = {}
    for reading in diastolic:
        partners.setdefault(_measurement(reading), []).append(reading)
    past = [s for s in systolic if s.at is not None and not s.at.is_future(now)]
    pairs = [(s, d) for s in past for d in partners.get(_measurement(s), ())]
    if not pairs:
        return unknown(Doubt.INCOMPLETE if past else Doubt.NOT_RECORDED, *(r.evidence for r in past[:2]))
    newest = max(s.at.latest for s, _ in pairs if s.at is not None)
    latest = [(s, d) for s, d in pairs if s.at is not None and s.at.latest == newest]
    if any(s.value is None or d.value is None for s, d in latest):
        return unknown(Doubt.UNREADABLE, *(s.evidence for s, _ in latest))
    rank = max(s.rank[0] for s, _ in latest)
    latest = [(s, d) for s, d in latest if s.rank[0] == rank]
    distinct = {(s.value, d.value) for s, d in latest}
    s, d = latest[0]
    evidence = Evidence(
        s.evidence.reference, f"{s.evidence.value}/{d.evidence.value}", s.evidence.unit, s.evidence.date
    )
    return Finding(
        State.PRESENT,
        (evidence,),
        at=s.at,
        conflict=len(distinct) > 1,
        incomplete=had is Had.CUT_SHORT,
    )


def _measurement(reading: Reading) -> object:
    """What two values of one measurement share: the panel that they stand in, else the instant."""
    return reading.panel or (reading.at.earliest if reading.at is not None else None)


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
    recent.sort(key=lambda r: (r.at.latest if r.at else now, r.rank))
    for n, earlier in enumerate(recent):
        for later in recent[n + 1 :]:
            if _same_side(earlier, later, birth) and earlier.value is not None and later.value is not None:
                first, second = Fraction(earlier.value), Fraction(later.value)
                if abs(second - first) > abs(first) * Fraction(times.weight_conflict_percent) / 100:
                    return unknown(Doubt.CONFLICTING, earlier.evidence, later.evidence)
    if recent and (value := recent[-1].value) is not None:
        low, high = times.weight_believable_kg
        if not low <= value <= high:
            return unknown(Doubt.CONFLICTING, recent[-1].evidence)
    return Finding(State.PRESENT)


def _same_side(one: Reading, other: Reading, birth: Moment | None) -> bool:
    if birth is None or one.at is None or other.at is None:
        return True
    return not (one.at.surely_before(birth) and not other.at.surely_before(birth))


def _shown(quantity: object) -> str | None:
    value = quantity.get("value") if isinstance(quantity, dict) else None
    return None if value is None or isinstance(value, str | bool | list | dict) else str(value)
