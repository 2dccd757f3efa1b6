"""What the service says about a drafted order of esketamine or ketamine, over HTTP, finding by finding."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import permutations
from typing import Any, get_args

import pytest
from ehr import Ehr, context_of, resolved
from ehr import service_for as listed_for
from encoding import Case, Json, encode, read_cases
from flask.testing import FlaskClient

from cds_service.advisor import Advisor
from cds_service.clinical.consultation import Consultation
from cds_service.ehr.gathering import gather
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge.shapes import DepartureId

AdvisorOf = Callable[[Case], Advisor]
Door = Callable[[Case], FlaskClient]

HOOKS = ("order-select", "order-sign")
(ELIGIBLE,) = [case for case in read_cases() if case.id == "V01"]
ESK, KET, NO_PROTOCOL = "esketamine", "ketamine", "none"
SITES: dict[str, Json] = {
    ESK: {"country": "CN", "protocol": {"id": "esketamine-iv", "approval": "SITE-PPD-01", "strength_mg_per_ml": 5}},
    KET: {
        "country": "US",
        "protocol": {"id": "racemic-ketamine-iv", "approval": "SITE-KET-22", "strength_mg_per_ml": 10},
    },
    NO_PROTOCOL: {"country": "CN", "protocol": None},
}

# ---- Writing orders

UCUM = "http://unitsofmeasure.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
RATE_TYPE = "http://terminology.hl7.org/CodeSystem/dose-rate-type"
SCHEDULE = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
SUBJECT = {"reference": f"Patient/woman-{ELIGIBLE.slug}"}


def snomed(code: str) -> Json:
    return {"coding": [{"system": SNOMED, "code": code}]}


def rxnorm(*codes: str, text: str) -> Json:
    return {"coding": [{"system": RXNORM, "code": code} for code in codes], "text": text}


IV, NASAL, MUSCLE, SKIN_DEEP, MOUTH, SPINE = map(
    snomed, ("47625008", "46713006", "78421000", "34206005", "26643006", "72607000")
)
ESKETAMINE = rxnorm("2119365", text="Esketamine")
KETAMINE = rxnorm("6130", text="Ketamine")
BOTH = rxnorm("2119365", "6130", text="see pharmacy")
SPRAVATO = rxnorm("2201625", text="Spravato")


def q(value: object, unit: str) -> Json:
    """A quantity with its UCUM code."""
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def dose(value: object, unit: str = "mg") -> Json:
    return {"doseQuantity": q(value, unit)}


def rate(value: object, unit: str) -> Json:
    return {"rateQuantity": q(value, unit)}


def per(value: object, unit: str, time: object, time_unit: str = "min") -> Json:
    """A rate as a ratio: 14 mg per 40 min."""
    return {"rateRatio": {"numerator": q(value, unit), "denominator": q(time, time_unit)}}


def typed(kind: str, *parts: Json) -> Json:
    """A doseAndRate entry of a type, as Epic sends three of them."""
    return {"type": {"coding": [{"system": RATE_TYPE, "code": kind}], "text": kind}} | _all(parts)


def _all(parts: Iterable[Json]) -> Json:
    return {name: value for part in parts for name, value in part.items()}


def lasting(duration: object, unit: str = "min", **more: Any) -> Json:
    return {"duration": duration, "durationUnit": unit, **more}


FORTY = lasting(40)


def dosage(*parts: Json, repeat: Json | None = FORTY, route: Json | None = IV, **more: Any) -> Json:
    """One dosage. Parts with a type are entries of their own; the others make up one that is typed as ordered."""
    entries = [part for part in parts if "type" in part]
    untyped = _all(part for part in parts if "type" not in part)
    if untyped:
        entries.append(typed("ordered", untyped))
    return {
        **({"route": route} if route else {}),
        **({"timing": {"repeat": repeat}} if repeat else {}),
        **({"doseAndRate": entries} if entries else {}),
        **more,
    }


def order(*dosages: Json, medicine: Json = ESKETAMINE, id_: str = "one", **more: Any) -> Json:
    """A drafted order for prevention."""
    return {
        "resourceType": "MedicationRequest",
        "id": id_,
        "status": "draft",
        "intent": "order",
        "subject": SUBJECT,
        "medicationCodeableConcept": medicine,
        "dosageInstruction": list(dosages),
        "reasonCode": [{"text": "To prevent postpartum depression"}],
        **more,
    }


def draft(*parts: Json, medicine: Json = ESKETAMINE, **of_the_dosage: Any) -> Json:
    """An order with one dosage."""
    return order(dosage(*parts, **of_the_dosage), medicine=medicine)


def referring(to: Json, *parts: Json, contained: Json | None = None, **of_the_dosage: Any) -> Json:
    """An order that names its medicine by reference."""
    made = draft(*parts, **of_the_dosage) | {"medicationReference": to}
    del made["medicationCodeableConcept"]
    return made | ({"contained": [contained]} if contained else {})


def drawn_from(mg: object, ml: object, *parts: Json, medicine: Json = ESKETAMINE, **of_the_dosage: Any) -> Json:
    """An order of a product whose strength is told by its ingredient: so many mg in so many mL."""
    strength = {"numerator": q(mg, "mg"), "denominator": q(ml, "mL")}
    ampoule = {
        "resourceType": "Medication",
        "id": "ampoule",
        "code": medicine,
        "ingredient": [{"itemCodeableConcept": medicine, "strength": strength}],
    }
    return referring({"reference": "#ampoule"}, *parts, contained=ampoule, **of_the_dosage)


def words_only(text: str, **of_the_dosage: Any) -> Json:
    """An order whose dosage is told in words alone."""
    return draft(text=text, **{"repeat": None, "route": None} | of_the_dosage)


def watch(id_: str, code: Json, status: str = "draft") -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": id_,
        "status": status,
        "intent": "order",
        "subject": SUBJECT,
        "code": code,
    }


OXIMETRY, PRESSURE = watch("spo2", snomed("252465000")), watch("pressure", snomed("135840009"))
WATCHED = (OXIMETRY, PRESSURE)


def active(resource: Json, **more: Any) -> Json:
    return {**resource, "status": "active", **more}


# ---- What must be found
#
# By hand from sections 5 and 8 of the decision logic: 72.4 kg gives 14 mg of esketamine (14.48, rounded down) and
# 36 mg of ketamine (36.2). 10 % of 14 mg is 12.6 to 15.4 mg, 10 % of 36 mg is 32.4 to 39.6 mg.

COMPUTED = {
    (ESK, 72.4): "14 mg",
    (ESK, 50): "10 mg",
    (ESK, 100): "20 mg",
    (KET, 72.4): "36 mg",
    (KET, 60): "30 mg",
    (KET, 100): "50 mg",
}
DOSE_IDS = (
    "no_total", "dose_differs", "times_too_high", "times_too_low", "mg_for_mg_per_kg", "mg_per_kg_for_mg",
)  # fmt: skip
TIME_IDS = ("bolus", "no_time", "too_short", "too_long")
LIMIT_IDS = ("above_limit", "above_limit_per_kg", "strength_error")
# What is looked at, by finding. Where the protocol's column is the same at every site it stands here, too.
WHAT = {
    **dict.fromkeys(DOSE_IDS, "dose"),
    **dict.fromkeys(TIME_IDS, "infusion time"),
    "bolus": "infusion",
    "no_total": "total dose",
    "above_limit": "dose",
    "above_limit_per_kg": "dose per kg",
    "strength_error": "strength",
    "dose_range": "dose",
    "other_medicine": "medicine",
    "medicine_unclear": "medicine",
    "not_iv": "route",
    "repeats": "number of doses",
    "repeatable": "number of doses",
    "other_strength": "strength",
    "strength_unclear": "strength",
    "second_order": "orders",
    "no_monitoring": "monitoring",
}
PROTOCOL = {
    **dict.fromkeys(TIME_IDS, "40 to 60 min"),
    "strength_error": "equal",
    "dose_range": "one dose",
    "not_iv": "intravenous",
    "repeats": "at most 1",
    "repeatable": "at most 1",
    "second_order": "one",
    "no_monitoring": "SpO2 and blood pressure orders",
}
STRENGTH = {ESK: "5 mg/mL", KET: "10 mg/mL"}
LIMIT = {
    ESK: {"above_limit": "at most 20 mg", "above_limit_per_kg": "at most 0.3 mg/kg"},
    KET: {"above_limit": "at most 50 mg", "above_limit_per_kg": "at most 0.75 mg/kg"},
}
# These say the same whatever the draft.
NO_MONITORING = {"no_monitoring": "incomplete"}
SECOND = {"second_order": "more than one of ketamine or esketamine"}
REPEATABLE = {"repeatable": "repeated, or as needed"}
BOLUS = {"bolus": "bolus"}
NO_DOSE = {"no_total": "not stated"}
NO_TIME = {"no_time": "not stated"}
UNCLEAR = {"medicine_unclear": "esketamine or ketamine, not clear which"}


@dataclass(frozen=True)
class Row:
    """
    One call with drafted orders, and each finding by its id with what the draft says; empty: no word about the order.

    `limits`: whose absolute limits hold. `card`: where the findings stand. `dosed`: a dose is computed for her.
    """

    story: str
    drafts: Json | tuple[Json, ...]
    finds: Mapping[str, str]
    site: str = ESK
    kg: float = 72.4
    limits: str = ESK
    watched: tuple[Json, ...] = WATCHED
    filed: tuple[Json, ...] = ()
    dosed: bool = True
    card: str = "KETORDER"

    def __str__(self) -> str:
        return self.story

    @property
    def orders(self) -> tuple[Json, ...]:
        return (self.drafts,) if isinstance(self.drafts, dict) else self.drafts

    @property
    def case(self) -> Case:
        patient = ELIGIBLE["patient"]
        weight = {**patient["weight"], "value": self.kg}
        given = {**ELIGIBLE.given, "site": SITES[self.site], "patient": {**patient, "weight": weight}}
        return replace(ELIGIBLE, given=given)

    @property
    def lines(self) -> set[tuple[str, str, str]]:
        """The lines of the card: What, Draft, Protocol."""
        return {(WHAT[id_], said, self._protocol(id_)) for id_, said in self.finds.items()}

    def _protocol(self, id_: str) -> str:
        if id_ in LIMIT[self.limits]:
            return LIMIT[self.limits][id_]
        if id_ in DOSE_IDS:
            of = f" {self.site}" if "other_medicine" in self.finds else ""  # or it would read as a dose converted
            return f"{COMPUTED[self.site, self.kg]}{of}" if self.dosed else "a computed dose"
        if id_ in {"other_medicine", "medicine_unclear"}:
            return self.site
        return STRENGTH[self.site] if id_ in {"other_strength", "strength_unclear"} else PROTOCOL[id_]


RIGHT = draft(dose(14))
PER_KG = draft(dose(0.2, "mg/kg"))
RIGHT_KETAMINE = draft(dose(36), medicine=KETAMINE)
OF_KETAMINE: dict[str, Any] = {"site": KET, "limits": KET}


def ten_times(mg: str, per_kg: str, times: int, *, limits: str = ESK) -> Row:
    """A slip of the decimal point upwards."""
    value = float(mg)
    medicine = {ESK: ESKETAMINE, KET: KETAMINE}[limits]
    finds = {
        "above_limit": f"{mg} mg",
        "above_limit_per_kg": f"{per_kg} mg/kg",
        "times_too_high": f"{mg} mg, {times} times the computed dose",
    }
    return Row(f"{mg} mg of {limits}", draft(dose(value), medicine=medicine), finds, site=limits, limits=limits)


AS_THE_PROTOCOL_SAYS = [
    Row("as the protocol says", RIGHT, {}),
    Row("as the protocol says, once", draft(dose(14), repeat=lasting(40, count=1)), {}),
    Row("in micrograms", draft(dose(14000, "ug")), {}),
    Row("in grams", draft(dose(0.014, "g")), {}),
    Row("unit spelled out", draft({"doseQuantity": {"value": 14, "unit": "Milligrams"}}), {}),
    Row("numbers as text", draft({"doseQuantity": q("14.0", "mg")}, repeat=lasting("40")), {}),
    Row("a number as text, too high", draft({"doseQuantity": q("15.50", "mg")}), {"dose_differs": "15.5 mg"}),
    Row("ketamine as its protocol says", RIGHT_KETAMINE, {}, **OF_KETAMINE),
    Row("by a brand of esketamine", draft(dose(14), medicine={"text": "Ketanest S 5 mg/ml"}), {}),
    Row("by a brand of ketamine", draft(dose(36), medicine={"text": "Ketalar"}), {}, **OF_KETAMINE),
    Row("under our protocol's uri, without a reason",
        RIGHT | {"reasonCode": [], "instantiatesUri": ["urn:cds-service:protocol:esketamine-iv"]}, {}),
    Row("for another reason, ten times the dose",
        draft(dose(140)) | {"reasonCode": [{"text": "analgesia"}]}, {}, watched=(), dosed=False),
]  # fmt: skip

DOSES = [
    Row("12.5 mg", draft(dose(12.5)), {"dose_differs": "12.5 mg"}),
    Row("12.6 mg, 10 % less", draft(dose(12.6)), {}),
    Row("15.4 mg, 10 % more", draft(dose(15.4)), {}),
    Row("15.5 mg", draft(dose(15.5)), {"dose_differs": "15.5 mg"}),
    Row("ketamine 32.3 mg", draft(dose(32.3), medicine=KETAMINE), {"dose_differs": "32.3 mg"}, **OF_KETAMINE),
    Row("ketamine 32.4 mg, 10 % less", draft(dose(32.4), medicine=KETAMINE), {}, **OF_KETAMINE),
    Row("ketamine 39.6 mg, 10 % more", draft(dose(39.6), medicine=KETAMINE), {}, **OF_KETAMINE),
    Row("ketamine 39.7 mg", draft(dose(39.7), medicine=KETAMINE), {"dose_differs": "39.7 mg"}, **OF_KETAMINE),
    Row("0.2 mg/kg", PER_KG, {}),
    Row("200 mcg/kg, spelled", draft({"doseQuantity": {"value": 200, "unit": "mcg/kg"}}), {}),
    Row("0.174 mg/kg", draft(dose(0.174, "mg/kg")), {"dose_differs": "0.174 mg/kg = 12.597 mg"}),
    Row("0.175 mg/kg", draft(dose(0.175, "mg/kg")), {}),
    Row("0.212 mg/kg", draft(dose(0.212, "mg/kg")), {}),
    Row("0.213 mg/kg", draft(dose(0.213, "mg/kg")), {"dose_differs": "0.213 mg/kg = 15.422 mg"}),
    Row("a range up to the dose", draft({"doseRange": {"low": q(10, "mg"), "high": q(14, "mg")}}),
        {"dose_range": "a range up to 14 mg"}),
    Row("a range up to 28 mg", draft({"doseRange": {"low": q(14, "mg"), "high": q(28, "mg")}}),
        {"above_limit": "28 mg", "above_limit_per_kg": "0.387 mg/kg", "dose_differs": "28 mg",
         "dose_range": "a range up to 28 mg"}),
    Row("no dose", draft(), NO_DOSE),
    Row("neither dose nor time", draft(repeat=None), NO_DOSE | NO_TIME),
    Row("no dosage at all", order(), NO_DOSE | NO_TIME | {"not_iv": "not stated"}),
    Row("a dose in sprays", draft(dose(2, "{spray}")), {"no_total": "not readable"}),
    Row("a dose of nothing", draft(dose(0)), {"no_total": "not readable"}),
    Row("less than 14 mg", draft({"doseQuantity": {**q(14, "mg"), "comparator": "<"}}), {"no_total": "not readable"}),
]  # fmt: skip

LIMITS = [
    Row("20 mg, 100 kg", draft(dose(20)), {}, kg=100),
    Row("20.1 mg, 100 kg", draft(dose(20.1)), {"above_limit": "20.1 mg"}, kg=100),
    Row("20 mg", draft(dose(20)), {"dose_differs": "20 mg"}),
    Row("20.1 mg", draft(dose(20.1)), {"above_limit": "20.1 mg", "dose_differs": "20.1 mg"}),
    Row("0.3 mg/kg, 50 kg", draft(dose(0.3, "mg/kg")), {"dose_differs": "0.3 mg/kg = 15 mg"}, kg=50),
    Row("0.301 mg/kg, 50 kg", draft(dose(0.301, "mg/kg")),
        {"above_limit_per_kg": "0.301 mg/kg", "dose_differs": "0.301 mg/kg = 15.05 mg"}, kg=50),
    Row("15 mg, 50 kg", draft(dose(15)), {"dose_differs": "15 mg"}, kg=50),
    Row("15.1 mg, 50 kg", draft(dose(15.1)), {"above_limit_per_kg": "0.302 mg/kg", "dose_differs": "15.1 mg"}, kg=50),
    Row("0.3 mg/kg of 72.4 kg is more than 20 mg", draft(dose(0.3, "mg/kg")),
        {"above_limit": "0.3 mg/kg = 21.72 mg", "dose_differs": "0.3 mg/kg = 21.72 mg"}),
    Row("ketamine 50 mg, 100 kg", draft(dose(50), medicine=KETAMINE), {}, **OF_KETAMINE, kg=100),
    Row("ketamine 50.1 mg, 100 kg", draft(dose(50.1), medicine=KETAMINE), {"above_limit": "50.1 mg"},
        **OF_KETAMINE, kg=100),
    Row("ketamine 0.75 mg/kg, 60 kg", draft(dose(0.75, "mg/kg"), medicine=KETAMINE),
        {"dose_differs": "0.75 mg/kg = 45 mg"}, **OF_KETAMINE, kg=60),
    Row("ketamine 0.751 mg/kg, 60 kg", draft(dose(0.751, "mg/kg"), medicine=KETAMINE),
        {"above_limit_per_kg": "0.751 mg/kg", "dose_differs": "0.751 mg/kg = 45.06 mg"}, **OF_KETAMINE, kg=60),
    Row("no protocol: 20 mg", draft(dose(20)), {}, site=NO_PROTOCOL),
    Row("no protocol: 20.1 mg", draft(dose(20.1)), {"above_limit": "20.1 mg"}, site=NO_PROTOCOL),
    Row("no protocol: 0.301 mg/kg, 50 kg", draft(dose(0.301, "mg/kg")), {"above_limit_per_kg": "0.301 mg/kg"},
        site=NO_PROTOCOL, kg=50),
    Row("no protocol: nothing else is looked at", draft(dose(14), route=MUSCLE, repeat=lasting(2, count=5)), {},
        site=NO_PROTOCOL, watched=()),
    Row("no protocol: the volume holds another dose",
        drawn_from(25, 1, typed("ordered", dose(14)), typed("admin-amount", dose(2.8, "mL"))),
        {"strength_error": "2.8 mL of 25 mg/mL hold 70 mg, not 14 mg"}, site=NO_PROTOCOL),
]  # fmt: skip

SLIPS = [
    ten_times("140", "1.934", 10),
    ten_times("1400", "19.338", 100),
    ten_times("14000", "193.371", 1000),
    ten_times("360", "4.973", 10, limits=KET),
    ten_times("3600", "49.724", 100, limits=KET),
    Row("1.4 mg", draft(dose(1.4)), {"times_too_low": "1.4 mg, computed dose divided by 10"}),
    Row("0.14 mg", draft(dose(0.14)), {"times_too_low": "0.14 mg, computed dose divided by 100"}),
    Row("micrograms for milligrams", draft(dose(14, "ug")),
        {"times_too_low": "0.014 mg, computed dose divided by 1000"}),
    Row("0.2 mg, mg for mg/kg", draft(dose(0.2)), {"mg_for_mg_per_kg": "0.2 mg, perhaps meant per kg"}),
    Row("0.17 mg is neither", draft(dose(0.17)), {"dose_differs": "0.17 mg"}),
    Row("0.18 mg, mg for mg/kg", draft(dose(0.18)), {"mg_for_mg_per_kg": "0.18 mg, perhaps meant per kg"}),
    Row("0.22 mg, mg for mg/kg", draft(dose(0.22)), {"mg_for_mg_per_kg": "0.22 mg, perhaps meant per kg"}),
    Row("0.23 mg is neither", draft(dose(0.23)), {"dose_differs": "0.23 mg"}),
    Row("ketamine 0.5 mg, mg for mg/kg", draft(dose(0.5), medicine=KETAMINE),
        {"mg_for_mg_per_kg": "0.5 mg, perhaps meant per kg"}, **OF_KETAMINE),
    Row("14 mg/kg, mg/kg for mg", draft(dose(14, "mg/kg")),
        {"above_limit": "14 mg/kg = 1013.6 mg", "above_limit_per_kg": "14 mg/kg",
         "mg_per_kg_for_mg": "14 mg/kg = 1013.6 mg, perhaps meant in mg"}),
    Row("ketamine 36 mg/kg, mg/kg for mg", draft(dose(36, "mg/kg"), medicine=KETAMINE),
        {"above_limit": "36 mg/kg = 2606.4 mg", "above_limit_per_kg": "36 mg/kg",
         "mg_per_kg_for_mg": "36 mg/kg = 2606.4 mg, perhaps meant in mg"}, **OF_KETAMINE),
    Row("2 mg/kg", draft(dose(2, "mg/kg")),
        {"above_limit": "2 mg/kg = 144.8 mg", "above_limit_per_kg": "2 mg/kg",
         "times_too_high": "2 mg/kg = 144.8 mg, 10 times the computed dose"}),
    Row("0.02 mg/kg", draft(dose(0.02, "mg/kg")),
        {"times_too_low": "0.02 mg/kg = 1.448 mg, computed dose divided by 10"}),
    Row("milligrams for micrograms, per kg", draft(dose(200, "mg/kg")),
        {"above_limit": "200 mg/kg = 14480 mg", "above_limit_per_kg": "200 mg/kg",
         "times_too_high": "200 mg/kg = 14480 mg, 1000 times the computed dose"}),
]  # fmt: skip

MEDICINES = [
    Row("ketamine at the esketamine dose, site of esketamine", draft(dose(14), medicine=KETAMINE),
        {"other_medicine": "ketamine"}, limits=KET),
    Row("ketamine at its own dose, site of esketamine", draft(dose(36), medicine=KETAMINE),
        {"other_medicine": "ketamine", "dose_differs": "36 mg"}, limits=KET),
    Row("ketamine above its own limit, site of esketamine", draft(dose(51), medicine=KETAMINE),
        {"above_limit": "51 mg", "other_medicine": "ketamine", "dose_differs": "51 mg"}, limits=KET),
    Row("ketamine at the esketamine dose, site of ketamine", draft(dose(14), medicine=KETAMINE),
        {"dose_differs": "14 mg"}, **OF_KETAMINE),
    Row("esketamine at the ketamine dose, site of ketamine", draft(dose(36)),
        {"above_limit": "36 mg", "above_limit_per_kg": "0.498 mg/kg", "other_medicine": "esketamine"}, site=KET),
    Row("esketamine at its own dose, site of ketamine", draft(dose(14)),
        {"other_medicine": "esketamine", "dose_differs": "14 mg"}, site=KET),
    Row("esketamine at the ketamine dose, site of esketamine", draft(dose(36)),
        {"above_limit": "36 mg", "above_limit_per_kg": "0.498 mg/kg", "dose_differs": "36 mg"}),
    Row("both named", draft(dose(14), medicine=BOTH), UNCLEAR),
    Row("both named, the stricter limit holds", draft(dose(20.1), medicine=BOTH),
        {"above_limit": "20.1 mg"} | UNCLEAR, kg=100),
    Row("both named, at the stricter limit", draft(dose(20), medicine=BOTH), UNCLEAR, kg=100),
]  # fmt: skip

ROUTES = [
    Row("IV in words", draft(dose(14), route={"text": "i.v."}), {}),
    Row("IV in the text of the dosage only", draft(dose(14), route=None, text="IV infusion"), {}),
    Row("into a central vein", draft(dose(14), route=snomed("418114005")), {}),
    Row("into a muscle", draft(dose(14), route=MUSCLE), {"not_iv": "not intravenous"}),
    Row("under the skin", draft(dose(14), route=SKIN_DEEP), {"not_iv": "not intravenous"}),
    Row("by mouth", draft(dose(14), route=MOUTH), {"not_iv": "not intravenous"}),
    Row("intrathecal", draft(dose(14), route=SPINE), {"not_iv": "neuraxial"}),
    Row("no route", draft(dose(14), route=None), {"not_iv": "not stated"}),
    Row("a route that nobody understands", draft(dose(14), route={"text": "via the usual way"}),
        {"not_iv": "not understood"}),
    Row("nasal is contraindicated", draft(dose(14), route=NASAL), {"not_iv": "nasal"}, card="KETCONTRA", dosed=False),
    Row("the nasal product, no route", draft(dose(14), route=None, medicine=SPRAVATO), {"not_iv": "nasal"},
        card="KETCONTRA", dosed=False),
    Row("IV and nasal: the nasal one counts", order(dosage(dose(14)), dosage(route=NASAL, repeat=None)),
        {"not_iv": "nasal"}, card="KETCONTRA", dosed=False),
    Row("nasal 28 mg: no dose is computed, the limits hold", draft(dose(28), route=NASAL),
        {"above_limit": "28 mg", "above_limit_per_kg": "0.387 mg/kg", "not_iv": "nasal"},
        card="KETCONTRA", dosed=False),
]  # fmt: skip

TEXT_20 = {"text": "made up to 20 mL"}
TIMES = [
    Row("39 min", draft(dose(14), repeat=lasting(39)), {"too_short": "39 min"}),
    Row("39.9 min", draft(dose(14), repeat=lasting(39.9)), {"too_short": "39.9 min"}),
    Row("60 min", draft(dose(14), repeat=lasting(60)), {}),
    Row("60.1 min", draft(dose(14), repeat=lasting(60.1)), {"too_long": "60.1 min"}),
    Row("61 min", draft(dose(14), repeat=lasting(61)), {"too_long": "61 min"}),
    Row("1 h", draft(dose(14), repeat=lasting(1, "h")), {}),
    Row("half an hour", draft(dose(14), repeat=lasting(0.5, "h")), {"too_short": "30 min"}),
    Row("2400 s", draft(dose(14), repeat=lasting(2400, "s")), {}),
    Row("2399 s", draft(dose(14), repeat=lasting(2399, "s")), {"too_short": "39.9 min"}),
    Row("40 to 60 min", draft(dose(14), repeat=lasting(40, durationMax=60)), {}),
    Row("40 to 61 min", draft(dose(14), repeat=lasting(40, durationMax=61)), {"too_long": "61 min"}),
    Row("39 to 61 min", draft(dose(14), repeat=lasting(39, durationMax=61)), {"too_short": "39 min"}),
    Row("no time", draft(dose(14), repeat=None), NO_TIME),
    Row("a time without a unit", draft(dose(14), repeat={"duration": 40}), {"no_time": "not readable"}),
    Row("a rate in drops", draft(dose(14), rate(10, "[drp]/min"), repeat=None), {"no_time": "not readable"}),
    Row("14 mg per 40 min", draft(dose(14), per(14, "mg", 40), repeat=None), {}),
    Row("14 mg per 39 min", draft(dose(14), per(14, "mg", 39), repeat=None), {"too_short": "39 min"}),
    Row("21 mg/h", draft(dose(14), rate(21, "mg/h"), repeat=None), {}),
    Row("14 mg/h takes 60 min", draft(dose(14), rate(14, "mg/h"), repeat=None), {}),
    Row("13.9 mg/h", draft(dose(14), rate(13.9, "mg/h"), repeat=None), {"too_long": "60.5 min"}),
    Row("350 mcg/min", draft(dose(14), {"rateQuantity": {"value": 350, "unit": "mcg/min"}}, repeat=None), {}),
    Row("30 mL/h of 20 mL", draft(dose(14), rate(30, "mL/h"), repeat=None, **TEXT_20), {}),
    Row("31 mL/h of 20 mL", draft(dose(14), rate(31, "mL/h"), repeat=None, **TEXT_20), {"too_short": "38.7 min"}),
    Row("20 mL/h of 20 mL", draft(dose(14), rate(20, "mL/h"), repeat=None, **TEXT_20), {}),
    Row("19.9 mL/h of 20 mL", draft(dose(14), rate(19.9, "mL/h"), repeat=None, **TEXT_20), {"too_long": "60.4 min"}),
    Row("30 mL/h of nobody knows how much", draft(dose(14), rate(30, "mL/h"), repeat=None), NO_TIME),
    Row("30 mL/h of what is drawn up", drawn_from(5, 1, dose(14), rate(30, "mL/h"), repeat=None),
        {"too_short": "5.6 min"}),
    Row("40 min beside a faster rate", draft(dose(14), per(14, "mg", 20)), {"too_short": "20 min"}),
    Row("90 min beside a rate of 40 min", draft(dose(14), rate(21, "mg/h"), repeat=lasting(90)), {}),
    Row("30 min beside a rate of 40 min", draft(dose(14), rate(21, "mg/h"), repeat=lasting(30)),
        {"too_short": "30 min"}),
    Row("IV push", draft(dose(14), repeat=None, text="IV push"), BOLUS),
    Row("bolus, as the method", draft(dose(14), repeat=None, method={"text": "Bolus"}), BOLUS),
    Row("not as a bolus", draft(dose(14), text="not as a bolus"), {}),
    Row("not as a bolus, and no time", draft(dose(14), repeat=None, text="not as a bolus"), NO_TIME),
]  # fmt: skip

RATES_PER_KG = [
    Row("5 mcg/kg/min for 40 min", draft(rate(5, "ug/kg/min")), {}),
    Row("5 mcg/kg/min for 40 min, spelled", draft({"rateQuantity": {"value": 5, "unit": "mcg/kg/min"}}), {}),
    Row("0.3 mg/kg/h for 40 min", draft(rate(0.3, "mg/kg/h")), {}),
    Row("5 mcg/kg/min for 60 min: 0.3 mg/kg, 21.72 mg", draft(rate(5, "ug/kg/min"), repeat=lasting(60)),
        {"above_limit": "21.72 mg", "dose_differs": "21.72 mg"}),
    Row("5.1 mcg/kg/min for 60 min", draft(rate(5.1, "ug/kg/min"), repeat=lasting(60)),
        {"above_limit": "22.155 mg", "above_limit_per_kg": "0.306 mg/kg", "dose_differs": "22.155 mg"}),
    Row("5 mcg/kg/min for 40 to 60 min: the longest counts",
        draft(rate(5, "ug/kg/min"), repeat=lasting(40, durationMax=60)),
        {"above_limit": "21.72 mg", "dose_differs": "21.72 mg"}),
    Row("4.3 mcg/kg/min for 40 min", draft(rate(4.3, "ug/kg/min")), {"dose_differs": "12.452 mg"}),
    Row("50 mcg/kg/min for 40 min", draft(rate(50, "ug/kg/min")),
        {"above_limit": "144.8 mg", "above_limit_per_kg": "2 mg/kg",
         "times_too_high": "144.8 mg, 10 times the computed dose"}),
    Row("5 mcg/kg/min for ever", draft(rate(5, "ug/kg/min"), repeat=None), NO_DOSE | NO_TIME),
    Row("0.35 mg/min for 40 min", draft(rate(0.35, "mg/min")), {}),
    Row("0.7 mg/min for 40 min", draft(rate(0.7, "mg/min")),
        {"above_limit": "28 mg", "above_limit_per_kg": "0.387 mg/kg", "dose_differs": "28 mg"}),
    Row("0.2 mg/kg at 5 mcg/kg/min", draft(dose(0.2, "mg/kg"), rate(5, "ug/kg/min"), repeat=None), {}),
    Row("0.2 mg/kg at 5.2 mcg/kg/min", draft(dose(0.2, "mg/kg"), rate(5.2, "ug/kg/min"), repeat=None),
        {"too_short": "38.4 min"}),
    Row("0.2 mg/kg at 0.362 mg/min", draft(dose(0.2, "mg/kg"), rate(0.362, "mg/min"), repeat=None), {}),
    Row("0.2 mg/kg at 0.363 mg/min", draft(dose(0.2, "mg/kg"), rate(0.363, "mg/min"), repeat=None),
        {"too_short": "39.8 min"}),
    Row("14 mg at 5 mcg/kg/min", draft(dose(14), rate(5, "ug/kg/min"), repeat=None), {"too_short": "38.6 min"}),
    Row("14 mg at 4.8 mcg/kg/min", draft(dose(14), rate(4.8, "ug/kg/min"), repeat=None), {}),
    Row("12.5 mcg/kg/min of ketamine for 40 min", draft(rate(12.5, "ug/kg/min"), medicine=KETAMINE), {},
        **OF_KETAMINE),
]  # fmt: skip


def amounts(ordered: Json, given: Json) -> tuple[Json, Json]:
    return typed("ordered", ordered), typed("admin-amount", given)


VOLUMES = [
    Row("2.8 mL of 5 mg/mL", drawn_from(5, 1, dose(2.8, "mL")), {}),
    Row("2.8 mL of 25 mg/5 mL, by name", draft(dose(2.8, "mL"), medicine={"text": "Esketamine 25 mg/5 mL"}), {}),
    Row("2.5 mL of 5 mg/mL", drawn_from(5, 1, dose(2.5, "mL")), {"dose_differs": "12.5 mg"}),
    Row("2.8 mL of 25 mg/mL", drawn_from(25, 1, dose(2.8, "mL")),
        {"above_limit": "70 mg", "above_limit_per_kg": "0.967 mg/kg", "dose_differs": "70 mg",
         "other_strength": "25 mg/mL"}),
    Row("0.56 mL of 25 mg/mL: the dose, from another strength", drawn_from(25, 1, dose(0.56, "mL")),
        {"other_strength": "25 mg/mL"}),
    Row("2.8 mL of nobody knows what", draft(dose(2.8, "mL")), {"no_total": "2.8 mL"}),
    Row("14 mg of 25 mg/mL", drawn_from(25, 1, dose(14)), {"other_strength": "25 mg/mL"}),
    Row("14 mg of 5.1 mg/mL", drawn_from(5.1, 1, dose(14)), {"other_strength": "5.1 mg/mL"}),
    Row("14 mg of 5000 mcg/mL", draft(dose(14), medicine={"text": "Esketamine 5000 mcg/mL"}), {}),
    Row("two strengths", draft(dose(14), medicine={"text": "Esketamine 5 mg/mL or 25 mg/mL"}),
        {"strength_unclear": "not clear"}),
    Row("ready to run, 14 mg in 20 mL", drawn_from(14, 20, dose(20, "mL")), {}),
    Row("ready to run, too strong", drawn_from(14, 10, dose(14)), {"other_strength": "1.4 mg/mL"}),
    Row("ready to run, in all of it at 30 mL/h", drawn_from(14, 20, dose(20, "mL"), rate(30, "mL/h"), repeat=None), {}),
    Row("14 mg in 2.8 mL of 5 mg/mL", drawn_from(5, 1, *amounts(dose(14), dose(2.8, "mL"))), {}),
    Row("14 mg in 3.08 mL of 5 mg/mL, 10 % more", drawn_from(5, 1, *amounts(dose(14), dose(3.08, "mL"))), {}),
    Row("14 mg in 3.09 mL of 5 mg/mL", drawn_from(5, 1, *amounts(dose(14), dose(3.09, "mL"))),
        {"strength_error": "3.09 mL of 5 mg/mL hold 15.45 mg, not 14 mg"}),
    Row("14 mg in 2.8 mL of 25 mg/mL", drawn_from(25, 1, *amounts(dose(14), dose(2.8, "mL"))),
        {"strength_error": "2.8 mL of 25 mg/mL hold 70 mg, not 14 mg", "other_strength": "25 mg/mL"}),
    Row("14 mg in 20 mL of 5 mg/mL: what runs in", drawn_from(5, 1, *amounts(dose(14), dose(20, "mL"))), {}),
    Row("14 mg in 10 mL of 5 mg/mL", drawn_from(5, 1, *amounts(dose(14), dose(10, "mL"))),
        {"strength_error": "10 mL of 5 mg/mL hold 50 mg, not 14 mg"}),
    Row("0.2 mg/kg in 2.9 mL of 5 mg/mL", drawn_from(5, 1, *amounts(dose(0.2, "mg/kg"), dose(2.9, "mL"))), {}),
    Row("0.2 mg/kg in 5.8 mL of 5 mg/mL", drawn_from(5, 1, *amounts(dose(0.2, "mg/kg"), dose(5.8, "mL"))),
        {"strength_error": "5.8 mL of 5 mg/mL hold 29 mg, not 0.2 mg/kg = 14.48 mg"}),
    Row("14 mg in 0.56 mL: only 25 mg/mL explains it", draft(*amounts(dose(14), dose(0.56, "mL"))),
        {"other_strength": "25 mg/mL"}),
    Row("14 mg in 2.8 mL: 5 mg/mL explains it", draft(*amounts(dose(14), dose(2.8, "mL"))), {}),
    Row("30 mL/h of 5 mg/mL for 40 min, no dose", drawn_from(5, 1, rate(30, "mL/h")),
        {"above_limit": "100 mg", "above_limit_per_kg": "1.382 mg/kg", "dose_differs": "100 mg"}),
    Row("30 mL/h of 14 mg in 20 mL for 40 min, no dose", drawn_from(14, 20, rate(30, "mL/h")), {}),
    Row("ketamine, 3.6 mL of 10 mg/mL", drawn_from(10, 1, dose(3.6, "mL"), medicine=KETAMINE), {}, **OF_KETAMINE),
    Row("ketamine, 3.6 mL of 50 mg/mL", drawn_from(50, 1, dose(3.6, "mL"), medicine=KETAMINE),
        {"above_limit": "180 mg", "above_limit_per_kg": "2.487 mg/kg", "dose_differs": "180 mg",
         "other_strength": "50 mg/mL"}, **OF_KETAMINE),
    Row("ketamine, 0.72 mL of 50 mg/mL", drawn_from(50, 1, dose(0.72, "mL"), medicine=KETAMINE),
        {"other_strength": "50 mg/mL"}, **OF_KETAMINE),
]  # fmt: skip

EIGHT_HOURLY = {"frequency": 1, "period": 8, "periodUnit": "h"}
REPEATS = [
    Row("twice", draft(dose(14), repeat=lasting(40, count=2)), {"repeats": "2"}),
    Row("once or twice", draft(dose(14), repeat=lasting(40, count=1, countMax=2)), {"repeats": "2"}),
    Row("a frequency of 1", draft(dose(14), repeat=lasting(40, frequency=1)), {}),
    Row("a frequency of 2", draft(dose(14), repeat=lasting(40, frequency=2)), {"repeats": "2"}),
    Row("every 8 h, no end", draft(dose(14), repeat=lasting(40, **EIGHT_HOURLY)), REPEATABLE),
    Row("every 8 h, for 8 h", draft(dose(14), repeat=lasting(40, **EIGHT_HOURLY, boundsDuration=q(8, "h"))), {}),
    Row("every 8 h, for 9 h", draft(dose(14), repeat=lasting(40, **EIGHT_HOURLY, boundsDuration=q(9, "h"))),
        {"repeats": "2"}),
    Row("twice a day, by code", order(dosage(dose(14)) | {
        "timing": {"repeat": FORTY, "code": {"coding": [{"system": SCHEDULE, "code": "BID"}]}}}), REPEATABLE),
    Row("at two times", order(dosage(dose(14)) | {
        "timing": {"repeat": FORTY, "event": ["2026-11-23T13:00:00Z", "2026-11-23T21:00:00Z"]}}), {"repeats": "2"}),
    Row("as needed", draft(dose(14), asNeededBoolean=True), REPEATABLE),
    Row("not as needed", draft(dose(14), asNeededBoolean=False), {}),
    Row("a loading dose and the rest", order(
        dosage(dose(4), repeat=None, text="IV push"), dosage(dose(10))), BOLUS | {"repeats": "2"}),
]  # fmt: skip

TWIN = RIGHT | {"id": "two"}
ANALGESIA = {"reasonCode": [{"text": "analgesia"}]}
OTHER_ORDERS = [
    Row("drafted twice", (RIGHT, TWIN), SECOND),
    Row("drafted twice, one of them too fast", (RIGHT, draft(dose(14), repeat=lasting(20)) | {"id": "two"}),
        SECOND | {"too_short": "20 min"}),
    Row("the same draft sent twice", (RIGHT, RIGHT), {}),
    Row("one of each", (RIGHT, RIGHT_KETAMINE | {"id": "two"}),
        SECOND | {"other_medicine": "ketamine", "dose_differs": "36 mg"}),
    Row("ketamine for pain beside it, a reason for review", (RIGHT, RIGHT_KETAMINE | ANALGESIA | {"id": "two"}),
        SECOND, dosed=False),
    Row("a second draft that was cancelled", (RIGHT, TWIN | {"status": "cancelled"}), {}),
    Row("active already", RIGHT, SECOND, filed=(active(RIGHT, id="filed"),)),
    Row("on hold already", RIGHT, SECOND, filed=(active(RIGHT, id="filed", status="on-hold"),)),
    Row("ordered once and completed", RIGHT, {}, filed=(active(RIGHT, id="filed", status="completed"),)),
    Row("the same order, active, is being signed again", RIGHT, {}, filed=(active(RIGHT),)),
    Row("ketamine for pain active: no dose is computed, so any within the limits", draft(dose(18)), SECOND,
        filed=(active(RIGHT_KETAMINE, id="filed", **ANALGESIA),), dosed=False),
    Row("ketamine for pain active, and no dose drafted", draft(), SECOND | NO_DOSE,
        filed=(active(RIGHT_KETAMINE, id="filed", **ANALGESIA),), dosed=False),
]  # fmt: skip

MONITORING = [
    Row("nobody watches", RIGHT, NO_MONITORING, watched=()),
    Row("oxygen saturation only", RIGHT, NO_MONITORING, watched=(OXIMETRY,)),
    Row("blood pressure only", RIGHT, NO_MONITORING, watched=(PRESSURE,)),
    Row("both active", RIGHT, {}, watched=(), filed=(active(OXIMETRY), active(PRESSURE))),
    Row("one active, one drafted", RIGHT, {}, watched=(PRESSURE,), filed=(active(OXIMETRY),)),
    Row("one active, the other none", RIGHT, NO_MONITORING, watched=(), filed=(active(OXIMETRY),)),
    Row("one on hold", RIGHT, NO_MONITORING, watched=(PRESSURE,), filed=(active(OXIMETRY, status="on-hold"),)),
    Row("one revoked", RIGHT, NO_MONITORING, watched=(PRESSURE, OXIMETRY | {"status": "revoked"})),
    Row("both in the words of one order", RIGHT, {},
        watched=(watch("both", {"text": "Pulse oximetry and blood pressure every 5 min"}),)),
    Row("20 min and nobody watches", draft(dose(14), repeat=lasting(20)), NO_MONITORING | {"too_short": "20 min"},
        watched=()),
    Row("28 mg and nobody watches", draft(dose(28)), NO_MONITORING | {
        "above_limit": "28 mg", "above_limit_per_kg": "0.387 mg/kg", "dose_differs": "28 mg"}, watched=()),
]  # fmt: skip


def in_every_order(story: str, entries: tuple[Json, ...], finds: Mapping[str, str]) -> list[Row]:
    """Epic's entries come in an order that says nothing."""
    return [
        Row(f"{story}: {', '.join(entry['type']['text'] for entry in arranged)}", draft(*arranged), finds)
        for arranged in permutations(entries)
    ]


