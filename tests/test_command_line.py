"""The command line, as a person types it: what it prints, what it refuses, and in how many words."""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import NOON, AdvisorOf
from ehr import request_for
from encoding import Json, read_cases
from werkzeug.test import Client

from cds_service import __version__
from cds_service.__main__ import app, main
from cds_service.knowledge.loader import FOLDER
from cds_service.records import Records
from cds_service.starting import Library

CASES = {case.id: case for case in read_cases()}
# Stands for what a patient's chart may hold. No line of an error may have it.
CANARY = "Zebrafinch4711"

SITE = """
name = "Test hospital"
country = "CN"
[protocol]
id = "esketamine-iv"
approval = "SITE-PPD-01"
strength_mg_per_ml = 5
"""
AT_NOON = ("--now", NOON.isoformat())


@dataclass(frozen=True)
class Done:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def answers(self) -> list[Json]:
        return [json.loads(line) for line in self.lines]

    @property
    def complaint(self) -> str:
        """The one line that says what is wrong."""
        assert self.code == 1, self.out
        (line,) = self.err.splitlines()
        return line


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str | Path, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["cds-service", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            main()
        told, code = capsys.readouterr(), end.value.code
        if isinstance(code, str):  # Python prints it, and ends with 1
            return Done(1, told.out, f"{told.err}{code}\n")
        return Done(int(code or 0), told.out, told.err)

    return command


def start(*arguments: str | Path) -> Done:
    """A command that must refuse to start, in a process of its own: if it listens, this ends it and fails."""
    command = [sys.executable, "-m", "cds_service", *map(str, arguments), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Path]:
    """A site file with some words changed."""

    def written(**changes: str) -> Path:
        text = SITE
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "site.toml"
        path.write_text(text)
        return path

    return written


@pytest.fixture(scope="session")
def requests(advisor_of: AdvisorOf) -> list[Json]:
    """Three calls: one gets a dose, one is contraindicated, one is not indicated."""
    discovery = advisor_of(CASES["V01"]).discovery()
    return [request_for(CASES[name], NOON, discovery) for name in ("V01", "V10", "V05")]


STATUSES = ["eligible-conditional", "contraindicated", "not-indicated"]


def statuses(done: Done) -> list[str]:
    return [answer["eligibility"]["status"] for answer in done.answers]


# ---- evaluate: whatever holds the requests


def as_ndjson(requests: list[Json]) -> str:
    return "".join(json.dumps(request) + "\n" for request in requests)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(as_ndjson, id="NDJSON"),
        pytest.param(lambda requests: as_ndjson(requests).replace("\n", "\n\n").rstrip(), id="NDJSON with empty lines"),
        pytest.param(lambda requests: "\n" + as_ndjson(requests), id="NDJSON after an empty line"),
        pytest.param(lambda requests: as_ndjson(requests).replace("\n", "\r\n"), id="NDJSON from Windows"),
        pytest.param(json.dumps, id="an array in one line"),
        pytest.param(lambda requests: json.dumps(requests, indent=2), id="an array over many lines"),
    ],
)
def test_evaluate_answers_a_file_in_its_order(
    text: Callable[[list[Json]], str], requests: list[Json], site: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "requests"
    file.write_bytes(text(requests).encode())

    done = run("evaluate", file, "--json", "--site", site(), *AT_NOON)

    assert (done.code, done.err) == (0, "")
    assert statuses(done) == STATUSES
    assert [answer["hookInstance"] for answer in done.answers] == [request["hookInstance"] for request in requests]


def test_evaluate_answers_one_request_over_many_lines(
    requests: list[Json], site: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(requests[0], indent=4))

    assert statuses(run("evaluate", file, "--json", "--site", site(), *AT_NOON)) == STATUSES[:1]


def test_evaluate_answers_several_files_and_standard_input_in_the_order_given(
    requests: list[Json], site: Callable[..., Path], run: Run, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.json" for number in range(2)]
    files[0].write_text(json.dumps(requests[2]))
    files[1].write_text(json.dumps([requests[1]]))

    done = run(
        "evaluate",
        files[0],
        "-",
        files[1],
        "--json",
        "--site",
        site(),
        *AT_NOON,
        stdin=as_ndjson(requests[:1]).encode(),
    )

    assert statuses(done) == [STATUSES[2], STATUSES[0], STATUSES[1]]


def test_evaluate_tells_a_person_what_was_found_and_why(
    requests: list[Json], site: Callable[..., Path], run: Run
) -> None:
    done = run("evaluate", "-", "--site", site(), *AT_NOON, stdin=as_ndjson(requests).encode())

    assert done.code == 0
    for words in ("eligible-conditional", "contraindicated", "esketamine 14 mg", "EPDS", "KETOPTION"):
        assert words in done.out


BAD_LINES = [
    pytest.param('{"hook": "order-select", ' + f'"{CANARY}"', id="cut off"),
    pytest.param(f'{{"hook": "{CANARY}", "hookInstance": "x", "context": {{}}}}', id="another hook"),
    pytest.param(f'{{"hook": "patient-view", "context": {{"userId": "{CANARY}"}}}}', id="no hookInstance"),
    pytest.param(f'{{"hook": "patient-view", "{CANARY}": NaN}}', id="not a number"),
    pytest.param(f'["{CANARY}"]', id="a list"),
    pytest.param(f'"{CANARY}"', id="a text"),
    pytest.param("[" * 70 + "]" * 70, id="too deep"),
    pytest.param(f'{{"a": "{CANARY}", "a": 1}}', id="a name twice"),
    pytest.param(CANARY, id="no JSON"),
]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_line_that_cannot_be_read_is_named_and_the_rest_goes_on(
    bad: str, requests: list[Json], site: Callable[..., Path], run: Run
) -> None:
    lines = as_ndjson(requests).splitlines()
    stdin = "\n".join([lines[0], bad, *lines[1:]]).encode()

    done = run("evaluate", "-", "--json", "--site", site(), *AT_NOON, stdin=stdin)

    assert done.code == 1
    assert len(done.answers) == 4
    assert done.answers[1]["error"]
    assert [answer["eligibility"]["status"] for answer in (done.answers[0], *done.answers[2:])] == STATUSES
    assert CANARY not in done.out + done.err


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_person_is_told_which_line_could_not_be_read(
    bad: str, requests: list[Json], site: Callable[..., Path], run: Run
) -> None:
    stdin = f"{json.dumps(requests[2])}\n{bad}\n".encode()

    done = run("evaluate", "-", "--site", site(), *AT_NOON, stdin=stdin)

    assert done.code == 1
    assert any(line.startswith("standard input:2: ") for line in (done.out + done.err).splitlines())
    assert CANARY not in done.out + done.err


def test_another_patients_chart_is_refused_without_a_word_of_it(requests: list[Json], run: Run) -> None:
    swapped = json.loads(json.dumps(requests[0]))
    swapped["prefetch"]["patient"]["id"] = CANARY
    swapped["prefetch"]["patient"]["name"] = [{"family": CANARY}]

    done = run("evaluate", "-", "--json", *AT_NOON, stdin=as_ndjson([swapped]).encode())

    assert done.code == 1
    (answer,) = done.answers
    assert answer["error"]
    assert "cards" not in answer
    assert CANARY not in done.out + done.err


# ---- evaluate: what it is told on the way


def test_discovery_is_printed_and_names_the_five_services(run: Run) -> None:
    done = run("evaluate", "--discovery")

    assert done.code == 0
    services = json.loads(done.out)["services"]
    assert [service["hook"] for service in services] == [
        "patient-view",
        "encounter-start",
        "order-select",
        "order-sign",
        "encounter-discharge",
    ]
    assert all(service["prefetch"] for service in services)


@pytest.mark.parametrize("instant", ["2026-11-23T12:00:00", "2026-11-23", "noon", "", "2026-13-01T00:00:00Z"])
def test_a_time_without_its_zone_is_refused_in_one_line(instant: str, requests: list[Json], run: Run) -> None:
    complaint = run("evaluate", "-", "--now", instant, stdin=as_ndjson(requests).encode()).complaint

    assert "--now" in complaint
    assert "zone" in complaint


@pytest.mark.parametrize("instant", ["1900-01-01T00:00:00+14:00", "2199-12-31T23:59:59-12:00"])
def test_at_the_ends_of_the_years_that_are_taken_every_call_is_answered(
    instant: str, requests: list[Json], run: Run
) -> None:
    done = run("evaluate", "-", "--json", "--now", instant, stdin=as_ndjson(requests).encode())

    assert (done.code, len(done.answers)) == (0, len(requests))


def test_the_time_decides(requests: list[Json], site: Callable[..., Path], run: Run) -> None:
    a_month_later = ("--now", "2026-12-23T12:00:00Z")

    done = run("evaluate", "-", "--json", "--site", site(), *a_month_later, stdin=as_ndjson(requests[:1]).encode())

    assert statuses(done) == ["data-missing"]


def test_a_missing_file_is_one_line(run: Run, tmp_path: Path) -> None:
    assert "nowhere.json" in run("evaluate", tmp_path / "nowhere.json", *AT_NOON).complaint


def test_a_folder_is_one_line(run: Run, tmp_path: Path) -> None:
    assert str(tmp_path) in run("evaluate", tmp_path, *AT_NOON).complaint


def test_no_file_at_all_is_one_line(run: Run) -> None:
    assert "file" in run("evaluate").complaint


def test_without_a_site_file_no_medicine_is_offered(requests: list[Json], run: Run) -> None:
    done = run("evaluate", "-", "--json", *AT_NOON, stdin=as_ndjson(requests[:1]).encode())

    assert statuses(done) == ["no-approved-protocol"]
    assert done.answers[0]["dose"] is None


# ---- What is refused at start


def test_serve_without_insecure_refuses(site: Callable[..., Path]) -> None:
    assert "--insecure" in start("serve", "--site", site()).complaint


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])  # noqa: S104
def test_serve_insecure_refuses_an_address_that_others_reach(host: str, site: Callable[..., Path]) -> None:
    assert "loopback" in start("serve", "--insecure", "--host", host, "--site", site()).complaint


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])  # noqa: S104
def test_the_demonstration_refuses_an_address_that_others_reach(host: str) -> None:
    assert "loopback" in start("demo", "--no-browser", "--host", host).complaint


