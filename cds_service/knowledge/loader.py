"""Reads every table at start, and refuses to start on any defect: never at the bedside."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from cds_service.errors import KnowledgeUnfit
from cds_service.knowledge import shapes
from cds_service.knowledge.check_digits import could_exist
from cds_service.knowledge.narrative import EvidenceTable, OrderTable
from cds_service.knowledge.proofreading import cited_by, proofread
from cds_service.knowledge.terminology import Terminology, system_of
from cds_service.settings import LocalMeaning, Site

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
    "wording": shapes.WordingTable,
    "evidence": EvidenceTable,
    "orders": OrderTable,
}
_DOMAINS: Final = (
    "screens",
    "measurements",
    "pregnancy",
    "mental_health",
    "conditions",
    "allergies",
    "medicines",
    "orders",
)


_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Knowledge:
    """
    All that medicine says, as loaded. `hash` names every byte of it; `signed` says whether people reviewed it.

    `uncited` are the sources that no row names. Of a knowledge whose words were translated, `translation` names these
    words, with a hash of its own, and `original` is what they were translated from: nothing but words was changed.
    """

    version: str
    hash: str
    title: str
    sources: Mapping[str, shapes.Source]
    uncited: tuple[str, ...]
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
    wording: shapes.WordingTable
    evidence: EvidenceTable
    orders: OrderTable
    local: tuple[LocalMeaning, ...] = ()
    translation: str = ""
    original: Knowledge | None = None
    _made: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, make: Callable[[Knowledge], _Made]) -> _Made:
        """What a reader makes of these tables before it reads: made for the first chart, and kept for the next."""
        if (made := self._made.get(make)) is None:
            made = self._made[make] = make(self)
        found: _Made = made
        return found

    @property
    def signed(self) -> bool:
        """Every table has at least one reviewer."""
        return all(reviewed.by for reviewed in self.reviews_due.values())

    def protocol(self, id_: str) -> shapes.Protocol | None:
        return next((p for p in self.protocols.protocol if p.id == id_), None)

    def called(self, medicine: str) -> str:
        """What a medicine is called."""
        return self.order_check.words.medicine[medicine]

    def spoken_at(self, site: Site) -> Knowledge:
        """The same knowledge, which understands the site's own codes and words, too."""
        if site.local == self.local:
            return self
        return replace(self, local=site.local, terminology=self.terminology.with_local(site.local, self.domains))


def load_knowledge(folder: Path = FOLDER, *, expansions: Path | None = None) -> Knowledge:
    """
    The knowledge in `folder` (`tables/` and `value_sets/`), or KnowledgeUnfit with every defect in a line.

    `expansions` is a folder of the operator's with FHIR ValueSet files (JSON, expanded): large SNOMED CT lists that
    need a licence. Each is used by the concepts that name its OID.
    """
    raw, hash_, defects = read_files(folder)
    unreadable = {defect.split(".toml")[0] for defect in defects}
    defects += [f"{name}.toml: nobody reads this file" for name in sorted(set(raw) - _expected())]
    defects += [f"{name}.toml: missing" for name in sorted(_expected() - set(raw) - unreadable)]
    sources = _sources(raw.get("tables/sources", {}), defects)
    tables = {name: _shaped(f"tables/{name}", shape, raw, defects) for name, shape in _TABLES.items()}
    domains = {name: _shaped(f"value_sets/{name}", shapes.ConceptTable, raw, defects) for name in _DOMAINS}
    published = _shaped("value_sets/expansions", shapes.ExpansionTable, raw, defects)
    forbidden = _shaped("value_sets/do_not_use", shapes.ForbiddenTable, raw, defects)
    if defects:
        raise KnowledgeUnfit(*defects)  # without their shapes the tables cannot be held against each other
    concepts = {name: table.concept for name, table in domains.items()}
    defects += proofread(tables, domains, published, forbidden, sources)
    loaded, licensed_defects = _operators_expansions(expansions)
    defects += licensed_defects
    if defects:
        raise KnowledgeUnfit(*defects)
    about = tables["about"]
    return Knowledge(
        version=about.version,
        hash=hash_,
        title=about.title,
        sources=sources,
        uncited=tuple(sorted(set(sources) - cited_by((*tables.values(), *domains.values(), published, forbidden)))),
        terminology=Terminology(concepts, [*published.expansion, *loaded]),
        domains={name: tuple(c.name for c in members) for name, members in concepts.items()},
        says=_words(tables),
        reviews_due=_reviewed(tables, {**domains, "expansions": published, "do_not_use": forbidden}, raw),
        **{name: table for name, table in tables.items() if name != "about"},
    )


def read_files(folder: Path) -> tuple[dict[str, dict[str, Any]], str, list[str]]:
    """The files of a knowledge folder as they stand: parsed, by name; the hash of them all; and what is not TOML."""
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
    return raw, f"sha256:{digest.hexdigest()}", defects


def banned_words(folder: Path = FOLDER) -> shapes.WordingTable | None:
    """The words that no card may use, alone: for whoever looks at cards while other tables are unfit."""
    try:
        return shapes.WordingTable.model_validate(tomllib.loads((folder / "tables/wording.toml").read_text("utf-8")))
    except (OSError, ValueError):
        return None


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
            defects.extend(
                f"tables/sources.toml: {id_}: {e['loc'][-1] if e['loc'] else ''} {e['msg']}" for e in error.errors()
            )
    if "reviewed" not in table:
        defects.append("tables/sources.toml: reviewed: missing")
    return found


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
    tables: Mapping[str, Any], value_sets: Mapping[str, Any], raw: Mapping[str, Any]
) -> dict[str, shapes.Reviewed]:
    return {
        **{f"tables/{name}": table.reviewed for name, table in tables.items()},
        **{f"value_sets/{name}": table.reviewed for name, table in value_sets.items()},
        "tables/sources": shapes.Reviewed.model_validate(raw["tables/sources"]["reviewed"]),
    }
