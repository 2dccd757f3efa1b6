"""The Bruno collection that an integrator opens, sent to a service that really listens."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from cds_service.advisor import Advisor
from cds_service.web.app import create_app
from cds_service.web.demo import Demo

ROOT = Path(__file__).resolve().parents[2]
BRUNO = ROOT / "bruno"
NPM = Path(__file__).parent / "npm"
SITE = """
name = "Example hospital"
country = "CN"

[protocol]
id = "esketamine-iv"
approval = "PT-2026-14"
strength_mg_per_ml = 5
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the service listens, as a process of its own, with the site of the README."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "site.toml").write_text(SITE)
    command = ["serve", "--insecure", "--site", str(folder / "site.toml"), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cds_service", *command],
        env={**os.environ, "CDS_DATABASE": str(folder / "records.sqlite3")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        lines = (line for line in process.stdout or () if "CDS Hooks at " in line)
        yield next(lines).split(" at ")[1].strip().removesuffix("/cds-services")
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bruno's reader of its files, exactly as locked, in a folder of its own."""
    if not (shutil.which("node") and shutil.which("npm")) and os.environ.get("CI") != "true":
        pytest.skip("Node or npm is missing: the Bruno collection is not sent")
    folder = tmp_path_factory.mktemp("npm")
    for file in NPM.iterdir():
        shutil.copy(file, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", "cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return folder


def sent(sender: Path, collection: Path, base: str) -> tuple[list[dict[str, Any]], str]:
    """What became of each request, and what the sender had against the collection."""
    command = ["node", "send.mjs", str(collection), base]
    done = subprocess.run(command, cwd=sender, capture_output=True, text=True, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_every_request_gets_the_answer_that_the_collection_tells_of(
    sender: Path, base: str, record_property: Callable[[str, object], None]
) -> None:
    told, complaint = sent(sender, BRUNO, base)

    asserted = sum(request["asserted"] for request in told)
    record_property("safety", f"Bruno: {len(told)} requests were sent, and {asserted} asserts hold.")
    assert complaint == ""
    assert {request["name"]: request["failed"] for request in told if request["failed"]} == {}
    assert [request["seq"] for request in told] == list(range(1, len(told) + 1))
    assert len(told) == len(list(BRUNO.glob("[0-9]*.bru"))) == 7


def test_a_wrong_answer_and_a_block_that_nobody_understands_would_be_noticed(
    sender: Path, base: str, tmp_path: Path
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(BRUNO, spoilt)
    for path in spoilt.glob("[0-9]*.bru"):
        path.unlink()
    discovery = (BRUNO / "1 What is offered.bru").read_text(encoding="utf-8")
    (spoilt / "1 wrong.bru").write_text(discovery.replace("eq 5", "eq 6"))
    (spoilt / "2 odd.bru").write_text(discovery + "\ntests {\n  test('passes', () => {});\n}\n")
    told, complaint = sent(sender, spoilt, base)

    assert [request["failed"] for request in told] == [["res.body.services.length: eq 6, but it is 5"]]
    assert "2 odd.bru: tests is not understood here" in complaint


def test_no_date_in_the_collection_stands_still() -> None:
    for path in BRUNO.glob("*.bru"):
        assert not re.search(r"\d{4}-\d{2}-\d{2}", path.read_text(encoding="utf-8")), path.name


def test_the_first_card_of_a_newcomer_is_there_over_http(advisor: Advisor, now: datetime) -> None:
    """What `.ci/first_card.py` does once `make demo` has begun to listen. It measures the seconds by itself."""
    spec = importlib.util.spec_from_file_location("first_card", ROOT / ".ci" / "first_card.py")
    assert spec is not None
    assert spec.loader is not None
    newcomer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(newcomer)
    server = make_server("127.0.0.1", 0, create_app(advisor, demo=Demo(lambda: now)), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert "EPDS" in newcomer.first_card(f"http://127.0.0.1:{server.server_port}/demo")
    finally:
        server.shutdown()
        server.server_close()
