"""The client by itself: what it sends and to whom, where it stops, and whom it leaves alone for a while."""

from __future__ import annotations

import errno
import gzip
import json
import logging
import os
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ehr import Ehr
from encoding import Json
from heard import all_of, events
from quirks import (
    Call,
    Quirk,
    QuirkServer,
    Ticking,
    drip_headers,
    html,
    next_to_itself,
    odd_headers,
    outcome,
    reset_mid_body,
    searchset,
    status,
    truncated,
    with_next,
    zipped,
)

from cds_service.ehr.answers import Answer, Had
from cds_service.ehr.client import (
    MOST_PAGE_BYTES,
    MOST_PAGES,
    MOST_VISIT_BYTES,
    MOST_VISIT_ENTRIES,
    Breaker,
    Client,
    Question,
    Visit,
)
from cds_service.ehr.servers import Servers
from cds_service.ehr.wire import Deadline, Lines, decoded, session_over
from cds_service.events import Event
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


# Seconds of the desk's own clock that a call may take, and that a request takes. They are so long that no real wait
# ever runs into them: what the clock says decides.
BUDGET = 600.0
COSTS = 1.0
MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk() -> Iterator[MakeDesk]:
    """Makes a desk whose server answers so. `also`: another server that the site allows."""
    with ExitStack() as open_:

        def make(
            quirk: Quirk | None = None,
            budget: float = BUDGET,
            costs: float = COSTS,
            tls: ssl.SSLContext | None = None,
            also: str | None = None,
        ) -> Desk:
            clock = Ticking()
            quirks = QuirkServer(Ehr({PATIENT: CHART}), quirk, clock=clock, costs=costs, tls=tls)
            server = open_.enter_context(quirks.serving())
            allowed = [server.base, also] if also else [server.base]
            site = Site.from_table({"country": "US", "ehr": {"servers": allowed}})
            return Desk(server, Client(Servers(site), budget=budget, clock=clock), clock)

        yield make


@pytest.fixture
def elsewhere() -> Iterator[QuirkServer]:
    """A server that must never hear of her. Any socket to it counts."""
    with QuirkServer(Ehr({PATIENT: CHART})).serving() as server:
        yield server


def lines_to(base: str, *, clock: Ticking | None = None, kind: type[Lines] = Lines) -> Lines:
    """The sockets of a visit to the server at this base."""
    servers = Servers(Site.from_table({"country": "US", "ehr": {"servers": [base]}}))
    server = servers.allowed(base)
    assert server is not None
    return kind(server, servers, Deadline(BUDGET, clock or Ticking()))


# ---- What is sent


@pytest.mark.conforms("F-1")
def test_the_token_and_no_cookie_of_an_earlier_page_or_call(desk: MakeDesk) -> None:
    def with_cookie(call: Call) -> None:
        page = searchset()
        if "page=2" not in call.query:
            page = with_next(page, "Condition?page=2")
        call.send_json(page, Set_Cookie="session=abc; Path=/")

    made = desk(with_cookie)
    assert made.ask(URL)[0].had is Had.WHOLE
    assert made.ask(URL)[0].had is Had.WHOLE
    assert [call.headers["Authorization"] for call in made.server.heard] == [f"Bearer {TOKEN}"] * 4
    assert not [call for call in made.server.heard if "Cookie" in call.headers]


def test_the_token_stands_in_no_url_and_in_no_other_header(desk: MakeDesk) -> None:
    made = desk()
    made.ask(URL)
    (call,) = made.server.heard
    assert TOKEN not in call.query
    assert [name for name, value in call.headers.items() if TOKEN in value] == ["Authorization"]


def test_a_call_without_leave_sends_no_token(desk: MakeDesk) -> None:
    made = desk()
    with made.client.visit(made.server.base, None) as visit:
        visit.ask({"a": Question(URL)})
    assert "Authorization" not in made.server.heard[0].headers


@pytest.mark.parametrize(
    ("seconds", "had"), [(None, Had.WHOLE), (1, Had.WHOLE), (0, None), (-1, None)], ids=["unsaid", "1", "0", "-1"]
)
def test_a_token_that_has_expired_is_sent_nowhere(desk: MakeDesk, seconds: int | None, had: Had | None) -> None:
    made = desk(costs=0.0)
    visit = made.client.visit(made.server.base, replace(AUTHORIZATION, expires_in=seconds))
    if visit is None:
        assert had is None
        assert made.server.connections == 0
    else:
        with visit:
            assert visit.ask({"a": Question(URL)})["a"].had is had


