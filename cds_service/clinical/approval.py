"""Which medicine this site has approved, if any, and what in its file contradicts the knowledge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cds_service.clinical.dosing import CEILING_MG
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Protocol
from cds_service.settings import Site

# Decision logic, section 5: a protocol enabled where its medicine is not marketed.
NOT_MARKETED: Final = "CFG01"
# What the order table calls the one order that is no row of it.
MEDICINE: Final = "medicine"


@dataclass(frozen=True, slots=True)
class Approval:
    """The protocol that may be offered, and the configuration errors that stand against it."""

    protocol: Protocol | None
    configuration: tuple[str, ...] = ()


def approve(site: Site, knowledge: Knowledge) -> Approval:
    """The site's protocol, unless its medicine is not marketed in the site's country: then none, and CFG01."""
    protocol = knowledge.protocol(site.protocol.id) if site.protocol is not None else None
    if protocol is not None and site.country in protocol.not_marketed_in:
        return Approval(None, (NOT_MARKETED,))
    return Approval(protocol)


def defects(site: Site, knowledge: Knowledge) -> Iterator[str]:
    """Everything in a site file that this knowledge refuses, one line each. `evaluate` goes on after CFG01 alone."""
    if site.protocol is not None:
        protocol = knowledge.protocol(site.protocol.id)
        if protocol is None:
            yield f"site: protocol.id: no such protocol: {site.protocol.id}"
        else:
            if site.country in protocol.not_marketed_in:
                yield f"site: {NOT_MARKETED}: {protocol.id} is enabled, but not marketed in {site.country}"
            if site.protocol.strength_mg_per_ml != protocol.strength_mg_per_ml:
                yield (
                    f"site: protocol.strength_mg_per_ml: {site.protocol.strength_mg_per_ml} is refused: "
                    f"{protocol.id} is drawn up from {protocol.strength_mg_per_ml} mg/mL only"
                )
    confirmable = {row.id for row in knowledge.inputs.input if "confirm" in (row.before_birth, row.after_birth)}
    for id_ in site.tighten:
        if id_ not in confirmable:
            yield f"site: tighten: {id_} is not an input that can be tightened"
    yield from _map_defects(site, knowledge)
    if site.review is not None and not knowledge.hash.startswith(site.review.knowledge):
        yield f"site: review.knowledge: signed {site.review.knowledge[:19]}, but this is {knowledge.hash[:19]}"


def _map_defects(site: Site, knowledge: Knowledge) -> Iterator[str]:
    """What the site translates from or into something that does not exist here."""
    concepts = {name for names in knowledge.domains.values() for name in names}
    for number, local in enumerate(site.local):
        yield from (f"site: local.{number}.means: no such concept: {n}" for n in local.means if n not in concepts)
    orders = {row.id for row in knowledge.orders.service} | {MEDICINE}
    for number, item in enumerate(site.orderable):
        where = f"site: orderable.{number}"
        if item.order not in orders:
            yield f"{where}.order: no such order: {item.order}"
        if item.defaults is not None and item.order != MEDICINE:
            yield f"{where}.defaults: only the medicine has a protocol"
        elif item.defaults is not None and (site.protocol is None or item.defaults != site.protocol.id):
            yield f"{where}.defaults: {item.defaults} is not the protocol of this site"
    topics = {row.code for row in knowledge.topics.topic}
    for number, role in enumerate(site.role):
        yield from (f"site: role.{number}.topics: no such topic: {t}" for t in role.topics if t not in topics)


def ceiling_defects(knowledge: Knowledge) -> Iterator[str]:
    """Protocols and absolute limits that ask for more than the ceilings that stand in code."""
    for protocol in knowledge.protocols.protocol:
        most = CEILING_MG[protocol.medicine]
        if protocol.ceiling_mg > most:
            yield f"tables/protocols.toml: {protocol.id}: ceiling_mg {protocol.ceiling_mg} is above {most} mg"
    for limit in knowledge.order_check.absolute:
        most = CEILING_MG[limit.medicine]
        if limit.mg > most:
            yield f"tables/order_check.toml: {limit.medicine}: the absolute limit {limit.mg} mg is above {most} mg"
