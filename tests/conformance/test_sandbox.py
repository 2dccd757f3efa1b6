"""What the public CDS Hooks Sandbox sends, and what clients of older versions of the standard do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from calls import AFTER, BEFORE, CASES, actions, address, advised, call, cards_of, discovery, drafts, request_of
from conftest import NOON
from encoding import site_of
from flask.testing import FlaskClient
from heard import all_of
from response_check import check_answer

from cds_service.advisor import Advisor
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

Json = dict[str, Any]
Change = Callable[[Json], object]

# 28 mg of esketamine are drafted to prevent depression, and selected.
DRAFTED = CASES["N21"]
# A token as the Sandbox signs one, but for the signature.
JWT = "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL3NhbmRib3guY2RzLWhvb2tzLm9yZyJ9.e30"


def as_sandbox(request: Json) -> Json:
    """The same request as the Sandbox writes it: a Bundle without a type, and lists of one as the one."""
    del request["context"]["draftOrders"]["type"]
    for order in drafts(request):
        order["category"] = {"coding": [{"code": "inpatient"}]}
        if "reasonCode" in order:
            (order["reasonCode"],) = order["reasonCode"]
    return request


@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
def test_an_order_as_the_sandbox_writes_it_is_read_like_any_other(hook: str, client: FlaskClient) -> None:
    plain = request_of(DRAFTED, client) | {"hook": hook}
    told = advised(client, plain)
    assert "KETORDER" in told

    answer = call(client, as_sandbox(request_of(DRAFTED, client) | {"hook": hook}))

    assert advised(client, as_sandbox(plain)) == told
    check_answer(json.loads(answer.get_data()), plain)


def test_a_correction_goes_back_in_the_shape_of_the_standard(client: FlaskClient) -> None:
    request = as_sandbox(request_of(CASES["N29"], client))

    (update,) = [one for one in actions(cards_of(call(client, request))) if one["type"] == "update"]

    assert update["resource"]["category"] == [{"coding": [{"code": "inpatient"}]}]
    assert isinstance(update["resource"]["reasonCode"], list)


STEPS = [
    pytest.param(lambda order: order, id="nothing yet"),
    pytest.param(lambda order: order | {"intent": "order"}, id="an intent"),
    pytest.param(lambda order: order | {"medicationCodeableConcept": {}}, id="an empty medicine"),
    pytest.param(lambda order: order | {"dosageInstruction": [{"doseAndRate": [{}]}]}, id="an empty dose"),
    pytest.param(lambda order: order | {"reasonCode": {"text": "Postpartum depression"}}, id="a reason, no medicine"),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("prefetch", [True, False], ids=["prefetch", "no prefetch"])
def test_while_no_drug_is_chosen_nothing_is_said_and_nothing_is_wrong(
    step: Callable[[Json], Json], prefetch: bool, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """It fires at every change of the draft, from the first on."""
    request = as_sandbox(request_of(DRAFTED, client))
    she = request["context"]["patientId"]
    draft = {"resourceType": "MedicationRequest", "id": "request-123", "status": "draft"}
    draft |= {"subject": {"reference": f"Patient/{she}"}, "authoredOn": "2026-11-23"}
    request["context"] |= {
        "selections": ["MedicationRequest/request-123"],
        "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": step(draft)}]},
    }
    if not prefetch:
        del request["prefetch"]

    with caplog.at_level(logging.DEBUG):
        answer = call(client, request)

    assert json.loads(answer.get_data()) == {"cards": []}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic"])
def test_a_token_of_the_clients_is_passed_over_while_nobody_is_authenticated(
    scheme: str, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"Authorization": f"{scheme} {JWT}"}
    request = request_of(AFTER, client)

    with caplog.at_level(logging.DEBUG):
        found = client.get("/cds-services", headers=headers)
        answer = call(client, request, headers=headers)

    assert json.loads(found.get_data()) == discovery(client)
    assert cards_of(answer) == cards_of(call(client, request))
    assert JWT not in all_of(caplog)


@pytest.mark.parametrize("left_out", ["encounter", "questionnaires", "reported_medicines", "service_requests"])
def test_a_search_that_failed_is_left_out_and_the_rest_is_read(left_out: str, client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    del request["prefetch"][left_out]

    assert "PPDRISK" in advised(client, request)


def test_the_medicine_is_what_the_sandbox_takes_over(knowledge: Knowledge, wording: Wording) -> None:
    """It takes the first medicine that it finds in a suggestion, by its text and its first code, and stops there."""
    site = Site.from_table(site_of(AFTER) | {"dialect": "sandbox"})
    door = create_app(Advisor(knowledge, wording, site, lambda: NOON)).test_client()

    made = actions(cards_of(call(door, request_of(AFTER, door))))

    (concept,) = [c for action in made if (c := action.get("resource", {}).get("medicationCodeableConcept"))]
    assert concept["text"]
    assert concept["coding"][0]["code"]


# ---- Older versions of the standard


def put(**members: Any) -> Change:
    return lambda request: request.update(members)


def in_context(**members: Any) -> Change:
    return lambda request: request["context"].update(members)


def drop(*path: str) -> Change:
    def change(request: Json) -> None:
        for name in path[:-1]:
            request = request[name]
        del request[path[-1]]

    return change


def none_as_null(request: Json) -> None:
    """1.0 knows no empty Bundle: a search that finds nothing is null."""
    request["prefetch"] = {
        key: None if value["resourceType"] == "Bundle" and not value.get("entry") else value
        for key, value in request["prefetch"].items()
    }


def token(**more: Any) -> Change:
    given = {"access_token": "a", "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.read", "subject": "s"}
    return put(fhirServer="https://ehr.example.org/fhir", fhirAuthorization=given | more)


OLDER: list[tuple[str, Change]] = [
    ("1.0: a search that finds nothing is null", none_as_null),
    ("1.0: nobody says for whom the token is", token()),
    ("1.0: scopes of SMART 1", token(scope="user/Patient.read user/Observation.read launch")),
    ("1.0: the user stands at the top, too", put(user="Practitioner/obstetrician")),
    ("1.0: redirect and oauth of the drafts before it", put(redirect="https://ehr.example.org", oauth={"a": "b"})),
    ("1.0: a server without a token, on plain http", put(fhirServer="http://ehr.example.org/fhir")),
    ("1.0: no encounter is known", drop("context", "encounterId")),
    ("1.1: the patient of the token", token(patient="woman-v04")),
    ("1.1: an extension with the version", put(extension={"org.example.specification-version": "1.1"})),
    ("HAPI FHIR: the patient with its type", in_context(patientId="Patient/woman-v04")),
    ("null for what is not there", put(fhirServer=None, fhirAuthorization=None, extension=None)),
    ("a hookInstance in capitals", put(hookInstance="C232AB00-9414-11EC-B3C8-9F6BDECED846")),
]


@pytest.mark.parametrize("change", [row[1] for row in OLDER], ids=[row[0] for row in OLDER])
def test_a_request_of_an_older_version_is_answered(change: Change, client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    change(request)

    cards = cards_of(call(client, request))

    assert {card["source"]["topic"]["code"] for card in cards} == set(AFTER.expect["cards"])
    check_answer({"cards": cards}, request)


def test_what_only_1_0_knew_is_refused_by_name(client: FlaskClient) -> None:
    """In the drafts before 1.0 the user and the patient stood at the top alone."""
    request = request_of(BEFORE, client)
    request |= {"user": request["context"].pop("userId"), "patient": request["context"].pop("patientId")}

    answer = client.post(address(client, request["hook"]), json=request)

    assert answer.status_code == 400
    assert json.loads(answer.get_data())["issue"][0]["diagnostics"] == "context.userId is missing"


def test_a_client_of_1_0_without_buttons_gets_it_all_in_words(client: FlaskClient) -> None:
    """Millennium's page of 2021 knows no uuid, no suggestion and no override reason."""
    request = request_of(AFTER, client) | {"hook": "patient-view", "fhirServer": "https://fhir-ehr.cerner.com/r4/a"}

    cards = cards_of(call(client, request))

    assert cards
    check_answer({"cards": cards}, request)
    for card in cards:
        assert card.keys() <= {"summary", "indicator", "source", "detail", "links"}
    assert any("To be ordered by hand" in card["detail"] for card in cards)
