"""What is sent along and what is read from a real FHIR server make the same cards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from random import Random

import pytest
from conftest import NOON, AdvisorOf
from ehr import LISTS, Ehr, request_for, service_for
from encoding import CODES, Case, Json, coded, encode, read_cases, site_of
from heard import all_of
from real_server import lame, real_server

from cds_service.advisor import Advisor
from cds_service.ehr.gathering import Sources
from cds_service.errors import ChartUnavailable
from cds_service.hooks.strict_json import write_json
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site

CASES = read_cases()
BY_ID = {case.id: case for case in CASES}
# The same women with a whole form in the chart: the form's questions are looked up where the EHR holds them.
FORMS = [
    replace(BY_ID[id_].shaped(epds=shape), id=f"{id_}-{shape}")
    for id_ in ("V04", "S27")
    for shape in ("response", "contained")
]
ALL = [*CASES, *FORMS]
GENEROUS_MS = 20_000


def named(case: Case) -> str:
    return str(case)


# ---- Two ways to the same chart


class Reader:
    """Advisors that may read one FHIR server each, and the answers of a case's service then."""

    def __init__(self, knowledge: Knowledge, wording: Wording) -> None:
        self._advisor = cache(partial(_reading, knowledge, wording))

    def advisor(self, case: Case, server: str) -> Advisor:
        return self._advisor(json.dumps(site_of(case)), server)

    def __call__(self, case: Case, server: str, request: Json) -> bytes:
        return answered(self.advisor(case, server), case, {**request, "fhirServer": server})


def _reading(knowledge: Knowledge, wording: Wording, table: str, server: str) -> Advisor:
    site = Site.from_table(json.loads(table) | {"ehr": {"budget_ms": GENEROUS_MS}})
    return Advisor(knowledge, wording, site, lambda: NOON, Sources.of(site, knowledge, (server,)))


@pytest.fixture(scope="session")
def fetching(knowledge: Knowledge, wording: Wording) -> Reader:
    return Reader(knowledge, wording)


def answered(advisor: Advisor, case: Case, request: Json) -> bytes:
    """The body of the answer, byte for byte."""
    service = service_for(case["hook"], advisor.discovery())["id"]
    return write_json(advisor.answer(service, json.dumps(request).encode()).body)


def asked(case: Case, advisor_of: AdvisorOf) -> tuple[Json, bytes]:
    """The request with its prefetch, and what it gets from an advisor that reads prefetch alone."""
    advisor = advisor_of(case)
    request = request_for(case, NOON, advisor.discovery())
    return request, answered(advisor, case, request)


def without(request: Json, *keys: str) -> Json:
    """The request with these keys of its prefetch left out."""
    return {**request, "prefetch": {key: value for key, value in request["prefetch"].items() if key not in keys}}


# Each search by code walks through the Observations of all women on that server, so they lie on several.
IN_ONE_SERVER = 140


@pytest.fixture(scope="session")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Case], str]]:
    """Where a case's chart can be read: each server is started with its share of the women when it is needed."""
    wards = [ALL[start : start + IN_ONE_SERVER] for start in range(0, len(ALL), IN_ONE_SERVER)]
    ward_of = {case.id: number for number, ward in enumerate(wards) for case in ward}

    with ExitStack() as running:

        @cache
        def server(ward: int) -> str:
            charts = [resource for case in wards[ward] for resource in encode(case, NOON)]
            return running.enter_context(real_server(tmp_path_factory.mktemp("server"), charts))

        @cache
        def go_between(ward: int) -> str:
            return running.enter_context(lame(server(ward)))

        def base(case: Case) -> str:
            # Where a list of hers cannot be had, the search for it fails.
            down = sorted(kind for name, kinds in LISTS.items() if not case[name]["available"] for kind in kinds)
            ward = ward_of[case.id]
            return f"{go_between(ward)}/without.{'.'.join(down)}" if down else server(ward)

        yield base


# ---- Every woman


@pytest.mark.parametrize("case", ALL, ids=named)
def test_what_is_read_and_what_is_sent_along_make_the_same_cards(
    case: Case, server_of: Callable[[Case], str], fetching: Reader, advisor_of: AdvisorOf
) -> None:
    request, sent_along = asked(case, advisor_of)

    read = fetching(case, server_of(case), without(request, *request["prefetch"]))

    assert json.loads(read) == json.loads(sent_along)
    assert read == sent_along


@pytest.mark.parametrize("case", [*CASES[::4], *FORMS], ids=named)
def test_some_of_it_sent_along_and_the_rest_read_make_the_same_cards(
    case: Case, server_of: Callable[[Case], str], fetching: Reader, advisor_of: AdvisorOf
) -> None:
    request, sent_along = asked(case, advisor_of)
    chance = Random(case.id)  # noqa: S311  (not for a secret; the same at each run)
    keys = sorted(request["prefetch"])
    left_out = chance.sample(keys, chance.randint(1, len(keys) - 1))

    mixed = fetching(case, server_of(case), without(request, *left_out))

    assert mixed == sent_along, left_out


# ---- What proves that it was read there


