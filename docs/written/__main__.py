"""Writes the pages that follow from the code: `make docs`. With `--check` it only says which are out of date."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(DOCS))

from written import medicine, running, settings  # noqa: E402  (they lie beside this file)

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "reference/settings.md": settings.environment,
    "reference/site-file.md": settings.site_file,
    "reference/tenants-file.md": settings.tenants_file,
    "reference/command-line.md": running.command_line,
    "reference/doctor.md": running.doctor,
    "reference/metrics.md": running.metrics_page,
    "reference/log.md": running.events_page,
    "reference/addresses.md": running.addresses,
    "reference/services.md": medicine.services,
    "reference/cards.md": medicine.cards,
    "reference/rules.md": medicine.rules,
    "explanation/evidence.md": medicine.evidence,
}


def outdated() -> list[str]:
    """The pages that are not what the code would have them say."""
    return [name for name, write in PAGES.items() if _now(DOCS / name) != write()]


def _now(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main() -> None:
    """Writes them, or checks them."""
    if sys.argv[1:] == ["--check"]:
        old = outdated()
        sys.exit(f"out of date, run `make docs`: {', '.join(old)}" if old else 0)
    for name, write in PAGES.items():
        (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / name).write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
