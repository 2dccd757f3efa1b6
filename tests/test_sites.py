"""What a site file changes: the EHR's own codes and words, its people, its dialect, and what is not shown twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ehr import request_for
from encoding import Case, Json, read_cases, site_of

from cds_service.advisor import Advisor
from cds_service.clinical.approval import defects
from cds_service.clinical.facts import State
from cds_service.ehr.gathering import gather
from cds_service.errors import SiteUnfit
from cds_service.hooks.request import parse_request, service_for
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.repeats import Repeats
from cds_service.settings import LocalMeaning, Orderable, Role, Site, SiteEhr, SiteFeedback, SiteProtocol, SiteReview
from cds_service.starting import Library, advisor_at
from cds_service.web.app import create_app

BY_ID = {case.id: case for case in read_cases()}
ELIGIBLE = BY_ID["V01"]
EXAMPLE = Path(__file__).parents[1] / "docs" / "site.example.toml"
LOCAL = "urn:oid:1.2.840.114350.1.13.1.1.7.2.696580"
At = Callable[..., Advisor]


@pytest.fixture
def at(knowledge: Knowledge, wording: Wording, now: datetime) -> At:
    """An advisor of a case's site with more in its file, at a time."""

    def advisor(case: Case = ELIGIBLE, after: timedelta = timedelta(0), **more: Any) -> Advisor:
        site = Site.from_table({**site_of(case), **more})
        assert not list(defects(site, knowledge.spoken_at(site)))
        return Advisor(knowledge, wording, site, lambda: now + after)

    return advisor


def call(advisor: Advisor, body: Json) -> list[Json]:
    """The cards, over HTTP."""
    answer = create_app(advisor).test_client().post(f"/cds-services/{service_for(body['hook']).id}", json=body)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()["cards"]


def topics(cards: list[Json]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in cards]


def body_of(case: Case, advisor: Advisor, now: datetime) -> Json:
    return json.loads(json.dumps(request_for(case, now, advisor.discovery())))


def with_delivery(body: Json, code: Json) -> Json:
    """The same call, its delivery order named otherwise."""
    body = deepcopy(body)
    (entry,) = body["context"]["draftOrders"]["entry"]
    entry["resource"]["code"] = code
    return body


# ---- Local codes and words


@pytest.mark.parametrize(
    ("code", "speaks"),
    [
        ({"coding": [{"system": LOCAL, "code": "4711"}]}, True),
        ({"coding": [{"system": LOCAL, "code": "4711", "display": "Admit"}], "text": "Admit"}, True),
        ({"coding": [{"system": LOCAL, "code": "4712"}]}, False),
        ({"coding": [{"system": "urn:oid:1.2.3", "code": "4711"}]}, False),
        ({"coding": [{"code": "4711"}]}, False),
        ({"text": "Kreißsaal-Aufnahme, Station 4"}, True),
        ({"text": "KREISSSAAL-AUFNAHME"}, False),
        ({"text": "Station 4"}, False),
    ],
)
def test_a_local_code_or_word_makes_an_order_a_delivery(at: At, now: datetime, code: Json, speaks: bool) -> None:
    advisor = at(
        local=[
            {"means": ["delivery"], "system": LOCAL, "codes": ["4711"]},
            {"means": ["delivery"], "words": ["Kreißsaal-Aufnahme"]},
        ]
    )
    cards = call(advisor, with_delivery(body_of(ELIGIBLE, advisor, now), code))
    assert ("KETOPTION" in topics(cards)) is speaks
    assert bool(cards) is speaks


def test_without_the_site_map_the_same_order_means_nothing(at: At, now: datetime) -> None:
    advisor = at()
    body = with_delivery(body_of(ELIGIBLE, advisor, now), {"coding": [{"system": LOCAL, "code": "4711"}]})
    assert call(advisor, body) == []


