"""
What counts as JSON here, and nothing that only looks like it.

Python's own reader takes `NaN`, `1e999`, a name given twice and half a character, and on deep nesting it raises an
error that Flask turns into a 500. A NaN weight would become a NaN dose. So each of these is refused, with its kind
and its place. A message never holds text from the body: it may be a patient's.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final, NoReturn

from cds_service.errors import RequestUnreadable

MOST_BYTES: Final = 2 * 1024 * 1024
DEEPEST: Final = 64
MOST_DIGITS: Final = 64
LARGEST_EXPONENT: Final = 30

# Objects and arrays, since they are what a body costs in memory. FHIR spends more than 50 bytes on each (Synthea
# charts: 51 to 61), so honest bodies within MOST_BYTES have fewer.
MOST_NODES: Final = 50_000
# An array of a million numbers is one node, and so is an object of 100,000 names. FHIR has fewer than two values for
# each object or array (charts: 1.1 to 1.5).
MOST_VALUES_A_NODE: Final = 3


def read_json(body: bytes, *, most_bytes: int = MOST_BYTES, most_nodes: int = MOST_NODES) -> Any:
    """The value that the body holds, with exact Decimals. Raises RequestUnreadable: 400, or 413 when too large."""
    if len(body) > most_bytes:
        raise RequestUnreadable(f"the body is larger than {most_bytes} bytes", status=413)
    text = _text(body)
    if "\\" in text:
        _check_escapes(text)
    _check_nesting(body, text, most_nodes)
    _check_values(body, MOST_VALUES_A_NODE * most_nodes)
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        # Only the words before a colon: what follows them may quote the body.
        kind, place = f"not JSON ({error.msg.partition(': ')[0]})", error.pos
    except _RefusedError as refused:
        kind, place = refused.kind, _place_of(refused, text)
    raise _unreadable(kind, place)  # not inside `except`: the error would carry the body along as its context


def write_json(value: Any) -> bytes:
    """Compact JSON in UTF-8. A Decimal is written digit for digit: 14.0 stays 14.0. NaN raises ValueError."""
    numbers: list[str] = []

    def stand_in(other: object) -> str:
        if not isinstance(other, Decimal):
            raise TypeError(f"no JSON for a value of type {type(other).__name__}")
        if not other.is_finite():
            raise ValueError("no JSON for a number that is not finite")
        numbers.append(str(other))
        return "\0"

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=stand_in)
    if not numbers:
        return text.encode()
    # json.dumps can write a Decimal only as a float, which loses digits. So each one left a NUL in quotes, and gets its
    # digits here. No other text may hold a NUL: FHIR forbids it, and read_json refuses it.
    pieces = text.split('"\\u0000"')
    if len(pieces) != len(numbers) + 1:
        raise ValueError("no JSON for a text that holds a NUL character")
    return "".join(part for pair in zip_longest(pieces, numbers, fillvalue="") for part in pair).encode()


# --- characters -------------------------------------------------------------------------------------------------


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        place = error.start
    else:
        text = text.removeprefix("\ufeff")  # a byte order mark is no JSON, but a reader may skip it (RFC 8259, 8.1)
        if not text or text.isspace():
            raise RequestUnreadable("the body is empty")
        return text
    raise RequestUnreadable(f"the body is not UTF-8, at byte {place + 1}")


# A character outside the basic plane is written as two escapes. One of them alone cannot be written as UTF-8 again:
# it would fail later, in a log or in an answer.
_HALF_ALONE: Final = re.compile(
    r"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F])", re.DOTALL
)


def _check_escapes(text: str) -> None:
    if "\\u" not in text:
        return
    text = text.replace("\\\\", "  ")  # now every backslash begins an escape, and no place has moved
    if half := _HALF_ALONE.search(text):
        raise _unreadable("half a character (a lone surrogate)", half.start())
    if (place := text.find("\\u0000")) >= 0:
        raise _unreadable("a NUL character", place)


# --- nesting ----------------------------------------------------------------------------------------------------

_ROUND: Final = bytes.maketrans(b"[]{}", b"()()")
_NOT_SHAPE: Final = bytes(set(range(256)) - set(b'"[]{}'))
# Begins with a plain backslash, which the search can leap to: a bare group that repeats costs 0.25 ms more.
_ESCAPE: Final = re.compile(rb"\\.(?:\\.)*+", re.DOTALL)
_TOO_DEEP: Final = b"(" * (DEEPEST + 1)
_STRING_OF_BRACKETS: Final = re.compile(rb'"[^"]*"')


def _check_nesting(body: bytes, text: str, most_nodes: int) -> None:
    """
    Counts levels and nodes without recursion, before the reader recurses.

    Only brackets are kept. Then each round takes the innermost pairs away: there are as many rounds as levels. What
    is left was never closed and may be one level each. So the count is exact for JSON, and for anything else it is
    at least as deep as the reader gets before it stops.
    """
    shape = _ESCAPE.sub(b"", body).translate(_ROUND, _NOT_SHAPE)
    # A string without brackets is now an empty pair of quotes. Taking those away moves no bracket from inside a
    # string to outside. So whatever still stands between quotes is a string with brackets in it.
    shape = shape.replace(b'""', b"")
    if b'"' in shape:
        shape = _STRING_OF_BRACKETS.sub(b"", shape).partition(b'"')[0]
    if _TOO_DEEP in shape:
        _refuse_if_deep(text)
    if shape.count(b"(") > most_nodes:
        raise RequestUnreadable(f"the body has more than {most_nodes} objects and arrays", status=413)
    levels = 0
    while levels <= DEEPEST and (inner_gone := shape.replace(b"()", b"")) != shape:
        shape = inner_gone
        levels += 1
    if levels + shape.count(b"(") > DEEPEST:
        _refuse_if_deep(text)


def _refuse_if_deep(text: str) -> None:
    """Counts from the front, as the reader would. Brackets that do not match are left to the reader to report."""
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += _STEP.get(token[0], 0)
        if depth > DEEPEST:
            raise _unreadable(f"nested deeper than {DEEPEST} levels", token.start())


# --- values -----------------------------------------------------------------------------------------------------

# A string that is never closed reaches to the end, or each quote in it would be tried in turn.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def _check_values(body: bytes, most: int) -> None:
    """Counts the commas, one of which stands between any two values. Only where they are many, strings are left out."""
    if body.count(b",") > most and _STRING.sub(b"", body).count(b",") > most:
        raise RequestUnreadable(f"the objects and arrays of the body have more than {most} values", status=413)


class _RefusedError(Exception):
    """A value that Python's reader takes and we do not: what is wrong, and the number as written, if it is one."""

    def __init__(self, kind: str, number: str | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.number = number


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(members)) == len(members):
        return found
    raise _RefusedError("a name that stands twice in one object")


