"""
What every CDS Hooks answer must be, looked at from outside. Nothing here imports the service.

The rules are those of CDS Hooks 2.0 for what goes out, narrowed to what every client can take, and those of FHIR R4
for the resources inside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, Final

from fhir.resources.R4B import get_fhir_model_class
from markdown_it import MarkdownIt
from pydantic import ValidationError

Json = dict[str, Any]

LONGEST_SUMMARY: Final = 139


def check_answer(answer: Any, request: Mapping[str, Any] | None = None) -> None:
    """
    Raises AssertionError, with the place and the reason, for an answer that breaks a rule.

    `answer` is the body of the answer as JSON. `request` is the body that it answers: with it, the answer must be
    about her, and may change no order but those that are drafted there.
    """
    _has(answer, "the answer", needs={"cards"}, may={"extension"})
    cards = _list(answer["cards"], "cards")
    if cards and (place := _hollow(cards)) is not None:
        _fault(f"cards{place}", "is null, empty or blank: it must be left out")
    asked = _Asked(request or {})
    uuids = _Seen("uuid")
    nameless = [isinstance(card, dict) and "uuid" not in card for card in cards]
    if any(nameless) and not all(nameless):
        _fault(f"cards[{nameless.index(True)}]", "has no uuid, and others have one")
    for number, card in enumerate(cards):
        _card(card, f"cards[{number}]", asked, uuids)


def hollow(value: Any) -> str | None:
    """Where a value holds null, an empty or a blank string, or an empty array or object; None when nowhere."""
    return _hollow(value)


def _fault(where: str, what: str) -> None:
    raise AssertionError(f"{where} {what}")


# --- JSON -----------------------------------------------------------------------------------------


def _hollow(value: Any) -> str | None:
    match value:
        case str():
            return None if value and not value.isspace() else ""
        case dict():
            if not value:
                return ""
            for name, inner in value.items():
                if (place := _hollow(inner)) is not None:
                    return f".{name}{place}"
        case list() | tuple():
            if not value:
                return ""
            for number, inner in enumerate(value):
                if (place := _hollow(inner)) is not None:
                    return f"[{number}]{place}"
        case None:
            return ""
    return None


def _has(value: Any, where: str, *, needs: AbstractSet[str] = frozenset(), may: AbstractSet[str] = frozenset()) -> None:
    """An object with these members and no other. `extension` is an object with names of whom it belongs to."""
    if not isinstance(value, dict):
        _fault(where, "is not a JSON object")
    if missing := needs - value.keys():
        _fault(where, f"has no {min(missing)}")
    if strange := value.keys() - needs - may:
        _fault(where, f"has a member that no client may rely on: {min(strange)}")
    if "extension" in value:
        extension = value["extension"]
        if not isinstance(extension, dict):
            _fault(f"{where}.extension", "is not a JSON object")
        if wrong := [name for name in extension if not _EXTENSION.fullmatch(name)]:
            _fault(f"{where}.extension", f"has a name that says not whose it is: {wrong[0]}")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        _fault(where, "is not a JSON array")
    found: list[Any] = value
    return found


_EXTENSION: Final = re.compile(r"[a-z0-9-]+(\.[A-Za-z0-9_-]+)+")
# Control characters but the line feed, the line ends that are not one, marks that turn the direction of reading.
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9]{1,100}")
_URI: Final = re.compile(r"(https?://|urn:)[^\s<>\"]+")
_HTTPS: Final = re.compile(r"https://[A-Za-z0-9.-]+(:\d+)?(/[^\s<>\"]*)?")


def _text(holder: Json, name: str, where: str, *, lines: bool = False) -> str:
    """A text that can be shown; in a single line, unless it may have several."""
    text = holder[name]
    if not isinstance(text, str):
        _fault(f"{where}.{name}", "is not text")
    if _CONTROL.search(text):
        _fault(f"{where}.{name}", "holds a control character")
    if not lines and "\n" in text:
        _fault(f"{where}.{name}", "has more than one line")
    return str(text)


def _one_of(holder: Json, name: str, where: str, allowed: Iterable[str]) -> None:
    if not isinstance(holder[name], str) or holder[name] not in allowed:
        _fault(f"{where}.{name}", f"is none of {', '.join(sorted(allowed))}")


def _flag(holder: Json, name: str, where: str) -> bool:
    flag = holder.get(name, False)
    if not isinstance(flag, bool):
        _fault(f"{where}.{name}", "is not true or false")
    return bool(flag)


class _Seen:
    """What may not come twice."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: set[str] = set()

    def add(self, value: str, where: str) -> None:
        if value in self._found:
            _fault(where, f"has a {self._what} that stands there already")
        self._found.add(value)


# --- the card -------------------------------------------------------------------------------------

