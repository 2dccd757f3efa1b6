"""The audit trail: what was advised is there, in order and unchanged, or `verify` names the first row that is not."""

from __future__ import annotations

import hashlib
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from advised import ENTRY, NOW, PATIENT, begin, connected, disarm, entry, intruder, writing
from heard import events
from postgres import shut
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from cds_service.database import Database
from cds_service.errors import StoreUnavailable
from cds_service.events import Event
from cds_service.records import Head, Records
from cds_service.records import trail as trail_module
from cds_service.records.schema import AUDIT
from cds_service.records.trail import Trail, audit_row, canonical

Place = Callable[[], str]
COLUMNS = [column.name for column in AUDIT.columns]
WORDS = [name for name in COLUMNS if name != "number"]
BEGINNING = f"0:{'0' * 64}"


def write(records: Records, count: int) -> list[Head]:
    return [records.trail.append(entry(number)) for number in range(count)]


def fault(records: Records, head: Head | None = None) -> str | None:
    found = records.trail.verify(head).fault
    return None if found is None else str(found)


# ---- Writing


def test_what_was_appended_is_there_in_order_and_verifies(records: Records) -> None:
    heads = write(records, 3)
    rows = list(records.trail.entries())
    assert [(row["number"], row["hash"]) for row in rows] == [(head.number, head.hash) for head in heads]
    assert [row["previous"] for row in rows] == ["0" * 64, heads[0].hash, heads[1].hash]
    assert {name: rows[0][name] for name in COLUMNS if name not in ("number", "previous", "hash")} == {
        "at": "2026-11-23T12:00:00.250000Z",
        "tenant": ENTRY.tenant,
        "issuer": ENTRY.issuer,
        "user_pseudonym": ENTRY.user,
        "service": ENTRY.service,
        "hook": ENTRY.hook,
        "hook_instance": ENTRY.hook_instance,
        "patient_pseudonym": ENTRY.patient,
        "knowledge": ENTRY.knowledge,
        "mode": "live",
        "outcome": "advised",
        "status": "eligible",
        "criteria": ["C01", "R02"],
        "topics": ["KETOPTION", "PPDRISK"],
        "cards": list(ENTRY.cards),
    }
    verified = records.trail.verify()
    assert (verified.rows, verified.head, verified.fault) == (3, heads[-1], None)


def test_an_empty_trail_verifies_and_has_a_head(records: Records) -> None:
    verified = records.trail.verify()
    assert (verified.rows, str(verified.head), verified.fault) == (0, BEGINNING, None)
    assert fault(records, Head.of(BEGINNING)) is None


def test_a_call_that_said_nothing_leaves_a_row_too(records: Records) -> None:
    records.trail.append(entry(user=None, outcome="nothing", status=None, criteria=(), topics=(), cards=()))
    (row,) = records.trail.entries()
    assert (row["user_pseudonym"], row["status"], row["criteria"], row["topics"], row["cards"]) == (
        None,
        None,
        [],
        [],
        [],
    )
    assert fault(records) is None


def test_the_same_instant_in_another_zone_is_the_same_row() -> None:
    moved = replace(ENTRY, at=NOW.astimezone(timezone(timedelta(hours=8))))
    assert audit_row(moved, Head(0, "")) == audit_row(ENTRY, Head(0, ""))


@pytest.mark.parametrize(
    "different",
    [
        {"patient": "Patient/4711"},
        {"patient": ""},
        {"patient": "A" * 32},
        {"user": "Practitioner/7"},
        {"criteria": ("C01", "C 02")},
        {"topics": ("",)},
        {"cards": ("Jane Roe",)},
    ],
)
def test_what_is_no_pseudonym_and_no_id_does_not_get_in(different: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not a pseudonym|not an id"):
        entry(**different)


def test_an_instant_without_its_zone_does_not_get_in() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        replace(ENTRY, at=datetime(2026, 11, 23, 12))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("call", "fit"),
    [
        ("d1577c69-dfbe-44ad-ba6d-3e05e953b2ea", True),
        ("D1577C69-DFBE-74AD-0A6D-3E05E953B2EA", True),
        ("opaque-0123456789abcdef", True),
        ("opaque-0123456789abcde", False),
        ("opaque-0123456789abcdeg", False),
        ("d1577c69-dfbe-44ad-ba6d-3e05e953b2e", False),
        ("d1577c69-dfbe-44ad-ba6d-3e05e953b2ea\n", False),
        ("Jane Roe", False),
        ("", False),
    ],
)
def test_no_text_of_the_callers_own_is_a_row(call: str, fit: bool) -> None:
    with nullcontext() if fit else pytest.raises(ValueError, match="neither a UUID nor a stand-in"):
        assert audit_row(entry(hook_instance=call), Head(0, ""))["hook_instance"] == call


