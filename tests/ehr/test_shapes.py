"""Every shape in which a screen may stand in a chart, what is read from it, and that no shape changes an outcome."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from ehr import request_for, service_for
from encoding import DANISH, EPDS_ITEMS, GAD7_ITEMS, PHQ9_ITEMS, PHQ_ANSWERS, Case, encode, read_cases, site_of
from fhir.resources.R4B import get_fhir_model_class
from flask.testing import FlaskClient
from shapes import AXES, possible, sent, told_otherwise

from cds_service.advisor import Advice, Advisor
from cds_service.clinical.facts import State
from cds_service.clinical.screening import Form
from cds_service.ehr.reading import screens
from cds_service.ehr.reading.screens import wanted_questionnaires
from cds_service.hooks.request import HookRequest, parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

Json = dict[str, Any]

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
V3 = "http://terminology.hl7.org/CodeSystem/v3-"
EXTENSION = "http://hl7.org/fhir/StructureDefinition/"
HER, NOON = {"reference": "Patient/her"}, "2026-11-23T11:00:00Z"
URL = "https://forms.example.org/Questionnaire/mood"

# One woman's ten answers: they sum to 13, and she answered item 10 with 1. No two orders of them look alike.
ANSWERS = dict(enumerate((1, 2, 0, 3, 2, 1, 0, 2, 1, 1), start=1))
# Her nine answers of the PHQ-9 sum to 12, her seven of the GAD-7 to 11.
PHQ9 = dict(enumerate((2, 1, 3, 0, 2, 1, 1, 2, 0), start=1))
GAD7 = dict(enumerate((2, 1, 3, 0, 2, 1, 2), start=1))


# ---- How an EHR writes it


def loinc(*codes: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code} for code in codes]}


def observation(name: str, code: Json, **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": code,
        "subject": HER,
        "effectiveDateTime": NOON,
    } | more


def total(code: Json | str = "99046-5", **value: Any) -> Json:
    return observation("total", loinc(code) if isinstance(code, str) else code, **(value or {"valueInteger": 13}))


def item(number: int, codes: tuple[str, ...] = EPDS_ITEMS, **value: Any) -> Json:
    value = value or {"valueInteger": ANSWERS[number]}
    return observation(f"item-{number}", loinc(codes[number - 1]), **value)


ITEM_10 = item(10)
ITEMS = [item(number) for number in ANSWERS]


def undated(*observations: Json) -> list[Json]:
    return [{name: value for name, value in one.items() if name != "effectiveDateTime"} for one in observations]


def panel(*members: Json, code: str = "71354-5", **more: Any) -> Json:
    named = [{"reference": f"Observation/{one['id']}"} for one in members]
    return observation("panel", loinc(code), **({"hasMember": named} if named else {}), **more)


def component(code: str, **value: Any) -> Json:
    return {"code": loinc(code), **value}


def response(*answers: Json, **more: Any) -> Json:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "form",
        "status": "completed",
        "questionnaire": URL,
        "subject": HER,
        "authored": NOON,
        "item": list(answers),
    } | more


def answer(link: str, *given: Json, **value: Any) -> Json:
    return {"linkId": link, "answer": list(given) or [value]}


def by_link(pattern: str, scores: dict[int, int] = ANSWERS, *more: Json, **how: Any) -> Json:
    """Plain numbers under linkIds of one pattern."""
    return response(
        *(answer(pattern.format(n=n, nn=f"{n:02}"), valueInteger=score) for n, score in scores.items()), *more, **how
    )


def weight(score: float, name: str = "ordinalValue") -> Json:
    return {"extension": [{"url": EXTENSION + name, "valueDecimal": score}]}


def letter(number: int, score: int) -> str:
    """An answer's code: a letter that is neither its score nor its place."""
    return "wxyz"[(score * 3 + number) % 4]


def lettered(number: int, score: int) -> Json:
    return {"valueCoding": {"system": "https://forms.example.org/answers", "code": letter(number, score)}}


def question(number: int, link: str = "{n}0", *, backwards: bool = False, coded: bool = True, **more: Any) -> Json:
    """A question that scores its answers. They are listed by their letters: a place in the list is no score."""
    options = [lettered(number, score) | weight(score) for score in range(4)]
    options.sort(key=lambda option: option["valueCoding"]["code"], reverse=backwards)
    code = {"code": loinc(EPDS_ITEMS[number - 1])["coding"]} if coded else {}
    return {"linkId": link.format(n=number), "type": "choice", "answerOption": options, **code} | more


def questionnaire(*questions: Json, **more: Any) -> Json:
    asked = list(questions) or [question(number) for number in ANSWERS]
    return {"resourceType": "Questionnaire", "id": "mood", "status": "active", "url": URL, "item": asked} | more


def opaque(**more: Any) -> Json:
    """Coded answers under linkIds that say nothing."""
    return response(*(answer(f"{n}0", lettered(n, score)) for n, score in ANSWERS.items()), **more)


