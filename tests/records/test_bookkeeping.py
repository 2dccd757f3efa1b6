"""What an operator does with the records, as it is typed: verify, export, prune."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from advised import NOW, connected, entry, intruder, make_earlier
from fhir.resources.R4B.auditevent import AuditEvent
from postgres import make_read_only
from sqlalchemy import text

from cds_service.__main__ import main
from cds_service.database import Database
from cds_service.explanations import Explanations, fresh_key
from cds_service.hooks.feedback import Item
from cds_service.records import Records
from cds_service.records.export import audit_event
from cds_service.records.trail import Trail

OLD, NEVER_OLD = datetime(2001, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
CANARY = "Jane Roe"


@dataclass(frozen=True)
class Done:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Type = Callable[..., Done]


@pytest.fixture
def typed(place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    """Runs `cds-service audit …` over this database."""
    monkeypatch.setenv("CDS_DATABASE", place)
    monkeypatch.delenv("CDS_EXPLANATION_KEY", raising=False)

    def run(*words: str, answer: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["cds-service", "audit", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        printed = capsys.readouterr()
        return Done(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    return run


def test_verify_prints_the_rows_and_the_head_that_it_takes_later(typed: Type, records: Records) -> None:
    heads = [records.trail.append(entry(number)) for number in range(3)]
    assert typed("verify") == Done(0, f"3 rows, unbroken.\nhead {heads[2]}\n", "")
    assert typed("verify", "--head", str(heads[1])).code == 0


def test_verify_names_the_first_row_that_does_not_fit(typed: Type, records: Records, place: str) -> None:
    heads = [records.trail.append(entry(number)) for number in range(3)]
    with intruder(place) as connection:
        connection.execute(text("DELETE FROM audit WHERE number = 3"))
    cut = "The audit trail is broken: row 3 is missing, and all that came after it: there was a row 3.\n"
    assert typed("verify", "--head", str(heads[2])) == Done(1, "", cut)
    with intruder(place) as connection:
        connection.execute(text("UPDATE audit SET mode = 'shadow' WHERE number = 2"))
    broken = "The audit trail is broken: row 2 was changed.\n"
    assert typed("verify") == Done(1, "", broken)
    refused = typed("prune", "--older-than", "1d", "--yes")
    assert refused == Done(1, "", "Nothing was removed. The audit trail is broken: row 2 was changed.\n")
    assert records.feedback.all() == []
    assert len(list(records.trail.entries())) == 2


def test_a_head_that_is_none_is_one_line(typed: Type) -> None:
    done = typed("verify", "--head", CANARY)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert CANARY not in done.err


def test_a_database_that_is_not_there_is_one_line_and_is_not_made(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDS_DATABASE", str(tmp_path / "typo.sqlite3"))
    for words in (["verify"], ["export"], ["prune", "--older-than", "1d", "--yes"]):
        assert typed(*words) == Done(1, "", "CDS_DATABASE: there is no database\n")
    assert not (tmp_path / "typo.sqlite3").exists()


def test_a_database_that_cannot_be_read_is_one_line(typed: Type, records: Records, place: str) -> None:
    records.trail.append(entry())
    with intruder(place) as connection:
        connection.execute(text("ALTER TABLE audit RENAME COLUMN cards TO cards_"))
    done = typed("verify")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("CDS_DATABASE: ")


# ---- What is only read


def test_verify_and_export_leave_a_database_of_an_earlier_version_to_it(typed: Type, place: str) -> None:
    """It may be the one beside a service that still runs, or the backup that is gone back to."""
    make_earlier(place, "0002")
    with closing(Database.at(place, "CDS_DATABASE", 5)) as database:
        head = Trail(database).append(entry())

    assert typed("verify") == Done(0, f"1 row, unbroken.\nhead {head}\n", "")
    assert json.loads(typed("export").out)["hash"] == head.hash
    assert version_of(place) == "0002"
    Records.at(place).close()
    assert version_of(place) != "0002"
    assert typed("verify", "--head", str(head)).code == 0


def test_a_database_of_before_there_was_a_trail_is_one_line_and_gets_none(typed: Type, place: str) -> None:
    make_earlier(place, "0001")
    for words in (["verify"], ["export"]):
        assert typed(*words) == Done(1, "", "CDS_DATABASE: the database holds no audit trail\n")
    assert version_of(place) == "0001"


def test_a_database_of_a_later_version_is_one_line(typed: Type, records: Records, place: str) -> None:
    records.trail.append(entry())
    with connected(place) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for words in (["verify"], ["export"]):
        newer = "CDS_DATABASE: the database is newer than this version of the service\n"
        assert typed(*words) == Done(1, "", newer)


def test_a_server_that_takes_no_writes_is_enough(
    typed: Type, new_postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_postgres()
    with closing(Records.at(url)) as records:
        head = records.trail.append(entry())
    make_read_only(url)
    monkeypatch.setenv("CDS_DATABASE", url)
    assert typed("verify") == Done(0, f"1 row, unbroken.\nhead {head}\n", "")


@pytest.mark.parametrize("writes", [False, True], ids=["at rest", "while the service has it open"])
def test_a_file_that_one_may_not_write_is_enough(tmp_path: Path, writes: bool) -> None:
    """As an auditor's: neither the file nor its folder takes a write. Root is held to that without its privileges."""
    folder = tmp_path / "evidence"
    folder.mkdir()
    file = folder / "records.sqlite3"
    records = Records.at(str(file))
    head = records.trail.append(entry())
    if not writes:
        records.close()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    file.chmod(0o444)
    folder.chmod(0o555)
    plain = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    command = [*plain, sys.executable, "-m", "cds_service", "audit", "verify"]
    environment = {**os.environ, "CDS_DATABASE": str(file)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    refused = subprocess.run([*plain, "touch", str(folder / "new")], capture_output=True, check=False)
    folder.chmod(0o755)

    assert Done(done.returncode, done.stdout, done.stderr) == Done(0, f"1 row, unbroken.\nhead {head}\n", "")
    assert refused.returncode != 0, "the folder took a write"
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name: after[name] for name in after if not name.endswith("-shm")} == {
        name: before[name] for name in before if not name.endswith("-shm")
    }
    records.close()


