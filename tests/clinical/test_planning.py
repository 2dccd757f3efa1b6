"""What is said at which moment, how loudly, to whom, and what is held back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cds_service.clinical.consultation import Consultation, Encountered, Ordered
from cds_service.clinical.eligibility import Eligibility, Open, Status
from cds_service.clinical.facts import UNKNOWN, Facts, Finding, present
from cds_service.clinical.order_check import Departure, DraftedOrder
from cds_service.clinical.plan import Indicator, Occasion, Plan, Topic, propose
from cds_service.clinical.risk import Risk, Tier
from cds_service.clinical.stage import Stage
from cds_service.knowledge import Knowledge

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def planned(
    knowledge: Knowledge, occasion: Occasion, status: Status, *departures: Departure, tier: Tier = Tier.NOT_ELEVATED,
    missing: tuple[Open, ...] = (), most: int = 2, **facts: Finding,
) -> Plan:  # fmt: skip
    known = {"epds_current": present(), "epds_this_encounter": present(), "bipolar_known": present(), **facts}
    eligibility = Eligibility(status, (), (), (), missing, (), ())
    table = knowledge.topics.model_copy(update={"most_not_critical": most})
    return propose(occasion, Facts(known, NOON), Risk(tier, (), (), (), None), eligibility, departures, table)


def occasion(hook: str = "order-sign", **differs: Any) -> Occasion:
    whole: dict[str, Any] = {
        "clinician": True,
        "stage": Stage.PREGNANT,
        "ppd_order": False,
        "site_has_protocol": True,
    } | differs
    return Occasion(hook, **whole)


INFO, WARNING, CRITICAL = Indicator.INFO, Indicator.WARNING, Indicator.CRITICAL
POSITIVE = {"positive_screen": present()}
NONE = Plan(())
SAYS = [
    (Status.CONTRAINDICATED, "KETCONTRA", CRITICAL, INFO),
    (Status.SPECIALIST_REVIEW, "KETREVIEW", WARNING, WARNING),
    (Status.NOT_INDICATED, "KETNOTIND", WARNING, None),
    (Status.NO_APPROVED_PROTOCOL, "KETNOPROTO", WARNING, None),
    (Status.DATA_MISSING, "KETDATA", WARNING, None),
    (Status.ELIGIBLE, "KETOPTION", INFO, INFO),
    (Status.ELIGIBLE_CONDITIONAL, "KETOPTION", INFO, INFO),
]


@pytest.mark.parametrize(("status", "code", "ordered", "offered"), SAYS)
def test_each_status_has_its_card(
    status: Status, code: str, ordered: Indicator, offered: Indicator | None, knowledge: Knowledge
) -> None:
    drafted = planned(knowledge, occasion(ppd_order=True), status)
    open_to_it = planned(knowledge, occasion(), status, **POSITIVE)

    assert drafted == Plan((Topic(code, ordered),))
    assert open_to_it == Plan((Topic(code, offered),) if offered else ())


def test_a_medicine_that_the_site_does_not_offer_is_not_spoken_of(knowledge: Knowledge) -> None:
    for status in (Status.CONTRAINDICATED, Status.SPECIALIST_REVIEW, Status.DATA_MISSING):
        missing = (Open("D04", "", "", (), ()),)
        assert planned(knowledge, occasion(site_has_protocol=False), status, missing=missing, **POSITIVE) == NONE
        assert planned(knowledge, occasion(), status, missing=missing) == NONE


def test_missing_data_have_a_card_unless_only_the_screens_are_missing(knowledge: Knowledge) -> None:
    def said_of(*ids: str) -> Plan:
        missing = tuple(Open(id_, "", "", (), ()) for id_ in ids)
        return planned(knowledge, occasion(), Status.DATA_MISSING, missing=missing, **POSITIVE)

    assert said_of("D01") == said_of("D10") == said_of("D01", "D10") == NONE
    assert said_of("D01", "D04", "D10") == Plan((Topic("KETDATA", INFO),))


def test_a_safety_concern_is_critical_until_she_was_assessed(knowledge: Knowledge) -> None:
    here = occasion("patient-view")
    concern = {"safety_concern": present()}

    assert planned(knowledge, here, Status.NOT_INDICATED, **concern) == Plan((Topic("PPDSAFETY", CRITICAL),))
    assessed_since = planned(knowledge, here, Status.NOT_INDICATED, **concern, safety_assessed_since=present())
    assert assessed_since == Plan((Topic("PPDSAFETY", INFO),))
    assert planned(knowledge, here, Status.NOT_INDICATED, safety_concern=UNKNOWN) == NONE


def test_nobody_else_is_told_anything(knowledge: Knowledge) -> None:
    for who in (occasion(clinician=False), occasion(stage=Stage.OTHER)):
        assert planned(knowledge, who, Status.ELIGIBLE, safety_concern=present()) == NONE


MINOR, GRAVE = Departure("Dose", "", "", ""), Departure("Dose", "", "", "", critical=True)


def test_a_departure_of_the_draft_has_a_card_unless_she_must_not_have_it_at_all(knowledge: Knowledge) -> None:
    draft = occasion(ppd_order=True)

    def orders(at: Occasion, status: Status, *departures: Departure) -> list[Topic]:
        return [topic for topic in planned(knowledge, at, status, *departures).topics if topic.code == "KETORDER"]

    assert orders(draft, Status.ELIGIBLE, MINOR) == [Topic("KETORDER", WARNING)]
    assert orders(draft, Status.ELIGIBLE, MINOR, GRAVE) == [Topic("KETORDER", CRITICAL)]
    assert orders(draft, Status.ELIGIBLE) == []
    assert orders(draft, Status.CONTRAINDICATED, GRAVE) == []
    assert orders(occasion(), Status.ELIGIBLE, GRAVE) == []


def test_a_screen_is_asked_for_when_none_is_current_or_a_positive_one_stands_alone(knowledge: Knowledge) -> None:
    due = Plan((Topic("PPDSCREEN", WARNING),))

    def says(hook: str, **facts: Finding) -> Plan:
        return planned(knowledge, occasion(hook), Status.NOT_INDICATED, **facts)

    assert says("patient-view") == NONE
    assert says("patient-view", epds_current=UNKNOWN) == due
    assert says("patient-view", bipolar_known=UNKNOWN) == NONE
    assert says("patient-view", bipolar_known=UNKNOWN, **POSITIVE) == due
    assert says("patient-view", epds_this_encounter=UNKNOWN) == NONE
    assert says("encounter-discharge", epds_this_encounter=UNKNOWN) == due
    assert says("encounter-discharge", epds_current=UNKNOWN, bipolar_known=UNKNOWN, **POSITIVE) == NONE


def test_a_raised_risk_is_said_and_followed_up_at_discharge(knowledge: Knowledge) -> None:
    def says(hook: str, tier: Tier) -> Plan:
        return planned(knowledge, occasion(hook), Status.NOT_INDICATED, tier=tier)

    assert says("patient-view", Tier.HIGH) == Plan((Topic("PPDRISK", WARNING),))
    assert says("patient-view", Tier.ELEVATED) == Plan((Topic("PPDRISK", INFO),))
    assert says("encounter-discharge", Tier.HIGH) == Plan((Topic("PPDFOLLOWUP", INFO),))
    for hook in ("patient-view", "encounter-discharge"):
        assert says(hook, Tier.NOT_ELEVATED) == says(hook, Tier.UNDETERMINED) == NONE


def test_at_most_two_cards_speak_besides_the_critical_ones_and_safety(knowledge: Knowledge) -> None:
    loud = {"safety_concern": present(), "epds_current": UNKNOWN}
    order = occasion(ppd_order=True)

    grave = planned(knowledge, order, Status.SPECIALIST_REVIEW, GRAVE, tier=Tier.HIGH, **loud)
    assert grave.topics == (
        Topic("PPDSAFETY", CRITICAL),
        Topic("KETORDER", CRITICAL),
        Topic("KETREVIEW", WARNING),
        Topic("PPDSCREEN", WARNING),
    )
    assert grave.held_back == (Topic("PPDRISK", WARNING),)

    calm = planned(
        knowledge, order, Status.SPECIALIST_REVIEW, MINOR, tier=Tier.HIGH, safety_assessed_since=present(), **loud
    )
    assert calm.topics == (Topic("PPDSAFETY", INFO), Topic("KETORDER", WARNING), Topic("KETREVIEW", WARNING))
    assert calm.held_back == (Topic("PPDSCREEN", WARNING), Topic("PPDRISK", WARNING))
    assert planned(knowledge, order, Status.SPECIALIST_REVIEW, MINOR, most=1).held_back == (
        Topic("KETREVIEW", WARNING),
    )


def test_a_role_hides_neither_safety_nor_what_stands_against_a_drafted_medicine(knowledge: Knowledge) -> None:
    facts = {"safety_concern": present(), "epds_current": UNKNOWN, **POSITIVE}

    def codes(topics: frozenset[str], *, ordered: bool) -> list[str]:
        at = occasion(ppd_order=ordered, topics=topics)
        plan = planned(knowledge, at, Status.SPECIALIST_REVIEW, MINOR, tier=Tier.HIGH, most=9, **facts)
        return [topic.code for topic in plan.topics]

    assert codes(frozenset(), ordered=False) == ["PPDSAFETY"]
    assert codes(frozenset(), ordered=True) == ["PPDSAFETY", "KETORDER", "KETREVIEW"]
    assert codes(frozenset({"PPDRISK"}), ordered=False) == ["PPDSAFETY", "PPDRISK"]


def test_a_topic_that_the_site_turned_off_is_silent_and_is_named_where_it_stood_against_the_medicine(
    knowledge: Knowledge,
) -> None:
    def plan(status: Status, *off: str, ordered: bool = True) -> Plan:
        at = occasion(ppd_order=ordered, off=frozenset(off))
        return planned(knowledge, at, status, tier=Tier.HIGH, **POSITIVE)

    silent = plan(Status.CONTRAINDICATED, "KETCONTRA", "PPDRISK")
    assert silent == Plan((), silenced=("KETCONTRA",))
    assert silent.lacks_a_word_against
    assert plan(Status.CONTRAINDICATED, "KETCONTRA", "PPDRISK", ordered=False) == NONE
    option = plan(Status.ELIGIBLE, "KETOPTION", "PPDRISK")
    assert option == NONE
    assert not option.lacks_a_word_against
    assert not Plan((Topic("KETDATA", INFO),), silenced=("KETORDER",)).lacks_a_word_against
    assert Plan((Topic("KETREVIEW", INFO),), silenced=("KETORDER",)).lacks_a_word_against


# ---- One whole thought


def drafted(reference: str, *unreadable: str) -> DraftedOrder:
    return DraftedOrder(reference, "ketamine", None, for_prevention=True, unreadable=frozenset(unreadable))


def test_a_route_that_nobody_understands_is_not_another_route(knowledge: Knowledge) -> None:
    def understood(departure: Departure, *orders: DraftedOrder) -> bool:
        plan = planned(knowledge, occasion(), Status.ELIGIBLE)
        thought = Consultation(
            occasion(), Facts({}, NOON), Risk(Tier.HIGH, (), (), (), None),
            Eligibility(Status.ELIGIBLE, (), (), (), (), (), ()), None, orders, (departure,), plan,
        )  # fmt: skip
        return not thought.route_not_understood(departure)

    not_iv = Departure("Route", "", "", "", id="not_iv", reference="MedicationRequest/a")
    assert not understood(not_iv, drafted("MedicationRequest/b"), drafted("MedicationRequest/a", "route"))
    assert understood(not_iv, drafted("MedicationRequest/a", "dose"), drafted("MedicationRequest/b", "route"))
    bolus = Departure("Bolus", "", "", "", id="bolus", reference="MedicationRequest/a")
    assert understood(bolus, drafted("MedicationRequest/a", "route"))


def test_the_words_of_an_order_are_not_in_what_is_printed_of_it() -> None:
    assert "secret" not in repr(Ordered(frozenset(), "secret"))
    assert "secret" not in repr(
        Encountered("a", "b", "c", "d", None, None, {"MedicationRequest/a": {"text": "secret"}})
    )
