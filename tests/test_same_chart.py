"""The same chart, told otherwise, gets the same cards. A chart with holes in it never gets more than it had."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from conftest import NOON
from ehr import request_for, service_for
from encoding import Json, read_cases, site_of
from hypothesis import event, example, given
from hypothesis import strategies as st
from thoroughly import thoroughly

from cds_service.advisor import Advice, Advisor
from cds_service.errors import ServiceError
from cds_service.hooks.request import parse_request
from cds_service.hooks.strict_json import read_json, write_json
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import Site

CASES = {case.id: case for case in read_cases()}
KNOWLEDGE = load_knowledge()
WORDING = load_wording(knowledge=KNOWLEDGE)
SEEDS = st.integers(0, 2**32 - 1)
Path_ = tuple[str | int, ...]


@dataclass(frozen=True, repr=False)
class Asked:
    """A case's request, whose advisor answers it, and what it gets when nothing is changed."""

    advisor: Advisor
    service: str
    request: Json
    answer: bytes
    dose: bool
    confirm: frozenset[str]

    def is_answered_alike(self, request: Json) -> bool:
        """Byte for byte. Two whole answers side by side would drown the report."""
        return answered(self.advisor, self.service, request) == self.answer

    def __repr__(self) -> str:
        return f"Asked({self.request['hookInstance']})"


@cache
def advisor_for(site: str, now: datetime = NOON) -> Advisor:
    return Advisor(KNOWLEDGE, WORDING, Site.from_table(json.loads(site)), lambda: now)


@cache
def asked(case_id: str) -> Asked:
    case = CASES[case_id]
    advisor = advisor_for(json.dumps(site_of(case), sort_keys=True))
    discovery = advisor.discovery()
    request = request_for(case, NOON, discovery)
    advice = advised(advisor, request)
    eligibility = advice.consultation and advice.consultation.eligibility
    service = service_for(case["hook"], discovery)["id"]
    return Asked(
        advisor,
        service,
        request,
        answered(advisor, service, request),
        dose=has_dose(advice),
        confirm=frozenset(row.id for row in eligibility.confirm) if eligibility else frozenset(),
    )


def answered(advisor: Advisor, service: str, request: Json) -> bytes:
    """The body of the answer, byte for byte."""
    return write_json(advisor.answer(service, json.dumps(request).encode()).body)


def advised(advisor: Advisor, request: Json) -> Advice:
    return advisor.advise(parse_request(read_json(json.dumps(request).encode())))


def has_dose(advice: Advice) -> bool:
    return advice.consultation is not None and advice.consultation.dose is not None


CASE_IDS = st.sampled_from(sorted(CASES))


def bundles(request: Json) -> list[Json]:
    """The searchsets of the prefetch, the drafts excepted."""
    return [value for value in request["prefetch"].values() if value.get("resourceType") == "Bundle"]


# ---- Told in another order


def shuffled(value: Any, chance: Random) -> Any:
    """Entries, selections and the names in each object in another order. Lists inside a resource keep theirs."""
    match value:
        case {"resourceType": "Bundle", "entry": [*entries], **rest}:
            chance.shuffle(entries)
            return {**shuffled(rest, chance), "resourceType": "Bundle", "entry": [shuffled(e, chance) for e in entries]}
        case dict():
            names = list(value)
            chance.shuffle(names)
            return {name: shuffled(value[name], chance) for name in names}
        case list():
            return [shuffled(member, chance) for member in value]
        case _:
            return value


def doubled(request: Json) -> Json:
    """Each entry of the chart once more, under another id: now there are two entries for most reasons."""
    request = copy.deepcopy(request)
    for bundle in bundles(request):
        for entry in list(bundle.get("entry", [])):
            again = copy.deepcopy(entry["resource"])
            again["id"] += "-again"
            bundle["entry"].append({"resource": again})
            bundle["total"] += 1
    return request


@cache
def asked_doubled(case_id: str) -> Asked:
    case = asked(case_id)
    request = doubled(case.request)
    return replace(case, request=request, answer=answered(case.advisor, case.service, request))


