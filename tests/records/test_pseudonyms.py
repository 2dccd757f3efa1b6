"""A pseudonym stands for one id at one tenant, and nobody gets back from it without the key."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.errors import SiteUnfit
from cds_service.records import Pseudonyms

KEY = bytes(range(32))


def test_the_same_id_at_the_same_tenant_has_the_same_name_and_no_other_has() -> None:
    names = Pseudonyms(KEY)
    one = names.of("a", "Patient/1")
    assert one == Pseudonyms(KEY).of("a", "Patient/1")
    others = [names.of("b", "Patient/1"), names.of("a", "Patient/2"), Pseudonyms(bytes(32)).of("a", "Patient/1")]
    assert len({one, *others}) == 4


def test_it_is_an_hmac_under_a_key_of_the_tenants_own() -> None:
    own = hmac.new(KEY, b"a", hashlib.sha256).digest()
    assert Pseudonyms(KEY).of("a", "Patient/ä") == hmac.new(own, "Patient/ä".encode(), hashlib.sha256).hexdigest()[:32]


@given(st.text(), st.text(st.characters(codec="utf-8")))
def test_it_is_32_hexadecimal_digits_whatever_it_stands_for(tenant: str, text: str) -> None:
    tenant = tenant.encode("utf-8", "replace").decode()
    name = Pseudonyms(KEY).of(tenant, text)
    assert (len(name), set(name) <= set("0123456789abcdef")) == (32, True)


@pytest.mark.parametrize(("length", "fit"), [(0, False), (31, False), (32, True), (64, True)])
def test_a_key_below_32_bytes_is_refused(length: int, fit: bool) -> None:
    if fit:
        assert Pseudonyms(bytes(length)).of("a", "b")
        return
    with pytest.raises(SiteUnfit, match="shorter than 32 bytes"):
        Pseudonyms(bytes(length))
