"""What is on order already, told from what is only like it: another day, another urgency."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from ehr import request_for
from encoding import Json, read_cases, site_of

from cds_service.advisor import Advisor
from cds_service.hooks.request import service_for
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

BY_ID = {case.id: case for case in read_cases()}
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"


def service(system: str, code: str, text: str = "Ordered elsewhere", **more: Any) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": "on-order",
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": system, "code": code}], "text": text},
        **more,
    }


PSYCHIATRY = service(SNOMED, "183524004", "Perinatal psychiatry consult")
URGENT = {**PSYCHIATRY, "priority": "urgent"}
EPDS = service(LOINC, "71354-5")


@pytest.fixture
def offered(knowledge: Knowledge, wording: Wording, now: datetime) -> Any:
    """The labels of a card with this order in the chart, and the card's detail."""

    def labels(case_id: str, topic: str, order: Json | None) -> tuple[list[str], str]:
        case = BY_ID[case_id]
        advisor = Advisor(knowledge, wording, Site.from_table(site_of(case)), lambda: now)
        body = json.loads(json.dumps(request_for(case, now, advisor.discovery())))
        if order is not None:
            hers = {**order, "subject": {"reference": f"Patient/{body['context']['patientId']}"}}
            listed = body["prefetch"]["service_requests"].setdefault("entry", [])
            listed.append({"resource": hers, "search": {"mode": "match"}})
            body["prefetch"]["service_requests"]["total"] = len(listed)
        path = f"/cds-services/{service_for(case['hook']).id}"
        cards = create_app(advisor).test_client().post(path, json=body).get_json()["cards"]
        (card,) = [c for c in cards if c["source"]["topic"]["code"] == topic]
        return [suggestion["label"] for suggestion in card.get("suggestions", ())], card["detail"]

    return labels


NOW_LABEL = "Order an urgent psychiatry consult"


@pytest.mark.parametrize(("order", "still"), [(None, True), (PSYCHIATRY, True), (URGENT, False)])
def test_an_urgent_consult_is_not_satisfied_by_one_some_day(offered: Any, order: Json | None, still: bool) -> None:
    labels, detail = offered("B06a", "PPDSAFETY", order)
    assert (NOW_LABEL in labels) is still
    assert ("Already drafted or ordered, not offered again: Psychiatry consult, urgent" in detail) is not still


@pytest.mark.parametrize(
    ("order", "still"),
    [
        (None, True),
        (EPDS, False),
        ({**EPDS, "occurrenceDateTime": "2026-11-23"}, False),
        ({**EPDS, "occurrenceDateTime": "2026-11-24"}, True),
        (service(LOINC, "71354-5", "EPDS on day 42 after birth"), True),
    ],
)
def test_a_screen_that_is_due_is_not_satisfied_by_a_later_one(offered: Any, order: Json | None, still: bool) -> None:
    labels, detail = offered("N31", "PPDSCREEN", order)
    assert ("Order the EPDS" in labels) is still
    assert ("Already drafted or ordered, not offered again: EPDS, all ten questions, now" in detail) is not still
