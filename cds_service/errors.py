"""
Everything that can go wrong, as one tree.

ServiceError
├── CallerRefused
├── RequestUnreadable
├── ServiceUnknown
├── ChartUnavailable
├── StoreUnavailable
├── Overloaded
├── ExplanationGone
├── KnowledgeUnfit
└── SiteUnfit

All but the last two answer a caller: each has an HTTP status and an OperationOutcome code. The last two are raised
at start, never while a clinician waits. A message says what is missing and where it was expected. It never
holds a value from a chart.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar


class ServiceError(Exception):
    """The root. `status` is the HTTP status; `code` is the FHIR IssueType that the caller gets."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "exception"


class Refusal(StrEnum):
    """Why a caller was not let in. For our own log and counters: who asks in vain is not told how to ask better."""

    NO_HEADER = "no-header"
    SEVERAL_HEADERS = "several-headers"
    NOT_BEARER = "not-bearer"
    TOO_LONG = "too-long"
    NOT_A_TOKEN = "not-a-token"  # noqa: S105
    HEADER_UNREADABLE = "header-unreadable"
    HEADER_FORBIDDEN = "header-forbidden"
    TYPE = "type"
    ALGORITHM = "algorithm"
    KEY_ID = "key-id"
    KEY_PLACE = "key-place"
    KEY_UNKNOWN = "key-unknown"
    KEY_UNFIT = "key-unfit"
    KEYS_UNAVAILABLE = "keys-unavailable"
    SIGNATURE = "signature"
    CLAIMS_UNREADABLE = "claims-unreadable"
    CLAIM_MISSING = "claim-missing"
    CLAIM_UNFIT = "claim-unfit"
    ISSUER = "issuer"
    TENANT = "tenant"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    ISSUED_AHEAD = "issued-ahead"
    LIVES_TOO_LONG = "lives-too-long"
    NOT_YET = "not-yet"
    REPLAYED = "replayed"


class CallerRefused(ServiceError):
    """The caller has not shown who it is. `reason` is for us: the message, which might get out, says nothing."""

    status = 401
    code = "login"

    def __init__(self, reason: Refusal) -> None:
        super().__init__("the caller is not let in")
        self.reason = reason


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
    """
    The database cannot be had now. What was sent has not been kept, and should be sent again.

    `tenant` is who asked, for our log, where that had been verified by then.
    """

    tenant: str | None = None
    status = 503
    code = "transient"


class Overloaded(ServiceError):
    """More is asked than can be answered in time. Nothing was done; it may be asked again."""

    status = 503
    code = "throttled"


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
