"""Requests that are JSON and no calls of a hook: what is wrong, the change, the status, and what the refusal says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
