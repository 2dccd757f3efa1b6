"""
What the decision logic asks for, written down once more: sections 4 and 6, in names and numbers of this page.

Nothing here is read from the tables of the service. So a wrong number there is one that this page does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from cds_service.clinical.eligibility import Status
from cds_service.clinical.facts import Finding, State
from cds_service.clinical.moment import Precision

# Sections 4.1 and 4.2: id, then the facts of which one is enough, each with its band.
_CRITERIA: Final = """
C01 age <18
C02 ketamine_allergy
C03 pre_eclampsia
C04 systolic_any >=160 | diastolic_any >=110
C05 vascular_aneurysm | arteriovenous_malformation | dissection_or_aortopathy
C06 haemorrhage_or_stroke
C07 raised_intracranial_pressure | intracranial_mass | recent_head_injury
C08 ischaemic_heart_disease | heart_failure_or_cardiomyopathy | structural_heart_disease | pulmonary_hypertension \
  | significant_arrhythmia
C09 psychosis_ever | postpartum_psychosis_ever
C10 current_mania
C11 hyperthyroidism
C12 severe_liver_disease
C13 postpartum_haemorrhage | sepsis | blood_loss >=1000 | systolic <90 | shock_index >=1 | vasopressor_unexplained
C14 xanthine
C15 ergot
C16 ketamine_or_stimulant_use | intoxication_or_withdrawal
C17 spo2 <92 | respiratory_rate <10
C18 ketamine_for_prevention_given
C19 prevention_order_nasal
R01 depressive_disorder | postpartum_depression | anxiety_disorder | post_traumatic_stress \
  | obsessive_compulsive_disorder | eating_disorder | personality_disorder | dissociative_disorder | bipolar_disorder \
  | suicide_attempt
