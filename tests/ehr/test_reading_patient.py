"""What is read of the patient herself: her age, and what she must not be given."""

from __future__ import annotations

from datetime import timezone

import pytest
from reading import (
    HL7,
    HOUR,
    MINUTE,
    NOON,
    SNOMED,
    Row,
    ago,
    allergic,
    coded,
    known,
    read_of,
    seen,
)

from cds_service.clinical.facts import ABSENT, Doubt, Evidence, present, unknown
from cds_service.ehr.answers import Had

IPS = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"

BORN = {"birthDate": "1996-11-23"}

DATED = Evidence("Patient/her", None, None, "1996-11-23")

BARE = Evidence("Patient/her")

EAST, WEST = timezone(14 * HOUR), timezone(-12 * HOUR - MINUTE)

PEOPLE = [
    Row(
        "30 today, where today is tomorrow already",
        "age",
        (),
        known(30, by=Evidence("Patient/her", None, None, "1996-11-24"), at=None),
        patient={"birthDate": "1996-11-24"},
        zone=EAST,
    ),
    Row("29 where it is still yesterday", "age", (), known(29, by=DATED, at=None), patient=BORN, zone=WEST),
    Row(
        "of this day",
        "age",
        (),
        known(0, by=Evidence("Patient/her", None, None, "2026-11-23"), at=None),
        patient={"birthDate": "2026-11-23"},
    ),
    Row(
        "died an hour ago, without a zone",
        "age",
        (),
        unknown(Doubt.CONFLICTING, BARE),
        patient=BORN | {"deceasedDateTime": "2026-11-23T11:00:00"},
    ),
    Row("30 today", "age", (), known(30, by=DATED, at=None), patient=BORN),
    Row(
        "30 tomorrow",
        "age",
        (),
        known(29, by=Evidence("Patient/her", None, None, "1996-11-24"), at=None),
        patient={"birthDate": "1996-11-24"},
    ),
    Row(
        "by the month",
        "age",
        (),
        known(29, 30, by=Evidence("Patient/her", None, None, "1996-11"), at=None),
        patient={"birthDate": "1996-11"},
    ),
    Row(
        "by the year",
        "age",
        (),
        known(29, 30, by=Evidence("Patient/her", None, None, "1996"), at=None),
        patient={"birthDate": "1996"},
    ),
    Row(
        "of this year",
        "age",
        (),
        known(0, by=Evidence("Patient/her", None, None, "2026"), at=None),
        patient={"birthDate": "2026"},
    ),
    Row(
        "to the hour",
        "age",
        (),
        known(30, by=Evidence("Patient/her", None, None, "1996-11-23T23:00:00Z"), at=None),
        patient={"birthDate": "1996-11-23T23:00:00Z"},
    ),
    Row(
        "not born yet",
        "age",
        (),
        unknown(Doubt.IN_THE_FUTURE, Evidence("Patient/her", None, None, "2026-11-24")),
        patient={"birthDate": "2026-11-24"},
    ),
    Row("not recorded", "age", (), unknown(Doubt.NOT_RECORDED, BARE)),
    Row("unreadable", "age", (), unknown(Doubt.UNREADABLE, BARE), patient={"birthDate": "in spring"}),
    Row("dead", "age", (), unknown(Doubt.CONFLICTING, BARE), patient=BORN | {"deceasedBoolean": True}),
    Row("dead, oddly", "age", (), unknown(Doubt.CONFLICTING, BARE), patient=BORN | {"deceasedBoolean": "yes"}),
    Row("not dead", "age", (), known(30, by=DATED, at=None), patient=BORN | {"deceasedBoolean": False}),
    Row("died", "age", (), unknown(Doubt.CONFLICTING, BARE), patient=BORN | {"deceasedDateTime": ago(hours=1)}),
    Row(
        "died, nobody can read when",
        "age",
        (),
        unknown(Doubt.CONFLICTING, BARE),
        patient=BORN | {"deceasedDateTime": "?"},
    ),
    Row("will die", "age", (), known(30, by=DATED, at=None), patient=BORN | {"deceasedDateTime": ago(hours=-1)}),
]

