"""Who is let in, and who is not: every caller of the table, through a tenants file and keys that are really fetched."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from conftest import NOON
from hypothesis import given, settings
from hypothesis import strategies as st
from jwks_server import JwksServer
from tokens import (
    BASE,
    CASES,
    DISCOVERY,
    FEEDBACK,
    ISSUERS,
    NOW,
    OTHER,
    SERVICE,
    Case,
    Parties,
    served,
    signers,
    write_tenants,
)

from cds_service.ehr.keys import Keys
from cds_service.ehr.trust import Trust
from cds_service.errors import CallerRefused, Refusal, StoreUnavailable, operation_outcome
from cds_service.events import Event, listen
from cds_service.tenants import Tenant, TenantsFile

BY_NAME = {case.name: case for case in CASES}


class Spent:
    """The tokens that were used, in memory."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, datetime, datetime]] = []
        self._lock = Lock()

    def __call__(self, issuer: str, jti: str, until: datetime, now: datetime) -> bool:
        with self._lock:
            first = (issuer, jti) not in {asked[:2] for asked in self.asked}
            self.asked.append((issuer, jti, until, now))
            return first


class House:
    """The parties, and one service that knows the tenants among them."""

    def __init__(self, folder: Path, parties: Parties, server: JwksServer) -> None:
        self.parties = parties
        self.server = server
        self.file = TenantsFile.from_file(write_tenants(folder, parties.origin), production=False)
        self.clock = server.clock
        self.keys = {tenant.id: Keys.of(tenant, production=False, clock=self.clock) for tenant in self.file.tenants}
        self.spent = Spent()

    def trust(self, now: datetime = NOON, base: str = BASE, **tenant: Any) -> Trust:
        tenants = [one.model_copy(update=tenant) for one in self.file.tenants]
        return Trust(tenants, self.keys, self.spent, base, lambda: now)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with served() as (parties, server):
        yield House(tmp_path_factory.mktemp("trust"), parties, server)


@pytest.fixture
def told() -> Iterator[list[tuple[Event, Mapping[str, Any]]]]:
    heard: list[tuple[Event, Mapping[str, Any]]] = []
    stop = listen(lambda event, fields: heard.append((event, fields)))
    yield heard
    stop()


def test_the_table_has_what_it_should(record_property: Any) -> None:
    refused = [case for case in CASES if case.reason is not None]
    admitted = [case for case in CASES if case.reason is None]
    record_property("refused", len(refused))

    assert len(BY_NAME) == len(CASES)
    assert len(refused) >= 150
    assert len(admitted) >= 35
    # The keys cannot be had, and the token is of another server: both are tried with the keys.
    assert {case.reason for case in refused} == set(Refusal) - {Refusal.KEYS_UNAVAILABLE}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_caller_is_let_in_or_refused_for_its_own_reason(
    case: Case, house: House, told: list[tuple[Event, Mapping[str, Any]]]
) -> None:
    trust = house.trust()
    *before, last = case.make(house.parties)
    for headers, path in before:
        trust.admit(headers, path)
    spent = len(house.spent.asked)
    if case.reason is None:
        tenant = trust.admit(*last)
        assert tenant.id in ISSUERS
        assert len(house.spent.asked) == spent + 1
        return
    with pytest.raises(CallerRefused) as refused:
        trust.admit(*last)

    assert refused.value.reason is case.reason
    assert refused.value.status == 401
    # Whoever is refused hears nothing of why, and of the token nothing is told or kept.
    assert json.dumps(operation_outcome(refused.value.code, str(refused.value))) == (
        '{"resourceType": "OperationOutcome", "issue": '
        '[{"severity": "error", "code": "login", "diagnostics": "the caller is not let in"}]}'
    )
    refusals = [fields for event, fields in told if event is Event.CALLER_REFUSED]
    assert [fields["reason"] for fields in refusals] == [case.reason]
    assert set(refusals[0]) <= {"reason", "tenant"}
    assert len(house.spent.asked) == spent + (case.reason is Refusal.REPLAYED)


def test_whatever_comes_of_the_table_each_set_is_fetched_once(house: House) -> None:
    """Nothing that is not verified causes a fetch, but an unknown kid, and that at most once a minute."""
    for case in CASES:
        for headers, path in case.make(house.parties):
            admitted(house, headers, path)

    paths = Counter(asked.path for asked in house.server.heard)
    assert paths == {f"/{name}/keys": 1 for name in ISSUERS}