EPIC = [
    *in_every_order(
        "all three agree",
        (
            typed("calculated", dose(14.48)),
            typed("admin-amount", dose(2.9, "mL")),
            typed("ordered", dose(0.2, "mg/kg")),
        ),
        {},
    ),
    *in_every_order(
        "only what is ordered counts, here it is right",
        (typed("calculated", dose(28)), typed("admin-amount", dose(28)), typed("ordered", dose(14))),
        {},
    ),
    *in_every_order(
        "only what is ordered counts, here it is wrong",
        (typed("calculated", dose(14)), typed("admin-amount", dose(14)), typed("ordered", dose(28))),
        {"above_limit": "28 mg", "above_limit_per_kg": "0.387 mg/kg", "dose_differs": "28 mg"},
    ),
    *in_every_order(
        "else what is calculated, here it is right",
        (typed("calculated", dose(14)), typed("admin-amount", dose(28))),
        {},
    ),
    *in_every_order(
        "else what is calculated, here it is wrong",
        (typed("calculated", dose(12.5)), typed("admin-amount", dose(14))),
        {"dose_differs": "12.5 mg"},
    ),
]

WORDS_ONLY = [
    Row("dose, route and time in words", words_only("14 mg IV over 40 min"), {}),
    Row("12.5 mg in words", words_only("12.5 mg IV over 40 min"), {"dose_differs": "12.5 mg"}),
    Row("39 min in words", words_only("14 mg IV over 39 min"), {"too_short": "39 min"}),
    Row("0.2 mg/kg in words", words_only("0.2 mg/kg IV over 40 to 60 minutes"), {}),
    Row("140 mg in words", words_only("140 mg IV over 40 min"),
        {"above_limit": "140 mg", "above_limit_per_kg": "1.934 mg/kg",
         "times_too_high": "140 mg, 10 times the computed dose"}),
    Row("a push in words", words_only("14 mg IV push"), BOLUS),
    Row("two doses in words", words_only("14 mg or 28 mg IV over 40 min"), NO_DOSE),
    Row("1,000 mg in words is not read", words_only("1,000 mg IV over 40 min"), NO_DOSE),
    Row("the dose in an element, another in words", draft(dose(14), text="140 mg"), {}),
    Row("into a muscle, in words", words_only("14 mg IM over 40 min"), {"not_iv": "not intravenous"}),
    Row("by a display only", referring({"display": "Esketamine 25 mg/5 mL"}, dose(2.8, "mL")), {}),
    Row("by a display only, too much", referring({"display": "Esketamine 25 mg/5 mL"}, dose(3.2, "mL")),
        {"dose_differs": "16 mg"}),
    Row("ketamine by a display only", referring({"display": "Ketamine"}, dose(14)), {"other_medicine": "ketamine"},
        limits=KET),
    Row("by a display only, all else in words",
        referring({"display": "S-Ketamine infusion"}, repeat=None, route=None, text="14 mg IV over 40 min"), {}),
]  # fmt: skip

