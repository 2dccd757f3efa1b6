"""How to read one element of a FHIR resource, however oddly it was written. Nothing here raises on odd input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from cds_service.clinical.moment import Moment, Precision
from cds_service.hooks.request import FHIR_ID

Resource = Mapping[str, Any]

_DATE_TIME: Final = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(\.\d+)?)?\s*([Zz]|[+-]\d{2}:?\d{2})?)?)?)?"
)
# How nearly every instant is written: to the second or finer, with the offset of a clock that there is. What else may
# stand for one is told by the long way.
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
    r"(?:Z|[+-](?:0\d|1[01]):[0-5]\d|\+1[23]:[0-5]\d|\+14:00|-12:00)",
    re.ASCII,
)
_ID: Final = re.compile(FHIR_ID)
_TYPE: Final = re.compile(r"[A-Z][A-Za-z]{1,63}")
_TARGET: Final = re.compile(rf"{_TYPE.pattern}/{FHIR_ID}")
_VERSION: Final = re.compile(r"/_history(?:/[^/]*)?$")
_TIME: Final = Precision.TIME
# The clocks of the world: from Baker Island to the Line Islands. Any other offset is a slip of the pen.
_MOST_WESTERN: Final = timedelta(hours=-12)
_MOST_EASTERN: Final = timedelta(hours=14)


def reference_of(resource: Resource) -> str:
    """`Type/id` of a resource. Only the type when its id is missing or is not one (it could be an injection)."""
    kind, id_ = resource.get("resourceType"), resource.get("id")
    if isinstance(kind, str) and isinstance(id_, str) and _TARGET.fullmatch(reference := f"{kind}/{id_}"):
        return reference
    kind = kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else "Resource"
    return f"{kind}/{id_}" if isinstance(id_, str) and _ID.fullmatch(id_) else kind


def told_as(element: Mapping[str, Any], choice: str, usual: str) -> list[str]:
    """
    The names under which a choice is told: of `value`, say, valueQuantity. FHIR allows one; null tells nothing.

    `usual` is the name to look for first. When no other begins so, the names need not be gone through one by one.
    """
    if usual in element and " ".join(element).count(choice) == 1:
        return [usual] if element[usual] is not None else []
    return [name for name in element if name.startswith(choice) and element[name] is not None]


def status_of(resource: Resource) -> str:
    """The status, or "" when it is none: an object in its place must cost this resource, not the answer."""
    status = resource.get("status")
    return status if isinstance(status, str) else ""


def relative(reference: object) -> str | None:
    """
    `Type/id` of a FHIR Reference, or of its text; None when nobody can tell what it points to.

    Absolute URLs (Epic), versions (`/_history/1`) and `urn:uuid:` (bundles of Synthea) are all seen in charts.
    What is not a type and an id is None, and never a name of its own: an entry whose owner cannot be read must
    not pass for an entry about somebody else.
    """
    text = reference.get("reference") if isinstance(reference, dict) else reference
    if not isinstance(text, str):
        return None
    if _TARGET.fullmatch(text) and not text.endswith("/_history"):
        return text  # as nearly all of them are written
    text = text.strip()
    if text.startswith(("urn:", "#")):
        return text
    _, absolute, path = text.partition("://")
    if absolute:
        text = path.partition("/")[2]  # a host is no type
    if "#" in text:
        return None  # something inside that resource, not the resource
    text = _VERSION.sub("", text.partition("?")[0].rstrip("/"))
    target = "/".join(text.split("/")[-2:])
    return target if _TARGET.fullmatch(target) else None


def local(reference: object, known_at: frozenset[str]) -> str | None:
    """
    The same, of what lies with this EHR. The same id on another server may be anybody's, and anything.

    `known_at` holds the base URLs of the EHR as `bare_url` writes them. Where nothing tells them, a whole URL is taken
    for one of the EHR's own.
    """
    text = reference.get("reference") if isinstance(reference, dict) else reference
    found = relative(reference)
    if not known_at or found is None or not isinstance(text, str) or "://" not in text:
        return found
    kind, _, _ = found.partition("/")
    return found if any(bare_url(text).startswith(f"{base}/{kind.lower()}/") for base in known_at) else None


def bare_url(url: str) -> str:
    """A URL without its scheme, in small letters."""
    return url.strip().partition("://")[2].rstrip("/").lower()


def codings(concept: object) -> list[Any]:
    """The Codings of a CodeableConcept. `category` as an object and a bare Coding are read, too."""
    if isinstance(concept, dict):
        listed = concept.get("coding")
        if isinstance(listed, list):
            return listed
        if isinstance(listed, dict):
            return [listed]
        return [concept] if "code" in concept else []
    return []


def codes_in(concept: object) -> frozenset[str]:
    """The codes of a CodeableConcept, whatever their systems."""
    return frozenset(code for c in codings(concept) if isinstance(c, dict) and isinstance(code := c.get("code"), str))


def texts(concept: object) -> Iterator[str]:
    """The words of a CodeableConcept: its text, then the displays. For matching only, never for a card."""
    if isinstance(concept, dict):
        if isinstance(text := concept.get("text"), str):
            yield text
        for coding in codings(concept):
            if isinstance(coding, dict) and isinstance(display := coding.get("display"), str):
                yield display


def concepts_in(value: object) -> list[Mapping[str, Any]]:
    """One CodeableConcept or a list of them (the public Sandbox sends `category` as an object), as a list."""
    if isinstance(value, dict):
        return [value]
    return [member for member in value if isinstance(member, dict)] if isinstance(value, list) else []


def code_in(concept: object) -> str | None:
    """The first code of a status element such as clinicalStatus, in lower case. Bare strings are DSTU2's way."""
    if isinstance(concept, str):
        return concept.lower()
    for coding in codings(concept):
        if isinstance(coding, dict) and isinstance(code := coding.get("code"), str):
            return code.lower()
    return None


