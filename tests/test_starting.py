"""What is there when the service is ready stays; what a call leaves behind does not."""

from __future__ import annotations

import gc

from cds_service.starting import what_is_there_stays


def test_the_collector_comes_less_often_while_calls_are_answered_and_as_before_when_they_have_been() -> None:
    usual, passed_over = gc.get_threshold(), gc.get_freeze_count()

    with what_is_there_stays():
        assert gc.get_threshold()[0] > usual[0]
        assert gc.get_threshold()[1:] == usual[1:]
        assert gc.get_freeze_count() > passed_over + 10_000

    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0


def test_it_still_comes() -> None:
    """What points to itself is found, and memory does not grow for ever."""
    found = 0

    def count(phase: str, told: dict[str, int]) -> None:
        nonlocal found
        found += told["collected"] if phase == "stop" else 0

    gc.callbacks.append(count)
    try:
        with what_is_there_stays():
            for _ in range(gc.get_threshold()[0] + 1):
                ring: list[object] = []
                ring.append(ring)
    finally:
        gc.callbacks.remove(count)

    assert found >= 19_000
