"""One whole thought: what was asked, what was found, what follows. Kept together so that it can be explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from cds_service.clinical.dosing import Dose
from cds_service.clinical.eligibility import Eligibility
from cds_service.clinical.facts import Evidence, Facts
from cds_service.clinical.order_check import Departure, DraftedOrder
from cds_service.clinical.plan import Occasion, Plan
from cds_service.clinical.risk import Risk


@dataclass(frozen=True, slots=True)
class Ordered:
    """
    An order that is drafted or active: its codes ("system|code"), its words in lower case, and when it is due.

    The words are for comparing with ours, and never shown. `due` is a day; None means that the order names none.
    """

    codes: frozenset[str]
    words: str = field(default="", repr=False)
    due: date | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Consultation:
    """
    Everything that was thought for one call.

    `orders` are the (es)ketamine orders drafted in this call; `departures` is where the one for prevention leaves the
    protocol. `already_ordered` are the orders drafted or active, so that nothing is suggested twice. `set_aside` names
    the chart entries that could not be read, by reference and reason; `not_hers` those that are about somebody else.
    `not_recognised` are the medicines that could count now, and then the problems, but that no rule has looked at,
    because neither code nor words told which they are: one entry for each.
    """

    occasion: Occasion
    facts: Facts
    risk: Risk
    eligibility: Eligibility
    dose: Dose | None
    orders: tuple[DraftedOrder, ...]
    departures: tuple[Departure, ...]
    plan: Plan
    already_ordered: tuple[Ordered, ...] = ()
    set_aside: tuple[str, ...] = ()
    not_hers: tuple[str, ...] = ()
    not_recognised: tuple[Evidence, ...] = ()

    def route_not_understood(self, departure: Departure) -> bool:
        """Is this about the route of an order that names one which nobody here understands? It is not "another"."""
        return departure.id == "not_iv" and any(
            order.reference == departure.reference and "route" in order.unreadable for order in self.orders
        )


@dataclass(frozen=True, slots=True)
class Encountered:
    """
    Who and where: relative references for the draft orders, and the call that the cards answer.

    `drafts` are the orders of the call by reference, as received: one that is corrected goes back whole.
    """

    service_id: str
    hook: str
    hook_instance: str
    patient: str
    encounter: str | None
    user: str | None
    drafts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
