"""
The plan in words: one card per topic, each saying what was found, when, in which entry, and what can be chosen.

No free text of a chart gets in here: words come from the tables and the card files, and only numbers, units, dates and
the kind of entry come from the chart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Final

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.clinical.eligibility import Met, Open
from cds_service.clinical.facts import Doubt, Evidence, Finding, State
from cds_service.clinical.plan import Topic as Planned
from cds_service.clinical.risk import Tier
from cds_service.clinical.stage import Stage
from cds_service.clinical.weighing import Reason, holds
from cds_service.hooks.response import LONGEST_SUMMARY, Card, OverrideReason, Source, Topic
from cds_service.knowledge.loader import Knowledge
from cds_service.knowledge.narrative import MEDICINES, Statement
from cds_service.knowledge.shapes import Test
from cds_service.rendering.figures import Figures, charted_number, escape, kind_of_entry, latest, plain_text, sort_key
from cds_service.rendering.orders import OrderSet
from cds_service.rendering.suggestions import Offers, identifier
from cds_service.rendering.wording import Card as CardWords
from cds_service.rendering.wording import Wording
from cds_service.settings import Site

MOST_ROWS: Final = 6
_MOST_LISTED: Final = 4


def write(
    consultation: Consultation,
    who: Encountered,
    knowledge: Knowledge,
    wording: Wording,
    site: Site,
) -> list[dict[str, Any]]:
    """The cards of the plan as CDS Hooks JSON, in the plan's order. The same thought gives the same bytes."""
    page = _Page(consultation, who, knowledge, wording, site)
    return [page.card(topic).as_json() for topic in consultation.plan.topics]


