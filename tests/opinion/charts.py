"""Whole charts by lot: a woman with nothing against the medicine, and a few turns of fate, each near some limit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from code_lists import URIS, WORDS, code_lists
from ehr import LISTS, Ehr, context_of, resolved
from encoding import HL7, ROUTE, SNOMED, Case, Json, drafts, encode, read_cases

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WELL: Final = next(case for case in read_cases() if case.id == "V01")
PROTOCOLS: Final = {
    "esketamine-iv": {"id": "esketamine-iv", "approval": "SITE-PPD-01", "strength_mg_per_ml": 5},
    "racemic-ketamine-iv": {"id": "racemic-ketamine-iv", "approval": "SITE-KET-22", "strength_mg_per_ml": 10},
}

DISORDERS: Final = (
    "pre_eclampsia", "vascular_aneurysm", "arteriovenous_malformation", "dissection_or_aortopathy",
    "intracerebral_haemorrhage_or_stroke", "raised_intracranial_pressure", "intracranial_mass", "head_injury",
    "ischaemic_heart_disease", "heart_failure_or_cardiomyopathy", "pulmonary_hypertension", "significant_arrhythmia",
    "severe_structural_heart_disease", "hyperthyroidism", "severe_liver_disease", "moderate_liver_disease",
    "postpartum_haemorrhage", "sepsis", "hypertension", "seizure_disorder", "porphyria", "glaucoma_or_open_eye",
    "abnormal_placenta", "severe_sleep_apnoea", "severe_lung_disease", "fetal_or_newborn_death",
    "depressive_disorder", "postpartum_depression", "bipolar_disorder", "current_mania", "psychosis",
    "postpartum_psychosis", "psychosis_in_remission", "suicidal_ideation", "suicide_attempt", "anxiety_disorder",
    "post_traumatic_stress", "obsessive_compulsive_disorder", "eating_disorder",
    "personality_disorder", "dissociative_disorder", "ketamine_or_stimulant_use",
    "intoxication_or_withdrawal", "opioid_or_alcohol_use", "substance_use_in_remission", "other_substance_use",
    "capacity_concern", "multiple_pregnancy", "low_income", "single_parent", "intimate_partner_violence",
    "negative_life_events",
)  # fmt: skip
# The first line once more, since these count in more than one way: by route, or by what else is going on.
MEDICINES: Final = (
    "ergot", "ergot", "opioid", "opioid", "opioid", "vasopressor", "vasopressor",
    "esketamine", "ketamine", "ergot", "xanthine", "magnesium_sulfate", "opioid", "sedative", "antidepressant",
    "antiemetic_antipsychotic", "antipsychotic", "mood_stabiliser", "mao_inhibitor", "stimulant", "terbutaline",
    "vasopressor", "thyroid_replacement",
)  # fmt: skip
# The encodings of an EPDS that may be incomplete or state another total than its items add up to.
WHOLE_FORMS: Final = ("items", "items", "panel", "response", "by-url", "lhc", "weighed-answers", "weighed-codings")
WINDOWS_H: Final = (0.25, 4, 6, 12, 24, 48, 336)


@dataclass
class Woman:
    """What is being made up: the case of the vignettes' kind, and entries that no vignette can tell."""

    lot: Random
    name: str
    given: Json
    extras: list[Json] = field(default_factory=list)
    drafted: list[Json] = field(default_factory=list)
    only_the_day: bool = False

    @property
    def subject(self) -> Json:
        return {"reference": f"Patient/woman-{self.name.lower()}"}

    @property
    def stay(self) -> Json:
        return {"reference": f"Encounter/stay-{self.name.lower()}"}

    def id(self, says: str) -> str:
        return f"{self.name.lower()}-x{len(self.extras) + len(self.drafted)}-{says}"

    def coded(self, concept: str) -> Json:
        """One of the concept's codes; now and then two of them. A word for it where no code is known."""
        codes = code_lists()[concept]
        if codes[0][0] == WORDS:
            return {"text": self.lot.choice(codes)[1]}
        drawn = self.lot.sample(codes, min(len(codes), self.lot.choice((1, 1, 1, 2))))
        return {"coding": [{"system": URIS[system], "code": code} for system, code in drawn]}


