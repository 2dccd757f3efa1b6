"""Measures, and writes docs/sensitivity.md and docs/images/sensitivity-*.svg. `--women` makes it quicker, for a try."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "tests"), str(_ROOT / "benchmarks")]  # the worked cases' encoder lies beside the tests

from sensitivity.measure import Sizes, measured  # noqa: E402
from sensitivity.report import written  # noqa: E402


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--women", type=int, help="this many in each group, instead of what the report is made with")
    asked.add_argument("--into", type=Path, default=_ROOT / "docs")
    given = asked.parse_args()
    sizes = Sizes(*[given.women] * 3) if given.women else Sizes()
    found = measured(sizes, tell=lambda line: print(line, file=sys.stderr))
    for name, text in written(found).items():
        path = given.into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(text.encode()) / 1000:.0f} kB")


main()
