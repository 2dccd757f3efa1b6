"""A machine that reads the specification tries everything in it: no crash, no answer that it does not describe."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from ehr import request_for
from encoding import read_cases
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cds_service.advisor import Advisor
from cds_service.explanations import Explanations
from cds_service.hooks.request import HOOKS, service_for
from cds_service.records import Records
from cds_service.web.app import create_app
from cds_service.web.metrics import Metrics

SPEC = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text(encoding="utf-8"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def api(advisor: Advisor) -> schemathesis.BaseSchema:
    """The specification, over a service that takes feedback and keeps explanations, both in memory."""
    explanations = Explanations.in_memory("https://cds.example.org")
    keeping = Advisor(advisor.knowledge, advisor.wording, advisor.site, advisor.clock, None, explanations)
    app = create_app(keeping, records=Records.in_memory(), metrics=Metrics(advisor.knowledge, ()))
    return schemathesis.openapi.from_wsgi("/openapi.yaml", app)


# Nobody guesses a signature; and where nobody has to say who they are, nobody signs in. Other tests have the rest.
UNGUESSED = {
    *("GET /consultations/{id}", "POST /insights/session", "POST /insights/session/end"),
    *("GET /insights/oidc", "GET /insights/oidc/callback"),
}
IDS = {service.hook: service.id for service in HOOKS}
LABELS = [
    f"{method.upper()} {path}" for path, item in SPEC["paths"].items() for method in item if method != "parameters"
]


def nearer(case: schemathesis.Case) -> None:
    """Brings a call to the service of its hook, with a Patient: else nearly every one would end at the door."""
    body = case.body if isinstance(case.body, dict) else {}
    if body.get("hook") in IDS:
        case.path_parameters["id"] = IDS[body["hook"]]
    if isinstance(body.get("prefetch", {}), dict) and isinstance(body.get("context"), dict):
        patient = {"resourceType": "Patient", "id": str(body["context"].get("patientId")).removeprefix("Patient/")}
        case.body = {**body, "prefetch": {"patient": patient, **body.get("prefetch", {})}}


# What does not fit takes three times as long to think of.
TRIES = {GenerationMode.POSITIVE: 100, GenerationMode.NEGATIVE: 50}
# Where there is little to vary, a few will do.
PLAIN = {*UNGUESSED, "GET /insights", "GET /insights.csv"}


def tried(api: schemathesis.BaseSchema, label: str, mode: GenerationMode) -> Counter[int]:
    """The statuses that many calls of one operation got, each answer checked."""
    method, path = label.split()
    heard: Counter[int] = Counter()

    @settings(
        max_examples=10 if label in PLAIN else TRIES[mode],
        derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(api[path][method].as_strategy(generation_mode=mode))
    def attempt(case: schemathesis.Case) -> None:
        nearer(case)
        heard[case.call_and_validate(checks=CHECKS).status_code] += 1

    attempt()
    return heard


@pytest.mark.parametrize("label", LABELS)
def test_every_answer_to_what_fits_the_specification_is_in_it(api: schemathesis.BaseSchema, label: str) -> None:
    """And some of them are a success: a run that hears nothing but 400 proves nothing."""
    heard = tried(api, label, GenerationMode.POSITIVE)
    if label in UNGUESSED:
        assert set(heard) == {404}
    else:
        assert heard[200] > (10 if label.startswith("POST") else 0), heard


@pytest.mark.parametrize("label", [label for label in LABELS if label.startswith("POST") and label not in UNGUESSED])
def test_every_answer_to_what_does_not_fit_is_in_it_too(api: schemathesis.BaseSchema, label: str) -> None:
    heard = tried(api, label, GenerationMode.NEGATIVE)
    assert sum(heard[status] for status in (400, 404, 405, 415)) > 0


EXAMPLES = {
    "PatientView": "/cds-services/ppd-chart-review",
    "OrderSelect": "/cds-services/ppd-delivery-order",
    "Feedback": "/cds-services/ppd-delivery-order/feedback",
}


def test_no_example_of_a_body_is_left_out() -> None:
    bodies = [operation["requestBody"]["content"] for operation in operations() if "requestBody" in operation]
    held = [one["$ref"] for body in bodies for kind in body.values() for one in kind.get("examples", {}).values()]
    assert {reference.rpartition("/")[2] for reference in held} == set(EXAMPLES)


def operations() -> Iterator[dict[str, Any]]:
    yield from (held for item in SPEC["paths"].values() for method, held in item.items() if method != "parameters")


@pytest.mark.parametrize(("name", "path"), EXAMPLES.items())
def test_every_example_gets_a_200_and_says_something(api: schemathesis.BaseSchema, name: str, path: str) -> None:
    _, _, service, *rest = path.split("/")
    operation = api["/".join(["/cds-services/{id}", *rest])]["POST"]
    body = SPEC["components"]["examples"][name]["value"]
    case = operation.Case(path_parameters={"id": service}, body=body, media_type="application/json")
    answer = case.call_and_validate(checks=CHECKS)
    assert answer.status_code == 200
    assert any(answer.json().values()), "cards, or how many outcomes were kept"


def test_the_example_of_a_card_is_the_answer_to_the_example_of_a_request(client: FlaskClient) -> None:
    """But for its words, which may change, and what is left out of it."""
    examples = {name: one["value"] for name, one in SPEC["components"]["examples"].items()}
    (told,) = client.post(EXAMPLES["PatientView"], json=examples["PatientView"]).get_json()["cards"]
    (shown,) = examples["ScreeningCard"]["cards"]
    assert told["source"]["topic"]["code"] == shown["source"]["topic"]["code"]
    assert (told["indicator"], told["selectionBehavior"]) == (shown["indicator"], shown["selectionBehavior"])
    assert len(told["suggestions"]) == len(shown["suggestions"])


def good_calls(advisor: Advisor, now: datetime) -> Iterator[tuple[str, bytes]]:
    for case in read_cases()[::40]:
        body = request_for(case, now, advisor.discovery())
        yield f"/cds-services/{service_for(case['hook']).id}", json.dumps(body, default=str).encode()


def test_every_card_of_real_charts_is_as_specified(
    api: schemathesis.BaseSchema, advisor: Advisor, now: datetime
) -> None:
    operation = api["/cds-services/{id}"]["POST"]
    cards = 0
    for path, body in good_calls(advisor, now):
        case = operation.Case(
            path_parameters={"id": path.rpartition("/")[2]}, body=json.loads(body), media_type="application/json"
        )
        answer = case.call_and_validate(checks=CHECKS)
        assert answer.status_code == 200
        cards += len(answer.json()["cards"])
    assert cards >= 10
