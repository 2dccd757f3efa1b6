"""What is on paper: the settings, the site and tenants files, and the knowledge, before anything is called."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from cds_service.database import Database
from cds_service.doctor.findings import Trouble, fail, warn
from cds_service.doctor.refusals import NEW_KEY
from cds_service.doctor.setup import Place, Setup
from cds_service.ehr.servers import Server
from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.explanations import Explanations
from cds_service.settings import DEFAULT_LANGUAGE, DialectName, Settings
from cds_service.telemetry import defects as telemetry_defects

_OURS: Final = "CDS_"
# Variables of the tests, which a developer may have set.
_FOR_TESTS: Final = ("CDS_TEST_", "CDS_WRITE_GOLDEN")
# 32 random bytes hold about 30 different ones. Fewer than this is no accident.
_FEWEST_BYTES: Final = 16
_EPIC_SECONDS: Final = 900
# An EHR waits about half a second for a card (CDS Hooks 2.0). Less than this reads nothing over a network.
_LEAST_BUDGET_MS: Final = 100
_MOST_BUDGET_MS: Final = 3_000
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def no_more(_: Setup) -> Iterator[Trouble]:
    """For a check that is made by the start itself: what it refuses is all there is to say."""
    yield from ()


# --- the environment ------------------------------------------------------------------------------


class _Noting(dict[str, str]):
    """An environment with nothing in it, which remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(key)
        return default


def known_settings() -> frozenset[str]:
    """The variables that the service reads: asked of the very code that reads them."""
    environment = _Noting()
    Settings.from_environment(environment)
    return frozenset(name for name in environment.asked if name.startswith(_OURS))


def misspelt(setup: Setup) -> Iterator[Trouble]:
    known = known_settings()
    for name in sorted(setup.environment):
        if name.startswith(_OURS) and name not in known and not name.startswith(_FOR_TESTS):
            meant = difflib.get_close_matches(name, known, n=1)
            mend = f"write {meant[0]}" if meant else "unset it; README.md lists the settings"
            yield warn(name, "nobody reads this variable.", mend)


def base_url(setup: Setup) -> Iterator[Trouble]:
    base = setup.settings.public_base_url
    if base is None:
        return
    name = "CDS_PUBLIC_BASE_URL"
    parts = urlsplit(base)
    if parts.path.endswith("/cds-services"):
        yield fail(name, "ends with /cds-services, which is added by itself.", f"write {base[: -len('/cds-services')]}")
    elif Server.at(base) is None:
        yield fail(name, "more than scheme, host, port and path.", "leave out the rest")
    elif parts.netloc != parts.netloc.lower() or parts.port == _DEFAULT_PORTS.get(parts.scheme):
        yield warn(
            name,
            "written as no EHR writes it, and an audience is compared letter by letter.",
            "write the host in lower case, and no port that goes without saying",
        )
    elif setup.production and (server := Server.at(base)) is not None and server.is_here:
        yield fail(
            name, "names this very machine, and an EHR is elsewhere.", "write the address at which the EHR calls"
        )


def has_base_url(setup: Setup) -> bool:
    return setup.settings.public_base_url is not None


def in_production(setup: Setup) -> bool:
    return setup.production


def audit_key(setup: Setup) -> Iterator[Trouble]:
    if (key := setup.settings.audit_key) is not None and len(set(key)) < _FEWEST_BYTES:
        yield fail("CDS_AUDIT_KEY", "not random: whoever guesses it can tell which patient a row is about.", _new_key())


def explanation_key(setup: Setup) -> Iterator[Trouble]:
    name, settings = "CDS_EXPLANATION_KEY", setup.settings
    key = settings.explanation_key
    if key is None:
        yield warn(name, "missing: no card links to the thought behind it.", _new_key())
        return
    try:
        Explanations(Database.in_memory(), key, "").close()
    except SiteUnfit as unfit:
        yield fail(name, unfit.defects[0].partition(": ")[2] + ".", _new_key())
        return
    raw = base64.urlsafe_b64decode(key)
    if len(set(raw)) < _FEWEST_BYTES:
        yield fail(name, "not random: whoever guesses it can read what was found in charts.", _new_key())
    elif raw == settings.audit_key:
        yield warn(name, "the same as CDS_AUDIT_KEY: who has one has both.", _new_key())


def _new_key() -> str:
    return f"set it to a new key, which this prints: {NEW_KEY}"


def metrics(setup: Setup) -> Iterator[Trouble]:
    if setup.settings.metrics_token is None and "CDS_METRICS_TOKEN" not in setup.unusable:
        yield warn(
            "CDS_METRICS_TOKEN",
            "missing: there is no /metrics in production without it.",
            "set 16 or more random letters and digits, and give them to Prometheus as a bearer token",
        )


