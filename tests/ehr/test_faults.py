"""Whatever an EHR's server does: an answer in time, never an error of ours, and never a wrong "none"."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from conftest import NOON
from ehr import Ehr, context_of, request_for, service_for
from encoding import Json, encode, read_cases, site_of
from quirks import (
    FAULTS,
    HARMLESS,
    RESTRICTED,
    SLOW,
    Call,
    Quirk,
    QuirkServer,
    Ticking,
    hang,
    of_another_patient,
    outcome_within,
    searchset,
    status,
)

from cds_service.advisor import Advisor
from cds_service.clinical.consultation import Consultation
from cds_service.clinical.facts import Doubt, State
from cds_service.ehr.client import Client
from cds_service.ehr.gathering import Sources
from cds_service.ehr.servers import Servers
from cds_service.ehr.wanted import queries
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import Site
from cds_service.web.app import create_app

KNOWLEDGE = load_knowledge()
WORDING = load_wording(knowledge=KNOWLEDGE)
# Eligible: each list that blocks is there, and most of them hold nothing. So a wrong "none" would get her a dose.
CASE = next(case for case in read_cases() if case.id == "V01")
CHART = encode(CASE, NOON)
SERVICE = "ppd-delivery-order"
# Of each list, facts that are known to be absent from the sound chart because the list is whole.
TELLING = {
    "Observation": ("platelets", "alt_ratio", "apnoea_hypopnoea_index", "phq9_self_harm", "safety_concern"),
    "AllergyIntolerance": ("ketamine_allergy",),
    "Condition": ("psychosis_ever", "severe_liver_disease", "pre_eclampsia", "safety_concern"),
    "MedicationRequest": ("mao_inhibitor", "xanthine", "ergot"),
    "MedicationAdministration": ("magnesium", "ergot", "ketamine_for_prevention_given"),
}
# Where in care she stands is told by what is there, never by what is missing.
STAGE = {"pregnancy", "birth", "due_date_ahead", "delivery_order"}
BUDGET = 20.0
# Seconds that a machine with other things to do may need on top of the budget: a bound, not an aim.
GENEROUS = 3.0


class Overheard(Advisor):
    """Keeps what was thought last."""

    thought: Consultation | None = None

    def consult(self, *args: Any, **more: Any) -> Consultation:
        self.thought = super().consult(*args, **more)
        return self.thought


@dataclass(frozen=True)
class Answer:
    """What the EHR gets over HTTP, and what was thought."""

    status: int
    body: Json
    thought: Consultation | None

    @property
    def topics(self) -> list[str]:
        return [card["source"]["topic"]["code"] for card in self.body["cards"]]

    @property
    def text(self) -> str:
        return json.dumps(self.body)

    @property
    def absent(self) -> set[str]:
        """What is known not to be so."""
        assert self.thought is not None
        facts = self.thought.facts
        return {name for name in facts if facts[name].state is State.ABSENT}

    def state(self, fact: str) -> State:
        assert self.thought is not None
        return self.thought.facts[fact].state


def ask(
    server: str, *, clock: Callable[[], float] | None, budget: float = BUDGET, prefetch: Json | None = None
) -> Answer:
    """A delivery order, at a site that allows this server. Without a clock, the real one."""
    site = Site.from_table({**site_of(CASE), "ehr": {"servers": [server], "budget_ms": round(budget * 1000)}})
    if clock is None:
        sources = Sources.of(site, KNOWLEDGE)
    else:
        sources = Sources(queries(KNOWLEDGE), KNOWLEDGE, Client(Servers(site), budget=budget, clock=clock))
    advisor = Overheard(KNOWLEDGE, WORDING, site, lambda: NOON, sources)
    request = {
        "hook": CASE["hook"],
        "hookInstance": CASE.hook_instance,
        "context": context_of(CASE, NOON),
        "fhirServer": server,
        "fhirAuthorization": {"access_token": "a-token", "token_type": "Bearer"},
        "prefetch": prefetch or {},
    }
    answer = create_app(advisor).test_client().post(f"/cds-services/{SERVICE}", json=request)
    return Answer(answer.status_code, answer.get_json(), advisor.thought)


def asked_of(quirk: Quirk | None, odd: str = "", chart: list[Json] | None = None) -> tuple[Answer, QuirkServer, float]:
    """The answer, the server that was asked, and the seconds that went by on a clock that each request advances."""
    clock = Ticking()
    begun = clock()
    with QuirkServer(Ehr({"woman-v01": chart or CHART}), quirk, odd, clock=clock).serving() as server:
        answer = ask(server.base, clock=clock)
    return answer, server, clock() - begun


@cache
def prefetch_without(*kinds: str) -> Json:
    """All that the service asks for, but for these types."""
    advisor = Advisor(KNOWLEDGE, WORDING, Site.from_table(site_of(CASE)), lambda: NOON)
    discovery = advisor.discovery()
    templates = service_for(CASE["hook"], discovery)["prefetch"]
    sent: Json = request_for(CASE, NOON, discovery)["prefetch"]
    return {
        key: value for key, value in sent.items() if templates[key].partition("?")[0].partition("/")[0] not in kinds
    }


@cache
def sound() -> Answer:
    answer, _, _ = asked_of(None)
    return answer


@cache
def restricted(kind: str) -> Answer:
    """What is known while this type may not be read."""
    answer, _, _ = asked_of(status(403), kind)
    return answer


def assert_unknown(answer: Answer, kind: str) -> None:
    """No dose; what the list would have told is unknown, and nothing became absent that was there."""
    assert answer.status == 200, answer.text
    assert answer.thought is not None
    assert answer.thought.dose is None
    assert {fact: answer.state(fact) for fact in TELLING[kind]} == dict.fromkeys(TELLING[kind], State.UNKNOWN)
    assert {fact for fact in answer.absent if sound().state(fact) is State.PRESENT} <= STAGE
    assert "KETOPTION" not in answer.topics
    assert answer.topics


# ---- The sound chart


def test_a_sound_server_gets_the_cards_of_the_story() -> None:
    answer, server, _ = asked_of(None)

    assert answer.status == 200
    assert answer.topics == CASE.expect["cards"]
    assert answer.thought is not None
    assert answer.thought.dose is not None
    assert set(TELLING) < set(server.asked)


@pytest.mark.parametrize("kind", TELLING)
def test_each_telling_fact_is_absent_from_the_sound_chart(kind: str) -> None:
    assert {sound().state(fact) for fact in TELLING[kind]} == {State.ABSENT}


def test_read_or_sent_along_the_chart_gets_the_same_cards() -> None:
    clock = Ticking()
    with QuirkServer(Ehr({"woman-v01": CHART}), status(500)).serving() as server:
        sent = ask(server.base, clock=clock, prefetch=prefetch_without())

    assert server.heard == []
    assert sent.body == sound().body


# ---- One list that is broken


@pytest.mark.parametrize("kind", TELLING)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_list_leaves_its_facts_unknown(fault: str, kind: str) -> None:
    answer, _, seconds = asked_of(FAULTS[fault], kind)

    assert_unknown(answer, kind)
    assert seconds <= BUDGET
    says = [Doubt.RESTRICTED] if fault in RESTRICTED else [Doubt.NOT_RECEIVED, Doubt.INCOMPLETE]
    assert any(doubt.value in answer.text for doubt in says)
    if fault != "a total above what came":  # there, all that there is did come
        assert answer.absent <= restricted(kind).absent


@pytest.mark.parametrize("kind", TELLING)
@pytest.mark.parametrize("fault", sorted(RESTRICTED))
def test_access_denied_is_said_to_be_that(fault: str, kind: str) -> None:
    answer, _, _ = asked_of(FAULTS[fault], kind)

    assert answer.thought is not None
    assert {answer.thought.facts[fact].doubt for fact in TELLING[kind]} == {Doubt.RESTRICTED}
    assert Doubt.RESTRICTED.value in answer.text


def test_a_server_is_not_asked_twice() -> None:
    for code in (429, 503):
        _, server, _ = asked_of(status(code, Retry_After="0"))
        assert len(server.heard) == len({call.query for call in server.heard})


def test_the_observations_of_another_patient_say_nothing_about_her() -> None:
    answer, _, _ = asked_of(of_another_patient, "Observation")

    assert_unknown(answer, "Observation")


# ---- The patient


def assert_refused(answer: Answer, says: str) -> None:
    assert answer.status == 412, answer.text
    assert answer.body["resourceType"] == "OperationOutcome"
    (issue,) = answer.body["issue"]
    assert says in issue["diagnostics"]
    assert "woman-v01" not in answer.text


# These answer a search, and the patient is read by her id.
OF_SEARCHES = {"a total above what came", "a total that is no number", "too many entries", "junk for entries"}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in OF_SEARCHES])
def test_without_the_patient_nothing_is_said(fault: str) -> None:
    answer, _, seconds = asked_of(FAULTS[fault], "Patient")

    assert_refused(answer, "Patient")
    assert seconds <= BUDGET


@pytest.mark.parametrize("fault", FAULTS)
def test_when_nothing_answers_soundly_nothing_is_said(fault: str) -> None:
    answer, _, seconds = asked_of(FAULTS[fault])

    assert answer.status == 412 or (fault in OF_SEARCHES and answer.status == 200)
    assert seconds <= BUDGET + 20 * 0.2


# ---- Nobody there


@pytest.fixture
def deaf() -> str:
    """The address of a server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}/fhir"