def test_the_tenant_is_the_one_that_signed(house: House) -> None:
    trust = house.trust()
    for name in ISSUERS:
        assert trust.admit(house.parties.bearing(name), SERVICE).id == name


def test_a_token_is_remembered_until_no_clock_would_take_it(house: House) -> None:
    house.trust().admit(house.parties.bearing(claims={"jti": "kept", "exp": NOW + 300.25, "iat": NOW + 1}), SERVICE)

    issuer, jti, until, now = house.spent.asked[-1]
    assert (issuer, jti, now) == (ISSUERS["north"], "kept", NOON)
    # One second more than exp and leeway, since a fraction is rounded up.
    assert until == NOON + timedelta(seconds=331)
    held = house.parties.bearing(claims={"exp": NOW + 300.25, "iat": NOW + 1})
    with pytest.raises(CallerRefused) as refused:
        house.trust(now=until).admit(held, SERVICE)
    assert refused.value.reason is Refusal.EXPIRED


def test_a_token_that_is_refused_is_not_spent(house: House) -> None:
    held = house.parties.bearing(claims={"aud": [BASE + SERVICE]})
    with pytest.raises(CallerRefused):
        house.trust().admit(held, OTHER)

    assert house.trust().admit(held, SERVICE).id == "north"


def test_of_a_hundred_at_once_one_is_let_in(house: House) -> None:
    trust, held = house.trust(), house.parties.bearing()

    def outcome(_: int) -> str:
        try:
            return trust.admit(held, SERVICE).id
        except CallerRefused as refused:
            return refused.reason

    with ThreadPoolExecutor(16) as workers:
        assert Counter(workers.map(outcome, range(100))) == {"north": 1, Refusal.REPLAYED: 99}


def test_without_the_memory_of_tokens_nobody_is_let_in(house: House) -> None:
    def gone(*_: object) -> bool:
        raise StoreUnavailable("the database cannot be had now")

    trust = Trust(house.file.tenants, house.keys, gone, BASE, lambda: NOON)
    with pytest.raises(StoreUnavailable):
        trust.admit(house.parties.bearing(), SERVICE)
    with pytest.raises(CallerRefused):  # a forged one never gets that far
        trust.admit(house.parties.bearing(signer="stranger"), SERVICE)


@pytest.mark.parametrize("base", [BASE, f"{BASE}/"])
@pytest.mark.parametrize("path", [DISCOVERY, f"{DISCOVERY}/", SERVICE, f"{SERVICE}/", FEEDBACK])
def test_a_slash_at_an_end_makes_no_other_address(house: House, base: str, path: str) -> None:
    for said in (path.rstrip("/"), path.rstrip("/") + "/"):
        assert house.trust(base=base).admit(house.parties.bearing(path=said), path)


def test_behind_a_path_of_a_proxy_the_whole_address_counts(house: House) -> None:
    trust = house.trust(base="https://gateway.example.org/cds")

    assert trust.admit(house.parties.bearing(claims={"aud": f"https://gateway.example.org/cds{SERVICE}"}), SERVICE)
    with pytest.raises(CallerRefused):
        trust.admit(house.parties.bearing(claims={"aud": f"https://gateway.example.org{SERVICE}"}), SERVICE)


@pytest.mark.parametrize(("leeway", "late", "reason"), [(2, 1, None), (2, 2, Refusal.EXPIRED), (120, 119, None)])
def test_the_leeway_is_the_tenants(house: House, leeway: int, late: int, reason: Refusal | None) -> None:
    trust = house.trust(leeway_seconds=leeway)
    held = house.parties.bearing(claims={"iat": NOW - 200, "exp": NOW - late})
    if reason is None:
        assert trust.admit(held, SERVICE)
        return
    with pytest.raises(CallerRefused) as refused:
        trust.admit(held, SERVICE)
    assert refused.value.reason is reason


@pytest.mark.parametrize(("age", "reason"), [(599, None), (600, Refusal.KEY_UNKNOWN)])
def test_a_key_that_was_revoked_lets_nobody_in_after_ten_minutes(
    age: float, reason: Refusal | None, tmp_path: Path
) -> None:
    with served() as (parties, server):
        house = House(tmp_path, parties, server)
        house.trust().admit(parties.bearing(), SERVICE)
        server.sets["/north/keys"] = {"keys": [signers()["rs384"].jwk()]}
        server.clock.tick(age)
        with pytest.raises(CallerRefused) as forged:
            house.trust().admit(parties.bearing(signer="stranger"), SERVICE)
        assert forged.value.reason is Refusal.SIGNATURE
        assert len(server.heard) == 1  # who has not signed well causes no fetch
        if reason is None:
            assert house.trust().admit(parties.bearing(), SERVICE).id == "north"
            return
        with pytest.raises(CallerRefused) as refused:
            house.trust().admit(parties.bearing(), SERVICE)
        assert refused.value.reason is reason
        assert (len(server.heard), len(house.spent.asked)) == (2, 1)


