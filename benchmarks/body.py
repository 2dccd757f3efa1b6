"""
One order-select call as a large hospital sends it: an invented woman, 30 observations, about 35 KB.

As a script it prints the call, for `cds-service evaluate -`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

Json = dict[str, Any]

HL7 = "http://terminology.hl7.org/CodeSystem/"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
FORM = "https://forms.example.org/Questionnaire/mood-after-birth"
WOMAN = {"reference": "Patient/benchmark"}
STAY = {"reference": "Encounter/benchmark-stay"}
MIDWIFE = {"reference": "Practitioner/midwife"}
EPDS_ITEMS = (
    *("71344-6", "71345-3", "71346-1", "71347-9", "71348-7", "71349-5", "71350-3", "71351-1", "71352-9"),
    "71353-7",
)
# Fourteen points, none of them on item 10.
SCORES = (2, 1, 2, 1, 2, 2, 1, 2, 1, 0)

VITALS = {
    "8867-4": ("Heart rate", 84, "/min"),
    "59408-5": ("Oxygen saturation in Arterial blood by Pulse oximetry", 98, "%"),
    "9279-1": ("Respiratory rate", 16, "/min"),
}
LABS = {
    "1742-6": ("Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma", 18, "U/L", 35),
    "1920-8": ("Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma", 22, "U/L", 35),
    "777-3": ("Platelets [#/volume] in Blood by Automated count", 215, "10*3/uL", 400),
}


# What an EHR that sends part of the prefetch leaves to us.
SIX_LISTS = (*("problems", "allergies", "medication_orders", "medication_administrations", "screens", "vital_signs"),)


def order_select(
    now: datetime, *, hook_instance: str = "", kilobytes: int = 0, fhir_server: str | None = None
) -> bytes:
    """
    A birth is selected for an eligible woman: the whole chart is read, and the longest card is written.

    `kilobytes`: how large the body is to be, by pulses of the weeks before. With a `fhir_server` six lists of the
    prefetch are left out: they are to be read there.
    """
    call = _call(now, _order("700000006", "Vaginal delivery of fetus"), hook_instance)
    if fhir_server is not None:
        call["fhirServer"] = fhir_server
        for key in SIX_LISTS:
            del call["prefetch"][key]
    if (missing := kilobytes * 1000 - len(_written(call))) > 0:
        older = _searchset(*_Chart(now).pulses(missing))
        call["prefetch"]["vital_signs"]["entry"] += older["entry"]
        call["prefetch"]["vital_signs"]["total"] += older["total"]
    return _written(call)


def chart(now: datetime) -> Json:
    """Her chart by prefetch key."""
    return _Chart(now).prefetch()


def not_relevant(now: datetime) -> bytes:
    """The same chart, but what is selected is a blood count: none of our business."""
    return _written(_call(now, _order("26604007", "Complete blood count"), ""))


def order_sign(now: datetime, drafts: int) -> bytes:
    """The birth is signed together with other orders, so many in all: each of them is read."""
    call = _call(now, _order("700000006", "Vaginal delivery of fetus"), "")
    others = [_order("26604007", "Complete blood count") | {"id": f"benchmark-other-{n}"} for n in range(1, drafts)]
    call["hook"] = "order-sign"
    del call["context"]["selections"]
    call["context"]["draftOrders"]["entry"] += [{"resource": other} for other in others]
    return _written(call)


def feedback(now: datetime, number: int) -> bytes:
    """One suggestion of the number-th card was taken up."""
    card, suggestion = (str(uuid5(NAMESPACE_URL, f"urn:cds-service:benchmark:{what}:{number}")) for what in "cs")
    told = {"card": card, "outcome": "accepted", "acceptedSuggestions": [{"id": suggestion}]}
    return _written({"feedback": [{**told, "outcomeTimestamp": now.isoformat(timespec="seconds")}]})


def _written(call: Json) -> bytes:
    return json.dumps(call, separators=(",", ":")).encode()


def _call(now: datetime, order: Json, hook_instance: str) -> Json:
    return {
        "hook": "order-select",
        "hookInstance": hook_instance or str(uuid5(NAMESPACE_URL, "urn:cds-service:benchmark")),
        "context": {
            "userId": "Practitioner/obstetrician",
            "patientId": "benchmark",
            "encounterId": "benchmark-stay",
            "selections": [f"ServiceRequest/{order['id']}"],
            "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]},
        },
        "prefetch": chart(now),
    }


def _order(code: str, display: str) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": "benchmark-draft",
        "status": "draft",
        "intent": "order",
        "code": _concept(SNOMED, code, display),
        "subject": WOMAN,
        "encounter": STAY,
    }


def _concept(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def _searchset(*resources: Json) -> Json:
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(resources)}
    if resources:
        bundle["entry"] = [
            {
                "fullUrl": f"https://ehr.example.org/fhir/{resource['resourceType']}/{resource['id']}",
                "resource": resource,
                "search": {"mode": "match"},
            }
            for resource in resources
        ]
    return bundle


class _Chart:
    """Her chart as of `now`: 40 minutes after birth, screened this morning, nothing against the medicine."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.count = 0

    def ago(self, **span: float) -> str:
        return (self.now - timedelta(**span)).isoformat(timespec="seconds")

    def prefetch(self) -> Json:
        return {
            "patient": self.patient(),
            "encounter": self.encounter(),
            "problems": _searchset(self.condition("27342004", "Anemia of pregnancy")),
            "allergies": _searchset(self.allergy()),
            "medication_orders": _searchset(
                self.medicine("8727", "progesterone"), self.medicine("161", "acetaminophen")
            ),
            "medication_administrations": _searchset(self.given("7824", "oxytocin")),
            "reported_medicines": _searchset(),
            "procedures": _searchset(
                self.procedure("18946005", "Epidural anesthesia", 360),
                self.procedure("700000006", "Vaginal delivery of fetus", 40),
            ),
            "service_requests": _searchset(),
            "questionnaire_responses": _searchset(self.response()),
            "questionnaires": _searchset(),
            "screens": _searchset(*self.screens()),
            "vital_signs": _searchset(*self.vitals()),
            "laboratory": _searchset(*self.labs()),
            "obstetrics": _searchset(*self.birth()),
        }

    # -- 30 observations

    def screens(self) -> list[Json]:
        result = {"valueCodeableConcept": _concept(SNOMED, "260385009", "Negative")}
        return [self.observation("85102-2", "Mood Disorder Questionnaire", "survey", 60 * 24 * 30, result)]

    def vitals(self) -> list[Json]:
        return [
            *(self.pressure(minutes) for minutes in (8, 23, 38, 95, 155)),
            *(
                self.measured(code, display, "vital-signs", minutes, value + n % 2, unit)
                for code, (display, value, unit) in VITALS.items()
                for n, minutes in enumerate((8, 23, 38, 95))
            ),
            self.measured("29463-7", "Body weight", "vital-signs", 700, 72.4, "kg"),
            self.measured("8302-2", "Body height", "vital-signs", 700, 165, "cm"),
        ]

    def pulses(self, size: int) -> list[Json]:
        """Pulses of the days before, one each ten minutes, as many as make up this many bytes."""
        self.count = 1_000
        display, value, unit = VITALS["8867-4"]
        made: list[Json] = []
        while size > 0:
            minutes = 24 * 60 + 10 * len(made)
            made.append(self.measured("8867-4", display, "vital-signs", minutes, value + len(made) % 9, unit))
            size -= len(json.dumps(_searchset(made[-1])["entry"][0], separators=(",", ":"))) + 1
        return made

    def labs(self) -> list[Json]:
        return [
            self.measured(code, display, "laboratory", minutes, value, unit)
            | {"referenceRange": [{"high": _quantity(high, unit)}]}
            for code, (display, value, unit, high) in LABS.items()
            for minutes in (600, 6_000)
        ]

    def birth(self) -> list[Json]:
        asa = {"valueCodeableConcept": _concept(SNOMED, "413496000", "ASA class 2")}
        milk = {"valueCodeableConcept": _concept(LOINC, "LA29252-6", "Currently breastfeeding")}
        return [
            self.observation(
                "93857-1",
                "Date and time of obstetric delivery",
                "procedure",
                40,
                {"valueDateTime": self.ago(minutes=40)},
            ),
            self.measured("81661-1", "Blood loss", "procedure", 15, 280, "mL"),
            self.observation("97816-3", "American society of anesthesiologists morbidity state", "exam", 500, asa),
            self.observation("63895-7", "Breastfeeding status", "social-history", 20, milk),
        ]

    def pressure(self, minutes: float) -> Json:
        parts = [
            {"code": _concept(LOINC, code, display), "valueQuantity": _quantity(value, "mm[Hg]")}
            for code, display, value in (
                ("8480-6", "Systolic blood pressure", 118),
                ("8462-4", "Diastolic blood pressure", 72),
            )
        ]
        return self.observation(
            "85354-9", "Blood pressure panel with all children optional", "vital-signs", minutes, {"component": parts}
        )

    def measured(self, code: str, display: str, category: str, minutes: float, value: float, unit: str) -> Json:
        return self.observation(code, display, category, minutes, {"valueQuantity": _quantity(value, unit)})

    def observation(self, code: str, display: str, category: str, minutes: float, value: Json) -> Json:
        self.count += 1
        return {
            "resourceType": "Observation",
            "id": f"benchmark-observation-{self.count}",
            "status": "final",
            "category": [{"coding": [{"system": f"{HL7}observation-category", "code": category}]}],
            "code": _concept(LOINC, code, display),
            "subject": WOMAN,
            "encounter": STAY,
            "effectiveDateTime": self.ago(minutes=minutes),
            "issued": self.ago(minutes=minutes),
            "performer": [MIDWIFE],
            **value,
        }

    # -- the rest

    def patient(self) -> Json:
        return {
            "resourceType": "Patient",
            "id": "benchmark",
            "meta": {"versionId": "3", "lastUpdated": self.ago(days=30)},
            "active": True,
            "identifier": [{"system": "urn:example:record-number", "value": "BENCHMARK-1"}],
            "name": [{"use": "official", "family": "Invented", "given": ["Bench"]}],
            "telecom": [{"system": "phone", "value": "555-0100", "use": "mobile"}],
            "gender": "female",
            "birthDate": self.ago(days=365.25 * 30)[:10],
            "communication": [
                {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}, "preferred": True}
            ],
        }

    def encounter(self) -> Json:
        return {
            "resourceType": "Encounter",
            "id": "benchmark-stay",
            "status": "in-progress",
            "class": {"system": f"{HL7}v3-ActCode", "code": "IMP", "display": "inpatient encounter"},
            "subject": WOMAN,
            "period": {"start": self.ago(hours=14)},
            "location": [{"location": {"display": "Labour ward"}}],
        }

    def condition(self, code: str, display: str) -> Json:
        return {
            "resourceType": "Condition",
            "id": "benchmark-condition",
            "clinicalStatus": {"coding": [{"system": f"{HL7}condition-clinical", "code": "active"}]},
            "verificationStatus": {"coding": [{"system": f"{HL7}condition-ver-status", "code": "confirmed"}]},
            "code": _concept(SNOMED, code, display),
            "subject": WOMAN,
            "onsetDateTime": self.ago(days=60)[:10],
        }

    def allergy(self) -> Json:
        return {
            "resourceType": "AllergyIntolerance",
            "id": "benchmark-allergy",
            "clinicalStatus": {"coding": [{"system": f"{HL7}allergyintolerance-clinical", "code": "active"}]},
            "code": _concept(SNOMED, "716186003", "No known allergy"),
            "patient": WOMAN,
            "recordedDate": self.ago(hours=13),
        }

    def medicine(self, code: str, display: str) -> Json:
        return {
            "resourceType": "MedicationRequest",
            "id": f"benchmark-medicine-{code}",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": _concept(RXNORM, code, display),
            "subject": WOMAN,
            "authoredOn": self.ago(hours=12),
        }

    def given(self, code: str, display: str) -> Json:
        return {
            "resourceType": "MedicationAdministration",
            "id": "benchmark-given",
            "status": "completed",
            "medicationCodeableConcept": _concept(RXNORM, code, display),
            "subject": WOMAN,
            "context": STAY,
            "effectiveDateTime": self.ago(minutes=38),
            "dosage": {"route": _concept(SNOMED, "47625008", "Intravenous route")},
        }

    def procedure(self, code: str, display: str, minutes: float) -> Json:
        return {
            "resourceType": "Procedure",
            "id": f"benchmark-procedure-{code}",
            "status": "completed",
            "code": _concept(SNOMED, code, display),
            "subject": WOMAN,
            "encounter": STAY,
            "performedDateTime": self.ago(minutes=minutes),
        }

    def response(self) -> Json:
        """Her form as LHC-Forms writes it: LOINC codes as link ids, scores beside the answers, no item text."""
        return {
            "resourceType": "QuestionnaireResponse",
            "id": "benchmark-epds",
            "questionnaire": FORM,
            "status": "completed",
            "subject": WOMAN,
            "encounter": STAY,
            "authored": self.ago(hours=10),
            "source": WOMAN,
            "item": [
                {
                    "linkId": f"/{code}",
                    "answer": [{"valueCoding": {"extension": [_scored(score)], "code": f"a{score}"}}],
                }
                for code, score in zip(EPDS_ITEMS, SCORES, strict=True)
            ],
        }


def _scored(score: int) -> Json:
    return {"url": "http://hl7.org/fhir/StructureDefinition/ordinalValue", "valueDecimal": score}


def _quantity(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


if __name__ == "__main__":
    sys.stdout.write(order_select(datetime.now(UTC)).decode() + "\n")