@pytest.mark.parametrize(("seconds", "pages"), [(40, 4), (41, 5)])
def test_a_token_is_not_sent_after_it_has_expired(desk: MakeDesk, seconds: int, pages: int) -> None:
    """Each request takes 10 s: the fifth would begin at 40 s."""
    made = desk(paged(9), costs=10.0)
    visit = made.client.visit(made.server.base, replace(AUTHORIZATION, expires_in=seconds))
    assert visit is not None
    with visit:
        visit.ask({"a": Question(URL)})
    assert len(made.server.heard) == pages


def use_the_machine(monkeypatch: pytest.MonkeyPatch, folder: Path, proxy: str) -> None:
    """What a machine may have set for every program on it."""
    netrc = folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login clerk password s3cret\n")
    netrc.chmod(0o600)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        for written in (name, name.upper()):
            monkeypatch.setitem(os.environ, written, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(os.environ, "NETRC", str(netrc))


@pytest.mark.parametrize("authorization", [AUTHORIZATION, None], ids=["with a token", "without"])
def test_no_proxy_and_no_netrc_of_the_machine_is_used(
    desk: MakeDesk,
    elsewhere: QuirkServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    authorization: FhirAuthorization | None,
) -> None:
    use_the_machine(monkeypatch, tmp_path, elsewhere.origin)
    made = desk()
    visit = made.client.visit(made.server.base, authorization)
    assert visit is not None
    with visit:
        assert visit.ask({"a": Question(URL)})["a"].had is Had.WHOLE
    (call,) = made.server.heard
    assert call.query == URL  # to a proxy the whole URL would be sent
    assert call.headers.get("Authorization") == (f"Bearer {TOKEN}" if authorization else None)
    assert elsewhere.connections == 0


# ---- What is said about it


SILENT: dict[str, Quirk | None] = {
    "a sound answer": None,
    "a refusal": status(403),
    "a failure": status(500),
    "HTML": html,
    "half a JSON": truncated,
    "a JSON with a name in it": lambda call: call.send(b"{CANARYNAME"),
    "a reset": reset_mid_body,
    "odd headers": odd_headers,
    "no HTTP": lambda call: call.send_raw(f"{TOKEN} CANARYNAME {PATIENT}\r\n".encode()),
    "a redirect with her id": status(302, Location=f"https://elsewhere.example/fhir/{URL}"),
    "a next link with her id": lambda call: call.send_json(
        with_next(call.honest(), f"https://elsewhere.example/fhir/{URL}")
    ),
    "an odd link": lambda call: call.send_json(with_next(call.honest(), f"http://[::{PATIENT}")),
    "an encoding with a name": lambda call: call.send(b"{}", Content_Encoding="CANARYNAME"),
}


@pytest.mark.conforms("F-2")
@pytest.mark.parametrize("answers", SILENT)
def test_no_log_at_any_level_holds_the_token_the_patient_or_the_chart(
    desk: MakeDesk, caplog: pytest.LogCaptureFixture, answers: str
) -> None:
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    for logger in loggers:
        caplog.set_level(logging.DEBUG, logger=logger.name)
    made = desk(SILENT[answers])
    (answer,) = made.ask(URL)
    made.client.visit(f"https://elsewhere.example/{PATIENT}", AUTHORIZATION)
    made.client.visit(made.server.base, replace(AUTHORIZATION, expires_in=0))
    logging.getLogger("cds_service").debug("heard")
    said = all_of(caplog) + f"{answer!r}{Question(URL)!r}{AUTHORIZATION!r}"
    assert "heard" in said
    assert [record for record in caplog.records if record.levelno >= logging.WARNING]
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
def test_pages_are_followed_up_to_a_cap(desk: MakeDesk, pages: int, had: Had) -> None:
    made = desk(paged(pages), budget=60.0)
    (answer,) = made.ask(URL)
    assert (len(answer.entries), answer.had) == (min(pages, MOST_PAGES), had)
    assert len(made.server.heard) == min(pages, MOST_PAGES)


@pytest.mark.parametrize(("budget", "asked", "came"), [(60.0, 3, 2), (61.0, 4, 3)])
def test_no_page_is_asked_for_when_the_budget_is_spent(desk: MakeDesk, budget: float, asked: int, came: int) -> None:
    """Each takes 20 s: the third comes at 60 s, which is too late with a budget of 60 s, and in time with 61 s."""
    made = desk(paged(9), budget=budget, costs=20.0)
    (answer,) = made.ask(URL)
    assert (answer.had, len(answer.entries)) == (Had.CUT_SHORT, came)
    assert len(made.server.heard) == asked


def test_all_questions_of_a_call_share_one_budget(desk: MakeDesk, caplog: pytest.LogCaptureFixture) -> None:
    made = desk(budget=60.0, costs=59.0)
    with made.visit() as visit:
        first = visit.ask({"a": Question(URL)})["a"]
        made.clock.tick(1.0)
        later = visit.ask({"b": Question(f"Patient/{PATIENT}")})["b"]
    assert (first.had, later.had) == (Had.WHOLE, Had.FAILED)
    assert len(made.server.heard) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_pages_that_were_at_hand_stay_when_the_rest_does_not_come(desk: MakeDesk) -> None:
    """The first page came as prefetch."""
    made = desk(status(500))
    with made.visit() as visit:
        answer = visit.ask({"a": Question("Condition?page=2", (searchset(CHART[1]),))})["a"]
    assert (answer.had, len(answer.entries)) == (Had.CUT_SHORT, 1)


def test_a_next_link_may_be_a_path_without_a_search(desk: MakeDesk) -> None:
    def answer(call: Call) -> None:
        call.send_json(searchset() if call.query == "pages/2" else with_next(call.honest(), "pages/2"))

    made = desk(answer)
    with made.visit() as visit:
        at_hand = Question("pages/2", (with_next(searchset(CHART[1]), "pages/2"),))
        found = visit.ask({"from the start": Question(URL), "from a page on": at_hand})
    assert [(answer.had, len(answer.entries)) for answer in found.values()] == [(Had.WHOLE, 1)] * 2


def test_a_page_that_leads_to_itself_is_read_once(desk: MakeDesk) -> None:
    made = desk(next_to_itself)
    assert made.ask(URL)[0].had is Had.CUT_SHORT
    assert len(made.server.heard) == 1


def test_two_pages_that_lead_to_each_other_are_read_once_each(desk: MakeDesk) -> None:
    def answer(call: Call) -> None:
        to = "Condition?page=1" if "page=2" in call.query else "Condition?page=2"
        call.send_json(with_next(searchset(), to))

    made = desk(answer)
    assert made.ask("Condition?page=1")[0].had is Had.CUT_SHORT
    assert [call.query for call in made.server.heard] == ["Condition?page=1", "Condition?page=2"]


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
def test_the_next_page_lies_below_the_base_or_nowhere(desk: MakeDesk, more: str, follows: bool) -> None:
    made = desk()
    with made.visit() as visit:
        found = visit.next_url(more.replace("{base}", made.server.base), f"{made.server.base}/Condition?patient=x")
    assert (found is not None) is follows
    if found is not None:
        assert found.startswith(made.server.base)


# {base} and {origin} are the allowed server's, {other} is the origin of another one, {address} its host and port.
ELSEWHERE = [
    f"{place}{URL}"
    for place in (
        *(
            "{other}/fhir/",
            "//{address}/fhir/",
            "{origin}@{address}/fhir/",
            "{base}@{address}/",
            "{origin}.evil.example/",
        ),
        *(
            "{origin}\\@{address}/fhir/",
            "ftp://{address}/fhir/",
            "{origin}/fhir-evil/",
            "{base}-evil/",
            "{origin}/FHIR/",
        ),
        *(
            "{origin}/",
            "/",
            "../",
            "{base}/../admin/",
            "{base}/%2e%2e/admin/",
            "{base}/\t/",
            "{base}//",
            "http://[::1/",
        ),
    )
]


def led(place: str, server: QuirkServer, other: QuirkServer) -> str:
    """The URL that is meant by a row of that table."""
    address = other.origin.removeprefix("http://")
    return place.format(origin=server.origin, base=server.base, other=other.origin, address=address)


@pytest.mark.conforms("P-3", "F-1", "J-2")
@pytest.mark.parametrize("place", ELSEWHERE)
def test_no_next_link_leads_elsewhere(desk: MakeDesk, elsewhere: QuirkServer, place: str) -> None:
    made = desk(lambda call: call.send_json(with_next(call.honest(), led(place, made.server, elsewhere))))
    (answer,) = made.ask(URL)
    assert (answer.had, len(answer.entries)) == (Had.CUT_SHORT, 1)
    assert [call.query for call in made.server.heard] == [URL]
    assert elsewhere.connections == 0


@pytest.mark.conforms("F-1")
@pytest.mark.parametrize("place", ELSEWHERE)
def test_no_question_leads_elsewhere(desk: MakeDesk, elsewhere: QuirkServer, place: str) -> None:
    """Not even to a server that the site allows, too: this token is not for it."""
    made = desk(also=elsewhere.base)
    assert [answer.had for answer in made.ask(led(place, made.server, elsewhere))] == [Had.FAILED]
    assert made.server.heard == []
    assert elsewhere.connections == 0


@pytest.mark.conforms("F-1")
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["{other}/fhir/Condition?page=2", "{base}/Condition?page=2", "/"])
def test_no_redirect_is_followed(desk: MakeDesk, elsewhere: QuirkServer, place: str, code: int) -> None:
    made = desk(lambda call: call.send(b"{}", code, Location=led(place, made.server, elsewhere)))
    assert made.ask(URL)[0].had is Had.FAILED
    assert [call.query for call in made.server.heard] == [URL]
    assert elsewhere.connections == 0


