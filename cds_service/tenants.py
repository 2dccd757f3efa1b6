"""Who may ask: the tenants file names each EHR that is let in, how it proves who it is, and what is its own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cds_service.errors import SiteUnfit
from cds_service.knowledge import Knowledge
from cds_service.public_keys import FOR_OTHERS, KeyFault, KeySet, read_key_file
from cds_service.settings import DEFAULT_SITE, ORIGIN, DialectName, Site, cannot_be_read

AlgorithmName = Literal["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]

_CLOSED: Final = ConfigDict(extra="forbid", frozen=True)
_Said = Annotated[str, Field(pattern=r"^[!-~]{1,512}$")]  # printable ASCII without a blank, compared byte for byte
# With a path and nothing after it. Where it may lead is checked when the keys are fetched.
_KeysUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#@%\\]+(?:/[A-Za-z0-9._~-]+)+$", max_length=1024)]
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SANDBOX: Final = "sandbox.cds-hooks.org"
_NEVER_OFF: Final = "PPDSAFETY"

_IN_WORDS: Final[Mapping[KeyFault, str]] = {
    KeyFault.NO_KID: "has no kid",
    KeyFault.NOT_A_KEY: "cannot be read",
    KeyFault.UNKNOWN_KIND: "is neither RSA nor on the curves P-256, P-384 and P-521",
    KeyFault.PRIVATE: "holds private key material: whoever has read the file can sign as this tenant",
    KeyFault.NOT_FOR_SIGNATURES: "is not meant to verify signatures",
    KeyFault.ANOTHER_ALGORITHM: "names an algorithm that does not fit it",
    KeyFault.TOO_SHORT: "is shorter than 2048 bits",
    KeyFault.TOO_LONG: "is longer than 8192 bits",
    KeyFault.PUBLISHED: "is the CDS Hooks Sandbox's, whose private half is public",
    KeyFault.TWICE: "has the kid of another key",
    KeyFault.TOO_MANY: "is one too many: 20 are read",
}


class Tenant(BaseModel):
    """
    An EHR that may ask.

    `issuer` is compared with the token's `iss` byte for byte. Its public keys come from `jwks`, a URL, or from
    `jwks_file`; then `jku` is what the header of its tokens may say about their place. `audiences` are accepted beside
    the address that was called. `tenant_claim` tells two tenants of one issuer apart. `lifetime_seconds` is the longest
    that a token may be good for, `leeway_seconds` how far its clock may be off. `private_addresses`: the host of `jwks`
    may stand in a private network.
    `site`, `fhir_servers` and `dialect` replace what the service's own site file says. `off` names topics that are not
    shown. In `shadow` mode everything is thought and written down, and no card is shown.
    """

    model_config = _CLOSED

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    issuer: _Said
    jwks: _KeysUrl | None = None
    jwks_file: Path | None = None
    jku: _Said | None = None
    algorithms: tuple[AlgorithmName, ...] = ("ES384", "RS384")
    audiences: tuple[_Said, ...] = ()
    tenant_claim: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    lifetime_seconds: Annotated[int, Field(ge=1, le=3600, strict=True)] = 300
    leeway_seconds: Annotated[int, Field(ge=2, le=120, strict=True)] = 30
    fhir_servers: tuple[str, ...] = ()
    dialect: DialectName | None = None
    site: Path | None = None
    cors_origins: tuple[str, ...] = ()
    private_addresses: Annotated[bool, Field(strict=True)] = False
    mode: Literal["live", "shadow"] = "live"
    off: tuple[str, ...] = ()

    @field_validator("algorithms")
    @classmethod
    def _has_one(cls, algorithms: tuple[AlgorithmName, ...]) -> tuple[AlgorithmName, ...]:
        if not algorithms:
            raise ValueError("none, so that no token could be verified")
        return algorithms

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if not all(ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError("not exact origins, such as https://ehr.example.org")
        return origins

    @field_validator("off")
    @classmethod
    def _may_be_off(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        if _NEVER_OFF in topics:
            raise ValueError(f"{_NEVER_OFF} cannot be turned off")
        return topics

    @model_validator(mode="after")
    def _has_one_place_for_keys(self) -> Self:
        if (self.jwks is None) == (self.jwks_file is None):
            raise ValueError("either jwks or jwks_file")
        if self.jku is not None and self.jwks_file is None:
            raise ValueError("jku goes with jwks_file: with jwks, a token may name that URL and no other")
        return self

    @property
    def key_place(self) -> str | None:
        """The one `jku` that the header of a token may hold."""
        return self.jwks or self.jku


class _File(BaseModel):
    model_config = _CLOSED

    tenant: tuple[Tenant, ...]

    @field_validator("tenant")
    @classmethod
    def _has_one(cls, tenants: tuple[Tenant, ...]) -> tuple[Tenant, ...]:
        if not tenants:
            raise ValueError("none, so that nobody could ask")
        return tenants


@dataclass(frozen=True, slots=True)
class TenantsFile:
    """The tenants, as a TOML file names them. `files` are all that was read: that one, and those that it names."""

    tenants: tuple[Tenant, ...]
    files: tuple[Path, ...]
    _sites: Mapping[str, Site] = field(repr=False)

    @classmethod
    def from_file(cls, path: Path, *, production: bool) -> TenantsFile:
        """
        The tenants in a TOML file. The files that it names lie beside it, unless they are absolute.

        In `production` the public CDS Hooks Sandbox is refused, and keys that would come without TLS. Raises SiteUnfit
        naming each defect in a line.
        """
        tenants = tuple(_beside(path, tenant) for tenant in _tenants(path))
        found = list(_alike(tenants))
        sites: dict[str, Site] = {}
        for number, tenant in enumerate(tenants):
            where = f"tenant.{number}"
            found += _place_defects(where, tenant, production=production)
            if tenant.jwks_file is not None:
                keys = read_key_file(tenant.jwks_file, production=production)
                found += [f"{where}.jwks_file: {defect}" for defect in _key_defects(keys, tenant)]
            if tenant.site is not None:
                try:
                    sites[tenant.id] = Site.from_file(tenant.site)
                except SiteUnfit as unfit:
                    found += [f"{where}.site: {defect}" for defect in unfit.defects]
        if found:
            raise SiteUnfit(*(f"{path}: {defect}" for defect in found))
        named = [file for tenant in tenants for file in (tenant.jwks_file, tenant.site) if file is not None]
        return cls(tenants, (path, *dict.fromkeys(named)), sites)

    def site_of(self, tenant: Tenant) -> Site:
        """What the tenant's site file says, with the servers and the dialect that the tenant has of its own."""
        site = self._sites.get(tenant.id, DEFAULT_SITE)
        changes: dict[str, Any] = {}
        if tenant.fhir_servers:
            changes["ehr"] = site.ehr.model_copy(update={"servers": tenant.fhir_servers})
        if tenant.dialect is not None:
            changes["dialect"] = tenant.dialect
        return site.model_copy(update=changes)


