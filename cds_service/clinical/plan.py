"""What is worth saying at this moment, in which order, and how loudly."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cds_service.clinical.eligibility import Eligibility, Status
from cds_service.clinical.facts import Facts, State
from cds_service.clinical.order_check import Departure
from cds_service.clinical.risk import Risk, Tier
from cds_service.clinical.stage import Stage
from cds_service.knowledge.shapes import TopicTable


class Indicator(StrEnum):
    """How loudly a card speaks (CDS Hooks 2.0, card attributes)."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Topic:
    """One card to show: its topic code and its indicator."""

    code: str
    indicator: Indicator


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The cards to show, in order, and those held back so that nobody has to read more than two at once.

    `repeated` are those that this user has seen before, and whose EHR asked not to show them again. `silenced` are
    those that stand against a medicine that is being ordered, and that the site has turned off.
    """

    topics: tuple[Topic, ...]
    held_back: tuple[Topic, ...] = ()
    repeated: tuple[Topic, ...] = ()
    silenced: tuple[str, ...] = ()

    @property
    def lacks_a_word_against(self) -> bool:
        """Was something silenced, and does no card say that the check is incomplete? Silence would read "all clear"."""
        shown = {topic.code for topic in self.topics}
        return bool(self.silenced) and _MEDICINE[Status.DATA_MISSING] not in shown


@dataclass(frozen=True, slots=True)
class Occasion:
    """
    Why she is looked at now: the hook, whether a clinician asks, the stage, and what is being ordered.

    `topics` are those that the site shows to people in this user's role; None means all. `off` are those that the
    site shows to nobody.
    """

    hook: str
    clinician: bool
    stage: Stage
    ppd_order: bool
    site_has_protocol: bool
    topics: frozenset[str] | None = None
    off: frozenset[str] = frozenset()


# Never suppressed, and never counted.
_SAFETY = "PPDSAFETY"
_SAY_NOTHING = Plan(())
# What is missing besides the screens: these two have a card of their own (section 7).
_SCREEN_INPUTS = frozenset({"D01", "D10"})


def propose(
    occasion: Occasion,
    facts: Facts,
    risk: Risk,
    eligibility: Eligibility,
    departures: tuple[Departure, ...],
    table: TopicTable,
) -> Plan:
    """The topics of section 7 for this hook, in the table's order; at most two besides critical ones and safety."""
    if not occasion.clinician or occasion.stage is Stage.OTHER:
        return _SAY_NOTHING
    wanted = _applicable(occasion, facts, risk, eligibility, departures)
    topics = [
        Topic(row.code, wanted[row.code])
        for row in table.topic
        if row.code in wanted and occasion.hook in row.hooks and _is_for_this_role(row.code, occasion)
    ]
    silenced = tuple(t.code for t in topics if t.code in occasion.off and _stands_against(t.code, occasion))
    topics = [topic for topic in topics if topic.code not in occasion.off]
    shown: list[Topic] = []
    held: list[Topic] = []
    for topic in topics:
        quiet = sum(_counts(t) for t in shown)
        (shown if not _counts(topic) or quiet < table.most_not_critical else held).append(topic)
    return Plan(tuple(shown), tuple(held), silenced=silenced)


def _counts(topic: Topic) -> bool:
    """Towards the most that anybody has to read? A critical card does not, nor a safety concern, however it stands."""
    return topic.indicator is not Indicator.CRITICAL and topic.code != _SAFETY


def _is_for_this_role(code: str, occasion: Occasion) -> bool:
    """A safety concern is for everybody, and so is whatever stands against a medicine that is being ordered."""
    if occasion.topics is None or code in occasion.topics or code == _SAFETY:
        return True
    return occasion.ppd_order and _is_about_the_medicine(code)


def _stands_against(code: str, occasion: Occasion) -> bool:
    """Would its absence read as "all clear" to whoever orders the medicine?"""
    return occasion.ppd_order and _is_about_the_medicine(code) and code != _MEDICINE[Status.ELIGIBLE]


