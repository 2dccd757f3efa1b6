"""Four ways in which a prefetch key can stand, under each name that a list may have: had, none, failed, not asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from conftest import NOON
from ehr import Ehr, request_for
from encoding import Json, encode, read_cases, site_of
from flask.testing import FlaskClient
from quirks import Call, Quirk, QuirkServer, html, searchset, status
from werkzeug.test import TestResponse

from cds_service.advisor import Advisor
from cds_service.clinical.consultation import Consultation
from cds_service.clinical.facts import Doubt, State
from cds_service.ehr.answers import Had
from cds_service.ehr.gathering import Sources, gather
from cds_service.errors import ChartUnavailable
from cds_service.hooks.request import parse_request
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

CASE = next(case for case in read_cases() if case.id == "V01")
ID = "p1"
TOKEN = "a-token"  # noqa: S105
SUBJECT = {"reference": f"Patient/{ID}"}
CONDITION: Json = {
    "resourceType": "Condition",
    "id": "c1",
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "271737000"}]},
    "subject": SUBJECT,
}
OUTCOME: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
NOTE: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "not-found"}]}
BARRED: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "forbidden"}]}
GIVEN_UP: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "incomplete"}]}
ERROR_OF_ENTRY: Json = {**CONDITION, "verificationStatus": {"coding": [{"code": "entered-in-error"}]}}
SECOND: Json = {**CONDITION, "id": "c2"}
NAMELESS: Json = {"resourceType": "Condition", "id": "c3", "subject": SUBJECT}
SELF = {"relation": "self", "url": f"https://ehr.example.org/fhir/Condition?patient={ID}"}


def bundle(*entries: Json, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": list(entries), **more}


def match(resource: Json) -> Json:
    return {"resource": resource, "search": {"mode": "match"}}


def include(resource: Json) -> Json:
    return {"resource": resource, "search": {"mode": "include"}}


def said(outcome: Json) -> Json:
    return {"resource": outcome, "search": {"mode": "outcome"}}


def call_with(prefetch: Any) -> Json:
    """The smallest call."""
    context = {"userId": "Practitioner/1", "patientId": ID}
    return {"hook": "patient-view", "hookInstance": "i", "context": context, "prefetch": prefetch}


def leave_to_read(server: str) -> Json:
    return {"fhirServer": server, "fhirAuthorization": {"access_token": TOKEN, "token_type": "Bearer"}}


def site_with(server: str) -> Site:
    return Site.from_table({"country": "US", "ehr": {"servers": [server], "budget_ms": 60_000}})


def asked(advisor: Advisor, prefetch: Any) -> tuple[Had, int]:
    """How the problem list was had, and how many problems came, of a chart with this prefetch."""
    chart = gather(parse_request(call_with(prefetch)), advisor.sources)
    return chart.had["problems"], len(chart.of("Condition"))


PATIENT: Json = {"resourceType": "Patient", "id": ID}
PROCEDURE: Json = {**CONDITION, "resourceType": "Procedure", "id": "x1", "status": "completed"}
NEXT = {"relation": "next", "url": "https://ehr.example.org/fhir/Condition?page=2"}
ABSENT: Any = object()
STATES = [
    # what came, how it was had, how many problems came; and why
    pytest.param(bundle(match(CONDITION)), Had.WHOLE, 1, id="a value"),
    pytest.param(bundle({"resource": CONDITION}), Had.WHOLE, 1, id="a value without a search mode"),
    pytest.param(None, Had.WHOLE, 0, id="null is a known none (2.0)"),
    pytest.param(bundle(), Had.WHOLE, 0, id="an empty Bundle is a known none (2.0)"),
    pytest.param({"resourceType": "Bundle", "type": "searchset"}, Had.WHOLE, 0, id="a Bundle without entry, too"),
    pytest.param(bundle(total=0), Had.WHOLE, 0, id="and one that counts 0"),
    pytest.param(bundle(said(NOTE), total=0), Had.WHOLE, 0, id="Epic's empty search: a word that it found none (4101)"),
    pytest.param(bundle(said(NOTE)), Had.FAILED, 0, id="such a word without a count is no none"),
    pytest.param(bundle(total=1), Had.CUT_SHORT, 0, id="an empty Bundle that counts 1 was cut short"),
    pytest.param(bundle(link=[NEXT]), Had.CUT_SHORT, 0, id="and so was one with a next link"),
    pytest.param(OUTCOME, Had.FAILED, 0, id="an OperationOutcome is a failure"),
    pytest.param(NOTE, Had.FAILED, 0, id="alone, even one that only warns"),
    pytest.param(bundle(said(OUTCOME)), Had.FAILED, 0, id="and so is one in the Bundle"),
    pytest.param(bundle({"resource": OUTCOME}), Had.FAILED, 0, id="by its type, if no mode tells"),
    pytest.param(bundle(said(OUTCOME), total=0), Had.FAILED, 0, id="an error beside a count of 0 is no none"),
    pytest.param(bundle(match(CONDITION), said(OUTCOME)), Had.FAILED, 1, id="an error beside entries fails the list"),
    pytest.param(bundle(match(CONDITION), said(NOTE)), Had.WHOLE, 1, id="a warning beside entries changes nothing"),
    pytest.param(bundle(match(CONDITION), said(GIVEN_UP)), Had.CUT_SHORT, 1, id="unless it says that it gave up"),
    pytest.param(BARRED, Had.RESTRICTED, 0, id="what may not be read is restricted"),
    pytest.param(bundle(said(BARRED)), Had.RESTRICTED, 0, id="and so it is in the Bundle"),
    pytest.param(bundle(match(CONDITION), said(BARRED)), Had.RESTRICTED, 1, id="even beside entries"),
    pytest.param(bundle(match(CONDITION), link=[NEXT]), Had.CUT_SHORT, 1, id="a next link"),
    pytest.param(bundle(match(CONDITION), link=[{"relation": "next"}]), Had.CUT_SHORT, 1, id="a next link to nowhere"),
    pytest.param(bundle(match(CONDITION), link=[{**NEXT, "relation": "first"}]), Had.WHOLE, 1, id="another link"),
    pytest.param(bundle(match(CONDITION), total=2), Had.CUT_SHORT, 1, id="a total above what came"),
    pytest.param(
        bundle(match(CONDITION), match(CONDITION), total=2), Had.CUT_SHORT, 1, id="the same entry fills no list"
    ),
    pytest.param(
        bundle(match(CONDITION), include(PROCEDURE), total=2), Had.CUT_SHORT, 1, id="nor does what it drew in"
    ),
    pytest.param(bundle(match(CONDITION), total=1), Had.WHOLE, 1, id="a total of what came"),
    pytest.param(bundle(match(CONDITION), include(PROCEDURE), total=1), Had.WHOLE, 1, id="beside what it drew in"),
    pytest.param(bundle(match(CONDITION), total="1"), Had.CUT_SHORT, 1, id="a total that is no number"),
    pytest.param(bundle(match(CONDITION), "odd"), Had.CUT_SHORT, 1, id="an entry that is none"),
    pytest.param(bundle(match(CONDITION), {"fullUrl": "x"}), Had.CUT_SHORT, 1, id="an entry without a resource"),
    pytest.param(
        bundle(match(CONDITION), match(NAMELESS)), Had.CUT_SHORT, 2, id="an entry that says not what it is about"
    ),
    pytest.param(bundle(match(ERROR_OF_ENTRY)), Had.WHOLE, 1, id="entered in error: there, and no problem of hers"),
    pytest.param(bundle(match(CONDITION), match(PROCEDURE)), Had.WHOLE, 1, id="an entry of another type beside it"),
    pytest.param(bundle(match(PROCEDURE)), Had.FAILED, 0, id="matches of another type alone answer something else"),
    pytest.param({**bundle(), "entry": {"resource": CONDITION}}, Had.FAILED, 0, id="entries that are no list"),
    pytest.param([CONDITION], Had.CUT_SHORT, 1, id="a bare list: nobody says that it is whole"),
    pytest.param([], Had.FAILED, 0, id="an empty one says nothing"),
    pytest.param(CONDITION, Had.CUT_SHORT, 1, id="a bare resource: nobody says that it is the only one"),
    pytest.param({}, Had.CUT_SHORT, 0, id="an empty object is something that could not be read"),
    pytest.param("none", Had.FAILED, 0, id="a text"),
    pytest.param(False, Had.FAILED, 0, id="false"),
    pytest.param(0, Had.FAILED, 0, id="a number"),
    pytest.param(ABSENT, Had.NOT_ASKED, 0, id="absent: not asked"),
]
IDS = {row.id for row in STATES}


def is_bundle(value: Any) -> bool:
    return isinstance(value, dict) and value.get("resourceType") == "Bundle"


def holds_a_problem(value: Any) -> bool:
    """Can it be told by its content what it answers?"""
    listed = value.get("entry", ()) if is_bundle(value) else value if isinstance(value, list) else [value]
    found = [one.get("resource", one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return any(one.get("resourceType") == "Condition" for one in found)


def under(name: str, value: Any) -> Json:
    return {"patient": PATIENT} if value is ABSENT else {"patient": PATIENT, name: value}


def test_each_row_of_the_table_has_a_reason_of_its_own() -> None:
    assert len(IDS) == len(STATES)
    assert {row.values[1] for row in STATES} == set(Had)


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize(("value", "had", "count"), STATES)
def test_under_our_own_key(advisor: Advisor, value: Any, had: Had, count: int) -> None:
    assert asked(advisor, under("problems", value)) == (had, count)


# Nobody sends these for a list of problems: they tell by what they hold that they are something else, or nothing.
FOREIGN = {"matches of another type alone answer something else", "an empty object is something that could not be read"}


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize("name", ["Problem-List", "conditions", "PROBLEM"])
@pytest.mark.parametrize(("value", "had", "count"), STATES)
def test_under_a_name_of_the_ehrs_that_tells(
    advisor: Advisor, request: pytest.FixtureRequest, value: Any, had: Had, count: int, name: str
) -> None:
    expected = (had, count)
    if any(one in request.node.callspec.id for one in FOREIGN):
        expected = (Had.NOT_ASKED, 0)
    assert asked(advisor, under(name, value)) == expected


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize(("value", "had", "count"), STATES)
def test_under_a_name_that_tells_nothing_only_the_content_speaks(
    advisor: Advisor, value: Any, had: Had, count: int
) -> None:
    found = asked(advisor, under("-user", value))
    assert found == ((had, count) if holds_a_problem(value) and count else (Had.NOT_ASKED, 0))


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize(("value", "had", "count"), [row for row in STATES if is_bundle(row.values[0])])
def test_under_any_name_with_the_search_that_it_answers(
    advisor: Advisor, request: pytest.FixtureRequest, value: Json, had: Had, count: int
) -> None:
    linked = {**value, "link": [SELF, *value.get("link", ())]}
    expected = (had, count)
    if any(one in request.node.callspec.id for one in FOREIGN):
        expected = (Had.NOT_ASKED, 0)
    assert asked(advisor, {"patient": PATIENT, "query-7": linked}) == expected


@pytest.mark.parametrize(
    ("link", "had"),
    [
        ("Condition?patient=p1", Had.WHOLE),
        ("https://ehr.example.org/fhir/Condition?subject=Patient/p1&_count=50", Had.WHOLE),
        ("https://ehr.example.org/fhir/Condition/_search?patient=p1", Had.WHOLE),
        ("https://ehr.example.org/fhir/Condition/_search?patient=p1&clinical-status=active", Had.CUT_SHORT),
        ("Condition?patient=p1&category=problem-list-item", Had.WHOLE),
        ("Condition?patient=p1&category=encounter-diagnosis", Had.CUT_SHORT),
        ("Condition?patient=p1&clinical-status=active", Had.CUT_SHORT),
        ("Condition?patient=p1&code=44054006", Had.CUT_SHORT),
        ("Condition?patient=p1&recorded-date=ge2026-01-01", Had.CUT_SHORT),
        ("Condition?patient=p2", Had.CUT_SHORT),
        ("Condition?patient=p1&_id=c1", Had.CUT_SHORT),
    ],
)
@pytest.mark.parametrize("name", ["problems", "query-7"])
def test_a_search_for_less_was_not_answered_whole(advisor: Advisor, name: str, link: str, had: Had) -> None:
    value = bundle(match(CONDITION), link=[{"relation": "self", "url": link}])
    assert asked(advisor, {"patient": PATIENT, name: value}) == (had, 1)


@pytest.mark.parametrize("link", ["Procedure?patient=p1", "https://ehr.example.org/fhir/Observation?patient=p1"])
@pytest.mark.parametrize(("name", "had"), [("problems", Had.CUT_SHORT), ("Problem-List", Had.NOT_ASKED)])
@pytest.mark.parametrize("entries", [(), (CONDITION,)], ids=["none", "one"])
def test_a_search_for_something_else_answers_nothing(
    advisor: Advisor, name: str, link: str, entries: tuple[Json, ...], had: Had
) -> None:
    """Keys that were swapped by hand: an empty list of procedures says nothing about problems."""
    value = bundle(*map(match, entries), link=[{"relation": "self", "url": link}])
    assert asked(advisor, {"patient": PATIENT, name: value}) == (had, len(entries))


def test_under_our_own_key_and_another_name_ours_alone_says_how_it_was_answered(advisor: Advisor) -> None:
    two = {"patient": PATIENT, "problems": OUTCOME, "Problem-List": bundle(match(CONDITION))}
    assert asked(advisor, two) == (Had.FAILED, 1)
    assert asked(advisor, two | {"problems": bundle(), "Problem-List": OUTCOME}) == (Had.WHOLE, 0)


# ---- One raw Bundle in place of the object: HealthChain's client sends it

LISTS = [row for row in STATES if is_bundle(row.values[0]) and isinstance(row.values[0].get("entry", []), list)]


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize("links", [[], [SELF]], ids=["unlinked", "linked"])
@pytest.mark.parametrize(("value", "had", "count"), LISTS)
def test_one_raw_bundle_in_place_of_the_object(
    advisor: Advisor, value: Json, had: Had, count: int, links: list[Json]
) -> None:
    """What is not in it was not asked: it may be the answer to anything. No more is known than under a key of ours."""
    hers = {"resource": PATIENT, "search": {"mode": "include"}}
    raw = {**value, "entry": [hers, *value.get("entry", ())], "link": [*links, *value.get("link", ())]}
    found, came = asked(advisor, raw)
    assert came == count
    if not count:
        assert found is Had.NOT_ASKED
    elif had is Had.WHOLE:
        assert found >= Had.CUT_SHORT
    else:
        assert found is had


def test_one_raw_bundle_of_an_error_alone_is_no_chart(advisor: Advisor) -> None:
    with pytest.raises(ChartUnavailable):
        asked(advisor, bundle(said(OUTCOME)))
    with pytest.raises(ChartUnavailable):
        asked(advisor, bundle())


# ---- What is then asked of the EHR's server, and what is not


@pytest.mark.conforms("P-3", "P-4")
@pytest.mark.parametrize(
    ("value", "had", "count", "asks"),
    [
        pytest.param(ABSENT, Had.WHOLE, 2, ["?patient=p1"], id="not asked yet: then it is asked"),
        pytest.param(CONDITION, Had.WHOLE, 2, ["?patient=p1"], id="one of many: the others may be there"),
        pytest.param(
            bundle(match(CONDITION), link=[{**SELF, "url": "Condition?patient=p1&clinical-status=active"}]),
            Had.WHOLE, 2, ["?patient=p1"], id="a search for less",
        ),
        pytest.param(bundle(match(CONDITION)), Had.WHOLE, 1, [], id="a value"),
        pytest.param(None, Had.WHOLE, 0, [], id="null: a known none"),
        pytest.param(bundle(), Had.WHOLE, 0, [], id="an empty Bundle: a known none"),
        pytest.param(OUTCOME, Had.FAILED, 0, [], id="a failure is not tried again"),
        pytest.param(bundle(said(OUTCOME)), Had.FAILED, 0, [], id="nor is one in the Bundle"),
        pytest.param(BARRED, Had.RESTRICTED, 0, [], id="nor what may not be read"),
        pytest.param("odd", Had.FAILED, 0, [], id="nor what could not be read"),
        pytest.param(
            bundle(match(CONDITION), link=[{**NEXT, "url": "{base}/Condition?page=2"}]),
            Had.WHOLE, 2, ["?page=2"], id="a next page of this server",
        ),
        pytest.param(bundle(match(CONDITION), link=[NEXT]), Had.CUT_SHORT, 1, [], id="a next page of another"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["problems", "Problem-List"])
def test_what_was_not_asked_is_asked_and_what_failed_is_not(
    knowledge: Knowledge, name: str, value: Any, had: Had, count: int, asks: list[str]
) -> None:
    def answers(call: Call) -> None:
        call.send_json(searchset(SECOND) if "page=2" in call.query else call.honest())

    with QuirkServer(Ehr({ID: [PATIENT, CONDITION, SECOND]}), answers).serving() as server:
        sources = Sources.of(site_with(server.base), knowledge)
        body: Json = {**call_with(under(name, value)), **leave_to_read(server.base)}
        body = json.loads(json.dumps(body).replace("{base}", server.base))
        chart = gather(parse_request(body), sources)
    assert (chart.had["problems"], len(chart.of("Condition"))) == (had, count)
    assert [call.query.removeprefix("Condition") for call in server.heard if call.kind == "Condition"] == asks


def test_without_a_token_no_next_page_is_read(knowledge: Knowledge) -> None:
    with QuirkServer(Ehr({ID: [PATIENT, CONDITION, SECOND]})).serving() as server:
        value = bundle(match(CONDITION), link=[{**NEXT, "url": f"{server.base}/Condition?page=2"}])
        body = {**call_with(under("problems", value)), "fhirServer": server.base}
        chart = gather(parse_request(body), Sources.of(site_with(server.base), knowledge))
    assert chart.had["problems"] is Had.CUT_SHORT
    assert "Condition" not in server.asked


# ---- Over HTTP: the patient


DOOR = "/cds-services/ppd-delivery-order"
HER = f"woman-{CASE.slug}"
HERSELF: Json = next(one for one in encode(CASE, NOON) if one["resourceType"] == "Patient")


def reachable(server: QuirkServer, knowledge: Knowledge, wording: Wording) -> Advisor:
    site = Site.from_table({**site_of(CASE), "ehr": {"servers": [server.base], "budget_ms": 60_000}})
    return Advisor(knowledge, wording, site, lambda: NOON, Sources.of(site, knowledge))


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize(
    ("patient", "answers", "code", "asks"),
    [
        pytest.param(HERSELF, None, 200, 0, id="sent"),
        pytest.param(bundle(match(HERSELF)), None, 200, 0, id="sent in a Bundle"),
        pytest.param(ABSENT, None, 200, 1, id="absent, and within reach"),
        pytest.param(ABSENT, status(500), 412, 1, id="absent, and the server fails"),
        pytest.param(ABSENT, status(403), 412, 1, id="absent, and not to be read"),
        pytest.param(ABSENT, status(404), 412, 1, id="absent, and not there"),
        pytest.param(ABSENT, html, 412, 1, id="absent, and a page of HTML"),
        pytest.param(ABSENT, lambda call: call.send_json(CONDITION), 412, 1, id="absent, and something else is read"),
        pytest.param(ABSENT, lambda call: call.send_json(PATIENT), 412, 1, id="absent, and somebody else is read"),
        pytest.param(None, None, 412, 0, id="null: a known none"),
        pytest.param(bundle(), None, 412, 0, id="an empty Bundle: a known none"),
        pytest.param(OUTCOME, None, 412, 0, id="a failure"),
        pytest.param(bundle(said(OUTCOME)), None, 412, 0, id="a failure in a Bundle"),
        pytest.param(BARRED, None, 412, 0, id="restricted"),
        pytest.param({**HERSELF, "id": "somebody-else"}, None, 412, 0, id="somebody else"),
        pytest.param(CONDITION, None, 412, 0, id="something else"),
        pytest.param("odd", None, 412, 0, id="a text"),
        pytest.param([], None, 412, 0, id="an empty list"),
        pytest.param({}, None, 412, 0, id="an empty object"),
    ],
)
def test_without_her_patient_resource_the_call_is_refused(
    knowledge: Knowledge, wording: Wording, patient: Any, answers: Quirk | None, code: int, asks: int
) -> None:
    with QuirkServer(Ehr({HER: encode(CASE, NOON)}), answers).serving() as server:
        advisor = reachable(server, knowledge, wording)
        body = request_for(CASE, NOON, advisor.discovery())
        del body["prefetch"]["patient"]
        body["prefetch"] |= {} if patient is ABSENT else {"patient": patient}
        answer = create_app(advisor).test_client().post(DOOR, json=body | leave_to_read(server.base))
    assert answer.status_code == code
    assert server.asked == ["Patient"] * asks
    if code == 412:
        assert_refused(answer)


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize("patient", [None, ABSENT, OUTCOME, bundle(), {**HERSELF, "id": "somebody-else"}, "odd"])
def test_without_a_server_no_patient_is_a_refusal_too(advisor: Advisor, patient: Any) -> None:
    body = request_for(CASE, NOON, advisor.discovery())
    del body["prefetch"]["patient"]
    body["prefetch"] |= {} if patient is ABSENT else {"patient": patient}
    assert_refused(create_app(advisor).test_client().post(DOOR, json=body))


def assert_refused(answer: TestResponse) -> None:
    """412, with an OperationOutcome that says what is missing, and not whose it is."""
    assert (answer.status_code, answer.content_type) == (412, "application/fhir+json")
    told = answer.get_json()
    assert told["resourceType"] == "OperationOutcome"
    assert [issue["severity"] for issue in told["issue"]] == ["error"]
    assert "patient" in told["issue"][0]["diagnostics"].lower()
    assert not [canary for canary in (HER, "somebody-else", TOKEN) if canary in answer.text]


# ---- Over HTTP: everything else


@dataclass(frozen=True)
class Telling:
    """What a list tells of the woman of the case: a fact that is known from it alone, and whether it blocks a dose."""

    fact: str
    blocks: bool = True


LISTED = {
    "problems": Telling("psychosis_ever"),
    "allergies": Telling("ketamine_allergy"),
    "medication_orders": Telling("mao_inhibitor"),
    "medication_administrations": Telling("ergot"),
    "vital_signs": Telling("systolic"),
    "screens": Telling("epds_current"),
    "procedures": Telling("general_anaesthesia", blocks=False),
    "questionnaire_responses": Telling("phq9_self_harm", blocks=False),
    "laboratory": Telling("platelets", blocks=False),
    "obstetrics": Telling("asa_class", blocks=False),
}
LOSSES = [
    pytest.param(ABSENT, Doubt.NOT_RECEIVED, id="absent"),
    pytest.param(OUTCOME, Doubt.NOT_RECEIVED, id="a failure"),
    pytest.param(bundle(said(OUTCOME)), Doubt.NOT_RECEIVED, id="a failure in a Bundle"),
    pytest.param(bundle(said(OUTCOME), total=0), Doubt.NOT_RECEIVED, id="a failure beside a count of 0"),
    pytest.param(bundle(said(NOTE)), Doubt.NOT_RECEIVED, id="a warning without a count"),
    pytest.param("odd", Doubt.NOT_RECEIVED, id="a text"),
    pytest.param(7, Doubt.NOT_RECEIVED, id="a number"),
    pytest.param([], Doubt.NOT_RECEIVED, id="an empty list"),
    pytest.param(BARRED, Doubt.RESTRICTED, id="restricted"),
    pytest.param(bundle(said(BARRED)), Doubt.RESTRICTED, id="restricted in a Bundle"),
    pytest.param(bundle(total=1), Doubt.INCOMPLETE, id="a total above what came"),
    pytest.param(bundle(link=[NEXT]), Doubt.INCOMPLETE, id="a next page that nobody reads"),
    pytest.param(bundle("odd"), Doubt.INCOMPLETE, id="an entry that cannot be read"),
]
# What is there tells where in care she stands. Of what is missing nothing follows.
STAGE = {"pregnancy"}


@pytest.fixture(scope="module")
def hers(knowledge: Knowledge, wording: Wording) -> Advisor:
    """The advisor of her site. It reads prefetch alone."""
    return Advisor(knowledge, wording, Site.from_table(site_of(CASE)), lambda: NOON)


@cache
def door(advisor: Advisor) -> FlaskClient:
    return create_app(advisor).test_client()


def told(advisor: Advisor, **changes: Any) -> tuple[TestResponse, Consultation]:
    """The answer to the case's call with this other prefetch, and what was thought."""
    body = request_for(CASE, NOON, advisor.discovery())
    body["prefetch"] = {key: value for key, value in (body["prefetch"] | changes).items() if value is not ABSENT}
    answer = door(advisor).post(DOOR, json=body)
    assert answer.status_code == 200, answer.text
    request = parse_request(body)
    return answer, advisor.consult(request, gather(request, advisor.sources), NOON)


