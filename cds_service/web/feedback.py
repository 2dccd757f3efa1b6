"""Where an EHR reports what became of a card: kept first, and answered only then."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response

from cds_service.advisor import Advisor
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.request import service_at
from cds_service.hooks.strict_json import read_json

if TYPE_CHECKING:
    from cds_service.audit import Audit

_log = logging.getLogger(__name__)
# One site, until callers can be told apart.
_TENANT = "default"


def feedback_on(
    advisor: Advisor, audit: Audit, read_body: Callable[[], bytes], answer: Callable[[dict[str, Any]], Response]
) -> Blueprint:
    """POST /cds-services/{id}/feedback. `read_body` and `answer` are those of the front door."""
    feedback = Blueprint("feedback", __name__, url_prefix="/cds-services")

    @feedback.post("/<service_id>/feedback")
    def report(service_id: str) -> Response:
        service = service_at(service_id).id
        items, refused = parse_feedback(read_json(read_body()))
        kept = audit.keep(_TENANT, service, items, advisor.clock(), comments=advisor.site.feedback.keep_comments)
        _log.info("feedback: %d kept, %d repeated, %d refused", kept.kept, kept.repeated, len(refused))
        told: dict[str, Any] = {"kept": kept.kept, "repeated": kept.repeated}
        if refused:
            told["refused"] = [{"item": one.item, "because": one.because} for one in refused]
        return answer(told)

    return feedback