def test_a_sites_own_prevention_order_needs_no_reason(at: At, now: datetime) -> None:
    case = BY_ID["V01"]
    advisor = at(
        local=[{"means": ["esketamine", "reason_postpartum_depression"], "system": LOCAL, "codes": ["ESK-PPD"]}]
    )
    body = body_of(case, advisor, now)
    draft = {
        "resourceType": "MedicationRequest",
        "id": "d1",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{body['context']['patientId']}"},
        "medicationCodeableConcept": {"coding": [{"system": LOCAL, "code": "ESK-PPD"}]},
    }
    body["context"]["draftOrders"]["entry"] = [{"resource": draft}]
    body["context"]["selections"] = ["MedicationRequest/d1"]
    assert "KETORDER" in topics(call(advisor, body))
    draft["medicationCodeableConcept"] = {"coding": [{"system": LOCAL, "code": "ESK-ANAESTHESIA"}]}
    assert call(advisor, body) == []


def test_a_screen_under_a_local_code_is_asked_for_and_read(at: At, now: datetime) -> None:
    """Some EHRs hold the EPDS total under a code of their own only."""
    advisor = at(local=[{"means": ["epds_total"], "system": LOCAL, "codes": ["EPDS"]}])
    prefetch = advisor.discovery()["services"][0]["prefetch"]
    assert f"{LOCAL}|EPDS" in prefetch["screens"]
    body = body_of(ELIGIBLE.shaped(epds="total"), advisor, now)
    for entry in body["prefetch"]["screens"]["entry"]:
        if "99046-5" in json.dumps(entry["resource"].get("code")):
            entry["resource"]["code"] = {"coding": [{"system": LOCAL, "code": "EPDS"}]}
    request = parse_request(read_json(json.dumps(body).encode()))
    thought = advisor.consult(request, gather(request, advisor.sources), now)
    assert thought.facts["epds_current"].state is State.PRESENT
    assert thought.facts["epds_current_score"].value == 12
    elsewhere = at().consult(request, gather(request, at().sources), now)
    assert elsewhere.facts["epds_current"].state is State.UNKNOWN


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"local": [{"means": ["delivry"], "words": ["birth"]}]}, "local.0.means: no such concept: delivry"),
        ({"orderable": [{"order": "x", "system": "urn:x", "code": "1"}]}, "orderable.0.order: no such order: x"),
        (
            {"orderable": [{"order": "counselling", "system": "urn:x", "code": "1", "defaults": "esketamine-iv"}]},
            "orderable.0.defaults: only the medicine has a protocol",
        ),
        (
            {"orderable": [{"order": "medicine", "system": "urn:x", "code": "1", "defaults": "racemic-ketamine-iv"}]},
            "orderable.0.defaults: racemic-ketamine-iv is not the protocol of this site",
        ),
        (
            {"role": [{"system": "urn:x", "codes": ["1"], "topics": ["PPDRISKS"]}]},
            "role.0.topics: no such topic: PPDRISKS",
        ),
    ],
)
def test_a_map_to_nowhere_is_refused_at_start(knowledge: Knowledge, more: Json, says: str) -> None:
    assert list(defects(Site.from_table({**site_of(ELIGIBLE), **more}), knowledge)) == [f"site: {says}"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"local": [{"means": ["delivery"]}]}, "neither codes nor words"),
        ({"local": [{"means": ["delivery"], "codes": ["1"]}]}, "codes without their system"),
        ({"local": [{"means": ["delivery"], "system": "epic", "codes": ["1"]}]}, "local.0.system"),
        ({"local": [{"means": ["delivery"], "system": LOCAL, "codes": ["1|2"]}]}, "local.0.codes.0"),
        ({"local": [{"means": ["delivery"], "words": ["ab"]}]}, "local.0.words.0"),
        ({"dialect": "allscripts"}, "dialect"),
        ({"links": ["http://knowledge.example.org/"]}, "links.0"),
        ({"links": ["https://knowledge.example.org"]}, "links.0"),
        ({"role": [{"system": "urn:x", "codes": [], "topics": []}]}, "role.0.codes"),
        ({"orderables": []}, "orderables"),
    ],
)
def test_a_map_that_says_nothing_is_refused_at_start(more: Json, says: str) -> None:
    with pytest.raises(SiteUnfit, match=says):
        Site.from_table({**site_of(ELIGIBLE), **more})


