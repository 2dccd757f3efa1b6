"""
Holds the service against the decision logic, over every chart, and says each way in which they differ.

Four steps, each complete in itself. First the 256 combinations of reasons: which status follows? Then each fact
alone: does every finding get the answers of section 4? Then the facts that follow from others. Last all of it
together: the solver looks among all charts for one on which the service and section 6 differ, for a dose that the
invariant forbids, and for two charts of which the one with more against it, or with less known, is treated as better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from math import prod
from typing import Any, Final

import z3
from decision import (
    EVERY_REASON,
    TIGHTENABLE,
    Decided,
    EveryWoman,
    Reasons,
    Truth,
    Woman,
    by_section_6,
    by_the_sections,
    decide,
    follows_from,
    is_known,
    when,
)
from every_finding import FOLLOWING, NOW, Key, Kind, Questions
from sections import A_DOSE, CRITERIA, INPUTS, NOT_INDICATED, OPENNESS, SAFETY, Line

from cds_service.clinical.eligibility import Rows, Status
from cds_service.clinical.facts import ABSENT, Evidence, Finding, State
from cds_service.clinical.moment import Precision, exactly
from cds_service.clinical.stage import Stage
from cds_service.knowledge import Knowledge

_HERE: Final = exactly(NOW)
_NUMBERS: Final = {
    "age": 31,
    "asa_class": 2,
    "believable_weight": 70,
    "blood_loss": 280,
    "body_mass_index": 26,
    "epds_current": 12,
    "epds_current_score": 12,
    "epds_self_harm": 0,
    "heart_rate": 84,
    "minutes_since_birth": 20,
    "respiratory_rate": 16,
    "spo2": 98,
    "weight": 70,
}
_ON_RECORD: Final = (
    "allergy_list",
    "anaesthesia",
    "birth",
    "blood_pressure",
    "delivery_mode",
    "medication_list",
    "problem_list",
    "weights_agree",
)
# The facts that a dose rests on, as they are read; and those that join them once the child is born.
_RESTS_ON: Final = (
    "age",
    "allergy_list",
    "bipolar_screen",
    "blood_pressure",
    "epds_current",
    "medication_list",
    "problem_list",
    "weight",
    "weights_agree",
)
_VITAL: Final = ("heart_rate", "respiratory_rate", "spo2")
BEFORE_AND_AFTER: Final = ("before the birth", "after the birth")
# What a bedside check may answer instead of the chart: the D row that stands for it.
_AT_THE_BEDSIDE: Final = {"spo2": "D05", "respiratory_rate": "D05", "shock_index": "D05", "blood_loss": "D12"}


def well(questions: Questions) -> dict[str, Finding]:
    """Twenty minutes after birth, everything on record and nothing against the medicine."""
    entry = (Evidence("Observation/one"),)
    numbers = {name: Finding(State.PRESENT, entry, (value,), _HERE) for name, value in _NUMBERS.items()}
    return {
        **dict.fromkeys(questions.varied, ABSENT),
        **{name: Finding(State.PRESENT, entry, at=_HERE) for name in _ON_RECORD},
        **numbers,
    }


@dataclass(frozen=True)
class Proof:
    """One knowledge, one set of rows, and what was found out about each fact."""

    knowledge: Knowledge
    rows: Rows
    sources: Mapping[str, tuple[str, ...]] | None = None

    @cached_property
    def questions(self) -> Questions:
        return Questions(self.knowledge, self.rows, self.sources)

    @cached_property
    def _kinds(self) -> dict[str, tuple[Kind, ...]]:
        return {}

    def kinds_of(self, name: str) -> tuple[Kind, ...]:
        """Every finding of this fact, by kinds. Worked out when first asked for."""
        if name not in self._kinds:
            self._kinds[name] = self.questions.kinds(name)
        return self._kinds[name]

    @cached_property
    def kinds(self) -> Mapping[str, tuple[Kind, ...]]:
        return {name: self.kinds_of(name) for name in self.questions.varied}

    @property
    def protocol(self) -> Any:
        return self.knowledge.protocols.protocol[0]

    @cached_property
    def well(self) -> Mapping[str, Finding]:
        return well(self.questions)

    @cached_property
    def table(self) -> Mapping[Reasons, Status]:
        """Which status the service gives for each combination of reasons."""
        facts = {name: self.questions.follows(name, self.well, Stage.AFTER_BIRTH) for name in FOLLOWING}
        background = {**self.well, **facts}
        table = {}
        for reasons in EVERY_REASON:
            judged = follows_from(reasons, self.questions, background, self.protocol)
            found = (judged.contraindications, judged.reviews, judged.missing, judged.confirm)
            if tuple(map(bool, found)) != reasons[:4]:
                raise AssertionError(f"these reasons could not be made: {reasons}")
            table[reasons] = judged.status
        return table

    # ---- How much is covered

    @property
    def circumstances(self) -> int:
        """Stages, ordered for prevention or not, approved or not, and what a site may tighten."""
        return len(Stage) * 2 * 2 * 2 ** len(TIGHTENABLE)

    @property
    def three_valued(self) -> int:
        return self.circumstances * 3 ** len(self.kinds)

    @property
    def of_findings(self) -> int:
        return self.circumstances * prod(sum(kind.many for kind in of) for of in self.kinds.values())

    # ---- What differs

    def objections(self) -> Iterator[str]:
        """Everything that is wrong, a line each, from what is found soonest to what the solver must look for."""
        yield from self.in_the_order()
        yield from self.in_single_facts()
        yield from self.in_what_follows()
        yield from self.in_all_charts()

    def in_the_order(self) -> Iterator[str]:
        """The order of section 6 alone decides: 256 combinations of the eight reasons."""
        for reasons, status in self.table.items():
            if status is not by_section_6(reasons):
                yield f"{reasons}: {status}, but section 6 says {by_section_6(reasons)}"

    def in_single_facts(self) -> Iterator[str]:
        """Every finding of every fact, row by row: is the criterion met, is the D row satisfied, does it block?"""
        criteria = {row.id: row for row in (*self.rows.contraindications, *self.rows.reviews)}
        inputs = {row.id: row for row in self.rows.inputs}
        yield from (f"{id_} is on one side only" for id_ in sorted(criteria.keys() ^ CRITERIA.keys()))
        yield from (f"{id_} is on one side only" for id_ in sorted(inputs.keys() ^ INPUTS.keys()))
        for id_ in criteria.keys() & CRITERIA.keys():
            named = {test.fact for test in criteria[id_].test} ^ {line.fact for line in CRITERIA[id_]}
            yield from (f"{id_}: {fact} is on one side only" for fact in sorted(named))
        for id_ in inputs.keys() & INPUTS.keys():
            if inputs[id_].facts != INPUTS[id_].facts:
                yield f"{id_}: other facts"
            yield from self._asked_otherwise(id_)
        for name in (*self.questions.varied, *FOLLOWING):
            yield from self.in_answers_about(name)

    def _asked_otherwise(self, id_: str) -> Iterator[str]:
        row = next(row for row in self.rows.inputs if row.id == id_)
        for stage, tightened in product(Stage, (frozenset[str](), frozenset({id_}))):
            wanted = INPUTS[id_].asked[stage is not Stage.PREGNANT]
            if wanted == "confirm" and tightened:
                wanted = "block"
            if (found := self.questions.asked_for(row, stage, tightened)) != wanted:
                yield f"{id_}, {stage}, tightened {sorted(tightened)}: {found}, but section 4.3 says {wanted}"

    def in_answers_about(self, name: str, findings: Iterable[Finding] | None = None) -> Iterator[str]:
        """The answers of the tables against those of the sections, for these findings, else one of every kind."""
        tests, inputs = self.questions.tests.get(name, ()), self.questions.inputs.get(name, ())
        lines, needed = self.questions.lines.get(name, ()), self.questions.needed.get(name, ())
        pairs = []
        for row in (*self.rows.contraindications, *self.rows.reviews):
            by_table = [tests.index(test) for test in row.test if test.fact == name]
            by_section = [lines.index(line) for line in CRITERIA.get(row.id, ()) if line.fact == name]
            if by_table or by_section:
                pairs.append((row.id, by_table, by_section))
        both = [(row.id, inputs.index(row), needed.index(INPUTS[row.id])) for row in inputs if row.id in INPUTS]
        sides = (Stage.PREGNANT, Stage.AFTER_BIRTH)
        for finding, stage in ((f, s) for f in findings or self.every_kind(name) for s in sides):
            key = self.questions.key(name, finding, stage)
            for id_, by_table, by_section in pairs:
                found, wanted = _any_of(key[1], by_table), _any_of(key[3], by_section)
                if found is not wanted:
                    yield f"{id_}, {name}, {finding}: {found}, but the decision logic says {wanted}"
            for id_, place, other in both:
                if key[2][place] is not key[4][other]:
                    yield f"{id_}, {name}, {finding}, {stage}: known is {key[2][place]}"

    def every_kind(self, name: str) -> Iterator[Finding]:
        """One finding of each kind; of a fact that follows from others, whatever can follow."""
        if name in self.questions.varied:
            yield from (kind.like for kind in self.kinds_of(name))
            return
        for stage, findings in self.combinations(name):
            yield self.questions.follows(name, findings, stage)

    def combinations(self, name: str) -> Iterator[tuple[Stage, dict[str, Finding]]]:
        """Every combination of kinds of what this fact follows from, in each stage."""
        sources = self.questions.sources[name]
        for stage, chosen in product(Stage, product(*(self.kinds_of(source) for source in sources))):
            yield stage, {source: kind.like for source, kind in zip(sources, chosen, strict=True)}

    def in_what_follows(self) -> Iterator[str]:
        """Each fact that follows from others: every combination of kinds, and every finding of a kind in its place."""
        followed = {
            name: wanted for name, (sources, wanted) in FOLLOWS.items() if self.questions.sources[name] == sources
        }
        for name in FOLLOWS.keys() - followed.keys():
            yield f"{name} follows from {self.questions.sources[name]}, not from {FOLLOWS[name][0]}"
        for name, wanted in followed.items():
            for stage, findings in self.combinations(name):
                found = self.questions.follows(name, findings, stage)
                if not wanted(findings, stage, found):
                    yield f"{name}, {stage}, {findings}: {found}"
        for name in followed:
            if len(self.questions.sources[name]) > 1:
                yield from (f"{name}: {finding} is not of its kind" for finding in self.out_of_their_kind(name))

    def out_of_their_kind(self, name: str) -> Iterator[Finding]:
        """
        Findings that would be passed on otherwise than the one that stands for their kind.

        The others that the fact follows from are then of each kind; where there are four of them, all alike, or all
        but one.
        """
        for source in self.questions.sources[name]:
            around = list(product((Stage.PREGNANT, Stage.AFTER_BIRTH), self._others(name, source)))

            def passed_on(finding: Finding, source: str = source, around: Any = around) -> list[Key]:
                each = ((self.questions.follows(name, {**others, source: finding}, s), s) for s, others in around)
                return [self.questions.key(name, found, stage) for found, stage in each]

            of_kind = {id(kind.like): passed_on(kind.like) for kind in self.kinds_of(source)}
            for finding, kind in self.questions.with_their_kind(source, self.kinds_of(source)):
                if passed_on(finding) != of_kind[id(kind.like)]:
                    yield finding

    def _others(self, name: str, source: str) -> Iterator[dict[str, Finding]]:
        others = [other for other in self.questions.sources[name] if other != source]
        if len(others) == 1:
            yield from ({others[0]: kind.like} for kind in self.kinds_of(others[0]))
            return
        for state, odd in combinations_with_replacement(State, 2):
            yield {other: self._some(other, odd if place == 0 else state) for place, other in enumerate(others)}

    def _some(self, name: str, state: State) -> Finding:
        """A finding of this state that a line of the decision logic takes for it."""
        lines = self.questions.lines.get(name, ())
        return next(
            kind.like
            for kind in self.kinds_of(name)
            if kind.like.state is state and all(line.says(kind.like) is state for line in lines)
        )

    # ---- All charts

    @cached_property
    def every(self) -> EveryWoman:
        return EveryWoman(self.questions, self.kinds, self.protocol)

    @cached_property
    def decided(self) -> Decided:
        return decide(self.questions, self.rows, self.every)

    @cached_property
    def solver(self) -> z3.Solver:
        solver = z3.Solver()
        solver.add(*self.every.exactly_one_of_each())
        return solver

    def named(self, name: str, formulas: Sequence[Truth]) -> tuple[Truth, ...]:
        """The same formulas under short names, so that the solver reads them once."""
        names = tuple(z3.Bools([f"{name}/{n}" for n in range(len(formulas))]))
        self.solver.add(*(short == formula for short, formula in zip(names, formulas, strict=True)))
        return names

    def statuses(self, name: str, table: Mapping[Reasons, Status], reasons: tuple[Truth, ...]) -> dict[Status, Truth]:
        """Each status under a short name."""
        formulas = when(table, self.named(f"{name}/reason", reasons))
        return dict(zip(formulas, self.named(f"{name}/status", tuple(formulas.values())), strict=True))

    @cached_property
    def ours(self) -> Mapping[Status, Truth]:
        """When the service gives which status."""
        return self.statuses("ours", self.table, self.decided.reasons)

    def found(self, *formulas: Truth) -> Woman | None:
        """A chart of which all of these are true, or None: there is none among all charts."""
        answer = self.solver.check(*formulas)
        if answer == z3.unknown:
            raise AssertionError("the solver gave up")
        return self.every.one_of_them(self.solver.model()) if answer == z3.sat else None

    def one_of(self, whether: Truth, formulas: Mapping[str, Truth]) -> Iterator[tuple[str, Woman]]:
        """Those formulas that are true of some chart for which `whether` is: looked for together, then one by one."""
        if self.found(whether, z3.Or(*formulas.values())) is None:
            return
        for says, formula in formulas.items():
            if woman := self.found(whether, formula):
                yield says, woman

    def in_all_charts(self) -> Iterator[str]:
        """Section 6 on every chart; the invariant; and two charts side by side."""
        reasons = by_the_sections(self.questions, self.every, self.decided)
        theirs = self.statuses("theirs", {reasons: by_section_6(reasons) for reasons in EVERY_REASON}, reasons)
        if woman := self.found(z3.Not(z3.PbEq([(truth, 1) for truth in self.ours.values()], 1))):
            yield f"not exactly one status: {told(woman)}"
        differ = {str(status): self.ours[status] != theirs[status] for status in Status}
        for status, woman in self.one_of(z3.BoolVal(True), differ):
            yield f"{status} is not as in section 6: {told(woman)}"
        for says, woman in self.one_of(self.dose, self.never_with_a_dose):
            yield f"a dose, although {says}: {told(woman)}"
        for says, woman in self.one_of(self.ours[Status.ELIGIBLE], self.never_without_conditions()):
            yield f"eligible without conditions, although {says}: {told(woman)}"
        yield from self.in_two_charts()

    @cached_property
    def dose(self) -> Truth:
        return z3.Or(*(self.ours[status] for status in A_DOSE))

    def so(self, line: Line, state: State = State.PRESENT, chart: EveryWoman | None = None) -> Truth:
        """Does the decision logic call this so?"""
        place = self.questions.lines[line.fact].index(line)
        return (chart or self.every).is_so(line.fact, lambda key: key[3][place] is state)

    def known(self, id_: str) -> Truth:
        return z3.And(*(is_known(self.questions, self.every, id_, name) for name in INPUTS[id_].facts))

    @cached_property
    def never_with_a_dose(self) -> Mapping[str, Truth]:
        """The invariant of section 6, in pieces: none of these may be true of a chart for which there is a dose."""
        every, before = self.every, self.every.stage(Stage.PREGNANT)
        found = {
            "no protocol is approved": z3.Not(every.circumstances[0]),
            "she is neither pregnant nor just delivered": every.stage(Stage.POSTPARTUM, Stage.OTHER),
            "the current EPDS is below 10": self.so(NOT_INDICATED),
        }
        found |= {f"{id_} is met": z3.Or(*map(self.so, lines)) for id_, lines in CRITERIA.items()}
        found |= {f"there is a safety concern, by {line.fact}": self.so(line) for line in SAFETY}
        for id_, needed in INPUTS.items():
            for when_, here, asked in zip(BEFORE_AND_AFTER, (before, z3.Not(before)), needed.asked, strict=True):
                blocks = z3.BoolVal(asked == "block")
                if asked == "confirm":
                    blocks = every.tightened(id_)
                found[f"{id_} blocks and is not known {when_}"] = z3.And(here, blocks, z3.Not(self.known(id_)))
        for name in (*_RESTS_ON, *_VITAL):
            unknown = every.is_kind(name, lambda finding: finding.state is State.UNKNOWN)
            found[f"{name} is unknown"] = z3.And(unknown, z3.Not(before)) if name in _VITAL else unknown
        for id_, lines in CRITERIA.items():
            if id_.startswith("C"):
                open_ = z3.Or(*(z3.And(self.so(line, State.UNKNOWN), z3.Not(self._bedside(line))) for line in lines))
                found[f"nobody can rule {id_} out"] = open_
        return found

    def _bedside(self, line: Line) -> Truth:
        """Will it be looked at before the start, because its D row is open and may be confirmed?"""
        id_ = _AT_THE_BEDSIDE.get(line.fact)
        if id_ is None:
            return z3.BoolVal(False)
        before, tight = self.every.stage(Stage.PREGNANT), self.every.tightened(id_)
        lenient = z3.And(before, z3.Not(tight)) if id_ == "D05" else z3.Or(before, z3.Not(tight))
        return z3.And(z3.Not(self.known(id_)), lenient)

    def never_without_conditions(self) -> Mapping[str, Truth]:
        """Who is eligible without conditions has a child, every D row known, and every criterion answered: not so."""
        found = {f"{id_} is not known": z3.Not(self.known(id_)) for id_ in INPUTS}
        for id_, lines in CRITERIA.items():
            found[f"{id_} is not answered"] = z3.Or(*(self.so(line, State.UNKNOWN) for line in lines))
        return {**found, "the child is not born": self.every.stage(Stage.PREGNANT)}

    def in_two_charts(self) -> Iterator[str]:
        """More against the medicine is never better, and not to know is never better than to know it is not so."""
        yield from self.with_more_against_it()
        yield from self.with_less_known()

    def with_more_against_it(self) -> Iterator[str]:
        """
        Two charts, each about anything; the second meets each line that the first meets, and at least one more.

        Only the current EPDS is the same in both: it has the first row of section 6 where nothing is ordered.
        """
        lines = [line for of in CRITERIA.values() for line in of]
        more = self.every.with_other(name for name in self.questions.varied if name != NOT_INDICATED.fact)
        then = self.statuses("more", self.table, decide(self.questions, self.rows, more).reasons)
        before, after = [self.so(line) for line in lines], [self.so(line, chart=more) for line in lines]
        grows = [*map(z3.Implies, before, after), z3.Or(*map(_only_then, before, after))]
        better = z3.Or(
            *(z3.And(self.ours[shut], then[open_]) for n, open_ in enumerate(OPENNESS) for shut in OPENNESS[:n])
        )
        if woman := self.found(*more.exactly_one_of_each(), *grows, better):
            yield f"more against it, and better: {told(woman)}"

    def with_less_known(self) -> Iterator[str]:
        """Two charts; of the second, anything that is not so in the first may be unknown. It never gets a dose more."""
        less = self.every.with_other(self.questions.varied)
        then = self.statuses("less", self.table, decide(self.questions, self.rows, less).reasons)
        forgotten = [self._same_or_forgotten(less, name) for name in self.questions.varied]
        dose = z3.Or(*(then[status] for status in A_DOSE))
        if woman := self.found(*less.exactly_one_of_each(), *forgotten, z3.Not(self.dose), dose):
            yield f"less known, and a dose: {told(woman)}"

    def _same_or_forgotten(self, other: EveryWoman, name: str) -> Truth:
        """The same finding, or an absent one that is now unknown."""
        same = z3.Or(*(z3.And(a, b) for a, b in zip(self.every.unknowns(name), other.unknowns(name), strict=True)))
        absent = self.every.is_kind(name, lambda finding: finding.state is State.ABSENT)
        return z3.Or(same, z3.And(absent, other.is_kind(name, lambda finding: finding.state is State.UNKNOWN)))


def told(woman: Woman) -> str:
    """A chart in a line: what is not as in a woman who is well, and what the service makes of it."""
    background = well(woman.questions)
    odd = {
        name: f"{f.state} {[str(v) for v in f.values]}" for name, f in woman.findings.items() if f != background[name]
    }
    return f"{woman.judged().status}, {woman.stage}, ordered {woman.ppd_order}, {odd}"


def _only_then(before: Truth, after: Truth) -> Truth:
    return z3.And(z3.Not(before), after)


def _any_of(answers: tuple[State, ...], places: list[int]) -> State:
    chosen = {answers[place] for place in places}
    return next((state for state in (State.PRESENT, State.UNKNOWN) if state in chosen), State.ABSENT)


# ---- Facts that follow from others, in words of this page: (what they follow from, stage, what was found)

Findings = Mapping[str, Finding]


def _safety(given: Findings, _: Stage, found: Finding) -> bool:
    says = {line.says(given[line.fact]) for line in SAFETY}
    return found.state is next((s for s in (State.PRESENT, State.UNKNOWN) if s in says), State.ABSENT)


def _bipolar(given: Findings, _: Stage, found: Finding) -> bool:
    known = given["bipolar_disorder"].state is State.PRESENT or given["bipolar_screen"].state is not State.UNKNOWN
    return found.state is (State.PRESENT if known else State.UNKNOWN)


def _below_indication(given: Findings, _: Stage, found: Finding) -> bool:
    return found.state is NOT_INDICATED.says(given["epds_current"])


def _age(given: Findings, _: Stage, found: Finding) -> bool:
    """On one side of the limit, or so that it warns."""
    on_one_side = CRITERIA["C01"][0].says(given["age"]) is not State.UNKNOWN
    return (found.state is State.PRESENT) == (given["age"].state is State.PRESENT and on_one_side)


def _weight(given: Findings, _: Stage, found: Finding) -> bool:
    """One number with an entry that says it; else it is none to dose on."""
    weight = given["weight"]
    usable = weight.state is not State.PRESENT or (len(weight.values) == 1 and bool(weight.evidence))
    return found == weight if usable else found.state is State.UNKNOWN


def _birth_time(given: Findings, stage: Stage, found: Finding) -> bool:
    birth = given["birth"]
    told_to_the_minute = birth.at is not None and birth.at.precision is Precision.TIME
    return found == birth if stage is not Stage.PREGNANT and told_to_the_minute else found.state is State.UNKNOWN


def _stage(_: Findings, stage: Stage, found: Finding) -> bool:
    return found.state is (State.PRESENT if stage in {Stage.PREGNANT, Stage.AFTER_BIRTH} else State.UNKNOWN)


def _conflict(given: Findings, _: Stage, found: Finding) -> bool:
    if given["epds_conflict"].state is State.PRESENT:
        return found.state is State.UNKNOWN
    return found == given["weights_agree"]


def _blood_loss(given: Findings, _: Stage, found: Finding) -> bool:
    caesarean = given["caesarean"].state is State.PRESENT
    return found.state is State.ABSENT if caesarean else found == given["blood_loss"]


def _vasopressor(given: Findings, stage: Stage, found: Finding) -> bool:
    infusion, neuraxial = given["vasopressor_infusion"], given["neuraxial_anaesthesia"].state is State.PRESENT
    explained = stage is Stage.PREGNANT and neuraxial and infusion.state is State.PRESENT
    return found.state is State.ABSENT if explained else found == infusion


FOLLOWS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[Findings, Stage, Finding], bool]]]] = {
    "age_known": (("age",), _age),
    "bipolar_known": (("bipolar_disorder", "bipolar_screen"), _bipolar),
    "birth_time_known": (("birth",), _birth_time),
    "blood_loss_not_caesarean": (("blood_loss", "caesarean"), _blood_loss),
    "dosing_weight": (("weight",), _weight),
    "epds_below_indication": (("epds_current",), _below_indication),
    "no_conflict": (("epds_conflict", "weights_agree"), _conflict),
    "safety_concern": (tuple(sorted(line.fact for line in SAFETY)), _safety),
    "stage_for_a_dose": (("birth",), _stage),
    "vasopressor_unexplained": (("neuraxial_anaesthesia", "vasopressor_infusion"), _vasopressor),
}