def test_each_hundredth_head_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    heads = write(Records.in_memory(), 201)
    told = [(one["number"], one["hash"]) for one in events(caplog, Event.AUDIT_HEAD)]
    assert told == [(100, heads[99].hash), (200, heads[199].hash)]


# ---- Reading


def test_entries_come_after_a_number_and_since_an_instant(records: Records) -> None:
    write(records, 4)
    assert [row["number"] for row in records.trail.entries(after=2)] == [3, 4]
    since = NOW + timedelta(minutes=2)
    assert [row["number"] for row in records.trail.entries(since=since)] == [3, 4]
    assert [row["number"] for row in records.trail.entries(since=since + timedelta(microseconds=1))] == [4]
    assert list(records.trail.entries(after=4)) == []


def test_the_trail_may_grow_while_it_is_read(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_module, "_BATCH", 2)
    write(records, 3)
    rows = records.trail.entries()
    next(rows)
    write(records, 2)
    assert [row["number"] for row in rows] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("different", "topic", "since", "was"),
    [
        ({}, "KETOPTION", NOW, True),
        ({}, "PPDRISK", NOW, True),
        ({}, "KETOPTION", NOW + timedelta(microseconds=1), False),
        ({}, "KET", NOW, False),
        ({"topics": ()}, "", NOW, False),
        ({"mode": "shadow"}, "KETOPTION", NOW, False),
        ({"tenant": "another"}, "KETOPTION", NOW, False),
        ({"patient": "3" * 32}, "KETOPTION", NOW, False),
        ({"topics": ("PPDRISK",)}, "KETOPTION", NOW, False),
    ],
)
def test_what_this_patient_was_offered_since_then(
    records: Records, different: dict[str, Any], topic: str, since: datetime, was: bool
) -> None:
    records.trail.append(entry(**different))
    assert records.trail.offered(ENTRY.tenant, PATIENT, topic, since.astimezone(timezone(timedelta(hours=8)))) is was


def test_what_she_was_offered_is_found_by_an_index(tmp_path: Path) -> None:
    Records.at(str(tmp_path / "r.sqlite3")).close()
    with connected(str(tmp_path / "r.sqlite3")) as connection:
        query = (
            "SELECT topics FROM audit WHERE tenant = 't' AND patient_pseudonym = 'p' AND at >= 'a' AND mode = 'live'"
        )
        plan = connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all()
    assert "USING INDEX audit_patient (tenant=? AND patient_pseudonym=? AND at>?)" in str(plan)


# ---- Tampering


@pytest.fixture(scope="module")
def open_to_all() -> Iterator[Records]:
    """Three rows in memory, and nothing that keeps anybody from changing them."""
    records = Records.in_memory()
    write(records, 3)
    with records._database.transaction() as connection:
        disarm(connection)
    yield records
    records.close()


@pytest.mark.parametrize("name", WORDS)
def test_every_flipped_bit_of_every_column_is_found(open_to_all: Records, name: str) -> None:
    def put(stored: bytes) -> None:
        with open_to_all._database.transaction() as connection:
            update = text(f"UPDATE audit SET {name} = CAST(:stored AS TEXT) WHERE number = 2")  # noqa: S608
            connection.execute(update, {"stored": stored})

    with open_to_all._database.transaction() as connection:
        stored = connection.execute(text(f"SELECT CAST({name} AS BLOB) FROM audit WHERE number = 2")).scalar()  # noqa: S608
    assert stored
    for bit in range(8 * len(stored)):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        put(bytes(flipped))
        assert fault(open_to_all) == "row 2 was changed", (name, bit)
    put(stored)
    assert fault(open_to_all) is None


@pytest.mark.parametrize("bit", range(64))
def test_every_flipped_bit_of_a_number_is_found(open_to_all: Records, bit: int) -> None:
    other = 2 ^ (1 << bit) if bit < 63 else 2 - 2**63
    move = text("UPDATE audit SET number = :after WHERE number = :before")
    if other in (1, 3):
        with pytest.raises(IntegrityError), open_to_all._database.transaction() as connection:
            connection.execute(move, {"before": 2, "after": other})
        return
    with open_to_all._database.transaction() as connection:
        connection.execute(move, {"before": 2, "after": other})
    found = open_to_all.trail.verify()
    with open_to_all._database.transaction() as connection:
        connection.execute(move, {"before": other, "after": 2})
    assert found.fault is not None
    assert found.fault.number == (2 if other > 2 else other)
    assert fault(open_to_all) is None


