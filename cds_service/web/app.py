"""The front door: what may come in, and what a caller hears when something is wrong."""

from __future__ import annotations

import logging
import re
import traceback
import uuid
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, request
from flask_cors import CORS
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from cds_service import __version__
from cds_service.advisor import Advisor
from cds_service.errors import RequestUnreadable, ServiceError, StoreUnavailable, operation_outcome
from cds_service.hooks.discovery import SPECIFICATION
from cds_service.hooks.strict_json import MOST_BYTES, write_json
from cds_service.web.api_page import specification_pages
from cds_service.web.consultations import consultations
from cds_service.web.demo import Demo, pages
from cds_service.web.feedback import feedback_on

if TYPE_CHECKING:
    from cds_service.audit import Audit

_log = logging.getLogger(__name__)


def create_app(
    advisor: Advisor, *, demo: Demo | None = None, audit: Audit | None = None, origins: tuple[str, ...] = ()
) -> Flask:
    """
    The service as a WSGI application. With an `audit` it takes feedback; with a `demo` it plays an EHR at /demo.

    `origins` are the browser clients that may call the services from a page of theirs; none by default.
    """
    app = _Door(__name__, static_folder=None, template_folder=None)
    # One more than we take: Werkzeug cuts a chunked body at this length without a word, and read_body must notice.
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES + 1
    # Many EHRs do not follow a redirect of a POST. So a slash too many is heard, never corrected.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.logger.addFilter(_without_traceback)
    app.register_error_handler(Exception, _explain)
    app.after_request(_harden)
    app.register_blueprint(_services(advisor))
    app.register_blueprint(_health(advisor))
    app.register_blueprint(specification_pages())
    if advisor.explanations is not None:
        app.register_blueprint(consultations(advisor, advisor.explanations))
    if audit is not None:
        app.register_blueprint(feedback_on(advisor, audit, read_body, _json))
    if origins:
        # A browser hides an answer, and why it was refused, from a page whose origin is not named in it.
        # Patterns: of plain text flask-cors lets in any spelling, and tells it to those who sent no origin.
        exactly = [re.compile(rf"{re.escape(origin)}\Z") for origin in origins]
        CORS(app, resources={r"/cds-services(?:/|$)": {"origins": exactly, **_CROSS_ORIGIN}})
        app.after_request(_vary_by_origin)
    if demo is not None:
        app.register_blueprint(pages(demo, advisor))
    return app


class _Door(Flask):
    """Flask, except that it never writes the text of an exception to the log: it may quote a chart."""

    def log_exception(self, exc_info: Any) -> None:
        _log.error("unexpected %s", exc_info[0].__name__)


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = record.exc_text = None
    return True


# --- the services ---------------------------------------------------------------------------------


def _services(advisor: Advisor) -> Blueprint:
    services = Blueprint("services", __name__, url_prefix="/cds-services")

    @services.get("")
    def discover() -> Response:
        return _json(advisor.discovery())

    @services.post("/<service_id>")
    def call(service_id: str) -> Response:
        return _json(advisor.answer(service_id, read_body()))

    return services


def read_body() -> bytes:
    """The body of the request at hand, once its kind, encoding and size are ones that we take."""
    kind, options = parse_options_header(request.headers.get("Content-Type"))
    charset = options.get("charset", "utf-8").lower().replace("-", "").replace("_", "")
    if kind.lower() not in {"application/json", "application/fhir+json"} or charset != "utf8":
        raise RequestUnreadable("Content-Type is not application/json or application/fhir+json in UTF-8", status=415)
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise RequestUnreadable("Content-Encoding is not identity: send the body uncompressed", status=415)
    body = request.get_data(cache=False)
    if len(body) > MOST_BYTES:
        raise RequestUnreadable(_TOO_LARGE, status=413)
    return body


# --- is it well? ----------------------------------------------------------------------------------


def _health(advisor: Advisor) -> Blueprint:
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def alive() -> Response:
        return _json({"status": "ok"})

    @health.get("/readyz")
    def ready() -> Response:
        # Degraded still answers 200: the cards themselves say that nobody has reviewed them.
        because = _why_degraded(advisor)
        return _json({"status": "degraded", "because": because} if because else {"status": "ready"})

    @health.get("/version")
    def version() -> Response:
        return _json(
            {
                "service": __version__,
                "cdsHooks": SPECIFICATION,
                "knowledge": advisor.knowledge.hash,
                "reviewed": _reviewed(advisor),
            }
        )

    return health


def _reviewed(advisor: Advisor) -> bool:
    """Every table names a reviewer, or the site has signed this very knowledge."""
    review = advisor.site.review
    return advisor.knowledge.signed or (review is not None and advisor.knowledge.hash.startswith(review.knowledge))


def _why_degraded(advisor: Advisor) -> list[str]:
    """What a clinician should know before trusting the cards. The cards' own footers say the same."""
    due = [*advisor.knowledge.reviews_due.values(), *advisor.wording.reviews_due.values()]
    overdue = any(reviewed.again < advisor.clock().date() for reviewed in due)
    return [
        *([] if _reviewed(advisor) else ["The knowledge is not clinically reviewed."]),
        *(["A review of the knowledge or of the cards is overdue."] if overdue else []),
    ]


# --- what goes out --------------------------------------------------------------------------------


def _json(value: dict[str, Any], status: int = 200, kind: str = "application/json") -> Response:
    return Response(write_json(value), status=status, content_type=kind)


def _explain(error: Exception) -> Response:
    """Every refusal and every accident, as an OperationOutcome. Of an accident the caller learns only its number."""
    match error:
        case ServiceError(status=status, code=code) if status < 500:
            return _outcome(status, code, str(error))
        case StoreUnavailable(status=status, code=code):
            response = _outcome(status, code, str(error))
            response.headers["Retry-After"] = _RETRY_AFTER_SECONDS
            return response
        case HTTPException(code=int(status)):
            response = _outcome(status, *_HTTP.get(status, ("processing", "The request cannot be served.")))
            if allow := error.get_response().headers.get("Allow"):
                response.headers["Allow"] = allow
            return response
        case _:
            number = str(uuid.uuid4())
            _log.error("unexpected %s at %s, correlation id %s", type(error).__name__, _place(error), number)
            return _outcome(500, "exception", f"Something unexpected went wrong here. Correlation id: {number}")


def _outcome(status: int, code: str, message: str) -> Response:
    return _json(operation_outcome(code, message), status, "application/fhir+json")


_RETRY_AFTER_SECONDS = "30"
_TOO_LARGE = f"the body is larger than {MOST_BYTES} bytes"
_HTTP = {
    400: ("structure", "The HTTP request is not well formed."),
    404: ("not-found", "There is nothing at this address. Discovery is at /cds-services."),
    405: ("not-supported", "This address does not take this method."),
    413: ("structure", _TOO_LARGE),
}


def _place(error: Exception) -> str:
    """Where it went wrong, as file:line, innermost last. Never the text of a line or of the error."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)


_CROSS_ORIGIN = {
    "methods": ["GET", "POST"],
    "allow_headers": ["Accept", "Authorization", "Content-Type"],
    "expose_headers": "Retry-After",
    "max_age": 600,
    "vary_header": False,  # see _vary_by_origin
    # A page on the network that calls a service on this very machine is asked about that by Chromium.
    "allow_private_network": True,
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _vary_by_origin(response: Response) -> Response:
    """An answer that names no origin depends on it, too: kept in a cache, it would shut out those who are let in."""
    response.vary.add("Origin")
    return response


def _harden(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
