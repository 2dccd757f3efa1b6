"""Reads every table at start, and refuses to start on any defect: never at the bedside."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from cds_service.errors import KnowledgeUnfit
from cds_service.knowledge import shapes
from cds_service.knowledge.check_digits import could_exist
from cds_service.knowledge.narrative import EvidenceTable, OrderTable
from cds_service.knowledge.terminology import BELOW, EXACT, Terminology, system_of

FOLDER: Final = Path(__file__).parent
_TABLES: Final[Mapping[str, type[shapes.Table]]] = {
    "about": shapes.About,
    "conditions": shapes.ConditionTable,
    "observations": shapes.ObservationTable,
    "medicines": shapes.MedicineTable,
    "screens": shapes.ScreenTable,
    "times": shapes.TimeTable,
    "units": shapes.UnitTable,
    "derived": shapes.DerivedTable,
    "contraindications": shapes.CriterionTable,
    "reviews": shapes.CriterionTable,
    "modifiers": shapes.CriterionTable,
    "inputs": shapes.InputTable,
    "risk": shapes.RiskTable,
    "protocols": shapes.ProtocolTable,
    "order_check": shapes.OrderCheckTable,
    "topics": shapes.TopicTable,
    "evidence": EvidenceTable,
    "orders": OrderTable,
}
_DOMAINS: Final = ("screens", "measurements", "pregnancy", "mental_health", "conditions", "allergies", "medicines", "orders")
_LEGAL_BEFORE_BLOCK: Final = frozenset({"D01", "D02", "D03", "D04", "D06", "D07", "D08", "D10", "D14", "D15"})
_T = TypeVar("_T")


@dataclass(frozen=True)
class Knowledge:
    """All that medicine says, as loaded. `hash` names every byte of it; `signed` says whether anyone has reviewed it."""

    version: str
    hash: str
    title: str
    sources: Mapping[str, shapes.Source]
    terminology: Terminology
    domains: Mapping[str, tuple[str, ...]]
    says: Mapping[str, str]
    reviews_due: Mapping[str, shapes.Reviewed]
    conditions: shapes.ConditionTable
    observations: shapes.ObservationTable
    medicines: shapes.MedicineTable
    screens: shapes.ScreenTable
    times: shapes.TimeTable
    units: shapes.UnitTable
    derived: shapes.DerivedTable
    contraindications: shapes.CriterionTable
    reviews: shapes.CriterionTable
    modifiers: shapes.CriterionTable
    inputs: shapes.InputTable
    risk: shapes.RiskTable
    protocols: shapes.ProtocolTable
    order_check: shapes.OrderCheckTable
    topics: shapes.TopicTable
    evidence: EvidenceTable
    orders: OrderTable

    @property
    def signed(self) -> bool:
        """Every table has at least one reviewer."""
        return all(reviewed.by for reviewed in self.reviews_due.values())

    def protocol(self, id_: str) -> shapes.Protocol | None:
        return next((p for p in self.protocols.protocol if p.id == id_), None)


def load_knowledge(folder: Path = FOLDER, *, expansions: Path | None = None) -> Knowledge:
    """
    The knowledge in `folder` (`tables/` and `value_sets/`), or KnowledgeUnfit with every defect in a line.

    `expansions` is a folder of the operator's with FHIR ValueSet files (JSON, expanded): large SNOMED CT lists that
    need a licence. Each is used by the concepts that name its OID.
    """
    defects: list[str] = []
    digest = hashlib.sha256()
    raw: dict[str, dict[str, Any]] = {}
    for path in sorted([*(folder / "tables").glob("*.toml"), *(folder / "value_sets").glob("*.toml")]):
        name = f"{path.parent.name}/{path.stem}"
        content = path.read_bytes()
        digest.update(name.encode() + b"\0" + content)
        try:
            raw[name] = tomllib.loads(content.decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            defects.append(f"{name}.toml: not TOML: {error}")
    for name in sorted(set(raw) - _expected()):
        defects.append(f"{name}.toml: nobody reads this file")
    for name in sorted(_expected() - set(raw) - {d.split(".toml")[0] for d in defects}):
        defects.append(f"{name}.toml: missing")
    sources = _sources(raw.get("tables/sources", {}), defects)
    tables = {name: _shaped(f"tables/{name}", shape, raw, defects) for name, shape in _TABLES.items()}
    domains = {name: _shaped(f"value_sets/{name}", shapes.ConceptTable, raw, defects) for name in _DOMAINS}
    published = _shaped("value_sets/expansions", shapes.ExpansionTable, raw, defects)
    forbidden = _shaped("value_sets/do_not_use", shapes.ForbiddenTable, raw, defects)
    if defects:
        raise KnowledgeUnfit(*defects)  # without their shapes the tables cannot be held against each other
    concepts = {name: table.concept for name, table in domains.items()}
    defects += _cited(tables, concepts, published, forbidden, sources)
    defects += _codes(concepts, published, forbidden)
    defects += _facts(tables, concepts)
    defects += _rows(tables)
    loaded, licensed_defects = _operators_expansions(expansions)
    defects += licensed_defects
    if defects:
        raise KnowledgeUnfit(*defects)
    about = tables["about"]
    return Knowledge(
        version=about.version,
        hash=f"sha256:{digest.hexdigest()}",
        title=about.title,
        sources=sources,
        terminology=Terminology(concepts, [*published.expansion, *loaded]),
        domains={name: tuple(c.name for c in members) for name, members in concepts.items()},
        says=_words(tables),
        reviews_due=_reviewed(tables, domains, published, raw),
        **{name: table for name, table in tables.items() if name != "about"},
    )


def _expected() -> set[str]:
    value_sets = {*_DOMAINS, "expansions", "do_not_use"}
    return {"tables/sources"} | {f"tables/{t}" for t in _TABLES} | {f"value_sets/{v}" for v in value_sets}


def _shaped(name: str, shape: type[Any], raw: Mapping[str, Any], defects: list[str]) -> Any:
    if name not in raw:
        return None
    try:
        return shape.model_validate(raw[name])
    except ValidationError as error:
        defects.extend(_lines(name, raw[name], error))
        return None


def _lines(name: str, table: Any, error: ValidationError) -> Iterator[str]:
    """One line a defect, with the row's own id in place of its number."""
    for defect in error.errors():
        place, node = [], table
        for part in defect["loc"]:
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                node = None
            label = part
            if isinstance(node, dict):
                label = next((node[key] for key in ("id", "name", "fact", "code", "oid", "ucum") if key in node), part)
            place.append(str(label))
        yield f"{name}.toml: {' / '.join(place) or 'the table'}: {defect['msg']}"


