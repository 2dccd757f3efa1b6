"""May the medicine be offered: every criterion, every reason, and one status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from cds_service.clinical.facts import Doubt, Evidence, Facts, Finding, State
from cds_service.clinical.stage import Stage
from cds_service.clinical.weighing import Reason, holds
from cds_service.knowledge.shapes import Criterion, Input, Protocol, Test

# By themselves: Python 3.11 takes ten times as long to look one up by its class (see `weighing`).
_PRESENT: Final = State.PRESENT
_ABSENT: Final = State.ABSENT
_UNKNOWN: Final = State.UNKNOWN


class Status(StrEnum):
    """Decision logic, section 6. A dose exists only in the first two."""

    ELIGIBLE = "eligible"
    ELIGIBLE_CONDITIONAL = "eligible-conditional"
    CONTRAINDICATED = "contraindicated"
    SPECIALIST_REVIEW = "specialist-review"
    DATA_MISSING = "data-missing"
    NOT_INDICATED = "not-indicated"
    NO_APPROVED_PROTOCOL = "no-approved-protocol"

    @property
    def allows_a_dose(self) -> bool:
        return self in {Status.ELIGIBLE, Status.ELIGIBLE_CONDITIONAL}


@dataclass(frozen=True, slots=True)
class Met:
    """A criterion that is met: its row, and the facts that met it."""

    row: Criterion
    because: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Open:
    """Something that must be known and is not: the id, what it is, its limit, and the last that was seen of it."""

    id: str
    says: str
    limit: str
    doubts: tuple[Doubt, ...]
    last_seen: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Eligibility:
    """
    The status, and every reason that was found on the way, in the tables' order.

    `not_met` are the ids of the contraindications and reviews that were answered, and are not so.
    """

    status: Status
    contraindications: tuple[Met, ...]
    reviews: tuple[Met, ...]
    modifiers: tuple[Met, ...]
    missing: tuple[Open, ...]
    confirm: tuple[Open, ...]
    configuration: tuple[str, ...]
    not_met: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """The tables that eligibility is judged by."""

    contraindications: tuple[Criterion, ...]
    reviews: tuple[Criterion, ...]
    modifiers: tuple[Criterion, ...]
    inputs: tuple[Input, ...]


def judge(
    facts: Facts,
    rows: Rows,
    *,
    stage: Stage,
    ppd_order: bool,
    protocol: Protocol | None,
    configuration: tuple[str, ...] = (),
    tightened: frozenset[str] = frozenset(),
) -> Eligibility:
    """
    Every criterion, then the first true row of section 6.

    `protocol` is the one that the site has approved, if any; `configuration` names site errors such as CFG01;
    `tightened` holds the D rows that the site blocks on although the table would let them be confirmed.
    """
    contraindications = tuple(_weighed(rows.contraindications, facts))
    reviews = tuple(_weighed(rows.reviews, facts))
    unknown_inputs = {row.id: found for row in rows.inputs if (found := _not_known(row, facts, stage)) is not None}
    demand = {row.id: _demand(row, stage, tightened) for row in rows.inputs}
    missing = [open_ for id_, open_ in unknown_inputs.items() if demand[id_] == "block"]
    confirm = [open_ for id_, open_ in unknown_inputs.items() if demand[id_] == "confirm"]
    # A criterion that nobody could answer although its D rows are satisfied must not pass in silence: a
    # contraindication then blocks, a review reason is confirmed at the bedside.
    missing += _unanswered(contraindications, facts, unknown_inputs)
    confirm += _unanswered(reviews, facts, unknown_inputs)
    weighed = {criterion.row.id for criterion in (*contraindications, *reviews)}
    against, to_review = _met(contraindications, facts), _met(reviews, facts)
    return Eligibility(
        status=_status(
            facts,
            contraindicated=bool(against),
            review=bool(to_review),
            missing=bool(missing),
            confirm=bool(confirm),
            approved=protocol is not None,
            before_birth=stage is Stage.PREGNANT,
            ppd_order=ppd_order,
        ),
        contraindications=against,
        reviews=to_review,
        modifiers=_met(tuple(_weighed(rows.modifiers, facts)), facts),
        missing=tuple(missing),
        confirm=tuple(confirm),
        configuration=configuration,
        not_met=tuple(row.id for row in (*rows.contraindications, *rows.reviews) if row.id not in weighed),
    )


def _status(
    facts: Facts,
    *,
    contraindicated: bool,
    review: bool,
    missing: bool,
    confirm: bool,
    approved: bool,
    before_birth: bool,
    ppd_order: bool,
) -> Status:
    """Section 6, first true row. With a drafted order for prevention the hard reasons speak first."""
    not_indicated = (facts["epds_below_indication"].state is State.PRESENT, Status.NOT_INDICATED)
    hard = [(contraindicated, Status.CONTRAINDICATED), (review, Status.SPECIALIST_REVIEW)]
    ordered = [*hard, not_indicated] if ppd_order else [not_indicated, *hard]
    ordered += [
        (missing, Status.DATA_MISSING),
        (not approved, Status.NO_APPROVED_PROTOCOL),
        (before_birth or confirm, Status.ELIGIBLE_CONDITIONAL),
    ]
    return next((status for true, status in ordered if true), Status.ELIGIBLE)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A criterion with the tests that hold, and those that nobody can answer."""

    row: Criterion
    holding: tuple[Test, ...]
    unanswered: tuple[Test, ...]