@thoroughly
@given(CASE_IDS, SEEDS, st.booleans())
def test_the_order_of_entries_changes_nothing(case_id: str, seed: int, twice: bool) -> None:
    case = asked_doubled(case_id) if twice else asked(case_id)
    chance = Random(seed)  # noqa: S311  (chance from Hypothesis, not for a secret)
    request = shuffled(case.request, chance)
    chance.shuffle(request["context"].get("selections", []))

    assert case.is_answered_alike(request)


# ---- Told twice


@thoroughly
@given(CASE_IDS, SEEDS)
def test_an_entry_that_is_sent_twice_changes_nothing(case_id: str, seed: int) -> None:
    case = asked(case_id)
    request = copy.deepcopy(case.request)
    chance = Random(seed)  # noqa: S311
    full = [bundle for bundle in bundles(request) if bundle.get("entry")]
    for bundle in full:
        again = copy.deepcopy(chance.choices(bundle["entry"], k=chance.randint(0, 3)))
        # Some servers answer one resource from two indexes. It then may also lie in another list.
        home = chance.choice(full) if chance.random() < 0.3 else bundle
        home["entry"] = chance.sample([*home["entry"], *again], len(home["entry"]) + len(again))

    assert answered(case.advisor, case.service, request) == case.answer


def test_an_entry_that_is_sent_twice_does_not_fill_a_list_that_was_cut_short() -> None:
    case = asked("V01")
    request = copy.deepcopy(case.request)
    problems = request["prefetch"]["problems"]
    problems["entry"] *= 2
    problems["total"] = 2  # one of the two never came

    assert not has_dose(advised(case.advisor, request))


# ---- With much else beside it


def _about(whose: str, **resource: Any) -> Json:
    owner = "patient" if resource["resourceType"] in ("AllergyIntolerance", "Immunization", "Claim") else "subject"
    return {**resource, owner: {"reference": whose}}


