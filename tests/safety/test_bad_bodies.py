"""
Whatever comes in at the front door: a refusal in FHIR's words that repeats nothing, or an answer without a wrong dose.

Never a 500. The cases of `bad_json` and `bad_requests` are those of the readers' own tests, sent over HTTP.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import bad_json
import bad_requests
import pytest
from asking import (
    CANARY,
    ELIGIBLE,
    Change,
    ask,
    door_of,
    doses_in,
    drop,
    each,
    of_code,
    put,
    refusal_in,
)
from encoding import Json
from flask.testing import FlaskClient

from cds_service.hooks.strict_json import MOST_BYTES

CHART_REVIEW = "/cds-services/ppd-chart-review"
DELIVERY_ORDER = "/cds-services/ppd-delivery-order"


def chart_opened(**changes: Any) -> Json:
    """A chart is opened. The canary is the mother's id and name."""
    patient = {"resourceType": "Patient", "id": CANARY, "gender": "female", "birthDate": "1994-05-17"}
    return {
        "hook": "patient-view",
        "hookInstance": "3f0a1d52-8c0e-4a77-9d6e-2b6b1f6c9a10",
        "context": {"userId": "Practitioner/1", "patientId": CANARY},
        "prefetch": {"patient": patient | {"name": [{"family": CANARY}]}},
    } | changes


def raw(**changes: Any) -> bytes:
    return json.dumps(chart_opened(**changes)).encode()


def with_value(text: str) -> bytes:
    """A request in which one value is written as given."""
    return raw(extension={"x": 0}).replace(b'{"x": 0}', f'{{"x": {text}}}'.encode())


def as_long_as(size: int) -> bytes:
    """A request of this many bytes."""
    body = raw()
    return body + b" " * (size - len(body))


def nested(levels: int) -> str:
    """As an extension inside a request it stands two levels deep itself."""
    return "[" * (levels - 2) + "]" * (levels - 2)


@pytest.fixture
def door() -> FlaskClient:
    return door_of(ELIGIBLE)


# ---- Refused: the body

# What is wrong, the body, the status, what the refusal says.
BODIES: list[tuple[str, bytes, int, str]] = [
    *bad_json.BAD,
    ("a request cut short", raw()[:-20], 400, "not JSON"),
    ("a request and a comma", raw()[:-1] + b",}", 400, "not JSON"),
    ("a request in UTF-16", raw().decode().encode("utf-16"), 400, "not UTF-8"),
    ("a request with a byte of Latin-1", raw().replace(b"female", b"f\xe9male"), 400, "not UTF-8"),
    ("two patients", raw().replace(b'"userId"', b'"patientId": "other", "userId"'), 400, "twice"),
    ("two prefetches", raw()[:-1] + b', "prefetch": {}}', 400, "twice"),
    ("a name twice in an extension", with_value('1, "x": 2'), 400, "twice"),
    ("65 levels in a request", with_value(nested(65)), 400, "nested deeper than 64 levels"),
    ("5,000 levels in a request", with_value(nested(5_000)), 400, "nested deeper than 64 levels"),
    ("500,000 levels in a request", with_value(nested(500_000)), 400, "nested deeper than 64 levels"),
    ("a body of 2 MiB and a byte", as_long_as(MOST_BYTES + 1), 413, "larger than 2097152 bytes"),
    ("a body of 10 MiB", as_long_as(5 * MOST_BYTES), 413, "larger than 2097152 bytes"),
    ("60,000 objects in a request", with_value("[" + "{}," * 60_000 + "{}]"), 413, "objects and arrays"),
    ("a million numbers in a request", with_value("[" + "1," * 1_000_000 + "1]"), 413, "150000 values"),
    ("400,000 decimals in a request", with_value("[" + ".1,".rjust(4, "0") * 400_000 + "1]"), 413, "150000 values"),
    ("null", b"null", 400, "the body is not a JSON object"),
    ("a list of requests", json.dumps([chart_opened()]).encode(), 400, "the body is not a JSON object"),
    ("text", json.dumps(CANARY).encode(), 400, "the body is not a JSON object"),
    ("a number", b"4711", 400, "the body is not a JSON object"),
    ("an empty object", b"{}", 400, "hook is missing"),
    ("5,001 entries", raw(prefetch={"a": {"resourceType": "Bundle", "entry": [{}] * 5_001}}), 413, "5000 entries"),
]


