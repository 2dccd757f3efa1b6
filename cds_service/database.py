"""
How a database is reached: a SQLite file, a PostgreSQL server, or memory; and what is said when it cannot be had.

What is in it is known by whoever keeps something there. A transaction that has ended is on the disk, unless whoever
wrote it said that it may wait for the next one. Nothing waits for long: an EHR does not either, and a thread that waits
for the database answers no hook.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, Final

from sqlalchemy import ClauseElement, Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoTurn
from sqlalchemy.pool import QueuePool, StaticPool

from cds_service.errors import SiteUnfit, StoreUnavailable
from cds_service.events import Event, tell

_READS: Final = "reads_only"
_MAY_WAIT: Final = "may_wait"
_FOR_EVER: Final = -1
# Whoever asks whether calls can be answered waits no longer for a writer; a call waits for the database's patience.
_TRIAL_SECONDS: Final = 2


class Database:
    """One database. Safe to use from many threads and, unless it is in memory, from many processes."""

    def __init__(self, engine: Engine, patience_seconds: int = _FOR_EVER) -> None:
        self._engine = engine
        self._in_no_hurry = engine.execution_options(**{_MAY_WAIT: True})  # the same connections
        self.is_postgresql: Final = engine.dialect.name == "postgresql"
        self._patience_seconds = patience_seconds
        self._writing: AbstractContextManager[None] = nullcontext()
        self._trying: AbstractContextManager[None] = nullcontext()
        if not self.is_postgresql:
            turn = Lock()
            self._writing, self._trying = _Turn(turn, patience_seconds), _Turn(turn, _TRIAL_SECONDS)
        # A database in memory has one connection, which threads must share.
        self._reading = self._writing if isinstance(engine.pool, StaticPool) else nullcontext()

    @classmethod
    def at(
        cls, place: str, setting: str, patience_seconds: int, *, make: bool = True, reads_only: bool = False
    ) -> Database:
        """
        At a path (SQLite) or a URL (`postgresql://…`, `sqlite:///…`). A file that is not there is made, or refused.

        `reads_only`: nothing is made, and nothing can be written, whoever may.

        Raises SiteUnfit, which names the `setting` that holds the place, and never repeats the place: a URL may hold a
        password. `patience_seconds`: how long one statement may take, and one writer wait for another.
        """
        try:
            url = make_url(place) if "://" in place else URL.create("sqlite", database=place)
            if url.drivername == "postgresql":
                url = url.set(drivername="postgresql+psycopg")
            if url.drivername not in {"sqlite", "postgresql+psycopg"}:
                raise SiteUnfit(f"{setting}: neither a path nor a sqlite or postgresql URL")
            if url.drivername != "sqlite":
                return cls(_postgresql(url, patience_seconds, reads_only=reads_only))
            if url.database in {None, "", ":memory:"}:
                return cls.in_memory()
            path = Path(url.database or "").absolute()
            if reads_only:
                return cls(_file_to_read(path, setting, patience_seconds), patience_seconds)
            return cls(_file(path, setting, patience_seconds, make=make), patience_seconds)
        except (ArgumentError, NoSuchModuleError, ValueError):
            raise SiteUnfit(f"{setting}: neither a path nor a sqlite or postgresql URL") from None
        except ImportError:
            raise SiteUnfit(f"{setting}: PostgreSQL needs a driver: pip install 'cds-service[postgresql]'") from None

    @classmethod
    def in_memory(cls) -> Database:
        """One that is forgotten with the process."""
        shared = {"check_same_thread": False}
        return cls(
            _as_sqlite(create_engine("sqlite://", poolclass=StaticPool, connect_args=shared, hide_parameters=True))
        )

    @contextmanager
    def transaction(self, *, may_wait: bool = False) -> Iterator[Connection]:
        """
        All of it or nothing, and on the disk when the block has ended.

        `may_wait`: a SQLite file brings it to the disk with the next transaction, whoever's that is. Till then it
        outlives this process, but not a loss of power.
        """
        with self._writing, (self._in_no_hurry if may_wait else self._engine).begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For reading alone: the database as it was at the first read, whatever is written meanwhile. Stops nobody."""
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if self.is_postgresql else {_READS: True}
        with self._reading, self._engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection

    def is_there(self, write: Callable[[Connection], None]) -> bool:
        """
        Whether it can be read and written now. Whoever writes is waited for, though not for long.

        `write` touches as much as a call does, and changes nothing in the end. Only a file is written to, and nobody
        waits for its disk: that there is no room shows when all of that is committed, and not before.
        """
        try:
            return self._server_takes_writes() if self.is_postgresql else self._file_takes(write)
        except SQLAlchemyError:
            return False

    def _server_takes_writes(self) -> bool:
        """A standby answers and takes none, and so does one that was set to read only. Its disk is not looked at."""
        with self._engine.begin() as connection:
            return bool(connection.execute(text("SHOW transaction_read_only")).scalar() == "off")

    def _file_takes(self, write: Callable[[Connection], None]) -> bool:
        with self._trying, self._in_no_hurry.connect() as connection:
            _run(connection, f"PRAGMA busy_timeout={1_000 * _TRIAL_SECONDS}")
            try:
                with connection.begin():
                    write(connection)
            finally:
                _run(connection, f"PRAGMA busy_timeout={1_000 * self._patience_seconds}")
        return True

    def one_at_a_time(self, connection: Connection, what: str) -> None:
        """Until this transaction ends, no other does `what`, in whatever process. SQLite has one writer anyway."""
        if self.is_postgresql:
            # Any number will do, if only no other program on the server takes it.
            number = int.from_bytes(hashlib.sha256(f"cds-service {what}".encode()).digest()[:7], "big")
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def be_patient(self, connection: Connection, seconds: int) -> None:
        """For this transaction, each statement may take so long."""
        if self.is_postgresql:
            connection.execute(text(f"SET LOCAL statement_timeout = '{seconds}s'"))

    def statement(self, meaning: ClauseElement) -> Statement:
        """What is to be run at every call, in the words of this kind of database."""
        return Statement(meaning, self._engine)

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT of this kind of database: each has a way of its own to leave out what is there."""
        return postgresql.insert(table) if self.is_postgresql else sqlite.insert(table)

    def close(self) -> None:
        self._engine.dispose()


class Statement:
    """
    A statement that was put into words once, and is run past SQLAlchemy.

    Words and results cost SQLAlchemy three times as long as they cost the database.
    """

    def __init__(self, meaning: ClauseElement, engine: Engine) -> None:
        compiled: Any = meaning.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True})
        self._words = str(compiled)
        self._order: list[str] | None = compiled.positiontup  # SQLite takes values by their place, PostgreSQL by name

    def run(self, connection: Connection, values: Mapping[str, Any] | None = None) -> Any:
        """The driver's own cursor. Raises SQLAlchemyError, as `connection.execute` does."""
        if self._order is None or values is None:
            return _run(connection, self._words, values or ())
        return _run(connection, self._words, tuple([values[name] for name in self._order]))


