"""An invented history of calls and feedback, written into real records, with the truth about it in plain lists."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cds_service.hooks.feedback import Item, parse_feedback
from cds_service.records import Entry, Head, Records
from cds_service.records.schema import AUDIT
from cds_service.records.trail import audit_row

# A Wednesday: the week that is running began on the 16th.
NOW = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)
THIS_MONDAY = date(2026, 11, 16)
OLD, NEW = f"sha256:{'a1' * 32}", f"sha256:{'b2' * 32}"
SERVICES = {
    "ppd-chart-review": "patient-view",
    "ppd-admission": "encounter-start",
    "ppd-delivery-order": "order-select",
    "ppd-order-check": "order-sign",
    "ppd-discharge": "encounter-discharge",
}
TOPICS = ("PPDSAFETY", "PPDSCREEN", "PPDRISK", "KETOPTION", "KETDATA")
REASONS = ("patient-refuses", "limited-time", "prefers-alternative", "4711", None)
WEEKS = 9
TENANTS = ("east", "north", "south")


@dataclass
class Shown:
    """One card as a clinician saw it, and what she did."""

    tenant: str
    week: date
    hook: str
    service: str
    knowledge: str
    topic: str
    did: str = "nothing"
    reason: str = ""


@dataclass
class History:
    """What happened, one by one. Whoever wants a number counts it from here."""

    shown: list[Shown] = field(default_factory=list)
    in_the_shadow: list[Shown] = field(default_factory=list)
    calls: list[tuple[str, str, str, str]] = field(default_factory=list)  # tenant, service, mode, outcome
    with_a_card: list[tuple[str, str]] = field(default_factory=list)
    asked_again: Counter[str] = field(default_factory=Counter)
    strangers: Counter[str] = field(default_factory=Counter)


def entry(at: datetime, topics: tuple[str, ...], **different: Any) -> Entry:
    """A call at that instant that got cards of these topics, or none."""
    told: dict[str, Any] = {
        "tenant": "north",
        "issuer": "https://ehr.example.org",
        "user": "2" * 32,
        "service": "ppd-chart-review",
        "hook": "patient-view",
        "hook_instance": str(uuid.uuid5(uuid.NAMESPACE_OID, at.isoformat())),
        "patient": "1" * 32,
        "knowledge": NEW,
        "mode": "live",
        "outcome": "advised" if topics else "nothing",
        "cards": tuple(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{at.isoformat()} {topic}")) for topic in topics),
    }
    return Entry(at=at, topics=topics, **{**told, **different})


def write(records: Records, seed: int = 8) -> History:
    """Nine weeks at three hospitals. East begins in the shadow, and south speaks CDS Hooks 1.0, without ids."""
    chance = random.Random(seed)  # noqa: S311
    history, entries, feedback = History(), list[Entry](), list[tuple[str, datetime, dict[str, object]]]()
    for n in range(WEEKS * 50):
        at = datetime(2026, 9, 21, 0, 0, tzinfo=UTC) + timedelta(hours=n * 24 * 7 / 50)
        if at > NOW:
            break
        call(history, entries, feedback, at, chance)
    append(records, entries)
    _tell(records, history, feedback)
    return history


def call(
    history: History,
    entries: list[Entry],
    feedback: list[tuple[str, datetime, dict[str, object]]],
    at: datetime,
    chance: random.Random,
) -> None:
    """One call, perhaps asked twice, its cards, and what was done with each."""
    week = at.date() - timedelta(days=at.weekday())
    tenant = chance.choice(TENANTS)
    service, hook = chance.choice(list(SERVICES.items()))
    knowledge = OLD if at.date() < date(2026, 10, 21) else NEW  # in the middle of a week
    mode = "shadow" if tenant == "east" and week < date(2026, 10, 19) else "live"
    topics = [topic for topic in TOPICS if chance.random() < 0.3]
    outcome = "advised" if topics else chance.choice(["nothing", "nothing", "nothing", "failed", "unavailable"])
    cards = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in topics]
    written = entry(
        at,
        tuple(topics),
        tenant=tenant,
        issuer=f"https://ehr.{tenant}.example.org",
        service=service,
        hook=hook,
        hook_instance=str(uuid.UUID(int=chance.getrandbits(128))),
        patient=f"{chance.getrandbits(128):032x}",
        knowledge=knowledge,
        mode=mode,
        outcome=outcome,
        cards=() if tenant == "south" else tuple(cards),
    )
    said = list(topics)
    if tenant == "north" and topics and chance.random() < 0.1:  # something was silenced: one card more says so
        cards.append(str(uuid.UUID(int=chance.getrandbits(128))))
        said.append("INCOMPLETE")
        written = replace(written, cards=tuple(cards))
    entries.append(written)
    if tenant == "north" and chance.random() < 0.1:  # the EHR lost the answer, and a screen has become due meanwhile
        history.asked_again[tenant] += 1
        more = "PPDFOLLOWUP" if topics and "INCOMPLETE" not in said else None
        if more:
            said.append(more)
            cards.append(str(uuid.UUID(int=chance.getrandbits(128))))
            again = replace(written, at=at + timedelta(seconds=9), topics=(*topics, more), cards=tuple(cards))
        else:
            again = replace(written, at=at + timedelta(seconds=9))
        entries.append(again)
    history.calls.append((tenant, service, mode, outcome))
    if said:
        history.with_a_card.append((tenant, service))
    for topic, card in zip(said, cards, strict=True):
        shown = Shown(tenant, week, hook, service, knowledge, topic)
        if mode == "shadow":
            history.in_the_shadow.append(shown)
            continue
        history.shown.append(shown)
        if tenant == "south":
            shown.did = "cannot report"
        else:
            feedback += [(tenant, at + timedelta(minutes=5), one) for one in _done(shown, card, chance)]


def _done(shown: Shown, card: str, chance: random.Random) -> Iterable[dict[str, object]]:
    """What the EHR reports of one card, which may be several things, and some of them twice."""
    what = chance.random()
    accepted = {"card": card, "outcome": "accepted", "acceptedSuggestions": [{"id": "s1"}]}
    if what < 0.2:
        shown.did = "accepted"
        yield accepted
        yield accepted
    elif what < 0.27:
        shown.did = "accepted"
        yield {**accepted, "acceptedSuggestions": [{"id": "s1"}, {"id": "s2"}]}
    elif what < 0.35:
        shown.did = "both"
        yield accepted
        yield _overridden(card, "patient-refuses")
    elif what < 0.6:
        reason = chance.choice(REASONS)
        shown.did, shown.reason = "overridden", reason or ""
        yield _overridden(card, reason)


def _overridden(card: str, reason: str | None) -> dict[str, object]:
    return {"card": card, "outcome": "overridden", "overrideReason": {"reason": {"code": reason}}}


def append(records: Records, entries: Iterable[Entry]) -> None:
    """In one transaction, for speed: the rows are those that the trail itself would write, in a chain."""
    head, rows = Head(0, "0" * 64), []
    for entry in entries:
        rows.append(audit_row(entry, head))
        head = Head(rows[-1]["number"], rows[-1]["hash"])
    with records._database.transaction() as connection:
        connection.execute(AUDIT.insert(), rows)
    assert records.trail.verify(head).fault is None


def _tell(records: Records, history: History, feedback: list[tuple[str, datetime, dict[str, object]]]) -> None:
    """Feedback as it comes, and some about cards that were never shown, or that another hospital was shown."""
    for tenant in ("north", "south"):
        strange = {"card": f"no-card-of-ours-{tenant}", "outcome": "accepted"}
        feedback += [(tenant, NOW, strange), (tenant, NOW, {**strange, "card": "another"})]
        history.strangers[tenant] += 2
    by_tenant: dict[str, list[tuple[datetime, Item]]] = {}
    for tenant, at, body in feedback:
        items, refused = parse_feedback({"feedback": [body]})
        assert not refused
        by_tenant.setdefault(tenant, []).extend((at, item) for item in items)
    for tenant, items in by_tenant.items():
        for batch in (items[n : n + 50] for n in range(0, len(items), 50)):
            told = [item for _, item in batch]
            records.feedback.keep(tenant, "ppd-chart-review", told, batch[-1][0], comments=False)


def counted(shown: Iterable[Shown], by: Callable[[Shown], str]) -> dict[str, tuple[int, int, int, int, int]]:
    """For each of what `by` says: shown, accepted, overridden, without feedback, and without a way to report."""
    found: dict[str, list[int]] = {}
    for card in shown:
        row = found.setdefault(by(card), [0, 0, 0, 0, 0])
        row[0] += 1
        row[{"accepted": 1, "both": 1, "overridden": 2, "nothing": 3, "cannot report": 4}[card.did]] += 1
    return {key: (row[0], row[1], row[2], row[3], row[4]) for key, row in found.items()}
