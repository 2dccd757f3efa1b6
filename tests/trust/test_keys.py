"""The keys of a tenant over time: when they are fetched, how long they are good, and who waits. On real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event as Flag
from typing import Any

import jwks_server
import pytest
from jwks_server import Asked, Json, JwksServer, Quirk, body, padded, redirect, status
from tokens import signers

from cds_service.ehr.keys import BETWEEN_FETCHES, FETCH_BUDGET, FRESH_FOR, GOOD_FOR, UNKNOWN_FOR, Keys
from cds_service.errors import CallerRefused, Refusal, SiteUnfit
from cds_service.events import Event, listen
from cds_service.tenants import Tenant

PATH = "/jwks"
OLD, NEW = signers()["es384"].jwk(kid="old"), signers()["revoked"].jwk(kid="new")
# Seconds that a machine with other things to do may need: a bound, not an aim.
GENEROUS = 5.0


class Remote:
    """A tenant whose keys are at a server of this machine."""

    def __init__(self, server: JwksServer) -> None:
        self.server = server
        self.clock = server.clock
        self.keys = self.afresh()

    def afresh(self) -> Keys:
        tenant = Tenant(id="north", issuer="https://north.example.org", jwks=self.server.origin + PATH)
        return Keys.of(tenant, production=False, clock=self.clock)

    @property
    def fetches(self) -> int:
        return len(self.server.heard)

    def publish(self, *keys: Json) -> None:
        self.server.sets[PATH] = {"keys": list(keys)}

    def refuses(self, kid: str) -> Refusal:
        with pytest.raises(CallerRefused) as refused:
            self.keys.find(kid)
        return refused.value.reason


@pytest.fixture
def remote() -> Iterator[Remote]:
    with JwksServer({PATH: {"keys": [OLD]}}).serving() as server:
        yield Remote(server)


@pytest.fixture
def told() -> Iterator[list[tuple[Event, Mapping[str, Any]]]]:
    heard: list[tuple[Event, Mapping[str, Any]]] = []
    stop = listen(lambda event, fields: heard.append((event, fields)))
    yield heard
    stop()


def soon(true: Callable[[], bool]) -> bool:
    """Is it so, now or after a while?"""
    until = time.monotonic() + GENEROUS
    while not true() and time.monotonic() < until:
        time.sleep(0.005)
    return true()


# ---- From a file


def test_keys_from_a_file_are_there_at_once_and_for_good(tmp_path: Path, remote: Remote) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [OLD]}))
    keys = Keys.of(Tenant(id="n", issuer="https://n", jwks_file=path), production=True, clock=remote.clock)
    remote.clock.tick(10 * GOOD_FOR)

    assert keys.why_not_ready() is None
    assert keys.find("old").kid == "old"
    keys.confirm(keys.find("old"))
    with pytest.raises(CallerRefused) as refused:
        keys.find("new")
    assert refused.value.reason is Refusal.KEY_UNKNOWN


def test_a_file_that_went_away_is_refused(tmp_path: Path, remote: Remote) -> None:
    with pytest.raises(SiteUnfit, match="tenant n: jwks_file: cannot be read"):
        Keys.of(Tenant(id="n", issuer="https://n", jwks_file=tmp_path / "gone"), production=True, clock=remote.clock)


# ---- From a URL: when it is asked


def test_nothing_is_fetched_before_it_is_needed(remote: Remote) -> None:
    assert remote.fetches == 0
    assert remote.keys.find("old").algorithms == {"ES384"}
    assert remote.keys.find("old")
    assert remote.fetches == 1


def test_they_can_be_fetched_before_anybody_asks_and_only_once(remote: Remote) -> None:
    remote.keys.make_ready()
    remote.keys.make_ready()
    remote.keys.find("old")

    assert remote.fetches == 1


def test_what_could_not_be_fetched_beforehand_is_tried_again(remote: Remote) -> None:
    remote.server.quirk = status(503)
    remote.keys.make_ready()
    assert remote.keys.why_not_ready() is not None
    remote.server.quirk = Asked.honest
    remote.clock.tick(BETWEEN_FETCHES)

    remote.keys.make_ready()

    assert remote.keys.why_not_ready() is None


def test_the_request_tells_nobody_anything(remote: Remote) -> None:
    remote.keys.find("old")

    headers = remote.server.heard[0].headers
    assert headers["Accept"] == "application/json"
    assert not {"Authorization", "Cookie", "Referer"} & set(headers)


@pytest.mark.parametrize(("later", "fetches"), [(BETWEEN_FETCHES - 1, 1), (BETWEEN_FETCHES, 2)])
def test_an_unknown_kid_causes_one_fetch_a_minute(remote: Remote, later: float, fetches: int) -> None:
    remote.keys.find("old")
    remote.publish(OLD, NEW)
    assert remote.refuses("new") is Refusal.KEY_UNKNOWN
    remote.clock.tick(later)

    if fetches == 2:
        assert remote.keys.find("new").kid == "new"
    else:
        assert remote.refuses("new") is Refusal.KEY_UNKNOWN
    assert remote.fetches == fetches


@pytest.mark.parametrize(("later", "fetches"), [(UNKNOWN_FOR - 1, 1), (UNKNOWN_FOR, 2)])
def test_a_kid_that_a_good_set_did_not_hold_is_asked_for_again_later(
    remote: Remote, later: float, fetches: int
) -> None:
    assert remote.refuses("new") is Refusal.KEY_UNKNOWN
    remote.clock.tick(later)

    assert remote.refuses("new") is Refusal.KEY_UNKNOWN
    assert remote.fetches == fetches


def test_another_kid_need_not_wait_for_that(remote: Remote) -> None:
    assert remote.refuses("never") is Refusal.KEY_UNKNOWN
    remote.publish(NEW)
    remote.clock.tick(BETWEEN_FETCHES)

    assert remote.refuses("never") is Refusal.KEY_UNKNOWN
    assert remote.keys.find("new").kid == "new"
    assert remote.fetches == 2


def test_a_kid_that_nobody_could_tell_of_is_asked_for_again(remote: Remote) -> None:
    """The fetch failed: that says nothing about the kid."""
    remote.server.quirk = status(500)
    assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
    remote.server.quirk = Asked.honest
    remote.clock.tick(BETWEEN_FETCHES)

    assert remote.keys.find("old").kid == "old"


def test_a_known_key_that_is_not_to_be_used_causes_no_fetch(remote: Remote) -> None:
    remote.publish(OLD, {**NEW, "use": "enc"})
    for _ in range(5):
        assert remote.refuses("new") is Refusal.KEY_UNFIT
        remote.clock.tick(BETWEEN_FETCHES)

    assert remote.fetches == 1


def test_ten_thousand_random_kids_cost_a_fetch_a_minute_and_nobody_else_anything(remote: Remote) -> None:
    minutes = 10
    for number in range(10_000):
        assert remote.refuses(f"random-{number}") is Refusal.KEY_UNKNOWN
        if number % 100 == 0:
            remote.keys.confirm(remote.keys.find("old"))
        remote.clock.tick(minutes * 60 / 10_000)

    assert remote.fetches == minutes
    assert len(vars(remote.keys)["_unknown"]) <= UNKNOWN_FOR / BETWEEN_FETCHES + 1


# ---- How long they are good


@pytest.mark.parametrize(("age", "fetches"), [(FRESH_FOR - 1, 1), (FRESH_FOR, 2)])
def test_after_ten_minutes_they_are_renewed_by_a_call_whose_signature_was_good(
    remote: Remote, age: float, fetches: int
) -> None:
    key = remote.keys.find("old")
    remote.clock.tick(age)
    remote.keys.find("old")
    assert remote.fetches == 1  # by name alone nobody causes it
    remote.keys.confirm(key)

    assert remote.fetches == fetches


@pytest.mark.parametrize("then", [(NEW,), (), ({**NEW, "kid": "old"},), ({**OLD, "use": "enc"},)])
def test_a_key_that_was_revoked_lets_nobody_in_after_ten_minutes(remote: Remote, then: tuple[Json, ...]) -> None:
    """Gone, all gone, another key under its id, or no longer for signatures."""
    key = remote.keys.find("old")
    remote.publish(*then)
    remote.clock.tick(FRESH_FOR - 1)
    remote.keys.confirm(key)
    remote.clock.tick(1)

    with pytest.raises(CallerRefused) as refused:
        remote.keys.confirm(key)
    assert refused.value.reason is Refusal.KEY_UNKNOWN


@pytest.mark.parametrize(("age", "good"), [(GOOD_FOR - 1, True), (GOOD_FOR, False)])
def test_while_the_url_fails_the_old_ones_are_good_for_a_day(remote: Remote, age: float, good: bool) -> None:
    key = remote.keys.find("old")
    remote.server.quirk = status(503)
    remote.clock.tick(age)

    if good:
        assert remote.keys.find("old") == key
        assert remote.keys.why_not_ready() is None
    else:
        assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
        assert remote.keys.why_not_ready() == "There is no usable key of tenant north."


def test_while_the_url_fails_it_is_tried_every_minute_and_then_all_is_well(remote: Remote) -> None:
    key = remote.keys.find("old")
    remote.server.quirk = status(503)
    remote.clock.tick(FRESH_FOR)
    for minute in range(5):
        remote.keys.confirm(key)
        remote.keys.confirm(key)
        assert soon(lambda minute=minute: remote.fetches == 2 + minute)  # type: ignore[misc]
        assert soon(lambda: not vars(remote.keys)["_fetching"])
        remote.clock.tick(BETWEEN_FETCHES)
    remote.server.quirk = Asked.honest
    remote.publish(OLD, NEW)

    assert remote.keys.find("new").kid == "new"


def test_down_at_the_start_nobody_is_let_in_until_it_is_up(remote: Remote) -> None:
    remote.server.quirk = status(503)
    for _ in range(3):
        assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
    assert remote.fetches == 1
    remote.server.quirk = Asked.honest
    remote.clock.tick(BETWEEN_FETCHES - 1)
    assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
    remote.clock.tick(1)

    assert remote.keys.find("old").kid == "old"
    assert remote.fetches == 2


def test_whoever_asks_whether_it_is_ready_sets_the_first_fetch_off(remote: Remote) -> None:
    """A service that is not ready gets no calls. Without this it would never be."""
    assert remote.keys.why_not_ready() == "There is no usable key of tenant north."
    assert soon(lambda: remote.keys.why_not_ready() is None)
    assert remote.fetches == 1


def test_a_set_without_a_usable_key_is_not_ready(remote: Remote) -> None:
    remote.publish({**OLD, "use": "enc"})
    assert remote.refuses("old") is Refusal.KEY_UNFIT

    assert remote.keys.why_not_ready() is not None


# ---- Who waits


class Slow:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked, self.answer = Flag(), Flag()

    def __call__(self, asked: Asked) -> None:
        self.asked.set()
        self.answer.wait(GENEROUS)
        asked.honest()


def test_while_one_fetches_the_others_go_on_with_what_is_there(remote: Remote) -> None:
    key = remote.keys.find("old")
    remote.server.quirk = slow = Slow()
    remote.publish(OLD, NEW)
    remote.clock.tick(FRESH_FOR)
    with ThreadPoolExecutor(1) as worker:
        renewing = worker.submit(remote.keys.confirm, key)
        assert slow.asked.wait(GENEROUS)
        for _ in range(100):
            remote.keys.confirm(remote.keys.find("old"))
            assert remote.refuses("new") is Refusal.KEY_UNKNOWN
        assert not renewing.done()
        assert remote.fetches == 2
        slow.answer.set()
        renewing.result(GENEROUS)

    assert remote.keys.find("new").kid == "new"


def test_a_fetch_that_lasts_longer_than_a_minute_is_not_joined_by_another(remote: Remote) -> None:
    """A machine that slept in between may see that."""
    remote.server.quirk = slow = Slow()
    with ThreadPoolExecutor(1) as worker:
        first = worker.submit(remote.refuses, "old")
        assert slow.asked.wait(GENEROUS)
        remote.clock.tick(BETWEEN_FETCHES)
        assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
        assert remote.fetches == 1
        slow.answer.set()
        assert first.result(GENEROUS) is Refusal.KEYS_UNAVAILABLE  # it came too late

    assert remote.keys.find("old").kid == "old"


def test_at_the_start_one_fetches_and_the_others_are_refused_at_once(remote: Remote) -> None:
    remote.server.quirk = slow = Slow()
    with ThreadPoolExecutor(1) as worker:
        first = worker.submit(remote.keys.find, "old")
        assert slow.asked.wait(GENEROUS)
        for _ in range(100):
            assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
        slow.answer.set()
        assert first.result(GENEROUS).kid == "old"

    assert remote.fetches == 1


def test_once_it_has_failed_nobody_waits_for_it(remote: Remote) -> None:
    key = remote.keys.find("old")
    remote.clock.tick(FRESH_FOR)
    remote.server.quirk = status(503)
    with pytest.raises(CallerRefused):
        remote.keys.find("unheard-of")
    remote.clock.tick(BETWEEN_FETCHES)
    remote.server.quirk = slow = Slow()
    remote.publish(NEW)
    remote.keys.confirm(key)

    assert slow.asked.wait(GENEROUS)
    assert remote.keys.find("old") == key
    slow.answer.set()
    assert soon(lambda: remote.keys.find("new").kid == "new" if not vars(remote.keys)["_fetching"] else False)
    assert remote.refuses("old") is Refusal.KEY_UNKNOWN


def test_many_at_once_on_a_new_key_cause_one_fetch(remote: Remote) -> None:
    remote.keys.find("old")
    remote.publish(OLD, NEW)
    remote.clock.tick(BETWEEN_FETCHES)

    def found(kid: str) -> bool:
        try:
            return remote.keys.find(kid).kid == kid
        except CallerRefused:
            return False

    with ThreadPoolExecutor(16) as workers:
        outcomes = dict.fromkeys(("old", "new"), 0)
        for kid, well in zip(["old", "new"] * 100, workers.map(found, ["old", "new"] * 100), strict=True):
            outcomes[kid] += well
    assert outcomes["old"] == 100
    assert outcomes["new"] >= 1
    assert remote.fetches == 2


class NoThread(threading.Thread):
    """As a machine has it that is full."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_a_machine_that_starts_no_more_threads_gives_the_turn_back(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("cds_service.ehr.keys.Thread", NoThread)
        assert remote.keys.why_not_ready() is not None
    remote.clock.tick(BETWEEN_FETCHES)

    assert remote.keys.find("old").kid == "old"


