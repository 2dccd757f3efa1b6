"""
What an entry means: one line a case. A woman before a caesarean, eligible, gets one more entry, or one changed.

Each case goes through the whole advisor. It names what comes out: criteria (C, R), what is missing or must be confirmed
(D rows, and criteria that nobody could answer), and the dose. A case that names nothing says that nothing changes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from conftest import NOON, AdvisorOf
from ehr import request_for
from encoding import HL7, LOINC, SNOMED, SYSTEMS, UCUM, Json, read_cases

from cds_service.advisor import Advice
from cds_service.clinical.facts import Doubt, Finding, State
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import load_knowledge
from cds_service.knowledge.shapes import ObservationFact

CASES = {case.id: case for case in read_cases()}
KNOWLEDGE = load_knowledge()

Change = Callable[[Json], None]

# ---- What comes out


@dataclass(frozen=True)
class Comes:
    """The ids that come out, in words separated by blanks. With a C, an R or something missing there is no dose."""

    c: str = ""
    r: str = ""
    missing: str = ""
    confirm: str = ""
    dose: str | None = "14"
    relevant: bool = True

    def __post_init__(self) -> None:
        if self.c or self.r or self.missing:
            object.__setattr__(self, "dose", None)


NOTHING_NEW = Comes()
SILENCE = Comes(dose=None, relevant=False)


def came(advice: Advice) -> Comes:
    thought = advice.consultation
    if thought is None:
        return SILENCE
    judged = thought.eligibility

    def ids(rows: Iterable[Any], of: Callable[[Any], str]) -> str:
        return " ".join(sorted(of(row) for row in rows))

    return Comes(
        c=ids(judged.contraindications, lambda met: met.row.id),
        r=ids(judged.reviews, lambda met: met.row.id),
        missing=ids(judged.missing, lambda row: row.id),
        confirm=ids(judged.confirm, lambda row: row.id),
        dose=None if thought.dose is None else str(thought.dose.dose_mg),
    )


# ---- When


def ago(**span: float) -> str:
    return (NOON - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def ahead(**span: float) -> str:
    return ago(**{unit: -amount for unit, amount in span.items()})


# ---- Entries


WHOSE = {"reference": "Patient/woman-v01"}
PRE_ECLAMPSIA, MANIA, HYPERTENSION, SCHIZOPHRENIA = "398254007", "231494001", "59621000", "58214004"
COCAINE, DEPRESSION = "78267003", "35489007"


def loinc(*codes: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code} for code in codes]}


def snomed(code: str, text: str | None = None) -> Json:
    return {"coding": [{"system": SNOMED, "code": code}]} | ({"text": text} if text else {})


def status(table: str, *codes: str) -> Json:
    return {"coding": [{"system": HL7 + table, "code": code} for code in codes]}


def entry(kind: str, **elements: Any) -> Json:
    """An entry about her. An element that is None is left out."""
    whole = {"resourceType": kind, "id": "one-more", "subject": WHOSE} | elements
    return {name: value for name, value in whole.items() if value is not None}


def problem(code: str | Json, clinical: Any = "active", verified: Any = "confirmed", **elements: Any) -> Json:
    """A problem since an hour ago. A word stands for the HL7 code."""
    return entry(
        "Condition",
        code=snomed(code) if isinstance(code, str) else code,
        clinicalStatus=status("condition-clinical", clinical) if isinstance(clinical, str) else clinical,
        verificationStatus=status("condition-ver-status", verified) if isinstance(verified, str) else verified,
        **{"onsetDateTime": ago(hours=1)} | elements,
    )


def words(text: str, **elements: Any) -> Json:
    """A problem without any code."""
    return problem({"text": text}, **elements)


def quantity(value: Any, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def measured(code: str | Json, value: Any, unit: str, at: str | None, **elements: Any) -> Json:
    return entry(
        "Observation",
        status=elements.pop("status", "final"),
        code=loinc(code) if isinstance(code, str) else code,
        **{"valueQuantity": quantity(value, unit), "effectiveDateTime": at} | elements,
    )


SYSTOLIC, DIASTOLIC, PANEL, MEAN = "8480-6", "8462-4", "85354-9", "8478-0"


def part(code: str, value: Any = None, unit: str = "mm[Hg]", **elements: Any) -> Json:
    told = {} if value is None else {"valueQuantity": quantity(value, unit)}
    return {"code": loinc(code)} | told | elements


def bound(code: str, sign: str, value: float, unit: str) -> Json:
    """More, or less, than a number."""
    return {"code": loinc(code), "valueQuantity": quantity(value, unit) | {"comparator": sign}}


def pressure(systolic: float, diastolic: float, at: str | None, panel: str = PANEL, **elements: Any) -> Json:
    return bare_panel(at, part(SYSTOLIC, systolic), part(DIASTOLIC, diastolic), panel=panel, **elements)


def bare_panel(at: str | None, *parts: Json, panel: str = PANEL, **elements: Any) -> Json:
    return entry(
        "Observation",
        **{"status": "final", "code": loinc(panel), "effectiveDateTime": at, "component": list(parts) or None}
        | elements,
    )


def platelets(value: float, at: str | None = ago(hours=20), **elements: Any) -> Json:
    return measured("777-3", value, "10*9/L", at, **elements)


def asa(level: int, at: str | None = ago(hours=1), **elements: Any) -> Json:
    return entry(
        "Observation",
        **{"status": "final", "code": loinc("97816-3"), "valueInteger": level, "effectiveDateTime": at} | elements,
    )


def allergy(code: Json, clinical: str = "active", verified: str = "confirmed", **elements: Any) -> Json:
    return {
        "resourceType": "AllergyIntolerance",
        "id": "one-more",
        "patient": WHOSE,
        "code": code,
        "clinicalStatus": status("allergyintolerance-clinical", clinical),
        "verificationStatus": status("allergyintolerance-verification", verified),
    } | elements


def alt(value: float, *limits: float) -> Json:
    return alt_of(value, *(quantity(limit, "U/L") for limit in limits))


def alt_of(value: float, *limits: Json) -> Json:
    told = {"referenceRange": [{"high": limit} for limit in limits]} if limits else {}
    return measured("1742-6", value, "U/L", ago(hours=20), **told)


KETAMINE = snomed("373464007")
NONE_KNOWN = snomed("716186003")


def procedure(code: str, state: str, **elements: Any) -> Json:
    return entry("Procedure", status=state, code=snomed(code), **elements)


CAESAREAN, VAGINAL, EPIDURAL, GENERAL = "11466000", "700000006", "18946005", "50697003"


def theophylline(kind: str, state: str, **elements: Any) -> Json:
    coded = {"coding": [{"system": SYSTEMS["rxnorm"], "code": "10438"}], "text": "theophylline"}
    return entry(kind, status=state, medicationCodeableConcept=coded, **elements)


def wish(code: str, state: str, **elements: Any) -> Json:
    whole = {"status": state, "intent": "order", "code": snomed(code), "authoredOn": ago(hours=2)} | elements
    return entry("ServiceRequest", **whole)


def given(state: str, at: str) -> Json:
    return theophylline("MedicationAdministration", state, effectiveDateTime=at)


def ordered(state: str, **elements: Any) -> Json:
    return theophylline("MedicationRequest", state, **{"intent": "order", "authoredOn": ago(days=1)} | elements)


# ---- Changes


KEYS = {
    "AllergyIntolerance": "allergies",
    "Condition": "problems",
    "MedicationAdministration": "medication_administrations",
    "MedicationRequest": "medication_orders",
    "Observation": "vital_signs",
    "Procedure": "procedures",
    "ServiceRequest": "service_requests",
}
WEIGHT, HEIGHT, OXYGEN, LOSS, ASA = "29463-7", "8302-2", "59408-5", "81661-1", "97816-3"


def plus(*entries: Json) -> Change:
    """These entries are in the chart, too."""

    def change(request: Json) -> None:
        hers = {"reference": f"Patient/{request['context']['patientId']}"}
        for number, one in enumerate(entries):
            bundle = request["prefetch"][KEYS[one["resourceType"]]]
            named = {name: hers if value is WHOSE else value for name, value in one.items()}
            if number:
                named["id"] += f"-{number}"
            bundle.setdefault("entry", []).append({"resource": named})
            bundle["total"] = len(bundle["entry"])

    return change


def without(*names: str) -> Change:
    """The Observations with these LOINC codes, or the entries of these types, are not there."""

    def change(request: Json) -> None:
        for bundle in request["prefetch"].values():
            kept = [e for e in bundle.get("entry", ()) if not (_names(e["resource"]) & set(names))]
            if len(kept) < len(bundle.get("entry", ())):
                bundle["entry"], bundle["total"] = kept, len(kept)

    return change


def _names(resource: Json) -> set[str]:
    code = resource.get("code") if resource["resourceType"] == "Observation" else None
    return {resource["resourceType"], *(c["code"] for c in (code or {}).get("coding", ()))}


def but(name: str, **elements: Any) -> Change:
    """The Observation with this LOINC code, or the Patient, is written otherwise. None takes an element away."""

    def change(request: Json) -> None:
        resources = [e["resource"] for b in request["prefetch"].values() for e in b.get("entry", ())]
        changed = [one for one in [*resources, request["prefetch"]["patient"]] if name in _names(one)]
        assert changed, name
        for one in changed:
            one.update(elements)
            for element in [element for element, value in elements.items() if value is None]:
                del one[element]

    return change


def instead(name: str, *entries: Json) -> Change:
    """These entries in place of that one."""

    def change(request: Json) -> None:
        without(name)(request)
        plus(*entries)(request)

    return change


def both(*changes: Change) -> Change:
    def change(request: Json) -> None:
        for one in changes:
            one(request)

    return change


def order(**elements: Any) -> Change:
    """The drafted order is written otherwise."""

    def change(request: Json) -> None:
        request["context"]["draftOrders"]["entry"][0]["resource"].update(elements)

    return change


def weighing(value: Any, unit: str = "kg", **differs: Any) -> Change:
    return but(WEIGHT, valueQuantity=quantity(value, unit) | differs)


def weighing_tall(value: float, unit: str = "kg") -> Change:
    """She is tall enough for the weight alone to decide, not the body mass index."""
    return both(weighing(value, unit), but(HEIGHT, valueQuantity=quantity(200, "cm")))


def weighed(**elements: Any) -> Change:
    return but(WEIGHT, **elements)


def at_home(request: Json) -> None:
    request["fhirServer"] = "https://ehr.example.org/fhir"


def looking_at(reference: str) -> Change:
    return weighed(focus=[{"reference": reference}])


def pressed(*parts: Json, **elements: Any) -> Change:
    return but(PANEL, component=list(parts), **elements)


def dated(**elements: Any) -> Change:
    """Her one blood pressure, 118/74, is dated otherwise."""
    return but(PANEL, **{"effectiveDateTime": None} | elements)


def born(birth_date: Any, **elements: Any) -> Change:
    return but("Patient", birthDate=birth_date, **elements)


@dataclass(frozen=True)
class Row:
    says: str
    change: Change
    comes: Comes = NOTHING_NEW
    zone: str | None = None
    case: str = "V01"


NO_PRESSURE = Comes(missing="D04")
NO_WEIGHT = Comes(missing="D03")
NOT_BY_SCALES = ("Patient reported", "Reported", "Verbal", "Per patient", "Est.", "Approximate")
NOT_HER_WEIGHT = (
    "Patient-reported weight", "Weight per patient", "Est. weight", "Ideal body weight", "Adjusted body weight",
    "Lean body weight", "Predicted body weight", "Dry weight", "Historical weight",
)  # fmt: skip
NO_AGE = Comes(missing="D02")

# ---- How a problem stands

PROBLEMS = [
    Row("active", plus(problem(PRE_ECLAMPSIA)), Comes(c="C03")),
    Row("entered in error", plus(problem(PRE_ECLAMPSIA, None, "entered-in-error"))),
    Row("refuted", plus(problem(PRE_ECLAMPSIA, verified="refuted"))),
    Row("unconfirmed: it counts", plus(problem(PRE_ECLAMPSIA, verified="unconfirmed")), Comes(c="C03")),
    Row("provisional: it counts", plus(problem(PRE_ECLAMPSIA, verified="provisional")), Comes(c="C03")),
    Row("differential: it counts", plus(problem(PRE_ECLAMPSIA, verified="differential")), Comes(c="C03")),
    Row("nobody says whether verified", plus(problem(PRE_ECLAMPSIA, verified=None)), Comes(c="C03")),
    Row(
        "a local code beside refuted says nothing",
        plus(problem(PRE_ECLAMPSIA, verified={"coding": [{"system": "local", "code": "R"}, {"code": "refuted"}]})),
    ),
    Row(
        "refuted and confirmed at once",
        plus(problem(PRE_ECLAMPSIA, verified=status("condition-ver-status", "refuted", "confirmed"))),
        Comes(c="C03"),
    ),
    Row("hypertension, active", plus(problem(HYPERTENSION)), Comes(r="R07")),
    Row("hypertension, recurrence", plus(problem(HYPERTENSION, "recurrence")), Comes(r="R07")),
    Row("hypertension, relapse", plus(problem(HYPERTENSION, "relapse")), Comes(r="R07")),
    Row("hypertension, no status", plus(problem(HYPERTENSION, None)), Comes(r="R07")),
    Row("hypertension, status unknown", plus(problem(HYPERTENSION, "unknown")), Comes(r="R07")),
    Row("hypertension, a status of the site's own", plus(problem(HYPERTENSION, "A1")), Comes(r="R07")),
    Row(
        "hypertension, active and resolved at once",
        plus(problem(HYPERTENSION, status("condition-clinical", "resolved", "active"))),
        Comes(r="R07"),
    ),
    Row("hypertension, inactive", plus(problem(HYPERTENSION, "inactive"))),
    Row("hypertension, resolved", plus(problem(HYPERTENSION, "resolved"))),
    Row("hypertension, remission", plus(problem(HYPERTENSION, "remission"))),
    Row(
        "hypertension, resolved beside a local code",
        plus(problem(HYPERTENSION, {"coding": [{"system": "local", "code": "X"}, {"code": "resolved"}]})),
    ),
    Row("mania, active", plus(problem(MANIA)), Comes(c="C10", r="R01 R02 R04")),
    Row("mania, resolved: it was bipolar disorder", plus(problem(MANIA, "resolved")), Comes(r="R01 R02")),
    Row("schizophrenia, remission: ever counts", plus(problem(SCHIZOPHRENIA, "remission")), Comes(c="C09")),
    Row("cocaine, active", plus(problem(COCAINE)), Comes(c="C16")),
    Row("cocaine, inactive", plus(problem(COCAINE, "inactive")), Comes(r="R14")),
    Row("somebody else's", plus(problem(MANIA, subject={"reference": "Group/all"}))),
]

# ---- Since when, and until when

PERIODS = [
    Row("ended 42 days ago", plus(problem(PRE_ECLAMPSIA, "resolved", abatementDateTime=ago(days=42))), Comes(c="C03")),
    Row("ended a minute more ago", plus(problem(PRE_ECLAMPSIA, "resolved", abatementDateTime=ago(days=42, minutes=1)))),
    Row("nobody wrote when it ended", plus(problem(PRE_ECLAMPSIA, "resolved")), Comes(c="C03")),
    Row(
        "began two years ago, ended last week",
        plus(problem(PRE_ECLAMPSIA, "resolved", onsetDateTime="2024-11", abatementDateTime=ago(days=7))),
        Comes(c="C03"),
    ),
    Row("ended this year", plus(problem(PRE_ECLAMPSIA, "resolved", abatementDateTime="2026")), Comes(c="C03")),
    Row("ended last year", plus(problem(PRE_ECLAMPSIA, "resolved", abatementDateTime="2025"))),
    Row("no status, began this year", plus(problem(PRE_ECLAMPSIA, None, onsetDateTime="2026")), Comes(c="C03")),
    Row("no status, began last year", plus(problem(PRE_ECLAMPSIA, None, onsetDateTime="2025"))),
    Row("no status, no date", plus(problem(PRE_ECLAMPSIA, None, onsetDateTime=None)), Comes(c="C03")),
    Row("began tomorrow", plus(problem(PRE_ECLAMPSIA, None, onsetDateTime=ahead(days=1))), Comes(c="C03")),
]

# ---- Whose disorder, in words

NO_PROBLEMS = Comes(missing="D08")


def icd10(code: str, text: str) -> Json:
    return {"coding": [{"system": SYSTEMS["icd10cm"], "code": code}], "text": text}


TEXTS = [
    Row("words alone", plus(words("Schizophrenia")), Comes(c="C09", r="R04")),
    Row("denied", plus(words("No schizophrenia"))),
    Row("family history", plus(words("Family history of schizophrenia"))),
    Row("FH", plus(words("FH: schizophrenia"))),
    Row("her mother's", plus(words("Mother had schizophrenia"))),
    Row(
        "family history, and far on another disorder",
        plus(words("Family history of stroke in the mother of her father, schizophrenia")),
        Comes(missing="C09", confirm="R04"),
    ),
    Row(
        "family history, and then hers",
        plus(words("Family history: none. Schizophrenia")),
        Comes(c="C09", r="R04"),
    ),
    Row("a denial, and then hers", plus(words("No family history; schizophrenia")), Comes(c="C09", r="R04")),
    Row(
        "filed as family history, by code",
        plus(problem(SCHIZOPHRENIA, category=[{"coding": [{"code": "family-history"}]}])),
    ),
    Row("filed as family history, by words", plus(problem(SCHIZOPHRENIA, category=[{"text": "Family History"}]))),
    Row(
        "Z81.8 and its words",
        plus(
            problem(
                {
                    "coding": [
                        {"system": SYSTEMS["icd10cm"], "code": "Z81.8", "display": "Family history of psychosis"}
                    ],
                    "text": "Family history of schizophrenia",
                }
            )
        ),
    ),
    Row("Z82.3, stroke in the family", plus(problem({"coding": [{"system": SYSTEMS["icd10cm"], "code": "Z82.3"}]}))),
    Row("Z82.49, heart disease there", plus(problem({"coding": [{"system": SYSTEMS["icd10cm"], "code": "Z82.49"}]}))),
    Row(
        "the code says hers, the words say the family's",
        plus(problem(snomed(SCHIZOPHRENIA, "Family history of schizophrenia"))),
        Comes(missing="C09", confirm="R04"),
    ),
    Row("history of mania", plus(words("History of mania")), Comes(r="R01 R02")),
    Row(
        "past and present in one text", plus(words("History of depression, now mania")), Comes(c="C10", r="R01 R02 R04")
    ),
    Row("a denial, a comma, and then hers", plus(words("No prenatal care, preeclampsia")), Comes(missing="C03")),
    Row("a past, a dash, and then hers", plus(words("Previous CS - HELLP syndrome")), Comes(missing="C03")),
    Row("a past, a comma, and what counts ever", plus(words("Prior c-section, depression")), Comes(r="R01")),
    Row("denied, and nothing between", plus(words("No proteinuria or preeclampsia"))),
    Row(
        "a harmless code, and words that are not",
        plus(problem(icd10("Z34.93", "High-risk pregnancy: severe preeclampsia"))),
        Comes(missing="C03"),
    ),
    Row("a harmless code, and its own words", plus(problem(icd10("Z34.93", "Supervision of normal pregnancy")))),
    Row("withheld", plus(problem({"coding": [{"system": HL7 + "data-absent-reason", "code": "masked"}]})), NO_PROBLEMS),
    Row("a code without a system", plus(problem({"coding": [{"code": "O14.13"}]})), NO_PROBLEMS),
    Row("the same, and words", plus(problem({"coding": [{"code": "S93.4"}], "text": "Sprained ankle"}))),
    Row(
        "the German ICD-10",
        plus(problem({"coding": [{"system": "http://fhir.de/CodeSystem/bfarm/icd-10-gm", "code": "O14.1"}]})),
        Comes(c="C03"),
    ),
]

# ---- Allergies

ALLERGIES = [
    Row("ketamine, active", plus(allergy(KETAMINE)), Comes(c="C02")),
    Row("ketamine, inactive: only tidied away", plus(allergy(KETAMINE, "inactive")), Comes(c="C02")),
    Row("ketamine, resolved: reassessed", plus(allergy(KETAMINE, "resolved"))),
    Row("ketamine, unconfirmed", plus(allergy(KETAMINE, verified="unconfirmed")), Comes(c="C02")),
    Row("ketamine, refuted", plus(allergy(KETAMINE, verified="refuted"))),
    Row("ketamine, entered in error", plus(allergy(KETAMINE, verified="entered-in-error"))),
    Row("no known allergy", instead("AllergyIntolerance", allergy(NONE_KNOWN))),
    Row("no longer said", instead("AllergyIntolerance", allergy(NONE_KNOWN, "inactive")), Comes(missing="D06")),
    Row(
        "said in error",
        instead("AllergyIntolerance", allergy(NONE_KNOWN, verified="entered-in-error")),
        Comes(missing="D06"),
    ),
    Row("penicillin", instead("AllergyIntolerance", allergy({"text": "Penicillin"}))),
    Row(
        "a code that nobody knows",
        plus(allergy({"coding": [{"system": "urn:of-the-site", "code": "4711"}]})),
        Comes(missing="D06"),
    ),
    Row("nobody asked", plus(allergy(snomed("1631000175102"))), Comes(missing="D06")),
    Row(
        "not confirmed",
        instead("AllergyIntolerance", allergy({"text": "Unable to confirm NKDA"})),
        Comes(missing="D06"),
    ),
    Row("NKDA", instead("AllergyIntolerance", allergy({"text": "NKDA"}))),
    Row("of food", instead("AllergyIntolerance", allergy({"text": "No known food allergies"})), Comes(missing="D06")),
    Row("ketamine, in German", plus(allergy({"text": "S-Ketamin"})), Comes(c="C02")),
    Row("ketamine, in Chinese", plus(allergy({"text": "氯胺酮"})), Comes(c="C02")),
]

# ---- How a measurement stands

STANDINGS = [
    *(
        Row(f"pressure 165/80, {state}", plus(pressure(165, 80, ago(minutes=20), status=state)), Comes(c="C04"))
        for state in ("final", "amended", "corrected", "preliminary")
    ),
    *(
        Row(f"pressure 165/80, {state}", plus(pressure(165, 80, ago(minutes=20), status=state)))
        for state in ("entered-in-error", "cancelled", "registered", "unknown")
    ),
    Row("platelets 99", plus(platelets(99)), Comes(r="R13")),
    Row("platelets 100", plus(platelets(100))),
    Row("platelets 99, corrected", plus(platelets(99, status="corrected")), Comes(r="R13")),
    Row("platelets 99, preliminary: no vital sign", plus(platelets(99, status="preliminary"))),
    Row("weight entered in error", weighed(status="entered-in-error"), NO_WEIGHT),
    Row("weight absent, with a reason", weighed(valueQuantity=None, dataAbsentReason={"text": "refused"}), NO_WEIGHT),
    Row("weight, and a reason why it is absent", weighed(dataAbsentReason={"text": "error"}), NO_WEIGHT),
    Row("weight without a value", weighed(valueQuantity=None), NO_WEIGHT),
    Row("weight with a unit only", weighed(valueQuantity={"unit": "kg", "code": "kg", "system": UCUM}), NO_WEIGHT),
    Row("weight as a string", weighed(valueQuantity=None, valueString="72.4 kg"), NO_WEIGHT),
    Row("weight as an integer", weighed(valueQuantity=None, valueInteger=72), NO_WEIGHT),
    Row("weight in a string in its place", weighed(valueQuantity="72.4 kg"), NO_WEIGHT),
    Row("weight as a quantity and as a string", weighed(valueString="74.2 kg"), NO_WEIGHT),
    Row("a number in quotes is read", weighing("72.4")),
    Row("a comma is no point", weighing("72,4"), NO_WEIGHT),
    Row("weight without a unit", weighed(valueQuantity={"value": 72.4}), NO_WEIGHT),
    Row("weight in stones", weighing(11, "[stone_av]"), NO_WEIGHT),
    Row("weight in a code of the site's own", weighing(72.4, system="urn:of-the-site"), NO_WEIGHT),
    Row("the code outweighs the unit", weighed(valueQuantity=quantity(72.4, "kg") | {"unit": "lbs"})),
    Row("the unit alone, in pounds", weighed(valueQuantity={"value": 159.6, "unit": "Lbs"})),
    Row("weight, at least", weighing(72.4, comparator=">"), NO_WEIGHT),
]

# ---- More or less than a number: nothing is calculated from it, and it reassures nobody

ABOVE_200 = (bound(SYSTOLIC, ">", 200, "mm[Hg]"), part(DIASTOLIC, 74))

COMPARATORS = [
    Row("systolic > 200, alone", pressed(*ABOVE_200), Comes(c="C04", missing="D04")),
    Row("systolic > 200, then 118", plus(bare_panel(ago(minutes=30), *ABOVE_200)), Comes(c="C04")),
    Row("systolic 118, then > 200", plus(bare_panel(ago(minutes=1), *ABOVE_200)), Comes(c="C04", missing="D04")),
    *(
        Row(f"systolic {sign} {value}, then 118", plus(bare_panel(ago(minutes=30), *told)), comes)
        for sign, value, comes in (
            (">=", 160, Comes(c="C04")),
            (">=", 159, Comes(missing="C04")),
            ("<", 160, Comes(missing="C04")),
        )
        for told in [(bound(SYSTOLIC, sign, value, "mm[Hg]"), part(DIASTOLIC, 74))]
    ),
    Row("SpO2 < 90", but(OXYGEN, **bound(OXYGEN, "<", 90, "%")), Comes(confirm="D05")),
    Row("SpO2 < 90, after birth", but(OXYGEN, **bound(OXYGEN, "<", 90, "%")), Comes(missing="D05"), case="V04"),
    Row("platelets < 100", plus(platelets(1) | bound("777-3", "<", 100, "10*9/L")), Comes(confirm="R13")),
    *(
        Row(f"blood loss {sign} {value} mL", but(LOSS, **bound(LOSS, sign, value, "mL")), comes, case="V04")
        for sign, value, comes in (
            (">=", 1000, Comes(c="C13", confirm="D12")),
            (">", 1500, Comes(c="C13", confirm="D12")),
            (">=", 999, Comes(r="R16", confirm="D12")),
            (">=", 499, Comes(confirm="D12", dose="12")),
            ("<", 300, Comes(confirm="D12", dose="12")),
        )
    ),
]

# ---- Behind the newest: what was normal before reassures nobody, what was abnormal stands

HIDDEN = [
    Row("SpO2 88, then 98", plus(measured(OXYGEN, 88, "%", ago(minutes=20)))),
    Row(
        "SpO2 88, then one that cannot be read",
        both(plus(measured(OXYGEN, 88, "%", ago(minutes=20))), but(OXYGEN, valueQuantity=quantity(98, "mm[Hg]"))),
        Comes(confirm="D05"),
    ),
    Row(
        "SpO2 98, then one that cannot be read",
        plus(measured(OXYGEN, 98, "[ppm]", ago(minutes=5))),
        Comes(confirm="D05"),
    ),
    Row(
        "SpO2 98, and 88 dated a minute ahead", plus(measured(OXYGEN, 88, "%", ahead(minutes=1))), Comes(confirm="D05")
    ),
    Row("severe pressure dated a minute ahead", plus(pressure(170, 80, ahead(minutes=1))), NO_PRESSURE),
    Row("severe pressure, undated", plus(pressure(170, 80, None)), Comes(c="C04")),
    Row("raised pressure, undated", plus(pressure(150, 80, None)), Comes(r="R07")),
    Row("pressure as words on a panel, later", plus(bare_panel(ago(minutes=5), valueString="190/120")), NO_PRESSURE),
    Row("platelets 80 yesterday, 200 this month", plus(platelets(80), platelets(200, "2026-11")), Comes(r="R13")),
    Row("platelets 80 yesterday, 200 today", plus(platelets(80), platelets(200, ago(hours=1)))),
    Row(
        "platelets 80 and 200 of one instant",
        plus(platelets(80), platelets(200)),
        Comes(r="R13"),
    ),
    Row(
        "the same, and it is told which was issued last",
        plus(
            platelets(80, issued="2026-11-23T08:00:00+14:00"),
            platelets(200, issued="2026-11-22T20:00:00Z"),
        ),
    ),
]

# ---- When a measurement was made

TIMES = [
    Row("dated now", dated(effectiveDateTime=ago())),
    Row("dated a minute ahead", dated(effectiveDateTime=ahead(minutes=1)), NO_PRESSURE),
    Row("dated a day ahead", dated(effectiveDateTime=ahead(days=1)), NO_PRESSURE),
    Row("240 minutes old", dated(effectiveDateTime=ago(minutes=240))),
    Row("241 minutes old", dated(effectiveDateTime=ago(minutes=241)), NO_PRESSURE),
    Row("not dated", dated(), NO_PRESSURE),
    Row("dated today, no time: since midnight", dated(effectiveDateTime="2026-11-23"), NO_PRESSURE),
    Row("dated this month", dated(effectiveDateTime="2026-11"), NO_PRESSURE),
    Row("dated this year", dated(effectiveDateTime="2026"), NO_PRESSURE),
    Row("severe, dated yesterday: until midnight", plus(pressure(170, 80, "2026-11-22")), Comes(c="C04")),
    Row("severe, dated the day before", plus(pressure(170, 80, "2026-11-21"))),
    Row("severe, dated this month", plus(pressure(170, 80, "2026-11")), Comes(c="C04", missing="D04")),
    Row("severe, dated last month", plus(pressure(170, 80, "2026-10"))),
    Row("severe, dated this year", plus(pressure(170, 80, "2026")), Comes(c="C04", missing="D04")),
    Row("severe, dated last year", plus(pressure(170, 80, "2025"))),
    Row("severe, 24 hours old", plus(pressure(170, 80, ago(hours=24))), Comes(c="C04")),
    Row("severe, a minute older", plus(pressure(170, 80, ago(hours=24, minutes=1)))),
    Row("weight 168 hours old", weighed(effectiveDateTime=ago(hours=168))),
    Row("weight a minute older", weighed(effectiveDateTime=ago(hours=168, minutes=1)), NO_WEIGHT),
    Row("weight of the 17th: since midnight", weighed(effectiveDateTime="2026-11-17")),
    Row("weight of the 16th", weighed(effectiveDateTime="2026-11-16"), NO_WEIGHT),
    Row("weight of this month", weighed(effectiveDateTime="2026-11"), NO_WEIGHT),
    Row("weight of this year", weighed(effectiveDateTime="2026"), NO_WEIGHT),
    # How it is written
    Row("a lower-case z", dated(effectiveDateTime="2026-11-23t11:50:00z")),
    Row("no seconds", dated(effectiveDateTime="2026-11-23T11:50Z")),
    Row("parts of a second", dated(effectiveDateTime="2026-11-23T11:50:00.123456789Z")),
    Row("a leap second", dated(effectiveDateTime="2026-11-23T11:50:60Z")),
    Row("a second that does not exist", dated(effectiveDateTime="2026-11-23T11:50:61Z"), NO_PRESSURE),
    Row("an hour that does not exist", dated(effectiveDateTime="2026-11-22T24:00:00Z"), NO_PRESSURE),
    Row("a day that does not exist", dated(effectiveDateTime="2026-02-30T11:50:00Z"), NO_PRESSURE),
    Row("words for a date", dated(effectiveDateTime="just now"), NO_PRESSURE),
    Row("a number for a date", dated(effectiveDateTime=20261123), NO_PRESSURE),
    Row("the first clock of the world", dated(effectiveDateTime="2026-11-24T01:50:00+14:00")),
    Row("the last clock of the world", dated(effectiveDateTime="2026-11-22T23:50:00-12:00")),
    Row("a clock between", dated(effectiveDateTime="2026-11-23T17:35:00+05:45")),
    Row("an offset without a colon", dated(effectiveDateTime="2026-11-23T19:50:00+0800")),
    Row("east of every clock", dated(effectiveDateTime="2026-11-24T02:50:00+15:00"), NO_PRESSURE),
    Row("west of every clock", dated(effectiveDateTime="2026-11-22T22:50:00-13:00"), NO_PRESSURE),
    Row("no zone, the site has none", dated(effectiveDateTime="2026-11-23T11:50:00")),
    Row("no zone, in Shanghai", dated(effectiveDateTime="2026-11-23T19:50:00"), zone="Asia/Shanghai"),
    Row(
        "no zone, in Shanghai, eight hours old",
        dated(effectiveDateTime="2026-11-23T11:50:00"),
        NO_PRESSURE,
        "Asia/Shanghai",
    ),
    Row("no zone, in New York, ahead", dated(effectiveDateTime="2026-11-23T11:50:00"), NO_PRESSURE, "America/New_York"),
    Row(
        "the site's zone does not move a written one",
        dated(effectiveDateTime="2026-11-23T11:50:00Z"),
        zone="Asia/Shanghai",
    ),
    # Which element says it
    Row("an instant", dated(effectiveInstant=ago(minutes=10))),
    Row("a period: since its start", dated(effectivePeriod={"start": ago(minutes=30), "end": ago(minutes=10)})),
    Row("a long period", dated(effectivePeriod={"start": ago(minutes=241), "end": ago(minutes=10)}), NO_PRESSURE),
    Row("a period that goes on", dated(effectivePeriod={"start": ago(minutes=30)})),
    Row("a period whose start is not told", dated(effectivePeriod={"end": ago(minutes=10)}), NO_PRESSURE),
    Row(
        "a period whose end cannot be read",
        dated(effectivePeriod={"start": ago(minutes=30), "end": "soon"}),
        NO_PRESSURE,
    ),
    Row(
        "severe, in a period that goes on for three days",
        plus(pressure(170, 80, None, effectivePeriod={"start": ago(days=3)})),
        Comes(c="C04", missing="D04"),
    ),
    Row(
        "severe, in a period that ended two days ago",
        plus(pressure(170, 80, None, effectivePeriod={"start": ago(days=3), "end": ago(days=2)})),
    ),
    Row("only issued: measured before, nobody knows when", dated(issued=ago(minutes=10)), NO_PRESSURE),
    Row("severe, only issued", plus(pressure(170, 80, None, issued=ago(minutes=30))), Comes(c="C04")),
    Row("severe, only issued, two days ago", plus(pressure(170, 80, None, issued=ago(days=2)))),
    Row(
        "issued, and a date that cannot be read",
        dated(effectiveDateTime="just now", issued=ago(minutes=10)),
        NO_PRESSURE,
    ),
    Row(
        "two times that nearly agree",
        dated(effectiveDateTime=ago(minutes=10), effectivePeriod={"start": ago(minutes=20), "end": ago(minutes=10)}),
    ),
    Row(
        "two times that do not",
        dated(effectiveDateTime=ago(minutes=10), effectivePeriod={"start": ago(hours=5), "end": ago(minutes=10)}),
        NO_PRESSURE,
    ),
]

# ---- Blood pressure, in each of its shapes

PRESSURES = [
    Row("the panel 55284-4", instead(PANEL, pressure(118, 74, ago(minutes=10), panel="55284-4"))),
    Row("diastolic first", pressed(part(DIASTOLIC, 74), part(SYSTOLIC, 118))),
    Row("severe, diastolic first", pressed(part(DIASTOLIC, 74), part(SYSTOLIC, 170)), Comes(c="C04")),
    Row(
        "two entries of one instant",
        instead(
            PANEL,
            measured(SYSTOLIC, 118, "mm[Hg]", ago(minutes=10)),
            measured(DIASTOLIC, 74, "mm[Hg]", "2026-11-23T19:50:00+08:00"),
        ),
    ),
    Row(
        "two entries, a minute apart",
        instead(
            PANEL,
            measured(SYSTOLIC, 118, "mm[Hg]", ago(minutes=10)),
            measured(DIASTOLIC, 74, "mm[Hg]", ago(minutes=11)),
        ),
        NO_PRESSURE,
    ),
    Row("components without values", pressed(part(SYSTOLIC), part(DIASTOLIC)), NO_PRESSURE),
    Row("no components", but(PANEL, component=None), NO_PRESSURE),
    Row("no diastolic", pressed(part(SYSTOLIC, 118)), NO_PRESSURE),
    Row("no diastolic, but severe", pressed(part(SYSTOLIC, 170)), Comes(c="C04", missing="D04")),
    Row(
        "the diastolic is absent, with a reason",
        pressed(part(SYSTOLIC, 118), part(DIASTOLIC, dataAbsentReason={"text": "error"})),
        NO_PRESSURE,
    ),
    Row(
        "swapped: no heart pumps so", pressed(part(SYSTOLIC, 100), part(DIASTOLIC, 105)), Comes(r="R07", missing="D04")
    ),
    Row(
        "swapped, and it would be severe",
        pressed(part(SYSTOLIC, 74), part(DIASTOLIC, 118)),
        Comes(c="C04 C13", r="", missing="D04"),
    ),
    Row("both the same", pressed(part(SYSTOLIC, 95), part(DIASTOLIC, 95)), Comes(r="R07", missing="D04")),
    Row("in kPa", pressed(part(SYSTOLIC, 15.7, "kPa"), part(DIASTOLIC, 9.9, "kPa"))),
    Row("21.3 kPa is 159.8 mmHg", pressed(part(SYSTOLIC, 21.3, "kPa"), part(DIASTOLIC, 9.9, "kPa")), Comes(r="R07")),
    Row("21.4 kPa is 160.5 mmHg", pressed(part(SYSTOLIC, 21.4, "kPa"), part(DIASTOLIC, 9.9, "kPa")), Comes(c="C04")),
    Row("systolic 159.9", pressed(part(SYSTOLIC, 159.9), part(DIASTOLIC, 74)), Comes(r="R07")),
    Row("systolic 160", pressed(part(SYSTOLIC, 160), part(DIASTOLIC, 74)), Comes(c="C04")),
    Row("a mean of 170 beside it is no systolic pressure", plus(measured(MEAN, 170, "mm[Hg]", ago(minutes=5)))),
    Row("a mean alone", pressed(part(MEAN, 88)), NO_PRESSURE),
    Row("another, of the same instant", plus(pressure(116, 72, ago(minutes=10))), NO_PRESSURE),
    Row("the same twice", plus(pressure(118, 74, ago(minutes=10)))),
    Row("322 mmHg cannot be", pressed(part(SYSTOLIC, 322), part(DIASTOLIC, 74)), NO_PRESSURE),
    Row("320 mmHg can", pressed(part(SYSTOLIC, 320), part(DIASTOLIC, 74)), Comes(c="C04")),
]

# ---- What else was measured, and on whom

OTHERS = [
    Row("SpO2 under both codes", instead(OXYGEN, measured(loinc(OXYGEN, "2708-6"), 98, "%", ago(minutes=10)))),
    Row(
        "SpO2 91 under both",
        instead(OXYGEN, measured(loinc(OXYGEN, "2708-6"), 91, "%", ago(minutes=10))),
        Comes(c="C17"),
    ),
    Row(
        "SpO2 92 under both",
        instead(OXYGEN, measured(loinc(OXYGEN, "2708-6"), 92, "%", ago(minutes=10))),
        Comes(r="R20"),
    ),
    Row("two codes, two values", plus(measured("2708-6", 91, "%", ago(minutes=10))), Comes(c="C17", confirm="D05")),
    Row("a fraction", but(OXYGEN, valueQuantity=quantity(0.98, "1")), Comes(confirm="D05")),
    Row("a fraction that is called per cent", but(OXYGEN, valueQuantity=quantity(0.98, "%")), Comes(confirm="D05")),
    Row("the oxygen that she breathes", but(OXYGEN, component=[part("3150-6", 21, "%"), part("3151-8", 2, "L/min")])),
    Row("gestational age in days", plus(measured("49052-4", 270, "d", ago(hours=1)))),
    Row("her weight before the pregnancy", plus(measured("56077-1", 39, "kg", ago(hours=1)))),
    Row("no other weight", instead(WEIGHT, measured("56077-1", 72.4, "kg", ago(hours=1))), NO_WEIGHT),
    Row("both codes at once", instead(WEIGHT, measured(loinc(WEIGHT, "56077-1"), 72.4, "kg", ago(hours=1))), NO_WEIGHT),
    Row("a stated weight beside the measured one", plus(measured("3142-7", 39, "kg", ago(hours=1)))),
    Row("a stated weight alone", instead(WEIGHT, measured("3142-7", 72.4, "kg", ago(hours=1))), NO_WEIGHT),
    Row("stated, by its method", weighed(method={"text": "Stated"}), NO_WEIGHT),
    Row("measured, by its method", weighed(method={"text": "Bed scale"})),
    *(Row(f"by a method that is {junk!r}", weighed(method=junk), NO_WEIGHT) for junk in ({}, "", 5, [], {"text": ""})),
    *(Row(f"{way}, by its method", weighed(method={"text": way}), NO_WEIGHT) for way in NOT_BY_SCALES),
    *(Row(f"{name}, by its text", weighed(code=loinc(WEIGHT) | {"text": name}), NO_WEIGHT) for name in NOT_HER_WEIGHT),
    Row("by its text, the weight of her", weighed(code=loinc(WEIGHT) | {"text": "Actual body weight"})),
    Row(
        "the newborn's weight",
        plus(measured(WEIGHT, 3.4, "kg", ago(hours=1), focus=[{"reference": "Patient/newborn"}])),
    ),
    Row("the focus is she", weighed(focus=[{"reference": "Patient/woman-v01"}])),
    Row("the focus is empty", weighed(focus=[])),
    Row(
        "the focus is her id on this server",
        both(at_home, looking_at("https://ehr.example.org/fhir/Patient/woman-v01")),
    ),
    Row("on another", both(at_home, looking_at("https://elsewhere.example.org/Patient/woman-v01")), NO_WEIGHT),
    Row("a focus that nobody can read", weighed(focus=[{"display": "Baby boy"}]), NO_WEIGHT),
    Row("a contained newborn", plus(measured(WEIGHT, 3.4, "kg", ago(hours=1), focus=[{"reference": "#baby"}]))),
    *(
        Row(f"about a {kind}", plus(pressure(170, 80, ago(minutes=5), subject={"reference": f"{kind}/1"})))
        for kind in ("Group", "Device", "Location")
    ),
    Row("about another woman", plus(pressure(170, 80, ago(minutes=5), subject={"reference": "Patient/woman-v02"}))),
    Row("an id of 200 letters", but(WEIGHT, id="w" * 200)),
    Row("severe, with an id of 200 letters", plus(pressure(170, 80, ago(minutes=5), id="w" * 200)), Comes(c="C04")),
]

# ---- Two contents under one id: where nobody can tell which is the later, both count


def versions(*metas: Json) -> Change:
    """Pre-eclampsia, confirmed in the first and refuted in the second version."""
    sure, unsure = (
        problem(PRE_ECLAMPSIA, verified=verified, meta=meta)
        for verified, meta in zip(("confirmed", "refuted"), metas, strict=True)
    )
    return both(plus(sure), plus(unsure), lambda request: request["prefetch"]["problems"].pop("total"))


VERSIONS = [
    Row("neither says which it is", versions({}, {}), Comes(c="C03")),
    Row("the later was refuted", versions({"lastUpdated": ago(hours=2)}, {"lastUpdated": ago(hours=1)})),
    Row(
        "the earlier was refuted",
        versions({"lastUpdated": ago(hours=1)}, {"lastUpdated": ago(hours=2)}),
        Comes(c="C03"),
    ),
    Row(
        "the later in Zulu time, the earlier with an offset",
        versions({"lastUpdated": "2026-11-22T09:00:00Z"}, {"lastUpdated": "2026-11-22T10:00:00+02:00"}),
        Comes(c="C03"),
    ),
    Row("version 10 after version 9", versions({"versionId": "9"}, {"versionId": "10"})),
    Row("version 9 before version 10", versions({"versionId": "10"}, {"versionId": "9"}), Comes(c="C03")),
    Row("versions that nobody counts", versions({"versionId": "a"}, {"versionId": "b"}), Comes(c="C03")),
    Row("the same instant", versions({"lastUpdated": ago(hours=1)}, {"lastUpdated": ago(hours=1)}), Comes(c="C03")),
]

# ---- ALT and its upper limit, platelets in other units

LABS = [
    Row("ALT 80 of 40", plus(alt(80, 40))),
    Row("ALT 81 of 40", plus(alt(81, 40)), Comes(r="R13")),
    Row("ALT without a limit", plus(alt(81)), Comes(confirm="R13")),
    Row("ALT 81 of 120 or of 40", plus(alt(81, 120, 40)), Comes(r="R13")),
    Row("the limit has no unit: it is that of the value", plus(alt_of(81, {"value": 40})), Comes(r="R13")),
    Row("the limit in another unit", plus(alt_of(81, {"value": 0.67, "unit": "ukat/L"})), Comes(r="R13")),
    Row("the limit in an unknown unit", plus(alt_of(81, {"value": 40, "unit": "mmol/L"})), Comes(confirm="R13")),
    Row("a limit of 0", plus(alt(81, 0)), Comes(confirm="R13")),
    Row("platelets 99 K/uL", plus(platelets(1) | {"valueQuantity": {"value": 99, "unit": "K/uL"}}), Comes(r="R13")),
    Row("platelets without a value, alone: not none", plus(platelets(1, valueQuantity=None)), Comes(confirm="R13")),
    Row("platelets without a value, too long ago", plus(platelets(1, ago(days=8), valueQuantity=None))),
    Row("platelets 150, then without a value", plus(platelets(150), platelets(1, ago(hours=1), valueQuantity=None))),
    Row("platelets 100 K/uL", plus(platelets(1) | {"valueQuantity": {"value": 100, "unit": "K/uL"}})),
    Row("platelets 99999 /uL", plus(platelets(1) | {"valueQuantity": quantity(99999, "/uL")}), Comes(r="R13")),
    Row("platelets 100000 /uL", plus(platelets(1) | {"valueQuantity": quantity(100000, "/uL")})),
    Row("platelets in no unit", plus(platelets(1) | {"valueQuantity": {"value": 250}}), Comes(confirm="R13")),
]

# ---- Weight: the same limits in every unit

WEIGHTS = [
    Row("24.9 kg", weighing(24.9), Comes(missing="D14")),
    Row("25 kg", weighing(25), Comes(r="R17")),
    Row("39.9 kg", weighing(39.9), Comes(r="R17")),
    Row("40 kg", weighing(40), Comes(dose="8")),
    Row("120 kg", weighing_tall(120), Comes(dose="20")),
    Row("120.1 kg", weighing_tall(120.1), Comes(r="R17")),
    Row("300 kg", weighing(300), Comes(r="R17")),
    Row("300.1 kg", weighing(300.1), Comes(missing="D14")),
    Row("55.11 lb is below 25 kg", weighing(55.11, "[lb_av]"), Comes(missing="D14")),
    Row("55.12 lb is above", weighing(55.12, "[lb_av]"), Comes(r="R17")),
    Row("88.18 lb is below 40 kg", weighing(88.18, "[lb_av]"), Comes(r="R17")),
    Row("88.19 lb is above", weighing(88.19, "[lb_av]"), Comes(dose="8")),
    Row("264.55 lb is below 120 kg", weighing_tall(264.55, "[lb_av]"), Comes(dose="20")),
    Row("264.56 lb is above", weighing_tall(264.56, "[lb_av]"), Comes(r="R17")),
    Row("661.38 lb is below 300 kg", weighing(661.38, "[lb_av]"), Comes(r="R17")),
    Row("661.39 lb is above", weighing(661.39, "[lb_av]"), Comes(missing="D14")),
    Row("39999 g", weighing(39999, "g"), Comes(r="R17")),
    Row("40000 g", weighing(40000, "g"), Comes(dose="8")),
    Row("1410.9 oz is below 40 kg", weighing(1410.9, "[oz_av]"), Comes(r="R17")),
    Row("1411 oz is above", weighing(1411, "[oz_av]"), Comes(dose="8")),
    Row("80 kg, then a tenth less", both(weighing(72), plus(measured(WEIGHT, 80, "kg", ago(days=14))))),
    Row(
        "80 kg, then a little less",
        both(weighing(71.9), plus(measured(WEIGHT, 80, "kg", ago(days=14)))),
        Comes(missing="D14"),
    ),
    Row(
        "80 kg, more than 14 days before",
        both(weighing(71.9), plus(measured(WEIGHT, 80, "kg", ago(days=14, minutes=1)))),
    ),
]

# ---- Who she is

AGES = [
    Row("no birth date", born(None), NO_AGE),
    Row("a birth date that cannot be read", born("unknown"), NO_AGE),
    Row("born in 1995", born("1995")),
    Row("born in 2008: 17 or 18", born("2008"), NO_AGE),
    Row("born in 2009", born("2009"), Comes(c="C01")),
    Row("born in October 2008", born("2008-10")),
    Row("born this month 18 years ago", born("2008-11"), NO_AGE),
    Row("born in December 2008", born("2008-12"), Comes(c="C01")),
    Row("18 today", born("2008-11-23")),
    Row("18 tomorrow", born("2008-11-24"), Comes(c="C01")),
    Row("18 tomorrow here, and today in Auckland", born("2008-11-24"), zone="Pacific/Auckland"),
    Row("not born yet", born("2026-11-24"), NO_AGE),
    Row("dead, and an order for her", but("Patient", deceasedBoolean=True), NO_AGE),
    Row("died an hour ago", but("Patient", deceasedDateTime=ago(hours=1)), NO_AGE),
    Row("died today", but("Patient", deceasedDateTime="2026-11-23"), NO_AGE),
    Row("died at a time that cannot be read", but("Patient", deceasedDateTime="lately"), NO_AGE),
    Row("died later than the call that is looked at", but("Patient", deceasedDateTime=ahead(days=1))),
    Row("not dead", but("Patient", deceasedBoolean=False)),
]

# ---- ASA class: of this pregnancy

ASA_CLASSES = [
    Row("II, then III", plus(asa(3)), Comes(r="R06")),
    Row("II, then III, in error", plus(asa(3, status="entered-in-error"))),
    Row("III, then II", plus(asa(3, ago(days=2)))),
    Row("III, this year: it may be of this pregnancy", plus(asa(3, "2026")), Comes(r="R06", confirm="D09")),
    Row("III, last year", plus(asa(3, "2025"))),
    Row("III, not dated", plus(asa(3, None)), Comes(r="R06", confirm="D09")),
    Row("III, dated tomorrow", plus(asa(3, ahead(days=1))), Comes(r="R06", confirm="D09")),
    Row("II, not dated, alone", but(ASA, effectiveDateTime=None), Comes(confirm="D09")),
    Row("II, this year, alone", but(ASA, effectiveDateTime="2026"), Comes(confirm="D09")),
    Row("II of an earlier pregnancy, alone", but(ASA, effectiveDateTime="2025-06-01"), Comes(confirm="D09")),
]

# ---- What was done, and what is ordered

DEEDS = [
    Row(
        "a birth two hours ago: everything must be fresher",
        plus(procedure(CAESAREAN, "completed", performedDateTime=ago(hours=2))),
        Comes(r="R18", confirm="D12"),
    ),
    *(
        Row(f"a caesarean, {state}", plus(procedure(CAESAREAN, state, performedDateTime=ago(hours=2))))
        for state in ("not-done", "entered-in-error", "unknown")
    ),
    Row("a birth dated tomorrow", plus(procedure(VAGINAL, "completed", performedDateTime=ahead(days=1)))),
    Row("a vaginal birth that is given up", plus(procedure(VAGINAL, "stopped")), Comes(confirm="D11")),
    Row("general anaesthesia, under way", plus(procedure(GENERAL, "in-progress")), Comes(r="R08")),
    Row("general anaesthesia, stopped: it has acted", plus(procedure(GENERAL, "stopped")), Comes(r="R08")),
    Row("general anaesthesia, not done", plus(procedure(GENERAL, "not-done"))),
    Row("general anaesthesia is ordered", plus(wish(GENERAL, "active")), Comes(r="R08")),
    Row("it is ordered not to be done", plus(wish(GENERAL, "active", doNotPerform=True))),
    Row("its order is revoked", plus(wish(GENERAL, "revoked"))),
    Row("its order was carried out two years ago", plus(wish(GENERAL, "completed", authoredOn="2024-11-23"))),
    Row("a caesarean is ordered not to be done", order(doNotPerform=True), SILENCE),
    Row("the order is revoked", order(status="revoked"), SILENCE),
    Row("the order was an error", order(status="entered-in-error"), SILENCE),
    Row("an epidural is ordered", order(code=snomed(EPIDURAL)), Comes(confirm="D11")),
    Row("an epidural is ordered not to be done", order(code=snomed(EPIDURAL), doNotPerform=True), SILENCE),
    Row("theophylline ordered", plus(ordered("active")), Comes(c="C14")),
    Row("theophylline, on hold", plus(ordered("on-hold")), Comes(c="C14")),
    Row("theophylline, not to be given", plus(ordered("active", doNotPerform=True))),
    *(Row(f"theophylline, {state}", plus(ordered(state))) for state in ("cancelled", "entered-in-error")),
    Row(
        "theophylline, stopped, ordered 48 hours ago: it may have been given",
        plus(ordered("stopped", authoredOn=ago(hours=48))),
        Comes(c="C14"),
    ),
    Row(
        "theophylline, stopped, ordered a minute before", plus(ordered("stopped", authoredOn=ago(hours=48, minutes=1)))
    ),
    Row("theophylline given", plus(given("completed", ago(hours=1))), Comes(c="C14")),
    Row("theophylline not given", plus(given("not-done", ago(hours=1)))),
    Row("theophylline given, in error", plus(given("entered-in-error", ago(hours=1)))),
]

# ---- When the child was born, after a vaginal birth 12 minutes ago

BIRTH = "93857-1"


def birth(at: str | None, **elements: Any) -> Change:
    """Nothing but this says when."""
    told = {"valueDateTime": at} if at else {}
    whole = {"status": "final", "code": loinc(BIRTH), "effectiveDateTime": ago(minutes=10)} | told | elements
    told_when = entry("Observation", **whole)
    return both(
        without(BIRTH, "Procedure"),
        plus(told_when),
        plus(procedure(EPIDURAL, "completed", performedDateTime=ago(hours=5))),
    )


def vaginal_birth(**performed: Any) -> Change:
    return both(
        without(BIRTH, "Procedure"),
        plus(procedure(VAGINAL, "completed", **performed), procedure(EPIDURAL, "completed")),
    )


BIRTHS = [
    Row("an hour ago", vaginal_birth(performedDateTime=ago(hours=1)), Comes(dose="12"), case="V04"),
    Row("a minute more", vaginal_birth(performedDateTime=ago(hours=1, minutes=1)), Comes(r="R18"), case="V04"),
    Row(
        "between an hour ago and half an hour ago",
        vaginal_birth(performedPeriod={"start": ago(hours=1), "end": ago(minutes=30)}),
        Comes(dose="12"),
        case="V04",
    ),
    Row(
        "it began a minute before: it may be too long ago",
        vaginal_birth(performedPeriod={"start": ago(hours=1, minutes=1), "end": ago(minutes=30)}),
        Comes(confirm="R18", dose="12"),
        case="V04",
    ),
    Row("today", vaginal_birth(performedDateTime="2026-11-23"), Comes(confirm="D13", dose="12"), case="V04"),
    Row(
        "delivered a minute ahead, and so not yet",
        vaginal_birth(performedDateTime=ahead(minutes=1)),
        Comes(dose="12"),
        case="V04",
    ),
    *(
        Row(
            f"born {minutes} minutes ago, and the surgery ended 20 minutes ago",
            both(birth(at), surgery),
            comes,
            case="V04",
        )
        for surgery in [plus(procedure(CAESAREAN, "completed", id="surgery", performedDateTime=ago(minutes=20)))]
        for minutes, comes in ((60, Comes(dose="12")), (61, Comes(r="R18")))
        for at in [ago(minutes=minutes)]
    ),
    *(
        Row(f"clamped {minutes} minutes ago, and the surgery ended since", both(clamped, surgery), comes, case="V04")
        for surgery in [plus(procedure(CAESAREAN, "completed", id="surgery", performedDateTime=ago(minutes=20)))]
        for minutes, comes in ((60, Comes(dose="12")), (61, Comes(r="R18")))
        for clamped in [birth(ago(minutes=minutes), code={"text": "Cord clamping time"})]
    ),
    *(
        Row(
            f"born 10 minutes ago, and delivered {minutes} minutes ago: one of them is wrong",
            both(
                birth(ago(minutes=10)),
                plus(procedure(CAESAREAN, "completed", id="surgery", performedDateTime=ago(minutes=minutes))),
            ),
            comes,
            case="V04",
        )
        for minutes, comes in ((60, Comes(dose="12")), (61, Comes(r="R18")))
    ),
    Row(
        "the hour of birth cannot be read: when it was charted is not when it was",
        birth("2026-11-23 10.30"),
        Comes(confirm="D11 D13", dose="12"),
        case="V04",
    ),
    *(
        Row(f"born at {time}, charted at 11:50", birth(None, valueTime=time), comes, case="V04")
        for time, comes in (
            ("11:00:00", Comes(confirm="D11", dose="12")),
            ("10:59:00", Comes(r="R18", confirm="D11")),
            ("11:51:00", Comes(confirm="D11 D13", dose="12")),
        )
    ),
    Row(
        "the time of birth is absent, with a reason",
        birth(None, dataAbsentReason={"text": "unknown"}),
        Comes(dose="12"),
        case="V04",
    ),
]

# ---- Whose entry it is: the same woman in each way to point at her, and nobody else

SEVERE = pressure(170, 80, ago(minutes=20))


def about(reference: Any) -> Change:
    return plus(SEVERE | {"subject": reference if isinstance(reference, dict) else {"reference": reference}})


HERS = [
    "Patient/woman-v01",
    "Patient/woman-v01/",
    " Patient/woman-v01\n",
    "Patient/woman-v01/_history/3",
    "Patient/woman-v01?_format=json",
    "https://ehr.example.org/fhir/Patient/woman-v01",
    "https://ehr.example.org/fhir/Patient/woman-v01/_history/3",
    "http://other.example.org:8080/a/b/Patient/woman-v01/",
]
NOT_HERS = [
    "Patient/woman-v0",
    "Patient/woman-v01x",
    "Patient/WOMAN-V01",
    "Person/woman-v01",
    "RelatedPerson/woman-v01",
    "https://ehr.example.org/fhir/Patient/woman-v02",
]
NOBODYS = [
    "woman-v01",
    "patient/woman-v01",
    "Patient/",
    "Patient/woman v01",
    "Patient/woman-v01#part",
    "Patient?identifier=1",
    "",
    7,
]
WHOSE_ENTRY = [
    *(Row(f"hers: {reference!r}", about(reference), Comes(c="C04")) for reference in HERS),
    *(Row(f"not hers: {reference!r}", about(reference)) for reference in NOT_HERS),
    *(
        Row(f"nobody can tell whose: {reference!r}", about(reference), Comes(missing="D03 D04", confirm="D05"))
        for reference in NOBODYS
    ),
]

TABLE = [
    *PROBLEMS, *PERIODS, *TEXTS, *ALLERGIES, *STANDINGS, *COMPARATORS, *HIDDEN, *TIMES, *PRESSURES, *OTHERS, *VERSIONS,
    *LABS, *WEIGHTS, *AGES, *ASA_CLASSES, *DEEDS, *BIRTHS, *WHOSE_ENTRY,
]  # fmt: skip


def advice(row: Row, advisor_of: AdvisorOf) -> Advice:
    case = CASES[row.case]
    if row.zone is not None:
        case = replace(case, given={**case.given, "site": {**case.given["site"], "time_zone": row.zone}})
    advisor = advisor_of(case)
    request = copy.deepcopy(request_for(case, NOON, advisor.discovery()))
    row.change(request)
    return advisor.advise(parse_request(read_json(json.dumps(request).encode()), case["hook"]))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.says)
def test_what_an_entry_means(row: Row, advisor_of: AdvisorOf) -> None:
    assert came(advice(row, advisor_of)) == row.comes


# ---- Is she pregnant: her chart is opened, it has no pregnancy entry and no birth


def pregnancy_status(answer: Json, at: str | None = ago(days=30), **elements: Any) -> Json:
    told = {"status": "final", "code": loinc("82810-3"), "valueCodeableConcept": answer, "effectiveDateTime": at}
    return entry("Observation", **told | elements)


def due(at: str) -> Json:
    return entry("Observation", status="final", code=loinc("11778-8"), valueDateTime=at, effectiveDateTime=ago(days=90))


PREGNANT, NOT_PREGNANT = snomed("77386006"), {"text": "Not pregnant"}
PREGNANCIES = [
    ("nothing says so", both(), "other"),
    ("an entry", plus(problem(PREGNANT)), "pregnant"),
    ("an entry in error", plus(problem(PREGNANT, None, "entered-in-error")), "other"),
    ("an entry that is resolved", plus(problem(PREGNANT, "resolved")), "other"),
    (
        "an entry that ended yesterday, and that nobody closed",
        plus(problem(PREGNANT, abatementDateTime=ago(days=1))),
        "other",
    ),
    ("status: pregnant", plus(pregnancy_status(PREGNANT)), "pregnant"),
    ("status: pregnant, in words", plus(pregnancy_status({"text": "Pregnant"})), "pregnant"),
    ("status: not pregnant", plus(pregnancy_status(NOT_PREGNANT)), "other"),
    ("status: pregnant, in error", plus(pregnancy_status(PREGNANT, status="entered-in-error")), "other"),
    ("pregnant 300 days ago", plus(pregnancy_status(PREGNANT, ago(days=300))), "pregnant"),
    ("pregnant a minute before", plus(pregnancy_status(PREGNANT, ago(days=300, minutes=1))), "other"),
    ("pregnant, not dated", plus(pregnancy_status(PREGNANT, None)), "other"),
    ("pregnant tomorrow", plus(pregnancy_status(PREGNANT, ahead(days=1))), "other"),
    ("pregnant, then not", plus(pregnancy_status(PREGNANT), pregnancy_status(NOT_PREGNANT, ago(days=2))), "other"),
    (
        "not pregnant, then pregnant",
        plus(pregnancy_status(PREGNANT, ago(days=2)), pregnancy_status(NOT_PREGNANT)),
        "pregnant",
    ),
    ("due today", plus(due("2026-11-23")), "pregnant"),
    ("was due yesterday", plus(due("2026-11-22")), "other"),
    ("due in 300 days", plus(due("2027-09-19")), "pregnant"),
    ("due later than any pregnancy lasts", plus(due("2027-09-20")), "other"),
    ("due in another century", plus(due("2126-12-01")), "other"),
    ("born seven days ago", plus(procedure(VAGINAL, "completed", performedDateTime=ago(days=7))), "after-birth"),
    (
        "born a minute before",
        plus(procedure(VAGINAL, "completed", performedDateTime=ago(days=7, minutes=1))),
        "postpartum",
    ),
    ("born seven days ago, not done", plus(procedure(VAGINAL, "not-done", performedDateTime=ago(days=7))), "other"),
    ("born last week, in error", plus(procedure(VAGINAL, "entered-in-error", performedDateTime=ago(days=7))), "other"),
    ("born tomorrow", plus(procedure(VAGINAL, "completed", performedDateTime=ahead(days=1))), "other"),
    ("born this year", plus(procedure(VAGINAL, "completed", performedDateTime="2026")), "after-birth"),
    ("born in 2024", plus(procedure(VAGINAL, "completed", performedDateTime="2024")), "other"),
]


@pytest.mark.parametrize(("change", "stage"), [row[1:] for row in PREGNANCIES], ids=[row[0] for row in PREGNANCIES])
def test_where_she_is(change: Change, stage: str, advisor_of: AdvisorOf) -> None:
    thought = advice(Row("", change, case="B81b"), advisor_of).consultation

    assert thought is not None
    assert thought.occasion.stage.value == stage


# ---- What can be believed: the limits of the table, from both sides

LIMITS = [
    (row, limit, limit + side * Decimal("0.1"))
    for row in KNOWLEDGE.observations.row
    if not row.ratio
    for limit, side in zip(row.plausible, (-1, 1), strict=True)
]


@pytest.mark.parametrize(("row", "on_it", "beyond"), LIMITS, ids=[f"{row.fact} {on_it}" for row, on_it, _ in LIMITS])
def test_a_value_on_a_limit_is_believed_and_one_beyond_is_not(
    row: ObservationFact, on_it: Decimal, beyond: Decimal, advisor_of: AdvisorOf
) -> None:
    code = KNOWLEDGE.terminology.tokens[row.concepts[0]][0].rpartition("|")[2]

    def finding(value: Decimal) -> Finding:
        change = instead(code, measured(code, str(value), row.unit, ago(minutes=10)))
        thought = advice(Row("", both(without(PANEL), change)), advisor_of).consultation
        assert thought is not None
        return thought.facts[row.fact]

    assert finding(on_it).values == (on_it,)
    assert finding(beyond).state is State.UNKNOWN
    assert finding(beyond).doubt is Doubt.UNREADABLE


def test_saying_nothing_is_tested_often() -> None:
    silent = [row for row in TABLE if row.comes in (NOTHING_NEW, SILENCE)]

    assert len(TABLE) >= 90
    assert len(silent) * 4 >= len(TABLE)
