"""The same worked case as other EHRs would send it: another form, other units, other references, other keys."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

from encoding import ALONE, FORMS, LOINC, NO_CODE, SYSTEMS, UCUM, Case, Json

BASE = "https://ehr.example.org/fhir"
TOTALS = ("total", "total-quantity", "total-string")
CODED = (*TOTALS, "items", "members", "panel", "lhc", "named")
# Each axis of a shape, its plain value first. `epds`, `phq9`, `gad7` and `zone` are written by the encoder, the
# others on the wire.
AXES: dict[str, tuple[str, ...]] = {
    "epds": (*ALONE, "items", "weighed-items", "panel", "members", *FORMS),
    "phq9": CODED,
    "gad7": CODED,
    "zone": ("Z", "+08:00", "-03:30", "+05:45"),
    "references": ("relative", "absolute", "versioned", "absolute and versioned"),
    "ids": ("bare", "typed"),
    "codes": ("official", "oid", "SNOMED CT alone", "ICD-10-CM alone"),
    "units": ("official", "spelt out", "spelt in the code", "converted"),
    "pressure": ("panel", "panel of another code", "two entries"),
    "medicines": ("concept", "beside a local code", "words", "codes", "contained", "in the Bundle", "display"),
    "standing": ("final", "amended", "corrected"),
    "problems": ("stated", "unstated"),
    "keys": ("ours", "theirs"),
}


# ---- Choosing


def told_otherwise(case: Case, seed: int) -> Case:
    """The case in a shape drawn from those that can carry it, the same at each run. What its story forces stays."""
    chance = Random(f"{case.id}/{seed}")  # noqa: S311  (not for a secret)
    drawn = {axis: chance.choice(shapes) for axis, shapes in possible(case).items()}
    return case.shaped(**{axis: shape for axis, shape in drawn.items() if axis not in case["shape"]})


def possible(case: Case) -> dict[str, list[str]]:
    """The values of each axis that can carry what this case tells."""
    return {axis: [shape for shape in shapes if _carries(case, axis, shape)] for axis, shapes in AXES.items()}


def _carries(case: Case, axis: str, shape: str) -> bool:
    given = case["screens"]
    match axis:
        case "epds":
            return all(_carries_epds(shape, **form) for form in (given["epds"], given["later_epds"]) if form)
        case "phq9":
            form = given["phq9"]
            return shape in TOTALS or not form or 0 <= form["total"] - form.get("item9", 0) <= 8 * 3
        case "gad7":
            form = given["gad7"]
            return shape in TOTALS or not form or 0 <= form["total"] <= 7 * 3
        case _:
            return True


def _carries_epds(
    shape: str,
    *,
    total: int,
    item10: int | None,
    items_answered: int,
    age_h: float,  # noqa: ARG001
    date_only: bool = False,  # noqa: ARG001
    stated_total: int | None = None,
    status: str = "final",
) -> bool:
    if shape in FORMS and status not in ("final", "entered-in-error"):
        return False  # a response is not "preliminary", and one in progress would count, as a lower bound
    if shape in ALONE:
        # A total alone cannot differ from items that are not there, and beside item 10 it says that all were answered.
        return stated_total is None and (items_answered == 10 or item10 is None)
    others = items_answered - (item10 is not None)
    # Ten answers would tell item 10, and items cannot sum to what is beyond them.
    return others <= 9 and 0 <= total - (item10 or 0) <= 3 * others


# ---- On the wire


def sent(request: Json, case: Case, chart: list[Json]) -> Json:
    """
    The request as this EHR sends it.

    `chart` is all that was encoded: Questionnaires that a search by code does not find are sent, too.
    """
    shape = case["shape"]
    request = copy.deepcopy(request)
    prefetch, context = request["prefetch"], request["context"]
    _fill(prefetch, "questionnaires", [one for one in chart if one["resourceType"] == "Questionnaire"])
    bundles = [value for value in prefetch.values() if value.get("resourceType") == "Bundle"]
    drafts = [context["draftOrders"]] if "draftOrders" in context else []
    for axis, retell in RETELL.items():
        for bundle in (*bundles, *drafts):
            _rewritten(bundle, lambda one, retell=retell, axis=axis: retell(one, shape.get(axis, AXES[axis][0])))
    if shape.get("epds") == "total-words":
        _without_code(prefetch["screens"])
    if shape.get("references", "relative") != "relative":
        for bundle in (*bundles, *drafts):
            _repoint(bundle, shape["references"])
    if shape.get("ids") == "typed":
        context["patientId"] = f"Patient/{context['patientId']}"
        context["encounterId"] = f"Encounter/{context['encounterId']}"
    if shape.get("keys") == "theirs":
        request["prefetch"] = {_their_key(key, value, case): value for key, value in prefetch.items()}
    return request


def _fill(prefetch: Json, key: str, resources: list[Json]) -> None:
    if resources:
        prefetch[key] = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(resources),
            "entry": [{"resource": copy.deepcopy(one), "search": {"mode": "match"}} for one in resources],
        }


def _their_key(key: str, value: Json, case: Case) -> str:
    """A list that is empty, holds nothing of hers, or tells no code that is asked for is known by its key alone."""
    if value["resourceType"] == "Bundle":
        hers = [entry for entry in value.get("entry", []) if _is_about(entry["resource"], f"woman-{case.slug}")]
        in_words = key == "screens" and case["shape"].get("epds") == "total-words"
        return f"their_{key}" if hers and not in_words else key
    return key if value["resourceType"] == "OperationOutcome" else f"their_{key}"


def _is_about(resource: Json, patient: str) -> bool:
    owner = resource.get("subject", resource.get("patient", {}))
    return patient in owner.get("reference", patient).split("/")


def _rewritten(bundle: Json, retell: Callable[[Json], Iterator[Json]]) -> None:
    """Each entry's resource, told otherwise. What it brings along is included, and is no match of the search."""
    entries = []
    for entry in bundle.get("entry", []):
        for number, resource in enumerate(retell(entry["resource"])):
            mode = {"search": {"mode": "include"}} if resource["resourceType"] == "Medication" else {}
            entries.append({**entry, "resource": resource, **mode} if number else {**entry, "resource": resource})
            bundle["total"] = bundle.get("total", 0) + bool(number and not mode)
    if entries:
        bundle["entry"] = entries
    if bundle["type"] != "searchset":
        bundle.pop("total", None)
        for entry in entries:
            entry.pop("search", None)


