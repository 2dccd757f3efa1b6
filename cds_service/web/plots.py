"""Where the bars and lines of a plot go: numbers in, coordinates out. The page draws them as SVG, without a script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cds_service.insights import Firing, Tally, Week

# What a bar is made of, from the left or from below; the names are those of the style sheet.
PARTS: Final = ("accepted", "overridden", "no_feedback", "unreportable")
_HEIGHT: Final = 100.0
_WIDTH: Final = 320.0
_TOP: Final = 8.0
_BOTTOM: Final = 78.0
_SIDE: Final = 8.0
_TICKS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of one part."""

    part: str
    x: float
    y: float
    width: float
    height: float


def row(tally: Tally, most: int) -> tuple[Bar, ...]:
    """A lying bar, 100 wide where `most` cards are."""
    bars = []
    x = 0.0
    for part in PARTS:
        width = 100 * getattr(tally, part) / most if most else 0.0
        if width:
            bars.append(Bar(part, round(x, 2), 0, round(width, 2), 1))
        x += width
    return tuple(bars)


def columns(weeks: Sequence[Tally]) -> tuple[Bar, ...]:
    """A standing bar for each week, ten wide, the tallest of them 100 high."""
    most = max((tally.shown for tally in weeks), default=0)
    return tuple(bar for n, tally in enumerate(weeks) for bar in _column(tally, most, 10.0 * n + 1))


def _column(tally: Tally, most: int, x: float) -> Iterator[Bar]:
    y = _HEIGHT
    for part in PARTS:
        height = _HEIGHT * getattr(tally, part) / most if most else 0.0
        y -= height
        if height:
            yield Bar(part, x, round(y, 2), 8, round(height, 2))


@dataclass(frozen=True, slots=True)
class Dot:
    """One week of a control chart."""

    x: float
    y: float
    outside: bool


@dataclass(frozen=True, slots=True)
class ControlChart:
    """
    The rates of a topic, week by week, with the band in which chance alone would keep them.

    `band`, `usual` and `rates` are the points of SVG shapes; `rates` has one line for each run of weeks with calls.
    """

    band: str
    usual: str
    rates: tuple[str, ...]
    dots: tuple[Dot, ...]
    top: float

    @classmethod
    def of(cls, firing: Firing) -> ControlChart:
        weeks = firing.weeks
        # In a week with few calls the band is very wide: it is cut off, or the rates would lie on the ground.
        reached = max(max(w.rate or 0.0, min(1.0, 1.5 * (w.usual or 0.0))) for w in weeks)
        top = next(tick for tick in _TICKS if reached <= tick)
        step = (_WIDTH - 2 * _SIDE) / max(1, len(weeks) - 1)

        def at(n: int, rate: float) -> str:
            return f"{_SIDE + n * step:.1f},{_y(rate, top):.1f}"

        told = [(n, w) for n, w in enumerate(weeks) if w.usual is not None]
        above = [at(n, min(top, w.high or 0.0)) for n, w in told]
        below = [at(n, w.low or 0.0) for n, w in reversed(told)]
        return cls(
            band=" ".join([*above, *below]),
            usual=" ".join(at(n, w.usual or 0.0) for n, w in told),
            rates=tuple(" ".join(at(n, w.rate or 0.0) for n, w in run) for run in _runs(weeks)),
            dots=tuple(
                Dot(round(_SIDE + n * step, 1), round(_y(w.rate, top), 1), w.outside)
                for n, w in enumerate(weeks)
                if w.rate is not None
            ),
            top=top,
        )


def _y(rate: float, top: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * rate / top


def _runs(weeks: Sequence[Week]) -> Iterator[list[tuple[int, Week]]]:
    """Weeks with calls, as long as none without comes between them."""
    run: list[tuple[int, Week]] = []
    for n, week in enumerate(weeks):
        if week.calls:
            run.append((n, week))
        elif run:
            yield run
            run = []
    if run:
        yield run
