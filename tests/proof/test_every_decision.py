"""
Every decision about the medicine, not a sample: the service is held against sections 4 and 6 on every chart.

The argument, so that it can be attacked.

1. *What a chart can say of one fact is a finite table.* A finding has seven parts. Numbers and dates are only ever
   compared with limits, so one number for each limit and for each stretch between two limits stands for all. Every
   combination is asked (`every_finding`), by the real `holds`, `judge` and `derive`. That nobody looks at anything else
   is shown by construction: a number that can only be compared is enough for `holds`, a finding without date is enough
   for a criterion, and a finding without numbers is enough for a D row.
2. *A row depends on the facts that it names, and on its D rows.* Each row is judged alone, by the real `judge`, for
   every combination of answers; and the facts that were looked at are written down: those of the row, and no other.
3. *Rows are joined by "any".* This is the only step that is written down a second time (`decide`, 30 lines), and the
   only one that is not tried in every combination with the real code. `judge` is held against it for every kind of
   every fact on three backgrounds, for every pair of rows, and for charts in which up to everything is odd at
   once. What could still escape is code that behaves otherwise for three certain rows together.
4. *The status depends on eight reasons.* All 256 combinations are made, and judged by the real `judge`.
5. *All of it together.* The answers of 1, the joints of 3 and the table of 4 are one formula over all charts. The
   solver z3 looks for a chart that breaks the decision logic and finds none. Nothing is sampled here.
6. *The proof can fail.* Each row taken out, each boundary moved, each two rows of the order exchanged, an unknown that
   counts as absent: each is found, and what the solver finds is played back through the real `judge`.

What a fact that follows from others makes of them is asked for every combination of kinds, of the real derivation. That
one finding of a kind stands for all is tried there, too, beside every kind of the others; where a safety concern has
five sources, beside the four others all alike, or all but one.

What is assumed away. Facts are varied as if they had nothing to do with each other; more combinations are tried than a
chart can hold, which is safe for whatever must never happen. Three facts are reckoned with numbers (shock index, body
mass index, minutes since birth): they may be anything. From `screen` one thing is taken, and shown below: the EPDS that
is compared with 19 is never less than the one that is compared with 10. What no chart can hold cannot show that
something *does* happen: that each status, criterion, tier and card is reached is shown with worked charts
(`test_every_card`). How a chart becomes facts is not a part of this.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import pytest
import z3
from decision import TIGHTENABLE, Woman, decide, reasons_of, when
from every_finding import FOLLOWING, NOW, PARTS, RECKONED, Watched, parts_of_a_finding
from proving import BEFORE_AND_AFTER, Proof, told
from sections import A_DOSE, CRITERIA, INPUTS, ORDER

from cds_service.clinical import derived, eligibility
from cds_service.clinical.dosing import CEILING_MG, compute, dose_for
from cds_service.clinical.eligibility import Eligibility, Rows, Status, judge
from cds_service.clinical.facts import ABSENT, UNKNOWN, Evidence, Facts, Finding, State, present
from cds_service.clinical.moment import exactly
from cds_service.clinical.screening import Form, screen
from cds_service.clinical.stage import Stage
from cds_service.clinical.weighing import holds
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Criterion, Input, Protocol
from cds_service.knowledge.shapes import Test as Banded

ENTRY = Evidence("Observation/one")


def rows_of(knowledge: Knowledge) -> Rows:
    return Rows(
        knowledge.contraindications.criterion,
        knowledge.reviews.criterion,
        knowledge.modifiers.criterion,
        knowledge.inputs.input,
    )


@pytest.fixture(scope="module")
def proof(knowledge: Knowledge) -> Proof:
    return Proof(knowledge, rows_of(knowledge))


# ---- The proof


def test_every_chart_is_decided_as_the_decision_logic_says(
    proof: Proof, record_property: pytest.RecordProperty
) -> None:
    """The table of statuses, the criteria, the D rows, the invariant, and that more against it is never better."""
    began = time.process_time()

    objections = list(proof.objections())

    assert objections == []
    findings = sum(kind.many for of in proof.kinds.values() for kind in of)
    seconds = time.process_time() - began
    record_property(
        "safety",
        f"every decision: {len(proof.kinds)} facts, {findings:,} findings, each asked; "
        f"{proof.circumstances} x 3^{len(proof.kinds)} = {proof.three_valued} three-valued charts, and with all "
        f"that a finding can be {_power(proof.of_findings)}: no objection, in {seconds:.1f} s",
    )


def test_the_page_about_the_proof_says_how_many_charts_there_are(proof: Proof) -> None:
    page = (Path(__file__).parents[2] / "docs" / "proof.md").read_text(encoding="utf-8")
    facts, findings = len(proof.kinds), sum(kind.many for of in proof.kinds.values() for kind in of)

    assert f"varies {facts} facts" in page
    assert f"{proof.circumstances} × 3^{facts} = {_spaced(proof.three_valued)}" in page
    assert f"about 10^{len(str(proof.of_findings)) - 1}" in page
    assert f"{_spaced(findings)} findings" in page


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _power(number: int) -> str:
    return f"{str(number)[0]}.{str(number)[1]} x 10^{len(str(number)) - 1}"


def test_the_solver_does_find_what_there_is(proof: Proof) -> None:
    """Else it would prove anything: there are charts of each status in each column, and each is played back."""
    approved, before_birth, ppd_order = proof.every.circumstances
    for status, born, ordered in product(Status, (True, False), (True, False)):
        here = z3.And(z3.Not(before_birth) if born else before_birth, ppd_order if ordered else z3.Not(ppd_order))
        woman = proof.found(proof.ours[status], here)

        if status is Status.ELIGIBLE and not born:
            assert woman is None  # before the birth the suggestion is always conditional
        else:
            assert woman is not None, status
            assert woman.judged().status is status
            assert (woman.stage is not Stage.PREGNANT, woman.ppd_order) == (born, ordered)
    assert proof.found(approved) is not None


# ---- 1. A finding is a finite table


class OnlyCompared:
    """A number that can be compared, and nothing else. It remembers with what."""

    def __init__(self, value: Fraction) -> None:
        self._value = value
        self.met: set[Fraction] = set()

    def _with(self, other: Any) -> Fraction:
        self.met.add(Fraction(other))
        return self._value

    def __ge__(self, other: Any) -> bool:
        return self._with(other) >= other

    def __gt__(self, other: Any) -> bool:
        return self._with(other) > other

    def __lt__(self, other: Any) -> bool:
        return self._with(other) < other


def test_a_number_is_only_compared_with_the_limits_of_its_own_row(proof: Proof) -> None:
    rows = (*proof.rows.contraindications, *proof.rows.reviews)
    for test in (test for row in rows for test in row.test):
        limits = {Fraction(limit) for limit in (test.at_least, test.above, test.below) if limit is not None}
        for value in (min(limits, default=Fraction(0)) - 1, max(limits, default=Fraction(0)) + 1, *limits):
            number: Any = OnlyCompared(value)

            holds(test, Finding(State.PRESENT, values=(number,)))

            assert number.met <= limits


def test_every_part_of_a_finding_is_varied() -> None:
    assert parts_of_a_finding() == PARTS


# ---- 2. A row depends on what it names


def test_each_row_alone_depends_on_the_answers_of_its_own_facts_only(
    proof: Proof, record_property: pytest.RecordProperty
) -> None:
    """Every combination of answers of a criterion's tests, and of known and unknown D rows, through `judge`."""
    tried = 0
    for letter, rows in (("C", proof.rows.contraindications), ("R", proof.rows.reviews)):
        for row in rows:
            inputs = tuple(d for d in proof.rows.inputs if any(d.id in test.inputs for test in row.test))
            alone = Rows((row,), (), (), inputs) if letter == "C" else Rows((), (row,), (), inputs)
            named = {test.fact for test in row.test} | {fact for d in inputs for fact in d.facts}
            for facts, met, open_ in every_answer(proof, row, inputs):
                watched = Watched(facts)

                judged = judge(watched, alone, stage=Stage.AFTER_BIRTH, ppd_order=False, protocol=None)

                assert bool(judged.contraindications or judged.reviews) is met, (row.id, facts)
                left_open = judged.missing if letter == "C" else judged.confirm
                assert (row.id in [one.id for one in left_open]) is open_, (row.id, facts)
                assert watched.read == named | {"epds_below_indication"}
                tried += 1
    record_property("safety", f"every row alone: {tried:,} combinations of answers, each through judge")


