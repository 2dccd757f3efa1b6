"""Do two ideas of one list claim the same code? Then whoever wrote the list says why, or it is a mistake."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from cds_service.knowledge import shapes
from cds_service.knowledge.terminology import BELOW, EXACT, as_compared


def undeclared(lists: Mapping[str, shapes.ConceptTable]) -> Iterator[str]:
    """Codes that two ideas share and no row explains, and rows that explain what is not shared."""
    for domain, table in lists.items():
        where = f"value_sets/{domain}.toml"
        declared = [frozenset(row.concepts) for row in table.shared]
        yield from (
            f"{where}: shared {_pair(pair)} stands {n} times"
            for pair in dict.fromkeys(declared)
            if (n := declared.count(pair)) > 1
        )
        shared = _shared(table)
        for pair, codes in shared.items():
            if pair not in declared:
                yield f"{where}: {_pair(pair)} share {', '.join(sorted(codes))}, and nobody says why"
        yield from (
            f"{where}: shared {_pair(pair)} share no code" for pair in dict.fromkeys(declared) if pair not in shared
        )


def _shared(table: shapes.ConceptTable) -> dict[frozenset[str], set[str]]:
    """The codes of each pair: those listed by both, and those of one that stand beneath a code of the other."""
    exact: dict[tuple[str, str], set[str]] = defaultdict(set)
    below: dict[tuple[str, str], set[str]] = defaultdict(set)
    written: dict[tuple[str, str], str] = {}
    without = {concept.name: set(concept.without) for concept in table.concept}
    for concept in table.concept:
        for column, system in {**EXACT, **BELOW}.items():
            for code in getattr(concept, column):
                key = (system, as_compared(system, code))
                (below if column in BELOW else exact)[key].add(concept.name)
                written[key] = code
    found: dict[frozenset[str], set[str]] = defaultdict(set)
    for (system, code), text in written.items():
        claimed = exact[system, code].union(*(below[system, code[:end]] for end in range(1, len(code) + 1)))
        listed = exact[system, code] | below[system, code]
        for one in listed:
            for other in claimed - {one}:
                if other not in without[one] and one not in without[other]:
                    found[frozenset((one, other))].add(text)
    return found


def _pair(pair: frozenset[str]) -> str:
    return " and ".join(sorted(pair))
