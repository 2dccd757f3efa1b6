"""What is read of a medicine that is ordered, given or reported: in which words, until when, and whether it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.medicines import not_recognised, read_medicines
from cds_service.ehr.reading.view import View
from cds_service.ehr.units import Units
from cds_service.ehr.wanted import Wanted
from cds_service.knowledge import Knowledge
from cds_service.settings import Site

Json = dict[str, Any]
Look = Callable[..., View]

SNOMED = "http://snomed.info/sct"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PREVENTION = {"reasonCode": [{"text": "Prevention of postpartum depression"}]}
NASAL, SPINAL = ({"route": {"coding": [{"system": SNOMED, "code": code}]}} for code in ("46713006", "72607000"))
CREAM = {"route": {"text": "topical"}}


def ago(**span: float) -> str:
    return (NOON - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant(text: str) -> Moment:
    at = datetime.fromisoformat(text)
    return Moment(at, at, Precision.TIME, text)


def entry(kind: str, text: str, name: str, status: str, **more: Any) -> Json:
    whole = {"resourceType": kind, "id": name, "status": status, "medicationCodeableConcept": {"text": text}, **more}
    return {element: value for element, value in whole.items() if value is not None}


def ordered(text: str = "Theophylline", name: str = "order", status: str = "active", **more: Any) -> Json:
    return entry("MedicationRequest", text, name, status, **{"intent": "order", "authoredOn": ago(hours=2), **more})


def given(text: str = "Theophylline", name: str = "dose", status: str = "completed", **more: Any) -> Json:
    return entry("MedicationAdministration", text, name, status, **{"effectiveDateTime": ago(hours=1), **more})


def reported(text: str = "Theophylline", name: str = "report", status: str = "active", **more: Any) -> Json:
    return entry("MedicationStatement", text, name, status, **more)


@pytest.fixture(scope="module")
def look(knowledge: Knowledge) -> Look:
    """A chart of these entries at noon."""
    units, asked = Units(knowledge.units), Wanted.by(knowledge)

    def view(
        *entries: Json, drafts: tuple[Json, ...] = (), encounter: Json | None = None, zone: Any = UTC, **had: Had
    ) -> View:
        kinds = {one["resourceType"] for one in entries}
        chart = Chart(
            patient={"resourceType": "Patient", "id": "her"},
            encounter=encounter,
            by_type={kind: tuple(one for one in entries if one["resourceType"] == kind) for kind in kinds},
            had={query.key: Had.WHOLE for query in asked.queries} | had,
            drafts=drafts,
            selected=frozenset(),
            set_aside=(),
        )
        return View(chart, knowledge, units, asked, NOON, zone)

    return view


def read(view: View, fact: str = "xanthine", *, elsewhere: bool = False) -> Finding:
    return read_medicines(view, elsewhere=elsewhere)[fact]


ORDER, DOSE, REPORT = "MedicationRequest/order", "MedicationAdministration/dose", "MedicationStatement/report"


def counts(reference: str, word: str, until: str | None, *, over: bool = False) -> Finding:
    """`over`: it began at that time, and nobody wrote when it ended."""
    at = instant(until) if until else None
    if at is not None and over:
        at = Moment(at.earliest, NOON, Precision.YEAR, at.text)
    return Finding(State.PRESENT, (Evidence(reference, word, None, until),), at=at)


ENDED = {"status": "stopped", "authoredOn": ago(days=9)}


def bounded(end: str | None, **more: Any) -> Json:
    return {"timing": {"repeat": {"boundsPeriod": {"start": ago(days=30), "end": end}}}, **more}


COUNTING: list[tuple[str, Json, Finding]] = [
    ("ordered", ordered(), counts(ORDER, "ordered", ago(hours=2))),
    ("ordered, undated", ordered(authoredOn=None), counts(ORDER, "ordered", None)),
    (
        "ordered, to run until tomorrow",
        ordered(dosageInstruction=[bounded(ago(hours=-24))]),
        counts(ORDER, "ordered", ago(hours=2)),
    ),
    ("on hold", ordered(status="on-hold"), counts(ORDER, "ordered", ago(hours=2))),
    ("nobody knows its status", ordered(status="unknown"), counts(ORDER, "ordered", ago(hours=2))),
    ("a draft in the chart", ordered(status="draft"), counts(ORDER, "drafted", ago(hours=2))),
    ("cancelled", ordered(status="cancelled"), ABSENT),
    ("never", ordered(doNotPerform=True), ABSENT),
    ("as needed", ordered(dosageInstruction=[{"asNeededBoolean": True}]), ABSENT),
    ("as needed, for a reason", ordered(dosageInstruction=[{"asNeededCodeableConcept": {"text": "wheeze"}}]), ABSENT),
    (
        "as needed, and by the clock",
        ordered(dosageInstruction=[{"asNeededBoolean": True}, {"text": "at 8"}]),
        counts(ORDER, "ordered", ago(hours=2)),
    ),
    ("stopped two hours ago", ordered(status="stopped"), counts(ORDER, "stopped", ago(hours=2))),
    ("completed two hours ago", ordered(status="completed"), counts(ORDER, "completed", ago(hours=2))),
    ("stopped, written long ago", ordered(**ENDED), ABSENT),
    (
        "stopped, to run until an hour ago",
        ordered(**ENDED, dosageInstruction=[bounded(ago(hours=1))]),
        counts(ORDER, "stopped", ago(hours=1)),
    ),
    (
        "stopped, to be had until an hour ago",
        ordered(**ENDED, dispenseRequest={"validityPeriod": {"start": ago(days=9), "end": ago(hours=1)}}),
        counts(ORDER, "stopped", ago(hours=1)),
    ),
    (
        "stopped, to run until an hour ago, to be had until long ago",
        ordered(
            **ENDED, dosageInstruction=[bounded(ago(hours=1))], dispenseRequest={"validityPeriod": {"end": ago(days=5)}}
        ),
        counts(ORDER, "stopped", ago(hours=1)),
    ),
    ("stopped, undated", ordered(status="stopped", authoredOn=None), counts(ORDER, "stopped", None)),
    (
        "stopped, begun long ago",
        ordered(**ENDED, dosageInstruction=[bounded(None)]),
        counts(ORDER, "stopped", ago(days=30), over=True),
    ),
    (
        "stopped, begun long ago, to be had until then",
        ordered(**ENDED, dosageInstruction=[bounded(None)], dispenseRequest={"validityPeriod": {"end": ago(hours=3)}}),
        counts(ORDER, "stopped", ago(hours=3)),
    ),
    (
        "stopped, one dosage until then, another until later",
        ordered(**ENDED, dosageInstruction=[bounded(ago(days=8)), bounded(ago(hours=1)), bounded(ago(days=7)), {}]),
        counts(ORDER, "stopped", ago(hours=1)),
    ),
    (
        "stopped, one dosage until long ago, another without an end",
        ordered(**ENDED, dosageInstruction=[bounded(ago(days=8)), bounded(None)]),
        counts(ORDER, "stopped", ago(days=30), over=True),
    ),
    (
        "stopped, to be had since then",
        ordered(**ENDED, dispenseRequest={"validityPeriod": {"start": ago(days=9)}}),
        counts(ORDER, "stopped", ago(days=9), over=True),
    ),
    (
        "an infusion, stopped",
        ordered(**ENDED, dosageInstruction=[{"doseAndRate": [{"rateQuantity": {"value": 1}}]}]),
        counts(ORDER, "stopped", ago(days=9), over=True),
    ),
    ("given", given(), counts(DOSE, "given", ago(hours=1))),
    ("given 48 hours ago", given(effectiveDateTime=ago(hours=48)), counts(DOSE, "given", ago(hours=48))),
    ("given longer ago", given(effectiveDateTime=ago(hours=48, seconds=1)), ABSENT),
    ("given, undated", given(effectiveDateTime=None), counts(DOSE, "given", None)),
    (
        "given from then till then",
        given(effectiveDateTime=None, effectivePeriod={"start": ago(hours=60), "end": ago(hours=3)}),
        counts(DOSE, "given", ago(hours=3)),
    ),
    (
        "given since then",
        given(effectiveDateTime=None, effectivePeriod={"start": ago(hours=60)}),
        counts(DOSE, "given", ago(hours=60), over=True),
    ),
    ("broken off", given(status="stopped"), counts(DOSE, "given", ago(hours=1))),
    ("not done", given(status="not-done"), ABSENT),
    ("running", given(status="in-progress"), counts(DOSE, "running", ago(hours=1))),
    ("running on hold", given(status="on-hold"), counts(DOSE, "running", ago(hours=1))),
    (
        "in progress, and at its end",
        given(status="in-progress", effectiveDateTime=None, effectivePeriod={"end": ago(hours=3)}),
        counts(DOSE, "given", ago(hours=3)),
    ),
    ("reported", reported(), counts(REPORT, "reported", None)),
    ("reported of a day", reported(effectiveDateTime=ago(days=9)), counts(REPORT, "reported", ago(days=9))),
    ("reported as needed", reported(dosage=[{"asNeededBoolean": True}]), ABSENT),
    (
        "reported, ended an hour ago",
        reported(status="completed", effectivePeriod={"end": ago(hours=1)}),
        counts(REPORT, "reported, ended", ago(hours=1)),
    ),
    (
        "reported, ended an hour ago, at one time",
        reported(status="stopped", effectiveDateTime=ago(hours=1)),
        counts(REPORT, "reported, ended", ago(hours=1)),
    ),
    ("reported, ended long ago", reported(status="completed", effectivePeriod={"end": ago(days=9)}), ABSENT),
    ("reported, ended, undated", reported(status="stopped"), counts(REPORT, "reported, ended", None)),
    (
        "reported, ended, begun long ago",
        reported(status="stopped", effectivePeriod={"start": ago(days=9)}),
        counts(REPORT, "reported, ended", ago(days=9), over=True),
    ),
    ("reported, not taken", reported(status="not-taken"), ABSENT),
    ("another one", ordered("Paracetamol"), ABSENT),
    ("without it", ordered("Balm without theophylline"), ABSENT),
    ("without it, loudly", ordered("Balm WITHOUT Theophylline"), ABSENT),
]


@pytest.mark.parametrize(("one", "comes"), [row[1:] for row in COUNTING], ids=[row[0] for row in COUNTING])
def test_an_entry_counts_with_its_words_and_its_date(one: Json, comes: Finding, look: Look) -> None:
    assert read(look(one)) == comes


DRAFTS: list[tuple[str, Json, Finding]] = [
    ("drafted", ordered(status="draft"), counts(ORDER, "drafted", ago(hours=2))),
    ("drafted, and signed again", ordered(status="active"), counts(ORDER, "drafted", ago(hours=2))),
    ("drafted as needed", ordered(status="draft", dosageInstruction=[{"asNeededBoolean": True}]), ABSENT),
    ("cancelled", ordered(status="cancelled"), ABSENT),
    ("in error", ordered(status="entered-in-error"), ABSENT),
    ("never", ordered(status="draft", doNotPerform=True), ABSENT),
]


@pytest.mark.parametrize(("one", "comes"), [row[1:] for row in DRAFTS], ids=[row[0] for row in DRAFTS])
def test_a_draft_of_the_call_counts_as_one_and_hides_the_order_that_it_changes(
    one: Json, comes: Finding, look: Look
) -> None:
    assert read(look(drafts=(one,))) == comes
    assert read(look(ordered(), drafts=(one,))) == comes


def test_several_entries_are_all_named_and_dated_by_the_first(look: Look) -> None:
    both = read(look(given(name="dose"), ordered()))

    assert [e.reference for e in both.evidence] == [ORDER, DOSE]
    assert both.at == instant(ago(hours=2))


# ---- By which route, in which form, and for what

PRESSOR, OPIOID = "Phenylephrine", "Morphine"
FORMS: list[tuple[str, Json, set[str]]] = [
    ("a vasopressor that runs", given(PRESSOR, status="in-progress"), {"vasopressor_infusion"}),
    ("a vasopressor on order", ordered(PRESSOR), {"vasopressor_infusion"}),
    ("a vasopressor on order, for the nose", ordered(PRESSOR, dosageInstruction=[NASAL]), set()),
    ("a vasopressor reported", reported(PRESSOR), set()),
    (
        "a vasopressor reported, ended ten minutes ago",
        reported(PRESSOR, status="completed", effectivePeriod={"end": ago(minutes=10)}),
        {"vasopressor_bolus"},
    ),
    ("a vasopressor given ten minutes ago", given(PRESSOR, effectiveDateTime=ago(minutes=10)), {"vasopressor_bolus"}),
    ("a vasopressor given 16 minutes ago", given(PRESSOR, effectiveDateTime=ago(minutes=16)), set()),
    (
        "a vasopressor given at a rate",
        given(PRESSOR, effectiveDateTime=ago(minutes=10), dosage={"rateQuantity": {"value": 1}}),
        set(),
    ),
    (
        "a vasopressor given over a time",
        given(PRESSOR, effectiveDateTime=None, effectivePeriod={"start": ago(minutes=10), "end": ago(minutes=5)}),
        set(),
    ),
    ("an opioid", given(OPIOID), {"systemic_opioid"}),
    ("an opioid at the spine", given(OPIOID, dosage=SPINAL), {"neuraxial_opioid"}),
    (
        "an opioid at the spine, 24 hours ago",
        given(OPIOID, dosage=SPINAL, effectiveDateTime=ago(hours=24)),
        {"neuraxial_opioid"},
    ),
    ("an opioid on the skin", given(OPIOID, dosage=CREAM), {"systemic_opioid"}),
    ("ketamine for prevention, given", given("Ketamine", **PREVENTION), {"ketamine_for_prevention_given"}),
    (
        "ketamine for prevention, running",
        given("Ketamine", status="in-progress", **PREVENTION),
        {"ketamine_for_prevention_given"},
    ),
    ("ketamine for prevention, ordered", ordered("Ketamine", **PREVENTION), set()),
    ("ketamine for pain, given", given("Ketamine", reasonCode=[{"text": "pain"}]), {"ketamine_for_other_reason"}),
    ("ketamine for pain, ordered", ordered("Ketamine"), {"ketamine_for_other_reason"}),
    ("ketamine in a cream", ordered("Ketamine", dosageInstruction=[CREAM]), set()),
    ("ketamine in a cream, by its words", ordered("Ketamine 10 % cream"), set()),
    ("ergot as needed", ordered("Ergometrine", dosageInstruction=[{"asNeededBoolean": True}]), {"ergot_as_needed"}),
    ("ergot reported as needed", reported("Ergometrine", dosage=[{"asNeededBoolean": True}]), {"ergot_as_needed"}),
    ("an antipsychotic", ordered("Olanzapine"), {"antipsychotic"}),
]
LIST = {"medication_list", "administrations_elsewhere"}


@pytest.mark.parametrize(("one", "facts"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
def test_what_a_medicine_counts_for(one: Json, facts: set[str], look: Look) -> None:
    found = read_medicines(look(one), elsewhere=False)

    assert {name for name, finding in found.items() if finding.state is State.PRESENT} - LIST == facts


STAY = {"resourceType": "Encounter", "id": "stay", "period": {"start": ago(hours=5)}}
HERE = {"reference": "Encounter/stay"}
STAYS: list[tuple[str, Json, State]] = [
    ("in this stay, by its date", given("Ketamine", **PREVENTION), State.PRESENT),
    ("before it", given("Ketamine", effectiveDateTime=ago(hours=6), **PREVENTION), State.ABSENT),
    (
        "before it, but of it",
        given("Ketamine", effectiveDateTime=ago(hours=6), context=HERE, **PREVENTION),
        State.PRESENT,
    ),
    (
        "before it, but of it, as R5 says",
        given("Ketamine", effectiveDateTime=ago(hours=6), encounter=HERE, **PREVENTION),
        State.PRESENT,
    ),
    (
        "before it, of another",
        given("Ketamine", effectiveDateTime=ago(hours=6), context={"reference": "Encounter/x"}, **PREVENTION),
        State.ABSENT,
    ),
    ("undated", given("Ketamine", effectiveDateTime=None, **PREVENTION), State.PRESENT),
    (
        "begun before it, and nobody wrote its end",
        given("Ketamine", effectiveDateTime=None, effectivePeriod={"start": ago(hours=6)}, **PREVENTION),
        State.ABSENT,
    ),
    (
        "begun in it, and nobody wrote its end",
        given("Ketamine", effectiveDateTime=None, effectivePeriod={"start": ago(hours=4)}, **PREVENTION),
        State.PRESENT,
    ),
]


@pytest.mark.parametrize(("one", "state"), [row[1:] for row in STAYS], ids=[row[0] for row in STAYS])
def test_what_was_given_for_prevention_counts_in_this_stay(one: Json, state: State, look: Look) -> None:
    assert read(look(one, encounter=STAY), "ketamine_for_prevention_given").state is state
    assert read(look(one), "ketamine_for_prevention_given").state is State.PRESENT
    assert read(look(one, encounter={**STAY, "period": None}), "ketamine_for_prevention_given").state is State.PRESENT


def test_a_dose_is_for_the_reason_of_the_order_that_it_was_given_by(look: Look) -> None:
    by_order = given("Ketamine", request={"reference": ORDER})

    assert (
        read(look(by_order, ordered("Ketamine", **PREVENTION)), "ketamine_for_prevention_given").state is State.PRESENT
    )
    assert read(look(by_order, ordered("Ketamine")), "ketamine_for_prevention_given") == ABSENT


def test_a_dose_without_a_name_is_that_of_its_order(look: Look) -> None:
    nameless = given(
        request={"reference": ORDER}, medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"}
    )

    found = read(look(nameless, ordered(status="cancelled")))

    assert found == counts(DOSE, "given", ago(hours=1))


# ---- How the lists were had

PARTS = ("medication_orders", "medication_administrations", "reported_medicines")
RECEIVED = [
    ({}, False, Finding(State.PRESENT), ABSENT),
    ({"medication_orders": Had.FAILED}, False, unknown(Doubt.NOT_RECEIVED), unknown(Doubt.NOT_RECEIVED)),
    ({"medication_administrations": Had.RESTRICTED}, False, unknown(Doubt.RESTRICTED), unknown(Doubt.RESTRICTED)),
    ({"medication_administrations": Had.FAILED}, True, Finding(State.PRESENT), ABSENT),
    ({"medication_orders": Had.FAILED}, True, unknown(Doubt.NOT_RECEIVED), unknown(Doubt.NOT_RECEIVED)),
    ({"reported_medicines": Had.NOT_ASKED}, False, Finding(State.PRESENT), ABSENT),
    ({"reported_medicines": Had.CUT_SHORT}, False, unknown(Doubt.INCOMPLETE), unknown(Doubt.INCOMPLETE)),
]


@pytest.mark.parametrize(("had", "elsewhere", "listed", "none"), RECEIVED)
def test_what_was_not_received_is_unknown(
    had: dict[str, Had], elsewhere: bool, listed: Finding, none: Finding, look: Look
) -> None:
    view = look(**had)

    assert read(view, "medication_list", elsewhere=elsewhere) == listed
    assert read(view, elsewhere=elsewhere) == none
    there = read(view, "administrations_elsewhere", elsewhere=elsewhere)
    assert there == (Finding(State.PRESENT) if elsewhere else ABSENT)


def test_a_medicine_that_is_only_pointed_at_leaves_open_whatever_it_could_be(look: Look) -> None:
    pointing = given(medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"})
    seen = Evidence(DOSE, "given", None, ago(hours=1))

    assert read(look(pointing), "medication_list") == unknown(Doubt.UNCLEAR, seen)
    assert read(look(pointing)) == unknown(Doubt.UNCLEAR, seen)
    assert read(look(pointing, ordered())) == counts(ORDER, "ordered", ago(hours=2))
    assert read(look(pointing, medication_orders=Had.FAILED), "medication_list") == unknown(Doubt.NOT_RECEIVED)


ELEVEN = "2026-11-23T11:00:00"
WITHOUT_A_ZONE = [
    ordered(authoredOn=ELEVEN),
    ordered(**ENDED, dosageInstruction=[bounded(ELEVEN)]),
    ordered(**ENDED, dispenseRequest={"validityPeriod": {"end": ELEVEN}}),
    given(effectiveDateTime=ELEVEN),
    given(effectiveDateTime=None, effectivePeriod={"end": ELEVEN}),
    reported(effectiveDateTime=ELEVEN),
    reported(status="completed", effectivePeriod={"end": ELEVEN}),
]


@pytest.mark.parametrize("one", WITHOUT_A_ZONE)
def test_a_time_without_a_zone_is_the_sites_own(one: Json, look: Look) -> None:
    moment = read(look(one, zone=timezone(timedelta(hours=1)))).at

    assert moment is not None
    assert moment.latest == NOON - timedelta(hours=2)


def test_a_dose_is_what_its_order_points_at(look: Look) -> None:
    by_order = given(medicationCodeableConcept=None, request={"reference": ORDER})
    pointing = ordered(
        medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"}, status="cancelled"
    )
    medication = {"resourceType": "Medication", "id": "m", "code": {"text": "Theophylline"}}

    assert read(look(by_order, pointing, medication)) == counts(DOSE, "given", ago(hours=1))


def test_a_cream_behind_a_reference_is_a_cream(look: Look) -> None:
    one = ordered(medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"})
    medication = {"resourceType": "Medication", "id": "m", "code": {"text": "Ketamine"}}

    assert read(look(one, medication), "ketamine_for_other_reason").state is State.PRESENT
    medication["code"] = {"text": "Ketamine 10 % cream"}
    assert read(look(one, medication), "ketamine_for_other_reason") == ABSENT


def test_a_product_of_the_sites_own_behind_a_reference_may_be_for_prevention_alone(look: Look) -> None:
    local = [{"system": "urn:site", "codes": ["K"], "means": ["ketamine", "reason_postpartum_depression"]}]
    medication = {"resourceType": "Medication", "id": "m", "code": {"coding": [{"system": "urn:site", "code": "K"}]}}
    one = given(medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"})
    view = look(one, medication)
    spoken = view.knowledge.spoken_at(Site.from_table({"country": "CN", "local": local}))

    found = read(replace(view, knowledge=spoken), "ketamine_for_prevention_given")

    assert found == counts(DOSE, "given", ago(hours=1))


def test_a_substance_inside_the_medication_tells_what_it_is(look: Look) -> None:
    medication = {
        "resourceType": "Medication",
        "id": "m",
        "contained": [{"resourceType": "Substance", "id": "s", "code": {"text": "Theophylline"}}],
        "ingredient": [{"itemReference": {"reference": "#s"}}],
    }
    one = ordered(medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"})

    assert read(look(one, medication)) == counts(ORDER, "ordered", ago(hours=2))


def test_a_code_that_nobody_knows_is_a_name(look: Look) -> None:
    coded = {"coding": [{"system": "urn:site", "code": "X1"}]}
    twice = (given(name=name, medicationCodeableConcept=coded) for name in ("one", "two"))

    assert not_recognised(look(*twice)) == (Evidence("MedicationAdministration/one", "given", None, ago(hours=1)),)


def test_what_was_given_before_this_stay_leaves_nothing_open(look: Look) -> None:
    pointed = {"medicationCodeableConcept": None, "medicationReference": {"reference": "Medication/m"}}
    long_ago = {"effectiveDateTime": ago(days=20), **PREVENTION}
    seen = Evidence(DOSE, "given", None, ago(days=20))

    assert read(look(given(**pointed, **long_ago)), "medication_list") == unknown(Doubt.UNCLEAR, seen)
    assert read(look(given(**pointed, **long_ago), encounter=STAY), "medication_list") == Finding(State.PRESENT)
    given_before = "ketamine_for_prevention_given"
    assert read(look(given(**pointed, **long_ago)), given_before) == unknown(Doubt.UNCLEAR, seen)
    assert read(look(given(**pointed, **long_ago), encounter=STAY), given_before) == ABSENT
    assert not_recognised(look(given("Foo", **long_ago))) == (seen,)
    assert not_recognised(look(given("Foo", **long_ago), encounter=STAY)) == ()


def test_a_stay_that_began_without_a_zone_began_in_the_sites_own(look: Look) -> None:
    stay = {**STAY, "period": {"start": "2026-11-23T07:00:00"}}
    before, since = (given("Ketamine", effectiveDateTime=ago(hours=hours), **PREVENTION) for hours in (6, 4))

    assert read(look(before, encounter=stay), "ketamine_for_prevention_given") == ABSENT
    assert read(look(since, encounter=stay), "ketamine_for_prevention_given").state is State.PRESENT
    assert not_recognised(look(given("Foo", effectiveDateTime=ago(days=20), **PREVENTION), encounter=stay)) == ()


def test_what_nobody_knows_is_named_once_and_what_runs_comes_first(look: Look) -> None:
    view = look(
        ordered("Foo", "foo"),
        given("Foo", "foo-runs", "in-progress"),
        given("Bar", "bar", effectiveDateTime=ago(hours=3)),
        given("Bar", "bar-later"),
        given("Bar", "bar-undated", effectiveDateTime=None),
        ordered("Theophylline"),
        given("Baz", "long-ago", effectiveDateTime=ago(days=400)),
    )

    assert not_recognised(view) == (
        Evidence("MedicationAdministration/foo-runs", "running", None, ago(hours=1)),
        Evidence("MedicationAdministration/bar-undated", "given", None, None),
    )
