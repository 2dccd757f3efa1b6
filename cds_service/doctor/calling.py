"""How the doctor calls an address: once, without following where it leads, and without waiting for long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import requests

from cds_service.errors import RequestUnreadable
from cds_service.hooks.strict_json import read_json

_SECONDS: Final = 5.0
_MOST_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back, and `at` what time of ours. `error` says in a word why nothing did: tls, timeout or refused."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    error: str = ""
    at: datetime | None = None

    @property
    def date(self) -> datetime | None:
        """The time at the other end, as its Date header tells it."""
        try:
            told = parsedate_to_datetime(self.headers.get("Date", ""))
        except ValueError:
            return None
        return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


def called(method: str, url: str, **headers: str) -> Heard:
    """One call. Names of headers are written with underscores."""
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with requests.request(
            method, url, headers=lines, timeout=_SECONDS, allow_redirects=False, stream=True
        ) as answer:
            body = answer.raw.read(_MOST_BYTES, decode_content=True)
            return Heard(answer.status_code, answer.headers, body)
    except requests.exceptions.SSLError:
        return Heard(error="tls")
    except requests.Timeout:
        return Heard(error="timeout")
    except Exception:  # whatever a server can make go wrong; its text may hold anything
        return Heard(error="refused")


def whose_json(heard: Heard) -> dict[str, Any]:
    """The JSON object that came; an empty one for anything else."""
    try:
        value = read_json(heard.body, most_bytes=_MOST_BYTES) if heard.status == 200 else None
    except RequestUnreadable:
        return {}
    return value if isinstance(value, dict) else {}
