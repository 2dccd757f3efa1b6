"""The public keys of one tenant: from a file, or fetched from its JWKS URL, kept, and renewed while others go on."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from threading import Lock, Thread
from typing import Final
from urllib.parse import urlsplit

from cds_service.ehr.servers import Server, Servers
from cds_service.ehr.wire import Clock, Deadline, Lines, decoded, session_over
from cds_service.errors import CallerRefused, Refusal, SiteUnfit
from cds_service.events import Event, about, tell
from cds_service.public_keys import FOR_OTHERS, MOST_SET_BYTES, KeySet, PublicKey, read_key_file, read_key_set
from cds_service.settings import DEFAULT_SITE
from cds_service.tenants import Tenant

# All in seconds.
FETCH_BUDGET: Final = 2.0
FRESH_FOR: Final = 600.0
GOOD_FOR: Final = 24 * 3600.0  # while the URL fails
BETWEEN_FETCHES: Final = 60.0
# A kid that a good set did not hold is not asked for again so soon. It is long enough to cost little, and short enough
# for an EHR that signs with a new key before its JWKS holds it.
UNKNOWN_FOR: Final = 120.0

Fetch = Callable[[], KeySet]


class _NoKeysError(Exception):
    """The JWKS could not be had. Holds the kind of error, and no word of what was sent."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class KeysUrl:
    """
    An allowed URL with a JWKS. Every fetch opens its own connection, follows no redirect, and ends in time.

    Raises SiteUnfit, at start, for a URL that cannot be meant.
    """

    def __init__(self, url: str, clock: Clock, *, production: bool, private_addresses: bool = False) -> None:
        server = Server.at(url)
        allowed = DEFAULT_SITE.ehr.model_copy(update={"servers": (url,), "private_addresses": private_addresses})
        try:
            self._servers = Servers(DEFAULT_SITE.model_copy(update={"ehr": allowed}))
        except SiteUnfit:
            server = None
        if server is None or (production and server.scheme != "https"):
            raise SiteUnfit(f"jwks: {url!r}: not an https URL (scheme, host, port and path alone)")
        self._server = server
        self._url = server.origin + urlsplit(url).path
        self._production = production
        self._clock = clock

    def fetch(self) -> KeySet:
        """
        The set as it is now, within two seconds. Raises _NoKeysError.

        A server that drips would outlast every timeout of `requests`. So a thread reads, and when the time is over its
        connection is cut.
        """
        deadline = Deadline(FETCH_BUDGET, self._clock)
        lines = Lines(self._server, self._servers, deadline)
        body: Future[bytes] = Future()
        try:
            Thread(target=self._read, args=(lines, body), name="keys", daemon=True).start()
            found = read_key_set(body.result(timeout=deadline.left()), production=self._production)
        except (TimeoutError, RuntimeError) as error:  # RuntimeError: this machine starts no more threads
            raise _NoKeysError(type(error).__name__) from None
        finally:
            lines.cut()
        if found is None:
            raise _NoKeysError("not a JWKS")
        return found

    def _read(self, lines: Lines, body: Future[bytes]) -> None:
        try:
            body.set_result(self._body(lines))
        except _NoKeysError as error:
            body.set_exception(error)
        except Exception as error:  # whatever a server can make go wrong; its text may hold what was sent
            body.set_exception(_NoKeysError(type(error).__name__))

    def _body(self, lines: Lines) -> bytes:
        parts = []
        size = 0
        with (
            session_over(lines, _tls(), None) as session,
            session.get(
                self._url,
                headers={"Accept": "application/json"},
                stream=True,
                allow_redirects=False,
                timeout=max(lines.deadline.left(), 0.001),
            ) as response,
        ):
            if response.status_code != 200:
                raise _NoKeysError(f"status {response.status_code}")
            for part in decoded(response):
                size += len(part)
                if size > MOST_SET_BYTES:
                    raise _NoKeysError("too large")
                if lines.deadline.left() <= 0:
                    raise _NoKeysError("too slow")
                parts.append(part)
        return b"".join(parts)


@cache
def _tls() -> ssl.SSLContext:
    """Read once, for all tenants: loading the certificates takes longer than most fetches."""
    return ssl.create_default_context()


