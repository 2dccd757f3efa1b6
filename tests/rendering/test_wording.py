"""Card files are proofread at start: each planted defect is named, all of them at once."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest
from builders import knowledge, wording

from cds_service.errors import KnowledgeUnfit
from cds_service.rendering.wording import BLOCKS, PROMISED, Phrase, cards_folder, defects, load_wording


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(cards_folder(), tmp_path / "cards")


def change(folder, name, old, new):
    path = folder / f"{name}.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_cards_of_this_project_have_no_defect():
    assert defects(knowledge=knowledge()) == ()


@pytest.mark.parametrize(
    ("name", "old", "new", "named"),
    [
        ("KETOPTION", "EPDS $epds. Counselling", "EPDS $edps. Counselling", "before_birth.summary: nobody says: edps"),
        ("KETOPTION", "$medicine $dose mg IV once", "$medicine $$ mg IV once", "a $ that starts no plain name"),
        ("KETDATA", 'topic = "KETDATA"', 'topic = "KETDATE"', "no such topic: KETDATE"),
        ("KETDATA", 'topic = "KETDATA"', 'topic = "KETORDER"', "topic KETORDER has more than one card"),
        ("KETDATA", 'topic = "KETDATA"', 'topik = "KETDATA"', "KETDATA.toml: topik: Extra inputs are not permitted"),
        ("KETDATA", "[variant.offered]", "[variant.offerred]", "the variants must be failed, offered, ordered"),
        ("KETDATA", "missing $count\"", "missing $reason\"", "can be of any length: reason"),
        ("KETDATA", "$footer", "", "detail: footer is missing"),
        ("KETDATA", "$status\n\n$footer", "$footer\n\n$status", "not in the order of the card contract"),
        ("KETDATA", "$status", "$evidence_brief", "evidence_brief stands twice"),
        ("KETDATA", "No dose is computed, and", "It is safe, and", 'KETDATA.toml: ordered.say: the words "safe"'),
        ("PPDRISK", "Ask how she is", "<b>Ask</b> how she is", "HTML does not belong on a card"),
        ("PPDRISK", "a high risk of", "depressed, a high risk of", 'the words "depressed" are not to be used'),
        ("PPDRISK", 'order = "counselling"', 'order = "councelling"', "suggestion councelling: no such order"),
        ("PPDRISK", 'order = "counselling"', 'order = "medicine"', "suggestion medicine: no such order"),
        ("PPDRISK", 'variants = ["high"]', 'variants = ["higher"]', "suggestion psychiatry: no such variant: higher"),
        ("PPDRISK", "by = []", "by = [", "PPDRISK.toml: not TOML"),
        ("blocks", "harms = ", "harmz = ", "nobody uses the block harmz"),
        ("blocks", "harms = ", "harmz = ", "the block harms is missing"),
        ("blocks", "**Harms.** $says", "**Harms.** $sayz", "harms: nobody says: sayz"),
        ("blocks", 'facts = ["weight"]', 'facts = ["wait"]', "Weight: no such fact: wait"),
        ("blocks", "again = 2027-11-23", "again = 2025-11-23", "reviewed.again is not later than reviewed.on"),
    ],
)  # fmt: skip
def test_a_planted_defect_is_named(folder, name, old, new, named):
    change(folder, name, old, new)
    found = defects(folder, knowledge())
    assert [line for line in found if named in line], found
    with pytest.raises(KnowledgeUnfit, match=re.escape(named)):
        load_wording(folder, knowledge())


def test_a_topic_without_a_card_is_named(folder):
    (folder / "PPDRISK.toml").unlink()
    assert defects(folder) == ("cards: topic PPDRISK has no card",)


def test_all_defects_are_named_at_once(folder):
    change(folder, "PPDRISK", "Ask how she is", "Ask $whom she is")
    change(folder, "KETDATA", "$footer", "")
    (folder / "PPDSCREEN.toml").unlink()
    assert len(defects(folder)) == 3


def test_an_empty_folder_names_every_topic(tmp_path):
    found = defects(tmp_path)
    assert "cards/blocks.toml: cannot be read" in found


def test_a_summary_whose_last_form_may_not_fit_is_refused(folder):
    change(folder, "KETNOPROTO", 'this site has approved no protocol"', f'{"very " * 20}long"')
    assert [line for line in defects(folder) if "139 fit" in line]


def test_words_of_the_tables_are_proofread_too():
    evidence = knowledge().evidence
    harm = evidence.harm[0].model_copy(update={"says": "It is safe to give."})
    changed = replace(knowledge(), evidence=evidence.model_copy(update={"harm": (harm,)}))
    assert any("tables/evidence.toml" in line and '"safe"' in line for line in defects(knowledge=changed))


def test_a_topic_of_the_table_that_no_code_can_write_is_named():
    topics = knowledge().topics
    stranger = topics.topic[0].model_copy(update={"code": "KETNEW"})
    changed = replace(knowledge(), topics=topics.model_copy(update={"topic": (*topics.topic[1:], stranger)}))
    found = defects(knowledge=changed)
    assert "tables/topics.toml: KETNEW: no card can be written" in found
    assert "tables/topics.toml: PPDSAFETY is missing" in found


def test_what_is_promised_is_what_there_is():
    assert set(wording().cards) == set(PROMISED)
    assert set(wording().blocks) == set(BLOCKS)


def test_a_phrase_keeps_braces_and_knows_its_names():
    phrase = Phrase("{score} of $name, $Name_two.")
    assert phrase.names == {"name", "Name_two"}
    assert phrase.fill({"name": "{x}", "Name_two": "$y"}) == "{score} of {x}, $y."
