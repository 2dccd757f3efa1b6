"""Reads an EHR's FHIR server while a clinician waits: one time budget for all questions, and never a wrong "none"."""

from __future__ import annotations

import re
import ssl
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urljoin

import requests
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as WireTimeout

from cds_service.ehr.answers import Answer, Had, answer_over, unanswered
from cds_service.ehr.servers import Server, Servers
from cds_service.ehr.wanted import OWNER
from cds_service.ehr.wire import AT_ONCE, Clock, Deadline, Lines, decoded, session_over
from cds_service.errors import ServiceError
from cds_service.events import Event, tell
from cds_service.hooks.request import MOST_PREFETCH_ENTRIES, FhirAuthorization
from cds_service.hooks.strict_json import read_json

MOST_PAGES: Final = 20
MOST_PAGE_BYTES: Final = 8 * 1024 * 1024
MOST_VISIT_BYTES: Final = 32 * 1024 * 1024
MOST_VISIT_ENTRIES: Final = MOST_PREFETCH_ENTRIES
# What a log line says about a page: the type that was asked for, and how it went. A status that is not here is told by
# its first digit.
RESOURCES: Final = frozenset({*OWNER, "Medication", "Patient", "PractitionerRole", "Questionnaire", "other"})
_CODES: Final = frozenset({200, 400, 401, 403, 404, 410, 429, 500, 502, 503, 504})
_WORDS: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "failed", "other", "refused", "timeout", "tls", "too-large")
READ_STATUSES: Final = frozenset({*map(str, _CODES), *_WORDS, "unreadable"})


@dataclass(frozen=True, slots=True)
class Question:
    """One read or search, as a URL below the base, and the pages of its answer that are already at hand."""

    url: str = field(repr=False)
    have: tuple[Any, ...] = field(default=(), repr=False)


class Client:
    """
    Reads the FHIR servers of one site, for many calls at once.

    `budget` is the time in seconds that one call may spend, all questions together. `clock` tells monotonic seconds.
    """

    def __init__(self, servers: Servers, *, budget: float, clock: Clock = time.monotonic) -> None:
        self.servers = servers
        self.budget = budget
        self._clock = clock
        self._tls = ssl.create_default_context()  # read once: loading the certificates takes longer than a search
        self._breakers: dict[Server, Breaker] = {}
        self._lock = Lock()

    def visit(self, fhir_server: str | None, authorization: FhirAuthorization | None) -> Visit | None:
        """
        A visit to the server that a call names, no longer than its token lasts.

        None when the call names no server, or one that the site does not allow, or when its token has expired.
        """
        server = self.servers.allowed(fhir_server)
        if server is None:
            if fhir_server is not None:
                tell(Event.FHIR_SERVER_REFUSED)
            return None
        seconds = self.budget
        if authorization is not None and authorization.expires_in is not None:
            seconds = min(seconds, authorization.expires_in)
        if seconds <= 0:
            tell(Event.FHIR_TOKEN_EXPIRED)
            return None
        with self._lock:
            breaker = self._breakers.setdefault(server, Breaker(self._clock))
        lines = Lines(server, self.servers, Deadline(seconds, self._clock))
        return Visit(lines, authorization, breaker, self._tls)


class Breaker:
    """Leaves a server alone for a while after it failed several calls in a row: they would all wait in vain."""

    FAILURES: Final = 5
    PAUSE_SECONDS: Final = 10.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failures = 0
        self._closed_until = 0.0

    def lets_through(self) -> bool:
        """May a call go out now? After the pause one may, to see; the others wait for what it finds."""
        with self._lock:
            if self._failures < self.FAILURES:
                return True
            now = self._clock()
            if now < self._closed_until:
                return False
            self._closed_until = now + self.PAUSE_SECONDS
            return True

    def heard(self, *, well: bool) -> None:
        """How a visit went: did the server answer at all?"""
        with self._lock:
            self._failures = 0 if well else self._failures + 1
            if self._failures >= self.FAILURES:
                self._closed_until = self._clock() + self.PAUSE_SECONDS


class _Unanswered(Exception):
    """One page could not be had. `status` is one of READ_STATUSES: no word of the EHR's, of the URL or of the token."""

    def __init__(self, had: Had, *, reached: bool, status: str) -> None:
        super().__init__(had.name)
        self.had = had
        self.reached = reached
        self.status = status


