"""A drafted ketamine or esketamine order for prevention: what it says, and where it departs from the site's protocol."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class DraftedOrder:
    """
    What a drafted (es)ketamine order says, in mg, mg/kg, mL and minutes. None means that it does not say.

    `medicine` is "esketamine" or "ketamine". `route` is "iv", "nasal", "neuraxial" or "other". `minutes` is the
    shortest time over which the dose would run. `strength` is mg/mL of the product drawn up.
    """

    reference: str
    medicine: str | None
    route: str | None
    for_prevention: bool
    dose_mg: Fraction | None = None
    dose_mg_per_kg: Fraction | None = None
    minutes: Fraction | None = None
    bolus: bool = False
    repeats: int = 1
    strength: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Departure:
    """One difference: what is looked at, what the protocol expects, what the draft says, and how grave it is."""

    what: str
    says: str
    expected: str
    drafted: str
    critical: bool = False
