"""Feedback in a database: kept before it is answered, once however often it comes, and without a patient's words."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from flask.testing import FlaskClient
from heard import all_of, events
from postgres import shut

from cds_service.advisor import Advisor
from cds_service.errors import StoreUnavailable
from cds_service.events import Event
from cds_service.hooks.feedback import Item, Reason
from cds_service.records import Kept, Records
from cds_service.records.schema import FEEDBACK
from cds_service.settings import Site
from cds_service.web.app import create_app

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
CANARY = "Jane Roe hears voices"
PATH = "/cds-services/ppd-delivery-order/feedback"
Place = Callable[[], str]
EAST = timezone(timedelta(hours=8))


def overridden(card: str = "c1", comment: str | None = None) -> Item:
    return Item(card, "overridden", at=NOW, reason=Reason("patient-refuses", "urn:reasons", comment))


def keep(records: Records, *items: Item, tenant: str = "t", comments: bool = False) -> Kept:
    return records.feedback.keep(tenant, "ppd-delivery-order", items, NOW, comments=comments)


# ---- The store


def test_what_was_kept_is_there_when_the_database_is_opened_again(place: str) -> None:
    first = Records.at(place)
    assert keep(first, overridden(), Item("c2", "accepted", "s1")) == Kept(2, 0)
    first.close()
    again = Records.at(place)
    rows = again.feedback.all()
    again.close()
    assert [(r["card"], r["suggestion"], r["outcome"], r["reason_code"], r["outcome_at"]) for r in rows] == [
        ("c1", "", "overridden", "patient-refuses", NOW),
        ("c2", "s1", "accepted", None, None),
    ]
    assert {row["received_at"] for row in rows} == {NOW}


def test_times_are_kept_in_utc_whatever_their_zone(records: Records) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=8)))
    records.feedback.keep("t", "s", [Item("c", "accepted", at=NOW)], elsewhere, comments=False)
    assert records.feedback.all()[0]["received_at"] == NOW
    assert records.feedback.all()[0]["received_at"].utcoffset() == timedelta(0)


@pytest.mark.conforms("B-2")
def test_a_repeat_counts_once_and_the_first_stands(records: Records) -> None:
    assert keep(records, overridden(), overridden()) == Kept(1, 1)
    later = Item("c1", "overridden", at=NOW + timedelta(days=1), reason=Reason("another"))
    assert keep(records, later) == Kept(0, 1)
    assert [row["reason_code"] for row in records.feedback.all()] == ["patient-refuses"]


def test_tenant_card_suggestion_and_outcome_each_make_another(records: Records) -> None:
    keep(records, Item("c1", "accepted", "s1"))
    others = [Item("c2", "accepted", "s1"), Item("c1", "accepted", "s2"), Item("c1", "overridden", "s1")]
    assert keep(records, *others, Item("c1", "accepted")) == Kept(4, 0)
    assert keep(records, Item("c1", "accepted", "s1"), tenant="another") == Kept(1, 0)


@pytest.mark.conforms("B-3")
def test_comments_are_dropped_unless_the_site_keeps_them(records: Records) -> None:
    keep(records, overridden("c1", CANARY))
    keep(records, overridden("c2", CANARY), comments=True)
    assert [row["comment"] for row in records.feedback.all()] == [None, CANARY]


def test_one_database_in_memory_serves_many_threads() -> None:
    records = Records.in_memory()
    items = [(overridden(), Item(f"c{n}", "accepted")) for n in range(16)]
    threads = [threading.Thread(target=keep, args=(records, *pair)) for pair in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records.feedback.all()) == 17


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """What each call returned or raised, when all begin at once. A call that never returns fails the test."""
    done: list[Any] = []
    start = threading.Barrier(len(calls))

    def one(call: Callable[[], Any]) -> None:
        start.wait()
        try:
            done.append(call())
        except Exception as failure:
            done.append(failure)

    threads = [threading.Thread(target=one, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    return done


def test_batches_with_the_same_cards_in_another_order_do_not_lock_each_other_out(records: Records) -> None:
    batch = [Item(f"c{n}", "accepted") for n in range(200)]
    for turn in range(5):
        cards = [Item(f"{turn}-{one.card}", one.outcome) for one in batch]
        told = in_threads(*[lambda cards=cards[::step]: keep(records, *cards) for step in (1, -1, 1, -1)])
        assert {type(one) for one in told} == {Kept}
        assert sum(one.kept for one in told) == 200


def test_the_first_of_two_in_one_batch_stands(records: Records) -> None:
    first, second = (Item("c", "overridden", reason=Reason(code)) for code in ("z-first", "a-second"))
    assert keep(records, Item("d", "accepted"), first, second) == Kept(2, 1)
    assert {row["card"]: row["reason_code"] for row in records.feedback.all()} == {"c": "z-first", "d": None}


def test_the_longest_names_of_the_widest_letters_fit(records: Records) -> None:
    card, suggestion = ("".join(chr(0x10000 + start + n) for n in range(256)) for start in (0, 256))
    assert keep(records, Item(card, "accepted", suggestion), tenant="\U0001f469" * 64) == Kept(1, 0)
    assert [(row["card"], row["suggestion"]) for row in records.feedback.all()] == [(card, suggestion)]


@pytest.mark.parametrize(("received", "left"), [(NOW - timedelta(microseconds=1), 0), (NOW, 1)])
def test_what_was_received_before_the_limit_goes_and_nothing_else(
    records: Records, received: datetime, left: int
) -> None:
    records.feedback.keep("t", "s", [Item("c", "accepted")], received.astimezone(EAST), comments=False)
    assert records.feedback.prune(NOW.astimezone(EAST)) == 1 - left
    assert len(records.feedback.all()) == left


def test_a_batch_of_nothing_keeps_nothing(records: Records) -> None:
    assert keep(records) == Kept(0, 0)
    assert records.feedback.all() == []


# ---- Over HTTP


@pytest.fixture
def door(advisor: Advisor, records: Records) -> FlaskClient:
    return create_app(advisor, records=records).test_client()


def batch(*items: Any) -> Any:
    return {"feedback": list(items)}


def item(card: str = "c1", **more: Any) -> Any:
    return {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-11-23T12:00:00Z", **more}


def accepted(card: str, suggestions: int) -> Any:
    return {"card": card, "outcome": "accepted", "acceptedSuggestions": [{"id": f"s{n}"} for n in range(suggestions)]}


@pytest.mark.parametrize(
    ("card", "is_ours"),
    [
        ("0B5A1F2E-0000-4000-8000-00000000000A", True),
        ("0b5a1f2e-0000-4000-8000-00000000000a", True),
        ("0B5A1F2E-0000-4000-8000-00000000000", False),
    ],
)
def test_a_uuid_is_the_same_in_either_case_and_any_other_id_is_as_it_was_sent(
    door: FlaskClient, records: Records, card: str, is_ours: bool
) -> None:
    told = {"card": card, "outcome": "accepted", "acceptedSuggestions": [{"id": card}]}
    assert door.post(PATH, json=batch(told)).get_json() == {"kept": 1, "repeated": 0}
    (row,) = records.feedback.all()
    assert row["card"] == row["suggestion"] == (card.lower() if is_ours else card)
    again = {**told, "card": card.lower(), "acceptedSuggestions": [{"id": card.lower()}]}
    assert door.post(PATH, json=batch(again)).get_json()["repeated"] == int(is_ours)


@pytest.mark.conforms("B-1", "B-2")
@pytest.mark.parametrize("path", [PATH, f"{PATH}/"])
def test_a_batch_with_a_bad_item_a_repeat_and_an_unknown_card(door: FlaskClient, records: Records, path: str) -> None:
    body = batch(item(), item(), "odd", {"card": "never shown", "outcome": "accepted"})
    answer = door.post(path, json=body)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.get_json() == {
        "kept": 2,
        "repeated": 1,
        "refused": [{"item": 2, "because": "it is not an object"}],
    }
    assert [(row["card"], row["service"], row["tenant"]) for row in records.feedback.all()] == [
        ("c1", "ppd-delivery-order", "default"),
        ("never shown", "ppd-delivery-order", "default"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/cds-services/unknown/feedback", batch(item()), 404),
        (PATH, batch(), 400),
        (PATH, batch({"card": CANARY}), 400),
        (PATH, [], 400),
        (PATH, batch(*[item()] * 1001), 413),
        (PATH, batch(*[accepted(f"c{n}", 50) for n in range(20)], item()), 413),
    ],
)
def test_a_bad_report_is_an_outcome_that_repeats_nothing(
    door: FlaskClient, records: Records, path: str, body: Any, status: int
) -> None:
    answer = door.post(path, json=body)
    assert (answer.status_code, answer.content_type) == (status, "application/fhir+json")
    assert CANARY not in answer.get_data(as_text=True)
    assert records.feedback.all() == []


def test_without_a_database_there_is_no_such_address(client: FlaskClient) -> None:
    assert client.post(PATH, json=batch(item())).status_code == 404


@pytest.mark.parametrize("keeps", [False, True])
def test_the_site_decides_about_comments(advisor: Advisor, records: Records, keeps: bool) -> None:
    site = Site.from_table({"country": "CN", "feedback": {"keep_comments": keeps}})
    door = create_app(Advisor(advisor.knowledge, advisor.wording, site, lambda: NOW), records=records).test_client()
    door.post(PATH, json=batch(item(overrideReason={"userComment": CANARY})))
    (row,) = records.feedback.all()
    assert row["comment"] == (CANARY if keeps else None)
    assert row["received_at"] == NOW


@pytest.mark.conforms("B-3")
def test_no_log_and_no_answer_holds_a_comment_a_code_or_a_card(
    door: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="sqlalchemy")  # it holds its tongue unless it is asked by name
    reason = {"reason": {"code": "CANARY-CODE", "system": "urn:CANARY"}, "userComment": CANARY}
    taken = {"card": "CANARY-3", "outcome": "accepted", "acceptedSuggestions": [{"id": "CANARY-4"}]}
    answer = door.post(PATH, json=batch(item("CANARY-CARD", overrideReason=reason), {"card": "CANARY-2"}, taken))
    assert answer.status_code == 200
    said = all_of(caplog) + answer.get_data(as_text=True)
    assert not re.search(f"CANARY|{CANARY}", said)
    assert "INSERT INTO feedback" in caplog.text
    (told,) = events(caplog, Event.FEEDBACK)
    assert (told["kept"], told["repeated"], told["refused"]) == (2, 0, 1)


def refused(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """503, when to come back, and no word of the driver's or of what was sent."""
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert answer.content_type == "application/fhir+json"
    (issue,) = answer.get_json(force=True)["issue"]
    assert (issue["severity"], issue["code"]) == ("error", "transient")
    assert issue["diagnostics"] == "feedback cannot be kept now; send it again later"
    told = events(caplog, Event.STORE_UNAVAILABLE)[-1]
    assert (told["store"], told["what"]) == ("feedback", "kept")
    assert "CANARY" not in all_of(caplog)


