"""The cards of an answer, ready to be shown as an EHR would: only what can be shown, and nothing that can act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from markupsafe import Markup

from cds_service.ehr.elements import members
from cds_service.web.markdown import as_html

_INDICATORS: Final = ("info", "warning", "critical")
_EXPLANATION: Final = "/consultations/"


@dataclass(frozen=True, slots=True)
class ShownLink:
    """Where to read on. `why`: it leads to the thought behind the card."""

    label: str
    url: str
    why: bool


@dataclass(frozen=True, slots=True)
class ShownSuggestion:
    """A suggestion, and what accepting it would do, in words."""

    uuid: str
    label: str
    recommended: bool
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownCard:
    """One card. `detail` is HTML that can do nothing; `reasons` are code and words of each reason to dismiss it."""

    uuid: str
    summary: str
    indicator: str
    topic: str
    source: str
    detail: Markup
    suggestions: tuple[ShownSuggestion, ...]
    only_one: bool
    reasons: tuple[tuple[str, str], ...]
    links: tuple[ShownLink, ...]


def shown(card: Mapping[str, Any]) -> ShownCard:
    """The card as it is shown. What is odd about it is left out."""
    source = _object(card.get("source"))
    indicator = _text(card.get("indicator"))
    return ShownCard(
        uuid=_text(card.get("uuid")),
        summary=_text(card.get("summary")),
        indicator=indicator if indicator in _INDICATORS else _INDICATORS[0],
        topic=_text(_object(source.get("topic")).get("code")),
        source=_text(source.get("label")),
        detail=Markup(as_html(_text(card.get("detail")))),  # noqa: S704  (cleaned of everything that could act)
        suggestions=tuple(map(_suggestion, members(card.get("suggestions")))),
        only_one=card.get("selectionBehavior") == "at-most-one",
        reasons=tuple(
            (_text(reason.get("code")), _text(reason.get("display"))) for reason in members(card.get("overrideReasons"))
        ),
        links=tuple(
            ShownLink(_text(link.get("label")), url, urlsplit(url).path.startswith(_EXPLANATION))
            for link in members(card.get("links"))
            if (url := _text(link.get("url"))).startswith(("https://", "http://"))
        ),
    )


def _suggestion(suggestion: Mapping[str, Any]) -> ShownSuggestion:
    return ShownSuggestion(
        _text(suggestion.get("uuid")),
        _text(suggestion.get("label")),
        suggestion.get("isRecommended") is True,
        tuple(_text(action.get("description")) for action in members(suggestion.get("actions"))),
    )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
