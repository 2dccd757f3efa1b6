"""Are the numbers in order, and can every rule be met? A line that nothing can cross is a rule that never speaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from cds_service.knowledge import shapes
from cds_service.knowledge.terminology import BELOW, EXACT

_HOUR: Final = 60  # minutes
_DAY: Final = 24  # hours
# Pairs of a table's numbers of which the first must be the smaller.
_SMALLER_FIRST: Final = {
    "times": (
        ("after_birth_days", "postpartum_days"),
        ("postpartum_days", "late_postpartum_days"),
        ("gestation_days", "pregnancy_days"),
        ("pregnancy_days", "late_postpartum_days"),
    ),
    "screens": (("safety_days", "tier_days"),),
}


# --- in order -------------------------------------------------------------------------------------


def in_order(tables: Mapping[str, Any]) -> Iterator[str]:
    """Bands, windows and ceilings that contradict each other."""
    yield from _windows(tables)
    yield from _forms(tables)
    yield from _bands(tables)
    yield from _ceilings(tables)


def _windows(tables: Mapping[str, Any]) -> Iterator[str]:
    for name, pairs in _SMALLER_FIRST.items():
        for smaller, larger in pairs:
            if getattr(tables[name], smaller) >= getattr(tables[name], larger):
                yield f"tables/{name}.toml: {smaller} is not below {larger}"
    lowest, highest = tables["times"].weight_believable_kg
    if lowest >= highest:
        yield "tables/times.toml: weight_believable_kg: limits are not in order"
    if (table := tables["screens"]).current_hours > table.tier_days * _DAY:
        yield "tables/screens.toml: current_hours is longer than tier_days"
    yield from (
        f"tables/{name}.toml: {where}: nothing can be within {span}"
        for name, where, span in _spans(tables)
        if span <= 0
    )
    read = {row.fact: row.window_hours for row in tables["observations"].row if row.window_hours is not None}
    for row in tables["inputs"].input:
        where, before, after = f"tables/inputs.toml: {row.id}", row.before_minutes, row.after_minutes
        if before is not None and after is not None and after > before:
            yield f"{where}: after birth an older value would do than before: {after} and {before} min"
        longest = max(before or 0, after or 0)
        short = [fact for fact in row.facts if fact in read and longest > read[fact] * _HOUR]
        yield from (f"{where}: {fact} is read for {read[fact]} h only, and {longest} min count" for fact in short)


def _spans(tables: Mapping[str, Any]) -> Iterator[tuple[str, str, Decimal | int]]:
    """Every span of time: its table, its place there, and how long it is."""
    for name in ("times", "screens"):
        yield from ((name, key, value) for key, value in tables[name] if isinstance(value, int | Decimal))
    for name, key, kind in (
        ("medicines", "within_hours", "row"),
        ("observations", "window_hours", "row"),
        ("inputs", "before_minutes", "input"),
        ("inputs", "after_minutes", "input"),
    ):
        for row in getattr(tables[name], kind):
            if (span := getattr(row, key)) is not None:
                yield name, f"{row.id if kind == 'input' else row.fact}: {key}", span


def _forms(tables: Mapping[str, Any]) -> Iterator[str]:
    for form in tables["screens"].instrument:
        where = f"tables/screens.toml: {form.fact}"
        if len(form.items) * form.item_max != form.total_max:
            yield f"{where}: {len(form.items)} items of at most {form.item_max} do not add up to {form.total_max}"
        if form.self_harm_item is not None and not 1 <= form.self_harm_item <= len(form.items):
            yield f"{where}: there is no item {form.self_harm_item} to ask about self-harm"


def _bands(tables: Mapping[str, Any]) -> Iterator[str]:
    """What is grave starts where what is less grave ends."""
    stops = [(row.id, test) for row in tables["contraindications"].criterion for test in row.test]
    for row in tables["reviews"].criterion:
        for test in row.test:
            for id_, stop in stops:
                if test.banded and stop.banded and test.fact == stop.fact and _meet(test, stop):
                    yield f"tables/reviews.toml: {row.id}: {test.fact}: its band runs into that of {id_}"
    risk = tables["risk"]
    for low in risk.elevated:
        for high in risk.high:
            if low.fact != high.fact:
                continue
            if not high.banded:
                yield f"tables/risk.toml: elevated: {low.fact}: high already has it, whatever its number"
            elif _meet(low, high):
                yield f"tables/risk.toml: elevated: {low.fact}: its band runs into that of high"
            elif low.below is not None and low.below != high.at_least:
                yield f"tables/risk.toml: elevated: {low.fact}: between {low.below} and {high.at_least} is no tier"
    studied = tables["evidence"].studied_from_epds
    for test in risk.not_indicated:
        if test.below is not None and test.below != studied:
            yield f"tables/risk.toml: not_indicated: {test.fact}: below {test.below}, but studied from {studied}"


def _meet(one: shapes.Test, other: shapes.Test) -> bool:
    """Is there a number that both hold of?"""
    lower, upper = (one, other) if _start(one) <= _start(other) else (other, one)
    if lower.below is None:
        return True
    return upper.above < lower.below if upper.above is not None else _start(upper) < lower.below


def _start(test: shapes.Test) -> Decimal:
    return next((limit for limit in (test.at_least, test.above) if limit is not None), Decimal("-Infinity"))


def _ceilings(tables: Mapping[str, Any]) -> Iterator[str]:
    check, limits = tables["order_check"], {row.medicine: row for row in tables["order_check"].absolute}
    for protocol in tables["protocols"].protocol:
        where, limit = f"tables/protocols.toml: {protocol.id}", limits[protocol.medicine]
        amounts = (
            "dose_mg_per_kg", "weight_cap_kg", "round_down_to_mg", "ceiling_mg", "total_volume_ml", "rate_ml_per_h",
            "duration_min", "strength_mg_per_ml",
        )  # fmt: skip
        yield from (f"{where}: {name} is not above 0" for name in amounts if getattr(protocol, name) <= 0)
        if protocol.ceiling_mg > limit.mg:
            yield f"{where}: ceiling_mg {protocol.ceiling_mg} is above {limit.mg} mg, the limit of order_check"
        if protocol.dose_mg_per_kg > limit.mg_per_kg:
            yield f"{where}: dose_mg_per_kg is above {limit.mg_per_kg} mg/kg, the limit of order_check"
        if not check.shortest_min <= protocol.duration_min <= check.longest_min:
            yield f"{where}: duration_min: order_check allows {check.shortest_min} to {check.longest_min} min only"
    if (table := tables["protocols"]).start_within_min > table.valid_hours * _HOUR:
        yield "tables/protocols.toml: start_within_min is longer than valid_hours"


# --- reachable ------------------------------------------------------------------------------------


def reachable(tables: Mapping[str, Any], concepts: Mapping[str, Iterable[shapes.Concept]]) -> Iterator[str]:
    """Rules that no chart can meet, rules that every chart meets, and ideas that no entry can mean."""
    yield from _tests(tables)
    for row in tables["inputs"].input:
        if (row.before_birth, row.after_birth) == ("not needed", "not needed"):
            yield f"tables/inputs.toml: {row.id} is never needed"
    for name in ("conditions", "medicines"):
        for row in tables[name].row:
            if set(row.concepts) <= set(row.unless):
                yield f"tables/{name}.toml: {row.fact}: can never hold: unless leaves nothing of it"
    for row in tables["medicines"].row:
        if not (row.active or row.this_encounter or row.within_hours is not None):
            yield f"tables/medicines.toml: {row.fact}: can never hold: neither running orders nor doses count"
    for domain, members in concepts.items():
        for concept in members:
            # A value set that is not published here can still be loaded by a site.
            said_by = (concept.words, concept.expansions, *(getattr(concept, column) for column in (*EXACT, *BELOW)))
            if not any(said_by):
                yield f"value_sets/{domain}.toml: {concept.name}: no code and no word can mean it"


def _tests(tables: Mapping[str, Any]) -> Iterator[str]:
    spans = _measurable(tables)
    yes_or_no = {row.fact for name in ("conditions", "medicines") for row in tables[name].row}
    yes_or_no |= {row.fact for row in tables["derived"].row if row.unit is None}
    for name in ("contraindications", "reviews", "modifiers", "risk"):
        for test in shapes.nested(tables[name], shapes.Test):
            where = f"tables/{name}.toml: {test.fact}"
            if test.banded and test.fact in yes_or_no:
                yield f"{where}: can never hold: the fact is there or not, and has no number"
            elif test.banded and (span := _span_of(test.fact, spans)) is not None:
                lowest, highest = span
                if not _overlaps(test, lowest, highest):
                    yield f"{where}: can never hold: only {lowest} to {highest} is believed"
                elif _covers(test, lowest, highest):
                    yield f"{where}: always holds: only {lowest} to {highest} is believed"
    for name in ("contraindications", "reviews", "modifiers"):
        for row in tables[name].criterion:
            asked = Counter((test.fact, test.at_least, test.above, test.below) for test in row.test)
            yield from (f"tables/{name}.toml: {row.id}: {key[0]} stands {n} times" for key, n in asked.items() if n > 1)


def _measurable(tables: Mapping[str, Any]) -> dict[str, tuple[Decimal, Decimal]]:
    """The numbers that are believed, by fact; of a form, by the first word of its facts."""
    spans: dict[str, tuple[Decimal, Decimal]] = {row.fact: row.plausible for row in tables["observations"].row}
    spans |= {form.fact: (Decimal(0), Decimal(form.total_max)) for form in tables["screens"].instrument}
    return spans


def _span_of(fact: str, spans: Mapping[str, tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal] | None:
    return spans.get(fact) or spans.get(fact.partition("_")[0])


def _overlaps(test: shapes.Test, lowest: Decimal, highest: Decimal) -> bool:
    return (
        (test.at_least is None or test.at_least <= highest)
        and (test.above is None or test.above < highest)
        and (test.below is None or test.below > lowest)
    )


def _covers(test: shapes.Test, lowest: Decimal, highest: Decimal) -> bool:
    return (
        (test.at_least is None or test.at_least <= lowest)
        and (test.above is None or test.above < lowest)
        and (test.below is None or test.below > highest)
    )
