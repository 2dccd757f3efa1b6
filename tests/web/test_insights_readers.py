"""Who may read the numbers, and who may not: by the operator's token, by a session, and by the hospital's provider."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Semaphore
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from flask.testing import FlaskClient
from openid_provider import CLIENT, SECRET, Claims, OpenIdProvider, Signer
from werkzeug.test import Client, TestResponse

from cds_service.advisor import Advisor
from cds_service.ehr.trust import Trust
from cds_service.errors import SiteUnfit
from cds_service.events import Event, listen
from cds_service.records import Records
from cds_service.settings import DEFAULT_SITE, Readers, Settings, SignOn
from cds_service.web import signing_in as web_provider
from cds_service.web.app import create_app
from cds_service.web.house import House
from cds_service.web.opening import opening_to_all
from cds_service.web.signing_in import ATTEMPT_LASTS, SESSION_LASTS

TOKEN = "a-token-for-the-numbers"  # noqa: S105  (of this test alone)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BASE = "https://cds.example.org"
PAGE, FILE = "/insights", "/insights.csv"
Told = list[tuple[Event, dict[str, Any]]]


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Place:
    """A service whose numbers some may read, and a browser in front of it."""

    advisor: Advisor
    readers: Readers
    trusted: bool = True
    clock: Clock = field(default_factory=Clock)

    def browser(self) -> FlaskClient:
        knows = self.advisor
        advisor = Advisor(knows.knowledge, knows.wording, knows.site, self.clock)
        trust = Trust((), {}, lambda *_: True, BASE, self.clock) if self.trusted else None
        app = create_app(House({"north": advisor}, trust), records=Records.in_memory(), readers=self.readers)
        return app.test_client()


@pytest.fixture
def told() -> Iterator[Told]:
    """Every event of the test, without the number of its call."""
    said: Told = []

    def hear(event: Event, fields: Mapping[str, Any]) -> None:
        said.append((event, {name: value for name, value in fields.items() if name != "correlation_id"}))

    stop = listen(hear)
    yield said
    stop()


def opens(client: FlaskClient, base: str = BASE) -> bool:
    """Does the page show numbers? The file must be as open as the page."""
    page, file = client.get(PAGE, base_url=base), client.get(FILE, base_url=base)
    assert page.status_code == file.status_code
    assert ("What became of the cards" in page.get_data(as_text=True)) == (page.status_code == 200)
    if page.status_code == 401:
        assert file.get_data() == b""
        assert page.headers["WWW-Authenticate"] == file.headers["WWW-Authenticate"] == "Bearer"
    return page.status_code == 200


def signed_in(client: FlaskClient, token: str = TOKEN) -> TestResponse:
    return client.post("/insights/session", data={"token": token}, base_url=BASE)


# --- closed unless somebody is named


def test_where_callers_prove_who_they_are_and_no_reader_is_named_there_is_no_page(advisor: Advisor) -> None:
    client = Place(advisor, Readers()).browser()
    assert [client.get(place).status_code for place in (PAGE, FILE, "/insights/oidc")] == [404, 404, 404]
    assert client.post("/insights/session", data={"token": ""}).status_code == 404


def test_where_nobody_has_to_say_who_they_are_it_is_open(advisor: Advisor) -> None:
    client = Place(advisor, Readers(), trusted=False).browser()
    assert opens(client, "http://localhost:8000")
    assert not opens(client, "http://evil.example.org:8000"), "a name that was led to this machine"


def test_with_a_token_it_is_closed_even_there(advisor: Advisor) -> None:
    assert not opens(Place(advisor, Readers(TOKEN), trusted=False).browser())


def test_serve_hands_the_readers_on(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "records.sqlite3"), insights=Readers(TOKEN))
    with opening_to_all(DEFAULT_SITE, settings, Clock())("http://localhost") as opened:
        client = Client(opened.app)
        assert client.get(PAGE).status_code == 401
        assert client.get(PAGE, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


# --- by the token


def test_whoever_brings_the_token_may_read(advisor: Advisor) -> None:
    client = Place(advisor, Readers(TOKEN)).browser()
    for place in (PAGE, FILE):
        answer = client.get(place, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "given",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [TOKEN],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"bearer {TOKEN}"],
        [f"Basic {TOKEN}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        ["Bearer other", f"Bearer {TOKEN}"],
        ["Bearer \xe9"],
    ],
)
def test_anybody_else_is_asked_to_sign_in_and_sees_no_number(given: list[str], advisor: Advisor, told: Told) -> None:
    client = Place(advisor, Readers(TOKEN)).browser()
    headers = [("Authorization", one) for one in given]
    page, file = client.get(PAGE, headers=headers), client.get(FILE, headers=headers)

    assert (page.status_code, file.status_code, file.get_data()) == (401, 401, b"")
    assert "Operator's token" in page.get_data(as_text=True)
    assert "<h2" not in page.get_data(as_text=True)
    refusals = [fields for event, fields in told if event is Event.INSIGHTS_REFUSED]
    assert refusals == ([{"reason": "token"}] * 2 if given else [])


# --- by a session


def test_a_browser_signs_in_with_the_token_and_out_again(advisor: Advisor, told: Told) -> None:
    client = Place(advisor, Readers(TOKEN, base_url=BASE)).browser()
    assert not opens(client)
    answer = signed_in(client)

    assert (answer.status_code, answer.headers["Location"]) == (303, PAGE)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-cds-insights=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=28800"} <= set(cookie.split("; "))
    assert opens(client)
    assert [fields for event, fields in told if event is Event.INSIGHTS_OPENED] == [{"how": "token"}]
    assert client.get("/insights/session/end", base_url=BASE).status_code == 405
    assert opens(client), "a link cannot sign anybody out"
    client.post("/insights/session/end", base_url=BASE)
    assert not opens(client)


def test_without_tls_the_cookie_is_a_plain_one(advisor: Advisor) -> None:
    cookie = signed_in(Place(advisor, Readers(TOKEN)).browser()).headers["Set-Cookie"]
    assert cookie.startswith("cds-insights=")
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": TOKEN[:-1]}, {"token": f"{TOKEN} "}, {"toke": TOKEN}])
def test_another_token_opens_no_session(form: dict[str, str], advisor: Advisor, told: Told) -> None:
    client = Place(advisor, Readers(TOKEN, base_url=BASE)).browser()
    answer = client.post("/insights/session", data=form, base_url=BASE)

    assert answer.status_code == 401
    assert "This is not the token." in answer.get_data(as_text=True)
    assert "Set-Cookie" not in answer.headers
    assert (Event.INSIGHTS_REFUSED, {"reason": "token"}) in told
    assert not opens(client)


def cookie_of(answer: TestResponse) -> str:
    return answer.headers["Set-Cookie"].split(";")[0].partition("=")[2]


def holding(client: FlaskClient, cookie: str) -> FlaskClient:
    client.set_cookie("__Host-cds-insights", cookie, domain="cds.example.org", secure=True)
    return client


def test_a_session_is_over_after_eight_hours(advisor: Advisor) -> None:
    place = Place(advisor, Readers(TOKEN, base_url=BASE))
    client = place.browser()
    cookie = cookie_of(signed_in(client))
    for late, expected in ((timedelta(0), True), (SESSION_LASTS, False), (timedelta(days=400), False)):
        place.clock.now = NOW + late
        assert opens(holding(place.browser(), cookie)) == expected
    place.clock.now = NOW + SESSION_LASTS - timedelta(seconds=1)
    assert opens(holding(place.browser(), cookie))


def test_a_cookie_that_was_changed_opens_nothing(advisor: Advisor, told: Told) -> None:
    place = Place(advisor, Readers(TOKEN, base_url=BASE))
    cookie = cookie_of(signed_in(place.browser()))
    client = place.browser()
    # Not the last character: in base64 it has bits that say nothing, so that a signature has two spellings.
    for n in range(0, len(cookie) - 1, 7):
        assert not opens(holding(client, cookie[:n] + ("A" if cookie[n] != "A" else "B") + cookie[n + 1 :]))
    for odd in ("", ".", "e30.x", cookie.rpartition(".")[0], cookie + "x", "\u20ac"):
        assert not opens(holding(client, odd))
    assert (Event.INSIGHTS_REFUSED, {"reason": "session"}) in told


def test_with_another_token_every_session_is_over_and_every_process_knows_its_own(advisor: Advisor) -> None:
    place = Place(advisor, Readers(TOKEN, base_url=BASE))
    cookie = cookie_of(signed_in(place.browser()))
    assert opens(holding(place.browser(), cookie)), "another process"
    assert not opens(holding(replace(place, readers=Readers(f"{TOKEN}2", base_url=BASE)).browser(), cookie))


# --- by the hospital's provider


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with OpenIdProvider(NOW.timestamp()).serving() as serving:
        yield serving


def reached(advisor: Advisor, provider: OpenIdProvider, *allowed: str, token: str | None = None) -> Place:
    sign_on = SignOn(provider.issuer, CLIENT, SECRET, frozenset(allowed or ("sub:u-1",)))
    return Place(advisor, Readers(token, sign_on, BASE))


def gone(client: FlaskClient) -> str:
    """Where the provider's door is, once a browser has been sent there."""
    answer = client.get("/insights/oidc", base_url=BASE)
    assert answer.status_code == 303
    return answer.headers["Location"]


