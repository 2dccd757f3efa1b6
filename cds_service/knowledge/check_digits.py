"""Could this code exist? Arithmetic that catches misprints and invented codes."""

from __future__ import annotations

import re
from typing import Final

_VERHOEFF_D: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip
_SHAPES: Final = {
    "rxnorm": re.compile(r"\d{1,8}"),
    "icd10cm": re.compile(r"[A-Z]\d[0-9A-Z](\.[0-9A-Z]{1,4})?"),
    "icd10pcs": re.compile(r"[0-9A-HJ-NP-Z]{7}"),
    "atc": re.compile(r"[A-Z](\d\d([A-Z]([A-Z](\d\d)?)?)?)?"),
    "hl7": re.compile(r"[A-Za-z0-9-]{1,40}"),
}


def could_exist(system: str, code: str) -> bool:
    """Luhn for LOINC, Verhoeff for SNOMED CT, the published shape for the rest."""
    if system == "loinc":
        return bool(re.fullmatch(r"(LA|LL)?\d{1,7}-\d", code)) and _luhn(code)
    if system == "snomed":
        return bool(re.fullmatch(r"\d{6,18}", code)) and _verhoeff(code)
    return bool(_SHAPES[system].fullmatch(code))


def _luhn(code: str) -> bool:
    number, check = code.removeprefix("LA").removeprefix("LL").split("-")
    if code.startswith(("LA", "LL")):
        return True  # answer and list codes of older releases carry no Luhn digit
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(number))]
    return (10 - sum(n // 10 + n % 10 for n in doubled) % 10) % 10 == int(check)


def _verhoeff(code: str) -> bool:
    state = 0
    for place, digit in enumerate(reversed(code)):
        state = int(_VERHOEFF_D[state][int(_VERHOEFF_P[place % 8][int(digit)])])
    return state == 0
