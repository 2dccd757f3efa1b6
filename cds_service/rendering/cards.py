"""
The plan in words: one card per topic, each saying what was found, when, in which entry, and what can be chosen.

No free text of a chart gets in here: words come from the tables and the card files, and only numbers, units, dates,
the kind of entry and, of a medicine that nobody recognised, its reference come from the chart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import cached_property
from typing import Any, Final

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.clinical.eligibility import Met, Open
from cds_service.clinical.facts import Doubt, Evidence, Finding, State
from cds_service.clinical.order_check import Departure
from cds_service.clinical.plan import Topic as Planned
from cds_service.clinical.risk import Tier
from cds_service.clinical.stage import Stage
from cds_service.clinical.weighing import Reason, holds
from cds_service.hooks.response import LONGEST_SUMMARY, Card, Link
from cds_service.knowledge.loader import Knowledge
from cds_service.knowledge.narrative import MEDICINES
from cds_service.knowledge.shapes import Test
from cds_service.rendering.dialects import STANDARD, Dialect
from cds_service.rendering.figures import (
    Figures,
    arithmetic,
    charted_number,
    escape,
    kind_of_entry,
    latest,
    plain_text,
    sort_key,
    wall_clock,
)
from cds_service.rendering.numbers import Numbers
from cds_service.rendering.orders import Placed
from cds_service.rendering.standing import Standing, StandingCard
from cds_service.rendering.suggestions import Offered, Offers, identifier
from cds_service.rendering.wording import Phrase, Shown, Wording
from cds_service.settings import Site

MOST_ROWS: Final = 6
_MOST_LISTED: Final = 4
_MOST_NOT_RECOGNISED: Final = 3
# A total says nothing without the name of its form, which is the same in every language.
_FORMS: Final = {"epds_for_risk": "EPDS", "phq9_for_risk": "PHQ-9"}
# An id has at most 64 characters in FHIR. Some EHRs send longer ones (seen: 200), which would fill the card.
_POINTER: Final = re.compile(r"[A-Z][A-Za-z]{2,40}(/[A-Za-z0-9._~-]{1,64})?")


def write(
    consultation: Consultation,
    who: Encountered,
    knowledge: Knowledge,
    wording: Wording,
    site: Site,
    dialect: Dialect = STANDARD,
    *,
    links: tuple[Link, ...] = (),
) -> list[dict[str, Any]]:
    """
    The cards of the plan as CDS Hooks JSON, in the plan's order, each with these links.

    The same thought gives the same bytes.
    """
    page = _Page(consultation, who, knowledge, wording, site, dialect)
    cards = (replace(page.card(topic), links=links) for topic in consultation.plan.topics)
    return [dialect.spoken(card, site).as_json() for card in cards]


def write_failed(
    who: Encountered, knowledge: Knowledge, wording: Wording, site: Site, today: date, dialect: Dialect = STANDARD
) -> dict[str, Any]:
    """The one card when an order for prevention is drafted and thinking about it broke down: never silence."""
    code, variant = "KETDATA", "failed"
    standing = Standing.of(knowledge, wording, site)[MEDICINES]
    card = standing.cards[code]
    words = card.wording
    why = standing.why.get(f"why_{who.hook.replace('-', '_')}_medicine", standing.why["why_order_sign_medicine"])
    said = Card(
        uuid=identifier(who, code),
        summary=_fitting(words.summaries[variant], standing.words),
        indicator="warning",
        detail="\n\n".join([why, words.says[variant].fill(standing.words), standing.footer(who, today)]),
        source=card.source,
        override_reasons=card.override_reasons,
    )
    return dialect.spoken(said, site).as_json()


class _Page:
    """Everything that the cards of one call are written from."""

    def __init__(
        self,
        consultation: Consultation,
        who: Encountered,
        knowledge: Knowledge,
        wording: Wording,
        site: Site,
        dialect: Dialect,
    ) -> None:
        self.thought = consultation
        self.facts = consultation.facts
        self.who = who
        self.knowledge = knowledge
        self.site = site
        self.blocks = wording.blocks
        self.resources = wording.resources
        now, clock = consultation.facts.now, wall_clock(consultation, site)
        self.figures = Figures(wording.blocks, wording.units, now, _too_old(consultation), clock)
        self.numbers = Numbers(self.figures, knowledge)
        about = Standing.of(knowledge, wording, site)
        self.standing = about[self._medicines()]
        self.ordered = about[self._drafted_medicine() or self._medicines()]
        self.bereaved = self.facts["fetal_or_newborn_death"].state is State.PRESENT
        self.adds = _adds(consultation)
        self.offers = Offers(consultation, self.standing, Placed(who, consultation.facts), self.adds, dialect)
        self.footer = self.standing.footer(who, consultation.facts.now.date())

    def say(self, block: str, **words: object) -> str:
        return self.blocks[block].fill(words)

    # --- the card ----------------------------------------------------------------------------------

    def card(self, topic: Planned) -> Card:
        card = self.standing.cards[topic.code]
        words = card.wording
        variant = self._variant(topic)
        names = {**self.standing.words, **self._words(topic, variant)}
        offered = self.offers.on(topic.code, variant, words)
        return Card(
            uuid=identifier(self.who, topic.code),
            summary=_fitting(words.summaries[variant], names),
            indicator=topic.indicator.value,
            detail=self._detail(topic.code, card, self._first_words(words.says[variant].fill(names), variant), offered),
            source=card.source,
            suggestions=offered.suggestions,
            override_reasons=card.override_reasons,
        )

    def _first_words(self, say: str, variant: str) -> str:
        said = variant.startswith("bereaved")
        return f"{say}\n\n{self.say('bereaved')}" if self.bereaved and not said else say

    def _detail(self, topic: str, card: StandingCard, say: str, offered: Offered) -> str:
        parts: dict[str, Callable[[], str]] = {
            "why_now": self._why_now,
            "say": lambda: say,
            "by_hand": lambda: self._by_hand(offered, card),
            "departures": self._departures,
            "data_used": lambda: self._data_used(topic, card),
            "rules_from": self._rules_from,
            "not_found": lambda: self._not_found(topic),
            "meaning": self._meaning,
            "options": lambda: self._options(card, offered.already),
            "dose": self._dose,
            "start_checklist": self._start_checklist,
            "monitoring": self._monitoring,
            "lactation": self._lactation,
            "evidence_brief": self._evidence_brief,
            "status": self._status,
            "footer": lambda: self.footer,
        }
        told = {**self.standing.parts, **{name: parts[name]() for name in card.asks}}
        return "\n\n".join([said for paragraph in card.wording.detail if (said := paragraph.fill(told))])

    # --- which variant, which words ---------------------------------------------------------------

    def _variant(self, topic: Planned) -> str:
        thought = self.thought
        variant = "ordered" if thought.occasion.ppd_order else "offered"
        match topic.code:
            case "PPDSAFETY":
                variant = self._safety_variant
            case "PPDSCREEN":
                variant = self._screen_variant
            case "KETORDER":
                variant = "critical" if any(d.critical for d in thought.departures) else "departs"
            case "KETCONTRA" if self.bereaved and thought.occasion.ppd_order:
                variant = "bereaved_ordered"
            case "PPDRISK" | "PPDFOLLOWUP" | "KETCONTRA" | "KETREVIEW" if self.bereaved:
                variant = "bereaved"
            case "PPDRISK" | "PPDFOLLOWUP":
                variant = "high" if thought.risk.tier is Tier.HIGH else "elevated"
            case "KETOPTION" if not thought.occasion.ppd_order:
                variant = "before_birth" if thought.occasion.stage is Stage.PREGNANT else "after_birth"
            case "KETOPTION" if self.ordered is not self.standing:
                variant = "ordered_other"
        return variant

    @cached_property
    def _safety_variant(self) -> str:
        if self.facts["safety_assessed_since"].state is State.PRESENT:
            return "assessed"
        return "answer" if any(test.banded for test, _ in self._safety) else "recorded"

    @cached_property
    def _screen_variant(self) -> str:
        """As in the plan: no complete current EPDS, or a positive screen with no bipolar screen beside it."""
        if self.thought.occasion.hook == "encounter-discharge":
            return "discharge"
        positive = self.facts["positive_screen"].state is State.PRESENT
        bipolar = positive and self.facts["bipolar_known"].state is not State.PRESENT
        if self.facts["epds_current"].state is State.PRESENT:
            return "bipolar"
        return "both" if bipolar else "epds"

    def _words(self, topic: Planned, variant: str) -> dict[str, str]:
        """What the card file was promised for its summary and its first sentences, and only a chart can tell."""
        words: dict[str, str] = {}
        eligibility = self.thought.eligibility
        match topic.code:
            case "PPDSAFETY":
                value, when = self._safety_words
                words = {"value": value, "when": when}
            case "KETCONTRA":
                words = self._found(eligibility.contraindications)
            case "KETREVIEW":
                words = self._found(eligibility.reviews)
            case "KETDATA":
                missing = eligibility.missing
                words = {
                    "reason": self._one_of(len(missing), self._open_item(missing[0]) if missing else ""),
                    "count": str(len(missing)),
                    "ids": ", ".join(open_.id for open_ in missing),
                }
            case "KETORDER":
                worst = sorted(self.thought.departures, key=lambda d: not d.critical)
                words = {
                    "ordered": self.ordered.medicine,
                    "what": plain_text(worst[0].what),
                    "drafted": plain_text(self._drafted(worst[0])),
                    "expected": plain_text(worst[0].expected),
                    "count": str(len([d for d in worst if d.critical] if variant == "critical" else worst)),
                }
            case "KETNOTIND" | "KETOPTION" | "KETNOPROTO":
                score = self.facts["epds_current_score"]
                words = {
                    "ordered": self.ordered.medicine,
                    "epds": self.figures.value(score) if score.state is State.PRESENT else self.say("epds_not_known"),
                    "when": self.figures.age(latest(score.evidence)),
                    "dose": f"{self.thought.dose.dose_mg:f}" if self.thought.dose else "",
                }
            case "PPDSCREEN":
                screens = self._met_tests(self.knowledge.risk.positive_screen)
                value, when = self._reason_words(*screens[0]) if screens else ("", "")
                form = _FORMS.get(screens[0][0].fact, "") if screens else ""
                words = {"value": f"{form} {value}".strip(), "when": when}
            case "PPDRISK":
                because = self.thought.risk.because
                words = {"reason": self._reason_text(because[0]) if because else "", "count": str(len(because))}
        return words

    def _found(self, met: tuple[Met, ...]) -> dict[str, str]:
        reason = self._reason_text(met[0].because[0]) if met else ""
        return {
            "reason": self._one_of(len(met), reason),
            "count": str(len(met)),
            "ids": ", ".join(m.row.id for m in met),
        }

    def _one_of(self, count: int, reason: str) -> str:
        """The first of several, and how many more there are: or it would read as the only one."""
        return self.say("reason_and_more", reason=reason, number=count - 1) if count > 1 else reason

    def _medicines(self) -> tuple[str, ...]:
        """The medicine that is computed or drafted or the site's; both when nobody can tell."""
        if self.thought.dose is not None:
            return (self.thought.dose.protocol.medicine,)
        if drafted := self._drafted_medicine():
            return drafted
        protocol = self.knowledge.protocol(self.site.protocol.id) if self.site.protocol else None
        return (protocol.medicine,) if protocol else tuple(MEDICINES)

    def _drafted_medicine(self) -> tuple[str, ...]:
        """The one that is drafted for prevention, which may be another than the protocol's; else none."""
        drafted = {o.medicine for o in self.thought.orders if o.for_prevention and o.medicine in MEDICINES}
        one = self.thought.occasion.ppd_order and len(drafted) == 1
        return tuple(m for m in MEDICINES if m in drafted) if one else ()

    # --- why now, data, not found -----------------------------------------------------------------

    def _why_now(self) -> str:
        block = f"why_{self.thought.occasion.hook.replace('-', '_')}"
        if self.thought.occasion.ppd_order and f"{block}_medicine" in self.standing.why:
            block = f"{block}_medicine"
        return self.ordered.why[block]

    def _data_used(self, topic: str, card: StandingCard) -> str:
        rows = list(dict.fromkeys(self._rows(topic, card)))
        more = ["", self.say("data_more", number=len(rows) - MOST_ROWS)] if len(rows) > MOST_ROWS else []
        table = "\n".join([self.say("data_heading"), *rows[:MOST_ROWS], *more]) if rows else ""
        unknown = self._not_recognised() if topic.startswith("KET") else ""
        return "\n\n".join(part for part in (table, unknown) if part)

    def _not_recognised(self) -> str:
        """The medicines that no rule has looked at: how many, and where the first of them stand."""
        found = self.thought.not_recognised
        if not found:
            return ""
        items = [
            self.say("not_recognised_item", reference=_pointer(entry, self.resources), when=self.figures.when(entry))
            for entry in found[:_MOST_NOT_RECOGNISED]
        ]
        if len(found) > len(items):
            items.append(self.say("and_more", number=len(found) - len(items)))
        return self.say("not_recognised", number=len(found), list="; ".join(items))

    def _rows(self, topic: str, card: StandingCard) -> Iterator[str]:
        eligibility = self.thought.eligibility
        match topic:
            case "KETCONTRA":
                yield from self._criterion_rows((*eligibility.contraindications, *eligibility.reviews))
            case "KETREVIEW":
                yield from self._criterion_rows(eligibility.reviews)
            case "PPDRISK" | "PPDFOLLOWUP":
                because = self.thought.risk.because
                yield from (self._reason_row(r.says, self._reason_value(r), r.evidence) for r in because)
            case "PPDSAFETY":
                yield from (self._reason_row(t.says, self._reason_value(r), r.evidence) for t, r in self._safety)
        for row in card.shown:
            known = {fact: f for fact in row.facts if (f := self.facts[fact]).state is State.PRESENT and f.values}
            if known:
                yield self._shown(row, known)

    def _criterion_rows(self, met: Iterable[Met]) -> Iterator[str]:
        for criterion in met:
            for reason in criterion.because:
                test = _test_of(criterion.row.test, reason)
                kind = (test.kind if test else None) or criterion.row.kind
                fact = self.say("data_rule", id=criterion.row.id, kind=self.standing.kinds[kind], says=reason.says)
                yield self._reason_row(fact, self._reason_value(reason), reason.evidence)

    def _shown(self, row: Shown, known: Mapping[str, Finding]) -> str:
        """One row for facts that belong together. The oldest date is shown: it is the one that can mislead."""
        if row.names:
            value = self.numbers.named(dict(zip(row.facts, row.names, strict=True)), known)
        elif len(row.facts) == 1:
            value = self.numbers.of(row.facts[0], known[row.facts[0]])
        else:
            value = self.numbers.joined(row.facts, known)
        newest = [entry for f in known.values() if (entry := latest(f.evidence)) is not None]
        return self._row(row.says, value, min(newest, key=sort_key, default=None))

    def _reason_row(self, fact: str, value: str, evidence: tuple[Evidence, ...]) -> str:
        return self._row(fact.replace("|", "/"), value or self.say("data_recorded"), latest(evidence))

    def _row(self, fact: str, value: str, entry: Evidence | None) -> str:
        when, resource = self.figures.when(entry), kind_of_entry(entry, self.resources)
        return self.say("data_row", fact=fact, value=value, when=when, resource=resource)

    def _rules_from(self) -> str:
        """The first source of each rule that applies, by its title."""
        cited = dict.fromkeys(met.row.sources[0] for met in self.thought.eligibility.contraindications)
        sources = [self.knowledge.sources[id_] for id_ in cited]
        titles = [f"{source.title} ({self.say('sure_' + source.sure.replace(' ', '_'))})" for source in sources]
        return self.say("rules_from", list=self._listed(titles, 2) + ".") if titles else ""

    def _not_found(self, topic: str) -> str:
        eligibility, block = self.thought.eligibility, "not_found"
        match topic:
            case "KETDATA":
                items = [self._open_item(open_, full=True) for open_ in eligibility.missing]
            case "KETOPTION":
                items = [self._open_item(open_) for open_ in eligibility.confirm]
            case "KETCONTRA" | "KETREVIEW":
                items = [self._open_item(open_) for open_ in eligibility.missing]
            case "PPDSCREEN":
                screens = self.standing.screen_inputs
                items = [self._open_item(open_, full=True) for open_ in eligibility.missing if open_.id in screens]
            case _:
                block, items = "not_known", list(self.thought.risk.not_known)
        most = len(items) if topic == "KETDATA" else _MOST_LISTED
        text = [self.say(block, list=self._listed(items, most))] if items else []
        if self.thought.set_aside:
            text.append(self.say("set_aside", number=len(self.thought.set_aside)))
        return "\n\n".join(text)

    def _open_item(self, open_: Open, *, full: bool = False) -> str:
        doubt = ", ".join(self.standing.doubts[doubt] for doubt in open_.doubts)
        says = open_.says[:1].lower() + open_.says[1:] if open_.says[1:2].islower() else open_.says
        if not full:
            return self.say("not_found_item", says=says, doubt=doubt)
        newest = latest(open_.last_seen)
        seen = [e for e in open_.last_seen if newest is not None and e.date == newest.date and charted_number(e)]
        if not seen:
            return self.say("not_found_limit", says=says, doubt=doubt, limit=open_.limit)
        last = f"{self._each_by_name(seen)} ({self.figures.when(newest)})"
        return self.say("not_found_last", says=says, doubt=doubt, limit=open_.limit, last=last)

    def _each_by_name(self, entries: Iterable[Evidence]) -> str:
        """Numbers with their units, and with the name of the fact that each is of, where it has one in the tables."""
        said = []
        for entry in entries:
            name = next((name for fact, name in self._names.items() if entry in self.facts[fact].evidence), "")
            value = self.figures.entry(entry)
            said.append(self.say("value_named", name=name, value=value) if name else value)
        return ", ".join(dict.fromkeys(said))

    @cached_property
    def _names(self) -> dict[str, str]:
        rows = (row for card in self.standing.cards.values() for row in card.shown if row.names)
        return {fact: name for row in rows for fact, name in zip(row.facts, row.names, strict=True)}

    def _listed(self, items: list[str], most: int = _MOST_LISTED) -> str:
        shown = items[:most]
        if len(items) > most:
            shown.append(self.say("and_more", number=len(items) - most))
        return "; ".join(shown)

    # --- what it means, options -------------------------------------------------------------------

    def _meaning(self) -> str:
        risk = self.thought.risk
        text = [
            self.standing.tiers[risk.tier],
            self.standing.groups[risk.frequency.id] if risk.frequency else self.standing.no_group,
        ]
        if risk.context:
            text.append(self.say("context", list="; ".join(reason.says for reason in risk.context)))
        return " ".join(text)

    def _options(self, card: StandingCard, already: tuple[str, ...]) -> str:
        # After a loss no medicine is suggested: neither the protocol's nor another (decision logic section 4.2, R23).
        options = card.drugless_options if self.bereaved else card.options
        if not options or not already:
            return options
        return f"{options}\n\n{self.say('already', list='; '.join(already))}"

    def _by_hand(self, offered: Offered, card: StandingCard) -> str:
        """What this EHR cannot take over with a click; what is ordered already, where no list of options says so."""
        parts = []
        if offered.by_hand:
            lines = (self.say("by_hand_line", says=description) for description in offered.by_hand)
            parts.append("\n".join([self.say("by_hand"), "", *lines]))
        if offered.already and not card.options:
            parts.append(self.say("already", list="; ".join(offered.already)))
        return "\n\n".join(parts)

    # --- the medicine -----------------------------------------------------------------------------

    def _dose(self) -> str:
        dose = self.thought.dose
        if dose is None:
            return ""
        text = self.say(
            "dose",
            approval=self.standing.approval_words,
            calculation=arithmetic(dose, self.blocks),
            weight_when=self.figures.when(dose.weight),
            strength=f"{dose.protocol.strength_mg_per_ml:f}",
        )
        label = dose.protocol.evidence_label
        return f"{text} {self.say('dose_label', label=label)}" if label else text

    def _monitoring(self) -> str:
        return "\n".join([self.say("monitoring"), "", *self.standing.watch(self.adds)])

    def _start_checklist(self) -> str:
        """Each line so that a yes lets her have it: what must be known, what may not be so, what can have changed."""
        eligibility, as_asked = self.thought.eligibility, self.standing.confirm_as
        known = [as_asked[open_.id] for open_ in eligibility.confirm if open_.id in as_asked]
        says = dict.fromkeys([*known, *self._asked_because_of_the_chart()])
        asked = [self.say("start_confirm", says=line) for line in says]
        # A rule that nobody could answer speaks against the medicine: she has it only if it is not so.
        asked += [
            self.say("start_confirm_not", says=open_.says) for open_ in eligibility.confirm if open_.id not in as_asked
        ]
        start = self.standing.start(eligibility.modifiers, says)
        return "\n".join([self.say("start_heading"), "", *asked, *start])

    def _asked_because_of_the_chart(self) -> Iterator[str]:
        """Checklist lines that only some charts call for, such as an empty problem list."""
        for row in self.knowledge.orders.start_check:
            if row.only_if is not None and self.thought.facts[row.only_if].state is State.PRESENT:
                yield row.says

    def _lactation(self) -> str:
        modifiers = self.thought.eligibility.modifiers
        feeds = any(reason.fact == "breastfeeding" for met in modifiers for reason in met.because)
        if not feeds and not self.bereaved:
            return ""
        return self.standing.lactation["bereaved" if self.bereaved else "breastfeeding"]

    def _evidence_brief(self) -> str:
        if self.bereaved:
            return ""  # no medicine is talked about to her now
        return self.standing.evidence_brief

    def _status(self) -> str:
        configuration = self.thought.eligibility.configuration
        text = self.standing.status_unapproved if configuration else self.standing.status
        return " ".join([text, *(self.say(f"configuration_{code.lower()}") for code in configuration)])

    def _departures(self) -> str:
        if not self.thought.departures:
            return ""
        told = [(d.what, self._drafted(d), d.expected) for d in self.thought.departures]
        rows = [
            self.say("departure_row", what=escape(what), drafted=escape(drafted), expected=escape(expected))
            for what, drafted, expected in told
        ]
        return "\n".join([self.say("departures_heading"), *rows])

    def _drafted(self, departure: Departure) -> str:
        understood = not self.thought.route_not_understood(departure)
        return departure.drafted if understood else self.say("route_not_understood")

    # --- reasons ------------------------------------------------------------------------------------

    @cached_property
    def _safety(self) -> list[tuple[Test, Reason]]:
        return self._met_tests(self.knowledge.risk.safety)

    def _met_tests(self, tests: Iterable[Test]) -> list[tuple[Test, Reason]]:
        return [
            (test, Reason(test.fact, test.says, self.facts[test.fact].evidence))
            for test in tests
            if holds(test, self.facts[test.fact]) is State.PRESENT
        ]

    @cached_property
    def _safety_words(self) -> tuple[str, str]:
        answers = [pair for pair in self._safety if pair[0].banded] or self._safety
        return self._reason_words(*answers[0]) if answers else ("", self.say("when_none"))

    def _reason_words(self, test: Test, reason: Reason) -> tuple[str, str]:
        return self.figures.number(self.facts[test.fact]), self.figures.age(latest(reason.evidence))

    def _reason_text(self, reason: Reason) -> str:
        value = self._reason_value(reason)
        return f"{reason.says}: {value}" if value else reason.says

    def _reason_value(self, reason: Reason) -> str:
        return self.numbers.because_of(reason, self.facts[reason.fact])


