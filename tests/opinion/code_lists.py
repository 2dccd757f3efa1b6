"""
The lists of codes that both opinions share: the name of a concept, and every code that means it.

They are read from the published tables as data. Nothing of the service runs here.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

from encoding import CODES, SYSTEMS, Json

import cds_service.knowledge

FOLDER: Final = Path(cds_service.knowledge.__file__).parent / "value_sets"
# A concept for which no code was verified is known by its words: they are taken for codes of a system of their own.
WORDS: Final = "words"
URIS: Final = {**SYSTEMS, "icd10pcs": "http://www.cms.gov/Medicare/Coding/ICD10", WORDS: "urn:second-opinion:words"}
NOT_CONCEPTS: Final = ("expansions", "do_not_use")

# A code system, and a code of it.
Code = tuple[str, str]


@cache
def code_lists() -> dict[str, tuple[Code, ...]]:
    """
    Each concept with its codes, the codes beneath them included.

    "Everything beneath O14" is taken to be every code of these tables and of the vignettes that begins with O14: no
    other code stands in a chart. A code that the tables call doubtful is left out everywhere.
    """
    concepts, published = _tables()
    plain = {name: _plain(row, published) or _words(row, concepts) for name, row in concepts.items()}
    known = {code for codes in plain.values() for code in codes} | _beginnings(concepts) | _of_the_vignettes()
    doubtful = {code for row in concepts.values() for code in row.get("doubtful", ())}
    wide = {
        name: {code for code in plain[name] | _beneath(row, known) if code[1] not in doubtful}
        for name, row in concepts.items()
    }
    return {
        name: tuple(sorted(codes.difference(*(wide[other] for other in concepts[name].get("without", ())))))
        for name, codes in wide.items()
    }


def as_json() -> dict[str, list[dict[str, str]]]:
    """The lists as the other opinion reads them."""
    return {
        name: [{"system": URIS[system], "code": code} for system, code in codes] for name, codes in code_lists().items()
    }


def _tables() -> tuple[dict[str, Json], dict[str, Json]]:
    concepts: dict[str, Json] = {}
    for file in sorted(FOLDER.glob("*.toml")):
        if file.stem not in NOT_CONCEPTS:
            rows = tomllib.loads(file.read_text(encoding="utf-8"))["concept"]
            concepts |= {row["name"]: row for row in rows}
    published = tomllib.loads((FOLDER / "expansions.toml").read_text(encoding="utf-8"))["expansion"]
    return concepts, {row["oid"]: row for row in published}


def _plain(row: Json, published: dict[str, Json]) -> set[Code]:
    """The codes that a concept names, itself or by a published list."""
    own = {(system, code) for system in URIS if system != WORDS for code in row.get(system, ())}
    lists = [published[oid] for oid in row.get("expansions", ()) if oid in published]
    return own | {(one["system"], code) for one in lists for code in one["codes"]}


def _words(row: Json, concepts: dict[str, Json]) -> set[Code]:
    """The words of a concept without codes, but for those that name something else, too, as "twin pregnancy" does."""
    others = {word.lower() for one in concepts.values() if one is not row for word in one.get("words", ())}
    own = {word.lower() for word in row.get("words", ())}
    return {(WORDS, word) for word in own if not any(f" {other} " in f" {word} " for other in others)}


BELOW: Final = {"icd10cm_below": "icd10cm", "injury_below": "icd10cm", "atc_below": "atc"}


def _beginnings(concepts: dict[str, Json]) -> set[Code]:
    return {
        (system, code) for row in concepts.values() for column, system in BELOW.items() for code in row.get(column, ())
    }


def _beneath(row: Json, known: set[Code]) -> set[Code]:
    above = {(system, code) for column, system in BELOW.items() for code in row.get(column, ())}
    return {
        (system, code) for system, code in known for top, start in above if system == top and code.startswith(start)
    }


def _of_the_vignettes() -> set[Code]:
    rows = [row for table in CODES.values() for row in table.values() if isinstance(row, dict)]
    return {(system, row[system]) for row in rows for system in URIS if isinstance(row.get(system), str)}
