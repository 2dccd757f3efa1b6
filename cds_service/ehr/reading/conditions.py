"""What the problem list says: which disorders she has, had, or was once thought to have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment
from cds_service.ehr.answers import Had
from cds_service.ehr.elements import (
    Resource,
    codes_in,
    codings,
    concepts_in,
    first,
    moment,
    reference_of,
    span,
    texts,
)
from cds_service.ehr.reading.view import View, missing
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import ConditionFact, ConditionTable
from cds_service.knowledge.terminology import MEANINGLESS, Meaning

_NEVER: Final = frozenset({"refuted", "entered-in-error"})
_VERIFIED: Final = _NEVER | {"unconfirmed", "provisional", "differential", "confirmed"}
_ACTIVE: Final = frozenset({"active", "recurrence", "relapse"})
_OVER: Final = frozenset({"inactive", "remission", "resolved"})
# Words that speak of somebody else's disorders, in a text or in a category.
_FAMILY: Final = re.compile(r"(?<!\w)(?:family[\s_-]+(?:(?:medical|health)[\s_-]+)?history|famhx|fhx?)(?!\w)")
# Where another statement begins: a denial, a past or a family does not reach over it.
_CLAUSE: Final = re.compile(r"[.;]\s|,\s+(?=now\b|currently\b|but\b)|\bbut\b")
_DOMAINS: Final = ("conditions", "mental_health", "pregnancy")


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry that counts: what it means, whether it is active, its dates, and its evidence."""

    meaning: Meaning
    status: str | None
    active: bool
    past_by_words: bool
    onset: Moment | None
    recorded: Moment | None
    abated: Moment | None
    severe: bool
    evidence: Evidence


def read_problems(view: View) -> tuple[Problem, ...]:
    """Every entry that means something to us and may count: hers, not refuted, not entered in error."""
    return tuple(_problems(view))


def is_pregnant(problems: Iterable[Problem], now: datetime) -> Finding:
    """An active pregnancy entry, unless its end is written and past: some EHRs never close the status."""
    found = [
        p.evidence
        for p in problems
        if p.active and "pregnancy" in p.meaning.says and not (p.abated is not None and p.abated.latest <= now)
    ]
    return present(*found) if found else ABSENT


def read_conditions(view: View, problems: tuple[Problem, ...], pregnancy_began: datetime) -> dict[str, Finding]:
    """Every fact of the condition table, and whether the problem list was received whole."""
    had = view.had("problems")
    silence = ABSENT if had is Had.WHOLE else unknown(missing(had))
    named = frozenset(concept for p in problems for concept in (*p.meaning.says, *p.meaning.hints))
    found = {
        row.fact: silence
        if named.isdisjoint(row.concepts)
        else _find(row, problems, silence, view.now, pregnancy_began)
        for row in view.knowledge.conditions.row
    }
    # An empty problem list is a known none, and worth asking about.
    empty = had is Had.WHOLE and not view.chart.of("Condition")
    found["no_problems_recorded"] = Finding(State.PRESENT) if empty else ABSENT
    found["problem_list"] = Finding(State.PRESENT) if had is Had.WHOLE else unknown(missing(had))
    return found


def _problems(view: View) -> Iterator[Problem]:
    zone = view.zone
    for resource in view.chart.of("Condition"):
        verified = _stated(resource.get("verificationStatus"), _VERIFIED)
        if (verified and verified <= _NEVER) or _is_the_familys(resource):
            continue
        meaning, past = _meaning(resource, view.knowledge)
        if not meaning.says and not meaning.hints:
            continue
        stated = _stated(resource.get("clinicalStatus"), _ACTIVE | _OVER)
        # A status that nobody knows, or two that contradict each other, end no disorder.
        status = min(stated & _ACTIVE or stated, default=None)
        onset = first((moment(resource.get("onsetDateTime"), zone), span(resource.get("onsetPeriod"), zone)[0]))
        recorded = first((moment(resource.get("recordedDate"), zone), moment(resource.get("assertedDate"), zone)))
        abated = first(
            (moment(resource.get("abatementDateTime"), zone), span(resource.get("abatementPeriod"), zone)[1])
        )
        dated = onset or recorded
        yield Problem(
            meaning=meaning,
            status=status,
            active=status not in _OVER and not past,
            past_by_words=past,
            onset=onset,
            recorded=recorded,
            abated=abated,
            severe=_is_severe(resource, view.knowledge.conditions),
            evidence=Evidence(reference_of(resource), status or None, None, dated.text if dated else None),
        )


def _stated(status: object, known: frozenset[str]) -> frozenset[str]:
    """The codes of a status element that FHIR knows; a local code says nothing. A bare string is DSTU2's way."""
    told = {status} if isinstance(status, str) else codes_in(status)
    return known & {code.strip().lower() for code in told}