ROWS = [
    *AS_THE_PROTOCOL_SAYS, *DOSES, *LIMITS, *SLIPS, *MEDICINES, *ROUTES, *TIMES, *RATES_PER_KG, *VOLUMES, *REPEATS,
    *OTHER_ORDERS, *MONITORING, *EPIC, *WORDS_ONLY,
]  # fmt: skip


# ---- Asking


@dataclass(frozen=True)
class Said:
    """The cards that the EHR gets, and the thought behind them."""

    cards: Mapping[str, Json]
    thought: Consultation


Ask = Callable[[Row, str], Said]


@pytest.fixture(scope="module")
def ask(advisor_of: AdvisorOf, front_door: Door, now: datetime) -> Ask:
    @cache
    def charted(site: str, kg: float) -> list[Json]:
        return encode(Row("", (), {}, site=site, kg=kg).case, now)

    def body_of(row: Row, hook: str) -> Json:
        case = replace(row.case, given={**row.case.given, "hook": hook})
        context = context_of(case, now)
        drafted = [*row.orders, *row.watched]
        context["draftOrders"]["entry"] += [{"resource": one} for one in drafted]
        if hook == "order-select":
            context["selections"] = [f"{one['resourceType']}/{one['id']}" for one in row.orders]
        ehr = Ehr({context["patientId"]: [*charted(row.site, row.kg), *row.filed]})
        asked = listed_for(hook, advisor_of(case).discovery())["prefetch"]
        prefetch = {key: ehr.get(query) for key, query in resolved(asked, context).items()}
        return {"hook": hook, "hookInstance": case.hook_instance, "context": context, "prefetch": prefetch}

    def asked(row: Row, hook: str) -> Said:
        advisor, caller = advisor_of(row.case), front_door(row.case)
        body = json.dumps(body_of(row, hook)).encode()
        service = listed_for(hook, advisor.discovery())["id"]
        answer = caller.post(f"/cds-services/{service}", data=body, content_type="application/json")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        request = parse_request(read_json(body), hook)
        thought = advisor.consult(request, gather(request, advisor.sources), now)
        return Said({card["source"]["topic"]["code"]: card for card in answer.get_json()["cards"]}, thought)

    return asked