def test_the_example_site_file_shows_every_key_and_is_fit(knowledge: Knowledge) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    site = Site.from_file(EXAMPLE)
    assert not list(defects(site, knowledge))
    models = (Site, SiteProtocol, SiteReview, SiteEhr, SiteFeedback, LocalMeaning, Orderable, Role)
    keys = {name for model in models for name in model.model_fields}
    assert not {key for key in keys if not re.search(rf"(?m)^(?:# )?(?:{key} =|\[+{key}\]+)", text)}


# ---- Epic's admission and discharge


@pytest.mark.parametrize("trigger", ["26", 26])
def test_epics_admission_is_an_encounter_start(at: At, now: datetime, trigger: Any) -> None:
    advisor = at()
    body = body_of(replace(ELIGIBLE, given={**ELIGIBLE.given, "hook": "patient-view"}), advisor, now)
    body["extension"] = {"com.epic.cdshooks.request.bpa-trigger-action": trigger}
    cards = call(advisor, body)
    assert topics(cards) == ["PPDRISK"]
    assert cards[0]["detail"].startswith("**Why now.** This stay began.")


@pytest.mark.parametrize("trigger", ["27", 27])
def test_epics_discharge_is_an_encounter_discharge(at: At, now: datetime, trigger: Any) -> None:
    case = BY_ID["N09"]
    advisor = at(case)
    body = body_of(replace(case, given={**case.given, "hook": "patient-view"}), advisor, now)
    assert topics(call(advisor, body)) != ["PPDSCREEN", "PPDFOLLOWUP"]
    body["extension"] = {"com.epic.cdshooks.request.bpa-trigger-action": trigger}
    assert topics(call(advisor, body)) == ["PPDSCREEN", "PPDFOLLOWUP"]


# ---- Roles

STAFF = "urn:oid:1.2.3.4"
ROLES = [
    {"system": STAFF, "codes": ["MIDWIFE"], "topics": ["PPDSCREEN", "PPDRISK", "PPDFOLLOWUP"]},
    {"system": STAFF, "codes": ["ANAESTHETIST"], "topics": ["KETOPTION", "KETCONTRA", "KETREVIEW"]},
    {"system": STAFF, "codes": ["PHARMACIST"], "topics": []},
]
MIDWIFE, ANAESTHETIST, PHARMACIST, OTHER = "MIDWIFE", "ANAESTHETIST", "PHARMACIST", "OTHER"


def in_role(body: Json, *codes: str, user: str = "PractitionerRole/r1", **more: Any) -> Json:
    """The same call by a user whose roles the EHR sends along."""
    body = deepcopy(body)
    body["context"]["userId"] = user
    roles = [
        {
            "resourceType": "PractitionerRole",
            "id": f"r{number}",
            "practitioner": {"reference": "Practitioner/p1"},
            "code": [{"coding": [{"system": STAFF, "code": code}]}],
            **more,
        }
        for number, code in enumerate(codes, start=1)
    ]
    if user.startswith("PractitionerRole/"):
        body["prefetch"]["user_role"] = roles[0]
    else:
        entries = [{"resource": role, "search": {"mode": "match"}} for role in roles]
        body["prefetch"]["user_roles"] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    return body


@pytest.mark.parametrize(
    ("codes", "shown"),
    [
        ((MIDWIFE,), ["PPDRISK"]),
        ((ANAESTHETIST,), ["KETOPTION"]),
        ((PHARMACIST,), []),
        ((OTHER,), ["KETOPTION", "PPDRISK"]),
    ],
)
def test_four_roles_are_shown_four_sets_of_cards(
    at: At, now: datetime, codes: tuple[str, ...], shown: list[str]
) -> None:
    advisor = at(role=ROLES)
    body = body_of(ELIGIBLE, at(), now)
    assert topics(call(advisor, in_role(body, *codes))) == shown
    assert topics(call(advisor, in_role(body, *codes, user="Practitioner/p1"))) == shown


