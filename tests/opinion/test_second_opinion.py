"""The decision logic, written once more in another language and run by another engine, says the same of every chart."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from charts import Chart, charts
from compare import NPM, Opinion, ask_the_other, asking_the_service, disagreements, installed, met

CHARTS: Final = 2_000
SEED: Final = 1
FEWER: Final = 300

# What is compared. What is not stands in docs/proof.md, "A second opinion".
CONTRAINDICATIONS: Final = tuple(f"C{n:02}" for n in range(1, 20))
REVIEWS: Final = tuple(f"R{n:02}" for n in range(1, 24))
MODIFIERS: Final = tuple(f"M{n:02}" for n in range(1, 7))
BLOCKING: Final = ("D01", "D02", "D03", "D04", "D05", "D06", "D07", "D08", "D10", "D14", "D15")
CONFIRMED: Final = ("D05", "D09", "D11", "D12", "D13", "R13", "R17")
ANSWERS: Final = {
    "contraindications": CONTRAINDICATIONS,
    "review": REVIEWS,
    "monitor": MODIFIERS,
    "missing": BLOCKING,
    "confirm": CONFIRMED,
    "tier": ("high", "elevated", "not-elevated", "undetermined"),
    "stage": ("pregnant", "after-birth", "postpartum", "other"),
    "status": (
        "not-indicated", "contraindicated", "specialist-review", "data-missing", "no-approved-protocol",
        "eligible-conditional", "eligible",
    ),
}  # fmt: skip
EVERY_ANSWER: Final = tuple(f"{kind} {one}" for kind, ones in ANSWERS.items() for one in ones)
OFTEN: Final = 5

# A number that is mistyped in the other opinion, and the answer that gives it away.
MISTYPED: Final = (
    ('"Blood loss" >= 1000', '"Blood loss" > 1000', "contraindications", "C13"),
    ("P.systolic >= 160", "P.systolic >= 165", "contraindications", "C04"),
    ('"Current EPDS to warn" >= 19', '"Current EPDS to warn" >= 20', "review", "R05"),
    ("Now() - 240 minutes", "Now() - 200 minutes", "missing", "D04"),
    ("* 0.2 / 0.5, 6)) * 0.5", "* 0.25 / 0.5, 6)) * 0.5", "dose", ""),
    (">= 13\n", ">= 14\n", "tier", ""),
    ("early: 'confirm', late: 'block'", "early: 'block', late: 'block'", "confirm", "D05"),
)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the other opinion is installed. Where a change is about to land, it fails without Node."""
    if not (shutil.which("node") and shutil.which("npm")) and os.environ.get("CI") != "true":
        pytest.skip("Node or npm is missing: there is no second opinion")
    return installed(tmp_path_factory.mktemp("opinion"))


@pytest.fixture(scope="module")
def asked() -> list[Chart]:
    return list(charts(CHARTS, SEED))


@pytest.fixture(scope="module")
def ours(asked: list[Chart]) -> list[Opinion]:
    ask = asking_the_service()
    return [ask(chart) for chart in asked]


def test_two_opinions_never_disagree(
    other: Path, asked: list[Chart], ours: list[Opinion], record_property: Callable[[str, object], None]
) -> None:
    theirs = ask_the_other(other, asked)

    wrong = list(disagreements(asked, ours, theirs))

    doses = sum(opinion.get("dose") is not None for opinion in theirs)
    record_property("safety", f"second opinion: {len(asked)} charts, {doses} doses, {len(wrong)} disagreements")
    assert not wrong, "\n".join(map(str, wrong[:20]))


def test_every_answer_occurs_often(ours: list[Opinion]) -> None:
    counted = met(ours)

    assert {what: counted[what] for what in EVERY_ANSWER if counted[what] < OFTEN} == {}


def test_nothing_else_is_ever_answered(ours: list[Opinion]) -> None:
    """What occurs and is not in the lists above is not said to be covered."""
    counted = met(ours)

    assert set(counted) - {"safety concern", "with a dose"} == set(EVERY_ANSWER)


def test_a_number_mistyped_in_one_of_them_is_found(other: Path, asked: list[Chart], ours: list[Opinion]) -> None:
    text = (NPM / "SecondOpinion.cql").read_text(encoding="utf-8")
    for right, wrong, _, _ in MISTYPED:
        assert right in text, right
        text = text.replace(right, wrong)
    (other / "Mistyped.cql").write_text(text, encoding="utf-8")

    theirs = ask_the_other(other, asked[:FEWER], "Mistyped.cql")

    found: Counter[tuple[str, str]] = Counter()
    for one in disagreements(asked[:FEWER], ours[:FEWER], theirs):
        for name, (mine, said) in one.about.items():
            found.update((name, id_) for id_ in (set(mine) ^ set(said) if isinstance(mine, list) else {""}))
    assert [(name, id_) for *_, name, id_ in MISTYPED if not found[name, id_]] == []


def test_a_faulty_library_gives_no_opinion(other: Path, asked: list[Chart]) -> None:
    """The translator turns an error into null. Null would pass for "no"."""
    text = (NPM / "SecondOpinion.cql").read_text(encoding="utf-8")
    (other / "Faulty.cql").write_text(text + '\ndefine "C20": "Nobody knows this" > 1\n', encoding="utf-8")

    with pytest.raises(AssertionError, match="Nobody knows this"):
        ask_the_other(other, asked[:1], "Faulty.cql")


def test_the_other_opinion_names_every_row_that_is_compared() -> None:
    text = (NPM / "SecondOpinion.cql").read_text(encoding="utf-8")

    defined = set(re.findall(r'^define "([CRDM]\d\d)":', text, flags=re.MULTILINE))

    assert defined == {*CONTRAINDICATIONS, *REVIEWS, *MODIFIERS, *(f"D{n:02}" for n in range(1, 16))}