def write_failed(who: Encountered, knowledge: Knowledge, wording: Wording, site: Site, today: date) -> dict[str, Any]:
    """The one card when an order for prevention is drafted and thinking about it broke down: never silence."""
    code, variant = "KETDATA", "failed"
    blocks, words = wording.blocks, wording.cards[code]
    table = knowledge.topics
    row = next(row for row in table.topic if row.code == code)
    either = blocks["either_medicine"].fill({})
    names = {"medicine": either, "Medicine": either[:1].upper() + either[1:]}
    why = blocks.get(f"why_{who.hook.replace('-', '_')}_medicine", blocks["why_order_sign_medicine"])
    parts = [why.fill(names), words.says[variant].fill(names), _footer(who, knowledge, wording, site, today)]
    return Card(
        uuid=identifier(who, code),
        summary=_fitting(phrase.fill(names) for phrase in words.summaries[variant]),
        indicator="warning",
        detail="\n\n".join(parts),
        source=Source(
            blocks["source_label"].fill({"site": site.name}), topic=Topic(code, table.topic_system, row.says)
        ),
        override_reasons=tuple(
            OverrideReason(reason, table.override_system, table.override_reason[reason])
            for reason in row.override_reasons
        ),
    ).as_json()


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of the table of data."""

    fact: str
    value: str
    when: str
    resource: str


class _Page:
    """Everything that the cards of one call are written from."""

    def __init__(
        self,
        consultation: Consultation,
        who: Encountered,
        knowledge: Knowledge,
        wording: Wording,
        site: Site,
    ) -> None:
        self.thought = consultation
        self.facts = consultation.facts
        self.who = who
        self.knowledge = knowledge
        self.evidence = knowledge.evidence
        self.wording = wording
        self.site = site
        self.orders = OrderSet.of(knowledge)
        self.figures = Figures(wording.blocks, wording.units, consultation.facts.now, _too_old(consultation))
        self.approval = site.protocol.approval if site.protocol else None

    def say(self, block: str, **words: object) -> str:
        return self.wording.blocks[block].fill(words)

    # --- the card ----------------------------------------------------------------------------------

    def card(self, topic: Planned) -> Card:
        words = self.wording.cards[topic.code]
        variant = self._variant(topic)
        names = self._words(topic, variant)
        suggestions, already = self._offers.on(topic.code, variant, words)
        row = next(row for row in self.knowledge.topics.topic if row.code == topic.code)
        table = self.knowledge.topics
        return Card(
            uuid=identifier(self.who, topic.code),
            summary=_fitting(phrase.fill(names) for phrase in words.summaries[variant]),
            indicator=topic.indicator.value,
            detail=self._detail(topic, words, self._first_words(variant, words, names), already),
            source=Source(
                self.say("source_label", site=self.site.name),
                topic=Topic(topic.code, table.topic_system, row.says),
            ),
            suggestions=suggestions,
            override_reasons=tuple(
                OverrideReason(code, table.override_system, table.override_reason[code])
                for code in row.override_reasons
            ),
        )

    def _first_words(self, variant: str, words: CardWords, names: dict[str, str]) -> str:
        say = words.says[variant].fill(names)
        return f"{say}\n\n{self.say('bereaved')}" if self._bereaved and variant != "bereaved" else say

    def _detail(self, topic: Planned, words: CardWords, say: str, already: list[str]) -> str:
        parts = {
            "why_now": self._why_now,
            "say": lambda: say,
            "departures": self._departures,
            "data_used": lambda: self._data_used(topic.code),
            "rules_from": self._rules_from,
            "not_found": lambda: self._not_found(topic.code),
            "meaning": self._meaning,
            "options": lambda: self._options(topic.code, already),
            "dose": self._dose,
            "start_checklist": self._start_checklist,
            "monitoring": self._monitoring,
            "lactation": self._lactation,
            "harms": self._harms,
            "evidence": self._evidence,
            "evidence_brief": self._evidence_brief,
            "status": self._status,
            "not_checked": self._not_checked,
            "footer": self._footer,
        }
        text = words.detail.fill({name: parts[name]() for name in words.detail.names})
        while "\n\n\n" in text:  # parts that had nothing to say
            text = text.replace("\n\n\n", "\n\n")
        return text.strip()

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
            case "PPDRISK" | "PPDFOLLOWUP" | "KETCONTRA" | "KETREVIEW" if self._bereaved:
                variant = "bereaved"
            case "PPDRISK" | "PPDFOLLOWUP":
                variant = "high" if thought.risk.tier is Tier.HIGH else "elevated"
            case "KETOPTION" if not thought.occasion.ppd_order:
                variant = "before_birth" if thought.occasion.stage is Stage.PREGNANT else "after_birth"
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
        """What the card file was promised for its summary and its first sentences."""
        words = {"medicine": self._medicine, "Medicine": self._medicine[:1].upper() + self._medicine[1:]}
        eligibility = self.thought.eligibility
        match topic.code:
            case "PPDSAFETY":
                value, when = self._safety_words
                words |= {"value": value, "when": when}
            case "KETCONTRA":
                words |= self._found(eligibility.contraindications)
            case "KETREVIEW":
                words |= self._found(eligibility.reviews)
            case "KETDATA":
                missing = eligibility.missing
                words |= {
                    "reason": self._open_item(missing[0]) if missing else "",
                    "count": str(len(missing)),
                    "ids": ", ".join(open_.id for open_ in missing),
                }
            case "KETORDER":
                worst = sorted(self.thought.departures, key=lambda d: not d.critical)
                words |= {
                    "what": plain_text(worst[0].what),
                    "drafted": plain_text(worst[0].drafted),
                    "expected": plain_text(worst[0].expected),
                    "count": str(len([d for d in worst if d.critical] if variant == "critical" else worst)),
                }
            case "KETNOTIND" | "KETOPTION" | "KETNOPROTO":
                score = self.facts["epds_current_score"]
                words |= {
                    "epds": self.figures.value(score) if score.state is State.PRESENT else "not known",
                    "when": self.figures.age(latest(score.evidence)),
                    "epds_from": str(self.evidence.studied_from_epds),
                    "start_within": str(self.orders.start_within_min),
                    "dose": f"{self.thought.dose.dose_mg:f}" if self.thought.dose else "",
                }
            case "PPDSCREEN":
                screens = self._met_tests(self.knowledge.risk.positive_screen)
                value, when = self._reason_words(*screens[0]) if screens else ("", "")
                words |= {"limit": self._epds_limit, "value": value, "when": when}
            case "PPDRISK":
                because = self.thought.risk.because
                words |= {"reason": self._reason_text(because[0]) if because else "", "count": str(len(because))}
            case "PPDFOLLOWUP":
                rows = self.knowledge.orders.service
                days = sorted(row.after_days for row in rows if row.after_days is not None)
                contact = [row.within_days for row in rows if row.within_days is not None]
                words |= {
                    "day_first": str(days[0]),
                    "day_second": str(days[-1]),
                    "contact_days": str(min(contact)),
                }
        return words

    def _found(self, met: tuple[Met, ...]) -> dict[str, str]:
        return {
            "reason": self._reason_text(met[0].because[0]) if met else "",
            "count": str(len(met)),
            "ids": ", ".join(m.row.id for m in met),
        }

    @cached_property
    def _medicine(self) -> str:
        (*_, medicine) = self._medicines if len(self._medicines) == 1 else (self.say("either_medicine"),)
        return medicine

    @cached_property
    def _medicines(self) -> tuple[str, ...]:
        """The medicine that is computed or drafted or the site's; both when nobody can tell."""
        if self.thought.dose is not None:
            return (self.thought.dose.protocol.medicine,)
        drafted = {o.medicine for o in self.thought.orders if o.for_prevention and o.medicine in MEDICINES}
        if self.thought.occasion.ppd_order and len(drafted) == 1:
            return tuple(m for m in MEDICINES if m in drafted)
        protocol = self.knowledge.protocol(self.site.protocol.id) if self.site.protocol else None
        return (protocol.medicine,) if protocol else tuple(MEDICINES)

    @cached_property
    def _offers(self) -> Offers:
        return Offers(
            self.thought,
            self.who,
            self.orders,
            self.approval,
            medicine=self._medicine,
            known=self._medicines[0] if len(self._medicines) == 1 else "",
            adds=self._adds,
            watch=tuple(line.removeprefix("- ") for line in self._watch_lines),
        )

    @cached_property
    def _bereaved(self) -> bool:
        return self.facts["fetal_or_newborn_death"].state is State.PRESENT

    @cached_property
    def _screen_inputs(self) -> frozenset[str]:
        screens = {"epds_current", "bipolar_known"}
        return frozenset(row.id for row in self.knowledge.inputs.input if screens & set(row.facts))

    @cached_property
    def _epds_limit(self) -> str:
        return next(row.limit for row in self.knowledge.inputs.input if "epds_current" in row.facts)

    # --- why now, data, not found -----------------------------------------------------------------

    def _why_now(self) -> str:
        block = f"why_{self.thought.occasion.hook.replace('-', '_')}"
        if self.thought.occasion.ppd_order and f"{block}_medicine" in self.wording.blocks:
            return self.say(f"{block}_medicine", medicine=self._medicine)
        return self.say(block)

    def _data_used(self, topic: str) -> str:
        lines = list(dict.fromkeys(self._lines(topic)))
        if not lines:
            return ""
        rows = [
            self.say("data_row", fact=line.fact, value=line.value, when=line.when, resource=line.resource)
            for line in lines[:MOST_ROWS]
        ]
        more = [self.say("data_more", number=len(lines) - MOST_ROWS)] if len(lines) > MOST_ROWS else []
        return "\n".join([self.say("data_heading"), *rows, *([""] if more else []), *more])

    def _lines(self, topic: str) -> Iterator[_Line]:
        eligibility = self.thought.eligibility
        match topic:
            case "KETCONTRA":
                yield from self._criterion_lines((*eligibility.contraindications, *eligibility.reviews))
            case "KETREVIEW":
                yield from self._criterion_lines(eligibility.reviews)
            case "PPDRISK" | "PPDFOLLOWUP":
                yield from (self._line(r.says, self._reason_value(r), r.evidence) for r in self.thought.risk.because)
            case "PPDSAFETY":
                yield from (self._line(t.says, self._reason_value(r), r.evidence) for t, r in self._safety)
        for row in self.wording.shown:
            if topic in row.topics:
                yield from self._shown(row.says, [self.facts[fact] for fact in row.facts])

    def _criterion_lines(self, met: Iterable[Met]) -> Iterator[_Line]:
        for criterion in met:
            for reason in criterion.because:
                test = _test_of(criterion.row.test, reason)
                kind = (test.kind if test else None) or criterion.row.kind
                fact = self.say("data_rule", id=criterion.row.id, kind=kind, says=reason.says)
                yield self._line(fact, self._reason_value(reason), reason.evidence)

    def _shown(self, says: str, findings: list[Finding]) -> Iterator[_Line]:
        """One row for facts that belong together. The oldest date is shown: it is the one that can mislead."""
        present = [f for f in findings if f.state is State.PRESENT and f.values]
        if not present:
            return
        values, units = [self.figures.value(f, unit=False) for f in present], [self.figures.unit(f) for f in present]
        joined = (
            f"{'/'.join(values)} {units[0]}".strip()
            if len(set(units)) == 1
            else ", ".join(f"{v} {u}".strip() for v, u in zip(values, units, strict=True))
        )
        newest = [entry for f in present if (entry := latest(f.evidence)) is not None]
        oldest = min(newest, key=sort_key, default=None)
        yield _Line(says, joined, self.figures.when(oldest), kind_of_entry(oldest))

    def _line(self, fact: str, value: str, evidence: tuple[Evidence, ...]) -> _Line:
        entry = latest(evidence)
        return _Line(
            fact.replace("|", "/"), value or self.say("data_recorded"), self.figures.when(entry), kind_of_entry(entry)
        )

    def _rules_from(self) -> str:
        """The first source of each rule that applies, by its title."""
        cited = dict.fromkeys(met.row.sources[0] for met in self.thought.eligibility.contraindications)
        titles = [f"{self.knowledge.sources[id_].title} ({self.knowledge.sources[id_].sure})" for id_ in cited]
        return self.say("rules_from", list=self._listed(titles, 2) + ".") if titles else ""

    def _not_found(self, topic: str) -> str:
        eligibility = self.thought.eligibility
        match topic:
            case "KETDATA":
                items = [self._open_item(open_, full=True) for open_ in eligibility.missing]
            case "KETOPTION":
                items = [self._open_item(open_) for open_ in eligibility.confirm]
            case "KETCONTRA" | "KETREVIEW":
                items = [self._open_item(open_) for open_ in eligibility.missing]
            case "PPDSCREEN":
                items = [self._open_item(o, full=True) for o in eligibility.missing if o.id in self._screen_inputs]
            case _:
                items = list(self.thought.risk.not_known)
        most = len(items) if topic == "KETDATA" else _MOST_LISTED
        text = [self.say("not_found", list=self._listed(items, most))] if items else []
        if self.thought.set_aside:
            text.append(self.say("set_aside", number=len(self.thought.set_aside)))
        return "\n\n".join(text)

    def _open_item(self, open_: Open, *, full: bool = False) -> str:
        doubt = ", ".join(doubt.value for doubt in open_.doubts)
        says = open_.says[:1].lower() + open_.says[1:] if open_.says[1:2].islower() else open_.says
        if not full:
            return self.say("not_found_item", says=says, doubt=doubt)
        newest = latest(open_.last_seen)
        seen = [e for e in open_.last_seen if newest is not None and e.date == newest.date and charted_number(e)]
        if not seen:
            return self.say("not_found_limit", says=says, doubt=doubt, limit=open_.limit)
        values = "/".join(dict.fromkeys(self.figures.entry(e, unit=e is seen[-1]) for e in seen))
        last = f"{values} ({self.figures.when(newest)})"
        return self.say("not_found_last", says=says, doubt=doubt, limit=open_.limit, last=last)

    def _listed(self, items: list[str], most: int = _MOST_LISTED) -> str:
        shown = items[:most]
        if len(items) > most:
            shown.append(self.say("and_more", number=len(items) - most))
        return "; ".join(shown)

    # --- what it means, options -------------------------------------------------------------------

    def _meaning(self) -> str:
        risk = self.thought.risk
        tier = {Tier.HIGH: "tier_high", Tier.ELEVATED: "tier_elevated"}.get(risk.tier, "tier_other")
        group = risk.frequency
        text = [self.say(tier, version=self.knowledge.version)]
        text.append(
            self.say("group", says=group.says, n=group.n, country=group.country, outcome=group.outcome)
            if group
            else self.say("no_group")
        )
        if risk.context:
            text.append(self.say("context", list="; ".join(reason.says for reason in risk.context)))
        return " ".join(text)

    def _options(self, topic: str, already: list[str]) -> str:
        rows = [option for option in self.evidence.option if topic in option.topics]
        if not rows:
            return ""
        lines = [
            self.say("option", number=number, says=option.says.replace("$medicine", self._medicine))
            for number, option in enumerate(rows, start=1)
        ]
        text = "\n".join([self.say("options_heading"), "", *lines])
        return f"{text}\n\n{self.say('already', list='; '.join(already))}" if already else text

    # --- the medicine -----------------------------------------------------------------------------

    def _dose(self) -> str:
        dose = self.thought.dose
        if dose is None:
            return ""
        text = self.say(
            "dose",
            approval=escape(self.approval or ""),
            calculation=dose.calculation,
            weight_when=self.figures.when(dose.weight),
            strength=f"{dose.protocol.strength_mg_per_ml:f}",
        )
        label = dose.protocol.evidence_label
        return f"{text} {self.say('dose_label', label=label)}" if label else text

    def _monitoring(self) -> str:
        return "\n".join([self.say("monitoring"), "", *self._watch_lines])

    @cached_property
    def _watch_lines(self) -> list[str]:
        orders = self.knowledge.orders
        return [
            *(self.say("watch_line", says=says) for says in (*orders.lines("monitor"), *self._adds)),
            *(self.say(when, says=says) for when in ("pause", "stop", "release") for says in orders.lines(when)),
            *(self.say("watch_line", says=says) for when in ("newborn", "afterwards") for says in orders.lines(when)),
        ]

    @cached_property
    def _adds(self) -> tuple[str, ...]:
        """What the modifiers add to the orders. Milk has a part of its own."""
        return tuple(
            met.row.adds
            for met in self.thought.eligibility.modifiers
            if met.row.adds and all(reason.fact != "breastfeeding" for reason in met.because)
        )

    def _start_checklist(self) -> str:
        as_asked = {row.id: row.confirm_as for row in self.knowledge.inputs.input}
        confirm = dict.fromkeys(as_asked.get(open_.id, open_.says) for open_ in self.thought.eligibility.confirm)
        return "\n".join(
            [
                self.say("start_heading"),
                "",
                *(self.say("start_confirm", says=says) for says in (*confirm, *self._asked_because_of_the_chart())),
                *(self.say("start_line", says=says) for says in self.orders.start_lines),
            ]
        )

    def _asked_because_of_the_chart(self) -> Iterator[str]:
        """Checklist lines that only some charts call for, such as an empty problem list."""
        for row in self.knowledge.orders.start_check:
            if row.only_if is not None and self.thought.facts[row.only_if].state is State.PRESENT:
                yield row.says

    def _lactation(self) -> str:
        modifiers = self.thought.eligibility.modifiers
        feeds = any(reason.fact == "breastfeeding" for met in modifiers for reason in met.because)
        when = "bereaved" if self._bereaved else "breastfeeding"
        if not feeds and not self._bereaved:
            return ""
        texts = [r.says for r in self.evidence.lactation if r.when == when and self._medicines[0] in r.medicines]
        return self.say("lactation", says=texts[0])

    def _harms(self) -> str:
        says = [row.says for row in self.evidence.harm if self._medicines[0] in row.medicines]
        return self.say("harms", says=" ".join(says))

    def _evidence(self) -> str:
        text = []
        for side in ("for", "against"):
            said = self.evidence.said(self._medicines[0], side)
            lines = [self._cited(statement) for statement in said]
            text.append("\n".join([self.say(f"evidence_{side}"), "", *lines]))
        return "\n\n".join(text)

    def _cited(self, statement: Statement) -> str:
        sources = (self.knowledge.sources[id_] for id_ in statement.sources)
        url = next((source.url for source in sources if source.url), None)
        if url is None:
            return self.say("evidence_line", says=statement.says)
        return self.say("evidence_link", says=statement.says, url=url)

    def _evidence_brief(self) -> str:
        if self._bereaved:
            return ""  # no medicine is talked about to her now
        return "\n\n".join(
            self.say(
                "evidence_brief",
                pro=_brief(self.evidence.said(medicine, "for")),
                con=_brief(self.evidence.said(medicine, "against")),
            )
            for medicine in self._medicines
        )

    def _status(self) -> str:
        medicines = set(self._medicines)
        says = dict.fromkeys(
            row.says.replace("$medicine", self._medicine)
            for row in self.evidence.status
            if medicines & set(row.medicines) and (not row.countries or self.site.country in row.countries)
        )
        configuration = self.thought.eligibility.configuration
        approved = self.approval is not None and not configuration
        local = (
            self.say("local_protocol", approval=escape(self.approval or "")) if approved else self.say("no_protocol")
        )
        text = self.say("status", says=" ".join(says), local=local)
        return " ".join([text, *(self.say(f"configuration_{code.lower()}") for code in configuration)])

    def _not_checked(self) -> str:
        return self.say("not_checked", list="; ".join(row.says for row in self.evidence.not_checked))

    def _departures(self) -> str:
        if not self.thought.departures:
            return ""
        rows = [
            self.say("departure_row", what=escape(d.what), drafted=escape(d.drafted), expected=escape(d.expected))
            for d in self.thought.departures
        ]
        return "\n".join([self.say("departures_heading"), *rows])

    def _footer(self) -> str:
        return _footer(self.who, self.knowledge, self.wording, self.site, self.facts.now.date())

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
        return self.figures.value(self.facts[test.fact], unit=False) or "", self.figures.age(latest(reason.evidence))

    def _reason_text(self, reason: Reason) -> str:
        value = self._reason_value(reason)
        return f"{reason.says}: {value}" if value else reason.says

    def _reason_value(self, reason: Reason) -> str:
        return self.figures.value(self.facts[reason.fact])


