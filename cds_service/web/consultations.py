"""The page behind a card's link: what was found in the chart, which rules spoke, and how the dose came out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, render_template, request

from cds_service import __version__

if TYPE_CHECKING:
    from cds_service.explanations import Explanations

_PAGE_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"


def consultations(explanations: Explanations, clock: Callable[[], datetime]) -> Blueprint:
    """GET /consultations/{id}. Whoever has the link may read, until it expires by this clock."""
    # Beside the page: a proxy lets in /consultations, and not /docs.
    pages = Blueprint(
        "consultations",
        __name__,
        static_folder="static",
        static_url_path="/consultations/static",
        template_folder="templates",
    )

    @pages.get("/consultations/<id_>")
    def consultation(id_: str) -> Response:
        signed = (request.args.get("expires", ""), request.args.get("signature", ""))
        told = explanations.read(id_, *signed, clock())
        response = Response(render_template("consultation.html", told=told, version=__version__))
        response.headers["Content-Security-Policy"] = _PAGE_POLICY
        return response

    return pages
