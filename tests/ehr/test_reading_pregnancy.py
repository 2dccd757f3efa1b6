"""What is read of a pregnancy and a birth: when, how, under which anaesthesia, and how fit she was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from reading import (
    ASA,
    ASSESSED,
    BIRTH,
    CAESAREAN,
    DELIVERY,
    DUE,
    EPIDURAL,
    FEEDING,
    GENERAL,
    H1,
    H2,
    H5,
    HL7,
    LOINC,
    METHOD,
    NOON,
    PERIOD,
    PREGNANT,
    SNOMED,
    STATUS,
    STAYS,
    TOMORROW,
    VAGINAL,
    WEIGHT,
    Json,
    Row,
    ago,
    coded,
    day,
    done,
    entry,
    instant,
    known,
    observed,
    problem,
    quantity,
    read_of,
    seen,
    wanted,
    weighed,
)

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.clinical.stage import Stage
from cds_service.ehr.answers import Had

NOT_DONE = coded(HL7 + "data-absent-reason", "not-performed")
THE_DAY_BEFORE = Moment(instant(hours=25).earliest, H1.latest, Precision.YEAR, H1.text)


def clamp(at: str) -> Json:
    return observed({"text": "Cord clamping time"}, "o9", valueDateTime=at)


BIRTHS = [
    Row("a caesarean done", "birth", (done(CAESAREAN),), Finding(State.PRESENT, (seen("p", at=H1),), at=H1)),
    Row(
        "over a period",
        "birth",
        (done(DELIVERY, at=None, performedPeriod={"start": ago(hours=2), "end": ago(hours=1)}),),
        Finding(State.PRESENT, (seen("p", at=H2),), at=Moment(H2.earliest, H1.latest, Precision.TIME, H2.text)),
    ),
    Row(
        "over a period of which only the end is known",
        "birth",
        (done(DELIVERY, at=None, performedPeriod={"end": ago(hours=1)}),),
        Finding(State.PRESENT, (seen("p", at=H1),), at=replace(H1, precision=Precision.YEAR)),
    ),
    *(
        Row(
            f"a cord clamping and a birth, and a caesarean that was charted {when}",
            "birth",
            (clamp(ago(hours=2)), observed(BIRTH, valueDateTime=ago(hours=3)), done(CAESAREAN, at=at)),
            Finding(State.PRESENT, (by,), at=comes),
        )
        for when, at, by, comes in (
            ("at the end of surgery", ago(hours=1), seen("o9", at=H2), H2),
            ("with the clamping", ago(hours=2), seen("o9", at=H2), H2),
            ("with the birth", ago(hours=3), seen("o9", at=H2), H2),
            ("before both", ago(hours=5), seen("p", at=H5), H5),
        )
    ),
    Row(
        "a birth outweighs the caesarean that was charted later",
        "birth",
        (observed(BIRTH, valueDateTime=ago(hours=2)), done(CAESAREAN)),
        Finding(State.PRESENT, (seen("o", at=H2),), at=H2),
    ),
    Row(
        "a birth outweighs the period of the caesarean around it",
        "birth",
        (
            observed(BIRTH, valueDateTime=ago(hours=2)),
            done(CAESAREAN, at=None, performedPeriod={"start": ago(hours=3), "end": ago(hours=1)}),
        ),
        Finding(State.PRESENT, (seen("o", at=H2),), at=H2),
    ),
    Row(
        "a birth outweighs the day of the caesarean",
        "birth",
        (observed(BIRTH, valueDateTime=ago(hours=2)), done(CAESAREAN, at="2026-11-23")),
        Finding(State.PRESENT, (seen("o", at=H2),), at=H2),
    ),
    Row(
        "twins: the birth of the last, and a procedure of each",
        "birth",
        (
            observed(BIRTH, "o1", valueDateTime=ago(hours=2)),
            observed(BIRTH, "o2", valueDateTime=ago(hours=1)),
            done(VAGINAL, "p1", ago(hours=2)),
            done(CAESAREAN, "p2", ago(minutes=30)),
        ),
        Finding(State.PRESENT, (seen("o2", at=H1),), at=H1),
    ),
    Row(
        "the birth of an earlier child, and a caesarean now",
        "birth",
        (observed(BIRTH, valueDateTime=ago(days=700)), done(CAESAREAN)),
        Finding(State.PRESENT, (seen("p", at=H1),), at=H1),
    ),
    Row(
        "24 hours before, it is this birth's",
        "birth",
        (observed(BIRTH, valueDateTime=ago(hours=25)), done(CAESAREAN)),
        Finding(State.PRESENT, (seen("o", at=instant(hours=25)),), at=instant(hours=25)),
    ),
    Row(
        "longer before, another's",
        "birth",
        (observed(BIRTH, valueDateTime=ago(hours=25, seconds=1)), done(CAESAREAN)),
        Finding(State.PRESENT, (seen("p", at=H1),), at=H1),
    ),
    Row(
        "a clamping that cannot be read, and a birth",
        "birth",
        (clamp("a while ago"), observed(BIRTH, valueDateTime=ago(hours=2))),
        Finding(State.PRESENT, (seen("o", at=H2),), at=H2),
    ),
    *(
        Row(
            f"an hour that cannot be read: {value}",
            "birth",
            (observed(BIRTH, **value),),
            Finding(State.PRESENT, (seen("o", at=H1),), at=THE_DAY_BEFORE),
        )
        for value in (
            {"valueDateTime": "2026-11-23 10.30"},
            {"valueDateTime": 7},
            {"valueString": "half past ten"},
            {"valueTime": "half past ten"},
            {"valueTime": "11:00:01"},
            {"valueDateTime": ago(hours=2), "valueTime": "10:30:00"},
        )
    ),
    Row(
        "an hour of the day on which it was charted",
        "birth",
        (observed(BIRTH, valueTime="10:30:00"),),
        Finding(
            State.PRESENT,
            (Evidence("Observation/o", None, None, "2026-11-23T10:30:00"),),
            at=replace(instant(minutes=90), text="2026-11-23T10:30:00"),
        ),
    ),
    Row(
        "an hour that was charted by another clock",
        "birth",
        (observed(BIRTH, at="2026-11-23T12:00:00+01:00", valueTime="10:30:00"),),
        Finding(
            State.PRESENT,
            (Evidence("Observation/o", None, None, "2026-11-23T12:00:00+01:00"),),
            at=replace(THE_DAY_BEFORE, text="2026-11-23T12:00:00+01:00"),
        ),
    ),
    Row(
        "an hour that cannot be read, and nobody knows when",
        "birth",
        (observed(BIRTH, at=None, valueTime="?"),),
        ABSENT,
    ),
    Row("under way", "birth", (done(CAESAREAN, status="in-progress"),), ABSENT),
    Row("undated", "birth", (done(CAESAREAN, at=None),), ABSENT),
    Row("tomorrow", "birth", (done(CAESAREAN, at=ago(hours=-24)),), ABSENT),
    Row("something else done", "birth", (done(EPIDURAL),), ABSENT),
    Row(
        "an hour of birth",
        "birth",
        (observed(BIRTH, at=ago(minutes=1), valueDateTime=ago(hours=1)),),
        Finding(State.PRESENT, (seen("o", at=H1),), at=H1),
    ),
    Row("recorded at its hour", "birth", (observed(BIRTH),), Finding(State.PRESENT, (seen("o", at=H1),), at=H1)),
    Row("not known, it says", "birth", (observed(BIRTH, dataAbsentReason=coded(HL7 + "x", "unknown")),), ABSENT),
    Row("preliminary", "birth", (observed(BIRTH, status="preliminary"),), ABSENT),
    Row(
        "cord clamping, in words",
        "birth",
        (observed({"text": "Cord clamping time"}, valueDateTime=ago(hours=1)),),
        Finding(State.PRESENT, (seen("o", at=H1),), at=H1),
    ),
    Row(
        "words beside another code",
        "birth",
        (observed(coded(LOINC, WEIGHT, text="Cord clamping time"), valueDateTime=ago(hours=1)),),
        ABSENT,
    ),
    Row(
        "the last of two children",
        "birth",
        (done(VAGINAL, "p1", ago(hours=2)), done(CAESAREAN, "p2")),
        Finding(State.PRESENT, (seen("p2", at=H1),), at=H1),
    ),
    Row(
        "ahead",
        "due_date_ahead",
        (observed(DUE, valueDateTime="2026-12-24"),),
        Finding(State.PRESENT, at=day("2026-12-24")),
    ),
    Row(
        "today",
        "due_date_ahead",
        (observed(DUE, valueDateTime="2026-11-23"),),
        Finding(State.PRESENT, at=day("2026-11-23")),
    ),
    Row("past", "due_date_ahead", (observed(DUE, valueDateTime="2026-11-22"),), ABSENT),
    Row(
        "300 days ahead",
        "due_date_ahead",
        (observed(DUE, valueDateTime="2027-09-19"),),
        Finding(State.PRESENT, at=day("2027-09-19")),
    ),
    Row("further ahead than a pregnancy lasts", "due_date_ahead", (observed(DUE, valueDateTime="2027-09-20"),), ABSENT),
    Row("on the problem list", "pregnancy", (problem(PREGNANT),), present(seen("c", "active", None, instant(hours=3)))),
    Row("over", "pregnancy", (problem(PREGNANT, abatementDateTime=ago(hours=1)),), ABSENT),
    Row(
        "over tomorrow",
        "pregnancy",
        (problem(PREGNANT, abatementDateTime=ago(hours=-24)),),
        present(seen("c", "active", None, instant(hours=3))),
    ),
    Row(
        "by its status",
        "pregnancy",
        (observed(STATUS, valueCodeableConcept=coded(SNOMED, PREGNANT)),),
        present(seen("o", at=H1)),
    ),
    Row(
        "denied",
        "pregnancy",
        (observed(STATUS, valueCodeableConcept=coded(SNOMED, PREGNANT, text="Not pregnant")),),
        ABSENT,
    ),
    Row(
        "300 days ago",
        "pregnancy",
        (observed(STATUS, at=ago(days=300), valueCodeableConcept=coded(SNOMED, PREGNANT)),),
        present(seen("o", at=instant(days=300))),
    ),
    Row(
        "longer ago",
        "pregnancy",
        (observed(STATUS, at=ago(days=300, seconds=1), valueCodeableConcept=coded(SNOMED, PREGNANT)),),
        ABSENT,
    ),
    Row(
        "not any more",
        "pregnancy",
        (
            observed(STATUS, "o1", ago(hours=2), valueCodeableConcept=coded(SNOMED, PREGNANT)),
            observed(STATUS, "o2", valueCodeableConcept={"text": "no"}),
        ),
        ABSENT,
    ),
    Row(
        "of one instant, the one issued last",
        "pregnancy",
        (
            observed(STATUS, "o1", issued=ago(minutes=5), valueCodeableConcept=coded(SNOMED, PREGNANT)),
            observed(STATUS, "o2", issued=ago(minutes=9), valueCodeableConcept={"text": "no"}),
        ),
        present(seen("o1", at=H1)),
    ),
    Row(
        "of nobody knows whom",
        "pregnancy",
        (observed(STATUS, focus=[{"display": "x"}], valueCodeableConcept=coded(SNOMED, PREGNANT)),),
        ABSENT,
    ),
]

CONFLICT = unknown(Doubt.CONFLICTING, seen("p1"), seen("p2"))

MODES = [
    Row("done", "delivery_mode", (done(CAESAREAN),), present(seen("p"))),
    Row("done", "caesarean", (done(CAESAREAN),), present(seen("p"))),
    Row("forceps", "delivery_mode", (done(VAGINAL),), present(seen("p"))),
    Row("forceps", "caesarean", (done(VAGINAL),), ABSENT),
    Row("both", "delivery_mode", (done(CAESAREAN, "p1"), done(VAGINAL, "p2")), CONFLICT),
    Row("both", "caesarean", (done(VAGINAL, "p2"), done(CAESAREAN, "p1")), CONFLICT),
    Row("nothing", "delivery_mode", (), unknown(Doubt.NOT_RECORDED)),
    Row("nothing", "caesarean", (), unknown(Doubt.NOT_RECORDED)),
    Row("procedures not received", "delivery_mode", (), unknown(Doubt.RESTRICTED), {"procedures": Had.RESTRICTED}),
    Row("answers not received", "delivery_mode", (), unknown(Doubt.NOT_RECEIVED), {"obstetrics": Had.FAILED}),
    Row(
        "the question",
        "delivery_mode",
        (observed(METHOD, valueCodeableConcept=coded(SNOMED, CAESAREAN)),),
        present(seen("o", at=H1)),
    ),
    Row(
        "the question, of a birth before",
        "delivery_mode",
        (observed(METHOD, at=ago(hours=25), valueCodeableConcept=coded(SNOMED, CAESAREAN)),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row("ordered", "delivery_mode", (problem(PREGNANT), wanted(CAESAREAN)), present(seen("s"))),
    Row(
        "drafted",
        "delivery_mode",
        (problem(PREGNANT),),
        present(seen("s")),
        drafts=(wanted(CAESAREAN, status="draft"),),
    ),
    Row(
        "drafted, and taken back",
        "delivery_mode",
        (problem(PREGNANT),),
        unknown(Doubt.NOT_RECORDED),
        drafts=(wanted(CAESAREAN, status="revoked"),),
    ),
    Row(
        "never", "delivery_mode", (problem(PREGNANT), wanted(CAESAREAN, doNotPerform=True)), unknown(Doubt.NOT_RECORDED)
    ),
    Row(
        "ordered, for an earlier child",
        "delivery_mode",
        (problem(PREGNANT), wanted(CAESAREAN, status="completed")),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row("ordered, after the birth", "delivery_mode", (done(DELIVERY), wanted(CAESAREAN)), unknown(Doubt.NOT_RECORDED)),
    Row("under way", "delivery_mode", (problem(PREGNANT), done(CAESAREAN, status="in-progress")), present(seen("p"))),
    Row(
        "a day before the birth",
        "delivery_mode",
        (done(DELIVERY, "p1", ago(hours=2)), done(CAESAREAN, "p2", ago(hours=26))),
        present(seen("p2")),
    ),
    Row(
        "earlier",
        "delivery_mode",
        (done(DELIVERY, "p1", ago(hours=2)), done(CAESAREAN, "p2", ago(hours=26, seconds=1))),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "since she was admitted",
        "delivery_mode",
        (done(DELIVERY, "p1", ago(hours=2)), done(CAESAREAN, "p2", ago(hours=30))),
        present(seen("p2")),
        encounter=STAYS,
    ),
    Row(
        "before she was admitted",
        "delivery_mode",
        (done(DELIVERY, "p1", ago(hours=2)), done(CAESAREAN, "p2", ago(hours=31))),
        unknown(Doubt.NOT_RECORDED),
        encounter=STAYS,
    ),
]

NOT_SURE = unknown(Doubt.UNCLEAR, seen("p1"))

ANAESTHESIA = [
    Row("an epidural", "anaesthesia", (done(EPIDURAL),), present(seen("p"))),
    Row("an epidural", "neuraxial_anaesthesia", (done(EPIDURAL),), present(seen("p"))),
    Row("an epidural", "general_anaesthesia", (done(EPIDURAL),), ABSENT),
    Row(
        "an epidural, and cut short",
        "general_anaesthesia",
        (done(EPIDURAL),),
        unknown(Doubt.INCOMPLETE),
        {"procedures": Had.CUT_SHORT},
    ),
    Row("both", "anaesthesia", (done(EPIDURAL, "p1"), done(GENERAL, "p2")), present(seen("p2"), seen("p1"))),
    Row("general", "neuraxial_anaesthesia", (done(GENERAL),), ABSENT),
    Row("general", "general_anaesthesia", (done(GENERAL),), present(seen("p"))),
    *(
        Row("general, and nobody knows whether it was given", fact, (done(GENERAL, "p1", status="unknown"),), NOT_SURE)
        for fact in ("anaesthesia", "general_anaesthesia")
    ),
    *(
        Row(
            "an epidural, and perhaps a general one",
            fact,
            (done(EPIDURAL), done(GENERAL, "p1", status="unknown")),
            comes,
        )
        for fact, comes in (
            ("anaesthesia", NOT_SURE),
            ("general_anaesthesia", NOT_SURE),
            ("neuraxial_anaesthesia", present(seen("p"))),
        )
    ),
    Row(
        "general, and perhaps another",
        "general_anaesthesia",
        (done(GENERAL), done(GENERAL, "p1", status="unknown")),
        present(seen("p")),
    ),
    Row(
        "an epidural of which nobody knows",
        "anaesthesia",
        (done(EPIDURAL, status="unknown"),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "perhaps a general one, of long ago",
        "general_anaesthesia",
        (done(EPIDURAL), done(GENERAL, "p1", ago(days=400), status="unknown")),
        ABSENT,
    ),
    *(
        Row(f"in words: {text}", "general_anaesthesia", ((done("1") | {"code": {"text": text}}),), present(seen("p")))
        for text in ("General endotracheal anesthesia", "General anaesthesia, endotracheal", "Endotracheal anaesthesia")
    ),
    Row("nothing", "anaesthesia", (), unknown(Doubt.NOT_RECORDED)),
    Row("nothing", "neuraxial_anaesthesia", (), unknown(Doubt.NOT_RECORDED)),
    Row("given up", "anaesthesia", (done(EPIDURAL, status="stopped"),), unknown(Doubt.NOT_RECORDED)),
    Row("general, given up", "anaesthesia", (done(GENERAL, status="stopped"),), present(seen("p"))),
    Row("not done", "anaesthesia", (done(GENERAL, status="not-done"),), unknown(Doubt.NOT_RECORDED)),
    Row("of long ago", "anaesthesia", (done(EPIDURAL, at=ago(days=400)),), unknown(Doubt.NOT_RECORDED)),
    Row("a day ago", "anaesthesia", (done(EPIDURAL, at=ago(hours=24)),), present(seen("p"))),
    Row("ordered", "anaesthesia", (wanted(EPIDURAL),), present(seen("s"))),
    Row("ordered, never", "anaesthesia", (wanted(EPIDURAL, doNotPerform=True),), unknown(Doubt.NOT_RECORDED)),
    Row("ordered and done today", "anaesthesia", (wanted(EPIDURAL, status="completed"),), present(seen("s"))),
    Row(
        "ordered and done long ago",
        "anaesthesia",
        (wanted(EPIDURAL, status="completed", authoredOn=ago(days=400)),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "ordered long ago, done today",
        "anaesthesia",
        (wanted(EPIDURAL, status="completed", authoredOn=ago(days=90), occurrenceDateTime=ago(hours=1)),),
        present(seen("s")),
    ),
    Row("revoked", "anaesthesia", (wanted(EPIDURAL, status="revoked"),), unknown(Doubt.NOT_RECORDED)),
    Row(
        "drafted as a procedure",
        "anaesthesia",
        (),
        present(seen("p")),
        drafts=(done(GENERAL, at=None, status="preparation"),),
    ),
    Row(
        "drafted as a task",
        "anaesthesia",
        (),
        unknown(Doubt.NOT_RECORDED),
        drafts=(entry("Task", "t", status="draft", code=coded(SNOMED, GENERAL)),),
    ),
]


def class_(value: Any, name: str = "o", at: str | None = ago(hours=1), **more: Any) -> Json:
    return observed(ASA, name, at, **{"valueInteger": value} | more)


def asa(number: str | None, name: str = "o", at: Moment | None = H1) -> Evidence:
    return seen(name, number, None, at)


STAY = [
    *(
        Row(f"written as {written}", "asa_class", (observed(ASA, **written),), known(2, by=asa("2"), at=None))
        for written in (
            {"valueInteger": 2},
            {"valueQuantity": quantity(2, "1")},
            {"valueString": "II"},
            {"valueString": "ASA 2"},
            {"valueString": "Class iie"},
            {"valueCodeableConcept": {"text": "ASA: II"}},
            {"valueCodeableConcept": coded(SNOMED, "413496000")},
            {"valueCodeableConcept": coded("local", "2")},
        )
    ),
    *(
        Row(f"not one: {written}", "asa_class", (observed(ASA, **written),), unknown(Doubt.UNREADABLE, asa(None)))
        for written in (
            {"valueInteger": 0},
            {"valueInteger": 7},
            {"valueString": "well"},
            {"valueDecimal": 2.5},
            {"valueQuantity": {"value": 2.5}},
            {},
        )
    ),
    Row("six", "asa_class", (class_(6),), known(6, by=asa("6"), at=None)),
    Row("as a code of its own", "asa_class", (observed(coded(SNOMED, "413497009")),), known(3, by=asa("3"), at=None)),
    Row(
        "the latest",
        "asa_class",
        (class_(2, "o1", ago(hours=5)), class_(3, "o2")),
        known(3, by=asa("3", "o2"), at=None),
    ),
    Row(
        "two of one instant",
        "asa_class",
        (class_(3, "o1"), class_(2, "o2")),
        known(2, 3, by=(asa("3", "o1"), asa("2", "o2")), at=None, conflict=True),
    ),
    Row(
        "one beside one that cannot be read",
        "asa_class",
        (class_(3, "o1"), class_(9, "o2")),
        known(3, by=asa("3", "o1"), at=None, incomplete=True),
    ),
    Row("undated", "asa_class", (class_(3, at=None),), known(3, by=asa("3", at=None), at=None, incomplete=True)),
    Row(
        "undated, beside a dated one",
        "asa_class",
        (class_(3, "o1", None), class_(2, "o2")),
        known(2, 3, by=(asa("2", "o2"), asa("3", "o1", None)), at=None, conflict=True, incomplete=True),
    ),
    Row(
        "tomorrow's",
        "asa_class",
        (class_(3, at=ago(hours=-24)),),
        known(3, by=asa("3", at=TOMORROW), at=None, incomplete=True),
    ),
    Row(
        "300 days ago",
        "asa_class",
        (class_(3, at=ago(days=300)),),
        known(3, by=asa("3", at=instant(days=300)), at=None),
    ),
    Row("before this pregnancy", "asa_class", (class_(3, at=ago(days=300, seconds=1)),), unknown(Doubt.NOT_RECORDED)),
    Row(
        "since her last period",
        "asa_class",
        (class_(3, at=ago(days=200)), observed(PERIOD, "o2", valueDateTime=ago(days=200))),
        known(3, by=asa("3", at=instant(days=200)), at=None),
    ),
    Row(
        "before her last period",
        "asa_class",
        (class_(3, at=ago(days=201)), observed(PERIOD, "o2", valueDateTime=ago(days=200))),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "280 days before she is due",
        "asa_class",
        (class_(3, at="2026-03-20T00:00:00Z"), observed(DUE, "o2", valueDateTime="2026-12-25")),
        known(3, by=Evidence("Observation/o", "3", None, "2026-03-20T00:00:00Z"), at=None),
    ),
    Row(
        "before that",
        "asa_class",
        (class_(3, at="2026-03-19T23:59:00Z"), observed(DUE, "o2", valueDateTime="2026-12-25")),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "a period that cannot be this one's",
        "asa_class",
        (class_(3, at=ago(days=299)), observed(PERIOD, "o2", valueDateTime=ago(days=301))),
        known(3, by=asa("3", at=instant(days=299)), at=None),
    ),
    Row(
        "of nobody knows whom",
        "asa_class",
        (class_(3, focus=[{"display": "x"}]),),
        known(3, by=asa("3"), at=None, incomplete=True),
    ),
    Row(
        "cut short",
        "asa_class",
        (class_(3),),
        known(3, by=asa("3"), at=None, incomplete=True),
        {"obstetrics": Had.CUT_SHORT},
    ),
    Row("not received", "asa_class", (), unknown(Doubt.NOT_RECEIVED), {"obstetrics": Had.FAILED}),
    Row(
        "beside the reason why there is none, 2 answers nothing",
        "asa_class",
        (class_(2, dataAbsentReason=NOT_DONE),),
        known(2, by=asa("2"), at=None, incomplete=True),
    ),
    Row(
        "beside the reason why there is none, 3 still warns",
        "asa_class",
        (class_(2, "o1"), class_(3, "o2", ago(hours=5), dataAbsentReason=NOT_DONE)),
        known(2, 3, by=(asa("2", "o1"), asa("3", "o2", H5)), at=None, conflict=True, incomplete=True),
    ),
    Row(
        "not breastfeeding, beside the reason why nobody knows",
        "breastfeeding_recorded",
        (observed(FEEDING, valueBoolean=False, dataAbsentReason=NOT_DONE),),
        present(),
    ),
    Row(
        "a caesarean, beside the reason why nobody knows",
        "delivery_mode",
        (observed(METHOD, valueCodeableConcept=coded(SNOMED, CAESAREAN), dataAbsentReason=NOT_DONE),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row("preliminary", "asa_class", (class_(3, status="preliminary"),), unknown(Doubt.NOT_RECORDED)),
    Row("nothing recorded: assumed", "breastfeeding_recorded", (), present()),
    Row(
        "no",
        "breastfeeding_recorded",
        (observed(FEEDING, valueBoolean=False),),
        Finding(State.ABSENT, (seen("o", at=H1),)),
    ),
    Row("yes", "breastfeeding_recorded", (observed(FEEDING, valueBoolean=True),), present(seen("o", at=H1))),
    Row(
        "coded yes",
        "breastfeeding_recorded",
        (observed(FEEDING, valueCodeableConcept=coded(LOINC, "LA29252-6")),),
        present(seen("o", at=H1)),
    ),
    Row(
        "coded no",
        "breastfeeding_recorded",
        (observed(FEEDING, valueCodeableConcept=coded(LOINC, "LA29253-4")),),
        Finding(State.ABSENT, (seen("o", at=H1),)),
    ),
    Row(
        "the latest says no",
        "breastfeeding_recorded",
        (observed(FEEDING, "o1", ago(hours=5), valueBoolean=True), observed(FEEDING, "o2", valueBoolean=False)),
        Finding(State.ABSENT, (seen("o2", at=H1),)),
    ),
    Row(
        "the latest says nothing",
        "breastfeeding_recorded",
        (observed(FEEDING, "o1", ago(hours=5), valueBoolean=False), observed(FEEDING, "o2", valueString="?")),
        Finding(State.ABSENT, (seen("o1", at=H5),)),
    ),
    Row(
        "of one instant the one issued last",
        "breastfeeding_recorded",
        (
            observed(FEEDING, "o1", issued=ago(minutes=5), valueBoolean=False),
            observed(FEEDING, "o2", issued=ago(minutes=9), valueBoolean=True),
        ),
        Finding(State.ABSENT, (seen("o1", at=H1),)),
    ),
    Row(
        "undated no, dated yes",
        "breastfeeding_recorded",
        (observed(FEEDING, "o1", None, valueBoolean=False), observed(FEEDING, "o2", valueBoolean=True)),
        present(seen("o2", at=H1)),
    ),
    Row(
        "undated no",
        "breastfeeding_recorded",
        (observed(FEEDING, "o1", None, valueBoolean=False),),
        Finding(State.ABSENT, (seen("o1"),)),
    ),
    Row(
        "tomorrow's no",
        "breastfeeding_recorded",
        (observed(FEEDING, at=ago(hours=-24), valueBoolean=False),),
        present(),
    ),
]

DIED = coded(HL7 + "data-absent-reason", "unknown")

PREGNANCIES = [
    Row(
        "due long ago",
        "asa_class",
        (class_(3, at="2026-01-10T00:00:00Z"), observed(DUE, "o2", valueDateTime="2026-10-01")),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "a day that may be later than the hour",
        "asa_class",
        (class_(3, "o1", "2026-11-23"), class_(2, "o2")),
        known(2, 3, by=(asa("3", "o1", day("2026-11-23")), asa("2", "o2")), at=None, conflict=True),
    ),
    Row(
        "since she was admitted, without a zone",
        "delivery_mode",
        (done(DELIVERY, "p1", ago(hours=2)), done(CAESAREAN, "p2", ago(hours=30))),
        present(seen("p2")),
        encounter=STAYS | {"period": {"start": "2026-11-22T06:00:00"}},
    ),
    Row(
        "since a period of a day",
        "asa_class",
        (class_(3, at=ago(days=200)), observed(PERIOD, "o2", valueDateTime="2026-05-07")),
        known(3, by=asa("3", at=instant(days=200)), at=None),
    ),
    Row(
        "due in two years",
        "asa_class",
        (class_(3, at=ago(days=100)), observed(DUE, "o2", valueDateTime="2028-11-13")),
        known(3, by=asa("3", at=instant(days=100)), at=None),
    ),
    Row(
        "at an hour without a zone",
        "birth",
        (observed(BIRTH, valueDateTime="2026-11-23T11:00:00"),),
        Finding(
            State.PRESENT,
            (Evidence("Observation/o", None, None, "2026-11-23T11:00:00"),),
            at=Moment(H1.earliest, H1.latest, Precision.TIME, "2026-11-23T11:00:00"),
        ),
    ),
    Row(
        "done at an hour without a zone",
        "birth",
        (done(CAESAREAN, at="2026-11-23T11:00:00"),),
        Finding(
            State.PRESENT,
            (Evidence("Procedure/p", None, None, "2026-11-23T11:00:00"),),
            at=Moment(H1.earliest, H1.latest, Precision.TIME, "2026-11-23T11:00:00"),
        ),
    ),
    Row(
        "after a preliminary one",
        "asa_class",
        (class_(3, "o1", status="preliminary"), class_(2, "o2")),
        known(2, by=asa("2", "o2"), at=None),
    ),
    Row(
        "after one of before this pregnancy",
        "asa_class",
        (class_(3, "o1", ago(days=301)), class_(2, "o2")),
        known(2, by=asa("2", "o2"), at=None),
    ),
    Row(
        "after one that only stands in a part",
        "asa_class",
        (weighed(70, "o1", component=[{"code": coded(LOINC, ASA), "valueInteger": 4}]), class_(2, "o2")),
        known(2, by=asa("2", "o2"), at=None),
    ),
    Row(
        "of the day that ended at that hour",
        "asa_class",
        (class_(3, "o1", "2026-11-22"), class_(2, "o2", "2026-11-23T00:00:00Z")),
        known(2, by=asa("2", "o2", instant(hours=12)), at=None),
    ),
    Row(
        "the latest says no, and stands first",
        "breastfeeding_recorded",
        (observed(FEEDING, "o1", valueBoolean=False), observed(FEEDING, "o2", ago(hours=5), valueBoolean=True)),
        Finding(State.ABSENT, (seen("o1", at=H1),)),
    ),
    Row(
        "ordered long ago, done today without a zone",
        "anaesthesia",
        (wanted(EPIDURAL, status="completed", authoredOn=ago(days=90), occurrenceDateTime="2026-11-23T11:00:00"),),
        present(seen("s")),
    ),
    Row(
        "since the last period before the birth",
        "asa_class",
        (
            class_(3, at=ago(days=320)),
            observed(PERIOD, "o2", valueDateTime=ago(days=350)),
            done(CAESAREAN, at=ago(days=80)),
        ),
        known(3, by=asa("3", at=instant(days=320)), at=None),
    ),
    Row(
        "a period of this instant",
        "asa_class",
        (class_(3), observed(PERIOD, "o2", valueDateTime=ago(hours=0))),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "ten days overdue",
        "asa_class",
        (class_(3, at="2026-02-05T00:00:00Z"), observed(DUE, "o2", valueDateTime="2026-11-13")),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "longer overdue than anybody is",
        "asa_class",
        (class_(3, at="2026-02-05T00:00:00Z"), observed(DUE, "o2", valueDateTime="2026-11-02")),
        known(3, by=Evidence("Observation/o", "3", None, "2026-02-05T00:00:00Z"), at=None),
    ),
    Row("class 1", "asa_class", (class_(1),), known(1, by=asa("1"), at=None)),
    Row("restricted", "asa_class", (), unknown(Doubt.RESTRICTED), {"obstetrics": Had.RESTRICTED}),
    Row(
        "after a preliminary one",
        "birth",
        (observed(BIRTH, "o1", status="preliminary"), observed(BIRTH, "o2")),
        Finding(State.PRESENT, (seen("o2", at=H1),), at=H1),
    ),
    Row(
        "after something else",
        "birth",
        (weighed(70, "o1"), observed({"text": "Mood"}, "o2"), observed(BIRTH, "o3")),
        Finding(State.PRESENT, (seen("o3", at=H1),), at=H1),
    ),
    Row(
        "after one that is not known",
        "birth",
        (observed(BIRTH, "o1", dataAbsentReason=DIED), observed(BIRTH, "o2")),
        Finding(State.PRESENT, (seen("o2", at=H1),), at=H1),
    ),
    Row(
        "over a period without a zone",
        "birth",
        (done(DELIVERY, at=None, performedPeriod={"start": "2026-11-23T10:00:00", "end": "2026-11-23T11:00:00"}),),
        Finding(
            State.PRESENT,
            (Evidence("Procedure/p", None, None, "2026-11-23T10:00:00"),),
            at=Moment(H2.earliest, H1.latest, Precision.TIME, "2026-11-23T10:00:00"),
        ),
    ),
    Row(
        "done in words",
        "birth",
        ((done("1") | {"code": {"text": "Caesarean section"}}),),
        Finding(State.PRESENT, (seen("p", at=H1),), at=H1),
    ),
    Row(
        "at this instant",
        "due_date_ahead",
        (observed(DUE, valueDateTime="2026-11-23T12:00:00Z"),),
        Finding(State.PRESENT, at=instant(hours=0)),
    ),
    Row(
        "300 days ahead to the second",
        "due_date_ahead",
        (observed(DUE, valueDateTime="2027-09-19T12:00:00Z"),),
        Finding(State.PRESENT, at=instant(days=-300)),
    ),
    Row(
        "two of one instant",
        "pregnancy",
        (
            observed(STATUS, "o1", valueCodeableConcept=coded(SNOMED, PREGNANT)),
            observed(STATUS, "o2", valueCodeableConcept=coded(SNOMED, PREGNANT)),
        ),
        present(seen("o1", at=H1)),
    ),
    Row(
        "in words",
        "pregnancy",
        (observed(STATUS, valueCodeableConcept={"text": "Pregnant"}),),
        present(seen("o", at=H1)),
    ),
    Row(
        "the question, in words",
        "delivery_mode",
        (observed(METHOD, valueCodeableConcept={"text": "Cesarean"}),),
        present(seen("o", at=H1)),
    ),
    Row(
        "done in words, without a zone",
        "delivery_mode",
        ((done("1", at="2026-11-23T11:00:00") | {"code": {"text": "Caesarean section"}}),),
        present(seen("p")),
    ),
    Row(
        "ordered in words",
        "delivery_mode",
        (problem(PREGNANT), (wanted("1") | {"code": {"text": "C-section"}})),
        present(seen("s")),
    ),
    Row("drafted", "anaesthesia", (), present(seen("s")), drafts=(wanted(EPIDURAL, status="draft"),)),
    Row(
        "one never, one ordered",
        "anaesthesia",
        (wanted(GENERAL, "s1", doNotPerform=True), wanted(EPIDURAL, "s2")),
        present(seen("s2")),
    ),
    Row("in words", "anaesthesia", ((done("1") | {"code": {"text": "Spinal anaesthesia"}}),), present(seen("p"))),
]


def assessed(at: str | None = ago(hours=1), **elements: Any) -> Json:
    return observed(coded(SNOMED, ASSESSED), at=at, **elements)


ASSESSMENTS = [
    ((done(ASSESSED),), (H1,)),
    (((done("1") | {"code": {"text": "Suicide risk assessment"}}),), (H1,)),
    ((done(ASSESSED, at="2026-11-23T11:00:00"),), (replace(H1, text="2026-11-23T11:00:00"),)),
    ((done(ASSESSED, status="in-progress"),), ()),
    ((done(ASSESSED, at=None),), ()),
    ((assessed(valueString="low"),), (H1,)),
    ((assessed(valueString="low", at="2026-11-23"),), (day("2026-11-23"),)),
    ((assessed(valueString="low", at="2026-11"),), ()),
    ((assessed(valueString="low", at=None),), ()),
    ((done(ASSESSED), assessed(valueString="low", at=ago(hours=2))), (H1, H2)),
    # What it tells may stand in any of these places.
    ((assessed(valueInteger=0),), (H1,)),
    ((assessed(interpretation=[{"text": "low"}]),), (H1,)),
    ((assessed(note=[{"text": "She is safe."}]),), (H1,)),
    ((assessed(hasMember=[{"reference": "Observation/o2"}]),), (H1,)),
    ((assessed(component=[{"code": {"text": "plan"}, "valueBoolean": True}]),), (H1,)),
    # An empty form, or one that says why it is empty, is no assessment.
    ((assessed(),), ()),
    ((assessed(valueBoolean=False),), ()),
    ((assessed(hasMember=[], note=[]),), ()),
    ((assessed(component=[{"code": {"text": "plan"}}]),), ()),
    ((assessed(component=[{"code": {"text": "plan"}, "valueBoolean": True, "dataAbsentReason": NOT_DONE}]),), ()),
    ((assessed(dataAbsentReason=NOT_DONE),), ()),
    ((assessed(dataAbsentReason=NOT_DONE, valueString="low"),), ()),
    ((assessed(dataAbsentReason=NOT_DONE, note=[{"text": "She was asleep."}]),), ()),
]

STAGES = [
    ((), Stage.OTHER),
    ((problem(PREGNANT),), Stage.PREGNANT),
    ((observed(DUE, valueDateTime="2026-12-24"),), Stage.PREGNANT),
    ((observed(STATUS, valueCodeableConcept=coded(SNOMED, PREGNANT)),), Stage.PREGNANT),
    ((done(CAESAREAN), problem(PREGNANT)), Stage.AFTER_BIRTH),
    ((done(CAESAREAN, at=ago(days=8)),), Stage.POSTPARTUM),
]


@pytest.mark.parametrize("row", [*BIRTHS, *MODES, *ANAESTHESIA, *STAY, *PREGNANCIES], ids=str)
def test_what_is_read_of_a_fact(row: Row) -> None:
    found = read_of(row)

    assert found.facts[row.fact] == row.comes
    assert found.facts.now == NOON


@pytest.mark.parametrize(("chart", "at"), ASSESSMENTS)
def test_when_the_risk_of_suicide_was_assessed(chart: tuple[Json, ...], at: tuple[Moment, ...]) -> None:
    assert read_of(Row("", "", chart, ABSENT)).assessments == at


@pytest.mark.parametrize(("chart", "stage"), STAGES)
def test_where_she_is(chart: tuple[Json, ...], stage: Stage) -> None:
    assert read_of(Row("", "", chart, ABSENT)).stage is stage
