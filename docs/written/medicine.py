"""What the tables and the cards say: each card, each rule, the protocols, the evidence for and against, the sources."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from cds_service.ehr.wanted import USAGE, Wanted
from cds_service.hooks.request import HOOKS
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.rendering.wording import cards_folder
from written.cells import code, codes, page, table, words_for

_NOT_REVIEWED: Final = "**Not clinically reviewed.** No clinician has signed these tables."


def cards() -> str:
    """The page about the cards."""
    knowledge = load_knowledge()
    topics = knowledge.topics
    indicators = words_for("card", (row.code for row in topics.topic))
    services = {service.hook: service.id for service in HOOKS}

    def one(row: Any) -> Iterator[str]:
        yield f"## {row.code}"
        yield f"{row.says}."
        shown = ", ".join(f"{code(services[hook])} ({code(hook)})" for hook in row.hooks)
        displays = topics.displays(row.code)
        aside = "; ".join(f"{displays[reason]} ({code(reason)})" for reason in row.override_reasons)
        told = {"Indicator": indicators[row.code], "Shown at": shown, "Reasons to set it aside": aside}
        yield "\n".join(f"- **{what}:** {words}." for what, words in told.items())
        variants = _card(row.code)["variant"]
        yield table(("When", "Its first sentence"), ((code(name), v["summary"][0]) for name, v in variants.items()))
        buttons = [button["label"] for button in _card(row.code).get("suggestion", ())]
        if buttons:
            yield "Buttons: " + "; ".join(dict.fromkeys(buttons)) + "."

    return page(
        "Cards",
        "Every card that may be shown, in the order in which they are shown. A call shows at most "
        f"{topics.most_not_critical} cards besides critical ones and a safety concern. Words with a `$` are filled in "
        f"from the chart and the tables. The system of the topic codes is `{topics.topic_system}`, and that of the "
        f"reasons `{topics.override_system}`.",
        *(part for row in topics.topic for part in one(row)),
    )


def _card(topic: str) -> Any:
    """The card file of a topic, in English."""
    (path,) = (path for path in cards_folder().rglob(f"{topic}.toml") if path.parent.name in ("cards", "en"))
    return tomllib.loads(path.read_text(encoding="utf-8"))


def services() -> str:
    """The page about the services."""
    knowledge = load_knowledge()
    shown = {s.hook: [row.code for row in knowledge.topics.topic if s.hook in row.hooks] for s in HOOKS}
    queries = Wanted.by(knowledge, roles=False).queries
    return page(
        "Services and prefetch",
        "Each hook has a service of its own. `GET /cds-services` lists them. " + USAGE,
        *(
            f"## {service.id}\n\nHook `{service.hook}`. {service.description}\n\nCards: {codes(shown[service.hook])}."
            for service in HOOKS
        ),
        "## Prefetch",
        "The same for each service. Where an EHR is configured by hand, type these in. Keys may differ: a list is then "
        "known by what it holds.",
        *(f"{code(query.key)}\n\n```\n{query.template}\n```" for query in queries),
        "With `[[role]]` in the site file one more is asked for, the user's PractitionerRole.",
    )


def rules() -> str:
    """The page about the rules."""
    knowledge = load_knowledge()
    return page(
        "Rules",
        _NOT_REVIEWED
        + " Each rule says where it comes from: a label, a trial, a guideline, or `project`, which means a "
        "cautious choice of this project that no outside source gives. `make manual` shows each rule at work.",
        "## Who is at higher risk",
        "The first tier that fits. One of its rules is enough.",
        "### High",
        _listed(knowledge.risk.high),
        "### Elevated",
        _listed(knowledge.risk.elevated),
        "## A safety concern",
        "One is enough. It has a card of its own, makes the tier high, and sends the medicine to specialist review.",
        _listed(knowledge.risk.safety),
        "## Contraindications",
        "One is enough: no dose.",
        _criteria(knowledge.contraindications.criterion),
        "## Specialist review first",
        "One is enough: no dose until a specialist has looked.",
        _criteria(knowledge.reviews.criterion),
        "## Additions to the orders",
        _criteria(knowledge.modifiers.criterion),
        "## What must be known",
        "`block`: while it is unknown there is no dose. `confirm`: it becomes a line of the start checklist.",
        table(
            ("Id", "Input", "Limit", "Before birth", "After birth", "From"),
            (
                (code(i.id), i.says, i.limit, i.before_birth, i.after_birth, f"{i.kind}: {_cited(i.sources)}")
                for i in knowledge.inputs.input
            ),
        ),
        "## Protocols",
        f"A site approves at most one. It is started within {knowledge.protocols.start_within_min} minutes of cord "
        "clamping.",
        table(
            (
                "Protocol",
                "Dose",
                "Weight to",
                "Rounded down to",
                "Never above",
                "Over",
                "Not marketed in",
                "From",
            ),
            (
                (
                    code(p.id),
                    f"{p.dose_mg_per_kg} mg/kg",
                    f"{p.weight_cap_kg} kg",
                    f"{p.round_down_to_mg} mg",
                    f"{p.ceiling_mg} mg",
                    f"{p.duration_min} min",
                    ", ".join(p.not_marketed_in) or "–",
                    _cited(p.sources),
                )
                for p in knowledge.protocols.protocol
            ),
        ),
    )


def _listed(tests: Iterable[Any]) -> str:
    return "\n".join(f"- {_test(test)}" for test in tests)


def _test(test: Any) -> str:
    return f"{test.says} ({test.kind})" if test.kind else str(test.says)


def _criteria(criteria: Iterable[Any]) -> str:
    return table(
        ("Id", "Rule", "Met by one of", "From"),
        ((code(c.id), c.says, "; ".join(_test(t) for t in c.test), f"{c.kind}: {_cited(c.sources)}") for c in criteria),
    )


def _cited(sources: Iterable[str]) -> str:
    return ", ".join(f"[{source}](../explanation/evidence.md#{source.replace('.', '')})" for source in sources)


def evidence() -> str:
    """The page about the studies."""
    knowledge = load_knowledge()
    told = knowledge.evidence
    medicines = dict.fromkeys(name for statement in told.statement for name in statement.medicines)

    def sides(medicine: str) -> Iterator[str]:
        yield f"## {medicine.capitalize()}"
        for side, heading in (("for", "For"), ("against", "Against, and limits")):
            yield f"### {heading}: {medicine}"
            said = [s for s in told.statement if medicine in s.medicines and s.side == side]
            yield "\n".join(f"- {s.says} ({', '.join(f'[{i}](#{i})' for i in s.sources)})" for s in said)

    return page(
        "Evidence",
        _NOT_REVIEWED
        + " This is what the cards say for and against each medicine, word by word, with the sources. In the trial "
        f"that the indication comes from, the lowest EPDS total was {told.studied_from_epds}.",
        *(part for medicine in medicines for part in sides(medicine)),
        "## Sources",
        "`sure` says how well a source could be checked: *full text*, *abstract*, *label* (often by way of a mirror), "
        "*secondary* (somebody else's summary), *memory* (not verified), *project* (our own cautious choice).",
        *(_source(name, source) for name, source in _sources(knowledge)),
    )


def _sources(knowledge: Knowledge) -> list[tuple[str, Any]]:
    return sorted(knowledge.sources.items())


def _source(name: str, source: Any) -> str:
    title = f"[{source.title}]({source.url})" if source.url else source.title
    note = f" {source.note}" if source.note else ""
    return f"### {name}\n\n{title} Published: {source.published}. Sure: *{source.sure}*.{note}"
