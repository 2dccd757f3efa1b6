"""
Requests that once were sound: a worked case as its EHR sends it, spoilt in one to six places, the same for each number.

FHIR is spoilt as FHIR: codes, units, dates, statuses and resources of other women come in where hers stood. So most of
it is still read, and the thinking behind the door is reached, not only the door.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from asking import CASES, path_of, request_of
from encoding import Case, Json

# Up to six places are spoilt, most often one or two: where all is spoilt, nothing is read.
_PLACES = (1, 1, 1, 2, 2, 3, 6)
_EXTREME: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 10**60, -(10**18), 0.1, -0.0, 1e30, 1e-30, 99999.99999),
    *("", " ", "0", "-1", "NaN", "null", "2026", "9999-12-31", "Patient/woman-v01", "#x", "urn:uuid:x", "Bundle"),
    *([], {}, [[]], [None], {"resourceType": "Bundle"}, {"resourceType": "OperationOutcome"}, {"coding": []}),
    *("x" * 5_000, "\u202e\u200b", "\U0001f476", "<script>", "[a](javascript:b)", "|", "\\", "'", "{{a}}", "a\n\nb"),
)
_DATES = (
    *("2026-11-23", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.001Z", "2026-11-23T11:59:59-11:59", "2026-11", "2026"),
    *("1900-01-01", "2026-02-30", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-23T24:00:00Z", "yesterday"),
    *("2026-11-23T12:00:60Z", "2026-11-24T01:30:00+14:00", "2026-11-22T23:59:59", "2026-11-16T12:00:00Z", "2020-02-29"),
)
_UNITS = (
    *("kg", "g", "[lb_av]", "mg", "ug", "mL", "mL/h", "mg/kg", "ug/kg/min"),
    *("mm[Hg]", "kPa", "%", "/min", "1", ""),
)
_STATUSES = (
    *("final", "preliminary", "amended", "entered-in-error", "cancelled", "unknown", "active", "completed", "stopped"),
    *("draft", "on-hold", "not-done", "in-progress", "refuted", "resolved", "inactive", "revoked", "finished"),
)
_HOOKS = ("patient-view", "encounter-start", "order-select", "order-sign", "encounter-discharge", "order-dispatch")


@dataclass(frozen=True)
class Spoilt:
    """One call to make: at whose site, where, and the body."""

    case: Case
    path: str
    body: bytes


def spoilt(number: int, seed: int = 0) -> Spoilt:
    """The call of this number. The same number and seed give the same bytes."""
    chance = Random(f"{seed}/{number}")  # noqa: S311
    case = CASES[chance.choice(_names())]
    request = request_of(case)
    for _ in range(chance.choice(_PLACES)):
        chance.choice(_WAYS)(request, chance)
    # The id of a call is in the uuids of its cards, and each call has its own.
    if isinstance(request.get("hookInstance"), str):
        request["hookInstance"] = f"{number}-{request['hookInstance']}"
    body = json.dumps(request).encode()
    if chance.random() < 0.05:
        body = _spoilt_bytes(body, chance)
    return Spoilt(case, path_of(case), body)


@cache
def _names() -> tuple[str, ...]:
    return tuple(sorted(CASES))


# ---- Where


def _places(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Every place of a JSON value: what holds it, the name or number under which, and what stands there."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for name, inner in holder.items() if isinstance(holder, dict) else enumerate(holder):
            yield holder, name, inner
            if isinstance(inner, dict | list):
                waiting.append(inner)


def _some(
    value: Any, chance: Random, wanted: Callable[[Any, Any], bool] = lambda _, __: True
) -> tuple[Any, Any] | None:
    """One place of those that are wanted, by name and value."""
    found = [(holder, name) for holder, name, inner in _places(value) if wanted(name, inner)]
    return chance.choice(found) if found else None


def _bundles(request: Json) -> list[Json]:
    prefetch = request.get("prefetch")
    values = prefetch.values() if isinstance(prefetch, dict) else ()
    return [one for one in values if isinstance(one, dict) and one.get("resourceType") == "Bundle"]


def _entries(bundle: Json) -> list[Any]:
    listed = bundle.get("entry")
    return listed if isinstance(listed, list) else []


def _resources(request: Json) -> list[Json]:
    held = [entry.get("resource") for one in _bundles(request) for entry in _entries(one) if isinstance(entry, dict)]
    return [one for one in held if isinstance(one, dict)]


# ---- How


def _drop(request: Json, chance: Random) -> None:
    if place := _some(request, chance):
        holder, name = place
        del holder[name]


def _drop_of_a_resource(request: Json, chance: Random) -> None:
    if (found := _resources(request)) and (place := _some(chance.choice(found), chance)):
        holder, name = place
        del holder[name]


def _swap_type(request: Json, chance: Random) -> None:
    if place := _some(request, chance):
        holder, name = place
        holder[name] = copy.deepcopy(chance.choice(_EXTREME))


def _swap_type_of_a_resource(request: Json, chance: Random) -> None:
    if (found := _resources(request)) and (place := _some(chance.choice(found), chance)):
        holder, name = place
        holder[name] = copy.deepcopy(chance.choice(_EXTREME))


def _wrap(request: Json, chance: Random) -> None:
    """A list for one, or one for a list."""
    if place := _some(request, chance):
        holder, name = place
        inner = holder[name]
        holder[name] = inner[0] if isinstance(inner, list) and inner else [inner]


def _double(request: Json, chance: Random) -> None:
    if place := _some(request, chance, lambda _, inner: isinstance(inner, list) and bool(inner)):
        holder, name = place
        listed = holder[name]
        listed.insert(chance.randrange(len(listed) + 1), copy.deepcopy(chance.choice(listed)))


def _shuffle(request: Json, chance: Random) -> None:
    if place := _some(request, chance, lambda _, inner: isinstance(inner, list | dict)):
        holder, name = place
        inner = holder[name]
        if isinstance(inner, list):
            chance.shuffle(inner)
        else:
            names = list(inner)
            chance.shuffle(names)
            holder[name] = {one: inner[one] for one in names}


def _rename(request: Json, chance: Random) -> None:
    if place := _some(request, chance, lambda name, _: isinstance(name, str)):
        holder, name = place
        other = _some(request, chance, lambda name, _: isinstance(name, str))
        holder[chance.choice([f"_{name}", name.upper(), other[1] if other else "x"])] = holder.pop(name)


def _move(request: Json, chance: Random) -> None:
    """A part of it stands in another place as well."""
    there, here = _some(request, chance), _some(request, chance)
    if there and here:
        here[0][here[1]] = copy.deepcopy(there[0][there[1]])


def _count(request: Json, chance: Random) -> None:
    if place := _some(request, chance, lambda _, inner: isinstance(inner, int | float) and not isinstance(inner, bool)):
        holder, name = place
        value = holder[name]
        holder[name] = chance.choice(
            [value * 10, value / 10, -value, value + 1, value - 1, value * 1.0001, 0, 19, 160, 1e9, str(value)]
        )


def _date(request: Json, chance: Random) -> None:
    def is_date(_: Any, inner: Any) -> bool:
        return isinstance(inner, str) and inner[:2] in ("19", "20") and inner[4:5] == "-"

    if place := _some(request, chance, is_date):
        holder, name = place
        written = holder[name]
        shifted = f"{int(written[:4]) + chance.choice((-40, -1, 1, 60))}{written[4:]}"
        holder[name] = chance.choice([*_DATES, shifted, written[:10], written[:7], written.rstrip("Z")])


def _member(name_of_member: str, values: tuple[Any, ...]) -> Callable[[Json, Random], None]:
    def change(request: Json, chance: Random) -> None:
        if place := _some(request, chance, lambda name, _: name == name_of_member):
            holder, name = place
            holder[name] = chance.choice(values)

    return change


def _code(request: Json, chance: Random) -> None:
    """A code that another woman's chart has: known to the tables, and out of place here."""
    if place := _some(request, chance, lambda name, inner: name == "coding" and isinstance(inner, list)):
        other = _some(_another(chance), chance, lambda name, inner: name == "coding" and isinstance(inner, list))
        if other is not None:
            place[0][place[1]] = copy.deepcopy(other[0][other[1]])