@pytest.mark.parametrize(("body", "status", "says"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_a_bad_body_gets_a_refusal_that_repeats_nothing(door: FlaskClient, body: bytes, status: int, says: str) -> None:
    assert says in refusal_in(door.post(CHART_REVIEW, data=body, content_type="application/json"), status)


# ---- Refused: the envelope

ENVELOPES: list[tuple[str, Change, int, str]] = [
    *bad_requests.BAD,
    ("a number for the prefetch", put("prefetch", 4711), 400, "prefetch is not a JSON object"),
    ("true for the fhirServer", put("fhirServer", True), 400, "fhirServer is not text"),
    ("a list for the fhirServer", put("fhirServer", [CANARY]), 400, "fhirServer is not text"),
    ("a list for the authorization", put("fhirAuthorization", [CANARY]), 400, "is not a JSON object"),
    ("true for the authorization", put("fhirAuthorization", True), 400, "is not a JSON object"),
    ("a list for the patient of the token", put("fhirAuthorization.patient", [CANARY]), 400, "patient is not text"),
    ("a way up before the patientId", put("context.patientId", f"../{CANARY}"), 400, "is not a FHIR id"),
    ("a turn of direction in the patientId", put("context.patientId", f"{CANARY}\u202e"), 400, "cannot be printed"),
    ("a letter of no width in the patientId", put("context.patientId", f"{CANARY}\u200b"), 400, "cannot be printed"),
    ("a wide letter in the patientId", put("context.patientId", f"{CANARY}\uff11"), 400, "is not a FHIR id"),
    ("a script for the encounterId", put("context.encounterId", f"<script>{CANARY}"), 400, "is not a FHIR id"),
    ("a script for the userId", put("context.userId", f"Practitioner/<b>{CANARY}"), 400, "is not of the form"),
    ("5,000 characters for the encounterId", put("context.encounterId", "4" * 5_000), 400, "longer than"),
    ("no Patient at all", drop("prefetch"), 412, "Patient"),
    ("null for the prefetch", put("prefetch", None), 412, "Patient"),
    ("no text for the prefetch", put("prefetch", ""), 412, "Patient"),
    ("an empty prefetch", put("prefetch", {}), 412, "Patient"),
    ("text for the Patient", put("prefetch.patient", CANARY), 412, "Patient"),
    ("null for the Patient", put("prefetch.patient", None), 412, "Patient"),
    ("a list without the Patient", put("prefetch.patient", [{"resourceType": "Basic"}]), 412, "Patient"),
]


def ordered() -> Json:
    """A birth is ordered, with the canary all over: everything else in it is as it should be."""
    request = bad_requests.request()
    code = {"coding": [{"system": "http://snomed.info/sct", "code": "11466000"}], "text": CANARY}
    request["context"]["draftOrders"]["entry"][0]["resource"]["code"] = code
    return request


@pytest.mark.parametrize(("change", "status", "says"), [row[1:] for row in ENVELOPES], ids=[r[0] for r in ENVELOPES])
def test_a_bad_envelope_gets_a_refusal_that_names_the_member(
    door: FlaskClient, change: Change, status: int, says: str
) -> None:
    request = ordered()
    change(request)

    said = refusal_in(door.post(DELIVERY_ORDER, json=request), status)

    assert says in said
    assert "4711" not in said


def test_the_envelope_without_a_fault_is_answered(door: FlaskClient) -> None:
    assert door.post(DELIVERY_ORDER, json=ordered()).status_code == 200


# ---- Refused: the way in which it was sent

WAYS: list[tuple[str, Json, int]] = [
    *(
        (f"as {kind or 'nothing'}", {"content_type": kind}, 415)
        for kind in (
            *("text/plain", "application/x-www-form-urlencoded", "application/xml", "application/fhir+xml"),
            *("text/json", "", "application/xml; charset=utf-8", "text/plain; charset=utf-8", "json"),
            *("multipart/form-data; boundary=x", "application/json-patch+json", "application/cbor"),
        )
    ),
    *(
        (
            f"as JSON in {charset}, and it is",
            {"content_type": f"application/json; charset={charset}", "data": data},
            400,
        )
        for charset, data in (
            ("utf-16", raw().decode().encode("utf-16")),
            ("utf-16-le", raw().decode().encode("utf-16-le")),
            ("utf-32", raw().decode().encode("utf-32")),
            ("latin-1", raw().replace(b"female", b"f\xe9male")),
        )
    ),
    *(
        (f"in {encoding}", {"headers": {"Content-Encoding": encoding}, "data": data}, 415)
        for encoding, data in (
            ("gzip", gzip.compress(raw())),
            ("deflate", zlib.compress(raw())),
            ("br", raw()),
            ("zstd", raw()),
            ("gzip, gzip", gzip.compress(gzip.compress(raw()))),
            ("identity, gzip", gzip.compress(raw())),
        )
    ),
    (
        "as zeros that gzip made small",
        {"headers": {"Content-Encoding": "gzip"}, "data": gzip.compress(bytes(10**7))},
        415,
    ),
    *(
        (f"to {path}", {"path": path}, 404)
        for path in (
            f"/cds-services/{CANARY}",
            "/cds-services/ppd-delivery",
            "/cds-services/PPD-CHART-REVIEW",
            "/cds-services/%00",
            "/cds-services/..%2fhealthz",
            f"/cds-services/ppd-chart-review/{CANARY}",
            f"/{CANARY}",
            "/cds-services//ppd-chart-review",
        )
    ),
    *((f"by {method}", {"method": method}, 405) for method in ("GET", "PUT", "DELETE", "PATCH", "TRACE")),
    *((f"to {path}", {"path": path}, 405) for path in ("/cds-services", "/healthz", "/readyz", "/version")),
]


@pytest.mark.parametrize(("how", "status"), [row[1:] for row in WAYS], ids=[row[0] for row in WAYS])
def test_what_is_sent_in_another_way_is_refused(door: FlaskClient, how: Json, status: int) -> None:
    sent = {"path": CHART_REVIEW, "method": "POST", "data": raw(), "content_type": "application/json"} | how
    answer = door.open(**sent)
    refusal_in(answer, status)
    if "method" in how:
        assert "POST" in answer.headers["Allow"]


def test_a_head_is_refused_without_a_word(door: FlaskClient) -> None:
    answer = door.head(CHART_REVIEW)
    assert (answer.status_code, answer.data) == (405, b"")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "Application/JSON",
        "application/fhir+json",
        "application/fhir+json; fhirVersion=4.0",
    ],
)
def test_json_under_any_of_its_names_is_read(door: FlaskClient, content_type: str) -> None:
    answer = door.post(CHART_REVIEW, data=raw(), content_type=content_type)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert isinstance(answer.get_json()["cards"], list)


