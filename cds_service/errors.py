"""
Everything that can go wrong, as one tree.

ServiceError
├── RequestUnreadable
├── ServiceUnknown
├── ChartUnavailable
├── StoreUnavailable
├── ExplanationGone
├── KnowledgeUnfit
└── SiteUnfit

The first five answer a caller: each has an HTTP status and an OperationOutcome code. The last two are raised
at start, never while a clinician waits. A message says what is missing and where it was expected. It never
holds a value from a chart.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ServiceError(Exception):
    """The root. `status` is the HTTP status; `code` is the FHIR IssueType that the caller gets."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"


class RequestUnreadable(ServiceError):
    """The body is not a CDS Hooks request that this service can read. `status` may be 400, 413 or 415."""

    code = "structure"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]


class ServiceUnknown(ServiceError):
    """No service has this id."""

    status = 404
    code = "not-found"


class ChartUnavailable(ServiceError):
    """The patient cannot be had, or the data belongs to somebody else: nothing safe can be said."""

    status = 412
    code = "required"


class StoreUnavailable(ServiceError):
    """The database cannot be had now. What was sent has not been kept, and should be sent again."""

    status = 503
    code = "transient"


class ExplanationGone(ServiceError):
    """There is no such explanation, or no longer. Which of the two is nobody's business."""

    status = 404
    code = "not-found"

    def __init__(self) -> None:
        super().__init__("there is nothing here, or no longer: a link to an explanation lasts for a day")


class KnowledgeUnfit(ServiceError):
    """A knowledge or card file cannot be trusted. `defects` names each one in a line. Raised at start."""

    def __init__(self, *defects: str) -> None:
        super().__init__("; ".join(defects))
        self.defects = defects


class SiteUnfit(ServiceError):
    """A site file or a setting cannot be trusted. `defects` names each one in a line. Raised at start."""

    def __init__(self, *defects: str) -> None:
        super().__init__("; ".join(defects))
        self.defects = defects


def operation_outcome(code: str, message: str) -> dict[str, Any]:
    """A FHIR R4 OperationOutcome with one error issue (FHIR R4, OperationOutcome)."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": message}],
    }
