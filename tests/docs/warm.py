"""
The program, imported once. Each command that comes in is run by a child of this process, with its own folder,
environment, arguments and streams: as if it had just been started, without the wait.

As a script it listens at a socket until it is told to end. `CLIENT` is what stands in the place of the program: it
hands over the command, forwards SIGTERM and ends with the command's exit code.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

CLIENT = """#!{python} -SEs
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as warm:
    warm.connect({place!r})
    told = {{"folder": os.getcwd(), "environment": dict(os.environ), "arguments": sys.argv}}
    socket.send_fds(warm, [json.dumps(told).encode()], [0, 1, 2])
    child = int(warm.recv(20))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    code = warm.recv(4)
sys.exit(int(code or b"1"))
"""
# What the commands import when they are run.
LAZY = ("advisor", "batch", "bookkeeping", "checking", "differing", "web.demo", "web.opening", "web.server")
_LONGEST = 1 << 20


@contextlib.contextmanager
def warm(package: Path, place: Path) -> Iterator[None]:
    """Such a process, with the package that lies in this folder. It listens at `place` until the block ends."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(place))
    listening.listen()
    process = subprocess.Popen(
        [sys.executable, __file__, str(listening.fileno())],
        env=os.environ | {"PYTHONPATH": str(package)},
        pass_fds=[listening.fileno()],
    )
    listening.close()
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def main(listening: socket.socket) -> NoReturn:
    """Runs commands until SIGTERM."""
    from cds_service.__main__ import main as command  # noqa: PLC0415  (of the folder that was named)

    for name in LAZY:
        importlib.import_module(f"cds_service.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        caller, _ = listening.accept()
        told, streams, _, _ = socket.recv_fds(caller, _LONGEST, 3)
        if told and os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            _run(command, caller, json.loads(told), streams)
        for stream in streams:
            os.close(stream)
        caller.close()


def _run(command: Any, caller: socket.socket, told: dict[str, Any], streams: list[int]) -> NoReturn:
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv = told["arguments"]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    caller.send(str(os.getpid()).encode())
    code: Any = 1
    try:
        command()
        code = 0
    except SystemExit as left:
        code = left.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        caller.send(str(code).encode())
        os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
