"""
Invented women before and after birth. They are drawn by chance from what is written here, and are no real population.

Only two of these numbers come from a publication: `AGE` and `POSITIVE`. All others are assumptions of this project,
made so that each rule has women to decide about.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache
from random import Random
from typing import Any

from encoding import Case, Json, read_cases

SEED = "sensitivity 1"

# wang-bmj-2024: mean age 31.8 years (SD 4.1).
AGE = (31.8, 4.1)
# chictr2100053422: 23.1 of 100 in the control arm, after unselected caesareans, had an EPDS above 9 on day 4.
POSITIVE = 0.231

# Assumptions, each in a line: what it is, how it is drawn, and the numbers. The report prints this table.
NORMAL: Mapping[str, tuple[float, float]] = {
    "systolic pressure, mmHg": (118, 12),
    "diastolic pressure, mmHg": (73, 8),
    "heart rate, per min": (82, 11),
    "respiratory rate, per min": (16, 2.5),
    "weight, kg": (76, 16),
    "height, cm": (163, 7),
    "platelets, × 10⁹/L": (220, 55),
}
# How long ago: few are old (exponential, with this mean).
MEAN_AGE: Mapping[str, float] = {
    "EPDS, h": 72,
    "weight, h": 48,
    "blood pressure and other vital signs before birth, min": 60,
    "blood pressure and other vital signs after birth, min": 15,
    "since the cord was clamped, min": 25,
    "laboratory values, h": 72,
}
# Of 100 women.
PROBLEMS: Mapping[str, float] = {
    "depression": 10,
    "anxiety": 6,
    "postpartum_depression_history": 5,
    "bipolar": 1,
    "past_suicide_attempt": 1,
    "gestational_hypertension": 5,
    "chronic_hypertension": 2,
    "preeclampsia": 4,
    "epilepsy": 1,
    "hyperthyroidism": 1,
    "cardiomyopathy": 1,
    "placenta_praevia": 1,
    "severe_asthma": 1,
    "opioid_use_disorder": 1,
}
# Of 100 women, and evenly within how many hours before the call it was given.
MEDICINES: Mapping[str, tuple[float, float]] = {
    "neuraxial_opioid": (40, 12),
    "systemic_opioid": (10, 12),
    "benzodiazepine": (3, 12),
    "magnesium": (4, 24),
    "ergot": (3, 24),
    "terbutaline": (3, 48),
    "stimulant": (1, 48),
    "xanthine": (1, 96),
    "ketamine_other": (2, 48),
    "maoi": (1, 672),
}
SHARES: Mapping[str, float] = {
    "after birth; the others are before it": 50,
    "caesarean": 50,
    "general anaesthesia, of the caesareans": 8,
    "ASA physical status I; 75 have II, 5 have III": 20,
    "positive bipolar screen": 5,
    "self-harm answer (EPDS item 10) of 1 or more, where the EPDS is 10 or more": 6,
    "antidepressant": 6,
    "allergy to ketamine": 1,
    "laboratory values on record": 60,
    "a second weight within 20 days, on average as high (SD 5 %)": 30,
}
EPDS_ABOVE_10 = 4.0  # exponential: on average 14, one in ten 19 or more
SPO2_BELOW_100 = 2.0  # exponential: on average 98 %
BLOOD_LOSS_ML = (350, 0.6)  # log-normal: median, and the SD of its logarithm

Change = Callable[[Json], Json]


def plain() -> Json:
    """Nothing against the medicine, everything known: where every worked case of the tests starts, too."""
    return copy.deepcopy(_first_case().given)


@cache
def _first_case() -> Case:
    return next(case for case in read_cases() if case.id == "V01")


def laid_over(below: Json, above: Json) -> Json:
    """Maps merge key by key; all else replaces."""
    merged = {
        name: laid_over(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return {**below, **above, **merged}


def case_of(number: int, given: Json) -> Case:
    return Case(id=f"W{number:04}", story="An invented woman", given=given, expect={})


def dice(*about: object) -> Random:
    """Chance that comes out the same at each run, and for each woman apart from the others."""
    return Random(" ".join((SEED, *map(str, about))))  # noqa: S311  (no secret)


def woman(number: int, *, positive: bool, start: Json) -> Json:
    """
    One woman of a cohort. `positive`: her EPDS is 10 or more; else it is so as often as `POSITIVE` says.

    Whatever is not about the EPDS is the same in both cohorts.
    """
    chance = dice("woman", number)
    born = _happens(chance, SHARES["after birth; the others are before it"])
    caesarean = _happens(chance, SHARES["caesarean"])
    general = _happens(chance, SHARES["general anaesthesia, of the caesareans"])
    place = "after" if born else "before"
    minutes = max(1, round(_age(chance, "since the cord was clamped, min"))) if born else None
    vitals = f"blood pressure and other vital signs {place} birth, min"
    pressure_age, others_age = (round(_age(chance, vitals), 1) for _ in range(2))
    asa = chance.choices((1, 2, 3), (20, 75, 5))[0]
    given = laid_over(
        start,
        {
            "patient": {
                "age_years": min(48, max(15, round(chance.gauss(*AGE)))),
                "weight": {
                    "value": max(35, _normal(chance, "weight, kg", 1)),
                    "age_h": round(_age(chance, "weight, h"), 1),
                },
                "height_cm": round(_normal(chance, "height, cm")),
            },
            "encounter": {
                "stage": "post_delivery" if born else "pre_delivery",
                "mode": "cesarean" if caesarean else "vaginal",
                "anesthesia": "general" if caesarean and general else "neuraxial",
                "asa_class": asa,
                "minutes_since_cord_clamp": minutes,
                "qbl_ml": round(BLOOD_LOSS_ML[0] * chance.lognormvariate(0, BLOOD_LOSS_ML[1])) if born else None,
            },
            "vitals": {
                "bp": [
                    {
                        "sbp": round(_normal(chance, "systolic pressure, mmHg")),
                        "dbp": round(_normal(chance, "diastolic pressure, mmHg")),
                        "age_min": pressure_age,
                    }
                ],
                "hr": {"value": round(_normal(chance, "heart rate, per min")), "age_min": others_age},
                "spo2": {"value": 100 - round(chance.expovariate(1 / SPO2_BELOW_100)), "age_min": others_age},
                "rr": {"value": round(_normal(chance, "respiratory rate, per min")), "age_min": others_age},
            },
            "problems": {"conditions": [name for name, share in PROBLEMS.items() if _happens(chance, share)]},
            "medications": {"list": _medicines(chance)},
            "labs": _labs(chance),
            "allergies": {"list": ["ketamine"] if _happens(chance, SHARES["allergy to ketamine"]) else []},
        },
    )
    weights = _second_weight(chance, given["patient"]["weight"]["value"])
    screens = {
        "bipolar_screen": "positive" if _happens(chance, SHARES["positive bipolar screen"]) else "negative",
        "epds": _epds(dice("epds", number), positive=positive),
    }
    return laid_over(given, {"patient": weights, "screens": screens})


def _happens(chance: Random, of_100: float) -> bool:
    return chance.random() * 100 < of_100


def _age(chance: Random, what: str) -> float:
    return chance.expovariate(1 / MEAN_AGE[what])


def _normal(chance: Random, what: str, places: int | None = None) -> float:
    return round(chance.gauss(*NORMAL[what]), places)


def _epds(chance: Random, *, positive: bool) -> Json:
    """Below 10 evenly from 0 to 9; above it the higher the rarer, 4 points above 10 on average."""
    high = chance.random() < POSITIVE
    low_total, high_total = chance.randint(0, 9), min(30, 10 + int(chance.expovariate(1 / EPDS_ABOVE_10)))
    harm = _happens(chance, SHARES["self-harm answer (EPDS item 10) of 1 or more, where the EPDS is 10 or more"])
    is_high = positive or high
    return {
        "total": high_total if is_high else low_total,
        "item10": 1 if is_high and harm else 0,
        "age_h": round(_age(chance, "EPDS, h"), 1),
    }


def _medicines(chance: Random) -> list[Json]:
    given: list[Json] = []
    for name, (share, hours) in MEDICINES.items():
        happens, when = _happens(chance, share), round(chance.uniform(0, hours), 2)
        if happens:
            given.append({"class": name, "status": "given", "hours_ago": when})
    if _happens(chance, SHARES["antidepressant"]):
        given.append({"class": "antidepressant", "status": "active"})
    return given


def _labs(chance: Random) -> list[Json]:
    """AST and ALT: on average 0.6 times the upper limit, log-normal."""
    on_record, hours = (
        _happens(chance, SHARES["laboratory values on record"]),
        round(_age(chance, "laboratory values, h"), 1),
    )
    liver = [round(21 * chance.lognormvariate(0, 0.45)) for _ in range(2)]
    platelets = max(20, round(_normal(chance, "platelets, × 10⁹/L")))
    if not on_record:
        return []
    return [lab("ast", liver[0], hours), lab("alt", liver[1], hours), lab("platelets", platelets, hours)]


def lab(test: str, value: float, hours: float) -> Json:
    return {"test": test, "value": value, "age_h": hours} | ({} if test == "platelets" else {"uln": 35})


def _second_weight(chance: Random, weight: float) -> Json:
    there = _happens(chance, SHARES["a second weight within 20 days, on average as high (SD 5 %)"])
    value, hours = round(weight * chance.gauss(1, 0.05), 1), round(chance.uniform(24, 480))
    return {"other_weight_14d_kg": value, "other_weight_age_h": hours} if there else {}


# ---- What may be missing, and what may be abnormal


def _set(**sections: Any) -> Change:
    return lambda given: laid_over(given, sections)


def _vital(name: str, value: float) -> Change:
    return lambda given: laid_over(
        given, {"vitals": {name: {**(given["vitals"][name] or {"age_min": 5}), "value": value}}}
    )


def _pressure(systolic: float, diastolic: float) -> Change:
    def change(given: Json) -> Json:
        age = given["vitals"]["bp"][0]["age_min"] if given["vitals"]["bp"] else 5
        return laid_over(given, {"vitals": {"bp": [{"sbp": systolic, "dbp": diastolic, "age_min": age}]}})

    return change


def _epds_says(**what: Any) -> Change:
    return lambda given: laid_over(given, {"screens": {"epds": {**(given["screens"]["epds"] or {}), **what}}})


def _no_item_10(given: Json) -> Json:
    form = given["screens"]["epds"]
    if form is None:
        return given
    return _epds_says(item10=None, items_answered=9, total=min(27, form["total"]))(given)


def _also(section: str, key: str, *more: Any) -> Change:
    return lambda given: laid_over(given, {section: {key: [*given[section][key], *more]}})


def _another_weight(given: Json) -> Json:
    weight = given["patient"]["weight"]
    more = {"other_weight_14d_kg": round(weight["value"] * 1.2, 1), "other_weight_age_h": 240}
    return laid_over(given, {"patient": {"weight": {**weight, "age_h": min(weight["age_h"], 160)}, **more}})


def _after_birth(section: str, **what: Any) -> Change:
    """Only a woman who has given birth has it."""

    def change(given: Json) -> Json:
        return laid_over(given, {section: what}) if given["encounter"]["stage"] == "post_delivery" else given

    return change


Abnormal = tuple[tuple[str, Change], ...]
# What is asked of a chart: in words, its row in the tables, how it goes missing, and how it is abnormal.
INPUTS: tuple[tuple[str, str, Change, Abnormal], ...] = (
    (
        "EPDS",
        "D01",
        _set(screens={"epds": None}),
        (("9", _epds_says(total=9, item10=0)), ("19", _epds_says(total=19, item10=0))),
    ),
    (
        "EPDS item 10",
        "D01",
        _no_item_10,
        (("answered 1", lambda given: _epds_says(item10=1, total=max(1, given["screens"]["epds"]["total"]))(given)),),
    ),
    ("Birth date", "D02", _set(patient={"birth_date": "unknown"}), (("17 years", _set(patient={"age_years": 17})),)),
    (
        "Weight",
        "D03",
        _set(patient={"weight": None, "other_weight_14d_kg": None}),
        (
            (
                "125 kg",
                lambda given: laid_over(given, {"patient": {"weight": {"value": 125}, "other_weight_14d_kg": None}}),
            ),
            ("another weight 20 % higher", _another_weight),
        ),
    ),
    (
        "Height",
        "R17",
        _set(patient={"height_cm": None}),
        (
            (
                "BMI 42",
                lambda given: laid_over(
                    given, {"patient": {"height_cm": round((given["patient"]["weight"]["value"] / 42) ** 0.5 * 100, 1)}}
                ),
            ),
        ),
    ),
    (
        "Blood pressure",
        "D04",
        _set(vitals={"bp": []}),
        (("145/92", _pressure(145, 92)), ("165/112", _pressure(165, 112)), ("85/50", _pressure(85, 50))),
    ),
    ("Heart rate", "D05", _set(vitals={"hr": None}), (("125 per min", _vital("hr", 125)),)),
    ("SpO2", "D05", _set(vitals={"spo2": None}), (("93 %", _vital("spo2", 93)), ("90 %", _vital("spo2", 90)))),
    (
        "Respiratory rate",
        "D05",
        _set(vitals={"rr": None}),
        (("26 per min", _vital("rr", 26)), ("8 per min", _vital("rr", 8))),
    ),
    (
        "Allergy list",
        "D06",
        _set(allergies={"available": False}),
        (("ketamine", _set(allergies={"list": ["ketamine"]})),),
    ),
    (
        "Medicines",
        "D07",
        _set(medications={"available": False}),
        (
            ("sertraline", _also("medications", "list", {"class": "antidepressant", "status": "active"})),
            (
                "morphine 2 h ago",
                _also("medications", "list", {"class": "systemic_opioid", "status": "given", "hours_ago": 2}),
            ),
            (
                "methylergometrine 2 h ago",
                _also("medications", "list", {"class": "ergot", "status": "given", "hours_ago": 2}),
            ),
        ),
    ),
    (
        "Problem list",
        "D08",
        _set(problems={"available": False}),
        (
            ("depression", _also("problems", "conditions", "depression")),
            ("pre-eclampsia", _also("problems", "conditions", "preeclampsia")),
        ),
    ),
    ("ASA physical status", "D09", _set(encounter={"asa_class": None}), (("III", _set(encounter={"asa_class": 3})),)),
    (
        "Bipolar screen",
        "D10",
        _set(screens={"bipolar_screen": None}),
        (("positive", _set(screens={"bipolar_screen": "positive"})),),
    ),
    ("Mode of delivery", "D11", _set(encounter={"mode": None}), ()),
    (
        "Anaesthesia",
        "D11",
        _set(encounter={"anesthesia": None}),
        (("general", _set(encounter={"anesthesia": "general"})),),
    ),
    (
        "Blood loss (after birth)",
        "D12",
        _after_birth("encounter", qbl_ml=None),
        (("700 mL", _after_birth("encounter", qbl_ml=700)), ("1,200 mL", _after_birth("encounter", qbl_ml=1200))),
    ),
    (
        "Birth and its time (after birth)",
        "D13",
        _after_birth("encounter", minutes_since_cord_clamp=None),
        (("90 min ago", _after_birth("encounter", minutes_since_cord_clamp=90)),),
    ),
    (
        "Laboratory values",
        "R13",
        lambda given: {**given, "labs": []},
        (("platelets 80", lambda given: {**given, "labs": [lab("platelets", 80, 24)]}),),
    ),
)
