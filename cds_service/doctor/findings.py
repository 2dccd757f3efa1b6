"""What the doctor finds: each thing in one line, with how bad it is, where it is, and how it is mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from cds_service.doctor.setup import Setup

_LONGEST: Final = 400


class Level(StrEnum):
    """FAIL: the service does not start, or some call gets no answer or no right one. WARN: it works, but know this."""

    PASS = "PASS"  # noqa: S105  (a word, no password)
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not well. `where` is a setting, a file, a tenant or an address; `mend` is what to do."""

    level: Level
    where: str
    what: str
    mend: str


def fail(where: object, what: str, mend: str) -> Trouble:
    return Trouble(Level.FAIL, str(where), what, mend)


def warn(where: object, what: str, mend: str) -> Trouble:
    return Trouble(Level.WARN, str(where), what, mend)


@dataclass(frozen=True, slots=True)
class Check:
    """
    One thing that is looked at.

    `well` is the sentence that is true when nothing is wrong; the manual lists it. `look` yields what is wrong.
    `needs` says, in the words of the command line, what must be given for it; `applies` tells whether it was.
    """

    id: str
    well: str
    look: Callable[[Setup], Iterator[Trouble]]
    needs: str = ""
    applies: Callable[[Setup], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    check: str
    level: Level
    where: str
    what: str
    mend: str

    @property
    def line(self) -> str:
        told = f"{self.where}: {self.what}" if self.where else self.what
        return one_line(f"{self.level} {self.check}: {told}" + (f" Mend: {self.mend}" if self.mend else ""))


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order in which a call meets them, and the checks that could not be made without more."""

    findings: tuple[Finding, ...]
    not_looked_at: tuple[tuple[str, str], ...]

    @property
    def failed(self) -> bool:
        return any(finding.level is Level.FAIL for finding in self.findings)

    @property
    def lines(self) -> Iterator[str]:
        yield from (finding.line for finding in self.findings)
        if self.not_looked_at:
            checks = ", ".join(check for check, _ in self.not_looked_at)
            yield f"Not looked at: {checks}. --json says what each needs."
        count = Counter(finding.level for finding in self.findings)
        yield f"{count[Level.FAIL]} failed, {count[Level.WARN]} warned, {count[Level.PASS]} passed."

    @property
    def as_json(self) -> dict[str, Any]:
        return {
            "failed": self.failed,
            "findings": [asdict(finding) for finding in self.findings],
            "notLookedAt": [{"check": check, "needs": needs} for check, needs in self.not_looked_at],
        }


def one_line(text: str) -> str:
    """Printable and short: a terminal obeys control characters, and some of this comes from servers of others."""
    return "".join(sign if sign.isprintable() else " " for sign in text)[: 2 * _LONGEST]
