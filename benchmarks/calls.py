"""The calls that are measured: one by one, all at once, and at a steady rate whatever becomes of them."""

from __future__ import annotations

import gc
import http.client
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import quantiles
from threading import local

from servers import Ehr, Server

CONNECTIONS = 4
CALLERS_AT_A_RATE = 256


@dataclass
class Call:
    """
    One kind of call, and what each round of it took. `body` is the n-th call's.

    The `ehr` signs it. Without one, as for the bare endpoints, nobody does.
    """

    says: str
    server: Server
    path: str
    body: Callable[[int], bytes]
    ehr: Ehr | None = None
    cpu_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    count: int = 0

    def made(self, number: int) -> list[tuple[bytes, dict[str, str]]]:
        """So many calls, signed beforehand: an EHR's work is not ours."""
        self.count += number
        return [(self.body(n), self._headers()) for n in range(self.count - number, self.count)]

    def _headers(self) -> dict[str, str]:
        kind = {"Content-Type": "application/json"}
        if self.ehr is None:
            return kind
        return {**kind, "Authorization": f"Bearer {self.ehr.token(self.server, self.path)}"}

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)

    def once(self, line: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> bytes:
        line.request("POST", self.path, body, headers)
        answer = line.getresponse()
        said = answer.read()
        if answer.status != 200:
            sys.exit(f"{self.path}: {answer.status} {said[:300]!r}")
        return said

    def one(self) -> bytes:
        """The answer to one call over a connection of its own."""
        ((body, headers),) = self.made(1)
        line = self.connect()
        try:
            return self.once(line, body, headers)
        finally:
            line.close()

    def one_by_one(self, number: int) -> None:
        """One caller who waits for each answer: CPU and latency."""
        calls, line = self.made(number + 1), self.connect()
        self.once(line, *calls.pop())
        before = self.server.cpu()
        for body, headers in calls:
            began = time.perf_counter()
            self.once(line, body, headers)
            self.latency_ms.append((time.perf_counter() - began) * 1e3)
        self.cpu_ms.append((self.server.cpu() - before) * 1e3 / number)
        line.close()

    def all_at_once(self, number: int) -> None:
        """Several callers who never pause: what the server can bear."""
        calls = self.made(number)

        def caller(which: int) -> None:
            line = self.connect()
            for body, headers in calls[which::CONNECTIONS]:
                self.once(line, body, headers)
            line.close()

        began = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as callers:
            list(callers.map(caller, range(CONNECTIONS)))
        self.per_second.append(number / (time.perf_counter() - began))

    def forget(self) -> None:
        """What was a warming up."""
        self.cpu_ms.clear()
        self.latency_ms.clear()
        self.per_second.clear()

    def waits(self) -> list[float]:
        """p50, p95 and p99, in ms."""
        return cuts(self.latency_ms)


def cuts(waits: list[float]) -> list[float]:
    found = quantiles(waits, n=100)
    return [found[percent - 1] for percent in (50, 95, 99)]


@dataclass(frozen=True)
class AtARate:
    """Calls at a steady rate: what was answered and how, and how long after its due time each 200 was there, in ms."""

    statuses: Counter[str]
    waits_ms: list[float]


def at_a_rate(calls: list[Call], rate: float, seconds: float) -> AtARate:
    """
    Open loop: a call is due at its time, whether or not those before it have been answered.

    With several `calls` they take turns. A 503 counts as such only with Retry-After.
    """
    number = int(rate * seconds)
    made = [(call, *call.made(1)[0]) for call in (calls[n % len(calls)] for n in range(number))]
    own, statuses, waits = local(), Counter[str](), list[float]()

    def caller(which: int) -> None:
        call, body, headers = made[which]
        due = began + which / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        lines = own.__dict__.setdefault("lines", {})
        line = lines.get(call.server.port) or lines.setdefault(call.server.port, call.connect())
        try:
            line.request("POST", call.path, body, headers)
            answer = line.getresponse()
            answer.read()
        except OSError as error:
            statuses[type(error).__name__] += 1
            line.close()
            return
        waited = (time.perf_counter() - due) * 1e3
        polite = answer.status != 503 or answer.getheader("Retry-After")
        statuses[str(answer.status) if polite else "503 without Retry-After"] += 1
        if answer.status == 200:
            waits.append(waited)

    gc.collect()
    gc.freeze()  # a pause of the callers would look like one of the server
    began = time.perf_counter() + 0.1
    with ThreadPoolExecutor(CALLERS_AT_A_RATE) as callers:
        list(callers.map(caller, range(number)))
    return AtARate(statuses, waits)
