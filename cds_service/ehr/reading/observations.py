"""What was measured: vital signs, weight, laboratory values, blood loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from itertools import chain, combinations
from typing import Any, Final, Protocol, TypeVar

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, Number, State, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.elements import (
    Resource,
    codes_in,
    codings,
    extensions,
    local,
    members,
    moment,
    no_later_than,
    reference_of,
    span,
    spanning,
    texts,
    told_as,
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


# By themselves: Python 3.11 takes ten times as long to look one up by its class, and these are asked for each entry.
_NOT_RECORDED: Final = Doubt.NOT_RECORDED
_UNREADABLE: Final = Doubt.UNREADABLE
_DAY: Final = Precision.DAY
_PRESENT: Final = State.PRESENT


# Neither of these is frozen, as everything else is: a large chart has thousands of them, and a frozen one takes five
# times as long to make. Nobody changes one.
@dataclass(slots=True, eq=False)
class Entry:
    """
    One Observation of hers that may count: what it is about, when, and the resource itself.

    `parts` are the resource and its components, each with the concepts that it is about.
    """

    resource: Resource
    concepts: frozenset[str]
    parts: tuple[tuple[Mapping[str, Any], frozenset[str]], ...]
    at: Moment | None
    status: str
    surely_hers: bool = True

    @property
    def reference(self) -> str:
        """Where it stands in the chart."""
        return reference_of(self.resource)

    @property
    def issued(self) -> str:
        """When it was issued, as written; "" when nobody wrote it."""
        return str(self.resource.get("issued") or "")

    @property
    def evidence(self) -> Evidence:
        """The entry, for whoever asks what was seen."""
        return Evidence(self.reference, date=self.at.text if self.at else None)


@dataclass(slots=True, eq=False)
class Reading:
    """
    One number with its date and where it stands. `value` is None when the entry is about this, but cannot be believed.

    `at_least`: it says "1000 or more" and no value; so many there are. `holder` is the Observation, or the component
    that holds the number; `view` is how the chart is read.
    """

    value: Number | None
    at: Moment | None
    doubt: Doubt | None
    entry: Entry
    holder: Mapping[str, Any]
    view: View
    at_least: Number | None = None

    @property
    def reference(self) -> str:
        """Where it stands in the chart."""
        return self.entry.reference

    @property
    def issued(self) -> datetime | None:
        """It decides between readings of one instant. None: nobody wrote when it was issued."""
        issued = moment(self.entry.issued, self.view.zone)
        return issued.latest if issued is not None else None

    @property
    def panel(self) -> str:
        """The panel that it is a component of; "" when it stands alone."""
        return "" if self.holder is self.entry.resource else self.entry.reference

    @property
    def evidence(self) -> Evidence:
        """The entry with the number and its unit, as they were written."""
        quantity = self.holder.get("valueQuantity")
        unit = self.view.units.code_of(quantity) if isinstance(quantity, dict) else None
        return Evidence(self.entry.reference, _shown(quantity), unit, self.at.text if self.at else None)


class Observed:
    """Every Observation that may count: hers, not in error, not about somebody else. Looked up by what it is about."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._about: dict[str, list[Entry]] = {}
        self._all = tuple(entries)
        for entry in self._all:
            parts = entry.parts
            for concept in entry.concepts if len(parts) == 1 else frozenset().union(*(about for _, about in parts)):
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
        found = [self._about[concept] for concept in concepts if concept in self._about]
        return list(dict.fromkeys(chain.from_iterable(found)))


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
        focus = _focus(resource, hers, view.chart.known_at) if resource.get("focus") else hers
        if focus not in (None, hers):
            continue
        parts: tuple[tuple[Mapping[str, Any], frozenset[str]], ...]
        parts = ((resource, meaning_of(codings(resource.get("code"))).says),)
        if "component" in resource:
            components = members(resource["component"])
            parts += tuple((part, meaning_of(codings(part.get("code"))).says) for part in components)
        yield Entry(
            resource=resource,
            concepts=parts[0][1],
            parts=parts,
            at=when(resource, view.zone, view.now),
            status=status,
            surely_hers=focus is not None,
        )