HEADING = "| What | Draft | Protocol |\n|---|---|---|\n"


def lines_of(card: Json) -> list[tuple[str, ...]]:
    """The table of findings on a card: What, Draft, Protocol."""
    _, found, rest = card["detail"].partition(HEADING)
    assert found, card["detail"]
    table = rest.split("\n\n")[0].split("\n")
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table]


# ---- Telling


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_drafted_order_meets_exactly_these_findings(ask: Ask, row: Row, hook: str) -> None:
    said = ask(row, hook)
    departures = said.thought.departures
    grave = [departure.id in LIMIT_IDS for departure in departures]

    assert sorted(departure.id for departure in departures) == sorted(row.finds)
    assert [departure.critical for departure in departures] == grave == sorted(grave, reverse=True)
    assert ("KETORDER" in said.cards) is (bool(row.finds) and row.card == "KETORDER")
    if not row.finds:
        assert not any(HEADING in card["detail"] for card in said.cards.values())
        return
    card = said.cards[row.card]
    lines = lines_of(card)
    assert set(lines) == row.lines
    assert len(lines) == len(row.finds)
    assert card["indicator"] == ("critical" if any(grave) or row.card == "KETCONTRA" else "warning")
    if row.card == "KETORDER":
        assert card["summary"].startswith("Stop and check the " if any(grave) else "Check the ")


