"""What an operator does with the records: verify the audit trail, hand it out, and remove what is old enough."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cds_service.explanations import Explanations
from cds_service.records import Head, Records
from cds_service.records.export import fhir, ndjson
from cds_service.records.retention import prune as prune_records
from cds_service.records.trail import Row
from cds_service.settings import Settings

FORMATS: Final[Mapping[str, Callable[[Iterable[Row]], Iterator[str]]]] = {"ndjson": ndjson, "fhir": fhir}
_DAYS: Final = re.compile(r"([1-9][0-9]{0,4})d")


@dataclass(frozen=True, slots=True)
class Books:
    """What was found or done, line by line, and the one line that says what is wrong, if anything is."""

    lines: tuple[str, ...]
    fault: str | None = None


def verify(settings: Settings, head: Head | None) -> Books:
    """Whether the whole trail is as it was written. Writes nothing. Raises SiteUnfit, StoreUnavailable."""
    with closing(Records.to_read(settings.database)) as records:
        found = records.trail.verify(head)
    if found.fault is not None:
        return Books((), f"The audit trail is broken: {found.fault}.")
    rows = f"{found.rows} row{'s' * (found.rows != 1)}"
    return Books((f"{rows}, unbroken.", f"head {found.head}"))


def export(settings: Settings, format_: str, since: datetime | None) -> Iterator[str]:
    """The rows since then, or all of them, a line each. Writes nothing. Raises SiteUnfit, StoreUnavailable."""
    with closing(Records.to_read(settings.database)) as records:
        yield from FORMATS[format_](records.trail.entries(since=since))


def prune(settings: Settings, older_than: timedelta, now: datetime) -> Books:
    """
    Removes what is older, and says how many rows of each. Raises SiteUnfit, StoreUnavailable.

    A broken trail is left as it is: what is wrong with it would be gone with the rows.
    """
    with closing(Records.at(settings.database, make=False)) as records:
        if (fault := records.trail.verify().fault) is not None:
            return Books((), f"Nothing was removed. The audit trail is broken: {fault}.")
        gone = prune_records(records, older_than, now)
    lines = [f"audit {gone.audit}", f"feedback {gone.feedback}", f"tokens {gone.tokens}"]
    if settings.explanation_key is not None:
        with closing(Explanations.at(settings.explanations, settings.explanation_key, "")) as explanations:
            lines.append(f"explanations {explanations.prune(now)}")
    return Books(tuple(lines))


def days(text: str) -> timedelta | None:
    """`180d` as a span of time; None for anything else."""
    found = _DAYS.fullmatch(text)
    return timedelta(days=int(found[1])) if found is not None else None
