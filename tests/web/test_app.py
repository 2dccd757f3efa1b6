"""What the front door lets in, what it answers, and what it never says."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
from heard import all_of, events

from cds_service import __version__
from cds_service.advisor import Answer
from cds_service.errors import ChartUnavailable, Overloaded, RequestUnreadable, ServiceUnknown, StoreUnavailable
from cds_service.events import Event
from cds_service.hooks.strict_json import MOST_BYTES
from cds_service.web.app import create_app
from cds_service.web.house import House
from cds_service.web.reloading import KEPT_BACK

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WHOSE = "Jane Roe, born 1990-01-01"
JSON = "application/json"


class FakeAdvisor:
    """An advisor that says nothing. `fails_with` is how a test breaks it; `heard` is what reached it."""

    def __init__(self):
        self.fails_with = None
        self.heard = []
        self.explanations = None
        self.again = date(2027, 1, 1)
        self.clock = lambda: NOW
        self.site = SimpleNamespace(review=None)
        self.knowledge = SimpleNamespace(signed=False, version="1", hash="sha256:abc", reviews_due={})
        self.wording = SimpleNamespace(reviews_due={"cards/X": self}, translation_signed=True)

    def discovery(self):
        return {"services": [{"id": "ppd-delivery-order", "hook": "order-select", "description": "…"}]}

    def answer(self, service_id, body):
        self.heard.append((service_id, body))
        if self.fails_with is not None:
            raise self.fails_with
        return Answer({"cards": []}, "nothing")


@pytest.fixture
def fake():
    return FakeAdvisor()


@pytest.fixture
def door(fake):
    return create_app(fake).test_client()


def call(door, data=b"{}", content_type=JSON, path="/cds-services/ppd-delivery-order", **more):
    return door.post(path, data=data, content_type=content_type, **more)


def outcome(response):
    """The one issue of an OperationOutcome; anything else fails the test."""
    assert response.content_type == "application/fhir+json"
    body = response.get_json(force=True)
    assert body["resourceType"] == "OperationOutcome"
    (issue,) = body["issue"]
    return issue


@pytest.mark.parametrize("path", ["/cds-services", "/cds-services/"])
def test_discovery_answers_with_and_without_a_slash_at_the_end(door, path):
    response = door.get(path)
    assert (response.status_code, response.content_type) == (200, JSON)
    assert response.get_json()["services"][0]["id"] == "ppd-delivery-order"


@pytest.mark.parametrize("path", ["/cds-services/ppd-delivery-order", "/cds-services/ppd-delivery-order/"])
def test_a_call_with_a_slash_too_many_is_answered_and_never_redirected(door, fake, path):
    response = call(door, b'{"a": 1}', path=path)
    assert (response.status_code, response.get_json()) == (200, {"cards": []})
    assert fake.heard == [("ppd-delivery-order", b'{"a": 1}')]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json; charset="utf8"',
        "Application/JSON; Charset=Utf_8",
        "application/fhir+json",
        "application/fhir+json; charset=utf-8; fhirVersion=4.0",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=klingon",
    ],
)
def test_json_is_read_whatever_charset_is_named(door, content_type):
    assert call(door, content_type=content_type).status_code == 200


# ---- Where nobody has to say who they are

HERE = [
    "localhost",
    "LOCALHOST:8000",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:18710",
    "127.0.0.53:80",
    "[::1]",
    "[::1]:8000",
]
ELSEWHERE = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost.",
    "192.0.2.1:8000",
    "0.0.0.0:8000",
    "[2001:db8::1]:8000",
    "[::1",
    "::1]",
    "",
]


@pytest.mark.parametrize("host", HERE)
def test_a_name_of_this_machine_is_answered(door, host):
    assert door.get("/cds-services", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("path", ["/cds-services", "/readyz", "/docs", "/nowhere"])
def test_a_strangers_name_that_leads_to_this_machine_is_refused(door, fake, host, path):
    response = door.get(path, headers={"Host": host})
    assert response.status_code == 403
    assert outcome(response)["code"] == "forbidden"
    assert call(door, headers={"Host": host}).status_code == 403
    assert fake.heard == []


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_where_a_token_tells_who_asks_the_host_is_no_matter(fake, host):
    trust = SimpleNamespace(admit=lambda *_: SimpleNamespace(id="north"))
    door = create_app(House({"north": fake}, trust)).test_client()
    assert door.get("/cds-services", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "text/json", "application/xml", "application/xml; charset=utf-8", "application/jsonp"],
)
def test_anything_else_is_415_and_does_not_reach_the_advisor(door, fake, content_type):
    response = call(door, content_type=content_type)
    assert response.status_code == 415
    assert "Content-Type" in outcome(response)["diagnostics"]
    assert fake.heard == []


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
def test_a_compressed_body_is_415(door, fake, encoding):
    response = call(door, headers={"Content-Encoding": encoding})
    assert response.status_code == 415
    assert "Content-Encoding" in outcome(response)["diagnostics"]
    assert fake.heard == []


def test_a_body_that_says_it_is_not_compressed_is_read(door):
    assert call(door, headers={"Content-Encoding": "Identity"}).status_code == 200


def test_a_body_of_exactly_the_cap_is_read(door):
    assert call(door, b" " * MOST_BYTES).status_code == 200


def test_a_body_one_byte_above_the_cap_is_413(door, fake):
    response = call(door, b" " * (MOST_BYTES + 1))
    assert response.status_code == 413
    assert str(MOST_BYTES) in outcome(response)["diagnostics"]
    assert fake.heard == []


def test_a_body_above_the_cap_that_does_not_tell_its_length_is_413(door, fake):
    body = io.BytesIO(b" " * (MOST_BYTES + 1))
    chunked = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response = call(door, None, environ_overrides=chunked)
    assert response.status_code == 413
    assert fake.heard == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestUnreadable("hook is missing"), 400, "structure"),
        (RequestUnreadable("the body is larger", status=413), 413, "structure"),
        (ServiceUnknown("no service has this id"), 404, "not-found"),
        (ChartUnavailable("the patient cannot be had"), 412, "required"),
    ],
)
def test_a_refusal_becomes_its_status_and_says_what_is_wrong(door, fake, error, status, code):
    fake.fails_with = error
    response = call(door)
    issue = outcome(response)
    assert (response.status_code, issue["code"], issue["diagnostics"]) == (status, code, str(error))


@pytest.mark.parametrize(
    ("error", "outcome_of_call"),
    [
        (StoreUnavailable("the audit cannot be written now"), "unavailable"),
        (Overloaded("too much is asked"), "unavailable"),
        (RequestUnreadable("hook is missing"), "refused"),
    ],
)
def test_what_answers_503_is_told_as_unavailable_and_of_whom(fake, caplog, error, outcome_of_call):
    fake.fails_with = error
    trust = SimpleNamespace(admit=lambda *_: SimpleNamespace(id="north"))
    with caplog.at_level(logging.INFO):
        call(create_app(House({"north": fake}, trust)).test_client())
    (told,) = events(caplog, Event.CALL)
    assert (told["outcome"], told["tenant"]) == (outcome_of_call, "north")


def test_an_unknown_address_is_404(door):
    assert outcome(door.get("/nowhere"))["code"] == "not-found"


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_a_service_takes_post_only_and_says_so(door, method):
    response = getattr(door, method)("/cds-services/ppd-delivery-order")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert outcome(response)["code"] == "not-supported"


def test_an_accident_is_500_with_a_correlation_id_and_nothing_else(door, fake, caplog):
    fake.fails_with = KeyError(WHOSE)
    with caplog.at_level(logging.DEBUG):
        response = call(door, json.dumps({"name": WHOSE}).encode())
    said = outcome(response)["diagnostics"]
    number = said.rpartition(" ")[2]
    assert response.status_code == 500
    assert WHOSE not in response.get_data(as_text=True)
    assert "KeyError" not in said
    assert WHOSE not in all_of(caplog)
    (told,) = events(caplog, Event.UNEXPECTED)
    assert (told["correlation_id"], told["error"]) == (number, "KeyError")
    assert "test_app.py:" in told["place"]


def test_an_accident_after_the_answer_is_not_quoted_in_the_log_either(fake, caplog):
    app = create_app(fake)

    @app.after_request
    def stumble(_response):
        raise ValueError(WHOSE)

    response = app.test_client().get("/healthz")
    assert response.status_code == 500
    assert WHOSE not in all_of(caplog)


@pytest.mark.parametrize("path", ["/cds-services", "/healthz", "/nowhere"])
def test_every_answer_carries_the_security_headers(door, path):
    headers = door.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Referrer-Policy"] == "no-referrer"


def test_it_is_alive(door):
    assert door.get("/healthz").get_json() == {"status": "ok"}


def test_it_tells_its_version(door):
    told = door.get("/version").get_json()
    assert told == {"service": __version__, "cdsHooks": "2.0", "knowledge": "sha256:abc", "reviewed": False}


def test_without_a_clinical_review_it_is_degraded_but_answers(door):
    response = door.get("/readyz")
    assert response.status_code == 200
    assert response.get_json()["status"] == "degraded"
    assert "not clinically reviewed" in response.get_json()["because"][0]


def test_once_the_site_has_signed_this_knowledge_it_is_ready(door, fake):
    fake.site.review = SimpleNamespace(knowledge="sha256:abc")
    assert door.get("/readyz").get_json() == {"status": "ready"}


def test_a_signature_under_other_knowledge_does_not_count(door, fake):
    fake.site.review = SimpleNamespace(knowledge="sha256:def")
    assert door.get("/readyz").get_json()["status"] == "degraded"


def test_a_review_that_is_overdue_degrades(door, fake):
    fake.knowledge.signed = True
    fake.again = NOW.date() - timedelta(days=1)
    assert door.get("/readyz").get_json() == {
        "status": "degraded",
        "because": ["A review of the knowledge or of the cards is overdue."],
    }


@pytest.mark.parametrize("kept_back", [True, False])
def test_a_changed_file_that_is_kept_back_degrades(door, fake, kept_back):
    fake.site.review = SimpleNamespace(knowledge="sha256:abc")
    response = door.get("/readyz", environ_overrides={KEPT_BACK: kept_back})
    because = ["A changed tenants file has defects; an older one is in force."]
    assert response.status_code == 200
    assert response.get_json() == ({"status": "degraded", "because": because} if kept_back else {"status": "ready"})


def test_there_is_no_demonstration_unless_asked_for(door):
    assert door.get("/demo").status_code == 404
    assert door.get("/").status_code == 404
