"""How a number, a length of time and an age are read aloud: in the rule's unit, and on their side of every limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pytest
from builders import DRAFT, NOW, SITE, WHO, delivered, knowledge, measured, think, woman, wording
from conftest import Door
from ehr import request_for, service_for
from encoding import Case, read_cases
from hypothesis import example, given
from hypothesis import strategies as st
from thoroughly import thoroughly

from cds_service.clinical.facts import Doubt, Evidence, Finding, State, unknown
from cds_service.clinical.stage import Stage
from cds_service.clinical.weighing import Reason, holds
from cds_service.ehr.units import Units
from cds_service.knowledge.shapes import Test as Rule
from cds_service.knowledge.shapes import nested
from cds_service.rendering.cards import write
from cds_service.rendering.figures import Figures
from cds_service.rendering.languages import in_language
from cds_service.rendering.numbers import Numbers
from cds_service.rendering.wording import Shown, Wording

ENTRY = Evidence("Observation/one", date="2026-05-14T08:00:00Z")
OFFICIAL = "http://unitsofmeasure.org"


@cache
def spoken(language: str) -> Wording:
    return in_language(language, knowledge())[1]


def figures(language: str = "en", too_old: frozenset[str] = frozenset()) -> Figures:
    words = spoken(language)
    return Figures(words.blocks, words.units, NOW, too_old)


def numbers(language: str = "en") -> Numbers:
    return Numbers(figures(language), knowledge())


def found(*values: str | int | Fraction, conflict: bool = False, incomplete: bool = False) -> Finding:
    """A number that no single entry says as it is."""
    return Finding(State.PRESENT, (ENTRY, ENTRY), tuple(map(Fraction, values)), None, conflict, incomplete)


def charted(fact: str, value: str, unit: str) -> Finding:
    """One entry, converted to the unit of the fact's row as the reader does it."""
    row = next(row for row in knowledge().observations.row if row.fact == fact)
    quantity = {"value": Decimal(value), "unit": unit, "system": OFFICIAL, "code": unit}
    read = Units(knowledge().units).convert(quantity, row.unit)
    assert read is not None
    return Finding(State.PRESENT, (replace(ENTRY, value=value, unit=unit),), (read,))


def rules() -> Iterator[Rule]:
    tables = (knowledge().contraindications, knowledge().reviews, knowledge().modifiers, knowledge().risk)
    for table in tables:
        yield from (rule for rule in nested(table, Rule) if rule.banded)


def rule_of(fact: str, says: str) -> Rule:
    return next(rule for rule in rules() if rule.fact == fact and says in rule.says)


def because(fact: str, says: str, finding: Finding, language: str = "en") -> str:
    rule = rule_of(fact, says)
    return numbers(language).because_of(Reason(fact, rule.says, finding.evidence), finding)


# ---- The words of a number


@pytest.mark.parametrize(
    ("fact", "says", "finding", "shown"),
    [
        ("minutes_since_birth", "60 min", found("60.01"), "61 min"),
        ("minutes_since_birth", "60 min", found("61"), "61 min"),
        ("minutes_since_birth", "60 min", found("120"), "120 min"),
        ("minutes_since_birth", "60 min", found("120.01"), "120 min"),
        ("minutes_since_birth", "60 min", found("144.15"), "2 h 24 min"),
        ("minutes_since_birth", "60 min", found("2879.9"), "47 h 59 min"),
        ("minutes_since_birth", "60 min", found("2880"), "2 days"),
        ("minutes_since_birth", "60 min", found("10020"), "6 days 23 h"),
        ("minutes_since_birth", "60 min", found("20159"), "13 days 23 h"),
        ("minutes_since_birth", "60 min", found("20160"), "14 days"),
        ("minutes_since_birth", "60 min", found("123456.7"), "85 days"),
        ("minutes_since_birth", "60 min", found("720", "2160"), "12 h to 36 h"),
        ("age", "18", found(17), "17 years"),
        ("body_mass_index", "40", found("51.21"), "51.2 kg/m²"),
        ("body_mass_index", "40", found("40.04"), "40 kg/m²"),
        ("shock_index", "1 or more", found(1), "1.00"),
        ("shock_index", "1 or more", found(Fraction(118, 92)), "1.28"),
        ("shock_index", "0.9", found("0.9"), "0.90"),
        ("shock_index", "0.9", found("0.9999"), "0.99"),
        ("asa_class", "III", found(3), "III"),
        ("asa_class", "III", found(4), "IV"),
        ("epds_for_risk", "10 to 12", found(12), "12"),
        ("epds_for_risk", "10 to 12", found(12, incomplete=True), "at least 12 (form incomplete)"),
        ("blood_loss", "1000", found("1234.567"), "1234.56 mL"),
        ("spo2", "92", found("90", "96", conflict=True), "90 %"),
        ("systolic_any", "160", found("150", "166", conflict=True), "166 mmHg"),
    ],
)
def test_a_number_is_written_as_people_read_it(fact: str, says: str, finding: Finding, shown: str) -> None:
    assert because(fact, says, finding) == shown


