"""What a drafted order of ketamine or esketamine says, in whichever way an EHR writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from ehr import request_for
from encoding import Case, read_cases

from cds_service.advisor import Advisor
from cds_service.clinical.order_check import DraftedOrder, check
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.orders import already_ordered, another_active, monitoring_ordered, read_drafted
from cds_service.ehr.units import Units
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import Knowledge

Json = dict[str, Any]
ReadOne = Callable[..., DraftedOrder]

UCUM = "http://unitsofmeasure.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
RATE_TYPE = "http://terminology.hl7.org/CodeSystem/dose-rate-type"
ESKETAMINE = {"coding": [{"system": RXNORM, "code": "2119365"}], "text": "Esketamine 5 mg/mL"}
KETAMINE = {"coding": [{"system": RXNORM, "code": "6130"}], "text": "Ketamine"}
PREVENTION = [{"text": "Prevention of postpartum depression"}]


def quantity(value: object, unit: str) -> Json:
    return {"value": Decimal(str(value)), "unit": unit, "system": UCUM, "code": unit}


def amount(kind: str, **what: Json) -> Json:
    """A doseAndRate entry of a type, as Epic sends them."""
    return {"type": {"coding": [{"system": RATE_TYPE, "code": kind}], "text": kind}, **what}


def order(*dosages: Json, **more: Any) -> Json:
    return {
        "resourceType": "MedicationRequest",
        "id": "one",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
        "medicationCodeableConcept": ESKETAMINE,
        "dosageInstruction": list(dosages),
        "reasonCode": PREVENTION,
    } | more


def chart(*drafts: Json, selected: frozenset[str] | None = None, **listed: list[Json]) -> Chart:
    picked = frozenset(f"{d['resourceType']}/{d['id']}" for d in drafts if "id" in d) if selected is None else selected
    return Chart(
        patient={"resourceType": "Patient", "id": "1"},
        encounter=None,
        by_type={kind: tuple(rows) for kind, rows in listed.items()},
        had={},
        drafts=drafts,
        selected=picked,
        set_aside=(),
    )


@pytest.fixture(scope="module")
def read_one(knowledge: Knowledge) -> ReadOne:
    """The one drafted order of a call."""
    units = Units(knowledge.units)

    def read(draft: Json, *others: Json, **listed: list[Json]) -> DraftedOrder:
        (only,) = read_drafted(chart(draft, *others, **listed), knowledge, units)
        return only

    return read


# ---- The dose

DOSES = [
    ("mg", {"doseQuantity": quantity(14, "mg")}, "14", None),
    ("micrograms", {"doseQuantity": quantity(14000, "ug")}, "14", None),
    ("grams", {"doseQuantity": quantity("0.014", "g")}, "14", None),
    ("mg, as a word without a code", {"doseQuantity": {"value": 14, "unit": "Milligrams"}}, "14", None),
    ("mcg in the code", {"doseQuantity": {"value": 14000, "code": "mcg"}}, "14", None),
    ("a number written as text", {"doseQuantity": {"value": "14.0", "unit": "mg"}}, "14", None),
    ("mL of the product", {"doseQuantity": quantity("2.8", "mL")}, "14", None),
    ("a range: its high end", {"doseRange": {"low": quantity(7, "mg"), "high": quantity(14, "mg")}}, "14", None),
    ("mg/kg", {"doseQuantity": quantity("0.2", "mg/kg")}, None, "0.2"),
    ("mcg/kg", {"doseQuantity": {"value": 200, "unit": "mcg/kg"}}, None, "0.2"),
    ("a range per kg", {"doseRange": {"high": quantity("0.2", "mg/kg")}}, None, "0.2"),
]


@pytest.mark.parametrize(("dose", "mg", "mg_per_kg"), [row[1:] for row in DOSES], ids=[row[0] for row in DOSES])
def test_a_dose_is_read_exactly(read_one: ReadOne, dose: Json, mg: str | None, mg_per_kg: str | None) -> None:
    read = read_one(order({"doseAndRate": [dose]}))
    assert read.dose_mg == (Fraction(mg) if mg else None)
    assert read.dose_mg_per_kg == (Fraction(mg_per_kg) if mg_per_kg else None)
    assert read.dose_is_range is ("doseRange" in dose)
    assert not read.unreadable


@pytest.mark.parametrize(
    "dose",
    [
        {"doseQuantity": quantity(2, "{spray}")},
        {"doseQuantity": {"value": 14}},
        {"doseQuantity": quantity(0, "mg")},
        {"doseQuantity": quantity(-14, "mg")},
        {"doseQuantity": quantity("1E+400", "mg")},
        {"doseQuantity": {**quantity(14, "mg"), "comparator": "<"}},
        {"doseQuantity": "14 mg"},
        {"doseRange": {"low": quantity(14, "mg")}},
    ],
)
def test_a_dose_that_cannot_be_read_is_unknown_and_marked(read_one: ReadOne, dose: Json) -> None:
    read = read_one(order({"doseAndRate": [dose], "text": "14 mg"}))
    assert read.dose_mg is None
    assert "dose" in read.unreadable


def test_no_dose_is_not_an_unreadable_dose(read_one: ReadOne) -> None:
    read = read_one(order({"route": {"text": "IV"}}))
    assert (read.dose_mg, read.minutes, read.unreadable) == (None, None, frozenset())


def test_a_volume_without_a_strength_is_no_dose(read_one: ReadOne) -> None:
    read = read_one(
        order({"doseAndRate": [{"doseQuantity": quantity("2.8", "mL")}]}, medicationCodeableConcept=KETAMINE)
    )
    assert (read.dose_mg, read.volume_ml) == (None, Fraction("2.8"))


# ---- Which entry speaks

ORDERED = amount("ordered", doseQuantity=quantity("0.2", "mg/kg"))
CALCULATED = amount("calculated", doseQuantity=quantity("14.48", "mg"))
ADMIN = amount("admin-amount", doseQuantity=quantity("2.9", "mL"))


def test_of_epics_three_entries_the_ordered_one_speaks(read_one: ReadOne) -> None:
    read = read_one(order({"doseAndRate": [CALCULATED, ADMIN, ORDERED]}))
    assert (read.dose_mg, read.dose_mg_per_kg) == (None, Fraction("0.2"))
    assert read.volume_ml == Fraction("2.9")


@pytest.mark.parametrize("entries", [[CALCULATED, ADMIN], [ADMIN, CALCULATED]])
def test_without_it_the_calculated_one_speaks(read_one: ReadOne, entries: list[Json]) -> None:
    assert read_one(order({"doseAndRate": entries})).dose_mg == Fraction("14.48")


def test_an_entry_without_a_type_speaks_before_one_of_another_type(read_one: ReadOne) -> None:
    read = read_one(order({"doseAndRate": [ADMIN, {"doseQuantity": quantity(14, "mg")}]}))
    assert read.dose_mg == 14


def test_the_amount_to_give_speaks_only_when_it_is_alone(read_one: ReadOne) -> None:
    assert read_one(order({"doseAndRate": [ADMIN]})).dose_mg == Fraction("14.5")


def test_of_several_entries_that_speak_the_higher_dose_counts(read_one: ReadOne) -> None:
    entries = [amount("ordered", doseQuantity=quantity(mg, "mg")) for mg in (7, 14, 10)]
    assert read_one(order({"doseAndRate": entries})).dose_mg == 14


def test_of_several_volumes_beside_it_the_larger_counts(read_one: ReadOne) -> None:
    volumes = [amount("admin-amount", doseQuantity=quantity(ml, "mL")) for ml in (1, 3, 2)]
    assert read_one(order({"doseAndRate": [ORDERED, *volumes]})).volume_ml == 3


def test_a_type_may_be_told_in_words(read_one: ReadOne) -> None:
    entries = [CALCULATED, {"type": {"text": "Ordered"}, "doseQuantity": quantity(14, "mg")}]
    assert read_one(order({"doseAndRate": entries})).dose_mg == 14


def test_dose_and_rate_may_stand_in_different_entries(read_one: ReadOne) -> None:
    rate = amount("calculated", rateQuantity=quantity("0.35", "mg/min"))
    read = read_one(order({"doseAndRate": [rate, amount("ordered", doseQuantity=quantity(14, "mg"))]}))
    assert (read.dose_mg, read.minutes) == (14, 40)


def test_a_dose_in_the_dosage_itself_is_read(read_one: ReadOne) -> None:
    assert read_one(order({"doseQuantity": quantity(14, "mg")})).dose_mg == 14


# ---- Rate and time


def ratio(top: Json, bottom: Json) -> Json:
    return {"rateRatio": {"numerator": top, "denominator": bottom}}


def timed(**repeat: Any) -> Json:
    return {"timing": {"repeat": repeat}}


RATES = [
    ("mg/min", {"rateQuantity": quantity("0.35", "mg/min")}, "40"),
    ("mg/h", {"rateQuantity": quantity(21, "mg/h")}, "40"),
    ("mcg/min", {"rateQuantity": {"value": 350, "unit": "mcg/min"}}, "40"),
    ("mg per 40 min", ratio(quantity(14, "mg"), quantity(40, "min")), "40"),
    ("mg per hour", ratio(quantity(21, "mg"), quantity(1, "h")), "40"),
    ("mg/h over a bare 1", ratio(quantity(21, "mg/h"), {"value": 1}), "40"),
    ("mg/h over nothing", {"rateRatio": {"numerator": quantity(21, "mg/h")}}, "40"),
    ("a range: the faster end", {"rateRange": {"low": quantity(14, "mg/h"), "high": quantity(21, "mg/h")}}, "40"),
    ("mL/h of the product", {"rateQuantity": quantity("4.2", "mL/h")}, "40"),
    ("mL/min of the product", {"rateQuantity": quantity("0.07", "mL/min")}, "40"),
    ("mL per hour of the product", ratio(quantity("4.2", "mL"), quantity(1, "h")), "40"),
    ("the time itself, as a rate", {"rateQuantity": quantity(40, "min")}, "40"),
]


@pytest.mark.parametrize(("rate", "minutes"), [row[1:] for row in RATES], ids=[row[0] for row in RATES])
def test_a_rate_is_turned_into_minutes(read_one: ReadOne, rate: Json, minutes: str) -> None:
    read = read_one(order({"doseAndRate": [{"doseQuantity": quantity(14, "mg"), **rate}]}))
    assert read.minutes == Fraction(minutes)
    assert not read.unreadable


@pytest.mark.parametrize(
    "rate",
    [
        {"rateQuantity": quantity(5, "ug/kg/min")},
        {"rateQuantity": quantity("0.3", "mg/kg/h")},
        {"rateQuantity": quantity(5, "ug/(kg.min)")},
        {"rateQuantity": {"value": 5, "unit": "mcg/kg/min"}},
        ratio(quantity("0.2", "mg/kg"), quantity(40, "min")),
    ],
)
def test_a_rate_per_kg_needs_no_weight_when_the_dose_is_per_kg(read_one: ReadOne, rate: Json) -> None:
    read = read_one(order({"doseAndRate": [{"doseQuantity": quantity("0.2", "mg/kg"), **rate}]}))
    assert read.minutes == 40
    by_weight = read_one(order({"doseAndRate": [{"doseQuantity": quantity(14, "mg"), **rate}]}))
    assert (by_weight.minutes, by_weight.rate_mg_per_kg_per_min) == (None, Fraction("0.005"))


@pytest.mark.parametrize(
    "rate",
    [
        {"rateQuantity": quantity(10, "[drp]/min")},
        {"rateQuantity": quantity(0, "mL/h")},
        {"rateRange": {"low": quantity(21, "mg/h")}},
        ratio(quantity(14, "mg"), quantity(0, "min")),
        ratio(quantity(14, "mg"), quantity(1, "mL")),
        ratio(quantity(21, "mg/h"), {"value": 2}),
        ratio(quantity(21, "mg/h"), quantity(1, "mL")),
        {"rateRatio": {"numerator": quantity(14, "mg")}},
    ],
)
def test_a_rate_that_cannot_be_read_is_unknown_and_marked(read_one: ReadOne, rate: Json) -> None:
    read = read_one(order({"doseAndRate": [{"doseQuantity": quantity(14, "mg"), **rate}]}))
    assert read.minutes is None
    assert "rate" in read.unreadable


@pytest.mark.parametrize(
    ("repeat", "minutes", "longest"),
    [
        ({"duration": 40, "durationUnit": "min"}, "40", None),
        ({"duration": Decimal("0.5"), "durationUnit": "h"}, "30", None),
        ({"duration": 2400, "durationUnit": "s"}, "40", None),
        ({"duration": 40, "durationMax": 60, "durationUnit": "min"}, "40", "60"),
        ({"durationMax": 1, "durationUnit": "h"}, "60", "60"),
    ],
)
def test_a_duration_is_read_in_minutes(read_one: ReadOne, repeat: Json, minutes: str, longest: str | None) -> None:
    read = read_one(order(timed(**repeat)))
    assert read.minutes == Fraction(minutes)
    assert read.longest_minutes == (Fraction(longest) if longest else None)


@pytest.mark.parametrize("repeat", [{"duration": 40}, {"duration": 1, "durationUnit": "mo"}, {"duration": "soon"}])
def test_a_duration_that_cannot_be_read_is_marked(read_one: ReadOne, repeat: Json) -> None:
    read = read_one(order(timed(**repeat)))
    assert (read.minutes, read.unreadable) == (None, frozenset({"time"}))


@pytest.mark.parametrize(("stated", "counted"), [(60, 40), (40, 40), (39, 39)])
def test_when_duration_and_rate_disagree_the_shorter_counts(read_one: ReadOne, stated: int, counted: int) -> None:
    given = {"doseQuantity": quantity(14, "mg"), "rateQuantity": quantity("0.35", "mg/min")}
    read = read_one(order({**timed(duration=stated, durationUnit="min"), "doseAndRate": [given]}))
    assert read.minutes == counted


def test_two_statements_of_the_time_disagree_and_the_shorter_counts(read_one: ReadOne) -> None:
    for stated, as_rate in ((40, 60), (60, 40)):
        given = {"rateQuantity": quantity(as_rate, "min")}
        read = read_one(order({**timed(duration=stated, durationUnit="min"), "doseAndRate": [given]}))
        assert read.minutes == 40


def test_the_text_does_not_mend_what_cannot_be_read(read_one: ReadOne) -> None:
    given = {"doseQuantity": quantity(14, "mg"), "rateQuantity": quantity(10, "[drp]/min")}
    assert read_one(order({"doseAndRate": [given], "text": "at 21 mg/h"})).minutes is None
    assert read_one(order({**timed(duration=40), "text": "over 40 min"})).minutes is None
    assert read_one(order({**timed(duration=30, durationUnit="min"), "text": "over 40 min"})).minutes == 30


def test_the_text_may_tell_a_range_of_times(read_one: ReadOne) -> None:
    read = read_one(order({"text": "14 mg over 40 to 60 min"}))
    assert (read.minutes, read.longest_minutes) == (40, 60)


def test_a_rate_in_ml_runs_the_diluted_volume_that_the_text_names(read_one: ReadOne) -> None:
    given = {"doseQuantity": quantity(14, "mg"), "rateQuantity": quantity(30, "mL/h")}
    assert read_one(order({"doseAndRate": [given], "text": "Made up to 20 mL"})).minutes == 40
    assert read_one(order({"doseAndRate": [given]})).minutes == Fraction("5.6")


def test_the_amount_to_give_may_be_the_diluted_volume(read_one: ReadOne) -> None:
    entries = [
        amount("ordered", doseQuantity=quantity(14, "mg"), rateQuantity=quantity(30, "mL/h")),
        amount("admin-amount", doseQuantity=quantity(20, "mL")),
    ]
    read = read_one(order({**timed(duration=40, durationUnit="min"), "doseAndRate": entries}))
    assert (read.volume_ml, read.mixed_ml, read.minutes) == (None, 20, 40)


# ---- Bolus and repeats


@pytest.mark.parametrize(
    ("dosage", "bolus"),
    [
        ({"text": "14 mg IV push"}, True),
        ({"text": "Give as BOLUS"}, True),
        ({"text": "2 boluses"}, True),
        ({"method": {"text": "IV Push"}}, True),
        ({"method": {"coding": [{"display": "Bolus"}]}}, True),
        ({"text": "No bolus"}, False),
        ({"text": "not as a bolus"}, False),
        ({"text": "infuse slowly"}, False),
        ({"text": "Do not give as a bolus"}, False),
        ({"text": "no IV push"}, False),
        ({"text": "IV push over 40 min"}, True),
        ({"text": "IV push", **timed(duration=40, durationUnit="min")}, True),
        ({"method": {"text": "IV push"}, **timed(duration=40, durationUnit="min")}, True),
        ({"text": "No bolus", **timed(duration=40, durationUnit="min")}, False),
        ({"text": "bolus", "doseAndRate": [{"rateQuantity": quantity(21, "mg/h")}]}, True),
        ({"additionalInstruction": [{"text": "Give as a bolus"}]}, True),
        ({"additionalInstruction": [{"coding": [{"display": "IV push"}]}]}, True),
        ({"additionalInstruction": {"text": "Give as a bolus"}}, True),
        ({"additionalInstruction": [{"text": "Never as a bolus"}]}, False),
        ({"patientInstruction": "You get it as a bolus"}, True),
        ({"additionalInstruction": ["bolus"], "patientInstruction": ["bolus"]}, False),
    ],
)
def test_a_bolus_is_told_in_words_whatever_time_stands_beside_it(read_one: ReadOne, dosage: Json, bolus: bool) -> None:
    assert read_one(order(dosage)).bolus is bolus


@pytest.mark.parametrize(
    ("dosage", "repeats", "repeatable"),
    [
        ({}, 1, False),
        (timed(count=1), 1, False),
        (timed(count=2), 2, False),
        (timed(count=1, countMax=3), 3, False),
        (timed(count=1, frequency=1, period=1, periodUnit="d"), 1, False),
        (timed(frequency=1), 1, False),
        (timed(frequency=2), 2, False),
        (timed(frequency=1, frequencyMax=3), 3, False),
        ({"timing": {"code": {"coding": [{"system": "urn:oid:1.2.3", "code": "ONCE"}], "text": "Once"}}}, 1, False),
        (timed(frequency=1, period=1, periodUnit="d"), 1, True),
        (timed(frequency=1, period=1, periodUnit="d", boundsDuration=quantity(1, "d")), 1, False),
        (timed(frequency=1, period=8, periodUnit="h", boundsDuration=quantity(1, "d")), 3, False),
        (timed(frequency=2, period=1, periodUnit="d", boundsDuration=quantity(25, "h")), 4, False),
        (timed(frequency=1, period=1, periodUnit="wk", boundsDuration=quantity(1, "d")), 1, True),
        (timed(timeOfDay=["08:00:00", "20:00:00"]), 1, True),
        ({"timing": {"event": ["2026-11-23T12:00:00Z"]}}, 1, False),
        ({"timing": {"event": ["2026-11-23", "2026-11-24"]}}, 2, False),
        ({"timing": {"code": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation",
                                          "code": "BID"}]}}}, 1, True),
        ({"asNeededBoolean": True}, 1, True),
        ({"asNeededBoolean": False}, 1, False),
        ({"asNeededCodeableConcept": {"text": "low mood"}}, 1, True),
        (timed(count=0), 1, False),
        (timed(count="many"), 1, False),
    ],
)  # fmt: skip
def test_repeats_are_counted(read_one: ReadOne, dosage: Json, repeats: int, repeatable: bool) -> None:
    read = read_one(order({"doseAndRate": [{"doseQuantity": quantity(14, "mg")}], **dosage}))
    assert (read.repeats, read.repeatable) == (repeats, repeatable)


AGAIN = [
    ("14 mg IV over 40 min daily", "14 mg IV over 40 min, not daily"),
    ("14 mg IV over 40 min BID", "14 mg IV over 40 min, bidirectional pump"),
    ("14 mg IV over 40 min b.i.d.", "14 mg IV over 40 min"),
    ("14 mg q8h", "14 mg q1"),
    ("14 mg q 12 hours", "14 mg over 12 hours"),
    ("14 mg every 24 hours", "14 mg, BP every 5 min"),
    ("14 mg every day", "14 mg on the day of birth"),
    ("14 mg IV over 40 min, repeat once after 2 h", "14 mg IV over 40 min, do not repeat once given"),
    ("14 mg, may be repeated", "14 mg, not to be repeated"),
    ("14 mg, repeat dose after 4 h", "14 mg, no repeat dose"),
    ("14 mg, second dose tomorrow", "14 mg, no second dose"),
    ("14 mg IV over 40 min x 2 doses", "14 mg IV over 40 min x 1 dose"),
    ("14 mg IV x 2", "14 mg IV x 1"),
    ("14 mg IV x2, over 40 min each", "14 mg IV x 40 min"),
    ("2 x 14 mg", "1 x 14 mg"),
    ("14 mg × 3", "14 mg × 1"),
    ("14 mg, 2 doses", "14 mg, 1 dose"),
    ("14 mg IV 3 times", "14 mg IV 1 time"),
    ("14 mg IV for 3 days", "14 mg IV within 3 days of birth"),
    ("14 mg IV PRN", "14 mg IV, not PRN"),
    ("14 mg IV as needed", "14 mg IV, pump needed"),
]


@pytest.mark.parametrize(("more", "one"), AGAIN)
def test_the_words_of_a_dosage_tell_of_more_than_one_dose(read_one: ReadOne, more: str, one: str) -> None:
    for spoken in (more, more.upper()):
        for told in ({"text": spoken}, {"additionalInstruction": [{"text": spoken}]}, {"patientInstruction": spoken}):
            assert read_one(order(told)).repeatable
            assert read_one(order({**timed(count=1), **told})).repeatable
            assert read_one(order({"doseAndRate": [{"doseQuantity": quantity(14, "mg")}]}, told)).repeatable
    assert not read_one(order({"text": one})).repeatable


SCHEDULES = [
    ({"text": "Once"}, False),
    ({"text": "STAT (1 time)"}, False),
    ({"text": "Once for 1 dose, now"}, False),
    ({"coding": [{"code": "STAT"}]}, False),
    ({"coding": [{"system": "urn:oid:1.2.3", "code": "20", "display": "One time"}]}, False),
    ({}, False),
    ({"coding": []}, False),
    ({"text": " "}, False),
    ({"text": "BID"}, True),
    ({"text": "Once daily"}, True),
    ({"text": "Once per shift"}, True),
    ({"text": "once only " * 90 + "or more"}, True),  # in no time, whatever it says
    ({"text": "once only " * 90}, False),
    ({"text": "2 times daily", "coding": [{"system": "urn:oid:1.2.3", "code": "200011"}]}, True),
    ({"coding": [{"system": "urn:oid:1.2.3", "code": "200011"}]}, True),
    ({"text": "Once", "coding": [{"display": "Daily"}]}, True),
    ({"text": "Once", "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation", "code": "QD"}]},
     True),
]  # fmt: skip


@pytest.mark.parametrize(("code", "repeatable"), SCHEDULES)
def test_a_schedule_that_is_not_known_as_one_dose_repeats(read_one: ReadOne, code: Json, repeatable: bool) -> None:
    assert read_one(order({"timing": {"code": code}})).repeatable is repeatable
    assert read_one(order({"timing": {"code": code, "repeat": {"count": 1}}})).repeatable is repeatable


@pytest.mark.parametrize(
    ("allowed", "repeats"), [(0, 1), (1, 2), (3, 4), ("3", 4), (-1, 1), ("many", 1), (None, 1), ([], 1)]
)
def test_what_may_be_had_again_is_given_again(read_one: ReadOne, allowed: object, repeats: int) -> None:
    assert read_one(order(timed(count=1), dispenseRequest={"numberOfRepeatsAllowed": allowed})).repeats == repeats
    assert read_one(order(timed(count=2), dispenseRequest={"numberOfRepeatsAllowed": allowed})).repeats == 2 * repeats


def test_two_dosages_are_two_doses_that_add_up(read_one: ReadOne) -> None:
    loading = {"doseAndRate": [{"doseQuantity": quantity(4, "mg")}], "text": "IV push"}
    rest = {"doseAndRate": [{"doseQuantity": quantity(10, "mg")}], **timed(duration=40, durationUnit="min")}
    read = read_one(order(loading, rest))
    assert (read.dose_mg, read.minutes, read.repeats, read.bolus) == (14, 40, 2, True)


def test_of_two_dosages_the_shorter_time_counts(read_one: ReadOne) -> None:
    times = [timed(duration=minutes, durationUnit="min") for minutes in (50, 40, 60)]
    assert read_one(order(*times)).minutes == 40


def test_the_same_dosage_twice_is_that_dose_twice_and_one_that_says_nothing_is_none(read_one: ReadOne) -> None:
    dosage, nothing = {"doseAndRate": [{"doseQuantity": quantity(14, "mg")}]}, {"text": "see protocol"}
    read = read_one(order(dosage, dosage, nothing, nothing))
    assert (read.dose_mg, read.repeats) == (14, 2)
    read = read_one(order(dosage, nothing, nothing))
    assert (read.dose_mg, read.repeats) == (14, 1)


def test_a_dosage_without_a_dose_may_say_how_often(read_one: ReadOne) -> None:
    dosage = {"doseAndRate": [{"doseQuantity": quantity(14, "mg")}]}
    assert read_one(order(dosage, timed(count=3))).repeats == 3
    assert read_one(order(timed(count=3), dosage)).repeats == 3
    assert read_one(order(dosage, {"asNeededBoolean": True})).repeatable


# ---- Words only


@pytest.mark.parametrize(
    ("text", "mg", "mg_per_kg", "minutes"),
    [
        ("14 mg IV over 40 min", "14", None, "40"),
        ("Esketamine 14mg intravenously over 40 minutes.", "14", None, "40"),
        ("14,5 mg over 1 hour", "14.5", None, "60"),
        ("0.2 mg/kg over 40-60 min", None, "0.2", "40"),
        ("14 mg at 0.35 mg/min", "14", None, "40"),
        ("14 mg in 20 mL at 30 mL/h", "14", None, "40"),
        ("2 mg or 14 mg", None, None, None),
        ("1,000 mg", None, None, None),
        ("14 mg / kg", None, None, None),
        ("14 mg per kg", None, None, None),
        ("40 min", None, None, None),
        ("over 40 min, then monitor for 2 hours", None, None, None),
    ],
)
def test_what_the_elements_leave_open_the_text_may_tell_once(
    read_one: ReadOne, text: str, mg: str | None, mg_per_kg: str | None, minutes: str | None
) -> None:
    read = read_one(order({"text": text}))
    assert read.dose_mg == (Fraction(mg) if mg else None)
    assert read.dose_mg_per_kg == (Fraction(mg_per_kg) if mg_per_kg else None)
    assert read.minutes == (Fraction(minutes) if minutes else None)


def test_a_dose_in_an_element_stands_whatever_the_text_says(read_one: ReadOne) -> None:
    assert read_one(order({"doseAndRate": [{"doseQuantity": quantity(14, "mg")}], "text": "140 mg"})).dose_mg == 14


# ---- Medicine, strength, route


def named(*codings: Json, text: str | None = None) -> Json:
    return {"coding": list(codings)} | ({"text": text} if text else {})


@pytest.mark.parametrize(
    ("medicine", "expected"),
    [
        (ESKETAMINE, "esketamine"),
        (KETAMINE, "ketamine"),
        (named(text="Ketanest S 25 mg/5 mL"), "esketamine"),
        (named(text="KETAMINE 10 MG/ML INJECTION"), "ketamine"),
        (named(text="S-Ketamine (esketamine)"), "esketamine"),
        (named({"system": "urn:oid:1.2.3", "code": "77", "display": "esketamine inj"}), "esketamine"),
        (named({"system": RXNORM, "code": "2119365"}, {"system": RXNORM, "code": "6130"}), None),
        (named({"system": RXNORM, "code": "2119365"}, text="Ketamine"), None),
        (named({"system": RXNORM, "code": "2201625"}, text="Spravato"), "esketamine"),
        (named({"system": "urn:oid:2.16.840.1.113883.6.88", "code": "6130"}), "ketamine"),
    ],
)
def test_esketamine_and_ketamine_are_told_apart(read_one: ReadOne, medicine: Json, expected: str | None) -> None:
    assert read_one(order(medicationCodeableConcept=medicine)).medicine == expected


AMPOULE = {"resourceType": "Medication", "id": "ampoule", "code": {"text": "Esketamine"}}


@pytest.mark.parametrize("reference", ["#ampoule"])
def test_a_contained_medication_tells_the_strength(read_one: ReadOne, reference: str) -> None:
    strength = {"numerator": quantity(25, "mg"), "denominator": quantity(5, "mL")}
    ampoule = {**AMPOULE, "ingredient": [{"itemCodeableConcept": ESKETAMINE, "strength": strength}]}
    draft = order(contained=[ampoule], medicationReference={"reference": reference})
    del draft["medicationCodeableConcept"]
    read = read_one(draft)
    assert (read.medicine, read.strength) == ("esketamine", 5)


def test_only_the_medicines_own_part_tells_the_strength(read_one: ReadOne) -> None:
    def part(says: str, mg: int) -> Json:
        strength = {"numerator": quantity(mg, "mg"), "denominator": quantity(20, "mL")}
        return {"itemCodeableConcept": {"text": says}, "strength": strength}

    bag = {**AMPOULE, "ingredient": [part("Sodium chloride", 180), part("Esketamine", 14)]}
    draft = order(contained=[bag], medicationReference={"reference": "#ampoule"})
    del draft["medicationCodeableConcept"]
    assert read_one(draft).strength == Fraction("0.7")


@pytest.mark.parametrize(
    "strength", [None, "5 mg/mL", {"numerator": quantity(25, "mg")}, {"denominator": quantity(5, "mL")}]
)
def test_half_a_strength_is_none(read_one: ReadOne, strength: object) -> None:
    ampoule = {**AMPOULE, "ingredient": [{"itemCodeableConcept": {"text": "Esketamine"}, "strength": strength}]}
    draft = order(contained=[ampoule], medicationReference={"reference": "#ampoule"})
    del draft["medicationCodeableConcept"]
    assert read_one(draft).strength is None


@pytest.mark.parametrize(
    "reference", ["Medication/ampoule", "https://ehr.example.org/fhir/Medication/ampoule", "urn:uuid:ampoule"]
)
def test_a_medication_may_be_an_entry_of_its_own(read_one: ReadOne, reference: str, knowledge: Knowledge) -> None:
    draft = order(medicationReference={"reference": reference}, dosageInstruction=[])
    del draft["medicationCodeableConcept"]
    assert read_one(draft, AMPOULE).medicine == "esketamine"
    assert read_one(draft, Medication=[AMPOULE]).medicine == "esketamine"
    assert read_drafted(chart(draft), knowledge, Units(knowledge.units)) == ()


def test_an_order_by_display_text_only(read_one: ReadOne) -> None:
    display = "esketamine 25 mg/5 mL IV infusion"
    draft = order({"doseAndRate": [{"doseQuantity": quantity("2.8", "mL")}]}, medicationReference={"display": display})
    del draft["medicationCodeableConcept"]
    read = read_one(draft)
    assert (read.medicine, read.strength, read.dose_mg, read.route) == ("esketamine", 5, 14, "iv")


@pytest.mark.parametrize(
    ("text", "strength"),
    [
        ("Esketamine 5 mg/mL", "5"),
        ("esketamine 25mg/5ml amp", "5"),
        ("Esketamine 50 mg per 2 mL", "25"),
        ("Esketamine 14 mg in 20 mL", "0.7"),
        ("Esketamine 2,5 mg/ml", "2.5"),
        ("Esketamine 5000 mcg/mL", "5"),
        ("Esketamine 25 mg/5 mL (5 mg/mL)", "5"),
        ("Esketamine 28 mg", None),
        ("Esketamine 0.2 mg/kg", None),
        ("Esketamine 1,000 mg/mL", None),
    ],
)
def test_a_name_may_tell_the_strength(read_one: ReadOne, text: str, strength: str | None) -> None:
    read = read_one(order(medicationCodeableConcept={"text": text}))
    assert read.strength == (Fraction(strength) if strength else None)
    assert not read.unreadable


def test_two_strengths_are_none_and_marked(read_one: ReadOne) -> None:
    read = read_one(order(medicationCodeableConcept={"text": "Esketamine 5 mg/mL or 25 mg/mL"}))
    assert (read.strength, read.unreadable) == (None, frozenset({"strength"}))


@pytest.mark.parametrize(
    ("dosage", "more", "route"),
    [
        ({"route": named({"system": SNOMED, "code": "47625008"})}, {}, "iv"),
        ({"route": {"text": "Intravenous"}}, {}, "iv"),
        ({"route": named({"system": SNOMED, "code": "46713006"})}, {}, "nasal"),
        ({"route": {"text": "Epidural"}}, {}, "neuraxial"),
        ({"route": {"text": "IM"}}, {}, "other"),
        ({"route": {"text": "via the usual way"}}, {}, "other"),
        ({}, {}, None),
        ({"text": "14 mg IV"}, {}, "iv"),
        ({"text": "2 sprays intranasal"}, {}, "nasal"),
        ({}, {"medicationCodeableConcept": named({"system": RXNORM, "code": "2201623"})}, "nasal"),
        ({}, {"medicationCodeableConcept": {"text": "Esketamine 28 mg nasal spray"}}, "nasal"),
        ({"route": {"text": "IV"}}, {"medicationCodeableConcept": {"text": "Spravato"}}, "iv"),
        ({}, {"medicationCodeableConcept": {"text": "Ketamine 10 mg/mL IV/IM"}}, None),
    ],
)
def test_the_route_is_read_from_the_route_then_the_text_then_the_product(
    read_one: ReadOne, dosage: Json, more: Json, route: str | None
) -> None:
    assert read_one(order(dosage, **more)).route == route


def test_of_two_routes_the_nasal_one_warns(read_one: ReadOne) -> None:
    assert read_one(order({"route": {"text": "IV"}}, {"route": {"text": "nasal"}})).route == "nasal"


# ---- Which orders


@pytest.mark.parametrize("status", ["draft", "active", None, "on-hold", ["draft"]])
def test_a_draft_counts_and_so_does_an_order_that_is_signed_again(read_one: ReadOne, status: object) -> None:
    assert read_one(order(status=status)).for_prevention


@pytest.mark.parametrize(
    "differs",
    [
        {"status": "cancelled"},
        {"status": "entered-in-error"},
        {"doNotPerform": True},
        {"medicationCodeableConcept": {"text": "Oxytocin"}},
        {"medicationCodeableConcept": None},
        {"resourceType": "ServiceRequest"},
    ],
)
def test_these_are_not_orders_of_the_medicine(knowledge: Knowledge, differs: Json) -> None:
    assert read_drafted(chart(order(**differs)), knowledge, Units(knowledge.units)) == ()


def test_an_order_that_was_not_picked_is_read_but_not_selected(knowledge: Knowledge) -> None:
    drafts = [order(), order(id="two")]
    call = chart(*drafts, selected=frozenset({"MedicationRequest/two"}))
    read = read_drafted(call, knowledge, Units(knowledge.units))
    assert [(one.reference, one.selected) for one in read] == [
        ("MedicationRequest/one", False),
        ("MedicationRequest/two", True),
    ]


def test_the_same_draft_twice_is_one_order(knowledge: Knowledge) -> None:
    assert len(read_drafted(chart(order(), order()), knowledge, Units(knowledge.units))) == 1


def test_another_reason_is_not_prevention(read_one: ReadOne) -> None:
    assert not read_one(order(reasonCode=[{"text": "analgesia"}])).for_prevention
    assert read_one(order(reasonCode=[], instantiatesUri=["urn:cds-service:protocol:esketamine-iv"])).for_prevention


def test_the_sandboxs_ways_are_borne(read_one: ReadOne) -> None:
    draft = order(
        category={"coding": [{"code": "inpatient"}]},
        medicationReference=None,
        dosageInstruction={"doseQuantity": quantity(14, "mg"), "timing": {"repeat": {"frequency": "1"}}},
        requester={"extension": []},
    )
    assert read_one(draft).dose_mg == 14


@pytest.mark.parametrize(("id_", "medicine", "mg"), [("V01", "esketamine", 14), ("B146a", "ketamine", 36)])
def test_our_own_suggestion_meets_no_finding(
    knowledge: Knowledge, now: datetime, advisor_of: Callable[[Case], Advisor], id_: str, medicine: str, mg: int
) -> None:
    """Accepted, sent back, and signed: what we suggested is what we expect."""
    (case,) = [case for case in read_cases() if case.id == id_]
    advisor = advisor_of(case)
    body = json.dumps(request_for(case, now, advisor.discovery())).encode()
    advice = advisor.advise(parse_request(read_json(body), case["hook"]))
    suggested = [
        {**action["resource"], "id": f"accepted-{number}"}
        for card in advice.cards
        for suggestion in card.get("suggestions", ())
        for number, action in enumerate(suggestion["actions"])
    ]
    (ours,) = [
        json.loads(json.dumps(one, default=str)) for one in suggested if one["resourceType"] == "MedicationRequest"
    ]
    read = read_drafted(chart(ours), knowledge, Units(knowledge.units))
    assert [(one.medicine, one.dose_mg, one.minutes, one.repeats) for one in read] == [(medicine, mg, 40, 1)]
    assert advice.consultation is not None
    assert advice.consultation.dose is not None
    found = check(
        read,
        dose=advice.consultation.dose,
        protocol=advice.consultation.dose.protocol,
        weight_kg=advice.consultation.dose.weight_kg,
        monitoring=monitoring_ordered(chart(*suggested), knowledge),
        table=knowledge.order_check,
    )
    assert found == ()


# ---- What else is on order


def service(id_: str, code: Json, **more: Any) -> Json:
    return {"resourceType": "ServiceRequest", "id": id_, "status": "draft", "intent": "order", "code": code} | more


OXIMETRY = service("spo2", named({"system": SNOMED, "code": "252465000"}))
PRESSURE = service("bp", {"text": "Blood pressure monitoring every 5 min"})


@pytest.mark.parametrize(
    ("drafts", "listed", "expected"),
    [
        ([OXIMETRY, PRESSURE], [], True),
        ([OXIMETRY], [{**PRESSURE, "status": "active"}], True),
        ([], [{**OXIMETRY, "status": "active"}, {**PRESSURE, "status": "active"}], True),
        ([service("both", {"text": "SpO2 and blood pressure monitoring"})], [], True),
        ([OXIMETRY], [], False),
        ([PRESSURE], [], False),
        ([OXIMETRY, {**PRESSURE, "status": "revoked"}], [], False),
        ([OXIMETRY, {**PRESSURE, "doNotPerform": True}], [], False),
        ([OXIMETRY], [{**PRESSURE, "status": "completed"}], False),
        ([OXIMETRY], [{**PRESSURE, "status": "on-hold"}], False),
        ([OXIMETRY, {**PRESSURE, "status": "revoked"}], [{**PRESSURE, "status": "active"}], False),
        ([], [], False),
    ],
)
def test_saturation_and_blood_pressure_must_both_be_on_order(
    knowledge: Knowledge, drafts: list[Json], listed: list[Json], expected: bool
) -> None:
    assert monitoring_ordered(chart(*drafts, ServiceRequest=listed), knowledge) is expected


def test_what_is_on_order_is_named_under_the_official_system() -> None:
    oid = "urn:oid:2.16.840.1.113883.6.96"
    drafts = [service("spo2", named({"system": oid, "code": "252465000"}, {"code": "no system"})), order()]
    active = service("epds", named({"system": "http://loinc.org", "code": "71354-5"}), status="active")
    over = service("old", named({"system": SNOMED, "code": "308477009"}), status="completed")
    local = service("local", named({"system": "urn:oid:1.2.3", "code": "77"}), status="active")
    ordered = already_ordered(chart(*drafts, ServiceRequest=[active, over, local]))
    assert {code for one in ordered for code in one.codes} == {
        f"{SNOMED}|252465000",
        f"{RXNORM}|2119365",
        "http://loinc.org|71354-5",
        "urn:oid:1.2.3|77",
    }


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (order(id="other", status="active"), True),
        (order(id="other", status="active", reasonCode=[{"text": "analgesia"}]), True),
        (order(id="other", status="on-hold"), True),
        (order(id="one", status="active"), False),
        (order(id="other", status="completed"), False),
        (order(id="other", status="active", doNotPerform=True), False),
        (order(id="other", status="active", medicationCodeableConcept={"text": "Oxytocin"}), False),
    ],
)
def test_an_active_order_beside_the_draft_is_seen(knowledge: Knowledge, listed: Json, expected: bool) -> None:
    assert another_active(chart(order(), MedicationRequest=[listed]), knowledge) is expected