@pytest.mark.parametrize("kind", TELLING)
def test_a_server_that_refuses_leaves_what_was_not_sent_unknown(kind: str, deaf: str) -> None:
    assert_unknown(ask(deaf, clock=Ticking(), prefetch=prefetch_without(kind)), kind)


def test_a_server_that_refuses_and_no_patient_is_a_refusal(deaf: str) -> None:
    assert_refused(ask(deaf, clock=Ticking(), prefetch=prefetch_without("Patient")), "Patient")


# ---- No harm done


@pytest.mark.parametrize("kind", ["", *TELLING])
@pytest.mark.parametrize("oddity", HARMLESS)
def test_what_does_no_harm_changes_no_card(oddity: str, kind: str) -> None:
    answer, _, _ = asked_of(HARMLESS[oddity], kind)

    assert answer.status == 200
    if oddity == "ids of 200 characters":
        assert answer.topics == sound().topics
        assert answer.thought is not None
        assert sound().thought is not None
        assert answer.thought.dose is not None
        assert sound().thought.dose is not None
        assert answer.thought.dose.calculation == sound().thought.dose.calculation
    else:
        assert answer.body == sound().body


def without_empty_lists(call: Call) -> None:
    """Epic's answer to a search that finds nothing (code 4101)."""
    found = call.honest()
    if found["resourceType"] == "Bundle" and not found.get("entry"):
        outcome_within("warning", "not-found", total=0)(call)
    else:
        call.send_json(found)


