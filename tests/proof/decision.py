"""
The whole decision as one formula: rows of tables, joined as `judge` joins them, over every chart at once.

What single facts answer, what a D row asks for and which status follows is not written here: it is asked of the
service, for every finding and every combination. Only how rows are joined stands here, in `decide`, once. The same
lines are read in two ways: with the answers of one chart, to be held against `judge`; and with unknowns in their place,
to be searched by the solver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Final, Protocol

import z3
from every_finding import FOLLOWING, NOW, Key, Kind, Questions
from sections import CRITERIA, INPUTS, NOT_INDICATED, ORDER, Line

from cds_service.clinical import eligibility
from cds_service.clinical.eligibility import Eligibility, Rows, Status
from cds_service.clinical.facts import ABSENT, Facts, Finding, State, present
from cds_service.clinical.stage import Stage
from cds_service.knowledge.shapes import Input
from cds_service.knowledge.shapes import Test as Banded

Truth = Any  # True or False for one chart; a formula for all of them
# What the status rests on: C, R, missing, confirm, approved, before the birth, ordered for prevention, below 10.
Reasons = tuple[bool, ...]
# The D rows that a site may tighten: before the birth or after it they may be confirmed.
TIGHTENABLE: Final = tuple(id_ for id_, needed in INPUTS.items() if "confirm" in needed.asked)


class Chart(Protocol):
    """Whatever can be asked of a chart, or of all charts."""

    def any(self, truths: Iterable[Truth]) -> Truth: ...
    def all(self, truths: Iterable[Truth]) -> Truth: ...
    def no(self, truth: Truth) -> Truth: ...
    def is_so(self, name: str, says: Callable[[Key], bool]) -> Truth: ...
    def blocks(self, row: Input) -> Truth: ...
    def confirms(self, row: Input) -> Truth: ...
    @property
    def circumstances(self) -> tuple[Truth, Truth, Truth]: ...


@dataclass(frozen=True)
class Decided:
    """The outcome of each row, what is missing and to be confirmed, and the eight reasons of the status."""

    met: Mapping[str, Truth]
    open: Mapping[str, Truth]
    missing: Mapping[str, Truth]
    confirm: Mapping[str, Truth]
    reasons: tuple[Truth, ...]


def decide(questions: Questions, rows: Rows, chart: Chart) -> Decided:
    """How rows are joined: a row by its tests, an unanswered row by its D rows, all rows by "any"."""

    def answers(test: Banded, state: State) -> Truth:
        place = questions.tests[test.fact].index(test)
        return chart.is_so(test.fact, lambda key: key[1][place] is state)

    def known(row: Input, name: str) -> Truth:
        place = questions.inputs[name].index(row)
        return chart.is_so(name, lambda key: bool(key[2][place]))

    known_rows = {row.id: chart.all(known(row, name) for name in row.facts) for row in rows.inputs}
    met, open_ = {}, {}
    for row in (*rows.contraindications, *rows.reviews):
        met[row.id] = chart.any(answers(test, State.PRESENT) for test in row.test)
        unanswered = (
            chart.all([answers(test, State.UNKNOWN), *(known_rows[id_] for id_ in test.inputs if id_ in known_rows)])
            for test in row.test
        )
        open_[row.id] = chart.all([chart.no(met[row.id]), chart.any(unanswered)])
    unknown = {id_: chart.no(truth) for id_, truth in known_rows.items()}
    missing = {row.id: chart.all([unknown[row.id], chart.blocks(row)]) for row in rows.inputs}
    confirm = {row.id: chart.all([unknown[row.id], chart.confirms(row)]) for row in rows.inputs}
    missing |= {row.id: open_[row.id] for row in rows.contraindications}
    confirm |= {row.id: open_[row.id] for row in rows.reviews}
    return Decided(met, open_, missing, confirm, reasons_of(chart, met, missing, confirm))


def reasons_of(
    chart: Chart, met: Mapping[str, Truth], missing: Mapping[str, Truth], confirm: Mapping[str, Truth]
) -> tuple[Truth, ...]:
    """The eight reasons of the status."""
    return (
        chart.any(truth for id_, truth in met.items() if id_.startswith("C")),
        chart.any(truth for id_, truth in met.items() if id_.startswith("R")),
        chart.any(missing.values()),
        chart.any(confirm.values()),
        *chart.circumstances,
        chart.is_so("epds_below_indication", lambda key: key[0] is State.PRESENT),
    )


@dataclass(frozen=True)
class Woman:
    """One chart: a finding for every fact that is varied, and what else the decision depends on."""

    questions: Questions
    findings: Mapping[str, Finding]
    stage: Stage
    ppd_order: bool
    protocol: Any
    tightened: frozenset[str]

    @cached_property
    def facts(self) -> Facts:
        """With what follows from them, as the service works it out."""
        following = {name: self.questions.follows_once(name, self.findings, self.stage) for name in FOLLOWING}
        return Facts({**self.findings, **following}, NOW)

    def judged(self) -> Eligibility:
        """By the service."""
        return eligibility.judge(
            self.facts,
            self.questions.rows,
            stage=self.stage,
            ppd_order=self.ppd_order,
            protocol=self.protocol,
            tightened=self.tightened,
        )

    def any(self, truths: Iterable[bool]) -> bool:
        return any(truths)

    def all(self, truths: Iterable[bool]) -> bool:
        return all(truths)

    def no(self, truth: bool) -> bool:
        return not truth

    def is_so(self, name: str, says: Callable[[Key], bool]) -> bool:
        return says(self.questions.key_once(name, self.facts[name], self.stage))

    def blocks(self, row: Input) -> bool:
        return self.questions.asked_for(row, self.stage, self.tightened) == "block"

    def confirms(self, row: Input) -> bool:
        return self.questions.asked_for(row, self.stage, self.tightened) == "confirm"

    @property
    def circumstances(self) -> tuple[bool, bool, bool]:
        return self.protocol is not None, self.stage is Stage.PREGNANT, self.ppd_order


class EveryWoman:
    """All charts at once: for each fact one unknown for each of its kinds, of which exactly one is true."""

    def __init__(self, questions: Questions, kinds: Mapping[str, tuple[Kind, ...]], protocol: Any) -> None:
        self.questions, self.kinds, self._protocol = questions, kinds, protocol
        self._is = {name: z3.Bools([f"{name}/{n}" for n in range(len(of))]) for name, of in kinds.items()}
        self._stage = {stage: z3.Bool(f"stage/{stage}") for stage in Stage}
        self._tight = {id_: z3.Bool(f"tightened/{id_}") for id_ in TIGHTENABLE}
        self._approved, self._ppd_order = z3.Bools("approved ppd_order")
        self._keys: dict[str, list[tuple[Truth, tuple[Key, ...]]]] = {}

    def with_other(self, names: Iterable[str]) -> EveryWoman:
        """The same charts but for these facts, each of which may be another."""
        other = EveryWoman(self.questions, self.kinds, self._protocol)
        for name in names:
            other._is[name] = z3.Bools([f"{name}/{n}/other" for n in range(len(self.kinds[name]))])
        return other

    def exactly_one_of_each(self) -> Iterable[Truth]:
        for unknowns in (*self._is.values(), list(self._stage.values())):
            yield z3.PbEq([(unknown, 1) for unknown in unknowns], 1)

    def any(self, truths: Iterable[Truth]) -> Truth:
        return z3.Or(*truths)

    def all(self, truths: Iterable[Truth]) -> Truth:
        return z3.And(*truths)

    def no(self, truth: Truth) -> Truth:
        return z3.Not(truth)

    def is_so(self, name: str, says: Callable[[Key], bool]) -> Truth:
        if name not in self._keys:
            self._keys[name] = self._all_keys(name)
        return z3.Or(*(z3.And(whenever, self._at(keys, says)) for whenever, keys in self._keys[name]))

    def _at(self, keys: tuple[Key, ...], says: Callable[[Key], bool]) -> Truth:
        """In which stages is it so?"""
        stages = [stage for stage, key in zip(Stage, keys, strict=True) if says(key)]
        return z3.BoolVal(len(stages) == len(Stage)) if len(stages) in {0, len(Stage)} else self.stage(*stages)

    def _all_keys(self, name: str) -> list[tuple[Truth, tuple[Key, ...]]]:
        """Each way to answer, by stage, and when it is so. What follows is worked out for all that it follows from."""
        questions, kinds = self.questions, self.kinds
        sources = questions.sources.get(name, (name,))
        found = []
        for chosen in product(*(range(len(kinds[source])) for source in sources)):
            findings = {s: kinds[s][n].like for s, n in zip(sources, chosen, strict=True)}
            keys = []
            for stage in Stage:
                finding = questions.follows(name, findings, stage) if name in FOLLOWING else findings[name]
                keys.append(questions.key(name, finding, stage))
            whenever = z3.And(*(self._is[s][n] for s, n in zip(sources, chosen, strict=True)))
            found.append((whenever, tuple(keys)))
        return found

    def unknowns(self, name: str) -> list[Truth]:
        """One for each kind of finding of this fact."""
        return self._is[name]

    def is_kind(self, name: str, says: Callable[[Finding], bool]) -> Truth:
        """Is the finding of this fact such a one?"""
        kinds = zip(self._is[name], self.kinds[name], strict=True)
        return z3.Or(*(unknown for unknown, kind in kinds if says(kind.like)))

    def stage(self, *stages: Stage) -> Truth:
        return z3.Or(*(self._stage[stage] for stage in stages))

    def tightened(self, id_: str) -> Truth:
        return self._tight.get(id_, z3.BoolVal(False))

    def _asked_for(self, row: Input, what: str) -> Truth:
        tight = self.tightened(row.id)
        return z3.Or(
            *(
                z3.And(self._stage[stage], tight if yes else z3.Not(tight))
                for stage, yes in product(Stage, (True, False))
                if self.questions.asked_for(row, stage, frozenset({row.id} if yes else ())) == what
            )
        )

    def blocks(self, row: Input) -> Truth:
        return self._asked_for(row, "block")

    def confirms(self, row: Input) -> Truth:
        return self._asked_for(row, "confirm")

    @property
    def circumstances(self) -> tuple[Truth, Truth, Truth]:
        return self._approved, self._stage[Stage.PREGNANT], self._ppd_order

    def one_of_them(self, model: z3.ModelRef) -> Woman:
        """The chart that the solver has found."""

        def true(unknown: Truth) -> bool:
            return z3.is_true(model.eval(unknown, model_completion=True))

        return Woman(
            self.questions,
            {
                name: next(kind.like for unknown, kind in zip(self._is[name], of, strict=True) if true(unknown))
                for name, of in self.kinds.items()
            },
            next(stage for stage, unknown in self._stage.items() if true(unknown)),
            true(self._ppd_order),
            self._protocol if true(self._approved) else None,
            frozenset(id_ for id_, unknown in self._tight.items() if true(unknown)),
        )


# ---- Which status follows from the eight reasons: asked of `judge`, and once more by section 6

EVERY_REASON: Final = tuple(product((False, True), repeat=8))


def follows_from(reasons: Reasons, questions: Questions, well: Mapping[str, Finding], protocol: Any) -> Eligibility:
    """A woman with just these reasons, judged by the service."""
    contraindicated, review, missing, confirm, approved, before_birth, ppd_order, below = reasons
    facts = {
        **well,
        "ketamine_allergy": present() if contraindicated else ABSENT,
        "magnesium": present() if review else ABSENT,
        "bipolar_known": Finding(State.UNKNOWN) if missing else present(),
        "asa_class": Finding(State.UNKNOWN) if confirm else well["asa_class"],
        "epds_below_indication": present() if below else ABSENT,
    }
    return eligibility.judge(
        Facts(facts, NOW),
        questions.rows,
        stage=Stage.PREGNANT if before_birth else Stage.AFTER_BIRTH,
        ppd_order=ppd_order,
        protocol=protocol if approved else None,
    )


def by_section_6(reasons: Reasons) -> Status:
    """The first true row of the column."""
    contraindicated, review, missing, confirm, approved, before_birth, ppd_order, below = reasons
    true = {
        Status.NOT_INDICATED: below,
        Status.CONTRAINDICATED: contraindicated,
        Status.SPECIALIST_REVIEW: review,
        Status.DATA_MISSING: missing,
        Status.NO_APPROVED_PROTOCOL: not approved,
        Status.ELIGIBLE_CONDITIONAL: before_birth or confirm,
        Status.ELIGIBLE: True,
    }
    return next(status for status in ORDER[ppd_order] if true[status])


def when(table: Mapping[Reasons, Status], reasons: tuple[Truth, ...]) -> dict[Status, Truth]:
    """For each status the formula that is true just when it is that one. What changes nothing is not asked."""

    def asked(status: Status, answers: Reasons) -> Truth:
        here = [follows is status for combination, follows in table.items() if combination[: len(answers)] == answers]
        if len(set(here)) == 1:
            return z3.BoolVal(here[0])
        half = len(here) // 2
        if here[:half] == here[half:]:
            return asked(status, (*answers, False))
        return z3.If(reasons[len(answers)], asked(status, (*answers, True)), asked(status, (*answers, False)))

    return {status: asked(status, ()) for status in Status}


def by_the_sections(questions: Questions, chart: EveryWoman, decided: Decided) -> tuple[Truth, ...]:
    """The eight reasons, from sections 4 and 6. Only which D row stands for an open test is the table's."""

    def so(line: Line) -> Truth:
        place = questions.lines[line.fact].index(line)
        return chart.is_so(line.fact, lambda key: key[3][place] is State.PRESENT)

    def met(letter: str) -> Truth:
        return z3.Or(*(so(line) for id_, lines in CRITERIA.items() if id_.startswith(letter) for line in lines))

    missing, confirm = [], []
    for id_, needed in INPUTS.items():
        unknown = z3.Not(z3.And(*(is_known(questions, chart, id_, name) for name in needed.facts)))
        for stages, asked in zip(((Stage.PREGNANT,), tuple(set(Stage) - {Stage.PREGNANT})), needed.asked, strict=True):
            here = z3.And(unknown, chart.stage(*stages))
            tight = chart.tightened(id_)
            if asked == "block":
                missing.append(here)
            elif asked == "confirm":
                missing.append(z3.And(here, tight))
                confirm.append(z3.And(here, z3.Not(tight)))
    missing += [truth for id_, truth in decided.open.items() if id_.startswith("C")]
    confirm += [truth for id_, truth in decided.open.items() if id_.startswith("R")]
    circumstances = chart.circumstances
    return (met("C"), met("R"), z3.Or(*missing), z3.Or(*confirm), *circumstances, so(NOT_INDICATED))


def is_known(questions: Questions, chart: EveryWoman, id_: str, name: str) -> Truth:
    """Does this fact satisfy the D row, by section 4.3?"""
    place = questions.needed[name].index(INPUTS[id_])
    return chart.is_so(name, lambda key: bool(key[4][place]))
