"""What the questionnaires say: how high, how complete, how fresh, and whether the self-harm answer was yes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

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
    None when both were. Of a list that was cut short ("incomplete") a newer form may not have come: what came may warn,
    and no form is the latest.
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
    if not_had is Doubt.INCOMPLETE:
        found = {name: _of_a_part(name, finding) for name, finding in found.items()}
    found["epds_conflict"] = _conflicting(_maybe_latest(epds, current, now))
    return found


# The facts for which a form must be the latest, and complete.
_OF_THE_LATEST: Final = frozenset({"epds_current", "epds_complete_for_risk", "phq9_complete_for_risk"})


def _of_a_part(name: str, finding: Finding) -> Finding:
    """What a fact is when a newer form may not have come: what was seen may warn."""
    if finding.state is not State.PRESENT:
        return finding
    return unknown(Doubt.INCOMPLETE, *finding.evidence) if name in _OF_THE_LATEST else replace(finding, incomplete=True)


def _sure(form: Form, window: timedelta, now: datetime) -> bool:
    return form.at is not None and form.at.surely_within(window, now)


def _possible(form: Form, window: timedelta, now: datetime) -> bool:
    """To warn, an undated form counts, and one ahead of the clock, too."""
    return form.at is None or form.at.possibly_within(window, now)


def _maybe_latest(forms: Iterable[Form], window: timedelta, now: datetime) -> tuple[Form, ...]:
    """
    The complete forms of which each may be the latest. None, when none is surely inside the window.

    One as a rule. Several when they tie, or when the date of one does not say that it was filled in before: it has
    none, it is a day or a month, or it lies ahead of the clock.
    """
    complete = [form for form in forms if form.complete]
    since = _known_since(complete, window, now)
    if since is None:
        return ()
    return _last_issued([form for form in complete if _possible(form, window, now) and _maybe_since(form, since)])


def _known_since(forms: Iterable[Form], window: timedelta, now: datetime) -> datetime | None:
    """Since when a complete form is surely there: no form that was surely filled in before is the latest."""
    return max((f.at.earliest for f in forms if f.complete and f.at and _sure(f, window, now)), default=None)


def _maybe_since(form: Form, since: datetime) -> bool:
    return form.at is None or form.at.latest > since or form.at.earliest == since


def _last_issued(forms: list[Form]) -> tuple[Form, ...]:
    """Of forms of one and the same instant the one that was issued last, if each says when it was."""
    instants = {form.at and (form.at.earliest, form.at.latest) for form in forms}
    if len(instants) != 1 or None in instants or not all(form.issued for form in forms):
        return tuple(forms)
    last = max(form.issued for form in forms)
    return tuple(form for form in forms if form.issued == last)


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
    """The latest complete form that is surely inside the window. Of those that may be the latest the higher counts."""
    if latest := _maybe_latest(forms, window, now):
        top = max(latest, key=lambda form: (form.score, _sure(form, window, now), _when(form)))
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
    """The latest complete form, raised by one that is later, or may be. A partial or a vague form never lowers."""
    complete = _maybe_latest(forms, window, now)
    since = _known_since(forms, window, now)
    others = [
        form
        for form in forms
        if not (complete and form.complete)
        and _possible(form, window, now)
        and (since is None or _maybe_since(form, since))
    ]
    ahead = [form for form in others if form.at is not None and form.at.is_future(now)]
    if not complete and len(ahead) == len(others):
        return unknown(Doubt.IN_THE_FUTURE, *ahead[0].evidence) if ahead else none
    top = max((*complete, *others), key=lambda form: (form.score, form.complete, _when(form)))
    # A lone form that is partial or vague is a lower bound: it can show a high score, and never rules one out.
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
    """Do total and items of the current form disagree, or two forms of which each may be the current one?"""
    if any(form.conflict for form in latest) or len({form.score for form in latest}) > 1:
        return Finding(State.PRESENT, tuple(e for form in latest for e in form.evidence))
    return ABSENT
