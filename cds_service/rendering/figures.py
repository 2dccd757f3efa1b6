"""How a number, a unit and a date from a chart are written for people. Anything else that a chart says stays there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from cds_service.clinical.dosing import Dose, plain
from cds_service.clinical.facts import Evidence, Finding, Number
from cds_service.rendering.wording import Phrase

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
# When an age is told in minutes, and when in hours.
_MINUTES_UP_TO: Final = 120
_HOURS_UP_TO: Final = 48 * 60


def escape(text: str) -> str:
    """Text from outside, such as an approval number, with no markdown left in it."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def plain_text(text: str) -> str:
    """The same for a summary, which is plain text: a backslash would be read aloud, so the signs are left out."""
    return re.sub(r"<(?=[A-Za-z/!])|[\\`*_|]", "", " ".join(text.split()))


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures as of `now`, in the words of the blocks. `too_old` holds references that are past their limit."""

    blocks: Mapping[str, Phrase]
    units: Mapping[str, str]
    now: datetime
    too_old: frozenset[str]

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
        return self._unit_words(units.pop()) if len(units) == 1 else ""

    def entry(self, entry: Evidence, *, unit: bool = True) -> str:
        """One entry's number, and its unit."""
        return f"{charted_number(entry) or ''} {self._unit_words(entry.unit) if unit else ''}".strip()

    def when(self, entry: Evidence | None) -> str:
        """Date and age, such as "2026-05-02, 12 days ago"."""
        written, at = _dated(entry)
        if entry is None or written is None:
            return self._say("when_none")
        age = self._ago(written, at)
        when = self._say("when_known", date=written, age=age) if age != written else written
        return self._say("when_old", when=when) if entry.reference in self.too_old else when

    def age(self, entry: Evidence | None) -> str:
        """How long ago; a year or a month alone is given as it is."""
        written, at = _dated(entry)
        return self._say("when_none") if written is None else self._ago(written, at)

    def _ago(self, written: str, at: datetime | None) -> str:
        if at is None:
            return written
        if len(written) == _DAY:
            return self._days((self.now.date() - at.date()).days)
        minutes = int((self.now - at).total_seconds() // 60)
        if minutes < 0:
            return self._say("age_future")
        if minutes < _MINUTES_UP_TO:
            return self._say("age_minutes", number=minutes)
        if minutes < _HOURS_UP_TO:
            return self._say("age_hours", number=minutes // 60)
        return self._days(minutes // (24 * 60))

    def _days(self, days: int) -> str:
        if days < 0:
            return self._say("age_future")
        return self._say("age_days", number=days) if days > 1 else self._say("age_day" if days else "age_today")

    def _unit_words(self, unit: str | None) -> str:
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
    cap = f"{protocol.weight_cap_kg:f}"
    return blocks["calculation"].fill(
        {
            "per_kg": f"{protocol.dose_mg_per_kg:f}",
            "weight": f"{dose.weight_kg:f}",
            "capped": blocks["calculation_capped"].fill({"cap": cap}) if dose.capped else "",
            "exact": f"{dose.exact_mg:f}",
            "dose": f"{dose.dose_mg:f}",
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


def kind_of_entry(entry: Evidence | None) -> str:
    """Observation, Condition and so on; a dash for anything that is not a relative reference."""
    match = _RESOURCE.fullmatch(entry.reference) if entry is not None else None
    return match[1] if match else "–"


class _Dated(NamedTuple):
    """A FHIR date as people write it, to the minute, and the instant at which it starts."""

    written: str | None
    at: datetime | None


_NOT_DATED: Final = _Dated(None, None)


def _dated(entry: Evidence | None) -> _Dated:
    return _date_in(entry.date) if entry is not None and entry.date is not None else _NOT_DATED


@lru_cache(_DATES_REMEMBERED)
def _date_in(text: str) -> _Dated:
    """Anything but a FHIR date is not shown. A year or a month says no instant; without a zone it is read as UTC."""
    if not _DATE.fullmatch(text):
        return _NOT_DATED
    written = text[:_MINUTE].replace("T", " ")
    if len(text) < _DAY:
        return _Dated(written, None)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _Dated(written, None)
    return _Dated(written, at if at.tzinfo else at.replace(tzinfo=UTC))


def _written(value: Number) -> str:
    """At most two places, rounded down, so that no number reaches a limit by rounding; a whole number without any."""
    exact = Fraction(value)
    if exact.denominator == 1:
        return str(exact.numerator)
    return f"{plain(Fraction(exact.numerator * 100 // exact.denominator, 100)):f}"