@dataclass(frozen=True)
class Chart:
    """One chart and its call: as a request for the service, and as plain entries for the other opinion."""

    case: Case
    entries: tuple[Json, ...]
    drafted: tuple[Json, ...]
    selected: tuple[str, ...]

    @property
    def not_received(self) -> tuple[str, ...]:
        return tuple(kind for name, kinds in LISTS.items() if not self.case[name]["available"] for kind in kinds)

    def request(self, templates: dict[str, str]) -> Json:
        """The call, with prefetch."""
        context = context_of(self.case, NOW)
        context["draftOrders"]["entry"] = [{"resource": order} for order in self.drafted]
        ehr = Ehr({context["patientId"]: list(self.entries)}, self.not_received)
        answers = {key: ehr.get(query) for key, query in resolved(templates, context).items()}
        return {
            "hook": self.case["hook"],
            "hookInstance": self.case.hook_instance,
            "context": context,
            "prefetch": answers,
        }

    def question(self) -> Json:
        """What the other opinion is asked."""
        protocol = self.case["site"]["protocol"]
        return {
            "now": NOW.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "resources": [
                *(one for one in self.entries if one["resourceType"] not in self.not_received),
                *self.drafted,
            ],
            "parameters": {
                "Encounter": f"Encounter/stay-{self.case.slug}",
                "Drafted": [f"{one['resourceType']}/{one['id']}" for one in self.drafted],
                "Selected": list(self.selected),
                "Not received": list(self.not_received),
                "Protocol": protocol and protocol["id"],
                "Country": self.case["site"]["country"],
            },
        }


def charts(number: int, seed: int) -> Iterator[Chart]:
    """So many charts. The same seed gives the same charts."""
    for n in range(number):
        yield _chart(Random(f"{seed}-{n}"), n)  # noqa: S311  (no secret)


