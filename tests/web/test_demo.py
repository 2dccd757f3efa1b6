"""The invented women are sound FHIR, plainly invented, and their charts are searched honestly."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from cds_service.advisor import Advisor
from cds_service.explanations import Explanations
from cds_service.hooks.strict_json import MOST_BYTES, write_json
from cds_service.knowledge.check_digits import could_exist
from cds_service.records import Records
from cds_service.starting import advisor_at
from cds_service.web.app import create_app
from cds_service.web.brought import chart_of
from cds_service.web.changed_facts import Facts
from cds_service.web.chart_summary import Ago, ago, summary
from cds_service.web.demo import Demo, demo_site
from cds_service.web.markdown import as_html
from cds_service.web.page_words import PageWords
from cds_service.web.played_ehr import draftable_orders, invented_women, look_up, resolve

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WOMEN = {woman.id: woman for woman in invented_women()}
CHECKED = {"http://loinc.org": "loinc", "http://snomed.info/sct": "snomed"}

# What each woman is here to show: the cards when her chart is opened, an order, and the cards when it is drafted.
SHOWS = {
    "alma": (["PPDRISK"], "vaginal-delivery", ["KETOPTION", "PPDRISK"]),
    "bruna": (["PPDRISK"], "caesarean", ["KETOPTION", "PPDRISK"]),
    "chiara": (["PPDRISK"], "caesarean", ["KETCONTRA", "PPDRISK"]),
    "divya": (["PPDRISK"], "vaginal-delivery", ["KETREVIEW", "PPDRISK"]),
    "elif": (["PPDRISK"], "vaginal-delivery", ["KETDATA", "PPDRISK"]),
    "fatou": ([], "vaginal-delivery", []),
    "greta": (["PPDSAFETY", "PPDRISK"], "vaginal-delivery", ["PPDSAFETY", "KETREVIEW", "PPDRISK"]),
    "hana": (["PPDSCREEN"], "caesarean", ["PPDSCREEN"]),
}


@pytest.fixture
def demo(advisor: Advisor) -> FlaskClient:
    return create_app(advisor, demo=Demo(lambda: NOON)).test_client()


def everything_in(value: Any) -> list[Any]:
    """Each member of some JSON, however deep."""
    members = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value, *(inner for member in members for inner in everything_in(member))]


# --- the women


def test_there_are_eight_and_each_shows_something_else():
    assert list(WOMEN) == list(SHOWS)
    assert len({woman.shows for woman in WOMEN.values()}) == 8


@pytest.mark.parametrize("woman", WOMEN.values(), ids=lambda woman: woman.id)
def test_a_woman_is_valid_fhir_and_marked_as_test_data(woman):
    bundle = get_fhir_model_class("Bundle").model_validate(resolve(woman.bundle, NOON))
    assert len(bundle.entry) > 10
    assert any(tag["code"] == "HTEST" for tag in woman.bundle["meta"]["tag"])
    assert all(id_ == woman.id or id_.startswith(f"{woman.id}-") for id_ in (r["id"] for r in woman.chart(NOON)))


@pytest.mark.parametrize("woman", WOMEN.values(), ids=lambda woman: woman.id)
def test_her_codes_can_exist(woman):
    codings = [
        item for item in everything_in(woman.bundle) if isinstance(item, dict) and {"system", "code"} <= set(item)
    ]
    checked = [coding for coding in codings if coding["system"] in CHECKED]
    assert checked
    assert [coding for coding in checked if not could_exist(CHECKED[coding["system"]], coding["code"])] == []


def test_no_date_of_hers_stands_still():
    fixed = re.compile(r"\d{4}-\d{2}-\d{2}")
    for woman in WOMEN.values():
        assert not fixed.search(write_json(woman.bundle).decode()), woman.id


@pytest.mark.parametrize("name", draftable_orders())
def test_a_drafted_order_is_valid_fhir(name):
    context = {"patientId": "alma", "encounterId": "alma-stay", "userId": "Practitioner/x"}
    order = Demo(lambda: NOON).draft(name, context)
    get_fhir_model_class(order["resourceType"]).model_validate(order)
    assert order["status"] == "draft"


# --- dates that move


@pytest.mark.parametrize(
    ("offset", "date"),
    [
        ("@now", "2026-11-23T12:00:00Z"),
        ("@now-6h", "2026-11-23T06:00:00Z"),
        ("@now-35min", "2026-11-23T11:25:00Z"),
        ("@today-31y-200d", "1995-05-07"),
        ("@today+6d", "2026-11-29"),
    ],
)
def test_an_offset_is_counted_from_the_clock(offset, date):
    assert resolve(offset, NOON) == date


def test_a_birthday_on_the_29th_of_february_has_a_year_before():
    assert resolve("@today-1y", datetime(2028, 2, 29, 12, tzinfo=UTC)) == "2027-02-28"


@pytest.mark.parametrize("offset", ["@yesterday", "@now-6", "@now-6weeks", "@"])
def test_an_offset_that_nobody_understands_is_refused(offset):
    with pytest.raises(ValueError, match="not an offset"):
        resolve({"a": [offset]}, NOON)


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        *((-5, Ago("ahead")), (0, Ago("now")), (1, Ago("min", 1)), (119, Ago("min", 119)), (120, Ago("h", 2))),
        *((2880, Ago("d", 2)), (1_100_000, Ago("y", 2))),
    ],
)
def test_an_age_is_told_in_one_unit(minutes, told):
    assert ago((NOON - timedelta(minutes=minutes)).isoformat(), NOON) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [("2026-11-23", Ago("today")), ("2026-11", Ago("d", 22)), ("soon", None), ("", None), ("0000-01-01", None)],
)
def test_the_age_of_a_vague_date_is_told_as_far_as_it_goes(text, told):
    assert ago(text, NOON) == told


# --- searching a chart


CHART = WOMEN["chiara"].chart(NOON)


def entries(query: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in (look_up(CHART, query) or {}).get("entry", [])]


def test_a_read_finds_the_one_resource_or_nothing():
    assert (look_up(CHART, "Patient/chiara") or {})["id"] == "chiara"
    assert look_up(CHART, "Patient/alma") is None


def test_a_search_matches_patient_code_and_status():
    pressures = entries("Observation?patient=chiara&code=http://loinc.org|85354-9,http://loinc.org|8867-4&_sort=-date")
    assert [pressure["code"]["coding"][0]["code"] for pressure in pressures] == ["85354-9", "8867-4", "85354-9"]
    assert entries("Observation?patient=alma") == []
    assert entries("MedicationAdministration?patient=chiara&status=completed") == []
    assert len(entries("MedicationAdministration?patient=chiara&status=completed,in-progress")) == 1


def test_a_search_that_found_nothing_says_so():
    none = {"resourceType": "Bundle", "type": "searchset", "total": 0}
    assert look_up(CHART, "MedicationStatement?patient=chiara") == none


def test_a_search_that_is_cut_short_says_that_there_is_more():
    bundle = look_up(CHART, "Observation?patient=chiara&_count=2") or {}
    assert len(bundle["entry"]) == 2
    assert bundle["total"] > 2
    assert bundle["link"][0]["relation"] == "next"


def test_a_search_that_this_ehr_does_not_know_fails_and_is_not_ignored():
    assert (look_up(CHART, "Observation?patient=chiara&shoe-size=41") or {})["resourceType"] == "OperationOutcome"


def test_this_ehr_knows_every_search_that_the_service_asks_for(demo):
    for service in demo.get("/cds-services").get_json()["services"]:
        request = demo.get(f"/demo/patients/alma/requests/{service['id']}?order=caesarean").get_json()
        assert set(request["prefetch"]) == set(service["prefetch"])
        for key, answer in request["prefetch"].items():
            assert answer is None or answer["resourceType"] != "OperationOutcome", key


# --- the page


@pytest.mark.parametrize("woman", SHOWS)
def test_each_woman_gets_the_cards_that_she_is_here_to_show(demo, woman):
    on_opening, order, on_ordering = SHOWS[woman]
    for service, query, expected in (
        ("ppd-chart-review", "", on_opening),
        ("ppd-delivery-order", f"?order={order}", on_ordering),
    ):
        request = demo.get(f"/demo/patients/{woman}/requests/{service}{query}").get_json()
        answer = demo.post(f"/cds-services/{service}", json=request)
        assert answer.status_code == 200, answer.text
        assert [card["source"]["topic"]["code"] for card in answer.get_json()["cards"]] == expected


def test_the_demonstration_hospital_is_no_real_one():
    site = demo_site()
    assert (site.country, site.review) == ("CN", None)
    assert site.protocol is not None
    assert site.protocol.approval == "DEMO-ONLY"


def test_the_page_runs_nothing_that_it_did_not_bring(demo):
    page = demo.get("/demo")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Demonstration. Synthetic patients. Not for clinical use." in page.text
    assert not re.search(r"<script>|<style|style=|\son\w+=|https?://", page.text)
    static = Path(create_app.__globals__["__file__"]).parent / "static"
    for file in static.iterdir():
        assert demo.get(f"/demo/static/{file.name}", buffered=True).status_code == 200


def test_the_front_page_leads_to_the_demonstration(demo):
    assert demo.get("/").headers["Location"] == "/demo"


@pytest.mark.parametrize(
    "path",
    [
        "/demo/patients/nobody",
        "/demo/patients/nobody/requests/ppd-chart-review",
        "/demo/patients/alma/requests/no-such-service",
        "/demo/patients/alma/requests/ppd-delivery-order?order=tea",
    ],
)
def test_what_is_not_there_is_404(demo, path):
    assert demo.get(path).status_code == 404


def test_a_chart_at_a_glance_shows_the_newest_of_each_measurement():
    shown = summary(CHART, NOON)
    tiles = {tile.says: tile for section in shown.tiles for tile in section.lines}
    assert tiles["Blood pressure"].value == "152/98"
    assert (tiles["EPDS"].value, tiles["EPDS"].note) == ("14", "item 10: 0")
    assert shown.head.age == 34


def test_of_a_long_chart_the_newest_entries_are_shown_and_the_others_counted():
    days = [
        {**CHART[0], "resourceType": "Condition", "id": f"c{day}", "recordedDate": f"2026-10-{day:02}"}
        for day in range(1, 31)
    ]
    problems = next(section for section in summary([*CHART, *days], NOON).lists if section.name == "problems")
    assert len(problems.lines) == 12
    assert problems.more == 30 + sum(resource["resourceType"] == "Condition" for resource in CHART) - 12
    assert problems.lines[-1].date == "2026-10-30"


# --- what a visitor brings

Outcome = tuple[int, str]


def bundle_of(woman: str) -> dict[str, Any]:
    """Her chart as a file that somebody could bring."""
    chart: dict[str, Any] = json.loads(write_json(resolve(WOMEN[woman].bundle, NOON)))
    return chart


def told(answer: Any) -> Outcome:
    """The status, and the one line of an OperationOutcome."""
    outcome = answer.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    line: str = issue["diagnostics"]
    assert "\n" not in line
    return answer.status_code, line


def fired(demo: FlaskClient, chart: str, service: str, **more: Any) -> list[str]:
    """The topics of the cards when the service's hook is fired from this chart, as the page does it."""
    made = demo.post("/demo/requests", data=f'{{"chart":{chart},{json.dumps({"service": service, **more})[1:]}')
    assert made.status_code == 200, made.text
    answer = demo.post(f"/cds-services/{service}", data=made.data, content_type="application/json")
    assert answer.status_code == 200, answer.text
    return [card["source"]["topic"]["code"] for card in answer.get_json()["cards"]]


