"""
Does each token open the door once, and does each outcome count once, whoever dies? Tried again and again, and counted.

In a run eight threads in two processes spend one token a hundred times and report one outcome a hundred times, and one
of the two processes is killed at a random moment. Exit 1 if either ever counted twice, or never.

    python benchmarks/exactly_once.py --runs 100                      SQLite, in a folder that is thrown away
    python benchmarks/exactly_once.py --runs 100 --database URL       PostgreSQL, or another file
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

from cds_service.hooks.feedback import Item
from cds_service.records import Records

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ISSUER = "https://ehr.example.org"
KINDS = ("token", "feedback")
PROCESSES, THREADS, TIMES = 2, 4, 100
# A run in which the process that was killed had counted it, and died before it could say so.
ONCE, UNTOLD, TWICE, NEVER = "once", "once, untold", "twice", "never"


def count(records: Records, kind: str, name: str) -> int:
    """1 when this was the first, else 0."""
    if kind == "token":
        return int(records.tokens.spend(ISSUER, name, NOW + timedelta(minutes=5), NOW))
    return records.feedback.keep("t", "s", [Item(name, "accepted")], NOW, comments=False).kept


def work(place: str, name: str) -> None:
    """One of the two processes: begins when it gets a line, and tells each outcome at once."""
    records, together = Records.at(place), Barrier(THREADS)

    def one(times: int) -> None:
        together.wait()
        for _ in range(times):
            for kind in KINDS:
                os.write(1, f"{kind}={count(records, kind, name)}\n".encode())

    share = TIMES // PROCESSES
    threads = [Thread(target=one, args=(share * (n + 1) // THREADS - share * n // THREADS,)) for n in range(THREADS)]
    os.write(1, b"ready\n")
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(place: str, name: str, chance: random.Random) -> dict[str, str]:
    """One run, and how it went with each kind."""
    command = [sys.executable, __file__, "--database", place, "--work", name]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    for worker in workers:
        if worker.stdout is None or worker.stdout.readline() != "ready\n":
            sys.exit("a process did not start")
    for worker in workers:
        if worker.stdin is not None:
            worker.stdin.write("begin\n")
            worker.stdin.flush()
    # As often in the first moments, when the first one wins, as at any time later.
    time.sleep(chance.uniform(0, chance.choice((0.01, 0.1))))
    killed = chance.choice(workers)
    killed.kill()
    told = [line for worker in workers for line in worker.communicate(timeout=120)[0].split()]
    if any(worker.returncode for worker in workers if worker is not killed):
        sys.exit("a process failed that was not killed")
    with closing(Records.at(place)) as records:
        return {kind: how(told.count(f"{kind}=1"), count(records, kind, name)) for kind in KINDS}


def how(won: int, again: int) -> str:
    """`won`: how often it was told that it counted; `again`: 1 when it counted once more, after everything."""
    if won + again > 1:
        return TWICE
    return NEVER if again else ONCE if won else UNTOLD


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--database", metavar="PATH|URL")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--work", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.work:
        work(asked.database, asked.work)
        return
    chance = random.Random(asked.seed)  # noqa: S311  (the same moments again, for whoever wants to look)
    with tempfile.TemporaryDirectory() as folder:
        place = asked.database or str(Path(folder) / "records.sqlite3")
        went = {kind: Counter[str]() for kind in KINDS}
        for _ in range(asked.runs):
            for kind, outcome in run(place, f"{chance.getrandbits(64):x}", chance).items():
                went[kind][outcome] += 1
    if asked.json:
        print(json.dumps(went))
    else:
        for kind, counts in went.items():
            print(f"{kind:9} {', '.join(f'{one}: {counts[one]}' for one in (ONCE, UNTOLD, TWICE, NEVER))}")
    sys.exit(any(counts[one] for counts in went.values() for one in (TWICE, NEVER)))


if __name__ == "__main__":
    main()
