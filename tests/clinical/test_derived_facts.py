"""Facts that follow from two others: what each says, and on whose word, when one is old, doubtful or missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from cds_service.clinical.derived import Grounds, derive, names
from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Facts, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision, exactly
from cds_service.clinical.stage import Stage
from cds_service.knowledge import Knowledge

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ONE, OTHER = Evidence("Observation/one"), Evidence("Observation/other")
PREGNANT, AFTER, LATER, NEITHER = Stage.PREGNANT, Stage.AFTER_BIRTH, Stage.POSTPARTUM, Stage.OTHER
NOT_RECEIVED = unknown(Doubt.NOT_RECEIVED)


def ago(**span: float) -> Moment:
    return exactly(NOON - timedelta(**span))


def day(text: str) -> Moment:
    first = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Moment(first, first + timedelta(days=1), Precision.DAY, text)


def is_(*values: Decimal | Fraction | int, by: Evidence = ONE, at: Moment | None = None, **how: bool) -> Finding:
    return Finding(State.PRESENT, (by,), values=values, at=at, **how)


def said(by: Evidence = ONE, at: Moment | None = None) -> Finding:
    return Finding(State.PRESENT, (by,), at=at)


@dataclass(frozen=True)
class Row:
    says: str
    given: dict[str, Finding]
    comes: Finding
    stage: Stage = PREGNANT
    assessments: tuple[Moment, ...] = field(default=())

    def __str__(self) -> str:
        return self.says


ROWS: dict[str, list[Row]] = {
    "age_known": [
        Row("30 years", {"age": is_(30)}, present(ONE)),
        Row("29 or 30 years: the same answer", {"age": is_(29, 30)}, present(ONE)),
        Row("17 or 18 years: not the same answer", {"age": is_(17, 18)}, unknown(Doubt.UNCLEAR, ONE)),
        Row("ahead of us", {"age": unknown(Doubt.IN_THE_FUTURE, ONE)}, unknown(Doubt.IN_THE_FUTURE, ONE)),
        Row("nobody asked", {}, NOT_RECEIVED),
    ],
    "dosing_weight": [
        Row("one weight", {"weight": is_(70, at=ago(hours=1))}, is_(70, at=ago(hours=1))),
        Row("two weights", {"weight": is_(70, 71, conflict=True)}, unknown(Doubt.CONFLICTING, ONE)),
        Row("no value that can be read", {"weight": said()}, unknown(Doubt.UNREADABLE, ONE)),
        Row("a value without an entry", {"weight": Finding(State.PRESENT, values=(70,))}, unknown(Doubt.UNREADABLE)),
        Row("not known", {"weight": unknown(Doubt.TOO_OLD, ONE)}, unknown(Doubt.TOO_OLD, ONE)),
    ],
    "stage_for_a_dose": [
        Row("pregnant", {}, present()),
        Row("just delivered", {"birth": said()}, present(ONE), AFTER),
        Row("weeks after birth", {"birth": said()}, unknown(Doubt.TOO_OLD, ONE), LATER),
        Row("neither", {"birth": said()}, unknown(Doubt.NOT_RECORDED, ONE), NEITHER),
    ],
    "birth_time_known": [
        Row("before the birth", {"birth": said(at=ago(hours=2))}, unknown(Doubt.NOT_RECORDED)),
        Row("to the minute", {"birth": said(at=ago(hours=2))}, said(at=ago(hours=2)), AFTER),
        Row("a day alone", {"birth": said(at=day("2026-11-23"))}, unknown(Doubt.UNCLEAR, ONE), AFTER),
        Row("undated", {"birth": said()}, unknown(Doubt.NOT_RECORDED), AFTER),
    ],
    "minutes_since_birth": [
        Row("before the birth", {"birth": said(at=ago(hours=2))}, ABSENT),
        Row("90 minutes", {"birth": said(at=ago(minutes=90))}, is_(Fraction(90), at=ago(minutes=90)), AFTER),
        Row(
            "a minute and 30 seconds, and two days",
            {"birth": said(at=ago(days=2, minutes=1, seconds=30))},
            is_(Fraction(5763, 2), at=ago(days=2, minutes=1, seconds=30)),
            AFTER,
        ),
        Row(
            "yesterday: from half a day to a day and a half",
            {"birth": said(at=day("2026-11-22"))},
            is_(Fraction(720), Fraction(2160), at=day("2026-11-22")),
            AFTER,
        ),
        Row(
            "today: not less than none",
            {"birth": said(at=day("2026-11-23"))},
            is_(Fraction(0), Fraction(720), at=day("2026-11-23")),
            AFTER,
        ),
        Row("undated", {"birth": said()}, unknown(Doubt.NOT_RECORDED), AFTER),
    ],
    "shock_index": [
        Row(
            "90 over 120",
            {"heart_rate": is_(90), "systolic": is_(120, by=OTHER)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(3, 4),)),
        ),
        Row(
            "two of each: every pair, the lowest first",
            {"heart_rate": is_(90, 100, conflict=True), "systolic": is_(100, by=OTHER)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(9, 10), Fraction(1)), conflict=True),
        ),
        Row(
            "two pressures",
            {"heart_rate": is_(90), "systolic": is_(90, 120, by=OTHER, conflict=True)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(3, 4), Fraction(1)), conflict=True),
        ),
        Row(
            "a list that was cut short",
            {"heart_rate": is_(90, incomplete=True), "systolic": is_(120, by=OTHER)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(3, 4),), incomplete=True),
        ),
        Row(
            "the other one",
            {"heart_rate": is_(90), "systolic": is_(120, by=OTHER, incomplete=True)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(3, 4),), incomplete=True),
        ),
        Row("no rate", {"heart_rate": unknown(Doubt.TOO_OLD), "systolic": is_(120)}, unknown(Doubt.TOO_OLD)),
        Row("no pressure", {"heart_rate": is_(90), "systolic": unknown(Doubt.NOT_DATED)}, unknown(Doubt.NOT_DATED)),
        Row("neither", {"heart_rate": ABSENT, "systolic": ABSENT}, unknown(Doubt.NOT_RECORDED)),
    ],
    "body_mass_index": [
        Row(
            "81 kg at 180 cm",
            {"believable_weight": is_(81), "height": is_(180, by=OTHER)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(25),)),
        ),
        Row(
            "two weights, the lowest index first",
            {"believable_weight": is_(90, 81, conflict=True), "height": is_(150, by=OTHER)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(36), Fraction(40)), conflict=True),
        ),
        Row(
            "two heights",
            {"believable_weight": is_(90), "height": is_(150, 300, by=OTHER, conflict=True)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(10), Fraction(40)), conflict=True),
        ),
        Row(
            "weights that were cut short",
            {"believable_weight": is_(90, incomplete=True), "height": is_(150, by=OTHER)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(40),), incomplete=True),
        ),
        Row(
            "heights that were cut short",
            {"believable_weight": is_(90), "height": is_(150, by=OTHER, incomplete=True)},
            Finding(State.PRESENT, (ONE, OTHER), values=(Fraction(40),), incomplete=True),
        ),
        Row(
            "no weight",
            {"believable_weight": unknown(Doubt.UNREADABLE, ONE), "height": is_(150, by=OTHER)},
            unknown(Doubt.UNREADABLE, ONE, OTHER),
        ),
        Row(
            "no height",
            {"believable_weight": is_(90), "height": unknown(Doubt.CONFLICTING, OTHER)},
            unknown(Doubt.CONFLICTING, ONE, OTHER),
        ),
        Row("neither", {"believable_weight": ABSENT, "height": ABSENT}, unknown(Doubt.NOT_RECORDED)),
    ],
    "blood_loss_not_caesarean": [
        Row("a caesarean", {"caesarean": said(), "blood_loss": is_(700, by=OTHER)}, ABSENT),
        Row("none", {"caesarean": ABSENT, "blood_loss": is_(700, by=OTHER)}, is_(700, by=OTHER)),
        Row("nobody knows which", {"blood_loss": is_(700, by=OTHER)}, is_(700, by=OTHER)),
    ],
    "caesarean_done": [
        Row("only planned", {"caesarean": said()}, ABSENT),
        Row("done", {"caesarean": said()}, said(), AFTER),
        Row("nobody knows", {}, NOT_RECEIVED, AFTER),
    ],
    "vasopressor_explained": [
        Row(
            "before birth, spinal", {"neuraxial_anaesthesia": said(), "vasopressor_infusion": said(OTHER)}, said(OTHER)
        ),
        Row("after birth", {"neuraxial_anaesthesia": said(), "vasopressor_infusion": said(OTHER)}, ABSENT, AFTER),
        Row("before birth, no spinal", {"neuraxial_anaesthesia": ABSENT, "vasopressor_infusion": said(OTHER)}, ABSENT),
    ],
    "vasopressor_unexplained": [
        Row("before birth, spinal", {"neuraxial_anaesthesia": said(), "vasopressor_infusion": said(OTHER)}, ABSENT),
        Row("after birth", {"neuraxial_anaesthesia": said(), "vasopressor_infusion": said(OTHER)}, said(OTHER), AFTER),
        Row("before birth, no spinal", {"vasopressor_infusion": said(OTHER)}, said(OTHER)),
        Row("nobody knows", {"neuraxial_anaesthesia": said()}, NOT_RECEIVED),
    ],
    "bipolar_known": [
        Row("a diagnosis", {"bipolar_screen": said(OTHER), "bipolar_disorder": said()}, present(ONE)),
        Row("a positive screen", {"bipolar_screen": said(OTHER), "bipolar_disorder": ABSENT}, present(OTHER)),
        Row(
            "a negative screen",
            {"bipolar_screen": Finding(State.ABSENT, (OTHER,)), "bipolar_disorder": ABSENT},
            present(OTHER),
        ),
        Row(
            "an old screen",
            {"bipolar_screen": unknown(Doubt.TOO_OLD, OTHER), "bipolar_disorder": ABSENT},
            unknown(Doubt.TOO_OLD, OTHER),
        ),
    ],
    "breastfeeding": [
        Row("recorded", {"breastfeeding_recorded": said()}, said()),
        Row(
            "recorded, and the child died", {"breastfeeding_recorded": said(), "fetal_or_newborn_death": said()}, ABSENT
        ),
        Row("recorded no", {"breastfeeding_recorded": ABSENT, "fetal_or_newborn_death": ABSENT}, ABSENT),
    ],
    "safety_concern": [
        Row("item 10 scores 1", {"epds_self_harm": is_(1, at=ago(hours=1))}, said(at=ago(hours=1))),
        Row(
            "none of all",
            {
                "epds_self_harm": is_(0),
                "phq9_self_harm": ABSENT,
                "current_mania": ABSENT,
                "psychosis_now": ABSENT,
                "suicidal_ideation": ABSENT,
            },
            ABSENT,
        ),
        Row("one of all unknown", {"epds_self_harm": is_(0)}, NOT_RECEIVED),
    ],
    "safety_assessed_since": [
        Row("no concern", {}, ABSENT, assessments=(ago(hours=1),)),
        Row(
            "since",
            {"epds_self_harm": is_(1, at=ago(hours=2))},
            Finding(State.PRESENT, at=ago(hours=1)),
            assessments=(ago(hours=1),),
        ),
        Row("before", {"epds_self_harm": is_(1, at=ago(hours=2))}, ABSENT, assessments=(ago(hours=3),)),
        Row(
            "before and since",
            {"epds_self_harm": is_(1, at=ago(hours=2))},
            Finding(State.PRESENT, at=ago(hours=1)),
            assessments=(ago(hours=3), ago(hours=1)),
        ),
        Row("only tomorrow", {"epds_self_harm": is_(1, at=ago(hours=2))}, ABSENT, assessments=(ago(hours=-24),)),
        Row("nobody knows since when", {"epds_self_harm": is_(1)}, ABSENT, assessments=(ago(hours=1),)),
        Row(
            "since the one, before the other",
            {"epds_self_harm": is_(1, at=ago(hours=2)), "phq9_self_harm": is_(1, at=ago(minutes=30))},
            ABSENT,
            assessments=(ago(hours=1),),
        ),
        Row(
            "since the one, and nobody knows when the other was",
            {"epds_self_harm": is_(1, at=ago(hours=2)), "current_mania": said()},
            ABSENT,
            assessments=(ago(hours=1),),
        ),
        Row(
            "an answer of 0 raises nothing",
            {"epds_self_harm": is_(1, at=ago(hours=2)), "phq9_self_harm": is_(0, at=ago(minutes=30))},
            Finding(State.PRESENT, at=ago(hours=1)),
            assessments=(ago(hours=1),),
        ),
    ],
    "positive_screen": [
        Row("EPDS 10", {"epds_for_risk": is_(10, at=ago(hours=1)), "phq9_for_risk": ABSENT}, said(at=ago(hours=1))),
        Row("PHQ-9 10", {"epds_for_risk": is_(9), "phq9_for_risk": is_(10, by=OTHER)}, said(OTHER)),
        Row("both below", {"epds_for_risk": is_(9), "phq9_for_risk": is_(9, by=OTHER)}, ABSENT),
        Row("one below, one unknown", {"epds_for_risk": is_(9)}, NOT_RECEIVED),
    ],
    "positive_epds": [
        Row("EPDS 10", {"epds_for_risk": is_(10), "phq9_for_risk": ABSENT}, said()),
        Row("PHQ-9 10 alone", {"epds_for_risk": is_(9), "phq9_for_risk": is_(10, by=OTHER)}, ABSENT),
    ],
    "epds_below_indication": [
        Row("EPDS 9", {"epds_current": is_(9)}, said()),
        Row("EPDS 10", {"epds_current": is_(10)}, ABSENT),
        Row("none", {"epds_current": unknown(Doubt.TOO_OLD, ONE)}, unknown(Doubt.TOO_OLD, ONE)),
    ],
    "no_depression_history": [
        Row("none of both", {"depressive_disorder": ABSENT, "postpartum_depression": ABSENT}, present()),
        Row("depression", {"depressive_disorder": said(), "postpartum_depression": ABSENT}, ABSENT),
        Row("after a birth", {"depressive_disorder": ABSENT, "postpartum_depression": said()}, ABSENT),
        Row("one is unknown", {"depressive_disorder": ABSENT}, NOT_RECEIVED),
        Row("the other is unknown", {"postpartum_depression": ABSENT}, NOT_RECEIVED),
    ],
    "no_conflict": [
        Row("none", {"weights_agree": said(), "epds_conflict": ABSENT}, said()),
        Row("the weights", {"weights_agree": unknown(Doubt.CONFLICTING, ONE)}, unknown(Doubt.CONFLICTING, ONE)),
        Row("the EPDS", {"weights_agree": said(), "epds_conflict": said(OTHER)}, unknown(Doubt.CONFLICTING, OTHER)),
    ],
}


@pytest.mark.parametrize(("fact", "row"), [(fact, row) for fact, rows in ROWS.items() for row in rows], ids=str)
def test_what_follows_from_two_facts(fact: str, row: Row, knowledge: Knowledge) -> None:
    grounds = Grounds(knowledge.risk, knowledge.contraindications, row.stage, row.assessments)

    derived = derive(Facts(row.given, NOON), grounds)

    assert derived[fact] == row.comes
    assert derived.now == NOON
    assert all(derived[name] == finding for name, finding in row.given.items())


def test_each_derived_fact_has_its_rows() -> None:
    assert set(ROWS) == names()
