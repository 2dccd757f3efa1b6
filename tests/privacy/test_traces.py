"""Traces tell where the time of a call went, and nothing of whom it was about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from canaries import Flock, headers, in_call, with_leave
from conftest import NOON
from ehr import Ehr, request_for
from encoding import Json, read_cases, site_of
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from real_server import Handler, listening
from werkzeug.test import Client

from cds_service.advisor import Advisor
from cds_service.explanations import Explanations
from cds_service.knowledge import Knowledge
from cds_service.records import Pseudonyms, Records
from cds_service.records.memory import Memory
from cds_service.rendering.wording import Wording
from cds_service.settings import Site, Terms
from cds_service.telemetry import tracing
from cds_service.web.app import create_app
from cds_service.web.house import House

CASE = next(case for case in read_cases() if case.id == "V01")
SERVICE = "/cds-services/ppd-delivery-order"
ASKED_FOR = {"OTEL_TRACES_EXPORTER": "otlp"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# All that a span may hold: names of ours, and the templates of our routes.
KEYS = {
    "http.request.method", "http.response.status_code", "http.route", "error.type",
    "cds.tenant", "cds.correlation_id", "cds.service", "cds.hook", "cds.outcome", "cds.cards", "cds.duration_ms",
}  # fmt: skip


class Traced:
    """A service with all its stores that is traced, and what its traces say."""

    def __init__(self, knowledge: Knowledge, wording: Wording, **site: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.records = Records.in_memory()
        terms = Terms("north", "https://ehr.example.org")
        memory = Memory(self.records.trail, Pseudonyms(b"k" * 32), terms)
        explanations = Explanations.in_memory("https://cds.example.org")
        place = Site.from_table(site_of(CASE) | site)
        self.advisor = Advisor(
            knowledge, wording, place, lambda: NOON, explanations=explanations, memory=memory, terms=terms
        )
        self.app = create_app(House({"north": self.advisor}), records=self.records)
        self.request = request_for(CASE, NOON, self.advisor.discovery())

    def spans(self, *calls: Json, environment: dict[str, str] = ASKED_FOR) -> list[ReadableSpan]:
        """What these calls leave behind; each is what a client of Werkzeug takes."""
        self.exporter.clear()
        with tracing(environment, self.exporter) as traced:
            client = Client(traced(self.app))
            for call in calls:
                client.open(**call)
        return list(self.exporter.get_finished_spans())

    def post(self, body: Any, path: str = SERVICE, **more: Any) -> Json:
        return {"path": path, "method": "POST", "json": body, **more}


@pytest.fixture
def service(knowledge: Knowledge, wording: Wording) -> Iterator[Traced]:
    made = Traced(knowledge, wording)
    yield made
    made.records.close()


def text_of(spans: list[ReadableSpan]) -> str:
    return "\n".join(span.to_json() for span in spans)


def test_a_call_is_a_span_with_one_below_it_for_each_step(service: Traced) -> None:
    spans = service.spans(service.post(service.request))

    *steps, call = spans
    assert call.name == "POST /cds-services/<service_id>"
    assert [step.name for step in steps] == ["read", "evaluate", "render", "record"]
    assert {step.parent.span_id for step in steps if step.parent} == {call.context.span_id}
    told = dict(call.attributes or {})
    assert set(told) <= KEYS
    assert (told["http.route"], told["http.response.status_code"]) == ("/cds-services/<service_id>", 200)
    assert (told["cds.tenant"], told["cds.hook"], told["cds.outcome"]) == ("north", "order-select", "advised")
    assert call.resource.attributes["service.name"] == "cds-service"


def test_a_trace_that_the_caller_began_goes_on(service: Traced) -> None:
    begun = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "ehr=Zebrafinch", "baggage": "mrn=Zebrafinch"}

    (span,) = service.spans({"path": "/version", "headers": begun})

    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert "Zebrafinch" not in text_of([span])


@pytest.mark.parametrize("odd", ["", "Zebrafinch", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01", "00-é-é-01"])
def test_an_odd_traceparent_begins_a_trace_of_our_own(odd: str, service: Traced) -> None:
    (span,) = service.spans({"path": "/version", "headers": {"traceparent": odd}})

    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE


def test_a_caller_who_does_not_sample_leaves_no_span(service: Traced) -> None:
    assert service.spans({"path": "/version", "headers": {"traceparent": f"00-{TRACE}-{PARENT}-00"}}) == []


def test_an_accident_is_marked_without_its_words(service: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("Zebrafinch")

    monkeypatch.setattr("cds_service.advisor.derive", broken)
    request = service.request | {"hook": "patient-view"}
    spans = service.spans(service.post(request, "/cds-services/ppd-chart-review"))

    marked = {span.name: span.status.status_code.name for span in spans}
    assert marked["evaluate"] == "ERROR"
    assert marked["POST /cds-services/<service_id>"] == "ERROR"
    assert "ValueError" in text_of(spans)
    assert "Zebrafinch" not in text_of(spans)


def test_off_it_costs_nothing_and_leaves_nothing(service: Traced) -> None:
    for environment in ({}, {"OTEL_SDK_DISABLED": "true", **ASKED_FOR}, {"OTEL_TRACES_EXPORTER": "none"}):
        with tracing(environment, service.exporter) as traced:
            assert traced(service.app) is service.app
        assert service.spans(service.post(service.request), environment=environment) == []


def test_no_word_of_a_patient_gets_into_a_span(knowledge: Knowledge, wording: Wording, record_property: Any) -> None:
    flock = Flock()

    class Serve(Handler):
        def page(self, body: bytes) -> tuple[int, str, bytes]:  # noqa: ARG002
            query = self.path.partition("/fhir/")[2]
            if query.startswith("Procedure"):
                return 500, "text/html", flock("a page of HTML").encode()
            return 200, "application/fhir+json", json.dumps(ehr.get(query)).encode()

    with listening(Serve) as address:
        base = f"{address}/fhir"
        service = Traced(knowledge, wording, ehr={"servers": [base], "budget_ms": 5000})
        planted = in_call(service.request, flock)
        chart = [e["resource"] for bundle in planted["prefetch"].values() for e in bundle.get("entry", [])]
        chart += [planted["prefetch"]["patient"], planted["prefetch"]["encounter"]]
        ehr = Ehr({planted["context"]["patientId"]: [one for one in chart if one.get("id")]})
        reading = with_leave({**planted, "prefetch": {}}, base, flock)
        around = headers(flock)
        link = f"/consultations/{flock('an explanation')}"
        calls = [
            service.post(planted, headers=around, query_string={"q": flock("a query")}),
            service.post(reading, headers=around),
            service.post({"hook": flock("a hook")}, headers=around),
            service.post(planted, f"/cds-services/{flock('a service')}", headers=around),
            service.post({"feedback": [{"card": flock("a card")}]}, f"{SERVICE}/feedback", headers=around),
            {"path": link, "headers": around, "query_string": {"signature": flock("a signature of a link")}},
            {"path": f"/{flock('a path')}", "method": "GET", "headers": around},
            {"path": "/version", "method": "BREW"},
        ]
        spans = service.spans(*calls)
    service.records.close()

    told = text_of(spans)
    assert flock.found_in(told) == []
    names = {span.name for span in spans}
    assert names >= {"GET /consultations/<id_>", "POST /cds-services/<service_id>/feedback", "GET", "_OTHER"}
    assert all(set(span.attributes or {}) <= KEYS for span in spans)
    read = next(span for span in spans if span.name == "read" and span.events)
    assert {event.name for event in read.events} >= {"fhir_read"}
    line = f"traces: {len(flock.words)} canaries planted, none in {len(spans)} spans ({len(told):,} characters)"
    record_property("safety", line)
