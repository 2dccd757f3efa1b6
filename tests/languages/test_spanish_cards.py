"""Every worked case, told in English and in Spanish: only the words differ, and none of them is English."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from conftest import NOON

from cds_service.advisor import Advice, Advisor
from cds_service.explanations import Explanations
from cds_service.hooks.request import parse_request
from cds_service.knowledge import Knowledge
from cds_service.rendering.explanation import sections
from cds_service.rendering.languages import in_language, sentences
from cds_service.rendering.wording import Wording, cards_folder, read_files
from cds_service.settings import Site
from cds_service.stories import Story, read_stories
from cds_service.web.app import create_app

Json = dict[str, Any]

STORIES = {story.id: story for story in read_stories()}
# What is said to people: on the card, and in what its buttons draft.
SAID = frozenset({"text", "description", "label", "display", "summary", "detail"})
NUMBER = re.compile(r"\d+(?:\.\d+)*")
# A number of more than three digits may be written with a comma, a blank or nothing between its groups.
GROUPED = re.compile(r"(?<=\d)[, ](?=\d{3}(?!\d))")
NOTICE = re.compile(r"\n\n\*\*Traducción al español sin revisión clínica\*\* \(es [0-9a-f]{12}\)\.$")
# What stays as it is: the name of a hospital, of a questionnaire, and a word that Spanish has taken over.
NAMES = ("Hospital of the vignettes", "Mood Disorder Questionnaire", "off-label")
ENGLISH = frozenset(
    re.findall(
        r"\w+",
        "the and of with without for from not or is are was were be been has have had her she his by on at in after "
        "before above below than more less one two which who what this that these those there any all yes first only "
        "during until within since ask order draft dose once rule trial label found needed missing",
    )
)


@pytest.fixture(scope="module")
def spanish(knowledge: Knowledge) -> tuple[Knowledge, Wording]:
    return in_language("es", knowledge)


Tell = Callable[[Story, str], Advice]
Advisors = Callable[[str, Story], Advisor]


@pytest.fixture(scope="module")
def tell(knowledge: Knowledge, wording: Wording, spanish: tuple[Knowledge, Wording]) -> Tell:
    """What the service says to a story, in a language. It says it once."""
    spoken = {"en": (knowledge, wording), "es": spanish}

    @cache
    def advisor(site: str, now: datetime, language: str) -> Advisor:
        return Advisor(*spoken[language], Site.from_table(json.loads(site) | {"language": language}), lambda: now)

    @cache
    def told(id_: str, language: str) -> Advice:
        story = STORIES[id_]
        asked = advisor(json.dumps(dict(story.site)), story.now, language)
        return asked.advise(parse_request(story.request))

    return lambda story, language: told(story.id, language)


def pairs(tell: Tell) -> Iterator[tuple[str, Json, Json]]:
    for story in STORIES.values():
        english, spanish = tell(story, "en").cards, tell(story, "es").cards
        for one, other in zip(english, spanish, strict=True):
            yield story.id, one, other


def wordless(value: Any) -> Any:
    """The same JSON, with a mark wherever something is said to people."""
    match value:
        case dict():
            return {name: "said" if name in SAID and isinstance(v, str) else wordless(v) for name, v in value.items()}
        case list():
            return [wordless(member) for member in value]
        case _:
            return value


def said(value: Any, name: str = "") -> Iterator[str]:
    """Everything that is said to people, in order."""
    match value:
        case dict():
            for key in sorted(value):
                yield from said(value[key], key)
        case list():
            for member in value:
                yield from said(member, name)
        case str() if name in SAID:
            yield value


def numbers(text: str) -> Counter[str]:
    return Counter(NUMBER.findall(GROUPED.sub("", text)))


def without_notice(detail: str) -> str:
    assert NOTICE.search(detail), detail[-200:]
    return NOTICE.sub("", detail)


def test_only_the_words_differ(tell: Tell, record_property: Callable[[str, object], None]) -> None:
    """Codes, amounts, buttons and what they draft, reasons, identifiers and the order of it all are the same."""
    count = 0
    for id_, english, spanish in pairs(tell):
        assert wordless(english) == wordless(spanish), id_
        count += 1
    assert count > 100
    record_property("safety", f"languages: {len(STORIES)} worked cases, {count} cards alike in English and Spanish")


def test_what_is_thought_does_not_depend_on_the_language(tell: Tell) -> None:
    for story in STORIES.values():
        english, spanish = tell(story, "en").consultation, tell(story, "es").consultation
        assert (english is None) == (spanish is None)
        if english is None or spanish is None:
            continue
        assert english.facts.items() == spanish.facts.items()
        assert english.risk.tier == spanish.risk.tier
        assert english.plan == spanish.plan
        assert (english.dose and english.dose.calculation) == (spanish.dose and spanish.dose.calculation)
        judged = [
            (e.status, *(tuple(met.row.id for met in group) for group in (e.contraindications, e.reviews, e.modifiers)),
             *(tuple((open_.id, open_.doubts, open_.last_seen) for open_ in group) for group in (e.missing, e.confirm)))
            for e in (english.eligibility, spanish.eligibility)
        ]  # fmt: skip
        assert judged[0] == judged[1], story.id
        departures = [[(d.id, d.critical, d.reference) for d in thought.departures] for thought in (english, spanish)]
        assert departures[0] == departures[1], story.id


def test_every_number_on_a_card_is_the_same(tell: Tell) -> None:
    """Doses, limits, dates, ages, ids, effects and sources: paragraph by paragraph, and on each button and order."""
    for id_, english, spanish in pairs(tell):
        ours, theirs = english["detail"].split("\n\n"), without_notice(spanish["detail"]).split("\n\n")
        assert len(ours) == len(theirs), id_
        for one, other in zip(ours, theirs, strict=True):
            assert numbers(one) == numbers(other), (id_, one, other)
        for one, other in zip(said(english.get("suggestions", [])), said(spanish.get("suggestions", [])), strict=True):
            assert numbers(one) == numbers(other), (id_, one, other)


def test_a_summary_says_no_number_that_the_english_card_does_not(tell: Tell) -> None:
    """Where words are longer, a shorter form may be shown: then it counts, and names the rules by their ids."""
    same = 0
    for id_, english, spanish in pairs(tell):
        here = numbers(spanish["summary"])
        same += numbers(english["summary"]) == here
        ids = len(re.findall(r"[CDR]\d\d", spanish["summary"]))
        known = numbers(english["summary"]) + numbers(english["detail"]) + Counter({str(ids): 1})
        assert not here - known, (id_, english["summary"], spanish["summary"])
    assert same > 100


def test_the_parts_of_a_card_are_the_same(tell: Tell) -> None:
    """As many headings, lines of lists and rows of tables, at the same places; each link leads to the same page."""
    for id_, english, spanish in pairs(tell):
        ours, theirs = english["detail"].splitlines(), without_notice(spanish["detail"]).splitlines()
        shapes = [[re.match(r"\*\*|- ☐|- |\d+\.|\||---|", line)[0] for line in lines] for lines in (ours, theirs)]
        assert shapes[0] == shapes[1], id_
        links = [re.findall(r"\]\((.*?)\)", "\n".join(lines)) for lines in (ours, theirs)]
        assert links[0] == links[1], id_
        assert [line.count("|") for line in ours] == [line.count("|") for line in theirs], id_
        assert [line.count("⚠") for line in ours] == [line.count("⚠") for line in theirs], id_


def test_every_card_in_spanish_says_that_nobody_has_reviewed_the_translation(tell: Tell) -> None:
    for _, english, spanish in pairs(tell):
        assert NOTICE.search(spanish["detail"])
        assert "traducción" not in english["detail"].lower()
        assert "translation" not in english["detail"].lower()


def test_no_english_sentence_is_left(tell: Tell, knowledge: Knowledge, spanish: tuple[Knowledge, Wording]) -> None:
    """Neither a sentence of the tables or card files, nor a piece of one between two things that are filled in."""
    english = set(pieces(knowledge))
    english -= set(pieces(spanish[0])) | {piece for piece in english if piece in NAMES}
    lines = spanish_lines(tell)
    text = "\n".join(sorted(lines))
    assert len(english) > 300
    assert sorted(piece for piece in english if piece in text) == []


def pieces(knowledge: Knowledge) -> Iterator[str]:
    for places in sentences(knowledge, read_files(cards_folder())).values():
        for forms in places.values():
            for text in (forms,) if isinstance(forms, str) else forms:
                for piece in re.split(r"\$[a-zA-Z_]+|\n|\*\*|\|", text):
                    if len(re.findall(r"[^\W\d_]{2,}", piece)) > 1:
                        yield piece.strip(" ,.;:()")


def spanish_lines(tell: Tell) -> set[str]:
    """Everything that is said to people on the Spanish cards, but the words of codes, and those of the EHR."""
    found: set[str] = set()
    theirs = {text for story in STORIES.values() for text in said(story.request)}
    for _, _, card in pairs(tell):
        for text in set(said(without_codes(card))) - theirs:
            found |= set(text.splitlines())
    return found


def without_codes(value: Any) -> Any:
    match value:
        case dict():
            return {name: without_codes(v) for name, v in value.items() if name != "coding"}
        case list():
            return [without_codes(member) for member in value]
        case _:
            return value


def test_no_english_word_is_left(tell: Tell) -> None:
    """Looked for by the small words, which no English sentence can do without."""
    for line in spanish_lines(tell):
        bare = re.sub("|".join(map(re.escape, NAMES)), "", line)
        bare = re.sub(r"\(https?://\S*\)|\[?[A-Z]\w+/[\w.-]+|sha256:[0-9a-f]+", "", bare)
        left = set(re.findall(r"[a-z]+", re.sub(r"[^\W\d_]*[^\x00-\x7f]+[^\W\d_]*", "", bare.lower()))) & ENGLISH
        assert not left, (left, line)


def test_nothing_is_left_to_be_filled_in(tell: Tell) -> None:
    for line in spanish_lines(tell):
        assert not re.search(r"\$[a-zA-Z]|\{|\}", line), line


def test_the_arithmetic_on_a_card_is_the_one_that_was_done(tell: Tell) -> None:
    """The card files hold its words, and the dose has them, too: in English they are one and the same."""
    doses = 0
    for story in STORIES.values():
        advice = tell(story, "en")
        if advice.consultation is not None and (dose := advice.consultation.dose) is not None:
            shown = [card for card in advice.cards if "**Dose by local protocol" in card["detail"]]
            assert all(f" {dose.calculation}. " in card["detail"] for card in shown)
            doses += len(shown)
    assert doses > 10


@pytest.mark.parametrize("dialect", ["epic", "cerner-1.0", "sandbox"])
def test_what_an_ehr_cannot_take_over_is_said_in_the_same_language(
    dialect: str, knowledge: Knowledge, wording: Wording, spanish: tuple[Knowledge, Wording]
) -> None:
    for id_ in ("V01", "N21", "S03"):
        story = STORIES[id_]
        cards = []
        for words in ((knowledge, wording), spanish):
            site = Site.from_table({**story.site, "dialect": dialect})
            cards.append(Advisor(*words, site, lambda: NOON).advise(parse_request(story.request)).cards)
        english, other = (list(told) for told in cards)
        assert wordless(english) == wordless(other)
        sure = set(pieces(knowledge)) - set(pieces(spanish[0])) - set(NAMES)
        text = "\n".join(said(without_codes(other)))
        assert sorted(piece for piece in sure if piece in text) == []


def test_the_page_behind_a_card_is_in_the_same_language(
    tell: Tell, knowledge: Knowledge, wording: Wording, spanish: tuple[Knowledge, Wording]
) -> None:
    """As many parts and lines, the same entries and numbers, and no English sentence in between."""
    sure = set(pieces(knowledge)) - set(pieces(spanish[0])) - set(NAMES)
    lines: set[str] = set()
    for story in STORIES.values():
        english, other = tell(story, "en"), tell(story, "es")
        if english.consultation is None or other.consultation is None:
            continue
        ours = sections(english.consultation, english.cards, wording, knowledge)
        theirs = sections(other.consultation, other.cards, spanish[1], spanish[0])
        assert [len(body) for _, body in ours] == [len(body) for _, body in theirs], story.id
        for (_, body), (title, spoken) in zip(ours, theirs, strict=True):
            if title != "Tarjetas":  # compared as cards
                assert list(map(numbers, body)) == list(map(numbers, spoken)), (story.id, title)
                assert [re.findall(r"\[.*?\]", line) for line in body] == [re.findall(r"\[.*?\]", s) for s in spoken]
            lines |= {title, *spoken}
    text = "\n".join(sorted(lines))
    assert sorted(piece for piece in sure if piece in text) == []


def test_the_page_behind_a_card_says_that_the_translation_is_not_reviewed(
    spanish: tuple[Knowledge, Wording],
) -> None:
    """And a reader of the page aloud is told its language."""
    story = STORIES["V01"]
    explanations = Explanations.in_memory("https://cds.example.org")
    site = Site.from_table({**story.site, "language": "es"})
    asked = Advisor(*spanish, site, lambda: story.now, explanations=explanations)
    link = asked.advise(parse_request(story.request)).cards[0]["links"][0]
    page = (
        create_app(asked).test_client().get(link["url"].removeprefix("https://cds.example.org")).get_data(as_text=True)
    )
    assert link["label"] == "Cómo razonó el servicio"
    assert '<html lang="es">' in page
    assert "<h1>Cómo razonó el servicio</h1>" in page
    assert "A fecha de 2026-11-23 12:00 UTC." in page
    assert re.search(r"Traducción al español sin revisión clínica \(es [0-9a-f]{12}\)\.", page)


def test_an_order_drafted_in_spanish_is_read_back_like_one_in_english(tell: Tell, advisors: Advisors) -> None:
    """
    What is accepted is drafted; before it is signed, the service reads it again: text, dose, codes and all.

    Nothing is found wrong with it then that is not found with the English one, and nothing is offered twice.
    """
    read = 0
    for story in STORIES.values():
        if not story.request["hook"].startswith("order-"):
            continue
        again = {
            language: advisors(language, story).advise(parse_request(accepted(story, tell(story, language).cards)))
            for language in ("en", "es")
        }
        told = {
            language: (
                [(d.id, d.critical) for d in advice.consultation.departures],
                [len(card.get("suggestions", ())) for card in advice.cards],
                [topic.code for topic in advice.topics],
                [order.medicine for order in advice.consultation.orders],
            )
            for language, advice in again.items()
            if advice.consultation is not None
        }
        assert told.get("en") == told.get("es"), story.id
        read += "en" in told
    assert read > 30


@pytest.fixture(scope="module")
def advisors(knowledge: Knowledge, wording: Wording, spanish: tuple[Knowledge, Wording]) -> Advisors:
    spoken = {"en": (knowledge, wording), "es": spanish}

    def advisor(language: str, story: Story) -> Advisor:
        return Advisor(*spoken[language], Site.from_table({**story.site, "language": language}), lambda: story.now)

    return advisor


def accepted(story: Story, cards: tuple[Json, ...]) -> Json:
    """The call before signing, with every draft that these cards offer beside those that were there."""
    actions = [action for card in cards for one in card.get("suggestions", ()) for action in one["actions"]]
    drafts = [entry["resource"] for entry in story.request["context"]["draftOrders"]["entry"]]
    updated = {action["resource"]["id"]: action["resource"] for action in actions if action["type"] == "update"}
    drafts = [updated.get(draft["id"], draft) for draft in drafts]
    drafts += [action["resource"] for action in actions if action["type"] == "create"]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": draft} for draft in drafts]}
    context = {name: value for name, value in story.request["context"].items() if name != "selections"}
    request = {**story.request, "hook": "order-sign", "context": {**context, "draftOrders": bundle}}
    return json.loads(json.dumps(request, default=float))


def test_an_order_in_the_words_of_the_other_language_is_not_offered_again(tell: Tell, advisors: Advisors) -> None:
    """A site that changes its language: what was ordered before, in English, is still known."""
    story = STORIES["V01"]
    request = accepted(story, tell(story, "en").cards)
    advice = advisors("es", story).advise(parse_request(request))
    offered = [suggestion["label"] for card in advice.cards for suggestion in card.get("suggestions", ())]
    alone = advisors("es", story).advise(parse_request(accepted(story, tell(story, "es").cards)))
    assert offered == [s["label"] for card in alone.cards for s in card.get("suggestions", ())]