@dataclass(frozen=True)
class Choice:
    """Findings for a few facts: what each test of the row makes of them, and the D rows that they leave unknown."""

    facts: Mapping[str, Finding]
    answers: tuple[tuple[State, Banded], ...]
    unknown: frozenset[str]


def every_answer(
    proof: Proof, row: Criterion, inputs: tuple[Input, ...]
) -> Iterator[tuple[dict[str, Finding], bool, bool]]:
    """
    One chart for each combination of what the row's tests and its D rows make of their facts; is it met, is it open?

    Met: one test is enough. Open: none is, and one cannot be answered although its D rows are all satisfied. D rows
    whose facts the row does not test are satisfied, or nothing is known of them.
    """
    questions, here = proof.questions, Stage.AFTER_BIRTH
    choices: list[list[Choice]] = []
    tested = sorted({test.fact for test in row.test})
    for name in tested:
        tests = [test for test in row.test if test.fact == name]
        found: dict[Any, Choice] = {}
        for finding in proof.every_kind(name):
            known = questions.key(name, finding, here)[2]
            unknown = {d.id for d in inputs if name in d.facts and not known[questions.inputs[name].index(d)]}
            answers = tuple((holds(test, finding), test) for test in tests)
            distinct = (tuple(state for state, _ in answers), frozenset(unknown))
            found.setdefault(distinct, Choice({name: finding}, answers, frozenset(unknown)))
        choices.append(list(found.values()))
    well = woman_of(proof).facts
    for d in inputs:
        if others := [name for name in d.facts if name not in tested]:
            satisfied = Choice({name: well[name] for name in others}, (), frozenset())
            choices.append([satisfied, Choice(dict.fromkeys(others, UNKNOWN), (), frozenset({d.id}))])
    for chosen in product(*choices):
        facts = {name: finding for choice in chosen for name, finding in choice.facts.items()}
        missing = frozenset[str]().union(*(choice.unknown for choice in chosen))
        answers = [answer for choice in chosen for answer in choice.answers]
        met = any(state is State.PRESENT for state, _ in answers)
        unanswered = any(state is State.UNKNOWN and missing.isdisjoint(test.inputs) for state, test in answers)
        yield facts, met, unanswered and not met


