"""What a filled-in questionnaire says: which form it is, which item each answer is, and what the answer is worth."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from cds_service.ehr.elements import Resource, codings, extensions, members, number, reference_of, relative
from cds_service.ehr.units import Units
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Instrument, ScreenTable
from cds_service.knowledge.terminology import Terminology, system_of

# More than one item, or an item and a total: what an answer is about is not sure, and it never counts.
UNSURE: Final = -1


@dataclass(frozen=True, slots=True)
class Key:
    """An instrument, the place of each concept in it (0 is the total), and the items of the other instruments."""

    instrument: Instrument
    places: Mapping[str, int]
    others: frozenset[str]

    def place(self, says: frozenset[str]) -> int | None:
        """Which item a coded question is: 1 and up, 0 for the total, None for neither, or unsure."""
        if says.isdisjoint(self.places):
            return None
        meant = {self.places[concept] for concept in says if concept in self.places}
        return meant.pop() if len(meant) == 1 and says.isdisjoint(self.others) else UNSURE


def keys_of(knowledge: Knowledge) -> tuple[Key, ...]:
    """A key for each instrument, in the table's order."""
    return tuple(_keys(knowledge.screens))


def _keys(screens: ScreenTable) -> Iterator[Key]:
    for instrument in screens.instrument:
        places = {concept: n for n, concept in enumerate(instrument.items, start=1)}
        # Both codes carry totals in the wild: 99046-5, and the panel code 71354-5 (a PCORnet feed).
        places |= dict.fromkeys([instrument.panel, *([instrument.total] if instrument.total else [])], 0)
        others = (item for other in screens.instrument if other is not instrument for item in other.items)
        yield Key(instrument, dict(sorted(places.items())), frozenset(others))


@dataclass(frozen=True, slots=True)
class Answer:
    """One item of a response: what was given, the question of its Questionnaire, and what the item is."""

    given: list[Mapping[str, Any]]
    question: Mapping[str, Any]
    concepts: frozenset[str]
    link: str


@dataclass(frozen=True, slots=True)
class Filled:
    """
    A response with its items however nested.

    `names`: the facts of the instruments that its Questionnaire or its canonical names. `links`: the linkIds of all
    questions that carry no code. `sure`: it is surely she who answered.
    """

    response: Resource
    answers: tuple[Answer, ...]
    names: frozenset[str]
    links: frozenset[str]
    sure: bool

    def is_none_of(self, key: Key) -> bool:
        """Is it surely no form of this instrument? Not by name, and each answer is coded as something else."""
        return key.instrument.fact not in self.names and all(
            answer.concepts and answer.concepts.isdisjoint(key.places) for answer in self.answers
        )


def filled_in(
    response: Resource, definitions: Mapping[str, list[Resource]], knowledge: Knowledge, *, sure: bool = True
) -> Filled:
    """A response beside its Questionnaire, if that is at hand. The partner's form holds no answers about her."""
    definition = definition_of(response, definitions)
    titles = _titles(canonical_of(response), definition or {})
    if _is_about_partner(titles, knowledge):
        return Filled(response, (), frozenset(), frozenset(), sure)
    questions = {str(q.get("linkId")): q for q in _flat((definition or {}).get("item"))}
    answers = []
    for item in _flat(response.get("item")):
        question = questions.get(str(item.get("linkId")), {})
        concepts = _question_concepts(item, question, knowledge.terminology)
        answers.append(Answer(members(item.get("answer")), question, concepts, _link(item)))
    asked = {
        _link(question)
        for question in questions.values()
        if question.get("type") not in ("group", "display")
        and not _question_concepts(question, question, knowledge.terminology)
    }
    given = {answer.link for answer in answers if answer.given and not answer.concepts}
    names = _named(titles, definition or {}, knowledge)
    return Filled(response, tuple(answers), names, frozenset(asked | given), sure)


def _link(item: Mapping[str, Any]) -> str:
    """A linkId for comparison: "/Q01" is "q1"."""
    link = str(item.get("linkId", "")).strip().lower().lstrip("/")
    return _ZEROS.sub("", link) if "0" in link else link


_ZEROS: Final = re.compile(r"(?<!\d)0+(?=\d)")


