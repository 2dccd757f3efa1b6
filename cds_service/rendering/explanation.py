"""The whole thought, laid open: what was found and where, which rules spoke, what is open, how the dose came out."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.clinical.dosing import Dose
from cds_service.clinical.eligibility import Eligibility, Met, Open
from cds_service.clinical.facts import Evidence, State
from cds_service.clinical.risk import Tier
from cds_service.clinical.weighing import Reason
from cds_service.knowledge.loader import Knowledge
from cds_service.rendering.figures import Figures, arithmetic, wall_clock
from cds_service.rendering.wording import Wording
from cds_service.settings import Site

_CONFIGURATION: Final = {"CFG01": "The site file enables a medicine that is not marketed in its country"}
_WIDTH: Final = 100
# How a long line is broken, with what its later parts are set in by.
Fit = Callable[[str, str], list[str]]


# --- for programs --------------------------------------------------------------------------------


def as_json(consultation: Consultation | None, who: Encountered, cards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One line of `evaluate --json`. No consultation: the call was none of our business, and nothing was looked at."""
    thought = consultation
    return {
        "hookInstance": who.hook_instance,
        "service": who.service_id,
        "risk": None if thought is None else {
            "tier": thought.risk.tier.value,
            "because": [_because(reason) for reason in thought.risk.because],
        },
        "safetyConcern": thought is not None and thought.facts["safety_concern"].state is State.PRESENT,
        "eligibility": None if thought is None else _eligibility(thought.eligibility),
        "dose": None if thought is None or thought.dose is None else _dose(thought.dose),
        "notRecognised": None if thought is None else _evidence(thought.not_recognised),
        "cards": list(cards),
    }  # fmt: skip


def _because(reason: Reason) -> dict[str, Any]:
    return {"fact": reason.fact, "says": reason.says, "evidence": _evidence(reason.evidence)}


def _evidence(entries: Iterable[Evidence]) -> list[dict[str, Any]]:
    return [{"reference": e.reference, "value": _number(e.value), "unit": e.unit, "date": e.date} for e in entries]


def _number(value: str | None) -> Decimal | str | None:
    """A number stays exact; a word stays a word."""
    if value is None:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    return number if number.is_finite() else value


def _eligibility(eligibility: Eligibility) -> dict[str, Any]:
    return {
        "status": eligibility.status.value,
        "criteria": [
            *(_criterion(met, "contraindication") for met in eligibility.contraindications),
            *(_criterion(met, "review") for met in eligibility.reviews),
            *(
                {"id": o.id, "kind": "missing", "says": _open_words(o), "evidence": _evidence(o.last_seen)}
                for o in eligibility.missing
            ),
            *(_criterion(met, "monitor") for met in eligibility.modifiers),
            *(
                {"id": code, "kind": "configuration", "says": _CONFIGURATION.get(code, code), "evidence": []}
                for code in eligibility.configuration
            ),
        ],
        "confirm": [open_.id for open_ in eligibility.confirm],
    }


def _criterion(met: Met, kind: str) -> dict[str, Any]:
    entries = dict.fromkeys(entry for reason in met.because for entry in reason.evidence)
    says = "; ".join(dict.fromkeys(reason.says for reason in met.because))
    return {"id": met.row.id, "kind": kind, "says": says, "evidence": _evidence(entries)}


def _open_words(open_: Open) -> str:
    return f"{open_.says}: {', '.join(doubt.value for doubt in open_.doubts)} (needed: {open_.limit})"


def _dose(dose: Dose) -> dict[str, Any]:
    return {
        "medication": dose.protocol.medicine,
        "dose_mg": dose.dose_mg,
        "drug_volume_ml": dose.drug_volume_ml,
        "total_volume_ml": dose.protocol.total_volume_ml,
        "concentration_mg_per_ml": dose.concentration_mg_per_ml,
        "rate_ml_per_h": dose.protocol.rate_ml_per_h,
        "duration_min": dose.protocol.duration_min,
        "calculation": dose.calculation,
    }


# --- for people ----------------------------------------------------------------------------------


def as_text(
    consultation: Consultation | None,
    who: Encountered,
    cards: Sequence[dict[str, Any]],
    wording: Wording,
    knowledge: Knowledge,
    site: Site | None = None,
) -> str:
    """The same for a person at a terminal, from facts to cards."""
    head = heading(who, wording)
    if consultation is None:
        return f"{head}\n{'=' * len(head)}\n\n{wording.explanation['nothing'].fill({})}\n"
    lines = [head, "=" * len(head)]
    for title, body in sections(consultation, cards, wording, knowledge, _wrapped, site):
        lines += ["", title, "-" * len(title), *body]
    return "\n".join(lines) + "\n"


