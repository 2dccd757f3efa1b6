"""Whatever an EHR reports of a card: what can be kept is kept, and what cannot is named."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thoroughly import thoroughly

from cds_service.errors import RequestUnreadable
from cds_service.hooks.feedback import MOST_ITEMS, Item, Reason, parse_feedback

CARD = "9368d37b-283f-44a0-93ea-547cebab93ed"
AT = "2026-11-23T12:00:00Z"
CANARY = "Jane Roe hears voices"
EPIC = "com.epic.cdshooks.feedback.overrideReason."
REFUSES = {"code": "patient-refuses", "system": "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"}
KNOWN = Reason(REFUSES["code"], REFUSES["system"])


def overridden(**more: Any) -> Any:
    return {"card": CARD, "outcome": "overridden", "outcomeTimestamp": AT, **more}


def accepted(*suggestions: Any, **more: Any) -> Any:
    return {"card": CARD, "outcome": "accepted", "acceptedSuggestions": list(suggestions), **more}


def kept(*items: Any) -> tuple[Item, ...]:
    found, refused = parse_feedback({"feedback": list(items)})
    assert refused == ()
    return found


TWENTY_TIMES_FIFTY = [accepted(*[{"id": f"s{s}"} for s in range(50)], card=f"c{c}") for c in range(20)]


# ---- What is kept


@pytest.mark.conforms("B-1")
def test_an_accepted_suggestion_and_an_overridden_card() -> None:
    taken, refused = kept(accepted({"id": "s1"}, outcomeTimestamp=AT), overridden())
    assert taken == Item(CARD, "accepted", "s1", datetime(2026, 11, 23, 12, tzinfo=UTC))
    assert refused == Item(CARD, "overridden", None, datetime(2026, 11, 23, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("listed", "suggestions"),
    [
        ([{"id": "s1"}, {"id": "s2"}], ["s1", "s2"]),
        ([{"id": "s1"}, {"id": "s1"}], ["s1"]),
        (["s1"], ["s1"]),
        ([], [None]),
        (None, [None]),
    ],
)
def test_each_suggestion_counts_once_and_an_acceptance_without_one_counts_too(
    listed: Any, suggestions: list[str | None]
) -> None:
    found = kept({"card": CARD, "outcome": "accepted", "acceptedSuggestions": listed})
    assert [item.suggestion for item in found] == suggestions


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23T12:00:00Z", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("2026-11-23t12:00:00.250z", datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-11-23T14:00:00+02:00", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("2026-11-23T12:00:00", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        (1763899200, None),
        (None, None),
    ],
)
def test_what_was_done_counts_without_a_time_that_can_be_read(text: Any, at: datetime | None) -> None:
    (item,) = kept(overridden(outcomeTimestamp=text))
    assert item.at == at


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"overrideReason": {"reason": {**REFUSES, "display": "She declines"}}}, KNOWN),
        ({"overrideReason": {"reason": REFUSES}}, KNOWN),  # the public Sandbox sends no display
        ({"overrideReasons": {"reason": REFUSES}}, KNOWN),  # Epic
        ({"overrideReasons": [{"reason": REFUSES}, {"reason": {"code": "other"}}]}, KNOWN),
        ({"overrideReason": {"reason": {"coding": [REFUSES]}}}, KNOWN),
        ({"overrideReason": REFUSES}, KNOWN),
        ({"overrideReason": {"reason": "patient-refuses"}}, Reason("patient-refuses")),
        ({"overrideReason": "patient-refuses"}, Reason("patient-refuses")),
        ({"overrideReason": {"reason": {"code": 7, "system": "urn:x"}}}, Reason("7", "urn:x")),
        ({"extension": {f"{EPIC}code": "patient-refuses", f"{EPIC}system": REFUSES["system"]}}, KNOWN),
        (
            {"overrideReasons": {"extension": {f"{EPIC}code": "7", f"{EPIC}userComment": CANARY}}},
            Reason("7", None, CANARY),
        ),
        (  # Epic's tutorial sends a number of Epic's own and its words, and no code
            {"overrideReasons": {"extension": {f"{EPIC}reasonCategory": "45", f"{EPIC}reasonTitle": "Not now"}}},
            Reason("45", f"{EPIC}reasonCategory"),
        ),
        (
            {"overrideReasons": {"extension": {f"{EPIC}reasonCategory": 45}, "userComment": CANARY}},
            Reason("45", f"{EPIC}reasonCategory", CANARY),
        ),
        ({"extension": {f"{EPIC}reasonCategory": "45", f"{EPIC}code": "7"}}, Reason("7")),
        ({"overrideReason": {"userComment": CANARY}}, Reason(comment=CANARY)),
        ({"overrideReason": {"reason": REFUSES, "userComment": CANARY}}, replace(KNOWN, comment=CANARY)),
        ({"overrideReason": {"reason": CANARY}}, Reason(comment=CANARY)),
        ({"overrideReason": {"reason": {"code": "x" * 256}}}, Reason("x" * 256)),
        ({"overrideReason": {"reason": {"code": "x" * 257}}}, Reason(comment="x" * 257)),
        ({"overrideReason": {"userComment": "x" * 10_000}}, Reason(comment="x" * 10_000)),
        ({"overrideReason": {"userComment": "x" * 10_001}}, Reason()),
        ({"overrideReason": {"reason": {"code": True, "system": []}}}, Reason()),
        ({"overrideReason": {"reason": {"code": "a\0b"}}}, Reason()),
        ({"overrideReason": [[]]}, Reason()),
        ({"overrideReason": None, "extension": []}, Reason()),
        ({}, Reason()),
    ],
)
def test_the_reason_is_found_wherever_it_was_put(more: Any, reason: Reason) -> None:
    (item,) = kept(overridden(**more))
    assert item.reason == reason


def test_a_comment_is_in_no_repr() -> None:
    assert CANARY not in repr(kept(overridden(overrideReason={"userComment": CANARY})))


# ---- What is refused


@pytest.mark.conforms("B-2")
@pytest.mark.parametrize(
    ("item", "because"),
    [
        ("x", "it is not an object"),
        ({"outcome": "accepted"}, "card is missing"),
        ({"card": " ", "outcome": "accepted"}, "card is missing"),
        ({"card": 4711, "outcome": "accepted"}, "card is missing"),
        ({"card": "x" * 257, "outcome": "accepted"}, "card is longer than 256 characters"),
        ({"card": "a\nb", "outcome": "accepted"}, "one that cannot be printed"),
        ({"card": CARD}, "outcome is neither"),
        ({"card": CARD, "outcome": CANARY}, "outcome is neither"),
        (accepted({"id": None}), "acceptedSuggestions.id is missing"),
        ({"card": CARD, "outcome": "accepted", "acceptedSuggestions": "s1"}, "acceptedSuggestions is not a list"),
        (accepted(*[{"id": f"s{n}"} for n in range(51)]), "more than 50 items"),
    ],
)
def test_a_bad_item_costs_itself_alone_and_is_named_without_its_values(item: Any, because: str) -> None:
    found, refused = parse_feedback({"feedback": [overridden(), item, overridden(card="another")]})
    assert [one.card for one in found] == [CARD, "another"]
    ((place, why),) = [(one.item, one.because) for one in refused]
    assert (place, because in why, CANARY in why) == (1, True, False)


@pytest.mark.parametrize(
    ("body", "says", "status"),
    [
        ([], "the body is not an object", 400),
        ({}, "feedback is missing", 400),
        ({"feedback": None}, "feedback is missing", 400),
        ({"feedback": {}}, "feedback is not a list", 400),
        ({"feedback": []}, "feedback is empty", 400),
        ({"feedback": [{"card": CANARY}]}, "feedback[0]: outcome is neither", 400),
        ({"feedback": [overridden()] * (MOST_ITEMS + 1)}, "more than 1000 items", 413),
        ({"feedback": [*TWENTY_TIMES_FIFTY, overridden()]}, "more than 1000 outcomes", 413),
    ],
)
def test_a_body_of_which_nothing_can_be_kept_is_refused(body: Any, says: str, status: int) -> None:
    with pytest.raises(RequestUnreadable) as caught:
        parse_feedback(body)
    assert says in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.status == status


def test_a_thousand_items_and_a_thousand_outcomes_are_taken() -> None:
    assert len(kept(*[overridden(card=f"c{n}") for n in range(MOST_ITEMS)])) == MOST_ITEMS
    assert len(kept(*TWENTY_TIMES_FIFTY)) == MOST_ITEMS


def test_a_card_id_need_be_no_uuid() -> None:
    assert kept(overridden(card="x" * 256))[0].card == "x" * 256


# ---- Whatever comes

MEMBERS = [
    *("card", "outcome", "outcomeTimestamp", "acceptedSuggestions", "id"),
    *("overrideReason", "overrideReasons", "reason", "userComment", "coding", "code", "system", "extension"),
    *(f"{EPIC}{name}" for name in ("code", "system", "userComment", "reasonCategory", "reasonTitle")),
]
ODD = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=5)
JUNK = st.recursive(
    ODD | st.just("accepted"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=6,
)
GOOD = st.builds(
    lambda card, outcome, accepted, more: {**more, "card": card, "outcome": outcome, "acceptedSuggestions": accepted},
    st.sampled_from(["c1", "c2", "\u8457", "x" * 256]),
    st.sampled_from(["accepted", "overridden"]),
    st.lists(st.sampled_from([{"id": "s1"}, {"id": "s2"}, {"id": "s3"}]), max_size=4) | st.none(),
    st.dictionaries(st.sampled_from(MEMBERS), JUNK, max_size=2),
)


@thoroughly
@given(JUNK)
def test_whatever_the_body_is_it_is_read_or_refused_in_words(body: Any) -> None:
    for given_body in (body, {"feedback": body}):
        with contextlib.suppress(RequestUnreadable):
            found, _ = parse_feedback(given_body)
            assert found


@thoroughly
@given(st.lists(st.tuples(st.booleans(), GOOD, JUNK), min_size=1, max_size=4), GOOD)
def test_no_junk_costs_a_good_item_and_each_item_is_kept_or_named(rows: list[tuple[bool, Any, Any]], last: Any) -> None:
    listed = [*(good if is_good else junk for is_good, good, junk in rows), last]
    found, refused = parse_feedback({"feedback": listed})
    named = [one.item for one in refused]
    assert named == sorted(set(named))
    assert not {place for place, (is_good, *_) in enumerate([*rows, (True,)]) if is_good} & set(named)
    expected = [
        (item["card"], item["outcome"].strip().lower(), suggestion)
        for place, item in enumerate(listed)
        if place not in named
        for suggestion in suggestions(item)
    ]
    assert [(one.card, one.outcome, one.suggestion) for one in found] == expected


def suggestions(item: Any) -> list[str | None]:
    """What an item that was kept must have given: one for each suggestion that was accepted, and at least one."""
    accepted = item.get("acceptedSuggestions") or [] if item["outcome"].strip().lower() == "accepted" else []
    ids = [one["id"] if isinstance(one, dict) else one for one in accepted]
    return list(dict.fromkeys(ids)) or [None]
