"""Which orders are any of our business, told from the request alone."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.ehr.relevance import is_relevant, orders_prevention
from cds_service.hooks.request import parse_request
from cds_service.knowledge import Knowledge

Json = dict[str, Any]
PPD = [{"coding": [{"system": "http://snomed.info/sct", "code": "58703003"}]}]
PAIN = [{"text": "analgesia"}]
LOW_MOOD = {"resourceType": "Condition", "id": "sent", "code": PPD[0]}
RXNORM = "urn:oid:2.16.840.1.113883.6.88"


def medication(code: str, **more: Any) -> Json:
    """A Medication as Epic sends it: an entry of its own among the drafts."""
    return {"resourceType": "Medication", "id": "m1", "code": {"coding": [{"system": RXNORM, "code": code}]}, **more}


def order(reference: str | None = "Medication/m1", display: str | None = None, **more: Any) -> Json:
    pointed = {name: value for name, value in (("reference", reference), ("display", display)) if value}
    return {"resourceType": "MedicationRequest", "id": "d1", "medicationReference": pointed, **more}


def request_with(*drafts: Json, hook: str = "order-select") -> Any:
    context = {
        "userId": "Practitioner/1",
        "patientId": "1",
        "selections": ["MedicationRequest/d1"],
        "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": draft} for draft in drafts]},
    }
    sent = {"problems": {"resourceType": "Bundle", "entry": [{"resource": LOW_MOOD}, {}, None]}, "odd": 7}
    return parse_request({"hook": hook, "hookInstance": "i", "context": context, "prefetch": sent})


OXYTOCIN, ESKETAMINE, KETAMINE, PARACETAMOL = "7824", "2119365", "6130", "161"


@pytest.mark.parametrize(
    ("drafts", "relevant", "prevention"),
    [
        ([medication(OXYTOCIN), order()], True, False),
        ([medication(PARACETAMOL), order()], False, False),
        ([order()], False, False),
        ([order(display="Oxytocin 10 units/mL")], True, False),
        ([order(reference=None, display="Oxytocin 10 units/mL")], True, False),
        ([medication(ESKETAMINE), order(reasonCode=PPD)], True, True),
        ([medication(KETAMINE), order(reasonCode=PPD)], True, True),
        ([medication(KETAMINE), order(reasonCode=PAIN)], False, False),
        ([medication(KETAMINE), order()], False, False),
        ([medication(PARACETAMOL), order(reasonCode=PPD)], False, False),
        ([medication(OXYTOCIN), order("urn:uuid:m1")], True, False),
        ([medication(OXYTOCIN), order("https://ehr.example.org/fhir/Medication/m1")], True, False),
        ([order("#in", contained=[medication(OXYTOCIN, id="in")])], True, False),
        # A bare reference that nobody can follow from here, for prevention: it may be (es)ketamine.
        ([order(reasonCode=PPD)], True, True),
        ([order(display="Sertraline 50 mg", reasonCode=PPD)], False, False),
        ([{**order(reasonCode=PPD), "id": "d2"}], False, False),
        # What is not to be done is no order of it.
        ([medication(ESKETAMINE), order(reasonCode=PPD, status="draft")], True, True),
        ([medication(ESKETAMINE), order(reasonCode=PPD, status="cancelled")], False, False),
        ([medication(ESKETAMINE), order(reasonCode=PPD, status="entered-in-error")], False, False),
        ([medication(ESKETAMINE), order(reasonCode=PPD, doNotPerform=True)], False, False),
        ([medication(ESKETAMINE), order(reasonCode=PPD, doNotPerform=False)], True, True),
        ([order(reasonCode=PPD, doNotPerform=True)], False, False),
        # The reason behind a reference.
        ([medication(ESKETAMINE), order(reasonReference=[{"display": "Postpartum depression"}])], True, True),
        ([medication(ESKETAMINE), order(reasonReference=[{"display": "Labour pain"}])], False, False),
        ([medication(ESKETAMINE), order(reasonReference=[{"reference": "#c"}], contained=[{**LOW_MOOD, "id": "c"}])],
         True, True),
        ([medication(ESKETAMINE), order(reasonReference=[{"reference": "Condition/sent"}])], True, True),
        ([medication(ESKETAMINE), order(reasonReference=[{"reference": "Condition/not-sent"}])], False, False),
    ],
)  # fmt: skip
def test_a_medicine_is_known_by_the_medication_that_came_along(
    knowledge: Knowledge, drafts: list[Json], relevant: bool, prevention: bool
) -> None:
    asked = request_with(*drafts)
    assert (is_relevant(asked, knowledge), orders_prevention(asked, knowledge)) == (relevant, prevention)


def test_at_order_sign_every_order_is_being_signed(knowledge: Knowledge) -> None:
    signed = {**order(), "id": "another", "status": "active"}
    assert is_relevant(request_with(medication(OXYTOCIN), signed, hook="order-sign"), knowledge)
    assert not is_relevant(request_with(medication(OXYTOCIN), signed), knowledge)
