"""
Does it stay as it was? Signed calls at a steady rate for a long time: memory, descriptors and waits, minute by minute.

Exit code 1 when a call went wrong, or when memory or descriptors have grown since the first fifth of the time. Each
call carries a token of its own, and leaves a row in the audit, which is verified at the end. Needs Linux.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from threading import Lock
from uuid import uuid4

from body import not_relevant, order_select
from servers import Ehr, Server

CALLERS = 8
SERVICE = "/cds-services/ppd-delivery-order"
# What may come on top of the first fifth: a heap that is still settling, and a page cache of SQLite's.
MOST_MORE_MB = 20.0
MOST_MORE_DESCRIPTORS = 4


@dataclass
class Heard:
    """What came back: waits in ms since the last look, and what went wrong."""

    waits: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def took(self, ms: float, status: int) -> None:
        with self.lock:
            self.waits.append(ms)
            if status != 200:
                self.wrong.append(f"status {status}")

    def broke(self, error: Exception) -> None:
        with self.lock:
            self.wrong.append(type(error).__name__)

    def since_last(self) -> list[float]:
        with self.lock:
            waits, self.waits = self.waits, []
        return waits


def call(number: int, due: float, server: Server, ehr: Ehr, heard: Heard) -> None:
    """One call at its time, over a connection of its own as most EHRs make it. Every fourth is none of our business."""
    time.sleep(max(0.0, due - time.perf_counter()))
    now = datetime.now(UTC)
    body = not_relevant(now) if number % 4 == 3 else order_select(now, hook_instance=str(uuid4()))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ehr.token(server, SERVICE)}"}
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        began = time.perf_counter()
        line.request("POST", SERVICE, body, headers)
        answer = line.getresponse()
        answer.read()
        heard.took((time.perf_counter() - began) * 1e3, answer.status)
    except OSError as error:
        heard.broke(error)
    finally:
        line.close()


def soak(server: Server, ehr: Ehr, seconds: int, rate: int, looks: int) -> bool:
    """Prints a line at each look. Was it steady?"""
    heard = Heard()
    memory, descriptors = [], []
    print(
        "| s | calls | p50 ms | p95 ms | p99 ms | memory, MB | descriptors | wrong |\n|---|---|---|---|---|---|---|---|"
    )
    began, number, done = time.perf_counter(), 0, 0
    with ThreadPoolExecutor(CALLERS) as callers:
        for look in range(1, looks + 1):
            until = seconds * look / looks
            pending = []
            while number / rate < until:
                pending.append(callers.submit(call, number, began + number / rate, server, ehr, heard))
                number += 1
            for one in pending:
                one.result()
            waits = heard.since_last()
            done += len(waits)
            memory.append(server.memory())
            descriptors.append(server.descriptors())
            cuts = quantiles(waits, n=100) if len(waits) > 1 else [0.0] * 99
            told = " | ".join(f"{cuts[percent - 1]:.1f}" for percent in (50, 95, 99))
            wrong = len(heard.wrong)
            print(
                f"| {until:.0f} | {len(waits)} | {told} | {memory[-1]:.1f} | {descriptors[-1]} | {wrong} |", flush=True
            )
    first = max(1, looks // 5)
    grown = median(memory[-first:]) - median(memory[:first])
    more = median(descriptors[-first:]) - median(descriptors[:first])
    print(
        f"{done} calls, {len(heard.wrong)} wrong {sorted(set(heard.wrong))}; {grown:+.1f} MB, {more:+.0f} descriptors"
    )
    return not heard.wrong and grown <= MOST_MORE_MB and more <= MOST_MORE_DESCRIPTORS


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=600, help="how long (default 600)")
    options.add_argument("--rate", type=int, default=50, help="calls a second (default 50)")
    options.add_argument("--looks", type=int, default=20, help="how often to look (default 20)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ehr = Ehr(Path(name))
        with ehr.served() as server:
            steady = soak(server, ehr, chosen.seconds, chosen.rate, chosen.looks)
        verify = [sys.executable, "-m", "cds_service", "audit", "verify"]
        said = subprocess.run(verify, env={**os.environ, **ehr.records}, capture_output=True, text=True, check=False)
        print((said.stdout + said.stderr).strip())
    sys.exit(0 if steady and said.returncode == 0 else 1)


if __name__ == "__main__":
    main()