def test_a_machine_that_starts_no_more_threads_keeps_the_old_keys(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = remote.keys.find("old")
    remote.clock.tick(FRESH_FOR)

    with monkeypatch.context() as patched:
        patched.setattr("cds_service.ehr.keys.Thread", NoThread)
        for _ in range(3):
            with pytest.raises(CallerRefused):
                remote.keys.find("new")
            assert remote.keys.find("old") == key
            remote.keys.confirm(key)
            remote.clock.tick(BETWEEN_FETCHES)
    remote.publish(OLD, NEW)
    remote.clock.tick(UNKNOWN_FOR)

    assert remote.keys.find("new").kid == "new"


# ---- What a server can make go wrong

FAULTS: dict[str, tuple[Quirk, str]] = {
    "no such document": (status(404), "status 404"),
    "it wants to know who asks": (status(401), "status 401"),
    "an error": (status(500), "status 500"),
    "not modified": (status(304), "status 304"),
    "a redirect": (redirect("/elsewhere"), "status 302"),
    "a redirect to where credentials are handed out": (redirect("http://169.254.169.254/keys"), "status 302"),
    "an empty body": (body(b""), "not a JWKS"),
    "HTML": (body(b"<!DOCTYPE html><title>Sign in</title>", "text/html"), "not a JWKS"),
    "a PEM": (body(signers()["es384"].pem), "not a JWKS"),
    "half a JSON": (body(b'{"keys": ['), "not a JWKS"),
    "an object without keys": (body(b"{}"), "not a JWKS"),
    "keys that are no list": (body(b'{"keys": {}}'), "not a JWKS"),
    "one key and no set": (body(json.dumps(OLD).encode()), "not a JWKS"),
    "5,000 deep": (body(b'{"keys": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"), "not a JWKS"),
    "one byte too much": (padded(64 * 1024 + 1), "too large"),
    "10 MB": (padded(10_000_000), "too large"),
    "a gzip bomb": (jwks_server.gzip_bomb, "too large"),
    "no gzip": (body(b'{"keys": []}', Content_Encoding="gzip"), "error"),
    "an encoding that nobody asked for": (body(b'{"keys": []}', Content_Encoding="br"), "error"),
    "half a body": (jwks_server.half, "ProtocolError"),
    "another protocol": (jwks_server.no_http, "ConnectionError"),
    "a body that drips": (jwks_server.drip_body, "too slow"),
    "headers that drip": (jwks_server.drip_headers, "TimeoutError"),
    "silence": (jwks_server.hang, "TimeoutError"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_goes_wrong_the_old_keys_are_good_and_it_ends_in_time(
    name: str, remote: Remote, told: list[tuple[Event, Mapping[str, Any]]]
) -> None:
    quirk, kind = FAULTS[name]
    key = remote.keys.find("old")
    remote.server.quirk = quirk
    remote.clock.tick(BETWEEN_FETCHES)
    told.clear()
    begun = time.monotonic()
    assert remote.refuses("new") is Refusal.KEY_UNKNOWN

    assert time.monotonic() - begun < FETCH_BUDGET + GENEROUS
    assert told == [(Event.KEYS_UNAVAILABLE, {"error": kind, "tenant": "north"})]
    assert remote.keys.find("old") == key
    assert remote.keys.why_not_ready() is None


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_goes_wrong_at_the_start_nobody_is_let_in_until_it_is_over(name: str, remote: Remote) -> None:
    remote.server.quirk = FAULTS[name][0]
    assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
    remote.server.quirk = Asked.honest
    remote.clock.tick(BETWEEN_FETCHES)

    assert remote.keys.find("old").kid == "old"


def test_a_connection_that_outlasts_its_time_is_cut(remote: Remote) -> None:
    """Or each minute would leave one more behind, and a thread with it."""
    cut = Flag()

    def endless(asked: Asked) -> None:
        try:
            asked.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Odd: yes\r\n" * 5_000)
        except OSError:
            cut.set()

    remote.server.quirk = endless
    assert remote.refuses("old") is Refusal.KEYS_UNAVAILABLE
    assert cut.wait(GENEROUS)


def test_there_are_twenty_ways_to_go_wrong() -> None:
    assert len(FAULTS) >= 20


def test_a_server_that_is_not_there(remote: Remote, told: list[tuple[Event, Mapping[str, Any]]]) -> None:
    with JwksServer().serving() as gone:
        url = gone.origin + PATH
    tenant = Tenant(id="north", issuer="https://north.example.org", jwks=url)
    keys = Keys.of(tenant, production=False, clock=remote.clock)
    with pytest.raises(CallerRefused) as refused:
        keys.find("old")

    assert refused.value.reason is Refusal.KEYS_UNAVAILABLE
    assert told == [(Event.KEYS_UNAVAILABLE, {"error": "ConnectionError", "tenant": "north"})]


def test_a_redirect_is_not_followed(remote: Remote) -> None:
    with JwksServer({PATH: {"keys": [NEW]}}).serving() as elsewhere:
        remote.server.quirk = redirect(elsewhere.origin + PATH)

        assert remote.refuses("new") is Refusal.KEYS_UNAVAILABLE
        assert elsewhere.heard == []


@pytest.mark.parametrize("quirk", [jwks_server.zipped, padded(64 * 1024), body(b'{"keys": []}', "text/plain")])
def test_what_is_only_unusual_is_taken(
    quirk: Quirk, remote: Remote, told: list[tuple[Event, Mapping[str, Any]]]
) -> None:
    remote.server.quirk = quirk
    with pytest.raises(CallerRefused):
        remote.keys.find("unheard-of")

    assert [event for event, _ in told] == [Event.KEYS_REFRESHED]


def test_what_is_fetched_is_told_and_what_is_left_out_too(
    remote: Remote, told: list[tuple[Event, Mapping[str, Any]]]
) -> None:
    """Once for each kind of fault. Keys that are meant for others are no fault."""
    short, other = signers()["short"].jwk(), signers()["enc"].jwk(kid="old")
    remote.publish(NEW, OLD, other, short, {**short, "kid": "again"}, {**NEW, "kid": "enc", "use": "enc"})
    remote.keys.find("new")

    assert told == [
        (Event.KEYS_REFRESHED, {"count": 1, "tenant": "north"}),
        (Event.KEYS_REJECTED, {"reason": "kid-twice", "tenant": "north"}),
        (Event.KEYS_REJECTED, {"reason": "too-short", "tenant": "north"}),
    ]
    assert remote.refuses("old") is Refusal.KEY_UNFIT


def test_a_proxy_of_the_environment_is_not_asked(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    with JwksServer({PATH: {"keys": [NEW]}}).serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        monkeypatch.setenv("no_proxy", "")

        assert remote.keys.find("old").kid == "old"
        assert proxy.heard == []