@pytest.mark.parametrize("url", ["ehr.example.org/fhir", "ftp://ehr.example.org", ""])
def test_serve_refuses_a_fhir_server_that_is_no_url(url: str) -> None:
    assert "--fhir-server" in start("serve", "--insecure", "--fhir-server", url).complaint


def test_a_site_that_enables_what_is_not_marketed_is_refused_by_serve_and_check(
    run: Run, site: Callable[..., Path]
) -> None:
    american = site(CN="US")

    assert "CFG01" in start("serve", "--insecure", "--site", american).complaint
    checked = run("check", "--site", american)
    assert checked.code == 1
    assert len([line for line in checked.lines if "CFG01" in line]) == 1


def test_evaluate_reports_what_is_not_marketed_and_goes_on_without_a_protocol(
    run: Run, site: Callable[..., Path], requests: list[Json]
) -> None:
    done = run("evaluate", "-", "--json", "--site", site(CN="US"), *AT_NOON, stdin=as_ndjson(requests).encode())

    assert done.code == 0
    assert statuses(done) == ["no-approved-protocol", "contraindicated", "not-indicated"]
    for answer in done.answers:
        assert [row["id"] for row in answer["eligibility"]["criteria"] if row["kind"] == "configuration"] == ["CFG01"]
        assert answer["dose"] is None


