"""What is counted: the same events that are logged, under names of a closed list, for whoever may see them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ehr import request_for
from encoding import read_cases
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from cds_service.advisor import Advisor
from cds_service.errors import Refusal
from cds_service.events import Event, about, listen, tell
from cds_service.knowledge import Knowledge
from cds_service.web.app import create_app
from cds_service.web.metrics import Metrics, metrics_at

CASE = next(case for case in read_cases() if case.id == "V01")
TOKEN = "a-token-for-the-metrics"  # noqa: S105  (of this test alone)
# The names that dashboards ask for, with their labels.
NAMES = {
    "cds_hook_requests_total": {"service", "hook", "tenant", "outcome"},
    "cds_hook_duration_seconds_count": {"service"},
    "cds_cards_returned_total": {"topic", "indicator", "rule_version"},
    "cds_not_evaluated_total": {"reason"},
    "cds_feedback_total": {"outcome", "reason"},
    "fhir_client_requests_total": {"tenant", "resource", "status"},
    "fhir_client_duration_seconds_count": {"resource"},
    "jwks_refresh_total": {"outcome"},
    "auth_failures_total": {"reason"},
    "knowledge_info": {"version", "hash"},
    "knowledge_expires_timestamp_seconds": set(),
}


@pytest.fixture
def metrics(knowledge: Knowledge) -> Iterator[Metrics]:
    """Metrics that listen, for two tenants."""
    made = Metrics(knowledge, ("north", "south"))
    stop = listen(made.hear)
    yield made
    stop()


def samples(exposition: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Each series by its name and labels, as Prometheus' own parser reads it."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics.exposition()).get(name, {}).get(tuple(sorted(labels.items())))


def tell_of_everything(knowledge: Knowledge) -> None:
    with about(tenant="north"):
        tell(Event.CALL, service="ppd-order-check", hook="order-sign", status=200, outcome="advised", duration_ms=7.5)
        tell(Event.FHIR_READ, resource="Observation", status="200", duration_ms=30.0)
    tell(Event.CARD_RETURNED, topic="KETORDER", indicator="warning", rule_version=knowledge.version)
    tell(Event.NOT_EVALUATED, reason="not-relevant")
    tell(Event.OUTCOME_KEPT, outcome="overridden", reason="patient-refuses")
    tell(Event.KEYS_REFRESHED, count=2)
    tell(Event.KEYS_UNAVAILABLE, error="TimeoutError")
    tell(Event.KEYS_REJECTED, reason="x")
    tell(Event.CALLER_REFUSED, reason=next(iter(Refusal)).value)
    tell(Event.KNOWLEDGE, version=knowledge.version, hash=knowledge.hash, expires=1_795_435_200.0)


# ---- What is counted


def test_each_name_that_a_dashboard_asks_for_is_there_with_its_labels(metrics: Metrics, knowledge: Knowledge) -> None:
    tell_of_everything(knowledge)
    found = samples(metrics.exposition())

    for name, labels in NAMES.items():
        assert found.get(name), name
        assert {label for series in found[name] for label, _ in series} == labels, name


def test_each_event_is_counted_once_where_it_belongs(metrics: Metrics, knowledge: Knowledge) -> None:
    tell_of_everything(knowledge)
    call = {"service": "ppd-order-check", "hook": "order-sign", "tenant": "north", "outcome": "advised"}
    card = {"topic": "KETORDER", "indicator": "warning", "rule_version": knowledge.version}

    assert value(metrics, "cds_hook_requests_total", **call) == 1
    assert value(metrics, "cds_hook_duration_seconds_sum", service="ppd-order-check") == 0.0075
    assert value(metrics, "cds_cards_returned_total", **card) == 1
    assert value(metrics, "cds_not_evaluated_total", reason="not-relevant") == 1
    assert value(metrics, "cds_feedback_total", outcome="overridden", reason="patient-refuses") == 1
    assert value(metrics, "fhir_client_requests_total", tenant="north", resource="Observation", status="200") == 1
    assert value(metrics, "fhir_client_duration_seconds_sum", resource="Observation") == 0.03
    assert value(metrics, "auth_failures_total", reason=next(iter(Refusal)).value) == 1
    assert [
        value(metrics, "jwks_refresh_total", outcome=word) for word in ("refreshed", "unavailable", "rejected")
    ] == [
        1,
        1,
        1,
    ]
    assert value(metrics, "knowledge_info", version=knowledge.version, hash=knowledge.hash) == 1
    assert value(metrics, "knowledge_expires_timestamp_seconds") == 1_795_435_200


@pytest.mark.parametrize(
    ("ms", "bucket", "counted"), [(5, "0.005", 1), (5.1, "0.005", 0), (5_000, "5.0", 1), (5_001, "5.0", 0)]
)
def test_the_buckets_reach_from_5_ms_to_5_s(ms: float, bucket: str, counted: int, metrics: Metrics) -> None:
    tell(Event.CALL, service="ppd-discharge", duration_ms=ms)

    assert value(metrics, "cds_hook_duration_seconds_bucket", service="ppd-discharge", le=bucket) == counted
    assert value(metrics, "cds_hook_duration_seconds_bucket", service="ppd-discharge", le="+Inf") == 1


def test_a_real_call_is_counted_with_its_cards(metrics: Metrics, advisor: Advisor) -> None:
    answer = (
        create_app(advisor)
        .test_client()
        .post("/cds-services/ppd-delivery-order", json=request_for(CASE, advisor.clock(), advisor.discovery()))
    )
    cards = samples(metrics.exposition())["cds_cards_returned_total"]

    assert answer.status_code == 200
    shown = {(card["source"]["topic"]["code"], card["indicator"]) for card in answer.get_json()["cards"]}
    assert {(dict(labels)["topic"], dict(labels)["indicator"]) for labels in cards} == shown
    assert shown
    calls = samples(metrics.exposition())["cds_hook_requests_total"]
    assert [dict(labels)["outcome"] for labels in calls] == ["advised"]


@pytest.mark.parametrize("event", Event)
def test_an_event_that_tells_nothing_costs_nothing(event: Event, metrics: Metrics) -> None:
    failed: list[Event] = []
    stop = listen(lambda heard, _: failed.append(heard))
    tell(event)
    stop()
    metrics.hear(event, {})

    assert failed == [event]


# ---- A closed list


def test_ten_thousand_odd_values_make_no_series_more_than_other(metrics: Metrics) -> None:
    for number in range(10_000):
        odd: dict[str, Any] = {"service": f"s{number}", "hook": f"h{number}", "outcome": f"o{number}"}
        with about(tenant=f"t{number}"):
            tell(Event.CALL, **odd, duration_ms=1)
            tell(Event.FHIR_READ, resource=f"Zebra{number}", status=f"{number}", duration_ms=1)
        tell(Event.CARD_RETURNED, topic=f"T{number}", indicator=f"i{number}", rule_version=f"{number}.0.0")
        tell(Event.NOT_EVALUATED, reason=f"r{number}")
        tell(Event.OUTCOME_KEPT, outcome=f"o{number}", reason=f"r{number}")
        tell(Event.CALLER_REFUSED, reason=f"r{number}")
        tell(Event.KNOWLEDGE, version=f"{number}", hash=f"sha256:{number}")
    found = samples(metrics.exposition())
    labels = [label for series in found.values() for one in series for label, _ in one]
    words = {word for series in found.values() for one in series for label, word in one if label != "le"}

    # 200 and 404 and the like are statuses of a server, and among the 10,000.
    assert {word for word in words if not word.isdigit()} == {"other"}
    assert {int(word) for word in words if word.isdigit()} <= {200, 400, 401, 403, 404, 410, 429, 500, 502, 503, 504}
    assert value(metrics, "cds_not_evaluated_total", reason="other") == 10_000
    assert sum(map(len, found.values())) < 100
    assert labels


def test_the_tenants_may_change_while_it_runs(metrics: Metrics) -> None:
    read = {"resource": "Patient", "status": "200"}
    for known in (frozenset({"north"}), frozenset({"north", "east"})):
        metrics.tenants = known
        with about(tenant="east"):
            tell(Event.FHIR_READ, **read, duration_ms=1)

    assert value(metrics, "fhir_client_requests_total", tenant="other", **read) == 1
    assert value(metrics, "fhir_client_requests_total", tenant="east", **read) == 1


# ---- Who may see it


def door(metrics: Metrics, token: str | None) -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(metrics_at(metrics, token))
    return app.test_client()


def test_without_a_token_everybody_may_read(metrics: Metrics) -> None:
    answer = door(metrics, None).get("/metrics")

    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=1.0.0")
    assert samples(answer.get_data()) == samples(metrics.exposition())


def test_with_a_token_only_who_brings_it(metrics: Metrics) -> None:
    answer = door(metrics, TOKEN).get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [TOKEN],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"Bearer {TOKEN.upper()}"],
        [f"Basic {TOKEN}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        ["Bearer other", f"Bearer {TOKEN}"],
        ["Bearer \xe9"],
    ],
)
def test_anybody_else_hears_401_and_nothing_more(given: list[str], metrics: Metrics) -> None:
    answer = door(metrics, TOKEN).get("/metrics", headers=[("Authorization", one) for one in given])

    assert (answer.status_code, answer.get_data()) == (401, b"")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Content-Type" not in answer.headers


# ---- Several processes

COUNTS = """
import sys
from cds_service.events import Event, about, listen, tell
from cds_service.knowledge import load_knowledge
from cds_service.web.metrics import Metrics
knowledge = load_knowledge()
metrics = Metrics(knowledge, ("north",))
listen(metrics.hear)
tell(Event.KNOWLEDGE, version=knowledge.version, hash=knowledge.hash, expires=float(sys.argv[2]))
for _ in range(int(sys.argv[1])):
    with about(tenant="north"):
        tell(Event.CALL, service="ppd-discharge", hook="encounter-discharge", outcome="nothing", duration_ms=20)
sys.stdout.buffer.write(metrics.exposition())
"""


def test_several_processes_are_counted_together(tmp_path: Path, knowledge: Knowledge) -> None:
    exposed = b""
    for calls, expires in ((3, 200), (4, 100), (5, 300)):
        done = subprocess.run(
            [sys.executable, "-c", COUNTS, str(calls), str(expires)],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            capture_output=True,
            check=True,
        )
        exposed = done.stdout
    found = samples(exposed)

    assert list(found["cds_hook_requests_total"].values()) == [12]
    assert list(found["cds_hook_duration_seconds_count"].values()) == [12]
    assert found["knowledge_info"] == {(("hash", knowledge.hash), ("version", knowledge.version)): 1}
    assert list(found["knowledge_expires_timestamp_seconds"].values()) == [100]
