"""What a hospital decides in its site file, and what its operator sets in the environment: each read once."""

from __future__ import annotations

import base64
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cds_service.errors import SiteUnfit

_CLOSED = ConfigDict(extra="forbid", frozen=True)
_URI = r"^(?:https?://[^\s|]+|urn:[^\s|]+)$"
_Token = Annotated[str, Field(pattern=r"^[^\s|,\\$][^|,\\$]{0,127}$")]

# As a browser writes it: in lower case, without a path, and without the port that goes without saying.
ORIGIN: Final = re.compile(
    r"(?!https:.*:443$|http:.*:80$)https?://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?"
)

# The language that everything is written in first.
DEFAULT_LANGUAGE: Final = "en"

# The ways in which EHRs want to be spoken to.
DialectName = Literal["standard", "epic", "cerner-1.0", "sandbox"]


class SiteProtocol(BaseModel):
    """The one protocol that the site enables, and the number under which it approved it."""

    model_config = _CLOSED

    id: Annotated[str, Field(min_length=1, max_length=64)]
    approval: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/&-]{1,63}$")]
    strength_mg_per_ml: Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class SiteReview(BaseModel):
    """Who at the site signed the knowledge, when, and which knowledge: the hash that `check` prints."""

    model_config = _CLOSED

    by: Annotated[tuple[str, ...], Field(min_length=1)]
    on: date
    knowledge: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{12,64}$")]


class SiteEhr(BaseModel):
    """
    What of the EHR may be read beyond prefetch, and how.

    `servers`: FHIR base URLs that may be read when a call names one of them; none by default. `budget_ms`: how long
    one call may wait for all its reads together. `private_addresses`: those servers stand in a private network.
    `questionnaires`: a folder of FHIR Questionnaires (JSON) whose answers the site licenses and scores.
    `excluded_labels`: security labels (`code`, or `system|code`) whose resources are not to be read.
    """

    model_config = _CLOSED

    servers: tuple[str, ...] = ()
    budget_ms: Annotated[int, Field(ge=50, le=60_000)] = 400
    private_addresses: bool = False
    questionnaires: Path | None = None
    excluded_labels: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = ()


class SiteFeedback(BaseModel):
    """`keep_comments`: keep what clinicians type as a reason. It may be about a patient: dropped by default."""

    model_config = _CLOSED

    keep_comments: bool = False


class LocalMeaning(BaseModel):
    """
    What codes and words of the EHR's own stand for: `means` names concepts of the value sets.

    `system` is the URI under which the EHR sends the `codes`. `words` are looked for in names and displays.
    `strength_mg_per_ml` is that of the product behind the codes, where they stand for a medicine.
    """

    model_config = _CLOSED

    means: Annotated[tuple[str, ...], Field(min_length=1)]
    system: Annotated[str, Field(pattern=_URI)] | None = None
    codes: tuple[_Token, ...] = ()
    words: tuple[Annotated[str, Field(min_length=3, max_length=120)], ...] = ()
    strength_mg_per_ml: Annotated[Decimal, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.codes and not self.words:
            raise ValueError("neither codes nor words")
        if self.codes and self.system is None:
            raise ValueError("codes without their system")
        return self


class Orderable(BaseModel):
    """
    An order of ours as the EHR's catalogue has it: `order` is an id of the order table, or "medicine".

    `defaults` names the protocol whose dose, route and rate the item itself has. Epic drops those of a created order,
    and takes the item's own.
    """

    model_config = _CLOSED

    order: Annotated[str, Field(min_length=1, max_length=64)]
    system: Annotated[str, Field(pattern=_URI)]
    code: _Token
    display: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    defaults: str | None = None


class Role(BaseModel):
    """Which topics people in a role are shown. The codes are those of their PractitionerRole."""

    model_config = _CLOSED

    system: Annotated[str, Field(pattern=_URI)]
    codes: Annotated[tuple[_Token, ...], Field(min_length=1)]
    topics: tuple[str, ...]


class Site(BaseModel):
    """
    A site file (TOML). Unknown keys are refused.

    `time_zone` is the IANA zone in which a date without a zone is read, and whose time of day is shown. Without it,
    the first is the zone of the clock (UTC), and a time of day is shown as it was written.
    `language` is the one that the cards are written in, a folder in `cards/`; "en" is English.
    `tighten` names D rows that this site blocks on although the table lets them be confirmed. `terminology` is a
    folder of the operator's with FHIR ValueSet expansions (SNOMED CT needs a licence).
    `dialect` is how the EHR wants to be spoken to; without it each call shows which. `links`: how the URLs begin that
    the EHR has registered. `local`, `orderable` and `role` translate from the EHR's codes, to its orders and for its
    people. `filter_repeats`: a card that a user was shown before is left out even when the EHR does not ask for that.
    `empty_allergy_list_means_none` and `administrations_elsewhere` are declarations of decision logic, sections 1
    and 4.3 (D07).
    """

    model_config = _CLOSED

    name: Annotated[str, Field(min_length=1, max_length=120)] = "Unnamed site"
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    time_zone: str | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] = DEFAULT_LANGUAGE
    protocol: SiteProtocol | None = None
    review: SiteReview | None = None
    ehr: SiteEhr = SiteEhr()
    feedback: SiteFeedback = SiteFeedback()
    tighten: tuple[str, ...] = ()
    terminology: Path | None = None
    dialect: DialectName | None = None
    links: tuple[Annotated[str, Field(pattern=r"^https://[^\s/]+/")], ...] = ()
    local: tuple[LocalMeaning, ...] = ()
    orderable: tuple[Orderable, ...] = ()
    role: tuple[Role, ...] = ()
    filter_repeats: bool = False
    empty_allergy_list_means_none: bool = False
    administrations_elsewhere: bool = False

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        try:
            ZoneInfo(name or "UTC")
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("not an IANA time zone") from error
        return name

    def zone(self, now: datetime) -> tzinfo:
        """Where a date without a zone was written."""
        return ZoneInfo(self.time_zone) if self.time_zone else now.tzinfo or UTC

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str = "site") -> Site:
        """A site from a parsed table. Raises SiteUnfit naming each defect in a line."""
        try:
            return cls.model_validate(dict(table))
        except ValidationError as error:
            raise SiteUnfit(*(_in_a_line(where, defect) for defect in error.errors())) from error

    @classmethod
    def from_file(cls, path: Path) -> Site:
        """A site from a TOML file. Raises SiteUnfit naming each defect in a line."""
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise SiteUnfit(cannot_be_read(path, error)) from error
        except tomllib.TOMLDecodeError as error:
            raise SiteUnfit(f"{path}: not TOML: {error}") from error
        site = cls.from_table(table, str(path))
        changes: dict[str, Any] = {}
        if site.terminology is not None:
            changes["terminology"] = path.parent / site.terminology  # beside the site file, unless it is absolute
        if site.ehr.questionnaires is not None:
            folder = path.parent / site.ehr.questionnaires
            changes["ehr"] = site.ehr.model_copy(update={"questionnaires": folder})
        return site.model_copy(update=changes)


