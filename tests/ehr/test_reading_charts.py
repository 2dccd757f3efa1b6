"""What is read of a whole chart: the bipolar screen, what is drafted, and what the lists leave open."""

from __future__ import annotations

from typing import Any

import pytest
from reading import (
    CAESAREAN,
    DELIVERY,
    EPIDURAL,
    H1,
    H5,
    HER,
    HYPERTENSION,
    LOSS,
    MDQ,
    NOON,
    PRE_ECLAMPSIA,
    PREGNANT,
    SNOMED,
    STAYS,
    TOMORROW,
    UNSAID,
    Json,
    Row,
    ago,
    coded,
    day,
    done,
    entry,
    instant,
    known,
    measured,
    observed,
    problem,
    quantity,
    read_of,
    seen,
    wanted,
)

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.ehr.answers import Had


def screened(name: str = "o", at: str | None = ago(hours=1), **more: Any) -> Json:
    return observed(MDQ, name, at, **more)


POSITIVE, NEGATIVE = coded(SNOMED, "10828004"), coded(SNOMED, "260385009")

FOUND = present(seen("o", "positive", None, H1))

RULED_OUT = Finding(State.ABSENT, (seen("o", "negative", None, H1),))

BIPOLAR = [
    *(
        Row(f"positive as {written}", "bipolar_screen", (screened(**written),), FOUND)
        for written in (
            {"valueBoolean": True},
            {"valueCodeableConcept": POSITIVE},
            {"valueString": " Positive "},
            {"interpretation": [POSITIVE]},
            {"interpretation": POSITIVE},
            {"valueCodeableConcept": {"text": "positive"}},
            {"valueBoolean": False, "interpretation": [POSITIVE]},
        )
    ),
    *(
        Row(f"negative as {written}", "bipolar_screen", (screened(**written),), RULED_OUT)
        for written in (
            {"valueBoolean": False},
            {"valueCodeableConcept": NEGATIVE},
            {"valueString": "negative"},
            {"valueInteger": 3, "interpretation": [NEGATIVE]},
        )
    ),
    *(
        Row(
            f"negative as {written}, beside the reason why there is none",
            "bipolar_screen",
            (screened(**written, dataAbsentReason={"text": "not performed"}),),
            unknown(Doubt.UNREADABLE, seen("o", at=H1)),
        )
        for written in ({"valueBoolean": False}, {"interpretation": [NEGATIVE]})
    ),
    Row(
        "positive, beside the reason why there is none: it still warns",
        "bipolar_screen",
        (screened(valueBoolean=True, dataAbsentReason={"text": "error"}),),
        FOUND,
    ),
    Row("a number alone", "bipolar_screen", (screened(valueInteger=3),), unknown(Doubt.UNREADABLE, seen("o", at=H1))),
    Row("nothing", "bipolar_screen", (screened(),), unknown(Doubt.NOT_RECORDED)),
    Row("none", "bipolar_screen", (), unknown(Doubt.NOT_RECORDED)),
    Row("not received", "bipolar_screen", (), unknown(Doubt.RESTRICTED), {"screens": Had.RESTRICTED}),
    Row(
        "negative, and cut short",
        "bipolar_screen",
        (screened(valueBoolean=False),),
        unknown(Doubt.INCOMPLETE, seen("o", at=H1)),
        {"screens": Had.CUT_SHORT},
    ),
    Row("positive, and cut short", "bipolar_screen", (screened(valueBoolean=True),), FOUND, {"screens": Had.CUT_SHORT}),
    Row(
        "of before this pregnancy",
        "bipolar_screen",
        (screened(at=ago(days=301), valueBoolean=True),),
        unknown(Doubt.TOO_OLD, seen("o", at=instant(days=301))),
    ),
    Row(
        "of its first day",
        "bipolar_screen",
        (screened(at=ago(days=300), valueBoolean=False),),
        Finding(State.ABSENT, (seen("o", "negative", None, instant(days=300)),)),
    ),
    Row(
        "positive of its first day",
        "bipolar_screen",
        (screened(at=ago(days=300), valueBoolean=True),),
        present(seen("o", "positive", None, instant(days=300))),
    ),
    Row(
        "undated negative",
        "bipolar_screen",
        (screened(at=None, valueBoolean=False),),
        unknown(Doubt.UNREADABLE, seen("o")),
    ),
    Row("undated positive", "bipolar_screen", (screened(at=None, valueBoolean=True),), present(seen("o", "positive"))),
    Row(
        "tomorrow's negative",
        "bipolar_screen",
        (screened(at=ago(hours=-24), valueBoolean=False),),
        unknown(Doubt.UNREADABLE, seen("o", at=TOMORROW)),
    ),
    Row(
        "negative after positive",
        "bipolar_screen",
        (screened("o1", ago(hours=5), valueBoolean=True), screened("o2", valueBoolean=False)),
        present(seen("o1", "positive", None, H5)),
    ),
    Row(
        "two negatives: the latest",
        "bipolar_screen",
        (screened("o1", valueBoolean=False), screened("o2", ago(hours=5), valueBoolean=False)),
        Finding(State.ABSENT, (seen("o1", "negative", None, H1),)),
    ),
    Row(
        "a number after a negative",
        "bipolar_screen",
        (screened("o1", ago(hours=5), valueBoolean=False), screened("o2", valueInteger=9)),
        unknown(Doubt.UNREADABLE, seen("o2", at=H1)),
    ),
    Row(
        "a number of the same instant",
        "bipolar_screen",
        (screened("o1", valueBoolean=False), screened("o2", valueInteger=9)),
        unknown(Doubt.UNREADABLE, seen("o2", at=H1)),
    ),
    Row(
        "an undated number beside a negative",
        "bipolar_screen",
        (screened("o1", valueBoolean=False), screened("o2", None, valueInteger=9)),
        unknown(Doubt.UNREADABLE, seen("o2")),
    ),
    Row(
        "a number before a negative",
        "bipolar_screen",
        (screened("o1", ago(hours=5), valueInteger=9), screened("o2", valueBoolean=False)),
        Finding(State.ABSENT, (seen("o2", "negative", None, H1),)),
    ),
    Row(
        "filled in by her husband",
        "bipolar_screen",
        (screened(valueBoolean=True, performer=[{"reference": "RelatedPerson/him"}]),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "filled in with her husband",
        "bipolar_screen",
        (screened(valueBoolean=True, performer=[{"reference": "RelatedPerson/him"}, HER]),),
        FOUND,
    ),
]


def drafted(code: Json, **elements: Any) -> Json:
    whole = {"status": "draft", "intent": "order", "medicationCodeableConcept": code, **elements}
    return entry("MedicationRequest", "m", **whole)


NASAL = {
    "reasonCode": [{"text": "To prevent postpartum depression"}],
    "dosageInstruction": [{"route": coded(SNOMED, "46713006"), "doseAndRate": [{"doseQuantity": quantity(56, "mg")}]}],
}

DRAFTS = [
    Row(
        "a caesarean",
        "delivery_order",
        (),
        present(Evidence("ServiceRequest/s", "drafted")),
        drafts=(wanted(CAESAREAN, status="draft"),),
    ),
    Row(
        "a delivery",
        "delivery_order",
        (),
        present(Evidence("ServiceRequest/s", "drafted")),
        drafts=(wanted(DELIVERY, status="draft"),),
    ),
    Row(
        "as a task",
        "delivery_order",
        (),
        present(Evidence("Task/t", "drafted")),
        drafts=(entry("Task", "t", status="draft", code=coded(SNOMED, CAESAREAN)),),
    ),
    Row(
        "oxytocin",
        "delivery_order",
        (),
        present(Evidence("MedicationRequest/m", "drafted")),
        drafts=(drafted({"text": "Oxytocin"}),),
    ),
    Row(
        "misoprostol",
        "delivery_order",
        (),
        present(Evidence("MedicationRequest/m", "drafted")),
        drafts=(drafted({"text": "Misoprostol"}),),
    ),
    Row(
        "oxytocin that it points at",
        "delivery_order",
        ({"resourceType": "Medication", "id": "x", "code": {"text": "Oxytocin"}},),
        present(Evidence("MedicationRequest/m", "drafted")),
        drafts=(drafted({}, medicationReference={"reference": "Medication/x"}),),
    ),
    Row("paracetamol", "delivery_order", (), ABSENT, drafts=(drafted({"text": "Paracetamol"}),)),
    Row("never", "delivery_order", (), ABSENT, drafts=(wanted(CAESAREAN, doNotPerform=True),)),
    Row("revoked", "delivery_order", (), ABSENT, drafts=(wanted(CAESAREAN, status="revoked"),)),
    Row("an epidural", "delivery_order", (), ABSENT, drafts=(wanted(EPIDURAL, status="draft"),)),
    Row(
        "in a device request",
        "delivery_order",
        (),
        ABSENT,
        drafts=(entry("DeviceRequest", "d", status="draft", code=coded(SNOMED, CAESAREAN)),),
    ),
    Row(
        "a nasal spray",
        "prevention_order_nasal",
        (),
        present(Evidence("MedicationRequest/m", "nasal")),
        drafts=(drafted({"text": "Esketamine nasal spray"}, **NASAL),),
    ),
    Row(
        "for pain",
        "prevention_order_nasal",
        (),
        ABSENT,
        drafts=(drafted({"text": "Esketamine nasal spray"}, **NASAL | {"reasonCode": [{"text": "pain"}]}),),
    ),
    Row("none", "prevention_order_nasal", (), ABSENT),
]

TOTAL_AND_ITEM_10 = (observed("99046-5", "o1", valueInteger=12), observed("71353-7", "o2", valueInteger=0))

TWELVE = known(12, by=seen("o1", "12", "{score}", H1), at=H1)

WHOLES = [
    Row(
        "lost two days ago, the last child is older",
        "blood_loss",
        (measured(LOSS, 700, "mL", at=ago(hours=48)), done(CAESAREAN, at=ago(days=400)), problem(PREGNANT)),
        unknown(Doubt.TOO_OLD, seen("o", "700", "mL", instant(hours=48))),
    ),
    Row("as the site declares", "administrations_elsewhere", (), present(), site={"administrations_elsewhere": True}),
    Row("as the site does not declare", "administrations_elsewhere", (), ABSENT),
    Row("a whole form", "epds_current", TOTAL_AND_ITEM_10, TWELVE),
    *(
        Row(
            f"a whole form, and {key} cut short",
            "epds_current",
            TOTAL_AND_ITEM_10,
            unknown(Doubt.INCOMPLETE, *TWELVE.evidence),
            {key: Had.CUT_SHORT},
        )
        for key in ("screens", "questionnaire_responses")
    ),
    Row(
        "a whole form, and no responses",
        "epds_current",
        TOTAL_AND_ITEM_10,
        TWELVE,
        {"questionnaire_responses": Had.FAILED},
    ),
    Row("none", "epds_current", (), unknown(Doubt.NOT_RECORDED)),
    Row("none", "epds_for_risk", (), ABSENT),
    Row("restricted", "epds_current", (), unknown(Doubt.RESTRICTED), {"screens": Had.RESTRICTED}),
    Row(
        "responses restricted",
        "epds_for_risk",
        (),
        unknown(Doubt.RESTRICTED),
        {"questionnaire_responses": Had.RESTRICTED},
    ),
    Row("in this stay", "epds_this_encounter", TOTAL_AND_ITEM_10, TWELVE, encounter=STAYS),
    Row("in no stay", "epds_this_encounter", TOTAL_AND_ITEM_10, unknown(Doubt.NOT_RECORDED)),
    Row(
        "since a period of days",
        "preterm_birth",
        (problem("6383007", onsetDateTime=None, onsetPeriod={"start": "2026-11-22"}),),
        Finding(State.PRESENT, (seen("c", "active", None, day("2026-11-22")),), at=day("2026-11-22")),
    ),
    Row(
        "until a period of days",
        "pre_eclampsia",
        (problem(PRE_ECLAMPSIA, clinicalStatus="resolved", abatementPeriod={"end": "2026-09-01"}),),
        ABSENT,
    ),
    Row(
        "unclear, beside something else",
        "hypertension",
        (problem(coded(SNOMED, HYPERTENSION, text="Family history of it")), problem(PREGNANT, "c2")),
        UNSAID,
    ),
]


@pytest.mark.parametrize("row", [*BIPOLAR, *DRAFTS, *WHOLES], ids=str)
def test_what_is_read_of_a_fact(row: Row) -> None:
    found = read_of(row)

    assert found.facts[row.fact] == row.comes
    assert found.facts.now == NOON
