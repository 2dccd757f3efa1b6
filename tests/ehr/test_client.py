"""The client by itself: what it sends and to whom, where it stops, and whom it leaves alone for a while."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from ehr import Ehr
from encoding import Json
from quirks import Call, QuirkServer, Ticking, searchset, status, with_next

from cds_service.ehr.answers import Answer, Had
from cds_service.ehr.client import MOST_PAGES, Breaker, Client, Question, Visit
from cds_service.ehr.servers import Servers
from cds_service.ehr.wire import Deadline, Lines
from cds_service.hooks.request import FhirAuthorization
from cds_service.settings import Site

TOKEN = "canary-token-4711"  # noqa: S105
AUTHORIZATION = FhirAuthorization(TOKEN, "Bearer", 300, None, None, None)
PATIENT = "canary-patient"
URL = f"Condition?patient={PATIENT}"
CHART: list[Json] = [
    {"resourceType": "Patient", "id": PATIENT, "name": [{"family": "CANARYNAME"}]},
    {"resourceType": "Condition", "id": "c1", "subject": {"reference": f"Patient/{PATIENT}"}},
]


@dataclass
class Desk:
    """A client of one server, and the clock of both."""

    server: QuirkServer
    client: Client
    clock: Ticking

    def visit(self) -> Visit:
        found = self.client.visit(self.server.base, AUTHORIZATION)
        assert found is not None
        return found

    def ask(self, *urls: str) -> list[Answer]:
        with self.visit() as visit:
            return list(visit.ask({url: Question(url) for url in urls}).values())


@pytest.fixture
def desk() -> Iterator[Any]:
    """Makes a desk whose server answers so; a request costs a fifth of a second of a budget of one."""
    with ExitStack() as open_:

        def make(quirk: Any = None, budget: float = 1.0) -> Desk:
            clock = Ticking()
            server = open_.enter_context(QuirkServer(Ehr({PATIENT: CHART}), quirk, clock=clock).serving())
            site = Site.from_table({"country": "US", "ehr": {"servers": [server.base]}})
            return Desk(server, Client(Servers(site), budget=budget, clock=clock), clock)

        yield make


# ---- What is sent


def test_the_token_and_no_cookie_of_an_earlier_call(desk: Any) -> None:
    def with_cookie(call: Call) -> None:
        call.send_json(call.honest(), Set_Cookie="session=abc; Path=/")

    made = desk(with_cookie)
    made.ask(URL)
    made.ask(URL)
    assert [call.headers["Authorization"] for call in made.server.heard] == [f"Bearer {TOKEN}"] * 2
    assert not [call for call in made.server.heard if "Cookie" in call.headers]


def test_a_call_without_leave_sends_no_token(desk: Any) -> None:
    made = desk()
    with made.client.visit(made.server.base, None) as visit:
        visit.ask({"a": Question(URL)})
    assert "Authorization" not in made.server.heard[0].headers


def test_no_proxy_and_no_netrc_of_the_machine_is_used(
    desk: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login clerk password s3cret\n")
    netrc.chmod(0o600)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:1")
    monkeypatch.setitem(os.environ, "NETRC", str(netrc))
    made = desk()
    assert made.ask(URL)[0].had is Had.WHOLE
    assert made.server.heard[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.conforms("F-2")
@pytest.mark.parametrize("answers", [None, status(500), status(403), lambda call: call.send(b"{CANARYNAME", 200)])
def test_no_log_at_any_level_holds_the_token_the_patient_or_the_chart(
    desk: Any, caplog: pytest.LogCaptureFixture, answers: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    desk(answers).ask(URL)
    said = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert not [canary for canary in (TOKEN, PATIENT, "CANARYNAME") if canary in said]


# ---- Where it stops


def paged(last: int) -> Any:
    """Pages from 1 to `last`, each with a Condition of its own."""

    def answer(call: Call) -> None:
        number = int(call.query.partition("page=")[2] or 1)
        entry = {"resourceType": "Condition", "id": f"c{number}", "subject": {"reference": f"Patient/{PATIENT}"}}
        bundle = searchset(entry)
        if number < last:
            bundle = with_next(bundle, f"{call.server.base}/Condition?page={number + 1}")
        call.send_json(bundle)

    return answer


@pytest.mark.parametrize(("pages", "had"), [(1, Had.WHOLE), (MOST_PAGES, Had.WHOLE), (MOST_PAGES + 1, Had.CUT_SHORT)])
def test_pages_are_followed_up_to_a_cap(desk: Any, pages: int, had: Had) -> None:
    made = desk(paged(pages), budget=60.0)
    (answer,) = made.ask(URL)
    assert (len(answer.entries), answer.had) == (min(pages, MOST_PAGES), had)
    assert len(made.server.heard) == min(pages, MOST_PAGES)


@pytest.mark.parametrize(("budget", "pages"), [(0.61, 4), (0.59, 3)])
def test_no_page_is_asked_for_when_the_budget_is_spent(desk: Any, budget: float, pages: int) -> None:
    """Each takes 0.2 s: the fourth may begin at 0.6 s."""
    made = desk(paged(9), budget=budget)
    (answer,) = made.ask(URL)
    assert answer.had is Had.CUT_SHORT
    assert len(made.server.heard) <= pages


@pytest.mark.parametrize(
    ("more", "follows"),
    [
        ("Condition?page=2", True),
        ("/fhir/Condition?page=2", True),
        ("{base}/Condition?page=2", True),
        ("{base}?page=2", True),
        ("/fhir-evil/Condition?page=2", False),
        ("/other", False),
        ("{base}.evil.example/Condition", False),
        ("{base}@evil.example/Condition", False),
        ("//evil.example/fhir/Condition", False),
        ("https://evil.example/fhir/Condition", False),
        ("{base}/../admin", False),
        ("http://[::1", False),
        ("ftp://127.0.0.1/fhir/Condition", False),
        ("", False),
    ],
)
@pytest.mark.conforms("P-3", "F-1")
def test_the_next_page_lies_below_the_base_or_nowhere(desk: Any, more: str, follows: bool) -> None:
    made = desk()
    with made.visit() as visit:
        found = visit.next_url(more.replace("{base}", made.server.base), f"{made.server.base}/Condition?patient=x")
    assert (found is not None) is follows
    if found is not None:
        assert found.startswith(made.server.base)


@pytest.mark.parametrize(
    ("code", "had"),
    [
        (200, Had.WHOLE),
        (401, Had.RESTRICTED),
        (403, Had.RESTRICTED),
        (404, Had.NOT_ASKED),
        (410, Had.NOT_ASKED),
        (400, Had.FAILED),
        (406, Had.FAILED),
        (429, Had.FAILED),
        (500, Had.FAILED),
        (503, Had.FAILED),
    ],
)
def test_what_a_status_means(desk: Any, code: int, had: Had) -> None:
    def answers(call: Call) -> None:
        call.send_json(call.honest() if code == 200 else {}, code)

    made = desk(answers)
    assert made.ask(URL)[0].had is had
    assert len(made.server.heard) == 1  # never a second try while a clinician waits


def test_one_failure_costs_one_answer(desk: Any) -> None:
    def answers(call: Call) -> None:
        if call.kind == "Procedure":
            call.reset()
        else:
            call.send_json(call.honest())

    found = desk(answers).ask(URL, f"Procedure?patient={PATIENT}", f"Patient/{PATIENT}")
    assert [answer.had for answer in found] == [Had.WHOLE, Had.FAILED, Had.WHOLE]


# ---- A server that is left alone


def test_five_failures_in_a_row_close_the_door_for_ten_seconds() -> None:
    clock = Ticking()
    breaker = Breaker(clock)
    for _ in range(4):
        breaker.heard(well=False)
    assert breaker.lets_through()
    breaker.heard(well=False)
    assert not breaker.lets_through()
    clock.tick(9.9)
    assert not breaker.lets_through()
    clock.tick(0.2)
    assert breaker.lets_through()  # one may, to see
    assert not breaker.lets_through()
    breaker.heard(well=True)
    assert breaker.lets_through()
    assert breaker.lets_through()


def test_one_success_among_failures_keeps_the_door_open() -> None:
    breaker = Breaker(Ticking())
    for well in (False, False, False, False, True, False, False, False, False):
        breaker.heard(well=well)
    assert breaker.lets_through()


def test_a_server_that_failed_five_calls_is_not_asked_again_until_the_pause_is_over(desk: Any) -> None:
    made = desk(status(500))
    for _ in range(5):
        made.ask(URL)
    assert made.ask(URL)[0].had is Had.FAILED
    assert len(made.server.heard) == 5
    made.clock.tick(10.1)
    made.server.quirk = None
    assert made.ask(URL)[0].had is Had.WHOLE
    assert made.ask(URL)[0].had is Had.WHOLE
    assert len(made.server.heard) == 7


def test_a_refusal_is_an_answer_and_closes_no_door(desk: Any) -> None:
    made = desk(status(403))
    for _ in range(7):
        made.ask(URL)
    assert len(made.server.heard) == 7


def test_a_visit_that_asks_nothing_wastes_no_try(desk: Any) -> None:
    made = desk(status(500))
    for _ in range(5):
        made.ask(URL)
    made.clock.tick(10.1)
    with made.visit():
        pass
    made.server.quirk = None
    assert made.ask(URL)[0].had is Had.WHOLE


# ---- A machine under load


@pytest.mark.parametrize("code", [errno.ECONNRESET, errno.EPROTOTYPE, errno.ECONNREFUSED, errno.EPIPE, errno.ETIMEDOUT])
def test_a_connection_that_is_reset_while_it_is_made_is_a_failure_like_any_other(
    caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Seen under load: urllib3 went on with a socket that it never got, and an AttributeError came of it."""

    class Resetting(Lines):
        def dial(self) -> socket.socket:
            raise OSError(code, "seen under load")

    clock = Ticking()
    site = Site.from_table({"country": "US", "ehr": {"servers": ["http://127.0.0.1:9/fhir"]}})
    servers = Servers(site)
    server = servers.allowed("http://127.0.0.1:9/fhir")
    assert server is not None
    lines = Resetting(server, servers, Deadline(1.0, clock))
    with Visit(lines, None, Breaker(clock), Client(servers, budget=1.0)._tls) as visit:
        (answer,) = visit.ask({"a": Question(URL)}).values()
    assert answer.had is Had.FAILED
    assert "AttributeError" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_an_unreadable_page_costs_its_own_answer(desk: Any) -> None:
    odd: list[Any] = [
        {"resourceType": "Bundle", "type": "searchset", "link": [1, None, {"relation": "next", "url": 7}]},
        {"resourceType": "Bundle", "type": "searchset", "entry": {"resource": 1}},
        {"resourceType": "Bundle", "type": ["searchset"]},
        {"resourceType": ["Bundle"]},
        [],
        "x",
    ]
    pages = iter(odd)
    made = desk(lambda call: call.send(json.dumps(next(pages)).encode()), budget=60.0)
    for _ in odd:
        assert isinstance(made.ask(URL)[0], Answer)
