"""What the doctor says: nothing of a setup that is well, and of each planted mistake the one line that mends it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import responses
from conftest import NOON
from mistakes import BASE, FHIR, MISTAKES, NAME, UNSEEN, WELL, Change, Mistake, World, called, chart, everything, site
from sqlalchemy import Connection, create_engine, text

from cds_service.__main__ import main
from cds_service.doctor import CHECKS, Diagnosis, Finding, Level, examine
from cds_service.doctor import setup as doctor_setup
from cds_service.doctor.papers import known_settings
from cds_service.doctor.refusals import REFUSALS
from cds_service.knowledge import Knowledge
from cds_service.records import Records

ROOT = Path(__file__).resolve().parents[1]


def tree(folder: Path) -> dict[str, tuple[bytes, float]]:
    """Every file as it is. In SQLite's shared memory, while somebody has it open, readers note that they read."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime)
        if path.is_file() and not path.name.endswith("-shm")
        else (b"", 0.0)
        for path in folder.rglob("*")
    }


def wrong(found: Diagnosis) -> list[Finding]:
    return [finding for finding in found.findings if finding.level is not Level.PASS]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as a start leaves it. Made once: each change of its tables waits for the disk."""
    path = tmp_path_factory.mktemp("migrated") / "records.sqlite3"
    Records.at(str(path)).close()
    return path


@pytest.fixture
def world(tmp_path: Path, knowledge: Knowledge, migrated: Path) -> Iterator[World]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as net:
        made = World(tmp_path, net, knowledge.hash)
        made.furnish()
        made.write("long.txt", "no database at all, and long enough to be looked at as one " * 20)
        shutil.copyfile(migrated, tmp_path / "records.sqlite3")
        for name in ("records.sqlite3", "long.txt"):
            (tmp_path / name).chmod(0o600)
        yield made


def examined(world: World) -> Diagnosis:
    """What the doctor says. It may change no file, and every line is one."""
    before = tree(world.folder)
    found = examine(world.setup())
    assert tree(world.folder) == before, "the doctor changed something"
    for line in found.lines:
        assert line.isprintable()
        assert NAME not in line
    return found


# ---- Setups that are well


@pytest.mark.parametrize("prepare", WELL.values(), ids=WELL.keys())
def test_of_a_setup_that_is_well_nothing_is_said(prepare: Change, world: World) -> None:
    prepare(world)

    found = examined(world)

    assert [finding.line for finding in wrong(found)] == []
    assert not found.failed
    assert len(found.findings) + len(found.not_looked_at) == len(CHECKS)


def test_where_everything_is_named_every_check_looks(world: World) -> None:
    """So that no check passes because it never looks."""
    everything(world)

    assert examined(world).not_looked_at == ()


@pytest.mark.parametrize(("change", "unseen"), UNSEEN.values(), ids=UNSEEN.keys())
def test_what_could_not_be_seen_is_not_called_well(change: Change, unseen: set[str], world: World) -> None:
    change(world)

    found = examined(world)

    assert not {one.check for one in found.findings if one.level is Level.PASS} & unseen
    assert unseen <= {one.check for one in wrong(found)} | {check for check, _ in found.not_looked_at}


# ---- Mistakes, one at a time


@pytest.mark.parametrize("mistake", MISTAKES, ids=[mistake.what for mistake in MISTAKES])
def test_a_mistake_gets_the_one_line_that_mends_it(mistake: Mistake, world: World) -> None:
    mistake.after(world)
    held = mistake.plant(world)

    found = examined(world)
    if isinstance(held, socket.socket):
        held.close()

    assert len(wrong(found)) == 1, [finding.line for finding in wrong(found)]
    (finding,) = wrong(found)
    assert (finding.check, finding.level) == (mistake.check, mistake.level), finding.line
    assert mistake.says in finding.line
    assert finding.mend
    assert found.failed == (mistake.level is Level.FAIL)


def test_every_check_has_a_mistake_that_it_finds(record_property: Callable[[str, object], None]) -> None:
    found = {mistake.check for mistake in MISTAKES}
    told_below = {"knowledge", "overdue", "slow-server"}

    assert {check.id for check in CHECKS} - found == told_below
    assert len({mistake.what for mistake in MISTAKES}) == len(MISTAKES)
    record_property("safety", f"doctor: {len(MISTAKES)} planted mistakes, each found by the one right line")


# ---- What no folder can be made to show


def test_a_review_that_is_overdue_is_named_and_stops_nothing(world: World) -> None:
    late = replace(world.setup(), clock=lambda: NOON + timedelta(days=3650))

    (finding,) = wrong(examine(late))

    assert (finding.check, finding.level) == ("overdue", Level.WARN)
    assert "more" in finding.line


def test_knowledge_that_is_damaged_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = doctor_setup.shipped()
    broken = replace(shipped, defects=("tables/risk.toml: criterion: r1: no such fact",))
    monkeypatch.setattr(doctor_setup, "shipped", lambda: broken)

    (finding,) = wrong(examined(world))

    assert (finding.check, finding.level) == ("knowledge", Level.FAIL)
    assert "tables/risk.toml" in finding.line


def test_a_server_that_takes_longer_than_the_site_allows_is_named(world: World) -> None:
    """It takes its time; how long exactly depends on this machine."""
    nothing = {"resourceType": "Bundle", "type": "searchset"}
    chart(Condition=(200, lambda _: time.sleep(0.06) or nothing))(world)
    site("budget_ms = 3000", "budget_ms = 50")(world)

    found = [(finding.check, finding.level) for finding in wrong(examined(world))]

    assert found == [("budget", Level.WARN), ("slow-server", Level.WARN)]


def test_a_check_that_breaks_is_one_line_and_the_others_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: str) -> None:
        raise RuntimeError(NAME)

    monkeypatch.setattr("cds_service.doctor.machine.state_of", broken)

    found = examined(world)

    assert [finding.check for finding in wrong(found)] == ["database", "migrations"]
    assert all("broke: RuntimeError at" in finding.line for finding in wrong(found))
    assert NAME not in "".join(found.lines)


def test_what_a_server_sends_cannot_command_a_terminal(world: World) -> None:
    called(world)
    world.hears(f"{BASE}/version", {"knowledge": "\x1b[2J\x07sha"})
    (finding,) = wrong(examined(world))
    assert finding.line.isprintable()


def test_the_token_goes_to_the_fhir_server_and_nowhere_else(world: World) -> None:
    everything(world)
    world.options["token"] = "token-Zebrafinch4711"  # noqa: S105  (of nobody)

    found = examined(world)

    held = [call.request.url for call in world.net.calls if "Zebrafinch" in str(call.request.headers)]
    assert len(held) > 10
    assert all(str(url).startswith(f"{FHIR}/") for url in held)
    assert "Zebrafinch" not in "".join(found.lines) + json.dumps(found.as_json) + repr(world.setup())


# ---- Where the start writes


@pytest.fixture
def live(world: World) -> Iterator[World]:
    """The records are open in another place, as while the service runs."""
    records = Records.at(world.environment["CDS_DATABASE"])
    yield world
    records.close()


def test_a_service_that_runs_is_looked_at_and_left_alone(live: World) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    live.options["port"] = taken.getsockname()[1]
    live.hears(f"http://127.0.0.1:{live.options['port']}/version", {"cdsHooks": "2.0"})

    found = examined(live)
    taken.close()

    assert wrong(found) == []


@contextmanager
def intruder(place: str) -> Iterator[Connection]:
    """Somebody else with a password to that database."""
    engine = create_engine(place.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_postgresql_database_is_looked_at_and_left_alone(world: World, place: str) -> None:
    world.environment["CDS_DATABASE"] = place
    assert wrong(examined(world)) == []
    with intruder(place) as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).scalar() == 0
    Records.at(place).close()
    assert wrong(examined(world)) == []
    for version, expected in (("0001", ("migrations", Level.WARN)), ("9999", ("database", Level.FAIL))):
        with intruder(place) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        (finding,) = wrong(examined(world))
        assert (finding.check, finding.level) == expected
    with intruder(place) as connection:
        name = str(connection.execute(text("SELECT current_database()")).scalar())
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    (finding,) = wrong(examined(world))
    assert (finding.check, finding.level) == ("database", Level.FAIL)
    assert "not written" in finding.line


# ---- As it is typed


def test_the_command_prints_a_line_for_each_check_and_ends_with_what_it_found(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_noon = ("--now", NOON.isoformat(), "--tenants", str(world.folder / "tenants.toml"), "--port", "0")

    def run(*more: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cds-service", "doctor", *at_noon, *more])
        monkeypatch.setattr("os.environ", world.environment)
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        assert told.err == ""
        return int(end.value.code or 0), told.out

    code, out = run()
    assert code == 0
    assert out.splitlines()[-1].startswith("0 failed, 0 warned,")
    assert sum(line.startswith("PASS ") for line in out.splitlines()) + out.count(",") > 30
    world.environment["CDS_AUDIT_KEY"] = "secret"
    code, out = run("--json")
    assert code == 1
    told = json.loads(out)
    assert told["failed"]
    (finding,) = [one for one in told["findings"] if one["level"] == "FAIL"]
    assert finding["check"] == "audit-key"
    assert set(finding) == {"check", "level", "where", "what", "mend"}
    assert {one["check"] for one in told["notLookedAt"]} >= {"prefetch", "audience"}


# ---- The words of the start


def test_every_setting_that_is_read_is_known_and_no_other() -> None:
    code = (ROOT / "cds_service" / "settings.py").read_text(encoding="utf-8")

    assert known_settings() == set(re.findall(r"\"(CDS_[A-Z_]+)\"", code))


def test_every_word_of_a_refusal_that_the_doctor_waits_for_is_said_somewhere_in_the_start() -> None:
    """If the start words a refusal otherwise, its mend would be lost: then this fails."""
    rooms = [
        "settings",
        "rendering/languages",
        "tenants",
        "public_keys",
        "clinical/approval",
        "ehr/gathering",
        "ehr/servers",
        "knowledge/loader",
    ]
    code = "".join((ROOT / "cds_service" / f"{room}.py").read_text(encoding="utf-8") for room in rooms)
    plain = re.sub(r"\{[^}\n]*\}|\"\s*f?\"", "", code)
    names = {"ehr.servers", "ehr.questionnaires", "ehr.budget_ms"}  # as pydantic joins them
    waited_for = [words for words, *_ in REFUSALS if words not in names]

    assert [words for words in waited_for if words.strip().rstrip(".") not in plain] == []
