"""
What was advised, to whom and why, as a chain: each row holds the hash of the row before it, so that none can be
changed, removed, inserted or moved unseen.

The hash is SHA-256 over the whole row as canonical JSON, its number and the previous hash included. There is no key in
it: whoever can write the database and knows this file can forge the whole chain anew. So the number and the hash of the
last row, its head, are to be noted elsewhere now and then: each hundredth goes to the log. `verify` finds whether a
trail still holds that row.

No patient is in it. Patients and users are pseudonyms, a caller's own text has a stand-in, and every other text is one
of ours: what is not gets refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, func, select

from cds_service.database import Database, or_unavailable
from cds_service.events import Event, tell
from cds_service.records.schema import AUDIT, AUDIT_ANCHOR

Row = Mapping[str, Any]
Mode = Literal["live", "shadow"]
Outcome = Literal["advised", "nothing", "failed", "unavailable"]
_STORE: Final = "the audit trail"
_BATCH: Final = 1_000
_TOLD_EVERY: Final = 100
_PRUNED_AT_ONCE: Final = 10_000  # a writer waits meanwhile
_PATIENCE_SECONDS: Final = 60  # for a prune, which nobody waits for at a bedside
_LISTS: Final = ("criteria", "topics", "cards")
UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_CALL: Final = re.compile(rf"{UUID.pattern}|opaque-[0-9a-f]{{16}}")
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")
_ID: Final = re.compile(r"[!-~]{1,64}")
_HEAD: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One call and what came of it.

    `user` and `patient` are pseudonyms of the tenant's. `hook_instance` is the caller's UUID, or `opaque-` and 16
    digits that stand for whatever else it sent. `knowledge` is the hash of the knowledge. In `shadow` mode nothing was
    shown. `status` is that of the eligibility. `criteria` are the ids of those that were met and of the inputs that
    were missing or are to be confirmed, `topics` those of the cards, and `cards` their uuids.

    Raises ValueError for what may not be in the records: a mistake in this program, never in a chart.
    """

    at: datetime
    tenant: str
    issuer: str
    user: str | None
    service: str
    hook: str
    hook_instance: str
    patient: str
    knowledge: str
    mode: Mode
    outcome: Outcome
    status: str | None = None
    criteria: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("at: without a zone")
        if not all(_PSEUDONYM.fullmatch(one) for one in (self.patient, self.user) if one is not None):
            raise ValueError("user, patient: not a pseudonym")
        if not _CALL.fullmatch(self.hook_instance):
            raise ValueError("hook_instance: neither a UUID nor a stand-in")
        if not all(_ID.fullmatch(one) for name in _LISTS for one in getattr(self, name)):
            raise ValueError(f"{', '.join(_LISTS)}: not an id")


@dataclass(frozen=True, slots=True)
class Head:
    """The number of a row and its hash: the whole trail up to there, in a line."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def of(cls, text: str) -> Head:
        """From its line. Raises ValueError."""
        if (found := _HEAD.fullmatch(text)) is None:
            raise ValueError("not the head of an audit trail, which is its number, a colon and 64 hexadecimal digits")
        return cls(int(found[1]), found[2])


_BEGINNING: Final = Head(0, "0" * 64)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first row that does not fit, and what is wrong with it."""

    number: int
    says: str

    def __str__(self) -> str:
        return f"row {self.number} {self.says}"


@dataclass(frozen=True, slots=True)
class Verified:
    """How many rows fit, the head after the last of them, and what came then: None when that was the end."""

    rows: int
    head: Head
    fault: Fault | None = None


