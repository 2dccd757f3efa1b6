"""Every unit in the table is exact, means what UCUM says, and is read as charts write it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from thoroughly import thoroughly
from ucumvert import PintUcumRegistry

from cds_service.ehr.units import Units
from cds_service.knowledge import load_knowledge

KNOWLEDGE = load_knowledge()
TABLE = KNOWLEDGE.units.unit
ROWS = {row.ucum: row for row in TABLE}
UNITS = Units(KNOWLEDGE.units)
UCUM = "http://unitsofmeasure.org"

# ---- Held against a library that reads UCUM

# What the library reads otherwise, each with the reason why the table is right.
NOT_COMPARED = {
    "kPa": "the library takes the mercury column of physics (133.322387415 Pa); UCUM defines mm[Hg] as 133.322 Pa",
    "{score}": "an annotation alone, which the library does not read as the unit 1",
    "[IU]/L": "arbitrary units have no size; laboratories use it for the enzyme unit U/L",
}
# Read letter by letter as UCUM these are something else, which nobody measures in a woman.
OTHERWISE_IN_UCUM = {
    "K/uL": "kelvin, not thousands, in a microlitre",
    "K/mm3": "kelvin, not thousands, in a cubic millimetre",
    "ft": "a femtotonne, not a foot",
}


@pytest.fixture(scope="module")
def ucum() -> PintUcumRegistry:
    return PintUcumRegistry()


def factor(ucum: PintUcumRegistry, code: str, base: str) -> float:
    """How many of the base unit make up one. Raises where the two are not of one kind."""
    ratio = (ucum.from_ucum(code) / ucum.from_ucum(base)).to_base_units()
    assert ratio.dimensionless, f"{code} is no {base}"
    return float(ratio.magnitude)


def can_read(ucum: PintUcumRegistry, code: str) -> bool:
    try:
        return hasattr(ucum.from_ucum(code), "units")
    except Exception:  # the library's own errors have no common parent
        return False


@pytest.mark.parametrize("code", [code for code in ROWS if code not in NOT_COMPARED])
def test_a_factor_is_that_of_ucum(ucum: PintUcumRegistry, code: str) -> None:
    row = ROWS[code]
    if code == row.base:
        assert can_read(ucum, code)  # an affine unit cannot be divided by itself
        assert row.factor == 1
    else:
        assert factor(ucum, code, row.base) == pytest.approx(float(row.factor), rel=1e-9)


@pytest.mark.parametrize("code", NOT_COMPARED)
def test_only_what_the_library_reads_otherwise_is_left_out(ucum: PintUcumRegistry, code: str) -> None:
    row = ROWS[code]
    try:
        told = factor(ucum, code, row.base)
    except (TypeError, AssertionError):
        return
    assert told != pytest.approx(float(row.factor), rel=1e-9)


def test_kilopascal_is_that_of_ucum() -> None:
    """UCUM: the metre of mercury column is 133.3220 kPa."""
    assert ROWS["kPa"].factor == 1 / Fraction("0.133322")


def test_every_base_is_a_unit_of_the_table_or_one_that_the_tables_ask_for() -> None:
    asked = {row.unit for row in KNOWLEDGE.observations.row}

    assert {row.base for row in TABLE} - set(ROWS) <= asked
    assert all(ROWS[row.base].factor == 1 for row in TABLE if row.base in ROWS)
    assert all(row.factor > 0 for row in TABLE)


def test_an_affine_scale_shares_its_base_with_nothing() -> None:
    """A factor cannot turn degrees Celsius into degrees Fahrenheit, nor into kelvins."""
    assert [row.ucum for row in TABLE if row.base == "Cel"] == ["Cel"]
    assert not {"[degF]", "K"} & set(ROWS)
    assert UNITS.convert({"value": Decimal("36.6"), "unit": "°C"}, "Cel") == Decimal("36.6")


def test_no_spelling_has_two_meanings() -> None:
    told = {
        (" ".join(s.lower().replace("µ", "u").replace("μ", "u").split()), row.ucum)
        for row in TABLE
        for s in row.spellings
    }

    assert [spelling for spelling, times in Counter(s for s, _ in told).items() if times > 1] == []
    assert len(ROWS) == len(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.ucum)
def test_a_spelling_that_is_ucum_has_the_same_meaning_there(ucum: PintUcumRegistry, row: Any) -> None:
    """It may stand in `code`, and there UCUM is what counts."""
    if row.ucum in NOT_COMPARED:
        assert not [spelling for spelling in row.spellings if spelling != "1" and can_read(ucum, spelling)]
        return
    for spelling in row.spellings:
        if spelling in OTHERWISE_IN_UCUM:
            assert can_read(ucum, spelling)
            with pytest.raises(AssertionError):
                factor(ucum, spelling, row.ucum)
        elif spelling != row.ucum and can_read(ucum, spelling):
            assert factor(ucum, spelling, row.ucum) == pytest.approx(1, rel=1e-9), spelling


# ---- As charts write it

AS_WRITTEN = [
    ("kgs", "kg"), ("KG", "kg"), ("Kg", "kg"), ("kilograms", "kg"), ("g", "g"), ("grams", "g"), ("gm", "g"),
    ("lb", "[lb_av]"), ("lbs", "[lb_av]"), ("Lbs.", "[lb_av]"), ("pounds", "[lb_av]"), ("oz", "[oz_av]"),
    ("ounces", "[oz_av]"), ("cm", "cm"), ("m", "m"), ("in", "[in_i]"), ("inches", "[in_i]"), ("ft", "[ft_i]"),
    ("mmHg", "mm[Hg]"), ("mm Hg", "mm[Hg]"), ("MM  HG", "mm[Hg]"), ("mm[Hg]", "mm[Hg]"), ("kPa", "kPa"),
    ("bpm", "/min"), ("beats/min", "/min"), ("Beats per minute", "/min"), ("breaths/min", "/min"), ("/min", "/min"),
    ("{Breaths}/min", "/min"), ("%", "%"), ("percent", "%"), ("days", "d"),
    ("10^3/uL", "10*3/uL"), ("10*3/uL", "10*3/uL"), ("10³/µL", "10*3/uL"), ("10³/μL", "10*3/uL"), ("K/uL", "10*3/uL"),
    ("K/mcL", "10*3/uL"), ("k/ul", "10*3/uL"), ("thou/mcL", "10*3/uL"), ("x10(3)/uL", "10*3/uL"),
    ("x10(3)/mcL", "10*3/uL"), ("x10E3/uL", "10*3/uL"), ("Thousand/uL", "10*3/uL"), ("10^9/L", "10*9/L"),
    ("x10^9/L", "10*9/L"), ("Gpt/l", "10*9/L"), ("/nL", "/nL"), ("/uL", "/uL"), ("/cumm", "/mm3"), ("mcg", "ug"),
    ("µg", "ug"), ("μg", "ug"), ("mL", "mL"), ("mls", "mL"), ("cc", "mL"), ("liters", "L"), ("°C", "Cel"),
    ("U/L", "U/L"), ("IU/L", "U/L"), ("µkat/l", "ukat/L"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), AS_WRITTEN)
def test_a_unit_without_a_code_is_read_as_charts_write_it(text: str, code: str) -> None:
    assert UNITS.code_of({"unit": text}) == code
    assert UNITS.code_of({"unit": f" {text} "}) == code
    assert UNITS.code_of({"unit": text, "code": ""}) == code
    assert UNITS.code_of({"unit": text, "system": UCUM}) == code


UNKNOWN_UNITS = [
    "",
    "weeks",
    "stone",
    "st",
    "kg/m2",
    "mmol/L",
    "kelvin",
    "g%",
    "lb oz",
    "10 3/uL",
    "[degF]",
    "K",
    7,
    None,
    {},
]


@pytest.mark.parametrize("text", UNKNOWN_UNITS)
def test_a_unit_that_nobody_knows_is_none(text: Any) -> None:
    assert UNITS.code_of({"unit": text}) is None


CODED = [
    ("a code", {"code": "kg", "system": UCUM}, "kg"),
    ("by its OID", {"code": "kg", "system": "urn:oid:2.16.840.1.113883.6.8"}, "kg"),
    ("a slash behind the system", {"code": "kg", "system": f"{UCUM}/"}, "kg"),
    ("no system", {"code": "kg"}, "kg"),
    ("the code outweighs the unit", {"code": "kg", "system": UCUM, "unit": "lbs"}, "kg"),
    ("a spelling for a code", {"code": "lbs", "system": UCUM}, "[lb_av]"),
    ("another", {"code": "mmHg", "system": UCUM}, "mm[Hg]"),
    ("a spelling without a system", {"code": "LBS."}, "[lb_av]"),
    ("case means something: megagram", {"code": "Mg", "system": UCUM, "unit": "mg"}, None),
    ("megagauss", {"code": "MG", "system": UCUM, "unit": "mg"}, None),
    ("gauss", {"code": "G", "system": UCUM, "unit": "g"}, None),
    ("megalitre", {"code": "ML", "system": UCUM, "unit": "mL"}, None),
    ("siemens", {"code": "S", "system": UCUM, "unit": "s"}, None),
    ("an atomic mass in a litre", {"code": "u/L", "system": UCUM, "unit": "U/L"}, None),
    ("an unknown code outweighs a known unit", {"code": "[stone_av]", "system": UCUM, "unit": "kg"}, None),
    ("a code of another system", {"code": "kg", "system": "urn:of-the-site", "unit": "kg"}, None),
    ("a code of SNOMED CT", {"code": "258683005", "system": "http://snomed.info/sct", "unit": "kg"}, None),
    ("a system that is no text", {"code": "kg", "system": 7}, None),
    ("a code that is no text", {"code": 7, "unit": "kg"}, None),
    ("nothing", {}, None),
]


@pytest.mark.parametrize(("quantity", "code"), [row[1:] for row in CODED], ids=[row[0] for row in CODED])
def test_a_code_is_trusted_only_where_it_is_ucum(quantity: dict[str, Any], code: str | None) -> None:
    assert UNITS.code_of(quantity) == code


@pytest.mark.parametrize("sign", ["<", "<=", ">=", ">", "ad", "about"])
def test_more_or_less_than_a_number_is_no_number(sign: str) -> None:
    assert UNITS.convert({"value": Decimal(200), "code": "mm[Hg]", "comparator": sign}, "mm[Hg]") is None


@pytest.mark.parametrize(
    ("sign", "least"),
    [(">=", 1500), (">", 1500), ("<", None), ("<=", None), ("ad", None), ("about", None), (None, None)],
)
def test_only_at_least_and_more_than_have_a_lower_bound(sign: str | None, least: int | None) -> None:
    told = {"value": Decimal("1.5"), "code": "L", "system": UCUM, "comparator": sign}

    assert UNITS.lower_bound(told, "mL") == least
    assert UNITS.lower_bound({**told, "code": "kg"}, "mL") is None
    assert UNITS.lower_bound("> 1500 mL", "mL") is None


@pytest.mark.parametrize(
    "quantity",
    [
        None, "72 kg", 72, [], {}, {"value": 72}, {"code": "kg"}, {"value": None, "code": "kg"},
        {"value": True, "code": "kg"}, {"value": "72,4", "code": "kg"}, {"value": "NaN", "code": "kg"},
        {"value": Decimal("NaN"), "code": "kg"}, {"value": Decimal("Infinity"), "code": "kg"},
        {"value": float("inf"), "code": "kg"}, {"value": {"value": 72}, "code": "kg"}, {"value": 72, "code": "cm"},
    ],
)  # fmt: skip
def test_what_is_no_weight_is_none(quantity: Any) -> None:
    assert UNITS.convert(quantity, "kg") is None


def test_giga_in_a_litre_is_not_read_as_grams() -> None:
    """Some laboratories write G/L for 10*9/L. It looks like a concentration, so the value is unknown."""
    assert UNITS.convert({"value": Decimal(250), "unit": "G/L"}, "10*9/L") is None


# ---- Exactly

EXACT = [
    ("72.4", "kg", "kg", "72.4"),
    ("72400", "g", "kg", "72.4"),
    ("160", "[lb_av]", "kg", "72.5747792"),
    ("2560", "[oz_av]", "kg", "72.5747792"),
    ("64", "[in_i]", "cm", "162.56"),
    ("1.63", "m", "cm", "163"),
    ("133.322", "kPa", "mm[Hg]", "1000"),
    ("150", "10*3/uL", "10*9/L", "150"),
    ("150000", "/uL", "10*9/L", "150"),
    ("150000", "/mm3", "10*9/L", "150"),
    ("150", "/nL", "10*9/L", "150"),
    ("0.5", "L", "mL", "500"),
    ("1.5", "d", "h", "36"),
    ("1", "ukat/L", "U/L", "60"),
]


@pytest.mark.parametrize(("value", "code", "unit", "exact"), EXACT)
def test_a_conversion_is_exact(value: str, code: str, unit: str, exact: str) -> None:
    assert UNITS.convert({"value": Decimal(value), "code": code, "system": UCUM}, unit) == Fraction(exact)


CODES = st.sampled_from(sorted(ROWS))
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9)


@thoroughly
@given(AMOUNTS, CODES, CODES)
def test_there_and_back_again_is_the_same_number(amount: Decimal, code: str, unit: str) -> None:
    there = UNITS.convert({"value": amount, "code": code, "system": UCUM}, unit)
    assume(there is not None)
    unit_in_code = UNITS.convert({"value": 1, "code": unit, "system": UCUM}, code)

    assert isinstance(there, Decimal | Fraction)
    assert isinstance(unit_in_code, Decimal | Fraction)
    assert Fraction(there) * Fraction(unit_in_code) == Fraction(amount)


@thoroughly
@given(AMOUNTS, CODES, CODES)
def test_only_what_is_of_one_kind_is_converted(amount: Decimal, code: str, unit: str) -> None:
    there = UNITS.convert({"value": amount, "code": code, "system": UCUM}, unit)

    assert (there is not None) is (ROWS[code].base == ROWS[unit].base)


@thoroughly
@given(AMOUNTS, AMOUNTS, CODES, st.data())
def test_more_stays_more_in_every_unit(one: Decimal, other: Decimal, code: str, data: st.DataObject) -> None:
    """A limit of the tables holds in whichever unit a value comes."""
    unit = data.draw(st.sampled_from([u for u in sorted(ROWS) if ROWS[u].base == ROWS[code].base]))
    first, second = (UNITS.convert({"value": v, "code": code, "system": UCUM}, unit) for v in (one, other))

    assert first is not None
    assert second is not None
    assert (first < second, first == second) == (one < other, one == other)
