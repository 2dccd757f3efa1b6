"""Many requests from files, answered one line each: for a batch, for a test bed, and for whoever wants to know why."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from cds_service.advisor import Advisor
from cds_service.errors import RequestUnreadable, ServiceError, operation_outcome
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json, write_json
from cds_service.rendering.explanation import as_json, as_text
from cds_service.starting import what_is_there_stays

STDIN: Final = Path("-")
# A file is the user's own: a whole chart may stand in one line.
_MOST_BYTES: Final = 256 * 1024 * 1024
_MOST_NODES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it stood in a file: where, and its bytes or its parsed value."""

    where: str
    size: int
    body: bytes


def read_requests(paths: Iterable[Path]) -> Iterator[Asked]:
    """
    Every request of these files, in order. A file holds one JSON request, a JSON array of them, or NDJSON.

    Raises RequestUnreadable when a file cannot be opened: then nothing of it can be answered.
    """
    for path in paths:
        try:
            with _opened(path) as stream:
                yield from _in_stream(stream, "standard input" if path == STDIN else str(path))
        except OSError as error:
            raise RequestUnreadable(f"{path}: {error.strerror}") from error


def _opened(path: Path) -> IO[bytes]:
    return sys.stdin.buffer if path == STDIN else path.open("rb")


def _in_stream(stream: IO[bytes], where: str) -> Iterator[Asked]:
    first = stream.readline()
    while first and not first.strip():
        first = stream.readline()
    if _is_whole(first):
        yield Asked(f"{where}:1", len(first), first)
        for number, line in enumerate(stream, start=2):
            if line.strip():
                yield Asked(f"{where}:{number}", len(line), line)
        return
    everything = first + stream.read()
    members = _members(everything)
    if members is None:
        yield Asked(where, len(everything), everything)
    else:
        for number, member in enumerate(members, start=1):
            yield Asked(f"{where}[{number}]", len(member), member)


def _is_whole(line: bytes) -> bool:
    """Is this line a JSON object by itself? Then the file is NDJSON, or holds one request."""
    stripped = line.strip()
    if not (stripped.startswith(b"{") and stripped.endswith(b"}")):
        return False
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return False
    return True


def _members(everything: bytes) -> list[bytes] | None:
    """The members of a JSON array, each as its own text so that the strict reader sees it; None for anything else."""
    if not everything.lstrip().startswith(b"["):
        return None
    decoder = json.JSONDecoder()
    try:
        text = everything.decode("utf-8")
        at = text.index("[") + 1
        found: list[bytes] = []
        while True:
            while text[at].isspace() or text[at] == ",":
                at += 1
            if text[at] == "]":
                return found
            _, end = decoder.raw_decode(text, at)
            found.append(text[at:end].encode())
            at = end
    except (ValueError, IndexError, RecursionError):
        return None


def evaluate(
    requests: Iterable[Asked],
    advisor: Advisor,
    *,
    as_lines: bool,
    tell: Callable[[str], None],
    went: Callable[[int], None],
) -> int:
    """
    Answers each request, in input order, and goes on after one that cannot be read. Returns how many those were.

    `tell` gets what is printed for each; `went` the bytes that were worked off, for a progress bar.
    """
    failed = 0
    with what_is_there_stays():
        for asked in requests:
            explained = explain(asked, advisor)
            failed += explained.error is not None
            tell(write_json(explained.line).decode() if as_lines else explained.text)
            went(asked.size)
    return failed


@dataclass(frozen=True, slots=True)
class Explained:
    """
    What is told about one request: as a line of JSON or as text, of which one is asked for. `answer` is what a caller
    would get over HTTP.

    `error` says in a line what was wrong with the request, if anything. Then `answer` is an OperationOutcome.
    """

    as_line: Callable[[], dict[str, Any]]
    as_text: Callable[[], str]
    answer: dict[str, Any]
    error: str | None = None

    @property
    def line(self) -> dict[str, Any]:
        return self.as_line()

    @property
    def text(self) -> str:
        return self.as_text()


def explain(asked: Asked, advisor: Advisor) -> Explained:
    """Answers one request and says why. Never raises for what stands in it."""
    instance: str | None = None
    try:
        body = read_json(asked.body, most_bytes=_MOST_BYTES, most_nodes=_MOST_NODES)
        instance = _instance(body)
        advice = advisor.advise(parse_request(body))
    except ServiceError as refused:
        error, code = str(refused), refused.code
    except Exception as unexpected:  # one bad request must not end the batch, and no value of it is told
        error, code = f"unexpected {type(unexpected).__name__}", ServiceError.code
    else:
        thought = advice.consultation, advice.who, advice.cards
        return Explained(
            lambda: as_json(*thought),
            lambda: as_text(*thought, advisor.wording, advisor.knowledge, advisor.site),
            {"cards": list(advice.cards)},
        )
    line = {"hookInstance": instance, "service": None, "error": error}
    return Explained(lambda: line, lambda: f"{asked.where}: {error}", operation_outcome(code, error), error)


def _instance(body: object) -> str | None:
    """The hookInstance of a request that may otherwise be unreadable, so that its line can be found again."""
    instance = body.get("hookInstance") if isinstance(body, dict) else None
    return instance if isinstance(instance, str) and len(instance) <= 128 and instance.isprintable() else None


@contextmanager
def progress(files: list[Path]) -> Iterator[Callable[[int], None]]:
    """A progress bar by bytes on a terminal; nothing elsewhere, and nothing when the answers go to the terminal."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415  (a terminal is rare)
    from rich.progress import Progress  # noqa: PLC0415

    sizes = [path.stat().st_size if path.is_file() else None for path in files]
    total = sum(s for s in sizes if s is not None) if None not in sizes else None
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Evaluating", total=total)
        yield lambda size: bar.advance(task, size)
