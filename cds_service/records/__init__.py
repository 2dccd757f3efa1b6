"""
What is remembered: feedback on cards, what was advised and why, and which tokens were spent. No patient words.

One database holds it all. What a method has returned from has been committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Table, inspect
from sqlalchemy.exc import SQLAlchemyError

from cds_service.database import Database
from cds_service.errors import SiteUnfit
from cds_service.hooks.feedback import Item
from cds_service.records.counts import Counts
from cds_service.records.feedback import FeedbackStore, Kept, feedback_row
from cds_service.records.pseudonyms import Pseudonyms
from cds_service.records.schema import AUDIT, AUDIT_ANCHOR, FEEDBACK, SPENT_TOKEN
from cds_service.records.tokens import Tokens, digest_of
from cds_service.records.trail import Entry, Head, Trail, Verified, audit_row

__all__ = ["Counts", "Entry", "FeedbackStore", "Head", "Kept", "Pseudonyms", "Records", "Tokens", "Trail", "Verified"]

_SETTING: Final = "CDS_DATABASE"
# How long one writer waits for another before a caller hears 503.
_PATIENCE_SECONDS: Final = 5
_MIGRATION_SECONDS: Final = 60
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY: Final = Entry(_LONG_AGO, "", "", None, "", "", f"opaque-{'0' * 16}", "0" * 32, "", "live", "nothing")
_TRIALS: Final[tuple[tuple[Table, dict[str, Any]], ...]] = (
    (FEEDBACK, feedback_row("", "", Item("", ""), _LONG_AGO, comments=False)),
    (AUDIT, audit_row(_NOBODY, Head(-1, ""))),
    (SPENT_TOKEN, {"digest": digest_of("", ""), "until": 0}),
)
_TRIAL_KEYS: Final = {"tenant", "card", "digest"}


class Records:
    """The three of them in one database. Safe to use from many threads and, unless it is in memory, processes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.feedback = FeedbackStore(database)
        self.trail = Trail(database)
        self.tokens = Tokens(database)
        self.counts = Counts(database)

    @classmethod
    def at(cls, place: str, *, make: bool = True) -> Records:
        """
        At a path (SQLite) or a URL (`postgresql://…`, `sqlite:///…`). A file that is not there is made, or refused.

        Brings the schema up to date, and writes rows on trial. Raises SiteUnfit when the database cannot be had or
        written, or is newer than this; never repeats the URL.
        """
        return cls(_up_to_date(Database.at(place, _SETTING, _PATIENCE_SECONDS, make=make)))

    @classmethod
    def to_read(cls, place: str) -> Records:
        """
        The audit trail as it is, and of whatever earlier version: for whoever may not, or must not, write.

        A version of the service that runs, or that is gone back to, finds its own schema afterwards. Raises SiteUnfit
        when the database cannot be had or read, holds no trail, or is newer than this; never repeats the URL.
        """
        return cls(_with_a_trail(Database.at(place, _SETTING, _PATIENCE_SECONDS, reads_only=True)))

    @classmethod
    def in_memory(cls) -> Records:
        """Ones that are forgotten with the process: for the demonstration."""
        return cls(_up_to_date(Database.in_memory()))

    def is_there(self) -> bool:
        """Whether they can be read and written now."""
        return self._database.is_there(_came_and_went)

    def close(self) -> None:
        """Ends the connections. A later call makes new ones."""
        self._database.close()


def _up_to_date(database: Database) -> Database:
    with _or_unfit(database, "written"), database.transaction() as connection:
        database.be_patient(connection, _MIGRATION_SECONDS)
        database.one_at_a_time(connection, "migrations")
        command.upgrade(_config(connection), "head")
        with connection.begin_nested() as trial:
            for table, row in _TRIALS:
                connection.execute(table.insert(), row)
            trial.rollback()
    return database


def _came_and_went(connection: Connection) -> None:
    """Rows on trial, and gone again. None in the audit trail: from there nothing goes."""
    for table, row in _TRIALS:
        if table is not AUDIT:
            connection.execute(table.insert(), row)
            these = (column == row[column.name] for column in table.c if column.name in _TRIAL_KEYS)
            connection.execute(table.delete().where(*these))


def _with_a_trail(database: Database) -> Database:
    with _or_unfit(database, "read"), database.snapshot() as connection:
        known = ScriptDirectory.from_config(_config(connection))
        known.get_revisions(MigrationContext.configure(connection).get_current_heads())
        tables = inspect(connection).get_table_names()
        if not {AUDIT.name, AUDIT_ANCHOR.name} <= set(tables):
            raise SiteUnfit(f"{_SETTING}: the database holds no audit trail")
    return database


@contextmanager
def _or_unfit(database: Database, used: str) -> Iterator[None]:
    """One plain line for what is wrong, after the connections are closed."""
    try:
        yield
    except SiteUnfit:
        database.close()
        raise
    except (SQLAlchemyError, CommandError) as error:
        database.close()
        newer = isinstance(error, CommandError)
        what = "is newer than this version of the service" if newer else f"cannot be opened and {used}"
        raise SiteUnfit(f"{_SETTING}: the database {what}") from None


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
