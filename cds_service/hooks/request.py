"""
What an EHR asks when it fires a hook: which hook, for which patient, by which user, and what it sent along.

Only the envelope is judged here. The resources inside `prefetch` and `draftOrders` are handed on as received: real
charts break FHIR's rules, and one odd resource must not cost the rest. Members that the specification does not know,
and every `extension`, are ignored. A message names the member that is wrong. It never holds its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from cds_service.errors import RequestUnreadable, ServiceUnknown
from cds_service.hooks.extensions import NONE, Extensions, read_extensions

MOST_DRAFT_ORDERS: Final = 200
MOST_PREFETCH_ENTRIES: Final = 5_000


# --- the services -----------------------------------------------------------------------------------------------


class Workflow(StrEnum):
    """The moment in care that a service speaks into."""

    CHART_REVIEW = "chart-review"
    ADMISSION = "admission"
    DELIVERY_ORDER = "delivery-order"
    ORDER_CHECK = "order-check"
    DISCHARGE = "discharge"


@dataclass(frozen=True, slots=True)
class Service:
    """One CDS service: where it is called, by which hook, and what an integrator reads about it."""

    id: str
    hook: str
    title: str
    description: str
    workflow: Workflow


# Each hook has an id of its own: the public CDS Hooks Sandbox indexes services by URL, and the last one wins.
HOOKS: Final[tuple[Service, ...]] = (
    Service(
        id="ppd-chart-review",
        hook="patient-view",
        title="Postpartum depression: chart review",
        description=(
            "When a chart is opened in pregnancy or after birth: shows a safety concern, a missing or old depression "
            "screen, and a raised risk of postpartum depression with the chart entries behind it."
        ),
        workflow=Workflow.CHART_REVIEW,
    ),
    Service(
        id="ppd-admission",
        hook="encounter-start",
        title="Postpartum depression: admission",
        description=(
            "When a woman is admitted for birth: shows a safety concern, a missing or old depression screen, and a "
            "raised risk of postpartum depression, so that it can be acted on before delivery."
        ),
        workflow=Workflow.ADMISSION,
    ),
    Service(
        id="ppd-delivery-order",
        hook="order-select",
        title="Postpartum depression: delivery order",
        description=(
            "When a delivery, or esketamine or ketamine, is ordered: shows the risk of postpartum depression, and "
            "whether the medicine may be offered under the site's approved protocol, with the reasons for and against, "
            "the dose arithmetic and an option without a medicine. Any other order gets no card."
        ),
        workflow=Workflow.DELIVERY_ORDER,
    ),
    Service(
        id="ppd-order-check",
        hook="order-sign",
        title="Postpartum depression: order check",
        description=(
            "When orders are signed: checks an esketamine or ketamine order meant to prevent postpartum depression "
            "for contraindications, dose, route, rate, repeats and monitoring. Any other order gets no card, unless "
            "it is for a delivery."
        ),
        workflow=Workflow.ORDER_CHECK,
    ),
    Service(
        id="ppd-discharge",
        hook="encounter-discharge",
        title="Postpartum depression: discharge",
        description=(
            "When a woman goes home after birth: shows a safety concern, a depression screen still to be done, and "
            "the follow-up that her risk of postpartum depression calls for."
        ),
        workflow=Workflow.DISCHARGE,
    ),
)

_BY_ID: Final = {service.id: service for service in HOOKS}
_BY_HOOK: Final = {service.hook: service for service in HOOKS}


def service_at(service_id: str) -> Service:
    """The service with this id. Raises ServiceUnknown."""
    if service := _BY_ID.get(service_id):
        return service
    raise ServiceUnknown("no service has this id; GET /cds-services lists them")


def service_for(hook: str) -> Service:
    """The service that answers this hook: for a request that came without a URL. Raises RequestUnreadable."""
    if service := _BY_HOOK.get(hook):
        return service
    raise RequestUnreadable(f"hook is none of {', '.join(_BY_HOOK)}")


# --- the request ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FhirAuthorization:
    """The EHR's leave to read the chart for a short while. Whose it is, and the token, stay out of every repr."""

    access_token: str = field(repr=False)
    token_type: str
    expires_in: int | None
    scope: str | None = field(repr=False)
    subject: str | None = field(repr=False)
    patient: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRequest:
    """
    One call of a hook.

    `draft_orders` are the resources of the draft Bundle, in its order: Epic adds the Medication of an order as an
    entry of its own. `odd_draft_orders` counts the entries that hold no resource. `prefetch` is as received, by key;
    `prefetch_bundle` instead, when a single Bundle came. What comes from a chart or names anybody is no part of the
    repr.
    """

    hook: str
    hook_instance: str = field(repr=False)
    user_id: str = field(repr=False)
    patient_id: str = field(repr=False)
    encounter_id: str | None = field(default=None, repr=False)
    selections: tuple[str, ...] = field(default=(), repr=False)
    draft_orders: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    odd_draft_orders: int = 0
    prefetch: Mapping[str, Any] = field(default_factory=dict, repr=False)
    prefetch_bundle: Mapping[str, Any] | None = field(default=None, repr=False)
    fhir_server: str | None = field(default=None, repr=False)
    fhir_authorization: FhirAuthorization | None = None
    extensions: Extensions = NONE

    @property
    def workflow_hook(self) -> str:
        """The hook whose workflow this is: Epic fires patient-view for admission and discharge, too."""
        return self.extensions.hook or self.hook