def _flat(items: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Items however nested: groups, and items below answers."""
    if depth > 8:
        return
    for item in members(items):
        yield item
        if "item" in item:
            yield from _flat(item["item"], depth + 1)
        for answer in members(item.get("answer")):
            if "item" in answer:
                yield from _flat(answer["item"], depth + 1)


# --- which Questionnaire, and what it is ----------------------------------------------------------


def canonical_of(response: Resource) -> str | None:
    """The Questionnaire that a response names. DSTU2 and STU3 sent a Reference."""
    canonical = response.get("questionnaire")
    if isinstance(canonical, dict):
        canonical = canonical.get("reference")
    return canonical if isinstance(canonical, str) and canonical else None


def by_address(questionnaires: Iterable[Resource]) -> dict[str, list[Resource]]:
    """Questionnaires by url and by `Questionnaire/id`. One url may stand for several versions."""
    found: dict[str, list[Resource]] = {}
    for questionnaire in questionnaires:
        url = questionnaire.get("url")
        for address in {url if isinstance(url, str) else "", reference_of(questionnaire)} - {""}:
            found.setdefault(address, []).append(questionnaire)
    return found


def definition_of(response: Resource, definitions: Mapping[str, list[Resource]]) -> Resource | None:
    """
    The Questionnaire that a response answers: contained, or among those received.

    Of several versions the one that the response names; where none is, one of them only if they all score alike.
    """
    canonical = canonical_of(response)
    if canonical is None:
        return None
    if canonical.startswith("#"):
        contained = members(response.get("contained"))
        return next((c for c in contained if f"#{c.get('id')}" == canonical), None)
    address, _, version = canonical.partition("|")
    address, version = address.partition("#")[0], version.partition("#")[0]
    found = definitions.get(address) or definitions.get(relative(address) or "", [])
    found = [q for q in found if version and q.get("version") == version] or found
    if not found or any(_scoring(q) != _scoring(found[0]) for q in found[1:]):
        return None
    return found[0]


def _scoring(questionnaire: Resource) -> object:
    """What decides how a form is scored: its code and name, and for each question its code and the weights."""
    named = [questionnaire.get(element) for element in ("code", "title", "name")]
    return named, [
        (question.get("linkId"), question.get("code"), _weights(question))
        for question in _flat(questionnaire.get("item"))
    ]


def _named(titles: list[str], definition: Resource, knowledge: Knowledge) -> frozenset[str]:
    """The instruments that a form is: by the code or title of its Questionnaire, or by the name in its canonical."""
    coded = knowledge.terminology.codings_of(_listed(definition.get("code"))).says
    return frozenset(
        instrument.fact
        for instrument in knowledge.screens.instrument
        if {instrument.panel, instrument.total} & coded
        or any(_beside_title(instrument.titles, text) is not None for text in titles)
    )


def _is_about_partner(titles: list[str], knowledge: Knowledge) -> bool:
    """The partner's form, such as the EPDS-P: a mother may fill it in, too, and it is not about her."""
    return any(
        not _PARTNER.isdisjoint(rest) or _words(text)[-1:] == ("p",)
        for instrument in knowledge.screens.instrument
        for text in titles
        if (rest := _beside_title(instrument.titles, text)) is not None
    )


def _titles(canonical: str | None, definition: Resource) -> list[str]:
    addresses = [_path(text) for text in (canonical, definition.get("url")) if isinstance(text, str)]
    return [text for text in (definition.get("title"), definition.get("name"), *addresses) if isinstance(text, str)]


def _path(canonical: str) -> str:
    """The end of a canonical, which names the form. The name of a server is not the name of its forms."""
    address = canonical.partition("|")[0]
    path = address.partition("://")[2].partition("/")[2] or address
    return "/".join(path.rpartition("Questionnaire/")[2].split("/")[-2:])


_JOINT: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
_PARTNER: Final = frozenset({"partner", "partners", "father", "fathers", "paternal"})
# Written after the name of an instrument, these make it another: "EPDS-3" has three items.
_SHORTER: Final = frozenset({"2", "3", "3a", "7"})
_BESIDE_A_TOTAL: Final = frozenset({"total", "score", "scale", "sum", "result", "screen", "screening"})
_LONGEST_TEXT: Final = 400


@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _JOINT.split(text[:_LONGEST_TEXT]) if word)


