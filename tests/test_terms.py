"""What is remembered of a call, what follows from it the next day, and what a site can turn off."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from conftest import NOON
from ehr import request_for, service_for
from encoding import Case, Json, read_cases, site_of
from flask.testing import FlaskClient

from cds_service.advisor import Advisor
from cds_service.errors import StoreUnavailable
from cds_service.knowledge import Knowledge
from cds_service.records import Pseudonyms, Records
from cds_service.records.memory import Memory
from cds_service.rendering.wording import Wording
from cds_service.settings import Site, Terms
from cds_service.web.app import create_app

CASES = {case.id: case for case in read_cases()}
ELIGIBLE, CONTRAINDICATED, TOO_MUCH, ANALGESIA = (CASES[id_] for id_ in ("V01", "V25", "N21", "V30"))
SAFETY = next(case for case in CASES.values() if "PPDSAFETY" in (case.expect.get("cards") or ()))
DAY = timedelta(hours=24)
ISSUER = "https://ehr.example.org"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Ward:
    """One tenant's service, with records in memory, at a time that a test sets."""

    def __init__(self, knowledge: Knowledge, wording: Wording, records: Records, case: Case, **terms: Any) -> None:
        self.clock = Clock()
        self.records = records
        self.terms = Terms(**{"tenant": "north", "issuer": ISSUER, **terms})
        memory = Memory(records.trail, Pseudonyms(b"k" * 32), self.terms)
        site = Site.from_table(site_of(case))
        self.advisor = Advisor(knowledge, wording, site, self.clock, memory=memory, terms=self.terms)
        self.door: FlaskClient = create_app(self.advisor, records=records).test_client()

    def ask(self, case: Case, request: Json | None = None) -> list[Json]:
        request = request or self.request(case)
        path = f"/cds-services/{service_for(request['hook'], self.advisor.discovery())['id']}"
        answer = self.door.post(path, data=json.dumps(request, default=str), content_type="application/json")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        cards: list[Json] = answer.get_json()["cards"]
        return cards

    def request(self, case: Case) -> Json:
        """What her EHR sends now, with her chart as it is at noon."""
        return request_for(case, NOON, self.advisor.discovery())

    @property
    def rows(self) -> list[Any]:
        return list(self.records.trail.entries())


@pytest.fixture
def records() -> Iterator[Records]:
    kept = Records.in_memory()
    yield kept
    kept.close()


@pytest.fixture
def ward(knowledge: Knowledge, wording: Wording, records: Records) -> Any:
    return lambda case, **terms: Ward(knowledge, wording, records, case, **terms)


def topics(cards: list[Json]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in cards]


# ---- What is written down


def test_a_call_that_is_named_like_a_patient_has_a_stand_in_that_nobody_finds_by_trying(ward: Any) -> None:
    name = "Jane Doe 1994-02-01"
    north, south = ward(ELIGIBLE), ward(ELIGIBLE, tenant="south")
    for one in (north, north, south):
        one.ask(ELIGIBLE, {**one.request(ELIGIBLE), "hookInstance": name})

    first, again, elsewhere = (row["hook_instance"] for row in north.rows)
    assert re.fullmatch(r"opaque-[0-9a-f]{16}", first)
    assert again == first != elsewhere
    assert first.removeprefix("opaque-") not in hashlib.sha256(name.encode()).hexdigest()


def test_a_row_says_who_asked_and_what_was_advised_in_no_word_of_the_chart(ward: Any) -> None:
    north = ward(ELIGIBLE)
    cards = north.ask(ELIGIBLE)

    (row,) = north.rows
    request = north.request(ELIGIBLE)
    assert (row["tenant"], row["issuer"], row["hook"]) == ("north", ISSUER, "order-select")
    assert row["hook_instance"] == request["hookInstance"]
    assert (row["outcome"], row["status"], row["mode"]) == ("advised", "eligible-conditional", "live")
    assert (row["topics"], row["cards"]) == (["KETOPTION", "PPDRISK"], [card["uuid"] for card in cards])
    assert row["knowledge"] == north.advisor.knowledge.hash
    told = json.dumps(dict(row))
    for word in (request["context"]["patientId"], request["context"]["userId"], request["context"]["encounterId"]):
        assert word not in told
    assert north.records.trail.verify().fault is None


def test_the_criteria_that_decided_are_named(ward: Any) -> None:
    north = ward(CONTRAINDICATED)
    north.ask(CONTRAINDICATED)

    (row,) = north.rows
    assert (row["status"], row["criteria"]) == ("contraindicated", ["C02"])