# ---- How much is read


def blown_up(bundle: Json, size: int) -> bytes:
    """This Bundle in so many bytes."""
    return json.dumps(bundle).encode().ljust(size)


@pytest.mark.parametrize("is_zipped", [False, True], ids=["plain", "zipped"])
@pytest.mark.parametrize(("size", "had"), [(MOST_PAGE_BYTES, Had.WHOLE), (MOST_PAGE_BYTES + 1, Had.FAILED)])
def test_a_page_has_a_largest_size(desk: MakeDesk, size: int, had: Had, is_zipped: bool) -> None:
    """What counts is what it unzips to."""

    def answers(call: Call) -> None:
        body = blown_up(call.honest(), size)
        if is_zipped:
            call.send(gzip.compress(body, 1), Content_Encoding="gzip")
        else:
            call.send(body)

    (answer,) = desk(answers).ask(URL)
    assert (answer.had, len(answer.entries)) == (had, 1 if had is Had.WHOLE else 0)


def test_no_part_of_a_body_swells(desk: MakeDesk) -> None:
    """A small body that unzips to a large one comes in parts that can be counted before there are too many."""
    size = 4 * 1024 * 1024
    made = desk(lambda call: call.send(gzip.compress(b" " * size), Content_Encoding="gzip"))
    with (
        session_over(lines_to(made.server.base), ssl.create_default_context(), None) as session,
        session.get(f"{made.server.base}/{URL}", stream=True, timeout=BUDGET) as response,
    ):
        parts = [len(part) for part in decoded(response)]
    assert sum(parts) == size
    assert max(parts) <= 64 * 1024