_INDICATORS: Final = {"info", "warning", "critical"}
_SELECTION: Final = {"any", "at-most-one"}


def _card(card: Any, where: str, asked: _Asked, uuids: _Seen) -> None:
    _has(
        card,
        where,
        needs={"summary", "indicator", "source"},
        may={"uuid", "detail", "suggestions", "selectionBehavior", "overrideReasons", "links", "extension"},
    )
    if "uuid" in card:
        _uuid(card, where, uuids)
    elif card.keys() & {"suggestions", "overrideReasons"}:
        # As in CDS Hooks 1.0, for clients that know no more. What is chosen on such a card could not be reported.
        _fault(where, "has no uuid, and yet something to choose")
    if len(_text(card, "summary", where)) > LONGEST_SUMMARY:
        _fault(f"{where}.summary", f"has more than {LONGEST_SUMMARY} characters")
    _one_of(card, "indicator", where, _INDICATORS)
    _source(card["source"], f"{where}.source")
    if "detail" in card:
        _markdown(_text(card, "detail", where, lines=True), f"{where}.detail")
    _suggestions(card, where, asked, uuids)
    reasons = _Seen("code")
    for number, reason in enumerate(_list(card.get("overrideReasons", []), f"{where}.overrideReasons")):
        place = f"{where}.overrideReasons[{number}]"
        _coding(reason, place, needs={"code", "system", "display"})
        reasons.add(f"{reason['system']}|{reason['code']}", place)
    for number, link in enumerate(_list(card.get("links", []), f"{where}.links")):
        _link(link, f"{where}.links[{number}]")


def _uuid(holder: Json, where: str, uuids: _Seen) -> None:
    if not _UUID.fullmatch(_text(holder, "uuid", where)):
        _fault(f"{where}.uuid", "is not a lower-case UUID of RFC 9562")
    uuids.add(holder["uuid"], where)


def _source(source: Any, where: str) -> None:
    _has(source, where, needs={"label"}, may={"url", "icon", "topic", "extension"})
    _text(source, "label", where)
    for name in ("url", "icon"):
        if name in source and not _HTTPS.fullmatch(_text(source, name, where)):
            _fault(f"{where}.{name}", "is not an absolute https URL")
    if "topic" in source:
        _coding(source["topic"], f"{where}.topic", needs={"code", "system"})
        # By this code an EHR remembers what a user asked not to see again. Epic takes no other signs.
        if not _TOPIC.fullmatch(source["topic"]["code"]):
            _fault(f"{where}.topic.code", "is not 1 to 100 letters and digits")


def _coding(coding: Any, where: str, needs: AbstractSet[str]) -> None:
    _has(coding, where, needs=needs, may={"display", "version", "extension"})
    for name in ("code", "system", "display"):
        if name in coding:
            _text(coding, name, where)
    if not _URI.fullmatch(coding["system"]):
        _fault(f"{where}.system", "is not a URI")


_LINK_IN_TEXT: Final = re.compile(r"\]\(([^)\s]*)")
_MAY_BE_HTML: Final = re.compile(r"<[A-Za-z/!?]")
_READER: Final = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def _markdown(text: str, where: str) -> None:
    if any(not _HTTPS.fullmatch(url) for url in _LINK_IN_TEXT.findall(text)):
        _fault(where, "has a link that is no absolute https URL")
    # Only a reader of Markdown can tell a tag from what is escaped, or is in a code span.
    if _MAY_BE_HTML.search(text) and any(token.type.startswith("html_") for token in _tokens(text)):
        _fault(where, "holds an HTML tag")


def _tokens(text: str) -> Iterator[Any]:
    for token in _READER.parse(text):
        yield token
        yield from token.children or ()


def _link(link: Any, where: str) -> None:
    _has(link, where, needs={"label", "url", "type"}, may={"appContext", "autolaunchable", "extension"})
    _text(link, "label", where)
    _one_of(link, "type", where, {"absolute", "smart"})
    if not _HTTPS.fullmatch(_text(link, "url", where)):
        _fault(f"{where}.url", "is not an absolute https URL")
    if "appContext" in link:
        _text(link, "appContext", where, lines=True)
        if link["type"] != "smart":
            _fault(f"{where}.appContext", "stands on a link that is not smart")
    _flag(link, "autolaunchable", where)


# --- suggestions and actions ----------------------------------------------------------------------


