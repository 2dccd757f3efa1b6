"""How the EHR answered one question: the entries that came, and whether they are all there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from cds_service.ehr.elements import members


class Had(IntEnum):
    """How a question to the EHR was answered. Not had is unknown, never absent (decision logic, section 1)."""

    NOT_ASKED = 0
    FAILED = 1
    RESTRICTED = 2
    CUT_SHORT = 3
    WHOLE = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The entries of one answer, over all its pages, and how whole they are.

    `more` is where the EHR says that the next page lies. `searched`: it came as the result of a search.
    """

    entries: tuple[Any, ...] = field(repr=False)
    had: Had
    more: str | None = field(default=None, repr=False)
    searched: bool = False


def unanswered(had: Had) -> Answer:
    """No entry came."""
    return Answer((), had)


_FATAL: Final = frozenset({"error", "fatal"})
# Issue types by which a server says that it holds more than this caller may see (FHIR R4, IssueType).
_WITHHELD: Final = frozenset({"security", "login", "expired", "forbidden", "suppressed"})
# By which a server says that it did not get to the end, even where it only warns.
_GIVEN_UP: Final = frozenset({"incomplete", "timeout", "throttled", "too-costly", "too-long", "transient", "exception"})


def answer_of(value: object) -> Answer:
    """
    What one prefetch value, or one page, answers.

    Null or an empty Bundle is a known none. An OperationOutcome is a failure, alone or in a searchset without any
    other entry, unless the total is 0 and it only informs or warns: Epic answers an empty search so (code 4101). Beside
    entries, words that only inform or warn change nothing: Epic puts some beside every answer (code 4119). A `next`
    link, or a total above what came, means that the list was cut short.
    """
    return answer_over([value])


def answer_over(pages: Sequence[Any]) -> Answer:
    """What the pages of one answer tell together. There is at least one; the last says whether there are more."""
    if len(pages) == 1 and not _is_bundle(pages[0]):
        return _single(pages[0])
    if not all(map(_is_bundle, pages)):
        return Answer(_entries_of(pages), Had.CUT_SHORT)
    outcomes: list[Mapping[str, Any]] = []
    others: list[Any] = []
    for page in pages:
        listed = page.get("entry", [])
        if not isinstance(listed, list):
            return Answer((*_entries_of(pages), {}), Had.FAILED if len(pages) == 1 else Had.CUT_SHORT)
        for entry in listed:
            if _is_outcome(entry):
                outcomes.append(entry["resource"])
            else:
                others.append(entry)
    entries = tuple(others)
    totals = [total for page in pages if (total := page.get("total")) is not None]
    more = _next(pages[-1])
    searched = pages[0].get("type") == "searchset"
    if any(_tells(outcome, _WITHHELD) for outcome in outcomes):
        return Answer(entries, Had.RESTRICTED, more, searched)
    known_none = bool(totals) and all(total == 0 for total in totals)
    if any(_severity(outcome) in _FATAL for outcome in outcomes) or (outcomes and not entries and not known_none):
        return Answer(entries, Had.FAILED, more, searched)
    came = _distinct(entries) if totals else 0
    is_short = any(not isinstance(total, int) or total > came for total in totals)
    if more is not None or is_short or any(_tells(outcome, _GIVEN_UP) for outcome in outcomes):
        return Answer(entries, Had.CUT_SHORT, more, searched)
    return Answer(entries, Had.WHOLE, None, searched)


def _single(value: object) -> Answer:
    """What a value that is no Bundle tells."""
    if value is None:
        return Answer((), Had.WHOLE)
    if isinstance(value, list):
        # Home-made clients send a bare list of resources. What it holds counts; nobody says that it is whole.
        return Answer(tuple({"resource": member} for member in value), Had.CUT_SHORT if value else Had.FAILED)
    if not isinstance(value, dict):
        return Answer(({},), Had.FAILED)
    if value.get("resourceType") == "OperationOutcome":
        return unanswered(Had.RESTRICTED if _tells(value, _WITHHELD) else Had.FAILED)
    return Answer(({"resource": value},), Had.WHOLE)


def _entries_of(pages: Iterable[Any]) -> tuple[Any, ...]:
    lists = (page.get("entry") for page in pages if _is_bundle(page))
    return tuple(e for listed in lists if isinstance(listed, list) for e in listed if not _is_outcome(e))


def _is_bundle(value: Any) -> bool:
    return isinstance(value, dict) and value.get("resourceType") == "Bundle"


def _next(page: Mapping[str, Any]) -> str | None:
    """Where the next page lies; "" when there is one, but it does not say where."""
    for link in members(page.get("link")):
        if link.get("relation") == "next":
            url = link.get("url")
            return url if isinstance(url, str) else ""
    return None


def self_link(value: object) -> str | None:
    """The search that a Bundle says it answers."""
    if not isinstance(value, dict) or "link" not in value:
        return None
    links = (link for link in members(value.get("link")) if link.get("relation") == "self")
    return next((url for link in links if isinstance(url := link.get("url"), str)), None)


def _distinct(entries: Iterable[Any]) -> int:
    """How many different resources were found: one that is sent twice fills no list that was cut short."""
    named: set[tuple[str, str]] = set()
    nameless = 0
    for entry in entries:
        if isinstance(entry, dict):
            if _mode(entry) == "include":
                continue
            if isinstance(resource := entry.get("resource"), dict):
                kind, id_ = resource.get("resourceType"), resource.get("id")
                if isinstance(kind, str) and isinstance(id_, str):
                    named.add((kind, id_))
                    continue
        nameless += 1
    return len(named) + nameless


def _is_outcome(entry: object) -> bool:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return isinstance(resource, dict) and resource.get("resourceType") == "OperationOutcome"


def matches(entry: object) -> bool:
    """Does the EHR say that this entry is what was searched for?"""
    return isinstance(entry, dict) and _mode(entry) == "match"


def _mode(entry: Mapping[str, Any]) -> object:
    search = entry.get("search")
    return search.get("mode") if isinstance(search, dict) else None


def _severity(outcome: Mapping[str, Any]) -> str:
    """The worst severity of an OperationOutcome; without a readable issue it is an error."""
    found = [issue.get("severity") for issue in members(outcome.get("issue"))]
    return "error" if not found or any(s not in ("warning", "information") for s in found) else "warning"


def _tells(outcome: Mapping[str, Any], kinds: frozenset[str]) -> bool:
    """Is there an issue of one of these kinds? Withheld, say, or given up."""
    kinds_told = (issue.get("code") for issue in members(outcome.get("issue")))
    return any(isinstance(kind, str) and kind in kinds for kind in kinds_told)
