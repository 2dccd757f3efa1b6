"""How an exact number is shortened for the eye, so that it stays on its side of every limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Final

from cds_service.clinical.facts import Number

# Nobody writes more. What is still beside a limit then is shown as it comes.
_MOST_PLACES: Final = 12


def shortened(number: Number, places: int, stays: Callable[[Fraction], bool], *, up: bool = False) -> str:
    """
    The number with at most so many places: down, or `up`. A whole number has none.

    `stays` is asked of what is shown: is it on the side of its limits on which the exact number is? If it is not, more
    places are shown, as many as that takes: 20.0004 beside a limit of 20 is not shown as 20.
    """
    exact = Fraction(number)
    for shown, places_shown in _candidates(exact, places, up=up):
        if stays(Fraction(shown, 10**places_shown)):
            return _in_digits(shown, places_shown)
    return _in_digits(_scaled(exact, _MOST_PLACES, up=up), _MOST_PLACES)


def beside(number: Number, *limits: Fraction, places: int, up: bool = False) -> str:
    """The number, which compares with each limit, and with 0, as the exact one does."""
    exact, whole = Fraction(number), (Fraction(0), *limits)
    sides = [_side(exact, limit) for limit in whole]
    return shortened(exact, places, lambda shown: [_side(shown, limit) for limit in whole] == sides, up=up)


def _candidates(exact: Fraction, places: int, *, up: bool) -> Iterator[tuple[int, int]]:
    """As a count of the last place, and how many places there are."""
    yield _scaled(exact, places, up=up), places
    for more in range(places + 1, _MOST_PLACES + 1):
        yield _scaled(exact, more, up=True), more
        yield _scaled(exact, more, up=False), more


def _scaled(exact: Fraction, places: int, *, up: bool) -> int:
    scaled = exact * Fraction(10**places)
    return math.ceil(scaled) if up else math.floor(scaled)


def _side(number: Fraction, limit: Fraction) -> int:
    return (number > limit) - (number < limit)


def _in_digits(count: int, places: int) -> str:
    """Digit by digit: a Decimal would round a number of more digits than its context has."""
    whole, part = divmod(abs(count), 10**places)
    text = f"{whole}.{part:0{places}d}".rstrip("0").rstrip(".") if places else str(whole)
    return f"-{text}" if count < 0 else text