def for_pain(ward: Ward) -> Json:
    """An analgesic that is drafted alone: no birth, and a reason that is none of our business."""
    request = copy.deepcopy(ward.request(ANALGESIA))
    drafts = request["context"]["draftOrders"]["entry"]
    drafts[:] = [entry for entry in drafts if entry["resource"]["resourceType"] == "MedicationRequest"]
    assert drafts
    request["context"]["selections"] = [f"MedicationRequest/{entry['resource']['id']}" for entry in drafts]
    return request


def test_a_call_that_is_none_of_our_business_leaves_no_row(ward: Any) -> None:
    north = ward(ANALGESIA)

    assert north.ask(ANALGESIA, for_pain(north)) == []
    assert north.rows == []


def test_a_chart_of_somebody_else_leaves_a_row_without_an_answer(ward: Any) -> None:
    north = ward(ELIGIBLE)
    request = north.request(ELIGIBLE)
    request["prefetch"]["patient"]["id"] = "somebody-else"
    path = "/cds-services/ppd-delivery-order"

    assert north.door.post(path, json=json.loads(json.dumps(request, default=str))).status_code == 412
    (row,) = north.rows
    assert (row["outcome"], row["topics"], row["status"]) == ("unavailable", [], None)


def test_what_cannot_be_written_down_is_not_advised(ward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    north = ward(ELIGIBLE)

    def lost(_entry: object) -> None:
        raise StoreUnavailable("the audit trail cannot be written now; send it again later")

    monkeypatch.setattr(north.records.trail, "append", lost)
    request = json.loads(json.dumps(north.request(ELIGIBLE), default=str))
    answer = north.door.post("/cds-services/ppd-delivery-order", json=request)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "cards" not in answer.get_json(force=True)


def test_without_the_database_a_call_that_is_none_of_our_business_is_answered(ward: Any) -> None:
    north = ward(ANALGESIA)
    north.records.close()

    assert north.ask(ANALGESIA, for_pain(north)) == []


# ---- An order that follows an offer


def unreasoned(ward: Ward, **more: Any) -> Json:
    """The drafted order of too much esketamine, of which nobody says what it is for; the birth is not ordered again."""
    request = copy.deepcopy(ward.request(TOO_MUCH))
    context = request["context"]
    drafts = [entry["resource"] for entry in context["draftOrders"]["entry"]]
    medicines = [draft for draft in drafts if draft["resourceType"] == "MedicationRequest"]
    for draft in medicines:
        for name in ("reasonCode", "instantiatesUri"):
            draft.pop(name, None)
        draft.update(more)
    context["draftOrders"]["entry"] = [{"resource": draft} for draft in medicines]
    context["selections"] = [f"MedicationRequest/{draft['id']}" for draft in medicines]
    return request


def offer(ward: Ward) -> None:
    """The medicine is offered for the very woman whose order comes later."""
    request = ward.request(TOO_MUCH)
    context = request["context"]
    drafts = [entry["resource"] for entry in context["draftOrders"]["entry"]]
    births = [draft for draft in drafts if draft["resourceType"] == "ServiceRequest"]
    context["draftOrders"]["entry"] = [{"resource": draft} for draft in births]
    context["selections"] = [f"ServiceRequest/{draft['id']}" for draft in births]
    assert "KETOPTION" in topics(ward.ask(TOO_MUCH, request))


def test_without_an_offer_ketamine_of_which_nobody_says_what_for_is_none_of_our_business(ward: Any) -> None:
    north = ward(TOO_MUCH)

    assert north.ask(TOO_MUCH, unreasoned(north)) == []
    assert north.rows == []


def test_after_an_offer_the_same_order_is_taken_for_what_was_offered(ward: Any) -> None:
    north = ward(TOO_MUCH)
    offer(north)

    assert "KETORDER" in topics(north.ask(TOO_MUCH, unreasoned(north)))


@pytest.mark.parametrize(("later", "follows"), [(DAY, True), (DAY + timedelta(microseconds=1), False)])
def test_an_offer_stands_for_a_day(ward: Any, later: timedelta, follows: bool) -> None:
    north = ward(TOO_MUCH)
    offer(north)
    north.clock.now = NOON + later

    assert bool(north.ask(TOO_MUCH, unreasoned(north))) is follows


@pytest.mark.parametrize(
    "reason",
    [
        {"reasonCode": [{"text": "Analgesia"}]},
        {"reasonCode": [{"coding": [{"system": "http://snomed.info/sct", "code": "22253000"}]}]},
        {"reasonReference": [{"reference": "Condition/pain"}]},
    ],
    ids=["in words", "in a code", "elsewhere"],
)
def test_a_stated_reason_counts_for_more_than_an_offer(ward: Any, reason: Json) -> None:
    north = ward(TOO_MUCH)
    offer(north)

    assert north.ask(TOO_MUCH, unreasoned(north, **reason)) == []


@pytest.mark.parametrize("empty", [[], [{}], [{"coding": []}], [{"text": ""}]])
def test_an_empty_reason_is_none(ward: Any, empty: list[Json]) -> None:
    north = ward(TOO_MUCH)
    offer(north)

    assert "KETORDER" in topics(north.ask(TOO_MUCH, unreasoned(north, reasonCode=empty)))


def test_after_an_offer_an_order_of_something_unknown_is_not_taken_for_ketamine(ward: Any) -> None:
    north = ward(TOO_MUCH)
    offer(north)
    request = unreasoned(north, medicationReference={"reference": "Medication/unknown"})
    for entry in request["context"]["draftOrders"]["entry"]:
        entry["resource"].pop("medicationCodeableConcept", None)

    assert north.ask(TOO_MUCH, request) == []


def test_another_tenants_offer_is_not_ours(ward: Any) -> None:
    north, south = ward(TOO_MUCH), ward(TOO_MUCH, tenant="south")
    offer(north)

    assert south.ask(TOO_MUCH, unreasoned(south)) == []


def test_what_was_thought_in_the_shadow_was_offered_to_nobody(ward: Any) -> None:
    north, shadow = ward(TOO_MUCH), ward(TOO_MUCH, shadow=True)
    shadow.ask(TOO_MUCH)

    assert "KETOPTION" in shadow.rows[0]["topics"]
    assert north.ask(TOO_MUCH, unreasoned(north)) == []


# ---- In the shadow


@pytest.mark.parametrize("case", [ELIGIBLE, CONTRAINDICATED, SAFETY], ids=lambda case: case.id)
def test_in_the_shadow_all_is_thought_and_written_down_and_nothing_is_said(ward: Any, case: Case) -> None:
    light, shadow = ward(case), ward(case, shadow=True)

    assert light.ask(case) != []
    assert shadow.ask(case) == []
    lit, shaded = light.rows
    differ = {name for name in lit if lit[name] != shaded[name]}
    assert (lit["mode"], shaded["mode"]) == ("live", "shadow")
    assert differ == {"number", "previous", "hash", "mode"}


# ---- Turned off


def test_a_topic_that_is_off_is_not_shown_and_makes_room(ward: Any) -> None:
    north = ward(ELIGIBLE, off=frozenset({"KETOPTION"}))

    assert topics(north.ask(ELIGIBLE)) == ["PPDRISK"]
    assert north.rows[0]["topics"] == ["PPDRISK"]


@pytest.mark.parametrize(
    ("case", "off"), [(CONTRAINDICATED, "KETCONTRA"), (TOO_MUCH, "KETORDER")], ids=["contraindicated", "too much"]
)
def test_what_stands_against_a_drafted_order_is_never_replaced_by_silence(ward: Any, case: Case, off: str) -> None:
    cards = ward(case, off=frozenset({off})).ask(case)

    assert off not in topics(cards)
    (incomplete,) = [card for card in cards if card["summary"].startswith("Safety check incomplete")]
    assert incomplete["indicator"] == "warning"
    assert "turned a part of it off" in incomplete["detail"]
    actions = [action for card in cards for one in card.get("suggestions", ()) for action in one["actions"]]
    created = [action["resource"] for action in actions if action["type"] == "create"]
    assert all(resource["resourceType"] != "MedicationRequest" for resource in created)


def test_two_cards_never_say_that_the_check_is_incomplete(ward: Any) -> None:
    """Too much is drafted, its card is turned off, and data is missing, too: one of them is enough."""
    north = ward(TOO_MUCH, off=frozenset({"KETORDER"}))
    request = north.request(TOO_MUCH)
    del request["prefetch"]["allergies"]

    cards = north.ask(TOO_MUCH, request)

    assert topics(cards).count("KETDATA") == 1
    assert len({card["uuid"] for card in cards}) == len(cards)


def test_an_accident_leaves_a_row_too(ward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    north = ward(ELIGIBLE)

    def breaks(*_: object, **__: object) -> None:
        raise KeyError

    monkeypatch.setattr(north.advisor, "consult", breaks)
    request = json.loads(json.dumps(north.request(ELIGIBLE), default=str))
    assert north.door.post("/cds-services/ppd-delivery-order", json=request).status_code == 500

    (row,) = north.rows
    assert (row["outcome"], row["topics"]) == ("failed", [])


def test_with_everything_off_but_safety_a_birth_without_an_order_of_the_medicine_gets_silence(
    ward: Any, knowledge: Knowledge
) -> None:
    everything = frozenset(row.code for row in knowledge.topics.topic) - {"PPDSAFETY"}

    assert ward(ELIGIBLE, off=everything).ask(ELIGIBLE) == []
    assert topics(ward(SAFETY, off=everything).ask(SAFETY)) == ["PPDSAFETY"]
    assert topics(ward(TOO_MUCH, off=everything).ask(TOO_MUCH)) == ["KETDATA"]
