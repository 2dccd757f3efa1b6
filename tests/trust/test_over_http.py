"""The same callers at the real front door: whoever is not let in hears a bare 401, and nobody hears why."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import NOON
from ehr import request_for
from encoding import Case as Vignette
from encoding import read_cases
from jwks_server import Asked, JwksServer
from tokens import (
    BASE,
    CASES,
    DISCOVERY,
    FEEDBACK,
    SERVICE,
    Case,
    Parties,
    served,
    write_tenants,
)
from werkzeug.test import Client, TestResponse

from cds_service.errors import Refusal, SiteUnfit
from cds_service.events import Event, listen
from cds_service.knowledge import Knowledge
from cds_service.records import Pseudonyms, Records
from cds_service.settings import Settings
from cds_service.web.load import Load
from cds_service.web.metrics import Metrics
from cds_service.web.opening import Shared, Tenancies
from cds_service.web.reloading import Reloading

HEADERS_OF_ALL = {"Content-Length": "0", "WWW-Authenticate": "Bearer"}
VIGNETTES = {case.id: case for case in read_cases()}
SITE = """
name = "Test hospital"
country = "CN"
[protocol]
id = "esketamine-iv"
approval = "SITE-PPD-01"
strength_mg_per_ml = 5
"""


@dataclass
class House:
    """A service for the tenants of a file, and who may ask it."""

    app: Reloading
    parties: Parties
    shared: Shared
    path: Path
    heard: list[tuple[Event, dict[str, Any]]]
    server: JwksServer

    def send(self, authorization: list[str], path: str, body: bytes = b"{}", **headers: str) -> TestResponse:
        """GET discovery, or POST to anything else, with all these Authorization headers."""
        lines = [("Authorization", one) for one in authorization] + [*headers.items()]
        client = Client(self.app)
        if path.rstrip("/") == DISCOVERY:
            return client.get(path, headers=lines)
        return client.post(path, data=body, content_type="application/json", headers=lines)

    def call(self, vignette: Vignette, who: str = "north", **headers: str) -> TestResponse:
        """What an EHR sends for a vignette, with a token of that tenant's."""
        request = request_for(vignette, NOON, self.discovery(who))
        body = json.dumps(request, default=str).encode()
        return self.send(self.parties.bearing(who), SERVICE, body, **headers)

    def discovery(self, who: str = "north") -> Any:
        return self.send(self.parties.bearing(who, path=DISCOVERY), DISCOVERY).get_json()

    def edit(self, old: str, new: str) -> bool:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new, 1))
        return self.app.look()

    def told(self, event: Event) -> list[dict[str, Any]]:
        return [fields for one, fields in self.heard if one is event]


@contextmanager
def house_in(folder: Path, knowledge: Knowledge, clock: Any = lambda: NOON) -> Iterator[House]:
    (folder / "site.toml").write_text(SITE)
    with served() as (parties, server):
        path = write_tenants(folder, server.origin)
        with_site = path.read_text().replace('id = "north"', 'id = "north"\nsite = "site.toml"')
        path.write_text(with_site)
        metrics = Metrics(knowledge, ())
        records = Records.in_memory()
        shared = Shared(Settings(), clock, records, Pseudonyms(b"k" * 32), None, metrics, Load())
        heard: list[tuple[Event, dict[str, Any]]] = []
        stop = [listen(lambda event, fields: heard.append((event, dict(fields)))), listen(metrics.hear)]
        yield House(Reloading(Tenancies(path, False, BASE, shared)), parties, shared, path, heard, server)
        for end in stop:
            end()
        records.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, knowledge: Knowledge) -> Iterator[House]:
    with house_in(tmp_path_factory.mktemp("tenants"), knowledge) as opened:
        yield opened


@pytest.fixture
def own_house(tmp_path: Path, knowledge: Knowledge) -> Iterator[House]:
    """One whose file a test may change."""
    with house_in(tmp_path, knowledge) as opened:
        yield opened


# ---- Who is let in