def _sources(table: Mapping[str, Any], defects: list[str]) -> dict[str, shapes.Source]:
    found = {}
    adapter = TypeAdapter(shapes.Source)
    for id_, row in table.items():
        if id_ == "reviewed":
            continue
        try:
            found[id_] = adapter.validate_python(row)
        except ValidationError as error:
            defects.extend(f"tables/sources.toml: {id_}: {e['loc'][-1] if e['loc'] else ''} {e['msg']}" for e in error.errors())
    if "reviewed" not in table:
        defects.append("tables/sources.toml: reviewed: missing")
    return found


def _nested(value: object, kind: type[_T]) -> Iterator[_T]:
    """Every model of a kind inside a table, however deep."""
    if isinstance(value, kind):
        yield value
    if isinstance(value, shapes.BaseModel):
        for field in type(value).model_fields:
            yield from _nested(getattr(value, field), kind)
    elif isinstance(value, tuple | list):
        for member in value:
            yield from _nested(member, kind)
    elif isinstance(value, dict):
        for member in value.values():
            yield from _nested(member, kind)


def _cited(
    tables: Mapping[str, Any],
    concepts: Mapping[str, Iterable[shapes.Concept]],
    published: shapes.ExpansionTable,
    forbidden: shapes.ForbiddenTable,
    sources: Mapping[str, shapes.Source],
) -> Iterator[str]:
    """Sources that are cited and do not stand in sources.toml."""
    everything = {
        **{f"tables/{name}": table for name, table in tables.items()},
        **{f"value_sets/{name}": tuple(members) for name, members in concepts.items()},
        "value_sets/expansions": published,
        "value_sets/do_not_use": forbidden,
    }
    for name, table in everything.items():
        for row in _nested(table, shapes.BaseModel):
            for cited in getattr(row, "sources", ()):
                if cited not in sources:
                    label = next((getattr(row, k) for k in ("id", "name", "fact", "code") if hasattr(row, k)), "the table")
                    yield f"{name}.toml: {label}: no such source: {cited}"


