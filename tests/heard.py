"""What a test heard of the log: every record with all that hangs on it, and the events by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cds_service.events import Event

# When and where it was told, and how long it took: digits that may by chance be those of her weight.
MEASURED = {"created", "msecs", "relativeCreated", "thread", "process", "lineno", "duration_ms"}


def all_of(caplog: pytest.LogCaptureFixture) -> str:
    """Every word that was handed to the log. `caplog.text` has the names of the events only, and no fields."""
    return caplog.text + "".join(str(_said(vars(record))) for record in caplog.records)


def _said(held: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _said(value) if isinstance(value, Mapping) else value
        for name, value in held.items()
        if name not in MEASURED
    }


def events(caplog: pytest.LogCaptureFixture, event: Event) -> list[dict[str, Any]]:
    """The fields of each time that this event was told."""
    return [vars(record)["fields"] for record in caplog.records if vars(record).get("event") is event]