# Epic calls exactly the address that was registered, and few clients repeat a POST after a redirect. So both spellings
# are served, and neither redirects to the other.
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_trailing_slash_makes_no_difference(door: FlaskClient, slash: str) -> None:
    assert door.get(f"/cds-services{slash}").status_code == 200
    assert door.post(f"{CHART_REVIEW}{slash}", data=raw(), content_type="application/json").status_code == 200
    refusal_in(door.post(f"{CHART_REVIEW}{slash}", data=b"{", content_type="application/json"), 400)
    refusal_in(door.post(f"/cds-services/{CANARY}{slash}", data=raw(), content_type="application/json"), 404)
    refusal_in(door.get(f"{CHART_REVIEW}{slash}"), 405)


@pytest.mark.parametrize(
    "body",
    [raw(), b"\xef\xbb\xbf" + raw(), with_value(nested(64)), as_long_as(MOST_BYTES), with_value('"\\ud83d\\ude00"')],
    ids=["plain", "with a byte order mark", "64 levels", "2 MiB", "a character in two halves"],
)
def test_what_is_just_within_the_limits_is_read(door: FlaskClient, body: bytes) -> None:
    assert door.post(CHART_REVIEW, data=body, content_type="application/json").status_code == 200


# ---- Answered, and no dose: what blocks has been broken

