"""It stays as it was: the long run of benchmarks/soak.py, for a short time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_signed_calls_at_a_steady_rate_leave_memory_descriptors_and_the_audit_as_they_should_be(
    record_property: Callable[[str, object], None],
) -> None:
    command = [sys.executable, "soak.py", "--seconds", "12", "--rate", "15", "--looks", "6"]

    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    *_, calls, rows, _ = done.stdout.splitlines()
    record_property("safety", f"soak: {calls}; audit: {rows}")
    assert calls.startswith("180 calls, 0 wrong")
    assert rows == "135 rows, unbroken."
