"""What the EHR holds on this woman: her resources, each once, and for each question whether it was answered."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final, TypeGuard

from cds_service.clinical.moment import Moment
from cds_service.ehr.answers import Had, matches
from cds_service.ehr.elements import Resource, bare_url, codes_in, local, members, moment, reference_of, relative, texts
from cds_service.ehr.prefetch import Told
from cds_service.ehr.wanted import OWNER, Query
from cds_service.errors import ChartUnavailable
from cds_service.events import Event, tell
from cds_service.hooks.request import HookRequest


@dataclass(frozen=True, slots=True)
class Chart:
    """
    Her resources by type, each once and in a stable order, and how each query was answered, by key.

    `drafts` are the orders drafted in this call, `selected` the references of those that were just picked (all of
    them when orders are being signed). `set_aside` names what could not be read; `not_hers` what is about others.
    `known_at` are the servers on which an id is the EHR's own.
    """

    patient: Resource
    encounter: Resource | None
    by_type: Mapping[str, tuple[Resource, ...]]
    had: Mapping[str, Had]
    drafts: tuple[Resource, ...]
    selected: frozenset[str]
    set_aside: tuple[str, ...]
    not_hers: tuple[str, ...] = ()
    known_at: frozenset[str] = frozenset()

    def of(self, kind: str) -> tuple[Resource, ...]:
        return self.by_type.get(kind, ())


_OWNERLESS: Final = frozenset({"Medication", "PractitionerRole", "Questionnaire"})
# A father's form and a newborn's measurements lie in her lists, and are passed over. Any other entry about another
# patient, in the answer to a search for her alone, means that the EHR mixes patients up: then nothing is said.
_FAMILY: Final = frozenset({"Observation", "QuestionnaireResponse"})
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
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{2,63}")
_COUNTED: Final = re.compile(r"[0-9]{1,18}")
# Each version is compared with each other. No honest answer holds more of one entry; of more, all stay.
_MOST_COMPARED: Final = 16


def chart_of(
    request: HookRequest,
    told: Sequence[Told],
    wanted: tuple[Query, ...],
    excluded: frozenset[str] = frozenset(),
) -> Chart:
    """
    The chart that these answers make. `excluded`: security labels whose resources are not to be read.

    Raises ChartUnavailable (412) when the patient cannot be had, or when something is about somebody else.
    """
    pile = _Pile.of(told, wanted, excluded)
    patient = _patient(request, pile)
    aliases = {f"Patient/{request.patient_id}", *pile.full_urls.get(request.patient_id, ())}
    strangers = {url for id_, urls in pile.full_urls.items() if id_ != request.patient_id for url in urls}
    known_at = _known_at(request, pile)
    _same_patient_drafts(request, patient, aliases, known_at)
    by_type: dict[str, list[Resource]] = {}
    for one in told:
        # A list of forms may hold the father's alone, and she filled in none.
        if _is_about_others(one, aliases) and not _holds_forms(one):
            pile.lower(one.keys, Had.FAILED)
    for kept in pile.resources():
        resource = kept.resource
        kind = resource["resourceType"]
        if kind in _OWNERLESS:
            by_type.setdefault(kind, []).append(resource)
            continue
        owner = OWNER.get(kind)
        if owner is None:
            continue
        whose = local(resource.get(owner), known_at)
        if whose is not None and whose.startswith(("#", "urn:")) and whose not in aliases | strangers:
            whose = None  # it points to nobody who came along
        if whose in aliases:
            by_type.setdefault(kind, []).append(resource)
        elif whose is None:
            pile.set_aside.append(f"{reference_of(resource)}: it does not say whose it is")
            if kept.asked_for:  # else our own key tells all that there is to tell
                pile.lower((q.key for q in wanted if q.type == kind and _might_answer(resource, q)), Had.CUT_SHORT)
        elif kept.about_her and kind not in _FAMILY and whose.startswith("Patient/"):
            raise _mixed_up(f"a {kind} that the EHR holds for the patient of the context is about another patient")
        else:
            pile.not_hers.append(f"{reference_of(resource)}: about another person")
    if pile.not_hers:
        tell(Event.OTHERS_PASSED_OVER, count=len(pile.not_hers))
    return Chart(
        patient=patient,
        encounter=_encounter(request, pile, aliases, known_at),
        by_type={kind: tuple(sorted(rows, key=_order)) for kind, rows in by_type.items()},
        had=pile.had,
        drafts=tuple(sorted(request.draft_orders, key=_order)),
        selected=_selected(request),
        set_aside=tuple(sorted(pile.set_aside)),
        not_hers=tuple(sorted(pile.not_hers)),
        known_at=known_at,
    )


# --- everything that came, each once ----------------------------------------------------------------


@dataclass(slots=True)
class _Kept:
    """A resource, and where it came from: the answer to a search for her alone; an answer to anything we asked."""

    resource: Resource
    about_her: bool = False
    asked_for: bool = False


@dataclass(slots=True)
class _Pile:
    """All entries of all answers, before anybody asked whose they are."""

    had: dict[str, Had]
    types: Mapping[str, str]
    set_aside: list[str] = field(default_factory=list)
    not_hers: list[str] = field(default_factory=list)
    found: dict[tuple[str, str], _Kept] = field(default_factory=dict)
    loose: dict[Hashable, _Kept] = field(default_factory=dict)
    also: dict[tuple[str, str], dict[Hashable, _Kept]] = field(default_factory=dict)
    full_urls: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Iterable[Told], wanted: tuple[Query, ...], excluded: frozenset[str]) -> _Pile:
        pile = cls({query.key: Had.NOT_ASKED for query in wanted}, {query.key: query.type for query in wanted})
        for one in told:
            pile._add(one, excluded)
        pile._settle()
        return pile

    def _add(self, told: Told, excluded: frozenset[str]) -> None:
        broken = withheld = 0
        asked_for = told.about_her or bool(told.keys or told.partly)
        matched: set[str] = set()
        came: set[str] = set()
        for entry in told.answer.entries:
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if not _is_resource(resource):
                broken += 1
                continue
            kind = resource["resourceType"]
            came.add(kind)
            if matches(entry):
                matched.add(kind)
            if excluded and _is_excluded(resource, excluded):
                withheld += 1
                continue
            broken += _is_mute(resource)  # what it would have told is unknown, so this list cannot say "none"
            if kind == "Patient":
                self.full_urls.setdefault(str(resource.get("id")), set()).add(str(entry.get("fullUrl")))
            kept = self._keep(resource)
            kept.about_her |= told.about_her
            kept.asked_for |= asked_for
        if broken:
            self.set_aside.append(f"{told.name}: {broken} entries could not be read")
        if withheld:
            self.set_aside.append(f"{told.name}: {withheld} entries are not to be read here, by their security label")
        state = min(told.answer.had, Had.CUT_SHORT) if broken or withheld else told.answer.had
        for key in told.keys:
            # Resources, but none of the type that was asked for: an answer to something else, and not "none".
            answered = self.types[key] in (matched or came or {self.types[key]})
            self.had[key] = max(self.had[key], state if answered else min(state, Had.FAILED))
        for key in told.partly:
            self.had[key] = max(self.had[key], min(state, Had.CUT_SHORT))

    def _keep(self, resource: Resource) -> _Kept:
        """Each content of a resource once."""
        id_ = resource.get("id")
        if not isinstance(id_, str):
            return self.loose.setdefault(_content(resource), _Kept(resource))
        key = (resource["resourceType"], id_)
        kept = self.found.get(key)
        if kept is None:
            kept = self.found[key] = _Kept(resource)
            return kept
        if kept.resource == resource:
            return kept
        return self.also.setdefault(key, {}).setdefault(_content(resource), _Kept(resource))

    def _settle(self) -> None:
        """Of several contents under one id the latest stays. All stay that may be the latest, whatever their order."""
        for key, others in self.also.items():
            contents = [self.found[key], *others.values()]
            stay = contents
            if len(contents) <= _MOST_COMPARED:
                stay = [one for one in contents if not any(_is_later(other, one) for other in contents)] or contents
            first, *more = sorted(stay, key=_text)
            about_her, asked_for = any(one.about_her for one in contents), any(one.asked_for for one in contents)
            for one in stay:
                one.about_her, one.asked_for = about_her, asked_for
            self.found[key] = first
            self.loose.update((_content(one.resource), one) for one in more)

    def resources(self) -> Iterator[_Kept]:
        yield from self.found.values()
        yield from self.loose.values()

    def get(self, kind: str, id_: str) -> Resource | None:
        found = self.found.get((kind, id_))
        return found.resource if found is not None else None

    def lower(self, keys: Iterable[str], most: Had) -> None:
        for key in keys:
            self.had[key] = min(self.had[key], most)


def _is_resource(resource: Any) -> TypeGuard[dict[str, Any]]:
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    return isinstance(kind, str) and (kind in OWNER or _TYPE.fullmatch(kind) is not None)


def _content(value: Any) -> Hashable:
    """All that a JSON value holds, to find the same content again: equal for two values just when they are."""
    if isinstance(value, dict):
        return frozenset((name, _content(member)) for name, member in value.items())
    return tuple(map(_content, value)) if isinstance(value, list) else value


def _is_excluded(resource: Resource, excluded: frozenset[str]) -> bool:
    meta = resource.get("meta")
    for label in members(meta.get("security")) if isinstance(meta, dict) else ():
        code, system = label.get("code"), label.get("system")
        if isinstance(code, str) and (code in excluded or f"{system}|{code}" in excluded):
            return True
    return False


def _is_mute(resource: Resource) -> bool:
    """Does it fail to say what it is about, or how it stands? R4 demands both of each type that is read here."""
    kind = resource["resourceType"]
    if kind in _STANDING and not (isinstance(status := resource.get("status"), str) and status.strip()):
        return True
    if "component" in resource and kind == "Observation" and not _are_components(resource["component"]):
        return True  # it may have been the pressure that stands against the medicine
    named = _NAMED.get(kind)
    return named is not None and not any(map(_names_something, map(resource.get, named)))


def _are_components(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and _names_something(one.get("code")) for one in value)


def _names_something(concept: object) -> bool:
    if not isinstance(concept, dict) or _has_broken_codings(concept):
        return False
    return (
        isinstance(concept.get("text"), str)
        or isinstance(concept.get("reference"), str)
        or isinstance(concept.get("display"), str)
        or bool(codes_in(concept))
        or any(True for _ in texts(concept))
    )


def _has_broken_codings(concept: Mapping[str, Any]) -> bool:
    """There were codes, and they did not arrive: then the text beside them is half of what was said."""
    if "coding" not in concept:
        return False
    coding = concept["coding"]
    return not coding or not all(map(_is_coding, coding if isinstance(coding, list) else [coding]))


def _is_coding(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    for name in ("system", "code", "display"):
        told = value.get(name, name)  # what is left out is no fault
        if not told or not isinstance(told, str):
            return False
    return True


def _might_answer(resource: Resource, query: Query) -> bool:
    """Could this resource have told what the query asks? An Observation of some other code could not."""
    if not query.codes:
        return True
    parts = (resource, *members(resource.get("component")))
    told = [code for part in parts for code in codes_in(part.get("code"))]
    return not told or not query.codes.isdisjoint(told)


def _is_later(one: _Kept, other: _Kept) -> bool:
    """Surely a later version: by the instant of its last update, else by a version number."""
    (updated, version), (before, earlier) = _version(one.resource), _version(other.resource)
    if updated is not None and before is not None and updated.earliest != before.earliest:
        return updated.surely_after(before)
    return version is not None and earlier is not None and version > earlier


def _version(resource: Resource) -> tuple[Moment | None, int | None]:
    """When it was last updated, and which version it is, where the server counts them."""
    meta = resource.get("meta")
    if not isinstance(meta, dict):
        return None, None
    version = meta.get("versionId")
    number = int(version) if isinstance(version, str) and _COUNTED.fullmatch(version) else None
    return moment(meta.get("lastUpdated"), UTC), number


def _text(kept: _Kept) -> str:
    return json.dumps(kept.resource, sort_keys=True, default=str)


def _order(resource: Resource) -> tuple[str, str, str]:
    """Entry order must not matter: by type, then id; the text decides between resources without one."""
    id_ = resource.get("id")
    if isinstance(id_, str):
        return str(resource.get("resourceType")), id_, ""
    return str(resource.get("resourceType")), "", json.dumps(resource, sort_keys=True, default=str)


# --- is it she? -------------------------------------------------------------------------------------


def _patient(request: HookRequest, pile: _Pile) -> Resource:
    sent = request.prefetch.get("patient")
    if isinstance(sent, dict) and sent.get("resourceType") == "Patient" and sent.get("id") != request.patient_id:
        raise _mixed_up("prefetch.patient is not the patient of the context")
    patient = pile.get("Patient", request.patient_id)
    if patient is not None:
        if any(link.get("type") == "replaced-by" for link in members(patient.get("link"))):
            raise _mixed_up("the Patient of the context was merged into another record, which is to be used instead")
        return patient
    if any(kept.resource["resourceType"] == "Patient" for kept in pile.resources()):
        raise _mixed_up("the Patient that the EHR gave is not the patient of the context")
    raise ChartUnavailable(_NO_PATIENT[pile.had.get("patient", Had.NOT_ASKED)])


_NO_PATIENT: Final = {
    Had.NOT_ASKED: "the Patient resource was not sent, and could not be read from fhirServer",
    Had.FAILED: "the Patient resource could not be had",
    Had.RESTRICTED: "the EHR restricts access to the Patient resource",
    Had.CUT_SHORT: "the Patient resource could not be read",
    Had.WHOLE: "the Patient resource was not sent: prefetch.patient holds none",
}


def _holds_forms(told: Told) -> bool:
    """Forms, and perhaps measurements that somebody filed among them: what may lie in her lists and be another's."""
    entries = (entry.get("resource") for entry in told.answer.entries if isinstance(entry, dict))
    kinds = {one.get("resourceType") if isinstance(one, dict) else None for one in entries}
    return "QuestionnaireResponse" in kinds and kinds <= _FAMILY