def _coded(system: str, code: str, says: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": says}], "text": says}


LOINC, SNOMED, RXNORM = "http://loinc.org", "http://snomed.info/sct", "http://www.nlm.nih.gov/research/umls/rxnorm"
ELSEWHERE = "http://clinic.example.org/codes"


def of_somebody_else(number: int) -> Iterator[Json]:
    """All that would stop a dose, or call for one, if it were hers."""
    whose = f"Patient/somebody-{number}"
    form = {
        "status": "completed",
        "questionnaire": "https://forms.example.org/epds",
        "authored": "2026-11-23T11:00:00Z",
    }
    pressure = [
        {"code": _coded(LOINC, code, "Pressure"), "valueQuantity": {"value": value, "unit": "mmHg", "code": "mm[Hg]"}}
        for code, value in (("8480-6", 190), ("8462-4", 120))
    ]
    yield _about(whose, resourceType="Condition", code=_coded(SNOMED, "230690007", "Stroke"))
    yield _about(whose, resourceType="Condition", code=_coded(SNOMED, "398254007", "Pre-eclampsia"))
    yield _about(whose, resourceType="AllergyIntolerance", code=_coded(RXNORM, "6130", "Ketamine"))
    yield _about(
        whose,
        resourceType="MedicationRequest",
        status="active",
        intent="order",
        medicationCodeableConcept=_coded(RXNORM, "10438", "Theophylline"),
    )
    yield _about(
        whose,
        resourceType="MedicationAdministration",
        status="completed",
        effectiveDateTime="2026-11-23T11:30:00Z",
        medicationCodeableConcept=_coded(RXNORM, "6130", "Ketamine"),
    )
    yield _about(
        whose,
        resourceType="Observation",
        status="final",
        code=_coded(LOINC, "85354-9", "Blood pressure"),
        effectiveDateTime="2026-11-23T11:58:00Z",
        component=pressure,
    )
    yield _about(
        whose,
        resourceType="Observation",
        status="final",
        code=_coded(LOINC, "99046-5", "EPDS"),
        effectiveDateTime="2026-11-23T11:59:00Z",
        valueInteger=28,
    )
    yield _about(
        whose, resourceType="QuestionnaireResponse", **form, item=[{"linkId": "q10", "answer": [{"valueInteger": 3}]}]
    )
    yield _about(
        whose, resourceType="Procedure", status="completed", code=_coded(SNOMED, "50697003", "General anaesthesia")
    )
    yield _about(
        whose,
        resourceType="ServiceRequest",
        status="active",
        intent="order",
        code=_coded(SNOMED, "50697003", "General anaesthesia"),
    )


def of_hers(whose: str) -> Iterator[Json]:
    """What any chart holds besides, and what says nothing about the question."""
    observations = [
        _coded(LOINC, "2093-3", "Total cholesterol"),
        _coded(LOINC, "72166-2", "Tobacco smoking status"),
        _coded(LOINC, "8310-5", "Body temperature"),
        _coded(LOINC, "72514-3", "Pain severity"),
        _coded(ELSEWHERE, "8480-6", "A code of the clinic's own that looks like LOINC"),
        {"text": "Hair colour"},
    ]
    for code in observations:
        yield _about(
            whose,
            resourceType="Observation",
            status="final",
            category=[_coded(ELSEWHERE, "other", "Other")],
            code=code,
            effectiveDateTime="2026-11-23T11:59:30Z",
            valueQuantity={"value": 199, "unit": "1", "code": "1", "system": "http://unitsofmeasure.org"},
        )
    yield _about(
        whose,
        resourceType="Observation",
        status="final",
        code=_coded(LOINC, "29463-7", "Weight of the newborn"),
        focus=[{"reference": "Patient/newborn"}],
        effectiveDateTime="2026-11-23T11:59:30Z",
        valueQuantity={"value": 3.4, "unit": "kg", "code": "kg", "system": "http://unitsofmeasure.org"},
    )
    yield _about(
        whose,
        resourceType="MedicationRequest",
        status="completed",
        intent="order",
        authoredOn="2026-03-01",
        medicationCodeableConcept=_coded(ELSEWHERE, "pnv", "Prenatal vitamin"),
    )
    yield _about(
        whose, resourceType="Procedure", status="completed", code=_coded(SNOMED, "430193006", "Medicines reconciled")
    )
    yield _about(
        whose,
        resourceType="ServiceRequest",
        status="active",
        intent="order",
        code=_coded(ELSEWHERE, "urine", "Urine dipstick"),
    )
    yield _about(whose, resourceType="Immunization", status="completed", vaccineCode={"text": "Influenza"})
    yield _about(whose, resourceType="DiagnosticReport", status="final", code={"text": "Stroke, eclampsia, EPDS 28"})
    yield _about(whose, resourceType="Claim", status="active", type={"text": "Pre-eclampsia"})
    yield _about(whose, resourceType="CarePlan", status="active", intent="plan", title="Ketamine")
    yield {"resourceType": "Organization", "name": "Hospital"}


# A list of its own, under a name of the EHR's own, with what we never read.
OTHER_LISTS = ("Immunization", "DiagnosticReport", "Claim", "CarePlan", "Organization")
# A father's form and a newborn's measurements lie in her own lists. Nothing else of another patient may.
FAMILY = ("Observation", "QuestionnaireResponse")


def mixed_up(resource: Json, request: Json) -> bool:
    """Would it be a mix-up of patients, were it in the answer to a search for her alone?"""
    whose = (resource.get("subject") or resource.get("patient") or {}).get("reference")
    hers = f"Patient/{request['context']['patientId']}"
    return whose not in (None, hers) and resource["resourceType"] not in (*FAMILY, *OTHER_LISTS)


def noise(request: Json) -> list[Json]:
    whose = f"Patient/{request['context']['patientId']}"
    found = [*of_somebody_else(1), *of_somebody_else(2), *of_hers(whose)]
    return [{**resource, "id": f"noise-{number}"} for number, resource in enumerate(found)]


def holds_its_own(searchset: Json) -> bool:
    """Is there an entry of the type that its `self` link asks for?"""
    asked_for = urlsplit(searchset["link"][0]["url"]).path.rpartition("/")[2]
    return any(entry["resource"]["resourceType"] == asked_for for entry in searchset.get("entry", ()))


@thoroughly
@given(CASE_IDS, SEEDS)
def test_what_has_nothing_to_do_with_her_or_the_question_changes_nothing(case_id: str, seed: int) -> None:
    case = asked(case_id)
    request = copy.deepcopy(case.request)
    chance = Random(seed)  # noqa: S311
    # A list of strangers alone says nothing about her, and an entry of hers would make it her list. A list that holds
    # other things alone answers another question, so noise falls only beside something that was asked for.
    lists = [one for one in bundles(request) if holds_its_own(one) and not of_strangers_alone(one, request)]
    extra = noise(request)
    for resource in chance.sample(extra, chance.randint(1, len(extra))):
        if mixed_up(resource, request):
            continue
        where = chance.choice(lists)
        entries = where.setdefault("entry", [])
        entries.insert(chance.randint(0, len(entries)), {"resource": resource})
        where["total"] += 1
    rest = [r for r in extra if r["resourceType"] in OTHER_LISTS or mixed_up(r, request)]
    # A collection answers no search: who is in it besides her is no mix-up, but a family.
    request["prefetch"]["everything_else"] = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": resource} for resource in rest],
    }

    assert case.is_answered_alike(request)