def version_of(place: str) -> str:
    with connected(place) as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


# ---- Export


def test_whoever_has_the_lines_can_verify_the_chain_without_this_program(typed: Type, records: Records) -> None:
    for number in range(3):
        records.trail.append(entry(number))
    done = typed("export")
    assert (done.code, done.err) == (0, "")
    previous = "0" * 64
    for line in done.out.splitlines():
        row = json.loads(line)
        hash_ = row.pop("hash")
        assert row["previous"] == previous
        written = json.dumps(row, sort_keys=True, separators=(",", ":"))
        assert hash_ == hashlib.sha256(written.encode()).hexdigest()
        assert line == json.dumps({**row, "hash": hash_}, sort_keys=True, separators=(",", ":"))
        previous = hash_
    assert previous == records.trail.verify().head.hash


def test_export_since_an_instant(typed: Type, records: Records) -> None:
    for number in range(3):
        records.trail.append(entry(number))
    since = (NOW + timedelta(minutes=1)).isoformat()
    assert [json.loads(line)["number"] for line in typed("export", "--since", since).out.splitlines()] == [2, 3]
    odd = typed("export", "--since", "2026-11-23")
    assert (odd.code, odd.err.startswith("--since 2026-11-23: not an instant with a zone")) == (1, True)


def test_a_format_that_is_none_is_one_line(typed: Type) -> None:
    assert typed("export", "--format", "csv") == Done(1, "", "--format is none of ndjson, fhir.\n")


VARIETY: list[dict[str, Any]] = [
    {},
    {"user": None, "issuer": ""},
    {"outcome": "nothing", "status": None, "criteria": (), "topics": (), "cards": ()},
    {"outcome": "failed", "mode": "shadow", "hook_instance": f"opaque-{'0' * 16}"},
    {"outcome": "unavailable", "hook": "patient-view", "service": "ppd-chart-review"},
]


def test_each_row_is_a_valid_audit_event(typed: Type, records: Records) -> None:
    for different in VARIETY:
        records.trail.append(entry(**different))
    done = typed("export", "--format", "fhir")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, len(events)) == (0, len(VARIETY))
    for event in events:
        assert json.loads(AuditEvent.model_validate(event).model_dump_json()) == event
    assert [event["outcome"] for event in events] == ["0", "0", "0", "8", "4"]
    assert [len(event["agent"]) for event in events] == [2, 1, 2, 2, 2]


