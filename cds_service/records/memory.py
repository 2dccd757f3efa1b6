"""Writes down what was advised about whom: in pseudonyms, codes and counts, and in no word of a chart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.records.pseudonyms import Pseudonyms
from cds_service.records.trail import UUID, Entry, Trail
from cds_service.settings import Terms

# Within this long an order without a stated reason is taken for what was offered (decision logic, section 6).
_OFFER_STANDS_FOR: Final = timedelta(hours=24)
_OFFER: Final = "KETOPTION"


class Memory:
    """What one tenant's clinicians were advised. Safe to use from many threads and processes."""

    def __init__(self, trail: Trail, pseudonyms: Pseudonyms, terms: Terms) -> None:
        self._trail = trail
        self._pseudonyms = pseudonyms
        self._terms = terms

    def remember(
        self,
        who: Encountered,
        outcome: Literal["advised", "nothing", "failed", "unavailable"],
        thought: Consultation | None,
        cards: Sequence[dict[str, Any]],
        knowledge: str,
        now: datetime,
    ) -> None:
        """
        One row for one call. When this returns, it has been committed. `thought` is None when there was none.

        Raises StoreUnavailable: then the cards must not go out, since nobody could tell later that they did.
        """
        eligibility = thought.eligibility if thought is not None else None
        rows = () if eligibility is None else (*eligibility.contraindications, *eligibility.reviews)
        open_ = () if eligibility is None else (*eligibility.missing, *eligibility.confirm)
        self._trail.append(
            Entry(
                at=now,
                tenant=self._terms.tenant,
                issuer=self._terms.issuer,
                user=self._name(who.user) if who.user else None,
                service=who.service_id,
                hook=who.hook,
                hook_instance=self._call(who.hook_instance),
                patient=self._name(who.patient),
                knowledge=knowledge,
                mode="shadow" if self._terms.shadow else "live",
                outcome=outcome,
                status=eligibility.status.value if eligibility is not None else None,
                criteria=tuple(sorted({row.row.id for row in rows} | {one.id for one in open_})),
                topics=tuple(topic.code for topic in thought.plan.topics) if thought is not None else (),
                cards=tuple(card["uuid"] for card in cards if "uuid" in card),
            )
        )

    def offered(self, who: Encountered, now: datetime) -> bool:
        """Was the medicine offered for this patient within a day? Raises StoreUnavailable."""
        since = now - _OFFER_STANDS_FOR
        return self._trail.offered(self._terms.tenant, self._name(who.patient), _OFFER, since)

    def _call(self, hook_instance: str) -> str:
        """A caller may choose it, and might choose a name: what is no UUID gets a stand-in, always the same one."""
        if UUID.fullmatch(hook_instance):
            return hook_instance
        return f"opaque-{self._name(f'hookInstance {hook_instance}')[:16]}"

    def _name(self, reference: str) -> str:
        return self._pseudonyms.of(self._terms.tenant, reference)