def _codes(
    concepts: Mapping[str, Iterable[shapes.Concept]],
    published: shapes.ExpansionTable,
    forbidden: shapes.ForbiddenTable,
) -> Iterator[str]:
    """Codes that cannot exist, that are forbidden, or that stand twice; expansions and concepts that nobody has."""
    never = {(row.system, row.code): row.why for row in forbidden.forbidden}
    members = [(domain, concept) for domain, rows in concepts.items() for concept in rows]
    names = Counter(concept.name for _, concept in members)
    yield from (f"value_sets: concept {name} stands {n} times" for name, n in names.items() if n > 1)
    for domain, concept in members:
        where = f"value_sets/{domain}.toml: {concept.name}"
        listed: set[str] = set()
        for column, system in {**EXACT, **BELOW}.items():
            for code in getattr(concept, column):
                listed.add(code)
                if not could_exist(system, code):
                    yield f"{where}: {column} {code} cannot be a code: check digit or shape"
                if (column, code) in never:
                    yield f"{where}: {column} {code} is not to be used: {never[column, code]}"
        for code in {*concept.medium, *concept.doubtful} - listed:
            yield f"{where}: {code} is marked but not listed"
        for oid in concept.expansions:
            if ("value set", oid) in never:
                yield f"{where}: value set {oid} is not to be used: {never['value set', oid]}"
        for other in concept.without:
            if other not in names:
                yield f"{where}: no such concept: {other}"
        if len(set(concept.words)) < len(concept.words):
            yield f"{where}: a word stands twice"
    for expansion in published.expansion:
        for code in expansion.codes:
            if not could_exist(expansion.system, code):
                yield f"value_sets/expansions.toml: {expansion.oid}: {code} cannot be a code: check digit or shape"


def _facts(tables: Mapping[str, Any], concepts: Mapping[str, Iterable[shapes.Concept]]) -> Iterator[str]:
    """Facts and concepts that are named and do not exist; facts that stand twice; units that nobody can convert."""
    named = [row.fact for t in ("conditions", "observations", "medicines", "derived") for row in tables[t].row]
    known = set(named)
    yield from (f"tables: fact {fact} stands {n} times" for fact, n in Counter(named).items() if n > 1)
    for table, fact in _asked(tables):
        if fact not in known:
            yield f"tables/{table}.toml: no such fact: {fact}"
    ideas = {concept.name for rows in concepts.values() for concept in rows}
    for table in ("conditions", "observations", "medicines"):
        for row in tables[table].row:
            for concept in (*row.concepts, *getattr(row, "unless", ())):
                if concept not in ideas:
                    yield f"tables/{table}.toml: {row.fact}: no such concept: {concept}"
    for form in tables["screens"].instrument:
        for concept in (form.panel, form.total, *form.items):
            if concept is not None and concept not in ideas:
                yield f"tables/screens.toml: {form.fact}: no such concept: {concept}"
        if form.item_linkids and len(form.item_linkids) != len(form.items):
            yield f"tables/screens.toml: {form.fact}: item_linkids and items differ in number"
    units = {unit.ucum for unit in tables["units"].unit} | {unit.base for unit in tables["units"].unit}
    for row in tables["observations"].row:
        if row.unit not in units:
            yield f"tables/observations.toml: {row.fact}: no such unit: {row.unit}"
        if row.plausible[0] >= row.plausible[1]:
            yield f"tables/observations.toml: {row.fact}: plausible limits are not in order"


