"""What an EHR would hold of a worked case, written as FHIR R4."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

Json = dict[str, Any]

FOLDER = Path(__file__).parent / "vignettes"
TABLES = ("defaults.toml", "codes.toml")

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
SYSTEMS = {
    "snomed": SNOMED,
    "loinc": LOINC,
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "atc": "http://www.whocc.no/atc",
}
HL7 = "http://terminology.hl7.org/CodeSystem/"
ORDINAL = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
WEIGHT = "http://hl7.org/fhir/StructureDefinition/itemWeight"
FORM = "https://forms.example.org/Questionnaire/mood-after-birth"

EPDS_PANEL, EPDS_TOTAL = "71354-5", "99046-5"
EPDS_ITEMS = (
    "71344-6",
    "71345-3",
    "71346-1",
    "71347-9",
    "71348-7",
    "71349-5",
    "71350-3",
    "71351-1",
    "71352-9",
    "71353-7",
)
PHQ9_TOTAL, PHQ9_PANEL = "44261-6", "44249-1"
PHQ9_ITEMS = (
    "44250-9",
    "44255-8",
    "44259-0",
    "44254-1",
    "44251-7",
    "44258-2",
    "44252-5",
    "44253-3",
    "44260-8",
)
GAD7_TOTAL, GAD7_PANEL = "70274-6", "69737-5"
GAD7_ITEMS = ("69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7")
PHQ_ANSWERS = ("LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9")  # of the PHQ-9 and the GAD-7, by score
DANISH = (
    "1humor",
    "2happiness",
    "3blame",
    "4worry",
    "5anxious",
    "6grow",
    "7sleep",
    "8sad",
    "9cry",
    "10harm",
)
PRINTED_UPWARDS = (1, 2, 4)  # the other items are printed from 3 down to 0: the place in the list is not the score

ASA_CLASS = {1: "413495001", 2: "413496000", 3: "413497009", 4: "413498004", 5: "413499007"}
SCREEN_RESULT = {"negative": "260385009", "positive": "10828004"}
ROUTE = {
    "iv": "47625008",
    "nasal": "46713006",
    "im": "78421000",
    "sc": "34206005",
    "oral": "26643006",
    "intrathecal": "72607000",
}
DELIVERY = {"cesarean": "11466000", "vaginal": "700000006", None: "236973005"}
ANAESTHESIA = {"neuraxial": "18946005", "general": "50697003"}
MONITORING = {"spo2": "252465000", "blood-pressure": "135840009"}
REASON: dict[str | None, Json] = {
    "ppd_prevention": {
        "coding": [{"system": SNOMED, "code": "58703003"}],
        "text": "Prevention of postpartum depression",
    },
    "ppd_text": {"text": "To prevent postpartum depression"},
    "ppd_icd10cm": {"coding": [{"system": SYSTEMS["icd10cm"], "code": "F53.0"}]},
    "analgesia": {"text": "analgesia"},
}


# ---- The cases


@dataclass(frozen=True)
class Case:
    """One worked case: its story, what is given, and what must come out."""

    id: str
    story: str
    given: Json
    expect: Json
    why: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def __str__(self) -> str:
        return f"{self.id} {self.story}"

    @property
    def slug(self) -> str:
        """The case's name inside FHIR ids."""
        return self.id.lower()

    @property
    def number(self) -> int:
        """The digits of the id."""
        return int("".join(sign for sign in self.id if sign.isdigit()))

    @property
    def hook_instance(self) -> str:
        """The same at each run."""
        return str(uuid5(NAMESPACE_URL, f"urn:vignette:{self.id}"))

    def shaped(self, **shape: str) -> Case:
        """The same case in another encoding."""
        return replace(self, given={**self.given, "shape": {**self.given["shape"], **shape}})


def read_cases(folder: Path = FOLDER) -> list[Case]:
    """Every vignette of the folder, laid over the defaults."""
    defaults = _nulls(_toml(folder / "defaults.toml"))
    cases = [
        Case(
            id=row["id"],
            story=row["story"],
            given=_merged(defaults, row.get("set", {}), row["id"]),
            expect=row["expect"],
            why=row.get("why", ""),
        )
        for file in sorted(folder.glob("*.toml"))
        if file.name not in TABLES
        for row in _nulls(_toml(file))["vignette"]
    ]
    assert len({case.id for case in cases}) == len(cases), "two vignettes share an id"
    return cases


def _toml(file: Path) -> Json:
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _nulls(value: Any) -> Any:
    match value:
        case "none":
            return None
        case dict():
            return {name: _nulls(inner) for name, inner in value.items()}
        case list():
            return [_nulls(inner) for inner in value]
        case _:
            return value


def _merged(below: Json, above: Json, where: str) -> Json:
    """Maps merge key by key; all else replaces. A name that the defaults do not know is a misspelling."""
    strangers = set(above) - set(below)
    assert not strangers or not below, f"{where}: nobody knows {sorted(strangers)}"
    both_maps = {name for name in above if isinstance(below.get(name), dict) and isinstance(above[name], dict)}
    merged = {name: _merged(below[name], above[name], f"{where}.{name}") for name in both_maps}
    return {**below, **above, **merged}


CODES = _toml(FOLDER / "codes.toml")


def site_of(case: Case) -> Json:
    """The site file of the case's hospital, as a table."""
    site = {"name": "Hospital of the vignettes", **case["site"]}
    return {name: value for name, value in site.items() if value is not None}


# ---- The chart


