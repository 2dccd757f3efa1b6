"""What an EHR's FHIR server gives: is it reached, does it take each prefetch search, and do we know its codes?"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from cds_service.doctor.calling import called, whose_json
from cds_service.doctor.findings import Trouble, fail, warn
from cds_service.doctor.setup import Setup
from cds_service.doctor.wires import told
from cds_service.ehr.answers import Answer, Had
from cds_service.ehr.client import Client, Question, Visit
from cds_service.ehr.elements import members
from cds_service.ehr.servers import Server, Servers
from cds_service.ehr.wanted import Query, queries
from cds_service.errors import SiteUnfit
from cds_service.events import Event
from cds_service.hooks.request import FhirAuthorization
from cds_service.knowledge import Knowledge
from cds_service.knowledge.terminology import Terminology, system_of
from cds_service.settings import Site, SiteEhr

# Whoever asks the doctor waits longer than a clinician.
_SECONDS: Final = 30.0
_REACH_SECONDS: Final = 5.0
_CODED: Final = {
    "Observation": "code",
    "Condition": "code",
    "AllergyIntolerance": "code",
    "Procedure": "code",
    "ServiceRequest": "code",
    "MedicationRequest": "medicationCodeableConcept",
    "MedicationAdministration": "medicationCodeableConcept",
    "MedicationStatement": "medicationCodeableConcept",
}
_SHORT: Final = re.compile(r"[A-Za-z0-9:/._#-]{1,120}")


# --- the servers of the site files ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tried:
    name: str
    url: str
    events: frozenset[Event]
    status: str


@lru_cache(maxsize=1)
def _tried(setup: Setup) -> tuple[_Tried, ...]:
    """Each server that a site file names, called once in the way in which `serve` would."""
    found = []
    seen: set[tuple[str, bool]] = set()
    for place in setup.places:
        private = place.site.ehr.private_addresses
        for url in place.site.ehr.servers:
            if (url, private) in seen:
                continue
            seen.add((url, private))
            try:
                client = Client(Servers(place.site), budget=_REACH_SECONDS)
            except SiteUnfit:
                continue  # told by what the start refuses
            with told() as heard:
                visit = client.visit(url, None)
                if visit is not None:
                    with visit:
                        visit.ask({"server": Question("metadata")})
            found.append(_Tried(place.name, url, frozenset(event for event, _ in heard), _status(heard)))
    return tuple(found)


def _status(heard: Iterable[tuple[Event, Mapping[str, Any]]]) -> str:
    return next((str(fields.get("status")) for event, fields in heard if event is Event.FHIR_READ), "")


def servers(setup: Setup) -> Iterator[Trouble]:
    for one in _tried(setup):
        if Event.ADDRESS_REFUSED in one.events:
            continue  # told by `private-addresses`
        where = f"{one.name}: ehr.servers: {one.url}"
        if one.status == "tls":
            mend = "install the authority of that certificate on this machine"
            yield fail(where, "its certificate is not trusted here.", mend)
        elif one.status in ("refused", "timeout", "failed"):
            mend = "let this machine through to it: firewall, proxy and name server"
            yield fail(where, "cannot be reached: what is not sent as prefetch stays unknown.", mend)


def private_addresses(setup: Setup) -> Iterator[Trouble]:
    for one in _tried(setup):
        if Event.ADDRESS_REFUSED in one.events:
            yield fail(
                f"{one.name}: ehr.servers: {one.url}",
                "its name leads to an address that may not be called, so nothing is read.",
                "if it is meant to stand in your own network, write private_addresses = true under [ehr]",
            )


def names_servers(setup: Setup) -> bool:
    return any(place.site.ehr.servers for place in setup.places)


# --- one server, and one chart --------------------------------------------------------------------


def with_server(setup: Setup) -> bool:
    return setup.fhir_server is not None


def with_chart(setup: Setup) -> bool:
    """Did she come? Without her, no list says anything."""
    if setup.fhir_server is None or setup.patient is None:
        return False
    examined = _examined(setup)
    return bool(examined.answers) and "patient" not in examined.statuses


def with_chart_and_budget(setup: Setup) -> bool:
    return names_servers(setup) and with_chart(setup)


def with_statement(setup: Setup) -> bool:
    return bool(_offered(setup))


@lru_cache(maxsize=1)
def _capabilities(setup: Setup) -> dict[str, Any]:
    heard = called("GET", f"{(setup.fhir_server or '').rstrip('/')}/metadata", Accept="application/fhir+json")
    statement = whose_json(heard)
    return statement if statement.get("resourceType") == "CapabilityStatement" else {}


def _offered(setup: Setup) -> set[str]:
    """The types of resources that the server says it has."""
    rest = _capabilities(setup).get("rest") if setup.fhir_server is not None else None
    parts = [part.get("resource") for part in members(rest)]
    return {str(resource.get("type")) for listed in parts for resource in members(listed)}


def server(setup: Setup) -> Iterator[Trouble]:
    url = setup.fhir_server or ""
    statement = _capabilities(setup)
    if not statement:
        yield fail(
            url,
            "no FHIR server answers at /metadata there.",
            "write the whole base URL, as in https://ehr.example.org/fhir",
        )
        return
    version = str(statement.get("fhirVersion", ""))
    if not version.startswith("4.0"):
        yield fail(
            url,
            f"it speaks FHIR {version[:12] or '?'}, and R4 (4.0.1) is read.",
            "take the base URL of its R4 endpoint",
        )
    elif setup.patient is not None:
        yield from _patient(setup, url)


def _patient(setup: Setup, url: str) -> Iterator[Trouble]:
    match _examined(setup).statuses.get("patient", "200"):
        case "200":
            return
        case "401" | "403":
            yield fail(
                url, "it does not let this caller read the patient.", "name the token's variable with --token-env"
            )
        case "404" | "410":
            yield fail(
                url, "it holds no patient with the id that was named.", "take the id of a test patient of that server"
            )
        case status:
            yield fail(
                url, f"the patient cannot be had ({status}).", "call Patient/ID there yourself, and see what it says"
            )


def listed(setup: Setup) -> Iterator[Trouble]:
    """Would the service read this server, if a call names it?"""
    asked = Server.at(setup.fhir_server or "")
    if asked is None or any(asked in {Server.at(url) for url in p.site.ehr.servers} for p in setup.places):
        return
    yield warn(
        setup.fhir_server,
        "no site names it under ehr.servers: the service never reads it, and works by prefetch alone.",
        "write it into ehr.servers, letter by letter as the EHR's calls name it; or send all lists as prefetch",
    )


@dataclass(frozen=True)
class _Examined:
    """How each prefetch query went: its answer, the status of its last page, and how long all took together."""

    queries: Mapping[str, Query]
    answers: Mapping[str, Answer]
    statuses: Mapping[str, str]
    took_ms: float
    others: Answer = field(repr=False)


@lru_cache(maxsize=1)
def _examined(setup: Setup) -> _Examined:
    """Each prefetch template, put to the server as an EHR would: all at once, then those that failed one by one."""
    tables = setup.knowledge
    asked = {query.key: query for query in queries(tables)} if tables is not None else {}
    tokens = {"context.patientId": setup.patient or ""}
    urls = {key: url for key, query in asked.items() if (url := query.filled(tokens)) is not None}
    visit = _visit(setup)
    if visit is None:
        return _Examined(asked, {}, {}, 0.0, Answer((), Had.NOT_ASKED))
    with visit:
        begun = time.monotonic()
        answers = visit.ask({key: Question(url) for key, url in urls.items()})
        took_ms = (time.monotonic() - begun) * 1000
        statuses = {}
        for key, answer in answers.items():
            if answer.had not in (Had.WHOLE, Had.CUT_SHORT):
                with told() as heard:
                    answers[key] = visit.ask({key: Question(urls[key])})[key]
                statuses[key] = _status(heard)
        all_observations = f"Observation?patient={quote(setup.patient or '')}"
        others = visit.ask({"all": Question(all_observations)})["all"]
    return _Examined(asked, answers, statuses, took_ms, others)


def _visit(setup: Setup) -> Visit | None:
    """The server was named by hand: that it stands in a private network is meant."""
    url = setup.fhir_server or ""
    site = Site(country="ZZ", ehr=SiteEhr(private_addresses=True))
    token = setup.token
    leave = None if token is None else FhirAuthorization(token, "Bearer", None, None, None, None)
    return Client(Servers(site, also=(url,)), budget=_SECONDS).visit(url, leave)


def prefetch(setup: Setup) -> Iterator[Trouble]:
    examined = _examined(setup)
    for key, answer in examined.answers.items():
        query, status = examined.queries[key], examined.statuses.get(key, "")
        where = f"prefetch {key}"
        match answer.had:
            case Had.RESTRICTED:
                mend = f"let the EHR grant {query.type} (scope patient/{query.type}.rs) to the service"
                yield fail(where, f"the server refuses {query.type} to this caller ({status}): it stays unknown.", mend)
            case Had.FAILED:
                mend = "let the EHR send this key by a search that it takes; see “How a chart is gathered”"
                yield fail(
                    where, f"the server refuses the search {query.template.partition('=')[0]}=… ({status}).", mend
                )
            case Had.NOT_ASKED:
                mend = "nothing, if the EHR keeps this elsewhere; else let it be sent as prefetch"
                yield warn(where, f"the server has no {query.type} ({status}): it stays unknown.", mend)
            case Had.CUT_SHORT:
                mend = "let the EHR send more in a page, or allow `next` links below its base URL"
                yield warn(where, "the list comes in part: what is cut off is unknown.", mend)


def capabilities(setup: Setup) -> Iterator[Trouble]:
    """What the server says of itself."""
    tables = setup.knowledge
    asked = {query.type for query in queries(tables)} if tables is not None else set()
    if missing := sorted(asked - _offered(setup)):
        yield warn(
            setup.fhir_server,
            f"its CapabilityStatement does not offer {', '.join(missing)}: these stay unknown.",
            "let the EHR send them as prefetch, if it has them elsewhere",
        )


def slow(setup: Setup) -> Iterator[Trouble]:
    examined = _examined(setup)
    for place in setup.places:
        most = place.site.ehr.budget_ms
        if place.site.ehr.servers and examined.took_ms > most:
            yield warn(
                place.name,
                f"all lists took {round(examined.took_ms)} ms, and ehr.budget_ms is {most}: what is late is unknown.",
                "let the EHR send the lists as prefetch, or raise ehr.budget_ms",
            )


# --- its codes ------------------------------------------------------------------------------------


def local_codes(setup: Setup) -> Iterator[Trouble]:
    """Codes of the EHR's own that no value set and no [[local]] row of the site file understands."""
    examined, tables = _examined(setup), setup.knowledge
    if tables is None:
        return
    entries = [entry for answer in (*examined.answers.values(), examined.others) for entry in answer.entries]
    for place in setup.places:
        unknown = _unknown(entries, _spoken(tables, place.site))
        for kind, codes in sorted(unknown.items()):
            systems = Counter(system for system, _ in codes)
            system, _ = systems.most_common(1)[0]
            shown = sorted(code for own, code in codes if own == system and _SHORT.fullmatch(code))[:3]
            yield warn(
                place.name,
                f"{len(codes)} local code{'s' * (len(codes) > 1)} of {kind} that nothing here understands, "
                f"of {system if _SHORT.fullmatch(system) else 'a system'} above all"
                + (f": {', '.join(shown)}" if kind == "Observation" and shown else "")
                + ".",
                "map those that matter (weight, blood pressure, EPDS, allergies, a birth) with [[local]]",
            )


def _spoken(tables: Knowledge, site: Site) -> Terminology:
    return tables.spoken_at(site).terminology


def _unknown(entries: Iterable[Any], terminology: Terminology) -> dict[str, set[tuple[str, str]]]:
    """By type: the codes of entries that have none of a code system that we know, and whose own means nothing."""
    found: dict[str, set[tuple[str, str]]] = {}
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        coded = resource.get(_CODED[kind]) if isinstance(resource, dict) and kind in _CODED else None
        codings = coded.get("coding") if isinstance(coded, dict) else None
        pairs = [(one.get("system"), one.get("code")) for one in codings or () if isinstance(one, dict)]
        known = any(system_of(system) is not None for system, _ in pairs)
        meaning = terminology.codings_of(codings) if isinstance(codings, list) else None
        if known or meaning is None or meaning.says or meaning.hints:
            continue
        found.setdefault(str(kind), set()).update(
            (system, code) for system, code in pairs if isinstance(system, str) and isinstance(code, str)
        )
    return {kind: codes for kind, codes in found.items() if codes}
