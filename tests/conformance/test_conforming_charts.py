"""Where a chart comes from: what was sent, what is known to be none, what failed, and what is read from the EHR."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest
from calls import AFTER, BEFORE, advised, call, cards_of, refusal, request_of, topics
from fhir_server import TOKEN, reading, serving, without
from flask.testing import FlaskClient
from heard import all_of

from cds_service.hooks.request import parse_request
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

Json = dict[str, Any]

NONE = {"resourceType": "Bundle", "type": "searchset", "total": 0}
FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
FAILED_WITHIN = {
    "resourceType": "Bundle",
    "type": "searchset",
    "entry": [{"search": {"mode": "outcome"}, "resource": FAILED}],
}
KNOWN_NONE = [pytest.param(None, id="null"), pytest.param(NONE, id="an empty Bundle")]
KNOWN_FAILED = [
    pytest.param(FAILED, id="an OperationOutcome"),
    pytest.param(FAILED_WITHIN, id="an OperationOutcome in a Bundle"),
]
# Lists in which she has nothing that speaks against the medicine, and any of which could.
TELLING = ("problems", "medication_administrations", "medication_orders")


# ---- Four answers to one question


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize("value", KNOWN_NONE)
@pytest.mark.parametrize("key", TELLING)
def test_a_known_none_is_none(key: str, value: Any, client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    request["prefetch"][key] = value

    assert "KETOPTION" in advised(client, request)


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize("value", KNOWN_FAILED)
@pytest.mark.parametrize("key", TELLING)
def test_a_failure_is_not_none(key: str, value: Any, client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    request["prefetch"][key] = value

    assert "KETOPTION" not in advised(client, request)


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize("key", TELLING)
def test_what_was_not_asked_is_not_none(key: str, client: FlaskClient) -> None:
    request = request_of(AFTER, client)

    assert "KETOPTION" in advised(client, request)
    assert "KETOPTION" not in advised(client, without(request, key))


@pytest.mark.conforms("P-3", "P-4")
@pytest.mark.parametrize("value", [*KNOWN_NONE, *KNOWN_FAILED])
def test_only_what_was_not_asked_is_read_from_the_server(value: Any, knowledge: Knowledge, wording: Wording) -> None:
    with serving(AFTER) as ehr:
        door = create_app(reading(AFTER, ehr.base, knowledge, wording)).test_client()
        request = request_of(AFTER, door) | ehr.sent_along()
        request["prefetch"]["problems"] = value
        del request["prefetch"]["procedures"]
        cards_of(call(door, request))

    assert ehr.kinds == ["Procedure"]


# ---- Prefetch and the server


@pytest.mark.conforms("P-4", "P-7")
@pytest.mark.parametrize("keys", [(), ("problems",), ("patient", "screens"), ("encounter", "obstetrics", "allergies")])
def test_sent_along_or_read_it_is_the_same_chart(keys: tuple[str, ...], knowledge: Knowledge, wording: Wording) -> None:
    with serving(AFTER) as ehr:
        door = create_app(reading(AFTER, ehr.base, knowledge, wording)).test_client()
        request = request_of(AFTER, door) | ehr.sent_along()
        by_prefetch = cards_of(call(door, request))
        asked_for_nothing = list(ehr.heard)
        by_reading = cards_of(call(door, without(request, *keys)))

    assert asked_for_nothing == []
    assert len(ehr.heard) == len(keys or request["prefetch"])
    assert topics(by_prefetch) == AFTER.expect["cards"]
    assert by_reading == by_prefetch


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize("value", [*KNOWN_FAILED, pytest.param(NONE, id="an empty Bundle")])
def test_without_the_patient_it_is_412(value: Any, client: FlaskClient) -> None:
    request = request_of(BEFORE, client)
    request["prefetch"]["patient"] = value

    assert "Patient" in refusal(call(client, request), 412)
    assert "Patient" in refusal(call(client, without(request, "patient")), 412)
    assert "Patient" in refusal(call(client, without(request)), 412)


@pytest.mark.conforms("P-5")
def test_a_patient_within_reach_is_read(knowledge: Knowledge, wording: Wording) -> None:
    with serving(BEFORE) as ehr:
        door = create_app(reading(BEFORE, ehr.base, knowledge, wording)).test_client()
        request = without(request_of(BEFORE, door), "patient")

        assert "Patient" in refusal(call(door, request), 412)
        assert advised(door, request | ehr.sent_along()) == BEFORE.expect["cards"]


def optional(client: FlaskClient) -> list[str]:
    return [key for key in request_of(BEFORE, client)["prefetch"] if key != "patient"]


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize("how", ["null", "absent", "failed"])
def test_whatever_else_is_missing_is_200(how: str, client: FlaskClient) -> None:
    for key in optional(client):
        request = request_of(BEFORE, client)
        if how == "absent":
            del request["prefetch"][key]
        else:
            request["prefetch"][key] = {"null": None, "failed": FAILED}[how]
        assert call(client, request).status_code == 200, key


# ---- The token


@pytest.mark.conforms("F-1")
def test_each_read_carries_the_token(knowledge: Knowledge, wording: Wording) -> None:
    with serving(AFTER) as ehr:
        door = create_app(reading(AFTER, ehr.base, knowledge, wording)).test_client()
        cards_of(call(door, without(request_of(AFTER, door)) | ehr.sent_along()))

    assert len(ehr.heard) > 10
    assert {headers.get("Authorization") for _, headers in ehr.heard} == {f"Bearer {TOKEN}"}


@pytest.mark.conforms("F-2")
def test_the_token_is_nowhere_else(knowledge: Knowledge, wording: Wording, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), serving(AFTER) as ehr:
        door = create_app(reading(AFTER, ehr.base, knowledge, wording)).test_client()
        request = without(request_of(AFTER, door)) | ehr.sent_along()
        good = call(door, request)
        request["context"]["patientId"] = "nobody"
        refused = call(door, request)
        request["fhirAuthorization"]["token_type"] = TOKEN
        unreadable = call(door, request)

    assert [good.status_code, refused.status_code, unreadable.status_code] == [200, 412, 400]
    for answer in (good, refused, unreadable):
        assert TOKEN not in answer.get_data(as_text=True)
        assert TOKEN not in str(answer.headers)
    assert TOKEN not in all_of(caplog)
    assert TOKEN not in "".join(query for query, _ in ehr.heard)


@pytest.mark.conforms("F-2")
def test_the_token_is_in_no_picture_of_a_call(client: FlaskClient) -> None:
    authorization = {"access_token": TOKEN, "token_type": "Bearer"}
    request = request_of(AFTER, client) | {"fhirServer": "https://a.example/fhir", "fhirAuthorization": authorization}
    read = parse_request(request)

    assert read.fhir_authorization is not None
    assert read.fhir_authorization.access_token == TOKEN
    assert TOKEN not in repr(read)


# ---- Time


class Clock:
    """Monotonic seconds that go by only when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.conforms("F-4")
