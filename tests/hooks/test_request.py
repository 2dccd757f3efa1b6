"""What is read from a request, what is refused, and that a refusal names the member and never its value."""

from __future__ import annotations

import copy
import traceback
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from bad_requests import BAD, CANARY, Change, drop, order, put, request
from hypothesis import given
from hypothesis import strategies as st

from cds_service.errors import RequestUnreadable, ServiceUnknown
from cds_service.hooks.discovery import discovery_document
from cds_service.hooks.request import HOOKS, HookRequest, parse_request, service_at, service_for
from cds_service.hooks.strict_json import read_json, write_json


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
