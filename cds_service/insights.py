"""
How the advice fares: how many cards were shown, what became of each, and whether one has fallen silent or drifted.

Pure arithmetic over counts. A card without feedback is neither accepted nor overridden: it is counted by itself. What
was thought in the shadow was not shown, and is never counted as shown. A card "fires" when it is made, shown or not.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeVar

Key = TypeVar("Key")

# --- what is out of the ordinary: about the service, and nothing about medicine -------------------------------------

# Silence. If so many cards were to be expected by the rate before, chance alone gives none once in e^7 = 1,097 times.
EXPECTED_AT_LEAST: Final = 7
# And no silence is told after fewer calls than this: a morning is none.
SILENT_CALLS: Final = 100
# Where no card was ever made: if one call in 30 had one, 200 calls without any come about by chance once in 900 times.
NEVER_FIRED_CALLS: Final = 200
# Drift. Shewhart's limits: chance alone puts about 3 weeks in 1,000 outside.
SIGMAS: Final = 3
# And by at least so many cards: with few calls a card or two are beyond any limit.
LEAST_CARDS_OFF: Final = 5
# A quarter of a year to compare with, and no comparison with less than a month or with a handful of calls.
WEEKS_BEFORE: Final = 12
LEAST_WEEKS_BEFORE: Final = 4
LEAST_CALLS_BEFORE: Final = 100
# Calls that used to come every week and have not come for so long.
QUIET_FOR: Final = timedelta(days=7)

_WEEK: Final = timedelta(days=7)
# The card that says that the check could not be completed. It stands in no plan.
INCOMPLETE: Final = "INCOMPLETE"
ANY_CARD: Final = ""


class Fate(StrEnum):
    """
    What became of a card, as far as the EHR has said. Every card that was shown has exactly one.

    ACCEPTED: a suggestion on it was accepted. BOTH: that, and the card was overridden, too. UNREPORTABLE: the EHR got
    no id with it, and so could not have reported anything.
    """

    ACCEPTED = "accepted"
    BOTH = "accepted-and-overridden"
    OVERRIDDEN = "overridden"
    NO_FEEDBACK = "no-feedback"
    UNREPORTABLE = "unreportable"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when: `week` is its Monday, in UTC; `knowledge` is the hash of the knowledge; `mode` live or shadow."""

    mode: str
    tenant: str
    week: date
    knowledge: str
    service: str
    hook: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call and how it ended: advised, nothing, failed or unavailable."""

    place: Place
    outcome: str


@dataclass(frozen=True, slots=True)
class Card:
    """One card: its topic, its fate, and, where it was overridden, the code of the reason ("" when none was given)."""

    place: Place
    topic: str
    fate: Fate
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Last:
    """
    When a card of this topic was last made at this service: after how many of its calls, and on which day.

    `fired` is how often until then. `calls` is how many calls have come in all. The topic ANY_CARD stands for all.
    """

    tenant: str
    service: str
    topic: str
    fired: int
    until: int
    calls: int
    on: date


@dataclass(frozen=True)
class Counted:
    """
    All that was counted from the Monday `since` on. Its size is that of its kinds, not that of the trail.

    `last_calls` tells the day of the last call of each tenant's service. `asked_again` are answers to a call that had
    been answered before; `strangers`, by tenant, the cards that feedback came for and that were not shown since then.
    """

    since: date
    calls: Mapping[Call, int] = field(default_factory=dict)
    cards: Mapping[Card, int] = field(default_factory=dict)
    last: tuple[Last, ...] = ()
    last_calls: Mapping[tuple[str, str], date] = field(default_factory=dict)
    asked_again: Mapping[str, int] = field(default_factory=dict)
    strangers: Mapping[str, int] = field(default_factory=dict)

    @property
    def tenants(self) -> tuple[str, ...]:
        """Those of which anything was counted."""
        return tuple(sorted({call.place.tenant for call in self.calls} | self.strangers.keys()))

    def of(self, tenant: str) -> Counted:
        """The same, of one tenant alone."""
        return Counted(
            self.since,
            {call: number for call, number in self.calls.items() if call.place.tenant == tenant},
            {card: number for card, number in self.cards.items() if card.place.tenant == tenant},
            tuple(last for last in self.last if last.tenant == tenant),
            {key: at for key, at in self.last_calls.items() if key[0] == tenant},
            {name: number for name, number in self.asked_again.items() if name == tenant},
            {name: number for name, number in self.strangers.items() if name == tenant},
        )


def monday(day: date) -> date:
    """The first day of its week."""
    return day - timedelta(days=day.weekday())


def first_week(now: datetime, weeks: int) -> date:
    """The Monday with which the last so many weeks begin; the week that is running is one of them."""
    return monday(now.date()) - (weeks - 1) * _WEEK


def weeks_from(since: date, until: date) -> tuple[date, ...]:
    """The Mondays from `since` to the week of `until`, without a gap."""
    return tuple(since + n * _WEEK for n in range((monday(until) - since) // _WEEK + 1))


# --- what became of the cards ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """
    How many cards had which fate.

    `accepted` counts those that were overridden as well, which are also counted in `both`: so what was shown is what
    was accepted, overridden, without feedback, and without a way to give any.
    """

    accepted: int = 0
    both: int = 0
    overridden: int = 0
    no_feedback: int = 0
    unreportable: int = 0

    @property
    def shown(self) -> int:
        return self.accepted + self.overridden + self.no_feedback + self.unreportable

    def plus(self, fate: Fate, number: int) -> Tally:
        """With so many cards more."""
        return Tally(
            self.accepted + (number if fate in {Fate.ACCEPTED, Fate.BOTH} else 0),
            self.both + (number if fate is Fate.BOTH else 0),
            self.overridden + (number if fate is Fate.OVERRIDDEN else 0),
            self.no_feedback + (number if fate is Fate.NO_FEEDBACK else 0),
            self.unreportable + (number if fate is Fate.UNREPORTABLE else 0),
        )


def shown(counted: Counted) -> dict[Card, int]:
    """The cards that clinicians were shown: those of the shadow were not."""
    return {card: number for card, number in counted.cards.items() if card.place.mode == "live"}


def tallied(cards: Mapping[Card, int], by: Callable[[Card], Key]) -> dict[Key, Tally]:
    """What became of the cards, by whatever `by` says of each."""
    found: dict[Key, Tally] = defaultdict(Tally)
    for card, number in cards.items():
        found[by(card)] = found[by(card)].plus(card.fate, number)
    return dict(found)


def reasons(cards: Mapping[Card, int]) -> dict[str, int]:
    """Why cards were overridden, each once: "" for those without a reason. The sum is what was overridden."""
    found: dict[str, int] = defaultdict(int)
    for card, number in cards.items():
        if card.fate is Fate.OVERRIDDEN:
            found[card.reason] += number
    return dict(found)


# --- how often a card fires -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Week:
    """
    How often a card fired in a week, and between which rates chance alone would keep it.

    `usual` is the rate of the weeks before. It and the limits are None where there is too little to compare with.
    """

    monday: date
    calls: int
    fired: int
    usual: float | None = None
    low: float | None = None
    high: float | None = None
    outside: bool = False

    @property
    def rate(self) -> float | None:
        return self.fired / self.calls if self.calls else None


@dataclass(frozen=True, slots=True)
class Firing:
    """How often the cards of a topic fire at one tenant's service, week by week."""

    tenant: str
    service: str
    topic: str
    weeks: tuple[Week, ...]

    @property
    def fired(self) -> int:
        return sum(week.fired for week in self.weeks)


