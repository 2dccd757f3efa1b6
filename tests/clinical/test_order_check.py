"""Which drafted orders of ketamine or esketamine are stopped, which are questioned, and which pass without a word."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from thoroughly import thoroughly

import cds_service.knowledge
from cds_service.clinical.dosing import Dose, dose_for
from cds_service.clinical.facts import Evidence
from cds_service.clinical.order_check import Departure, DraftedOrder, check, infusion_minutes, total_dose
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.orders import already_ordered, another_active, monitoring_ordered, read_drafted
from cds_service.ehr.units import Units
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.knowledge.shapes import DepartureId, OrderCheckTable, Protocol

# 72.4 kg: 14 mg of esketamine in 20 mL, 36 mg of ketamine in 100 mL (decision logic, section 5).
WEIGHT = "72.4"
PROTOCOL = {"esketamine": "esketamine-iv", "ketamine": "racemic-ketamine-iv"}
RIGHT = {
    "esketamine": DraftedOrder(
        "MedicationRequest/one", "esketamine", "iv", True, Fraction(14), minutes=Fraction(40), strength=Fraction(5)
    ),
    "ketamine": DraftedOrder(
        "MedicationRequest/one", "ketamine", "iv", True, Fraction(36), minutes=Fraction(40), strength=Fraction(10)
    ),
}


@cache
def known() -> Knowledge:
    return load_knowledge()


def protocol_of(site: str) -> Protocol:
    found = known().protocol(PROTOCOL[site])
    assert found is not None
    return found


def computed(site: str, kg: str) -> Dose:
    return dose_for(Decimal(kg), Evidence("Observation/weight"), protocol_of(site))


def departures(
    order: DraftedOrder,
    *others: DraftedOrder,
    site: str | None = "esketamine",
    kg: str | None = WEIGHT,
    dosed: bool = True,
    monitoring: bool = True,
    duplicate_active: bool = False,
) -> tuple[Departure, ...]:
    """Where the order departs, at the site of a medicine (None: no protocol), with or without a computed dose."""
    return check(
        (order, *others),
        dose=computed(site, kg) if site and kg and dosed else None,
        protocol=protocol_of(site) if site else None,
        weight_kg=Decimal(kg) if kg else None,
        monitoring=monitoring,
        table=known().order_check,
        duplicate_active=duplicate_active,
    )


def ids(found: tuple[Departure, ...]) -> list[str]:
    return [departure.id for departure in found]


# ---- The table


@dataclass(frozen=True)
class Row:
    """A drafted order as it differs from the right one, and every departure that it must meet, the critical first."""

    story: str
    differs: Mapping[str, Any]
    finds: list[str]
    site: str | None = "esketamine"
    kg: str | None = WEIGHT
    dosed: bool = True
    drafted: str | None = None
    call: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.story

    @property
    def order(self) -> DraftedOrder:
        base = RIGHT[self.drafted or self.site or "esketamine"]
        return replace(base, **{name: _exact(value) for name, value in self.differs.items()})

    def found(self) -> tuple[Departure, ...]:
        return departures(self.order, site=self.site, kg=self.kg, dosed=self.dosed, **self.call)


def _exact(value: Any) -> Any:
    """An amount is written as text; anything else stands for itself."""
    return Fraction(value) if isinstance(value, str) and value[:1].isdigit() else value


NO_DOSE = {"dose_mg": None}
NO_TIME = {"minutes": None}
PER_KG = {"dose_mg": None}
KET, ESK = "ketamine", "esketamine"

TABLE = [
    # -- as the protocol says
    Row("esketamine as the protocol says", {}, []),
    Row("ketamine as the protocol says", {}, [], site=KET),
    Row("the strength is not said", {"strength": None}, []),
    # -- the dose: 10 % of 14 mg, and of 36 mg
    Row("10 % below", {"dose_mg": "12.6"}, []),
    Row("more than 10 % below", {"dose_mg": "12.59"}, ["dose_differs"]),
    Row("10 % above", {"dose_mg": "15.4"}, []),
    Row("more than 10 % above", {"dose_mg": "15.41"}, ["dose_differs"]),
    Row("ketamine, 10 % below", {"dose_mg": "32.4"}, [], site=KET),
    Row("ketamine, more than 10 % below", {"dose_mg": "32.39"}, ["dose_differs"], site=KET),
    Row("any dose within the limits, while none is computed", {"dose_mg": "18"}, [], dosed=False),
    Row("per kg", {**PER_KG, "dose_mg_per_kg": "0.2"}, []),
    Row("per kg, too little", {**PER_KG, "dose_mg_per_kg": "0.17"}, ["dose_differs"]),
    Row("a volume of the protocol's strength", {**NO_DOSE, "volume_ml": "2.8"}, []),
    Row("half of that volume", {**NO_DOSE, "volume_ml": "1.4"}, ["dose_differs"]),
    Row("a range", {"dose_is_range": True}, ["dose_range"]),
    # -- the absolute limits
    Row("20 mg is not above the limit", {"dose_mg": "20"}, [], kg="100"),
    Row("above 20 mg", {"dose_mg": "20.01"}, ["above_limit"], kg="100"),
    Row("20 mg, without a protocol", {"dose_mg": "20"}, [], site=None),
    Row("above 20 mg, without a protocol", {"dose_mg": "20.01"}, ["above_limit"], site=None),
    Row("above 20 mg, weight not known", {"dose_mg": "20.01"}, ["above_limit"], site=None, kg=None),
    Row("ketamine, 50 mg", {"dose_mg": "50"}, [], site=KET, kg="100"),
    Row("ketamine, above 50 mg", {"dose_mg": "50.01"}, ["above_limit"], site=KET, kg="100"),
    Row("0.3 mg/kg by weight", {"dose_mg": "15"}, ["dose_differs"], kg="50"),
    Row("above 0.3 mg/kg by weight", {"dose_mg": "15.01"}, ["above_limit_per_kg", "dose_differs"], kg="50"),
    Row("0.3 mg/kg as stated", {**PER_KG, "dose_mg_per_kg": "0.3"}, [], site=None, kg="50"),
    Row("above 0.3 mg/kg", {**PER_KG, "dose_mg_per_kg": "0.301"}, ["above_limit_per_kg"], site=None, kg="50"),
    Row("above 0.3 mg/kg, no weight", {**PER_KG, "dose_mg_per_kg": "0.301"},
        ["above_limit_per_kg"], site=None, kg=None),
    Row("0.3 mg/kg, no weight", {**PER_KG, "dose_mg_per_kg": "0.3"}, [], site=None, kg=None),
    Row("ketamine, 0.75 mg/kg", {"dose_mg": "37.5"}, ["dose_differs"], site=KET, kg="50"),
    Row("ketamine, above it", {"dose_mg": "37.51"}, ["above_limit_per_kg", "dose_differs"], site=KET, kg="50"),
    Row("0.2 mg/kg of a weight above the cap", {**PER_KG, "dose_mg_per_kg": "0.2"},
        ["above_limit", "dose_differs"], kg="115"),
    Row("28 mg (vignette N21)", {"dose_mg": "28"}, ["above_limit", "above_limit_per_kg", "dose_differs"]),
    Row("a rate that gives more than 20 mg", {**NO_DOSE, "rate_mg_per_min": "0.51"},
        ["above_limit"], site=None, kg=None),
    Row("a rate that gives 20 mg", {**NO_DOSE, "rate_mg_per_min": "0.5"}, [], site=None, kg=None),
    Row("a rate per kg above 0.3 mg/kg in all", {**NO_DOSE, "rate_mg_per_kg_per_min": "0.0076"},
        ["above_limit_per_kg"], site=None, kg=None),
    Row("a rate per kg of 0.3 mg/kg in all", {**NO_DOSE, "rate_mg_per_kg_per_min": "0.0075"}, [], site=None, kg=None),
    Row("a rate per kg, up to 60 min: the longest counts",
        {**NO_DOSE, "rate_mg_per_kg_per_min": "0.0051", "longest_minutes": "60"},
        ["above_limit_per_kg"], site=None, kg=None),
    Row("a rate per kg, up to 60 min, of 0.3 mg/kg in all",
        {**NO_DOSE, "rate_mg_per_kg_per_min": "0.005", "longest_minutes": "60"}, [], site=None, kg=None),
    Row("both medicines named, 20 mg", {"medicine": None, "dose_mg": "20"}, [], site=None),
    Row("both medicines named, the strictest limit counts", {"medicine": None, "dose_mg": "20.01"},
        ["above_limit"], site=None),
    Row("both medicines named, 0.3 mg/kg", {**PER_KG, "medicine": None, "dose_mg_per_kg": "0.3"}, [],
        site=None, kg=None),
    Row("both medicines named, above 0.3 mg/kg", {**PER_KG, "medicine": None, "dose_mg_per_kg": "0.31"},
        ["above_limit_per_kg"], site=None, kg=None),
    Row("in mg and per kg: the greater counts", {"dose_mg_per_kg": "0.25"}, ["dose_differs"]),
    Row("in mg and per kg of another weight", {"dose_mg": "14", "dose_mg_per_kg": "0.31"},
        ["above_limit_per_kg"], site=None, kg="40"),
    Row("in mg above 0.3 mg/kg, beside 0.2 mg/kg: the greater counts", {"dose_mg": "15.01", "dose_mg_per_kg": "0.2"},
        ["above_limit_per_kg"], site=None, kg="50"),
    Row("in mg: the rate says nothing more of the dose", {"rate_mg_per_kg_per_min": "0.008", "strength": None}, [],
        site=None, kg=None),
    Row("per kg: the rate says nothing more of the dose",
        {**PER_KG, "dose_mg_per_kg": "0.2", "rate_mg_per_kg_per_min": "0.008"}, [], site=None, kg=None),
    Row("in mL: the rate says nothing more of the dose",
        {**NO_DOSE, "volume_ml": "2.8", "rate_mg_per_kg_per_min": "0.008"}, [], site=None, kg=None),
    Row("two rates: the greater counts", {**NO_DOSE, "rate_mg_per_min": "0.35", "rate_mg_per_kg_per_min": "0.007"},
        ["above_limit", "dose_differs"]),
    Row("4.2 mL/h of 5 mg/mL for 40 min", {**NO_DOSE, "rate_ml_per_h": "4.2"}, []),
    # -- decimal points and units
    Row("10 times", {"dose_mg": "140"}, ["above_limit", "above_limit_per_kg", "times_too_high"]),
    Row("100 times", {"dose_mg": "1400"}, ["above_limit", "above_limit_per_kg", "times_too_high"]),
    Row("a tenth", {"dose_mg": "1.4"}, ["times_too_low"]),
    Row("a hundredth", {"dose_mg": "0.14"}, ["times_too_low"]),
    Row("micrograms for milligrams", {"dose_mg": "0.014"}, ["times_too_low"]),
    Row("11 times is still 10 times", {"dose_mg": "154"}, ["above_limit", "above_limit_per_kg", "times_too_high"]),
    Row("more than 11 times", {"dose_mg": "154.1"}, ["above_limit", "above_limit_per_kg", "dose_differs"]),
    Row("0.2 mg", {"dose_mg": "0.2"}, ["mg_for_mg_per_kg"]),
    Row("0.2 mg, while no dose is computed", {"dose_mg": "0.2"}, ["mg_for_mg_per_kg"], dosed=False),
    Row("ketamine, 0.5 mg", {"dose_mg": "0.5"}, ["mg_for_mg_per_kg"], site=KET),
    Row("14 mg/kg", {**PER_KG, "dose_mg_per_kg": "14"}, ["above_limit", "above_limit_per_kg", "mg_per_kg_for_mg"]),
    Row("2 mg/kg", {**PER_KG, "dose_mg_per_kg": "2"}, ["above_limit", "above_limit_per_kg", "times_too_high"]),
    # -- medicine and strength
    Row("ketamine at a site with esketamine, at the esketamine dose", {"dose_mg": "14"},
        ["other_medicine", "other_strength"], drafted=KET),
    Row("esketamine at a site with ketamine, at the ketamine dose", {"dose_mg": "36"},
        ["above_limit", "above_limit_per_kg", "other_medicine", "other_strength"], site=KET, drafted=ESK),
    Row("both medicines named", {"medicine": None}, ["medicine_unclear"]),
    Row("25 mg/mL", {"strength": "25"}, ["other_strength"]),
    Row("ketamine 50 mg/mL", {"strength": "50"}, ["other_strength"], site=KET),
    Row("the protocol's volume of 25 mg/mL", {**NO_DOSE, "volume_ml": "2.8", "strength": "25"},
        ["above_limit", "above_limit_per_kg", "dose_differs", "other_strength"]),
    Row("ready to run in the protocol's volume", {"strength": "0.7"}, []),
    Row("ready to run in half of that volume", {"strength": "1.4"}, ["other_strength"]),
    Row("more than one strength", {"strength": None, "unreadable": frozenset({"strength"})}, ["strength_unclear"]),
    Row("more than one strength, one of them taken",
        {"strength": "25", "unreadable": frozenset({"strength"})}, ["strength_unclear"]),
    Row("dose and volume agree", {"volume_ml": "2.8"}, []),
    Row("dose and volume agree within 10 %", {"volume_ml": "3.08"}, []),
    Row("the volume holds more than that", {"volume_ml": "3.09"}, ["strength_error"]),
    Row("a dose per kg and a volume agree", {**PER_KG, "dose_mg_per_kg": "0.2", "volume_ml": "2.9"}, []),
    Row("the volume holds twice the dose per kg", {**PER_KG, "dose_mg_per_kg": "0.2", "volume_ml": "5.8"},
        ["strength_error"]),
    Row("the volume of a weaker product", {"volume_ml": "2.8", "strength": "25"}, ["strength_error", "other_strength"]),
    Row("the same, without a protocol", {"volume_ml": "2.8", "strength": "25"}, ["strength_error"], site=None),
    Row("the volume that runs in is no error", {"volume_ml": "20"}, []),
    Row("a volume that only 25 mg/mL explains", {"volume_ml": "0.56", "strength": None}, ["other_strength"]),
    Row("a volume that 5 mg/mL explains", {"volume_ml": "2.8", "strength": None}, []),
    Row("a rounded volume that 5 mg/mL explains", {"volume_ml": "2.7", "strength": None}, []),
    Row("a label that is nearly right is another one", {"strength": "5.2"}, ["other_strength"]),
    # -- route
    Row("nasal", {"route": "nasal"}, ["not_iv"]),
    Row("epidural", {"route": "neuraxial"}, ["not_iv"]),
    Row("into a muscle", {"route": "other"}, ["not_iv"]),
    Row("no route", {"route": None}, ["not_iv"]),
    Row("nasal, without a protocol", {"route": "nasal"}, [], site=None),
    # -- time
    Row("a little less than 40 min", {"minutes": "39.99"}, ["too_short"]),
    Row("60 min", {"minutes": "60"}, []),
    Row("more than 60 min", {"minutes": "60.01"}, ["too_long"]),
    Row("40 to 60 min", {"longest_minutes": "60"}, []),
    Row("40 to 61 min", {"longest_minutes": "61"}, ["too_long"]),
    Row("no time", NO_TIME, ["no_time"]),
    Row("bolus", {**NO_TIME, "bolus": True}, ["bolus"]),
    Row("0.35 mg/min", {**NO_TIME, "rate_mg_per_min": "0.35"}, []),
    Row("0.36 mg/min", {**NO_TIME, "rate_mg_per_min": "0.36"}, ["too_short"]),
    Row("a rate that takes 60 min", {**NO_TIME, "rate_mg_per_min": "14/60"}, []),
    Row("a rate that takes longer", {**NO_TIME, "rate_mg_per_min": "0.23"}, ["too_long"]),
    Row("per kg: 40 min", {**NO_TIME, "rate_mg_per_kg_per_min": "14/2896"}, []),
    Row("per kg: 0.005 mg/kg/min", {**NO_TIME, "rate_mg_per_kg_per_min": "0.005"}, ["too_short"]),
    Row("dose and rate per kg", {**PER_KG, **NO_TIME, "dose_mg_per_kg": "0.2", "rate_mg_per_kg_per_min": "0.005"}, []),
    Row("dose per kg, rate in mg: 40 min", {**PER_KG, **NO_TIME, "dose_mg_per_kg": "0.2", "rate_mg_per_min": "0.362"},
        []),
    Row("dose per kg, rate in mg: faster", {**PER_KG, **NO_TIME, "dose_mg_per_kg": "0.2", "rate_mg_per_min": "0.363"},
        ["too_short"]),
    Row("30 mL/h of 20 mL", {**NO_TIME, "rate_ml_per_h": "30", "mixed_ml": "20"}, []),
    Row("30.01 mL/h of 20 mL", {**NO_TIME, "rate_ml_per_h": "30.01", "mixed_ml": "20"}, ["too_short"]),
    Row("20 mL/h of 20 mL", {**NO_TIME, "rate_ml_per_h": "20", "mixed_ml": "20"}, []),
    Row("19.99 mL/h of 20 mL", {**NO_TIME, "rate_ml_per_h": "19.99", "mixed_ml": "20"}, ["too_long"]),
    Row("30 mL/h of what is drawn up", {**NO_TIME, "rate_ml_per_h": "30"}, ["too_short"]),
    Row("30 mL/h of nobody knows how much", {**NO_TIME, "rate_ml_per_h": "30", "strength": None}, ["no_time"]),
    Row("4.2 mL/h of what is drawn up", {**NO_TIME, "rate_ml_per_h": "4.2"}, []),
    Row("40 min beside a faster rate: the shorter counts", {"rate_mg_per_min": "0.7"}, ["too_short"]),
    Row("90 min beside a rate of 40 min: the shorter counts", {"minutes": "90", "rate_mg_per_min": "0.35"}, []),
    Row("up to 90 min beside a rate of 40 min", {"longest_minutes": "90", "rate_mg_per_min": "0.35"}, []),
    # -- no total
    Row("no dose at all (vignette V25)", {**NO_DOSE, **NO_TIME}, ["no_total", "no_time"]),
    Row("per kg, weight not known", {**PER_KG, "dose_mg_per_kg": "0.2"}, ["no_total"], kg=None),
    Row("per kg and a volume, weight not known", {**PER_KG, "dose_mg_per_kg": "0.2", "volume_ml": "2.8"}, ["no_total"],
        kg=None),
    Row("per kg and a rate, weight not known", {**PER_KG, "dose_mg_per_kg": "0.2", "rate_mg_per_min": "0.35"},
        ["no_total"], kg=None),
    Row("dose and rate per kg, weight not known",
        {**PER_KG, **NO_TIME, "dose_mg_per_kg": "0.2", "rate_mg_per_kg_per_min": "0.005"}, ["no_total"], kg=None),
    Row("30 mL/h for 40 min of nobody knows what", {**NO_DOSE, "rate_ml_per_h": "30", "strength": None}, ["no_total"]),
    Row("a rate and no time", {**NO_DOSE, **NO_TIME, "rate_mg_per_min": "0.35"}, ["no_total", "no_time"]),
    Row("a rate per kg and no time", {**NO_DOSE, **NO_TIME, "rate_mg_per_kg_per_min": "0.005"},
        ["no_total", "no_time"]),
    Row("a rate and its time", {**NO_DOSE, "rate_mg_per_min": "0.35"}, []),
    Row("a rate and up to 60 min", {**NO_DOSE, "rate_mg_per_min": "0.35", "longest_minutes": "60"},
        ["above_limit", "dose_differs"]),
    Row("a rate per kg and its time", {**NO_DOSE, "rate_mg_per_kg_per_min": "0.005"}, []),
    Row("30 mL/h of 5 mg/mL for 40 min", {**NO_DOSE, "rate_ml_per_h": "30"},
        ["above_limit", "above_limit_per_kg", "dose_differs"]),
    Row("30 mL/h of a mixture whose dose nobody says", {**NO_DOSE, "rate_ml_per_h": "30", "mixed_ml": "20"},
        ["no_total"]),
    # -- repeats, other orders, monitoring
    Row("two doses", {"repeats": 2}, ["repeats"]),
    Row("as needed", {"repeatable": True}, ["repeatable"]),
    Row("another active order", {}, ["second_order"], call={"duplicate_active": True}),
    Row("no monitoring", {}, ["no_monitoring"], call={"monitoring": False}),
    Row("20 min without monitoring (vignette N29)", {"minutes": "20"}, ["too_short", "no_monitoring"],
        call={"monitoring": False}),
    Row("without a protocol nothing but the limits counts",
        {**NO_DOSE, **NO_TIME, "route": None, "repeats": 5, "bolus": True, "medicine": None}, [],
        site=None, call={"monitoring": False, "duplicate_active": True}),
    # -- none of our business
    Row("for another reason", {"for_prevention": False, "dose_mg": "200"}, [], call={"monitoring": False}),
    Row("not selected", {"selected": False, "dose_mg": "200"}, [], call={"monitoring": False}),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_drafted_order_meets_exactly_these_departures(row: Row) -> None:
    assert ids(row.found()) == row.finds


def test_the_table_is_long_enough_and_tells_each_story_once() -> None:
    assert len(TABLE) >= 60
    assert len({row.story for row in TABLE}) == len(TABLE)


def test_every_departure_is_met_in_the_table() -> None:
    assert {id_ for row in TABLE for id_ in row.finds} == set(get_args(DepartureId))


@pytest.mark.parametrize(("repeats", "found"), [(1, []), (2, []), (3, ["repeats"])])
def test_where_two_doses_are_allowed_one_is_not_too_few(repeats: int, found: list[str]) -> None:
    order, kg = replace(RIGHT[ESK], repeats=repeats), Decimal(WEIGHT)
    table = known().order_check.model_copy(update={"most_repeats": 2})
    said = check(
        (order,), dose=computed(ESK, WEIGHT), protocol=protocol_of(ESK), weight_kg=kg, monitoring=True, table=table
    )
    assert ids(said) == found


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_only_an_absolute_limit_is_critical(row: Row) -> None:
    for departure in row.found():
        assert departure.critical is (departure.id in {"above_limit", "above_limit_per_kg", "strength_error"})


@pytest.mark.parametrize(
    ("differs", "mg", "minutes"),
    [
        ({**PER_KG, "dose_mg_per_kg": "0.2"}, "14.48", "40"),
        ({**NO_DOSE, "volume_ml": "2.8"}, "14", "40"),
        ({**NO_DOSE, "rate_mg_per_min": "0.35"}, "14", "40"),
        ({**NO_DOSE, "rate_mg_per_kg_per_min": "0.005"}, "14.48", "40"),
        ({**NO_DOSE, "rate_ml_per_h": "4.2"}, "14", "40"),
        ({**NO_DOSE, "rate_ml_per_h": "4.2", "longest_minutes": "60"}, "21", "40"),
        ({**NO_TIME, "rate_mg_per_min": "0.35"}, "14", "40"),
        ({**NO_TIME, "rate_mg_per_kg_per_min": "0.005"}, "14", "14000/362"),
        ({**PER_KG, **NO_TIME, "dose_mg_per_kg": "0.2", "rate_mg_per_kg_per_min": "0.0052"}, "14.48", "500/13"),
        ({**NO_TIME, "rate_ml_per_h": "4.2"}, "14", "40"),
        ({**NO_TIME, "rate_ml_per_h": "4.2", "strength": None, "volume_ml": "2.8"}, "14", "40"),
        ({**NO_TIME, "rate_ml_per_h": "30", "mixed_ml": "20"}, "14", "40"),
    ],
)
def test_the_amounts_in_an_order_come_to_exactly_this(differs: Mapping[str, Any], mg: str, minutes: str) -> None:
    """The table above is too coarse for it: what is wrong by less than a tenth passes there."""
    order = Row("", differs, []).order
    kg = Fraction(WEIGHT)
    assert (total_dose(order, kg), infusion_minutes(order, kg)) == (Fraction(mg), Fraction(minutes))


# ---- Several orders


def test_a_second_order_in_the_same_call_is_named_once_whatever_its_reason() -> None:
    other = replace(RIGHT[KET], reference="MedicationRequest/two", for_prevention=False)
    assert ids(departures(RIGHT[ESK], other)) == ["second_order"]


def test_a_second_order_that_is_not_selected_still_counts() -> None:
    other = replace(RIGHT[ESK], reference="MedicationRequest/two", selected=False)
    assert ids(departures(RIGHT[ESK], other)) == ["second_order"]


def test_two_orders_for_prevention_are_both_checked_and_each_departure_says_whose_it_is() -> None:
    late = replace(RIGHT[ESK], reference="MedicationRequest/two", minutes=Fraction(90))
    much = replace(RIGHT[ESK], dose_mg=Fraction(28), dose_mg_per_kg=None)
    found = departures(much, late)
    assert [(d.id, d.reference) for d in found] == [
        ("above_limit", "MedicationRequest/one"),
        ("above_limit_per_kg", "MedicationRequest/one"),
        ("dose_differs", "MedicationRequest/one"),
        ("too_long", "MedicationRequest/two"),
        ("second_order", "MedicationRequest/one"),
    ]


def test_no_order_no_departure() -> None:
    table = known().order_check
    quiet = check((), dose=None, protocol=protocol_of(ESK), weight_kg=None, monitoring=False, table=table)
    assert quiet == ()


@pytest.mark.parametrize("kg", [Decimal(0), Decimal(-70), 0])
def test_a_weight_that_is_none_is_not_divided_by(kg: Decimal) -> None:
    order = replace(RIGHT[ESK], dose_mg=None, dose_mg_per_kg=Fraction("0.2"), rate_mg_per_kg_per_min=Fraction("0.005"))
    found = check(
        (order,), dose=None, protocol=protocol_of(ESK), weight_kg=kg, monitoring=True, table=known().order_check
    )
    assert ids(found) == ["no_total"]


@pytest.mark.parametrize("kg", [Decimal("0.001"), Decimal(1), 1])
def test_any_weight_that_is_one_is_reckoned_with(kg: Decimal) -> None:
    order = replace(RIGHT[ESK], dose_mg=None, dose_mg_per_kg=Fraction("0.2"))
    found = check(
        (order,), dose=None, protocol=protocol_of(ESK), weight_kg=kg, monitoring=True, table=known().order_check
    )
    assert found == ()


# ---- Words


def words(row_differs: Mapping[str, Any], **call: Any) -> list[tuple[str, str, str]]:
    row = Row("", row_differs, [], **call)
    return [(d.what, d.drafted, d.expected) for d in row.found()]


@pytest.mark.parametrize(
    ("differs", "call", "expected"),
    [
        ({"dose_mg": "28"}, {}, [
            ("dose", "28 mg", "at most 20 mg"),
            ("dose per kg", "0.387 mg/kg", "at most 0.3 mg/kg"),
            ("dose", "28 mg", "14 mg"),
        ]),
        ({"dose_mg": "1.4"}, {}, [("dose", "1.4 mg, computed dose divided by 10", "14 mg")]),
        ({"dose_mg": "360"}, {"site": KET}, [
            ("dose", "360 mg", "at most 50 mg"),
            ("dose per kg", "4.973 mg/kg", "at most 0.75 mg/kg"),
            ("dose", "360 mg, 10 times the computed dose", "36 mg"),
        ]),
        ({**PER_KG, "dose_mg_per_kg": "0.15"}, {}, [("dose", "0.15 mg/kg = 10.86 mg", "14 mg")]),
        ({**PER_KG, "dose_mg_per_kg": "0.2"}, {"kg": None}, [
            ("total dose", "0.2 mg/kg, weight not known", "a computed dose"),
        ]),
        ({**NO_DOSE, "strength": None, "volume_ml": "2.8"}, {}, [("total dose", "2.8 mL", "14 mg")]),
        (NO_DOSE, {}, [("total dose", "not stated", "14 mg")]),
        ({**NO_DOSE, "unreadable": frozenset({"dose"})}, {}, [("total dose", "not readable", "14 mg")]),
        ({**NO_DOSE, "unreadable": frozenset({"rate"})}, {}, [("total dose", "not readable", "14 mg")]),
        (NO_TIME, {}, [("infusion time", "not stated", "40 to 60 min")]),
        ({**NO_TIME, "unreadable": frozenset({"time"})}, {}, [("infusion time", "not readable", "40 to 60 min")]),
        ({**NO_TIME, "unreadable": frozenset({"rate"})}, {}, [("infusion time", "not readable", "40 to 60 min")]),
        ({"minutes": "20"}, {}, [("infusion time", "20 min", "40 to 60 min")]),
        ({"longest_minutes": "90"}, {}, [("infusion time", "90 min", "40 to 60 min")]),
        ({"minutes": "20", "longest_minutes": "90"}, {}, [("infusion time", "20 min", "40 to 60 min")]),
        ({"route": "neuraxial"}, {}, [("route", "neuraxial", "intravenous")]),
        ({"strength": None}, {"site": KET, "drafted": ESK, "dosed": False}, [("medicine", "esketamine", "ketamine")]),
        ({"route": None}, {}, [("route", "not stated", "intravenous")]),
        ({"repeats": 3}, {}, [("number of doses", "3", "at most 1")]),
        ({"strength": "25"}, {}, [("strength", "25 mg/mL", "5 mg/mL")]),
        ({"strength": None, "volume_ml": "0.56"}, {}, [("strength", "25 mg/mL", "5 mg/mL")]),
        ({"strength": None, "volume_ml": "0.57"}, {}, [("strength", "24.562 mg/mL", "5 mg/mL")]),
        ({"dose_mg_per_kg": "0.25"}, {}, [("dose", "18.1 mg", "14 mg")]),
        ({"volume_ml": "2.8", "strength": "25"}, {"site": None}, [
            ("strength", "2.8 mL of 25 mg/mL hold 70 mg, not 14 mg", "equal"),
        ]),
    ],
)  # fmt: skip
def test_a_departure_says_what_the_draft_says_and_what_was_expected(
    differs: Mapping[str, Any], call: Mapping[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    assert words(differs, **call) == expected


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_no_line_of_the_card_is_empty_or_holds_a_slot(row: Row) -> None:
    for departure in row.found():
        for text in (departure.what, departure.says, departure.drafted, departure.expected):
            assert text.strip()
            assert "$" not in text
            assert "None" not in text


def test_without_a_computed_dose_none_is_named() -> None:
    for row in TABLE:
        for departure in replace(row, dosed=False).found():
            if not departure.critical and departure.what in {"dose", "total dose"}:
                assert departure.expected in {"a computed dose", "one dose"}


def _shipped() -> dict[str, Any]:
    folder = Path(cds_service.knowledge.__file__).parent
    return tomllib.loads((folder / "tables" / "order_check.toml").read_text(encoding="utf-8"))


def test_what_a_draft_does_not_say_is_called_not_stated_wherever_the_words_ask_for_it() -> None:
    asked = ("route", "time", "per_kg", "times", "strength", "volume", "by_volume", "dose")
    table = _shipped()
    table["words"]["departure"]["no_total"]["drafted"] = "; ".join(f"${slot}" for slot in asked)
    silent = DraftedOrder("MedicationRequest/one", ESK, None, True)
    found = check(
        (silent,),
        dose=None,
        protocol=protocol_of(ESK),
        weight_kg=None,
        monitoring=True,
        table=OrderCheckTable.model_validate(table),
    )
    (unsaid,) = (departure.drafted for departure in found if departure.id == "no_total")
    assert unsaid.split("; ") == ["not stated"] * len(asked)
    assert silent.repeats == 1  # whoever says nothing of it wants one dose


def test_without_a_protocol_nothing_is_said_to_be_its_own() -> None:
    table = _shipped()
    table["words"]["departure"]["above_limit"]["expected"] = "$medicine; $expected_medicine; $expected_strength"
    much = replace(RIGHT[ESK], medicine=None, dose_mg=Fraction(28))
    found = check(
        (much,),
        dose=None,
        protocol=None,
        weight_kg=None,
        monitoring=True,
        table=OrderCheckTable.model_validate(table),
    )
    assert [departure.expected for departure in found] == ["not clear; not stated; not stated"]


@pytest.mark.parametrize("medicines", [[], [ESK], [KET], [ESK, ESK], [ESK, KET, KET]])
def test_a_medicine_without_one_limit_of_its_own_is_refused_at_start(medicines: list[str]) -> None:
    table = _shipped()
    rows = {row["medicine"]: row for row in table["absolute"]}
    table["absolute"] = [rows[medicine] for medicine in medicines]
    with pytest.raises(ValidationError, match="absolute: esketamine and ketamine have one limit each"):
        OrderCheckTable.model_validate(table)


def test_a_departure_without_words_is_refused_at_start() -> None:
    table = _shipped()
    del table["words"]["departure"]["bolus"]
    with pytest.raises(ValidationError, match="no words for: bolus"):
        OrderCheckTable.model_validate(table)


def test_a_slot_that_nobody_fills_is_refused_at_start() -> None:
    table = _shipped()
    table["words"]["departure"]["bolus"]["drafted"] = "a $bolus"
    with pytest.raises(ValidationError, match="nobody says: bolus"):
        OrderCheckTable.model_validate(table)


def test_a_departure_or_a_route_that_does_not_exist_is_refused_at_start() -> None:
    for name, value in (
        ("departure", {"what": "it", "says": "it", "drafted": "it", "expected": "it"}),
        ("route", "it"),
    ):
        table = _shipped()
        table["words"][name]["sideways"] = value
        with pytest.raises(ValidationError):
            OrderCheckTable.model_validate(table)


# ---- Properties

AMOUNTS = (
    "dose_mg",
    "dose_mg_per_kg",
    "minutes",
    "strength",
    "volume_ml",
    "mixed_ml",
    "longest_minutes",
    "rate_mg_per_min",
    "rate_mg_per_kg_per_min",
    "rate_ml_per_h",
)
amounts = st.none() | st.integers(1, 2_000_000).map(lambda thousandths: Fraction(thousandths, 1000))
orders = st.builds(
    DraftedOrder,
    reference=st.sampled_from(["MedicationRequest/one", "MedicationRequest/two"]),
    medicine=st.sampled_from([ESK, KET, None]),
    route=st.sampled_from(["iv", "nasal", "neuraxial", "other", None]),
    for_prevention=st.booleans(),
    selected=st.booleans(),
    bolus=st.booleans(),
    repeats=st.integers(1, 5),
    repeatable=st.booleans(),
    dose_is_range=st.booleans(),
    unreadable=st.frozensets(st.sampled_from(["dose", "rate", "time", "strength"])),
    **dict.fromkeys(AMOUNTS, amounts),
)
weights = st.none() | st.sampled_from(["40", "57.3", WEIGHT, "100", "119.9"])
sites = st.sampled_from([ESK, KET, None])


def critical(found: tuple[Departure, ...]) -> set[str]:
    return {departure.id for departure in found if departure.critical}


def half(amount: Fraction | None) -> Fraction | None:
    return None if amount is None else amount / 2


@thoroughly
@given(orders, sites, weights)
def test_halving_the_dose_never_adds_a_critical_departure(
    order: DraftedOrder, site: str | None, kg: str | None
) -> None:
    halved = replace(
        order,
        dose_mg=half(order.dose_mg),
        dose_mg_per_kg=half(order.dose_mg_per_kg),
        volume_ml=half(order.volume_ml),
    )
    assert critical(departures(halved, site=site, kg=kg)) <= critical(departures(order, site=site, kg=kg))


@settings(thoroughly, max_examples=500)
@given(orders, orders, sites, weights, st.booleans(), st.booleans())
def test_a_protocol_adds_departures_and_takes_no_limit_away(
    one: DraftedOrder, two: DraftedOrder, site: str | None, kg: str | None, dosed: bool, monitoring: bool
) -> None:
    found = departures(one, two, site=site, kg=kg, dosed=dosed, monitoring=monitoring)
    bare = departures(one, two, site=None, kg=kg, monitoring=monitoring)
    assert {"above_limit", "above_limit_per_kg"} & critical(found) == critical(bare) - {"strength_error"}
    assert all(departure.critical for departure in bare)
    watched = [order for order in (one, two) if order.for_prevention and order.selected]
    if not watched:
        assert found == ()


@st.composite
def orders_near_a_limit(draw: st.DrawFn) -> DraftedOrder:
    """A dose, a dose per kg of the weight and a time, each a hair away from where a departure begins."""
    hair = draw(st.integers(-9, 9)) * Fraction(1, 3 * 10 ** draw(st.integers(1, 8)))
    mg = draw(st.sampled_from([Fraction(20), Fraction(50), Fraction("0.3") * 72, Fraction("15.4"), Fraction("12.6")]))
    minutes = draw(st.sampled_from([Fraction(40), Fraction(60)])) + draw(st.sampled_from([hair, -hair]))
    per_kg = draw(st.sampled_from([Fraction("0.3"), Fraction("0.75"), Fraction("0.2")])) + hair
    base = RIGHT[draw(st.sampled_from([ESK, KET]))]
    doses = draw(st.sampled_from([{"dose_mg": mg + hair}, {"dose_mg": None, "dose_mg_per_kg": per_kg}]))
    return replace(base, minutes=minutes, strength=None, **doses)


def shown_in(text: str) -> Fraction:
    """The last number of the words: of "0.2 mg/kg = 14 mg" the 14."""
    return Fraction(re.findall(r"\d+(?:\.\d+)?", text)[-1])


@thoroughly
@given(orders_near_a_limit(), sites, st.sampled_from(["72", WEIGHT, "66.6", "100"]))
@example(replace(RIGHT[ESK], dose_mg=Fraction("20.0004")), ESK, "100")
@example(replace(RIGHT[ESK], dose_mg=Fraction(20)), ESK, "66.65")
@example(replace(RIGHT[ESK], minutes=Fraction("39.9998")), ESK, WEIGHT)
@example(replace(RIGHT[ESK], minutes=Fraction("60.0003"), longest_minutes=Fraction("60.0003")), ESK, WEIGHT)
def test_what_departs_is_never_shown_as_if_it_did_not(order: DraftedOrder, site: str | None, kg: str) -> None:
    for found in departures(order, site=site, kg=kg):
        drafted, wanted = found.drafted, found.expected
        match found.id:
            case "above_limit" | "above_limit_per_kg":
                assert shown_in(drafted) > shown_in(wanted), found
            case "too_short":
                assert shown_in(drafted) < 40, found
            case "too_long":
                assert shown_in(drafted) > 60, found
            case "dose_differs" | "times_too_high" | "times_too_low" if wanted.endswith(" mg"):
                shown, computed_mg = shown_in(drafted.partition(",")[0]), shown_in(wanted)
                assert abs(shown - computed_mg) * 10 > computed_mg, found


@pytest.mark.parametrize(
    ("differs", "kg", "id_", "drafted"),
    [
        ({"dose_mg": "20"}, "66.6", "above_limit_per_kg", "0.301 mg/kg"),
        ({"dose_mg": "20"}, "66.66", "above_limit_per_kg", "0.301 mg/kg"),
        ({"dose_mg": "20.0004"}, "100", "above_limit", "20.001 mg"),
        ({"dose_mg": "20.1"}, "100", "above_limit", "20.1 mg"),
        ({**PER_KG, "dose_mg_per_kg": "0.3000004"}, "50", "above_limit_per_kg", "0.301 mg/kg"),
        ({"dose_mg": "15.4001"}, WEIGHT, "dose_differs", "15.401 mg"),
        ({"dose_mg": "12.5999"}, WEIGHT, "dose_differs", "12.599 mg"),
        ({"dose_mg": "19.9996"}, WEIGHT, "dose_differs", "19.9996 mg"),
        ({"dose_mg": "0.0004"}, WEIGHT, "dose_differs", "0.0004 mg"),
        ({"minutes": "39.9998"}, WEIGHT, "too_short", "39.9 min"),
        ({"longest_minutes": "60.0003"}, WEIGHT, "too_long", "60.1 min"),
        ({**NO_TIME, "rate_mg_per_min": "0.36"}, WEIGHT, "too_short", "38.8 min"),
        ({**NO_TIME, "rate_mg_per_min": "0.22"}, WEIGHT, "too_long", "63.7 min"),
        ({"strength": "5.0001"}, WEIGHT, "other_strength", "5.001 mg/mL"),
    ],
)
def test_a_number_is_shortened_away_from_its_limit(differs: Mapping[str, Any], kg: str, id_: str, drafted: str) -> None:
    found = {departure.id: departure.drafted for departure in Row("", differs, [], kg=kg).found()}
    assert found[id_] == drafted


@settings(thoroughly, max_examples=500)
@given(orders, weights)
def test_the_total_and_the_time_follow_the_plain_arithmetic(order: DraftedOrder, kg: str | None) -> None:
    weight = None if kg is None else Fraction(kg)
    total, minutes = total_dose(order, weight), infusion_minutes(order, weight)
    if order.dose_mg is not None:
        per_kg = order.dose_mg_per_kg * weight if order.dose_mg_per_kg is not None and weight is not None else 0
        assert total == max(order.dose_mg, per_kg)
    if order.minutes is not None:
        assert minutes is not None
        assert minutes <= order.minutes
    if minutes is not None:
        assert minutes > 0


# ---- Odd JSON

MEDICINE = {"text": "Esketamine 5 mg/mL"}
NAMES = [
    "resourceType", "id", "status", "doNotPerform", "medicationCodeableConcept", "medicationReference", "contained",
    "dosageInstruction", "doseAndRate", "type", "doseQuantity", "doseRange", "rateRatio", "rateRange", "rateQuantity",
    "numerator", "denominator", "high", "low", "value", "unit", "code", "system", "coding", "text", "display", "timing",
    "repeat", "duration", "durationMax", "durationUnit", "count", "countMax", "frequency", "period", "periodUnit",
    "event", "boundsDuration", "route", "method", "asNeededBoolean", "asNeededCodeableConcept", "reasonCode",
    "instantiatesUri", "ingredient", "strength", "itemCodeableConcept", "reference", "orderDetail",
]  # fmt: skip
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.decimals(allow_nan=False)
    | st.floats()
    | st.sampled_from(
        ["mg", "mL", "mg/kg", "min", "h", "mL/h", "{spray}", "1", "0", "-3", "#", "#ampoule", "Medication/"]
    )
    | st.sampled_from(
        ["14 mg IV over 40 min", "made up to 0 mL", "10 mg/0 mL", "over 1,000 min", "no bolus", "IV push"]
    )
    | st.text(max_size=12)
)
odd = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=15,
)
dosages = st.fixed_dictionaries(
    {},
    optional={
        "text": odd,
        "route": odd,
        "method": odd,
        "asNeededBoolean": odd,
        "doseQuantity": odd,
        "timing": odd | st.fixed_dictionaries({"repeat": st.dictionaries(st.sampled_from(NAMES), leaves, max_size=5)}),
        "doseAndRate": odd
        | st.lists(
            st.dictionaries(
                st.sampled_from(["type", "doseQuantity", "doseRange", "rateRatio", "rateRange", "rateQuantity"]),
                odd | st.fixed_dictionaries({"value": leaves, "unit": leaves}),
                max_size=4,
            ),
            max_size=3,
        ),
    },
)
drafts = st.builds(
    lambda more, dosage: (
        {"resourceType": "MedicationRequest", "medicationCodeableConcept": MEDICINE}
        | more
        | {"dosageInstruction": dosage}
    ),
    st.dictionaries(st.sampled_from(NAMES[1:]), odd, max_size=6),
    odd | st.lists(dosages, max_size=3),
)


@settings(thoroughly, max_examples=500)
@given(st.lists(drafts, max_size=3), st.lists(st.dictionaries(st.sampled_from(NAMES), odd, max_size=5), max_size=3))
def test_odd_json_is_never_fatal(drafted: list[dict[str, Any]], strays: list[dict[str, Any]]) -> None:
    knowledge = known()
    services = tuple({**stray, "resourceType": "ServiceRequest"} for stray in strays)
    medications = tuple({**stray, "resourceType": "Medication"} for stray in strays)
    chart = Chart(
        patient={"resourceType": "Patient", "id": "1"},
        encounter=None,
        by_type={"ServiceRequest": services, "Medication": medications, "MedicationRequest": tuple(drafted)},
        had={},
        drafts=(*drafted, *services, *medications),
        selected=frozenset({"MedicationRequest"}),
        set_aside=(),
    )
    read = read_drafted(chart, knowledge, Units(knowledge.units))
    asked = tuple(replace(order, for_prevention=True, selected=True) for order in read)
    monitored = monitoring_ordered(chart, knowledge)
    for site in (ESK, KET, None):
        found = check(
            asked,
            dose=computed(site, WEIGHT) if site else None,
            protocol=protocol_of(site) if site else None,
            weight_kg=Decimal(WEIGHT),
            monitoring=monitored,
            table=knowledge.order_check,
            duplicate_active=another_active(chart, knowledge),
        )
        assert all(departure.drafted and departure.expected for departure in found)
    assert all("|" in code for one in already_ordered(chart) for code in one.codes)
    for order in read:
        amounts_read = (order.dose_mg, order.dose_mg_per_kg, order.volume_ml, order.minutes, order.strength)
        assert all(amount is None or amount > 0 for amount in amounts_read)
        assert order.repeats >= 1