def heading(who: Encountered, wording: Wording) -> str:
    """Which service was called, by which hook, in which call."""
    return wording.explanation["heading"].fill({"service": who.service_id, "hook": who.hook, "call": who.hook_instance})


def spoken_by(knowledge: Knowledge, wording: Wording) -> tuple[str, list[str]]:
    """Which knowledge spoke, and if its words were translated, who has reviewed that."""
    words = wording.explanation
    named = words["knowledge"].fill({"version": knowledge.version, "hash": knowledge.hash})
    return words["title_knowledge"].fill({}), [named, *filter(None, [wording.notice.replace("**", "")])]


def _whole(text: str, _: str) -> list[str]:
    """As it is: a page breaks its lines itself."""
    return [text]


def sections(
    consultation: Consultation,
    cards: Sequence[dict[str, Any]],
    wording: Wording,
    knowledge: Knowledge,
    fit: Fit = _whole,
    site: Site | None = None,
) -> list[tuple[str, list[str]]]:
    """
    The thought by parts, each with its title and its lines; parts with nothing to say are left out.

    Times are those of the `site`, where it names a zone.
    """
    now = consultation.facts.now
    figures = Figures(wording.blocks, wording.units, now, frozenset(), wall_clock(consultation, site, now))
    told = _Told(consultation, cards, wording, knowledge, fit, figures)
    parts = {
        "where": told.where(),
        "found": told.found(),
        "risk": told.risk(),
        "rules": told.rules(),
        "not_recognised": told.not_recognised(),
        "dose": told.arithmetic(),
        "draft": told.draft(),
        "set_aside": (f"- {line}" for line in consultation.set_aside),
        "not_hers": (f"- {line}" for line in consultation.not_hers),
        "cards": told.shown(),
    }
    return [(told.say(f"title_{name}"), body) for name, lines in parts.items() if (body := list(lines))]