class Trail:
    """The audit trail. Each method raises StoreUnavailable (503) when the database cannot be had."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last = database.statement(_LAST)
        self._add = database.statement(AUDIT.insert())

    def append(self, entry: Entry) -> Head:
        """Adds a row at the end, whoever else is adding. When this returns, it has been committed."""
        with or_unavailable(_STORE, "written"), self._database.transaction() as connection:
            self._database.one_at_a_time(connection, "audit trail")
            last = self._last.run(connection).fetchone()
            row = audit_row(entry, Head(*last) if last is not None else _anchor(connection))
            self._add.run(connection, row)
        head = _head_of(row)
        if head.number % _TOLD_EVERY == 0:
            tell(Event.AUDIT_HEAD, number=head.number, hash=head.hash)
        return head

    def verify(self, head: Head | None = None) -> Verified:
        """
        Walks the whole trail, and stops at the first row that does not fit. Memory does not grow with the trail.

        With an earlier `head` it also finds an end that was cut off, or a trail that was forged anew.
        """
        with or_unavailable(_STORE, "read", "try again later"), self._database.snapshot() as connection:
            began = last = _anchor(connection)
            fault = _of_head(head, last, began)
            for row in _walk(connection):
                if fault := fault or _fault(row, last):
                    break
                last = _head_of(row)
                fault = _of_head(head, last, began)
        if fault is None and head is not None and head.number > last.number:
            fault = Fault(last.number + 1, f"is missing, and all that came after it: there was a row {head.number}")
        return Verified(last.number - began.number, last, fault)

    def entries(self, after: int = 0, since: datetime | None = None) -> Iterator[Row]:
        """
        The rows after that number, as they are stored; lists are lists. Memory does not grow with the trail.

        `since`: only those from that instant on. The trail may grow meanwhile, and be pruned.
        """
        earliest = _instant(since) if since is not None else ""
        reached: int | None = after
        while reached is not None:
            with or_unavailable(_STORE, "read", "try again later"), self._database.snapshot() as connection:
                batch = _batch(connection, reached)
            yield from (row for row in batch if row["at"] >= earliest)
            reached = batch[-1]["number"] if batch else None

    def offered(self, tenant: str, patient: str, topic: str, since: datetime) -> bool:
        """Whether a card of this topic was shown to whoever cares for this patient (a pseudonym), from then on."""
        asked = select(AUDIT.c.topics).where(
            AUDIT.c.tenant == tenant,
            AUDIT.c.patient_pseudonym == patient,
            AUDIT.c.at >= _instant(since),
            AUDIT.c.mode == "live",
        )
        with or_unavailable(_STORE, "read"), self._database.snapshot() as connection:
            return any(topic in topics.split() for topics in connection.execute(asked).scalars())

    def prune(self, before: datetime, now: datetime) -> int:
        """
        Removes the rows from the front that are all older than `before`, and leaves an anchor in their place.

        What is left still verifies. Says how many rows.
        """
        removed = 0
        while count := self._prune_some(_instant(before), _instant(now)):
            removed += count
        return removed

    def _prune_some(self, before: str, now: str) -> int:
        with or_unavailable(_STORE, "pruned", "try again later"), self._database.transaction() as connection:
            self._database.be_patient(connection, _PATIENCE_SECONDS)
            self._database.one_at_a_time(connection, "audit trail")
            began = _anchor(connection)
            rows = AUDIT.c.number.between(began.number + 1, began.number + _PRUNED_AT_ONCE)
            young = select(func.min(AUDIT.c.number)).where(rows, AUDIT.c.at >= before)
            stays = connection.execute(young).scalar() or began.number + _PRUNED_AT_ONCE + 1
            old = select(AUDIT.c.number, AUDIT.c.hash).where(rows, AUDIT.c.number < stays)
            last = connection.execute(old.order_by(AUDIT.c.number.desc()).limit(1)).first()
            if last is None:
                return 0
            count: int = last.number - began.number
            anchor = {"number": last.number, "hash": last.hash, "removed": count, "at": now}
            connection.execute(AUDIT_ANCHOR.insert(), anchor)
            connection.execute(delete(AUDIT).where(AUDIT.c.number <= last.number))
            return count


# --- rows -------------------------------------------------------------------------------------------


def audit_row(entry: Entry, previous: Head) -> dict[str, Any]:
    """The row of the table that holds this entry after that one."""
    row: dict[str, Any] = {
        "number": previous.number + 1,
        "previous": previous.hash,
        "at": _instant(entry.at),
        "tenant": entry.tenant,
        "issuer": entry.issuer,
        "user_pseudonym": entry.user,
        "service": entry.service,
        "hook": entry.hook,
        "hook_instance": entry.hook_instance,
        "patient_pseudonym": entry.patient,
        "knowledge": entry.knowledge,
        "mode": entry.mode,
        "outcome": entry.outcome,
        "status": entry.status,
        **{name: " ".join(getattr(entry, name)) for name in _LISTS},
    }
    return {**row, "hash": _hash(_listed(row))}


def canonical(row: Row) -> str:
    """A row as JSON: members in the order of their names, no blanks, nothing beyond ASCII. Two rows never agree."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), default=lambda odd: {"not text": repr(odd)})


def _hash(row: Row) -> str:
    return hashlib.sha256(canonical({name: row[name] for name in row if name != "hash"}).encode()).hexdigest()


def _listed(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Ids hold no blank: so a list can be told from its text, and its text from the list, to the byte."""
    return {
        name: (value.split(" ") if value else []) if name in _LISTS and isinstance(value, str) else value
        for name, value in row.items()
    }


def _instant(at: datetime) -> str:
    """In UTC and to the microsecond, always of the same length: later instants are later in the alphabet."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# --- the chain --------------------------------------------------------------------------------------


def _head_of(row: Row) -> Head:
    return Head(row["number"], row["hash"])


def _anchor(connection: Connection) -> Head:
    anchors = select(AUDIT_ANCHOR.c.number, AUDIT_ANCHOR.c.hash).order_by(AUDIT_ANCHOR.c.number.desc()).limit(1)
    found = connection.execute(anchors).first()
    return Head(*found) if found is not None else _BEGINNING


_LAST: Final = select(AUDIT.c.number, AUDIT.c.hash).order_by(AUDIT.c.number.desc()).limit(1)


def _batch(connection: Connection, after: int | None) -> list[Row]:
    rows = select(AUDIT).order_by(AUDIT.c.number).limit(_BATCH)
    if after is not None:
        rows = rows.where(AUDIT.c.number > after)
    return [_listed(row) for row in connection.execute(rows).mappings()]


def _walk(connection: Connection) -> Iterator[Row]:
    batch = _batch(connection, None)
    while batch:
        yield from batch
        batch = _batch(connection, batch[-1]["number"])


def _fault(row: Row, last: Head) -> Fault | None:
    """What is wrong with this row where it stands."""
    number = row["number"]
    if number <= last.number:
        return Fault(number, f"does not belong there: the trail begins after row {last.number}")
    if number > last.number + 1:
        return Fault(last.number + 1, "is missing")
    if row["hash"] != _hash(row):
        return Fault(number, "was changed")
    if row["previous"] != last.hash:
        return Fault(number, "does not follow the row before it")
    return None


def _of_head(head: Head | None, reached: Head, began: Head) -> Fault | None:
    """Whether the row that was reached is the one that the head tells of, if it has its number."""
    if head is None:
        return None
    if head.number < began.number:
        return Fault(head.number, f"was pruned: the trail begins after row {began.number}, so a later head is needed")
    if head.number == reached.number and head.hash != reached.hash:
        return Fault(head.number, "is another one than the head tells of")
    return None
