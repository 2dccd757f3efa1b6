"""A patient's words go in at every place, and come out at none: not in a log, a metric, a refusal or the records."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from canaries import Flock, headers, in_call, jwt, with_leave
from conftest import NOON
from cryptography.hazmat.primitives.asymmetric import ec
from ehr import Ehr, request_for
from encoding import Case, Json, read_cases, site_of
from flask.testing import FlaskClient
from jwt.algorithms import ECAlgorithm
from real_server import Handler, listening
from werkzeug.test import TestResponse

from cds_service.advisor import Advisor
from cds_service.ehr.client import Question
from cds_service.ehr.gathering import Sources
from cds_service.ehr.keys import Keys
from cds_service.ehr.trust import Trust
from cds_service.events import Event, listen, log_to, tell
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.request import parse_request
from cds_service.knowledge import Knowledge
from cds_service.records import Pseudonyms, Records
from cds_service.records.export import fhir, ndjson
from cds_service.records.memory import Memory
from cds_service.rendering.wording import Wording
from cds_service.settings import Site, Terms
from cds_service.tenants import Tenant
from cds_service.web.app import create_app
from cds_service.web.house import House
from cds_service.web.metrics import Metrics

CASES = {case.id: case for case in read_cases()}
ORDERED = CASES["V01"]  # a birth is ordered
DRAFTED = CASES["N21"]  # esketamine is drafted, and too much of it
FEWEST = 60
BASE_URL = "https://cds.example.org"
SERVICE = "/cds-services/ppd-delivery-order"
# What names an entry of the chart may stand on a card and in its buttons, since the EHR must find it. Words may not.
NAMES = ("id", "her id", "her stay", "the ids of her entries", "hookInstance", "userId")


@dataclass
class Sent:
    """A service with all its stores, everything that was sent to it, and what it said to whom."""

    flock: Flock
    out: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    cards: list[Json] = field(default_factory=list)
    unplanted: list[Json] = field(default_factory=list)

    def call(self, door: FlaskClient, path: str, body: Any, expects: int, **more: Any) -> TestResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        around = {"Content-Type": "application/json", **headers(self.flock), **more.pop("headers", {})}
        answer = door.open(path, method=more.pop("method", "POST"), data=data, headers=around, **more)
        self.said.append(f"{path} {around} {data.decode('utf-8', 'replace')}")
        assert answer.status_code == expects, (path, answer.status_code, answer.get_data(as_text=True)[:300])
        if not path.startswith("/cds-services") or expects != 200 or "feedback" in path:
            heard = f"{answer.status_code} {answer.headers} {answer.get_data(as_text=True)}\n"
            self.out["answers"] = self.out.get("answers", "") + heard
        else:
            self.cards += answer.get_json()["cards"]
        return answer


# ---- The service, and a day of its life


class Clumsy:
    """A client that falls over its own feet, and quotes all that it was given."""

    def __init__(self, flock: Flock) -> None:
        self.flock = flock

    def visit(self, fhir_server: str | None, authorization: object) -> None:
        try:
            raise KeyError(fhir_server)
        except KeyError as error:
            raise ValueError(f"{authorization!r} {' '.join(self.flock.words.values())}") from error


@dataclass(frozen=True)
class Makes:
    """Makes the advisors of one service, which share its records."""

    knowledge: Knowledge
    wording: Wording
    records: Records

    def advisor(self, case: Case, **changes: Any) -> Advisor:
        site = Site.from_table(site_of(case) | changes)
        sources = Sources.of(site, self.knowledge)
        return self.over(site, sources)

    def over(self, site: Site, sources: Sources) -> Advisor:
        terms = Terms("north", "https://ehr.example.org")
        memory = Memory(self.records.trail, Pseudonyms(b"k" * 32), terms)
        return Advisor(self.knowledge, self.wording, site, lambda: NOON, sources, memory=memory, terms=terms)

    def clumsy(self, case: Case, flock: Flock) -> Advisor:
        site = Site.from_table(site_of(case))
        return self.over(site, replace(Sources.of(site, self.knowledge), client=Clumsy(flock)))  # type: ignore[arg-type]


def door_of(makes: Makes, advisor: Advisor, metrics: Metrics | None = None) -> FlaskClient:
    return create_app(House({"north": advisor}), records=makes.records, metrics=metrics).test_client()


@pytest.fixture(scope="module")
def day(knowledge: Knowledge, wording: Wording, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """Every kind of call, with canaries in each, and all that came out of the service."""
    sent = Sent(Flock())
    log = io.StringIO()
    metrics = Metrics(knowledge, ("north",))
    records = Records.in_memory()
    makes = Makes(knowledge, wording, records)
    loggers = [logging.getLogger(name) for name in ("", *logging.root.manager.loggerDict)]
    levels = [(logger, logger.level) for logger in loggers]
    with ExitStack() as stack:
        stack.callback(log_to(log, logging.DEBUG))
        stack.callback(listen(metrics.hear))
        for logger, level in levels:
            stack.callback(logger.setLevel, level)
            logger.setLevel(logging.DEBUG)
        door = door_of(makes, makes.advisor(ORDERED), metrics)
        good_calls(sent, makes)
        calls_that_read_on(sent, makes)
        calls_about_two_women(sent, door)
        unreadable_calls(sent, door)
        accidents(sent, makes)
        reports(sent, makes)
        callers(sent, makes, tmp_path_factory.mktemp("keys"))
        for path in ("/metrics", "/readyz", "/version", "/healthz", "/docs", "/openapi.json"):
            answer = door.get(path, headers=headers(sent.flock), query_string={"x": sent.flock("a query")})
            sent.out["answers"] += answer.get_data(as_text=True)
    sent.said.append(sent.flock("a query"))
    sent.out["log"] = log.getvalue()
    sent.out["metrics"] = metrics.exposition().decode()
    rows = list(records.trail.entries())
    sent.out["audit rows"] = "\n".join(map(str, rows))
    sent.out["audit as JSON lines"] = "\n".join(ndjson(rows))
    sent.out["audit as AuditEvents"] = "\n".join(fhir(rows))
    yield sent
    records.close()


def asked(advisor: Advisor, case: Case) -> Json:
    return request_for(case, NOON, advisor.discovery())


def good_calls(sent: Sent, makes: Makes) -> None:
    for case in (ORDERED, DRAFTED):
        advisor = makes.advisor(case)
        door, request = door_of(makes, advisor), asked(advisor, case)
        sent.call(door, SERVICE, in_call(request, sent.flock), 200)
        sent.call(door, SERVICE, in_call(request, sent.flock, legible=True), 200)
        sent.unplanted += advisor.answer("ppd-delivery-order", json.dumps(request).encode()).body["cards"]
    door = door_of(makes, makes.advisor(ORDERED))
    irrelevant = in_call(asked(makes.advisor(ORDERED), ORDERED), sent.flock)
    irrelevant["context"]["userId"] = f"Patient/{irrelevant['context']['patientId']}"
    sent.call(door, SERVICE, irrelevant, 200, query_string={"patient": sent.flock("a query")})


def calls_that_read_on(sent: Sent, makes: Makes) -> None:
    """The chart comes from a server, which answers well, in HTML, with an error, and with a link elsewhere."""
    flock = sent.flock
    request = in_call(asked(makes.advisor(ORDERED), ORDERED), flock)
    prefetch = request["prefetch"]
    chart = [e["resource"] for bundle in prefetch.values() for e in bundle.get("entry", [])]
    chart += [prefetch["patient"], prefetch["encounter"]]
    ehr = Ehr({request["context"]["patientId"]: [one for one in chart if one.get("id")]})

    class Serve(Handler):
        def page(self, body: bytes) -> tuple[int, str, bytes]:  # noqa: ARG002
            query = self.path.partition("/fhir/")[2]
            html = f"<html>{flock('a page of HTML')}</html>".encode()
            kind = query.partition("?")[0].partition("/")[0]
            odd = f"text/html; charset={flock('a charset')}"
            match kind:
                case "Procedure":
                    return 500, odd, html
                case "AllergyIntolerance":
                    return 200, odd, html
                case "ServiceRequest":
                    return 403, odd, json.dumps({"issue": [{"diagnostics": flock("an outcome of theirs")}]}).encode()
            answer = ehr.get(query)
            if kind == "MedicationStatement":
                where = f"https://elsewhere.example.org/{flock('a link elsewhere')}"
                answer = answer | {"link": [{"relation": "next", "url": where}]}
            return 200, "application/fhir+json", json.dumps(answer).encode()

    with listening(Serve) as origin:
        base = f"{origin}/{flock('the path of fhirServer')}/fhir"
        advisor = makes.advisor(ORDERED, ehr={"servers": [base], "budget_ms": 20_000})
        door = door_of(makes, advisor)
        bare = {**with_leave(request, base, flock), "prefetch": {}}
        sent.call(door, SERVICE, bare, 200)
        nobody = with_leave(request, f"https://{flock('another host').lower()}.example.org/fhir", flock)
        sent.call(door, SERVICE, {**nobody, "prefetch": {}}, 412)
        late = {**bare, "fhirAuthorization": {**bare["fhirAuthorization"], "expires_in": 0}}
        sent.call(door, SERVICE, late, 412)
    sent.call(door, SERVICE, bare, 412)  # the server is gone
    places = ("a page of HTML", "a charset", "an outcome of theirs", "a link elsewhere")
    sent.said += [flock(place) for place in places]


def calls_about_two_women(sent: Sent, door: FlaskClient) -> None:
    other = {"reference": f"Patient/{sent.flock('the id of another woman')}", "display": sent.flock("another woman")}
    request = sent_before(sent)
    for change in (
        lambda call: call["prefetch"]["patient"].update(id=sent.flock("the id of another woman")),
        lambda call: call["context"]["draftOrders"]["entry"][0]["resource"].update(subject=other),
        lambda call: call["prefetch"]["encounter"].update(subject=other),
        lambda call: call["prefetch"]["problems"]["entry"][0]["resource"].update(subject=other),
        lambda call: call["prefetch"].pop("patient"),
    ):
        mixed = json.loads(json.dumps(request))
        change(mixed)
        sent.call(door, SERVICE, mixed, 412)


def sent_before(sent: Sent) -> Json:
    """The first call of the day, as it was sent."""
    first: Json = json.loads(sent.said[0].partition("} ")[2])
    return first


def unreadable_calls(sent: Sent, door: FlaskClient) -> None:
    flock, request = sent.flock, sent_before(sent)

    def changed(**members: Any) -> Json:
        return {**request, **members}

    def context(**members: Any) -> Json:
        return changed(context={**request["context"], **members})

    leave = with_leave(request, f"https://ehr.example.org/{flock('a base that is none')}?x", flock)
    authorized = with_leave(request, "https://ehr.example.org/fhir", flock)
    wrong: list[tuple[Any, int]] = [
        (changed(hook=flock("a hook")), 400),
        (changed(hook=[flock("a hook in a list")]), 400),
        (changed(hookInstance={"value": flock("a hookInstance in an object")}), 400),
        (changed(context=flock("a context in words")), 400),
        (changed(prefetch=[flock("a prefetch in a list")]), 400),
        (context(patientId=f"../{flock('an id that climbs')}"), 400),
        (context(patientId=f"/etc/{flock('a file')}\n"), 400),
        (context(patientId=[flock("an id in a list")]), 400),
        (context(userId=flock("a user without a type")), 400),
        (context(encounterId=f"{flock('a stay')} <script>"), 400),
        (context(selections=flock("selections in words")), 400),
        (context(draftOrders=flock("drafts in words")), 400),
        (leave, 400),
        ({**authorized, "fhirAuthorization": flock("a leave in words")}, 400),
        ({**authorized, "fhirAuthorization": {"access_token": f"{flock('a token with a blank')} x"}}, 400),
        (changed(fhirAuthorization={"access_token": flock("a token without a server")}), 400),
        ({flock("a name"): flock("nothing but words")}, 400),
        ([flock("a list")], 400),
        (flock("a text"), 400),
        (f'{{"{flock("cut off")}": '.encode(), 400),
        (f'{{"{flock("a name twice")}": 1, "{flock("a name twice")}": 2}}'.encode(), 400),
        (f'{{"hook": NaN{flock("no JSON")}}}'.encode(), 400),
        (f"<Bundle>{flock('XML')}</Bundle>".encode(), 400),
        (flock("in UTF-16").encode("utf-16"), 400),
        (f'{{"a": "\\ud800{flock("half a character")}"}}'.encode(), 400),
        (b"[" * 200 + flock("too deep").encode(), 400),
    ]
    for body, status in wrong:
        sent.call(door, SERVICE, body, status)
    sent.call(door, f"/cds-services/{flock('a service')}", request, 404)
    sent.call(door, f"/cds-services/{flock('a service')}/feedback", {"feedback": []}, 404)
    sent.call(door, f"/{flock('an address')}", request, 404)
    sent.call(door, f"{SERVICE}/{flock('more of a path')}", request, 404)
    sent.call(door, f"/consultations/{flock('a consultation')}", b"", 404, method="GET")
    sent.call(door, SERVICE, request, 405, method="PUT", query_string={flock("the name of a query"): "1"})
    sent.call(door, SERVICE, request, 415, headers={"Content-Type": f"text/{flock('a content type')}"})
    sent.call(door, SERVICE, request, 415, headers={"Content-Encoding": flock("a content encoding")})
    many = [{"resource": {"resourceType": "ServiceRequest", "id": flock("one of too many")}}] * 201
    sent.call(door, SERVICE, context(draftOrders={"resourceType": "Bundle", "entry": many}), 413)
    sent.said += [flock("in UTF-16"), flock("the name of a query")]


def accidents(sent: Sent, makes: Makes) -> None:
    """What goes wrong within a call: 500, or a card that says so where a medicine is drafted."""
    request = sent_before(sent)
    clumsy = makes.clumsy(ORDERED, sent.flock)
    sent.call(door_of(makes, clumsy), SERVICE, request, 500)
    clumsy = makes.clumsy(DRAFTED, sent.flock)
    drafted = in_call(asked(clumsy, DRAFTED), sent.flock)
    answer = sent.call(door_of(makes, clumsy), SERVICE, drafted, 200)
    assert len(answer.get_json()["cards"]) == 1
    # Flask itself stumbles, after the answer.
    app = create_app(House({"north": clumsy}), records=makes.records)

    @app.after_request
    def stumble(_: Any) -> Any:
        raise OSError(" ".join(sent.flock.words.values()))

    sent.call(app.test_client(), SERVICE, request, 500)


def reports(sent: Sent, makes: Makes) -> None:
    flock = sent.flock
    feedback = f"{SERVICE}/feedback"
    door = door_of(makes, makes.advisor(ORDERED))
    reason = {
        "reason": {"system": f"urn:{flock('the system of a reason')}", "code": flock("the code of a reason")},
        "userComment": flock("a comment"),
    }
    epic = {"com.epic.cdshooks.feedback.overrideReason.userComment": flock("a comment in an extension")}
    items: list[Any] = [
        {"card": flock("a card"), "outcome": "accepted", "acceptedSuggestions": [{"id": flock("a suggestion")}]},
        {"card": flock("a card"), "outcome": "overridden", "overrideReason": reason, "extension": epic},
        {"card": flock("a card"), "outcome": flock("an outcome of a card")},
        {"card": flock("a long card") * 20, "outcome": "accepted"},
        flock("an item in words"),
    ]
    sent.call(door, feedback, {"feedback": items, flock("a member of a report"): 1}, 200)
    for body in ({"feedback": flock("a report in words")}, {"feedback": items[2:]}, [flock("a report in a list")]):
        sent.call(door, feedback, body, 400)
    # The ids of cards and the codes of reasons are kept as they came: they are what feedback is about.
    as_sent = {"card", "suggestion", "reason_system", "reason_code"}
    rows = makes.records.feedback.all()
    sent.out["feedback"] = str([{name: row[name] for name in row.keys() - as_sent} for row in rows])


def callers(sent: Sent, makes: Makes, folder: Path) -> None:
    """Tokens: forged ones with a canary in each claim, and a good one that says more than it must."""
    flock = sent.flock
    private = ec.generate_private_key(ec.SECP384R1())
    public = {**json.loads(ECAlgorithm.to_jwk(private.public_key())), "kid": "k1", "use": "sig", "alg": "ES384"}
    (folder / "keys.json").write_text(json.dumps({"keys": [public]}))
    tenant = Tenant(id="north", issuer="https://ehr.example.org", jwks_file=folder / "keys.json")
    advisor = makes.advisor(ORDERED)
    records = Records.in_memory()
    keys = {"north": Keys.of(tenant, production=False)}
    trust = Trust((tenant,), keys, records.tokens.spend, BASE_URL, lambda: NOON)
    door = create_app(House({"north": advisor}, trust, {}, keys), records=records).test_client()
    now = int(NOON.timestamp())
    claims = {
        "iss": "https://ehr.example.org",
        "aud": f"{BASE_URL}{SERVICE}",
        "iat": now,
        "exp": now + 300,
        "jti": flock("claim jti"),
        "sub": flock("claim sub"),
        "patient": flock("claim patient"),
    }
    good = pyjwt.encode(claims, private, "ES384", {"kid": "k1", "typ": "JWT"})
    forged = [
        jwt(flock),
        jwt(flock, jku=f"https://{flock('jku')}.example.org/keys"),
        jwt(flock, kid=f"../{flock('kid')}", alg="none"),
        pyjwt.encode({**claims, "aud": flock("claim aud")}, private, "ES384", {"kid": "k1", "typ": "JWT"}),
        pyjwt.encode(claims, private, "ES384", {"kid": flock("kid"), "typ": "JWT"}),
        pyjwt.encode({**claims, "exp": flock("claim exp")}, private, "ES384", {"kid": "k1", "typ": "JWT"}),
        f"{flock('a token without a dot')}",
    ]
    request = sent_before(sent)
    for header in [*(f"Bearer {token}" for token in forged), f"Basic {flock('a password')}", flock("a bare header")]:
        answer = sent.call(door, SERVICE, request, 401, headers={"Authorization": header})
        assert answer.get_data() == b""
    sent.call(door, SERVICE, request, 200, headers={"Authorization": f"Bearer {good}"})
    again = sent.call(door, SERVICE, request, 401, headers={"Authorization": f"Bearer {good}"})
    assert again.get_data() == b""
    records.close()


# ---- The hunt


SINKS = (
    "answers",
    "log",
    "metrics",
    "audit rows",
    "audit as JSON lines",
    "audit as AuditEvents",
    "feedback",
)


@pytest.mark.parametrize("sink", SINKS)
def test_no_word_of_hers_comes_out(sink: str, day: Sent) -> None:
    assert day.out[sink], "the sink is empty: nothing was tried"
    assert day.flock.found_in(day.out[sink]) == []
    assert "zebrafinch" not in day.out[sink].lower()


def test_the_hunt_was_for_at_least_sixty_words_each_of_which_was_really_sent(
    day: Sent, record_property: Callable[[str, object], None]
) -> None:
    planted = set(day.flock.words)
    went_in = set(day.flock.found_in("\n".join(day.said)))
    hits = sum(len(day.flock.found_in(day.out[sink])) for sink in SINKS)
    told = f"{len(planted)} words in {len(day.said)} calls and pages, {len(SINKS)} sinks, {hits} hits"
    record_property("safety", f"privacy canaries: {told}")

    assert planted - went_in == set()
    assert len(planted) >= FEWEST
    assert hits == 0


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("written", [str, str.upper, lambda word: f"x{word}y", lambda word: json.dumps({"a": word})])
def test_a_leak_would_be_found(sink: str, written: Callable[[str], str], day: Sent) -> None:
    for place, word in day.flock.words.items():
        assert day.flock.found_in(day.out[sink] + written(word)) == [place]


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_leak_in_base64_would_be_found(before: str, day: Sent) -> None:
    for place, word in day.flock.words.items():
        encoded = pyjwt.utils.base64url_encode(f"{before}{word}{before}".encode()).decode()
        assert place in day.flock.found_in(encoded)


def test_a_leak_through_the_log_itself_would_be_found(day: Sent) -> None:
    """Our last guard cannot know a name from a word: that no code tells one is what the hunt is for."""
    log = io.StringIO()
    put_back = log_to(log)
    tell(Event.IDENTITY_MISMATCH, what=day.flock("Patient.family"))
    put_back()

    assert day.flock.found_in(log.getvalue()) == ["Patient.family"]


def test_the_log_tells_of_each_kind_of_call(day: Sent) -> None:
    lines = [json.loads(line) for line in day.out["log"].splitlines()]
    told = {line["event"] for line in lines}

    assert {
        "call",
        "caller_refused",
        "evaluation_failed",
        "unexpected",
        "feedback",
        "fhir_read",
        "fhir_server_refused",
        "identity_mismatch",
        "card_returned",
    } <= told
    read = {(line["resource"], line["status"]) for line in lines if line["event"] == "fhir_read"}
    assert {("Procedure", "500"), ("AllergyIntolerance", "unreadable"), ("ServiceRequest", "403")} <= read
    assert ("Patient", "200") in read


# ---- On a card


def test_a_card_shows_numbers_units_and_dates_from_her_chart_and_none_of_its_words(day: Sent) -> None:
    words = Flock({place: word for place, word in day.flock.words.items() if not place.startswith(NAMES)})
    shown = [_text(card) for card in day.cards]

    assert words.found_in("\n".join(shown)) == []
    assert {_topic(card) for card in day.cards} >= {_topic(card) for card in day.unplanted}
    assert any("72.4 kg" in text and "2026-" in text for text in shown)


def _text(card: Json) -> str:
    """What a clinician reads: everything but the drafts behind the buttons, which are her orders themselves."""
    buttons = [
        {**button, "actions": [{**action, "resource": None, "resourceId": None} for action in button["actions"]]}
        for button in card.get("suggestions", [])
    ]
    return json.dumps({**card, "suggestions": buttons}, ensure_ascii=False)


def _topic(card: Json) -> str:
    return card["source"]["topic"]["code"]


# ---- In this process


def test_no_object_of_a_call_shows_her_words(advisor: Advisor) -> None:
    flock = Flock()
    call = with_leave(in_call(asked(advisor, ORDERED), flock), f"https://x.example.org/{flock('fhirServer')}", flock)
    request = parse_request(call)
    items, _ = parse_feedback(
        {
            "feedback": [
                {
                    "card": flock("a card"),
                    "outcome": "overridden",
                    "overrideReason": {
                        "reason": {"code": flock("a code"), "system": flock("a system")},
                        "userComment": flock("a comment"),
                    },
                },
                {"card": flock("a card"), "outcome": "accepted", "acceptedSuggestions": [{"id": flock("a button")}]},
            ]
        }
    )
    question = Question(f"Patient/{flock('her id')}", ({"id": flock("her id")},))

    for thing in (request, request.fhir_authorization, request.extensions, items, question):
        assert flock.found_in(f"{thing!r} {thing}", where=type(thing).__name__) == []


# ---- In a process that dies

# Runs the command line, with one function of ours that falls over and quotes all that it gets.
CLUMSY = """
import importlib, os, sys
module, name = os.environ["CLUMSY"].split(":")
def stumble(*given, **more):
    raise ValueError(f"{given!r} {more!r} {os.environ['WORDS']}")
