"""
What is remembered: feedback on cards, in SQLite or PostgreSQL, and no patient words.

What was answered with 200 has been committed. Each outcome counts once, however often an EHR reports it, whatever the
process that hears it: the database itself refuses the second.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import (
    BigInteger,
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
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from cds_service.errors import SiteUnfit, StoreUnavailable
from cds_service.hooks.feedback import Item

_log = logging.getLogger(__name__)

SCHEMA: Final = MetaData()
FEEDBACK: Final = Table(
    "feedback",
    SCHEMA,
    # PostgreSQL spends a number on a repeat, too: they must not run out.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
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
# How long one writer waits for another before a caller hears 503. An EHR does not wait much longer, and a thread that
# waits for the database answers no hook.
_PATIENCE_SECONDS: Final = 5
_MIGRATION_SECONDS: Final = 60
# Any number will do, if only no other program on the server takes it.
_LOCK: Final = int.from_bytes(hashlib.sha256(b"cds-service migrations").digest()[:7], "big")
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_KEY: Final = itemgetter("card", "suggestion", "outcome")
_TRIAL: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Kept:
    """How many outcomes are new, and how many were known."""

    kept: int
    repeated: int


class Audit:
    """One database. Safe to use from many threads and, unless it is in memory, from many processes."""

    def __init__(self, engine: Engine) -> None:
        """
        Brings the schema up to date, and writes a row on trial.

        Raises SiteUnfit when the database cannot be had or written, or is newer than this.
        """
        self._engine = engine
        # A database in memory has one connection, which threads must share.
        self._turn = Lock() if isinstance(engine.pool, StaticPool) else nullcontext()
        try:
            with self._transaction() as connection:
                if connection.dialect.name == "postgresql":  # SQLite lets one writer in at a time anyway
                    connection.execute(text(f"SET LOCAL statement_timeout = '{_MIGRATION_SECONDS}s'"))
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                command.upgrade(_config(connection), "head")
                with connection.begin_nested() as trial:
                    connection.execute(FEEDBACK.insert().values(_row("", "", Item("", ""), _TRIAL, comments=False)))
                    trial.rollback()
        except (SQLAlchemyError, CommandError) as error:
            engine.dispose()
            newer = isinstance(error, CommandError)
            what = "is newer than this version of the service" if newer else "cannot be opened and written"
            raise SiteUnfit(f"CDS_DATABASE: the database {what}") from None

    @classmethod
    def at(cls, place: str) -> Audit:
        """At a path (SQLite) or a URL (`postgresql://…`, `sqlite:///…`). Raises SiteUnfit; never repeats the URL."""
        try:
            url = make_url(place) if "://" in place else URL.create("sqlite", database=place)
            if url.drivername == "postgresql":
                url = url.set(drivername="postgresql+psycopg")
            if url.drivername not in {"sqlite", "postgresql+psycopg"}:
                raise SiteUnfit("CDS_DATABASE: neither a path nor a sqlite or postgresql URL")
            if url.drivername == "sqlite" and url.database in {None, "", ":memory:"}:
                return cls.in_memory()
            engine = _postgresql(url) if url.drivername != "sqlite" else _file(Path(url.database or ""))
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise SiteUnfit("CDS_DATABASE: neither a path nor a sqlite or postgresql URL") from None
        except ImportError:
            raise SiteUnfit("CDS_DATABASE: PostgreSQL needs a driver: pip install 'cds-service[postgresql]'") from None
        return cls(engine)

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
        # Always in the same order: of two batches that hold the same cards, PostgreSQL would refuse one as a deadlock.
        rows = sorted((_row(tenant, service, item, received_at, comments=comments) for item in items), key=_KEY)
        if not rows:
            return Kept(0, 0)
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(FEEDBACK).on_conflict_do_nothing().returning(FEEDBACK.c.id)
        with _or_unavailable("kept"), self._transaction() as connection:
            kept = len(connection.execute(insert, rows).all())
        return Kept(kept, len(rows) - kept)

    def feedback(self) -> list[dict[str, Any]]:
        """All that was kept, batch after batch. Raises StoreUnavailable."""
        with _or_unavailable("read"), self._transaction() as connection:
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


@contextmanager
def _or_unavailable(what: str) -> Iterator[None]:
    """Whatever the database says becomes StoreUnavailable. Its words may quote a row: only their kind is logged."""
    try:
        yield
    except SQLAlchemyError as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        _log.error("feedback cannot be %s: %s %s", what, type(origin).__name__, getattr(origin, "sqlstate", None) or "")
        raise StoreUnavailable(f"feedback cannot be {what} now; send it again later") from None


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _in_utc(value: Any) -> Any:
    """SQLite forgets the zone of a time. All of ours are in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


# --- two kinds of database --------------------------------------------------------------------------


def _postgresql(url: URL) -> Engine:
    patience = {"connect_timeout": _PATIENCE_SECONDS, "tcp_user_timeout": 1_000 * _PATIENCE_SECONDS}
    engine = create_engine(
        url, pool_pre_ping=True, pool_timeout=_PATIENCE_SECONDS, connect_args=patience, hide_parameters=True
    )
    event.listen(engine, "connect", _impatient)
    return engine


def _impatient(connection: Any, _record: object) -> None:
    connection.execute(f"SET statement_timeout = '{_PATIENCE_SECONDS}s'")
    connection.commit()


def _file(path: Path) -> Engine:
    """
    Made now, and readable for its owner alone: comments may be in it. Later it is only opened.

    A file that was removed still takes writes from whoever has it open, and they are gone. Another in its place would
    meet the write-ahead log of the first. So before each use it is looked for, and nothing else is opened or written.
    """
    path = path.absolute()
    try:
        path.touch(mode=0o600)
    except OSError:
        raise SiteUnfit("CDS_DATABASE: the database cannot be opened and written") from None
    opened = _identity(path)

    def look(*_: object) -> None:
        if opened is None or _identity(path) != opened:
            raise sqlite3.OperationalError("the file is no longer there")

    def connect() -> sqlite3.Connection:
        look()
        address = f"{path.as_uri()}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS, check_same_thread=False)

    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_timeout=_PATIENCE_SECONDS, hide_parameters=True
    )
    event.listen(engine, "checkout", look)
    return _as_sqlite(engine)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


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
