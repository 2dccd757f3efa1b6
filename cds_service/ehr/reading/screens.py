"""The questionnaires: every form of the EPDS, PHQ-9 and GAD-7 that her chart holds, and the bipolar screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from cds_service.clinical.facts import Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment
from cds_service.clinical.screening import Form
from cds_service.ehr.chart import Chart, Had
from cds_service.ehr.elements import (
    Resource,
    codes_in,
    codings,
    concepts_in,
    extensions,
    first,
    members,
    moment,
    number,
    reference_of,
    relative,
    status_of,
    texts,
)
from cds_service.ehr.reading.observations import Observed
from cds_service.ehr.reading.view import View
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Instrument

_COUNTS: Final = frozenset({"final", "amended", "corrected"})
_WHOLE: Final = frozenset({"completed", "amended"})
# A form that was begun and left may only raise: it counts as incomplete, whatever it holds.
_BEGUN: Final = frozenset({"in-progress", "stopped"})


@dataclass(slots=True)
class _Piece:
    """Part of a form: one resource with the item scores or the total that it holds."""

    reference: str
    at: Moment | None
    issued: str
    encounter: str | None
    links: frozenset[str]
    is_response: bool
    begun_only: bool = False
    items: dict[int, int] = field(default_factory=dict)
    totals: set[int] = field(default_factory=set)
    clashes: bool = False


def read_forms(view: View, observed: Observed) -> dict[str, tuple[Form, ...]]:
    """The forms of each instrument, by its fact name, in a stable order."""
    answered = tuple(_answered(view))
    minutes = timedelta(minutes=view.knowledge.screens.same_form_minutes)
    found = {}
    for instrument in view.knowledge.screens.instrument:
        pieces = [*_observed(instrument, observed, view.knowledge), *_responded(instrument, answered, view)]
        found[instrument.fact] = tuple(_form(instrument, group) for group in _grouped(pieces, minutes))
    return found


def forms_had(view: View) -> Had:
    """Were both places where a form can lie received?"""
    return min(view.had_for("epds_total"), view.had("questionnaire_responses"))


# --- Observations ---------------------------------------------------------------------------------


def _observed(instrument: Instrument, observed: Observed, knowledge: Knowledge) -> Iterator[_Piece]:
    places = {concept: n for n, concept in enumerate(instrument.items, start=1)}
    total_codes = {instrument.panel, *([instrument.total] if instrument.total else [])}
    wanted = (*instrument.items, *sorted(total_codes))
    for entry in observed.about_any(wanted):
        if entry.status not in _COUNTS:
            continue
        links = {
            target
            for element in ("derivedFrom", "hasMember")
            for reference in members(entry.resource.get(element))
            if (target := relative(reference)) is not None
        }
        piece = _Piece(
            reference=entry.evidence.reference,
            at=entry.at,
            issued=entry.issued,
            encounter=relative(entry.resource.get("encounter")),
            links=frozenset({entry.evidence.reference, *links}),
            is_response=False,
        )
        for holder, says in entry.parts:
            # Both codes carry totals in the wild: 99046-5, and the panel code 71354-5 (a PCORnet feed).
            if says & total_codes:
                _add_total(piece, _plain_number(holder), instrument)
            for concept in says & set(places):
                score = first((_plain_number(holder), _coded_score(holder.get("valueCodeableConcept"), {}, knowledge)))
                _add_item(piece, places[concept], score, instrument)
        if piece.items or piece.totals:
            yield piece


def _plain_number(holder: Mapping[str, Any]) -> int | None:
    """A whole number, as an integer, a quantity or a string."""
    quantity = holder.get("valueQuantity")
    for value in (
        holder.get("valueInteger"),
        quantity.get("value") if isinstance(quantity, dict) else None,
        holder.get("valueString"),
        holder.get("valueDecimal"),
    ):
        found = number(value)
        if found is not None and found == found.to_integral_value():
            return int(found)
    return None


# --- QuestionnaireResponses -----------------------------------------------------------------------


def _questionnaires(chart: Chart) -> dict[str, Resource]:
    found: dict[str, Resource] = {}
    for questionnaire in chart.of("Questionnaire"):
        if isinstance(url := questionnaire.get("url"), str):
            found[url] = questionnaire
        found[reference_of(questionnaire)] = questionnaire
    return found


@dataclass(frozen=True, slots=True)
class _Answer:
    """One item of a response: what was given, the question of its Questionnaire, and what the item is."""

    given: list[Mapping[str, Any]]
    question: Mapping[str, Any]
    concepts: frozenset[str]
    link: str


@dataclass(frozen=True, slots=True)
class _Answered:
    """A response of hers with its Questionnaire, if that was received, and its items however nested."""

    response: Resource
    definition: Resource | None
    answers: tuple[_Answer, ...]


def _answered(view: View) -> Iterator[_Answered]:
    questionnaires = _questionnaires(view.chart)
    for response in view.chart.of("QuestionnaireResponse"):
        if status_of(response) not in _WHOLE | _BEGUN or not _hers(response, view.chart):
            continue
        definition = _definition(response, questionnaires)
        questions = {str(q.get("linkId")): q for q in _flat((definition or {}).get("item"))}
        answers = []
        for item in _flat(response.get("item")):
            question = questions.get(str(item.get("linkId")), {})
            concepts = _item_concepts(item, question, view.knowledge)
            link = str(item.get("linkId", "")).strip().lower().lstrip("/")
            answers.append(_Answer(members(item.get("answer")), question, concepts, link))
        yield _Answered(response, definition, tuple(answers))


def _responded(instrument: Instrument, answered: Iterable[_Answered], view: View) -> Iterator[_Piece]:
    wanted = frozenset(instrument.items)
    for form in answered:
        by_item = any(not wanted.isdisjoint(answer.concepts) for answer in form.answers)
        if not by_item and not _is_this(instrument, form.response, form.definition, view.knowledge):
            continue
        piece = _Piece(
            reference=reference_of(form.response),
            at=moment(form.response.get("authored"), view.zone),
            issued="",
            encounter=relative(form.response.get("encounter")),
            links=frozenset({reference_of(form.response)}),
            is_response=True,
            begun_only=status_of(form.response) in _BEGUN,
        )
        for answer in form.answers:
            place = _place(instrument, answer)
            if place is None:
                continue
            # Two answers to one question are no score.
            score = _answer_score(answer.given[0], answer.question, view.knowledge) if len(answer.given) == 1 else None
            if place == 0:
                _add_total(piece, score, instrument)
            else:
                _add_item(piece, place, score, instrument)
        if piece.items or piece.totals:
            yield piece


def _hers(response: Resource, chart: Chart) -> bool:
    """Fathers fill in the EPDS, too: answered by another patient or a relative, it is not hers."""
    source = relative(response.get("source"))
    hers = f"Patient/{chart.patient.get('id')}"
    return source is None or source == hers or not source.startswith(("Patient/", "RelatedPerson/"))


def _definition(response: Resource, questionnaires: Mapping[str, Resource]) -> Resource | None:
    """The Questionnaire that a response answers: contained, or among those received, with or without its version."""
    canonical = response.get("questionnaire")
    if isinstance(canonical, dict):  # DSTU2 and STU3 sent a Reference
        canonical = canonical.get("reference")
    if not isinstance(canonical, str):
        return None
    if canonical.startswith("#"):
        contained = members(response.get("contained"))
        return next((c for c in contained if c.get("id") == canonical[1:]), None)
    return questionnaires.get(canonical.split("|")[0]) or questionnaires.get(relative(canonical) or "")


def _flat(items: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Items however nested: groups, and items below answers."""
    if depth > 8:
        return
    for item in members(items):
        yield item
        yield from _flat(item.get("item"), depth + 1)
        for answer in members(item.get("answer")):
            yield from _flat(answer.get("item"), depth + 1)


