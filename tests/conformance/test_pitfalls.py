"""
What implementers get wrong, one by one. Each test fails for a service that makes the mistake in its section.

Some of the mistakes are tried in other files: there the marker names the number.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from calls import (
    AFTER,
    BEFORE,
    CASES,
    WOMEN,
    actions,
    address,
    advised,
    call,
    cards_of,
    drafts,
    refusal,
    request_of,
    resources,
    suggestions,
    topics,
)
from conftest import NOON, Door
from encoding import CODES, Case, coded, site_of
from fhir_server import reading, serving, without
from flask.testing import FlaskClient
from heard import all_of
from response_check import check_answer, hollow
from test_ids import all_marked
from werkzeug.test import TestResponse

from cds_service.advisor import Advisor
from cds_service.hooks.request import HOOKS
from cds_service.knowledge import Knowledge
from cds_service.records import Records
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

Json = dict[str, Any]
Change = Callable[[Json], object]

ALL = range(1, 16)

# EPDS 6 and nothing else: nothing is to be said.
SILENT = CASES["V05"]
# 28 mg of esketamine are drafted to prevent depression, and selected: above the ceiling.
DRAFTED = CASES["N21"]
FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}


def test_each_mistake_has_a_test() -> None:
    assert all_marked("pitfall").keys() == set(ALL)


# ---- 1. Absent, null, empty and failed are not the same


@pytest.mark.pitfall(1)
@pytest.mark.parametrize(
    "answered", [{}, {"screens": FAILED, "questionnaire_responses": FAILED}], ids=["not asked", "failed"]
)
def test_a_screen_that_did_not_come_is_not_a_low_score(answered: Json, client: FlaskClient) -> None:
    request = request_of(SILENT, client)
    assert advised(client, request) == []

    request = without(request, "screens", "questionnaire_responses")
    request["prefetch"] |= answered

    (card,) = cards_of(call(client, request))
    assert topics([card]) == ["PPDSCREEN"]


@pytest.mark.pitfall(1)
def test_a_screen_that_there_is_not_is_due_and_no_low_score_either(client: FlaskClient) -> None:
    request = request_of(SILENT, client)
    request["prefetch"] |= {"screens": None, "questionnaire_responses": {"resourceType": "Bundle", "type": "searchset"}}

    assert advised(client, request) == ["PPDSCREEN"]


# ---- 2. 412 for everything, or a confident card without data


@pytest.mark.pitfall(2)
def test_only_the_patient_is_required_and_without_the_rest_no_dose_is_offered(client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    alone = {**request, "prefetch": {"patient": request["prefetch"]["patient"]}}

    cards = cards_of(call(client, alone))

    assert topics(cards) != AFTER.expect["cards"]
    assert not re.search(r"\d mg\b", json.dumps(cards))
    refusal(call(client, without(request, "patient")), 412)


# ---- 3. Prefetch by our own names only, and a Patient who is trusted unseen


@pytest.mark.pitfall(3)
def test_keys_that_were_typed_by_hand_are_matched_by_what_they_hold(client: FlaskClient) -> None:
    """Epic never reads the discovery document."""
    request = request_of(AFTER, client)
    request["prefetch"] = {f"-{number}": value for number, value in enumerate(request["prefetch"].values())}

    assert advised(client, request) == AFTER.expect["cards"]


@pytest.mark.pitfall(3)
def test_one_raw_bundle_is_read_and_what_is_not_in_it_is_unknown(client: FlaskClient) -> None:
    """As HealthChain's client sends it."""
    request = request_of(AFTER, client)
    held = [one for value in request["prefetch"].values() for one in resources(value)]
    request["prefetch"] = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in held]}

    told = advised(client, request)

    assert "PPDRISK" in told  # the EPDS was found
    assert "KETOPTION" not in told  # nobody said that there is no problem