def test_a_file_that_was_taken_away_gets_503_until_it_is_back(
    advisor: Advisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "f.sqlite3"
    records = Records.at(str(file))
    door = create_app(advisor, records=records).test_client()
    assert door.post(PATH, json=batch(item("before"))).status_code == 200
    file.rename(tmp_path / "away")
    refused(door.post(PATH, json=batch(item("CANARY"))), caplog)
    assert not file.exists()
    file.write_bytes(b"")  # another file in its place is not it
    refused(door.post(PATH, json=batch(item("CANARY"))), caplog)
    (tmp_path / "away").rename(file)
    assert door.post(PATH, json=batch(item("after"))).get_json() == {"kept": 1, "repeated": 0}
    assert [row["card"] for row in records.feedback.all()] == ["before", "after"]
    records.close()


def test_a_server_that_lets_nobody_in_gets_503_until_it_does(
    advisor: Advisor, new_postgres: Place, caplog: pytest.LogCaptureFixture
) -> None:
    url = new_postgres()
    records = Records.at(url)
    door = create_app(advisor, records=records).test_client()
    assert door.post(PATH, json=batch(item("before"))).status_code == 200
    with shut(url):
        refused(door.post(PATH, json=batch(item("CANARY"))), caplog)
    assert door.post(PATH, json=batch(item("after"))).get_json() == {"kept": 1, "repeated": 0}
    assert [row["card"] for row in records.feedback.all()] == ["before", "after"]
    records.close()


def test_a_server_that_was_restarted_in_between_costs_no_report(new_postgres: Place) -> None:
    url = new_postgres()
    records = Records.at(url)
    assert keep(records, overridden("before")) == Kept(1, 0)
    with shut(url):
        pass  # the connection that the service holds is dead now, and nobody has told it
    assert keep(records, overridden("after")) == Kept(1, 0)
    records.close()


@pytest.mark.parametrize("lock", ["LOCK TABLE feedback", "INSERT INTO feedback {}"])
def test_a_table_that_somebody_holds_does_not_hold_the_service(
    advisor: Advisor, new_postgres: Place, caplog: pytest.LogCaptureFixture, lock: str
) -> None:
    url = new_postgres()
    records = Records.at(url)
    door = create_app(advisor, records=records)
    row = (
        "(tenant, service, card, suggestion, outcome, received_at) VALUES ('default', 's', 'CANARY', '', 'overridden', "
        "now())"
    )
    with psycopg.connect(url) as somebody:
        somebody.execute(lock.format(row))  # type: ignore[arg-type]
        (answer,) = in_threads(lambda: door.test_client().post(PATH, json=batch(item("CANARY"))))
        refused(answer, caplog)
        somebody.rollback()
    assert door.test_client().post(PATH, json=batch(item("CANARY"))).status_code == 200
    records.close()


def test_a_database_without_its_table_is_a_503_that_says_when_to_come_back(
    advisor: Advisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = Records.at(str(tmp_path / "f.sqlite3"))
    with records._database.transaction() as connection:
        FEEDBACK.drop(connection)
    answer = create_app(advisor, records=records).test_client().post(PATH, json=batch(item("CANARY")))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    outcome = answer.get_json(force=True)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == "transient"
    assert not re.search(r"CANARY|sql|table|feedback_once", answer.get_data(as_text=True), re.IGNORECASE)
    assert not re.search(r"CANARY|no such|feedback_once", all_of(caplog))
    with pytest.raises(StoreUnavailable):
        keep(records, overridden())


# ---- Exactly once, whoever dies

COMMAND = [sys.executable, "-m", "cds_service", "serve", "--insecure", "--port", "0"]


@contextlib.contextmanager
def serving(place: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A real service over this database, and where it listens."""
    environment = {**os.environ, "CDS_DATABASE": place}
    process = subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process, process.stdout.readline().split()[-1].removesuffix("/cds-services")
    finally:
        process.kill()
        process.communicate()


def report(bases: list[str], body: Any, kept: list[int]) -> None:
    """As an EHR does: again, to whoever is there, until somebody answers 200."""
    for attempt in range(100):
        with contextlib.suppress(requests.RequestException):
            answer = requests.post(bases[attempt % len(bases)] + PATH, json=body, timeout=20)
            if answer.status_code == 200:
                kept.append(answer.json()["kept"])
                return
    raise AssertionError("nobody answered 200")


def test_the_same_item_a_hundred_times_from_eight_threads_over_two_processes_is_one_row(place: str) -> None:
    """One process is killed in the middle. Each thread also reports items of its own: none of them may be lost."""
    kept: list[int] = []
    answered: list[str] = []
    failures: list[BaseException] = []
    with serving(place) as (first, one), serving(place) as (_, two):

        def caller(number: int) -> None:
            try:
                for turn in range(13):
                    bases = [one, two] if (number + turn) % 2 else [two, one]
                    report(bases, batch(item("the same")), kept)
                    own = f"{number}-{turn}"
                    report(bases, batch(item(own)), [])
                    answered.append(own)
                    if (number, turn) == (0, 5):
                        first.send_signal(signal.SIGKILL)
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(kept) == 104
    records = Records.at(place)
    cards = [row["card"] for row in records.feedback.all()]
    records.close()
    assert cards.count("the same") == 1
    assert sorted(cards) == sorted(["the same", *answered])
    assert len(answered) == 104
    # The process that kept it may have died before it could say so.
    assert sum(kept) <= 1


def test_the_demonstration_takes_feedback_and_forgets_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cds_service", "demo", "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        base = re.search(r"http://[^/]+", process.stdout.readline())[0]  # type: ignore[index]
        answer = requests.post(
            base + PATH, data=json.dumps(batch(item())), headers={"Content-Type": "application/json"}, timeout=20
        )
        assert answer.json() == {"kept": 1, "repeated": 0}
    finally:
        process.kill()
        process.communicate()
    assert list(tmp_path.iterdir()) == []
