"""
How long does a newcomer wait, from `git clone` to the first card of the demonstration?

    python3 .ci/first_card.py [REPOSITORY]

It clones the repository (this one, if none is named) into an empty folder, does there what `make demo` does, orders a
birth for an invented woman as the page does, and prints the seconds. PIP_NO_CACHE_DIR=1 fetches every package anew.
What was not committed is not in a clone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import ProxyHandler, Request, build_opener

MAY_TAKE_SECONDS: Final = 120
_SERVICE: Final = "ppd-delivery-order"
_PATIENCE_SECONDS: Final = 30
_OF_AN_OUTER_MAKE: Final = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
_open: Final = build_opener(ProxyHandler({})).open  # this machine, whatever proxy stands in the environment


def first_card(url: str, woman: str = "alma", order: str = "vaginal-delivery") -> str:
    """The summary of the first card for this woman and order, asked for as the page asks. `url` is the demo's."""
    with _open(url, timeout=_PATIENCE_SECONDS) as page:
        if b"<html" not in page.read():
            raise SystemExit(f"{url} shows no page")
    here = url.removesuffix("/demo")
    with _open(f"{url}/patients/{woman}/requests/{_SERVICE}?order={order}", timeout=_PATIENCE_SECONDS) as asked:
        call = Request(f"{here}/cds-services/{_SERVICE}", asked.read(), {"Content-Type": "application/json"})  # noqa: S310
    with _open(call, timeout=_PATIENCE_SECONDS) as answer:
        cards: list[dict[str, Any]] = json.load(answer)["cards"]
    if not cards:
        raise SystemExit("there is no card")
    return str(cards[0]["summary"])


@contextmanager
def demonstration(clone: Path) -> Iterator[str]:
    """`make demo` without a browser, at any free port, until the block ends. Gives the address that it prints."""
    command = ["make", "--no-print-directory", "demo", "DEMO=--no-browser --port 0"]
    around = {name: value for name, value in os.environ.items() if name not in _OF_AN_OUTER_MAKE}
    making = subprocess.Popen(command, cwd=clone, env=around, stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        for line in making.stdout or ():
            if "Demonstration at " in line:
                yield line.split("Demonstration at ")[1].split()[0]
                break
        else:
            raise SystemExit("the demonstration did not start")
    finally:
        os.killpg(making.pid, 15)
        making.wait(_PATIENCE_SECONDS)


def main() -> None:
    source = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", source, str(clone)], check=True)
        cloned = time.monotonic() - began
        with demonstration(clone) as url:
            started = time.monotonic() - began
            card = first_card(url)
            took = time.monotonic() - began
    print(f"{took:.1f} s from clone to the first card: cloned after {cloned:.1f} s, started after {started:.1f} s")
    print(f"The card: {card}")
    if took > MAY_TAKE_SECONDS:
        raise SystemExit(f"That is more than {MAY_TAKE_SECONDS} s.")


if __name__ == "__main__":
    main()
