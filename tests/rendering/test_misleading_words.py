"""Words that a reader in a hurry could take for their opposite: each was on a card once."""

from __future__ import annotations

from functools import cache
from string import Template
from typing import Any

import pytest
from builders import (
    ABSENT,
    DRAFT,
    LOSS,
    NO_EPDS,
    SITE,
    UNKNOWN,
    WHO,
    knowledge,
    measured,
    missing,
    recorded,
    safety,
    screen,
    think,
    woman,
    wording,
)

from cds_service.clinical.consultation import Consultation
from cds_service.clinical.facts import Doubt
from cds_service.clinical.risk import Tier
from cds_service.hooks.response import LONGEST_SUMMARY
from cds_service.knowledge.loader import Knowledge
from cds_service.rendering.cards import write
from cds_service.rendering.languages import in_language
from cds_service.rendering.wording import Wording

LANGUAGES = ("en", "es")
AGAINST_THE_ORDER = ("KETCONTRA", "KETORDER", "KETNOTIND", "KETNOPROTO")


@cache
def spoken(language: str) -> tuple[Knowledge, Wording]:
    return (knowledge(), wording()) if language == "en" else in_language(language, knowledge())


def said(thought: Consultation, topic: str, language: str = "en") -> dict[str, Any]:
    """The one card of this topic."""
    cards = write(thought, WHO, *spoken(language), SITE)
    (card,) = (card for card in cards if card["source"]["topic"]["code"] == topic)
    return card


# ---- after a loss


@pytest.mark.parametrize(
    ("language", "summary"),
    [
        (
            "en",
            (
                "Stop and review: esketamine is ordered and contraindicated (Raised intracranial pressure). "
                "A loss is recorded."
            ),
        ),
        ("es", "Detener: esketamina ordenada y contraindicada (Presión intracraneal aumentada). Consta una pérdida."),
    ],
)
def test_after_a_loss_a_contraindicated_order_is_still_named_with_its_reason(language: str, summary: str) -> None:
    facts = woman(**LOSS, raised_intracranial_pressure=recorded("g93"))
    card = said(think(facts, draft=DRAFT, tables=spoken(language)[0]), "KETCONTRA", language)
    assert card["summary"] == summary
    assert card["indicator"] == "critical"
    assert card["suggestions"][0]["actions"][0]["type"] == "delete"


def test_after_a_loss_without_an_order_the_loss_comes_first() -> None:
    card = said(think(woman(**LOSS, pre_eclampsia=recorded("o14"))), "KETCONTRA")
    assert card["summary"].startswith("A loss is recorded for this birth. Esketamine is contraindicated.")
    assert "draft" not in card["detail"].partition("**Data used**")[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_after_a_loss_no_medicine_is_among_the_options(language: str) -> None:
    loss, other = (
        said(think(facts, draft=DRAFT), "KETREVIEW", language)["detail"]
        for facts in (woman(**LOSS), woman(depressive_disorder=recorded("f32")))
    )
    for name in ("sertralin", "zuranolon"):
        assert name in other
        assert name not in loss
    assert "\n2. " in loss
    assert "\n3. " not in loss


# ---- setting a card aside


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_reason_to_keep_an_order_agrees_with_the_card_against_it(language: str) -> None:
    topics = spoken(language)[0].topics
    weighed = {"en": "Risk and benefit were weighed differently here",
               "es": "Se valoraron de otro modo el riesgo y el beneficio"}[language]  # fmt: skip
    cards = {
        "KETCONTRA": said(think(woman(ketamine_allergy=recorded("a")), draft=DRAFT), "KETCONTRA", language),
        "KETNOTIND": said(think(woman(**screen("6")), draft=DRAFT), "KETNOTIND", language),
    }
    for card in cards.values():
        reasons = {reason["code"]: reason["display"] for reason in card["overrideReasons"]}
        assert reasons["risk-benefit-ratio"] == weighed
        assert "patient-ineligible" not in reasons
    for topic in AGAINST_THE_ORDER:
        assert topics.displays(topic)["risk-benefit-ratio"] == weighed


def test_whoever_turns_down_the_option_may_still_say_that_the_risk_is_greater() -> None:
    reasons = {reason["code"]: reason["display"] for reason in said(think(woman()), "KETOPTION")["overrideReasons"]}
    assert reasons["risk-benefit-ratio"] == "The risk outweighs the benefit here"
    assert reasons["patient-ineligible"] == "This patient does not meet the criteria"


# ---- what nobody could tell


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "**Could not be looked up, so neither yes nor no:** Safety concern."),
        ("es", "**No se pudo comprobar, así que ni sí ni no:** Alerta de seguridad (autolesión, manía o psicosis)."),
    ],
)
def test_what_could_not_be_looked_up_for_the_tier_reads_neither_as_yes_nor_as_no(language: str, words: str) -> None:
    thought = think(woman(safety_concern=UNKNOWN), hook="patient-view", tables=spoken(language)[0])
    detail = said(thought, "PPDRISK", language)["detail"]
    assert words in detail
    assert "Not found" not in detail


