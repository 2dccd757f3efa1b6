"""
Somebody else's data in her call: nothing is said, or it is passed over where the decision logic says so.

A father's form and a newborn's measurements lie in her lists. Whatever else is about another patient ends the call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from asking import (
    ELIGIBLE,
    KNOWLEDGE,
    WORDING,
    Change,
    ask,
    doses_in,
    each,
    path_of,
    put,
    refusal_in,
    request_of,
)
from conftest import NOON
from ehr import Ehr
from encoding import Json, encode, site_of
from heard import all_of, events
from quirks import QuirkServer, of_another_patient
from werkzeug.test import TestResponse

from cds_service.advisor import Advisor
from cds_service.events import Event
from cds_service.settings import Site
from cds_service.web.app import create_app

HERS, OTHER = "woman-v01", "somebody-else"
SNOMED = "http://snomed.info/sct"
SERVER = "https://ehr.example.org/fhir"


def about(whose: Any, owner: str = "subject", **more: Any) -> Json:
    """A resource of hers or of somebody else's: `whose` is the text of a reference, or the whole Reference."""
    return {"id": "the-other-one", owner: {"reference": whose} if isinstance(whose, str) else whose} | more


def eclampsia(whose: Any) -> Json:
    """It would stand against the medicine, were it hers."""
    code = {"coding": [{"system": SNOMED, "code": "398254007"}], "text": "Pre-eclampsia"}
    return about(whose, resourceType="Condition", code=code)


# One resource of each type, and the list in which it is sent.
OF_EACH_TYPE: dict[str, tuple[str, Callable[[Any], Json]]] = {
    "Condition": ("problems", eclampsia),
    "AllergyIntolerance": (
        "allergies",
        lambda whose: about(whose, "patient", resourceType="AllergyIntolerance", code={"text": "ketamine"}),
    ),
    "MedicationRequest": (
        "medication_orders",
        lambda whose: about(
            whose,
            resourceType="MedicationRequest",
            status="active",
            intent="order",
            medicationCodeableConcept={"text": "phenelzine"},
        ),
    ),
    "MedicationAdministration": (
        "medication_administrations",
        lambda whose: about(
            whose,
            resourceType="MedicationAdministration",
            status="completed",
            medicationCodeableConcept={"text": "magnesium sulfate"},
            effectiveDateTime="2026-11-23T10:00:00Z",
        ),
    ),
    "MedicationStatement": (
        "reported_medicines",
        lambda whose: about(
            whose,
            resourceType="MedicationStatement",
            status="active",
            medicationCodeableConcept={"text": "lithium carbonate"},
        ),
    ),
    "Procedure": (
        "procedures",
        lambda whose: about(whose, resourceType="Procedure", status="completed", code={"text": "Vaginal delivery"}),
    ),
    "ServiceRequest": (
        "service_requests",
        lambda whose: about(
            whose, resourceType="ServiceRequest", status="active", intent="order", code={"text": "Psychiatry consult"}
        ),
    ),
    "Encounter": (
        "problems",
        lambda whose: about(whose, resourceType="Encounter", status="in-progress"),
    ),
}


def sent_in(key: str, resource: Json, **entry: Any) -> Change:
    """One more entry in a list of the prefetch."""

    def change(request: Json) -> None:
        bundle = request["prefetch"][key]
        bundle.setdefault("entry", []).append({"resource": copy.deepcopy(resource), **entry})
        bundle["total"] = bundle.get("total", 0) + 1

    return change


def both(*changes: Change) -> Change:
    def change(request: Json) -> None:
        for one in changes:
            one(request)

    return change


def merged(kind: str) -> Change:
    """One raw Bundle for the whole prefetch, with somebody else's chart in it."""

    def change(request: Json) -> None:
        resources = [*encode(ELIGIBLE, NOON), {"resourceType": "Patient", "id": OTHER}, eclampsia(f"Patient/{OTHER}")]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in resources]
        request["prefetch"] = {"resourceType": "Bundle", "type": kind, "entry": entries}

    return change


def bundle(*resources: Json, **more: str) -> Json:
    return {"resourceType": "Bundle", **more, "entry": [{"resource": one} for one in resources]}


def leave_for(patient: str) -> Change:
    token = {"access_token": "a-token", "token_type": "Bearer", "patient": patient}
    return both(put("fhirServer", SERVER), put("fhirAuthorization", token))


SOMEBODY = {"resourceType": "Patient", "id": OTHER, "gender": "female", "birthDate": "1990-01-01"}
DRAFTED = "context.draftOrders.entry.0.resource"
NUMBERS = "urn:oid:1.2.36.146.595.217.0.1"
WRITTEN = (
    "Patient/somebody-else",
    "https://ehr.example.org/fhir/Patient/somebody-else",
    "Patient/somebody-else/_history/3",
    "https://ehr.example.org/fhir/Patient/somebody-else/_history/3",
)
with_her_number = put("prefetch.patient.identifier", [{"system": NUMBERS, "value": "4711"}])

