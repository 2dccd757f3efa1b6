"""Medicines in every shape in which EHRs send them: which one it is, whether it counts now, and at which dose."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from cds_service.clinical.facts import Doubt, Evidence, Finding, State
from cds_service.ehr.answers import Had
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.medicines import Pool, concepts_of, medication_pool, not_recognised, read_medicines
from cds_service.ehr.reading.medicines import wanted_medications as wanted
from cds_service.ehr.reading.orders import read_drafted
from cds_service.ehr.reading.view import View
from cds_service.ehr.units import Units
from cds_service.ehr.wanted import Wanted
from cds_service.knowledge import Knowledge

Json = dict[str, Any]
Look = Callable[..., View]

RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
RXNORM_OID = "urn:oid:2.16.840.1.113883.6.88"
GPI = "urn:oid:2.16.840.1.113883.6.68"
MEDI_SPAN = "urn:oid:2.16.840.1.113883.6.162"
SNOMED = "http://snomed.info/sct"
ATC = "http://www.whocc.no/atc"
UCUM = "http://unitsofmeasure.org"
V3_ROUTE = "http://terminology.hl7.org/CodeSystem/v3-RouteOfAdministration"
RATE_TYPE = "http://terminology.hl7.org/CodeSystem/dose-rate-type"
HERS = {"subject": {"reference": "Patient/1"}}
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LISTS = ("medication_orders", "medication_administrations", "reported_medicines")
# Facts that say how the list was had, not which medicine was found.
ABOUT_THE_LIST = {"medication_list", "administrations_elsewhere"}


def ago(*, days: float = 0, hours: float = 0) -> str:
    return (NOON - timedelta(days=days, hours=hours)).isoformat()


def coding(system: str, code: str, display: str | None = None) -> Json:
    return {"system": system, "code": code} | ({"display": display} if display else {})


def coded(*codings: Json, text: str | None = None) -> Json:
    """The medicine as a CodeableConcept."""
    return {"medicationCodeableConcept": {"coding": list(codings)} | ({"text": text} if text else {})}


def said(text: str) -> Json:
    """The medicine in words only."""
    return {"medicationCodeableConcept": {"text": text}}


def pointed(reference: str | None = None, display: str | None = None) -> Json:
    """The medicine behind a reference."""
    named = {"reference": reference, "display": display}
    return {"medicationReference": {name: value for name, value in named.items() if value}}


def ordered(medicine: Json, **more: Any) -> Json:
    kind = {"resourceType": "MedicationRequest", "id": "order", "status": "active", "intent": "order"}
    return {**kind, **HERS, "authoredOn": ago(hours=20), **medicine, **more}


def given(medicine: Json, **more: Any) -> Json:
    kind = {"resourceType": "MedicationAdministration", "id": "dose", "status": "completed"}
    return {**kind, **HERS, "effectiveDateTime": ago(hours=1), **medicine, **more}


def reported(medicine: Json, **more: Any) -> Json:
    return {"resourceType": "MedicationStatement", "id": "report", "status": "active", **HERS, **medicine, **more}


def medication(id_: str = "m", code: Json | None = None, **more: Any) -> Json:
    return {"resourceType": "Medication", "id": id_} | ({"code": code} if code else {}) | more


def chart(
    *entries: Json,
    drafts: tuple[Json, ...] = (),
    had: Had = Had.WHOLE,
    known_at: frozenset[str] = frozenset(),
) -> Chart:
    kinds = {entry["resourceType"] for entry in entries}
    return Chart(
        patient={"resourceType": "Patient", "id": "1"},
        encounter=None,
        by_type={kind: tuple(e for e in entries if e["resourceType"] == kind) for kind in kinds},
        had=dict.fromkeys(LISTS, had),
        drafts=drafts,
        selected=frozenset(f"{draft['resourceType']}/{draft['id']}" for draft in drafts if "id" in draft),
        set_aside=(),
        known_at=known_at,
    )


@pytest.fixture(scope="module")
def look(knowledge: Knowledge, now: datetime) -> Look:
    """A chart as it is read at noon."""
    assert now == NOON
    units, asked = Units(knowledge.units), Wanted.by(knowledge)
    return lambda *entries, **more: View(chart(*entries, **more), knowledge, units, asked, now, UTC)


def facts(view: View, *, elsewhere: bool = False) -> dict[str, Finding]:
    return read_medicines(view, elsewhere=elsewhere)


def found(view: View) -> set[str]:
    return {name for name, finding in facts(view).items() if finding.state is State.PRESENT} - ABOUT_THE_LIST


# ---- Which medicine it is

GPI_FIRST = [coding(GPI, "gpi-1"), coding(MEDI_SPAN, "mdd-1")]
ESKETAMINE = coding(RXNORM, "2119365")
KETAMINE = coding(RXNORM, "6130")


class Named(NamedTuple):
    """One way to name a medicine, and the concepts that must be read. `beside` stands elsewhere in the chart."""

    shape: str
    medicine: Json
    concepts: set[str]
    beside: tuple[Json, ...] = ()
    drafts: tuple[Json, ...] = ()


AT_M = pointed("Medication/m")
KETAMINE_M, FENTANYL_M = medication("m", {"coding": [KETAMINE]}), medication("m", {"text": "Fentanyl"})
INSIDE = {"contained": [KETAMINE_M]}
SUBSTANCE = {"resourceType": "Substance", "id": "s", "code": {"coding": [KETAMINE]}}


def made_of(*items: Json) -> Json:
    """A Medication that tells its ingredients only."""
    return medication("m", ingredient=list(items))


def behind(reference: Json) -> Json:
    return {"itemReference": reference}


NAMED = [
    # several codings
    Named("RxNorm after GPI and Medi-Span", coded(*GPI_FIRST, ESKETAMINE), {"esketamine"}),
    Named("RxNorm before GPI", coded(ESKETAMINE, *GPI_FIRST), {"esketamine"}),
    Named("RxNorm by its OID", coded(*GPI_FIRST, coding(RXNORM_OID, "6130")), {"ketamine"}),
    Named("SNOMED CT by its OID", coded(coding("urn:oid:2.16.840.1.113883.6.96", "373464007")), {"ketamine"}),
    Named("ATC in lower case", coded(coding(ATC, "n01ax14")), {"esketamine"}),
    Named("ingredient, drug and form at once", coded(KETAMINE, coding(RXNORM, "372528"), *GPI_FIRST), {"ketamine"}),
    Named("a code of an unknown system only", coded(coding("urn:oid:1.2.3", "2119365")), set()),
    Named("a code without a system", coded({"code": "2119365"}), set()),
    Named("GPI only, and a display", coded(coding(GPI, "gpi-2", "KETAMINE HCL 50 MG/ML")), {"ketamine"}),
    Named("one Coding in place of the list", {"medicationCodeableConcept": {"coding": ESKETAMINE}}, {"esketamine"}),
    Named("the UK's own SNOMED codes", coded(coding(SNOMED, "35825711000001102")), {"esketamine"}),
    # products, by the lists that are shipped
    Named("product: sertraline", coded(coding(RXNORM, "312938")), {"antidepressant"}),
    Named("product: phenelzine", coded(coding(RXNORM, "312347")), {"antidepressant", "mao_inhibitor"}),
    Named("product: oxycodone with acetaminophen", coded(coding(RXNORM, "1014599")), {"opioid"}),
    Named("product: buprenorphine film", coded(coding(RXNORM_OID, "1010600")), {"opioid"}),
    Named("product: flurazepam", coded(coding(RXNORM, "1298088")), {"sedative"}),
    Named("product: phenobarbital mixture", coded(coding(RXNORM, "1046815")), {"sedative"}),
    Named("product: ketamine 10 mg/mL", coded(coding(RXNORM, "238082")), {"ketamine"}),
    Named("product: Spravato", coded(coding(RXNORM, "2201625")), {"esketamine", "esketamine_nasal"}),
    Named("product: vasopressin injection", coded(coding(RXNORM, "2103181")), {"vasopressor"}),
    Named(
        "a product that no list holds, by its words", coded(coding(RXNORM, "1"), text="Pitocin 10 UNT/ML"), {"oxytocin"}
    ),
    # behind a reference
    Named("contained", pointed("#m") | INSIDE, {"ketamine"}),
    Named(
        "contained, its id with a hash",
        pointed("#m") | {"contained": [medication("#m", {"text": "Ketamine"})]},
        {"ketamine"},
    ),
    Named("contained as one object", pointed("#m") | {"contained": INSIDE["contained"][0]}, {"ketamine"}),
    Named("another one is contained", pointed("#n") | INSIDE, set()),
    Named("a Medication among the draft orders", AT_M, {"ketamine"}, drafts=(KETAMINE_M,)),
    Named("a Medication of another prefetch key", AT_M, {"ketamine"}, (KETAMINE_M,)),
    Named("an absolute reference", pointed("https://ehr.example.org/r4/Medication/m"), {"opioid"}, (FENTANYL_M,)),
    Named("a versioned reference", pointed("Medication/m/_history/7"), {"opioid"}, (FENTANYL_M,)),
    Named(
        "absolute and versioned",
        pointed("https://ehr.example.org/r4/Medication/m/_history/7"),
        {"opioid"},
        (FENTANYL_M,),
    ),
    Named("urn:uuid", pointed("urn:uuid:m"), {"opioid"}, (FENTANYL_M,)),
    Named("display only", pointed(display="esketamine 5 mg/mL injection"), {"esketamine"}),
    Named("display, and a Medication that nobody sent", pointed("Medication/m", "Morphine 10 mg/mL"), {"opioid"}),
    Named(
        "display beside the Medication",
        pointed("Medication/m", "magnesium sulfate"),
        {"magnesium_sulfate", "opioid"},
        (FENTANYL_M,),
    ),
    Named("a reference that nobody resolves", AT_M, set()),
    Named("a Medication that says nothing", AT_M, set(), (medication("m"),)),
    Named(
        "by its ingredient only", AT_M, {"esketamine"}, (made_of({"itemCodeableConcept": {"coding": [ESKETAMINE]}}),)
    ),
    Named(
        "by one of its ingredients",
        AT_M,
        {"local_anaesthetic", "opioid"},
        (made_of(*({"itemCodeableConcept": {"text": name}} for name in ("Bupivacaine", "Fentanyl"))),),
    ),
    Named(
        "an ingredient behind a reference",
        AT_M,
        {"ketamine"},
        (made_of(behind({"reference": "Medication/n"})), medication("n", {"coding": [KETAMINE]})),
    ),
    Named("an ingredient by its display", AT_M, {"ketamine"}, (made_of(behind({"display": "Ketamine"})),)),
    Named(
        "an ingredient that is contained",
        pointed("#m") | {"contained": [made_of(behind({"reference": "#s"})), SUBSTANCE]},
        {"ketamine"},
    ),
    # words
    Named("text only", said("Ketamine 10 mg/mL injection"), {"ketamine"}),
    Named("upper case", said("ESKETAMINE 25 MG/5 ML"), {"esketamine"}),
    Named("over two lines", said("magnesium\n  sulfate 4 g"), {"magnesium_sulfate"}),
    Named("brand: Ketalar", said("Ketalar 50 mg/mL"), {"ketamine"}),
    Named("brand: Ketanest S", said("Ketanest S 25 mg/ml"), {"esketamine"}),
    Named("brand: Vesierra", said("VESIERRA 25 mg/ml"), {"esketamine"}),
    Named("brand: Esketamin Sintetica", said("Esketamin Sintetica 25 mg/5 ml"), {"esketamine"}),
    Named("brand: Spravato", said("Spravato 28 mg"), {"esketamine", "esketamine_nasal"}),
    Named("brand: Methergine", said("Methergine 0.2 mg"), {"ergot"}),
    Named("esketamine is no ketamine", said("esketamine"), {"esketamine"}),
    Named("S-ketamine", said("S-ketamine 5 mg/mL"), {"esketamine"}),
    Named("S(+)-ketamine", said("S(+)-ketamine"), {"esketamine"}),
    Named("S(+)ketamine", said("S(+)ketamine 25 mg"), {"esketamine"}),
    Named("(S)-ketamine", said("(S)-Ketamine hydrochloride"), {"esketamine"}),
    Named("S+-ketamine", said("S+-ketamine"), {"esketamine"}),
    # Held against the stricter limits of the two.
    Named("ketamine/esketamine in one text", said("ketamine/esketamine infusion"), {"esketamine"}),
    Named("both, in two codings", coded(ESKETAMINE, KETAMINE), {"esketamine", "ketamine"}),
    Named(
        "esketamine, its class beside it",
        coded(ESKETAMINE, text="Ketamine and derivatives"),
        {"esketamine", "ketamine"},
    ),
    Named("a spelling that nobody has verified", said("esketaminol 25 mg"), set()),
    Named("ketamine inside a word", said("norketamine level"), set()),
    Named("esketamine inside a word", said("bioesketamine"), set()),
    Named("no ketamine", said("Sedation kit, no ketamine"), set()),
    Named("no ketamine, and then ketamine", said("no ketamine bolus; ketamine infusion"), {"ketamine"}),
    Named("without epinephrine", said("Bupivacaine 0.25 % without epinephrine"), {"local_anaesthetic"}),
    Named("with epinephrine", said("Lidocaine 2 % with epinephrine"), {"local_anaesthetic", "vasopressor"}),
    Named("a negation stops no code", coded(KETAMINE, text="no ketamine"), {"ketamine"}),
    Named("no. is a number", said("Codeine no. 3"), {"opioid"}),
    Named("carbetocin", coded(coding(ATC, "H01BB03")), {"uterotonic_for_bleeding"}),
    Named("an ordinary medicine", said("Acetaminophen 650 mg"), set()),
    Named("nothing", {}, set()),
]


@pytest.mark.parametrize("row", NAMED, ids=[row.shape for row in NAMED])
def test_a_medicine_is_known_by_code_reference_or_word(look: Look, row: Named) -> None:
    view = look(ordered(row.medicine), *row.beside, drafts=row.drafts)
    pool = medication_pool(view.chart)
    assert concepts_of(ordered(row.medicine), pool, view.knowledge) == row.concepts


@pytest.mark.parametrize(
    ("reference", "its_own"),
    [
        ("Medication/m", True),
        ("https://ehr.example.org/r4/Medication/m", True),
        ("https://ehr.example.org/r4/Medication/m/_history/7", True),
        ("https://pharmacy.other/fhir/Medication/m", False),
        ("https://ehr.example.org/r4-other/Medication/m", False),
    ],
)
def test_the_same_id_on_another_server_is_another_medicine(look: Look, reference: str, its_own: bool) -> None:
    harmless = medication("m", {"text": "Cefazolin 1 g"})
    view = look(ordered(pointed(reference)), harmless, known_at=frozenset({"ehr.example.org/r4"}))
    assert (facts(view)["medication_list"].state is State.PRESENT) is its_own
    assert len(not_recognised(view)) == its_own
    assert facts(look(ordered(pointed(reference)), harmless))["medication_list"].state is State.PRESENT


def test_a_dose_by_an_order_on_another_server_is_not_of_the_order_of_that_id(look: Look) -> None:
    doses = (
        ordered(said("Oxytocin")),
        given(AT_M, request={"reference": "https://pharmacy.other/MedicationRequest/order"}),
    )
    assert facts(look(*doses))["medication_list"].state is State.PRESENT
    away = look(*doses, known_at=frozenset({"ehr.example.org/r4"}))
    assert facts(away)["medication_list"].doubt is Doubt.UNCLEAR


@pytest.mark.parametrize(
    "order", [*itertools.permutations([*GPI_FIRST, coding(RXNORM_OID, "2119365"), {"code": "77"}])]
)
def test_the_order_of_codings_does_not_matter(look: Look, order: tuple[Json, ...]) -> None:
    view = look()
    assert concepts_of(ordered(coded(*order)), Pool(), view.knowledge) == {"esketamine"}


# ---- Whether it counts now


class Standing(NamedTuple):
    """Entries of a chart, and every fact that they must give. Facts that are not listed must be absent."""

    shape: str
    entries: tuple[Json, ...]
    facts: set[str]
    drafts: tuple[Json, ...] = ()


OTHER = "ketamine_for_other_reason"
PREVENTION = {"reasonCode": [{"text": "Prevention of postpartum depression"}]}
FENTANYL, MAOI, ERGOT = said("Fentanyl"), said("Linezolid 600 mg"), said("Methylergonovine 0.2 mg")
DOSED = said("Ketamine 10 mg/mL")


def by(route: Json | str, **more: Any) -> Json:
    """A dosage with a route."""
    return {"route": {"text": route} if isinstance(route, str) else route, **more}


def dosed(*dosages: Json) -> Json:
    return {"dosageInstruction": list(dosages)}


def until(**ago_: float) -> Json:
    return {"effectivePeriod": {"end": ago(**ago_)}}


FOR_ORDER = {"request": {"reference": "MedicationRequest/order"}}
SINCE_YESTERDAY = {"effectivePeriod": {"start": ago(hours=30)}}
NO_TIME: Json = {"effectiveDateTime": None}
GIVEN_5_H_AGO = {"effectiveDateTime": ago(hours=5)}
PSYCHOTROPICS = {
    "Sertraline 50 mg": "antidepressant",
    "Olanzapine 10 mg": "antipsychotic",
    "Haloperidol 5 mg": "antipsychotic",
    "Quetiapine 50 mg": "antipsychotic",
    "Lithium 400 mg": "mood_stabiliser",
}


def lasting(**bounds: str) -> Json:
    """A dosage with its bounds."""
    return dosed({"timing": {"repeat": {"boundsPeriod": bounds}}})


def prn(**more: Any) -> Json:
    return {"dosageInstruction": [{"asNeededBoolean": True, **more}]}


STANDING = [
    # orders
    Standing("order, active", (ordered(FENTANYL),), {"systemic_opioid"}),
    Standing("order, on hold", (ordered(FENTANYL, status="on-hold"),), {"systemic_opioid"}),
    Standing("order, status unknown", (ordered(FENTANYL, status="unknown"),), {"systemic_opioid"}),
    Standing("order, drafted", (), {"systemic_opioid"}, (ordered(FENTANYL, status="draft"),)),
    Standing("order, drafted and not to be done", (), set(), (ordered(FENTANYL, status="draft", doNotPerform=True),)),
    Standing("order, not to be done", (ordered(FENTANYL, doNotPerform=True),), set()),
    Standing("order, cancelled", (ordered(FENTANYL, status="cancelled"),), set()),
    Standing("order, entered in error", (ordered(FENTANYL, status="entered-in-error"),), set()),
    Standing("order, stopped", (ordered(FENTANYL, status="stopped"),), set()),
    Standing(
        "order, stopped: washout still running",
        (ordered(MAOI, status="stopped", authoredOn=ago(days=9)),),
        {"mao_inhibitor"},
    ),
    Standing("order, stopped: washout over", (ordered(MAOI, status="stopped", authoredOn=ago(days=15)),), set()),
    Standing(
        "order, completed: its end decides, not its date",
        (
            ordered(
                MAOI,
                status="completed",
                authoredOn=ago(days=90),
                dispenseRequest={"validityPeriod": {"end": ago(days=3)}},
            ),
        ),
        {"mao_inhibitor"},
    ),
    Standing(
        "order, stopped, and nobody wrote when", (ordered(MAOI, status="stopped", authoredOn=None),), {"mao_inhibitor"}
    ),
    Standing(
        "order, stopped: begun long ago, and nobody wrote its end",
        (ordered(MAOI, status="stopped", authoredOn=ago(days=90), **lasting(start=ago(days=90))),),
        {"mao_inhibitor"},
    ),
    Standing(
        "order, stopped: begun long ago, and its end cannot be read",
        (ordered(MAOI, status="stopped", authoredOn=ago(days=90), **lasting(start=ago(days=90), end="later")),),
        {"mao_inhibitor"},
    ),
    Standing(
        "order, stopped: begun and ended long ago",
        (ordered(MAOI, status="stopped", authoredOn=ago(days=90), **lasting(start=ago(days=90), end=ago(days=15))),),
        set(),
    ),
    Standing(
        "order of an infusion, stopped: it may have run until now",
        (ordered(said("Magnesium sulfate"), status="stopped", **dosed({"doseAndRate": [{"rateQuantity": {}}]})),),
        {"magnesium"},
    ),
    Standing(
        "order of an infusion, stopped: its end is known",
        (
            ordered(
                said("Magnesium sulfate"),
                status="stopped",
                dosageInstruction=[{**lasting(end=ago(hours=7))["dosageInstruction"][0], "rateQuantity": {}}],
            ),
        ),
        set(),
    ),
    Standing(
        "order of a single dose, completed: it was written before the window",
        (ordered(said("Magnesium sulfate"), status="completed"),),
        set(),
    ),
    Standing("order as needed, not given", (ordered(FENTANYL, **prn()),), set()),
    Standing(
        "order as needed, for a reason",
        (ordered(FENTANYL, **dosed({"asNeededCodeableConcept": {"text": "pain"}})),),
        set(),
    ),
    Standing(
        "order as needed, and given", (ordered(FENTANYL, **prn()), given(FENTANYL, **FOR_ORDER)), {"systemic_opioid"}
    ),
    Standing(
        "order as needed and by the clock",
        (ordered(FENTANYL, **dosed({"asNeededBoolean": True}, {"asNeededBoolean": False})),),
        {"systemic_opioid"},
    ),
    Standing("ergot as needed", (ordered(ERGOT, **prn()),), {"ergot_as_needed"}),
    Standing("ergot as needed, and given", (ordered(ERGOT, **prn()), given(ERGOT)), {"ergot", "ergot_as_needed"}),
    Standing(
        "the draft outweighs the same order in the chart", (ordered(FENTANYL),), set(), (ordered(FENTANYL, **prn()),)
    ),
    Standing(
        "a draft without an id hides no order without one",
        (ordered(FENTANYL, id=None),),
        {"systemic_opioid"},
        (ordered(said("Oxytocin"), id=None),),
    ),
    Standing(
        "category as an object", (ordered(FENTANYL, category={"coding": [{"code": "inpatient"}]}),), {"systemic_opioid"}
    ),
    Standing("dosage as an object", (ordered(FENTANYL, dosageInstruction=by("Epidural")),), {"neuraxial_opioid"}),
    # administrations
    Standing("given", (given(FENTANYL),), {"systemic_opioid"}),
    Standing("given, longer ago than the window", (given(FENTANYL, effectiveDateTime=ago(hours=5)),), set()),
    Standing("given, and nobody wrote when", (given(FENTANYL, effectiveDateTime=None),), {"systemic_opioid"}),
    Standing(
        "an infusion, completed: begun before the window, and nobody wrote its end",
        (given(said("Magnesium sulfate"), **NO_TIME, **SINCE_YESTERDAY),),
        {"magnesium"},
    ),
    Standing(
        "an infusion, stopped: its end cannot be read",
        (given(FENTANYL, status="stopped", **NO_TIME, effectivePeriod={"start": ago(hours=30), "end": "later"}),),
        {"systemic_opioid"},
    ),
    Standing(
        "an infusion, completed: ended before the window",
        (given(FENTANYL, **NO_TIME, effectivePeriod={"start": ago(hours=30), "end": ago(hours=5)}),),
        set(),
    ),
    Standing("given at an instant, and a start", (given(FENTANYL, **GIVEN_5_H_AGO, **SINCE_YESTERDAY),), set()),
    # R03 counts what is current: a dose within the time of R10, too, but nothing that has ended.
    *(
        Standing(f"{says}: {how}", entries, {fact} if counts else set())
        for says, fact in PSYCHOTROPICS.items()
        for how, counts, entries in (
            ("dose, its order completed", True, (ordered(said(says), status="completed"), given(said(says)))),
            ("dose, four hours ago", True, (given(said(says), effectiveDateTime=ago(hours=4)),)),
            ("dose, longer ago", False, (given(said(says), effectiveDateTime=ago(hours=4.01)),)),
            ("dose, undated", True, (given(said(says), **NO_TIME),)),
            (
                "order, stopped within the hour",
                False,
                (ordered(said(says), status="stopped", authoredOn=ago(hours=1)),),
            ),
            ("order, stopped, undated", False, (ordered(said(says), status="stopped", authoredOn=None),)),
            ("report, ended, undated", False, (reported(said(says), status="completed"),)),
            ("report, ended, begun long ago", False, (reported(said(says), status="stopped", **SINCE_YESTERDAY),)),
        )
    ),
    *(
        Standing(f"antiemetic dose: {name}", (given(said(name)),), set())
        for name in ("Prochlorperazine 10 mg", "Promethazine 25 mg", "Droperidol 0.625 mg", "Metoclopramide 10 mg")
    ),
    Standing("given, the day only", (given(FENTANYL, effectiveDateTime="2026-11-23"),), {"systemic_opioid"}),
    Standing("not done", (given(FENTANYL, status="not-done"),), set()),
    Standing("given, entered in error", (given(FENTANYL, status="entered-in-error"),), set()),
    Standing("given, status unknown", (given(FENTANYL, status="unknown"),), {"systemic_opioid"}),
    Standing(
        "in progress since yesterday", (given(FENTANYL, status="in-progress", **SINCE_YESTERDAY),), {"systemic_opioid"}
    ),
    Standing("on hold since yesterday", (given(FENTANYL, status="on-hold", **SINCE_YESTERDAY),), {"systemic_opioid"}),
    Standing("in progress, but it has ended", (given(FENTANYL, status="in-progress", **until(hours=30)),), set()),
    Standing("stopped half an hour ago", (given(FENTANYL, status="stopped", **until(hours=0.5)),), {"systemic_opioid"}),
    Standing("vasopressor running", (given(said("Phenylephrine"), status="in-progress"),), {"vasopressor_infusion"}),
    Standing(
        "a dose says less than its order",
        (ordered(ERGOT, **prn()), given(coded(coding("urn:local", "77")), **FOR_ORDER)),
        {"ergot", "ergot_as_needed"},
    ),
    Standing(
        "a dose by an absolute reference to its order",
        (
            ordered(DOSED, status="completed", **PREVENTION),
            given(DOSED, request={"reference": "https://ehr.example.org/r4/MedicationRequest/order"}),
        ),
        {"ketamine_for_prevention_given"},
    ),
    # reports
    Standing("reported, taken", (reported(MAOI),), {"mao_inhibitor"}),
    Standing("reported, intended", (reported(MAOI, status="intended"),), {"mao_inhibitor"}),
    Standing("reported, on hold", (reported(MAOI, status="on-hold"),), {"mao_inhibitor"}),
    Standing("reported, status unknown", (reported(MAOI, status="unknown"),), {"mao_inhibitor"}),
    Standing("reported, not taken", (reported(MAOI, status="not-taken"),), set()),
    Standing("reported, entered in error", (reported(MAOI, status="entered-in-error"),), set()),
    Standing(
        "reported, ended within the washout", (reported(MAOI, status="completed", **until(days=5)),), {"mao_inhibitor"}
    ),
    Standing("reported, ended, undated", (reported(MAOI, status="completed"),), {"mao_inhibitor"}),
    Standing(
        "reported, ended, begun long ago",
        (reported(MAOI, status="stopped", effectivePeriod={"start": "2024"}),),
        {"mao_inhibitor"},
    ),
    Standing(
        "reported, ended, begun and ended long ago",
        (reported(MAOI, status="stopped", effectivePeriod={"start": "2024", "end": "2025"}),),
        set(),
    ),
    Standing("reported, ended before it", (reported(MAOI, status="completed", **until(days=20)),), set()),
    Standing("reported, as needed", (reported(FENTANYL, dosage=[{"asNeededBoolean": True}]),), set()),
    # by which route
    Standing("nasal ketamine", (given(DOSED, dosage=by("Nasal")),), {OTHER}),
    Standing("intravenous ketamine", (given(DOSED, dosage=by("Intravenous")),), {OTHER}),
    Standing("ketamine by a route that nobody understands", (given(DOSED, dosage=by("via the usual way")),), {OTHER}),
    Standing("ketamine on the skin", (given(DOSED, dosage=by("Topical")),), set()),
    Standing("ketamine cream, no route", (ordered(said("Ketamine 10 % cream, compounded")),), set()),
    Standing(
        "ketamine, to be applied topically", (ordered(DOSED, **dosed({"text": "apply topically twice a day"})),), set()
    ),
    Standing("ketamine by mouth and on the skin", (ordered(DOSED, **dosed(by("Oral"), by("Topical"))),), {OTHER}),
    Standing("ketamine IV, made up as a cream", (given(said("Ketamine cream"), dosage=by("IV")),), {OTHER}),
    Standing("fentanyl on the skin is a patch", (ordered(FENTANYL, **dosed(by("Topical"))),), {"systemic_opioid"}),
    Standing("ketamine cream with gabapentin", (ordered(said("Ketamine/gabapentin cream")),), {"sedative"}),
    Standing("fentanyl epidural", (given(FENTANYL, dosage=by("Epidural")),), {"neuraxial_opioid"}),
    Standing(
        "fentanyl epidural and intravenous",
        (ordered(FENTANYL, **dosed(by("Epidural"), by("IV"))),),
        {"systemic_opioid"},
    ),
    Standing(
        "epinephrine in a local anaesthetic, in the back",
        (ordered(said("Lidocaine with epinephrine"), **dosed(by("Epidural"))),),
        set(),
    ),
    Standing("antiemetic dose of an antipsychotic", (ordered(said("Prochlorperazine 10 mg")),), set()),
]


@pytest.mark.parametrize("row", STANDING, ids=[row.shape for row in STANDING])
def test_it_counts_by_status_time_and_route(look: Look, row: Standing) -> None:
    view = look(*row.entries, drafts=row.drafts)
    assert found(view) == row.facts
    assert facts(view)["medication_list"].state is State.PRESENT


def test_the_evidence_is_the_entry_its_status_and_its_date(look: Look) -> None:
    finding = facts(look(given(FENTANYL)))["systemic_opioid"]
    assert finding.evidence == (Evidence("MedicationAdministration/dose", "given", None, ago(hours=1)),)


# ---- At which dose


def quantity(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def amount(*types: str, **what: Json) -> Json:
    """A doseAndRate entry of a type; of several, each under a code system of its own."""
    codings = [coding(RATE_TYPE if place == len(types) else f"urn:local:{place}", kind)
               for place, kind in enumerate(types, start=1)]  # fmt: skip
    return {"type": {"coding": codings}, **what}


EPIC = [
    amount("calculated", doseQuantity=quantity(14.48, "mg")),
    amount("admin-amount", doseQuantity=quantity(2.9, "mL")),
    amount("ordered", doseQuantity=quantity(0.2, "mg/kg")),
]
TYPED = [amount("7", kind, doseQuantity=quantity(mg, "mg")) for kind, mg in (("calculated", 20), ("ordered", 14))]


class Dosed(NamedTuple):
    """One way to write a dose, and what must be read: mg, mg/kg, drawn-up mL; None where it does not say."""

    shape: str
    dosage: Any
    mg: str | None
    per_kg: str | None = None
    ml: str | None = None


DOSES = [
    Dosed("ordered alone", {"doseAndRate": [EPIC[2]]}, None, "0.2"),
    Dosed("calculated, no ordered", {"doseAndRate": EPIC[:2]}, "14.48", None, "2.9"),
    Dosed("calculated last, no ordered", {"doseAndRate": EPIC[1::-1]}, "14.48", None, "2.9"),
    Dosed("ordered under its second code", {"doseAndRate": TYPED}, "14"),
    Dosed("ordered under its second code, first in the list", {"doseAndRate": TYPED[::-1]}, "14"),
    Dosed("no type", {"doseAndRate": [{"doseQuantity": quantity(14, "mg")}]}, "14"),
    Dosed("doseAndRate as an object", {"doseAndRate": {"doseQuantity": quantity(14, "mg")}}, "14"),
    Dosed("in the dosage itself (Epic's example, DSTU2)", {"doseQuantity": quantity(14, "mg")}, "14"),
    Dosed(
        "in the dosage itself, beside an ordered one",
        {"doseQuantity": quantity(28, "mg"), "doseAndRate": [amount("ordered", doseQuantity=quantity(14, "mg"))]},
        "14",
    ),
    Dosed(
        "DSTU2: dose and rate in the dosage",
        {
            "doseQuantity": quantity(14, "mg"),
            "rateRatio": {"numerator": quantity(30, "mL"), "denominator": quantity(1, "h")},
            "route": {"text": "IV"},
        },
        "14",
    ),
    Dosed("DSTU2: a range in the dosage", {"doseRange": {"low": quantity(7, "mg"), "high": quantity(14, "mg")}}, "14"),
    Dosed(
        "a range: its high end",
        {"doseAndRate": [{"doseRange": {"low": quantity(7, "mg"), "high": quantity(14, "mg")}}]},
        "14",
    ),
    Dosed("a range without a high end", {"doseAndRate": [{"doseRange": {"low": quantity(7, "mg")}}]}, None),
    Dosed("in the text only", {"text": "14 mg IV over 40 min"}, "14"),
    Dosed("in the text only, twice", {"text": "7 mg, then 14 mg"}, None),
    Dosed("two dosages", [{"doseAndRate": [{"doseQuantity": quantity(mg, "mg")}]} for mg in (4, 10)], "14"),
]


@pytest.mark.parametrize("row", DOSES, ids=[row.shape for row in DOSES])
def test_the_dose_of_a_drafted_order(look: Look, row: Dosed) -> None:
    dosages = row.dosage if isinstance(row.dosage, list) else [row.dosage]
    _reads(look, dosages, row)


@pytest.mark.parametrize("entries", [*itertools.permutations(EPIC)])
def test_of_epics_three_entries_the_ordered_one_speaks_in_any_order(look: Look, entries: tuple[Json, ...]) -> None:
    _reads(look, [{"doseAndRate": list(entries)}], Dosed("", None, None, "0.2", "2.9"))


def _reads(look: Look, dosages: list[Json], row: Dosed) -> None:
    view = look(drafts=(ordered(coded(ESKETAMINE), status="draft", dosageInstruction=dosages),))
    (read,) = read_drafted(view.chart, view.knowledge, view.units)
    expected = [Fraction(number) if number else None for number in (row.mg, row.per_kg, row.ml)]
    assert [read.dose_mg, read.dose_mg_per_kg, read.volume_ml] == expected


# ---- By which route

IV_CODE = coding(V3_ROUTE, "IVPUSHNOBODYKNOWS")


@pytest.mark.parametrize(
    ("route", "read", "understood"),
    [
        ({"coding": [coding(SNOMED, "47625008")]}, "iv", True),
        ({"coding": [coding(SNOMED, "419993007", "Intravenous peripheral route")]}, "iv", True),
        ({"coding": [coding("urn:oid:1.2.3", "11"), coding(SNOMED, "47625008")]}, "iv", True),
        ({"coding": [IV_CODE | {"display": "Infusion, intravenous"}]}, "iv", True),
        ({"coding": [IV_CODE], "text": "intraVENOUS"}, "iv", True),
        ({"coding": [coding(V3_ROUTE, "EPI")]}, "neuraxial", True),
        ({"coding": [coding("urn:oid:1.2.3", "11", "Intranasal")]}, "nasal", True),
        ({"coding": [coding(SNOMED, "78421000")], "text": "IV"}, "other", True),
        ({"text": "Topical"}, "other", True),
        ({"coding": [IV_CODE]}, "other", False),
        ({"coding": [coding("urn:oid:1.2.3", "11", "Line 2")]}, "other", False),
        ({"text": "see protocol"}, "other", False),
    ],
)
def test_a_route_is_read_by_code_else_by_words_and_never_guessed(
    look: Look, route: Json, read: str, understood: bool
) -> None:
    view = look(drafts=(ordered(coded(ESKETAMINE), status="draft", dosageInstruction=[{"route": route}]),))
    (draft,) = read_drafted(view.chart, view.knowledge, view.units)
    assert (draft.route, "route" not in draft.unreadable) == (read, understood)


def test_one_route_that_nobody_understands_is_enough(look: Look) -> None:
    dosages = [{"route": {"text": "IV"}}, {"route": {"coding": [IV_CODE]}}]
    view = look(drafts=(ordered(coded(ESKETAMINE), status="draft", dosageInstruction=dosages),))
    (draft,) = read_drafted(view.chart, view.knowledge, view.units)
    assert (draft.route, draft.unreadable) == ("other", {"route"})


def test_a_nasal_product_is_nasal_when_its_route_is_not_understood(look: Look) -> None:
    product = coded(coding(RXNORM, "2201625"))
    view = look(drafts=(ordered(product, status="draft", dosageInstruction=[{"route": {"coding": [IV_CODE]}}]),))
    (draft,) = read_drafted(view.chart, view.knowledge, view.units)
    assert (draft.route, draft.unreadable) == ("nasal", frozenset())


# ---- What nobody recognised

STUDY = coded(coding("urn:local", "4711", "Study medicine 4711"))
VITAMIN = said("Prenatal vitamin")


def references(view: View) -> list[str]:
    return [entry.reference for entry in not_recognised(view)]


@pytest.mark.parametrize(
    "entries",
    [
        (ordered(STUDY),),
        (ordered(STUDY, status="on-hold"),),
        (ordered(STUDY, **prn()),),
        (ordered(STUDY, status="stopped", authoredOn=ago(days=3)),),
        (given(STUDY),),
        (given(STUDY, status="in-progress"),),
        (reported(STUDY),),
        (ordered(pointed("Medication/m", "Study medicine 4711")),),
        (ordered(pointed("Medication/m")), medication("m", {"text": "Study medicine"})),
        (ordered(said("Sedation kit, no ketamine")),),
    ],
)
def test_a_medicine_that_nobody_knows_is_named_and_blocks_nothing(look: Look, entries: tuple[Json, ...]) -> None:
    view = look(*entries)
    (entry,) = not_recognised(view)
    assert entry.reference == f"{entries[0]['resourceType']}/{entries[0]['id']}"
    assert "4711" not in repr(entry)
    assert facts(view)["medication_list"].state is State.PRESENT
    assert not found(view)


@pytest.mark.parametrize(
    "entry",
    [
        ordered(STUDY, status="stopped", authoredOn=ago(days=30)),
        ordered(STUDY, status="cancelled"),
        ordered(STUDY, doNotPerform=True),
        given(STUDY, effectiveDateTime=ago(days=30)),
        given(STUDY, status="not-done"),
        reported(STUDY, status="not-taken"),
        reported(STUDY, status="completed", effectivePeriod={"end": "2019"}),
        ordered(STUDY, status="entered-in-error"),
        ordered(said("Oxytocin")),
        ordered(said("Bupivacaine 0.5 %")),
        ordered(FENTANYL),
        {"resourceType": "ServiceRequest", "id": "s", "status": "active", "code": {"text": "Cardiotocography"}, **HERS},
    ],
)
def test_what_cannot_count_or_is_known_is_not_listed(look: Look, entry: Json) -> None:
    assert references(look(entry)) == []


def test_each_medicine_is_listed_once_and_what_runs_first(look: Look) -> None:
    order = {"request": {"reference": "MedicationRequest/study"}}
    view = look(
        ordered(STUDY, id="study"),
        *(given(said("INV 4711"), id=f"dose-{n}", effectiveDateTime=ago(hours=n), **order) for n in (3, 1, 2)),
        ordered(VITAMIN, id="vitamin", authoredOn=ago(days=40)),
        reported(VITAMIN),
        ordered(said("Infusion X"), id="old"),
        given(said("Infusion X"), id="running", status="in-progress"),
        drafts=(ordered(said("Draft Y"), id="draft", status="draft"), ordered(coded(ESKETAMINE), id="ours")),
    )
    assert not_recognised(view) == (
        Evidence("MedicationAdministration/running", "running", None, ago(hours=1)),
        Evidence("MedicationAdministration/dose-1", "given", None, ago(hours=1)),
        Evidence("MedicationRequest/draft", "drafted", None, ago(hours=20)),
        Evidence("MedicationStatement/report", "reported"),
    )


def test_twelve_ordinary_medicines_are_counted_not_their_doses(look: Look) -> None:
    names = [f"Ordinary medicine {letter}" for letter in "ABCDEFGHIJKL"]
    orders = [ordered(said(name), id=f"o{n}") for n, name in enumerate(names)]
    doses = [given(said(name), id=f"d{n}-{again}") for n, name in enumerate(names) for again in range(4)]
    assert len(not_recognised(look(*orders, *doses))) == 12


# ---- What nobody can even name

SEALED = pointed("Medication/sealed")


@pytest.mark.parametrize(
    ("entries", "drafts"),
    [
        ((ordered(SEALED),), ()),
        ((ordered(SEALED, **prn()),), ()),
        ((given(SEALED),), ()),
        ((reported(SEALED),), ()),
        ((), (ordered(SEALED, status="draft"),)),
        ((ordered(pointed("#m")),), ()),
        ((ordered(SEALED), medication("sealed")), ()),
        ((ordered(pointed("Medication/sealed", " ")),), ()),
    ],
)
def test_a_medicine_that_nobody_can_name_leaves_the_list_open(
    look: Look, entries: tuple[Json, ...], drafts: tuple[Json, ...]
) -> None:
    view = look(*entries, drafts=drafts)
    read = facts(view)
    assert (read["medication_list"].state, read["medication_list"].doubt) == (State.UNKNOWN, Doubt.UNCLEAR)
    assert read["medication_list"].evidence
    assert not_recognised(view) == ()


def test_it_may_be_any_medicine_that_a_rule_asks_for_and_hides_none_that_is_there(look: Look) -> None:
    read = facts(look(ordered(SEALED), ordered(MAOI, id="known")))
    assert read["mao_inhibitor"].state is State.PRESENT
    assert (read["xanthine"].state, read["xanthine"].doubt) == (State.UNKNOWN, Doubt.UNCLEAR)
    assert read["ergot_as_needed"].state is State.ABSENT  # it is not as needed, whatever it is


@pytest.mark.parametrize(
    "entry",
    [
        ordered(SEALED, status="stopped", authoredOn="2019-01-01"),
        ordered(SEALED, doNotPerform=True),
        given(SEALED, effectiveDateTime=ago(days=40)),
        reported(SEALED, status="not-taken"),
        given(SEALED, **FOR_ORDER),
    ],
)
def test_one_that_cannot_count_or_whose_order_names_it_leaves_nothing_open(look: Look, entry: Json) -> None:
    view = look(entry, ordered(said("Oxytocin"), id="order")) if "request" in entry else look(entry)
    assert facts(view)["medication_list"].state is State.PRESENT
    assert not_recognised(view) == ()


def test_a_draft_whose_medicine_is_not_chosen_yet_leaves_nothing_open(look: Look) -> None:
    view = look(drafts=(ordered({}, status="draft"),))
    assert facts(view)["medication_list"].state is State.PRESENT
    assert not_recognised(view) == ()


def test_a_list_that_was_not_had_stays_not_had(look: Look) -> None:
    read = facts(look(ordered(SEALED), had=Had.CUT_SHORT))
    assert read["medication_list"].doubt is Doubt.INCOMPLETE
    assert read["xanthine"].doubt is Doubt.INCOMPLETE


# ---- What must be read from the EHR


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        (ordered(SEALED), {"Medication/sealed"}),
        (given(pointed("https://ehr.example.org/r4/Medication/a-1/_history/3")), {"Medication/a-1"}),
        (reported(SEALED), {"Medication/sealed"}),
        (ordered(SEALED, status="draft"), {"Medication/sealed"}),
        (ordered(pointed("Medication/sealed", "Study medicine")), {"Medication/sealed"}),
        (ordered(pointed("Medication/sealed", "Fentanyl")), set()),
        (ordered(pointed("Medication/held")), set()),
        (ordered(pointed("#m")), set()),
        (ordered(pointed("urn:uuid:m")), set()),
        (ordered(pointed("Substance/m")), set()),
        (ordered(pointed("Medication/../Patient")), set()),
        (ordered(SEALED, status="cancelled"), set()),
        (ordered(SEALED, doNotPerform=True), set()),
        (given(SEALED, status="not-done"), set()),
        (ordered(coded(ESKETAMINE)), set()),
        (ordered({"medicationReference": "Medication/sealed"}), {"Medication/sealed"}),
        ({"resourceType": "Observation", "id": "o", "status": "final", **SEALED}, set()),
    ],
)
def test_what_must_be_read_from_the_ehr(knowledge: Knowledge, entry: Json, read: set[str]) -> None:
    assert wanted([entry], Pool([medication("held")]), knowledge) == read


def test_what_lies_on_another_server_is_not_read_here(knowledge: Knowledge) -> None:
    """The same id there is another medicine."""
    entries = [given(pointed(f"https://{server}/Medication/7")) for server in ("ehr.example.org/r4", "pharmacy.other")]
    assert wanted(entries, Pool(known_at=frozenset({"ehr.example.org/r4"})), knowledge) == {"Medication/7"}
    assert wanted(entries[1:], Pool(known_at=frozenset({"ehr.example.org/r4"})), knowledge) == frozenset()
    assert wanted(entries[1:], Pool(), knowledge) == {"Medication/7"}  # nothing tells which server is hers


def test_without_the_tables_any_name_is_enough(knowledge: Knowledge) -> None:
    shown = ordered(pointed("Medication/sealed", "Study medicine"))
    assert wanted([shown], Pool()) == frozenset()
    assert wanted([ordered(SEALED)], Pool()) == {"Medication/sealed"}
    assert wanted([shown], Pool(), knowledge) == {"Medication/sealed"}
