"""At the front door: whatever comes in, the answer is a refusal in FHIR's words. Never a 500, never a card."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

# Stands for what a patient's chart may hold. Each bad body has it, and no answer may.
CANARY = "Zebrafinch4711"

DELIVERY_ORDER = "/cds-services/ppd-delivery-order"
CHART_REVIEW = "/cds-services/ppd-chart-review"


def request(**changes: Any) -> dict[str, Any]:
    """A chart is opened. The canary is the mother's id and name."""
    return {
        "hook": "patient-view",
        "hookInstance": "3f0a1d52-8c0e-4a77-9d6e-2b6b1f6c9a10",
        "context": {"userId": "Practitioner/1", "patientId": CANARY},
        "prefetch": {"patient": patient(CANARY)},
    } | changes


def patient(patient_id: str) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": patient_id,
        "gender": "female",
        "birthDate": "1994-05-17",
        "name": [{"family": CANARY}],
    }


def context(**changes: Any) -> dict[str, Any]:
    return {"userId": "Practitioner/1", "patientId": CANARY} | changes


def raw(**changes: Any) -> bytes:
    return json.dumps(request(**changes)).encode()


def with_value(text: str) -> bytes:
    """A request in which one value is written as given."""
    return raw(extension={"x": 0}).replace(b'{"x": 0}', f'{{"x": {text}}}'.encode())


def without(name: str) -> bytes:
    body = request()
    del body[name]
    return json.dumps(body).encode()


def is_refused(answer: TestResponse, status: int) -> str:
    """The refusal is an OperationOutcome that keeps to itself what it was given. Returns what it says."""
    text = answer.get_data(as_text=True)
    assert answer.status_code == status, text
    assert answer.mimetype in {"application/fhir+json", "application/json"}
    assert CANARY not in text
    assert CANARY not in str(answer.headers)
    outcome = json.loads(text)
    assert outcome["resourceType"] == "OperationOutcome"
    assert "cards" not in outcome
    (issue,) = outcome["issue"]
    assert issue["severity"] in {"error", "fatal"}
    assert issue["code"]
    said: str = issue["diagnostics"]
    assert said
    return said


BAD_BODIES: list[tuple[str, bytes, int]] = [
    ("no body", b"", 400),
    ("cut short", raw()[:-20], 400),
    ("plain text", CANARY.encode(), 400),
    ("trailing comma", raw()[:-1] + b",}", 400),
    ("UTF-16", raw().decode().encode("utf-16"), 400),
    ("not UTF-8", raw().replace(b"female", b"\xff"), 400),
    ("half a character", with_value(r'"\ud83d"'), 400),
    ("NUL", with_value(r'"\u0000"'), 400),
    ("NaN", with_value("NaN"), 400),
    ("Infinity", with_value("-Infinity"), 400),
    ("1e999", with_value("1e999"), 400),
    ("an integer of 5,000 digits", with_value("7" * 5_000), 400),
    ("a name twice", with_value('1, "x": 2'), 400),
    ("two patients", raw().replace(b'"userId"', b'"patientId": "other", "userId"'), 400),
    ("65 levels", with_value("[" * 63 + "]" * 63), 400),
    ("100,000 levels", with_value("[" * 100_000 + "]" * 100_000), 400),
    ("100,000 levels never closed", b"[" * 100_000 + CANARY.encode(), 400),
    ("null", b"null", 400),
    ("a list", json.dumps([request()]).encode(), 400),
    ("text", json.dumps(CANARY).encode(), 400),
    ("a number", b"4711", 400),
    ("an empty object", b"{}", 400),
    ("no hook", without("hook"), 400),
    ("no hookInstance", without("hookInstance"), 400),
    ("no context", without("context"), 400),
    ("null for the hook", raw(hook=None), 400),
    ("an object for the hook", raw(hook={"a": CANARY}), 400),
    ("a list for the hookInstance", raw(hookInstance=[CANARY]), 400),
    ("a list for the context", raw(context=[CANARY]), 400),
    ("text for the context", raw(context=CANARY), 400),
    ("an empty context", raw(context={}), 400),
    ("a hook of another service", raw(hook="order-sign"), 400),
    ("a hook that nobody knows", raw(hook=CANARY), 400),
    ("no userId", raw(context={"patientId": CANARY}), 400),
    ("a userId without a type", raw(context=context(userId=CANARY)), 400),
    ("no patientId", raw(context={"userId": "Practitioner/1", "more": CANARY}), 400),
    ("a number for the patientId", raw(context=context(patientId=4711)), 400),
    ("a way up for the patientId", raw(context=context(patientId=f"../{CANARY}")), 400),
    ("a number for the encounterId", raw(context=context(encounterId=4711)), 400),
    ("text for the prefetch", raw(prefetch=CANARY), 400),
    ("a list for the prefetch", raw(prefetch=[patient(CANARY)]), 400),
    ("a number for the fhirServer", raw(fhirServer=4711), 400),
    ("a token without a server", raw(fhirAuthorization={"access_token": CANARY, "token_type": "Bearer"}), 400),
    ("another patient", raw(prefetch={"patient": patient("somebody-else")}), 412),
    ("too many bytes", raw(extension={"x": "x" * (2 * 1024 * 1024)}), 413),
    ("too many objects", with_value("[" + "{}," * 60_000 + "{}]"), 413),
    ("too many entries", raw(prefetch={"a": {"resourceType": "Bundle", "entry": [{}] * 5_001}}), 413),
]


