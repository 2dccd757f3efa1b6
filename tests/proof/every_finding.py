"""
Everything that a chart can say of one fact, cut into as few kinds as the service can tell apart.

A finding has seven parts. Each is varied over all that it can be; numbers and times over one example for each stretch
between two limits and for each limit itself, which is all that a comparison can tell apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import combinations, pairwise, product
from types import SimpleNamespace
from typing import Any, Final

from sections import CRITERIA, INPUTS, NOT_INDICATED, SAFETY

from cds_service.clinical import derived, eligibility
from cds_service.clinical.derived import Grounds
from cds_service.clinical.eligibility import Rows
from cds_service.clinical.facts import Doubt, Evidence, Facts, Finding, State
from cds_service.clinical.moment import Moment, Precision, exactly
from cds_service.clinical.stage import Stage
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Input
from cds_service.knowledge.shapes import Test as Banded

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PARTS: Final = ("state", "evidence", "values", "at", "conflict", "incomplete", "doubt")
_ENTRY: Final = Evidence("Observation/one")
_ODD_DATES: Final = (
    exactly(NOW + timedelta(seconds=1)),
    Moment(NOW - timedelta(days=1), NOW, Precision.DAY, "day"),
    Moment(NOW - timedelta(minutes=1), NOW, Precision.MONTH, "month"),
    Moment(NOW - timedelta(minutes=1), NOW, Precision.YEAR, "year"),
)
# Facts that are reckoned from numbers of two others, or from the clock. The proof lets them be anything.
RECKONED: Final = ("shock_index", "body_mass_index", "minutes_since_birth")
# Facts that follow from others by yes and no: what they rest on is varied, and they are worked out by the service.
FOLLOWING: Final = (
    "age_known",
    "bipolar_known",
    "birth_time_known",
    "blood_loss_not_caesarean",
    "dosing_weight",
    "epds_below_indication",
    "no_conflict",
    "safety_concern",
    "stage_for_a_dose",
    "vasopressor_unexplained",
)
_ON_THE_WAY: Final = {"vasopressor_unexplained": ("vasopressor_explained",)}
_NOBODY_KNOWS: Final = "what_nobody_knows"
Key = tuple[Any, ...]


class Watched(Facts):
    """Facts that remember which of them were looked at."""

    def __init__(self, findings: Mapping[str, Finding]) -> None:
        super().__init__(findings, NOW)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Finding:
        self.read.add(name)
        return super().__getitem__(name)


def values_between(limits: Collection[Fraction]) -> tuple[Fraction, ...]:
    """One number below all limits, each limit, one between two neighbours, and one above all."""
    marks = sorted(limits)
    if not marks:
        return (Fraction(72),)
    between = [(low + high) / 2 for low, high in pairwise(marks)]
    return tuple(sorted({*marks, *between, marks[0] / 2, marks[-1] + 1}))


def every_finding(limits: Collection[Fraction], minutes: Collection[int], *, odd_dates: bool) -> Iterator[Finding]:
    """Each state, with each set of values, each date, each flag, each doubt, and with or without an entry."""
    cells = values_between(limits)
    some = [chosen for size in range(len(cells) + 1) for chosen in combinations(cells, size)]
    twice = [(value, value) for value in cells]
    on_time = [exactly(NOW - timedelta(minutes=m, seconds=s)) for m in minutes for s in (0, 1)]
    dates = [None, exactly(NOW), *on_time, *(_ODD_DATES if odd_dates else ())]
    for state, values, at in product(State, [*some, *twice], dates):
        for conflict, incomplete, doubt in product((False, True), (False, True), (None, Doubt.NOT_RECEIVED)):
            for evidence in ((), (_ENTRY,)):
                yield Finding(state, evidence, values, at, conflict, incomplete, doubt)


@dataclass(frozen=True)
class Kind:
    """Findings of one fact that nobody who asks can tell apart: one of them, and how many ways there are."""

    like: Finding
    many: int


class Questions:
    """Whatever the tables of the service, and the sections of the decision logic, ask about each fact."""

    def __init__(self, knowledge: Knowledge, rows: Rows, sources: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.rows, self.knowledge = rows, knowledge
        criteria = (*rows.contraindications, *rows.reviews)
        self.tests = _by_fact(
            [
                *((test.fact, test) for row in criteria for test in row.test),
                *((test.fact, test) for test in (*knowledge.risk.safety, *knowledge.risk.not_indicated)),
            ]
        )
        self.inputs = _by_fact([(name, row) for row in rows.inputs for name in row.facts])
        self.lines = _by_fact(
            [
                *((line.fact, line) for lines in CRITERIA.values() for line in lines),
                *((line.fact, line) for line in (*SAFETY, NOT_INDICATED)),
            ]
        )
        self.needed = _by_fact([(name, needed) for needed in INPUTS.values() for name in needed.facts])
        self.asked = {*self.tests, *self.inputs, *self.lines, *self.needed, "epds_below_indication"}
        self.sources = sources or {name: self._sources(name) for name in FOLLOWING}
        rest_on = {source for name in FOLLOWING if name in self.asked for source in self.sources[name]}
        # What is varied: everything that is asked, but for what follows; and what that rests on.
        self.varied: tuple[str, ...] = tuple(sorted((self.asked - set(FOLLOWING)) | rest_on))
        self._alone: dict[tuple[str, str], Rows] = {}
        self._banded: dict[tuple[str, Key], Key] = {}
        self._dated: dict[tuple[str, bool, Key], Key] = {}
        self._met: dict[Key, tuple[Finding, Key]] = {}
        self._followed: dict[Key, tuple[tuple[Finding, ...], Finding]] = {}
        self._asked_for: dict[tuple[str, Stage, frozenset[str]], str] = {}

    def follows(self, name: str, findings: Mapping[str, Finding], stage: Stage) -> Finding:
        """The fact that follows from these, as the service works it out."""
        found, read = self._watched(name, findings, stage)
        assert read <= set(self.sources[name]), f"{name} looks at more than is varied"
        return found

    def _watched(self, name: str, findings: Mapping[str, Finding], stage: Stage) -> tuple[Finding, set[str]]:
        grounds = Grounds(self.knowledge.risk, self.knowledge.contraindications, stage, ())
        known, read = dict(findings), set()
        for step in (*_ON_THE_WAY.get(name, ()), name):
            facts = Watched(known)
            known[step] = getattr(derived, step)(facts, grounds)
            read |= facts.read
        return known[name], read - set(_ON_THE_WAY.get(name, ()))

    def _sources(self, name: str) -> tuple[str, ...]:
        """What it looks at: tried with nothing known, nothing so, everything so, in every stage, until no more."""
        read: set[str] = set()
        while True:
            seen = set(read)
            for stage, states in product(Stage, product(State, repeat=min(len(read), 5))):
                findings = {source: Finding(state) for source, state in zip(sorted(read), states, strict=True)}
                seen |= self._watched(name, findings, stage)[1]
            if seen == read:
                return tuple(sorted(read))
            read = seen

    def key(self, name: str, finding: Finding, stage: Stage) -> Key:
        """Every answer about this fact: those of the service, and those of the decision logic."""
        born = stage is not Stage.PREGNANT
        by_value = (finding.state, finding.values, finding.conflict, finding.incomplete)
        by_date = (
            finding.state,
            finding.at,
            finding.conflict,
            finding.incomplete,
            finding.doubt,
            finding.evidence,
        )
        if (banded := self._banded.get((name, by_value))) is None:
            banded = self._banded[name, by_value] = self._of_bands(name, *by_value)
        if (dated := self._dated.get((name, born, by_date))) is None:
            dated = self._dated[name, born, by_date] = self._of_dates(name, stage, *by_date)
        return (finding.state, banded[0], dated[0], banded[1], dated[1])

    def key_once(self, name: str, finding: Finding, stage: Stage) -> Key:
        """The same for a finding that is met again and again, as those that stand for a kind are."""
        asked = (name, id(finding), stage is Stage.PREGNANT)
        if asked not in self._met:
            self._met[asked] = (finding, self.key(name, finding, stage))  # kept, so that no other gets its id
        return self._met[asked][1]

    def follows_once(self, name: str, findings: Mapping[str, Finding], stage: Stage) -> Finding:
        """The same for what follows from such findings."""
        given = tuple(findings[source] for source in self.sources[name])
        asked = (name, stage, *map(id, given))
        if asked not in self._followed:
            self._followed[asked] = (given, self.follows(name, findings, stage))
        return self._followed[asked][1]

    def _of_bands(self, name: str, state: State, values: tuple[Any, ...], conflict: bool, incomplete: bool) -> Key:
        """
        The tests and the lines, asked with a finding that has these four parts only.

        Whoever looked at another part would fail. So no answer depends on one.
        """
        bare: Any = SimpleNamespace(state=state, values=values, conflict=conflict, incomplete=incomplete)
        return (
            tuple(eligibility.holds(test, bare) for test in self.tests.get(name, ())),
            tuple(line.says(bare) for line in self.lines.get(name, ())),
        )

    def _of_dates(self, name: str, stage: Stage, *parts: Any) -> Key:
        """The D rows, asked with a finding that has no values: no D row looks at a number."""
        given = dict(zip(("state", "at", "conflict", "incomplete", "doubt", "evidence"), parts, strict=True))
        bare: Any = SimpleNamespace(**given)
        return (
            tuple(self.is_known(row, name, bare, stage) for row in self.inputs.get(name, ())),
            tuple(needed.is_known(bare, NOW, born=stage is not Stage.PREGNANT) for needed in self.needed.get(name, ())),
        )

    def asked_for(self, row: Input, stage: Stage, tightened: frozenset[str]) -> str:
        """Does the service block on this D row, have it confirmed, or neither? Asked with nothing on record."""
        asked = (row.id, stage, tightened)
        if asked not in self._asked_for:
            judged = eligibility.judge(
                Facts({}, NOW),
                Rows((), (), (), (row,)),
                stage=stage,
                ppd_order=False,
                protocol=None,
                tightened=tightened,
            )
            self._asked_for[asked] = "block" if judged.missing else "confirm" if judged.confirm else "none"
        return self._asked_for[asked]

    def is_known(self, row: Input, name: str, finding: Finding, stage: Stage) -> bool:
        """
        Does this fact alone satisfy the D row? `judge` is asked with one more criterion, which nobody can answer and
        which names this row: the criterion is left open just when the row is satisfied.
        """
        rows = self._alone.get((row.id, name)) or self._alone.setdefault((row.id, name), self._only(row, name))
        judged = eligibility.judge(Facts({name: finding}, NOW), rows, stage=stage, ppd_order=False, protocol=None)
        return any(open_.id == rows.contraindications[0].id for open_ in judged.missing)

    def _only(self, row: Input, name: str) -> Rows:
        """One D row, of one fact; and a criterion that no chart answers, for which this row stands."""
        question = Banded(fact=_NOBODY_KNOWS, says="Nobody knows", inputs=(row.id,))
        criterion = self.knowledge.contraindications.criterion[0].model_copy(update={"id": "C99", "test": (question,)})
        return Rows((criterion,), (), (), (row.model_copy(update={"facts": (name,)}),))

    def kinds(self, name: str) -> tuple[Kind, ...]:
        """Every finding of this fact, those together that get the same answers, here and wherever it is passed on."""
        first: dict[Key, Finding] = {}
        many: Counter[Key] = Counter()
        for finding, answers in self._answered(name):
            first.setdefault(answers, finding)
            many[answers] += 1
        return tuple(Kind(finding, many[answers]) for answers, finding in first.items())

    def with_their_kind(self, name: str, kinds: tuple[Kind, ...]) -> Iterator[tuple[Finding, Kind]]:
        """Every finding of this fact, and the kind that it is of: kinds stand in the order in which they are met."""
        first: dict[Key, Kind] = {}
        for finding, answers in self._answered(name):
            yield finding, first.setdefault(answers, kinds[min(len(first), len(kinds) - 1)])

    def findings(self, name: str) -> Iterator[Finding]:
        """Every finding of this fact, with each value and date at which any answer could change."""
        passed_on = [name, *(fact for fact in FOLLOWING if name in self.sources[fact])]
        limits = {limit for fact in passed_on for limit in self.limits(fact)}
        minutes = {m for fact in passed_on for m in self.minutes(fact)}
        return every_finding(limits, minutes, odd_dates=bool(minutes) or name == "birth")

    def _answered(self, name: str) -> Iterator[tuple[Finding, Key]]:
        """Every finding of this fact, and every answer that it gets, also where it is passed on."""
        passed_on = [name, *(fact for fact in FOLLOWING if name in self.sources[fact])]
        alone = [fact for fact in FOLLOWING if self.sources[fact] == (name,)]
        sides = (Stage.PREGNANT, Stage.AFTER_BIRTH)
        for finding in self.findings(name):
            direct = tuple(self.key(fact, finding, stage) for fact in passed_on for stage in sides)
            follows = (self.key(fact, self.follows(fact, {name: finding}, s), s) for fact in alone for s in Stage)
            yield finding, (direct, tuple(follows))

    def limits(self, fact: str) -> set[Fraction]:
        """Where the service, or the decision logic, draws a line."""
        tables = (t for test in self.tests.get(fact, ()) for t in (test.at_least, test.above, test.below))
        return {Fraction(limit) for limit in tables if limit is not None} | {
            limit for line in self.lines.get(fact, ()) for limit in line.limits
        }

    def minutes(self, fact: str) -> set[int]:
        """How old it may be."""
        tables = (m for row in self.inputs.get(fact, ()) for m in (row.before_minutes, row.after_minutes))
        logic = (m for needed in self.needed.get(fact, ()) for m in needed.minutes)
        return {m for m in (*tables, *logic) if m is not None}


def parts_of_a_finding() -> tuple[str, ...]:
    return tuple(part.name for part in fields(Finding))


def _by_fact(pairs: list[tuple[str, Any]]) -> Mapping[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for fact, asked in pairs:
        if asked not in found.get(fact, ()):
            found[fact] = (*found.get(fact, ()), asked)
    return found
