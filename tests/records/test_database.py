"""The database of the records: made, brought up to date, opened again; refused at start when it is unfit."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from advised import make_earlier
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from postgres import make_read_only, shut
from sqlalchemy import Column, MetaData, String, create_engine, inspect, text

from cds_service.database import Database
from cds_service.errors import SiteUnfit, StoreUnavailable
from cds_service.hooks.feedback import Item, Reason
from cds_service.records import FeedbackStore, Kept, Records
from cds_service.records.schema import FEEDBACK, SCHEMA
from cds_service.settings import Settings

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
CANARY = "Jane Roe hears voices"
Place = Callable[[], str]


def overridden(card: str = "c1", comment: str | None = None) -> Item:
    return Item(card, "overridden", at=NOW, reason=Reason("patient-refuses", "urn:reasons", comment))


def keep(records: Records, *items: Item, tenant: str = "t", comments: bool = False) -> Kept:
    return records.feedback.keep(tenant, "ppd-delivery-order", items, NOW, comments=comments)


# ---- The file


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    records = Records.at(str(tmp_path / "f.sqlite3"))
    keep(records, overridden("c1", CANARY), comments=True)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    records.close()
    assert modes == {"f.sqlite3": 0o600, "f.sqlite3-wal": 0o600, "f.sqlite3-shm": 0o600}


def test_what_may_wait_for_the_disk_is_taken_there_by_whoever_writes_next(tmp_path: Path) -> None:
    """As SQLite calls it: FULL (2) waits at each commit, NORMAL (1) with the next that does. On the same connection."""
    database = Database.at(str(tmp_path / "f.sqlite3"), "CDS_DATABASE", 5)

    def waits(*, may_wait: bool) -> object:
        with database.transaction(may_wait=may_wait) as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    assert [waits(may_wait=late) for late in (False, True, False, True, True, False)] == [2, 1, 2, 1, 1, 2]
    database.close()


@pytest.mark.parametrize("name", ["feedback?mode=memory", "feed#back", "100%41.sqlite3", "a b", "füß"])
def test_a_path_is_a_path_whatever_a_url_would_mean_by_it(tmp_path: Path, name: str) -> None:
    first = Records.at(str(tmp_path / name))
    keep(first, overridden())
    first.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    again = Records.at(str(tmp_path / name))
    assert keep(again, overridden()) == Kept(0, 1)
    again.close()


# ---- The schema


def test_the_migrated_schema_is_the_one_the_code_means(place: str) -> None:
    Records.at(place).close()
    engine = create_engine(_sqlalchemy(place))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SCHEMA) == []
        (unique,) = inspect(connection).get_unique_constraints("feedback")
        assert set(unique["column_names"]) == {"tenant", "card", "suggestion", "outcome"}
        another = MetaData()
        FEEDBACK.to_metadata(another).append_column(Column("unheard_of", String(1)))
        assert compare_metadata(MigrationContext.configure(connection), another) != []
    engine.dispose()


def test_a_database_of_the_first_version_is_brought_up_to_date_and_keeps_its_rows(place: str) -> None:
    make_earlier(place, "0001")
    engine = create_engine(_sqlalchemy(place))
    with engine.begin() as connection:
        row = {"tenant": "t", "service": "s", "card": "c", "suggestion": "", "outcome": "accepted", "received_at": NOW}
        connection.execute(FEEDBACK.insert(), row)
        assert "audit" not in inspect(connection).get_table_names()
    engine.dispose()
    records = Records.at(place)
    assert [row["card"] for row in records.feedback.all()] == ["c"]
    assert records.trail.verify().rows == 0
    assert records.tokens.spend("issuer", "jti", NOW, NOW)
    records.close()


def test_two_processes_that_start_at_once_migrate_once(place: str) -> None:
    script = "import sys; from cds_service.records import Records; Records.at(sys.argv[1]).close()"
    started = [subprocess.Popen([sys.executable, "-c", script, place], stderr=subprocess.PIPE) for _ in range(4)]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in started] == [(b"", 0)] * 4


def test_a_database_of_a_later_version_is_refused_at_start(place: str) -> None:
    Records.at(place).close()
    engine = create_engine(_sqlalchemy(place))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SiteUnfit, match="newer than this version"):
        Records.at(place)


@pytest.mark.parametrize(
    "place",
    [
        "/nowhere/at/all/feedback.sqlite3",
        "postgresql://clerk:s3cret@127.0.0.1:1/cds",
        "mysql://clerk:s3cret@db/cds",
        "oracle+thin://clerk:s3cret@db/cds",
        "postgresql+nothing://clerk:s3cret@db/cds",
        "://",
    ],
)
def test_a_database_that_cannot_be_had_is_one_plain_line_without_the_password(place: str) -> None:
    environment = {**os.environ, "CDS_DATABASE": place}
    command = [sys.executable, "-m", "cds_service", "serve", "--insecure", "--port", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("CDS_DATABASE: ")
    assert "s3cret" not in line


def test_a_file_that_is_no_database_is_refused_at_start_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("No database at all. " * 100)
    with pytest.raises(SiteUnfit, match=r"^CDS_DATABASE: the database cannot be opened and written$"):
        Records.at(str(file))
    assert file.read_text() == "No database at all. " * 100


def test_a_database_that_takes_no_writes_is_refused_at_start(new_postgres: Place) -> None:
    url = new_postgres()
    Records.at(url).close()
    make_read_only(url)
    with pytest.raises(SiteUnfit, match="cannot be opened and written"):
        Records.at(url)


def test_the_trial_at_start_leaves_no_row(place: str) -> None:
    Records.at(place).close()
    again = Records.at(place)
    assert again.feedback.all() == []
    assert list(again.trail.entries()) == []
    assert again.tokens.spend("", "", NOW, NOW)
    again.close()


def test_a_database_that_is_not_there_is_not_made_for_somebody_who_wants_to_read_it(tmp_path: Path) -> None:
    with pytest.raises(SiteUnfit, match=r"^CDS_DATABASE: there is no database$"):
        Records.at(str(tmp_path / "typo.sqlite3"), make=False)
    assert list(tmp_path.iterdir()) == []
    Records.at(str(tmp_path / "there.sqlite3")).close()
    Records.at(str(tmp_path / "there.sqlite3"), make=False).close()


def test_a_thread_that_writes_for_too_long_does_not_hold_the_others(tmp_path: Path) -> None:
    with closing(Records.at(str(tmp_path / "f.sqlite3"))) as records, ThreadPoolExecutor(1) as another:
        impatient = FeedbackStore(Database.at(str(tmp_path / "f.sqlite3"), "CDS_DATABASE", 1))
        with impatient._database.transaction():
            assert another.submit(impatient.all).result() == []  # whoever reads does not wait
            waiting = another.submit(impatient.keep, "t", "s", [overridden()], NOW, comments=False)
            with pytest.raises(StoreUnavailable):
                waiting.result(timeout=30)
        assert another.submit(impatient.keep, "t", "s", [overridden()], NOW, comments=False).result() == Kept(1, 0)
        assert len(records.feedback.all()) == 1


def test_it_tells_whether_it_can_be_had(tmp_path: Path, new_postgres: Place) -> None:
    file, url = tmp_path / "f.sqlite3", new_postgres()
    on_disk, on_server, in_memory = Records.at(str(file)), Records.at(url), Records.in_memory()
    assert (on_disk.is_there(), on_server.is_there(), in_memory.is_there()) == (True, True, True)
    file.rename(tmp_path / "away")
    with shut(url):
        assert (on_disk.is_there(), on_server.is_there()) == (False, False)
    (tmp_path / "away").rename(file)
    assert (on_disk.is_there(), on_server.is_there()) == (True, True)
    on_disk.close()
    on_server.close()


def test_a_server_that_only_reads_is_not_there(new_postgres: Place) -> None:
    url = new_postgres()
    with closing(Records.at(url)) as records:
        assert records.is_there()
        make_read_only(url)
        records.close()  # a connection has its settings from when it was made
        assert not records.is_there()


def test_a_file_that_another_keeps_locked_is_not_there_and_is_soon_said_not_to_be(tmp_path: Path) -> None:
    with closing(Records.at(str(tmp_path / "f.sqlite3"))) as records:
        with closing(sqlite3.connect(tmp_path / "f.sqlite3", isolation_level=None)) as another:
            another.execute("BEGIN IMMEDIATE")
            assert not records.is_there()
            assert patience_of(records) == 5_000
        assert records.is_there()


def patience_of(records: Records) -> int:
    """In milliseconds: how long what is to be written waits, on the very connection that was tried."""
    with records._database._engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        return int(driver.execute("PRAGMA busy_timeout").fetchone()[0])


_FULL = """
import os, resource, sys
from advised import entry
from cds_service.errors import StoreUnavailable
from cds_service.records import Records
def takes():
    try:
        return bool(records.trail.append(entry()))
    except StoreUnavailable:
        return False