LISTS = ("problems", "allergies", "medication_orders", "medication_administrations", "screens", "vital_signs")
FAILURE = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
BROKEN: dict[str, Callable[[str], Change]] = {
    "is not there": lambda key: drop(f"prefetch.{key}"),
    "is a failure": lambda key: put(f"prefetch.{key}", FAILURE),
    "is a failure in a Bundle": lambda key: put(f"prefetch.{key}.entry", [{"resource": FAILURE}]),
    "is text": lambda key: put(f"prefetch.{key}", CANARY),
    "is a number": lambda key: put(f"prefetch.{key}", 4711),
    "is an empty list": lambda key: put(f"prefetch.{key}", []),
    "is an empty object": lambda key: put(f"prefetch.{key}", {}),
    "has text for its entries": lambda key: put(f"prefetch.{key}.entry", CANARY),
    "has an entry without a resource": lambda key: put(f"prefetch.{key}.entry", [{"fullUrl": CANARY}]),
    "has null for an entry": lambda key: put(f"prefetch.{key}.entry", [None]),
    "has a Bundle for an entry": lambda key: put(f"prefetch.{key}.entry", [{"resource": {"resourceType": "Bundle"}}]),
    "counts more than came": lambda key: put(f"prefetch.{key}.total", 4711),
    "counts in words": lambda key: put(f"prefetch.{key}.total", "many"),
    "goes on elsewhere": lambda key: put(f"prefetch.{key}.link", [{"relation": "next", "url": "https://x/y"}]),
}
WEIGHT, EPDS_TOTAL, PRESSURE = "29463-7", "99046-5", "85354-9"


def quantity(value: Any, unit: str = "kg", **more: Any) -> Json:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit} | more