def _another(chance: Random) -> Json:
    return request_of(CASES[chance.choice(_names())])


def _splice(request: Json, chance: Random) -> None:
    """A part of the same name out of another request."""
    place = _some(request, chance, lambda name, _: isinstance(name, str))
    if place is None:
        return
    other = _some(_another(chance), chance, lambda name, _: name == place[1])
    if other is not None:
        place[0][place[1]] = other[0][other[1]]


def _adopt(request: Json, chance: Random) -> None:
    """Entries of another woman's chart become hers: so charts come about that nobody has thought of."""
    mine, context = _bundles(request), request.get("context")
    if not mine or not isinstance(context, dict):
        return
    hers = f"Patient/{context.get('patientId')}"
    for resource in chance.sample(found := _resources(_another(chance)), min(len(found), chance.choice((1, 3, 9)))):
        for owner in ("subject", "patient"):
            if owner in resource:
                resource[owner] = {"reference": hers}
        kind = [one for one in mine if any(_is_of(entry, resource["resourceType"]) for entry in _entries(one))]
        bundle = chance.choice(kind or mine)
        if isinstance(bundle.setdefault("entry", []), list):
            bundle["entry"].append({"resource": resource, "search": {"mode": "match"}})
            bundle.pop("total", None)


def _is_of(entry: Any, kind: str) -> bool:
    resource = entry.get("resource") if isinstance(entry, dict) else None
    return isinstance(resource, dict) and resource.get("resourceType") == kind