def encode(case: Case, now: datetime) -> list[Json]:
    """Every resource in the woman's chart, strays included; drafts are not in the chart (see `drafts`)."""
    return _Chart(case, now).written()


def drafts(case: Case, now: datetime) -> tuple[list[Json], list[str]]:
    """The draft orders on the clinician's screen, and the references of the selected ones."""
    chart = _Chart(case, now)
    selected = [*chart.delivery_order(), *chart.selected_medicines(), *chart.drafted_ketamine()]
    background = [*chart.drafted_monitoring(), *chart.drafted_medicines()]
    if not selected:
        selected = [chart.order("blood-count", {"text": "Full blood count"})]
    return [*selected, *background], [f"{order['resourceType']}/{order['id']}" for order in selected]


def coded(row: Json) -> Json:
    """A CodeableConcept from a row of codes.toml."""
    coding = [
        {"system": system, "code": code}
        for name, system in SYSTEMS.items()
        for code in ([row[name]] if isinstance(row.get(name), str) else row.get(name, []))
    ]
    return ({"coding": coding} if coding else {}) | {"text": row["says"]}


def _loinc(code: str, says: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code}], "text": says}


def _snomed(code: str) -> Json:
    return {"coding": [{"system": SNOMED, "code": code}]}


def _hl7(table: str, code: str) -> Json:
    return {"coding": [{"system": HL7 + table, "code": code}]}


