"""The log: a closed list of events, one JSON object a line, and no way to slip a word of the chart in."""

from __future__ import annotations

import ast
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cds_service
from cds_service import events
from cds_service.events import KINDS, REASONS, Event, JsonLines, about, listen, log_to, place_of, silence, tell
from cds_service.knowledge import Knowledge

PACKAGE = Path(cds_service.__file__).parent
NAME = "Zebrafinch"
Heard = list[tuple[Event, dict[str, Any]]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Every event that is told during the test, with its fields."""
    said: Heard = []
    stop = listen(lambda event, fields: said.append((event, dict(fields))))
    yield said
    stop()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What this process writes, at every level."""
    stream = io.StringIO()
    put_back = log_to(stream, logging.DEBUG)
    yield stream
    put_back()


def told(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


# ---- The closed list


@pytest.mark.parametrize("event", Event)
def test_each_event_has_its_fields_and_can_be_told_with_all_of_them_and_with_none(
    event: Event, heard: Heard, lines: io.StringIO
) -> None:
    examples: dict[Any, Any] = {str: "TimeoutError", int: 7, float: 1.5}
    fields = {
        name: min(kind) if isinstance(kind, frozenset) else examples[kind] for name, kind in KINDS[event].fields.items()
    }

    tell(event, **fields)
    tell(event)

    assert heard == [(event, fields), (event, {})]
    full, bare = told(lines)
    assert {name: full[name] for name in fields} == fields
    assert full["event"] == bare["event"] == event.value
    assert full["level"] == logging.getLevelName(KINDS[event].level)
    assert ("security" in full) is KINDS[event].security
    assert set(full) - set(fields) <= {"ts", "level", "event", "security"}


def test_a_field_that_the_event_does_not_have_is_a_mistake_of_ours(heard: Heard) -> None:
    with pytest.raises(TypeError, match="fhir_failed has no field patient"):
        tell(Event.FHIR_FAILED, patient=NAME)
    with pytest.raises(TypeError, match="about has no field patient"), about(patient=NAME):
        pass
    assert heard == []


@pytest.mark.parametrize(
    ("event", "field", "wrong"),
    [
        (Event.OTHERS_PASSED_OVER, "count", "7"),
        (Event.OTHERS_PASSED_OVER, "count", 7.5),
        (Event.OTHERS_PASSED_OVER, "count", True),
        (Event.FHIR_READ, "duration_ms", "7"),
        (Event.FHIR_FAILED, "error", 7),
    ],
)
def test_a_value_of_another_type_is_a_mistake_of_ours_which_is_not_quoted(
    event: Event, field: str, wrong: Any, heard: Heard
) -> None:
    with pytest.raises(TypeError, match=f"{event}.{field} is a {type(wrong).__name__}, and should be a"):
        tell(event, **{field: wrong})
    assert heard == []


def test_a_field_without_a_value_is_left_out(heard: Heard, lines: io.StringIO) -> None:
    tell(Event.CALL, service=None, status=404, cards=None)

    assert heard == [(Event.CALL, {"status": 404})]
    assert "service" not in told(lines)[0]


@pytest.mark.parametrize("length", [200, 201])
def test_a_text_of_ours_has_at_most_200_characters(length: int, heard: Heard) -> None:
    tell(Event.FHIR_FAILED, error="E" * length)

    assert heard == [(Event.FHIR_FAILED, {"error": "E" * 200 if length == 200 else "?"})]


@pytest.mark.parametrize(
    "odd", ["Ann\n", "Zoë", '"', "{", "a@b", "50%", "#1", "a=b", "https://x/y?z", "王", "\x1b[31m", "[x]", "a|b", "<b"]
)
def test_what_does_not_look_like_a_word_of_ours_is_not_told(odd: str, heard: Heard, lines: io.StringIO) -> None:
    tell(Event.IDENTITY_MISMATCH, what=odd)
    with about(tenant=odd, correlation_id=odd):
        tell(Event.FHIR_NO_THREAD)

    assert [fields for _, fields in heard] == [{"what": "?"}, {"tenant": "?", "correlation_id": "?"}]
    assert [line.get("what", line.get("tenant")) for line in told(lines)] == ["?", "?"]


@given(st.text())
def test_no_text_at_all_breaks_a_line(text: str) -> None:
    stream = io.StringIO()
    put_back = log_to(stream)
    try:
        tell(Event.IDENTITY_MISMATCH, what=text)
    finally:
        put_back()

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["what"] in {text, "?"}
    assert line.isascii()


@given(st.text())
def test_a_reason_that_an_ehr_made_up_is_told_as_other(reason: str) -> None:
    said: list[Mapping[str, Any]] = []
    stop = listen(lambda _, fields: said.append(fields))
    try:
        tell(Event.OUTCOME_KEPT, outcome=reason, reason=reason)
    finally:
        stop()

    outcome = reason if reason in {"accepted", "overridden"} else "other"
    assert said == [{"outcome": outcome, "reason": reason if reason in REASONS else "other"}]


def test_every_reason_that_a_card_offers_can_be_told(knowledge: Knowledge) -> None:
    assert set(knowledge.topics.override_reason) <= REASONS


# ---- Who hears it


def test_a_listener_hears_until_it_stops(heard: Heard) -> None:
    also: list[Event] = []
    stop = listen(lambda event, _: also.append(event))
    tell(Event.STOPPING)
    stop()
    stop()
    tell(Event.STOPPED)

    assert also == [Event.STOPPING]
    assert [event for event, _ in heard] == [Event.STOPPING, Event.STOPPED]


def test_the_same_listener_may_listen_twice_and_stops_once_at_a_time() -> None:
    said: list[Event] = []

    def listener(event: Event, _: Mapping[str, Any]) -> None:
        said.append(event)

    stops = [listen(listener), listen(listener)]
    for stop in stops:
        tell(Event.STOPPING)
        stop()
    tell(Event.STOPPING)

    assert said == [Event.STOPPING] * 3


def test_a_listener_that_fails_costs_no_other_and_its_words_are_not_told(lines: io.StringIO) -> None:
    def stumbles(*_: object) -> None:
        raise OSError(NAME)

    said: list[Event] = []
    stops = [listen(stumbles), listen(lambda event, _: said.append(event))]
    tell(Event.STOPPED)
    for stop in stops:
        stop()

    assert said == [Event.STOPPED]
    assert [(line["event"], line.get("error")) for line in told(lines)] == [
        ("stopped", None),
        ("listener_failed", "OSError"),
    ]
    assert NAME not in lines.getvalue()


def test_listeners_hear_also_what_is_too_quiet_for_the_log(heard: Heard) -> None:
    stream = io.StringIO()
    put_back = log_to(stream, logging.ERROR)
    tell(Event.STOPPED)
    put_back()

    assert (stream.getvalue(), [event for event, _ in heard]) == ("", [Event.STOPPED])


# ---- Whose call it is about


def test_what_is_told_inside_is_about_the_tenant_and_the_call(heard: Heard) -> None:
    with about(tenant="north"):
        tell(Event.STOPPED)
        with about(correlation_id="c-1"):
            tell(Event.STOPPED)
        with about(tenant="south", correlation_id=None):
            tell(Event.STOPPED)
    tell(Event.STOPPED)

    assert [fields for _, fields in heard] == [
        {"tenant": "north"},
        {"tenant": "north", "correlation_id": "c-1"},
        {"tenant": "south"},
        {},
    ]


def test_an_error_ends_it_too(heard: Heard) -> None:
    with pytest.raises(KeyError), about(tenant="north"):
        raise KeyError
    tell(Event.STOPPED)

    assert heard == [(Event.STOPPED, {})]


def test_threads_tell_of_their_own_call_alone(heard: Heard) -> None:
    """Fifty calls at once, in eight threads, each with its own tenant and a thread that inherits it."""

    def call(number: int) -> None:
        with about(tenant=f"t{number}"), ThreadPoolExecutor(1) as worker:
            worker.submit(copy_context().run, tell, Event.OTHERS_PASSED_OVER, count=number).result()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(50)))

    assert sorted((fields["count"], fields["tenant"]) for _, fields in heard) == [(n, f"t{n}") for n in range(50)]


