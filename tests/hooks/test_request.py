"""What is read from a request, what is refused, and that a refusal names the member and never its value."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.errors import RequestUnreadable, ServiceUnknown
from cds_service.hooks.discovery import discovery_document
from cds_service.hooks.request import HOOKS, HookRequest, parse_request, service_at, service_for
from cds_service.hooks.strict_json import read_json, write_json

# Stands for what a patient's chart may hold. Each bad request has it all over, and no message may.
CANARY = "Zebrafinch4711"


def order(number: int = 1) -> dict[str, Any]:
    return {"resource": {"resourceType": "ServiceRequest", "id": f"draft-{number}", "code": {"text": CANARY}}}


def request(hook: str = "order-select", **changes: Any) -> dict[str, Any]:
    """A request that is as it should be, with the canary wherever free text may stand."""
    context: dict[str, Any] = {"userId": f"Practitioner/{CANARY}", "patientId": CANARY, "encounterId": CANARY}
    if hook in ("order-select", "order-sign"):
        context["draftOrders"] = {"resourceType": "Bundle", "entry": [order()]}
    if hook == "order-select":
        context["selections"] = ["ServiceRequest/draft-1"]
    return {
        "hook": hook,
        "hookInstance": CANARY,
        "context": context,
        "fhirServer": f"https://{CANARY}.example.org/fhir",
        "fhirAuthorization": {
            "access_token": CANARY,
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": f"user/*.rs {CANARY} (all of it)",
            "subject": CANARY,
        },
        "prefetch": {"patient": {"resourceType": "Patient", "id": CANARY}},
    } | changes


Change = Callable[[dict[str, Any]], object]


def put(path: str, value: Any) -> Change:
    """Sets one member; a dot goes one level down."""
    *holders, name = path.split(".")

    def change(body: dict[str, Any]) -> None:
        for holder in holders:
            body = body[holder]
        body[name] = value

    return change


def drop(path: str) -> Change:
    *holders, name = path.split(".")

    def change(body: dict[str, Any]) -> None:
        for holder in holders:
            body = body[holder]
        del body[name]

    return change


# A name for the failure report, the change, the status, and what the message says.
BAD: list[tuple[str, Change, int, str]] = [
    ("no hook", drop("hook"), 400, "hook is missing"),
    ("null for the hook", put("hook", None), 400, "hook is missing"),
    ("an empty hook", put("hook", ""), 400, "hook is empty"),
    ("blanks for the hook", put("hook", "  "), 400, "hook is empty"),
    ("a number for the hook", put("hook", 1), 400, "hook is not text"),
    ("a list for the hook", put("hook", ["order-select"]), 400, "hook is not text"),
    ("another hook of ours", put("hook", "patient-view"), 400, "hook is not order-select, the hook of this service"),
    ("a hook of others", put("hook", CANARY), 400, "hook is not order-select, the hook of this service"),
    ("the hook in capitals", put("hook", "ORDER-SELECT"), 400, "hook is not order-select"),
    ("no hookInstance", drop("hookInstance"), 400, "hookInstance is missing"),
    ("null for the hookInstance", put("hookInstance", None), 400, "hookInstance is missing"),
    ("an empty hookInstance", put("hookInstance", ""), 400, "hookInstance is empty"),
    ("a number for the hookInstance", put("hookInstance", 4711), 400, "hookInstance is not text"),
    ("an object for the hookInstance", put("hookInstance", {}), 400, "hookInstance is not text"),
    ("a hookInstance of 129 characters", put("hookInstance", "4" * 129), 400, "longer than 128 characters"),
    ("a line break in the hookInstance", put("hookInstance", f"{CANARY}\n"), 400, "cannot be printed"),
    ("no context", drop("context"), 400, "context is missing"),
    ("null for the context", put("context", None), 400, "context is missing"),
    ("an empty context", put("context", {}), 400, "context.userId is missing"),
    ("a list for the context", put("context", [CANARY]), 400, "context is not a JSON object"),
    ("text for the context", put("context", CANARY), 400, "context is not a JSON object"),
    ("no userId", drop("context.userId"), 400, "context.userId is missing"),
    ("an empty userId", put("context.userId", ""), 400, "context.userId is empty"),
    ("a number for the userId", put("context.userId", 4711), 400, "context.userId is not text"),
    ("a userId without a type", put("context.userId", CANARY), 400, "context.userId is not of the form Type/id"),
    ("a userId without an id", put("context.userId", "Patient/"), 400, "context.userId is not of the form"),
    ("a userId with a query", put("context.userId", f"Patient/a?b={CANARY}"), 400, "context.userId is not of the form"),
    ("a userId of 3,000 characters", put("context.userId", "P/" + "4" * 2_998), 400, "longer than 2400 characters"),
    ("no patientId", drop("context.patientId"), 400, "context.patientId is missing"),
    ("null for the patientId", put("context.patientId", None), 400, "context.patientId is missing"),
    ("an empty patientId", put("context.patientId", ""), 400, "context.patientId is empty"),
    ("blanks for the patientId", put("context.patientId", " "), 400, "context.patientId is empty"),
    ("a number for the patientId", put("context.patientId", 4711), 400, "context.patientId is not text"),
    ("true for the patientId", put("context.patientId", True), 400, "context.patientId is not text"),
    ("a list of patientIds", put("context.patientId", [CANARY]), 400, "context.patientId is not text"),
    ("a blank in the patientId", put("context.patientId", f"a {CANARY}"), 400, "context.patientId is not a FHIR id"),
    ("a slash in the patientId", put("context.patientId", f"a/{CANARY}"), 400, "context.patientId is not a FHIR id"),
    ("another type in the patientId", put("context.patientId", f"Group/{CANARY}"), 400, "is not a FHIR id"),
    ("a URL for the patientId", put("context.patientId", f"https://x/Patient/{CANARY}"), 400, "is not a FHIR id"),
    ("a type without an id", put("context.patientId", "Patient/"), 400, "context.patientId is not a FHIR id"),
    ("a way up in the patientId", put("context.patientId", ".."), 400, "context.patientId is not a FHIR id"),
    ("a query in the patientId", put("context.patientId", f"{CANARY}?_count=1"), 400, "is not a FHIR id"),
    ("two patients in the patientId", put("context.patientId", f"{CANARY},b"), 400, "is not a FHIR id"),
    ("a percent sign in the patientId", put("context.patientId", f"{CANARY}%2e"), 400, "is not a FHIR id"),
    ("a letter from elsewhere in the patientId", put("context.patientId", f"{CANARY}é"), 400, "is not a FHIR id"),
    ("a patientId of 257 characters", put("context.patientId", "4" * 257), 400, "context.patientId is not a FHIR id"),
    ("a patientId of 5,000 characters", put("context.patientId", "4" * 5_000), 400, "longer than 264 characters"),
    ("a line break in the patientId", put("context.patientId", f"{CANARY}\r\n"), 400, "cannot be printed"),
    ("a number for the encounterId", put("context.encounterId", 4711), 400, "context.encounterId is not text"),
    ("an object for the encounterId", put("context.encounterId", {"a": CANARY}), 400, "encounterId is not text"),
    ("a slash in the encounterId", put("context.encounterId", f"a/{CANARY}"), 400, "encounterId is not a FHIR id"),
    ("no selections", drop("context.selections"), 400, "context.selections is missing"),
    ("text for the selections", put("context.selections", CANARY), 400, "selections is not a JSON array"),
    ("an object for the selections", put("context.selections", {}), 400, "selections is not a JSON array"),
    ("a number among the selections", put("context.selections", [CANARY, 1]), 400, "an item that is not text"),
    ("201 selections", put("context.selections", [CANARY] * 201), 413, "selections has more than 200 items"),
    ("a list for the draftOrders", put("context.draftOrders", [order()]), 400, "draftOrders is not a JSON object"),
    ("text for the draftOrders", put("context.draftOrders", CANARY), 400, "draftOrders is not a JSON object"),
    ("an order for the draftOrders", put("context.draftOrders", order()["resource"]), 400, "is not a Bundle"),
    ("no type on the draftOrders", drop("context.draftOrders.resourceType"), 400, "draftOrders is not a Bundle"),
    ("a list as type of the draftOrders", put("context.draftOrders.resourceType", ["Bundle"]), 400, "not a Bundle"),
    ("an object for the entries", put("context.draftOrders.entry", order()), 400, "entry is not a JSON array"),
    ("text for the entries", put("context.draftOrders.entry", CANARY), 400, "entry is not a JSON array"),
    ("201 draft orders", put("context.draftOrders.entry", [order()] * 201), 413, "more than 200 entries"),
    ("a list for the prefetch", put("prefetch", [CANARY]), 400, "prefetch is not a JSON object"),
    ("text for the prefetch", put("prefetch", CANARY), 400, "prefetch is not a JSON object"),
    ("false for the prefetch", put("prefetch", False), 400, "prefetch is not a JSON object"),
    (
        "5,001 prefetched entries under two keys",
        put("prefetch", {"a": {"entry": [order()] * 5_000}, "b": {"entry": [order()]}}),
        413,
        "prefetch has more than 5000 entries",
    ),
    (
        "5,001 entries in one Bundle",
        put("prefetch", {"resourceType": "Bundle", "entry": [order()] * 5_001}),
        413,
        "prefetch has more than 5000 entries",
    ),
    ("a number for the fhirServer", put("fhirServer", 4711), 400, "fhirServer is not text"),
    ("a relative fhirServer", put("fhirServer", f"/fhir/{CANARY}"), 400, "fhirServer is not the base URL"),
    ("a file for the fhirServer", put("fhirServer", f"file:///{CANARY}"), 400, "fhirServer is not the base URL"),
    ("a password in the fhirServer", put("fhirServer", f"https://a:{CANARY}@b/fhir"), 400, "is not the base URL"),
    ("a query in the fhirServer", put("fhirServer", f"https://b/fhir?a={CANARY}"), 400, "is not the base URL"),
    ("a blank in the fhirServer", put("fhirServer", f"https://b/ {CANARY}"), 400, "is not the base URL"),
    ("a fhirServer of 3,000 characters", put("fhirServer", "https://b/" + "4" * 2_990), 400, "longer than 2000"),
    ("authorization without a server", drop("fhirServer"), 400, "fhirAuthorization came without fhirServer"),
    ("authorization with null for a server", put("fhirServer", None), 400, "came without fhirServer"),
    ("text for the authorization", put("fhirAuthorization", CANARY), 400, "fhirAuthorization is not a JSON object"),
    ("no token", drop("fhirAuthorization.access_token"), 400, "access_token is missing"),
    ("an empty token", put("fhirAuthorization.access_token", ""), 400, "access_token is empty"),
    ("a number for the token", put("fhirAuthorization.access_token", 4711), 400, "access_token is not text"),
    ("a blank in the token", put("fhirAuthorization.access_token", f"a {CANARY}"), 400, "that no token has"),
    ("a line break in the token", put("fhirAuthorization.access_token", f"a\r\n{CANARY}"), 400, "cannot be printed"),
    ("no token type", drop("fhirAuthorization.token_type"), 400, "token_type is missing"),
    ("another token type", put("fhirAuthorization.token_type", CANARY), 400, "token_type is not Bearer"),
    ("text for the seconds", put("fhirAuthorization.expires_in", CANARY), 400, "not a whole number of seconds"),
    ("true for the seconds", put("fhirAuthorization.expires_in", True), 400, "not a whole number of seconds"),
    ("a list for the scope", put("fhirAuthorization.scope", [CANARY]), 400, "fhirAuthorization.scope is not text"),
    ("a number for the subject", put("fhirAuthorization.subject", 4711), 400, "subject is not text"),
]


def refusal_of(body: Any, expected_hook: str | None) -> RequestUnreadable:
    with pytest.raises(RequestUnreadable) as caught:
        parse_request(body, expected_hook)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert CANARY not in told
    assert "4711" not in told
    return caught.value


@pytest.mark.parametrize(("change", "status", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_request_is_refused_by_the_name_of_the_member_only(change: Change, status: int, says: str) -> None:
    body = request()
    change(body)
    refusal = refusal_of(body, "order-select")
    assert refusal.status == status
    assert says in str(refusal)


@pytest.mark.parametrize("body", [None, [], [CANARY], CANARY, "", 4711, True], ids=repr)
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert str(refusal_of(body, "patient-view")) == "the body is not a JSON object"


def test_without_a_service_any_hook_of_ours_will_do_and_no_other() -> None:
    for service in HOOKS:
        assert parse_request(request(service.hook)).hook == service.hook
    assert "hook is none of patient-view, " in str(refusal_of(request(hook=CANARY), None))


# --- what is read -----------------------------------------------------------------------------------------------


def test_a_whole_request_is_read() -> None:
    assert parse_request(request(), "order-select") == HookRequest(
        hook="order-select",
        hook_instance=CANARY,
        user_id=f"Practitioner/{CANARY}",
        patient_id=CANARY,
        encounter_id=CANARY,
        selections=("ServiceRequest/draft-1",),
        draft_orders=(order()["resource"],),
        prefetch={"patient": {"resourceType": "Patient", "id": CANARY}},
        fhir_server=f"https://{CANARY}.example.org/fhir",
        fhir_authorization=parse_request(request(), "order-select").fhir_authorization,
    )


@pytest.mark.parametrize("service", HOOKS, ids=lambda service: service.id)
def test_the_least_that_each_hook_needs_is_enough(service: Any) -> None:
    context: dict[str, Any] = {"userId": "Practitioner/1", "patientId": "2"}
    if service.hook == "order-select":
        context["selections"] = []
    found = parse_request({"hook": service.hook, "hookInstance": "i", "context": context}, service.hook)
    assert found == HookRequest(hook=service.hook, hook_instance="i", user_id="Practitioner/1", patient_id="2")


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.parametrize("path", ["context.encounterId", "context.draftOrders", "prefetch", "fhirAuthorization"])
def test_null_and_empty_text_say_that_there_is_none(path: str, nothing: Any) -> None:
    given_nothing, left_out = request(), request()
    put(path, nothing)(given_nothing)
    drop(path)(left_out)
    assert parse_request(given_nothing) == parse_request(left_out)


def test_an_id_with_its_type_is_the_id() -> None:
    body = request()
    put("context.patientId", "Patient/123")(body)
    put("context.encounterId", "Encounter/456")(body)
    assert (parse_request(body).patient_id, parse_request(body).encounter_id) == ("123", "456")


@pytest.mark.parametrize("patient_id", ["4", "4" * 256, "Patient/" + "4" * 256, "eQ.x-9_B~", "a..b", "1.2.840.114350"])
def test_long_and_unusual_ids_are_read(patient_id: str) -> None:
    body = request()
    put("context.patientId", patient_id)(body)
    assert parse_request(body).patient_id == patient_id.removeprefix("Patient/")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("Practitioner/1", "Practitioner/1"),
        ("PractitionerRole/a-b", "PractitionerRole/a-b"),
        ("Patient/1", "Patient/1"),
        ("RelatedPerson/1", "RelatedPerson/1"),
        ("https://ehr.example.org/fhir/R4/Patient/1", "Patient/1"),
    ],
)
def test_the_type_of_the_user_is_always_in_front(sent: str, read: str) -> None:
    body = request()
    put("context.userId", sent)(body)
    assert parse_request(body).user_id == read


def test_entries_that_hold_no_resource_are_counted_and_the_rest_is_kept_in_order() -> None:
    body = request()
    odd: list[Any] = [
        None,
        "x",
        1,
        [],
        {},
        {"resource": None},
        {"resource": []},
        {"resource": {}},
        {"resource": {"resourceType": 1}},
    ]
    put("context.draftOrders.entry", [order(1), *odd, order(2), order(2)])(body)
    found = parse_request(body)
    assert [held["id"] for held in found.draft_orders] == ["draft-1", "draft-2", "draft-2"]
    assert found.odd_draft_orders == len(odd)


def test_200_draft_orders_and_5000_entries_are_not_too_many() -> None:
    body = request(prefetch={"a": {"entry": [order()] * 4_999}, "b": {"entry": [order()]}, "c": {"entry": "odd"}})
    put("context.draftOrders.entry", [order()] * 200)(body)
    assert len(parse_request(body).draft_orders) == 200


def test_a_bundle_in_place_of_the_prefetch_is_kept_apart() -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [order()]}
    found = parse_request(request(prefetch=bundle))
    assert (found.prefetch, found.prefetch_bundle) == ({}, bundle)


def test_prefetch_is_handed_on_as_received() -> None:
    prefetch = {"a": None, "b": {"resourceType": "OperationOutcome"}, "c": "odd", "d": [1], "e": {"entry": [None]}}
    assert parse_request(request(prefetch=prefetch)).prefetch == prefetch


def test_orders_and_selections_are_read_at_the_order_hooks_only() -> None:
    body = request("patient-view")
    put("context.draftOrders", CANARY)(body)
    put("context.selections", 4711)(body)
    found = parse_request(body)
    assert (found.draft_orders, found.selections) == ((), ())


def test_unknown_members_and_extensions_change_nothing() -> None:
    body = request(extension={"org.example.trigger": {"more": "26"}}, more=[CANARY])
    put("context.more", {CANARY: CANARY})(body)
    put("context.draftOrders.more", 1)(body)
    put("fhirAuthorization.more", 1)(body)
    assert parse_request(body) == parse_request(request())


def test_a_bearer_is_a_bearer_in_small_letters_too() -> None:
    body = request()
    put("fhirAuthorization.token_type", "bearer")(body)
    assert parse_request(body) == parse_request(request())


def test_neither_the_token_nor_the_chart_shows_when_a_request_is_printed() -> None:
    body = request(hookInstance="i", fhirServer="https://ehr.example.org/fhir")
    put("context.userId", "Practitioner/1")(body)
    put("fhirAuthorization.subject", None)(body)
    put("fhirAuthorization.scope", None)(body)
    found = parse_request(body)
    assert found.fhir_authorization is not None
    assert found.fhir_authorization.access_token == CANARY
    assert CANARY not in repr(found)


def test_a_request_does_not_change() -> None:
    found = parse_request(request())
    with pytest.raises(FrozenInstanceError):
        found.patient_id = "other"  # type: ignore[misc]


# --- properties -------------------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("Bundle") | st.just("order-select")
names = st.sampled_from(
    ["hook", "hookInstance", "context", "prefetch", "fhirServer", "userId", "patientId", "entry", "resourceType"]
)
shapes = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12)
paths = st.sampled_from(
    [
        *("hook", "hookInstance", "context", "prefetch", "fhirServer", "fhirAuthorization", "extension"),
        *("context.userId", "context.patientId", "context.encounterId", "context.selections", "context.draftOrders"),
        *("context.draftOrders.entry", "context.draftOrders.resourceType", "prefetch.patient"),
        *("fhirAuthorization.access_token", "fhirAuthorization.expires_in", "fhirAuthorization.scope"),
    ]
)


def outcome(body: Any, expected_hook: str | None = None) -> HookRequest | RequestUnreadable:
    try:
        return parse_request(body, expected_hook)
    except RequestUnreadable as refusal:
        return refusal


@given(shapes)
def test_any_json_is_a_request_or_is_refused(body: Any) -> None:
    found = outcome(body)
    assert isinstance(found, HookRequest) or found.status == 400


@given(paths, shapes)
def test_any_value_in_any_place_is_read_or_is_refused(path: str, value: Any) -> None:
    body = request()
    put(path, value)(body)
    before = copy.deepcopy(body)
    found = outcome(body, "order-select")
    if isinstance(found, HookRequest):
        assert "/" not in found.patient_id
        assert found.user_id.split("/")[0].isalpha()
    else:
        assert found.status == 400
        assert CANARY not in str(found)
    assert body == before


ids = st.from_regex(r"[A-Za-z0-9._~-]{0,99}[A-Za-z0-9]", fullmatch=True)


@given(
    st.sampled_from(HOOKS),
    ids,
    st.none() | ids,
    st.lists(st.dictionaries(st.text(max_size=5), leaves), max_size=5),
    st.text("0123456789abcdef-", min_size=1, max_size=128),
)
def test_what_an_ehr_sends_is_what_is_read(
    service: Any, patient: str, encounter: str | None, orders: list[dict[str, Any]], instance: str
) -> None:
    drafts = [{**order, "resourceType": "ServiceRequest"} for order in orders]
    body = request(service.hook, hookInstance=instance)
    put("context.patientId", patient)(body)
    put("context.encounterId", encounter)(body)
    put("context.draftOrders", {"resourceType": "Bundle", "entry": [{"resource": draft} for draft in drafts]})(body)
    try:
        wire = write_json(body)
        sent = read_json(wire)
    except (ValueError, RequestUnreadable):  # text that is no text, such as half a character
        return
    found = parse_request(sent, service.hook)
    assert (found.hook, found.hook_instance) == (service.hook, instance)
    assert (found.patient_id, found.encounter_id) == (patient, encounter)
    assert found.draft_orders == (tuple(drafts) if service.hook.startswith("order-") else ())


# --- the services -----------------------------------------------------------------------------------------------


def test_each_service_is_found_by_its_id_and_by_its_hook() -> None:
    for service in HOOKS:
        assert service_at(service.id) is service
        assert service_for(service.hook) is service
    assert len({service.workflow for service in HOOKS}) == len(HOOKS)


def test_no_service_has_another_id() -> None:
    with pytest.raises(ServiceUnknown) as caught:
        service_at(CANARY)
    assert CANARY not in str(caught.value)


def test_the_discovery_document_has_no_empty_member() -> None:
    templates = {service.id: {"patient": "Patient/{{context.patientId}}"} for service in HOOKS} | {HOOKS[0].id: {}}
    first, *others = discovery_document(HOOKS, templates, "Send the prefetch.")["services"]
    assert list(first) == ["hook", "title", "description", "id", "usageRequirements", "version", "extension"]
    for entry, service in zip(others, HOOKS[1:], strict=True):
        assert (entry["id"], entry["hook"], entry["version"]) == (service.id, service.hook, "2.0")
        assert entry["prefetch"] == {"patient": "Patient/{{context.patientId}}"}
        assert all(entry.values())


def test_a_service_whose_prefetch_was_forgotten_is_not_published() -> None:
    with pytest.raises(KeyError):
        discovery_document(HOOKS, {}, "Send the prefetch.")
