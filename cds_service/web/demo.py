"""The demonstration: a page that plays an EHR, so that a newcomer can order a birth and read the cards."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, abort, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from cds_service import __version__
from cds_service.settings import Site, SiteProtocol
from cds_service.web.chart_summary import head, summary
from cds_service.web.markdown import as_html
from cds_service.web.played_ehr import Resource, Woman, draftable_orders, invented_women, prefetch

if TYPE_CHECKING:
    from cds_service.advisor import Advisor

_CLINICIAN: Final = "Practitioner/demonstration"
_PAGE_POLICY: Final = "; ".join(
    [
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
)


def demo_site() -> Site:
    """The invented hospital of the demonstration. It has approved the protocol for nobody but the eight women."""
    return Site(
        name="Demonstration hospital",
        country="CN",
        protocol=SiteProtocol(id="esketamine-iv", approval="DEMO-ONLY", strength_mg_per_ml=Decimal(5)),
    )


@dataclass(frozen=True)
class Demo:
    """The time, the women, and the orders that can be drafted. Raises ValueError if a chart is unfit."""

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    women: Mapping[str, Woman] = field(default_factory=lambda: {woman.id: woman for woman in invented_women()})
    orders: Mapping[str, Resource] = field(default_factory=draftable_orders)

    def __post_init__(self) -> None:
        for woman in self.women.values():
            woman.chart(self.clock())  # refuse at start, not when somebody opens her chart

    def request(self, service: Mapping[str, Any], woman: Woman, order: str | None) -> dict[str, Any]:
        """The request that an EHR sends when the service's hook fires for this woman, with this order just drafted."""
        chart = woman.chart(self.clock())
        context: dict[str, Any] = {
            "userId": _CLINICIAN,
            "patientId": woman.id,
            "encounterId": next(item["id"] for item in chart if item["resourceType"] == "Encounter"),
        }
        sent_along = prefetch(service.get("prefetch", {}), context, chart)
        drafts = [] if order is None else [self.draft(order, context)]
        if service["hook"] in {"order-select", "order-sign"}:
            context["draftOrders"] = {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{"resource": draft} for draft in drafts],
            }
        if service["hook"] == "order-select":
            context["selections"] = [f"{draft['resourceType']}/{draft['id']}" for draft in drafts]
        return {
            "hook": service["hook"],
            "hookInstance": str(uuid.uuid4()),
            "context": context,
            "prefetch": sent_along,
        }

    def draft(self, order: str, context: Mapping[str, str]) -> Resource:
        """The order as it stands on the screen before anybody signs it."""
        return {
            **self.orders[order],
            "subject": {"reference": f"Patient/{context['patientId']}"},
            "encounter": {"reference": f"Encounter/{context['encounterId']}"},
            "requester": {"reference": context["userId"]},
            "authoredOn": self.clock().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }


# --- the pages ------------------------------------------------------------------------------------


def pages(demo: Demo, advisor: Advisor) -> Blueprint:
    """The page at /demo and what its script asks for. The cards come from the real services."""
    blueprint = Blueprint(
        "demo", __name__, static_folder="static", static_url_path="/demo/static", template_folder="templates"
    )

    @blueprint.get("/")
    def front() -> AnyResponse:
        return redirect(url_for("demo.page"))

    @blueprint.get("/demo")
    def page() -> Response:
        now = demo.clock()
        ward = [{**head(woman.chart(now), now), "shows": woman.shows} for woman in demo.women.values()]
        response = Response(render_template("demo.html", ward=ward, orders=demo.orders, version=__version__))
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    @blueprint.get("/demo/patients/<woman_id>")
    def chart(woman_id: str) -> Response:
        woman = demo.women.get(woman_id) or abort(404)
        now = demo.clock()
        return jsonify({**summary(woman.chart(now), now), "shows": woman.shows})

    @blueprint.get("/demo/patients/<woman_id>/requests/<service_id>")
    def hook_request(woman_id: str, service_id: str) -> Response:
        woman = demo.women.get(woman_id) or abort(404)
        services = {service["id"]: service for service in advisor.discovery()["services"]}
        order = request.args.get("order")
        if service_id not in services or (order is not None and order not in demo.orders):
            abort(404)
        return jsonify(demo.request(services[service_id], woman, order))

    @blueprint.post("/demo/markdown")
    def markdown() -> Response:
        return Response(as_html(request.get_data(as_text=True)), mimetype="text/html")

    return blueprint
