"""
Every order that is suggested is valid FHIR R4, in the eyes of four judges that know nothing of the service.

What neither fhir.resources nor fhirkit-rs nor npm's fhir sees, as the spoiled orders below show (those that only the
table by hand catches): units of time and types of dose that are no such code, a duration or a period without its unit,
the UCUM code of a quantity, a unit that says something else than the code, an amount below nothing, a code without its
system, an object with nothing in it, a period that ends before it starts, an id of more than 64 signs, a reference that
leads nowhere, something contained that nothing refers to, and an order that is no draft.

What nobody sees, here or there: whether a code means what its text says (tests/knowledge looks the codes up), the
profiles of a country, and whether the dose is right (that is what the rest of the tests is about).
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from judges import ALONE, Json, node_judge
from suggested import CASES, FORMS, masked, suggested_to_all

from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording

NPM = "npm fhir"
JUDGES = [*ALONE, NPM]
DIALECTS = ("standard", "epic")
AllOf = dict[str, list[Json]]


@pytest.fixture(scope="module")
def suggested(knowledge: Knowledge, wording: Wording) -> AllOf:
    """Each order by what it says, ids aside; and all orders that say it."""
    found: AllOf = {}
    for *_, order in suggested_to_all(DIALECTS, knowledge, wording):
        found.setdefault(masked(order), []).append(order)
    return found


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[str]], list[list[str]]]:
    """npm's judge. Where a change is about to land, it fails without Node."""
    if not (shutil.which("node") and shutil.which("npm")) and os.environ.get("CI") != "true":
        pytest.skip("Node or npm is missing: the npm package fhir is not asked")
    return node_judge(tmp_path_factory.mktemp("npm"))


# ---- All of them


def test_there_is_something_to_judge(suggested: AllOf) -> None:
    orders = [order for same in suggested.values() for order in same]

    assert len(suggested) > 50
    assert {order["resourceType"] for order in orders} == {"MedicationRequest", "ServiceRequest"}
    assert any(order["resourceType"] == "MedicationRequest" and "contained" in order for order in orders)
    for element in ("reasonReference", "supportingInfo", "supportingInformation", "occurrenceTiming", "note"):
        assert any(element in order for order in orders), element


@pytest.mark.parametrize("judge", JUDGES)
def test_every_suggested_order_is_valid(judge: str, suggested: AllOf, request: pytest.FixtureRequest) -> None:
    orders = [json.dumps(same[0]) for same in suggested.values()]

    said = [ALONE[judge](order) for order in orders] if judge in ALONE else request.getfixturevalue("npm")(orders)

    wrong = {order: against for order, against in zip(orders, said, strict=True) if against}
    assert not wrong, next(iter(wrong.items()))


def test_every_id_and_reference_is_valid_too(suggested: AllOf) -> None:
    """Above, orders that differ in nothing else are judged once."""
    judge = ALONE["by hand"]

    assert not [(against, order) for same in suggested.values() for order in same if (against := judge(_text(order)))]


# ---- Each judge can fail