@pytest.mark.pitfall(3)
@pytest.mark.parametrize("key", ["patient", "-patient"])
def test_another_patient_than_that_of_the_context_is_noticed(key: str, client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    other = {**request["prefetch"].pop("patient"), "id": "somebody-else"}
    request["prefetch"][key] = other

    answer = call(client, request)

    assert "is not the patient of the context" in refusal(answer, 412)
    assert "somebody-else" not in answer.get_data(as_text=True)


# ---- 4. Every entry is taken for a fact about her


def psychosis(**more: Any) -> Json:
    """A problem that rules the medicine out."""
    return {
        "resourceType": "Condition",
        "id": "stray",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": coded(CODES["condition"]["schizophrenia_or_psychosis"]),
        "subject": {"reference": f"Patient/woman-{AFTER.slug}"},
        **more,
    }


def with_problem(request: Json, resource: Json, **entry: Any) -> Json:
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": resource, **entry}]}
    return {**request, "prefetch": {**request["prefetch"], "problems": bundle}}


@pytest.mark.pitfall(4)
def test_a_problem_that_counts_rules_the_medicine_out(client: FlaskClient) -> None:
    told = advised(client, with_problem(request_of(AFTER, client), psychosis()))

    assert "KETOPTION" not in told
    assert {"PPDSAFETY", "PPDRISK"} & set(told)


@pytest.mark.pitfall(4)
@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(psychosis(verificationStatus={"coding": [{"code": "entered-in-error"}]}), id="entered in error"),
        pytest.param(psychosis(verificationStatus={"coding": [{"code": "refuted"}]}), id="refuted"),
    ],
)
def test_a_problem_that_does_not_count_does_not(resource: Json, client: FlaskClient) -> None:
    assert "KETOPTION" in advised(client, with_problem(request_of(AFTER, client), resource))


@pytest.mark.pitfall(1, 4)
def test_a_list_of_something_else_is_no_answer_and_never_none(client: FlaskClient) -> None:
    """Keys that were swapped by hand, or a server that leaves the type of the search out."""
    history = psychosis(resourceType="FamilyMemberHistory", status="completed")
    topics = advised(client, with_problem(request_of(AFTER, client), history))
    assert "KETOPTION" not in topics
    assert "KETDATA" in topics


@pytest.mark.pitfall(4)
def test_a_word_of_the_server_beside_the_entries_is_no_entry(client: FlaskClient) -> None:
    """Epic puts a warning beside every answer."""
    request = request_of(AFTER, client)
    plain = advised(client, request)
    warning = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "processing"}]}
    for value in request["prefetch"].values():
        if value["resourceType"] == "Bundle" and "entry" in value:
            value["entry"].append({"resource": warning, "search": {"mode": "outcome"}})

    assert advised(client, request) == plain == AFTER.expect["cards"]


@pytest.mark.pitfall(4)
def test_a_form_that_the_father_filled_in_is_not_hers(client: FlaskClient) -> None:
    request = request_of(replace(SILENT, given={**SILENT.given, "noise": ["other_patient"]}), client)
    assert "father" in json.dumps(request)

    assert advised(client, request) == []


