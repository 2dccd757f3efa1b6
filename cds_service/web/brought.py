"""
What a visitor brings to the demonstration: a chart as a FHIR Bundle, or a whole CDS Hooks request.

Both may be hostile. What cannot be read is refused in one plain line, which never quotes it. Nothing is kept: the
browser holds the chart, and sends it along each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cds_service.ehr.elements import Resource, members
from cds_service.errors import RequestUnreadable
from cds_service.hooks.request import parse_request, service_for
from cds_service.hooks.strict_json import read_json

Chart = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class BroughtRequest:
    """A request that the service can read: its hook, the service that answers it, and what came along."""

    hook: str
    service: str
    patient: str
    prefetched: int


def read_brought(body: bytes) -> Chart | BroughtRequest:
    """The chart, or what the request is about. Raises RequestUnreadable: one line that says what is wrong."""
    value = read_json(body)
    match value:
        case {"resourceType": "Bundle"}:
            return chart_of(value)
        case {"hook": _}:
            asked = parse_request(value)
            keys = len(asked.prefetch) if asked.prefetch_bundle is None else 1
            return BroughtRequest(asked.hook, service_for(asked.hook).id, asked.patient_id, keys)
    raise RequestUnreadable("this is neither a FHIR Bundle nor a CDS Hooks request")


def chart_of(bundle: object) -> Chart:
    """
    The resources of a Bundle, as an EHR takes them over: each with an id, and pointing to each other by it.

    Raises RequestUnreadable when it is not the chart of one woman.
    """
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise RequestUnreadable("the chart is not a FHIR Bundle")
    if not isinstance(bundle.get("entry"), list):
        raise RequestUnreadable("the Bundle has no list of entries")
    chart: Chart = []
    names: dict[str, str] = {}
    for number, entry in enumerate(members(bundle["entry"]), start=1):
        resource = entry.get("resource")
        if not isinstance(resource, dict) or not isinstance(kind := resource.get("resourceType"), str):
            raise RequestUnreadable("the Bundle has an entry without a resource")
        id_ = resource.get("id")
        named = {**resource, "id": id_ if isinstance(id_, str) and id_ else f"entry-{number}"}
        chart.append(named)
        if isinstance(place := entry.get("fullUrl"), str):
            names[place] = f"{kind}/{named['id']}"
    patients = [resource for resource in chart if resource["resourceType"] == "Patient"]
    if len(patients) != 1:
        raise RequestUnreadable(f"the Bundle holds {len(patients) or 'no'} Patients: a chart is of one")
    _check_readable(patients[0])
    return [_renamed(resource, names) for resource in chart] if names else chart


def _check_readable(patient: Resource) -> None:
    """Her id must be one that the service can read. Raises RequestUnreadable."""
    context = {"userId": f"Patient/{_ANYBODY}", "patientId": patient["id"]}
    try:
        parse_request({"hook": "patient-view", "hookInstance": _ANYBODY, "context": context})
    except RequestUnreadable:
        raise RequestUnreadable("the Patient's id is not a FHIR id") from None


_ANYBODY: Final = "demonstration"


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same, with each reference to a `fullUrl` as `Type/id`: Synthea's charts point by `urn:uuid`."""
    match value:
        case dict():
            return {
                name: names.get(member, member)
                if name == "reference" and isinstance(member, str)
                else _renamed(member, names)
                for name, member in value.items()
            }
        case list():
            return [_renamed(item, names) for item in value]
        case _:
            return value