@pytest.mark.pitfall(11)
@pytest.mark.conforms("A-J1", "A-J2", "A-J3", "A-J4", "A-J5", "A-J6", "A-J7", "A-J8", "A-J9", "D-8")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whoever_is_refused_hears_a_bare_401_and_the_reason_is_ours_alone(house: House, case: Case) -> None:
    house.heard.clear()
    requests = case.make(house.parties)
    for authorization, path in requests[:-1]:
        assert house.send(authorization, path).status_code != 401
    answer = house.send(*requests[-1])

    if case.reason is None:
        assert answer.status_code != 401
        assert house.told(Event.CALLER_REFUSED) == []
        return
    ours = {"Cache-Control", "Content-Security-Policy", "Cross-Origin-Resource-Policy", "Referrer-Policy",
            "X-Content-Type-Options", "X-Frame-Options"}  # fmt: skip
    assert (answer.status_code, answer.data) == (401, b"")
    assert {name: value for name, value in answer.headers.items() if name not in ours} == HEADERS_OF_ALL
    # On its way through WSGI a header that came twice has become one, with a comma in it.
    reason = Refusal.NOT_A_TOKEN if case.reason is Refusal.SEVERAL_HEADERS else case.reason
    assert [fields["reason"] for fields in house.told(Event.CALLER_REFUSED)] == [reason.value]
    assert house.told(Event.CALL)[-1]["status"] == 401


def test_there_are_enough_of_them(record_property: Callable[[str, object], None]) -> None:
    refused = [case.name for case in CASES if case.reason is not None]
    record_property("safety", f"auth cases over HTTP: {len(refused)} refused with a bare 401, the rest let in")
    assert len(set(refused)) == len(refused) >= 60


@pytest.mark.parametrize("path", [DISCOVERY, f"{DISCOVERY}/", SERVICE, f"{SERVICE}/", FEEDBACK, f"{FEEDBACK}/"])
def test_each_address_wants_a_token_for_itself_with_or_without_a_slash(house: House, path: str) -> None:
    good = house.parties.bearing(path=path.rstrip("/"))

    assert house.send([], path).status_code == 401
    assert house.send(good, path).status_code in (200, 400)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/version", "/openapi.yaml", "/docs"])
def test_what_tells_nothing_of_a_patient_wants_no_token(house: House, path: str) -> None:
    assert Client(house.app).get(path).status_code == 200


def test_without_a_token_of_its_own_nobody_sees_the_metrics(house: House) -> None:
    assert Client(house.app).get("/metrics").status_code == 404


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"])
def test_what_a_request_says_of_its_address_is_no_proof(house: House, header: str) -> None:
    evil = "https://evil.example.org"
    value = {"X-Forwarded-Proto": "https", "Forwarded": "host=evil.example.org;proto=https"}.get(
        header, "evil.example.org"
    )
    for_another = house.parties.bearing(claims={"aud": evil + SERVICE})

    assert house.send(for_another, SERVICE, **{header: value}).status_code == 401
    assert house.send(house.parties.bearing(), SERVICE, **{header: value}).status_code == 400


def test_a_preflight_needs_no_token(own_house: House) -> None:
    origin = "https://north.example.org"
    own_house.edit('id = "north"', f'id = "north"\ncors_origins = ["{origin}"]')
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}

    answer = Client(own_house.app).options(SERVICE, headers=asks)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == origin


def test_an_answer_is_shown_to_pages_of_the_tenant_that_called_and_of_no_other(own_house: House) -> None:
    origin = "https://north.example.org"
    own_house.edit('id = "north"', f'id = "north"\ncors_origins = ["{origin}"]')
    north = own_house.send(own_house.parties.bearing(), SERVICE, Origin=origin)
    every = own_house.send(own_house.parties.bearing("every"), SERVICE, Origin=origin)

    assert north.headers["Access-Control-Allow-Origin"] == origin
    assert "Access-Control-Allow-Origin" not in every.headers


# ---- What is each tenant's own


def test_each_tenant_is_answered_by_its_own_site(house: House) -> None:
    eligible = VIGNETTES["V01"]
    north = [card["source"]["topic"]["code"] for card in house.call(eligible).get_json()["cards"]]
    epic = [card["source"]["topic"]["code"] for card in house.call(eligible, "epic").get_json()["cards"]]

    assert north == ["KETOPTION", "PPDRISK"]
    assert epic == ["PPDRISK"], "a tenant without a site file has approved no medicine"


def test_the_audit_and_the_feedback_tell_the_tenants_apart(house: House) -> None:
    report = {"feedback": [{"card": "one", "outcome": "accepted", "outcomeTimestamp": "2026-11-23T12:00:00Z"}]}
    body = json.dumps(report).encode()
    answers = [
        house.send(house.parties.bearing(who, path=FEEDBACK), FEEDBACK, body).get_json()
        for who in ("north", "east-1", "east-2", "north")
    ]
    house.call(VIGNETTES["V01"], "east-1")

    assert [answer["kept"] for answer in answers] == [1, 1, 1, 0]
    (row,) = [row for row in house.shared.records.trail.entries() if row["tenant"] == "east-1"]
    assert row["issuer"] == "https://east.example.org"


