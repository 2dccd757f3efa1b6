"""
Four judges of a suggested order. None of them knows the service.

Each takes an order as JSON text and returns what it has against it, as a list of texts: empty when nothing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import fhirkit
from fhir.resources.R4B import get_fhir_model_class

Json = dict[str, Any]
Judge = Callable[[str], list[str]]

NPM = Path(__file__).parent / "npm"


# ---- Other people's


def pydantic_models(text: str) -> list[str]:
    """fhir.resources: members, how many, types, calendar days. It knows no code and no reference."""
    try:
        order = json.loads(text)
        get_fhir_model_class(order["resourceType"]).model_validate(order)
    except (ValueError, KeyError, TypeError) as error:
        return [" ".join(str(error).split())[:200]]
    return []


def rust_reader(text: str) -> list[str]:
    """fhirkit-rs: members, how many, the types of JSON to the letter, nothing empty. No code, no calendar."""
    try:
        return [f"{issue.path}: {issue.message}" for issue in fhirkit.validate(text)]
    except fhirkit.ParseError as error:
        return [str(error)]


def node_judge(folder: Path) -> Callable[[Sequence[str]], list[list[str]]]:
    """
    npm's fhir, installed in this folder as locked: members, required codes, targets of references.

    It judges many orders in one process. It does not look inside `doseAndRate` and `timing.repeat`.
    """
    for file in NPM.iterdir():
        shutil.copy(file, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", "cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]

    def judge(texts: Sequence[str]) -> list[list[str]]:
        assert not any("\n" in text for text in texts)
        judged = subprocess.run(
            ["node", "judge.mjs"],  # noqa: S607  (the Node of whoever runs the tests)
            input="".join(f"{text}\n" for text in texts),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert judged.returncode == 0, judged.stderr[-2_000:]
        said: list[list[str]] = [json.loads(line) for line in judged.stdout.splitlines()]
        assert len(said) == len(texts)
        return said

    return judge


# ---- By hand: FHIR R4, the elements that are sent, and what must hold of each. Any other element is refused, so that
# ---- whoever sends a new one says here what must hold of it.

Rule = Callable[[Any], Iterator[str]]

_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_CODE: Final = re.compile(r"[^\s]+( [^\s]+)*")
_URI: Final = re.compile(r"(https?://|urn:[a-z0-9])[^\s<>\"]+")
_REFERENCE: Final = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_UCUM: Final = "http://unitsofmeasure.org"
_HL7: Final = "http://terminology.hl7.org/CodeSystem/"


def _says(pattern: re.Pattern[str], what: str) -> Rule:
    def rule(value: Any) -> Iterator[str]:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            yield f": {value!r} is no {what}"

    return rule


def _one_of(*codes: str) -> Rule:
    def rule(value: Any) -> Iterator[str]:
        if value not in codes:
            yield f": {value!r} is none of {', '.join(codes)}"

    return rule


def _text(value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not value.strip() or value != value.strip() or "\x00" in value:
        yield f": {value!r} is no text"


def _flag(value: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f": {value!r} is not true or false"


def _count(value: Any) -> Iterator[str]:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        yield f": {value!r} is no count"


def _amount(value: Any) -> Iterator[str]:
    if not isinstance(value, int | Decimal) or isinstance(value, bool) or not value > 0:
        yield f": {value!r} is no amount"


def _moment(value: Any) -> Iterator[str]:
    """A day, or an instant with its zone (FHIR R4, dateTime: with a time there must be a zone)."""
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            date.fromisoformat(value)
        elif isinstance(value, str) and _INSTANT.fullmatch(value):
            datetime.fromisoformat(value)
        else:
            yield f": {value!r} is no day and no instant with a zone"
    except ValueError:
        yield f": {value!r} is not in the calendar"


def _many(rule: Rule) -> Rule:
    def rules(value: Any) -> Iterator[str]:
        if not isinstance(value, list) or not value:
            yield ": is no list with something in it"
            return
        for number, item in enumerate(value):
            yield from (f"[{number}]{wrong}" for wrong in rule(item))

    return rules


def _object(needs: dict[str, Rule] | None = None, /, **may: Rule) -> Rule:
    """An object with all of the one members, any of the others, and nothing else."""
    members = (needs or {}) | may

    def rule(value: Any) -> Iterator[str]:
        if not isinstance(value, dict) or not value:
            yield ": is no object with something in it"
            return
        yield from (f".{name}: is missing" for name in (needs or {}) if name not in value)
        for name, inner in value.items():
            if name not in members:
                yield f".{name}: nobody has said what must hold of it"
            else:
                yield from (f".{name}{wrong}" for wrong in members[name](inner))

    return rule


def _all_of(*rules: Rule) -> Rule:
    return lambda value: (wrong for rule in rules for wrong in rule(value))


def _together(names: Iterable[str], what: str, holds: Callable[[Json], bool]) -> Rule:
    """A rule over several members of one object, for when all of them are there."""

    def rule(value: Any) -> Iterator[str]:
        if isinstance(value, dict) and all(name in value for name in names) and not holds(value):
            yield f": {what}"

    return rule


def _with(name: str, other: str, invariant: str) -> Rule:
    return _together([name], f"{name} without {other} ({invariant})", lambda held: other in held)


def _coding(value: Any) -> Iterator[str]:
    yield from _object(
        {"system": _says(_URI, "URI"), "code": _says(_CODE, "code")},
        display=_text,
    )(value)


_CONCEPT: Final = _all_of(
    _object(coding=_many(_coding), text=_text),
)


def _concept_of(system: str, *codes: str) -> Rule:
    """All codings from this system, and none but these."""
    coding = _object({"system": _one_of(system), "code": _one_of(*codes)}, display=_text)
    return _object({"coding": _many(coding)}, text=_text)


def _quantity(*units: str) -> Rule:
    """With a UCUM code; the unit that is read is the code that is computed with."""
    return _all_of(
        _object({"value": _amount, "unit": _text, "system": _one_of(_UCUM), "code": _one_of(*units)}),
        _together(["unit", "code"], "unit and code differ", lambda held: held["unit"] == held["code"]),
    )


def _reference(*targets: str) -> Rule:
    """To one of these types, or to something contained: whether that is there is asked of the whole order."""

    def literal(value: Any) -> Iterator[str]:
        if isinstance(value, str) and value.startswith("#"):
            return
        found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if found is None or found[1] not in targets:
            yield f": {value!r} is no reference to {' or '.join(targets)}"

    return _object({"reference": literal})


_PERIOD: Final = _all_of(
    _object(start=_moment, end=_moment),
    _together(["start", "end"], "ends before it starts (per-1)", lambda held: held["start"] <= held["end"]),
)
_UNIT_OF_TIME: Final = _one_of("s", "min", "h", "d", "wk", "mo", "a")
_TIMING: Final = _object(
    code=_CONCEPT,
    repeat=_all_of(
        _object(
            boundsDuration=_quantity("min", "h", "d"),
            count=_count,
            duration=_amount,
            durationUnit=_UNIT_OF_TIME,
            frequency=_count,
            period=_amount,
            periodUnit=_UNIT_OF_TIME,
        ),
        _with("duration", "durationUnit", "tim-1"),
        _with("period", "periodUnit", "tim-2"),
    ),
)
_RATIO: Final = _object({"numerator": _quantity("mg"), "denominator": _quantity("mL")})
# The ampoule inside a draft that came from the EHR, and goes back with another dosage.
_CONTAINED: Final = _object(
    {"resourceType": _one_of("Medication"), "id": _says(_ID, "id"), "code": _CONCEPT},
    ingredient=_many(_object({"itemCodeableConcept": _CONCEPT}, strength=_RATIO)),
)
_DOSAGE: Final = _object(
    {"text": _text, "route": _CONCEPT},
    sequence=_count,
    timing=_TIMING,
    asNeededBoolean=_flag,
    doseAndRate=_many(
        _object(
            {"doseQuantity": _quantity("mg"), "rateQuantity": _quantity("mL/h")},
            type=_concept_of(f"{_HL7}dose-rate-type", "ordered", "calculated"),
        )
    ),
    maxDosePerAdministration=_quantity("mg"),
)
_ALIKE: Final[dict[str, Rule]] = {
    "id": _says(_ID, "id"),
    "status": _one_of("draft"),  # R4 allows more: nothing is ordered here
    "intent": _one_of("order"),
    "subject": _reference("Patient"),
}
_OPTIONAL: Final[dict[str, Rule]] = {
    "priority": _one_of("routine", "urgent", "asap", "stat"),
    "encounter": _reference("Encounter"),
    "note": _many(_object({"text": _text})),
}
_CHART: Final = ("Condition", "Observation", "QuestionnaireResponse", "Procedure", "DiagnosticReport", "Encounter")
_ORDERS: Final[dict[str, Rule]] = {
    "MedicationRequest": _object(
        {**_ALIKE, "resourceType": _one_of("MedicationRequest"), "dosageInstruction": _many(_DOSAGE)},
        **_OPTIONAL,
        authoredOn=_moment,
        category=_many(
            _concept_of(f"{_HL7}medicationrequest-category", "inpatient", "outpatient", "community", "discharge")
        ),
        contained=_many(_CONTAINED),
        dispenseRequest=_object({"validityPeriod": _PERIOD}),
        instantiatesUri=_many(_says(_URI, "URI")),
        medicationCodeableConcept=_CONCEPT,
        medicationReference=_reference("Medication"),
        reasonCode=_many(_CONCEPT),
        reasonReference=_many(_reference("Condition", "Observation")),
        substitution=_object({"allowedBoolean": _flag}),
        supportingInformation=_many(_reference(*_CHART)),
    ),
    "ServiceRequest": _object(
        {**_ALIKE, "resourceType": _one_of("ServiceRequest"), "code": _CONCEPT},
        **_OPTIONAL,
        occurrenceDateTime=_moment,
        occurrencePeriod=_PERIOD,
        occurrenceTiming=_TIMING,
        reasonReference=_many(_reference("Condition", "Observation", "DiagnosticReport", "DocumentReference")),
        supportingInfo=_many(_reference(*_CHART)),
    ),
}
_CHOICES: Final = {"MedicationRequest": ("medication", 1), "ServiceRequest": ("occurrence", 0)}


def by_hand(text: str) -> list[str]:
    """What stands in the tables above."""
    order = json.loads(text, parse_float=Decimal)
    kind = order.get("resourceType")
    if kind not in _ORDERS:
        return [f"{kind} is suggested nowhere"]
    return [f"{kind}{wrong}" for rule in (_ORDERS[kind], _choice, _inner_references) for wrong in rule(order)]


def _choice(order: Json) -> Iterator[str]:
    name, least = _CHOICES[order["resourceType"]]
    made = [member for member in order if re.fullmatch(rf"{name}[A-Z]\w*", member)]
    if not least <= len(made) <= 1:
        yield f".{name}[x]: {len(made)} choices are made"


def _inner_references(order: Json) -> Iterator[str]:
    """Each #reference finds what it names, and nothing is contained that none names (dom-3)."""
    contained = order.get("contained")
    held = {one.get("id") for one in contained if isinstance(one, dict)} if isinstance(contained, list) else set()
    named = {reference[1:] for reference in references_in(order) if reference.startswith("#")}
    yield from (f": #{id_} is not contained" for id_ in sorted(named - held))
    yield from (f": {id_} is contained, and nothing refers to it (dom-3)" for id_ in sorted(map(str, held - named)))


def references_in(value: Any) -> Iterator[str]:
    """Every literal reference, wherever it stands."""
    match value:
        case dict():
            if isinstance(value.get("reference"), str):
                yield value["reference"]
            for inner in value.values():
                yield from references_in(inner)
        case list():
            for inner in value:
                yield from references_in(inner)


ALONE: Final[dict[str, Judge]] = {
    "fhir.resources": pydantic_models,
    "fhirkit-rs": rust_reader,
    "by hand": by_hand,
}
