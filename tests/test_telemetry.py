"""When traces are sent, and where to: by the variables that OpenTelemetry has for it, or not at all."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from flask import Flask
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from real_server import Handler, listening
from werkzeug.test import Client

from cds_service import telemetry
from cds_service.__main__ import main
from cds_service.errors import SiteUnfit
from cds_service.telemetry import asked_for, defects, fit_to_trace, span, tracing


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "cds"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "OTLP", "OTEL_EXPORTER_OTLP_PROTOCOL": ""}, True),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_traces_are_sent_where_the_environment_asks_for_them(environment: dict[str, str], asked: bool) -> None:
    assert asked_for(environment) is asked
    assert list(defects(environment)) == []


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "otlp,console"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line(environment: dict[str, str], name: str) -> None:
    with pytest.raises(SiteUnfit) as refused:
        fit_to_trace(environment)

    (line,) = refused.value.defects
    assert line.startswith(f"{name}: ")


def test_serve_refuses_in_one_line_when_the_extra_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "opentelemetry" in name else found(name))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setattr(sys, "argv", ["cds-service", "serve", "--insecure", "--port", "0"])

    with pytest.raises(SystemExit) as end:
        main()

    told = capsys.readouterr()
    assert (end.value.code, told.out, told.err.count("\n")) == (1, "", 1)
    assert "pip install 'cds-service[telemetry]'" in told.err


def test_without_being_asked_nothing_of_it_is_imported() -> None:
    package = Path(telemetry.__file__).parent
    users = [path.name for path in package.rglob("*.py") if "import opentelemetry" in path.read_text(encoding="utf-8")]
    users += [path.name for path in package.rglob("*.py") if "from opentelemetry" in path.read_text(encoding="utf-8")]
    script = "import sys, cds_service.telemetry as telemetry\nwith telemetry.tracing({}):\n    pass\n"
    script += "print([name for name in sys.modules if name.startswith('opentelemetry')])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert set(users) == {"telemetry.py"}
    assert done.stdout == "[]\n"


# ---- Over the wire


class Collector(Handler):
    """Takes traces as a collector does, and keeps them."""

    taken: ClassVar[list[tuple[str, ExportTraceServiceRequest]]]

    def page(self, body: bytes) -> tuple[int, str, bytes]:
        self.taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
        return 200, "application/x-protobuf", b""


def app() -> Flask:
    made = Flask(__name__)

    @made.get("/patients/<id_>")
    @span("read")
    def one(id_: str) -> str:
        return id_

    return made


@pytest.mark.parametrize("named", [None, "cds-north"])
def test_a_collector_gets_the_spans_under_the_name_of_the_service(
    named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Collector.taken = []
    with listening(Collector) as address:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        environment |= {"OTEL_SERVICE_NAME": named} if named else {}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with tracing(environment) as traced:
            assert Client(traced(app())).get("/patients/anna").text == "anna"

    ((path, request),) = Collector.taken
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == (named or "cds-service")
    assert attributes["service.version"]
    names = [one.name for scope in resource.scope_spans for one in scope.spans]
    assert sorted(names) == ["GET /patients/<id_>", "read"]
    assert b"anna" not in request.SerializeToString()


def test_a_collector_that_is_down_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr(telemetry, "_PATIENCE_SECONDS", 0.05)

    with tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}) as traced:
        assert Client(traced(app())).get("/patients/anna").text == "anna"