def _focus(resource: Resource, hers: str, known_at: frozenset[str]) -> str | None:
    """Whom an Observation looks at: the newborn, it may be. None when it says so and nobody can read it."""
    focus = resource["focus"]
    listed = focus if isinstance(focus, list) else [focus]
    targets = [local(one, known_at) for one in listed]
    subject = local(resource.get("subject"), known_at)
    looked_at = [hers if target is not None and target == subject else target for target in targets]
    stranger = next((target for target in looked_at if target not in (None, hers)), None)
    return stranger or (None if None in looked_at else hers)


def is_withheld(holder: Mapping[str, Any]) -> bool:
    """
    Does this Observation, component or answer say why it has no value?

    A value beside the reason why there is none (FHIR R4 forbids it, obs-6) reassures nobody; it may warn.
    """
    return bool(holder.get("dataAbsentReason")) or any(extensions(holder, "data-absent-reason"))


def when(resource: Resource, zone: tzinfo, now: datetime) -> Moment | None:
    """
    When an Observation was true: its effective time, whole. A period is over when it ends, or it goes on.

    When it was issued only tells that it was measured before, so that alone reassures nobody.
    """
    told = told_as(resource, "effective", "effectiveDateTime")
    found = [at for name in told if (at := _effective(resource[name], zone, now)) is not None]
    if told and len(found) == len(told):
        return found[0] if len(found) == 1 else spanning(found)
    latest = spanning(found) or moment(resource.get("issued"), zone)
    return no_later_than(latest) if latest is not None else None


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


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """
    A row of the observation table, with what its reader looks for.

    `numbers` is the first row that looks at the same numbers: the latest and the highest pressure are two ways of
    looking at one.
    """

    row: ObservationFact
    numbers: str
    concepts: frozenset[str]
    looked_up: tuple[str, ...]
    accepted: frozenset[str]
    window: timedelta | None


def _measured(knowledge: Knowledge) -> tuple[_Measured, ...]:
    found: list[_Measured] = []
    first_of: dict[tuple[object, ...], str] = {}
    for row in knowledge.observations.row:
        numbers = (row.concepts, row.unit, row.plausible, row.preliminary, row.ratio, row.measured_only)
        panels = [_PANEL] if _ON_A_PANEL & set(row.concepts) else []
        hours = knowledge.times.this_birth_hours if row.this_birth else row.window_hours
        found.append(
            _Measured(
                row,
                first_of.setdefault(numbers, row.fact),
                frozenset(row.concepts),
                (*row.concepts, *panels),
                _VITAL if row.preliminary else _COUNTS,
                None if hours is None else timedelta(hours=hours),
            )
        )
    return tuple(found)


def read_observations(view: View, observed: Observed, birth: Moment | None) -> dict[str, Finding]:
    """Every fact of the observation table, and the blood pressure as a pair."""
    times = view.knowledge.times
    found: dict[str, Finding] = {}
    readings: dict[str, _Readings] = {}
    for measured in view.knowledge.once(_measured):
        row = measured.row
        if measured.numbers not in readings:
            readings[measured.numbers] = _Readings(measured, observed, view)
        since = None
        if measured.window is not None:
            since = (birth.earliest if row.this_birth and birth is not None else view.now) - measured.window
        found[row.fact] = _find(row, readings[measured.numbers], since, view.had_for(*row.concepts), view.now)
        readings[row.fact] = readings[measured.numbers]
    found["blood_pressure"] = _pressure(
        readings["systolic"].with_a_value(),
        readings["diastolic"].with_a_value(),
        view.had_for("systolic", "diastolic"),
        view.now,
    )
    found["believable_weight"] = _believable(found["weight"], times)
    found["weights_agree"] = _weights(readings["weight"].with_a_value(), times, view.now, birth)
    return found


