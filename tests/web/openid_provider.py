"""A small OpenID provider on a socket of this machine: discovery, keys, and tokens for codes that it has given out."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

CLIENT, SECRET = "insights", "the secret of this client"
Claims = dict[str, Any]


@dataclass
class Signer:
    """A key, and the tokens that it signs."""

    kid: str = "k1"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def jwk(self) -> dict[str, Any]:
        return {
            **ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True),
            "kid": self.kid,
            "use": "sig",
            "alg": "ES256",
        }

    def sign(self, claims: Claims) -> str:
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.kid})


class OpenIdProvider:
    """
    `says` are the claims of whoever signs in next. `twist` changes what an honest token would be.

    `heard` are the forms that came to the token endpoint. While `open` is not set, nothing is answered. With `drips` an
    answer comes byte by byte, without an end. `asked` counts the requests.
    """

    def __init__(self, now: float) -> None:
        self.signer = Signer()
        self.says: Claims = {"sub": "u-1"}
        self.twist: Callable[[str, Claims], object] = lambda _, claims: self.signer.sign(claims)
        self.metadata: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.heard: list[dict[str, str]] = []
        self.open = threading.Event()
        self.open.set()
        self.drips, self.dry = False, threading.Event()
        self.asked = threading.Semaphore(0)
        self._now = int(now)
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}/realm"

    @contextmanager
    def serving(self) -> Iterator[OpenIdProvider]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def sign_in(self, place: str) -> str:
        """A person goes there, signs in, and is sent back: to this address."""
        asked = dict(parse_qsl(urlsplit(place).query))
        assert place.startswith(f"{self.issuer}/authorize?")
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert (asked["code_challenge_method"], "openid" in asked["scope"].split()) == ("S256", True)
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    def answer(self, path: str, form: dict[str, str] | None, authorization: str) -> tuple[int, object]:
        if path in self.broken:
            return 500, {}
        if path == "/realm/.well-known/openid-configuration":
            places = {
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
            return 200, {"issuer": self.issuer, **places, **self.metadata}
        if path == "/realm/keys":
            return 200, {"keys": [self.signer.jwk]}
        if path == "/realm/token" and form is not None:
            return self._exchange(form, authorization)
        return 404, {}

    def _exchange(self, form: dict[str, str], authorization: str) -> tuple[int, object]:
        self.heard.append(form)
        known = authorization == "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if not known or asked is None or challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": self._now, "exp": self._now + 300, "nonce": asked["nonce"]}
        token = self.twist(asked["nonce"], {**claims, **self.says})
        return 200, {"access_token": "an access token", "token_type": "Bearer", "id_token": token}


def _handler(provider: OpenIdProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, form: dict[str, str] | None) -> None:
            provider.asked.release()
            provider.open.wait()
            if provider.drips:
                self._drip()
                return
            status, told = provider.answer(self.path, form, self.headers.get("Authorization", ""))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _drip(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            with suppress(OSError):
                while provider.drips:
                    self.wfile.write(b" ")
                    provider.dry.wait(0.01)

        def log_message(self, *_: Any) -> None:
            """A test that says nothing reads better."""

    return Handler
