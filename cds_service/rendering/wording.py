"""How we say it: the card files, read and proofread at start, so that no sentence has a hole when a nurse reads it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Annotated, Any, Final, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from cds_service.clinical.approval import MEDICINE
from cds_service.clinical.eligibility import Status
from cds_service.clinical.facts import Doubt
from cds_service.clinical.risk import Tier
from cds_service.clinical.stage import Stage
from cds_service.errors import KnowledgeUnfit
from cds_service.hooks.response import LONGEST_SUMMARY
from cds_service.knowledge.loader import Knowledge
from cds_service.knowledge.narrative import DOSE_WORDS, MEDICINES, SERVICE_WORDS
from cds_service.knowledge.shapes import Kind, Name, Reviewed, Row, Sure, Table, WordingTable, Words

_Table = TypeVar("_Table", bound=Table)

# The parts of a card, in the order of the card contract. A card file may leave parts out, and never changes the order.
PARTS: Final = (
    "why_now", "say", "by_hand", "departures", "data_used", "rules_from", "not_found", "meaning", "options", "dose",
    "start_checklist", "monitoring", "lactation", "harms", "evidence", "evidence_brief", "status", "not_checked",
    "footer",
)  # fmt: skip
# These may stand in whatever order reads best within a card: what must be seen first differs.
_FREE: Final = frozenset({"by_hand", "departures", "data_used", "say"})
_ALWAYS: Final = frozenset({"why_now", "say", "footer"})
# What the studies say for and against it stands on every card about the medicine, in full or in brief, but on the one
# that only speaks against it.
_EVIDENCE: Final = frozenset({"evidence", "evidence_brief"})
_ABOUT_THE_MEDICINE: Final = "KET"
_ONLY_AGAINST: Final = "KETCONTRA"

# What the code fills into each block, by name. A name that is not here is refused, and so is one that is missing.
BLOCKS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in {
        "why_patient_view": "", "why_encounter_start": "", "why_order_select": "", "why_order_sign": "",
        "why_encounter_discharge": "", "why_order_select_medicine": "medicine", "why_order_sign_medicine": "medicine",
        "data_heading": "", "data_row": "fact value when resource", "data_more": "number", "data_rule": "id kind says",
        "data_recorded": "", "data_not_shown": "", "rules_from": "list",
        "when_known": "date age", "when_old": "when", "when_none": "",
        "age_minutes": "number", "age_hours": "number", "age_days": "number", "age_day": "", "age_today": "",
        "age_future": "", "age_years": "number", "age_exact": "span",
        "span_minutes": "number", "span_hours": "number", "span_days": "number",
        "value_charted": "value charted", "value_upper_limit": "value limit", "value_at_least": "value",
        "value_range": "low high", "value_named": "name value", "value_missing": "",
        "not_found": "list", "not_known": "list", "not_found_item": "says doubt", "not_found_limit": "says doubt limit",
        "not_found_last": "says doubt limit last", "and_more": "number", "reason_and_more": "reason number",
        "set_aside": "number",
        "not_recognised": "number list", "not_recognised_item": "reference when", "route_not_understood": "",
        "tier_high": "version", "tier_elevated": "version", "tier_other": "version",
        "group": "says n country outcome", "no_group": "", "context": "list",
        "options_heading": "", "option": "number says", "already": "list", "by_hand": "", "by_hand_line": "says",
        "dose": "approval calculation weight_when strength", "dose_label": "label",
        "monitoring": "", "watch_line": "says", "pause": "says", "stop": "says", "release": "says",
        "start_heading": "", "start_line": "says", "start_confirm": "says", "start_confirm_not": "says",
        "lactation": "says", "harms": "says",
        "evidence_for": "", "evidence_against": "", "evidence_line": "says", "evidence_link": "says url",
        "evidence_brief": "pro con",
        "status": "says local", "local_protocol": "approval", "no_protocol": "", "not_checked": "list",
        "calculation": (
            "per_kg weight capped exact rounded dose strength drug_volume total_volume concentration rate duration"
        ),
        "calculation_capped": "cap", "calculation_rounded": "dose", "epds_not_known": "",
        **{f"doubt_{doubt.name.lower()}": "" for doubt in Doubt},
        **{f"kind_{kind}": "" for kind in get_args(Kind)},
        **{f"sure_{sure.replace(' ', '_')}": "" for sure in get_args(Sure)},
        "configuration_cfg01": "", "bereaved": "", "departures_heading": "", "departure_row": "what drafted expected",
        "footer": "version hash review call", "review_signed": "number on again", "review_unsigned": "on",
        "review_overdue": "again", "source_label": "site", "either_medicine": "",
    }.items()
}  # fmt: skip


# The same for the page behind a card, which says how the service thought.
EXPLANATION: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in {
        "heading": "service hook call", "nothing": "", "page_title": "", "page_note": "at",
        "title_where": "", "title_found": "", "title_risk": "", "title_rules": "", "title_not_recognised": "",
        "title_dose": "", "title_draft": "", "title_set_aside": "", "title_not_hers": "", "title_cards": "",
        "title_knowledge": "", "knowledge": "version hash", "where": "now stage",
        "order_drafted": "", "no_order_drafted": "", "disagree": "", "absent": "list", "unknown": "list", "on": "date",
        "tier": "tier", "safety": "", "never_low": "", "context": "list", "group": "says n country outcome",
        "status": "status", "rule": "id kind source says", "met_contraindication": "", "met_review": "",
        "met_monitor": "", "open": "id kind says doubts limit", "open_missing": "", "open_confirm": "",
        "not_met": "list", "configuration": "code says", "configuration_cfg01": "", "no_dose": "", "weight": "",
        "draft": "what drafted expected", "grave": "", "no_cards": "", "held_back": "list", "repeated": "list",
        **{f"stage_{stage.name.lower()}": "" for stage in Stage},
        **{f"tier_{tier.name.lower()}": "" for tier in Tier},
        **{f"status_{status.name.lower()}": "" for status in Status},
    }.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Promise:
    """What the code can say on a card: its variants, and the words for its summary and its first sentences."""

    variants: frozenset[str]
    words: frozenset[str]

    def said_by(self, variant: str) -> frozenset[str]:
        """The words of one variant. When the check broke down, no chart has filled any."""
        return self.words & _STANDING if variant == _FAILED else self.words


# What is filled in without a chart (rendering/standing.py).
_STANDING: Final = frozenset(
    {"medicine", "Medicine", "epds_from", "start_within", "limit", "day_first", "day_second", "contact_days"}
)
_FAILED: Final = "failed"


def _promise(variants: str, words: str) -> Promise:
    return Promise(frozenset(variants.split()), frozenset(words.split()) | {"medicine", "Medicine"})


PROMISED: Final[Mapping[str, Promise]] = {
    "PPDSAFETY": _promise("answer recorded assessed", "value when"),
    "KETCONTRA": _promise("ordered offered bereaved bereaved_ordered", "reason count ids"),
    "KETORDER": _promise("departs critical", "ordered what drafted expected count"),
    "KETREVIEW": _promise("ordered offered bereaved", "reason count ids"),
    "KETNOTIND": _promise("ordered", "epds when epds_from"),
    "KETDATA": _promise("ordered offered failed", "reason count ids"),
    "KETOPTION": _promise("before_birth after_birth ordered ordered_other", "ordered epds dose start_within"),
    "KETNOPROTO": _promise("ordered", "epds"),
    "PPDSCREEN": _promise("epds bipolar both discharge", "limit value when"),
    "PPDRISK": _promise("high elevated bereaved", "reason count"),
    "PPDFOLLOWUP": _promise("high elevated bereaved", "day_first day_second contact_days"),
}
# Orders that are no row of the order table: the medicine itself, correcting a draft, and taking it back.
UPDATE_DRAFT: Final = "update-draft"
DELETE_DRAFT: Final = "delete-draft"

# How long these words can get. Only they may stand in the last form of a summary, which must always fit.
_WIDTHS: Final[Mapping[str, int]] = {
    "medicine": 22, "Medicine": 22, "ordered": 22, "count": 3, "epds": 2, "epds_from": 2, "dose": 6, "start_within": 3,
    "value": 12, "limit": 30, "day_first": 3, "day_second": 3, "contact_days": 3,
}  # fmt: skip
# The facts that are written as one, with a stroke between them.
PRESSURE: Final = ("systolic", "diastolic")
_HTML: Final = re.compile(r"<[A-Za-z/!]|javascript:|&[a-z]+;", re.IGNORECASE)


class Variant(Row):
    """One way a card can begin. The summaries go from the longest to the shortest: the first that fits is shown."""

    summary: Annotated[tuple[str, ...], Field(min_length=1)]
    say: str


class SuggestionWording(Row):
    """
    A button and what it drafts, complete in itself: some EHRs show nothing but the description.

    `accompanies` names the order of the same card that this one belongs to: where that is offered, one button drafts
    both, and its label is that one's `accompanied`.
    """

    order: str
    label: Annotated[str, Field(min_length=2, max_length=100)]
    description: Annotated[str, Field(min_length=2, max_length=800)]
    variants: tuple[str, ...] = ()
    accompanies: str | None = None
    accompanied: Annotated[str, Field(min_length=2, max_length=100)] | None = None


class CardFile(Table):
    """One topic: wording only. Whether and when it is shown is decided elsewhere."""

    topic: str
    detail: str
    variant: dict[str, Variant]
    suggestion: tuple[SuggestionWording, ...] = ()


class Shown(Row):
    """
    A row of the table of data: its label, the facts that it joins, and the cards that have it.

    `names` are what each of several facts is called. Only the two of a blood pressure need none.
    """

    says: Words
    facts: Annotated[tuple[Name, ...], Field(min_length=1)]
    names: tuple[Words, ...] = ()
    topics: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_has_its_name(self) -> Shown:
        # "84/98/16" beside another row reads as a blood pressure.
        if len(self.names) != len(self.facts) and (self.names or (len(self.facts) > 1 and self.facts != PRESSURE)):
            raise ValueError(f"{self.says}: a name is needed for each of its facts")
        return self


class BlockFile(Table):
    """The parts that cards are built from, and the page behind them."""

    block: dict[str, str]
    explanation: dict[str, str]
    units: dict[str, str]
    resources: dict[str, str]
    values: dict[str, str]
    facts: dict[str, str]
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class CardFiles:
    """The files as they stand: the cards by the name of their file, and the parts that they are built from."""

    cards: Mapping[str, CardFile]
    blocks: BlockFile


class Phrase:
    """
    Words with holes, compiled once: filling a Template anew for each line took half of the time of a card.

    `fill(words)` gives the words with each $name filled in, and raises KeyError when one is missing.
    """

    __slots__ = ("fill", "names")

    names: frozenset[str]
    fill: Callable[[Mapping[str, object]], str]

    def __init__(self, text: str) -> None:
        self.names = frozenset(Template(text).get_identifiers())
        braced = text.replace("{", "{{").replace("}", "}}")
        self.fill = re.sub(r"\$([a-z_]+)", r"{\1}", braced, flags=re.IGNORECASE).format_map


@dataclass(frozen=True, slots=True)
class Button:
    """A suggestion of a card file, ready to be filled. `accompanied` is its label when it drafts others, too."""

    row: SuggestionWording
    label: Phrase
    description: Phrase
    accompanied: Phrase | None


@dataclass(frozen=True, slots=True)
class Card:
    """A card file, ready to be filled; the detail by its paragraphs, of which one with nothing to say is left out."""

    summaries: Mapping[str, tuple[Phrase, ...]]
    says: Mapping[str, Phrase]
    detail: tuple[Phrase, ...]
    buttons: tuple[Button, ...]


@dataclass(frozen=True, slots=True, eq=False)  # told apart by identity, so that what was prepared of it is found again
class Wording:
    """
    All words of all cards. `reviews_due` says of each file who read it, and when it must be read again.

    `units`, `resources` (FHIR types), `values` and `facts` are what a chart entry is told in: a word that is not there
    stays as it is. `notice` stands under each card of a translated set: who, if anybody, has reviewed the translation.
    `translation` is the name under which `reviews_due` says the same.
    """

    cards: Mapping[str, Card]
    blocks: Mapping[str, Phrase]
    explanation: Mapping[str, Phrase]
    units: Mapping[str, str]
    resources: Mapping[str, str]
    values: Mapping[str, str]
    facts: Mapping[str, str]
    shown: tuple[Shown, ...]
    reviews_due: Mapping[str, Reviewed]
    notice: str = ""
    translation: str = ""

    @property
    def translation_signed(self) -> bool:
        """Has anybody reviewed the translation? True of words that are none."""
        return not self.translation or bool(self.reviews_due[self.translation].by)


def load_wording(folder: Path | None = None, knowledge: Knowledge | None = None) -> Wording:
    """
    The card files, proofread. Raises KnowledgeUnfit naming each defect in a line.

    With `knowledge`, topics, orders and facts that the files name are held against the tables as well, and its words
    that no card may use are looked for.
    """
    wording, found = _read(folder, knowledge, None)
    if found or wording is None:
        raise KnowledgeUnfit(*found)
    return wording


def defects(
    folder: Path | None = None, knowledge: Knowledge | None = None, banned: WordingTable | None = None
) -> tuple[str, ...]:
    """
    Every defect of the card files, one line each; empty when they may be shown.

    `banned` are the words to look for where the rest of the knowledge cannot be had.
    """
    return _read(folder, knowledge, banned)[1]


def cards_folder() -> Path:
    """Beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "cards"
    return installed if installed.is_dir() else package.parent / "cards"


