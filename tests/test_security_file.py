"""SECURITY.md names a test for each guard, and each of them is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
LINK = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`( \(counted\))?")
ROWS = [line for line in TEXT.splitlines() if line.startswith(("| T", "| | "))][
    1:
]  # the first is the head of the table
LINKS = sorted({(path, name, bool(counted)) for path, name, counted in LINK.findall(TEXT)})


@cache
def named_in(path: str) -> dict[str, str]:
    """The tests of a module, with their source."""
    source = (ROOT / path).read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(source, node) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_each_threat_of_the_model_has_a_row() -> None:
    assert [row.split("|")[1].strip() for row in ROWS if row.startswith("| T")] == [f"T{n}" for n in range(1, 21)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[:40])
def test_each_row_names_its_tests(row: str) -> None:
    _, _, threat, guard, shown, _ = row.split("|")

    assert threat.strip()
    assert guard.strip()
    assert LINK.search(shown)
    assert LINK.sub("", shown).strip(" ,") == ""


@pytest.mark.parametrize(("path", "name", "counted"), LINKS, ids=str)
def test_each_test_that_is_named_is_there(path: str, name: str, counted: bool) -> None:
    assert name in named_in(path)
    if counted:  # then a test beside it says how many cases there were
        assert any("record_property" in source for source in named_in(path).values()), path


def test_what_it_does_not_guard_against_is_said() -> None:
    said = TEXT.partition("## What it does not protect against")[2]

    assert said.count("\n- **") >= 8
