"""What a fact says in numbers: in the unit of its rule, in few digits, and never on the other side of a limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from cds_service.clinical.facts import Finding, Number, State
from cds_service.clinical.rounding import shortened
from cds_service.clinical.weighing import Reason, holds
from cds_service.knowledge.loader import Knowledge
from cds_service.knowledge.shapes import Test, nested
from cds_service.rendering.figures import HOURS_UP_TO, MINUTES_UP_TO, Figures, charted_number

_MINUTES: Final = "min"
_SCORE: Final = "{score}"
_BODY_MASS_INDEX: Final = "kg/m2"
# Facts that are not written as a number and a unit.
_SHOCK_INDEX: Final = "shock_index"
_ASA: Final = "asa_class"
_ASA_CLASSES: Final = ("I", "II", "III", "IV", "V", "VI")
# How many places people see: of a number that was converted, and of any other that no entry says as it is.
_CONVERTED: Final = 1
_RECKONED: Final = 2
_NO_NUMBER: Final = "–"
Stays = Callable[[Fraction], bool]


class Measure(NamedTuple):
    """What a fact is a number of: the UCUM unit of its row; `ratio`: it is a multiple of the laboratory's limit."""

    unit: str
    ratio: bool = False


class _Charted(NamedTuple):
    """The number of an entry as it was written, what it is exactly, and its UCUM unit."""

    number: str
    exact: Fraction
    unit: str | None