def _is_this(instrument: Instrument, response: Resource, definition: Resource | None, knowledge: Knowledge) -> bool:
    """By the code or title of its Questionnaire, or by the name in its canonical."""
    terms = knowledge.terminology
    named = {instrument.panel, instrument.total}
    if definition is not None:
        if any(terms.codings_of([c]).says & named for c in _listed(definition.get("code"))):
            return True
        titles = [definition.get("title"), definition.get("name"), definition.get("url")]
        if any(isinstance(t, str) and _named(instrument, t) for t in titles):
            return True
    canonical = response.get("questionnaire")
    return isinstance(canonical, str) and _named(instrument, canonical)


def _named(instrument: Instrument, text: str) -> bool:
    return any(title in text.lower() for title in instrument.titles)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _item_concepts(answer: Mapping[str, Any], question: Mapping[str, Any], knowledge: Knowledge) -> frozenset[str]:
    """The concepts of an item: by its code, or by a LOINC code in its linkId (LHC-Forms writes "/71353-7")."""
    terms = knowledge.terminology
    coded = terms.codings_of(_listed(question.get("code"))).says
    if coded:
        return coded
    for text in (answer.get("linkId"), question.get("linkId")):
        if isinstance(text, str):
            tail = text.rstrip("/").rsplit("/", 1)[-1]
            if found := terms.meaning_of_code("loinc", tail).says:
                return found
    return frozenset()