def test_a_number_that_no_rule_has_met_is_written_in_the_same_way() -> None:
    assert numbers().of("asa_class", found(2)) == "II"
    assert numbers().of("shock_index", found("0.7")) == "0.70"
    assert numbers().of("spo2", found("90", "96", conflict=True)) == "90 % to 96 %"
    assert numbers().of("weight", Finding(State.PRESENT, (ENTRY,))) == ""
    assert numbers().of("nobody_measures_this", measured("it", "5", "mL")) == "5 mL"


@pytest.mark.parametrize(
    ("fact", "says", "value", "unit", "shown"),
    [
        ("weight", "below 40", "85", "[lb_av]", "38.5 kg (charted: 85 lb)"),
        ("weight", "above 120", "264.56", "[lb_av]", "120.01 kg (charted: 264.56 lb)"),
        ("weight", "above 120", "300", "[lb_av]", "136 kg (charted: 300 lb)"),
        ("weight", "above 120", "121.50", "kg", "121.50 kg"),
        ("blood_loss", "1000", "1.2", "L", "1200 mL (charted: 1.2 L)"),
        ("blood_loss", "1000", "1200", "cm3", "1200 cm³"),
        ("systolic_any", "160", "21.5", "kPa", "161.2 mmHg (charted: 21.5 kPa)"),
        ("systolic_any", "160", "161", "mm[Hg]", "161 mmHg"),
        ("platelets", "100", "99000", "/uL", "99 × 10⁹/L (charted: 99000 per µL)"),
        ("platelets", "100", "99.99996", "10*3/uL", "99.99996 × 10³/µL"),
    ],
)
def test_what_was_converted_is_told_in_the_unit_of_the_rule_and_as_it_was_charted(
    fact: str, says: str, value: str, unit: str, shown: str
) -> None:
    rule = next(rule for rule in rules() if rule.fact in {fact, "believable_weight"} and says in rule.says)

    assert numbers().of(fact, charted(fact, value, unit), rule) == shown


def test_of_a_laboratory_value_its_upper_limit_is_told() -> None:
    finding = Finding(State.PRESENT, (replace(ENTRY, value="81", unit="U/L"),), (Fraction(81, 40),))

    assert because("ast_ratio", "AST", finding) == "81 U/L (upper limit 40)"
    assert because("ast_ratio", "AST", found("2.025")) == "2.02"
    assert because("ast_ratio", "AST", finding, "es") == "81 U/L (límite superior 40)"


def test_in_spanish() -> None:
    assert because("minutes_since_birth", "60 min", found("10020"), "es") == "6 días 23 h"
    assert because("age", "18", found(17), "es") == "17 años"
    assert because("epds_for_risk", "10 to 12", found(12, incomplete=True), "es") == (
        "al menos 12 (formulario incompleto)"
    )


# ---- Every limit that decides

BANDED = [rule for rule in rules() if rule.fact not in {"asa_class", "minutes_since_birth"}]


def as_read(shown: str) -> Fraction:
    """The first number that is read: of "at least 12" the 12."""
    number = re.search(r"\d+(?:\.\d+)?", shown)
    assert number is not None, shown
    return Fraction(number[0])


@st.composite
def near_a_limit(draw: st.DrawFn) -> tuple[Rule, Fraction]:
    rule = draw(st.sampled_from(BANDED))
    limit = draw(st.sampled_from([edge for edge in (rule.at_least, rule.above, rule.below) if edge is not None]))
    hair = draw(st.integers(-9, 9)) * Fraction(1, 3 * 10 ** draw(st.integers(0, 8)))
    return rule, abs(Fraction(limit) + hair)