def _quantity(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


class _Chart:
    """Writes one case's entries. Ids, references and instants are made here and nowhere else."""

    def __init__(self, case: Case, now: datetime) -> None:
        self.case = case
        self.now = now
        self.patient = f"woman-{case.slug}"
        self.encounter = f"stay-{case.slug}"
        self._count = 0

    def written(self) -> list[Json]:
        entries = [
            self.woman(),
            self.stay(),
            *self.screens(),
            *self.problems(),
            *self.medicines(),
            *self.allergies(),
            *self.body(),
            *self.vitals(),
            *self.labs(),
            *self.birth(),
            *self.anaesthesia(),
            *self.noise(),
        ]
        # Two answered forms share one Questionnaire.
        return list({(entry["resourceType"], entry["id"]): entry for entry in entries}.values())

    # -- ids, references, instants

    def id(self, says: str) -> str:
        self._count += 1
        return f"{self.case.slug}-{self._count}-{says}"

    def subject(self) -> Json:
        return {"reference": f"Patient/{self.patient}"}

    def instant(self, *, days: float = 0, hours: float = 0, minutes: float = 0) -> str:
        at = self.now - timedelta(days=days, hours=hours, minutes=minutes)
        match self.case["shape"].get("zone", "Z"):
            case "Z":
                return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            case zone:
                sign, hour, minute = zone[0], int(zone[1:3]), int(zone[4:6])
                offset = timedelta(hours=hour, minutes=minute) * (-1 if sign == "-" else 1)
                return at.astimezone(timezone(offset)).isoformat(timespec="seconds")

    def day(self, *, hours: float) -> str:
        return (self.now - timedelta(hours=hours)).date().isoformat()

    def stay_of(self, hours: float) -> Json:
        """The encounter element of an entry so many hours old, if she was here then."""
        here = 0 <= hours <= self.case["encounter"]["stay_h"]
        return {"encounter": {"reference": f"Encounter/{self.encounter}"}} if here else {}

    # -- who and where

    def woman(self) -> Json:
        given = self.case["patient"]
        match given["birth_date"]:
            case "unknown":
                born = {}
            case None:  # half a year past her birthday
                birthday = self.now - timedelta(days=180)
                born = {"birthDate": birthday.replace(year=birthday.year - given["age_years"]).date().isoformat()}
            case text:
                born = {"birthDate": text}
        return {"resourceType": "Patient", "id": self.patient, "active": True, "gender": "female"} | born

    def stay(self) -> Json:
        return {
            "resourceType": "Encounter",
            "id": self.encounter,
            "status": "in-progress",
            "class": {"system": HL7 + "v3-ActCode", "code": "IMP"},
            "subject": self.subject(),
            "period": {"start": self.instant(hours=self.case["encounter"]["stay_h"])},
        }

    # -- observations and screens

    def observation(
        self,
        code: Json,
        value: Json,
        *,
        category: str = "survey",
        hours: float = 0,
        date_only: bool = False,
        status: str = "final",
        **more: Any,
    ) -> Json:
        return {
            "resourceType": "Observation",
            "id": self.id(category),
            "status": status,
            "category": [_hl7("observation-category", category)],
            "code": code,
            "subject": self.subject(),
            "effectiveDateTime": self.day(hours=hours) if date_only else self.instant(hours=hours),
            **self.stay_of(hours),
            **value,
            **more,
        }

    def screens(self) -> list[Json]:
        given = self.case["screens"]
        written = []
        if given["epds"]:
            written += self.epds(**given["epds"])
        if given["later_epds"]:
            written += self.epds(**given["later_epds"])
        if given["phq9"]:
            written += self.phq9(**given["phq9"])
        if given["gad7"]:
            written += self.gad7(**given["gad7"])
        if given["bipolar_screen"]:
            written.append(
                self.observation(
                    _loinc("85102-2", "Mood Disorder Questionnaire"),
                    {"valueCodeableConcept": _snomed(SCREEN_RESULT[given["bipolar_screen"]])},
                    hours=24 * given["bipolar_age_d"],
                )
            )
        if given["risk_assessed_h"] is not None:
            written.append(self.procedure("225337009", performedDateTime=self.instant(hours=given["risk_assessed_h"])))
        return written

    def epds(
        self,
        *,
        total: int,
        item10: int | None,
        items_answered: int,
        age_h: float,
        date_only: bool = False,
        stated_total: int | None = None,
        status: str = "final",
    ) -> list[Json]:
        """One form. With a stated total the items are written too, and the two may disagree."""
        stated = total if stated_total is None else stated_total
        when = {"hours": age_h, "date_only": date_only, "status": status}
        response = self.id("epds")
        from_form = {"derivedFrom": [{"reference": f"QuestionnaireResponse/{response}"}]}

        def score_of(code: str, value: int) -> Json:
            return self.observation(_loinc(code, "EPDS"), {"valueInteger": value}, **when, **from_form)

        def part(code: str, value: int) -> Json:
            return {"code": _loinc(code, "EPDS"), "valueInteger": value}

        shape = self.case["shape"].get("epds", "total" if stated_total is None else "items")
        items = {} if shape in (*ALONE, "apart") else _answers(total, item10, items_answered)
        # A form tells its own total when it is whole, or when the story is about that total.
        summed = stated if items_answered == 10 or stated_total is not None else None
        match shape:
            case "items" | "weighed-items":
                value = {"items": _integer, "weighed-items": _weighed}[shape]
                written = [
                    self.observation(_loinc(EPDS_ITEMS[n - 1], "EPDS"), value(n, score), **when, **from_form)
                    for n, score in items.items()
                ]
                return written if stated_total is None else [*written, score_of(EPDS_TOTAL, stated)]
            case "panel":
                incomplete = items_answered < 10 and item10 is not None
                parts = [] if incomplete else [part(EPDS_TOTAL, stated)]
                told = items if incomplete or stated_total is not None else {10: item10}
                parts += [part(EPDS_ITEMS[n - 1], value) for n, value in told.items() if value is not None]
                return [self.observation(_loinc(EPDS_PANEL, "EPDS"), {"component": parts}, **when)]
            case "members":
                codes = (EPDS_PANEL, EPDS_ITEMS, EPDS_TOTAL)
                return self.members(codes, items, _integer, total=summed, **when)
            case "apart":
                later = when | {"hours": age_h - self.case["shape"]["apart_min"] / 60}
                return [
                    self.observation(_loinc(EPDS_TOTAL, "EPDS"), {"valueInteger": stated}, **when),
                    self.observation(_loinc(EPDS_ITEMS[9], "EPDS"), {"valueInteger": item10}, **later),
                ]
            case _ if shape in ALONE:
                # A total beside item 10 would say that the form is complete.
                assert items_answered == 10 or item10 is None, f"{self.case.id}: needs another shape of EPDS"
                written = [self.observation(*ALONE[shape](stated), **when, **from_form)]
                return written if item10 is None else [*written, score_of(EPDS_ITEMS[9], item10)]
            case _ if shape in FORMS:
                form = FORMS[shape](items, summed)
                written = self.form(response, form, **when)
                apart = stated_total is not None and not form.tells_total
                return [*written, score_of(EPDS_TOTAL, stated)] if apart else written
            case _:
                raise AssertionError(f"no such shape of EPDS: {shape}")

    def members(
        self,
        codes: tuple[str, tuple[str, ...], str],
        items: dict[int, int],
        value: Callable[[int, int], Json],
        *,
        total: int | None,
        **when: Any,
    ) -> list[Json]:
        """A panel that names its items. Only the panel says when, and that it is of this stay."""
        panel, item_codes, total_code = codes
        told = [(item_codes[n - 1], value(n, score)) for n, score in items.items()]
        told += [] if total is None else [(total_code, {"valueInteger": total})]
        written = [self.observation(_loinc(code, "Screen"), one, **when) for code, one in told]
        for one in written:
            one.pop("effectiveDateTime")
            one.pop("encounter", None)
        named = [{"reference": f"Observation/{one['id']}"} for one in written]
        return [*written, self.observation(_loinc(panel, "Screen"), {"hasMember": named}, **when)]

    def form(
        self, response: str, form: Form, *, hours: float, date_only: bool = False, status: str = "final"
    ) -> list[Json]:
        """A QuestionnaireResponse, and its Questionnaire where the answers need one."""
        answered: Json = {
            "resourceType": "QuestionnaireResponse",
            "id": response,
            "questionnaire": form.canonical,
            "status": "completed" if status == "final" else status,
            "subject": self.subject(),
            "source": self.subject(),
            "authored": self.day(hours=hours) if date_only else self.instant(hours=hours),
            "item": form.items,
            **self.stay_of(hours),
        }
        if form.canonical.startswith("#"):
            return [answered | {"contained": list(form.questionnaires)}]
        return [answered, *form.questionnaires]

    def phq9(self, *, total: int, age_h: float, item9: int = 0) -> list[Json]:
        shape = self.case["shape"].get("phq9", "total")
        if shape in ("total", "total-quantity", "total-string"):
            value = {"total": {"valueInteger": total}, **_as_told(total)}[shape]
            form = {"derivedFrom": [{"reference": f"QuestionnaireResponse/{self.id('phq9')}"}], "hours": age_h}
            return [
                self.observation(_loinc(PHQ9_TOTAL, "PHQ-9 total"), value, **form),
                self.observation(_loinc(PHQ9_ITEMS[8], "PHQ-9 item 9"), {"valueInteger": item9}, **form),
            ]
        items = {**_spread(total - item9, 8), 9: item9}
        return self.coded_form(shape, "phq9", (PHQ9_PANEL, PHQ9_ITEMS, PHQ9_TOTAL), items, age_h)

    def gad7(self, *, total: int, age_h: float) -> list[Json]:
        shape = self.case["shape"].get("gad7", "total")
        if shape in ("total", "total-quantity", "total-string"):
            value = {"total": {"valueInteger": total}, **_as_told(total)}[shape]
            return [self.observation(_loinc(GAD7_TOTAL, "GAD-7 total"), value, hours=age_h)]
        return self.coded_form(shape, "gad7", (GAD7_PANEL, GAD7_ITEMS, GAD7_TOTAL), _spread(total, 7), age_h)

    def coded_form(
        self, shape: str, name: str, form_codes: tuple[str, tuple[str, ...], str], items: dict[int, int], age_h: float
    ) -> list[Json]:
        """A whole PHQ-9 or GAD-7: its items are answered in LOINC's answer codes, or in numbers."""
        panel, codes, total_code = form_codes
        total = sum(items.values())
        match shape:
            case "items":
                from_form = {"derivedFrom": [{"reference": f"QuestionnaireResponse/{self.id(name)}"}], "hours": age_h}
                return [
                    self.observation(_loinc(codes[n - 1], "Screen"), _in_loinc(n, score), **from_form)
                    for n, score in items.items()
                ]
            case "members":
                return self.members(form_codes, items, _in_loinc, total=total, hours=age_h)
            case "panel":
                parts = [{"code": _loinc(codes[n - 1], "Screen"), **_in_loinc(n, one)} for n, one in items.items()]
                parts.append({"code": _loinc(total_code, "Screen"), "valueInteger": total})
                return [self.observation(_loinc(panel, "Screen"), {"component": parts}, hours=age_h)]
            case "lhc":
                answered = [
                    {"linkId": f"/{codes[n - 1]}", "answer": [{"valueCoding": _answer_code(score)}]}
                    for n, score in items.items()
                ]
                answered.append({"linkId": f"/{total_code}", "answer": [{"valueDecimal": total}]})
                form = Form(f"https://forms.example.org/Questionnaire/{panel}", answered, (), tells_total=True)
                return self.form(self.id(name), form, hours=age_h)
            case "named":
                answered = [
                    {"linkId": f"{name}.q{n}", "answer": [{"valueInteger": score}]} for n, score in items.items()
                ]
                form = Form("https://forms.example.org/Questionnaire/17", answered, (), tells_total=False)
                return self.form(self.id(name), form, hours=age_h)
            case _:
                raise AssertionError(f"no such shape of {name}: {shape}")

    # -- problems and allergies

    def problems(self) -> list[Json]:
        given = self.case["encounter"]
        entry = {"by stage": given["stage"] == "pre_delivery", "active": True, None: False}[given["pregnancy_entry"]]
        names = (["pregnancy"] if entry else []) + self.case["problems"]["conditions"] + self.case["social"]["factors"]
        return [self.condition(**({"name": one} if isinstance(one, str) else one)) for one in names]

    def condition(self, *, name: str, **differently: Any) -> Json:
        plain = {"status": "active", "verification": "confirmed", "undated": False, "ended_d": None}
        row: Json = plain | CODES["condition"][name]
        assert set(differently) <= {*row, "began_d"}, f"{self.case.id}: {name}: {sorted(differently)}"
        row |= differently
        written = {
            "resourceType": "Condition",
            "id": self.id("problem"),
            "verificationStatus": _hl7("condition-ver-status", row["verification"]),
            "category": [_hl7("condition-category", "problem-list-item")],
            "code": coded(row),
            "subject": self.subject(),
        }
        # FHIR forbids a clinical status beside "entered in error".
        if row["status"] != "unstated" and row["verification"] != "entered-in-error":
            written["clinicalStatus"] = _hl7("condition-clinical", row["status"])
        if not row["undated"]:
            began = max(row["began_d"], row["ended_d"] or 0)
            written |= {"onsetDateTime": self.instant(days=began), "recordedDate": self.instant(days=began)}
            if row["ended_d"] is not None:
                written["abatementDateTime"] = self.instant(days=row["ended_d"])
        return written

    def allergies(self) -> list[Json]:
        given = self.case["allergies"]
        if not given["list"] and given["none_known"]:
            return [self.allergy(code=_snomed("716186003"))]
        return [self.allergy(**({"name": one} if isinstance(one, str) else one)) for one in given["list"]]

    def allergy(
        self,
        *,
        name: str | None = None,
        code: Json | None = None,
        verification: str = "confirmed",
        status: str = "active",
        kind: str = "allergy",
    ) -> Json:
        written = {
            "resourceType": "AllergyIntolerance",
            "id": self.id("allergy"),
            "verificationStatus": _hl7("allergyintolerance-verification", verification),
            "code": code or coded(CODES["allergy"][name]),
            "patient": self.subject(),
            "recordedDate": self.instant(hours=20),
        }
        if name:
            written["type"] = kind
        if verification != "entered-in-error":
            written["clinicalStatus"] = _hl7("allergyintolerance-clinical", status)
        return written

    # -- medicines

    def medicines(self) -> list[Json]:
        return [self.medicine(**one) for one in self.case["medications"]["list"] if one["status"] != "drafted"]

    def medicine(
        self, *, status: str, hours_ago: float = 1, date_only: bool = False, **named: str
    ) -> Json:  # `class` is a word of Python's own
        row = CODES["medicine"][named["class"]]
        match status:
            case "infusing":
                when: Json = {"status": "in-progress", "effectivePeriod": {"start": self.instant(hours=hours_ago)}}
            case "given" if date_only:
                when = {"status": "completed", "effectiveDateTime": self.day(hours=hours_ago)}
            case "given":
                when = {"status": "completed", "effectiveDateTime": self.instant(hours=hours_ago)}
            case "active" | "prn_not_given" | "stopped" | "on_hold":
                return self.ordered(row, status)
            case _:
                raise AssertionError(f"{self.case.id}: no such status of a medicine: {status}")
        return {
            "resourceType": "MedicationAdministration",
            "id": self.id("given"),
            **when,
            "medicationCodeableConcept": coded(row),
            "subject": self.subject(),
            "dosage": {"route": _snomed(ROUTE[row["route"]])},
            **({"context": self.stay_of(hours_ago)["encounter"]} if self.stay_of(hours_ago) else {}),
            **({"reasonCode": [REASON[row["reason"]]]} if "reason" in row else {}),
        }

    def ordered(self, row: Json, status: str) -> Json:
        return {
            "resourceType": "MedicationRequest",
            "id": self.id("medicine"),
            "status": {"stopped": "stopped", "on_hold": "on-hold", "drafted": "draft"}.get(status, "active"),
            "intent": "order",
            "medicationCodeableConcept": coded(row),
            "subject": self.subject(),
            "authoredOn": self.instant(minutes=1) if status == "drafted" else self.instant(hours=20),
            **self.stay_of(0),
            "dosageInstruction": [
                {"asNeededBoolean": status == "prn_not_given", "route": _snomed(ROUTE[row["route"]])},
            ],
            **({"reasonCode": [REASON[row["reason"]]]} if "reason" in row else {}),
        }

    # -- measurements

    def body(self) -> list[Json]:
        given = self.case["patient"]
        written = []
        if given["weight"]:
            written.append(self.weight(**given["weight"]))
        if given["other_weight_14d_kg"] is not None:
            written.append(
                self.weight(
                    value=given["other_weight_14d_kg"], unit="kg", method="measured", age_h=given["other_weight_age_h"]
                )
            )
        if given["height_cm"] is not None:
            written.append(
                self.observation(
                    _loinc("8302-2", "Body height"),
                    {"valueQuantity": _quantity(given["height_cm"], "cm")},
                    category="vital-signs",
                    hours=29,
                )
            )
        return written

    def weight(self, *, value: float, unit: str, method: str, age_h: float) -> Json:
        row = CODES["weight"][method]
        how = {"method": {"text": row["method"]}} if "method" in row else {}
        value_of = {"valueQuantity": _quantity(value, unit)}
        return self.observation(coded(row), value_of, category="vital-signs", hours=age_h, **how)

    def vitals(self) -> list[Json]:
        given = self.case["vitals"]
        written = [self.pressure(**reading) for reading in given["bp"] or []]
        for name in ("hr", "spo2", "rr"):
            readings = given[name] if isinstance(given[name], list) else [given[name]]
            written += [self.vital(CODES["vital"][name], **reading) for reading in readings if reading]
        return written

    def pressure(self, *, sbp: float, dbp: float, age_min: float, status: str = "final") -> Json:
        parts = [
            {"code": _loinc("8480-6", "Systolic blood pressure"), "valueQuantity": _quantity(sbp, "mm[Hg]")},
            {"code": _loinc("8462-4", "Diastolic blood pressure"), "valueQuantity": _quantity(dbp, "mm[Hg]")},
        ]
        panel = _loinc("85354-9", "Blood pressure")
        return self.observation(panel, {"component": parts}, category="vital-signs", hours=age_min / 60, status=status)

    def vital(self, row: Json, *, value: float, age_min: float, status: str = "final") -> Json:
        value_of = {"valueQuantity": _quantity(value, row["unit"])}
        return self.observation(coded(row), value_of, category="vital-signs", hours=age_min / 60, status=status)

    def labs(self) -> list[Json]:
        return [self.lab(**result) for result in self.case["labs"]]

    def lab(self, *, test: str, value: float, age_h: float, uln: float | None = None) -> Json:
        row = CODES["lab"][test]
        limit = {} if uln is None else {"referenceRange": [{"high": _quantity(uln, row["unit"])}]}
        value_of = {"valueQuantity": _quantity(value, row["unit"])}
        return self.observation(coded(row), value_of, category="laboratory", hours=age_h, **limit)

    # -- the birth, its anaesthesia, and the orders for them

    def procedure(self, code: str, *, status: str = "completed", **performed: Any) -> Json:
        return {
            "resourceType": "Procedure",
            "id": self.id("procedure"),
            "status": status,
            "code": _snomed(code),
            "subject": self.subject(),
            **performed,
        }

    def birth(self) -> list[Json]:
        given = self.case["encounter"]
        written = []
        if given["minutes_since_cord_clamp"] is not None:
            written += self.born(given["minutes_since_cord_clamp"], given["mode"])
        if given["earlier_birth_d"] is not None:
            written += self.born(given["earlier_birth_d"] * 24 * 60, "vaginal")
        if given["qbl_ml"] is not None:
            minutes = given["minutes_since_cord_clamp"] or 10
            loss = {"valueQuantity": _quantity(given["qbl_ml"], "mL")}
            written.append(
                self.observation(_loinc("81661-1", "Blood loss"), loss, category="procedure", hours=minutes / 120)
            )
        if given["due_in_d"] is not None:
            due = {"valueDateTime": self.day(hours=-24 * given["due_in_d"])}
            code = _loinc("11778-8", "Estimated date of delivery")
            written.append(self.observation(code, due, category="exam", hours=29))
        if given["asa_class"] is not None:
            value = {"valueCodeableConcept": _snomed(ASA_CLASS[given["asa_class"]])}
            code = _loinc("97816-3", "ASA physical status")
            written.append(self.observation(code, value, category="exam", hours=3))
        if self.case["social"]["breastfeeding"] is not None:
            answer = "LA29252-6" if self.case["social"]["breastfeeding"] else "LA29253-4"
            value = {"valueCodeableConcept": {"coding": [{"system": LOINC, "code": answer}]}}
            code = _loinc("63895-7", "Breastfeeding status")
            written.append(self.observation(code, value, category="social-history", hours=1))
        return written

    def born(self, minutes: float, mode: str | None) -> list[Json]:
        at = self.instant(minutes=minutes)
        code = _loinc("93857-1", "Date and time of obstetric delivery")
        told = [self.observation(code, {"valueDateTime": at}, category="procedure", hours=minutes / 60)]
        done = [self.procedure(DELIVERY[mode], performedDateTime=at, **self.stay_of(minutes / 60))] if mode else []
        return told + done

    def anaesthesia(self) -> list[Json]:
        given = self.case["encounter"]
        if given["anesthesia"] is None:
            return []
        code, here = ANAESTHESIA[given["anesthesia"]], self.stay_of((given["minutes_since_cord_clamp"] or 0) / 60)
        if given["minutes_since_cord_clamp"] is not None:
            at = self.instant(minutes=given["minutes_since_cord_clamp"])
            return [self.procedure(code, performedDateTime=at, **here)]
        if given["anesthesia"] == "general":
            return [self.procedure(code, status="preparation", **here)]
        running = {"performedPeriod": {"start": self.instant(minutes=20)}}
        return [self.procedure(code, status="in-progress", **running, **here)]

    def order(self, says: str, code: Json) -> Json:
        return {
            "resourceType": "ServiceRequest",
            "id": f"{self.case.slug}-order-{says}",
            "status": "draft",
            "intent": "order",
            "code": code,
            "subject": self.subject(),
            "authoredOn": self.instant(minutes=1),
            **self.stay_of(0),
        }

    def delivery_order(self) -> list[Json]:
        wanted = self.case["delivery_order"]
        return [self.order("delivery", _snomed(DELIVERY[self.case["encounter"]["mode"]]))] if wanted else []

    def selected_medicines(self) -> list[Json]:
        return [self._draft(name, f"selected-{n}") for n, name in enumerate(self.case["selected"], 1)]

    def drafted_medicines(self) -> list[Json]:
        listed = [one["class"] for one in self.case["medications"]["list"] if one["status"] == "drafted"]
        return [self._draft(name, f"draft-{n}") for n, name in enumerate(listed, 1)]

    def _draft(self, name: str, says: str) -> Json:
        return self.ordered(CODES["medicine"][name], "drafted") | {"id": f"{self.case.slug}-{says}"}

    def drafted_monitoring(self) -> list[Json]:
        wanted = (self.case["draft_order"] or {}).get("monitoring", False)
        return [self.order(says, _snomed(code)) for says, code in MONITORING.items()] if wanted else []

    def drafted_ketamine(self) -> list[Json]:
        given = self.case["draft_order"]
        return [self.ketamine_order(**given)] if given else []

    def ketamine_order(
        self,
        *,
        agent: str,
        route: str,
        reason: str | None = None,
        dose_mg: float | None = None,
        minutes: float | None = None,
        monitoring: bool = False,  # noqa: ARG002  # an order of its own: drafted_monitoring
        strength_mg_per_ml: float | None = None,
        times: int | None = None,
    ) -> Json:
        repeat: Json = {}
        if minutes is not None:
            repeat |= {"duration": minutes, "durationUnit": "min"}
        if times is not None:
            repeat["count"] = times
        dosage: Json = {"route": _snomed(ROUTE[route])}
        if repeat:
            dosage["timing"] = {"repeat": repeat}
        if dose_mg is not None:
            amount: Json = {"type": _hl7("dose-rate-type", "ordered"), "doseQuantity": _quantity(dose_mg, "mg")}
            if minutes is not None:
                amount["rateRatio"] = {"numerator": _quantity(dose_mg, "mg"), "denominator": _quantity(minutes, "min")}
            dosage["doseAndRate"] = [amount]
        row = CODES["medicine"][agent]
        medicine: Json = {"medicationCodeableConcept": coded(row)}
        if strength_mg_per_ml is not None:
            strength = {"numerator": _quantity(strength_mg_per_ml, "mg"), "denominator": _quantity(1, "mL")}
            part = {"itemCodeableConcept": coded(row), "strength": strength}
            ampoule = {"resourceType": "Medication", "id": "ampoule", "code": coded(row), "ingredient": [part]}
            medicine = {"contained": [ampoule], "medicationReference": {"reference": "#ampoule"}}
        return {
            "resourceType": "MedicationRequest",
            "id": f"{self.case.slug}-order-{agent}",
            "status": "draft",
            "intent": "order",
            **medicine,
            "subject": self.subject(),
            "authoredOn": self.instant(minutes=1),
            **self.stay_of(0),
            "dosageInstruction": [dosage],
            **({"reasonCode": [REASON[reason]]} if reason else {}),
        }

    # -- entries that must not count

    def noise(self) -> list[Json]:
        kinds = {
            "other_patient": self.the_fathers_form,
            "newborn": self.the_newborns_weight,
            "refuted": lambda: [self.condition(name="preeclampsia", verification="refuted")],
            "resolved": lambda: [
                self.condition(name="gestational_hypertension", status="resolved", ended_d=10),
                self.condition(name="postpartum_haemorrhage", status="resolved", began_d=800, ended_d=790),
                self.condition(name="sepsis", status="resolved", began_d=60, ended_d=50),
            ],
        }
        return [entry for kind in self.case["noise"] for entry in kinds[kind]()]

    def the_fathers_form(self) -> list[Json]:
        father = {"reference": f"Patient/father-{self.case.slug}"}
        form: Json = {"total": 24, "item10": 3, "items_answered": 10, "age_h": 1}
        strays = [
            *_Chart(self.case.shaped(epds="contained"), self.now).epds(**form),
            *_Chart(self.case.shaped(epds="total"), self.now).epds(**form),
        ]
        for entry in strays:
            entry["id"] = f"father-{self.id('epds')}"
            entry["subject"] = father
            if "source" in entry:
                entry["source"] = father
        return strays

    def the_newborns_weight(self) -> list[Json]:
        newborn = {"focus": [{"reference": f"Patient/newborn-{self.case.slug}"}]}
        weight = self.weight(value=3.4, unit="kg", method="measured", age_h=0.1)
        return [weight | newborn]


# ---- The paper form


def _answers(total: int, item10: int | None, answered: int) -> dict[int, int]:
    """Scores by item number that make up the total; the first items are the ones that were answered."""
    others = answered - (item10 is not None)
    left = total - (item10 or 0)
    assert 0 <= left <= 3 * others, f"{answered} items cannot sum to {total}"
    scores = _spread(left, others)
    return scores if item10 is None else {**scores, 10: item10}


def _spread(total: int, items: int) -> dict[int, int]:
    """Scores of the first items that make up a total."""
    return {number: min(3, max(0, total - 3 * (number - 1))) for number in range(1, items + 1)}


# ---- One total, in the ways in which an EHR writes it


def _as_told(total: int) -> dict[str, Json]:
    return {
        "total-quantity": {"valueQuantity": _quantity(total, "{score}")},
        "total-string": {"valueString": str(total)},
    }


def _code_and(value: str) -> Callable[[int], tuple[Json, Json]]:
    return lambda total: (_loinc(EPDS_TOTAL, "EPDS"), _as_told(total)[value])


# A total beside item 10, and no other item.
ALONE: dict[str, Callable[[int], tuple[Json, Json]]] = {
    "total": lambda total: (_loinc(EPDS_TOTAL, "EPDS"), {"valueInteger": total}),
    "total-quantity": _code_and("total-quantity"),
    "total-string": _code_and("total-string"),
    "total-on-panel-code": lambda total: (_loinc(EPDS_PANEL, "EPDS"), {"valueInteger": total}),
    "total-snomed": lambda total: (_snomed("450320001"), {"valueInteger": total}),
    "total-beside-local": lambda total: (
        {"coding": [{"system": f"{FORM}/flowsheet", "code": "21012954"}, *_loinc(EPDS_TOTAL, "EPDS")["coding"]]},
        {"valueQuantity": {"value": total}},
    ),
    # The search by code would not find it. What stands here in place of a code is taken away on the wire: `sent`.
    "total-words": lambda total: (_loinc(EPDS_TOTAL, "EPDS") | {"text": NO_CODE}, {"valueInteger": total}),
}
NO_CODE = "EPDS total score"


# ---- One answer, in the ways in which an EHR writes it


def _integer(_: int, score: int) -> Json:
    return {"valueInteger": score}


def _weighed(number: int, score: int) -> Json:
    """A coded answer that carries its score. The letter is its printed place, which is not its score."""
    return {"valueCodeableConcept": {"coding": [_choice(number, score) | _weight(ORDINAL, score)]}}


def _in_loinc(_: int, score: int) -> Json:
    return {"valueCodeableConcept": {"coding": [_answer_code(score)]}}


def _answer_code(score: int) -> Json:
    return {"system": LOINC, "code": PHQ_ANSWERS[score]}


def _weight(url: str, score: int) -> Json:
    return {"extension": [{"url": url, "valueDecimal": score}]}


def _choice(number: int, score: int) -> Json:
    """The answer as the form codes it: a letter by its printed place, which is not its score."""
    place = score if number in PRINTED_UPWARDS else 3 - score
    return {"system": f"{FORM}/answers", "code": "abcd"[place]}


# ---- Whole forms: a QuestionnaireResponse, with or without its Questionnaire


@dataclass(frozen=True)
class Form:
    """The answers of a form, what it calls its Questionnaire, the Questionnaires, and whether it tells its total."""

    canonical: str
    items: list[Json]
    questionnaires: tuple[Json, ...]
    tells_total: bool


Items = dict[int, int]


def _questionnaire(**more: Any) -> Json:
    """Link ids that say nothing; codes and scores stand here alone."""
    return {
        "resourceType": "Questionnaire",
        "id": "mood-after-birth",
        "status": "active",
        "code": [{"system": LOINC, "code": EPDS_PANEL}],
        "item": [_question(number) for number in range(1, 11)],
        **more,
    }


def _question(number: int) -> Json:
    upwards = number in PRINTED_UPWARDS
    scores = range(4) if upwards else range(3, -1, -1)
    return {
        "linkId": f"{14360 + number}",
        "code": [{"system": LOINC, "code": EPDS_ITEMS[number - 1]}],
        "type": "choice",
        "answerOption": [{**_weight(ORDINAL, score), "valueCoding": _choice(number, score)} for score in scores],
    }


def _backwards(question: Json) -> Json:
    """The same question with other scores, as another version might have them."""
    options = [
        option | _weight(ORDINAL, 3 - option["extension"][0]["valueDecimal"]) for option in question["answerOption"]
    ]
    return question | {"answerOption": options}


def _opaque(canonical: str, *questionnaires: Json) -> Callable[[Items, int | None], Form]:
    def written(items: Items, _: int | None) -> Form:
        answered = [
            {"linkId": f"{14360 + n}", "answer": [{"valueCoding": _choice(n, score)}]} for n, score in items.items()
        ]
        return Form(canonical, answered, questionnaires, tells_total=False)

    return written


def _two_versions() -> Callable[[Items, int | None], Form]:
    right = _questionnaire(url=FORM, version="2", id="mood-after-birth-2")
    other = _questionnaire(url=FORM, version="1") | {"item": [_backwards(_question(n)) for n in range(1, 11)]}
    return _opaque(f"{FORM}|2", other, right)


def _danish(items: Items, total: int | None) -> Form:
    """The Danish national form: plain numbers under names of its own, and a score that is not to be added to them."""
    answered = [{"linkId": DANISH[n - 1], "answer": [{"valueInteger": score}]} for n, score in items.items()]
    if total is not None:
        answered.append({"linkId": "score", "answer": [{"valueInteger": total}]})
    questions = [{"linkId": name, "type": "integer"} for name in (*DANISH, "score")]
    url = "https://forms.example.dk/Questionnaire/efter-foedslen"
    code = [{"system": SNOMED, "code": "450320001"}]
    asked = {"resourceType": "Questionnaire", "id": "efter-foedslen", "status": "active", "url": url, "code": code}
    return Form(url, answered, (asked | {"item": questions},), tells_total=True)


def _copied(items: Items, total: int | None) -> Form:
    """As in a public repository: codes without a system, and the Questionnaire under the code of the total."""
    answered: list[Json] = [
        {"linkId": f"epds.q{n}", "answer": [{"valueCoding": {"code": str(score)} | _weight(ORDINAL, score)}]}
        for n, score in items.items()
    ]
    if total is not None:
        answered.append({"linkId": "epds.totalScore", "answer": [{"valueInteger": total}]})
    questions = [{"linkId": f"epds.q{n}", "type": "choice"} for n in range(1, 11)]
    url = "https://forms.example.org/Questionnaire/copied"
    code = [{"system": LOINC, "code": EPDS_TOTAL}]
    asked = {"resourceType": "Questionnaire", "id": "copied", "status": "active", "url": url, "code": code}
    return Form(url, answered, (asked | {"item": questions},), tells_total=True)


def _lhc(items: Items, total: int | None) -> Form:
    """LHC-Forms: LOINC in the linkIds, scores in the Questionnaire, the total in the same form."""
    link = {n: f"/{code}" for n, code in enumerate(EPDS_ITEMS, 1)}
    answered: list[Json] = [
        {"linkId": link[n], "answer": [{"valueCoding": _choice(n, score)}]} for n, score in items.items()
    ]
    if total is not None:
        answered.append({"linkId": f"/{EPDS_TOTAL}", "answer": [{"valueDecimal": total}]})
    asked = _questionnaire(url=FORM) | {"item": [_question(n) | {"linkId": link[n]} for n in range(1, 11)]}
    return Form(FORM, [{"linkId": f"/{EPDS_PANEL}", "item": answered}], (asked,), tells_total=True)


def _weighing(answer: Callable[[int, int], Json]) -> Callable[[Items, int | None], Form]:
    """Answers that carry their own scores need no Questionnaire."""

    def written(items: Items, _: int | None) -> Form:
        answered = [{"linkId": f"/{EPDS_ITEMS[n - 1]}", "answer": [answer(n, score)]} for n, score in items.items()]
        return Form(FORM, answered, (), tells_total=False)

    return written


def _numbered(items: Items, total: int | None) -> Form:
    """Bare numbers for linkIds: only its name tells what the form is."""
    answered = [{"linkId": str(n), "answer": [{"valueInteger": score}]} for n, score in items.items()]
    if total is not None:
        answered.append({"linkId": "total", "answer": [{"valueInteger": total}]})
    return Form("https://forms.example.org/Questionnaire/epds|3", answered, (), tells_total=True)


FORMS: dict[str, Callable[[Items, int | None], Form]] = {
    "response": _opaque(f"{FORM}|1", _questionnaire(url=FORM, version="1")),
    "contained": _opaque("#mood-after-birth", _questionnaire()),
    "by-url": _opaque(FORM, _questionnaire(url=FORM)),
    "by-id": _opaque("Questionnaire/mood-after-birth", _questionnaire()),
    "by-address": _opaque("https://ehr.example.org/fhir/Questionnaire/mood-after-birth", _questionnaire()),
    "two-versions": _two_versions(),
    "danish": _danish,
    "copied": _copied,
    "lhc": _lhc,
    "weighed-answers": _weighing(lambda n, score: {"valueCoding": _choice(n, score)} | _weight(ORDINAL, score)),
    "weighed-codings": _weighing(lambda n, score: {"valueCoding": _choice(n, score) | _weight(WEIGHT, score)}),
    "numbered": _numbered,
}