def _place(instrument: Instrument, answer: _Answer) -> int | None:
    """Which item this is: 1 and up, 0 for the total, None for neither. A position in a list is never used."""
    for place, concept in enumerate(instrument.items, start=1):
        if concept in answer.concepts:
            return place
    if instrument.total in answer.concepts:
        return 0
    if answer.concepts:
        return None  # a coded item of another instrument in the same form, whatever its linkId looks like
    if answer.link in instrument.total_linkids:
        return 0
    for place, names in enumerate(instrument.item_linkids, start=1):
        if answer.link in names:  # whole names only: "epds.q1" must not match "epds.q10"
            return place
    return None


def _answer_score(answer: Mapping[str, Any], question: Mapping[str, Any], knowledge: Knowledge) -> int | None:
    """The score of an answer: its own ordinal, the Questionnaire's, a number, or a code that is a digit."""
    options = {}
    for option in members(question.get("answerOption")):
        coding = option.get("valueCoding")
        score = first((_ordinal(option), _ordinal(coding)))
        if score is not None:
            options.update(dict.fromkeys(codes_in({"coding": [coding]}), score))
    coding = answer.get("valueCoding")
    own: int | None = first((_ordinal(answer), _ordinal(coding)))
    if own is not None:
        return own
    if isinstance(coding, dict):
        return _coded_score({"coding": [coding]}, options, knowledge)
    return _plain_number(answer)


def _ordinal(element: object) -> int | None:
    for name in ("ordinalValue", "itemWeight"):
        for extension in extensions(element, name):
            value = number(extension.get("valueDecimal", extension.get("valueInteger")))
            if value is not None and value == value.to_integral_value():
                return int(value)
    return None


def _coded_score(concept: object, options: Mapping[object, int], knowledge: Knowledge) -> int | None:
    for coding in codings(concept):
        if not isinstance(coding, dict):
            continue
        code = next(iter(codes_in({"coding": [coding]})), "")
        score: int | None = first((_ordinal(coding), options.get(code)))
        if score is not None:
            return score
        says = knowledge.terminology.codings_of([coding]).says
        for n in range(4):
            if f"phq_answer_{n}" in says:
                return n
        if code in {"0", "1", "2", "3"}:
            return int(code)
    return None


# --- putting a form together ----------------------------------------------------------------------


def _add_item(piece: _Piece, place: int, score: int | None, instrument: Instrument) -> None:
    if score is None or not 0 <= score <= instrument.item_max:
        return  # unscorable: it counts as not answered, never as 0
    if piece.items.get(place, score) != score:
        piece.clashes = True
        score = max(score, piece.items[place])
    piece.items[place] = score


def _add_total(piece: _Piece, total: int | None, instrument: Instrument) -> None:
    if total is not None and 0 <= total <= instrument.total_max:
        piece.totals.add(total)


def _grouped(pieces: list[_Piece], within: timedelta) -> list[list[_Piece]]:
    """Pieces of one form: linked by reference, or of the same encounter within minutes. Two responses are two forms."""
    pieces = sorted(pieces, key=lambda p: (p.at.latest.timestamp() if p.at else 0.0, p.reference))
    groups: list[list[_Piece]] = []
    for piece in sorted(pieces, key=lambda p: not p.is_response):
        home = next((g for g in groups if any(_linked(piece, other) for other in g)), None)
        if home is None and not piece.is_response:
            home = next((g for g in groups if all(_together(piece, other, within) for other in g)), None)
        if home is None:
            groups.append([piece])
        else:
            home.append(piece)
    return _merged(groups)