VALUES: dict[str, Change] = {
    **{
        f"a weight of {name}": of_code(WEIGHT, put("valueQuantity", value))
        for name, value in {
            "nothing": quantity(0),
            "less than nothing": quantity(-72.4),
            "text": quantity("seventy"),
            "true": quantity(True),
            "null": quantity(None),
            "a tonne": quantity(1_000),
            "19 kg": quantity(19),
            "72 pounds": quantity(72, "[lb_av]"),
            "72 millimetres": quantity(72, "mm[Hg]"),
            "72 of no unit": {"value": 72},
            "72 of a unit that nobody knows": quantity(72, "stone"),
            "more than 72 kg": quantity(72.4, comparator=">"),
            "another element": CANARY,
        }.items()
    },
    "a weight without a value": of_code(WEIGHT, drop("valueQuantity")),
    "a weight in text": of_code(WEIGHT, lambda one: one.update(valueString=f"{one.pop('valueQuantity')}")),
    "a weight entered in error": of_code(WEIGHT, put("status", "entered-in-error")),
    "a weight that was cancelled": of_code(WEIGHT, put("status", "cancelled")),
    "a weight without a status": of_code(WEIGHT, drop("status")),
    "a weight of long ago": of_code(WEIGHT, put("effectiveDateTime", "2026-04-01")),
    "a weight of next year": of_code(WEIGHT, put("effectiveDateTime", "2027-11-23")),
    "a weight of a year": of_code(WEIGHT, put("effectiveDateTime", "2026")),
    "a weight of no date": of_code(WEIGHT, put("effectiveDateTime", "lately")),
    "a weight without a code": of_code(WEIGHT, drop("code")),
    "vital signs without a date": each("Observation", effectiveDateTime="yesterday"),
    "vital signs entered in error": each("Observation", status="entered-in-error"),
    "observations of nobody": each("Observation", subject=None),
    "observations of 1900": each("Observation", effectiveDateTime="1900-01-01T00:00:00Z"),
    "no date of birth": drop("prefetch.patient.birthDate"),
    "a date of birth that is none": put("prefetch.patient.birthDate", "1995-13-45"),
    "a date of birth in the future": put("prefetch.patient.birthDate", "2031-01-01"),
    "seventeen years": put("prefetch.patient.birthDate", "2009-06-01"),
    "a number for the date of birth": put("prefetch.patient.birthDate", 19950527),
}
DRAFTS: dict[str, Change] = {
    "no draftOrders": drop("context.draftOrders"),
    "null for the draftOrders": put("context.draftOrders", None),
    "draftOrders without entries": drop("context.draftOrders.entry"),
    "an empty list of drafts": put("context.draftOrders.entry", []),
    "a Bundle within the draftOrders": put(
        "context.draftOrders.entry", [{"resource": {"resourceType": "Bundle", "entry": [{"resource": {}}]}}]
    ),
    "entries that hold nothing": put("context.draftOrders.entry", [None, 1, "x", [], {}, {"resource": None}]),
    "200 entries that hold nothing": put("context.draftOrders.entry", [{}] * 200),
    "an order of DSTU2": put(
        "context.draftOrders.entry.0.resource",
        {"resourceType": "MedicationOrder", "id": "o", "patient": {"reference": "Patient/woman-v01"}},
    ),
    "an order of no type": drop("context.draftOrders.entry.0.resource.resourceType"),
    "a code that is none": put("context.draftOrders.entry.0.resource.code", CANARY),
    "an order that is not to be done": put("context.draftOrders.entry.0.resource.doNotPerform", True),
}
NO_DOSE: dict[str, Change] = {
    **{f"{key} {name}": way(key) for key in LISTS for name, way in BROKEN.items()},
    **VALUES,
    **DRAFTS,
}


@pytest.mark.parametrize("change", NO_DOSE.values(), ids=NO_DOSE)
def test_while_something_that_blocks_is_broken_no_dose_is_shown(change: Change) -> None:
    answer = ask(ELIGIBLE, change)

    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert doses_in(answer.get_json()["cards"]) == []
    assert CANARY not in answer.get_data(as_text=True)


def test_unbroken_she_is_shown_a_dose() -> None:
    assert doses_in(ask(ELIGIBLE).get_json()["cards"])


