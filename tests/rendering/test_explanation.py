"""The line of `evaluate --json`, key for key, and the same thought for a person at a terminal."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from builders import DRAFT, UNKNOWN_MEDICINES, WHO, cases, knowledge, measured, think, woman, wording

from cds_service.clinical.facts import Evidence
from cds_service.clinical.order_check import Departure
from cds_service.rendering.cards import write
from cds_service.rendering.explanation import as_json, as_text

KEYS = ["hookInstance", "service", "risk", "safetyConcern", "eligibility", "dose", "notRecognised", "cards"]
DOSE_KEYS = ["medication", "dose_mg", "drug_volume_ml", "total_volume_ml", "concentration_mg_per_ml", "rate_ml_per_h",
             "duration_min", "calculation"]  # fmt: skip


def explained(name):
    consultation, site = cases()[name]
    return as_json(consultation, WHO, write(consultation, WHO, knowledge(), wording(), site))


@pytest.mark.parametrize("name", cases())
def test_the_keys_and_their_order_are_those_of_the_contract(name):
    line = explained(name)
    assert list(line) == KEYS
    assert list(line["risk"]) == ["tier", "because"]
    assert list(line["eligibility"]) == ["status", "criteria", "confirm"]
    for reason in line["risk"]["because"]:
        assert list(reason) == ["fact", "says", "evidence"]
    for criterion in line["eligibility"]["criteria"]:
        assert list(criterion) == ["id", "kind", "says", "evidence"]
        assert criterion["kind"] in {"contraindication", "review", "missing", "monitor", "configuration"}
        for entry in criterion["evidence"]:
            assert list(entry) == ["reference", "value", "unit", "date"]
    if line["dose"] is not None:
        assert list(line["dose"]) == DOSE_KEYS
    assert isinstance(line["safetyConcern"], bool)


def test_numbers_stay_exact():
    dose = explained("eligible before birth")["dose"]
    assert dose["dose_mg"] == Decimal(14)
    assert str(dose["dose_mg"]) == "14"
    assert str(dose["concentration_mg_per_ml"]) == "0.7"
    assert dose["duration_min"] == 40
    (entry,) = explained("eligible before birth")["risk"]["because"][0]["evidence"]
    assert entry == {
        "reference": "Observation/epds",
        "value": Decimal(12),
        "unit": "{score}",
        "date": "2026-05-14T03:30:00+00:00",
    }


@pytest.mark.parametrize(
    ("name", "kind", "ids"),
    [
        ("contraindicated", "contraindication", ["C03", "C04"]),
        ("for review", "review", ["R01", "R03"]),
        ("data missing", "missing", ["D04", "D06"]),
        ("eligible before birth", "monitor", ["M04"]),
        ("not marketed and drafted", "configuration", ["CFG01"]),
    ],
)
def test_each_kind_of_criterion_is_named_by_its_id(name, kind, ids):
    criteria = explained(name)["eligibility"]["criteria"]
    assert [criterion["id"] for criterion in criteria if criterion["kind"] == kind] == ids


def test_what_is_to_be_confirmed_is_a_list_of_ids():
    assert explained("to be confirmed")["eligibility"]["confirm"] == ["D09", "D11"]


def test_a_call_that_is_none_of_our_business_says_nothing():
    assert as_json(None, WHO, []) == {
        "hookInstance": WHO.hook_instance,
        "service": "ppd-delivery-order",
        "risk": None,
        "safetyConcern": False,
        "eligibility": None,
        "dose": None,
        "notRecognised": None,
        "cards": [],
    }
    assert "Nothing to look at" in as_text(None, WHO, [], wording(), knowledge())


@pytest.mark.parametrize("name", cases())
def test_a_person_reads_the_same_thought(name):
    consultation, site = cases()[name]
    cards = write(consultation, WHO, knowledge(), wording(), site)
    text = as_text(consultation, WHO, cards, wording(), knowledge())
    assert f"Tier: {consultation.risk.tier.value}." in text
    assert f"Status: {consultation.eligibility.status.value}." in text
    for card in cards:
        assert card["summary"] in text
    for met in consultation.eligibility.contraindications:
        assert f"{met.row.id} contraindication" in text
    if consultation.dose is not None:
        assert "rounded down" in " ".join(text.split())


def test_a_terminal_is_sent_no_control_characters():
    odd = Evidence("Observation/x", "72.4\x1b[2J", "kg", "2026-05-14")
    facts = woman(weight=replace(measured("weight", "72.4", "kg"), evidence=(odd,)))
    assert "\x1b" not in as_text(think(facts), WHO, [], wording(), knowledge())


def test_entries_that_could_not_be_read_are_listed():
    text = as_text(think(woman(), set_aside=("Observation/broken: no value",)), WHO, [], wording(), knowledge())
    assert "- Observation/broken: no value" in text


def test_every_medicine_that_nobody_recognised_is_listed_in_full():
    thought = think(woman(), not_recognised=UNKNOWN_MEDICINES)
    entries = as_json(thought, WHO, [])["notRecognised"]
    assert [entry["reference"] for entry in entries] == [medicine.reference for medicine in UNKNOWN_MEDICINES]
    assert entries[0] == {
        "reference": f"MedicationRequest/{'a' * 64}",
        "value": "ordered",
        "unit": None,
        "date": "2026-05-13T08:00:00Z",
    }
    text = as_text(thought, WHO, [], wording(), knowledge())
    assert "Medicines or problems not recognised, so not checked" in text
    for medicine in UNKNOWN_MEDICINES:
        assert medicine.date is not None
        written = medicine.date[:16].replace("T", " ")
        assert f"- ordered on {written} [{medicine.reference}]" in text
    assert "not recognised" not in as_text(think(woman()), WHO, [], wording(), knowledge())


def test_a_route_that_nobody_understands_is_called_so():
    draft = replace(DRAFT, route="other", unreadable=frozenset({"route"}))
    departure = Departure("route", "Not IV", "intravenous", "another route", id="not_iv", reference=draft.reference)
    text = as_text(think(woman(), draft=draft, departures=(departure,)), WHO, [], wording(), knowledge())
    assert "- route: drafted not understood, expected intravenous" in text
