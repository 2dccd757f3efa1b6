"""
Writes the worked cases down as requests and plain words: what the package can read of them, and make a manual of.

`python tests/stories.py` writes the file again after a change of the vignettes or of the prefetch. A test compares.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ehr import request_for
from encoding import CODES, FOLDER, TABLES, Json, read_cases, site_of

from cds_service.advisor import Advisor
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import Site
from cds_service.stories import FILE

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
# The file of its own that holds the cases on both sides of each line. Of these only some are told.
LINES: Final = "boundaries"
# Rules and cards that no other case shows, each with the first of the boundary cases that does.
MORE_RULES: Final = (
    "B94a", "B93a", "B95b", "B95a", "B97a", "B92a", "B108d", "B113a", "B102a", "B27a", "B82a", "B118a", "B119a",
    "B127a", "B102b", "B96a", "B35b", "B60b", "B108a", "B108b", "B105a", "B124a", "B107a", "B32a", "B131a", "B164a",
    "B163b",
)  # fmt: skip
MORE: Final = "more_rules"


def records() -> Iterator[Json]:
    """Each case that is told: its words, its hospital and the call of its EHR."""
    cases = {case.id: case for case in read_cases()}
    knowledge = load_knowledge()
    discovery = Advisor(
        knowledge, load_wording(knowledge=knowledge), Site.from_table(site_of(cases["V01"])), lambda: NOW
    ).discovery()
    for group, rows in _told():
        for row in rows:
            case = cases[row["id"]]
            yield {
                "id": case.id,
                "group": group,
                "story": case.story,
                "why": case.why,
                "given": list(in_plain_words(row.get("set", {}))),
                "now": NOW.isoformat(),
                "site": site_of(case),
                "request": request_for(case, NOW, discovery),
            }


def _told() -> Iterator[tuple[str, list[Json]]]:
    files = {
        path.stem: tomllib.loads(path.read_text(encoding="utf-8"))["vignette"]
        for path in sorted(FOLDER.glob("*.toml"))
        if path.name not in TABLES
    }
    lines = {row["id"]: row for row in files.pop(LINES)}
    yield from files.items()
    yield MORE, [lines[id_] for id_ in MORE_RULES]


def as_text() -> str:
    return "".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records())


# ---- What differs, in plain words


def in_plain_words(given: Json) -> Iterator[str]:
    """One sentence for each thing that is not as in the woman whom every story starts from."""
    for part, value in given.items():
        if part == "exact":  # the story depends on the time of day: nothing about her
            continue
        yield from WORDS[part](value)


def _hook(hook: str) -> Iterator[str]:
    yield {
        "patient-view": "Her chart is opened, and nothing is being ordered.",
        "order-sign": "The orders are being signed, not chosen.",
        "encounter-discharge": "She is being discharged.",
    }[hook]


def _delivery_order(drafted: bool) -> Iterator[str]:
    assert not drafted
    yield "No birth is being ordered."


def _site(site: Json) -> Iterator[str]:
    if country := site.get("country"):
        yield f"The hospital is in another country ({country})."
    match site.get("protocol", ...):
        case "none":
            yield "The hospital has approved no protocol."
        case {"id": id_}:
            yield f"The hospital has approved the protocol {id_}."


def _patient(patient: Json) -> Iterator[str]:
    for name, value in patient.items():
        match name, value:
            case "age_years", years:
                yield f"She is {years} years old."
            case "birth_date", date:
                yield f"Her birth date is written as {date}."
            case "weight", {"age_h": hours} if hours < 0:
                yield "Her weight is dated in the future."
            case "weight", {"value": number, **more}:
                yield f"She weighs {number:g} {'lb' if more.get('unit') == '[lb_av]' else 'kg'}."
            case "height_cm", number:
                yield f"She is {number} cm tall."
            case "other_weight_14d_kg", number:
                yield f"Ten days ago she weighed {number:g} kg."
            case _:
                raise LookupError(f"no words for patient.{name}")


def _encounter(encounter: Json) -> Iterator[str]:
    stage = {
        "post_delivery": "She has given birth",
        "postpartum": "She has given birth",
        "other": "She is not pregnant, and has not given birth",
    }
    minutes = encounter.get("minutes_since_cord_clamp")
    if "stage" in encounter:
        ago = f" {_ago(minutes)}" if isinstance(minutes, int) else ""
        yield f"{stage[encounter['stage']]}{ago}."
    for name, value in encounter.items():
        match name, value:
            case "stage" | "minutes_since_cord_clamp" | "stay_h", _:
                continue
            case "mode", "vaginal":
                yield "The birth is a vaginal one."
            case "mode" | "anesthesia", "none":
                if encounter.get("stage") not in ("other", "postpartum"):
                    yield "Nobody has recorded the anaesthesia."
            case "anesthesia", "general":
                yield "She has general anaesthesia."
            case "asa_class", "none":
                yield "Nobody has recorded her ASA class."
            case "asa_class", number:
                yield f"Her ASA class is {number}."
            case "qbl_ml", number:
                yield f"She has lost {number} mL of blood."
            case _:
                raise LookupError(f"no words for encounter.{name}")


def _ago(minutes: float) -> str:
    if minutes < 120:
        return f"{minutes:g} minutes ago"
    hours = minutes / 60
    return f"{hours:.0f} hours ago" if hours <= 200 else f"{hours / 24:.0f} days ago"


def _screens(screens: Json) -> Iterator[str]:
    for name, value in screens.items():
        match name, value:
            case "epds" | "phq9", "none":
                yield f"There is no {_FORM[name]}."
            case "epds" | "phq9", dict():
                yield from _form(_FORM[name], value)
            case "bipolar_screen", "none":
                yield "No bipolar screen has been done."
            case "bipolar_screen", result:
                yield f"Her bipolar screen is {result}."
            case "risk_assessed_h", hours:
                yield f"The risk of suicide was assessed {hours} hours ago."
            case _:
                raise LookupError(f"no words for screens.{name}")


_FORM: Final = {"epds": "EPDS", "phq9": "PHQ-9"}


def _form(form: str, given: Json) -> Iterator[str]:
    date_only = given.get("date_only", False)
    for name, value in given.items():
        match name, value:
            case "total", number:
                yield f"Her {form} total is {number}."
            case "item10" | "item9", "none":
                yield f"The question about self-harm ({form} item {name[4:]}) is not answered."
            case "item10" | "item9", number:
                yield f"Her answer about self-harm ({form} item {name[4:]}) scores {number}."
            case "items_answered", number:
                yield f"Of its items {number} are answered."
            case "stated_total", number:
                yield f"The total that the form states is {number}."
            case "age_h", hours:
                yield f"The {form} is {hours} hours old{', and only its date is written' if date_only else ''}."
            case "date_only", _:
                continue
            case _:
                raise LookupError(f"no words for {form}.{name}")


def _problems(problems: Json) -> Iterator[str]:
    if not problems.get("available", True):
        yield "The problem list could not be had."
    for entry in problems.get("conditions", ()):
        row = {"name": entry} if isinstance(entry, str) else entry
        code = CODES["condition"][row["name"]]
        status = row.get("status", code.get("status", "active"))
        ended = row.get("ended_d", code.get("ended_d"))
        when = f", ended {ended} days ago" if ended else ", undated" if code.get("undated") else ""
        yield f"Her problem list says: {code['says']} ({status}{when})."


def _medications(medications: Json) -> Iterator[str]:
    if not medications.get("available", True):
        yield "The medicines could not be had."
    for row in medications.get("list", ()):
        says, hours = CODES["medicine"][row["class"]]["says"].capitalize(), row.get("hours_ago")
        why = " to prevent postpartum depression" if row["class"] == "ketamine_for_ppd" else ""
        date = ", and only the date is written" if row.get("date_only") else ""
        yield {
            "active": f"She takes {says.lower()}.",
            "infusing": f"{says} is running.",
            "given": f"{says} was given{why} {hours} hours ago{date}.",
            "prn_not_given": f"{says} is ordered as needed, and has not been given.",
            "drafted": f"{says} is drafted in the same call.",
        }[row["status"]]


def _allergies(allergies: Json) -> Iterator[str]:
    if not allergies.get("available", True):
        yield "The allergy list could not be had."
    yield from (f"Her allergy list says: {CODES['allergy'][name]['says']}." for name in allergies.get("list", ()))


def _vitals(vitals: Json) -> Iterator[str]:
    for pressure in vitals.get("bp", ()):
        yield f"Blood pressure {pressure['sbp']}/{pressure['dbp']}, {pressure['age_min']} minutes ago."
    for name, says in (("hr", "Heart rate"), ("spo2", "Oxygen saturation"), ("rr", "Breathing rate")):
        match vitals.get(name):
            case None:
                continue
            case "none":
                yield f"{says}: not measured."
            case {"value": number, "age_min": minutes}:
                yield f"{says} {number}, {minutes} minutes ago."


def _labs(labs: list[Json]) -> Iterator[str]:
    for lab in labs:
        yield f"Laboratory: {lab['test'].capitalize()} {lab['value']}, {lab['age_h']} hours ago."


def _social(social: Json) -> Iterator[str]:
    assert social == {"breastfeeding": "none"}
    yield "Nothing is recorded about breastfeeding."


def _draft_order(draft: Json) -> Iterator[str]:
    reason = {"ppd_prevention": "to prevent postpartum depression", "analgesia": "for pain"}[draft["reason"]]
    route = {"iv": "into a vein", "nasal": "as a nasal spray"}[draft["route"]]
    dose = f" {draft['dose_mg']} mg" if "dose_mg" in draft else ""
    minutes = f" over {draft['minutes']} minutes" if "minutes" in draft else ""
    alone = ", without an order of monitoring" if draft.get("monitoring") is False else ""
    yield f"Drafted: {draft['agent']}{dose} {route}{minutes}, {reason}{alone}."


def _noise(kinds: list[str]) -> Iterator[str]:
    yield from (
        {
            "other_patient": "An EPDS of 24 of the child's father lies among her results.",
            "refuted": "Her problem list says: Pre-eclampsia, refuted.",
            "resolved": "Gestational hypertension, haemorrhage and sepsis are on her list, each resolved.",
        }[kind]
        for kind in kinds
    )


def _shape(shape: Json) -> Iterator[str]:
    yield {"items": "Only the items of the EPDS are recorded, no total.", "panel": "The EPDS is recorded as a panel."}[
        shape["epds"]
    ]


WORDS: Final[dict[str, Callable[[Any], Iterator[str]]]] = {
    "hook": _hook, "delivery_order": _delivery_order, "site": _site, "patient": _patient, "encounter": _encounter,
    "screens": _screens, "problems": _problems, "medications": _medications, "allergies": _allergies,
    "vitals": _vitals, "labs": _labs, "social": _social, "draft_order": _draft_order, "noise": _noise, "shape": _shape,
}  # fmt: skip


if __name__ == "__main__":
    Path(FILE).write_text(as_text(), encoding="utf-8")
    sys.stdout.write(f"{FILE}\n")