EPDS_CODE = {"code": loinc("71354-5")["coding"]}
DANISH_CODE = {"code": [{"system": SNOMED, "code": "450320001"}]}
DANISH_FORM = response(
    *(answer(name, valueInteger=ANSWERS[n]) for n, name in enumerate(DANISH, 1)), answer("score", valueInteger=13)
)
COPIED = response(
    *(answer(f"epds.q{n}", valueCoding={"code": str(one)} | weight(one)) for n, one in ANSWERS.items()),
    answer("epds.totalScore", valueInteger=13),
)
LHC = [{"linkId": f"/{code}", "answer": [lettered(n, ANSWERS[n])]} for n, code in enumerate(EPDS_ITEMS, 1)]
LHC_ASKED = questionnaire(*(question(n, f"/{code}", coded=False) for n, code in enumerate(EPDS_ITEMS, 1)))


def in_loinc(score: int) -> Json:
    return {"system": LOINC, "code": PHQ_ANSWERS[score]}


def lhc_of(codes: tuple[str, ...], scores: dict[int, int], *more: Json) -> Json:
    told = (answer(f"/{codes[n - 1]}", valueCoding=in_loinc(score)) for n, score in scores.items())
    return response(*told, *more)


# ---- What is read from it


@dataclass(frozen=True)
class Reads:
    """
    One form: its score, how many items were answered, the self-harm answer, and what may be relied on.

    `complete`: it may support a dose. `conflict`: it contradicts itself, and no dose rests on it.
    """

    score: int
    items: int = 10
    self_harm: int | None = 1
    complete: bool = True
    conflict: bool = False


def partly(score: int, items: int, self_harm: int | None = None) -> Reads:
    """A lower bound: it may raise, and never reassures."""
    return Reads(score, items, self_harm, complete=False)


WHOLE = Reads(13)
WITH_ITEM_10 = Reads(13, items=1)
TOTAL_ALONE = partly(13, 0)
UNREAD = partly(0, 0)  # the form is there, and nobody knows what it says: not "none"
NOT_HERS: tuple[Reads, ...] = ()


@dataclass(frozen=True)
class Row:
    """A shape by name, the entries in which it stands, and the forms that are read from them."""

    name: str
    entries: list[Json]
    reads: Reads | tuple[Reads, ...]
    of: str = "epds"

    def __str__(self) -> str:
        return f"{self.of}: {self.name}"

    @property
    def forms(self) -> tuple[Reads, ...]:
        return self.reads if isinstance(self.reads, tuple) else (self.reads,)


QUANTITY = {"valueQuantity": {"value": 13, "unit": "{score}", "system": "http://unitsofmeasure.org", "code": "{score}"}}

