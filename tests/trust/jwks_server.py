"""A server on a socket of this machine that hands out JWKS documents, and does so badly when it is told to."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from quirks import Ticking

Json = dict[str, Any]


@dataclass
class Asked:
    """One request, and the ways to answer it."""

    path: str
    headers: dict[str, str]
    server: JwksServer = field(repr=False)
    handler: BaseHTTPRequestHandler = field(repr=False)

    def send(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        """A whole answer. Names of headers are written with underscores."""
        lines = {"Content-Type": kind, "Content-Length": str(len(body))}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.handler.send_response(status)
        for name, value in lines.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def send_json(self, value: Any) -> None:
        self.send(json.dumps(value).encode())

    def honest(self) -> None:
        self.send_json(self.server.sets[self.path])

    def reset(self) -> None:
        """Hangs up without a goodbye."""
        self.handler.close_connection = True
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drip(self, data: bytes) -> None:
        """A byte now and then: each comes soon enough for a timeout that counts each wait anew."""
        self.handler.close_connection = True
        for byte in data:
            if self.server.closing.wait(0.02):
                return
            self.server.clock.tick(0.1)
            self.handler.wfile.write(bytes([byte]))


Quirk = Callable[[Asked], None]


class JwksServer:
    """Serves `sets` by path. `quirk` answers in its stead. `heard` is every path that was asked for."""

    def __init__(self, sets: dict[str, Json] | None = None, clock: Ticking | None = None) -> None:
        self.sets = sets if sets is not None else {}
        self.quirk: Quirk = Asked.honest
        self.clock = clock or Ticking()
        self.heard: list[Asked] = []
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[JwksServer]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="jwks", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The caller hung up: that is what is tested."""


def _handler(jwks: JwksServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            asked = Asked(self.path, dict(self.headers.items()), jwks, self)
            jwks.heard.append(asked)
            jwks.quirk(asked)

        def log_message(self, *_: Any) -> None:
            """A test that says nothing reads better."""

    return Handler


# --- the quirks -----------------------------------------------------------------------------------


def status(code: int, **headers: str) -> Quirk:
    return lambda asked: asked.send(b"{}", code, **headers)


def body(text: bytes, kind: str = "application/json", **headers: str) -> Quirk:
    return lambda asked: asked.send(text, kind=kind, **headers)


def hang(asked: Asked) -> None:
    """Says nothing, and lets more time go by than there is."""
    asked.server.clock.tick(10)
    asked.server.closing.wait(10)


def drip_headers(asked: Asked) -> None:
    asked.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Odd: yes\r\n" * 500)


def drip_body(asked: Asked) -> None:
    """Every byte of an honest set, in the end."""
    whole = json.dumps(asked.server.sets[asked.path]).encode()
    asked.handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode())
    asked.drip(whole)


def half(asked: Asked) -> None:
    whole = json.dumps(asked.server.sets[asked.path]).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    asked.handler.wfile.write(head + whole[: len(whole) // 2])
    asked.reset()


def padded(size: int) -> Quirk:
    """An honest set, made longer with blanks to this many bytes."""

    def answer(asked: Asked) -> None:
        asked.send(json.dumps(asked.server.sets[asked.path]).encode().ljust(size))

    return answer


def gzip_bomb(asked: Asked) -> None:
    """10 MB of blanks in 10 kB, and an honest set at the end."""
    whole = b" " * 10_000_000 + json.dumps(asked.server.sets[asked.path]).encode()
    asked.send(gzip.compress(whole, 6), Content_Encoding="gzip")


def zipped(asked: Asked) -> None:
    asked.send(gzip.compress(json.dumps(asked.server.sets[asked.path]).encode()), Content_Encoding="gzip")


def redirect(to: str) -> Quirk:
    return lambda asked: asked.send(b"", 302, Location=to)


def no_http(asked: Asked) -> None:
    asked.handler.close_connection = True
    asked.handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
