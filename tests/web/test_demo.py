"""The invented women are sound FHIR, plainly invented, and their charts are searched honestly."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from flask.testing import FlaskClient

from cds_service.advisor import Advisor
from cds_service.knowledge.check_digits import could_exist
from cds_service.web.app import create_app
from cds_service.web.chart_summary import ago, summary
from cds_service.web.demo import Demo, demo_site
from cds_service.web.markdown import as_html
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
        assert not fixed.search(json.dumps(woman.bundle)), woman.id


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
    ("minutes", "says"),
    [(0, "just now"), (1, "1 min ago"), (119, "119 min ago"), (120, "2 h ago"), (2880, "2 d ago")],
)
def test_an_age_is_told_in_one_unit(minutes, says):
    assert ago((NOON - timedelta(minutes=minutes)).isoformat(), NOON) == says


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
    vital_signs = {tile["says"]: tile for group in shown["tiles"] for tile in group["tiles"]}
    assert vital_signs["Blood pressure"]["value"] == "152/98"
    assert (vital_signs["EPDS"]["value"], vital_signs["EPDS"]["note"]) == ("14", "item 10: 0")
    assert shown["age"] == "34 years"


# --- markdown


def test_markdown_becomes_html_below_the_heading_of_its_card():
    html = as_html("## Dose\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n[source](https://example.org/x)")
    assert "<h5>Dose</h5>" in html
    assert "<td><strong>2</strong></td>" in html
    assert '<a href="https://example.org/x"' in html
    assert 'rel="noopener noreferrer"' in html


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](http://example.org)",
        "![x](https://example.org/x.png)",
        "<b onclick=alert(1)>x</b>",
        "<style>*{display:none}</style>",
    ],
)
def test_markdown_can_do_nothing(demo, hostile):
    html = demo.post("/demo/markdown", data=hostile, content_type="text/markdown").text
    assert not re.search(r"<(script|img|style|b)\b|javascript:\S*\"|href=\"http:|<[^>]+\son", html)