def _chart(lot: Random, number: int) -> Chart:
    woman = Woman(lot, f"G{number}", copy.deepcopy(WELL.given))
    woman.given["screens"]["epds"]["total"] = lot.choice((6, 9, 10, 12, 12, 12, 15))
    woman.given["social"]["breastfeeding"] = lot.choice((None, None, True, False))
    if lot.random() < 0.5:
        _born(woman)
    for turn in lot.choices(TURNS, weights=WEIGHTS, k=lot.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        turn(woman)
    _without_open_questions(woman)
    case = Case(woman.name, "by lot", woman.given, {})
    orders, selected = drafts(case, NOW)
    entries = [_less_exact(one) if woman.only_the_day else one for one in encode(case, NOW)]
    return Chart(case, (*entries, *woman.extras), (*orders, *woman.drafted), tuple(selected))


def _without_open_questions(woman: Woman) -> None:
    """What the decision logic does not say is left out. Each such question stands in docs/proof.md."""
    patient, screens = woman.given["patient"], woman.given["screens"]
    first, later = screens["epds"], screens["later_epds"]
    one_day = first and later and (abs(first["age_h"] - later["age_h"]) <= 0.5 or first["date_only"])
    if one_day or (later and later["date_only"]):
        later = screens["later_epds"] = None
    if any(form["items_answered"] < 10 for form in (first, later) if form):
        screens["phq9"] = None
    if patient["weight"] and patient["weight"]["age_h"] == patient["other_weight_age_h"]:
        patient["other_weight_14d_kg"] = None


def _less_exact(entry: Json) -> Json:
    """Of a birth and what was done at it, only the day is known."""
    told = ("valueDateTime", "performedDateTime")
    return {name: value[:10] if name in told else value for name, value in entry.items()}


# ---- Instants


def _ago(*, days: float = 0, hours: float = 0, minutes: float = 0) -> str:
    return (NOW - timedelta(days=days, hours=hours, minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _near(lot: Random, limits: tuple[float, ...], steps: tuple[float, ...]) -> float:
    """A value at a limit, or a step to either side of it."""
    return lot.choice(limits) + lot.choice((0, *steps, *(-step for step in steps)))


# ---- Turns of fate: the woman, her birth


def _born(woman: Woman) -> None:
    lot = woman.lot
    woman.given["encounter"] |= {
        "stage": "post_delivery",
        "mode": lot.choice(("vaginal", "vaginal", "cesarean", None)),
        "minutes_since_cord_clamp": lot.choice((5, 12, 30, 50, 59, 60, 61, 90)),
        "qbl_ml": lot.choice((150, 280, 499, 500, 620, 999, 1000, None)),
    }


def _age(woman: Woman) -> None:
    given = woman.given["patient"]
    given["birth_date"] = woman.lot.choice(
        (
            "2008-11-23", "2008-11-24", "2008-11-22", "2006-11-23", "2006-11-24", "2008", "2008-11", "2009", "2007",
            "2006", "2006-11", "2006-10", "1995", "unknown", "2010-02", "1990-06-15",
        )
    )  # fmt: skip


def _long_since_born(woman: Woman) -> None:
    woman.given["encounter"] |= {"stage": "post_delivery", "stay_h": 240}
    days = woman.lot.choice((6.9, 7, 7.01, 20, 139.9, 140, 141, 300, 364, 366))
    woman.given["encounter"]["minutes_since_cord_clamp"] = days * 1440
    woman.given["encounter"]["pregnancy_entry"] = woman.lot.choice(("by stage", "active"))
    woman.given["delivery_order"] = woman.lot.random() < 0.3


def _only_the_day(woman: Woman) -> None:
    woman.only_the_day = True
    if woman.given["encounter"]["stage"] == "post_delivery" and woman.lot.random() < 0.5:
        woman.given["encounter"]["minutes_since_cord_clamp"] = woman.lot.choice((1440, 2880, 10080, 11000))


def _earlier_birth(woman: Woman) -> None:
    if woman.given["encounter"]["stage"] == "pre_delivery":
        woman.given["encounter"]["earlier_birth_d"] = woman.lot.choice((60, 150, 200, 364, 366, 800))


def _no_order(woman: Woman) -> None:
    woman.given["delivery_order"] = False
    woman.given["encounter"]["pregnancy_entry"] = woman.lot.choice(("by stage", None))
    woman.given["encounter"]["due_in_d"] = woman.lot.choice((None, 5, 100))


def _encounter(woman: Woman) -> None:
    given, lot = woman.given["encounter"], woman.lot
    given["asa_class"] = lot.choice((None, 1, 2, 3, 4))
    given["anesthesia"] = lot.choice((None, "neuraxial", "general"))
    given["mode"] = lot.choice((None, "vaginal", "cesarean"))
    if given["stage"] == "post_delivery":
        given["qbl_ml"] = lot.choice((None, 200, 499, 500, 999, 1000, 1500))


# ---- Turns of fate: screens


def _epds(woman: Woman) -> None:
    woman.given["screens"]["epds"] = _a_form(woman)
    woman.given["shape"]["epds"] = woman.lot.choice(WHOLE_FORMS)


def _two_forms(woman: Woman) -> None:
    first, later = _a_form(woman), _a_form(woman)
    if later["age_h"] >= first["age_h"]:
        first, later = later, first
    woman.given["screens"] |= {"epds": first, "later_epds": later}
    woman.given["shape"]["epds"] = woman.lot.choice(WHOLE_FORMS)


def _a_part_later(woman: Woman) -> None:
    """A whole form, and one of which eight questions were answered later."""
    lot = woman.lot
    whole = _a_form(woman) | {"items_answered": 10, "age_h": 100, "stated_total": None, "status": "final"}
    part = {"items_answered": 8, "item10": 0, "age_h": 6, "stated_total": None, "status": "final", "date_only": False}
    part["total"] = round(_near(lot, (9, 10, 13, 19), (1,)))
    woman.given["screens"] |= {"epds": whole | {"date_only": False}, "later_epds": part}
    woman.given["shape"]["epds"] = lot.choice(WHOLE_FORMS)


def _a_form(woman: Woman) -> Json:
    lot = woman.lot
    total = max(0, round(_near(lot, (9, 10, 12, 13, 18, 19), (1, 0, 4))))
    item10 = lot.choice((0, 0, 0, 0, 1, 3))
    answered = lot.choice((10, 10, 10, 10, 8))
    hours = _near(lot, (6, 100, 168, 336, 90 * 24), (0.02, 1))
    stated = lot.choice((None, None, None, total, total + 2)) if answered == 10 else None
    return {
        "total": max(min(total, 3 * (answered - 1) + item10), item10),
        "item10": item10,
        "items_answered": answered,
        "age_h": max(hours, 0.5),
        "date_only": lot.random() < 0.1,
        "stated_total": stated,
        "status": lot.choice(("final", "final", "final", "amended", "preliminary", "entered-in-error")),
    }


def _no_epds(woman: Woman) -> None:
    woman.given["screens"]["epds"] = None


def _total_alone(woman: Woman) -> None:
    form = _a_form(woman) | {"items_answered": 10, "stated_total": None, "date_only": False}
    woman.given["screens"] |= {"epds": form, "later_epds": None}
    woman.given["shape"]["epds"] = woman.lot.choice(("total", "total-quantity", "total-string"))


def _apart(woman: Woman) -> None:
    form = _a_form(woman) | {"items_answered": 10, "stated_total": None, "date_only": False, "age_h": 6}
    woman.given["screens"] |= {"epds": form, "later_epds": None}
    woman.given["shape"] |= {"epds": "apart", "apart_min": woman.lot.choice((3, 10, 11))}


def _phq9(woman: Woman) -> None:
    lot = woman.lot
    woman.given["screens"]["phq9"] = {
        "total": lot.choice((3, 9, 10, 14, 15, 20)),
        "item9": lot.choice((0, 0, 1, 3)),
        "age_h": _near(lot, (48, 336), (0.02, 1)),
    }
    woman.given["shape"]["phq9"] = lot.choice(("total", "total-quantity", "total-string"))


def _gad7(woman: Woman) -> None:
    lot = woman.lot
    woman.given["screens"]["gad7"] = {"total": lot.choice((5, 9, 10, 18)), "age_h": _near(lot, (48, 336), (0.02, 1))}
    woman.given["shape"]["gad7"] = lot.choice(("total", "total-quantity"))


def _bipolar_screen(woman: Woman) -> None:
    lot = woman.lot
    woman.given["screens"]["bipolar_screen"] = lot.choice((None, "positive", "negative"))
    woman.given["screens"]["bipolar_age_d"] = _near(lot, (30, 270, 300), (1,))


# ---- Turns of fate: disorders, medicines, allergies


def _disorders(woman: Woman) -> None:
    for _ in range(woman.lot.choice((1, 2, 2))):
        _disorder(woman)


def _disorder(woman: Woman) -> None:
    lot = woman.lot
    concept = lot.choice(DISORDERS)
    began = lot.choice((1, 20, 60, 250, 700, 2000))
    status = lot.choice(
        ("active", "active", "active", "active", "recurrence", "relapse", "inactive", "remission", "resolved", None)
    )
    entry = {
        "resourceType": "Condition",
        "id": woman.id("problem"),
        "code": woman.coded(concept),
        "subject": woman.subject,
        "category": [{"coding": [{"system": HL7 + "condition-category", "code": "problem-list-item"}]}],
        "onsetDateTime": _ago(days=began),
        "recordedDate": _ago(days=began),
    }
    verified = lot.choice((*["confirmed"] * 6, "provisional", "refuted", "entered-in-error", None))
    if verified:
        entry["verificationStatus"] = _hl7("condition-ver-status", verified)
    if status and verified != "entered-in-error":
        entry["clinicalStatus"] = _hl7("condition-clinical", status)
        if status == "resolved" and began > 45:
            entry["abatementDateTime"] = _ago(days=_near(lot, (20, 42), (0.01, 1)))
    woman.extras.append(entry)


def _medicine(woman: Woman) -> None:
    lot = woman.lot
    concept = lot.choice(MEDICINES)
    code = woman.coded(concept)
    route = _snomed(ROUTE[lot.choice(("iv",) if concept == "vasopressor" else ("iv", "oral", "intrathecal"))])
    reason = {"reasonCode": [_snomed("58703003")]} if "ketamine" in concept and lot.random() < 0.5 else {}
    # Of a vasopressor only what runs, or ran, is told: an order does not say whether it is an infusion.
    how = lot.choice(("given", "running") if concept == "vasopressor" else ("ordered", "given", "given", "running", ""))
    match how:
        case "ordered":
            _ordered(woman, code, route)
        case "given":
            status = lot.choice(("completed", "completed", "completed", "entered-in-error", "not-done"))
            at = _ago(hours=max(0.1, _near(lot, WINDOWS_H, (0.02, 1))))
            _administered(woman, code, route, status=status, effectiveDateTime=at, **reason)
        case "running":
            since = {"start": _ago(hours=lot.choice((1, 30, 400)))}
            _administered(woman, code, route, status="in-progress", effectivePeriod=since, **reason)
        case _:
            _reported(woman, code)


def _ordered(woman: Woman, code: Json, route: Json) -> None:
    status = woman.lot.choice(("active", "active", "on-hold", "stopped", "completed", "draft"))
    ended = status in ("stopped", "completed")
    order = {
        "resourceType": "MedicationRequest",
        "id": woman.id("order"),
        "status": status,
        "intent": "order",
        "medicationCodeableConcept": code,
        "subject": woman.subject,
        "encounter": woman.stay,
        # What has ended did so long ago, and was no order "as needed": see docs/proof.md.
        "authoredOn": _ago(days=20) if ended else _ago(hours=20),
        "dosageInstruction": [{"asNeededBoolean": not ended and woman.lot.random() < 0.3, "route": route}],
    }
    (woman.drafted if status == "draft" else woman.extras).append(order)


def _administered(woman: Woman, code: Json, route: Json, **more: Any) -> None:
    woman.extras.append(
        {
            "resourceType": "MedicationAdministration",
            "id": woman.id("given"),
            "medicationCodeableConcept": code,
            "subject": woman.subject,
            "context": woman.stay,
            "dosage": {"route": route},
            **more,
        }
    )


def _reported(woman: Woman, code: Json) -> None:
    status = woman.lot.choice(("active", "active", "stopped", "entered-in-error"))
    # What has ended did so long ago, and says so.
    taken = {"start": _ago(days=30)} | ({"end": _ago(days=20)} if status == "stopped" else {})
    woman.extras.append(
        {
            "resourceType": "MedicationStatement",
            "id": woman.id("reported"),
            "status": status,
            "medicationCodeableConcept": code,
            "subject": woman.subject,
            "effectivePeriod": taken,
        }
    )


def _as_needed(woman: Woman) -> None:
    woman.given["medications"]["list"] = [{"class": "ergot", "status": "prn_not_given"}]


def _allergy(woman: Woman) -> None:
    lot = woman.lot
    woman.given["allergies"] |= {"none_known": lot.random() < 0.5}
    if lot.random() < 0.7:
        code = woman.coded(lot.choice(("ketamine", "esketamine")))
        woman.extras.append(
            {
                "resourceType": "AllergyIntolerance",
                "id": woman.id("allergy"),
                "clinicalStatus": _hl7("allergyintolerance-clinical", "active"),
                "verificationStatus": _hl7(
                    "allergyintolerance-verification", lot.choice(("confirmed", "unconfirmed", "refuted"))
                ),
                "type": lot.choice(("allergy", "intolerance")),
                "code": code,
                "patient": woman.subject,
            }
        )


def _a_list_failed(woman: Woman) -> None:
    woman.given[woman.lot.choice(tuple(LISTS))]["available"] = False


# ---- Turns of fate: measurements


def _weight(woman: Woman) -> None:
    lot = woman.lot
    kg = round(_near(lot, (25, 40, 72.4, 100, 120, 300), (0.1, 0.5, 3)), 2)
    unit, value = lot.choice((("kg", kg), ("kg", kg), ("g", kg * 1000), ("[lb_av]", round(kg / 0.45359237, 1))))
    method = lot.choice(("measured", "measured", "weighed", "stated", "pre_pregnancy", "estimated"))
    hours = _near(lot, (5, 100, 168, 336), (0.02, 1))
    woman.given["patient"]["weight"] = {"value": value, "unit": unit, "method": method, "age_h": max(hours, 0.2)}


def _dosing_weight(woman: Woman) -> None:
    kg = round(woman.lot.uniform(41, 118), woman.lot.choice((0, 1, 2)))
    woman.given["patient"]["weight"] = {"value": kg, "unit": "kg", "method": "measured", "age_h": 5}


def _another_weight(woman: Woman) -> None:
    lot = woman.lot
    if woman.given["patient"]["weight"]:
        woman.given["patient"] |= {
            "weight": {"value": 72.0, "unit": "kg", "method": "measured", "age_h": 5},
            "other_weight_14d_kg": lot.choice((65.4, 65.5, 72.0, 80.0, 80.1, 60.0)),
            "other_weight_age_h": _near(lot, (100, 240, 336), (0.02, 1)),
        }


def _no_weight(woman: Woman) -> None:
    woman.given["patient"]["weight"] = None


def _height(woman: Woman) -> None:
    woman.given["patient"]["height_cm"] = woman.lot.choice((None, 134, 135, 150, 170, 190))


def _pressure(woman: Woman) -> None:
    lot = woman.lot
    ages = sorted({_near(lot, (10, 60, 240, 1440), (1,)) for _ in range(lot.choice((1, 1, 2, 3)))})
    woman.given["vitals"]["bp"] = [
        {
            "sbp": (systolic := round(_near(lot, (90, 118, 118, 140, 160), (1,)))),
            "dbp": min(round(_near(lot, (70, 70, 90, 110), (1,))), systolic - 10),
            "age_min": age,
            "status": lot.choice(("final", "final", "preliminary", "entered-in-error")),
        }
        for age in ages
    ] * (lot.random() < 0.95)


def _vital(name: str, limits: tuple[float, ...]) -> Callable[[Woman], None]:
    def turn(woman: Woman) -> None:
        lot = woman.lot
        ages = sorted({_near(lot, (10, 60, 1440), (1,)) for _ in range(lot.choice((1, 1, 2)))})
        woman.given["vitals"][name] = [
            {"value": round(_near(lot, limits, (1,))), "age_min": age, "status": lot.choice(("final", "preliminary"))}
            for age in ages
        ] * (lot.random() < 0.9)

    return turn


def _shock(woman: Woman) -> None:
    woman.given["vitals"] |= {
        "bp": [{"sbp": 100, "dbp": 60, "age_min": 10}],
        "hr": {"value": woman.lot.choice((89, 90, 99, 100, 101)), "age_min": 12},
    }


def _labs(woman: Woman) -> None:
    lot = woman.lot
    test, values = lot.choice((("ast", (79, 80, 81)), ("alt", (79, 80, 81)), ("platelets", (99, 100, 101))))
    limit = lot.choice((40, 40, None)) if test != "platelets" else None
    hours = _near(lot, (20, 168), (0.02, 1))
    woman.given["labs"] = [{"test": test, "value": lot.choice(values), "age_h": hours, "uln": limit}]


# ---- Turns of fate: the order, the site, strays


def _order(woman: Woman) -> None:
    lot = woman.lot
    reason = lot.choice(("ppd_prevention", "ppd_text", "ppd_icd10cm", "analgesia", None))
    woman.given["draft_order"] = {
        "agent": lot.choice(("ketamine", "esketamine")),
        "route": lot.choice(("iv", "iv", "nasal")),
        **({"reason": reason} if reason else {}),
    }


def _site(woman: Woman) -> None:
    lot = woman.lot
    woman.given["site"] = {
        "country": lot.choice(("CN", "US")),
        "protocol": lot.choice((None, *PROTOCOLS.values(), PROTOCOLS["racemic-ketamine-iv"])),
    }


def _strays(woman: Woman) -> None:
    woman.given["noise"] = woman.lot.sample(("other_patient", "newborn", "refuted", "resolved"), 2)


def _hl7(table: str, code: str) -> Json:
    return {"coding": [{"system": HL7 + table, "code": code}]}


def _snomed(code: str) -> Json:
    return {"coding": [{"system": SNOMED, "code": code}]}


CHANCES: Final[dict[Callable[[Woman], None], int]] = {
    _age: 3,
    _long_since_born: 3,
    _earlier_birth: 1,
    _only_the_day: 1,
    _no_order: 5,
    _encounter: 4,
    _epds: 6,
    _two_forms: 4,
    _a_part_later: 3,
    _no_epds: 1,
    _total_alone: 3,
    _apart: 1,
    _phq9: 2,
    _gad7: 2,
    _bipolar_screen: 2,
    _disorders: 24,
    _medicine: 18,
    _as_needed: 2,
    _allergy: 2,
    _a_list_failed: 2,
    _weight: 4,
    _dosing_weight: 3,
    _another_weight: 2,
    _no_weight: 1,
    _height: 4,
    _pressure: 6,
    _vital("hr", (50, 84, 100, 120)): 3,
    _vital("spo2", (92, 95, 98)): 3,
    _vital("rr", (10, 16, 24)): 3,
    _shock: 2,
    _labs: 4,
    _order: 4,
    _site: 9,
    _strays: 1,
}
TURNS: Final = tuple(CHANCES)
WEIGHTS: Final = tuple(CHANCES.values())
