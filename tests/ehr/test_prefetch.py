"""Four ways in which a prefetch key can stand, under each name that a list may have: had, none, failed, not asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ehr import request_for
from encoding import Json, read_cases, site_of

from cds_service.advisor import Advisor
from cds_service.clinical.facts import State
from cds_service.ehr.answers import Had
from cds_service.ehr.gathering import gather
from cds_service.hooks.request import parse_request
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

CASE = next(case for case in read_cases() if case.id == "V01")
ID = "p1"
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
SELF = {"relation": "self", "url": f"https://ehr.example.org/fhir/Condition?patient={ID}"}


def bundle(*entries: Json, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": list(entries), **more}


def match(resource: Json) -> Json:
    return {"resource": resource, "search": {"mode": "match"}}


def said(outcome: Json) -> Json:
    return {"resource": outcome, "search": {"mode": "outcome"}}


def asked(advisor: Advisor, prefetch: Any) -> tuple[Had, int]:
    """How the problem list was had, and how many problems came, of a chart with this prefetch."""
    body = {
        "hook": "patient-view",
        "hookInstance": "i",
        "context": {"userId": "Practitioner/1", "patientId": ID},
        "prefetch": prefetch,
    }
    chart = gather(parse_request(body), advisor.sources)
    return chart.had["problems"], len(chart.of("Condition"))


PATIENT: Json = {"resourceType": "Patient", "id": ID}
ABSENT = object()
STATES = [
    # what came, how it was had, how many entries, why
    pytest.param(bundle(match(CONDITION)), Had.WHOLE, 1, id="value"),
    pytest.param(bundle({"resource": CONDITION}), Had.WHOLE, 1, id="value without a search mode"),
    pytest.param(None, Had.WHOLE, 0, id="null is a known none (2.0)"),
    pytest.param(bundle(), Had.WHOLE, 0, id="an empty Bundle is a known none (2.0)"),
    pytest.param({"resourceType": "Bundle", "type": "searchset"}, Had.WHOLE, 0, id="a Bundle without entry, too"),
    pytest.param(bundle(total=0), Had.WHOLE, 0, id="and one that counts 0"),
    pytest.param(bundle(said(NOTE), total=0), Had.WHOLE, 0, id="Epic's empty search: a word that it found none (4101)"),
    pytest.param(OUTCOME, Had.FAILED, 0, id="an OperationOutcome is a failure"),
    pytest.param(bundle(said(OUTCOME)), Had.FAILED, 0, id="and so is one in the Bundle"),
    pytest.param(bundle(match(CONDITION), said(OUTCOME)), Had.FAILED, 1, id="an error beside entries fails the list"),
    pytest.param(bundle(match(CONDITION), said(NOTE)), Had.WHOLE, 1, id="a warning beside entries changes nothing"),
    pytest.param(BARRED, Had.RESTRICTED, 0, id="what may not be read is restricted"),
    pytest.param(bundle(match(CONDITION), link=[{"relation": "next", "url": "x"}]), Had.CUT_SHORT, 1, id="a next link"),
    pytest.param(bundle(match(CONDITION), total=2), Had.CUT_SHORT, 1, id="a total above what came"),
    pytest.param(bundle(match(CONDITION), total=1), Had.WHOLE, 1, id="a total of what came"),
    pytest.param(bundle(match(CONDITION), "odd"), Had.CUT_SHORT, 1, id="an entry that is none"),
    pytest.param(ABSENT, Had.NOT_ASKED, 0, id="absent: not asked"),
]


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize(("value", "had", "count"), STATES)
def test_under_our_own_key(advisor: Advisor, value: Any, had: Had, count: int) -> None:
    prefetch = {"patient": PATIENT} if value is ABSENT else {"patient": PATIENT, "problems": value}
    assert asked(advisor, prefetch) == (had, count)


@pytest.mark.conforms("P-3")
@pytest.mark.parametrize(
    ("value", "had", "count"),
    [row for row in STATES if not str(row.id).startswith(("an OperationOutcome", "what may"))],
)
def test_under_a_name_of_the_ehrs_that_tells(advisor: Advisor, value: Any, had: Had, count: int) -> None:
    prefetch = {"patient": PATIENT} if value is ABSENT else {"patient": PATIENT, "Problem-List": value}
    assert asked(advisor, prefetch) == (had, count)


@pytest.mark.parametrize(("value", "had", "count"), [row for row in STATES if isinstance(row.values[0], dict)])
def test_under_any_name_with_the_search_that_it_answers(advisor: Advisor, value: Json, had: Had, count: int) -> None:
    if value["resourceType"] != "Bundle":
        assert asked(advisor, {"patient": PATIENT, "query-7": value}) == (Had.NOT_ASKED, 0)
        return
    linked = {**value, "link": [SELF, *value.get("link", ())]}
    assert asked(advisor, {"patient": PATIENT, "query-7": linked}) == (had, count)


@pytest.mark.parametrize(
    ("value", "had", "count"),
    [
        (bundle(match(CONDITION)), Had.WHOLE, 1),
        (bundle(match({**CONDITION, "resourceType": "Procedure"})), Had.NOT_ASKED, 0),
        (bundle(), Had.NOT_ASKED, 0),
        (None, Had.NOT_ASKED, 0),
        (OUTCOME, Had.NOT_ASKED, 0),
        (CONDITION, Had.CUT_SHORT, 1),
        ("odd", Had.NOT_ASKED, 0),
    ],
)
def test_under_a_name_that_tells_nothing_only_the_content_speaks(
    advisor: Advisor, value: Any, had: Had, count: int
) -> None:
    assert asked(advisor, {"patient": PATIENT, "-user": value}) == (had, count)


def test_one_raw_bundle_in_place_of_the_object(advisor: Advisor) -> None:
    """HealthChain's client sends it. What is not in it was not asked."""
    raw = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT}, {"resource": CONDITION}]}
    had, count = asked(advisor, raw)
    assert (had >= Had.CUT_SHORT, count) == (True, 1)
    alone = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": PATIENT}]}
    assert asked(advisor, alone) == (Had.NOT_ASKED, 0)


