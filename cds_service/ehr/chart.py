"""What the EHR holds on this woman, gathered: her resources, and for each question whether it was answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeGuard

from cds_service.ehr.elements import Resource, codes_in, members, reference_of, relative, texts
from cds_service.ehr.wanted import Query
from cds_service.errors import ChartUnavailable
from cds_service.hooks.request import HookRequest


class Had(IntEnum):
    """How a question to the EHR was answered. Not had is unknown, never absent (decision logic, section 1)."""

    NOT_ASKED = 0
    FAILED = 1
    CUT_SHORT = 2
    WHOLE = 3


@dataclass(frozen=True, slots=True)
class Chart:
    """
    Her resources by type, each once and in a stable order, and how each query was answered, by key.

    `drafts` are the orders drafted in this call, `selected` the references of those that were just picked (all of
    them when orders are being signed). `set_aside` names what could not be read; `not_hers` what is about others.
    """

    patient: Resource
    encounter: Resource | None
    by_type: Mapping[str, tuple[Resource, ...]]
    had: Mapping[str, Had]
    drafts: tuple[Resource, ...]
    selected: frozenset[str]
    set_aside: tuple[str, ...]
    not_hers: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[Resource, ...]:
        return self.by_type.get(kind, ())


# Where the woman stands in each type that is read. A type that is not listed has no owner (Questionnaire, Medication).
_OWNER: Final = {
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
# What each of these must say: how it stands, and what it is about (FHIR R4, 1..1).
_STANDING: Final = frozenset(
    {
        "MedicationAdministration", "MedicationRequest", "MedicationStatement", "Observation", "Procedure",
        "QuestionnaireResponse", "ServiceRequest",
    }
)  # fmt: skip
_MEDICATION: Final = ("medicationCodeableConcept", "medicationReference")
_NAMED: Final = {
    "Condition": ("code",),
    "MedicationAdministration": _MEDICATION,
    "MedicationRequest": _MEDICATION,
    "MedicationStatement": _MEDICATION,
    "Observation": ("code",),
}
_OWNERLESS: Final = frozenset({"Medication", "Questionnaire"})
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{2,63}")
_FATAL: Final = frozenset({"error", "fatal"})
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


def gather(request: HookRequest, wanted: tuple[Query, ...]) -> Chart:
    """
    The chart from prefetch. Raises ChartUnavailable (412) when the patient cannot be had or is somebody else.

    Keys under other names, or one raw Bundle, are matched by what they hold.
    """
    answers = [*_named(request, wanted), *_unnamed(request, wanted)]
    had: dict[str, Had] = {query.key: Had.NOT_ASKED for query in wanted}
    set_aside: list[str] = []
    not_hers: list[str] = []
    found: dict[tuple[str, str], Resource] = {}
    loose: list[Resource] = []
    patients: dict[str, set[str]] = {}
    for keys, value, name in answers:
        entries, state = _entries(value)
        broken = 0
        for entry in entries:
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if not _is_resource(resource):
                broken += 1
                continue
            broken += _is_mute(resource)  # what it would have told is unknown, so this list cannot say "none"
            if resource["resourceType"] == "Patient":
                patients.setdefault(str(resource.get("id")), set()).add(str(entry.get("fullUrl")))
            _keep(resource, found, loose)
        if broken:
            set_aside.append(f"{name}: {broken} entries could not be read")
            state = min(state, Had.CUT_SHORT)
        for key in keys:
            had[key] = max(had[key], state)
    patient = _patient(request, found, loose)
    aliases = {f"Patient/{request.patient_id}", *patients.get(request.patient_id, ())}
    _same_patient_drafts(request, aliases)
    by_type: dict[str, list[Resource]] = {}
    for resource in (*found.values(), *loose):
        kind = resource["resourceType"]
        if kind in _OWNERLESS:
            by_type.setdefault(kind, []).append(resource)
            continue
        owner = _OWNER.get(kind)
        if owner is None:
            continue
        whose = relative(resource.get(owner))
        if whose in aliases:
            by_type.setdefault(kind, []).append(resource)
        elif whose is None:
            set_aside.append(f"{reference_of(resource)}: it does not say whose it is")
            for query in wanted:
                if query.type == kind and _might_answer(resource, query):
                    had[query.key] = min(had[query.key], Had.CUT_SHORT)
        else:
            not_hers.append(f"{reference_of(resource)}: about another person")
    return Chart(
        patient=patient,
        encounter=_encounter(request, found, aliases),
        by_type={kind: tuple(sorted(rows, key=_order)) for kind, rows in by_type.items()},
        had=had,
        drafts=tuple(sorted(request.draft_orders, key=_order)),
        selected=_selected(request),
        set_aside=tuple(sorted(set_aside)),
        not_hers=tuple(sorted(not_hers)),
    )


def _named(request: HookRequest, wanted: tuple[Query, ...]) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    for query in wanted:
        if query.key in request.prefetch:
            yield (query.key,), request.prefetch[query.key], query.key


def _unnamed(request: HookRequest, wanted: tuple[Query, ...]) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """Values under keys of the EHR's own, or one raw Bundle: each answers the queries of the types that it holds."""
    ours = {query.key for query in wanted}
    others = [(key, value) for key, value in request.prefetch.items() if key not in ours]
    if request.prefetch_bundle is not None:
        others.append(("", request.prefetch_bundle))
    for name, value in others:
        entries, _ = _entries(value)
        kinds = {
            kind
            for entry in entries
            if isinstance(entry, dict)
            and isinstance(resource := entry.get("resource"), dict)
            and isinstance(kind := resource.get("resourceType"), str)
        }
        if not kinds and (kind := _OTHER_KEYS.get(_simplified(name))):
            kinds = {kind}
        # Our own key was sent, too: then it alone says how that question was answered.
        yield (
            tuple(q.key for q in wanted if q.type in kinds and q.key not in request.prefetch),
            value,
            "a prefetch key of the EHR's own",
        )


