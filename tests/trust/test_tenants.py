"""The tenants file: every defect is named at start, in a line, and what it says is what is served."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jwks_server import Json
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tokens import ec_key, rsa_key, signers

from cds_service.ehr.gathering import Sources
from cds_service.errors import SiteUnfit
from cds_service.knowledge import Knowledge
from cds_service.settings import DEFAULT_SITE
from cds_service.tenants import Tenant, TenantsFile, defects

EXAMPLE = Path(__file__).parents[2] / "docs" / "tenants.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
# The public half of what https://sandbox.cds-hooks.org signs with.
SANDBOX_KEY = {
    "kty": "EC",
    "crv": "P-384",
    "kid": "sandbox",
    "x": "dw_JGR8nB2I6XveNxUOl2qk699ZPLM2nYI5STSdiEl9avAkrm3CkfYMbrrjr8laB",
    "y": "Sm3mLE-n1zYNla_aiE3cb3nZsL51RbC7ysw3q8aJLxGm-hx79RPMYpITDjp7kgzy",
}
SANDBOX_KID = "44823f3d-0b01-4a6c-a80e-b9d3e8a7226f"
GOOD: dict[str, Any] = {"id": "a", "issuer": "https://ehr.example.org", "jwks": "https://ehr.example.org/jwks"}
FROM_FILE: dict[str, Any] = {"id": "a", "issuer": "https://ehr.example.org", "jwks_file": "keys.json"}


def written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value)


def file(folder: Path, *tenants: dict[str, Any], production: bool = True) -> TenantsFile:
    """A tenants file with these; a key that is None is left out."""
    rows = []
    for tenant in tenants:
        lines = [f"{key} = {written(value)}" for key, value in tenant.items() if value is not None]
        rows.append("\n".join(["[[tenant]]", *lines]))
    path = folder / "tenants.toml"
    path.write_text("\n\n".join(rows), encoding="utf-8")
    return TenantsFile.from_file(path, production=production)


def unfit(folder: Path, *tenants: dict[str, Any], production: bool = True) -> tuple[str, ...]:
    """The defects, without the name of the file that each begins with."""
    with pytest.raises(SiteUnfit) as refused:
        file(folder, *tenants, production=production)
    start = f"{folder / 'tenants.toml'}: "
    assert all(line.startswith(start) and "\n" not in line for line in refused.value.defects)
    return tuple(line.removeprefix(start) for line in refused.value.defects)


def with_keys(folder: Path, *keys: Any) -> Path:
    path = folder / "keys.json"
    path.write_text(json.dumps({"keys": keys}), encoding="utf-8")
    return path


# ---- The example


@pytest.mark.parametrize("production", [True, False])
def test_the_example_is_fit(production: bool, knowledge: Knowledge) -> None:
    found = TenantsFile.from_file(EXAMPLE, production=production)

    assert [tenant.id for tenant in found.tenants] == ["north-hospital", "east-hospital", "west-hospital"]
    assert list(defects(found, knowledge)) == []
    for tenant in found.tenants:
        Sources.of(found.site_of(tenant), knowledge)


def test_the_example_shows_every_key_and_says_what_it_is() -> None:
    """Behind it, or in the lines above it."""
    shown = {key for tenant in tomllib.loads(TEXT)["tenant"] for key in tenant}
    assert shown == set(Tenant.model_fields)

    lines = TEXT.splitlines()
    for key in Tenant.model_fields:
        number = next(n for n, line in enumerate(lines) if line.startswith(f"{key} = "))
        assert " # " in lines[number] or lines[number - 1].startswith("#"), key


def test_the_example_shows_no_default_but_the_ones_it_says() -> None:
    """Someone who leaves a key out gets what the example's own comments call the ordinary."""
    bare = Tenant(id="a", issuer="https://a", jwks="https://a/jwks")

    assert (bare.lifetime_seconds, bare.leeway_seconds, bare.mode, bare.off) == (300, 30, "live", ())
    assert bare.algorithms == ("ES384", "RS384")
    assert (bare.private_addresses, bare.audiences, bare.cors_origins, bare.fhir_servers) == (False, (), (), ())


