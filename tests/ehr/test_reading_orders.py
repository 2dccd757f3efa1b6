"""What is read of a drafted order, whole; and of each other order: its codes, its words, its day and its urgency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from cds_service.clinical.consultation import Ordered
from cds_service.clinical.order_check import DraftedOrder
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.orders import already_ordered, another_active, monitoring_ordered, read_drafted
from cds_service.ehr.units import Units
from cds_service.knowledge import Knowledge
from cds_service.settings import Site

Json = dict[str, Any]
Reader = Callable[..., tuple[DraftedOrder, ...]]

UCUM, SNOMED, LOINC = "http://unitsofmeasure.org", "http://snomed.info/sct", "http://loinc.org"
RXNORM, RXNORM_OID = "http://www.nlm.nih.gov/research/umls/rxnorm", "urn:oid:2.16.840.1.113883.6.88"
ESKETAMINE = {"coding": [{"system": RXNORM, "code": "2119365"}]}
PREVENTION = [{"text": "Prevention of postpartum depression"}]
TYPE = "http://terminology.hl7.org/CodeSystem/dose-rate-type"


def quantity(value: Any, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def order(*dosages: Json, **more: Any) -> Json:
    return {
        "resourceType": "MedicationRequest", "id": "one", "status": "draft", "intent": "order",
        "medicationCodeableConcept": ESKETAMINE, "dosageInstruction": list(dosages), "reasonCode": PREVENTION, **more,
    }  # fmt: skip


def service(name: str = "s", code: Json | None = None, **more: Any) -> Json:
    whole = {"resourceType": "ServiceRequest", "id": name, "status": "active", "intent": "order", **more}
    return whole | ({"code": code} if code is not None else {})


def chart(*drafts: Json, listed: tuple[Json, ...] = (), selected: frozenset[str] = frozenset()) -> Chart:
    kinds = {one["resourceType"] for one in listed}
    return Chart(
        patient={"resourceType": "Patient", "id": "her"},
        encounter=None,
        by_type={kind: tuple(one for one in listed if one["resourceType"] == kind) for kind in kinds},
        had={},
        drafts=drafts,
        selected=selected,
        set_aside=(),
    )


@pytest.fixture(scope="module")
def reader(knowledge: Knowledge) -> Reader:
    """The drafted orders of a call, none of which was picked."""
    units = Units(knowledge.units)
    return lambda *drafts, **more: read_drafted(chart(*drafts, **more), knowledge, units)


# ---- A drafted order, whole

PLAIN = DraftedOrder("MedicationRequest/one", "esketamine", None, for_prevention=True, selected=False)


def mg(value: Any, **more: Any) -> Json:
    return {"doseAndRate": [{"doseQuantity": quantity(value, "mg")}], **more}


def rated(**rate: Json) -> Json:
    return {"doseAndRate": [{"doseQuantity": quantity(14, "mg")}, rate]}


def timed(**repeat: Any) -> Json:
    return mg(14, timing={"repeat": repeat})


GIVEN = replace(PLAIN, dose_mg=Fraction(14))
WHOLE: list[tuple[str, Json, DraftedOrder]] = [
    ("nothing", order(), PLAIN),
    ("two dosages that say nothing", order({"text": "as told"}, {"text": "as known"}), PLAIN),
    ("a dose", order(mg(14)), GIVEN),
    (
        "an odd dose",
        order({"doseAndRate": [{"doseRange": "14 mg"}]}),
        replace(PLAIN, unreadable=frozenset({"dose"}), dose_is_range=True),
    ),
    (
        "two doses, one of them within a range",
        order(mg(14), {"doseAndRate": [{"doseRange": {"high": quantity(7, "mg")}}]}),
        replace(PLAIN, dose_mg=Fraction(21), dose_is_range=True, repeats=2),
    ),
    (
        "two dosages, one as needed",
        order(mg(14), mg(7, asNeededBoolean=True)),
        replace(PLAIN, dose_mg=Fraction(21), repeats=2, repeatable=True),
    ),
    (
        "two dosages, one of them unreadable",
        order(mg(14), {"doseAndRate": [{"doseQuantity": quantity(1, "spoon")}]}),
        replace(GIVEN, repeats=2, unreadable=frozenset({"dose"})),
    ),
    (
        "two unreadable in two ways",
        order(
            {"doseAndRate": [{"doseQuantity": quantity(1, "spoon")}]},
            {"doseAndRate": [{"rateQuantity": quantity(1, "spoon")}]},
        ),
        replace(PLAIN, repeats=2, unreadable=frozenset({"dose", "rate"})),
    ),
    (
        "two rates, the faster first",
        order(rated(rateQuantity=quantity(2, "mg/min")), rated(rateQuantity=quantity(1, "mg/min"))),
        replace(PLAIN, dose_mg=Fraction(28), repeats=2, rate_mg_per_min=Fraction(2), minutes=Fraction(14)),
    ),
    (
        "two dosages, a bolus and a dose",
        order(mg(14, text="IV push"), mg(7)),
        replace(PLAIN, dose_mg=Fraction(21), repeats=2, bolus=True, route="iv"),
    ),
    (
        "two dosages that run, the longer first",
        order(timed(duration=60, durationUnit="min"), timed(duration=40, durationUnit="min")),
        replace(PLAIN, dose_mg=Fraction(28), repeats=2, minutes=Fraction(40)),
    ),
    (
        "a rate without a dose",
        order({"doseAndRate": [{"rateQuantity": quantity(20, "mL/h")}]}, mg(14)),
        replace(GIVEN, repeats=2, rate_ml_per_h=Fraction(20)),
    ),
    (
        "in the entry that was ordered",
        order(
            {
                "doseAndRate": [
                    {"type": {"coding": [{"system": TYPE, "code": "ordered"}]}, "doseQuantity": quantity(14, "mg")},
                    {"type": {"coding": [{"system": TYPE, "code": "calculated"}]}, "doseQuantity": quantity(16, "mg")},
                ]
            }
        ),
        GIVEN,
    ),
    (
        "the higher of two",
        order({"doseAndRate": [{"doseQuantity": quantity(14, "mg")}, {"doseQuantity": quantity(7, "mg")}]}),
        GIVEN,
    ),
    (
        "in mL, with a strength in the name",
        order(
            {"doseAndRate": [{"doseQuantity": quantity(2, "mL")}]},
            medicationCodeableConcept=ESKETAMINE | {"text": "Esketamine 5 mg/mL"},
        ),
        replace(PLAIN, dose_mg=Fraction(10), volume_ml=Fraction(2), strength=Fraction(5)),
    ),
    ("a time", order(timed(duration=40, durationUnit="min")), replace(GIVEN, minutes=Fraction(40))),
    (
        "at most a time",
        order(timed(durationMax=1, durationUnit="h")),
        replace(GIVEN, minutes=Fraction(60), longest_minutes=Fraction(60)),
    ),
    (
        "a time and at most a time",
        order(timed(duration=40, durationMax=60, durationUnit="min")),
        replace(GIVEN, minutes=Fraction(40), longest_minutes=Fraction(60)),
    ),
    ("a time that is none", order(timed(durationMax="long")), replace(GIVEN, unreadable=frozenset({"time"}))),
    (
        "a time that is none, beside the words of one",
        order(timed(duration="long") | {"text": "over 40 min"}),
        replace(GIVEN, unreadable=frozenset({"time"})),
    ),
    (
        "a time as a rate, twice",
        order(
            rated(rateQuantity=quantity(60, "min")) | {"timing": {"repeat": {"duration": 40, "durationUnit": "min"}}}
        ),
        replace(GIVEN, minutes=Fraction(40)),
    ),
    (
        "two times as rates, the shorter counts",
        order(
            {
                "doseAndRate": [
                    {"doseQuantity": quantity(14, "mg")},
                    {"rateQuantity": quantity(40, "min")},
                    {"rateQuantity": quantity(60, "min")},
                ]
            }
        ),
        replace(GIVEN, minutes=Fraction(40)),
    ),
    (
        "per part of an hour",
        order(rated(rateRatio={"numerator": quantity(14, "mg"), "denominator": quantity(40, "min")})),
        replace(GIVEN, rate_mg_per_min=Fraction(7, 20), minutes=Fraction(40)),
    ),
    (
        "per part of an hour, of nothing",
        order(rated(rateRatio={"numerator": quantity(14, "drops"), "denominator": quantity(40, "min")})),
        replace(GIVEN, unreadable=frozenset({"rate"})),
    ),
    ("as needed", order(mg(14, asNeededBoolean=True)), replace(GIVEN, repeatable=True)),
    (
        "as needed, for a reason",
        order(mg(14, asNeededCodeableConcept={"text": "low mood"})),
        replace(GIVEN, repeatable=True),
    ),
    ("not as needed", order(mg(14, asNeededBoolean=False)), GIVEN),
    (
        "at three times",
        order(mg(14, timing={"event": ["2026-11-23", "2026-11-24", "2026-11-25"]})),
        replace(GIVEN, repeats=3),
    ),
    ("at no time", order(mg(14, timing={"event": []})), GIVEN),
    ("at an odd time", order(mg(14, timing={"event": "noon"})), GIVEN),
    ("three times", order(timed(count=3)), replace(GIVEN, repeats=3)),
    ("up to four times", order(timed(count=3, countMax=4)), replace(GIVEN, repeats=4)),
    ("ten thousand times", order(timed(count=10_000)), replace(GIVEN, repeats=10_000)),
    ("more often than can be", order(timed(count=10_001)), GIVEN),
    ("half a time", order(timed(count=Decimal("1.5"))), GIVEN),
    ("each morning", order(timed(when=["MORN"])), replace(GIVEN, repeatable=True)),
    ("on Mondays", order(timed(dayOfWeek=["mon"])), replace(GIVEN, repeatable=True)),
    ("at eight", order(timed(timeOfDay=["08:00:00"])), replace(GIVEN, repeatable=True)),
    (
        "by a code of schedules",
        order(
            mg(
                14,
                timing={
                    "code": {
                        "coding": [
                            {"system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation", "code": "BID"}
                        ]
                    }
                },
            )
        ),
        replace(GIVEN, repeatable=True),
    ),
    (
        "by another code",
        order(mg(14, timing={"code": {"coding": [{"system": "urn:site", "code": "BID"}]}})),
        replace(GIVEN, repeatable=True),
    ),
    ("by a code for once", order(mg(14, timing={"code": {"coding": [{"system": "urn:site", "code": "ONCE"}]}})), GIVEN),
    (
        "every 12 hours for two days",
        order(timed(frequency=1, period=12, periodUnit="h", boundsDuration=quantity(2, "d"))),
        replace(GIVEN, repeats=4),
    ),
    (
        "twice every 12 hours for 13 hours",
        order(timed(frequency=2, period=12, periodUnit="h", boundsDuration=quantity(13, "h"))),
        replace(GIVEN, repeats=4),
    ),
    (
        "every 12 hours for an hour",
        order(timed(frequency=1, period=12, periodUnit="h", boundsDuration=quantity(1, "h"))),
        GIVEN,
    ),
    ("every 12 hours", order(timed(frequency=1, period=12, periodUnit="h")), replace(GIVEN, repeatable=True)),
    (
        "per kg and minute, in words",
        order({"text": "0.2 mg/kg at 0.005 mg/kg/min"}),
        replace(PLAIN, dose_mg_per_kg=Fraction(1, 5), rate_mg_per_kg_per_min=Fraction(1, 200), minutes=Fraction(40)),
    ),
    ("two at once", order(timed(frequency=2)), replace(GIVEN, repeats=2)),
    ("a billion mg", order(mg(10**9)), replace(PLAIN, unreadable=frozenset({"dose"}))),
    ("a little less", order(mg(10**9 - 1)), replace(PLAIN, dose_mg=Fraction(10**9 - 1))),
    (
        "made up, to what the rate empties in that time",
        order(
            {
                "doseAndRate": [
                    {"doseQuantity": quantity(14, "mg")},
                    {"doseQuantity": quantity(20, "mL")},
                    {"rateQuantity": quantity(30, "mL/h")},
                ],
                "timing": {"repeat": {"duration": 40, "durationUnit": "min"}},
            }
        ),
        replace(GIVEN, mixed_ml=Fraction(20), rate_ml_per_h=Fraction(30), minutes=Fraction(40)),
    ),
    (
        "made up per kg, to what the rate empties in that time",
        order(
            {
                "doseAndRate": [
                    {"doseQuantity": quantity(Decimal("0.2"), "mg/kg")},
                    {"doseQuantity": quantity(20, "mL")},
                    {"rateQuantity": quantity(30, "mL/h")},
                ],
                "timing": {"repeat": {"duration": 40, "durationUnit": "min"}},
            }
        ),
        replace(
            PLAIN,
            dose_mg_per_kg=Fraction(1, 5),
            mixed_ml=Fraction(20),
            rate_ml_per_h=Fraction(30),
            minutes=Fraction(40),
        ),
    ),
    (
        "drawn up, a rate and no time",
        order(
            {
                "doseAndRate": [
                    {"doseQuantity": quantity(14, "mg")},
                    {"doseQuantity": quantity(20, "mL")},
                    {"rateQuantity": quantity(30, "mL/h")},
                ]
            }
        ),
        replace(GIVEN, volume_ml=Fraction(20), rate_ml_per_h=Fraction(30), minutes=Fraction(40)),
    ),
    (
        "drawn up, a time and no rate",
        order(
            {
                "doseAndRate": [{"doseQuantity": quantity(14, "mg")}, {"doseQuantity": quantity(20, "mL")}],
                "timing": {"repeat": {"duration": 40, "durationUnit": "min"}},
            }
        ),
        replace(GIVEN, volume_ml=Fraction(20), minutes=Fraction(40)),
    ),
]


@pytest.mark.parametrize(("drafted", "comes"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_a_drafted_order_is_read_whole(drafted: Json, comes: DraftedOrder, reader: Reader) -> None:
    assert reader(drafted) == (comes,)


ROUTES: list[tuple[str, Json, str | None, set[str]]] = [
    ("by its code", order({"route": {"coding": [{"system": SNOMED, "code": "47625008"}]}}), "iv", set()),
    ("of nobody's", order({"route": {"text": "by owl"}}), "other", {"route"}),
    ("in the words of the dosage", order({"text": "intravenous"}), "iv", set()),
    (
        "in the words of the product",
        order(medicationCodeableConcept=ESKETAMINE | {"text": "Esketamine for intravenous use"}),
        "iv",
        set(),
    ),
    (
        "of a nasal product, whatever else",
        order(medicationCodeableConcept=ESKETAMINE | {"text": "Esketamine nasal"}),
        "nasal",
        set(),
    ),
    (
        "two in the product",
        order(medicationCodeableConcept=ESKETAMINE | {"text": "intravenous or intramuscular"}),
        None,
        set(),
    ),
    (
        "of a nasal product, which is ketamine",
        order(medicationCodeableConcept={"text": "Ketamine nasal"}),
        "nasal",
        set(),
    ),
    (
        "two in the words of one",
        order({"route": {"text": "nasal", "coding": [{"system": "urn:site", "code": "1", "display": "intravenous"}]}}),
        "nasal",
        set(),
    ),
    (
        "of a nasal product, which is ketamine, and nobody understands the route",
        order({"route": {"text": "by owl"}}, medicationCodeableConcept={"text": "Ketamine nasal"}),
        "nasal",
        set(),
    ),
    ("not told", order(), None, set()),
]


@pytest.mark.parametrize(("drafted", "route", "unreadable"), [r[1:] for r in ROUTES], ids=[r[0] for r in ROUTES])
def test_the_route_of_an_order(drafted: Json, route: str | None, unreadable: set[str], reader: Reader) -> None:
    (read,) = reader(drafted)

    assert (read.route, read.unreadable) == (route, unreadable)


def test_only_what_was_picked_is_selected(reader: Reader) -> None:
    one, other = reader(order(), order(mg(7), id="other"), selected=frozenset({"MedicationRequest/other"}))

    assert (one.reference, one.selected) == ("MedicationRequest/one", False)
    assert (other.reference, other.selected) == ("MedicationRequest/other", True)


def test_an_order_without_a_reason_is_for_prevention_only_where_it_follows_our_offer(
    reader: Reader, knowledge: Knowledge
) -> None:
    bare, units = order(reasonCode=[]), Units(knowledge.units)

    assert [read.for_prevention for read in reader(bare)] == [False]
    assert [read.for_prevention for read in read_drafted(chart(bare), knowledge, units, offered=True)] == [True]


ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
REASONS: list[tuple[str, Json, bool]] = [
    ("in words", {"reasonCode": PREVENTION}, True),
    ("by its code", {"reasonCode": [{"coding": [{"system": ICD10CM, "code": "F53.0"}]}]}, True),
    ("as one of two", {"reasonCode": [{"text": "pain"}, *PREVENTION]}, True),
    ("for pain", {"reasonCode": [{"text": "pain"}]}, False),
    ("for none that is told", {"reasonCode": []}, False),
]


@pytest.mark.parametrize(("more", "prevents"), [row[1:] for row in REASONS], ids=[row[0] for row in REASONS])
def test_what_an_order_is_for(more: Json, prevents: bool, reader: Reader) -> None:
    (read,) = reader(order(**more))

    assert read.for_prevention is prevents


PPD = {"code": {"coding": [{"system": SNOMED, "code": "58703003"}]}}
LOW_MOOD = {"resourceType": "Condition", "id": "c", **PPD}
SCREEN = {"resourceType": "Observation", "id": "o", "code": {"text": "Risk of postpartum depression"}}
FOUND = {"resourceType": "Observation", "id": "o", "code": {"text": "Finding"}, "valueCodeableConcept": PPD["code"]}
PAIN = {"resourceType": "Condition", "id": "c", "code": {"text": "Labour pain"}}
BEHIND: list[tuple[str, Json, tuple[Json, ...], bool]] = [
    ("its display", {"display": "Prevention of postpartum depression"}, (), True),
    ("another display", {"display": "Labour pain"}, (), False),
    ("a contained Condition", {"reference": "#c"}, (), True),
    ("another contained one", {"reference": "#d"}, (), False),
    ("a Condition of the chart", {"reference": "Condition/c"}, (LOW_MOOD,), True),
    ("the same, absolute", {"reference": "https://ehr.example.org/fhir/Condition/c"}, (LOW_MOOD,), True),
    ("the same id elsewhere", {"reference": "https://other.example.org/fhir/Condition/c"}, (LOW_MOOD,), False),
    ("by its uuid", {"reference": "urn:uuid:c"}, (LOW_MOOD,), True),
    ("another Condition", {"reference": "Condition/c"}, (PAIN,), False),
    ("a Condition that nobody sent", {"reference": "Condition/c"}, (), False),
    ("an Observation", {"reference": "Observation/o"}, (SCREEN,), True),
    ("an Observation, by its value", {"reference": "Observation/o"}, (FOUND,), True),
    ("a Medication of that id", {"reference": "Medication/c"}, (LOW_MOOD,), False),
]


@pytest.mark.parametrize(("points", "listed", "prevents"), [r[1:] for r in BEHIND], ids=[r[0] for r in BEHIND])
def test_the_reason_may_lie_behind_a_reference(
    points: Json, listed: tuple[Json, ...], prevents: bool, knowledge: Knowledge
) -> None:
    drafted = order(reasonCode=[], reasonReference=[points], contained=[{**LOW_MOOD, "id": "c"}])
    call = replace(chart(drafted, listed=listed), known_at=frozenset({"ehr.example.org/fhir"}))
    (read,) = read_drafted(call, knowledge, Units(knowledge.units))

    assert read.for_prevention is prevents


@pytest.mark.parametrize("element", ["instantiatesUri", "instantiatesCanonical", "instantiates"])
def test_an_order_that_names_our_protocol_is_for_prevention(element: str, reader: Reader, knowledge: Knowledge) -> None:
    uri = knowledge.protocols.protocol[0].uri

    def prevents(*named: Any) -> bool:
        (read,) = reader(order(reasonCode=[], **{element: list(named)}))
        return read.for_prevention

    assert prevents(uri)
    assert prevents("urn:x", 7, f"{uri}|1.3.0")
    assert not prevents("urn:x")
    assert not prevents(f"{uri}/2")


def test_an_order_that_states_any_reason_does_not_follow_our_offer(knowledge: Knowledge) -> None:
    units = Units(knowledge.units)

    def follows(**more: Any) -> bool:
        (read,) = read_drafted(chart(order(**{"reasonCode": [], **more})), knowledge, units, offered=True)
        return read.for_prevention

    assert follows()
    assert follows(reasonCode=[{}])
    assert not follows(reasonCode=[{"text": "pain"}])
    assert not follows(reasonCode=[{"coding": [{"code": "x"}]}])
    assert not follows(reasonReference=[{"reference": "Condition/c"}])


def test_a_product_of_the_sites_own_may_be_for_prevention_alone(knowledge: Knowledge) -> None:
    local = [{"system": "urn:site", "codes": ["K"], "means": ["esketamine", "reason_postpartum_depression"]}]
    spoken = knowledge.spoken_at(Site.from_table({"country": "CN", "local": local}))

    def prevents(drafted: Json, *listed: Json) -> bool:
        (read,) = read_drafted(chart(drafted, listed=listed), spoken, Units(spoken.units))
        return read.for_prevention

    own = {"coding": [{"system": "urn:site", "code": "K"}]}
    assert prevents(order(reasonCode=[], medicationCodeableConcept=own))
    assert not prevents(order(reasonCode=[]))
    assert prevents(pointing(reasonCode=[]), medication(code=own))


def test_a_site_may_say_how_strong_the_products_behind_its_codes_are(knowledge: Knowledge) -> None:
    local = [
        {"system": "urn:site", "codes": ["K5", "K6"], "means": ["esketamine"], "strength_mg_per_ml": 5},
        {"system": "urn:other", "codes": ["K7"], "means": ["esketamine"], "strength_mg_per_ml": 25},
        {"system": "urn:site", "codes": ["K8"], "means": ["esketamine"]},
    ]
    spoken = knowledge.spoken_at(Site.from_table({"country": "CN", "local": local}))
    units = Units(spoken.units)

    def strength(system: str, code: str) -> Fraction | None:
        coded = {"coding": [{"system": system, "code": code}, "odd"], "text": "Esketamine"}
        (read,) = read_drafted(chart(order(medicationCodeableConcept=coded)), spoken, units)
        return read.strength

    assert strength("urn:site", "K5") == strength("urn:site", "K6") == 5
    assert strength("urn:other", "K7") == 25
    assert strength("urn:other", "K5") is None
    assert strength("urn:site", "K8") is None


# ---- A Medication behind a reference

KETAMINE = {"coding": [{"system": RXNORM, "code": "6130"}]}


def medication(name: str = "m", **more: Any) -> Json:
    return {"resourceType": "Medication", "id": name, "code": KETAMINE, **more}


def pointing(**more: Any) -> Json:
    pointed = order(medicationReference={"reference": "Medication/m"}, **more)
    del pointed["medicationCodeableConcept"]
    return pointed


def test_a_medication_behind_a_reference_is_found_wherever_orders_are_read(
    knowledge: Knowledge, reader: Reader
) -> None:
    running = pointing(id="two", status="active")
    both = chart(pointing(), listed=(running, medication()))

    assert [read.medicine for read in reader(pointing(), listed=(medication(),))] == ["ketamine"]
    assert another_active(both, knowledge)
    assert not another_active(chart(pointing(), listed=(running,)), knowledge)
    assert {ordered.codes for ordered in already_ordered(both)} == {frozenset({f"{RXNORM}|6130"})}


def test_of_several_ingredients_only_the_medicines_own_tells_the_strength(reader: Reader) -> None:
    def part(code: Json, number: int) -> Json:
        return {
            "itemCodeableConcept": code,
            "strength": {"numerator": quantity(number, "mg"), "denominator": quantity(2, "mL")},
        }

    salt = {"text": "Sodium chloride"}

    def strength(*parts: Json) -> Fraction | None:
        return reader(pointing(), listed=(medication(ingredient=list(parts)),))[0].strength

    assert strength(part(KETAMINE, 20)) == strength(part(salt, 9), part(KETAMINE, 20)) == 10
    assert strength(part(salt, 20)) == 10
    assert strength(part(salt, 9), part(salt, 20)) is None


# ---- What is on order already

PSYCHIATRY = {"coding": [{"system": SNOMED, "code": "183524004"}], "text": " Psychiatry \n Consult "}
READ = Ordered(frozenset({f"{SNOMED}|183524004"}), "psychiatry consult")
ON_ORDER: list[tuple[str, Json, Ordered | None]] = [
    ("some day", service(code=PSYCHIATRY), READ),
    (
        "on a day",
        service(code=PSYCHIATRY, occurrenceDateTime="2026-12-01T08:00:00Z"),
        replace(READ, due=date(2026, 12, 1)),
    ),
    (
        "from a day on",
        service(code=PSYCHIATRY, occurrencePeriod={"start": "2026-12-02", "end": "2026-12-09"}),
        replace(READ, due=date(2026, 12, 2)),
    ),
    (
        "on a day, of a period",
        service(code=PSYCHIATRY, occurrenceDateTime="2026-12-01", occurrencePeriod={"start": "2026-12-02"}),
        replace(READ, due=date(2026, 12, 1)),
    ),
    ("in a period that is none", service(code=PSYCHIATRY, occurrencePeriod="soon"), READ),
    ("on a day that is none", service(code=PSYCHIATRY, occurrenceDateTime="soon"), READ),
    ("at an odd time", service(code=PSYCHIATRY, occurrenceDateTime={"start": "2026-12-01"}), READ),
    ("at once", service(code=PSYCHIATRY, priority="stat"), replace(READ, urgent=True)),
    ("as soon as can be", service(code=PSYCHIATRY, priority="asap"), replace(READ, urgent=True)),
    ("urgent", service(code=PSYCHIATRY, priority="urgent"), replace(READ, urgent=True)),
    ("routine", service(code=PSYCHIATRY, priority="routine"), READ),
    (
        "in a display",
        service(code={"coding": [{"system": LOINC, "code": "71354-5", "display": "EPDS"}]}),
        Ordered(frozenset({f"{LOINC}|71354-5"}), "epds"),
    ),
    ("without a word", service(), Ordered(frozenset())),
    (
        "under another name of its system",
        service(code={"coding": [{"system": RXNORM_OID, "code": "1"}]}),
        Ordered(frozenset({f"{RXNORM}|1"})),
    ),
    (
        "of the site's own",
        service(code={"coding": [{"system": "urn:site", "code": "1"}, {"system": 1, "code": "2"}, {"code": "3"}, 4]}),
        Ordered(frozenset({"urn:site|1"})),
    ),
    ("done", service(code=PSYCHIATRY, status="completed"), None),
    ("on hold", service(code=PSYCHIATRY, status="on-hold"), None),
    ("never", service(code=PSYCHIATRY, doNotPerform=True), None),
]


@pytest.mark.parametrize(("listed", "comes"), [row[1:] for row in ON_ORDER], ids=[row[0] for row in ON_ORDER])
def test_what_is_on_order_is_read_with_its_codes_words_day_and_urgency(listed: Json, comes: Ordered | None) -> None:
    assert already_ordered(chart(listed=(listed,))) == ((comes,) if comes is not None else ())


def test_what_is_drafted_is_on_order_and_a_draft_of_an_active_order_counts_once() -> None:
    drafted = service(code=PSYCHIATRY, status="draft", priority="stat")

    assert already_ordered(chart(drafted, listed=(service(code=PSYCHIATRY),))) == (replace(READ, urgent=True),)
    assert already_ordered(chart(drafted | {"status": "revoked"})) == ()


OXIMETRY, PRESSURE = "252465000", "135840009"


def coded(*codes: str) -> Json:
    return {"coding": [{"system": SNOMED, "code": code} for code in codes]}


def test_monitoring_may_stand_in_the_details_of_an_order_or_in_its_words(knowledge: Knowledge) -> None:
    def monitored(*listed: Json) -> bool:
        return monitoring_ordered(chart(listed=listed), knowledge)

    assert monitored(service("a", coded(OXIMETRY, PRESSURE)))
    assert monitored(service("a", coded(OXIMETRY)), service("b", coded(PRESSURE)))
    assert monitored(service("a", coded(OXIMETRY), orderDetail=[coded(PRESSURE)]))
    assert monitored(service("a", {"text": "Monitoring"}, orderDetail=[coded(PRESSURE), coded(OXIMETRY)]))
    assert not monitored(service("a", coded(OXIMETRY)))
    assert not monitored()