def test_judge_looks_at_nothing_that_the_proof_does_not_vary(proof: Proof) -> None:
    rows = proof.rows
    criteria = (*rows.contraindications, *rows.reviews, *rows.modifiers)
    named = {test.fact for row in criteria for test in row.test} | {fact for row in rows.inputs for fact in row.facts}
    for stage, ordered in product(Stage, (True, False)):
        facts = Watched(woman_of(proof).facts)

        judge(facts, proof.rows, stage=stage, ppd_order=ordered, protocol=proof.protocol)

        assert facts.read == named | {"epds_below_indication"}
    modifiers = {test.fact for row in rows.modifiers for test in row.test}
    assert set(proof.questions.varied) | set(FOLLOWING) >= named - modifiers
    assert set(RECKONED) <= set(proof.questions.varied)


def test_a_modifier_blocks_nothing(proof: Proof) -> None:
    names = sorted({test.fact for row in proof.rows.modifiers for test in row.test})
    for states in product(State, repeat=len(names)):
        facts = woman_of(proof).facts.with_(**{n: Finding(s) for n, s in zip(names, states, strict=True)})

        judged = judge(facts, proof.rows, stage=Stage.AFTER_BIRTH, ppd_order=False, protocol=proof.protocol)

        assert judged.status is Status.ELIGIBLE
        assert bool(judged.modifiers) is (State.PRESENT in states)


# ---- 3. Rows are joined by "any"


def woman_of(proof: Proof, stage: Stage = Stage.AFTER_BIRTH, **differently: Finding) -> Woman:
    """A woman who is well but for this."""
    findings = {**proof.well, **differently}
    return Woman(proof.questions, findings, stage, ppd_order=False, protocol=proof.protocol, tightened=frozenset())


def assert_joined(proof: Proof, woman: Woman) -> None:
    """Every row, and the status, as the formula has them."""
    decided, judged = decide(proof.questions, proof.rows, woman), woman.judged()
    told_by_judge = (
        [met.row.id for met in (*judged.contraindications, *judged.reviews)],
        [open_.id for open_ in judged.missing],
        [open_.id for open_ in judged.confirm],
        judged.status,
    )
    told_by_formula = (
        *(
            [id_ for id_, truth in truths.items() if truth]
            for truths in (decided.met, decided.missing, decided.confirm)
        ),
        proof.table[decided.reasons],  # type: ignore[index]
    )
    assert told_by_judge == told_by_formula, told(woman)


