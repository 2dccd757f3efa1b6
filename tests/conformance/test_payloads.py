"""Other people's example payloads: each gets an answer, or a refusal that names what is wrong with it."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from calls import BEFORE, address, advised, call, cards_of, refusal, request_of, topics
from flask.testing import FlaskClient
from response_check import check_answer

from cds_service.advisor import Advisor
from cds_service.hooks.request import HOOKS
from cds_service.records import Records
from cds_service.web.app import create_app

Json = dict[str, Any]

FOLDER = os.environ.get("CDS_TEST_PAYLOADS", "")
PAYLOADS: dict[str, Json] = tomllib.loads((Path(__file__).parent / "payloads.toml").read_text(encoding="utf-8"))
OURS = {service.hook for service in HOOKS}
ASKING = {"request", "context"}

there = pytest.mark.skipif(not FOLDER, reason="CDS_TEST_PAYLOADS names no folder with other people's payloads")


def read(name: str) -> Any:
    return json.loads((Path(FOLDER) / name).read_text(encoding="utf-8"))


def as_request(name: str) -> Json:
    """The payload as a request: it is one, or it is the context of one."""
    payload: Json = read(name)
    if PAYLOADS[name]["what"] == "request":
        return payload
    return {"hook": PAYLOADS[name]["hook"], "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea", **payload}


def rows(*what: str) -> list[str]:
    return [name for name, row in PAYLOADS.items() if row["what"] in what]


def answered(status: int) -> list[str]:
    return [name for name in rows(*ASKING) if PAYLOADS[name]["status"] == status]


@there
def test_every_file_of_the_folder_is_in_the_table_and_the_other_way_round() -> None:
    found = {path.relative_to(FOLDER).as_posix() for path in Path(FOLDER).rglob("*.json")}

    assert found == PAYLOADS.keys()


def test_the_table_says_of_each_request_what_it_gets() -> None:
    for name in rows(*ASKING):
        row = PAYLOADS[name]
        assert row["status"] in (200, 400, 412)
        assert bool(row.get("names")) == (row["status"] != 200), name
        assert bool(row.get("why")) == ("cards" in row) == (row["status"] == 200), name
        assert (row["names"] == "hook") == (row["hook"] not in OURS) if row["status"] == 400 else row["hook"] in OURS
    assert len(rows("request")) >= 10
    assert len(rows("context")) >= 20


@there
@pytest.mark.parametrize("name", rows("request"))
def test_what_is_called_a_request_is_one_and_nothing_else_is(name: str) -> None:
    requests = [one for one in PAYLOADS if isinstance(read(one), dict) and "hookInstance" in read(one)]

    assert requests == rows("request")
    assert read(name)["hook"] == PAYLOADS[name]["hook"]


@there
@pytest.mark.parametrize("name", answered(200))
def test_a_request_gets_its_cards(name: str, client: FlaskClient) -> None:
    request = as_request(name)

    answer = call(client, request)

    assert topics(cards_of(answer)) == PAYLOADS[name]["cards"], PAYLOADS[name]["why"]
    check_answer(json.loads(answer.get_data()), request)


@there
@pytest.mark.parametrize("name", answered(400) + answered(412))
def test_a_request_that_cannot_be_answered_is_told_what_is_wrong(name: str, client: FlaskClient) -> None:
    request, row = as_request(name), PAYLOADS[name]
    hooks = [request["hook"]] if request["hook"] in OURS else sorted(OURS)

    for hook in hooks:
        answer = client.post(address(client, hook), json=request)
        assert row["names"] in refusal(answer, row["status"])


@there
@pytest.mark.parametrize("name", [name for name in answered(412) if PAYLOADS[name]["names"] == "Patient"])
def test_with_the_patient_it_is_answered(name: str, client: FlaskClient) -> None:
    request = as_request(name)
    request["prefetch"] = {"patient": {"resourceType": "Patient", "id": request["context"]["patientId"]}}

    assert advised(client, request) == []


@there
@pytest.mark.parametrize("name", [name for name, row in PAYLOADS.items() if row["what"] != "request"])
def test_what_is_no_request_is_refused_by_each_service(name: str, client: FlaskClient) -> None:
    for hook in sorted(OURS):
        answer = client.post(address(client, hook), json=read(name))
        assert refusal(answer, 400) == "hook is missing"


@there
@pytest.mark.parametrize("name", [name for name, row in PAYLOADS.items() if row["what"] not in ASKING])
def test_only_feedback_is_taken_for_feedback(name: str, advisor: Advisor) -> None:
    records = Records.in_memory()
    door = create_app(advisor, records=records).test_client()

    answer = door.post(f"{address(door, 'patient-view')}/feedback", json=read(name))

    if PAYLOADS[name]["what"] == "feedback":
        assert answer.status_code == 200
        assert [row["card"] for row in records.feedback.all()] == [one["card"] for one in read(name)["feedback"]]
    else:
        assert refusal(answer, 400) == "feedback is missing"
    records.close()


@there
@pytest.mark.parametrize("hook", ["order-select", "order-sign"])
@pytest.mark.parametrize("name", [name for name in answered(200) if PAYLOADS[name]["hook"].startswith("order-")])
def test_their_orders_beside_a_birth_cost_no_card(name: str, hook: str, client: FlaskClient) -> None:
    """What others draft is often no FHIR R4. Here it lies on the screen where a birth is ordered."""
    request = request_of(BEFORE, client) | {"hook": hook}
    alone = cards_of(call(client, request))
    assert topics(alone)
    context = as_request(name)["context"]
    theirs = json.dumps(context["draftOrders"]["entry"])
    hers = theirs.replace(f"Patient/{context['patientId']}", f"Patient/{request['context']['patientId']}")
    request["context"]["draftOrders"]["entry"] += json.loads(hers)

    beside = cards_of(call(client, request))

    # A medicine that nobody recognised is named in the detail. Nothing else is different.
    assert [{**card, "detail": ""} for card in beside] == [{**card, "detail": ""} for card in alone]