# ---- What is read


def test_the_files_that_are_named_lie_beside_it(tmp_path: Path) -> None:
    keys = with_keys(tmp_path, signers()["es384"].jwk())
    site = tmp_path / "site.toml"
    site.write_text('country = "CN"\nname = "A"', encoding="utf-8")
    found = file(tmp_path, {**FROM_FILE, "site": "site.toml"}, {**FROM_FILE, "id": "b", "issuer": "https://b"})

    assert found.tenants[0].jwks_file == keys
    assert found.files == (tmp_path / "tenants.toml", keys, site)
    assert file(tmp_path, {**FROM_FILE, "jwks_file": str(keys)}).tenants[0].jwks_file == keys


def test_what_a_tenant_has_of_its_own_replaces_what_its_site_file_says(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        'country = "CN"\nname = "A"\ndialect = "sandbox"\n'
        '[ehr]\nservers = ["https://old.example/fhir"]\nbudget_ms = 123'
    )
    own = {"fhir_servers": ["https://new.example/fhir"], "dialect": "epic"}
    found = file(tmp_path, {**GOOD, "site": "site.toml", **own}, {**GOOD, "id": "b", "issuer": "https://b", **own})
    plain = file(tmp_path, {**GOOD, "site": "site.toml"})

    first, second = (found.site_of(tenant) for tenant in found.tenants)
    assert (first.name, first.dialect, first.ehr.servers, first.ehr.budget_ms) == (
        "A",
        "epic",
        ("https://new.example/fhir",),
        123,
    )
    assert (second.country, second.dialect, second.ehr.servers) == ("ZZ", "epic", ("https://new.example/fhir",))
    assert plain.site_of(plain.tenants[0]).ehr.servers == ("https://old.example/fhir",)
    assert plain.site_of(plain.tenants[0]).dialect == "sandbox"
    assert DEFAULT_SITE.ehr.servers == ()


def test_a_token_may_name_one_place_for_keys() -> None:
    assert Tenant(**GOOD).key_place == GOOD["jwks"]
    assert Tenant(**FROM_FILE).key_place is None
    assert Tenant(**FROM_FILE, jku="https://ehr.example.org/jwks").key_place == "https://ehr.example.org/jwks"