def back(client: FlaskClient, place: str) -> TestResponse:
    parts = urlsplit(place)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{BASE}/insights/oidc/callback"
    return client.get(f"{parts.path}?{parts.query}", base_url=BASE)


def test_whoever_signs_in_there_and_is_on_the_list_may_read(
    advisor: Advisor, provider: OpenIdProvider, told: Told
) -> None:
    client = reached(advisor, provider).browser()
    assert 'href="/insights/oidc"' in client.get(PAGE, base_url=BASE).get_data(as_text=True)
    answer = back(client, provider.sign_in(gone(client)))

    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/insights"' in answer.get_data(as_text=True)
    session, attempt = answer.headers.getlist("Set-Cookie")
    assert {"HttpOnly", "Secure", "SameSite=Strict"} <= set(session.split("; "))
    assert attempt.startswith("cds-insights-sign-in=;")
    assert opens(client)
    assert (Event.INSIGHTS_OPENED, {"how": "provider"}) in told
    assert not opens(reached(advisor, provider).browser()), "another browser"


@pytest.mark.parametrize(
    ("says", "allowed", "expected"),
    [
        ({"sub": "u-1"}, ("sub:u-1",), True),
        ({"sub": "u-2"}, ("sub:u-1",), False),
        ({"sub": "u-2"}, ("sub:u-1", "sub:u-2"), True),
        ({"sub": "u-1", "email": "a@example.org", "email_verified": True}, ("email:a@example.org",), True),
        ({"sub": "u-1", "email": "a@example.org", "email_verified": False}, ("email:a@example.org",), False),
        ({"sub": "u-1", "email": "a@example.org", "email_verified": "true"}, ("email:a@example.org",), False),
        ({"sub": "u-1", "email": "a@example.org"}, ("email:a@example.org",), False),
        ({"sub": "a@example.org"}, ("email:a@example.org",), False),
        ({"sub": "u-1", "groups": ["staff", "pt-committee"]}, ("group:pt-committee",), True),
        ({"sub": "u-1", "groups": ["staff"]}, ("group:pt-committee",), False),
        ({"sub": "u-1", "groups": "pt-committee"}, ("group:pt-committee",), False),
        ({"sub": "pt-committee"}, ("group:pt-committee",), False),
    ],
)
def test_the_list_decides(
    says: Claims, allowed: tuple[str, ...], expected: bool, advisor: Advisor, provider: OpenIdProvider, told: Told
) -> None:
    provider.says = says
    client = reached(advisor, provider, *allowed).browser()
    answer = back(client, provider.sign_in(gone(client)))

    assert answer.status_code == (200 if expected else 403)
    assert opens(client) == expected
    assert ((Event.INSIGHTS_REFUSED, {"reason": "not-listed"}) in told) == (not expected)


