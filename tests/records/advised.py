"""Entries for the audit trail, an earlier version of it, somebody who tampers with it, and processes that write it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

from cds_service import records
from cds_service.records import Entry

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
PATIENT, USER = "1" * 32, "2" * 32
ENTRY = Entry(
    at=NOW,
    tenant="example-hospital",
    issuer="https://ehr.example.org",
    user=USER,
    service="ppd-delivery-order",
    hook="order-select",
    hook_instance="d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    patient=PATIENT,
    knowledge=f"sha256:{'a' * 64}",
    mode="live",
    outcome="advised",
    status="eligible",
    criteria=("C01", "R02"),
    topics=("KETOPTION", "PPDRISK"),
    cards=("0b5a1f2e-0000-4000-8000-000000000001", "0b5a1f2e-0000-4000-8000-000000000002"),
)


def entry(minutes: float = 0, **different: Any) -> Entry:
    """The same entry so many minutes later, with these differences."""
    return replace(ENTRY, at=NOW + timedelta(minutes=minutes), **different)


def disarm(connection: Connection) -> None:
    """Takes away what in the database itself keeps the trail from being changed."""
    if connection.dialect.name == "postgresql":
        for table in ("audit", "audit_anchor"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        return
    for (name,) in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
        connection.execute(text(f"DROP TRIGGER {name}"))


@contextmanager
def intruder(place: str) -> Iterator[Connection]:
    """Somebody who may do anything with the database."""
    with connected(place) as connection:
        disarm(connection)
        yield connection


def make_earlier(place: str, version: str) -> None:
    """A database as an earlier version of the service leaves it: its tables as of that migration, and no more."""
    earlier = Config()
    earlier.set_main_option("script_location", str(Path(records.__file__).parent / "migrations"))
    with connected(place) as connection:
        earlier.attributes["connection"] = connection
        command.upgrade(earlier, version)


@contextmanager
def connected(place: str) -> Iterator[Connection]:
    """A connection of somebody else's, in one transaction."""
    url = place.replace("postgresql://", "postgresql+psycopg://") if "://" in place else f"sqlite:///{place}"
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


_WRITER = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from advised import entry
from cds_service.records import Records
records = Records.at(sys.argv[2])
os.write(1, b"ready\\n")
sys.stdin.readline()
def write():
    for number in range(int(sys.argv[4])):
        head = records.trail.append(entry(number))
        os.write(1, f"{head}\\n".encode())
threads = [threading.Thread(target=write) for _ in range(int(sys.argv[3]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@contextmanager
def writing(place: str, threads: int, each: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that adds to the trail once it gets a line, and prints each new head."""
    command = [sys.executable, "-c", _WRITER, __file__.rpartition("/")[0], place, str(threads), str(each)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def begin(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("begin\n")
        process.stdin.flush()
