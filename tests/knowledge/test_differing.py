"""Two folders of knowledge are compared: each change is told in a reviewer's words, and marked if it loosens."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_planted_defects import Plant, added, after, everywhere, gone, instead
from typer.testing import CliRunner, Result

from cds_service.__main__ import app
from cds_service.differing import difference
from cds_service.knowledge.loader import FOLDER
from cds_service.rendering.wording import cards_folder

TABLES, SETS = "knowledge/tables", "knowledge/value_sets"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with the knowledge and the cards of this release, to be changed."""
    shutil.copytree(FOLDER, tmp_path / "knowledge", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(cards_folder(), tmp_path / "cards")
    return tmp_path


def diff(old: Path, new: Path) -> Result:
    folders = [str(old / "knowledge"), str(new / "knowledge"), "--cards", str(old / "cards"), str(new / "cards")]
    return CliRunner().invoke(app, ["knowledge", "diff", *folders])


# What is planted, how, the one line that it must give, and whether it loosens. Each is planted, and taken back again.
CHANGES: list[tuple[str, Plant, str, bool, bool]] = [
    (
        "a limit of a review",
        instead(f"{TABLES}/reviews.toml", 'at_least = "19"', 'at_least = "20"'),
        "R05 (EPDS 19 or more: treat, not prevent), epds_current_score (Current EPDS 19 or more): present from 20; was",
        True,
        False,
    ),
    (
        "a limit of a contraindication, downwards",
        after(f"{TABLES}/contraindications.toml", 'fact = "spo2"', 'below = "92"', 'below = "90"'),
        "present below 90 %; was 92 %",
        True,
        False,
    ),
    (
        "a limit that makes a screen negative",
        after(f"{TABLES}/risk.toml", "[[not_indicated]]", 'below = "10"', 'below = "8"'),
        "epds_current (",
        True,
        False,
    ),
    (
        "a limit that reassures",
        after(f"{TABLES}/risk.toml", "[[reassuring]]", 'below = "10"', 'below = "12"'),
        "present below 12; was 10",
        True,
        False,
    ),
    (
        "a window before birth",
        instead(f"{TABLES}/inputs.toml", "before_minutes = 240", "before_minutes = 300"),
        "D04 (Blood pressure, both values), before birth: 300 min; was 240 min",
        True,
        False,
    ),
    (
        "an input that may be confirmed",
        after(f"{TABLES}/inputs.toml", 'id = "D05"', 'after_birth = "block"', 'after_birth = "confirm"'),
        "D05 (Heart rate, SpO2 and respiratory rate): after birth: confirm; was block",
        True,
        False,
    ),
    (
        "a ceiling",
        instead(f"{TABLES}/protocols.toml", 'ceiling_mg = "50"', 'ceiling_mg = "60"'),
        "racemic-ketamine-iv: ceiling 60 mg; was 50 mg",
        True,
        False,
    ),
    (
        "an absolute limit",
        instead(f"{TABLES}/order_check.toml", 'mg_per_kg = "0.3"', 'mg_per_kg = "0.4"'),
        "esketamine: absolute limit per kg: 0.4 mg/kg; was 0.3 mg/kg",
        True,
        False,
    ),
    (
        "a medicine that counts for less long",
        instead(f"{TABLES}/medicines.toml", 'within_hours = "48"', 'within_hours = "24"'),
        "xanthine (Theophylline or aminophylline): counts for: 24 h; was 48 h",
        True,
        False,
    ),
    (
        "a past that no longer counts",
        after(f"{TABLES}/conditions.toml", 'fact = "seizure_disorder"', 'counts = "ever"', 'counts = "active"'),
        "counts: active; was ever",
        True,
        False,
    ),
    (
        "a code of an illness",
        after(
            f"{SETS}/conditions.toml",
            'name = "sepsis"',
            "[concept.snomed]\n",
            '[concept.snomed]\n"404684003" = "A finding"\n',
        ),
        "concept sepsis: code 404684003 added (SNOMED CT, A finding)",
        False,
        True,
    ),
    (
        "a word of an illness",
        after(f"{SETS}/conditions.toml", 'name = "sepsis"', 'words = ["', 'words = ["blood poisoning", "'),
        'concept sepsis: words: "blood poisoning" added',
        False,
        True,
    ),
    (
        "a source",
        added(
            f"{TABLES}/sources.toml", '\n[example-2026]\ntitle = "An example"\npublished = "2026"\nsure = "memory"\n'
        ),
        "source example-2026 added (An example)",
        False,
        False,
    ),
    (
        "a source that is cited",
        instead(f"{TABLES}/reviews.toml", '"nct05698394"', '"nct03927378"'),
        "sources: nct03927378 added",
        False,
        False,
    ),
    (
        "a banned word",
        instead(f"{TABLES}/wording.toml", '"hysterical", ', '"hysterical", "frantic", '),
        "words: frantic added",
        False,
        True,
    ),
    (
        "a trap",
        added(f"{SETS}/do_not_use.toml", '\n[[forbidden]]\nsystem = "loinc"\ncode = "1-8"\nwhy = "nothing"\n'),
        "1-8: added",
        False,
        True,
    ),
    (
        "a line that is to be watched",
        added(
            f"{TABLES}/orders.toml",
            '\n[[watch]]\nwhen = "monitor"\nsays = "Look"\nkind = "project"\nsources = ["project-rule"]\n',
        ),
        'watch monitor "Look": added',
        False,
        True,
    ),
    (
        "a hook of a card",
        instead(f"{TABLES}/topics.toml", 'hooks = ["order-select", "order-sign"]', 'hooks = ["order-sign"]'),
        "hooks: order-select removed",
        True,
        False,
    ),
    (
        "a country where it is not marketed",
        instead(f"{TABLES}/protocols.toml", 'not_marketed_in = ["US"]', "not_marketed_in = []"),
        "esketamine-iv: not marketed in: US removed",
        True,
        False,
    ),
    (
        "weights that are believed",
        instead(f"{TABLES}/times.toml", '["25", "300"]', '["25", "350"]'),
        "weight is believed from 25 to 350 kg; was 25 to 300 kg",
        True,
        False,
    ),
    (
        "a finding that is turned round",
        instead(f"{TABLES}/evidence.toml", 'side = "against"', 'side = "for"'),
        "side: for; was against",
        True,
        False,
    ),
    (
        "a code in a list of others",
        instead(f"{SETS}/expansions.toml", "codes = [", 'codes = ["O99.89", '),
        "codes: O99.89 added",
        False,
        True,
    ),
    (
        "a limit of a window that is read",
        instead(f"{TABLES}/screens.toml", "tier_days = 90", "tier_days = 60"),
        "tier days: 60 days; was 90 days",
        True,
        False,
    ),
    (
        "a reviewer",
        instead(f"{TABLES}/risk.toml", "by = []", 'by = ["A. Example"]'),
        'reviewed: by: "A. Example" added',
        False,
        False,
    ),
    (
        "a version",
        instead(f"{TABLES}/about.toml", 'version = "1.3.0"', 'version = "1.4.0"'),
        "version: 1.4.0; was 1.3.0",
        False,
        False,
    ),
    (
        "a sentence of a card",
        instead("cards/PPDRISK.toml", "Ask how she is", "Ask her how she is"),
        "Ask her how she is",
        False,
        False,
    ),
    (
        "a whole card",
        gone("cards/PPDRISK.toml"),
        "the file is gone",
        True,
        False,
    ),
]


@pytest.mark.parametrize("change", CHANGES, ids=[row[0] for row in CHANGES])
def test_a_change_is_told_in_a_line_and_marked_if_it_loosens(
    change: tuple[str, Plant, str, bool, bool], copied: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    what, plant, says, loosens, back_loosens = change
    old = tmp_path_factory.mktemp("old")
    shutil.copytree(copied, old, dirs_exist_ok=True)
    plant(copied)

    there, back = diff(old, copied), diff(copied, old)

    told = [line for line in there.output.splitlines() if says in line]
    assert len(told) == 1, f"{what}: {there.output}"
    assert told[0].endswith("[loosens]") == loosens, there.output
    assert ("[loosens]" in back.output) == back_loosens, back.output
    assert (there.exit_code, back.exit_code) == (1, 1)
    assert list(difference(copied / "knowledge", copied / "knowledge").lines) == []


def test_a_folder_does_not_differ_from_itself(copied: Path) -> None:
    done = diff(copied, copied)

    assert (done.output, done.exit_code) == ("", 0)


def test_a_finding_that_is_gone_is_told_by_itself_and_not_as_a_change_of_the_next(copied: Path) -> None:
    file = copied / TABLES / "evidence.toml"
    head, *rows = file.read_text(encoding="utf-8").split("[[statement]]\n")
    first = next(number for number, row in enumerate(rows) if 'side = "against"' in row)
    file.write_text("[[statement]]\n".join([head, *rows[:first], *rows[first + 1 :]]), encoding="utf-8")

    (change,) = difference(FOLDER, copied / "knowledge").changes

    assert change.says.startswith("statement esketamine against")
    assert change.says.endswith("removed")
    assert change.loosens


def test_the_last_lines_name_both_hashes_and_count(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    old = tmp_path_factory.mktemp("old")
    shutil.copytree(copied, old, dirs_exist_ok=True)
    instead(f"{TABLES}/reviews.toml", 'at_least = "19"', 'at_least = "20"')(copied)
    instead(f"{TABLES}/about.toml", 'version = "1.3.0"', 'version = "1.4.0"')(copied)

    lines = diff(old, copied).output.splitlines()

    found = difference(old / "knowledge", copied / "knowledge")
    assert lines[-2:] == [f"hash {found.old} -> {found.new}", "2 changes, 1 of which loosens"]
    assert found.old != found.new
    assert lines[0] == "tables/about"
    assert lines[2] == "tables/reviews"


def test_a_comment_alone_is_no_change_but_another_hash(copied: Path) -> None:
    added(f"{TABLES}/reviews.toml", "\n# A remark.\n")(copied)

    done = CliRunner().invoke(app, ["knowledge", "diff", str(FOLDER), str(copied / "knowledge")])

    assert done.output.splitlines()[-1] == "no change but in comments and layout"
    assert done.exit_code == 1


def test_the_order_of_rows_is_no_change_of_a_rule(copied: Path) -> None:
    rows = (copied / TABLES / "modifiers.toml").read_text(encoding="utf-8").split("\n[[criterion]]\n")
    (copied / TABLES / "modifiers.toml").write_text("\n[[criterion]]\n".join([rows[0], *reversed(rows[1:])]))

    assert difference(FOLDER, copied / "knowledge").changes == ()


def test_a_folder_of_another_release_can_be_compared(copied: Path) -> None:
    """Whatever the shape of its tables: this release would not start with it."""
    gone(f"{TABLES}/wording.toml")(copied)
    everywhere(f"{TABLES}/reviews.toml", "carriers =", "entries =")(copied)

    done = CliRunner().invoke(app, ["knowledge", "diff", str(FOLDER), str(copied / "knowledge")])

    assert "the file is gone  [loosens]" in done.output
    assert done.exit_code == 1


@pytest.mark.parametrize("what", ["nothing there", "not TOML", "a card that is not TOML", "no cards"])
def test_a_folder_that_cannot_be_read_is_a_plain_line(what: str, copied: Path, tmp_path: Path) -> None:
    shutil.copytree(copied, tmp_path / "new")
    match what:
        case "nothing there":
            shutil.rmtree(tmp_path / "new" / "knowledge")
        case "not TOML":
            added(f"{TABLES}/times.toml", "= 7\n")(tmp_path / "new")
        case "a card that is not TOML":
            added("cards/PPDRISK.toml", "= 7\n")(tmp_path / "new")
        case "no cards":
            shutil.rmtree(tmp_path / "new" / "cards")

    done = diff(copied, tmp_path / "new")

    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert len(done.output.splitlines()) == 1
    assert str(tmp_path / "new") in done.output


def test_every_row_that_is_taken_out_of_a_rule_table_loosens(copied: Path) -> None:
    for table in ("contraindications", "reviews", "inputs"):
        file = copied / TABLES / f"{table}.toml"
        text = file.read_text(encoding="utf-8")
        head, *rows = text.split("\n[[criterion]]\n" if "[[criterion]]" in text else "\n[[input]]\n")
        mark = "\n[[criterion]]\n" if "[[criterion]]" in text else "\n[[input]]\n"
        for number, row in enumerate(rows):
            file.write_text(mark.join([head, *rows[:number], *rows[number + 1 :]]), encoding="utf-8")
            (change,) = difference(FOLDER, copied / "knowledge").changes
            assert change.loosens, row
            assert change.says.endswith("removed")
        file.write_text(text, encoding="utf-8")


def test_every_code_that_is_taken_from_what_a_fact_reads_loosens(copied: Path) -> None:
    file = copied / SETS / "conditions.toml"
    text = file.read_text(encoding="utf-8")
    start = text.index('name = "sepsis"')
    end = text.index("[[concept]]", start)
    codes = [line for line in text[start:end].splitlines() if line.startswith('"')]
    assert len(codes) > 5
    for line in codes:
        file.write_text(text[:start] + text[start:end].replace(f"{line}\n", "", 1) + text[end:], encoding="utf-8")
        (change,) = difference(FOLDER, copied / "knowledge").changes
        assert change.loosens, line
        assert change.says.startswith(f"concept sepsis: code {line.split(chr(34))[1]} removed")
