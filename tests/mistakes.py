"""A hospital's setup that is well, and the mistakes that integrators make in one: each with the line it must get."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import responses
from conftest import NOON
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ehr import Ehr
from encoding import Json, encode, read_cases
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from requests import PreparedRequest

from cds_service.doctor import Level, Setup
from cds_service.explanations import fresh_key

BASE = "https://cds.example.org"
FHIR = "https://fhir.example.org/r4"
JWKS = "https://ehr.example.org/jwks"
ORIGIN = "https://ehr.example.org"
ELSEWHERE = "https://www.example.org"
IN_THE_HOUSE = "https://10.0.0.1"  # an address of a private network
WOMAN = next(case for case in read_cases() if case.id == "V01")
PATIENT = f"woman-{WOMAN.slug}"
NAME = "Jane Roe"  # stands in the chart, and in no line

PROTOCOL = """
[protocol]
id = "esketamine-iv"
approval = "SITE-PPD-01"
strength_mg_per_ml = 5
"""
REVIEW = """
[review]
by = ["A committee"]
on = 2026-11-01
knowledge = "{hash}"
"""
SITE = f"""
name = "Test hospital"
country = "CN"
time_zone = "Asia/Shanghai"
{PROTOCOL}{REVIEW}"""
NORTH = """
[[tenant]]
id = "north"
issuer = "https://ehr.example.org"
jwks_file = "keys.json"
site = "site.toml"
"""
SOUTH = NORTH.replace("north", "south").replace("ehr.example", "south.example")


# ---- Keys


def jwk(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, kid: str) -> Json:
    """The public half of a key, as an EHR publishes it."""
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    told = {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
    told.pop("key_ops", None)
    return told


P384, P521, ANOTHER = (ec.generate_private_key(curve) for curve in (ec.SECP384R1(), ec.SECP521R1(), ec.SECP384R1()))
AUDIT_KEY = base64.urlsafe_b64encode(hashlib.sha256(b"a key of the tests").digest()).decode()
ZEROS = base64.urlsafe_b64encode(b"\0" * 32).decode()
GOOD = {"keys": [jwk(P384, "es384")]}
OTHER = {"keys": [jwk(P521, "es512")]}
LEAKED = {"keys": [*GOOD["keys"], {**jwk(ANOTHER, "private"), "d": "AA"}]}
SHORT = {"keys": [*GOOD["keys"], jwk(rsa.generate_private_key(65537, 1024), "short")]}  # noqa: S505  (too short)
PEM = P384.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


# ---- The setup


@dataclass
class World:
    """A setup for production, in a folder of its own, and the net around it. What nobody answers cannot be reached."""

    folder: Path
    net: responses.RequestsMock
    hash: str
    environment: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def furnish(self) -> None:
        """All is well. The database is put there by whoever has one."""
        self.write("site.toml", SITE.format(hash=self.hash))
        self.write("tenants.toml", NORTH)
        self.write("keys.json", json.dumps(GOOD))
        self.write("mounts", "/dev/vda1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n")
        self.environment |= {
            "CDS_PUBLIC_BASE_URL": BASE,
            "CDS_AUDIT_KEY": AUDIT_KEY,
            "CDS_EXPLANATION_KEY": fresh_key(),
            "CDS_METRICS_TOKEN": "a-token-of-the-tests",
            "CDS_INSIGHTS_TOKEN": "another-of-the-tests",
            "CDS_DATABASE": str(self.folder / "records.sqlite3"),
            "CDS_EXPLANATIONS": str(self.folder / "explanations.sqlite3"),
            "PATH": "/usr/bin",
        }

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def hears(self, url: str, body: Any = None, status: int = 200, method: str = "GET", **headers: str) -> None:
        """What answers at an address. Its clock is ours. Names of headers are written with underscores."""
        lines = {"Date": _date()} | {name.replace("_", "-"): value for name, value in headers.items()}
        text = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
        self.net.upsert(method, url, body=text, status=status, headers=lines)

    def setup(self) -> Setup:
        given = {"tenants": self.folder / "tenants.toml", "port": 0, "mounts": self.folder / "mounts"} | self.options
        return Setup(self.environment, lambda: NOON, **given)


def _date(seconds: int = 0) -> str:
    """A Date header of somebody whose clock is so many seconds ahead of ours."""
    return format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)


Change = Callable[[World], Any]


def nothing(_: World) -> None:
    """On paper alone."""


def one_site(world: World) -> None:
    """As `serve --insecure --site` has it on a new machine: no database yet, and a key for the explanations."""
    kept = ("CDS_EXPLANATION_KEY", "CDS_DATABASE", "CDS_EXPLANATIONS")
    world.environment = {name: world.environment[name] for name in kept}
    (world.folder / "records.sqlite3").unlink()
    world.options |= {"tenants": None, "site": world.folder / "site.toml", "insecure": True}


def keys_at_a_url(world: World) -> None:
    world.write("tenants.toml", world.read("tenants.toml").replace('jwks_file = "keys.json"', f'jwks = "{JWKS}"'))
    world.hears(JWKS, GOOD)


def called_at(address: str) -> Change:
    """An EHR calls there, and the service answers as it does in production."""

    def change(world: World) -> None:
        world.options["url"] = f"{address}/cds-services/"
        world.environment["CDS_CORS_ORIGINS"] = ORIGIN
        world.hears(f"{address}/cds-services", status=401, WWW_Authenticate="Bearer")
        world.hears(f"{address}/cds-services", method="OPTIONS", Access_Control_Allow_Origin=ORIGIN)
        world.hears(f"{address}/metrics", status=401)
        world.hears(f"{address}/version", {"cdsHooks": "2.0", "knowledge": world.hash})

    return change


called = called_at(BASE)
OFFERED = "Condition Encounter MedicationAdministration MedicationRequest MedicationStatement Observation Patient"
FEWER = [{"type": kind} for kind in f"{OFFERED} Procedure Questionnaire QuestionnaireResponse".split()]
EVERY = [*FEWER, {"type": "AllergyIntolerance"}, {"type": "ServiceRequest"}]
R4 = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [{"mode": "server", "resource": EVERY}]}


def chart(**quirks: tuple[int, Callable[[str], Json] | None]) -> Change:
    """A FHIR server answers every search over V01's chart. `quirks`: other answers, by type."""

    def change(world: World) -> None:
        held = Ehr({PATIENT: encode(WOMAN, NOON)})
        world.write("site.toml", world.read("site.toml") + f'[ehr]\nservers = ["{FHIR}"]\nbudget_ms = 3000\n')
        world.options |= {"fhir_server": FHIR, "patient": PATIENT}
        world.hears(f"{FHIR}/metadata", R4)

        def answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
            query = str(request.url).removeprefix(f"{FHIR}/").replace("%7C", "|")
            status, made = quirks.get(re.split(r"[/?]", query)[0], (200, None))
            return status, {}, json.dumps((made or held.get)(query)) if status == 200 else "{}"

        world.net.add_callback(
            "GET", re.compile(f"{FHIR}/[A-Z]"), callback=answer, content_type="application/fhir+json"
        )

    return change


