"""What the EHR sent along, and which of our questions each value answers, under whatever name it came."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from cds_service.ehr.answers import Answer, answer_of, self_link
from cds_service.ehr.elements import Resource, codes_in, members, relative
from cds_service.ehr.wanted import OWNER, Query
from cds_service.hooks.request import HookRequest

# Key names seen where an EHR's analysts typed them by hand (Epic never reads the discovery document), for a null or
# an empty Bundle, whose content cannot tell what it answers. Compared without case, underscores and plural s.
_OTHER_KEYS: Final = {
    "condition": "Condition", "problem": "Condition", "problemlist": "Condition", "allergy": "AllergyIntolerance",
    "allergie": "AllergyIntolerance", "allergyintolerance": "AllergyIntolerance",
    "medicationrequest": "MedicationRequest", "medication": "MedicationRequest",
    "medicationadministration": "MedicationAdministration", "administration": "MedicationAdministration",
    "medicationstatement": "MedicationStatement", "procedure": "Procedure", "observation": "Observation",
    "servicerequest": "ServiceRequest", "questionnaireresponse": "QuestionnaireResponse",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """
    One answer of the EHR's: the keys of the queries that it answers, and a name for it that holds no patient words.

    `value` is what came in prefetch. `about_her`: it answers a search for her alone, so that another patient in it is
    a mix-up. `partly`: the keys of queries that it answers in part, because the EHR searched for less.
    """

    keys: tuple[str, ...]
    value: Any = field(repr=False)
    answer: Answer
    name: str
    about_her: bool
    partly: tuple[str, ...] = ()


def prefetched(request: HookRequest, wanted: tuple[Query, ...]) -> Iterator[Told]:
    """Every prefetch value: by our key, else by what it holds or says that it answers. One raw Bundle is read, too."""
    ours = {query.key for query in wanted}
    for query in wanted:
        if query.key in request.prefetch:
            value = request.prefetch[query.key]
            # Keys and searches are typed by hand in some EHRs: even under our key, less may have been searched for.
            whole = _by_link(query, value, request.patient_id) in _ANSWERED
            whole = whole and not _is_one_of_many(query, value)
            keys, partly = ((query.key,), ()) if whole else ((), (query.key,))
            yield Told(keys, value, answer_of(value), query.key, about_her=True, partly=partly)
    open_ = tuple(query for query in wanted if query.key not in request.prefetch)
    # An extension may stand beside the keys (CDS Hooks 2.0, extensions). It is no answer.
    others = [(key, value) for key, value in request.prefetch.items() if key not in ours and key != "extension"]
    if request.prefetch_bundle is not None:
        others.append(("", request.prefetch_bundle))
    for name, value in others:
        answer = answer_of(value)
        # Our own key was sent, too: then it alone says how that question was answered.
        covers = {query.key: _covers(query, name, value, answer, request.patient_id) for query in open_}
        yield Told(
            tuple(key for key, covered in covers.items() if covered is _Covers.WHOLLY),
            value,
            answer,
            "a prefetch key of the EHR's own",
            about_her=answer.searched,
            partly=tuple(key for key, covered in covers.items() if covered is _Covers.PARTLY),
        )


class _Covers(Enum):
    """What a value tells about one of our queries. UNTOLD: it does not say what was searched for."""

    WHOLLY = auto()
    PARTLY = auto()
    NOT = auto()
    UNTOLD = auto()


_ANSWERED: Final = (_Covers.WHOLLY, _Covers.UNTOLD)


def _covers(query: Query, name: str, value: Any, answer: Answer, patient_id: str) -> _Covers:
    """
    Does this value answer this query? By what it holds, and by the search that it says it answers.

    When it holds nothing and names no search, its key must tell. Of Observations there are several queries: blood
    pressures say nothing about screens.
    """
    held = [resource for entry in answer.entries if (resource := _resource(entry)) is not None]
    of_type = [resource for resource in held if resource.get("resourceType") == query.type]
    if held and not any(_asks_for(query, one) and _may_be_hers(one, patient_id) for one in of_type):
        return _Covers.NOT
    told = _by_link(query, value, patient_id)
    if told is _Covers.UNTOLD:
        told = _Covers.WHOLLY if of_type or _OTHER_KEYS.get(_simplified(name)) == query.type else _Covers.NOT
    return _Covers.PARTLY if told is _Covers.WHOLLY and _is_one_of_many(query, value) else told


def _is_one_of_many(query: Query, value: Any) -> bool:
    """Is it a resource of its own, where a list was asked for? Nobody says that it is the only one."""
    return "?" in query.template and isinstance(value, dict) and value.get("resourceType") == query.type


def _may_be_hers(resource: Resource, patient_id: str) -> bool:
    """A newborn's measurements say nothing about whether the mother's were sent."""
    whose = relative(resource.get(OWNER.get(resource["resourceType"], "")))
    return whose is None or not whose.startswith("Patient/") or whose == f"Patient/{patient_id}"


def _asks_for(query: Query, resource: Resource) -> bool:
    if not query.codes:
        return True
    parts = (resource, *members(resource.get("component")))
    return any(not query.codes.isdisjoint(codes_in(part.get("code"))) for part in parts)


# What makes a search no narrower. The patient and the codes are looked at by themselves.
_SAME: Final = frozenset(
    {
        "patient", "subject", "code", "_count", "_sort", "_format", "_pretty", "_total", "_offset", "_include",
        "_revinclude",
    }
)  # fmt: skip
# Epic finds no Condition without a category, and this one is the problem list.
_PROBLEM_LIST: Final = "problem-list-item"
_TYPE: Final = re.compile(r"[A-Z][a-z]+[A-Za-z]*")


def _by_link(query: Query, value: Any, patient_id: str) -> _Covers:
    """Does a Bundle's `self` link ask for all that the query asks, for a part of it, or for something else?"""
    link = self_link(value)
    if link is None:
        return _Covers.UNTOLD
    try:
        parts = urlsplit(link)
        asked = parse_qs(parts.query)
    except ValueError:
        return _Covers.UNTOLD
    kind = parts.path.rstrip("/").removesuffix("/_search").rpartition("/")[2]
    if kind != query.type:
        # A page of a search that the server keeps (HAPI FHIR: `?_getpages=…`) does not tell what was asked.
        return _Covers.NOT if _TYPE.fullmatch(kind) else _Covers.UNTOLD
    wanted = _parameters(query.template)
    codes = {_bare(token) for token in _tokens(asked, "code")}
    if codes and "code" in wanted and codes.isdisjoint(_bare(token) for token in wanted["code"]):
        return _Covers.NOT
    return _Covers.PARTLY if _is_narrower(query, asked, wanted, patient_id) else _Covers.WHOLLY