# ---- What is refused

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"colour": "red"}, "tenant.0.colour: "),
    ({"id": None}, "tenant.0.id: "),
    ({"id": ""}, "tenant.0.id: "),
    ({"id": "North"}, "tenant.0.id: "),
    ({"id": "-a"}, "tenant.0.id: "),
    ({"id": "a" * 64}, "tenant.0.id: "),
    ({"id": "a\n"}, "tenant.0.id: "),
    ({"issuer": None}, "tenant.0.issuer: "),
    ({"issuer": ""}, "tenant.0.issuer: "),
    ({"issuer": "https://ehr.example.org "}, "tenant.0.issuer: "),
    ({"issuer": "https://ehr.example.org\n"}, "tenant.0.issuer: "),
    ({"jwks": None}, "tenant.0: Value error, either jwks or jwks_file"),
    ({"jwks_file": "keys.json"}, "tenant.0: Value error, either jwks or jwks_file"),
    ({"jku": "https://ehr.example.org/jwks"}, "tenant.0: Value error, jku goes with jwks_file"),
    ({"jwks": "https://ehr.example.org"}, "tenant.0.jwks: "),
    ({"jwks": "https://ehr.example.org/jwks?x=1"}, "tenant.0.jwks: "),
    ({"jwks": "https://me@ehr.example.org/jwks"}, "tenant.0.jwks: "),
    ({"jwks": "ftp://ehr.example.org/jwks"}, "tenant.0.jwks: "),
    ({"jwks": "https://[::1/jwks"}, "tenant.0.jwks: not a URL"),
    ({"jwks": "http://ehr.example.org/jwks"}, "tenant.0.jwks: not https"),
    ({"algorithms": []}, "tenant.0.algorithms: "),
    ({"algorithms": ["none"]}, "tenant.0.algorithms.0: "),
    ({"algorithms": ["HS256"]}, "tenant.0.algorithms.0: "),
    ({"algorithms": ["EdDSA"]}, "tenant.0.algorithms.0: "),
    ({"audiences": [""]}, "tenant.0.audiences.0: "),
    ({"audiences": "sand_man"}, "tenant.0.audiences: "),
    ({"tenant_claim": ""}, "tenant.0.tenant_claim: "),
    ({"lifetime_seconds": 0}, "tenant.0.lifetime_seconds: "),
    ({"lifetime_seconds": 3601}, "tenant.0.lifetime_seconds: "),
    ({"lifetime_seconds": "300"}, "tenant.0.lifetime_seconds: "),
    ({"lifetime_seconds": True}, "tenant.0.lifetime_seconds: "),
    ({"leeway_seconds": 1}, "tenant.0.leeway_seconds: "),
    ({"leeway_seconds": 121}, "tenant.0.leeway_seconds: "),
    ({"private_addresses": "yes"}, "tenant.0.private_addresses: "),
    ({"dialect": "klingon"}, "tenant.0.dialect: "),
    ({"mode": "dark"}, "tenant.0.mode: "),
    ({"off": ["PPDSAFETY"]}, "tenant.0.off: Value error, PPDSAFETY cannot be turned off"),
    ({"off": ["PPDRISK", "PPDSAFETY"]}, "tenant.0.off: Value error, PPDSAFETY cannot be turned off"),
    *(
        ({"cors_origins": [origin]}, "tenant.0.cors_origins: Value error, not exact origins")
        for origin in (
            "*",
            "null",
            "https://ehr.example.org/",
            "https://EHR.example.org",
            "https://ehr.example.org:443",
        )
    ),
    ({"site": "gone.toml"}, "tenant.0.site: "),
]
RIGHT: list[dict[str, Any]] = [
    {"id": "0"},
    {"id": "a" * 63},
    {"lifetime_seconds": 1},
    {"lifetime_seconds": 3600},
    {"leeway_seconds": 2},
    {"leeway_seconds": 120},
    {"jwks": "https://ehr.example.org:8443/a/b.json"},
    {"jwks": "https://[2001:db8::1]/jwks"},
    {"cors_origins": ["https://ehr.example.org", "http://localhost:3000"]},
    {"off": ["PPDRISK"]},
    {"mode": "shadow"},
    {"tenant_claim": "x"},
    {"algorithms": ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]},
]


@pytest.mark.parametrize(("changes", "defect"), WRONG)
def test_a_defect_is_named_with_its_place(changes: dict[str, Any], defect: str, tmp_path: Path) -> None:
    (only,) = unfit(tmp_path, GOOD | changes)

    assert only.startswith(defect)


@pytest.mark.parametrize("changes", RIGHT)
def test_what_is_at_the_edge_is_fit(changes: dict[str, Any], tmp_path: Path) -> None:
    assert len(file(tmp_path, GOOD | changes).tenants) == 1


def test_every_defect_is_named_and_not_only_the_first(tmp_path: Path) -> None:
    with_keys(tmp_path, {"kid": "x", "kty": "RSA"})
    found = unfit(
        tmp_path,
        {**GOOD, "jwks": "http://ehr.example.org/jwks", "site": "gone.toml"},
        {**FROM_FILE},
    )

    places = [line.partition(": ")[0] for line in found]
    assert sorted(places) == [
        "tenant.0.jwks",
        "tenant.0.site",
        "tenant.1.id",
        "tenant.1.issuer",
        "tenant.1.jwks_file",
        "tenant.1.jwks_file",
    ]


@pytest.mark.parametrize("text", ["", "tenant = []", "[[tenant", "[tenant]\nid = 1", 'x = "y"'])
def test_a_file_without_tenants_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tenants.toml"
    path.write_text(text)
    with pytest.raises(SiteUnfit):
        TenantsFile.from_file(path, production=False)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    for path in (tmp_path / "gone.toml", tmp_path, tmp_path / "latin.toml"):
        with pytest.raises(SiteUnfit, match=r"cannot be read: (No such file or directory|Is a directory|not UTF-8)$"):
            TenantsFile.from_file(path, production=False)


