"""
Counts what was advised and what became of it, for those who watch over the service: cards, and no patients.

It reads the audit trail from one end to the other, a thousand rows at a time, each thousand with its feedback. So
memory does not grow with the trail. No pseudonym, no id and no hour of the day comes out of here: only what kind of
card, in which week, and how many.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from itertools import zip_longest
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, distinct, exists, func, select

from cds_service.database import Database, or_unavailable
from cds_service.events import REASONS
from cds_service.insights import ANY_CARD, INCOMPLETE, Call, Card, Counted, Fate, Last, Place, monday
from cds_service.records.schema import AUDIT, FEEDBACK

_STORE: Final = "the audit trail"
_BATCH: Final = 1_000
_PATIENCE_SECONDS: Final = 60  # nobody waits for these numbers at a bedside
# A code of the EHR's own: which one is nobody's business here, and it may be any text.
OTHER: Final = "other"
# What many rows have in common comes as one text: it is read, and looked up, once a row. No part of it holds a tab.
_TAB: Final = "\t"
_Told = tuple[str, str]  # a fate and a reason
_UNREPORTABLE: Final = (Fate.UNREPORTABLE.value, "")
_NO_FEEDBACK: Final = (Fate.NO_FEEDBACK.value, "")


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the trail. `again`: the same call was answered before."""

    number: int
    kind: str
    outcome: str
    topics: str
    cards: str
    again: bool

    @property
    def tenant(self) -> str:
        return self.kind.split(_TAB)[2]


class Counts:
    """What was counted in the records. Raises StoreUnavailable (503) when the database cannot be had."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def since(self, begin: date) -> Counted:
        """
        All from that day on, which is a Monday, 00:00 UTC.

        Answers to one `hookInstance` of a tenant are one call, as it was first answered, and cards with one uuid are
        one card. Feedback on a card that was not shown since then is counted by itself.
        """
        counting = _Counting(begin)
        with or_unavailable(_STORE, "read", "try again later"), self._database.snapshot() as connection:
            self._database.be_patient(connection, _PATIENCE_SECONDS)
            for rows in _batches(connection, begin):
                counting.take(rows, _told(connection, rows), _made_before(connection, rows))
            heard_of = _heard_of(connection, begin)
        return counting.counted(heard_of)


# --- adding up ------------------------------------------------------------------------------------------------------


@dataclass
class _Service:
    """One tenant's service: how many calls, and after how many of them, and when, each topic was last made."""

    tenant: str
    id: str
    calls: int = 0
    last_call: str = ""
    fired: Counter[str] = field(default_factory=Counter)
    last: dict[str, tuple[int, str]] = field(default_factory=dict)

    def fires(self, topic: str, day: str) -> None:
        """At most once for each call: several cards of one call are one firing of "any card"."""
        if self.last.get(topic, (0, ""))[0] != self.calls:
            self.fired[topic] += 1
        self.last[topic] = (self.calls, day)


@dataclass
class _Pile:
    """What was counted of one place and week."""

    place: Place
    service: _Service
    calls: Counter[str] = field(default_factory=Counter)
    cards: Counter[tuple[str, _Told]] = field(default_factory=Counter)


@dataclass
class _Counting:
    """The sums so far. There are many rows, and few kinds of them."""

    begin: date
    piles: dict[Place, _Pile] = field(default_factory=dict)
    by_kind: dict[str, _Pile] = field(default_factory=dict)
    services: dict[tuple[str, str], _Service] = field(default_factory=dict)
    asked_again: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)

    def take(
        self, rows: list[_Row], told: Mapping[tuple[str, str], _Told], made_before: Mapping[int, set[str]]
    ) -> None:
        """
        Adds these rows.

        `told`: what became of a card, by tenant and uuid. `made_before`: the cards that earlier answers to a call had,
        by the number of the row that answers it again.
        """
        for row in rows:
            pile = self.by_kind.get(row.kind) or self._pile(row.kind)
            service, tenant, day = pile.service, pile.place.tenant, row.kind[:10]
            before = made_before.get(row.number)
            service.last_call = day
            if before is None:
                service.calls += 1
                pile.calls[row.outcome] += 1
            else:
                self.asked_again[tenant] += 1
            fired = False
            for topic, card in _cards(row.topics.split(), row.cards.split(), before):
                fate = told.get((tenant, card), _NO_FEEDBACK) if card is not None else _UNREPORTABLE
                pile.cards[topic, fate] += 1
                service.fires(topic, day)
                fired = True
                if fate is not _NO_FEEDBACK and card is not None and pile.place.mode == "live":
                    self.known[tenant] += 1
            if fired:
                service.fires(ANY_CARD, day)

    def _pile(self, kind: str) -> _Pile:
        day, mode, tenant, knowledge, service, hook = kind.split(_TAB)
        place = Place(mode, tenant, monday(date.fromisoformat(day)), knowledge, service, hook)
        called = self.services.setdefault((tenant, service), _Service(tenant, service))
        self.by_kind[kind] = self.piles.setdefault(place, _Pile(place, called))
        return self.by_kind[kind]

    def counted(self, heard_of: Mapping[str, int]) -> Counted:
        """`heard_of`: how many cards feedback came for, by tenant."""
        strangers = {tenant: number - self.known[tenant] for tenant, number in heard_of.items()}
        return Counted(
            self.begin,
            {Call(p.place, outcome): number for p in self.piles.values() for outcome, number in p.calls.items()},
            {
                Card(pile.place, topic, Fate(fate), reason): number
                for pile in self.piles.values()
                for (topic, (fate, reason)), number in pile.cards.items()
            },
            tuple(
                Last(service.tenant, service.id, topic, service.fired[topic], until, service.calls, _day(day))
                for service in self.services.values()
                for topic, (until, day) in sorted(service.last.items())
                if until  # else a card was made only for a call that had been answered before that day
            ),
            {key: _day(service.last_call) for key, service in self.services.items()},
            dict(self.asked_again),
            {tenant: number for tenant, number in strangers.items() if number > 0},
        )