def of_strangers_alone(listed: Json, request: Json) -> bool:
    hers = f"Patient/{request['context']['patientId']}"
    whose = [
        (entry["resource"].get("subject") or entry["resource"].get("patient") or {}).get("reference")
        for entry in listed.get("entry", ())
    ]
    return bool(whose) and hers not in whose


# ---- Asked again


@pytest.mark.parametrize("case_id", sorted(CASES))
def test_the_same_question_gets_the_same_bytes(case_id: str) -> None:
    case = asked(case_id)
    newcomer = Advisor(load_knowledge(), load_wording(), case.advisor.site, lambda: NOON)

    assert case.is_answered_alike(case.request)
    assert replace(case, advisor=newcomer).is_answered_alike(case.request)


UUIDS = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")


@thoroughly
@given(CASE_IDS, st.uuids())
def test_with_another_hook_instance_only_the_uuids_differ(case_id: str, another: UUID) -> None:
    case = asked(case_id)
    before, after = case.request["hookInstance"], str(another)

    answer = answered(case.advisor, case.service, {**case.request, "hookInstance": after})

    assert plain(answer, after) == plain(case.answer, before)
    mine, theirs = UUIDS.findall(case.answer.decode()), UUIDS.findall(answer.decode())
    assert len(mine) >= len(json.loads(answer)["cards"])
    assert not set(mine) & set(theirs)


def plain(answer: bytes, hook_instance: str) -> str:
    """The answer without its uuids. The footer names the call by the first sign of its own."""
    text = UUIDS.sub("UUID", answer.decode())
    return text.replace(f"Call {hook_instance[:8]}", "Call HERE")


def test_the_order_of_a_set_in_memory_is_not_the_order_on_a_card(tmp_path: Path) -> None:
    """Python hashes text anew in each process, and so the order of a set changes from one to the next."""
    site = site_of(CASES["V01"])
    same_site = [case_id for case_id in sorted(CASES) if site_of(CASES[case_id]) == site]
    file = tmp_path / "requests.ndjson"
    file.write_text("".join(json.dumps(asked(case_id).request) + "\n" for case_id in same_site))
    site_file = tmp_path / "site.toml"
    rest = {name: value for name, value in site.items() if name != "protocol"}
    site_file.write_text(
        "".join(f"{name} = {json.dumps(value)}\n" for name, value in rest.items())
        + "[protocol]\n"
        + "".join(f"{name} = {json.dumps(value)}\n" for name, value in site["protocol"].items())
    )
    command = [sys.executable, "-m", "cds_service", "evaluate", file, "--json", "--site", site_file]

    told = [
        subprocess.run(
            [*command, "--now", NOON.isoformat()],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            timeout=300,
            check=True,
        ).stdout
        for seed in ("1", "20261123")
    ]

    assert len(same_site) > 100
    assert len(told[0].splitlines()) == len(same_site)
    assert told[0] == told[1]


