"""May the medicine be offered, and how likely is depression: every reason, every doubt, and which word comes first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cds_service.clinical.eligibility import Eligibility, Met, Open, Rows, Status, judge
from cds_service.clinical.facts import ABSENT, UNKNOWN, Doubt, Evidence, Facts, Finding, State, present, unknown
from cds_service.clinical.moment import exactly
from cds_service.clinical.risk import Risk, Tier, assess
from cds_service.clinical.stage import Stage
from cds_service.clinical.weighing import Reason
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Criterion, Input

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ONE, OTHER, THIRD = Evidence("Observation/one"), Evidence("Observation/other"), Evidence("Observation/third")
BEFORE, AFTER = Stage.PREGNANT, Stage.AFTER_BIRTH


def criterion(id_: str, *tests: Mapping[str, Any]) -> Criterion:
    return Criterion(
        id=id_, says=f"Criterion {id_}", kind="project", sources=("x",), carriers=("Condition",),
        test=tuple({"says": test["fact"].capitalize(), **test} for test in tests),
    )  # fmt: skip


def input_(id_: str, *facts: str, **differs: Any) -> Input:
    whole: dict[str, Any] = {"before_birth": "block", "after_birth": "block", "may_be_absent": False}
    return Input(
        id=id_, says=f"Input {id_}", limit=f"limit of {id_}", facts=facts, confirm_as="Ask her", kind="project",
        sources=("x",), **whole | differs,
    )  # fmt: skip


AGAINST = criterion("C01", {"fact": "mania"}, {"fact": "psychosis"})
HIGH = criterion("C02", {"fact": "pressure", "at_least": "160", "inputs": ("D01",)})
TO_REVIEW = criterion("R01", {"fact": "hypertension"}, {"fact": "asthma"})
MORE_CARE = criterion("M01", {"fact": "obesity"})
PRESSURE = input_("D01", "pressure", before_minutes=240, after_minutes=60)
SCREENED = input_("D02", "screen", before_birth="confirm", after_birth="confirm")
LOSS = input_("D03", "loss", before_birth="not needed", after_birth="confirm")
BOTH = input_("D04", "mode", "anaesthesia", may_be_absent=True)
ROWS = Rows((AGAINST, HIGH), (TO_REVIEW,), (MORE_CARE,), (PRESSURE, SCREENED, LOSS, BOTH))


def said(*by: Evidence, **how: Any) -> Finding:
    return Finding(State.PRESENT, by, **how)


def pressed(value: int = 120, minutes: float = 10, **how: Any) -> Finding:
    return said(ONE, values=(value,), at=exactly(NOON - timedelta(minutes=minutes)), **how)


WELL: dict[str, Finding] = {
    **dict.fromkeys(("mania", "psychosis", "hypertension", "asthma", "obesity", "mode", "anaesthesia"), ABSENT),
    "pressure": pressed(), "screen": said(OTHER), "loss": said(OTHER), "epds_below_indication": ABSENT,
}  # fmt: skip


def judged(knowledge: Knowledge, stage: Stage = AFTER, *, order: bool = False, **facts: Finding) -> Eligibility:
    protocol = knowledge.protocols.protocol[0]
    return judge(Facts({**WELL, **facts}, NOON), ROWS, stage=stage, ppd_order=order, protocol=protocol)


def opened(row: Input, *doubts: Doubt, seen: tuple[Evidence, ...] = ()) -> Open:
    return Open(row.id, row.says, row.limit, doubts, seen)


# ---- Reasons


def test_a_well_woman_is_eligible_and_every_criterion_was_answered(knowledge: Knowledge) -> None:
    assert judged(knowledge) == Eligibility(
        Status.ELIGIBLE, (), (), (), (), (), (), not_met=("C01", "C02", "R01")
    )  # fmt: skip
    assert judged(knowledge, BEFORE).status is Status.ELIGIBLE_CONDITIONAL


def test_a_criterion_is_met_by_each_test_that_holds(knowledge: Knowledge) -> None:
    found = judged(
        knowledge, psychosis=present(ONE, OTHER), mania=present(THIRD), asthma=present(ONE), obesity=present(OTHER)
    )

    assert found.contraindications == (
        Met(AGAINST, (Reason("mania", "Mania", (THIRD,)), Reason("psychosis", "Psychosis", (ONE, OTHER)))),
    )
    assert found.reviews == (Met(TO_REVIEW, (Reason("asthma", "Asthma", (ONE,)),)),)
    assert found.modifiers == (Met(MORE_CARE, (Reason("obesity", "Obesity", (OTHER,)),)),)
    assert found.not_met == ("C02",)
    assert (found.missing, found.confirm) == ((), ())


def test_a_contraindication_that_nobody_can_answer_blocks_and_a_review_is_confirmed(knowledge: Knowledge) -> None:
    found = judged(
        knowledge,
        psychosis=unknown(Doubt.TOO_OLD, ONE),
        mania=unknown(Doubt.UNCLEAR, OTHER),
        asthma=Finding(State.UNKNOWN, (THIRD,)),
    )

    assert found.missing == (
        Open("C01", "Mania; Psychosis", "Criterion C01", (Doubt.UNCLEAR, Doubt.TOO_OLD), (OTHER, ONE)),
    )
    assert found.confirm == (Open("R01", "Asthma", "Criterion R01", (Doubt.NOT_RECEIVED,), (THIRD,)),)
    assert (found.contraindications, found.reviews, found.not_met) == ((), (), ("C02",))
    assert found.status is Status.DATA_MISSING


def test_a_doubt_that_two_facts_share_is_said_once(knowledge: Knowledge) -> None:
    found = judged(knowledge, psychosis=unknown(Doubt.TOO_OLD, ONE), mania=unknown(Doubt.TOO_OLD, OTHER))

    assert [open_.doubts for open_ in found.missing] == [(Doubt.TOO_OLD,)]


def test_what_is_met_asks_nothing_more(knowledge: Knowledge) -> None:
    found = judged(knowledge, mania=present(ONE), psychosis=UNKNOWN, hypertension=present(ONE), asthma=UNKNOWN)

    assert (found.missing, found.confirm, found.status) == ((), (), Status.CONTRAINDICATED)


def test_a_criterion_that_is_met_does_not_silence_the_next_one(knowledge: Knowledge) -> None:
    fresh_but_empty = Finding(State.PRESENT, (ONE,), at=exactly(NOON))

    found = judged(knowledge, mania=present(OTHER), pressure=fresh_but_empty)

    assert [met.row.id for met in found.contraindications] == ["C01"]
    assert [(open_.id, open_.doubts) for open_ in found.missing] == [("C02", (Doubt.NOT_RECEIVED,))]


def test_a_criterion_is_not_asked_twice_where_its_input_is_missing_already(knowledge: Knowledge) -> None:
    found = judged(knowledge, pressure=unknown(Doubt.NOT_RECORDED), mania=UNKNOWN)

    assert [open_.id for open_ in found.missing] == ["D01", "C01"]


# ---- What must be known

DOUBTS = [
    (pressed(), None),
    (unknown(Doubt.RESTRICTED, ONE), Doubt.RESTRICTED),
    (Finding(State.UNKNOWN, (ONE,)), Doubt.NOT_RECEIVED),
    (pressed(conflict=True), Doubt.CONFLICTING),
    (pressed(incomplete=True), Doubt.INCOMPLETE),
    (Finding(State.ABSENT, (ONE,)), Doubt.NOT_RECORDED),
    (said(ONE, values=(120,)), Doubt.NOT_DATED),
    (pressed(minutes=60.1), Doubt.TOO_OLD),
    (pressed(minutes=60), None),
]


@pytest.mark.parametrize(("finding", "doubt"), DOUBTS)
def test_what_must_be_known_is_known_or_says_why_not(
    finding: Finding, doubt: Doubt | None, knowledge: Knowledge
) -> None:
    found = judged(knowledge, pressure=finding)

    assert found.missing == ((opened(PRESSURE, doubt, seen=(ONE,)),) if doubt else ())
    assert found.status is (Status.DATA_MISSING if doubt else Status.ELIGIBLE)


def test_before_the_birth_the_other_limit_counts(knowledge: Knowledge) -> None:
    assert judged(knowledge, BEFORE, pressure=pressed(minutes=240)).missing == ()
    assert judged(knowledge, BEFORE, pressure=pressed(minutes=240.1)).missing == (
        opened(PRESSURE, Doubt.TOO_OLD, seen=(ONE,)),
    )
    assert judged(knowledge, Stage.POSTPARTUM, pressure=pressed(minutes=240)).missing != ()


def test_what_may_be_confirmed_is_confirmed_and_what_is_not_needed_is_not_asked(knowledge: Knowledge) -> None:
    unread = {"screen": unknown(Doubt.UNREADABLE, OTHER), "loss": unknown(Doubt.TOO_OLD, THIRD)}
    asked, also = opened(SCREENED, Doubt.UNREADABLE, seen=(OTHER,)), opened(LOSS, Doubt.TOO_OLD, seen=(THIRD,))

    assert judged(knowledge, BEFORE, **unread).confirm == (asked,)
    after = judged(knowledge, AFTER, **unread)
    assert (after.confirm, after.missing, after.status) == ((asked, also), (), Status.ELIGIBLE_CONDITIONAL)


def test_a_row_of_two_facts_asks_for_those_that_are_unknown(knowledge: Knowledge) -> None:
    found = judged(knowledge, mode=unknown(Doubt.TOO_OLD, ONE), anaesthesia=unknown(Doubt.UNCLEAR, OTHER))

    assert found.missing == (opened(BOTH, Doubt.TOO_OLD, Doubt.UNCLEAR, seen=(ONE, OTHER)),)
    one = judged(knowledge, mode=unknown(Doubt.TOO_OLD, ONE), anaesthesia=said(OTHER))
    assert one.missing == (opened(BOTH, Doubt.TOO_OLD, seen=(ONE,)),)
    same = judged(knowledge, mode=unknown(Doubt.TOO_OLD, ONE), anaesthesia=unknown(Doubt.TOO_OLD))
    assert same.missing == (opened(BOTH, Doubt.TOO_OLD, seen=(ONE,)),)


def test_a_site_may_tighten_what_could_be_confirmed_and_nothing_else() -> None:
    facts = Facts({**WELL, "screen": UNKNOWN, "loss": UNKNOWN}, NOON)

    def tightened(stage: Stage, *ids: str) -> tuple[list[str], list[str]]:
        found = judge(facts, ROWS, stage=stage, ppd_order=False, protocol=None, tightened=frozenset(ids))
        return [row.id for row in found.missing], [row.id for row in found.confirm]

    assert tightened(AFTER) == ([], ["D02", "D03"])
    assert tightened(AFTER, "D02") == (["D02"], ["D03"])
    assert tightened(BEFORE, "D02", "D03") == (["D02"], [])


# ---- One word

BELOW = {"epds_below_indication": present(ONE)}
WORDS = [
    ({}, AFTER, False, Status.ELIGIBLE),
    ({}, BEFORE, False, Status.ELIGIBLE_CONDITIONAL),
    ({"screen": UNKNOWN}, AFTER, False, Status.ELIGIBLE_CONDITIONAL),
    ({"pressure": UNKNOWN}, AFTER, False, Status.DATA_MISSING),
    ({"asthma": present(ONE), "pressure": UNKNOWN}, AFTER, False, Status.SPECIALIST_REVIEW),
    ({"mania": present(ONE), "asthma": present(ONE)}, AFTER, False, Status.CONTRAINDICATED),
    ({"mania": present(ONE), "asthma": present(ONE), **BELOW}, AFTER, False, Status.NOT_INDICATED),
    ({"mania": present(ONE), "asthma": present(ONE), **BELOW}, AFTER, True, Status.CONTRAINDICATED),
    ({"asthma": present(ONE), **BELOW}, AFTER, True, Status.SPECIALIST_REVIEW),
    ({"pressure": UNKNOWN, **BELOW}, AFTER, True, Status.NOT_INDICATED),
    ({"pressure": UNKNOWN, "epds_below_indication": UNKNOWN}, AFTER, True, Status.DATA_MISSING),
]


@pytest.mark.parametrize(("facts", "stage", "order", "status"), WORDS)
def test_the_first_true_word_is_the_status(
    facts: dict[str, Finding], stage: Stage, order: bool, status: Status, knowledge: Knowledge
) -> None:
    found = judged(knowledge, stage, order=order, **facts)

    assert found.status is status
    assert status.allows_a_dose == (status in (Status.ELIGIBLE, Status.ELIGIBLE_CONDITIONAL))


def test_without_a_protocol_what_is_missing_is_said_first() -> None:
    def found(**facts: Finding) -> Eligibility:
        given = Facts({**WELL, **facts}, NOON)
        return judge(given, ROWS, stage=BEFORE, ppd_order=False, protocol=None, configuration=("CFG01",))

    assert found().status is Status.NO_APPROVED_PROTOCOL
    assert found(pressure=UNKNOWN).status is Status.DATA_MISSING
    assert found().configuration == ("CFG01",)


# ---- How likely


def assessed(knowledge: Knowledge, **facts: Finding) -> Risk:
    table = knowledge.risk
    none = {test.fact: ABSENT for test in (*table.high, *table.elevated)}
    return assess(Facts({**none, "problem_list": present(), **facts}, NOON), table)


def scored(score: int) -> Finding:
    return said(ONE, values=(score,))


def test_high_says_what_is_high_first_and_then_what_raises(knowledge: Knowledge) -> None:
    found = assessed(knowledge, low_income=present(OTHER), suicide_attempt=present(ONE), anaemia=present(THIRD))

    assert (found.tier, found.raised) == (Tier.HIGH, True)
    assert found.because == (
        Reason("suicide_attempt", "History of suicide attempt", (ONE,)), Reason("low_income", "Low income", (OTHER,)),
    )  # fmt: skip
    assert found.context == (Reason("anaemia", "Anaemia", (THIRD,)),)
    assert (found.not_known, found.frequency) == ((), None)


def test_elevated_and_not_elevated_say_why(knowledge: Knowledge) -> None:
    raised = assessed(knowledge, single_parent=present(ONE), mood_stabiliser=UNKNOWN)
    assert (raised.tier, raised.raised) == (Tier.ELEVATED, True)
    assert raised.because == (Reason("single_parent", "Single parent", (ONE,)),)
    assert raised.not_known == ("Current mood stabiliser",)

    low = assessed(
        knowledge, epds_complete_for_risk=scored(9), epds_for_risk=scored(9), no_depression_history=present()
    )
    assert (low.tier, low.raised) == (Tier.NOT_ELEVATED, False)
    assert low.because == (Reason("epds_complete_for_risk", "EPDS below 10 within 90 days", (ONE,)),)
    assert low.frequency is not None
    assert low.frequency.id == "no_history"


def test_what_nobody_can_tell_is_not_low(knowledge: Knowledge) -> None:
    whole = {"epds_complete_for_risk": scored(9)}
    history = {"no_depression_history": present()}

    for facts in ({}, whole | {"problem_list": UNKNOWN}, whole | {"problem_list": ABSENT}, whole | {"age": UNKNOWN}):
        found = assessed(knowledge, **facts, **history)
        assert (found.tier, found.because, found.raised, found.frequency) == (Tier.UNDETERMINED, (), False, None)


def test_a_question_that_two_rows_leave_open_is_asked_once(knowledge: Knowledge) -> None:
    twice = knowledge.risk.model_copy(update={"elevated": knowledge.risk.high[-1:]})
    known = dict.fromkeys((test.fact for test in knowledge.risk.high), ABSENT)

    found = assess(Facts({**known, "mood_stabiliser": UNKNOWN}, NOON), twice)

    assert found.not_known == ("Current mood stabiliser",)


def test_the_closest_group_is_the_first_that_she_shares(knowledge: Knowledge) -> None:
    def group(**facts: Finding) -> str | None:
        found = assessed(knowledge, suicide_attempt=present(), **facts).frequency
        return found and found.id

    assert group() is None
    assert group(positive_epds=present()) == "epds_ten_or_more"
    assert group(positive_epds=present(), depressive_disorder=present()) == "antenatal_depression"
    assert group(positive_epds=UNKNOWN, depressive_disorder=UNKNOWN) is None