@pytest.mark.parametrize("name", WORDS)
def test_another_value_of_a_column_is_found_in_either_database(records: Records, place: str, name: str) -> None:
    write(records, 3)
    with intruder(place) as connection:
        value = connection.execute(text(f"SELECT {name} FROM audit WHERE number = 2")).scalar()  # noqa: S608
        assert value
        other = ("b" if value[0] == "a" else "a") + value[1:]
        connection.execute(text(f"UPDATE audit SET {name} = :other WHERE number = 2"), {"other": other})  # noqa: S608
    assert fault(records) == "row 2 was changed"


@pytest.mark.parametrize("name", ["user_pseudonym", "status"])
@pytest.mark.parametrize(("there", "then"), [(None, ""), ("x", None)])
def test_nothing_is_not_the_same_as_an_empty_text(
    records: Records, place: str, name: str, there: str | None, then: str | None
) -> None:
    kept = {"user_pseudonym": "user", "status": "status"}[name]
    records.trail.append(entry(**{kept: there and "2" * 32}))
    with intruder(place) as connection:
        connection.execute(text(f"UPDATE audit SET {name} = :then"), {"then": then})  # noqa: S608
    assert fault(records) == "row 1 was changed"


@pytest.mark.parametrize("stored", ["'C01  R02'", "'C01 R02 '", "' C01 R02'", "'C01\tR02'", "X'433031205230320A'", "7"])
def test_a_list_that_reads_the_same_but_is_stored_otherwise_is_found(open_to_all: Records, stored: str) -> None:
    put = "UPDATE audit SET criteria = {} WHERE number = 3"
    with open_to_all._database.transaction() as connection:
        connection.execute(text(put.format(stored)))
    found = fault(open_to_all)
    with open_to_all._database.transaction() as connection:
        connection.execute(text(put.format("'C01 R02'")))
    assert found == "row 3 was changed"
    assert fault(open_to_all) is None


def test_the_same_bytes_of_another_kind_are_found(open_to_all: Records) -> None:
    with open_to_all._database.transaction() as connection:
        connection.execute(text("UPDATE audit SET tenant = CAST(tenant AS BLOB) WHERE number = 3"))
    found = fault(open_to_all)
    with open_to_all._database.transaction() as connection:
        connection.execute(text("UPDATE audit SET tenant = CAST(tenant AS TEXT) WHERE number = 3"))
    assert (found, fault(open_to_all)) == ("row 3 was changed", None)


def test_every_flipped_byte_of_a_row_in_the_file_is_found(tmp_path: Path) -> None:
    """Not by a statement, but on the disk: what SQLite cannot read any more is found, too."""
    file = tmp_path / "r.sqlite3"
    with closing(Records.at(str(file))) as records:
        write(records, 3)
        row = list(records.trail.entries())[1]
    told = [" ".join(row[name]) if isinstance(row[name], list) else row[name] for name in WORDS]
    content = file.read_bytes()
    stored = "".join(told).encode()
    began = content.index(stored)
    assert content.count(stored) == 1
    for place in range(began, began + len(stored)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x81]) + content[place + 1 :])
        with closing(Database.at(str(file), "CDS_DATABASE", 5)) as database:
            assert str(Trail(database).verify().fault) == "row 2 was changed", place - began
    file.write_bytes(content)
    with closing(Records.at(str(file))) as records:
        assert fault(records) is None


SWAP = """
UPDATE audit SET number = 99 WHERE number = 2;
UPDATE audit SET number = 2 WHERE number = 3;
UPDATE audit SET number = 3 WHERE number = 99
"""


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ("DELETE FROM audit WHERE number = 1", "row 1 is missing"),
        ("DELETE FROM audit WHERE number = 3", "row 3 is missing"),
        ("DELETE FROM audit WHERE number IN (2, 3)", "row 2 is missing"),
        (SWAP, "row 2 was changed"),
        ("UPDATE audit SET number = number + 1000; UPDATE audit SET number = number - 999", "row 1 is missing"),
    ],
)
def test_a_row_that_was_removed_or_moved_is_found(records: Records, place: str, statements: str, says: str) -> None:
    write(records, 4)
    with intruder(place) as connection:
        for statement in statements.strip().split(";"):
            connection.execute(text(statement))
    assert fault(records) == says


