"""One fact against one row of a table: does the row's test hold?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cds_service.clinical.facts import Evidence, Facts, Finding, Number, State
from cds_service.knowledge.shapes import Test

# By themselves: Python 3.11 takes ten times as long to look one up by its class, and this is asked for each test.
_PRESENT: Final = State.PRESENT
_ABSENT: Final = State.ABSENT
_UNKNOWN: Final = State.UNKNOWN


@dataclass(frozen=True, slots=True)
class Reason:
    """A row that holds: the fact, the table's words, and the chart entries."""

    fact: str
    says: str
    evidence: tuple[Evidence, ...]


def holds(test: Test, finding: Finding) -> State:
    """
    Present, absent or unknown.

    Several values that disagree about the band: present when chart entries tie (to warn, any of them counts),
    unknown when a partial date leaves a range. A list that was cut short can show, but not rule out.
    """
    if finding.state is not _PRESENT or not test.banded:
        return finding.state
    if not finding.values:
        return _UNKNOWN
    hits = [_in_band(test, value) for value in finding.values]
    if all(hits):
        return _PRESENT
    if not any(hits):
        return _UNKNOWN if finding.incomplete else _ABSENT
    return _PRESENT if finding.conflict else _UNKNOWN


def _in_band(test: Test, value: Number) -> bool:
    return (
        (test.at_least is None or value >= test.at_least)
        and (test.above is None or value > test.above)
        and (test.below is None or value < test.below)
    )


def reasons(tests: Iterable[Test], facts: Facts) -> tuple[Reason, ...]:
    """The tests that hold, each with its evidence, in the table's order."""
    return tuple(
        Reason(test.fact, test.says, finding.evidence)
        for test in tests
        if (finding := facts[test.fact]).state is _PRESENT and holds(test, finding) is _PRESENT
    )


def doubts(tests: Iterable[Test], facts: Facts) -> tuple[Test, ...]:
    """The tests that nobody can answer from this chart."""
    return tuple(
        test
        for test in tests
        if (finding := facts[test.fact]).state is not _ABSENT and holds(test, finding) is _UNKNOWN
    )