# ---- With holes in it


def places(value: Any, here: Path_ = ()) -> Iterator[Path_]:
    """Every element inside, by its path."""
    if here:
        yield here
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield from places(member, (*here, name))


def element(value: Any, place: Path_) -> Any:
    for step in place:
        value = value[step]
    return value


JUNK = (None, True, -1, 7.5, "", "x" * 20_000, [], {}, [[["x"]]], {"x": {"y": []}})
# Nobody can tell a long word of somebody's own from a word that was broken.
WORDS = frozenset({"code", "system", "text", "display", "id", "fullUrl", "url", "questionnaire", "linkId", "unit"})


@dataclass(frozen=True)
class Broken:
    """A case whose prefetch has junk in one place."""

    case_id: str
    place: Path_
    junk: Any

    @property
    def case(self) -> Asked:
        return asked(self.case_id)

    @property
    def request(self) -> Json:
        request = copy.deepcopy(self.case.request)
        element(request["prefetch"], self.place[:-1])[self.place[-1]] = self.junk
        return request

    def __repr__(self) -> str:
        return f"{self.case_id}: {'/'.join(map(str, self.place))} = {str(self.junk)[:20]!r}"


@cache
def places_of(case_id: str) -> st.SearchStrategy[Path_]:
    return st.sampled_from(list(places(asked(case_id).request["prefetch"])))


@st.composite
def broken(draw: st.DrawFn) -> Broken:
    case_id = draw(CASE_IDS)
    return Broken(case_id, draw(places_of(case_id)), draw(st.sampled_from(JUNK)))


@thoroughly
@given(broken())
def test_junk_in_a_chart_raises_nothing_but_our_own_errors(chart: Broken) -> None:
    try:
        advice = advised(chart.case.advisor, chart.request)
    except ServiceError as error:
        event(type(error).__name__)
    else:
        assert not advice.failed  # an exception that became a card is one, too


@thoroughly
@given(broken())
@example(Broken("B15d", ("screens", "entry", 3, "resource", "status"), ""))  # a blank is no status, and counts for none
@example(Broken("B225b", ("vital_signs", "entry", 3, "resource", "component", 1), None))  # it was a pressure of 112
@example(Broken("B41d", ("vital_signs", "entry", 0, "resource", "method"), None))  # it said that the weight was stated
def test_junk_in_a_chart_never_makes_a_dose_in_silence(chart: Broken) -> None:
    """
    What a broken entry would have told is unknown, and unknown is never "normal".

    What may be confirmed at the bedside then becomes a line of the start checklist. Nothing passes in silence.
    """
    case = chart.case
    long_word = isinstance(chart.junk, str) and chart.junk and chart.place[-1] in WORDS
    known_none = chart.junk is None and len(chart.place) == 1  # CDS Hooks 2.0: a key of null means that there is none
    if case.dose or long_word or known_none:
        return
    try:
        advice = advised(case.advisor, chart.request)
    except Exception:
        return  # the test above looks at these
    if has_dose(advice):
        if chart.place[0] == "vital_signs" and "D05" in case.confirm:
            return  # pulse, oxygen and breathing are one line, and it was there already
        if chart.place[0] == "vital_signs" and CASES[chart.case_id]["patient"]["other_weight_14d_kg"]:
            return  # an older weight serves to be compared with; one without a value was no measurement
        if chart.place[0] in ("screens", "questionnaire_responses") and CASES[chart.case_id]["screens"]["later_epds"]:
            return  # a form with a broken item is a later partial form: the one before it decides (section 2)
        event("a dose, with more to confirm")
        assert {row.id for row in advice.consultation.eligibility.confirm} - case.confirm