def everything(world: World) -> None:
    """Two tenants with all that can be named, called by an EHR, with a chart: whatever can be looked at is there."""
    keys_at_a_url(world)
    called(world)
    chart()(world)
    for name, held in (("codes", VALUE_SET), ("forms", FORM), ("counters", None)):
        (world.folder / name).mkdir()
        if held is not None:
            world.write(f"{name}/one.json", json.dumps(held))
    world.environment["PROMETHEUS_MULTIPROC_DIR"] = str(world.folder / "counters")
    text = world.read("site.toml").replace('"CN"', '"CN"\nterminology = "codes"')
    text = text.replace("budget_ms", 'questionnaires = "forms"\nbudget_ms')
    world.write("south.toml", text.replace('"CN"', f'"CN"\ndialect = "cerner-1.0"\nlinks = ["{BASE}/"]'))
    world.write("site.toml", text.replace('"CN"', '"CN"\ndialect = "epic"') + f'{ITEM}defaults = "esketamine-iv"\n')
    epic = world.read("tenants.toml").replace('id = "north"', 'id = "north"\nlifetime_seconds = 900')
    world.write("tenants.toml", epic + SOUTH.replace("site.toml", "south.toml"))


VALUE_SET = {"resourceType": "ValueSet", "url": "https://x.example.org/1.2.3", "expansion": {"contains": []}}
FORM = {"resourceType": "Questionnaire", "url": "https://x.example.org/form"}
ITEM = '[[orderable]]\norder = "medicine"\nsystem = "urn:x:y"\ncode = "1"\n'
WELL: dict[str, Change] = {
    "on paper": nothing,
    "one site": one_site,
    "keys at a URL": keys_at_a_url,
    "called by an EHR": called,
    "with a chart": chart(),
    "everything": everything,
}


