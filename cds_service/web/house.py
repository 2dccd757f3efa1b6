"""Whom the service answers, and by which advisor: everybody on this machine by one, or each tenant by its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cds_service.advisor import Advisor

if TYPE_CHECKING:
    from cds_service.ehr.keys import Keys
    from cds_service.ehr.trust import Trust


@dataclass(frozen=True)
class House:
    """
    The advisors by tenant, and who may ask them.

    `trust` is None where nobody has to say who they are: then there is one advisor, for everybody. `origins` are the
    browser clients of each tenant that may call from a page of theirs. `keys` are the public keys of each tenant.
    """

    advisors: Mapping[str, Advisor]
    trust: Trust | None = None
    origins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    keys: Mapping[str, Keys] = field(default_factory=dict)

    @classmethod
    def open_to_all(cls, advisor: Advisor, origins: Sequence[str] = ()) -> House:
        """On this machine only: whoever calls is answered."""
        return cls({_EVERYBODY: advisor}, origins={_EVERYBODY: frozenset(origins)})

    def whose(self, authorization: Sequence[str], path: str) -> tuple[str, Advisor]:
        """
        The tenant that calls this path with these Authorization headers, and its advisor.

        Raises CallerRefused (401), and StoreUnavailable (503) when nobody can tell whether a token was used before.
        """
        if self.trust is None:
            return next(iter(self.advisors.items()))
        tenant = self.trust.admit(authorization, path)
        return tenant.id, self.advisors[tenant.id]

    @property
    def all_origins(self) -> frozenset[str]:
        """Every origin that any tenant lets in: a preflight does not say whose it is."""
        return frozenset().union(*self.origins.values())

    def lets_in(self, tenant: str, origin: str) -> bool:
        return origin in self.origins.get(tenant, frozenset())

    def shut_out(self) -> Iterator[str]:
        """The tenants none of whose calls could be believed now, since no key of theirs can be had."""
        yield from (tenant for tenant, keys in self.keys.items() if keys.why_not_ready() is not None)


_EVERYBODY = "default"
