"""How the service listens, and how it leaves: whoever has been heard is answered before the door shuts."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from waitress import wasyncore
from waitress.server import create_server

from cds_service.events import Event, tell
from cds_service.hooks.strict_json import MOST_BYTES
from cds_service.starting import what_is_there_stays
from cds_service.web.load import Load

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_LEAVE: Final = (signal.SIGTERM, signal.SIGINT)
_HANG_UP: Final = (signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()  # Windows has none
# How long a caller who was already being answered is waited for. Container platforms kill after 30 s.
_PATIENCE_SECONDS = 20
# Above this many connections others wait in the backlog of the machine. Each costs a descriptor and a buffer.
_MOST_CONNECTIONS = 400
# Waitress takes 8 KB at a time by default, and a chart has 35.
_HEARD_AT_ONCE = 64 * 1024


def serve(
    app: WSGIApplication,
    host: str,
    port: int,
    *,
    threads: int = 8,
    announce: str = "Listening at {url}",
    listening: socket.socket | None = None,
    hung_up: Callable[[], None] = lambda: None,
    load: Load | None = None,
) -> None:
    """
    Answers until SIGTERM or SIGINT, then finishes what was begun. A second signal leaves at once.

    Port 0 takes any free port; `announce` is printed once callers can really reach it. An address that cannot be had
    ends the process with one line that says so, unless it is had already: `listening`, as `listen` returned it.
    `hung_up` hears of each SIGHUP, which ends nothing. `load` gets to know how many calls wait for a thread.
    """
    listening = listening or listen(host, port)
    # waitress buffers whole bodies. Its cap is above ours, so that a caller just above ours hears an OperationOutcome.
    server: Any = create_server(
        app,
        sockets=[listening],
        threads=threads,
        connection_limit=_MOST_CONNECTIONS,
        recv_bytes=_HEARD_AT_ONCE,
        ident=None,
        asyncore_use_poll=True,
        max_request_body_size=2 * MOST_BYTES,
        clear_untrusted_proxy_headers=True,
    )
    if load is not None:
        load.waiting = lambda: len(server.task_dispatcher.queue)
    with what_is_there_stays(), _hearing(*_LEAVE) as asked_to_leave, _hearing(*_HANG_UP) as hangups:
        sys.stdout.write(announce.format(url=url_of(host, listening)) + "\n")
        sys.stdout.flush()
        while not asked_to_leave:
            _turn(server)
            if hangups:
                hangups.clear()
                hung_up()
        tell(Event.STOPPING, waiting=len(server.task_dispatcher.queue))
        server.del_channel()
        listening.close()
        _drain(server, asked_to_leave)
        tell(Event.STOPPED, unanswered=sum(1 for _ in _waiting(server)))
    server.task_dispatcher.shutdown()
    wasyncore.close_all(server._map)


def listen(host: str, port: int) -> socket.socket:
    """From now on this address is ours, and whoever calls waits. If it cannot be had, the process ends with a line."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except socket.gaierror as error:
        raise SystemExit(f"Cannot listen on {host} port {port}: {error.strerror}.") from None
    except OSError as error:
        raise SystemExit(f"Cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}.") from None


def url_of(host: str, listening: socket.socket) -> str:
    """At which callers reach it, without a slash at its end."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"


@contextmanager
def _hearing(*signals: int) -> Iterator[list[int]]:
    """Those of these signals that were heard so far."""
    heard: list[int] = []

    def hear(signum: int, _frame: FrameType | None) -> None:
        heard.append(signum)

    before = {signum: signal.signal(signum, hear) for signum in signals}
    try:
        yield heard
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


# waitress can stop, but drops queued requests and unsent answers when it does (Pylons/waitress issue 198). So its loop
# is turned from here, and once more for as long as somebody waits. This can go when waitress drains by itself.


def _turn(server: Any) -> None:
    # A signal may reach a worker's thread, and then it does not wake this one: so it never sleeps for long.
    server.asyncore.loop(timeout=0.25, use_poll=True, map=server._map, count=1)


def _drain(server: Any, asked_to_leave: list[int]) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while _somebody_waits(server) and len(asked_to_leave) == 1 and time.monotonic() < until:
        _turn(server)


def _somebody_waits(server: Any) -> bool:
    return any(True for _ in _waiting(server))


def _waiting(server: Any) -> Iterator[Any]:
    """The connections with a call that was begun and not yet answered to its end."""
    for channel in server.active_channels.values():
        if channel.request or channel.requests or channel.total_outbufs_len:
            yield channel