class _Readings:
    """The numbers that a row looks at, in the chart's order. Each is read when it is asked for, and only once."""

    def __init__(self, measured: _Measured, observed: Observed, view: View) -> None:
        self._measured = measured
        self._entries = [e for e in observed.about_any(measured.looked_up) if e.status in measured.accepted]
        self._view = view
        self._read: dict[Entry, list[Reading]] = {}

    def since(self, start: datetime | None) -> list[Reading]:
        """To warn: those that could be from then on. An undated hazard counts."""
        read: list[Reading] = []
        for entry in self._entries:
            if start is None or entry.at is None or entry.at.latest >= start:
                read += self._of(entry)
        return read

    def newest(self, start: datetime | None, now: datetime) -> list[Reading] | None:
        """
        The newest of them, if that is all that there is to know: each can be believed, and none is ahead of the clock.

        Then no older one needs to be read. A large chart has hundreds.
        """
        entries: list[Entry] = []
        for entry in self._entries:
            if start is None or entry.at is None or entry.at.latest >= start:
                if entry.at is not None and entry.at.is_future(now):
                    return None
                entries.append(entry)
        read: list[Reading] = []
        for entry in _maybe_newest(entries):
            found = self._of(entry)
            if not found or any(reading.value is None for reading in found):
                return None
            read += found
        return _newest(read)

    def with_a_value(self) -> list[Reading]:
        """All of them, but for the entries that hold no value."""
        return [reading for reading in self.since(None) if reading.doubt is not _NOT_RECORDED]

    def _of(self, entry: Entry) -> list[Reading]:
        found = self._read.get(entry)
        if found is None:
            found = self._read[entry] = list(_readings(self._measured, entry, self._view))
        return found


def _readings(measured: _Measured, entry: Entry, view: View) -> Iterator[Reading]:
    row = measured.row
    if row.measured_only and _not_measured(entry, view.knowledge):
        return
    about = [part for part, concepts in entry.parts if not concepts.isdisjoint(measured.concepts)]
    for holder in about or [entry.resource]:
        value, doubt = _value(row, holder, view.units)
        if not about:
            if doubt is _NOT_RECORDED:
                continue
            value, doubt = None, _UNREADABLE  # a panel that holds a value of its own
        elif not entry.surely_hers and doubt is not _NOT_RECORDED:
            value, doubt = None, Doubt.UNCLEAR
        at_least = _lower_bound(row, holder, view.units) if about and doubt is _UNREADABLE else None
        yield Reading(value, entry.at, doubt, entry, holder, view, at_least)


def _not_measured(entry: Entry, knowledge: Knowledge) -> bool:
    """
    29463-7 counts as measured unless its method or code says stated, estimated or before the pregnancy.

    A method that names nothing may have said so.
    """
    terms = knowledge.terminology
    method = entry.resource.get("method")
    if "method" in entry.resource and not codes_in(method) and not any(texts(method)):
        return True
    for place in (entry.resource.get("method"), entry.resource.get("code")):
        if "body_weight_not_measured" in terms.codings_of(codings(place)).says:
            return True
        for text in texts(place):
            if any(c == "body_weight_not_measured" for c, _, _ in terms.meaning_of_text("measurements", text)):
                return True
    return False


def _value(row: ObservationFact, holder: Mapping[str, Any], units: Units) -> tuple[Number | None, Doubt | None]:
    told = told_as(holder, "value", "valueQuantity")
    quantity = holder.get("valueQuantity")
    if told == ["valueQuantity"] and isinstance(quantity, dict) and quantity.get("value") is None:
        return None, _NOT_RECORDED
    if told != ["valueQuantity"] or not isinstance(quantity, dict) or holder.get("dataAbsentReason"):
        # Another kind of value, two of them, or a value beside the reason why there is none.
        return None, _UNREADABLE if told else _NOT_RECORDED
    value = _times_upper_limit(holder, quantity, units) if row.ratio else units.convert(quantity, row.unit)
    if value is None:
        return None, _UNREADABLE
    low, high = row.plausible
    return (value, None) if low <= value <= high else (None, _UNREADABLE)