@lru_cache(maxsize=4096)
def _beside_title(titles: tuple[str, ...], text: str) -> frozenset[str] | None:
    """The words of a text beside the name of an instrument; None if it does not name it."""
    words = list(_words(text))
    named = False
    for title in map(_words, titles):
        for at in range(len(words) - len(title), -1, -1):
            end = at + len(title)
            if tuple(words[at:end]) == title and _SHORTER.isdisjoint(words[end : end + 1]):
                del words[at:end]
                named = True
    return frozenset(words) if named else None


def names_total(instrument: Instrument, text: str) -> bool:
    """Does a text say "EPDS", or "EPDS total score", and nothing else?"""
    rest = _beside_title(instrument.titles, text)
    return rest is not None and _BESIDE_A_TOTAL.issuperset(rest)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# --- which question an answer belongs to ----------------------------------------------------------

# A question that its code names as none of ours, or that its code and its linkId name differently.
_ANOTHER_QUESTION: Final = frozenset({"another question"})
_LOINC: Final = re.compile(r"\d{3,7}-\d")
_BARE: Final = re.compile(r"(?:q|item|question)?[-_. ]?\d+")
_NUMBERED: Final = re.compile(r"(.*?)(\d{1,9})", re.DOTALL)


def _question_concepts(item: Mapping[str, Any], question: Mapping[str, Any], terms: Terminology) -> frozenset[str]:
    """What a question is: by its code, and by a LOINC code in its linkId (LHC-Forms writes "/71353-7")."""
    codes = [code for code in _listed(question.get("code")) if isinstance(code, dict)]
    coded = terms.codings_of(codes).says if codes else None
    tail = str(item.get("linkId", "")).rstrip("/").rsplit("/", 1)[-1]
    linked = terms.meaning_of_code("loinc", tail).says if _LOINC.fullmatch(tail) else None
    if coded:
        return _ANOTHER_QUESTION if linked is not None and linked.isdisjoint(coded) else coded
    if linked is not None:
        return linked or _ANOTHER_QUESTION
    return _ANOTHER_QUESTION if any(system_of(code.get("system")) for code in codes) else frozenset()


def places_of(key: Key, form: Filled) -> list[int | None]:
    """
    Which item each answer is. A position in a list is never used.

    A code decides. A linkId that names the instrument ("epds.q10") speaks for itself. One that does not ("10",
    "score") speaks only in a form that is this instrument and no other, and where no item carries a code.
    """
    coded = [key.place(answer.concepts) if answer.concepts else None for answer in form.answers]
    if all(answer.concepts for answer in form.answers):
        return coded
    instrument = key.instrument
    alone = form.names <= {instrument.fact} and (bool(form.names) or _is_whole_set(instrument, form.links))
    as_numbered = not _numbered_otherwise(instrument, form.links)
    bare = alone and as_numbered and not any(coded)
    return [
        place if answer.concepts else _linked_place(instrument, answer.link, own=as_numbered, item=bare, total=alone)
        for answer, place in zip(form.answers, coded, strict=True)
    ]


def _linked_place(instrument: Instrument, link: str, *, own: bool, item: bool, total: bool) -> int | None:
    """The place of a linkId: whole names only, so that "epds.q1" is not "epds.q10"."""
    names_it = any(word in link for word in instrument.linkid_words)
    if link in instrument.total_linkids:
        return 0 if total or names_it else None
    if not (item or (own and names_it)):
        return None
    return next((n for n, links in enumerate(instrument.item_linkids, start=1) if link in links), None)


def _is_whole_set(instrument: Instrument, links: frozenset[str]) -> bool:
    """Every item under a telling name, such as the Danish form's: the form is this one, whoever calls it what."""
    return bool(instrument.item_linkids) and all(
        any(name in links and not _BARE.fullmatch(name) for name in names) for names in instrument.item_linkids
    )


