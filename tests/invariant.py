"""What must be true of a chart for which a dose is shown: the decision logic once more, in numbers of this page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from fractions import Fraction

from cds_service.clinical.eligibility import Eligibility
from cds_service.clinical.facts import Facts, Finding, State
from cds_service.clinical.stage import Stage

# Section 5: mg/kg, cap in kg, step in mg, ceiling in mg, mg/mL drawn up, mL in all, mL/h, min.
PROTOCOLS: dict[str, tuple[str, ...]] = {
    "esketamine-iv": ("0.2", "100", "0.5", "20", "5", "20", "30", "40"),
    "racemic-ketamine-iv": ("0.5", "100", "1", "50", "10", "100", "150", "40"),
}
# Section 4: what a number must be when there is a dose. C rows first: with them no possible value may be outside.
MUST: dict[str, Callable[[Fraction], bool]] = {
    "age": lambda years: years >= 18,
    "systolic_any": lambda mmhg: mmhg < 160,
    "diastolic_any": lambda mmhg: mmhg < 110,
    "systolic": lambda mmhg: mmhg >= 90,
    "blood_loss": lambda ml: ml < 1000,
    "shock_index": lambda ratio: ratio < 1,
    "spo2": lambda percent: percent >= 92,
    "respiratory_rate": lambda per_min: per_min >= 10,
}
SHOULD: dict[str, Callable[[Fraction], bool]] = {
    "systolic": lambda mmhg: mmhg < 140,
    "diastolic": lambda mmhg: mmhg < 90,
    "epds_current": lambda score: 10 <= score < 19,
    "epds_current_score": lambda score: 10 <= score < 19,
    "epds_self_harm": lambda score: score == 0,
    "phq9_self_harm": lambda score: score == 0,
    "asa_class": lambda number: number < 3,
    "ast_ratio": lambda times: times <= 2,
    "alt_ratio": lambda times: times <= 2,
    "platelets": lambda per_litre: per_litre >= 100,
    "shock_index": lambda ratio: ratio < Fraction("0.9"),
    "weight": lambda kg: 40 <= kg <= 120,
    "body_mass_index": lambda ratio: ratio < 40,
    "minutes_since_birth": lambda minutes: minutes <= 60,
    "spo2": lambda percent: percent >= 95,
    "respiratory_rate": lambda per_min: per_min <= 24,
    "heart_rate": lambda per_min: 50 <= per_min <= 120,
    "apnoea_hypopnoea_index": lambda per_hour: per_hour < 30,
}
# Sections 4.1 and 4.2: what must not be on record when there is a dose.
_NEVER = """
ketamine_allergy pre_eclampsia vascular_aneurysm arteriovenous_malformation dissection_or_aortopathy
haemorrhage_or_stroke raised_intracranial_pressure intracranial_mass recent_head_injury ischaemic_heart_disease
heart_failure_or_cardiomyopathy structural_heart_disease pulmonary_hypertension significant_arrhythmia psychosis_ever
postpartum_psychosis_ever current_mania hyperthyroidism severe_liver_disease postpartum_haemorrhage sepsis
vasopressor_unexplained xanthine ergot ketamine_or_stimulant_use intoxication_or_withdrawal
ketamine_for_prevention_given prevention_order_nasal
depressive_disorder postpartum_depression anxiety_disorder post_traumatic_stress obsessive_compulsive_disorder
eating_disorder personality_disorder dissociative_disorder bipolar_disorder suicide_attempt bipolar_screen
antidepressant antipsychotic mood_stabiliser safety_concern hypertension general_anaesthesia magnesium systemic_opioid
sedative
mao_inhibitor stimulant terbutaline moderate_liver_disease opioid_or_alcohol_use substance_use_in_remission
substance_use_past seizure_disorder porphyria glaucoma_or_open_eye abnormal_placenta ketamine_for_other_reason
capacity_concern severe_sleep_apnoea severe_lung_disease fetal_or_newborn_death suicidal_ideation psychosis_now
"""
NEVER = frozenset(_NEVER.split())
# Section 4.3: what must be on record, and how old it may be before and after the birth, in minutes.
NEEDED: dict[str, tuple[int | None, int | None]] = {
    "epds_current": (168 * 60, 168 * 60),
    "age": (None, None),
    "weight": (7 * 1440, 7 * 1440),
    "blood_pressure": (240, 60),
    "allergy_list": (None, None),
    "medication_list": (None, None),
    "problem_list": (None, None),
    "bipolar_known": (None, None),
    "no_conflict": (None, None),
    "stage_for_a_dose": (None, None),
}
NEEDED_AFTER_BIRTH = {"heart_rate": 60, "spo2": 60, "respiratory_rate": 60}


def assert_nothing_speaks_against(facts: Facts, eligibility: Eligibility, stage: Stage) -> None:
    """Section 6: nothing forbids a dose, nothing asks for review, and what must be known is known and fresh."""
    assert eligibility.contraindications == eligibility.reviews == eligibility.missing == ()
    shown = {name for name in facts if facts[name].state is State.PRESENT}

    assert not shown & NEVER
    for name, fits in MUST.items():
        assert name not in shown or sure(facts[name], fits), name
    for name, fits in SHOULD.items():
        assert name not in shown or possible(facts[name], fits), name
    if "caesarean" not in shown and "blood_loss" in shown:
        assert possible(facts["blood_loss"], lambda ml: ml < 500)
    for name, limits in NEEDED.items():
        assert name in shown, name
        assert fresh(facts, name, limits[stage is Stage.AFTER_BIRTH]), name
    if stage is Stage.AFTER_BIRTH:
        for name, minutes in NEEDED_AFTER_BIRTH.items():
            assert name in shown, name
            assert fresh(facts, name, minutes), name
    assert stage in {Stage.PREGNANT, Stage.AFTER_BIRTH}


def sure(finding: Finding, fits: Callable[[Fraction], bool]) -> bool:
    """Every value that the chart allows fits."""
    return all(fits(Fraction(value)) for value in finding.values)


def possible(finding: Finding, fits: Callable[[Fraction], bool]) -> bool:
    """Entries that disagree must all fit. A partial date leaves a range: part of it must."""
    return sure(finding, fits) if finding.conflict else any(fits(Fraction(value)) for value in finding.values)


def fresh(facts: Facts, name: str, minutes: int | None) -> bool:
    """From the earliest instant that the text allows."""
    at = facts[name].at
    return minutes is None or (at is not None and timedelta(0) <= facts.now - at.earliest <= timedelta(minutes=minutes))
