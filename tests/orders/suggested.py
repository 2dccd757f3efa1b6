"""Every order that the service suggests to the women of the vignettes, as it goes over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from conftest import NOON
from ehr import request_for, service_for
from encoding import Case, read_cases, site_of

from cds_service.advisor import Advisor
from cds_service.hooks.strict_json import write_json
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site

Json = dict[str, Any]

CASES = {case.id: case for case in read_cases()}
# The score in a whole form: an order then points to a QuestionnaireResponse.
FORMS = [CASES[id_].shaped(epds=shape) for id_ in ("V01", "V04", "N09", "B06a") for shape in ("response", "contained")]
# A draft whose medicine stands in the order itself: it goes back whole, with another dosage.
AMPOULE = replace(
    CASES["N21"], given=CASES["N21"].given | {"draft_order": CASES["N21"]["draft_order"] | {"strength_mg_per_ml": 5}}
)
CATALOGUE = "urn:com.epic.cdshooks.action.code.system.preference-list-item"
OURS = ("counselling", "epds-now", "monitor-nurse", "psychiatry-now", "suicide-risk")


def site_in(case: Case, dialect: str) -> Json:
    """The case's site file in this dialect. Epic's EHR has some of our orders in a catalogue of its own."""
    table = {**site_of(case), "dialect": dialect}
    if dialect != "epic":
        return table
    rows = [{"order": order, "system": CATALOGUE, "code": f"70{n}"} for n, order in enumerate(OURS)]
    if protocol := table.get("protocol"):
        rows.append({"order": "medicine", "system": CATALOGUE, "code": "709", "defaults": protocol["id"]})
    return table | {"orderable": rows}


def suggested_to_all(
    dialects: Sequence[str], knowledge: Knowledge, wording: Wording
) -> Iterator[tuple[str, Case, Json]]:
    """Each order that is to be created or updated, with its dialect and its case."""

    @cache
    def advisor(table: str) -> Advisor:
        return Advisor(knowledge, wording, Site.from_table(json.loads(table)), lambda: NOON)

    for case in (*CASES.values(), *FORMS, AMPOULE):
        body: bytes = b""
        for dialect in dialects:
            asked = advisor(json.dumps(site_in(case, dialect)))
            discovery = asked.discovery()
            # What discovery asks for does not depend on the dialect.
            body = body or json.dumps(request_for(case, NOON, discovery)).encode()
            answer = asked.answer(service_for(case["hook"], discovery)["id"], body).body
            for action in actions_in(json.loads(write_json(answer))["cards"]):
                if action["type"] != "delete":
                    yield dialect, case, action["resource"]


def actions_in(cards: Iterable[Json]) -> Iterator[Json]:
    """Each action of each suggestion of each card."""
    for card in cards:
        for suggestion in card.get("suggestions", ()):
            yield from suggestion["actions"]


def masked(order: Json) -> str:
    """The order without what names one woman and her entries: two orders that say the same are the same text."""
    return json.dumps(_masked(order), sort_keys=True)


def _masked(value: Any) -> Any:
    match value:
        case dict():
            return {name: _name(name, inner) for name, inner in value.items()}
        case list():
            return [_masked(inner) for inner in value]
        case _:
            return value


def _name(member: str, value: Any) -> Any:
    if member == "id":
        return "an id"
    if member == "reference" and isinstance(value, str) and not value.startswith("#"):
        return f"{value.partition('/')[0]}/she"
    return _masked(value)
