"""Writes what was measured, for clinicians: plain words, tables, pictures. Each figure in the text is counted here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import sqrt
from textwrap import fill

from cds_service.clinical.eligibility import Status
from cds_service.clinical.risk import Tier
from sensitivity.measure import Found, Moved
from sensitivity.measure import Statuses as Women
from sensitivity.moves import MOVES, NOT_MOVED, STEPS, Move
from sensitivity.pictures import ORDER, WORDS, small_multiples, stacked, tornado
from sensitivity.women import (
    AGE,
    BLOOD_LOSS_ML,
    EPDS_ABOVE_10,
    MEAN_AGE,
    MEDICINES,
    NORMAL,
    POSITIVE,
    PROBLEMS,
    SHARES,
    SPO2_BELOW_100,
)

THEMES: Mapping[str, str] = {
    "screens": "Screens",
    "circulation": "Blood pressure and circulation",
    "breathing": "Breathing and heart rate",
    "body": "Weight and laboratory values",
    "birth": "Birth",
    "medicines": "Medicines: for how long a dose counts",
}
_WHOSE = {"[P]": "project choice", "window": "window", "source": "from a source"}
# A site has a protocol in all tables but one line.
_SHOWN = tuple(status for status in ORDER if status is not Status.NO_APPROVED_PROTOCOL)


def written(found: Found) -> dict[str, str]:
    """The report and its pictures, by their names below docs/."""
    pictures = {
        "images/sensitivity-numbers.svg": tornado(
            "Which numbers decide",
            [(_named(one.move), _by_strictness(one)) for one in _ranked(found)],
            len(found.positive),
        ),
        "images/sensitivity-missing.svg": _missing_picture(found),
    }
    for theme, title in THEMES.items():
        ours = [one for one in found.moved if one.move.theme == theme]
        if ours:
            pictures[f"images/sensitivity-{theme}.svg"] = small_multiples(title, ours, found.sizes.near)
    return {"sensitivity.md": "\n".join(_lines(found)) + "\n", **pictures}


# ---- Counting


def _changed(before: Women, after: Women) -> int:
    return sum(one is not other for one, other in zip(before, after, strict=True))


def _with_dose(women: Women) -> int:
    return sum(status.allows_a_dose for status in women)


def _opened(before: Women, after: Women) -> int:
    """Women who had no dose before and may have one after."""
    return sum(not one.allows_a_dose and other.allows_a_dose for one, other in zip(before, after, strict=True))


def _stricter(move: Move, step: int) -> int:
    """The step in the number that makes so many steps in strictness: -2 is two steps stricter."""
    return step if move.stricter == "lower" else -step


def _by_strictness(one: Moved) -> dict[int, int]:
    return {step: _changed(one.positive[0], one.positive[_stricter(one.move, step)]) for step in STEPS if step != 0}


def _ranked(found: Found) -> list[Moved]:
    """Those that change most women first; of those that change as many, in the order of the decision logic."""
    return sorted(found.moved, key=lambda one: (-max(_by_strictness(one).values()), -sum(_by_strictness(one).values())))


def _named(move: Move) -> str:
    return f"{move.row}: {_told(move)}"


def _told(move: Move) -> str:
    unit = f" {move.unit}" if move.unit else ""
    return f"{move.says} {move.label(0)}{unit}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _error(share: float, women: int) -> str:
    """Half the width of the 95 % interval, in points."""
    return f"{196 * sqrt(share * (1 - share) / women):.1f}"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def _mix(women: Women) -> list[str]:
    counted = Counter(women)
    return [f"{counted[status]}" for status in _SHOWN]


# ---- The page


def _lines(found: Found) -> Iterator[str]:
    yield from _head(found)
    yield from _in_short(found)
    yield from _how_to_read(found)
    yield from _numbers(found)
    yield from _each_number(found)
    yield from _epds_bands(found)
    yield from _inputs(found)
    yield from _missing(found)
    yield from _not_moved()
    yield from _cohort()
    yield from _again(found)


def _head(found: Found) -> Iterator[str]:
    ward, positive, near = found.sizes.ward, found.sizes.positive, found.sizes.near
    yield f"""# Sensitivity report

For those who must approve the numbers: obstetric anaesthesia, maternal-fetal medicine, perinatal psychiatry, pharmacy,
and the pharmacy and therapeutics committee. It shows how the rules of this service react when a number moves, when
something is not known, and when something is abnormal.