_day: Final = date.fromisoformat


def _cards(topics: list[str], uuids: list[str], before: set[str] | None) -> Iterator[tuple[str, str | None]]:
    """
    Each new card of a row: its topic, and its uuid where the EHR got one.

    They stand in the same order, and beyond the plan's there may be one more: the card that says that the check is
    incomplete. An EHR that knows no uuid got none at all; then a call that is asked again cannot show a new card.
    """
    if uuids:
        for topic, uuid in zip_longest(topics, uuids, fillvalue=INCOMPLETE):
            if before is None or uuid not in before:
                yield topic, uuid
    elif before is None:
        for topic in topics:
            yield topic, None


# --- rows -----------------------------------------------------------------------------------------------------------


def _batches(connection: Connection, begin: date) -> Iterator[list[_Row]]:
    """The rows from that day on, in their order."""
    since = f"{begin.isoformat()}T00:00:00.000000Z"  # as the trail writes an instant
    kind: ColumnElement[str] = func.substr(AUDIT.c.at, 1, 10)
    for name in ("mode", "tenant", "knowledge", "service", "hook"):
        kind = kind + _TAB + AUDIT.c[name]
    earlier = AUDIT.alias("earlier")
    again = exists().where(
        earlier.c.hook_instance == AUDIT.c.hook_instance,
        earlier.c.tenant == AUDIT.c.tenant,
        earlier.c.number < AUDIT.c.number,
    )
    rows = select(AUDIT.c.number, kind, AUDIT.c.outcome, AUDIT.c.topics, AUDIT.c.cards, again)
    rows = rows.where(AUDIT.c.at >= since).order_by(AUDIT.c.number).limit(_BATCH)
    first = connection.execute(select(func.min(AUDIT.c.number)).where(AUDIT.c.at >= since)).scalar()
    reached = first - 1 if first is not None else None
    while reached is not None:
        batch = [_Row(*row) for row in connection.execute(rows.where(AUDIT.c.number > reached))]
        yield batch
        reached = batch[-1].number if len(batch) == _BATCH else None


def _told(connection: Connection, rows: list[_Row]) -> dict[tuple[str, str], _Told]:
    """What became of the cards in these rows, by tenant and uuid."""
    uuids: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.cards:
            uuids[row.tenant] += row.cards.split()
    found: dict[tuple[str, str], list[tuple[str, str | None]]] = defaultdict(list)
    asked = select(FEEDBACK.c.card, FEEDBACK.c.outcome, FEEDBACK.c.reason_code)
    for tenant, cards in uuids.items():
        for card, outcome, reason in connection.execute(
            asked.where(FEEDBACK.c.tenant == tenant, FEEDBACK.c.card.in_(cards))
        ):
            found[tenant, card].append((outcome, reason))
    return {card: _fate(outcomes) for card, outcomes in found.items()}


def _fate(outcomes: list[tuple[str, str | None]]) -> _Told:
    """One fate for all that was reported on a card. The database keeps at most one "overridden" of each."""
    accepted = any(outcome == "accepted" for outcome, _ in outcomes)
    overridden = [reason for outcome, reason in outcomes if outcome == "overridden"]
    if accepted:
        return (Fate.BOTH if overridden else Fate.ACCEPTED).value, ""
    (reason,) = overridden
    return Fate.OVERRIDDEN.value, "" if reason is None else reason if reason in REASONS else OTHER


def _made_before(connection: Connection, rows: list[_Row]) -> dict[int, set[str]]:
    """Of each row that answers a call again: the uuids that earlier answers had. Such rows are rare."""
    found: dict[int, set[str]] = {}
    call, earlier = AUDIT.alias("call"), AUDIT.alias("earlier")
    same = (earlier.c.hook_instance == call.c.hook_instance) & (earlier.c.tenant == call.c.tenant)
    asked = select(earlier.c.cards).distinct().join_from(call, earlier, same & (earlier.c.number < call.c.number))
    for row in rows:
        if row.again:
            texts = connection.execute(asked.where(call.c.number == row.number)).scalars()
            found[row.number] = {card for text in texts for card in text.split()}
    return found


def _heard_of(connection: Connection, begin: date) -> dict[str, int]:
    """How many cards feedback came for from that day on, by tenant."""
    received = FEEDBACK.c.received_at >= datetime.combine(begin, time(), UTC)
    asked = select(FEEDBACK.c.tenant, func.count(distinct(FEEDBACK.c.card))).where(received)
    rows: Any = connection.execute(asked.group_by(FEEDBACK.c.tenant))
    return {tenant: number for tenant, number in rows}  # noqa: C416  (a row is no pair)
