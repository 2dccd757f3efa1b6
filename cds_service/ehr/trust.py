"""
Who may ask: a caller shows a token that only a tenant's EHR can have signed, for this address, now, and once.

What a token says about itself is used to choose a tenant from the list, and one of that tenant's own keys. Until the
signature has been verified with it, nothing else is believed, nothing is written, and nothing is fetched but, at most
once a minute, the keys themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from cds_service.ehr.bearer import Held, held_out
from cds_service.ehr.keys import Keys
from cds_service.errors import CallerRefused, Refusal, StoreUnavailable
from cds_service.events import Event, about, tell
from cds_service.public_keys import PublicKey
from cds_service.tenants import Tenant

# (issuer, jti, until, now) -> True the first time only. Raises StoreUnavailable.
Spend = Callable[[str, str, datetime, datetime], bool]

_LONGEST_JTI: Final = 256
_LATEST: Final = 100_000_000_000  # seconds since 1970: beyond the year 5000 nobody means a time
_JWS: Final = PyJWS()


class Trust:
    """
    Lets the tenants' EHRs in, and nobody else. `keys` are the tenants', by id. `clock` tells the time, aware.

    `base_url` is the address at which callers reach us, as it is configured: what a request says of itself is no proof.
    """

    def __init__(
        self,
        tenants: Sequence[Tenant],
        keys: Mapping[str, Keys],
        spend: Spend,
        base_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._tenants = tuple(tenants)
        self._issuers = frozenset(tenant.issuer for tenant in tenants)
        self._keys = keys
        self._spend = spend
        self._base_url = base_url.rstrip("/")
        self._clock = clock

    def admit(self, authorization: Sequence[str], path: str) -> Tenant:
        """
        The tenant that asks. `authorization` is every Authorization header of the request, `path` that of its URL.

        Raises CallerRefused, and StoreUnavailable when it cannot be told whether the token was used before.
        """
        with _told():
            held = held_out(authorization)
            tenant = self._claimed(held.claims)
        with about(tenant=tenant.id), _told():
            self._verify(held, tenant, path)
        return tenant

    def _claimed(self, claims: Mapping[str, Any]) -> Tenant:
        """The tenant that the caller says it is."""
        issuer = _text(claims, "iss")
        if issuer not in self._issuers:
            raise CallerRefused(Refusal.ISSUER)
        for tenant in self._tenants:
            if tenant.issuer == issuer and tenant.tenant_claim in (None, claims.get("tenant")):
                return tenant
        raise CallerRefused(Refusal.TENANT)

    def _verify(self, held: Held, tenant: Tenant, path: str) -> None:
        if held.algorithm not in tenant.algorithms:
            raise CallerRefused(Refusal.ALGORITHM)
        if held.key_place is not None and held.key_place != tenant.key_place:
            raise CallerRefused(Refusal.KEY_PLACE)
        keys = self._keys[tenant.id]
        key = keys.find(held.kid)
        _check_signature(held, key)
        now = self._clock()
        expires = _times(held.claims, tenant, now.timestamp())
        self._check_audience(held.claims, tenant, path)
        jti = _text(held.claims, "jti", longest=_LONGEST_JTI)
        keys.confirm(key)
        until = datetime.fromtimestamp(math.ceil(expires + tenant.leeway_seconds), UTC)
        try:
            first = self._spend(tenant.issuer, jti, until, now)
        except StoreUnavailable as unavailable:
            unavailable.tenant = tenant.id
            raise
        if not first:
            raise CallerRefused(Refusal.REPLAYED)

    def _check_audience(self, claims: Mapping[str, Any], tenant: Tenant, path: str) -> None:
        audience = claims.get("aud")
        if audience is None:
            raise CallerRefused(Refusal.CLAIM_MISSING)
        listed = audience if isinstance(audience, list) else [audience]
        if not all(isinstance(one, str) for one in listed):
            raise CallerRefused(Refusal.CLAIM_UNFIT)
        address = self._base_url + path.rstrip("/")
        if not {address, f"{address}/", *tenant.audiences} & set(listed):
            raise CallerRefused(Refusal.AUDIENCE)


@contextmanager
def _told() -> Iterator[None]:
    """Tells ourselves, and nobody else, why a caller is refused."""
    try:
        yield
    except CallerRefused as refused:
        tell(Event.CALLER_REFUSED, reason=refused.reason)
        raise


def _check_signature(held: Held, key: PublicKey) -> None:
    """Raises CallerRefused unless this very key has signed the token, with an algorithm that is bound to it."""
    if held.algorithm not in key.algorithms:
        raise CallerRefused(Refusal.KEY_UNFIT)
    try:
        _JWS.decode_complete(held.text, key.key, algorithms=[held.algorithm])
    except (PyJWTError, UnsupportedAlgorithm, TypeError, ValueError):
        raise CallerRefused(Refusal.SIGNATURE) from None


def _times(claims: Mapping[str, Any], tenant: Tenant, now: float) -> int | Decimal:
    """When the token expires, in seconds since 1970. Raises CallerRefused unless it is good now."""
    expires, issued = _seconds(claims, "exp"), _seconds(claims, "iat")
    leeway = tenant.leeway_seconds
    if not expires + leeway > now:
        raise CallerRefused(Refusal.EXPIRED)
    if issued - leeway > now:
        raise CallerRefused(Refusal.ISSUED_AHEAD)
    if not 0 < expires - issued <= tenant.lifetime_seconds:
        raise CallerRefused(Refusal.LIVES_TOO_LONG)
    if claims.get("nbf") is not None and _seconds(claims, "nbf") - leeway > now:
        raise CallerRefused(Refusal.NOT_YET)
    return expires


def _seconds(claims: Mapping[str, Any], name: str) -> int | Decimal:
    """A NumericDate (RFC 7519, 2): whole or with a fraction, and never a text or a boolean."""
    value = claims.get(name)
    if value is None:
        raise CallerRefused(Refusal.CLAIM_MISSING)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 < value <= _LATEST:
        raise CallerRefused(Refusal.CLAIM_UNFIT)
    return value


def _text(claims: Mapping[str, Any], name: str, longest: int = 512) -> str:
    value = claims.get(name)
    if value is None:
        raise CallerRefused(Refusal.CLAIM_MISSING)
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise CallerRefused(Refusal.CLAIM_UNFIT)
    return value