def moment(text: object, zone: tzinfo) -> Moment | None:
    """A FHIR date, dateTime or instant as precisely as it was written; None when it is none. No zone means `zone`."""
    return _moment(text, zone) if isinstance(text, str) else None


@lru_cache(maxsize=8192)  # the same instants come again and again within a chart
def _moment(text: str, zone: tzinfo) -> Moment | None:
    if _INSTANT.fullmatch(text):
        try:
            at = datetime.fromisoformat(text)
        except ValueError:  # no such day
            return None
        return Moment(at, at, _TIME, text)
    if not (match := _DATE_TIME.fullmatch(text.strip())):
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        if hour is not None:
            seconds = int(second or 0)
            at = datetime(
                int(year), int(month), int(day), int(hour), int(minute),
                59 if seconds == 60 else seconds,  # a leap second is still that minute
                int((fraction or ".0")[1:7].ljust(6, "0")),
                tzinfo=_offset(offset) if offset else zone,
            )  # fmt: skip
            again = at.replace(fold=1)
            if again.utcoffset() == at.utcoffset():
                return Moment(at, at, Precision.TIME, text.strip())
            # When the clocks are put back, an hour without a zone comes twice: it may be either.
            either = sorted((at.astimezone(UTC), again.astimezone(UTC)))
            return Moment(either[0], either[1], Precision.TIME, text.strip())
        first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=zone)
        if day is not None:
            return Moment(first, first + timedelta(days=1), Precision.DAY, text.strip())
        if month is not None:
            following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
            return Moment(first, following, Precision.MONTH, text.strip())
        return Moment(first, first.replace(year=first.year + 1), Precision.YEAR, text.strip())
    except (ValueError, OverflowError):
        return None


def _offset(text: str) -> tzinfo:
    """The offset from UTC. Raises ValueError where no clock shows it."""
    if text in "Zz":
        return UTC
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    offset = sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if int(digits[2:]) > 59 or not _MOST_WESTERN <= offset <= _MOST_EASTERN:
        raise ValueError("no such offset")
    return timezone(offset)


def span(value: object, zone: tzinfo) -> tuple[Moment | None, Moment | None]:
    """Start and end of a FHIR Period."""
    if isinstance(value, dict):
        return moment(value.get("start"), zone), moment(value.get("end"), zone)
    return None, None


def spanning(moments: Iterable[Moment]) -> Moment | None:
    """From the first of these to the last, as precise as the least precise; it is dated by the first."""
    listed = sorted(moments, key=lambda m: (m.earliest, m.latest, m.text))
    if not listed:
        return None
    return Moment(listed[0].earliest, max(m.latest for m in listed), min(m.precision for m in listed), listed[0].text)


def no_later_than(at: Moment) -> Moment:
    """When only the end is known. It may warn, but is too vague to satisfy any window (see `Moment`)."""
    return Moment(at.earliest, at.latest, Precision.YEAR, at.text)


def number(value: object) -> Decimal | None:
    """A finite decimal. Numbers in strings are read (US Core's own PHQ-9 example sends "12"); booleans are not."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        found = Decimal(value)
    elif isinstance(value, float):
        found = Decimal(repr(value))
    elif isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,12}(\.\d{1,12})?\s*", value):
        found = Decimal(value.strip())
    else:
        return None
    return found if found.is_finite() else None


def members(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list. A single object stands for a list of one; anything else is passed over."""
    return concepts_in(value)


def extensions(element: object, *url_ends: str) -> Iterator[Mapping[str, Any]]:
    """The extensions whose url ends so, or so: the same one is published under several bases."""
    if isinstance(element, dict):
        for extension in members(element.get("extension")):
            if isinstance(url := extension.get("url"), str) and url.rstrip("/").endswith(url_ends):
                yield extension


def first(values: Iterable[Any]) -> Any:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)
