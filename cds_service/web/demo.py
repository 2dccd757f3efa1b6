"""
The demonstration: a page that plays an EHR, so that a newcomer can walk through a stay and read the cards.

It keeps nothing. The browser holds the chart, and sends it along with whatever it asks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, abort, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from cds_service import __version__
from cds_service.ehr.elements import members, reference_of
from cds_service.errors import RequestUnreadable
from cds_service.hooks.strict_json import MOST_BYTES, read_json, write_json
from cds_service.settings import DEFAULT_LANGUAGE, Site, SiteProtocol
from cds_service.web.brought import BroughtRequest, chart_of, read_brought
from cds_service.web.changed_facts import Facts
from cds_service.web.chart_summary import head, summary
from cds_service.web.page_words import PageWords
from cds_service.web.played_ehr import Resource, Woman, current_stay, draftable_orders, invented_women, prefetch
from cds_service.web.shown_cards import shown

if TYPE_CHECKING:
    from cds_service.advisor import Advisor

_CLINICIAN: Final = "Practitioner/demonstration"
_ORDER_HOOKS: Final = frozenset({"order-select", "order-sign"})
_PAGE_POLICY: Final = "; ".join(
    [
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
)


def demo_site(language: str = DEFAULT_LANGUAGE) -> Site:
    """
    The invented hospital of the demonstration. It has approved the protocol for nobody but the eight women.

    Raises SiteUnfit when that is no language.
    """
    protocol = SiteProtocol(id="esketamine-iv", approval="DEMO-ONLY", strength_mg_per_ml=Decimal(5))
    told = {"name": "Demonstration hospital", "country": "CN", "language": language, "protocol": protocol}
    return Site.from_table(told, "demonstration")


@dataclass(frozen=True)
class Demo:
    """The time, the women, and the orders that can be drafted. Raises ValueError if a chart is unfit."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    women: Mapping[str, Woman] = field(default_factory=lambda: {woman.id: woman for woman in invented_women()})
    orders: Mapping[str, Resource] = field(default_factory=draftable_orders)

    def __post_init__(self) -> None:
        for woman in self.women.values():
            woman.chart(self.clock())  # refuse at start, not when somebody opens her chart

    def request(self, service: Mapping[str, Any], chart: list[Resource], drafts: Sequence[Resource]) -> dict[str, Any]:
        """
        The request that an EHR sends when the service's hook fires for this chart.

        At an order hook the drafts go along; the first of them is the one that was just selected.
        """
        context = self.context(chart)
        sent_along = prefetch(service.get("prefetch", {}), context, chart)
        if service["hook"] in _ORDER_HOOKS:
            entries = [{"resource": draft} for draft in drafts]
            context["draftOrders"] = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        if service["hook"] == "order-select":
            context["selections"] = [reference_of(draft) for draft in drafts[:1]]
        return {
            "hook": service["hook"],
            "hookInstance": str(uuid.uuid4()),
            "context": context,
            "prefetch": sent_along,
        }

    def context(self, chart: Sequence[Resource]) -> dict[str, Any]:
        """Who asks, about whom, in which stay."""
        patient = next(resource["id"] for resource in chart if resource["resourceType"] == "Patient")
        context = {"userId": _CLINICIAN, "patientId": patient}
        stay = current_stay(chart)
        return context if stay is None else {**context, "encounterId": stay}

    def draft(self, order: str, context: Mapping[str, str]) -> Resource:
        """The order as it stands on the screen before anybody signs it."""
        during = {"encounter": {"reference": f"Encounter/{stay}"}} if (stay := context.get("encounterId")) else {}
        return {
            **self.orders[order],
            "subject": {"reference": f"Patient/{context['patientId']}"},
            **during,
            "requester": {"reference": context["userId"]},
            "authoredOn": self.clock().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }

    def drafted_anew(self, order: str, chart: list[Resource], drafts: Sequence[Resource]) -> list[Resource]:
        """The drafts with this order first, in place of an earlier draft of the same."""
        new = self.draft(order, self.context(chart))
        return [new, *(draft for draft in drafts if reference_of(draft) != reference_of(new))]


# --- the pages ------------------------------------------------------------------------------------


