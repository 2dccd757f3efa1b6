"""Which codes and words mean what, and which must not: the traps that were found, one by one."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from conftest import AdvisorOf
from ehr import request_for
from encoding import Json, read_cases

from cds_service.clinical.facts import Facts, State
from cds_service.ehr.gathering import gather
from cds_service.hooks.request import parse_request
from cds_service.knowledge import load_knowledge
from cds_service.knowledge.check_digits import could_exist
from cds_service.knowledge.loader import FOLDER

KNOWN = load_knowledge()
TERMS = KNOWN.terminology
SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
HL7 = "http://terminology.hl7.org/CodeSystem/"
IPS = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"
ICD10, ATC = "http://hl7.org/fhir/sid/icd-10-cm", "http://www.whocc.no/atc"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
GERMAN, CHINESE = "http://fhir.de/CodeSystem/bfarm/icd-10-gm", "urn:oid:2.16.156.10011.2.3.3.11.5"


def says(system: str, code: str) -> frozenset[str]:
    return TERMS.codings_of([{"system": system, "code": code}]).says


def hints(system: str, code: str) -> frozenset[str]:
    return TERMS.codings_of([{"system": system, "code": code}]).hints


def named(domain: str, text: str) -> set[str]:
    return {concept for concept, _, _ in TERMS.meaning_of_text(domain, text)}


# ---- Check digits


def luhn(code: str) -> bool:
    """LOINC: Luhn over the digits before the hyphen (written anew here, so that two must agree)."""
    number, _, check = code.partition("-")
    digits = [int(digit) for digit in number[::-1]]
    total = sum(sum(divmod(digit * 2, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits))
    return (total + int(check)) % 10 == 0


def verhoeff(code: str) -> bool:
    """SNOMED CT: Verhoeff, from the dihedral group itself rather than from its table."""

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
        return 5 + (a - b) % 5 if b < 5 else (a - b) % 5

    turns = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    state = 0
    for place, digit in enumerate(int(sign) for sign in reversed(code)):
        for _ in range(place):
            digit = turns[digit]  # noqa: PLW2901
        state = times(state, digit)
    return state == 0


def shipped(column: str) -> Iterator[tuple[str, str]]:
    """(concept, code) of every code of a system that stands in a value set or in a table."""
    for path in sorted((FOLDER / "value_sets").glob("*.toml")):
        for row in tomllib.loads(path.read_text(encoding="utf-8")).get("concept", ()):
            for code in row.get(column, ()):
                yield row["name"], code
    if column == "snomed":
        yield from ((protocol.id, protocol.snomed) for protocol in KNOWN.protocols.protocol)
    for code in _codes(tomllib.loads((FOLDER / "tables" / "orders.toml").read_text(encoding="utf-8"))):
        if code.get("system") == column:
            yield code.get("label", "an order"), code["code"]


def _codes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        if isinstance(value.get("code"), str):
            yield value
        for member in value.values():
            yield from _codes(member)
    elif isinstance(value, list):
        for member in value:
            yield from _codes(member)


def test_every_loinc_code_passes_its_check_digit() -> None:
    codes = [(name, code) for name, code in shipped("loinc") if not code.startswith(("LA", "LL"))]

    assert len(codes) > 60
    assert [pair for pair in codes if not luhn(pair[1])] == []


def test_every_snomed_code_passes_its_check_digit() -> None:
    codes = list(shipped("snomed"))

    assert len(codes) > 200
    assert [pair for pair in codes if not verhoeff(pair[1])] == []


@pytest.mark.parametrize("code", ["99046-5", "71354-5", "71353-7", "8480-6", "29463-7"])
def test_a_loinc_code_with_any_other_last_digit_cannot_exist(code: str) -> None:
    number, right = code.split("-")

    assert [digit for digit in "0123456789" if could_exist("loinc", f"{number}-{digit}")] == [right]


@pytest.mark.parametrize("code", ["230690007", "398254007", "373464007", "58703003", "10743741000119103"])
def test_a_snomed_code_with_a_slip_of_the_pen_cannot_exist(code: str) -> None:
    assert could_exist("snomed", code)
    for place, right in enumerate(code):
        for wrong in set("0123456789") - {right}:
            assert not could_exist("snomed", code[:place] + wrong + code[place + 1 :])
    for place in range(len(code) - 1):
        swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
        assert swapped == code or not could_exist("snomed", swapped)


@pytest.mark.parametrize("code", ["386833004", "767136007", "294491003", "1156248006"])
def test_codes_that_were_seen_and_fail_their_check_digit_cannot_exist(code: str) -> None:
    assert not could_exist("snomed", code)
    assert not verhoeff(code)


# ---- Codes that are not what they seem


def test_no_forbidden_code_stands_in_a_value_set() -> None:
    table = tomllib.loads((FOLDER / "value_sets" / "do_not_use.toml").read_text(encoding="utf-8"))
    forbidden = {(row["system"], row["code"]) for row in table["forbidden"]}
    used = {(column, code) for column in {system for system, _ in forbidden} for _, code in shipped(column)}
    oids = {
        ("value set", oid)
        for path in (FOLDER / "value_sets").glob("*.toml")
        for row in tomllib.loads(path.read_text(encoding="utf-8")).get("concept", ())
        for oid in row.get("expansions", ())
    }

    assert len(forbidden) > 30
    assert not forbidden & (used | oids)


MEANS = [
    # ICD-10-CM, poisoning: the sixth sign 5 is an adverse effect, 6 is underdosing. Neither is intoxication.
    ("T40.601A", "intoxication_or_withdrawal", True),
    ("T40.2X1A", "intoxication_or_withdrawal", True),
    ("T40.2X5A", "intoxication_or_withdrawal", False),
    ("T40.2X6A", "intoxication_or_withdrawal", False),
    ("T43.621A", "intoxication_or_withdrawal", True),
    ("T43.625A", "intoxication_or_withdrawal", False),
    ("T43.626D", "intoxication_or_withdrawal", False),
    ("T43.601A", "intoxication_or_withdrawal", True),
    # Injury: the seventh sign S is a sequela.
    ("S06.0X0A", "head_injury", True),
    ("S06.0X0S", "head_injury", False),
    ("S06.5X9D", "head_injury", True),
    ("S02.0XXA", "head_injury", True),
    ("S02.0XXS", "head_injury", False),
    # Depression in remission is a history of depression, and no psychosis.
    ("F32.4", "depressive_disorder", True),
    ("F32.5", "depressive_disorder", True),
    ("F33.42", "depressive_disorder", True),
    ("F32.4", "psychosis", False),
    ("F32.3", "psychosis", True),
    ("F53.0", "postpartum_depression", True),
    ("F53.1", "postpartum_psychosis", True),
    ("F53.0", "postpartum_psychosis", False),
    # Transient global amnesia is no TIA.
    ("G45.4", "intracerebral_haemorrhage_or_stroke", False),
    ("G45.9", "intracerebral_haemorrhage_or_stroke", True),
    ("Z86.73", "intracerebral_haemorrhage_or_stroke", True),
    ("I63.9", "intracerebral_haemorrhage_or_stroke", True),
    # Liver disorders of pregnancy: all of O26.6, the cholestasis among them, with its trimester.
    ("O26.64", "moderate_liver_disease", True),
    ("O26.643", "moderate_liver_disease", True),
    ("O26.613", "moderate_liver_disease", True),
    # Combat stress is no history of a mental disorder here.
    ("Z86.51", "depressive_disorder", False),
    ("Z86.51", "post_traumatic_stress", False),
    ("Z86.59", "depressive_disorder", True),
    # Remission is remission.
    ("F11.21", "substance_use_in_remission", True),
    ("F14.21", "substance_use_in_remission", True),
    ("F14.20", "substance_use_in_remission", False),
    ("F14.20", "ketamine_or_stimulant_use", True),
    # Pre-eclampsia with all its endings, and not gestational hypertension.
    ("O14.13", "pre_eclampsia", True),
    ("O11.9", "pre_eclampsia", True),
    ("O13.3", "pre_eclampsia", False),
    ("O13.3", "hypertension", True),
]


@pytest.mark.parametrize(("code", "concept", "meant"), MEANS)
def test_an_icd_code_means_what_it_says(code: str, concept: str, meant: bool) -> None:
    undotted = code.replace(".", "")

    for told in (code, undotted, code.lower(), undotted.lower()):
        assert (concept in says(ICD10, told)) is meant, told


DRUGS = [
    ("N05AN01", {"mood_stabiliser"}, {"antipsychotic"}),
    ("N05AH04", {"antipsychotic"}, {"mood_stabiliser"}),
    ("N06AX27", {"esketamine", "esketamine_nasal"}, {"antidepressant", "ketamine"}),
    ("N01AX14", {"esketamine"}, {"ketamine", "esketamine_nasal"}),
    ("N01AX03", {"ketamine"}, {"esketamine"}),
    ("N06AB06", {"antidepressant"}, {"antipsychotic"}),
    ("N06AX21", {"antidepressant"}, set()),
    ("R03DA05", {"xanthine"}, set()),
    ("G02AB01", {"ergot"}, {"oxytocin"}),
    ("N06AF03", {"mao_inhibitor", "antidepressant"}, set()),
    ("J01XX08", {"mao_inhibitor"}, {"antidepressant"}),
]


@pytest.mark.parametrize(("code", "yes", "no"), DRUGS, ids=[row[0] for row in DRUGS])
def test_an_atc_code_means_what_it_says(code: str, yes: set[str], no: set[str]) -> None:
    meant = says(ATC, code)

    assert yes <= meant
    assert not no & meant


def test_the_two_ketamines_are_told_apart_by_rxnorm() -> None:
    assert "ketamine" in says(RXNORM, "6130")
    assert "esketamine" not in says(RXNORM, "6130")
    assert "esketamine" in says(RXNORM, "2119365")
    assert "ketamine" not in says(RXNORM, "2119365")
    assert says(RXNORM, "6103") == says(RXNORM, "2284670") == frozenset()


# ---- Code systems as EHRs send them

SYSTEMS = [
    (SNOMED, "urn:oid:2.16.840.1.113883.6.96", "230690007", "intracerebral_haemorrhage_or_stroke"),
    (LOINC, "urn:oid:2.16.840.1.113883.6.1", "99046-5", "epds_total"),
    (ICD10, "urn:oid:2.16.840.1.113883.6.90", "O14.13", "pre_eclampsia"),
    (RXNORM, "urn:oid:2.16.840.1.113883.6.88", "6130", "ketamine"),
    (ATC, "urn:oid:2.16.840.1.113883.6.73", "N01AX03", "ketamine"),
    (ICD10, "http://hl7.org/fhir/sid/icd-10", "I63.9", "intracerebral_haemorrhage_or_stroke"),
    (ICD10, ICD10 + "/", "O14.13", "pre_eclampsia"),
    (SNOMED, SNOMED + "/", "230690007", "intracerebral_haemorrhage_or_stroke"),
    (ICD10, GERMAN, "O14.1", "pre_eclampsia"),
    (ICD10, "http://fhir.de/CodeSystem/dimdi/icd-10-gm", "O14.1", "pre_eclampsia"),
    (ICD10, "http://hl7.org/fhir/sid/icd-10-de", "O14.1", "pre_eclampsia"),
    (ICD10, CHINESE, "O14.1", "pre_eclampsia"),
]


@pytest.mark.parametrize(("url", "oid", "code", "concept"), SYSTEMS, ids=[f"{row[1]} {row[2]}" for row in SYSTEMS])
def test_a_code_system_is_known_by_both_its_names(url: str, oid: str, code: str, concept: str) -> None:
    assert concept in says(url, code)
    assert says(oid, code) == says(url, code)


@pytest.mark.parametrize("system", [None, "", "SNOMED", "http://snomed.info/sct/x", 12, "http://example.org"])
def test_a_code_of_another_system_means_nothing(system: object) -> None:
    assert TERMS.codings_of([{"system": system, "code": "230690007"}]).says == frozenset()


@pytest.mark.parametrize("code", [None, 230690007, True, [], {}, ["230690007"]])
def test_a_code_that_is_no_text_means_nothing(code: object) -> None:
    assert TERMS.codings_of([{"system": SNOMED, "code": code}, "230690007", None, 7]).says == frozenset()


FINER = [
    # What the category of WHO's means, each finer code of a national ICD-10 means: it stands in no list of ours.
    (GERMAN, "I67.10", "vascular_aneurysm", True),
    (GERMAN, "G45.92", "intracerebral_haemorrhage_or_stroke", True),
    (GERMAN, "O14.1", "pre_eclampsia", True),
    (GERMAN, "O13", "pre_eclampsia", False),
    (CHINESE, "I67.100", "vascular_aneurysm", True),
    (CHINESE, "O14.100x001", "pre_eclampsia", True),
    (CHINESE, "O13.x00", "pre_eclampsia", False),
    (GERMAN, "O85", "sepsis", True),
    (GERMAN, "O86.0", "sepsis", False),
    # The American one has a list of its own, and its codes mean what stands there.
    (ICD10, "I67.10", "vascular_aneurysm", False),
]


@pytest.mark.parametrize(("system", "code", "concept", "meant"), FINER)
def test_a_code_that_is_finer_than_whos_means_what_stands_above_it(
    system: str, code: str, concept: str, meant: bool
) -> None:
    assert (concept in says(system, code)) is meant


UNTOLD = [
    (HL7 + "data-absent-reason", "unknown", True),
    (HL7 + "data-absent-reason", "masked", True),
    (HL7 + "data-absent-reason", "a code of the next edition", True),
    ("http://hl7.org/fhir/data-absent-reason", "asked", True),
    (HL7 + "v3-NullFlavor", "UNK", True),
    ("http://hl7.org/fhir/v3/NullFlavor", "MSK", True),
    ("urn:oid:2.16.840.1.113883.5.1008", "NASK", True),
    (IPS, "no-allergy-info", True),
    (IPS, "no-problem-info", True),
    ("urn:oid:2.16.840.1.113883.5.1150.1", "no-problem-info", True),
    (SNOMED, "1631000175102", True),
    # It is told, only not by a code.
    (HL7 + "v3-NullFlavor", "OTH", False),
    (HL7 + "data-absent-reason", "as-text", False),
    # It is told that there is none.
    (IPS, "no-known-allergies", False),
    (IPS, "no-known-problems", False),
    (SNOMED, "716186003", False),
    (HL7 + "condition-category", "unknown", False),
    ("http://example.org", "unknown", False),
]


@pytest.mark.parametrize(("system", "code", "untold"), UNTOLD)
def test_a_reason_why_a_thing_is_not_told_says_nothing(system: str, code: str, untold: bool) -> None:
    assert TERMS.is_untold({"system": system, "code": code}) is untold


@pytest.mark.parametrize("coding", [None, "masked", [], {}, {"code": "masked"}, {"system": 7, "code": "masked"}])
def test_what_is_no_coding_is_no_reason_either(coding: object) -> None:
    assert TERMS.is_untold(coding) is False
    assert TERMS.is_known(coding) is False


KNOWN_OR_NOT = [
    (SNOMED, "1", True),
    (SNOMED, " ", False),
    (SNOMED, "1631000175102", False),
    (HL7 + "v3-NullFlavor", "OTH", False),
    (IPS, "no-known-problems", True),
    ("http://example.org", "1", False),
]


@pytest.mark.parametrize(("system", "code", "known"), KNOWN_OR_NOT)
def test_a_code_is_known_by_its_system_if_it_is_one_of_a_thing(system: str, code: str, known: bool) -> None:
    assert TERMS.is_known({"system": system, "code": code}) is known


# ---- Words


def test_esketamine_in_words_is_not_ketamine() -> None:
    assert named("medicines", "Esketamine 5 mg/mL") == {"esketamine"}
    assert named("medicines", "S-ketamine") == {"esketamine"}
    assert named("medicines", "KETAMINE 500 mg/10 mL injection") == {"ketamine"}
    assert "esketamine_nasal" in named("medicines", "Spravato 28 mg")
    assert named("medicines", "Ketoprofen") == set()


TONGUES = [
    ("Ketamin 50 mg/ml", {"ketamine"}),
    ("Ketamin-ratiopharm", {"ketamine"}),
    ("Ketamina", {"ketamine"}),
    ("Cetamina", {"ketamine"}),
    ("Kétamine", {"ketamine"}),
    ("Ketamiini", {"ketamine"}),
    ("氯胺酮", {"ketamine"}),
    ("盐酸氯胺酮注射液", {"ketamine"}),
    ("Esketamin", {"esketamine"}),
    ("S-Ketamin", {"esketamine"}),
    ("Ketanest", {"esketamine"}),
    ("Ketanest S 25 mg/ml", {"esketamine"}),
    ("Esketamina", {"esketamine"}),
    ("Escetamina", {"esketamine"}),
    ("Eskétamine", {"esketamine"}),
    ("Esketamiini", {"esketamine"}),
    ("艾司氯胺酮", {"esketamine"}),
    ("盐酸艾司氯胺酮注射液 5mg/ml", {"esketamine"}),
    ("Ketaminsäure", set()),
    ("胺酮", set()),
]


@pytest.mark.parametrize(("text", "means"), TONGUES, ids=[row[0] for row in TONGUES])
def test_the_two_ketamines_are_known_and_told_apart_in_other_tongues(text: str, means: set[str]) -> None:
    assert named("medicines", text) == means


def test_a_word_may_stand_between_chinese_letters() -> None:
    assert named("conditions", "HELLP综合征") == {"pre_eclampsia"}
    assert named("conditions", "xHELLP") == set()


def test_a_concept_comes_once_for_each_place_where_it_is_named() -> None:
    found = TERMS.meaning_of_text("conditions", "No HELLP; now HELLP")

    assert [(concept, at) for concept, at, _ in found] == [("pre_eclampsia", 3), ("pre_eclampsia", 14)]


@pytest.mark.parametrize("text", ["Unknown", " UNKNOWN. ", "- unknown -", "not asked", "Masked"])
def test_words_that_are_all_of_a_text(text: str) -> None:
    assert TERMS.is_all_of(text, "allergies", "says_nothing")


@pytest.mark.parametrize("text", ["Masked hypertension", "Unknown rash", "", "NKDA"])
def test_words_that_are_not_all_of_a_text(text: str) -> None:
    assert not TERMS.is_all_of(text, "allergies", "says_nothing")


# The words of a problem without a code, and the facts that it makes.
PROBLEMS = [
    ("Pre-eclampsia", {"pre_eclampsia"}),
    ("Preeclampsia, severe", {"pre_eclampsia"}),
    ("PREECLAMPSIA", {"pre_eclampsia"}),
    ("No pre-eclampsia", set()),
    ("no signs of pre-eclampsia", set()),
    ("Risk of preeclampsia", set()),
    ("Screening for pre-eclampsia", set()),
    ("Family history of stroke", set()),
    ("FH: stroke", set()),
    ("Mother had a stroke", set()),
    ("Denies stroke", set()),
    ("History of stroke", {"haemorrhage_or_stroke"}),
    ("Stroke, 2019", {"haemorrhage_or_stroke"}),
    ("Pregnancy no. 2 with preeclampsia", {"pre_eclampsia"}),
    ("History of postpartum depression", {"postpartum_depression", "depressive_disorder"}),
    ("Prevention of postpartum depression", set()),
    ("Past suicide attempt", {"suicide_attempt"}),
    ("Previous epilepsy", {"seizure_disorder"}),
    ("Sprained ankle", set()),
]
# What words leave open is read as a warning.
IN_DOUBT = [
    ("Pre-eclampsia ruled out", {"pre_eclampsia"}),
    ("Heat stroke", {"haemorrhage_or_stroke"}),
    ("No pre-eclampsia at booking; severe pre-eclampsia", {"pre_eclampsia"}),
]
# The concept, a denial or a past before it, and what stands between them: nobody can tell whether it reaches so far.
UNCLEAR = [
    ("No proteinuria, preeclampsia with severe features", "pre_eclampsia"),
    ("No labour - preeclampsia", "pre_eclampsia"),
    ("No labour (severe preeclampsia)", "pre_eclampsia"),
    ("Denies headache/preeclampsia", "pre_eclampsia"),
    ("No prenatal care: preeclampsia", "pre_eclampsia"),
    ("No prenatal care and preeclampsia", "pre_eclampsia"),
    ("No prenatal care with preeclampsia", "pre_eclampsia"),
    ("No prenatal care, active cocaine use disorder", "ketamine_or_stimulant_use"),
    ("No hypertension, preeclampsia, or diabetes", "pre_eclampsia"),
    ("Previous LSCS, pre-eclampsia", "pre_eclampsia"),
    ("Previous CS - HELLP syndrome", "pre_eclampsia"),
    ("Prior c-section, active sepsis", "sepsis"),
    ("Prior c-section and sepsis", "sepsis"),
]
# The same words with nothing between them.
CLEAR = [
    ("No proteinuria or preeclampsia", "pre_eclampsia", State.ABSENT),
    ("No: preeclampsia", "pre_eclampsia", State.ABSENT),
    ("Family history: stroke", "haemorrhage_or_stroke", State.ABSENT),
    ("Previous pregnancy with pre-eclampsia", "pre_eclampsia", State.ABSENT),
    ("History of: pre-eclampsia", "pre_eclampsia", State.ABSENT),
    ("Prior sepsis", "sepsis", State.ABSENT),
    # Past or not: "ever" is true of both.
    ("Previous LSCS, depression", "depressive_disorder", State.PRESENT),
    ("Previous LSCS, stroke", "haemorrhage_or_stroke", State.PRESENT),
]
LOOKED_FOR = frozenset().union(*(found for _, found in PROBLEMS)) | {"suicidal_ideation"}


@pytest.mark.parametrize(("text", "found"), [*PROBLEMS, *IN_DOUBT], ids=[row[0] for row in (*PROBLEMS, *IN_DOUBT)])
def test_a_problem_in_words_is_read_as_a_person_would(
    text: str, found: set[str], now: datetime, advisor_of: AdvisorOf
) -> None:
    facts = read_with({"text": text}, now, advisor_of)

    assert {name for name in LOOKED_FOR if facts[name].state is State.PRESENT} == found


@pytest.mark.parametrize(("text", "fact"), UNCLEAR, ids=[row[0] for row in UNCLEAR])
def test_a_denial_or_a_past_that_another_statement_may_follow_leaves_open(
    text: str, fact: str, now: datetime, advisor_of: AdvisorOf
) -> None:
    assert read_with({"text": text}, now, advisor_of)[fact].state is State.UNKNOWN


@pytest.mark.parametrize(("text", "fact", "state"), CLEAR, ids=[row[0] for row in CLEAR])
def test_a_denial_or_a_past_right_before_a_name_is_one(
    text: str, fact: str, state: State, now: datetime, advisor_of: AdvisorOf
) -> None:
    assert read_with({"text": text}, now, advisor_of)[fact].state is state


BESIDE = [
    ("Z34.93", "High-risk pregnancy: severe preeclampsia", "pre_eclampsia", State.UNKNOWN),
    ("D64.9", "Anaemia, severe preeclampsia", "pre_eclampsia", State.UNKNOWN),
    ("O09.93", "High-risk pregnancy, cerebral aneurysm", "vascular_aneurysm", State.UNKNOWN),
    ("O09.93", "High-risk pregnancy, no preeclampsia", "pre_eclampsia", State.ABSENT),
    ("O09.93", "High-risk pregnancy, history of preeclampsia", "pre_eclampsia", State.ABSENT),
    ("O09.93", "High-risk pregnancy, history of stroke", "haemorrhage_or_stroke", State.UNKNOWN),
    ("O09.93", "Family history of stroke", "haemorrhage_or_stroke", State.ABSENT),
    # Words that the code explains say nothing new.
    ("I27.0", "Primary pulmonary hypertension", "hypertension", State.ABSENT),
    ("O13.3", "Gestational hypertension without significant proteinuria", "pre_eclampsia", State.ABSENT),
]


@pytest.mark.parametrize(("code", "text", "fact", "state"), BESIDE, ids=[f"{row[0]} {row[1]}" for row in BESIDE])
def test_words_beside_a_code_hint_at_what_it_does_not_say(
    code: str, text: str, fact: str, state: State, now: datetime, advisor_of: AdvisorOf
) -> None:
    facts = read_with({"coding": [{"system": ICD10, "code": code}], "text": text}, now, advisor_of)

    assert facts[fact].state is state


def test_a_code_that_says_something_outweighs_what_it_is_displayed_by(now: datetime, advisor_of: AdvisorOf) -> None:
    displayed = {"coding": [{"system": SNOMED, "code": "398254007", "display": "Stroke"}]}

    facts = read_with(displayed, now, advisor_of)

    assert facts["pre_eclampsia"].state is State.PRESENT
    assert facts["haemorrhage_or_stroke"].state is State.ABSENT


def test_words_beside_a_code_that_say_something_else_leave_it_open(now: datetime, advisor_of: AdvisorOf) -> None:
    both = {"coding": [{"system": SNOMED, "code": "398254007", "display": "Stroke"}], "text": "Stroke"}

    facts = read_with(both, now, advisor_of)

    assert facts["pre_eclampsia"].state is State.PRESENT
    assert facts["haemorrhage_or_stroke"].state is State.UNKNOWN


def test_a_code_that_says_too_little_is_neither_yes_nor_no(now: datetime, advisor_of: AdvisorOf) -> None:
    facts = read_with({"coding": [{"system": SNOMED, "code": "698247007"}]}, now, advisor_of)

    assert facts["significant_arrhythmia"].state is State.UNKNOWN


def read_with(code: Json, now: datetime, advisor_of: AdvisorOf) -> Facts:
    """The facts of a woman who has this problem, and is well otherwise."""
    (case,) = [case for case in read_cases() if case.id == "V01"]
    advisor = advisor_of(case)
    request = request_for(case, now, advisor.discovery())
    problems = request["prefetch"]["problems"]
    problems["total"] += 1
    problems["entry"].append(
        {
            "resource": {
                "resourceType": "Condition",
                "id": "in-words",
                "clinicalStatus": {"coding": [{"code": "active"}]},
                "code": code,
                "subject": {"reference": f"Patient/{request['context']['patientId']}"},
            }
        }
    )
    parsed = parse_request(json.loads(json.dumps(request)))
    return advisor.consult(parsed, gather(parsed, advisor.sources), now).facts