def parse_request(body: Any, expected_hook: str | None = None) -> HookRequest:
    """
    The request that a JSON value holds. Raises RequestUnreadable: 400, or 413 when there is too much in it.

    `expected_hook` is the hook of the service that was called. Without one, any hook of ours will do.
    """
    request = _object(body, "the body")
    hook = _text(request, "hook")
    if expected_hook is not None and hook != expected_hook:
        raise RequestUnreadable(f"hook is not {expected_hook}, the hook of this service")
    needed = _CONTEXT[service_for(hook).hook]
    hook_instance = _text(request, "hookInstance", at_most=128)
    context = _object(_needed(request, "context"), "context")
    for name in needed:
        _needed(context, name, "context.")
    draft_orders, odd = _draft_orders(context) if hook in _ORDER_HOOKS else ((), 0)
    prefetch, prefetch_bundle = _prefetch(request)
    fhir_server = _fhir_server(request)
    return HookRequest(
        hook=hook,
        hook_instance=hook_instance,
        user_id=_user_id(context),
        patient_id=_id(context, "patientId", "Patient"),
        encounter_id=None if _is_left_out(context, "encounterId") else _id(context, "encounterId", "Encounter"),
        selections=_selections(context) if "selections" in needed else (),
        draft_orders=draft_orders,
        odd_draft_orders=odd,
        prefetch=prefetch,
        prefetch_bundle=prefetch_bundle,
        fhir_server=fhir_server,
        fhir_authorization=_fhir_authorization(request, fhir_server),
        extensions=read_extensions(request, fhir_server),
    )


# --- the context ------------------------------------------------------------------------------------------------

# What the context must hold, for each hook. The specification also requires two members that real clients leave out:
# `encounterId` at the encounter hooks (HealthChain's SandboxClient 0.16 sends none), and `draftOrders` at the order
# hooks (Epic sends none to a client without the "Unsigned Order" scopes). Without them the encounter is unknown, and
# there are no orders to speak about. `userId` stays required, though Medplum's SDK does not add it by itself: the
# user may be the patient, and then there is no card.
_CONTEXT: Final[Mapping[str, tuple[str, ...]]] = {
    "patient-view": ("userId", "patientId"),
    "encounter-start": ("userId", "patientId"),
    "order-select": ("userId", "patientId", "selections"),
    "order-sign": ("userId", "patientId"),
    "encounter-discharge": ("userId", "patientId"),
}
_ORDER_HOOKS: Final = frozenset({"order-select", "order-sign"})

# FHIR ids have at most 64 characters of [A-Za-z0-9.-]. Epic's have up to 200, and some servers use an underscore. No
# character may mean anything in a URL, since the id becomes part of one.
FHIR_ID: Final = r"(?!\.+(?:/|$))[A-Za-z0-9._~-]{1,256}"
_ID: Final = re.compile(FHIR_ID)

# An absolute URL comes from Epic, which writes its references so. What counts is the type: is she the patient?
_USER: Final = re.compile(rf"(?:https?://\S{{1,2000}}/)?([A-Z][A-Za-z]{{1,63}}/{FHIR_ID})")


def _id(context: Mapping[str, Any], name: str, kind: str) -> str:
    text = _text(context, name, "context.", at_most=256 + len(kind) + 1)
    text = text.removeprefix(f"{kind}/")  # HAPI FHIR's own fixture sends "Patient/123" for the id
    if not _ID.fullmatch(text):
        raise RequestUnreadable(f"context.{name} is not a FHIR id")
    return text


def _user_id(context: Mapping[str, Any]) -> str:
    if found := _USER.fullmatch(_text(context, "userId", "context.", at_most=2_400)):
        return found[1]
    raise RequestUnreadable("context.userId is not of the form Type/id")


def _selections(context: Mapping[str, Any]) -> tuple[str, ...]:
    selections = _list(context["selections"], "context.selections")
    if len(selections) > MOST_DRAFT_ORDERS:
        raise RequestUnreadable(f"context.selections has more than {MOST_DRAFT_ORDERS} items", status=413)
    if not all(isinstance(selection, str) for selection in selections):
        raise RequestUnreadable("context.selections has an item that is not text")
    return tuple(selections)


