"""What is read of a measurement, to the last part of it: the value, its unit, its date, its entry, and any doubt."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from reading import (
    ALT,
    APNOEA,
    CAESAREAN,
    DIASTOLIC,
    FEEDING,
    H1,
    H2,
    H5,
    HEIGHT,
    HER,
    HL7,
    LOINC,
    LOSS,
    MINUTE,
    NOON,
    PLATELETS,
    PREGNANT,
    PULSE,
    SNOMED,
    STATUS,
    SYSTOLIC,
    TOMORROW,
    UCUM,
    WEIGHT,
    Json,
    Row,
    ago,
    coded,
    day,
    done,
    instant,
    kilos,
    known,
    measured,
    observed,
    pressed,
    quantity,
    read_of,
    seen,
    weighed,
)

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had


def lost(ml: int, sign: str, **elements: Any) -> Json:
    return observed(LOSS, valueQuantity=quantity(ml, "mL", comparator=sign), **elements)


MEASURED = [
    Row("one", "weight", (weighed(70.5),), known(Decimal("70.5"), by=kilos("70.5", at=H1), at=H1)),
    Row(
        "in pounds, and shown so",
        "weight",
        (measured(WEIGHT, 100, "[lb_av]"),),
        known(Decimal("45.359237"), by=seen("o", "100", "[lb_av]", H1), at=H1),
    ),
    Row(
        "the latest of two",
        "weight",
        (weighed(70, "o1", ago(hours=5)), weighed(71, "o2")),
        known(71, by=kilos("71", "o2", H1), at=H1),
    ),
    Row(
        "two of one instant",
        "weight",
        (weighed(71, "o1"), weighed(70, "o2")),
        known(70, 71, by=(kilos("71", "o1", H1), kilos("70", "o2", H1)), at=H1, conflict=True),
    ),
    Row(
        "two of one instant, the one issued last",
        "weight",
        (weighed(71, "o1", issued=ago(minutes=30)), weighed(70, "o2", issued=ago(minutes=20))),
        known(70, by=kilos("70", "o2", H1), at=H1),
    ),
    Row(
        "two of one instant, one of them without an issue",
        "weight",
        (weighed(71, "o1", issued=ago(minutes=30)), weighed(70, "o2")),
        known(70, 71, by=(kilos("71", "o1", H1), kilos("70", "o2", H1)), at=H1, conflict=True),
    ),
    Row(
        "undated, beside a dated one",
        "weight",
        (weighed(71, "o1", None), weighed(70, "o2")),
        known(70, 71, by=(kilos("71", "o1"), kilos("70", "o2", H1)), at=H1, conflict=True),
    ),
    Row(
        "a day that may be later than the hour",
        "weight",
        (weighed(71, "o1", "2026-11-23"), weighed(70, "o2")),
        known(70, 71, by=(kilos("70", "o2", H1), kilos("71", "o1", day("2026-11-23"))), at=H1, conflict=True),
    ),
    Row(
        "the day before the hour",
        "weight",
        (weighed(71, "o1", "2026-11-22"), weighed(70, "o2")),
        known(70, by=kilos("70", "o2", H1), at=H1),
    ),
    Row("none", "weight", (), unknown(Doubt.NOT_RECORDED)),
    Row("not received", "weight", (), unknown(Doubt.NOT_RECEIVED), {"vital_signs": Had.FAILED}),
    Row("restricted", "weight", (), unknown(Doubt.RESTRICTED), {"vital_signs": Had.RESTRICTED}),
    Row("cut short, none", "weight", (), unknown(Doubt.INCOMPLETE), {"vital_signs": Had.CUT_SHORT}),
    Row(
        "cut short, one",
        "weight",
        (weighed(70),),
        known(70, by=kilos("70", at=H1), at=H1, incomplete=True),
        {"vital_signs": Had.CUT_SHORT},
    ),
    Row(
        "ahead of the clock",
        "weight",
        (weighed(70, at=ago(hours=-24)),),
        unknown(Doubt.IN_THE_FUTURE, kilos("70", at=TOMORROW)),
    ),
    Row(
        "one ahead of the clock beside another",
        "weight",
        (weighed(70, "o1", ago(hours=-24)), weighed(71, "o2")),
        unknown(Doubt.IN_THE_FUTURE, kilos("70", "o1", TOMORROW)),
    ),
    Row("that cannot be one", "weight", (weighed(1001),), unknown(Doubt.UNREADABLE, kilos("1001", at=H1))),
    Row("at the limit of what is one", "weight", (weighed(1000),), known(1000, by=kilos("1000", at=H1), at=H1)),
    Row(
        "in a unit that nobody knows",
        "weight",
        (measured(WEIGHT, 70, "stones"),),
        unknown(Doubt.UNREADABLE, seen("o", "70", None, H1)),
    ),
    Row(
        "with the reason why there is none",
        "weight",
        (weighed(70, dataAbsentReason=coded(HL7 + "data-absent-reason", "unknown")),),
        unknown(Doubt.UNREADABLE, kilos("70", at=H1)),
    ),
    Row(
        "two values at once",
        "weight",
        (weighed(70, valueString="70 kg"),),
        unknown(Doubt.UNREADABLE, kilos("70", at=H1)),
    ),
    Row("in words", "weight", (observed(WEIGHT, valueString="70 kg"),), unknown(Doubt.UNREADABLE, seen("o", at=H1))),
    Row("no value", "weight", (observed(WEIGHT),), unknown(Doubt.NOT_RECORDED, seen("o", at=H1))),
    Row(
        "an empty quantity",
        "weight",
        (observed(WEIGHT, valueQuantity={"unit": "kg", "code": "kg", "system": UCUM}),),
        unknown(Doubt.NOT_RECORDED, seen("o", None, "kg", H1)),
    ),
    Row(
        "no value beside one",
        "weight",
        (observed(WEIGHT, "o1"), weighed(70, "o2", ago(hours=5))),
        known(70, by=kilos("70", "o2", H5), at=H5),
    ),
    Row(
        "unreadable beside an older one",
        "weight",
        (weighed(1001, "o1"), weighed(70, "o2", ago(hours=5))),
        unknown(Doubt.UNREADABLE, kilos("1001", "o1", H1)),
    ),
    Row("preliminary", "weight", (weighed(70, status="preliminary"),), known(70, by=kilos("70", at=H1), at=H1)),
    Row("amended", "weight", (weighed(70, status="amended"),), known(70, by=kilos("70", at=H1), at=H1)),
    Row("cancelled", "weight", (weighed(70, status="cancelled"),), unknown(Doubt.NOT_RECORDED)),
    Row("a status that is none", "weight", (weighed(70, status={"code": "final"}),), unknown(Doubt.NOT_RECORDED)),
    Row("estimated", "weight", (weighed(70, method={"text": "Estimated"}),), unknown(Doubt.NOT_RECORDED)),
    Row(
        "stated, in the words of the code",
        "weight",
        (observed(coded(LOINC, WEIGHT, text="Stated weight"), valueQuantity=quantity(70, "kg")),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "stated, by a second code",
        "weight",
        (observed(coded(LOINC, WEIGHT, "3142-7"), valueQuantity=quantity(70, "kg")),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row("by a scale", "weight", (weighed(70, method={"text": "Bed scale"}),), known(70, by=kilos("70", at=H1), at=H1)),
    Row(
        "of the newborn", "weight", (weighed(3.5, focus=[{"reference": "Patient/child"}]),), unknown(Doubt.NOT_RECORDED)
    ),
    Row("of herself, it says", "weight", (weighed(70, focus=[HER]),), known(70, by=kilos("70", at=H1), at=H1)),
    Row(
        "of nobody knows whom",
        "weight",
        (weighed(70, focus=[{"display": "somebody"}]),),
        unknown(Doubt.UNCLEAR, kilos("70", at=H1)),
    ),
    Row(
        "when it was issued, alone",
        "weight",
        (weighed(70, at=None, issued=ago(hours=1)),),
        known(70, by=kilos("70", at=H1), at=Moment(H1.earliest, H1.latest, Precision.YEAR, H1.text)),
    ),
    Row(
        "over a period",
        "weight",
        (weighed(70, at=None, effectivePeriod={"start": ago(hours=2), "end": ago(hours=1)}),),
        known(70, by=kilos("70", at=H2), at=Moment(H2.earliest, H1.latest, Precision.TIME, H2.text)),
    ),
    Row(
        "over a period that goes on",
        "weight",
        (weighed(70, at=None, effectivePeriod={"start": ago(hours=2)}),),
        known(70, by=kilos("70", at=H2), at=Moment(H2.earliest, NOON, Precision.TIME, H2.text)),
    ),
    Row(
        "over a period with an end alone",
        "weight",
        (weighed(70, at=None, effectivePeriod={"end": ago(hours=1)}),),
        known(70, by=kilos("70", at=H1), at=Moment(H1.earliest, H1.latest, Precision.YEAR, H1.text)),
    ),
    Row(
        "at two times",
        "weight",
        (weighed(70, effectivePeriod={"start": ago(hours=5), "end": ago(hours=2)}),),
        known(70, by=kilos("70", at=H5), at=Moment(H5.earliest, H1.latest, Precision.TIME, H5.text)),
    ),
    Row(
        "at a time that cannot be read",
        "weight",
        (weighed(70, at="yesterday", issued=ago(hours=1)),),
        known(70, by=kilos("70", at=H1), at=Moment(H1.earliest, H1.latest, Precision.YEAR, H1.text)),
    ),
    Row(
        "one ago, the other unreadable",
        "weight",
        (weighed(70, effectivePeriod={"start": "x", "end": "y"}),),
        known(70, by=kilos("70", at=H1), at=Moment(H1.earliest, H1.latest, Precision.YEAR, H1.text)),
    ),
    Row("of 25 kg", "believable_weight", (weighed(25),), known(25, by=kilos("25", at=H1), at=H1)),
    Row("of less", "believable_weight", (weighed(24.9),), unknown(Doubt.CONFLICTING, kilos("24.9", at=H1))),
    Row("of 300 kg", "believable_weight", (weighed(300),), known(300, by=kilos("300", at=H1), at=H1)),
    Row("of more", "believable_weight", (weighed(300.1),), unknown(Doubt.CONFLICTING, kilos("300.1", at=H1))),
    Row("of 300 kg", "weights_agree", (weighed(300),), present()),
    Row("of more", "weights_agree", (weighed(300.1),), unknown(Doubt.CONFLICTING, kilos("300.1", at=H1))),
    Row("of 25 kg", "weights_agree", (weighed(25),), present()),
    Row("of less", "weights_agree", (weighed(24.9),), unknown(Doubt.CONFLICTING, kilos("24.9", at=H1))),
    Row("none", "weights_agree", (), present()),
    Row("10 % more", "weights_agree", (weighed(70, "o1", ago(hours=5)), weighed(77, "o2")), present()),
    Row(
        "more than 10 % more",
        "weights_agree",
        (weighed(70, "o1", ago(hours=5)), weighed(77.1, "o2")),
        unknown(Doubt.CONFLICTING, kilos("70", "o1", H5), kilos("77.1", "o2", H1)),
    ),
    Row("10 % less", "weights_agree", (weighed(70, "o1", ago(hours=5)), weighed(63, "o2")), present()),
    Row(
        "10 % less of the first, and nobody knows which was first",
        "weights_agree",
        (weighed(70, "o1", "2026-11-23"), weighed(63, "o2")),
        unknown(Doubt.CONFLICTING, kilos("63", "o2", H1), kilos("70", "o1", day("2026-11-23"))),
    ),
    Row(
        "a third one between two that differ",
        "weights_agree",
        (weighed(70, "o1", ago(hours=5)), weighed(75, "o2", ago(hours=2)), weighed(80, "o3")),
        unknown(Doubt.CONFLICTING, kilos("70", "o1", H5), kilos("80", "o3", H1)),
    ),
    Row(
        "14 days apart",
        "weights_agree",
        (weighed(70, "o1", ago(days=14)), weighed(90, "o2")),
        unknown(Doubt.CONFLICTING, kilos("70", "o1", instant(days=14)), kilos("90", "o2", H1)),
    ),
    Row("longer ago", "weights_agree", (weighed(70, "o1", ago(days=14, seconds=1)), weighed(90, "o2")), present()),
    Row("tomorrow's", "weights_agree", (weighed(70, "o1", ago(hours=-24)), weighed(90, "o2")), present()),
    Row(
        "before and after the birth",
        "weights_agree",
        (weighed(90, "o1", ago(days=3)), weighed(70, "o2"), done(CAESAREAN, "p", ago(days=1))),
        present(),
    ),
    Row(
        "both after the birth",
        "weights_agree",
        (weighed(90, "o1", ago(hours=20)), weighed(70, "o2"), done(CAESAREAN, "p", ago(days=1))),
        unknown(Doubt.CONFLICTING, kilos("90", "o1", instant(hours=20)), kilos("70", "o2", H1)),
    ),
    Row(
        "a height of 165 cm", "height", (measured(HEIGHT, 165, "cm"),), known(165, by=seen("o", "165", "cm", H1), at=H1)
    ),
    Row("72", "heart_rate", (measured(PULSE, 72, "/min"),), known(72, by=seen("o", "72", "/min", H1), at=H1)),
    Row(
        "a day ago",
        "heart_rate",
        (measured(PULSE, 72, "/min", at=ago(hours=24)),),
        known(72, by=seen("o", "72", "/min", instant(hours=24)), at=instant(hours=24)),
    ),
    Row(
        "longer ago",
        "heart_rate",
        (measured(PULSE, 71, "/min", "o1", ago(hours=30)), measured(PULSE, 72, "/min", "o2", ago(hours=24, seconds=1))),
        unknown(Doubt.TOO_OLD, seen("o2", "72", "/min", instant(hours=24, seconds=1))),
    ),
    Row(
        "longer ago, and cut short",
        "heart_rate",
        (measured(PULSE, 72, "/min", at=ago(hours=25)),),
        unknown(Doubt.TOO_OLD, seen("o", "72", "/min", instant(hours=25))),
        {"vital_signs": Had.CUT_SHORT},
    ),
    Row(
        "undated", "heart_rate", (measured(PULSE, 72, "/min", at=None),), known(72, by=seen("o", "72", "/min"), at=None)
    ),
    Row(
        "unreadable, and behind it one of two hours ago",
        "heart_rate",
        (measured(PULSE, 999, "/min", "o1"), measured(PULSE, 72, "/min", "o2", ago(hours=2))),
        known(72, by=seen("o2", "72", "/min", H2), at=H2, incomplete=True),
    ),
    Row(
        "unreadable, and nothing behind it",
        "heart_rate",
        (measured(PULSE, 999, "/min"),),
        unknown(Doubt.UNREADABLE, seen("o", "999", "/min", H1)),
    ),
    Row(
        "tomorrow's, and behind it one of two hours ago",
        "heart_rate",
        (measured(PULSE, 72, "/min", "o1", ago(hours=-24)), measured(PULSE, 80, "/min", "o2", ago(hours=2))),
        known(80, by=seen("o2", "80", "/min", H2), at=H2, incomplete=True),
    ),
    Row("90", "platelets", (measured(PLATELETS, 90, "10*9/L"),), known(90, by=seen("o", "90", "10*9/L", H1), at=H1)),
    Row("none", "platelets", (), ABSENT),
    Row("a week ago and more", "platelets", (measured(PLATELETS, 90, "10*9/L", at=ago(hours=169)),), ABSENT),
    Row("no value", "platelets", (observed(PLATELETS),), unknown(Doubt.NOT_RECORDED, seen("o", at=H1))),
    Row("preliminary does not count", "platelets", (measured(PLATELETS, 90, "10*9/L", status="preliminary"),), ABSENT),
    Row("not received", "platelets", (), unknown(Doubt.NOT_RECEIVED), {"laboratory": Had.NOT_ASKED}),
    Row(
        "three times the limit",
        "alt_ratio",
        (measured(ALT, 120, "U/L", referenceRange=[{"high": quantity(40, "U/L")}]),),
        known(Fraction(3), by=seen("o", "120", "U/L", H1), at=H1),
    ),
    Row(
        "of two limits the lowest",
        "alt_ratio",
        (measured(ALT, 120, "U/L", referenceRange=[{"high": quantity(60, "U/L")}, {"high": quantity(40, "U/L")}]),),
        known(Fraction(3), by=seen("o", "120", "U/L", H1), at=H1),
    ),
    Row(
        "a limit without a unit",
        "alt_ratio",
        (measured(ALT, 120, "U/L", referenceRange=[{"high": {"value": 40}}]),),
        known(Fraction(3), by=seen("o", "120", "U/L", H1), at=H1),
    ),
    Row(
        "a limit of none",
        "alt_ratio",
        (measured(ALT, 120, "U/L", referenceRange=[{"high": {"value": 0}}]),),
        unknown(Doubt.UNREADABLE, seen("o", "120", "U/L", H1)),
    ),
    Row(
        "a limit that is one itself",
        "alt_ratio",
        (measured(ALT, 3, "U/L", referenceRange=[{"high": {"value": 1}}]),),
        known(Fraction(3), by=seen("o", "3", "U/L", H1), at=H1),
    ),
    Row("no limit", "alt_ratio", (measured(ALT, 120, "U/L"),), unknown(Doubt.UNREADABLE, seen("o", "120", "U/L", H1))),
    Row(
        "a limit with a comparator",
        "alt_ratio",
        (measured(ALT, 120, "U/L", referenceRange=[{"high": {"value": 40, "comparator": "<"}}]),),
        unknown(Doubt.UNREADABLE, seen("o", "120", "U/L", H1)),
    ),
    Row(
        "years ago",
        "apnoea_hypopnoea_index",
        (measured(APNOEA, 20, "/h", at="2019-05-01"),),
        known(20, by=seen("o", "20", "/h", day("2019-05-01")), at=day("2019-05-01")),
    ),
    Row(
        "the highest of a day",
        "systolic_any",
        (pressed(150, 80, "o1", ago(hours=5)), pressed(120, 80, "o2")),
        known(150, by=seen("o1", "150", "mm[Hg]", H5), at=H5),
    ),
    Row(
        "the highest, one unreadable",
        "systolic_any",
        (pressed(150, 80, "o1"), pressed(999, 80, "o2")),
        known(150, by=seen("o1", "150", "mm[Hg]", H1), at=H1, incomplete=True),
    ),
    Row(
        "the highest, one tomorrow",
        "systolic_any",
        (pressed(150, 80, "o1"), pressed(160, 80, "o2", ago(hours=-24))),
        known(150, by=seen("o1", "150", "mm[Hg]", H1), at=H1, incomplete=True),
    ),
    Row(
        "a number on the panel itself",
        "systolic",
        (pressed(None, None, valueString="118/74"),),
        unknown(Doubt.UNREADABLE, seen("o", at=H1)),
    ),
    Row(
        "of this birth",
        "blood_loss",
        (measured(LOSS, 700, "mL"), done(CAESAREAN, "p", ago(hours=2))),
        known(700, by=seen("o", "700", "mL", H1), at=H1),
    ),
    Row(
        "a day before it",
        "blood_loss",
        (measured(LOSS, 700, "mL", at=ago(hours=26)), done(CAESAREAN, "p", ago(hours=2))),
        known(700, by=seen("o", "700", "mL", instant(hours=26)), at=instant(hours=26)),
    ),
    Row(
        "of a birth before",
        "blood_loss",
        (measured(LOSS, 700, "mL", at=ago(hours=26, seconds=1)), done(CAESAREAN, "p", ago(hours=2))),
        unknown(Doubt.TOO_OLD, seen("o", "700", "mL", instant(hours=26, seconds=1))),
    ),
    Row(
        "before the birth, a day ago",
        "blood_loss",
        (measured(LOSS, 700, "mL", at=ago(hours=24)),),
        known(700, by=seen("o", "700", "mL", instant(hours=24)), at=instant(hours=24)),
    ),
    *(
        Row(
            f"{sign} 1000 mL",
            "blood_loss",
            (lost(1000, sign),),
            known(1000, by=seen("o", "1000", "mL", H1), at=H1, incomplete=True),
        )
        for sign in (">", ">=")
    ),
    *(
        Row(f"{sign} 400 mL", "blood_loss", (lost(400, sign),), unknown(Doubt.UNREADABLE, seen("o", "400", "mL", H1)))
        for sign in ("<", "<=", "ad")
    ),
    Row(
        "more than a number, and more than that",
        "blood_loss",
        (lost(1000, ">"), measured(LOSS, 1200, "mL", "o2")),
        known(1200, by=seen("o2", "1200", "mL", H1), at=H1, incomplete=True),
    ),
    Row(
        "more than a number, beside the reason why there is none",
        "blood_loss",
        (lost(1000, ">", dataAbsentReason={"text": "error"}),),
        unknown(Doubt.UNREADABLE, seen("o", "1000", "mL", H1)),
    ),
    Row(
        "more than anybody can lose",
        "blood_loss",
        (lost(20001, ">"),),
        unknown(Doubt.UNREADABLE, seen("o", "20001", "mL", H1)),
    ),
    Row("undated", "blood_loss", (measured(LOSS, 700, "mL", at=None),), known(700, by=seen("o", "700", "mL"), at=None)),
]

PRESSURES = [
    Row(
        "one panel",
        "blood_pressure",
        (pressed(118, 74),),
        Finding(State.PRESENT, (seen("o", "118/74", "mm[Hg]", H1),), at=H1),
    ),
    Row(
        "two single values of one instant",
        "blood_pressure",
        (measured(SYSTOLIC, 118, "mm[Hg]", "o1"), measured(DIASTOLIC, 74, "mm[Hg]", "o2")),
        Finding(State.PRESENT, (seen("o1", "118/74", "mm[Hg]", H1),), at=H1),
    ),
    Row(
        "two single values of two instants",
        "blood_pressure",
        (measured(SYSTOLIC, 118, "mm[Hg]", "o1"), measured(DIASTOLIC, 74, "mm[Hg]", "o2", ago(hours=2))),
        unknown(Doubt.INCOMPLETE, seen("o1", "118", "mm[Hg]", H1)),
    ),
    Row(
        "undated", "blood_pressure", (pressed(118, 74, at=None),), unknown(Doubt.NOT_DATED, seen("o", "118", "mm[Hg]"))
    ),
    Row("none", "blood_pressure", (), unknown(Doubt.NOT_RECORDED)),
    Row("not received", "blood_pressure", (), unknown(Doubt.NOT_RECEIVED), {"vital_signs": Had.FAILED}),
    Row("cut short", "blood_pressure", (), unknown(Doubt.NOT_RECORDED), {"vital_signs": Had.CUT_SHORT}),
    Row(
        "one, and cut short",
        "blood_pressure",
        (pressed(118, 74),),
        Finding(State.PRESENT, (seen("o", "118/74", "mm[Hg]", H1),), at=H1, incomplete=True),
        {"vital_signs": Had.CUT_SHORT},
    ),
    Row(
        "tomorrow's",
        "blood_pressure",
        (pressed(118, 74, "o1", ago(hours=-24)), pressed(120, 80, "o2")),
        unknown(Doubt.IN_THE_FUTURE, seen("o1", "118", "mm[Hg]", TOMORROW)),
    ),
    Row("swapped", "blood_pressure", (pressed(74, 118),), unknown(Doubt.CONFLICTING, seen("o", "74", "mm[Hg]", H1))),
    Row(
        "twice the same number",
        "blood_pressure",
        (pressed(90, 90),),
        unknown(Doubt.CONFLICTING, seen("o", "90", "mm[Hg]", H1)),
    ),
    Row(
        "one value cannot be one",
        "blood_pressure",
        (pressed(118, 9),),
        unknown(Doubt.UNREADABLE, seen("o", "118", "mm[Hg]", H1)),
    ),
    Row("the other", "blood_pressure", (pressed(321, 90),), unknown(Doubt.UNREADABLE, seen("o", "321", "mm[Hg]", H1))),
    Row(
        "the latest of two",
        "blood_pressure",
        (pressed(150, 90, "o1", ago(hours=2)), pressed(118, 74, "o2")),
        Finding(State.PRESENT, (seen("o2", "118/74", "mm[Hg]", H1),), at=H1),
    ),
    Row(
        "two of one instant",
        "blood_pressure",
        (pressed(150, 90, "o1"), pressed(118, 74, "o2")),
        Finding(State.PRESENT, (seen("o1", "150/90", "mm[Hg]", H1),), at=H1, conflict=True),
    ),
    Row(
        "two of one instant that agree",
        "blood_pressure",
        (pressed(118, 74, "o1"), pressed(118, 74, "o2")),
        Finding(State.PRESENT, (seen("o1", "118/74", "mm[Hg]", H1),), at=H1),
    ),
]

UNIT = {"value": 40, "system": UCUM}

NO_UNIT_OF_OURS = unknown(Doubt.UNREADABLE, seen("o", "120", "U/L", H1))

EDGES = [
    Row(
        "of her whom another name stands for",
        "weight",
        (weighed(70, focus=[{"reference": "urn:uuid:1"}], subject={"reference": "urn:uuid:1"}),),
        known(70, by=kilos("70", at=H1), at=H1),
    ),
    Row(
        "two of one instant, issued without a zone",
        "weight",
        (weighed(71, "o1", issued="2026-11-23T11:40:00"), weighed(70, "o2", issued="2026-11-23T11:30:00Z")),
        known(71, by=kilos("71", "o1", H1), at=H1),
    ),
    Row(
        "issued without a zone, alone",
        "weight",
        (weighed(70, at=None, issued="2026-11-23T11:40:00"),),
        known(
            70,
            by=Evidence("Observation/o", "70", "kg", "2026-11-23T11:40:00"),
            at=Moment(NOON - 20 * MINUTE, NOON - 20 * MINUTE, Precision.YEAR, "2026-11-23T11:40:00"),
        ),
    ),
    Row(
        "at a time that cannot be read, and never issued",
        "weight",
        (weighed(70, at="yesterday"),),
        known(70, by=kilos("70"), at=None),
    ),
    Row(
        "since tomorrow",
        "weight",
        (weighed(70, at=None, effectivePeriod={"start": ago(hours=-24)}),),
        known(70, by=kilos("70"), at=None),
    ),
    Row(
        "of the day that ended at that hour",
        "weight",
        (weighed(71, "o1", "2026-11-22"), weighed(70, "o2", "2026-11-23T00:00:00Z")),
        known(70, by=kilos("70", "o2", instant(hours=12)), at=instant(hours=12)),
    ),
    Row(
        "a day, and a month that began later",
        "weight",
        (weighed(70, "o1", "2026-10-31"), weighed(70, "o2", "2026-11")),
        known(
            70,
            by=(kilos("70", "o1", day("2026-10-31")), Evidence("Observation/o2", "70", "kg", "2026-11")),
            at=day("2026-10-31"),
        ),
    ),
    Row(
        "10 % more than the lower, and nobody knows which was first",
        "weights_agree",
        (weighed(63, "o1", "2026-11-23"), weighed(70, "o2")),
        unknown(Doubt.CONFLICTING, kilos("70", "o2", H1), kilos("63", "o1", day("2026-11-23"))),
    ),
    Row(
        "a panel of something else, with a value of its own",
        "heart_rate",
        (pressed(None, None, valueString="118/74"),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "a cancelled one before it",
        "weight",
        (weighed(71, "o1", status="cancelled"), weighed(70, "o2")),
        known(70, by=kilos("70", "o2", H1), at=H1),
    ),
    Row(
        "the newborn's before it",
        "weight",
        (weighed(3, "o1", focus=[{"reference": "Patient/child"}]), weighed(70, "o2")),
        known(70, by=kilos("70", "o2", H1), at=H1),
    ),
    Row(
        "the newborn's, in an object",
        "weight",
        (weighed(3, focus={"reference": "Patient/child"}),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "of herself, by another name",
        "weight",
        (weighed(70, focus=[HER], subject={"reference": "urn:uuid:1"}),),
        known(70, by=kilos("70", at=H1), at=H1),
    ),
    Row(
        "over a period without a zone",
        "weight",
        (weighed(70, at=None, effectivePeriod={"start": "2026-11-23T10:00:00", "end": "2026-11-23T11:00:00"}),),
        known(
            70,
            by=kilos("70", at=Moment(H2.earliest, H1.latest, Precision.TIME, "2026-11-23T10:00:00")),
            at=Moment(H2.earliest, H1.latest, Precision.TIME, "2026-11-23T10:00:00"),
        ),
    ),
    Row(
        "the later of two days",
        "weight",
        (weighed(70, "o1", "2026-11-22"), weighed(71, "o2", "2026-11-20")),
        known(70, by=kilos("70", "o1", day("2026-11-22")), at=day("2026-11-22")),
    ),
    Row(
        "a day and an hour of it, both issued",
        "weight",
        (weighed(71, "o1", "2026-11-23", issued=ago(minutes=9)), weighed(70, "o2", issued=ago(minutes=5))),
        known(70, 71, by=(kilos("70", "o2", H1), kilos("71", "o1", day("2026-11-23"))), at=H1, conflict=True),
    ),
    Row(
        "a preliminary one before it",
        "platelets",
        (measured(PLATELETS, 80, "10*9/L", "o1", status="preliminary"), measured(PLATELETS, 90, "10*9/L", "o2")),
        known(90, by=seen("o2", "90", "10*9/L", H1), at=H1),
    ),
    Row(
        "the lowest that is one",
        "height",
        (measured(HEIGHT, 100, "cm"),),
        known(100, by=seen("o", "100", "cm", H1), at=H1),
    ),
    Row(
        "lower than any",
        "height",
        (measured(HEIGHT, 99.9, "cm"),),
        unknown(Doubt.UNREADABLE, seen("o", "99.9", "cm", H1)),
    ),
    Row(
        "more than a number",
        "alt_ratio",
        (
            observed(
                ALT, valueQuantity=quantity(120, "U/L", comparator=">"), referenceRange=[{"high": quantity(40, "U/L")}]
            ),
        ),
        NO_UNIT_OF_OURS,
    ),
    Row(
        "a limit in another unit, by its code",
        "alt_ratio",
        (measured(ALT, 120, "U/L", referenceRange=[{"high": UNIT | {"code": "g"}}]),),
        NO_UNIT_OF_OURS,
    ),
    Row(
        "a limit in another unit, by its word",
        "alt_ratio",
        (measured(ALT, 120, "U/L", referenceRange=[{"high": UNIT | {"unit": "g"}}]),),
        NO_UNIT_OF_OURS,
    ),
    Row(
        "of nobody knows whom",
        "heart_rate",
        (measured(PULSE, 72, "/min", focus=[{"display": "x"}]),),
        unknown(Doubt.UNCLEAR, seen("o", "72", "/min", H1)),
    ),
    Row(
        "the highest, twice",
        "systolic_any",
        (pressed(150, 80, "o1", ago(hours=5)), pressed(150, 90, "o2")),
        known(150, by=seen("o1", "150", "mm[Hg]", H5), at=H5),
    ),
    Row(
        "two panels of one instant, of which a mixture would be none",
        "blood_pressure",
        (pressed(120, 110, "o1"), pressed(100, 70, "o2")),
        Finding(State.PRESENT, (seen("o1", "120/110", "mm[Hg]", H1),), at=H1, conflict=True),
    ),
    Row(
        "the lower value undated",
        "blood_pressure",
        (measured(SYSTOLIC, 118, "mm[Hg]", "o1"), measured(DIASTOLIC, 74, "mm[Hg]", "o2", None)),
        unknown(Doubt.INCOMPLETE, seen("o1", "118", "mm[Hg]", H1)),
    ),
    Row(
        "three of tomorrow, of which two are named",
        "blood_pressure",
        tuple(pressed(118, 74, f"o{n}", ago(hours=-24)) for n in (1, 2, 3)),
        unknown(Doubt.IN_THE_FUTURE, seen("o1", "118", "mm[Hg]", TOMORROW), seen("o2", "118", "mm[Hg]", TOMORROW)),
    ),
    Row(
        "three halves, of which two are named",
        "blood_pressure",
        tuple(measured(SYSTOLIC, 118, "mm[Hg]", f"o{n}") for n in (1, 2, 3)),
        unknown(Doubt.INCOMPLETE, seen("o1", "118", "mm[Hg]", H1), seen("o2", "118", "mm[Hg]", H1)),
    ),
    Row(
        "a preliminary status",
        "pregnancy",
        (observed(STATUS, status="preliminary", valueCodeableConcept=coded(SNOMED, PREGNANT)),),
        ABSENT,
    ),
    Row(
        "a preliminary no",
        "breastfeeding_recorded",
        (observed(FEEDING, status="preliminary", valueBoolean=False),),
        present(),
    ),
]


@pytest.mark.parametrize("row", [*MEASURED, *PRESSURES, *EDGES], ids=str)
def test_what_is_read_of_a_fact(row: Row) -> None:
    found = read_of(row)

    assert found.facts[row.fact] == row.comes
    assert found.facts.now == NOON