HARMLESS: dict[str, Change] = {
    "the patientId with its type": put("context.patientId", "Patient/woman-v01"),
    "a hookInstance that is no UUID": put("hookInstance", "one"),
    "an extension of somebody's": put("extension", {"org.example.more": [1, None, {"a": "b"}]}),
    "null for the extension": put("extension", None),
    "text for the extension": put("extension", "more"),
    "null for the fhirServer": put("fhirServer", None),
    "a fhirServer that the site does not allow": put("fhirServer", "http://169.254.169.254/latest"),
    "a selection that is not drafted": lambda request: request["context"]["selections"].append("ServiceRequest/none"),
    "members that nobody knows": put("prefetch.more", {"a": None}),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_breaks_nothing_changes_no_advice(change: Change) -> None:
    def summaries(answer: Any) -> list[str]:
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return [card["summary"] for card in answer.get_json()["cards"]]

    assert summaries(ask(ELIGIBLE, change)) == summaries(ask(ELIGIBLE))


# ---- On a socket

SERVICE = """
import sys
sys.path[:0] = sys.argv[1:]
from asking import ELIGIBLE, advisor_of
from cds_service.web.app import create_app
from cds_service.web.server import serve

serve(create_app(advisor_of(ELIGIBLE)), "127.0.0.1", 0, threads=2, announce="open {url}/")
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The service as a process of its own."""
    folders = [path for path in sys.path if path.rstrip("/").endswith(("tests", "tests/safety"))]
    process = subprocess.Popen([sys.executable, "-c", SERVICE, *folders], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("open http://"), line
        yield int(urlsplit(line.split()[1]).port or 0)
    finally:
        process.kill()
        process.communicate()


def on_the_wire(headers: str, body: bytes = b"", line: str = f"POST {CHART_REVIEW} HTTP/1.1") -> bytes:
    kind = "Content-Type: application/json\r\n"
    return f"{line}\r\nHost: localhost\r\nConnection: close\r\n{kind}{headers}\r\n\r\n".encode("latin-1") + body


SIZE = len(raw())
CHUNKED = "Transfer-Encoding: chunked"
# What is sent, and the statuses that it may get. None: the server may hang up without a word, since nothing whole came.
SPOKEN: list[tuple[str, bytes, set[int | None]]] = [
    ("a length above what comes", on_the_wire(f"Content-Length: {SIZE + 99}", raw()), {400, None}),
    ("a length below what comes", on_the_wire(f"Content-Length: {SIZE - 9}", raw()), {400}),
    ("a length of nothing", on_the_wire("Content-Length: 0", raw()), {400}),
    ("no length", on_the_wire("X-A: b", raw()), {400, 411}),
    ("a length below nothing", on_the_wire("Content-Length: -1", raw()), {400}),
    ("a length in words", on_the_wire("Content-Length: many", raw()), {400}),
    ("two lengths", on_the_wire(f"Content-Length: {SIZE}\r\nContent-Length: 5", raw()), {400}),
    ("a length that is too large", on_the_wire(f"Content-Length: {10**12}", raw()), {413}),
    ("a chunk that lies", on_the_wire(CHUNKED, b"5\r\n" + raw() + b"\r\n0\r\n\r\n"), {400}),
    ("a chunk of no size", on_the_wire(CHUNKED, b"zz\r\n" + raw() + b"\r\n0\r\n\r\n"), {400}),
    ("a chunk that does not end", on_the_wire(CHUNKED, b"ffff\r\n" + raw()), {400, None}),
    ("chunks and a length", on_the_wire(f"{CHUNKED}\r\nContent-Length: 5", b"0\r\n\r\n"), {400}),
    ("half of a header", on_the_wire("X-A: b")[:-6], {400, None}),
    ("a header of 300 KB", on_the_wire("X-A: " + "b" * 300_000), {400, 431}),
    ("no HTTP", f"{CANARY}\r\n\r\n".encode(), {400}),
    # No accident: the status that RFC 9112 (6.1) has for it, and the only one above 499 that anybody can get here.
    ("another transfer encoding", on_the_wire("Transfer-Encoding: gzip", raw()), {501}),
    ("an HTTP of tomorrow", on_the_wire("X-A: b", line=f"GET {CHART_REVIEW} HTTP/9.9"), {400, 405}),
    ("an expectation that nobody has", on_the_wire("Expect: 200-ok\r\nContent-Length: 0"), {400, 417}),
    ("a TRACE", on_the_wire("X-A: b", line=f"TRACE {CHART_REVIEW} HTTP/1.1"), {405}),
    ("a NUL in the path", on_the_wire("X-A: b", line=f"GET /{CANARY}\0 HTTP/1.1"), {400, 404}),
]


@pytest.mark.parametrize(("sent", "may"), [row[1:] for row in SPOKEN], ids=[row[0] for row in SPOKEN])
def test_on_the_wire_nothing_makes_it_fail_or_wait(port: int, sent: bytes, may: set[int | None]) -> None:
    heard = b""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65_536):
            heard += part

    assert CANARY.encode() not in heard
    assert (int(heard.split()[1]) if heard else None) in may, heard[:200]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


# ---- How many


def test_there_are_as_many_as_were_asked_for(record_property: Callable[[str, object], None]) -> None:
    tables = [{row[0] for row in table} for table in (BODIES, ENVELOPES, WAYS, SPOKEN)]
    count = sum(map(len, (*tables, NO_DOSE, HARMLESS)))
    assert count >= 250
    record_property("safety", f"bad bodies and envelopes: {count} cases")
