"""Where an EHR reports what became of a card: kept first, and answered only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cds_service.advisor import Advisor
from cds_service.events import Event, tell
from cds_service.hooks.feedback import parse_feedback
from cds_service.hooks.request import service_at
from cds_service.hooks.strict_json import read_json

if TYPE_CHECKING:
    from cds_service.records import Records


def take_feedback(advisor: Advisor, records: Records, service_id: str, body: bytes) -> dict[str, Any]:
    """
    What was kept of POST /cds-services/{id}/feedback. When this returns, it has been committed.

    Raises ServiceUnknown, RequestUnreadable; StoreUnavailable when it cannot be kept now.
    """
    service = service_at(service_id).id
    items, refused = parse_feedback(read_json(body))
    comments = advisor.site.feedback.keep_comments
    kept = records.feedback.keep(advisor.terms.tenant, service, items, advisor.clock(), comments=comments)
    tell(Event.FEEDBACK, service=service, kept=kept.kept, repeated=kept.repeated, refused=len(refused))
    for item in items:
        tell(Event.OUTCOME_KEPT, outcome=item.outcome, reason=item.reason.code)
    told: dict[str, Any] = {"kept": kept.kept, "repeated": kept.repeated}
    if refused:
        told["refused"] = [{"item": one.item, "because": one.because} for one in refused]
    return told
