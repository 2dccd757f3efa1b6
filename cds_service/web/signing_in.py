"""
Who may read the numbers: whoever has the operator's token, or signs in with the hospital's own provider.

A browser gets a signed cookie for a working day. It says until when, and not for whom. Its key comes from the settings:
so every process knows it, and with a new token or another list of people all sessions are over.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock, Thread
from typing import Any, Final, Literal, Protocol, TypeVar

from flask import Request, Response
from itsdangerous import BadSignature, URLSafeSerializer

from cds_service.ehr.wire import Deadline, decoded
from cds_service.errors import SiteUnfit
from cds_service.events import Event, tell
from cds_service.settings import Readers, SignOn

SESSION_LASTS: Final = timedelta(hours=8)
ATTEMPT_LASTS: Final = timedelta(minutes=10)
_COOKIE: Final = "cds-insights"
_ATTEMPT: Final = "cds-insights-sign-in"
_BEARER: Final = "Bearer "
Clock = Callable[[], datetime]
Said = TypeVar("Said")


class Door:
    """Lets readers in, and remembers for a while that it did. `clock` tells when a session is over."""

    def __init__(self, readers: Readers, clock: Clock) -> None:
        self.readers = readers
        self._clock = clock
        self._key = _key_of(readers)
        self._secure = (readers.base_url or "").startswith("https://")
        # With this prefix a browser takes the cookie from this very host alone, and over TLS alone (RFC 6265bis).
        self._name = f"__Host-{_COOKIE}" if self._secure else _COOKIE

    def lets_in(self, request: Request) -> bool:
        """By the token in its header, or by the cookie of a session that is not over."""
        if given := request.headers.getlist("Authorization"):
            header = "\n".join(given)
            return self.knows(header[len(_BEARER) :] if header.startswith(_BEARER) else "")
        cookie = request.cookies.get(self._name)
        if cookie is None:
            return False
        return self._read(cookie, "session") is not None or _refused("session")

    def knows(self, token: str) -> bool:
        """Is it the operator's? In a time that does not depend on how much of it is right."""
        wanted = self.readers.token
        known = wanted is not None and hmac.compare_digest(token.encode("utf-8", "replace"), wanted.encode())
        return known or _refused("token")

    def begin(self, response: Response, how: Literal["provider", "token"]) -> Response:
        """The answer, with a cookie that opens the door until the session is over."""
        tell(Event.INSIGHTS_OPENED, how=how)
        self._set(response, self._name, self._signed("session", SESSION_LASTS), SESSION_LASTS, "/", "Strict")
        return response

    def end(self, response: Response) -> Response:
        """The answer, which takes the cookie away."""
        response.delete_cookie(self._name, path="/", secure=self._secure, httponly=True, samesite="Strict")
        return response

    # --- an attempt to sign in elsewhere ---------------------------------------------------------

    def note(self, response: Response, attempt: Mapping[str, str]) -> Response:
        """
        The answer that sends a browser to the provider, with what must fit when it comes back.

        A browser that comes from elsewhere brings no Strict cookie, so this one is Lax.
        """
        signed = self._signed("attempt", ATTEMPT_LASTS, attempt)
        self._set(response, _ATTEMPT, signed, ATTEMPT_LASTS, "/insights", "Lax")
        return response

    def noted(self, request: Request) -> Mapping[str, str] | None:
        """What was noted in this browser, if it was us and not too long ago."""
        return self._read(request.cookies.get(_ATTEMPT, ""), "attempt")

    def forget(self, response: Response) -> Response:
        """The answer, after which the attempt counts no more."""
        response.delete_cookie(_ATTEMPT, path="/insights", secure=self._secure, httponly=True, samesite="Lax")
        return response

    # --- cookies ---------------------------------------------------------------------------------

    def _set(
        self, response: Response, name: str, value: str, lasts: timedelta, path: str, same: Literal["Lax", "Strict"]
    ) -> None:
        response.set_cookie(name, value, max_age=lasts, path=path, secure=self._secure, httponly=True, samesite=same)

    def _signed(self, what: str, lasts: timedelta, told: Mapping[str, str] | None = None) -> str:
        until = (self._clock() + lasts).timestamp()
        return str(self._serializer(what).dumps({"until": until, "told": dict(told or {})}))

    def _read(self, cookie: str, what: str) -> Mapping[str, str] | None:
        try:
            held = self._serializer(what).loads(cookie)
        except BadSignature:
            return None
        told: Mapping[str, str] = held["told"]
        return told if self._clock().timestamp() < held["until"] else None

    def _serializer(self, what: str) -> URLSafeSerializer:
        """One key for each purpose: a cookie of one is nothing to the other."""
        signer = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(self._key, salt=f"cds-service insights {what}", signer_kwargs=signer)