def _asked(tables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for table in ("contraindications", "reviews", "modifiers", "risk"):
        for test in _nested(tables[table], shapes.Test):
            yield table, test.fact
    for row in tables["inputs"].input:
        for fact in row.facts:
            yield "inputs", fact
    for group in tables["risk"].frequency:
        if group.fact is not None:
            yield "risk", group.fact


def _rows(tables: Mapping[str, Any]) -> Iterator[str]:
    """Rows that stand twice, bands that are empty, D rows that do not exist or do not block, tables out of order."""
    for table, letter in (("contraindications", "C"), ("reviews", "R"), ("modifiers", "M")):
        ids = [row.id for row in tables[table].criterion]
        if ids != sorted(set(ids)) or any(not id_.startswith(letter) for id_ in ids):
            yield f"tables/{table}.toml: ids must be {letter}01, {letter}02 and so on, each once, in order"
    inputs = {row.id: row for row in tables["inputs"].input}
    if len(inputs) < len(tables["inputs"].input):
        yield "tables/inputs.toml: an id stands twice"
    for id_ in sorted(_LEGAL_BEFORE_BLOCK - set(inputs)):
        yield f"tables/inputs.toml: {id_} is missing"
    for row in inputs.values():
        if row.id in _LEGAL_BEFORE_BLOCK and (row.before_birth, row.after_birth) != ("block", "block"):
            yield f"tables/inputs.toml: {row.id} must block, before and after birth"
    for table in ("contraindications", "reviews", "modifiers", "risk"):
        for test in _nested(tables[table], shapes.Test):
            if test.at_least is not None and test.below is not None and test.at_least >= test.below:
                yield f"tables/{table}.toml: {test.fact}: the band is empty"
            for id_ in test.inputs:
                if id_ not in inputs:
                    yield f"tables/{table}.toml: {test.fact}: no such input: {id_}"
    ids = [p.id for p in tables["protocols"].protocol]
    if len(set(ids)) < len(ids):
        yield "tables/protocols.toml: an id stands twice"
    for protocol in tables["protocols"].protocol:
        if protocol.dose_mg_per_kg * protocol.weight_cap_kg > protocol.ceiling_mg:
            yield f"tables/protocols.toml: {protocol.id}: the dose at the weight cap is above the ceiling"
        if protocol.rate_ml_per_h * protocol.duration_min != protocol.total_volume_ml * 60:
            yield f"tables/protocols.toml: {protocol.id}: rate and duration do not empty the volume"
    check = tables["order_check"]
    if check.shortest_min >= check.longest_min:
        yield "tables/order_check.toml: shortest_min is not below longest_min"
    reasons = tables["topics"].override_reason
    for topic in tables["topics"].topic:
        for code in topic.override_reasons:
            if code not in reasons:
                yield f"tables/topics.toml: {topic.code}: no such override reason: {code}"


def _operators_expansions(folder: Path | None) -> tuple[list[shapes.Expansion], list[str]]:
    """FHIR ValueSet files of the operator's. The OID is the end of the url; only systems that we know are taken."""
    if folder is None:
        return [], []
    if not folder.is_dir():
        return [], [f"{folder}: no such folder of value sets"]
    found, defects = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            resource = json.loads(path.read_text(encoding="utf-8"))
            contains = resource["expansion"]["contains"]
            oid = resource["url"].rsplit("/", 1)[-1].removeprefix("urn:oid:")
            codes: dict[str, list[str]] = {}
            for member in contains:
                system = system_of(member["system"])
                if system is not None:
                    codes.setdefault(system, []).append(member["code"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            defects.append(f"{path}: not an expanded FHIR ValueSet")
            continue
        for system, members in codes.items():
            bad = [code for code in members if system in {"snomed", "loinc"} and not could_exist(system, code)]
            defects.extend(f"{path}: {code} cannot be a code: check digit or shape" for code in bad)
            found.append(
                shapes.Expansion.model_construct(
                    oid=oid,
                    title=str(resource.get("title", oid)),
                    version=str(resource.get("version", "")),
                    canonical=resource["url"],
                    system=system,  # type: ignore[arg-type]  # the operator's lists may be SNOMED CT
                    codes=tuple(members),
                )
            )
    return found, defects


def _words(tables: Mapping[str, Any]) -> dict[str, str]:
    """What each fact is called on a card."""
    return {row.fact: row.says for t in ("conditions", "observations", "medicines", "derived") for row in tables[t].row}


def _reviewed(
    tables: Mapping[str, Any], domains: Mapping[str, Any], published: Any, raw: Mapping[str, Any]
) -> dict[str, shapes.Reviewed]:
    return {
        **{f"tables/{name}": table.reviewed for name, table in tables.items()},
        **{f"value_sets/{name}": table.reviewed for name, table in domains.items()},
        "value_sets/expansions": published.reviewed,
        "tables/sources": shapes.Reviewed.model_validate(raw["tables/sources"]["reviewed"]),
    }
