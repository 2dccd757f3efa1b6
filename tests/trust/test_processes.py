"""The service as it is really run: several processes that share a database, and what outlives one that is killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random

import pytest
from conftest import NOON
from tokens import DISCOVERY, FEEDBACK, ISSUERS, Parties, served, signers, write_tenants

from cds_service.records import Records

BASE = "http://cds.example.org"


@dataclass
class Worker:
    """One process of the service, and the time by its own clock."""

    process: subprocess.Popen[str]
    port: int

    def ask(self, method: str, path: str, token: str | None = None, body: bytes | None = None) -> tuple[int, bytes]:
        """One call on a connection of its own. Raises OSError or HTTPException when the process is gone."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            line.request(method, path, body, headers)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    @property
    def now(self) -> int:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        line.request("GET", "/healthz")
        answer = line.getresponse()
        answer.read()
        line.close()
        return int(parsedate_to_datetime(answer.headers["Date"]).timestamp())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@contextmanager
def worker(database: Path, *arguments: str) -> Iterator[Worker]:
    """A process that has begun to listen; killed at the end if it is still there."""
    around = {**os.environ, "CDS_DATABASE": str(database), "CDS_PUBLIC_BASE_URL": BASE}
    port = free_port()
    command = [sys.executable, "-m", "cds_service", "serve", "--insecure", "--port", str(port), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=around)
    try:
        lines = iter(process.stdout or ())
        assert any("CDS Hooks at" in line for line in lines)
        yield Worker(process, port)
    finally:
        process.kill()
        process.communicate()


def good_at(now: int, path: str) -> str:
    """A token of the north's, good at the time that the processes go by."""
    parties = Parties("http://unused")
    return parties.token(path=path, claims={"aud": BASE + path, "iat": now, "exp": now + 300})


def test_one_token_a_hundred_times_at_two_processes_at_once_is_let_in_once(tmp_path: Path) -> None:
    with served() as (_, server), ExitStack() as stack:
        tenants = str(write_tenants(tmp_path, server.origin))
        workers = [stack.enter_context(worker(tmp_path / "records.sqlite3", "--tenants", tenants)) for _ in range(2)]
        for one in workers:  # their keys are fetched before the race
            assert one.ask("GET", DISCOVERY, good_at(one.now, DISCOVERY))[0] == 200
        token = good_at(workers[0].now, DISCOVERY)
        ready = threading.Barrier(8)

        def eighth(number: int) -> list[tuple[int, bytes]]:
            ready.wait()
            return [workers[(number + turn) % 2].ask("GET", DISCOVERY, token) for turn in range(13)]

        with ThreadPoolExecutor(8) as callers:
            answers = [answer for some in callers.map(eighth, range(8)) for answer in some]

    assert sorted(status for status, _ in answers) == [200] + [401] * 103
    assert {body for status, body in answers if status == 401} == {b""}


@pytest.mark.parametrize("seed", range(3))
def test_feedback_that_was_answered_outlives_a_process_that_is_killed_in_the_middle(tmp_path: Path, seed: int) -> None:
    database = tmp_path / "records.sqlite3"
    answered: list[str] = []
    enough = Random(seed).randint(5, 60)  # noqa: S311
    with worker(database) as one:
        killed = threading.Event()

        def report(caller: int) -> None:
            for number in range(1_000):
                card = f"card-{caller}-{number}"
                item = {"card": card, "outcome": "accepted", "outcomeTimestamp": NOON.isoformat()}
                try:
                    status, _ = one.ask("POST", FEEDBACK, None, json.dumps({"feedback": [item]}).encode())
                except (OSError, http.client.HTTPException):
                    return
                if status == 200:
                    answered.append(card)
                if len(answered) >= enough and not killed.is_set():
                    killed.set()
                    one.process.send_signal(signal.SIGKILL)

        with ThreadPoolExecutor(4) as callers:
            list(callers.map(report, range(4)))
        assert one.process.wait(30) == -signal.SIGKILL

    records = Records.at(str(database))
    kept = [row["card"] for row in records.feedback.all()]
    records.close()
    assert len(answered) >= enough
    assert set(answered) <= set(kept)
    assert len(set(kept)) == len(kept)


