"""The start checklist: a yes to every line is what the rules ask for, and nobody is told two things at once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from builders import SITE, WHO, delivered, knowledge, measured, missing, recorded, think, woman, wording

from cds_service.clinical.consultation import Consultation
from cds_service.clinical.eligibility import Status
from cds_service.clinical.facts import Doubt
from cds_service.clinical.stage import Stage
from cds_service.rendering.cards import write

LINE = "- ☐ "
CONFIRM = "To confirm, as the chart does not tell: "
NURSE = "One-to-one nurse"
BLOOD_LOSS = "Blood loss below 1000 mL (below 500 mL at a vaginal birth), uterus firm; no vasopressor running"
ONE_HOUR = "No more than 60 min since the cord was clamped"


def after_birth(**more: Any) -> Consultation:
    return think(delivered().with_(**more), stage=Stage.AFTER_BIRTH)


def said(thought: Consultation) -> list[dict[str, Any]]:
    return write(thought, WHO, knowledge(), wording(), SITE)


def checklist(thought: Consultation) -> list[str]:
    """The lines on the card, in order."""
    (card,) = (card for card in said(thought) if LINE in card["detail"])
    return [line.removeprefix(LINE) for line in card["detail"].splitlines() if line.startswith(LINE)]


def told_to_the_nurse(thought: Consultation) -> list[str]:
    """The same as the notes of her order."""
    actions = [action for card in said(thought) for one in card.get("suggestions", ()) for action in one["actions"]]
    (order,) = (a["resource"] for a in actions if NURSE in a.get("resource", {}).get("code", {}).get("text", ""))
    before = "Before the start: "
    return [note["text"].removeprefix(before) for note in order["note"] if note["text"].startswith(before)]


# A line, what it is about, the last value to which it is a yes, the next one, and the rule that then speaks.
LIMITS = (
    ("Heart rate 50 to 120", "heart_rate", "/min", "120", "121", "R20"),
    ("Heart rate 50 to 120", "heart_rate", "/min", "50", "49", "R20"),
    ("Heart rate ÷ systolic pressure below 0.9", "shock_index", "1", "0.899", "0.9", "R16"),
    ("SpO2 at least 95 %, breathing rate 10 to 24", "spo2", "%", "95", "94", "R20"),
    ("SpO2 at least 95 %, breathing rate 10 to 24", "respiratory_rate", "/min", "10", "9", "C17"),
    ("SpO2 at least 95 %, breathing rate 10 to 24", "respiratory_rate", "/min", "24", "25", "R20"),
    ("Blood pressure below 140/90 and systolic at least 90, measured within 15 min", "systolic", "mm[Hg]", "139",
     "140", "R07"),
    ("Blood pressure below 140/90 and systolic at least 90, measured within 15 min", "systolic", "mm[Hg]", "90", "89",
     "C13"),
    ("Blood pressure below 140/90 and systolic at least 90, measured within 15 min", "diastolic", "mm[Hg]", "89", "90",
     "R07"),
    (BLOOD_LOSS, "blood_loss", "mL", "999", "1000", "C13"),
    (BLOOD_LOSS, "blood_loss_not_caesarean", "mL", "499", "500", "R16"),
    (ONE_HOUR, "minutes_since_birth", "min", "60", "61", "R18"),
)  # fmt: skip


@pytest.mark.parametrize(("line", "fact", "unit", "last", "beyond", "rule"), LIMITS)
def test_a_line_is_a_yes_just_as_far_as_the_rules_allow(
    line: str, fact: str, unit: str, last: str, beyond: str, rule: str
) -> None:
    within = after_birth(**{fact: measured(fact, last, unit)})
    assert within.eligibility.status is Status.ELIGIBLE
    assert line in checklist(within)

    eligibility = after_birth(**{fact: measured(fact, beyond, unit)}).eligibility
    assert [met.row.id for met in (*eligibility.contraindications, *eligibility.reviews)] == [rule]


def test_what_can_change_until_the_start_has_its_line() -> None:
    """What is left is what she has had for long, what is asked for with her consent, and the order itself."""
    rules = (*knowledge().contraindications.criterion, *knowledge().reviews.criterion)
    assert [row.id for row in rules if row.start_check is None] == [
        "C01", "C02", "C05", "C06", "C07", "C08", "C09", "C10", "C11", "C12", "C16", "C19",
        "R01", "R02", "R05", "R06", "R13", "R14", "R15", "R17", "R21", "R22", "R23",
    ]  # fmt: skip


def test_the_whole_list_of_a_woman_of_whom_everything_is_known() -> None:
    assert checklist(after_birth()) == [
        "Cord clamped, placenta delivered, every baby alive and with another adult",
        "Her consent to the off-label use is documented; the anaesthetist in charge is named",
        "Aspiration risk reviewed",
        "Airway equipment, suction, oxygen, a blood pressure medicine and an antiemetic are ready",
        "No new pre-eclampsia, sepsis, headache, visual or neurological symptom",
        "Blood pressure below 140/90 and systolic at least 90, measured within 15 min",
        BLOOD_LOSS,
        "No theophylline or aminophylline since the order",
        "No ergot given or scheduled; as needed: none during the infusion and for 2 h after",
        "SpO2 at least 95 %, breathing rate 10 to 24",
        "No earlier dose in this stay",
        "No antidepressant, antipsychotic or mood stabiliser given since the order",
        "Self-harm answer (EPDS item 10) is still 0",
        "No general anaesthesia since the order",
        "No magnesium since the order",
        "No systemic opioid, benzodiazepine or other CNS depressant since the order",
        "No ketamine for another reason, terbutaline, linezolid or methylene blue since the order",
        "Heart rate ÷ systolic pressure below 0.9",
        ONE_HOUR,
        "Heart rate 50 to 120",
    ]


def test_with_thyroid_hormone_the_line_about_the_heart_rate_is_another_one() -> None:
    for thought, shown, not_shown in (
        (after_birth(thyroid_replacement=recorded("t4")), "50 to 110 (she takes thyroid hormone)", "50 to 120"),
        (after_birth(), "50 to 120", "50 to 110 (she takes thyroid hormone)"),
    ):
        for lines in (checklist(thought), told_to_the_nurse(thought)):
            assert f"Heart rate {shown}" in lines
            assert f"Heart rate {not_shown}" not in lines


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        ("vasopressor_bolus", "Vasopressor off for at least 15 min"),
        ("vasopressor_explained", "Vasopressor off for at least 15 min"),
        ("multiple_pregnancy", "Multiple pregnancy: all children born and every cord clamped"),
    ],
)
def test_a_modifier_adds_its_line_to_the_card_and_to_the_order(fact: str, line: str) -> None:
    without = think(woman())
    thought = think(woman(**{fact: recorded(fact)}))
    for lines in (checklist, told_to_the_nurse):
        assert lines(thought) == [*lines(without), line]


def test_the_nurse_gets_the_lines_of_the_card() -> None:
    assert told_to_the_nurse(think(woman())) == checklist(think(woman()))


@pytest.mark.parametrize(
    ("fact", "line"),
    [("blood_loss", BLOOD_LOSS), ("birth_time_known", ONE_HOUR)],
)
def test_what_is_to_be_confirmed_stands_once(fact: str, line: str) -> None:
    lines = checklist(after_birth(**{fact: missing(Doubt.NOT_RECORDED)}))
    assert [found for found in lines if line in found] == [CONFIRM + line]


def test_a_yes_to_what_is_to_be_confirmed_lets_her_have_it() -> None:
    thought = think(woman(anaesthesia=missing(Doubt.NOT_RECORDED), no_problems_recorded=recorded("none")))
    assert checklist(thought)[:2] == [
        CONFIRM + "No general anaesthesia; mode of delivery recorded",
        CONFIRM + "Asked about past and present illness, as the chart records none: nothing that speaks against the "
        "medicine",
    ]


def test_a_rule_that_nobody_could_answer_is_asked_for_as_what_may_not_be_so() -> None:
    """A yes to "AST above 2 times the upper limit" would let a woman with a sick liver have it."""
    lab = missing(Doubt.RESTRICTED)
    lines = checklist(think(woman(ast_ratio=lab, alt_ratio=lab)))
    assert lines[0] == (
        "To confirm, as the chart does not tell, that none of this is so: AST above 2 times the upper limit; "
        "ALT above 2 times the upper limit"
    )
    assert not [line for line in lines if line.startswith(CONFIRM)]


def test_what_the_anaesthesia_record_must_not_hold_has_the_windows_of_the_rules() -> None:
    lines = checklist(think(woman(administrations_elsewhere=recorded("site"))))
    asked = lines[0].removeprefix(CONFIRM)
    assert asked.startswith("Anaesthesia record read, none of these given: ")
    rules = (*knowledge().contraindications.criterion, *knowledge().reviews.criterion)
    windows = {row.id: re.findall(r"\d+ (?:h|days)\b", test.says)[-1:] for row in rules for test in row.test}
    for rule, window in {"C14": "48 h", "C15": "12 h", "R09": "6 h", "R10": "4 h", "R11": "14 days", "R12": "24 h",
                         "R19": "24 h"}.items():  # fmt: skip
        assert windows[rule] == [window]
        assert window in asked
