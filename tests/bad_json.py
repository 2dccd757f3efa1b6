"""Bodies that are not strict JSON: what is wrong, the body, the status, and what the refusal says."""

from __future__ import annotations

from cds_service.hooks.strict_json import MOST_BYTES

# Stands for what a patient's chart may hold. Each bad body has it, and no message may.
CANARY = "Zebrafinch4711"
NAME = f'"{CANARY}"'.encode()


def within(*parts: bytes) -> bytes:
    """A body with the canary in front of the parts."""
    return b'{"a":' + NAME + b',"b":' + b"".join(parts) + b"}"


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]", middle: bytes = NAME) -> bytes:
    return opening * levels + middle + closing * levels


BAD: list[tuple[str, bytes, int, str]] = [
    ("no body", b"", 400, "empty"),
    ("blanks only", b" \r\n\t", 400, "empty"),
    ("byte order mark only", b"\xef\xbb\xbf", 400, "empty"),
    ("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf" + within(b"1"), 400, "not JSON"),
    ("plain text", CANARY.encode(), 400, "not JSON"),
    ("HTML", b"<html>" + NAME + b"</html>", 400, "not JSON"),
    ("form", b"a=" + CANARY.encode(), 400, "not JSON"),
    ("UTF-16 with its mark", b"\xff\xfe" + f'{{"a":"{CANARY}"}}'.encode("utf-16-le"), 400, "not UTF-8, at byte 1"),
    ("UTF-16 without a mark", f'{{"a":"{CANARY}"}}'.encode("utf-16-be"), 400, "not JSON"),
    ("UTF-32", f'{{"a":"{CANARY}"}}'.encode("utf-32"), 400, "not UTF-8"),
    ("Latin-1", within(b'"\xe9"'), 400, "not UTF-8, at byte 28"),
    ("cut in the middle of a character", NAME + b"\xc3", 400, "not UTF-8"),
    ("overlong slash", within(b'"\xc0\xaf"'), 400, "not UTF-8"),
    ("raw surrogate", within(b'"\xed\xa0\x80"'), 400, "not UTF-8"),
    ("first half of a character", within(rb'"\ud83d"'), 400, "lone surrogate), at character 28"),
    ("second half of a character", within(rb'"\ude00"'), 400, "lone surrogate"),
    ("halves in the wrong order", within(rb'"\ude00\ud83d"'), 400, "lone surrogate"),
    ("a character and a half", within(rb'"\ud83d\ude00\ude00"'), 400, "lone surrogate), at character 40"),
    ("two first halves", within(rb'"\uD83D\uD83D\uDE00"'), 400, "lone surrogate), at character 28"),
    ("half a character after a backslash", within(rb'"\\\ud83d"'), 400, "lone surrogate"),
    ("half a character in a name", b'{"\\ud83d":' + NAME + b"}", 400, "lone surrogate"),
    ("escaped NUL", within(rb'"\u0000"'), 400, "NUL"),
    ("raw NUL", within(b'"\0"'), 400, "not JSON (Invalid control character at)"),
    ("raw line break in a string", within(b'"a\nb"'), 400, "not JSON (Invalid control character at)"),
    ("unknown escape", within(rb'"\q"'), 400, "not JSON (Invalid \\escape)"),
    ("escape that is too short", within(rb'"\u12"'), 400, "not JSON (Invalid \\uXXXX escape)"),
    ("NaN", within(b"NaN"), 400, "not finite, at character 27"),
    ("Infinity", within(b"Infinity"), 400, "not finite"),
    ("-Infinity", within(b"-Infinity"), 400, "not finite, at character 27"),
    ("NaN after a string that says NaN", within(b'["NaN", NaN]'), 400, "not finite, at character 35"),
    ("1e999", within(b"1e999"), 400, "exponent beyond 30, at character 27"),
    ("-1E+999", within(b"-1E+999"), 400, "exponent beyond 30"),
    ("1e-999", within(b"1e-999"), 400, "exponent beyond 30"),
    ("1e31", within(b"1e31"), 400, "exponent beyond 30"),
    ("1e-31", within(b"1e-31"), 400, "exponent beyond 30"),
    ("exponent of 10,000 digits", within(b"1e" + b"4" * 10_000), 400, "exponent beyond 30"),
    ("integer of 65 digits", within(b"4711" + b"7" * 61), 400, "more than 64 digits, at character 27"),
    ("negative integer of 65 digits", within(b"-4711" + b"7" * 61), 400, "more than 64 digits"),
    ("integer of 4,301 digits", within(b"4711" + b"7" * 4_297), 400, "more than 64 digits"),
    ("decimal of 65 digits", within(b"0." + b"4711" * 16), 400, "more than 64 digits"),
    ("leading zero", within(b"012"), 400, "not JSON"),
    ("leading plus", within(b"+1"), 400, "not JSON"),
    ("no digit before the point", within(b".5"), 400, "not JSON"),
    ("no digit after the point", within(b"5."), 400, "not JSON"),
    ("hexadecimal", within(b"0x1F"), 400, "not JSON"),
    ("true in capitals", within(b"True"), 400, "not JSON"),
    ("undefined", within(b"undefined"), 400, "not JSON"),
    ("name twice", b'{"a":1,"' + CANARY.encode() + b'":2,"' + CANARY.encode() + b'":3}', 400, "twice"),
    ("name twice, place told", b'{"p":' + NAME + b',"p":' + NAME + b"}", 400, "twice in one object, at character 23"),
    ("name twice, once escaped", b'{"p":' + NAME + b',"\\u0070" :1}', 400, "twice in one object, at character 23"),
    (
        "name twice, deep inside",
        within(b'[{"x":{"y":[],"z":{},"y":"y"}}]'),
        400,
        "twice in one object, at character 48",
    ),
    ("trailing comma in an object", b'{"a":' + NAME + b",}", 400, "not JSON"),
    ("trailing comma in an array", within(b"[1,]"), 400, "not JSON"),
    ("comment", b"/* " + NAME + b" */ {}", 400, "not JSON"),
    ("comment inside", within(b"1 // one\n"), 400, "not JSON (Expecting ',' delimiter)"),
    ("single quotes", b"{'a':" + NAME + b"}", 400, "not JSON"),
    ("name without quotes", b"{a:" + NAME + b"}", 400, "not JSON"),
    ("no colon", b'{"a" ' + NAME + b"}", 400, "not JSON (Expecting ':' delimiter)"),
    ("string never closed", b'{"a":"' + CANARY.encode(), 400, "not JSON (Unterminated string starting at)"),
    ("object never closed", b'{"a":' + NAME, 400, "not JSON"),
    ("array never closed", b"[" + NAME, 400, "not JSON"),
    ("closed by the wrong bracket", b"[" + NAME + b"}", 400, "not JSON"),
    ("closed twice", within(b"1") + b"}", 400, "not JSON (Extra data)"),
    ("two values", within(b"1") + within(b"2"), 400, "not JSON (Extra data)"),
    ("65 arrays", nested(65), 400, "nested deeper than 64 levels, at character 65"),
    ("65 objects", nested(65, b'{"a":', b"}"), 400, "nested deeper than 64 levels, at character 321"),
    ("65 levels of both", nested(32, b'[{"a":', b"}]", b"[" + NAME + b"]"), 400, "nested deeper than 64 levels"),
    ("65 levels with brackets in strings", nested(65, b'["]]}","\\"]",', b"]"), 400, "nested deeper than 64 levels"),
    ("65 levels beside shallow ones", nested(65, b"[[],", b",{}]"), 400, "nested deeper than 64 levels"),
    ("20,000 levels beside shallow ones", nested(20_000, b"[[],"), 400, "nested deeper than 64 levels"),
    ("100,000 levels", nested(100_000), 400, "nested deeper than 64 levels"),
    ("100,000 levels never closed", b"[" * 100_000 + NAME, 400, "nested deeper than 64 levels"),
    ("100,000 objects never closed", b'{"a":' * 100_000 + NAME, 400, "nested deeper"),
    ("50,001 objects and arrays", within(b"[" + b"{}," * 49_999 + b"{}]"), 413, "more than 50000 objects and arrays"),
    ("150,002 numbers", within(b"[" + b"4," * 150_001 + b"4]"), 413, "have more than 150000 values"),
    ("150,001 names", b"{" + b",".join(b'"%d":4' % n for n in range(150_002)) + b"}", 413, "more than 150000 values"),
    ("a byte too many", within(b'"' + b" " * (MOST_BYTES - 28) + b'"'), 413, "larger than 2097152 bytes"),
]