def assert_all_joined(proof: Proof, women: Iterator[Woman]) -> int:
    """How many there were."""
    return len([assert_joined(proof, woman) for woman in women])


def each_kind_alone(proof: Proof) -> Iterator[Woman]:
    """Each kind of each fact on three backgrounds: she is well, nothing is known of her, nothing is so."""
    for background in (proof.well, dict.fromkeys(proof.kinds, UNKNOWN), dict.fromkeys(proof.kinds, ABSENT)):
        for name, kinds in proof.kinds.items():
            for kind, stage in product(kinds, (Stage.PREGNANT, Stage.AFTER_BIRTH)):
                yield replace(woman_of(proof, stage), findings={**background, name: kind.like})


def test_each_kind_of_each_fact_is_joined_to_the_rest_as_the_formula_says(
    proof: Proof, record_property: pytest.RecordProperty
) -> None:
    number = assert_all_joined(proof, each_kind_alone(proof))

    record_property("safety", f"rows joined: {number:,} charts with one odd fact, each judged as the formula says")


def test_each_two_rows_are_joined_as_the_formula_says(proof: Proof, record_property: pytest.RecordProperty) -> None:
    """Each criterion met or left open, and each D row not known, beside each other."""
    odd: dict[str, dict[str, Finding]] = {}
    for name, kind in ((name, kind) for name, kinds in proof.kinds.items() for kind in kinds):
        judged = woman_of(proof, **{name: kind.like}).judged()
        for met in (*judged.contraindications, *judged.reviews):
            odd.setdefault(f"{met.row.id} met", {name: kind.like})
        for open_ in (*judged.missing, *judged.confirm):
            odd.setdefault(f"{open_.id} open", {name: kind.like})
    assert odd.keys() >= {f"{id_} met" for id_ in CRITERIA} | {f"{id_} open" for id_ in INPUTS if id_ != "D15"}

    women = (woman_of(proof, **{**two, **one}) for one, two in combinations(odd.values(), 2))
    record_property("safety", f"rows joined: {assert_all_joined(proof, women):,} charts with two odd rows")


def test_charts_in_which_anything_is_odd_are_joined_as_the_formula_says(proof: Proof) -> None:
    """
    Seeded, so that it is the same 1,000 charts each time: from one odd fact to all of them.

    What follows from their facts is what `derive` adds to them, all at once and in its own order.
    """
    chance = random.Random(7)  # noqa: S311
    names, seen = list(proof.kinds), set()
    for number in range(1_000):
        odd = chance.sample(names, 1 + number % len(names))
        woman = Woman(
            proof.questions,
            {**proof.well, **{name: chance.choice(proof.kinds[name]).like for name in odd}},
            chance.choice(list(Stage)),
            chance.random() < 0.5,
            proof.protocol if chance.random() < 0.7 else None,
            frozenset(chance.sample(TIGHTENABLE, chance.randrange(len(TIGHTENABLE)))),
        )
        assert_joined(proof, woman)
        seen.add(woman.judged().status)
        grounds = derived.Grounds(proof.knowledge.risk, proof.knowledge.contraindications, woman.stage, ())
        all_at_once = derived.derive(Facts(woman.findings, NOW), grounds)
        assert {name: all_at_once[name] for name in FOLLOWING} == {name: woman.facts[name] for name in FOLLOWING}
    assert seen >= set(Status) - {Status.ELIGIBLE}


# ---- What is taken from elsewhere: the screens, and the dose


def an_epds(score: int, harm: int | None, age: timedelta | None, *, complete: bool) -> Form:
    return Form(score, complete, 10, harm, False, None if age is None else exactly(NOW - age), "", (ENTRY,))