def firings(counted: Counted, until: date) -> tuple[Firing, ...]:
    """Each topic that ever fired at each tenant's service, in the weeks up to the one of `until`."""
    weeks = weeks_from(counted.since, until)
    calls: dict[tuple[str, str, date], int] = defaultdict(int)
    fired: dict[tuple[str, str, str], dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for call, number in counted.calls.items():
        calls[call.place.tenant, call.place.service, call.place.week] += number
    for card, number in counted.cards.items():
        fired[card.place.tenant, card.place.service, card.topic][card.place.week] += number
    return tuple(
        Firing(
            tenant,
            service,
            topic,
            judged([Week(week, calls[tenant, service, week], by_week.get(week, 0)) for week in weeks]),
        )
        for (tenant, service, topic), by_week in sorted(fired.items())
    )


def judged(weeks: list[Week]) -> tuple[Week, ...]:
    """Each week against up to twelve before it that had calls."""
    return tuple(_judged(week, [w for w in weeks[:n] if w.calls][-WEEKS_BEFORE:]) for n, week in enumerate(weeks))


def _judged(week: Week, before: list[Week]) -> Week:
    """
    A p-chart: the usual rate p, and three standard errors, sqrt(p (1 - p) / calls), to either side.

    The more calls a week has, the narrower they are. A week is outside if it is beyond them, by five cards or more.
    """
    calls, fired = sum(w.calls for w in before), sum(w.fired for w in before)
    if not week.calls or len(before) < LEAST_WEEKS_BEFORE or calls < LEAST_CALLS_BEFORE:
        return week
    usual = fired / calls
    margin = SIGMAS * math.sqrt(usual * (1 - usual) / week.calls)
    low, high = max(0.0, usual - margin), min(1.0, usual + margin)
    rate = week.fired / week.calls
    off = abs(week.fired - usual * week.calls)
    outside = not low <= rate <= high and off >= LEAST_CARDS_OFF
    return Week(week.monday, week.calls, week.fired, usual, low, high, outside)


# --- alarms ---------------------------------------------------------------------------------------------------------

Kind = Literal["no-calls", "silent", "drift"]
_ORDER: Final[Mapping[str, int]] = {"no-calls": 0, "silent": 1, "drift": 2}


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something to look into: at whose service, about which topic (ANY_CARD: all of them), and what was seen."""

    kind: Kind
    tenant: str
    service: str
    topic: str
    says: str


def alarms(counted: Counted, now: datetime, served: Mapping[str, frozenset[str]]) -> tuple[Alarm, ...]:
    """
    What is out of the ordinary now, at the tenants that are `served`; none about the topics that they have turned off.

    Where a whole service is silent, its topics are not named one by one; and what is silent is not said to drift.
    """
    quiet = tuple(_no_calls(counted, now))
    silent = tuple(_silences(counted))
    told = {(alarm.tenant, alarm.service, alarm.topic) for alarm in silent}

    def is_new(alarm: Alarm, topics: tuple[str, ...]) -> bool:
        return all((alarm.tenant, alarm.service, topic) not in told for topic in topics)

    found = [
        *quiet,
        *(alarm for alarm in silent if alarm.topic == ANY_CARD or is_new(alarm, (ANY_CARD,))),
        *(alarm for alarm in _drifts(counted, now) if is_new(alarm, (ANY_CARD, alarm.topic))),
    ]
    wanted = (alarm for alarm in found if alarm.tenant in served and alarm.topic not in served[alarm.tenant])
    return tuple(sorted(wanted, key=lambda alarm: (_ORDER[alarm.kind], alarm.tenant, alarm.service, alarm.topic)))


def _no_calls(counted: Counted, now: datetime) -> Iterator[Alarm]:
    """Services that were called in each of the four weeks before their last call, and not for a week now."""
    weeks: dict[tuple[str, str], dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for call, number in counted.calls.items():
        weeks[call.place.tenant, call.place.service][call.place.week] += number
    for (tenant, service), on in counted.last_calls.items():
        ended = monday(on)
        before = [weeks[tenant, service].get(ended - n * _WEEK, 0) for n in range(1, LEAST_WEEKS_BEFORE + 1)]
        if now.date() - on >= QUIET_FOR and all(before) and sum(before) >= EXPECTED_AT_LEAST * LEAST_WEEKS_BEFORE:
            says = (
                f"No call since {on}. In the {LEAST_WEEKS_BEFORE} weeks before, {sum(before):,} calls came, "
                "some in each week."
            )
            yield Alarm("no-calls", tenant, service, ANY_CARD, says)


def _silences(counted: Counted) -> Iterator[Alarm]:
    """What used to fire, and has not for so many calls that it should have; and what never fired at all."""
    calls: dict[tuple[str, str], int] = defaultdict(int)
    for call, number in counted.calls.items():
        calls[call.place.tenant, call.place.service] += number
    fired = {(last.tenant, last.service) for last in counted.last}
    for (tenant, service), number in calls.items():
        if (tenant, service) not in fired and number >= NEVER_FIRED_CALLS:
            yield Alarm("silent", tenant, service, ANY_CARD, f"{number:,} calls have come, and none had a card.")
    for last in counted.last:
        since = last.calls - last.until
        expected = since * last.fired / last.until
        if since >= SILENT_CALLS and expected >= EXPECTED_AT_LEAST:
            says = (
                f"Not once in the last {since:,} calls, since {last.on}. By the rate before "
                f"({last.fired:,} in {last.until:,} calls) about {expected:,.0f} were to be expected."
            )
            yield Alarm("silent", last.tenant, last.service, last.topic, says)


def _drifts(counted: Counted, now: datetime) -> Iterator[Alarm]:
    """A week, the last or the one that is running, in which a card fired more or less often than chance allows."""
    for firing in firings(counted, now.date()):
        for n in (-2, -1):
            week = firing.weeks[n] if len(firing.weeks) >= -n else None
            if week is not None and week.outside:
                yield Alarm("drift", firing.tenant, firing.service, firing.topic, _told(week, firing, counted))


def _told(week: Week, firing: Firing, counted: Counted) -> str:
    usual, low, high = (percent(rate) for rate in (week.usual, week.low, week.high))
    at = f"In the week of {week.monday}: {week.fired:,} of {week.calls:,} calls ({percent(week.rate)})."
    before = f"Usual is {usual}; from {low} to {high} could be chance."
    hashes = _knowledge(counted, firing, lambda monday: monday == week.monday)
    new = hashes - _knowledge(counted, firing, lambda monday: monday < week.monday)
    return f"{at} {before}{' The knowledge was new in that week.' if new else ''}"


def _knowledge(counted: Counted, firing: Firing, when: Callable[[date], bool]) -> set[str]:
    places: Iterable[Place] = (call.place for call in counted.calls)
    here = (firing.tenant, firing.service)
    return {place.knowledge for place in places if (place.tenant, place.service) == here and when(place.week)}


def percent(rate: float | None) -> str:
    """A rate as people read it, in one piece; a dash where there is none."""
    return "–" if rate is None else f"{100 * rate:.1f}\N{NO-BREAK SPACE}%"
