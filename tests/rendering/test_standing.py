"""What no chart changes is filled in once, for one knowledge, wording and site, and no answer changes it."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from builders import KETAMINE_SITE, NOW, SITE, WHO, cases, knowledge, think, woman, wording
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cds_service.knowledge.narrative import MEDICINES, OrderTable
from cds_service.rendering.cards import write
from cds_service.rendering.standing import Standing
from cds_service.rendering.suggestions import identifier


def said(site=SITE):
    return Standing.of(knowledge(), wording(), site)


def test_it_is_set_once_for_one_knowledge_wording_and_site():
    assert said() is said()
    assert said() is said(SITE.model_copy())
    assert said() is not said(KETAMINE_SITE)
    assert said() is not Standing.of(knowledge(), replace(wording()), SITE)
    assert said() is not Standing.of(replace(knowledge(), hash="sha256:1"), wording(), SITE)


def test_there_is_one_for_each_medicine_and_one_for_either():
    assert set(said()) == {*((medicine,) for medicine in MEDICINES), MEDICINES}
    assert [(one.medicine, one.known) for one in said().values()] == [
        ("esketamine", "esketamine"),
        ("ketamine", "ketamine"),
        ("esketamine or ketamine", ""),
    ]


def test_every_part_of_every_card_is_standing_or_asked_of_the_chart():
    for standing in said().values():
        for card in standing.cards.values():
            names = {name for paragraph in card.wording.detail for name in paragraph.names}
            assert names == set(card.asks) | (names & set(standing.parts))
            assert not set(card.asks) & set(standing.parts)


def test_no_answer_changes_what_the_next_one_is_given():
    first = json.dumps(write(think(woman()), WHO, knowledge(), wording(), SITE), default=str)
    for consultation, site in cases().values():
        write(consultation, WHO, knowledge(), wording(), site)
    assert json.dumps(write(think(woman()), WHO, knowledge(), wording(), SITE), default=str) == first


def test_the_day_on_which_a_review_ends_still_counts():
    standing = said()[MEDICINES]
    again = min(review.again for review in (*knowledge().reviews_due.values(), *wording().reviews_due.values()))
    assert "overdue" not in standing.footer(WHO, again)
    assert "overdue" in standing.footer(WHO, again.replace(year=again.year + 1))
    assert "overdue" not in standing.footer(WHO, NOW.date())


@given(st.text(), st.lists(st.integers() | st.sampled_from(["KETOPTION", "PPDRISK"])))
def test_an_identifier_is_the_uuid5_of_its_name(call, about):
    name = "|".join([call, *map(str, about)])
    found = identifier(replace(WHO, hook_instance=call), *about)
    assert found == str(uuid5(uuid5(NAMESPACE_URL, "urn:cds-service"), name))
    assert str(UUID(found)) == found


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"text": "Costs $$ for $medicine"}, "a \\$ that starts no plain name"),
        ({"text": "For ${medicine}"}, "a \\$ that starts no plain name"),
        ({"note": ["Give $medicine"]}, "note: nobody says: medicine"),
    ],
)
def test_a_hole_that_nobody_fills_is_refused_at_start(changes, named):
    table = knowledge().orders.model_dump()
    first, *others = table["service"]
    table["service"] = [{**first, **changes}, *others]
    with pytest.raises(ValidationError, match=named):
        OrderTable.model_validate(table)


@pytest.mark.parametrize("name", ["after_days", "within_days"])
def test_a_table_without_the_days_that_a_card_names_is_refused_at_start(name):
    table = knowledge().orders.model_dump()
    table["service"] = [row for row in table["service"] if row[name] is None]
    with pytest.raises(ValidationError, match=f"no order has {name}"):
        OrderTable.model_validate(table)