@pytest.mark.conforms("F-3")
def test_a_tenants_call_reads_no_server_of_another_tenants(own_house: House) -> None:
    servers = {who: f"https://fhir.{who}.example.org/R4" for who in ("north", "every")}
    for who, server in servers.items():
        own_house.edit(f'id = "{who}"', f'id = "{who}"\nfhir_servers = ["{server}"]')
    request = request_for(VIGNETTES["V01"], NOON, own_house.discovery())
    request["fhirServer"] = servers["every"]
    own_house.heard.clear()

    own_house.send(own_house.parties.bearing(), SERVICE, json.dumps(request, default=str).encode())

    assert own_house.told(Event.FHIR_SERVER_REFUSED) == [
        {"tenant": "north", "correlation_id": own_house.told(Event.CALL)[-1]["correlation_id"]}
    ]
    assert own_house.told(Event.FHIR_READ) == []


def test_every_event_of_a_call_names_the_tenant_and_the_call(own_house: House) -> None:
    own_house.call(VIGNETTES["V01"])
    (call,) = [fields for fields in own_house.told(Event.CALL) if fields.get("outcome") == "advised"]
    cards = own_house.told(Event.CARD_RETURNED)

    assert call["tenant"] == "north"
    assert {(card["tenant"], card["correlation_id"]) for card in cards} == {("north", call["correlation_id"])}
    assert b'cds_hook_requests_total{hook="order-select",outcome="advised"' in own_house.shared.metrics.exposition()


# ---- The file changes


def test_a_tenant_that_is_added_is_let_in_and_one_that_is_removed_is_not(own_house: House) -> None:
    text = own_house.path.read_text()
    before = own_house.parties.bearing("epic", path=DISCOVERY)
    assert own_house.send(before, DISCOVERY).status_code == 200

    own_house.path.write_text(text.replace("https://epic.example.org/api/FHIR/R4", "https://elsewhere.example.org"))
    assert own_house.app.look()
    assert own_house.send(own_house.parties.bearing("epic", path=DISCOVERY), DISCOVERY).status_code == 401

    own_house.path.write_text(text)
    assert own_house.app.look()
    assert own_house.send(own_house.parties.bearing("epic", path=DISCOVERY), DISCOVERY).status_code == 200
    assert own_house.send(before, DISCOVERY).status_code == 401, "a token that was spent before the change stays spent"


def test_a_kill_switch_acts_without_a_restart(own_house: House) -> None:
    own_house.edit('id = "north"', 'id = "north"\noff = ["KETOPTION"]')

    cards = own_house.call(VIGNETTES["V01"]).get_json()["cards"]

    assert [card["source"]["topic"]["code"] for card in cards] == ["PPDRISK"]


def test_a_tenant_goes_into_the_shadow_without_a_restart(own_house: House) -> None:
    own_house.edit('id = "north"', 'id = "north"\nmode = "shadow"')

    assert own_house.call(VIGNETTES["V01"]).get_json() == {"cards": []}
    assert [row["mode"] for row in own_house.shared.records.trail.entries()] == ["shadow"]


@pytest.mark.parametrize(
    "defect", ["nonsense = 1", 'off = ["PPDSAFETY"]', 'off = ["NOSUCH"]', 'site = "missing.toml"', "= not TOML"]
)
def test_a_defect_leaves_the_old_file_in_force(own_house: House, defect: str) -> None:
    assert not own_house.edit('id = "every"', f'id = "every"\n{defect}')

    assert own_house.told(Event.TENANTS_KEPT)
    assert own_house.call(VIGNETTES["V01"]).status_code == 200


def test_while_a_file_is_kept_back_the_operator_can_see_it(own_house: House) -> None:
    def seen() -> tuple[bool, str]:
        ready = Client(own_house.app).get("/readyz")
        assert ready.status_code == 200
        kept = "A changed tenants file has defects; an older one is in force." in ready.get_json()["because"]
        (gauge,) = re.findall(r"^tenants_file_kept_back (\S+)$", own_house.shared.metrics.exposition().decode(), re.M)
        return kept, gauge

    assert seen() == (False, "0.0")
    own_house.edit('id = "every"', 'id = "every"\nnonsense = 1')
    assert seen() == (True, "1.0")
    own_house.edit("\nnonsense = 1", "")
    assert seen() == (False, "0.0")


