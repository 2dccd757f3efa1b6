"""The EHR that the demonstration plays: invented women, their charts as of now, and what a search of a chart gives."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Final
from urllib.parse import parse_qsl

from cds_service.ehr.elements import relative
from cds_service.hooks.strict_json import read_json

Resource = dict[str, Any]


@dataclass(frozen=True)
class Woman:
    """One invented woman: her FHIR Bundle, in which "@now-6h" stands for six hours before whoever looks."""

    id: str
    bundle: Resource

    def chart(self, now: datetime) -> list[Resource]:
        """Her resources, with every date as it is at `now`."""
        return [resolve(entry["resource"], now) for entry in self.bundle["entry"]]

    @property
    def shows(self) -> str:
        """What she is here to show, in a few words."""
        tags = self.bundle["meta"]["tag"]
        return next(str(tag["display"]) for tag in tags if tag["system"] == "urn:cds-service:demo")


def invented_women() -> tuple[Woman, ...]:
    """The eight women of the demonstration, in the order of their names."""
    shelf = files("cds_service.web") / "patients"
    paths = sorted((path for path in shelf.iterdir() if path.name.endswith(".json")), key=lambda path: path.name)
    return tuple(Woman(path.name.removesuffix(".json"), read_json(path.read_bytes())) for path in paths)


def draftable_orders() -> dict[str, Resource]:
    """The orders that the page can draft, by name, each without its patient."""
    shelf: dict[str, Resource] = json.loads((files("cds_service.web") / "orders.json").read_text("utf-8"))
    return shelf


def current_stay(chart: Sequence[Resource]) -> str | None:
    """The id of the stay that goes on, else of the latest that the chart holds; None without one."""
    stays = [resource for resource in chart if resource["resourceType"] == "Encounter"]
    goes_on = next((stay for stay in stays if stay.get("status") == "in-progress"), None)
    stay = goes_on or max(stays, key=happened, default=None)
    return None if stay is None else str(stay["id"])


# --- dates that move with the clock ---------------------------------------------------------------

_OFFSET: Final = re.compile(r"@(now|today)((?:[+-]\d+(?:min|h|d|y))*)")
_STEP: Final = re.compile(r"([+-]\d+)(min|h|d|y)")


def resolve(value: Any, now: datetime) -> Any:
    """The same JSON with each "@now-6h" as an instant and each "@today-31y" as a date. Any other "@…" is an error."""
    match value:
        case dict():
            return {name: resolve(member, now) for name, member in value.items()}
        case list():
            return [resolve(item, now) for item in value]
        case str() if value.startswith("@"):
            return _moved(value, now)
        case _:
            return value


def _moved(text: str, now: datetime) -> str:
    if (offset := _OFFSET.fullmatch(text)) is None:
        raise ValueError(f"not an offset from now: {text}")
    at = now.astimezone(UTC).replace(microsecond=0)
    for amount, unit in _STEP.findall(offset[2]):
        at = _step(at, int(amount), unit)
    return at.date().isoformat() if offset[1] == "today" else at.isoformat().replace("+00:00", "Z")


def _step(at: datetime, amount: int, unit: str) -> datetime:
    if unit == "y":
        # 29 February has no birthday in most years; the day before will do.
        day = 28 if (at.month, at.day) == (2, 29) else at.day
        return at.replace(year=at.year + amount, day=day)
    return at + amount * {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[unit]


# --- a request, as an EHR makes it ----------------------------------------------------------------

_TOKEN: Final = re.compile(r"\{\{context\.(\w+)\}\}")


def prefetch(templates: Mapping[str, str], context: Mapping[str, Any], chart: list[Resource]) -> dict[str, Any]:
    """What the chart answers to a service's prefetch templates. A template that asks for an id we lack is left out."""
    found = {}
    for key, template in templates.items():
        if all(context.get(token) for token in _TOKEN.findall(template)):
            found[key] = look_up(chart, _TOKEN.sub(lambda token: str(context[token[1]]), template))
    return found


def look_up(chart: list[Resource], query: str) -> Resource | None:
    """A FHIR read or search. None: no such resource. An OperationOutcome: this EHR cannot search that way."""
    path, _, parameters = query.partition("?")
    kind, _, id_ = path.partition("/")
    of_kind = [resource for resource in chart if resource.get("resourceType") == kind]
    if id_:
        return next((resource for resource in of_kind if resource.get("id") == id_), None)
    return _search(of_kind, parse_qsl(parameters))


def _search(resources: list[Resource], parameters: list[tuple[str, str]]) -> Resource:
    most = len(resources)
    for name, value in parameters:
        if name == "_count":
            most = int(value)
        elif name == "_sort":
            resources = sorted(resources, key=happened, reverse=value.startswith("-"))
        elif name in _MATCHES:
            resources = [resource for resource in resources if _MATCHES[name](resource, value)]
        else:
            issue = {"severity": "error", "code": "not-supported", "diagnostics": f"no search by {name}"}
            return {"resourceType": "OperationOutcome", "issue": [issue]}
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "total": len(resources)}
    if most < len(resources):
        bundle["link"] = [{"relation": "next", "url": "urn:cds-service:demo:next-page"}]
    if shown := resources[:most]:
        bundle["entry"] = [{"resource": resource, "search": {"mode": "match"}} for resource in shown]
    return bundle


def happened(resource: Resource) -> str:
    """When the resource says that it happened, as written there; empty if it does not say."""
    for name in _WHEN:
        if isinstance(at := resource.get(name), dict):
            at = at.get("end") or at.get("start")
        if at and isinstance(at, str):
            return at
    return ""


_WHEN: Final = (
    *("effectiveDateTime", "effectivePeriod", "performedDateTime", "performedPeriod", "onsetDateTime"),
    *("authoredOn", "authored", "recordedDate", "period", "issued"),
)


def _by_reference(*members: str) -> Callable[[Resource, str], bool]:
    """The named member refers to it, whether the query says `Patient/x` or `x`."""

    def matches(resource: Resource, value: str) -> bool:
        targets = {(relative(resource.get(name)) or "").rpartition("/")[2] for name in members} - {""}
        return not targets.isdisjoint(item.rpartition("/")[2] for item in value.split(","))

    return matches


def _by_token(*members: str) -> Callable[[Resource, str], bool]:
    """The named member holds one of the codes: `code`, `system|code`, or several with commas."""

    def matches(resource: Resource, value: str) -> bool:
        codes = {code for name in members for code in _tokens(resource.get(name))}
        return not codes.isdisjoint(value.split(","))

    return matches


def _tokens(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _tokens(item)
        case {"coding": codings}:
            yield from _tokens(codings)
        case {"code": str(code)}:
            yield code
            yield f"{value.get('system', '')}|{code}"


_MATCHES: Final[dict[str, Callable[[Resource, str], bool]]] = {
    "patient": _by_reference("patient", "subject"),
    "subject": _by_reference("subject", "patient"),
    "encounter": _by_reference("encounter", "context"),
    "code": _by_token("code", "medicationCodeableConcept"),
    "category": _by_token("category"),
    "clinical-status": _by_token("clinicalStatus"),
    "status": _by_token("status"),
}
