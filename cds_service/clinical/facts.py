"""What is known of this woman: each fact present, absent or unknown, with the chart entries that say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from cds_service.clinical.moment import Moment

Number = Decimal | Fraction | int


class State(StrEnum):
    """The three answers. Missing is never "normal"."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Doubt(StrEnum):
    """Why a fact is unknown, in the words a card uses."""

    NOT_RECEIVED = "not received"
    RESTRICTED = "access restricted"
    NOT_RECORDED = "not recorded"
    NOT_DATED = "not dated"
    TOO_OLD = "too old"
    IN_THE_FUTURE = "dated in the future"
    INCOMPLETE = "incomplete"
    CONFLICTING = "conflicting"
    UNREADABLE = "not readable"
    UNCLEAR = "recorded, but not clearly enough"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One chart entry: its relative reference, value and UCUM unit as we read them, and its date as written there."""

    reference: str
    value: str | None = None
    unit: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What the chart says of one fact.

    `values` holds each value that the chart allows, in the unit of the fact's table row: one as a rule, several
    when entries tie (`conflict`) or when a partial date leaves a range. `at` is when the entry was true.
    `incomplete`: the list it comes from was cut short, so what it shows counts and what it does not show is unknown.
    `doubt` says why an unknown is unknown.
    """

    state: State
    evidence: tuple[Evidence, ...] = ()
    values: tuple[Number, ...] = ()
    at: Moment | None = None
    conflict: bool = False
    incomplete: bool = False
    doubt: Doubt | None = None

    @property
    def value(self) -> Number:
        """The one value. Raises ValueError when there is none, or more than one."""
        (only,) = self.values
        return only


ABSENT = Finding(State.ABSENT)
UNKNOWN = Finding(State.UNKNOWN, doubt=Doubt.NOT_RECEIVED)


def present(*evidence: Evidence) -> Finding:
    """A fact that these entries show."""
    return Finding(State.PRESENT, evidence)


def unknown(doubt: Doubt, *evidence: Evidence) -> Finding:
    """A fact that nobody can tell from this chart, and why."""
    return Finding(State.UNKNOWN, evidence, doubt=doubt)


class Facts(Mapping[str, Finding]):
    """Every fact by name, as of `now`. A fact that nobody looked for is unknown, never absent."""

    def __init__(self, findings: Mapping[str, Finding], now: datetime) -> None:
        self._findings = dict(findings)
        self.now = now

    def __getitem__(self, name: str) -> Finding:
        return self._findings.get(name, UNKNOWN)

    def __iter__(self) -> Iterator[str]:
        return iter(self._findings)

    def __len__(self) -> int:
        return len(self._findings)

    def __contains__(self, name: object) -> bool:
        return name in self._findings

    def values(self) -> ValuesView[Finding]:
        return self._findings.values()

    def with_(self, **more: Finding) -> Facts:
        """The same facts and these."""
        return Facts({**self._findings, **more}, self.now)

    def extended(self, derivations: Mapping[str, Callable[[Facts], Finding]]) -> Facts:
        """The same facts and one for each derivation, in order; each sees those before it."""
        more = Facts(self._findings, self.now)
        for name, derivation in derivations.items():
            more._findings[name] = derivation(more)
        return more


def any_of(*findings: Finding) -> Finding:
    """Present if one is present; unknown if none is present and one is unknown; else absent."""
    found = [f for f in findings if f.state is State.PRESENT]
    if found:
        return Finding(State.PRESENT, tuple(e for f in found for e in f.evidence), at=found[0].at)
    doubtful = [f for f in findings if f.state is State.UNKNOWN]
    if doubtful:
        return replace(doubtful[0], values=(), evidence=tuple(e for f in doubtful for e in f.evidence))
    return ABSENT