records = Records.at(sys.argv[1])
print(records.is_there(), takes())
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
room = 3 * 4_120  # for three pages, which is less than a call takes
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1] + "-wal") + room, most))
print(records.is_there(), takes(), records.is_there())
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(records.is_there(), takes())
"""


def test_a_file_that_can_grow_no_more_is_not_there_until_it_can(tmp_path: Path) -> None:
    """As on a full disk: it can be read, and a transaction can be begun. Only what is committed needs room."""
    command = [sys.executable, "-c", _FULL, str(tmp_path / "f.sqlite3")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    expected = ["True True", "False False False", "True True"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


def test_asking_whether_it_is_there_leaves_no_row(place: str) -> None:
    with closing(Records.at(place)) as records:
        keep(records, overridden())
        before = records.feedback.all()
        assert (records.is_there(), records.is_there()) == (True, True)
        assert records.feedback.all() == before
        assert records.trail.verify().rows == 0
        assert records.tokens.spend("", "", NOW, NOW)


def test_the_settings_do_not_show_the_password() -> None:
    settings = Settings.from_environment({"CDS_DATABASE": "postgresql://clerk:s3cret@db/cds"})
    assert settings.database == "postgresql://clerk:s3cret@db/cds"
    assert "s3cret" not in repr(settings)


def _sqlalchemy(place: str) -> str:
    return place.replace("postgresql://", "postgresql+psycopg://") if "://" in place else f"sqlite:///{place}"
