"""When too many wait, whoever comes next is told at once, and when to come again."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from cds_service.advisor import Advisor
from cds_service.events import Event, listen
from cds_service.web.app import create_app
from cds_service.web.load import MOST_WAITING, Load

CALL = "/cds-services/ppd-chart-review"


@pytest.fixture
def load() -> Load:
    return Load()


@pytest.fixture
def door(advisor: Advisor, load: Load) -> FlaskClient:
    return create_app(advisor, load=load).test_client()


@pytest.mark.parametrize(("waiting", "status"), [(0, 200), (MOST_WAITING, 200), (MOST_WAITING + 1, 503)])
def test_the_longest_queue_is_still_served_and_one_more_is_not(
    door: FlaskClient, load: Load, waiting: int, status: int
) -> None:
    load.waiting = lambda: waiting

    assert door.get("/cds-services").status_code == status


def test_who_is_turned_away_hears_when_to_come_again(door: FlaskClient, load: Load) -> None:
    load.waiting = lambda: MOST_WAITING + 1
    heard: list[Event] = []
    stop = listen(lambda event, _: heard.append(event))
    answer = door.post(CALL, data=b"{", content_type="application/json")
    stop()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    (issue,) = answer.get_json(force=True)["issue"]
    assert issue["code"] == "throttled"
    assert heard == [Event.OVERLOADED, Event.CALL]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/version"])
def test_whoever_asks_how_it_is_gets_an_answer_all_the_same(door: FlaskClient, load: Load, path: str) -> None:
    load.waiting = lambda: 10 * MOST_WAITING

    assert door.get(path).status_code == 200
