"""Each worked case goes through the front door, and gets the cards it must get."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from ehr import request_for, service_for
from encoding import Case, Json, drafts, encode, read_cases, site_of
from fhir.resources.R4B import get_fhir_model_class
from flask.testing import FlaskClient

from cds_service.advisor import Advisor
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.rendering.explanation import as_json

AdvisorOf = Callable[[Case], Advisor]
Door = Callable[[Case], FlaskClient]

CASES = read_cases()
BY_ID = {case.id: case for case in CASES}
EPDS_SHAPES = ("items", "panel", "response", "contained", "total")
ZONES = ("Z", "+08:00", "-03:30")
# Cases in which the EPDS, or the minute at which something was done, decides.
SHAPED = ("V01", "V04", "V05", "V08", "E06", "B05b", "N09", "N19", "N25", "S27")
TIMED = ("V04", "V12", "V20", "E02", "N03", "N25", "N27", "N33", "S01", "S27")
BRANDISHED = re.compile(r"\bmg\b|\bml/h\b", re.IGNORECASE)


def named(case: Case) -> str:
    return str(case)


def refused_at_start(case: Case) -> bool:
    """`serve` refuses this site, so the case can only be evaluated (decision logic, section 5, CFG01)."""
    protocol = case["site"]["protocol"]
    return case["site"]["country"] == "US" and bool(protocol) and protocol["id"] == "esketamine-iv"


SERVED = [case for case in CASES if not refused_at_start(case)]


# ---- Asking


def ask(case: Case, now: datetime, front_door: Door) -> list[Json]:
    """The cards that the EHR gets over HTTP."""
    caller = front_door(case)
    discovery = caller.get("/cds-services").get_json()
    service = service_for(case["hook"], discovery)
    answer = caller.post(f"/cds-services/{service['id']}", json=request_for(case, now, discovery))
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()["cards"]


def explain(case: Case, now: datetime, advisor_of: AdvisorOf) -> Json:
    """The object that `evaluate --json` prints."""
    advisor = advisor_of(case)
    body = json.dumps(request_for(case, now, advisor.discovery())).encode()
    advice = advisor.advise(parse_request(read_json(body), case["hook"]))
    return as_json(advice.consultation, advice.who, advice.cards)


def told(explained: Json) -> Json:
    """What was decided, in the words in which a vignette expects it."""
    risk, eligibility, dose = explained["risk"], explained["eligibility"], explained["dose"]
    criteria = eligibility["criteria"] if eligibility else []

    def ids(kind: str) -> list[str]:
        return sorted(row["id"] for row in criteria if row["kind"] == kind)

    return {
        "tier": risk and risk["tier"],
        "safety": explained["safetyConcern"],
        "status": eligibility and eligibility["status"],
        "contraindications": ids("contraindication"),
        "review": ids("review"),
        "missing": ids("missing"),
        "monitor": ids("monitor"),
        "config": ids("configuration"),
        "confirm": sorted(eligibility["confirm"]) if eligibility else [],
        "dose": dose and {name: value for name, value in dose.items() if name != "calculation"},
        "irrelevant": (risk, eligibility, dose, explained["cards"]) == (None, None, None, []),
        **shown(explained["cards"]),
    }


def shown(cards: list[Json]) -> Json:
    """Topics in order, and how loudly each is said."""
    topics = [card["source"]["topic"]["code"] for card in cards]
    return {"cards": topics, "indicators": dict(zip(topics, [card["indicator"] for card in cards], strict=True))}


def expected(case: Case) -> Json:
    """Only the listed answers must match. Lists of ids have no order; the cards have one."""
    sets = ("contraindications", "review", "missing", "monitor", "config", "confirm")
    wanted = {name: sorted(value) if name in sets else value for name, value in case.expect.items()}
    if wanted.get("dose"):
        wanted["dose"] = {name: _exact(value) for name, value in wanted["dose"].items()}
    return wanted


def compared(case: Case, explained: Json) -> Json:
    """What was told, cut down to what the case lists."""
    answers = told(explained)
    if answers["dose"]:
        answers["dose"] = {name: _exact(value) for name, value in answers["dose"].items()}
    return {name: answers[name] for name in case.expect}


def _exact(value: Any) -> Any:
    return value if isinstance(value, str) else Decimal(str(value))


def brandished(case: Case, cards: list[Json]) -> list[str]:
    """Every dose, rate, volume or drug order in these cards, but for what quotes the draft and the absolute limits."""
    lines = [line for card in cards for text in _texts(card) for line in text.splitlines()]
    doses = [line for line in lines if BRANDISHED.search(_without_quotes(case, line))]
    suggestions = [suggestion for card in cards for suggestion in card.get("suggestions", [])]
    actions = [action for suggestion in suggestions for action in suggestion.get("actions", [])]
    orders = [action["resource"] for action in actions if action["type"] in ("create", "update")]
    return doses + [json.dumps(order) for order in orders if order["resourceType"] == "MedicationRequest"]


def _without_quotes(case: Case, line: str) -> str:
    """The line without the drafted dose and without "at most ...": a card must say what is wrong with a draft."""
    drafted = (case["draft_order"] or {}).get("dose_mg")
    line = re.sub(r"at most [\d.]+ mg(/kg)?", "", line)
    if drafted is None:
        return line
    per_kg = drafted / case["patient"]["weight"]["value"]
    return line.replace(f"{drafted:g} mg", "").replace(f"{per_kg:.3f} mg/kg", "")


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


# ---- The cases themselves


@pytest.mark.parametrize("case", SERVED, ids=named)
def test_the_cards_are_those_of_the_story(case: Case, now: datetime, front_door: Door) -> None:
    wanted = {name: case.expect[name] for name in ("cards", "indicators") if name in case.expect}

    cards = shown(ask(case, now, front_door))

    assert {name: cards[name] for name in wanted} == wanted, case.why


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_reasons_are_those_of_the_story(case: Case, now: datetime, advisor_of: AdvisorOf) -> None:
    assert compared(case, explain(case, now, advisor_of)) == expected(case), case.why


def test_the_front_door_and_the_explanation_show_the_same_cards(
    now: datetime, front_door: Door, advisor_of: AdvisorOf
) -> None:
    case = BY_ID["V04"]

    assert ask(case, now, front_door) == explain(case, now, advisor_of)["cards"]


@pytest.mark.parametrize(
    "case", [case for case in CASES if "dose" in case.expect and not case.expect["dose"]], ids=named
)
def test_without_a_dose_no_card_names_one(case: Case, now: datetime, advisor_of: AdvisorOf) -> None:
    assert brandished(case, explain(case, now, advisor_of)["cards"]) == []


# ---- The same story, told by another EHR


@pytest.mark.parametrize("shape", EPDS_SHAPES)
@pytest.mark.parametrize("case", [BY_ID[name] for name in SHAPED], ids=named)
def test_the_shape_of_the_screen_changes_nothing(
    case: Case, shape: str, now: datetime, front_door: Door, advisor_of: AdvisorOf
) -> None:
    case = case.shaped(epds=shape)

    assert compared(case, explain(case, now, advisor_of)) == expected(case)
    assert shown(ask(case, now, front_door))["cards"] == case.expect["cards"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("case", [BY_ID[name] for name in TIMED], ids=named)
def test_the_notation_of_time_changes_nothing(case: Case, zone: str, now: datetime, advisor_of: AdvisorOf) -> None:
    case = case.shaped(zone=zone)

    assert compared(case, explain(case, now, advisor_of)) == expected(case)


# ---- The command line says the same


def _sites() -> list[tuple[str, list[Case]]]:
    def written(case: Case) -> str:
        return json.dumps(site_of(case), sort_keys=True)

    return [(site, list(cases)) for site, cases in groupby(sorted(CASES, key=written), key=written)]


@pytest.mark.parametrize(("site", "cases"), _sites(), ids=[f"site {number}" for number in range(1, len(_sites()) + 1)])
def test_evaluate_says_the_same_for_a_whole_batch(
    site: str, cases: list[Case], now: datetime, advisor_of: AdvisorOf, tmp_path: Path
) -> None:
    discovery = advisor_of(cases[0]).discovery()
    requests = tmp_path / "requests.ndjson"
    requests.write_text("".join(json.dumps(request_for(case, now, discovery)) + "\n" for case in cases))
    site_file = tmp_path / "site.toml"
    site_file.write_text(_as_toml(json.loads(site)))

    done = subprocess.run(  # our own command, our own files
        [
            sys.executable,
            "-m",
            "cds_service",
            "evaluate",
            requests,
            "--json",
            "--site",
            site_file,
            "--now",
            now.isoformat(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["hookInstance"] for line in lines] == [case.hook_instance for case in cases]
    wrong = {
        case.id: (told_here, expected(case))
        for case, line in zip(cases, lines, strict=True)
        if (told_here := compared(case, line)) != expected(case)
    }
    assert not wrong


def _as_toml(site: Json) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in site.items() if not isinstance(value, dict)]
    for name, table in site.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


# ---- The encoder


@pytest.mark.parametrize("case", CASES, ids=named)
def test_every_resource_of_a_case_is_fhir_r4(case: Case, now: datetime) -> None:
    written = [*encode(case, now), *drafts(case, now)[0]]

    for resource in written:
        get_fhir_model_class(resource["resourceType"]).model_validate(json.loads(json.dumps(resource)))
    assert len({(one["resourceType"], one["id"]) for one in written}) == len(written)


@pytest.mark.parametrize("shape", EPDS_SHAPES)
def test_every_shape_of_the_screen_is_fhir_r4(shape: str, now: datetime) -> None:
    for resource in encode(BY_ID["V01"].shaped(epds=shape), now):
        get_fhir_model_class(resource["resourceType"]).model_validate(json.loads(json.dumps(resource)))


def test_saying_nothing_is_tested_often() -> None:
    silent = [case for case in CASES if case.expect.get("cards") == []]

    assert len(silent) * 5 >= len(CASES)


def test_a_list_that_cannot_be_had_is_left_out_or_an_operation_outcome(now: datetime, advisor_of: AdvisorOf) -> None:
    case = BY_ID["V24"]
    discovery = advisor_of(case).discovery()

    failed = request_for(case, now, discovery)["prefetch"]
    left_out = request_for(replace(case, id="V25"), now, discovery)["prefetch"]

    assert [key for key, answer in failed.items() if answer["resourceType"] == "OperationOutcome"]
    assert set(left_out) == {key for key, answer in failed.items() if answer["resourceType"] != "OperationOutcome"}
