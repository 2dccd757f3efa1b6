"""Do the tables agree with each other: sources, codes, facts, rows? Every defect in a line, before the first call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cds_service.knowledge import shapes
from cds_service.knowledge.check_digits import could_exist
from cds_service.knowledge.limits import in_order, reachable
from cds_service.knowledge.overlaps import undeclared
from cds_service.knowledge.terminology import BELOW, EXACT

# Decision logic, section 4.3: a site may tighten "confirm" to "block", never the reverse for these; nor may a table.
_ALWAYS_BLOCK: Final = frozenset({"D01", "D02", "D03", "D04", "D06", "D07", "D08", "D10", "D14", "D15"})


def proofread(
    tables: Mapping[str, Any],
    lists: Mapping[str, shapes.ConceptTable],
    published: shapes.ExpansionTable,
    forbidden: shapes.ForbiddenTable,
    sources: Mapping[str, shapes.Source],
) -> Iterator[str]:
    """Every way in which well-shaped tables still do not fit together."""
    concepts = {name: table.concept for name, table in lists.items()}
    yield from _cited(tables, concepts, published, forbidden, sources)
    yield from _codes(concepts, forbidden)
    yield from _published(published, forbidden)
    yield from undeclared(lists)
    yield from _facts(tables, concepts)
    yield from _rows(tables)
    yield from _offers(tables)
    yield from in_order(tables)
    yield from reachable(tables, concepts)


def cited_by(everything: Iterable[object]) -> frozenset[str]:
    """The sources that these tables name."""
    rows = (row for table in everything for row in shapes.nested(table, shapes.Row))
    return frozenset(source for row in rows for source in getattr(row, "sources", ()))


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
        for row in shapes.nested(table, shapes.Row):
            for cited in getattr(row, "sources", ()):
                if cited not in sources:
                    label = next(
                        (getattr(row, k) for k in ("id", "name", "fact", "code") if hasattr(row, k)), "the table"
                    )
                    yield f"{name}.toml: {label}: no such source: {cited}"


def _codes(concepts: Mapping[str, Iterable[shapes.Concept]], forbidden: shapes.ForbiddenTable) -> Iterator[str]:
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


def _published(published: shapes.ExpansionTable, forbidden: shapes.ForbiddenTable) -> Iterator[str]:
    """The same of the codes that others have listed."""
    never = {(row.system, row.code): row.why for row in forbidden.forbidden}
    for expansion in published.expansion:
        for code in expansion.codes:
            where = f"value_sets/expansions.toml: {expansion.oid}: {code}"
            if not could_exist(expansion.system, code):
                yield f"{where} cannot be a code: check digit or shape"
            if (expansion.system, code) in never:
                yield f"{where} is not to be used: {never[expansion.system, code]}"


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
        for test in shapes.nested(tables[table], shapes.Test):
            yield table, test.fact
    for row in tables["inputs"].input:
        for fact in row.facts:
            yield "inputs", fact
    medicine = tables["orders"].medication
    for order in (medicine, *tables["orders"].service):
        yield from (("orders", fact) for fact in order.because)
    yield from (("orders", fact) for fact in medicine.computed_from)
    for line in tables["orders"].start_check:
        if line.only_if is not None:
            yield "orders", line.only_if
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
    for id_ in sorted(_ALWAYS_BLOCK - set(inputs)):
        yield f"tables/inputs.toml: {id_} is missing"
    for row in inputs.values():
        if row.id in _ALWAYS_BLOCK and (row.before_birth, row.after_birth) != ("block", "block"):
            yield f"tables/inputs.toml: {row.id} must block, before and after birth"
    yield from _start_lines(tables)
    for table in ("contraindications", "reviews", "modifiers", "risk"):
        for test in shapes.nested(tables[table], shapes.Test):
            if test.at_least is not None and test.below is not None and test.at_least >= test.below:
                yield f"tables/{table}.toml: {test.fact}: the band is empty"
            for id_ in test.inputs:
                if id_ not in inputs:
                    yield f"tables/{table}.toml: {test.fact}: no such input: {id_}"


def _start_lines(tables: Mapping[str, Any]) -> Iterator[str]:
    """Lines of the start checklist instead of another: only a modifier's, and only of one that exists."""
    always = {table: tables[table].criterion for table in ("contraindications", "reviews")}
    lines = {row.id: row.start_check for rows in always.values() for row in rows if row.start_check is not None}
    once = {line for line, times in Counter(lines.values()).items() if times == 1}
    for table, rows in always.items():
        for row in rows:
            if row.instead_of is not None:
                yield f"tables/{table}.toml: {row.id}: only the line of a modifier can stand instead of another"
    for row in tables["modifiers"].criterion:
        if row.instead_of is None:
            continue
        if row.start_check is None:
            yield f"tables/modifiers.toml: {row.id}: no line of the start checklist instead of that of {row.instead_of}"
        if lines.get(row.instead_of) not in once:
            yield f"tables/modifiers.toml: {row.id}: {row.instead_of} has no line of the start checklist of its own"


def _offers(tables: Mapping[str, Any]) -> Iterator[str]:
    """Protocols that stand twice or contradict themselves, order limits and override reasons that do not fit."""
    ids = [p.id for p in tables["protocols"].protocol]
    if len(set(ids)) < len(ids):
        yield "tables/protocols.toml: an id stands twice"
    for protocol in tables["protocols"].protocol:
        if protocol.dose_mg_per_kg * protocol.weight_cap_kg > protocol.ceiling_mg:
            yield f"tables/protocols.toml: {protocol.id}: the dose at the weight cap is above the ceiling"
        if protocol.rate_ml_per_h * protocol.duration_min != protocol.total_volume_ml * 60:
            yield f"tables/protocols.toml: {protocol.id}: rate and duration do not empty the volume"
    if (check := tables["order_check"]).shortest_min >= check.longest_min:
        yield "tables/order_check.toml: shortest_min is not below longest_min"
    reasons = tables["topics"].override_reason
    for topic in tables["topics"].topic:
        for code in topic.override_reasons:
            if code not in reasons:
                yield f"tables/topics.toml: {topic.code}: no such override reason: {code}"
    offered = {topic.code: topic.override_reasons for topic in tables["topics"].topic}
    for name, words in tables["topics"].reason_words.items():
        for code in words:
            if code not in offered.get(name, ()):
                yield f"tables/topics.toml: {name}: words for a reason that is not offered: {code}"
    codes = {topic.code for topic in tables["topics"].topic}
    for option in tables["evidence"].option:
        yield from (
            f"tables/evidence.toml: {option.id}: no such topic: {topic}"
            for topic in option.topics
            if topic not in codes
        )