def _without_code(bundle: Json) -> None:
    for entry in bundle.get("entry", []):
        if entry["resource"].get("code", {}).get("text") == NO_CODE:
            entry["resource"]["code"].pop("coding")


# -- references


def _repoint(value: Any, how: str) -> None:
    match value:
        case {"reference": str(target), **_rest} if re.fullmatch(r"[A-Z]\w+/[\w.-]+", target):
            base = f"{BASE}/" if "absolute" in how else ""
            version = "/_history/1" if "versioned" in how else ""
            value["reference"] = f"{base}{target}{version}"
        case dict():
            for inner in value.values():
                _repoint(inner, how)
        case list():
            for inner in value:
                _repoint(inner, how)


# -- codes

OID = {
    SYSTEMS["snomed"]: "urn:oid:2.16.840.1.113883.6.96",
    SYSTEMS["icd10cm"]: "urn:oid:2.16.840.1.113883.6.90",
    SYSTEMS["rxnorm"]: "urn:oid:2.16.840.1.113883.6.88",
    SYSTEMS["atc"]: "urn:oid:2.16.840.1.113883.6.73",
    LOINC: "urn:oid:2.16.840.1.113883.6.1",
}
# ICD-10-CM codes that no table of ours knows: beside the SNOMED CT code they are harmless, alone they say nothing.
NOT_KNOWN_ALONE = frozenset({"D49.6"})
ALONE_IN = {"SNOMED CT alone": SYSTEMS["snomed"], "ICD-10-CM alone": SYSTEMS["icd10cm"]}


def _codes(resource: Json, how: str) -> Iterator[Json]:
    if how == "oid":
        _to_oids(resource)
    coding = resource.get("code", {}).get("coding", []) if resource["resourceType"] == "Condition" else []
    kept = [one for one in coding if one["system"] == ALONE_IN.get(how) and one["code"] not in NOT_KNOWN_ALONE]
    if kept:
        resource["code"]["coding"] = kept
    yield resource


def _to_oids(value: Any) -> None:
    match value:
        case dict():
            if value.get("system") in OID:
                value["system"] = OID[value["system"]]
            for inner in value.values():
                _to_oids(inner)
        case list():
            for inner in value:
                _to_oids(inner)


# -- units

SPELT = {
    "kg": "kilograms",
    "[lb_av]": "lbs",
    "g": "grams",
    "cm": "centimeters",
    "mm[Hg]": "mmHg",
    "/min": "beats/min",
    "%": "percent",
    "mL": "ml",
    "10*3/uL": "K/uL",
}
# Only conversions that are exact as a decimal, so that nothing can move. Kilograms in pounds would not end.
CONVERTED = {
    "kg": ("g", Decimal(1000)),
    "g": ("kg", Decimal("0.001")),
    "[lb_av]": ("kg", Decimal("0.45359237")),
    "cm": ("m", Decimal("0.01")),
    "mL": ("L", Decimal("0.001")),
    "/min": ("{beats}/min", Decimal(1)),
    "10*3/uL": ("10*9/L", Decimal(1)),
}