def _merged(groups: list[list[_Piece]]) -> list[list[_Piece]]:
    """A piece met late may link two groups."""
    result: list[list[_Piece]] = []
    for group in groups:
        home = next((g for g in result if any(_linked(a, b) for a in group for b in g)), None)
        if home is None:
            result.append(list(group))
        else:
            home.extend(group)
    return result


def _linked(one: _Piece, other: _Piece) -> bool:
    return bool(one.links & other.links)


def _together(one: _Piece, other: _Piece, within: timedelta) -> bool:
    return (
        one.encounter == other.encounter
        and one.at is not None
        and other.at is not None
        and abs(one.at.earliest - other.at.earliest) <= within
        and one.at.precision == other.at.precision
    )


def _form(instrument: Instrument, pieces: list[_Piece]) -> Form:
    items: dict[int, int] = {}
    totals: set[int] = set()
    clashes = any(piece.clashes for piece in pieces)
    for piece in pieces:
        totals |= piece.totals
        for place, score in piece.items.items():
            clashes = clashes or items.get(place, score) != score
            items[place] = max(score, items.get(place, score))
    whole = len(items) == len(instrument.items)
    told = sum(items.values())
    highest_possible = told + instrument.item_max * (len(instrument.items) - len(items))
    conflict = clashes or len(totals) > 1 or any(not told <= total <= highest_possible for total in totals)
    self_harm = items.get(instrument.self_harm_item) if instrument.self_harm_item else None
    begun = all(piece.begun_only for piece in pieces)
    stated = bool(totals) and (self_harm is not None or instrument.self_harm_item is None)
    dated = [piece for piece in pieces if piece.at is not None]
    lead = max(dated, key=lambda p: (p.at.latest if p.at else None, p.reference), default=None)
    score = max([told, *totals]) if items or totals else 0
    at = lead.at if lead is not None else None
    return Form(
        score=score,
        complete=(whole or stated) and not begun,
        answered=len(items),
        self_harm=self_harm,
        conflict=conflict,
        at=at,
        issued=max(piece.issued for piece in pieces),
        evidence=tuple(
            Evidence(reference, str(score), "{score}", at.text if at else None)
            for reference in sorted({piece.reference for piece in pieces})[:1]
        ),
    )


# --- the bipolar screen ---------------------------------------------------------------------------


def read_bipolar_screen(view: View, observed: Observed, pregnancy_began: datetime) -> Finding:
    """
    Positive, negative or unknown, this pregnancy. A value, an interpretation, a boolean.

    Any positive warns; to reassure, the latest must be negative and surely of this pregnancy.
    """
    seen = [
        (entry.at, _result(entry.resource, view.knowledge), entry.evidence) for entry in observed.of("bipolar_screen")
    ]
    fresh = [s for s in seen if s[0] is None or s[0].latest >= pregnancy_began]
    if positive := [e for at, result, e in fresh if result is True]:
        return present(*(Evidence(e.reference, "positive", None, e.date) for e in positive))
    negative = [
        (at, e)
        for at, result, e in fresh
        if result is False and at is not None and at.earliest >= pregnancy_began and not at.is_future(view.now)
    ]
    if negative:
        _, evidence = max(negative, key=lambda pair: (pair[0].latest, pair[1].reference))
        return Finding(State.ABSENT, (Evidence(evidence.reference, "negative", None, evidence.date),))
    if seen:
        return unknown(Doubt.UNREADABLE if fresh else Doubt.TOO_OLD, *(e for _, _, e in seen))
    had = view.had_for("bipolar_screen")
    return unknown(Doubt.NOT_RECORDED if had is Had.WHOLE else Doubt.NOT_RECEIVED)


def _result(resource: Resource, knowledge: Knowledge) -> bool | None:
    if isinstance(value := resource.get("valueBoolean"), bool):
        return value
    terms = knowledge.terminology
    for concept in (resource.get("valueCodeableConcept"), *concepts_in(resource.get("interpretation"))):
        says = terms.codings_of(codings(concept)).says
        words = {t.strip().lower() for t in texts(concept)}
        if "result_positive" in says or "positive" in words:
            return True
        if "result_negative" in says or "negative" in words:
            return False
    text = resource.get("valueString")
    word = text.strip().lower() if isinstance(text, str) else ""
    return {"positive": True, "negative": False}.get(word)
