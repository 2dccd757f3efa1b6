"""
Charts that other people made up: no crash, no dose, and words about what is missing.

They are no part of this project. The environment says where they lie: CDS_TEST_PATIENTS is a folder of FHIR R4
Bundles, one a woman (*.json.gz); CDS_TEST_R4_EXAMPLES is a folder of example resources, one a line (*.ndjson.gz).
"""

from __future__ import annotations

import copy
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import NOON, AdvisorOf
from ehr import Ehr, request_for, resolved, service_for
from encoding import Case, Json, read_cases, site_of

from cds_service.advisor import Advice, Advisor
from cds_service.batch import Asked, evaluate
from cds_service.ehr.gathering import gather
from cds_service.ehr.wanted import OWNER
from cds_service.hooks.request import parse_request
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import Site

CASES = {case.id: case for case in read_cases()}
PREGNANCY = "72892002"
CAESAREAN = "11466000"
DATES = (
    "effectiveDateTime",
    "authoredOn",
    "authored",
    "recordedDate",
    "onsetDateTime",
    "performedDateTime",
    "issued",
    "occurrenceDateTime",
    "date",
    "created",
)


def folder(variable: str) -> Path | None:
    path = os.environ.get(variable)
    return Path(path) if path else None


def women() -> list[Any]:
    place = folder("CDS_TEST_PATIENTS")
    if place is None:
        return [pytest.param(None, marks=pytest.mark.skip(reason="CDS_TEST_PATIENTS is not set"))]
    found = sorted(place.glob("*.json.gz"))
    assert found, f"no Bundles in {place}"
    return [pytest.param(path, id=path.name.removesuffix(".json.gz")) for path in found]


WOMEN = women()


# ---- Her chart


@dataclass(frozen=True)
class Chart:
    """A woman's Bundle, and a day of her last long pregnancy."""

    bundle: Json
    patient: str
    now: datetime

    def as_it_stood(self) -> list[Json]:
        """Her resources at that time, with ordinary references."""
        text = json.dumps(self.bundle).replace(f"urn:uuid:{self.patient}", f"Patient/{self.patient}")
        resources = [entry["resource"] for entry in json.loads(text)["entry"]]
        return [resource for resource in resources if _written(resource) <= self.now]


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _written(resource: Json) -> datetime:
    """When an entry was made; for ever ago when it does not say."""
    told = [resource[name] for name in DATES if isinstance(resource.get(name), str)]
    period = resource.get("period") or resource.get("performedPeriod") or resource.get("effectivePeriod") or {}
    told += [period["start"]] if "start" in period else []
    return max((_instant(text) for text in told), default=datetime.min.replace(tzinfo=UTC))


@cache
def read(path: Path) -> Chart:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        bundle = json.load(file)
    resources = [entry["resource"] for entry in bundle["entry"]]
    (patient,) = [one["id"] for one in resources if one["resourceType"] == "Patient"]
    return Chart(bundle, patient, max(_in_pregnancy(resources)))


