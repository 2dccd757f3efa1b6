"""
What may be written in the log, and what is counted: a closed list of events, each with the fields that it may have.

Whoever wants to say something about a call picks an event and fills its fields. There is no free text, so no name,
note, id or token of a patient's can slip into one. `tell` writes an event to the log and hands it to every listener.
The metrics are a listener: what is counted and what is logged cannot drift apart.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock
from types import TracebackType
from typing import Any, Final, TextIO

DEBUG: Final = logging.DEBUG
INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
ERROR: Final = logging.ERROR

Value = str | int | float | bool | None
Listener = Callable[["Event", Mapping[str, Any]], None]


class Event(StrEnum):
    """Everything that is ever told."""

    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"
    KNOWLEDGE = "knowledge"
    CALL = "call"
    CALLER_REFUSED = "caller_refused"
    OVERLOADED = "overloaded"
    CARD_RETURNED = "card_returned"
    NOT_EVALUATED = "not_evaluated"
    EVALUATION_FAILED = "evaluation_failed"
    UNEXPECTED = "unexpected"
    LISTENER_FAILED = "listener_failed"
    WARNED = "warned"
    FEEDBACK = "feedback"
    OUTCOME_KEPT = "outcome_kept"
    IDENTITY_MISMATCH = "identity_mismatch"
    OTHERS_PASSED_OVER = "others_passed_over"
    FHIR_READ = "fhir_read"
    FHIR_FAILED = "fhir_failed"
    FHIR_NO_THREAD = "fhir_no_thread"
    FHIR_SERVER_REFUSED = "fhir_server_refused"
    FHIR_TOKEN_EXPIRED = "fhir_token_expired"  # noqa: S105  (the name of an event)
    ADDRESS_REFUSED = "address_refused"
    EXPLANATION_NOT_KEPT = "explanation_not_kept"
    STORE_UNAVAILABLE = "store_unavailable"
    AUDIT_HEAD = "audit_head"
    KEYS_REFRESHED = "keys_refreshed"
    KEYS_UNAVAILABLE = "keys_unavailable"
    KEYS_REJECTED = "keys_rejected"
    INSIGHTS_OPENED = "insights_opened"
    INSIGHTS_REFUSED = "insights_refused"
    TENANTS_RELOADED = "tenants_reloaded"
    TENANTS_KEPT = "tenants_kept"


@dataclass(frozen=True, slots=True)
class Kind:
    """
    How loud an event is, the fields that it may have, and whether whoever watches for intruders wants to see it.

    A field is a number, or a text that is one of our words: a class name, a fixed sentence, an id from our own tables,
    the id of a tenant. Where others choose the text, the words that are told stand here, and any other is "other".
    """

    level: int = INFO
    fields: Mapping[str, type | frozenset[str]] = field(default_factory=dict)
    security: bool = False


# What a clinician may give as a reason: the codes of HL7's non-adherence-reason-codes that our cards offer, and its
# general one. An EHR may send any text as a code.
REASONS: Final = frozenset(
    {"action-completed", "cds-not-applicable", "inappropriate-recipient", "indication-order-exists", "limited-time"}
    | {"need-more-info", "patient-contraindication", "patient-ineligible", "patient-refuses", "policy-contradicts"}
    | {"prefers-alternative", "risk-benefit-ratio", "service-not-available", "wrong-time-workflow"}
)

# Durations are in milliseconds. A field without a value is left out.
KINDS: Final[Mapping[Event, Kind]] = {
    Event.STARTED: Kind(fields={"version": str, "mode": str, "processes": int, "threads": int, "tenants": int}),
    Event.STOPPING: Kind(fields={"waiting": int}),
    Event.STOPPED: Kind(fields={"unanswered": int}),
    # expires: Unix time, in seconds, at which the first review of the knowledge is due.
    Event.KNOWLEDGE: Kind(fields={"version": str, "hash": str, "expires": float}),
    Event.CALL: Kind(
        fields={"service": str, "hook": str, "status": int, "outcome": str, "duration_ms": float, "cards": int}
    ),
    Event.CALLER_REFUSED: Kind(WARNING, {"reason": str}, security=True),
    Event.OVERLOADED: Kind(WARNING, {"waiting": int}),
    Event.CARD_RETURNED: Kind(DEBUG, {"topic": str, "indicator": str, "rule_version": str}),
    Event.NOT_EVALUATED: Kind(fields={"reason": str}),
    Event.EVALUATION_FAILED: Kind(ERROR, {"error": str}),
    Event.UNEXPECTED: Kind(ERROR, {"error": str, "place": str}),
    Event.LISTENER_FAILED: Kind(ERROR, {"error": str}),
    Event.WARNED: Kind(WARNING, {"error": str}),
    Event.FEEDBACK: Kind(fields={"service": str, "kept": int, "repeated": int, "refused": int}),
    Event.OUTCOME_KEPT: Kind(DEBUG, {"outcome": frozenset({"accepted", "overridden"}), "reason": REASONS}),
    Event.IDENTITY_MISMATCH: Kind(WARNING, {"what": str}, security=True),
    Event.OTHERS_PASSED_OVER: Kind(WARNING, {"count": int}, security=True),
    Event.FHIR_READ: Kind(fields={"resource": str, "status": str, "duration_ms": float}),
    Event.FHIR_FAILED: Kind(ERROR, {"error": str}),
    Event.FHIR_NO_THREAD: Kind(ERROR),
    Event.FHIR_SERVER_REFUSED: Kind(WARNING, security=True),
    Event.FHIR_TOKEN_EXPIRED: Kind(WARNING),
    Event.ADDRESS_REFUSED: Kind(WARNING, security=True),
    Event.EXPLANATION_NOT_KEPT: Kind(ERROR),
    Event.STORE_UNAVAILABLE: Kind(ERROR, {"store": str, "what": str, "error": str, "sqlstate": str}),
    Event.AUDIT_HEAD: Kind(fields={"number": int, "hash": str}),
    Event.KEYS_REFRESHED: Kind(fields={"count": int}),
    Event.KEYS_UNAVAILABLE: Kind(WARNING, {"error": str}),
    Event.KEYS_REJECTED: Kind(WARNING, {"reason": str}, security=True),
    # Somebody signed in to read the numbers, or tried to.
    Event.INSIGHTS_OPENED: Kind(fields={"how": frozenset({"provider", "token"})}, security=True),
    Event.INSIGHTS_REFUSED: Kind(
        WARNING,
        {"reason": frozenset({"id-token", "not-listed", "provider", "session", "state", "token", "token-exchange"})},
        security=True,
    ),
    Event.TENANTS_RELOADED: Kind(fields={"count": int, "hash": str}),
    Event.TENANTS_KEPT: Kind(ERROR, {"defects": int}),
}
_ABOUT: Final[Mapping[str, type | frozenset[str]]] = {"tenant": str, "correlation_id": str}

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # until `log_to`, nothing is printed: a command line tells what it has to tell
_context: Final[ContextVar[Mapping[str, Any]]] = ContextVar("about", default={})  # noqa: B039  (never written to)
_listeners: tuple[Listener, ...] = ()
_turn: Final = Lock()


# --- telling --------------------------------------------------------------------------------------


def tell(event: Event, level: int | None = None, **fields: Value) -> None:
    """
    Writes the event to the log, and lets every listener hear it. Without a `level` it is as loud as it always is.

    Raises TypeError for a field that the event does not have, or one of another type: a mistake in this program, never
    in a chart.
    """
    kind = KINDS[event]
    told = {**_context.get(), **_checked(event, fields, kind.fields)}
    _write(event, kind.level if level is None else level, told)
    for listener in _listeners:
        try:
            listener(event, told)
        except Exception as error:  # a counter that fails costs a count, never a card
            _write(Event.LISTENER_FAILED, ERROR, {"error": type(error).__name__})


def listen(listener: Listener) -> Callable[[], None]:
    """From now on `listener` hears each event and its fields. Returns what ends that."""
    global _listeners  # noqa: PLW0603  (a process has one log, and one list of those who hear it)

    def heard(event: Event, fields: Mapping[str, Any]) -> None:  # of its own: the same one may listen twice
        listener(event, fields)

    def stop() -> None:
        global _listeners  # noqa: PLW0603
        with _turn:
            _listeners = tuple(one for one in _listeners if one is not heard)

    with _turn:
        _listeners = (*_listeners, heard)
    return stop


@contextmanager
def about(**fields: Value) -> Iterator[None]:
    """Whatever is told inside is about this `tenant` and this call (`correlation_id`). Raises TypeError as `tell`."""
    before = _context.set({**_context.get(), **_checked("about", fields, _ABOUT)})
    try:
        yield
    finally:
        _context.reset(before)


def place_of(error: BaseException) -> str:
    """Where it went wrong, as file:line, innermost last. Never the text of a line or of the error."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)


