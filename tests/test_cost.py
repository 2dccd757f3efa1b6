"""
What a call costs, in calls of functions: on every machine the same, so that a step that got dearer is noticed.

Milliseconds are measured by benchmarks/run.py. A budget here is what it cost when it was last looked at, and a tenth
more, since another version of Python or of a library counts a little differently. Whoever needs more says why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from cds_service.advisor import Advisor, Answer

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from body import not_relevant, order_select, order_sign

SERVICE = "ppd-delivery-order"


def calls_of(what: Callable[[], Answer]) -> int:
    """How many functions were called, Python's own among them."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        what()
    finally:
        sys.setprofile(before)
    return count


def cost(advisor: Advisor, body: bytes, service: str = SERVICE) -> int:
    """The calls for one body, once whatever is remembered from call to call has been."""
    for _ in range(2):
        advisor.answer(service, body)
    return calls_of(lambda: advisor.answer(service, body))


@pytest.mark.parametrize(
    ("call", "outcome", "budget"),
    [
        pytest.param(order_select, "advised", 18_800, id="the whole chart is read, and the longest card is written"),
        pytest.param(not_relevant, "not-relevant", 2_330, id="none of our business"),
    ],
)
def test_a_call_costs_no_more_than_it_did(
    advisor: Advisor, now: datetime, call: Callable[[datetime], bytes], outcome: str, budget: int
) -> None:
    body = call(now)
    assert advisor.answer(SERVICE, body).outcome == outcome

    assert cost(advisor, body) <= budget


def test_cost_grows_no_faster_than_the_chart(advisor: Advisor, now: datetime) -> None:
    """35 KB, and thirty times as much."""
    small, large = order_select(now), order_select(now, kilobytes=1_000)

    assert cost(advisor, large) / cost(advisor, small) <= len(large) / len(small)


def test_cost_grows_no_faster_than_the_versions_of_one_entry(advisor: Advisor, now: datetime) -> None:
    """Each of another content under the same id: a hundred, and a thousand."""

    def versions(count: int) -> bytes:
        call = json.loads(order_select(now))
        for number in range(count):
            version = {"resourceType": "Condition", "id": "one", "code": {"text": f"finding {number}"}}
            call["prefetch"]["problems"].setdefault("entry", []).append({"resource": version})
        return json.dumps(call).encode()

    assert cost(advisor, versions(1_000)) <= 10 * cost(advisor, versions(100))


def test_cost_grows_no_faster_than_the_orders_that_are_signed(advisor: Advisor, now: datetime) -> None:
    """Ten drafts, and a hundred."""
    few, many = (cost(advisor, order_sign(now, drafts), "ppd-order-check") for drafts in (10, 100))

    assert many <= 10 * few