def changed(**different: Any) -> Callable[[OpenIdProvider], Callable[[str, Claims], str]]:
    """A token like an honest one but for these claims; those that are None are left out."""

    def twist(provider: OpenIdProvider) -> Callable[[str, Claims], str]:
        def sign(_: str, claims: Claims) -> str:
            told = {**claims, **different}
            return provider.signer.sign({name: value for name, value in told.items() if value is not None})

        return sign

    return twist


SECONDS = int(NOW.timestamp())
UNFIT: Mapping[str, Callable[[OpenIdProvider], Callable[[str, Claims], object]]] = {
    "another nonce": changed(nonce="another"),
    "no nonce": changed(nonce=None),
    "another audience": changed(aud="another-client"),
    "no audience": changed(aud=None),
    "two audiences, and for another party": changed(aud=[CLIENT, "another"], azp="another"),
    "another issuer": changed(iss="https://evil.example"),
    "no issuer": changed(iss=None),
    "expired": changed(exp=SECONDS - 61),
    "no expiry": changed(exp=None),
    "not yet": changed(nbf=SECONDS + 61),
    "issued ahead": changed(iat=SECONDS + 61),
    "no subject": changed(sub=None),
    "another hash of the access token": changed(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "another key of the same name": lambda _: lambda _, claims: Signer().sign(claims),
    "a key that is not in the set": lambda _: lambda _, claims: Signer("k2").sign(claims),
    "the secret as a key": lambda _: lambda _, claims: jwt.encode(claims, SECRET.ljust(32, "x"), algorithm="HS256"),
    "no signature": lambda _: lambda _, claims: jwt.encode(claims, None, algorithm="none"),
    "no token": lambda _: lambda *_: None,
    "not a token": lambda _: lambda *_: "e30.e30.e30",
    "a number": lambda _: lambda *_: 7,
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_token_that_does_not_fit_opens_nothing(
    name: str, advisor: Advisor, provider: OpenIdProvider, told: Told
) -> None:
    provider.twist = UNFIT[name](provider)
    client = reached(advisor, provider).browser()
    answer = back(client, provider.sign_in(gone(client)))

    assert answer.status_code == 403
    assert not opens(client)
    assert (Event.INSIGHTS_REFUSED, {"reason": "id-token"}) in told


@pytest.mark.parametrize("name", ["nonce", "exp"])
def test_and_with_that_mended_it_does(name: str, advisor: Advisor, provider: OpenIdProvider) -> None:
    """A clock may be a minute off."""
    provider.twist = changed(exp=SECONDS - 59)(provider) if name == "exp" else provider.twist
    client = reached(advisor, provider).browser()
    back(client, provider.sign_in(gone(client)))
    assert opens(client)


def test_who_did_not_leave_from_here_does_not_come_back(advisor: Advisor, provider: OpenIdProvider, told: Told) -> None:
    """Somebody else's code in one's own browser, or one's own in somebody else's (login CSRF)."""
    place = reached(advisor, provider)
    one, other = place.browser(), place.browser()
    sent_back = provider.sign_in(gone(one))
    gone(other)

    assert back(other, sent_back).status_code == 403
    assert back(place.browser(), sent_back).status_code == 403
    assert [fields for event, fields in told if event is Event.INSIGHTS_REFUSED] == [{"reason": "state"}] * 2
    assert provider.heard == [], "the code was not spent"
    assert not opens(other)


def test_an_attempt_counts_once_and_for_ten_minutes(advisor: Advisor, provider: OpenIdProvider) -> None:
    place = reached(advisor, provider)
    client = place.browser()
    sent_back = provider.sign_in(gone(client))
    place.clock.now = NOW + ATTEMPT_LASTS
    assert back(client, sent_back).status_code == 403
    place.clock.now = NOW
    assert back(client, sent_back).status_code == 403
    assert not opens(client)


@pytest.mark.parametrize(
    "query", ["", "?error=access_denied&state={state}", "?state={state}", "?code=x&state=%e2%82%ac"]
)
def test_who_comes_back_without_a_code_is_not_let_in(query: str, advisor: Advisor, provider: OpenIdProvider) -> None:
    client = reached(advisor, provider).browser()
    state = provider.sign_in(gone(client)).partition("&state=")[2]
    answer = client.get(f"/insights/oidc/callback{query.format(state=state)}", base_url=BASE)
    assert answer.status_code == 403
    assert not opens(client)


def test_a_code_of_another_provider_is_not_spent_here(advisor: Advisor, provider: OpenIdProvider) -> None:
    """RFC 9207: whoever sends the browser back says who it is."""
    client = reached(advisor, provider).browser()
    sent_back = provider.sign_in(gone(client))
    assert back(client, f"{sent_back}&iss=https%3A%2F%2Fevil.example").status_code == 403
    assert provider.heard == []


def test_a_code_that_is_not_good_lets_nobody_in(advisor: Advisor, provider: OpenIdProvider, told: Told) -> None:
    client = reached(advisor, provider).browser()
    sent_back = provider.sign_in(gone(client))
    assert back(client, sent_back.replace("code=code-0", "code=made-up")).status_code == 403
    assert (Event.INSIGHTS_REFUSED, {"reason": "token-exchange"}) in told


@pytest.mark.parametrize("path", ["/realm/.well-known/openid-configuration", "/realm/token", "/realm/keys"])
def test_while_the_provider_cannot_be_had_there_is_503(path: str, advisor: Advisor, provider: OpenIdProvider) -> None:
    client = reached(advisor, provider, token=TOKEN).browser()
    sent_back = provider.sign_in(gone(client))
    provider.broken = {path}

    assert back(client, sent_back).status_code == 503
    assert not opens(client)
    if path.endswith("configuration"):
        assert client.get("/insights/oidc", base_url=BASE).status_code == 503
    signed_in(client)
    assert opens(client), "the token still opens"


def test_while_one_waits_for_the_provider_the_next_is_sent_away_at_once(
    advisor: Advisor, provider: OpenIdProvider
) -> None:
    """Anybody can make us ask it, and whoever waits answers no hook."""
    place = reached(advisor, provider)
    app = place.browser().application
    returning = app.test_client()
    sent_back = provider.sign_in(gone(returning))
    provider.asked = Semaphore(0)
    provider.open.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(app.test_client().get, "/insights/oidc", base_url=BASE)
        provider.asked.acquire(timeout=30)
        second = app.test_client().get("/insights/oidc", base_url=BASE)
        assert (second.status_code, second.headers["Retry-After"]) == (503, "5")

        back_again = pool.submit(back, returning, sent_back)
        provider.asked.acquire(timeout=30)  # whoever comes back does not wait for those who leave
        provider.open.set()
        assert (first.result(30).status_code, back_again.result(30).status_code) == (303, 200)
    assert gone(app.test_client())


def test_a_provider_that_drips_is_given_up_and_can_be_asked_again(provider: OpenIdProvider) -> None:
    """Each of its bytes comes in time. The whole never does."""
    sign_on = SignOn(provider.issuer, CLIENT, SECRET, frozenset({"sub:u-1"}))
    impatient = web_provider.OpenIdProvider(sign_on, f"{BASE}/insights/oidc/callback", Clock(), patience=0.2)
    provider.drips = True
    with pytest.raises(web_provider.NotLetIn) as refused:
        impatient.begin()
    assert refused.value.status == 503
    for thread in threading.enumerate():
        if thread.name == "sign-in":
            thread.join(timeout=30)
    provider.drips = False
    assert replace(impatient, patience=30).begin()[0].startswith(provider.issuer)
    assert impatient._leaving.acquire(blocking=False), "its turn has ended"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": None},
        {"jwks_uri": 7},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_provider_that_is_another_one_gets_nobody(
    metadata: dict[str, Any], advisor: Advisor, provider: OpenIdProvider
) -> None:
    provider.metadata = metadata
    assert reached(advisor, provider).browser().get("/insights/oidc", base_url=BASE).status_code == 503


def test_with_another_list_every_session_is_over(advisor: Advisor, provider: OpenIdProvider) -> None:
    place = reached(advisor, provider)
    client = place.browser()
    cookie = back(client, provider.sign_in(gone(client))).headers.getlist("Set-Cookie")[0].split(";")[0]
    value = cookie.partition("=")[2]
    assert opens(holding(place.browser(), value))
    assert not opens(holding(reached(advisor, provider, "sub:u-1", "sub:u-2").browser(), value))


def test_an_attempt_is_no_session(advisor: Advisor, provider: OpenIdProvider) -> None:
    client = reached(advisor, provider).browser()
    attempt = client.get("/insights/oidc", base_url=BASE).headers["Set-Cookie"]
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/insights"} <= set(attempt.split("; "))
    assert not opens(holding(client, attempt.split(";")[0].partition("=")[2]))


# --- the settings

OIDC = {
    "CDS_INSIGHTS_OIDC_ISSUER": "https://login.example.org/realms/hospital",
    "CDS_INSIGHTS_OIDC_CLIENT_ID": "insights",
    "CDS_INSIGHTS_OIDC_CLIENT_SECRET": "secret",
    "CDS_INSIGHTS_OIDC_ALLOW": "group:pt-committee, email:ana@example.org",
    "CDS_PUBLIC_BASE_URL": BASE,
}


def test_the_settings_name_the_readers() -> None:
    readers = Settings.from_environment({**OIDC, "CDS_INSIGHTS_TOKEN": TOKEN}).insights
    allowed = frozenset({"group:pt-committee", "email:ana@example.org"})
    sign_on = SignOn("https://login.example.org/realms/hospital", "insights", "secret", allowed)
    assert readers == Readers(TOKEN, sign_on, BASE)
    assert not Settings.from_environment({}).insights.named
    assert "secret" not in repr(readers)
    assert TOKEN not in repr(readers)


@pytest.mark.parametrize("missing", OIDC)
def test_what_is_named_by_half_is_refused_at_start(missing: str) -> None:
    with pytest.raises(SiteUnfit) as unfit:
        Settings.from_environment({name: value for name, value in OIDC.items() if name != missing})
    (line,) = unfit.value.defects
    assert line.startswith(f"{missing}: missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CDS_INSIGHTS_TOKEN", "short"),
        ("CDS_INSIGHTS_TOKEN", "with a blank in it, and long"),
        ("CDS_INSIGHTS_OIDC_ISSUER", "http://login.example.org"),
        ("CDS_INSIGHTS_OIDC_ISSUER", "login.example.org"),
        ("CDS_INSIGHTS_OIDC_ISSUER", "https://login.example.org?x=1"),
        ("CDS_INSIGHTS_OIDC_ALLOW", ","),
        ("CDS_INSIGHTS_OIDC_ALLOW", "everybody"),
        ("CDS_INSIGHTS_OIDC_ALLOW", "group:"),
        ("CDS_INSIGHTS_OIDC_ALLOW", "email:ana@example.org,*"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_start(name: str, value: str) -> None:
    with pytest.raises(SiteUnfit) as unfit:
        Settings.from_environment({**OIDC, name: value})
    (line,) = unfit.value.defects
    assert line.startswith(f"{name}: not ")
    assert "example" not in line
    assert "everybody" not in line


def test_without_the_package_it_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, advisor: Advisor) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "authlib":
            raise ImportError
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    place = Place(advisor, Settings.from_environment(OIDC).insights)
    with pytest.raises(SiteUnfit, match=r"pip install 'cds-service\[oidc\]'"):
        place.browser()
    assert not opens(Place(advisor, Readers(TOKEN)).browser()), "and it is asked for only where it is needed"
