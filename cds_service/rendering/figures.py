"""How a number, a unit and a date from a chart are written for people. Anything else that a chart says stays there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from cds_service.clinical.consultation import Consultation
from cds_service.clinical.dosing import Dose, plain
from cds_service.clinical.facts import Evidence, Finding, Number
from cds_service.rendering.wording import Phrase
from cds_service.settings import Site

_DATE: Final = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?)?)?")
_NUMBER: Final = re.compile(r"[<>]?=? ?-?\d{1,9}(\.\d{1,9})?")
_UNIT: Final = re.compile(r"[A-Za-z0-9%/.*\[\]{}_-]{1,20}")
_RESOURCE: Final = re.compile(r"([A-Z][A-Za-z]{2,40})/.+")
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~$])")
_DAY: Final = len("2026-05-02")
_MINUTE: Final = len("2026-05-02T08:30")
_LONG_AGO: Final = datetime(1, 1, 2, tzinfo=UTC)
# One chart repeats its dates: a blood pressure is two entries of one minute.
_DATES_REMEMBERED: Final = 1024
# When an age or a length of time is told in minutes, when in hours, when in days and hours, and when in days.
MINUTES_UP_TO: Final = 120
HOURS_UP_TO: Final = 48 * 60
_HOUR: Final = 60
_MINUTES_A_DAY: Final = 24 * _HOUR
_DAYS_AND_HOURS_UP_TO: Final = 14 * _MINUTES_A_DAY
_DAYS_UP_TO: Final = 730


def escape(text: str) -> str:
    """Text from outside, such as an approval number, with no markdown left in it."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def plain_text(text: str) -> str:
    """The same for a summary, which is plain text: a backslash would be read aloud, so the signs are left out."""
    return re.sub(r"<(?=[A-Za-z/!])|[\\`*_|]", "", " ".join(text.split()))


class WallClock(NamedTuple):
    """
    Whose time of day is written: that of `zone`, the site's; without one that of each entry.

    `with_offset`: the offset from UTC is written behind it.
    """

    zone: tzinfo | None = None
    with_offset: bool = False


_AS_WRITTEN: Final = WallClock()


def wall_clock(thought: Consultation, site: Site | None, *beside: datetime) -> WallClock:
    """
    The site's time, where its file names a zone; else each entry's own.

    As soon as two entries, or what stands `beside` them, were written with different offsets, these are told: a time
    that is compared with another must not be hours away from it.
    """
    if site is not None and site.time_zone is not None:
        return WallClock(site.zone(thought.facts.now))
    dates = {entry.date for found in thought.facts.values() for entry in found.evidence}
    dates |= {entry.date for entry in thought.not_recognised}
    offsets = {offset for text in dates if text is not None and (offset := _offset(text)) is not None}
    return WallClock(with_offset=len(offsets | {at.utcoffset() for at in beside}) > 1)