@pytest.mark.pitfall(4)
def test_a_list_that_goes_on_elsewhere_was_cut_short(client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    request["prefetch"]["problems"]["link"].append(
        {"relation": "next", "url": "https://ehr.example.org/fhir/Condition?_page=2"}
    )

    assert "KETOPTION" not in advised(client, request)


# ---- 5. One malformed resource costs the answer

MALFORMED = [
    None,
    7,
    [],
    {},
    {"resource": None},
    {"resource": {"resourceType": "MedicationRequest"}},
    {"resource": {"resourceType": "MedicationRequest", "id": 7, "status": {"a": 1}, "medicationCodeableConcept": []}},
    {"resource": {"resourceType": "ServiceRequest", "id": "odd", "code": "delivery", "intent": ["order"]}},
    {"resource": {"resourceType": "NutritionOrder", "id": "x", "status": "draft", "dateTime": {"value": None}}},
]


@pytest.mark.pitfall(5)
@pytest.mark.parametrize("odd", MALFORMED, ids=json.dumps)
@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
def test_a_malformed_order_beside_hers_does_not_cost_the_answer(hook: str, odd: Any, client: FlaskClient) -> None:
    request = request_of(DRAFTED, client) | {"hook": hook}
    plain = advised(client, request)
    assert "KETORDER" in plain
    request["context"]["draftOrders"]["entry"].insert(0, odd)

    assert "KETORDER" in advised(client, request)


# ---- 6. The first coding is RxNorm

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ESKETAMINE = coded(CODES["medicine"]["esketamine"])
CODED = {"coding": ESKETAMINE["coding"]}
LOCAL = {"system": "urn:oid:1.2.36.1.2001.1005.17", "code": "GPI-59"}
MEDICATION = {"resourceType": "Medication", "id": "m1", "code": CODED}


def reference(**more: str) -> Json:
    return {"medicationReference": {"reference": "Medication/m1", **more}}


@pytest.mark.pitfall(6)
@pytest.mark.parametrize(
    "medicine",
    [
        pytest.param({"medicationCodeableConcept": CODED}, id="codes alone"),
        pytest.param({"medicationCodeableConcept": {"text": "Esketamine 25 mg/5 mL injection"}}, id="words alone"),
        pytest.param({"medicationCodeableConcept": {"coding": [LOCAL, *CODED["coding"]]}}, id="a local code first"),
        pytest.param(
            {"medicationCodeableConcept": {"coding": [{**LOCAL, "display": "ESKETAMINE 25 MG INJ"}]}}, id="a display"
        ),
        pytest.param(reference(display="ESKETAMINE HCL 25 MG/5ML IV SOLN"), id="a reference with a display"),
        pytest.param(
            {"contained": [MEDICATION], "medicationReference": {"reference": "#m1"}}, id="a contained Medication"
        ),
    ],
)
def test_the_medicine_is_found_wherever_it_is_named(medicine: Json, client: FlaskClient) -> None:
    request = request_of(DRAFTED, client)
    rename(request, medicine)

    assert advised(client, request)[0] == "KETORDER"


def rename(request: Json, medicine: Json) -> None:
    """The drafted medicine, named in another way."""
    (order,) = [one for one in drafts(request) if one["resourceType"] == "MedicationRequest"]
    for name in ("medicationCodeableConcept", "medicationReference", "contained"):
        order.pop(name, None)
    order |= medicine


@pytest.mark.pitfall(6)
def test_the_medicine_may_be_an_entry_beside_the_order(client: FlaskClient) -> None:
    """As Epic sends it since 2024: several codes of one system, and others before them."""
    request = request_of(DRAFTED, client)
    rename(request, reference())
    several = [LOCAL, {"system": RXNORM, "code": "0000"}, *CODED["coding"]]
    beside = {**MEDICATION, "code": {"coding": several}}
    request["context"]["draftOrders"]["entry"].append({"resource": beside})

    assert advised(client, request)[0] == "KETORDER"


@pytest.mark.pitfall(6)
def test_the_medicine_may_have_to_be_read(knowledge: Knowledge, wording: Wording) -> None:
    with serving(DRAFTED, more=[MEDICATION]) as ehr:
        door = create_app(reading(DRAFTED, ehr.base, knowledge, wording)).test_client()
        request = request_of(DRAFTED, door) | ehr.sent_along()
        rename(request, reference())

        assert advised(door, request)[0] == "KETORDER"

    assert [query for query, _ in ehr.heard] == ["Medication/m1"]


# ---- 7. Selections


def blood_count(request: Json, id_: str = "blood-count") -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": id_,
        "status": "draft",
        "intent": "order",
        "code": {"text": "Full blood count"},
        "subject": {"reference": f"Patient/{request['context']['patientId']}"},
    }


@pytest.mark.pitfall(7)
def test_an_old_draft_is_not_spoken_of_when_something_else_is_picked(client: FlaskClient) -> None:
    request = request_of(DRAFTED, client)
    request["context"]["draftOrders"]["entry"].append({"resource": blood_count(request)})
    assert "KETORDER" in advised(client, request)

    request["context"]["selections"] = ["ServiceRequest/blood-count"]

    assert advised(client, request) == []


@pytest.mark.pitfall(7)
def test_an_order_of_another_type_with_the_same_id_is_another_order(client: FlaskClient) -> None:
    request = request_of(DRAFTED, client)
    (medicine,) = [one for one in drafts(request) if one["resourceType"] == "MedicationRequest"]
    same = blood_count(request, medicine["id"])
    request["context"]["draftOrders"]["entry"] = [{"resource": medicine}, {"resource": same}]

    request["context"]["selections"] = [f"ServiceRequest/{medicine['id']}"]
    assert advised(client, request) == []
    request["context"]["selections"] = [f"MedicationRequest/{medicine['id']}"]
    assert "KETORDER" in advised(client, request)


@pytest.mark.pitfall(7)
@pytest.mark.parametrize("status", ["draft", "active", "on-hold", None])
def test_at_signing_an_order_need_not_be_a_draft(status: str | None, client: FlaskClient) -> None:
    request = request_of(DRAFTED, client) | {"hook": "order-sign"}
    for order in drafts(request):
        order.pop("status")
        if status is not None:
            order["status"] = status

    assert "KETORDER" in advised(client, request)


# ---- 8. The dose stands in the resource alone