@pytest.mark.parametrize("woman", SHOWS)
def test_her_chart_brought_as_a_file_gets_the_cards_that_she_gets(demo, woman):
    opened = demo.post("/demo/uploads", json=bundle_of(woman)).get_json()
    on_opening, order, on_ordering = SHOWS[woman]
    assert opened["kind"] == "chart"
    assert fired(demo, opened["chart"], "ppd-chart-review") == on_opening
    assert fired(demo, opened["chart"], "ppd-delivery-order", order=order) == on_ordering


def test_each_hook_of_a_stay_is_fired_from_a_chart(demo):
    chart = demo.post("/demo/uploads", json=bundle_of("alma")).get_json()["chart"]
    draft = {**draftable_orders()["esketamine"], "subject": {"reference": "Patient/alma"}}
    stay = [service["id"] for service in demo.get("/cds-services").get_json()["services"]]
    got = {service: fired(demo, chart, service, drafts=[draft]) for service in stay}
    assert got == {
        "ppd-chart-review": ["PPDRISK"],
        "ppd-admission": ["PPDRISK"],
        "ppd-delivery-order": ["KETORDER", "KETOPTION", "PPDRISK"],
        "ppd-order-check": ["KETORDER", "KETOPTION", "PPDRISK"],
        "ppd-discharge": ["PPDFOLLOWUP"],
    }
    assert re.findall(r'data-service="([\w-]+)"', demo.get("/demo").text) == stay