setattr(importlib.import_module(module), name, stumble)
from cds_service.__main__ import main
main()
"""


@pytest.fixture
def planted(advisor: Advisor, tmp_path: Path) -> tuple[Flock, Path]:
    """A call in a file, full of canaries."""
    flock = Flock()
    path = tmp_path / "call.json"
    path.write_text(json.dumps(in_call(asked(advisor, ORDERED), flock)))
    return flock, path


def environment(flock: Flock, clumsy: str, folder: Path) -> dict[str, str]:
    words = " ".join(flock.words.values())
    return {**os.environ, "CLUMSY": clumsy, "WORDS": words, "CDS_DATABASE": str(folder / "records.db")}


@pytest.mark.parametrize(
    ("clumsy", "code"),
    [
        ("cds_service.advisor:gather", 1),
        ("cds_service.batch:explain", 1),
        ("cds_service.batch:read_requests", 1),
        ("cds_service.batch:as_text", 1),
    ],
)
def test_evaluate_dies_without_a_word_of_hers(
    clumsy: str, code: int, planted: tuple[Flock, Path], tmp_path: Path
) -> None:
    flock, path = planted
    done = subprocess.run(
        [sys.executable, "-c", CLUMSY, "evaluate", path],
        env=environment(flock, clumsy, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert "ValueError" in done.stdout + done.stderr
    assert flock.found_in(done.stderr) == []
    assert "zebrafinch" not in done.stderr.lower()


def test_serve_stumbles_without_a_word_of_hers(planted: tuple[Flock, Path], tmp_path: Path) -> None:
    flock, path = planted
    process = subprocess.Popen(
        [sys.executable, "-c", CLUMSY, "serve", "--insecure", "--port", "0"],
        env=environment(flock, "cds_service.advisor:gather", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = ""
        while "http://" not in url:
            url = process.stdout.readline()
            assert url, "it did not start"
        address = f"{url.split()[-1].removesuffix('/cds-services')}{SERVICE}?{flock('a query')}"
        call = urllib.request.Request(address, path.read_bytes(), {"Content-Type": "application/json"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(call, timeout=30)  # noqa: S310
        with refused.value as answer:
            body = answer.read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)

    assert refused.value.code == 500
    assert flock.found_in(body + out + err) == []
    assert '"event": "unexpected"' in err


@pytest.mark.parametrize("clumsy", ["cds_service.web.server:_turn", "cds_service.web.server:create_server"])
def test_serve_dies_without_a_word_of_hers(clumsy: str, planted: tuple[Flock, Path], tmp_path: Path) -> None:
    flock, _ = planted
    done = subprocess.run(
        [sys.executable, "-c", CLUMSY, "serve", "--insecure", "--port", "0"],
        env=environment(flock, clumsy, tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode != 0
    assert "ValueError" in done.stderr
    assert flock.found_in(done.stdout + done.stderr) == []