@pytest.mark.parametrize(
    ("listed", "had"),
    [
        (match({**CONDITION, "resourceType": "Procedure", "status": "completed"}), Had.FAILED),
        (match({**CONDITION, "verificationStatus": {"coding": [{"code": "entered-in-error"}]}}), Had.WHOLE),
    ],
)
def test_entries_of_another_type_answer_nothing_and_an_error_of_entry_does(
    advisor: Advisor, listed: Json, had: Had
) -> None:
    assert asked(advisor, {"patient": PATIENT, "problems": bundle(listed)})[0] is had


# ---- Over HTTP


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize("patient", [None, ABSENT, OUTCOME, bundle(), {**PATIENT, "id": "somebody-else"}, "odd"])
def test_without_her_patient_resource_the_call_is_refused(advisor: Advisor, now: datetime, patient: Any) -> None:
    body = request_for(CASE, now, advisor.discovery())
    body["prefetch"].pop("patient")
    if patient is not ABSENT:
        body["prefetch"]["patient"] = patient
    answer = create_app(advisor).test_client().post("/cds-services/ppd-delivery-order", json=body)
    assert (answer.status_code, answer.content_type) == (412, "application/fhir+json")


KEYS = {
    "problems": "psychosis_ever",
    "allergies": "ketamine_allergy",
    "medication_orders": "mao_inhibitor",
    "vital_signs": "systolic",
    "screens": "epds_current",
}


@pytest.mark.conforms("P-5")
@pytest.mark.parametrize("failure", [ABSENT, OUTCOME, bundle(said(OUTCOME)), "odd", 7, []])
@pytest.mark.parametrize("key", KEYS)
def test_whatever_else_is_missing_is_unknown_and_never_normal(
    knowledge: Knowledge, wording: Wording, now: datetime, key: str, failure: Any
) -> None:
    advisor = Advisor(knowledge, wording, Site.from_table(site_of(CASE)), lambda: now)
    body = request_for(CASE, now, advisor.discovery())
    body["prefetch"].pop(key)
    if failure is not ABSENT:
        body["prefetch"][key] = failure
    answer = create_app(advisor).test_client().post("/cds-services/ppd-delivery-order", json=body)
    assert answer.status_code == 200
    request = parse_request(body)
    thought = advisor.consult(request, gather(request, advisor.sources), now)
    assert thought.facts[KEYS[key]].state is State.UNKNOWN
    assert thought.dose is None
