"""What is read as JSON, what is refused, and that a refusal tells where and never what."""

from __future__ import annotations

import json
import math
import traceback
from decimal import Decimal
from typing import Any

import pytest
from bad_json import BAD, CANARY, nested
from hypothesis import given
from hypothesis import strategies as st

from cds_service.errors import RequestUnreadable
from cds_service.hooks.strict_json import DEEPEST, MOST_BYTES, read_json, write_json


@pytest.mark.parametrize(("body", "status", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_not_strict_json_is_refused_without_a_word_from_it(body: bytes, status: int, says: str) -> None:
    with pytest.raises(RequestUnreadable) as caught:
        read_json(body)
    error = caught.value
    told = "".join(traceback.format_exception(error)) + repr(error)
    assert error.status == status
    assert says in str(error)
    assert CANARY not in told
    assert "4711" not in told
    assert error.__context__ is None  # Python's own error would carry the whole body


GOOD: list[tuple[str, bytes, Any]] = [
    ("byte order mark", b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    ("blanks around", b" \n[1 , 2]\t\r", [1, 2]),
    ("a bare value", b"null", None),
    ("exact decimals", b"[19.00, 0.001530, -0.0]", [Decimal("19.00"), Decimal("0.001530"), Decimal("-0.0")]),
    ("exponents", b"[1e3, 1.5E-2, 1e30, 1E-30]", [Decimal(text) for text in ("1e3", "1.5E-2", "1e30", "1E-30")]),
    ("64 digits", b"[" + b"7" * 64 + b",-" + b"7" * 64 + b"]", [int("7" * 64), -int("7" * 64)]),
    ("both halves of a character", rb'["\ud83d\ude00", "\uD83D\uDE00"]', ["😀", "😀"]),
    ("an escaped backslash before what looks like half a character", rb'["\\ud83d"]', ["\\ud83d"]),
    ("an escaped backslash before what looks like NUL", rb'["\\u0000"]', ["\\u0000"]),
    ("the same name in two objects", b'[{"a":1},{"a":{"a":2}}]', [{"a": 1}, {"a": {"a": 2}}]),
    ("the same name in capitals", b'{"a":1,"A":2}', {"a": 1, "A": 2}),
    ("strings that look like structure", rb'["[[[", "{\"", "\\", "]"]', ["[[[", '{"', "\\", "]"]),
    ("a string of 100 brackets", b'["' + b"[" * 100 + b'"]', ["[" * 100]),
    ("a string of 100 escaped quotes and brackets", b'["' + rb"\"[" * 100 + b'"]', ['"[' * 100]),
    ("strings that look like numbers", b'["NaN", "1e999"]', ["NaN", "1e999"]),
    ("64 levels", nested(64, middle=b""), json.loads(nested(64, middle=b""))),
    ("64 levels, many times", b"[" + b",".join([nested(63)] * 9) + b"]", [json.loads(nested(63))] * 9),
    ("50,000 objects and arrays", b"[" + b"{}," * 49_998 + b"{}]", [{}] * 49_999),
    ("150,000 commas", b"[" + b"4," * 150_000 + b"4]", [4] * 150_001),
    (
        "many commas in a string",
        b'["' + b"," * 200_000 + rb'\",", "' + b"," * 200_000 + b'"]',
        ["," * 200_000 + '",', "," * 200_000],
    ),
    ("as large as may be", b'"' + b" " * (MOST_BYTES - 2) + b'"', " " * (MOST_BYTES - 2)),
]


@pytest.mark.parametrize(("body", "value"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_strict_json_is_read(body: bytes, value: Any) -> None:
    assert repr(read_json(body)) == repr(value)  # repr, since 19.0 == 19.00


def test_a_caller_may_set_other_limits() -> None:
    assert read_json(b"[[],[]]", most_bytes=7, most_nodes=3) == [[], []]
    with pytest.raises(RequestUnreadable, match="larger than 6 bytes"):
        read_json(b"[[],[]]", most_bytes=6)
    with pytest.raises(RequestUnreadable, match="more than 2 objects and arrays"):
        read_json(b"[[],[]]", most_nodes=2)


# --- writing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"dose": Decimal("14.0")}, '{"dose":14.0}'),
        ([Decimal("0.20"), 1, Decimal("14.40"), 1.5], "[0.20,1,14.40,1.5]"),
        (Decimal("-0.001530"), "-0.001530"),
        ({"says": "für 3 µg", "n": None, "t": True}, '{"says":"für 3 µg","n":null,"t":true}'),
        (["\0"], '["\\u0000"]'),
        ([], "[]"),
    ],
)
def test_decimals_are_written_digit_for_digit(value: Any, text: str) -> None:
    assert write_json(value) == text.encode()


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        {"a": [math.nan]},
        "\ud83d",
        [Decimal("1.0"), "\0"],
        [Decimal("1.0"), '"\0'],
    ],
    ids=repr,
)
def test_what_could_not_be_read_again_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (UnicodeEncodeError is one, too)
        write_json(value)


def test_what_has_no_json_is_not_written() -> None:
    with pytest.raises(TypeError, match="no JSON for a value of type set"):
        write_json({"a": set()})


# --- properties -------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('[]{}"\\,:'))
decimals = st.builds(
    Decimal, st.tuples(st.integers(0, 1), st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(-30, 9))
).filter(lambda number: abs(number.adjusted()) <= 30)
scalars = st.none() | st.booleans() | st.integers(-(10**63), 10**63) | decimals | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=40)


