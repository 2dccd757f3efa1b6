"""
What is suggested can be accepted on a real FHIR server, as a client of CDS Hooks does it; it is then as it was drafted.

Each woman's chart is read from the server, each suggestion of each of her cards is accepted, the drafts are about to be
signed, and then they are signed. A suggestion becomes one transaction: a new order gets the id that the server gives
it, also where another order of the same suggestion refers to it (CDS Hooks 2.0, action).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
import requests
from conftest import NOON
from ehr import context_of
from encoding import Case, drafts, encode
from flask.testing import FlaskClient
from judges import by_hand, references_in
from real_server import FHIR_JSON, real_server
from suggested import CASES, Json, site_in

from cds_service.advisor import Advisor
from cds_service.hooks.request import service_for
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

STANDARD = [
    # The options, the medicine among them: before and after birth, and at a site with racemic ketamine
    *("V01", "V03", "V04", "B146a", "N17"),
    # A draft that is corrected, and one that only lacks its monitoring
    *("N21", "N29", "B153a", "B156a", "B158c", "B150b"),
    # A draft that is taken back
    *("B165b", "B164c", "E02", "V25", "V29"),
    # A draft that nothing mends: no protocol, another strength, no indication, no screen
    *("B159b", "B163a", "B164a", "B166c"),
    # Nothing is drafted, and something stands against the medicine or is missing
    *("N27", "V11", "V12", "V28"),
    # A safety concern, screens, a higher risk
    *("B06a", "B11a", "B97a", "B99a", "N19", "V06"),
    # The chart is opened; admission; discharge
    *("B140c", "B175f", "B176a", "B176c", "B177a", "B177f", "N09"),
]
# An EHR with a catalogue of its own, which gets one action a suggestion.
EPIC = ["B147a", "B175d", "B177e", "E07", "N25"]
DIALECT = dict.fromkeys(STANDARD, "standard") | dict.fromkeys(EPIC, "epic")
UPDATED = ("N21", "N29", "B153a", "B156a", "B158c")
DELETED = ("B165b", "B164c", "E02", "V25", "V29")
AGAINST = {"KETORDER", "KETCONTRA", "KETDATA", "KETNOTIND", "KETNOPROTO", "KETREVIEW"}
# They have no code, so the service does not know them when it sees them again.
IN_WORDS = {"One-to-one nurse for the esketamine infusion", "One-to-one nurse for the ketamine infusion"}
GENEROUS_MS = 20_000


# ---- An EHR that accepts


@dataclass(frozen=True)
class Server:
    """A FHIR server as its client sees it. Numbers are read digit for digit."""

    base: str
    session: requests.Session

    def read(self, reference: str) -> Json | None:
        """The resource, or None when it is not there any more."""
        answer = self.session.get(f"{self.base}/{reference}", timeout=30)
        if answer.status_code in (404, 410):
            return None
        assert answer.status_code == 200, answer.text
        return read(answer.content)

    def transact(self, entries: Sequence[Json]) -> list[str]:
        """Carries all out or nothing, and returns where each resource is now."""
        bundle = written({"resourceType": "Bundle", "type": "transaction", "entry": list(entries)})
        answer = self.session.post(self.base, data=bundle, headers={"Content-Type": FHIR_JSON}, timeout=30)
        assert answer.status_code == 200, answer.text
        done = [entry["response"] for entry in read(answer.content)["entry"]]
        assert len(done) == len(entries)
        assert {response["status"][:3] for response in done} <= {"200", "201", "204"}, done
        return [
            "/".join(response["location"].removeprefix(f"{self.base}/").split("/")[:2])
            if entry["request"]["method"] == "POST"
            else entry["request"]["url"]
            for entry, response in zip(entries, done, strict=True)
        ]


def read(content: bytes) -> Json:
    found: Json = json.loads(content, parse_float=Decimal)
    return found


def written(value: Json) -> str:
    return json.dumps(value, default=float)


def transaction(actions: Iterable[Json]) -> list[Json]:
    """The entries that carry out the actions of one suggestion."""
    actions = list(actions)
    created = [action["resource"] for action in actions if action["type"] == "create"]
    names = {f"{order['resourceType']}/{order['id']}": f"urn:uuid:{order['id']}" for order in created}
    return [_entry(action, names) for action in actions]


def _entry(action: Json, names: dict[str, str]) -> Json:
    if action["type"] == "delete":
        return {"request": {"method": "DELETE", "url": action["resourceId"]}}
    order = _renamed(action["resource"], names)
    if action["type"] == "update":
        return {"resource": order, "request": {"method": "PUT", "url": f"{order['resourceType']}/{order['id']}"}}
    new = {name: value for name, value in order.items() if name != "id"}
    url = f"urn:uuid:{order['id']}"
    return {"fullUrl": url, "resource": new, "request": {"method": "POST", "url": order["resourceType"]}}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    match value:
        case {"reference": str(reference)} if reference in names:
            return {**value, "reference": names[reference]}
        case dict():
            return {name: _renamed(inner, names) for name, inner in value.items()}
        case list():
            return [_renamed(inner, names) for inner in value]
        case _:
            return value


def called(order: Json) -> str:
    """What a person reads as the name of the order."""
    concept = order.get("code") or order["medicationCodeableConcept"]
    return str(concept["text"])


def in_words(order: Json) -> bool:
    return called(order).partition(":")[0] in IN_WORDS


def topics(cards: Iterable[Json]) -> list[str]:
    return [card["source"]["topic"]["code"] for card in cards]


def suggestions(cards: Iterable[Json]) -> Iterator[Json]:
    for card in cards:
        yield from card.get("suggestions", ())


def created(cards: Iterable[Json]) -> list[Json]:
    """The orders that these cards would add."""
    return [a["resource"] for s in suggestions(cards) for a in s["actions"] if a["type"] == "create"]


@dataclass(frozen=True)
class Told:
    """
    One woman: the cards at first, each accepted action with where its order is now, and the orders on the server.

    `before_signing` are the cards when all drafts are about to be signed, `after_signing` those of the first hook once
    more, when what was accepted is active. `drafted` are the orders that were on the screen at first.
    """

    cards: list[Json]
    accepted: list[tuple[Json, str]]
    orders: dict[str, Json | None]
    drafted: list[Json]
    before_signing: list[Json]
    after_signing: list[Json]

    def of(self, kind: str) -> list[tuple[Json, str]]:
        return [(action, reference) for action, reference in self.accepted if action["type"] == kind]

    def medicine_stands(self) -> bool:
        """Was our medicine accepted, or a draft of it corrected?"""
        actions = [action for action, _ in (*self.of("create"), *self.of("update"))]
        return "MedicationRequest" in {action["resource"]["resourceType"] for action in actions}


TellOf = Callable[[str], Told]


class Ehr:
    """Plays the EHR of every woman: one server holds their charts."""

    def __init__(self, server: Server, door: Callable[[str], FlaskClient]) -> None:
        self.server = server
        self.door = door

    def fire(
        self, case: Case, dialect: str, hook: str, orders: Sequence[Json], selections: Sequence[str]
    ) -> list[Json]:
        """The cards of a call that brings no prefetch: the service reads the chart on the server."""
        context = {n: v for n, v in context_of(case, NOON).items() if n in ("userId", "patientId", "encounterId")}
        if hook.startswith("order-"):
            entries = [{"resource": order} for order in orders]
            context["draftOrders"] = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        if hook == "order-select":
            context["selections"] = list(selections)
        request = {"hook": hook, "hookInstance": case.hook_instance, "context": context, "fhirServer": self.server.base}
        site = {**site_in(case, dialect), "ehr": {"servers": [self.server.base], "budget_ms": GENEROUS_MS}}
        answer = self.door(json.dumps(site)).post(
            f"/cds-services/{service_for(hook).id}", data=written(request), content_type="application/json"
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        cards: list[Json] = read(answer.get_data())["cards"]
        return cards

    def tell(self, case: Case, dialect: str) -> Told:
        hook = case["hook"]
        drafted, selected = drafts(case, NOON) if hook.startswith("order-") else ([], [])
        cards = self.fire(case, dialect, hook, drafted, selected)
        accepted = [pair for one in suggestions(cards) for pair in self.accept(one)]
        ours = [reference for _, reference in accepted]
        references = list(dict.fromkeys([*(f"{o['resourceType']}/{o['id']}" for o in drafted), *ours]))
        orders = {reference: self.server.read(reference) for reference in references}
        standing = {reference: order for reference, order in orders.items() if order is not None}
        before = self.fire(case, dialect, "order-sign", list(standing.values()), [])
        signed = {reference: standing[reference] for reference in ours if reference in standing}
        self.sign(signed)
        others = {reference: order for reference, order in standing.items() if reference not in signed}
        after = self.fire(case, dialect, hook, list(others.values()), [one for one in selected if one in others])
        return Told(cards, accepted, orders, drafted, before, after)

    def accept(self, suggestion: Json) -> list[tuple[Json, str]]:
        """Each action of the suggestion, with where its order is now. The status of the order stays as it is."""
        actions = suggestion["actions"]
        return list(zip(actions, self.server.transact(transaction(actions)), strict=True))

    def sign(self, orders: dict[str, Json]) -> None:
        if orders:
            active = {reference: {**order, "status": "active"} for reference, order in orders.items()}
            self.server.transact(
                [{"resource": order, "request": {"method": "PUT", "url": ref}} for ref, order in active.items()]
            )


@pytest.fixture(scope="module")
def ehr(tmp_path_factory: pytest.TempPathFactory, knowledge: Knowledge, wording: Wording) -> Iterator[Ehr]:
    """One server with every woman's chart, and her drafts. It refuses what is not valid."""

    @cache
    def door(site: str) -> FlaskClient:
        return create_app(Advisor(knowledge, wording, Site.from_table(json.loads(site)), lambda: NOON)).test_client()

    women = [CASES[id_] for id_ in dict.fromkeys([*DIALECT, *ONE_ONLY])]
    charts = [resource for case in women for resource in (*encode(case, NOON), *drafts(case, NOON)[0])]
    strictly = {"validation": {"inbound": "strict"}}
    with real_server(tmp_path_factory.mktemp("server"), charts, **strictly) as base, requests.Session() as session:
        session.trust_env = False
        yield Ehr(Server(base, session), door)


