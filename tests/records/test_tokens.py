"""A token opens the door once: across threads, processes and the death of a process, and leaves no word of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from advised import connected
from postgres import shut
from sqlalchemy import text

from cds_service.errors import StoreUnavailable
from cds_service.records import Records

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
UNTIL = NOW + timedelta(minutes=5)
ISSUER = "https://ehr.example.org"
TRIAL = Path(__file__).resolve().parents[2] / "benchmarks" / "exactly_once.py"


def left(place: str) -> int:
    with connected(place) as connection:
        count: int = connection.execute(text("SELECT count(*) FROM spent_token")).scalar_one()
    return count


def test_the_first_may_come_in_and_nobody_after_it(records: Records) -> None:
    assert [records.tokens.spend(ISSUER, "a", UNTIL, NOW) for _ in range(3)] == [True, False, False]
    assert records.tokens.spend(ISSUER, "b", UNTIL, NOW)
    assert not records.tokens.spend(ISSUER, "a", UNTIL + timedelta(days=1), NOW + timedelta(minutes=1))


def test_another_issuer_may_use_the_same_id(records: Records) -> None:
    pairs = [("i", "j"), ("k", "j"), ("", "ij"), ("ij", ""), ('i","j', ""), ("i", 'j"'), ("I", "j"), ("i", "J")]
    assert [records.tokens.spend(*pair, UNTIL, NOW) for pair in pairs] == [True] * len(pairs)
    assert [records.tokens.spend(*pair, UNTIL, NOW) for pair in pairs] == [False] * len(pairs)


def test_it_is_still_spent_when_the_database_is_opened_again(place: str) -> None:
    for first in (True, False):
        with closing(Records.at(place)) as records:
            assert records.tokens.spend(ISSUER, "a", UNTIL, NOW) is first


def test_of_many_threads_one_comes_in(records: Records) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: records.tokens.spend(ISSUER, "a", UNTIL, NOW), range(100)))
    assert told.count(True) == 1


def test_no_word_of_a_token_is_kept(tmp_path: Path) -> None:
    with closing(Records.at(str(tmp_path / "r.sqlite3"))) as records:
        assert records.tokens.spend("https://CANARY.example.org", "CANARY-jti", UNTIL, NOW)
        held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"CANARY" not in held


@pytest.mark.parametrize(("over", "gone"), [(timedelta(hours=1), 0), (timedelta(hours=1, seconds=1), 1)])
def test_a_token_is_remembered_for_an_hour_after_it_expired(
    records: Records, place: str, over: timedelta, gone: int
) -> None:
    """The clock of a replica may go ahead by less than that, and no token may come in again."""
    records.tokens.spend(ISSUER, "a", UNTIL.astimezone(timezone(timedelta(hours=8))), NOW)
    assert records.tokens.prune((UNTIL + over).astimezone(timezone(timedelta(hours=-5)))) == gone
    assert left(place) == 1 - gone


def test_expired_tokens_go_by_themselves_but_not_at_each_call(records: Records, place: str) -> None:
    records.tokens.spend(ISSUER, "a", NOW - timedelta(hours=2), NOW)  # tidies, and finds it
    assert left(place) == 0
    records.tokens.spend(ISSUER, "b", NOW - timedelta(hours=2), NOW + timedelta(minutes=9, seconds=59))
    assert left(place) == 1
    records.tokens.spend(ISSUER, "c", UNTIL, NOW + timedelta(minutes=10))
    assert left(place) == 1
    assert not records.tokens.spend(ISSUER, "c", UNTIL, NOW + timedelta(minutes=10))


def test_a_token_was_spent_even_if_tidying_goes_wrong(records: Records, place: str) -> None:
    records.tokens.spend(ISSUER, "old", NOW - timedelta(hours=1), NOW)
    with connected(place) as connection:
        if "://" in place:
            connection.execute(
                text(
                    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no'; END$$;"
                    "CREATE TRIGGER no BEFORE DELETE ON spent_token FOR EACH ROW EXECUTE FUNCTION no()"
                )
            )
        else:
            no = "CREATE TRIGGER no BEFORE DELETE ON spent_token BEGIN SELECT RAISE(ABORT, 'no'); END"
            connection.execute(text(no))
    later = NOW + timedelta(hours=3)
    with pytest.raises(StoreUnavailable):
        records.tokens.prune(later)
    assert records.tokens.spend(ISSUER, "new", later + timedelta(minutes=5), later)
    assert not records.tokens.spend(ISSUER, "new", later + timedelta(minutes=5), later)


def test_without_its_database_nobody_comes_in(tmp_path: Path, new_postgres: Callable[[], str]) -> None:
    file, url = tmp_path / "r.sqlite3", new_postgres()
    with closing(Records.at(str(file))) as on_disk, closing(Records.at(url)) as on_server:
        file.rename(tmp_path / "away")
        with shut(url):
            for records in (on_disk, on_server):
                with pytest.raises(StoreUnavailable, match=r"^a token cannot be checked now; send it again later$"):
                    records.tokens.spend(ISSUER, "a", UNTIL, NOW)
        (tmp_path / "away").rename(file)
        for records in (on_disk, on_server):
            assert records.tokens.spend(ISSUER, "a", UNTIL, NOW)


def test_whoever_is_killed_one_token_opens_the_door_once_and_one_outcome_counts_once(
    place: str, record_property: Callable[[str, object], None]
) -> None:
    """A hundred attempts, eight threads, two processes, one of them killed at random; five times for each."""
    command = [sys.executable, str(TRIAL), "--runs", "5", "--json", "--database", place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    went = json.loads(done.stdout)
    assert {kind: sum(counts.values()) for kind, counts in went.items()} == {"token": 5, "feedback": 5}
    assert {how for counts in went.values() for how in counts} <= {"once", "once, untold"}
    kind = "PostgreSQL" if "://" in place else "SQLite"
    record_property("safety", f"exactly once, {kind}: 5 tokens and 5 outcomes, a process killed each time: {went}")
