"""Consultations made by hand: a woman for every status, thought through with the real tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

from cds_service.clinical.consultation import Consultation, Encountered, Ordered
from cds_service.clinical.dosing import compute
from cds_service.clinical.eligibility import Rows, judge
from cds_service.clinical.facts import ABSENT, UNKNOWN, Doubt, Evidence, Facts, Finding, State
from cds_service.clinical.moment import exactly
from cds_service.clinical.order_check import Departure, DraftedOrder
from cds_service.clinical.plan import Occasion, propose
from cds_service.clinical.risk import assess
from cds_service.clinical.stage import Stage
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.rendering.wording import Wording, load_wording
from cds_service.settings import Site, SiteProtocol

NOW = datetime(2026, 5, 14, 9, 30, tzinfo=UTC)
HOOK_INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
WHO = Encountered(
    service_id="ppd-delivery-order",
    hook="order-select",
    hook_instance=HOOK_INSTANCE,
    patient="Patient/example-1",
    encounter="Encounter/stay-1",
    user="Practitioner/p1",
    drafts={"MedicationRequest/draft-1": {"resourceType": "MedicationRequest", "id": "draft-1", "status": "draft"}},
)
SITE = Site(
    name="Example *Hospital*",
    country="CN",
    protocol=SiteProtocol(id="esketamine-iv", approval="SITE_PPD-01", strength_mg_per_ml="5"),
)
KETAMINE_SITE = Site(
    name="Example Hospital",
    country="US",
    protocol=SiteProtocol(id="racemic-ketamine-iv", approval="SITE-KET-22", strength_mg_per_ml="10"),
)
NO_PROTOCOL = Site(name="Example Hospital", country="US")
DRAFT = DraftedOrder("MedicationRequest/draft-1", "esketamine", "iv", for_prevention=True, dose_mg=Fraction(28))


@cache
def knowledge() -> Knowledge:
    return load_knowledge()


@cache
def wording() -> Wording:
    return load_wording(knowledge=knowledge())


def measured(name: str, value: str, unit: str, *, minutes: int = 10) -> Finding:
    """A number in one Observation, so many minutes ago."""
    at = NOW - timedelta(minutes=minutes)
    entry = Evidence(f"Observation/{name.replace('_', '-')}", value, unit, at.isoformat())
    return Finding(State.PRESENT, (entry,), (Fraction(value),), exactly(at))


def recorded(name: str, *, day: str = "2026-05-02") -> Finding:
    """An entry of the problem list."""
    return Finding(State.PRESENT, (Evidence(f"Condition/{name.replace('_', '-')}", date=day),))


def missing(doubt: Doubt, *entries: Evidence) -> Finding:
    return Finding(State.UNKNOWN, entries, doubt=doubt)


def woman(**more: Finding) -> Facts:
    """Pregnant, EPDS 12 six hours ago, everything known and nothing against the medicine; `more` changes her."""
    epds = measured("epds", "12", "{score}", minutes=360)
    found = {
        **dict.fromkeys(knowledge().says, ABSENT),
        "age": Finding(State.PRESENT, (Evidence("Patient/example-1", "31", "a"),), (31,)),
        "age_known": recorded("patient"),
        "pregnancy": recorded("pregnancy"),
        "epds_current": epds,
        "epds_current_score": epds,
        "epds_for_risk": epds,
        "epds_complete_for_risk": epds,
        "epds_this_encounter": epds,
        "positive_epds": epds,
        "positive_screen": epds,
        "epds_self_harm": measured("epds_item_10", "0", "{score}", minutes=360),
        "bipolar_known": recorded("mdq"),
        "weight": measured("weight", "72.4", "kg", minutes=300),
        "blood_pressure": recorded("bp", day=NOW.isoformat()),
        "systolic": measured("bp", "118", "mm[Hg]"),
        "diastolic": measured("bp", "74", "mm[Hg]"),
        "systolic_any": measured("bp", "118", "mm[Hg]"),
        "diastolic_any": measured("bp", "74", "mm[Hg]"),
        "heart_rate": measured("heart_rate", "84", "/min"),
        "spo2": measured("spo2", "98", "%"),
        "respiratory_rate": measured("respiratory_rate", "16", "/min"),
        "shock_index": measured("shock_index", "0.71", "1"),
        "asa_class": measured("asa", "2", "{score}", minutes=600),
        "delivery_mode": recorded("mode"),
        "anaesthesia": recorded("anaesthesia"),
        "blood_loss": ABSENT,
        "birth_time_known": ABSENT,
        "breastfeeding": Finding(State.PRESENT),
        **{name: recorded(name) for name in ("problem_list", "medication_list", "allergy_list")},
        "no_conflict": recorded("no_conflict"),
        "stage_for_a_dose": recorded("stage"),
    }
    found["blood_pressure"] = Finding(
        State.PRESENT, found["systolic"].evidence, at=exactly(NOW - timedelta(minutes=10))
    )
    return Facts({**found, "dosing_weight": more.get("weight", found["weight"]), **more}, NOW)


def delivered(**more: Finding) -> Facts:
    """The same woman, 12 minutes after birth."""
    birth = Finding(State.PRESENT, (Evidence("Observation/birth"),), at=exactly(NOW - timedelta(minutes=12)))
    return woman(
        birth=birth,
        birth_time_known=birth,
        minutes_since_birth=measured("birth", "12", "min", minutes=12),
        blood_loss=measured("blood_loss", "280", "mL"),
        **more,
    )


def think(
    facts: Facts,
    *,
    site: Site = SITE,
    hook: str = "order-select",
    stage: Stage = Stage.PREGNANT,
    draft: DraftedOrder | None = None,
    departures: tuple[Departure, ...] = (),
    already: tuple[Ordered, ...] = (),
    set_aside: tuple[str, ...] = (),
    configuration: tuple[str, ...] = (),
    not_recognised: tuple[Evidence, ...] = (),
    tables: Knowledge | None = None,
) -> Consultation:
    """Facts thought through to the plan, with the tables as they are; `tables` are those of another language."""
    tables = tables or knowledge()
    protocol = tables.protocol(site.protocol.id) if site.protocol and not configuration else None
    ppd_order = draft is not None
    risk = assess(facts, tables.risk)
    rows = Rows(
        tables.contraindications.criterion,
        tables.reviews.criterion,
        tables.modifiers.criterion,
        tables.inputs.input,
    )
    eligibility = judge(facts, rows, stage=stage, ppd_order=ppd_order, protocol=protocol, configuration=configuration)
    occasion = Occasion(hook, clinician=True, stage=stage, ppd_order=ppd_order, site_has_protocol=protocol is not None)
    plan = propose(occasion, facts, risk, eligibility, departures, tables.topics)
    return Consultation(
        occasion,
        facts,
        risk,
        eligibility,
        compute(facts, eligibility, protocol),
        (draft,) if draft else (),
        departures,
        plan,
        already,
        set_aside,
        not_recognised=not_recognised,
    )


def safety(value: str = "1") -> dict[str, Finding]:
    """A self-harm answer six hours ago."""
    answer = measured("epds_item_10", value, "{score}", minutes=360)
    return {"epds_self_harm": answer, "safety_concern": answer}


def screen(total: str) -> dict[str, Finding]:
    """A complete EPDS of this total, six hours ago."""
    epds = measured("epds", total, "{score}", minutes=360)
    names = ("epds_current", "epds_current_score", "epds_for_risk", "epds_complete_for_risk", "epds_this_encounter")
    positive = epds if int(total) >= 10 else ABSENT
    below = ABSENT if int(total) >= 10 else epds
    return {
        **dict.fromkeys(names, epds),
        "positive_epds": positive,
        "positive_screen": positive,
        "epds_below_indication": below,
    }


NO_EPDS: dict[str, Any] = dict.fromkeys(
    ("epds_current", "epds_current_score", "epds_for_risk", "epds_complete_for_risk", "epds_self_harm",
     "epds_below_indication", "epds_this_encounter"),
    UNKNOWN,
) | {"positive_epds": ABSENT, "positive_screen": ABSENT}  # fmt: skip
LOSS = {"fetal_or_newborn_death": recorded("loss")}
# Ids as long as FHIR allows, so that no card gets longer than in these cases.
UNKNOWN_MEDICINES = tuple(
    Evidence(f"MedicationRequest/{letter * 64}", "ordered", None, f"2026-05-1{day}T08:00:00Z")
    for letter, day in zip("abcd", "3210", strict=True)
)
OVER = Departure("dose", "dose above the absolute limit", "at most 20 mg", "28 mg", critical=True)
FAST = Departure("duration", "shorter than the protocol", "40 min", "20 min")
UNWATCHED = Departure("monitoring", "no monitoring order", "SpO2 and blood pressure", "none")


@cache
def cases() -> dict[str, tuple[Consultation, Site]]:
    """One of everything that a clinician may get to see."""
    severe = measured("bp_severe", "166", "mm[Hg]", minutes=360)
    seen = Evidence("Observation/bp", "118", "mm[Hg]", (NOW - timedelta(minutes=250)).isoformat())
    old = missing(Doubt.TOO_OLD, seen)
    return {
        "eligible before birth": (think(woman()), SITE),
        "eligible after birth": (think(delivered(), stage=Stage.AFTER_BIRTH), SITE),
        "eligible, medicines not recognised": (think(woman(), not_recognised=UNKNOWN_MEDICINES), SITE),
        "contraindicated, medicines not recognised": (
            think(woman(ketamine_allergy=recorded("allergy")), draft=DRAFT, not_recognised=UNKNOWN_MEDICINES),
            SITE,
        ),
        "eligible, ketamine": (think(woman(), site=KETAMINE_SITE), KETAMINE_SITE),
        "to be confirmed": (
            think(woman(asa_class=missing(Doubt.NOT_RECORDED), anaesthesia=missing(Doubt.NOT_RECORDED))),
            SITE,
        ),
        "eligible and drafted": (think(woman(), draft=DRAFT, departures=(OVER,)), SITE),
        "drafted too fast": (think(woman(), draft=DRAFT, departures=(FAST, UNWATCHED), hook="order-sign"), SITE),
        "contraindicated": (think(woman(systolic_any=severe, pre_eclampsia=recorded("pre_eclampsia"))), SITE),
        "contraindicated and drafted": (
            think(woman(ketamine_allergy=recorded("allergy")), draft=DRAFT, departures=(OVER,)),
            SITE,
        ),
        "for review": (think(woman(depressive_disorder=recorded("f32"), antidepressant=recorded("ssri"))), SITE),
        "for review and drafted": (think(woman(asa_class=measured("asa", "3", "{score}")), draft=DRAFT), SITE),
        "a loss": (think(woman(**LOSS)), SITE),
        "a loss and drafted": (think(woman(**LOSS, ketamine_allergy=recorded("a")), draft=DRAFT), SITE),
        "not indicated and drafted": (think(woman(**screen("6")), draft=DRAFT), SITE),
        "data missing": (think(woman(blood_pressure=old, allergy_list=missing(Doubt.NOT_RECEIVED))), SITE),
        "data missing and drafted": (think(woman(weight=missing(Doubt.CONFLICTING)), draft=DRAFT), SITE),
        "no protocol": (think(woman(), site=NO_PROTOCOL), NO_PROTOCOL),
        "no protocol and drafted": (think(woman(), site=NO_PROTOCOL, draft=DRAFT), NO_PROTOCOL),
        "not marketed and drafted": (
            think(woman(), draft=DRAFT, configuration=("CFG01",)),
            SITE.model_copy(update={"country": "US"}),
        ),
        "a self-harm answer": (think(woman(**safety())), SITE),
        "a self-harm answer, assessed": (think(woman(**safety(), safety_assessed_since=recorded("assessed"))), SITE),
        "psychosis": (
            think(
                woman(
                    psychosis_now=recorded("f53-1"), psychosis_ever=recorded("f53-1"), safety_concern=recorded("f53-1")
                )
            ),
            SITE,
        ),
        "no EPDS": (think(woman(**NO_EPDS)), SITE),
        "no bipolar screen": (think(woman(bipolar_known=UNKNOWN)), SITE),
        "no EPDS, PHQ-9 positive, no bipolar screen": (
            think(
                woman(
                    **{**NO_EPDS, "positive_screen": measured("phq9", "12", "{score}")},
                    bipolar_known=UNKNOWN,
                    phq9_for_risk=measured("phq9", "12", "{score}"),
                )
            ),
            SITE,
        ),
        "chart opened": (think(woman(), hook="patient-view"), SITE),
        "admission, high": (think(woman(**screen("15")), hook="encounter-start"), SITE),
        "chart opened, recorded risk factor": (
            think(woman(**screen("4"), recorded_risk_factor=recorded("ipv-1")), hook="patient-view"),
            SITE,
        ),
        "discharge": (think(delivered(), hook="encounter-discharge", stage=Stage.AFTER_BIRTH), SITE),
        "discharge, high": (
            think(delivered(**screen("15")), hook="encounter-discharge", stage=Stage.AFTER_BIRTH),
            SITE,
        ),
        "discharge without EPDS": (
            think(delivered(epds_this_encounter=ABSENT), hook="encounter-discharge", stage=Stage.AFTER_BIRTH),
            SITE,
        ),
        "a loss and a self-harm answer": (think(woman(**LOSS, **safety())), SITE),
        "a loss, no EPDS": (think(woman(**LOSS, **NO_EPDS)), SITE),
        "discharge after a loss": (
            think(delivered(**LOSS), hook="encounter-discharge", stage=Stage.AFTER_BIRTH),
            SITE,
        ),
        "nothing to say": (think(woman(**screen("4"))), SITE),
    }
