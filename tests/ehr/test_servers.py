"""A call may name any fhirServer. Only the site's own is spoken to: for every other no socket is opened."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from conftest import NOON
from ehr import context_of
from encoding import read_cases, site_of

from cds_service.advisor import Advisor
from cds_service.ehr.gathering import Sources
from cds_service.ehr.servers import Server, Servers
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

CASE = next(case for case in read_cases() if case.id == "V01")
ALLOWED = "https://ehr.example.org/fhir"
HOSTILE = [
    # where clouds hand out credentials, and this machine
    *("http://169.254.169.254/latest/meta-data", "https://169.254.169.254/fhir", "http://[fd00:ec2::254]/fhir"),
    *("http://metadata.google.internal/fhir", "http://100.100.100.200/fhir", "http://168.63.129.16/fhir"),
    *("http://127.0.0.1/fhir", "https://127.0.0.1/fhir", "http://localhost/fhir", "http://[::1]/fhir"),
    *("http://0.0.0.0/fhir", "http://10.0.0.1/fhir", "http://192.168.1.1/fhir", "http://172.16.0.1/fhir"),
    # the same addresses, otherwise written
    *("http://2130706433/fhir", "http://0x7f000001/fhir", "http://0177.0.0.1/fhir", "http://127.1/fhir"),
    *("http://[::ffff:127.0.0.1]/fhir", "http://[::ffff:a9fe:a9fe]/fhir", "http://2852039166/fhir"),
    *("http://[64:ff9b::a9fe:a9fe]/fhir", "http://[2002:7f00:1::]/fhir", "http://[::]/fhir"),
    # somebody before the host, and look-alikes
    *("https://ehr.example.org@evil.example/fhir", "https://ehr.example.org:secret@evil.example/fhir"),
    *("https://evil@ehr.example.org/fhir", "https://ehr.example.org.evil.example/fhir", "https://ehr.example.orgevil/fhir"),
    *("https://evil-ehr.example.org/fhir", "https://ehr-example.org/fhir", "https://xn--hr-eja.example.org/fhir"),
    *("https://\u0435hr.example.org/fhir", "https://ehr.example.org./fhir", "https://ehr\uff0eexample\uff0eorg/fhir"),
    # another port, scheme or path
    *("https://ehr.example.org:8443/fhir", "https://ehr.example.org:80/fhir", "http://ehr.example.org/fhir"),
    *("http://ehr.example.org:443/fhir", "https://ehr.example.org/fhir2", "https://ehr.example.org/fhir/other"),
    *("https://ehr.example.org/", "https://ehr.example.org/FHIR", "https://ehr.example.org/fhir/../admin"),
    *("https://ehr.example.org/fhir/%2e%2e/admin", "https://ehr.example.org//fhir", "https://ehr.example.org/fhir;a=b"),
    # more than a base, or none at all
    *("https://ehr.example.org/fhir?url=http://evil.example", "https://ehr.example.org/fhir#@evil.example"),
    *("https://ehr.example.org\\@evil.example/fhir", "https://evil.example\\.ehr.example.org/fhir"),
    *("ftp://ehr.example.org/fhir", "file:///etc/passwd", "gopher://ehr.example.org/fhir", "//ehr.example.org/fhir"),
    *("https://ehr.example.org /fhir", "https://ehr.example.org\t/fhir", "https://ehr.example.org:99999/fhir"),
    *("https://ehr.example.org%00.evil.example/fhir", "https://ehr.example.org:443:8443/fhir", "http://0/fhir"),
    *("jar:https://ehr.example.org!/fhir", "https://[fe80::1%25eth0]/fhir", "https://ehr.example.org%2f@evil.example/fhir"),
]  # fmt: skip


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every socket that is opened, and every name that is looked up."""
    opened: list[Any] = []

    class Spy(socket.socket):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            opened.append(args)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(socket, "socket", Spy)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: opened.append(args) or [])
    return opened


def asked(knowledge: Knowledge, wording: Wording, fhir_server: str) -> Any:
    site = Site.from_table(site_of(CASE) | {"ehr": {"servers": [ALLOWED]}})
    advisor = Advisor(knowledge, wording, site, lambda: NOON, Sources.of(site, knowledge))
    request = {
        "hook": "order-select",
        "hookInstance": CASE.hook_instance,
        "context": context_of(CASE, NOON),
        "fhirServer": fhir_server,
        "fhirAuthorization": {"access_token": "a-token", "token_type": "Bearer"},
    }
    return create_app(advisor).test_client().post("/cds-services/ppd-delivery-order", json=request)


def test_there_are_sixty_of_them(record_property: Callable[[str, object], None]) -> None:
    record_property("safety", f"hostile FHIR servers: {len(HOSTILE)}, and not one of them got a socket")
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


@pytest.mark.pitfall(12)
@pytest.mark.parametrize("url", HOSTILE)
def test_a_server_that_the_site_does_not_name_gets_no_socket(
    url: str, knowledge: Knowledge, wording: Wording, sockets: list[Any]
) -> None:
    answer = asked(knowledge, wording, url)

    assert sockets == []
    assert answer.status_code in (400, 412)
    assert answer.get_json()["resourceType"] == "OperationOutcome"
    assert "a-token" not in answer.text


LEADS = [
    "169.254.169.254", "127.0.0.1", "10.0.0.1", "192.168.0.9", "100.100.100.200", "::1", "fe80::1", "fd00:ec2::254",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "0.0.0.0", "224.0.0.1",
]  # fmt: skip


@pytest.mark.pitfall(12)
@pytest.mark.parametrize("others", [[], ["198.41.0.4"]], ids=["alone", "beside a good one"])
@pytest.mark.parametrize("address", LEADS)
def test_an_allowed_name_that_leads_elsewhere_gets_no_socket(
    address: str,
    others: list[str],
    knowledge: Knowledge,
    wording: Wording,
    sockets: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS that changes its answer: what was checked is what would be connected to."""
    found = [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, 443)) for a in (*others, address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    answer = asked(knowledge, wording, ALLOWED)

    assert sockets == []
    assert answer.status_code == 412


def test_a_private_address_is_one_more_thing_to_allow() -> None:
    server = Server.at(ALLOWED)
    assert server is not None
    closed = Servers(Site.from_table({"country": "CN", "ehr": {"servers": [ALLOWED]}}))
    opened = Servers(Site.from_table({"country": "CN", "ehr": {"servers": [ALLOWED], "private_addresses": True}}))

    assert not closed.may_reach(server, "10.1.2.3")
    assert opened.may_reach(server, "10.1.2.3")
    assert not opened.may_reach(server, "169.254.169.254")
    assert closed.may_reach(server, "198.41.0.4")


@pytest.mark.parametrize("url", ["https://EHR.example.org/fhir/", "https://ehr.example.org:443/fhir", ALLOWED])
def test_the_same_server_otherwise_written_is_the_same(url: str) -> None:
    assert Servers(Site.from_table({"country": "CN", "ehr": {"servers": [ALLOWED]}})).allowed(url) is not None


@pytest.mark.pitfall(12)
@pytest.mark.parametrize(
    "link", ["https://evil.example/fhir?p=2", "https://ehr.example.org@evil.example/fhir", "https://ehr.example.org/x"]
)
def test_the_token_goes_below_the_base_only(link: str) -> None:
    server = Server.at(ALLOWED)
    assert server is not None
    assert not server.holds(link)
    assert server.holds(f"{ALLOWED}/Observation?page=2")
