"""A FHIR server on a socket of this machine. It answers as the EHR in memory does, except where it is told not to."""

from __future__ import annotations

import gzip
import itertools
import json
import select
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from ehr import Ehr
from encoding import Json

PATH = "/fhir"


class Ticking:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 1_000.0

    def __call__(self) -> float:
        with self._lock:
            return self.now

    def tick(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


@dataclass
class Call:
    """One request that the server heard, and the ways to answer it."""

    query: str
    headers: dict[str, str]
    server: QuirkServer = field(repr=False)
    handler: BaseHTTPRequestHandler = field(repr=False)

    @property
    def kind(self) -> str:
        """The resource type that is asked for."""
        return self.query.partition("?")[0].partition("/")[0]

    def honest(self) -> Json:
        """What a sound EHR answers."""
        return self.server.ehr.get(self.query)

    def send(self, body: bytes, status: int = 200, kind: str = "application/fhir+json", **headers: str) -> None:
        """A whole answer. Names of headers are written with underscores."""
        length = headers.pop("Content_Length", str(len(body)))
        lines = {"Content-Type": kind, "Content-Length": length, **{n.replace("_", "-"): v for n, v in headers.items()}}
        self.handler.send_response(status)
        for name, value in lines.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def send_json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.send(json.dumps(value).encode(), status, **headers)

    def send_raw(self, data: bytes) -> None:
        """These bytes and no others; then the connection is of no more use."""
        self.handler.close_connection = True
        self.handler.wfile.write(data)

    def reset(self) -> None:
        """Hangs up without a goodbye: the caller's read fails."""
        self.handler.close_connection = True
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def hang(self) -> None:
        """Says nothing until the caller hangs up or the server is closed."""
        self.handler.close_connection = True
        while not self.server.closing.wait(0.01) and not self._is_alone():
            continue

    def _is_alone(self) -> bool:
        """Has the caller hung up?"""
        readable, _, _ = select.select([self.handler.connection], [], [], 0)
        return bool(readable) and not self.handler.connection.recv(1)

    def drip(self, data: bytes, seconds: float = 0.02) -> None:
        """A byte now and then: each one comes soon enough for a timeout that counts each wait anew."""
        for byte in data:
            if self.server.closing.wait(seconds):
                return
            self.server.tick()
            self.send_raw(bytes([byte]))


Quirk = Callable[[Call], None]


class QuirkServer:
    """
    Serves the charts of an `Ehr`. Requests for the resource type `odd` are answered by `quirk`; "" means all of them.

    Each request takes `costs` seconds of `clock`, if there is one. `heard` is every request, in the order in which
    they came; `connections` counts the sockets that were opened, `open_connections` those that still are.
    """

    def __init__(
        self,
        ehr: Ehr,
        quirk: Quirk | None = None,
        odd: str = "",
        *,
        clock: Ticking | None = None,
        costs: float = 0.2,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.ehr = ehr
        self.quirk = quirk
        self.odd = odd
        self.heard: list[Call] = []
        self.connections = 0
        self.open_connections = 0
        self.closing = threading.Event()
        self._clock = clock
        self._costs = costs
        self._lock = threading.Lock()
        self._server = _Tcp(self, tls)
        host = "localhost" if tls else "127.0.0.1"
        self.origin = f"{'https' if tls else 'http'}://{host}:{self._server.server_address[1]}"
        self.base = self.origin + PATH

    def tick(self) -> None:
        """What is asked takes its time."""
        if self._clock is not None:
            self._clock.tick(self._costs)

    def answer(self, call: Call) -> None:
        self.heard.append(call)
        self.tick()
        if self.quirk is not None and self.odd in ("", call.kind):
            self.quirk(call)
            return
        try:
            found = call.honest()
        except ValueError:
            call.send_json(outcome("error", "not-found"), 404)
        else:
            call.send_json(found)

    @property
    def asked(self) -> list[str]:
        """The resource types that were asked for."""
        return [call.kind for call in self.heard]

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self.connections += 1
            self.open_connections += 1
        try:
            yield
        finally:
            with self._lock:
                self.open_connections -= 1

    @contextmanager
    def serving(self) -> Iterator[QuirkServer]:
        """Listens as long as it is used."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="quirks", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, quirks: QuirkServer, tls: ssl.SSLContext | None) -> None:
        self.quirks = quirks
        self._tls = tls
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.quirks.counted():
            if self._tls is None:
                super().finish_request(request, client_address)
                return
            with self._tls.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The caller hung up, or did not trust us: that is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the caller's word on the one before
    server: _Tcp

    def do_GET(self) -> None:
        quirks = self.server.quirks
        query = self.path.removeprefix(PATH).removeprefix("/")
        quirks.answer(Call(query, dict(self.headers.items()), quirks, self))

    def log_message(self, *_: Any) -> None:
        """A test that says nothing reads better."""


def outcome(severity: str, code: str, diagnostics: str = "Something is the matter.") -> Json:
    """An OperationOutcome with one issue."""
    issue = {"severity": severity, "code": code, "diagnostics": diagnostics}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def searchset(*resources: Json, **more: Any) -> Json:
    """A Bundle with these resources."""
    entries = [{"resource": one, "search": {"mode": "match"}} for one in resources]
    bundle = {"resourceType": "Bundle", "type": "searchset", **more}
    return {**bundle, "entry": entries} if entries else bundle


def with_next(bundle: Json, url: str) -> Json:
    return {**bundle, "link": [*bundle.get("link", []), {"relation": "next", "url": url}]}


# --- the quirks -------------------------------------------------------------------------------------


def status(code: int, **headers: str) -> Quirk:
    """This status, with an OperationOutcome as most servers send one."""
    return lambda call: call.send_json(outcome("error", "processing"), code, **headers)


def hang(call: Call) -> None:
    call.hang()


def drip_headers(call: Call) -> None:
    call.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Odd: yes\r\n" * 1_000)


def drip_body(call: Call) -> None:
    body = json.dumps(call.honest()).encode()
    call.send_raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 1_000}\r\n\r\n".encode())
    call.drip(body + b" " * 1_000)


def reset_mid_body(call: Call) -> None:
    body = json.dumps(call.honest()).encode()
    call.send_raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
    call.reset()


def close_mid_body(call: Call) -> None:
    """A whole Bundle, and yet shorter than was promised: the rest may have been the last entries."""
    body = json.dumps(searchset()).encode()
    call.send_raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) + 50}\r\n\r\n".encode() + body)


def close_without_a_word(call: Call) -> None:
    call.send_raw(b"")


def no_http(call: Call) -> None:
    call.send_raw(b"SSH-2.0-OpenSSH_9.2\r\n")


def odd_headers(call: Call) -> None:
    body = json.dumps(outcome("error", "processing")).encode()
    call.send_raw(
        b"HTTP/1.1 200 OK\r\nno header at all\r\nContent-Length: %d\r\nContent-Length: 7\r\n\r\n%b" % (len(body), body)
    )


def html(call: Call) -> None:
    call.send(b"<!DOCTYPE html><title>Sign in</title><form method=post>", kind="text/html")


def xml(call: Call) -> None:
    body = (
        '<?xml version="1.0"?><Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/><total value="0"/></Bundle>'
    )
    call.send(body.encode(), kind="application/fhir+xml")


def truncated(call: Call) -> None:
    call.send(json.dumps(call.honest()).encode()[:-20])


def empty(call: Call) -> None:
    call.send(b"")


def null(call: Call) -> None:
    """In prefetch null means that there is none. As the answer to a search it means nothing."""
    call.send(b"null")


def an_empty_object(call: Call) -> None:
    call.send(b"{}")


def an_empty_list(call: Call) -> None:
    call.send(b"[]")


def another_kind_of_bundle(call: Call) -> None:
    call.send_json({"resourceType": "Bundle", "type": "batch-response"})


def bare_resource(call: Call) -> None:
    """A resource where a list was asked for: nobody says that it is the only one."""
    call.send_json({"resourceType": call.kind, "id": "only-one", "status": "final"})


def of_another_type(call: Call) -> None:
    call.send_json(searchset({"resourceType": "Immunization", "id": "i", "status": "completed"}, total=1))


def gzip_bomb(call: Call) -> None:
    """40 MB of blanks in 40 kB, and a Bundle at the end."""
    call.send(_BOMB, Content_Encoding="gzip")


def redirect_with_a_bomb(call: Call) -> None:
    call.send(_BOMB, 302, Content_Encoding="gzip", Location="https://elsewhere.example/fhir")


_BOMB = gzip.compress(b" " * 40_000_000 + json.dumps(searchset()).encode(), 6)


def cut_gzip(call: Call) -> None:
    call.send(gzip.compress(json.dumps(searchset()).encode())[:-6], Content_Encoding="gzip")


def not_gzip(call: Call) -> None:
    call.send(json.dumps(searchset()).encode(), Content_Encoding="gzip")


def brotli(call: Call) -> None:
    call.send(json.dumps(searchset()).encode(), Content_Encoding="br")


def too_large(call: Call) -> None:
    call.send(b" " * 9_000_000 + json.dumps(searchset()).encode())


def too_many(call: Call) -> None:
    call.send_json(searchset(*({"resourceType": call.kind, "id": f"n-{n}"} for n in range(5_001))))


def too_deep(call: Call) -> None:
    call.send(b'{"resourceType": "Bundle", "type": "searchset", "entry": ' + b"[" * 5_000 + b"]" * 5_000 + b"}")


def endless_next(call: Call) -> None:
    """Each page is empty and says that there is one more."""
    number = next(_NUMBERS)
    call.send_json(with_next(searchset(), f"{call.server.base}/{call.kind}?page={number}"))


_NUMBERS = itertools.count(2)


def next_to_itself(call: Call) -> None:
    call.send_json(with_next(searchset(), f"{call.server.base}/{call.query}"))


def next_elsewhere(url: str) -> Quirk:
    """All that there is, and yet a next link: to a place that must not hear of her."""
    return lambda call: call.send_json(with_next(searchset(), url))


def next_that_fails(call: Call) -> None:
    if "page=2" in call.query:
        call.send_json(outcome("error", "exception"), 500)
    else:
        call.send_json(with_next(searchset(), f"{call.kind}?page=2"))


def next_that_is_an_outcome(call: Call) -> None:
    if "page=2" in call.query:
        call.send_json(outcome("error", "exception"))
    else:
        call.send_json(with_next(searchset(), f"{call.kind}?page=2"))


def outcome_alone(call: Call) -> None:
    call.send_json(outcome("error", "exception"))


def outcome_within(severity: str, code: str, **more: Any) -> Quirk:
    """An empty searchset with an OperationOutcome in it."""
    entry = {"resource": outcome(severity, code), "search": {"mode": "outcome"}}
    return lambda call: call.send_json({**searchset(**more), "entry": [entry]})


def total_above_what_came(call: Call) -> None:
    call.send_json({**call.honest(), "total": 1_000})


def total_that_is_no_number(call: Call) -> None:
    call.send_json({**searchset(), "total": "several"})


def junk_entries(call: Call) -> None:
    call.send_json({**searchset(), "entry": [None, 7, {}, {"resource": []}, {"resource": {"id": "x"}}]})


def of_another_patient(call: Call) -> None:
    """Her neighbour's, as if they were hers."""
    hers = call.honest()
    if hers["resourceType"] == "Bundle" and not hers.get("entry"):
        owner = {"reference": "Patient/woman-v01"}
        stray = {"resourceType": call.kind, "id": "stray", "status": "active", "code": {"text": "Fatigue"}}
        hers = searchset({**stray, "medicationCodeableConcept": {"text": "Iron"}, "subject": owner, "patient": owner})
    call.send(json.dumps(hers).replace("woman-v01", "woman-next-door").encode())


# --- quirks that do no harm -------------------------------------------------------------------------


def pages(size: int, *, doubled: bool = False) -> Quirk:
    """A few entries a page; `doubled`: each page begins with the last entry of the one before."""

    def answer(call: Call) -> None:
        search, _, begin = call.query.partition("&_begin=")
        call.query = search
        whole = call.honest()
        start, entries = int(begin or 0), whole.get("entry", [])
        page = {**whole, "entry": entries[max(0, start - doubled) : start + size]}
        if not page["entry"]:
            del page["entry"]
        if start + size < len(entries):
            page = with_next(page, f"{call.server.base}/{search}&_begin={start + size}")
        call.send_json(page)

    return answer


def with_an_epic_warning(call: Call) -> None:
    """Epic puts one beside every answer, whether it holds anything or not (codes 4119 and 4101)."""
    whole = call.honest()
    entry = {"resource": outcome("warning", "processing"), "search": {"mode": "outcome"}}
    call.send_json({**whole, "entry": [*whole.get("entry", []), entry]})


def zipped(call: Call) -> None:
    call.send(gzip.compress(json.dumps(call.honest()).encode()), Content_Encoding="gzip")


def in_chunks(call: Call) -> None:
    body = json.dumps(call.honest()).encode()
    parts = (body[i : i + 100] for i in range(0, len(body), 100))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    call.send_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    call.handler.close_connection = False


def one_answer_a_connection(call: Call) -> None:
    body = json.dumps(call.honest()).encode()
    call.send_raw(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + body)


def with_a_cookie(call: Call) -> None:
    call.send_json(call.honest(), Set_Cookie="session=4711; Path=/")


def long_ids(call: Call) -> None:
    """Epic's ids have up to 200 characters."""
    whole = call.honest()
    for entry in whole.get("entry", []):
        entry["resource"] = {**entry["resource"], "id": entry["resource"]["id"].ljust(200, "x")}
    call.send_json(whole)


# --- and all of them --------------------------------------------------------------------------------

ELSEWHERE = "https://elsewhere.example/fhir"
# Each costs the answer to the question, in part or whole: nothing that it does not show is known to be absent.
FAULTS: dict[str, Quirk] = {
    "400, an unsupported parameter": status(400),
    "401": status(401, WWW_Authenticate='Bearer realm="ehr"'),
    "403": status(403),
    "404": status(404),
    "406": status(406),
    "410": status(410),
    "429": status(429, Retry_After="0"),
    "500": status(500),
    "503": status(503, Retry_After="0"),
    "204": status(204),
    "206": status(206),
    "301 to another host": status(301, Location=ELSEWHERE),
    "307 to another port": status(307, Location="http://127.0.0.1:1/fhir"),
    "a redirect to nowhere": status(302, Location="http://[::"),
    "a redirect with a gzip bomb": redirect_with_a_bomb,
    "reset in the body": reset_mid_body,
    "closed in the body": close_mid_body,
    "closed without a word": close_without_a_word,
    "no HTTP": no_http,
    "odd headers": odd_headers,
    "HTML": html,
    "XML": xml,
    "half a JSON": truncated,
    "nothing": empty,
    "null": null,
    "an empty object": an_empty_object,
    "an empty list": an_empty_list,
    "another kind of Bundle": another_kind_of_bundle,
    "one bare resource": bare_resource,
    "resources of another type": of_another_type,
    "a gzip bomb": gzip_bomb,
    "half a gzip": cut_gzip,
    "gzip that is none": not_gzip,
    "an encoding that was not asked for": brotli,
    "too many bytes": too_large,
    "too many entries": too_many,
    "too many levels": too_deep,
    "a next without an end": endless_next,
    "a next to itself": next_to_itself,
    "a next on another host": next_elsewhere(f"{ELSEWHERE}/Condition?page=2"),
    "a next on another host, without a scheme": next_elsewhere("//elsewhere.example/fhir?page=2"),
    "a next that is none": next_elsewhere("http://[::"),
    "a next without a place": next_elsewhere(""),
    "a next that fails": next_that_fails,
    "a next that is an OperationOutcome": next_that_is_an_outcome,
    "an OperationOutcome with status 200": outcome_alone,
    "an error in the searchset": outcome_within("error", "exception", total=0),
    "a warning in the searchset, and no total": outcome_within("warning", "processing"),
    "a warning that it gave up": outcome_within("warning", "incomplete", total=0),
    "a warning that something is withheld": outcome_within("warning", "suppressed", total=0),
    "a total above what came": total_above_what_came,
    "a total that is no number": total_that_is_no_number,
    "junk for entries": junk_entries,
}
# By these the server says that there is something that this caller may not see.
RESTRICTED = {"401", "403", "a warning that something is withheld"}
# These are felt only by who waits.
SLOW: dict[str, Quirk] = {
    "no answer": hang,
    "headers that drip": drip_headers,
    "a body that drips": drip_body,
}
HARMLESS: dict[str, Quirk] = {
    "a page for each entry": pages(1),
    "duplicates across pages": pages(2, doubled=True),
    "a warning beside every answer": with_an_epic_warning,
    "gzip": zipped,
    "chunks": in_chunks,
    "a connection for each answer": one_answer_a_connection,
    "a cookie": with_a_cookie,
    "ids of 200 characters": long_ids,
}
