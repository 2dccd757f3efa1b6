"""
What became of the cards, and no patient words.

What was answered with 200 has been committed. Each outcome counts once, however often an EHR reports it, whatever the
process that hears it: the database itself refuses the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import delete, select

from cds_service.database import Database, or_unavailable
from cds_service.hooks.feedback import Item
from cds_service.records.schema import FEEDBACK

_STORE: Final = "feedback"
_KEY: Final = itemgetter("card", "suggestion", "outcome")


@dataclass(frozen=True, slots=True)
class Kept:
    """How many outcomes are new, and how many were known."""

    kept: int
    repeated: int


class FeedbackStore:
    """The outcomes of cards. Each method raises StoreUnavailable (503) when the database cannot be had."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, tenant: str, service: str, items: Iterable[Item], received_at: datetime, *, comments: bool) -> Kept:
        """
        Keeps what is new, all of it or nothing. When this returns, it has been committed.

        `comments`: keep free text, too.
        """
        # Always in the same order: of two batches that hold the same cards, PostgreSQL would refuse one as a deadlock.
        rows = sorted((feedback_row(tenant, service, item, received_at, comments=comments) for item in items), key=_KEY)
        if not rows:
            return Kept(0, 0)
        insert = self._database.insert(FEEDBACK).on_conflict_do_nothing().returning(FEEDBACK.c.id)
        with or_unavailable(_STORE, "kept"), self._database.transaction() as connection:
            kept = len(connection.execute(insert, rows).all())
        return Kept(kept, len(rows) - kept)

    def all(self) -> list[dict[str, Any]]:
        """All that was kept, batch after batch."""
        with or_unavailable(_STORE, "read"), self._database.snapshot() as connection:
            rows = connection.execute(select(FEEDBACK).order_by(FEEDBACK.c.id)).mappings().all()
        return [{name: _in_utc(value) for name, value in row.items()} for row in rows]

    def prune(self, before: datetime) -> int:
        """Removes what was received before that instant. Says how many rows."""
        with or_unavailable(_STORE, "removed"), self._database.transaction() as connection:
            return connection.execute(delete(FEEDBACK).where(FEEDBACK.c.received_at < before.astimezone(UTC))).rowcount


def feedback_row(
    tenant: str, service: str, item: Item, received_at: datetime, *, comments: bool
) -> dict[str, str | datetime | None]:
    """A row of the table."""
    return {
        "tenant": tenant,
        "service": service,
        "card": item.card,
        "suggestion": item.suggestion or "",
        "outcome": item.outcome,
        "reason_system": item.reason.system,
        "reason_code": item.reason.code,
        "comment": item.reason.comment if comments else None,
        "outcome_at": item.at,
        "received_at": received_at.astimezone(UTC),
    }


def _in_utc(value: Any) -> Any:
    """SQLite forgets the zone of a time. All of ours are in UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
