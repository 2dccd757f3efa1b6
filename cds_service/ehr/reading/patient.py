"""Who she is: her age, and what she must not be given."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.elements import Resource, code_in, codes_in, codings, members, moment, reference_of, texts
from cds_service.ehr.reading.view import View, missing
from cds_service.knowledge.terminology import Terminology, system_of

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
    cannot be understood, or that names an anaesthetic without saying which, could be ketamine.
    """
    terms = view.knowledge.terminology
    had = view.had("allergies")
    listed = [a for a in view.chart.of("AllergyIntolerance") if code_in(a.get("verificationStatus")) not in _NEVER]
    meant = [(a, _meaning(a, terms)) for a in listed]
    # "resolved" is a reassessment that lifts an allergy; "inactive" is often only a tidied list, so it still counts.
    hers = [a for a, means in meant if means & _KETAMINE and code_in(a.get("clinicalStatus")) != "resolved"]
    unclear = [a for a, means in meant if means & {"unspecified_anaesthetic_allergy", "unreadable"}]
    # "No known allergy" that is no longer active is no longer said.
    none_known = any(
        "no_known_allergy" in means and code_in(a.get("clinicalStatus")) in (None, "active") for a, means in meant
    )
    others = [a for a, means in meant if "no_known_allergy" not in means and not _only_elsewhere(a)]
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


def _meaning(allergy: Resource, terms: Terminology) -> frozenset[str]:
    """What one entry is about, by its code and by the substance of its reactions."""
    places = [allergy.get("code"), *(r.get("substance") for r in members(allergy.get("reaction")))]
    found: set[str] = set()
    said_anything = False
    for place in places:
        found |= terms.codings_of(codings(place)).says
        for text in texts(place):
            said_anything = True
            for domain in ("medicines", "allergies"):
                found |= {name for name, _, _ in terms.meaning_of_text(domain, text)}
        # A bare code of a system that we do not know may be any drug.
        said_anything = said_anything or any(
            isinstance(c, dict) and c.get("code") and system_of(c.get("system")) for c in codings(place)
        )
    return frozenset(found) if said_anything else frozenset({"unreadable"})


def _only_elsewhere(allergy: Resource) -> bool:
    """A statement about food, latex or surroundings says nothing about drugs, and so nothing about this list."""
    category = allergy.get("category")
    listed = category if isinstance(category, list) else [category]
    names = [c for c in listed if isinstance(c, str)]
    return bool(codes_in(allergy.get("code")) & _NO_FOOD_LATEX_OR_PLACE) or (
        bool(names) and set(names) <= {"food", "environment"}
    )


# No known food, latex, environmental allergy (SNOMED CT): they do not answer the question about drugs.
_NO_FOOD_LATEX_OR_PLACE: Final = frozenset({"429625007", "716184000", "428607008"})


def _evidence(allergy: Resource) -> Evidence:
    recorded = allergy.get("recordedDate")
    return Evidence(reference_of(allergy), date=recorded if isinstance(recorded, str) else None)