@thoroughly
@given(near_a_limit(), st.booleans())
@example((rule_of("believable_weight", "above 120"), Fraction("120.0000001")), False)
@example((rule_of("body_mass_index", "40"), Fraction("39.999")), False)
def test_a_number_is_shown_on_its_side_of_the_limits_of_its_rule(drawn: tuple[Rule, Fraction], converted: bool) -> None:
    rule, value = drawn
    entry = replace(ENTRY, value="7.5", unit="[lb_av]")  # any other unit: then the number is a converted one
    finding = replace(found(value), evidence=(entry,)) if converted else found(value)
    measured_as_ratio = rule.fact.endswith("_ratio")
    if converted and measured_as_ratio:
        return  # what the laboratory said is shown, and its limit

    read = replace(found(value), values=(as_read(numbers().of(rule.fact, finding, rule)),))
    assert holds(rule, read) is holds(rule, found(value))


@thoroughly
@given(st.integers(0, 4_000).map(lambda n: Fraction(n, 30)))
def test_no_time_up_to_the_limit_is_shown_as_more_and_none_above_it_as_less(minutes: Fraction) -> None:
    rule = rule_of("minutes_since_birth", "60 min")
    shown = numbers().of(rule.fact, found(minutes), rule)
    read = 60 * int(shown.split(" h")[0]) if " h" in shown else int(shown.split(" min")[0])

    assert (read > 60) is (minutes > 60)


# ---- Units


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_unit_that_can_be_converted_or_reckoned_has_words(language: str) -> None:
    """A code of UCUM is for machines: nobody reads "[oz_av]" aloud."""
    words = spoken(language).units
    asked = {unit.ucum for unit in knowledge().units.unit} | {unit.base for unit in knowledge().units.unit}
    asked |= {row.unit for row in (*knowledge().observations.row, *knowledge().derived.row) if row.unit is not None}

    assert asked - set(words) == set()
    assert [text for text in words.values() if re.search(r"[\[\]{}\\*^_]|\bug\b|\buL\b", text)] == []


# ---- The rows of a card


def row(label: str, card: dict[str, object]) -> str:
    line = next(line for line in str(card["detail"]).splitlines() if line.startswith(f"| {label} |"))
    return line.split("|")[2].strip()


def option(**more: Finding) -> dict[str, object]:
    cards = write(think(woman(**more)), WHO, knowledge(), wording(), SITE)
    return next(card for card in cards if card["source"]["topic"]["code"] == "KETOPTION")


def test_only_a_blood_pressure_is_written_with_a_stroke() -> None:
    label = "Heart rate, SpO2, breathing rate"

    assert row(label, option()) == "heart rate 84 per min, SpO2 98 %, breathing rate 16 per min"
    assert row(label, option(spo2=unknown(Doubt.NOT_RECORDED))) == (
        "heart rate 84 per min, SpO2 missing, breathing rate 16 per min"
    )
    assert row("Blood pressure", option()) == "118/74 mmHg"
    assert row("ASA physical status", option()) == "II"


def test_a_blood_pressure_in_another_unit_is_told_in_both() -> None:
    upper, lower = charted("systolic", "15.7", "kPa"), charted("diastolic", "9.8", "kPa")

    assert row("Blood pressure", option(systolic=upper, diastolic=lower)) == "117.7/73.5 mmHg (charted: 15.7/9.8 kPa)"
    assert row("Blood pressure", option(systolic=upper)) == "117.7/74 mmHg (charted: 15.7 kPa, 74 mmHg)"
    assert row("Blood pressure", option(diastolic=unknown(Doubt.NOT_RECORDED))) == "118/– mmHg"


def test_what_was_last_seen_of_several_is_called_by_its_name() -> None:
    old = {
        name: replace(finding, evidence=tuple(replace(e, date="2026-05-14T07:30:00Z") for e in finding.evidence))
        for name, finding in delivered().items()
        if name in {"heart_rate", "spo2", "respiratory_rate"}
    }
    too_old = {name: unknown(Doubt.TOO_OLD, *finding.evidence) for name, finding in old.items()}
    facts = delivered(**too_old)
    cards = write(think(facts, draft=DRAFT, stage=Stage.AFTER_BIRTH), WHO, knowledge(), wording(), SITE)
    detail = next(card["detail"] for card in cards if card["source"]["topic"]["code"] == "KETDATA")

    assert "last seen heart rate 84 per min, SpO2 98 %, breathing rate 16 per min (⚠ old: 2026-05-14 07:30" in detail


@pytest.mark.parametrize("names", [(), ("heart rate", "SpO2")])
def test_a_row_of_several_facts_without_their_names_is_refused_at_start(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="Vital signs: a name is needed for each of its facts"):
        Shown(says="Vital signs", facts=("heart_rate", "spo2", "respiratory_rate"), names=names, topics=("KETOPTION",))


# ---- Ages


