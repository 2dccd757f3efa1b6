"""
READ FIRST. The whole service on one page: what happens when an EHR fires a hook.

`answer` meets the world: it reads the request, gathers the chart, looks at the clock and remembers what was advised.
`consult` thinks: from there on everything is a pure function, and each line's noun is the next line's argument.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from cds_service.clinical.approval import approve
from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.clinical.derived import Grounds, derive
from cds_service.clinical.dosing import compute
from cds_service.clinical.eligibility import Rows, judge
from cds_service.clinical.order_check import check
from cds_service.clinical.plan import Occasion, Topic, propose
from cds_service.clinical.risk import assess
from cds_service.ehr.chart import Chart
from cds_service.ehr.elements import reference_of
from cds_service.ehr.gathering import Sources, gather
from cds_service.ehr.reading import read
from cds_service.ehr.reading.conditions import not_recognised as problems_not_recognised
from cds_service.ehr.reading.medicines import not_recognised as medicines_not_recognised
from cds_service.ehr.reading.orders import already_ordered, another_active, monitoring_ordered, read_drafted
from cds_service.ehr.reading.roles import topics_for
from cds_service.ehr.reading.view import View
from cds_service.ehr.relevance import is_clinician, is_relevant, may_follow_an_offer, orders_prevention
from cds_service.ehr.units import Units
from cds_service.ehr.wanted import USAGE, Wanted
from cds_service.errors import ChartUnavailable, ServiceError, StoreUnavailable
from cds_service.events import Event, tell
from cds_service.hooks.discovery import discovery_document
from cds_service.hooks.request import HOOKS, HookRequest, parse_request, service_at, service_for
from cds_service.hooks.response import Link
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import Knowledge
from cds_service.rendering.cards import write, write_failed
from cds_service.rendering.dialects import Dialect, dialect_for
from cds_service.rendering.explanation import heading, sections, spoken_by
from cds_service.rendering.standing import Standing
from cds_service.rendering.wording import Wording
from cds_service.repeats import Repeats
from cds_service.settings import Site, Terms
from cds_service.telemetry import span

if TYPE_CHECKING:
    from cds_service.explanations import Explanations
    from cds_service.records.memory import Memory

Outcome = Literal["advised", "nothing", "not-relevant", "failed", "unavailable"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What was asked, what was thought (None when it is none of our business, or when thinking failed), the cards."""

    who: Encountered
    consultation: Consultation | None
    cards: tuple[dict[str, Any], ...]
    failed: bool = False

    @property
    def outcome(self) -> Outcome:
        """In one word: `failed`, `not-relevant`, `nothing` to say, or `advised`."""
        if self.failed:
            return "failed"
        if self.consultation is None:
            return "not-relevant"
        return "advised" if self.cards else "nothing"

    @property
    def topics(self) -> tuple[Topic, ...]:
        """The topics of the cards, as planned."""
        return self.consultation.plan.topics if self.consultation is not None else ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The body that goes back to the EHR, and in a word how it came about: for the log, never for the EHR."""

    body: dict[str, Any]
    outcome: Outcome


class Advisor:
    """
    One site's advisor. `clock` tells the time as an aware datetime; a test hands in a fixed one.

    `sources` says where charts come from: as the site file does, unless it is handed in. `explanations` is where the
    thought behind each card is kept, and `memory` where it is written down what was advised, if they are. `terms` says
    which tenant is served, and how.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        wording: Wording,
        site: Site,
        clock: Callable[[], datetime],
        sources: Sources | None = None,
        explanations: Explanations | None = None,
        *,
        memory: Memory | None = None,
        terms: Terms = Terms(),  # noqa: B008  (frozen)
    ) -> None:
        self.knowledge = knowledge = knowledge.spoken_at(site)
        self.wording = wording
        self.site = site
        self.clock = clock
        self.explanations = explanations
        self.memory = memory
        self.terms = terms
        self._units = Units(knowledge.units)
        self._wanted = Wanted.by(knowledge, roles=bool(site.role))
        self.sources = sources or Sources.of(site, knowledge)
        self._approval = approve(site, knowledge)
        self._repeats = Repeats()
        Standing.of(knowledge, wording, site)  # what cannot be written or ordered is refused now, not at the bedside
        self._rows = Rows(
            knowledge.contraindications.criterion,
            knowledge.reviews.criterion,
            knowledge.modifiers.criterion,
            knowledge.inputs.input,
        )

    def answer(self, service_id: str, body: bytes) -> Answer:
        """
        The CDS Hooks answer to one call, once it has been written down what was advised.

        Raises ServiceUnknown, RequestUnreadable, ChartUnavailable; StoreUnavailable when it cannot be written down.
        """
        request = parse_request(read_json(body), service_at(service_id).hook)
        try:
            advice = self.advise(request)
        except StoreUnavailable:
            raise
        except Exception as error:
            nothing = Advice(_encountered(request), None, ())
            self._remember(nothing, "unavailable" if isinstance(error, ChartUnavailable) else "failed")
            raise
        self._remember(advice, advice.outcome)
        return Answer({"cards": [] if self.terms.shadow else list(advice.cards)}, advice.outcome)

    def advise(self, request: HookRequest) -> Advice:
        """Nothing, at once, when it is none of our business; else the chart, the thought and the cards."""
        who, now, dialect = _encountered(request), self.clock(), dialect_for(self.site, request)
        offered = may_follow_an_offer(request, self.knowledge) and self._was_offered(who, now)
        if not is_relevant(request, self.knowledge, offered=offered):
            return Advice(who, None, ())
        try:
            consultation = self.consult(request, gather(request, self.sources), now, offered=offered)
            if request.extensions.filter_repeats or self.site.filter_repeats:
                consultation = self._repeats.without(consultation, who)
            cards = self._written(consultation, who, dialect)
            self._repeats.note(consultation, who)
            return Advice(who, consultation, cards)
        except ServiceError:
            raise
        except Exception as error:
            tell(Event.EVALUATION_FAILED, error=type(error).__name__)
            # Silence over a drafted order would read as "all clear" (decision logic, section 10).
            if not orders_prevention(request, self.knowledge, offered=offered):
                raise
            return Advice(who, None, (self._incomplete(who, now, dialect),), failed=True)

    def _was_offered(self, who: Encountered, now: datetime) -> bool:
        return self.memory is not None and self.memory.offered(who, now)

    @span("record")
    def _remember(self, advice: Advice, outcome: Outcome) -> None:
        """A call that is none of our business has read no chart, and leaves no row."""
        if outcome not in ("advised", "nothing"):
            tell(Event.NOT_EVALUATED, reason=outcome)
        if self.memory is not None and outcome != "not-relevant":
            thought, knowledge = advice.consultation, self.knowledge.hash
            self.memory.remember(advice.who, outcome, thought, advice.cards, knowledge, self.clock())
        for topic in advice.topics if not self.terms.shadow else ():
            version = self.knowledge.version
            tell(Event.CARD_RETURNED, topic=topic.code, indicator=topic.indicator.value, rule_version=version)

    def _incomplete(self, who: Encountered, now: datetime, dialect: Dialect) -> dict[str, Any]:
        return write_failed(who, self.knowledge, self.wording, self.site, now.date(), dialect)

    @span("render")
    def _written(self, consultation: Consultation, who: Encountered, dialect: Dialect) -> tuple[dict[str, Any], ...]:
        """The cards, with a link to the whole thought where that is kept. Without its store they go out without one."""

        def written(*links: Link) -> list[dict[str, Any]]:
            cards = write(consultation, who, self.knowledge, self.wording, self.site, dialect, links=links)
            return [*cards, self._incomplete(who, now, dialect)] if consultation.plan.lacks_a_word_against else cards

        now = consultation.facts.now
        if self.explanations is None or not consultation.plan.topics:
            return tuple(written())
        call = json.dumps([self.terms.tenant, who.hook_instance, who.service_id, who.patient, who.user])
        place = self.explanations.place(call, now)
        title = self.wording.explanation["page_title"].fill({})
        cards = written(Link(title, place.url))
        try:
            told = [
                *sections(consultation, cards, self.wording, self.knowledge, site=self.site),
                spoken_by(self.knowledge, self.wording),
            ]
            self.explanations.keep(
                place, heading(who, self.wording), told, now, (self.site.language, title, self._note(now))
            )
        except StoreUnavailable:
            tell(Event.EXPLANATION_NOT_KEPT)  # the cards go out without their link
            cards = written()
        return tuple(cards)

    def _note(self, now: datetime) -> str:
        """What a reader of an explanation should know first."""
        return self.wording.explanation["page_note"].fill({"at": now.astimezone(UTC).strftime("%Y-%m-%d %H:%M")})

    @span("evaluate")
    def consult(self, request: HookRequest, chart: Chart, now: datetime, *, offered: bool = False) -> Consultation:
        """
        From chart to plan. Pure: the same request, chart and instant give the same consultation.

        `offered`: this service offered the medicine to her within a day (decision logic, section 6).
        """
        tables, protocol = self.knowledge, self._approval.protocol
        drafted = read_drafted(chart, tables, self._units, offered=offered)
        ppd_order = any(order.for_prevention and order.selected for order in drafted)
        view = View(chart, tables, self._units, self._wanted, now, self.site.zone(now))
        found = read(view, drafted, self.site)
        grounds = Grounds(tables.risk, tables.contraindications, found.stage, found.assessments)
        facts = derive(found.facts, grounds)
        risk = assess(facts, tables.risk)
        eligibility = judge(
            facts,
            self._rows,
            stage=found.stage,
            ppd_order=ppd_order,
            protocol=protocol,
            configuration=self._approval.configuration,
            tightened=frozenset(self.site.tighten),
        )
        dose = compute(facts, eligibility, protocol)
        departures = check(
            drafted,
            dose=dose,
            protocol=protocol,
            weight_kg=next(iter(facts["weight"].values), None),
            monitoring=monitoring_ordered(chart, tables),
            table=tables.order_check,
            duplicate_active=another_active(chart, tables),
        )
        occasion = Occasion(
            request.workflow_hook,
            is_clinician(request),
            found.stage,
            ppd_order,
            protocol is not None,
            topics_for(request.user_id, chart, self.site),
            self.terms.off,
        )
        plan = propose(occasion, facts, risk, eligibility, departures, tables.topics)
        return Consultation(
            occasion,
            facts,
            risk,
            eligibility,
            dose,
            drafted,
            departures,
            plan,
            already_ordered(chart),
            chart.set_aside,
            chart.not_hers,
            (*medicines_not_recognised(view), *problems_not_recognised(view)),
        )

    def discovery(self) -> dict[str, Any]:
        """The discovery document. Its prefetch is computed from what the tables read."""
        templates = {query.key: query.template for query in self._wanted.queries}
        return discovery_document(HOOKS, {service.id: templates for service in HOOKS}, USAGE)


def _encountered(request: HookRequest) -> Encountered:
    return Encountered(
        service_id=service_for(request.hook).id,
        hook=request.workflow_hook,
        hook_instance=request.hook_instance,
        patient=f"Patient/{request.patient_id}",
        encounter=request.encounter_id and f"Encounter/{request.encounter_id}",
        user=request.user_id,
        drafts={reference_of(order): order for order in request.draft_orders},
    )