def medicines(cards: list[Json]) -> list[tuple[Json, Json, Json]]:
    """Each drafted medicine: the card, the action and the resource."""
    return [
        (card, action, action["resource"])
        for card in cards
        for action in actions([card])
        if action.get("resource", {}).get("resourceType") == "MedicationRequest"
    ]


@pytest.mark.pitfall(8)
@pytest.mark.parametrize("case", [BEFORE, AFTER, DRAFTED, CASES["V03"]], ids=str)
def test_the_dose_stands_in_the_words_of_the_button_and_of_the_card(case: Case, front_door: Door) -> None:
    """Epic drops the dose, route and rate of a created order."""
    door = front_door(case)
    drafted = medicines(cards_of(call(door, request_of(case, door))))

    assert drafted
    for card, action, resource in drafted:
        (dosage,) = resource["dosageInstruction"]
        (amount,) = dosage["doseAndRate"]
        dose, rate = amount["doseQuantity"], amount["rateQuantity"]
        minutes = dosage["timing"]["repeat"]["duration"]
        for words in (action["description"], card["detail"]):
            assert f"{dose['value']} {dose['unit']}" in words
            assert re.search(rf"{rate['value']:g} {rate['unit']}(?![a-z])", words, re.IGNORECASE)
            assert f"{minutes} min" in words
        for watched in ("oximetry", "ECG", "nurse"):
            assert watched in action["description"] or action["type"] == "update"
        assert "Monitoring" in card["detail"] or action["type"] == "update"


# ---- 9. The medicine without its monitoring, or two medicines at once


@pytest.mark.pitfall(9)
@pytest.mark.parametrize("case", WOMEN, ids=str)
def test_a_medicine_is_drafted_with_its_monitoring_and_no_other_beside_it(case: Case, front_door: Door) -> None:
    door = front_door(case)
    for card in cards_of(call(door, request_of(case, door))):
        names = set()
        for suggestion in card.get("suggestions", []):
            made = [action for action in suggestion["actions"] if action["type"] == "create"]
            kinds = [action["resource"]["resourceType"] for action in made]
            if "MedicationRequest" in kinds:
                assert kinds.count("MedicationRequest") == 1
                assert kinds.count("ServiceRequest") >= 2
                names.add(suggestion["label"])
        assert len(names) <= 1


ITEM = {"order": "medicine", "system": "urn:com.epic.cdshooks.action.code.system.preference-list-item", "code": "1234"}


@pytest.mark.pitfall(9)
@pytest.mark.parametrize("mapped", [False, True], ids=["no item with this dose", "an item with this dose"])
def test_where_a_button_does_one_thing_the_medicine_says_what_it_needs(
    mapped: bool, knowledge: Knowledge, wording: Wording
) -> None:
    """Epic takes one action a suggestion, and gives a created medicine the dose of its own item."""
    catalogue = [{**ITEM, "defaults": "esketamine-iv"}] if mapped else []
    site = Site.from_table(site_of(AFTER) | {"dialect": "epic", "orderable": catalogue})
    door = create_app(Advisor(knowledge, wording, site, lambda: NOON)).test_client()
    request = request_of(AFTER, door)

    cards = cards_of(call(door, request))

    check_answer({"cards": cards}, request)
    assert {len(suggestion["actions"]) for suggestion in suggestions(cards)} == {1}
    drafted = medicines(cards)
    assert len(drafted) == mapped
    (option,) = [card for card in cards if topics([card]) == ["KETOPTION"]]
    for words in [action["description"] for _, action, _ in drafted] or [option["detail"]]:
        assert "12 mg once" in words
        assert "Needs continuous oximetry and ECG" in words


# ---- 10. Nulls, empties and spellings


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("hook", [service.hook for service in HOOKS])
@pytest.mark.parametrize("known", ["all", "half", "nothing"])
def test_what_is_not_known_leaves_no_empty_member(known: str, hook: str, client: FlaskClient) -> None:
    request = request_of(AFTER, client) | {"hook": hook}
    keys = sorted(request["prefetch"])
    kept = {"all": keys, "half": keys[::2], "nothing": []}[known]
    request["prefetch"] = {key: request["prefetch"][key] for key in {*kept, "patient"}}
    del request["context"]["encounterId"]

    cards = cards_of(call(client, request))

    # With her Patient alone, nobody can tell whether she is pregnant: only an order of the birth says so.
    assert cards or (known == "nothing" and not hook.startswith("order-"))
    assert hollow(cards or [0]) is None
    check_answer({"cards": cards}, request)


# ---- 13. Redirects, slashes, preflights


