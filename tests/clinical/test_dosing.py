"""How much, worked out a second time in whole numbers, for weights as charts write them; and the last guard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from thoroughly import thoroughly

from cds_service.clinical.approval import ceiling_defects
from cds_service.clinical.dosing import CEILING_MG, Dose, compute, dose_for, plain
from cds_service.clinical.eligibility import Eligibility, Status
from cds_service.clinical.facts import Evidence, Facts, Finding, State
from cds_service.ehr.units import Units
from cds_service.errors import KnowledgeUnfit
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.knowledge.loader import FOLDER
from cds_service.knowledge.shapes import Protocol

ENTRY = Evidence("Observation/weight")
ESK, KET = "esketamine-iv", "racemic-ketamine-iv"
IDS = (ESK, KET)


@cache
def known() -> Knowledge:
    return load_knowledge()


@cache
def units() -> Units:
    return Units(known().units)


def protocol_of(id_: str, **tampered: Any) -> Protocol:
    """A protocol as it ships, or with some numbers that nobody has checked."""
    found = known().protocol(id_)
    assert found is not None
    return found.model_copy(update=tampered)


def dose_of(kg: str | Fraction | Decimal, id_: str, **tampered: Any) -> Dose:
    return dose_for(Fraction(kg), ENTRY, protocol_of(id_, **tampered))


# ---- The arithmetic once more, in whole numbers of this page's own
#
# Section 5: 0.2 mg/kg in steps of 0.5 mg is a step for each 2.5 kg; 0.5 mg/kg in steps of 1 mg, one for each 2 kg.
# Nobody counts as more than 100 kg. A pound is 0.45359237 kg.

KG_FOR_A_STEP = {ESK: Fraction(5, 2), KET: Fraction(2)}
MG_IN_A_STEP = {ESK: Fraction(1, 2), KET: Fraction(1)}
MG_PER_ML = {ESK: 5, KET: 10}
ML_IN_ALL = {ESK: 20, KET: 100}
KG_IN = {"kg": Fraction(1), "g": Fraction(1, 1000), "[lb_av]": Fraction(45359237, 100_000_000)}


def steps(kg: Fraction, id_: str) -> int:
    """How many whole steps fit, counted in whole numbers."""
    counted = min(kg, Fraction(100))
    per_step = KG_FOR_A_STEP[id_]
    return (counted.numerator * per_step.denominator) // (counted.denominator * per_step.numerator)


@st.composite
def charted_weights(draw: st.DrawFn) -> tuple[Decimal, str]:
    """A weight between 25 and 250 kg as an EHR writes it: in kg, g or pounds, with up to 12 decimals."""
    unit = draw(st.sampled_from(sorted(KG_IN)))
    places = draw(st.integers(0, 12))
    low, high = (Fraction(kg) / KG_IN[unit] * 10**places for kg in (25, 250))
    digits = draw(st.integers(-(-low.numerator // low.denominator), high.numerator // high.denominator))
    return Decimal(digits).scaleb(-places), unit


@st.composite
def weights_at_a_step(draw: st.DrawFn) -> tuple[Decimal, str]:
    """Where the dose changes, or a hair beside it."""
    step = draw(st.sampled_from(sorted(KG_FOR_A_STEP.values())))
    hair = draw(st.sampled_from(("0", "1E-12", "-1E-12", "0.001", "-0.001")))
    kg = Decimal(str(float(step))) * draw(st.integers(11, 99)) + Decimal(hair)
    return (kg, "kg") if draw(st.booleans()) else (kg * 1000, "g")


WEIGHTS = charted_weights() | weights_at_a_step()


def kg_of(weight: tuple[Decimal, str]) -> Fraction:
    """As the service reads it, which must be what the pound is."""
    value, unit = weight
    read = units().convert({"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}, "kg")
    assert read is not None
    assert Fraction(read) == Fraction(value) * KG_IN[unit]
    return Fraction(read)


@thoroughly
@given(WEIGHTS, st.sampled_from(IDS))
@example((Decimal("72.4"), "kg"), ESK)
@example((Decimal("220.462262184877580722973801345"), "[lb_av]"), ESK)  # not quite 100 kg
@example((Decimal("100.000000000001"), "kg"), KET)
def test_the_dose_is_the_whole_steps_that_fit_whatever_the_unit(weight: tuple[Decimal, str], id_: str) -> None:
    kg = kg_of(weight)
    dose = dose_of(kg, id_)
    event(weight[1])

    mg = steps(kg, id_) * MG_IN_A_STEP[id_]
    assert Fraction(dose.dose_mg) == mg
    drawn, diluted = Fraction(dose.drug_volume_ml), Fraction(dose.diluent_volume_ml)
    assert drawn * MG_PER_ML[id_] == mg
    assert drawn + diluted == ML_IN_ALL[id_]
    assert 0 < drawn < diluted
    assert Fraction(dose.concentration_mg_per_ml) * ML_IN_ALL[id_] == mg


@settings(thoroughly, max_examples=1_000)
@given(WEIGHTS, WEIGHTS, st.sampled_from(IDS))
def test_who_weighs_less_never_gets_more_in_whichever_unit(
    one: tuple[Decimal, str], two: tuple[Decimal, str], id_: str
) -> None:
    light, heavy = sorted((kg_of(one), kg_of(two)))
    assert dose_of(light, id_).dose_mg <= dose_of(heavy, id_).dose_mg


@settings(thoroughly, max_examples=1_000)
@given(WEIGHTS, st.sampled_from(IDS))
def test_every_number_of_the_arithmetic_on_the_card_is_right(weight: tuple[Decimal, str], id_: str) -> None:
    """A person who follows it with a pocket calculator must come out there."""
    kg = kg_of(weight)
    dose = dose_of(kg, id_)
    found = re.fullmatch(
        r"([\d.]+) mg/kg × ([\d.]+) kg(, counted as 100 kg)? = ([\d.]+) mg(?:, rounded down to ([\d.]+) mg)?; "
        r"([\d.]+) mg ÷ ([\d.]+) mg/mL = ([\d.]+) mL, made up to ([\d.]+) mL = ([\d.]+) mg/mL; "
        r"([\d.]+) mL/h for (\d+) min",
        dose.calculation,
    )
    assert found is not None, dose.calculation
    per_kg, shown_kg, capped, exact, rounded, mg, strength, drawn, total, mixed, rate, minutes = (
        None if text is None else Fraction(text) if text[0].isdigit() else text for text in found.groups()
    )
    assert isinstance(per_kg, Fraction)
    unrounded = min(kg, Fraction(100)) * per_kg
    assert (capped is not None) is (kg > 100)
    for shown, true in ((shown_kg, kg), (exact, unrounded)):  # three places, never more than it is
        assert shown <= true < shown + Fraction(1, 1000)
    assert mg == Fraction(dose.dose_mg) <= unrounded
    assert rounded == (None if mg == exact else mg)  # nothing is said to be rounded that was not
    assert (mg / strength, mg / total) == (drawn, mixed)
    assert rate * minutes == total * 60
    assert not re.search(r"\.\d*0\b", dose.calculation)  # "20.0 mg" is read as 200 where the point is overlooked


# ---- In pairs


@pytest.mark.parametrize(
    ("id_", "kg", "mg"),
    [
        (ESK, "72.5", "14.5"),
        (ESK, "72.4999999999999999", "14"),
        (ESK, "70", "14"),
        (ESK, "69.9999999999999999", "13.5"),
        (ESK, "100", "20"),
        (ESK, "99.9999999999999999", "19.5"),
        (KET, "72", "36"),
        (KET, "71.9999999999999999", "35"),
        (KET, "100", "50"),
        (KET, "99.9999999999999999", "49"),
    ],
)
def test_it_is_rounded_down_from_the_exact_number(id_: str, kg: str, mg: str) -> None:
    assert str(dose_of(kg, id_).dose_mg) == mg


@pytest.mark.parametrize(
    ("kg", "exact", "capped"),
    [("72.4", "14.48", False), ("99.999", "19.999", False), ("100", "20", False), ("100.001", "20", True)],
)
def test_the_dose_tells_its_exact_number_and_whether_the_weight_was_capped(kg: str, exact: str, capped: bool) -> None:
    dose = dose_of(kg, ESK)

    assert (dose.exact_mg, dose.capped) == (Decimal(exact), capped)


@pytest.mark.parametrize(("id_", "mg", "unrounded"), [(ESK, "20", "20"), (KET, "50", "50")])
def test_nobody_counts_as_more_than_the_cap(id_: str, mg: str, unrounded: str) -> None:
    at_the_cap = dose_of("100", id_)
    assert f"× 100 kg = {unrounded} mg; " in at_the_cap.calculation
    for kg in ("100.0000001", "100.001", "115", "250"):
        dose = dose_of(kg, id_)
        assert str(dose.dose_mg) == mg
        assert f" kg, counted as 100 kg = {unrounded} mg; {mg} mg ÷" in dose.calculation
    assert "× 100 kg, counted as 100 kg" in dose_of("100.0000001", id_).calculation


@pytest.mark.parametrize(
    ("kg", "shown"),
    [
        ("72.4", "72.4"),
        ("72", "72"),
        ("72.4567", "72.456"),
        ("72.4569999", "72.456"),
        ("72.4569999999999999999999", "72.456"),
        ("72.457", "72.457"),
        ("100", "100"),
        ("60", "60"),
    ],
)
def test_the_weight_is_shown_with_at_most_three_places_and_never_rounded_up(kg: str, shown: str) -> None:
    dose = dose_of(kg, ESK)
    assert str(dose.weight_kg) == shown
    assert f"0.2 mg/kg × {shown} kg" in dose.calculation
    assert dose.weight == ENTRY


@pytest.mark.parametrize(
    ("id_", "drawn", "diluted", "mixed", "says"),
    [
        (ESK, "2.8", "17.2", "0.7", (
         "0.2 mg/kg × 72.4 kg = 14.48 mg, rounded down to 14 mg; 14 mg ÷ 5 mg/mL = 2.8 mL, "
         "made up to 20 mL = 0.7 mg/mL; 30 mL/h for 40 min")),
        (KET, "3.6", "96.4", "0.36", (
         "0.5 mg/kg × 72.4 kg = 36.2 mg, rounded down to 36 mg; 36 mg ÷ 10 mg/mL = 3.6 mL, "
         "made up to 100 mL = 0.36 mg/mL; 150 mL/h for 40 min")),
    ],
)  # fmt: skip
def test_the_example_of_the_decision_logic(id_: str, drawn: str, diluted: str, mixed: str, says: str) -> None:
    dose = dose_of("72.4", id_)
    told = (dose.drug_volume_ml, dose.diluent_volume_ml, dose.concentration_mg_per_ml, dose.calculation)
    assert tuple(map(str, told)) == (drawn, diluted, mixed, says)
    assert dose.protocol == protocol_of(id_)


@pytest.mark.parametrize(
    ("exact", "shown"),
    [
        (Fraction(14), "14"),
        (Fraction(20), "20"),
        (Fraction(100), "100"),
        (Fraction(7, 10), "0.7"),
        (Fraction(-5, 2), "-2.5"),
        (Fraction(1, 1024), "0.0009765625"),
        (1 + Fraction(1, 10**39), f"1.{'0' * 38}1"),
        (Fraction("0.1234567890123456789012345678901234567891"), "0.1234567890123456789012345678901234567891"),
    ],
)
def test_a_fraction_becomes_the_shortest_decimal(exact: Fraction, shown: str) -> None:
    assert f"{plain(exact):f}" == shown
    assert Fraction(plain(exact)) == exact


@pytest.mark.parametrize("exact", [Fraction(1, 3), Fraction(14, 3), 1 + Fraction(1, 10**40)])
def test_a_fraction_that_no_decimal_holds_is_refused(exact: Fraction) -> None:
    with pytest.raises(ValueError, match=r"^no exact decimal$"):
        plain(exact)


# ---- The last guard

positive = st.integers(1, 10**7).map(lambda n: Decimal(n) / 1000)
any_amount = st.integers(-(10**6), 10**7).map(lambda n: Decimal(n) / 1000)


@thoroughly
@given(
    charted_weights(),
    st.sampled_from(IDS),
    st.sampled_from(("esketamine", "ketamine")),
    st.fixed_dictionaries(
        {},
        optional={
            "dose_mg_per_kg": any_amount,
            "weight_cap_kg": any_amount,
            "round_down_to_mg": positive,
            "ceiling_mg": any_amount,
            "strength_mg_per_ml": st.sampled_from([Decimal(n) for n in (1, 2, 5, 10, 25, 50, 100)]),
            "total_volume_ml": st.sampled_from([Decimal(n) for n in (10, 20, 50, 100, 250)]),
        },
    ),
)
def test_no_tampered_protocol_gets_a_dose_above_a_ceiling(
    weight: tuple[Decimal, str], id_: str, medicine: str, tampered: dict[str, Decimal]
) -> None:
    protocol = protocol_of(id_, medicine=medicine, **tampered)
    kg = kg_of(weight)
    exact = min(kg, Fraction(protocol.weight_cap_kg)) * Fraction(protocol.dose_mg_per_kg)
    whole_steps = exact / Fraction(protocol.round_down_to_mg)
    mg = whole_steps.numerator // whole_steps.denominator * Fraction(protocol.round_down_to_mg)
    most = min(Fraction(protocol.ceiling_mg), {"esketamine": 20, "ketamine": 50}[medicine])
    if 0 < mg <= most:
        event("a dose")
        assert Fraction(dose_for(kg, ENTRY, protocol).dose_mg) == mg
        return
    event("none")
    with pytest.raises(ValueError, match=rf"^{id_}: the computed dose is outside 0 to \S+ mg$"):
        dose_for(kg, ENTRY, protocol)


def test_the_ceilings_in_code_are_those_of_the_decision_logic() -> None:
    assert CEILING_MG == {"esketamine": 20, "ketamine": 50}


@pytest.mark.parametrize(
    ("id_", "ceiling", "tampered", "mg"),
    [
        (ESK, 20, {"ceiling_mg": Decimal(1000), "weight_cap_kg": Decimal(102)}, "20"),
        (KET, 50, {"ceiling_mg": Decimal(1000), "weight_cap_kg": Decimal(101)}, "50"),
        (ESK, 18, {"ceiling_mg": Decimal(18), "weight_cap_kg": Decimal(92)}, "18"),
    ],
)
def test_the_ceiling_holds_whatever_the_table_says(id_: str, ceiling: int, tampered: dict[str, Any], mg: str) -> None:
    """At the ceiling, and one step above it."""
    assert str(dose_of("250", id_, **tampered).dose_mg) == mg
    above = tampered | {"weight_cap_kg": tampered["weight_cap_kg"] + Decimal(1)}
    with pytest.raises(ValueError, match=rf"^{id_}: the computed dose is outside 0 to {ceiling} mg$"):
        dose_of("250", id_, **above)


@pytest.mark.parametrize("kg", ["2.4999", "0", "-72.4"])
def test_a_weight_that_gives_no_step_is_no_dose(kg: str) -> None:
    with pytest.raises(ValueError, match=r"^esketamine-iv: the computed dose is outside 0 to 20 mg$"):
        dose_of(kg, ESK)


def test_the_least_dose_is_one_step() -> None:
    assert str(dose_of("2.5", ESK).dose_mg) == "0.5"


# ---- Refused at start

Planted = Callable[..., Path]


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    """The tables with one number changed, where nobody else reads them."""

    def plant(old: str, new: str, table: str = "protocols.toml") -> Path:
        folder = tmp_path / "knowledge"
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        file = folder / "tables" / table
        text = file.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{table} says {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new), encoding="utf-8")
        return folder

    return plant


def refusals(folder: Path) -> list[str]:
    """What stands against starting with these tables."""
    try:
        return list(ceiling_defects(load_knowledge(folder)))
    except KnowledgeUnfit as unfit:
        return [str(unfit)]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('ceiling_mg = "20"', 'ceiling_mg = "20"', None),
        ('ceiling_mg = "20"', 'ceiling_mg = "20.001"', "esketamine-iv: ceiling_mg 20.001 is above 20 mg"),
        ('ceiling_mg = "50"', 'ceiling_mg = "50.001"', "racemic-ketamine-iv: ceiling_mg 50.001 is above 50 mg"),
        ('ceiling_mg = "20"', 'ceiling_mg = "19.999"', "esketamine-iv: the dose at the weight cap is above the ceil"),
        ('dose_mg_per_kg = "0.2"', 'dose_mg_per_kg = "0.19"', None),
        ('dose_mg_per_kg = "0.2"', 'dose_mg_per_kg = "0.2001"', "esketamine-iv: the dose at the weight cap is above"),
        ('dose_mg_per_kg = "0.5"', 'dose_mg_per_kg = "0.5001"', "racemic-ketamine-iv: the dose at the weight cap is"),
        ('dose_mg_per_kg = "0.2"\nweight_cap_kg = "100"', 'dose_mg_per_kg = "0.2"\nweight_cap_kg = "100.01"',
         "esketamine-iv: the dose at the weight cap is above the ceiling"),
        ('medicine = "esketamine"', 'medicine = "oxytocin"', "medicine"),
    ],
)  # fmt: skip
def test_tables_that_ask_for_more_are_refused_at_start(planted: Planted, old: str, new: str, says: str | None) -> None:
    found = refusals(planted(old, new))
    if says is None:
        assert found == []
    else:
        assert len(found) == 1
        assert says in found[0]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('\nmg = "20"', '\nmg = "20.000"', []),
        ('\nmg = "20"', '\nmg = "19.999"', [  # what the protocol itself may ask for would be beyond it
            "tables/protocols.toml: esketamine-iv: ceiling_mg 20 is above 19.999 mg, the limit of order_check"]),
        ('\nmg = "20"', '\nmg = "20.001"', [
            "tables/order_check.toml: esketamine: the absolute limit 20.001 mg is above 20 mg"]),
        ('\nmg = "50"', '\nmg = "50"', []),
        ('\nmg = "50"', '\nmg = "50.001"', [
            "tables/order_check.toml: ketamine: the absolute limit 50.001 mg is above 50 mg"]),
    ],
)  # fmt: skip
def test_an_absolute_limit_above_the_ceiling_is_refused_at_start(
    planted: Planted, old: str, new: str, says: list[str]
) -> None:
    """It holds at every site, for what people draft: whoever moves it takes the last guard away."""
    assert refusals(planted(old, new, "order_check.toml")) == says


# ---- Only for an eligible woman


def judged(status: Status) -> Eligibility:
    return Eligibility(status, (), (), (), (), (), ())


def facts_of(*values: Decimal) -> Facts:
    weight = Finding(State.PRESENT, (ENTRY, Evidence("Observation/another")), values)
    return Facts({"dosing_weight": weight}, datetime(2026, 11, 23, 12, tzinfo=UTC))


@pytest.mark.parametrize("status", Status)
def test_there_is_a_dose_in_the_two_eligible_states_only(status: Status) -> None:
    dose = compute(facts_of(Decimal("72.4")), judged(status), protocol_of(ESK))
    if status in {Status.ELIGIBLE, Status.ELIGIBLE_CONDITIONAL}:
        assert dose == dose_of("72.4", ESK)
    else:
        assert dose is None
    assert compute(facts_of(Decimal("72.4")), judged(status), None) is None


def test_two_weights_are_no_weight() -> None:
    with pytest.raises(ValueError, match="too many values"):
        compute(facts_of(Decimal(70), Decimal(72)), judged(Status.ELIGIBLE), protocol_of(ESK))