def _footer(who: Encountered, knowledge: Knowledge, wording: Wording, site: Site, today: date) -> str:
    """Which knowledge spoke, and who has reviewed it: only somebody who has signed this very version."""

    def say(block: str, **words: object) -> str:
        return wording.blocks[block].fill(words)

    due = [*knowledge.reviews_due.values(), *wording.reviews_due.values()]
    on, again = max(reviewed.on for reviewed in due), min(reviewed.again for reviewed in due)
    if site.review is not None and knowledge.hash.startswith(site.review.knowledge):
        text = say("review_signed", number=len(site.review.by), on=site.review.on, again=again)
    elif knowledge.signed:
        text = say("review_signed", number=len({name for reviewed in due for name in reviewed.by}), on=on, again=again)
    else:
        text = say("review_unsigned", on=on)
    if again < today:
        text = f"{text}, {say('review_overdue', again=again)}"
    short = knowledge.hash[: len("sha256:") + 12]
    return say("footer", version=knowledge.version, hash=short, review=text, call=escape(who.hook_instance[:8]))


def _fitting(summaries: Iterable[str]) -> str:
    """The first form that fits. The last is proofread at start to fit; should it not, it is cut at a word."""
    forms = list(summaries)
    shortest = forms[-1][: LONGEST_SUMMARY - 1].rsplit(" ", 1)[0] + "…"
    return next((text for text in forms if len(text) <= LONGEST_SUMMARY), shortest)


def _brief(statements: tuple[Statement, ...]) -> str:
    return next(statement.brief for statement in statements if statement.brief)


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