def test_a_conflict_is_called_one() -> None:
    card = said(think(woman(no_conflict=missing(Doubt.CONFLICTING)), draft=DRAFT), "KETDATA")
    assert card["summary"] == (
        "Safety check incomplete for esketamine, missing 1: "
        "entries that contradict each other (weights or EPDS) (conflicting)"
    )
    assert "no conflict" not in card["detail"].lower()


# ---- the figure of a group that is not hers


def test_a_woman_at_high_risk_is_not_shown_the_figure_of_women_without_a_history() -> None:
    history = recorded("no_history")
    none = {**screen("6"), "no_depression_history": history}
    ill = {**NO_EPDS, "no_depression_history": history, "phq9_for_risk": measured("phq9", "27", "{score}")}
    for facts in ({**none, **safety()}, {**none, "antidepressant": recorded("ssri")}, ill):
        thought = think(woman(**facts), hook="patient-view")
        assert thought.risk.tier is Tier.HIGH
        assert thought.risk.frequency is None
        detail = said(thought, "PPDRISK")["detail"]
        assert "about 9 had depression" not in detail
        assert "No published group fits her closely enough to show a figure." in detail

    elevated = think(woman(**none, single_parent=recorded("z60")), hook="patient-view")
    assert elevated.risk.tier is Tier.ELEVATED
    assert "about 9 had depression" in said(elevated, "PPDRISK")["detail"]


# ---- summaries that say why


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_form_of_a_summary_has_room_for_each_contraindication(language: str) -> None:
    """A code of a rule says nothing to whoever must stop a drug now."""
    tables, words = spoken(language)
    called = tables.called("esketamine")
    for variant in ("ordered", "offered"):
        first = words.cards["KETCONTRA"].summaries[variant][0]
        for row in tables.contraindications.criterion:
            for test in row.test:
                if test.banded:
                    continue
                filled = first.fill({"medicine": called, "Medicine": called.capitalize(), "reason": test.says})
                assert len(filled) <= LONGEST_SUMMARY, (row.id, len(filled), filled)


@pytest.mark.parametrize(
    ("language", "summary"),
    [
        (
            "en",
            (
                "Stop and check the esketamine draft, beyond an absolute limit: "
                "strength 2.8 mL of 25 mg/mL hold 70 mg, not 14 mg, allowed equal"
            ),
        ),
        (
            "es",
            (
                "Detener y comprobar: esketamina supera un límite absoluto: "
                "concentración 2.8 mL de 25 mg/mL contienen 70 mg, no 14 mg, permitido igual"
            ),
        ),
    ],
)
def test_a_strength_that_is_wrong_many_fold_stands_in_the_summary(language: str, summary: str) -> None:
    tables, words = spoken(language)
    told = tables.order_check.words.departure["strength_error"]
    figures = {"volume": "2.8", "strength": "25", "by_volume": "70", "dose": "14 mg"}
    filled = words.cards["KETORDER"].summaries["critical"][0].fill({
        "ordered": tables.called("esketamine"),
        "what": told.what,
        "drafted": Template(told.drafted).substitute(figures),
        "expected": told.expected,
    })  # fmt: skip
    assert filled == summary
    assert len(filled) <= LONGEST_SUMMARY


@pytest.mark.parametrize(
    ("more", "form"),
    [({}, "(EPDS 12, 6 h ago)"),
     ({**NO_EPDS, "epds_current": measured("epds", "9", "{score}"), "epds_for_risk": ABSENT,
       "positive_screen": measured("phq9", "12", "{score}"), "phq9_for_risk": measured("phq9", "12", "{score}")},
      "(PHQ-9 12, 10 min ago)")],
)  # fmt: skip
def test_a_total_has_the_name_of_its_form(more: dict[str, Any], form: str) -> None:
    card = said(think(woman(**{**more, "bipolar_known": UNKNOWN})), "PPDSCREEN")
    assert card["summary"] == f"Order a bipolar screen: none is recorded beside a positive screen {form}"


def test_an_assessment_is_later_than_the_concern_whose_age_is_told() -> None:
    thought = think(woman(**safety(), safety_assessed_since=recorded("assessed")))
    card = said(thought, "PPDSAFETY")
    assert card["summary"] == "Read the risk assessment: it was made after the safety concern of 6 h ago"
