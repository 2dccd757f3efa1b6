"""
Traces for whoever watches the service from outside: which call took how long, and where in it the time went.

Off, and nothing is imported, unless the standard variables of OpenTelemetry ask for it. A span holds what an event of
`cds_service.events` may hold, the template of a route, a method and a status: no URL, no header, no body, no error's
text. The trace goes on that the caller began (`traceparent`); what else the caller says about it is not taken over.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, Literal

from cds_service.errors import SiteUnfit
from cds_service.events import Event, listen

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

Step = Literal["read", "evaluate", "render", "record"]
Traced = Callable[["WSGIApplication"], "WSGIApplication"]

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS: Final = frozenset({"otlp", "console"})
_PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_NAME: Final = "cds-service"
# How long the last spans may take when the service leaves.
_PATIENCE_SECONDS: Final = 3.0
_tracer: Tracer | None = None


# --- is it asked for? -----------------------------------------------------------------------------


def asked_for(environment: Mapping[str, str]) -> bool:
    """Does the environment name an exporter, or a place to send traces to?"""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter != "none" and bool(exporter or any(environment.get(name) for name in _ENDPOINTS))


def defects(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What stands against the traces that are asked for: each in a line, and how it is mended."""
    if not asked_for(environment):
        return
    exporter = _exporter(environment)
    if exporter not in _EXPORTERS:
        yield "OTEL_TRACES_EXPORTER: neither otlp, console nor none", "write otlp"
    for name in _PROTOCOLS:
        if exporter == "otlp" and environment.get(name) not in (None, "", "http/protobuf"):
            yield (
                f"{name}: not http/protobuf, which is all that is spoken here",
                "unset it, and name the collector's HTTP port",
            )
    for name in _ENDPOINTS:
        if not re.fullmatch(r"(https?://[^\s/]+\S*)?", environment.get(name, "")):
            yield f"{name}: not an http or https URL", "write it as in http://collector:4318"
    if not _is_installed():
        yield "OTEL_TRACES_EXPORTER or an endpoint asks for traces, and OpenTelemetry is not installed", _INSTALL


def fit_to_trace(environment: Mapping[str, str]) -> None:
    """Raises SiteUnfit when traces are asked for and cannot be sent."""
    if unfit := [f"{line}: {mend}" for line, mend in defects(environment)]:
        raise SiteUnfit(*unfit)


def _exporter(environment: Mapping[str, str]) -> str:
    return environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"


_INSTALL: Final = "pip install 'cds-service[telemetry]'"


def _is_installed() -> bool:
    try:
        return all(importlib.util.find_spec(package) is not None for package in _PACKAGES)
    except ModuleNotFoundError:
        return False


# --- the spans ------------------------------------------------------------------------------------


@contextmanager
def span(step: Step) -> Iterator[None]:
    """A step of a call: a span of its own while traces are sent, and else nothing. Stands before a function, too."""
    if _tracer is None:
        yield
        return
    with _started(_tracer, step):
        yield


@contextmanager
def _started(tracer: Tracer, name: str, **more: Any) -> Iterator[Span]:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **more) as one:
        try:
            yield one
        except Exception as error:
            one.set_attribute("error.type", type(error).__name__)
            one.set_status(Status(StatusCode.ERROR))
            raise


@contextmanager
def tracing(environment: Mapping[str, str], exporter: SpanExporter | None = None) -> Iterator[Traced]:
    """
    While the block lasts, spans are sent as the environment says, or to this `exporter`. Gives what wraps the service.

    Raises SiteUnfit as `fit_to_trace`. Whoever receives them may be down: that costs spans, and never a card.
    """
    fit_to_trace(environment)
    if not asked_for(environment):
        yield lambda app: app
        return
    global _tracer  # noqa: PLW0603  (a process has one log, and one place where its traces go)
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=_resource(environment), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or _made(_exporter(environment))))
    stop = listen(_noted)
    _tracer = tracer = provider.get_tracer(_NAME)
    try:
        yield lambda app: _Watched(app, tracer)
    finally:
        _tracer = None
        stop()
        leaving = Thread(
            target=provider.shutdown, name="traces", daemon=True
        )  # a receiver that is down holds up nobody
        leaving.start()
        leaving.join(_PATIENCE_SECONDS)


def _resource(environment: Mapping[str, str]) -> Any:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {} if named else {"service.name": _NAME}
    return Resource.create({**own, "service.version": version(_NAME)})


def _made(exporter: str) -> SpanExporter:
    if exporter == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()  # type: ignore[no-any-return,unused-ignore]


def _noted(event: Event, fields: Mapping[str, Any]) -> None:
    """Whatever is told during a call stands on its span: what is logged and what is traced cannot drift apart."""
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    current = get_current_span()
    if not current.is_recording():
        return
    if event is Event.CALL:
        current.set_attributes({f"cds.{name}": value for name, value in fields.items() if name != "status"})
    else:
        current.add_event(event.value, {name: value for name, value in fields.items() if name != "tenant"})


class _Watched:
    """The service, with a span around each call."""

    def __init__(self, app: WSGIApplication, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        # `tracestate` and `baggage` may hold anything; `traceparent` is three numbers.
        begun = {"traceparent": environ.get("HTTP_TRACEPARENT", "")}
        method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in _METHODS else "_OTHER"

        def answered(status: str, headers: Any, *more: Any) -> Any:
            code = int(status.partition(" ")[0])
            one.set_attribute("http.response.status_code", code)
            if code >= 500:
                one.set_status(Status(StatusCode.ERROR))
            # Werkzeug leaves its request there. The path itself may name a patient, or open an explanation.
            rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
            if rule is not None:
                one.update_name(f"{method} {rule.rule}")
                one.set_attribute("http.route", rule.rule)
            return start_response(status, headers, *more)

        context = TraceContextTextMapPropagator().extract(begun)
        with _started(self._tracer, method, context=context, kind=SpanKind.SERVER) as one:
            one.set_attribute("http.request.method", method)
            return self._app(environ, answered)