def digits(value: Any) -> Any:
    """Every number as the text that JSON has for it: 14.0 and 14.00 differ, a Decimal 14 and an int 14 do not."""
    if isinstance(value, dict):
        return {name: digits(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [digits(inner) for inner in value]
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return value
    return (
        "number",
        str(value) if str(value) != "-0" else "0",
    )  # -0 without a point is an integer, and that has no sign


@given(values)
def test_what_is_written_is_read_again_digit_for_digit(value: Any) -> None:
    assert digits(read_json(write_json(value))) == digits(value)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**63), 10**63) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=40,
)


@given(plain_values, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_layout_and_escapes_change_nothing(value: Any, indent: int | str | None, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()) == value


# Pieces that make near-JSON: the reader and the counting of levels must agree on all of it.
tokens = ["[", "]", "{", "}", '"', ",", ":", "1", " ", "\\", "n", '"a"', '"[', ']"', '\\"', "[[", "]]", '{"a":']
pieces = st.lists(st.sampled_from(tokens)).map("".join)


def outcome(body: bytes) -> Any:
    try:
        return read_json(body)
    except RequestUnreadable as refusal:
        return refusal


@given(pieces.map(str.encode) | st.binary() | texts.map(str.encode))
def test_any_bytes_are_read_as_python_reads_them_or_are_refused(body: bytes) -> None:
    found = outcome(body)
    if isinstance(found, RequestUnreadable):
        assert found.status == 400
    else:
        assert digits(found) == digits(json.loads(body, parse_float=Decimal))


# How deep some openings go before the next one begins.
INNER = {'[{},"{",': 1, '{"]":[[]],"b\\"[":': 2}


@given(
    st.integers(DEEPEST - 3, DEEPEST + 3),
    st.lists(st.sampled_from(["[", '{"a":', '["]",', '[{},"{",', '{"]":[[]],"b\\"[":', '["\\\\",']), min_size=1),
    texts,
)
def test_levels_are_counted_exactly(levels: int, openings: list[str], middle: str) -> None:
    opened = [openings[level % len(openings)] for level in range(levels)]
    closed = "".join("]" if opening.startswith("[") else "}" for opening in reversed(opened))
    body = ("".join(opened) + json.dumps(middle) + closed).encode()
    deepest = max(level + 1 + INNER.get(opening, 0) for level, opening in enumerate(opened))
    if deepest <= DEEPEST:
        assert json.dumps(read_json(body)) == json.dumps(json.loads(body))
    else:
        with pytest.raises(RequestUnreadable, match=f"nested deeper than {DEEPEST} levels"):
            read_json(body)


@given(st.dictionaries(texts, scalars, min_size=1), st.data())
def test_a_name_that_stands_twice_is_always_found(members: dict[str, Any], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(sorted(members)))
    body = write_json(members)[:-1] + b"," + json.dumps(again).encode() + b":null}"
    with pytest.raises(RequestUnreadable, match="a name that stands twice in one object, at character"):
        read_json(body)
