"""What is being ordered in this call: a birth, or something else that is none of our business."""

from __future__ import annotations

from typing import Final

from cds_service.clinical.facts import ABSENT, Evidence, Finding, present
from cds_service.ehr.chart import Chart
from cds_service.ehr.elements import Resource, reference_of, status_of
from cds_service.ehr.reading.medicines import Pool, concepts_of, medication_pool
from cds_service.ehr.reading.view import meaning_of
from cds_service.knowledge import Knowledge

_BIRTH: Final = frozenset(
    {"delivery", "caesarean", "vaginal_birth", "delivery_procedure_expansion", "induction_of_labour"}
)
_ANAESTHESIA: Final = frozenset({"neuraxial_anaesthesia", "general_anaesthesia"})
_ORDER_TYPES: Final = frozenset({"ServiceRequest", "Procedure", "RequestGroup", "CarePlan", "Task"})
_DEAD: Final = frozenset({"entered-in-error", "revoked", "cancelled"})


def is_delivery_order(order: Resource, pool: Pool, knowledge: Knowledge) -> bool:
    """
    Is this an order for a birth: delivery, caesarean, induction, labour medicines?

    Medicines for bleeding (ergot, carboprost, tranexamic acid) are not. `pool` holds what it may point at.
    """
    if order.get("doNotPerform") is True or status_of(order) in _DEAD:
        return False
    terms = knowledge.terminology
    kind = order.get("resourceType")
    if kind in _ORDER_TYPES:
        return bool(meaning_of(order.get("code"), "pregnancy", terms) & _BIRTH)
    if kind == "MedicationRequest":
        return bool(concepts_of(order, pool, knowledge) & {"oxytocin", "labour_prostaglandin"})
    return False


def is_anaesthesia_order(order: Resource, knowledge: Knowledge) -> bool:
    """An anaesthetic: with a pregnancy in the chart it announces a birth."""
    if order.get("doNotPerform") is True or status_of(order) in _DEAD:
        return False
    if order.get("resourceType") not in _ORDER_TYPES:
        return False
    return bool(meaning_of(order.get("code"), "pregnancy", knowledge.terminology) & _ANAESTHESIA)


def read_delivery_order(chart: Chart, knowledge: Knowledge) -> Finding:
    """Is a birth being ordered in this call?"""
    pool = medication_pool(chart)
    found = [order for order in chart.drafts if is_delivery_order(order, pool, knowledge)]
    return present(*(Evidence(reference_of(order), "drafted") for order in found)) if found else ABSENT
