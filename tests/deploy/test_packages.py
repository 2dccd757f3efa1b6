"""Which packages are installed where, and what is said when nobody can tell whether they are sound."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}[^\n]*)+)", re.MULTILINE)
HASH = re.compile(r"[0-9a-f]{64}")
Pin = tuple[str, str, frozenset[str]]  # a package, its version, and the hashes of its files


def loaded(name: str) -> ModuleType:
    """A program of the folder .ci, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


audit = loaded("audit")


def pins(lock: str) -> frozenset[Pin]:
    """What a lock file pins."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    found = [(name, version, frozenset(HASH.findall(hashes))) for name, version, hashes in PINNED.findall(text)]
    assert len(found) == len(re.findall(r"^[a-z0-9._-]+==", text, re.MULTILINE)), "one has no hash"
    return frozenset(found)


def names(lock: str) -> set[str]:
    return {name for name, _, _ in pins(lock)}


# ---- The lock files


@pytest.mark.parametrize("lock", ["requirements-run.lock", "requirements-build.lock"])
def test_what_runs_and_what_builds_is_what_was_tested(lock: str) -> None:
    part = pins(lock)

    assert part
    assert {name for name, _, _ in part - pins("requirements.lock")} == set()


def test_no_tool_for_tests_or_for_building_runs_in_production() -> None:
    run = names("requirements-run.lock")

    assert {"flask", "psycopg", "psycopg-binary", "waitress"} <= run
    assert run.isdisjoint({"pytest", "hatchling", "playwright", "hypothesis", "pip", "setuptools"})
    assert run.isdisjoint(names("requirements-build.lock"))


# ---- What is known against it

HOLE = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
SOUND = {"name": "flask", "version": "3.1.3", "vulns": []}
SKIPPED = {"name": "waitress", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("known", "ours", "locked", "code", "says"),
    [
        ([HOLE], [SOUND], ["flask"], 0, "1 packages were looked up"),
        ([HOLE], [SOUND, SKIPPED], ["flask", "waitress"], 1, "waitress: not looked up"),
        ([HOLE], [SOUND], ["flask", "waitress"], 1, "waitress: not in the report"),
        ([HOLE], [SOUND, HOLE], ["flask", "jinja2"], 1, "jinja2 2.10: PYSEC-2019-217, mended in 2.10.1"),
        ([HOLE], None, ["flask"], 1, "no report"),
        ([HOLE], [], ["flask"], 1, "flask: not in the report"),
        (None, None, ["flask"], 3, "NOT DONE"),
        ([], [SOUND], ["flask"], 3, "NOT DONE"),
        ([{**SOUND, "name": "jinja2"}], [SOUND], ["flask"], 3, "NOT DONE"),
        ([{"name": "jinja2", "skip_reason": "not found"}], [SKIPPED], ["waitress"], 3, "NOT DONE"),
    ],
    ids=[
        "sound",
        "one was skipped",
        "one is not in the report",
        "a hole",
        "the second report failed",
        "an empty report",
        "no network",
        "an empty answer to what is known",
        "what is known passes for sound",
        "all were skipped",
    ],
)
def test_silence_is_never_taken_for_soundness(
    known: list[Any] | None, ours: list[Any] | None, locked: list[str], code: int, says: str
) -> None:
    verdict = audit.verdict(known, ours, locked)

    assert verdict.code == code
    assert says in verdict.lines[0]
    assert len(verdict.lines) == 1


def test_every_package_that_this_machine_installs_is_asked_about_and_none_that_it_does_not() -> None:
    hashed = " \\\n    --hash=sha256:00\n"
    lock = f"# words\nflask==3.1.3{hashed}colorama==0.4.6 ; sys_platform == 'win32'{hashed}"

    assert audit.names_in(lock) == ["flask"]
    assert len(audit.names_in((ROOT / "requirements.lock").read_text(encoding="utf-8"))) > 100


def test_the_build_script_goes_on_after_not_done_and_after_nothing_else() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (line,) = re.findall(r"^.*audit\.py.*$", script, re.MULTILINE)
    decides = line.split("#")[0].replace(".venv/bin/python .ci/audit.py requirements.lock", "exit_with")

    for code, goes_on in ((0, True), (1, False), (2, False), (3, True)):
        told = f"set -euo pipefail\nexit_with() {{ return {code}; }}\n{decides}\necho went on"
        done = subprocess.run(["/bin/bash", "-c", told], capture_output=True, text=True, check=False)
        assert (done.stdout == "went on\n") is goes_on, code
