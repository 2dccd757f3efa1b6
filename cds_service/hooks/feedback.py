"""
What clinicians did with a card, as the EHR reports it (CDS Hooks 2.0, feedback).

An EHR sends feedback once and late, often in batches, and nobody sends it again by hand. So each item is read by
itself, leniently, and one bad item never costs another. A message names the item and the member, and never a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from cds_service.errors import RequestUnreadable

MOST_ITEMS: Final = 1_000
_LONGEST_ID: Final = 256
_LONGEST_COMMENT: Final = 10_000
_MOST_ACCEPTED: Final = 50
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_CODE: Final = re.compile(r"[!-~]{1,256}")
_OUTCOMES: Final = ("accepted", "overridden")
# Epic sends `overrideReasons`, and the parts of a reason as extensions (fhir.epic.com, CDS Hooks tutorial).
_REASONS: Final = ("overrideReason", "overrideReasons")
_EPIC: Final = "com.epic.cdshooks.feedback.overrideReason."


@dataclass(frozen=True, slots=True)
class Reason:
    """
    Why a card was set aside: a code of ours or of the EHR's. `comment` is free text about a patient.

    A code has no blank in it: what has one was typed by somebody, and is a comment.
    """

    code: str | None = field(default=None, repr=False)
    system: str | None = field(default=None, repr=False)
    comment: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Item:
    """
    One outcome of one card, or of one suggestion on it.

    `card` and `suggestion` are as sent, since not every EHR sends back the uuid that it got; but a UUID is in lower
    case, as ours are (RFC 9562: whoever reads one takes either case). `at` is None when the EHR gave
    no time that can be read.
    """

    card: str = field(repr=False)
    outcome: str
    suggestion: str | None = field(default=None, repr=False)
    at: datetime | None = None
    reason: Reason = Reason()


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that cannot be kept: its place in the list, from 0, and what is wrong with it."""

    item: int
    because: str


def parse_feedback(body: Any) -> tuple[tuple[Item, ...], tuple[Refused, ...]]:
    """
    What can be kept, and what cannot, of `{"feedback": [...]}`. An item with several suggestions gives one for each.

    Raises RequestUnreadable (400; 413 above 1,000 items, or as many outcomes in all) when nothing can be kept.
    """
    if not isinstance(body, dict):
        raise RequestUnreadable("the body is not an object")
    listed = body.get("feedback")
    if not isinstance(listed, list):
        raise RequestUnreadable("feedback is missing" if listed is None else "feedback is not a list")
    if not listed:
        raise RequestUnreadable("feedback is empty")
    if len(listed) > MOST_ITEMS:
        raise RequestUnreadable(f"feedback has more than {MOST_ITEMS} items", status=413)
    kept: list[Item] = []
    refused: list[Refused] = []
    for number, item in enumerate(listed):
        try:
            kept.extend(_items(item))
        except _Unfit as unfit:
            refused.append(Refused(number, str(unfit)))
        if len(kept) > MOST_ITEMS:  # each is a row, and whoever else writes waits for all of them
            raise RequestUnreadable(f"feedback has more than {MOST_ITEMS} outcomes", status=413)
    if not kept:
        first = refused[0]
        raise RequestUnreadable(f"feedback has no item that can be kept: feedback[{first.item}]: {first.because}")
    return tuple(kept), tuple(refused)


class _Unfit(Exception):
    """This item cannot be kept."""


def _items(item: Any) -> Iterator[Item]:
    if not isinstance(item, dict):
        raise _Unfit("it is not an object")
    card = _id(item.get("card"), "card")
    outcome = item.get("outcome")
    outcome = outcome.strip().lower() if isinstance(outcome, str) else outcome
    if outcome not in _OUTCOMES:
        raise _Unfit("outcome is neither accepted nor overridden")
    at = _instant(item.get("outcomeTimestamp"))
    if outcome == "overridden":
        yield Item(card, outcome, at=at, reason=_reason(item))
        return
    # The specification asks for the suggestions. Without them the acceptance still counts.
    suggestions: dict[str | None, None] = dict.fromkeys(_accepted(item.get("acceptedSuggestions")))
    for suggestion in suggestions or (None,):
        yield Item(card, outcome, suggestion, at)


def _accepted(listed: Any) -> Iterator[str]:
    if listed is None:
        return
    if not isinstance(listed, list):
        raise _Unfit("acceptedSuggestions is not a list")
    if len(listed) > _MOST_ACCEPTED:
        raise _Unfit(f"acceptedSuggestions has more than {_MOST_ACCEPTED} items")
    for one in listed:
        yield _id(one.get("id") if isinstance(one, dict) else one, "acceptedSuggestions.id")


def _id(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Unfit(f"{name} is missing")
    if len(value) > _LONGEST_ID or not value.isprintable():
        raise _Unfit(f"{name} is longer than {_LONGEST_ID} characters, or holds one that cannot be printed")
    return value.lower() if _UUID.fullmatch(value) else value


def _instant(text: Any) -> datetime | None:
    """RFC 3339; None when there is none that can be read. What was done counts without its time."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text.strip().upper())
        return at.astimezone(UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


# --- the reason -------------------------------------------------------------------------------------


def _reason(item: Mapping[str, Any]) -> Reason:
    """The first reason, wherever the EHR put it. An odd one is no reason, and costs nothing else."""
    given = [one for name in _REASONS for one in _listed(item.get(name))]
    found = [_told(one) for one in given]
    found += [_from_epic(holder) for holder in (item, *given)]
    code = next((reason for reason in found if reason.code), Reason())
    comment = next((reason.comment for reason in found if reason.comment), None)
    return replace(code, comment=code.comment or comment)


def _told(given: Any) -> Reason:
    """`{reason, userComment}`; or, as seen, the Coding itself, a CodeableConcept, or the bare code."""
    if not isinstance(given, dict):
        return _coded(given, None, None)
    comment = given.get("userComment")
    coding = given.get("reason", given)
    if isinstance(coding, dict):
        coding = coding.get("coding", coding)
    first = next(iter(_listed(coding)), None)
    if isinstance(first, dict):
        return _coded(first.get("code"), first.get("system"), comment)
    return _coded(first, None, comment)


def _from_epic(holder: Any) -> Reason:
    given = holder.get("extension") if isinstance(holder, dict) else None
    if not isinstance(given, dict):
        return Reason()
    parts = {name.removeprefix(_EPIC): value for name, value in given.items() if name.startswith(_EPIC)}
    comment = parts.get("userComment", parts.get("comment"))
    if "code" not in parts and "reasonCategory" in parts:  # a number of Epic's own, with its words beside it
        return _coded(parts["reasonCategory"], f"{_EPIC}reasonCategory", comment)
    return _coded(parts.get("code"), parts.get("system"), comment)


def _coded(code: Any, system: Any, comment: Any) -> Reason:
    code, comment = _words(code), _words(comment)
    if code is not None and not _CODE.fullmatch(code):
        code, comment = None, comment or code
    system = _words(system) if code is not None else None
    return Reason(code, system if system is not None and _CODE.fullmatch(system) else None, comment)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _words(value: Any) -> str | None:
    """Text of a length that can be kept; None for anything else. PostgreSQL takes no zero byte."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_COMMENT or "\0" in value:
        return None
    return value
