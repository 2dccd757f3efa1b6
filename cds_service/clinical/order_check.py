"""A drafted (es)ketamine order for prevention: what it says, and where it departs from the site's protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from string import Template
from typing import Final

from cds_service.clinical.dosing import Dose, plain
from cds_service.clinical.facts import Number
from cds_service.clinical.rounding import beside
from cds_service.knowledge.shapes import DepartureId, OrderCheckTable, Protocol

# How many places people see, unless a limit lies closer: of an amount, and of a time in minutes.
_PLACES: Final = 3
_PLACES_OF_TIME: Final = 1


@dataclass(frozen=True, slots=True)
class DraftedOrder:
    """
    What a drafted (es)ketamine order says, in mg, mg/kg, mL and minutes. None means that it does not say.

    `medicine` is "esketamine" or "ketamine"; None when the draft names both. `route` is "iv", "nasal", "neuraxial" or
    "other". `selected`: it was just picked, or is being signed. `dose_is_range`: the dose is the high end of a range.
    `volume_ml` is drawn up from the product, `mixed_ml` is what runs in. `strength` is mg/mL of the product.
    `minutes` is the shortest time over which the dose would run, as far as it can be told without her weight;
    `longest_minutes` is the longest that the draft allows. `repeats` counts the doses, `repeatable` means that nothing
    ends them. `unreadable` names what is said, but not in a way that we can read: "dose", "rate", "time", "strength",
    "route".
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
    selected: bool = True
    dose_is_range: bool = False
    volume_ml: Fraction | None = None
    mixed_ml: Fraction | None = None
    longest_minutes: Fraction | None = None
    rate_mg_per_min: Fraction | None = None
    rate_mg_per_kg_per_min: Fraction | None = None
    rate_ml_per_h: Fraction | None = None
    repeatable: bool = False
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Departure:
    """One difference: what is looked at, what the protocol expects, what the draft says, and how grave it is."""

    what: str
    says: str
    expected: str
    drafted: str
    critical: bool = False
    id: str = ""
    reference: str = ""


def check(
    orders: tuple[DraftedOrder, ...],
    *,
    dose: Dose | None,
    protocol: Protocol | None,
    weight_kg: Number | None,
    monitoring: bool,
    table: OrderCheckTable,
    duplicate_active: bool = False,
) -> tuple[Departure, ...]:
    """
    Where the selected orders for prevention depart from the protocol, the critical first (decision logic, section 8).

    Without a protocol only the absolute limits speak. `duplicate_active`: another (es)ketamine order is active.
    """
    kg = Fraction(weight_kg) if weight_kg is not None and weight_kg > 0 else None
    checked = [_Checked(o, kg, dose, protocol, table) for o in orders if o.for_prevention and o.selected]
    found = [one.departure(id_, critical=True) for one in checked for id_ in one.beyond_limits()]
    if protocol is None or not checked:
        return tuple(found)
    found += [one.departure(id_) for one in checked for id_ in one.against(protocol)]
    if duplicate_active or len(orders) > 1:
        found.append(checked[0].departure("second_order"))
    if not monitoring:
        found.append(checked[0].departure("no_monitoring"))
    return tuple(found)


# --- what the amounts in an order come to ---------------------------------------------------------


def stated_dose(order: DraftedOrder, kg: Fraction | None) -> Fraction | None:
    """The dose in mg that the order states: in mg, per kg of this weight, or as a volume of a known strength."""
    told = []
    if order.dose_mg is not None:
        told.append(order.dose_mg)
    if order.dose_mg_per_kg is not None and kg is not None:
        told.append(order.dose_mg_per_kg * kg)
    if not told and order.dose_mg_per_kg is None and order.volume_ml is not None and order.strength is not None:
        told.append(order.volume_ml * order.strength)
    return max(told, default=None)


