"""What this machine gives: an address to listen on, a database and its disk, a folder for the counters."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cds_service.doctor.calling import called, whose_json
from cds_service.doctor.findings import Trouble, fail, warn
from cds_service.doctor.setup import Setup
from cds_service.errors import SiteUnfit
from cds_service.records.state import State, file_of, state_of

_DATABASE: Final = "CDS_DATABASE"
_EXPLANATIONS: Final = "CDS_EXPLANATIONS"
# SQLite's locks and its write-ahead log need one machine and a disk of its own.
_OVER_A_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "glusterfs", "fuse.glusterfs", "fuse.sshfs"}
)
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})


# --- where it listens -----------------------------------------------------------------------------


def host(setup: Setup) -> Iterator[Trouble]:
    if setup.insecure and not setup.listens_here_alone:
        yield fail(
            f"--host {setup.host}",
            "--insecure answers without asking who calls, and this address could be reached from elsewhere.",
            "leave out --host, or serve with --tenants",
        )


def port(setup: Setup) -> Iterator[Trouble]:
    where = f"--host {setup.host} --port {setup.port}"
    try:
        family, *_, address = socket.getaddrinfo(
            setup.host, setup.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        socket.create_server(address[:2], family=family).close()
    except socket.gaierror:
        yield fail(where, "no such host.", "name an address of this machine, such as 127.0.0.1")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            mend = "take a port above 1023, or another address of this machine"
            yield fail(where, f"cannot be listened on: {os.strerror(error.errno or 0)}.", mend)
        elif not _is_ours(setup):
            yield fail(where, "another program listens there.", "end it, or take another --port")


def _is_ours(setup: Setup) -> bool:
    """A service of ours that runs already is no reason to worry."""
    name = f"[{setup.host}]" if ":" in setup.host else setup.host
    name = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(name, name)  # noqa: S104  (compared, not bound)
    answer = called("GET", f"http://{name}:{setup.port}/version")
    return "cdsHooks" in whose_json(answer)


# --- where it writes ------------------------------------------------------------------------------


def _stores(setup: Setup) -> Iterator[tuple[str, str]]:
    yield _DATABASE, setup.settings.database
    if setup.settings.explanation_key is not None:
        yield _EXPLANATIONS, setup.settings.explanations


def database(setup: Setup) -> Iterator[Trouble]:
    for name, place in _stores(setup):
        try:
            state = state_of(place, name)
        except SiteUnfit as unfit:
            what = unfit.defects[0].partition(": ")[2]
            driver = "pip install" in what
            yield fail(name, f"{what}.", "install it" if driver else "write a path, or postgresql://user@host/name")
            continue
        match state:
            case State.UNREADABLE if file_of(place) is None:
                mend = "look whether the server runs, its name and port, user, password and database are right"
                yield fail(name, "the PostgreSQL server cannot be reached, or lets nobody in.", mend)
            case State.UNREADABLE:
                yield fail(
                    name, "not a SQLite database.", "name another file; one that is not there yet is made by `serve`"
                )
            case State.NO_FOLDER:
                yield fail(name, f"{state.value}.", "make the folder, and give it to the user that runs the service")
            case State.READ_ONLY:
                yield fail(name, f"{state.value}.", "give it, and the tables in it, to the user that runs the service")
            case State.NEWER if name == _DATABASE:
                yield fail(name, f"{state.value}.", "go back to that version, or restore a backup of before it")


def _records(setup: Setup) -> State | None:
    try:
        return state_of(setup.settings.database, _DATABASE)
    except SiteUnfit:
        return None


def sees_tables(setup: Setup) -> bool:
    return _records(setup) in (State.ABSENT, State.EMPTY, State.BEHIND, State.CURRENT)


def migrations(setup: Setup) -> Iterator[Trouble]:
    if _records(setup) is State.BEHIND:
        mend = "back it up (docs/operations.md), then start `serve`: it brings the tables up to date"
        yield warn(_DATABASE, f"not migrated: {State.BEHIND.value}.", mend)


def disk(setup: Setup) -> Iterator[Trouble]:
    for name, place in _stores(setup):
        path = file_of(place)
        if path is None:
            if "://" not in place and setup.production:
                yield fail(name, "in memory: all is forgotten with the process.", "name a file, or a PostgreSQL URL")
            continue
        kind = _kind_of_disk(path, setup.mounts)
        if kind in _OVER_A_NETWORK:
            mend = "put the file on a disk of this machine, or take PostgreSQL"
            yield fail(name, f"a SQLite file on {kind}, a disk over a network: it will be damaged.", mend)
        elif kind in _IN_MEMORY and setup.production:
            yield fail(name, f"a file on {kind}: it is gone when this machine restarts.", "put it on a real disk")
        yield from _open_to_others(name, path)
    files = [file_of(place) for _, place in _stores(setup)]
    if len(files) == 2 and files[0] is not None and files[0] == files[1]:
        mend = "give it a file of its own: it holds charts, and is not to be in a backup"
        yield warn(_EXPLANATIONS, "the same file as CDS_DATABASE.", mend)


def _open_to_others(name: str, path: Path) -> Iterator[Trouble]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield fail(name, "others on this machine can open the file.", f"chmod 600 {path}")


def _kind_of_disk(path: Path, mounts: Path) -> str:
    """The type of the file system that holds this path, as the kernel names it; "" where it does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    resolved, best, kind = path.resolve(), -1, ""
    for line in lines:
        _, _, rest = line.partition(" ")
        place, _, rest = rest.partition(" ")
        at = Path(place.replace("\\040", " "))
        if resolved.is_relative_to(at) and len(at.parts) >= best:
            best, kind = len(at.parts), rest.partition(" ")[0]
    return kind


def counters(setup: Setup) -> Iterator[Trouble]:
    name = "PROMETHEUS_MULTIPROC_DIR"
    folder = Path(setup.environment[name])
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield fail(
            name, "no folder that can be written.", f"mkdir {folder}, and give it to the user that runs the service"
        )
    elif any(folder.iterdir()):
        yield warn(name, "not empty: the counters of an earlier run are counted again.", "empty it before each start")


def shares_counters(setup: Setup) -> bool:
    return bool(setup.environment.get("PROMETHEUS_MULTIPROC_DIR"))