def test_the_order_just_chosen_stands_first_and_takes_the_place_of_an_earlier_one(demo):
    chart = demo.get("/demo/patients/bruna").get_json()["chart"]
    drafts = [{"resourceType": "ServiceRequest", "id": id_} for id_ in ("draft-caesarean", "other")]
    asked = {"chart": json.loads(chart), "service": "ppd-delivery-order", "order": "caesarean", "drafts": drafts}
    context = demo.post("/demo/requests", json=asked).get_json()["context"]
    assert [entry["resource"]["id"] for entry in context["draftOrders"]["entry"]] == ["draft-caesarean", "other"]
    assert context["selections"] == ["ServiceRequest/draft-caesarean"]
    assert context["draftOrders"]["entry"][0]["resource"]["subject"] == {"reference": "Patient/bruna"}


def test_references_to_a_place_in_the_bundle_become_references_to_the_resource():
    chart = chart_of(
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "she"}},
                {
                    "fullUrl": "urn:uuid:2",
                    "resource": {"resourceType": "Condition", "subject": {"reference": "urn:uuid:1"}},
                },
            ],
        }
    )
    assert chart[1]["subject"] == {"reference": "Patient/she"}
    assert chart[1]["id"] == "entry-2"
    found = look_up(chart, "Condition?patient=she")
    assert found is not None
    assert found["total"] == 1


