"""The check of every answer: a good one passes, and each way to spoil it is noticed and said."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from response_check import check_answer, checked, hollow, request_like

Json = dict[str, Any]
Change = Callable[[Json], object]

SHE = {"reference": "Patient/she"}
STAY = {"reference": "Encounter/stay"}
SNOMED = "http://snomed.info/sct"


def quantity(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def medicine() -> Json:
    return {
        "resourceType": "MedicationRequest",
        "id": "new-1",
        "status": "draft",
        "intent": "order",
        "priority": "routine",
        "medicationCodeableConcept": {"text": "Esketamine"},
        "subject": SHE,
        "encounter": STAY,
        "dosageInstruction": [
            {
                "timing": {"repeat": {"count": 1, "duration": 40, "durationUnit": "min"}},
                "doseAndRate": [{"doseQuantity": quantity(14.5, "mg")}],
            }
        ],
    }


def service(id_: str = "new-2") -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": id_,
        "status": "draft",
        "intent": "order",
        "priority": "urgent",
        "code": {"coding": [{"system": SNOMED, "code": "252465000"}], "text": "Pulse oximetry"},
        "subject": SHE,
        "encounter": STAY,
        "note": [{"text": "All the time.\nAnd after."}],
    }


def draft(id_: str, **more: Any) -> Json:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Esketamine</div>'}
    return {**medicine(), "id": id_, "authoredOn": "2026-11-23", "text": text, **more}


REQUEST: Json = {
    "hook": "order-sign",
    "context": {
        "patientId": "she",
        "encounterId": "stay",
        "draftOrders": {
            "resourceType": "Bundle",
            "entry": [{"resource": draft("draft-1")}, {"resource": draft("signed-1", status="active")}],
        },
    },
}
UUID = "16be4ae4-1774-5448-9c40-98c5b72da74"


def good() -> Json:
    """An answer with one of everything that may come."""
    updated = {**draft("draft-1"), "note": [{"text": "Lower dose."}]}
    del updated["text"]
    topic = {"code": "KETOPTION", "system": "urn:example:topic", "display": "Options"}
    return {
        "cards": [
            {
                "uuid": f"{UUID}1",
                "summary": "Discuss options: EPDS 15",
                "detail": "**Why now.** Below 5 <6 weeks, `<b>` and \\<i>.\n\n- [Source](https://example.org/a?b=c)",
                "indicator": "info",
                "source": {
                    "label": "Ward 4",
                    "url": "https://example.org",
                    "icon": "https://example.org/i.png",
                    "topic": topic,
                },
                "suggestions": [
                    {
                        "label": "Draft the infusion",
                        "uuid": f"{UUID}2",
                        "isRecommended": True,
                        "actions": [
                            {"type": "create", "description": "Draft the infusion.", "resource": medicine()},
                            {"type": "create", "description": "Draft the monitoring.", "resource": service()},
                        ],
                        "extension": {"org.example.group": {"of": 2}},
                    },
                    {
                        "label": "Correct the dose",
                        "uuid": f"{UUID}3",
                        "actions": [{"type": "update", "description": "Lower the dose.", "resource": updated}],
                    },
                    {
                        "label": "Take the draft away",
                        "uuid": f"{UUID}4",
                        "actions": [
                            {"type": "delete", "description": "Delete.", "resourceId": "MedicationRequest/draft-1"}
                        ],
                    },
                ],
                "selectionBehavior": "at-most-one",
                "overrideReasons": [
                    {"code": "refused", "system": "http://example.org/reasons", "display": "She does not want it"},
                    {"code": "done", "system": "http://example.org/reasons", "display": "Done"},
                ],
                "links": [
                    {"label": "Guideline", "url": "https://example.org/guideline", "type": "absolute"},
                    {
                        "label": "App",
                        "url": "https://example.org/launch",
                        "type": "smart",
                        "appContext": '{"a": 1}',
                        "autolaunchable": True,
                    },
                ],
                "extension": {"org.example.about": [{"reference": "MedicationRequest/draft-1"}]},
            },
            {"uuid": f"{UUID}5", "summary": "x" * 139, "indicator": "critical", "source": {"label": "Ward 4"}},
        ],
        "extension": {"org.example.version": "1"},
    }


def at(path: str, body: Any) -> tuple[Any, str | int]:
    """What holds the last step of a path, and that step. Numbers are places in a list."""
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        body = body[step]
    return body, last


def put(path: str, value: Any) -> Change:
    def change(answer: Json) -> None:
        holder, last = at(path, answer)
        holder[last] = copy.deepcopy(value)

    return change


def drop(path: str) -> Change:
    def change(answer: Json) -> None:
        holder, last = at(path, answer)
        del holder[last]

    return change


def take_names(answer: Json) -> None:
    for card in answer["cards"]:
        del card["uuid"]


CARD = "cards/0"
SUGGESTED = f"{CARD}/suggestions/0"
CREATED = f"{SUGGESTED}/actions/0"
MEDICINE = f"{CREATED}/resource"
UPDATED = f"{CARD}/suggestions/1/actions/0/resource"
DELETED = f"{CARD}/suggestions/2/actions/0"
LINK = f"{CARD}/links/0"

# What is spoiled, how, and what is said about it.
SPOILED: list[tuple[str, Change, str]] = [
    ("no cards", drop("cards"), "the answer has no cards"),
    ("cards that are no list", put("cards", {"a": 1}), "cards is not a JSON array"),
    ("systemActions", put("systemActions", [{"type": "create"}]), "no client may rely on: systemActions"),
    ("an extension that is a list", put("extension", [{"a": 1}]), "answer.extension is not a JSON object"),
    ("a nameless extension", put("extension", {"version": 1}), "a name that says not whose it is: version"),
    ("null", put(f"{CARD}/detail", None), "cards[0].detail is null, empty or blank"),
    ("an empty text", put(f"{CARD}/detail", ""), "cards[0].detail is null, empty or blank"),
    ("a blank text", put(f"{CARD}/source/label", " \n"), "cards[0].source.label is null, empty or blank"),
    ("an empty list", put("cards/1/links", []), "cards[1].links is null, empty or blank"),
    ("an empty object", put(f"{CARD}/extension", {}), "cards[0].extension is null, empty or blank"),
    ("null in a resource", put(f"{MEDICINE}/note", None), "resource.note is null, empty or blank"),
    ("an empty list in a resource", put(f"{MEDICINE}/note", []), "resource.note is null, empty or blank"),
    ("a card that is no object", put("cards/1", "Hello"), "cards[1] is not a JSON object"),
    ("a member in another spelling", put(f"{CARD}/override_reasons", [1]), "rely on: override_reasons"),
    ("one card without a uuid", drop("cards/1/uuid"), "cards[1] has no uuid, and others have one"),
    ("something to choose, and no uuid", take_names, "cards[0] has no uuid, and yet something to choose"),
    ("a card without a summary", drop("cards/1/summary"), "cards[1] has no summary"),
    ("a card without an indicator", drop("cards/1/indicator"), "cards[1] has no indicator"),
    ("a card without a source", drop("cards/1/source"), "cards[1] has no source"),
    ("140 characters", put("cards/1/summary", "x" * 140), "summary has more than 139 characters"),
    ("a summary of two lines", put("cards/1/summary", "a\nb"), "summary has more than one line"),
    ("a summary that is a number", put("cards/1/summary", 7), "summary is not text"),
    ("a uuid in capitals", put("cards/1/uuid", f"{UUID}5".upper()), "uuid is not a lower-case UUID"),
    ("a uuid of no variant", put("cards/1/uuid", "16be4ae4-1774-5448-7c40-98c5b72da745"), "is not a lower-case UUID"),
    ("a uuid with its urn", put("cards/1/uuid", f"urn:uuid:{UUID}5"), "is not a lower-case UUID"),
    ("the same uuid on two cards", put("cards/1/uuid", f"{UUID}1"), "cards[1] has a uuid that stands there already"),
    ("the uuid of a card on a suggestion", put(f"{SUGGESTED}/uuid", f"{UUID}1"), "a uuid that stands there already"),
    ("an indicator of nobody", put("cards/1/indicator", "hard-stop"), "indicator is none of critical, info, warning"),
    ("an indicator in capitals", put("cards/1/indicator", "INFO"), "indicator is none of critical, info, warning"),
    ("a source without a label", drop(f"{CARD}/source/label"), "source has no label"),
    ("a relative url", put(f"{CARD}/source/url", "/about"), "source.url is not an absolute https URL"),
    ("an icon on plain http", put(f"{CARD}/source/icon", "http://example.org/i.png"), "icon is not an absolute https"),
    ("a topic without a system", drop(f"{CARD}/source/topic/system"), "topic has no system"),
    ("a topic with a hyphen", put(f"{CARD}/source/topic/code", "ket-option"), "not 1 to 100 letters and digits"),
    ("a topic of 101 letters", put(f"{CARD}/source/topic/code", "K" * 101), "not 1 to 100 letters and digits"),
    ("a system that is no URI", put(f"{CARD}/source/topic/system", "topics"), "topic.system is not a URI"),
    ("a tag", put("cards/1/detail", "So <b>bold</b>"), "cards[1].detail holds an HTML tag"),
    ("a script on a line of its own", put("cards/1/detail", "a\n\n<script>\nb()\n</script>"), "holds an HTML tag"),
    ("a comment", put("cards/1/detail", "a <!-- b --> c"), "holds an HTML tag"),
    ("a link to a script", put("cards/1/detail", "[a](javascript:b)"), "has a link that is no absolute https URL"),
    ("a link on plain http", put("cards/1/detail", "[a](http://example.org)"), "no absolute https URL"),
    ("a bell", put("cards/1/detail", "a\x07"), "detail holds a control character"),
    ("a carriage return", put("cards/1/detail", "a\r\nb"), "detail holds a control character"),
    ("a mark that turns the reading", put("cards/1/summary", "a\u202eb"), "summary holds a control character"),
    ("suggestions alone", drop(f"{CARD}/selectionBehavior"), "has suggestions or selectionBehavior without the other"),
    ("a selection of nothing", put("cards/1/selectionBehavior", "any"), "without the other"),
    ("a selection of nobody", put(f"{CARD}/selectionBehavior", "all"), "selectionBehavior is none of any, at-most-one"),
    ("a suggestion without a label", drop(f"{SUGGESTED}/label"), "suggestions[0] has no label"),
    ("a suggestion without a uuid", drop(f"{SUGGESTED}/uuid"), "suggestions[0] has no uuid"),
    ("two ticked of which one is chosen", put(f"{CARD}/suggestions/1/isRecommended", True), "recommends several"),
    ("recommended in words", put(f"{SUGGESTED}/isRecommended", "yes"), "isRecommended is not true or false"),
    ("actionSelectionBehavior", put(f"{SUGGESTED}/actionSelectionBehavior", "all"), "on: actionSelectionBehavior"),
    ("a reason without a display", drop(f"{CARD}/overrideReasons/0/display"), "overrideReasons[0] has no display"),
    ("a reason without a system", drop(f"{CARD}/overrideReasons/0/system"), "overrideReasons[0] has no system"),
    ("a reason without a code", drop(f"{CARD}/overrideReasons/0/code"), "overrideReasons[0] has no code"),
    ("a reason twice", put(f"{CARD}/overrideReasons/1/code", "refused"), "a code that stands there already"),
    ("an action in capitals", put(f"{CREATED}/type", "CREATE"), "type is none of create, delete, update"),
    ("an action without a type", drop(f"{CREATED}/type"), "actions[0] has no type"),
    ("an action without a description", drop(f"{CREATED}/description"), "actions[0] has no description"),
    ("a creation without a resource", drop(f"{CREATED}/resource"), "actions[0] has no resource"),
    ("a creation by id", put(f"{CREATED}/resourceId", "A/b"), "rely on: resourceId"),
    ("a resource as text", put(MEDICINE, '{"resourceType": "Basic"}'), "resource is not a JSON object"),
    ("a deletion with a resource", put(f"{DELETED}/resource", medicine()), "rely on: resource"),
    ("a deletion without an id", drop(f"{DELETED}/resourceId"), "has no resourceId"),
    ("a deletion by a bare id", put(f"{DELETED}/resourceId", "draft-1"), "is not of the form Type/id"),
    ("a deletion of no draft", put(f"{DELETED}/resourceId", "MedicationRequest/x"), "is not among the draft orders"),
    (
        "a deletion of a signed order",
        put(f"{DELETED}/resourceId", "MedicationRequest/signed-1"),
        "is an order that is not a draft any more",
    ),
    ("an update of no draft", put(f"{UPDATED}/id", "draft-2"), "is not among the draft orders"),
    ("an update of a signed order", put(f"{UPDATED}/id", "signed-1"), "is not a draft any more"),
    ("an update without an id", drop(f"{UPDATED}/id"), "is not among the draft orders"),
    ("a patch in place of an update", drop(f"{UPDATED}/authoredOn"), "not the whole order: it lost authoredOn"),
    ("an update that breaks R4", put(f"{UPDATED}/note", "Lower dose."), "is not FHIR R4"),
    ("the order of somebody else", put(f"{MEDICINE}/subject", {"reference": "Patient/other"}), "is not the subject"),
    ("an order for nobody", drop(f"{MEDICINE}/subject"), "subject is not the subject of the request"),
    ("a group as the subject", put(f"{MEDICINE}/subject", {"reference": "Group/she"}), "is not the subject"),
    ("another stay", put(f"{MEDICINE}/encounter", {"reference": "Encounter/old"}), "is not the encounter"),
    ("an order that is not a draft", put(f"{MEDICINE}/status", "active"), "status is not draft"),
    ("a status of nobody", put(f"{MEDICINE}/status", "planned"), "status cannot be planned"),
    ("an intent of nobody", put(f"{MEDICINE}/intent", "wish"), "intent cannot be wish"),
    ("a directive for a medicine", put(f"{MEDICINE}/intent", "directive"), "intent cannot be directive"),
    ("a priority of nobody", put(f"{MEDICINE}/priority", "soon"), "priority cannot be soon"),
    (
        "minutes in words",
        put(f"{MEDICINE}/dosageInstruction/0/timing/repeat/durationUnit", "minutes"),
        "durationUnit cannot be minutes",
    ),
    ("an element that R4 does not know", put(f"{MEDICINE}/dose", "14 mg"), "is not FHIR R4"),
    ("a date in words", put(f"{MEDICINE}/authoredOn", "today"), "is not FHIR R4"),
    ("no medicine in the order", drop(f"{MEDICINE}/medicationCodeableConcept"), "is not FHIR R4"),
    (
        "a unit of no system",
        drop(f"{MEDICINE}/dosageInstruction/0/doseAndRate/0/doseQuantity/system"),
        "has a code without a system: mg",
    ),
    ("a resource of another type", put(MEDICINE, {"resourceType": "Basic"}), "is a Basic"),
    ("no id", drop(f"{MEDICINE}/id"), "id is not a FHIR id"),
    ("a long id", put(f"{MEDICINE}/id", "n" * 65), "id is not a FHIR id"),
    ("an id with an underscore", put(f"{MEDICINE}/id", "new_1"), "id is not a FHIR id"),
    ("the id of a draft", put(f"{MEDICINE}/id", "draft-1"), "is that of an order which is drafted already"),
    (
        "one id for two resources",
        put(f"{SUGGESTED}/actions/1", {"type": "create", "description": "Again.", "resource": medicine()}),
        "has a temporary id that stands there already",
    ),
    ("a link without a label", drop(f"{LINK}/label"), "links[0] has no label"),
    ("a link without a type", drop(f"{LINK}/type"), "links[0] has no type"),
    ("a link of another type", put(f"{LINK}/type", "relative"), "type is none of absolute, smart"),
    ("a relative link", put(f"{LINK}/url", "guideline"), "url is not an absolute https URL"),
    ("a link to plain http", put(f"{LINK}/url", "http://example.org"), "url is not an absolute https URL"),
    ("a context for no app", put(f"{LINK}/appContext", "a"), "stands on a link that is not smart"),
    ("a context that is an object", put(f"{CARD}/links/1/appContext", {"a": 1}), "appContext is not text"),
    ("autoLaunchable", put(f"{LINK}/autoLaunchable", True), "rely on: autoLaunchable"),
    ("autolaunchable in words", put(f"{CARD}/links/1/autolaunchable", "true"), "is not true or false"),
]


def test_an_answer_with_one_of_everything_is_good() -> None:
    check_answer(good(), REQUEST)


def test_no_card_is_an_answer_too() -> None:
    check_answer({"cards": []}, REQUEST)


def test_without_a_request_there_is_nothing_to_hold_it_against() -> None:
    answer = good()
    put(f"{MEDICINE}/subject", {"reference": "Patient/other"})(answer)
    put(f"{DELETED}/resourceId", "MedicationRequest/elsewhere")(answer)

    check_answer(answer)


@pytest.mark.parametrize(("spoil", "says"), [row[1:] for row in SPOILED], ids=[row[0] for row in SPOILED])
def test_a_spoiled_answer_is_noticed_and_the_reason_is_said(spoil: Change, says: str) -> None:
    answer = good()
    spoil(answer)

    with pytest.raises(AssertionError) as caught:
        check_answer(answer, REQUEST)

    assert says in str(caught.value)


def test_there_are_enough_ways_to_spoil_it() -> None:
    assert len(SPOILED) >= 40
    assert len({name for name, _, _ in SPOILED}) == len(SPOILED)


def test_an_answer_that_is_no_object_is_none() -> None:
    with pytest.raises(AssertionError, match="the answer is not a JSON object"):
        check_answer([])


def test_several_may_be_recommended_where_several_may_be_chosen() -> None:
    answer = good()
    put(f"{CARD}/suggestions/1/isRecommended", True)(answer)
    put(f"{CARD}/selectionBehavior", "any")(answer)

    check_answer(answer, REQUEST)


def test_a_card_as_in_1_0_needs_no_uuid() -> None:
    answer = good()
    take_names(answer)
    for name in ("suggestions", "selectionBehavior", "overrideReasons"):
        del answer["cards"][0][name]

    check_answer(answer, REQUEST)


def test_an_update_keeps_the_words_by_which_the_ehr_names_her() -> None:
    """Whether a draft is about her is looked at before an answer is thought of."""
    hers = {"identifier": {"value": "MRN-1"}}
    request = copy.deepcopy(REQUEST)
    request["context"]["draftOrders"]["entry"][0]["resource"]["subject"] = hers
    answer = good()
    put(f"{UPDATED}/subject", hers)(answer)

    check_answer(answer, request)


def test_the_patient_and_her_drafts_may_be_written_as_clients_write_them() -> None:
    request = copy.deepcopy(REQUEST)
    request["context"] |= {"patientId": "Patient/she", "encounterId": "Encounter/stay"}
    answer = good()
    put(f"{MEDICINE}/subject", {"reference": "https://ehr.example.org/fhir/Patient/she"})(answer)

    check_answer(answer, request)


def test_what_is_not_finite_is_no_number() -> None:
    answer = good()
    put(f"{MEDICINE}/dosageInstruction/0/doseAndRate/0/doseQuantity/value", Decimal("NaN"))(answer)

    with pytest.raises(AssertionError, match=r"not FHIR R4|not finite"):
        check_answer(answer, REQUEST)


@pytest.mark.parametrize("value", [0, False, Decimal("0.0"), "0", {"a": [0]}], ids=repr)
def test_nought_and_no_are_values(value: Any) -> None:
    assert hollow(value) is None


@pytest.mark.parametrize(
    ("value", "place"), [({"a": [1, {"b": ""}]}, ".a[1].b"), ([{}], "[0]"), (("a", None), "[1]"), (None, "")], ids=repr
)
def test_the_place_of_what_is_hollow_is_told(value: Any, place: str) -> None:
    assert hollow(value) == place


class _Call:
    hook, patient_id, encounter_id = "order-sign", "she", None
    draft_orders = (draft("draft-1"),)


class _Advice:
    def __init__(self, *cards: Json) -> None:
        self.cards = cards


def test_an_answer_on_its_way_is_checked_against_its_call_and_goes_on() -> None:
    bad = good()["cards"][0]
    bad["suggestions"][0]["actions"][0]["resource"]["subject"] = {"reference": "Patient/other"}
    advice = [_Advice(good()["cards"][1]), _Advice(bad)]
    faults: list[str] = []

    told = [checked(lambda _advisor, _call, one=one: one, faults)(None, _Call) for one in advice]

    assert told == advice
    (fault,) = faults
    assert fault.startswith("the answer to order-sign: cards[0].suggestions[0].actions[0].resource.subject")


def test_a_call_is_told_as_a_request_tells_it() -> None:
    assert request_like("order-sign", "she", "stay", [draft("a")]) == {
        "hook": "order-sign",
        "context": {
            "patientId": "she",
            "encounterId": "stay",
            "draftOrders": {"entry": [{"resource": draft("a")}]},
        },
    }
