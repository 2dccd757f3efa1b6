"""
What the cards say whoever she is: filled in once for a knowledge, a wording and a site, and used for every call.

Printers call it standing type. Nothing here has seen a chart.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, get_args

from cds_service.clinical.consultation import Encountered
from cds_service.clinical.eligibility import Met
from cds_service.clinical.facts import Doubt
from cds_service.clinical.risk import Tier
from cds_service.hooks.response import OverrideReason, Source, Topic
from cds_service.knowledge.loader import Knowledge
from cds_service.knowledge.narrative import MEDICINES, Statement
from cds_service.knowledge.shapes import Kind, TopicRow
from cds_service.rendering.figures import escape
from cds_service.rendering.orders import OrderSet, Resource
from cds_service.rendering.wording import Card as CardWords
from cds_service.rendering.wording import Shown, Wording
from cds_service.settings import Site

Medicines = tuple[str, ...]
_TIERS: Final = {Tier.HIGH: "tier_high", Tier.ELEVATED: "tier_elevated"}
_SCREENS: Final = frozenset({"epds_current", "bipolar_known"})


@dataclass(frozen=True, slots=True)
class StandingCard:
    """
    One topic: its wording, who speaks, the reasons to override it, what its table shows, and what can be chosen.

    `drugless_options` are those without a medicine. `asks` are the parts of its detail that only a chart can fill.
    """

    wording: CardWords
    source: Source
    override_reasons: tuple[OverrideReason, ...]
    shown: tuple[Shown, ...]
    options: str
    drugless_options: str
    asks: tuple[str, ...]


class Standing:
    """
    The text that no chart changes, about one medicine, or about either while nobody can tell which.

    `known` is the medicine, or ""; `medicine` is what it is called. `words` are for summaries and first sentences;
    `parts` are parts of a detail; `status_unapproved` is for a site whose approval does not count.
    """

    def __init__(self, knowledge: Knowledge, wording: Wording, site: Site, medicines: Medicines) -> None:
        evidence, inputs, watched = knowledge.evidence, knowledge.inputs.input, knowledge.orders.lines
        self._knowledge, self._wording, self._site = knowledge, wording, site
        self._medicines, first = medicines, medicines[0]
        self.known = first if len(medicines) == 1 else ""
        self.medicine = knowledge.called(first) if self.known else self._say("either_medicine")
        self.orders = OrderSet.of(knowledge)
        self.approval = site.protocol.approval if site.protocol else None
        self.catalogue = site.orderable
        self.approval_words = escape(self.approval or "")
        self.words: Mapping[str, str] = {
            "medicine": self.medicine,
            "Medicine": self.medicine[:1].upper() + self.medicine[1:],
            "epds_from": str(evidence.studied_from_epds),
            "start_within": str(self.orders.start_within_min),
            "limit": next(row.limit for row in inputs if "epds_current" in row.facts),
            **self._days(),
        }
        self.why = {name: phrase.fill(self.words) for name, phrase in wording.blocks.items() if name[:4] == "why_"}
        self.parts: Mapping[str, str] = {
            "harms": self._say("harms", says=" ".join(row.says for row in evidence.harm if first in row.medicines)),
            "evidence": "\n\n".join(self._evidence(side) for side in ("for", "against")),
            "not_checked": self._say("not_checked", list="; ".join(row.says for row in evidence.not_checked)),
        }
        self.evidence_brief = "\n\n".join(self._evidence_brief(medicine) for medicine in medicines)
        self.lactation = {
            row.when: self._say("lactation", says=row.says) for row in evidence.lactation if first in row.medicines
        }
        self.status_unapproved = self._status(self._say("no_protocol"))
        self.status = (
            self._status(self._say("local_protocol", approval=self.approval_words))
            if self.approval
            else self.status_unapproved
        )
        self.tiers = {tier: self._say(_TIERS.get(tier, "tier_other"), version=knowledge.version) for tier in Tier}
        self.groups = {
            group.id: self._say("group", says=group.says, n=group.n, country=group.country, outcome=group.outcome)
            for group in knowledge.risk.frequency
        }
        self.no_group = self._say("no_group")
        self._watch_first = self._lines("watch_line", watched("monitor"))
        self._watch_last = (
            *(line for when in ("pause", "stop", "release") for line in self._lines(when, watched(when))),
            *self._lines("watch_line", (*watched("newborn"), *watched("afterwards"))),
        )
        self._notes_first, self._notes_last = _notes(self._watch_first), _notes(self._watch_last)
        self.confirm_as = {row.id: row.confirm_as for row in inputs}
        self.screen_inputs = frozenset(row.id for row in inputs if _SCREENS & set(row.facts))
        self.doubts = {doubt: self._say(f"doubt_{doubt.name.lower()}") for doubt in Doubt}
        self.kinds = {kind: self._say(f"kind_{kind}") for kind in get_args(Kind)}
        self.cards = {row.code: self._card(row) for row in knowledge.topics.topic}
        self._review, self._review_again = self._reviewed()
        self._review_overdue = f"{self._review}, {self._say('review_overdue', again=self._review_again)}"

    @classmethod
    def of(cls, knowledge: Knowledge, wording: Wording, site: Site) -> Mapping[Medicines, Standing]:
        """By medicine, and for either: prepared at the first call, remembered for the next."""
        key = (knowledge.hash, wording, site)
        found = _PREPARED.get(key)
        if found is None:
            about = (*((medicine,) for medicine in MEDICINES), MEDICINES)
            found = _PREPARED[key] = {medicines: cls(knowledge, wording, site, medicines) for medicines in about}
        return found

    def footer(self, who: Encountered, today: date) -> str:
        """Which knowledge spoke, and who has reviewed it: only somebody who has signed this very version."""
        footer = self._say(
            "footer",
            version=self._knowledge.version,
            hash=self._knowledge.hash[: len("sha256:") + 12],
            review=self._review_overdue if self._review_again < today else self._review,
            call=_NO_NAME.sub("", who.hook_instance)[:8],
        )
        return f"{footer}\n\n{self._wording.notice}" if self._wording.notice else footer

    def watch(self, adds: Iterable[str]) -> tuple[str, ...]:
        """What to watch, with what the modifiers add, and when to pause, to stop and to release."""
        return (*self._watch_first, *self._lines("watch_line", adds), *self._watch_last)

    def watch_notes(self, adds: Iterable[str]) -> tuple[Resource, ...]:
        """The same, as the notes of an order."""
        return (*self._notes_first, *_notes(self._lines("watch_line", adds)), *self._notes_last)

    def start(self, modifiers: Iterable[Met], confirmed: Container[str]) -> tuple[str, ...]:
        """The start checklist, but for what is to be confirmed in the very same words."""
        lines = (line for line in self.orders.start_lines(modifiers) if line not in confirmed)
        return self._lines("start_line", lines)

    def _say(self, block: str, **words: object) -> str:
        return self._wording.blocks[block].fill(words)

    def _lines(self, block: str, sentences: Iterable[str]) -> tuple[str, ...]:
        return tuple(self._say(block, says=says) for says in sentences)

    def _days(self) -> dict[str, str]:
        rows = self._knowledge.orders.service
        days = sorted(row.after_days for row in rows if row.after_days is not None)
        contact = min(row.within_days for row in rows if row.within_days is not None)
        return {"day_first": str(days[0]), "day_second": str(days[-1]), "contact_days": str(contact)}

    def _card(self, row: TopicRow) -> StandingCard:
        table, wording = self._knowledge.topics, self._wording.cards[row.code]
        displays = table.displays(row.code)
        return StandingCard(
            wording=wording,
            source=Source(
                self._say("source_label", site=self._site.name), topic=Topic(row.code, table.topic_system, row.says)
            ),
            override_reasons=tuple(
                OverrideReason(code, table.override_system, displays[code]) for code in row.override_reasons
            ),
            shown=tuple(shown for shown in self._wording.shown if row.code in shown.topics),
            options=self._options(row.code, ("no drug", "drug", "other drug")),
            drugless_options=self._options(row.code, ("no drug",)),
            asks=tuple(name for paragraph in wording.detail for name in paragraph.names if name not in self.parts),
        )

    def _options(self, topic: str, kinds: Container[str]) -> str:
        options = self._knowledge.evidence.option
        rows = [option for option in options if topic in option.topics and option.kind in kinds]
        if not rows:
            return ""
        lines = [
            self._say("option", number=number, says=option.says.replace("$medicine", self.medicine))
            for number, option in enumerate(rows, start=1)
        ]
        return "\n".join([self._say("options_heading"), "", *lines])

    def _evidence(self, side: str) -> str:
        said = self._knowledge.evidence.said(self._medicines[0], side)
        return "\n".join([self._say(f"evidence_{side}"), "", *(self._cited(statement) for statement in said)])

    def _cited(self, statement: Statement) -> str:
        sources = (self._knowledge.sources[id_] for id_ in statement.sources)
        url = next((source.url for source in sources if source.url), None)
        if url is None:
            return self._say("evidence_line", says=statement.says)
        return self._say("evidence_link", says=statement.says, url=url)

    def _evidence_brief(self, medicine: str) -> str:
        said = self._knowledge.evidence.said
        return self._say("evidence_brief", pro=_brief(said(medicine, "for")), con=_brief(said(medicine, "against")))

    def _status(self, local: str) -> str:
        says = dict.fromkeys(
            row.says.replace("$medicine", self.medicine)
            for row in self._knowledge.evidence.status
            if set(self._medicines) & set(row.medicines) and (not row.countries or self._site.country in row.countries)
        )
        return self._say("status", says=" ".join(says), local=local)

    def _reviewed(self) -> tuple[str, date]:
        """Who reviewed the knowledge and the wording, and when that must be done again."""
        knowledge, wording, signed = self._knowledge, self._wording, self._site.review
        rows = {**knowledge.reviews_due, **wording.reviews_due}
        due = [reviewed for name, reviewed in rows.items() if name != wording.translation]  # that says its own
        on, again = max(reviewed.on for reviewed in due), min(reviewed.again for reviewed in due)
        if signed is not None and knowledge.hash.startswith(signed.knowledge):
            return self._say("review_signed", number=len(signed.by), on=signed.on, again=again), again
        if knowledge.signed:
            names = {name for reviewed in due for name in reviewed.by}
            return self._say("review_signed", number=len(names), on=on, again=again), again
        return self._say("review_unsigned", on=on), again


# All that a UUID has. With a point or an @ a reader of Markdown may see a link: "www.a.io" has eight signs.
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9-]")
# The hash names every byte of the knowledge; a wording is told by its identity, and a site by what it says.
_PREPARED: Final[dict[tuple[str, Wording, Site], Mapping[Medicines, Standing]]] = {}


def _notes(lines: Iterable[str]) -> tuple[Resource, ...]:
    """A line of a list is a sentence of a note."""
    return tuple({"text": line.removeprefix("- ")} for line in lines)


def _brief(statements: Iterable[Statement]) -> str:
    return next(statement.brief for statement in statements if statement.brief)
