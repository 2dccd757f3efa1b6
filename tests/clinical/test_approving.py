"""Which medicine a site may offer, and every line in its file that this knowledge refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cds_service.clinical.approval import Approval, approve, ceiling_defects, defects
from cds_service.knowledge import Knowledge
from cds_service.settings import Site

Json = dict[str, Any]
ESKETAMINE = {"id": "esketamine-iv", "approval": "PPD-01", "strength_mg_per_ml": 5}
KETAMINE = {"id": "racemic-ketamine-iv", "approval": "PPD-02", "strength_mg_per_ml": 10}


def site(**more: Any) -> Site:
    return Site.from_table({"country": "CN", "protocol": ESKETAMINE, **more})


def test_a_site_offers_the_protocol_that_it_has_approved(knowledge: Knowledge) -> None:
    assert approve(site(), knowledge) == Approval(knowledge.protocol("esketamine-iv"), ())
    assert approve(site(country="US", protocol=KETAMINE), knowledge) == Approval(
        knowledge.protocol("racemic-ketamine-iv")
    )


def test_a_site_without_a_protocol_or_with_one_that_is_unknown_offers_none(knowledge: Knowledge) -> None:
    assert approve(Site.from_table({"country": "CN"}), knowledge) == Approval(None, ())
    assert approve(site(protocol=ESKETAMINE | {"id": "esketamine-im"}), knowledge) == Approval(None, ())


def test_a_medicine_that_is_not_marketed_is_not_offered_and_the_reason_has_a_name(knowledge: Knowledge) -> None:
    assert approve(site(country="US"), knowledge) == Approval(None, ("CFG01",))


SIGNED = {"by": ["Dr A"], "on": "2026-11-23"}
ORDERED = {"order": "medicine", "system": "urn:x", "code": "1"}
REFUSED: list[tuple[Json, list[str]]] = [
    ({}, []),
    ({"protocol": ESKETAMINE | {"id": "esketamine-im"}}, ["protocol.id: no such protocol: esketamine-im"]),
    ({"country": "US"}, ["CFG01: esketamine-iv is enabled, but not marketed in US"]),
    (
        {"protocol": ESKETAMINE | {"strength_mg_per_ml": 25}},
        ["protocol.strength_mg_per_ml: 25 is refused: esketamine-iv is drawn up from 5 mg/mL only"],
    ),
    ({"tighten": ["D05", "D12"]}, []),
    (
        {"tighten": ["D05", "D01", "D99"]},
        ["tighten: D01 is not an input that can be tightened", "tighten: D99 is not an input that can be tightened"],
    ),
    ({"local": [{"means": ["delivery", "caesarean"], "words": ["birth"]}]}, []),
    (
        {
            "local": [
                {"means": ["delivery"], "words": ["birth"]},
                {"means": ["delivry", "delivery", "x"], "words": ["birth"]},
            ]
        },
        ["local.1.means: no such concept: delivry", "local.1.means: no such concept: x"],
    ),
    ({"orderable": [ORDERED, {**ORDERED, "order": "epds-now"}]}, []),
    ({"orderable": [ORDERED, {**ORDERED, "order": "x"}]}, ["orderable.1.order: no such order: x"]),
    ({"orderable": [{**ORDERED, "defaults": "esketamine-iv"}]}, []),
    (
        {"orderable": [{**ORDERED, "defaults": "racemic-ketamine-iv"}]},
        ["orderable.0.defaults: racemic-ketamine-iv is not the protocol of this site"],
    ),
    (
        {"orderable": [{**ORDERED, "order": "epds-now", "defaults": "esketamine-iv"}]},
        ["orderable.0.defaults: only the medicine has a protocol"],
    ),
    (
        {"protocol": None, "orderable": [{**ORDERED, "defaults": "esketamine-iv"}]},
        ["orderable.0.defaults: esketamine-iv is not the protocol of this site"],
    ),
    (
        {"role": [{"system": "urn:x", "codes": ["1"], "topics": ["PPDRISK", "PPDRISKS"]}]},
        ["role.0.topics: no such topic: PPDRISKS"],
    ),
]


@pytest.mark.parametrize(("more", "says"), REFUSED)
def test_what_this_knowledge_refuses_is_said_a_line_each(more: Json, says: list[str], knowledge: Knowledge) -> None:
    assert list(defects(site(**more), knowledge)) == [f"site: {line}" for line in says]


def test_a_signature_under_another_knowledge_is_refused(knowledge: Knowledge) -> None:
    def says(hash_: str) -> list[str]:
        return list(defects(site(review=SIGNED | {"knowledge": hash_}), knowledge))

    assert says(knowledge.hash) == says(knowledge.hash[:19]) == []
    other = "sha256:" + "0" * 64
    assert says(other) == [f"site: review.knowledge: signed {other[:19]}, but this is {knowledge.hash[:19]}"]
    assert len(other[:19]) == len("sha256:") + 12


def test_no_table_may_ask_for_more_than_the_ceilings_that_stand_in_code(knowledge: Knowledge) -> None:
    def says(**more: Any) -> list[str]:
        first, *others = knowledge.protocols.protocol
        raised = knowledge.protocols.model_copy(update={"protocol": (first.model_copy(update=more), *others)})
        return list(ceiling_defects(replace(knowledge, protocols=raised)))

    assert says() == says(ceiling_mg=20) == []
    assert says(ceiling_mg=21) == ["tables/protocols.toml: esketamine-iv: ceiling_mg 21 is above 20 mg"]

    def limits(**more: Any) -> list[str]:
        first, *others = knowledge.order_check.absolute
        raised = knowledge.order_check.model_copy(update={"absolute": (first.model_copy(update=more), *others)})
        return list(ceiling_defects(replace(knowledge, order_check=raised)))

    medicine = knowledge.order_check.absolute[0].medicine
    most = {"esketamine": 20, "ketamine": 50}[medicine]
    assert limits(mg=most) == []
    assert limits(mg=most + 1) == [
        f"tables/order_check.toml: {medicine}: the absolute limit {most + 1} mg is above {most} mg"
    ]