def _simplified(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "").rstrip("s")


def _entries(value: object) -> tuple[list[Any], Had]:
    """
    The entries of a prefetch value, and how whole it is.

    Null or an empty Bundle is a known none. An OperationOutcome is a failure, alone or in a searchset, unless the
    total is 0 and it only informs or warns: Epic answers an empty search so (code 4101). A `next` link, or a total
    above what came, means that the list was cut short.
    """
    if value is None:
        return [], Had.WHOLE
    if isinstance(value, list):
        # Home-made clients send a bare list of resources. What it holds counts; nobody says that it is whole.
        return [{"resource": member} for member in value], Had.CUT_SHORT if value else Had.FAILED
    if not isinstance(value, dict):
        return [{}], Had.FAILED
    if value.get("resourceType") == "OperationOutcome":
        return [], Had.FAILED
    if value.get("resourceType") != "Bundle":
        return [{"resource": value}], Had.WHOLE
    listed = value.get("entry", [])
    if not isinstance(listed, list):
        return [{}], Had.FAILED
    outcomes = [e["resource"] for e in listed if _is_outcome(e)]
    entries = [e for e in listed if not _is_outcome(e)]
    if any(_severity(outcome) in _FATAL for outcome in outcomes) or (
        outcomes and entries == [] and value.get("total", 0)
    ):
        return entries, Had.FAILED
    total = value.get("total")
    matches = _distinct(e for e in entries if not (isinstance(e, dict) and _mode(e) == "include"))
    more = any(link.get("relation") == "next" for link in members(value.get("link")))
    if more or (isinstance(total, int) and total > matches):
        return entries, Had.CUT_SHORT
    return entries, Had.WHOLE


def _is_resource(resource: Any) -> TypeGuard[dict[str, Any]]:
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    return isinstance(kind, str) and _TYPE.fullmatch(kind) is not None


def _is_mute(resource: Resource) -> bool:
    """Does it fail to say what it is about, or how it stands? R4 demands both of each type that is read here."""
    kind = resource["resourceType"]
    if kind in _STANDING and not isinstance(resource.get("status"), str):
        return True
    named = _NAMED.get(kind, ())
    return bool(named) and not any(_names_something(resource.get(element)) for element in named)


def _names_something(concept: object) -> bool:
    if isinstance(concept, dict) and any(isinstance(concept.get(k), str) for k in ("reference", "display")):
        return True
    return bool(codes_in(concept)) or any(True for _ in texts(concept))