def known_not_to_be(thought: Consultation) -> set[str]:
    return {fact for fact in thought.facts if thought.facts[fact].state is State.ABSENT}


@pytest.fixture(scope="module")
def absent(hers: Advisor) -> set[str]:
    """What is known not to be so when the whole chart was sent."""
    return known_not_to_be(told(hers)[1])


def test_of_the_whole_chart_each_telling_fact_is_known(hers: Advisor) -> None:
    _, thought = told(hers)
    assert [key for key, telling in LISTED.items() if thought.facts[telling.fact].state is State.UNKNOWN] == []
    assert thought.dose is not None


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize(("value", "doubt"), LOSSES)
@pytest.mark.parametrize("key", LISTED)
def test_whatever_else_is_missing_is_unknown_and_never_normal(
    hers: Advisor, absent: set[str], key: str, value: Any, doubt: Doubt
) -> None:
    answer, thought = told(hers, **{key: value})
    finding = thought.facts[LISTED[key].fact]
    assert (finding.state, finding.doubt) == (State.UNKNOWN, doubt)
    assert doubt.value in answer.text
    assert (thought.dose is None) or not LISTED[key].blocks
    assert known_not_to_be(thought) - absent <= STAGE


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize("value", [ABSENT, OUTCOME, BARRED, "odd", []])
def test_without_any_list_nothing_is_known_not_to_be(hers: Advisor, value: Any) -> None:
    keys = request_for(CASE, NOON, hers.discovery())["prefetch"].keys() - {"patient"}
    _, thought = told(hers, **dict.fromkeys(keys, value))
    assert thought.dose is None
    assert known_not_to_be(thought) & {telling.fact for telling in LISTED.values()} == set()


@pytest.mark.pitfall(4)
@pytest.mark.parametrize(
    ("standing", "state"),
    [
        (None, State.PRESENT),
        ("confirmed", State.PRESENT),
        ("unconfirmed", State.PRESENT),
        ("refuted", State.ABSENT),
        ("entered-in-error", State.ABSENT),
    ],
)
def test_what_was_entered_in_error_is_no_problem_of_hers(
    hers: Advisor, knowledge: Knowledge, standing: str | None, state: State
) -> None:
    system, _, code = sorted(knowledge.terminology.tokens["psychosis"])[0].rpartition("|")
    entry = {
        "resourceType": "Condition",
        "id": "extra",
        "subject": {"reference": f"Patient/{HER}"},
        "code": {"coding": [{"system": system, "code": code}]},
    }
    if standing is not None:
        system = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
        entry["verificationStatus"] = {"coding": [{"system": system, "code": standing}]}
    _, thought = told(hers, problems=bundle(match(entry)))
    assert thought.facts["psychosis_ever"].state is state
    assert (thought.dose is None) is (state is State.PRESENT)