class Keys:
    """
    The keys of one tenant, for many calls at once. `tenant` is its id; `clock` tells monotonic seconds.

    With `fetch` they are fetched when they are first needed, and then renewed every ten minutes while they are used.
    While that fails, the old ones are good for a day. One call at a time fetches, at most every minute; the others go
    on with the keys that are there, or are refused.
    """

    def __init__(self, tenant: str, clock: Clock, *, keys: KeySet | None = None, fetch: Fetch | None = None) -> None:
        self._tenant = tenant
        self._clock = clock
        self._fetch = fetch
        self._keys = keys
        self._as_of = clock()
        self._tried_at: float | None = None
        self._failing = False
        self._fetching = False
        self._unknown: dict[str, float] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, tenant: Tenant, *, production: bool, clock: Clock = time.monotonic) -> Keys:
        """The keys of a tenant. Those at a URL are not fetched yet. Raises SiteUnfit for a place that is none."""
        where = f"tenant {tenant.id}"
        if tenant.jwks_file is not None:
            keys = read_key_file(tenant.jwks_file, production=production)
            if isinstance(keys, str):
                raise SiteUnfit(f"{where}: jwks_file: {keys}")
            return cls(tenant.id, clock, keys=keys)
        if tenant.jwks is None:
            raise SiteUnfit(f"{where}: neither jwks nor jwks_file")
        try:
            url = KeysUrl(tenant.jwks, clock, production=production, private_addresses=tenant.private_addresses)
        except SiteUnfit as unfit:
            raise SiteUnfit(*(f"{where}: {defect}" for defect in unfit.defects)) from None
        return cls(tenant.id, clock, fetch=url.fetch)

    def find(self, kid: str) -> PublicKey:
        """
        The key with this id. Raises CallerRefused: nobody has verified yet who it is that asks for it.

        An id that is not known may be a new key's. It may cost a fetch, and never more than one a minute.
        """
        keys = self._usable()
        if not _holds(keys, kid) and self._may_be_new(kid) and (fetch := self._turn()):
            got = self._renew(fetch)
            keys = self._usable()
            if got and not _holds(keys, kid):
                self._note_unknown(kid)
        if keys is None:
            raise CallerRefused(Refusal.KEYS_UNAVAILABLE)
        if kid in keys.unfit:
            raise CallerRefused(Refusal.KEY_UNFIT)
        if kid not in keys.fit:
            raise CallerRefused(Refusal.KEY_UNKNOWN)
        return keys.fit[kid]

    def confirm(self, key: PublicKey) -> None:
        """
        Is this key, which has verified a signature, still the tenant's? Raises CallerRefused when it has been revoked.

        Keys that are no longer fresh are renewed here, after the signature, where no stranger can cause it. One call
        waits for that, unless it failed the last time: then no call does.
        """
        if self._age() < FRESH_FOR or not (fetch := self._turn()):
            return
        if self._failing:
            self._renew_behind(fetch)
            return
        self._renew(fetch)
        keys = self._usable()
        now = keys.fit.get(key.kid) if keys is not None else None
        if now is None or now.thumbprint != key.thumbprint:
            raise CallerRefused(Refusal.KEY_UNKNOWN)

    def make_ready(self) -> None:
        """Fetches them, if none are there yet: so that no first caller waits. What fails is tried again later."""
        if self._usable() is None and (fetch := self._turn()):
            self._renew(fetch)

    def why_not_ready(self) -> str | None:
        """
        Why no caller of this tenant can be let in. None when one can.

        Whoever is not ready may get no calls, and without a call nothing would be fetched. So this asks for a try.
        """
        keys = self._usable()
        if keys is not None and keys.fit:
            return None
        if fetch := self._turn():
            self._renew_behind(fetch)
        return f"There is no usable key of tenant {self._tenant}."

    # --- what is kept -------------------------------------------------------------------------------

    def _age(self) -> float:
        with self._lock:
            return self._clock() - self._as_of

    def _usable(self) -> KeySet | None:
        if self._fetch is None:
            return self._keys
        with self._lock:
            return self._keys if self._clock() - self._as_of < GOOD_FOR else None

    def _may_be_new(self, kid: str) -> bool:
        with self._lock:
            return self._clock() >= self._unknown.get(kid, 0.0)

    def _note_unknown(self, kid: str) -> None:
        """One a minute at most, and none for longer than it counts: a flood of ids fills nothing up."""
        with self._lock:
            now = self._clock()
            self._unknown = {other: until for other, until in self._unknown.items() if until > now}
            self._unknown[kid] = now + UNKNOWN_FOR

    # --- how it is renewed --------------------------------------------------------------------------

    def _turn(self) -> Fetch | None:
        """Takes the turn to fetch, if it is time and nobody has it. `_renew` gives it back."""
        with self._lock:
            now = self._clock()
            if self._fetch is None or self._fetching:
                return None
            if self._tried_at is not None and now - self._tried_at < BETWEEN_FETCHES:
                return None
            self._fetching = True
            self._tried_at = now
            return self._fetch

    def _renew_behind(self, fetch: Fetch) -> None:
        try:
            Thread(target=self._renew, args=(fetch,), name="keys", daemon=True).start()
        except RuntimeError:  # this machine starts no more threads
            with self._lock:
                self._fetching = False

    def _renew(self, fetch: Fetch) -> bool:
        """Were they fetched? What fails leaves those that are there."""
        found: KeySet | None = None
        with about(tenant=self._tenant):
            try:
                found = fetch()
            except _NoKeysError as error:
                tell(Event.KEYS_UNAVAILABLE, error=error.kind)
            finally:
                with self._lock:
                    self._fetching = False
                    self._failing = found is None
                    if found is not None:
                        self._keys, self._as_of = found, self._clock()
            if found is None:
                return False
            tell(Event.KEYS_REFRESHED, count=len(found.fit))
            for fault in sorted(set(found.faults) - FOR_OTHERS):
                tell(Event.KEYS_REJECTED, reason=fault)
            return True


def _holds(keys: KeySet | None, kid: str) -> bool:
    return keys is not None and (kid in keys.fit or kid in keys.unfit)
