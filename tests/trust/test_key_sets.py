"""Which keys of a JWKS may verify a signature, and with which algorithms."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st
from jwks_server import Json
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from tokens import ec_key, encoded, rsa_key, signers

from cds_service.public_keys import MOST_KEYS, MOST_SET_BYTES, KeyFault, KeySet, read_key_set

# What https://sandbox.cds-hooks.org publishes. Its private half is public, too.
SANDBOX = {
    "kty": "EC",
    "crv": "P-384",
    "kid": "44823f3d-0b01-4a6c-a80e-b9d3e8a7226f",
    "x": "dw_JGR8nB2I6XveNxUOl2qk699ZPLM2nYI5STSdiEl9avAkrm3CkfYMbrrjr8laB",
    "y": "Sm3mLE-n1zYNla_aiE3cb3nZsL51RbC7ysw3q8aJLxGm-hx79RPMYpITDjp7kgzy",
}
GOOD = signers()["es384"].jwk()
PADDED_X = base64.urlsafe_b64encode(b"\0" + base64.urlsafe_b64decode(SANDBOX["x"])).decode()


def read(*keys: Any, production: bool = True) -> KeySet:
    found = read_key_set(json.dumps({"keys": keys}).encode(), production=production)
    assert found is not None
    return found


def rsa_of(bits: int) -> Json:
    """A modulus of exactly this many bits. Nobody has its private half."""
    return {"kty": "RSA", "kid": "r", "e": "AQAB", "n": encoded(((1 << (bits - 1)) | 1).to_bytes((bits + 7) // 8))}


RS, PS = ({f"{family}{bits}" for bits in (256, 384, 512)} for family in ("RS", "PS"))


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (signers()["es256"].jwk(), {"ES256"}),
        (signers()["es384"].jwk(), {"ES384"}),
        (signers()["es512"].jwk(), {"ES512"}),
        (signers()["rs384"].jwk(), RS | PS),
        (signers()["rs384"].jwk(alg="PS384"), {"PS384"}),
        (signers()["es384"].jwk(alg="ES384"), {"ES384"}),
        (signers()["es384"].jwk(use=None), {"ES384"}),
        (signers()["es384"].jwk(use=None, key_ops=["verify"]), {"ES384"}),
        (signers()["es384"].jwk(x5c=["MIIB"], x5t="x"), {"ES384"}),
        (rsa_of(2048), RS | PS),
        (rsa_of(8192), RS | PS),
    ],
)
def test_a_key_is_bound_to_the_algorithms_that_fit_it(jwk: Json, algorithms: set[str]) -> None:
    found = read(jwk)

    assert found.fit[jwk["kid"]].algorithms == algorithms
    assert (found.unfit, found.faults) == ({}, ())


@pytest.mark.parametrize(
    ("jwk", "fault"),
    [
        *((odd, KeyFault.NOT_A_KEY) for odd in (None, 7, "key", [], [GOOD])),
        ({**GOOD, "kid": ""}, KeyFault.NO_KID),
        ({**GOOD, "kid": 7}, KeyFault.NO_KID),
        ({**GOOD, "kid": "k" * 513}, KeyFault.NO_KID),
        ({name: value for name, value in GOOD.items() if name != "kid"}, KeyFault.NO_KID),
        ({**GOOD, "d": "AA"}, KeyFault.PRIVATE),
        ({**json.loads(RSAAlgorithm.to_jwk(rsa_key(2048))), "kid": "r"}, KeyFault.PRIVATE),
        ({**rsa_of(2048), "oth": []}, KeyFault.PRIVATE),
        ({"kty": "oct", "kid": "o", "k": "AAAA"}, KeyFault.PRIVATE),
        ({**GOOD, "use": "enc"}, KeyFault.NOT_FOR_SIGNATURES),
        ({**GOOD, "use": ["sig"]}, KeyFault.NOT_FOR_SIGNATURES),
        ({**GOOD, "use": None}, KeyFault.NOT_FOR_SIGNATURES),
        ({**GOOD, "key_ops": ["sign"]}, KeyFault.NOT_FOR_SIGNATURES),
        ({**GOOD, "key_ops": []}, KeyFault.NOT_FOR_SIGNATURES),
        ({**GOOD, "key_ops": "verify"}, KeyFault.NOT_FOR_SIGNATURES),
        ({**GOOD, "kty": "ec"}, KeyFault.UNKNOWN_KIND),
        ({**GOOD, "kty": ["EC"]}, KeyFault.UNKNOWN_KIND),
        ({**GOOD, "crv": "secp256k1"}, KeyFault.UNKNOWN_KIND),
        ({**GOOD, "crv": ["P-384"]}, KeyFault.UNKNOWN_KIND),
        ({"kty": "oct", "kid": "o"}, KeyFault.UNKNOWN_KIND),
        ({"kid": "o"}, KeyFault.UNKNOWN_KIND),
        (
            {
                **OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key(), as_dict=True),
                "kid": "o",
                "key_ops": ["verify"],
            },
            KeyFault.UNKNOWN_KIND,
        ),
        ({**GOOD, "x": 7}, KeyFault.NOT_A_KEY),
        ({**GOOD, "x": "é"}, KeyFault.NOT_A_KEY),
        ({**GOOD, "x": "AA"}, KeyFault.NOT_A_KEY),
        ({**GOOD, "x": GOOD["y"], "y": GOOD["x"]}, KeyFault.NOT_A_KEY),
        ({name: value for name, value in GOOD.items() if name != "y"}, KeyFault.NOT_A_KEY),
        ({**GOOD, "crv": "P-256"}, KeyFault.NOT_A_KEY),
        ({**rsa_of(2048), "e": "AQ"}, KeyFault.NOT_A_KEY),
        ({**rsa_of(2048), "e": ""}, KeyFault.NOT_A_KEY),
        ({**rsa_of(2048), "n": ""}, KeyFault.NOT_A_KEY),
        ({**GOOD, "alg": "ES256"}, KeyFault.ANOTHER_ALGORITHM),
        ({**GOOD, "alg": "none"}, KeyFault.ANOTHER_ALGORITHM),
        ({**GOOD, "alg": ["ES384"]}, KeyFault.ANOTHER_ALGORITHM),
        ({**GOOD, "alg": {"ES384": 1}}, KeyFault.ANOTHER_ALGORITHM),
        ({**GOOD, "alg": "HS256"}, KeyFault.ANOTHER_ALGORITHM),
        ({**signers()["p256 as es384"].jwk(), "alg": "ES384"}, KeyFault.ANOTHER_ALGORITHM),
        ({**rsa_of(2048), "alg": "RSA-OAEP"}, KeyFault.ANOTHER_ALGORITHM),
        (rsa_of(1024), KeyFault.TOO_SHORT),
        (rsa_of(2047), KeyFault.TOO_SHORT),
        (rsa_of(8193), KeyFault.TOO_LONG),
        (SANDBOX, KeyFault.PUBLISHED),
        ({**SANDBOX, "kid": "another-name"}, KeyFault.PUBLISHED),
        ({**SANDBOX, "kid": "written-otherwise", "x": SANDBOX["x"] + "=="}, KeyFault.PUBLISHED),
        ({**GOOD, "kid": SANDBOX["kid"]}, KeyFault.PUBLISHED),
    ],
)
def test_a_key_that_cannot_be_trusted_is_left_out_and_the_others_stay(jwk: Any, fault: KeyFault) -> None:
    found = read(jwk, signers()["es512"].jwk())

    assert list(found.fit) == ["es512"]
    assert found.faults == (fault,)
    named = isinstance(jwk, dict) and fault is not KeyFault.NO_KID
    assert found.unfit == ({jwk["kid"]: fault} if named else {})


def test_the_sandbox_may_be_trusted_in_development() -> None:
    found = read(SANDBOX, production=False)

    assert found.fit[SANDBOX["kid"]].algorithms == {"ES384"}


def test_the_sandbox_key_with_a_leading_zero_is_no_way_in() -> None:
    found = read({**SANDBOX, "kid": "padded", "x": PADDED_X})

    assert found.fit == {}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"keys": {}}', b'{"keys": null}', b"<html>", b"\xff"])
def test_what_is_no_jwks_is_none(body: bytes) -> None:
    assert read_key_set(body, production=True) is None


def test_a_name_twice_makes_it_no_jwks() -> None:
    one = json.dumps(GOOD)
    assert read_key_set(f'{{"keys": [], "keys": [{one}]}}'.encode(), production=True) is None


def test_a_set_without_a_key_is_a_set() -> None:
    """So an EHR that takes back all its keys is heard at once."""
    assert read() == KeySet({}, {}, ())


@pytest.mark.parametrize(("size", "read_at_all"), [(MOST_SET_BYTES, True), (MOST_SET_BYTES + 1, False)])
def test_a_set_is_read_up_to_64_kib(size: int, read_at_all: bool) -> None:
    body = json.dumps({"keys": [GOOD]}).encode().ljust(size)

    assert (read_key_set(body, production=True) is not None) is read_at_all


def test_twenty_keys_are_used_and_no_more() -> None:
    found = read(*({**GOOD, "kid": str(number)} for number in range(22)))

    assert list(found.fit) == [str(number) for number in range(MOST_KEYS)]
    assert found.faults == (KeyFault.TOO_MANY,) * 2


def test_keys_that_are_not_used_do_not_count() -> None:
    found = read(*({**GOOD, "kid": str(number), "use": "enc"} for number in range(100)), GOOD)

    assert list(found.fit) == ["es384"]
    assert len(found.unfit) == 100


def test_of_two_keys_with_one_id_neither_is_used() -> None:
    other = {**signers()["revoked"].jwk(), "kid": GOOD["kid"]}
    third = {**signers()["enc"].jwk(), "kid": GOOD["kid"]}
    enc = {**third, "use": "enc"}

    for keys in ((GOOD, other), (GOOD, other, GOOD), (GOOD, other, third), (enc, GOOD, other), (GOOD, other, enc)):
        found = read(*keys)
        assert found.fit == {}
        assert found.unfit == {GOOD["kid"]: KeyFault.TWICE}


def test_one_key_may_be_listed_for_each_of_its_algorithms() -> None:
    found = read(signers()["rs384"].jwk(alg="RS384"), signers()["rs384"].jwk(alg="PS384"))

    assert found.fit["rs384"].algorithms == {"RS384", "PS384"}


@pytest.mark.parametrize("enc_first", [True, False])
def test_a_key_to_encrypt_with_may_share_its_id_with_one_to_sign_with(enc_first: bool) -> None:
    enc = {**signers()["revoked"].jwk(), "kid": GOOD["kid"], "use": "enc"}
    found = read(*((enc, GOOD) if enc_first else (GOOD, enc)))

    assert list(found.fit) == [GOOD["kid"]]
    assert found.unfit == {}


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """Its own example, in section 3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3ok"
        "njhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6"
        "qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8aw"
        "apJzKnqDKgw"
    )
    found = read({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})

    assert found.fit["2011-04-29"].thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


_ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=2)


@given(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "use", "key_ops", "alg"]), _ODD))
def test_whatever_a_key_looks_like_it_is_used_or_left_out(changes: dict[str, Any]) -> None:
    for good in (GOOD, rsa_of(2048)):
        found = read_key_set(json.dumps({"keys": [{**good, **changes}]}).encode(), production=True)
        assert found is None or len(found.fit) + len(found.faults) == 1


def test_a_key_and_its_private_half_are_told_apart() -> None:
    whole = ECAlgorithm.to_jwk(ec_key("P-384"), as_dict=True)
    assert read({**whole, "kid": "k"}).faults == (KeyFault.PRIVATE,)
