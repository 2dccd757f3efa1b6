"""A linter of the card contract, run over one of every card that a clinician may get to see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from builders import DRAFT, NOW, SITE, WHO, cases, delivered, knowledge, measured, recorded, think, woman, wording

from cds_service.clinical.consultation import Ordered
from cds_service.clinical.facts import Evidence, Finding, State
from cds_service.clinical.moment import exactly
from cds_service.clinical.order_check import Departure
from cds_service.clinical.stage import Stage
from cds_service.rendering.cards import MOST_ROWS, write, write_failed
from cds_service.rendering.figures import escape
from cds_service.rendering.wording import PARTS, PROMISED
from cds_service.settings import SiteReview

DRUG_CARDS = {"KETORDER", "KETREVIEW", "KETNOTIND", "KETDATA", "KETOPTION", "KETNOPROTO"}
WITH_OPTIONS = {"KETCONTRA", "KETREVIEW", "KETNOTIND", "KETOPTION", "KETNOPROTO", "PPDRISK", "PPDFOLLOWUP"}
# The one card that must hold a dose, its checklist and its monitoring may be long.
LONGEST_DETAIL = {"KETOPTION": 8000}


def written(name: str) -> list[dict[str, Any]]:
    consultation, site = cases()[name]
    who = replace(WHO, hook=consultation.occasion.hook)
    return write(consultation, who, knowledge(), wording(), site)


def every_card() -> Iterator[Any]:
    for name in cases():
        for card in written(name):
            yield pytest.param(card, id=f"{name}: {code(card)}")


def code(card: dict[str, Any]) -> str:
    return str(card["source"]["topic"]["code"])


def block(card: dict[str, Any], heading: str) -> str:
    """The part of a detail that starts with this heading."""
    return next((part for part in re.split(r"\n\n(?=\*\*|---)", card["detail"]) if heading in part), "")


def pieces(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, dict):
        for member in value.values():
            yield from pieces(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from pieces(member)


@pytest.mark.parametrize("card", list(every_card()))
class TestTheContract:
    def test_the_summary_says_the_finding_in_less_than_140_characters(self, card):
        assert 20 < len(card["summary"]) < 140
        assert "…" not in card["summary"]
        assert "$" not in card["summary"]

    def test_no_word_is_banned_and_none_is_left_unfilled(self, card):
        banned = knowledge().wording
        said = [card["summary"], card["detail"], *(s["label"] for s in card.get("suggestions", ()))]
        said += [a["description"] for s in card.get("suggestions", ()) for a in s["actions"]]
        for text in said:
            assert not [word for word in banned.anywhere if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]
            assert "$" not in text
            assert not re.search(r"(?<!\. )\bNone\b", text)
            assert ".." not in text
            assert not re.search(r"<[a-z/!]", text, re.IGNORECASE)
        assert not [
            word for word in banned.summary if re.search(rf"\b{re.escape(word)}\b", card["summary"], re.IGNORECASE)
        ]

    def test_nothing_is_null_or_empty(self, card):
        assert not [piece for piece in pieces(card) if piece is None or piece in ("", [], {}, ())]

    def test_it_says_why_now_first_and_who_wrote_it_last(self, card):
        assert card["detail"].startswith("**Why now.**")
        footer = card["detail"].rsplit("---\n", 1)[-1]
        for needed in (knowledge().version, knowledge().hash[:19], "not clinically reviewed", WHO.hook_instance[:8],
                       "Supports, does not replace, clinical judgement; not for time-critical use"):  # fmt: skip
            assert needed in footer

    def test_every_datum_has_a_date_that_is_not_ahead_and_an_entry_it_came_from(self, card):
        rows = [line.split("|") for line in block(card, "**Data used**").splitlines() if line.startswith("| ")][1:]
        assert len(rows) <= MOST_ROWS
        for _, fact, value, when, resource, _ in rows:
            assert fact.strip()
            assert value.strip()
            assert re.fullmatch(r"[A-Z][A-Za-z]+", resource.strip())
            day = re.search(r"\d{4}-\d\d-\d\d", when)
            assert day is not None
            assert date.fromisoformat(day[0]) <= NOW.date()
            assert re.search(r"ago|today", when)

    def test_a_group_figure_names_n_country_and_outcome_and_is_not_hers(self, card):
        if "Of 100" in card["detail"]:
            meaning = block(card, "**What it means.**")
            assert "group figure, not this woman's probability" in meaning
            assert "outcome:" in meaning
            assert knowledge().version in meaning

    def test_there_are_two_options_and_one_has_no_drug(self, card):
        if code(card) in WITH_OPTIONS:
            options = re.findall(r"^\d\. (.+)$", block(card, "**Options**"), re.MULTILINE)
            assert len(options) >= 2
            assert any(option.startswith("No drug") for option in options)

    def test_evidence_on_a_drug_card_is_two_sided(self, card):
        if code(card) in DRUG_CARDS and "A loss is recorded" not in card["detail"]:
            for_, against = re.split(r"\*\*Against", card["detail"].split("**For")[1])
            assert "trial" in for_
            assert re.search(r"no (significant )?(difference|effect)", against)

    def test_a_drug_card_says_off_label_and_which_approval(self, card):
        if code(card).startswith("KET"):
            status = block(card, "**Status.**")
            assert "Off-label" in status
            assert "Local protocol:" in status

    def test_it_is_no_longer_than_a_person_will_read(self, card):
        assert len(card["detail"]) <= LONGEST_DETAIL.get(code(card), 1600)

    def test_suggestions_are_drafts_and_none_is_ticked(self, card):
        assert ("selectionBehavior" in card) == ("suggestions" in card)
        assert card.get("selectionBehavior", "any") == "any"
        for suggestion in card.get("suggestions", ()):
            assert "isRecommended" not in suggestion
            for action in suggestion["actions"]:
                assert action["type"] in {"create", "update", "delete"}
                assert len(action["description"]) > 20
                if action["type"] == "delete":
                    assert action["resourceId"] == DRAFT.reference
                    assert "resource" not in action
                else:
                    assert action["resource"]["status"] == "draft"
                    assert action["resource"]["subject"] == {"reference": WHO.patient}

    def test_only_the_medicine_and_the_correction_bring_their_monitoring_along(self, card):
        together = [s["actions"] for s in card.get("suggestions", ()) if len(s["actions"]) > 1]
        for first, *others in together:
            assert first["resource"]["resourceType"] == "MedicationRequest"
            assert {a["resource"]["resourceType"] for a in others} == {"ServiceRequest"}

    def test_every_uuid_is_one_and_every_reason_has_its_words(self, card):
        ids = [card["uuid"], *(s["uuid"] for s in card.get("suggestions", ()))]
        assert len(set(ids)) == len(ids)
        assert all(str(UUID(id_)) == id_ for id_ in ids)
        assert 3 <= len(card["overrideReasons"]) <= 7
        assert all(reason["display"] and reason["system"] for reason in card["overrideReasons"])
        assert card["source"]["label"]
        assert re.fullmatch(r"[A-Z]{4,20}", code(card))

    def test_violence_is_never_spelled_out(self, card):
        assert not re.search(r"violen|abus|partner", json.dumps(card, default=str), re.IGNORECASE)


def test_a_check_that_broke_down_says_so_and_offers_nothing():
    card = write_failed(WHO, knowledge(), wording(), SITE, NOW.date())
    assert card["summary"].startswith("Safety check incomplete")
    assert card["indicator"] == "warning"
    assert code(card) == "KETDATA"
    assert "suggestions" not in card
    assert "not clinically reviewed" in card["detail"]
    assert not [piece for piece in pieces(card) if piece is None or piece in ("", [], {}, ())]


def test_every_statement_with_a_known_address_links_to_it():
    evidence = written("eligible before birth")[0]["detail"].split("**For**")[1]
    assert "[Source](https://pubmed.ncbi.nlm.nih.gov/38808490/)" in evidence
    assert all(url.startswith("https://") for url in re.findall(r"\]\((.*?)\)", evidence))


def test_every_topic_and_every_variant_is_seen_by_the_linter():
    seen = {code(card) for name in cases() for card in written(name)}
    assert seen == set(PROMISED)
    summaries = {card["summary"].split()[0] for name in cases() for card in written(name)}
    assert len(summaries) > 8


def test_the_same_thought_gives_the_same_bytes():
    for name in cases():
        assert json.dumps(written(name), default=str) == json.dumps(written(name), default=str)


def test_uuids_change_with_the_call_and_with_nothing_else():
    consultation, site = cases()["eligible before birth"]
    again = write(consultation, replace(WHO, hook_instance="another-call"), knowledge(), wording(), site)
    heavier = write(think(woman(weight=measured("weight", "80.0", "kg"))), WHO, knowledge(), wording(), site)
    first = written("eligible before birth")
    assert [card["uuid"] for card in first] == [card["uuid"] for card in heavier]
    assert not {card["uuid"] for card in first} & {card["uuid"] for card in again}


def test_the_dose_on_the_card_the_suggestion_and_the_draft_agree():
    card = written("eligible before birth")[0]
    draft = next(s for s in card["suggestions"] if "resource" in s["actions"][0]
                 and s["actions"][0]["resource"]["resourceType"] == "MedicationRequest")  # fmt: skip
    resource = draft["actions"][0]["resource"]
    assert "14 mg" in card["summary"]
    assert "14 mg" in draft["label"]
    assert "2.8 mL of 5 mg/mL" in draft["actions"][0]["description"]
    assert resource["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] == Decimal(14)
    assert "0.2 mg/kg × 72.4 kg = 14.48 mg, rounded down to 14 mg" in card["detail"]


def test_only_the_two_eligible_states_offer_a_medicine():
    for name, (consultation, _) in cases().items():
        drafts = [
            action["resource"]
            for card in written(name)
            for suggestion in card.get("suggestions", ())
            for action in suggestion["actions"]
            if action.get("resource", {}).get("resourceType") == "MedicationRequest"
        ]
        offered = consultation.eligibility.status.allows_a_dose and consultation.occasion.hook.startswith("order-")
        assert bool(drafts) == (offered and not consultation.occasion.ppd_order), name


def test_a_drafted_order_gets_no_second_one_and_a_contraindicated_one_can_be_removed():
    eligible = [s["label"] for card in written("eligible and drafted") for s in card.get("suggestions", ())]
    assert not [label for label in eligible if label.startswith("Draft esketamine")]
    contra = written("contraindicated and drafted")[0]
    assert contra["indicator"] == "critical"
    assert contra["suggestions"][0]["actions"][0]["type"] == "delete"
    assert not [a for s in written("contraindicated")[0]["suggestions"] for a in s["actions"] if a["type"] == "delete"]


def offered_beside(*already: Ordered) -> tuple[str, str]:
    """All that is offered while these are ordered, and what the first card says."""
    cards = write(think(woman(), already=already), WHO, knowledge(), wording(), SITE)
    actions = [action for card in cards for one in card.get("suggestions", ()) for action in one["actions"]]
    return " ".join(action["description"] for action in actions), cards[0]["detail"]


def test_nothing_is_offered_that_is_ordered_already():
    oximetry = "continuous pulse oximetry and heart rate (ecg): "
    oximetry += "during the esketamine infusion and until she leaves observation"
    offered, says = offered_beside(
        Ordered(frozenset({"http://snomed.info/sct|306226009"})), Ordered(frozenset(), words=oximetry)
    )

    assert "counselling" not in offered
    assert "oximetry" not in offered.replace("Needs continuous oximetry", "")
    assert "Already drafted or ordered, not offered again: Counselling referral" in says


@pytest.mark.parametrize(("code", "drafts"), [("252465000", "pulse oximetry"), ("135840009", "every 5 min during")])
def test_a_spot_check_under_the_same_code_is_not_the_monitoring_of_an_infusion(code, drafts):
    """Blood pressure once a shift has the code of blood pressure every five minutes."""
    offered, says = offered_beside(Ordered(frozenset({f"http://snomed.info/sct|{code}"}), words="once per shift"))

    assert (
        f"Draft order: {'continuous ' if code == '252465000' else 'blood pressure and breathing rate '}{drafts}"
        in offered
    )
    assert "not offered again" not in says


def test_the_order_is_called_what_it_is_and_the_dose_what_the_protocol_has():
    """Ketamine is drafted where the protocol has esketamine."""
    other = Departure("medicine", "another medicine", "esketamine", "ketamine")
    thought = think(woman(), draft=replace(DRAFT, medicine="ketamine"), departures=(other,))

    order, option = write(thought, WHO, knowledge(), wording(), SITE)

    assert order["summary"] == "Check the ketamine draft: medicine ketamine, protocol: esketamine"
    assert "An order of ketamine to prevent" in order["detail"]
    assert option["summary"].startswith("Check before signing: ketamine is drafted, the protocol has esketamine 14")
    assert "A dose is never converted from one to the other." in option["detail"]
    assert "Compare the draft with the dose below" not in option["detail"]


def test_of_several_gaps_the_summary_names_one_and_counts_the_rest():
    assert written("data missing")[0]["summary"].endswith("missing 2: blood pressure, both values (too old); 1 more")


def test_of_several_reasons_the_summary_names_one_and_counts_the_rest():
    one = write(think(woman(ketamine_allergy=recorded("a"))), WHO, knowledge(), wording(), SITE)[0]
    two = write(
        think(woman(ketamine_allergy=recorded("a"), pre_eclampsia=recorded("b"))), WHO, knowledge(), wording(), SITE
    )[0]

    assert "more" not in one["summary"]
    assert two["summary"].endswith("; 1 more")


def test_two_cards_of_one_answer_offer_the_same_order_once():
    for name in cases():
        texts = [
            json.dumps(action["resource"], default=str)
            for card in written(name)
            for suggestion in card.get("suggestions", ())
            for action in suggestion["actions"]
            if "resource" in action
        ]
        assert len(set(texts)) == len(texts), name


def test_what_must_be_confirmed_becomes_a_line_of_the_checklist():
    card = written("to be confirmed")[0]
    checklist = block(card, "**Start checklist")
    assert checklist.count("To confirm, as the chart does not tell") == 2
    assert "ASA physical status I or II" in checklist
    assert "**Not found or not usable:** ASA physical status (not recorded)" in card["detail"]


def test_what_is_missing_is_named_with_its_limit_and_the_last_value():
    detail = written("data missing")[0]["detail"]
    assert "last seen 118 mmHg (⚠ old: 2026-05-14 05:20, 4 h 10 min ago)" in detail
    assert "allergy list (not received" in detail


def test_modifiers_add_their_lines_and_milk_has_a_part_of_its_own():
    card = write(think(woman(thyroid_replacement=recorded("thyroxine"))), WHO, knowledge(), wording(), SITE)[0]
    assert "heart rate 110 or less to start" in block(card, "**Monitoring**")
    assert block(card, "**Milk.**")
    dry = write(think(woman(breastfeeding=Finding(State.ABSENT))), WHO, knowledge(), wording(), SITE)[0]
    assert not block(dry, "**Milk.**")


def test_after_a_loss_nobody_is_told_about_a_baby_or_milk():
    for name in (
        "a loss",
        "a loss and drafted",
        "a loss and a self-harm answer",
        "a loss, no EPDS",
        "discharge after a loss",
    ):
        for card in written(name):
            assert "A loss is recorded for this birth" in card["detail"]
            assert "Breastfeeding is not assumed" in card["detail"]
            assert "baby" not in card["detail"]
            assert "esketamine after birth" not in card["detail"]


def test_birth_dates_the_follow_up_and_before_it_the_days_stay_words():
    def days(cards):
        return [
            a["resource"].get("occurrenceDateTime")
            for card in cards for s in card["suggestions"] for a in s["actions"]
            if a["resource"]["resourceType"] == "ServiceRequest" and "EPDS on day" in a["resource"]["code"]["text"]
        ]  # fmt: skip

    assert days(written("discharge")) == ["2026-05-21", "2026-06-25"]
    assert days(written("eligible before birth")[:1]) == [None, None]


def test_a_follow_up_day_that_has_passed_is_not_offered():
    long_ago = Finding(State.PRESENT, (), at=exactly(NOW - timedelta(days=60)))
    facts = delivered().with_(birth=long_ago)
    consultation = think(facts, hook="encounter-discharge", stage=Stage.POSTPARTUM)
    labels = [
        s["label"] for card in write(consultation, WHO, knowledge(), wording(), SITE) for s in card["suggestions"]
    ]
    assert labels == ["Refer to counselling"]


NOT_RECOGNISED = "**Medicines or problems not recognised, so not checked here:"


def test_medicines_that_nobody_recognised_are_counted_and_three_are_pointed_at():
    entries = (
        Evidence("MedicationAdministration/run_1", "running", None, "2026-05-14T09:00:00Z"),
        Evidence("MedicationRequest/b", "ordered", None, "2026-05-13"),
        Evidence("MedicationStatement/c", "reported"),
        Evidence("MedicationRequest/d", "as needed", None, "2026-05-01"),
    )
    (card, *_) = write(think(woman(), not_recognised=entries), WHO, knowledge(), wording(), SITE)
    assert code(card) == "KETOPTION"
    assert block(card, NOT_RECOGNISED) == (
        NOT_RECOGNISED + " 4.** Look them up in the chart: "
        r"MedicationAdministration/run\_1, 2026-05-14 09:00, 30 min ago; "
        "MedicationRequest/b, 2026-05-13, 1 day ago; MedicationStatement/c, no date; 1 more."
    )
    (alone, *_) = write(think(woman(), not_recognised=entries[2:3]), WHO, knowledge(), wording(), SITE)
    assert block(alone, NOT_RECOGNISED) == (
        NOT_RECOGNISED + " 1.** Look them up in the chart: MedicationStatement/c, no date."
    )


def test_only_the_cards_about_the_medicine_speak_of_them_and_only_if_there_are_any():
    for name, (consultation, _) in cases().items():
        for card in written(name):
            shown = bool(block(card, NOT_RECOGNISED))
            about_it = code(card).startswith("KET") and code(card) != "KETDATA"
            assert shown == (about_it and bool(consultation.not_recognised)), name


def test_an_id_that_would_fill_the_card_is_left_out():
    long, odd = Evidence(f"MedicationRequest/{'e' * 200}"), Evidence("MedicationRequest/<b>evil</b>")
    (card, *_) = write(think(woman(), not_recognised=(long, odd)), WHO, knowledge(), wording(), SITE)
    assert block(card, NOT_RECOGNISED).endswith("MedicationRequest, no date; MedicationRequest, no date.")


def test_a_route_that_nobody_understands_is_called_so():
    draft = replace(DRAFT, route="other", unreadable=frozenset({"route"}))
    departure = Departure("route", "Not IV", "intravenous", "another route", id="not_iv", reference=draft.reference)

    def shown(draft):
        cards = write(think(woman(), draft=draft, departures=(departure,)), WHO, knowledge(), wording(), SITE)
        (card,) = (card for card in cards if code(card) == "KETORDER")
        return card["summary"], card["detail"]

    summary, detail = shown(draft)
    assert "route not understood, protocol: intravenous" in summary
    assert "| route | not understood | intravenous |" in detail
    assert "another route" in shown(replace(draft, unreadable=frozenset()))[0]


def test_ages_are_told_in_minutes_then_hours_then_days():
    def shown(at):
        entry = Evidence("Observation/weight", "72.4", "kg", at)
        facts = woman(weight=replace(woman()["weight"], evidence=(entry,)))
        return block(write(think(facts), WHO, knowledge(), wording(), SITE)[0], "**Data used**")

    assert "2026-05-14 09:20, 10 min ago" in shown("2026-05-14T09:20:00Z")
    assert "2026-05-14 05:30, 4 h ago" in shown("2026-05-14T05:30:00+00:00")
    assert "2026-05-10 09:30, 4 days ago" in shown("2026-05-10T09:30:00Z")
    assert "2026-05-13, 1 day ago" in shown("2026-05-13")
    assert "2026-05-14, today" in shown("2026-05-14")
    assert "dated ahead of now" in shown("2026-05-15")
    assert "| 2026-05 |" in shown("2026-05")
    assert "no date" in shown("<script>alert(1)</script>")


def test_free_text_of_a_chart_gets_on_no_card():
    odd = Evidence("Observation/<b>x</b>", "very **depressed**, says her partner", "kg|<i>", "yesterday")
    facts = woman(
        weight=replace(woman()["weight"], evidence=(odd,)),
        depressive_disorder=Finding(State.PRESENT, (odd,)),
        epds_for_risk=replace(woman()["epds_for_risk"], evidence=(odd, odd)),
    )
    departure = Departure("route", "other route", "intravenous", "by *mouth* | <b>now</b>")
    consultation = think(facts, draft=DRAFT, departures=(departure,), set_aside=("Observation/evil: <script>",))
    said = json.dumps(write(consultation, WHO, knowledge(), wording(), SITE), default=str)
    for fragment in ("very **", "partner", "<b>", "<i>", "yesterday", "<script>", "evil"):
        assert fragment not in said


def test_a_site_cannot_write_markdown_through_its_approval():
    assert escape("A_b* [x](y)\n# z") == r"A\_b\* \[x\]\(y\) \# z"
    assert r"SITE\_PPD-01" in written("eligible before birth")[0]["detail"]


def test_the_footer_names_reviewers_only_when_a_site_has_signed_this_knowledge():
    signed = SiteReview(by=("Dr A", "Dr B"), on=date(2026, 5, 1), knowledge=knowledge().hash[:19])
    stale = SiteReview(by=("Dr A",), on=date(2026, 5, 1), knowledge="sha256:" + "0" * 12)
    consultation = think(woman())

    def footer(review):
        site = SITE.model_copy(update={"review": review})
        return write(consultation, WHO, knowledge(), wording(), site)[0]["detail"].rsplit("---", 1)[-1]

    assert "reviewed by 2 on 2026-05-01" in footer(signed)
    assert "not clinically reviewed" not in footer(signed)
    assert "not clinically reviewed" in footer(stale)


def test_a_review_that_is_overdue_is_said_so():
    facts = woman()
    later = type(facts)(dict(facts), datetime(2028, 1, 1, tzinfo=UTC))
    (card, *_) = write(think(later, hook="patient-view"), WHO, knowledge(), wording(), SITE)
    assert "review overdue since 2027-11-23" in card["detail"]


def test_the_ketamine_card_carries_its_weak_evidence_label_and_its_country():
    card = written("eligible, ketamine")[0]
    assert "weak evidence" in card["detail"]
    assert "schedule III" in block(card, "**Status.**")
    assert "36 mg" in card["summary"]
    assert "esketamine" not in card["summary"]


def test_a_card_file_can_use_every_part_of_the_contract():
    used = {name for card in wording().cards.values() for paragraph in card.detail for name in paragraph.names}
    assert used == set(PARTS)


@pytest.mark.parametrize("name", [name for name, (thought, _) in cases().items() if thought.dose is None])
def test_without_a_dose_no_card_shows_one(name):
    consultation, _ = cases()[name]
    if not consultation.departures:  # a drafted dose is shown beside the limit that it exceeds
        said = json.dumps(written(name), default=str)
        assert not re.search(r"\bmg\b|mL/h|mg/", said)
