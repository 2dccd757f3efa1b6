"""When something was true, where she is by that, and one fact against one band: each line on both of its sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cds_service.clinical.facts import ABSENT, UNKNOWN, Doubt, Evidence, Facts, Finding, State, any_of, present, unknown
from cds_service.clinical.moment import Moment, Precision, exactly
from cds_service.clinical.stage import Stage, stage_of
from cds_service.clinical.weighing import Reason, doubts, holds, reasons
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Test as Row

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
ONE, OTHER = Evidence("Condition/one"), Evidence("Condition/other")


def between(first: datetime, last: datetime, precision: Precision = Precision.DAY) -> Moment:
    return Moment(first, last, precision, "as written")


# ---- Moments


def test_an_instant_is_known_to_the_second() -> None:
    assert exactly(NOON) == Moment(NOON, NOON, Precision.TIME, "2026-11-23T12:00:00+00:00")


def test_a_moment_is_ahead_only_when_all_of_it_is() -> None:
    assert not exactly(NOON).is_future(NOON)
    assert exactly(NOON + SECOND).is_future(NOON)
    assert not between(NOON, NOON + DAY).is_future(NOON)


def test_to_reassure_the_earliest_instant_counts() -> None:
    assert exactly(NOON - DAY).surely_within(DAY, NOON)
    assert not exactly(NOON - DAY - SECOND).surely_within(DAY, NOON)
    assert not between(NOON - DAY - SECOND, NOON).surely_within(DAY, NOON)
    assert exactly(NOON).surely_within(DAY, NOON)
    assert not exactly(NOON + SECOND).surely_within(DAY, NOON)


def test_a_month_or_a_year_alone_reassures_nobody() -> None:
    assert between(NOON, NOON, Precision.DAY).surely_within(DAY, NOON)
    assert not between(NOON, NOON, Precision.MONTH).surely_within(DAY, NOON)
    assert not between(NOON, NOON, Precision.YEAR).surely_within(DAY, NOON)


def test_to_warn_the_latest_instant_counts() -> None:
    assert between(NOON - 9 * DAY, NOON - DAY).possibly_within(DAY, NOON)
    assert not between(NOON - 9 * DAY, NOON - DAY - SECOND).possibly_within(DAY, NOON)
    assert exactly(NOON + DAY).possibly_within(DAY, NOON)


def test_one_moment_is_after_another_only_when_no_instant_of_both_overlaps() -> None:
    first, touching, later = (
        between(NOON, NOON + DAY),
        between(NOON + DAY, NOON + 2 * DAY),
        exactly(NOON + DAY + SECOND),
    )

    assert later.surely_after(first)
    assert first.surely_before(later)
    assert not touching.surely_after(first)
    assert not first.surely_before(touching)


# ---- Stages

DAYS = [
    (0, Stage.AFTER_BIRTH, Stage.AFTER_BIRTH),
    (7, Stage.AFTER_BIRTH, Stage.AFTER_BIRTH),
    (7.01, Stage.POSTPARTUM, Stage.POSTPARTUM),
    (140, Stage.POSTPARTUM, Stage.POSTPARTUM),
    (140.01, Stage.POSTPARTUM, Stage.PREGNANT),
    (365, Stage.POSTPARTUM, Stage.PREGNANT),
    (365.01, Stage.OTHER, Stage.PREGNANT),
]


@pytest.mark.parametrize("sign", ["pregnancy", "due_date_ahead", "delivery_order"])
@pytest.mark.parametrize(("days", "alone", "pregnant"), DAYS)
def test_where_she_is_by_the_days_since_the_birth(
    days: float, alone: Stage, pregnant: Stage, sign: str, knowledge: Knowledge
) -> None:
    birth = Finding(State.PRESENT, at=exactly(NOON - timedelta(days=days)))

    assert stage_of(Facts({"birth": birth}, NOON), knowledge.times) is alone
    assert stage_of(Facts({"birth": birth, sign: present()}, NOON), knowledge.times) is pregnant


@pytest.mark.parametrize(
    "birth",
    [
        ABSENT,
        UNKNOWN,
        Finding(State.PRESENT),
        Finding(State.UNKNOWN, at=exactly(NOON)),
        Finding(State.ABSENT, at=exactly(NOON)),
    ],
)
def test_a_birth_that_is_not_known_or_not_dated_decides_nothing(birth: Finding, knowledge: Knowledge) -> None:
    assert stage_of(Facts({"birth": birth}, NOON), knowledge.times) is Stage.OTHER
    assert stage_of(Facts({"birth": birth, "pregnancy": present()}, NOON), knowledge.times) is Stage.PREGNANT
    assert stage_of(Facts({"birth": birth, "pregnancy": UNKNOWN}, NOON), knowledge.times) is Stage.OTHER


# ---- One fact against one band


def row(**band: Any) -> Row:
    return Row(fact="epds", says="EPDS", **band)


def values(*numbers: str | int, **how: bool) -> Finding:
    return Finding(State.PRESENT, (ONE,), values=tuple(Decimal(n) for n in numbers), **how)


PRESENT, UNSURE, NONE = State.PRESENT, State.UNKNOWN, State.ABSENT
BANDS = [
    (row(at_least="10"), values(10), PRESENT),
    (row(at_least="10"), values("9.999"), NONE),
    (row(above="10"), values("10.001"), PRESENT),
    (row(above="10"), values(10), NONE),
    (row(below="10"), values("9.999"), PRESENT),
    (row(below="10"), values(10), NONE),
    (row(at_least="10", below="13"), values(12), PRESENT),
    (row(at_least="10", below="13"), values(13), NONE),
    (row(at_least="10", below="13"), values(9), NONE),
    (row(), values(3), PRESENT),
    (row(), Finding(PRESENT), PRESENT),
    (row(), ABSENT, NONE),
    (row(), UNKNOWN, UNSURE),
    (row(at_least="10"), ABSENT, NONE),
    (row(at_least="10"), UNKNOWN, UNSURE),
    (row(at_least="10"), Finding(PRESENT), UNSURE),
    (row(at_least="10"), values(9, incomplete=True), UNSURE),
    (row(at_least="10"), values(10, incomplete=True), PRESENT),
    (row(at_least="10"), values(9, 10), UNSURE),
    (row(at_least="10"), values(9, 10, conflict=True), PRESENT),
    (row(at_least="10"), values(8, 9, conflict=True), NONE),
]


@pytest.mark.parametrize(("test", "finding", "answer"), BANDS)
def test_a_row_holds_or_does_not_or_nobody_can_tell(test: Row, finding: Finding, answer: State) -> None:
    facts = Facts({"epds": finding}, NOON)

    assert holds(test, finding) is answer
    assert reasons([test], facts) == ((Reason("epds", "EPDS", finding.evidence),) if answer is PRESENT else ())
    assert doubts([test], facts) == ((test,) if answer is UNSURE else ())


# ---- Facts


def test_a_fact_that_nobody_looked_for_is_unknown() -> None:
    facts = Facts({"mania": ABSENT}, NOON)

    assert facts["psychosis"] == Finding(State.UNKNOWN, doubt=Doubt.NOT_RECEIVED)
    assert (list(facts), len(facts), "mania" in facts, "psychosis" in facts) == (["mania"], 1, True, False)


def test_more_facts_leave_the_first_ones_as_they_were() -> None:
    facts = Facts({"mania": ABSENT}, NOON)
    more = facts.with_(psychosis=present(ONE))

    assert (dict(more), more.now) == ({"mania": ABSENT, "psychosis": present(ONE)}, NOON)
    assert dict(facts) == {"mania": ABSENT}


def test_each_derivation_sees_those_before_it() -> None:
    facts = Facts({"mania": present(ONE)}, NOON)
    more = facts.extended({"first": lambda f: f["mania"], "second": lambda f: f["first"]})

    assert (dict(more), more.now) == ({"mania": present(ONE), "first": present(ONE), "second": present(ONE)}, NOON)
    assert dict(facts) == {"mania": present(ONE)}


def test_one_of_several_is_present_with_the_evidence_of_those_that_are() -> None:
    dated = Finding(State.PRESENT, (ONE,), values=(Decimal(1),), at=exactly(NOON))
    doubtful = Finding(State.UNKNOWN, (OTHER,), values=(Decimal(1),), doubt=Doubt.TOO_OLD)

    assert any_of(ABSENT, dated, doubtful, present(OTHER)) == Finding(State.PRESENT, (ONE, OTHER), at=exactly(NOON))
    assert any_of(ABSENT, doubtful, unknown(Doubt.UNCLEAR, ONE)) == unknown(Doubt.TOO_OLD, OTHER, ONE)
    assert any_of(ABSENT, ABSENT) == ABSENT
    assert any_of() == ABSENT


def test_one_value_is_the_value_and_two_are_none() -> None:
    assert values(10).value == 10
    for finding in (values(9, 10), Finding(PRESENT)):
        with pytest.raises(ValueError, match="values to unpack"):
            _ = finding.value


def test_what_is_unknown_says_why_and_what_was_seen_last() -> None:
    assert unknown(Doubt.TOO_OLD, ONE, OTHER) == Finding(State.UNKNOWN, (ONE, OTHER), doubt=Doubt.TOO_OLD)
    assert present(ONE, OTHER) == Finding(State.PRESENT, (ONE, OTHER))