def _draft_orders(context: Mapping[str, Any]) -> tuple[tuple[Mapping[str, Any], ...], int]:
    if _is_left_out(context, "draftOrders"):
        return (), 0
    bundle = _object(context["draftOrders"], "context.draftOrders")
    if bundle.get("resourceType") != "Bundle":
        raise RequestUnreadable("context.draftOrders is not a Bundle")
    entries = [] if _is_left_out(bundle, "entry") else _list(bundle["entry"], "context.draftOrders.entry")
    if len(entries) > MOST_DRAFT_ORDERS:
        raise RequestUnreadable(f"context.draftOrders has more than {MOST_DRAFT_ORDERS} entries", status=413)
    held = [entry.get("resource") for entry in entries if isinstance(entry, dict)]
    orders = [order for order in held if isinstance(order, dict) and isinstance(order.get("resourceType"), str)]
    return tuple(orders), len(entries) - len(orders)


# --- what came along --------------------------------------------------------------------------------------------


def _prefetch(request: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    if _is_left_out(request, "prefetch"):
        return {}, None
    prefetch = _object(request["prefetch"], "prefetch")
    # HealthChain's SandboxClient 0.16 sends one Bundle in place of the object of keys.
    is_bundle = prefetch.get("resourceType") == "Bundle"
    bundles = (prefetch,) if is_bundle else prefetch.values()
    lists = (bundle.get("entry") for bundle in bundles if isinstance(bundle, dict))
    if sum(len(entries) for entries in lists if isinstance(entries, list)) > MOST_PREFETCH_ENTRIES:
        raise RequestUnreadable(f"prefetch has more than {MOST_PREFETCH_ENTRIES} entries", status=413)
    return ({}, prefetch) if is_bundle else (prefetch, None)


def _fhir_server(request: Mapping[str, Any]) -> str | None:
    if _is_left_out(request, "fhirServer"):
        return None
    # Whether we call it is decided elsewhere, by the list of servers that the site allows.
    server = _text(request, "fhirServer", at_most=2_000)
    if not _BASE_URL.fullmatch(server):
        raise RequestUnreadable("fhirServer is not the base URL of a FHIR server")
    return server


_BASE_URL: Final = re.compile(r"https?://[^\s/?#@\\]+(?:/[^\s?#@\\]*)?")
# No blank and no line break: the token goes into a header (RFC 6750, 2.1).
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


def _fhir_authorization(request: Mapping[str, Any], fhir_server: str | None) -> FhirAuthorization | None:
    if _is_left_out(request, "fhirAuthorization"):
        return None
    if fhir_server is None:
        raise RequestUnreadable("fhirAuthorization came without fhirServer")
    given = _object(request["fhirAuthorization"], "fhirAuthorization")
    prefix = "fhirAuthorization."
    token = _text(given, "access_token", prefix, at_most=16_384)
    if not _TOKEN.fullmatch(token):
        raise RequestUnreadable("fhirAuthorization.access_token holds a character that no token has")
    if _text(given, "token_type", prefix).lower() != "bearer":
        raise RequestUnreadable("fhirAuthorization.token_type is not Bearer")
    expires_in = given.get("expires_in")
    if expires_in is not None and type(expires_in) is not int:  # isinstance would let `true` pass
        raise RequestUnreadable("fhirAuthorization.expires_in is not a whole number of seconds")
    return FhirAuthorization(
        access_token=token,
        token_type="Bearer",  # noqa: S106  (the kind of token, not a token)
        expires_in=expires_in,
        # Epic's scope is a long free text with blanks and brackets. Nothing here reads it.
        scope=_optional_text(given, "scope", prefix),
        subject=_optional_text(given, "subject", prefix),
        patient=_optional_text(given, "patient", prefix),
    )


# --- members ----------------------------------------------------------------------------------------------------


def _is_left_out(holder: Mapping[str, Any], name: str) -> bool:
    # CDS Hooks allows neither null nor "" as a value: both are read as "there is none".
    return holder.get(name) in (None, "")


def _needed(holder: Mapping[str, Any], name: str, prefix: str = "") -> Any:
    if (value := holder.get(name)) is None:
        raise RequestUnreadable(f"{prefix}{name} is missing")
    return value


def _text(holder: Mapping[str, Any], name: str, prefix: str = "", *, at_most: int = 256) -> str:
    text = _needed(holder, name, prefix)
    if not isinstance(text, str):
        raise RequestUnreadable(f"{prefix}{name} is not text")
    if not text or text.isspace():
        raise RequestUnreadable(f"{prefix}{name} is empty")
    if len(text) > at_most:
        raise RequestUnreadable(f"{prefix}{name} is longer than {at_most} characters")
    if not text.isprintable():
        raise RequestUnreadable(f"{prefix}{name} holds a character that cannot be printed")
    return text


def _optional_text(holder: Mapping[str, Any], name: str, prefix: str) -> str | None:
    if (text := holder.get(name)) is None or isinstance(text, str):
        return text or None
    raise RequestUnreadable(f"{prefix}{name} is not text")


def _object(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise RequestUnreadable(f"{name} is not a JSON object")


def _list(value: Any, name: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise RequestUnreadable(f"{name} is not a JSON array")