def pages(demo: Demo, advisor: Advisor) -> Blueprint:
    """The page at /demo and what its script asks for. The cards come from the real services."""
    blueprint = Blueprint(
        "demo", __name__, static_folder="static", static_url_path="/demo/static", template_folder="templates"
    )
    facts = Facts(advisor.knowledge.terminology)
    services = {service["id"]: service for service in advisor.discovery()["services"]}
    words = PageWords.of(advisor.site.language)
    spoken = {"say": words.say, "page_language": words.language, "card_language": advisor.site.language}

    def opened(chart: list[Resource], shows: str = "") -> dict[str, Any]:
        """What the browser gets of a chart: the chart itself, to hold, and how it looks."""
        told = {"chart": summary(chart, demo.clock()), "shows": shows}
        form = {"facts": facts.by_name, "standing": facts.standing(chart)}
        look = render_template("demo_chart.html", **told, **form, **spoken)
        bundle = {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": resource} for resource in chart],
        }
        return {"kind": "chart", "look": look, "chart": write_json(bundle).decode()}

    @blueprint.get("/")
    def front() -> AnyResponse:
        return redirect(url_for("demo.page"))

    @blueprint.get("/demo")
    def page() -> Response:
        now = demo.clock()
        ward = [(head(woman.chart(now), now), woman.shows) for woman in demo.women.values()]
        insights = any(rule.rule == "/insights" for rule in current_app.url_map.iter_rules())
        told = {"ward": ward, "orders": demo.orders, "stay": services.values(), "insights": insights}
        told |= {"version": __version__, "most_bytes": MOST_BYTES}
        response = Response(render_template("demo.html", **told, **spoken))
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    @blueprint.get("/demo/patients/<woman_id>")
    def chart(woman_id: str) -> Response:
        woman = demo.women.get(woman_id) or abort(404)
        return _json(opened(woman.chart(demo.clock()), woman.shows))

    @blueprint.get("/demo/patients/<woman_id>/requests/<service_id>")
    def hook_request(woman_id: str, service_id: str) -> Response:
        woman = demo.women.get(woman_id) or abort(404)
        order = request.args.get("order")
        if service_id not in services or (order is not None and order not in demo.orders):
            abort(404)
        chart = woman.chart(demo.clock())
        drafts = [] if order is None else demo.drafted_anew(order, chart, [])
        return _json(demo.request(services[service_id], chart, drafts))

    @blueprint.post("/demo/uploads")
    def upload() -> Response:
        brought = read_brought(request.get_data())
        if isinstance(brought, BroughtRequest):
            look = render_template("demo_request.html", brought=brought, **spoken)
            return _json({"kind": "request", "service": brought.service, "look": look})
        return _json(opened(brought))

    @blueprint.post("/demo/requests")
    def any_request() -> Response:
        asked = _asked()
        chart, drafts = chart_of(asked.get("chart")), _drafts(asked)
        service, order = _name(asked, "service", services), _name(asked, "order", {None: None, **demo.orders})
        if order is not None:
            drafts = demo.drafted_anew(order, chart, drafts)
        return _json(demo.request(services[service], chart, drafts))

    @blueprint.post("/demo/changes")
    def change() -> Response:
        asked = _asked()
        wishes = asked.get("facts")
        if not isinstance(wishes, dict):
            raise RequestUnreadable("facts is not an object")
        return _json(opened(facts.changed(chart_of(asked.get("chart")), wishes, demo.clock())))

    @blueprint.post("/demo/cards")
    def cards() -> Response:
        given = list(map(shown, members(_asked().get("cards"))))
        return Response(render_template("demo_cards.html", cards=given, **spoken))

    return blueprint


def _json(value: dict[str, Any]) -> Response:
    return Response(write_json(value), content_type="application/json")


def _asked() -> dict[str, Any]:
    asked = read_json(request.get_data())
    if not isinstance(asked, dict):
        raise RequestUnreadable("the body is not an object")
    return asked


def _name(asked: Mapping[str, Any], member: str, known: Mapping[Any, Any]) -> Any:
    """What the member names, if that is known. Raises RequestUnreadable."""
    name = asked.get(member)
    if not (name is None or isinstance(name, str)) or name not in known:
        raise RequestUnreadable(f"{member} names nothing that is here")
    return name


def _drafts(asked: Mapping[str, Any]) -> list[Resource]:
    drafts = asked.get("drafts", [])
    if not isinstance(drafts, list) or not all(isinstance(draft, dict) for draft in drafts):
        raise RequestUnreadable("drafts is not a list of resources")
    return drafts
