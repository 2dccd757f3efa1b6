"""What the problem list says: which disorders she has, had, or was once thought to have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from cds_service.ehr.reading.legible import has_known_code, has_words
from cds_service.ehr.reading.sentences import FAMILY, Sense, sense
from cds_service.ehr.reading.view import View, missing
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import ConditionFact, ConditionTable
from cds_service.knowledge.terminology import MEANINGLESS, Meaning, Terminology

_NEVER: Final = frozenset({"refuted", "entered-in-error"})
_VERIFIED: Final = _NEVER | {"unconfirmed", "provisional", "differential", "confirmed"}
_ACTIVE: Final = frozenset({"active", "recurrence", "relapse"})
_OVER: Final = frozenset({"inactive", "remission", "resolved"})
_DOMAINS: Final = ("conditions", "mental_health", "pregnancy")


_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """
    What one entry means, whether it is active, its dates, and its evidence.

    An entry whose words call some of it past and some of it not is two of them.
    """

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
    """Every fact of the condition table, and whether the problem list was received whole and can be read."""
    had = view.had("problems")
    if had is not Had.WHOLE:
        answered = unknown(missing(had))
    elif unread := tuple(_evidence(resource, view) for resource in _counting(view) if not _is_legible(resource, view)):
        # It may be any of the disorders that a rule asks for.
        answered = unknown(Doubt.UNCLEAR, *unread)
    else:
        answered = Finding(State.PRESENT)
    silence = ABSENT if answered.state is State.PRESENT else answered
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
    found["problem_list"] = answered
    return found


def not_recognised(view: View) -> tuple[Evidence, ...]:
    """The problems that have words, but no code that we know, and whose words name nothing that a rule asks for."""
    return tuple(
        _evidence(resource, view)
        for resource in _counting(view)
        if not has_known_code(code := resource.get("code"), view.knowledge.terminology)
        and has_words(code, view.knowledge.terminology)
        and not any(_named_in(texts(code), view.knowledge))
    )


def _counting(view: View) -> Iterator[Resource]:
    """The entries that are hers, and neither refuted nor entered in error."""
    for resource in view.chart.of("Condition"):
        verified = _stated(resource.get("verificationStatus"), _VERIFIED)
        if not (verified and verified <= _NEVER) and not _is_the_familys(resource):
            yield resource


def _is_legible(resource: Resource, view: View) -> bool:
    code, terms = resource.get("code"), view.knowledge.terminology
    return has_known_code(code, terms) or has_words(code, terms) or any(_named_in(texts(code), view.knowledge))


def _evidence(resource: Resource, view: View) -> Evidence:
    """Where an entry stands, its clinical status, and when it began or was recorded."""
    dated = first(_began_and_recorded(resource, view))
    return Evidence(reference_of(resource), _clinical_status(resource), None, dated.text if dated else None)


def _began_and_recorded(resource: Resource, view: View) -> tuple[Moment | None, Moment | None]:
    zone = view.zone
    return (
        first((moment(resource.get("onsetDateTime"), zone), span(resource.get("onsetPeriod"), zone)[0])),
        first((moment(resource.get("recordedDate"), zone), moment(resource.get("assertedDate"), zone))),
    )


def _clinical_status(resource: Resource) -> str | None:
    """The status that FHIR knows. One that nobody knows, or two that contradict each other, end no disorder."""
    stated = _stated(resource.get("clinicalStatus"), _ACTIVE | _OVER)
    return min(stated & _ACTIVE or stated, default=None)


def _problems(view: View) -> Iterator[Problem]:
    zone = view.zone
    for resource in _counting(view):
        told = [
            (meaning, past) for meaning, past in _meanings(resource, view.knowledge) if meaning.says or meaning.hints
        ]
        if not told:
            continue
        status = _clinical_status(resource)
        onset, recorded = _began_and_recorded(resource, view)
        abated = first(
            (moment(resource.get("abatementDateTime"), zone), span(resource.get("abatementPeriod"), zone)[1])
        )
        evidence = _evidence(resource, view)
        severe = _is_severe(resource, view.knowledge.conditions)
        for meaning, past in told:
            yield Problem(
                meaning=meaning,
                status=status,
                active=status not in _OVER and not past,
                past_by_words=past,
                onset=onset,
                recorded=recorded,
                abated=abated,
                severe=severe,
                evidence=evidence,
            )


def _stated(status: object, known: frozenset[str]) -> frozenset[str]:
    """The codes of a status element that FHIR knows; a local code says nothing. A bare string is DSTU2's way."""
    told = {status} if isinstance(status, str) else codes_in(status)
    return known & {code.strip().lower() for code in told}


