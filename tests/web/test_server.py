"""How the real server starts and leaves, watched from outside as a process."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from cds_service.hooks.strict_json import MOST_BYTES

# A server whose answers take a while, so that a signal can come in between. One thread: a second call must queue.
SLOW = """
import sys, time
from cds_service.web.server import serve

def app(environ, start_response):
    print("begun", flush=True)
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done " * 100_000]

hung_up = {"hung_up": lambda: print("hung up", flush=True)} if len(sys.argv) > 3 else {}
serve(app, sys.argv[1], int(sys.argv[2]), threads=1, announce="open {url}/demo", **hung_up)
"""


# The service itself, with an advisor that says nothing.
SILENT = """
import sys
from types import SimpleNamespace
from cds_service.advisor import Answer
from cds_service.web.app import create_app
from cds_service.web.server import serve

advisor = SimpleNamespace(answer=lambda service_id, body: Answer({"cards": []}, "nothing"), explanations=None)
serve(create_app(advisor), sys.argv[1], int(sys.argv[2]), announce="open {url}/demo")
"""
# The same with one thread, an advisor who takes his time, and room for two who wait.
BUSY = """
import sys, time
from types import SimpleNamespace
from cds_service.advisor import Answer
from cds_service.web.app import create_app
from cds_service.web.load import Load
from cds_service.web.server import serve

def answer(service_id, body):
    time.sleep(0.3)
    return Answer({"cards": []}, "nothing")

load = Load(most=2)
app = create_app(SimpleNamespace(answer=answer, explanations=None), load=load)
serve(app, sys.argv[1], int(sys.argv[2]), threads=1, announce="open {url}/demo", load=load)
"""
# Tells how many objects the collector passes over, since they were there at start.
LASTING = """
import gc, sys
from cds_service.web.server import serve

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(gc.get_freeze_count()).encode()]

serve(app, sys.argv[1], int(sys.argv[2]), announce="open {url}/demo")
"""


@contextlib.contextmanager
def server(script: str = SLOW, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running server and its port; killed at the end if it is still there."""
    command = [sys.executable, "-c", script, "127.0.0.1", "0", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("open http://"), line
        assert line.endswith("/demo\n")
        yield process, urlsplit(line.split()[1]).port
    finally:
        process.kill()
        process.communicate()


def ask(port: int, seconds: float, answers: list[bytes]) -> threading.Thread:
    """Calls the server in the background and keeps the whole answer."""

    def call() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", f"/?{seconds}")
        answers.append(connection.getresponse().read())
        connection.close()

    caller = threading.Thread(target=call)
    caller.start()
    return caller


@pytest.mark.parametrize("leave", [signal.SIGTERM, signal.SIGINT])
def test_who_is_being_answered_gets_the_whole_answer_before_it_leaves(leave):
    with server() as (process, port):
        answers: list[bytes] = []
        callers = [ask(port, 0.6, answers)]
        assert process.stdout.readline() == "begun\n"
        callers.append(ask(port, 0.1, answers))  # accepted, but still in the queue
        time.sleep(0.2)
        process.send_signal(leave)
        for caller in callers:
            caller.join()
        assert [len(answer) for answer in answers] == [500_000, 500_000]
        assert process.wait(timeout=15) == 0


def test_when_asked_to_leave_it_hears_nobody_new():
    with server() as (process, port):
        answers: list[bytes] = []
        caller = ask(port, 1.0, answers)
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=2)
        caller.join()
        assert len(answers) == 1


def test_an_idle_connection_does_not_keep_it():
    with server() as (process, port), socket.create_connection(("127.0.0.1", port)):
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
        assert time.monotonic() - began < 10


def test_a_second_signal_leaves_at_once():
    with server() as (process, port):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nslow")  # and never the rest
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        connection.close()


@pytest.mark.parametrize("told", [["told"], []], ids=["who hears of it", "nobody hears of it"])
def test_a_hangup_ends_nothing(told):
    with server(SLOW, *told) as (process, port):
        answers: list[bytes] = []
        caller = ask(port, 0.6, answers)
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGHUP)
        if told:
            assert process.stdout.readline() == "hung up\n"
        caller.join()
        ask(port, 0, answers).join()
        assert [len(answer) for answer in answers] == [500_000, 500_000]
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


@pytest.mark.parametrize(("size", "status"), [(MOST_BYTES, 200), (MOST_BYTES + 1, 413), (3 * MOST_BYTES, 413)])
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_above_the_cap_is_refused_whether_or_not_it_tells_its_length(size, status, chunked):
    with server(SILENT) as (_, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body = (b" " * piece for piece in (size // 2, size - size // 2)) if chunked else b" " * size
        headers = {"Content-Type": "application/json"} | ({"Transfer-Encoding": "chunked"} if chunked else {})
        # Above twice the cap waitress hangs up while we still send.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", "/cds-services/x", body, headers, encode_chunked=chunked)
        assert connection.getresponse().status == status
        connection.close()


def test_whoever_comes_when_too_many_wait_is_told_so_at_once_and_the_rest_are_answered():
    with server(BUSY) as (_, port):
        heard: list[tuple[int, str | None, float]] = []

        def call() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            began = time.monotonic()
            connection.request("POST", "/cds-services/x", b"{}", {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            heard.append((answer.status, answer.headers["Retry-After"], time.monotonic() - began))
            connection.close()

        callers = [threading.Thread(target=call) for _ in range(20)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        served = [one for one in heard if one[0] == 200]
        assert {status for status, _, _ in heard} == {200, 503}
        assert len(served) < 10
        assert {again for status, again, _ in heard if status == 503} == {"5"}
        assert max(took for _, _, took in heard) < 20 * 0.3, "nobody waited for all the others"
        call()
        assert heard[-1][0] == 200


def test_a_port_in_use_is_one_plain_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-c", SLOW, "127.0.0.1", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == f"Cannot listen on 127.0.0.1 port {port}: Address already in use.\n"


def test_an_address_that_is_not_ours_is_one_plain_line():
    command = [sys.executable, "-c", SLOW, "no-such-host.invalid", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("Cannot listen on no-such-host.invalid port 0: ")


def test_an_address_of_the_newer_kind_is_written_in_brackets():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    command = [sys.executable, "-c", SLOW, "::1", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("open http://[::1]:") or line == ""
    finally:
        process.kill()
        process.communicate()


def test_the_collector_does_not_go_through_what_was_there_at_start() -> None:
    """It held up every caller for a tenth of a second, now and then."""
    with server(LASTING) as (_, port):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        line.request("GET", "/")
        assert int(line.getresponse().read()) > 10_000
        line.close()