def test_a_process_that_is_asked_to_leave_answers_whom_it_has_heard_and_keeps_what_it_answered(tmp_path: Path) -> None:
    database = tmp_path / "records.sqlite3"
    heard: dict[str, int] = {}
    with worker(database) as one:
        begun = threading.Barrier(5)

        def report(caller: int) -> None:
            begun.wait()
            card = f"card-{caller}"
            item = {"card": card, "outcome": "accepted", "outcomeTimestamp": NOON.isoformat()}
            try:
                heard[card], _ = one.ask("POST", FEEDBACK, None, json.dumps({"feedback": [item] * 200}).encode())
            except ConnectionError:  # it had not been heard yet
                return
            answered.set()

        answered = threading.Event()
        callers = [threading.Thread(target=report, args=(number,)) for number in range(4)]
        for caller in callers:
            caller.start()
        begun.wait()
        assert answered.wait(30)
        one.process.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join()
        assert one.process.wait(30) == 0
    records = Records.at(str(database))
    kept = {row["card"] for row in records.feedback.all()}
    records.close()
    assert set(heard.values()) == {200}
    assert kept == set(heard)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"CDS_PUBLIC_BASE_URL": ""}, "CDS_PUBLIC_BASE_URL: missing"),
        ({"CDS_PUBLIC_BASE_URL": "http://cds.example.org"}, "CDS_PUBLIC_BASE_URL: not https"),
        ({"CDS_AUDIT_KEY": ""}, "CDS_AUDIT_KEY: missing"),
        ({"CDS_AUDIT_KEY": "c2hvcnQ="}, "CDS_AUDIT_KEY: not 32 bytes"),
        ({"FLASK_DEBUG": "1"}, "FLASK_DEBUG: set"),
        ({"PYTHONDEVMODE": "1"}, "PYTHONDEVMODE: set"),
        ({"CDS_METRICS_TOKEN": "short"}, "CDS_METRICS_TOKEN: not 16 to 256"),
    ],
)
def test_production_refuses_to_start(tmp_path: Path, environment: dict[str, str], says: str) -> None:
    tenants = write_tenants(tmp_path, "https://keys.example.org")

    done = refused(tmp_path, tenants, environment)

    assert done.returncode == 1
    assert done.stdout == ""
    assert any(line.startswith(says) for line in done.stderr.splitlines()), done.stderr


SANDBOX_KEY = {
    "kty": "EC",
    "crv": "P-384",
    "x": "dw_JGR8nB2I6XveNxUOl2qk699ZPLM2nYI5STSdiEl9avAkrm3CkfYMbrrjr8laB",
    "y": "Sm3mLE-n1zYNla_aiE3cb3nZsL51RbC7ysw3q8aJLxGm-hx79RPMYpITDjp7kgzy",
}


@pytest.mark.parametrize(
    ("issuer", "key"),
    [
        ("https://sandbox.cds-hooks.org", None),
        ("https://Sandbox.CDS-Hooks.org/", None),
        (ISSUERS["north"], {**SANDBOX_KEY, "kid": "any"}),
        (ISSUERS["north"], {**signers()["es384"].jwk(), "kid": "44823f3d-0b01-4a6c-a80e-b9d3e8a7226f"}),
    ],
    ids=["its issuer", "its issuer spelled otherwise", "its key under another id", "its id"],
)
def test_production_never_trusts_the_public_sandbox(tmp_path: Path, issuer: str, key: dict[str, str] | None) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key or signers()["es384"].jwk()]}))
    tenants = tmp_path / "tenants.toml"
    tenants.write_text(f'[[tenant]]\nid = "sandbox"\nissuer = "{issuer}"\njwks_file = "keys.json"\n')

    done = refused(tmp_path, tenants, {})

    assert done.returncode == 1
    assert "andbox" in done.stderr.splitlines()[0]
    assert all(line.startswith(str(tenants)) for line in done.stderr.splitlines()), "plain lines, and no traceback"


def refused(folder: Path, tenants: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A start for these tenants, with settings that are fit but for what `environment` changes. It is to end."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("CDS_", "FLASK_", "PYTHONDEV"))}
    fit = {"CDS_PUBLIC_BASE_URL": "https://cds.example.org", "CDS_AUDIT_KEY": "a2V5" * 10 + "a2U="}
    around = {**bare, "CDS_DATABASE": str(folder / "records.sqlite3"), **fit, **environment}
    command = [sys.executable, "-m", "cds_service", "serve", "--tenants", str(tenants), "--port", "0"]
    return subprocess.run(command, env=around, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])  # noqa: S104  (refused)
@pytest.mark.parametrize("command", [["demo"], ["serve", "--insecure"]], ids=["demo", "insecure"])
def test_what_asks_nobody_who_he_is_listens_on_this_machine_only(command: list[str], host: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cds_service", *command, "--host", host, "--port", "0"],
        env={**os.environ, "CDS_DATABASE": str(tmp_path / "records.sqlite3")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "loopback only" in done.stderr