def test_a_site_file_with_defects_passes_them_on(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('country = "China"\ncolour = "red"')
    found = unfit(tmp_path, {**GOOD, "site": "site.toml"})

    assert len(found) == 2
    assert all(line.startswith("tenant.0.site: ") for line in found)


# ---- Tenants that could be taken for one another


@pytest.mark.parametrize(
    ("first", "second", "fit"),
    [
        ("east", "west", True),
        ("east", "east", False),
        ("east", None, False),
        (None, "west", False),
        (None, None, False),
    ],
)
def test_two_tenants_of_one_issuer_need_a_claim_each(
    first: str | None, second: str | None, fit: bool, tmp_path: Path
) -> None:
    tenants = ({**GOOD, "tenant_claim": first}, {**GOOD, "id": "b", "tenant_claim": second})
    if fit:
        assert len(file(tmp_path, *tenants).tenants) == 2
        return
    assert unfit(tmp_path, *tenants) == ("tenant.1.issuer: a has it, too, and no tenant_claim tells the two apart",)


def test_two_tenants_with_one_id_are_refused(tmp_path: Path) -> None:
    assert unfit(tmp_path, GOOD, {**GOOD, "issuer": "https://other.example"}) == ("tenant.1.id: a is there twice",)


def test_an_issuer_otherwise_written_is_another(tmp_path: Path) -> None:
    assert len(file(tmp_path, GOOD, {**GOOD, "id": "b", "issuer": "https://ehr.example.org/"}).tenants) == 2


# ---- Keys in a file


@pytest.mark.parametrize(
    ("keys", "defect"),
    [
        ([], "no key that fits ES384, RS384"),
        ([signers()["es256"].jwk()], "no key that fits ES384, RS384"),
        ([ECAlgorithm.to_jwk(ec_key("P-384"), as_dict=True) | {"kid": "k"}], "a key holds private key material"),
        ([json.loads(RSAAlgorithm.to_jwk(rsa_key(2048))) | {"kid": "k"}], "a key holds private key material"),
        ([signers()["short"].jwk()], "a key is shorter than 2048 bits"),
        ([signers()["es384"].jwk(kid=None)], "a key has no kid"),
        ([signers()["es384"].jwk(x="AA")], "a key cannot be read"),
        ([signers()["es384"].jwk(), signers()["enc"].jwk(kid="es384")], "a key has the kid of another key"),
        ([SANDBOX_KEY], "a key is the CDS Hooks Sandbox's, whose private half is public"),
        ([signers()["es384"].jwk(kid=SANDBOX_KID)], "a key is the CDS Hooks Sandbox's, whose private half is public"),
    ],
)
def test_a_key_file_with_a_defect_is_refused(keys: list[Json], defect: str, tmp_path: Path) -> None:
    with_keys(tmp_path, *keys)
    found = unfit(tmp_path, FROM_FILE)

    assert any(line.startswith(f"tenant.0.jwks_file: {defect}") for line in found)


def test_keys_that_are_meant_for_others_may_stand_in_a_key_file(tmp_path: Path) -> None:
    """It may be a copy of what the EHR publishes."""
    with_keys(tmp_path, signers()["enc"].jwk(use="enc"), {"kty": "OKP", "kid": "o"}, signers()["es384"].jwk())

    assert len(file(tmp_path, FROM_FILE).tenants) == 1


@pytest.mark.parametrize(
    ("body", "defect"),
    [
        (signers()["es384"].pem, "PEM: a JWKS is expected (JSON, RFC 7517)"),
        (b"\n" + signers()["es384"].pem, "PEM: a JWKS is expected (JSON, RFC 7517)"),
        (b"", "not a JWKS (RFC 7517) of at most 64 KiB"),
        (b"{}", "not a JWKS (RFC 7517) of at most 64 KiB"),
        (b'{"keys": []}'.ljust(64 * 1024 + 1), "not a JWKS (RFC 7517) of at most 64 KiB"),
    ],
)
def test_a_key_file_of_another_kind_is_refused(body: bytes, defect: str, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(body)

    assert unfit(tmp_path, FROM_FILE) == (f"tenant.0.jwks_file: {defect}",)


def test_a_key_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert unfit(tmp_path, FROM_FILE) == ("tenant.0.jwks_file: cannot be read",)


# ---- Only in development

SANDBOX_ISSUERS = [
    "https://sandbox.cds-hooks.org",
    "https://sandbox.cds-hooks.org/",
    "https://SANDBOX.cds-hooks.org",
    "HTTPS://Sandbox.CDS-Hooks.org/",
    "http://sandbox.cds-hooks.org",
    "https://sandbox.cds-hooks.org:443",
    "https://sandbox.cds-hooks.org./",
    "https://sandbox.cds-hooks.org/path",
    "sandbox.cds-hooks.org",
]


@pytest.mark.parametrize("issuer", SANDBOX_ISSUERS)
def test_the_public_sandbox_is_let_in_in_development_only(issuer: str, tmp_path: Path) -> None:
    tenant = {**GOOD, "issuer": issuer}

    assert unfit(tmp_path, tenant) == ("tenant.0.issuer: the public CDS Hooks Sandbox, whose private key is public",)
    assert len(file(tmp_path, tenant, production=False).tenants) == 1


def test_the_public_sandbox_hands_out_no_keys_in_production(tmp_path: Path) -> None:
    tenant = {**GOOD, "jwks": "https://Sandbox.cds-hooks.org/.well-known/jwks.json"}

    assert unfit(tmp_path, tenant) == ("tenant.0.jwks: the public CDS Hooks Sandbox, whose private key is public",)
    assert len(file(tmp_path, tenant, production=False).tenants) == 1


def test_the_public_sandbox_key_may_be_used_in_development(tmp_path: Path) -> None:
    with_keys(tmp_path, SANDBOX_KEY)

    assert len(file(tmp_path, FROM_FILE, production=False).tenants) == 1


@pytest.mark.parametrize("issuer", ["https://sandbox.cds-hooks.org.example", "https://sandbox.hospital.example"])
def test_who_is_only_named_alike_is_let_in(issuer: str, tmp_path: Path) -> None:
    assert len(file(tmp_path, {**GOOD, "issuer": issuer}).tenants) == 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:8080"])
def test_plain_http_on_this_machine_is_for_development(host: str, tmp_path: Path) -> None:
    tenant = {**GOOD, "jwks": f"http://{host}/jwks"}

    assert unfit(tmp_path, tenant) == ("tenant.0.jwks: not https",)
    assert len(file(tmp_path, tenant, production=False).tenants) == 1


@pytest.mark.parametrize("host", ["ehr.example.org", "10.0.0.1", "localhost.example.org", "127.0.0.1.example.org"])
def test_plain_http_elsewhere_is_for_nobody(host: str, tmp_path: Path) -> None:
    tenant = {**GOOD, "jwks": f"http://{host}/jwks"}

    assert unfit(tmp_path, tenant, production=False) == ("tenant.0.jwks: not https, and not on this machine",)


# ---- Against the knowledge


def test_a_topic_that_is_turned_off_must_be_one(tmp_path: Path, knowledge: Knowledge) -> None:
    found = file(tmp_path, {**GOOD, "off": ["PPDRISK", "PPDRISC"]}, {**GOOD, "id": "b", "issuer": "b", "off": ["X"]})

    assert list(defects(found, knowledge)) == [
        "tenant a: off: no such topic: PPDRISC",
        "tenant b: off: no such topic: X",
    ]


def test_a_fhir_server_that_cannot_be_meant_is_refused_where_sources_are_made(
    tmp_path: Path, knowledge: Knowledge
) -> None:
    found = file(tmp_path, {**GOOD, "fhir_servers": ["http://ehr.example.org/fhir"]})
    with pytest.raises(SiteUnfit, match="not https, and not on this machine"):
        Sources.of(found.site_of(found.tenants[0]), knowledge)
