"""How a database of records is, seen from outside: is it there, up to date, and can it be written?"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Final

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from cds_service.database import Database

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_PATIENCE_SECONDS: Final = 5


class State(Enum):
    """What a start would find."""

    ABSENT = "there is none yet"
    EMPTY = "nothing of ours is in it yet"
    BEHIND = "its tables are those of an earlier version"
    CURRENT = "it is up to date"
    NEWER = "a later version of the service has been here"
    READ_ONLY = "it can be read, and not written"
    NO_FOLDER = "its folder is not there, or cannot be written"
    UNREADABLE = "it cannot be opened"


def state_of(place: str, setting: str) -> State:
    """
    The state of the database at a path or a URL. Makes no file, and no table.

    Raises SiteUnfit for a place that is none, or whose driver is missing; never repeats the place.
    """
    path = file_of(place)
    if path is not None:
        return _state_of_file(path)
    database = Database.at(place, setting, _PATIENCE_SECONDS, make=False)
    try:
        with closing(database), database.snapshot() as connection:
            writes = not database.is_postgresql or connection.execute(text(_MAY_WRITE)).scalar()
            return _version(connection) if writes else State.READ_ONLY
    except SQLAlchemyError:
        return State.UNREADABLE


def file_of(place: str) -> Path | None:
    """The file of a SQLite database; None for a server, for memory, and for what is no place."""
    try:
        url = make_url(place) if "://" in place else None
    except (ArgumentError, ValueError):
        return None
    if url is None:
        return Path(place).absolute() if place not in ("", ":memory:") else None
    if url.drivername != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(url.database or "").absolute()


_MAY_WRITE: Final = (
    "SELECT NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::boolean"
    " AND has_schema_privilege(current_schema(), 'CREATE')"
)


def _state_of_file(path: Path) -> State:
    writable = path.parent.is_dir() and _may_write(path.parent)
    if not path.exists():
        return State.ABSENT if writable else State.NO_FOLDER
    try:
        with _only_read(path) as connection:
            found = _version(connection)
    except (SQLAlchemyError, sqlite3.Error):
        return State.UNREADABLE
    return found if writable and _may_write(path) else State.READ_ONLY


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK) and not os.statvfs(path).f_flag & os.ST_RDONLY


@contextmanager
def _only_read(path: Path) -> Iterator[Connection]:
    """While nobody has the file open, SQLite would make files beside it to read it: then it is told not to look."""
    alone = not path.with_name(f"{path.name}-shm").exists()
    address = f"{path.as_uri()}?mode=ro" + ("&immutable=1" if alone else "")

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    with engine.connect() as connection:
        yield connection


def _version(connection: Connection) -> State:
    """Which tables are there, by the mark that the last migration left."""
    marks = set(MigrationContext.configure(connection).get_current_heads())
    latest, known = _marks()
    if not marks:
        return State.EMPTY
    if marks == latest:
        return State.CURRENT
    return State.BEHIND if marks <= known else State.NEWER


@cache
def _marks() -> tuple[frozenset[str], frozenset[str]]:
    """The marks of the latest migration, and of all that this version knows."""
    migrations = ScriptDirectory(str(_MIGRATIONS))
    known = frozenset(script.revision for script in migrations.walk_revisions())
    return frozenset(migrations.get_heads()), known