def forge(connection: Connection, number: int, previous: str, **different: Any) -> Head:
    """A row as only somebody who has read the code would write it: its own hash is right."""
    row = audit_row(entry(number, **different), Head(number - 1, previous))
    connection.execute(AUDIT.insert(), row)
    return Head(number, row["hash"])


def test_a_row_that_was_put_in_is_found_although_its_own_hash_is_right(records: Records, place: str) -> None:
    heads = write(records, 3)
    with intruder(place) as connection:
        connection.execute(text("DELETE FROM audit WHERE number = 2"))
        forge(connection, 2, heads[0].hash, outcome="nothing")
    assert fault(records) == "row 3 does not follow the row before it"


def test_a_row_before_the_first_and_one_after_a_gap_are_found(records: Records, place: str) -> None:
    heads = write(records, 2)
    with intruder(place) as connection:
        forge(connection, 9, heads[1].hash)
    assert fault(records) == "row 3 is missing"
    with intruder(place) as connection:
        forge(connection, -7, "0" * 64)
    assert fault(records) == "row -7 does not belong there: the trail begins after row 0"


def test_an_end_that_was_cut_off_is_found_by_an_earlier_head_and_by_nothing_else(records: Records, place: str) -> None:
    heads = write(records, 5)
    with intruder(place) as connection:
        connection.execute(text("DELETE FROM audit WHERE number > 3"))
    assert fault(records) is None
    assert fault(records, heads[2]) is None
    assert fault(records, heads[3]) == "row 4 is missing, and all that came after it: there was a row 4"
    assert fault(records, heads[4]) == "row 4 is missing, and all that came after it: there was a row 5"


def test_a_trail_that_was_forged_anew_is_found_by_an_earlier_head_and_by_nothing_else(
    records: Records, place: str
) -> None:
    heads = write(records, 4)
    with intruder(place) as connection:
        connection.execute(text("DELETE FROM audit WHERE number > 1"))
        last = heads[0]
        for number in (2, 3, 4):
            last = forge(connection, number, last.hash, outcome="nothing")
    assert fault(records) is None
    assert fault(records, heads[0]) is None
    for head in heads[1:]:
        assert fault(records, head) == f"row {head.number} is another one than the head tells of"


@pytest.mark.parametrize("text_", ["", "7", f"7:{'a' * 63}", f"7:{'A' * 64}", f"-7:{'a' * 64}", f"7:{'a' * 64} "])
def test_what_is_no_head_is_refused(text_: str) -> None:
    with pytest.raises(ValueError, match="not the head of an audit trail"):
        Head.of(text_)


def test_a_head_can_be_written_down_and_read_again() -> None:
    head = Head(7, "a" * 64)
    assert Head.of(str(head)) == head


# ---- The database itself refuses


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET outcome = 'nothing' WHERE number = 3",
        "DELETE FROM audit WHERE number = 3",
        "DELETE FROM audit",
        "UPDATE audit_anchor SET hash = 'x'",
        "DELETE FROM audit_anchor",
    ],
)
def test_the_database_refuses_to_change_or_remove_a_row(records: Records, place: str, statement: str) -> None:
    write(records, 3)
    assert records.trail.prune(NOW + timedelta(minutes=1), NOW) == 1
    with pytest.raises(DBAPIError, match="the audit trail only grows"), connected(place) as connection:
        connection.execute(text(statement))
    assert records.trail.verify().rows == 2


@pytest.mark.parametrize("table", ["audit", "audit_anchor"])
def test_postgresql_refuses_to_empty_the_tables(new_postgres: Place, table: str) -> None:
    url = new_postgres()
    Records.at(url).close()
    with pytest.raises(DBAPIError, match="the audit trail only grows"), connected(url) as connection:
        connection.execute(text(f"TRUNCATE {table}"))


# ---- Pruning


@pytest.mark.parametrize(("after", "gone"), [(timedelta(0), 2), (timedelta(microseconds=1), 3)])
def test_what_is_left_after_a_prune_still_verifies_and_goes_on(records: Records, after: timedelta, gone: int) -> None:
    heads = write(records, 5)
    now = NOW + timedelta(days=1)
    assert records.trail.prune(NOW + timedelta(minutes=2) + after, now) == gone
    verified = records.trail.verify()
    assert (verified.rows, verified.head, verified.fault) == (5 - gone, heads[4], None)
    assert records.trail.append(entry(9)).number == 6
    assert [row["number"] for row in records.trail.entries()] == [*range(gone + 1, 7)]
    assert records.trail.verify(heads[4]).fault is None
    assert records.trail.verify(heads[gone - 1]).fault is None  # the last that went: the anchor knows its hash
    assert fault(records, heads[0]) == f"row 1 was pruned: the trail begins after row {gone}, so a later head is needed"


