"""The cards: their words, what can be chosen on them, and the orders behind that."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from calls import AFTER, BEFORE, CASES, WOMEN, actions, call, cards_of, drafts, request_of, suggestions, topics
from conftest import NOON, Door
from encoding import Case
from flask.testing import FlaskClient
from response_check import check_answer, hollow, wrong_in

from cds_service.advisor import Advisor
from cds_service.hooks.response import Card, Link, Source
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

Json = dict[str, Any]

UUID = "16be4ae4-1774-5448-9c40-98c5b72da742"
MAY_BE_CRITICAL = {"PPDSAFETY", "KETCONTRA", "KETORDER"}


@pytest.fixture(scope="module")
def told(front_door: Door) -> list[tuple[Json, list[Json]]]:
    """The request of each kind of woman, and her cards."""
    found = []
    for case in WOMEN:
        door = front_door(case)
        request = request_of(case, door)
        found.append((request, cards_of(call(door, request))))
    return found


@pytest.fixture(scope="module")
def cards(told: list[tuple[Json, list[Json]]]) -> list[Json]:
    found = [card for _, some in told for card in some]
    assert len(found) > 20
    return found


# ---- Words


@pytest.mark.conforms("C-1")
def test_a_summary_has_fewer_than_140_characters_and_one_line(cards: list[Json]) -> None:
    assert [card["summary"] for card in cards if not 0 < len(card["summary"]) < 140 or "\n" in card["summary"]] == []


@pytest.mark.conforms("C-1")
def test_a_summary_of_139_characters_goes_out_and_of_140_does_not() -> None:
    card = Card(uuid=UUID, summary="x" * 139, indicator="info", source=Source("Ward 4"))

    check_answer({"cards": [card.as_json()]})
    with pytest.raises(ValueError, match="1 to 139 characters"):
        Card(uuid=UUID, summary="x" * 140, indicator="info", source=Source("Ward 4"))


@pytest.mark.conforms("C-2")
def test_an_indicator_is_one_of_three_and_critical_is_rare(cards: list[Json]) -> None:
    assert {card["indicator"] for card in cards} == {"info", "warning", "critical"}
    assert set(topics(card for card in cards if card["indicator"] == "critical")) <= MAY_BE_CRITICAL


@pytest.mark.conforms("C-3")
def test_a_source_has_a_label_however_long_the_name_of_the_site(knowledge: Knowledge, wording: Wording) -> None:
    site = Site.from_table({"name": "x" * 120, "country": "CN"})
    door = create_app(Advisor(knowledge, wording, site, lambda: NOON)).test_client()

    (card,) = cards_of(call(door, request_of(BEFORE, door)))

    assert card["source"]["label"].startswith("x" * 120)
    assert all(card["source"][name].startswith("https://") for name in ("url", "icon") if name in card["source"])


@pytest.mark.conforms("C-4")
def test_a_topic_is_a_coding_that_never_changes(told: list[tuple[Json, list[Json]]], client: FlaskClient) -> None:
    by_code: dict[str, set[str]] = {}
    for _, some in told:
        for card in some:
            topic = card["source"]["topic"]
            assert re.fullmatch(r"[A-Z]{3,20}", topic["code"])
            assert topic["system"].startswith(("urn:", "https://"))
            by_code.setdefault(topic["code"], set()).add(json.dumps(topic, sort_keys=True))
    assert {code: len(found) for code, found in by_code.items()} == dict.fromkeys(by_code, 1)

    request = request_of(BEFORE, client)
    again = request | {"hookInstance": "another call"}
    assert topics(cards_of(call(client, request))) == topics(cards_of(call(client, again)))


EVIL = '</td><script>alert("Zebrafinch")</script> [Zebrafinch](javascript:alert(1)) **Zebrafinch** | x'


def poisoned(value: Any) -> Any:
    """The same JSON with this text wherever words may stand."""
    match value:
        case dict():
            return {
                name: EVIL if name in ("text", "display") and isinstance(inner, str) else poisoned(inner)
                for name, inner in value.items()
            }
        case list():
            return [poisoned(inner) for inner in value]
        case _:
            return value


@pytest.mark.conforms("C-5")
@pytest.mark.parametrize("case", [AFTER, CASES["V21"], CASES["V08"]], ids=str)
def test_no_text_of_a_chart_gets_into_a_card(case: Case, front_door: Door) -> None:
    door = front_door(case)
    request = request_of(case, door)
    request["prefetch"] = poisoned(request["prefetch"])
    request["prefetch"]["patient"]["name"] = [{"text": EVIL, "family": EVIL}]
    request["context"]["draftOrders"] = poisoned(request["context"]["draftOrders"])
    assert request != request_of(case, door)

    answer = call(door, request)

    assert "Zebrafinch" not in answer.get_data(as_text=True)
    assert cards_of(answer)


@pytest.mark.conforms("C-5")
def test_a_detail_is_markdown_and_no_html(cards: list[Json]) -> None:
    for card in cards:
        check_answer({"cards": [card]})
        assert not re.search(r"<(/?[a-z]+|!--)[^<]*>", card["detail"], re.IGNORECASE)
    assert any("| --- |" in card["detail"].replace("|---|", "| --- |") for card in cards), "no table at all"


@pytest.mark.conforms("C-6")
def test_the_same_call_gets_the_same_uuids_and_another_gets_others(client: FlaskClient) -> None:
    def names(request: Json) -> list[str]:
        cards = cards_of(call(client, request))
        return [one["uuid"] for one in [*cards, *suggestions(cards)]]

    request = request_of(AFTER, client)
    first, again, other = names(request), names(request), names(request | {"hookInstance": "another call"})

    assert first == again
    assert len(first) == len(other) == len({*first, *other}) / 2
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name) for name in first)


@pytest.mark.conforms("C-7")
def test_how_many_may_be_chosen_is_said_where_there_is_a_choice(cards: list[Json]) -> None:
    assert any("suggestions" in card for card in cards)
    for card in cards:
        assert ("suggestions" in card) == ("selectionBehavior" in card)
        assert card.get("selectionBehavior", "any") in ("any", "at-most-one")


@pytest.mark.conforms("C-8")
def test_a_reason_to_act_otherwise_has_code_system_and_display(cards: list[Json]) -> None:
    assert any("overrideReasons" in card for card in cards)
    for card in cards:
        for reason in card.get("overrideReasons", []):
            assert all(isinstance(reason[name], str) and reason[name] for name in ("code", "system", "display"))


# ---- Suggestions


@pytest.mark.conforms("G-1")
def test_a_suggestion_has_a_label_and_no_drug_is_ticked_beforehand(cards: list[Json]) -> None:
    offered = suggestions(cards)
    assert offered
    for suggestion in offered:
        assert suggestion["label"]
        assert isinstance(suggestion.get("isRecommended", False), bool)
        medicines = [
            a for a in suggestion["actions"] if a.get("resource", {}).get("resourceType") == "MedicationRequest"
        ]
        assert not (medicines and suggestion.get("isRecommended", False))
    for card in cards:
        ticked = [one for one in card.get("suggestions", []) if one.get("isRecommended", False)]
        assert len(ticked) <= 1 or card["selectionBehavior"] == "any"


@pytest.mark.conforms("G-2")
def test_what_one_suggestion_does_belongs_together(told: list[tuple[Json, list[Json]]]) -> None:
    joined = 0
    for request, some in told:
        for suggestion in suggestions(some):
            created = [action["resource"] for action in suggestion["actions"] if action["type"] == "create"]
            joined += len(suggestion["actions"]) > 1
            assert {one["subject"]["reference"] for one in created} <= {f"Patient/{request['context']['patientId']}"}
            assert len({(one["resourceType"], one["id"]) for one in created}) == len(created)
    assert joined, "no suggestion does several things"


@pytest.mark.conforms("G-2")
def test_the_medicine_and_what_watches_over_it_come_as_one(client: FlaskClient) -> None:
    """The public Sandbox takes over the first medicine of a suggestion, so it stands first."""
    (drafting,) = [
        [action["resource"]["resourceType"] for action in suggestion["actions"]]
        for suggestion in suggestions(cards_of(call(client, request_of(AFTER, client))))
        if any(action["resource"]["resourceType"] == "MedicationRequest" for action in suggestion["actions"])
    ]

    assert drafting[0] == "MedicationRequest"
    assert drafting[1:] == ["ServiceRequest"] * 3


@pytest.mark.conforms("G-3", "S-4")
def test_nothing_goes_out_that_few_clients_know(cards: list[Json]) -> None:
    for name in ("actionSelectionBehavior", "systemActions", "autoLaunchable"):
        assert f'"{name}"' not in json.dumps(cards)


# ---- Actions


@pytest.mark.conforms("A-1", "J-3")
def test_an_action_says_what_it_is_and_what_it_does(cards: list[Json]) -> None:
    done = actions(cards)
    assert {action["type"] for action in done} == {"create", "update", "delete"}
    assert all(len(action["description"].split()) > 2 for action in done)


@pytest.mark.conforms("A-2")
def test_what_is_created_is_a_whole_new_draft(cards: list[Json]) -> None:
    created = [action["resource"] for action in actions(cards) if action["type"] == "create"]
    assert {one["resourceType"] for one in created} == {"MedicationRequest", "ServiceRequest"}
    for one in created:
        assert wrong_in(one, ours=True) is None
        assert (one["status"], one["intent"]) == ("draft", "order")


@pytest.mark.conforms("A-2", "A-4")
def test_what_is_updated_is_the_whole_draft_under_its_id(told: list[tuple[Json, list[Json]]]) -> None:
    updates = [
        (action["resource"], {one["id"]: one for one in drafts(request)}[action["resource"]["id"]])
        for request, some in told
        for action in actions(some)
        if action["type"] == "update"
    ]
    assert updates
    for changed, draft in updates:
        assert changed != draft
        assert {**draft, "dosageInstruction": 0, "dispenseRequest": 0} == {
            **changed,
            "dosageInstruction": 0,
            "dispenseRequest": 0,
        }


@pytest.mark.conforms("A-3", "A-4")
def test_what_is_deleted_is_a_draft_of_the_call_by_its_reference(told: list[tuple[Json, list[Json]]]) -> None:
    deleted = [
        (action, [f"{one['resourceType']}/{one['id']}" for one in drafts(request)])
        for request, some in told
        for action in actions(some)
        if action["type"] == "delete"
    ]
    assert deleted
    for action, references in deleted:
        assert action.keys() == {"type", "description", "resourceId"}
        assert action["resourceId"] in references


def changing(case: Case, kind: str, front_door: Door, status: str | None) -> list[Json]:
    """The actions of one kind, when the orders of the call have this status."""
    door = front_door(case)
    request = request_of(case, door) | {"hook": "order-sign"}
    for order in drafts(request):
        del order["status"]
        if status is not None:
            order["status"] = status
    return [one for one in actions(cards_of(call(door, request))) if one["type"] == kind]


@pytest.mark.conforms("A-4")
@pytest.mark.parametrize("kind", ["update", "delete"])
def test_a_signed_order_is_left_alone(kind: str, told: list[tuple[Json, list[Json]]], front_door: Door) -> None:
    """Since 1.1.0 order-sign also fires when orders are signed again."""
    cases = {f"woman-{case.slug}": case for case in WOMEN}
    women = [
        cases[request["context"]["patientId"]]
        for request, some in told
        if any(action["type"] == kind for action in actions(some))
    ]
    assert women
    for case in women:
        assert changing(case, kind, front_door, "draft")
        assert changing(case, kind, front_door, None)
        for status in ("active", "completed", "on-hold", "stopped"):
            assert changing(case, kind, front_door, status) == []


# ---- Links


@pytest.mark.conforms("L-1")
def test_every_link_is_absolute_and_says_what_it_is(cards: list[Json]) -> None:
    for card in cards:
        for link in card.get("links", []):
            assert link["label"]
            assert link["url"].startswith("https://")
            assert link["type"] in ("absolute", "smart")
        for url in re.findall(r"\]\(([^)]*)", card["detail"]):
            assert url.startswith("https://")
    assert any("](https://" in card["detail"] for card in cards)


@pytest.mark.conforms("L-1", "L-2", "L-3")
def test_a_link_is_written_as_clients_read_it() -> None:
    absolute = Link("Guideline", "https://example.org/a").as_json()
    smart = Link("App", "https://example.org/launch", "smart", '{"a": 1}', autolaunchable=True).as_json()
    card = Card(uuid=UUID, summary="A summary", indicator="info", source=Source("Ward 4")).as_json()

    assert absolute == {"label": "Guideline", "url": "https://example.org/a", "type": "absolute"}
    assert smart == {
        "label": "App",
        "url": "https://example.org/launch",
        "type": "smart",
        "appContext": '{"a": 1}',
        "autolaunchable": True,
    }
    check_answer({"cards": [{**card, "links": [absolute, smart]}]})


@pytest.mark.conforms("J-1")
def test_what_is_left_out_of_a_card_is_not_there_at_all() -> None:
    card = Card(uuid=UUID, summary="A summary", indicator="info", source=Source("Ward 4"), detail="").as_json()

    assert card.keys() == {"uuid", "summary", "indicator", "source"}
    assert hollow(card) is None