| | |
|---|---|
| Knowledge | version {found.version}, `{found.hash[:19]}…` |
| Numbers moved here | {len(found.moved)}, `{found.digest}` |
| Made by | `.venv/bin/python benchmarks/sensitivity` |

> **The women are invented.** They are drawn by chance from distributions that this project has assumed
> ([the list](#how-the-women-are-drawn)). Nobody counted them in a hospital. So this report shows **how the rules
> react**. It does not show how many women in your hospital will get which answer, nor whether any number is right.
> Nobody has clinically reviewed it.

Every woman is written as a FHIR chart and goes through the service as a call of an EHR does: a birth is ordered, the
site has approved esketamine, and the status is what the service answers. A number is moved in a copy of the tables; the
code is the same. Three groups are used:
"""
    rows = [
        [
            "**Ward**",
            f"{ward:,}",
            f"drawn as listed below; {POSITIVE * 100:.1f} of 100 are drawn with an EPDS of 10 or more",
        ],
        [
            "**Positive screen**",
            f"{positive}",
            "the same women, but all with an EPDS of 10 or more: those about whom it is asked",
        ],
        [
            "**Near the line**",
            f"{near} for each number",
            "nothing speaks against the medicine but, perhaps, the value in question: spread evenly around its number",
        ],
    ]
    yield from _table(["Group", "Women", "What it is for"], rows)
    yield ""


def _in_short(found: Found) -> Iterator[str]:
    women, n = found.positive, len(found.positive)
    counted = Counter(women)
    ranked = _ranked(found)
    silent = [one for one in found.moved if not any(_by_strictness(one).values())]
    unknown = sorted(found.asked, key=lambda one: -_changed(women, one.unknown))
    opened = [f"{one.says} ({count})" for one in found.asked if (count := _opened(women, one.unknown))]
    _, lowest, *_, highest = found.missing_positive
    may = _with_dose(women)
    chosen = [one for one in ranked if one.move.whose == "[P]"]
    told = [f"{one.says} ({_percent(_changed(women, one.unknown), n)})" for one in unknown[:4]]
    rate, index, stop = (_move(name).in_force() for name in ("pulse-fast", "shock-review", "shock-stop"))
    review, blood = (_move(name).in_force() for name in ("loss-review", "loss-stop"))
    yield "## In short\n"
    yield _point(
        f"1. **Most women get no dose.** With an EPDS of 10 or more and everything recorded, {may} of {n} "
        f"({_percent(may, n)}) may be offered one; {counted[Status.SPECIALIST_REVIEW]} go to specialist review and "
        f"{counted[Status.CONTRAINDICATED]} have a contraindication. At a site without an approved protocol nobody may "
        f'be offered one: {Counter(found.unapproved)[Status.NO_APPROVED_PROTOCOL]} become "no approved protocol".'
    )
    yield _point(
        f"2. **The number that decides most** in this cohort, within two steps: {_top(ranked[:1], n)}. Of the project "
        f"choices: {_top(chosen[:6], n)}."
    )
    yield _point(
        f"3. **{len(silent)} of the {len(found.moved)} numbers change nobody** in this cohort, in any of the four "
        "steps: what they are about is rare here, or another reason speaks first. Near the line each of them decides, "
        "except the EPDS from which the risk is high: it moves the tier only."
    )
    yield _point(f"4. **The inputs that decide most when they alone are unknown:** {_list(told)}.")
    yield _point(
        f"5. **Missing data mostly closes, and it can open.** With {lowest} % of each input missing, "
        f"{_with_dose(found.missing_positive[lowest])} of {n} women may be offered a dose, with {highest} % "
        f"{_with_dose(found.missing_positive[highest])}, instead of {may}. {_openers(opened)}"
    )
    yield _point(
        f"6. **Some numbers stand in each other's way.** A heart rate above {rate} is a shock index of {index} or more "
        f"(R16) whenever the systolic pressure is {rate / index:.0f} mmHg or less, and of {stop} or more (C13) at "
        f"{rate / stop:.0f} mmHg or less. So the limit of R20 seldom decides alone, and raising it changes little."
    )
    yield _point(
        f"7. **At a caesarean there is no review before the stop.** R16 asks for a review from {review} mL at other "
        f'births only. At a caesarean {blood} mL (C13) takes a woman from "may get a dose" to "contraindicated" at '
        "once."
    )
    yield ""


def _top(moved: Sequence[Moved], women: int) -> str:
    """Each number, its row, and how many women it changes within two steps."""
    counted = [(one.move, max(_by_strictness(one).values())) for one in moved]
    return _list([f"{_told(move)} ({move.row}; {count} of {women})" for move, count in counted] or ["none"])


def _openers(inputs: Sequence[str]) -> str:
    if not inputs:
        return "No input does this alone."
    return (
        f"But one input that is not charted can let a woman through whom it would have held back: {_list(inputs)}. "
        "Such an input is one that the decision logic lets be confirmed at the bedside (a line on the start checklist) "
        "or laboratory values, of which none counts as none abnormal. A site can make D05, D09, D11 and D12 block "
        "instead (`tighten` in the site file), but not height, laboratory values, or a birth that nobody recorded."
    )


def _point(words: str) -> str:
    return fill(words, 120, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False)


def _move(id_: str) -> Move:
    return next(move for move in MOVES if move.id == id_)


def _how_to_read(found: Found) -> Iterator[str]:
    n, ward = len(found.positive), len(found.ward)
    yield """## How to read it

**Status.** The first that is true: *not indicated* (EPDS below 10), *contraindicated* (a C row), *specialist review*
(an R row), *data missing* (a D row that blocks), *no approved protocol*, *eligible, conditional* (before birth, or
something is to be confirmed at the bedside), *eligible*. A dose is shown in the last two only. Here a birth is ordered;
when the medicine itself is ordered, C and R rows speak before *not indicated*.

**A step** is a size that somebody might propose in a meeting. It is no measure of doubt, and the steps of two numbers
cannot be compared with each other.
"""
    yield fill(
        f"**Sampling error.** A share of 50 % is known to ± {_error(0.5, n)} points among {n} women and "
        f"± {_error(0.5, ward)} among {ward:,} (95 %); one of 10 % to ± {_error(0.1, n)} and ± {_error(0.1, ward)}. A "
        "change is counted woman by woman in the same women, so it is exact for this cohort. "
        f"*0 of {n}* means: below {300 / n:.1f} % in all women drawn this way. None of this covers the larger doubt, "
        "that the distributions are invented. Near the line hardly anything is drawn by chance: values stand evenly.",
        120,
    )
    yield ""


def _numbers(found: Found) -> Iterator[str]:
    n = len(found.positive)
    yield f"""## Which numbers decide

How many women of the cohort with a positive screen get another status when one number moves. The order depends on how
common each problem was made in this cohort: it shows where to look first, not what is important. Here every EPDS is 10
or more, so a lower number to start from changes nobody; [the whole ward](#the-bands-of-the-epds-in-the-whole-ward)
shows what it does.

![For each number, the percentage of {n} women whose status changes](images/sensitivity-numbers.svg)

*Changed*: women of {n} with another status; *May get a dose*: women of {n}; both in the order of the five values.
*Whose*: a *project choice* is marked [P] in the decision logic and has no outside source; a *window* says for how long
something counts; the others come from a source that their row names.
"""
    head = [
        "Row",
        "Number",
        "Whose",
        "2 stricter",
        "1 stricter",
        "**In force**",
        "1 looser",
        "2 looser",
        "Changed",
        "May get a dose",
    ]
    yield from _table(head, (_number_row(one) for one in _ranked(found)))
    yield ""


def _number_row(one: Moved) -> list[str]:
    move, changed = one.move, _by_strictness(one)
    values = [move.label(_stricter(move, step)) for step in STEPS]
    values[2] = f"**{values[2]}**"
    doses = [str(_with_dose(one.positive[_stricter(move, step)])) for step in STEPS]
    doses[2] = f"**{doses[2]}**"
    counts = [str(changed[step]) if step else "·" for step in STEPS]
    says = f"{move.says}, {move.unit}" if move.unit else move.says
    return [move.row, says, _WHOSE[move.whose], *values, " ".join(counts), " ".join(doses)]


def _each_number(found: Found) -> Iterator[str]:
    yield f"""## Each number: how the mix of statuses moves

The pictures show the {found.sizes.near} women **near the line** of each number. ▶ marks the value in force. Their
values are placed evenly, so a step moves about one in six of them wherever this number alone decides. Look at where
they go, and at numbers where a step moves fewer: there another rule takes over. Below each picture: the same as a
table, and the mix among the {len(found.positive)} women with a **positive screen**.
"""
    for theme, title in THEMES.items():
        ours = [one for one in found.moved if one.move.theme == theme]
        if not ours:
            continue
        yield f"### {title}\n"
        yield f"![{title}: the mix of statuses at five values of each number](images/sensitivity-{theme}.svg)\n"
        yield from _folded(f"Table: women near the line ({found.sizes.near} each)", ours, near=True)
        yield from _folded(f"Table: women with a positive screen ({len(found.positive)})", ours, near=False)


def _folded(says: str, ours: Sequence[Moved], *, near: bool) -> Iterator[str]:
    head = ["Row", "Number", "Value", *(WORDS[status] for status in _SHOWN), "changed"]
    rows = []
    for one in ours:
        women = one.near if near else one.positive
        for step in STEPS:
            label = one.move.label(step)
            name = f"{one.move.says}, {one.move.unit}" if one.move.unit else one.move.says
            changed = str(_changed(women[0], women[step])) if step else "in force"
            rows.append([one.move.row, name, f"**{label}**" if step == 0 else label, *_mix(women[step]), changed])
    yield f"<details><summary>{says}</summary>\n"
    yield from _table(head, rows)
    yield "\n</details>\n"


def _epds_bands(found: Found) -> Iterator[str]:
    ours = [one for one in found.moved if one.tiers]
    if not ours:
        return
    yield f"""### The bands of the EPDS in the whole ward

In the ward ({len(found.ward):,} women) the EPDS decides first. From where the risk is high moves the tier of risk, on
which counselling and follow-up are suggested; it moves no status of the medicine. R05 stands in the tables above.
"""
    head = ["Number", "Value", *(f"risk {tier.value}" for tier in Tier), *(WORDS[status] for status in _SHOWN)]
    rows = []
    for one in ours:
        for step in STEPS:
            label = one.move.label(step)
            tiers = [str(one.tiers[step].get(tier, 0)) for tier in Tier]
            rows.append([one.move.says, f"**{label}**" if step == 0 else label, *tiers, *_mix(one.ward[step])])
    yield from _table(head, rows)
    yield ""


def _inputs(found: Found) -> Iterator[str]:
    women, n = found.positive, len(found.positive)
    yield f"""## Which inputs decide

For each input alone: what if it were not known, and what if it were abnormal, in each of the {n} women with a positive
screen? All else stays as it is. An abnormal input changes nobody who already has a reason as strong. Two inputs exist
after birth only, so they can change at most the {found.born} women who have given birth; without a birth on record such
a woman counts as before birth.

### When it alone is unknown

*Held back*: women who may get a dose with the whole chart and may not without this input. *Let through*: the reverse.
They had a reason that only this input showed. They are then "eligible, conditional" or "eligible", and the start
checklist asks for what is to be confirmed. *Of these, C*: those whom the whole chart calls contraindicated.
"""
    rows = []
    for one in sorted(found.asked, key=lambda one: -_changed(women, one.unknown)):
        changed = _changed(women, one.unknown)
        held, opened = _opened(one.unknown, women), _opened(women, one.unknown)
        grave = sum(
            before is Status.CONTRAINDICATED and after.allows_a_dose
            for before, after in zip(women, one.unknown, strict=True)
        )
        told = [one.says, one.row, f"{changed}", _percent(changed, n), f"{held}", f"{opened}", f"{grave}"]
        rows.append([*told, _where(women, one.unknown)])
    head = ["Input", "Row", f"Changed, of {n}", "Share", "Held back", "Let through", "Of these, C", "Most often"]
    yield from _table(head, rows)
    yield "\n### When it alone is abnormal\n"
    pairs = [(one, says, after) for one in found.asked for says, after in one.abnormal.items()]
    pairs.sort(key=lambda pair: -_changed(women, pair[2]))
    rows = [
        [
            one.says,
            says,
            f"{_changed(women, after)}",
            _percent(_changed(women, after), n),
            f"{_with_dose(after)}",
            _where(women, after),
        ]
        for one, says, after in pairs
    ]
    yield from _table(["Input", "Abnormal", f"Changed, of {n}", "Share", "May still get a dose", "Most often"], rows)
    yield ""


def _where(before: Women, after: Women) -> str:
    """The most frequent change, in words."""
    changes = Counter((one, other) for one, other in zip(before, after, strict=True) if one is not other)
    if not changes:
        return "nobody changes"
    (one, other), count = min(changes.items(), key=lambda item: (-item[1], item[0]))
    return f"{WORDS[one]} → {WORDS[other]} ({count})"


def _missing(found: Found) -> Iterator[str]:
    women = found.missing_positive
    n = len(found.positive)
    yield f"""## When data is missing

Each input goes missing by chance and by itself, in 0 to {max(women)} of 100 women. What is missing at 5 % is missing at
10 %, too. In a hospital data is not missing by chance: a whole list fails, or one ward does not chart blood loss.

![The mix of statuses with 0 to {max(women)} % of each input missing](images/sensitivity-missing.svg)

*Let through*: women who may get a dose although the whole chart would have held them back.
"""
    rows = []
    for says, groups in (("Positive screen", women), ("Ward", found.missing_ward)):
        for share, after in groups.items():
            rows.append([says, f"{share} %", *_mix(after), _with_dose(after), _opened(groups[0], after)])
    head = ["Group", "Missing", *(WORDS[status] for status in _SHOWN), "may get a dose", "let through"]
    yield from _table(head, rows)
    yield f"\nEach row of the table is {n} women.\n"


def _missing_picture(found: Found) -> str:
    groups = [
        (says, [(f"{share} % missing", women) for share, women in mixes.items()])
        for says, mixes in (("Positive screen", found.missing_positive), ("Ward", found.missing_ward))
    ]
    return stacked("When data is missing", groups, "each input missing by itself and by chance")


def _not_moved() -> Iterator[str]:
    yield "## What was not moved\n"
    yield "Numbers that stand in the rules and were left where they are:\n"
    yield from _table(["What", "Why"], NOT_MOVED.values())
    yield ""


def _cohort() -> Iterator[str]:
    mean, deviation = AGE
    yield """## How the women are drawn

**Two numbers come from publications.** Neither describes your patients, and neither source was checked beyond its
abstract.
"""
    yield from _table(
        ["What", "Number", "Source"],
        [
            [
                "Age",
                f"normal, mean {mean} years, SD {deviation}",
                "`wang-bmj-2024`: 364 mothers in a trial in China, all with an EPDS of 10 or more",
            ],
            [
                "EPDS of 10 or more, in the ward",
                f"{POSITIVE * 100:.1f} of 100",
                "`chictr2100053422`: the control arm after unselected caesareans in China, on day 4 after birth",
            ],
        ],
    )
    yield """
**All else is an assumption of this project**, chosen so that each rule has some women to decide about. It is no real
population for at least four reasons: most frequencies were chosen, not counted; each thing is drawn by itself, while in
life pre-eclampsia, blood pressure, magnesium and caesarean come together; hazards that are rare in life are made
common; and at the start nothing is missing.
"""
    rows: list[list[str]] = [[what, f"normal, mean {mean}, SD {sd}"] for what, (mean, sd) in NORMAL.items()]
    rows += [
        [f"time since: {what}" if not what.startswith("since") else f"time {what}", f"exponential, mean {mean}"]
        for what, mean in MEAN_AGE.items()
    ]
    rows += [
        ["EPDS below 10", "evenly 0 to 9"],
        ["EPDS of 10 or more", f"10 and more, exponential, {EPDS_ABOVE_10:.0f} points above 10 on average, at most 30"],
        ["SpO2, %", f"100 less an exponential with mean {SPO2_BELOW_100:.0f}"],
        [
            "blood loss after birth, mL",
            f"log-normal, median {BLOOD_LOSS_ML[0]}, SD of the logarithm {BLOOD_LOSS_ML[1]}",
        ],
        ["AST and ALT", "log-normal, median 0.6 times the upper limit, SD of the logarithm 0.45"],
    ]
    rows += [[what, f"{share:.0f} of 100"] for what, share in SHARES.items()]
    rows += [
        [f"on the problem list: {name.replace('_', ' ')}", f"{share:.0f} of 100"] for name, share in PROBLEMS.items()
    ]
    rows += [
        [f"given: {name.replace('_', ' ')}", f"{share:.0f} of 100, evenly within {hours:.0f} h"]
        for name, (share, hours) in MEDICINES.items()
    ]
    yield "<details><summary>Every assumption</summary>\n"
    yield from _table(["Assumption", "How it is drawn"], rows)
    yield "\n</details>\n"


def _again(found: Found) -> Iterator[str]:
    yield f"""## To repeat it

```sh
.venv/bin/python benchmarks/sensitivity
```

The draw has a seed: the same tables give the same page, byte for byte. When one of the {len(found.moved)} numbers
changes in the tables, `tests/test_sensitivity.py` fails until the report has been made again. It compares the numbers
moved here (`{found.digest}`), not the whole knowledge, so a new word or code does not outdate the report.

To try a number that is not among the steps, change it in a copy of `cds_service/knowledge` and load that copy: this is
all the report does."""
