"""What no chart and no change of knowledge may break: when there is a dose, when there is none, and how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import TypeVar

from hypothesis import assume, event, given
from hypothesis import strategies as st
from invariant import PROTOCOLS, assert_nothing_speaks_against
from thoroughly import always_the_same, thoroughly

from cds_service.clinical.derived import Grounds, derive
from cds_service.clinical.derived import names as derived_names
from cds_service.clinical.dosing import Dose, compute, dose_for
from cds_service.clinical.eligibility import Eligibility, Rows, Status, judge
from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Facts, Finding, Number, State
from cds_service.clinical.moment import Moment, Precision, exactly
from cds_service.clinical.plan import Occasion, propose
from cds_service.clinical.risk import assess
from cds_service.clinical.screening import Form, screen
from cds_service.clinical.stage import Stage, stage_of
from cds_service.knowledge import load_knowledge
from cds_service.knowledge.shapes import Protocol
from cds_service.knowledge.shapes import Test as Banded

T = TypeVar("T")

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENTRY = Evidence("Observation/one")

# ---- The decision logic once more, in numbers of this page's own

# Section 6, from shut to open. Among the shut ones the order is that of the table's right column: the reason that a
# stronger one outranks stands higher.
OPENNESS = [
    Status.CONTRAINDICATED,
    Status.SPECIALIST_REVIEW,
    Status.NOT_INDICATED,
    Status.DATA_MISSING,
    Status.NO_APPROVED_PROTOCOL,
    Status.ELIGIBLE_CONDITIONAL,
    Status.ELIGIBLE,
]


# ---- Women


KNOWN = load_knowledge()
ROWS = Rows(
    KNOWN.contraindications.criterion,
    KNOWN.reviews.criterion,
    KNOWN.modifiers.criterion,
    KNOWN.inputs.input,
)


def _tests() -> Iterator[Banded]:
    """Every row of every table that holds a fact against a band."""
    for table in (KNOWN.contraindications, KNOWN.reviews, KNOWN.modifiers):
        for row in table.criterion:
            yield from row.test
    risk = KNOWN.risk
    for tests in (risk.safety, risk.high, risk.elevated, risk.reassuring, risk.positive_screen, risk.not_indicated):
        yield from tests
    yield from risk.context


TESTS = tuple(_tests())
_ASKED = {test.fact for test in TESTS} | {name for row in ROWS.inputs for name in row.facts}
EVERY_FACT = tuple(sorted({*KNOWN.says, *_ASKED, "weights_agree", "breastfeeding_recorded"}))


def _limits() -> Mapping[str, tuple[Fraction, ...]]:
    """Where some table draws a line, and a few more numbers for what is only computed with."""
    numbers = {"weight": ("25", "72.4", "100", "300"), "height": ("163",), "believable_weight": ("72.4", "300")}
    found = {name: set(map(Fraction, values)) for name, values in numbers.items()}
    for test in TESTS:
        for limit in (test.at_least, test.above, test.below):
            if limit is not None:
                found.setdefault(test.fact, set()).add(Fraction(limit))
    return {name: tuple(sorted(values)) for name, values in found.items()}


def _believed() -> Mapping[str, tuple[Fraction, Fraction]]:
    """The limits outside which no reader believes a number."""
    limits = {row.fact: (Fraction(row.plausible[0]), Fraction(row.plausible[1])) for row in KNOWN.observations.row}
    return {**limits, "shock_index": (Fraction(0), Fraction(5)), "believable_weight": limits["weight"]}


LIMITS, BELIEVED = _limits(), _believed()


def ago(minutes: float) -> Moment:
    return exactly(NOW - timedelta(minutes=minutes))


def a_number(value: Number, minutes: float = 10) -> Finding:
    return Finding(State.PRESENT, (replace(ENTRY, value=str(value)),), (value,), ago(minutes))


WINDOWS = (0, 1, 60, 240, 24 * 60, 7 * 1440, 14 * 1440, 90 * 1440, 140 * 1440, 365 * 1440)
EXACT_MOMENTS = st.builds(
    lambda window, off: ago(window + off), st.sampled_from(WINDOWS), st.sampled_from((-1, -0.5, 0, 0.5, 1))
)


def _day(days: int) -> Moment:
    midnight = NOW.replace(hour=0) - timedelta(days=days)
    return Moment(midnight, midnight + timedelta(days=1), Precision.DAY, f"{midnight:%Y-%m-%d}")


def _month(months: int) -> Moment:
    first = datetime(2026, 11 - months, 1, tzinfo=UTC)
    following = datetime(2026, 12 - months, 1, tzinfo=UTC)
    return Moment(first, following, Precision.MONTH, f"{first:%Y-%m}")


MOMENTS = st.one_of(
    EXACT_MOMENTS,
    EXACT_MOMENTS,
    st.builds(_day, st.sampled_from((-1, 0, 1, 6, 7, 8, 14, 139, 141))),
    st.builds(_month, st.integers(0, 10)),
    st.none(),
)
UNKNOWNS = st.builds(
    lambda doubt, evidence: Finding(State.UNKNOWN, evidence, doubt=doubt),
    st.none() | st.sampled_from(Doubt),
    st.sampled_from(((), (ENTRY,))),
)


def thousandths(low: Number, high: Number) -> st.SearchStrategy[Fraction]:
    """Exact numbers with up to three places."""
    first, last = int(Fraction(low) * 1000), int(Fraction(high) * 1000)
    return st.integers(first, last).map(lambda number: Fraction(number, 1000))


@cache
def numbers(name: str) -> st.SearchStrategy[Fraction]:
    """Values on both sides of each limit of a fact, by a thousandth, by one, and anywhere."""
    limits = LIMITS[name]
    low, high = BELIEVED.get(name, (Fraction(0), 2 * max(limits) + 1))
    steps = [Fraction(step) for step in ("0", "0.001", "-0.001", "1", "-1", "0.5", "-0.5")]
    near = {limit + step for limit in limits for step in steps}
    return st.sampled_from(sorted(value for value in near if low <= value <= high)) | thousandths(low, high)


@cache
def findings(name: str) -> st.SearchStrategy[Finding]:
    """Whatever a reader could find about a fact: a number where a table draws limits, and any of the three states."""
    flags = st.sampled_from((False, False, False, True))
    if name in LIMITS:
        shown = st.builds(
            lambda values, at, incomplete: Finding(
                State.PRESENT,
                (ENTRY,) * len(values),
                tuple(sorted(set(values))),
                at,
                conflict=len(set(values)) > 1,
                incomplete=incomplete,
            ),
            st.lists(numbers(name), min_size=1, max_size=2),
            MOMENTS,
            flags,
        )
    else:
        shown = st.builds(
            lambda at, incomplete: Finding(State.PRESENT, (ENTRY,), at=at, incomplete=incomplete), MOMENTS, flags
        )
    return st.one_of(st.just(ABSENT), UNKNOWNS, shown)


# Whatever the type allows, also what no reader would ever write.
ANY_FINDINGS = st.builds(
    Finding,
    st.sampled_from(State),
    st.lists(st.just(ENTRY), max_size=2).map(tuple),
    st.lists(thousandths(-1, 1000) | st.integers(-1, 400) | st.integers(-1, 400).map(Decimal), max_size=2).map(tuple),
    MOMENTS,
    st.booleans(),
    st.booleans(),
    st.none() | st.sampled_from(Doubt),
)


def _form(score: int, self_harm: int | None, *, complete: bool, conflict: bool, at: Moment | None) -> Form:
    told = self_harm is not None
    return Form(
        score=max(score, self_harm or 0),
        complete=complete and told,  # the reader calls nothing complete without the self-harm answer
        answered=10 if complete and told else 7,
        self_harm=self_harm,
        conflict=conflict,
        at=at,
        issued="",
        evidence=(ENTRY,),
    )


def forms(highest: int) -> st.SearchStrategy[Form]:
    return st.builds(
        _form,
        st.integers(0, highest),
        st.sampled_from((0, 0, 0, 1, 3, None)),
        complete=st.sampled_from((True, True, False)),
        conflict=st.sampled_from((False, False, False, True)),
        at=MOMENTS,
    )


@dataclass(frozen=True)
class Woman:
    """What was read of her, what was thought, and what came out."""

    read: Facts
    ppd_order: bool
    protocol: Protocol | None
    tightened: frozenset[str]
    stage: Stage = field(init=False)
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        stage = stage_of(self.read, KNOWN.times)
        object.__setattr__(self, "stage", stage)
        object.__setattr__(self, "facts", derive(self.read, Grounds(KNOWN.risk, KNOWN.contraindications, stage, ())))

    def with_read(self, **more: Finding) -> Woman:
        """Read differently, and thought through anew."""
        return replace(self, read=self.read.with_(**as_read(more)))

    def judged(self, **more: Finding) -> Eligibility:
        """Judged with some facts, derived ones included, as given here."""
        return judge(
            self.facts.with_(**more),
            ROWS,
            stage=self.stage,
            ppd_order=self.ppd_order,
            protocol=self.protocol,
            tightened=self.tightened,
        )

    def dose(self, **more: Finding) -> Dose | None:
        return compute(self.facts.with_(**more), self.judged(**more), self.protocol)


READ_FROM_FORMS = frozenset({"epds_conflict"}) | frozenset(
    f"{form}_{what}"
    for form in ("epds", "phq9", "gad7")
    for what in ("current", "current_score", "complete_for_risk", "for_risk", "self_harm", "this_encounter")
)


# The facts that come from a chart, one by one: not derived, not from a form, not a second view of the weight.
READABLE = tuple(name for name in EVERY_FACT if name not in derived_names() | READ_FROM_FORMS | {"believable_weight"})


def as_read(changes: Mapping[str, Finding]) -> dict[str, Finding]:
    """
    What a reader finds besides: of the weight it writes down whether that can be believed (D14), and the latest
    pressure is one of those of the last 24 hours.
    """
    for latest, among in (("systolic", "systolic_any"), ("diastolic", "diastolic_any")):
        if (found := changes.get(latest)) is not None and found.state is State.PRESENT:
            others = changes[among].values if among in changes else ()
            changes = {**changes, among: replace(found, values=(*found.values, *others))}
    weight = changes.get("weight")
    if weight is None:
        return dict(changes)
    if weight.state is State.PRESENT and not all(25 <= kilograms <= 300 for kilograms in weight.values):
        odd = Finding(State.UNKNOWN, (ENTRY,), doubt=Doubt.CONFLICTING)
        return {**changes, "believable_weight": odd, "weights_agree": odd}
    return {**changes, "believable_weight": weight}


def well(*, born: bool, weight: Fraction) -> dict[str, Finding]:
    """Nothing against the medicine, everything known: 20 minutes after birth, or before it."""
    return {
        **dict.fromkeys(READABLE, ABSENT),
        **dict.fromkeys(("problem_list", "medication_list", "allergy_list", "weights_agree"), Finding(State.PRESENT)),
        "age": a_number(31),
        "weight": a_number(weight, 300),
        "believable_weight": a_number(weight, 300),
        "height": a_number(190, 300),
        "systolic": a_number(118),
        "diastolic": a_number(74),
        "systolic_any": a_number(118),
        "diastolic_any": a_number(74),
        "blood_pressure": Finding(State.PRESENT, (ENTRY,), at=ago(10)),
        "heart_rate": a_number(84),
        "spo2": a_number(98),
        "respiratory_rate": a_number(16),
        "asa_class": a_number(2),
        "delivery_mode": Finding(State.PRESENT, (ENTRY,)),
        "anaesthesia": Finding(State.PRESENT, (ENTRY,)),
        "pregnancy": ABSENT if born else Finding(State.PRESENT, (ENTRY,)),
        "birth": Finding(State.PRESENT, (ENTRY,), at=ago(20)) if born else ABSENT,
        "blood_loss": a_number(280) if born else Finding(State.UNKNOWN, doubt=Doubt.NOT_RECORDED),
    }


def screens_of(epds: tuple[Form, ...], phq9: tuple[Form, ...], *, received: bool = True) -> dict[str, Finding]:
    return screen(
        {"epds": epds, "phq9": phq9, "gad7": ()},
        not_had=None if received else Doubt.NOT_RECEIVED,
        encounter_began=ago(30 * 60),
        table=KNOWN.screens,
        now=NOW,
    )


WEIGHTS = st.one_of(
    thousandths(40, 120),
    st.integers(90, 260).map(lambda pounds: pounds * Fraction("0.45359237")),
    st.sampled_from([Fraction(kg) for kg in ("39.999", "40", "72.4", "99.999", "100", "100.001", "120", "120.001")]),
)
EPDS = st.builds(
    lambda score, minutes: _form(score, 0, complete=True, conflict=False, at=ago(minutes)),
    st.sampled_from((9, 10, 11, 12, 13, 15, 18, 19)),
    st.sampled_from((360, 168 * 60, 168 * 60 + 1)),
)


def tuples_of(strategy: st.SearchStrategy[T], most: int) -> st.SearchStrategy[tuple[T, ...]]:
    """As often none as some."""
    return st.just(()) | st.lists(strategy, max_size=most).map(tuple)


# Built once: to build a strategy takes longer than to draw from it.
BORN = st.booleans()
MEASURED = tuple(name for name in READABLE if name in LIMITS)  # as often as all the rest: there the lines are drawn
FACTS_TO_CHANGE = tuples_of(st.sampled_from(READABLE) | st.sampled_from(MEASURED), 3)
MORE_EPDS, PHQ9 = tuples_of(forms(30), 2), tuples_of(forms(27), 1)
RECEIVED = st.sampled_from((True, True, True, False))
PROTOCOL_OR_NONE = st.sampled_from((*KNOWN.protocols.protocol, *KNOWN.protocols.protocol, None))
PROTOCOL = st.sampled_from(KNOWN.protocols.protocol)
TIGHTENED = tuples_of(st.sampled_from(("D05", "D09", "D11", "D12", "D13")), 3).map(frozenset)
GOOD_WEIGHT, GOOD_SCORE, GOOD_AGE = thousandths(40, 120), st.integers(10, 18), st.integers(0, 168 * 60)


@st.composite
def women(draw: st.DrawFn) -> Woman:
    """A woman for whom the medicine could be offered, but for the few things that are changed."""
    facts = well(born=draw(BORN), weight=draw(WEIGHTS))
    screens = screens_of((draw(EPDS), *draw(MORE_EPDS)), draw(PHQ9), received=draw(RECEIVED))
    changed = {name: draw(findings(name)) for name in draw(FACTS_TO_CHANGE)}
    return Woman(
        Facts({**facts, **screens, **as_read(changed)}, NOW),
        ppd_order=draw(BORN),
        protocol=draw(PROTOCOL_OR_NONE),
        tightened=draw(TIGHTENED),
    )


@st.composite
def eligible_women(draw: st.DrawFn, born: st.SearchStrategy[bool] = BORN) -> Woman:
    """A woman who is given a dose, whatever else may be odd about her."""
    epds = _form(draw(GOOD_SCORE), 0, complete=True, conflict=False, at=ago(draw(GOOD_AGE)))
    facts = well(born=draw(born), weight=draw(GOOD_WEIGHT))
    woman = Woman(
        Facts({**facts, **screens_of((epds,), ())}, NOW),
        ppd_order=draw(BORN),
        protocol=draw(PROTOCOL),
        tightened=draw(TIGHTENED) if facts["birth"].state is State.PRESENT else frozenset(),
    )
    for name in draw(FACTS_TO_CHANGE)[:1]:
        changed = woman.with_read(**{name: draw(findings(name))})
        woman = changed if changed.judged().status.allows_a_dose else woman
    return woman


# ---- A dose implies the invariant


@thoroughly
@given(women())
def test_a_dose_implies_that_nothing_speaks_against_it(woman: Woman) -> None:
    eligibility, dose = woman.judged(), woman.dose()
    event(eligibility.status)
    if dose is None:
        assert not eligibility.status.allows_a_dose
        return
    assert_nothing_speaks_against(woman.facts, eligibility, woman.stage)
    assert woman.protocol is not None
    assert dose.dose_mg <= Fraction(PROTOCOLS[woman.protocol.id][3])


def test_eligible_women_are_not_rare() -> None:
    """Otherwise the properties above would say nothing."""
    met: Counter[tuple[bool, Status]] = Counter()

    @always_the_same
    @given(women())
    def meet(woman: Woman) -> None:
        met[woman.stage is Stage.AFTER_BIRTH, woman.judged().status] += 1

    meet()

    for born in (True, False):
        everyone = sum(count for (after, _), count in met.items() if after is born)
        given_a_dose = sum(met[born, status] for status in Status if status.allows_a_dose)
        assert given_a_dose / everyone > 0.15, met
        reached = {status for status in Status if met[born, status] >= 10}
        assert reached >= set(Status) - (set() if born else {Status.ELIGIBLE}), met


# ---- A contraindication only shuts


def holding(test: Banded) -> st.SearchStrategy[Finding]:
    if not test.banded:
        return st.builds(lambda at: Finding(State.PRESENT, (ENTRY,), at=at), MOMENTS)
    low = Fraction(test.at_least if test.at_least is not None else test.above if test.above is not None else 0)
    high = Fraction(test.below) if test.below is not None else low + 100
    if test.fact in BELIEVED:
        low, high = max(low, BELIEVED[test.fact][0]), min(high, BELIEVED[test.fact][1])
    last = high if test.below is None else high - Fraction(1, 1000)
    inside = thousandths(low if test.above is None else low + Fraction(1, 1000), last)
    return st.builds(lambda value, at: Finding(State.PRESENT, (ENTRY,), (value,), at), inside, MOMENTS)


# One C test, and a finding for which it holds: (id, fact, finding).
CONTRAINDICATIONS = st.one_of(
    st.tuples(st.just(row.id), st.just(test.fact), holding(test)) for row in ROWS.contraindications for test in row.test
)
REASONS_FOR_REVIEW = st.one_of(
    st.tuples(st.just(row.id), st.just(test.fact), holding(test)) for row in ROWS.reviews for test in row.test
)


@thoroughly
@given(women(), CONTRAINDICATIONS)
def test_adding_a_contraindication_never_opens(woman: Woman, added: tuple[str, str, Finding]) -> None:
    id_, fact, finding = added
    before, after = woman.judged(), woman.judged(**{fact: finding})
    event(f"{before.status} to {after.status}")

    assert OPENNESS.index(after.status) <= OPENNESS.index(before.status)
    assert id_ in {met.row.id for met in after.contraindications}
    assert woman.dose(**{fact: finding}) is None
    # Section 6: with an order for prevention the contraindication speaks first; else a screen below the range does.
    stays = not woman.ppd_order and before.status is Status.NOT_INDICATED
    assert after.status is (Status.NOT_INDICATED if stays else Status.CONTRAINDICATED)


@thoroughly
@given(eligible_women(), CONTRAINDICATIONS)
def test_a_contraindication_in_the_chart_takes_the_dose_away(woman: Woman, added: tuple[str, str, Finding]) -> None:
    """The same, with everything that follows from the new entry thought through anew."""
    id_, fact, finding = added
    assume(fact not in derived_names())
    if fact == "systolic":  # the latest pressure is one of the last 24 hours, and the shock index follows from it
        assume(finding.value > 0)

    changed = woman.with_read(**{fact: finding})

    assert woman.dose() is not None
    assert changed.judged().status is Status.CONTRAINDICATED
    assert id_ in {met.row.id for met in changed.judged().contraindications}


@thoroughly
@given(women(), REASONS_FOR_REVIEW)
def test_adding_a_reason_for_review_never_opens(woman: Woman, added: tuple[str, str, Finding]) -> None:
    id_, fact, finding = added
    before, after = woman.judged(), woman.judged(**{fact: finding})
    # The new entry replaces what was there. It must not take a contraindication away that stood on the same fact.
    assume({met.row.id for met in before.contraindications} <= {met.row.id for met in after.contraindications})

    assert OPENNESS.index(after.status) <= OPENNESS.index(before.status)
    assert id_ in {met.row.id for met in after.reviews}
    assert woman.dose(**{fact: finding}) is None


# ---- Not known is never eligible


def _blocking(woman: Woman) -> list[str]:
    """The facts of the D rows that block at her stage, by section 4.3."""
    always = ("D01", "D02", "D03", "D04", "D06", "D07", "D08", "D10", "D14", "D15")
    if woman.stage is Stage.AFTER_BIRTH:
        blocking = {*always, "D05", *woman.tightened}
    else:
        blocking = {*always, *woman.tightened} - {"D12", "D13"}  # there is none yet
    return [name for row in ROWS.inputs if row.id in blocking for name in row.facts]


@thoroughly
@given(eligible_women(), st.data())
def test_a_blocking_input_that_is_unknown_takes_the_dose_away(woman: Woman, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(_blocking(woman)))
    finding = data.draw(UNKNOWNS)
    event(name)

    assert woman.dose() is not None
    assert woman.judged(**{name: finding}).status is Status.DATA_MISSING
    assert woman.dose(**{name: finding}) is None


# What a derived input rests on: without it the input is not known.
RESTS_ON = {
    "age_known": "age",
    "bipolar_known": "bipolar_screen",
    "no_conflict": "weights_agree",
    "dosing_weight": "weight",
}


@thoroughly
@given(women(), st.data())
def test_nobody_gets_a_dose_while_the_chart_is_silent_about_a_blocking_input(woman: Woman, data: st.DataObject) -> None:
    asked = [RESTS_ON.get(name, name) for name in _blocking(woman)]
    name = data.draw(st.sampled_from([name for name in asked if name not in derived_names()]))

    silent = woman.with_read(**{name: data.draw(UNKNOWNS)})

    assert silent.dose() is None


@thoroughly
@given(eligible_women(), st.data())
def test_a_contraindication_that_nobody_can_rule_out_takes_the_dose_away(woman: Woman, data: st.DataObject) -> None:
    """Unless its own D row may be confirmed at the bedside, or is not needed yet."""
    lenient = {"D05", "D12"} if woman.stage is Stage.PREGNANT else {"D12"}
    asked = [test.fact for row in ROWS.contraindications for test in row.test if not set(test.inputs) & lenient]
    name = data.draw(st.sampled_from(asked))

    assert woman.dose() is not None
    assert woman.dose(**{name: data.draw(UNKNOWNS)}) is None


@thoroughly
@given(eligible_women(st.just(True)), st.sampled_from([test for row in ROWS.reviews for test in row.test]), UNKNOWNS)
def test_an_unanswered_reason_for_review_is_never_passed_in_silence(
    woman: Woman, test: Banded, finding: Finding
) -> None:

    eligibility = woman.judged(**{test.fact: finding})

    assert eligibility.status is not Status.ELIGIBLE
    assert eligibility.confirm or eligibility.missing


# ---- It never raises


def think(facts: Facts, stage: Stage, ppd_order: bool, protocol: Protocol | None, hook: str) -> None:
    tables = KNOWN
    risk = assess(facts, tables.risk)
    eligibility = judge(facts, ROWS, stage=stage, ppd_order=ppd_order, protocol=protocol)
    dose = compute(facts, eligibility, protocol)
    occasion = Occasion(hook, True, stage, ppd_order, protocol is not None)
    plan = propose(occasion, facts, risk, eligibility, (), tables.topics)
    assert dose is None or eligibility.status.allows_a_dose
    assert len(plan.topics) <= 2 + sum(topic.indicator == "critical" for topic in plan.topics)


HOOKS = st.sampled_from(("patient-view", "encounter-start", "order-select", "order-sign", "encounter-discharge"))


@st.composite
def odd_facts(draw: st.DrawFn, strategy: Callable[[str], st.SearchStrategy[Finding]]) -> Facts:
    """Women who are well but for anything at all, and women of whom nothing is known but that."""
    return draw(STARTS).with_(**{name: draw(strategy(name)) for name in draw(ODD_NAMES)})


def _starts() -> tuple[Facts, ...]:
    form = _form(12, 0, complete=True, conflict=False, at=ago(60))
    read = [Facts({**well(born=born, weight=Fraction(70)), **screens_of((form,), ())}, NOW) for born in (True, False)]
    thought = [Woman(facts, False, None, frozenset()).facts for facts in read]
    return (*thought, *read, Facts({}, NOW))


STARTS = st.sampled_from(_starts())
# What is measured, and what a dose rests on, is drawn more often.
ODD_NAMES = st.lists(
    st.sampled_from(EVERY_FACT) | st.sampled_from(MEASURED) | st.sampled_from(("weight", "epds_current", "birth")),
    max_size=5,
)


@thoroughly
@given(odd_facts(findings), HOOKS, BORN, PROTOCOL_OR_NONE)
def test_no_chart_makes_it_raise(read: Facts, hook: str, ppd_order: bool, protocol: Protocol | None) -> None:
    woman = Woman(Facts(as_read(read), NOW), ppd_order, protocol, frozenset())

    think(woman.facts, woman.stage, ppd_order, protocol, hook)


@thoroughly
@given(odd_facts(lambda _: ANY_FINDINGS), HOOKS, st.sampled_from(Stage), BORN)
def test_no_facts_make_it_raise_even_such_as_nobody_reads(
    facts: Facts, hook: str, stage: Stage, ppd_order: bool
) -> None:
    weight = facts["weight"]
    # Less than 2.5 kg makes a dose of nothing. The last guard then raises, as it does above the ceiling.
    assume(all(kilograms >= Fraction("2.5") for kilograms in weight.values))

    think(facts, stage, ppd_order, KNOWN.protocols.protocol[0], hook)


# ---- How much


@st.composite
def anyones_weight(draw: st.DrawFn) -> Fraction:
    return draw(WEIGHTS | thousandths(10, 400))


@thoroughly
@given(anyones_weight(), st.sampled_from(sorted(PROTOCOLS)))
def test_the_dose_is_exact(kg: Fraction, id_: str) -> None:
    per_kg, cap, step, ceiling, strength, total, rate, minutes = map(Fraction, PROTOCOLS[id_])
    protocol = KNOWN.protocol(id_)
    assert protocol is not None

    dose = dose_for(kg, ENTRY, protocol)
    mg = Fraction(dose.dose_mg)

    exact = min(kg, cap) * per_kg
    assert mg == exact // step * step
    assert mg <= exact < mg + step
    assert mg <= ceiling
    assert Fraction(dose.drug_volume_ml) * strength == mg
    assert Fraction(dose.drug_volume_ml) + Fraction(dose.diluent_volume_ml) == total
    assert Fraction(dose.concentration_mg_per_ml) * total == mg
    assert Fraction(protocol.rate_ml_per_h) == rate == total * 60 / minutes
    assert protocol.duration_min == minutes
    assert Fraction(dose.weight_kg) <= kg < Fraction(dose.weight_kg) + Fraction("0.001")
    for told in (f"{dose.dose_mg:f} mg", f"{dose.drug_volume_ml:f} mL", f"{dose.concentration_mg_per_ml:f} mg/mL"):
        assert told in dose.calculation


@thoroughly
@given(women(), st.sampled_from((Fraction(1, 2), Fraction(9, 10), Fraction(999, 1000))))
def test_less_weight_never_means_more(woman: Woman, part: Fraction) -> None:
    weight = woman.read["weight"]
    lighter = replace(weight, values=tuple(value * part for value in weight.values))

    heavy, light = woman.dose(), woman.with_read(weight=lighter).dose()

    if heavy is not None and light is not None:
        assert light.dose_mg <= heavy.dose_mg
    event(f"{heavy is not None} and {light is not None}")


@thoroughly
@given(thousandths(20, 400), st.sampled_from(sorted(PROTOCOLS)))
def test_half_the_weight_is_never_more_than_half_the_dose_and_a_step(kg: Fraction, id_: str) -> None:
    protocol = KNOWN.protocol(id_)
    assert protocol is not None

    whole, half = dose_for(kg, ENTRY, protocol), dose_for(kg / 2, ENTRY, protocol)

    assert half.dose_mg <= whole.dose_mg
    if kg <= protocol.weight_cap_kg:
        assert 2 * half.dose_mg <= whole.dose_mg + protocol.round_down_to_mg
