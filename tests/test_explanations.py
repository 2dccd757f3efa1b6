"""The thought behind a card: to be read for a day by whoever has the link, and by nobody who has only the database."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ehr import request_for
from encoding import Case, Json, read_cases, site_of
from flask.testing import FlaskClient
from heard import all_of, events
from sqlalchemy import create_engine, text

from cds_service.advisor import Advisor
from cds_service.errors import ExplanationGone, SiteUnfit
from cds_service.events import Event
from cds_service.explanations import Explanations, fresh_key
from cds_service.hooks.request import service_for
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site, Terms
from cds_service.web.app import create_app

BASE = "https://cds.example.org"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CASE = next(case for case in read_cases() if case.id == "V01")
TOLD = [("What was found", ["- CANARY-FACT: 12", "    under it"]), ("Dose", ["14 mg"])]


def moved(explanations: Explanations, url: str, now: datetime = NOW) -> Any:
    """Reads what a link leads to."""
    parts = urlsplit(url)
    asked = dict(pair.split("=") for pair in parts.query.split("&"))
    return explanations.read(parts.path.rpartition("/")[2], asked["expires"], asked["signature"], now)


# ---- The store


@pytest.fixture
def kept() -> tuple[Explanations, str]:
    explanations = Explanations.in_memory(BASE)
    place = explanations.place("call", NOW)
    explanations.keep(place, "A heading", TOLD, NOW)
    return explanations, place.url


def test_what_was_kept_can_be_read_through_its_link(kept: tuple[Explanations, str]) -> None:
    found = moved(*kept)
    assert (found.heading, [title for title, _ in found.sections], found.told_at) == (
        "A heading",
        ["What was found", "Dose"],
        NOW,
    )
    assert found.sections[0][1] == ["- CANARY-FACT: 12", "    under it"]


@pytest.mark.parametrize(
    ("after", "there"),
    [(timedelta(0), True), (timedelta(hours=24), True), (timedelta(hours=24, seconds=1), False)],
)
def test_it_lasts_for_a_day(kept: tuple[Explanations, str], after: timedelta, there: bool) -> None:
    if there:
        assert moved(*kept, NOW + after)
    else:
        with pytest.raises(ExplanationGone):
            moved(*kept, NOW + after)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (r"tions/\w", "tions/x"),
        (r"expires=\d", "expires=9"),
        (r"expires=\d+", "expires=99999999999999999999"),
        (r"expires=\d+", "expires=-1"),
        (r"expires=\d+", "expires=soon"),
        (r"signature=.", "signature=x"),
        (r"signature=.*", "signature="),
    ],
)
def test_no_other_link_leads_there(kept: tuple[Explanations, str], part: str, other: str) -> None:
    explanations, url = kept
    with pytest.raises(ExplanationGone):
        moved(explanations, re.sub(part, other, url, count=1))


def test_a_day_later_nothing_of_it_is_left_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "e.sqlite3"
    explanations = Explanations.at(str(path), fresh_key(), BASE)
    explanations.keep(explanations.place("call", NOW), "A heading", TOLD, NOW)
    later = NOW + timedelta(hours=25)
    explanations.keep(explanations.place("another", later), "A heading", TOLD, later)
    with create_engine(f"sqlite:///{path}").connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM explanation_1")).scalar() == 1


def test_the_database_alone_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "e.sqlite3"
    explanations = Explanations.at(str(path), fresh_key(), BASE)
    place = explanations.place("CANARY-CALL", NOW)
    explanations.keep(place, "CANARY-HEADING", TOLD, NOW)
    assert moved(explanations, place.url).heading == "CANARY-HEADING"
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"CANARY" not in held
    stranger = Explanations.at(str(path), fresh_key(), BASE)
    forged = stranger.place("CANARY-CALL", NOW)
    assert forged.id != place.id
    with pytest.raises(ExplanationGone):
        moved(stranger, forged.url)


def test_the_same_call_has_the_same_place_and_the_later_explanation() -> None:
    explanations = Explanations.in_memory(BASE)
    first, again, other = (explanations.place(about, NOW) for about in ("call", "call", "another"))
    assert (first == again, first.id == other.id) == (True, False)
    explanations.keep(first, "first", TOLD, NOW)
    explanations.keep(again, "second", TOLD, NOW)
    assert moved(explanations, first.url).heading == "second"


@pytest.mark.parametrize("key", ["", "short", "x" * 44, "é" * 32, "c2hvcnQ" * 5 + "c2hv"])
def test_a_key_that_is_none_is_refused_at_start(tmp_path: Path, key: str) -> None:
    with pytest.raises(SiteUnfit, match="CDS_EXPLANATION_KEY: not 32 bytes"):
        Explanations.at(str(tmp_path / "e.sqlite3"), key, BASE)


@pytest.mark.parametrize("place", ["/nowhere/at/all/e.sqlite3", "mysql://clerk:s3cret@db/cds", "://"])
def test_a_database_that_cannot_be_had_is_refused_at_start(place: str) -> None:
    with pytest.raises(SiteUnfit, match="CDS_EXPLANATIONS: ") as caught:
        Explanations.at(place, fresh_key(), BASE)
    assert "s3cret" not in str(caught.value)


# ---- On a card


class Service:
    """A service that keeps explanations, and what it answers."""

    def __init__(self, case: Case, knowledge: Knowledge, wording: Wording, now: datetime, **site: Any) -> None:
        self.now = now
        self.explanations = Explanations.in_memory(BASE)
        self.advisor = Advisor(
            knowledge, wording, Site.from_table({**site_of(case), **site}), lambda: self.now, None, self.explanations
        )
        self.door: FlaskClient = create_app(self.advisor).test_client()
        self.body = request_for(case, now, self.advisor.discovery())
        self.path = f"/cds-services/{service_for(case['hook']).id}"

    def cards(self) -> list[Json]:
        return self.door.post(self.path, json=self.body).get_json()["cards"]


@pytest.fixture
def service(knowledge: Knowledge, wording: Wording, now: datetime) -> Service:
    return Service(CASE, knowledge, wording, now)


@pytest.mark.conforms("L-1")
def test_each_card_links_to_the_thought_behind_it(service: Service) -> None:
    cards = service.cards()
    links = [card["links"] for card in cards]
    assert links[0] == links[-1]
    ((link,),) = [links[0]]
    assert (link["label"], link["type"]) == ("How the service thought", "absolute")
    assert link["url"].startswith(f"{BASE}/consultations/")
    page = service.door.get(link["url"].removeprefix(BASE))
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-store")
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    shown = page.get_data(as_text=True)
    for words in (
        "What was found",
        "0.2 mg/kg × 72.4 kg",
        "Looked at and not met: C01, C02",
        "Knowledge 1.3",
        "KETOPTION",
    ):
        assert words in shown
    assert service.cards() == cards  # the same call, asked again


def test_what_the_page_needs_lies_beside_it_where_a_proxy_lets_it_in(service: Service) -> None:
    page = service.door.get(service.cards()[0]["links"][0]["url"].removeprefix(BASE)).get_data(as_text=True)
    needed = re.findall(r'(?:href|src)="(/[^"]+)"', page)
    assert [place.partition("?")[0] for place in needed if not place.startswith("/consultations/static/")] == []
    assert any(place.endswith(".css") for place in needed)
    for place in needed:
        with service.door.get(place) as answer:
            assert answer.status_code == 200


def test_two_tenants_whose_ids_are_alike_share_no_page(knowledge: Knowledge, wording: Wording, now: datetime) -> None:
    """Both EHRs number their women and their users from one, and the same hookInstance may come from both."""
    explanations, site = Explanations.in_memory(BASE), Site.from_table(site_of(CASE))
    links = []
    for tenant, kilograms in (("north", 91.0), ("south", 55.5)):
        terms = Terms(tenant, f"https://{tenant}.example.org")
        advisor = Advisor(knowledge, wording, site, lambda: now, None, explanations, terms=terms)
        body = request_for(CASE, now, advisor.discovery())
        weights = [entry for entry in entries(body) if entry.get("valueQuantity", {}).get("code") == "kg"]
        assert weights
        for weight in weights:
            weight["valueQuantity"]["value"] = kilograms
        answer = advisor.answer(service_for(CASE["hook"]).id, json.dumps(body, default=str).encode())
        links.append(answer.body["cards"][0]["links"][0]["url"])

    told = [str(moved(explanations, link).sections) for link in links]
    assert ["91 kg" in text for text in told] == [True, False]
    assert ["55.5 kg" in text for text in told] == [False, True]


def entries(node: Any) -> Iterator[Json]:
    """Every object in a request."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from entries(child)


