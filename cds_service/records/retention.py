"""How long what is remembered stays: what is older than the hospital wants goes, from each of the records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cds_service.records import Records


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows went."""

    feedback: int
    audit: int
    tokens: int


def prune(records: Records, older_than: timedelta, now: datetime) -> Pruned:
    """
    Removes feedback and audit rows older than that, and tokens that have expired. Raises StoreUnavailable.

    What was removed by then stays removed.
    """
    before = now - older_than
    return Pruned(records.feedback.prune(before), records.trail.prune(before, now), records.tokens.prune(now))