@pytest.mark.parametrize(("body", "status"), [row[1:] for row in BAD_BODIES], ids=[row[0] for row in BAD_BODIES])
def test_a_bad_body_gets_a_refusal_that_repeats_nothing(client: FlaskClient, body: bytes, status: int) -> None:
    is_refused(client.post(CHART_REVIEW, data=body, content_type="application/json"), status)


BAD_ORDERS: list[tuple[str, dict[str, Any], int]] = [
    ("no selections", {"draftOrders": {"resourceType": "Bundle"}}, 400),
    ("text for the selections", {"selections": CANARY}, 400),
    ("numbers for the selections", {"selections": [4711]}, 400),
    ("text for the draftOrders", {"selections": [], "draftOrders": CANARY}, 400),
    ("an order for the draftOrders", {"selections": [], "draftOrders": {"resourceType": "ServiceRequest"}}, 400),
    ("text for the entries", {"selections": [], "draftOrders": {"resourceType": "Bundle", "entry": CANARY}}, 400),
    ("201 orders", {"selections": [], "draftOrders": {"resourceType": "Bundle", "entry": [{}] * 201}}, 413),
]


@pytest.mark.parametrize(("changes", "status"), [row[1:] for row in BAD_ORDERS], ids=[row[0] for row in BAD_ORDERS])
def test_bad_orders_get_a_refusal_that_repeats_nothing(
    client: FlaskClient, changes: dict[str, Any], status: int
) -> None:
    body = raw(hook="order-select", context=context(**changes))
    is_refused(client.post(DELIVERY_ORDER, data=body, content_type="application/json"), status)


def test_a_refusal_names_what_is_wrong(client: FlaskClient) -> None:
    def said(body: bytes) -> str:
        return is_refused(client.post(CHART_REVIEW, data=body, content_type="application/json"), 400)

    assert "hookInstance is missing" in said(without("hookInstance"))
    assert "context.patientId is missing" in said(raw(context={"userId": "Practitioner/1"}))
    assert "not finite" in said(with_value("NaN"))
    assert "twice" in said(with_value('1, "x": 2'))
    assert "nested deeper than 64 levels" in said(with_value("[" * 63 + "]" * 63))


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/fhir+xml", "text/json", ""],
)
def test_another_content_type_is_refused(client: FlaskClient, content_type: str) -> None:
    is_refused(client.post(CHART_REVIEW, data=raw(), content_type=content_type), 415)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/fhir+json",
        "application/fhir+json; fhirVersion=4.0",
    ],
)
def test_json_under_any_of_its_names_is_read(client: FlaskClient, content_type: str) -> None:
    answer = client.post(CHART_REVIEW, data=raw(), content_type=content_type)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert isinstance(answer.get_json()["cards"], list)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_compressed_body_is_refused(client: FlaskClient, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    body = gzip.compress(raw())
    is_refused(client.post(CHART_REVIEW, data=body, content_type="application/json", headers=headers), 415)


@pytest.mark.parametrize("service_id", [CANARY, "ppd-delivery", "PPD-CHART-REVIEW", "%00", "..%2fhealthz"])
def test_a_service_that_nobody_knows_is_not_found(client: FlaskClient, service_id: str) -> None:
    is_refused(client.post(f"/cds-services/{service_id}", data=raw(), content_type="application/json"), 404)


@pytest.mark.parametrize("path", [f"/{CANARY}", f"/cds-services/ppd-chart-review/{CANARY}"])
def test_an_address_that_nobody_knows_is_not_found(client: FlaskClient, path: str) -> None:
    is_refused(client.get(path), 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_service_answers_post_only(client: FlaskClient, method: str) -> None:
    answer = client.open(CHART_REVIEW, method=method)
    is_refused(answer, 405)
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/cds-services", "/healthz", "/readyz", "/version"])
def test_what_is_only_to_be_read_does_not_answer_post(client: FlaskClient, path: str) -> None:
    is_refused(client.post(path, data=raw(), content_type="application/json"), 405)


# Epic calls exactly the address that was registered, and few clients repeat a POST after a redirect. So both spellings
# are served, and neither redirects to the other.
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_trailing_slash_makes_no_difference(client: FlaskClient, slash: str) -> None:
    assert client.get(f"/cds-services{slash}").status_code == 200
    assert client.post(f"{CHART_REVIEW}{slash}", data=raw(), content_type="application/json").status_code == 200
    is_refused(client.post(f"{CHART_REVIEW}{slash}", data=b"{", content_type="application/json"), 400)
    is_refused(client.post(f"/cds-services/{CANARY}{slash}", data=raw(), content_type="application/json"), 404)
    is_refused(client.get(f"{CHART_REVIEW}{slash}"), 405)