# ---- What can be changed in it


def env(name: str, value: str | None) -> Change:
    """A variable. FOLDER is that of the setup."""

    def change(world: World) -> None:
        world.environment.pop(name, None)
        if value is not None:
            world.environment[name] = value.replace("FOLDER", str(world.folder))

    return change


def file(name: str, old: str, new: str) -> Change:
    def change(world: World) -> None:
        text = world.read(name)
        assert old in text, name
        world.write(name, text.replace(old, new))

    return change


def site(old: str, new: str) -> Change:
    return file("site.toml", old, new)


def key(text: str) -> Change:
    """A key of the site file that stands in no part of it."""
    return site('country = "CN"', f'country = "CN"\n{text}')


def part(text: str) -> Change:
    """A part of the site file."""
    return site("\n[protocol]", f"\n{text}\n[protocol]")


def tenant(old: str, new: str) -> Change:
    return file("tenants.toml", old, new)


def term(text: str) -> Change:
    """A key of the tenant."""
    return tenant('id = "north"', f'id = "north"\n{text}')


def second(old: str = "", new: str = "") -> Change:
    """Another tenant."""
    return lambda world: world.write("tenants.toml", NORTH + SOUTH.replace(old, new))


def written(name: str, text: str) -> Change:
    return lambda world: world.write(name, text.replace("FOLDER", str(world.folder)))


def folder(name: str) -> Change:
    return lambda world: (world.folder / name).mkdir()


def gone(name: str) -> Change:
    return lambda world: (world.folder / name).unlink()


def option(**changes: Any) -> Change:
    return lambda world: world.options.update(changes)


def hears(url: str, body: Any = None, status: int = 200, method: str = "GET", **headers: str) -> Change:
    return lambda world: world.hears(url, body, status, method, **headers)


def silent(url: str) -> Change:
    return lambda world: world.net.remove("GET", url)


def through(url: str) -> Change:
    """Asked for in earnest: the service itself must refuse to go there."""
    return lambda world: world.net.add_passthru(url)


def all_of(*changes: Change) -> Change:
    def change(world: World) -> None:
        for one in changes:
            one(world)

    return change


def version(mark: str) -> Change:
    """The mark that the last migration left in the database."""

    def change(world: World) -> None:
        with closing(sqlite3.connect(world.folder / "records.sqlite3")) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (mark,))

    return change


def port_in_use(world: World) -> socket.socket:
    """Held until whoever called lets it go."""
    taken = socket.create_server(("127.0.0.1", 0))
    world.options["port"] = taken.getsockname()[1]
    world.hears(f"http://127.0.0.1:{world.options['port']}/version", "a page")
    return taken


def local_observation(query: str) -> Json:
    """Her observations, and wherever all are asked for, one with a code of the EHR's own."""
    page = Ehr({PATIENT: encode(WOMAN, NOON)}).get(query)
    if "code=" not in query:
        coding = {"system": "urn:oid:1.2.3.4", "code": "EPDS-4711", "display": NAME}
        own = {"resourceType": "Observation", "id": "own", "code": {"coding": [coding], "text": NAME}}
        page = {**page, "entry": [*page.get("entry", []), {"resource": own}], "total": page["total"] + 1}
    return page


def cut_short(_: str) -> Json:
    link = {"relation": "next", "url": f"{ELSEWHERE}?page=2"}
    return {"resourceType": "Bundle", "type": "searchset", "total": 900, "link": [link]}


# Behind a second address, tokens may be for that one, too: the tenant says so.
PROXY = "https://proxy.example.org"
WELL["an audience of its own"] = all_of(called_at(PROXY), term(f'audiences = ["{PROXY}/cds-services"]'))


# ---- The mistakes


@dataclass(frozen=True)
class Mistake:
    """What is wrong, the check that must find it, what its line must say, and how it comes about `after` a setup."""

    what: str
    check: str
    level: Level
    says: str
    plant: Change
    after: Change = nothing