def _lower_bound(row: ObservationFact, holder: Mapping[str, Any], units: Units) -> Number | None:
    """Of "1000 or more" the 1000."""
    if row.ratio or is_withheld(holder) or told_as(holder, "value", "valueQuantity") != ["valueQuantity"]:
        return None
    at_least = units.lower_bound(holder.get("valueQuantity"), row.unit)
    low, high = row.plausible
    return at_least if at_least is not None and low <= at_least <= high else None


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


def _find(row: ObservationFact, readings: _Readings, since: datetime | None, had: Had, now: datetime) -> Finding:
    """
    The values that count, by the row's window. What is ahead of the clock or cannot be read may be anything.

    Behind such an entry an earlier value of the window stands, to warn, but it is no longer the whole story. An entry
    without a value (seen in Synthea output) says nothing, but where there is no other it does not say "none", either.
    """
    if row.take == "latest" and (newest := readings.newest(since, now)):
        return _believed(newest, incomplete=had is not Had.WHOLE)
    empty: list[Reading] = []
    ahead: list[Reading] = []
    usable: list[Reading] = []
    for reading in readings.since(since):
        if reading.doubt is _NOT_RECORDED:
            empty.append(reading)
        else:
            (ahead if reading.at is not None and reading.at.is_future(now) else usable).append(reading)
    if not usable:
        return unknown(Doubt.IN_THE_FUTURE, *(r.evidence for r in ahead)) if ahead else _none(row, readings, empty, had)
    if row.take == "highest":
        return _highest(usable, incomplete=had is not Had.WHOLE or bool(ahead))
    chosen = _newest(usable)
    doubted = [r for r in chosen if r.value is None]
    if doubted or ahead:
        if row.window_hours is None:
            why = doubted[0].doubt or Doubt.UNREADABLE if doubted else Doubt.IN_THE_FUTURE
            return unknown(why, *(r.evidence for r in (doubted or ahead)))
        chosen = _newest([r for r in usable if r.value is not None])
    believed = [r for r in chosen if r.value is not None]
    if not believed:
        return unknown(doubted[0].doubt or Doubt.UNREADABLE, *(r.evidence for r in doubted))
    return _believed(believed, incomplete=had is not Had.WHOLE or bool(doubted or ahead))


def _highest(usable: list[Reading], *, incomplete: bool) -> Finding:
    """The highest value. Of "1000 or more" the 1000 counts, to warn; then it is not the whole story."""
    told = [(value, r) for r in usable if (value := r.at_least if r.value is None else r.value) is not None]
    doubted = [r for r in usable if r.value is None]
    if not told:
        return unknown(doubted[0].doubt or Doubt.UNREADABLE, *(r.evidence for r in doubted))
    top, shown = max(told, key=lambda pair: pair[0])
    return Finding(_PRESENT, (shown.evidence,), values=(top,), at=shown.at, incomplete=incomplete or bool(doubted))


def _none(row: ObservationFact, readings: _Readings, empty: list[Reading], had: Had) -> Finding:
    """Nothing in the window: what does that say?"""
    if had < Had.CUT_SHORT:
        return unknown(missing(had))
    if row.if_none == "unknown" and (older := readings.with_a_value()):
        return unknown(Doubt.TOO_OLD, _newest(older)[-1].evidence)
    if had is Had.CUT_SHORT:
        return unknown(Doubt.INCOMPLETE)
    if row.if_none == "absent" and not empty:
        return ABSENT
    return unknown(Doubt.NOT_RECORDED, *(r.evidence for r in empty))


def _believed(readings: list[Reading], *, incomplete: bool) -> Finding:
    values = tuple(sorted({r.value for r in readings if r.value is not None}))
    evidence = tuple([r.evidence for r in readings])
    return Finding(_PRESENT, evidence, values, _when_true(readings), len(values) > 1, incomplete)