ROWS = [
    # -- a total beside item 10
    Row("99046-5, an integer", [total(valueInteger=13), ITEM_10], WITH_ITEM_10),
    Row("99046-5, a quantity", [total(**QUANTITY), ITEM_10], WITH_ITEM_10),
    Row("99046-5, a quantity without a unit", [total(valueQuantity={"value": 13}), ITEM_10], WITH_ITEM_10),
    Row("99046-5, a string", [total(valueString="13"), ITEM_10], WITH_ITEM_10),
    Row("71354-5, an integer", [total("71354-5", valueInteger=13), ITEM_10], WITH_ITEM_10),
    Row("71354-5, a quantity", [total("71354-5", **QUANTITY), ITEM_10], WITH_ITEM_10),
    Row("71354-5, a string", [total("71354-5", valueString="13"), ITEM_10], WITH_ITEM_10),
    Row("SNOMED CT 450320001", [total({"coding": DANISH_CODE["code"]}), ITEM_10], WITH_ITEM_10),
    Row(
        "a code of the site's beside LOINC",
        [total({"coding": [{"system": "urn:oid:1.2.3", "code": "21012954"}, *loinc("99046-5")["coding"]]}), ITEM_10],
        WITH_ITEM_10,
    ),
    Row("the text EPDS, no code", [total({"text": "EPDS"}), ITEM_10], WITH_ITEM_10),
    Row(
        "the words of a code of the site's",
        [
            total({"coding": [{"code": "7", "display": "Edinburgh Postnatal Depression Scale (EPDS) - Total score"}]}),
            ITEM_10,
        ],
        WITH_ITEM_10,
    ),
    Row("words that say more than EPDS", [total({"text": "EPDS item 3"})], ()),
    Row("the words of the partner's form", [total({"text": "EPDS partner total"})], ()),
    Row("a short form's words", [total({"text": "EPDS-3 total"})], ()),
    # -- items, panels
    Row("ten item Observations", ITEMS, WHOLE),
    Row(
        "item Observations, coded, with their scores",
        [
            item(n, valueCodeableConcept={"coding": [lettered(n, score)["valueCoding"] | weight(score)]})
            for n, score in ANSWERS.items()
        ],
        WHOLE,
    ),
    Row(
        "a panel with total and item 10 as components",
        [panel(component=[component("99046-5", valueInteger=13), component("71353-7", valueInteger=1)])],
        WITH_ITEM_10,
    ),
    Row(
        "a panel with ten components",
        [panel(component=[component(EPDS_ITEMS[n - 1], valueInteger=score) for n, score in ANSWERS.items()])],
        WHOLE,
    ),
    Row(
        "a total with item 10 as its component",
        [total() | {"component": [component("71353-7", valueInteger=1)]}],
        WITH_ITEM_10,
    ),
    Row("a panel that names its items", [*ITEMS, panel(*ITEMS)], WHOLE),
    Row("a panel that names its items, and alone has a date", [*undated(*ITEMS), panel(*ITEMS)], WHOLE),
    Row(
        "a panel that names its items and the total",
        [*undated(*ITEMS, total()), panel(*ITEMS, total())],
        WHOLE,
    ),
    Row("a panel whose items did not come", [panel(*ITEMS)], ()),
    # -- a response: plain numbers
    Row("the Danish form: its score is not one of the answers", [DANISH_FORM, questionnaire(**DANISH_CODE)], WHOLE),
    Row("the Danish form without its Questionnaire", [DANISH_FORM], WHOLE),
    Row("epds.q1 to epds.q10, wherever they stand", [by_link("epds.q{n}")], WHOLE),
    Row("epds-item-01 to epds-item-10", [by_link("epds-item-{nn}")], WHOLE),
    Row("bare numbers, and the canonical says EPDS", [by_link("{n}", questionnaire=f"{URL}/EPDS|2")], WHOLE),
    Row("bare numbers, and the code of the form says EPDS", [by_link("q{n}"), questionnaire(**EPDS_CODE)], WHOLE),
    Row(
        "bare numbers, and the title of the form says EPDS",
        [by_link("item-{n}"), questionnaire(title="Edinburgh Postnatal Depression Scale")],
        WHOLE,
    ),
    Row(
        "numbers in item.code's order, not in the list's",
        [
            response(*reversed(by_link("/{n}")["item"])),
            questionnaire(
                *({"linkId": f"/{n}", "code": loinc(EPDS_ITEMS[n - 1])["coding"], "type": "integer"} for n in ANSWERS)
            ),
        ],
        WHOLE,
    ),
    # -- a response: coded answers that carry their scores
    Row(
        "the score on the answer",
        [response(*(one | {"answer": [one["answer"][0] | weight(ANSWERS[n])]} for n, one in enumerate(LHC, 1)))],
        WHOLE,
    ),
    Row(
        "the score on the Coding",
        [
            response(
                *(
                    answer(f"/{EPDS_ITEMS[n - 1]}", valueCoding=lettered(n, score)["valueCoding"] | weight(score))
                    for n, score in ANSWERS.items()
                )
            )
        ],
        WHOLE,
    ),
    Row(
        "itemWeight on the answer",
        [
            response(
                *(
                    answer(f"/{EPDS_ITEMS[n - 1]}", lettered(n, score) | weight(score, "itemWeight"))
                    for n, score in ANSWERS.items()
                )
            )
        ],
        WHOLE,
    ),
    Row(
        "itemWeight on the Coding",
        [
            response(
                *(
                    answer(
                        f"/{EPDS_ITEMS[n - 1]}",
                        valueCoding=lettered(n, score)["valueCoding"] | weight(score, "itemWeight"),
                    )
                    for n, score in ANSWERS.items()
                )
            )
        ],
        WHOLE,
    ),
    Row("a public copy: codes without a system, a total", [COPIED], WHOLE),
    Row(
        "a public copy, its Questionnaire under the code of the total",
        [COPIED, questionnaire({"linkId": "epds.q1", "type": "choice"}, code=loinc("99046-5")["coding"])],
        WHOLE,
    ),
    Row(
        "codes that are digits",
        [response(*(answer(f"epds.q{n}", valueCoding={"code": str(score)}) for n, score in ANSWERS.items()))],
        WHOLE,
    ),
    # -- a response: the scores stand in the Questionnaire alone
    Row("opaque numbers, item.code and scores in the Questionnaire", [opaque(), questionnaire()], WHOLE),
    Row(
        "the answers listed in another order",
        [opaque(), questionnaire(*(question(n, backwards=True) for n in ANSWERS))],
        WHOLE,
    ),
    Row(
        "the weights on the listed Codings",
        [
            opaque(),
            questionnaire(
                *(
                    question(n)
                    | {
                        "answerOption": [
                            {"valueCoding": lettered(n, score)["valueCoding"] | weight(score, "itemWeight")}
                            for score in range(4)
                        ]
                    }
                    for n in ANSWERS
                )
            ),
        ],
        WHOLE,
    ),
    Row(
        "numbers that the Questionnaire weighs otherwise",
        [
            by_link("{n}0", {n: 4 - score for n, score in ANSWERS.items()}),
            questionnaire(
                *(
                    question(n, answerOption=[{"valueInteger": 4 - score} | weight(score) for score in range(4)])
                    for n in ANSWERS
                )
            ),
        ],
        WHOLE,
    ),
    Row("contained", [opaque(questionnaire="#mood", contained=[questionnaire()])], WHOLE),
    Row("by url and version", [opaque(questionnaire=f"{URL}|1.0"), questionnaire(version="1.0")], WHOLE),
    Row("by url, in another version only", [opaque(questionnaire=f"{URL}|1.0"), questionnaire(version="1.1")], WHOLE),
    Row("by Questionnaire/id", [opaque(questionnaire="Questionnaire/mood"), questionnaire(url="urn:x")], WHOLE),
    Row(
        "by the address of its id",
        [opaque(questionnaire="https://ehr.example.org/fhir/Questionnaire/mood"), questionnaire(url="urn:x")],
        WHOLE,
    ),
    Row(
        "of two versions, the one that was answered",
        [
            opaque(questionnaire=f"{URL}|2"),
            questionnaire(*(question(n) for n in reversed(ANSWERS)), id="a", version="1"),
            questionnaire(id="b", version="2"),
            questionnaire(*(question(11 - n, f"{n}0") for n in ANSWERS), id="c", version="3"),
        ],
        WHOLE,
    ),
    Row(
        "of two versions that score differently, nobody knows which",
        [
            opaque(questionnaire=f"{URL}/EPDS"),
            questionnaire(id="b", version="2", url=f"{URL}/EPDS"),
            questionnaire(*(question(11 - n, f"{n}0") for n in ANSWERS), id="c", version="3", url=f"{URL}/EPDS"),
        ],
        UNREAD,
    ),
    Row(
        "LHC-Forms: the code in the linkId, the total in the form",
        [response(*LHC, answer("/99046-5", valueDecimal=13)), LHC_ASKED],
        WHOLE,
    ),
    Row("LHC-Forms: below a group", [response({"linkId": "/71354-5", "item": LHC}), LHC_ASKED], WHOLE),
    Row(
        "items below another form's answers",
        [response({"linkId": "visit", "answer": [{"valueBoolean": True, "item": by_link("epds.q{n}")["item"]}]})],
        WHOLE,
    ),
    # -- whose form
    Row("the father's, in her chart", [DANISH_FORM | {"subject": {"reference": "Patient/father"}}], NOT_HERS),
    Row("answered by another patient", [DANISH_FORM | {"source": {"reference": "Patient/father"}}], NOT_HERS),
    Row("answered by a relative", [DANISH_FORM | {"source": {"reference": "RelatedPerson/father"}}], NOT_HERS),
    Row(
        "answered by a relative inside the response",
        [
            DANISH_FORM
            | {
                "contained": [{"resourceType": "RelatedPerson", "id": "he", "patient": HER}],
                "source": {"reference": "#he"},
            }
        ],
        NOT_HERS,
    ),
    Row(
        "answered by a relative, by type",
        [DANISH_FORM | {"source": {"reference": "urn:uuid:0f1e", "type": "RelatedPerson"}}],
        NOT_HERS,
    ),
    Row(
        "answered by nobody can tell whom",
        [DANISH_FORM | {"source": {"reference": "urn:uuid:0f1e"}}],
        partly(13, 10, 1),
    ),
    Row(
        "answered by herself",
        [DANISH_FORM | {"source": {"reference": "https://ehr.example.org/fhir/Patient/her"}}],
        WHOLE,
    ),
    Row("written down by a midwife", [DANISH_FORM | {"source": {"reference": "Practitioner/midwife"}}], WHOLE),
    Row(
        "a total taken from the father's response",
        [
            DANISH_FORM | {"source": {"reference": "RelatedPerson/father"}},
            total() | {"derivedFrom": [{"reference": "QuestionnaireResponse/form"}]},
        ],
        NOT_HERS,
    ),
    Row("a total that a relative gave", [total() | {"performer": [{"reference": "RelatedPerson/father"}]}], NOT_HERS),
    Row("the partner's form, filled in by her", [by_link("epds.q{n}", questionnaire=f"{URL}/EPDS-P")], NOT_HERS),
    Row("a total of the newborn's", [total() | {"subject": {"reference": "Patient/newborn"}}], NOT_HERS),
    Row("a total about the newborn", [total() | {"focus": [{"reference": "Patient/newborn"}]}], NOT_HERS),
    # -- forms that contradict themselves: the higher counts, and no dose
    Row("a stated total below the items", [*ITEMS, total(valueInteger=9)], Reads(13, conflict=True)),
    Row("a stated total above the items", [*ITEMS, total(valueInteger=15)], Reads(15, conflict=True)),
    Row(
        "a total in the form that differs",
        [response(*DANISH_FORM["item"][:10], answer("score", valueInteger=10)), questionnaire(**DANISH_CODE)],
        Reads(13, conflict=True),
    ),
    Row("a stated total that cannot be one", [*ITEMS, total(valueInteger=31)], Reads(13, conflict=True)),
    Row(
        "two totals in one form",
        [total(valueInteger=12), observation("other", loinc("71354-5"), valueInteger=14), ITEM_10],
        Reads(14, items=1, conflict=True),
    ),
    Row(
        "an item that is told twice",
        [*ITEMS, observation("again", loinc("71353-7"), valueInteger=2)],
        Reads(14, self_harm=2, conflict=True),
    ),
    # -- forms that are not whole
    Row("eight of ten items", [item(n) for n in range(1, 9)], partly(11, 8)),
    Row(
        "nine of ten in a response",
        [by_link("epds.q{n}", {n: s for n, s in ANSWERS.items() if n != 4})],
        partly(10, 9, 1),
    ),
    Row("a total without item 10", [total()], TOTAL_ALONE),
    Row("item 10 without a total", [ITEM_10], partly(1, 1, 1)),
    Row("in progress", [DANISH_FORM | {"status": "in-progress"}], partly(13, 10, 1)),
    Row(
        "in progress, and a panel that names it",
        [DANISH_FORM | {"status": "in-progress"}, panel(derivedFrom=[{"reference": "QuestionnaireResponse/form"}])],
        partly(13, 10, 1),
    ),
    Row("preliminary", [total() | {"status": "preliminary"}], ()),
    Row("entered in error", [DANISH_FORM | {"status": "entered-in-error"}], ()),
    Row("amended", [DANISH_FORM | {"status": "amended"}], WHOLE),
    # -- scores that are none
    Row("a total of 31", [total(valueInteger=31)], UNREAD),
    Row("a total of -1", [total(valueInteger=-1)], UNREAD),
    Row("a total of 14.5", [total(valueQuantity={"value": 14.5})], UNREAD),
    Row('a total of "14/30"', [total(valueString="14/30"), ITEM_10], partly(1, 1, 1)),
    Row("a total of at least 13", [total(valueQuantity={"value": 13, "comparator": ">="})], UNREAD),
    Row("a total in kilograms", [total(valueQuantity={"value": 13, "unit": "kg"})], UNREAD),
    Row("a total in words", [total(valueString="low risk")], UNREAD),
    Row(
        "a total that was declined", [observation("total", loinc("99046-5"), dataAbsentReason={"text": "declined"})], ()
    ),
    Row("an item of 4", [*ITEMS[:9], item(10, valueInteger=4)], partly(12, 9)),
    Row(
        "an item of 4 that is 0 elsewhere",
        [*ITEMS[:9], item(10, valueInteger=4), observation("again", loinc("71353-7"), valueInteger=0)],
        partly(12, 9),
    ),
    Row("coded answers, and no Questionnaire", [response(*LHC)], UNREAD),
    Row(
        "coded answers that the Questionnaire does not weigh",
        [opaque(), questionnaire(*(question(n, answerOption=[]) for n in ANSWERS))],
        UNREAD,
    ),
    Row(
        "a digit that is none of the answers that are weighed",
        [response(*LHC[:9], answer("/71353-7", valueCoding={"code": "0"})), LHC_ASKED],
        partly(12, 9),
    ),
    Row(
        "two answers to one question",
        [response(*LHC[:9], answer("/71353-7", lettered(10, 0), lettered(10, 1))), LHC_ASKED],
        partly(12, 9),
    ),
    Row(
        "weights that contradict each other",
        [
            response(
                *LHC[:9],
                answer("/71353-7", valueCoding={"code": "0", "extension": [weight(s)["extension"][0] for s in (0, 3)]}),
            ),
            LHC_ASKED,
        ],
        partly(12, 9),
    ),
    Row("half a point", [response(answer("/71353-7", valueCoding={"code": "1"} | weight(0.5)))], UNREAD),
    Row(
        "an answer code of the PHQ-9: it may be another score here",
        [item(1, valueCodeableConcept={"coding": [in_loinc(0)]})],
        UNREAD,
    ),
    # -- what an answer is about is not sure
    Row("epds.q1 is not epds.q10", [response(answer("epds.q1", valueInteger=3))], partly(3, 1)),
    Row("a bare 10 in a form that nobody named", [by_link("{n}")], ()),
    Row(
        "the other Edinburgh inventory",
        [by_link("{n}", questionnaire="https://x.org/Questionnaire/edinburgh-handedness")],
        (),
    ),
    Row(
        "a server that is called EPDS",
        [by_link("{n}", questionnaire="https://epds.example.org/Questionnaire/diet")],
        (),
    ),
    Row("bare numbers that go on to 11", [by_link("{n}", {**ANSWERS, 11: 1}, questionnaire=f"{URL}/EPDS")], UNREAD),
    Row(
        "bare numbers that begin with 0",
        [by_link("{n}", {n - 1: s for n, s in ANSWERS.items()}, questionnaire=f"{URL}/EPDS")],
        UNREAD,
    ),
    Row(
        "bare numbers beside items with codes",
        [response(answer("/71353-7", valueInteger=1), answer("1", valueInteger=3), questionnaire=f"{URL}/EPDS")],
        partly(1, 1, 1),
    ),
    Row("a form of two instruments", [by_link("q{n}", questionnaire=f"{URL}/EPDS-and-PHQ-9")], UNREAD),
    Row(
        "the code of an item and of the form at once",
        [observation("both", loinc("71354-5", "71353-7"), valueInteger=3)],
        UNREAD,
    ),
    Row("the codes of two items at once", [observation("both", loinc("71344-6", "71353-7"), valueInteger=3)], UNREAD),
    Row(
        "the self-harm items of two instruments at once",
        [observation("both", loinc("44260-8", "71353-7"), valueInteger=3)],
        UNREAD,
    ),
    Row(
        "a code and a linkId that contradict each other",
        [
            response(answer("/71353-7", valueInteger=3)),
            questionnaire({"linkId": "/71353-7", "type": "integer", "code": loinc("71344-6")["coding"]}),
        ],
        (),
    ),
    # -- more than one
    Row("two forms of one day", [DANISH_FORM, DANISH_FORM | {"id": "second"}], (WHOLE, WHOLE)),
    # -- PHQ-9 and GAD-7
    Row(
        "total and item 9",
        [total("44261-6", valueString="12"), item(9, PHQ9_ITEMS, valueInteger=0)],
        Reads(12, 1, 0),
        "phq9",
    ),
    Row(
        "the panel's code for the total",
        [total("44249-1", valueInteger=12), item(9, PHQ9_ITEMS, valueInteger=0)],
        Reads(12, 1, 0),
        "phq9",
    ),
    Row("total without item 9", [total("44261-6", valueInteger=12)], partly(12, 0), "phq9"),
    Row(
        "LHC-Forms, answer codes",
        [lhc_of(PHQ9_ITEMS, PHQ9, answer("/44261-6", valueDecimal=12))],
        Reads(12, 9, 0),
        "phq9",
    ),
    Row(
        "LHC-Forms, and how difficult it made life",
        [lhc_of(PHQ9_ITEMS, PHQ9, answer("/69722-7", valueCoding=in_loinc(3)))],
        Reads(12, 9, 0),
        "phq9",
    ),
    Row(
        "a panel that names its items, answer codes",
        [
            *(items := [item(n, PHQ9_ITEMS, valueCodeableConcept={"coding": [in_loinc(s)]}) for n, s in PHQ9.items()]),
            panel(*items, code="44249-1"),
        ],
        Reads(12, 9, 0),
        "phq9",
    ),
    Row("phq9.q1 to phq9.q9", [by_link("phq9.q{n}", PHQ9)], Reads(12, 9, 0), "phq9"),
    Row("a total of 28", [total("44261-6", valueInteger=28)], UNREAD, "phq9"),
    Row("total", [total("70274-6", valueInteger=11)], Reads(11, 0, None), "gad7"),
    Row("LHC-Forms, answer codes", [lhc_of(GAD7_ITEMS, GAD7)], Reads(11, 7, None), "gad7"),
    Row(
        "gad7-q1 to gad7-q7, and a total",
        [by_link("gad7-q{n}", GAD7, answer("gad7-total", valueInteger=11))],
        Reads(11, 7, None),
        "gad7",
    ),
    Row("the short GAD-2", [total({"text": "GAD-2 total"}, valueInteger=4)], (), "gad7"),
]


