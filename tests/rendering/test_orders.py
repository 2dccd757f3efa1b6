"""Every draft that is suggested is valid FHIR R4, and one that cannot be filled in is not suggested."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from builders import SITE, WHO, cases, delivered, knowledge, recorded, think, woman, wording
from fhir.resources.R4B.medicationrequest import MedicationRequest
from fhir.resources.R4B.servicerequest import ServiceRequest

from cds_service.clinical.stage import Stage
from cds_service.errors import KnowledgeUnfit
from cds_service.rendering.cards import write
from cds_service.rendering.orders import OrderSet, Placed, SlotError

KINDS: Any = {"MedicationRequest": MedicationRequest, "ServiceRequest": ServiceRequest}


def drafts(consultation, site=SITE, who=WHO):
    return [
        action["resource"]
        for card in write(consultation, who, knowledge(), wording(), site)
        for suggestion in card.get("suggestions", ())
        for action in suggestion["actions"]
        if action["type"] == "create"
    ]


@pytest.mark.parametrize("name", cases())
def test_every_suggested_resource_is_valid(name):
    consultation, site = cases()[name]
    for resource in drafts(consultation, site):
        read_back = json.loads(json.dumps(resource, default=float))
        KINDS[resource["resourceType"]].model_validate(read_back)
        assert UUID(resource["id"])  # temporary: the EHR gives its own
        assert resource["intent"] == "order"


def test_the_medicine_is_one_infusion_that_a_pump_and_a_person_can_follow():
    (order,) = [r for r in drafts(think(woman())) if r["resourceType"] == "MedicationRequest"]
    assert order["instantiatesUri"] == ["urn:cds-service:protocol:esketamine-iv"]
    assert [c["code"] for c in order["medicationCodeableConcept"]["coding"]] == ["2119365", "785816006", "N01AX14"]
    (dosage,) = order["dosageInstruction"]
    assert dosage["timing"]["repeat"] == {"count": 1, "duration": 40, "durationUnit": "min"}
    assert dosage["route"]["coding"][0]["code"] == "47625008"
    (rate,) = dosage["doseAndRate"]
    assert (rate["doseQuantity"]["value"], rate["doseQuantity"]["code"]) == (Decimal(14), "mg")
    assert (rate["rateQuantity"]["value"], rate["rateQuantity"]["code"]) == (Decimal(30), "mL/h")
    assert dosage["maxDosePerAdministration"] == rate["doseQuantity"]
    assert "14 mg = 2.8 mL of esketamine 5 mg/mL, plus 17.2 mL of sodium chloride 0.9 %" in dosage["text"]
    assert "at 30 mL/h over 40 min" in dosage["text"]
    assert "No bolus" in dosage["text"]
    assert order["dispenseRequest"]["validityPeriod"] == {
        "start": "2026-05-14T09:30:00+00:00",
        "end": "2026-05-14T21:30:00+00:00",
    }
    assert order["substitution"] == {"allowedBoolean": False}


def test_the_reason_says_prevention_and_the_disease_never_stands_alone():
    (order,) = [r for r in drafts(think(woman())) if r["resourceType"] == "MedicationRequest"]
    (reason,) = order["reasonCode"]
    assert reason["text"] == "Prevention of postpartum depression after birth (off-label)"
    assert [c["code"] for c in reason["coding"]] == ["360271000", "58703003"]


def test_the_note_carries_consent_double_check_and_what_the_modifiers_add():
    (order,) = [
        r for r in drafts(think(woman(thyroid_replacement=recorded("t4")))) if r["resourceType"] == "MedicationRequest"
    ]
    notes = " ".join(note["text"] for note in order["note"])
    for needed in (
        "consent",
        "SITE_PPD-01",
        "independently",
        "Dedicated pump",
        "Valid for 12 h",
        "110 or less to start",
    ):
        assert needed in notes


def test_the_nurse_gets_the_whole_plan_of_watching():
    (order,) = [r for r in drafts(think(woman())) if "One-to-one nurse" in r.get("code", {}).get("text", "")]
    notes = " ".join(note["text"] for note in order["note"])
    for needed in ("Stop and call now", "Pause and call", "MOAA/S", "baby", "2 h or more", "24 h"):
        assert needed in notes


def test_contact_has_a_last_day_and_the_screens_have_a_day():
    orders = drafts(think(delivered(), hook="encounter-discharge", stage=Stage.AFTER_BIRTH))
    by_text = {order["code"]["text"]: order for order in orders}
    assert by_text["EPDS on day 7 after birth"]["occurrenceDateTime"] == "2026-05-21"
    contact = by_text["Contact within 3 weeks after birth, by visit or by telephone"]
    assert contact["occurrencePeriod"] == {"end": "2026-06-04"}


def test_a_stay_that_is_no_reference_is_left_out_and_a_woman_that_is_none_gets_no_draft():
    assert "encounter" not in drafts(think(woman()), who=replace(WHO, encounter="Encounter/not an id"))[0]
    assert drafts(think(woman()), who=replace(WHO, patient="Patient/")) == []
    assert drafts(think(woman()))[0]["encounter"] == {"reference": "Encounter/stay-1"}


def test_a_dose_that_is_no_quantity_cannot_be_sent():
    consultation = think(woman())
    orders = OrderSet.of(knowledge())
    words = orders.dose_words(consultation.dose, "X")
    for wrong in (Decimal("NaN"), Decimal(0), Decimal(-1), Decimal(5000)):
        with pytest.raises(SlotError):
            orders.medicine_order(replace(consultation.dose, dose_mg=wrong), words, Placed(WHO, consultation.facts))


def broken(**changes):
    table = knowledge().orders
    return replace(knowledge(), hash="sha256:0", orders=table.model_copy(update=changes))


def test_a_code_outside_its_value_set_is_refused_at_start():
    table = knowledge().orders
    wrong = table.medication.model_copy(
        update={"route": table.medication.route.model_copy(update={"code": "46713006"})}
    )
    with pytest.raises(KnowledgeUnfit, match="46713006 is not in the value set route_intravenous"):
        OrderSet.prepare(broken(medication=wrong))


def test_a_unit_of_time_that_fhir_does_not_know_is_refused_at_start():
    wrong = knowledge().orders.medication.model_copy(update={"duration_unit": "minutes"})
    with pytest.raises(KnowledgeUnfit, match="durationUnit cannot be minutes"):
        OrderSet.prepare(broken(medication=wrong))


def test_skeletons_are_prepared_once_for_one_knowledge():
    assert OrderSet.of(knowledge()) is OrderSet.of(knowledge())


def test_filling_one_order_leaves_the_skeleton_as_it_was():
    before = json.dumps(OrderSet.of(knowledge()).medication, default=str, sort_keys=True)
    drafts(think(woman()))
    assert json.dumps(OrderSet.of(knowledge()).medication, default=str, sort_keys=True) == before
