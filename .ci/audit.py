"""
Has anybody published a hole in a package that is locked here? pip-audit asks PyPI, and this judges what it heard.

    python .ci/audit.py requirements.lock

A package that could not be looked up counts as a hole: pip-audit alone says "No known vulnerabilities found" even when
it has looked up none. So an old package with a hole that everybody knows is asked about first. If even that one passes
for sound, the advisories are out of reach: then there is one line, NOT DONE, and the exit code is 3. It is 1 for a hole
or a package that was skipped, and 0 when each package was looked up and nothing is known against it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

KNOWN_HOLE: Final = "jinja2==2.10"  # CVE-2019-10906, since 2019
FOUND, NOTHING_KNOWN, NOT_DONE = 1, 0, 3
_PATIENCE_SECONDS: Final = 300
Report = list[dict[str, Any]]  # a package each, with its `vulns`, or with a `skip_reason`


@dataclass(frozen=True, slots=True)
class Verdict:
    """The exit code, and what to print."""

    code: int
    lines: tuple[str, ...]


def verdict(of_the_known_hole: Report | None, of_ours: Report | None, locked: Collection[str]) -> Verdict:
    """What follows from two reports, where None is one that could not be made. `locked`: the names that are ours."""
    if not any(package.get("vulns") for package in of_the_known_hole or ()):
        said = f"NOT DONE: {KNOWN_HOLE} passes for sound, so the advisories are out of reach from here."
        return Verdict(NOT_DONE, (said,))
    if of_ours is None:
        return Verdict(FOUND, ("pip-audit has made no report.",))
    missing = sorted(set(locked) - {canonicalize_name(package["name"]) for package in of_ours})
    lines = [
        *(f"{name}: not in the report" for name in missing),
        *(f"{p['name']}: not looked up: {p['skip_reason']}" for p in of_ours if "skip_reason" in p),
        *(
            f"{p['name']} {p['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
            for p in of_ours
            for hole in p.get("vulns", ())
        ),
    ]
    if lines:
        return Verdict(FOUND, tuple(lines))
    return Verdict(NOTHING_KNOWN, (f"{len(locked)} packages were looked up, and nothing is known against any.",))


def names_in(lock: str) -> list[str]:
    """What a lock file installs on this machine: some lines are for others."""
    lines = [line.rstrip(" \\") for line in lock.splitlines() if "==" in line and not line.startswith(("#", " "))]
    ours = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate()]
    return [canonicalize_name(one.name) for one in ours]


def asked(*arguments: str) -> Report | None:
    """What pip-audit says. It ends with 1 both for a hole and for a failure: the report tells the two apart."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
    )
    try:
        report: Report = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return report


def main(locks: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.txt")
        known.write_text(f"{KNOWN_HOLE}\n")
        first = asked("--no-deps", "-r", str(known))
    ours = [name for lock in locks for name in names_in(Path(lock).read_text(encoding="utf-8"))]
    reached = verdict(first, None, ours).code != NOT_DONE
    heard = asked("--require-hashes", *(f"--requirement={lock}" for lock in locks)) if reached else None
    said = verdict(first, heard, ours)
    print("\n".join(said.lines))
    return said.code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