# ---- Through the real reading

ReadForms = Callable[[list[Json]], dict[str, tuple[Form, ...]]]
PREGNANCY = {
    "resourceType": "Condition",
    "id": "pregnancy",
    "code": {"coding": [{"system": SNOMED, "code": "77386006"}]},
    "subject": HER,
}
NOT_BIPOLAR = observation("bipolar", loinc("85102-2"), valueCodeableConcept={"text": "negative"})


def request_with(entries: list[Json]) -> Json:
    """Her chart is opened. She is pregnant, not bipolar, and has these entries."""
    kinds = {
        "screens": "Observation",
        "questionnaire_responses": "QuestionnaireResponse",
        "questionnaires": "Questionnaire",
    }
    return {
        "hook": "patient-view",
        "hookInstance": "2f1c6f3e-0000-4000-8000-000000000001",
        "context": {"userId": "Practitioner/midwife", "patientId": "her"},
        "prefetch": {
            "patient": {"resourceType": "Patient", "id": "her", "birthDate": "1995-05-05"},
            "problems": bundle([PREGNANCY]),
            **{
                key: bundle([one for one in (*entries, NOT_BIPOLAR) if one["resourceType"] == kind])
                for key, kind in kinds.items()
            },
        },
    }


def bundle(entries: list[Json]) -> Json:
    listed = {"entry": [{"resource": one} for one in entries]} if entries else {}
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), **listed}