FAIL, WARN = Level.FAIL, Level.WARN
URL, DATABASE, EXPLANATIONS = "CDS_PUBLIC_BASE_URL", "CDS_DATABASE", "CDS_EXPLANATIONS"
AUDIT, EXPLANATION, METRICS = "CDS_AUDIT_KEY", "CDS_EXPLANATION_KEY", "CDS_METRICS_TOKEN"
ORIGINS, COUNTERS, INSIGHTS = "CDS_CORS_ORIGINS", "PROMETHEUS_MULTIPROC_DIR", "CDS_INSIGHTS_TOKEN"
SIGN_ON = dict.fromkeys((f"CDS_INSIGHTS_OIDC_{name}" for name in ("CLIENT_ID", "CLIENT_SECRET", "ISSUER")), "x")
SERVICES = f"{BASE}/cds-services"
EPIC = all_of(key('dialect = "epic"'), term("lifetime_seconds = 900"))


def servers(url: str, more: str = "") -> Change:
    return part(f'[ehr]\nservers = ["{url}"]\n{more}\n')


def at_hand(more: str) -> Change:
    """A server of the site file that answers."""
    return all_of(servers(FHIR, more), hears(f"{FHIR}/metadata", R4))


def readable_for_all(world: World) -> None:
    (world.folder / "records.sqlite3").chmod(0o644)


def row(check: str, level: Level, what: str, says: str, plant: Change, after: Change = nothing) -> Mistake:
    return Mistake(what, check, level, says, plant, after)


