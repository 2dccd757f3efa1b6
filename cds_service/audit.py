"""
What is remembered: feedback on cards, in SQLite or PostgreSQL, and no patient words.

What was answered with 200 has been committed. Each outcome counts once, however often an EHR reports it, whatever the
process that hears it: the database itself refuses the second.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from cds_service.errors import SiteUnfit, StoreUnavailable
from cds_service.hooks.feedback import Item

SCHEMA: Final = MetaData()
FEEDBACK: Final = Table(
    "feedback",
    SCHEMA,
    Column("id", Integer, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("service", String(64), nullable=False),
    Column("card", String(256), nullable=False),
    Column("suggestion", String(256), nullable=False),  # "" when it is about the card: NULLs would not be the same
    Column("outcome", String(16), nullable=False),
    Column("reason_system", String(256)),
    Column("reason_code", String(256)),
    Column("comment", Text),  # a patient's words may be in it: only where the site says so
    Column("outcome_at", DateTime(timezone=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("tenant", "card", "suggestion", "outcome", name="feedback_once"),
)
# How long one writer waits for another before a caller hears 503. An EHR does not wait much longer.
_PATIENCE_SECONDS: Final = 5
# Any number will do, if only no other program on the server takes it.
_LOCK: Final = int.from_bytes(hashlib.sha256(b"cds-service migrations").digest()[:7], "big")
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Kept:
    """How many outcomes are new, and how many were known."""

    kept: int
    repeated: int


class Audit:
    """One database. Safe to use from many threads and, unless it is in memory, from many processes."""

    def __init__(self, engine: Engine) -> None:
        """Brings the schema up to date. Raises SiteUnfit when the database cannot be had, or is newer than this."""
        self._engine = engine
        # A database in memory has one connection, which threads must share.
        self._turn = Lock() if isinstance(engine.pool, StaticPool) else nullcontext()
        try:
            with self._transaction() as connection:
                if connection.dialect.name == "postgresql":  # SQLite lets one writer in at a time anyway
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                command.upgrade(_config(connection), "head")
        except (SQLAlchemyError, CommandError) as error:
            engine.dispose()
            newer = isinstance(error, CommandError)
            what = "is newer than this version of the service" if newer else "cannot be opened"
            raise SiteUnfit(f"CDS_DATABASE: the database {what}") from None

    @classmethod
    def at(cls, place: str) -> Audit:
        """At a path (SQLite) or a URL (`postgresql://…`, `sqlite:///…`). Raises SiteUnfit; never repeats the URL."""
        try:
            url = make_url(place if "://" in place else f"sqlite:///{place}")
            if url.drivername == "postgresql":
                url = url.set(drivername="postgresql+psycopg")
            if url.drivername not in {"sqlite", "postgresql+psycopg"}:
                raise SiteUnfit("CDS_DATABASE: neither a path nor a sqlite or postgresql URL")
            if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
                return cls.in_memory()
            patience = {"timeout" if url.drivername == "sqlite" else "connect_timeout": _PATIENCE_SECONDS}
            engine = create_engine(url, pool_pre_ping=True, connect_args=patience, hide_parameters=True)
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise SiteUnfit("CDS_DATABASE: neither a path nor a sqlite or postgresql URL") from None
        except ImportError:
            raise SiteUnfit("CDS_DATABASE: PostgreSQL needs a driver: pip install 'cds-service[postgresql]'") from None
        return cls(_as_sqlite(engine) if url.drivername == "sqlite" else engine)

    @classmethod
    def in_memory(cls) -> Audit:
        """One that is forgotten with the process: for the demonstration."""
        shared = {"check_same_thread": False}
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args=shared, hide_parameters=True)
        return cls(_as_sqlite(engine))

    def keep(self, tenant: str, service: str, items: Iterable[Item], received_at: datetime, *, comments: bool) -> Kept:
        """
        Keeps what is new, all of it or nothing. When this returns, it has been committed.

        `comments`: keep free text, too. Raises StoreUnavailable (503) when the database cannot be had.
        """
        rows = [_row(tenant, service, item, received_at, comments=comments) for item in items]
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(FEEDBACK).on_conflict_do_nothing().returning(FEEDBACK.c.id)
        try:
            with self._transaction() as connection:
                kept = sum(connection.execute(insert.values(row)).first() is not None for row in rows)
        except SQLAlchemyError:
            raise StoreUnavailable("feedback cannot be kept now; send it again later") from None
        return Kept(kept, len(rows) - kept)

    def feedback(self) -> list[dict[str, Any]]:
        """All that was kept, in the order in which it came."""
        with self._transaction() as connection:
            rows = connection.execute(select(FEEDBACK).order_by(FEEDBACK.c.id)).mappings().all()
        return [{name: _in_utc(value) for name, value in row.items()} for row in rows]

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._turn, self._engine.begin() as connection:
            yield connection


def _row(tenant: str, service: str, item: Item, received_at: datetime, *, comments: bool) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "service": service,
        "card": item.card,
        "suggestion": item.suggestion or "",
        "outcome": item.outcome,
        "reason_system": item.reason.system,
        "reason_code": item.reason.code,
        "comment": item.reason.comment if comments else None,
        "outcome_at": item.at,
        "received_at": received_at.astimezone(UTC),
    }


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _in_utc(value: Any) -> Any:
    """SQLite forgets the zone of a time. All of ours are in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _as_sqlite(engine: Engine) -> Engine:
    """A write-ahead log; no commit returns before it is on the disk; transactions begin when we say so."""
    event.listen(engine, "connect", _durable)
    # Taking the lock for writing at once: a reader that becomes a writer later may be refused without waiting.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # or sqlite3 begins transactions as it likes, and none around a schema change
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
