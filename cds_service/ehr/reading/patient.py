"""Who she is: her age, and what she must not be given."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.elements import Resource, code_in, codings, members, moment, reference_of, texts
from cds_service.ehr.reading.legible import has_known_code, has_words
from cds_service.ehr.reading.sentences import begins_with_a_denial, is_denied
from cds_service.ehr.reading.view import View, missing
from cds_service.knowledge import Knowledge

_NEVER: Final = frozenset({"refuted", "entered-in-error"})
_KETAMINE: Final = frozenset({"ketamine", "esketamine", "esketamine_nasal"})


def read_age(view: View) -> Finding:
    """
    Her age in whole years: each age that the birth date allows, so that a year alone may still answer.

    The dead have no age. An order for a woman who is recorded as dead is a mix-up, and blocks here.
    """
    patient = view.chart.patient
    text = patient.get("birthDate")
    born = moment(text, view.zone)
    reference = reference_of(patient)
    if _is_dead(patient, view):
        return unknown(Doubt.CONFLICTING, Evidence(reference))
    if born is None:
        return unknown(Doubt.UNREADABLE if text else Doubt.NOT_RECORDED, Evidence(reference))
    today = view.now.astimezone(view.zone).date()
    first = born.earliest.date()
    last = _last_day(born)
    evidence = Evidence(reference, None, None, born.text)
    if first > today:
        return unknown(Doubt.IN_THE_FUTURE, evidence)
    ages = {_age(day, today) for day in (first, min(last, today))}
    return Finding(State.PRESENT, (evidence,), values=tuple(sorted(ages)))


def _is_dead(patient: Resource, view: View) -> bool:
    """As of the view's instant: a chart that is read as of an earlier one may tell of a death that lies ahead."""
    if patient.get("deceasedBoolean") not in (None, False):
        return True
    if (told := patient.get("deceasedDateTime")) is None:
        return False
    died = moment(told, view.zone)
    return died is None or not died.is_future(view.now)


def _last_day(born: Moment) -> date:
    """The last day that the text allows. A birth date with a time is that day."""
    if born.precision is Precision.TIME:
        return born.latest.date()
    return born.latest.date() - timedelta(days=1)


def _age(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def read_allergies(view: View, *, empty_means_none: bool) -> dict[str, Finding]:
    """
    Allergy to (es)ketamine, and whether the list says anything at all.

    An empty list without a "no known allergy" entry is unknown, unless the site declares otherwise. An entry that
    cannot be understood, that says that nobody knows, or that names an anaesthetic without saying which, could be
    ketamine.
    """
    had = view.had("allergies")
    listed = [a for a in view.chart.of("AllergyIntolerance") if code_in(a.get("verificationStatus")) not in _NEVER]
    meant = [(a, _meaning(a, view.knowledge)) for a in listed]
    # "resolved" is a reassessment that lifts an allergy; "inactive" is often only a tidied list, so it still counts.
    hers = [a for a, means in meant if means & _KETAMINE and code_in(a.get("clinicalStatus")) != "resolved"]
    unclear = [a for a, means in meant if means & {"unspecified_anaesthetic_allergy", "unreadable"}]
    # "No known allergy" that is no longer active is no longer said.
    none_known = any(
        ("no_known_allergy" in means or ("no_allergy" in means and not _only_elsewhere(a)))
        and code_in(a.get("clinicalStatus")) in (None, "active")
        for a, means in meant
    )
    others = [a for a, means in meant if not means & _NO_ALLERGY and not _only_elsewhere(a)]
    if had is not Had.WHOLE:
        answered = unknown(missing(had))
    elif unclear:
        answered = unknown(Doubt.UNCLEAR, *map(_evidence, unclear))
    elif none_known or others or (empty_means_none and not listed):
        answered = present(*map(_evidence, listed))
    else:
        answered = unknown(Doubt.NOT_RECORDED)
    silence = ABSENT if answered.state is State.PRESENT else answered
    return {"allergy_list": answered, "ketamine_allergy": present(*map(_evidence, hers)) if hers else silence}


def _meaning(allergy: Resource, knowledge: Knowledge) -> frozenset[str]:
    """What one entry is about, by its code and by the substance of its reactions."""
    places = [allergy.get("code"), *(r.get("substance") for r in members(allergy.get("reaction")))]
    found: set[str] = set()
    legible = False
    for place in places:
        found |= knowledge.terminology.codings_of(codings(place)).says
        named: set[str] = set()
        for text in texts(place):
            named |= _named_in(text, knowledge)
        # Words that name what we know are read in whatever letters.
        known = has_known_code(place, knowledge.terminology)
        legible = legible or known or bool(named) or has_words(place, knowledge.terminology)
        if "no_known_other_allergy" in found:
            named.discard("no_allergy")  # it is the food, the latex or the surroundings that there is none to
        if "allergies_not_known" in named and (not known or "no_known_allergy" in found):
            named.add("unreadable")
        found |= named
    return frozenset(found) if legible else frozenset(found | {"unreadable"})


def _named_in(text: str, knowledge: Knowledge) -> set[str]:
    """The concepts that a text names, and whether it says that there is no allergy, or takes that back."""
    terms = knowledge.terminology
    said = {
        (name, at)
        for domain in ("medicines", "allergies")
        for name, at, _ in terms.meaning_of_text(domain, text)
        if name not in _WHOLE_TEXT
    }
    found = {name for name, _ in said}
    if terms.is_all_of(text, "allergies", "no_allergy"):
        return {"no_allergy"}
    lowered = " ".join(text.lower().split())
    denied = any(is_denied(lowered[:at], knowledge.conditions) for name, at in said if name == "no_known_allergy")
    if "no_known_allergy" in found and (denied or "not_confirmed" in found or "?" in text):
        found.add("unreadable")
    if not found and begins_with_a_denial(text, knowledge.conditions):
        found.add("no_known_other_allergy")
    return found - {"not_confirmed"}


def _only_elsewhere(allergy: Resource) -> bool:
    """A statement about food or surroundings says nothing about drugs, and so nothing about this list."""
    category = allergy.get("category")
    listed = category if isinstance(category, list) else [category]
    names = [c for c in listed if isinstance(c, str)]
    return bool(names) and set(names) <= {"food", "environment"}


# What is no allergy that somebody listed. No known food, latex or environmental allergy does not answer the question
# about drugs.
_NO_ALLERGY: Final = frozenset({"no_known_allergy", "no_allergy", "no_known_other_allergy"})
# These words count only where they are all that is said.
_WHOLE_TEXT: Final = frozenset({"no_allergy", "says_nothing"})


def _evidence(allergy: Resource) -> Evidence:
    recorded = allergy.get("recordedDate")
    return Evidence(reference_of(allergy), date=recorded if isinstance(recorded, str) else None)
