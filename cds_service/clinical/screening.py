"""What the questionnaires say: how high, how complete, how fresh, and whether the self-harm answer was yes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, unknown
from cds_service.clinical.moment import Moment
from cds_service.knowledge.shapes import ScreenTable


@dataclass(frozen=True, slots=True)
class Form:
    """
    One filled-in questionnaire.

    `score` is the higher of the stated total and the sum of the items; a lower bound when not `complete`.
    `self_harm` is the answer to the self-harm item, None when it was not answered. `conflict`: total and items, or
    two entries for one item, disagree.
    """

    score: int
    complete: bool
    answered: int
    self_harm: int | None
    conflict: bool
    at: Moment | None
    issued: str
    evidence: tuple[Evidence, ...]


def screen(
    forms: dict[str, tuple[Form, ...]],
    *,
    not_had: Doubt | None,
    encounter_began: Moment | None,
    table: ScreenTable,
    now: datetime,
) -> dict[str, Finding]:
    """
    The facts about the screens (decision logic, section 2).

    `not_had`: why one of the two places where a form can lie was not received whole; then nothing is called absent.
    None when both were.
    """
    epds, phq9, gad7 = forms["epds"], forms["phq9"], forms["gad7"]
    current, tier = timedelta(hours=table.current_hours), timedelta(days=table.tier_days)
    safety, other = timedelta(days=table.safety_days), timedelta(days=table.other_days)
    silence = unknown(not_had or Doubt.NOT_RECORDED)
    # Not every woman has every screen: received and none in the window is none. What a missing EPDS means is said by
    # D01 and by the tier's own rule, which asks for one complete screen.
    none = silence if not_had else ABSENT
    found = {
        "epds_current": _complete(epds, current, now, silence),
        "epds_current_score": _raised(epds, current, now, silence),
        "epds_complete_for_risk": _complete(epds, tier, now, silence),
        "epds_for_risk": _raised(epds, tier, now, none),
        "epds_self_harm": _self_harm(epds, safety, now, none),
        "phq9_complete_for_risk": _complete(phq9, other, now, silence),
        "phq9_for_risk": _raised(phq9, other, now, none),
        "phq9_self_harm": _self_harm(phq9, safety, now, none),
        "gad7_for_risk": _raised(gad7, other, now, none),
        "epds_this_encounter": _since(epds, encounter_began, current, now, silence),
    }
    latest = _latest([f for f in epds if f.complete and _sure(f, current, now)])
    found["epds_conflict"] = _conflicting(latest)
    return found


def _sure(form: Form, window: timedelta, now: datetime) -> bool:
    return form.at is not None and form.at.surely_within(window, now)


def _possible(form: Form, window: timedelta, now: datetime) -> bool:
    """To warn, an undated form counts, and one ahead of the clock, too."""
    return form.at is None or form.at.possibly_within(window, now)


def _latest(forms: Iterable[Form]) -> tuple[Form, ...]:
    """The latest form; several when they tie."""
    forms = tuple(forms)
    if not forms:
        return ()
    top = max(_when(form) for form in forms)
    return tuple(form for form in forms if _when(form) == top)


def _when(form: Form) -> tuple[bool, float, str]:
    return (form.at is not None, form.at.latest.timestamp() if form.at else 0.0, form.issued)


def _complete(forms: tuple[Form, ...], window: timedelta, now: datetime, silence: Finding) -> Finding:
    """The latest complete form that is surely inside the window. Of forms that tie, the higher counts."""
    latest = _latest(form for form in forms if form.complete and _sure(form, window, now))
    if latest:
        top = max(latest, key=lambda form: form.score)
        return Finding(State.PRESENT, top.evidence, values=(top.score,), at=top.at)
    seen = _latest(forms)
    if not seen:
        return silence
    return unknown(_why_not(seen[0], now), *seen[0].evidence)


def _why_not(form: Form, now: datetime) -> Doubt:
    if form.at is not None and form.at.is_future(now):
        return Doubt.IN_THE_FUTURE
    if not form.complete:
        return Doubt.INCOMPLETE
    return Doubt.NOT_DATED if form.at is None else Doubt.TOO_OLD


def _raised(forms: tuple[Form, ...], window: timedelta, now: datetime, none: Finding) -> Finding:
    """The latest complete form, raised by a later or lone partial one. A partial form never lowers."""
    complete = _latest(form for form in forms if form.complete and _sure(form, window, now))
    since = _when(complete[0]) if complete else None
    partial = [
        form
        for form in forms
        if not form.complete
        and _possible(form, window, now)
        and not (form.at and form.at.is_future(now))
        and (since is None or _when(form) >= since)
    ]
    candidates = [*complete, *partial]
    if not candidates:
        ahead = [form for form in forms if form.at is not None and form.at.is_future(now)]
        return unknown(Doubt.IN_THE_FUTURE, *ahead[0].evidence) if ahead else none
    top = max(candidates, key=lambda form: (form.score, form.complete, _when(form)))
    # A lone partial form is a lower bound: it can show a high score, and never rules one out.
    return Finding(State.PRESENT, top.evidence, values=(top.score,), at=top.at, incomplete=not complete)


def _self_harm(forms: tuple[Form, ...], window: timedelta, now: datetime, none: Finding) -> Finding:
    """The highest answer to the self-harm item in any form of the window, complete or not."""
    inside = [form for form in forms if _possible(form, window, now)]
    answered = [form for form in inside if form.self_harm is not None]
    if not answered:
        return unknown(Doubt.INCOMPLETE, *inside[0].evidence) if inside else none
    top = max(answered, key=lambda form: (form.self_harm or 0, _when(form)))
    evidence = tuple(Evidence(e.reference, str(top.self_harm), "{score}", e.date) for e in top.evidence)
    return Finding(State.PRESENT, evidence, values=(top.self_harm or 0,), at=top.at)


def _since(
    forms: tuple[Form, ...], began: Moment | None, current: timedelta, now: datetime, silence: Finding
) -> Finding:
    """A complete form since the encounter began. Nobody knows when it began: then none is known."""
    if began is None:
        return silence
    kept = tuple(f for f in forms if f.complete and f.at is not None and f.at.earliest >= began.earliest)
    return _complete(kept, max(current, now - began.earliest), now, silence)


def _conflicting(latest: tuple[Form, ...]) -> Finding:
    """Do total and items of the current form disagree, or two forms of the same instant?"""
    if any(form.conflict for form in latest) or len({form.score for form in latest}) > 1:
        return Finding(State.PRESENT, tuple(e for form in latest for e in form.evidence))
    return ABSENT