@pytest.fixture
def read_forms(advisor: Advisor, monkeypatch: pytest.MonkeyPatch) -> ReadForms:
    """The forms that the service reads from a chart with these entries, while it answers a call."""
    found: list[dict[str, tuple[Form, ...]]] = []
    real = screens.read_forms

    def listening(*arguments: Any) -> dict[str, tuple[Form, ...]]:
        found.append(real(*arguments))
        return found[-1]

    monkeypatch.setattr(screens, "read_forms", listening)

    def read(entries: list[Json]) -> dict[str, tuple[Form, ...]]:
        advisor.advise(parse_request(read_json(json.dumps(request_with(entries)).encode())))
        return found[-1]

    return read


def told(form: Form) -> Reads:
    return Reads(form.score, form.answered, form.self_harm, form.complete, form.conflict)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_screen_is_read_in_every_shape(row: Row, read_forms: ReadForms) -> None:
    assert tuple(told(form) for form in read_forms(row.entries)[row.of]) == row.forms


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_order_of_the_entries_changes_nothing(row: Row, read_forms: ReadForms) -> None:
    assert tuple(told(form) for form in read_forms(row.entries[::-1])[row.of]) == row.forms


@pytest.mark.parametrize("odd", [{"code": "choice"}, ["choice"], 7, None], ids=str)
def test_a_question_whose_type_is_no_text_is_a_question_all_the_same(odd: Any, read_forms: ReadForms) -> None:
    asked = questionnaire(*(question(number, type=odd) for number in ANSWERS))
    given = response(*(answer(f"{number}0", lettered(number, score)) for number, score in ANSWERS.items()))

    assert [told(form) for form in read_forms([given, asked])["epds"]] == [Reads(13, 10, 1, True, False)]


