"""Keys are fetched from where the tenants file says, if it can be meant. For every other place no socket is opened."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from conftest import NOON
from jwks_server import Ticking
from pydantic import ValidationError
from tokens import BASE, ISSUERS, SERVICE, Parties, sets

from cds_service.ehr.keys import Keys
from cds_service.ehr.trust import Trust
from cds_service.errors import CallerRefused, Refusal, SiteUnfit
from cds_service.public_keys import read_key_set
from cds_service.tenants import Tenant

GOOD = "https://keys.example.org/jwks"
HOSTILE = [
    # where clouds hand out credentials, this machine, and the net behind it
    *("https://169.254.169.254/latest/meta-data", "http://169.254.169.254/keys", "https://[fd00:ec2::254]/keys"),
    *("https://metadata.google.internal/computeMetadata/v1", "https://100.100.100.200/keys"),
    *("https://168.63.129.16/keys", "http://127.0.0.1/keys", "http://localhost/keys", "http://[::1]/keys"),
    *("https://10.0.0.1/keys", "https://192.168.1.1/keys", "https://172.16.0.1/keys", "https://0.0.0.0/keys"),
    # the same addresses, otherwise written
    *("https://2852039166/keys", "https://0xa9fea9fe/keys", "https://0251.0376.0251.0376/keys", "https://127.1/keys"),
    *("https://2130706433/keys", "https://0x7f000001/keys", "https://[::ffff:169.254.169.254]/keys"),
    *("https://[64:ff9b::a9fe:a9fe]/keys", "https://[::ffff:7f00:1]/keys", "https://[::]/keys"),
    # names that lead there
    *("https://rebound.example/keys", "https://rebound-v6.example/keys", "https://half-rebound.example/keys"),
    # somebody before the host, and signs that could mean two things
    *("https://keys.example.org@evil.example/jwks", "https://keys.example.org:x@evil.example/jwks"),
    *("https://keys.example.org\\@evil.example/jwks", "https://evil.example\\.keys.example.org/jwks"),
    *("https://keys.example.org#@evil.example/jwks", "https://keys.example.org/jwks?url=http://evil.example"),
    *("https://keys.example.org/jwks#x", "https://keys.example.org/%2e%2e/jwks", "https://keys.example.org/../jwks"),
    *("https://keys.example.org /jwks", "https://keys.example.org\t/jwks", "https://k\u0435ys.example.org/jwks"),
    # other schemes, and none
    *("file:///etc/passwd", "ftp://keys.example.org/jwks", "gopher://keys.example.org/jwks", "data:application/json,x"),
    *("//keys.example.org/jwks", "keys.example.org/jwks", "jar:https://keys.example.org/jwks!/", ""),
    # plain http, and ports that are none
    *("http://keys.example.org/jwks", "http://keys.example.org:443/jwks", "https://keys.example.org:0/jwks"),
    *("https://keys.example.org:99999/jwks", "https://keys.example.org:443x/jwks", "https:///jwks"),
]  # fmt: skip
NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "rebound.example": ["127.0.0.1"],
    "rebound-v6.example": ["fe80::1"],
    "half-rebound.example": ["198.41.0.4", "169.254.169.254"],
    "localhost": ["127.0.0.1"],
    "keys.example.org": ["198.41.0.4"],
    "evil.example": ["198.41.0.4"],
}


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every socket that is opened. None of them leads anywhere. Names lead where NAMES says, and numbers as ever."""
    opened: list[Any] = []
    found = socket.getaddrinfo

    class Spy(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            opened.append(args)
            super().__init__(*args, **kwargs)

        def connect(self, address: Any) -> None:
            raise ConnectionRefusedError(address)

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        addresses = NAMES.get(host, [host])
        return [one for a in addresses for one in found(a, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)]

    monkeypatch.setattr(socket, "socket", Spy)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return opened


def outcome(url: str, **tenant: Any) -> str:
    """How far it comes: to the tenants file, to the place for keys, or to a fetch."""
    try:
        named = Tenant(id="north", issuer="https://north.example.org", jwks=url, **tenant)
    except ValidationError:
        return "refused in the file"
    try:
        keys = Keys.of(named, production=True, clock=Ticking())
    except SiteUnfit as unfit:
        return "refused at start" if str(unfit).startswith("tenant north: jwks: ") else str(unfit)
    with pytest.raises(CallerRefused) as refused:
        keys.find("es384")
    assert refused.value.reason is Refusal.KEYS_UNAVAILABLE
    return "not fetched"


def test_there_are_forty_of_them(record_property: Callable[[str, object], None]) -> None:
    record_property("safety", f"hostile places of keys: {len(HOSTILE)}, and not one of them got a socket")
    assert len(set(HOSTILE)) == len(HOSTILE) >= 40


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_place_gets_no_socket(url: str, sockets: list[Any]) -> None:
    assert outcome(url) in {"refused in the file", "refused at start", "not fetched"}
    assert sockets == []


def test_a_good_place_gets_one(sockets: list[Any]) -> None:
    """Or the test above would show nothing."""
    assert outcome(GOOD) == "not fetched"
    assert len(sockets) == 1


def test_each_fence_holds_something_back(sockets: list[Any]) -> None:
    assert {outcome(url) for url in HOSTILE} == {"refused in the file", "refused at start", "not fetched"}
    assert sockets == []


@pytest.mark.parametrize(("private", "opened"), [(False, 0), (True, 1)])
def test_a_private_network_is_one_more_thing_to_allow(private: bool, opened: int, sockets: list[Any]) -> None:
    assert outcome("https://10.0.0.1/keys", private_addresses=private) == "not fetched"
    assert len(sockets) == opened


@pytest.mark.parametrize("url", ["https://169.254.169.254/keys", "https://127.0.0.1/keys", "https://rebound.example/k"])
def test_no_private_network_reaches_as_far_as_that(url: str, sockets: list[Any]) -> None:
    """An https URL on this very machine is the one that may be meant: it is named as what it is."""
    outcome(url, private_addresses=True)

    assert len(sockets) == (1 if "127.0.0.1" in url else 0)


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_place_in_a_token_gets_no_socket(url: str, sockets: list[Any]) -> None:
    clock = Ticking()
    tenant = Tenant(id="north", issuer=ISSUERS["north"], jwks=GOOD)
    keys = Keys("north", clock, fetch=lambda: pytest.fail("fetched"), keys=_north())
    trust = Trust([tenant], {"north": keys}, lambda *_: True, BASE, lambda: NOON)
    parties = Parties("https://keys.example.org")
    assert trust.admit(parties.bearing(header={"jku": GOOD}), SERVICE) == tenant
    with pytest.raises(CallerRefused) as refused:
        trust.admit(parties.bearing(header={"jku": url}), SERVICE)

    assert refused.value.reason is Refusal.KEY_PLACE
    assert sockets == []


def _north() -> Any:
    return read_key_set(json.dumps(sets()["/north/keys"]).encode(), production=True)
