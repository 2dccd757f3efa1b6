"""The sensitivity report: it can be made again, it moves what it says, and it is as new as the numbers it moves."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from cds_service.knowledge import load_knowledge
from cds_service.knowledge.loader import FOLDER

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from sensitivity import measure, moves, report, women  # noqa: E402  (they lie beside the benchmarks)

DOCS = ROOT / "docs"
FEW = measure.Sizes(ward=16, positive=12, near=14)
# One of each kind of number: a screen, a limit, a band that two rows share, a window of a value, one of a medicine.
SOME = [one for one in moves.MOVES if one.id in {"epds-from", "heavy", "loss-stop", "pressure-after", "opioid"}]
# A line of a table that says a number which somebody chose.
CHOSEN = re.compile(r'^(at_least|above|below|\w*(?:hours|minutes|days|percent)|studied_from_epds) = "?[0-9.]+"?', re.M)
TABLES = ("contraindications", "reviews", "modifiers", "inputs", "risk", "medicines", "observations", "conditions",
          "screens", "times", "evidence")  # fmt: skip


@pytest.fixture(scope="module")
def found() -> measure.Found:
    return measure.measured(FEW, SOME)


# ---- The report that lies in docs


def test_the_report_was_made_with_the_numbers_that_are_in_force() -> None:
    """Fails when a number has changed: make the report again, with `.venv/bin/python benchmarks/sensitivity`."""
    page = (DOCS / "sensitivity.md").read_text(encoding="utf-8")

    assert f"| Numbers moved here | {len(moves.MOVES)}, `{moves.digest()}` |" in page
    assert f"| Knowledge | version {load_knowledge().version}, `sha256:" in page


def test_the_report_names_each_number_with_its_five_values_and_shows_each_picture() -> None:
    page = (DOCS / "sensitivity.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]

    for move in moves.MOVES:
        named = [row for row in rows if row.startswith(f"| {move.row} | {move.says}")]
        assert any(all(f" {move.label(step)} " in row.replace("*", "") for step in moves.STEPS) for row in named), move
    shown = set(re.findall(r"\]\((images/sensitivity-\w+\.svg)\)", page))
    assert shown == {f"images/{path.name}" for path in (DOCS / "images").glob("sensitivity-*.svg")}
    assert {f"images/sensitivity-{theme}.svg" for theme in report.THEMES} < shown


def test_the_digest_follows_a_number_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever moves one of the numbers must make the report again."""
    first = moves.digest()
    read = moves.Cell.value

    def one_more(self: moves.Cell, folder: Path = FOLDER) -> object:
        return read(self, folder) + (self.key == "within_hours" and "ergot" in str(self.path))

    monkeypatch.setattr(moves.Cell, "value", one_more)
    assert moves.digest() != first


def test_every_number_is_moved_or_it_is_said_why_not() -> None:
    cells = [cell for move in moves.MOVES for cell in move.cells]
    left = set()
    for table in TABLES:
        text = (FOLDER / "tables" / f"{table}.toml").read_text(encoding="utf-8")
        moved = {cell.found(text).start() for cell in cells if cell.file == table}
        for number in CHOSEN.finditer(text):
            if number.start() not in moved:
                facts = re.findall(r'^fact = "(\w+)"', text[: number.start()], re.M)
                at_the_top = table in ("screens", "times", "evidence")
                left.add(number[1] if at_the_top else facts[-1])

    assert left == set(moves.NOT_MOVED)


# ---- How it is made


def test_the_same_tables_give_the_same_bytes(found: measure.Found) -> None:
    again = measure.measured(FEW, SOME[:1])

    assert report.written(again) == report.written(replace(found, moved=found.moved[:1]))


def test_a_number_is_moved_in_a_copy_and_alone(tmp_path: Path) -> None:
    in_force = {cell: cell.value() for move in moves.MOVES for cell in move.cells}

    for move in moves.MOVES:
        folder = move.moved(tmp_path / move.id, 1)
        for cell, value in in_force.items():
            expected = value + (move.step * cell.scale if cell in move.cells else 0)
            assert cell.value(folder) == expected, (move.id, cell)


@pytest.mark.parametrize("move", SOME, ids=lambda move: move.id)
def test_a_stricter_number_never_lets_a_woman_through_and_does_hold_some_back(
    move: moves.Move, found: measure.Found
) -> None:
    (one,) = [one for one in found.moved if one.move is move]
    order = moves.STEPS if move.stricter == "lower" else moves.STEPS[::-1]

    for group in (one.near, one.positive):
        for strict, loose in pairwise(order):
            pairs = zip(group[strict], group[loose], strict=True)
            assert all(loosely.allows_a_dose or not strictly.allows_a_dose for strictly, loosely in pairs)
    doses = [sum(status.allows_a_dose for status in one.near[step]) for step in order]
    assert doses[0] < doses[-1], "the women near the line do not feel it"


def test_what_is_missing_at_a_low_share_is_missing_at_a_high_one(found: measure.Found) -> None:
    missing = [sum(s == "data-missing" for s in found.missing_positive[share]) for share in measure.MISSING]

    assert missing[0] < missing[-1]
    assert found.missing_positive[0] == found.positive


def test_the_cohorts_differ_by_the_epds_alone() -> None:
    ward, positive = (measure.cohort(40, positive=positive) for positive in (False, True))

    assert all(one["screens"]["epds"]["total"] >= 10 for one in positive)
    assert any(one["screens"]["epds"]["total"] < 10 for one in ward)
    assert [_without_epds(one) for one in ward] == [_without_epds(one) for one in positive]
    assert len({repr(one) for one in ward}) == len(ward)


def _without_epds(given: women.Json) -> women.Json:
    return women.laid_over(given, {"screens": {"epds": None}})


def test_whoever_is_near_a_line_has_nothing_else_against_her(record_property: Callable[[str, object], None]) -> None:
    service = measure.Service(load_knowledge())
    unmoved = [
        move.id
        for move in moves.MOVES
        if not any(status.allows_a_dose for status in service.statuses(service.calls(measure.near_the_line(move, 7))))
    ]

    assert unmoved == ["severe"]  # above 145/95 there is always R07
    record_property("safety", f"sensitivity: {len(moves.MOVES)} numbers, {moves.digest()}")


def test_a_number_that_does_not_stand_where_it_should_is_an_error() -> None:
    cell = replace(moves.MOVES[0].cells[0], key="at_most")

    with pytest.raises(LookupError, match="at_most"):
        cell.value()
