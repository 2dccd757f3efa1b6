"""What the tests of this folder share: the worked cases, the requests of their EHRs, and what comes back."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from conftest import NOON
from ehr import request_for, service_for
from encoding import Case, Json, read_cases
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

CASES = {case.id: case for case in read_cases()}
# A woman before her caesarean and one after birth; both may be offered the medicine at once.
BEFORE, AFTER = CASES["V01"], CASES["V04"]
# One woman for each combination of hook and cards, but for those of sites that `serve` refuses.
SERVED = [
    case
    for case in CASES.values()
    if not (case["site"]["country"] == "US" and (case["site"]["protocol"] or {}).get("id") == "esketamine-iv")
]
WOMEN = list({(case["hook"], *case.expect.get("cards", ("not told",))): case for case in reversed(SERVED)}.values())
FHIR_JSON = "application/fhir+json"


def discovery(door: FlaskClient) -> Json:
    """The discovery document, as it comes over the wire."""
    found: Json = json.loads(door.get("/cds-services").get_data())
    return found


def request_of(case: Case, door: FlaskClient) -> Json:
    """What the case's EHR sends: a copy of its own, which a test may change."""
    return copy.deepcopy(request_for(case, NOON, discovery(door)))


def address(door: FlaskClient, hook: str) -> str:
    """Where the service for a hook is called."""
    return f"/cds-services/{service_for(hook, discovery(door))['id']}"


def call(door: FlaskClient, request: Json, **more: Any) -> TestResponse:
    """Sends a request to the service of its hook."""
    return door.post(address(door, request["hook"]), json=request, **more)


def cards_of(answer: TestResponse) -> list[Json]:
    """The cards of a good answer; anything else fails the test."""
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.content_type == "application/json"
    cards: list[Json] = json.loads(answer.get_data())["cards"]
    return cards


def topics(cards: Iterable[Json]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in cards]


def advised(door: FlaskClient, request: Json) -> list[str]:
    """The topics of the cards that a request gets."""
    return topics(cards_of(call(door, request)))


def refusal(answer: TestResponse, *statuses: int) -> str:
    """What a refusal says, in words; anything but an OperationOutcome fails the test."""
    assert answer.status_code in statuses, answer.get_data(as_text=True)
    assert answer.content_type == FHIR_JSON
    body = json.loads(answer.get_data())
    assert body["resourceType"] == "OperationOutcome"
    (issue,) = body["issue"]
    assert issue["severity"] == "error"
    said: str = issue["diagnostics"]
    return said


def suggestions(cards: Iterable[Json]) -> list[Json]:
    return [suggestion for card in cards for suggestion in card.get("suggestions", [])]


def actions(cards: Iterable[Json]) -> list[Json]:
    return [action for suggestion in suggestions(cards) for action in suggestion.get("actions", [])]


def drafts(request: Json) -> list[Json]:
    """The orders that are drafted in a request."""
    return [entry["resource"] for entry in request["context"]["draftOrders"]["entry"]]


def resources(value: Any) -> list[Json]:
    """The resources of one prefetch value."""
    if isinstance(value, dict) and value.get("resourceType") == "Bundle":
        return [entry["resource"] for entry in value.get("entry", [])]
    return [value] if isinstance(value, dict) else []
