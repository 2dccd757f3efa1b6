"""What is read of a questionnaire besides its score: when it was filled in, by whom, and which entry shows it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from encoding import EPDS_ITEMS
from test_shapes import (
    ANSWERS,
    EPDS_CODE,
    PHQ9,
    ROWS,
    URL,
    answer,
    by_link,
    item,
    lettered,
    observation,
    panel,
    question,
    questionnaire,
    response,
    told,
    total,
)
from test_shapes import Row as Shape

from cds_service.clinical.facts import Evidence
from cds_service.clinical.moment import Moment, Precision
from cds_service.clinical.screening import Form
from cds_service.ehr.answers import Had
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.observations import observe
from cds_service.ehr.reading.screens import forms_had, read_forms, wanted_questionnaires
from cds_service.ehr.reading.view import View
from cds_service.ehr.units import Units
from cds_service.ehr.wanted import Wanted
from cds_service.knowledge import Knowledge

Json = dict[str, Any]
Look = Callable[..., View]

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HER, HIM = {"reference": "Patient/her"}, {"reference": "Patient/him"}
ELEVEN = "2026-11-23T11:00:00Z"
HOUR = timedelta(hours=1)


def instant(text: str) -> Moment:
    at = datetime.fromisoformat(text)
    return Moment(at, at, Precision.TIME, text)


def day(text: str) -> Moment:
    first = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return Moment(first, first + timedelta(days=1), Precision.DAY, text)


@pytest.fixture(scope="module")
def look(knowledge: Knowledge) -> Look:
    """A chart of these entries at noon, each list received whole unless it is said otherwise."""
    units, asked = Units(knowledge.units), Wanted.by(knowledge)

    def view(*entries: Json, **had: Had) -> View:
        kinds = {one["resourceType"] for one in entries}
        chart = Chart(
            patient={"resourceType": "Patient", "id": "her"},
            encounter=None,
            by_type={kind: tuple(one for one in entries if one["resourceType"] == kind) for kind in kinds},
            had={query.key: Had.WHOLE for query in asked.queries} | had,
            drafts=(),
            selected=frozenset(),
            set_aside=(),
        )
        return View(chart, knowledge, units, asked, NOON, UTC)

    return view


def read(view: View, of: str = "epds") -> tuple[Form, ...]:
    return read_forms(view, observe(view))[of]


def named(entry: Json) -> str:
    return f"{entry['resourceType']}/{entry['id']}"


# What is about somebody else does not come as far as this: the chart leaves it out.
HERS = [row for row in ROWS if all(one.get("subject", HER) == HER for one in row.entries)]


@pytest.mark.parametrize("row", HERS, ids=str)
def test_in_every_shape_a_form_is_shown_by_one_of_its_entries_with_its_own_date(row: Shape, look: Look) -> None:
    forms = read(look(*row.entries), row.of)
    dates = {named(one): one.get("effectiveDateTime") or one.get("authored") for one in row.entries}

    assert tuple(told(form) for form in forms) == row.forms
    for form in forms:
        (shown,) = form.evidence
        assert shown.reference in dates
        assert shown.date == (form.at.text if form.at else None)
        assert shown.date in dates.values()
        assert (shown.value, shown.unit) in {(str(form.score), "{score}"), (None, None)}


# ---- Whole forms, to the last part


def form(
    score: int = 13,
    *,
    answered: int = 1,
    harm: int | None = 1,
    at: str | None = ELEVEN,
    by: str = "Observation/item-10",
    shown: bool = True,
    complete: bool = True,
    conflict: bool = False,
    issued: str = "",
) -> Form:
    when = None if at is None else (instant(at) if "T" in at else day(at))
    evidence = Evidence(by, str(score) if shown else None, "{score}" if shown else None, at)
    return Form(score, complete, answered, harm, conflict, when, issued, (evidence,))


def at(entry: Json, text: str | None, **more: Any) -> Json:
    dated = {**entry, **({"effectiveDateTime": text} if text else {}), **more}
    if text is None:
        del dated["effectiveDateTime"]
    return dated


def answered_by(who: Json | None, **more: Any) -> Json:
    return by_link("epds.q{n}", **({"source": who} if who else {}), **more)


ITEM_10, TOTAL = item(10), total()
DECLINED = {"coding": [{"code": "asked-declined"}]}
RESPONSE = "QuestionnaireResponse/form"
MINUTES_LATER = ["2026-11-23T11:10:00Z", "2026-11-23T11:10:01Z"]
READ: list[tuple[str, list[Json], tuple[Form, ...]]] = [
    ("a total and item 10", [TOTAL, ITEM_10], (form(),)),
    ("a total alone", [TOTAL], (form(answered=0, harm=None, complete=False, by="Observation/total"),)),
    ("item 10 alone", [ITEM_10], (form(1, complete=False),)),
    ("ten minutes apart", [TOTAL, at(ITEM_10, MINUTES_LATER[0])], (form(at=MINUTES_LATER[0]),)),
    (
        "more than ten minutes apart",
        [TOTAL, at(ITEM_10, MINUTES_LATER[1])],
        (
            form(answered=0, harm=None, complete=False, by="Observation/total"),
            form(1, complete=False, at=MINUTES_LATER[1]),
        ),
    ),
    (
        "of one day, and of an hour of it",
        [at(TOTAL, "2026-11-23"), at(ITEM_10, "2026-11-23T00:05:00Z")],
        (
            form(1, complete=False, at="2026-11-23T00:05:00Z"),
            form(answered=0, harm=None, complete=False, by="Observation/total", at="2026-11-23"),
        ),
    ),
    (
        "of two encounters",
        [
            at(TOTAL, ELEVEN, encounter={"reference": "Encounter/a"}),
            at(ITEM_10, ELEVEN, encounter={"reference": "Encounter/b"}),
        ],
        (
            form(1, complete=False),
            form(answered=0, harm=None, complete=False, by="Observation/total"),
        ),
    ),
    (
        "of one encounter",
        [
            at(TOTAL, ELEVEN, encounter={"reference": "Encounter/a"}),
            at(ITEM_10, ELEVEN, encounter={"reference": "Encounter/a"}),
        ],
        (form(),),
    ),
    (
        "undated, both",
        [at(TOTAL, None), at(ITEM_10, None)],
        (
            form(1, complete=False, at=None),
            form(answered=0, harm=None, complete=False, by="Observation/total", at=None),
        ),
    ),
    (
        "undated, held together by a panel",
        [at(TOTAL, None), at(ITEM_10, None), panel(TOTAL, ITEM_10)],
        (form(),),
    ),
    (
        "held together by a panel, hours apart",
        [TOTAL, at(ITEM_10, "2026-11-23T08:00:00Z"), panel(TOTAL, ITEM_10)],
        (form(),),
    ),
    (
        "issued, the last of both",
        [at(TOTAL, ELEVEN, issued="2026-11-23T11:05:00Z"), at(ITEM_10, ELEVEN, issued="2026-11-23T11:04:00Z")],
        (form(issued="2026-11-23T11:05:00Z"),),
    ),
    ("two totals", [TOTAL, total(valueInteger=12) | {"id": "other"}, ITEM_10], (form(conflict=True),)),
    ("a total below its items", [total(valueInteger=0), ITEM_10], (form(1, conflict=True),)),
    ("a total of its one item and no more", [total(valueInteger=1), ITEM_10], (form(1),)),
    ("a total that the items can still make", [total(valueInteger=28), ITEM_10], (form(28),)),
    ("a total that they cannot", [total(valueInteger=29), ITEM_10], (form(29, conflict=True),)),
    (
        "a total of 30",
        [total(valueInteger=30)],
        (form(30, answered=0, harm=None, complete=False, by="Observation/total"),),
    ),
    (
        "a total of 31",
        [total(valueInteger=31)],
        (form(0, answered=0, harm=None, complete=False, by="Observation/total", shown=False),),
    ),
    ("half a total", [total(valueDecimal=12.5), ITEM_10], (form(1, complete=False, conflict=True),)),
    ("an item of 4", [TOTAL, item(10, valueInteger=4)], (form(answered=0, harm=None, complete=False),)),
    ("an item of 3", [TOTAL, item(10, valueInteger=3)], (form(harm=3),)),
    ("an item of -1", [TOTAL, item(10, valueInteger=-1)], (form(answered=0, harm=None, complete=False),)),
    (
        "an item of 0 beside one that is none",
        [TOTAL, item(10, valueInteger=0), item(10, valueInteger=9) | {"id": "other"}],
        (form(answered=0, harm=None, complete=False),),
    ),
    (
        "one item twice, the higher counts",
        [TOTAL, item(10, valueInteger=2), item(10, valueInteger=1) | {"id": "other"}],
        (form(harm=2, conflict=True),),
    ),
    ("one item twice, alike", [TOTAL, ITEM_10, ITEM_10 | {"id": "other"}], (form(),)),
    ("all items", [item(n) for n in ANSWERS], (form(answered=10, by="Observation/item-1"),)),
    (
        "all but one",
        [item(n) for n in ANSWERS if n != 4],
        (form(10, answered=9, by="Observation/item-1", complete=False),),
    ),
    ("her own, by herself", [answered_by(HER)], (form(answered=10, by=RESPONSE),)),
    ("her own, by nobody said", [answered_by(None)], (form(answered=10, by=RESPONSE),)),
    (
        "by her, under a whole address",
        [answered_by({"reference": "https://ehr.example.org/fhir/Patient/her"})],
        (form(answered=10, by=RESPONSE),),
    ),
    ("by her midwife", [answered_by({"reference": "Practitioner/midwife"})], (form(answered=10, by=RESPONSE),)),
    ("by him", [answered_by(HIM)], ()),
    ("by a relative", [answered_by({"reference": "RelatedPerson/him"})], ()),
    (
        "by a relative inside",
        [answered_by({"reference": "#r"}, contained=[{"resourceType": "RelatedPerson", "id": "r"}])],
        (),
    ),
    (
        "by a midwife inside",
        [answered_by({"reference": "#r"}, contained=[{"resourceType": "Practitioner", "id": "r"}])],
        (form(answered=10, by=RESPONSE),),
    ),
    ("by nobody inside", [answered_by({"reference": "#r"})], (form(answered=10, by=RESPONSE, complete=False),)),
    ("by a relative of a bundle", [answered_by({"reference": "urn:uuid:1", "type": "RelatedPerson"})], ()),
    (
        "by somebody of a bundle",
        [answered_by({"reference": "urn:uuid:1"})],
        (form(answered=10, by=RESPONSE, complete=False),),
    ),
    ("completed", [answered_by(HER, status="completed")], (form(answered=10, by=RESPONSE),)),
    ("amended", [answered_by(HER, status="amended")], (form(answered=10, by=RESPONSE),)),
    ("in progress", [answered_by(HER, status="in-progress")], (form(answered=10, by=RESPONSE, complete=False),)),
    ("stopped", [answered_by(HER, status="stopped")], (form(answered=10, by=RESPONSE, complete=False),)),
    ("in error", [answered_by(HER, status="entered-in-error")], ()),
    (
        "two responses",
        [answered_by(HER), answered_by(HER, id="g", authored="2026-11-23T11:01:00Z")],
        (form(answered=10, by=RESPONSE), form(answered=10, by="QuestionnaireResponse/g", at="2026-11-23T11:01:00Z")),
    ),
    ("undated", [by_link("epds.q{n}", authored=None)], (form(answered=10, by=RESPONSE, at=None),)),
    (
        "a response, and the total that was taken from it",
        [answered_by(HER), total(derivedFrom=[{"reference": RESPONSE}], valueInteger=13)],
        (form(answered=10, by="Observation/total"),),
    ),
    (
        "his response, and the total that was taken from it",
        [answered_by(HIM), total(derivedFrom=[{"reference": RESPONSE}], valueInteger=13)],
        (),
    ),
    ("a total that he told", [total(valueInteger=13, performer=[HIM])], ()),
    (
        "a total that her midwife told",
        [total(valueInteger=13, performer=[{"reference": "Practitioner/midwife"}]), ITEM_10],
        (form(),),
    ),
    (
        "item 10 of 0, and why it was not answered",
        [TOTAL, item(10, valueInteger=0, dataAbsentReason=DECLINED)],
        (form(answered=0, harm=None, complete=False),),
    ),
    (
        "item 10 of 1, and why it was not answered: it warns",
        [TOTAL, item(10, valueInteger=1, dataAbsentReason=DECLINED)],
        (form(complete=False),),
    ),
    (
        "a total, and why there is none: it may raise",
        [total(valueInteger=13, dataAbsentReason=DECLINED), ITEM_10],
        (form(complete=False),),
    ),
    (
        "another item than 10, and why it was not answered, beside a total",
        [TOTAL, item(4, valueInteger=3, dataAbsentReason=DECLINED), ITEM_10],
        (form(answered=2),),
    ),
    (
        "all items, one of them beside the reason why it was not answered",
        [*(item(n) for n in ANSWERS if n != 4), item(4, valueInteger=3, dataAbsentReason=DECLINED)],
        (form(answered=10, by="Observation/item-1", complete=False),),
    ),
    (
        "a response, and the total that was taken from it, in error",
        [answered_by(HER, status="entered-in-error"), total(derivedFrom=[{"reference": RESPONSE}])],
        (),
    ),
    ("a preliminary total", [total(valueInteger=13, status="preliminary")], ()),
    (
        "a total without a value",
        [observation("total", {"coding": [{"system": "http://loinc.org", "code": "99046-5"}]})],
        (),
    ),
]


@pytest.mark.parametrize(("entries", "forms"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_form_is_read_whole(entries: list[Json], forms: tuple[Form, ...], look: Look) -> None:
    assert read(look(*entries)) == forms
    assert read(look(*reversed(entries))) == forms


def test_a_form_that_is_known_and_cannot_be_read_is_there(look: Look) -> None:
    asked = questionnaire(**EPDS_CODE)
    unread = response({"linkId": "x", "answer": [{"valueString": "tired"}]})

    assert read(look(unread, asked)) == (
        form(0, answered=0, harm=None, complete=False, shown=False, by=RESPONSE),
    )  # fmt: skip
    assert read(look(response({"linkId": "x"}), asked)) == ()
    assert read(look(unread)) == ()


def test_what_nobody_knows_by_name_holds_nothing_together(look: Look) -> None:
    members = [{"reference": "Observation/total"}, {"reference": "Observation/item-10"}]
    nameless = observation("panel", {"text": "Mood"}, hasMember=members)

    assert len(read(look(at(TOTAL, None), at(ITEM_10, None), nameless))) == 2


def test_a_total_that_is_a_code_is_no_total(look: Look) -> None:
    unread = form(0, answered=0, harm=None, complete=False, shown=False, by="Observation/total")
    coded = response(answer("epds.total", valueCoding={"code": "9"}))

    assert read(look(total(valueCodeableConcept={"coding": [{"code": "9"}]}))) == (unread,)
    assert [one.score for one in read(look(coded))] == [0]


def test_of_two_answers_to_one_question_neither_counts(look: Look) -> None:
    whole = by_link("epds.q{n}")
    whole["item"][9]["answer"] = [{"valueInteger": 1}, {"valueInteger": 1}]

    (read_,) = read(look(whole))

    assert (read_.score, read_.answered, read_.self_harm, read_.complete) == (12, 9, None, False)


def test_how_the_forms_were_had_is_the_worse_of_their_two_places_and_cut_short_weighs_most(look: Look) -> None:
    assert forms_had(look()) is Had.WHOLE
    assert forms_had(look(screens=Had.CUT_SHORT)) is Had.CUT_SHORT
    assert forms_had(look(screens=Had.CUT_SHORT, questionnaire_responses=Had.FAILED)) is Had.CUT_SHORT
    assert forms_had(look(screens=Had.RESTRICTED, questionnaire_responses=Had.CUT_SHORT)) is Had.CUT_SHORT
    assert forms_had(look(screens=Had.RESTRICTED, questionnaire_responses=Had.FAILED)) is Had.FAILED


def test_what_nobody_asked_for_was_not_asked(look: Look) -> None:
    assert look().had_for("nothing_that_is_asked") is Had.NOT_ASKED
    assert look().had_for("body_weight", "nothing_that_is_asked") is Had.WHOLE
    assert look(vital_signs=Had.CUT_SHORT).had_for("epds_total", "body_weight") is Had.CUT_SHORT


# ---- Which form a name names

NAMES = [
    ("EPDS", True),
    ("https://forms.example.org/Questionnaire/EPDS|2", True),
    ("https://epds.example.org/Questionnaire/mood", False),
    ("https://forms.example.org/fhir/epds-form", True),
    ("https://forms.example.org/epds/form", True),
    ("https://epds.example.org/form", False),
    ("https://forms.example.org/epds/a/form", False),
    ("EPDS-form-3", True),
    ("urn:epds:form", True),
    ("EdinburghPostnatalDepressionScale", True),
    ("edinburgh_postnatal_depression_scale", True),
    ("EPDS3", False),
    ("EPDS-3", False),
    ("EPDSPartner", False),
    ("EPDS-P", False),
    ("EPDS-father", False),
    ("Questionnaire/EPDS", True),
]


@pytest.mark.parametrize(("canonical", "epds"), NAMES)
def test_bare_numbers_are_the_items_of_the_form_that_its_canonical_names(
    canonical: str, epds: bool, look: Look
) -> None:
    forms = read(look(by_link("{n}", questionnaire=canonical)))

    assert [told(one).score for one in forms] == ([13] if epds else [])


LINKS = [
    ("q{n}", True), ("Q{nn}", True), ("/{n}", True), ("item{n}", True), ("epds.q{n}", True), ("question-x{n}", False),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "known"), LINKS)
def test_the_numbers_of_a_form_that_is_named_are_its_items(pattern: str, known: bool, look: Look) -> None:
    (form_,) = read(look(by_link(pattern, questionnaire=f"{URL}/EPDS")))

    assert form_.answered == (10 if known else 0)


def test_a_form_that_counts_from_0_or_beyond_its_last_item_is_not_read_by_its_numbers(look: Look) -> None:
    for more in ("0", "11"):
        counted = by_link("{n}", questionnaire=f"{URL}/EPDS")
        counted["item"].append({"linkId": more, "answer": [{"valueInteger": 1}]})
        assert [form_.answered for form_ in read(look(counted))] == [0]


def test_items_may_stand_in_groups_and_below_answers(look: Look) -> None:
    flat = by_link("epds.q{n}")["item"]
    grouped = response(
        {"linkId": "g", "item": flat[:5]}, {"linkId": "h", "answer": [{"valueString": "x", "item": flat[5:]}]}
    )

    assert [told(one).items for one in read(look(grouped))] == [10]


def test_the_codes_of_the_items_speak_before_their_numbers(look: Look) -> None:
    asked = questionnaire(
        *(
            {"linkId": f"{n}", "type": "integer", "code": [{"system": "http://loinc.org", "code": EPDS_ITEMS[10 - n]}]}
            for n in ANSWERS
        )
    )

    (form_,) = read(look(by_link("{n}"), asked))

    assert (form_.score, form_.self_harm) == (13, ANSWERS[1])


# ---- What the Questionnaire adds

NAMED = [
    ({"title": "EPDS"}, True),
    ({"name": "EdinburghPostnatalDepressionScale"}, True),
    ({"url": "https://forms.example.org/Questionnaire/EPDS"}, True),
    ({"title": "Mood"}, False),
    ({"title": "EPDS-P"}, False),
    ({"title": "EPDS for fathers"}, False),
]


@pytest.mark.parametrize(("more", "epds"), NAMED)
def test_a_questionnaire_tells_which_form_it_is(more: Json, epds: bool, look: Look) -> None:
    asked = questionnaire(*({"linkId": f"{n}", "type": "integer"} for n in ANSWERS), **{"title": None, **more})

    forms = read(look(by_link("{n}", questionnaire="Questionnaire/mood"), asked))

    assert [told(one).score for one in forms] == ([13] if epds else [])


def test_a_partners_form_is_not_hers_even_where_its_items_are_named(look: Look) -> None:
    assert len(read(look(by_link("epds.q{n}"), questionnaire(title="EPDS")))) == 1
    assert read(look(by_link("epds.q{n}"), questionnaire(title="EPDS Partner"))) == ()


def test_headings_are_no_items(look: Look) -> None:
    def answered(*more: Json) -> list[int]:
        plain = ({"linkId": f"{n}", "type": "integer"} for n in ANSWERS)
        return [one.answered for one in read(look(by_link("{n}"), questionnaire(*plain, *more, title="EPDS")))]

    assert answered({"linkId": "0", "type": "group"}, {"linkId": "11", "type": "display"}) == [10]
    assert answered({"linkId": "11", "type": "integer"}) == [0]
    assert answered({"linkId": "11"}) == [0]


def test_an_item_without_an_answer_is_not_counted(look: Look) -> None:
    counted = by_link("{n}", questionnaire=f"{URL}/EPDS")
    counted["item"].append({"linkId": "11"})

    assert [one.answered for one in read(look(counted))] == [10]


def opaque_answers(**more: Any) -> Json:
    return response(*(answer(f"{n}0", lettered(n, score)) for n, score in ANSWERS.items()), **more)


def test_a_canonical_may_point_into_the_questionnaire(look: Look) -> None:
    for canonical in (f"{URL}#part", f"{URL}|1.0#part"):
        forms = read(look(opaque_answers(questionnaire=canonical), questionnaire(version="1.0")))
        assert [one.score for one in forms] == [13], canonical


def test_a_questionnaire_that_should_stand_inside_and_does_not_costs_nothing(look: Look) -> None:
    (one,) = read(look(by_link("epds.q{n}", questionnaire="#lost")))

    assert (one.score, one.complete) == (13, True)


def test_of_the_versions_the_one_that_is_named_counts(look: Look) -> None:
    other = questionnaire(*(question(n, backwards=False, answerOption=[]) for n in ANSWERS), id="other", version="2")
    both = questionnaire(version="1.0"), other

    for version in ("1.0", "1.0#part"):
        assert [one.score for one in read(look(opaque_answers(questionnaire=f"{URL}|{version}"), *both))] == [13]
    assert [one.answered for one in read(look(opaque_answers(questionnaire=f"{URL}|2"), *both))] == [0]


LIKE = [
    ({"publisher": "another"}, True),
    ({"title": "Mood"}, False),
    ({"name": "Mood"}, False),
    ({"code": [{"code": "mood"}]}, False),
    ({"item": [question(n, "{n}1") for n in ANSWERS]}, False),
    ({"item": [question(n, coded=False) for n in ANSWERS]}, False),
    ({"item": [question(n, answerOption=[]) for n in ANSWERS]}, False),
    ({"item": [question(n, backwards=True) for n in ANSWERS]}, True),
]


@pytest.mark.parametrize(("differs", "alike"), LIKE)
def test_of_two_versions_any_will_do_where_both_score_alike(differs: Json, alike: bool, look: Look) -> None:
    both = questionnaire(version="1"), questionnaire(id="other", version="2") | differs

    forms = read(look(opaque_answers(), *both))

    assert [one.score for one in forms] == ([13] if alike else [])


@pytest.mark.parametrize("inside", ["item", "answer"])
@pytest.mark.parametrize(("depth", "read_so_far"), [(8, True), (9, False)])
def test_items_are_read_eight_groups_deep_and_no_deeper(inside: str, depth: int, read_so_far: bool, look: Look) -> None:
    items = by_link("epds.q{n}")["item"]
    for _ in range(depth):
        items = [{"linkId": "g", **({"item": items} if inside == "item" else {"answer": [{"item": items}]})}]

    assert [one.score for one in read(look(response(*items)))] == ([13] if read_so_far else [])


# ---- Which item an answer is, and what it is worth


@pytest.mark.parametrize("pattern", ["{code}", "/{code}", "/{code}/", "/form/part/{code}"])
def test_a_code_in_the_link_of_an_item_names_it(pattern: str, look: Look) -> None:
    answers = (answer(pattern.format(code=EPDS_ITEMS[n - 1]), valueInteger=score) for n, score in ANSWERS.items())

    assert [(one.score, one.answered) for one in read(look(response(*answers)))] == [(13, 10)]


def test_an_item_whose_code_says_something_else_is_none_of_ours(look: Look) -> None:
    def answered(system: str) -> list[int]:
        other = {"linkId": "epds.q10", "type": "integer", "code": [{"system": system, "code": "99999-9"}]}
        return [one.answered for one in read(look(by_link("epds.q{n}"), questionnaire(other)))]

    assert answered("http://loinc.org") == [9]
    assert answered("urn:site") == [10]


def test_the_total_of_another_form_is_not_this_ones(look: Look) -> None:
    both = look(by_link("phq9.q{n}", PHQ9, answer("score", valueInteger=13)))

    assert read(both) == ()
    assert [(one.score, one.conflict) for one in read(both, "phq9")] == [(13, True)]


def test_a_weight_may_be_a_whole_number(look: Look) -> None:
    weighs = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
    answers = (
        answer(f"epds.q{n}", {"valueCoding": {"code": "x"}, "extension": [{"url": weighs, "valueInteger": score}]})
        for n, score in ANSWERS.items()
    )

    assert [(one.score, one.answered) for one in read(look(response(*answers)))] == [(13, 10)]


UCUM = "http://unitsofmeasure.org"
QUANTITIES: list[tuple[Json, int | None]] = [
    ({"value": 13}, 13),
    ({"value": 13, "system": UCUM, "code": "1"}, 13),
    ({"value": 13, "unit": "{points}"}, 13),
    ({"value": 13, "system": UCUM, "code": "{score}", "unit": "points"}, 13),
    ({"value": 13, "system": UCUM, "code": "kg"}, None),
    ({"value": 13, "unit": "kg"}, None),
    ({"value": 13, "comparator": ">"}, None),
    ({"unit": "{points}"}, None),
]


@pytest.mark.parametrize(("quantity", "score"), QUANTITIES)
def test_a_total_is_a_number_of_no_unit_but_a_scores(quantity: Json, score: int | None, look: Look) -> None:
    (only,) = read(look(total(valueQuantity=quantity)))

    assert only.score == (score or 0)
    assert only.evidence[0].value == (None if score is None else "13")


# ---- Whose form, and of which stay

ALIAS = {"reference": "urn:uuid:1"}
STAY, OTHER_STAY = {"reference": "Encounter/a"}, {"reference": "Encounter/b"}


def test_she_may_be_named_in_two_ways(look: Look) -> None:
    for who in (HER, ALIAS):
        (one,) = read(look(answered_by(who, subject=ALIAS)))
        assert one.complete


def test_what_does_not_count_hides_nothing_behind_it(look: Look) -> None:
    begun = total(valueInteger=20, status="preliminary") | {"id": "a"}
    his = total(valueInteger=20, derivedFrom=[{"reference": RESPONSE}]) | {"id": "a"}

    assert read(look(begun, TOTAL, ITEM_10)) == (form(),)
    assert read(look(his, TOTAL, ITEM_10, answered_by(HIM))) == (form(),)


def test_a_response_and_a_total_of_one_stay_are_one_form(look: Look) -> None:
    def forms(of_the_total: Json | None, of_the_response: Json | None) -> int:
        told_ = total(valueInteger=13) | ({"encounter": of_the_total} if of_the_total else {})
        filled = answered_by(HER) | ({"encounter": of_the_response} if of_the_response else {})
        return len(read(look(told_, filled)))

    assert forms(STAY, STAY) == forms(None, None) == 1
    assert forms(STAY, OTHER_STAY) == forms(STAY, None) == forms(None, STAY) == 2


def test_a_form_that_was_filled_in_at_an_hour_without_a_zone_is_of_the_sites_own(look: Look) -> None:
    (one,) = read(look(answered_by(HER, authored="2026-11-23T11:00:00")))

    assert one.at == Moment(NOON - HOUR, NOON - HOUR, Precision.TIME, "2026-11-23T11:00:00")


ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


@pytest.mark.parametrize(("score", "harm"), [(0, None), (1, 1)])
def test_an_answer_beside_the_reason_why_there_is_none_may_warn_and_completes_nothing(
    score: int, harm: int | None, look: Look
) -> None:
    withheld = by_link("epds.q{n}")
    extension = {"url": ABSENT, "valueCode": "asked-declined"}
    withheld["item"][9]["answer"] = [{"valueInteger": score, "extension": [extension]}]

    (one,) = read(look(withheld))

    assert (one.self_harm, one.complete) == (harm, False)


@pytest.mark.parametrize("where", ["panel", "component"])
def test_a_part_beside_the_reason_why_there_is_none_completes_nothing(where: str, look: Look) -> None:
    parts = [{"code": item(n)["code"], "valueInteger": score} for n, score in ANSWERS.items()]
    assert [one.complete for one in read(look(panel(component=parts)))] == [True]

    told = panel(component=parts)
    (told if where == "panel" else told["component"][4])["dataAbsentReason"] = DECLINED

    assert [(one.complete, one.self_harm) for one in read(look(told))] == [(False, ANSWERS[10])]


def test_an_item_that_stands_twice_in_one_panel_contradicts_itself(look: Look) -> None:
    def item_10(*scores: int) -> Form:
        parts = [{"code": ITEM_10["code"], "valueInteger": score} for score in scores]
        (one,) = read(look(panel(component=parts)))
        return one

    assert [(one.self_harm, one.conflict) for one in (item_10(1, 2), item_10(2, 1))] == [(2, True), (2, True)]
    assert (item_10(1, 1).self_harm, item_10(1, 1).conflict) == (1, False)


def test_an_answer_may_be_a_quantity(look: Look) -> None:
    one = {"system": UCUM, "code": "1"}
    answers = [answer(f"epds.q{n}", valueQuantity={"value": score, **one}) for n, score in ANSWERS.items()]

    assert [told(form_).score for form_ in read(look(response(*answers)))] == [13]


def test_a_part_of_a_form_that_names_its_items_needs_no_questionnaire(knowledge: Knowledge) -> None:
    part = by_link("epds.q{n}", {n: ANSWERS[n] for n in (1, 2, 3)})
    weighed = response(answer("epds.q1", valueQuantity={"value": 1, "system": UCUM, "code": "1"}))

    assert wanted_questionnaires([part, weighed], [], knowledge) == frozenset()
