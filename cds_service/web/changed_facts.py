"""
What a visitor may change in a chart, to see how the cards change: her weight, a blood pressure, an allergy and so on.

A change is a new entry, made now, as FHIR. What stood there before stays, as in a real chart. Which facts there are
stands in `facts.json`, by the concepts of the knowledge; their codes stand in the knowledge alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from cds_service.ehr.elements import codings, first, members, number, status_of
from cds_service.errors import RequestUnreadable
from cds_service.knowledge.terminology import Terminology
from cds_service.web.played_ehr import Resource, current_stay, happened, resolve

OTHER: Final = "other"  # an allergy that cannot be chosen here
_WITHDRAWN: Final = ("entered-in-error", "cancelled")


@dataclass(frozen=True, slots=True)
class Fact:
    """
    One fact that can be changed: by numbers (`values`, of one `panel` if there are several), or by a choice.

    `none` is the choice that says that there is nothing. Without a `quantity` the numbers are whole ones.
    """

    resource: Resource
    words: Mapping[str, str]
    values: tuple[str, ...] = ()
    panel: str | None = None
    quantity: Mapping[str, str] | None = None
    choices: tuple[str, ...] = ()
    none: str | None = None

    @property
    def kind(self) -> str:
        """The type of the entries in which it stands."""
        return str(self.resource["resourceType"])


def _shelf() -> dict[str, Fact]:
    rows: dict[str, dict[str, Any]] = json.loads((files("cds_service.web") / "facts.json").read_text("utf-8"))
    lists = ("values", "choices")
    return {name: Fact(**{**row, **{key: tuple(row.get(key, ())) for key in lists}}) for name, row in rows.items()}


@dataclass(frozen=True)
class Facts:
    """All facts that can be changed, by name; `terminology` knows the codes of their concepts."""

    terminology: Terminology
    by_name: Mapping[str, Fact] = field(default_factory=_shelf)

    def __post_init__(self) -> None:
        """Raises KeyError when a concept is not in the knowledge: refused at start, not when somebody changes it."""
        for fact in self.by_name.values():
            for concept in fact.words:
                self._concept(fact, concept)

    def standing(self, chart: Sequence[Resource]) -> dict[str, list[str]]:
        """What the chart says of each fact now, as the page's form shows it: empty where it says nothing."""
        return {
            name: self._numbers(fact, chart) if fact.values else [self._choice(fact, chart)]
            for name, fact in self.by_name.items()
        }

    def changed(self, chart: list[Resource], wishes: Mapping[str, Any], now: datetime) -> list[Resource]:
        """
        The chart with these facts anew. Nothing wished for a fact takes it out of the chart.

        Raises RequestUnreadable, which names the fact and never repeats what was wished.
        """
        for name, wished in wishes.items():
            if (fact := self.by_name.get(name)) is None:
                raise RequestUnreadable("facts: one of them is none that can be changed")
            texts = wished if isinstance(wished, list) and all(isinstance(text, str) for text in wished) else []
            if len(texts) != len(fact.values or ("choice",)):
                raise RequestUnreadable(f"facts.{name} is not as many texts as it has fields")
            texts = [text.strip() for text in texts]
            chart = self._measured(name, chart, texts, now) if fact.values else self._chosen(name, chart, texts[0], now)
        return chart

    # --- numbers

    def _numbers(self, fact: Fact, chart: Sequence[Resource]) -> list[str]:
        newest = max((entry for entry in chart if self._measures(fact, entry)), key=happened, default=None)
        return ["" if newest is None else self._number(fact, concept, newest) for concept in fact.values]

    def _measures(self, fact: Fact, entry: Resource) -> bool:
        if entry["resourceType"] != fact.kind or status_of(entry) in _WITHDRAWN:
            return False
        wanted = {*fact.values, fact.panel}
        return any(wanted & self._means(holder) for holder in (entry, *members(entry.get("component"))))

    def _number(self, fact: Fact, concept: str, entry: Resource) -> str:
        holders = (entry, *members(entry.get("component")))
        found = first(number(_stated(fact, holder)) for holder in holders if concept in self._means(holder))
        return "" if found is None else f"{found:f}"

    def _measured(self, name: str, chart: list[Resource], texts: list[str], now: datetime) -> list[Resource]:
        fact = self.by_name[name]
        if not any(texts):
            return [entry for entry in chart if not self._measures(fact, entry)]
        parts = [
            {"code": self._concept(fact, concept), **self._value(name, text)}
            for concept, text in zip(fact.values, texts, strict=True)
            if text
        ]
        if fact.panel is None:
            return _with(chart, self._entry(name, parts[0], chart, now))
        whole = {"code": self._concept(fact, fact.panel), "component": parts}
        return _with(chart, self._entry(name, whole, chart, now))

    def _value(self, name: str, text: str) -> Resource:
        fact, found = self.by_name[name], number(text)
        if found is None:
            raise RequestUnreadable(f"facts.{name} is not a number")
        if fact.quantity is not None:
            return {"valueQuantity": {"value": found, **fact.quantity}}
        if found != found.to_integral_value():
            raise RequestUnreadable(f"facts.{name} is not a whole number")
        return {"valueInteger": int(found)}

    # --- choices

    def _choice(self, fact: Fact, chart: Sequence[Resource]) -> str:
        meant = [self._means(entry) for entry in chart if entry["resourceType"] == fact.kind]
        if fact.none is None:  # a problem: the list holds others, which are none of this form's business
            mine = [self._means(entry) for entry in chart if entry["resourceType"] == fact.kind and _is_mine(entry)]
            return next((choice for choice in fact.choices if any(choice in means for means in mine)), "")
        chosen = (choice for choice in reversed(fact.choices) if any(choice in means for means in meant))
        return next(chosen, OTHER if meant else "")

    def _chosen(self, name: str, chart: list[Resource], choice: str, now: datetime) -> list[Resource]:
        fact = self.by_name[name]
        if choice == OTHER and fact.none is not None:
            return chart
        if choice and choice not in fact.choices:
            raise RequestUnreadable(f"facts.{name} is none of the choices")
        if fact.none is None:
            left = [entry for entry in chart if not (entry["resourceType"] == fact.kind and _is_mine(entry))]
        elif choice in {"", fact.none}:
            left = [entry for entry in chart if entry["resourceType"] != fact.kind]
        else:
            left = [
                entry for entry in chart if entry["resourceType"] != fact.kind or fact.none not in self._means(entry)
            ]
        if not choice:
            return left
        return _with(left, self._entry(name, {"code": self._concept(fact, choice)}, chart, now))

    # --- both

    def _means(self, holder: Mapping[str, Any]) -> frozenset[str]:
        return self.terminology.codings_of(codings(holder.get("code"))).says

    def _concept(self, fact: Fact, concept: str) -> Resource:
        """The CodeableConcept for one of our concepts, by the first code that the knowledge has for it."""
        system, _, code = self.terminology.tokens[concept][0].partition("|")
        words = fact.words[concept]
        return {"coding": [{"system": system, "code": code, "display": words}], "text": words}

    def _entry(self, name: str, says: Resource, chart: Sequence[Resource], now: datetime) -> Resource:
        fact = self.by_name[name]
        patient = next(entry["id"] for entry in chart if entry["resourceType"] == "Patient")
        whose = "patient" if fact.kind == "AllergyIntolerance" else "subject"
        stay = current_stay(chart)
        during = {"encounter": {"reference": f"Encounter/{stay}"}} if stay is not None and fact.values else {}
        names = {"resourceType": fact.kind, "id": f"changed-{name}"}
        return {**names, **says, **resolve(fact.resource, now), whose: {"reference": f"Patient/{patient}"}, **during}


def _with(chart: list[Resource], entry: Resource) -> list[Resource]:
    """The chart and this entry, in place of an earlier change of the same fact."""
    return [*(other for other in chart if other["id"] != entry["id"]), entry]


def _is_mine(entry: Resource) -> bool:
    return str(entry["id"]).startswith("changed-")


def _stated(fact: Fact, holder: Mapping[str, Any]) -> object:
    """The value that stands there in the unit of the fact; None for any other."""
    match holder:
        case {"valueInteger": value} if fact.quantity is None:
            return value
        case {"valueQuantity": {"value": value, "code": code}} if fact.quantity and code == fact.quantity["code"]:
            return value
    return None