def _weighed(rows: tuple[Criterion, ...], facts: Facts) -> Iterator[_Weighed]:
    """The criteria that are not simply absent."""
    for row in rows:
        holding: tuple[Test, ...] = ()
        unanswered: tuple[Test, ...] = ()
        for test in row.test:
            finding = facts[test.fact]
            if finding.state is _ABSENT:
                continue  # as nearly all of them are
            state = holds(test, finding)
            if state is _PRESENT:
                holding += (test,)
            elif state is _UNKNOWN:
                unanswered += (test,)
        if holding or unanswered:
            yield _Weighed(row, holding, unanswered)


def _met(criteria: tuple[_Weighed, ...], facts: Facts) -> tuple[Met, ...]:
    return tuple(
        Met(c.row, tuple(Reason(test.fact, test.says, facts[test.fact].evidence) for test in c.holding))
        for c in criteria
        if c.holding
    )


def _demand(row: Input, stage: Stage, tightened: frozenset[str]) -> str:
    demand = row.before_birth if stage is Stage.PREGNANT else row.after_birth
    return "block" if demand == "confirm" and row.id in tightened else demand


def _not_known(row: Input, facts: Facts, stage: Stage) -> Open | None:
    minutes = row.before_minutes if stage is Stage.PREGNANT else row.after_minutes
    failed = [(finding, doubt) for name in row.facts if (doubt := _doubt(row, finding := facts[name], minutes, facts))]
    if not failed:
        return None
    return Open(
        id=row.id,
        says=row.says,
        limit=row.limit,
        doubts=tuple(dict.fromkeys(doubt for _, doubt in failed)),
        last_seen=tuple(evidence for finding, _ in failed for evidence in finding.evidence),
    )


def _doubt(row: Input, finding: Finding, minutes: int | None, facts: Facts) -> Doubt | None:
    """Why this fact does not satisfy the row, or None when it does."""
    if finding.state is _UNKNOWN:
        return finding.doubt or Doubt.NOT_RECEIVED
    if finding.conflict:
        return Doubt.CONFLICTING
    if finding.incomplete:
        return Doubt.INCOMPLETE
    if finding.state is _ABSENT and not row.may_be_absent:
        return Doubt.NOT_RECORDED
    if minutes is None:
        return None
    if finding.at is None:
        return Doubt.NOT_DATED
    return None if finding.at.surely_within(timedelta(minutes=minutes), facts.now) else Doubt.TOO_OLD


def _unanswered(criteria: tuple[_Weighed, ...], facts: Facts, unknown_inputs: Mapping[str, Open]) -> Iterator[Open]:
    """Criteria, not met, with a test that is unknown although no D row says so."""
    for criterion in criteria:
        tests = [test for test in criterion.unanswered if unknown_inputs.keys().isdisjoint(test.inputs)]
        if criterion.holding or not tests:
            continue
        findings = [facts[test.fact] for test in tests]
        yield Open(
            id=criterion.row.id,
            says="; ".join(dict.fromkeys(test.says for test in tests)),
            limit=criterion.row.says,
            doubts=tuple(dict.fromkeys(f.doubt or Doubt.NOT_RECEIVED for f in findings)),
            last_seen=tuple(e for f in findings for e in f.evidence),
        )