FEW = [BY_ID[id_] for id_ in ("V01", "V04", "V10", "N19", "S27")]
TOKEN = "a-token-that-no-line-may-hold"  # noqa: S105  (of a server that lives as long as the test)


def charts_of(cases: list[Case]) -> list[Json]:
    return [resource for case in cases for resource in encode(case, NOON)]


@pytest.mark.parametrize("case", FEW, ids=named)
def test_without_a_server_to_read_there_is_no_patient(case: Case, advisor_of: AdvisorOf) -> None:
    request, _ = asked(case, advisor_of)

    with pytest.raises(ChartUnavailable):
        answered(advisor_of(case), case, without(request, *request["prefetch"]))


def test_another_server_than_the_one_that_is_allowed_is_not_read(
    server_of: Callable[[Case], str], fetching: Reader, advisor_of: AdvisorOf
) -> None:
    case = BY_ID["V04"]
    request, _ = asked(case, advisor_of)
    nothing = without(request, *request["prefetch"]) | {"fhirServer": server_of(case)}

    with pytest.raises(ChartUnavailable):
        answered(fetching.advisor(case, "https://ehr.example.org/fhir"), case, nothing)


def test_a_patient_whom_the_server_does_not_hold_is_refused(
    server_of: Callable[[Case], str], fetching: Reader, advisor_of: AdvisorOf
) -> None:
    case = BY_ID["V04"]
    request, _ = asked(case, advisor_of)
    nobody = without(request, *request["prefetch"])
    nobody["context"] = {**nobody["context"], "patientId": "nobody"}

    with pytest.raises(ChartUnavailable):
        fetching(case, server_of(case), nobody)


# ---- A chart of many pages


def test_a_list_is_read_to_its_last_page(tmp_path: Path, fetching: Reader, advisor_of: AdvisorOf) -> None:
    case = BY_ID["V01"]
    chart = encode(case, NOON)
    problem = next(resource for resource in chart if resource["resourceType"] == "Condition")
    cold = {
        **problem,
        "clinicalStatus": {"coding": [{"code": "resolved"}]},
        "code": {"text": "A cold"},
        "onsetDateTime": "2020-01-01",
        "abatementDateTime": "2020-02-01",
    }
    colds = [{**cold, "id": f"cold-{number}"} for number in range(45)]
    last = {**problem, "id": "on-the-last-page", "code": coded(CODES["condition"]["preeclampsia"])}
    chart = [*chart, *colds, last]
    request, without_it = asked(case, advisor_of)
    whose = request["context"]["patientId"]
    request["prefetch"]["problems"] = Ehr({whose: chart}).get(f"Condition?patient={whose}")

    with real_server(tmp_path, chart) as base:
        read = fetching(case, base, without(request, *request["prefetch"]))

    assert read == answered(advisor_of(case), case, request)
    assert read != without_it


# ---- Other ways that a server may have


def test_absolute_references_make_the_same_cards(tmp_path: Path, fetching: Reader, advisor_of: AdvisorOf) -> None:
    with real_server(tmp_path, charts_of(FEW), server_behaviour={"absolute_references": True}) as base:
        for case in FEW:
            request, sent_along = asked(case, advisor_of)
            assert fetching(case, base, without(request, *request["prefetch"])) == sent_along, case


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that answers nobody without its token."""
    auth = {"types": ["bearer"], "tokens": [TOKEN]}
    with real_server(tmp_path_factory.mktemp("guarded"), charts_of(FEW), server_auth=auth) as base:
        yield base


def bearing(request: Json, token: str) -> Json:
    leave = {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "x"}
    return {**request, "fhirAuthorization": leave}


@pytest.mark.parametrize("case", FEW, ids=named)
def test_the_token_of_the_call_opens_the_chart(
    case: Case, guarded: str, fetching: Reader, advisor_of: AdvisorOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    request, sent_along = asked(case, advisor_of)

    read = fetching(case, guarded, bearing(without(request, *request["prefetch"]), TOKEN))

    assert read == sent_along
    assert TOKEN not in all_of(caplog)


@pytest.mark.parametrize("token", [None, "another-token"])
def test_without_its_token_the_chart_stays_closed(
    token: str | None, guarded: str, fetching: Reader, advisor_of: AdvisorOf
) -> None:
    case = BY_ID["V04"]
    request, _ = asked(case, advisor_of)
    nothing = without(request, *request["prefetch"])

    with pytest.raises(ChartUnavailable, match="restricts") as refused:
        fetching(case, guarded, bearing(nothing, token) if token else nothing)

    assert refused.value.status == 412


def test_a_chart_that_stays_closed_gets_no_dose(guarded: str, fetching: Reader, advisor_of: AdvisorOf) -> None:
    """The patient came along; the lists that nobody may read are not empty, but unknown."""
    case = BY_ID["V04"]
    request, sent_along = asked(case, advisor_of)
    lists = set(request["prefetch"]) - {"patient"}

    read = fetching(case, guarded, without(request, *lists))

    assert b"mg/kg" in sent_along
    assert b"mg/kg" not in read
