"""The whole thought, laid open: what was found and where, which rules spoke, what is open, how the dose came out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.clinical.dosing import Dose
from cds_service.clinical.eligibility import Eligibility, Met, Open
from cds_service.clinical.facts import Evidence, State
from cds_service.clinical.risk import Tier
from cds_service.clinical.weighing import Reason

_CONFIGURATION: Final = {"CFG01": "The site file enables a medicine that is not marketed in its country"}
_NOT_UNDERSTOOD: Final = "not understood"
_WIDTH: Final = 100
_NO_WORDS: Final[Mapping[str, str]] = {}


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
    says: Mapping[str, str] = _NO_WORDS,
) -> str:
    """The same for a person at a terminal, from facts to cards. `says` holds the tables' words for each fact."""
    head = heading(who)
    if consultation is None:
        return f"{head}\n{'=' * len(head)}\n\nNothing to look at: no delivery order, and no order for prevention.\n"
    lines = [head, "=" * len(head)]
    for title, body in sections(consultation, cards, says):
        lines += ["", title, "-" * len(title), *body]
    return "\n".join(lines) + "\n"


def heading(who: Encountered) -> str:
    """Which service was called, by which hook, in which call."""
    return f"{who.service_id} ({who.hook}), call {who.hook_instance}"


def sections(
    consultation: Consultation, cards: Sequence[dict[str, Any]], says: Mapping[str, str] = _NO_WORDS
) -> list[tuple[str, list[str]]]:
    """The thought by parts, each with its title and its lines; parts with nothing to say are left out."""
    parts = [
        ("When and where", _where(consultation)),
        ("What was found", list(_found(consultation, says))),
        ("Risk of postpartum depression", list(_risk(consultation))),
        ("May the medicine be offered", list(_rules(consultation))),
        ("Medicines not recognised, so not checked", list(_not_recognised(consultation))),
        ("Dose", _arithmetic(consultation)),
        ("The drafted order", list(_draft(consultation))),
        ("Set aside, because it could not be read", [f"- {line}" for line in consultation.set_aside]),
        ("Passed over, because it is not hers", [f"- {line}" for line in consultation.not_hers]),
        ("Cards", list(_cards(consultation, cards))),
    ]
    return [(title, body) for title, body in parts if body]


def _where(thought: Consultation) -> list[str]:
    order = "yes" if thought.occasion.ppd_order else "no"
    return [
        f"As of {thought.facts.now.isoformat(timespec='minutes')}. Stage: {thought.occasion.stage.value}.",
        f"Order for prevention drafted: {order}.",
    ]


def _found(thought: Consultation, says: Mapping[str, str]) -> Iterator[str]:
    """Present facts with their entries, those of the same entries together; then the names of the rest."""
    facts = thought.facts
    together: dict[str, list[str]] = {}
    for name in sorted(facts):
        finding = facts[name]
        if finding.state is State.PRESENT and finding.evidence:
            conflict = " (entries disagree)" if finding.conflict else ""
            together.setdefault(f"{conflict}{_entries(finding.evidence)}", []).append(_plain(name, says))
    for entries, names in together.items():
        yield from _wrapped(f"- {'; '.join(names)}{entries}", "    ")
    for state, title in ((State.ABSENT, "Not there"), (State.UNKNOWN, "Not known")):
        names = [_plain(name, says) for name in sorted(facts) if facts[name].state is state]
        if names:
            yield from _wrapped(f"{title}: {'; '.join(names)}.", "    ")


def _risk(thought: Consultation) -> Iterator[str]:
    risk = thought.risk
    safety = " Safety concern." if thought.facts["safety_concern"].state is State.PRESENT else ""
    yield f"Tier: {risk.tier.value}.{safety}"
    yield from (f"- {reason.says}{_entries(reason.evidence)}" for reason in risk.because)
    if risk.tier is Tier.UNDETERMINED:
        yield "Missing is never low risk."
    if risk.not_known:
        yield from _wrapped(f"Not known: {'; '.join(risk.not_known)}.", "  ")
    if risk.context:
        yield from _wrapped(f"Context, moves no tier: {'; '.join(r.says for r in risk.context)}.", "  ")
    if risk.frequency:
        group = risk.frequency
        text = f"{group.says} ({group.n}; {group.country}; {group.outcome}). A group figure, not her probability."
        yield from _wrapped(text, "  ")


def _rules(thought: Consultation) -> Iterator[str]:
    eligibility = thought.eligibility
    yield f"Status: {eligibility.status.value}."
    groups = (
        ("contraindication", eligibility.contraindications),
        ("review", eligibility.reviews),
        ("monitor", eligibility.modifiers),
    )
    for kind, group in groups:
        for met in group:
            yield f"- {met.row.id} {kind} ({met.row.kind} rule): {met.row.says}"
            yield from (f"    {reason.says}{_entries(reason.evidence)}" for reason in met.because)
    for kind, opens in (("missing", eligibility.missing), ("to confirm at the bedside", eligibility.confirm)):
        yield from (f"- {o.id} {kind}: {_open_words(o)}{_entries(o.last_seen)}" for o in opens)
    if eligibility.not_met:
        yield from _wrapped(f"Looked at and not met: {', '.join(eligibility.not_met)}.", "  ")
    yield from (f"- {code} configuration: {_CONFIGURATION.get(code, code)}" for code in eligibility.configuration)


def _not_recognised(thought: Consultation) -> Iterator[str]:
    for entry in thought.not_recognised:
        yield f"- {_entries((entry,)).removeprefix(': ')}"


def _arithmetic(thought: Consultation) -> list[str]:
    dose = thought.dose
    if dose is None:
        return ["None is computed."]
    lines = _wrapped(f"{dose.protocol.medicine.capitalize()}: {dose.calculation}.", "  ")
    return [*lines, f"Weight{_entries((dose.weight,))}"]


def _draft(thought: Consultation) -> Iterator[str]:
    for departure in thought.departures:
        grave = " (beyond an absolute limit)" if departure.critical else ""
        drafted = _NOT_UNDERSTOOD if thought.route_not_understood(departure) else departure.drafted
        yield f"- {departure.what}{grave}: drafted {drafted}, expected {departure.expected}"


def _cards(thought: Consultation, cards: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not cards:
        yield "None."
    for topic, card in zip(thought.plan.topics, cards, strict=False):
        yield f"- [{card['indicator']}] {topic.code}: {card['summary']}"
        yield from (f"    + {suggestion['label']}" for suggestion in card.get("suggestions", ()))
    held = [topic.code for topic in thought.plan.held_back]
    if held:
        yield f"Held back, so that nobody has to read more than two at once: {', '.join(held)}."
    if repeated := [topic.code for topic in thought.plan.repeated]:
        yield f"Shown to this user before, and left out as the EHR asks: {', '.join(repeated)}."


def _entries(evidence: Iterable[Evidence]) -> str:
    """Where it stands: value, unit, date and reference of each entry."""
    shown = [
        " ".join(part for part in (e.value, e.unit, e.date and f"on {e.date}", f"[{e.reference}]") if part)
        for e in evidence
    ]
    text = f": {'; '.join(shown)}" if shown else ""
    return "".join(letter for letter in text if letter.isprintable())  # a terminal obeys control characters


def _plain(name: str, says: Mapping[str, str]) -> str:
    return says.get(name, name.replace("_", " "))


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent)
