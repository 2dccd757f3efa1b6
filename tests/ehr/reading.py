"""Entries as EHRs write them, in one line each, and what is read of a chart that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from cds_service.clinical.facts import Doubt, Evidence, Finding, State, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading import Read, read
from cds_service.ehr.reading.orders import read_drafted
from cds_service.ehr.reading.view import View
from cds_service.ehr.units import Units
from cds_service.ehr.wanted import Wanted
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.settings import Site

Json = dict[str, Any]

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem/"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HER = {"reference": "Patient/her"}
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WEIGHT, HEIGHT, PULSE, PANEL, SYSTOLIC, DIASTOLIC = "29463-7", "8302-2", "8867-4", "85354-9", "8480-6", "8462-4"
ALT, PLATELETS, APNOEA, LOSS, ASA = "1742-6", "777-3", "69990-0", "81661-1", "97816-3"
PERIOD, DUE, BIRTH, METHOD, STATUS, FEEDING = "8665-2", "11778-8", "93857-1", "73762-7", "82810-3", "63895-7"
MDQ, ASSESSED = "85102-2", "225337009"
CAESAREAN, VAGINAL, DELIVERY, EPIDURAL, GENERAL = "11466000", "700000006", "236973005", "18946005", "50697003"
PREGNANT, PRE_ECLAMPSIA, HYPERTENSION = "77386006", "398254007", "59621000"


# ---- How it is written


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(**span: float) -> str:
    return text(NOON - timedelta(**span))


def instant(**span: float) -> Moment:
    at = NOON - timedelta(**span)
    return Moment(at, at, Precision.TIME, text(at))


def day(written: str) -> Moment:
    first = datetime.fromisoformat(written).replace(tzinfo=UTC)
    return Moment(first, first + DAY, Precision.DAY, written)


def coded(system: str, *codes: str, **more: Any) -> Json:
    return {"coding": [{"system": system, "code": code} for code in codes], **more}


def quantity(value: Any, unit: str, **more: Any) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit, **more}


def entry(kind: str, name: str, **elements: Any) -> Json:
    whole = {"resourceType": kind, "id": name, "subject": HER, **elements}
    return {element: value for element, value in whole.items() if value is not None}


def observed(code: str | Json, name: str = "o", at: str | None = ago(hours=1), **elements: Any) -> Json:
    concept = coded(LOINC, code) if isinstance(code, str) else code
    return entry("Observation", name, **{"status": "final", "code": concept, "effectiveDateTime": at, **elements})


def measured(code: str, value: Any, unit: str, name: str = "o", at: str | None = ago(hours=1), **more: Any) -> Json:
    return observed(code, name, at, valueQuantity=quantity(value, unit), **more)


def weighed(kg: float, name: str = "o", at: str | None = ago(hours=1), **more: Any) -> Json:
    return measured(WEIGHT, kg, "kg", name, at, **more)


def pressed(systolic: Any, diastolic: Any, name: str = "o", at: str | None = ago(hours=1), **more: Any) -> Json:
    parts = [
        {"code": coded(LOINC, code), "valueQuantity": quantity(value, "mm[Hg]")}
        for code, value in ((SYSTOLIC, systolic), (DIASTOLIC, diastolic))
        if value is not None
    ]
    return observed(PANEL, name, at, component=parts, **more)


def done(code: str, name: str = "p", at: str | None = ago(hours=1), **elements: Any) -> Json:
    whole = {"status": "completed", "code": coded(SNOMED, code), "performedDateTime": at, **elements}
    return entry("Procedure", name, **whole)


def wanted(code: str, name: str = "s", **elements: Any) -> Json:
    whole = {"status": "active", "intent": "order", "code": coded(SNOMED, code), "authoredOn": ago(hours=2), **elements}
    return entry("ServiceRequest", name, **whole)


def problem(code: str | Json, name: str = "c", **elements: Any) -> Json:
    whole = {
        "code": coded(SNOMED, code) if isinstance(code, str) else code,
        "clinicalStatus": coded(HL7 + "condition-clinical", "active"),
        "verificationStatus": coded(HL7 + "condition-ver-status", "confirmed"),
        "onsetDateTime": ago(hours=3),
        **elements,
    }
    return entry("Condition", name, **whole)


def allergic(code: Json, name: str = "a", **elements: Any) -> Json:
    return {"resourceType": "AllergyIntolerance", "id": name, "patient": HER, "code": code, **elements}


# ---- What is read


def seen(name: str = "o", value: str | None = None, unit: str | None = None, at: Moment | None = None) -> Evidence:
    kind = {"o": "Observation", "p": "Procedure", "s": "ServiceRequest", "c": "Condition", "a": "AllergyIntolerance"}
    return Evidence(f"{kind[name[0]]}/{name}", value, unit, at.text if at else None)


def known(
    *values: Decimal | Fraction | int, by: Evidence | tuple[Evidence, ...], at: Moment | None, **how: bool
) -> Finding:
    return Finding(State.PRESENT, by if isinstance(by, tuple) else (by,), values=values, at=at, **how)


def kilos(number: str, name: str = "o", at: Moment | None = None) -> Evidence:
    return seen(name, number, "kg", at)


@dataclass(frozen=True)
class Row:
    """A chart of these entries, and what is read of one fact. `had`: the lists that did not come whole."""

    says: str
    fact: str
    chart: tuple[Json, ...]
    comes: Finding
    had: dict[str, Had] = field(default_factory=dict)
    patient: Json = field(default_factory=dict)
    encounter: Json | None = None
    drafts: tuple[Json, ...] = ()
    site: Json = field(default_factory=dict)
    zone: tzinfo = UTC

    def __str__(self) -> str:
        return f"{self.fact}: {self.says}"


H1, H2, H3, H5 = instant(hours=1), instant(hours=2), instant(hours=3), instant(hours=5)
TOMORROW = instant(hours=-24)
STAYS = {"resourceType": "Encounter", "id": "stay", "period": {"start": ago(hours=30)}}
UNSAID = unknown(Doubt.UNCLEAR, seen("c", "active", None, H3))


@cache
def known_to_all() -> tuple[Knowledge, Units, Wanted]:
    knowledge = load_knowledge()
    return knowledge, Units(knowledge.units), Wanted.by(knowledge)


def read_of(row: Row) -> Read:
    """What is read of a row's chart at noon, each list received whole unless it is said otherwise."""
    knowledge, units, asked = known_to_all()
    kinds = {one["resourceType"] for one in row.chart}
    chart = Chart(
        patient={"resourceType": "Patient", "id": "her", **row.patient},
        encounter=row.encounter,
        by_type={kind: tuple(one for one in row.chart if one["resourceType"] == kind) for kind in kinds},
        had={query.key: Had.WHOLE for query in asked.queries} | row.had,
        drafts=row.drafts,
        selected=frozenset(f"{one['resourceType']}/{one['id']}" for one in row.drafts),
        set_aside=(),
    )
    view = View(chart, knowledge, units, asked, NOON, row.zone)
    site = Site.from_table({"country": "CN", **row.site})
    return read(view, read_drafted(chart, knowledge, units), site)