@pytest.mark.parametrize("odd", [["x"], {"x": 1}, 5, True, None], ids=repr)
@pytest.mark.parametrize("element", ["system", "code"])
def test_a_role_that_is_written_oddly_hides_nothing_and_costs_nothing(
    at: At, now: datetime, element: str, odd: object
) -> None:
    body = in_role(body_of(ELIGIBLE, at(), now), "x")
    role = body["prefetch"]["user_role"]
    role["code"] = [{"coding": [{"system": "urn:x", "code": "x", element: odd}]}]
    everything = topics(call(at(), body_of(ELIGIBLE, at(), now)))

    assert topics(call(at(role=ROLES), body)) == everything


def test_who_has_two_roles_is_shown_the_cards_of_both(at: At, now: datetime) -> None:
    advisor = at(role=ROLES)
    body = in_role(body_of(ELIGIBLE, at(), now), MIDWIFE, ANAESTHETIST, user="Practitioner/p1")
    assert topics(call(advisor, body)) == ["KETOPTION", "PPDRISK"]


@pytest.mark.parametrize(
    "change",
    [
        {"user": "PractitionerRole/r9"},
        {"user": "Practitioner/p2"},
        {"active": False},
        {"code": "midwife"},
        {"code": [{"coding": [{"system": "urn:x", "code": MIDWIFE}]}]},
    ],
)
def test_a_role_that_is_not_the_users_hides_nothing(at: At, now: datetime, change: Json) -> None:
    advisor = at(role=ROLES)
    body = in_role(body_of(ELIGIBLE, at(), now), MIDWIFE, **change)
    assert topics(call(advisor, body)) == ["KETOPTION", "PPDRISK"]


def test_roles_are_asked_for_only_where_they_matter(at: At) -> None:
    asked = at(role=ROLES).discovery()["services"][0]["prefetch"]
    assert asked["user_role"] == "PractitionerRole/{{userPractitionerRoleId}}"
    assert asked["user_roles"] == "PractitionerRole?practitioner={{userPractitionerId}}"
    assert not {"user_role", "user_roles"} & set(at().discovery()["services"][0]["prefetch"])


def test_no_role_hides_a_safety_concern_or_what_stands_against_a_drafted_medicine(at: At, now: datetime) -> None:
    concern = next(
        c
        for c in BY_ID.values()
        if (c.expect.get("cards") or [""])[:1] == ["PPDSAFETY"] and c["hook"] == "order-select"
    )
    advisor = at(concern, role=ROLES)
    assert "PPDSAFETY" in topics(call(advisor, in_role(body_of(concern, at(concern), now), PHARMACIST)))
    drafted = next(c for c in BY_ID.values() if (c.expect.get("cards") or [""])[0] == "KETCONTRA" and c["draft_order"])
    advisor = at(drafted, role=ROLES)
    assert topics(call(advisor, in_role(body_of(drafted, at(drafted), now), PHARMACIST)))[:1] == ["KETCONTRA"]


# ---- Repeats

ASKED = {"davinci-crd.configuration": {"filter-repeated-cards": True}}


def again(body: Json, hook_instance: str = "00000000-0000-4000-8000-000000000002", **more: Any) -> Json:
    """The next call for the same woman, by a client that asks not to be told twice."""
    return {**deepcopy(body), "hookInstance": hook_instance, "extension": ASKED, **more}


def test_what_was_shown_is_left_out_when_the_client_asks(at: At, now: datetime) -> None:
    advisor = at()
    body = body_of(ELIGIBLE, advisor, now)
    shown = topics(call(advisor, body))
    assert shown == ["KETOPTION", "PPDRISK"]
    assert call(advisor, again(body)) == []
    assert topics(call(advisor, {**again(body), "extension": {}})) == shown


