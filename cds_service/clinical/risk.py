"""How likely postpartum depression is, as a tier with reasons. Never a probability for one woman."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cds_service.clinical.facts import Facts, State
from cds_service.clinical.weighing import Reason, doubts, reasons
from cds_service.knowledge.shapes import GroupFrequency, RiskTable


class Tier(StrEnum):
    """Decision logic, section 3. Undetermined is not low."""

    HIGH = "high"
    ELEVATED = "elevated"
    NOT_ELEVATED = "not-elevated"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Risk:
    """The tier, why, what moved nothing but belongs to the picture, and what nobody could tell."""

    tier: Tier
    because: tuple[Reason, ...]
    context: tuple[Reason, ...]
    not_known: tuple[str, ...]
    frequency: GroupFrequency | None

    @property
    def raised(self) -> bool:
        return self.tier in {Tier.HIGH, Tier.ELEVATED}


def assess(facts: Facts, table: RiskTable) -> Risk:
    """The first tier whose rule holds (decision logic, section 3)."""
    high, elevated = reasons(table.high, facts), reasons(table.elevated, facts)
    reassuring = reasons(table.reassuring, facts)
    open_questions = doubts((*table.high, *table.elevated), facts)
    problems_known = facts["problem_list"].state is State.PRESENT
    if high:
        tier, because = Tier.HIGH, (*high, *elevated)
    elif elevated:
        tier, because = Tier.ELEVATED, elevated
    elif reassuring and problems_known and not open_questions:
        tier, because = Tier.NOT_ELEVATED, reassuring
    else:
        tier, because = Tier.UNDETERMINED, ()
    return Risk(
        tier=tier,
        because=because,
        context=reasons(table.context, facts),
        not_known=tuple(dict.fromkeys(test.says for test in open_questions)),
        frequency=_closest_group(facts, table, tier) if because else None,
    )


def _closest_group(facts: Facts, table: RiskTable, tier: Tier) -> GroupFrequency | None:
    """The first published group, in the table's order, whose fact this woman shares, and that fits her tier."""
    for group in table.frequency:
        if group.fact is not None and tier not in group.not_for and facts[group.fact].state is State.PRESENT:
            return group
    return None
