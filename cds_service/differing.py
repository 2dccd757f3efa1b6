"""What has changed from one knowledge to another, in a reviewer's words, and which of it makes a rule less strict."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from cds_service.errors import KnowledgeUnfit
from cds_service.knowledge.loader import read_files

LOOSENS: Final = "loosens"
_MANY: Final = 60  # characters
Rows = Mapping[str, Any]

# Numbers of which a larger one lets more through, and of which a smaller one does: by table and key.
_LARGER_LOOSENS: Final = frozenset({
    ("inputs", "before_minutes"), ("inputs", "after_minutes"),
    ("protocols", "ceiling_mg"), ("protocols", "dose_mg_per_kg"), ("protocols", "weight_cap_kg"),
    ("protocols", "rate_ml_per_h"), ("protocols", "start_within_min"), ("protocols", "valid_hours"),
    ("order_check", "dose_tolerance_percent"), ("order_check", "longest_min"), ("order_check", "most_repeats"),
    ("order_check", "mg"), ("order_check", "mg_per_kg"),
    ("times", "after_birth_days"), ("times", "weight_conflict_percent"), ("screens", "current_hours"),
})  # fmt: skip
_SMALLER_LOOSENS: Final = frozenset({
    ("medicines", "within_hours"), ("observations", "window_hours"), ("conditions", "resolved_days"),
    ("protocols", "duration_min"), ("protocols", "round_down_to_mg"), ("order_check", "shortest_min"),
    ("times", "weight_conflict_days"), ("screens", "tier_days"), ("screens", "safety_days"), ("screens", "other_days"),
    ("evidence", "studied_from_epds"),
})  # fmt: skip
# What gets weaker from left to right.
_WEAKER: Final[Mapping[tuple[str, str], tuple[object, ...]]] = {
    ("inputs", "before_birth"): ("block", "confirm", "not needed"),
    ("inputs", "after_birth"): ("block", "confirm", "not needed"),
    ("inputs", "may_be_absent"): (False, True),
    ("medicines", "active"): (True, False),
    ("medicines", "ended"): (True, False),
    ("medicines", "prn_only"): (False, True),
    ("medicines", "this_encounter"): (False, True),
    ("conditions", "severe_only"): (False, True),
    ("evidence", "side"): ("against", "for"),
    ("observations", "take"): ("highest", "latest"),
    ("observations", "if_none"): ("unknown", "absent"),
}
# Rows and words that protect, so that one which is gone lets more through; and those of which a new one does.
_GONE_LOOSENS: Final = frozenset({
    "contraindications.criterion", "reviews.criterion", "modifiers.criterion", "inputs.input", "inputs.input.facts",
    "contraindications.criterion.test.inputs", "reviews.criterion.test.inputs", "modifiers.criterion.test.inputs",
        "expansions.expansion", "expansions.expansion.codes",
        "contraindications.criterion.test", "reviews.criterion.test", "modifiers.criterion.test",
    "risk.safety", "risk.high", "risk.elevated", "risk.not_indicated",
    "conditions.row", "medicines.row", "observations.row", "screens.instrument",
    "conditions.row.concepts", "medicines.row.concepts", "observations.row.concepts", "conditions.severity_words",
    "protocols.protocol.not_marketed_in", "order_check.words.bolus", "order_check.words.repeated",
    "order_check.absolute",
    "topics.topic", "topics.topic.hooks", "wording.banned", "wording.banned.words", "do_not_use.forbidden",
    "orders.start_check", "orders.watch", "evidence.harm", "evidence.not_checked",
})  # fmt: skip
_NEW_LOOSENS: Final = frozenset({
    "risk.reassuring", "protocols.protocol", "conditions.row.unless", "medicines.row.unless", "conditions.negations",
    "conditions.past_words", "order_check.words.negations", "order_check.words.once",
})  # fmt: skip
# Words of which any other lets more through: what counts ever, by any route, for any reason.
_WIDEST: Final[Mapping[tuple[str, str], tuple[object, ...]]] = {
    ("conditions", "counts"): ("ever",),
    ("medicines", "route"): (None, "any"),
    ("medicines", "form"): (None, "any"),
    ("medicines", "for_prevention"): (None,),
}
_SYSTEMS: Final = {
    "loinc": "LOINC", "snomed": "SNOMED CT", "icd10cm": "ICD-10-CM", "icd10cm_below": "ICD-10-CM, and all beneath",
    "poisoning_below": "ICD-10-CM poisoning, and all beneath", "injury_below": "ICD-10-CM injury, and all beneath",
    "icd10pcs": "ICD-10-PCS", "rxnorm": "RxNorm", "atc": "ATC", "atc_below": "ATC, and all beneath", "hl7": "HL7",
}  # fmt: skip
_NAMED_BY: Final = ("id", "name", "fact", "code", "oid", "ucum", "topic", "order", "medicine", "concepts", "words")
_SAID_OF: Final = {
    "at_least": "present from", "above": "present above", "below": "present below",
    "mg": "absolute limit", "mg_per_kg": "absolute limit per kg", "before_minutes": "before birth",
    "after_minutes": "after birth", "before_birth": "before birth", "after_birth": "after birth",
    "ceiling_mg": "ceiling", "dose_mg_per_kg": "dose", "weight_cap_kg": "weight cap", "window_hours": "read for",
    "within_hours": "counts for", "resolved_days": "counts once resolved for", "says": "says", "counts": "counts",
    "sources": "sources", "kind": "kind of rule",
}  # fmt: skip
_UNITS: Final = (
    ("_mg_per_kg", "mg/kg"), ("_mg_per_ml", "mg/mL"), ("_ml_per_h", "mL/h"), ("_minutes", "min"), ("_min", "min"),
    ("_hours", "h"), ("_days", "days"), ("_percent", "%"), ("_mg", "mg"), ("_kg", "kg"), ("_ml", "mL"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was: in which file, in words, and whether it makes a rule less strict."""

    file: str
    says: str
    loosens: bool = False

    @property
    def line(self) -> str:
        return f"{self.says}  [{LOOSENS}]" if self.loosens else self.says


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes, by file, and the hashes of the two."""

    changes: tuple[Change, ...]
    old: str
    new: str

    @property
    def lines(self) -> Iterator[str]:
        """Nothing at all when nothing has changed, as `diff` does it."""
        if not self.changes and self.old == self.new:
            return
        for file, changes in groupby(self.changes, key=lambda change: change.file):
            yield file
            yield from (f"  {change.line}" for change in changes)
        yield f"hash {self.old} -> {self.new}"
        if not self.changes:
            yield "no change but in comments and layout"
            return
        count, loose = len(self.changes), sum(change.loosens for change in self.changes)
        told = f"{count} change{'s' * (count != 1)}"
        yield f"{told}, {loose} of which {'loosens' if loose == 1 else 'loosen'}" if loose else f"{told}, none loosens"


def difference(old: Path, new: Path, cards: tuple[Path, Path] | None = None) -> Difference:
    """
    What differs between two knowledge folders, and between two folders of cards.

    The files are read as they stand, so that a folder of an earlier or later release can be compared, too. Raises
    KnowledgeUnfit when one cannot be read.
    """
    (before, old_hash), (after, new_hash) = _tables(old), _tables(new)
    context = _Context.of(before, after)
    changes = [
        change
        for name in sorted({*before, *after})
        for change in _file(name, before.get(name, {}), after.get(name, {}), context)
    ]
    if cards is not None:
        before, after = _cards(cards[0]), _cards(cards[1])
        for name in sorted({*before, *after}):
            changes += _file(name, before.get(name, {}), after.get(name, {}), context)
    return Difference(tuple(changes), old_hash, new_hash)


def _tables(folder: Path) -> tuple[Rows, str]:
    raw, hash_, defects = read_files(folder)
    if defects:
        raise KnowledgeUnfit(*(f"{folder}: {line}" for line in defects))
    if not raw:
        raise KnowledgeUnfit(f"{folder}: no knowledge is here: no tables/ and no value_sets/")
    return raw, hash_


def _cards(folder: Path) -> Rows:
    try:
        read = {f"cards/{path.stem}": tomllib.loads(path.read_text("utf-8")) for path in folder.glob("*.toml")}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KnowledgeUnfit(f"{folder}: a card is not TOML: {error}") from error
    if not read:
        raise KnowledgeUnfit(f"{folder}: no cards are here")
    return read


@dataclass(frozen=True, slots=True)
class _Context:
    """What a code is for: the ideas that a fact is read from, and those that take something away from another."""

    read: frozenset[str]
    taken_away: frozenset[str]

    @classmethod
    def of(cls, *folders: Rows) -> _Context:
        facts: list[Rows] = []
        concepts: list[Rows] = []
        for folder in folders:
            for name, table in folder.items():
                facts += table.get("row", []) if name.startswith("tables/") else []
                concepts += table.get("concept", []) if name.startswith("value_sets/") else []
            concepts_of_allergies = folder.get("value_sets/allergies", {}).get("concept", [])
            facts.append({"concepts": [concept["name"] for concept in concepts_of_allergies]})
        taken = {name for row in facts for name in row.get("unless", ())}
        taken |= {name for concept in concepts for name in concept.get("without", ())}
        return cls(frozenset(name for row in facts for name in row.get("concepts", ())), frozenset(taken))


def _file(name: str, old: Rows, new: Rows, context: _Context) -> Iterator[Change]:
    table = name.partition("/")[2]
    if not old or not new:
        yield Change(name, "the file is new" if new else "the file is gone", loosens=not new)
        return
    differ = _Differ(name, table, context)
    if name == "tables/sources":
        yield from differ.sources(old, new)
    else:
        yield from differ.rows((), "", old, new)


@dataclass(frozen=True, slots=True)
class _Differ:
    """Compares one file. A path names where in the file something stands, a label whom a reviewer knows it by."""

    file: str
    table: str
    context: _Context

    def change(self, label: str, says: str, *, loosens: bool = False) -> Change:
        return Change(self.file, f"{label}: {says}" if label else says, loosens)

    def sources(self, old: Rows, new: Rows) -> Iterator[Change]:
        for id_ in sorted({*old, *new} - {"reviewed"}):
            if id_ not in old:
                yield self.change("", f"source {id_} added ({new[id_].get('title', '')})")
            elif id_ not in new:
                yield self.change("", f"source {id_} removed ({old[id_].get('title', '')})")
            else:
                yield from self.rows((id_,), f"source {id_}", old[id_], new[id_])
        yield from self.rows(("reviewed",), "reviewed", old.get("reviewed", {}), new.get("reviewed", {}))

    def rows(self, path: tuple[str, ...], label: str, old: Rows, new: Rows) -> Iterator[Change]:
        """Two versions of one row, key by key."""
        for key in dict.fromkeys([*old, *new]):
            was, is_ = old.get(key), new.get(key)
            if was == is_:
                continue
            here = (*path, key)
            if key in _SYSTEMS and self.file.startswith("value_sets/"):
                yield from self.codes(label, key, was or {}, is_ or {})
            elif _are_rows(was) or _are_rows(is_):
                yield from self.members(here, label, was or [], is_ or [])
            elif isinstance(was, dict) or isinstance(is_, dict):
                inner = f"{label}, {key}" if label else key
                yield from self.rows(here, inner, was or {}, is_ or {})
            elif isinstance(was, list) or isinstance(is_, list):
                yield from self.words(here, label, was or [], is_ or [])
            else:
                yield self.value(here, label, was, is_, _unit(key, new, old))

    def members(self, path: tuple[str, ...], label: str, old: list[Rows], new: list[Rows]) -> Iterator[Change]:
        """Rows of a list, each found again by its name: those that are new, that are gone, and that differ."""
        place = ".".join((self.table, *path))
        for was, is_ in _matched(old, new):
            row = is_ or was or {}
            called = _called(self.file, path[-1], row)
            whole = f"{label}, {called}" if label else called
            if is_ is None:
                against = place == "evidence.statement" and row.get("side") == "against"
                yield self.change(whole, "removed", loosens=place in _GONE_LOOSENS or against or self.protects(row))
            elif was is None:
                yield self.change(whole, "added", loosens=place in _NEW_LOOSENS)
            else:
                yield from self.rows(path, whole, was, is_)

    def protects(self, row: Rows) -> bool:
        return self.file.startswith("value_sets/") and row.get("name") in self.context.read

    def codes(self, label: str, system: str, old: Rows, new: Rows) -> Iterator[Change]:
        name = label.rpartition(" ")[2]
        for code in dict.fromkeys([*old, *new]):
            if code not in new:
                says = f"code {code} removed ({_SYSTEMS[system]}, {old[code]})"
                yield self.change(label, says, loosens=name in self.context.read)
            elif code not in old:
                says = f"code {code} added ({_SYSTEMS[system]}, {new[code]})"
                yield self.change(label, says, loosens=name in self.context.taken_away)
            elif old[code] != new[code]:
                yield self.change(label, f"code {code} is called {_text(new[code])}; was {_text(old[code])}")

    def words(self, path: tuple[str, ...], label: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
        """A list of words or numbers: what is gone and what is new. If only the order differs, that."""
        place, key = ".".join((self.table, *path)), path[-1].replace("_", " ")
        gone = [member for member in old if member not in new]
        more = [member for member in new if member not in old]
        idea = label.rpartition(" ")[2] if self.file.startswith("value_sets/") else ""
        codes = path[-1] in ("words", "expansions")
        if path[-1] == "weight_believable_kg" and len(old) == len(new) == 2:
            wider = _number(new[0]) < _number(old[0]) or _number(new[1]) > _number(old[1])
            yield self.change(
                label, f"weight is believed from {new[0]} to {new[1]} kg; was {old[0]} to {old[1]} kg", loosens=wider
            )
            return
        for member in gone:
            loosens = place in _GONE_LOOSENS or (codes and idea in self.context.read)
            yield self.change(label, f"{key}: {_text(member)} removed", loosens=loosens)
        for member in more:
            hides = (codes and idea in self.context.taken_away) or (path[-1] in ("doubtful", "without") and bool(idea))
            yield self.change(label, f"{key}: {_text(member)} added", loosens=place in _NEW_LOOSENS or hides)
        if not gone and not more:
            yield self.change(label, f"{key}: in another order")

    def value(self, path: tuple[str, ...], label: str, was: Any, is_: Any, unit: str) -> Change:
        key = path[-1]
        loosens = self.is_looser(path, was, is_)
        said = _SAID_OF.get(key, key.replace("_", " "))
        joint = " " if key in ("at_least", "above", "below", "ceiling_mg", "dose_mg_per_kg", "weight_cap_kg") else ": "
        before = f"was {_text(was, unit)}" if was is not None else "was not stated"
        now = _text(is_, unit) if is_ is not None else "not stated any more"
        comma = f"{label}, {said}{joint}" if key in ("before_minutes", "after_minutes") else f"{label}: {said}{joint}"
        return Change(self.file, f"{comma if label else f'{said}{joint}'}{now}; {before}", loosens)

    def is_looser(self, path: tuple[str, ...], was: Any, is_: Any) -> bool:
        """A longer window, a line further away, a weaker word: fewer women are stopped by it than were before."""
        key = path[-1]
        if widest := _WIDEST.get((self.table, key)):
            return is_ not in widest
        if order := _WEAKER.get((self.table, key)):  # what is not said is what a row says by itself: no
            was, is_ = (False if value is None else value for value in (was, is_))
            return was in order and is_ in order and order.index(is_) > order.index(was)
        if key == "self_harm_item":
            return is_ is None
        if key in ("at_least", "above", "below"):
            return self.stops_fewer(path, was, is_)
        larger, smaller = (self.table, key) in _LARGER_LOOSENS, (self.table, key) in _SMALLER_LOOSENS
        if not (larger or smaller):
            return False
        if was is None or is_ is None:  # no window means: whenever it was
            return larger == (is_ is None)
        return _number(is_) > _number(was) if larger else _number(is_) < _number(was)

    def stops_fewer(self, path: tuple[str, ...], was: Any, is_: Any) -> bool:
        if was is None or is_ is None:
            narrower = was is None
        elif path[-1] == "below":
            narrower = _number(is_) < _number(was)
        else:
            narrower = _number(is_) > _number(was)
        reassures = self.table == "risk" and path[0] == "reassuring"
        return not narrower if reassures else narrower and path[0] != "context"


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(member, dict) for member in value)


def _matched(old: list[Rows], new: list[Rows]) -> Iterator[tuple[Rows | None, Rows | None]]:
    """Each row with what it was. One without a name is found again by its sentence, and then by its place."""
    before, after = _by_name(old), _by_name(new)
    for says in [row["says"] for name, row in after.items() if _nameless(row) and "says" in row]:
        then = [name for name, row in before.items() if _nameless(row) and row.get("says") == says]
        now = [name for name, row in after.items() if _nameless(row) and row.get("says") == says]
        if len(then) == len(now) == 1:
            yield before.pop(then[0]), after.pop(now[0])
    before, after = _by_name(before.values()), _by_name(after.values())
    for name in dict.fromkeys([*before, *after]):
        yield before.get(name), after.get(name)


def _nameless(row: Rows) -> bool:
    return not any(key in row for key in (*_NAMED_BY, "why"))


def _by_name(rows: Iterable[Rows]) -> dict[str, Rows]:
    """Rows by what names them. Where that is the same, by which limit they draw, and then by their place."""
    found: dict[str, Rows] = {}
    seen: Counter[str] = Counter()
    for row in rows:
        key = next((name for name in (*_NAMED_BY, "why") if name in row and name != "words"), None)
        sides = [row.get(name) for name in ("medicines", "side", "when", "where", "kind")] if key is None else []
        limits = [name for name in ("at_least", "above", "below") if name in row][:1] if key == "fact" else []
        name = repr([row.get(key) if key else None, sides, limits])
        seen[name] += 1
        found[f"{name}#{seen[name]}"] = row
    return found


def _called(file: str, kind: str, row: Rows) -> str:
    """What a reviewer knows the row by."""
    name = next((row[key] for key in _NAMED_BY if key in row and isinstance(row[key], str)), None)
    says = row.get("says")
    if name is None:
        listed = row.get("concepts") or row.get("words") or row.get("medicines") or ()
        first = " and ".join(str(member) for member in listed) if kind == "shared" else ", ".join(map(str, listed[:3]))
        parts = [kind.replace("_", " "), first, row.get("side"), row.get("when"), _beginning(says)]
        return " ".join(str(part) for part in parts if part)
    if file.startswith("value_sets/") and kind == "concept":
        return f"concept {name}"
    plain = kind in ("protocol", "suggestion", "absolute")
    return f"{name} ({says})" if says and not plain else str(name)


def _beginning(says: str | None) -> str | None:
    """Enough of a sentence to know it by."""
    if says is None:
        return None
    return f'"{says if len(says) <= _MANY else says[:_MANY].rpartition(" ")[0] + " …"}"'


def _unit(key: str, *rows: Rows) -> str:
    if key in ("at_least", "above", "below", "mg", "mg_per_kg"):
        return {"mg": "mg", "mg_per_kg": "mg/kg"}.get(key) or next((row["unit"] for row in rows if "unit" in row), "")
    return next((unit for end, unit in _UNITS if key.endswith(end)), "")


def _number(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise KnowledgeUnfit(f"not a number: {value}") from error


def _text(value: Any, unit: str = "") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and (" " in value or not value):
        return f'"{value.strip()}"'
    return f"{value} {unit}".strip()