def _refused(reason: str) -> bool:
    tell(Event.INSIGHTS_REFUSED, reason=reason)
    return False


def _key_of(readers: Readers) -> bytes:
    sign_on = readers.sign_on
    parts = [readers.token or ""]
    if sign_on is not None:
        parts += [sign_on.issuer, sign_on.client_id, sign_on.client_secret, *sorted(sign_on.allowed)]
    return hashlib.sha256(repr(parts).encode()).digest()


# --- the hospital's own provider ------------------------------------------------------------------------------------


class NotLetIn(Exception):
    """Whoever came back from the provider is not let in. `status` is 403, or 503 while the provider cannot be had."""

    def __init__(self, reason: str, status: int = 403) -> None:
        super().__init__(reason)
        self.status = status
        tell(Event.INSIGHTS_REFUSED, reason=reason)


class Provider(Protocol):
    """Where people sign in."""

    def begin(self) -> tuple[str, Mapping[str, str]]:
        """Where to send a browser, and what to note until it comes back. Raises NotLetIn."""

    def end(self, came_back: Mapping[str, str], noted: Mapping[str, str] | None) -> None:
        """Returns when whoever came back may read. Raises NotLetIn."""


_SECONDS: Final = 5  # for each wait
_SECONDS_IN_ALL: Final = 10
_LARGEST: Final = 1_000_000
_LEEWAY_SECONDS: Final = 60
# Signatures that only the provider can make: none with a shared secret, and not "none".
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")