def _pointer(entry: Evidence, resources: Mapping[str, str]) -> str:
    """Where to look: the relative reference, or only the kind of entry when the id is too long to be read."""
    return escape(entry.reference) if _POINTER.fullmatch(entry.reference) else kind_of_entry(entry, resources)


def _fitting(summaries: Iterable[Phrase], words: Mapping[str, str]) -> str:
    """The first form that fits. The last is proofread at start to fit; should it not, it is cut at a word."""
    text = ""
    for summary in summaries:
        text = summary.fill(words)
        if len(text) <= LONGEST_SUMMARY:
            return text
    return text[: LONGEST_SUMMARY - 1].rsplit(" ", 1)[0] + "…"


def _adds(consultation: Consultation) -> tuple[str, ...]:
    """What the modifiers add to the orders. Milk has a part of its own."""
    return tuple(
        met.row.adds
        for met in consultation.eligibility.modifiers
        if met.row.adds and all(reason.fact != "breastfeeding" for reason in met.because)
    )


def _test_of(tests: Iterable[Test], reason: Reason) -> Test | None:
    return next((test for test in tests if (test.fact, test.says) == (reason.fact, reason.says)), None)


def _too_old(consultation: Consultation) -> frozenset[str]:
    """The entries that would have told, had they not been past their limit."""
    eligibility = consultation.eligibility
    return frozenset(
        entry.reference
        for open_ in (*eligibility.missing, *eligibility.confirm)
        if Doubt.TOO_OLD in open_.doubts
        for entry in open_.last_seen
    )