def _read(
    folder: Path | None, knowledge: Knowledge | None, banned: WordingTable | None
) -> tuple[Wording | None, tuple[str, ...]]:
    files, found = _files(folder or cards_folder(), knowledge)
    if files is None:
        return None, tuple(found)
    found += proofread(files, knowledge, knowledge.wording if knowledge is not None else banned)
    return (None, tuple(found)) if found else (prepared(files), ())


def read_files(folder: Path) -> CardFiles:
    """The card files as they stand, not proofread yet. Raises KnowledgeUnfit when one cannot be read."""
    files, found = _files(folder, None)
    if found or files is None:
        raise KnowledgeUnfit(*found)
    return files


def proofread(
    files: CardFiles, knowledge: Knowledge | None, banned: WordingTable | None, where: str = "cards", tables: str = ""
) -> Iterator[str]:
    """
    Every way in which readable files, and the tables whose words end up on cards, may still not be shown.

    `where` is the folder of the files; `tables` that of the tables' words, where these are translated.
    """
    never = _Banned.by(banned)
    yield from _block_defects(files.blocks, knowledge, never, f"{where}/blocks.toml")
    for name, card in files.cards.items():
        if card.topic in PROMISED:
            yield from (f"{where}/{name}: {line}" for line in _card_defects(card, knowledge, never))
    if knowledge is not None:
        yield from (f"{tables}{line}" for line in _table_defects(knowledge, never))