def defects(file: TenantsFile, knowledge: Knowledge) -> Iterator[str]:
    """What in a tenants file this knowledge does not know, one line each."""
    topics = {row.code for row in knowledge.topics.topic}
    for tenant in file.tenants:
        yield from (f"tenant {tenant.id}: off: no such topic: {topic}" for topic in tenant.off if topic not in topics)


def _beside(path: Path, tenant: Tenant) -> Tenant:
    named = {"jwks_file": tenant.jwks_file, "site": tenant.site}
    return tenant.model_copy(update={key: path.parent / file for key, file in named.items() if file is not None})


def _tenants(path: Path) -> tuple[Tenant, ...]:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).tenant
    except (OSError, UnicodeDecodeError) as error:
        raise SiteUnfit(cannot_be_read(path, error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SiteUnfit(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        lines = ((".".join(str(part) for part in defect["loc"]), defect["msg"]) for defect in error.errors())
        raise SiteUnfit(*(f"{path}: {place}: {message}" for place, message in lines)) from error


def _alike(tenants: tuple[Tenant, ...]) -> Iterator[str]:
    """Tenants that could be taken for one another."""
    for number, tenant in enumerate(tenants):
        for other in tenants[:number]:
            if other.id == tenant.id:
                yield f"tenant.{number}.id: {tenant.id} is there twice"
            claims = {other.tenant_claim, tenant.tenant_claim}
            if other.issuer == tenant.issuer and (None in claims or len(claims) == 1):
                yield f"tenant.{number}.issuer: {other.id} has it, too, and no tenant_claim tells the two apart"


def _place_defects(where: str, tenant: Tenant, *, production: bool) -> Iterator[str]:
    """Where a tenant and its keys may not be at home."""
    if production and _SANDBOX in (_host(tenant.issuer), tenant.issuer.lower().rstrip("/")):
        yield f"{where}.issuer: the public CDS Hooks Sandbox, whose private key is public"
    if tenant.jwks is None:
        return
    host = _host(tenant.jwks)
    if host is None:
        yield f"{where}.jwks: not a URL"
    elif production and host == _SANDBOX:
        yield f"{where}.jwks: the public CDS Hooks Sandbox, whose private key is public"
    elif tenant.jwks.startswith("http://") and (production or host not in _HERE):
        yield f"{where}.jwks: not https" + ("" if production else ", and not on this machine")


def _host(url: str) -> str | None:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return host.rstrip(".") if host else None


def _key_defects(keys: KeySet | str, tenant: Tenant) -> Iterator[str]:
    if isinstance(keys, str):
        yield keys
        return
    yield from (f"a key {_IN_WORDS[fault]}" for fault in keys.faults if fault not in FOR_OTHERS)
    if not any(key.algorithms & set(tenant.algorithms) for key in keys.fit.values()):
        yield f"no key that fits {', '.join(tenant.algorithms)}"
