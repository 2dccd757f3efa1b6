"""
Callers who are what they say, and callers who are not: one table, to be sent to whatever lets them in.

`CASES` names each with the requests that it makes and the reason for which the last of them must be refused; None
where it must be let in. All requests before the last one must be let in. `Parties` holds the keys and signs.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from conftest import NOON
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwks_server import Json, JwksServer, Ticking
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, RSAAlgorithm, get_default_algorithms

from cds_service.errors import Refusal

BASE = "https://cds.example.org"
DISCOVERY = "/cds-services"
SERVICE = "/cds-services/ppd-delivery-order"
OTHER = "/cds-services/ppd-chart-review"
FEEDBACK = f"{SERVICE}/feedback"
NOW = int(NOON.timestamp())
ABSENT = object()
_NUMBERS = itertools.count(1)

Request = tuple[list[str], str]  # the Authorization headers, and the path


# --- keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signer:
    """A private key under an id, and the algorithm with which it signs."""

    kid: str
    algorithm: str
    private: Any

    def sign(self, text: bytes, algorithm: str | None = None) -> bytes:
        return get_default_algorithms()[algorithm or self.algorithm].sign(text, self.private)  # type: ignore[no-any-return]

    @property
    def can(self) -> frozenset[str]:
        """The algorithms with which a key of this kind is able to sign, whether or not it should."""
        kind = "RS PS" if isinstance(self.private, rsa.RSAPrivateKey) else "ES"
        return frozenset(f"{family}{bits}" for family in kind.split() for bits in (256, 384, 512))

    def jwk(self, **more: Any) -> Json:
        """The public half; with `more` members, and without those that are None."""
        kind = RSAAlgorithm if isinstance(self.private, rsa.RSAPrivateKey) else ECAlgorithm
        told = {**kind.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}
        told.pop("key_ops", None)
        return {name: value for name, value in (told | more).items() if value is not None}

    @property
    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@cache
def rsa_key(bits: int, which: int = 0) -> rsa.RSAPrivateKey:
    """Made once in a session: it takes long. `which` tells keys of the same length apart."""
    del which
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: str, which: int = 0) -> ec.EllipticCurvePrivateKey:
    del which
    curves: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    return ec.generate_private_key(curves[curve])


EPIC_KID = "dGhpcyBpcw+/Zm9v/YmFy=="
LONG_KID = "k" * 512


@cache
def signers() -> dict[str, Signer]:
    """Everybody's keys, by a name of the tests' own."""
    p384, rsa2048 = ec_key("P-384"), rsa_key(2048)
    return {
        "es384": Signer("es384", "ES384", p384),
        "rs384": Signer("rs384", "RS384", rsa2048),
        "es256": Signer("es256", "ES256", ec_key("P-256")),
        "es512": Signer("es512", "ES512", ec_key("P-521")),
        "rs384 alone": Signer("rs384-alone", "RS384", rsa2048),
        "long": Signer(LONG_KID, "ES384", p384),
        "epic": Signer(EPIC_KID, "RS384", rsa2048),
        "east-1": Signer("common", "ES384", ec_key("P-384", 1)),
        "east-2": Signer("common", "ES384", ec_key("P-384", 2)),
        "revoked": Signer("revoked", "ES384", ec_key("P-384", 3)),
        "enc": Signer("enc", "ES384", ec_key("P-384", 4)),
        "sign-only": Signer("sign-only", "ES384", ec_key("P-384", 5)),
        "short": Signer("short", "RS384", rsa_key(1024)),
        "p256 as es384": Signer("p256-as-es384", "ES384", ec_key("P-256")),
        "private": Signer("private", "ES384", ec_key("P-384", 6)),
        "twice": Signer("twice", "ES384", ec_key("P-384", 7)),
        "stranger": Signer("es384", "ES384", ec_key("P-384", 8)),
    }


def sets() -> dict[str, Json]:
    """The JWKS of each tenant, by the path at which it is served."""
    has = signers()
    north = [
        has["es384"].jwk(alg="ES384"),
        has["rs384"].jwk(),
        has["long"].jwk(),
        has["enc"].jwk(use="enc"),
        has["sign-only"].jwk(use=None, key_ops=["sign"]),
        has["short"].jwk(),
        has["p256 as es384"].jwk(alg="ES384"),
        {**has["private"].jwk(), "d": ECAlgorithm.to_jwk(has["private"].private, as_dict=True)["d"]},
        has["twice"].jwk(),
        has["stranger"].jwk(kid="twice"),
    ]
    every = [has["es384"].jwk(), has["rs384"].jwk(), has["es256"].jwk(), has["es512"].jwk()]
    return {
        "/north/keys": {"keys": north},
        "/every/keys": {"keys": [*every, has["rs384 alone"].jwk(alg="RS384")]},
        "/epic/keys": {"keys": [has["epic"].jwk()]},
        "/east-1/keys": {"keys": [has["east-1"].jwk()]},
        "/east-2/keys": {"keys": [has["east-2"].jwk()]},
    }


ISSUERS = {
    "north": "https://north.example.org/fhir",
    "every": "https://every.example.org",
    "epic": "https://epic.example.org/api/FHIR/R4",
    "east-1": "https://east.example.org",
    "east-2": "https://east.example.org",
}
_EVERY = '["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]'
_OWN = {
    "north": "",
    "every": f"algorithms = {_EVERY}",
    "epic": 'lifetime_seconds = 900\nleeway_seconds = 60\naudiences = ["sand_man"]',
    "east-1": 'tenant_claim = "hospital-1"',
    "east-2": 'tenant_claim = "hospital-2"',
}


def write_tenants(folder: Path, origin: str) -> Path:
    """A tenants file for all of them; their keys are served at this origin."""
    rows = [
        f'[[tenant]]\nid = "{name}"\nissuer = "{issuer}"\njwks = "{origin}/{name}/keys"\n{_OWN[name]}\n'
        for name, issuer in ISSUERS.items()
    ]
    path = folder / "tenants.toml"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


# --- tokens ---------------------------------------------------------------------------------------


class Parties:
    """The tenants and those who would like to be one. Their JWKS are served at `origin`."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def jku(self, who: str = "north") -> str:
        return f"{self.origin}/{who}/keys"

    def claims(self, who: str = "north", path: str = SERVICE) -> Json:
        """What a good token says. No two have the same jti."""
        claims = {
            "iss": ISSUERS[who],
            "aud": BASE + path,
            "exp": NOW + 300,
            "iat": NOW,
            "jti": f"token-{next(_NUMBERS)}",
        }
        return claims | ({"tenant": who.replace("east", "hospital")} if who.startswith("east") else {})

    def token(
        self,
        who: str = "north",
        signer: str | None = None,
        path: str = SERVICE,
        *,
        header: Json | None = None,
        claims: Json | None = None,
        edit: Callable[[str, str], tuple[str, str]] = lambda header, claims: (header, claims),
        signature: Callable[[bytes], bytes] = lambda signature: signature,
    ) -> str:
        """
        A good token, changed.

        `header` and `claims` replace members (ABSENT takes one out), `edit` changes the JSON of both before they are
        signed, `signature` what comes of that.
        """
        has = signers()[signer or {"north": "es384", "every": "es384"}.get(who, who)]
        told = _changed({"alg": has.algorithm, "kid": has.kid, "typ": "JWT"}, header)
        said = _changed(self.claims(who, path), claims)
        parts = edit(json.dumps(told), json.dumps(said))
        text = ".".join(encoded(part.encode()) for part in parts)
        own = next((name for name in has.can if name == told.get("alg")), None)
        signed = has.sign(text.encode(), own)
        return f"{text}.{encoded(signature(signed))}"

    def bearing(self, *args: Any, **kwargs: Any) -> list[str]:
        return [f"Bearer {self.token(*args, **kwargs)}"]

    def forged(self, algorithm: str, sign: Callable[[bytes], bytes], who: str = "north") -> list[str]:
        """A good token's claims under the header of another algorithm, with whatever for a signature."""
        header = {"alg": algorithm, "kid": "es384", "typ": "JWT"}
        text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(self.claims(who)).encode())}"
        return [f"Bearer {text}.{encoded(sign(text.encode()))}"]


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _changed(good: Json, changes: Json | None) -> Json:
    return {name: value for name, value in (good | (changes or {})).items() if value is not ABSENT}


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Requests of one caller, and why the last one is refused. None: it is let in."""

    name: str
    reason: Refusal | None
    make: Callable[[Parties], list[Request]]


def _sends(name: str, reason: Refusal | None, make: Callable[[Parties], list[str]], path: str = SERVICE) -> Case:
    return Case(name, reason, lambda parties: [(make(parties), path)])


def _good(name: str, *args: Any, to: str = SERVICE, **kwargs: Any) -> Case:
    return _sends(name, None, lambda parties: parties.bearing(*args, **kwargs), to)


def _bad(name: str, reason: Refusal, *args: Any, to: str = SERVICE, **kwargs: Any) -> Case:
    return _sends(name, reason, lambda parties: parties.bearing(*args, **kwargs), to)


def _twice(name: str, first: str, second: str, **claims: Any) -> Case:
    def make(parties: Parties) -> list[Request]:
        held = parties.bearing(claims=claims)
        return [(held, first), (held, second)]

    return Case(name, Refusal.REPLAYED, make)


def _of_length(parties: Parties, length: int) -> list[str]:
    """A good header of exactly this many bytes: filled up with a claim that nobody reads, and a few blanks."""
    jti = parties.claims()["jti"]
    bare = len(parties.token(claims={"jti": jti, "sub": ""}))
    token = parties.token(claims={"jti": jti, "sub": "x" * ((length - bare - 16) * 3 // 4)})
    return ["Bearer" + " " * (length - len("Bearer") - len(token)) + token]


def _with_stray_bits(parties: Parties) -> str:
    """Signed as it stands: the last character of the claims could be another, and would be read as the same."""
    header = encoded(json.dumps({"alg": "ES384", "kid": "es384", "typ": "JWT"}).encode())
    claims = json.dumps(parties.claims())
    segment = encoded((claims + " " * ((1 - len(claims)) % 3)).encode())
    text = f"{header}.{segment[:-1]}{chr(ord(segment[-1]) + 1)}"
    return f"Bearer {text}.{encoded(signers()['es384'].sign(text.encode()))}"


def _with_public_key(hs: str) -> Callable[[bytes], bytes]:
    """Signs with the public key, which everybody has, as if it were a secret."""
    algorithm = HMACAlgorithm(getattr(HMACAlgorithm, hs.replace("HS", "SHA")))
    return lambda text: algorithm.sign(text, signers()["es384"].pem)


FORM = [
    _sends("no header", Refusal.NO_HEADER, lambda _: []),
    _sends("an empty header", Refusal.NOT_BEARER, lambda _: [""]),
    _sends("Basic", Refusal.NOT_BEARER, lambda _: ["Basic dXNlcjpwYXNzd29yZA=="]),
    _sends("a good token as Basic", Refusal.NOT_BEARER, lambda p: [f"Basic {p.token()}"]),
    _sends("a good token without a scheme", Refusal.NOT_BEARER, lambda p: [p.token()]),
    _sends("a good token as DPoP", Refusal.NOT_BEARER, lambda p: [f"DPoP {p.token()}"]),
    _sends("Bearer and nothing", Refusal.NOT_A_TOKEN, lambda _: ["Bearer"]),
    _sends("Bearer and a blank", Refusal.NOT_A_TOKEN, lambda _: ["Bearer "]),
    _sends("two headers", Refusal.SEVERAL_HEADERS, lambda p: p.bearing() + p.bearing()),
    _sends("the same header twice", Refusal.SEVERAL_HEADERS, lambda p: p.bearing() * 2),
    _sends("two headers that a proxy joined", Refusal.NOT_A_TOKEN, lambda p: [", ".join(p.bearing() + p.bearing())]),
    _sends("two tokens in one header", Refusal.NOT_A_TOKEN, lambda p: [f"Bearer {p.token()} {p.token()}"]),
    _sends("two segments", Refusal.NOT_A_TOKEN, lambda p: [p.bearing()[0].rpartition(".")[0]]),
    _sends("one segment", Refusal.NOT_A_TOKEN, lambda p: [p.bearing()[0].partition(".")[0]]),
    _sends("four segments", Refusal.NOT_A_TOKEN, lambda p: [p.bearing()[0] + ".AA"]),
    _sends("five segments, as JWE has", Refusal.NOT_A_TOKEN, lambda p: [p.bearing()[0] + ".AA.AA"]),
    _sends("padding", Refusal.NOT_A_TOKEN, lambda p: [p.bearing()[0] + "=="]),
    _sends("another alphabet", Refusal.NOT_A_TOKEN, lambda p: [p.bearing()[0] + "+/"]),
    _sends("not ASCII", Refusal.NOT_A_TOKEN, lambda p: [p.bearing()[0] + "é"]),
    _sends("16 KB", Refusal.TOO_LONG, lambda p: p.bearing(claims={"sub": "x" * 12_000})),
    _sends("one byte more than 8 KiB", Refusal.TOO_LONG, lambda p: _of_length(p, 8 * 1024 + 1)),
    _sends("8 KiB", None, lambda p: _of_length(p, 8 * 1024)),
    _sends("bearer in lower case", None, lambda p: [f"bearer {p.token()}"]),
    _sends("BEARER in upper case", None, lambda p: [f"BEARER {p.token()}"]),
    _bad("a header that is no JSON", Refusal.HEADER_UNREADABLE, edit=lambda _, c: ("{alg", c)),
    _bad("a header that is a list", Refusal.HEADER_UNREADABLE, edit=lambda h, c: (f"[{h}]", c)),
    _bad("alg twice", Refusal.HEADER_UNREADABLE, edit=lambda h, c: (h[:-1] + ', "alg": "ES384"}', c)),
    _bad("kid twice, once escaped", Refusal.HEADER_UNREADABLE, edit=lambda h, c: (h[:-1] + ', "\\u006bid": "x"}', c)),
    _bad("a header with more after it", Refusal.HEADER_UNREADABLE, edit=lambda h, c: (h + "{}", c)),
    _sends("base64 with bits that mean nothing", Refusal.CLAIMS_UNREADABLE, lambda p: [_with_stray_bits(p)]),
    _bad("claims that are no JSON", Refusal.CLAIMS_UNREADABLE, edit=lambda h, c: (h, c[:-1])),
    _bad("claims that are a list", Refusal.CLAIMS_UNREADABLE, edit=lambda h, c: (h, f"[{c}]")),
    _bad("claims that are a text", Refusal.CLAIMS_UNREADABLE, edit=lambda h, _: (h, '"iss"')),
    _bad("iss twice", Refusal.CLAIMS_UNREADABLE, edit=lambda h, c: (h, c[:-1] + ', "iss": "https://x.example"}')),
    _bad("exp twice", Refusal.CLAIMS_UNREADABLE, edit=lambda h, c: (h, c[:-1] + ', "exp": 99999999999}')),
    _bad("claims 1,000 deep", Refusal.CLAIMS_UNREADABLE, edit=lambda h, c: (
        h, c[:-1] + ', "x": ' + "[" * 1000 + "]" * 1000 + "}")),
    _bad("half a character", Refusal.CLAIMS_UNREADABLE, edit=lambda h, c: (h, c[:-1] + ', "sub": "\\ud800"}')),
]  # fmt: skip

HEADER = [
    *(
        _sends(f"alg {none}", Refusal.ALGORITHM, lambda p, none=none: p.forged(none, lambda _: b"x"))
        for none in ("none", "None", "NONE", "nOnE")
    ),
    _sends("alg none without a signature", Refusal.NOT_A_TOKEN, lambda p: p.forged("none", lambda _: b"")),
    *(
        _sends(f"{hs} with the public key", Refusal.ALGORITHM, lambda p, hs=hs: p.forged(hs, _with_public_key(hs)))
        for hs in ("HS256", "HS384", "HS512")
    ),
    _sends(
        "HS256 with the public key where every algorithm is agreed",
        Refusal.ALGORITHM,
        lambda p: p.forged("HS256", _with_public_key("HS256"), "every"),
    ),
    _bad("PS384 where RS384 is agreed", Refusal.ALGORITHM, signer="rs384", header={"alg": "PS384"}),
    _bad("RS256 where RS384 is agreed", Refusal.ALGORITHM, signer="rs384", header={"alg": "RS256"}),
    _bad("ES256 where ES384 is agreed", Refusal.ALGORITHM, header={"alg": "ES256"}),
    _bad("PS384 with a key that is for RS384", Refusal.KEY_UNFIT, "every", "rs384 alone", header={"alg": "PS384"}),
    _bad("RS512 with a key that is for RS384", Refusal.KEY_UNFIT, "every", "rs384 alone", header={"alg": "RS512"}),
    _bad("ES384 with an RSA key", Refusal.KEY_UNFIT, "every", "rs384", header={"alg": "ES384"}),
    _bad("RS384 with an EC key", Refusal.KEY_UNFIT, "every", "es384", header={"alg": "RS384"}),
    _bad("ES256 with a P-384 key", Refusal.KEY_UNFIT, "every", "es384", header={"alg": "ES256"}),
    _bad("ES512 with a P-256 key", Refusal.KEY_UNFIT, "every", "es256", header={"alg": "ES512"}),
    _sends("EdDSA", Refusal.ALGORITHM, lambda p: p.forged("EdDSA", ed25519.Ed25519PrivateKey.generate().sign)),
    _bad("ES256K", Refusal.ALGORITHM, "every", header={"alg": "ES256K"}),
    _bad("alg missing", Refusal.ALGORITHM, header={"alg": ABSENT}),
    _bad("alg a list", Refusal.ALGORITHM, edit=lambda h, c: (h.replace('"ES384"', '["ES384"]', 1), c)),
    _bad("alg in lower case", Refusal.ALGORITHM, header={"alg": "es384"}),
    _bad("typ missing", Refusal.TYPE, header={"typ": ABSENT}),
    _bad("typ another", Refusal.TYPE, header={"typ": "at+jwt"}),
    _bad("typ a number", Refusal.TYPE, header={"typ": 1}),
    _good("typ in lower case", header={"typ": "jwt"}),
    _bad("kid missing", Refusal.KEY_ID, header={"kid": ABSENT}),
    _bad("kid empty", Refusal.KEY_ID, header={"kid": ""}),
    _bad("kid a number", Refusal.KEY_ID, header={"kid": 384}),
    _bad("kid null", Refusal.KEY_ID, header={"kid": None}),
    _bad("kid of 4 KB", Refusal.KEY_ID, header={"kid": "k" * 4096}),
    _bad("kid of 513 characters", Refusal.KEY_ID, header={"kid": "k" * 513}),
    _good("kid of 512 characters", signer="long"),
    _bad("kid unknown", Refusal.KEY_UNKNOWN, header={"kid": "never-heard-of"}),
    _bad("kid in another case", Refusal.KEY_UNKNOWN, header={"kid": "ES384"}),
    _bad("kid a path", Refusal.KEY_UNKNOWN, header={"kid": "../../../../dev/null"}),
    _bad("kid a query", Refusal.KEY_UNKNOWN, header={"kid": "es384' UNION SELECT 'x"}),
    _bad("kid a URL", Refusal.KEY_UNKNOWN, header={"kid": "https://evil.example/keys"}),
    _bad("kid with a NUL", Refusal.HEADER_UNREADABLE, header={"kid": "es384\0"}),
    _sends("jku the tenant's own", None, lambda p: p.bearing(header={"jku": p.jku()})),
    _bad("jku evil", Refusal.KEY_PLACE, header={"jku": "https://evil.example/keys"}),
    _sends("jku with the same beginning", Refusal.KEY_PLACE, lambda p: p.bearing(header={"jku": p.jku() + "-evil"})),
    _sends("jku below the own", Refusal.KEY_PLACE, lambda p: p.bearing(header={"jku": p.jku() + "/../evil"})),
    _sends("jku with a slash more", Refusal.KEY_PLACE, lambda p: p.bearing(header={"jku": p.jku() + "/"})),
    _sends("jku with a query", Refusal.KEY_PLACE, lambda p: p.bearing(header={"jku": p.jku() + "?x"})),
    _sends("jku in another case", Refusal.KEY_PLACE, lambda p: p.bearing(header={"jku": p.jku().upper()})),
    _sends("jku of another scheme", Refusal.KEY_PLACE, lambda p: p.bearing(
        header={"jku": p.jku().replace("http:", "https:")})),
    _sends("jku with somebody before the host", Refusal.KEY_PLACE, lambda p: p.bearing(
        header={"jku": p.jku().replace("//", "//x@")})),
    _sends("jku before an evil host", Refusal.KEY_PLACE, lambda p: p.bearing(
        header={"jku": p.origin + "@evil.example/north/keys"})),
    _sends("jku that redirects", Refusal.KEY_PLACE, lambda p: p.bearing(
        header={"jku": p.origin + "/redirect?to=" + p.jku()})),
    _sends("jku another tenant's", Refusal.KEY_PLACE, lambda p: p.bearing(header={"jku": p.jku("every")})),
    _bad("jku where credentials are handed out", Refusal.KEY_PLACE, header={"jku": "http://169.254.169.254/keys"}),
    _bad("jku empty", Refusal.KEY_PLACE, header={"jku": ""}),
    _bad("jku null", Refusal.KEY_PLACE, header={"jku": None}),
    _bad("jku a list", Refusal.KEY_PLACE, header={"jku": ["https://evil.example/keys"]}),
    _sends("jwk embedded", Refusal.HEADER_FORBIDDEN, lambda p: p.bearing(
        signer="stranger", header={"jwk": signers()["stranger"].jwk()})),
    _bad("jwk null", Refusal.HEADER_FORBIDDEN, header={"jwk": None}),
    _bad("x5c embedded", Refusal.HEADER_FORBIDDEN, header={"x5c": ["MIIB"]}),
    _bad("x5u", Refusal.HEADER_FORBIDDEN, header={"x5u": "https://evil.example/chain.pem"}),
    _bad("crit", Refusal.HEADER_FORBIDDEN, header={"crit": ["exp"], "exp": 1}),
    _bad("crit empty", Refusal.HEADER_FORBIDDEN, header={"crit": []}),
    _bad("crit with b64", Refusal.HEADER_FORBIDDEN, header={"crit": ["b64"], "b64": False}),
    _bad("b64", Refusal.HEADER_FORBIDDEN, header={"b64": True}),
    _bad("zip", Refusal.HEADER_FORBIDDEN, header={"zip": "DEF"}),
    _good("a header that nobody knows", header={"x-vendor": {"a": [1]}, "cty": "JWT"}),
]  # fmt: skip

SIGNATURE = [
    _bad("signature truncated", Refusal.SIGNATURE, signature=lambda s: s[:-1]),
    _bad("signature halved", Refusal.SIGNATURE, signature=lambda s: s[:48]),
    _bad("signature empty", Refusal.NOT_A_TOKEN, signature=lambda _: b""),
    _bad("signature zeroed, r = s = 0", Refusal.SIGNATURE, signature=lambda s: bytes(len(s))),
    _bad("signature all ones", Refusal.SIGNATURE, signature=lambda s: b"\xff" * len(s)),
    _bad("signature with a byte more", Refusal.SIGNATURE, signature=lambda s: s + b"\0"),
    _bad("signature with a bit turned", Refusal.SIGNATURE, signature=lambda s: bytes([s[0] ^ 1]) + s[1:]),
    _bad("signature of RSA zeroed", Refusal.SIGNATURE, signer="rs384", signature=lambda s: bytes(len(s))),
    _bad("signature of RSA truncated", Refusal.SIGNATURE, signer="rs384", signature=lambda s: s[:-1]),
    _bad("signature of another key with this kid", Refusal.SIGNATURE, signer="stranger"),
    _sends("signature of another token", Refusal.SIGNATURE, lambda p: [
        p.bearing()[0].rpartition(".")[0] + "." + p.bearing()[0].rpartition(".")[2]]),
    _sends("a claim changed after it was signed", Refusal.SIGNATURE, lambda p: [_with_other_claims(p)]),
    _good("ES384"),
    _good("RS384", signer="rs384"),
    *(_good(f"{algorithm} where it is agreed", "every", signer, header={"alg": algorithm}) for algorithm, signer in (
        ("ES256", "es256"), ("ES384", "es384"), ("ES512", "es512"), ("RS256", "rs384"), ("RS384", "rs384"),
        ("RS512", "rs384"), ("PS256", "rs384"), ("PS384", "rs384"), ("PS512", "rs384"))),
    _good("RS384 with a key that is for RS384", "every", "rs384 alone"),
    _bad("a revoked key", Refusal.KEY_UNKNOWN, signer="revoked"),
    _bad("a key with use enc", Refusal.KEY_UNFIT, signer="enc"),
    _bad("a key that may only sign", Refusal.KEY_UNFIT, signer="sign-only"),
    _bad("RSA of 1024 bits", Refusal.KEY_UNFIT, signer="short"),
    _bad("a P-256 key declared ES384", Refusal.KEY_UNFIT, signer="p256 as es384"),
    _bad("a key whose private half was published", Refusal.KEY_UNFIT, signer="private"),
    _bad("a kid that two keys have", Refusal.KEY_UNFIT, signer="twice"),
]  # fmt: skip


def _with_other_claims(parties: Parties) -> str:
    head, claims, signature = parties.token().split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return f"Bearer {head}.{encoded(json.dumps({**said, 'sub': 'admin'}).encode())}.{signature}"


SANDBOX = "https://sandbox.cds-hooks.org"
WHO = [
    _bad("iss missing", Refusal.CLAIM_MISSING, claims={"iss": ABSENT}),
    _bad("iss null", Refusal.CLAIM_MISSING, claims={"iss": None}),
    _bad("iss a number", Refusal.CLAIM_UNFIT, claims={"iss": 7}),
    _bad("iss a list", Refusal.CLAIM_UNFIT, claims={"iss": [ISSUERS["north"]]}),
    _bad("iss empty", Refusal.CLAIM_UNFIT, claims={"iss": ""}),
    _bad("iss unknown", Refusal.ISSUER, claims={"iss": "https://evil.example"}),
    _bad("iss in another case", Refusal.ISSUER, claims={"iss": "https://NORTH.example.org/fhir"}),
    _bad("iss with a slash more", Refusal.ISSUER, claims={"iss": ISSUERS["north"] + "/"}),
    _bad("iss with a blank more", Refusal.ISSUER, claims={"iss": ISSUERS["north"] + " "}),
    _bad("iss of the public Sandbox", Refusal.ISSUER, claims={"iss": SANDBOX}),
    _bad("iss of another tenant, whose set has no such key", Refusal.KEY_UNKNOWN, claims={"iss": ISSUERS["epic"]}),
    _bad("tenant missing where two share an issuer", Refusal.TENANT, "east-1", claims={"tenant": ABSENT}),
    _bad("tenant unknown", Refusal.TENANT, "east-1", claims={"tenant": "hospital-3"}),
    _bad("tenant in another case", Refusal.TENANT, "east-1", claims={"tenant": "HOSPITAL-1"}),
    _bad("tenant a list", Refusal.TENANT, "east-1", claims={"tenant": ["hospital-1", "hospital-2"]}),
    _bad("tenant of another, under the same kid", Refusal.SIGNATURE, "east-1", claims={"tenant": "hospital-2"}),
    _good("the one tenant of an issuer", "east-1"),
    _good("the other tenant of an issuer", "east-2"),
    _good("a tenant claim where nobody asks for one", claims={"tenant": "whatever"}),
    _bad("aud missing", Refusal.CLAIM_MISSING, claims={"aud": ABSENT}),
    _bad("aud a number", Refusal.CLAIM_UNFIT, claims={"aud": 1}),
    _bad("aud a list with a number", Refusal.CLAIM_UNFIT, claims={"aud": [BASE + SERVICE, 1]}),
    _bad("aud an object", Refusal.CLAIM_UNFIT, claims={"aud": {"x": BASE + SERVICE}}),
    _bad("aud an empty list", Refusal.AUDIENCE, claims={"aud": []}),
    _bad("aud an empty text", Refusal.AUDIENCE, claims={"aud": ""}),
    _bad("aud another service", Refusal.AUDIENCE, path=OTHER),
    _bad("aud the service, sent as feedback", Refusal.AUDIENCE, to=FEEDBACK),
    _bad("aud feedback, sent to the service", Refusal.AUDIENCE, path=FEEDBACK),
    _bad("aud discovery, sent to the service", Refusal.AUDIENCE, path=DISCOVERY),
    _bad("aud the service, sent to discovery", Refusal.AUDIENCE, to=DISCOVERY),
    _bad("aud a list without ours", Refusal.AUDIENCE, claims={"aud": [BASE + OTHER, "https://other.example"]}),
    _bad("aud our base alone", Refusal.AUDIENCE, claims={"aud": BASE}),
    _bad("aud a Host header's", Refusal.AUDIENCE, claims={"aud": "http://127.0.0.1:8000" + SERVICE}),
    _bad("aud a Host header's of the test client", Refusal.AUDIENCE, claims={"aud": "http://localhost" + SERVICE}),
    _bad("aud over plain http", Refusal.AUDIENCE, claims={"aud": "http://cds.example.org" + SERVICE}),
    _bad("aud with two slashes more", Refusal.AUDIENCE, claims={"aud": BASE + SERVICE + "//"}),
    _bad("aud with a query", Refusal.AUDIENCE, claims={"aud": BASE + SERVICE + "?x=1"}),
    _bad("aud of a service that begins so", Refusal.AUDIENCE, claims={"aud": BASE + SERVICE + "-2"}),
    _bad("aud of another tenant's typing", Refusal.AUDIENCE, claims={"aud": "sand_man"}),
    _good("aud as the tenant's people typed it", "epic", claims={"aud": "sand_man"}),
    _good("aud with a slash more", claims={"aud": BASE + SERVICE + "/"}),
    _good("aud a list with ours", claims={"aud": ["https://other.example", BASE + SERVICE]}),
    _good("aud discovery", path=DISCOVERY, to=DISCOVERY),
    _good("aud feedback", path=FEEDBACK, to=FEEDBACK),
]


def _times(issued: float, expires: float) -> Json:
    return {"iat": issued, "exp": expires}


WHEN = [
    _bad("exp missing", Refusal.CLAIM_MISSING, claims={"exp": ABSENT}),
    _bad("exp null", Refusal.CLAIM_MISSING, claims={"exp": None}),
    _bad("exp a text", Refusal.CLAIM_UNFIT, claims={"exp": str(NOW + 300)}),
    _bad("exp true", Refusal.CLAIM_UNFIT, claims={"exp": True}),
    _bad("exp a list", Refusal.CLAIM_UNFIT, claims={"exp": [NOW + 300]}),
    _bad("exp negative", Refusal.CLAIM_UNFIT, claims={"exp": -1}),
    _bad("exp 0", Refusal.CLAIM_UNFIT, claims={"exp": 0}),
    _bad("exp 1e300", Refusal.CLAIMS_UNREADABLE, claims={"exp": 1e300}),
    _bad("exp Infinity", Refusal.CLAIMS_UNREADABLE, claims={"exp": float("inf")}),
    _bad("exp NaN", Refusal.CLAIMS_UNREADABLE, claims={"exp": float("nan")}),
    _bad("exp of 100 digits", Refusal.CLAIMS_UNREADABLE, claims={"exp": 10**99}),
    _bad("exp in milliseconds", Refusal.CLAIM_UNFIT, claims={"exp": (NOW + 300) * 1000}),
    _bad("exp beyond 1e11", Refusal.CLAIM_UNFIT, claims={"exp": 10**11 + 1}),
    _bad("exp at 1e11", Refusal.LIVES_TOO_LONG, claims={"exp": 10**11}),
    _bad("exp an hour ago", Refusal.EXPIRED, claims=_times(NOW - 3900, NOW - 3600)),
    _bad("exp 30 s ago", Refusal.EXPIRED, claims=_times(NOW - 300, NOW - 30)),
    _good("exp 29 s ago", claims=_times(NOW - 300, NOW - 29)),
    _good("exp 29.9 s ago", claims=_times(NOW - 300, NOW - 29.9)),
    _bad("good for 301 s", Refusal.LIVES_TOO_LONG, claims=_times(NOW, NOW + 301)),
    _bad("good for 300.001 s", Refusal.LIVES_TOO_LONG, claims=_times(NOW, NOW + 300.001)),
    _good("good for 300 s", claims=_times(NOW, NOW + 300)),
    _good("good for 300 s, with a fraction", claims=_times(NOW + 0.5, NOW + 300.5)),
    _bad("good for no time", Refusal.LIVES_TOO_LONG, claims=_times(NOW, NOW)),
    _good("good for a second", claims=_times(NOW - 1, NOW)),
    _bad("expires before it was issued", Refusal.LIVES_TOO_LONG, claims=_times(NOW, NOW - 1)),
    _bad("good for 901 s where 900 are agreed", Refusal.LIVES_TOO_LONG, "epic", claims=_times(NOW, NOW + 901)),
    _bad("iat missing", Refusal.CLAIM_MISSING, claims={"iat": ABSENT}),
    _bad("iat a text", Refusal.CLAIM_UNFIT, claims={"iat": str(NOW)}),
    _bad("iat false", Refusal.CLAIM_UNFIT, claims={"iat": False}),
    _bad("iat 31 s ahead", Refusal.ISSUED_AHEAD, claims=_times(NOW + 31, NOW + 200)),
    _good("iat 30 s ahead", claims=_times(NOW + 30, NOW + 200)),
    _good("iat a second ahead, as the Sandbox's may be", claims=_times(NOW + 1, NOW + 301)),
    _bad("iat very old", Refusal.LIVES_TOO_LONG, claims={"iat": 1}),
    _bad("nbf 31 s ahead", Refusal.NOT_YET, claims={"nbf": NOW + 31}),
    _good("nbf 30 s ahead", claims={"nbf": NOW + 30}),
    _bad("nbf a text", Refusal.CLAIM_UNFIT, claims={"nbf": str(NOW)}),
    _bad("nbf true", Refusal.CLAIM_UNFIT, claims={"nbf": True}),
    _good("as Epic signs", "epic", header={"x": 1}, claims={
        "sub": "client", "nbf": NOW - 300, **_times(NOW, NOW + 900)}),
]  # fmt: skip

ONCE = [
    _bad("jti missing", Refusal.CLAIM_MISSING, claims={"jti": ABSENT}),
    _bad("jti empty", Refusal.CLAIM_UNFIT, claims={"jti": ""}),
    _bad("jti a number", Refusal.CLAIM_UNFIT, claims={"jti": 1}),
    _bad("jti with a line break", Refusal.CLAIM_UNFIT, claims={"jti": "a\nb"}),
    _bad("jti of 257 characters", Refusal.CLAIM_UNFIT, claims={"jti": "j" * 257}),
    _good("jti of 256 characters", claims={"jti": "j" * 256}),
    _twice("replay", SERVICE, SERVICE),
    _twice("replay at another service", SERVICE, OTHER, aud=[BASE + SERVICE, BASE + OTHER]),
    _twice("replay as feedback", SERVICE, FEEDBACK, aud=[BASE + SERVICE, BASE + FEEDBACK]),
    Case("the same jti in another token", Refusal.REPLAYED, lambda p: [
        (p.bearing(claims={"jti": "dup"}), SERVICE), (p.bearing(claims={"jti": "dup", "sub": "x"}), SERVICE)]),
    Case("the same jti of another issuer", None, lambda p: [
        (p.bearing(claims={"jti": "mine"}), SERVICE), (p.bearing("every", claims={"jti": "mine"}), SERVICE)]),
]  # fmt: skip

CASES = (*FORM, *HEADER, *SIGNATURE, *WHO, *WHEN, *ONCE)


@contextmanager
def served(clock: Ticking | None = None) -> Iterator[tuple[Parties, JwksServer]]:
    """The parties, and the server with their keys."""
    with JwksServer(sets(), clock).serving() as server:
        yield Parties(server.origin), server