COMMANDS = [("serve", "--insecure"), ("check",), ("evaluate", "-")]
UNFIT = [
    pytest.param({"strength_mg_per_ml = 5": "strength_mg_per_ml = 25"}, "strength_mg_per_ml", id="wrong strength"),
    pytest.param({"strength_mg_per_ml = 5": ""}, "strength_mg_per_ml", id="no strength"),
    pytest.param({"country =": "land ="}, "land", id="unknown key"),
    pytest.param({"approval =": "aproval ="}, "aproval", id="unknown key of the protocol"),
    pytest.param({"esketamine-iv": "ketamine-iv"}, "ketamine-iv", id="unknown protocol"),
    pytest.param({"[protocol]": "[protocol"}, "not TOML", id="no TOML"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=[row[0] for row in COMMANDS])
@pytest.mark.parametrize(("changes", "word"), UNFIT)
def test_an_unfit_site_file_is_refused_everywhere(
    command: tuple[str, ...], changes: dict[str, str], word: str, run: Run, site: Callable[..., Path]
) -> None:
    done = run(*command, "--site", site(**changes))

    assert done.code == 1
    assert [line for line in (done.out + done.err).splitlines() if word in line]
    assert "Traceback" not in done.out + done.err


@pytest.mark.parametrize("command", COMMANDS, ids=[row[0] for row in COMMANDS])
def test_a_site_file_that_is_not_there_is_named(command: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    done = run(*command, "--site", tmp_path / "nowhere.toml")

    assert done.code == 1
    assert len([line for line in (done.out + done.err).splitlines() if "nowhere.toml" in line]) == 1


# ---- The rest


def test_check_without_arguments_passes_and_says_who_has_read_it(run: Run) -> None:
    done = run("check")

    assert done.code == 0
    assert done.lines[-1] == "no defects"
    assert "not clinically reviewed" in done.out
    assert "sha256:" in done.out


def test_a_site_signs_the_knowledge_that_check_names(run: Run, site: Callable[..., Path]) -> None:
    signature = next(word for word in run("check").out.split() if word.startswith("sha256:"))
    file = site()
    file.write_text(f'{SITE}[review]\nby = ["A committee"]\non = 2026-11-01\nknowledge = "{signature[:30]}"\n')

    done = run("check", "--site", file)

    assert done.code == 0, done.out
    assert "A committee" in done.out
    assert "not clinically reviewed" not in done.out


def test_the_version_is_told(run: Run) -> None:
    done = run("--version")

    assert (done.code, done.out.strip()) == (0, __version__)


@pytest.mark.parametrize(
    "command", [("--help",), *((name, "--help") for name in ("serve", "demo", "check", "evaluate"))]
)
def test_every_command_explains_itself(command: tuple[str, ...], run: Run) -> None:
    done = run(*command)

    assert done.code == 0
    assert "Usage" in done.out


# ---- Every wrong use: one plain line, and the right exit code

REFUSED, MISTYPED = 1, 2
NOWHERE = "http://127.0.0.1:9/fhir"
PLAYED = f"evaluate --fhir-server {NOWHERE}"
DATABASE = "CDS_DATABASE"

# What is typed (FOLDER is one with good and bad files), how it ends, and words of the one line that says why.
WRONG_USES: list[tuple[str, int, str]] = [
    # the command itself
    ("sirve", MISTYPED, "No such command 'sirve'. Did you mean 'serve'? See: cds-service --help"),
    ("--versoin", MISTYPED, "No such option: --versoin"),
    ("audit vacuum", MISTYPED, "No such command 'vacuum'. See: cds-service audit --help"),
    ("knowledge dif", MISTYPED, "No such command 'dif'"),
    ("check more", MISTYPED, "unexpected extra argument"),
    # serve
    ("serve", REFUSED, "--tenants"),
    ("serve --insecure --port eighty", MISTYPED, "'--port'"),
    ("serve --insecure --port 65536", MISTYPED, "65535"),
    ("serve --insecure --host 192.0.2.1", REFUSED, "loopback"),
    ("serve --insecure --host nowhere.invalid", REFUSED, "loopback"),
    ("serve --insecure --site", MISTYPED, "requires an argument"),
    ("serve --insecure --site FOLDER/nothing.toml", REFUSED, "nothing.toml: cannot be read: No such file"),
    ("serve --insecure --site FOLDER/empty", REFUSED, "empty: cannot be read: Is a directory"),
    ("serve --insecure --site FOLDER/latin.toml", REFUSED, "latin.toml: cannot be read: not UTF-8"),
    ("serve --insecure --site FOLDER/bad.toml", REFUSED, "bad.toml: not TOML"),
    ("serve --insecure --site FOLDER/empty.toml", REFUSED, "country: Field required"),
    ("serve --insecure --fhir-server ehr", REFUSED, "--fhir-server 'ehr': not an http or https base URL"),
    ("serve --insecure --tenants FOLDER/nothing.toml", REFUSED, "nothing.toml: cannot be read: No such file"),
    ("serve --insecure --tenants FOLDER/empty", REFUSED, "Is a directory"),
    ("serve --insecure --tenants FOLDER/empty.toml", REFUSED, "tenant: Field required"),
    ("serve --insecure --tenants FOLDER/bad.toml --site FOLDER/site.toml", REFUSED, "leave out --site"),
    ("serve --insecure --tenants FOLDER/bad.toml --port 0", REFUSED, "CDS_PUBLIC_BASE_URL"),
    # demo
    ("demo --host 192.0.2.1", REFUSED, "loopback"),
    ("demo --no-browser --language xx", REFUSED, "xx"),
    ("demo --port x", MISTYPED, "'--port'"),
    ("demo --no-browser --port TAKEN", REFUSED, "Address already in use"),
    # check
    ("check --knowledge FOLDER/nothing", REFUSED, "--knowledge FOLDER/nothing: no such folder"),
    ("check --knowledge FOLDER/site.toml", REFUSED, "no such folder"),
    ("check --cards FOLDER/nothing", REFUSED, "--cards FOLDER/nothing: no such folder"),
    ("check --now yesterday", REFUSED, "--now yesterday: not an instant with a zone"),
    ("check --now 1899-12-31T23:59:59Z", REFUSED, "--now 1899-12-31T23:59:59Z: not within the years 1900 to 2199"),
    # doctor
    ("doctor --site FOLDER/site.toml --tenants FOLDER/bad.toml", MISTYPED, "leave out --site"),
    ("doctor --port x", MISTYPED, "'--port'"),
    ("doctor --url cds.example.org", MISTYPED, "--url is not an http or https base URL"),
    ("doctor --fhir-server ehr", MISTYPED, "--fhir-server is not an http or https base URL"),
    ("doctor --patient anna", MISTYPED, "--patient needs --fhir-server"),
    ("doctor --token-env PATH", MISTYPED, "--token-env needs --fhir-server"),
    (f"doctor --fhir-server {NOWHERE} --token-env NO_SUCH_TOKEN", MISTYPED, "no environment variable"),
    ("doctor --fhir-server http://ehr.example.org/r4 --token-env PATH", MISTYPED, "over https only"),
    (f"doctor --fhir-server {NOWHERE} --patient a*b", MISTYPED, "not a FHIR id"),
    ("doctor --now noon", MISTYPED, "--now noon: not an instant with a zone"),
    # evaluate
    ("evaluate", REFUSED, "at least one file"),
    ("evaluate FOLDER/nothing.json", REFUSED, "nothing.json: No such file"),
    ("evaluate FOLDER/empty", REFUSED, "empty: Is a directory"),
    ("evaluate FOLDER/good.json --site FOLDER/nothing.toml", REFUSED, "nothing.toml: cannot be read"),
    ("evaluate FOLDER/good.json --now 2026-11-23", REFUSED, "not an instant with a zone"),
    ("evaluate FOLDER/good.json --now 0001-01-01T00:00:00Z", REFUSED, "not within the years 1900 to 2199"),
    ("evaluate FOLDER/good.json --now 9999-12-31T23:59:59Z", REFUSED, "not within the years 1900 to 2199"),
    ("evaluate FOLDER/good.json --patient anna", REFUSED, "--patient needs --fhir-server"),
    ("evaluate FOLDER/good.json --hook order-sign", REFUSED, "--hook needs --fhir-server"),
    ("evaluate FOLDER/good.json --order caesarean", REFUSED, "--order needs --fhir-server"),
    ("evaluate FOLDER/good.json --token-env PATH", REFUSED, "--token-env needs --fhir-server"),
    ("evaluate FOLDER/good.json --service http://cds.example.org", REFUSED, "--service needs --fhir-server"),
    ("evaluate FOLDER/good.json --save FOLDER", REFUSED, "--save needs --fhir-server"),
    (PLAYED, REFUSED, "--fhir-server needs --patient"),
    (f"{PLAYED} FOLDER/good.json", REFUSED, "leave out the files"),
    ("evaluate --fhir-server ehr --patient anna", REFUSED, "not an http or https base URL"),
    (f"{PLAYED} --patient anna", REFUSED, "cannot be reached"),
    (f"{PLAYED} --patient a*b", REFUSED, "not a FHIR id"),
    (f"{PLAYED} --patient anna --hook order-sing", REFUSED, "hook is none of patient-view"),
    (f"{PLAYED} --patient anna --hook patient-view --order delivery", REFUSED, "--order is drafted at"),
    (f"{PLAYED} --patient anna --order tea", REFUSED, "--order is none of delivery"),
    (f"{PLAYED} --patient anna --token-env NO_SUCH_TOKEN", REFUSED, "no environment variable"),
    (f"{PLAYED} --patient anna --service cds", REFUSED, "--service is not an http or https base URL"),
    (f"{PLAYED} --patient anna --service {NOWHERE}", REFUSED, "the service cannot be reached"),
    (f"{PLAYED} --patient anna --service {NOWHERE} --site FOLDER/site.toml", REFUSED, "leave out --site"),
    # manual
    ("manual --site FOLDER/nothing.toml", REFUSED, "nothing.toml: cannot be read"),
    ("manual --output FOLDER/site.toml", REFUSED, "site.toml: not a folder"),
    # knowledge diff
    ("knowledge diff", MISTYPED, "Missing argument 'OLD'. See: cds-service knowledge diff --help"),
    ("knowledge diff FOLDER/empty", MISTYPED, "Missing argument 'NEW'"),
    ("knowledge diff FOLDER/nothing FOLDER/empty", MISTYPED, "no knowledge is here"),
    ("knowledge diff FOLDER/site.toml FOLDER/empty", MISTYPED, "no knowledge is here"),
    ("knowledge diff KNOWLEDGE KNOWLEDGE --cards FOLDER/nothing FOLDER/empty", MISTYPED, "nothing"),
    # audit
    ("audit verify --head latest", REFUSED, "--head: not the head of an audit trail"),
    ("audit export --format csv", REFUSED, "--format is none of ndjson, fhir"),
    ("audit export --since november", REFUSED, "--since november: not an instant with a zone"),
    ("audit prune", MISTYPED, "Missing option '--older-than'"),
    ("audit prune --older-than forever", REFUSED, "--older-than: not a number of days"),
    ("audit verify", REFUSED, "CDS_DATABASE: there is no database"),
    ("audit export", REFUSED, "CDS_DATABASE: there is no database"),
    ("audit prune --older-than 9d --yes", REFUSED, "CDS_DATABASE: there is no database"),
]

# The same, with something in the environment that cannot be used.
WRONG_SETTINGS: list[tuple[str, str, str, str]] = [
    (DATABASE, "FOLDER/empty", "serve --insecure --port 0", "CDS_DATABASE: the database cannot be opened and written"),
    (DATABASE, "FOLDER/nothing/r.sqlite3", "serve --insecure --port 0", "CDS_DATABASE: the database cannot be opened"),
    (DATABASE, "mysql://db/cds", "serve --insecure --port 0", "CDS_DATABASE: neither a path nor"),
    (DATABASE, "FOLDER/site.toml", "audit verify", "CDS_DATABASE: the database cannot be opened and read"),
    ("CDS_EXPLANATION_KEY", "secret", "serve --insecure", "CDS_EXPLANATION_KEY: not 32 bytes"),
    ("CDS_AUDIT_KEY", "secret", "audit export", "CDS_AUDIT_KEY: not 32 bytes"),
    ("CDS_METRICS_TOKEN", "short", "serve --insecure", "CDS_METRICS_TOKEN: not 16 to 256 characters"),
    ("CDS_CORS_ORIGINS", "*", "serve --insecure", "CDS_CORS_ORIGINS: not exact origins"),
    ("CDS_PUBLIC_BASE_URL", "cds", "serve --insecure", "CDS_PUBLIC_BASE_URL: not an http or https URL"),
    ("OTEL_TRACES_EXPORTER", "zipkin", "serve --insecure", "OTEL_TRACES_EXPORTER: neither otlp"),
]


# What reports on many things at once says it on standard output, each in a line.
IN_A_REPORT: list[tuple[str, str]] = [
    ("check --site FOLDER/nothing.toml", "nothing.toml: cannot be read"),
    ("check --tenants FOLDER/bad.toml", "bad.toml: not TOML"),
    ("check --knowledge FOLDER/empty", "tables/about.toml: missing"),
    ("check --cards FOLDER/empty", "blocks.toml: cannot be read"),
    ("doctor --site FOLDER/nothing.toml --port 0", "FAIL site-file: FOLDER/nothing.toml: cannot be read"),
    ("doctor --tenants FOLDER/bad.toml --port 0", "FAIL tenants-file: FOLDER/bad.toml: not TOML"),
    ("doctor --host nowhere.invalid --port 0", "FAIL port: --host nowhere.invalid --port 0: no such host"),
    ("evaluate FOLDER/site.toml", "site.toml: not JSON"),
    ("evaluate FOLDER/latin.toml", "latin.toml: the body is not UTF-8"),
    ("evaluate FOLDER/good.json", "good.json:1: hook is missing"),
]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of many kinds."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "empty").mkdir()
    (folder / "site.toml").write_text(SITE)
    (folder / "bad.toml").write_text("[protocol")
    (folder / "empty.toml").write_text("")
    (folder / "latin.toml").write_bytes(b'name = "\xe9"')
    (folder / "good.json").write_text("{}")
    return folder


read_once = cache(Library)


@pytest.fixture
def refused(run: Run, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Done]:
    """Types a line, in a folder where there is no database. Whatever would listen fails at once."""
    for name in [name for name in os.environ if name.startswith(("CDS_", "OTEL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(DATABASE, str(shelf / "no-database.sqlite3"))
    for room in ("starting", "web.opening"):  # what is refused here is refused before or after they are read
        monkeypatch.setattr(f"cds_service.{room}.Library", read_once)
    monkeypatch.setattr("webbrowser.open", lambda _: pytest.fail("a browser was opened"))

    def typed(line: str) -> Done:
        if "--no-browser" not in line:
            monkeypatch.setattr("cds_service.web.server.serve", lambda *_, **__: pytest.fail("it listens"))
        words = line.replace("FOLDER", str(shelf)).replace("KNOWLEDGE", str(FOLDER)).split()
        done = run(*words)
        (shelf / "no-database.sqlite3").unlink(missing_ok=True)
        return Done(done.code, done.out, done.err.replace(str(shelf), "FOLDER"))

    return typed


@pytest.mark.parametrize(("line", "code", "words"), WRONG_USES, ids=[line for line, *_ in WRONG_USES])
def test_a_wrong_use_is_one_plain_line(line: str, code: int, words: str, refused: Callable[[str], Done]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = refused(line.replace("TAKEN", str(taken.getsockname()[1])))

    assert (done.code, done.out) == (code, "")
    (said,) = done.err.splitlines()
    assert words in said
    assert "unexpected " not in said.replace("unexpected extra argument", "")


@pytest.mark.parametrize(("name", "value", "line", "words"), WRONG_SETTINGS)
def test_a_wrong_setting_is_one_plain_line(
    name: str,
    value: str,
    line: str,
    words: str,
    *,
    refused: Callable[[str], Done],
    monkeypatch: pytest.MonkeyPatch,
    shelf: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv(name, value.replace("FOLDER", str(shelf)))

    done = refused(line)

    assert (done.code, done.out) == (1, "")
    (said,) = done.err.splitlines()
    assert words in said


# ---- A start that is refused leaves everything as it was: the version before may have to run again

TENANTS = """
[[tenant]]
id = "north"
issuer = "https://north.example.org"
jwks = "https://north.example.org/keys"
site = "site.toml"
"""
SERVE = "serve --tenants FOLDER/tenants.toml --port 0"
OTHERS_SIGNATURE = 'review = {by = ["A", "B"], on = 2026-11-01, knowledge = "sha256:0123456789ab"}\n'
# What is typed, how the files and the environment differ from ones that are fit, and words of the one line.
REFUSED_STARTS: list[tuple[str, str, dict[str, str], str]] = [
    ("no tenants file", "serve --tenants FOLDER/nothing.toml --port 0", {}, "nothing.toml: cannot be read"),
    ("a defect of the tenants file", SERVE, {"tenants.toml": f"{TENANTS}nonsense = 1"}, "nonsense"),
    ("an unknown topic", SERVE, {"tenants.toml": f'{TENANTS}off = ["NOSUCH"]'}, "no such topic: NOSUCH"),
    ("no file of keys", SERVE, {"tenants.toml": TENANTS.replace('jwks = "https:/', 'jwks_file = "')}, "jwks_file"),
    ("no place of keys", SERVE, {"tenants.toml": TENANTS.replace("org/keys", "org:99999/keys")}, "jwks"),
    ("a defect of the site file", SERVE, {"site.toml": f"nonsense = 1\n{SITE}"}, "nonsense"),
    ("a signature under other knowledge", SERVE, {"site.toml": OTHERS_SIGNATURE + SITE}, "review"),
    ("the same without tenants", "serve --insecure --site FOLDER/site.toml --port 0", {"site.toml": "="}, "not TOML"),
    ("a key that is none", SERVE, {"CDS_EXPLANATION_KEY": "short"}, "CDS_EXPLANATION_KEY: not 32 bytes"),
    ("a port that is taken", SERVE.replace("--port 0", "--port TAKEN"), {}, "Address already in use"),
    ("a host that nobody knows", f"{SERVE} --host nowhere.invalid", {}, "Cannot listen on nowhere.invalid port 0"),
]


@pytest.mark.parametrize(
    ("line", "changes", "words"), [row[1:] for row in REFUSED_STARTS], ids=[row[0] for row in REFUSED_STARTS]
)
def test_a_start_that_is_refused_touches_no_database_and_makes_no_file(
    line: str,
    changes: dict[str, str],
    words: str,
    *,
    refused: Callable[[str], Done],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "tenants.toml").write_text(TENANTS)
    (tmp_path / "site.toml").write_text(SITE)
    of_an_earlier_version(tmp_path / "records.sqlite3")
    production(monkeypatch, tmp_path)
    for name, value in changes.items():
        if name.startswith("CDS_"):
            monkeypatch.setenv(name, value)
        else:
            (tmp_path / name).write_text(value)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = refused(line.replace("FOLDER", str(tmp_path)).replace("TAKEN", str(taken.getsockname()[1])))

    assert done.code == 1
    (said,) = done.err.splitlines()
    assert words in said
    assert done.out == ""
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("refused")
def test_a_start_that_succeeds_brings_the_database_up_to_date_and_says_only_then_that_it_has_started(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The counterpart, and the order in the log: keys that cannot be fetched at start are told and counted."""
    (tmp_path / "tenants.toml").write_text(TENANTS.replace("https://north.example.org/keys", "http://127.0.0.1:9/keys"))
    (tmp_path / "site.toml").write_text(SITE)
    of_an_earlier_version(tmp_path / "records.sqlite3")
    production(monkeypatch, tmp_path)
    counted: list[str] = []

    def at_once(app: Any, *_: Any, **__: Any) -> None:
        bearer = {"HTTP_AUTHORIZATION": "Bearer " + "m" * 20}
        counted.extend(Client(app).get("/metrics", environ_overrides=bearer).get_data(as_text=True).splitlines())

    monkeypatch.setattr("cds_service.web.server.serve", at_once)
    done = run(*f"{SERVE} --insecure".replace("FOLDER", str(tmp_path)).split())

    assert [json.loads(line)["event"] for line in done.err.splitlines()] == ["knowledge", "keys_unavailable", "started"]
    assert 'jwks_refresh_total{outcome="unavailable"} 1.0' in counted
    with closing(sqlite3.connect(tmp_path / "records.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def of_an_earlier_version(place: Path) -> None:
    """A database whose tables this version would bring up to date."""
    with closing(sqlite3.connect(place)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        database.commit()


def production(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Settings with which the service starts, and keeps everything in this folder."""
    monkeypatch.setenv(DATABASE, str(folder / "records.sqlite3"))
    monkeypatch.setenv("CDS_PUBLIC_BASE_URL", "https://cds.example.org")
    monkeypatch.setenv("CDS_AUDIT_KEY", "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=")
    monkeypatch.setenv("CDS_EXPLANATIONS", str(folder / "explanations.sqlite3"))
    monkeypatch.setenv("CDS_EXPLANATION_KEY", "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=")
    monkeypatch.setenv("CDS_METRICS_TOKEN", "m" * 20)


def test_a_database_that_somebody_holds_is_one_plain_line(
    refused: Callable[[str], Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "records.sqlite3"
    Records.at(str(place)).close()
    monkeypatch.setenv(DATABASE, str(place))
    monkeypatch.setattr("cds_service.records._PATIENCE_SECONDS", 0)
    with closing(sqlite3.connect(place)) as holder:
        holder.execute("BEGIN EXCLUSIVE")

        done = refused("audit prune --older-than 9d --yes")

    assert (done.code, done.out) == (1, "")
    assert done.err == "CDS_DATABASE: the database cannot be opened and written\n"


@pytest.mark.parametrize(("line", "words"), IN_A_REPORT, ids=[line for line, _ in IN_A_REPORT])
def test_a_report_says_what_is_wrong_among_its_lines(
    line: str, words: str, refused: Callable[[str], Done], shelf: Path
) -> None:
    done = refused(line)

    assert (done.code, done.err) == (1, "")
    assert any(words in said.replace(str(shelf), "FOLDER") for said in done.lines), done.out


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    for words in ([], ["audit"], ["knowledge"]):
        done = run(*words)
        assert (done.code, done.out) == (MISTYPED, "")
        assert "Usage" in done.err


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command as it is typed."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_every_option_of_every_command_has_been_used_wrongly() -> None:
    """A new option has no place to hide: its wrong uses belong into the tables above."""
    tried = [line for line, *_ in (*WRONG_USES, *IN_A_REPORT)]
    found = dict(commands(typer.main.get_command(app)))
    untried = [
        f"{path} {parameter.opts[0]}"
        for path, command in found.items()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.is_flag
        if not any(line.startswith(path) and parameter.opts[0] in line.split() for line in tried)
    ]

    assert set(found) >= {"serve", "doctor", "audit prune", "knowledge diff"}
    assert untried == []