def _numbered_otherwise(instrument: Instrument, links: frozenset[str]) -> bool:
    """Does the form count from 0, or beyond its last item? Then its numbers may not be those of the items."""
    if not instrument.item_linkids:
        return False
    numbered = (match for link in links if (match := _NUMBERED.fullmatch(link)) is not None)
    return any(
        f"{prefix}1" in instrument.item_linkids[0] and not 1 <= int(n) <= len(instrument.items)
        for prefix, n in (match.groups() for match in numbered)
    )


# --- what an answer is worth ----------------------------------------------------------------------


def score_of(
    instrument: Instrument,
    place: int,
    holder: Mapping[str, Any],
    question: Mapping[str, Any],
    knowledge: Knowledge,
    units: Units,
) -> Decimal | None:
    """The score that an answer or an Observation tells, by the first way that tells one. None: there is none."""
    if place == 0:
        return _plain_number(holder, units)
    for told in _tellings(instrument, holder, question, knowledge.terminology, units):
        if told:
            return told[0] if len(set(told)) == 1 else None
    return None


def _tellings(
    instrument: Instrument,
    holder: Mapping[str, Any],
    question: Mapping[str, Any],
    terms: Terminology,
    units: Units,
) -> Iterator[list[Decimal | None]]:
    """
    The ways in which an answer tells its score, the surest first; each with all the scores that it tells.

    Its own weight, the Questionnaire's, a plain number, the answer codes of the instrument, a code that is a digit.
    """
    concepts = (*codings(holder.get("valueCoding")), *codings(holder.get("valueCodeableConcept")))
    chosen = [coding for coding in concepts if isinstance(coding, dict)]
    yield [weight for element in (holder, *chosen) if "extension" in element for weight in _ordinals(element)]
    weights = _weights(question)
    listed = [weight for name in _answer_names(holder, chosen) for weight in weights.get(name, ())]
    yield listed
    if weights and chosen and not listed:
        yield [None]  # the Questionnaire weighs its answers, and this is none of them
    plain = _plain_number(holder, units)
    yield [] if plain is None else [plain]
    said = {concept for coding in chosen for concept in terms.codings_of([coding]).says}
    yield [Decimal(score) for concept, score in instrument.answers.items() if concept in said]
    codes = [code for coding in chosen if isinstance(code := coding.get("code"), str)]
    yield [Decimal(code) for code in codes if re.fullmatch(r"[0-9]", code)]


def _weights(question: Mapping[str, Any]) -> dict[tuple[str, object], list[Decimal | None]]:
    """What each listed answer of a question weighs. Its position in the list is not its weight."""
    found: dict[tuple[str, object], list[Decimal | None]] = {}
    for option in members(question.get("answerOption")):
        coding = option.get("valueCoding")
        told = [*_ordinals(option), *_ordinals(coding)]
        for name in _answer_names(option, [coding] if isinstance(coding, dict) else []):
            if told:
                found.setdefault(name, []).extend(told)
    return found


def _answer_names(holder: Mapping[str, Any], chosen: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, object]]:
    yield from (("code", code) for coding in chosen if isinstance(code := coding.get("code"), str))
    if (value := number(holder.get("valueInteger"))) is not None:
        yield "integer", value
    if isinstance(text := holder.get("valueString"), str):
        yield "string", text


def _ordinals(element: object) -> Iterator[Decimal | None]:
    """The weights that an element carries. One that is no number is there, and tells nothing."""
    for extension in extensions(element, "ordinalValue", "itemWeight"):
        yield number(extension.get("valueDecimal", extension.get("valueInteger")))


def _plain_number(holder: Mapping[str, Any], units: Units) -> Decimal | None:
    """A number, as an integer, a decimal, a string or a quantity of no other unit than a score's."""
    for name in ("valueInteger", "valueDecimal", "valueString"):
        if (found := number(holder.get(name))) is not None:
            return found
    quantity = holder.get("valueQuantity")
    if not isinstance(quantity, dict) or quantity.get("comparator"):
        return None
    unit = quantity.get("code") or quantity.get("unit")
    # UCUM puts what is only counted into braces: {score}, {points}.
    if unit and not str(unit).startswith("{") and units.convert(quantity, "1") is None:
        return None
    return number(quantity.get("value"))
