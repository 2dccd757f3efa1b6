"""What goes over the wire: the EHR's public keys, its clock, and our own address as the EHR sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from cds_service.doctor.calling import Heard, called, whose_json
from cds_service.doctor.findings import Trouble, fail, warn
from cds_service.doctor.papers import origins_of
from cds_service.doctor.setup import Setup
from cds_service.ehr.keys import Keys
from cds_service.errors import SiteUnfit
from cds_service.events import Event, listen
from cds_service.public_keys import KeyFault, KeySet, read_key_set
from cds_service.tenants import Tenant

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_FHIR_LEEWAY_SECONDS: Final = 30
_SERVICES: Final = "/cds-services"


@contextmanager
def told() -> Iterator[list[tuple[Event, dict[str, Any]]]]:
    """What the service tells while it does something here: the doctor hears what the log would say."""
    heard: list[tuple[Event, dict[str, Any]]] = []
    stop = listen(lambda event, fields: heard.append((event, dict(fields))))
    try:
        yield heard
    finally:
        stop()


# --- the keys -------------------------------------------------------------------------------------

_ASK: Final = 'ask the EHR\'s team where its public keys are; a browser must show {"keys": […]} there'
_NO_KEYS: Final[dict[str, tuple[str, str]]] = {
    "not a JWKS": ("is no JWKS: perhaps a page, or a single key.", _ASK),
    "too large": ("is larger than 64 KiB.", _ASK),
    "SSLError": (
        "has a certificate that this machine does not trust.",
        "install the authority of that certificate here",
    ),
}


def _urls(setup: Setup) -> Iterator[tuple[str, Tenant, str]]:
    for place in setup.places:
        if place.tenant is not None and place.tenant.jwks is not None:
            yield place.name, place.tenant, place.tenant.jwks


def has_key_urls(setup: Setup) -> bool:
    return any(True for _ in _urls(setup))


def jwks(setup: Setup) -> Iterator[Trouble]:
    """Fetched in the very way in which `serve` fetches them."""
    for name, tenant, url in _urls(setup):
        where = f"{name}: {url}"
        with told() as heard:
            try:
                Keys.of(tenant, production=setup.production).make_ready()
            except SiteUnfit as unfit:
                yield fail(where, f"{unfit.defects[0].rpartition(': ')[2]}.", _ASK)
                continue
        events = {event for event, _ in heard}
        if Event.ADDRESS_REFUSED in events:
            mend = "if it is meant to stand in your own network, write private_addresses = true"
            yield fail(where, "leads to an address that may not be called.", mend)
        elif (kind := _kind(heard, Event.KEYS_UNAVAILABLE)) is not None:
            yield fail(where, *_without_keys(kind))


def _kind(heard: list[tuple[Event, dict[str, Any]]], event: Event) -> str | None:
    return next((str(fields.get("error")) for told_, fields in heard if told_ is event), None)


def _without_keys(kind: str) -> tuple[str, str]:
    if kind.startswith("status 3"):
        return "leads elsewhere, and a redirect is not followed.", "write the address that it leads to"
    if kind.startswith("status "):
        return f"answers {kind}.", _ASK
    slow = "Time" in kind or "slow" in kind
    reach = "let this machine through to it: firewall, proxy and name server"
    return _NO_KEYS.get(kind, ("does not answer within two seconds." if slow else "cannot be reached.", reach))


def usable_keys(setup: Setup) -> Iterator[Trouble]:
    for name, tenant, url in _urls(setup):
        keys = _keys(setup, url)
        if keys is None:
            continue  # told by `jwks`
        where = f"{name}: {url}"
        if KeyFault.PRIVATE in keys.faults:
            mend = "tell the EHR's team at once: they need a new key, and this one must not be trusted"
            yield fail(where, "shows private key material to everybody.", mend)
        if KeyFault.PUBLISHED in keys.faults:
            yield fail(where, "holds the key of the CDS Hooks Sandbox, whose private half is public.", "take it out")
        if not any(key.algorithms & set(tenant.algorithms) for key in keys.fit.values()):
            can = sorted({name for key in keys.fit.values() for name in key.algorithms})
            mend = f"write algorithms = {can!r}, if the EHR signs so".replace("'", '"') if can else _ASK
            yield fail(where, f"no usable key for {', '.join(tenant.algorithms)}: no token can be verified.", mend)


def has_keys(setup: Setup) -> bool:
    """Were any read, from a file or from a URL?"""
    files = any(place.tenant is not None and place.tenant.jwks_file is not None for place in setup.places)
    return files or any(_keys(setup, url) is not None for _, _, url in _urls(setup))


def _keys(setup: Setup, url: str) -> KeySet | None:
    heard = _got(setup, url)
    return read_key_set(heard.body, production=setup.production) if heard.status == 200 else None


@lru_cache(maxsize=64)
def _got(setup: Setup, url: str) -> Heard:
    """Called once for each setup; what time it was then is noted."""
    return replace(called("GET", url, Accept="application/json"), at=setup.clock())


# --- the clocks -----------------------------------------------------------------------------------


def clock(setup: Setup) -> Iterator[Trouble]:
    for name, tenant, url in _urls(setup):
        yield from _skew(f"{name}: {url}", _got(setup, url), tenant.leeway_seconds)
    if setup.fhir_server is not None:
        yield from _skew(setup.fhir_server, _got(setup, _metadata(setup)), _FHIR_LEEWAY_SECONDS)


def _metadata(setup: Setup) -> str:
    return f"{(setup.fhir_server or '').rstrip('/')}/metadata"


def _skew(where: str, heard: Heard, leeway: int) -> Iterator[Trouble]:
    here, there = heard.at, heard.date
    if here is None or there is None:
        return
    seconds = round((here - there).total_seconds())
    if abs(seconds) <= leeway // 2:
        return
    how = "ahead of" if seconds > 0 else "behind"
    what = f"this machine's clock is {abs(seconds)} s {how} the clock there"
    mend = "let both follow a time server (on Linux `timedatectl` tells)"
    if abs(seconds) > leeway:
        yield fail(where, f"{what}; tokens are refused beyond {leeway} s.", mend)
    else:
        yield warn(where, f"{what}, and {leeway} s are allowed.", mend)


def hears_time(setup: Setup) -> bool:
    asked = [url for _, _, url in _urls(setup)] + ([] if setup.fhir_server is None else [_metadata(setup)])
    return any(_got(setup, url).date is not None for url in asked)


# --- our address ----------------------------------------------------------------------------------


def with_url(setup: Setup) -> bool:
    return setup.url is not None


def with_address(setup: Setup) -> bool:
    """In production a token is for an address that is configured."""
    return with_url(setup) and (not setup.production or setup.settings.public_base_url is not None)


def with_answer(setup: Setup) -> bool:
    return with_url(setup) and _got(setup, _address(setup) + _SERVICES).status > 0


def with_door(setup: Setup) -> bool:
    return setup.production and with_answer(setup)


def with_version(setup: Setup) -> bool:
    return with_url(setup) and "knowledge" in whose_json(_got(setup, f"{_address(setup)}/version"))


def _address(setup: Setup) -> str:
    """The base URL that was named, whether or not with the path of discovery behind it."""
    return (setup.url or "").rstrip("/").removesuffix(_SERVICES)


def audience(setup: Setup) -> Iterator[Trouble]:
    """A token is for the address that the EHR calls, and must be for the one that is configured."""
    called_at, expected = _address(setup), setup.base_url
    if called_at == expected:
        return
    also = [place.name for place in setup.places if place.tenant is not None and _accepts(place.tenant, called_at)]
    if also and len(also) == len(setup.places):
        return
    what = f"the EHR's tokens are for {called_at}{_SERVICES}/…, and {expected}{_SERVICES}/… is expected"
    mend = f"set CDS_PUBLIC_BASE_URL={called_at}, letter by letter: X-Forwarded headers are not believed"
    yield fail(called_at, f"{what}: {_difference(called_at, expected)}.", mend)


def _accepts(tenant: Tenant, base: str) -> bool:
    return any(f"{one}/".startswith(f"{base}/") for one in tenant.audiences)


def _difference(one: str, other: str) -> str:
    a, b = urlsplit(one), urlsplit(other)
    if a.scheme != b.scheme:
        return f"{a.scheme} against {b.scheme}"
    if (a.hostname, a.port or _DEFAULT_PORTS.get(a.scheme)) == (b.hostname, b.port or _DEFAULT_PORTS.get(b.scheme)):
        return "another path" if a.path != b.path else "the same address, written otherwise"
    return "another host" if a.hostname != b.hostname else "another port"


def reached(setup: Setup) -> Iterator[Trouble]:
    base = _address(setup)
    heard = _got(setup, base + _SERVICES)
    where = base + _SERVICES
    proxy = "look at the proxy in front: it must hand on the path as it is, and every header"
    match heard.status:
        case 200 if isinstance(whose_json(heard).get("services"), list):
            return
        case 200:
            yield fail(where, "something else answers there, and no CDS service.", proxy)
        case 401 if heard.headers.get("WWW-Authenticate") == "Bearer" and not heard.body:
            return
        case 401 | 403 | 407:
            yield fail(where, f"the proxy answers {heard.status}, and the call never reaches the service.", proxy)
        case 404:
            yield fail(where, "nothing is there: the proxy cuts off a part of the path, or adds one.", proxy)
        case 301 | 302 | 303 | 307 | 308:
            mend = f"register {_origin_of(heard, base)} with the EHR, and set CDS_PUBLIC_BASE_URL to it"
            yield fail(where, "leads elsewhere, and an EHR does not follow with its POST.", mend)
        case 502 | 503 | 504:
            yield fail(
                where,
                f"answers {heard.status}: the service does not run, or is not ready.",
                f"see {base}/readyz, then {proxy}",
            )
        case 0 if heard.error == "tls":
            yield fail(
                where, "its certificate is not trusted.", "let the proxy send the whole chain of a known authority"
            )
        case 0:
            yield fail(where, "cannot be reached.", "start `serve`, and look at name server, firewall and proxy")
        case _:
            yield fail(where, f"answers {heard.status}.", proxy)


def _origin_of(heard: Heard, base: str) -> str:
    """Where a redirect leads, if it is a URL; nothing else of it is told."""
    parts = urlsplit(heard.headers.get("Location", ""))
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in _DEFAULT_PORTS else f"the address that {base} leads to"


def door(setup: Setup) -> Iterator[Trouble]:
    base = _address(setup)
    if isinstance(whose_json(_got(setup, base + _SERVICES)).get("services"), list):
        yield fail(
            base,
            "answers without a token: what runs there is `serve --insecure`, or `demo`, behind a proxy.",
            "stop it, and start `serve --tenants`",
        )
    if _got(setup, f"{base}/metrics").status == 200:
        yield fail(base, "shows /metrics to everybody.", "let the proxy shut /metrics off, or set CDS_METRICS_TOKEN")


def cross_origin(setup: Setup) -> Iterator[Trouble]:
    for where, origin in origins_of(setup):
        heard = called(
            "OPTIONS",
            f"{_address(setup)}{_SERVICES}",
            Origin=origin,
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="authorization,content-type",
        )
        if heard.headers.get("Access-Control-Allow-Origin") != origin:
            yield fail(
                where,
                f"a page at {origin} is not let in: the answer to its preflight does not name it.",
                "restart the service with these origins; let the proxy hand on OPTIONS, and add no header of CORS",
            )


def same_knowledge(setup: Setup) -> Iterator[Trouble]:
    version = whose_json(_got(setup, f"{_address(setup)}/version"))
    here = setup.knowledge
    if here is not None and isinstance(there := version.get("knowledge"), str) and there != here.hash:
        yield warn(
            _address(setup),
            f"what runs there has the knowledge {there[:19]}, and this program {here.hash[:19]}.",
            "run the doctor that came with what runs there, or bring it up to date",
        )