@dataclass(frozen=True)
class OpenIdProvider:
    """
    OpenID Connect by Authlib: the authorization code flow with PKCE, `state` and `nonce`.

    The provider's addresses and keys are asked for each time somebody signs in, which is seldom: so its new keys count
    at once. `come_back` is our own address for those who have signed in there. `patience` is how long, in seconds, the
    provider is waited for in all.

    Whoever waits answers no hook meanwhile, and anybody can make us ask. So one at a time is sent to the provider, and
    one at a time is looked after who comes back: the next hears 503 at once.
    """

    sign_on: SignOn
    come_back: str
    clock: Clock = field(repr=False)
    patience: float = _SECONDS_IN_ALL
    _leaving: Lock = field(default_factory=Lock, repr=False, compare=False)
    _returning: Lock = field(default_factory=Lock, repr=False, compare=False)

    @classmethod
    def of(cls, readers: Readers, clock: Clock) -> OpenIdProvider | None:
        """None when there is none. Raises SiteUnfit without Authlib."""
        if readers.sign_on is None:
            return None
        try:
            import authlib  # noqa: F401, PLC0415  (an extra: asked for only where it is needed)
        except ImportError:
            raise SiteUnfit(
                "CDS_INSIGHTS_OIDC_ISSUER: OpenID Connect needs a package: pip install 'cds-service[oidc]'"
            ) from None
        return cls(readers.sign_on, f"{readers.base_url}/insights/oidc/callback", clock)

    def begin(self) -> tuple[str, Mapping[str, str]]:
        return _alone(self._leaving, self._begin, self.patience)

    def _begin(self) -> tuple[str, Mapping[str, str]]:
        with self._session() as session:
            place = self._metadata(session)["authorization_endpoint"]
            noted = {name: secrets.token_urlsafe(32) for name in ("state", "nonce")}
            noted["verifier"] = secrets.token_urlsafe(48)
            url, _ = session.create_authorization_url(
                place, state=noted["state"], code_verifier=noted["verifier"], nonce=noted["nonce"]
            )
        return str(url), noted

    def end(self, came_back: Mapping[str, str], noted: Mapping[str, str] | None) -> None:
        state, code = came_back.get("state", ""), came_back.get("code")
        if noted is None or not hmac.compare_digest(state.encode("utf-8", "replace"), noted["state"].encode()):
            raise NotLetIn("state")
        if code is None or came_back.get("iss", self.sign_on.issuer) != self.sign_on.issuer:
            raise NotLetIn("provider")  # it refused; or it is another one (RFC 9207)
        claims = _alone(self._returning, lambda: self._claims(code, noted), self.patience)
        if not self.sign_on.allowed & _names(claims):
            raise NotLetIn("not-listed")

    def _claims(self, code: str, noted: Mapping[str, str]) -> Mapping[str, Any]:
        with self._session() as session:
            metadata = self._metadata(session)
            token = self._exchanged(session, metadata, code, noted["verifier"])
            return self._verified(token, self._fetched(session, metadata["jwks_uri"]), noted["nonce"])

    def _session(self) -> Any:
        from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415

        session = OAuth2Session(
            self.sign_on.client_id,
            self.sign_on.client_secret,
            scope="openid email profile",
            redirect_uri=self.come_back,
            code_challenge_method="S256",
            default_timeout=_SECONDS,
        )
        deadline = Deadline(self.patience, time.monotonic)
        session.headers["Accept-Encoding"] = "gzip"
        session.hooks["response"].append(lambda response, **_: _read(response, deadline))
        return session

    def _metadata(self, session: Any) -> Mapping[str, Any]:
        """Where everything is at this provider, if it is the one that it says it is (OpenID Connect Discovery, 4.3)."""
        issuer = self.sign_on.issuer
        metadata = self._fetched(session, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        places = [metadata.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        scheme = "https://" if issuer.startswith("https://") else "http"
        if metadata.get("issuer") != issuer or not all(isinstance(p, str) and p.startswith(scheme) for p in places):
            raise NotLetIn("provider", 503)
        return metadata

    def _fetched(self, session: Any, url: str) -> Mapping[str, Any]:
        from requests import RequestException  # noqa: PLC0415

        try:
            response = session.get(url, withhold_token=True, allow_redirects=False)
            response.raise_for_status()
            told = response.json()
        except (RequestException, ValueError):
            raise NotLetIn("provider", 503) from None
        if response.status_code != 200 or not isinstance(told, dict):
            raise NotLetIn("provider", 503)
        return told

    def _exchanged(self, session: Any, metadata: Mapping[str, Any], code: str, verifier: str) -> Mapping[str, Any]:
        """The tokens for a code, which is good once."""
        from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415
        from requests import RequestException  # noqa: PLC0415

        known = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        session.token_endpoint_auth_method = "client_secret_" + ("basic" if "client_secret_basic" in known else "post")
        try:
            token: Mapping[str, Any] = session.fetch_token(
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=verifier,
                allow_redirects=False,
            )
        except RequestException:
            raise NotLetIn("provider", 503) from None
        except (AuthlibBaseError, ValueError):
            raise NotLetIn("token-exchange") from None
        return token

    def _verified(self, token: Mapping[str, Any], keys: Any, nonce: str) -> Mapping[str, Any]:
        """The claims of the ID token, once all of OpenID Connect Core, 3.1.3.7, holds of it."""
        from authlib.oidc.core import CodeIDToken  # noqa: PLC0415
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415
        from joserfc.jwk import KeySet  # noqa: PLC0415

        client = self.sign_on.client_id
        wanted: dict[str, Any] = {"iss": {"value": self.sign_on.issuer}, "aud": {"value": client}}
        params = {"nonce": nonce, "client_id": client, "access_token": token.get("access_token")}
        try:
            read = jwt.decode(str(token.get("id_token")), KeySet.import_key_set(keys), list(_ALGORITHMS))
            claims = CodeIDToken(read.claims, read.header, wanted, params)
            claims.validate(now=int(self.clock().timestamp()), leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError):
            raise NotLetIn("id-token") from None
        found: Mapping[str, Any] = claims
        return found


def _alone(turn: Lock, ask: Callable[[], Said], seconds: float) -> Said:
    """
    What was asked for, unless somebody else is asking or it takes too long. Raises NotLetIn.

    It runs in a thread of its own: what cannot be cut short, such as a name that is looked up, goes on there without
    anybody who waits, and nobody else begins till it ends.
    """
    if not turn.acquire(blocking=False):
        raise NotLetIn("provider", 503)
    answer: Future[Said] = Future()
    try:
        Thread(target=_ask, args=(turn, ask, answer), name="sign-in", daemon=True).start()
    except RuntimeError:  # no thread is to be had
        turn.release()
        raise NotLetIn("provider", 503) from None
    try:
        return answer.result(timeout=seconds)
    except TimeoutError:
        raise NotLetIn("provider", 503) from None


def _ask(turn: Lock, ask: Callable[[], Said], answer: Future[Said]) -> None:
    try:
        try:
            said = ask()
        finally:
            turn.release()  # before anybody hears the answer, and may ask again
        answer.set_result(said)
    except Exception as error:
        answer.set_exception(error)


def _read(response: Any, deadline: Deadline) -> None:
    """
    The body, in time and of a size that such an answer may have. `requests` counts each wait anew, and reads all.

    Raises RequestException.
    """
    from requests.exceptions import ConnectionError as Broken  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    body = b""
    try:
        for part in decoded(response):
            body += part
            if deadline.left() <= 0 or len(body) > _LARGEST:
                raise Broken
    except (HTTPError, zlib.error, OSError) as error:
        raise Broken from error
    finally:
        response.close()
    response._content = body


def _names(claims: Mapping[str, Any]) -> frozenset[str]:
    """How a person may stand on the list. An address counts once the provider has verified it."""
    groups = claims.get("groups")
    mail = claims.get("email") if claims.get("email_verified") is True else None
    return frozenset(
        {f"sub:{claims['sub']}"}
        | ({f"email:{mail}"} if mail else set())
        | ({f"group:{group}" for group in groups} if isinstance(groups, list) else set())
    )
