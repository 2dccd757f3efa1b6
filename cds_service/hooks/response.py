"""
What goes back to the EHR: cards, and on them suggestions, links and reasons to say no.

The names are Python's here and the wire's in `as_json`, which leaves out what is not there: CDS Hooks allows neither
null nor an empty value, and a client may choke on one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

# Fewer than 140 characters: the specification says so, and Inferno's test kit fails a summary of exactly 140.
LONGEST_SUMMARY: Final = 139

Indicator = Literal["info", "warning", "critical"]
SelectionBehavior = Literal["at-most-one", "any"]


@dataclass(frozen=True, slots=True)
class Coding:
    """A code, the system that it belongs to, and its words."""

    code: str
    system: str
    display: str | None = None

    def as_json(self) -> dict[str, Any]:
        return _without_nothing({"code": self.code, "system": self.system, "display": self.display})


@dataclass(frozen=True, slots=True)
class Topic(Coding):
    """What a card is about. The code never changes: by it an EHR remembers what a user asked not to see again."""


@dataclass(frozen=True, slots=True)
class OverrideReason(Coding):
    """A reason to act otherwise. Unlike other codings it must have words: they are the button."""

    def __post_init__(self) -> None:
        if not self.display:
            raise ValueError("an override reason needs its display")


@dataclass(frozen=True, slots=True)
class Source:
    """Who speaks: shown under the card. `url` is about the organisation, not about this card."""

    label: str
    url: str | None = None
    icon: str | None = None
    topic: Topic | None = None

    def as_json(self) -> dict[str, Any]:
        topic = self.topic.as_json() if self.topic else None
        return _without_nothing({"label": self.label, "url": self.url, "icon": self.icon, "topic": topic})


@dataclass(frozen=True, slots=True)
class Link:
    """Where to read on. Only a smart link may carry `app_context`, and then as text."""

    label: str
    url: str
    type: Literal["absolute", "smart"] = "absolute"
    app_context: str | None = None
    autolaunchable: bool = False

    def as_json(self) -> dict[str, Any]:
        return _without_nothing(
            {
                "label": self.label,
                "url": self.url,
                "type": self.type,
                "appContext": self.app_context if self.type == "smart" else None,
                "autolaunchable": self.autolaunchable,
            }
        )


@dataclass(frozen=True, slots=True)
class Action:
    """
    One draft to create or update (`resource`), or to delete (`resource_id`). Epic shows only the description.

    `label` and `uuid` do not go out: they are the words and the name of a button that does this alone.
    """

    type: Literal["create", "update", "delete"]
    description: str
    resource: Mapping[str, Any] | None = None
    resource_id: str | None = None
    label: str = ""
    uuid: str = ""

    def as_json(self) -> dict[str, Any]:
        return _without_nothing(
            {
                "type": self.type,
                "description": self.description,
                "resource": self.resource,
                "resourceId": self.resource_id,
            }
        )


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the user may accept with one click: all of its actions together. Recommended means ticked beforehand."""

    label: str
    uuid: str
    actions: tuple[Action, ...] = ()
    is_recommended: bool = False

    def as_json(self) -> dict[str, Any]:
        return _without_nothing(
            {
                "label": self.label,
                "uuid": self.uuid,
                "isRecommended": self.is_recommended,
                "actions": [action.as_json() for action in self.actions],
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One piece of advice. `selection_behavior` goes out only beside suggestions; Epic knows no other than `any`."""

    uuid: str
    summary: str
    indicator: Indicator
    source: Source
    detail: str | None = None
    suggestions: tuple[Suggestion, ...] = ()
    selection_behavior: SelectionBehavior = "any"
    override_reasons: tuple[OverrideReason, ...] = ()
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.summary) <= LONGEST_SUMMARY:
            raise ValueError(f"a summary has 1 to {LONGEST_SUMMARY} characters, this one {len(self.summary)}")

    def as_json(self) -> dict[str, Any]:
        return _without_nothing(
            {
                "uuid": self.uuid,
                "summary": self.summary,
                "detail": self.detail,
                "indicator": self.indicator,
                "source": self.source.as_json(),
                "suggestions": [suggestion.as_json() for suggestion in self.suggestions],
                "selectionBehavior": self.selection_behavior if self.suggestions else None,
                "overrideReasons": [reason.as_json() for reason in self.override_reasons],
                "links": [link.as_json() for link in self.links],
            }
        )


@dataclass(frozen=True, slots=True)
class HookResponse:
    """The whole answer. No card is an answer, too, and the one list that may be empty."""

    cards: tuple[Card, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"cards": [card.as_json() for card in self.cards]}


def _without_nothing(members: Mapping[str, Any]) -> dict[str, Any]:
    # False goes, too: it is the default of each flag here.
    return {name: value for name, value in members.items() if value}