def _in_pregnancy(resources: list[Json]) -> Iterator[datetime]:
    """Late in each pregnancy that she had, at noon: a day before its end, at most 38 weeks after its beginning."""
    for one in resources:
        if one["resourceType"] == "Condition" and any(c.get("code") == PREGNANCY for c in one["code"]["coding"]):
            began = _instant(one["onsetDateTime"])
            ended = _instant(one["abatementDateTime"]) if "abatementDateTime" in one else began + timedelta(days=365)
            last = min(ended - timedelta(days=1), began + timedelta(days=266))
            yield last.astimezone(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


# ---- What is asked


SITE = Site.from_table(site_of(CASES["V01"]))
KNOWLEDGE = load_knowledge()
WORDING = load_wording(knowledge=KNOWLEDGE)


def advisor_at(now: datetime) -> Advisor:
    return Advisor(KNOWLEDGE, WORDING, SITE, lambda: now)


def call(chart: Chart, prefetch: Json) -> Json:
    """A caesarean is drafted and selected."""
    order = {
        "resourceType": "ServiceRequest",
        "id": "drafted",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": CAESAREAN}]},
        "subject": {"reference": f"Patient/{chart.patient}"},
    }
    return {
        "hook": "order-select",
        "hookInstance": "5f1f2f6e-9d3a-4c39-9a44-3c1a5f1d7b11",
        "context": {
            "userId": "Practitioner/midwife",
            "patientId": chart.patient,
            "selections": ["ServiceRequest/drafted"],
            "draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]},
        },
        "prefetch": prefetch,
    }


def by_templates(chart: Chart) -> Json:
    """What an EHR answers that holds her chart as it stood."""
    discovery = advisor_at(chart.now).discovery()
    templates = service_for("order-select", discovery)["prefetch"]
    ehr = Ehr({chart.patient: chart.as_it_stood()})
    context = call(chart, {})["context"]
    return {key: ehr.get(query) for key, query in resolved(templates, context).items()}


def told(chart: Chart, prefetch: Json, *, as_lines: bool, hook: str = "order-select") -> str:
    """What `evaluate` prints, for a program or for a person."""
    body = json.dumps(call(chart, prefetch) | {"hook": hook}).encode()
    printed: list[str] = []
    asked = [Asked("here", len(body), body)]
    failed = evaluate(asked, advisor_at(chart.now), as_lines=as_lines, tell=printed.append, went=lambda _: None)
    assert failed == 0, printed
    return printed[0]


def evaluated(chart: Chart, prefetch: Json, hook: str = "order-select") -> Json:
    answer: Json = json.loads(told(chart, prefetch, as_lines=True, hook=hook))
    return answer


SHAPES = {"by its templates": by_templates, "as one raw Bundle": lambda chart: chart.bundle}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", WOMEN)
def test_a_womans_chart_gets_no_dose_and_says_what_is_missing(path: Path, shape: str) -> None:
    chart = read(path)

    answer = evaluated(chart, SHAPES[shape](chart))

    eligibility = answer["eligibility"]
    missing = {row["id"]: row["says"] for row in eligibility["criteria"] if row["kind"] == "missing"}
    assert answer["dose"] is None
    assert eligibility["status"] in ("data-missing", "contraindicated", "specialist-review")
    # There is no EPDS and no bipolar screen in any of these charts.
    assert {"D01", "D10"} <= set(missing)
    assert "D15" not in missing  # a caesarean is being ordered: she is pregnant
    woman = next(e["resource"] for e in chart.bundle["entry"] if e["resource"]["resourceType"] == "Patient")
    # One woman died. Nobody who is recorded as dead has an age: that order is a mix-up.
    assert ("D02" in missing) == ("deceasedDateTime" in woman)
    assert all("not rec" in missing[id_] and "needed:" in missing[id_] for id_ in ("D01", "D10")), missing
    assert answer["risk"]["tier"] in ("high", "elevated", "undetermined")
    topics = [card["source"]["topic"]["code"] for card in answer["cards"]]
    assert "PPDSCREEN" in topics
    assert "KETOPTION" not in topics
    assert "mg IV" not in json.dumps(answer["cards"])


@pytest.mark.parametrize("path", WOMEN)
def test_a_womans_chart_reads_the_same_for_a_person(path: Path) -> None:
    chart = read(path)
    text = told(chart, by_templates(chart), as_lines=False)

    assert "D01 missing" in text
    assert "None is computed." in text


@pytest.mark.parametrize("path", WOMEN)
def test_the_service_is_silent_while_she_is_a_child(path: Path) -> None:
    """Neither pregnant nor delivered: no card when her chart is opened."""
    chart = read(path)
    woman = next(e["resource"] for e in chart.bundle["entry"] if e["resource"]["resourceType"] == "Patient")
    child = replace(chart, now=_instant(woman["birthDate"]) + timedelta(days=8 * 365))

    answer = evaluated(child, by_templates(child), hook="patient-view")

    assert answer["cards"] == []
    assert answer["dose"] is None


@pytest.mark.parametrize("path", WOMEN)
def test_her_chart_backwards_or_twice_is_no_other_chart(path: Path) -> None:
    chart = read(path)
    twice = copy.deepcopy(chart.bundle)
    twice["entry"] += copy.deepcopy(chart.bundle["entry"])
    backwards = copy.deepcopy(chart.bundle)
    backwards["entry"].reverse()

    answer = evaluated(chart, chart.bundle)

    assert evaluated(chart, twice) == answer
    assert evaluated(chart, backwards) == answer


# ---- Other people's examples, as noise


def examples() -> list[Json]:
    place = folder("CDS_TEST_R4_EXAMPLES")
    if place is None:
        pytest.skip("CDS_TEST_R4_EXAMPLES is not set")
    found = []
    for path in sorted(place.glob("*.ndjson.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += [json.loads(line)["resource"] for line in file]
    assert len(found) > 100, f"no examples in {place}"
    return [one for one in found if _name(one) != BEYOND_ALL_MEASURE]


def _name(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource.get('id')}"


# The specification's own test of numbers, 1E245 among them: read_json refuses such a body as a whole.
BEYOND_ALL_MEASURE = "Observation/decimal"


@pytest.fixture(scope="module")
def noise() -> Json:
    """All of them, as the answer to a question that nobody asked."""
    entries = [{"resource": resource} for resource in examples()]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_other_peoples_examples_change_no_outcome(case: Case, noise: Json, advisor_of: AdvisorOf) -> None:
    advisor = advisor_of(case)
    request = parse_request(request_for(case, NOON, advisor.discovery()))

    quiet = advisor.advise(request)
    loud = advisor.advise(replace(request, prefetch={**request.prefetch, "somebody_elses": noise}))

    assert not loud.failed
    assert outcome(loud) == outcome(quiet)


def outcome(advice: Advice) -> object:
    """What was decided and what is said. How many entries were passed over may differ."""
    if advice.consultation is None:
        return advice.cards
    told = [(card["source"]["topic"]["code"], card["indicator"], card["summary"]) for card in advice.cards]
    thought = advice.consultation
    return told, thought.eligibility.status, thought.dose, thought.risk.tier, thought.plan


def test_each_example_that_is_read_is_in_the_chart_or_is_named_with_a_reason(
    noise: Json, advisor_of: AdvisorOf
) -> None:
    case = CASES["V01"]
    advisor = advisor_of(case)
    request = parse_request(request_for(case, NOON, advisor.discovery()))
    loud = replace(request, prefetch={**request.prefetch, "somebody_elses": noise})

    chart = gather(loud, advisor.sources)

    named = {line.partition(":")[0]: line.partition(": ")[2] for line in (*chart.set_aside, *chart.not_hers)}
    kept = {_name(one) for rows in chart.by_type.values() for one in rows}
    types = {*OWNER, "Medication", "Questionnaire"}
    lost = [
        _name(one)
        for one in (entry["resource"] for entry in noise["entry"])
        if one["resourceType"] in types and not named.get(_name(one)) and _name(one) not in kept
    ]
    assert lost == []


def test_each_example_alone_changes_no_dose(noise: Json, advisor_of: AdvisorOf) -> None:
    case = CASES["V01"]
    advisor = advisor_of(case)
    request = request_for(case, NOON, advisor.discovery())
    loud = []

    for entry in noise["entry"]:
        asked = copy.deepcopy(request)
        asked["prefetch"]["somebody_elses"] = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
        advice = advisor.advise(parse_request(json.loads(json.dumps(asked))))
        if advice.failed or advice.consultation is None or advice.consultation.dose is None:
            loud.append(_name(entry["resource"]))

    assert loud == []
