"""How much, worked out in exact decimals, and shown on the card. Only an eligible woman gets one."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

from cds_service.clinical.eligibility import Eligibility
from cds_service.clinical.facts import Evidence, Facts, Number
from cds_service.knowledge.shapes import Protocol

# The last guard. The tables hold the dose; these stand in code so that a tampered table is refused at start
# (decision logic, section 5).
CEILING_MG: Final = {"esketamine": Decimal(20), "ketamine": Decimal(50)}


@dataclass(frozen=True, slots=True)
class Dose:
    """
    One infusion: mg, mL, mg/mL, mL/h, min, and the arithmetic in words that a person can follow.

    `exact_mg` is the dose before its last step, rounded down for the eye; `capped`: the weight was counted as the cap.
    """

    protocol: Protocol
    weight_kg: Decimal
    weight: Evidence
    exact_mg: Decimal
    capped: bool
    dose_mg: Decimal
    drug_volume_ml: Decimal
    diluent_volume_ml: Decimal
    concentration_mg_per_ml: Decimal
    calculation: str

    @property
    def rounded(self) -> bool:
        """Was anything taken off in the last step, as far as the eye can see?"""
        return self.exact_mg != self.dose_mg


def compute(facts: Facts, eligibility: Eligibility, protocol: Protocol | None) -> Dose | None:
    """The dose, or None in every status but the two eligible ones. Raises ValueError above a ceiling."""
    if protocol is None or not eligibility.status.allows_a_dose:
        return None
    weight = facts["dosing_weight"]
    return dose_for(weight.value, weight.evidence[0], protocol)


def dose_for(weight_kg: Number, evidence: Evidence, protocol: Protocol) -> Dose:
    """Dose for a weight in kg (exact; never rounded before the last step). Raises ValueError above a ceiling."""
    kg = Fraction(weight_kg)
    counted = min(kg, Fraction(protocol.weight_cap_kg))
    exact = counted * Fraction(protocol.dose_mg_per_kg)
    step = Fraction(protocol.round_down_to_mg)
    dose = plain(exact // step * step)
    ceiling = min(protocol.ceiling_mg, CEILING_MG[protocol.medicine])
    if dose > ceiling or dose <= 0:
        raise ValueError(f"{protocol.id}: the computed dose is outside 0 to {ceiling} mg")
    drug_volume = plain(Fraction(dose) / Fraction(protocol.strength_mg_per_ml))
    concentration = plain(Fraction(dose) / Fraction(protocol.total_volume_ml))
    shown, unrounded = _rounded_down(kg), _rounded_down(exact)
    capped = f", counted as {protocol.weight_cap_kg:f} kg" if kg > counted else ""
    rounded = f", rounded down to {dose:f} mg" if unrounded != dose else ""
    return Dose(
        protocol=protocol,
        weight_kg=shown,
        weight=evidence,
        exact_mg=unrounded,
        capped=kg > counted,
        dose_mg=dose,
        drug_volume_ml=drug_volume,
        diluent_volume_ml=plain(Fraction(protocol.total_volume_ml) - Fraction(drug_volume)),
        concentration_mg_per_ml=concentration,
        calculation=(
            f"{protocol.dose_mg_per_kg:f} mg/kg × {shown:f} kg{capped} = {unrounded:f} mg{rounded}; "
            f"{dose:f} mg ÷ {protocol.strength_mg_per_ml:f} mg/mL = {drug_volume:f} mL, "
            f"made up to {protocol.total_volume_ml:f} mL = {concentration:f} mg/mL; "
            f"{protocol.rate_ml_per_h:f} mL/h for {protocol.duration_min} min"
        ),
    )


def plain(exact: Fraction) -> Decimal:
    """
    A fraction as the shortest exact decimal. Raises ValueError if it has no end.

    A whole number has no place: where the point of "20.0 mg" is overlooked, it is read as a dose ten times as high.
    """
    with localcontext() as context:
        context.prec = 40
        number = Decimal(exact.numerator) / Decimal(exact.denominator)
        if Fraction(number) != exact:
            raise ValueError("no exact decimal")
        number = number.normalize()
        return number if number.as_tuple().exponent <= 0 else number.quantize(Decimal(1))  # type: ignore[operator]


def _rounded_down(exact: Fraction) -> Decimal:
    """For the eye only: at most three places, rounded down. The dose itself is never computed from it."""
    return plain(Fraction(exact.numerator * 1000 // exact.denominator, 1000))
