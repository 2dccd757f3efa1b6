"""
The audit trail for others to read: as JSON lines, or as FHIR R4 AuditEvents, one a line.

A JSON line is the row as it was hashed, with its hash: whoever has the lines can verify the chain without this program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from cds_service.records.trail import Row, canonical

_HL7: Final = "http://terminology.hl7.org/CodeSystem"
_OURS: Final = "urn:cds-service"
# FHIR R4, AuditEvent.outcome: success, minor failure (asking again may help), serious failure.
_OUTCOMES: Final = {"advised": "0", "nothing": "0", "unavailable": "4", "failed": "8"}
_SERIOUS: Final = "8"
_CLIENT: Final = {
    "system": "http://dicom.nema.org/resources/ontology/DCM",
    "code": "110153",
    "display": "Source Role ID",
}
_USER: Final = {
    "system": f"{_HL7}/v3-ParticipationType",
    "code": "IRCP",
    "display": "information recipient",
}
_SERVER: Final = {"system": f"{_HL7}/security-source-type", "code": "4", "display": "Application Server"}
_PERSON: Final = {"system": f"{_HL7}/audit-entity-type", "code": "1", "display": "Person"}
_OBJECT: Final = {"system": f"{_HL7}/audit-entity-type", "code": "2", "display": "System Object"}
_PATIENT: Final = {"system": f"{_HL7}/object-role", "code": "1", "display": "Patient"}
_REPORT: Final = {"system": f"{_HL7}/object-role", "code": "3", "display": "Report"}
# IHE Basic Audit Log Patterns: the id under which the client knows its request.
_REQUEST: Final = {
    "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
    "code": "XrequestId",
}


def ndjson(rows: Iterable[Row]) -> Iterator[str]:
    """Each row as canonical JSON, one at a time."""
    return (canonical(row) for row in rows)


def fhir(rows: Iterable[Row]) -> Iterator[str]:
    """Each row as an AuditEvent (FHIR R4), one at a time."""
    return (canonical(audit_event(row)) for row in rows)


def audit_event(row: Row) -> dict[str, Any]:
    """The AuditEvent that says what the row says. Whoever asked is the EHR client; the user is a pseudonym."""
    return {
        "resourceType": "AuditEvent",
        "id": f"audit-{row['number']}",
        "type": {"system": f"{_HL7}/audit-event-type", "code": "rest", "display": "RESTful Operation"},
        "subtype": [
            {"system": "http://hl7.org/fhir/restful-interaction", "code": "operation", "display": "operation"},
            {"system": f"{_OURS}:hook", "code": row["hook"]},
        ],
        "action": "E",
        "recorded": row["at"],
        "outcome": _OUTCOMES.get(row["outcome"], _SERIOUS),
        "agent": list(_agents(row)),
        "source": {
            "site": row["tenant"],
            "observer": _identified("service", row["service"]),
            "type": [_SERVER],
        },
        "entity": [
            {"what": _identified("patient-pseudonym", row["patient_pseudonym"]), "type": _PERSON, "role": _PATIENT},
            {"what": _identified("hook-instance", row["hook_instance"]), "type": _REQUEST},
            {"what": _identified("knowledge", row["knowledge"]), "type": _OBJECT},
            {"type": _OBJECT, "role": _REPORT, "name": "advice", "detail": list(_details(row))},
        ],
    }


def _agents(row: Row) -> Iterator[dict[str, Any]]:
    issuer = row["issuer"] or "not authenticated"
    yield {"type": _concept(_CLIENT), "who": _identified("issuer", issuer), "requestor": True}
    if row["user_pseudonym"] is not None:
        user = _identified("user-pseudonym", row["user_pseudonym"])
        yield {"type": _concept(_USER), "who": user, "requestor": False}


def _details(row: Row) -> Iterator[dict[str, str]]:
    told = {name: row[name] for name in ("mode", "outcome", "status", "number", "previous", "hash")}
    for name, value in told.items():
        if value is not None:
            yield {"type": name, "valueString": str(value)}
    for name, kind in (("criteria", "criterion"), ("topics", "topic"), ("cards", "card")):
        for value in row[name]:
            yield {"type": kind, "valueString": value}


def _identified(kind: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": f"{_OURS}:{kind}", "value": value}}


def _concept(coding: dict[str, str]) -> dict[str, Any]:
    return {"coding": [coding]}