def _run(connection: Connection, words: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> Any:
    raw: Any = connection.connection.driver_connection
    drivers_own = connection.dialect.loaded_dbapi.Error
    try:
        return raw.execute(words, values)
    except drivers_own as error:
        raise DBAPIError.instance(words, None, error, drivers_own, hide_parameters=True) from error


class _Turn:
    """
    Threads of this process write one after another.

    SQLite would let them try again at odd moments, and now and then one of eight waited for seconds.
    """

    def __init__(self, lock: Lock, patience_seconds: int) -> None:
        self._lock = lock
        self._patience_seconds = patience_seconds

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._patience_seconds):
            raise NoTurn("another thread is still writing")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@contextmanager
def or_unavailable(store: str, what: str, again: str = "send it again later") -> Iterator[None]:
    """Whatever the database says becomes StoreUnavailable. Its words may quote a row: only their kind is told."""
    try:
        yield
    except SQLAlchemyError as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        sqlstate = getattr(origin, "sqlstate", None)
        tell(Event.STORE_UNAVAILABLE, store=store, what=what, error=type(origin).__name__, sqlstate=sqlstate)
        raise StoreUnavailable(f"{store} cannot be {what} now; {again}") from None


# --- PostgreSQL -------------------------------------------------------------------------------------


def _postgresql(url: URL, patience_seconds: int, *, reads_only: bool) -> Engine:
    patience = {"connect_timeout": patience_seconds, "tcp_user_timeout": 1_000 * patience_seconds}
    engine = create_engine(
        url,
        # A server may be set to another: then a writer that waited for its turn would not see what it waited for.
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_timeout=patience_seconds,
        connect_args=patience,
        hide_parameters=True,
    )

    def impatient(connection: Any, _record: object) -> None:
        connection.execute(f"SET statement_timeout = '{patience_seconds}s'")
        if reads_only:
            connection.execute("SET default_transaction_read_only = on")
        connection.commit()

    event.listen(engine, "connect", impatient)
    return engine