class _Dated(Protocol):
    """An entry, or a number in it."""

    at: Moment | None


_D = TypeVar("_D", bound=_Dated)


def _maybe_newest(dated: list[_D]) -> list[_D]:
    """Whatever could be the newest: the undated, and what may have been after another, by its day, month or year."""
    if len(dated) < 2:
        return dated
    since = max((d.at.earliest for d in dated if d.at is not None and d.at.precision >= _DAY), default=None)
    return [d for d in dated if since is None or d.at is None or d.at.latest > since or d.at.earliest == since]


def _newest(readings: list[Reading]) -> list[Reading]:
    """
    The latest readings: by effective time, then issued. More than one when nobody can tell which is the latest.

    Whatever could be the newest is kept: an undated reading, and one whose day, month or year may end after another
    was measured.
    """
    newest = _last_issued(_maybe_newest(readings))
    return sorted(newest, key=lambda r: (_dated(r), r.reference, str(r.value))) if len(newest) > 1 else newest


def _last_issued(readings: list[Reading]) -> list[Reading]:
    """Of readings of one and the same instant the one that was issued last, if each says when it was."""
    if len(readings) < 2:
        return readings
    if len({r.at and (r.at.earliest, r.at.latest) for r in readings}) > 1 or any(r.at is None for r in readings):
        return readings
    issued = [at for r in readings if (at := r.issued) is not None]
    if len(issued) < len(readings):
        return readings
    return [r for r, at in zip(readings, issued, strict=True) if at == max(issued)]


def _dated(reading: Reading) -> tuple[bool, float]:
    """From old to new, an undated reading first."""
    return (reading.at is not None, reading.at.latest.timestamp() if reading.at is not None else 0.0)


def _when_true(readings: list[Reading]) -> Moment | None:
    """When the last of these was measured that says so to the day. They agree on the value, or conflict anyway."""
    dated = [r.at for r in readings if r.at is not None]
    if len(dated) == 1:
        return dated[0]
    return max(dated, key=lambda at: (at.precision >= _DAY, at.earliest, at.precision), default=None)


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
    upper, lower = latest[0][0].evidence, latest[0][1].evidence
    evidence = Evidence(upper.reference, f"{upper.value}/{lower.value}", upper.unit, upper.date)
    return Finding(
        _PRESENT,
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
    if weight.state is _PRESENT and not all(low <= value <= high for value in weight.values):
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
    recent.sort(key=lambda r: (_dated(r), r.reference, str(r.value)))
    kilograms = [Fraction(r.value) for r in recent if r.value is not None]
    allowed = Fraction(times.weight_conflict_percent) / 100
    if kilograms and max(kilograms) - min(kilograms) > min(kilograms) * allowed:  # else no two of them conflict
        for (one, earlier), (two, later) in combinations(zip(kilograms, recent, strict=True), 2):
            # Where the dates do not tell which was first, the smaller difference is allowed.
            base = one if _surely_first(earlier, later) else min(one, two)
            if abs(two - one) > base * allowed and _same_side(earlier, later, birth):
                return unknown(Doubt.CONFLICTING, earlier.evidence, later.evidence)
    if recent and (value := recent[-1].value) is not None:
        low, high = times.weight_believable_kg
        if not low <= value <= high:
            return unknown(Doubt.CONFLICTING, recent[-1].evidence)
    return Finding(_PRESENT)


def _same_side(one: Reading, other: Reading, birth: Moment | None) -> bool:
    if birth is None or one.at is None or other.at is None:
        return True
    return not (one.at.surely_before(birth) and other.at.surely_after(birth))


def _surely_first(one: Reading, other: Reading) -> bool:
    return one.at is not None and other.at is not None and one.at.surely_before(other.at)


def _shown(quantity: object) -> str | None:
    value = quantity.get("value") if isinstance(quantity, dict) else None
    return None if value is None or isinstance(value, _NO_NUMBER) else str(value)


_NO_NUMBER: Final = (str, bool, list, dict)
