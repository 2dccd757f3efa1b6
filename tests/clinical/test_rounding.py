"""A number is shortened for the eye, and never crosses or reaches a limit by that."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from thoroughly import thoroughly

from cds_service.clinical.rounding import beside, shortened

limits = st.integers(1, 2_000).map(lambda n: Fraction(n, 20))
hairs = st.builds(lambda n, places: Fraction(n, 3 * 10**places), st.integers(-9, 9), st.integers(0, 8))


@st.composite
def numbers_near(draw: st.DrawFn) -> tuple[Fraction, Fraction, Fraction]:
    """A number, a limit that it may be a hair away from, and another one."""
    limit = draw(limits)
    return abs(limit + draw(hairs)), limit, draw(limits)


@thoroughly
@given(numbers_near(), st.integers(0, 4), st.booleans())
@example((Fraction("20.0004"), Fraction(20), Fraction(14)), 3, True)
@example((Fraction("39.9998"), Fraction(40), Fraction(60)), 1, False)
@example((Fraction(20, 3), Fraction(20, 3), Fraction(1)), 3, True)
def test_what_is_shown_compares_with_each_limit_as_the_exact_number_does(
    drawn: tuple[Fraction, Fraction, Fraction], places: int, up: bool
) -> None:
    number, *beside_it = drawn
    shown = beside(number, *beside_it, places=places, up=up)

    if number.denominator % 3 or number not in beside_it:  # a limit without an end cannot be written
        for limit in (Fraction(0), *beside_it):
            assert (Fraction(shown) > limit, Fraction(shown) < limit) == (number > limit, number < limit)
    assert abs(Fraction(shown) - number) < Fraction(1, 10**places)
    assert not shown.endswith(".0")


@pytest.mark.parametrize(
    ("number", "limit", "places", "up", "shown"),
    [
        ("20", "20", 3, False, "20"),
        ("20.0004", "20", 3, True, "20.001"),
        ("20.0004", "20", 3, False, "20.0004"),  # down it would be the limit itself
        ("19.9996", "20", 3, False, "19.999"),
        ("19.9996", "20", 3, True, "19.9996"),
        ("0.0004", "14", 3, False, "0.0004"),  # never nothing
        ("14.48", "20", 3, False, "14.48"),
        ("100", "20", 0, True, "100"),
        ("100", "20", 3, True, "100"),
        (f"{10**40}.5", "20", 1, True, f"{10**40}.5"),
    ],
)
def test_as_many_places_as_it_takes_and_no_more(number: str, limit: str, places: int, up: bool, shown: str) -> None:
    assert beside(Fraction(number), Fraction(limit), places=places, up=up) == shown


def test_a_hair_beside_a_limit_is_seen_and_does_not_fill_the_card() -> None:
    hair = Fraction(1, 10**30)

    assert beside(20 + hair, Fraction(20), places=3, up=True) == "20.001"
    assert beside(20 - hair, Fraction(20), places=3) == "19.999"
    assert beside(hair, places=3) == "0.0001"
    assert shortened(20 + hair, 3, lambda _: False) == "20"  # nothing will do: then as it was asked for


def test_a_number_below_zero_keeps_its_sign() -> None:
    assert beside(Fraction("-2.55"), places=1) == "-2.6"
    assert beside(Fraction("-2.5"), places=1) == "-2.5"