@dataclass(frozen=True, slots=True)
class Figures:
    """
    Figures as of `now`, in the words of the blocks, and in the time of day of the `clock`.

    `too_old` holds references that are past their limit.
    """

    blocks: Mapping[str, Phrase]
    units: Mapping[str, str]
    now: datetime
    too_old: frozenset[str]
    clock: WallClock = _AS_WRITTEN

    def value(self, finding: Finding) -> str:
        """The number and its unit."""
        return f"{self.number(finding)} {self.unit(finding)}".strip() if finding.values else ""

    def number(self, finding: Finding) -> str:
        """The number as the chart has it; when several entries make it up, the number that they make; else nothing."""
        if not finding.values:
            return ""
        charted = charted_number(finding.evidence[0]) if len(finding.evidence) == 1 else None
        return charted or _written(max(finding.values))

    def unit(self, finding: Finding) -> str:
        """The one unit that the entries share."""
        units = {entry.unit for entry in finding.evidence if entry.value is not None}
        return self.unit_words(units.pop()) if len(units) == 1 else ""

    def entry(self, entry: Evidence) -> str:
        """One entry's number, and its unit."""
        return f"{charted_number(entry) or ''} {self.unit_words(entry.unit)}".strip()

    def span(self, minutes: int) -> str:
        """A length of time, such as "2 h 24 min"; from two days on to the hour, from two weeks on to the day."""
        if minutes <= MINUTES_UP_TO:
            return self._say("span_minutes", number=minutes)
        days, rest = divmod(minutes, _MINUTES_A_DAY) if minutes >= HOURS_UP_TO else (0, minutes)
        parts = {"span_days": days, "span_hours": rest // _HOUR, "span_minutes": 0 if days else rest % _HOUR}
        if minutes >= _DAYS_AND_HOURS_UP_TO:
            del parts["span_hours"]
        return " ".join(self._say(block, number=number) for block, number in parts.items() if number)

    def date_of(self, entry: Evidence) -> str:
        """Its date alone, to the minute; nothing when it has none."""
        return _dated(entry, self.clock).written or ""

    def moment(self, at: datetime) -> str:
        """An instant of our own, to the minute, such as "2026-05-02 08:30 UTC"."""
        return _to_the_minute(at, self.clock._replace(with_offset=True))

    def when(self, entry: Evidence | None) -> str:
        """Date and age, such as "2026-05-02, 12 days ago"."""
        written, at = _dated(entry, self.clock)
        if entry is None or written is None:
            return self._say("when_none")
        too_old = entry.reference in self.too_old
        age = self._ago(written, at, to_the_hour=too_old)
        when = self._say("when_known", date=written, age=age) if age != written else written
        return self._say("when_old", when=when) if too_old else when

    def age(self, entry: Evidence | None) -> str:
        """How long ago; a year or a month alone is given as it is."""
        written, at = _dated(entry, self.clock)
        return self._say("when_none") if written is None else self._ago(written, at)

    def _ago(self, written: str, at: datetime | None, *, to_the_hour: bool = False) -> str:
        """`to_the_hour`, or to the minute of some hours: 7 days and an hour is not "within 7 days"."""
        if at is None:
            return written
        if len(written) == _DAY:
            return self._days((self._today() - at.date()).days)
        minutes = int((self.now - at).total_seconds() // 60)
        if minutes < 0:
            return self._say("age_future")
        if minutes < MINUTES_UP_TO:
            return self._say("age_minutes", number=minutes)
        if to_the_hour and MINUTES_UP_TO < minutes < _DAYS_AND_HOURS_UP_TO:
            return self._say("age_exact", span=self.span(minutes))
        if minutes < HOURS_UP_TO:
            return self._say("age_hours", number=minutes // _HOUR)
        return self._days(minutes // _MINUTES_A_DAY)

    def _today(self) -> date:
        return self.now.astimezone(self.clock.zone or self.now.tzinfo).date()

    def _days(self, days: int) -> str:
        if days < 0:
            return self._say("age_future")
        if days >= _DAYS_UP_TO and (years := self._years(days)) > 1:
            return self._say("age_years", number=years)
        return self._say("age_days", number=days) if days > 1 else self._say("age_day" if days else "age_today")

    def _years(self, days: int) -> int:
        """Whole years by the calendar: who is 17 was not born "18 years ago"."""
        today = self._today()
        then = today - timedelta(days=days)
        return today.year - then.year - ((today.month, today.day) < (then.month, then.day))

    def unit_words(self, unit: str | None) -> str:
        """How a UCUM unit is written for people; a plain code that has no words, as it is."""
        if unit is None:
            return ""
        words = self.units.get(unit)
        if words is None:
            return escape(unit) if _UNIT.fullmatch(unit) else ""
        return words

    def _say(self, block: str, **words: object) -> str:
        return self.blocks[block].fill(words)


def arithmetic(dose: Dose, blocks: Mapping[str, Phrase]) -> str:
    """The same arithmetic as the dose has of itself, in the words of the card files."""
    protocol = dose.protocol
    cap, mg = f"{protocol.weight_cap_kg:f}", f"{dose.dose_mg:f}"
    return blocks["calculation"].fill(
        {
            "per_kg": f"{protocol.dose_mg_per_kg:f}",
            "weight": f"{dose.weight_kg:f}",
            "capped": blocks["calculation_capped"].fill({"cap": cap}) if dose.capped else "",
            "exact": f"{dose.exact_mg:f}",
            "rounded": blocks["calculation_rounded"].fill({"dose": mg}) if dose.rounded else "",
            "dose": mg,
            "strength": f"{protocol.strength_mg_per_ml:f}",
            "drug_volume": f"{dose.drug_volume_ml:f}",
            "total_volume": f"{protocol.total_volume_ml:f}",
            "concentration": f"{dose.concentration_mg_per_ml:f}",
            "rate": f"{protocol.rate_ml_per_h:f}",
            "duration": protocol.duration_min,
        }
    )


def latest(evidence: tuple[Evidence, ...]) -> Evidence | None:
    """The newest entry; without any date the first one."""
    if len(evidence) == 1:
        return evidence[0]
    return max(evidence, key=sort_key, default=None)


def sort_key(entry: Evidence) -> datetime:
    """From old to new; an entry without a day comes first."""
    return _dated(entry).at or _LONG_AGO


def charted_number(entry: Evidence) -> str | None:
    """The entry's number as the chart writes it, trailing zeros and all."""
    return entry.value if entry.value is not None and _NUMBER.fullmatch(entry.value) else None


def kind_of_entry(entry: Evidence | None, words: Mapping[str, str]) -> str:
    """
    Observation, Condition and so on, in these words; a dash for anything that is not a relative reference.

    A kind of which there is no word is called by its name in FHIR.
    """
    match = _RESOURCE.fullmatch(entry.reference) if entry is not None else None
    return words.get(match[1], match[1]) if match else "–"


class _Dated(NamedTuple):
    """A FHIR date as people write it, to the minute, and the instant at which it starts."""

    written: str | None
    at: datetime | None


_NOT_DATED: Final = _Dated(None, None)


def _dated(entry: Evidence | None, clock: WallClock = _AS_WRITTEN) -> _Dated:
    return _date_in(entry.date, clock) if entry is not None and entry.date is not None else _NOT_DATED


@lru_cache(_DATES_REMEMBERED)
def _offset(text: str) -> timedelta | None:
    """How far from UTC it was written; a date without a time of day does not say."""
    written, at = _date_in(text, _AS_WRITTEN)
    return at.utcoffset() if at is not None and written is not None and len(written) > _DAY else None


@lru_cache(_DATES_REMEMBERED)
def _date_in(text: str, clock: WallClock) -> _Dated:
    """
    Anything but a FHIR date is not shown. A year or a month says no instant.

    Without a zone it is read in the site's, as the facts were; without that as UTC.
    """
    if not _DATE.fullmatch(text):
        return _NOT_DATED
    written = text[:_MINUTE].replace("T", " ")
    if len(text) < _DAY:
        return _Dated(written, None)
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=clock.zone or UTC)
        return _Dated(written if len(text) == _DAY else _to_the_minute(at, clock), at)
    except (ValueError, OverflowError):  # the 30th of February; the first hour of all years, further west
        return _Dated(written, None)


def _to_the_minute(at: datetime, clock: WallClock) -> str:
    """The time of day of the clock. Raises OverflowError at either end of the calendar."""
    here = at.astimezone(clock.zone) if clock.zone is not None else at
    text = here.isoformat(" ", "minutes")
    written, offset = text[:_MINUTE], text[_MINUTE:]
    if not clock.with_offset:
        return written
    return f"{written} {offset if here.utcoffset() else 'UTC'}"


def _written(value: Number) -> str:
    """At most two places, rounded down, so that no number reaches a limit by rounding; a whole number without any."""
    exact = Fraction(value)
    if exact.denominator == 1:
        return str(exact.numerator)
    return f"{plain(Fraction(exact.numerator * 100 // exact.denominator, 100)):f}"
