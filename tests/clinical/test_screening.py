"""Which form counts for what: complete or begun, fresh or old, alone or beside others, on both sides of each window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision, exactly
from cds_service.clinical.screening import Form, screen
from cds_service.knowledge import Knowledge

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ALL = frozenset({"epds", "phq9", "gad7"})
NONE = unknown(Doubt.NOT_RECORDED)


def form(score: int, at: Moment | None, name: str = "form", **differs: Any) -> Form:
    evidence = Evidence(f"QuestionnaireResponse/{name}", str(score), "{score}", "2026-11")
    whole = Form(score, True, 10, 0, False, at, "", (evidence,))
    return replace(whole, **differs)


def ago(**span: float) -> Moment:
    return exactly(NOON - timedelta(**span))


def begun(score: int, at: Moment | None, name: str = "begun", **differs: Any) -> Form:
    return form(score, at, name, **{"complete": False, "answered": 4, "self_harm": None} | differs)


def screened(
    knowledge: Knowledge,
    *epds: Form,
    phq9: tuple[Form, ...] = (),
    gad7: tuple[Form, ...] = (),
    not_had: Doubt | None = None,
    began: Moment | None = None,
) -> dict[str, Finding]:
    forms = {"epds": epds, "phq9": phq9, "gad7": gad7}
    return screen(forms, not_had=not_had, encounter_began=began, table=knowledge.screens, now=NOON)


def shown(one: Form, **how: bool) -> Finding:
    return Finding(State.PRESENT, one.evidence, values=(one.score,), at=one.at, **how)


# ---- Nothing, and nothing that was received


def test_no_form_is_not_recorded_and_no_risk(knowledge: Knowledge) -> None:
    assert screened(knowledge) == {
        "epds_current": NONE,
        "epds_current_score": NONE,
        "epds_complete_for_risk": NONE,
        "epds_for_risk": ABSENT,
        "epds_self_harm": ABSENT,
        "phq9_complete_for_risk": NONE,
        "phq9_for_risk": ABSENT,
        "phq9_self_harm": ABSENT,
        "gad7_for_risk": ABSENT,
        "epds_this_encounter": NONE,
        "epds_conflict": ABSENT,
    }


def test_forms_that_were_not_received_are_absent_nowhere(knowledge: Knowledge) -> None:
    found = screened(knowledge, not_had=Doubt.RESTRICTED)

    assert found.pop("epds_conflict") == ABSENT
    assert set(found.values()) == {unknown(Doubt.RESTRICTED)}


# ---- The windows, each on both sides

WINDOWS = [
    ("epds", "epds_current", timedelta(hours=168), Doubt.TOO_OLD),
    ("epds", "epds_current_score", timedelta(hours=168), None),
    ("epds", "epds_complete_for_risk", timedelta(days=90), Doubt.TOO_OLD),
    ("epds", "epds_for_risk", timedelta(days=90), None),
    ("phq9", "phq9_complete_for_risk", timedelta(days=14), Doubt.TOO_OLD),
    ("phq9", "phq9_for_risk", timedelta(days=14), None),
    ("gad7", "gad7_for_risk", timedelta(days=14), None),
]


@pytest.mark.parametrize(("kind", "fact", "window", "doubt"), WINDOWS)
def test_a_form_counts_up_to_its_window_and_not_a_second_longer(
    kind: str, fact: str, window: timedelta, doubt: Doubt | None, knowledge: Knowledge
) -> None:
    fresh, old = form(12, exactly(NOON - window)), form(12, exactly(NOON - window - SECOND))
    nothing = NONE if fact == "epds_current_score" else ABSENT

    def found(one: Form) -> Finding:
        forms: dict[str, tuple[Form, ...]] = dict.fromkeys(ALL, ()) | {kind: (one,)}
        return screen(forms, not_had=None, encounter_began=None, table=knowledge.screens, now=NOON)[fact]

    assert found(fresh) == shown(fresh)
    assert found(old) == (unknown(doubt, *old.evidence) if doubt else nothing)


# ---- Why no form counts

NOT_ONE = [
    (form(12, None), Doubt.NOT_DATED),
    (form(12, ago(days=200)), Doubt.TOO_OLD),
    (form(12, ago(days=-1)), Doubt.IN_THE_FUTURE),
    (begun(12, ago(days=-1)), Doubt.IN_THE_FUTURE),
    (begun(12, ago(hours=1)), Doubt.INCOMPLETE),
    (begun(12, None), Doubt.INCOMPLETE),
]


@pytest.mark.parametrize(("one", "doubt"), NOT_ONE)
def test_a_form_that_does_not_count_says_why(one: Form, doubt: Doubt, knowledge: Knowledge) -> None:
    found = screened(knowledge, one, phq9=(one,))

    for fact in ("epds_current", "epds_complete_for_risk", "phq9_complete_for_risk"):
        assert found[fact] == unknown(doubt, *one.evidence)


def test_of_several_that_do_not_count_the_latest_says_why(knowledge: Knowledge) -> None:
    old, left = form(12, ago(days=200), "old"), begun(5, ago(hours=1))

    assert screened(knowledge, old, left)["epds_current"] == unknown(Doubt.INCOMPLETE, *left.evidence)
    assert screened(knowledge, form(12, None, "undated"), old)["epds_current"] == unknown(Doubt.TOO_OLD, *old.evidence)


# ---- Which of several


def test_the_latest_complete_form_counts(knowledge: Knowledge) -> None:
    first, last = form(20, ago(hours=9), "first"), form(3, ago(hours=1), "last")

    for forms in ((first, last), (last, first)):
        found = screened(knowledge, *forms)
        assert found["epds_current"] == found["epds_for_risk"] == shown(last)
        assert found["epds_conflict"] == ABSENT


def test_of_one_instant_the_one_issued_last_counts(knowledge: Knowledge) -> None:
    first = form(20, ago(hours=1), "first", issued="2026-11-23T11:01:00Z")
    last = form(3, ago(hours=1), "last", issued="2026-11-23T11:02:00Z")

    assert screened(knowledge, last, first)["epds_current"] == shown(last)


def test_of_forms_that_tie_the_higher_counts_and_they_conflict(knowledge: Knowledge) -> None:
    low, high = form(3, ago(hours=1), "low"), form(20, ago(hours=1), "high")

    for forms in ((low, high), (high, low)):
        found = screened(knowledge, *forms)
        assert found["epds_current"] == found["epds_current_score"] == shown(high)
        assert found["epds_conflict"] == present(*(e for one in forms for e in one.evidence))


def test_a_form_that_contradicts_itself_conflicts_while_it_is_the_current_one(knowledge: Knowledge) -> None:
    clash, later = form(12, ago(hours=2), conflict=True), form(9, ago(hours=1), "later")

    assert screened(knowledge, clash)["epds_conflict"] == present(*clash.evidence)
    assert screened(knowledge, clash, later)["epds_conflict"] == ABSENT
    assert screened(knowledge, replace(clash, at=ago(days=8)))["epds_conflict"] == ABSENT
    assert screened(knowledge, replace(clash, complete=False))["epds_conflict"] == ABSENT
    assert screened(knowledge, replace(clash, at=None))["epds_conflict"] == ABSENT


# ---- A form that was begun and left may only raise


def test_a_lone_partial_form_is_a_lower_bound(knowledge: Knowledge) -> None:
    for left in (begun(11, ago(hours=1)), begun(11, None), begun(11, ago(days=90))):
        assert screened(knowledge, left)["epds_for_risk"] == shown(left, incomplete=True)
    assert screened(knowledge, begun(11, ago(days=90, seconds=1)))["epds_for_risk"] == ABSENT
    assert screened(knowledge, phq9=(begun(11, ago(days=15)),))["phq9_for_risk"] == ABSENT


def test_a_partial_form_raises_an_earlier_whole_one_and_never_lowers_it(knowledge: Knowledge) -> None:
    whole = form(9, ago(hours=5), "whole")
    higher, lower = begun(14, ago(hours=1), "higher"), begun(2, ago(hours=1), "lower")

    assert screened(knowledge, whole, higher)["epds_for_risk"] == shown(higher)
    assert screened(knowledge, whole, lower)["epds_for_risk"] == shown(whole)
    assert screened(knowledge, whole, higher)["epds_current"] == shown(whole)


def test_a_partial_form_of_before_raises_nothing(knowledge: Knowledge) -> None:
    whole = form(9, ago(hours=5), "whole")

    assert screened(knowledge, whole, begun(14, ago(hours=6)))["epds_for_risk"] == shown(whole)
    of_the_same_instant = begun(14, ago(hours=5))
    assert screened(knowledge, whole, of_the_same_instant)["epds_for_risk"] == shown(of_the_same_instant)


def test_of_two_equal_scores_the_whole_form_is_shown(knowledge: Knowledge) -> None:
    whole, left = form(9, ago(hours=5), "whole"), begun(9, ago(hours=1))

    assert screened(knowledge, left, whole)["epds_for_risk"] == shown(whole)


def test_of_two_equal_partial_scores_the_later_is_shown(knowledge: Knowledge) -> None:
    first, last = begun(9, ago(hours=5), "first"), begun(9, ago(hours=1), "last")

    for forms in ((first, last), (last, first)):
        assert screened(knowledge, *forms)["epds_for_risk"] == shown(last, incomplete=True)


def test_a_form_that_is_dated_ahead_leaves_the_risk_unknown(knowledge: Knowledge) -> None:
    for ahead in (form(12, ago(days=-1)), begun(12, ago(days=-1))):
        found = screened(knowledge, ahead, phq9=(ahead,), gad7=(ahead,))
        for fact in ("epds_for_risk", "phq9_for_risk", "gad7_for_risk", "epds_current_score"):
            assert found[fact] == unknown(Doubt.IN_THE_FUTURE, *ahead.evidence)


# ---- A date that does not say which form is the latest


def of_day(text: str) -> Moment:
    first = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Moment(first, first + timedelta(days=1), Precision.DAY, text)


NOVEMBER = Moment(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), Precision.MONTH, "2026-11")
OCTOBER = Moment(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), Precision.MONTH, "2026-10")
MAYBE_LATER = [
    pytest.param(None, id="undated"),
    pytest.param(of_day("2026-11-23"), id="of the same day"),
    pytest.param(NOVEMBER, id="of the same month"),
    pytest.param(ago(hours=-1), id="ahead of the clock"),
]
SURELY_BEFORE = [
    pytest.param(of_day("2026-11-22"), id="of the day before"),
    pytest.param(OCTOBER, id="of the month before"),
    pytest.param(ago(hours=5, seconds=1), id="a second before"),
]


@pytest.mark.parametrize("at", MAYBE_LATER)
def test_a_whole_form_that_may_be_the_latest_raises_and_conflicts(at: Moment | None, knowledge: Knowledge) -> None:
    sure, vague = form(12, ago(hours=5), "sure"), form(21, at, "vague")

    for forms in ((sure, vague), (vague, sure)):
        found = screened(knowledge, *forms, phq9=forms, gad7=forms)
        for fact in ("epds_current", "epds_current_score", "epds_for_risk", "phq9_for_risk", "gad7_for_risk"):
            assert found[fact] == shown(vague), fact
        assert found["epds_conflict"] == present(*(e for one in forms for e in one.evidence))


@pytest.mark.parametrize("at", MAYBE_LATER)
def test_a_whole_form_that_may_be_the_latest_never_lowers(at: Moment | None, knowledge: Knowledge) -> None:
    sure, vague = form(12, ago(hours=5), "sure"), form(3, at, "vague")

    found = screened(knowledge, sure, vague)

    assert found["epds_current"] == found["epds_for_risk"] == shown(sure)
    assert found["epds_conflict"] == present(*sure.evidence, *vague.evidence)


@pytest.mark.parametrize("at", SURELY_BEFORE)
def test_a_whole_form_that_was_surely_before_says_nothing(at: Moment, knowledge: Knowledge) -> None:
    sure, before = form(12, ago(hours=5), "sure"), form(21, at, "before")

    found = screened(knowledge, before, sure)

    assert found["epds_current"] == found["epds_for_risk"] == shown(sure)
    assert found["epds_conflict"] == ABSENT


@pytest.mark.parametrize("at", MAYBE_LATER)
def test_forms_that_agree_do_not_conflict_whichever_is_the_latest(at: Moment | None, knowledge: Knowledge) -> None:
    assert screened(knowledge, form(12, ago(hours=5)), form(12, at, "vague"))["epds_conflict"] == ABSENT


@pytest.mark.parametrize("at", MAYBE_LATER)
def test_a_partial_form_that_may_be_later_raises_and_does_not_conflict(at: Moment | None, knowledge: Knowledge) -> None:
    whole, left = form(12, ago(hours=5), "whole"), begun(21, at)

    found = screened(knowledge, whole, left)

    assert found["epds_current_score"] == found["epds_for_risk"] == shown(left)
    assert found["epds_current"] == shown(whole)
    assert found["epds_conflict"] == ABSENT


def test_a_partial_form_of_an_hour_raises_a_whole_one_of_that_day(knowledge: Knowledge) -> None:
    whole, left = form(12, of_day("2026-11-23"), "whole"), begun(21, ago(hours=5))

    assert screened(knowledge, whole, left)["epds_current_score"] == shown(left)


@pytest.mark.parametrize("at", [None, NOVEMBER])
def test_a_lone_whole_form_that_is_vague_is_a_lower_bound(at: Moment | None, knowledge: Knowledge) -> None:
    vague = form(21, at)

    found = screened(knowledge, vague)

    assert found["epds_for_risk"] == found["epds_current_score"] == shown(vague, incomplete=True)
    assert found["epds_current"].state is State.UNKNOWN


def test_when_one_of_two_does_not_say_when_it_was_issued_they_tie(knowledge: Knowledge) -> None:
    said, silent = form(3, ago(hours=1), "said", issued="2026-11-23T11:01:00Z"), form(20, ago(hours=1), "silent")

    found = screened(knowledge, said, silent)

    assert found["epds_current"] == shown(silent)
    assert found["epds_conflict"] == present(*said.evidence, *silent.evidence)


# ---- A list that was cut short: a newer form may stand on a page that did not come


def test_of_a_list_that_was_cut_short_no_form_is_the_latest(knowledge: Knowledge) -> None:
    one = form(12, ago(hours=1))

    found = screened(knowledge, one, phq9=(one,), gad7=(one,), not_had=Doubt.INCOMPLETE)

    for fact in ("epds_current", "epds_complete_for_risk", "phq9_complete_for_risk"):
        assert found[fact] == unknown(Doubt.INCOMPLETE, *one.evidence)
    for fact in ("epds_current_score", "epds_for_risk", "phq9_for_risk", "gad7_for_risk"):
        assert found[fact] == shown(one, incomplete=True)
    assert found["epds_self_harm"] == replace(answered(0, one), incomplete=True)


def test_what_came_of_a_place_that_did_not_answer_still_counts(knowledge: Knowledge) -> None:
    """Many EHRs hold no QuestionnaireResponses at all: her EPDS is among the Observations."""
    one = form(12, ago(hours=1))

    assert screened(knowledge, one, not_had=Doubt.NOT_RECEIVED)["epds_current"] == shown(one)


# ---- The answer about self-harm


def answered(score: int, one: Form) -> Finding:
    evidence = tuple(Evidence(e.reference, str(score), "{score}", e.date) for e in one.evidence)
    return Finding(State.PRESENT, evidence, values=(score,), at=one.at)


def test_the_highest_answer_of_the_window_counts_whole_or_not(knowledge: Knowledge) -> None:
    whole = form(9, ago(hours=1), "whole", self_harm=0)
    left = begun(4, ago(days=14), "left", self_harm=2)

    for forms in ((whole, left), (left, whole)):
        found = screened(knowledge, *forms, phq9=forms)
        assert found["epds_self_harm"] == found["phq9_self_harm"] == answered(2, left)
    assert screened(knowledge, whole)["epds_self_harm"] == answered(0, whole)
    assert screened(knowledge, whole, replace(left, at=ago(days=14, seconds=1)))["epds_self_harm"] == answered(0, whole)


def test_an_answer_that_is_undated_or_dated_ahead_still_warns(knowledge: Knowledge) -> None:
    for at in (None, ago(days=-3)):
        one = form(9, at, self_harm=1)
        assert screened(knowledge, one)["epds_self_harm"] == answered(1, one)


def test_a_later_no_does_not_take_back_an_earlier_yes(knowledge: Knowledge) -> None:
    said, denied = form(9, ago(hours=5), "said", self_harm=1), form(9, ago(hours=1), "denied", self_harm=0)

    for forms in ((said, denied), (denied, said)):
        assert screened(knowledge, *forms)["epds_self_harm"] == answered(1, said)


def test_of_two_equal_answers_the_later_is_shown(knowledge: Knowledge) -> None:
    first, last = form(9, ago(hours=5), "first", self_harm=1), form(9, ago(hours=1), "last", self_harm=1)

    for forms in ((first, last), (last, first)):
        assert screened(knowledge, *forms)["epds_self_harm"] == answered(1, last)


def test_an_item_that_was_not_answered_is_unknown(knowledge: Knowledge) -> None:
    silent = form(9, ago(hours=1), self_harm=None)

    assert screened(knowledge, silent)["epds_self_harm"] == unknown(Doubt.INCOMPLETE, *silent.evidence)
    assert screened(knowledge, replace(silent, at=ago(days=15)))["epds_self_harm"] == ABSENT


# ---- Since she was admitted


def test_a_form_of_this_stay_counts_however_long_it_is(knowledge: Knowledge) -> None:
    one = form(9, ago(days=20))

    assert screened(knowledge, one, began=ago(days=20))["epds_this_encounter"] == shown(one)
    assert screened(knowledge, one, began=ago(days=20, seconds=-1))["epds_this_encounter"] == NONE
    assert screened(knowledge, one, began=None)["epds_this_encounter"] == NONE
    assert screened(knowledge, one, began=ago(days=30))["epds_this_encounter"] == shown(one)


def test_a_form_that_may_be_from_before_this_stay_does_not_count(knowledge: Knowledge) -> None:
    began = NOON - timedelta(hours=9)
    day = Moment(began.replace(hour=0), began.replace(hour=0) + timedelta(days=1), Precision.DAY, "2026-11-23")
    stay = exactly(began)

    assert screened(knowledge, form(9, day), began=stay)["epds_this_encounter"] == NONE
    assert screened(knowledge, form(9, None), began=stay)["epds_this_encounter"] == NONE
    assert screened(knowledge, begun(9, ago(hours=1)), began=stay)["epds_this_encounter"] == NONE


def test_a_short_stay_does_not_shorten_the_window(knowledge: Knowledge) -> None:
    began = Moment(NOON - timedelta(hours=1), NOON, Precision.TIME, "an hour ago")
    one = form(9, ago(hours=1))

    assert screened(knowledge, one, began=began)["epds_this_encounter"] == shown(one)