def _is_about_others(told: Told, aliases: set[str]) -> bool:
    """Does a search for her alone match entries of others, and none of hers? Then it says nothing about her."""
    if not told.about_her:
        return False
    others = False
    for entry in told.answer.entries:
        if matches(entry) and _is_resource(found := entry.get("resource")) and found["resourceType"] in OWNER:
            whose = relative(found.get(OWNER[found["resourceType"]])) or ""
            if not whose.startswith("Patient/") or whose in aliases:
                return False
            others = True
    return others


def same_patient_leave(request: HookRequest) -> None:
    """Raises ChartUnavailable (412) when the leave to read that came along was given for another patient."""
    leave = request.fhir_authorization
    if leave is None or leave.patient is None:
        return
    if (relative(leave.patient) or f"Patient/{leave.patient}") != f"Patient/{request.patient_id}":
        raise _mixed_up("fhirAuthorization.patient is not the patient of the context")


def _known_at(request: HookRequest, pile: _Pile) -> frozenset[str]:
    """The servers on which her id is hers: the EHR's own, and where her Patient lies. Empty when nothing tells."""
    end = f"/Patient/{request.patient_id}"
    hers = (url.removesuffix(end) for url in pile.full_urls.get(request.patient_id, ()) if url.endswith(end))
    bases = (*hers, *filter(None, [request.fhir_server]))
    return frozenset(bare_url(base) for base in bases if "://" in base)