class Visit:
    """One call's visit to one server: one session, one budget. Leave it with `with`, and its sockets are closed."""

    def __init__(
        self, lines: Lines, authorization: FhirAuthorization | None, breaker: Breaker, tls: ssl.SSLContext
    ) -> None:
        self.server = lines.server
        self.has_token = authorization is not None
        self._lines = lines
        self._deadline = lines.deadline
        self._authorization = authorization
        self._breaker = breaker
        self._tls = tls
        self._lock = Lock()
        self._bytes = 0
        self._entries = 0
        self._reached: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reached is not None:
            self._breaker.heard(well=self._reached)
        self._lines.cut()
        if "_workers" in self.__dict__:
            self._workers.shutdown(wait=False, cancel_futures=True)
            self._session.close()

    def ask(self, questions: Mapping[str, Question]) -> dict[str, Answer]:
        """
        What the EHR answers to each question, by key. All are asked at once, within what is left of the budget.

        Never raises for what the EHR does: what did not come is FAILED, RESTRICTED, or CUT_SHORT with what came.
        """
        pages = {key: list(question.have) for key, question in questions.items()}
        asked: dict[str, Future[Answer]] = {}
        if self._is_let_through:
            session, workers = self._session, self._workers
            try:
                for key, question in questions.items():
                    asked[key] = workers.submit(copy_context().run, self._read, session, question.url, pages[key])
            except RuntimeError:  # this machine starts no more threads
                tell(Event.FHIR_NO_THREAD)
        wait(asked.values(), timeout=self._deadline.left())
        answers = {}
        for key, question in questions.items():
            if key in asked and asked[key].done():
                answers[key] = asked[key].result()
                continue
            if key in asked:
                self._hear(reached=len(pages[key]) > len(question.have))
            answers[key] = _told(pages[key], Had.FAILED)
        return answers

    def next_url(self, more: str, of: str) -> str | None:
        """Where the next page lies, as a whole URL; None when that is not at this server, or cannot be told."""
        if not more:
            return None
        try:
            url = urljoin(of, more)
        except ValueError:
            return None
        return url if self.server.holds(url) else None

    # Looked at only when there is something to ask: a visit that asks nothing would waste the one try after a pause.
    @cached_property
    def _is_let_through(self) -> bool:
        return self._breaker.lets_through()

    @cached_property
    def _session(self) -> requests.Session:
        return session_over(self._lines, self._tls, self._authorization)

    @cached_property
    def _workers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fhir")

    # --- one question, in a thread of its own -------------------------------------------------------

    def _read(self, session: requests.Session, url: str, pages: list[Any]) -> Answer:
        """Every page from here on. `pages` grows while it is read: whoever cannot wait takes what is there."""
        try:
            self._read_on(session, urljoin(f"{self.server.base}/", url), pages)
        except _Unanswered as unanswered_:
            self._hear(reached=unanswered_.reached)
            return _told(pages, unanswered_.had)
        except Exception as error:  # whatever an EHR can make go wrong costs one answer, never the call
            tell(Event.FHIR_FAILED, error=type(error).__name__)
            self._hear(reached=False)
            return _told(pages, Had.FAILED)
        return answer_over(tuple(pages))

    def _read_on(self, session: requests.Session, url: str, pages: list[Any]) -> None:
        is_search = "?" in url or bool(pages)
        kind = self._kind(url)
        following: str | None = url
        seen: set[str] = set()
        while following is not None and following not in seen and len(pages) < MOST_PAGES:
            seen.add(following)
            page = self._page(session, following, kind, is_search=is_search)
            self._hear(reached=True)
            answer = answer_over((page,))
            if is_search:
                self._count(entries=len(answer.entries))
            pages.append(page)
            following = self.next_url(answer.more, following) if answer.more else None

    def _hear(self, *, reached: bool) -> None:
        with self._lock:
            self._reached = reached or bool(self._reached)

    def _count(self, *, size: int = 0, entries: int = 0) -> None:
        """
        Raises _Unanswered when this would be more than may be read in a visit.

        A page that is refused uses nothing up: one list that is far too long must not cost the others, or the Patient.
        """
        with self._lock:
            if self._bytes + size > MOST_VISIT_BYTES or self._entries + entries > MOST_VISIT_ENTRIES:
                raise _Unanswered(Had.FAILED, reached=True, status="too-large")
            self._bytes += size
            self._entries += entries

    def _kind(self, url: str) -> str:
        """The type that is asked for. Where the EHR's own link leads is not for us to tell."""
        kind = re.split(r"[/?]", url.removeprefix(f"{self.server.base}/"), maxsplit=1)[0]
        return kind if kind in RESOURCES else "other"

    def _page(self, session: requests.Session, url: str, kind: str, *, is_search: bool) -> Any:
        """One page. What was asked is told, with how it went and how much of the budget it took."""
        left = self._deadline.left()
        if left <= 0 or not self.server.holds(url):
            raise _Unanswered(Had.FAILED, reached=False, status="timeout")
        status = "failed"
        try:
            page = self._got(session, url, left, is_search=is_search)
            status = "200"
        except _Unanswered as unanswered_:
            status = unanswered_.status
            raise
        finally:
            took = (left - self._deadline.left()) * 1000
            tell(Event.FHIR_READ, resource=kind, status=status, duration_ms=round(took, 1))
        return page

    def _got(self, session: requests.Session, url: str, left: float, *, is_search: bool) -> Any:
        try:
            with session.get(url, stream=True, allow_redirects=False, timeout=left) as response:
                if response.status_code != 200:
                    raise _refused(response.status_code)
                body = self._body(response)
        except (requests.RequestException, HTTPError, OSError, zlib.error) as error:
            # Its text may hold the URL, and its request the token: only the kind of error goes on.
            raise _Unanswered(Had.FAILED, reached=False, status=self._why(error)) from None
        try:
            page = read_json(body, most_bytes=MOST_PAGE_BYTES)
        except ServiceError:  # HTML, XML, half a JSON
            page = None
        if not _is_fhir(page, is_search=is_search):
            raise _Unanswered(Had.FAILED, reached=True, status="unreadable")
        return page

    def _why(self, error: Exception) -> str:
        if isinstance(error, (requests.Timeout, WireTimeout, TimeoutError)) or self._deadline.left() <= 0:
            return "timeout"
        if isinstance(error, requests.exceptions.SSLError):
            return "tls"
        return "refused" if isinstance(error, requests.ConnectionError) else "unreadable"

    def _body(self, response: requests.Response) -> bytes:
        """The body, decoded, as long as it keeps within the caps and the budget."""
        parts = []
        size = 0
        for part in decoded(response):
            size += len(part)
            self._count(size=len(part))
            if size > MOST_PAGE_BYTES or self._deadline.left() <= 0:
                status = "too-large" if size > MOST_PAGE_BYTES else "timeout"
                raise _Unanswered(Had.FAILED, reached=True, status=status)
            parts.append(part)
        return b"".join(parts)


def _told(pages: list[Any], why: Had) -> Answer:
    """What came before it stopped coming."""
    if not pages:
        return unanswered(why)
    answer = answer_over(tuple(pages))
    return replace(answer, had=min(answer.had, Had.CUT_SHORT))


def _is_fhir(page: Any, *, is_search: bool) -> bool:
    """Is it what FHIR answers with? In prefetch null means "none"; on the wire it means nothing."""
    kind = page.get("resourceType") if isinstance(page, dict) else None
    if is_search:
        return kind == "OperationOutcome" or (kind == "Bundle" and page.get("type") == "searchset")
    return isinstance(kind, str) and kind != "Bundle"


def _refused(code: int) -> _Unanswered:
    status = str(code) if code in _CODES else f"{code // 100}xx"
    status = status if status in READ_STATUSES else "other"
    match code:
        case 401 | 403:
            return _Unanswered(Had.RESTRICTED, reached=True, status=status)
        case 404 | 410:  # no such resource, or no such type: nothing was said about her
            return _Unanswered(Had.NOT_ASKED, reached=True, status=status)
        case 429:
            return _Unanswered(Had.FAILED, reached=False, status=status)
        case _:
            return _Unanswered(Had.FAILED, reached=code < 500, status=status)