def _units(resource: Json, how: str) -> Iterator[Json]:
    if resource["resourceType"] == "Observation" and how != "official":
        for quantity in _quantities(resource):
            quantity.update(_unit(quantity, how))
            if how == "spelt out" and quantity.get("unit") in SPELT.values():
                quantity.pop("code")
                quantity.pop("system")
    yield resource


def _unit(quantity: Json, how: str) -> Json:
    unit = quantity["code"]
    if how == "converted":
        if unit not in CONVERTED:
            return {}
        into, factor = CONVERTED[unit]
        value = Decimal(str(quantity["value"])) * factor
        written = int(value) if value == value.to_integral_value() else float(value)
        return {"value": written, "unit": into, "code": into}
    if unit not in SPELT:
        return {}
    return {"unit": SPELT[unit]} | ({"code": SPELT[unit]} if how == "spelt in the code" else {})


def _quantities(value: Any) -> Iterator[Json]:
    match value:
        case {"value": _, "system": str(system), "code": _, **_rest} if system == UCUM:
            yield value
        case dict():
            for inner in value.values():
                yield from _quantities(inner)
        case list():
            for inner in value:
                yield from _quantities(inner)


def _code_of(concept: Json) -> str:
    return concept["coding"][0]["code"]


# -- blood pressure

OF_ANOTHER_CODE = {"85354-9": "55284-4", "8480-6": "76534-7", "8462-4": "76535-4"}


def _pressure(resource: Json, how: str) -> Iterator[Json]:
    if how == "panel" or resource["resourceType"] != "Observation" or _code_of(resource["code"]) != "85354-9":
        yield resource
    elif how == "two entries":
        whole = {name: value for name, value in resource.items() if name != "component"}
        for number, part in enumerate(resource["component"]):
            yield whole | part | {"id": f"{resource['id']}-{number}"}
    else:
        for part in (resource, *resource["component"]):
            part["code"]["coding"][0]["code"] = OF_ANOTHER_CODE[_code_of(part["code"])]
        yield resource


# -- medicines


def _medicines(resource: Json, how: str) -> Iterator[Json]:
    concept = resource.get("medicationCodeableConcept")
    if concept is None:
        yield resource
        return
    rest = {name: value for name, value in resource.items() if name != "medicationCodeableConcept"}
    product = {"resourceType": "Medication", "id": f"{resource['id']}-product", "code": concept}
    match how:
        case "concept":
            yield resource
        case "beside a local code":
            local = {"system": "urn:oid:1.2.3.4.5", "code": "99", "display": concept["text"].title()}
            yield rest | {"medicationCodeableConcept": concept | {"coding": [local, *concept["coding"]]}}
        case "words":
            yield rest | {"medicationCodeableConcept": {"text": concept["text"]}}
        case "codes":
            yield rest | {"medicationCodeableConcept": {"coding": concept["coding"]}}
        case "contained":
            reference = {"reference": f"#{product['id']}"}
            yield rest | {"contained": [product], "medicationReference": reference}
        case "in the Bundle":
            yield rest | {"medicationReference": {"reference": f"Medication/{product['id']}"}}
            yield product
        case "display":
            reference = {"reference": f"Medication/{product['id']}", "display": concept["text"]}
            yield rest | {"medicationReference": reference}


# -- how an entry stands


def _standing(resource: Json, how: str) -> Iterator[Json]:
    match resource:
        case {"resourceType": "Observation", "status": "final"}:
            resource["status"] = how
        case {"resourceType": "QuestionnaireResponse", "status": "completed"} if how != "final":
            resource["status"] = "amended"
    yield resource


def _problems(resource: Json, how: str) -> Iterator[Json]:
    """Active and confirmed, or nothing said about it."""
    if how == "unstated" and resource["resourceType"] in ("Condition", "AllergyIntolerance"):
        verified = resource["verificationStatus"]["coding"][0]["code"]
        if verified == "confirmed":
            resource.pop("verificationStatus")
        if (
            "clinicalStatus" in resource
            and _code_of(resource["clinicalStatus"]) == "active"
            and not _long_past(resource)
        ):
            resource.pop("clinicalStatus")
    yield resource


def _long_past(resource: Json) -> bool:
    """A disorder of a pregnancy before this one stands only while its status says so."""
    coding = resource["code"].get("coding", [])
    of_pregnancy = any(one["code"].startswith("O") for one in coding)
    return of_pregnancy and "onsetDateTime" in resource and resource["onsetDateTime"] < "2026-02"


RETELL: dict[str, Callable[[Json, str], Iterator[Json]]] = {
    "units": _units,
    "pressure": _pressure,
    "medicines": _medicines,
    "standing": _standing,
    "problems": _problems,
    "codes": _codes,
}