def test_a_warning_in_a_searchset_of_none_is_a_known_none() -> None:
    answer, _, _ = asked_of(without_empty_lists)

    assert answer.body == sound().body


def changed(resource: Json, **changes: Any) -> Json:
    found = {**resource, **changes}
    return {name: value for name, value in found.items() if value is not None}


PLATELETS = {"coding": [{"system": "http://loinc.org", "code": "777-3"}]}


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"code": None}, id="without a code"),
        pytest.param({"code": {}}, id="with a code that says nothing"),
        pytest.param({"code": PLATELETS}, id="without a value"),
        pytest.param({"code": PLATELETS, "valueQuantity": {}}, id="with a value that says nothing"),
        pytest.param({"code": PLATELETS, "status": None}, id="without a status"),
    ],
)
def test_an_observation_that_does_not_tell_is_no_finding_and_no_proof_of_none(odd: Json) -> None:
    weight = next(one for one in CHART if one["resourceType"] == "Observation" and "valueQuantity" in one)
    stray = changed(weight, **{"id": "stray", "valueQuantity": None, **odd})

    def quirk(call: Call) -> None:
        found = call.honest()
        # Without a code nobody can tell which of the searches it would have answered.
        entry = {"resource": stray, "search": {"mode": "match"}}
        call.send_json({**found, "entry": [*found.get("entry", []), entry], "total": found["total"] + 1})

    answer, _, _ = asked_of(quirk, "Observation")

    assert answer.status == 200
    assert answer.state("platelets") is not State.PRESENT
    if "code" not in odd or odd["code"] is not PLATELETS or "status" in odd:
        assert answer.thought is not None
        assert answer.thought.dose is None


