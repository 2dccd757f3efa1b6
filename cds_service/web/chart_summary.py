"""A chart at a glance: what a clinician sees of a woman when her chart is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any

from cds_service.web.played_ehr import Resource, happened

_SECTION_OF = {"survey": "Screens", "vital-signs": "Vital signs"}


def summary(chart: list[Resource], now: datetime) -> dict[str, Any]:
    """Her name, age and place; her latest measurements as tiles; her problems, medicines and allergies as lists."""
    by_kind: dict[str, list[Resource]] = {}
    for resource in chart:
        by_kind.setdefault(resource["resourceType"], []).append(resource)
    tiles: dict[str, list[dict[str, str]]] = {"Screens": [], "Vital signs": [], "This birth": []}
    for observation in _latest(by_kind["Observation"]):
        category = observation["category"][0]["coding"][0]["code"]
        tiles[_SECTION_OF.get(category, "This birth")].append(_tile(observation, now))
    medicines = [*by_kind.get("MedicationRequest", []), *by_kind.get("MedicationAdministration", [])]
    lists = {
        "Problems": [_line(item, _status(item), now) for item in by_kind.get("Condition", [])],
        "Medicines": [_line(item, _dose(item), now) for item in medicines],
        "Procedures": [_line(item, _status(item), now) for item in by_kind.get("Procedure", [])],
        "Allergies": [_line(item, "", now) for item in by_kind.get("AllergyIntolerance", [])],
    }
    return {
        **head(chart, now),
        "tiles": [{"title": title, "tiles": found} for title, found in tiles.items()],
        "lists": [{"title": title, "lines": found} for title, found in lists.items()],
    }


def head(chart: list[Resource], now: datetime) -> dict[str, str]:
    """Who she is, in a line."""
    woman = next(resource for resource in chart if resource["resourceType"] == "Patient")
    stay = next(resource for resource in chart if resource["resourceType"] == "Encounter")
    name = woman["name"][0]
    return {
        "id": woman["id"],
        "name": f"{' '.join(name['given'])} {name['family']}",
        "record": woman["identifier"][0]["value"],
        "born": woman["birthDate"],
        "age": f"{_years(date.fromisoformat(woman['birthDate']), now.date())} years",
        "place": stay["location"][0]["location"]["display"],
    }


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _latest(observations: Iterable[Resource]) -> Iterator[Resource]:
    """The newest of each kind, in the order in which the kinds first stand in the chart."""
    newest: dict[str, Resource] = {}
    for observation in observations:
        says = _says(observation)
        if says not in newest or happened(observation) > happened(newest[says]):
            newest[says] = observation
    yield from newest.values()


def _tile(observation: Resource, now: datetime) -> dict[str, str]:
    parts = observation.get("component", [])
    units = {part.get("valueQuantity", {}).get("unit") for part in parts}
    match parts:
        case []:
            value, unit, note = *_value(observation), ""
        case _ if len(units) == 1 and None not in units:  # both values of a blood pressure
            value, unit, note = "/".join(_value(part)[0] for part in parts), str(units.pop()), ""
        case [first, *others]:
            value, unit = _value(first)
            note = ", ".join(
                f"{_says(part).removeprefix(f'{_says(observation)} ')}: {_value(part)[0]}" for part in others
            )
    return {"says": _says(observation), "value": value, "unit": unit, "note": note, **_when(observation, now)}


def _value(holder: Resource) -> tuple[str, str]:
    match holder:
        case {"valueQuantity": {"value": number, "unit": unit}}:
            return str(number), unit
        case {"valueCodeableConcept": {"text": says}}:
            return says, ""
        case {"valueDateTime": str(at)}:
            return _clock(at), ""
        case _:
            return str(holder["valueInteger"]), ""


def _line(resource: Resource, note: str, now: datetime) -> dict[str, str]:
    return {"says": _says(resource), "note": note, **_when(resource, now)}


def _says(resource: Resource) -> str:
    return str((resource.get("code") or resource["medicationCodeableConcept"])["text"])


def _status(resource: Resource) -> str:
    status = resource.get("status") or resource["clinicalStatus"]["coding"][0]["code"]
    return "" if status in {"active", "completed"} else status.replace("-", " ")


def _dose(resource: Resource) -> str:
    if resource["resourceType"] == "MedicationRequest":
        return str(resource["dosageInstruction"][0]["text"])
    return f"{resource['dosage']['text']}, {'running' if resource['status'] == 'in-progress' else 'given'}"


def _when(resource: Resource, now: datetime) -> dict[str, str]:
    text = happened(resource)
    return {
        "date": _clock(text),
        "short": _clock(text)[11:] or text if text[:10] == str(now.date()) else text[:10],
        "ago": ago(text, now),
    }


def _clock(text: str) -> str:
    return text[:16].replace("T", " ")


def ago(text: str, now: datetime) -> str:
    """How long ago an instant or a date was, in one unit."""
    if "T" not in text:
        days = (now.date() - date.fromisoformat(text)).days
        return "today" if days == 0 else _span(days * 24 * 60)
    return _span(int((now - datetime.fromisoformat(text).astimezone(UTC)).total_seconds() // 60))


# From how many minutes on, counted in what, called what.
_SPANS = ((2 * 525_600, 525_600, "y"), (2 * 1_440, 1_440, "d"), (2 * 60, 60, "h"), (1, 1, "min"))


def _span(minutes: int) -> str:
    for least, size, unit in _SPANS:
        if minutes >= least:
            return f"{minutes // size} {unit} ago"
    return "just now"