# A site that offers no medicine: what `evaluate` and `serve` use when no site file is given.
DEFAULT_SITE = Site(name="No site file", country="ZZ")


@dataclass(frozen=True, slots=True)
class Terms:
    """
    On which terms a tenant is served: who it is to us, whether in the open, and which topics nobody is shown.

    In the shadow everything is done and remembered as ever, and the EHR hears that there is nothing to say.
    """

    tenant: str = "default"
    issuer: str = ""
    shadow: bool = False
    off: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SignOn:
    """
    How people sign in with the hospital's own provider (OpenID Connect), and who of them is let in.

    `allowed` holds `sub:…`, `email:…` and `group:…`: one that fits is enough.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    allowed: frozenset[str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self | None:
        """None when nothing of it is set. Raises SiteUnfit when it is set by half, or has no place to come back to."""
        values = {name: environment.get(name, "").strip() for name in _SIGN_ON}
        if not any(values.values()):
            return None
        if missing := [name for name, value in values.items() if not value]:
            raise SiteUnfit(*(f"{name}: missing, although others of its kind are set" for name in missing))
        issuer, client_id, client_secret, listed = values.values()
        if not _ISSUER.fullmatch(issuer):
            raise SiteUnfit(f"{_SIGN_ON[0]}: not an https URL, as the provider writes it in its tokens")
        allowed = frozenset(one for text in listed.split(",") if (one := text.strip()))
        if not allowed or not all(_ALLOWED.fullmatch(one) for one in allowed):
            raise SiteUnfit(f"{_SIGN_ON[3]}: not sub:…, email:… or group:…, with commas between them")
        if not environment.get("CDS_PUBLIC_BASE_URL"):
            raise SiteUnfit("CDS_PUBLIC_BASE_URL: missing: whoever signs in is sent back there")
        return cls(issuer, client_id, client_secret, allowed)


_SIGN_ON: Final = (
    "CDS_INSIGHTS_OIDC_ISSUER",
    "CDS_INSIGHTS_OIDC_CLIENT_ID",
    "CDS_INSIGHTS_OIDC_CLIENT_SECRET",
    "CDS_INSIGHTS_OIDC_ALLOW",
)
_ISSUER: Final = re.compile(r"(?:https://[^\s?#]+|http://(?:localhost|127\.0\.0\.1)(?::\d+)?(?:/[^\s?#]*)?)")
_ALLOWED: Final = re.compile(r"(?:sub|email|group):\S.*")


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may read /insights: whoever has the token, and whoever signs in. `base_url` is how they reach us."""

    token: str | None = field(default=None, repr=False)
    sign_on: SignOn | None = None
    base_url: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises SiteUnfit."""
        base_url = environment.get("CDS_PUBLIC_BASE_URL", "").rstrip("/") or None
        return cls(_token(environment, "CDS_INSIGHTS_TOKEN"), SignOn.from_environment(environment), base_url)

    @property
    def named(self) -> bool:
        """Is anybody named? If not, nobody may read, but where nobody has to say who they are."""
        return self.token is not None or self.sign_on is not None


@dataclass(frozen=True)
class Settings:
    """
    The environment, read once.

    `CDS_CORS_ORIGINS`: the origins, with commas between them, of browser clients that may call the services.
    `CDS_DATABASE`: a path (SQLite) or a URL (PostgreSQL) where audit, feedback and spent tokens are kept.
    `CDS_EXPLANATION_KEY`: with it the thought behind each card is kept for a day, encrypted, at `CDS_EXPLANATIONS` (a
    path or a URL), and cards link to it.
    `CDS_AUDIT_KEY`: 32 bytes in URL-safe base64, under which the audit names patients and users.
    `CDS_METRICS_TOKEN`: who may read /metrics. `CDS_INSIGHTS_TOKEN`, or `CDS_INSIGHTS_OIDC_ISSUER` with `…_CLIENT_ID`,
    `…_CLIENT_SECRET` and `…_ALLOW`: who may read /insights. `CDS_PUBLIC_BASE_URL`: how callers reach us, and what
    tokens are for.
    `debugging` are the variables that would show the inside of this program to whoever calls it.
    """

    public_base_url: str | None = None
    database: str = field(default="cds-service.sqlite3", repr=False)  # a URL may hold a password
    cors_origins: tuple[str, ...] = ()
    explanations: str = field(default="cds-explanations.sqlite3", repr=False)
    explanation_key: str | None = field(default=None, repr=False)
    audit_key: bytes | None = field(default=None, repr=False)
    metrics_token: str | None = field(default=None, repr=False)
    debugging: tuple[str, ...] = ()
    insights: Readers = Readers()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises SiteUnfit when a setting cannot be used."""
        url = environment.get("CDS_PUBLIC_BASE_URL", "").rstrip("/")
        if url and not url.startswith(("http://", "https://")):
            raise SiteUnfit("CDS_PUBLIC_BASE_URL: not an http or https URL")
        origins = tuple(o for text in environment.get("CDS_CORS_ORIGINS", "").split(",") if (o := text.strip()))
        if not all(ORIGIN.fullmatch(origin) for origin in origins):
            raise SiteUnfit(
                "CDS_CORS_ORIGINS: not exact origins with commas between them, such as https://ehr.example.org"
            )
        return cls(
            url or None,
            environment.get("CDS_DATABASE") or cls.database,
            origins,
            environment.get("CDS_EXPLANATIONS") or cls.explanations,
            environment.get("CDS_EXPLANATION_KEY") or None,
            _key(environment.get("CDS_AUDIT_KEY") or None),
            _token(environment, "CDS_METRICS_TOKEN"),
            tuple(name for name in _DEBUGGING if environment.get(name, "").lower() not in _OFF),
            Readers.from_environment(environment),
        )

    def fit_for_production(self) -> None:
        """Raises SiteUnfit, with a line for each setting without which no patient's data may come near."""
        base = self.public_base_url
        defects = [
            *(["CDS_PUBLIC_BASE_URL: missing: the address that callers' tokens are for"] if base is None else []),
            *(["CDS_PUBLIC_BASE_URL: not https"] if base is not None and not base.startswith("https://") else []),
            *(["CDS_AUDIT_KEY: missing: the audit names patients under it"] if self.audit_key is None else []),
            *(f"{name}: set, and it would show the inside of this program to callers" for name in self.debugging),
        ]
        if defects:
            raise SiteUnfit(*defects)


_DEBUGGING: Final = ("FLASK_DEBUG", "PYTHONDEVMODE", "PYTHONINSPECT", "PYTHONASYNCIODEBUG")
_OFF: Final = frozenset({"", "0", "false", "no"})
_KEY_BYTES: Final = 32


def _token(environment: Mapping[str, str], name: str) -> str | None:
    token = environment.get(name) or None
    if token is not None and not re.fullmatch(r"[\x21-\x7e]{16,256}", token):
        raise SiteUnfit(f"{name}: not 16 to 256 characters without a blank")
    return token


def _key(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        key = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SiteUnfit("CDS_AUDIT_KEY: not 32 bytes in URL-safe base64")
    return key


def cannot_be_read(path: Path, error: OSError | UnicodeDecodeError) -> str:
    """Why not, in the words of the machine."""
    return f"{path}: cannot be read: {error.strerror if isinstance(error, OSError) else 'not UTF-8'}"


def _in_a_line(where: str, defect: Any) -> str:
    place = ".".join(str(part) for part in defect["loc"])
    return f"{where}: {place}: {defect['msg']}" if place else f"{where}: {defect['msg']}"
