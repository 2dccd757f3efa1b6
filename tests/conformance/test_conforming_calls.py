"""A call: what of it is read, what is refused and how, and what an answer is made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from calls import AFTER, BEFORE, WOMEN, address, advised, call, cards_of, refusal, request_of
from conftest import Door
from encoding import Case
from flask.testing import FlaskClient
from response_check import check_answer, hollow

from cds_service.ehr.servers import Servers
from cds_service.errors import SiteUnfit
from cds_service.hooks.request import HOOKS
from cds_service.hooks.strict_json import MOST_BYTES
from cds_service.settings import Site

Json = dict[str, Any]


def named(case: Case) -> str:
    return str(case)


# ---- The answer


@pytest.mark.conforms("S-1", "S-4", "J-1", "J-3", "X-1")
@pytest.mark.parametrize("case", WOMEN, ids=named)
def test_an_answer_holds_to_every_rule_as_it_comes_over_the_wire(case: Case, front_door: Door) -> None:
    door = front_door(case)
    request = request_of(case, door)

    answer = call(door, request)

    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    body = json.loads(answer.get_data())
    assert body.keys() == {"cards"}
    check_answer(body, request)
    for card in body["cards"]:
        for suggestion in card.get("suggestions", []):
            for action in suggestion["actions"]:
                assert action["type"] in ("create", "update", "delete")
                assert isinstance(action.get("resource", {}), dict)


def test_the_women_get_every_kind_of_card() -> None:
    told = {topic for case in WOMEN for topic in case.expect.get("cards", ())}

    assert {"KETOPTION", "KETCONTRA", "KETORDER", "KETREVIEW", "KETDATA", "PPDSAFETY", "PPDSCREEN", "PPDRISK"} <= told
    assert {"KETNOTIND", "KETNOPROTO", "PPDFOLLOWUP"} <= told
    assert {case["hook"] for case in WOMEN} == {service.hook for service in HOOKS}


@pytest.mark.conforms("S-1")
def test_no_card_is_an_empty_list(front_door: Door) -> None:
    silent = next(case for case in WOMEN if case.expect.get("cards") == [])
    door = front_door(silent)

    assert json.loads(call(door, request_of(silent, door)).get_data()) == {"cards": []}


@pytest.mark.conforms("S-3", "J-1")
@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("post", "/cds-services/ppd-discharge", {"data": b"{", "content_type": "application/json"}, 400),
        ("post", "/cds-services/none", {"json": {}}, 404),
        ("get", "/nowhere", {}, 404),
        ("get", "/cds-services/ppd-discharge", {}, 405),
        ("post", "/cds-services/ppd-discharge", {"data": b"a=b", "content_type": "text/plain"}, 415),
    ],
)
def test_any_other_status_comes_with_an_operation_outcome(
    method: str, path: str, more: Json, status: int, client: FlaskClient
) -> None:
    answer = getattr(client, method)(path, **more)

    assert refusal(answer, status)
    assert hollow(json.loads(answer.get_data())) is None


# ---- What must be there


@pytest.mark.conforms("R-1")
@pytest.mark.parametrize("path", ["none", "ppd-delivery-orders", "PPD-DELIVERY-ORDER", "order-select", "..", "%00"])
def test_a_service_that_there_is_not_is_404(path: str, client: FlaskClient) -> None:
    refusal(client.post(f"/cds-services/{path}", json=request_of(BEFORE, client)), 404)


@pytest.mark.conforms("R-2")
@pytest.mark.parametrize("member", ["hook", "hookInstance", "context"])
@pytest.mark.parametrize("service", HOOKS, ids=lambda service: service.id)
def test_what_a_call_must_have_is_named_when_it_is_missing(member: str, service: Any, client: FlaskClient) -> None:
    request = request_of(BEFORE, client) | {"hook": service.hook}
    del request[member]

    assert refusal(client.post(f"/cds-services/{service.id}", json=request), 400) == f"{member} is missing"


@pytest.mark.conforms("R-2")
@pytest.mark.parametrize("member", ["userId", "patientId", "selections"])
def test_what_a_context_must_have_is_named_when_it_is_missing(member: str, client: FlaskClient) -> None:
    request = request_of(BEFORE, client)
    del request["context"][member]

    assert refusal(call(client, request), 400) == f"context.{member} is missing"


@pytest.mark.conforms("R-4")
@pytest.mark.parametrize(
    "instance",
    [
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",  # version 1, as Epic sends it
        "D1577C69-DFBE-44AD-BA6D-3E05E953B2EA",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "00000000-0000-0000-0000-000000000000",
        "urn:uuid:d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "no UUID at all",
        "4" * 128,
    ],
)
def test_a_hook_instance_is_taken_as_it_comes(instance: str, client: FlaskClient) -> None:
    request = request_of(BEFORE, client)

    assert advised(client, request | {"hookInstance": instance}) == BEFORE.expect["cards"]


@pytest.mark.conforms("R-4")
def test_a_hook_instance_without_end_is_refused(client: FlaskClient) -> None:
    request = request_of(BEFORE, client) | {"hookInstance": "4" * 129}

    assert refusal(call(client, request), 400) == "hookInstance is longer than 128 characters"


@pytest.mark.conforms("R-5")
def test_a_token_without_a_server_is_refused(client: FlaskClient) -> None:
    authorization = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 300, "scope": "user/*.rs"}
    request = request_of(BEFORE, client) | {"fhirAuthorization": authorization}

    assert refusal(call(client, request), 400) == "fhirAuthorization came without fhirServer"
    assert advised(client, request | {"fhirServer": "https://ehr.example.org/fhir"}) == BEFORE.expect["cards"]


# ---- What may be there


def unknown_at_the_top(request: Json) -> None:
    request |= {"user": "Practitioner/1", "redirect": "https://ehr.example.org", "oauth": {"token": "a"}, "x": None}


def unknown_in_the_context(request: Json) -> None:
    request["context"] |= {"fulfillment-tasks": [], "encounter": {"id": "a"}, "order": None, "performer": 7}


def with_extension(extension: Any) -> Callable[[Json], None]:
    def change(request: Json) -> None:
        request["extension"] = extension
        request["context"]["extension"] = extension

    return change


@pytest.mark.conforms("R-6", "X-1")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(unknown_at_the_top, id="at the top"),
        pytest.param(unknown_in_the_context, id="in the context"),
        pytest.param(with_extension({"org.example.a": {"b": [1]}, "c": None}), id="an extension"),
        pytest.param(with_extension({}), id="an empty extension"),
        pytest.param(with_extension([{"url": "a"}]), id="a list for an extension"),
        pytest.param(with_extension("a"), id="text for an extension"),
        pytest.param(with_extension(None), id="null for an extension"),
    ],
)
def test_what_nobody_knows_changes_nothing(change: Callable[[Json], None], client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    plain = call(client, request).get_data()
    change(request)

    assert call(client, request).get_data() == plain


# ---- How it comes


@pytest.mark.conforms("R-7")
@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json;charset=UTF-8",
        "application/json; charset=iso-8859-1",
        "application/fhir+json; fhirVersion=4.0",
        "Application/Json",
    ],
)
def test_json_is_read_by_any_of_its_names(kind: str, client: FlaskClient) -> None:
    request = request_of(AFTER, client)
    answer = client.post(address(client, request["hook"]), data=json.dumps(request), content_type=kind)

    assert cards_of(answer) == cards_of(call(client, request))


@pytest.mark.conforms("R-7")
@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", None])
def test_what_is_no_json_is_415(kind: str | None, client: FlaskClient) -> None:
    body = json.dumps(request_of(AFTER, client))

    assert "Content-Type" in refusal(client.post(address(client, AFTER["hook"]), data=body, content_type=kind), 415)


@pytest.mark.conforms("R-7")
def test_a_body_of_megabytes_is_read_to_the_cap_and_no_further(client: FlaskClient) -> None:
    request = json.dumps(request_of(AFTER, client)).encode()
    path = address(client, AFTER["hook"])

    whole = client.post(path, data=request.ljust(MOST_BYTES), content_type="application/json")
    above = client.post(path, data=request.ljust(MOST_BYTES + 1), content_type="application/json")

    assert cards_of(whole)
    assert str(MOST_BYTES) in refusal(above, 413)


# ---- Over what


@pytest.mark.conforms("J-2")
@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://ehr.example.org/fhir", True),
        ("http://ehr.example.org/fhir", False),
        ("http://127.0.0.1:8080/fhir", True),
        ("http://10.0.0.8/fhir", False),
    ],
)
def test_a_chart_is_read_over_tls_unless_it_is_on_this_machine(url: str, taken: bool) -> None:
    site = Site.from_table({"country": "CN", "ehr": {"servers": [url]}})

    if taken:
        assert Servers(site).allowed(url) is not None
    else:
        with pytest.raises(SiteUnfit, match="not https"):
            Servers(site)


@pytest.mark.conforms("J-2")
def test_the_same_server_without_tls_is_another_one() -> None:
    servers = Servers(Site.from_table({"country": "CN", "ehr": {"servers": ["https://ehr.example.org/fhir"]}}))

    assert servers.allowed("https://ehr.example.org/fhir") is not None
    assert servers.allowed("http://ehr.example.org/fhir") is None