def test_the_same_call_asked_again_gets_the_same_answer(at: At, now: datetime) -> None:
    advisor = at()
    body = again(body_of(ELIGIBLE, advisor, now))
    assert call(advisor, body) == call(advisor, body) != []


def test_a_site_may_filter_for_clients_that_cannot_ask(at: At, now: datetime) -> None:
    advisor = at(filter_repeats=True)
    body = body_of(ELIGIBLE, advisor, now)
    assert topics(call(advisor, body)) == ["KETOPTION", "PPDRISK"]
    assert call(advisor, {**body, "hookInstance": "another"}) == []


def test_another_user_another_stay_or_another_content_is_no_repeat(at: At, now: datetime) -> None:
    advisor = at()
    body = body_of(ELIGIBLE, advisor, now)
    call(advisor, body)
    somebody = again(body)
    somebody["context"]["userId"] = "Practitioner/somebody-else"
    assert topics(call(advisor, somebody)) == ["KETOPTION", "PPDRISK"]
    heavier = again(body, "00000000-0000-4000-8000-000000000003")
    for entry in heavier["prefetch"]["vital_signs"]["entry"]:
        if any(coding["code"] in {"29463-7", "3141-9"} for coding in entry["resource"]["code"]["coding"]):
            entry["resource"]["valueQuantity"]["value"] = 80
    assert topics(call(advisor, heavier)) == ["KETOPTION"]


@pytest.mark.parametrize(("hours", "shown"), [(12, []), (12.001, ["KETOPTION", "PPDRISK"])])
def test_a_shift_later_it_is_said_again(at: At, now: datetime, hours: float, shown: list[str]) -> None:
    """The screen must stay current: this one is taken anew for each call."""
    first = at()
    later = at(after=timedelta(hours=hours))
    later._repeats = first._repeats
    call(first, body_of(ELIGIBLE, first, now))
    seen = topics(call(later, again(body_of(ELIGIBLE, first, now))))
    assert ([t for t in seen if t == "PPDRISK"] == ["PPDRISK"]) is bool(shown)


def test_a_critical_card_and_a_drafted_medicine_are_never_repeats(at: At, now: datetime) -> None:
    for case in (
        next(c for c in BY_ID.values() if "PPDSAFETY" in c.expect.get("cards", ())),
        next(c for c in BY_ID.values() if "KETORDER" in c.expect.get("cards", ())),
        next(c for c in BY_ID.values() if "KETDATA" in c.expect.get("cards", ()) and c["draft_order"]),
    ):
        advisor = at(case, filter_repeats=True)
        body = body_of(case, advisor, now)
        first = topics(call(advisor, body))
        second = topics(call(advisor, {**body, "hookInstance": "another"}))
        assert second
        assert {"PPDSAFETY", "KETORDER", "KETDATA"} & set(first) <= set(second)


def test_what_is_remembered_holds_no_words_of_a_chart_and_is_bounded(at: At, now: datetime) -> None:
    advisor = at()
    advisor._repeats = repeats = Repeats(most=3)
    body = body_of(ELIGIBLE, advisor, now)
    for number in range(4):
        call(advisor, {**deepcopy(body), "context": {**body["context"], "userId": f"Practitioner/p{number}"}})
    assert len(repeats._shown) == 3
    assert all(isinstance(digest, bytes) and len(digest) == 16 for digest in repeats._shown)
    assert {instance for instance, _ in repeats._shown.values()} == {body["hookInstance"]}


# ---- What sites share


def test_sites_share_what_was_read_unless_one_has_a_terminology_of_its_own(now: datetime, tmp_path: Path) -> None:
    library = Library()
    first, second, own = (
        advisor_at(site, lambda: now, library=library)
        for site in (Site(country="CN"), Site(country="DE"), Site(country="CN", terminology=tmp_path))
    )

    assert first.knowledge is second.knowledge
    assert first.wording is second.wording
    assert own.knowledge is not first.knowledge
    assert own.knowledge.hash == first.knowledge.hash