@pytest.fixture(scope="module")
def told(ehr: Ehr) -> TellOf:
    """What happens to a woman. It happens once."""
    return cache(lambda id_: ehr.tell(CASES[id_], DIALECT[id_]))


def named(value: str) -> str:
    return f"{value} {CASES[value].story}" if value in CASES else value


each_woman = pytest.mark.parametrize("id_", DIALECT, ids=named)


# ---- Accepted


@each_woman
def test_what_is_read_back_is_what_was_suggested(id_: str, told: TellOf) -> None:
    woman = told(id_)

    assert woman.accepted
    for action, reference in (*woman.of("create"), *woman.of("update")):
        suggested, held = action["resource"], woman.orders[reference]
        assert held is not None
        assert {**held, "id": suggested["id"], "meta": None} == {**suggested, "meta": None}
        assert held["status"] == "draft"
        assert by_hand(written({name: value for name, value in held.items() if name != "meta"})) == []


@each_woman
def test_a_new_order_gets_its_id_from_the_server(id_: str, told: TellOf) -> None:
    woman = told(id_)
    new = [(action["resource"]["id"], reference.partition("/")[2]) for action, reference in woman.of("create")]

    assert all(temporary != given for temporary, given in new)
    assert len({given for _, given in new}) == len(new)


@each_woman
def test_an_accepted_order_refers_to_what_is_in_the_chart(id_: str, told: TellOf, ehr: Ehr) -> None:
    woman = told(id_)
    accepted = [woman.orders[reference] for _, reference in (*woman.of("create"), *woman.of("update"))]
    references = {reference for reference in references_in(accepted) if not reference.startswith("#")}

    assert f"Patient/woman-{CASES[id_].slug}" in references or not accepted
    assert [reference for reference in sorted(references) if ehr.server.read(reference) is None] == []