def test_a_page_that_is_too_large_is_not_read_to_its_end(desk: MakeDesk) -> None:
    """Read to its end, it would leave nothing for the next."""
    sizes = iter([MOST_VISIT_BYTES, MOST_PAGE_BYTES])

    def answers(call: Call) -> None:
        call.send(gzip.compress(blown_up(call.honest(), next(sizes)), 1), Content_Encoding="gzip")

    made = desk(answers)
    with made.visit() as visit:
        had = [visit.ask({"a": Question(URL)})["a"].had for _ in range(2)]
    assert had == [Had.FAILED, Had.WHOLE]


@pytest.mark.parametrize("code", [302, 403, 500])
def test_of_what_is_no_answer_the_body_is_not_read(desk: MakeDesk, code: int) -> None:
    """More than all the buffers on the way hold: whoever sends it notices that nobody listens."""
    hung_up = threading.Event()

    def answers(call: Call) -> None:
        try:
            call.send(bytes(MOST_VISIT_BYTES * 2), code, Location="/fhir/Condition")
        except OSError:
            hung_up.set()
            raise

    made = desk(answers)
    assert made.ask(URL)[0].had in (Had.FAILED, Had.RESTRICTED)
    assert hung_up.wait(BUDGET / 10)


@pytest.mark.parametrize(("over", "had"), [(0, Had.WHOLE), (1, Had.CUT_SHORT)])
def test_all_pages_of_a_call_have_a_largest_size(desk: MakeDesk, over: int, had: Had) -> None:
    """A few large pages and two small ones that fill what is left, or that are one byte too many."""
    large = MOST_VISIT_BYTES // MOST_PAGE_BYTES - 1
    sizes = [MOST_PAGE_BYTES] * large + [MOST_PAGE_BYTES - 1_000, 1_000 + over]
    assert sum(sizes) == MOST_VISIT_BYTES + over

    def answers(call: Call) -> None:
        number = int(call.query.partition("page=")[2] or 1)
        page = searchset({**CHART[1], "id": f"c{number}"})
        if number < len(sizes):
            page = with_next(page, f"Condition?page={number + 1}")
        call.send(gzip.compress(blown_up(page, sizes[number - 1]), 1), Content_Encoding="gzip")

    made = desk(answers)
    (answer,) = made.ask(URL)
    assert (answer.had, len(answer.entries)) == (had, len(sizes) - over)


def test_all_questions_of_a_call_share_one_largest_size(desk: MakeDesk) -> None:
    made = desk(
        lambda call: call.send(gzip.compress(blown_up(call.honest(), MOST_PAGE_BYTES), 1), Content_Encoding="gzip")
    )
    within = MOST_VISIT_BYTES // MOST_PAGE_BYTES
    with made.visit() as visit:
        first = visit.ask({f"{n}": Question(URL) for n in range(within)})
        later = visit.ask({"one more": Question(URL)})
    assert {answer.had for answer in first.values()} == {Had.WHOLE}
    assert later["one more"].had is Had.FAILED


