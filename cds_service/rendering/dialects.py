"""
How each kind of EHR wants to be spoken to.

One card is thought of, in the richest form: a medicine and its monitoring behind one button, drafts that are corrected
or taken back. A dialect leaves out what its EHR cannot do, and then the same is said in words: nothing that matters is
lost, and nothing that matters stands in a resource alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cds_service.hooks.request import HookRequest
from cds_service.hooks.response import Action, Card, Suggestion
from cds_service.settings import DialectName, Site


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    What an EHR can do.

    `suggests`: it has buttons. `joins`: one button may do several things, all together. `updates`: it changes a draft.
    `keeps_dose`: the dose of a created order reaches the chart. `identifies`: it knows the uuid of a card, its topic
    and the reasons to override it. `any_link`: it shows a link that was not registered.
    `also_known_as`: names of code systems that it needs beside the official ones.
    """

    name: DialectName
    suggests: bool = True
    joins: bool = True
    updates: bool = True
    keeps_dose: bool = True
    identifies: bool = True
    any_link: bool = True
    also_known_as: tuple[tuple[str, str], ...] = ()

    def can_take(self, action: Action) -> bool:
        """Could its user take this over with a click?"""
        return self.suggests and (self.updates or action.type != "update")

    def arranged(self, suggestion: Suggestion) -> tuple[Suggestion, ...]:
        """One suggestion, or one for each of its actions where a button does one thing only."""
        if self.joins or len(suggestion.actions) == 1:
            return (suggestion,)
        return tuple(replace(suggestion, label=a.label, uuid=a.uuid, actions=(a,)) for a in suggestion.actions)

    def coded(self, codings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The codings, each also under the other names of its system."""
        names = dict(self.also_known_as)
        listed = list(codings)
        return [*listed, *({**c, "system": names[c["system"]]} for c in listed if c.get("system") in names)]

    def spoken(self, card: Card, site: Site) -> Card:
        """The card without what this EHR does not know."""
        if not self.any_link:
            card = replace(card, links=tuple(link for link in card.links if link.url.startswith(site.links)))
        if not self.identifies:
            card = replace(card, uuid="", override_reasons=(), source=replace(card.source, topic=None))
        return card


DIALECTS: Final[Mapping[DialectName, Dialect]] = {
    dialect.name: dialect
    for dialect in (
        Dialect("standard"),
        # The public CDS Hooks Sandbox takes over the first medicine of a suggestion and stops there (its code,
        # 2026-03): the medicine stands first in ours, and it needs nothing else.
        Dialect("sandbox"),
        # fhir.epic.com, CDS Hooks tutorial: one action a suggestion; no update of a medicine; dose, route and rate of a
        # created order are dropped, and the defaults of the orderable count; code systems by their OID.
        Dialect(
            "epic",
            joins=False,
            updates=False,
            keeps_dose=False,
            also_known_as=(
                ("http://www.nlm.nih.gov/research/umls/rxnorm", "urn:oid:2.16.840.1.113883.6.88"),
                ("http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96"),
            ),
        ),
        # Millennium's page of 2021 (beta, CDS Hooks 1.0): no suggestion, uuid or feedback; unregistered links removed.
        Dialect(
            "cerner-1.0",
            suggests=False,
            joins=False,
            updates=False,
            keeps_dose=False,
            identifies=False,
            any_link=False,
        ),
    )
}
STANDARD: Final = DIALECTS["standard"]


def dialect_for(site: Site, request: HookRequest) -> Dialect:
    """The dialect of the site file; else what the request gives away; else the standard."""
    return DIALECTS[site.dialect or request.extensions.shows or "standard"]