# ---- The server and the client


def test_the_server_takes_all_of_a_suggestion_or_nothing(ehr: Ehr) -> None:
    """And what is not valid it does not take: that it takes ours says something."""
    case = CASES["S29"]
    good, *others = transaction(joined(case, ehr)["actions"])
    bad = {name: value for name, value in others[-1]["resource"].items() if name != "subject"}
    before = held_on(ehr, "MedicationRequest", case)

    for entries in ([good, {**others[-1], "resource": bad}], [{**good, "resource": {**good["resource"], "colour": 1}}]):
        with pytest.raises(AssertionError, match="OperationOutcome"):
            ehr.server.transact(entries)

    assert held_on(ehr, "MedicationRequest", case) == before
    ehr.server.transact([good])
    assert held_on(ehr, "MedicationRequest", case) == before + 1


def test_an_order_that_names_another_by_its_temporary_id_names_it_afterwards(ehr: Ehr) -> None:
    """None of ours does so today. The client here must, or it would not be one."""
    suggestion = joined(CASES["S29"], ehr)
    medicine, second, *_ = suggestion["actions"]
    second["resource"]["basedOn"] = [{"reference": f"MedicationRequest/{medicine['resource']['id']}"}]

    (_, order), (_, monitoring) = ehr.accept({"actions": [medicine, second]})

    assert (ehr.server.read(monitoring) or {})["basedOn"] == [{"reference": order}]
    assert order != f"MedicationRequest/{medicine['resource']['id']}"