def too_wide(blocks: BlockFile, knowledge: Knowledge) -> Iterator[str]:
    """Words of a translation that are longer than a summary, which must always fit, allows for."""
    names = [("blocks.toml: either_medicine", blocks.block["either_medicine"])]
    names += ((f"tables/order_check.toml: {medicine}", knowledge.called(medicine)) for medicine in MEDICINES)
    yield from (
        f"{name}: more than {_WIDTHS['medicine']} characters" for name, text in names if len(text) > _WIDTHS["medicine"]
    )
    for row in knowledge.inputs.input:
        if "epds_current" in row.facts and len(row.limit) > _WIDTHS["limit"]:
            yield f"tables/inputs.toml: {row.id}: limit: more than {_WIDTHS['limit']} characters"


def prepared(files: CardFiles, notice: str = "", translation: tuple[str, Reviewed] | None = None) -> Wording:
    """Files without a defect, ready to be filled. `translation` says who reviewed it, and is named by its file."""
    named = {**files.cards, "blocks.toml": files.blocks}
    return Wording(
        cards={card.topic: _prepared(card) for card in files.cards.values()},
        blocks={name: Phrase(text) for name, text in files.blocks.block.items()},
        explanation={name: Phrase(text) for name, text in files.blocks.explanation.items()},
        units=files.blocks.units,
        resources=files.blocks.resources,
        values=files.blocks.values,
        facts=files.blocks.facts,
        shown=files.blocks.shown,
        reviews_due={
            **{f"cards/{name}": table.reviewed for name, table in named.items()},
            **dict([translation] if translation is not None else []),
        },
        notice=notice,
        translation=translation[0] if translation is not None else "",
    )