NONE_KNOWN, KETAMINE = coded(SNOMED, "716186003"), coded(SNOMED, "373464007")

REACTS = {"recordedDate": "2020-01-01"}

HERS = Evidence("AllergyIntolerance/a", None, None, "2020-01-01")

SHELLFISH = {"text": "Shellfish"}

ALLERGIES = [
    Row(
        "food and surroundings",
        "allergy_list",
        (allergic(SHELLFISH, category=["food", "environment"]),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "by its code, whatever it reacts to",
        "ketamine_allergy",
        (allergic(KETAMINE, reaction=[{"substance": {"text": "Latex"}}]),),
        present(seen("a")),
    ),
    Row("recorded at an odd time", "allergy_list", (allergic(NONE_KNOWN, recordedDate=["2020"]),), present(seen("a"))),
    Row("none known", "allergy_list", (allergic(NONE_KNOWN, **REACTS),), present(HERS)),
    Row("none known", "ketamine_allergy", (allergic(NONE_KNOWN),), ABSENT),
    Row(
        "none known, but no longer said",
        "allergy_list",
        (allergic(NONE_KNOWN, clinicalStatus=coded(HL7 + "x", "inactive")),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row("ketamine", "ketamine_allergy", (allergic(KETAMINE, **REACTS),), present(HERS)),
    Row(
        "ketamine, inactive",
        "ketamine_allergy",
        (allergic(KETAMINE, clinicalStatus=coded(HL7 + "x", "inactive")),),
        present(seen("a")),
    ),
    Row(
        "ketamine, resolved",
        "ketamine_allergy",
        (allergic(KETAMINE, clinicalStatus=coded(HL7 + "x", "resolved")),),
        ABSENT,
    ),
    Row(
        "ketamine, refuted",
        "allergy_list",
        (allergic(KETAMINE, verificationStatus=coded(HL7 + "x", "refuted")),),
        unknown(Doubt.NOT_RECORDED),
    ),
    Row(
        "ketamine, by its reaction",
        "ketamine_allergy",
        (allergic({"text": "Drug"}, reaction=[{"substance": {"text": "Ketamine"}}]),),
        present(seen("a")),
    ),
    Row(
        "an anaesthetic",
        "allergy_list",
        (allergic({"text": "Anesthetic agent"}, **REACTS),),
        unknown(Doubt.UNCLEAR, HERS),
    ),
    Row(
        "an anaesthetic",
        "ketamine_allergy",
        (allergic({"text": "Anesthetic agent"}, **REACTS),),
        unknown(Doubt.UNCLEAR, HERS),
    ),
    Row("nothing that can be read", "allergy_list", (allergic({}),), unknown(Doubt.UNCLEAR, seen("a"))),
    Row(
        "a code of nobody's",
        "allergy_list",
        (allergic({"coding": [{"code": "x"}]}),),
        unknown(Doubt.UNCLEAR, seen("a")),
    ),
    Row(
        "a code of the site's own",
        "allergy_list",
        (allergic(coded("urn:site", "x")),),
        unknown(Doubt.UNCLEAR, seen("a")),
    ),
    Row("a code of another drug", "allergy_list", (allergic(coded(SNOMED, "1")),), present(seen("a"))),
    Row("something else", "allergy_list", (allergic(SHELLFISH),), present(seen("a"))),
    Row("food", "allergy_list", (allergic(SHELLFISH, category=["food"]),), unknown(Doubt.NOT_RECORDED)),
    Row("food, as one word", "allergy_list", (allergic(SHELLFISH, category="food"),), unknown(Doubt.NOT_RECORDED)),
    Row("surroundings", "allergy_list", (allergic(SHELLFISH, category=["environment"]),), unknown(Doubt.NOT_RECORDED)),
    Row(
        "food and medicines",
        "allergy_list",
        (allergic(SHELLFISH, category=["food", "medication"]),),
        present(seen("a")),
    ),
    Row(
        "no food allergy",
        "allergy_list",
        (allergic(coded(SNOMED, "429625007", text="none")),),
        unknown(Doubt.NOT_RECORDED),
    ),
    *(
        Row(f"nobody knows: {text}", "allergy_list", (allergic({"text": text}),), unknown(Doubt.UNCLEAR, seen("a")))
        for text in (
            "Unknown",
            "unknown.",
            "Unable to assess",
            "Allergies not on file",
            "No allergies on file",
            "Unable to confirm NKDA",
            "NKDA?",
            "NKDA (not confirmed)",
            "Not NKDA",
            "Alergias desconocidas",
            "青霉素",
        )
    ),
    *(
        Row(f"nobody knows, and NKDA: {says}", "allergy_list", (allergic(code),), unknown(Doubt.UNCLEAR, seen("a")))
        for says, code in (
            ("not asked", coded(SNOMED, "1631000175102")),
            ("no information", coded(IPS, "no-allergy-info", text="Pas d'information sur les allergies")),
            ("withheld", coded(HL7 + "data-absent-reason", "masked")),
            ("unknown, whatever its words", coded(HL7 + "v3-NullFlavor", "UNK", text="Penicillin")),
            ("not confirmed, whatever its code", coded(SNOMED, "716186003", text="Unable to confirm NKDA")),
        )
    ),
    Row(
        "nobody knows, beside no known allergy",
        "allergy_list",
        (allergic(NONE_KNOWN, "a1"), allergic({"text": "Unknown"})),
        unknown(Doubt.UNCLEAR, seen("a")),
    ),
    Row(
        "ketamine, beside a code that says nothing",
        "ketamine_allergy",
        (allergic(coded(HL7 + "data-absent-reason", "unknown", text="Ketamine")),),
        present(seen("a")),
    ),
    *(
        Row(f"said: {says}", "allergy_list", (allergic(code),), present(seen("a")))
        for says, code in (
            ("by IPS", coded(IPS, "no-known-allergies")),
            ("by IPS, of medicines", coded(IPS, "no-known-medication-allergies")),
            ("NKDA", {"text": "NKDA"}),
            ("NKDA behind another statement", {"text": "Denies food allergies, NKDA"}),
            ("no allergies", {"text": "No allergies"}),
            ("penicillin, not by a code", coded(HL7 + "v3-NullFlavor", "OTH", text="Penicillin")),
            ("penicillin, its reaction unknown", {"text": "Penicillin (reaction unknown)"}),
            ("penicillin, not confirmed", {"text": "Penicillin, not confirmed"}),
            ("penicillin by a code, and more cannot be told", coded(SNOMED, "1", text="Penicillin, unable to verify")),
        )
    ),
    *(
        Row(f"not of medicines: {says}", "allergy_list", (allergic(code),), unknown(Doubt.NOT_RECORDED))
        for says, code in (
            ("food", {"text": "No known food allergies"}),
            ("food, by IPS", coded(IPS, "no-known-food-allergies")),
            ("latex", {"text": "No known latex allergy"}),
            ("latex, denied", {"text": "Denies latex allergy"}),
            ("surroundings", {"text": "No known environmental allergies"}),
            ("surroundings, by IPS", coded(IPS, "no-known-environmental-allergies")),
        )
    ),
    Row("none, to food", "allergy_list", (allergic({"text": "None"}, category=["food"]),), unknown(Doubt.NOT_RECORDED)),
    Row("empty", "allergy_list", (), unknown(Doubt.NOT_RECORDED)),
    Row("empty, where that means none", "allergy_list", (), present(), site={"empty_allergy_list_means_none": True}),
    Row("not received", "allergy_list", (), unknown(Doubt.NOT_RECEIVED), {"allergies": Had.FAILED}),
    Row(
        "cut short",
        "ketamine_allergy",
        (allergic(NONE_KNOWN),),
        unknown(Doubt.INCOMPLETE),
        {"allergies": Had.CUT_SHORT},
    ),
    Row(
        "cut short, but there",
        "ketamine_allergy",
        (allergic(KETAMINE),),
        present(seen("a")),
        {"allergies": Had.CUT_SHORT},
    ),
]


@pytest.mark.parametrize("row", [*PEOPLE, *ALLERGIES], ids=str)
def test_what_is_read_of_a_fact(row: Row) -> None:
    found = read_of(row)

    assert found.facts[row.fact] == row.comes
    assert found.facts.now == NOON