def _might_answer(resource: Resource, query: Query) -> bool:
    """Could this resource have told what the query asks? An Observation of some other code could not."""
    if not query.codes:
        return True
    parts = (resource, *members(resource.get("component")))
    told = [code for part in parts for code in codes_in(part.get("code"))]
    return not told or not query.codes.isdisjoint(told)


def _distinct(entries: Iterable[Any]) -> int:
    """How many different resources there are: one that is sent twice fills no list that was cut short."""
    named: set[tuple[str, str]] = set()
    nameless = 0
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        kind, id_ = (resource.get("resourceType"), resource.get("id")) if isinstance(resource, dict) else (None, None)
        if isinstance(kind, str) and isinstance(id_, str):
            named.add((kind, id_))
        else:
            nameless += 1
    return len(named) + nameless


def _is_outcome(entry: object) -> bool:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return isinstance(resource, dict) and resource.get("resourceType") == "OperationOutcome"


def _mode(entry: Mapping[str, Any]) -> object:
    search = entry.get("search")
    return search.get("mode") if isinstance(search, dict) else None


def _severity(outcome: Mapping[str, Any]) -> str:
    """The worst severity of an OperationOutcome; without a readable issue it is an error."""
    found = [issue.get("severity") for issue in members(outcome.get("issue"))]
    return "error" if not found or any(s not in ("warning", "information") for s in found) else "warning"


def _keep(resource: Resource, found: dict[tuple[str, str], Resource], loose: list[Resource]) -> None:
    """Each resource once. Of two versions the later stays, whatever their order."""
    id_ = resource.get("id")
    if not isinstance(id_, str):
        if resource not in loose:
            loose.append(resource)
        return
    key = (resource["resourceType"], id_)
    held = found.get(key)
    if held is None or (held != resource and _version(held) < _version(resource)):
        found[key] = resource


def _version(resource: Resource) -> tuple[str, str]:
    meta = resource.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    return str(updated or ""), json.dumps(resource, sort_keys=True, default=str)


def _order(resource: Resource) -> tuple[str, str, str]:
    """Entry order must not matter: by type, then id; the text decides between resources without one."""
    id_ = resource.get("id")
    if isinstance(id_, str):
        return str(resource.get("resourceType")), id_, ""
    return str(resource.get("resourceType")), "", json.dumps(resource, sort_keys=True, default=str)


def _patient(request: HookRequest, found: Mapping[tuple[str, str], Resource], loose: Iterable[Resource]) -> Resource:
    sent = request.prefetch.get("patient")
    if isinstance(sent, dict) and sent.get("resourceType") == "Patient" and sent.get("id") != request.patient_id:
        raise ChartUnavailable("prefetch.patient is not the patient of the context")
    patient = found.get(("Patient", request.patient_id))
    if patient is None:
        others = any(kind == "Patient" for kind, _ in found) or any(r["resourceType"] == "Patient" for r in loose)
        raise ChartUnavailable(
            "the prefetched Patient is not the patient of the context"
            if others
            else "the Patient resource was not sent"
        )
    return patient


def _same_patient_drafts(request: HookRequest, aliases: set[str]) -> None:
    for order in request.draft_orders:
        whose = relative(order.get("subject"))
        if whose is not None and whose.startswith(("Patient/", "urn:")) and whose not in aliases:
            raise ChartUnavailable("a draft order is for another patient than the context")


def _encounter(request: HookRequest, found: Mapping[tuple[str, str], Resource], aliases: set[str]) -> Resource | None:
    if request.encounter_id is None:
        return None
    encounter = found.get(("Encounter", request.encounter_id))
    if encounter is None:
        return None
    whose = relative(encounter.get("subject"))
    if whose is not None and whose not in aliases:
        raise ChartUnavailable("the encounter of the context belongs to another patient")
    return encounter


def _selected(request: HookRequest) -> frozenset[str]:
    """The orders that were just picked; at order-sign every order in the call is being signed."""
    if request.hook == "order-select":
        return frozenset(found for text in request.selections if (found := relative(text)) is not None)
    return frozenset(reference_of(order) for order in request.draft_orders)