def test_the_dose_that_the_rows_are_held_against_is_the_computed_one(ask: Ask) -> None:
    first = {(row.site, row.kg): row for row in reversed(ROWS) if row.dosed}
    computed = {where: ask(row, "order-sign").thought.dose for where, row in first.items()}
    none = dict.fromkeys([(NO_PROTOCOL, 72.4), (NO_PROTOCOL, 50)])
    assert {where: had and f"{had.dose_mg:f} mg" for where, had in computed.items()} == COMPUTED | none
    assert all(ask(row, "order-sign").thought.dose is None for row in ROWS if not row.dosed)


def test_an_order_that_is_not_picked_is_not_checked_until_it_is_signed(ask: Ask) -> None:
    """At order-select only what was just picked is checked; the other one still is a second order."""
    late = draft(dose(14), repeat=lasting(90)) | {"id": "two"}
    alone = Row("", (RIGHT,), SECOND, watched=(*WATCHED, late))
    signed = replace(alone, finds=SECOND | {"too_long": "90 min"})
    for row, hook in ((alone, "order-select"), (signed, "order-sign")):
        assert set(lines_of(ask(row, hook).cards["KETORDER"])) == row.lines


def test_the_table_is_long_tells_each_story_once_and_meets_every_finding() -> None:
    assert len(ROWS) >= 70
    assert len({row.story for row in ROWS}) == len(ROWS)
    assert {id_ for row in ROWS for id_ in row.finds} == set(get_args(DepartureId)) == set(WHAT)
    assert sum(not row.finds for row in ROWS) * 4 >= len(ROWS)
