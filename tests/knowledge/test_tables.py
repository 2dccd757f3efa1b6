"""The tables against the decision logic: every row is there, with the number that it says, and somebody reads it."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import AdvisorOf
from ehr import request_for
from encoding import Case, read_cases

from cds_service.clinical import derived
from cds_service.ehr.gathering import gather
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import load_knowledge
from cds_service.knowledge.loader import FOLDER
from cds_service.knowledge.shapes import Criterion, Input
from cds_service.knowledge.shapes import Test as Banded

KNOWN = load_knowledge()
PACKAGE = FOLDER.parent
CRITERIA = {
    row.id: row for table in (KNOWN.contraindications, KNOWN.reviews, KNOWN.modifiers) for row in table.criterion
}
INPUTS = {row.id: row for row in KNOWN.inputs.input}

# Sections 4.1 to 4.4, each line drawn there: row, fact, "from", "more than" or "less than", and the number.
FROM, ABOVE, BELOW = "at_least", "above", "below"
LINES = {
    ("C01", "age", BELOW, "18"),
    ("C04", "systolic_any", FROM, "160"),
    ("C04", "diastolic_any", FROM, "110"),
    ("C13", "blood_loss", FROM, "1000"),
    ("C13", "systolic", BELOW, "90"),
    ("C13", "shock_index", FROM, "1"),
    ("C17", "spo2", BELOW, "92"),
    ("C17", "respiratory_rate", BELOW, "10"),
    ("R05", "epds_current_score", FROM, "19"),
    ("R06", "asa_class", FROM, "3"),
    ("R07", "systolic", FROM, "140"),
    ("R07", "systolic", BELOW, "160"),
    ("R07", "diastolic", FROM, "90"),
    ("R07", "diastolic", BELOW, "110"),
    ("R13", "ast_ratio", ABOVE, "2"),
    ("R13", "alt_ratio", ABOVE, "2"),
    ("R13", "platelets", BELOW, "100"),
    ("R16", "blood_loss_not_caesarean", FROM, "500"),
    ("R16", "blood_loss_not_caesarean", BELOW, "1000"),
    ("R16", "shock_index", FROM, "0.9"),
    ("R16", "shock_index", BELOW, "1"),
    ("R17", "weight", BELOW, "40"),
    ("R17", "weight", ABOVE, "120"),
    ("R17", "body_mass_index", FROM, "40"),
    ("R18", "minutes_since_birth", ABOVE, "60"),
    ("R20", "spo2", FROM, "92"),
    ("R20", "spo2", BELOW, "95"),
    ("R20", "respiratory_rate", ABOVE, "24"),
    ("R20", "heart_rate", ABOVE, "120"),
    ("R20", "heart_rate", BELOW, "50"),
    ("R22", "apnoea_hypopnoea_index", FROM, "30"),
}
# Sections 4.1 to 4.4, the rows without a number: whatever is on record is enough.
RECORDED = {
    "C02": {"ketamine_allergy"},
    "C03": {"pre_eclampsia"},
    "C05": {"vascular_aneurysm", "arteriovenous_malformation", "dissection_or_aortopathy"},
    "C06": {"haemorrhage_or_stroke"},
    "C07": {"raised_intracranial_pressure", "intracranial_mass", "recent_head_injury"},
    "C08": {
        "ischaemic_heart_disease",
        "heart_failure_or_cardiomyopathy",
        "structural_heart_disease",
        "pulmonary_hypertension",
        "significant_arrhythmia",
    },
    "C09": {"psychosis_ever", "postpartum_psychosis_ever"},
    "C10": {"current_mania"},
    "C11": {"hyperthyroidism"},
    "C12": {"severe_liver_disease"},
    "C13": {"postpartum_haemorrhage", "sepsis", "vasopressor_unexplained"},
    "C14": {"xanthine"},
    "C15": {"ergot"},
    "C16": {"ketamine_or_stimulant_use", "intoxication_or_withdrawal"},
    "C18": {"ketamine_for_prevention_given"},
    "C19": {"prevention_order_nasal"},
    "R01": {
        "depressive_disorder",
        "postpartum_depression",
        "anxiety_disorder",
        "post_traumatic_stress",
        "obsessive_compulsive_disorder",
        "eating_disorder",
        "personality_disorder",
        "dissociative_disorder",
        "bipolar_disorder",
        "suicide_attempt",
    },
    "R02": {"bipolar_disorder", "bipolar_screen"},
    "R03": {"antidepressant", "antipsychotic", "mood_stabiliser"},
    "R04": {"safety_concern"},
    "R07": {"hypertension"},
    "R08": {"general_anaesthesia"},
    "R09": {"magnesium"},
    "R10": {"systemic_opioid", "sedative"},
    "R11": {"mao_inhibitor"},
    "R12": {"stimulant", "terbutaline"},
    "R13": {"moderate_liver_disease"},
    "R14": {"opioid_or_alcohol_use", "substance_use_in_remission", "substance_use_past"},
    "R15": {"seizure_disorder", "porphyria", "glaucoma_or_open_eye"},
    "R16": {"abnormal_placenta"},
    "R19": {"ketamine_for_other_reason"},
    "R21": {"capacity_concern"},
    "R22": {"severe_sleep_apnoea", "severe_lung_disease"},
    "R23": {"fetal_or_newborn_death"},
    "M01": {"neuraxial_opioid"},
    "M02": {"thyroid_replacement"},
    "M03": {"ergot_as_needed"},
    "M04": {"breastfeeding"},
    "M05": {"vasopressor_bolus", "vasopressor_explained"},
    "M06": {"multiple_pregnancy"},
}
# Section 4.3: before birth, after birth, and for how many minutes each is usable.
DEMANDED = {
    "D01": ("block", "block", None, None),
    "D02": ("block", "block", None, None),
    "D03": ("block", "block", 7 * 1440, 7 * 1440),
    "D04": ("block", "block", 240, 60),
    "D05": ("confirm", "block", 60, 60),
    "D06": ("block", "block", None, None),
    "D07": ("block", "block", None, None),
    "D08": ("block", "block", None, None),
    "D09": ("confirm", "confirm", None, None),
    "D10": ("block", "block", None, None),
    "D11": ("confirm", "confirm", None, None),
    "D12": ("not needed", "confirm", None, None),
    "D13": ("not needed", "confirm", None, None),
    "D14": ("block", "block", None, None),
    "D15": ("block", "block", None, None),
}
# Section 4: hours since the last dose.
HOURS = {
    "xanthine": "48",
    "ergot": "12",
    "magnesium": "6",
    "systemic_opioid": "4",
    "sedative": "4",
    # Current (R03) for as long as a CNS depressant counts (R10), which leaves antipsychotics to R03.
    "antidepressant": "4",
    "antipsychotic": "4",
    "mood_stabiliser": "4",
    "mao_inhibitor": "336",
    "stimulant": "24",
    "terbutaline": "24",
    "ketamine_for_other_reason": "24",
    "neuraxial_opioid": "24",
    "vasopressor_bolus": "0.25",
}
# Section 1: these count whatever their clinical status says.
EVER = {
    "depressive_disorder", "postpartum_depression", "bipolar_disorder", "psychosis_ever", "postpartum_psychosis_ever",
    "vascular_aneurysm", "arteriovenous_malformation", "dissection_or_aortopathy", "haemorrhage_or_stroke",
    "intracranial_mass", "ischaemic_heart_disease", "heart_failure_or_cardiomyopathy", "structural_heart_disease",
    "pulmonary_hypertension", "significant_arrhythmia", "seizure_disorder", "porphyria", "glaucoma_or_open_eye",
    "substance_use_in_remission", "suicide_attempt",
}  # fmt: skip
# Section 3.
TIERS = {
    "safety": {
        ("epds_self_harm", FROM, "1"),
        ("phq9_self_harm", FROM, "1"),
        "current_mania",
        "psychosis_now",
        "suicidal_ideation",
    },
    "high": {
        "safety_concern",
        ("epds_for_risk", FROM, "13"),
        ("phq9_for_risk", FROM, "15"),
        "depressive_disorder",
        "postpartum_depression",
        "bipolar_disorder",
        "psychosis_ever",
        "postpartum_psychosis_ever",
        "suicide_attempt",
        "antidepressant",
        "antipsychotic",
        "mood_stabiliser",
    },
    "elevated": {
        ("epds_for_risk", FROM, "10"),
        ("epds_for_risk", BELOW, "13"),
        ("phq9_for_risk", FROM, "10"),
        ("phq9_for_risk", BELOW, "15"),
        "low_income",
        ("age", BELOW, "20"),
        "single_parent",
        "recorded_risk_factor",  # recent violence by a partner: never spelled out
        "anxiety_disorder",
        "post_traumatic_stress",
        ("gad7_for_risk", FROM, "10"),
        "negative_life_events",
    },
    "reassuring": {("epds_complete_for_risk", BELOW, "10"), ("phq9_complete_for_risk", BELOW, "10")},
    "positive_screen": {("epds_for_risk", FROM, "10"), ("phq9_for_risk", FROM, "10")},
    "not_indicated": {("epds_current", BELOW, "10")},
}
# Section 5: mg/kg, cap, step, ceiling, mL in all, mL/h, min, mg/mL drawn up.
PROTOCOLS = {
    "esketamine-iv": ("esketamine", "0.2", "100", "0.5", "20", "20", "30", "40", "5", ("US",)),
    "racemic-ketamine-iv": ("ketamine", "0.5", "100", "1", "50", "100", "150", "40", "10", ()),
}


def numbered(letter: str, last: int) -> list[str]:
    return [f"{letter}{number:02}" for number in range(1, last + 1)]


def lines_of(test: Banded) -> Iterator[tuple[str, str, str]]:
    for kind in (FROM, ABOVE, BELOW):
        limit = getattr(test, kind)
        if limit is not None:
            yield test.fact, kind, str(limit)


# ---- The rows


def test_every_row_of_the_decision_logic_is_there() -> None:
    assert sorted(CRITERIA) == sorted([*numbered("C", 19), *numbered("R", 23), *numbered("M", 6)])
    assert sorted(INPUTS) == numbered("D", 15)


def test_every_line_is_drawn_where_the_decision_logic_draws_it() -> None:
    drawn = {(row.id, *line) for row in CRITERIA.values() for test in row.test for line in lines_of(test)}

    assert {(row, _same_weight(fact), kind, Decimal(limit)) for row, fact, kind, limit in drawn} == {
        (row, fact, kind, Decimal(limit)) for row, fact, kind, limit in LINES
    }


def _same_weight(fact: str) -> str:
    """A weight that D14 does not believe is no reason for review: the table asks for one that it does."""
    return "weight" if fact == "believable_weight" else fact


@pytest.mark.parametrize("row", CRITERIA.values(), ids=lambda row: row.id)
def test_what_is_only_recorded_is_enough_where_the_decision_logic_says_so(row: Criterion) -> None:
    assert {test.fact for test in row.test if not test.banded} == RECORDED.get(row.id, set())


@pytest.mark.parametrize("row", INPUTS.values(), ids=lambda row: row.id)
def test_what_must_be_known_is_demanded_as_the_decision_logic_says(row: Input) -> None:
    assert (row.before_birth, row.after_birth, row.before_minutes, row.after_minutes) == DEMANDED[row.id]
    assert not row.may_be_absent


def test_medicines_count_for_as_long_as_the_decision_logic_says() -> None:
    windows = {row.fact: row.within_hours for row in KNOWN.medicines.row if row.within_hours is not None}

    assert windows == {fact: Decimal(hours) for fact, hours in HOURS.items()}


def test_what_counts_ever_is_what_the_decision_logic_says() -> None:
    assert {row.fact for row in KNOWN.conditions.row if row.counts == "ever"} == EVER
    (recent,) = [row for row in KNOWN.conditions.row if row.counts == "recent"]
    assert (recent.fact, recent.resolved_days) == ("pre_eclampsia", 42)


@pytest.mark.parametrize("tier", TIERS)
def test_the_tiers_are_those_of_the_decision_logic(tier: str) -> None:
    told: set[str | tuple[str, str, str]] = set()
    for test in getattr(KNOWN.risk, tier):
        told |= set(lines_of(test)) or {test.fact}

    assert told == TIERS[tier]


def test_the_screens_count_for_as_long_as_the_decision_logic_says() -> None:
    table = KNOWN.screens

    assert (table.current_hours, table.tier_days, table.safety_days, table.other_days) == (168, 90, 14, 14)
    assert table.same_form_minutes == 10
    told = {
        form.fact: (len(form.items), form.item_max, form.total_max, form.self_harm_item) for form in table.instrument
    }
    assert told == {"epds": (10, 3, 30, 10), "phq9": (9, 3, 27, 9), "gad7": (7, 3, 21, None)}


def test_the_times_are_those_of_the_decision_logic() -> None:
    times = KNOWN.times

    assert (times.after_birth_days, times.postpartum_days, times.late_postpartum_days) == (7, 140, 365)
    assert (times.gestation_days, times.pregnancy_days) == (280, 300)
    assert (times.weight_conflict_days, times.weight_conflict_percent) == (14, 10)
    assert times.weight_believable_kg == (25, 300)


def test_the_protocols_are_those_of_the_decision_logic() -> None:
    told = {
        protocol.id: (
            protocol.medicine,
            *(
                str(number)
                for number in (
                    protocol.dose_mg_per_kg,
                    protocol.weight_cap_kg,
                    protocol.round_down_to_mg,
                    protocol.ceiling_mg,
                    protocol.total_volume_ml,
                    protocol.rate_ml_per_h,
                    protocol.duration_min,
                    protocol.strength_mg_per_ml,
                )
            ),
            protocol.not_marketed_in,
        )
        for protocol in KNOWN.protocols.protocol
    }

    assert told == PROTOCOLS
    assert (KNOWN.protocols.start_within_min, KNOWN.protocols.valid_hours) == (60, 12)


def test_the_limits_of_a_drafted_order_are_those_of_the_decision_logic() -> None:
    table = KNOWN.order_check

    assert (table.dose_tolerance_percent, table.shortest_min, table.longest_min, table.most_repeats) == (10, 40, 60, 1)
    assert {row.medicine: (row.mg, row.mg_per_kg) for row in table.absolute} == {
        "esketamine": (Decimal(20), Decimal("0.3")),
        "ketamine": (Decimal(50), Decimal("0.75")),
    }


# ---- Where it comes from


def test_every_row_has_a_source_that_exists() -> None:
    rows = [
        *CRITERIA.values(),
        *INPUTS.values(),
        *KNOWN.conditions.row,
        *KNOWN.observations.row,
        *KNOWN.medicines.row,
        *KNOWN.screens.instrument,
        *KNOWN.protocols.protocol,
        *KNOWN.risk.frequency,
    ]

    assert all(row.sources and set(row.sources) <= set(KNOWN.sources) for row in rows)


def test_a_source_is_cited_or_is_listed_as_cited_by_nobody() -> None:
    """Counted in the files themselves, not in what was loaded of them."""
    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*/*.toml"))]
    cited = {source for file in files for source in _cited(file)}

    assert cited <= set(KNOWN.sources)
    assert set(KNOWN.uncited) == set(KNOWN.sources) - cited
    assert "wang-bmj-2024" in cited


def _cited(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from member if key == "sources" else _cited(member)
    elif isinstance(value, list):
        for member in value:
            yield from _cited(member)


def test_nobody_has_signed_and_nobody_is_invented() -> None:
    assert not KNOWN.signed
    assert all(reviewed.by == () for reviewed in KNOWN.reviews_due.values())


# ---- Somebody reads it


def test_every_fact_that_a_row_asks_about_is_read_or_derived(now: datetime, advisor_of: AdvisorOf) -> None:
    """A row whose fact nobody reads would be unknown for ever, and block or confirm without end."""
    (case,) = [case for case in read_cases() if case.id == "V04"]
    asked = {
        *(test.fact for row in CRITERIA.values() for test in row.test),
        *(name for row in INPUTS.values() for name in row.facts),
        *(test.fact for tier in (*TIERS, "context") for test in getattr(KNOWN.risk, tier)),
        *(group.fact for group in KNOWN.risk.frequency if group.fact is not None),
        *KNOWN.says,
    }

    assert asked - _facts_of(case, now, advisor_of) == set()
    assert set(derived.names()) <= set(KNOWN.says), "a derived fact that no table names cannot be said"


def test_every_fact_that_the_code_asks_for_by_name_is_read_or_derived(now: datetime, advisor_of: AdvisorOf) -> None:
    """A fact that nobody reads is unknown, and nothing breaks: it would only never be known."""
    (case,) = [case for case in read_cases() if case.id == "V04"]
    asked = {name for file in sorted(PACKAGE.rglob("*.py")) for name in _asked_by_name(file)}

    assert len(asked) > 25
    assert asked - _facts_of(case, now, advisor_of) == set()


def _facts_of(case: Case, now: datetime, advisor_of: AdvisorOf) -> set[str]:
    advisor = advisor_of(case)
    request = parse_request(read_json(json.dumps(request_for(case, now, advisor.discovery())).encode()))
    return set(advisor.consult(request, gather(request, advisor.sources), now).facts)


def _asked_by_name(file: Path) -> Iterator[str]:
    """Each "name" in facts["name"], whatever the facts belong to."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            held = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if held == "facts":
                yield node.slice.value
