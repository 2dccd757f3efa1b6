"""An alarm is raised when it should be, and stays silent when it should: both sides of every limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest

from cds_service.insights import (
    ANY_CARD,
    EXPECTED_AT_LEAST,
    LEAST_CALLS_BEFORE,
    LEAST_CARDS_OFF,
    NEVER_FIRED_CALLS,
    SILENT_CALLS,
    WEEKS_BEFORE,
    Alarm,
    Call,
    Card,
    Counted,
    Fate,
    Last,
    Place,
    Tally,
    Week,
    alarms,
    first_week,
    judged,
    monday,
    tallied,
    weeks_from,
)

NOW = datetime(2026, 11, 18, 15, 30, tzinfo=UTC)
THIS_WEEK = date(2026, 11, 16)
OLD, NEW = "sha256:old", "sha256:new"
SERVED: Mapping[str, frozenset[str]] = {"north": frozenset(), "south": frozenset()}


def place(week: date = THIS_WEEK, **different: str) -> Place:
    told = {"mode": "live", "tenant": "north", "knowledge": OLD, "service": "ppd-admission", "hook": "encounter-start"}
    return Place(week=week, **{**told, **different})


def weekly(*weeks: tuple[int, int], knowledge: str = OLD) -> Counted:
    """Calls and PPDRISK cards, week by week, up to the one that is running."""
    begin = THIS_WEEK - timedelta(weeks=len(weeks) - 1)
    calls: dict[Call, int] = {}
    cards: dict[Card, int] = {}
    for n, (number, fired) in enumerate(weeks):
        week = begin + timedelta(weeks=n)
        here = place(week, knowledge=knowledge if week == THIS_WEEK else OLD)
        calls[Call(here, "advised")] = number
        if fired:
            cards[Card(here, "PPDRISK", Fate.NO_FEEDBACK)] = fired
    last = Last("north", "ppd-admission", ANY_CARD, 1, 1, 1, THIS_WEEK)
    return Counted(begin, calls, cards, (last,), {("north", "ppd-admission"): NOW.date()})


def raised(counted: Counted, now: datetime = NOW, served: Mapping[str, frozenset[str]] | None = None) -> list[str]:
    return [alarm.kind for alarm in alarms(counted, now, SERVED if served is None else served)]


# --- drift


def test_a_steady_rate_raises_nothing() -> None:
    assert raised(weekly(*[(100, 30), (80, 22), (110, 35), (95, 28)] * 3)) == []


@pytest.mark.parametrize(
    ("fired", "expected"),
    [(30, []), (16, ["drift"]), (17, []), (43, []), (44, ["drift"]), (0, ["drift"]), (100, ["drift"])],
)
def test_a_week_beyond_three_standard_errors_raises_drift(fired: int, expected: list[str]) -> None:
    """Usual is 30 % of 100 calls: three standard errors are 13.7 %, so 16.3 % to 43.7 % could be chance."""
    assert math.isclose(3 * math.sqrt(0.3 * 0.7 / 100), 0.1375, abs_tol=1e-4)
    assert raised(weekly(*[(100, 30)] * 6, (100, fired))) == expected


def test_the_week_before_is_looked_at_too_and_older_ones_are_not() -> None:
    steady = [(100, 30)] * 6
    assert raised(weekly(*steady, (100, 60), (100, 30))) == ["drift"]
    assert raised(weekly(*steady, (100, 60), (100, 30), (100, 30))) == []


def test_the_fewer_calls_the_wider_the_limits() -> None:
    for calls, expected in ((40, []), (400, ["drift"])):  # 42 % of each, where 30 % is usual
        assert raised(weekly(*[(100, 30)] * 6, (calls, calls * 42 // 100))) == expected


@pytest.mark.parametrize(("fired", "expected"), [(LEAST_CARDS_OFF - 1, []), (LEAST_CARDS_OFF, ["drift"])])
def test_a_card_or_two_raise_nothing_where_none_are_usual(fired: int, expected: list[str]) -> None:
    """Where nothing ever fired, or everything did, the band has no width: then the number of cards decides."""
    before = [(100, 0)] * 6
    assert raised(weekly(*before, (100, fired))) == expected
    assert raised(weekly(*[(100, 100)] * 6, (100, 100 - fired))) == expected


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([(100, 30)] * 3, []),
        ([(100, 30)] * 4, ["drift"]),
        ([(100, 30)] * 3 + [(0, 0)], []),
        ([(LEAST_CALLS_BEFORE // 4, 8)] * 4, ["drift"]),
        ([(LEAST_CALLS_BEFORE // 4 - 1, 8)] * 4, []),
    ],
)
def test_without_enough_to_compare_with_nothing_is_said(before: list[tuple[int, int]], expected: list[str]) -> None:
    assert raised(weekly(*before, (100, 90))) == expected


def test_a_change_that_lasts_becomes_the_usual() -> None:
    changed = [(100, 60)] * (WEEKS_BEFORE + 1)
    assert raised(weekly(*[(100, 30)] * 6, *changed)) == []


def test_a_week_without_calls_is_no_week() -> None:
    weeks = judged([Week(THIS_WEEK + timedelta(weeks=n), calls, 0) for n, calls in enumerate([100] * 5 + [0])])
    assert (weeks[-1].rate, weeks[-1].usual, weeks[-1].outside) == (None, None, False)


def test_the_limits_are_those_of_a_textbook() -> None:
    """Montgomery's form of a p-chart: p ± 3 √(p (1 − p) / n), never below nothing nor above everything."""
    weeks = judged([Week(THIS_WEEK + timedelta(weeks=n), 50, fired) for n, fired in enumerate([10, 12, 8, 10, 11])])
    week = weeks[-1]
    p = 40 / 200
    assert week.usual == p
    assert week.low == pytest.approx(p - 3 * math.sqrt(p * (1 - p) / 50))
    assert week.high == pytest.approx(p + 3 * math.sqrt(p * (1 - p) / 50))
    few = judged([*weeks[:4], Week(THIS_WEEK + timedelta(weeks=4), 3, 1)])[-1]
    assert (few.low, few.high) == (0.0, pytest.approx(p + 3 * math.sqrt(p * (1 - p) / 3)))