def joined(case: Case, ehr: Ehr) -> Json:
    """The suggestion that drafts the medicine and its monitoring."""
    drafted, selected = drafts(case, NOON)
    cards = ehr.fire(case, "standard", case["hook"], drafted, selected)
    return next(one for one in suggestions(cards) if len(one["actions"]) > 1)


def held_on(ehr: Ehr, kind: str, case: Case) -> int:
    """How many orders of this kind the server holds for her."""
    url = f"{ehr.server.base}/{kind}?patient=woman-{case.slug}"
    total: int = read(ehr.server.session.get(url, timeout=30).content)["total"]
    return total


# ---- About to be signed, and signed


@each_woman
def test_nothing_that_was_accepted_is_suggested_again(id_: str, told: TellOf) -> None:
    woman = told(id_)
    accepted = {called(action["resource"]) for action, _ in woman.of("create") if not in_words(action["resource"])}

    assert accepted.isdisjoint(called(order) for order in created(woman.before_signing))
    assert accepted.isdisjoint(called(order) for order in created(woman.after_signing))


def test_what_was_accepted_in_words_is_not_suggested_again(told: TellOf) -> None:
    woman = told("V01")
    assert [action for action, _ in woman.of("create") if in_words(action["resource"])]

    assert [called(order) for order in created(woman.before_signing) if in_words(order)] == []


@each_woman
def test_nothing_new_is_said_against_the_medicine(id_: str, told: TellOf) -> None:
    woman = told(id_)
    against = AGAINST & set(topics(woman.before_signing))

    assert against <= set(topics(woman.cards))
    if woman.medicine_stands():
        assert against == set()
        assert [o for o in created(woman.before_signing) if o["resourceType"] == "MedicationRequest"] == []
    if not CASES[id_]["hook"].startswith("order-"):
        # What is signed then are screens and referrals, and no birth: none of our business.
        assert woman.before_signing == []


