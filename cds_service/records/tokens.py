"""
Which tokens were shown to us before: each opens the door once, however many stand behind it with a copy.

The database refuses the second, so it holds for all threads, processes and replicas that share it. Kept is a digest:
whoever reads the table learns no issuer and no token.

A token is not waited for: the row that tells what was advised, or the feedback that it brought, takes it along to the
disk before anything is answered. The token of a call that leaves no row, since it was none of our business, may be
forgotten when the power fails in the same moment.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete

from cds_service.database import Database, or_unavailable
from cds_service.errors import StoreUnavailable
from cds_service.records.schema import SPENT_TOKEN

_STORE: Final = "a token"
_EVERY: Final = timedelta(minutes=10)
# The clock of a replica may go ahead. What it takes for expired must be so for all of them.
_MARGIN: Final = timedelta(hours=1)


class Tokens:
    """The tokens that were spent. Each method raises StoreUnavailable (503) when the database cannot be had."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = database.insert(SPENT_TOKEN).on_conflict_do_nothing().returning(SPENT_TOKEN.c.digest)
        self._spend = database.statement(insert)
        self._tidied_at: datetime | None = None

    def spend(self, issuer: str, jti: str, until: datetime, now: datetime) -> bool:
        """
        True the first time only. When this returns, it has been committed: a process that dies now has spent it.

        `until`: the instant from which the token would be refused as expired, leeway included. It is remembered till
        then, and for an hour more.
        """
        row = {"digest": digest_of(issuer, jti), "until": math.ceil(until.timestamp())}
        with or_unavailable(_STORE, "checked"), self._database.transaction(may_wait=True) as connection:
            first = self._spend.run(connection, row).fetchone() is not None
        self._tidy(now)
        return first

    def prune(self, now: datetime) -> int:
        """Removes what expired more than an hour ago. Says how many rows."""
        expired = SPENT_TOKEN.c.until < math.floor((now - _MARGIN).timestamp())
        with or_unavailable(_STORE, "removed"), self._database.transaction() as connection:
            return connection.execute(delete(SPENT_TOKEN).where(expired)).rowcount

    def _tidy(self, now: datetime) -> None:
        """Now and then. The token has been spent by now: that it went wrong is no reason to turn the caller away."""
        if self._tidied_at is None or now - self._tidied_at >= _EVERY:
            self._tidied_at = now
            with suppress(StoreUnavailable):
                self.prune(now)


def digest_of(issuer: str, jti: str) -> str:
    """SHA-256 over both, in hexadecimal. As JSON, so that no other pair has the same text."""
    return hashlib.sha256(json.dumps([issuer, jti]).encode()).hexdigest()