@dataclass(frozen=True, slots=True)
class _Told:
    """One thought, its cards, and the words to tell them in."""

    thought: Consultation
    cards: Sequence[dict[str, Any]]
    wording: Wording
    knowledge: Knowledge
    fit: Fit
    figures: Figures

    def say(self, name: str, **words: object) -> str:
        return self.wording.explanation[name].fill(words)

    def where(self) -> Iterator[str]:
        thought = self.thought
        stage = self.say(f"stage_{_name(thought.occasion.stage)}")
        yield self.say("where", now=self.figures.moment(thought.facts.now), stage=stage)
        yield self.say("order_drafted" if thought.occasion.ppd_order else "no_order_drafted")

    def found(self) -> Iterator[str]:
        """Present facts with their entries, those of the same entries together; then the names of the rest."""
        facts = self.thought.facts
        together: dict[str, list[str]] = {}
        for name in sorted(facts):
            finding = facts[name]
            if finding.state is State.PRESENT and finding.evidence:
                conflict = f" {self.say('disagree')}" if finding.conflict else ""
                together.setdefault(f"{conflict}{self._entries(finding.evidence)}", []).append(self._plain(name))
        for entries, names in together.items():
            yield from self.fit(f"- {'; '.join(names)}{entries}", "    ")
        for state, title in ((State.ABSENT, "absent"), (State.UNKNOWN, "unknown")):
            names = [self._plain(name) for name in sorted(facts) if facts[name].state is state]
            if names:
                yield from self.fit(self.say(title, list="; ".join(names)), "    ")

    def risk(self) -> Iterator[str]:
        risk = self.thought.risk
        concern = self.thought.facts["safety_concern"].state is State.PRESENT
        tier = self.say("tier", tier=self.say(f"tier_{_name(risk.tier)}"))
        yield f"{tier} {self.say('safety')}" if concern else tier
        yield from (f"- {reason.says}{self._entries(reason.evidence)}" for reason in risk.because)
        if risk.tier is Tier.UNDETERMINED:
            yield self.say("never_low")
        if risk.not_known:
            yield from self.fit(self.say("unknown", list="; ".join(risk.not_known)), "  ")
        if risk.context:
            yield from self.fit(self.say("context", list="; ".join(r.says for r in risk.context)), "  ")
        if risk.frequency:
            group = risk.frequency
            text = self.say("group", says=group.says, n=group.n, country=group.country, outcome=group.outcome)
            yield from self.fit(text, "  ")

    def rules(self) -> Iterator[str]:
        eligibility = self.thought.eligibility
        yield self.say("status", status=self.say(f"status_{_name(eligibility.status)}"))
        groups = (
            ("met_contraindication", eligibility.contraindications),
            ("met_review", eligibility.reviews),
            ("met_monitor", eligibility.modifiers),
        )
        for kind, group in groups:
            for met in group:
                source = self.wording.blocks[f"kind_{met.row.kind}"].fill({})
                yield self.say("rule", id=met.row.id, kind=self.say(kind), source=source, says=met.row.says)
                yield from (f"    {reason.says}{self._entries(reason.evidence)}" for reason in met.because)
        for kind, opens in (("open_missing", eligibility.missing), ("open_confirm", eligibility.confirm)):
            yield from (f"{self._open(open_, self.say(kind))}{self._entries(open_.last_seen)}" for open_ in opens)
        if eligibility.not_met:
            yield from self.fit(self.say("not_met", list=", ".join(eligibility.not_met)), "  ")
        for code in eligibility.configuration:
            yield self.say("configuration", code=code, says=self.say(f"configuration_{code.lower()}"))

    def not_recognised(self) -> Iterator[str]:
        for entry in self.thought.not_recognised:
            yield f"- {self._entries((entry,)).removeprefix(': ')}"

    def arithmetic(self) -> Iterator[str]:
        dose = self.thought.dose
        if dose is None:
            yield self.say("no_dose")
            return
        medicine = self.knowledge.called(dose.protocol.medicine).capitalize()
        yield from self.fit(f"{medicine}: {arithmetic(dose, self.wording.blocks)}.", "  ")
        yield f"{self.say('weight')}{self._entries((dose.weight,))}"

    def draft(self) -> Iterator[str]:
        for departure in self.thought.departures:
            what = f"{departure.what} {self.say('grave')}" if departure.critical else departure.what
            unclear = self.thought.route_not_understood(departure)
            drafted = self.wording.blocks["route_not_understood"].fill({}) if unclear else departure.drafted
            yield self.say("draft", what=what, drafted=drafted, expected=departure.expected)

    def shown(self) -> Iterator[str]:
        plan = self.thought.plan
        if not self.cards:
            yield self.say("no_cards")
        for topic, card in zip(plan.topics, self.cards, strict=False):
            yield f"- [{card['indicator']}] {topic.code}: {card['summary']}"
            yield from (f"    + {suggestion['label']}" for suggestion in card.get("suggestions", ()))
        for name, topics in (("held_back", plan.held_back), ("repeated", plan.repeated)):
            if topics:
                yield self.say(name, list=", ".join(topic.code for topic in topics))

    def _open(self, open_: Open, kind: str) -> str:
        doubts = ", ".join(self.wording.blocks[f"doubt_{doubt.name.lower()}"].fill({}) for doubt in open_.doubts)
        return self.say("open", id=open_.id, kind=kind, says=open_.says, doubts=doubts, limit=open_.limit)

    def _entries(self, evidence: Iterable[Evidence]) -> str:
        """Where it stands: value, unit, date and reference of each entry."""
        shown = [" ".join(filter(None, (self._value(e), self._date(e), f"[{e.reference}]"))) for e in evidence]
        text = f": {'; '.join(shown)}" if shown else ""
        return "".join(letter for letter in text if letter.isprintable())  # a terminal obeys control characters

    def _value(self, entry: Evidence) -> str:
        """Its number and unit, or its word, as people write it; whatever has no words here as it was read."""
        value, unit = entry.value or "", entry.unit or ""
        words = self.wording
        return f"{words.values.get(value, value)} {words.units.get(unit, unit)}".strip()

    def _date(self, entry: Evidence) -> str:
        """The date without its age: the page is read for a day."""
        date = self.figures.date_of(entry) or entry.date
        return self.say("on", date=date) if date else ""

    def _plain(self, name: str) -> str:
        unnamed = self.wording.facts.get(name, name.replace("_", " "))
        return self.knowledge.says.get(name, unnamed)


def _name(value: StrEnum) -> str:
    return value.name.lower()


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent)
