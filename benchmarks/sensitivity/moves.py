"""
The numbers that the report moves: where each stands in the tables, by how much it moves, and whom it is about.

A number is moved in a copy of the tables, never in code. What it was is read from the tables as well.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Literal

from encoding import Json

from cds_service.knowledge.loader import FOLDER
from sensitivity.women import lab, laid_over

STEPS = (-2, -1, 0, 1, 2)
_NEXT_ROW = re.compile(r"^\[\[(?:\w+)\]\]", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """
    One number of a table: the file, the lines that lead to it one after the other, and its key.

    `scale`: how many of the table's units make one of the report's (a table says minutes where people say days).
    """

    file: str
    path: tuple[str, ...]
    key: str
    scale: int = 1

    def found(self, text: str) -> re.Match[str]:
        """Where the number stands: after the last of `path`, and before the next row."""
        place = 0
        for line in self.path:
            place = text.index(line, place) + len(line)
        end = _NEXT_ROW.search(text, place)
        number = re.compile(rf'^{self.key} = (?P<quote>"?)(?P<number>[0-9.]+)(?P=quote)', re.MULTILINE)
        found = number.search(text, place, end.start() if end else len(text))
        if found is None:
            raise LookupError(f"tables/{self.file}.toml: {' / '.join(self.path)}: {self.key} does not stand there")
        return found

    def value(self, folder: Path = FOLDER) -> Decimal:
        return Decimal(self.found(_text(folder, self.file))["number"])

    def write(self, folder: Path, value: Decimal) -> None:
        text = _text(folder, self.file)
        found = self.found(text)
        moved = f"{text[: found.start('number')]}{value:f}{text[found.end('number') :]}"
        (folder / "tables" / f"{self.file}.toml").write_text(moved, encoding="utf-8")

    def __str__(self) -> str:
        return f"{self.file} {' '.join(self.path)} {self.key}"


def _text(folder: Path, file: str) -> str:
    return (folder / "tables" / f"{file}.toml").read_text(encoding="utf-8")


Theme = Literal["screens", "circulation", "breathing", "body", "birth", "medicines"]
Whose = Literal["[P]", "window", "source"]
Near = Callable[[float, Random], Json]


@dataclass(frozen=True)
class Move:
    """
    One number of the decision logic.

    `stricter`: in which direction fewer women may get a dose. `cells`: all places that move together; the first (or
    the first two, `pair`) are what people call it. `near`: a woman whose own value is this, and against whom nothing
    else speaks. `born`: whether that woman has given birth; None: as it comes. `whole`: only whole numbers occur.
    """

    id: str
    theme: Theme
    row: str
    says: str
    unit: str
    whose: Whose
    step: Decimal
    stricter: Literal["lower", "higher"]
    cells: tuple[Cell, ...]
    near: Near
    pair: bool = False
    born: bool | None = None
    whole: bool = False

    def in_force(self) -> Decimal:
        return self.cells[0].value() / self.cells[0].scale

    def label(self, step: int) -> str:
        """What people would call the number after so many steps."""
        named = self.cells[: 2 if self.pair else 1]
        values = [cell.value() / cell.scale + step * self.step for cell in named]
        return "/".join(f"{value.normalize():f}" for value in values)

    def moved(self, folder: Path, step: int) -> Path:
        """A copy of the knowledge in which this number, and no other, is so many steps away."""
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        for cell in self.cells:
            cell.write(folder, cell.value() + step * self.step * cell.scale)
        return folder

    def spread(self) -> tuple[Decimal, Decimal]:
        """From where to where the women near the line are spread, evenly."""
        middle = self.in_force()
        return max(middle - 3 * self.step, Decimal(0)), middle + 3 * self.step

    def value(self, number: int, size: int) -> float:
        """The value of one of so many women: evenly placed, from low to high."""
        low, high = self.spread()
        if self.whole:
            return int(low) + number * (int(high) - int(low) + 1) // size
        return round(float(low) + (number + 0.5) / size * float(high - low), 3)


def digest() -> str:
    """Names every number that the report moves. It changes when one of them does, and with nothing else."""
    said = [f"{cell} {cell.value().normalize():f}" for move in MOVES for cell in move.cells]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


# ---- Where a number stands


def _test(file: str, row: str, fact: str, key: str) -> Cell:
    return Cell(file, (f'id = "{row}"', f'fact = "{fact}"'), key)


def _stop(row: str, fact: str, key: str) -> Cell:
    return _test("contraindications", row, fact, key)


def _review(row: str, fact: str, key: str) -> Cell:
    return _test("reviews", row, fact, key)


def _tier(part: str, fact: str, key: str) -> Cell:
    return Cell("risk", (f'[[{part}]]\nfact = "{fact}"',), key)


def _given(fact: str, scale: int = 1) -> Cell:
    return Cell("medicines", (f'fact = "{fact}"',), "within_hours", scale)


def _read(fact: str) -> Cell:
    return Cell("observations", (f'fact = "{fact}"',), "window_hours")


def _input(row: str, key: str, scale: int = 1) -> Cell:
    return Cell("inputs", (f'id = "{row}"',), key, scale)


# ---- Who is near a line


def _screen(**what: object) -> Json:
    return {"screens": {"epds": what}}


def _pressure(systolic: float, diastolic: float, minutes: float = 5) -> Json:
    return {"vitals": {"bp": [{"sbp": systolic, "dbp": diastolic, "age_min": minutes}]}}


def _vital(name: str, value: float, minutes: float = 5) -> Json:
    return {"vitals": {name: {"value": value, "age_min": minutes}}}


def _shock_index(index: float, chance: Random) -> Json:
    systolic = chance.randint(95, 110)
    return laid_over(_pressure(systolic, 62), _vital("hr", round(index * systolic, 1)))


def _old_vitals(minutes: float, _: Random) -> Json:
    readings = {name: {"age_min": minutes} for name in ("hr", "spo2", "rr")}
    return {"vitals": readings}


def _weight(kilograms: float, _: Random) -> Json:
    return {"patient": {"weight": {"value": kilograms}, "height_cm": 195 if kilograms > 80 else 155}}


def _dose_of(name: str, days: bool = False) -> Near:
    def near(hours: float, _: Random) -> Json:
        ago = hours * 24 if days else hours
        return {"medications": {"list": [{"class": name, "status": "given", "hours_ago": round(ago, 3)}]}}

    return near


def _labs(liver: float = 0.6, platelets: float = 220, hours: float = 24) -> Json:
    return {
        "labs": [lab("ast", 21, hours), lab("alt", round(35 * liver, 2), hours), lab("platelets", platelets, hours)]
    }


_ALL_24_H = ("systolic", "diastolic", "systolic_any", "diastolic_any", "heart_rate", "spo2", "respiratory_rate")
_LABS = ("ast_ratio", "alt_ratio", "platelets")
_D = Decimal

MOVES: tuple[Move, ...] = (
    # ---- Screens
    Move(
        "epds-from", "screens", "section 6", "EPDS from which the medicine was studied", "", "source", _D(1), "higher",
        (
            _tier("not_indicated", "epds_current", "below"), _tier("positive_screen", "epds_for_risk", "at_least"),
            _tier("elevated", "epds_for_risk", "at_least"), _tier("reassuring", "epds_complete_for_risk", "below"),
            Cell("evidence", (), "studied_from_epds"),
        ),
        lambda v, _: _screen(total=int(v)), whole=True,
    ),
    Move(
        "epds-high", "screens", "section 3", "EPDS from which the risk is high", "", "source", _D(1), "lower",
        (_tier("high", "epds_for_risk", "at_least"), _tier("elevated", "epds_for_risk", "below")),
        lambda v, _: _screen(total=int(v)), whole=True,
    ),
    Move(
        "epds-treat", "screens", "R05", "EPDS from which to treat, not prevent", "", "[P]", _D(2), "lower",
        (_review("R05", "epds_current_score", "at_least"),),
        lambda v, _: _screen(total=int(v)), whole=True,
    ),
    Move(
        "epds-current", "screens", "D01", "EPDS counts as current for", "h", "window", _D(48), "lower",
        (Cell("screens", (), "current_hours"),),
        lambda v, _: _screen(age_h=v),
    ),
    Move(
        "self-harm", "screens", "R04", "a self-harm answer counts for", "days", "window", _D(4), "higher",
        (Cell("screens", (), "safety_days"),),
        lambda v, _: {"screens": {"phq9": {"total": 6, "item9": 1, "age_h": round(v * 24, 1)}}},
    ),
    # ---- Circulation
    Move(
        "hypotension", "circulation", "C13", "systolic pressure below", "mmHg", "[P]", _D(5), "higher",
        (_stop("C13", "systolic", "below"),),
        lambda v, _: laid_over(_pressure(v, 50), _vital("hr", 56)), whole=True,
    ),
    Move(
        "raised", "circulation", "R07", "blood pressure from", "mmHg", "source", _D(5), "lower",
        (_review("R07", "systolic", "at_least"), _review("R07", "diastolic", "at_least")),
        lambda v, _: _pressure(v, v - 50), pair=True, whole=True,
    ),
    Move(
        "severe", "circulation", "C04", "blood pressure from", "mmHg", "source", _D(5), "lower",
        (
            _stop("C04", "systolic_any", "at_least"), _stop("C04", "diastolic_any", "at_least"),
            _review("R07", "systolic", "below"), _review("R07", "diastolic", "below"),
        ),
        lambda v, _: _pressure(v, v - 50), pair=True, whole=True,
    ),
    Move(
        "shock-review", "circulation", "R16", "shock index from", "", "[P]", _D("0.04"), "lower",
        (_review("R16", "shock_index", "at_least"),), _shock_index,
    ),
    Move(
        "shock-stop", "circulation", "C13", "shock index from", "", "[P]", _D("0.04"), "lower",
        (_stop("C13", "shock_index", "at_least"), _review("R16", "shock_index", "below")), _shock_index,
    ),
    Move(
        "pressure-before", "circulation", "D04", "blood pressure, before birth, usable for", "min", "[P]", _D(60),
        "lower", (_input("D04", "before_minutes"),), lambda v, _: _pressure(118, 74, v), born=False,
    ),
    Move(
        "pressure-after", "circulation", "D04", "blood pressure, after birth, usable for", "min", "[P]", _D(15),
        "lower", (_input("D04", "after_minutes"),), lambda v, _: _pressure(118, 74, v), born=True,
    ),
    Move(
        "abnormal-stands", "circulation", "C04", "a severe pressure stands for", "h", "window", _D(6), "higher",
        tuple(_read(fact) for fact in _ALL_24_H),
        lambda v, _: {"vitals": {"bp": [
            {"sbp": 118, "dbp": 74, "age_min": 5}, {"sbp": 165, "dbp": 112, "age_min": round(v * 60)},
        ]}},
    ),
    # ---- Breathing and heart rate
    Move(
        "spo2-stop", "breathing", "C17", "SpO2 below", "%", "[P]", _D(1), "higher",
        (_stop("C17", "spo2", "below"), _review("R20", "spo2", "at_least")),
        lambda v, _: _vital("spo2", v), whole=True,
    ),
    Move(
        "spo2-review", "breathing", "R20", "SpO2 below", "%", "[P]", _D(1), "higher",
        (_review("R20", "spo2", "below"),), lambda v, _: _vital("spo2", v), whole=True,
    ),
    Move(
        "rate-slow", "breathing", "C17", "respiratory rate below", "per min", "[P]", _D(1), "higher",
        (_stop("C17", "respiratory_rate", "below"),), lambda v, _: _vital("rr", v), whole=True,
    ),
    Move(
        "rate-fast", "breathing", "R20", "respiratory rate above", "per min", "[P]", _D(2), "lower",
        (_review("R20", "respiratory_rate", "above"),), lambda v, _: _vital("rr", v), whole=True,
    ),
    Move(
        "pulse-fast", "breathing", "R20", "heart rate above", "per min", "[P]", _D(10), "lower",
        (_review("R20", "heart_rate", "above"),),
        lambda v, _: laid_over(_pressure(138, 84), _vital("hr", v)), whole=True,
    ),
    Move(
        "pulse-slow", "breathing", "R20", "heart rate below", "per min", "[P]", _D(5), "higher",
        (_review("R20", "heart_rate", "below"),), lambda v, _: _vital("hr", v), whole=True,
    ),
    Move(
        "vitals-age", "breathing", "D05", "heart rate, SpO2, respiratory rate usable for", "min", "window", _D(15),
        "lower", (_input("D05", "after_minutes"), _input("D05", "before_minutes")), _old_vitals, born=True,
    ),
    # ---- Weight and laboratory
    Move(
        "light", "body", "R17", "weight below", "kg", "[P]", _D(5), "higher",
        (_review("R17", "believable_weight", "below"),), _weight,
    ),
    Move(
        "heavy", "body", "R17", "weight above", "kg", "[P]", _D(10), "lower",
        (Cell("reviews", ('id = "R17"', 'fact = "believable_weight"', 'fact = "believable_weight"'), "above"),),
        _weight,
    ),
    Move(
        "bmi", "body", "R17", "body mass index from", "kg/m²", "[P]", _D("2.5"), "lower",
        (_review("R17", "body_mass_index", "at_least"),),
        lambda v, _: {"patient": {"weight": {"value": round(v * 1.55**2, 1)}, "height_cm": 155}},
    ),
    Move(
        "weight-age", "body", "D03", "weight usable for", "days", "window", _D(2), "lower",
        (_input("D03", "before_minutes", 1440), _input("D03", "after_minutes", 1440)),
        lambda v, _: {"patient": {"weight": {"age_h": round(v * 24, 1)}}},
    ),
    Move(
        "weights-differ", "body", "D14", "two weights differ by more than", "%", "[P]", _D("2.5"), "lower",
        (Cell("times", (), "weight_conflict_percent"),),
        lambda v, _: {"patient": {"other_weight_14d_kg": round(72.4 / (1 + v / 100), 2), "other_weight_age_h": 168}},
    ),
    Move(
        "weights-within", "body", "D14", "two weights are compared within", "days", "[P]", _D(2), "higher",
        (Cell("times", (), "weight_conflict_days"),),
        lambda v, _: {"patient": {"other_weight_14d_kg": 58, "other_weight_age_h": round(v * 24, 1)}},
    ),
    Move(
        "liver", "body", "R13", "AST or ALT above", "× limit", "[P]", _D("0.5"), "lower",
        (_review("R13", "ast_ratio", "above"), _review("R13", "alt_ratio", "above")), lambda v, _: _labs(liver=v),
    ),
    Move(
        "platelets", "body", "R13", "platelets below", "× 10⁹/L", "[P]", _D(20), "higher",
        (_review("R13", "platelets", "below"),), lambda v, _: _labs(platelets=v),
    ),
    Move(
        "labs-age", "body", "R13", "an abnormal laboratory value counts for", "h", "[P]", _D(48), "higher",
        tuple(_read(fact) for fact in _LABS), lambda v, _: _labs(liver=3, hours=v),
    ),
    # ---- Birth
    Move(
        "loss-review", "birth", "R16", "blood loss, not at a caesarean, from", "mL", "[P]", _D(100), "lower",
        (_review("R16", "blood_loss_not_caesarean", "at_least"),),
        lambda v, _: {"encounter": {"qbl_ml": round(v), "mode": "vaginal"}}, born=True,
    ),
    Move(
        "loss-stop", "birth", "C13", "blood loss from", "mL", "[P]", _D(100), "lower",
        (_stop("C13", "blood_loss", "at_least"), _review("R16", "blood_loss_not_caesarean", "below")),
        lambda v, c: {"encounter": {"qbl_ml": round(v), "mode": c.choice(("vaginal", "cesarean"))}}, born=True,
    ),
    Move(
        "since-clamp", "birth", "R18", "time since the cord was clamped above", "min", "[P]", _D(15), "lower",
        (_review("R18", "minutes_since_birth", "above"),),
        lambda v, _: {"encounter": {"minutes_since_cord_clamp": v}}, born=True,
    ),
    Move(
        "eclampsia-past", "birth", "C03", "resolved pre-eclampsia counts for", "days", "window", _D(7), "higher",
        (Cell("conditions", ('fact = "pre_eclampsia"',), "resolved_days"),),
        lambda v, _: {"problems": {"conditions": [{"name": "preeclampsia", "status": "resolved", "ended_d": v}]}},
    ),
    # ---- Medicines
    Move("xanthine", "medicines", "C14", "theophylline given within", "h", "[P]", _D(12), "higher",
         (_given("xanthine"),), _dose_of("xanthine")),
    Move("ergot", "medicines", "C15", "ergometrine given within", "h", "[P]", _D(3), "higher",
         (_given("ergot"),), _dose_of("ergot")),
    Move("magnesium", "medicines", "R09", "magnesium given within", "h", "[P]", _D(2), "higher",
         (_given("magnesium"),), _dose_of("magnesium")),
    Move("opioid", "medicines", "R10", "systemic opioid given within", "h", "[P]", _D(1), "higher",
         (_given("systemic_opioid"),), _dose_of("systemic_opioid")),
    Move("sedative", "medicines", "R10", "benzodiazepine given within", "h", "[P]", _D(1), "higher",
         (_given("sedative"),), _dose_of("benzodiazepine")),
    Move("maoi", "medicines", "R11", "MAO inhibitor given within", "days", "window", _D(4), "higher",
         (_given("mao_inhibitor", 24),), _dose_of("maoi", days=True)),
    Move("stimulant", "medicines", "R12", "psychostimulant given within", "h", "window", _D(6), "higher",
         (_given("stimulant"),), _dose_of("stimulant")),
    Move("terbutaline", "medicines", "R12", "terbutaline given within", "h", "window", _D(6), "higher",
         (_given("terbutaline"),), _dose_of("terbutaline")),
    Move("ketamine", "medicines", "R19", "ketamine for another reason within", "h", "[P]", _D(6), "higher",
         (_given("ketamine_for_other_reason"),), _dose_of("ketamine_other")),
)  # fmt: skip

# Numbers of the same tables that the report leaves where they are, by fact or by key: what they are, and why.
NOT_MOVED: Mapping[str, tuple[str, str]] = {
    "age": ("C01: 18 years; risk: 20 years", "the ages that the trial and the USPSTF name"),
    "asa_class": ("R06: ASA physical status III", "classes are no scale"),
    "epds_self_harm": ("R04: EPDS item 10 of 1 or more", "any answer but 0 counts"),
    "phq9_self_harm": ("R04: PHQ-9 item 9 of 1 or more", "any answer but 0 counts"),
    "phq9_for_risk": ("risk: PHQ-9 of 10 and 15", "the bands of the PHQ-9; they move the tier only"),
    "phq9_complete_for_risk": ("risk: PHQ-9 below 10 reassures", "the same band"),
    "gad7_for_risk": ("risk: GAD-7 of 10", "the cut-off of the GAD-7; it moves the tier only"),
    "apnoea_hypopnoea_index": ("R22: 30 per h", 'what "severe" means; the invented charts hold no sleep study'),
    "antidepressant": ("R03: an antidepressant given within 4 h", "the number of R10"),
    "antipsychotic": ("R03: an antipsychotic given within 4 h", "the number of R10"),
    "mood_stabiliser": ("R03: a mood stabiliser given within 4 h", "the number of R10"),
    "neuraxial_opioid": ("M01: 24 h", "adds monitoring, moves no status"),
    "vasopressor_bolus": ("M05: 15 min", "adds a line to the order, moves no status"),
    "same_form_minutes": ("EPDS total and item 10 of one form: 10 min", "about how a form is written down"),
    "tier_days": ("risk: an EPDS counts for 90 days", "moves the tier only"),
    "other_days": ("risk: PHQ-9 and GAD-7 count for 14 days", "move the tier only"),
    "after_birth_days": ("stage: after birth for 7 days", "says which cards are for whom"),
    "postpartum_days": ("stage: postpartum for 140 days", "says which cards are for whom"),
    "late_postpartum_days": ("stage: postpartum for 365 days", "says which cards are for whom"),
    "gestation_days": ("this pregnancy: 280 days before the due date", "how long a pregnancy is"),
    "pregnancy_days": ("this pregnancy: 300 days at most", "how long a pregnancy is"),
    "this_birth_hours": ("blood loss belongs to a birth from 24 h before it", "about how a birth is written down"),
}