def test_drift_says_what_was_seen_and_whether_the_knowledge_is_new() -> None:
    weeks = [*[(100, 30)] * 6, (100, 60)]
    (alarm,) = alarms(weekly(*weeks), NOW, SERVED)
    said = (
        "In the week of 2026-11-16: 60 of 100 calls (60.0 %). Usual is 30.0 %; from 16.3 % to 43.7 % could be chance."
    ).replace(" %", "\N{NO-BREAK SPACE}%")
    assert alarm == Alarm("drift", "north", "ppd-admission", "PPDRISK", said)
    (alarm,) = alarms(weekly(*weeks, knowledge=NEW), NOW, SERVED)
    assert alarm.says == f"{said} The knowledge was new in that week."


def test_a_topic_that_the_tenant_has_turned_off_raises_nothing() -> None:
    weeks = [*[(100, 30)] * 6, (100, 0)]
    assert raised(weekly(*weeks), served={**SERVED, "south": frozenset({"PPDRISK"})}) == ["drift"]
    assert raised(weekly(*weeks), served={**SERVED, "north": frozenset({"PPDRISK"})}) == []


def test_a_tenant_that_is_no_longer_served_raises_nothing() -> None:
    assert raised(silence(50, 100, 300)) == ["silent"]
    assert raised(silence(50, 100, 300), served={"south": frozenset()}) == []


# --- silence


def silence(fired: int, until: int, calls: int, topic: str = "PPDRISK") -> Counted:
    """It fired so often until the call of that number, of so many."""
    last = [Last("north", "ppd-admission", name, fired, until, calls, date(2026, 11, 10)) for name in {topic, ANY_CARD}]
    if topic != ANY_CARD:  # something else still fires
        last[[one.topic for one in last].index(ANY_CARD)] = Last(
            "north", "ppd-admission", ANY_CARD, fired, calls, calls, THIS_WEEK
        )
    today = {("north", "ppd-admission"): NOW.date()}
    return Counted(THIS_WEEK, {Call(place(), "nothing"): calls}, {}, tuple(last), today)


@pytest.mark.parametrize(
    ("fired", "until", "since", "expected"),
    [
        (50, 100, SILENT_CALLS, ["silent"]),
        (50, 100, SILENT_CALLS - 1, []),  # too few calls, whatever the rate
        (7, 100, SILENT_CALLS, ["silent"]),  # seven were to be expected
        (6, 100, SILENT_CALLS, []),
        (1, 100, 700, ["silent"]),
        (1, 100, 699, []),
        (50, 100, 0, []),
    ],
)
def test_a_topic_is_silent_once_seven_cards_should_have_come(
    fired: int, until: int, since: int, expected: list[str]
) -> None:
    assert raised(silence(fired, until, until + since)) == expected


def test_by_chance_alone_that_is_rarer_than_once_in_a_thousand() -> None:
    for rate in (0.01, 0.07, 0.5):
        calls = max(SILENT_CALLS, math.ceil(EXPECTED_AT_LEAST / rate))
        assert (1 - rate) ** calls < 0.001