def _files(folder: Path, knowledge: Knowledge | None) -> tuple[CardFiles | None, list[str]]:
    found: list[str] = []
    blocks = _table(folder / "blocks.toml", BlockFile, found)
    files = {
        path.name: card
        for path in sorted(folder.glob("*.toml"))
        if path.name != "blocks.toml" and (card := _table(path, CardFile, found)) is not None
    }
    unread = any(":" in line and line.split(":")[0] not in files for line in found)
    found += _topic_defects(files, knowledge, complete=not unread)
    return (None if blocks is None else CardFiles(files, blocks)), found


def _table(path: Path, kind: type[_Table], found: list[str]) -> _Table | None:
    where = f"cards/{path.name}"
    try:
        return kind.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):
        found.append(f"{where}: cannot be read")
    except tomllib.TOMLDecodeError as error:
        found.append(f"{where}: not TOML: {error}")
    except ValidationError as error:
        found.extend(f"{where}: {'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
    return None


def _prepared(card: CardFile) -> Card:
    return Card(
        summaries={name: tuple(Phrase(text) for text in v.summary) for name, v in card.variant.items()},
        says={name: Phrase(v.say.strip()) for name, v in card.variant.items()},
        detail=tuple(Phrase(text) for text in re.split(r"\n{2,}", card.detail.strip())),
        buttons=tuple(
            Button(
                row, Phrase(row.label), Phrase(row.description), Phrase(row.accompanied) if row.accompanied else None
            )
            for row in card.suggestion
        ),
    )


# --- proofreading --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Banned:
    """The words that a sentence of a card may not use, and those that its first line may not use."""

    anywhere: tuple[str, ...]
    summary: tuple[str, ...]

    @classmethod
    def by(cls, table: WordingTable | None) -> _Banned:
        return cls((), ()) if table is None else cls(table.anywhere, (*table.anywhere, *table.summary))


def _topic_defects(files: Mapping[str, CardFile], knowledge: Knowledge | None, *, complete: bool) -> Iterator[str]:
    """Every topic has one card, and every card a topic."""
    named = [card.topic for card in files.values()]
    for name, card in files.items():
        if card.topic not in PROMISED:
            yield f"cards/{name}: no such topic: {card.topic}"
        elif named.count(card.topic) > 1:
            yield f"cards/{name}: topic {card.topic} has more than one card"
    if complete:
        yield from (f"cards: topic {topic} has no card" for topic in PROMISED if topic not in named)
    if knowledge is not None:
        listed = {row.code for row in knowledge.topics.topic}
        yield from (f"tables/topics.toml: {code}: no card can be written" for code in sorted(listed - set(PROMISED)))
        yield from (f"tables/topics.toml: {code} is missing" for code in sorted(set(PROMISED) - listed))


def _block_defects(file: BlockFile, knowledge: Knowledge | None, banned: _Banned, where: str) -> Iterator[str]:
    for texts, promised in ((file.block, BLOCKS), (file.explanation, EXPLANATION)):
        yield from (f"{where}: nobody uses the block {name}" for name in sorted(set(texts) - set(promised)))
        yield from (f"{where}: the block {name} is missing" for name in sorted(set(promised) - set(texts)))
        for name, text in texts.items():
            if name in promised:
                yield from (f"{where}: {name}: {line}" for line in _holes(text, promised[name]))
                missing = sorted(promised[name] - _named(text))
                yield from (f"{where}: {name}: it does not say: {word}" for word in missing)
            yield from (f"{where}: {name}: {line}" for line in _unfit_words(text, banned.anywhere))
    yield from _entry_word_defects(file, banned, where)
    for row in file.shown:
        yield from (f"{where}: {row.says}: no such topic: {topic}" for topic in row.topics if topic not in PROMISED)
        if knowledge is not None:
            yield from (f"{where}: {row.says}: no such fact: {f}" for f in row.facts if f not in knowledge.says)


def _entry_word_defects(file: BlockFile, banned: _Banned, where: str) -> Iterator[str]:
    """What chart entries are told in stands between the strokes of a table, and nothing is filled into it."""
    for table in (file.resources, file.values, file.facts):
        for name, text in table.items():
            yield from (f"{where}: {name}: {line}" for line in _holes(text, frozenset()))
            yield from (f"{where}: {name}: {line}" for line in _unfit_words(text, banned.anywhere))
            if not text or "|" in text:
                yield f"{where}: {name}: no word for a table"


def _card_defects(card: CardFile, knowledge: Knowledge | None, banned: _Banned) -> Iterator[str]:
    yield from _detail_defects(card)
    yield from _variant_defects(card, PROMISED[card.topic], banned)
    yield from _suggestion_defects(card, PROMISED[card.topic], knowledge, banned)


def _variant_defects(card: CardFile, promise: Promise, banned: _Banned) -> Iterator[str]:
    if set(card.variant) != promise.variants:
        yield f"the variants must be {', '.join(sorted(promise.variants))}, not {', '.join(sorted(card.variant))}"
    for name, variant in card.variant.items():
        words = promise.said_by(name)
        for text in variant.summary:
            yield from (f"{name}.summary: {line}" for line in _holes(text, words))
            yield from (f"{name}.summary: {line}" for line in _unfit_words(text, banned.summary))
        yield from (f"{name}.summary: {line}" for line in _too_long(variant.summary[-1]))
        yield from (f"{name}.say: {line}" for line in _holes(variant.say, words))
        yield from (f"{name}.say: {line}" for line in _unfit_words(variant.say, banned.anywhere))


def _suggestion_defects(
    card: CardFile, promise: Promise, knowledge: Knowledge | None, banned: _Banned
) -> Iterator[str]:
    for row in card.suggestion:
        words = DOSE_WORDS if row.order in {MEDICINE, UPDATE_DRAFT} else SERVICE_WORDS
        for text in (row.label, row.description, *filter(None, [row.accompanied])):
            yield from (f"suggestion {row.order}: {line}" for line in _holes(text, words))
            yield from (f"suggestion {row.order}: {line}" for line in _unfit_words(text, banned.anywhere))
        for name in row.variants:
            if name not in promise.variants:
                yield f"suggestion {row.order}: no such variant: {name}"
        if not _can_be_ordered(row.order, card.topic, knowledge):
            yield f"suggestion {row.order}: no such order"
    orders = [row.order for row in card.suggestion]
    for row in card.suggestion:
        if row.accompanies is not None and row.accompanies not in orders[: orders.index(row.order)]:
            yield f"suggestion {row.order}: no order before it to accompany: {row.accompanies}"
    for order in {row.accompanies for row in card.suggestion} - {None}:
        if any(row.order == order and row.accompanied is None for row in card.suggestion):
            yield f"suggestion {order}: it is accompanied, but has no label for that"
    if card.suggestion and "$by_hand" not in card.detail:
        yield "detail: by_hand is missing: some EHRs cannot take over what is suggested"
    yield from (f"suggestion {order} stands twice" for order in sorted(set(orders)) if orders.count(order) > 1)


def _can_be_ordered(order: str, topic: str, knowledge: Knowledge | None) -> bool:
    if order == MEDICINE:
        return topic == "KETOPTION"
    if order == DELETE_DRAFT:
        return topic == "KETCONTRA"
    if order == UPDATE_DRAFT:
        return topic == "KETORDER"
    return knowledge is None or any(row.id == order for row in knowledge.orders.service)


def _detail_defects(card: CardFile) -> Iterator[str]:
    """Known parts, each once, in the order of the contract, with why now, first words, both sides and footer."""
    detail = card.detail
    yield from (f"detail: {line}" for line in _holes(detail, frozenset(PARTS)))
    used = re.findall(r"\$([a-z_]+)", detail)
    yield from (f"detail: {part} stands twice" for part in sorted(set(used)) if used.count(part) > 1)
    yield from (f"detail: {part} is missing" for part in sorted(_ALWAYS - set(used)))
    about = card.topic.startswith(_ABOUT_THE_MEDICINE) and card.topic != _ONLY_AGAINST
    if about and not _EVIDENCE & set(used):
        yield "detail: the evidence for and against the medicine is missing"
    fixed = [part for part in used if part in PARTS and part not in _FREE]
    if fixed != sorted(fixed, key=PARTS.index):
        yield "detail: the parts are not in the order of the card contract"


def _table_defects(knowledge: Knowledge, banned: _Banned) -> Iterator[str]:
    """Words from the tables end up on cards, too: the reasons even in summaries."""
    for name, table in (("evidence", knowledge.evidence), ("orders", knowledge.orders), ("inputs", knowledge.inputs)):
        for text in _texts(table.model_dump(exclude={"reviewed"})):
            yield from (f"tables/{name}.toml: {line}: {text[:40]}" for line in _unfit_words(text, banned.anywhere))
    reasons = {
        "contraindications": knowledge.contraindications,
        "reviews": knowledge.reviews,
        "modifiers": knowledge.modifiers,
        "risk": knowledge.risk,
    }
    for name, rows in reasons.items():
        for text in _texts(rows.model_dump(exclude={"reviewed", "frequency", "safety"})):
            yield from (f"tables/{name}.toml: {line}: {text[:40]}" for line in _unfit_words(text, banned.summary))


# What a table calls its sentences: one word can be one, too.
_SPOKEN: Final = frozenset({"says", "brief", "adds", "start_check", "confirm_as", "limit", "text", "label"})


def _texts(value: Any, *, spoken: bool = False) -> Iterator[str]:
    """Every sentence inside a table; names and codes have no blank."""
    if isinstance(value, str):
        if spoken or " " in value:
            yield value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            if key != "sources":
                yield from _texts(member, spoken=key in _SPOKEN)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _texts(member, spoken=spoken)


def _holes(text: str, promised: frozenset[str]) -> Iterator[str]:
    """Placeholders that nobody fills."""
    template = Template(text)
    if not template.is_valid() or re.search(r"\$[${]", text):
        yield "a $ that starts no plain name"
        return
    if strangers := set(template.get_identifiers()) - promised:
        yield f"nobody says: {', '.join(sorted(strangers))}"


def _named(text: str) -> set[str]:
    return set(Template(text).get_identifiers())


def _unfit_words(text: str, banned: Iterable[str]) -> Iterator[str]:
    for word in banned:
        if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE):
            yield f'the words "{word}" are not to be used'
    if _HTML.search(text):
        yield "HTML does not belong on a card"


def _too_long(summary: str) -> Iterator[str]:
    """The last form of a summary must fit, whatever fills it."""
    template = Template(summary)
    if not template.is_valid():
        return
    names = template.get_identifiers()
    if boundless := sorted(set(names) - set(_WIDTHS)):
        yield f"the last form must always fit, but these can be of any length: {', '.join(boundless)}"
        return
    longest = len(template.safe_substitute({name: "x" * _WIDTHS[name] for name in names}))
    if longest > LONGEST_SUMMARY:
        yield f"the last form can reach {longest} characters, {LONGEST_SUMMARY} fit"