@pytest.mark.parametrize(
    ("ago", "in_time", "too_old"),
    [
        (timedelta(minutes=59), "59 min ago", "59 min ago"),
        (timedelta(minutes=120), "2 h ago", "2 h ago"),
        (timedelta(minutes=250), "4 h ago", "4 h 10 min ago"),
        (timedelta(days=7), "7 days ago", "7 days ago"),
        (timedelta(days=7, hours=1), "7 days ago", "7 days 1 h ago"),
        (timedelta(days=13, hours=23, minutes=59), "13 days ago", "13 days 23 h ago"),
        (timedelta(days=14, hours=5), "14 days ago", "14 days ago"),
        (timedelta(days=729), "729 days ago", "729 days ago"),
        (timedelta(days=730), "2 years ago", "2 years ago"),
        (timedelta(days=1096), "3 years ago", "3 years ago"),
    ],
)
def test_an_age_that_is_too_old_is_told_so_that_it_does_not_read_as_its_limit(
    ago: timedelta, in_time: str, too_old: str
) -> None:
    entry = replace(ENTRY, date=(NOW - ago).isoformat())

    assert figures().age(entry) == in_time
    assert figures().when(entry).endswith(f", {in_time}")
    assert figures(too_old=frozenset({entry.reference})).when(entry).endswith(f", {too_old}")


@pytest.mark.parametrize(
    ("born", "age"),
    [("2008-05-14", "18 years ago"), ("2008-05-15", "17 years ago"), ("2024-05-15", "729 days ago")],
)
def test_years_are_those_of_the_calendar(born: str, age: str) -> None:
    """Today is 2026-05-14: else a birth date would read "18 years ago" beside "17 years"."""
    assert figures().age(replace(ENTRY, date=born)) == age


def test_two_years_with_a_leap_day_less_a_day_are_days() -> None:
    leap = replace(figures(), now=NOW.replace(year=2025, month=1, day=15))

    assert leap.age(replace(ENTRY, date="2023-01-15")) == "2 years ago"
    assert leap.age(replace(ENTRY, date="2023-01-16")) == "730 days ago"


def test_a_day_alone_is_not_told_to_the_hour() -> None:
    entry = replace(ENTRY, date=(NOW - timedelta(days=7)).date().isoformat())

    assert figures(too_old=frozenset({entry.reference})).when(entry).endswith(", 7 days ago")


# ---- Through the front door


def weighing(case: Case, now: datetime, front_door: Door, value: float, code: str) -> str:
    """All that is said and drafted for her when this is her weight."""
    door = front_door(case)
    discovery = door.get("/cds-services").get_json()
    request = request_for(case, now, discovery)
    weight = next(
        entry["resource"]
        for entry in request["prefetch"]["vital_signs"]["entry"]
        if any(coding["code"] == "29463-7" for coding in entry["resource"]["code"]["coding"])
    )
    weight["valueQuantity"] = {"value": value, "unit": code, "system": OFFICIAL, "code": code}
    service = service_for(case["hook"], discovery)
    answer = door.post(f"/cds-services/{service['id']}", json=request)
    cards = answer.get_json()["cards"]
    return "\n".join(f"{card['summary']}\n{card['detail']}\n{card.get('suggestions')}" for card in cards)


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        (85, "[lb_av]", "Weight below 40 kg: 38.5 kg (charted: 85 lb)"),
        (264.56, "[lb_av]", "Weight above 120 kg: 120.01 kg (charted: 264.56 lb)"),
        (2554, "[oz_av]", "| Weight | 72.4 kg (charted: 2554 oz) |"),
        (72.4, "kg", "| Weight | 72.4 kg |"),
    ],
)
def test_the_weight_is_told_in_kilograms_and_as_it_was_charted(
    now: datetime, front_door: Door, value: float, code: str, says: str
) -> None:
    case = next(case for case in read_cases() if case.id == "V01")

    assert says in weighing(case, now, front_door, value, code)


def test_no_amount_has_a_zero_behind_its_point(now: datetime, front_door: Door) -> None:
    """Neither in words nor in the orders that are drafted: where a point is overlooked, 20.0 mg is 200."""
    case = next(case for case in read_cases() if case.id == "V01")
    says = weighing(case, now, front_door, 100, "kg")

    assert "0.2 mg/kg × 100 kg = 20 mg; 20 mg ÷ 5 mg/mL = 4 mL, made up to 20 mL = 1 mg/mL; 30 mL/h" in says
    assert not re.search(r"\d\.0+ m[gL]", says)
