"""
Draws the report's pictures as SVG: on white, so that they are the same in light and dark, in colours that people with a
colour weakness can tell apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from cds_service.clinical.eligibility import Status
from sensitivity.measure import Moved, Statuses
from sensitivity.moves import STEPS

ORDER = (
    Status.CONTRAINDICATED,
    Status.SPECIALIST_REVIEW,
    Status.DATA_MISSING,
    Status.NOT_INDICATED,
    Status.NO_APPROVED_PROTOCOL,
    Status.ELIGIBLE_CONDITIONAL,
    Status.ELIGIBLE,
)
WORDS: Mapping[Status, str] = {
    Status.CONTRAINDICATED: "contraindicated",
    Status.SPECIALIST_REVIEW: "specialist review",
    Status.DATA_MISSING: "data missing",
    Status.NOT_INDICATED: "not indicated",
    Status.NO_APPROVED_PROTOCOL: "no protocol",
    Status.ELIGIBLE_CONDITIONAL: "eligible, conditional",
    Status.ELIGIBLE: "eligible",
}
# Fill, and the colour of a number on it.
COLOUR: Mapping[Status, tuple[str, str]] = {
    Status.CONTRAINDICATED: ("#7f2704", "#ffffff"),
    Status.SPECIALIST_REVIEW: ("#f16913", "#000000"),
    Status.DATA_MISSING: ("#fdd0a2", "#000000"),
    Status.NOT_INDICATED: ("#d9d9d9", "#000000"),
    Status.NO_APPROVED_PROTOCOL: ("#969696", "#000000"),
    Status.ELIGIBLE_CONDITIONAL: ("#9ecae1", "#000000"),
    Status.ELIGIBLE: ("#08519c", "#ffffff"),
}
_INK, _GREY, _LINE, _FAINT = "#1a1a1a", "#595959", "#bdbdbd", "#eeeeee"
_STRICTER, _LOOSER = "#d94801", "#2171b5"
_STRICTER_2, _LOOSER_2 = "#fdae6b", "#9ecae1"


class _Sheet:
    """A white sheet on which things are drawn one after the other."""

    def __init__(self, width: int, height: int, says: str) -> None:
        self._size = (width, height)
        self._says = escape(says)
        self._drawn: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self._drawn.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>')

    def line(self, x: float, y: float, to_x: float, to_y: float, colour: str = _LINE, width: float = 1) -> None:
        place = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
        self._drawn.append(f'<line {place} stroke="{colour}" stroke-width="{width}"/>')

    def text(
        self, x: float, y: float, words: str, *, size: int = 12, anchor: str = "start", bold: bool = False,
        colour: str = _INK,
    ) -> None:  # fmt: skip
        weight = ' font-weight="bold"' if bold else ""
        self._drawn.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{weight}>'
            f"{escape(words)}</text>"
        )

    def written(self) -> str:
        width, height = self._size
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" font-family="Helvetica, Arial, sans-serif">'
        )
        white = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        return "\n".join([head, f"<title>{self._says}</title>", white, *self._drawn, "</svg>", ""])

    def legend(self, x: float, y: float, statuses: Iterable[Status]) -> None:
        for status in statuses:
            self.box(x, y - 10, 12, 12, COLOUR[status][0])
            self.text(x + 17, y, WORDS[status])
            x += 30 + 6.6 * len(WORDS[status])

    def bar(self, x: float, y: float, width: float, height: float, women: Statuses) -> None:
        """All women of a group by status, with the percentage where there is room for it."""
        counted = Counter(women)
        for status in ORDER:
            part = width * counted[status] / len(women)
            if part == 0:
                continue
            fill, ink = COLOUR[status]
            self.box(x, y, part, height, fill)
            if part >= 22:
                percent = f"{100 * counted[status] / len(women):.0f}"
                self.text(x + part / 2, y + height / 2 + 4, percent, size=11, anchor="middle", colour=ink)
            x += part


def small_multiples(title: str, moved: Sequence[Moved], size: int) -> str:
    """One panel for each number: a bar for each value, the one in force marked."""
    columns, panel_width, panel_height, top = 2, 480, 196, 74
    rows = -(-len(moved) // columns)
    sheet = _Sheet(columns * panel_width, top + rows * panel_height + 8, title)
    seen = {status for one in moved for step in STEPS for status in one.near[step]}
    sheet.text(16, 26, title, size=17, bold=True)
    sheet.legend(16, 52, (status for status in ORDER if status in seen))
    for place, one in enumerate(moved):
        left = place % columns * panel_width + 16
        _panel(sheet, left, top + place // columns * panel_height, one, size)
    return sheet.written()


def _panel(sheet: _Sheet, left: float, top: float, one: Moved, size: int) -> None:
    move, bar_left, bar_width, pitch = one.move, left + 84, 344, 23
    unit = f", {move.unit}" if move.unit else ""
    sheet.text(left, top + 14, f"{move.row}: {move.says}{unit}", size=13, bold=True)
    for line, step in enumerate(STEPS):
        y = top + 26 + line * pitch
        in_force = step == 0
        sheet.text(bar_left - 8, y + 14, move.label(step), anchor="end", bold=in_force)
        if in_force:
            sheet.text(left, y + 14, "▶", size=10)
        sheet.bar(bar_left, y, bar_width, 18, one.near[step])
    bottom = top + 26 + len(STEPS) * pitch
    for percent in (0, 25, 50, 75, 100):
        x = bar_left + bar_width * percent / 100
        sheet.line(x, bottom - 3, x, bottom + 1, _GREY)
        sheet.text(x, bottom + 13, f"{percent}", size=10, anchor="middle", colour=_GREY)
    low, high = (f"{value.normalize():f}" for value in move.spread())
    axis = f"% of {size} women whose own value lies between {low} and {high}"
    sheet.text(bar_left + bar_width / 2, bottom + 28, axis, size=11, anchor="middle", colour=_GREY)


def tornado(title: str, rows: Sequence[tuple[str, Mapping[int, int]]], women: int) -> str:
    """
    For each number how many of 100 women change: to the left by stricter steps, to the right by looser ones.

    `rows`: what it is, and by step (negative is stricter) how many women have another status.
    """
    label, half, pitch, top = 400, 270, 22, 96
    longest = sorted((max(counts.values()) for _, counts in rows), reverse=True)
    # One bar that is far longer than all others is cut off, and its length is written on it.
    most = longest[1] if len(longest) > 1 else longest[0]
    end = max(5, 5 * -(-100 * most // (5 * women)))
    scale = half / end
    sheet = _Sheet(label + 2 * half + 60, top + len(rows) * pitch + 50, title)
    middle = label + half + 20
    sheet.text(16, 26, title, size=17, bold=True)
    x: float = 16
    for fill, words in (
        (_STRICTER_2, "two steps stricter"),
        (_STRICTER, "one step stricter"),
        (_LOOSER, "one step looser"),
        (_LOOSER_2, "two steps looser"),
    ):
        sheet.box(x, 42, 12, 12, fill)
        sheet.text(x + 17, 52, words)
        x += 150
    bottom = top + len(rows) * pitch
    for percent in range(end + 1):
        for x_ in {middle - percent * scale, middle + percent * scale}:
            sheet.line(x_, top - 6, x_, bottom + 4, _LINE if percent % 5 == 0 else _FAINT)
            if percent % 5 == 0:
                sheet.text(x_, bottom + 20, f"{percent}", size=11, anchor="middle", colour=_GREY)
    for line, (says, counts) in enumerate(rows):
        y = top + line * pitch
        sheet.text(label, y + 13, says, anchor="end")
        for step, fill in ((-2, _STRICTER_2), (2, _LOOSER_2), (-1, _STRICTER), (1, _LOOSER)):
            share = 100 * counts[step] / women
            length = scale * min(share, end)
            thin = 5 if abs(step) == 1 else 0
            sheet.box(middle - length if step < 0 else middle, y + 2 + thin / 2, length, 14 - thin, fill)
        for step in (-2, 2):
            one, two = (100 * counts[steps] / women for steps in (step // 2, step))
            if two > end:
                x = middle + scale * end * (0.5 if step > 0 else -0.5)
                words = f"cut off: one step {one:.0f} %, two {two:.0f} %"
                sheet.text(x, y + 13, words, size=11, anchor="middle", bold=True)
    sheet.line(middle, top - 6, middle, bottom + 4, _INK)
    sheet.text(middle - 8, top - 14, "stricter: fewer may get a dose", size=11, anchor="end", colour=_GREY)
    sheet.text(middle + 8, top - 14, "looser", size=11, colour=_GREY)
    axis = f"% of {women} women with EPDS 10 or more whose status changes"
    sheet.text(middle, bottom + 40, axis, size=12, anchor="middle", colour=_GREY)
    return sheet.written()


def stacked(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, Statuses]]]], axis: str) -> str:
    """Groups of bars, each bar all its women by status."""
    left, width, pitch, top = 210, 640, 26, 84
    lines = sum(len(bars) + 2 for _, bars in groups)
    sheet = _Sheet(left + width + 40, top + lines * pitch + 20, title)
    seen = {status for _, bars in groups for _, women in bars for status in women}
    sheet.text(16, 26, title, size=17, bold=True)
    sheet.legend(16, 52, (status for status in ORDER if status in seen))
    y = top
    for says, bars in groups:
        sheet.text(16, y + 10, says, size=13, bold=True)
        y += pitch - 6
        for label, women in bars:
            sheet.text(left - 8, y + 15, label, anchor="end")
            sheet.bar(left, y, width, 20, women)
            y += pitch
        for percent in (0, 25, 50, 75, 100):
            x = left + width * percent / 100
            sheet.line(x, y - 4, x, y, _GREY)
            sheet.text(x, y + 12, f"{percent}", size=10, anchor="middle", colour=_GREY)
        sheet.text(
            left + width / 2, y + 26, f"% of {len(bars[0][1])} women; {axis}", size=11, anchor="middle", colour=_GREY
        )
        y += 2 * pitch - 6
    return sheet.written()
