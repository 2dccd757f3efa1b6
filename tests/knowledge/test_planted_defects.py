"""One defect at a time is planted in a copy of the knowledge, the cards or a site file: `check` names it in a line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cds_service.__main__ import app
from cds_service.knowledge.loader import FOLDER
from cds_service.rendering.wording import cards_folder

SITE = """
name = "Test hospital"
country = "CN"
time_zone = "Asia/Shanghai"

[protocol]
id = "esketamine-iv"
approval = "SITE-PPD-01"
strength_mg_per_ml = 5
"""


@dataclass(frozen=True)
class Copy:
    """The knowledge, the cards and a site file, where nobody else reads them."""

    root: Path

    @property
    def site(self) -> Path:
        return self.root / "site.toml"

    def check(self) -> Result:
        folders = ["--knowledge", str(self.root / "knowledge"), "--cards", str(self.root / "cards")]
        return CliRunner().invoke(app, ["check", *folders, "--site", str(self.site)])


@pytest.fixture
def copied(tmp_path: Path) -> Copy:
    shutil.copytree(FOLDER, tmp_path / "knowledge", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(cards_folder(), tmp_path / "cards")
    copy = Copy(tmp_path)
    copy.site.write_text(SITE, encoding="utf-8")
    return copy


Plant = Callable[[Path], None]


def instead(file: str, old: str, new: str) -> Plant:
    """The first place where `old` stands says `new`. If it stands nowhere, the defect could not be planted."""

    def plant(root: Path) -> None:
        text = (root / file).read_text(encoding="utf-8")
        assert old in text, f"{file} does not say {old!r} any more"
        (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return plant


def added(file: str, text: str) -> Plant:
    def plant(root: Path) -> None:
        with (root / file).open("a", encoding="utf-8") as end:
            end.write(text)

    return plant


def gone(file: str) -> Plant:
    return lambda root: (root / file).unlink()


TABLES, SETS = "knowledge/tables", "knowledge/value_sets"
OPTION = "cards/KETOPTION.toml"

# What is planted, how, and what the one line must say.
DEFECTS: list[tuple[str, Plant, tuple[str, ...]]] = [
    ("a misspelt key", instead(f"{TABLES}/contraindications.toml", "carriers =", "cariers ="), ("C01", "cariers")),
    ("a missing key", instead(f"{TABLES}/inputs.toml", 'limit = "within 168 h"\n', ""), ("D01", "limit")),
    ("an unknown source", instead(f"{TABLES}/reviews.toml", '"nct05698394"', '"nct05698349"'), ("R01", "nct05698349")),
    (
        "a row without a source",
        instead(f"{TABLES}/reviews.toml", 'sources = ["acog-cpg-4"]', "sources = []"),
        ("sources",),
    ),
    (
        "a bad check digit, SNOMED CT",
        instead(f"{SETS}/conditions.toml", '"46764007"', '"46764008"'),
        ("46764008", "pre_eclampsia"),
    ),
    ("a bad check digit, LOINC", instead(f"{SETS}/screens.toml", '"99046-5"', '"99046-6"'), ("99046-6", "epds_total")),
    (
        "a forbidden code",
        instead(
            f"{SETS}/conditions.toml",
            '[concept.snomed]\n"46764007"',
            '[concept.snomed]\n"90688005" = "Failure"\n"46764007"',
        ),
        ("90688005", "chronic renal failure"),
    ),
    (
        "a concept twice",
        instead(f"{SETS}/conditions.toml", 'name = "vascular_aneurysm"', 'name = "pre_eclampsia"'),
        ("concept pre_eclampsia", "2 times"),
    ),
    (
        "a dose above the ceiling",
        instead(f"{TABLES}/protocols.toml", 'dose_mg_per_kg = "0.2"', 'dose_mg_per_kg = "0.25"'),
        ("esketamine-iv", "above the ceiling"),
    ),
    (
        "a ceiling above the one in code",
        instead(f"{TABLES}/protocols.toml", 'ceiling_mg = "20"', 'ceiling_mg = "25"'),
        ("esketamine-iv", "ceiling_mg", "25", "20"),
    ),
    (
        "a rate that does not empty the syringe",
        instead(f"{TABLES}/protocols.toml", 'rate_ml_per_h = "30"', 'rate_ml_per_h = "60"'),
        ("esketamine-iv", "rate"),
    ),
    (
        "an empty band",
        instead(f"{TABLES}/reviews.toml", 'at_least = "140"', 'at_least = "160"'),
        ("systolic", "band is empty"),
    ),
    (
        "an unknown fact",
        instead(f"{TABLES}/contraindications.toml", 'fact = "sepsis"', 'fact = "sepsys"'),
        ("no such fact", "sepsys"),
    ),
    (
        "an unknown concept",
        instead(f"{TABLES}/conditions.toml", 'concepts = ["sepsis"]', 'concepts = ["sepsys"]'),
        ("no such concept", "sepsys"),
    ),
    ("an unknown unit", instead(f"{TABLES}/observations.toml", 'unit = "kg"', 'unit = "stone"'), ("weight", "stone")),
    (
        "a derived fact that nobody derives",
        added(f"{TABLES}/derived.toml", '\n[[row]]\nfact = "hunch"\nsays = "A hunch"\n'),
        ("hunch", "derives"),
    ),
    (
        "a duplicate id",
        instead(f"{TABLES}/contraindications.toml", 'id = "C02"', 'id = "C01"'),
        ("contraindications.toml", "ids must be"),
    ),
    (
        "a fact twice",
        instead(f"{TABLES}/conditions.toml", 'fact = "sepsis"', 'fact = "pre_eclampsia"'),
        ("pre_eclampsia", "2 times"),
    ),
    (
        "a D row that may be confirmed",
        instead(f"{TABLES}/inputs.toml", 'before_birth = "block"', 'before_birth = "confirm"'),
        ("D01", "must block"),
    ),
    ("a missing file", gone(f"{TABLES}/protocols.toml"), ("protocols.toml", "missing")),
    ("an unread file", added(f"{TABLES}/protocol.toml", "id = 1\n"), ("protocol.toml", "nobody reads")),
    ("no TOML", added(f"{TABLES}/times.toml", "= 7\n"), ("times.toml", "not TOML")),
    (
        "a review date in the past",
        instead(f"{TABLES}/risk.toml", "again = 2027-11-23", "again = 2026-01-01"),
        ("risk.toml", "again"),
    ),
    (
        "an unknown override reason",
        instead(f"{TABLES}/topics.toml", '"limited-time", "wrong', '"no-time", "wrong'),
        ("no-time",),
    ),
    (
        "a placeholder nobody fills",
        instead(OPTION, "$say\n", "$say $recommendation\n"),
        ("KETOPTION.toml", "nobody says: recommendation"),
    ),
    ("a part twice", instead(OPTION, "$dose\n", "$dose\n\n$dose\n"), ("KETOPTION.toml", "dose stands twice")),
    ("a card without its footer", instead(OPTION, "\n$footer\n", "\n"), ("KETOPTION.toml", "footer is missing")),
    (
        "a summary that could be cut off",
        instead(
            "cards/PPDRISK.toml",
            "risk of postpartum depression, reasons",
            f"risk {'of much too long words ' * 5}, reasons",
        ),
        ("PPDRISK.toml", "summary"),
    ),
    (
        "a banned word",
        instead("cards/PPDRISK.toml", "Ask how she is", "It is safe. Ask how she is"),
        ("PPDRISK.toml", "safe"),
    ),
    (
        "HTML on a card",
        instead("cards/PPDRISK.toml", "Ask how she is", "<b>Ask</b> how she is"),
        ("PPDRISK.toml", "HTML"),
    ),
    ("a topic without a card", gone("cards/PPDSCREEN.toml"), ("PPDSCREEN", "no card")),
    (
        "a card without a topic",
        instead("cards/PPDSCREEN.toml", '"PPDSCREEN"', '"PPDSCREAM"'),
        ("no such topic", "PPDSCREAM"),
    ),
    (
        "a topic that the table lost",
        instead(f"{TABLES}/topics.toml", 'code = "PPDSCREEN"', 'code = "PPDSCREAM"'),
        ("topics.toml", "PPDSCREAM"),
    ),
    ("an unknown site key", instead("site.toml", "name =", "nmae ="), ("site.toml", "nmae")),
    (
        "an unknown key of the protocol",
        instead("site.toml", "approval =", "dose = 30\napproval ="),
        ("site.toml", "protocol.dose"),
    ),
    (
        "a wrong strength",
        instead("site.toml", "mg_per_ml = 5", "mg_per_ml = 25"),
        ("strength_mg_per_ml", "25", "5 mg/mL only"),
    ),
    ("a medicine that is not marketed there", instead("site.toml", '"CN"', '"US"'), ("CFG01", "US")),
    ("a bad approval", instead("site.toml", '"SITE-PPD-01"', '"<b>"'), ("site.toml", "protocol.approval")),
    (
        "an unknown protocol",
        instead("site.toml", '"esketamine-iv"', '"esketamine-nasal"'),
        ("no such protocol", "esketamine-nasal"),
    ),
    ("a bad time zone", instead("site.toml", "Asia/Shanghai", "Asia/Shangri-La"), ("site.toml", "time_zone")),
    ("a bad country", instead("site.toml", '"CN"', '"China"'), ("site.toml", "country")),
    (
        "a D row that nobody can tighten",
        instead("site.toml", "[protocol]", 'tighten = ["D99"]\n[protocol]'),
        ("tighten", "D99"),
    ),
    (
        "a signature under other knowledge",
        added("site.toml", f'[review]\nby = ["Example"]\non = 2026-01-01\nknowledge = "sha256:{"0" * 12}"\n'),
        ("review.knowledge", "0" * 12),
    ),
    (
        "a value set folder that is not there",
        instead("site.toml", "[protocol]", 'terminology = "none"\n[protocol]'),
        ("none", "no such folder"),
    ),
]


def test_the_untouched_copy_passes(copied: Copy) -> None:
    done = copied.check()

    assert done.output.splitlines()[-1] == "no defects"
    assert done.exit_code == 0
    assert "not clinically reviewed" in done.output


@pytest.mark.parametrize(("what", "plant", "words"), DEFECTS, ids=[row[0] for row in DEFECTS])
def test_a_planted_defect_is_named_in_one_line(what: str, plant: Plant, words: tuple[str, ...], copied: Copy) -> None:
    plant(copied.root)

    done = copied.check()

    naming = [line for line in done.output.splitlines() if all(word in line for word in words)]
    assert len(naming) == 1, f"{what}: {done.output}"
    assert done.exit_code == 1
    assert "Traceback" not in done.output


def test_every_defect_is_named_not_only_the_first(copied: Copy) -> None:
    planted = ("a bad check digit, LOINC", "an empty band", "a banned word", "a bad time zone")
    for what, plant, _ in DEFECTS:
        if what in planted:
            plant(copied.root)

    done = copied.check()

    for what, _, words in DEFECTS:
        if what in planted:
            assert any(all(word in line for word in words) for line in done.output.splitlines()), what
    assert done.output.splitlines()[-1].endswith("defects")
    assert done.exit_code == 1