def total_dose(order: DraftedOrder, kg: Fraction | None) -> Fraction | None:
    """The dose in mg that she would get: as stated, else what the rate gives in the longest time."""
    stated = stated_dose(order, kg)
    if stated is not None or order.dose_mg_per_kg is not None:
        return stated
    minutes = order.longest_minutes or order.minutes
    if minutes is None:
        return None
    by_rate = []
    if order.rate_mg_per_min is not None:
        by_rate.append(order.rate_mg_per_min * minutes)
    if order.rate_mg_per_kg_per_min is not None and kg is not None:
        by_rate.append(order.rate_mg_per_kg_per_min * kg * minutes)
    if order.rate_ml_per_h is not None and order.strength is not None and order.mixed_ml is None:
        by_rate.append(order.rate_ml_per_h * minutes / 60 * order.strength)
    return max(by_rate, default=None)


def infusion_minutes(order: DraftedOrder, kg: Fraction | None) -> Fraction | None:
    """The shortest time over which the dose would run: when time and volume/rate disagree, the shorter counts."""
    told = [] if order.minutes is None else [order.minutes]
    dose = stated_dose(order, kg)
    if order.rate_mg_per_min is not None and dose is not None:
        told.append(dose / order.rate_mg_per_min)
    if order.rate_mg_per_kg_per_min is not None:
        if order.dose_mg_per_kg is not None:
            told.append(order.dose_mg_per_kg / order.rate_mg_per_kg_per_min)
        elif dose is not None and kg is not None:
            told.append(dose / kg / order.rate_mg_per_kg_per_min)
    if order.rate_ml_per_h is not None and (volume := _infused_ml(order, dose)) is not None:
        told.append(volume * 60 / order.rate_ml_per_h)
    return min(told, default=None)


def _infused_ml(order: DraftedOrder, dose: Fraction | None) -> Fraction | None:
    """What runs through the line: the diluted volume where the order tells it, else what is drawn up."""
    if order.mixed_ml is not None:
        return order.mixed_ml
    if order.volume_ml is not None:
        return order.volume_ml
    return dose / order.strength if dose is not None and order.strength is not None else None


# --- one order against the limits and the protocol ------------------------------------------------