# ---- Lines


def test_a_line_says_when_in_utc() -> None:
    record = logging.makeLogRecord({"name": events.__name__, "created": 1_795_435_200.25, "levelname": "INFO"})
    record.event, record.fields = Event.STOPPED, {}

    assert json.loads(JsonLines().format(record)) == {
        "ts": "2026-11-23T12:00:00.250Z",
        "level": "INFO",
        "event": "stopped",
    }


@pytest.mark.parametrize("name", ["urllib3", "waitress", "sqlalchemy.engine", "cds_service", ""])
def test_of_a_library_only_its_name_is_written(name: str, lines: io.StringIO) -> None:
    extra = {"event": Event.FHIR_FAILED, "fields": {"error": NAME}}  # as if it were ours
    try:
        raise ValueError(NAME)
    except ValueError:
        logging.getLogger(name).exception("GET /Patient/%s", NAME, extra=extra, stack_info=True)

    (line,) = told(lines)
    assert {key: line[key] for key in line if key != "ts"} == {
        "level": "ERROR",
        "event": "library",
        "logger": name or "root",
    }


def test_a_logger_that_is_named_oddly_is_not_quoted(lines: io.StringIO) -> None:
    logging.getLogger(f"{NAME}?").warning("x")

    assert told(lines)[0]["logger"] == "?"


