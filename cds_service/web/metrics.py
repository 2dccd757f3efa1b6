"""
What is counted, for Prometheus: it listens to the same events that are logged, so the two cannot drift apart.

Whatever is not in a closed list of ours is counted as "other". So no patient's word becomes a label, and nobody can
make the metrics grow without end.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from cds_service.ehr.client import READ_STATUSES, RESOURCES
from cds_service.errors import Refusal
from cds_service.events import REASONS, Event
from cds_service.hooks.request import HOOKS
from cds_service.knowledge import Knowledge

OTHER: Final = "other"
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
OUTCOMES: Final = frozenset(
    {"advised", "discovery", "failed", "feedback", "not-relevant", "nothing", "refused", "unavailable"}
)


class Metrics:
    """
    The counters of one process, or of all that share PROMETHEUS_MULTIPROC_DIR.

    `hear` is to be handed to `events.listen`. `tenants` are the ids that may be a label; it may be set anew when the
    tenants file is.
    """

    def __init__(self, knowledge: Knowledge, tenants: Collection[str]) -> None:
        self.tenants = frozenset(tenants)
        self.registry = registry = CollectorRegistry()
        self._words: Final[Mapping[str, Collection[str]]] = {
            "service": {service.id for service in HOOKS},
            "hook": {service.hook for service in HOOKS},
            "topic": {row.code for row in knowledge.topics.topic},
            "indicator": {"info", "warning", "critical"},
            "rule_version": {knowledge.version},
            "version": {knowledge.version},
            "hash": {knowledge.hash},
            "resource": RESOURCES,
            "status": READ_STATUSES,
        }
        self._calls = Counter(
            "cds_hook_requests_total",
            "Calls that were answered or refused.",
            ("service", "hook", "tenant", "outcome"),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "cds_hook_duration_seconds", "How long a call took.", ("service",), registry=registry, buckets=SECONDS
        )
        self._cards = Counter(
            "cds_cards_returned_total", "Cards shown.", ("topic", "indicator", "rule_version"), registry=registry
        )
        self._not_evaluated = Counter(
            "cds_not_evaluated_total", "Calls about which nothing was thought.", ("reason",), registry=registry
        )
        self._feedback = Counter(
            "cds_feedback_total", "What became of cards.", ("outcome", "reason"), registry=registry
        )
        self._reads = Counter(
            "fhir_client_requests_total",
            "Pages asked of FHIR servers.",
            ("tenant", "resource", "status"),
            registry=registry,
        )
        self._read_seconds = Histogram(
            "fhir_client_duration_seconds", "How long a page took.", ("resource",), registry=registry, buckets=SECONDS
        )
        self._keys = Counter("jwks_refresh_total", "Attempts to fetch public keys.", ("outcome",), registry=registry)
        self._refused = Counter("auth_failures_total", "Callers that were refused.", ("reason",), registry=registry)
        self._knowledge = Gauge(
            "knowledge_info",
            "The knowledge in use: always 1.",
            ("version", "hash"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._expires = Gauge(
            "knowledge_expires_timestamp_seconds",
            "When the first review of the knowledge is due.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._kept_back = Gauge(
            "tenants_file_kept_back",
            "1 while a changed tenants file, or one that it names, has defects and an older one is in force.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._hears: Final[Mapping[Event, Callable[[Mapping[str, Any]], None]]] = {
            Event.CALL: self._call,
            Event.CARD_RETURNED: self._card,
            Event.NOT_EVALUATED: lambda told: self._not_evaluated.labels(_known(told.get("reason"), OUTCOMES)).inc(),
            Event.OUTCOME_KEPT: self._outcome,
            Event.FHIR_READ: self._read,
            Event.KEYS_REFRESHED: lambda _: self._keys.labels("refreshed").inc(),
            Event.KEYS_UNAVAILABLE: lambda _: self._keys.labels("unavailable").inc(),
            Event.KEYS_REJECTED: lambda _: self._keys.labels("rejected").inc(),
            Event.CALLER_REFUSED: lambda told: self._refused.labels(_known(told.get("reason"), _REFUSALS)).inc(),
            Event.KNOWLEDGE: self._known_knowledge,
            Event.TENANTS_KEPT: lambda _: self._kept_back.set(1),
            Event.TENANTS_RELOADED: lambda _: self._kept_back.set(0),
        }

    def hear(self, event: Event, told: Mapping[str, Any]) -> None:
        """Counts what is to be counted of this event."""
        if (counts := self._hears.get(event)) is not None:
            counts(told)

    def exposition(self) -> bytes:
        """All that was counted, in Prometheus' text format: of this process, or of all that share the directory."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)

    def _label(self, name: str, told: Mapping[str, Any]) -> str:
        return _known(told.get(name), self.tenants if name == "tenant" else self._words[name])

    def _call(self, told: Mapping[str, Any]) -> None:
        service, outcome = self._label("service", told), _known(told.get("outcome"), OUTCOMES)
        self._calls.labels(service, self._label("hook", told), self._label("tenant", told), outcome).inc()
        self._call_seconds.labels(service).observe(told.get("duration_ms", 0) / 1000)

    def _card(self, told: Mapping[str, Any]) -> None:
        self._cards.labels(*(self._label(name, told) for name in ("topic", "indicator", "rule_version"))).inc()

    def _outcome(self, told: Mapping[str, Any]) -> None:
        outcome, reason = told.get("outcome", OTHER), told.get("reason", "none")
        self._feedback.labels(outcome, _known(reason, REASONS | {"none"})).inc()

    def _read(self, told: Mapping[str, Any]) -> None:
        resource = self._label("resource", told)
        self._reads.labels(self._label("tenant", told), resource, self._label("status", told)).inc()
        self._read_seconds.labels(resource).observe(told.get("duration_ms", 0) / 1000)

    def _known_knowledge(self, told: Mapping[str, Any]) -> None:
        self._knowledge.labels(self._label("version", told), self._label("hash", told)).set(1)
        if "expires" in told:
            self._expires.set(told["expires"])


_REFUSALS: Final = frozenset(refusal.value for refusal in Refusal)


def _known(value: object, words: Collection[str]) -> str:
    return value if isinstance(value, str) and value in words else OTHER


def metrics_at(metrics: Metrics, token: str | None) -> Blueprint:
    """GET /metrics. With a `token` it answers only to those who bring it as a Bearer token, and others hear 401."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def expose() -> Response:
        given = "\n".join(request.headers.getlist("Authorization"))
        if token is not None and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            refusal = Response(status=401, headers={"WWW-Authenticate": "Bearer"})
            del refusal.headers["Content-Type"]
            return refusal
        return Response(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)

    return blueprint