GONE: Final = object()
MEDICINE, PRESSURE, SCREEN, CORRECTED = "the medicine", "blood pressure", "the screen on day 7", "a corrected draft"
MODELS, RUST, HAND = ALONE
ALL = {MODELS, RUST, NPM, HAND}
DOSE = "dosageInstruction.0.doseAndRate.0"
# An order, where it is spoiled, with what, and the judges that see it.
SPOILED: list[tuple[str, str, Any, set[str]]] = [
    # What is there and what is not
    (MEDICINE, "colour", "red", ALL),
    (MEDICINE, f"{DOSE}.colour", "red", {MODELS, RUST, HAND}),
    (PRESSURE, "occurrenceTiming.repeat.colour", "red", {MODELS, RUST, HAND}),
    (MEDICINE, "subject", GONE, ALL),
    (MEDICINE, "status", GONE, ALL),
    (MEDICINE, "intent", GONE, ALL),
    (MEDICINE, "medicationCodeableConcept", GONE, ALL),
    (MEDICINE, "medicationReference", {"reference": "Medication/1"}, {MODELS, RUST, HAND}),
    (MEDICINE, "note.0.text", GONE, ALL),
    (SCREEN, "occurrencePeriod", {"end": "2026-12-01"}, {MODELS, RUST, HAND}),
    # Codes with a required binding
    (MEDICINE, "status", "weird", {NPM, HAND}),
    (MEDICINE, "intent", "now", {NPM, HAND}),
    (MEDICINE, "priority", "high", {NPM, HAND}),
    (SCREEN, "status", "cancelled", {NPM, HAND}),  # a code of the other kind of order
    (SCREEN, "intent", "suggestion", {NPM, HAND}),
    (SCREEN, "priority", "STAT", {NPM, HAND}),
    (MEDICINE, "dosageInstruction.0.timing.repeat.durationUnit", "minutes", {HAND}),
    (PRESSURE, "occurrenceTiming.repeat.periodUnit", "minutes", {HAND}),
    # Other codes that are sent
    (MEDICINE, f"{DOSE}.type.coding.0.code", "order", {HAND}),
    (MEDICINE, "category.0.coding.0.code", "impatient", {HAND}),
    (MEDICINE, "status", "active", {HAND}),  # allowed, and never suggested
    (SCREEN, "code.coding.0.system", GONE, {HAND}),
    (SCREEN, "code.coding.0.system", "LOINC", {HAND}),
    (SCREEN, "code.coding.0.code", " 71354-5", {MODELS, RUST, HAND}),
    # Numbers and units
    (MEDICINE, f"{DOSE}.doseQuantity.value", "14.0", {RUST, HAND}),
    (MEDICINE, f"{DOSE}.doseQuantity.value", -14.0, {HAND}),
    (MEDICINE, f"{DOSE}.doseQuantity.code", "milligram", {HAND}),
    (MEDICINE, f"{DOSE}.doseQuantity.unit", "mL", {HAND}),
    (MEDICINE, f"{DOSE}.doseQuantity.system", GONE, {HAND}),
    (MEDICINE, "dosageInstruction.0.timing.repeat.count", 0, {MODELS, RUST, HAND}),
    (MEDICINE, "dosageInstruction.0.timing.repeat.count", 1.5, {MODELS, RUST, HAND}),
    (MEDICINE, "dosageInstruction.0.timing.repeat.durationUnit", GONE, {HAND}),
    (PRESSURE, "occurrenceTiming.repeat.periodUnit", GONE, {HAND}),
    # Types of JSON, and what is empty
    (MEDICINE, "dosageInstruction.0.asNeededBoolean", "false", {RUST, NPM, HAND}),
    (MEDICINE, "note", [], {RUST, HAND}),
    (MEDICINE, "note", {"text": "A note"}, ALL),
    (MEDICINE, "note", None, {RUST, NPM, HAND}),
    (SCREEN, "encounter", {}, {HAND}),
    (SCREEN, "code.text", "", {MODELS, RUST, HAND}),
    # Times
    (SCREEN, "occurrenceDateTime", "2026-02-30", {MODELS, HAND}),
    (SCREEN, "occurrenceDateTime", "2026-11-30T12:00:00", {MODELS, RUST, HAND}),
    (MEDICINE, "dispenseRequest.validityPeriod.end", "2020-01-01T00:00:00Z", {HAND}),
    # Ids and references
    (SCREEN, "id", "an_id", {MODELS, HAND}),
    (SCREEN, "id", "i" * 65, {HAND}),
    (SCREEN, "subject.reference", "Practitioner/she", {NPM, HAND}),
    (SCREEN, "encounter.reference", "Observation/1", {NPM, HAND}),
    (SCREEN, "reasonReference", [{"reference": "QuestionnaireResponse/1"}], {NPM, HAND}),
    (SCREEN, "subject.reference", "she", {HAND}),
    (CORRECTED, "medicationReference.reference", "#another", {HAND}),
    (CORRECTED, "contained", GONE, {HAND}),
    (MEDICINE, "contained", [{"resourceType": "Medication", "id": "m", "code": {"text": "Water"}}], {HAND}),
]


def _named(row: tuple[str, str, Any, set[str]]) -> str:
    order, path, value, _ = row
    return f"{order}: {path} {'is gone' if value is GONE else f'is {value!r:.40}'}"


@pytest.fixture(scope="module")
def good(suggested: AllOf) -> dict[str, Json]:
    """One order of each sort, as it was suggested."""
    orders = [same[0] for same in suggested.values()]

    def first(fits: Callable[[Json], Any]) -> Json:
        return next(order for order in orders if fits(order))

    return {
        MEDICINE: first(lambda o: "instantiatesUri" in o and "reasonReference" in o and "note" in o),
        PRESSURE: first(lambda o: "repeat" in o.get("occurrenceTiming", {})),
        SCREEN: first(lambda o: "occurrenceDateTime" in o),
        CORRECTED: first(lambda o: "contained" in o),
    }


def spoiled(order: Json, path: str, value: Any) -> Json:
    """A copy of the order with one element of it changed, or gone."""
    spoilt: Any = copy.deepcopy(order)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    held = spoilt
    for step in way:
        held = held[step]
    if value is GONE:
        del held[last]
    else:
        held[last] = value
    return spoilt


@pytest.mark.parametrize("row", SPOILED, ids=_named)
def test_a_spoiled_order_is_caught(row: tuple[str, str, Any, set[str]], good: dict[str, Json]) -> None:
    order, path, value, by = row

    caught = {name for name, judge in ALONE.items() if judge(_text(spoiled(good[order], path, value)))}

    assert caught == by - {NPM}


def test_the_judge_from_npm_catches_its_share(good: dict[str, Json], npm: Any) -> None:
    said = npm([_text(spoiled(good[order], path, value)) for order, path, value, _ in SPOILED])

    for row, against in zip(SPOILED, said, strict=True):
        assert bool(against) == (NPM in row[3]), (_named(row), against)


def test_each_judge_sees_something_and_nothing_in_an_unspoiled_order(good: dict[str, Json]) -> None:
    assert {name for *_, by in SPOILED for name in by} == set(JUDGES)
    assert all(HAND in by for *_, by in SPOILED)
    for order in good.values():
        assert [judge(_text(order)) for judge in ALONE.values()] == [[]] * len(ALONE)


def test_the_forms_are_among_the_women() -> None:
    assert {form.id for form in FORMS} <= set(CASES)


def _text(order: Json) -> str:
    return json.dumps(order)