def test_our_own_medicine_is_among_what_is_signed(told: TellOf) -> None:
    """Or the test above would say little."""
    own = [
        id_
        for id_ in DIALECT
        for action, _ in told(id_).of("create")
        if action["resource"]["resourceType"] == "MedicationRequest"
    ]

    assert {"V01", "V03", "V04", "B146a", "E07", "N25"} <= set(own)
    for id_ in own:
        cards = told(id_).before_signing
        assert "KETOPTION" in topics(cards)  # it was read, and found to be as the protocol says


# ---- Corrected, and taken back


@pytest.mark.parametrize("id_", UPDATED, ids=named)
def test_a_draft_that_was_corrected_departs_from_the_protocol_no_more(id_: str, told: TellOf) -> None:
    woman = told(id_)
    ((action, reference),) = woman.of("update")
    (draft,) = [order for order in woman.drafted if order["id"] == action["resource"]["id"]]
    held = woman.orders[reference]

    assert "KETORDER" in topics(woman.cards)
    assert "KETORDER" not in topics(woman.before_signing)
    assert held is not None
    assert held["medicationCodeableConcept"] == draft["medicationCodeableConcept"]
    assert held["dosageInstruction"] != draft["dosageInstruction"]
    assert not [s for s in suggestions(woman.before_signing) if "update" in {a["type"] for a in s["actions"]}]


@pytest.mark.parametrize("id_", DELETED, ids=named)
def test_a_draft_that_was_taken_back_is_gone(id_: str, told: TellOf) -> None:
    woman = told(id_)
    gone = [reference for _, reference in woman.of("delete")]

    assert gone
    assert [woman.orders[reference] for reference in gone] == [None] * len(gone)
    assert "critical" in {card["indicator"] for card in woman.cards}
    assert "critical" not in {card["indicator"] for card in woman.before_signing}
    assert not [s for s in suggestions(woman.before_signing) if "delete" in {a["type"] for a in s["actions"]}]


def test_the_women_show_all_that_can_be_accepted(told: TellOf, knowledge: Knowledge, wording: Wording) -> None:
    all_told = {id_: told(id_) for id_ in DIALECT}
    kinds = {kind: {id_ for id_, woman in all_told.items() if woman.of(kind)} for kind in ("update", "delete")}
    texts = {called(action["resource"]) for woman in all_told.values() for action, _ in woman.of("create")}
    named_so = {row.text.replace("$medicine", "esketamine") for row in knowledge.orders.service}

    assert kinds == {"update": set(UPDATED), "delete": set(DELETED)}
    assert named_so <= texts
    assert {
        "Esketamine 5 mg/mL, for one intravenous infusion",
        "Ketamine 10 mg/mL, for one intravenous infusion",
    } <= texts
    assert {CASES[id_]["hook"] for id_ in all_told} == {
        *("patient-view", "encounter-start", "encounter-discharge", "order-select", "order-sign"),
    }
    offering = {t for w in all_told.values() for t in topics(card for card in w.cards if card.get("suggestions"))}
    assert offering == {topic for topic, card in wording.cards.items() if card.buttons}


# ---- One of several


ONE_ONLY = ("S29", "S21")


@pytest.mark.parametrize(
    ("id_", "accepted", "other"),
    [
        ("S29", "EPDS on day 7 after birth", "EPDS on day 42 after birth"),
        ("S21", "EPDS on day 42 after birth", "EPDS on day 7 after birth"),
    ],
)
def test_what_was_not_accepted_can_still_be_accepted(id_: str, accepted: str, other: str, ehr: Ehr) -> None:
    case = CASES[id_]
    drafted, selected = drafts(case, NOON)
    cards = ehr.fire(case, "standard", case["hook"], drafted, selected)
    (chosen,) = [one for one in suggestions(cards) if called(one["actions"][0]["resource"]) == accepted]
    ((_, reference),) = ehr.accept(chosen)

    again = ehr.fire(case, "standard", "order-sign", [*drafted, ehr.server.read(reference) or {}], [])

    assert other in {called(order) for order in created(cards)}
    assert other in {called(order) for order in created(again)}
    assert accepted not in {called(order) for order in created(again)}
