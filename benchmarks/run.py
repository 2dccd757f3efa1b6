"""
How fast and how big, in one table. Each server is a process of its own on this machine, beside a bare Flask endpoint.

Each call is signed (RS384), its token counts once, and what was advised is written down. The rounds of all rows take
turns, so that a machine that is slow for a while is slow for all. CPU is the server's own, read from /proc, so this
needs Linux. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from body import feedback, not_relevant, order_select, order_sign
from calls import Call, at_a_rate, cuts
from servers import Ehr, Server, running

HERE = Path(__file__).parent
DELIVERY, SIGNING = "/cds-services/ppd-delivery-order", "/cds-services/ppd-order-check"
RATES = (100, 500)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9, help="rounds that take turns (default 9)")
    options.add_argument("--calls", type=int, default=100, help="calls in each round (default 100)")
    options.add_argument("--seconds", type=int, default=10, help="of each steady rate (default 10)")
    options.add_argument("--batch", type=int, default=10_000, help="requests in the batch (default 10,000)")
    chosen = options.parse_args()
    if not Path("/proc/self/schedstat").exists():
        sys.exit("This needs Linux: the CPU of a server is read from /proc.")
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        bare = str(HERE / "bare.py")
        floor, bare_waitress, slow = (
            stack.enter_context(running(*command))
            for command in ((bare, "--gunicorn"), (bare,), (str(HERE / "ehr.py"),))
        )
        fhir_server = f"http://127.0.0.1:{slow.port}/fhir"
        ehr = Ehr(Path(name), (fhir_server,))
        server = stack.enter_context(ehr.served())
        fresh = server.memory()
        measured = rows(floor, bare_waitress, server, ehr, now, fhir_server)
        told(measured)
        in_turns(measured, chosen.rounds, chosen.calls)
        show(measured)
        other = stack.enter_context(ehr.served())
        steadily([server], ehr, now, chosen.seconds)
        steadily([server, other], ehr, now, chosen.seconds)
        few = max(1, chosen.batch // 10)
        per_second = (chosen.batch - few) / (batch(ehr, now, chosen.batch) - batch(ehr, now, few))
        print("\n| what | service | bare |\n|---|---|---|")
        print(f"| start to ready, s | {server.ready_after:.2f} | {bare_waitress.ready_after:.2f} |")
        print(f"| resident memory when ready, MB | {fresh:.0f} | {bare_waitress.memory():.0f} |")
        print(f"| resident memory after the calls, MB | {server.memory():.0f} | |")
        print(f"| `evaluate --json`, requests/s, one process, after start | {per_second:,.0f} | |")


# ---- One by one, and all at once


def rows(floor: Server, waitress: Server, server: Server, ehr: Ehr, now: datetime, fhir_server: str) -> list[Call]:
    """What is measured, the floor first."""

    def always(body: bytes) -> Callable[[int], bytes]:
        return lambda _: body

    def ours(says: str, body: bytes, path: str = DELIVERY) -> Call:
        return Call(f"{says}, {len(body) / 1000:.0f} KB", server, path, always(body), ehr)

    body = order_select(now)
    return [
        Call("bare Flask on gunicorn gthread", floor, "/bare", always(body)),
        Call("bare Flask on waitress", waitress, "/bare", always(body)),
        ours("delivery order, eligible", body),
        ours("another order, not relevant", not_relevant(now)),
        ours("signing 50 orders", order_sign(now, 50), SIGNING),
        ours("six lists read from the EHR, 50 ms each", order_select(now, fhir_server=fhir_server)),
        ours("more pulses", order_select(now, kilobytes=250)),
        ours("more pulses", order_select(now, kilobytes=1000)),
        Call("feedback on a card", server, f"{DELIVERY}/feedback", lambda n: feedback(now, n), ehr),
    ]


def told(measured: list[Call]) -> None:
    """The benchmark is worth nothing if it measures a refusal."""
    topics = [[card["source"]["topic"]["code"] for card in json.loads(call.one())["cards"]] for call in measured[2:-1]]
    if topics != [both if n != 1 else [] for n, both in enumerate([["KETOPTION", "PPDRISK"]] * 6)]:
        sys.exit(f"not the cards that are to be measured: {topics}")
    if json.loads(measured[-1].one()) != {"kept": 1, "repeated": 0}:
        sys.exit("the feedback was not kept")


def in_turns(measured: list[Call], rounds: int, number: int) -> None:
    for call in measured:  # warm
        call.one_by_one(number)
        call.forget()
    for _ in range(rounds):
        for call in measured:
            call.one_by_one(number)
        for call in measured:
            call.all_at_once(number)


def show(measured: list[Call]) -> None:
    floor, python = measured[0], f"{platform.python_implementation()} {platform.python_version()}"
    rounds = len(floor.cpu_ms)
    number = len(floor.latency_ms) // rounds
    print(f"{python}, {os.cpu_count()} cores, {platform.machine()}. Medians of {rounds} rounds of {number} calls.\n")
    print("| one process | CPU ms a call | beside the floor | p50 ms | p95 ms | p99 ms | calls/s |")
    print("|---|---|---|---|---|---|---|")
    for call in measured:
        beside = median(a / b for a, b in zip(call.cpu_ms, floor.cpu_ms, strict=True))
        waits = " | ".join(f"{wait:.1f}" for wait in call.waits())
        print(f"| {call.says} | {median(call.cpu_ms):.2f} | {beside:.1f} | {waits} | {median(call.per_second):,.0f} |")


# ---- At a steady rate


def steadily(servers: list[Server], ehr: Ehr, now: datetime, seconds: int) -> None:
    """Delivery orders at each rate; several processes share a database and take turns."""
    calls = [Call("", server, DELIVERY, lambda _: order_select(now), ehr) for server in servers]
    listening = "one process" if len(servers) == 1 else f"{len(servers)} processes"
    print(f"\n| delivery orders a second, {listening} | p50 ms | p95 ms | p99 ms | answers |")
    print("|---|---|---|---|---|")
    for rate in RATES:
        found = at_a_rate(calls, rate, seconds)
        waits = " | ".join(f"{wait:.1f}" for wait in cuts(found.waits_ms))
        answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(found.statuses.items()))
        print(f"| {rate} | {waits} | {answers} |")


# ---- Batches


def batch(ehr: Ehr, now: datetime, number: int) -> float:
    """Seconds for `evaluate --json` over a file of this many requests."""
    file = ehr.folder / f"{number}.ndjson"
    with file.open("wb") as lines:
        for n in range(number):
            lines.write(order_select(now, hook_instance=f"00000000-0000-4000-8000-{n:012d}") + b"\n")
    command = [sys.executable, "-m", "cds_service", "evaluate", "--json", "--site", str(ehr.site), str(file)]
    began, eligible = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running_batch:
        for line in running_batch.stdout or ():
            eligible += b'"status":"eligible"' in line
    taken = time.perf_counter() - began
    file.unlink()
    if eligible != number:
        sys.exit("the batch did not end in eligible cards")
    return taken


if __name__ == "__main__":
    main()
