"""What a caller holds out: one Bearer token, taken apart, and not believed in anything yet."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cds_service.errors import CallerRefused, Refusal, RequestUnreadable
from cds_service.hooks.strict_json import read_json
from cds_service.public_keys import LONGEST_KID

MOST_BYTES: Final = 8 * 1024
_BEARER: Final = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_THREE_SEGMENTS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# Headers that bring a key along, say where to fetch one, or change what is signed or how it is to be read.
_FORBIDDEN: Final = frozenset({"crit", "jwk", "x5c", "x5u", "b64", "zip"})


@dataclass(frozen=True, slots=True)
class Held:
    """
    A JWT (RFC 7519) as it was sent: nothing in it has been verified.

    `kid` and `algorithm` say which key is claimed to have signed it, `key_place` (`jku`) where that key is said to lie.
    `claims` are strict JSON: exact numbers, and no name twice.
    """

    text: str = field(repr=False)
    algorithm: str
    kid: str
    key_place: str | None
    claims: dict[str, Any] = field(repr=False)


def held_out(authorization: Sequence[str]) -> Held:
    """
    The token in the Authorization headers of a request. Raises CallerRefused when there is not exactly one, whole.

    A server may have joined two headers with a comma. No token holds one, so that is refused as well.
    """
    if not authorization:
        raise CallerRefused(Refusal.NO_HEADER)
    if len(authorization) > 1:
        raise CallerRefused(Refusal.SEVERAL_HEADERS)
    (value,) = authorization
    if len(value) > MOST_BYTES:
        raise CallerRefused(Refusal.TOO_LONG)
    found = _BEARER.fullmatch(value)
    if found is None:
        is_bearer = value.strip().partition(" ")[0].lower() == "bearer"
        raise CallerRefused(Refusal.NOT_A_TOKEN if is_bearer else Refusal.NOT_BEARER)
    segments = _THREE_SEGMENTS.fullmatch(found[1])
    if segments is None:
        raise CallerRefused(Refusal.NOT_A_TOKEN)
    header = _object(segments[1], Refusal.HEADER_UNREADABLE)
    algorithm, kid, key_place = _read_header(header)
    claims = _object(segments[2], Refusal.CLAIMS_UNREADABLE)
    return Held(found[1], algorithm, kid, key_place, claims)


def _read_header(header: dict[str, Any]) -> tuple[str, str, str | None]:
    """The algorithm, the kid and the jku, if the header holds nothing that we refuse."""
    if _FORBIDDEN & header.keys():
        raise CallerRefused(Refusal.HEADER_FORBIDDEN)
    kind, algorithm, kid = header.get("typ"), header.get("alg"), header.get("kid")
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise CallerRefused(Refusal.TYPE)
    if not isinstance(algorithm, str):
        raise CallerRefused(Refusal.ALGORITHM)
    if not isinstance(kid, str) or not 0 < len(kid) <= LONGEST_KID:
        raise CallerRefused(Refusal.KEY_ID)
    key_place = header.get("jku")
    if "jku" in header and not isinstance(key_place, str):
        raise CallerRefused(Refusal.KEY_PLACE)
    return algorithm, kid, key_place


def _object(segment: str, otherwise: Refusal) -> dict[str, Any]:
    """The JSON object in a segment: base64url without padding, written in the one way in which it can be."""
    try:
        value = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        if base64.urlsafe_b64encode(value).rstrip(b"=").decode() != segment:
            raise CallerRefused(otherwise)
        found = read_json(value, most_bytes=MOST_BYTES)
    except (ValueError, RequestUnreadable):
        raise CallerRefused(otherwise) from None
    if not isinstance(found, dict):
        raise CallerRefused(otherwise)
    return found
