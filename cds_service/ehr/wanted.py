"""What we ask of an EHR: computed from what the tables read, so that the two cannot drift apart."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from cds_service.knowledge import Knowledge

USAGE: Final = (
    "Works by prefetch alone: send every key. What is not sent is read from fhirServer, where the site allows it. The "
    "Patient is required. Whatever else is missing is unknown, never normal, and no dose is computed while anything "
    "that blocks is unknown."
)
# The Observation queries, each with the concepts that are read from it besides those of the fact rows.
_SCREENS: Final = "screens"
_VITALS: Final = "vital_signs"
_LABS: Final = "laboratory"
_OBSTETRICS: Final = "obstetrics"
_SPLIT: Final = {
    _VITALS: {
        "body_weight",
        "body_height",
        "systolic",
        "diastolic",
        "heart_rate",
        "oxygen_saturation",
        "respiratory_rate",
    },
    _LABS: {"alt", "ast", "platelets", "apnoea_hypopnoea_index"},
}
_READ_BY_NAME: Final = {
    _SCREENS: ("bipolar_screen", "suicide_risk_assessment"),
    _VITALS: ("body_weight_not_measured", "blood_pressure_panel"),
    _OBSTETRICS: (
        "birth_time",
        "due_date",
        "last_menstrual_period",
        "delivery_method",
        "asa_score",
        "breastfeeding_status",
    ),
}


# Where the woman stands in each type that is read.
OWNER: Final = {
    "AllergyIntolerance": "patient",
    "Condition": "subject",
    "Encounter": "subject",
    "MedicationAdministration": "subject",
    "MedicationRequest": "subject",
    "MedicationStatement": "subject",
    "Observation": "subject",
    "Procedure": "subject",
    "QuestionnaireResponse": "subject",
    "ServiceRequest": "subject",
}
_TOKEN: Final = re.compile(r"\{\{(.+?)\}\}")


@dataclass(frozen=True, slots=True)
class Query:
    """One prefetch key: the resource type, its template, and for Observations the concepts and codes it asks for."""

    key: str
    type: str
    template: str
    concepts: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()

    def filled(self, tokens: Mapping[str, str]) -> str | None:
        """The template with its tokens filled in, as a URL below a FHIR base; None when a token is not there."""
        if not all(token in tokens for token in _TOKEN.findall(self.template)):
            return None
        # The bar between system and code is no URL character; a colon, a slash and a comma are (RFC 3986, 3.4).
        return quote(_TOKEN.sub(lambda found: tokens[found[1]], self.template), safe="/:?&=,;%+~")


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """All that is asked, and for each Observation concept the keys of the queries that ask for it."""

    queries: tuple[Query, ...]
    asking: Mapping[str, tuple[str, ...]]

    @classmethod
    def by(cls, knowledge: Knowledge, *, roles: bool = False) -> Wanted:
        """What these tables read. `roles`: and who is asking."""
        asked = queries(knowledge, roles=roles)
        concepts = {concept for query in asked for concept in query.concepts}
        return cls(asked, {c: tuple(q.key for q in asked if c in q.concepts) for c in concepts})


def queries(knowledge: Knowledge, *, roles: bool = False) -> tuple[Query, ...]:
    """
    Every query, in the order in which the discovery document lists them (CDS Hooks 2.0, prefetch).

    `roles`: the site shows other cards to other roles, so those of the user are asked for, too.
    """
    of_patient = "patient={{context.patientId}}"
    return (
        Query("patient", "Patient", "Patient/{{context.patientId}}"),
        Query("encounter", "Encounter", "Encounter/{{context.encounterId}}"),
        Query("problems", "Condition", f"Condition?{of_patient}"),
        Query("allergies", "AllergyIntolerance", f"AllergyIntolerance?{of_patient}"),
        Query(
            "medication_orders",
            "MedicationRequest",
            f"MedicationRequest?{of_patient}&status=active,on-hold,completed,stopped,unknown",
        ),
        Query("medication_administrations", "MedicationAdministration", f"MedicationAdministration?{of_patient}"),
        Query("reported_medicines", "MedicationStatement", f"MedicationStatement?{of_patient}"),
        Query("procedures", "Procedure", f"Procedure?{of_patient}"),
        Query("service_requests", "ServiceRequest", f"ServiceRequest?{of_patient}&status=active,on-hold"),
        Query("questionnaire_responses", "QuestionnaireResponse", f"QuestionnaireResponse?{of_patient}"),
        _questionnaires(knowledge),
        *(_observations(knowledge, key, of_patient) for key in (_SCREENS, _VITALS, _LABS, _OBSTETRICS)),
        *(_ROLES if roles else ()),
    )


# A user comes as a PractitionerRole or as a Practitioner: only one of the two tokens is ever there.
_ROLES: Final = (
    Query("user_role", "PractitionerRole", "PractitionerRole/{{userPractitionerRoleId}}"),
    Query("user_roles", "PractitionerRole", "PractitionerRole?practitioner={{userPractitionerId}}"),
)


def _questionnaires(knowledge: Knowledge) -> Query:
    # The Danish national form is coded as its score (KL, SNOMED 450320001).
    forms = knowledge.screens.instrument
    tokens = _tokens(knowledge, (concept for form in forms for concept in (form.panel, form.total) if concept))
    return Query("questionnaires", "Questionnaire", f"Questionnaire?code={','.join(tokens)}")


def _observations(knowledge: Knowledge, key: str, of_patient: str) -> Query:
    concepts = frozenset(_concepts(knowledge, key))
    tokens = _tokens(knowledge, concepts)
    return Query(key, "Observation", f"Observation?{of_patient}&code={','.join(tokens)}", concepts, _bare(tokens))


def _concepts(knowledge: Knowledge, key: str) -> Iterable[str]:
    """The concepts that an Observation query reads."""
    yield from _READ_BY_NAME.get(key, ())
    if key == _SCREENS:
        for form in knowledge.screens.instrument:
            yield from (concept for concept in (form.panel, form.total, *form.items) if concept)
    for row in knowledge.observations.row:
        for concept in row.concepts:
            group = next((name for name, members in _SPLIT.items() if concept in members), _OBSTETRICS)
            if group == key:
                yield concept


def _bare(tokens: Iterable[str]) -> frozenset[str]:
    return frozenset(token.rsplit("|", 1)[-1] for token in tokens)


def _tokens(knowledge: Knowledge, concepts: Iterable[str]) -> list[str]:
    """`system|code` for each code of these concepts, in a stable order."""
    return sorted({token for concept in concepts for token in knowledge.terminology.tokens.get(concept, ())})