def _suggestions(card: Json, where: str, asked: _Asked, uuids: _Seen) -> None:
    suggestions = _list(card.get("suggestions", []), f"{where}.suggestions")
    if ("suggestions" in card) != ("selectionBehavior" in card):
        _fault(where, "has suggestions or selectionBehavior without the other")
    if "selectionBehavior" in card:
        _one_of(card, "selectionBehavior", where, _SELECTION)
    recommended = 0
    for number, suggestion in enumerate(suggestions):
        place = f"{where}.suggestions[{number}]"
        _has(suggestion, place, needs={"label", "uuid"}, may={"isRecommended", "actions", "extension"})
        _text(suggestion, "label", place)
        _uuid(suggestion, place, uuids)
        recommended += _flag(suggestion, "isRecommended", place)
        ids = _Seen("temporary id")
        for index, action in enumerate(_list(suggestion.get("actions", []), f"{place}.actions")):
            _action(action, f"{place}.actions[{index}]", asked, ids)
    if recommended > 1 and card["selectionBehavior"] != "any":
        _fault(where, "recommends several suggestions of which one may be chosen")


def _action(action: Any, where: str, asked: _Asked, ids: _Seen) -> None:
    _has(action, where, needs={"type", "description"}, may={"resource", "resourceId", "extension"})
    _one_of(action, "type", where, {"create", "update", "delete"})
    _text(action, "description", where)
    if action["type"] == "delete":
        _has(action, where, needs={"type", "description", "resourceId"}, may={"extension"})
        asked.may_change(_text(action, "resourceId", where), f"{where}.resourceId")
        return
    _has(action, where, needs={"type", "description", "resource"}, may={"extension"})
    resource, place = action["resource"], f"{where}.resource"
    if not isinstance(resource, dict):
        _fault(place, "is not a JSON object")
    if action["type"] == "create":
        _created(resource, place, asked, ids)
    else:
        _updated(resource, place, asked)


def _created(resource: Json, where: str, asked: _Asked, ids: _Seen) -> None:
    if (wrong := wrong_in(resource, ours=True)) is not None:
        _fault(where, wrong)
    asked.is_about_her(resource, where)
    if resource.get("status") != "draft":
        _fault(f"{where}.status", "is not draft: nothing is ordered here")
    # Temporary, and yet needed: by it two actions of one suggestion can name each other.
    if not isinstance(resource.get("id"), str) or not _FHIR_ID.fullmatch(resource["id"]):
        _fault(f"{where}.id", "is not a FHIR id")
    reference = f"{resource['resourceType']}/{resource['id']}"
    ids.add(reference, where)
    if reference in asked.drafts:
        _fault(f"{where}.id", "is that of an order which is drafted already")


def _says_something(value: Any) -> bool:
    """EHRs send members that are null or empty. Nobody may send those back."""
    if isinstance(value, dict | list):
        return any(_says_something(one) for one in (value.values() if isinstance(value, dict) else value))
    return value is not None and (not isinstance(value, str) or bool(value.strip()))


def _updated(resource: Json, where: str, asked: _Asked) -> None:
    draft = asked.may_change(f"{resource.get('resourceType')}/{resource.get('id')}", where)
    if (wrong := wrong_in(resource)) is not None:
        _fault(where, wrong)
    if draft is None or resource.get("subject") != draft.get("subject"):
        asked.is_about_her(resource, where)
    said = {name for name, value in (draft or {}).items() if _says_something(value)}
    if lost := said - resource.keys() - {"text", "meta"}:
        _fault(where, f"is not the whole order: it lost {min(lost)}")