R02 bipolar_disorder | bipolar_screen
R03 antidepressant | antipsychotic | mood_stabiliser
R04 safety_concern
R05 epds_current_score >=19
R06 asa_class >=3
R07 hypertension | systolic >=140 <160 | diastolic >=90 <110
R08 general_anaesthesia
R09 magnesium
R10 systemic_opioid | sedative
R11 mao_inhibitor
R12 stimulant | terbutaline
R13 moderate_liver_disease | ast_ratio >2 | alt_ratio >2 | platelets <100
R14 opioid_or_alcohol_use | substance_use_in_remission | substance_use_past
R15 seizure_disorder | porphyria | glaucoma_or_open_eye
R16 abnormal_placenta | blood_loss_not_caesarean >=500 <1000 | shock_index >=0.9 <1
R17 believable_weight <40 | believable_weight >120 | body_mass_index >=40
R18 minutes_since_birth >60
R19 ketamine_for_other_reason
R20 spo2 >=92 <95 | respiratory_rate >24 | heart_rate >120 | heart_rate <50
R21 capacity_concern
R22 severe_sleep_apnoea | apnoea_hypopnoea_index >=30 | severe_lung_disease
R23 fetal_or_newborn_death
"""
# Section 4.3: id, facts, how old they may be in minutes before and after the birth, what is asked before and after.
_INPUTS: Final = """
D01 epds_current                        -     -     block   block
D02 age_known                           -     -     block   block
D03 dosing_weight                       10080 10080 block   block
D04 blood_pressure                      240   60    block   block
D05 heart_rate,spo2,respiratory_rate    60    60    confirm block
D06 allergy_list                        -     -     block   block
D07 medication_list                     -     -     block   block
D08 problem_list                        -     -     block   block
D09 asa_class                           -     -     confirm confirm
D10 bipolar_known                       -     -     block   block
D11 delivery_mode,anaesthesia           -     -     confirm confirm
D12 blood_loss                          -     -     none    confirm
D13 birth_time_known                    -     -     none    confirm
D14 no_conflict                         -     -     block   block
D15 stage_for_a_dose                    -     -     block   block
"""
# Section 6: the rows of each column, from the first to the last.
ORDER: Final[Mapping[bool, tuple[Status, ...]]] = {
    False: (
        Status.NOT_INDICATED,
        Status.CONTRAINDICATED,
        Status.SPECIALIST_REVIEW,
        Status.DATA_MISSING,
        Status.NO_APPROVED_PROTOCOL,
        Status.ELIGIBLE_CONDITIONAL,
        Status.ELIGIBLE,
    ),
    True: (
        Status.CONTRAINDICATED,
        Status.SPECIALIST_REVIEW,
        Status.NOT_INDICATED,
        Status.DATA_MISSING,
        Status.NO_APPROVED_PROTOCOL,
        Status.ELIGIBLE_CONDITIONAL,
        Status.ELIGIBLE,
    ),
}
# From shut to open. Among the shut ones, the reason that a stronger one outranks stands higher.
OPENNESS: Final = ORDER[True]
A_DOSE: Final = frozenset({Status.ELIGIBLE, Status.ELIGIBLE_CONDITIONAL})


@dataclass(frozen=True)
class Line:
    """One fact of one criterion, and the band that its value must lie in; without one it need only be present."""

    fact: str
    at_least: Fraction | None = None
    above: Fraction | None = None
    below: Fraction | None = None

    @property
    def limits(self) -> frozenset[Fraction]:
        return frozenset(limit for limit in (self.at_least, self.above, self.below) if limit is not None)

    def _fits(self, value: Fraction) -> bool:
        return not (
            (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )

    def says(self, finding: Finding) -> State:
        """
        Is it so? Entries that disagree warn if one of them does; a range tells only if the whole of it lies on one
        side; a list that was cut short rules nothing out; a number that nobody has is not known.
        """
        if finding.state is not State.PRESENT or not self.limits:
            return finding.state
        hits = {self._fits(Fraction(value)) for value in finding.values}
        if hits == {True} or (True in hits and finding.conflict):
            return State.PRESENT
        return State.ABSENT if hits == {False} and not finding.incomplete else State.UNKNOWN


@dataclass(frozen=True)
class Needed:
    """One D row: its facts, how old they may be in minutes, and what is asked, before the birth and after it."""

    facts: tuple[str, ...]
    minutes: tuple[int | None, int | None]
    asked: tuple[str, str]

    def is_known(self, finding: Finding, now: datetime, *, born: bool) -> bool:
        """On record, not in doubt, and fresh from the earliest instant that its date allows."""
        if finding.state is not State.PRESENT or finding.conflict or finding.incomplete:
            return False
        minutes = self.minutes[born]
        if minutes is None:
            return True
        if finding.at is None or finding.at.precision in {Precision.YEAR, Precision.MONTH}:
            return False
        return timedelta(0) <= now - finding.at.earliest <= timedelta(minutes=minutes)


def _line(text: str) -> Line:
    fact, *bands = text.split()
    signs = {">=": "at_least", ">": "above", "<": "below"}
    found = {}
    for band in bands:
        sign = band[:2] if band[:2] in signs else band[:1]
        found[signs[sign]] = Fraction(band.removeprefix(sign))
    return Line(fact, **found)


def _criteria() -> Mapping[str, tuple[Line, ...]]:
    rows = (row.split(" ", 1) for row in _CRITERIA.strip().splitlines())
    return {id_: tuple(_line(part) for part in facts.split("|")) for id_, facts in rows}


def _inputs() -> Mapping[str, Needed]:
    found = {}
    for row in _INPUTS.strip().splitlines():
        id_, facts, before, after, *asked = row.split()
        minutes = tuple(None if limit == "-" else int(limit) for limit in (before, after))
        found[id_] = Needed(tuple(facts.split(",")), minutes, tuple(asked))  # type: ignore[arg-type]
    return found


CRITERIA: Final = _criteria()
INPUTS: Final = _inputs()
# Section 2, and the first row of section 6.
SAFETY: Final = tuple(
    _line(part)
    for part in ("epds_self_harm >=1", "phq9_self_harm >=1", "current_mania", "psychosis_now", "suicidal_ideation")
)
NOT_INDICATED: Final = _line("epds_current <10")
