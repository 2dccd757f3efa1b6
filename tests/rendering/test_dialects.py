"""The same thought, said to four kinds of EHR. CDS_WRITE_GOLDEN=1 writes the files anew: read the diff then."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ehr import request_for
from encoding import Case, Json, read_cases, site_of

from cds_service.advisor import Advisor
from cds_service.hooks.request import service_for
from cds_service.hooks.response import Card, Link, Source
from cds_service.knowledge import Knowledge
from cds_service.rendering.dialects import DIALECTS
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

GOLDEN = Path(__file__).parent / "golden"
BY_ID = {case.id: case for case in read_cases()}
TOLD = {
    "V01": "eligible before birth",
    "B06a": "a self-harm answer",
    "N29": "drafted to run too fast, and unwatched",
    "N21": "drafted above the ceiling",
    "B165b": "drafted although contraindicated",
    "N09": "discharge",
}
PREFERENCE = "urn:com.epic.cdshooks.action.code.system.preference-list-item"
MAPPED = [
    {"order": "medicine", "system": PREFERENCE, "code": "700123", "defaults": "esketamine-iv"},
    {"order": "counselling", "system": PREFERENCE, "code": "700456", "display": "Referral to counselling"},
]


def cards_of(case: Case, now: datetime, knowledge: Knowledge, wording: Wording, **site: Any) -> list[Json]:
    """The cards, over HTTP, at a site with more in its file."""
    advisor = Advisor(knowledge, wording, Site.from_table({**site_of(case), **site}), lambda: now)
    body = request_for(case, now, advisor.discovery())
    answer = create_app(advisor).test_client().post(f"/cds-services/{service_for(case['hook']).id}", json=body)
    assert answer.status_code == 200
    return answer.get_json()["cards"]


@pytest.fixture
def said(now: datetime, knowledge: Knowledge, wording: Wording) -> Any:
    return lambda case, **site: cards_of(BY_ID[case], now, knowledge, wording, **site)


def actions(cards: list[Json]) -> list[Json]:
    return [action for card in cards for s in card.get("suggestions", ()) for action in s["actions"]]


def medicines(cards: list[Json]) -> list[Json]:
    return [a for a in actions(cards) if a.get("resource", {}).get("resourceType") == "MedicationRequest"]


# ---- Golden files


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", TOLD)
def test_each_dialect_says_it_as_it_did(said: Any, dialect: str, case: str) -> None:
    text = json.dumps(said(case, dialect=dialect), indent=2, ensure_ascii=False) + "\n"
    text = re.sub(r"sha256:[0-9a-f]{12}", "sha256:…", text)  # every edit of a table changes it
    path = GOLDEN / dialect / f"{case}.json"
    if os.environ.get("CDS_WRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    found = {path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.json")}
    assert found == {f"{dialect}/{case}.json" for dialect in DIALECTS for case in TOLD}


# ---- Standard


def test_the_medicine_and_its_monitoring_are_one_suggestion(said: Any) -> None:
    (card, *_) = said("V01")
    (joined,) = [s for s in card["suggestions"] if len(s["actions"]) > 1]
    kinds = [action["resource"]["resourceType"] for action in joined["actions"]]
    assert kinds == ["MedicationRequest", "ServiceRequest", "ServiceRequest", "ServiceRequest"]
    assert joined["label"] == "Draft esketamine 14 mg IV with its monitoring, by local protocol (off-label)"
    assert "isRecommended" not in joined
    assert card["selectionBehavior"] == "any"


def test_the_correction_brings_the_monitoring_unless_it_is_drafted_with_its_rhythm(said: Any) -> None:
    """In the second case it is drafted by codes alone, which do not tell how often."""

    def kinds(case: str) -> list[str]:
        (card,) = [c for c in said(case) if c["source"]["topic"]["code"] == "KETORDER"]
        return [f"{a['type']} {a['resource']['resourceType']}" for a in card["suggestions"][0]["actions"]]

    brought = ["update MedicationRequest", "create ServiceRequest", "create ServiceRequest"]
    assert kinds("N29") == brought
    assert kinds("B151b") == brought


@pytest.mark.parametrize("case", ["B160a", "B159b", "B165b", "B163a", "B166c"])
def test_no_correction_is_offered_where_a_dosage_would_not_mend_it(said: Any, case: str) -> None:
    """Another medicine, another strength, contraindicated, no protocol, no dose."""
    assert not [a for a in actions(said(case)) if a["type"] == "update"]


def test_a_draft_is_corrected_whole_and_under_its_own_id(said: Any, now: datetime) -> None:
    case = BY_ID["N21"]
    (update,) = [a for a in actions(said("N21")) if a["type"] == "update"]
    sent = request_for(case, now, {"services": [{"id": "x", "hook": case["hook"], "prefetch": {}}]})
    (draft,) = [
        entry["resource"]
        for entry in sent["context"]["draftOrders"]["entry"]
        if entry["resource"]["resourceType"] == "MedicationRequest"
    ]
    changed = update["resource"]
    assert {k: v for k, v in changed.items() if k not in {"dosageInstruction", "dispenseRequest"}} == {
        k: v for k, v in draft.items() if k not in {"dosageInstruction", "dispenseRequest"}
    }
    (dosage,) = changed["dosageInstruction"]
    assert dosage["doseAndRate"][0]["doseQuantity"]["value"] == 14
    assert dosage["timing"]["repeat"] == {"count": 1, "duration": 40, "durationUnit": "min"}
    assert "resourceId" not in update


# ---- Epic


@pytest.mark.parametrize("case", TOLD)
def test_epic_gets_one_action_a_suggestion_and_no_update(said: Any, case: str) -> None:
    for card in said(case, dialect="epic"):
        assert card.get("selectionBehavior", "any") == "any"
        assert re.fullmatch(r"[A-Za-z0-9]{1,100}", card["source"]["topic"]["code"])
        for suggestion in card.get("suggestions", ()):
            (action,) = suggestion["actions"]
            assert action["type"] in {"create", "delete"}
            assert suggestion["uuid"]


def test_epic_drafts_the_medicine_only_where_the_item_has_the_protocols_defaults(said: Any) -> None:
    """Epic drops dose, route and rate of a created order."""
    unmapped = said("V01", dialect="epic")
    assert medicines(unmapped) == []
    by_hand = unmapped[0]["detail"].split("To be ordered by hand")[1].split("\n\n")[1]
    assert "esketamine 14 mg once = 2.8 mL of 5 mg/mL" in by_hand
    assert "30 mL/h over 40 min" in by_hand
    without_defaults = [{key: value for key, value in MAPPED[0].items() if key != "defaults"}]
    assert medicines(said("V01", dialect="epic", orderable=without_defaults)) == []
    mapped = said("V01", dialect="epic", orderable=MAPPED)
    (drafted,) = medicines(mapped)
    assert "To be ordered by hand" not in mapped[0]["detail"]
    assert "14 mg once = 2.8 mL" in drafted["description"]
    coded = [(c["system"], c["code"]) for c in drafted["resource"]["medicationCodeableConcept"]["coding"]]
    assert coded[0] == (PREFERENCE, "700123")
    assert ("urn:oid:2.16.840.1.113883.6.88", "2119365") in coded
    assert ("http://www.nlm.nih.gov/research/umls/rxnorm", "2119365") in coded
    assert ("urn:oid:2.16.840.1.113883.6.96", "785816006") in coded


def test_the_sites_own_code_comes_first_in_every_dialect_that_drafts(said: Any) -> None:
    for dialect in ("standard", "epic", "sandbox"):
        (counselling,) = [
            a for a in actions(said("V01", dialect=dialect, orderable=MAPPED)) if "counselling" in a["description"]
        ]
        first, *public = counselling["resource"]["code"]["coding"]
        assert first == {"system": PREFERENCE, "code": "700456", "display": "Referral to counselling"}
        assert public


def test_one_medicine_a_card_in_every_dialect(said: Any) -> None:
    for dialect in DIALECTS:
        assert len(medicines(said("V01", dialect=dialect, orderable=MAPPED))) <= 1


# ---- Oracle Health


@pytest.mark.parametrize("case", TOLD)
def test_millennium_gets_plain_cards_that_say_what_to_order(said: Any, case: str) -> None:
    rich, plain = said(case), said(case, dialect="cerner-1.0")
    assert len(rich) == len(plain)
    for full, card in zip(rich, plain, strict=True):
        assert set(card) == {"summary", "detail", "indicator", "source"}
        assert set(card["source"]) == {"label"}
        for action in actions([full]):
            assert f"- {action['description']}" in card["detail"]


def test_millennium_shows_registered_links_only() -> None:
    site = Site(country="US", links=("https://knowledge.example.org/",))
    urls = ["https://knowledge.example.org/ppd", "https://knowledge.example.org.evil/ppd", "https://example.org/"]
    links = tuple(Link("More", url) for url in urls)
    card = Card(uuid="x", summary="x", indicator="info", source=Source("x"), links=links)
    assert [link.url for link in DIALECTS["cerner-1.0"].spoken(card, site).links] == urls[:1]
    assert DIALECTS["standard"].spoken(card, site).links == links
    assert DIALECTS["cerner-1.0"].spoken(card, Site(country="US")).links == ()


# ---- Which dialect


EPIC = {"extension": {"com.epic.cdshooks.request.cds-hooks-specification-version": "1.1"}}
MILLENNIUM = {"fhirServer": "https://fhir-ehr.cerner.com/r4/tenant"}


@pytest.mark.parametrize(
    ("more", "site", "joins", "identifies"),
    [
        ({}, {}, True, True),
        (EPIC, {}, False, True),
        (MILLENNIUM, {}, False, False),
        (EPIC, {"dialect": "standard"}, True, True),
        ({}, {"dialect": "epic"}, False, True),
        (EPIC, {"dialect": "cerner-1.0"}, False, False),
    ],
)
def test_the_site_file_decides_and_else_the_request(  # noqa: PLR0917  (fixtures, and a row of the table)
    now: datetime,
    knowledge: Knowledge,
    wording: Wording,
    more: Json,
    site: Json,
    joins: bool,
    identifies: bool,
) -> None:
    case = BY_ID["V01"]
    advisor = Advisor(knowledge, wording, Site.from_table({**site_of(case), **site}), lambda: now)
    body = {**request_for(case, now, advisor.discovery()), **more}
    cards = create_app(advisor).test_client().post("/cds-services/ppd-delivery-order", json=body).get_json()["cards"]
    assert any(len(s["actions"]) > 1 for c in cards for s in c.get("suggestions", ())) is joins
    assert all(("uuid" in card) is identifies for card in cards)


# ---- The Sandbox


def test_the_sandbox_finds_the_medicine_first_with_a_text_and_a_code(said: Any) -> None:
    """It takes over the first create or update that has both, and stops there (its code, 2026-03)."""
    for action in medicines(said("V01", dialect="sandbox")):
        concept = action["resource"]["medicationCodeableConcept"]
        assert concept["text"]
        assert concept["coding"][0]["code"]
    for suggestion in said("V01", dialect="sandbox")[0]["suggestions"]:
        kinds = [action["resource"]["resourceType"] for action in suggestion["actions"]]
        assert "MedicationRequest" not in kinds[1:]