@pytest.mark.pitfall(13)
def test_a_slash_at_the_end_is_neither_redirected_nor_lost(client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    path = address(client, request["hook"])

    plain, slashed = client.post(path, json=request), client.post(f"{path}/", json=request)

    assert (slashed.status_code, slashed.get_data()) == (200, plain.get_data())
    assert "Location" not in slashed.headers


@pytest.mark.pitfall(13)
@pytest.mark.parametrize("path", ["/cds-services", "/cds-services/ppd-delivery-order", "/cds-services/ppd-discharge/"])
def test_a_preflight_needs_nothing(path: str, client: FlaskClient) -> None:
    answer = client.options(
        path, headers={"Origin": "https://ehr.example.org", "Access-Control-Request-Method": "POST"}
    )

    assert answer.status_code in (200, 204)
    assert "WWW-Authenticate" not in answer.headers


# ---- 15. Feedback that is read too strictly, or said aloud

CARD = "16be4ae4-1774-5448-9c40-98c5b72da741"
COMMENT = "She is afraid of it, says Zebrafinch4711"


@pytest.fixture
def records() -> Iterator[Records]:
    kept = Records.in_memory()
    yield kept
    kept.close()


@pytest.fixture
def reporting(advisor: Advisor, records: Records) -> Callable[..., TestResponse]:
    """Reports outcomes to the service for order-select."""
    door = create_app(advisor, records=records).test_client()

    def report(*outcomes: Any) -> TestResponse:
        return door.post(f"{address(door, 'order-select')}/feedback", json={"feedback": list(outcomes)})

    return report


def overridden(**more: Any) -> Json:
    return {"card": CARD, "outcome": "overridden", "outcomeTimestamp": "2026-11-23T12:05:31Z", **more}


REASON = {"code": "patient-refuses", "system": "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"}


@pytest.mark.pitfall(15)
@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(overridden(overrideReason={"reason": REASON}), id="as specified"),
        pytest.param(overridden(overrideReasons={"reason": REASON}), id="plural, as Epic writes it"),
        pytest.param(overridden(overrideReasons=[{"reason": REASON}]), id="a list"),
        pytest.param(
            overridden(
                extension={f"com.epic.cdshooks.feedback.overrideReason.{name}": value for name, value in REASON.items()}
            ),
            id="Epic's extension",
        ),
    ],
)
def test_the_reason_is_found_however_it_is_spelled(
    outcome: Json, reporting: Callable[..., TestResponse], records: Records
) -> None:
    assert reporting(outcome).status_code == 200

    (row,) = records.feedback.all()
    assert (row["card"], row["reason_code"]) == (CARD, "patient-refuses")


@pytest.mark.pitfall(15)
def test_one_bad_report_does_not_cost_the_others(reporting: Callable[..., TestResponse], records: Records) -> None:
    accepted = {"card": "urn:card:4711", "outcome": "accepted", "acceptedSuggestions": [{"id": "no UUID"}]}

    answer = reporting(None, {"outcome": "accepted"}, overridden(outcome="ignored"), overridden(), accepted)

    assert answer.status_code == 200
    assert [row["card"] for row in records.feedback.all()] == [CARD, "urn:card:4711"]


@pytest.mark.pitfall(15)
def test_a_report_that_comes_twice_counts_once(reporting: Callable[..., TestResponse], records: Records) -> None:
    assert [reporting(overridden()).status_code for _ in range(3)] == [200] * 3
    assert reporting(overridden(), overridden()).status_code == 200

    assert len(records.feedback.all()) == 1


@pytest.mark.pitfall(15)
def test_what_a_clinician_wrote_is_not_said_aloud(
    reporting: Callable[..., TestResponse], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        kept = reporting(overridden(overrideReason={"reason": REASON, "userComment": COMMENT}))
        refused = reporting({"card": COMMENT * 9, "outcome": COMMENT})

    assert (kept.status_code, refused.status_code) == (200, 400)
    assert "Zebrafinch" not in kept.text + refused.text + all_of(caplog)


# ---- and more


def test_a_patient_who_looks_at_her_own_chart_is_told_nothing(client: FlaskClient) -> None:
    request = request_of(AFTER, client) | {"hook": "patient-view"}
    assert advised(client, request)

    for user in ("Patient/woman-v04", "RelatedPerson/mother", "https://ehr.example.org/fhir/Patient/woman-v04"):
        request["context"]["userId"] = user
        assert advised(client, request) == []
