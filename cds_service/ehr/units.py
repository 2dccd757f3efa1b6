"""What a quantity is in the unit that a table row asks for: exact, by UCUM code."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cds_service.ehr.elements import number
from cds_service.knowledge.shapes import UnitTable


class Units:
    """The unit table, indexed by UCUM code and by the spellings seen where a quantity carries no code."""

    def __init__(self, table: UnitTable) -> None:
        self._by_code = {unit.ucum: (unit.base, unit.factor) for unit in table.unit}
        self._by_spelling = {spelling.lower(): unit.ucum for unit in table.unit for spelling in unit.spellings}

    def code_of(self, quantity: Mapping[str, Any]) -> str | None:
        """The UCUM code of a quantity, or None. Matched on `code`; on `unit` only when there is no code."""
        code = quantity.get("code")
        if isinstance(code, str) and code:
            if code in self._by_code:
                return code
            # Some feeds put the human spelling into `code` (seen: "lbs", "mmHg"), without the UCUM system.
            if quantity.get("system") in (None, "", "http://unitsofmeasure.org"):
                return self._by_spelling.get(code.lower())
            return None
        unit = quantity.get("unit")
        if not isinstance(unit, str):
            return None
        return unit if unit in self._by_code else self._by_spelling.get(" ".join(unit.lower().split()))

    def convert(self, quantity: object, unit: str) -> Decimal | Fraction | None:
        """The exact value of a FHIR Quantity in `unit` (a UCUM code); None when the unit is unknown or another kind."""
        if not isinstance(quantity, dict) or quantity.get("comparator"):
            return None
        value = number(quantity.get("value"))
        if value is None:
            return None
        found = self.code_of(quantity)
        wanted = self._by_code.get(unit, (unit, Fraction(1)))
        if found is None:
            return None
        if found == unit:
            return value
        base, factor = self._by_code[found]
        if base != wanted[0]:
            return None
        return Fraction(value) * factor / wanted[1]