def _is_the_familys(resource: Resource) -> bool:
    """Is the entry filed as family history? Then the disorder is somebody else's."""
    for concept in concepts_in(resource.get("category")):
        if any(_FAMILY.search(word.lower()) for word in (*texts(concept), *codes_in(concept))):
            return True
    return False


def _meaning(resource: Resource, knowledge: Knowledge) -> tuple[Meaning, bool]:
    """What an entry stands for, and whether its words call it past. Words speak only where codes say nothing to us."""
    code = resource.get("code")
    terms = knowledge.terminology
    meaning = terms.codings_of(codings(code))
    if meaning is not MEANINGLESS:
        text = code.get("text") if isinstance(code, dict) else None
        if isinstance(text, str) and _FAMILY.match(text.strip().lower()):
            # The code says that it is hers, the words that it is not: nobody can tell.
            return Meaning(frozenset(), meaning.says | meaning.hints), False
        return meaning, False
    senses: dict[str, set[str]] = {}
    for text in texts(code):
        for domain in _DOMAINS:
            for concept, at, lowered in terms.meaning_of_text(domain, text):
                sense = _sense(lowered[:at], knowledge.conditions)
                if sense != "negated":
                    senses.setdefault(concept, set()).add(sense)
    if not senses:
        return MEANINGLESS, False
    says = frozenset(concept for concept, sense in senses.items() if sense != {"unclear"})
    # "History of depression, now mania": what is past in a text does not end what is not.
    return Meaning(says, frozenset(senses) - says), all(sense == {"past"} for sense in senses.values())


def _sense(before: str, table: ConditionTable) -> str:
    """Negated, past, unclear or plain: by the words just before the concept."""
    negated, past = _patterns(table.negations, table.past_words)
    clause = _CLAUSE.split(before)[-1]
    reach = " ".join(clause.split()[-table.negation_reach :])
    if negated.search(reach):
        return "negated"
    if _FAMILY.search(clause):
        return "unclear"  # further on in a family history it may be hers or theirs
    return "past" if past.search(reach) else "plain"


@lru_cache(maxsize=4)
def _patterns(negations: tuple[str, ...], past: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    # "no." is a number ("pregnancy no. 2 with pre-eclampsia"), not a denial.
    def any_word(words: tuple[str, ...]) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?![\w.])")

    return any_word(negations), any_word(past)


def _is_severe(resource: Resource, table: ConditionTable) -> bool:
    words = [*texts(resource.get("severity")), *texts(resource.get("code"))]
    return any(severe in word.lower() for word in words for severe in table.severity_words)


def _find(
    row: ConditionFact, problems: tuple[Problem, ...], silence: Finding, now: datetime, pregnancy_began: datetime
) -> Finding:
    wanted = frozenset(row.concepts)
    unless = frozenset(row.unless)
    said: list[Problem] = []
    hinted: list[Problem] = []
    for problem in problems:
        if unless & problem.meaning.says or not _counts(row, problem, now, pregnancy_began):
            continue
        if wanted & problem.meaning.says:
            told = not row.severe_only or problem.severe or row.concepts[0] in problem.meaning.says
            (said if told else hinted).append(problem)
        elif wanted & problem.meaning.hints:
            hinted.append(problem)
    if said:
        at = first(p.onset or p.recorded for p in said)
        return Finding(State.PRESENT, tuple(p.evidence for p in said), at=at)
    if hinted:
        return unknown(Doubt.UNCLEAR, *(p.evidence for p in hinted))
    return silence


def _counts(row: ConditionFact, problem: Problem, now: datetime, pregnancy_began: datetime) -> bool:
    """Decision logic, section 1: which clinical statuses count for this fact."""
    match row.counts:
        case "ever":
            return True
        case "active":
            return problem.active
        case "not-active":
            return not problem.active
        case "this-pregnancy":
            return _in_this_pregnancy(problem, pregnancy_began)
        case "recent":
            return _is_recent(row, problem, now, pregnancy_began)


def _in_this_pregnancy(problem: Problem, pregnancy_began: datetime) -> bool:
    """An undated entry counts, unless its words call it past: to warn, the latest possible instant decides."""
    if problem.past_by_words:
        return False
    dated = problem.onset or problem.recorded
    return dated is None or dated.latest >= pregnancy_began


def _is_recent(row: ConditionFact, problem: Problem, now: datetime, pregnancy_began: datetime) -> bool:
    """Active; or resolved within the row's days; or resolved, and nobody wrote when."""
    if problem.status in _ACTIVE and not problem.past_by_words:
        return True  # an explicit "active" stands, whenever it began
    within = timedelta(days=row.resolved_days or 0)
    if problem.abated is not None and not problem.active:
        return problem.abated.possibly_within(within, now)  # it ended lately, whenever it began
    return _in_this_pregnancy(problem, pregnancy_began)
