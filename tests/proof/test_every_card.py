"""
Every tier and every card: sections 3 and 7 on each combination of what they look at, and on worked charts.

The tier depends on five answers, the cards on few more. Each combination is made and given to the real `assess` and
`propose`, beside the same sections written down once more. That something does happen, not only that it may, is shown
with the worked charts of `tests/vignettes`: they go through the whole service from the request on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, product

import pytest
from ehr import request_for
from encoding import Case, read_cases
from every_finding import NOW
from sections import CRITERIA

from cds_service.advisor import Advisor
from cds_service.clinical.approval import approve
from cds_service.clinical.consultation import Consultation
from cds_service.clinical.eligibility import Eligibility, Open, Rows, Status, judge
from cds_service.clinical.facts import ABSENT, UNKNOWN, Facts, Finding, State, present
from cds_service.clinical.order_check import Departure
from cds_service.clinical.plan import Indicator, Occasion, Plan, propose
from cds_service.clinical.risk import Risk, Tier, assess
from cds_service.clinical.stage import Stage
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import Knowledge

AdvisorOf = Callable[[Case], Advisor]
HOOKS = ("patient-view", "encounter-start", "order-select", "order-sign", "encounter-discharge")
MEDICINE = {
    Status.CONTRAINDICATED: "KETCONTRA",
    Status.SPECIALIST_REVIEW: "KETREVIEW",
    Status.NOT_INDICATED: "KETNOTIND",
    Status.DATA_MISSING: "KETDATA",
    Status.NO_APPROVED_PROTOCOL: "KETNOPROTO",
    Status.ELIGIBLE: "KETOPTION",
    Status.ELIGIBLE_CONDITIONAL: "KETOPTION",
}
# Section 7: the cards of each hook, in the table's order.
_ORDERS = ("PPDSAFETY", "KETCONTRA", "KETORDER", "KETREVIEW", "KETNOTIND", "KETDATA", "KETOPTION", "KETNOPROTO")
CARDS = {
    "patient-view": ("PPDSAFETY", "PPDSCREEN", "PPDRISK"),
    "encounter-start": ("PPDSAFETY", "PPDSCREEN", "PPDRISK"),
    "order-select": (*_ORDERS, "PPDSCREEN", "PPDRISK"),
    "order-sign": (*_ORDERS, "PPDSCREEN", "PPDRISK"),
    "encounter-discharge": ("PPDSAFETY", "PPDSCREEN", "PPDFOLLOWUP"),
}
EVERY_CARD = {(hook, code) for hook, codes in CARDS.items() for code in codes}
INFO, WARNING, CRITICAL = Indicator.INFO, Indicator.WARNING, Indicator.CRITICAL


# ---- Section 3: the tier


def a_score(value: int) -> Finding:
    return Finding(State.PRESENT, values=(value,))


def test_every_tier_is_the_first_that_matches(knowledge: Knowledge, record_property: pytest.RecordProperty) -> None:
    """Each rule of each tier alone and beside the others: so, not so, unknown; with and without reassurance."""
    table = knowledge.risk
    high = [test for test in table.high if test.fact != "epds_for_risk" and not test.banded]
    elevated = [test for test in table.elevated if not test.banded]
    assert (len(high), len(elevated)) == (10, 6)
    tried, reached = 0, set()
    quiet = dict.fromkeys({test.fact for test in (*table.high, *table.elevated)}, ABSENT)
    for one, other in product(high, elevated):
        choices = product((present(), ABSENT, UNKNOWN), (present(), ABSENT, UNKNOWN), (4, 11, 13, None), (True, False))
        for first, second, epds, list_had in choices:
            facts = {**quiet, one.fact: first, other.fact: second, "age": a_score(31)}
            facts["problem_list"] = present() if list_had else UNKNOWN
            if epds is not None:
                facts["epds_for_risk"] = facts["epds_complete_for_risk"] = a_score(epds)

            tier = assess(Facts(facts, NOW), table).tier

            assert tier is by_section_3(first.state, second.state, epds, list_had), (one.fact, other.fact, epds)
            reached.add(tier)
            tried += 1
    assert reached == set(Tier)
    record_property("safety", f"every tier: {tried:,} combinations of two rules, a score and the problem list")


def by_section_3(high: State, elevated: State, epds: int | None, list_had: bool) -> Tier:
    if high is State.PRESENT or (epds or 0) >= 13:
        return Tier.HIGH
    if elevated is State.PRESENT or (epds or 0) >= 10:
        return Tier.ELEVATED
    usable = epds is not None and list_had
    return Tier.NOT_ELEVATED if usable and State.UNKNOWN not in {high, elevated} else Tier.UNDETERMINED


@pytest.mark.parametrize(
    ("fact", "bands"),
    [
        ("epds_for_risk", [(9, Tier.NOT_ELEVATED), (10, Tier.ELEVATED), (12, Tier.ELEVATED), (13, Tier.HIGH)]),
        ("phq9_for_risk", [(9, Tier.NOT_ELEVATED), (10, Tier.ELEVATED), (14, Tier.ELEVATED), (15, Tier.HIGH)]),
        ("gad7_for_risk", [(9, Tier.NOT_ELEVATED), (10, Tier.ELEVATED), (21, Tier.ELEVATED)]),
        ("age", [(20, Tier.NOT_ELEVATED), (19, Tier.ELEVATED)]),
    ],
)
def test_each_boundary_of_a_tier_is_where_section_3_has_it(
    knowledge: Knowledge, fact: str, bands: list[tuple[int, Tier]]
) -> None:
    table = knowledge.risk
    quiet = dict.fromkeys({test.fact for test in (*table.high, *table.elevated)}, ABSENT)
    well = {**quiet, "problem_list": present(), "epds_complete_for_risk": a_score(4), "age": a_score(31)}
    for value, tier in bands:
        assert assess(Facts({**well, fact: a_score(value)}, NOW), table).tier is tier, value


# ---- Section 7: the cards


@dataclass(frozen=True)
class Scene:
    """Whatever the cards depend on."""

    hook: str
    ppd_order: bool
    protocol: bool
    status: Status
    tier: Tier
    open: tuple[str, ...]
    departures: tuple[bool, ...]  # for each departure, whether it is beyond an absolute limit
    positive: State
    concern: State
    assessed: State
    epds: State
    epds_this_stay: State
    bipolar: State

    @property
    def facts(self) -> dict[str, Finding]:
        return {
            "positive_screen": Finding(self.positive),
            "safety_concern": Finding(self.concern),
            "safety_assessed_since": Finding(self.assessed),
            "epds_current": Finding(self.epds),
            "epds_this_encounter": Finding(self.epds_this_stay),
            "bipolar_known": Finding(self.bipolar),
        }

    def wanted(self) -> dict[str, Indicator]:
        """The cards that section 7 calls for, in words of this page."""
        cards = {**self._medicine()}
        yes = State.PRESENT
        if self.concern is yes:
            cards["PPDSAFETY"] = INFO if self.assessed is yes else CRITICAL
        if self.ppd_order and self.departures and self.status is not Status.CONTRAINDICATED:
            cards["KETORDER"] = CRITICAL if any(self.departures) else WARNING
        no_screen = self.epds_this_stay is not yes
        if self.hook != "encounter-discharge":
            no_screen = self.epds is not yes or (self.positive is yes and self.bipolar is not yes)
        if no_screen:
            cards["PPDSCREEN"] = WARNING
        if self.tier in {Tier.HIGH, Tier.ELEVATED}:
            cards["PPDRISK"] = WARNING if self.tier is Tier.HIGH else INFO
            cards["PPDFOLLOWUP"] = INFO
        return cards

    def _medicine(self) -> dict[str, Indicator]:
        offered = self.ppd_order or (self.positive is State.PRESENT and self.protocol)
        more_than_screens = bool(set(self.open) - {"D01", "D10"})
        shown = {
            Status.CONTRAINDICATED: offered,
            Status.SPECIALIST_REVIEW: offered,
            Status.NOT_INDICATED: self.ppd_order,
            Status.DATA_MISSING: self.ppd_order or (offered and more_than_screens),
            Status.NO_APPROVED_PROTOCOL: self.ppd_order,
            Status.ELIGIBLE: True,
            Status.ELIGIBLE_CONDITIONAL: True,
        }
        loud = {
            Status.CONTRAINDICATED: CRITICAL if self.ppd_order else INFO,
            Status.DATA_MISSING: WARNING if self.ppd_order else INFO,
            Status.ELIGIBLE: INFO,
            Status.ELIGIBLE_CONDITIONAL: INFO,
        }
        return {MEDICINE[self.status]: loud.get(self.status, WARNING)} if shown[self.status] else {}


YES_NO = (State.PRESENT, State.ABSENT)


def scenes() -> Iterator[Scene]:
    """Each hook, order, status, tier, kind of gap and of departure, with each fact so or not so."""
    for hook, ppd_order, protocol, status in product(HOOKS, (True, False), (True, False), Status):
        gaps = ((), ("D01",), ("D10", "C08")) if status is Status.DATA_MISSING else ((),)
        departures = ((), (False,), (False, True)) if hook.startswith("order") else ((),)
        for tier, gap, departing, *states in product(Tier, gaps, departures, *[YES_NO] * 6):
            yield Scene(hook, ppd_order, protocol, status, tier, gap, departing, *states)


def scenes_with_unknowns() -> Iterator[Scene]:
    """And each fact so, not so or unknown, where something is missing."""
    for hook, ppd_order, protocol, *states in product(HOOKS, (True, False), (True, False), *[tuple(State)] * 6):
        yield Scene(hook, ppd_order, protocol, Status.DATA_MISSING, Tier.HIGH, ("C08",), (), *states)


def planned(scene: Scene, knowledge: Knowledge) -> Plan:
    """By the service."""
    occasion = Occasion(scene.hook, True, Stage.AFTER_BIRTH, scene.ppd_order, scene.protocol)
    missing = tuple(Open(id_, "", "", (), ()) for id_ in scene.open)
    eligibility = Eligibility(scene.status, (), (), (), missing, (), ())
    departures = tuple(Departure("", "", "", "", critical=critical) for critical in scene.departures)
    risk = Risk(scene.tier, (), (), (), None)
    return propose(occasion, Facts(scene.facts, NOW), risk, eligibility, departures, knowledge.topics)


def test_every_card_is_called_for_by_section_7(knowledge: Knowledge, record_property: pytest.RecordProperty) -> None:
    """Which cards, in which order, how loud; and that the third quiet one is held back."""
    tried, reached = 0, set()
    for scene in chain(scenes(), scenes_with_unknowns()):
        plan, wanted = planned(scene, knowledge), scene.wanted()
        cards = [(code, wanted[code]) for code in CARDS[scene.hook] if code in wanted]
        quiet = [(code, loud) for code, loud in cards if loud is not CRITICAL and code != "PPDSAFETY"]

        assert [(t.code, t.indicator) for t in plan.topics] == [card for card in cards if card not in quiet[2:]], scene
        assert [(t.code, t.indicator) for t in plan.held_back] == quiet[2:], scene
        reached |= {(scene.hook, topic.code) for topic in plan.topics}
        tried += 1
    assert reached == EVERY_CARD
    record_property("safety", f"every card: {tried:,} scenes, each planned as section 7 says")


def test_a_patient_and_a_woman_who_is_not_with_child_get_no_card(knowledge: Knowledge) -> None:
    scene = next(scenes())
    eligibility, risk = Eligibility(scene.status, (), (), (), (), (), ()), Risk(scene.tier, (), (), (), None)
    for clinician, stage, hook in product((True, False), Stage, HOOKS):
        occasion = Occasion(hook, clinician, stage, ppd_order=True, site_has_protocol=True)

        plan = propose(occasion, Facts(scene.facts, NOW), risk, eligibility, (), knowledge.topics)

        assert bool(plan.topics) is (clinician and stage is not Stage.OTHER)


# ---- It does happen: with charts from the outside


def worth_reading(cases: list[Case]) -> Iterator[Case]:
    """As few of the worked charts as it takes to expect everything that any of them expects."""
    expected: set[object] = set()
    for case in cases:
        expect = case.expect
        born = case["encounter"]["stage"] != "pre_delivery"
        kinds = {("status", expect.get("status"), bool(case["draft_order"]), born), ("tier", expect.get("tier"))}
        kinds |= {("alone", tuple(expect.get(n) or ())) for n in ("contraindications", "review")}
        kinds |= {("card", case["hook"], card) for card in expect.get("cards", ())}
        if not kinds <= expected:
            expected |= kinds
            yield case


@pytest.fixture(scope="module")
def thoughts(now: datetime, advisor_of: AdvisorOf) -> list[tuple[Consultation, Advisor]]:
    """What the service thinks of those charts, from the request on."""
    cases = read_cases()
    just_born = next(case for case in cases if case.expect.get("status") == "eligible")
    low = {**just_born["screens"], "epds": {**just_born["screens"]["epds"], "total": 8}}
    found = []
    for case in (*worth_reading(cases), replace(just_born, given={**just_born.given, "screens": low})):
        advisor = advisor_of(case)
        body = json.dumps(request_for(case, now, advisor.discovery())).encode()
        thought = advisor.advise(parse_request(read_json(body), case["hook"])).consultation
        if thought is not None:
            found.append((thought, advisor))
    return found


Thoughts = list[tuple[Consultation, Advisor]]


def test_each_status_is_reached_in_each_column(thoughts: Thoughts, knowledge: Knowledge) -> None:
    """The facts of a whole chart, judged without an order for prevention and with one, and where none is approved."""
    rows = Rows(
        knowledge.contraindications.criterion,
        knowledge.reviews.criterion,
        knowledge.modifiers.criterion,
        knowledge.inputs.input,
    )
    reached = set()
    for (thought, advisor), ppd_order, approved in product(thoughts, (True, False), (True, False)):
        stage = thought.occasion.stage
        protocol = approve(advisor.site, advisor.knowledge).protocol if approved else None
        status = judge(thought.facts, rows, stage=stage, ppd_order=ppd_order, protocol=protocol).status
        reached.add((status, ppd_order, stage is Stage.PREGNANT))

    always = set(product(Status, (True, False), (True, False)))
    assert always - reached == {(Status.ELIGIBLE, ppd_order, True) for ppd_order in (True, False)}


def test_each_criterion_is_reached_alone(thoughts: Thoughts) -> None:
    alone = set()
    for thought, _ in thoughts:
        met = [met.row.id for met in (*thought.eligibility.contraindications, *thought.eligibility.reviews)]
        alone |= {met[0]} if len(met) == 1 else set()

    together = {met.row.id for thought, _ in thoughts for met in thought.eligibility.contraindications}
    # Mania and psychosis, while they last, are a safety concern, too.
    assert (set(CRITERIA) - alone, together >= {"C09", "C10"}) == ({"C10"}, True)


def test_each_tier_is_reached(thoughts: Thoughts) -> None:
    assert {thought.risk.tier for thought, _ in thoughts} == set(Tier)


def test_each_card_is_reached_at_each_of_its_hooks(thoughts: Thoughts, knowledge: Knowledge) -> None:
    """The same chart, had it been another hook that asked."""
    reached = set()
    for (thought, _), hook in product(thoughts, HOOKS):
        occasion = replace(thought.occasion, hook=hook)
        plan = propose(occasion, thought.facts, thought.risk, thought.eligibility, thought.departures, knowledge.topics)
        reached |= {(hook, topic.code) for topic in plan.topics}

    assert reached == EVERY_CARD