def test_a_chart_keeps_its_numbers_digit_for_digit(demo):
    text = write_json(bundle_of("alma")).decode().replace('"value":82', '"value":82.00')
    assert '"value":82.00' in demo.post("/demo/uploads", data=text).get_json()["chart"]


def test_a_request_goes_to_the_service_of_its_hook(demo):
    request = demo.get("/demo/patients/bruna/requests/ppd-admission").data
    brought = demo.post("/demo/uploads", data=request).get_json()
    assert (brought["kind"], brought["service"]) == ("request", "ppd-admission")
    assert "encounter-start" in brought["look"]


PATIENT = {"resource": {"resourceType": "Patient", "id": "she"}}


@pytest.mark.parametrize(
    ("brought", "line"),
    [
        (b"", "the body is empty"),
        (b"{canary", "not JSON (Expecting property name enclosed in double quotes), at character 2"),
        (b'{"resourceType":"Bundle","entry":[NaN]}', "a number that is not finite, at character 35"),
        (b"[" * 100 + b"]" * 100, "nested deeper than 64 levels, at character 65"),
        (b"[]", "this is neither a FHIR Bundle nor a CDS Hooks request"),
        (b'{"resourceType":"Patient","id":"canary"}', "this is neither a FHIR Bundle nor a CDS Hooks request"),
        ({"resourceType": "Bundle"}, "the Bundle has no list of entries"),
        ({"resourceType": "Bundle", "entry": []}, "the Bundle holds no Patients: a chart is of one"),
        ({"resourceType": "Bundle", "entry": [PATIENT, PATIENT]}, "the Bundle holds 2 Patients: a chart is of one"),
        ({"resourceType": "Bundle", "entry": [{"resource": "canary"}]}, "the Bundle has an entry without a resource"),
        (
            {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "canary/../x"}}]},
            "the Patient's id is not a FHIR id",
        ),
        (
            {"hook": "canary"},
            "hook is none of patient-view, encounter-start, order-select, order-sign, encounter-discharge",
        ),
        ({"hook": "patient-view"}, "hookInstance is missing"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_plain_line(demo, brought, line):
    body = brought if isinstance(brought, bytes) else json.dumps(brought).encode()
    assert told(demo.post("/demo/uploads", data=body)) == (400, line)


def test_what_is_too_large_is_refused(demo):
    assert told(demo.post("/demo/uploads", data=b" " * (MOST_BYTES + 1)))[0] == 413


@pytest.mark.parametrize(
    ("path", "asked", "line"),
    [
        ("/demo/requests", [], "the body is not an object"),
        ("/demo/requests", {}, "the chart is not a FHIR Bundle"),
        ("/demo/requests", {"chart": 1, "service": []}, "service names nothing that is here"),
        (
            "/demo/requests",
            {"chart": 1, "service": "ppd-admission", "order": "tea"},
            "order names nothing that is here",
        ),
        ("/demo/requests", {"chart": 1, "drafts": [7]}, "drafts is not a list of resources"),
        ("/demo/changes", {"chart": 1}, "facts is not an object"),
        ("/demo/changes", {"chart": 1, "facts": {"canary": ["1"]}}, "facts: one of them is none that can be changed"),
        (
            "/demo/changes",
            {"chart": 1, "facts": {"weight": "60"}},
            "facts.weight is not as many texts as it has fields",
        ),
        ("/demo/changes", {"chart": 1, "facts": {"weight": ["heavy"]}}, "facts.weight is not a number"),
        ("/demo/changes", {"chart": 1, "facts": {"epds": ["9.5", ""]}}, "facts.epds is not a whole number"),
        ("/demo/changes", {"chart": 1, "facts": {"allergy": ["canary"]}}, "facts.allergy is none of the choices"),
    ],
)
def test_what_nobody_can_ask_is_refused_in_one_plain_line(demo, path, asked, line):
    if isinstance(asked, dict) and asked.get("chart") == 1:
        asked = {**asked, "chart": bundle_of("alma")}
    assert told(demo.post(path, json=asked)) == (400, line)


def test_a_name_in_a_chart_can_do_nothing(demo):
    bundle = json.loads(json.dumps(bundle_of("alma")).replace("Sample", HOSTILE[0]).replace('EPDS"', f'{HOSTILE[1]}"'))
    look = demo.post("/demo/uploads", json=bundle).get_json()["look"]
    assert "&lt;script&gt;" in look
    assert not re.search(r"<(script|img)\b", look)


JUNK = st.sampled_from(
    [None, True, -1, 1e9, "", "x" * 300, "2026-13-45", "@now", [], {}, [[]], [None], {"code": []}, {"coding": {}}]
)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each member of some JSON."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in ((*path, key), *places_in(value[key], (*path, key)))]


def spoiled(chart: Any, path: tuple[Any, ...], junk: Any) -> None:
    for key in path[:-1]:
        chart = chart[key]
    chart[path[-1]] = junk


@cache
def door_of(advisor: Advisor) -> FlaskClient:
    """Made once for all the charts that hypothesis tries."""
    return create_app(advisor, demo=Demo(lambda: NOON)).test_client()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_spoiled_chart_is_opened_or_refused_and_never_breaks_anything(advisor, data):
    demo = door_of(advisor)
    bundle = bundle_of(data.draw(st.sampled_from(["chiara", "divya"])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(places_in(bundle)))
        spoiled(bundle, place, data.draw(JUNK))
    opened = demo.post("/demo/uploads", json=bundle)
    if opened.status_code == 400:
        told(opened)
        return
    assert opened.status_code == 200, opened.text
    chart = opened.get_json()["chart"]
    made = demo.post("/demo/requests", data=f'{{"chart":{chart},"service":"ppd-delivery-order","order":"caesarean"}}')
    assert made.status_code == 200, made.text
    wishes = {
        "weight": ["70"],
        "blood-pressure": ["120", "80"],
        "epds": ["", ""],
        "allergy": ["ketamine"],
        "problem": [""],
    }
    changed = demo.post("/demo/changes", data=f'{{"chart":{chart},"facts":{json.dumps(wishes)}}}')
    assert changed.status_code == 200, changed.text


# --- changing a fact


@pytest.mark.parametrize(
    ("wishes", "topics"),
    [
        ({}, ["KETOPTION", "PPDRISK"]),
        ({"weight": ["63.0"]}, ["KETOPTION", "PPDRISK"]),
        ({"weight": [""]}, ["KETDATA", "PPDRISK"]),
        ({"blood-pressure": ["146", "84"]}, ["KETREVIEW", "PPDRISK"]),
        ({"blood-pressure": ["165", "100"]}, ["KETCONTRA", "PPDRISK"]),
        ({"blood-pressure": ["", ""]}, ["KETDATA", "PPDRISK"]),
        ({"epds": ["6", "0"]}, []),
        ({"epds": ["14", "2"]}, ["PPDSAFETY", "KETREVIEW", "PPDRISK"]),
        ({"epds": ["", ""]}, ["PPDSCREEN"]),
        ({"allergy": ["ketamine"]}, ["KETCONTRA", "PPDRISK"]),
        ({"allergy": [""]}, ["KETDATA", "PPDRISK"]),
        ({"problem": ["pre_eclampsia"]}, ["KETCONTRA", "PPDRISK"]),
        ({"problem": ["psychosis"]}, ["PPDSAFETY", "KETCONTRA", "PPDRISK"]),
        ({"oxygen-saturation": ["93"]}, ["KETREVIEW", "PPDRISK"]),
    ],
)
def test_a_changed_fact_changes_the_cards(demo, wishes, topics):
    chart = demo.get("/demo/patients/alma").get_json()["chart"]
    opened = demo.post("/demo/changes", data=f'{{"chart":{chart},"facts":{json.dumps(wishes)}}}').get_json()
    assert fired(demo, opened["chart"], "ppd-delivery-order", order="vaginal-delivery") == topics


def test_two_weights_that_do_not_agree_are_no_weight_to_dose_on(demo):
    chart = demo.get("/demo/patients/bruna").get_json()["chart"]
    for weight, topics in (("75", ["KETOPTION", "PPDRISK"]), ("85", ["KETDATA", "PPDRISK"])):
        opened = demo.post("/demo/changes", data=f'{{"chart":{chart},"facts":{{"weight":["{weight}"]}}}}').get_json()
        assert fired(demo, opened["chart"], "ppd-delivery-order", order="caesarean") == topics


def test_a_fact_changed_back_gets_the_cards_of_before(demo):
    chart = demo.get("/demo/patients/alma").get_json()["chart"]
    for wishes in (
        {"allergy": ["ketamine"], "problem": ["psychosis"]},
        {"allergy": ["no_known_allergy"], "problem": [""]},
    ):
        chart = demo.post("/demo/changes", data=f'{{"chart":{chart},"facts":{json.dumps(wishes)}}}').get_json()["chart"]
    assert fired(demo, chart, "ppd-delivery-order", order="vaginal-delivery") == SHOWS["alma"][2]


def test_a_change_is_a_new_entry_as_fhir_and_what_stood_there_stays(advisor):
    facts, chart = Facts(advisor.knowledge.terminology), WOMEN["alma"].chart(NOON)
    wishes = {"weight": ["61.5"], "blood-pressure": ["121", "79"], "oxygen-saturation": ["97"], "epds": ["13", "1"]}
    chosen = {"allergy": ["ketamine"], "problem": ["bipolar_disorder"]}
    after = facts.changed(chart, {**wishes, **chosen}, NOON)
    new = [entry for entry in after if entry["id"].startswith("changed-")]
    assert len(new) == 6
    for entry in new:
        get_fhir_model_class(entry["resourceType"]).model_validate(entry)
        assert "2026-11-23T12:00:00Z" in {entry.get("effectiveDateTime"), entry.get("recordedDate")}
        for coding in (item for item in everything_in(entry) if isinstance(item, dict) and "display" in item):
            if coding["system"] in CHECKED:
                assert could_exist(CHECKED[coding["system"]], coding["code"])
    gone = [entry["code"]["text"] for entry in chart if entry not in after]
    assert gone == ["No known allergy"]
    assert facts.standing(after) == {**wishes, **chosen}


def test_a_second_change_takes_the_place_of_the_first(advisor):
    facts, chart = Facts(advisor.knowledge.terminology), WOMEN["alma"].chart(NOON)
    for weight in ("61", "62"):
        chart = facts.changed(chart, {"weight": [weight]}, NOON)
    weights = [entry["valueQuantity"]["value"] for entry in chart if entry.get("code", {}).get("text") == "Body weight"]
    assert [str(weight) for weight in weights] == ["60.0", "62"]


def test_no_code_of_a_measurement_a_problem_or_a_medicine_is_typed_in_for_the_changes():
    shelf = (Path(create_app.__globals__["__file__"]).parent / "facts.json").read_text("utf-8")
    systems = {
        item["system"] for item in everything_in(json.loads(shelf)) if isinstance(item, dict) and "system" in item
    }
    assert all(
        system.startswith(("http://terminology.hl7.org/", "http://unitsofmeasure.org", "urn:cds-service:demo"))
        for system in systems
    )


def test_each_fact_and_each_choice_has_its_words_on_the_page(demo):
    look = demo.get("/demo/patients/alma").get_json()["look"]
    assert look.count("<label>") == 8
    assert not re.search(r"<label><span>\s*<|<option[^>]*>\s*</option>", look)


# --- what comes back, and why


def test_what_became_of_a_card_is_kept_and_said(advisor):
    door = create_app(advisor, demo=Demo(lambda: NOON), records=Records.in_memory()).test_client()
    item = {"card": "c", "outcome": "overridden", "overrideReason": {"reason": {"code": "other"}}}
    answers = [door.post("/cds-services/ppd-admission/feedback", json={"feedback": [item]}).get_json() for _ in "12"]
    assert answers == [{"kept": 1, "repeated": 0}, {"kept": 0, "repeated": 1}]


def test_the_page_leads_to_what_became_of_the_cards_where_that_is_kept(advisor, demo):
    keeping = create_app(advisor, demo=Demo(lambda: NOON), records=Records.in_memory()).test_client()
    assert 'href="/insights"' in keeping.get("/demo").text
    assert keeping.get("/insights").status_code == 200
    assert 'href="/insights"' not in demo.get("/demo").text


def test_each_card_of_the_demonstration_leads_to_the_thought_behind_it(knowledge, wording):
    explaining = Advisor(
        knowledge, wording, demo_site(), lambda: NOON, explanations=Explanations.in_memory("https://demo")
    )
    door = create_app(explaining, demo=Demo(lambda: NOON)).test_client()
    request = door.get("/demo/patients/bruna/requests/ppd-delivery-order?order=caesarean").get_json()
    answer = door.post("/cds-services/ppd-delivery-order", json=request).get_json()
    html = door.post("/demo/cards", json=answer).text
    links = re.findall(r'<a class="why" href="https://demo(/[^"]+)"', html)
    assert len(links) == len(answer["cards"]) == 2
    assert "esketamine 14 mg" in door.get(links[0].replace("&amp;", "&")).text


def test_the_script_holds_no_words_of_its_own(demo):
    script = demo.get("/demo/static/demo.js", buffered=True).text
    sentence = re.compile(r"""["'`][A-Z][a-z]+[ .…][^"'`\n]*["'`]""")
    assert sentence.search('make("p", {}, "Asking the service…")')
    assert sentence.findall(script) == []


# --- the page in another language

WEB = Path(create_app.__globals__["__file__"]).parent
LANGUAGES = sorted(file.stem for file in (WEB / "words").glob("*.toml"))


def said_on_the_page() -> set[str]:
    """Every English text that the templates, the women and the orders give to be said."""
    templates = [file.read_text("utf-8") for file in (WEB / "templates").glob("demo*.html")]
    orders = list(draftable_orders().values())
    return {
        *(text for template in templates for text in re.findall(r'say\("([^"]+)"', template)),
        *(woman.shows for woman in WOMEN.values()),
        *((order.get("code") or order["medicationCodeableConcept"])["text"] for order in orders),
        *(
            item["text"]
            for order in orders
            for name in ("reasonCode", "dosageInstruction")
            for item in order.get(name, [])
        ),
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_another_language_has_each_text_and_no_other(language):
    words = PageWords.of(language)
    assert words.language == language
    assert set(words.instead) == said_on_the_page()
    filled_in = re.compile(r"\{\w+\}|%d|\d+")
    for english, other in words.instead.items():
        assert sorted(filled_in.findall(other)) == sorted(filled_in.findall(english)), english


def test_the_templates_say_nothing_past_the_words():
    for file in (WEB / "templates").glob("demo*.html"):
        plain = re.sub(r"(?s)\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<code>.*?</code>", "", file.read_text("utf-8"))
        assert re.findall(r"[A-Za-z]{2,}", re.sub(r"<[^>]*>", "", plain)) == [], file.name
        assert re.findall(r'(?:aria-label|alt|placeholder|title)="[^"]*[A-Za-z]{2}', plain) == [], file.name


def test_a_language_without_words_is_spoken_in_english():
    words = PageWords.of("tlh")
    assert (words.language, words.say("Why?")) == ("en", "Why?")
    assert words.say("born {day}", day="<b>") == "born &lt;b&gt;"
    assert words.say("{n} in the list") == "{n} in the list"


def test_the_page_speaks_the_language_of_the_site():
    spanish = create_app(advisor_at(demo_site("es"), lambda: NOON), demo=Demo(lambda: NOON)).test_client()
    page = spanish.get("/demo").text
    assert '<html lang="es">' in page
    assert "Pacientes ficticias" in page
    opened = spanish.get("/demo/patients/alma").get_json()
    assert "nacida el 1997-07-06" in opened["look"]
    assert fired(spanish, opened["chart"], "ppd-delivery-order", order="vaginal-delivery") == SHOWS["alma"][2]


# --- markdown


def test_markdown_becomes_html_below_the_heading_of_its_card():
    html = as_html("## Dose\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n[source](https://example.org/x)")
    assert "<h5>Dose</h5>" in html
    assert "<td><strong>2</strong></td>" in html
    assert '<a href="https://example.org/x"' in html
    assert 'rel="noopener noreferrer"' in html


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "[x](http://example.org)",
    "![x](https://example.org/x.png)",
    "<b onclick=alert(1)>x</b>",
    "<style>*{display:none}</style>",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_markdown_can_do_nothing(hostile):
    html = as_html(hostile)
    assert not re.search(r"<(script|img|style|b)\b|javascript:\S*\"|href=\"http:|<[^>]+\son", html)


@pytest.mark.parametrize("hostile", [*HOSTILE, "javascript:alert(1)", '"><svg onload=alert(1)>'])
def test_no_member_of_a_card_can_do_anything(demo, hostile):
    card = {
        **dict.fromkeys(("uuid", "summary", "indicator", "detail"), hostile),
        "source": {"label": hostile, "topic": {"code": hostile}},
        "suggestions": [{"uuid": hostile, "label": hostile, "actions": [{"description": hostile}]}],
        "overrideReasons": [{"code": hostile, "display": hostile}],
        "links": [{"label": hostile, "url": hostile}],
    }
    html = demo.post("/demo/cards", json={"cards": [card]}).text
    assert not re.search(r"<(script|img|style|b)\b|href=\"javascript|<[^>\"]+\son\w+=", html)


@pytest.mark.parametrize("odd", [None, 7, "x", [7], [[]], [{"suggestions": 7, "links": [None], "source": "x"}]])
def test_cards_of_any_shape_are_shown_as_far_as_they_go(demo, odd):
    assert demo.post("/demo/cards", json={"cards": odd}).status_code == 200