# --- SQLite -----------------------------------------------------------------------------------------


def _file(path: Path, setting: str, patience_seconds: int, *, make: bool) -> Engine:
    """Made now, and readable for its owner alone: comments may be in it. Later it is only opened."""
    if not make and not path.exists():
        raise SiteUnfit(f"{setting}: there is no database")
    try:
        path.touch(mode=0o600)
    except OSError:
        raise SiteUnfit(f"{setting}: the database cannot be opened and written") from None

    def connect() -> sqlite3.Connection:
        return _connected(path, "mode=rw", patience_seconds)

    return _as_sqlite(_over(path, connect, patience_seconds))


def _file_to_read(path: Path, setting: str, patience_seconds: int) -> Engine:
    """
    As it is, also where this user may write nothing.

    SQLite makes a log beside what it reads, if there is none. Whoever may not write the file shall leave no log there:
    its owner could not use it. Without a log nobody has the file open, and so it does not change.
    """
    if not path.exists():
        raise SiteUnfit(f"{setting}: there is no database")

    def connect() -> sqlite3.Connection:
        at_rest = not Path(f"{path}-wal").exists()
        may_write = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
        how = "mode=ro&immutable=1" if at_rest and not may_write else "mode=ro"
        return _connected(path, how, patience_seconds)

    return _as_sqlite(_over(path, connect, patience_seconds), reads_only=True)


def _connected(path: Path, how: str, patience_seconds: int) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=patience_seconds, check_same_thread=False)


def _over(path: Path, connect: Callable[[], sqlite3.Connection], patience_seconds: int) -> Engine:
    """
    Connections to this very file.

    A file that was removed still takes writes from whoever has it open, and they are gone. Another in its place would
    meet the write-ahead log of the first. So before each use it is looked for, and nothing else is opened or written.
    """
    opened = _identity(path)

    def look(*_: object) -> None:
        if opened is None or _identity(path) != opened:
            raise sqlite3.OperationalError("the file is no longer there")

    def connect_to_it() -> sqlite3.Connection:
        look()
        return connect()

    engine = create_engine(
        "sqlite://", creator=connect_to_it, poolclass=QueuePool, pool_timeout=patience_seconds, hide_parameters=True
    )
    event.listen(engine, "checkout", look)
    return engine


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _as_sqlite(engine: Engine, *, reads_only: bool = False) -> Engine:
    """A write-ahead log; no commit returns before it is on the disk, or as `_begin` says; we say when one begins."""
    event.listen(engine, "connect", _ours)
    if not reads_only:
        event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # Taking the lock for writing at once: a reader that becomes a writer later may be refused without waiting.
    options = connection.get_execution_options()
    if options.get(_READS, False):
        _run(connection, "BEGIN")
        return
    _run(connection, "PRAGMA synchronous=NORMAL" if options.get(_MAY_WAIT, False) else "PRAGMA synchronous=FULL")
    _run(connection, "BEGIN IMMEDIATE")


def _ours(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # or sqlite3 begins transactions as it likes, and none around a schema change
    connection.text_factory = _text


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


def _text(stored: bytes) -> str:
    """A byte that was damaged is read as damaged, so that it can be found. It is no reason to read nothing."""
    return stored.decode("utf-8", "surrogateescape")