def test_nobody_reads_without_the_link_and_nobody_a_day_later(service: Service) -> None:
    url = service.cards()[0]["links"][0]["url"].removeprefix(BASE)
    for wrong in (url.partition("?")[0], url[:-1], "/consultations/x", url.replace("expires=", "expires=9")):
        answer = service.door.get(wrong)
        assert (answer.status_code, answer.content_type) == (404, "application/fhir+json")
    service.now += timedelta(hours=25)
    assert service.door.get(url).status_code == 404


def test_without_its_store_the_cards_go_out_without_a_link(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with service.explanations._database.transaction() as connection:
        connection.execute(text("DROP TABLE explanation_1"))
    cards = service.cards()
    assert [card["source"]["topic"]["code"] for card in cards] == ["KETOPTION", "PPDRISK"]
    assert not [card for card in cards if "links" in card]
    assert events(caplog, Event.EXPLANATION_NOT_KEPT)


def test_a_call_without_a_card_keeps_nothing(knowledge: Knowledge, wording: Wording, now: datetime) -> None:
    silent = next(case for case in read_cases() if case.id == "S05")
    service = Service(silent, knowledge, wording, now)
    assert service.cards() == []
    with service.explanations._database.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM explanation_1")).scalar() == 0


def test_by_default_there_is_no_link_and_no_page(client: FlaskClient, now: datetime, advisor: Advisor) -> None:
    body = request_for(CASE, now, advisor.discovery())
    cards = client.post("/cds-services/ppd-delivery-order", json=body).get_json()["cards"]
    assert cards
    assert not [card for card in cards if "links" in card]
    assert client.get("/consultations/x").status_code == 404


@pytest.mark.parametrize(("links", "shown"), [([], False), ([f"{BASE}/"], True)])
def test_millennium_gets_the_link_only_where_it_is_registered(
    knowledge: Knowledge, wording: Wording, now: datetime, links: list[str], shown: bool
) -> None:
    service = Service(CASE, knowledge, wording, now, dialect="cerner-1.0", links=links)
    assert ["links" in card for card in service.cards()] == [shown] * 2


def test_no_log_holds_a_word_of_it(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = service.cards()[0]["links"][0]["url"].removeprefix(BASE)
    service.door.get(url)
    service.door.get(url[:-1])
    assert not re.search(r"72\.4|signature|woman-v01", all_of(caplog))