class _Checked:
    """One order with the woman's weight, the computed dose and the table; it names its departures by id."""

    def __init__(
        self,
        order: DraftedOrder,
        kg: Fraction | None,
        dose: Dose | None,
        protocol: Protocol | None,
        table: OrderCheckTable,
    ) -> None:
        self.order = order
        self.kg = kg
        self.dose = dose
        self.protocol = protocol
        self.table = table
        self.total = total_dose(order, kg)
        self.minutes = infusion_minutes(order, kg)
        # A draft that names both medicines, or neither, is held against the strictest limit.
        limits = [row for row in table.absolute if row.medicine == order.medicine] or [*table.absolute]
        self.limit_mg = min(Fraction(row.mg) for row in limits)
        self.limit_mg_per_kg = min(Fraction(row.mg_per_kg) for row in limits)

    def departure(self, id_: DepartureId, *, critical: bool = False) -> Departure:
        words = self.table.words.departure[id_]
        slots = self._slots()
        return Departure(
            what=words.what,
            says=words.says,
            expected=Template(words.expected).substitute(slots),
            drafted=Template(words.drafted).substitute(slots),
            critical=critical,
            id=id_,
            reference=self.order.reference,
        )

    def beyond_limits(self) -> Iterator[DepartureId]:
        """What no site may do, whatever its protocol."""
        if self.total is not None and self.total > self.limit_mg:
            yield "above_limit"
        per_kg = self._per_kg()
        if per_kg is not None and per_kg > self.limit_mg_per_kg:
            yield "above_limit_per_kg"
        if self._strength_error():
            yield "strength_error"

    def against(self, protocol: Protocol) -> Iterator[DepartureId]:
        """Where it departs from this protocol."""
        order = self.order
        if order.medicine is None:
            yield "medicine_unclear"
        elif order.medicine != protocol.medicine:
            yield "other_medicine"
        if order.route != "iv":
            yield "not_iv"
        yield from self._dose(protocol)
        yield from self._time()
        if order.repeatable:
            yield "repeatable"
        elif order.repeats > self.table.most_repeats:
            yield "repeats"
        yield from self._strength(protocol)

    def _dose(self, protocol: Protocol) -> Iterator[DepartureId]:
        order, computed = self.order, self._computed()
        if self.total is None:
            yield "no_total"
        elif order.dose_mg is not None and self._near(order.dose_mg, Fraction(protocol.dose_mg_per_kg)):
            yield "mg_for_mg_per_kg"
        elif computed is not None and not self._near(self.total, computed):
            if order.dose_mg_per_kg is not None and self._near(order.dose_mg_per_kg, computed):
                yield "mg_per_kg_for_mg"
            elif self._times() is None:
                yield "dose_differs"
            else:
                yield "times_too_high" if self.total > computed else "times_too_low"
        if order.dose_is_range:
            yield "dose_range"

    def _time(self) -> Iterator[DepartureId]:
        order, table = self.order, self.table
        if order.bolus:
            yield "bolus"
        elif self.minutes is None:
            yield "no_time"
        elif self.minutes < table.shortest_min:
            yield "too_short"
        elif self._longest() > table.longest_min:
            yield "too_long"

    def _strength(self, protocol: Protocol) -> Iterator[DepartureId]:
        if "strength" in self.order.unreadable:
            yield "strength_unclear"
            return
        strength = self._implied_strength()
        if strength is None or self._is_the_mixture(strength, protocol):
            return
        exact = self.order.strength is not None
        right = Fraction(protocol.strength_mg_per_ml)
        # A strength on a label is exact; one that follows from a rounded volume is not.
        if strength != right if exact else not self._near(strength, right):
            yield "other_strength"

    # -- the numbers behind them

    def _computed(self) -> Fraction | None:
        return None if self.dose is None else Fraction(self.dose.dose_mg)

    def _near(self, found: Fraction, expected: Fraction) -> bool:
        """Within the tolerance of the table. Exactly at its edge is within."""
        return abs(found - expected) * 100 <= expected * Fraction(self.table.dose_tolerance_percent)

    def _times(self) -> int | None:
        """How many times the computed dose, or which part of it, when a decimal point or a unit has slipped."""
        computed = self._computed()
        if computed is None or self.total is None:
            return None
        for times in self.table.words.times:
            if self._near(self.total, computed * times) or self._near(self.total * times, computed):
                return times
        return None

    def _longest(self) -> Fraction:
        """A rate ends the infusion, whatever longer time is written beside it."""
        order = self.order
        rated = (order.rate_mg_per_min, order.rate_mg_per_kg_per_min, order.rate_ml_per_h) != (None, None, None)
        if rated or order.longest_minutes is None:
            return self.minutes or Fraction(0)
        return order.longest_minutes

    def _per_kg(self) -> Fraction | None:
        """mg/kg: as stated, as its rate gives, or the total over her weight; the highest counts."""
        order = self.order
        told = [] if order.dose_mg_per_kg is None else [order.dose_mg_per_kg]
        minutes = order.longest_minutes or order.minutes
        stated = order.dose_mg is not None or order.dose_mg_per_kg is not None or order.volume_ml is not None
        if not stated and order.rate_mg_per_kg_per_min is not None and minutes is not None:
            told.append(order.rate_mg_per_kg_per_min * minutes)
        if self.total is not None and self.kg is not None:
            told.append(self.total / self.kg)
        return max(told, default=None)

    def _by_volume(self) -> Fraction | None:
        order = self.order
        if order.volume_ml is None or order.strength is None:
            return None
        return order.volume_ml * order.strength

    def _strength_error(self) -> bool:
        """Do the stated dose and the stated volume of that strength disagree? The diluted volume is no error."""
        by_volume, stated = self._by_volume(), stated_dose(self.order, self.kg)
        if by_volume is None or stated is None or self._near(by_volume, stated):
            return False
        if self.dose is None or self.order.volume_ml is None:
            return True
        return not self._near(stated / self.order.volume_ml, Fraction(self.dose.concentration_mg_per_ml))

    def _implied_strength(self) -> Fraction | None:
        order = self.order
        if order.strength is not None or order.volume_ml is None or order.dose_mg is None:
            return order.strength
        return order.dose_mg / order.volume_ml

    def _is_the_mixture(self, strength: Fraction, protocol: Protocol) -> bool:
        """The pharmacy may send it ready to run: then its strength is the dose in the protocol's whole volume."""
        return self.total is not None and self._near(strength * Fraction(protocol.total_volume_ml), self.total)

    # -- and in words

    def _slots(self) -> Mapping[str, str]:
        order, table, words, protocol = self.order, self.table, self.table.words, self.protocol
        not_stated = words.not_stated
        return {
            "dose": self._dose_words(),
            "limit": f"{plain(self.limit_mg):f}",
            "limit_per_kg": f"{plain(self.limit_mg_per_kg):f}",
            "per_kg": _shown(self._per_kg(), not_stated, self.limit_mg_per_kg),
            "times": not_stated if (times := self._times()) is None else str(times),
            "expected_dose": self._expected_dose(),
            "medicine": words.medicine.get(order.medicine or "", words.not_clear),
            "expected_medicine": words.medicine[protocol.medicine] if protocol is not None else not_stated,
            "route": words.route.get(order.route or "", not_stated),
            "time": self._time_words(),
            "shortest": str(table.shortest_min),
            "longest": str(table.longest_min),
            "repeats": str(order.repeats),
            "most_repeats": str(table.most_repeats),
            "strength": _shown(self._implied_strength(), not_stated, *self._right_strength()),
            "expected_strength": f"{protocol.strength_mg_per_ml:f}" if protocol is not None else not_stated,
            "volume": _shown(order.volume_ml, not_stated),
            "by_volume": self._by_volume_words(),
        }

    def _dose_words(self) -> str:
        order, words = self.order, self.table.words
        if order.dose_mg_per_kg is not None and order.dose_mg is None:
            per_kg = f"{_shown(order.dose_mg_per_kg, '', self.limit_mg_per_kg)} mg/kg"
            return f"{per_kg}, {words.no_weight}" if self.total is None else f"{per_kg} = {self._total_words()} mg"
        if self.total is not None:
            return f"{self._total_words()} mg"
        if order.volume_ml is not None:
            return f"{_shown(order.volume_ml)} mL"
        return words.not_readable if order.unreadable & {"dose", "rate"} else words.not_stated

    def _expected_dose(self) -> str:
        """Without a computed dose none is named: the card may be about a contraindication."""
        words = self.table.words
        if self.dose is None:
            return words.no_dose
        medicine = self.dose.protocol.medicine
        # Beside milligrams of another medicine it would read as a dose converted to that one.
        called = f" {words.medicine[medicine]}" if self.order.medicine not in (None, medicine) else ""
        return f"{self.dose.dose_mg:f} mg{called}"

    def _total_words(self) -> str:
        """Beside the absolute limit, the computed dose and the edges of its tolerance."""
        computed = self._computed()
        if computed is None or (self.total is not None and self.total > self.limit_mg):
            return _shown(self.total, "", self.limit_mg)
        allowed = computed * Fraction(self.table.dose_tolerance_percent) / 100
        return _shown(self.total, "", computed, computed - allowed, computed + allowed, self.limit_mg)

    def _right_strength(self) -> tuple[Fraction, ...]:
        return () if self.protocol is None else (Fraction(self.protocol.strength_mg_per_ml),)

    def _by_volume_words(self) -> str:
        stated = stated_dose(self.order, self.kg)
        return _shown(self._by_volume(), self.table.words.not_stated, *(() if stated is None else (stated,)))

    def _time_words(self) -> str:
        order, words, table = self.order, self.table.words, self.table
        if self.minutes is None:
            return words.not_readable if order.unreadable & {"time", "rate"} else words.not_stated
        shortest, longest = Fraction(table.shortest_min), Fraction(table.longest_min)
        shown = self._longest() if self.minutes >= shortest else self.minutes
        return f"{beside(shown, shortest, longest, places=_PLACES_OF_TIME, up=shown > longest)} min"


def _shown(number: Fraction | None, otherwise: str = "", *limits: Fraction) -> str:
    """
    For the eye: away from the first limit, and on the same side of each as the exact number.

    Else a draft of 20.0004 mg would read "20 mg, at most 20 mg". Nothing is computed from it.
    """
    if number is None:
        return otherwise
    return beside(number, *limits, places=_PLACES, up=bool(limits) and number > limits[0])
