"""
The whole thought behind a card, kept for a day so that a clinician may read on: encrypted, behind a signed link.

It holds what was read in a chart, and nothing else of ours does. So it lives in a store of its own, where nothing can
be read without the key of the settings, and it goes by itself. Losing it costs a link and never a card.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, delete, select
from sqlalchemy.exc import SQLAlchemyError

from cds_service.database import Database
from cds_service.errors import ExplanationGone, SiteUnfit, StoreUnavailable

KEPT_FOR: Final = timedelta(hours=24)
_SCHEMA: Final = MetaData()
# No migrations: what stands here is gone tomorrow. Another shape gets another name.
_TABLE: Final = Table(
    "explanation_1",
    _SCHEMA,
    Column("id", String(32), primary_key=True),
    Column("expires", Integer, nullable=False, index=True),
    Column("sealed", LargeBinary, nullable=False),
)
_SETTING: Final = "CDS_EXPLANATIONS"
_PATIENCE_SECONDS: Final = 1  # a clinician waits
Sections = Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one explanation is to be found: its id, the second (Unix time) at which it goes, and its address."""

    id: str
    expires: int
    url: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    A heading, and under each title its lines. `told_at` is when the thought was thought.

    `language` is the one that it is told in, `title` and `note` what stands above it.
    """

    heading: str
    sections: Sections
    told_at: datetime
    language: str = ""
    title: str = ""
    note: str = ""


class Explanations:
    """
    The explanations of one service. `base` is the URL at which browsers reach it. Safe to use from many threads.

    `key` is a Fernet key: 32 bytes in URL-safe base64. Raises SiteUnfit when it is none.
    """

    def __init__(self, database: Database, key: str, base: str, keep_for: timedelta = KEPT_FOR) -> None:
        try:
            self._fernet = Fernet(key)
            secret = base64.urlsafe_b64decode(key)
        except (ValueError, binascii.Error):
            raise SiteUnfit("CDS_EXPLANATION_KEY: not 32 bytes in URL-safe base64") from None
        # Two keys from one, so that what signs cannot open.
        self._signing = hmac.digest(secret, b"cds-service explanation links", "sha256")
        self.base = base
        self._keep_for = keep_for
        self._database = database
        try:
            with database.transaction() as connection:
                _SCHEMA.create_all(connection)
        except SQLAlchemyError:
            database.close()
            raise SiteUnfit(f"{_SETTING}: the database cannot be opened and written") from None

    @classmethod
    def at(cls, place: str, key: str, base: str) -> Explanations:
        """At a path (SQLite) or a PostgreSQL URL. Raises SiteUnfit; never repeats the URL."""
        return cls(Database.at(place, _SETTING, _PATIENCE_SECONDS), key, base)

    @classmethod
    def in_memory(cls, base: str, keep_for: timedelta = KEPT_FOR) -> Explanations:
        """Under a key that nobody has, forgotten with the process: for the demonstration."""
        return cls(Database.in_memory(), Fernet.generate_key().decode(), base, keep_for)

    def place(self, about: str, now: datetime) -> Place:
        """Where the explanation of this call will be. The same call gets the same place, which nobody can guess."""
        id_ = hmac.new(self._signing, b"id " + about.encode(), hashlib.sha256).hexdigest()[:32]
        expires = int((now + self._keep_for).timestamp())
        signature = self._sign(id_, expires)
        return Place(id_, expires, f"{self.base}/consultations/{id_}?expires={expires}&signature={signature}")

    def keep(
        self, place: Place, heading: str, sections: Sections, now: datetime, above: tuple[str, str, str] = ("", "", "")
    ) -> None:
        """
        Keeps it until it expires, in place of an earlier one of the same call. Raises StoreUnavailable.

        `above` are its language, its title and its note. Nobody waits for the disk: what a loss of power takes along is
        an explanation, and no record.
        """
        written = json.dumps([heading, [[title, list(lines)] for title, lines in sections], *above]).encode()
        sealed = self._fernet.encrypt_at_time(zlib.compress(written, 1), int(now.timestamp()))
        row = {"id": place.id, "expires": place.expires, "sealed": sealed}
        try:
            with self._database.transaction(may_wait=True) as connection:
                gone = (_TABLE.c.expires < int(now.timestamp())) | (_TABLE.c.id == place.id)
                connection.execute(delete(_TABLE).where(gone))
                connection.execute(_TABLE.insert().values(row))
        except SQLAlchemyError:
            raise StoreUnavailable("the explanation cannot be kept now") from None

    def read(self, id_: str, expires: str, signature: str, now: datetime) -> Explanation:
        """What was kept there. Raises ExplanationGone when the link is not ours or has expired; StoreUnavailable."""
        until = int(expires) if expires.isascii() and expires.isdigit() and len(expires) <= 12 else 0
        if not hmac.compare_digest(self._sign(id_, until).encode(), signature.encode("utf-8", "replace")):
            raise ExplanationGone
        if until < now.timestamp():
            raise ExplanationGone
        try:
            with self._database.snapshot() as connection:
                sealed = connection.execute(select(_TABLE.c.sealed).where(_TABLE.c.id == id_)).scalar()
        except SQLAlchemyError:
            raise StoreUnavailable("the explanation cannot be read now") from None
        if sealed is None:
            raise ExplanationGone
        try:
            opened = self._fernet.decrypt(sealed)
            heading, sections, *above = json.loads(zlib.decompress(opened))
            told_at = datetime.fromtimestamp(self._fernet.extract_timestamp(sealed), UTC)
        except (InvalidToken, zlib.error, ValueError):
            raise ExplanationGone from None  # another key, or another hand
        return Explanation(heading, [(title, lines) for title, lines in sections], told_at, *above)

    def prune(self, now: datetime) -> int:
        """Removes what has expired, as `keep` does each time. Says how many. Raises StoreUnavailable."""
        try:
            with self._database.transaction() as connection:
                return connection.execute(delete(_TABLE).where(_TABLE.c.expires < int(now.timestamp()))).rowcount
        except SQLAlchemyError:
            raise StoreUnavailable("the explanations cannot be removed now") from None

    def close(self) -> None:
        """Ends the connections. A later call makes new ones."""
        self._database.close()

    def _sign(self, id_: str, expires: int) -> str:
        return hmac.new(self._signing, f"link {id_} {expires}".encode(), hashlib.sha256).hexdigest()


def fresh_key() -> str:
    """A new key for CDS_EXPLANATION_KEY."""
    return Fernet.generate_key().decode()
