"""The published specification is well formed, its examples are true, and the code does what it says."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from werkzeug.test import TestResponse

from cds_service.advisor import Advisor
from cds_service.errors import RequestUnreadable, operation_outcome
from cds_service.explanations import Explanations
from cds_service.hooks.discovery import discovery_document
from cds_service.hooks.feedback import MOST_ITEMS, parse_feedback
from cds_service.hooks.request import HOOKS, MOST_DRAFT_ORDERS, MOST_PREFETCH_ENTRIES, parse_request
from cds_service.hooks.response import (
    LONGEST_SUMMARY,
    Action,
    Card,
    Coding,
    HookResponse,
    Link,
    OverrideReason,
    Source,
    Suggestion,
    Topic,
)
from cds_service.hooks.strict_json import MOST_BYTES, MOST_NODES, MOST_VALUES_A_NODE
from cds_service.records import Records
from cds_service.settings import Readers, SignOn
from cds_service.web.app import create_app
from cds_service.web.metrics import Metrics

SPEC: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "openapi.yaml").read_text(encoding="utf-8"),
)
OPERATIONS = [
    (path, method, operation)
    for path, item in SPEC["paths"].items()
    for method, operation in item.items()
    if method in {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
]
PLACES = [f"{method.upper()} {path}" for path, method, _ in OPERATIONS]


def walk(node: Any, path: str = "#") -> Iterator[tuple[str, dict[Any, Any]]]:
    """Every object of the specification but the examples, with its place."""
    if isinstance(node, dict):
        yield path, node
    for name, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if name not in ("example", "examples"):
            yield from walk(inner, f"{path}/{name}")


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """What stands at the place that a $ref names. KeyError if there is nothing."""
    while "$ref" in node:
        target: Any = SPEC
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """Why a value does not fit a schema of the specification."""
    held = {**schema, "components": SPEC["components"]}
    judge = Draft202012Validator(held, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{fault.json_path}: {fault.message}" for fault in judge.iter_errors(value)]


# --- the specification by itself --------------------------------------------------------------------------------


def test_it_is_openapi_3_1() -> None:
    assert re.fullmatch(r"3\.1\.\d", SPEC["openapi"])
    assert {"title", "version", "description", "license"} <= SPEC["info"].keys()
    assert SPEC.keys() <= {"openapi", "info", "servers", "tags", "paths", "components"}


def test_every_name_is_text() -> None:
    # YAML reads a bare 200 as a number and a bare `on` as true.
    assert [place for place, node in walk(SPEC) if not all(isinstance(name, str) for name in node)] == []


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    references = [node["$ref"] for _, node in walk(SPEC) if "$ref" in node]
    named = {example["$ref"] for node in _all_examples() for example in node.values() if "$ref" in example}
    for reference in {*references, *named}:
        resolve({"$ref": reference})
    components = {
        f"#/components/{kind}/{name}"
        for kind, held in SPEC["components"].items()
        for name in held
        if kind != "securitySchemes"  # they are named, and never referred to
    }
    assert components - {*references, *named} == set()


def _all_examples() -> Iterator[dict[str, Any]]:
    yield from (node["examples"] for place, node in walk(SPEC) if "schema" in node and "examples" in node)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=PLACES)
def test_each_operation_is_described(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["operationId"]
    assert operation["summary"]
    assert all(re.fullmatch(r"[1-5]\d\d", status) for status in operation["responses"])
    assert all(resolve(response)["description"] for response in operation["responses"].values())
    parameters = SPEC["paths"][path].get("parameters", ())
    declared = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    assert declared == set(re.findall(r"{(\w+)}", path))
    assert ("requestBody" in operation) == (method == "post")


def test_whatever_may_be_refused_with_401_says_which_token_it_wants() -> None:
    for _, _, operation in OPERATIONS:
        wanted = [name for choice in operation.get("security", ()) for name in choice]
        assert bool(wanted) == ("401" in operation["responses"]), operation["operationId"]
        assert set(wanted) <= SPEC["components"]["securitySchemes"].keys()


def test_no_two_operations_have_the_same_id() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))


def test_what_is_required_is_also_described() -> None:
    for place, node in walk(SPEC["components"]["schemas"]):
        if isinstance(node.get("required"), list):
            assert set(node["required"]) <= node.get("properties", {}).keys(), place


def test_every_example_fits_its_schema() -> None:
    held = [node for _, node in walk(SPEC) if "schema" in node and "examples" in node]
    assert len(held) >= 10
    for node in held:
        for example in node["examples"].values():
            assert faults(resolve(example)["value"], node["schema"]) == []


# --- the specification and the code -----------------------------------------------------------------------------


def schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_the_operations_are_the_ones_that_are_promised() -> None:
    assert PLACES == [
        "GET /cds-services",
        "POST /cds-services/{id}",
        "POST /cds-services/{id}/feedback",
        "GET /metrics",
        "GET /healthz",
        "GET /readyz",
        "GET /version",
        "GET /consultations/{id}",
        "GET /insights",
        "GET /insights.csv",
        "POST /insights/session",
        "POST /insights/session/end",
        "GET /insights/oidc",
        "GET /insights/oidc/callback",
        "GET /openapi.yaml",
        "GET /docs",
    ]


def test_the_operations_are_the_routes(advisor: Advisor) -> None:
    explanations = Explanations.in_memory("https://cds.example.org")
    kept = Advisor(advisor.knowledge, advisor.wording, advisor.site, advisor.clock, None, explanations)
    readers = Readers(None, SignOn("https://login.example.org", "insights", "secret", frozenset()), "https://a.example")
    app = create_app(kept, records=Records.in_memory(), metrics=Metrics(advisor.knowledge, ()), readers=readers)
    routes = {
        f"{method} {re.sub('<(service_id|id_)>', '{id}', rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if "/static/" not in rule.rule
    }
    assert routes == set(PLACES)


def test_it_is_valid_by_a_judge_of_its_own() -> None:
    OpenAPIV31SpecValidator(SPEC).validate()


def test_a_call_may_end_in_these_ways() -> None:
    responses = SPEC["paths"]["/cds-services/{id}"]["post"]["responses"]
    assert list(responses) == ["200", "400", "401", "404", "405", "412", "413", "415", "500", "503"]
    reported = SPEC["paths"]["/cds-services/{id}/feedback"]["post"]["responses"]
    assert list(reported) == ["200", "400", "401", "404", "405", "413", "415", "500", "503"]
    for status, response in responses.items():
        if status == "401":  # and not a word about why
            assert "content" not in resolve(response)
            continue
        content = resolve(response)["content"]
        kind = "HookResponse" if status == "200" else "OperationOutcome"
        assert all(held["schema"] == schema(kind) for held in content.values())


def test_the_services_and_hooks_are_ours() -> None:
    assert SPEC["components"]["schemas"]["ServiceId"]["enum"] == [service.id for service in HOOKS]
    assert SPEC["components"]["schemas"]["Hook"]["enum"] == [service.hook for service in HOOKS]
    assert list(SPEC["components"]["schemas"]["HookRequest"]["discriminator"]["mapping"]) == [s.hook for s in HOOKS]


def test_the_limits_are_the_ones_of_the_code() -> None:
    told = SPEC["components"]["responses"]["ContentTooLarge"]["description"]
    assert f"{MOST_BYTES // 1024 // 1024} MiB" in told
    assert f"{MOST_NODES:,} objects and arrays" in told
    assert f"{MOST_PREFETCH_ENTRIES:,} prefetched entries" in told
    assert f"{MOST_NODES * MOST_VALUES_A_NODE:,} values" in told
    assert f"{MOST_DRAFT_ORDERS}\ndraft orders" in told
    assert f"{MOST_ITEMS:,} items of feedback" in told
    assert SPEC["components"]["schemas"]["Card"]["properties"]["summary"]["maxLength"] == LONGEST_SUMMARY


def test_the_example_feedback_is_kept() -> None:
    items, refused = parse_feedback(SPEC["components"]["examples"]["Feedback"]["value"])
    assert [item.outcome for item in items] == ["accepted", "overridden"]
    assert refused == ()


CALL = "/cds-services/ppd-chart-review"
SOMEBODY_ELSES = {
    "hook": "patient-view",
    "hookInstance": "1",
    "context": {"userId": "Practitioner/1", "patientId": "1"},
    "prefetch": {"patient": {"resourceType": "Patient", "id": "2", "gender": "female"}},
}


@pytest.mark.parametrize(
    ("response", "status", "call"),
    [
        ("BadRequest", 400, {"json": {**SOMEBODY_ELSES, "context": {"userId": "Practitioner/1"}}}),
        ("NotFound", 404, {"path": "/cds-services/unknown", "json": {}}),
        ("MethodNotAllowed", 405, {"method": "GET"}),
        ("PreconditionFailed", 412, {"json": SOMEBODY_ELSES}),
        ("ContentTooLarge", 413, {"data": b" " * (MOST_BYTES + 1), "content_type": "application/json"}),
        ("UnsupportedMediaType", 415, {"data": b"{}", "content_type": "text/plain"}),
    ],
)
def test_the_example_of_a_refusal_is_what_the_service_says(
    client: FlaskClient, response: str, status: int, call: dict[str, Any]
) -> None:
    answer: TestResponse = client.open(**{"path": CALL, "method": "POST", **call})
    (told,) = SPEC["components"]["responses"][response]["content"]["application/fhir+json"]["examples"].values()
    assert (answer.status_code, answer.get_json(force=True)) == (status, told["value"])


@pytest.mark.parametrize("name", ["PatientView", "OrderSelect"])
def test_the_example_requests_are_read(name: str) -> None:
    body = SPEC["components"]["examples"][name]["value"]
    assert parse_request(body).hook == body["hook"]


@pytest.mark.parametrize(
    ("hook", "context"),
    [
        ("patient-view", {"patientId": "1"}),
        ("patient-view", {"userId": "Practitioner/1"}),
        ("encounter-start", {"userId": "Practitioner/1", "patientId": "a b"}),
        ("order-select", {"userId": "Practitioner/1", "patientId": "1"}),
        ("order-sign", {"userId": "Practitioner/1", "patientId": "1", "draftOrders": {"resourceType": "List"}}),
        ("encounter-discharge", {"userId": "Practitioner/1", "patientId": "1", "encounterId": 1}),
        ("order-dispatch", {"userId": "Practitioner/1", "patientId": "1"}),
    ],
)
def test_what_the_specification_forbids_the_code_refuses(hook: str, context: dict[str, Any]) -> None:
    body = {"hook": hook, "hookInstance": "i", "context": context}
    assert faults(body, schema("HookRequest")) != []
    with pytest.raises(RequestUnreadable):
        parse_request(body)


@pytest.mark.parametrize("service", HOOKS, ids=lambda service: service.id)
def test_the_least_that_the_code_reads_the_specification_allows(service: Any) -> None:
    context = {"userId": "Practitioner/1", "patientId": "Patient/1", "selections": []}
    body = {"hook": service.hook, "hookInstance": "i", "context": context}
    parse_request(body, service.hook)
    assert faults(body, schema("HookRequest")) == []


def test_the_discovery_document_is_as_specified() -> None:
    templates: dict[str, dict[str, str]] = {
        service.id: {"patient": "Patient/{{context.patientId}}"} for service in HOOKS
    }
    templates[HOOKS[0].id] = {}
    document = discovery_document(HOOKS, templates, "Send the prefetch.")
    assert faults(document, schema("DiscoveryDocument")) == []


def test_an_error_is_as_specified() -> None:
    assert faults(operation_outcome("structure", "the body is empty"), schema("OperationOutcome")) == []


# --- cards ------------------------------------------------------------------------------------------------------

UUID = "6b2f1e0c-7a52-5a0e-9a53-0c5d2f8b4e11"
DRAFT = {"resourceType": "ServiceRequest", "id": "1", "status": "draft"}
FULL = Card(
    uuid=UUID,
    summary="Say the finding first",
    indicator="critical",
    source=Source(
        "An advisor",
        url="https://example.org",
        icon="https://example.org/icon.png",
        topic=Topic("TOPIC01", "https://example.org/topics", "A topic"),
    ),
    detail="**Why:** because.",
    suggestions=(
        Suggestion(
            "Do it",
            UUID,
            actions=(
                Action("create", "A new draft", resource=DRAFT),
                Action("update", "The draft, changed", resource=DRAFT),
                Action("delete", "The draft, removed", resource_id="ServiceRequest/1"),
            ),
            is_recommended=True,
        ),
    ),
    selection_behavior="at-most-one",
    override_reasons=(OverrideReason("no", "https://example.org/reasons", "Not now"),),
    links=(
        Link("Read on", "https://example.org/more"),
        Link("Open", "https://example.org/launch", "smart", app_context="{}", autolaunchable=True),
    ),
)
BARE = Card(uuid=UUID, summary="Say the finding first", indicator="info", source=Source("An advisor"))


def test_a_card_with_everything_is_as_specified() -> None:
    assert faults(HookResponse((FULL, BARE)).as_json(), schema("HookResponse")) == []


# The words and the name of a button that does this alone.
NOT_SENT = {Action: {"label", "uuid"}}


@pytest.mark.parametrize("shape", [HookResponse, Card, Source, Coding, OverrideReason, Suggestion, Action, Link])
def test_the_members_of_what_goes_out_are_those_of_the_code(shape: type) -> None:
    names = {field.name for field in fields(shape)} - NOT_SENT.get(shape, set())
    on_the_wire = {re.sub("_([a-z])", lambda found: found[1].upper(), name) for name in names}
    assert set(SPEC["components"]["schemas"][shape.__name__]["properties"]) == on_the_wire


def everything() -> dict[str, Any]:
    """A card with every member, as it goes out."""
    return copy.deepcopy(FULL.as_json())


def put(*steps: Any) -> Callable[[dict[str, Any]], None]:
    """Puts the last of the steps at the place that the others lead to."""
    *way, name, value = steps

    def change(card: dict[str, Any]) -> None:
        held: Any = card
        for step in way:
            held = held[step]
        held[name] = value

    return change


def leave_out(*steps: Any) -> Callable[[dict[str, Any]], None]:
    *way, name = steps

    def change(card: dict[str, Any]) -> None:
        held: Any = card
        for step in way:
            held = held[step]
        del held[name]

    return change


CREATE, UPDATE, DELETE = ([*("suggestions", 0, "actions"), place] for place in range(3))
FLAWS = {
    "a summary of 140": put("summary", "x" * 140),
    "an empty detail": put("detail", ""),
    "null for a detail": put("detail", None),
    "an indicator of 1.0": put("indicator", "hard-stop"),
    "a uuid in upper case": put("uuid", UUID.upper()),
    "no uuid, and yet something to choose": leave_out("uuid"),
    "an unknown member": put("colour", "red"),
    "no links": put("links", []),
    "no suggestions": put("suggestions", []),
    "suggestions alone": leave_out("selectionBehavior"),
    "a selection of no suggestions": leave_out("suggestions"),
    "all of them": put("selectionBehavior", "all"),
    "a flag that says no": put("suggestions", 0, "isRecommended", False),
    "a suggestion that does nothing": put("suggestions", 0, "actions", []),
    "a suggestion without a uuid": leave_out("suggestions", 0, "uuid"),
    "an action of no kind": put(*CREATE, "type", "Create"),
    "a creation of nothing": leave_out(*CREATE, "resource"),
    "a creation without an id": leave_out(*CREATE, "resource", "id"),
    "a creation that names a draft": put(*CREATE, "resourceId", "ServiceRequest/1"),
    "an update of nothing": leave_out(*UPDATE, "resource"),
    "a deletion of nothing": leave_out(*DELETE, "resourceId"),
    "a deletion with a resource": put(*DELETE, "resource", DRAFT),
    "a bare id": put(*DELETE, "resourceId", "1"),
    "a reason without words": leave_out("overrideReasons", 0, "display"),
    "a source without a name": put("source", "label", ""),
    "a link with a script": put("links", 0, "url", "javascript:alert(1)"),
    "a context for a page": put("links", 0, "appContext", "{}"),
    "a context that is no text": put("links", 1, "appContext", {}),
    "a link in 2.0's other spelling": put("links", 1, "autoLaunchable", True),
}


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("flaw", FLAWS.values(), ids=FLAWS)
def test_the_specification_lets_no_flawed_card_out(flaw: Callable[[dict[str, Any]], None]) -> None:
    card = everything()
    flaw(card)
    assert faults({"cards": [card]}, schema("HookResponse")) != []


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Readiness", {"status": "ready"}, {"status": "ready", "because": ["of this"]}),
        ("Readiness", {"status": "degraded", "because": ["of this"]}, {"status": "degraded"}),
        ("Readiness", {"status": "unavailable", "because": ["of this"]}, {"status": "unavailable"}),
        ("FeedbackResponse", {"kept": 1, "repeated": 0}, {"kept": 1, "repeated": 0, "refused": []}),
        ("OperationOutcome", operation_outcome("required", "x"), operation_outcome("required", "")),
        ("OperationOutcome", operation_outcome("required", "x"), operation_outcome("no-such-code", "x")),
        ("Health", {"status": "ok"}, {"status": "ok", "since": "today"}),
    ],
)
def test_what_else_goes_out_is_exact(name: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    assert faults(good, schema(name)) == []
    assert faults(bad, schema(name)) != []


def test_what_is_not_there_is_left_out() -> None:
    assert BARE.as_json() == {
        "uuid": UUID,
        "summary": "Say the finding first",
        "indicator": "info",
        "source": {"label": "An advisor"},
    }
    assert Suggestion("Do it", UUID).as_json() == {"label": "Do it", "uuid": UUID}
    assert HookResponse().as_json() == {"cards": []}


def test_a_summary_of_139_characters_fits_and_one_of_140_does_not() -> None:
    assert len(Card(uuid=UUID, summary="x" * 139, indicator="info", source=Source("a")).summary) == 139
    for summary in ("x" * 140, ""):
        with pytest.raises(ValueError, match="a summary has 1 to 139 characters"):
            Card(uuid=UUID, summary=summary, indicator="info", source=Source("a"))


def test_an_override_reason_has_words() -> None:
    with pytest.raises(ValueError, match="needs its display"):
        OverrideReason("no", "https://example.org/reasons")