# Nothing at all is said.
REFUSED: dict[str, Change] = {
    "another Patient": put("prefetch.patient", SOMEBODY),
    "another Patient, her id in capitals": put("prefetch.patient.id", HERS.upper()),
    "another Patient in a Bundle": put(
        "prefetch.patient", {"resourceType": "Bundle", "entry": [{"resource": SOMEBODY}]}
    ),
    "a Patient without an id": lambda request: request["prefetch"]["patient"].pop("id"),
    "another patient in the context": put("context.patientId", OTHER),
    "another patient in the context, by type": put("context.patientId", f"Patient/{OTHER}"),
    "a Patient who was merged into another": put(
        "prefetch.patient.link", [{"other": {"reference": f"Patient/{OTHER}"}, "type": "replaced-by"}]
    ),
    "a searchset of two patients in place of the prefetch": merged("searchset"),
    **{
        f"a {kind} of {whose}": sent_in(key, resource(whose))
        for kind, (key, resource) in OF_EACH_TYPE.items()
        for whose in WRITTEN
    },
    "a Condition of her id in capitals": sent_in("problems", eclampsia(f"Patient/{HERS.upper()}")),
    "the encounter of another": put("prefetch.encounter.subject.reference", f"Patient/{OTHER}"),
    "the encounter of another, absolute": put("prefetch.encounter.subject.reference", f"{SERVER}/Patient/{OTHER}"),
    "the encounter of her id on another server": both(
        put("fhirServer", SERVER),
        put("prefetch.encounter.subject.reference", f"https://elsewhere.example.org/Patient/{HERS}"),
    ),
    "the encounter of a group": put("prefetch.encounter.subject.reference", "Group/1"),
    "a draft for another": put(f"{DRAFTED}.subject.reference", f"Patient/{OTHER}"),
    "a draft for another, absolute": put(f"{DRAFTED}.subject.reference", f"{SERVER}/Patient/{OTHER}"),
    "a draft for another, versioned": put(f"{DRAFTED}.subject.reference", f"Patient/{OTHER}/_history/1"),
    "a draft for her id in capitals": put(f"{DRAFTED}.subject.reference", f"Patient/{HERS.upper()}"),
    "a draft for somebody behind a urn": put(f"{DRAFTED}.subject.reference", "urn:uuid:0d6a1d52"),
    "a draft for her id on another server": both(
        put("fhirServer", SERVER), put(f"{DRAFTED}.subject.reference", f"https://elsewhere.example.org/Patient/{HERS}")
    ),
    "a draft for another number of the same kind": both(
        with_her_number, put(f"{DRAFTED}.subject", {"identifier": {"system": NUMBERS, "value": "4712"}})
    ),
    "a second draft, for another": lambda request: request["context"]["draftOrders"]["entry"].append(
        {"resource": {"resourceType": "ServiceRequest", "id": "two", "subject": {"reference": f"Patient/{OTHER}"}}}
    ),
    "a second draft, whose patient is another": lambda request: request["context"]["draftOrders"]["entry"].append(
        {"resource": {"resourceType": "NutritionOrder", "id": "two", "patient": {"reference": f"Patient/{OTHER}"}}}
    ),
    "leave to read that was given for another": leave_for(OTHER),
    "leave to read that was given for another, by type": leave_for(f"Patient/{OTHER}"),
    "leave to read that was given for another, absolute": leave_for(f"{SERVER}/Patient/{OTHER}"),
    "leave to read that was given for her id in capitals": leave_for(HERS.upper()),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_somebody_else_in_her_call_ends_it_without_a_card(change: Change, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(ELIGIBLE, change)

    refusal_in(answer, 412)
    assert events(caplog, Event.IDENTITY_MISMATCH)  # somebody should look into it
    told = answer.get_data(as_text=True) + all_of(caplog)
    assert not {HERS, OTHER, "4711", "4712", "elsewhere"} & set(told.replace("/", " ").replace('"', " ").split())


# Nobody can tell whose it is: it counts neither for nor against her, and its list is no "none" any more.
UNCERTAIN: dict[str, Any] = {
    "nobody": {},
    "a name": {"display": "Jane"},
    "a number": {"identifier": {"system": NUMBERS, "value": "4712"}},
    "somebody contained": "#somebody",
    "somebody behind a urn": "urn:uuid:0d6a1d52-8c0e-4a77-9d6e-2b6b1f6c9a10",
    "her id without a type": HERS,
    "her id under a type in small letters": f"patient/{HERS}",
    "her id within another resource": f"Patient/{HERS}#x",
    "her id on another server": f"https://elsewhere.example.org/fhir/Patient/{HERS}",
}


@pytest.mark.parametrize("whose", UNCERTAIN.values(), ids=UNCERTAIN)
def test_an_entry_of_which_nobody_can_tell_whose_it_is_counts_for_nothing_and_takes_the_dose_away(whose: Any) -> None:
    answer = ask(ELIGIBLE, put("fhirServer", SERVER), sent_in("problems", eclampsia(whose)))

    assert answer.status_code == 200
    cards = answer.get_json()["cards"]
    assert doses_in(cards) == []
    assert "KETCONTRA" not in [card["source"]["topic"]["code"] for card in cards]


# What is another's and lies in her lists all the same, or is hers and only looks like another's.
HARMLESS: dict[str, Change] = {
    "a father's form": sent_in(
        "questionnaire_responses",
        about(f"Patient/{OTHER}", resourceType="QuestionnaireResponse", status="completed", questionnaire="x"),
    ),
    "a newborn's weight": sent_in(
        "vital_signs",
        about(
            f"Patient/{OTHER}",
            resourceType="Observation",
            status="final",
            code={"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            valueQuantity={"value": 3.4, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
            effectiveDateTime="2026-11-23T11:30:00Z",
        ),
    ),
    "another's problem in a list that answers no search": put(
        "prefetch.family",
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": eclampsia(WRITTEN[0])}]},
    ),
    "a Patient whom another was merged into": put(
        "prefetch.patient.link", [{"other": {"reference": f"Patient/{OTHER}"}, "type": "replaces"}]
    ),
    "her own references, absolute": both(
        put("fhirServer", SERVER), each("Condition", subject={"reference": f"{SERVER}/Patient/{HERS}"})
    ),
    "her own references, versioned": each("Condition", subject={"reference": f"Patient/{HERS}/_history/7"}),
    "her own references, where no server is named": each(
        "Condition", subject={"reference": f"https://any.example.org/fhir/Patient/{HERS}"}
    ),
    "a draft by her own number": both(
        with_her_number, put(f"{DRAFTED}.subject", {"identifier": {"system": NUMBERS, "value": "4711"}})
    ),
    "leave to read that was given for her": leave_for(HERS),
    "leave to read that was given for her, by type": leave_for(f"Patient/{HERS}"),
    "leave to read that was given for no one patient": leave_for(""),
}


def told(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return [card["summary"] for card in answer.get_json()["cards"]]


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_mix_up_changes_nothing(change: Change) -> None:
    assert told(ask(ELIGIBLE, change)) == told(ask(ELIGIBLE))
    assert OTHER not in ask(ELIGIBLE, change).get_data(as_text=True)


# ---- Read from the EHR's own server


def read_from_the_server(
    *more: Json, change: Change = lambda _: None, strange: str = "-"
) -> tuple[TestResponse, list[str]]:
    """
    The answer where nothing was sent and her server holds this chart; and what was asked of the server.

    Of the type `strange` it gives what is another's.
    """
    chart = [one for one in encode(ELIGIBLE, NOON) if one["id"] not in {new["id"] for new in more}]
    with QuirkServer(Ehr({HERS: [*chart, *more]}), of_another_patient, strange).serving() as server:
        site = Site.from_table({**site_of(ELIGIBLE), "ehr": {"servers": [server.base], "budget_ms": 8_000}})
        request = request_of(ELIGIBLE)
        request["fhirServer"] = server.base
        request["fhirAuthorization"] = {"access_token": "a-token", "token_type": "Bearer"}
        request["prefetch"] = {}
        change(request)
        door = create_app(Advisor(KNOWLEDGE, WORDING, site, lambda: NOON)).test_client()
        return door.post(path_of(ELIGIBLE), json=request), server.asked


READ: dict[str, tuple[str, Callable[[Any], Json]]] = {
    kind: row for kind, row in OF_EACH_TYPE.items() if kind != "Encounter"
}


@pytest.mark.parametrize("kind", READ)
def test_somebody_else_in_what_the_server_answers_ends_the_call(kind: str) -> None:
    _, resource = READ[kind]

    answer, asked = read_from_the_server(resource(f"Patient/{OTHER}"))

    assert asked
    assert "another patient" in refusal_in(answer, 412)
    assert OTHER not in answer.get_data(as_text=True)


def test_the_encounter_of_another_on_the_server_ends_the_call() -> None:
    encounter = about(f"Patient/{OTHER}", resourceType="Encounter", status="in-progress") | {"id": "stay-v01"}

    assert "another patient" in refusal_in(read_from_the_server(encounter)[0], 412)


def test_another_patient_on_the_server_ends_the_call() -> None:
    assert "is not the patient of the context" in refusal_in(read_from_the_server(strange="Patient")[0], 412)


@pytest.mark.parametrize("patient", [OTHER, f"Patient/{OTHER}", HERS.upper()])
def test_with_leave_that_was_given_for_another_the_server_is_not_even_asked(patient: str) -> None:
    answer, asked = read_from_the_server(change=put("fhirAuthorization.patient", patient))

    assert "fhirAuthorization.patient" in refusal_in(answer, 412)
    assert asked == []


def test_without_somebody_else_the_server_is_read_and_the_same_is_said() -> None:
    answer, asked = read_from_the_server(change=put("fhirAuthorization.patient", f"Patient/{HERS}"))

    assert told(answer) == told(ask(ELIGIBLE))
    assert len(asked) > 10


# ---- How many


def test_there_are_as_many_as_were_asked_for(record_property: Callable[[str, object], None]) -> None:
    refused, passed_over = len(REFUSED) + len(READ) + 5, len(UNCERTAIN) + len(HARMLESS)
    assert refused >= 40
    record_property("safety", f"mix-ups of patients: {refused} refused, {passed_over} passed over or harmless")
