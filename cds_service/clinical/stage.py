"""Where she is: pregnant, just delivered, later postpartum, or none of these."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from cds_service.clinical.facts import Facts, State
from cds_service.knowledge.shapes import TimeTable


class Stage(StrEnum):
    """Decision logic, section 1. A dose needs pregnant or after birth."""

    AFTER_BIRTH = "after-birth"
    POSTPARTUM = "postpartum"
    PREGNANT = "pregnant"
    OTHER = "other"


def stage_of(facts: Facts, times: TimeTable) -> Stage:
    """The first match of section 1. A birth 7 to 140 days ago outweighs a pregnancy entry that nobody closed."""
    birth = facts["birth"]
    at = birth.at if birth.state is State.PRESENT else None
    pregnant = any(facts[name].state is State.PRESENT for name in ("pregnancy", "due_date_ahead", "delivery_order"))
    if at is not None and at.possibly_within(timedelta(days=times.after_birth_days), facts.now):
        return Stage.AFTER_BIRTH
    if at is not None and at.possibly_within(timedelta(days=times.postpartum_days), facts.now):
        return Stage.POSTPARTUM
    if pregnant:
        return Stage.PREGNANT
    if at is not None and at.possibly_within(timedelta(days=times.late_postpartum_days), facts.now):
        return Stage.POSTPARTUM
    return Stage.OTHER