def _integer(digits: str) -> int:
    if len(digits) <= MOST_DIGITS or len(digits.lstrip("-")) <= MOST_DIGITS:
        return int(digits)
    raise _RefusedError(f"an integer of more than {MOST_DIGITS} digits", digits)


def _decimal(digits: str) -> Decimal:
    # Short and without an exponent is every decimal that a chart holds. The other checks are for the rest.
    if len(digits) <= LARGEST_EXPONENT and "e" not in digits and "E" not in digits:
        return Decimal(digits)
    mantissa, _, exponent = digits.lower().partition("e")
    if len(mantissa.lstrip("-").replace(".", "")) > MOST_DIGITS:
        raise _RefusedError(f"a decimal of more than {MOST_DIGITS} digits", digits)
    if len(exponent) > 4 or abs(int(exponent or "0")) > LARGEST_EXPONENT:
        raise _RefusedError(f"a number with an exponent beyond {LARGEST_EXPONENT}", digits)
    return Decimal(digits)


def _constant(name: str) -> NoReturn:
    raise _RefusedError("a number that is not finite", name)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal, parse_constant=_constant
)


# --- places, looked for only after a refusal --------------------------------------------------------------------

# A name keeps its colon. A string that is never closed reaches to the end, or each quote in it would be tried in turn.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"(?:\s*+:)?)?|-?\d[\d.eE+-]*+|-?Infinity|NaN|[][{}]', re.DOTALL)
_STEP: Final = {"{": 1, "[": 1, "}": -1, "]": -1}


def _place_of(refused: _RefusedError, text: str) -> int:
    if refused.number is None:
        return _first_repeated_name(text)
    # The first that is written like this: had it stood earlier, it would have been refused there.
    return next(token.start() for token in _TOKEN.finditer(text) if token[0] == refused.number)


def _first_repeated_name(text: str) -> int:
    names: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        step = _STEP.get(token[0], 0)
        if step > 0:
            names.append(set())
        elif step < 0:
            names.pop()
        elif token[0].endswith(":") and token[0].startswith('"'):
            name = json.loads(token[0][:-1])  # "a" and "\u0061" are the same name
            if name in names[-1]:
                return token.start()
            names[-1].add(name)
    raise AssertionError("the reader saw a name twice, so the text holds it twice")  # pragma: no cover


def _unreadable(kind: str, place: int) -> RequestUnreadable:
    return RequestUnreadable(f"{kind}, at character {place + 1}")