def test_silence_says_since_when_and_what_was_to_be_expected() -> None:
    (alarm,) = alarms(silence(50, 100, 300), NOW, SERVED)
    said = (
        "Not once in the last 200 calls, since 2026-11-10. "
        "By the rate before (50 in 100 calls) about 100 were to be expected."
    )
    assert alarm == Alarm("silent", "north", "ppd-admission", "PPDRISK", said)


def test_of_a_silent_service_its_topics_are_not_named_one_by_one() -> None:
    counted = silence(50, 100, 300, ANY_CARD)
    also = Last("north", "ppd-admission", "PPDRISK", 50, 100, 300, date(2026, 11, 10))
    counted = Counted(counted.since, counted.calls, {}, (*counted.last, also), counted.last_calls)
    assert [alarm.topic for alarm in alarms(counted, NOW, SERVED)] == [ANY_CARD]


def test_what_is_silent_is_not_said_to_drift_as_well() -> None:
    weeks = weekly(*[(100, 30)] * 6, (100, 0))
    last = Last("north", "ppd-admission", "PPDRISK", 180, 600, 700, date(2026, 11, 15))
    assert raised(Counted(weeks.since, weeks.calls, weeks.cards, weeks.last, weeks.last_calls)) == ["drift"]
    assert raised(Counted(weeks.since, weeks.calls, weeks.cards, (last, *weeks.last), weeks.last_calls)) == ["silent"]


@pytest.mark.parametrize(("calls", "expected"), [(NEVER_FIRED_CALLS - 1, []), (NEVER_FIRED_CALLS, ["silent"])])
def test_a_service_that_never_said_anything_is_silent_after_200_calls(calls: int, expected: list[str]) -> None:
    today = {("north", "ppd-admission"): NOW.date()}
    assert raised(Counted(THIS_WEEK, {Call(place(), "nothing"): calls}, {}, (), today)) == expected


# --- no calls


@pytest.mark.parametrize(
    ("days", "weeks", "expected"),
    [
        (7, [7, 7, 7, 7], ["no-calls"]),
        (6, [7, 7, 7, 7], []),
        (7, [28, 0, 28, 28], []),  # it was never called each week
        (7, [7, 7, 7, 6], []),  # too seldom to say
        (70, [70, 70, 70, 70], ["no-calls"]),
    ],
)
def test_a_service_that_was_called_each_week_and_is_not_any_more(
    days: int, weeks: list[int], expected: list[str]
) -> None:
    on = NOW.date() - timedelta(days=days)
    begin = monday(on) - timedelta(weeks=4)
    calls = {Call(place(begin + timedelta(weeks=n)), "nothing"): number for n, number in enumerate(weeks) if number}
    calls[Call(place(monday(on)), "nothing")] = 1
    last = Last("north", "ppd-admission", ANY_CARD, 1, 1, 1, on)
    assert raised(Counted(begin, calls, {}, (last,), {("north", "ppd-admission"): on})) == expected


# --- the rest of the arithmetic


def test_every_tenant_is_watched_by_itself() -> None:
    """One falls silent while another's cards would hide it."""
    north = silence(50, 100, 300)
    busy = Last("south", "ppd-admission", "PPDRISK", 5_000, 9_000, 9_000, THIS_WEEK)
    calls = {**north.calls, Call(place(tenant="south"), "advised"): 9_000}
    every = Counted(THIS_WEEK, calls, {}, (*north.last, busy), north.last_calls)
    assert [alarm.tenant for alarm in alarms(every, NOW, SERVED)] == ["north"]
    assert alarms(every.of("south"), NOW, SERVED) == ()


def test_a_card_that_was_accepted_and_overridden_is_accepted_and_counts_once() -> None:
    cards = {Card(place(), "PPDRISK", fate): 1 for fate in Fate}
    tally = tallied(cards, lambda card: card.topic)["PPDRISK"]
    assert tally == Tally(accepted=2, both=1, overridden=1, no_feedback=1, unreportable=1)
    assert tally.shown == 5


def test_a_week_begins_on_monday() -> None:
    assert [monday(date(2026, 11, day)) for day in (15, 16, 22, 23)] == [
        date(2026, 11, 9),
        date(2026, 11, 16),
        date(2026, 11, 16),
        date(2026, 11, 23),
    ]
    assert first_week(NOW, 1) == THIS_WEEK
    assert weeks_from(first_week(NOW, 3), NOW.date()) == (date(2026, 11, 2), date(2026, 11, 9), date(2026, 11, 16))
