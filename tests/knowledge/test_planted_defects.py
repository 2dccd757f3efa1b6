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

    def check(self, now: str = "2026-11-23T12:00:00Z") -> Result:
        folders = ["--knowledge", str(self.root / "knowledge"), "--cards", str(self.root / "cards")]
        return CliRunner().invoke(app, ["check", *folders, "--site", str(self.site), "--now", now])


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


def everywhere(file: str, old: str, new: str) -> Plant:
    def plant(root: Path) -> None:
        text = (root / file).read_text(encoding="utf-8")
        assert old in text, f"{file} does not say {old!r} any more"
        (root / file).write_text(text.replace(old, new), encoding="utf-8")

    return plant


def together(*plants: Plant) -> Plant:
    def plant(root: Path) -> None:
        for one in plants:
            one(root)

    return plant


def after(file: str, mark: str, old: str, new: str) -> Plant:
    """The first `old` behind `mark` says `new`: for what stands in many rows."""

    def plant(root: Path) -> None:
        text = (root / file).read_text(encoding="utf-8")
        head, found, tail = text.partition(mark)
        assert old in tail, f"{file} does not say {mark!r} and then {old!r} any more"
        (root / file).write_text(f"{head}{found}{tail.replace(old, new, 1)}", encoding="utf-8")

    return plant


TABLES, SETS = "knowledge/tables", "knowledge/value_sets"
OPTION = "cards/KETOPTION.toml"
SEPSIS_PAIR = 'concepts = ["pre_eclampsia", "sepsis"]'

