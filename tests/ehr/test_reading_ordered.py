"""Which drafted orders announce a birth: the birth itself, the medicines of labour, and an anaesthetic."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.ehr.reading.medicines import Pool
from cds_service.ehr.reading.ordered import is_anaesthesia_order, is_delivery_order
from cds_service.knowledge import Knowledge

Json = dict[str, Any]

CAESAREAN, EPIDURAL, GENERAL = "Caesarean section", "Epidural", "General anesthesia"
TYPES = ("ServiceRequest", "Procedure", "RequestGroup", "CarePlan", "Task")


def order(text: str, kind: str = "ServiceRequest", **more: Any) -> Json:
    return {"resourceType": kind, "id": "one", "status": "draft", "code": {"text": text}, **more}


def medicine(**more: Any) -> Json:
    return {"resourceType": "MedicationRequest", "id": "one", "status": "draft", **more}


def said(text: str) -> Json:
    return {"medicationCodeableConcept": {"text": text}}


POINTING = {"medicationReference": {"reference": "Medication/m"}}
POOL = Pool([{"resourceType": "Medication", "id": "m", "code": {"text": "Oxytocin"}}])
ORDERS: list[tuple[str, Json, bool, bool]] = [
    *((f"a birth, as a {kind}", order(CAESAREAN, kind), True, False) for kind in TYPES),
    *((f"an anaesthetic, as a {kind}", order(EPIDURAL, kind), False, True) for kind in TYPES),
    ("general anaesthesia", order(GENERAL), False, True),
    (
        "by its code",
        order("", code={"coding": [{"system": "http://snomed.info/sct", "code": "11466000"}]}),
        True,
        False,
    ),
    ("induction", order("Induction of labour"), True, False),
    ("active, and signed again", order(CAESAREAN, status="active"), True, False),
    ("without a status", order(CAESAREAN, status=None), True, False),
    ("never", order(CAESAREAN, doNotPerform=True), False, False),
    ("an anaesthetic, never", order(EPIDURAL, doNotPerform=True), False, False),
    ("not never", order(EPIDURAL, doNotPerform=False), False, True),
    *((f"{status}", order(CAESAREAN, status=status), False, False) for status in ("revoked", "cancelled")),
    *(
        (f"an anaesthetic, {status}", order(EPIDURAL, status=status), False, False)
        for status in ("revoked", "cancelled")
    ),
    ("in error", order(CAESAREAN, status="entered-in-error"), False, False),
    ("an anaesthetic, in error", order(EPIDURAL, status="entered-in-error"), False, False),
    ("in a device request", order(CAESAREAN, "DeviceRequest"), False, False),
    ("an anaesthetic in a device request", order(EPIDURAL, "DeviceRequest"), False, False),
    ("something else", order("Blood count"), False, False),
    ("nothing", order("", code=None), False, False),
    ("oxytocin", medicine(**said("Oxytocin")), True, False),
    ("misoprostol", medicine(**said("Misoprostol")), True, False),
    ("oxytocin that it points at", medicine(**POINTING), True, False),
    ("tranexamic acid", medicine(**said("Tranexamic acid")), False, False),
    ("oxytocin, cancelled", medicine(status="cancelled", **said("Oxytocin")), False, False),
]


@pytest.mark.parametrize(
    ("drafted", "birth", "anaesthetic"), [row[1:] for row in ORDERS], ids=[row[0] for row in ORDERS]
)
def test_what_announces_a_birth(drafted: Json, birth: bool, anaesthetic: bool, knowledge: Knowledge) -> None:
    assert is_delivery_order(drafted, POOL, knowledge) is birth
    assert is_anaesthesia_order(drafted, knowledge) is anaesthetic
