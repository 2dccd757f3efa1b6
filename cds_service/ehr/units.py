"""What a quantity is in the unit that a table row asks for: exact, by UCUM code."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from cds_service.ehr.elements import number
from cds_service.knowledge.shapes import UnitTable

_OFFICIAL: Final = "http://unitsofmeasure.org"
_UCUM: Final = frozenset({_OFFICIAL, "urn:oid:2.16.840.1.113883.6.8"})
# The micro sign and the Greek letter look the same. UCUM writes both as u.
_MICRO: Final = str.maketrans("µμ", "uu")


class Units:
    """The unit table, indexed by UCUM code and by the spellings seen where a quantity carries no code."""

    def __init__(self, table: UnitTable) -> None:
        self._by_code = {unit.ucum: (unit.base, unit.factor) for unit in table.unit}
        self._by_spelling = {_plain(s): unit.ucum for unit in table.unit for s in unit.spellings}
        self._as_listed = {s: unit.ucum for unit in table.unit for s in unit.spellings}

    def code_of(self, quantity: Mapping[str, Any]) -> str | None:
        """
        The UCUM code of a quantity, or None when it is not known to be one. The code outweighs the unit.

        A code of another system is not trusted, nor is the unit beside it. Without a code, `unit` is read by its
        spellings. Some feeds put a spelling into `code` (seen: "lbs", "mmHg"). Where they call that UCUM it must
        stand in the table letter by letter, because case means something there: Mg is a tonne.
        """
        code = quantity.get("code")
        if isinstance(code, str) and code in self._by_code and quantity.get("system") == _OFFICIAL:
            return code  # as nearly all of them are written
        if code is None or code == "":
            return self._spelled(quantity.get("unit"))
        if not isinstance(code, str):
            return None
        system = quantity.get("system")
        if system is None or system == "":
            return self._spelled(code)
        if not isinstance(system, str) or system.rstrip("/") not in _UCUM:
            return None
        code = code.strip()
        return code if code in self._by_code else self._as_listed.get(code)

    def _spelled(self, text: object) -> str | None:
        if not isinstance(text, str):
            return None
        return text.strip() if text.strip() in self._by_code else self._by_spelling.get(_plain(text))

    def convert(self, quantity: object, unit: str) -> Decimal | Fraction | None:
        """
        The exact value of a FHIR Quantity in `unit` (a UCUM code); None when the unit is unknown or another kind.

        With a comparator it is None, too: "> 200" is no number, and nothing may be calculated from it.
        """
        if not isinstance(quantity, dict) or quantity.get("comparator"):
            return None
        return self._converted(quantity, unit)

    def lower_bound(self, quantity: object, unit: str) -> Decimal | Fraction | None:
        """
        What a Quantity such as ">= 1000 mL" is surely not below, in `unit`. None without such a comparator.

        It may warn of a value that is too high, and it reassures nobody: there may be more.
        """
        if not isinstance(quantity, dict) or quantity.get("comparator") not in (">", ">="):
            return None
        return self._converted(quantity, unit)

    def _converted(self, quantity: Mapping[str, Any], unit: str) -> Decimal | Fraction | None:
        value = number(quantity.get("value"))
        found = self.code_of(quantity) if value is not None else None
        if value is None or found is None:
            return None
        if found == unit:
            return value
        base, factor = self._by_code[found]
        wanted = self._by_code.get(unit, (unit, Fraction(1)))
        if base != wanted[0]:
            return None
        return Fraction(value) * factor / wanted[1]


def _plain(spelling: str) -> str:
    return " ".join(spelling.translate(_MICRO).lower().split())