def insights(setup: Setup) -> Iterator[Trouble]:
    refused = any(name.startswith("CDS_INSIGHTS_") for name in setup.unusable)
    if not refused and not setup.settings.insights.named:
        yield warn(
            "CDS_INSIGHTS_TOKEN",
            "missing: nobody can read /insights, where it stands what became of the cards.",
            "set 16 or more random letters and digits, or sign-on with CDS_INSIGHTS_OIDC_ISSUER and its kind",
        )


def origins(setup: Setup) -> Iterator[Trouble]:
    for where, origin in origins_of(setup):
        if origin == setup.settings.public_base_url:
            yield warn(where, f"{origin} is the service itself, which needs no leave.", "take it out")
        elif setup.production and origin.startswith("http://"):
            yield fail(
                where,
                f"{origin} is not https: anybody on the way can put a page there.",
                "write https, or leave it out",
            )


def origins_of(setup: Setup) -> Iterator[tuple[str, str]]:
    """Every browser origin that is let in, with where that is said."""
    yield from (("CDS_CORS_ORIGINS", origin) for origin in setup.settings.cors_origins)
    for place in setup.places:
        if place.tenant is not None:
            yield from ((f"{place.name}: cors_origins", origin) for origin in place.tenant.cors_origins)


def telemetry(setup: Setup) -> Iterator[Trouble]:
    for line, mend in telemetry_defects(setup.environment):
        name, _, what = line.partition(": ")
        yield fail(name, f"{what}.", mend)


# --- the knowledge --------------------------------------------------------------------------------


def reviewed(setup: Setup) -> Iterator[Trouble]:
    tables = setup.knowledge
    if tables is None or tables.signed:
        return
    served = [place for place in setup.places if place.has_file or place.tenant is None]
    unsigned = [place.name or "the knowledge" for place in served if place.site.review is None]
    if unsigned:
        yield warn(
            ", ".join(unsigned),
            "not clinically reviewed, and every card says so.",
            "let your committee read the manual (`cds-service manual`), then sign under [review] in the site file",
        )


def overdue(setup: Setup) -> Iterator[Trouble]:
    today = setup.clock().date()
    late = {name: row.again for name, row in setup.reviews_due.items() if row.again < today}
    if late:
        first = min(late, key=lambda name: (late[name], name))
        more = f" and {len(late) - 1} more" if len(late) > 1 else ""
        yield warn(
            first + more,
            f"should have been reviewed again by {late[first]}, and the cards say so.",
            "take a release with newer knowledge, or let your committee read it again",
        )


def knows_reviews(setup: Setup) -> bool:
    return bool(setup.reviews_due)


# --- the site -------------------------------------------------------------------------------------


def _places(setup: Setup) -> Iterator[Place]:
    """Those that have a site file of their own."""
    return (place for place in setup.places if place.has_file)


def has_site_file(setup: Setup) -> bool:
    return any(_places(setup))


def has_places(setup: Setup) -> bool:
    return bool(setup.places)


def has_terminology(setup: Setup) -> bool:
    return any(place.site.terminology is not None for place in _places(setup))


def has_forms(setup: Setup) -> bool:
    return any(place.site.ehr.questionnaires is not None for place in _places(setup))


def speaks(dialect: DialectName) -> Callable[[Setup], bool]:
    return lambda setup: any(place.site.dialect == dialect for place in setup.places)


def site_file(setup: Setup) -> Iterator[Trouble]:
    for place in setup.places:
        if not place.has_file:
            mend = 'add site = "hospital.toml" to it' if place.tenant is not None else "name one with --site"
            yield warn(
                place.name, "no site file: no medicine is offered, and dates without a zone are read as UTC.", mend
            )


def protocol(setup: Setup) -> Iterator[Trouble]:
    for place in _places(setup):
        if place.site.protocol is None:
            yield warn(
                place.name,
                "no [protocol]: no medicine is offered and no dose is computed.",
                "once your committee has approved one, write its id, approval and strength; else leave it so",
            )


def time_zone(setup: Setup) -> Iterator[Trouble]:
    for place in _places(setup):
        if place.site.time_zone is None:
            yield warn(
                place.name,
                "no time_zone: a date without a zone is read as UTC, and may be a day off.",
                'write the IANA name, as in time_zone = "America/Chicago"',
            )


def language(setup: Setup) -> Iterator[Trouble]:
    """A translation has reviewers of its own."""
    for place in _places(setup):
        name, library = place.site.language, setup.library
        if name == DEFAULT_LANGUAGE or library is None:
            continue
        with suppress(SiteUnfit, KnowledgeUnfit):  # told by what the start refuses
            _, words = library.spoken(name, library.knowledge)
            if words.translation and not words.reviews_due[words.translation].by:
                yield warn(
                    place.name,
                    f"language {name}: the translation is not clinically reviewed, and the cards say so.",
                    "let clinicians who speak it read each sentence beside the English one, in the cards folder",
                )