def _is_about_the_medicine(code: str) -> bool:
    return code == "KETORDER" or code in _MEDICINE.values()


def _applicable(
    occasion: Occasion, facts: Facts, risk: Risk, eligibility: Eligibility, departures: tuple[Departure, ...]
) -> dict[str, Indicator]:
    """Each topic that section 7 calls for, whatever the hook, with its indicator."""
    screen = _screen_indicator(occasion, facts)
    order = _order_indicator(occasion, eligibility, departures)
    return {
        **_safety(facts),
        **({_MEDICINE[topic]: loud for topic, loud in _medicine(occasion, facts, eligibility).items()}),
        **({"KETORDER": order} if order else {}),
        **({"PPDSCREEN": screen} if screen else {}),
        **({"PPDRISK": Indicator.WARNING if risk.tier is Tier.HIGH else Indicator.INFO} if risk.raised else {}),
        **({"PPDFOLLOWUP": Indicator.INFO} if risk.raised else {}),
    }


_MEDICINE = {
    Status.CONTRAINDICATED: "KETCONTRA",
    Status.SPECIALIST_REVIEW: "KETREVIEW",
    Status.NOT_INDICATED: "KETNOTIND",
    Status.DATA_MISSING: "KETDATA",
    Status.ELIGIBLE: "KETOPTION",
    Status.ELIGIBLE_CONDITIONAL: "KETOPTION",
    Status.NO_APPROVED_PROTOCOL: "KETNOPROTO",
}


def _medicine(occasion: Occasion, facts: Facts, eligibility: Eligibility) -> dict[Status, Indicator]:
    """The one card about the medicine, if any. Nobody is told about a medicine that the site does not offer."""
    status = eligibility.status
    positive = facts["positive_screen"].state is State.PRESENT
    offered = occasion.ppd_order or (positive and occasion.site_has_protocol)
    indicator: Indicator | None = None
    match status:
        case Status.CONTRAINDICATED if offered:
            indicator = Indicator.CRITICAL if occasion.ppd_order else Indicator.INFO
        case Status.SPECIALIST_REVIEW if offered:
            indicator = Indicator.WARNING
        case Status.NOT_INDICATED | Status.NO_APPROVED_PROTOCOL if occasion.ppd_order:
            indicator = Indicator.WARNING
        case Status.DATA_MISSING if occasion.ppd_order:
            indicator = Indicator.WARNING
        case Status.DATA_MISSING if offered and any(i.id not in _SCREEN_INPUTS for i in eligibility.missing):
            indicator = Indicator.INFO
        case Status.ELIGIBLE | Status.ELIGIBLE_CONDITIONAL:
            indicator = Indicator.INFO
        case _:
            pass
    return {status: indicator} if indicator else {}


def _safety(facts: Facts) -> dict[str, Indicator]:
    if facts["safety_concern"].state is not State.PRESENT:
        return {}
    assessed = facts["safety_assessed_since"].state is State.PRESENT
    return {_SAFETY: Indicator.INFO if assessed else Indicator.CRITICAL}


def _order_indicator(
    occasion: Occasion, eligibility: Eligibility, departures: tuple[Departure, ...]
) -> Indicator | None:
    if not occasion.ppd_order or not departures or eligibility.status is Status.CONTRAINDICATED:
        return None
    return Indicator.CRITICAL if any(d.critical for d in departures) else Indicator.WARNING


def _screen_indicator(occasion: Occasion, facts: Facts) -> Indicator | None:
    """Ask for a screen: none that is complete and current, or a positive one without a bipolar screen."""
    if occasion.hook == "encounter-discharge":
        due = facts["epds_this_encounter"].state is not State.PRESENT
    else:
        no_epds = facts["epds_current"].state is not State.PRESENT
        positive = facts["positive_screen"].state is State.PRESENT
        due = no_epds or (positive and facts["bipolar_known"].state is not State.PRESENT)
    return Indicator.WARNING if due else None
