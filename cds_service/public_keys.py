"""
The public keys in a JWKS (RFC 7517): which of them may verify a signature, with which algorithms, and why not the rest.

A key is bound to its algorithms by what it is: P-256 verifies ES256 and nothing else, whatever a token says. A key that
cannot be trusted stays known by its id together with what is wrong with it, so that a token that names it is refused
without another look.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from cds_service.errors import RequestUnreadable
from cds_service.hooks.strict_json import read_json

MOST_SET_BYTES: Final = 64 * 1024
MOST_KEYS: Final = 20
LONGEST_KID: Final = 512
_SHORTEST_RSA_BITS: Final = 2048
_LONGEST_RSA_BITS: Final = 8192  # a longer one keeps a processor busy, and no EHR has one

_BY_CURVE: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_OF_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# RFC 7518, 6.2.2, 6.3.2 and 6.4.1: what only the owner of a key may have.
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

# The public CDS Hooks Sandbox signs with a key whose private half lies in its repository: anybody can be the Sandbox.
_SANDBOX_KID: Final = "44823f3d-0b01-4a6c-a80e-b9d3e8a7226f"
_SANDBOX_THUMBPRINT: Final = "s9fOe-KDYD1myZ8YCzleUqJQgrYZL49kVijBxhnZvZc"


class KeyFault(StrEnum):
    """Why a key of a set is not used."""

    NO_KID = "no-kid"
    NOT_A_KEY = "not-a-key"
    UNKNOWN_KIND = "unknown-kind"
    PRIVATE = "private"
    NOT_FOR_SIGNATURES = "not-for-signatures"
    ANOTHER_ALGORITHM = "another-algorithm"
    TOO_SHORT = "too-short"
    TOO_LONG = "too-long"
    PUBLISHED = "published"
    TWICE = "kid-twice"
    TOO_MANY = "too-many"


# What an honest JWKS may hold besides the keys that are meant for us.
FOR_OTHERS: Final = frozenset({KeyFault.UNKNOWN_KIND, KeyFault.NOT_FOR_SIGNATURES, KeyFault.ANOTHER_ALGORITHM})


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may verify signatures, with these algorithms (RFC 7518) alone. `thumbprint` is RFC 7638's."""

    kid: str
    algorithms: frozenset[str]
    key: EllipticCurvePublicKey | RSAPublicKey = field(repr=False)
    thumbprint: str


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one JWKS by kid: those that may be used, and the others. `faults` has one for each key left out."""

    fit: Mapping[str, PublicKey]
    unfit: Mapping[str, KeyFault]
    faults: tuple[KeyFault, ...]


class _LeftOutError(Exception):
    def __init__(self, fault: KeyFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def read_key_set(body: bytes, *, production: bool) -> KeySet | None:
    """
    The keys in a JWKS. None when it is no JWKS: a set without a single usable key is one.

    In `production` the Sandbox's key is not used, under whatever id it comes.
    """
    try:
        value = read_json(body, most_bytes=MOST_SET_BYTES)
    except RequestUnreadable:
        return None
    listed = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        return None
    fit: dict[str, PublicKey] = {}
    unfit: dict[str, KeyFault] = {}
    faults = []
    for jwk in listed:
        try:
            _take(_public_key(jwk, production=production), fit, unfit)
        except _LeftOutError as error:
            faults.append(error.fault)
            kid = _kid_of(jwk)
            if kid is not None and kid not in fit:
                unfit.setdefault(kid, error.fault)
    return KeySet(fit, unfit, tuple(faults))


def read_key_file(path: Path, *, production: bool) -> KeySet | str:
    """The keys in a file, or what is wrong with the file, in a few words."""
    try:
        with path.open("rb") as file:
            body = file.read(MOST_SET_BYTES + 1)
    except OSError:
        return "cannot be read"
    if body.lstrip().startswith(b"-----BEGIN"):
        return "PEM: a JWKS is expected (JSON, RFC 7517)"
    keys = read_key_set(body, production=production)
    return keys if keys is not None else "not a JWKS (RFC 7517) of at most 64 KiB"


def _take(key: PublicKey, fit: dict[str, PublicKey], unfit: dict[str, KeyFault]) -> None:
    """Raises _LeftOutError for a second key of the same id, and for one too many."""
    if unfit.get(key.kid) is KeyFault.TWICE:
        raise _LeftOutError(KeyFault.TWICE)
    if (other := fit.get(key.kid)) is not None:
        if other.thumbprint != key.thumbprint:
            del fit[key.kid]  # which of the two is meant, nobody can tell
            raise _LeftOutError(KeyFault.TWICE)
        key = PublicKey(key.kid, key.algorithms | other.algorithms, key.key, key.thumbprint)
    elif len(fit) >= MOST_KEYS:
        raise _LeftOutError(KeyFault.TOO_MANY)
    fit[key.kid] = key
    unfit.pop(key.kid, None)  # one entry to encrypt with and one to sign with may share an id


def _public_key(jwk: Any, *, production: bool) -> PublicKey:
    if not isinstance(jwk, dict):
        raise _LeftOutError(KeyFault.NOT_A_KEY)
    kid = _kid_of(jwk)
    if kid is None:
        raise _LeftOutError(KeyFault.NO_KID)
    if _PRIVATE & jwk.keys():
        raise _LeftOutError(KeyFault.PRIVATE)
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise _LeftOutError(KeyFault.NOT_FOR_SIGNATURES)
    key, algorithms = _built(jwk)
    thumbprint = _thumbprint(key)
    if production and (kid == _SANDBOX_KID or thumbprint == _SANDBOX_THUMBPRINT):
        raise _LeftOutError(KeyFault.PUBLISHED)
    if (own := jwk.get("alg")) is not None:
        if not isinstance(own, str) or own not in algorithms:
            raise _LeftOutError(KeyFault.ANOTHER_ALGORITHM)
        algorithms = frozenset({own})
    return PublicKey(kid, algorithms, key, thumbprint)


def _kid_of(jwk: Any) -> str | None:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return kid if isinstance(kid, str) and 0 < len(kid) <= LONGEST_KID else None


def _built(jwk: dict[str, Any]) -> tuple[EllipticCurvePublicKey | RSAPublicKey, frozenset[str]]:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if not (kind == "RSA" or (kind == "EC" and isinstance(curve, str) and curve in _BY_CURVE)):
        raise _LeftOutError(KeyFault.UNKNOWN_KIND)
    parts = ("n", "e") if kind == "RSA" else ("x", "y")
    if not all(isinstance(jwk.get(part), str) for part in parts):
        raise _LeftOutError(KeyFault.NOT_A_KEY)
    bare = {name: jwk[name] for name in ("kty", "crv", *parts) if name in jwk}
    try:
        if kind == "EC":
            return cast("EllipticCurvePublicKey", ECAlgorithm.from_jwk(bare)), frozenset({_BY_CURVE[str(curve)]})
        key = cast("RSAPublicKey", RSAAlgorithm.from_jwk(bare))
    except (PyJWTError, TypeError, ValueError, OverflowError, UnsupportedAlgorithm):
        raise _LeftOutError(KeyFault.NOT_A_KEY) from None
    if key.key_size < _SHORTEST_RSA_BITS:
        raise _LeftOutError(KeyFault.TOO_SHORT)
    if key.key_size > _LONGEST_RSA_BITS:
        raise _LeftOutError(KeyFault.TOO_LONG)
    return key, _OF_RSA


def _thumbprint(key: EllipticCurvePublicKey | RSAPublicKey) -> str:
    """
    RFC 7638, with SHA-256.

    Of the key itself, not of the text it came as: the same number can be written in more than one way.
    """
    if isinstance(key, RSAPublicKey):
        told = RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        told = ECAlgorithm.to_jwk(key, as_dict=True)
    members = {name: told[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in told}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
