"""Is this call any of our business, and is a clinician asking? Answered from the request alone, before the chart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cds_service.ehr.answers import answer_of
from cds_service.ehr.elements import Resource, codes_in, reference_of, relative, texts
from cds_service.ehr.reading.medicines import KETAMINES, Pool, concepts_of, is_for_prevention, medication_concepts
from cds_service.ehr.reading.ordered import is_anaesthesia_order, is_delivery_order
from cds_service.ehr.reading.orders import stands
from cds_service.hooks.request import HookRequest
from cds_service.knowledge import Knowledge

_ORDER_HOOKS: Final = frozenset({"order-select", "order-sign"})
# The user of patient-view may be the patient herself, or a relative: a risk card is not for them.
_NOT_CLINICIANS: Final = ("Patient/", "RelatedPerson/")


def is_clinician(request: HookRequest) -> bool:
    """Is the user somebody for whom these cards are written?"""
    return not request.user_id.startswith(_NOT_CLINICIANS)


def is_relevant(request: HookRequest, knowledge: Knowledge, *, offered: bool = False) -> bool:
    """
    At the order hooks: is a birth, or (es)ketamine for prevention, being picked or signed? Elsewhere: always.

    `offered`: this service offered the medicine to her within a day.
    """
    if request.hook not in _ORDER_HOOKS:
        return True
    pool = _pool(request)
    return any(
        _for_prevention(order, pool, knowledge, offered=offered)
        or is_delivery_order(order, pool, knowledge)
        or is_anaesthesia_order(order, knowledge)
        for order in picked(request)
    )


def orders_prevention(request: HookRequest, knowledge: Knowledge, *, offered: bool = False) -> bool:
    """Is (es)ketamine for prevention being picked or signed?"""
    pool = _pool(request)
    return any(_for_prevention(order, pool, knowledge, offered=offered) for order in picked(request))


def may_follow_an_offer(request: HookRequest, knowledge: Knowledge) -> bool:
    """Would an order that is being picked or signed be for prevention, had this service offered the medicine to her?"""
    if request.hook not in _ORDER_HOOKS or orders_prevention(request, knowledge):
        return False
    return orders_prevention(request, knowledge, offered=True)


def picked(request: HookRequest) -> tuple[Resource, ...]:
    """The orders that were just selected; at order-sign all of them are being signed."""
    if request.hook != "order-select":
        return request.draft_orders
    selected = {relative(text) for text in request.selections}
    return tuple(order for order in request.draft_orders if reference_of(order) in selected)


def _pool(request: HookRequest) -> Pool:
    """What came along: the Medications among the drafts, and in prefetch the Conditions that are a reason for one."""
    return Pool(request.draft_orders, _sent(request))


def _sent(request: HookRequest) -> Iterator[Resource]:
    """Every resource in prefetch, under whatever key."""
    for value in (*request.prefetch.values(), request.prefetch_bundle):
        for entry in answer_of(value).entries:
            if isinstance(entry, dict) and isinstance(resource := entry.get("resource"), dict):
                yield resource


def _for_prevention(order: Resource, pool: Pool, knowledge: Knowledge, *, offered: bool) -> bool:
    if order.get("resourceType") != "MedicationRequest" or not stands(order):
        return False
    if concepts_of(order, pool, knowledge) & KETAMINES:
        return is_for_prevention(order, pool, knowledge, offered=offered)
    # A bare reference to a Medication that did not come along (Epic until 2024): it may be (es)ketamine. It needs a
    # reason that says so: after an offer, every order of an unknown medicine would be taken for it.
    if "medicationReference" not in order or not is_for_prevention(order, pool, knowledge):
        return False
    return not any(_names(concept) for concept in medication_concepts(order, pool))


def _names(concept: object) -> bool:
    return bool(codes_in(concept)) or any(text.strip() for text in texts(concept))