@pytest.mark.parametrize(
    ("agreed", "named", "reason"),
    [
        ("https://north.example.org/jwks", "https://north.example.org/jwks", None),
        ("https://north.example.org/jwks", "https://north.example.org/jwks/", Refusal.KEY_PLACE),
        ("https://north.example.org/jwks", None, None),
        (None, "https://north.example.org/jwks", Refusal.KEY_PLACE),
        (None, None, None),
    ],
)
def test_where_keys_come_from_a_file_a_token_may_name_the_place_that_was_agreed(
    agreed: str | None, named: str | None, reason: Refusal | None, tmp_path: Path, house: House
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [signers()["es384"].jwk()]}))
    tenant = Tenant(id="north", issuer=ISSUERS["north"], jwks_file=path, jku=agreed)
    keys = Keys.of(tenant, production=True, clock=house.clock)
    trust = Trust([tenant], {"north": keys}, Spent(), BASE, lambda: NOON)
    held = house.parties.bearing(header={"jku": named} if named else {})
    if reason is None:
        assert trust.admit(held, SERVICE) == tenant
        return
    with pytest.raises(CallerRefused) as refused:
        trust.admit(held, SERVICE)
    assert refused.value.reason is reason


def test_a_refusal_is_told_with_the_tenant_once_one_is_chosen(
    house: House, told: list[tuple[Event, Mapping[str, Any]]]
) -> None:
    for held in ([], house.parties.bearing(signer="stranger")):
        with pytest.raises(CallerRefused):
            house.trust().admit(held, SERVICE)

    assert told == [
        (Event.CALLER_REFUSED, {"reason": "no-header"}),
        (Event.CALLER_REFUSED, {"reason": "signature", "tenant": "north"}),
    ]


# ---- Whatever is sent


def admitted(house: House, headers: list[str], path: str = SERVICE) -> Tenant | None:
    """The tenant, or None where it is refused. Anything else is an error of ours. Nothing is remembered."""
    try:
        return Trust(house.file.tenants, house.keys, lambda *_: True, BASE, lambda: NOON).admit(headers, path)
    except CallerRefused:
        return None


@given(st.lists(st.text(max_size=200) | st.text("Bearer. eyJ_-=,\t", max_size=200), max_size=3))
def test_whatever_text_is_sent_is_refused(house: House, headers: list[str]) -> None:
    assert admitted(house, headers) is None
    assert admitted(house, [f"Bearer {header}" for header in headers]) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku", "crit", "x5c", "b64", "other"]), _JSON, max_size=3),
    st.dictionaries(st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "jti", "tenant", "sub"]), _JSON, max_size=3),
)
def test_whatever_a_tenant_signs_is_let_in_or_refused(
    house: House, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    """Even the owner of a key cannot cause an error of ours. Members that nobody reads do no harm."""
    tenant = admitted(house, house.parties.bearing(header=header, claims=claims))

    if set(header) <= {"other"} and set(claims) <= {"sub", "tenant"}:
        assert tenant is not None or _unreadable(header) or _unreadable(claims)
    if {"crit", "x5c", "b64"} & set(header):
        assert tenant is None


def _unreadable(value: Any) -> bool:
    """Numbers that are not finite or too long, names that stand twice: no JSON here."""
    text = json.dumps(value)
    return any(odd in text for odd in ("NaN", "Infinity", "e+", "e-", "\\u0000", "\\ud"))


@settings(deadline=None)
@given(st.data())
def test_a_token_with_one_character_changed_is_refused(house: House, data: st.DataObject) -> None:
    held = house.parties.bearing()[0]
    place = data.draw(st.integers(len("Bearer "), len(held) - 1))
    sign = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.= "))
    changed = held[:place] + sign + held[place + 1 :]

    assert (admitted(house, [changed]) is None) is (changed != held)


def test_the_cases_do_not_depend_on_one_another(house: House) -> None:
    """Each can be sent anywhere, in any order: no two hold the same token."""
    names = [BY_NAME["replay"], replace(BY_NAME["replay"], name="again")]
    first, second = (case.make(house.parties)[0][0] for case in names)

    assert first != second
