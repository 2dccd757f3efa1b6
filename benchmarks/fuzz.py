"""
Makes as many spoilt calls as are asked for, and says how they went: for a long run in the background.

    .venv/bin/python benchmarks/fuzz.py 200000 --seed 1

Ends with 1 where an answer was not as it must be, and names the numbers of those calls: with the same seed they come
again. What is checked stands in tests/safety/fuzzing.py.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "safety")]

from fuzzing import Fuzz, resident_mb  # noqa: E402  (they lie beside the tests)

_WARM = 1_000
_EVERY = 5_000
_MOST_NAMED = 20


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("calls", type=int)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--first", type=int, default=0, help="the number of the first call")
    told = asked.parse_args()
    logging.disable(logging.CRITICAL)
    fuzz, failed, begun, warm = Fuzz(told.seed), [], time.monotonic(), resident_mb()
    for done in range(told.calls):
        number = told.first + done
        try:
            fuzz.ask(number)
        except Exception as error:  # an answer that is wrong, or a client that broke down over it
            failed.append(number)
            if len(failed) <= _MOST_NAMED:
                print(f"call {number}: {type(error).__name__}: {str(error)[:200]}", flush=True)
        if done + 1 == _WARM:
            warm = resident_mb()
        if (done + 1) % _EVERY == 0:
            rate = (done + 1) / (time.monotonic() - begun)
            print(f"{done + 1} calls, {rate:.0f}/s, {len(failed)} failed, {resident_mb():.1f} MB", flush=True)
    print(f"{told.calls} calls from {told.first} with seed {told.seed} in {time.monotonic() - begun:.0f} s")
    print(", ".join(f"{name}: {count}" for name, count in sorted(fuzz.met.items())))
    print(f"resident: {warm:.1f} MB after {min(_WARM, told.calls)} calls, {resident_mb():.1f} MB at the end")
    print(f"failed: {len(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
