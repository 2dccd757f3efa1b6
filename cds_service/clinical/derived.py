"""
Facts that need two others, each with a name, so that a table row tests one fact only.

Each function is one fact. `derive` adds them all, in an order in which each finds what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from cds_service.clinical.facts import ABSENT, Doubt, Facts, Finding, State, any_of, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.clinical.stage import Stage
from cds_service.clinical.weighing import holds
from cds_service.knowledge.shapes import CriterionTable, RiskTable, Test


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a derived fact may look at besides the facts: the tables, the stage, and when she was assessed."""

    risk: RiskTable
    contraindications: CriterionTable
    stage: Stage
    assessments: tuple[Moment, ...]


Derivation = Callable[[Facts, Grounds], Finding]
_DERIVED: dict[str, Derivation] = {}


def derived(derivation: Derivation) -> Derivation:
    """Names a fact after its function. The order of this page is the order in which facts are derived."""
    _DERIVED[derivation.__name__] = derivation
    return derivation


def derive(facts: Facts, grounds: Grounds) -> Facts:
    """The facts, and everything that follows from two or more of them."""
    return facts.extended({name: _on(grounds, derivation) for name, derivation in _DERIVED.items()})


def _on(grounds: Grounds, derivation: Derivation) -> Callable[[Facts], Finding]:
    return lambda facts: derivation(facts, grounds)


def names() -> frozenset[str]:
    """Every fact that is derived here."""
    return frozenset(_DERIVED)


def _any_test(tests: tuple[Test, ...], facts: Facts) -> Finding:
    """Do any of these rows hold? With the evidence of those that do."""
    weighed = ((facts[test.fact], holds(test, facts[test.fact])) for test in tests)
    return any_of(*(found if found.state is state else replace(found, state=state) for found, state in weighed))


@derived
def age_known(facts: Facts, grounds: Grounds) -> Finding:
    """Known when every birth date that the text allows gives the same answer to the criterion about age."""
    age = facts["age"]
    tests = [t for row in grounds.contraindications.criterion for t in row.test if t.fact == "age"]
    if age.state is not State.PRESENT or any(holds(test, age) is State.UNKNOWN for test in tests):
        return unknown(age.doubt or Doubt.UNCLEAR, *age.evidence)
    return present(*age.evidence)


@derived
def dosing_weight(facts: Facts, grounds: Grounds) -> Finding:
    """The one weight that a dose may be computed from: a single value, with the entry that says it."""
    weight = facts["weight"]
    if weight.state is State.PRESENT and (len(weight.values) != 1 or not weight.evidence):
        return unknown(Doubt.CONFLICTING if weight.conflict else Doubt.UNREADABLE, *weight.evidence)
    return weight


@derived
def stage_for_a_dose(facts: Facts, grounds: Grounds) -> Finding:
    """A dose needs pregnant or just delivered."""
    if grounds.stage in {Stage.PREGNANT, Stage.AFTER_BIRTH}:
        return present(*facts["birth"].evidence)
    return unknown(Doubt.TOO_OLD if grounds.stage is Stage.POSTPARTUM else Doubt.NOT_RECORDED, *facts["birth"].evidence)


@derived
def birth_time_known(facts: Facts, grounds: Grounds) -> Finding:
    """The time of cord clamping or birth, to the minute. Before the birth there is none."""
    birth = facts["birth"]
    if grounds.stage is Stage.PREGNANT or birth.at is None:
        return unknown(Doubt.NOT_RECORDED)
    return birth if birth.at.precision is Precision.TIME else unknown(Doubt.UNCLEAR, *birth.evidence)


@derived
def minutes_since_birth(facts: Facts, grounds: Grounds) -> Finding:
    """Minutes since cord clamp or birth: from the shortest to the longest that the text allows. Before birth, none."""
    if grounds.stage is Stage.PREGNANT:
        return ABSENT
    at = facts["birth"].at
    if at is None:
        return unknown(Doubt.NOT_RECORDED)
    spans = {max(facts.now - instant, facts.now - facts.now) for instant in (at.latest, at.earliest)}
    minutes = tuple(sorted(Fraction(s.days * 86_400 + s.seconds) / 60 for s in spans))
    return Finding(State.PRESENT, facts["birth"].evidence, values=minutes, at=at)


@derived
def shock_index(facts: Facts, grounds: Grounds) -> Finding:
    """Heart rate divided by systolic pressure, exact, over the latest of each."""
    rate, pressure = facts["heart_rate"], facts["systolic"]
    if rate.state is not State.PRESENT or pressure.state is not State.PRESENT:
        return unknown(rate.doubt or pressure.doubt or Doubt.NOT_RECORDED)
    values = {Fraction(r) / Fraction(p) for r in rate.values for p in pressure.values}
    return Finding(
        State.PRESENT,
        (*rate.evidence, *pressure.evidence),
        values=tuple(sorted(values)),
        conflict=rate.conflict or pressure.conflict,
        incomplete=rate.incomplete or pressure.incomplete,
    )


@derived
def body_mass_index(facts: Facts, grounds: Grounds) -> Finding:
    """Weight in kg over height in metres squared, exact."""
    weight, height = facts["believable_weight"], facts["height"]
    if weight.state is not State.PRESENT or height.state is not State.PRESENT:
        return unknown(weight.doubt or height.doubt or Doubt.NOT_RECORDED, *weight.evidence, *height.evidence)
    values = {Fraction(w) * 10_000 / Fraction(h) ** 2 for w in weight.values for h in height.values}
    return Finding(
        State.PRESENT,
        (*weight.evidence, *height.evidence),
        values=tuple(sorted(values)),
        conflict=weight.conflict or height.conflict,
        incomplete=weight.incomplete or height.incomplete,
    )