def test_when_everything_was_old_the_chain_goes_on_from_the_anchor(records: Records) -> None:
    heads = write(records, 3)
    assert records.trail.prune(NOW + timedelta(days=1), NOW) == 3
    assert records.trail.prune(NOW + timedelta(days=1), NOW) == 0
    assert records.trail.verify().head == heads[2]
    head = records.trail.append(entry(9))
    assert (head.number, fault(records, head), fault(records, heads[2])) == (4, None, None)
    (row,) = records.trail.entries()
    assert row["previous"] == heads[2].hash


def test_a_prune_in_many_parts_leaves_an_anchor_for_each(
    records: Records, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "_PRUNED_AT_ONCE", 3)
    write(records, 10)
    now = NOW.astimezone(timezone(timedelta(hours=8)))
    assert records.trail.prune(NOW + timedelta(minutes=8), now) == 8
    assert records.trail.verify().rows == 2
    with connected(place) as connection:
        anchors = connection.execute(text("SELECT number, removed, at FROM audit_anchor ORDER BY number")).all()
    at = "2026-11-23T12:00:00.250000Z"
    assert [tuple(anchor) for anchor in anchors] == [(3, 3, at), (6, 3, at), (8, 2, at)]


def test_only_whole_old_rows_from_the_front_go(records: Records) -> None:
    """The clock of another process may go after: its row stays where a younger one is before it."""
    for minutes in (0, 5, 1, 6):
        records.trail.append(entry(minutes))
    assert records.trail.prune(NOW + timedelta(minutes=3), NOW) == 1
    assert [row["number"] for row in records.trail.entries()] == [2, 3, 4]


def test_after_a_prune_whatever_is_wrong_is_still_found(records: Records, place: str) -> None:
    write(records, 5)
    records.trail.prune(NOW + timedelta(minutes=2), NOW)
    with intruder(place) as connection:
        forge(connection, 1, "0" * 64)
    assert fault(records) == "row 1 does not belong there: the trail begins after row 2"
    with intruder(place) as connection:
        connection.execute(text("DELETE FROM audit WHERE number IN (1, 3)"))
    assert fault(records) == "row 3 is missing"


def test_an_anchor_with_another_hash_is_found(records: Records, place: str) -> None:
    write(records, 3)
    records.trail.prune(NOW + timedelta(minutes=1), NOW)
    with intruder(place) as connection:
        connection.execute(text("UPDATE audit_anchor SET hash = :hash"), {"hash": "f" * 64})
    assert fault(records) == "row 2 does not follow the row before it"


# ---- Many writers, and their death


def test_sixteen_threads_in_two_processes_make_one_unbroken_chain(records: Records, place: str) -> None:
    told: list[str] = []
    with writing(place, 8, 20) as one, writing(place, 8, 20) as two:
        begin(one, two)
        for process in (one, two):
            told += process.communicate(timeout=120)[0].split()
            assert process.returncode == 0
    verified = records.trail.verify()
    assert (verified.rows, verified.fault) == (320, None)
    assert sorted(told) == sorted(f"{row['number']}:{row['hash']}" for row in records.trail.entries())


@pytest.mark.parametrize("lines", [1, 7, 40])
def test_a_writer_that_is_killed_leaves_a_trail_that_verifies_and_holds_all_it_told_of(
    records: Records, place: str, lines: int
) -> None:
    with writing(place, 4, 10_000) as process:
        begin(process)
        assert process.stdout is not None
        heads = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        heads += process.communicate()[0].splitlines(keepends=True)
    whole = [Head.of(head.strip()) for head in heads if head.endswith("\n")]
    assert len(whole) >= lines
    verified = records.trail.verify()
    assert verified.fault is None
    assert verified.head.number < 40_000
    rows = {(row["number"], row["hash"]) for row in records.trail.entries()}
    assert {(head.number, head.hash) for head in whole} <= rows
    assert records.trail.append(entry()).number == verified.head.number + 1
    assert fault(records) is None