def _is_narrower(
    query: Query, asked: Mapping[str, list[str]], wanted: Mapping[str, frozenset[str]], patient_id: str
) -> bool:
    """Does a search leave out anything that the query asks for? A parameter that we do not know may do so."""
    for name in asked:
        found = _tokens(asked, name)
        if name in ("patient", "subject"):
            if {_bare(whose) for whose in found} != {patient_id}:
                return True
        elif name in wanted:
            # A parameter that stands twice means "both"; commas mean "either" (FHIR R4, search).
            if len(asked[name]) > 1 or not {_bare(t) for t in wanted[name]} <= {_bare(t) for t in found}:
                return True
        elif name == "category" and query.type == "Condition":
            if any(_bare(token) != _PROBLEM_LIST for token in found):
                return True
        elif name == "_id":
            if "?" in query.template:
                return True
        elif name not in _SAME or name == "code":
            return True
    return False


@lru_cache(maxsize=64)
def _parameters(template: str) -> Mapping[str, frozenset[str]]:
    """What a template asks, by parameter."""
    asked = parse_qs(template.partition("?")[2])
    return {name: frozenset(_tokens(asked, name)) for name in asked}


def _tokens(asked: Mapping[str, list[str]], name: str) -> list[str]:
    return [token for listed in asked.get(name, ()) for token in listed.split(",")]


def _bare(token: str) -> str:
    """A code without its system, an id without its type."""
    return token.rpartition("|")[2].rpartition("/")[2]


def _resource(entry: object) -> Resource | None:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return resource if isinstance(resource, dict) else None


def _simplified(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower()).rstrip("s")
