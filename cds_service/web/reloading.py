"""
Keeps a running service in step with its files: the tenants, their sites, their keys.

A change builds a new application beside the old one, and from then on calls go to the new one. What has begun is ended
by the old one. If the new one is unfit, the old one goes on, and the log says so.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cds_service.errors import KnowledgeUnfit, SiteUnfit
from cds_service.events import Event, place_of, tell

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# A kill switch must act within a minute; reading a few small files costs nothing.
LOOK_EVERY_SECONDS: Final = 2.0
# How often it is built in a row while its files go on changing. What is newer still waits for the next look.
_BUILDS_IN_A_ROW: Final = 3
# Where a request finds out whether a changed file is kept back.
KEPT_BACK: Final = "cds_service.kept_back"

_State = tuple[tuple[Path, ...], str]


@dataclass(frozen=True, slots=True)
class Built:
    """An application, how many tenants it serves, and the files that it was made from."""

    app: WSGIApplication
    tenants: int
    files: tuple[Path, ...]


class Reloading:
    """
    A WSGI application that is built anew when one of its files changes. At start it raises what `build` raises.

    `files` are those that it will be built from, as far as that is known beforehand. Each request finds in its
    environment, under KEPT_BACK, whether an older version is in force since a newer one has defects.
    """

    def __init__(self, build: Callable[[], Built], files: tuple[Path, ...] = ()) -> None:
        self._build = build
        self._asked = threading.Event()
        self._kept_back: tuple[str, ...] | None = None
        self._built, self._seen = self._fresh(files)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[KEPT_BACK] = self._kept_back is not None
        return self._built.app(environ, start_response)

    def look(self) -> bool:
        """
        Has anything changed since the last look? Then a new application is built, if it can be. True if it was.

        What was kept back is tried again at each look: it may name a file that has been mended, and only the building
        knows its name. It is told of once, and again when something else is wrong with it.
        """
        if self._kept_back is None and _state(self._built.files) == self._seen:
            return False
        try:
            self._built, self._seen = self._fresh(self._built.files)
        except (SiteUnfit, KnowledgeUnfit) as unfit:
            self._keep_back(unfit.defects)
            return False
        except Exception as error:  # a file that was half written, or anything else: the old one goes on
            self._keep_back((type(error).__name__, place_of(error)), unexpected=error)
            return False
        self._kept_back = None
        tell(Event.TENANTS_RELOADED, count=self._built.tenants, hash=self._seen[1])
        return True

    def look_soon(self) -> None:
        """While it is watched: the next look is now."""
        self._asked.set()

    @contextmanager
    def watching(self, every_seconds: float = LOOK_EVERY_SECONDS) -> Iterator[None]:
        """Looks now and then, in a thread of its own, until the block ends."""
        left = threading.Event()

        def watch() -> None:
            while True:
                self._asked.wait(every_seconds)
                self._asked.clear()
                if left.is_set():
                    return
                self.look()

        thread = threading.Thread(target=watch, name="tenants", daemon=True)
        thread.start()
        try:
            yield
        finally:
            left.set()
            self._asked.set()
            thread.join()

    def _fresh(self, files: tuple[Path, ...]) -> tuple[Built, _State]:
        """
        An application of the files as they are now, and how they were before it was built.

        Building takes seconds when somebody's keys hang, and what changes after it was read must not be lost: a
        protocol that is withdrawn, a key. So the files are looked at before and after, and it is built again while they
        differ or others are named.
        """
        for _ in range(_BUILDS_IN_A_ROW):
            before = _state(files)
            built = self._build()
            files = built.files
            if _state(files) == before:
                break
        return built, before

    def _keep_back(self, defects: tuple[str, ...], unexpected: Exception | None = None) -> None:
        known, self._kept_back = self._kept_back, defects
        if defects == known:
            return
        if unexpected is not None:
            tell(Event.UNEXPECTED, error=type(unexpected).__name__, place=place_of(unexpected))
        tell(Event.TENANTS_KEPT, defects=len(defects) if unexpected is None else None)


def _state(files: tuple[Path, ...]) -> _State:
    return files, _fingerprint(files)


def _fingerprint(files: Iterable[Path]) -> str:
    """Of the bytes, not of the dates: a file may be put in place with the date of another."""
    digest = hashlib.sha256()
    for path in files:
        content: Any = _content(path)
        digest.update(f"{len(content) if content is not None else 'gone'}|".encode())
        digest.update(content or b"")
    return digest.hexdigest()[:16]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
