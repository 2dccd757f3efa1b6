"""The wire to one FHIR server: which sockets are opened, what is sent on them, and that all of them end in time."""

from __future__ import annotations

import socket
import ssl
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from threading import Lock, Thread
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from cds_service import __version__
from cds_service.ehr.servers import Server, Servers
from cds_service.events import Event, silence, tell
from cds_service.hooks.request import FhirAuthorization

# urllib3 writes the path of a request, and with it the patient's id: at DEBUG always, at WARNING beside an odd header.
silence(*(f"urllib3.{name}" for name in ("connection", "connectionpool", "response", "util.retry")))

Clock = Callable[[], float]

AT_ONCE: Final = 8
_CHUNK: Final = 64 * 1024
_SHORTEST: Final = 0.001  # a timeout of 0 would mean: do not wait at all


class Deadline:
    """
    One budget of time, in seconds, from now on.

    The timeouts of `requests` count each wait anew: a server that drips would never run into one.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._clock = clock
        self._until = clock() + seconds

    def left(self) -> float:
        """Seconds that are left; 0 when there are none."""
        return max(0.0, self._until - self._clock())


# --- sockets ----------------------------------------------------------------------------------------


@dataclass
class Lines:
    """The sockets of a visit: each leads to an address that was checked, and all are cut when the visit ends."""

    server: Server
    servers: Servers
    deadline: Deadline
    _open: list[socket.socket] = field(default_factory=list)
    _addresses: Future[list[Any]] | None = None
    _cut: bool = False
    _lock: Lock = field(default_factory=Lock)

    def dial(self) -> socket.socket:
        """A connection to the server. What was checked is what is connected to."""
        found = self._looked_up()
        if not found or not all(self.servers.may_reach(self.server, str(address[0])) for *_, address in found):
            tell(Event.ADDRESS_REFUSED)
            raise ConnectionRefusedError("not an allowed address")
        refused: OSError = ConnectionRefusedError()
        for number, (family, kind, protocol, _, address) in enumerate(found):
            # An address that never answers leaves some of the time for the others.
            share = self.deadline.left() / (len(found) - number)
            try:
                return self._dialled(socket.socket(family, kind, protocol), address, share)
            except OSError as error:
                refused = error
        raise refused

    def _looked_up(self) -> list[Any]:
        """
        The addresses behind the server's name, looked up once in a visit.

        Nothing can end a lookup that hangs. So it runs in a thread that nobody waits for, not even at exit.
        """
        with self._lock:
            if (addresses := self._addresses) is None:
                addresses = self._addresses = Future()
                Thread(target=_look_up, args=(self.server, addresses), name="fhir-name", daemon=True).start()
        return addresses.result(timeout=self.deadline.left())

    def _dialled(self, line: socket.socket, address: Any, share: float) -> socket.socket:
        try:
            self.hold(line)
            line.settimeout(max(share, _SHORTEST))
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.connect(address)
            line.settimeout(max(self.deadline.left(), _SHORTEST))
        except BaseException:
            line.close()
            raise
        return line

    def hold(self, line: socket.socket) -> None:
        """Cuts this one, too, when the visit ends. Raises TimeoutError when that was before."""
        with self._lock:
            if self._cut or self.deadline.left() <= 0:
                raise TimeoutError
            self._open.append(line)

    def cut(self) -> None:
        """Ends every connection at once, and with it every thread that still waits for a word."""
        with self._lock:
            self._cut = True
            for line in self._open:
                try:
                    socket.socket.shutdown(line, socket.SHUT_RDWR)
                except OSError:
                    continue  # it was over already
            self._open.clear()


def _look_up(server: Server, addresses: Future[list[Any]]) -> None:
    try:
        addresses.set_result(socket.getaddrinfo(server.host.strip("[]"), server.port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        addresses.set_exception(ConnectionRefusedError(type(error).__name__))


def _connected(line: HTTPConnection, lines: Lines) -> socket.socket:
    """
    A socket, or urllib3's own word for none.

    urllib3 2.6 takes a connection that was reset (ECONNRESET) for one that was reset while it was written to, and goes
    on to read from the socket that it never got: an AttributeError.
    """
    try:
        return lines.dial()
    except OSError as error:
        raise NewConnectionError(line, type(error).__name__) from None


class _PlainLine(HTTPConnection):
    """A connection that is dialled by `Lines`."""

    def __init__(self, lines: Lines, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lines = lines

    def _new_conn(self) -> socket.socket:
        return _connected(self, self._lines)


class _SecureLine(HTTPSConnection):
    """The same, over TLS."""

    def __init__(self, lines: Lines, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lines = lines

    def _new_conn(self) -> socket.socket:
        return _connected(self, self._lines)

    def connect(self) -> None:
        super().connect()
        self._lines.hold(self.sock)  # TLS has put a socket of its own in place of the one that was dialled


# --- requests ---------------------------------------------------------------------------------------


class _OneServer(HTTPAdapter):
    """Speaks to one server, whatever a URL says: no other host can ever hear the token."""

    def __init__(self, lines: Lines, tls: ssl.SSLContext) -> None:
        super().__init__(max_retries=0)  # a 429 or 503 is not tried again while a clinician waits
        server = lines.server
        host = server.host.strip("[]")
        if server.scheme == "https":
            self._pool: HTTPConnectionPool = HTTPSConnectionPool(host, server.port, maxsize=AT_ONCE, ssl_context=tls)
            self._pool.ConnectionCls = partial(_SecureLine, lines)  # type: ignore[assignment]
        else:
            self._pool = HTTPConnectionPool(host, server.port, maxsize=AT_ONCE)
            self._pool.ConnectionCls = partial(_PlainLine, lines)  # type: ignore[assignment]

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        return self._pool

    def cert_verify(self, *_: Any) -> None:
        """The TLS context demands a certificate already."""

    def close(self) -> None:
        super().close()
        self._pool.close()


class _Bearer(AuthBase):
    """The EHR's token, put on each request. It shows itself to nobody else."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class _Session(requests.Session):
    """
    Follows no redirect, and does not look where one leads.

    Even when it is told not to follow, `requests` reads and unzips the whole body of a redirect.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        return None


def session_over(lines: Lines, tls: ssl.SSLContext, authorization: FhirAuthorization | None) -> requests.Session:
    """A session that speaks to the server of these lines alone, with the EHR's token if there is one."""
    session = _Session()
    session.trust_env = False  # no proxy, no .netrc: the token goes to the EHR and nowhere else
    session.auth = _Bearer(authorization.access_token) if authorization is not None else None
    session.cookies = RequestsCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update(
        {"Accept": "application/fhir+json", "Accept-Encoding": "gzip", "User-Agent": f"cds-service/{__version__}"}
    )
    adapter = _OneServer(lines, tls)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def decoded(response: requests.Response) -> Iterator[bytes]:
    """
    The body in parts, unzipped by us: none is larger than a chunk, however far a small body would swell.

    urllib3 unzips a whole read at once before it can be measured (a gzip bomb swells a thousandfold). Raises
    zlib.error for what is not zipped as it says, or not to its end.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        yield from _raw(response)
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise zlib.error("an encoding that was not asked for")
    unzip = zlib.decompressobj(wbits=47)  # either header, zlib's or gzip's
    for part in _raw(response):
        yield unzip.decompress(part, _CHUNK)
        while unzip.unconsumed_tail:
            yield unzip.decompress(unzip.unconsumed_tail, _CHUNK)
        if unzip.unused_data:
            raise zlib.error("more after the end")
    if not unzip.eof:
        raise zlib.error("no end")


def _raw(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes. `read1` takes what is there: waiting for a full chunk would outlast the budget."""
    while part := response.raw.read1(_CHUNK, decode_content=False):
        yield part