def test_a_row_that_another_has_begun_to_write_is_waited_for(new_postgres: Place) -> None:
    """On a server that was set to let each transaction see only what was there when it began, too."""
    url = new_postgres()
    with connected(url) as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"))
    with closing(Records.at(url)) as records, writing(url, 4, 20) as one, writing(url, 4, 20) as two:
        begin(one, two)
        for process in (one, two):
            process.communicate(timeout=120)
            assert process.returncode == 0
        assert (records.trail.verify().rows, fault(records)) == (160, None)


def test_a_backup_that_is_taken_while_rows_are_written_is_a_beginning_of_the_trail(tmp_path: Path) -> None:
    place, copy = str(tmp_path / "r.sqlite3"), str(tmp_path / "backup.sqlite3")
    with closing(Records.at(place)) as records, writing(place, 4, 10_000) as process:
        begin(process)
        assert process.stdout is not None
        for _ in range(50):
            process.stdout.readline()
        with closing(sqlite3.connect(place)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        for _ in range(50):
            process.stdout.readline()
        process.kill()
        with closing(Records.at(copy, make=False)) as restored:
            verified = restored.trail.verify()
            assert verified.fault is None
            assert 50 <= verified.rows < records.trail.verify().rows
            assert fault(records, verified.head) is None
            assert restored.trail.append(entry()).number == verified.rows + 1
            assert fault(restored) is None


# ---- Without the database


def test_without_its_file_the_trail_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "r.sqlite3"
    with closing(Records.at(str(file))) as records:
        write(records, 1)
        file.rename(tmp_path / "away")
        everything_is_unavailable(records)
        (tmp_path / "away").rename(file)
        assert records.trail.append(entry()).number == 2


def test_without_its_server_the_trail_is_unavailable_until_it_is_back(new_postgres: Place) -> None:
    url = new_postgres()
    with closing(Records.at(url)) as records:
        write(records, 1)
        with shut(url):
            everything_is_unavailable(records)
        assert records.trail.append(entry()).number == 2


def everything_is_unavailable(records: Records) -> None:
    for call in (
        lambda: records.trail.append(entry()),
        records.trail.verify,
        lambda: list(records.trail.entries()),
        lambda: records.trail.offered("t", PATIENT, "KETOPTION", NOW),
        lambda: records.trail.prune(NOW, NOW),
    ):
        with pytest.raises(StoreUnavailable, match=r"^the audit trail cannot be (written|read|pruned) now; "):
            call()


# ---- How much memory it takes


def test_memory_does_not_grow_with_the_trail() -> None:
    peaks = [peak_of(trail_of(count)) for count in (2_000, 6_000)]
    assert peaks[1] < 1.2 * peaks[0]


def trail_of(count: int) -> Records:
    records = Records.in_memory()
    head, rows = Head.of(BEGINNING), []
    for number in range(count):
        rows.append(audit_row(entry(number), head))
        head = Head(number + 1, rows[-1]["hash"])
    with records._database.transaction() as connection:
        connection.execute(AUDIT.insert(), rows)
    return records


def peak_of(records: Records) -> int:
    records.trail.verify()
    tracemalloc.start()
    try:
        assert records.trail.verify().fault is None
        assert sum(1 for row in records.trail.entries() if canonical(row)) >= 2_000
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_hash_is_over_the_row_as_json_and_nothing_else() -> None:
    """Written out, so that another program can do it. Who changes this breaks every trail there is."""
    row = audit_row(entry(), Head(0, "0" * 64))
    told = (
        '{"at":"2026-11-23T12:00:00.250000Z",'
        '"cards":["0b5a1f2e-0000-4000-8000-000000000001","0b5a1f2e-0000-4000-8000-000000000002"],'
        '"criteria":["C01","R02"],"hook":"order-select","hook_instance":"d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",'
        f'"issuer":"https://ehr.example.org","knowledge":"sha256:{"a" * 64}","mode":"live","number":1,'
        f'"outcome":"advised","patient_pseudonym":"{"1" * 32}","previous":"{"0" * 64}",'
        '"service":"ppd-delivery-order","status":"eligible","tenant":"example-hospital",'
        f'"topics":["KETOPTION","PPDRISK"],"user_pseudonym":"{"2" * 32}"}}'
    )
    assert row["hash"] == hashlib.sha256(told.encode()).hexdigest()


def test_an_instant_is_told_in_utc_to_the_microsecond() -> None:
    whole = replace(ENTRY, at=datetime(2026, 11, 23, 12, tzinfo=UTC))
    assert audit_row(whole, Head(0, ""))["at"] == "2026-11-23T12:00:00.000000Z"
