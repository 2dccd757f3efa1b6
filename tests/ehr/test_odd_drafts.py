"""A draft that an EHR wrote oddly: it is corrected whole and clean, or not at all, and costs no card."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest
from ehr import request_for
from encoding import Json, read_cases, site_of
from heard import events

from cds_service.advisor import Advisor
from cds_service.events import Event
from cds_service.hooks.request import service_for
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

CASE = next(case for case in read_cases() if case.id == "B151b")  # 15.5 mg drafted, 14 mg computed


@pytest.fixture(scope="module")
def advisor(knowledge: Knowledge, wording: Wording, now: datetime) -> Advisor:
    return Advisor(knowledge, wording, Site.from_table(site_of(CASE)), lambda: now)


def cards_with(advisor: Advisor, now: datetime, change: Json, *, alone: bool = False) -> list[Json]:
    """What is answered to the draft with this change. `alone`: nothing else is being ordered."""
    body = deepcopy(json.loads(json.dumps(request_for(CASE, now, advisor.discovery()))))
    entries = body["context"]["draftOrders"]["entry"]
    (entry,) = [one for one in entries if one["resource"]["resourceType"] == "MedicationRequest"]
    entry["resource"].update(change)
    if alone:
        body["context"]["draftOrders"]["entry"] = [entry]
    answer = create_app(advisor).test_client().post(f"/cds-services/{service_for(CASE['hook']).id}", json=body)
    assert answer.status_code == 200
    return answer.get_json()["cards"]


def updates(cards: list[Json]) -> list[Json]:
    found = [action for card in cards for s in card.get("suggestions", ()) for action in s["actions"]]
    return [action["resource"] for action in found if action["type"] == "update"]


@pytest.mark.parametrize(
    ("change", "corrected"),
    [
        ({}, True),
        ({"category": {"text": "inpatient"}}, True),  # the public Sandbox
        ({"note": []}, True),
        ({"note": None}, True),
        ({"extension": []}, True),
        ({"meta": {}}, True),
        ({"subject": {}}, True),
        ({"subject": None}, True),
        ({"note": [{"text": " "}]}, True),
        ({"category": [{"coding": []}]}, True),
        ({"identifier": [{"system": "", "value": "7"}]}, True),
        ({"priority": "stat"}, True),
        ({"priority": "soon"}, False),
        ({"priority": {}}, True),
        ({"priority": ["stat"]}, False),
        ({"intent": ["order"]}, False),
        ({"intent": "wish"}, False),
        ({"vendorSays": 1}, False),
        ({"authoredOn": "yesterday"}, False),
    ],
)
def test_a_draft_is_corrected_clean_or_not_at_all(
    advisor: Advisor, now: datetime, change: Json, corrected: bool
) -> None:
    cards = cards_with(advisor, now, change)
    assert "KETORDER" in [card["source"]["topic"]["code"] for card in cards]
    assert bool(updates(cards)) is corrected
    for resource in updates(cards):
        assert resource["status"] == "draft"
        assert resource["subject"]["reference"].endswith(CASE.slug)
        assert "null" not in json.dumps(resource)


@pytest.mark.parametrize("change", [{"status": "cancelled"}, {"status": "entered-in-error"}, {"doNotPerform": True}])
def test_an_order_that_is_not_to_be_done_is_no_occasion_to_offer_it(
    advisor: Advisor, now: datetime, change: Json
) -> None:
    assert cards_with(advisor, now, {"doNotPerform": False}, alone=True) != []
    assert cards_with(advisor, now, change, alone=True) == []


@pytest.mark.parametrize("status", [{"code": "draft"}, ["draft"], 7, True])
def test_a_status_that_is_none_costs_no_evaluation(
    advisor: Advisor, now: datetime, status: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cards = cards_with(advisor, now, {"status": status})
    assert not events(caplog, Event.EVALUATION_FAILED)
    assert updates(cards) == []


@pytest.mark.parametrize("status", ["active", "completed", "on-hold"])
def test_what_is_signed_is_not_touched(advisor: Advisor, now: datetime, status: str) -> None:
    assert updates(cards_with(advisor, now, {"status": status})) == []


@pytest.mark.parametrize("odd", [["5"], {"value": "5"}, None, 5, True], ids=repr)
@pytest.mark.parametrize("element", ["system", "code"])
def test_a_code_that_is_none_costs_the_check_of_the_order_nothing(
    advisor: Advisor, now: datetime, element: str, odd: object
) -> None:
    """Found by calls that were spoilt by chance: the check broke down over a list in the place of a code."""
    coding = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "2119365"}
    medicine = {"text": "Esketamine", "coding": [coding, {**coding, element: odd}]}

    cards = cards_with(advisor, now, {"medicationCodeableConcept": medicine})

    assert any(card["source"]["topic"]["code"] == "KETORDER" for card in cards)
    assert not any(card["summary"].startswith("Safety check incomplete") for card in cards)
