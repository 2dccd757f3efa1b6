"""What a test heard of the log: every record with all that hangs on it, and the events by name."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.events import Event


def all_of(caplog: pytest.LogCaptureFixture) -> str:
    """Every word that was handed to the log. `caplog.text` has the names of the events only, and no fields."""
    return caplog.text + "".join(str(vars(record)) for record in caplog.records)


def events(caplog: pytest.LogCaptureFixture, event: Event) -> list[dict[str, Any]]:
    """The fields of each time that this event was told."""
    return [vars(record)["fields"] for record in caplog.records if vars(record).get("event") is event]