# What is planted, how, and what the one line must say.
DEFECTS: list[tuple[str, Plant, tuple[str, ...]]] = [
    ("a misspelt key", instead(f"{TABLES}/contraindications.toml", "carriers =", "cariers ="), ("C01", "cariers")),
    ("a missing key", instead(f"{TABLES}/inputs.toml", 'limit = "within 7 days"\n', ""), ("D01", "limit")),
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
        "a ceiling above the limit of the order check",
        instead(f"{TABLES}/protocols.toml", 'ceiling_mg = "20"', 'ceiling_mg = "25"'),
        ("esketamine-iv", "ceiling_mg", "25", "20"),
    ),
    (
        "a ceiling above the one in code",
        together(
            instead(f"{TABLES}/protocols.toml", 'ceiling_mg = "20"', 'ceiling_mg = "25"'),
            after(f"{TABLES}/order_check.toml", 'medicine = "esketamine"', 'mg = "20"', 'mg = "25"'),
        ),
        ("protocols.toml", "esketamine-iv", "ceiling_mg", "25", "20"),
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
        "words for a reason that is not offered",
        instead(
            f"{TABLES}/topics.toml",
            "[reason_words.KETOPTION]\nrisk-benefit-ratio",
            "[reason_words.KETOPTION]\nlimited-time",
        ),
        ("KETOPTION", "not offered: limited-time"),
    ),
    (
        "no line instead of that of another rule",
        instead(f"{TABLES}/modifiers.toml", 'start_check = "Heart rate 50 to 110 (she takes thyroid hormone)"\n', ""),
        ("M02", "no line of the start checklist"),
    ),
    (
        "a line instead of one that is not there",
        instead(f"{TABLES}/modifiers.toml", 'instead_of = "R20"', 'instead_of = "R21"'),
        ("M02", "R21 has no line"),
    ),
    (
        "a line instead of one that another rule says as well",
        instead(f"{TABLES}/modifiers.toml", 'instead_of = "R20"', 'instead_of = "R19"'),
        ("M02", "R19 has no line"),
    ),
    (
        "a rule that always holds, instead of another",
        instead(
            f"{TABLES}/reviews.toml",
            'start_check = "Heart rate 50 to 120"',
            'start_check = "Heart rate"\ninstead_of = "R18"',
        ),
        ("R20", "only the line of a modifier"),
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
    # --- sources and reviewers
    (
        "a value set row with an unknown source",
        instead(f"{SETS}/screens.toml", 'sources = ["loinc"]', 'sources = ["loink"]'),
        ("screens.toml", "loink"),
    ),
    (
        "a banned word without a source",
        instead(f"{TABLES}/wording.toml", 'sources = ["nida-words-matter"]', "sources = []"),
        ("wording.toml", "sources"),
    ),
    ("a table without its review", instead(f"{TABLES}/times.toml", "[reviewed]", "[read]"), ("reviewed", "required")),
    (
        "a reviewer without a name",
        instead(f"{TABLES}/risk.toml", "by = []", 'by = [""]'),
        ("risk.toml", "reviewed / by"),
    ),
    (
        "a reviewer twice",
        instead(f"{TABLES}/risk.toml", "by = []", 'by = ["A. Example", "A. Example"]'),
        ("risk.toml", "names somebody twice"),
    ),
    (
        "a signature of a day to come",
        instead(f"{TABLES}/risk.toml", "by = []\non = 2026-11-23", 'by = ["A. Example"]\non = 2026-12-24'),
        ("risk.toml", "2026-12-24", "still to come"),
    ),
    # --- codes
    (
        "a bad check digit in what would be ordered",
        instead(f"{TABLES}/orders.toml", 'code = "47625008"', 'code = "47625009"'),
        ("orders.toml", "47625009"),
    ),
    (
        "a bad check digit in a list of others",
        added(
            f"{SETS}/expansions.toml",
            '\n[[expansion]]\noid = "1.2.3"\ntitle = "T"\nversion = "1"\ncanonical = "c"\nsystem = "icd10cm"\n'
            'codes = ["not a code"]\n',
        ),
        ("expansions.toml", "1.2.3", "not a code"),
    ),
    (
        "a forbidden code in a list of others",
        added(
            f"{SETS}/expansions.toml",
            '\n[[expansion]]\noid = "1.2.3"\ntitle = "T"\nversion = "1"\ncanonical = "c"\nsystem = "icd10cm"\n'
            'codes = ["Z86.51"]\n',
        ),
        ("expansions.toml", "1.2.3", "Z86.51", "is not to be used"),
    ),
    (
        "a forbidden branch",
        instead(f"{SETS}/conditions.toml", "[concept.icd10cm_below]\n", '[concept.icd10cm_below]\n"G45" = "B"\n'),
        ("conditions.toml", "icd10cm_below G45 is not to be used"),
    ),
    (
        "a forbidden value set",
        instead(f"{SETS}/mental_health.toml", 'expansions = ["', 'expansions = ["2.16.840.1.113762.1.4.1248.169", "'),
        ("mental_health.toml", "value set 2.16.840.1.113762.1.4.1248.169 is not to be used"),
    ),
    # --- codes that two ideas claim
    (
        "an overlap that nobody explains",
        instead(f"{SETS}/conditions.toml", 'concepts = ["ischaemic_heart_disease", "vascular_aneurysm"]', SEPSIS_PAIR),
        ("ischaemic_heart_disease and vascular_aneurysm share", "nobody says why"),
    ),
    (
        "a code that another idea has already",
        after(
            f"{SETS}/conditions.toml", 'name = "sepsis"', "[concept.snomed]\n", '[concept.snomed]\n"46764007" = "x"\n'
        ),
        ("pre_eclampsia and sepsis share 46764007", "nobody says why"),
    ),
    (
        "a code beneath a branch that another idea has",
        after(
            f"{SETS}/conditions.toml",
            'name = "sepsis"',
            "[concept.icd10cm]\n",
            '[concept.icd10cm]\n"I71.3" = "x"\n',
        ),
        ("sepsis and vascular_aneurysm share I71.3", "nobody says why"),
    ),
    (
        "an explanation of no overlap",
        added(f"{SETS}/conditions.toml", f'\n[[shared]]\n{SEPSIS_PAIR}\nwhy = "Why not."\n'),
        ("pre_eclampsia and sepsis share no code",),
    ),
    (
        "an overlap explained twice",
        added(
            f"{SETS}/conditions.toml",
            '\n[[shared]]\nconcepts = ["vascular_aneurysm", "ischaemic_heart_disease"]\nwhy = "Why not."\n',
        ),
        ("ischaemic_heart_disease and vascular_aneurysm stands 2 times",),
    ),
    # --- bands, windows and ceilings
    (
        "a review that runs into a contraindication",
        instead(f"{TABLES}/reviews.toml", 'at_least = "92"', 'at_least = "90"'),
        ("R20", "spo2", "runs into that of C17"),
    ),
    (
        "a tier that runs into the next",
        after(f"{TABLES}/risk.toml", "[[elevated]]", 'below = "13"', 'below = "14"'),
        ("elevated", "epds_for_risk", "runs into that of high"),
    ),
    (
        "a gap between two tiers",
        after(f"{TABLES}/risk.toml", "[[high]]", 'at_least = "13"', 'at_least = "14"'),
        ("elevated", "epds_for_risk", "between 13 and 14 is no tier"),
    ),
    (
        "a cut-off that is not the one that was studied",
        instead(f"{TABLES}/evidence.toml", "studied_from_epds = 10", "studied_from_epds = 12"),
        ("not_indicated", "below 10, but studied from 12"),
    ),
    (
        "windows out of order",
        instead(f"{TABLES}/times.toml", "postpartum_days = 140", "postpartum_days = 400"),
        ("postpartum_days is not below late_postpartum_days",),
    ),
    (
        "a window of no length",
        instead(f"{TABLES}/medicines.toml", 'within_hours = "48"', 'within_hours = "0"'),
        ("xanthine", "nothing can be within 0"),
    ),
    (
        "a window after birth that is longer than before",
        instead(f"{TABLES}/inputs.toml", "after_minutes = 60", "after_minutes = 600"),
        ("D04", "600 and 240 min"),
    ),
    (
        "a value that counts for longer than it is read",
        together(
            after(f"{TABLES}/inputs.toml", 'id = "D05"', "before_minutes = 60", "before_minutes = 6000"),
            after(
                f"{TABLES}/inputs.toml",
                'id = "D05"',
                'facts = ["heart_rate", "spo2", "respiratory_rate"]',
                'facts = ["spo2"]',
            ),
        ),
        ("D05", "spo2 is read for 24 h only, and 6000 min count"),
    ),
    (
        "believable weights out of order",
        instead(f"{TABLES}/times.toml", '["25", "300"]', '["300", "25"]'),
        ("weight_believable_kg", "not in order"),
    ),
    (
        "plausible limits out of order",
        instead(f"{TABLES}/observations.toml", 'plausible = ["100", "220"]', 'plausible = ["220", "100"]'),
        ("height", "plausible limits are not in order"),
    ),
    (
        "a form whose items do not add up",
        instead(f"{TABLES}/screens.toml", "total_max = 30", "total_max = 40"),
        ("epds", "do not add up to 40"),
    ),
    (
        "an item that the form does not have",
        instead(f"{TABLES}/screens.toml", "self_harm_item = 10", "self_harm_item = 11"),
        ("epds", "there is no item 11"),
    ),
    (
        "a dose above the limit of the order check",
        after(f"{TABLES}/order_check.toml", 'medicine = "ketamine"', 'mg_per_kg = "0.75"', 'mg_per_kg = "0.4"'),
        ("racemic-ketamine-iv", "dose_mg_per_kg is above 0.4 mg/kg"),
    ),
    (
        "an infusion that its own order check refuses",
        instead(f"{TABLES}/order_check.toml", "shortest_min = 40", "shortest_min = 45"),
        ("esketamine-iv", "duration_min", "45 to 60 min only"),
    ),
    (
        "an order that ends before it may begin",
        instead(f"{TABLES}/protocols.toml", "start_within_min = 60", "start_within_min = 6000"),
        ("start_within_min is longer than valid_hours",),
    ),
    # --- rules that nothing can meet
    (
        "a limit that no number reaches",
        instead(f"{TABLES}/reviews.toml", 'at_least = "19"', 'at_least = "31"'),
        ("epds_current_score", "can never hold", "0 to 30"),
    ),
    (
        "a limit that every number reaches",
        after(f"{TABLES}/contraindications.toml", 'fact = "systolic_any"', 'at_least = "160"', 'at_least = "30"'),
        ("systolic_any", "always holds"),
    ),
    (
        "a number asked of what has none",
        instead(f"{TABLES}/contraindications.toml", 'fact = "sepsis"\n', 'fact = "sepsis"\nat_least = "1"\n'),
        ("sepsis", "can never hold", "has no number"),
    ),
    (
        "a test twice in one row",
        after(
            f"{TABLES}/contraindications.toml",
            'id = "C05"',
            'fact = "arteriovenous_malformation"',
            'fact = "vascular_aneurysm"',
        ),
        ("C05", "vascular_aneurysm stands 2 times"),
    ),
    (
        "a tier that another always has first",
        after(f"{TABLES}/risk.toml", "[[high]]", 'fact = "suicide_attempt"', 'fact = "anxiety_disorder"'),
        ("elevated", "anxiety_disorder", "high already has it"),
    ),
    (
        "an input that is never needed",
        after(f"{TABLES}/inputs.toml", 'id = "D12"', 'after_birth = "confirm"', 'after_birth = "not needed"'),
        ("D12 is never needed",),
    ),
    (
        "a medicine that counts neither now nor then",
        instead(f"{TABLES}/medicines.toml", 'active = true\nwithin_hours = "48"\n', "active = false\n"),
        ("xanthine", "can never hold"),
    ),
    (
        "a fact of which nothing is left",
        instead(f"{TABLES}/conditions.toml", 'concepts = ["sepsis"]', 'concepts = ["sepsis"]\nunless = ["sepsis"]'),
        ("sepsis", "can never hold", "unless"),
    ),
    (
        "an idea that no entry can mean",
        added(
            f"{SETS}/conditions.toml", '\n[[concept]]\nname = "hunch"\nsays = "A hunch"\nsources = ["project-rule"]\n'
        ),
        ("hunch", "no code and no word can mean it"),
    ),
    (
        "an entry that no chart has",
        instead(f"{TABLES}/contraindications.toml", 'carriers = ["', 'carriers = ["Hunch", "'),
        ("C01", "carriers"),
    ),
    (
        "a derived fact that no table names",
        instead(f"{TABLES}/derived.toml", 'fact = "safety_assessed_since"', 'fact = "safety_assessed"'),
        ("safety_assessed_since is missing",),
    ),
    (
        "a topic at a hook that is not served",
        instead(f"{TABLES}/topics.toml", 'hooks = ["order-select", "order-sign"]', 'hooks = ["order-selekt"]'),
        ("KETCONTRA", "no such hook: order-selekt"),
    ),
    (
        "an option on a card that is not there",
        everywhere(f"{TABLES}/evidence.toml", '"KETNOPROTO"', '"KETNOTHERE"'),
        ("evidence.toml", "counselling: no such topic: KETNOTHERE"),
    ),
    # --- what only shows when somebody is advised
    (
        "a form by another name",
        instead(f"{TABLES}/screens.toml", 'fact = "phq9"', 'fact = "phq"'),
        ("worked cases get no answer, V10 first", "KeyError at", "screening.py"),
    ),
    (
        "a limit that the cards name and no row has",
        instead(f"{TABLES}/inputs.toml", 'facts = ["epds_current"]', 'facts = ["epds_for_risk"]'),
        ("worked cases get no answer, V10 first", "StopIteration at", "standing.py"),
    ),
    # --- cards: holes, lengths, words, both sides
    (
        "a placeholder that is empty when the check breaks down",
        after("cards/KETDATA.toml", "[variant.failed]", "could not be checked", "was not checked ($count)"),
        ("KETDATA.toml", "failed.summary", "nobody says: count"),
    ),
    (
        "a block that leaves out what it is for",
        instead("cards/blocks.toml", "**Harms.** $says", "**Harms.**"),
        ("blocks.toml", "harms", "does not say: says"),
    ),
    (
        "a label that is too long for a button",
        instead("cards/PPDRISK.toml", 'label = "', f'label = "{"very " * 21}'),
        ("PPDRISK.toml", "label", "100 characters"),
    ),
    (
        "a sentence that is too long for a card",
        instead(f"{TABLES}/contraindications.toml", 'says = "', f'says = "{"very " * 90}'),
        ("C01", "says", "400 characters"),
    ),
    (
        "a summary that can be of any length",
        instead(
            "cards/KETREVIEW.toml",
            '  "Ask specialists before $medicine, reasons: $count",\n',
            '  "Ask about $reason",\n',
        ),
        ("KETREVIEW.toml", "can be of any length: reason"),
    ),
    (
        "a command",
        instead("cards/KETOPTION.toml", "Nothing is given before birth.", "Give now what is needed."),
        ("KETOPTION.toml", "give now"),
    ),
    (
        "a diagnosis as a label",
        instead("cards/PPDRISK.toml", "Ask how she is", "The schizophrenic. Ask how she is"),
        ("PPDRISK.toml", "schizophrenic"),
    ),
    (
        "a banned word in a table",
        instead(f"{TABLES}/orders.toml", 'says = "', 'says = "It is harmless: '),
        ("orders.toml", "harmless"),
    ),
    (
        "a word that the first line may not use",
        instead(f"{TABLES}/reviews.toml", 'says = "Safety concern"', 'says = "Suicidal"'),
        ("reviews.toml", "suicidal", "Suicidal"),
    ),
    (
        "a word banned twice",
        instead(f"{TABLES}/wording.toml", '"hysterical"', '"hysterical", "Harmless"'),
        ("wording.toml", "banned twice: harmless"),
    ),
    (
        "the offer without its evidence",
        instead(OPTION, "\n$evidence\n", ""),
        ("KETOPTION.toml", "evidence for and against", "missing"),
    ),
    (
        "a small card without its evidence",
        instead("cards/KETDATA.toml", "\n$evidence_brief\n", ""),
        ("KETDATA.toml", "evidence for and against", "missing"),
    ),
    (
        "evidence in brief of one side",
        instead("cards/blocks.toml", " **Against:** $con", ""),
        ("blocks.toml", "evidence_brief", "does not say: con"),
    ),
    (
        "nothing against a medicine",
        everywhere(
            f"{TABLES}/evidence.toml",
            'medicines = ["ketamine"]\nside = "against"',
            'medicines = ["ketamine"]\nside = "for"',
        ),
        ("evidence.toml", "ketamine"),
    ),
    (
        "no harm of a medicine",
        everywhere(
            f"{TABLES}/evidence.toml", '[[harm]]\nmedicines = ["esketamine"', '[[harm]]\nmedicines = ["ketamine"'
        ),
        ("evidence.toml", "esketamine: no harm"),
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


def test_there_are_more_than_a_hundred_of_them(record_property: Callable[[str, object], None]) -> None:
    assert len({what for what, _, _ in DEFECTS}) == len(DEFECTS) >= 100
    record_property("safety", f"{len(DEFECTS)} planted defects of the knowledge, the cards and the site, each named")


def test_a_review_that_is_overdue_is_named_and_stops_nobody(copied: Copy) -> None:
    instead(f"{TABLES}/risk.toml", "again = 2027-11-23", "again = 2027-01-01")(copied.root)
    instead("cards/PPDRISK.toml", "again = 2027-11-23", "again = 2027-02-01")(copied.root)

    on_the_last_day, too_late = copied.check("2027-01-01T23:00:00Z"), copied.check("2027-03-01T00:00:00Z")

    assert "overdue" not in on_the_last_day.output
    overdue = [line for line in too_late.output.splitlines() if "overdue" in line]
    assert overdue == [
        "review overdue: cards/PPDRISK.toml since 2027-02-01",
        "review overdue: tables/risk since 2027-01-01",
    ]
    assert too_late.exit_code == 0
    assert too_late.output.splitlines()[-1] == "no defects"


def test_every_table_and_card_can_be_overdue(copied: Copy) -> None:
    done = copied.check("2099-01-01T00:00:00Z")

    overdue = {line.split()[2].removesuffix(".toml") for line in done.output.splitlines() if "overdue" in line}
    files = {*(copied.root / "knowledge").glob("*/*.toml"), *(copied.root / "cards").glob("*.toml")}
    assert overdue == {f"{file.parent.name}/{file.stem}" for file in files}


def test_a_source_that_nobody_cites_is_named_and_is_no_defect(copied: Copy) -> None:
    added(f"{TABLES}/sources.toml", '\n[example-2026]\ntitle = "An example"\npublished = "2026"\nsure = "memory"\n')(
        copied.root
    )

    done = copied.check()

    (line,) = [line for line in done.output.splitlines() if "nobody cites" in line]
    assert "example-2026" in line
    assert "wang-bmj-2024" not in line
    assert done.exit_code == 0


def test_a_word_is_looked_for_as_a_whole_word(copied: Copy) -> None:
    instead("cards/PPDRISK.toml", "Ask how she is", "Her safety, and giving nowadays. Ask how she is")(copied.root)

    done = copied.check()

    assert done.output.splitlines()[-1] == "no defects"


def test_a_banned_word_is_found_while_other_tables_are_unfit_and_not_without_its_table(copied: Copy) -> None:
    instead("cards/PPDRISK.toml", "Ask how she is", "It is safe. Ask how she is")(copied.root)
    gone(f"{TABLES}/times.toml")(copied.root)

    with_the_words = copied.check()
    gone(f"{TABLES}/wording.toml")(copied.root)
    without = copied.check()

    assert 'the words "safe" are not to be used' in with_the_words.output
    assert "tables/wording.toml: missing" in without.output
    assert "not to be used" not in without.output
    assert without.exit_code == 1


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