def _same_patient_drafts(request: HookRequest, patient: Resource, aliases: set[str], known_at: frozenset[str]) -> None:
    for order in request.draft_orders:
        for owner in (order.get("subject"), order.get("patient")):  # a NutritionOrder has a patient
            whose = relative(owner)
            another = whose is not None and whose.startswith(("Patient/", "urn:")) and whose not in aliases
            elsewhere = whose is not None and local(owner, known_at) is None
            if another or elsewhere or (whose is None and _has_another_number(owner, patient)):
                raise _mixed_up("a draft order is for another patient than the context")


def _has_another_number(owner: object, patient: Resource) -> bool:
    """Does it name its patient by a number of a kind that she has, and is it none of hers?"""
    named = owner.get("identifier") if isinstance(owner, dict) else None
    if not isinstance(named, dict) or not isinstance(named.get("system"), str):
        return False
    hers = [one.get("value") for one in members(patient.get("identifier")) if one.get("system") == named["system"]]
    return bool(hers) and named.get("value") not in hers


def _encounter(request: HookRequest, pile: _Pile, aliases: set[str], known_at: frozenset[str]) -> Resource | None:
    encounter = pile.get("Encounter", request.encounter_id) if request.encounter_id is not None else None
    if encounter is None:
        return None
    whose = relative(encounter.get("subject"))
    if whose is not None and (whose not in aliases or local(encounter["subject"], known_at) is None):
        raise _mixed_up("the encounter of the context belongs to another patient")
    return encounter


def _mixed_up(message: str) -> ChartUnavailable:
    tell(Event.IDENTITY_MISMATCH, what=message)
    return ChartUnavailable(message)


def _selected(request: HookRequest) -> frozenset[str]:
    """The orders that were just picked; at order-sign every order in the call is being signed."""
    if request.hook == "order-select":
        return frozenset(found for text in request.selections if (found := relative(text)) is not None)
    return frozenset(reference_of(order) for order in request.draft_orders)
