"""How the safety suites ask: a worked case as its EHR sends it, changed, over HTTP; and what may not come back."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from conftest import NOON
from ehr import request_for, service_for
from encoding import Case, Json, read_cases, site_of
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cds_service.advisor import Advisor
from cds_service.clinical.consultation import Consultation
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import Site
from cds_service.web.app import create_app

KNOWLEDGE = load_knowledge()
WORDING = load_wording(knowledge=KNOWLEDGE)
CASES = {case.id: case for case in read_cases()}
# Eligible after birth, a delivery order selected: every list that blocks is there, and she is shown a dose.
ELIGIBLE = CASES["V01"]
# What a patient's chart may hold. No refusal may repeat it.
CANARY = "Zebrafinch4711"

Change = Callable[[Json], object]


class Overheard(Advisor):
    """Keeps what was thought last."""

    thought: Consultation | None = None

    def consult(self, *args: Any, **more: Any) -> Consultation:
        self.thought = super().consult(*args, **more)
        return self.thought


def advisor_of(case: Case) -> Overheard:
    """The advisor of the case's site."""
    return _advisor(json.dumps(site_of(case), sort_keys=True))


@cache
def _advisor(site: str) -> Overheard:
    return Overheard(KNOWLEDGE, WORDING, Site.from_table(json.loads(site)), lambda: NOON)


def door_of(case: Case) -> FlaskClient:
    """A caller of that site's service."""
    return _door(advisor_of(case))


@cache
def _door(advisor: Overheard) -> FlaskClient:
    return create_app(advisor).test_client()


def path_of(case: Case) -> str:
    """Where the case's EHR calls."""
    return f"/cds-services/{service_for(case['hook'], _discovery())['id']}"


@cache
def _discovery() -> Json:
    return advisor_of(ELIGIBLE).discovery()


@cache
def _written(case_id: str) -> str:
    return json.dumps(request_for(CASES[case_id], NOON, _discovery()))


def request_of(case: Case, *changes: Change) -> Json:
    """The case's request, a copy of its own, with these changes."""
    request: Json = json.loads(_written(case.id))
    for change in changes:
        change(request)
    return request


def ask(case: Case, *changes: Change) -> TestResponse:
    """The answer to the case's request with these changes."""
    return door_of(case).post(path_of(case), json=request_of(case, *changes))


def refusal_in(answer: TestResponse, status: int) -> str:
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


_DOSE = re.compile(r"\*\*Dose by local protocol|mg/kg ×")


def doses_in(cards: list[Json]) -> list[str]:
    """Where these cards show a dose for her, or draft the medicine."""
    shown = [
        card["summary"] for card in cards if _is_an_offer(card) or _DOSE.search(json.dumps(card, ensure_ascii=False))
    ]
    drafted = [one["resourceType"] for one in written_in(cards) if one["resourceType"] == "MedicationRequest"]
    return shown + drafted


def _is_an_offer(card: Json) -> bool:
    return bool(card["source"].get("topic", {}).get("code") == "KETOPTION")


def written_in(cards: list[Json]) -> Iterator[Json]:
    """Every resource that a button of these cards would write."""
    for card in cards:
        for suggestion in card.get("suggestions", ()):
            for action in suggestion.get("actions", ()):
                if "resource" in action:
                    yield action["resource"]


# ---- Changes


def member(path: str) -> tuple[list[str | int], str | int]:
    """`a.0.b` as the way to the holder, and the last name."""
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    return way, last


def put(path: str, value: Any) -> Change:
    """Sets one member; a dot goes one level down, a number is a place in a list."""
    way, last = member(path)

    def change(request: Any) -> None:
        for step in way:
            request = request[step]
        request[last] = copy.deepcopy(value)

    return change


def drop(path: str) -> Change:
    """Takes one member away."""
    way, last = member(path)

    def change(request: Any) -> None:
        for step in way:
            request = request[step]
        del request[last]

    return change


def resources_in(request: Json) -> Iterator[Json]:
    """Every resource that the prefetch holds."""
    for value in request["prefetch"].values():
        if isinstance(value, dict) and value.get("resourceType") == "Bundle":
            yield from (entry["resource"] for entry in value.get("entry", ()))
        elif isinstance(value, dict):
            yield value


def drafts_in(request: Json) -> list[Json]:
    """The draft orders of a request."""
    return [entry["resource"] for entry in request["context"].get("draftOrders", {}).get("entry", ())]


def each(kind: str, **members: Any) -> Change:
    """Changes every resource of a type in the prefetch. A member that is None is taken away."""

    def change(request: Json) -> None:
        found = [one for one in resources_in(request) if one["resourceType"] == kind]
        assert found, kind
        for one in found:
            one.update(members)
            for name in [name for name, value in members.items() if value is None]:
                del one[name]

    return change


def of_code(code: str, change: Change) -> Change:
    """Changes every Observation with this code in the prefetch."""

    def apply(request: Json) -> None:
        found = [one for one in resources_in(request) if code in json.dumps(one.get("code"))]
        assert found, code
        for one in found:
            change(one)

    return apply