def _draft(request: Json, chance: Random) -> None:
    """The drafted orders of another call, for her."""
    context = request.get("context")
    other = _another(chance)["context"].get("draftOrders", {})
    if not isinstance(context, dict) or not isinstance(context.get("draftOrders"), dict):
        return
    for entry in other.get("entry", []):
        entry["resource"]["subject"] = {"reference": f"Patient/{context.get('patientId')}"}
        if isinstance(context["draftOrders"].setdefault("entry", []), list):
            context["draftOrders"]["entry"].append(entry)
        if isinstance(context.get("selections"), list):
            context["selections"].append(f"{entry['resource']['resourceType']}/{entry['resource']['id']}")


def _envelope(request: Json, chance: Random) -> None:
    context = request.get("context")
    holder = context if chance.random() < 0.5 and isinstance(context, dict) else request
    if holder:
        holder[chance.choice(list(holder))] = copy.deepcopy(chance.choice(_EXTREME))


def _list_of_prefetch(request: Json, chance: Random) -> None:
    prefetch = request.get("prefetch")
    if isinstance(prefetch, dict) and prefetch:
        key = chance.choice(list(prefetch))
        if chance.random() < 0.5:
            del prefetch[key]
        else:
            prefetch[chance.choice([key, f"my_{key}"])] = copy.deepcopy(chance.choice(_EXTREME))


_WAYS: tuple[Callable[[Json, Random], None], ...] = (
    *(_drop, _drop_of_a_resource, _drop_of_a_resource, _swap_type, _swap_type_of_a_resource, _swap_type_of_a_resource),
    *(_wrap, _double, _shuffle, _rename, _move, _count, _count, _date, _date, _code, _code, _splice, _splice),
    *(_adopt, _adopt, _adopt, _draft, _draft, _envelope, _list_of_prefetch),
    *(_member("unit", _UNITS), _member("code", _UNITS), _member("status", _STATUSES), _member("status", _STATUSES)),
    *(_member("hook", _HOOKS), _member("reference", ("Patient/x", "#x", "Patient/woman-v01", "x", "urn:uuid:y"))),
)


def _spoilt_bytes(body: bytes, chance: Random) -> bytes:
    at, until = sorted(chance.choices(range(len(body)), k=2))
    return chance.choice(
        [
            body[:at],
            body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :],
            body[:at] + body[until:],
            body[:until] + body[at:],
            body[:at] + chance.choice([b"\0", b"\xff\xfe", b"NaN", b"[" * 99, b'"', b"\\u0000", b"1e999"]) + body[at:],
            body.decode().encode("utf-16"),
            b"\xef\xbb\xbf" + body,
        ]
    )