@pytest.mark.parametrize(("count", "had"), [(MOST_VISIT_ENTRIES, Had.WHOLE), (MOST_VISIT_ENTRIES + 1, Had.CUT_SHORT)])
def test_all_pages_of_a_call_have_a_largest_number_of_entries(desk: MakeDesk, count: int, had: Had) -> None:
    def answers(call: Call) -> None:
        begin = int(call.query.partition("from=")[2] or 0)
        rows = [{**CHART[1], "id": f"c{n}"} for n in range(begin, min(begin + 2_500, count))]
        page = searchset(*rows)
        if begin + 2_500 < count:
            page = with_next(page, f"Condition?from={begin + 2_500}")
        call.send_json(page)

    (answer,) = desk(answers).ask(URL)
    assert (answer.had, len(answer.entries)) == (had, MOST_VISIT_ENTRIES)


# ---- What an answer means


LATER = "Wed, 21 Oct 2099 07:28:00 GMT"


@pytest.mark.parametrize(
    ("code", "had"),
    [
        (200, Had.WHOLE),
        (201, Had.FAILED),
        (206, Had.FAILED),
        (300, Had.FAILED),
        (302, Had.FAILED),
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
@pytest.mark.parametrize("body", [None, outcome("error", "processing")], ids=["with a chart", "with an outcome"])
def test_what_a_status_means(desk: MakeDesk, code: int, had: Had, body: Json | None) -> None:
    """Whatever comes with it. But for 200, what looks like a chart is none."""
    made = desk(lambda call: call.send_json(body if body and code != 200 else call.honest(), code))
    assert made.ask(URL)[0].had is had
    assert len(made.server.heard) == 1  # never a second try while a clinician waits


@pytest.mark.parametrize("retry_after", ["0", "1", "3600", LATER, "soon"])
@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_says_when_to_come_again_is_not_waited_for(desk: MakeDesk, code: int, retry_after: str) -> None:
    made = desk(status(code, Retry_After=retry_after))
    begun = made.clock()
    assert made.ask(URL)[0].had is Had.FAILED
    assert len(made.server.heard) == 1
    assert made.clock() - begun == COSTS


CONDITION = CHART[1]
BODIES: list[tuple[str, str, bytes, Had]] = [
    # what came, what was asked, the body, and how it was had
    ("an empty searchset", URL, b'{"resourceType":"Bundle","type":"searchset"}', Had.WHOLE),
    ("HTML", URL, b"<!DOCTYPE html><title>Sign in</title>", Had.FAILED),
    ("XML", URL, b'<Bundle xmlns="http://hl7.org/fhir"/>', Had.FAILED),
    ("nothing", URL, b"", Had.FAILED),
    ("null", URL, b"null", Had.FAILED),
    ("half a JSON", URL, json.dumps(searchset(CONDITION)).encode()[:-1], Had.FAILED),
    ("two JSONs", URL, b'{"resourceType":"Bundle","type":"searchset"}{}', Had.FAILED),
    ("no UTF-8", URL, b'{"resourceType":"Bundle","type":"searchset","x":"\xff"}', Had.FAILED),
    ("a Bundle of no type", URL, b'{"resourceType":"Bundle"}', Had.FAILED),
    ("a Bundle of another type", URL, b'{"resourceType":"Bundle","type":"batch-response"}', Had.FAILED),
    ("no resource", URL, b'{"type":"searchset"}', Had.FAILED),
    ("the resource alone", URL, json.dumps(CONDITION).encode(), Had.FAILED),
    ("an error", URL, json.dumps(outcome("error", "exception")).encode(), Had.FAILED),
    ("a warning", URL, json.dumps(outcome("warning", "processing")).encode(), Had.FAILED),
    ("a refusal", URL, json.dumps(outcome("error", "forbidden")).encode(), Had.RESTRICTED),
    ("a read", f"Patient/{PATIENT}", json.dumps(CHART[0]).encode(), Had.WHOLE),
    ("a Bundle for a read", f"Patient/{PATIENT}", json.dumps(searchset(CHART[0])).encode(), Had.FAILED),
    ("an error for a read", f"Patient/{PATIENT}", json.dumps(outcome("error", "exception")).encode(), Had.FAILED),
    ("half a read", f"Patient/{PATIENT}", json.dumps(CHART[0]).encode()[:-1], Had.FAILED),
]


@pytest.mark.parametrize(("url", "body", "had"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_what_a_body_means(desk: MakeDesk, url: str, body: bytes, had: Had) -> None:
    (answer,) = desk(lambda call: call.send(body)).ask(url)
    assert answer.had is had
    if had is not Had.WHOLE:
        assert answer.entries == ()


def test_one_failure_costs_one_answer(desk: MakeDesk) -> None:
    def answers(call: Call) -> None:
        if call.kind == "Procedure":
            call.reset()
        else:
            call.send_json(call.honest())

    found = desk(answers).ask(URL, f"Procedure?patient={PATIENT}", f"Patient/{PATIENT}")
    assert [answer.had for answer in found] == [Had.WHOLE, Had.FAILED, Had.WHOLE]


# ---- A server that is left alone


def failed(times: int, clock: Ticking) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(times):
        breaker.heard(well=False)
    return breaker


@pytest.mark.parametrize(("failures", "is_open"), [(Breaker.FAILURES - 1, True), (Breaker.FAILURES, False)])
def test_failures_in_a_row_close_the_door(failures: int, is_open: bool) -> None:
    assert failed(failures, Ticking()).lets_through() is is_open


@pytest.mark.parametrize(("pause", "is_open"), [(-0.001, False), (0.0, True)])
def test_the_door_opens_after_a_pause(pause: float, is_open: bool) -> None:
    clock = Ticking()
    breaker = failed(Breaker.FAILURES, clock)
    clock.tick(Breaker.PAUSE_SECONDS + pause)
    assert breaker.lets_through() is is_open


@pytest.mark.parametrize(("pause", "is_open"), [(-0.001, False), (0.0, True)])
@pytest.mark.parametrize("hears", [True, False], ids=["it failed again", "nothing was heard of it"])
def test_after_the_pause_one_call_may_see(hears: bool, pause: float, is_open: bool) -> None:
    clock = Ticking()
    breaker = failed(Breaker.FAILURES, clock)
    clock.tick(Breaker.PAUSE_SECONDS)
    assert breaker.lets_through()
    assert not breaker.lets_through()  # the others wait for what it finds
    if hears:
        clock.tick(2.0)  # the pause begins with the failure
        breaker.heard(well=False)
    clock.tick(Breaker.PAUSE_SECONDS + pause)
    assert breaker.lets_through() is is_open


def test_one_success_opens_the_door_for_all() -> None:
    clock = Ticking()
    breaker = failed(Breaker.FAILURES, clock)
    clock.tick(Breaker.PAUSE_SECONDS)
    assert breaker.lets_through()
    breaker.heard(well=True)
    assert breaker.lets_through()
    assert breaker.lets_through()


def test_one_success_among_failures_keeps_the_door_open() -> None:
    breaker = Breaker(Ticking())
    for well in (False, False, False, False, True, False, False, False, False):
        breaker.heard(well=well)
    assert breaker.lets_through()


def test_a_server_that_failed_five_calls_is_not_asked_again_until_the_pause_is_over(desk: MakeDesk) -> None:
    made = desk(status(500))
    for _ in range(Breaker.FAILURES):
        made.ask(URL)
    assert made.ask(URL)[0].had is Had.FAILED
    assert len(made.server.heard) == Breaker.FAILURES
    made.clock.tick(Breaker.PAUSE_SECONDS)
    made.server.quirk = None
    assert made.ask(URL)[0].had is Had.WHOLE
    assert made.ask(URL)[0].had is Had.WHOLE
    assert len(made.server.heard) == Breaker.FAILURES + 2


def test_each_server_has_a_door_of_its_own(desk: MakeDesk, elsewhere: QuirkServer) -> None:
    made = desk(status(500), also=elsewhere.base)
    for _ in range(Breaker.FAILURES + 1):
        made.ask(URL)
    assert len(made.server.heard) == Breaker.FAILURES
    other = made.client.visit(f"{elsewhere.base}/", AUTHORIZATION)  # the same server, otherwise written
    assert other is not None
    with other:
        assert other.ask({"a": Question(URL)})["a"].had is Had.WHOLE


def test_a_server_that_drips_is_left_alone_too(desk: MakeDesk) -> None:
    """Its bytes come soon enough for each wait, but not for the call."""
    made = desk(drip_headers, budget=0.1, costs=0.0)
    for _ in range(Breaker.FAILURES):
        made.ask(URL)
    made.server.quirk = None
    made.client.budget = BUDGET
    assert made.ask(URL)[0].had is Had.FAILED
    made.clock.tick(Breaker.PAUSE_SECONDS)
    assert made.ask(URL)[0].had is Had.WHOLE


@pytest.mark.parametrize(
    ("answers", "closes"),
    [
        pytest.param(status(500), True, id="500"),
        pytest.param(status(503), True, id="503"),
        pytest.param(status(429), True, id="429"),
        pytest.param(lambda call: call.reset(), True, id="a reset"),
        pytest.param(reset_mid_body, True, id="a reset in the body"),
        pytest.param(status(499), False, id="499"),
        pytest.param(status(400), False, id="400"),
        pytest.param(status(401), False, id="401"),
        pytest.param(status(403), False, id="403"),
        pytest.param(status(404), False, id="404"),
        pytest.param(html, False, id="HTML"),
        pytest.param(truncated, False, id="half a JSON"),
        pytest.param(zipped, False, id="a sound answer"),
    ],
)
def test_a_failure_closes_the_door_in_time_and_a_refusal_never_does(
    desk: MakeDesk, answers: Quirk, closes: bool
) -> None:
    made = desk(answers)
    for _ in range(Breaker.FAILURES + 1):
        made.ask(URL)
    assert len(made.server.heard) == Breaker.FAILURES + (not closes)


@pytest.mark.parametrize("kinds", [("Condition", "Procedure"), ("Procedure", "Condition")])
def test_one_answer_among_the_failures_of_a_call_is_an_answer(desk: MakeDesk, kinds: tuple[str, str]) -> None:
    def answers(call: Call) -> None:
        if call.kind == "Procedure":
            call.reset()
        else:
            call.send_json(call.honest())

    made = desk(answers)
    for _ in range(Breaker.FAILURES + 1):
        with made.visit() as visit:
            for kind in kinds:
                visit.ask({kind: Question(f"{kind}?patient={PATIENT}")})
    assert made.server.asked == [*kinds] * (Breaker.FAILURES + 1)


def test_the_one_call_after_the_pause_may_ask_twice(desk: MakeDesk) -> None:
    made = desk(status(500))
    for _ in range(Breaker.FAILURES):
        made.ask(URL)
    made.clock.tick(Breaker.PAUSE_SECONDS)
    made.server.quirk = None
    with made.visit() as visit:
        assert [visit.ask({"a": Question(URL)})["a"].had for _ in range(2)] == [Had.WHOLE, Had.WHOLE]


def test_a_visit_that_asks_nothing_wastes_no_try(desk: MakeDesk) -> None:
    made = desk(status(500))
    for _ in range(5):
        made.ask(URL)
    made.clock.tick(Breaker.PAUSE_SECONDS)
    with made.visit():
        pass
    made.server.quirk = None
    assert made.ask(URL)[0].had is Had.WHOLE


# ---- Whom it trusts


Certified = Callable[..., Path]


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    """Makes a file with a key and a certificate that nobody else has signed."""
    why = "cryptography is not installed: it makes the certificates"
    x509 = pytest.importorskip("cryptography.x509", reason=why)
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes", reason=why)
    curves = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec", reason=why)
    written = pytest.importorskip("cryptography.hazmat.primitives.serialization", reason=why)
    pem = written.Encoding.PEM

    def make(name: str = "localhost", until: int = 2999) -> Path:
        """For a server of this name, from the year 2000 until the first day of this year."""
        key = curves.generate_private_key(curves.SECP256R1())
        called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        built = x509.CertificateBuilder(called, called, key.public_key(), x509.random_serial_number())
        built = built.not_valid_before(datetime(2000, 1, 1, tzinfo=UTC)).not_valid_after(
            datetime(until, 1, 1, tzinfo=UTC)
        )
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        file = tmp_path_factory.mktemp("certificate") / "server.pem"
        clear = key.private_bytes(pem, written.PrivateFormat.PKCS8, written.NoEncryption())
        file.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem) + clear)
        return file

    return make


def shown(file: Path) -> ssl.SSLContext:
    """What a server with this certificate does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def asked_over_tls(
    desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, file: Path, *, trusted: bool
) -> tuple[Answer, QuirkServer]:
    """`trusted`: whoever runs this machine trusts the certificate."""
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    made = desk(tls=shown(file))
    return made.ask(URL)[0], made.server


@pytest.mark.conforms("J-2")
def test_a_certificate_that_the_machine_trusts_is_trusted(
    desk: MakeDesk, certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, server = asked_over_tls(desk, monkeypatch, certified(), trusted=True)
    assert (answer.had, len(answer.entries)) == (Had.WHOLE, 1)
    assert server.heard[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.conforms("J-2")
@pytest.mark.parametrize(
    ("name", "until", "trusted"),
    [("localhost", 2999, False), ("ehr.example.org", 2999, True), ("localhost", 2001, True)],
    ids=["nobody trusts it", "it is another server's", "it has expired"],
)
def test_a_server_without_a_sound_certificate_hears_nothing(
    desk: MakeDesk, certified: Certified, monkeypatch: pytest.MonkeyPatch, name: str, until: int, trusted: bool
) -> None:
    answer, server = asked_over_tls(desk, monkeypatch, certified(name, until), trusted=trusted)
    assert (answer.had, answer.entries) == (Had.FAILED, ())
    assert server.connections > 0
    assert server.heard == []


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_no_certificate_is_trusted_because_of_what_other_programs_trust(
    desk: MakeDesk, certified: Certified, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = certified()
    monkeypatch.setenv(name, str(file))
    answer, server = asked_over_tls(desk, monkeypatch, file, trusted=False)
    assert (answer.had, server.heard) == (Had.FAILED, [])


@pytest.mark.conforms("J-2")
def test_a_server_that_speaks_no_tls_hears_nothing(desk: MakeDesk) -> None:
    """It answers as to a broken line: each greeting of TLS holds a line break (supported_groups is 0x000a)."""
    made = desk()
    secure = made.server.base.replace("http://", "https://")
    client = Client(Servers(Site.from_table({"country": "US", "ehr": {"servers": [secure]}})), budget=BUDGET)
    visit = client.visit(secure, AUTHORIZATION)
    assert visit is not None
    with visit:
        assert visit.ask({"a": Question(URL)})["a"].had is Had.FAILED
    assert made.server.connections == 1
    assert made.server.heard == []


# ---- A machine under load


@pytest.mark.parametrize("code", [errno.ECONNRESET, errno.EPROTOTYPE, errno.ECONNREFUSED, errno.EPIPE, errno.ETIMEDOUT])
def test_a_connection_that_is_reset_while_it_is_made_is_a_failure_like_any_other(
    caplog: pytest.LogCaptureFixture, code: int
) -> None:
    """Seen under load: urllib3 went on with a socket that it never got, and an AttributeError came of it."""

    class Resetting(Lines):
        def dial(self) -> socket.socket:
            raise OSError(code, "seen under load")

    with _visit_over("http://127.0.0.1:9/fhir", Resetting) as visit:
        (answer,) = visit.ask({"a": Question(URL)}).values()
    assert answer.had is Had.FAILED
    assert "AttributeError" not in all_of(caplog)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def _visit_over(base: str, lines: type[Lines]) -> Visit:
    return Visit(lines_to(base, kind=lines), None, Breaker(Ticking()), ssl.create_default_context())


def test_no_connection_is_made_after_the_visit_or_its_budget(desk: MakeDesk) -> None:
    made = desk()
    over, spent = lines_to(made.server.base), lines_to(made.server.base, clock=made.clock)
    over.cut()
    made.clock.tick(BUDGET)
    for lines in (over, spent):
        with pytest.raises(TimeoutError):
            lines.dial()
    with lines_to(made.server.base).dial() as line:
        assert line.getpeername()[1] == int(made.server.origin.rpartition(":")[2])


@pytest.fixture
def crowded() -> Iterator[str]:
    """A server that is so busy that a connection to it is neither made nor refused."""
    with ExitStack() as open_:
        listening = open_.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        waiting = []
        while len(waiting) < 3 or select.select([], waiting[-1:], [], 0.2)[1]:
            one = open_.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/fhir"


# Linux, include/net/tcp_states.h
SYN_SENT = 2
CLOSED = 7


def _standing(line: socket.socket) -> int:
    return line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how a connection stands")
def test_a_visit_that_ends_while_it_still_connects_leaves_no_error_behind(
    crowded: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The same on real sockets: to cut a connection that is not yet made resets it, and its thread is late."""
    dialled: list[socket.socket] = []

    class Watched(Lines):
        def hold(self, line: socket.socket) -> None:
            super().hold(line)
            dialled.append(line)

    caplog.set_level(logging.INFO)
    answers: dict[str, Answer] = {}
    with _visit_over(crowded, Watched) as visit:
        late = threading.Thread(target=lambda: answers.update(visit.ask({"a": Question(URL)})))
        late.start()
        while not dialled or (stands := _standing(dialled[0])) == CLOSED:
            assert late.is_alive()
        assert stands == SYN_SENT
    late.join(BUDGET)
    assert answers["a"].had is Had.FAILED
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [told["status"] for told in events(caplog, Event.FHIR_READ)] == ["refused"]


@pytest.mark.parametrize(
    ("page", "had"),
    [
        (searchset(link=[1, None, {"relation": "next", "url": 7}]), Had.CUT_SHORT),
        (searchset(link={"relation": "next"}), Had.CUT_SHORT),
        (searchset(link="next"), Had.WHOLE),
        (searchset(entry={"resource": 1}), Had.FAILED),
        (searchset(entry=7), Had.FAILED),
        (searchset(total={}), Had.CUT_SHORT),
        ({"resourceType": "Bundle", "type": ["searchset"]}, Had.FAILED),
        ({"resourceType": ["Bundle"]}, Had.FAILED),
        ([], Had.FAILED),
        ("x", Had.FAILED),
    ],
)
def test_an_odd_page_costs_its_own_answer_and_is_no_error_of_ours(
    desk: MakeDesk, caplog: pytest.LogCaptureFixture, page: Any, had: Had
) -> None:
    def answers(call: Call) -> None:
        call.send_json(page if call.kind == "Condition" else call.honest())

    odd, sound = desk(answers).ask(URL, f"Procedure?patient={PATIENT}")
    assert (odd.had, sound.had) == (had, Had.WHOLE)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