# ---- A server that takes its time


@pytest.mark.parametrize("kind", [*TELLING, "Patient"])
@pytest.mark.parametrize("fault", SLOW)
def test_who_does_not_answer_in_time_has_not_answered(fault: str, kind: str) -> None:
    with QuirkServer(Ehr({"woman-v01": CHART}), SLOW[fault], kind).serving() as server:
        answer = ask(server.base, clock=None, budget=0.1, prefetch=prefetch_without(kind))

    if kind == "Patient":
        assert_refused(answer, "Patient")
    else:
        assert_unknown(answer, kind)


def test_after_the_budget_no_page_is_asked_for() -> None:
    """Each request takes a third of the budget: the second page is begun in time, and no other."""
    clock = Ticking()
    with QuirkServer(Ehr({}), FAULTS["a next without an end"], clock=clock, costs=BUDGET / 3 + 1).serving() as server:
        answer = ask(server.base, clock=clock, prefetch=prefetch_without("AllergyIntolerance"))

    assert len(server.heard) == 3
    assert_unknown(answer, "AllergyIntolerance")


def test_a_body_that_drips_is_read_to_the_end_of_the_budget_and_no_further() -> None:
    """Each byte takes a tenth of the budget: the timeout of a read would never be reached."""
    clock = Ticking()
    begun = clock()
    quirks = QuirkServer(Ehr({"woman-v01": CHART}), SLOW["a body that drips"], clock=clock, costs=BUDGET / 10)
    with quirks.serving() as server:
        answer = ask(server.base, clock=clock, prefetch=prefetch_without("AllergyIntolerance"))
        threads_are_gone()

    assert clock() - begun < 2 * BUDGET
    assert_unknown(answer, "AllergyIntolerance")


def threads_are_gone() -> None:
    """Each thread of a visit ends by itself, soon after the answer."""
    for thread in threading.enumerate():
        if thread.name.startswith("fhir"):
            thread.join(GENEROUS)
            assert not thread.is_alive(), thread.name


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("fault", SLOW)
def test_the_budget_of_400_ms_holds_on_real_sockets(fault: str) -> None:
    with QuirkServer(Ehr({"woman-v01": CHART}), SLOW[fault]).serving() as server:
        with within(0.4 + GENEROUS):
            answer = ask(server.base, clock=None, budget=0.4)
        threads_are_gone()
        with within(GENEROUS):
            while server.open_connections:
                time.sleep(0.01)

    assert_refused(answer, "Patient")
    assert server.connections > 1


def test_a_server_that_takes_connections_and_reads_nothing_is_cut_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with within(0.4 + GENEROUS):
            answer = ask(f"http://127.0.0.1:{listening.getsockname()[1]}/fhir", clock=None, budget=0.4)
        threads_are_gone()

    assert_refused(answer, "Patient")


def test_two_calls_do_not_wait_for_each_other() -> None:
    """A call whose server hangs holds up no call to another server."""
    with (
        QuirkServer(Ehr({"woman-v01": CHART}), hang).serving() as hanging,
        QuirkServer(Ehr({"woman-v01": CHART})).serving() as sound_one,
    ):
        waiting = threading.Thread(target=ask, args=(hanging.base,), kwargs={"clock": None, "budget": 2.0})
        waiting.start()
        answer = ask(sound_one.base, clock=Ticking())
        assert waiting.is_alive()
        waiting.join()

    assert answer.topics == sound().topics


def test_an_answer_for_another_search_is_none_for_this_one() -> None:
    """Keys that were swapped by hand: what matched is of another type than what was asked for."""
    answer, _, _ = asked_of(lambda call: call.send_json(searchset(CHART[0], total=1)), "AllergyIntolerance")

    assert_unknown(answer, "AllergyIntolerance")
