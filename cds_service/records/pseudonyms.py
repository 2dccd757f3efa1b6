"""Which name stands for a patient or a user in the records, so that nobody who reads them learns whose they are."""

from __future__ import annotations

import hmac
from typing import Final

from cds_service.errors import SiteUnfit

_SHORTEST: Final = 32


class Pseudonyms:
    """
    HMAC-SHA256 under a key of each tenant's own, which is derived from one.

    The same id at two tenants gets two pseudonyms: nobody can tell that it is the same. Without the key nobody can try
    out ids; with another key the same id gets another pseudonym. Raises SiteUnfit below 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _SHORTEST:
            raise SiteUnfit(f"the key of the pseudonyms is shorter than {_SHORTEST} bytes")
        self._key = key

    def of(self, tenant: str, text: str) -> str:
        """32 hexadecimal digits, always the same for the same tenant and text."""
        tenants_own = hmac.digest(self._key, tenant.encode(), "sha256")
        return hmac.digest(tenants_own, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]
