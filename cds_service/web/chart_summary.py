"""
A chart at a glance: what a clinician sees of a woman when her chart is opened.

A chart may come from anywhere. What cannot be shown is left out here; whether the service can read it, its cards say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Final

from cds_service.clinical.moment import Precision
from cds_service.ehr.elements import code_in, codes_in, concepts_in, first, members, moment, number, texts
from cds_service.web.played_ehr import Resource, happened

_SECTION_OF: Final = {"survey": "screens", "vital-signs": "vital-signs"}
_LISTS: Final = {
    "problems": ("Condition",),
    "medicines": ("MedicationRequest", "MedicationAdministration", "MedicationStatement"),
    "procedures": ("Procedure",),
    "allergies": ("AllergyIntolerance",),
}
# More than this many of a kind are counted and not shown.
_MOST: Final = 12


@dataclass(frozen=True, slots=True)
class Ago:
    """How long ago, in one unit: `y`, `d`, `h`, `min`; or `now`, `today`, `ahead`, where `many` says nothing."""

    unit: str
    many: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One entry: what it says, its value if it has one, and when. `status` is a word of FHIR, shown by the page's."""

    says: str
    value: str = ""
    unit: str = ""
    note: str = ""
    status: str = ""
    date: str = ""
    short: str = ""
    ago: Ago | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Entries of one kind; `more` of them are not shown."""

    name: str
    lines: tuple[Line, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """Who she is, in a line. What the chart does not say is empty."""

    id: str
    name: str
    record: str
    born: str
    age: int | None
    place: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Who she is; her latest measurements as tiles; her problems, medicines, procedures and allergies as lists."""

    head: Head
    tiles: tuple[Section, ...]
    lists: tuple[Section, ...]


def summary(chart: list[Resource], now: datetime) -> Summary:
    """What the page shows of a chart."""
    tiles: dict[str, list[Line]] = {"screens": [], "vital-signs": [], "other": []}
    observations = (resource for resource in chart if resource["resourceType"] == "Observation")
    for observation in _latest(observations):
        category = first(
            _SECTION_OF.get(code) for held in concepts_in(observation.get("category")) for code in codes_in(held)
        )
        tiles[category or "other"].append(_tile(observation, now))
    lists = (
        (name, [_line(resource, now) for kind in kinds for resource in chart if resource["resourceType"] == kind])
        for name, kinds in _LISTS.items()
    )
    return Summary(
        head(chart, now),
        tuple(_section(name, lines) for name, lines in tiles.items()),
        tuple(_section(name, lines) for name, lines in lists),
    )


def head(chart: list[Resource], now: datetime) -> Head:
    """Who she is, in a line."""
    woman = next(resource for resource in chart if resource["resourceType"] == "Patient")
    stay: Mapping[str, Any] = next((resource for resource in chart if resource["resourceType"] == "Encounter"), {})
    born = moment(woman.get("birthDate"), UTC)
    age = _years(born.earliest.date(), now.date()) if born is not None and born.precision >= Precision.DAY else None
    return Head(
        id=woman["id"],
        name=next(filter(None, map(_name, members(woman.get("name")))), ""),
        record=_text(first(held.get("value") for held in members(woman.get("identifier")))),
        born=_text(woman.get("birthDate")),
        age=age,
        place=_text(first(_display(held.get("location")) for held in members(stay.get("location")))),
    )


def _name(name: Mapping[str, Any]) -> str:
    given = name.get("given")
    parts = [*(given if isinstance(given, list) else []), name.get("family")]
    return " ".join(part for part in parts if isinstance(part, str)) or _text(name.get("text"))


def _display(reference: object) -> str | None:
    return _text(reference.get("display")) or None if isinstance(reference, dict) else None


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _section(name: str, lines: list[Line]) -> Section:
    shown = lines
    if len(lines) > _MOST:
        newest = set(islice(sorted(range(len(lines)), key=lambda at: lines[at].date, reverse=True), _MOST))
        shown = [line for at, line in enumerate(lines) if at in newest]
    return Section(name, tuple(shown), len(lines) - len(shown))


def _latest(observations: Iterable[Resource]) -> Iterator[Resource]:
    """The newest of each kind, in the order in which the kinds first stand in the chart."""
    newest: dict[str, Resource] = {}
    for observation in observations:
        says = _says(observation)
        if says not in newest or happened(observation) > happened(newest[says]):
            newest[says] = observation
    yield from newest.values()


def _tile(observation: Resource, now: datetime) -> Line:
    line = _line(observation, now)
    parts = members(observation.get("component"))
    if not parts:
        value, unit = _value(observation)
        return replace(line, value=value, unit=unit, status="")
    values = [_value(part) for part in parts]
    units = {unit for _, unit in values}
    if len(units) == 1 and units != {""}:  # both values of a blood pressure
        return replace(line, value="/".join(value for value, _ in values), unit=units.pop(), status="")
    others = zip(parts[1:], values[1:], strict=True)
    note = ", ".join(f"{_says(part).removeprefix(f'{line.says} ')}: {value}" for part, (value, _) in others)
    return replace(line, value=values[0][0], unit=values[0][1], note=note, status="")


def _value(holder: Mapping[str, Any]) -> tuple[str, str]:
    match holder:
        case {"valueQuantity": {"value": given, **quantity}}:
            found = number(given)
            return ("" if found is None else str(found)), _text(quantity.get("unit")) or _text(quantity.get("code"))
        case {"valueCodeableConcept": concept}:
            return next(texts(concept), ""), ""
        case {"valueDateTime": str(at)}:
            return _clock(at), ""
        case {"valueInteger": int(given)}:
            return str(given), ""
        case {"valueString": str(given)}:
            return given[:80], ""
    return "", ""


def _line(resource: Resource, now: datetime) -> Line:
    at = happened(resource)
    date = _clock(at)
    return Line(
        says=_says(resource),
        note=_dose(resource),
        status=_status(resource),
        date=date,
        short=date[11:] or at if at[:10] == str(now.date()) else at[:10],
        ago=ago(at, now),
        changed=str(resource["id"]).startswith("changed-"),
    )


def _says(resource: Mapping[str, Any]) -> str:
    concept = first((resource.get("code"), resource.get("medicationCodeableConcept")))
    return next(texts(concept), "") or next(iter(sorted(codes_in(concept))), "") or _text(resource.get("resourceType"))


def _status(resource: Resource) -> str:
    return _text(resource.get("status")) or code_in(resource.get("clinicalStatus")) or ""


def _dose(resource: Resource) -> str:
    held = [*members(resource.get("dosageInstruction")), *members(resource.get("dosage"))]
    return _text(first(dose.get("text") for dose in held))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _clock(text: str) -> str:
    return text[:16].replace("T", " ")


def ago(text: str, now: datetime) -> Ago | None:
    """How long ago an instant or a date was, in one unit; None when the text is neither."""
    at = moment(text, UTC)
    if at is None:
        return None
    if at.precision < Precision.TIME:
        days = (now.date() - at.earliest.date()).days
        return Ago("today") if days == 0 else _span(days * 24 * 60)
    return _span(int((now - at.earliest).total_seconds() // 60))


# From how many minutes on, counted in what, called what.
_SPANS: Final = ((2 * 525_600, 525_600, "y"), (2 * 1_440, 1_440, "d"), (2 * 60, 60, "h"), (1, 1, "min"))


def _span(minutes: int) -> Ago:
    if minutes < 0:
        return Ago("ahead")
    for least, size, unit in _SPANS:
        if minutes >= least:
            return Ago(unit, minutes // size)
    return Ago("now")
