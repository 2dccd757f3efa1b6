"""What is read of a problem list: which disorders count, since when, and on whose word."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from reading import (
    H3,
    H5,
    HL7,
    HYPERTENSION,
    NOON,
    PRE_ECLAMPSIA,
    PREGNANT,
    SNOMED,
    UNSAID,
    Json,
    Row,
    ago,
    coded,
    day,
    instant,
    known_to_all,
    problem,
    read_of,
    seen,
)

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.ehr.answers import Had
from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.conditions import not_recognised
from cds_service.ehr.reading.view import View

IPS = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"

PROBLEMS = [
    Row(
        "active",
        "hypertension",
        (problem(HYPERTENSION),),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
    ),
    Row(
        "recorded, its onset not",
        "hypertension",
        (problem(HYPERTENSION, onsetDateTime=None, recordedDate=ago(hours=5)),),
        Finding(State.PRESENT, (seen("c", "active", None, H5),), at=H5),
    ),
    Row(
        "asserted, as STU3 says",
        "hypertension",
        (problem(HYPERTENSION, onsetDateTime=None, assertedDate=ago(hours=5)),),
        Finding(State.PRESENT, (seen("c", "active", None, H5),), at=H5),
    ),
    Row(
        "since a period",
        "hypertension",
        (problem(HYPERTENSION, onsetDateTime=None, onsetPeriod={"start": ago(hours=5)}),),
        Finding(State.PRESENT, (seen("c", "active", None, H5),), at=H5),
    ),
    Row(
        "undated, without a status",
        "hypertension",
        (problem(HYPERTENSION, onsetDateTime=None, clinicalStatus=None),),
        Finding(State.PRESENT, (seen("c"),)),
    ),
    Row(
        "a status as a bare word",
        "hypertension",
        (problem(HYPERTENSION, clinicalStatus=" Active "),),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
    ),
    Row("resolved", "hypertension", (problem(HYPERTENSION, clinicalStatus="resolved"),), ABSENT),
    Row(
        "two",
        "hypertension",
        (problem(HYPERTENSION, "c1", onsetDateTime=ago(hours=5)), problem(HYPERTENSION, "c2")),
        Finding(State.PRESENT, (seen("c1", "active", None, H5), seen("c2", "active", None, H3)), at=H5),
    ),
    Row("none", "hypertension", (), ABSENT),
    Row("not received", "hypertension", (), unknown(Doubt.NOT_RECEIVED), {"problems": Had.FAILED}),
    Row(
        "cut short, another one",
        "hypertension",
        (problem(PREGNANT),),
        unknown(Doubt.INCOMPLETE),
        {"problems": Had.CUT_SHORT},
    ),
    Row(
        "cut short, this one",
        "hypertension",
        (problem(HYPERTENSION),),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
        {"problems": Had.CUT_SHORT},
    ),
    Row(
        "in the family, by its words",
        "hypertension",
        (problem(coded(SNOMED, HYPERTENSION, text="Family history of hypertension")),),
        unknown(Doubt.UNCLEAR, seen("c", "active", None, H3)),
    ),
    Row(
        "in the family, by its category",
        "hypertension",
        (problem(HYPERTENSION, category=[{"text": "Family history"}]),),
        ABSENT,
    ),
    Row(
        "in the family, by the code of its category",
        "hypertension",
        (problem(HYPERTENSION, category=[coded("local", "famhx")]),),
        ABSENT,
    ),
    Row(
        "in words",
        "hypertension",
        (problem({"text": "chronic hypertension"}),),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
    ),
    Row("denied in words", "hypertension", (problem({"text": "no hypertension"}),), ABSENT),
    Row("past in words", "hypertension", (problem({"text": "history of hypertension"}),), ABSENT),
    Row("of her family, by its words", "hypertension", (problem({"text": "family history of hypertension"}),), ABSENT),
    Row(
        "further on in the history of her family",
        "hypertension",
        (problem({"text": "family history of diabetes in her mother and her two sisters, hypertension"}),),
        unknown(Doubt.UNCLEAR, seen("c", "active", None, H3)),
    ),
    Row(
        "denied, but another clause",
        "hypertension",
        (problem({"text": "no asthma, but hypertension"}),),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
    ),
    Row(
        "numbered, not denied",
        "hypertension",
        (problem({"text": "pregnancy no. 2 with hypertension"}),),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
    ),
    Row(
        "resolved 42 days ago",
        "pre_eclampsia",
        (problem(PRE_ECLAMPSIA, clinicalStatus="resolved", abatementDateTime=ago(days=42)),),
        Finding(State.PRESENT, (seen("c", "resolved", None, H3),), at=H3),
    ),
    Row(
        "resolved 43 days ago",
        "pre_eclampsia",
        (problem(PRE_ECLAMPSIA, clinicalStatus="resolved", abatementDateTime=ago(days=43)),),
        ABSENT,
    ),
    Row(
        "resolved within a period",
        "pre_eclampsia",
        (problem(PRE_ECLAMPSIA, clinicalStatus="resolved", abatementPeriod={"end": ago(days=43)}),),
        ABSENT,
    ),
    Row("an empty list is a list", "problem_list", (), present()),
    Row("cut short", "problem_list", (), unknown(Doubt.INCOMPLETE), {"problems": Had.CUT_SHORT}),
    Row("empty", "no_problems_recorded", (), present()),
    Row("one that says nothing to us", "no_problems_recorded", (problem("1"),), ABSENT),
    Row("not received", "no_problems_recorded", (), ABSENT, {"problems": Had.FAILED}),
    *(
        Row(f"cannot be read: {says}", fact, (problem(code), problem(PREGNANT, "c1")), UNSAID)
        for fact in ("problem_list", "hypertension")
        for says, code in (
            ("no information", coded(IPS, "no-problem-info", text="No information about problems")),
            ("withheld", coded(HL7 + "data-absent-reason", "masked")),
            ("withheld, in whatever words", coded(HL7 + "data-absent-reason", "masked", text="Maskiert")),
            ("unknown", {"text": "Unknown"}),
            ("a code of nobody's", {"coding": [{"code": "O14.13"}]}),
            ("a code of the site's own", coded("urn:site", "O14.13")),
            ("in letters that no table has", coded("urn:site", "1", text="重度子痫前期")),
            ("nothing at all", {}),
        )
    ),
    *(
        Row(f"can be read: {says}", "problem_list", (problem(code),), present())
        for says, code in (
            ("a code that says nothing to us", "1"),
            ("in letters that no table has, beside a code", coded(SNOMED, "1", text="湿疹")),
            ("a code of the site's own, and words", coded("urn:site", "1", text="Sprained ankle")),
            ("words that are not all of it", {"text": "Masked hypertension"}),
            ("not by a code", coded(HL7 + "v3-NullFlavor", "OTH", text="Sprained ankle")),
            ("none known", coded(IPS, "no-known-problems")),
        )
    ),
    Row(
        "cannot be read, but refuted",
        "problem_list",
        (problem(coded("urn:site", "1"), verificationStatus="refuted"),),
        present(),
    ),
    Row(
        "cannot be read, but another one is there",
        "hypertension",
        (problem(coded("urn:site", "1"), "c1"), problem(HYPERTENSION)),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
    ),
    Row(
        "past and present in one text: the one that is past is over",
        "ketamine_or_stimulant_use",
        (problem({"text": "History of cocaine abuse, now hypertension"}),),
        ABSENT,
    ),
    Row(
        "past and present in one text: the other is not",
        "hypertension",
        (problem({"text": "History of cocaine abuse, now hypertension"}),),
        Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3),
    ),
    Row(
        "past or present, nobody can tell",
        "ketamine_or_stimulant_use",
        (problem({"text": "Prior c-section, cocaine abuse"}),),
        UNSAID,
    ),
    Row(
        "words call it past, beside a code",
        "substance_use_past",
        (problem(coded(SNOMED, PREGNANT, text="Pregnancy, history of cocaine abuse")),),
        UNSAID,
    ),
]

APNOEA_DISORDER, SEVERE_APNOEA, COCAINE, STILLBIRTH = "78275009", "190966007", "724713006", "237364002"

STATUS_OF = HL7 + "condition-ver-status"

WHEN = Finding(State.PRESENT, (seen("c", "active", None, H3),), at=H3)

GONE = Finding(State.PRESENT, (seen("c", "resolved", None, H3),), at=H3)

STANDINGS = [
    Row("refuted", "hypertension", (problem(HYPERTENSION, verificationStatus=coded(STATUS_OF, "refuted")),), ABSENT),
    Row(
        "in error",
        "hypertension",
        (problem(HYPERTENSION, verificationStatus=coded(STATUS_OF, "entered-in-error")),),
        ABSENT,
    ),
    Row(
        "refuted and in error",
        "hypertension",
        (problem(HYPERTENSION, verificationStatus=coded(STATUS_OF, "refuted", "entered-in-error")),),
        ABSENT,
    ),
    Row(
        "refuted and confirmed",
        "hypertension",
        (problem(HYPERTENSION, verificationStatus=coded(STATUS_OF, "refuted", "confirmed")),),
        WHEN,
    ),
    Row("after one that says nothing to us", "hypertension", (problem("1", "c1"), problem(HYPERTENSION)), WHEN),
    Row(
        "after one that is refuted",
        "hypertension",
        (problem(HYPERTENSION, "c1", verificationStatus="refuted"), problem(HYPERTENSION)),
        WHEN,
    ),
    Row(
        "recorded without a zone",
        "preterm_birth",
        (problem("6383007", onsetDateTime=None, recordedDate="2026-11-22"),),
        Finding(State.PRESENT, (seen("c", "active", None, day("2026-11-22")),), at=day("2026-11-22")),
    ),
    Row(
        "asserted without a zone",
        "preterm_birth",
        (problem("6383007", onsetDateTime=None, assertedDate="2026-11-22"),),
        Finding(State.PRESENT, (seen("c", "active", None, day("2026-11-22")),), at=day("2026-11-22")),
    ),
    Row(
        "ended without a zone",
        "pre_eclampsia",
        (problem(PRE_ECLAMPSIA, clinicalStatus="resolved", abatementDateTime="2026-09-01"),),
        ABSENT,
    ),
    Row("ended this instant", "pregnancy", (problem(PREGNANT, abatementDateTime=ago(hours=0)),), ABSENT),
    Row("severe by its code", "severe_sleep_apnoea", (problem(SEVERE_APNOEA),), WHEN),
    Row(
        "severe by its severity", "severe_sleep_apnoea", (problem(APNOEA_DISORDER, severity={"text": "Severe"}),), WHEN
    ),
    Row(
        "severe by its words",
        "severe_sleep_apnoea",
        (problem(coded(SNOMED, APNOEA_DISORDER, text="Obstructive apnoea, SEVERE")),),
        WHEN,
    ),
    Row("nobody says how severe", "severe_sleep_apnoea", (problem(APNOEA_DISORDER),), UNSAID),
    Row("mild", "severe_sleep_apnoea", (problem(APNOEA_DISORDER, severity={"text": "Mild"}),), UNSAID),
    Row("none", "severe_sleep_apnoea", (problem(PREGNANT),), ABSENT),
    Row("active", "substance_use_past", (problem(COCAINE),), ABSENT),
    Row("resolved", "substance_use_past", (problem(COCAINE, clinicalStatus="resolved"),), GONE),
    Row("in the past, by its words", "substance_use_past", (problem({"text": "history of cocaine abuse"}),), WHEN),
    Row("resolved", "ketamine_or_stimulant_use", (problem(COCAINE, clinicalStatus="resolved"),), ABSENT),
    Row("resolved", "psychosis_ever", (problem("69322001", clinicalStatus="resolved"),), GONE),
    Row("resolved", "psychosis_now", (problem("69322001", clinicalStatus="resolved"),), ABSENT),
    Row("active", "psychosis_now", (problem("69322001"),), WHEN),
    Row(
        "in remission, and beside it one that is not",
        "psychosis_now",
        (problem(coded(SNOMED, "69322001", "4926007"), "c1"), problem("69322001")),
        WHEN,
    ),
    Row("in this pregnancy", "fetal_or_newborn_death", (problem(STILLBIRTH),), WHEN),
    Row(
        "in this pregnancy, resolved", "fetal_or_newborn_death", (problem(STILLBIRTH, clinicalStatus="resolved"),), GONE
    ),
    Row("in one before", "fetal_or_newborn_death", (problem(STILLBIRTH, onsetDateTime=ago(days=301)),), ABSENT),
    Row(
        "of its first day",
        "fetal_or_newborn_death",
        (problem(STILLBIRTH, onsetDateTime=ago(days=300)),),
        Finding(State.PRESENT, (seen("c", "active", None, instant(days=300)),), at=instant(days=300)),
    ),
    Row(
        "in one before, recorded lately",
        "fetal_or_newborn_death",
        (problem(STILLBIRTH, onsetDateTime=ago(days=301), recordedDate=ago(days=1)),),
        ABSENT,
    ),
    Row(
        "recorded lately, nobody knows since when",
        "fetal_or_newborn_death",
        (problem(STILLBIRTH, onsetDateTime=None, recordedDate=ago(hours=3)),),
        WHEN,
    ),
    Row(
        "undated",
        "fetal_or_newborn_death",
        (problem(STILLBIRTH, onsetDateTime=None),),
        Finding(State.PRESENT, (seen("c", "active"),)),
    ),
    Row("in the past, by its words", "fetal_or_newborn_death", (problem({"text": "history of stillbirth"}),), ABSENT),
    Row(
        "active, since years",
        "pre_eclampsia",
        (problem(PRE_ECLAMPSIA, onsetDateTime="2019"),),
        Finding(
            State.PRESENT,
            (Evidence("Condition/c", "active", None, "2019"),),
            at=Moment(datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), Precision.YEAR, "2019"),
        ),
    ),
    Row("in the past, by its words", "pre_eclampsia", (problem({"text": "history of pre-eclampsia"}),), ABSENT),
    Row("resolved, nobody wrote when", "pre_eclampsia", (problem(PRE_ECLAMPSIA, clinicalStatus="resolved"),), GONE),
    Row(
        "resolved, of a pregnancy before",
        "pre_eclampsia",
        (problem(PRE_ECLAMPSIA, clinicalStatus="resolved", onsetDateTime=ago(days=301)),),
        ABSENT,
    ),
]


@pytest.mark.parametrize("row", [*PROBLEMS, *STANDINGS], ids=str)
def test_what_is_read_of_a_fact(row: Row) -> None:
    found = read_of(row)

    assert found.facts[row.fact] == row.comes
    assert found.facts.now == NOON


UNRECOGNISED = [
    ("words, and a code of the site's own", coded("urn:site", "1", text="Schwere Präeklampsie"), True),
    ("words alone", {"text": "Preeclamsia"}, True),
    ("words that are known", {"text": "Preeclampsia"}, False),
    ("words that are known, and denied", {"text": "No preeclampsia"}, False),
    ("words beside a code that we know", coded(SNOMED, "1", text="Schwere Präeklampsie"), False),
    ("what cannot be read at all leaves the list open", coded("urn:site", "1"), False),
]


@pytest.mark.parametrize(("code", "listed"), [row[1:] for row in UNRECOGNISED], ids=[row[0] for row in UNRECOGNISED])
def test_problems_that_no_rule_has_looked_at_are_named(code: Json, listed: bool) -> None:
    knowledge, units, asked = known_to_all()
    chart = Chart(
        patient={"resourceType": "Patient", "id": "her"},
        encounter=None,
        by_type={"Condition": (problem(code), problem(code, "c1", verificationStatus="refuted"))},
        had={query.key: Had.WHOLE for query in asked.queries},
        drafts=(),
        selected=frozenset(),
        set_aside=(),
    )

    found = not_recognised(View(chart, knowledge, units, asked, NOON, UTC))

    assert found == ((seen("c", "active", None, H3),) if listed else ())