def _is_the_familys(resource: Resource) -> bool:
    """Is the entry filed as family history? Then the disorder is somebody else's."""
    for concept in concepts_in(resource.get("category")):
        if any(FAMILY.search(word.lower()) for word in (*texts(concept), *codes_in(concept))):
            return True
    return False


def _meanings(resource: Resource, knowledge: Knowledge) -> tuple[tuple[Meaning, bool], tuple[Meaning, bool]]:
    """
    What an entry stands for, by its codes and by its words: as it is, and what words call past.

    Where codes say something to us, words only hint at what the codes do not name.
    """
    code = resource.get("code")
    terms = knowledge.terminology
    meaning = terms.codings_of(codings(code))
    if meaning is MEANINGLESS:
        senses = _senses(texts(code), knowledge)
        plain = _with(senses, Sense.PLAIN)
        unclear = _with(senses, Sense.UNCLEAR, Sense.PAST_OR_NOW) - plain
        had = _with(senses, Sense.PAST, Sense.PAST_OR_NOW) - plain
        return (Meaning(plain, unclear), False), (Meaning(had, _NOTHING), True)
    text = code.get("text") if isinstance(code, dict) else None
    if isinstance(text, str) and FAMILY.match(text.strip().lower()):
        # The code says that it is hers, the words that it is not: nobody can tell.
        return (Meaning(_NOTHING, meaning.says | meaning.hints), False), (MEANINGLESS, True)
    senses = _senses(_words_beside(code, terms), knowledge)
    named = meaning.says | meaning.hints
    beside = frozenset(senses) - terms.explained_by(named) if frozenset(senses) - named else _NOTHING
    once = frozenset(concept for concept in beside if senses[concept] == {Sense.PAST})
    return (Meaning(meaning.says, meaning.hints | (beside - once)), False), (Meaning(_NOTHING, once), True)


def _words_beside(code: object, terms: Terminology) -> Iterator[str]:
    """The words of an entry, but for those that a code that we know is displayed by."""
    if isinstance(code, dict) and isinstance(text := code.get("text"), str):
        yield text
    for coding in codings(code):
        if isinstance(coding, dict) and terms.codings_of([coding]) is MEANINGLESS:
            yield from texts({"coding": [coding]})


def _senses(told: Iterable[str], knowledge: Knowledge) -> dict[str, set[Sense]]:
    """How each concept that words name is meant, wherever they do not deny it."""
    senses: dict[str, set[Sense]] = {}
    for concept, at, lowered in _named_in(told, knowledge):
        meant = sense(lowered[:at], knowledge.conditions)
        if meant is not Sense.NEGATED:
            senses.setdefault(concept, set()).add(meant)
    return senses


def _named_in(told: Iterable[str], knowledge: Knowledge) -> Iterator[tuple[str, int, str]]:
    """The concepts that words name, denied or not, each with its place in the lower-case text."""
    for text in told:
        for domain in _DOMAINS:
            yield from knowledge.terminology.meaning_of_text(domain, text)


def _with(senses: dict[str, set[Sense]], *wanted: Sense) -> frozenset[str]:
    return frozenset(concept for concept, found in senses.items() if found & {*wanted})


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
        return Finding(State.PRESENT, tuple(dict.fromkeys(p.evidence for p in said)), at=at)
    if hinted:
        return unknown(Doubt.UNCLEAR, *dict.fromkeys(p.evidence for p in hinted))
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