class _Told(NamedTuple):
    """A number in words, and its unit; `charted` is what was charted in its stead, in another unit."""

    number: str
    unit: str
    charted: str = ""
    charted_unit: str = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a call, in the words of its figures, by the tables that say what each fact is measured in."""

    figures: Figures
    knowledge: Knowledge

    def because_of(self, reason: Reason, finding: Finding) -> str:
        """The number that met a rule; nothing where there is none."""
        return self.of(reason.fact, finding, self.knowledge.once(_tests).get((reason.fact, reason.says)))

    def of(self, fact: str, finding: Finding, test: Test | None = None) -> str:
        """
        The number of a fact with its unit, as people write it; nothing where there is none.

        It is on the side of the limits of `test` on which the exact number is. What was charted in another unit is
        told behind it.
        """
        if not finding.values:
            return ""
        if (measure := self._measure(fact)) is None:
            return self.figures.value(finding)
        values = _telling(finding, test)
        low, *more = values if len(values) == 1 else (min(values), max(values))
        said = self._said(fact, measure, low, finding, test)
        if more and (high := self._said(fact, measure, more[0], finding, test)) != said:
            said = self._say("value_range", low=said, high=high)
        # What an incomplete form adds up to is a lower bound (decision logic, section 2).
        return self._say("value_at_least", value=said) if finding.incomplete and measure.unit == _SCORE else said

    def joined(self, facts: Sequence[str], findings: Mapping[str, Finding]) -> str:
        """The numbers of facts that are written as one, as those of a blood pressure are; a dash for a missing one."""
        told = [self._one(fact, findings.get(fact)) for fact in facts]
        said = _as_one((one.number, one.unit) for one in told)
        if not any(one.charted for one in told):
            return said
        charted = _as_one((one.charted, one.charted_unit) if one.charted else (one.number, one.unit) for one in told)
        return self._say("value_charted", value=said, charted=charted)

    def named(self, names: Mapping[str, str], findings: Mapping[str, Finding]) -> str:
        """The numbers of facts that stand in one row, each by its name. A missing one is said to be missing."""
        said = ((name, self.of(fact, findings[fact]) if fact in findings else "") for fact, name in names.items())
        return ", ".join(
            self._say("value_named", name=name, value=value or self._say("value_missing")) for name, value in said
        )

    # --- one number

    def _measure(self, fact: str) -> Measure | None:
        return self.knowledge.once(_measures).get(fact)

    def _said(self, fact: str, measure: Measure, value: Number, finding: Finding, test: Test | None) -> str:
        stays = _stays(value, test)
        if fact == _ASA and value in range(1, len(_ASA_CLASSES) + 1):
            return _ASA_CLASSES[int(value) - 1]
        if fact == _SHOCK_INDEX:
            return _with_two_places(shortened(value, 2, stays))
        if measure.unit == _MINUTES:
            return self.figures.span(_whole_minutes(value, stays))
        if measure.unit == _BODY_MASS_INDEX:
            return f"{shortened(value, 1, stays)} {self.figures.unit_words(measure.unit)}"
        if measure.ratio and value and (charted := _charted(finding)) is not None:
            # Of the laboratory's limit we know how many times it is in the number that was charted.
            limit = shortened(charted.exact / Fraction(value), _RECKONED, _anything)
            return self._say("value_upper_limit", value=self._with_unit(charted.number, charted.unit), limit=limit)
        told = self._told(measure, value, finding, stays)
        said = f"{told.number} {told.unit}".strip()
        if not told.charted:
            return said
        return self._say("value_charted", value=said, charted=f"{told.charted} {told.charted_unit}".strip())

    def _one(self, fact: str, finding: Finding | None) -> _Told:
        measure = self._measure(fact)
        if finding is None or not finding.values:
            return _Told(_NO_NUMBER, "")
        if measure is None:
            return _Told(self.figures.number(finding), self.figures.unit(finding))
        return self._told(measure, max(finding.values), finding, _anything)

    def _told(self, measure: Measure, value: Number, finding: Finding, stays: Stays) -> _Told:
        """As it was charted, where that is the number of the rule; else converted."""
        unit, charted = self.figures.unit_words(measure.unit), _charted(finding)
        if charted is None:
            return _Told(shortened(value, _RECKONED, stays), unit)
        charted_unit = self.figures.unit_words(charted.unit)
        if charted.exact == value:
            return _Told(charted.number, charted_unit)
        return _Told(shortened(value, _CONVERTED, stays), unit, charted.number, charted_unit)

    def _with_unit(self, number: str, unit: str | None) -> str:
        return f"{number} {self.figures.unit_words(unit)}".strip()

    def _say(self, block: str, **words: object) -> str:
        return self.figures.blocks[block].fill(words)


def _measures(knowledge: Knowledge) -> Mapping[str, Measure]:
    """By fact."""
    read = {row.fact: Measure(row.unit, row.ratio) for row in knowledge.observations.row}
    return read | {row.fact: Measure(row.unit) for row in knowledge.derived.row if row.unit is not None}


def _tests(knowledge: Knowledge) -> Mapping[tuple[str, str], Test]:
    """By what a reason has of it: its fact and its words."""
    tables = (knowledge.contraindications, knowledge.reviews, knowledge.modifiers, knowledge.risk)
    return {(test.fact, test.says): test for table in tables for test in nested(table, Test)}


# --- which of several numbers, and how much of it


def _telling(finding: Finding, test: Test | None) -> tuple[Number, ...]:
    """
    The values to be shown: those that meet the test.

    Of entries that disagree the one furthest beyond the limit, as to warn any of them counts.
    """
    if test is None or not test.banded:
        return finding.values
    met = tuple(value for value in finding.values if _meets(test, value)) or finding.values
    if not finding.conflict:
        return met
    return (min(met) if test.at_least is None and test.above is None else max(met),)


def _meets(test: Test, value: Number) -> bool:
    return holds(test, Finding(State.PRESENT, values=(value,))) is State.PRESENT


def _stays(value: Number, test: Test | None) -> Stays:
    if test is None or not test.banded:
        return _anything
    as_exact = _meets(test, value)
    return lambda shown: _meets(test, shown) is as_exact


def _anything(_: Fraction) -> bool:
    return True


def _charted(finding: Finding) -> _Charted | None:
    """What the one entry says, if it is a number and there is no other."""
    if not len(finding.evidence) == len(finding.values) == 1:
        return None
    entry = finding.evidence[0]
    number = charted_number(entry)
    if number is None or not number.removeprefix("-")[0].isdigit():  # "<5" is no number to reckon with
        return None
    return _Charted(number, Fraction(number), entry.unit)


def _as_one(told: Iterable[tuple[str, str]]) -> str:
    """Numbers of one unit with a stroke between them, else each with its own; a missing one has none."""
    pairs = list(told)
    units = dict.fromkeys(unit for _, unit in pairs if unit)
    if len(units) > 1:
        return ", ".join(f"{number} {unit}".strip() for number, unit in pairs)
    return " ".join(["/".join(number for number, _ in pairs), *units])


def _whole_minutes(value: Number, stays: Stays) -> int:
    """As exact as a length of time is told: up while it is told in minutes, then down, unless that reaches a limit."""
    step = 1 if value < HOURS_UP_TO else 60
    down = math.floor(Fraction(value) / step) * step
    up = math.ceil(Fraction(value) / step) * step
    return up if value <= MINUTES_UP_TO or not stays(Fraction(down)) else down


def _with_two_places(text: str) -> str:
    whole, _, part = text.partition(".")
    return f"{whole}.{part:0<2}"
