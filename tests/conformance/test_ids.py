"""Every requirement has a test that names it, and every test names a requirement that there is."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
REQUIREMENTS: dict[str, dict[str, Any]] = tomllib.loads((HERE / "ids.toml").read_text(encoding="utf-8"))
ELSEWHERE = {id_ for id_, row in REQUIREMENTS.items() if "elsewhere" in row}
LEVELS = {"MUST", "SHOULD", "MAY", "PRACTICE"}


def marked(source: str, marker: str) -> Iterator[tuple[str, Any]]:
    """
    Each test of a module with the arguments of a marker on it: `(name, argument)`.

    A marker on the class of a test, and `pytestmark` of the module, would count for all: neither is used for these.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{marker}":
                    yield from ((node.name, ast.literal_eval(argument)) for argument in decorator.args)


def all_marked(marker: str) -> dict[Any, list[str]]:
    """The tests of the whole tree, by the argument of a marker."""
    found: dict[Any, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, argument in marked(path.read_text(encoding="utf-8"), marker):
            found.setdefault(argument, []).append(f"{path.relative_to(TESTS).as_posix()}::{name}")
    return found


TRIED = all_marked("conforms")


@pytest.mark.parametrize("id_", sorted(REQUIREMENTS.keys() - ELSEWHERE))
def test_a_requirement_has_a_test(id_: str) -> None:
    assert TRIED.get(id_), REQUIREMENTS[id_]["says"]


@pytest.mark.parametrize("id_", sorted(ELSEWHERE))
def test_what_is_said_to_be_elsewhere_has_no_test_here(id_: str) -> None:
    assert TRIED.get(id_, []) == []
    assert REQUIREMENTS[id_]["elsewhere"].endswith(".")


def test_no_test_names_a_requirement_that_there_is_not() -> None:
    assert {id_: tests for id_, tests in TRIED.items() if id_ not in REQUIREMENTS} == {}


@pytest.mark.parametrize("id_", REQUIREMENTS)
def test_a_requirement_says_what_and_how_much(id_: str) -> None:
    row = REQUIREMENTS[id_]

    assert row.keys() <= {"level", "says", "elsewhere"}
    assert row["level"] in LEVELS
    assert row["says"].endswith(".")


def test_a_marker_is_found_where_it_stands_on_a_test() -> None:
    source = (
        '@pytest.mark.conforms("D-1", "D-2")\n@other\ndef test_a(): ...\n\n@pytest.mark.conforms("D-3")\ndef b(): ...'
    )

    assert list(marked(source, "conforms")) == [("test_a", "D-1"), ("test_a", "D-2")]
