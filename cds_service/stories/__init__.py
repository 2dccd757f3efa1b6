"""The worked cases, as an EHR sent them: recorded once, and answered anew by the service that reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from cds_service.advisor import Advice, Advisor
from cds_service.clinical.approval import NOT_MARKETED
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.settings import Site
from cds_service.starting import advisor_at

FILE: Final = Path(__file__).parent / "stories.ndjson"


@dataclass(frozen=True, slots=True)
class Story:
    """One woman at one moment. `given` is what differs from the woman whom every story starts from."""

    id: str
    group: str
    story: str
    why: str
    given: tuple[str, ...]
    now: datetime
    site: Mapping[str, Any]
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """A story, and what the service made of it."""

    story: Story
    advice: Advice


def read_stories() -> tuple[Story, ...]:
    """Every story that ships, in the order in which they are told."""
    rows = (read_json(line) for line in FILE.read_bytes().splitlines())
    return tuple(
        Story(**{**row, "given": tuple(row["given"]), "now": datetime.fromisoformat(row["now"])}) for row in rows
    )


def tell(stories: tuple[Story, ...], site: Site | None) -> Iterator[Told]:
    """
    Each story with its answer, at its own hospital or, with `site`, at that one.

    With `site`, stories about another hospital's file are left out: they would no longer be what they say.
    """

    @cache
    def advisor(site: Site, now: datetime) -> Advisor:
        return advisor_at(site, lambda: now, forgiven=NOT_MARKETED)

    usual = stories[0].site
    for story in stories:
        if site is None or story.site == usual:
            asked = advisor(site or Site.from_table(story.site), story.now)
            yield Told(story, asked.advise(parse_request(story.request)))
