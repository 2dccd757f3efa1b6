"""A large chart takes in proportion to its size: four times as much, of whatever it is, takes four times as long."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any

import pytest
from conftest import NOON
from encoding import Json

from cds_service.advisor import Advisor
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
FEW = 40


def ago(minutes: float) -> str:
    return (NOON - timedelta(minutes=minutes)).isoformat()


def observation(number: int, code: Json, minutes: float, **value: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": f"entry-{number}",
        "status": "final",
        "code": code,
        "subject": {"reference": "Patient/her"},
        "effectiveDateTime": ago(minutes),
        "issued": ago(minutes),
        **value,
    }


def loinc(code: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code}]}


def quantity(value: float, unit: str) -> Json:
    return {"valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit}}


def pulse(number: int) -> Json:
    return observation(number, loinc("8867-4"), 10 * number, **quantity(80 + number % 9, "/min"))


def nameless(number: int) -> Json:
    """Without an id only its content tells whether it came before."""
    return {name: value for name, value in pulse(number).items() if name != "id"}


def pressure(number: int) -> Json:
    parts = [{"code": loinc(code), **quantity(value, "mm[Hg]")} for code, value in (("8480-6", 118), ("8462-4", 72))]
    return observation(number, loinc("85354-9"), 10 * number, component=parts)


def weight(number: int) -> Json:
    return observation(number, loinc("29463-7"), 10 * number, **quantity(72 + number % 5 / 10, "kg"))


def epds(number: int) -> Json:
    return observation(number, loinc("99046-5"), 60 * number, valueInteger=7)


def epds_in_words(number: int) -> Json:
    return observation(number, {"text": "EPDS total score"}, 60 * number, valueInteger=7)


def disorder(number: int) -> Json:
    coding = {"system": "http://snomed.info/sct", "code": "27342004"}
    return {
        "resourceType": "Condition",
        "id": f"entry-{number}",
        "code": {"coding": [coding]},
        "subject": {"reference": "Patient/her"},
    }


def dose(number: int) -> Json:
    return {
        "resourceType": "MedicationAdministration",
        "id": f"entry-{number}",
        "status": "completed",
        "medicationCodeableConcept": {"text": "oxytocin"},
        "effectiveDateTime": ago(10 * number),
        "subject": {"reference": "Patient/her"},
    }


FULL_OF: dict[str, tuple[str, Callable[[int], Json]]] = {
    "pulses": ("vital_signs", pulse),
    "entries without an id": ("vital_signs", nameless),
    "blood pressures": ("vital_signs", pressure),
    "weights": ("vital_signs", weight),
    "EPDS totals": ("screens", epds),
    "EPDS totals in words": ("screens", epds_in_words),
    "disorders": ("problems", disorder),
    "doses": ("medication_administrations", dose),
}


def call(key: str, entries: list[Json]) -> bytes:
    listed = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": entry} for entry in entries]}
    patient = {"resourceType": "Patient", "id": "her", "birthDate": "1996-05-01"}
    request = {
        "hook": "patient-view",
        "hookInstance": "a-large-chart",
        "context": {"userId": "Practitioner/one", "patientId": "her"},
        "prefetch": {"patient": patient, key: listed},
    }
    return json.dumps(request).encode()


def steps(advisor: Advisor, body: bytes) -> int:
    """How many steps Python takes to answer: it counts them itself, so that no clock is needed."""
    request = parse_request(read_json(body))
    advisor.advise(request)  # what is looked up once and remembered is no step of the next call
    taken = 0

    def count(frame: FrameType, event: str, _: object) -> Any:
        nonlocal taken
        frame.f_trace_opcodes = True
        taken += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        advisor.advise(request)
    finally:
        sys.settrace(before)
    return taken


@pytest.mark.parametrize(("key", "entry"), FULL_OF.values(), ids=list(FULL_OF))
def test_four_times_as_much_takes_four_times_as_long(key: str, entry: Callable[[int], Json], advisor: Advisor) -> None:
    none, few, many = (
        steps(advisor, call(key, [entry(number) for number in range(1, count + 1)])) for count in (0, FEW, 4 * FEW)
    )

    assert few > none
    assert many - none <= 4.4 * (few - none)