def test_each_shape_has_one_row() -> None:
    assert len({str(row) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_row_is_fhir_r4(row: Row) -> None:
    for resource in row.entries:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)


# ---- The bipolar screen

EARLY, LATE = "2026-10-01T09:00:00Z", "2026-11-20T09:00:00Z"


def mdq(name: str, at: str = LATE, **result: Any) -> Json:
    return observation(name, loinc("85102-2"), **result) | {"effectiveDateTime": at}


def in_words(word: str) -> Json:
    return {"valueCodeableConcept": {"text": word}}


POSITIVE = {"interpretation": [{"coding": [{"code": "POS", "system": f"{V3}ObservationInterpretation"}]}]}
BIPOLAR = [
    ("negative", [mdq("a", **in_words("Negative"))], State.ABSENT),
    ("false", [mdq("a", valueBoolean=False)], State.ABSENT),
    ("positive by interpretation", [mdq("a", valueInteger=9, **POSITIVE)], State.PRESENT),
    ("a value and an interpretation that disagree", [mdq("a", **in_words("negative"), **POSITIVE)], State.PRESENT),
    ("positive, then negative", [mdq("a", EARLY, valueBoolean=True), mdq("b", valueBoolean=False)], State.PRESENT),
    ("a score alone", [mdq("a", valueInteger=4)], State.UNKNOWN),
    ("negative, then a score alone", [mdq("a", EARLY, valueBoolean=False), mdq("b", valueInteger=9)], State.UNKNOWN),
    ("a score alone, then negative", [mdq("a", EARLY, valueInteger=9), mdq("b", valueBoolean=False)], State.ABSENT),
    ("negative, then a panel without a value", [mdq("a", EARLY, valueBoolean=False), mdq("b")], State.ABSENT),
    ("another's", [mdq("a", valueBoolean=False, performer=[{"reference": "RelatedPerson/1"}])], State.UNKNOWN),
]


@pytest.mark.parametrize(("entries", "state"), [case[1:] for case in BIPOLAR], ids=[case[0] for case in BIPOLAR])
def test_the_bipolar_screen_is_read_in_every_shape(entries: list[Json], state: State, advisor: Advisor) -> None:
    request = request_with([])
    request["prefetch"]["screens"] = bundle(entries)

    advice = advisor.advise(parse_request(read_json(json.dumps(request).encode())))

    assert advice.consultation is not None
    assert advice.consultation.facts["bipolar_screen"].state is state


# ---- Through the front door


def row(name: str) -> Row:
    """The row of this name."""
    (found,) = [row for row in ROWS if str(row) == name]
    return found


SHOWN = {
    "epds: LHC-Forms: the code in the linkId, the total in the form": {"PPDSAFETY", "PPDRISK"},
    "epds: the Danish form: its score is not one of the answers": {"PPDSAFETY", "PPDRISK"},
    "epds: opaque numbers, item.code and scores in the Questionnaire": {"PPDSAFETY", "PPDRISK"},
    "epds: item 10 without a total": {"PPDSAFETY", "PPDSCREEN", "PPDRISK"},
    "epds: in progress": {"PPDSAFETY", "PPDSCREEN", "PPDRISK"},
    "epds: a total without item 10": {"PPDSCREEN", "PPDRISK"},
    "epds: answered by a relative": {"PPDSCREEN"},
    "epds: a bare 10 in a form that nobody named": {"PPDSCREEN"},
    'epds: a total of "14/30"': {"PPDSAFETY", "PPDSCREEN", "PPDRISK"},
    "epds: coded answers, and no Questionnaire": {"PPDSCREEN"},
    "phq9: a panel that names its items, answer codes": {"PPDSCREEN", "PPDRISK"},
}


@pytest.mark.parametrize(("name", "topics"), SHOWN.items(), ids=SHOWN)
def test_the_cards_follow_the_form(name: str, topics: set[str], client: FlaskClient) -> None:
    answer_ = client.post("/cds-services/ppd-chart-review", json=request_with(row(name).entries))

    assert answer_.status_code == 200
    assert {card["source"]["topic"]["code"] for card in answer_.get_json()["cards"]} == topics


# ---- Which Questionnaires are to be fetched

FETCHED = [
    ("coded answers without their scores", [response(*LHC)], {URL}),
    ("linkIds that say nothing", [opaque(questionnaire=f"{URL}|1.0")], {f"{URL}|1.0"}),
    ("a part of the Danish form", [response(*DANISH_FORM["item"][:7])], {URL}),
    ("bare numbers", [by_link("{n}", questionnaire="Questionnaire/17")], {"Questionnaire/17"}),
    ("named for the EPDS, and still not readable", [opaque(questionnaire=f"{URL}/EPDS")], {f"{URL}/EPDS"}),
    ("in progress", [opaque(status="in-progress")], {URL}),
    ("an older Reference", [opaque(questionnaire={"reference": "Questionnaire/17"})], {"Questionnaire/17"}),
    ("each once", [opaque(), opaque(id="again")], {URL}),
    ("at hand", [opaque(), questionnaire()], set()),
    ("at hand in another version", [opaque(questionnaire=f"{URL}|1"), questionnaire(version="2")], set()),
    ("contained, or lost", [opaque(questionnaire="#mood")], set()),
    ("nowhere named", [response(*LHC) | {"questionnaire": None}], set()),
    ("entered in error", [opaque(status="entered-in-error")], set()),
    ("plain numbers under names of the instrument", [by_link("epds.q{n}")], set()),
    ("three items by code", [response(*(answer(f"/{EPDS_ITEMS[n]}", valueInteger=1) for n in range(3)))], set()),
    ("the whole Danish form", [DANISH_FORM], set()),
    ("answer codes that everybody knows", [lhc_of(PHQ9_ITEMS, PHQ9)], set()),
    ("questions of another form, by code", [response(answer("/68517-2", valueDecimal=3))], set()),
    ("free text and dates", [response(answer("a", valueString="tired"), answer("b", valueDate="2026-11-01"))], set()),
    (
        "whole, with a name beside it",
        [by_link("epds.q{n}", ANSWERS, answer("ward", valueCoding={"code": "4b"}))],
        set(),
    ),
]


@pytest.mark.parametrize(("entries", "wanted"), [case[1:] for case in FETCHED], ids=[case[0] for case in FETCHED])
def test_a_questionnaire_is_wanted_where_the_answers_do_not_speak(
    entries: list[Json], wanted: set[str], knowledge: Knowledge
) -> None:
    of = {
        kind: [one for one in entries if one["resourceType"] == kind]
        for kind in ("QuestionnaireResponse", "Questionnaire")
    }

    assert wanted_questionnaires(of["QuestionnaireResponse"], of["Questionnaire"], knowledge) == wanted


# ---- Every vignette, told otherwise

CASES = read_cases()
SEEDS = range(5)
# A card quotes a measurement in the unit of its rule, and as it was written where that is in another.
CHARTED = re.compile(r" \(charted: [^)]*\)")
QUOTED = re.compile(r"[\d.]+ (?:kg|g|lbs?|\[lb_av\]|cm|m|mL|ml|L|K/uL|× 10\S+)(?![\w/])")


class Listening(Advisor):
    """An advisor that remembers what it thought last."""

    last: Advice

    def advise(self, request: HookRequest) -> Advice:
        self.last = super().advise(request)
        return self.last


@dataclass(frozen=True)
class Asking:
    """The service of one site, and its front door."""

    advisor: Listening
    door: FlaskClient
    discovery: Json = field(compare=False)

    def outcome(self, case: Case, request: Json) -> Json:
        """What the EHR gets, and what was thought."""
        service = service_for(case["hook"], self.discovery)
        answer_ = self.door.post(f"/cds-services/{service['id']}", json=request)
        assert answer_.status_code == 200, answer_.get_data(as_text=True)
        cards = answer_.get_json()["cards"]
        thought = self.advisor.last.consultation
        return {
            "cards": [
                (card["source"]["topic"]["code"], card["indicator"], QUOTED.sub("…", CHARTED.sub("", card["summary"])))
                for card in cards
            ],
            "tier": thought and thought.risk.tier,
            "status": thought and thought.eligibility and thought.eligibility.status,
            "criteria": thought and thought.eligibility and _criteria(thought.eligibility),
            "dose": thought and thought.dose and _dose(thought.dose),
        }


def _criteria(eligibility: Any) -> list[str]:
    met = (*eligibility.contraindications, *eligibility.reviews, *eligibility.modifiers)
    return sorted([*(one.row.id for one in met), *(one.id for one in (*eligibility.missing, *eligibility.confirm))])


def _dose(dose: Any) -> tuple[Decimal, Decimal]:
    return dose.dose_mg, dose.drug_volume_ml


Ask = Callable[[Case], Asking]


@pytest.fixture(scope="module")
def ask(knowledge: Knowledge, wording: Wording, now: datetime) -> Ask:
    """The service as each site has it."""

    @cache
    def of(site: Site) -> Asking:
        advisor = Listening(knowledge, wording, site, lambda: now)
        return Asking(advisor, create_app(advisor).test_client(), advisor.discovery())

    return lambda case: of(Site.from_table(site_of(case)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_shape_changes_the_outcome(case: Case, ask: Ask, now: datetime) -> None:
    service = ask(case)
    plain = service.outcome(case, request_for(case, now, service.discovery))

    for seed in SEEDS:
        other = told_otherwise(case, seed)
        request = sent(request_for(other, now, service.discovery), other, encode(other, now))
        assert service.outcome(other, request) == plain, other["shape"]


def test_every_shape_is_drawn_often() -> None:
    drawn = [told_otherwise(case, seed)["shape"] for case in CASES for seed in SEEDS]
    times = {
        (axis, shape): sum(one.get(axis) == shape for one in drawn) for axis, shapes in AXES.items() for shape in shapes
    }

    assert min(times.values()) >= 50, {key: n for key, n in times.items() if n < 50}


def test_most_cases_can_be_told_in_every_shape() -> None:
    whole = sum(possible(case) == {axis: list(shapes) for axis, shapes in AXES.items()} for case in CASES)

    assert whole >= 0.8 * len(CASES)


@pytest.mark.parametrize(
    ("axis", "shape"), [(axis, shape) for axis in ("epds", "phq9", "gad7") for shape in AXES[axis]], ids=str
)
def test_every_shape_that_is_drawn_is_fhir_r4(axis: str, shape: str, now: datetime, ask: Ask) -> None:
    (case,) = [case for case in CASES if case.id == "V01"]
    screened = {**case["screens"], "phq9": {"total": 9, "age_h": 4}, "gad7": {"total": 9, "age_h": 4}}
    case = Case(case.id, case.story, {**case.given, "screens": screened}, {}).shaped(**{axis: shape})

    request = sent(request_for(case, now, ask(case).discovery), case, encode(case, now))

    for value in request["prefetch"].values():
        for resource in [entry["resource"] for entry in value.get("entry", [])] or [value]:
            get_fhir_model_class(resource["resourceType"]).model_validate(json.loads(json.dumps(resource)))