@derived
def blood_loss_not_caesarean(facts: Facts, grounds: Grounds) -> Finding:
    """Blood loss, unless the birth is known to be a caesarean."""
    return ABSENT if facts["caesarean"].state is State.PRESENT else facts["blood_loss"]


@derived
def caesarean_done(facts: Facts, grounds: Grounds) -> Finding:
    """A caesarean that has taken place, not one that is only ordered."""
    return ABSENT if grounds.stage is Stage.PREGNANT else facts["caesarean"]


@derived
def vasopressor_explained(facts: Facts, grounds: Grounds) -> Finding:
    """A vasopressor infusion before birth under neuraxial anaesthesia: usual care (M05)."""
    if grounds.stage is Stage.PREGNANT and facts["neuraxial_anaesthesia"].state is State.PRESENT:
        return facts["vasopressor_infusion"]
    return ABSENT


@derived
def vasopressor_unexplained(facts: Facts, grounds: Grounds) -> Finding:
    """A vasopressor infusion after birth, or before it without neuraxial anaesthesia on record (C13)."""
    if facts["vasopressor_explained"].state is State.PRESENT:
        return ABSENT
    return facts["vasopressor_infusion"]


@derived
def bipolar_known(facts: Facts, grounds: Grounds) -> Finding:
    """A bipolar screen of this pregnancy, whatever its result, or a bipolar diagnosis."""
    screen, diagnosis = facts["bipolar_screen"], facts["bipolar_disorder"]
    if diagnosis.state is State.PRESENT:
        return present(*diagnosis.evidence)
    return present(*screen.evidence) if screen.state is not State.UNKNOWN else screen


@derived
def breastfeeding(facts: Facts, grounds: Grounds) -> Finding:
    """Assumed yes, unless recorded no, or a death is recorded for this birth."""
    if facts["fetal_or_newborn_death"].state is State.PRESENT:
        return ABSENT
    return facts["breastfeeding_recorded"]


@derived
def safety_concern(facts: Facts, grounds: Grounds) -> Finding:
    """A self-harm answer, or active mania, psychosis or suicidal ideation (decision logic, section 2)."""
    return _any_test(grounds.risk.safety, facts)


@derived
def safety_assessed_since(facts: Facts, grounds: Grounds) -> Finding:
    """Was she surely assessed for suicide risk after the last thing that raised the concern?"""
    raised = [facts[t.fact] for t in grounds.risk.safety if holds(t, facts[t.fact]) is State.PRESENT]
    if not raised or any(finding.at is None for finding in raised):
        return ABSENT
    since = [finding.at for finding in raised if finding.at is not None]
    for assessment in grounds.assessments:
        if not assessment.is_future(facts.now) and all(assessment.surely_after(at) for at in since):
            return Finding(State.PRESENT, at=assessment)
    return ABSENT


@derived
def positive_screen(facts: Facts, grounds: Grounds) -> Finding:
    """EPDS in 90 days, or a usable PHQ-9, at or above the cut-off."""
    return _any_test(grounds.risk.positive_screen, facts)


@derived
def positive_epds(facts: Facts, grounds: Grounds) -> Finding:
    """The EPDS among the positive screens: the trial's population."""
    return _any_test(tuple(t for t in grounds.risk.positive_screen if t.fact == "epds_for_risk"), facts)


@derived
def epds_below_indication(facts: Facts, grounds: Grounds) -> Finding:
    """A current EPDS below the score from which the medicine was studied."""
    return _any_test(grounds.risk.not_indicated, facts)


@derived
def no_depression_history(facts: Facts, grounds: Grounds) -> Finding:
    """Known to have had no depressive disorder and no postpartum depression."""
    history = any_of(facts["depressive_disorder"], facts["postpartum_depression"])
    if history.state is State.UNKNOWN:
        return history
    return present() if history.state is State.ABSENT else ABSENT


@derived
def no_conflict(facts: Facts, grounds: Grounds) -> Finding:
    """Nothing that a dose rests on contradicts itself: weights, and EPDS total against items."""
    weights, screens = facts["weights_agree"], facts["epds_conflict"]
    if screens.state is State.PRESENT:
        return unknown(Doubt.CONFLICTING, *screens.evidence)
    return weights


# Facts of the same kind that are read from a chart directly, because they take more than one resource to read.
READ: Final = frozenset(
    {
        "administrations_elsewhere", "age", "allergy_list", "anaesthesia", "asa_class", "believable_weight",
        "bipolar_screen", "birth", "blood_pressure", "caesarean", "delivery_mode", "delivery_order",
        "due_date_ahead", "epds_complete_for_risk", "epds_current", "epds_current_score", "epds_for_risk",
        "epds_self_harm", "epds_this_encounter", "gad7_for_risk", "general_anaesthesia", "ketamine_allergy",
        "medication_list", "neuraxial_anaesthesia", "no_problems_recorded", "phq9_complete_for_risk",
        "phq9_for_risk", "phq9_self_harm", "pregnancy", "prevention_order_nasal", "problem_list",
    }
)  # fmt: skip