def test_a_silenced_library_writes_nothing_at_any_level(lines: io.StringIO) -> None:
    logger = logging.getLogger("a library that quotes URLs")
    logger.setLevel(logging.DEBUG)
    silence(logger.name)
    logger.critical(NAME)

    assert lines.getvalue() == ""


def test_other_handlers_fall_silent_and_come_back() -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level, sys.excepthook, warnings.showwarning
    elsewhere = io.StringIO()
    handler = logging.StreamHandler(elsewhere)
    logging.getLogger().addHandler(handler)
    stream = io.StringIO()
    put_back = log_to(stream)
    tell(Event.STOPPED)
    put_back()
    logging.getLogger().removeHandler(handler)

    assert (elsewhere.getvalue(), stream.getvalue().count("stopped")) == ("", 1)
    assert before == (logging.getLogger().handlers, logging.getLogger().level, sys.excepthook, warnings.showwarning)


def test_what_cannot_be_written_is_not_printed_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    put_back = log_to(stream)
    stream.close()
    logging.getLogger("library").error("GET /Patient/%s", NAME)
    put_back()

    assert capfd.readouterr() == ("", "")


def test_an_accident_that_nobody_caught_is_told_by_its_kind(lines: io.StringIO) -> None:
    def stumble() -> None:
        raise ValueError(NAME)

    thread = threading.Thread(target=stumble)
    thread.start()
    thread.join()
    try:
        stumble()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)

    assert [(line["event"], line["error"]) for line in told(lines)] == [("unexpected", "ValueError")] * 2
    assert all("test_events.py:" in line["place"] for line in told(lines))
    assert NAME not in lines.getvalue()


def test_a_warning_of_a_library_is_told_by_its_kind(lines: io.StringIO) -> None:
    showing = warnings.showwarning  # `catch_warnings` would put its own in place
    showing(UserWarning(NAME), UserWarning, "library.py", 1)

    assert [(line["event"], line["error"]) for line in told(lines)] == [("warned", "UserWarning")]
    assert NAME not in lines.getvalue()


def test_a_place_is_files_and_lines_and_no_word_of_the_error() -> None:
    def deep() -> None:
        raise ValueError(NAME)

    try:
        deep()
    except ValueError as error:
        place = place_of(error)

    assert [part.partition(":")[0] for part in place.split(" > ")] == ["test_events.py"] * 2
    assert place_of(ValueError(NAME)) == ""


# ---- Nothing goes past it

# Flask hands its own logger to every application: web/app.py takes the tracebacks off its records.
KNOWS_LOGGING = {"cds_service/events.py", "cds_service/web/app.py"}


def test_only_the_events_know_the_log() -> None:
    knowing = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "logging" for name in names):
                knowing.add(path.relative_to(PACKAGE.parent).as_posix())

    assert knowing <= KNOWS_LOGGING


def test_nobody_writes_to_the_standard_error_output_by_hand() -> None:
    written = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "sys.stderr.write" in (text := path.read_text(encoding="utf-8")) or "traceback.print" in text
    }

    assert written == set()


def test_the_front_door_takes_flasks_tracebacks_off_and_writes_nothing_itself() -> None:
    tree = ast.parse((PACKAGE / "web" / "app.py").read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "logging"
    }

    assert used <= {"LogRecord"}


def test_a_command_line_that_writes_no_log_prints_no_event() -> None:
    """Python would print a warning by itself where nobody writes the log: its bare name, in the middle of an answer."""
    told = "from cds_service.events import Event, tell; tell(Event.OTHERS_PASSED_OVER, count=1)"

    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "")
