"""What this service decides and why, as worked cases: pages for clinicians to read and to print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cds_service.clinical.order_check import Departure
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.knowledge.shapes import Criterion, Input
from cds_service.rendering.explanation import as_json
from cds_service.settings import Site
from cds_service.stories import Told, read_stories, tell
from cds_service.web.markdown import as_html

_HERE: Final = Path(__file__).parent
_STATIC: Final = _HERE.parent / "web" / "static"
_STYLES: Final = (_STATIC / "api.css", _HERE / "manual.css")
INDEX: Final = "index.html"

# The parts of the manual, in the order in which they are read.
_PARTS: Final[Mapping[str, str]] = {
    "screening_and_risk": "Screening and risk",
    "medicine_and_dose": "The medicine and its dose",
    "contraindications": "What forbids the medicine",
    "specialist_review": "What specialists must see first",
    "missing_data": "What must be known",
    "drafted_orders": "Orders that are drafted already",
    "hooks": "Other moments: chart, discharge, later",
    "more_rules": "More rules and cards, a story each",
}
_MOMENTS: Final = {
    "patient-view": "The chart is opened",
    "encounter-start": "She is admitted",
    "order-select": "Orders are being chosen",
    "order-sign": "Orders are being signed",
    "encounter-discharge": "She is discharged",
}
_KINDS: Final = {
    "contraindication": "forbids it",
    "review": "specialists first",
    "missing": "missing",
    "monitor": "more monitoring",
    "configuration": "configuration",
    "confirm": "to confirm at the bedside",
}


@dataclass(frozen=True, slots=True)
class Ruled:
    """A rule that spoke in a story: its id, what it does, and what it says here."""

    id: str
    kind: str
    says: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A card as a clinician sees it."""

    topic: str
    indicator: str
    summary: str
    detail: Markup
    suggestions: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Page:
    """A story with all that the manual says of it."""

    told: Told
    part: str
    moment: str
    tier: str | None
    because: tuple[str, ...]
    status: str | None
    rules: tuple[Ruled, ...]
    dose: str | None
    departures: tuple[str, ...]
    cards: tuple[Shown, ...]
    held_back: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.told.story.id


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the tables, and the stories that show it."""

    id: str
    says: str
    kind: str
    when: tuple[str, ...]
    shown_in: tuple[Page, ...]


def write_manual(folder: Path, site: Site | None) -> Path:
    """Writes the manual there and says where it begins. With `site`, as that hospital's own file would have it."""
    knowledge = load_knowledge()
    pages = tuple(_page(told) for told in tell(read_stories(), site))
    parts = {part: tuple(page for page in pages if page.part == part) for part in _PARTS}
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    common: dict[str, Any] = {"parts": parts, "titles": _PARTS, "knowledge": knowledge, "site": site}
    folder.mkdir(parents=True, exist_ok=True)
    rules = {name: tuple(_shown(rows, pages)) for name, rows in _tables(knowledge)}
    topics = {row: tuple(p for p in pages if row.code in {c.topic for c in p.cards}) for row in knowledge.topics.topic}
    silent = tuple(page for page in pages if not page.cards)
    index = environment.get_template("index.html")
    text = index.render(**common, pages=pages, rules=rules, topics=topics, silent=silent)
    (folder / INDEX).write_text(text, encoding="utf-8")
    template = environment.get_template("part.html")
    common["listed"] = frozenset(rule.id for rows in rules.values() for rule in rows)
    for part, members in parts.items():
        (folder / f"{part}.html").write_text(template.render(**common, part=part, pages=members), encoding="utf-8")
    for style in _STYLES:
        (folder / style.name).write_bytes(style.read_bytes())
    return folder / INDEX


def _page(told: Told) -> Page:
    thought = told.advice.consultation
    line = as_json(thought, told.advice.who, told.advice.cards)
    risk, eligibility, dose = line["risk"], line["eligibility"], line["dose"]
    spoke = eligibility["criteria"] if eligibility else ()
    confirm = thought.eligibility.confirm if thought is not None else ()
    rules = (
        *(Ruled(row["id"], _KINDS[row["kind"]], row["says"]) for row in spoke),
        *(Ruled(row.id, _KINDS["confirm"], row.says) for row in confirm),
    )
    return Page(
        told=told,
        part=told.story.group,
        moment=_MOMENTS[told.advice.who.hook],
        tier=risk and risk["tier"],
        because=tuple(dict.fromkeys(row["says"] for row in risk["because"])) if risk else (),
        status=eligibility and eligibility["status"],
        rules=rules,
        dose=dose and f"{dose['medication'].capitalize()}: {dose['calculation']}",
        departures=() if thought is None else tuple(_departure(departure) for departure in thought.departures),
        cards=tuple(_card(card) for card in told.advice.cards),
        held_back=() if thought is None else tuple(topic.code for topic in thought.plan.held_back),
    )


def _departure(departure: Departure) -> str:
    what = departure.what[:1].upper() + departure.what[1:]
    return f"{what}: drafted {departure.drafted}, expected {departure.expected}"


def _card(card: Mapping[str, Any]) -> Shown:
    return Shown(
        topic=card["source"]["topic"]["code"],
        indicator=card["indicator"],
        summary=card["summary"],
        detail=Markup(as_html(card["detail"])),  # noqa: S704  (as_html lets nothing through that could do anything)
        suggestions=tuple(suggestion["label"] for suggestion in card.get("suggestions", ())),
        source=card["source"]["label"],
    )


def _tables(knowledge: Knowledge) -> Iterator[tuple[str, Iterable[Criterion | Input]]]:
    yield "Forbids the medicine", knowledge.contraindications.criterion
    yield "Specialists first", knowledge.reviews.criterion
    yield "More monitoring", knowledge.modifiers.criterion
    yield "Must be known", knowledge.inputs.input


def _shown(rows: Iterable[Criterion | Input], pages: tuple[Page, ...]) -> Iterator[Rule]:
    for row in rows:
        when = (row.limit,) if isinstance(row, Input) else tuple(dict.fromkeys(test.says for test in row.test))
        in_pages = tuple(page for page in pages if row.id in {rule.id for rule in page.rules})
        yield Rule(row.id, row.says, row.kind, when, in_pages)