@pytest.mark.pitfall(14)
def test_what_is_late_is_unknown_and_the_rest_is_told(knowledge: Knowledge, wording: Wording) -> None:
    clock = Clock()

    def takes_its_time(kind: str) -> None:
        if kind == "AllergyIntolerance":
            clock.now += 60

    with serving(AFTER, takes_its_time) as ehr:
        door = create_app(reading(AFTER, ehr.base, knowledge, wording, clock)).test_client()
        request = without(request_of(AFTER, door), "allergies") | ehr.sent_along()
        cards = cards_of(call(door, request))

    assert ehr.kinds == ["AllergyIntolerance"]
    assert topics(cards) != AFTER.expect["cards"]
    assert "KETOPTION" not in topics(cards)
    assert "PPDRISK" in topics(cards)


@pytest.mark.conforms("F-4", "S-2")
@pytest.mark.pitfall(14)
def test_all_reads_go_out_at_once(knowledge: Knowledge, wording: Wording) -> None:
    """Each of four waits for the other three. One after the other, the first would wait in vain."""
    keys = ("problems", "allergies", "procedures", "medication_orders")
    together = threading.Barrier(len(keys))

    with serving(AFTER, lambda _: together.wait(timeout=10)) as ehr:
        door = create_app(reading(AFTER, ehr.base, knowledge, wording)).test_client()
        told = advised(door, without(request_of(AFTER, door), *keys) | ehr.sent_along())

    assert len(ehr.heard) == len(keys)
    assert told == AFTER.expect["cards"]


@pytest.mark.conforms("S-2")
def test_waiting_for_the_ehr_takes_less_than_half_a_second_unless_the_site_says_so() -> None:
    assert Site.from_table({"country": "CN"}).ehr.budget_ms <= 450


@pytest.mark.conforms("S-2")
def test_an_order_of_something_else_waits_for_nothing(knowledge: Knowledge, wording: Wording) -> None:
    with serving(BEFORE) as ehr:
        door = create_app(reading(BEFORE, ehr.base, knowledge, wording)).test_client()
        request = without(request_of(BEFORE, door)) | ehr.sent_along()
        (entry,) = request["context"]["draftOrders"]["entry"]
        entry["resource"]["code"] = {"text": "Full blood count"}

        assert json.loads(call(door, request).get_data()) == {"cards": []}

    assert ehr.heard == []
