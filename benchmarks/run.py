"""
How fast and how big, in one table. Each server is one process on this machine, beside a bare Flask endpoint.

CPU is the server's own, read from /proc, so this needs Linux. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles

from body import not_relevant, order_select

HERE = Path(__file__).parent
CONNECTIONS = 4
SITE = """
name = "Benchmark hospital"
country = "CN"

[protocol]
id = "esketamine-iv"
approval = "BENCHMARK-ONLY"
strength_mg_per_ml = 5
"""


# ---- A server, and what it used


@dataclass(frozen=True)
class Server:
    """A process that listens."""

    pid: int
    port: int
    ready_after: float

    def cpu(self) -> float:
        """Seconds on a processor so far, over all threads."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def memory(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@contextmanager
def running(*command: str, **environment: str) -> Iterator[Server]:
    """Starts a server that prints its address, and stops it. What it logs is thrown away, but written as ever."""
    began = time.perf_counter()
    around = {**os.environ, **environment}
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=around
    )
    try:
        line = next((line for line in process.stdout or () if "http://" in line), "")
        if not line:
            sys.exit(f"did not start: {' '.join(command)}")
        port = int(line.split("http://")[1].split("/")[0].split(":")[1])
        yield Server(process.pid, port, time.perf_counter() - began)
    finally:
        process.terminate()
        process.communicate(timeout=30)


# ---- Calls


@dataclass
class Call:
    """One kind of call, and what each round of it took."""

    says: str
    server: Server
    path: str
    body: bytes
    cpu_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def once(self, line: http.client.HTTPConnection) -> bytes:
        line.request("POST", self.path, self.body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        said = answer.read()
        if answer.status != 200:
            sys.exit(f"{self.path}: {answer.status} {said[:300]!r}")
        return said

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)

    def one_by_one(self, number: int) -> None:
        """One caller who waits for each answer: CPU and latency."""
        line = self.connect()
        self.once(line)
        before = self.server.cpu()
        for _ in range(number):
            began = time.perf_counter()
            self.once(line)
            self.latency_ms.append((time.perf_counter() - began) * 1e3)
        self.cpu_ms.append((self.server.cpu() - before) * 1e3 / number)
        line.close()

    def all_at_once(self, number: int) -> None:
        """Several callers who never pause: what one process can bear."""

        def caller(_: int) -> None:
            line = self.connect()
            for _ in range(number // CONNECTIONS):
                self.once(line)
            line.close()

        began = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as callers:
            list(callers.map(caller, range(CONNECTIONS)))
        self.per_second.append(number / (time.perf_counter() - began))


def topics(said: bytes) -> list[str]:
    return [card["source"]["topic"]["code"] for card in json.loads(said)["cards"]]


# ---- Batches


def batch(site: Path, folder: Path, now: datetime, number: int) -> float:
    """Seconds for `evaluate --json` over a file of this many requests."""
    file = folder / f"{number}.ndjson"
    with file.open("wb") as lines:
        for n in range(number):
            lines.write(order_select(now, hook_instance=f"00000000-0000-4000-8000-{n:012d}") + b"\n")
    command = [sys.executable, "-m", "cds_service", "evaluate", "--json", "--site", str(site), str(file)]
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    taken = time.perf_counter() - began
    if done.stdout.count(b'"status":"eligible"') != number:
        sys.exit("the batch did not end in eligible cards")
    return taken


# ---- The table


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default 9)")
    options.add_argument("--calls", type=int, default=100, help="calls in each round (default 100)")
    options.add_argument("--batch", type=int, default=1000, help="requests in the batch (default 1000)")
    chosen = options.parse_args()
    if not Path("/proc/self/schedstat").exists():
        sys.exit("This needs Linux: the CPU of a server is read from /proc.")
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = folder / "site.toml"
        site.write_text(SITE)
        service = ("-m", "cds_service", "serve", "--insecure", "--port", "0", "--site", str(site))
        with running(str(HERE / "bare.py")) as bare, running(str(HERE / "ehr.py")) as ehr:
            url = f"http://127.0.0.1:{ehr.port}/fhir"
            with running(*service, "--fhir-server", url, CDS_DATABASE=str(folder / "records.sqlite3")) as ours:
                measure(bare, ours, now, url, chosen.rounds, chosen.calls)
        few = chosen.batch // 10
        extra = batch(site, folder, now, chosen.batch) - batch(site, folder, now, few)
        print(f"| evaluate --json, requests/s, one process, after start | {(chosen.batch - few) / extra:,.0f} | |")


def measure(bare_server: Server, server: Server, now: datetime, fhir_server: str, rounds: int, number: int) -> None:
    body, path = order_select(now), "/cds-services/ppd-delivery-order"
    bare = Call("bare Flask endpoint", bare_server, "/bare", body)
    ours = Call("delivery order, eligible", server, path, body)
    other = Call("another order, not relevant", server, path, not_relevant(now))
    fetched = Call("six lists read from the EHR, 20 ms each", server, path, order_select(now, fhir_server=fhir_server))
    larger = Call("250 KB of prefetch", server, path, order_select(now, kilobytes=250))
    largest = Call("1 MB of prefetch", server, path, order_select(now, kilobytes=1000))
    calls = (bare, ours, other, fetched, larger, largest)
    fresh, bare_fresh = server.memory(), bare_server.memory()

    # The benchmark is worth nothing if it measures a refusal.
    said = ours.once(ours.connect())
    wanted = [topics(call.once(call.connect())) for call in (ours, fetched, larger, largest)]
    if wanted != [["KETOPTION", "PPDRISK"]] * 4 or topics(other.once(other.connect())):
        sys.exit(f"not the cards that are to be measured: {wanted}")

    for call in calls:  # warm
        call.one_by_one(number)
        call.cpu_ms.clear()
        call.latency_ms.clear()
    for _ in range(rounds):
        for call in calls:
            call.one_by_one(number)
        for call in calls:
            call.all_at_once(number)

    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{python}, {os.cpu_count()} cores, {platform.machine()}. Medians of {rounds} rounds of {number} calls.")
    print(f"Body {len(body) / 1000:.1f} KB, answer {len(said) / 1000:.1f} KB.\n")
    print("| one server process | CPU ms a call | beside bare | p50 ms | p95 ms | p99 ms | calls/s |")
    print("|---|---|---|---|---|---|---|")
    for call in calls:
        beside = median(a / b for a, b in zip(call.cpu_ms, bare.cpu_ms, strict=True))
        cuts = quantiles(call.latency_ms, n=100)
        waits = " | ".join(f"{cuts[percent - 1]:.1f}" for percent in (50, 95, 99))
        print(f"| {call.says} | {median(call.cpu_ms):.2f} | {beside:.1f} | {waits} | {median(call.per_second):,.0f} |")
    print("\n| what | service | bare |")
    print("|---|---|---|")
    print(f"| start to ready, s | {server.ready_after:.2f} | {bare_server.ready_after:.2f} |")
    print(f"| resident memory when ready, MB | {fresh:.0f} | {bare_fresh:.0f} |")
    print(f"| resident memory after the calls, MB | {server.memory():.0f} | {bare_server.memory():.0f} |")


if __name__ == "__main__":
    main()