def test_the_score_that_is_compared_with_19_is_never_less_than_the_current_one(knowledge: Knowledge) -> None:
    """Each two forms, whole or in part, of each age. Nor is the current form's answer to item 10 passed over."""
    ages = (None, timedelta(seconds=-1), timedelta(0), timedelta(hours=168), timedelta(hours=168, seconds=1))
    answers = ((0, True), (1, True), (0, False), (1, False), (None, False))
    forms = [
        an_epds(score, harm, age, complete=complete)
        for score, (harm, complete), age in product((9, 10, 18, 19), answers, ages)
    ]
    for chosen in [(), *((form,) for form in forms), *combinations(forms, 2)]:
        found = screen(
            {"epds": chosen, "phq9": (), "gad7": ()},
            not_had=None,
            encounter_began=None,
            table=knowledge.screens,
            now=NOW,
        )
        current = found["epds_current"]
        if current.state is State.PRESENT:
            assert found["epds_current_score"].value >= current.value
            assert not current.conflict
            assert not current.incomplete
            same = [f for f in chosen if f.complete and (f.score, f.at) == (current.value, current.at)]
            assert found["epds_self_harm"].value >= max(form.self_harm or 0 for form in same)


@pytest.mark.parametrize("id_", ["esketamine-iv", "racemic-ketamine-iv"])
def test_every_dose_of_a_protocol_is_at_most_its_ceiling(knowledge: Knowledge, id_: str) -> None:
    """A dose is a whole number of steps. For each: the lightest woman who gets it, and one too light for more."""
    protocol = knowledge.protocol(id_)
    assert protocol is not None
    step, per_kg = Fraction(protocol.round_down_to_mg), Fraction(protocol.dose_mg_per_kg)
    cap, ceiling = Fraction(protocol.weight_cap_kg), {"esketamine-iv": 20, "racemic-ketamine-iv": 50}[id_]
    steps = int(cap * per_kg // step)
    for number in range(1, steps + 1):
        lightest, too_light = number * step / per_kg, (number + 1) * step / per_kg - Fraction(1, 10**9)
        for kg in (lightest, too_light):
            assert dose_for(kg, ENTRY, protocol).dose_mg == number * step <= ceiling
    for kg in (cap, cap + 1, Fraction(300), Fraction(10**6)):
        assert dose_for(kg, ENTRY, protocol).dose_mg == steps * step <= ceiling <= CEILING_MG[protocol.medicine]


def test_no_status_but_the_two_has_a_dose(proof: Proof) -> None:
    judged = woman_of(proof).judged()
    protocols: tuple[Protocol | None, ...] = (*proof.knowledge.protocols.protocol, None)
    for status, protocol in product(Status, protocols):
        dose = compute(woman_of(proof).facts, replace(judged, status=status), protocol)

        assert (dose is not None) is (status in A_DOSE and protocol is not None)


# ---- 6. The proof can fail


def judged_by(rows: Rows, woman: Woman) -> Eligibility:
    return judge(
        woman.facts,
        rows,
        stage=woman.stage,
        ppd_order=woman.ppd_order,
        protocol=woman.protocol,
        tightened=woman.tightened,
    )


# Current mania is a contraindication, and a safety concern, too: whoever forgets one of them is stopped by the other.
STOPPED_TWICE = {"C10": "R04"}


def test_the_solver_finds_each_row_that_is_taken_out(proof: Proof) -> None:
    """And `judge`, without the row, does give the dose that was found."""
    met = dict(zip(proof.decided.met, proof.named("met", tuple(proof.decided.met.values())), strict=True))
    for id_ in CRITERIA:
        woman = dose_without(proof, met, {id_}, id_)
        if id_ in STOPPED_TWICE:
            assert woman is None
            woman = dose_without(proof, met, {id_, STOPPED_TWICE[id_]}, id_)

        assert woman is not None, id_
        assert judged_by(without({id_, STOPPED_TWICE.get(id_)}, proof.rows), woman).status.allows_a_dose
        assert not woman.judged().status.allows_a_dose


def dose_without(proof: Proof, met: Mapping[str, Any], out: set[str], id_: str) -> Woman | None:
    """A chart with a dose, although this criterion is met, in a service that lacks these rows."""
    left, missing = ({i: truth for i, truth in of.items() if i not in out} for of in (met, proof.decided.missing))
    statuses = when(proof.table, reasons_of(proof.every, left, missing, proof.decided.confirm))
    return proof.found(z3.Or(*(statuses[status] for status in A_DOSE)), proof.never_with_a_dose[f"{id_} is met"])


def without(out: set[str | None], rows: Rows) -> Rows:
    left = (tuple(row for row in of if row.id not in out) for of in (rows.contraindications, rows.reviews))
    return Rows(*left, rows.modifiers, rows.inputs)


def test_the_solver_finds_each_input_that_no_longer_blocks(proof: Proof) -> None:
    forbidden = proof.never_with_a_dose
    missing = proof.decided.missing
    for id_, needed in INPUTS.items():
        for when_, asked in zip(BEFORE_AND_AFTER, needed.asked, strict=True):
            # Before the birth she is pregnant, and so the stage is known (D15).
            if asked == "block" and (id_, when_) != ("D15", "before the birth"):
                less = {other: truth for other, truth in missing.items() if other != id_}
                statuses = when(proof.table, reasons_of(proof.every, proof.decided.met, less, proof.decided.confirm))
                dose = z3.Or(*(statuses[status] for status in A_DOSE))

                woman = proof.found(dose, forbidden[f"{id_} blocks and is not known {when_}"])

                assert woman is not None, id_
                assert judged_by(not_asked_for(id_, proof.rows), woman).status.allows_a_dose
                assert not woman.judged().status.allows_a_dose


def not_asked_for(id_: str, rows: Rows) -> Rows:
    lenient = {"before_birth": "not needed", "after_birth": "not needed"}
    return replace(rows, inputs=tuple(d.model_copy(update=lenient) if d.id == id_ else d for d in rows.inputs))


def objection(proof: Proof) -> str | None:
    return next(proof.objections(), None)


@pytest.mark.parametrize("ordered", [True, False])
def test_each_two_rows_of_the_order_that_change_places_are_found(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    for first, second in pairwise(ORDER[ordered]):
        column = [{first: second, second: first}.get(status, status) for status in ORDER[ordered]]
        monkeypatch.setattr(eligibility, "_status", status_in({**ORDER, ordered: tuple(column)}))

        assert objection(Proof(knowledge, rows_of(knowledge))), (first, second)


def status_in(order: Mapping[bool, tuple[Status, ...]]) -> Any:
    """The service's own step, with another order."""

    def status(facts: Facts, *, before_birth: bool, ppd_order: bool, **given: bool) -> Status:
        true = {
            Status.NOT_INDICATED: facts["epds_below_indication"].state is State.PRESENT,
            Status.CONTRAINDICATED: given["contraindicated"],
            Status.SPECIALIST_REVIEW: given["review"],
            Status.DATA_MISSING: given["missing"],
            Status.NO_APPROVED_PROTOCOL: not given["approved"],
            Status.ELIGIBLE_CONDITIONAL: before_birth or given["confirm"],
            Status.ELIGIBLE: True,
        }
        return next(status for status in order[ppd_order] if true[status])

    return status


def test_the_order_as_it_is_is_not_found(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step above, with the order of section 6: no objection. So it is the order alone that is found."""
    monkeypatch.setattr(eligibility, "_status", status_in(ORDER))

    assert list(Proof(knowledge, rows_of(knowledge)).in_the_order()) == []


def with_table(proof: Proof, change: Mapping[Status, Status]) -> Proof:
    """The same proof about a service that gives other statuses."""
    planted = Proof(proof.knowledge, proof.rows)
    table = {reasons: change.get(status, status) for reasons, status in proof.table.items()}
    vars(planted).update(questions=proof.questions, kinds=proof.kinds, table=table)
    return planted


def test_two_charts_side_by_side_show_what_opens_and_should_not(proof: Proof) -> None:
    """A dose for whoever has a contraindication; and one only for whoever lacks something."""
    opened = with_table(proof, {Status.CONTRAINDICATED: Status.ELIGIBLE})
    rewarded = with_table(proof, {Status.DATA_MISSING: Status.ELIGIBLE, **dict.fromkeys(A_DOSE, Status.DATA_MISSING)})

    assert next(opened.with_more_against_it(), None)
    assert next(rewarded.with_less_known(), None)


def _moved(test: Banded) -> Iterator[Banded]:
    """The same test with one boundary on the other side of its limit, or one further."""
    if test.at_least is not None:
        yield test.model_copy(update={"at_least": None, "above": test.at_least})
        yield test.model_copy(update={"at_least": test.at_least + 1})
    if test.above is not None:
        yield test.model_copy(update={"above": None, "at_least": test.above})
        yield test.model_copy(update={"above": test.above + 1})
    if test.below is not None:
        yield test.model_copy(update={"below": test.below + Decimal("0.001")})
        yield test.model_copy(update={"below": test.below - 1})


def test_each_boundary_that_is_moved_is_found(proof: Proof, record_property: pytest.RecordProperty) -> None:
    found = 0
    for table in ("contraindications", "reviews"):
        rows: tuple[Criterion, ...] = getattr(proof.rows, table)
        for row, test in [(each, test) for each in rows for test in each.test]:
            for moved in _moved(test):
                tests = tuple(moved if other is test else other for other in row.test)
                changed = row.model_copy(update={"test": tests})
                planted = replace(proof.rows, **{table: tuple(changed if other is row else other for other in rows)})

                other = Proof(proof.knowledge, planted, proof.questions.sources)
                fact = test.fact
                findings = other.questions.findings(fact) if fact in other.questions.varied else None

                assert next(other.in_answers_about(fact, findings), None), moved
                found += 1
    assert found > 50
    record_property("safety", f"planted: {found} boundaries moved, each found")


@pytest.mark.parametrize("id_", [id_ for id_, needed in INPUTS.items() if needed.asked[1] == "block"])
def test_an_unknown_input_that_counts_as_known_is_found(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch, id_: str
) -> None:
    strict = eligibility._doubt
    monkeypatch.setattr(
        eligibility,
        "_doubt",
        lambda row, finding, *rest: (
            None if row.id == id_ and finding.state is State.UNKNOWN else strict(row, finding, *rest)
        ),
    )
    planted = Proof(knowledge, rows_of(knowledge))

    assert any(next(planted.in_answers_about(name), None) for name in INPUTS[id_].facts)


@pytest.mark.parametrize("fact", ["ketamine_allergy", "systolic_any", "safety_concern", "platelets"])
def test_an_unknown_that_counts_as_absent_is_found(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch, fact: str
) -> None:
    def lenient(test: Banded, finding: Finding) -> State:
        state = holds(test, finding)
        return State.ABSENT if test.fact == fact and state is State.UNKNOWN else state

    monkeypatch.setattr(eligibility, "holds", lenient)

    assert next(Proof(knowledge, rows_of(knowledge)).in_answers_about(fact), None)


def test_a_safety_concern_that_is_dropped_is_found(knowledge: Knowledge) -> None:
    """From the criteria; and each of its five sources, from the table of risk."""
    rows = rows_of(knowledge)
    dropped = replace(rows, reviews=tuple(row for row in rows.reviews if row.id != "R04"))
    assert objection(Proof(knowledge, dropped))
    for source in knowledge.risk.safety:
        risk = knowledge.risk.model_copy(update={"safety": tuple(t for t in knowledge.risk.safety if t is not source)})

        assert next(Proof(replace(knowledge, risk=risk), rows).in_what_follows(), None), source.fact


def test_a_derived_fact_that_passes_in_silence_is_found(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = {
        "no_conflict": lambda facts, _: facts["weights_agree"],
        "bipolar_known": lambda _facts, _grounds: present(),
        "vasopressor_unexplained": lambda _facts, _grounds: ABSENT,
        "age_known": lambda facts, _: facts["age"],
        "dosing_weight": lambda facts, _: facts["weight"],
    }
    for name, lenient in planted.items():
        with monkeypatch.context() as patched:
            patched.setattr(derived, name, lenient)

            assert next(Proof(knowledge, rows_of(knowledge)).in_what_follows(), None), name


@pytest.mark.parametrize("step", ["_unanswered", "_met", "_demand"])
def test_rows_that_are_joined_otherwise_are_found(proof: Proof, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Nobody asks what is open; only the first row that is met counts; a row that may be confirmed is not asked for."""
    real = getattr(eligibility, step)
    planted = {
        "_unanswered": lambda *_: iter(()),
        "_met": lambda criteria, facts: tuple(met for met in real(criteria, facts) if met.row.id not in ("C02", "R09")),
        "_demand": lambda *given: {"confirm": "not needed"}.get(real(*given), real(*given)),
    }
    monkeypatch.setattr(eligibility, step, planted[step])

    with pytest.raises(AssertionError):
        assert_all_joined(proof, each_kind_alone(proof))