ENVIRONMENT = [
    row("misspelt", WARN, "a variable is misspelt", f"write {METRICS}", env(METRICS.replace("ICS", "IC"), "x")),
    row("base-url", FAIL, "no base URL", "missing", env(URL, None)),
    row("base-url", FAIL, "a base URL without TLS", "not https", env(URL, "http://cds.example.org")),
    row("base-url", FAIL, "a base URL that is none", "not an http or https URL", env(URL, "cds.example.org")),
    row("base-url", FAIL, "a base URL with the path of discovery", f"write {BASE}", env(URL, SERVICES)),
    row("base-url", FAIL, "a base URL with a query", "leave out the rest", env(URL, f"{BASE}/?a=b")),
    row("base-url", WARN, "a base URL with a needless port", "no port", env(URL, f"{BASE}:443")),
    row("base-url", FAIL, "a base URL of this machine", "an EHR is elsewhere", env(URL, "https://localhost:8000")),
    row("audit-key", FAIL, "no audit key", "missing", env(AUDIT, None)),
    row("audit-key", FAIL, "an audit key that is none", "not 32 bytes", env(AUDIT, "secret")),
    row("audit-key", FAIL, "an audit key of zeros", "not random", env(AUDIT, ZEROS)),
    row("explanation-key", WARN, "no explanation key", "missing", env(EXPLANATION, None)),
    row("explanation-key", FAIL, "an explanation key that is none", "not 32 bytes", env(EXPLANATION, "secret")),
    row("explanation-key", FAIL, "an explanation key of zeros", "not random", env(EXPLANATION, ZEROS)),
    row("explanation-key", WARN, "one key for two locks", "the same as CDS_AUDIT_KEY", env(EXPLANATION, AUDIT_KEY)),
    row("metrics", WARN, "no token for the metrics", "there is no /metrics", env(METRICS, None)),
    row("metrics", FAIL, "a short token for the metrics", "not 16", env(METRICS, "short")),
    row("insights", WARN, "nobody may read the outcomes", "nobody can read /insights", env(INSIGHTS, None)),
    row("insights", FAIL, "a short token for the outcomes", "not 16", env(INSIGHTS, "short")),
    row("insights", FAIL, "sign-on by half", "missing", all_of(*(env(name, value) for name, value in SIGN_ON.items()))),
    row("origins", FAIL, "an origin with a slash", "no slash", env(ORIGINS, f"{ORIGIN}/")),
    row("origins", FAIL, "every origin", "never a star", env(ORIGINS, "*")),
    row("origins", FAIL, "an origin without TLS", "not https", env(ORIGINS, "http://ehr.example.org")),
    row("origins", WARN, "the service as an origin", "needs no leave", env(ORIGINS, BASE)),
    row("origins", FAIL, "a tenant's origin with a path", "no path", term('cors_origins = ["https://a.org/x"]')),
    row("debugging", FAIL, "a debugger", "unset it", env("FLASK_DEBUG", "1")),
    row("telemetry", FAIL, "an exporter that nobody knows", "neither otlp", env("OTEL_TRACES_EXPORTER", "jaeger")),
    row(
        "telemetry",
        FAIL,
        "traces over gRPC",
        "http/protobuf",
        all_of(env("OTEL_TRACES_EXPORTER", "otlp"), env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")),
    ),
]

MACHINE = [
    row("host", FAIL, "insecure for all the world", "could be reached", option(insecure=True, host="0.0.0.0")),  # noqa: S104
    row("port", FAIL, "a host that is not there", "no such host", option(host="nowhere.invalid")),
    row("port", FAIL, "another machine's address", "cannot be listened on", option(host="192.0.2.1")),
    row("port", FAIL, "a port in use", "another program", port_in_use),
    row("database", FAIL, "a database in no folder", "its folder", env(DATABASE, "/nowhere/records.sqlite3")),
    row("database", FAIL, "a database that is a folder", "not a SQLite", env(DATABASE, "FOLDER")),
    row("database", FAIL, "a database that is another file", "not a SQLite", env(DATABASE, "FOLDER/long.txt")),
    row("database", FAIL, "a database of another kind", "neither a path", env(DATABASE, "mysql://db/cds")),
    row("database", FAIL, "no database server", "cannot be reached", env(DATABASE, "postgresql://a:b@127.0.0.1:9/c")),
    row("database", FAIL, "a database of a later version", "later version", version("9999")),
    row("database", FAIL, "explanations in no folder", "CDS_EXPLANATIONS", env(EXPLANATIONS, "/nowhere/e.sqlite3")),
    row("migrations", WARN, "a database that is not migrated", "not migrated", version("0001")),
    row("disk", FAIL, "a database in memory", "in memory", env(DATABASE, ":memory:")),
    row("disk", FAIL, "a network disk", "nfs4", written("mounts", "nas:/ FOLDER/records.sqlite3 nfs4 rw 0 0\n")),
    row("disk", FAIL, "a disk in memory", "restarts", written("mounts", "x FOLDER/records.sqlite3 tmpfs rw 0 0\n")),
    row("disk", FAIL, "a database that all may read", "chmod 600", readable_for_all),
    row("disk", WARN, "explanations beside the records", "the same file", env(EXPLANATIONS, "FOLDER/records.sqlite3")),
    row("counters", FAIL, "no folder for counters", "mkdir", env(COUNTERS, "/nowhere/counters")),
    row("counters", WARN, "old counters", "empty it", env(COUNTERS, "FOLDER")),
]

SITE_FILE = [
    row("tenants-file", FAIL, "a site file that is not there", "cannot be read", gone("site.toml")),
    row("tenants-file", FAIL, "a site file that is no TOML", "not TOML", site("[protocol]", "[protocol")),
    row("tenants-file", FAIL, "a key that nobody knows", "shows every key", key('colour = "red"')),
    row("site-file", FAIL, "the one site file is not there", "cannot be read", gone("site.toml"), one_site),
    row("site-file", WARN, "a tenant without a site file", "no site file", second('site = "site.toml"')),
    row("protocol", WARN, "no protocol", "no [protocol]", site(PROTOCOL, "")),
    row("protocol", FAIL, "a medicine that is not marketed", "CFG01", site('"CN"', '"US"')),
    row("protocol", FAIL, "another strength", "stock that strength", site("per_ml = 5", "per_ml = 25")),
    row("protocol", FAIL, "a protocol that nobody knows", "no such protocol", site("esketamine-iv", "esketamine-im")),
    row("time-zone", WARN, "no time zone", "a day off", site('time_zone = "Asia/Shanghai"', "")),
    row("time-zone", FAIL, "a time zone that is none", "Europe/Berlin", site("Asia/Shanghai", "Beijing")),
    row("language", FAIL, "a language that is not there", "no such language", key('language = "tlh"')),
    row("language", WARN, "a translation without a reviewer", "not clinically reviewed", key('language = "es"')),
    row(
        "reviewed",
        WARN,
        "knowledge that nobody signed",
        "not clinically reviewed",
        written("site.toml", SITE.partition("[review]")[0]),
    ),
    row(
        "signature",
        FAIL,
        "a signature of other knowledge",
        "signed sha256:0123",
        written("site.toml", SITE.format(hash="sha256:0123456789ab")),
    ),
    row(
        "code-maps",
        FAIL,
        "an idea that nobody knows",
        "no such concept",
        part('[[local]]\nmeans = ["joy"]\nwords = ["happy"]\n'),
    ),
    row(
        "code-maps",
        FAIL,
        "codes without a system",
        "without their system",
        part('[[local]]\nmeans = ["delivery"]\ncodes = ["4711"]\n'),
    ),
    row("code-maps", FAIL, "an order that nobody knows", "no such order", part(ITEM.replace("medicine", "tea"))),
    row(
        "code-maps",
        FAIL,
        "a topic of a role that nobody knows",
        "no such topic",
        part('[[role]]\nsystem = "urn:x:y"\ncodes = ["M"]\ntopics = ["TEA"]\n'),
    ),
    row(
        "code-maps",
        FAIL,
        "the defaults of another protocol",
        "not the protocol of this site",
        part(f'{ITEM}defaults = "racemic-ketamine-iv"\n'),
    ),
    row("orderables", WARN, "an Epic site without its catalogue", "[[orderable]]", EPIC),
    row("orderables", WARN, "an Epic medicine without its dose", "in words alone", all_of(EPIC, part(ITEM))),
    row("terminology", FAIL, "a folder of codes that is not there", "no such folder", key('terminology = "codes"')),
    row(
        "terminology",
        FAIL,
        "a folder of codes without any",
        "holds no ValueSet",
        all_of(folder("codes"), key('terminology = "codes"')),
    ),
    row(
        "terminology",
        FAIL,
        "a file of codes that is none",
        "not an expanded",
        all_of(folder("codes"), written("codes/a.json", "{}"), key('terminology = "codes"')),
    ),
    row(
        "forms",
        FAIL,
        "a folder of forms that is not there",
        "no such folder",
        part('[ehr]\nquestionnaires = "forms"\n'),
    ),
    row(
        "forms",
        FAIL,
        "a folder of forms without any",
        "holds no form",
        all_of(folder("forms"), part('[ehr]\nquestionnaires = "forms"\n')),
    ),
    row("links", WARN, "links that the EHR takes off", "takes explanations off", key('dialect = "cerner-1.0"')),
    row("budget", FAIL, "a budget that is none", "greater than or equal to 50", part("[ehr]\nbudget_ms = 5\n")),
    row("budget", WARN, "a budget in which nothing is read", "hardly any list", at_hand("budget_ms = 60")),
    row("budget", WARN, "a budget beyond the EHR's", "gives up", at_hand("budget_ms = 9000")),
    row("ehr-servers", FAIL, "a server without TLS", "not https", servers("http://fhir.example.org/r4")),
    row("ehr-servers", FAIL, "a server that is not there", "cannot be reached", servers(FHIR)),
    row(
        "private-addresses",
        FAIL,
        "a server in the house",
        "private_addresses = true",
        all_of(through(IN_THE_HOUSE), servers(f"{IN_THE_HOUSE}/fhir")),
    ),
]

TENANTS = [
    row("tenants-file", FAIL, "a tenants file that is not there", "cannot be read", gone("tenants.toml")),
    row("tenants-file", FAIL, "a topic that nobody knows", "no such topic", term('off = ["TEA"]')),
    row("same-issuer", FAIL, "two tenants of one issuer", "tenant_claim", second("south.example", "ehr.example")),
    row("same-issuer", FAIL, "two tenants of one id", "is there twice", second('"south"', '"north"')),
    row(
        "same-issuer",
        WARN,
        "two issuers that differ by a slash",
        "letter by letter",
        second("south.example.org", "ehr.example.org/"),
    ),
    row(
        "sandbox-key",
        FAIL,
        "the Sandbox as an issuer",
        "anybody can sign",
        tenant("ehr.example.org", "sandbox.cds-hooks.org"),
    ),
    row(
        "lifetime",
        FAIL,
        "Epic's tokens without their time",
        "900",
        all_of(term('dialect = "epic"'), part(f'{ITEM}defaults = "esketamine-iv"\n')),
    ),
    row("mode", WARN, "a tenant that stays in the shadow", "shadow", term('mode = "shadow"')),
    row("mode", WARN, "a topic that stays off", "PPDRISK", term('off = ["PPDRISK"]')),
    row(
        "jwks",
        FAIL,
        "keys without TLS",
        "not https",
        tenant('jwks_file = "keys.json"', 'jwks = "http://ehr.example.org/k"'),
    ),
    row("jwks", FAIL, "two places for keys", "either jwks or", term(f'jwks = "{JWKS}"')),
    row("jwks", FAIL, "keys that cannot be reached", "cannot be reached", silent(JWKS), keys_at_a_url),
    row("jwks", FAIL, "keys that are not there", "status 404", hears(JWKS, status=404), keys_at_a_url),
    row(
        "jwks",
        FAIL,
        "keys behind a redirect",
        "leads elsewhere",
        hears(JWKS, status=302, Location=ELSEWHERE),
        keys_at_a_url,
    ),
    row("jwks", FAIL, "a page instead of keys", "no JWKS", hears(JWKS, "<html></html>"), keys_at_a_url),
    row(
        "jwks", FAIL, "a discovery document instead of keys", "no JWKS", hears(JWKS, {"jwks_uri": JWKS}), keys_at_a_url
    ),
    row(
        "jwks",
        FAIL,
        "keys in the house",
        "private_addresses = true",
        all_of(through(IN_THE_HOUSE), tenant(JWKS, f"{IN_THE_HOUSE}/jwks")),
        keys_at_a_url,
    ),
    row("jwks-keys", FAIL, "no file of keys", "cannot be read", gone("keys.json")),
    row(
        "jwks-keys", FAIL, "a file without a key that fits", "no key that fits", written("keys.json", json.dumps(OTHER))
    ),
    row("jwks-keys", FAIL, "a file of keys in PEM", "PEM", written("keys.json", PEM)),
    row("jwks-keys", FAIL, "a private key in a file", "that key is burnt", written("keys.json", json.dumps(LEAKED))),
    row("jwks-keys", FAIL, "a short key in a file", "shorter than 2048", written("keys.json", json.dumps(SHORT))),
    row("jwks-keys", FAIL, "keys of another algorithm", 'algorithms = ["ES512"]', hears(JWKS, OTHER), keys_at_a_url),
    row("jwks-keys", FAIL, "no key at all", "no token can be verified", hears(JWKS, {"keys": []}), keys_at_a_url),
    row("jwks-keys", FAIL, "a private key for all to see", "to everybody", hears(JWKS, LEAKED), keys_at_a_url),
    row("clock", FAIL, "a clock that is behind", "95 s behind", hears(JWKS, GOOD, Date=_date(95)), keys_at_a_url),
    row(
        "clock", WARN, "a clock that is a little ahead", "20 s ahead", hears(JWKS, GOOD, Date=_date(-20)), keys_at_a_url
    ),
]

ADDRESS = [
    row("audience", FAIL, "tokens for http", "http against https", called_at("http://cds.example.org")),
    row("audience", FAIL, "tokens for another host", "another host", called_at(PROXY)),
    row("audience", FAIL, "tokens for another port", "another port", called_at(f"{BASE}:8443")),
    row("audience", FAIL, "tokens for another path", "another path", called_at(f"{BASE}/ppd")),
    row("audience", FAIL, "tokens in capitals", "written otherwise", called_at("https://CDS.example.org")),
    row("url", FAIL, "nobody at the address", "cannot be reached", silent(SERVICES), called),
    row("url", FAIL, "a proxy that finds no service", "answers 502", hears(SERVICES, status=502), called),
    row("url", FAIL, "a proxy that cuts the path", "nothing is there", hears(SERVICES, status=404), called),
    row("url", FAIL, "a proxy with a password", "the proxy answers 401", hears(SERVICES, "Log in", 401), called),
    row(
        "url",
        FAIL,
        "a proxy that leads elsewhere",
        ELSEWHERE,
        hears(SERVICES, status=308, Location=f"{ELSEWHERE}/x"),
        called,
    ),
    row("url", FAIL, "another page at the address", "something else", hears(SERVICES, "<html></html>"), called),
    row(
        "open-door",
        FAIL,
        "an insecure service behind a proxy",
        "without a token",
        hears(SERVICES, {"services": []}),
        called,
    ),
    row("open-door", FAIL, "metrics for all", "shows /metrics", hears(f"{BASE}/metrics", "calls 1"), called),
    row(
        "cross-origin",
        FAIL,
        "a proxy that swallows a preflight",
        "preflight",
        hears(SERVICES, method="OPTIONS"),
        called,
    ),
    row(
        "same-knowledge",
        WARN,
        "an older service",
        "sha256:0",
        hears(f"{BASE}/version", {"knowledge": "sha256:0"}),
        called,
    ),
]

CHART = [
    row(
        "fhir-server",
        FAIL,
        "no FHIR server",
        "no FHIR server answers",
        hears(f"{FHIR}/metadata", "<html></html>"),
        chart(),
    ),
    row(
        "fhir-server",
        FAIL,
        "another release of FHIR",
        "FHIR 5.0.0",
        hears(f"{FHIR}/metadata", R4 | {"fhirVersion": "5.0.0"}),
        chart(),
    ),
    row("fhir-server", FAIL, "a patient that is not there", "no patient", chart(Patient=(404, None))),
    row("fhir-server", FAIL, "a server that wants a token", "--token-env", chart(Patient=(401, None))),
    row("fhir-server", FAIL, "a server that fails", "500", chart(Patient=(500, None))),
    row(
        "fhir-listed",
        WARN,
        "a server that no site names",
        "no site names it",
        site(f'servers = ["{FHIR}"]', ""),
        chart(),
    ),
    row(
        "capabilities",
        WARN,
        "a server that offers less",
        "does not offer AllergyIntolerance, ServiceRequest",
        all_of(hears(f"{FHIR}/metadata", R4 | {"rest": [{"resource": FEWER}]})),
        chart(),
    ),
    row(
        "clock",
        FAIL,
        "a clock that is far ahead",
        "3600 s ahead",
        hears(f"{FHIR}/metadata", R4, Date=_date(-3600)),
        chart(),
    ),
    row(
        "prefetch",
        FAIL,
        "a search that is refused",
        "prefetch problems: the server refuses the search",
        chart(Condition=(400, None)),
    ),
    row(
        "prefetch",
        FAIL,
        "a list that is not granted",
        "patient/AllergyIntolerance.rs",
        chart(AllergyIntolerance=(403, None)),
    ),
    row(
        "prefetch",
        WARN,
        "a type that is not there",
        "no MedicationStatement (404)",
        chart(MedicationStatement=(404, None)),
    ),
    row("prefetch", WARN, "a list in part", "comes in part", chart(Procedure=(200, cut_short))),
    row(
        "local-codes",
        WARN,
        "a local code without a map",
        "urn:oid:1.2.3.4 above all: EPDS-4711",
        chart(Observation=(200, local_observation)),
    ),
]

MISTAKES = [*ENVIRONMENT, *MACHINE, *SITE_FILE, *TENANTS, *ADDRESS, *CHART]

# What comes about, and the checks that then have nothing to look at: none of them may be called well.
UNSEEN: dict[str, tuple[Change, set[str]]] = {
    "no tenants file": (
        gone("tenants.toml"),
        {"reviewed", "signature", "site-file", "mode", "same-issuer"},
    ),
    "no site file": (
        all_of(one_site, gone("site.toml")),
        {"reviewed", "signature", "protocol", "language"},
    ),
    "no keys": (all_of(keys_at_a_url, silent(JWKS)), {"jwks-keys", "clock"}),
    "no database": (env(DATABASE, "postgresql://a:b@127.0.0.1:9/c"), {"migrations"}),
    "no service": (
        all_of(called, silent(SERVICES), silent(f"{BASE}/version")),
        {"open-door", "cross-origin", "same-knowledge"},
    ),
    "no base URL": (all_of(called, env(URL, None)), {"audience"}),
    "no FHIR server": (
        all_of(chart(), silent(f"{FHIR}/metadata")),
        {"clock", "capabilities"},
    ),
    "no patient": (chart(Patient=(404, None)), {"prefetch", "slow-server", "local-codes"}),
}