# The last guard: what does not look like one of our words is not told, whoever put it there.
_OURS: Final = re.compile(r"[A-Za-z0-9 ._:;,/()'>-]{0,200}")


def _checked(what: str, fields: Mapping[str, Value], allowed: Mapping[str, type | frozenset[str]]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        kind = allowed.get(name)
        if kind is None:
            raise TypeError(f"{what} has no field {name}")
        if value is None:
            continue
        if isinstance(kind, frozenset):
            checked[name] = value if value in kind else "other"
        elif isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise TypeError(f"{what}.{name} is a {type(value).__name__}, and should be a {kind.__name__}")
        else:
            checked[name] = value if not isinstance(value, str) or _OURS.fullmatch(value) else "?"
    return checked


def _write(event: Event, level: int, told: Mapping[str, Any]) -> None:
    if _log.isEnabledFor(level):
        _log.log(level, event.value, extra={"event": event, "fields": told})


def silence(*loggers: str) -> None:
    """Lets these loggers of a library write nothing, whoever listens to them and at whatever level."""
    for name in loggers:  # a filter, since a level could be set again from outside
        logging.getLogger(name).addFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


# --- writing it down ------------------------------------------------------------------------------


class JsonLines(logging.Formatter):
    """
    One JSON object a line: when (UTC), how loud, which event, and its fields.

    A library's record gives its logger's name and no more: its message may quote a URL, and its traceback a row.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"ts": at, "level": record.levelname}
        event, fields = getattr(record, "event", None), getattr(record, "fields", None)
        if record.name == _log.name and isinstance(event, Event) and isinstance(fields, Mapping):
            line["event"] = event.value
            if KINDS[event].security:
                line["security"] = True
            line.update(fields)
        else:
            line["event"] = "library"
            line["logger"] = record.name if _OURS.fullmatch(record.name) else "?"
        return json.dumps(line)


class _Lines(logging.StreamHandler[TextIO]):
    """What cannot be written is lost: the standard library would print it elsewhere, with its message."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the standard library's name)
        pass


def log_to(stream: TextIO, level: int = INFO) -> Callable[[], None]:
    """
    From now on this process writes JSON lines to `stream`, and nothing else. Returns what puts back what was there.

    What would print a traceback or a warning by itself, with the text of an error in it, tells of its kind instead.
    """
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook, warnings.showwarning)
    before, level_before = root.handlers[:], root.level
    lines = _Lines(stream)
    lines.setFormatter(JsonLines())
    root.handlers[:] = [lines]
    root.setLevel(level)
    sys.excepthook = _crashed
    threading.excepthook = lambda crash: _crashed(crash.exc_type, crash.exc_value, crash.exc_traceback)
    warnings.showwarning = _warned

    def put_back() -> None:
        root.handlers[:] = before
        root.setLevel(level_before)
        sys.excepthook, threading.excepthook, warnings.showwarning = hooks

    return put_back


def _crashed(kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    tell(Event.UNEXPECTED, error=kind.__name__, place=place_of(error) if error is not None else None)


def _warned(*warning: Any, **_more: Any) -> None:
    tell(Event.WARNED, error=warning[1].__name__)