def test_an_audit_event_says_what_the_row_says() -> None:
    records = Records.in_memory()
    records.trail.append(entry())
    (row,) = records.trail.entries()
    event = audit_event(row)
    assert (event["type"]["code"], event["action"], event["recorded"]) == ("rest", "E", row["at"])
    assert event["type"]["system"] == "http://terminology.hl7.org/CodeSystem/audit-event-type"
    client, user = event["agent"]
    assert (client["requestor"], client["who"]["identifier"]["value"]) == (True, row["issuer"])
    assert (user["requestor"], user["who"]["identifier"]["value"]) == (False, row["user_pseudonym"])
    patient, call, knowledge, advice = event["entity"]
    assert patient["what"]["identifier"]["value"] == row["patient_pseudonym"]
    assert call["what"]["identifier"]["value"] == row["hook_instance"]
    assert knowledge["what"]["identifier"]["value"] == row["knowledge"]
    told = [(one["type"], one["valueString"]) for one in advice["detail"]]
    assert told == [
        ("mode", "live"),
        ("outcome", "advised"),
        ("status", "eligible"),
        ("number", "1"),
        ("previous", row["previous"]),
        ("hash", row["hash"]),
        ("criterion", "C01"),
        ("criterion", "R02"),
        ("topic", "KETOPTION"),
        ("topic", "PPDRISK"),
        ("card", row["cards"][0]),
        ("card", row["cards"][1]),
    ]


def test_a_row_that_was_tampered_with_is_exported_as_it_is(typed: Type, records: Records, place: str) -> None:
    records.trail.append(entry())
    with intruder(place) as connection:
        connection.execute(text("UPDATE audit SET outcome = 'odd', at = 'no time'"))
    assert json.loads(typed("export").out)["at"] == "no time"
    assert json.loads(typed("export", "--format", "fhir").out)["outcome"] == "8"


# ---- Prune


def filled(records: Records) -> None:
    """Of each two that are old, and one that never will be."""
    for at in (OLD, OLD + timedelta(days=1), NEVER_OLD):
        records.trail.append(entry((at - NOW).total_seconds() / 60))
        records.feedback.keep("t", "s", [Item(f"c{at}", "accepted")], at, comments=False)
        records.tokens.spend("issuer", f"j{at}", at, OLD)


def test_prune_removes_what_is_old_from_each_and_says_how_much(typed: Type, records: Records) -> None:
    filled(records)
    head = records.trail.verify().head
    done = typed("prune", "--older-than", "180d", "--yes")
    assert done == Done(0, "audit 2\nfeedback 2\ntokens 2\n", "")
    assert typed("verify", "--head", str(head)).out == f"1 row, unbroken.\nhead {head}\n"
    assert typed("prune", "--older-than", "180d", "--yes").out == "audit 0\nfeedback 0\ntokens 0\n"
    assert len(records.feedback.all()) == 1


@pytest.mark.parametrize(("answer", "gone"), [("n\n", False), ("\n", False), ("", False), ("y\n", True)])
def test_without_yes_it_asks_first(typed: Type, records: Records, answer: str, gone: bool) -> None:
    filled(records)
    done = typed("prune", "--older-than", "180d", answer=answer)
    assert "180 days" in done.out
    assert done.code == int(not gone)
    assert len(list(records.trail.entries())) == (1 if gone else 3)
    assert len(records.feedback.all()) == (1 if gone else 3)


@pytest.mark.parametrize("age", ["180", "0d", "-1d", "1.5d", "1w", "", "d", "100000d", "１d"])
def test_an_age_that_is_no_number_of_days_removes_nothing(typed: Type, records: Records, age: str) -> None:
    filled(records)
    done = typed("prune", f"--older-than={age}", "--yes")
    assert done == Done(1, "", "--older-than: not a number of days, such as 180d.\n")
    assert len(records.feedback.all()) == 3


def test_explanations_that_have_expired_go_too_where_they_are_kept(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: Records
) -> None:
    key, where = fresh_key(), str(tmp_path / "e.sqlite3")
    monkeypatch.setenv("CDS_EXPLANATION_KEY", key)
    monkeypatch.setenv("CDS_EXPLANATIONS", where)
    with closing(Explanations.at(where, key, "https://cds.example.org")) as explanations:
        for at in (OLD, NEVER_OLD):
            explanations.keep(explanations.place(str(at), at), "A heading", [], OLD)
    records.trail.append(entry())
    assert typed("prune", "--older-than", "9999d", "--yes").out.endswith("explanations 1\n")
    assert typed("prune", "--older-than", "9999d", "--yes").out.endswith("explanations 0\n")
