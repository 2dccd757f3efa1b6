"""Each status, verification and code that counts, one by one, beside those that do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from reading import (
    APNOEA,
    ASA,
    BIRTH,
    CAESAREAN,
    DELIVERY,
    GENERAL,
    HL7,
    HYPERTENSION,
    PLATELETS,
    PREGNANT,
    SNOMED,
    VAGINAL,
    Json,
    Row,
    ago,
    allergic,
    coded,
    done,
    entry,
    measured,
    observed,
    problem,
    read_of,
    wanted,
    weighed,
)

from cds_service.clinical.facts import ABSENT, State

OBSERVED = ("registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown")
PROCEDURES = (
    "preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error", "unknown",
)  # fmt: skip
REQUESTS = ("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown")
READ_WELL = ("final", "amended", "corrected")
UNDER_WAY = ("preparation", "in-progress", "on-hold", "stopped")


def state(fact: str, *chart: Json, drafts: tuple[Json, ...] = ()) -> State:
    return read_of(Row("", fact, chart, ABSENT, drafts=drafts)).facts[fact].state


def present(fact: str, made: Any, statuses: Iterable[str], *beside: Json) -> list[str]:
    return [status for status in statuses if state(fact, *beside, made(status)) is State.PRESENT]


def test_which_observations_count() -> None:
    assert present("weight", lambda s: weighed(70, status=s), OBSERVED) == ["preliminary", *READ_WELL]
    assert present("platelets", lambda s: measured(PLATELETS, 90, "10*9/L", status=s), OBSERVED) == [*READ_WELL]
    assert present("apnoea_hypopnoea_index", lambda s: measured(APNOEA, 20, "/h", status=s), OBSERVED) == [*READ_WELL]
    assert present("birth", lambda s: observed(BIRTH, status=s), OBSERVED) == [*READ_WELL]
    assert present("asa_class", lambda s: observed(ASA, valueInteger=2, status=s), OBSERVED) == [*READ_WELL]
    item_10 = observed("71353-7", "o1", valueInteger=0)
    assert present("epds_current", lambda s: observed("99046-5", valueInteger=12, status=s), OBSERVED, item_10) == [
        *READ_WELL
    ]


def test_which_procedures_count() -> None:
    pregnant = problem(PREGNANT)

    assert present("birth", lambda s: done(CAESAREAN, status=s), PROCEDURES) == ["completed"]
    assert present("caesarean", lambda s: done(CAESAREAN, status=s), PROCEDURES, pregnant) == [*UNDER_WAY, "completed"]
    at_birth = done(DELIVERY, "p0")
    assert present("caesarean", lambda s: done(CAESAREAN, status=s), PROCEDURES, at_birth) == ["completed"]
    assert present("general_anaesthesia", lambda s: done(GENERAL, status=s), PROCEDURES) == [*UNDER_WAY, "completed"]


def test_which_requests_count() -> None:
    pregnant = problem(PREGNANT)

    assert present("caesarean", lambda s: wanted(CAESAREAN, status=s), REQUESTS, pregnant) == [
        "draft",
        "active",
        "on-hold",
    ]
    assert present("general_anaesthesia", lambda s: wanted(GENERAL, status=s), REQUESTS) == [
        "draft", "active", "on-hold", "completed",
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["entered-in-error", "revoked", "cancelled"])
def test_a_draft_that_was_taken_back_announces_nothing(status: str) -> None:
    pregnant = problem(PREGNANT)
    birth, anaesthetic = wanted(CAESAREAN, status=status), wanted(GENERAL, status=status)

    assert state("caesarean", pregnant, drafts=(birth,)) is State.UNKNOWN
    assert state("general_anaesthesia", pregnant, drafts=(anaesthetic,)) is State.UNKNOWN
    assert state("delivery_order", drafts=(birth,)) is State.ABSENT


@pytest.mark.parametrize("code", [CAESAREAN, VAGINAL, DELIVERY, "177135005"])
def test_each_kind_of_birth_that_is_drafted_announces_one(code: str) -> None:
    assert state("delivery_order", drafts=(wanted(code, status="draft"),)) is State.PRESENT


ORDERED = ("active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown")
GIVEN = ("in-progress", "not-done", "on-hold", "completed", "entered-in-error", "stopped", "unknown")
REPORTED = ("active", "completed", "entered-in-error", "intended", "stopped", "on-hold", "unknown", "not-taken")


@pytest.mark.parametrize(
    ("kind", "statuses", "never"),
    [
        ("MedicationRequest", ORDERED, {"cancelled", "entered-in-error"}),
        ("MedicationAdministration", GIVEN, {"not-done", "entered-in-error"}),
        ("MedicationStatement", REPORTED, {"not-taken", "entered-in-error"}),
    ],
)
def test_which_medicines_count(kind: str, statuses: tuple[str, ...], never: set[str]) -> None:
    def taken(status: str) -> Json:
        told = {"medicationCodeableConcept": {"text": "Theophylline"}, "status": status}
        return entry(kind, "m", authoredOn=ago(hours=1), effectiveDateTime=ago(hours=1), **told)

    assert set(statuses) - set(present("xanthine", taken, statuses)) == never


CLINICAL = ("active", "recurrence", "relapse", "inactive", "remission", "resolved", "unknown")
VERIFIED = ("unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error")


def test_which_problems_count() -> None:
    def clinical(status: str) -> Json:
        return problem(HYPERTENSION, clinicalStatus=coded(HL7 + "condition-clinical", status))

    def verified(status: str) -> Json:
        return problem(HYPERTENSION, verificationStatus=coded(HL7 + "condition-ver-status", status))

    assert present("hypertension", clinical, CLINICAL) == ["active", "recurrence", "relapse", "unknown"]
    assert present("hypertension", verified, VERIFIED) == ["unconfirmed", "provisional", "differential", "confirmed"]


def test_which_allergies_count() -> None:
    def verified(status: str) -> Json:
        return allergic(coded(SNOMED, "373464007"), verificationStatus=coded(HL7 + "allergyintolerance-x", status))

    statuses = ("unconfirmed", "confirmed", "refuted", "entered-in-error")
    assert present("ketamine_allergy", verified, statuses) == ["unconfirmed", "confirmed"]
    assert present("allergy_list", verified, statuses) == ["unconfirmed", "confirmed"]


@pytest.mark.parametrize("code", ["429625007", "716184000", "428607008"])
def test_no_allergy_to_food_latex_or_surroundings_says_nothing_of_medicines(code: str) -> None:
    assert state("allergy_list", allergic(coded(SNOMED, code, text="None"))) is State.UNKNOWN
    assert state("allergy_list", allergic(coded(SNOMED, "716186003", text="None"))) is State.PRESENT


@pytest.mark.parametrize(("written", "number"), [("I", 1), ("II", 2), ("III", 3), ("IV", 4), ("V", 5), ("VI", 6)])
def test_each_roman_numeral_is_a_class(written: str, number: int) -> None:
    for text in (written, f"ASA {written.lower()}", f"{written}E"):
        row = Row("", "asa_class", (observed(ASA, valueString=text),), ABSENT)
        assert read_of(row).facts["asa_class"].values == (number,), text


@pytest.mark.parametrize("number", range(1, 7))
def test_each_class_has_a_code_of_its_own(number: int) -> None:
    codes = ("413495001", "413496000", "413497009", "413498004", "413499007", "413500003")
    chart = (observed(ASA, valueCodeableConcept=coded(SNOMED, codes[number - 1])),)

    assert read_of(Row("", "asa_class", chart, ABSENT)).facts["asa_class"].values == (number,)
