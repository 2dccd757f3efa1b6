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
from cds_service.events import Event, tell

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# A kill switch must act within a minute; reading a few small files costs nothing.
LOOK_EVERY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Built:
    """An application, how many tenants it serves, and the files that it was made from."""

    app: WSGIApplication
    tenants: int
    files: tuple[Path, ...]


class Reloading:
    """A WSGI application that is built anew when one of its files changes. At start it raises what `build` raises."""

    def __init__(self, build: Callable[[], Built]) -> None:
        self._build = build
        self._built = build()
        self._seen = _fingerprint(self._built.files)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._built.app(environ, start_response)

    def look(self) -> bool:
        """Has anything changed since the last look? Then a new application is built, if it can be. True if it was."""
        found = _fingerprint(self._built.files)
        if found == self._seen:
            return False
        self._seen = found  # whatever comes of it: a bad file is told of once, not every two seconds
        try:
            built = self._build()
        except (SiteUnfit, KnowledgeUnfit) as unfit:
            tell(Event.TENANTS_KEPT, defects=len(unfit.defects))
            return False
        except Exception as error:  # a file that was half written, or anything else: the old one goes on
            tell(Event.UNEXPECTED, error=type(error).__name__)
            return False
        self._built = built
        self._seen = _fingerprint(built.files)
        tell(Event.TENANTS_RELOADED, count=built.tenants, hash=self._seen)
        return True

    @contextmanager
    def watching(self, every_seconds: float = LOOK_EVERY_SECONDS) -> Iterator[None]:
        """Looks now and then, in a thread of its own, until the block ends."""
        left = threading.Event()

        def watch() -> None:
            while not left.wait(every_seconds):
                self.look()

        thread = threading.Thread(target=watch, name="tenants", daemon=True)
        thread.start()
        try:
            yield
        finally:
            left.set()
            thread.join()


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
