"""The questionnaires: every form of the EPDS, PHQ-9 and GAD-7 that her chart holds, and the bipolar screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from cds_service.clinical.facts import Doubt, Evidence, Finding, State, present, unknown
from cds_service.clinical.moment import Moment, Precision
from cds_service.clinical.screening import Form
from cds_service.ehr.answers import Had
from cds_service.ehr.elements import (
    Resource,
    codings,
    concepts_in,
    members,
    moment,
    reference_of,
    relative,
    status_of,
    texts,
)
from cds_service.ehr.reading.observations import Entry, Observed, is_withheld
from cds_service.ehr.reading.questionnaires import (
    UNSURE,
    Filled,
    Key,
    by_address,
    canonical_of,
    definition_of,
    filled_in,
    keys_of,
    names_total,
    places_of,
    score_of,
)
from cds_service.ehr.reading.view import View, missing
from cds_service.ehr.units import Units
from cds_service.knowledge import Knowledge
from cds_service.knowledge.shapes import Instrument

_COUNTS: Final = frozenset({"final", "amended", "corrected"})
_WHOLE: Final = frozenset({"completed", "amended"})
# A form that was begun and left may only raise: it counts as incomplete, whatever it holds.
_BEGUN: Final = frozenset({"in-progress", "stopped"})
_IN_ERROR: Final = "entered-in-error"
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_DAY: Final = timedelta(days=1)


@dataclass(slots=True)
class _Piece:
    """
    Part of a form: one resource with the item scores or the total that it holds.

    `unread`: it tells a score that cannot be read. Then the form is there, and incomplete: it is not "none".
    `doubted`: the items, or the total (0), whose number cannot be one. `withheld`: those that stand beside the reason
    why there is no answer. They may raise a form, and never complete it.
    """

    reference: str
    at: Moment | None
    issued: str
    encounter: str | None
    links: frozenset[str]
    is_response: bool
    begun_only: bool = False
    items: dict[int, int] = field(default_factory=dict)
    totals: set[int] = field(default_factory=set)
    doubted: set[int] = field(default_factory=set)
    withheld: set[int] = field(default_factory=set)
    clashes: bool = False
    unread: bool = False

    @property
    def tells(self) -> bool:
        return bool(self.items or self.totals or self.unread)


def read_forms(view: View, observed: Observed) -> dict[str, tuple[Form, ...]]:
    """The forms of each instrument, by its fact name, in a stable order."""
    responses = view.chart.of("QuestionnaireResponse")
    whose = [(response, _is_hers(response.get("source"), response, view)) for response in responses]
    # What was taken from his form, or from one that was written in error, tells nothing about her.
    others = frozenset(reference_of(one) for one, hers in whose if hers is False or status_of(one) == _IN_ERROR)
    definitions = by_address(view.chart.of("Questionnaire"))
    filled = [
        filled_in(response, definitions, view.knowledge, sure=hers is True)
        for response, hers in whose
        if hers is not False and status_of(response) in _WHOLE | _BEGUN
    ]
    nameless = [entry for entry in observed if not entry.concepts]
    minutes = timedelta(minutes=view.knowledge.screens.same_form_minutes)
    found = {}
    for key in view.knowledge.once(keys_of):
        pieces = [
            *_observed(key, observed, nameless, others, view),
            *(piece for form in filled if not form.is_none_of(key) and (piece := _responded(key, form, view)).tells),
        ]
        groups = (group for group in _grouped(pieces, minutes) if any(piece.tells for piece in group))
        found[key.instrument.fact] = tuple(_form(key.instrument, group) for group in groups)
    return found


def forms_had(view: View) -> Had:
    """Were both places where a form can lie received? Cut short weighs most: there is more, and it may be newer."""
    both = view.had_for("epds_total"), view.had("questionnaire_responses")
    return Had.CUT_SHORT if Had.CUT_SHORT in both else min(both)


def _is_hers(reference: object, resource: Resource, view: View) -> bool | None:
    """Fathers fill in the EPDS, too: answered by another patient or a relative, it is not hers. None: not sure."""
    who = relative(reference)
    if who is None or who in (f"Patient/{view.chart.patient.get('id')}", relative(resource.get("subject"))):
        return True
    if who.startswith("#"):
        found = (c for c in members(resource.get("contained")) if f"#{c.get('id')}" == who)
        kind = next(found, {}).get("resourceType")
    elif who.startswith("urn:"):
        kind = reference.get("type") if isinstance(reference, dict) else None
    else:
        kind = who.split("/", 1)[0]
    if not isinstance(kind, str):
        return None
    return kind not in {"Patient", "RelatedPerson"}


# --- Observations ---------------------------------------------------------------------------------


def _observed(
    key: Key, observed: Observed, nameless: Iterable[Entry], others: frozenset[str], view: View
) -> Iterator[_Piece]:
    entries = observed.about_any(key.places)
    # Words speak only where no code says anything to us.
    by_words = dict.fromkeys(
        entry
        for entry in nameless
        if any(names_total(key.instrument, text) for text in texts(entry.resource.get("code")))
    )
    for entry in dict.fromkeys((*entries, *by_words)):
        if entry.status not in _COUNTS or not _performed_by_her(entry.resource, view):
            continue
        links = {
            target
            for element in ("derivedFrom", "hasMember")
            for reference in members(entry.resource.get(element))
            if (target := relative(reference)) is not None
        }
        if links & others:
            continue
        piece = _Piece(
            reference=entry.reference,
            at=entry.at,
            issued=entry.issued,
            encounter=relative(entry.resource.get("encounter")),
            links=frozenset({entry.reference, *links}),
            is_response=False,
        )
        for holder, says in entry.parts:
            place = 0 if entry in by_words and holder is entry.resource else key.place(says)
            if place is not None and any(name.startswith("value") for name in holder):
                score = score_of(key.instrument, place, holder, {}, view.knowledge, view.units)
                withheld = is_withheld(entry.resource) or is_withheld(holder)
                _put(piece, key.instrument, place, score, withheld=withheld)
        # A panel that only names its members still holds them together.
        if piece.tells or links:
            yield piece


def _performed_by_her(resource: Resource, view: View) -> bool:
    performers = members(resource.get("performer"))
    return not performers or any(_is_hers(performer, resource, view) is not False for performer in performers)


# --- QuestionnaireResponses -----------------------------------------------------------------------


def wanted_questionnaires(
    responses: Iterable[Resource], questionnaires: Iterable[Resource], knowledge: Knowledge
) -> frozenset[str]:
    """
    The canonicals, as the responses write them, of forms that cannot be read without their Questionnaire.

    The Questionnaire is not among those at hand, and without it an answer has no score, or a question no name.
    """
    definitions = by_address(questionnaires)
    units = Units(knowledge.units)
    keys = knowledge.once(keys_of)
    return frozenset(
        canonical
        for response in responses
        if (canonical := canonical_of(response)) is not None
        and not canonical.startswith("#")
        and status_of(response) in _WHOLE | _BEGUN
        and definition_of(response, definitions) is None
        and not _speaks_for_itself(filled_in(response, {}, knowledge), keys, knowledge, units)
    )


def _speaks_for_itself(form: Filled, keys: Iterable[Key], knowledge: Knowledge, units: Units) -> bool:
    """Is the form readable without its Questionnaire, or can it be none of ours?"""
    placed: set[int] = set()
    for key in keys:
        piece = _Piece("", None, "", None, frozenset(), is_response=True)
        placed |= _read_answers(key, form, piece, knowledge, units)
        if piece.unread:
            return False
        if len(piece.items) == len(key.instrument.items):
            return True
    return not any(
        n not in placed and not answer.concepts and any(_SCORABLE & set(given) for given in answer.given)
        for n, answer in enumerate(form.answers)
    )


# The kinds of answers that an item of a questionnaire is given as. A date or a sentence is none.
_SCORABLE: Final = frozenset({"valueCoding", "valueInteger", "valueDecimal"})


def _responded(key: Key, form: Filled, view: View) -> _Piece:
    piece = _Piece(
        reference=reference_of(form.response),
        at=moment(form.response.get("authored"), view.zone),
        issued="",
        encounter=relative(form.response.get("encounter")),
        links=frozenset({reference_of(form.response)}),
        is_response=True,
        begun_only=status_of(form.response) in _BEGUN or not form.sure,
    )
    _read_answers(key, form, piece, view.knowledge, view.units)
    return piece


def _read_answers(key: Key, form: Filled, piece: _Piece, knowledge: Knowledge, units: Units) -> set[int]:
    """Puts the answers of a form into `piece`. Returns which of them are part of this instrument."""
    placed = set()
    for n, (answer, place) in enumerate(zip(form.answers, places_of(key, form), strict=True)):
        if place is None or not answer.given:
            continue
        placed.add(n)
        # Two answers to one question are no score.
        alone = answer.given[0] if len(answer.given) == 1 else {}
        score = score_of(key.instrument, place, alone, answer.question, knowledge, units)
        _put(piece, key.instrument, place, score, withheld=is_withheld(alone))
    if key.instrument.fact in form.names and not piece.tells:
        piece.unread = any(answer.given for answer in form.answers)
    return placed


def _put(piece: _Piece, instrument: Instrument, place: int, score: Decimal | None, *, withheld: bool) -> None:
    """Adds a score. What cannot be one leaves its item unanswered, never 0."""
    highest = instrument.item_max if place else instrument.total_max
    if withheld:
        piece.unread = True
        piece.withheld.add(place)
    if place == UNSURE or score is None:
        piece.unread = True
    elif score != score.to_integral_value() or not 0 <= score <= highest:
        piece.unread = True
        piece.doubted.add(place)
    elif place == 0:
        piece.totals.add(int(score))
    else:
        piece.clashes = piece.clashes or piece.items.get(place, score) != score
        piece.items[place] = max(int(score), piece.items.get(place, 0))


# --- putting a form together ----------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """Pieces of one form; where and when all of them were written: None, when that differs or nobody knows."""

    number: int
    pieces: list[_Piece] = field(default_factory=list)
    where: tuple[str | None, Precision] | None = None
    first: datetime = _EVER
    last: datetime = _EVER

    def add(self, piece: _Piece) -> None:
        where = _where(piece)
        if piece.at is None or (self.pieces and where != self.where):
            self.where = None
        else:
            at = piece.at.earliest
            self.first, self.last = (min(self.first, at), max(self.last, at)) if self.pieces else (at, at)
            self.where = where
        self.pieces.append(piece)

    def is_of_the_same(self, piece: _Piece, within: timedelta) -> bool:
        """Was the piece written in the same encounter, and within minutes of each of these?"""
        if self.where is None or piece.at is None or self.where != _where(piece):
            return False
        return piece.at.earliest - self.first <= within and self.last - piece.at.earliest <= within


def _where(piece: _Piece) -> tuple[str | None, Precision] | None:
    return (piece.encounter, piece.at.precision) if piece.at is not None else None


def _grouped(pieces: list[_Piece], within: timedelta) -> list[list[_Piece]]:
    """Pieces of one form: linked by reference, or of the same encounter within minutes. Two responses are two forms."""
    if len(pieces) < 2:
        return [pieces] if pieces else []
    pieces = sorted(pieces, key=lambda p: (p.at.latest.timestamp() if p.at else 0.0, p.reference))
    # From old to new: a group that is too old for one piece is too old for the next. A day more, for clocks that are
    # put back.
    reach = within + max((p.at.latest - p.at.earliest for p in pieces if p.at is not None), default=within) + _DAY
    groups: list[_Group] = []
    linked: dict[str, int] = {}
    near: dict[object, list[_Group]] = {}
    for piece in sorted(pieces, key=lambda p: not p.is_response):
        number, where = _first_linked(piece.links, linked), _where(piece)
        home = groups[number] if number is not None else None
        if home is None and not piece.is_response and piece.at is not None:
            latest = piece.at.latest
            near[where] = [group for group in near.get(where, ()) if latest - group.first <= reach]
            home = next((group for group in near[where] if group.is_of_the_same(piece, within)), None)
        if home is None:
            home = _Group(len(groups))
            groups.append(home)
            near.setdefault(where, []).append(home)
        home.add(piece)
        _link(piece.links, home.number, linked)
    return _merged([group.pieces for group in groups])


def _merged(groups: list[list[_Piece]]) -> list[list[_Piece]]:
    """A piece met late may link two groups."""
    result: list[list[_Piece]] = []
    linked: dict[str, int] = {}
    for group in groups:
        links = frozenset().union(*(piece.links for piece in group))
        home = _first_linked(links, linked)
        if home is None:
            home = len(result)
            result.append([])
        result[home] += group
        _link(links, home, linked)
    return result


def _first_linked(links: frozenset[str], linked: Mapping[str, int]) -> int | None:
    """The first group that one of these links points into."""
    return min((linked[link] for link in links if link in linked), default=None)


def _link(links: frozenset[str], home: int, linked: dict[str, int]) -> None:
    """Of two groups that share a link the first is looked at."""
    for link in links:
        linked[link] = min(home, linked.get(link, home))


def _form(instrument: Instrument, group: list[_Piece]) -> Form:
    pieces = [piece for piece in group if piece.tells]
    items: dict[int, int] = {}
    totals: set[int] = set()
    doubted: set[int] = set()
    withheld: set[int] = set()
    clashes = any(piece.clashes for piece in pieces)
    for piece in pieces:
        totals |= piece.totals
        doubted |= piece.doubted
        withheld |= piece.withheld
        for place, score in piece.items.items():
            clashes = clashes or items.get(place, score) != score
            items[place] = max(score, items.get(place, score))
    # A 0 beside a number that cannot be one, or beside the reason why there is none, does not reassure.
    items = {place: score for place, score in items.items() if score or place not in doubted | withheld}
    whole = len(items) == len(instrument.items) and withheld.isdisjoint(items)
    told = sum(items.values())
    highest_possible = told + instrument.item_max * (len(instrument.items) - len(items))
    doubtful = bool(items or totals) and not doubted.isdisjoint({0, *items})
    conflict = clashes or doubtful or len(totals) > 1 or any(not told <= total <= highest_possible for total in totals)
    self_harm = items.get(instrument.self_harm_item) if instrument.self_harm_item else None
    begun = all(piece.begun_only for piece in pieces)
    needed = {0, instrument.self_harm_item} if instrument.self_harm_item else {0}
    stated = bool(totals) and needed - {0} <= items.keys() and withheld.isdisjoint(needed)
    # The panel's own date stands in where its members have none.
    dated = [p for p in pieces if p.at is not None] or [p for p in group if p.at is not None]
    lead = max(dated, key=lambda p: (p.at.latest if p.at else None, p.reference), default=None)
    score = max([told, *totals])
    shown = str(score) if items or totals else None
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
            Evidence(reference, shown, "{score}" if shown else None, at.text if at else None)
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
        (entry.at, _told_result(entry.resource, view.knowledge), entry.evidence)
        for entry in observed.of("bipolar_screen")
        if _performed_by_her(entry.resource, view) and any(name.startswith(_TELLS) for name in entry.resource)
    ]
    had = view.had_for("bipolar_screen")
    fresh = [s for s in seen if s[0] is None or s[0].latest >= pregnancy_began]
    if positive := [e for at, result, e in fresh if result is True]:
        return present(*(Evidence(e.reference, "positive", None, e.date) for e in positive))
    negative = [
        (at, e)
        for at, result, e in fresh
        if result is False and at is not None and at.earliest >= pregnancy_began and not at.is_future(view.now)
    ]
    if negative:
        latest, evidence = max(negative, key=lambda pair: (pair[0].latest, pair[1].reference))
        # Such as a score without a result: it could be a positive one.
        if unread := [e for at, result, e in fresh if result is None and (at is None or at.latest >= latest.latest)]:
            return unknown(Doubt.UNREADABLE, *unread)
        if had is not Had.WHOLE:  # a later one, and a positive one, may stand on a page that did not come
            return unknown(missing(had), evidence)
        return Finding(State.ABSENT, (Evidence(evidence.reference, "negative", None, evidence.date),))
    if seen:
        return unknown(Doubt.UNREADABLE if fresh else Doubt.TOO_OLD, *(e for _, _, e in seen))
    return unknown(Doubt.NOT_RECORDED if had is Had.WHOLE else missing(had))


# An Observation without any of these says nothing, such as a panel that only names its members.
_TELLS: Final = ("value", "interpretation")


def _told_result(resource: Resource, knowledge: Knowledge) -> bool | None:
    """The result, unless it is a negative beside the reason why there is none."""
    result = _result(resource, knowledge)
    return None if result is False and is_withheld(resource) else result


def _result(resource: Resource, knowledge: Knowledge) -> bool | None:
    """Positive, negative or not told. A positive beside a negative is a positive: to warn, any of them counts."""
    told = set(_results(resource, knowledge))
    return True in told if told else None


def _results(resource: Resource, knowledge: Knowledge) -> Iterator[bool]:
    if isinstance(value := resource.get("valueBoolean"), bool):
        yield value
    for concept in (resource.get("valueCodeableConcept"), *concepts_in(resource.get("interpretation"))):
        says = knowledge.terminology.codings_of(codings(concept)).says
        yield from (sense for word, sense in _RESULTS.items() if f"result_{word}" in says)
        yield from _in_words(texts(concept))
    if isinstance(text := resource.get("valueString"), str):
        yield from _in_words([text])


_RESULTS: Final = {"positive": True, "negative": False}


def _in_words(said: Iterable[str]) -> Iterator[bool]:
    yield from (_RESULTS[word] for text in said if (word := text.strip().lower()) in _RESULTS)