class _Asked:
    """What of the request an answer can be held against. Without a request everything is allowed."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        context = request.get("context", {})
        self.patient: str | None = context.get("patientId") and _bare(context["patientId"])
        self.encounter: str | None = context.get("encounterId") and _bare(context["encounterId"])
        self._knows_drafts = bool(request)
        bundle = context.get("draftOrders")
        entries = bundle.get("entry") if isinstance(bundle, dict) else None
        held = [entry.get("resource") for entry in entries or () if isinstance(entry, dict)]
        self.drafts = {f"{one.get('resourceType')}/{one.get('id')}": one for one in held if isinstance(one, dict)}

    def may_change(self, reference: str, where: str) -> Mapping[str, Any] | None:
        """The draft that is to be changed or taken away."""
        if not _REFERENCE.fullmatch(reference):
            _fault(where, "is not of the form Type/id")
        if not self._knows_drafts:
            return None
        if reference not in self.drafts:
            _fault(where, "is not among the draft orders of the request")
        draft: Mapping[str, Any] = self.drafts[reference]
        if draft.get("status", "draft") != "draft":
            _fault(where, "is an order that is not a draft any more")
        return draft

    def is_about_her(self, resource: Json, where: str) -> None:
        for name, kind, id_ in (("subject", "Patient", self.patient), ("encounter", "Encounter", self.encounter)):
            reference = (resource.get(name) or {}).get("reference")
            if id_ is None or (name == "encounter" and reference is None):
                continue
            if not isinstance(reference, str) or _bare(reference, kind) != id_:
                _fault(f"{where}.{name}", f"is not the {name} of the request")


def _bare(reference: str, kind: str = "") -> str:
    """The id of a reference, which may be a URL. Of another kind than the one that is asked for: the whole."""
    rest, _, id_ = reference.rpartition("/")
    return id_ if not kind or rest.rpartition("/")[2] == kind else reference


_FHIR_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_REFERENCE: Final = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9._~-]{1,256}")

# --- resources ------------------------------------------------------------------------------------

# What fhir.resources lets through: codes with a required binding (FHIR R4, the value set of each element).
_PRIORITY: Final = {"routine", "urgent", "asap", "stat"}
_CODES: Final[Mapping[str, Mapping[str, set[str]]]] = {
    "MedicationRequest": {
        "status": {
            *("active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"),
        },
        "intent": {
            *("proposal", "plan", "order", "original-order", "reflex-order", "filler-order", "instance-order"),
            "option",
        },
        "priority": _PRIORITY,
    },
    "ServiceRequest": {
        "status": {"draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"},
        "intent": {
            *("proposal", "plan", "directive", "order", "original-order", "reflex-order", "filler-order"),
            *("instance-order", "option"),
        },
        "priority": _PRIORITY,
    },
}
_TIME: Final = {"s", "min", "h", "d", "wk", "mo", "a"}
_MOST_REMEMBERED: Final = 20_000
_REMEMBERED: Final[dict[str, str | None]] = {}


def wrong_in(resource: Mapping[str, Any], *, ours: bool = False) -> str | None:
    """
    What FHIR R4 has against a resource; None when nothing. Whose it is, and its id, are not looked at.

    In one of `ours`, no code may stand without its system. R4 allows that, and an EHR's own draft may have it.
    """
    kind = resource.get("resourceType")
    if kind not in _CODES:
        return f"is a {kind}, of which this check knows no codes"
    same_for_all = {name: value for name, value in resource.items() if name not in ("id", "subject", "encounter")}
    content = json.dumps([ours, same_for_all], default=str)
    if content not in _REMEMBERED:
        if len(_REMEMBERED) >= _MOST_REMEMBERED:
            _REMEMBERED.clear()
        _REMEMBERED[content] = _looked_up(same_for_all, ours=ours)
    return _REMEMBERED[content]


def _looked_up(resource: Json, *, ours: bool) -> str | None:
    kind = resource["resourceType"]
    try:
        get_fhir_model_class(kind).model_validate({**resource, "subject": {"reference": "Patient/she"}})
    except (ValidationError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())[:200]
        return f"is not FHIR R4: {said}"
    for name, allowed in _CODES[kind].items():
        if name in resource and resource[name] not in allowed:
            return f"is not FHIR R4: {name} cannot be {resource[name]}"
    tests = (_units_of_time, _numbers, _codes_of_nobody) if ours else (_units_of_time, _numbers)
    return next((wrong for test in tests for wrong in test(resource)), None)


def _units_of_time(resource: Json) -> Iterator[str]:
    for one in _objects(resource):
        for name in ("durationUnit", "periodUnit"):
            if name in one and one[name] not in _TIME:
                yield f"is not FHIR R4: {name} cannot be {one[name]}"


def _codes_of_nobody(resource: Json) -> Iterator[str]:
    for one in _objects(resource):
        if "code" in one and isinstance(one["code"], str) and not _URI.fullmatch(str(one.get("system"))):
            yield f"has a code without a system: {one['code']}"


def _numbers(resource: Json) -> Iterator[str]:
    for one in _objects(resource):
        for value in one.values():
            if isinstance(value, float | Decimal) and not Decimal(value).is_finite():
                yield "has a number that is not finite"


def _objects(value: Any) -> Iterator[Json]:
    match value:
        case dict():
            yield value
            for inner in value.values():
                yield from _objects(inner)
        case list() | tuple():
            for inner in value:
                yield from _objects(inner)


# --- every answer of a test run -------------------------------------------------------------------


def request_like(hook: str, patient: str, encounter: str | None, drafts: Iterable[Mapping[str, Any]]) -> Json:
    """As much of a request as an answer is held against."""
    context: Json = {"patientId": patient, "draftOrders": {"entry": [{"resource": draft} for draft in drafts]}}
    return {"hook": hook, "context": context | ({"encounterId": encounter} if encounter else {})}


def checked(advise: Callable[..., Any], faults: list[str]) -> Callable[..., Any]:
    """`Advisor.advise`, with every answer checked. What is wrong is added to `faults`, and the answer goes on."""

    def advise_and_check(advisor: Any, request: Any) -> Any:
        advice = advise(advisor, request)
        like = request_like(request.hook, request.patient_id, request.encounter_id, request.draft_orders)
        try:
            check_answer({"cards": list(advice.cards)}, like)
        except AssertionError as fault:
            faults.append(f"the answer to {request.hook}: {fault}")
        return advice

    return advise_and_check
