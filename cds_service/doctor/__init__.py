"""What is wrong with a setup, and how it is mended: the mistakes that integrators make, each looked for by a check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cds_service.doctor import charts, machine, papers, wires
from cds_service.doctor.findings import Check, Diagnosis, Finding, Level, Trouble, fail
from cds_service.doctor.refusals import explained
from cds_service.doctor.setup import Setup
from cds_service.events import place_of

__all__ = ["CHECKS", "Check", "Diagnosis", "Finding", "Level", "Setup", "examine"]

_PRODUCTION: Final = "--tenants, for production"
_SITE: Final = "a site file that can be read"
_FOLDER: Final = "a folder of the site's own"
_TENANTS: Final = "a tenants file that can be read"
_SERVERS: Final = "ehr.servers in a site file"
_URL: Final = "an answer at --url"
_SERVER: Final = "--fhir-server"
_STATEMENT: Final = "a CapabilityStatement of --fhir-server"
_CHART: Final = "the chart of --patient at --fhir-server"

CHECKS: Final[tuple[Check, ...]] = (
    # The environment
    Check("misspelt", "Every variable that begins with CDS_ is one that the service reads.", papers.misspelt),
    Check(
        "base-url",
        "CDS_PUBLIC_BASE_URL is an address at which an EHR can call.",
        papers.base_url,
        "CDS_PUBLIC_BASE_URL",
        papers.has_base_url,
    ),
    Check("audit-key", "Patients are named in the audit under a key that nobody can guess.", papers.audit_key),
    Check("explanation-key", "Explanations are kept under a key that nobody can guess.", papers.explanation_key),
    Check("metrics", "Prometheus can be let in, and nobody else.", papers.metrics, _PRODUCTION, papers.in_production),
    Check(
        "insights",
        "Somebody can read what became of the cards, and nobody else.",
        papers.insights,
        _PRODUCTION,
        papers.in_production,
    ),
    Check("origins", "Browser origins are written as browsers send them, with https.", papers.origins),
    Check(
        "debugging",
        "Nothing would show callers the inside of this program.",
        papers.no_more,
        _PRODUCTION,
        papers.in_production,
    ),
    Check("telemetry", "Traces that are asked for can be sent.", papers.telemetry),
    # This machine
    Check("host", "Whoever need not say who they are can reach the service from this machine alone.", machine.host),
    Check("port", "The address to listen on is free, or this service listens there already.", machine.port),
    Check("database", "The databases can be reached, read and written.", machine.database),
    Check(
        "migrations",
        "The tables are those of this version, or not there yet.",
        machine.migrations,
        "a database",
        machine.sees_tables,
    ),
    Check("disk", "The database files lie on a disk of this machine, for their owner alone.", machine.disk),
    Check(
        "counters",
        "The folder that processes share for their counters can be written, and is empty.",
        machine.counters,
        "PROMETHEUS_MULTIPROC_DIR",
        machine.shares_counters,
    ),
    # The knowledge
    Check("knowledge", "The knowledge and the cards are whole.", papers.no_more),
    Check("reviewed", "People have signed the knowledge.", papers.reviewed, _SITE, papers.has_places),
    Check(
        "overdue", "No review of a table or a card is overdue.", papers.overdue, "whole knowledge", papers.knows_reviews
    ),
    Check(
        "signature",
        "The site has signed this very knowledge, if it has signed any.",
        papers.no_more,
        _SITE,
        papers.has_site_file,
    ),
    # The site
    Check(
        "site-file", "Every hospital has a site file, and it can be read.", papers.site_file, _SITE, papers.has_places
    ),
    Check("protocol", "The protocol is one that may be offered there.", papers.protocol, _SITE, papers.has_site_file),
    Check("time-zone", "Dates are read in the hospital's own time.", papers.time_zone, _SITE, papers.has_site_file),
    Check(
        "language",
        "The cards speak a language that people have reviewed, or English.",
        papers.language,
        _SITE,
        papers.has_site_file,
    ),
    Check(
        "code-maps", "The site's maps name codes and ideas that are known.", papers.no_more, _SITE, papers.has_site_file
    ),
    Check(
        "orderables",
        "An Epic catalogue is mapped, the medicine with its dose.",
        papers.orderables,
        'dialect = "epic"',
        papers.speaks("epic"),
    ),
    Check(
        "terminology",
        "The folder of licensed ValueSets holds some.",
        papers.terminology,
        _FOLDER,
        papers.has_terminology,
    ),
    Check("forms", "The folder of the site's own forms holds some.", papers.forms, _FOLDER, papers.has_forms),
    Check(
        "links",
        "The link to an explanation is one that the EHR shows.",
        papers.links,
        'dialect = "cerner-1.0"',
        papers.speaks("cerner-1.0"),
    ),
    Check(
        "budget",
        "The time to read an EHR is neither too short nor longer than it waits.",
        papers.budget,
        _SERVERS,
        charts.names_servers,
    ),
    Check(
        "ehr-servers",
        "Every FHIR server of a site file that may be called can be reached.",
        charts.servers,
        _SERVERS,
        charts.names_servers,
    ),
    Check(
        "private-addresses",
        "No FHIR server leads to an address that may not be called.",
        charts.private_addresses,
        _SERVERS,
        charts.names_servers,
    ),
    # The tenants
    Check("tenants-file", "The tenants file can be read.", papers.no_more, _TENANTS, papers.has_tenants),
    Check("same-issuer", "No two tenants can be taken for one another.", papers.issuers, _TENANTS, papers.has_tenants),
    Check(
        "sandbox-key",
        "Nobody is trusted whose private key is public.",
        papers.no_more,
        _PRODUCTION,
        papers.has_production_tenants,
    ),
    Check(
        "lifetime",
        "Tokens may be good for as long as Epic makes them.",
        papers.lifetime,
        'dialect = "epic"',
        papers.speaks("epic"),
    ),
    Check("mode", "Cards are shown, and no topic is turned off.", papers.mode, _TENANTS, papers.has_tenants),
    Check("jwks", "The EHRs' public keys can be fetched.", wires.jwks, "jwks in a tenants file", wires.has_key_urls),
    Check(
        "jwks-keys",
        "Among them is one for the algorithms of the tenant, and no private one.",
        wires.usable_keys,
        "keys that can be read",
        wires.has_keys,
    ),
    Check(
        "clock",
        "This machine's clock agrees with the EHR's.",
        wires.clock,
        "an answer of jwks or --fhir-server",
        wires.hears_time,
    ),
    # Our address
    Check(
        "audience",
        "Tokens for the address that the EHR calls are accepted.",
        wires.audience,
        "--url",
        wires.with_address,
    ),
    Check("url", "The service answers at the address that the EHR calls.", wires.reached, "--url", wires.with_url),
    Check(
        "open-door",
        "Nobody is answered there without a token.",
        wires.door,
        "an answer at --url, in production",
        wires.with_door,
    ),
    Check("cross-origin", "Each browser origin is let in there.", wires.cross_origin, _URL, wires.with_answer),
    Check(
        "same-knowledge",
        "What runs there has the knowledge of this program.",
        wires.same_knowledge,
        "/version at --url",
        wires.with_version,
    ),
    # The EHR's FHIR server
    Check(
        "fhir-server", "A FHIR R4 server answers, and gives the patient.", charts.server, _SERVER, charts.with_server
    ),
    Check("fhir-listed", "The service may read that server.", charts.listed, _SERVER, charts.with_server),
    Check(
        "capabilities",
        "The server says that it offers every type that is asked for.",
        charts.capabilities,
        _STATEMENT,
        charts.with_statement,
    ),
    Check(
        "prefetch",
        "The server takes every prefetch search, and gives whole lists.",
        charts.prefetch,
        _CHART,
        charts.with_chart,
    ),
    Check(
        "slow-server",
        "All lists together come within the site's time.",
        charts.slow,
        _CHART,
        charts.with_chart_and_budget,
    ),
    Check("local-codes", "The codes of her chart are understood.", charts.local_codes, _CHART, charts.with_chart),
)


def examine(setup: Setup) -> Diagnosis:
    """Makes every check that can be made with what is given. Changes nothing. What was not seen is not called well."""
    refused = _by_check(setup)
    findings: list[Finding] = []
    left_out = []
    for check in CHECKS:
        looked = _looked(check, setup)
        troubles = [*refused.get(check.id, ()), *(looked or ())]
        findings += [Finding(check.id, t.level, t.where, t.what, t.mend) for t in troubles]
        if troubles:
            continue
        if looked is None:
            left_out.append((check.id, check.needs))
        else:
            findings.append(Finding(check.id, Level.PASS, "", check.well, ""))
    return Diagnosis(tuple(findings), tuple(left_out))


def _looked(check: Check, setup: Setup) -> list[Trouble] | None:
    """What is wrong; None when there was nothing to look at. A check that breaks is wrong, too, and stops no other."""
    try:
        return list(check.look(setup)) if check.applies(setup) else None
    except Exception as error:
        mend = "tell those who make the service, with this line"
        return [fail("", f"this check broke: {type(error).__name__} at {place_of(error)}.", mend)]


def _by_check(setup: Setup) -> Mapping[str, list[Trouble]]:
    """What the start refuses, by the check that it belongs to."""
    found: dict[str, list[Trouble]] = {}
    for line in setup.refused:
        check, trouble = explained(line, tenants=setup.tenants is not None)
        found.setdefault(check, []).append(trouble)
    return found
