"""
In which language a card speaks.

Everything is written in English first. A language is a folder beside the English cards, such as `cards/es`: it holds
each English sentence of the card files and of the tables, and beside it the same in the other language. Only words are
taken from there. What is decided, counted, coded, computed or ordered comes from the tables, in every language.

A sentence is named by its place in the English file, by ids where there are any. It keeps its English words next to
it, so that a reviewer reads both, and so that a translation whose English was changed since is found and refused.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.knowledge import narrative, shapes
from cds_service.knowledge.loader import Knowledge
from cds_service.knowledge.shapes import Row, Table, Words
from cds_service.rendering import wording
from cds_service.rendering.wording import CardFiles, Phrase, Wording, cards_folder, load_wording, read_files
from cds_service.settings import DEFAULT_LANGUAGE

_Part = TypeVar("_Part")
Place = tuple[str, ...]
Said = str | tuple[str, ...]

# What of each row is said to people. Whatever else stands in a row is a code, a number, a name, or a word that is
# looked for in a chart: a translation cannot touch it. But for the words that are looked for in the text of an order:
# what we draft in this language, we must be able to read again. There it adds to the English words.
HEARD: Final = ("bolus", "repeated", "once", "negations", "per", "diluted_to", "over")
SAID: Final[Mapping[type[Row], tuple[str, ...]]] = {
    shapes.BannedWords: ("words",),
    shapes.ConditionFact: ("says",),
    shapes.Criterion: ("says", "start_check", "adds"),
    shapes.DerivedFact: ("says",),
    shapes.DepartureWords: ("what", "drafted", "expected"),
    shapes.GroupFrequency: ("says", "n", "country", "outcome"),
    shapes.Input: ("says", "limit", "confirm_as"),
    shapes.MedicineFact: ("says",),
    shapes.ObservationFact: ("says",),
    shapes.OrderCheckWords: (
        "route", "not_stated", "not_readable", "not_clear", "no_weight", "no_dose", "medicine", *HEARD,
    ),
    shapes.Protocol: ("evidence_label",),
    shapes.Source: ("title",),
    shapes.Test: ("says",),
    shapes.TopicRow: ("says",),
    shapes.TopicTable: ("override_reason", "reason_words"),
    narrative.CheckLine: ("says",),
    narrative.Harm: ("says",),
    narrative.Lactation: ("says",),
    narrative.Line: ("says",),
    narrative.MedicationOrder: ("medicine_text", "dosage_text", "reason_text", "notes"),
    narrative.Option: ("says",),
    narrative.OrderTable: ("before_start", "the_medicine", "no_approval"),
    narrative.ServiceOrder: ("text", "timing", "note"),
    narrative.Statement: ("says", "brief"),
    narrative.StatusLine: ("says",),
    narrative.Watch: ("says",),
    wording.BlockFile: ("block", "explanation", "units", "resources", "values", "facts"),
    wording.Shown: ("says", "names"),
    wording.SuggestionWording: ("label", "description", "accompanied"),
    wording.Variant: ("summary", "say"),
}  # fmt: skip
# The tables whose words reach a clinician; those of the facts stand on the page behind a card.
FACTS: Final = ("conditions", "observations", "medicines", "derived")
TABLES: Final = (
    "contraindications", "reviews", "modifiers", "inputs", "risk", "evidence", "orders", "order_check", "protocols",
    "topics", "wording", *FACTS,
)  # fmt: skip
_ABOUT: Final = "language.toml"
_LABELS: Final = ("id", "fact", "code", "order")

# --- what a translation must leave as it is
_GROUPED: Final = re.compile(r"(?<=\d)[,\u202f\u00a0 ](?=\d{3}(?!\d))")
_NUMBER: Final = re.compile(r"(?:(?<=[\s(])[-+−])?\d+(?:\.\d+)?")
_UNIT: Final = re.compile(r"(?<![^\W\d])(?:mg/kg|mg/mL|mL/h|mmHg|mg|mL|kg|min|h|lb|cm|g|U/L)(?![\w/])")
_NAME: Final = re.compile(r"EPDS|PHQ-9|GAD-7|SpO2|MOAA/S|ASA\b|HELLP|ChiCTR\d+|NCT\d+|CFG\d\d")
_MARKUP: Final = re.compile(r"\*\*|\n|\||%|<|×|÷|=|☐|⚠|\]\(|---")
_HOLE: Final = re.compile(r"\$[a-zA-Z_]+")
_LONG_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_SENTENCE: Final = 3  # so many words can hardly be the same in two languages


class About(Table):
    """
    Who has reviewed the translation.

    `unreviewed` or `signed` stands under each card: nobody is to take a translation for reviewed that is not.
    """

    unreviewed: Words
    signed: Words


@dataclass(frozen=True, slots=True)
class _Pair:
    """A sentence in English, and in the other language."""

    english: Said
    other: Said


# --- what a site speaks ---------------------------------------------------------------------------


def in_language(language: str, knowledge: Knowledge, folder: Path | None = None) -> tuple[Knowledge, Wording]:
    """
    The tables and the cards in the words of a language. `folder` is that of the English cards.

    Raises SiteUnfit when there is no such language, KnowledgeUnfit naming each defect of its translation in a line.
    """
    if language == DEFAULT_LANGUAGE:
        return knowledge, load_wording(folder, knowledge)
    translation = _read(language, knowledge, folder)
    if translation.spoken is None:
        raise KnowledgeUnfit(*translation.defects)
    return translation.spoken


def languages(folder: Path | None = None) -> tuple[str, ...]:
    """English, and each language that there is a folder of."""
    return (DEFAULT_LANGUAGE, *sorted(path.parent.name for path in (folder or cards_folder()).glob(f"*/{_ABOUT}")))


def defects(language: str, knowledge: Knowledge, folder: Path | None = None) -> tuple[str, ...]:
    """
    Every defect of a translation, one line each; empty when it may be shown. The English cards must have none.

    Raises SiteUnfit when there is no such language.
    """
    return _read(language, knowledge, folder).defects


def sentences(knowledge: Knowledge, files: CardFiles) -> Mapping[str, Mapping[Place, Said]]:
    """Every sentence that can be read by a clinician, by file and by its place in that file."""
    return {name: _said_in(part) for name, part in _parts(knowledge, files).items()}


def _read(language: str, knowledge: Knowledge, folder: Path | None) -> _Translation:
    if language not in (there := languages(folder)):
        raise SiteUnfit(f"language: no such language: {language}; there are {', '.join(there)}")
    return _Translation(language, knowledge, folder or cards_folder())


class _Translation:
    """One language, read and held against the English that it was made from."""

    def __init__(self, language: str, knowledge: Knowledge, folder: Path) -> None:
        self._language, self._where, self._folder = language, f"cards/{language}", folder / language
        self._digest = hashlib.sha256()
        self._ruled: dict[Said, Said] = {}
        found: list[str] = []
        about = self._about(found)
        parts = _parts(knowledge, files := read_files(folder))
        translated = {name: self._translated(name, part, found) for name, part in parts.items()}
        found += self._strangers(parts)
        self.spoken: tuple[Knowledge, Wording] | None = None
        if not found and about is not None:
            self.spoken = self._spoken(about, knowledge, files, translated, found)
        self.defects = tuple(found)

    def _about(self, found: list[str]) -> About | None:
        table = self._table(self._folder / _ABOUT, found)
        try:
            about = About.model_validate(table)
        except ValidationError as error:
            found += (f"{self._where}/{_ABOUT}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return None
        for name, text, holes in (("unreviewed", about.unreviewed, _UNSIGNED), ("signed", about.signed, _SIGNED)):
            if Phrase(text).names != holes:
                found.append(
                    f"{self._where}/{_ABOUT}: {name}: it must say {', '.join(sorted(holes))}, and nothing else"
                )
        return about

    def _table(self, path: Path, found: list[str]) -> dict[str, Any]:
        where = f"{self._where}/{path.relative_to(self._folder).as_posix()}"
        try:
            content = path.read_bytes()
            self._digest.update(where.encode() + b"\0" + content)
            return tomllib.loads(content.decode("utf-8"))
        except OSError:
            found.append(f"{where}: cannot be read")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            found.append(f"{where}: not TOML: {error}")
        return {}

    def _translated(self, name: str, part: _Part, found: list[str]) -> _Part:
        """The part with the words of this language; as it is when there is any defect in them."""
        where, before = f"{self._where}/{name}.toml", len(found)
        table = self._table(self._folder / f"{name}.toml", found)
        if len(found) > before:
            return part
        pairs = dict(_pairs(table, self._language))
        english = _said_in(part)
        found += (f"{where}: {_path(place)}: nobody says this" for place in pairs if place not in english)
        for place, said in english.items():
            if (pair := pairs.get(place)) is None:
                found.append(f"{where}: {_path(place)}: missing")
            else:
                found += (f"{where}: {_path(place)}: {line}" for line in _pair_defects(pair, said))
        found += (f"{where}: {line}" for line in _merged(pairs))
        if name in _RULES:
            found += (f"{where}: {line}" for line in self._split(pairs))
        if len(found) > before:
            return part
        try:
            return _spoken(part, (), lambda place, said: _heard(place, said, pairs[place].other))
        except ValidationError as error:
            found += (f"{where}: {e['msg']}" for e in error.errors())
            return part

    def _split(self, pairs: Mapping[Place, _Pair]) -> Iterator[str]:
        """One sentence of the rules said in two ways: a checklist, which says each line once, would say it twice."""
        for place, pair in pairs.items():
            if self._ruled.setdefault(pair.english, pair.other) != pair.other:
                yield f"{_path(place)}: said in other words elsewhere: {self._ruled[pair.english]}"

    def _strangers(self, parts: Mapping[str, object]) -> Iterator[str]:
        for path in sorted(self._folder.rglob("*.toml")):
            name = path.relative_to(self._folder).as_posix()
            if name != _ABOUT and name.removesuffix(".toml") not in parts:
                yield f"{self._where}/{name}: nobody reads this file"

    def _spoken(
        self, about: About, knowledge: Knowledge, files: CardFiles, parts: Mapping[str, Any], found: list[str]
    ) -> tuple[Knowledge, Wording] | None:
        """All of it together, proofread as the English is, and against the words that this language may not use."""
        digest = self._digest.hexdigest()[:12]
        spoken = replace(
            knowledge,
            translation=f"{self._language} {digest}",
            original=knowledge,
            says={row.fact: row.says for name in FACTS for row in parts[f"tables/{name}"].row},
            sources={**knowledge.sources, **parts[_SOURCES]},
            **{name: parts[f"tables/{name}"] for name in TABLES},
        )
        cards = {name: parts[Path(name).stem] for name in files.cards}
        said = CardFiles(cards, parts["blocks"])
        found += wording.proofread(said, spoken, spoken.wording, self._where, f"{self._where}/")
        found += (f"{self._where}/{line}" for line in wording.too_wide(said.blocks, spoken))
        if found:
            return None
        reviewed = about.reviewed
        notice = Phrase(about.signed if reviewed.by else about.unreviewed).fill(
            {"hash": digest, "number": len(reviewed.by), "on": reviewed.on, "again": reviewed.again}
        )
        made = wording.prepared(said, notice, (f"{self._where}/{_ABOUT}", reviewed))
        return spoken, made


_SOURCES: Final = "tables/sources"
_RULES: Final = frozenset({"tables/contraindications", "tables/reviews", "tables/inputs", "tables/orders"})
_UNSIGNED: Final = frozenset({"hash"})
_SIGNED: Final = frozenset({"hash", "number", "on", "again"})


# --- where words stand ----------------------------------------------------------------------------


def _parts(knowledge: Knowledge, files: CardFiles) -> dict[str, Any]:
    """Whatever has words in it, by the name of its file. A card names only the first source of a contraindication."""
    named = sorted({row.sources[0] for row in knowledge.contraindications.criterion})
    return {
        **{Path(name).stem: card for name, card in files.cards.items()},
        "blocks": files.blocks,
        **{f"tables/{name}": getattr(knowledge, name) for name in TABLES},
        _SOURCES: {id_: knowledge.sources[id_] for id_ in named},
    }


def _said_in(part: object) -> dict[Place, Said]:
    found: dict[Place, Said] = {}

    def noted(place: Place, said: Said) -> Said:
        found[place] = said
        return said

    _spoken(part, (), noted)
    return found


def _spoken(value: _Part, place: Place, say: Callable[[Place, Said], Said]) -> _Part:
    """The same value, with every sentence in it as `say` has it. Where nothing changes, it is the very same object."""
    if isinstance(value, Row):
        said = SAID.get(type(value), ())
        fields = dict(value)
        spoken = {
            name: (_words if name in said else _spoken)(field, (*place, name), say) for name, field in fields.items()
        }
        changed = any(spoken[name] is not field for name, field in fields.items())
        return type(value)(**spoken) if changed else value
    if isinstance(value, dict):
        members = {name: _spoken(member, (*place, name), say) for name, member in value.items()}
        return cast("_Part", members) if any(members[name] is not value[name] for name in value) else value
    if isinstance(value, tuple) and value and isinstance(value[0], Row):
        listed = tuple(
            _spoken(member, (*place, label), say) for label, member in zip(_labels(value), value, strict=True)
        )
        return cast("_Part", listed) if any(new is not old for new, old in zip(listed, value, strict=True)) else value
    return value


def _words(value: Any, place: Place, say: Callable[[Place, Said], Said]) -> Any:
    """A sentence, a list of sentences that belong together, or sentences by name. What is empty stays empty."""
    if isinstance(value, dict):
        return {name: _words(text, (*place, name), say) for name, text in value.items()}
    return say(place, value) if value else value


def _heard(place: Place, english: Said, other: Said) -> Said:
    """What is said instead of the English; what is listened for, beside it."""
    if place[-1] in HEARD and isinstance(english, tuple):
        return (*english, *(word for word in other if word not in english))
    return other


def _labels(rows: tuple[Row, ...]) -> Iterator[str]:
    """What each row of a list is called: its id, or its number. A name that stands twice is numbered, too."""
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        label = next((str(getattr(row, name)) for name in _LABELS if getattr(row, name, None)), str(number))
        seen[label] += 1
        yield label if seen[label] == 1 else f"{label}-{seen[label]}"


def _pairs(table: Mapping[str, Any], language: str, place: Place = ()) -> Iterator[tuple[Place, _Pair]]:
    for name, member in table.items():
        if isinstance(member, dict) and isinstance(member.get(DEFAULT_LANGUAGE), str | list):
            other = member.get(language, "")
            yield (*place, name), _Pair(_said(member[DEFAULT_LANGUAGE]), _said(other))
        elif isinstance(member, dict):
            yield from _pairs(member, language, (*place, name))
        else:
            yield (*place, name), _Pair("", "")


def _said(value: Any) -> Said:
    return tuple(map(str, value)) if isinstance(value, list) else str(value)


def _path(place: Place) -> str:
    return ".".join(place)


# --- does it say the same? ------------------------------------------------------------------------


def _pair_defects(pair: _Pair, english: Said) -> Iterator[str]:
    if pair.english != english:
        yield "the English words have changed since this was translated, or are not theirs"
        return
    ours, theirs = _forms(english), _forms(pair.other)
    if isinstance(english, str) != isinstance(pair.other, str):
        yield "a list stands beside a sentence"
    elif not theirs or not all(text.strip() for text in theirs):
        yield "not translated"
    elif len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from _differences(one, other)
    elif not any(map(_HOLE.search, ours)):
        return  # words to look for: another language may need more of them, or fewer
    else:
        yield f"{len(theirs)} forms instead of {len(ours)}"


def _forms(said: Said) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said


def _differences(english: str, other: str) -> Iterator[str]:
    """What both must have alike, however differently they say it."""
    for what, alike in _ALIKE.items():
        ours, theirs = alike(english), alike(other)
        if lost := ours - theirs:
            yield f"{what} of the English is missing: {_shown(lost)}"
        if added := theirs - ours:
            yield f"{what} is not in the English: {_shown(added)}"
    bare = _HOLE.sub("", english)
    if english == other and len(_LONG_WORD.findall(bare)) >= _SENTENCE:
        yield "still in English"


def _shown(counted: Counter[str]) -> str:
    return ", ".join(repr(token).strip("'") for token in sorted(counted.elements()))


def _numbers(text: str) -> Counter[str]:
    return Counter(_NUMBER.findall(_GROUPED.sub("", _HOLE.sub("", text))))


_ALIKE: Final[Mapping[str, Callable[[str], Counter[str]]]] = {
    "a placeholder": lambda text: Counter({name.lower() for name in Template(text).get_identifiers()}),
    "a number": _numbers,
    "a unit": lambda text: Counter(_UNIT.findall(_HOLE.sub("", text))),
    "a name": lambda text: Counter(set(_NAME.findall(text))),
    "a sign": lambda text: Counter(_MARKUP.findall(text)),
}


def _merged(pairs: Mapping[Place, _Pair]) -> Iterator[str]:
    """Two English sentences that became one: a meaning is lost, and lists that are told apart by their words shrink."""
    heard: dict[Said, Said] = {}
    for place, pair in pairs.items():
        first = heard.setdefault(pair.other, pair.english)
        if first != pair.english and pair.other:
            yield f"{_path(place)}: the same words as for: {first}"