def test_a_protocol_that_is_withdrawn_while_another_change_is_taken_up_is_offered_no_more(own_house: House) -> None:
    site = own_house.path.parent / "site.toml"

    def meanwhile(asked: Asked) -> None:
        site.write_text(SITE.partition("[protocol]")[0])
        asked.send(b"{}", 503)

    own_house.server.quirk = meanwhile
    assert own_house.edit('id = "every"\n', 'id = "every"\nprivate_addresses = true\n'), "its keys are fetched anew"

    assert site.read_text() != SITE
    assert not own_house.app.look()
    cards = own_house.call(VIGNETTES["V01"]).get_json()["cards"]
    assert [card["source"]["topic"]["code"] for card in cards] == ["PPDRISK"]


def test_a_change_of_a_site_file_is_taken_up_too(own_house: House) -> None:
    site = own_house.path.parent / "site.toml"
    site.write_text(SITE.replace("Test hospital", "New hospital"))

    assert own_house.app.look()
    (card, *_) = own_house.call(VIGNETTES["V01"]).get_json()["cards"]
    assert "New hospital" in card["source"]["label"]


@pytest.mark.parametrize("defect", ["nonsense = 1", 'off = ["NOSUCH"]', 'site = "missing.toml"'])
def test_at_start_a_defect_is_refused(own_house: House, defect: str) -> None:
    own_house.edit('id = "every"', f'id = "every"\n{defect}')

    with pytest.raises(SiteUnfit):
        Tenancies(own_house.path, False, BASE, own_house.shared)()


# ---- At the same time, and without a database


def test_one_token_a_hundred_times_at_once_is_let_in_once(house: House) -> None:
    held = house.parties.bearing(path=DISCOVERY)
    ready = threading.Barrier(8)

    def eighth(_: int) -> list[int]:
        ready.wait()
        return [house.send(held, DISCOVERY).status_code for _ in range(13)]

    with ThreadPoolExecutor(8) as callers:
        statuses = [status for some in callers.map(eighth, range(8)) for status in some]

    assert sorted(statuses) == [200] + [401] * 103


def test_when_nobody_can_tell_whether_a_token_was_spent_nobody_is_let_in(tmp_path: Path, knowledge: Knowledge) -> None:
    file = tmp_path / "records.sqlite3"
    with house_in(tmp_path, knowledge) as house:
        house.shared.records.close()
        away = Records.at(str(file))
        trust_less = Shared(
            house.shared.settings, house.shared.clock, away, house.shared.pseudonyms, None, house.shared.metrics, Load()
        )
        app = Reloading(Tenancies(house.path, False, BASE, trust_less))
        file.rename(tmp_path / "elsewhere")
        without = House(app, house.parties, trust_less, house.path, house.heard, house.server)

        answer = without.send(house.parties.bearing(path=DISCOVERY), DISCOVERY)
        ready = Client(app).get("/readyz")
        away.close()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    (call,) = house.told(Event.CALL)
    assert (call["outcome"], call["tenant"]) == ("unavailable", "north")
    assert (ready.status_code, ready.get_json()["status"]) == (503, "unavailable")


def test_while_no_tenants_keys_can_be_had_others_should_be_asked(tmp_path: Path, knowledge: Knowledge) -> None:
    with served() as (parties, server):
        path = write_tenants(tmp_path, server.origin)
    metrics = Metrics(knowledge, ())
    shared = Shared(Settings(), lambda: NOON, Records.in_memory(), Pseudonyms(b"k" * 32), None, metrics, Load())
    app = Reloading(Tenancies(path, False, BASE, shared))

    answer = Client(app).get("/readyz")
    refused = Client(app).get(DISCOVERY, headers={"Authorization": parties.bearing(path=DISCOVERY)[0]})

    assert (answer.status_code, answer.get_json()["status"]) == (503, "unavailable")
    assert refused.status_code == 401


def test_the_time_is_the_one_that_was_handed_in(tmp_path: Path, knowledge: Knowledge) -> None:
    now = [NOON]

    def clock() -> datetime:
        return now[0]

    with house_in(tmp_path, knowledge, clock) as house:
        early = house.parties.bearing(path=DISCOVERY)
        now[0] = NOON.replace(year=NOON.year + 1)
        assert house.send(early, DISCOVERY).status_code == 401
