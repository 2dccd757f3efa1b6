"""
When something was true, as exactly as the chart says, and no more exactly.

A date without a time is the whole day. To *reassure*, an entry counts from its earliest possible instant; to
*warn*, its latest possible instant counts (decision logic, section 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum


class Precision(IntEnum):
    """How much of the date was written down."""

    YEAR = 0
    MONTH = 1
    DAY = 2
    TIME = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """From the earliest to the latest instant that the text allows; both are aware datetimes."""

    earliest: datetime
    latest: datetime
    precision: Precision
    text: str

    def is_future(self, now: datetime) -> bool:
        """Not even its earliest possible instant has come."""
        return self.earliest > now

    def surely_within(self, window: timedelta, now: datetime) -> bool:
        """To reassure: past, and fresh even if it was the earliest possible instant."""
        if self.precision < Precision.DAY:
            return False  # a year or a month alone satisfies no window
        return not self.is_future(now) and now - self.earliest <= window

    def possibly_within(self, window: timedelta, now: datetime) -> bool:
        """To warn: it could still lie inside the window. A date ahead of the clock could, too."""
        return now - self.latest <= window

    def surely_after(self, other: Moment) -> bool:
        """Later, whichever instants the two texts mean."""
        return self.earliest > other.latest

    def surely_before(self, other: Moment) -> bool:
        """Earlier, whichever instants the two texts mean."""
        return self.latest < other.earliest


def exactly(instant: datetime) -> Moment:
    """A moment known to the second."""
    return Moment(instant, instant, Precision.TIME, instant.isoformat())