def terminology(setup: Setup) -> Iterator[Trouble]:
    for place in _places(setup):
        folder = place.site.terminology
        if folder is not None and folder.is_dir() and not any(folder.glob("*.json")):
            yield fail(
                place.name,
                f"terminology: {folder} holds no ValueSet.",
                "put your expanded ValueSets there, each as .json",
            )


def forms(setup: Setup) -> Iterator[Trouble]:
    for place in _places(setup):
        folder = place.site.ehr.questionnaires
        if folder is not None and folder.is_dir() and not any(folder.glob("*.json")):
            yield fail(
                place.name,
                f"ehr.questionnaires: {folder} holds no form.",
                "put your Questionnaires there, each as .json",
            )


def orderables(setup: Setup) -> Iterator[Trouble]:
    """Epic takes orders of its own catalogue alone, with the defaults that stand there."""
    for place in _places(setup):
        site = place.site
        if site.dialect != "epic":
            continue
        if not site.orderable:
            yield warn(
                place.name,
                "dialect epic without any [[orderable]]: Epic cannot take over a single button.",
                "name the preference-list items of your orders; docs/site.example.toml shows how",
            )
        elif site.protocol is not None and not any(item.defaults == site.protocol.id for item in site.orderable):
            yield warn(
                place.name,
                "no [[orderable]] with defaults: Epic drops the dose, so the medicine is offered in words alone.",
                f'map order = "medicine" to an item with that dose, and write defaults = "{site.protocol.id}"',
            )


def budget(setup: Setup) -> Iterator[Trouble]:
    for place in setup.places:
        most = place.site.ehr.budget_ms
        if not place.site.ehr.servers:
            continue
        if most < _LEAST_BUDGET_MS:
            yield warn(
                place.name,
                f"ehr.budget_ms is {most}: hardly any list is read in that time, and what is late is unknown.",
                "take 400, or send all lists as prefetch",
            )
        elif most > _MOST_BUDGET_MS:
            yield warn(place.name, f"ehr.budget_ms is {most}: an EHR gives up long before.", "take 400 to 1000")


def links(setup: Setup) -> Iterator[Trouble]:
    for place in _places(setup):
        base = setup.settings.public_base_url
        unshown = place.site.dialect == "cerner-1.0" and base is not None and setup.settings.explanation_key is not None
        if unshown and not f"{base}/".startswith(place.site.links or ("-",)):
            yield warn(
                place.name,
                "links: the service's own address is not among them, so cerner-1.0 takes explanations off the cards.",
                f'let it be registered, and add "{base}/"',
            )


# --- the tenants ----------------------------------------------------------------------------------


def lifetime(setup: Setup) -> Iterator[Trouble]:
    for place in setup.places:
        tenant = place.tenant
        if tenant is not None and place.site.dialect == "epic" and tenant.lifetime_seconds < _EPIC_SECONDS:
            yield fail(
                place.name,
                f"lifetime_seconds is {tenant.lifetime_seconds}: Epic's tokens are good for 15 minutes, and refused.",
                f"write lifetime_seconds = {_EPIC_SECONDS}",
            )


def mode(setup: Setup) -> Iterator[Trouble]:
    for place in setup.places:
        if place.tenant is None:
            continue
        if place.tenant.mode == "shadow":
            yield warn(
                place.name, "in the shadow: no card is shown to anybody.", 'when the pilot begins, write mode = "live"'
            )
        if place.tenant.off and setup.knows_topics(place.tenant.off):
            yield warn(
                place.name,
                f"turned off: {', '.join(place.tenant.off)}.",
                "when the reason is gone, take it out of `off`",
            )


def issuers(setup: Setup) -> Iterator[Trouble]:
    """Two that differ by a slash are two issuers, though people take them for one."""
    seen: dict[str, tuple[str, str]] = {}
    for place in setup.places:
        if place.tenant is None:
            continue
        issuer = place.tenant.issuer
        plain = issuer.rstrip("/").lower()
        with suppress(KeyError):
            name, other = seen[plain]
            if other != issuer:
                yield warn(
                    place.name,
                    f"its issuer and that of {name} differ in a slash or in capitals alone.",
                    "look into a token of each: `iss` is compared letter by letter",
                )
        seen.setdefault(plain, (place.name, issuer))


def has_tenants(setup: Setup) -> bool:
    return setup.tenants_file is not None


def has_production_tenants(setup: Setup) -> bool:
    return setup.production and has_tenants(setup)
