"""The front door: what may come in, and what a caller hears when something is wrong."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
import uuid
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, g, request
from flask_cors import CORS
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from cds_service import __version__
from cds_service.advisor import Advisor
from cds_service.errors import (
    CallerRefused,
    Overloaded,
    RequestUnreadable,
    ServiceError,
    StoreUnavailable,
    operation_outcome,
)
from cds_service.events import Event, about, place_of, tell
from cds_service.hooks.discovery import SPECIFICATION
from cds_service.hooks.request import HOOKS
from cds_service.hooks.strict_json import MOST_BYTES, write_json
from cds_service.settings import Readers
from cds_service.web.api_page import specification_pages
from cds_service.web.consultations import consultations
from cds_service.web.demo import Demo, pages
from cds_service.web.feedback import take_feedback
from cds_service.web.house import House
from cds_service.web.insights import insights_at
from cds_service.web.metrics import Metrics, metrics_at
from cds_service.web.reloading import KEPT_BACK

if TYPE_CHECKING:
    from cds_service.records import Records
    from cds_service.web.load import Load


def create_app(
    whom: House | Advisor,
    *,
    demo: Demo | None = None,
    records: Records | None = None,
    origins: tuple[str, ...] = (),
    metrics: Metrics | None = None,
    metrics_token: str | None = None,
    load: Load | None = None,
    readers: Readers = Readers(),  # noqa: B008  (frozen)
) -> Flask:
    """
    The service as a WSGI application: for the tenants of a house, or for everybody by one advisor.

    With `records` it takes feedback; with a `demo` it plays an EHR at /demo. `origins` are the browser clients that may
    call that one advisor from a page of theirs; none by default. `metrics` are shown at /metrics: to whoever has the
    token, and without one only where nobody has to say who they are. `load` tells when too many wait.
    With `records`, /insights shows what became of the cards: to `readers`, and without any only there, too.
    """
    house = whom if isinstance(whom, House) else House.open_to_all(whom, origins)
    app = _Door(__name__, static_folder=None, template_folder=None)
    # One more than we take: Werkzeug cuts a chunked body at this length without a word, and read_body must notice.
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES + 1
    # Many EHRs do not follow a redirect of a POST. So a slash too many is heard, never corrected.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.logger.addFilter(_without_traceback)
    app.register_error_handler(Exception, _explain)
    app.after_request(_harden)
    if house.trust is None:
        app.before_request(_only_by_a_name_of_this_machine)
    app.register_blueprint(_services(house, records, load))
    app.register_blueprint(_health(house, records))
    app.register_blueprint(specification_pages())
    advisor = next(iter(house.advisors.values()))
    if advisor.explanations is not None:
        app.register_blueprint(consultations(advisor.explanations, advisor.clock))
    if house.all_origins:
        _let_browsers_in(app, house)
    if metrics is not None and (metrics_token is not None or house.trust is None):
        app.register_blueprint(metrics_at(metrics, metrics_token))
    if records is not None and (readers.named or house.trust is None):
        app.register_blueprint(insights_at(records, house, readers))
    if demo is not None:
        app.register_blueprint(pages(demo, advisor))
    return app


class _Door(Flask):
    """Flask, except that it never writes the text of an exception to the log: it may quote a chart."""

    def wsgi_app(self, environ: Any, start_response: Any) -> Any:
        with about(correlation_id=str(uuid.uuid4())):
            return super().wsgi_app(environ, start_response)

    def log_exception(self, exc_info: Any) -> None:
        tell(Event.UNEXPECTED, error=exc_info[0].__name__, place=place_of(exc_info[1]))


def _only_by_a_name_of_this_machine() -> None:
    """
    Where nobody has to say who they are, a page of a stranger's must not ask through the developer's browser.

    It could if its own name led to this machine (DNS rebinding). The Host would be that name.
    """
    if not _is_this_machine(request.headers.get("Host", "")):
        abort(403)


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = record.exc_text = None
    return True


# --- the services ---------------------------------------------------------------------------------


def _services(house: House, records: Records | None, load: Load | None) -> Blueprint:
    services = Blueprint("services", __name__, url_prefix="/cds-services")
    desk = _desk(house, load)

    @services.get("")
    @desk
    def discover(advisor: Advisor) -> Response:
        g.outcome = "discovery"
        return _json(advisor.discovery())

    @services.post("/<service_id>")
    @desk
    def call(advisor: Advisor, service_id: str) -> Response:
        answer = advisor.answer(service_id, read_body())
        g.outcome, g.cards = answer.outcome, len(answer.body["cards"])
        return _json(answer.body)

    if records is not None:

        @services.post("/<service_id>/feedback")
        @desk
        def report(advisor: Advisor, service_id: str) -> Response:
            kept = take_feedback(advisor, records, service_id, read_body())
            g.outcome = "feedback"
            return _json(kept)

    return services


_View = Callable[..., Response]
_HOOKS: Final = {service.id: service.hook for service in HOOKS}


def _desk(house: House, load: Load | None) -> Callable[[_View], _View]:
    """Before each view: is there room, and who is calling? After it: how it went, into the log."""

    def at_the_desk(view: _View) -> _View:
        @wraps(view)
        def served(service_id: str | None = None) -> Response:
            begun = time.perf_counter()
            tenant = None
            named = {} if service_id is None else {"service_id": service_id}
            try:
                if load is not None:
                    load.refuse_if_too_many_wait()
                tenant, advisor = house.whose(request.headers.getlist("Authorization"), request.path.rstrip("/"))
                g.tenant = tenant
                with about(tenant=tenant):
                    response = view(advisor, **named)
            except Exception as error:  # told here, where it is known whose call it was
                response = _explain(error)
                if response.status_code == 503:
                    g.outcome = "unavailable"
                if isinstance(error, StoreUnavailable):
                    tenant = tenant or error.tenant
            service = service_id if service_id in _HOOKS else None
            with about(tenant=tenant):
                tell(
                    Event.CALL,
                    service=service,
                    hook=_HOOKS.get(service or ""),
                    status=response.status_code,
                    outcome=g.get("outcome", "refused"),
                    duration_ms=round(1000 * (time.perf_counter() - begun), 1),
                    cards=g.get("cards"),
                )
            return response

        return served

    return at_the_desk


def read_body() -> bytes:
    """The body of the request at hand, once its kind, encoding and size are ones that we take."""
    # Whatever charset it names: JSON has none (RFC 8259, 11). Bytes that are not UTF-8 are refused when they are read.
    kind, _ = parse_options_header(request.headers.get("Content-Type"))
    if kind.lower() not in {"application/json", "application/fhir+json"}:
        raise RequestUnreadable("Content-Type is neither application/json nor application/fhir+json", status=415)
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise RequestUnreadable("Content-Encoding is not identity: send the body uncompressed", status=415)
    body = request.get_data(cache=False)
    if len(body) > MOST_BYTES:
        raise RequestUnreadable(_TOO_LARGE, status=413)
    return body


# --- is it well? ----------------------------------------------------------------------------------


def _health(house: House, records: Records | None) -> Blueprint:
    health = Blueprint("health", __name__)
    advisors = tuple(house.advisors.values())

    @health.get("/healthz")
    def alive() -> Response:
        return _json({"status": "ok"})

    @health.get("/readyz")
    def ready() -> Response:
        if unfit := _why_unfit(house, records):
            return _json({"status": "unavailable", "because": unfit}, 503)
        # Degraded still answers 200: the cards themselves say that nobody has reviewed them.
        because = [*([_KEPT_BACK] if request.environ.get(KEPT_BACK) else []), *_why_degraded(house)]
        return _json({"status": "degraded", "because": because} if because else {"status": "ready"})

    @health.get("/version")
    def version() -> Response:
        return _json(
            {
                "service": __version__,
                "cdsHooks": SPECIFICATION,
                "knowledge": advisors[0].knowledge.hash,
                "reviewed": all(map(_reviewed, advisors)),
            }
        )

    return health


def _why_unfit(house: House, records: Records | None) -> list[str]:
    """Why no call can be answered now: somebody else should be sent them."""
    shut_out = list(house.shut_out())
    return [
        *([_NO_STORE] if records is not None and not records.is_there() else []),
        *([_NO_KEYS] if shut_out and len(shut_out) == len(house.advisors) else []),
    ]


_NO_STORE: Final = "The database cannot be had."
_NO_KEYS: Final = "No keys can be had by which callers are known."
_KEPT_BACK: Final = "A changed tenants file has defects; an older one is in force."


def _reviewed(advisor: Advisor) -> bool:
    """Every table names a reviewer, or the site has signed this very knowledge."""
    review = advisor.site.review
    return advisor.knowledge.signed or (review is not None and advisor.knowledge.hash.startswith(review.knowledge))


_UNREVIEWED_TRANSLATION: Final = "The translation of the cards is not clinically reviewed."


def _why_degraded(house: House) -> list[str]:
    """What a clinician should know before trusting the cards. The cards' own footers say the same."""
    advisors = tuple(house.advisors.values())
    shut_out = len(list(house.shut_out()))
    return [
        *([] if all(map(_reviewed, advisors)) else ["The knowledge is not clinically reviewed."]),
        *([] if all(a.wording.translation_signed for a in advisors) else [_UNREVIEWED_TRANSLATION]),
        *(["A review of the knowledge or of the cards is overdue."] if any(map(_overdue, advisors)) else []),
        *([f"The keys of {shut_out} of {len(advisors)} callers cannot be had."] if shut_out else []),
    ]


def _overdue(advisor: Advisor) -> bool:
    due = [*advisor.knowledge.reviews_due.values(), *advisor.wording.reviews_due.values()]
    return any(reviewed.again < advisor.clock().date() for reviewed in due)


# --- what goes out --------------------------------------------------------------------------------


def _json(value: dict[str, Any], status: int = 200, kind: str = "application/json") -> Response:
    return Response(write_json(value), status=status, content_type=kind)


def _explain(error: Exception) -> Response:
    """Every refusal and every accident, as an OperationOutcome. Of an accident the caller learns only its number."""
    match error:
        case CallerRefused():
            return _bare_401()
        case StoreUnavailable(status=status, code=code) | Overloaded(status=status, code=code):
            response = _outcome(status, code, str(error))
            response.headers["Retry-After"] = _RETRY_AFTER[type(error)]
            return response
        case ServiceError(status=status, code=code) if status < 500:
            return _outcome(status, code, str(error))
        case HTTPException(code=int(status)):
            response = _outcome(status, *_HTTP.get(status, ("processing", "The request cannot be served.")))
            if allow := error.get_response().headers.get("Allow"):
                response.headers["Allow"] = allow
            return response
        case _:
            number = str(uuid.uuid4())
            with about(correlation_id=number):
                tell(Event.UNEXPECTED, error=type(error).__name__, place=place_of(error))
            return _outcome(500, "exception", f"Something unexpected went wrong here. Correlation id: {number}")


def _outcome(status: int, code: str, message: str) -> Response:
    return _json(operation_outcome(code, message), status, "application/fhir+json")


def _bare_401() -> Response:
    """Who could not say who they are learns nothing, not even why (CDS Hooks, best practices)."""
    response = Response(status=401)
    del response.headers["Content-Type"]
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


_RETRY_AFTER: Final[dict[type[Exception], str]] = {StoreUnavailable: "30", Overloaded: "5"}
_TOO_LARGE: Final = f"the body is larger than {MOST_BYTES} bytes"
_HTTP: Final = {
    400: ("structure", "The HTTP request is not well formed."),
    403: ("forbidden", "Here nobody has to say who they are: call localhost, 127.0.0.1 or [::1], by no other name."),
    404: ("not-found", "There is nothing at this address. Discovery is at /cds-services."),
    405: ("not-supported", "This address does not take this method."),
    413: ("structure", _TOO_LARGE),
}

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _harden(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


# --- browsers -------------------------------------------------------------------------------------

_CROSS_ORIGIN: Final = {
    "methods": ["GET", "POST"],
    "allow_headers": ["Accept", "Authorization", "Content-Type"],
    "expose_headers": "Retry-After",
    "max_age": 600,
    "vary_header": False,  # see _vary_by_origin
    # A page on the network that calls a service on this very machine is asked about that by Chromium.
    "allow_private_network": True,
}


def _let_browsers_in(app: Flask, house: House) -> None:
    """
    A browser hides an answer, and why it was refused, from a page whose origin is not named in it.

    A preflight carries no token, so it may come from any tenant's origin. The answer itself names an origin only if it
    is one of the tenant's that called.
    """

    def only_their_own(response: Response) -> Response:
        tenant, origin = g.get("tenant"), request.headers.get("Origin", "")
        if tenant is not None and not house.lets_in(tenant, origin):
            response.headers.pop("Access-Control-Allow-Origin", None)
        return response

    app.after_request(only_their_own)  # Flask calls the last that was named first: this one comes after CORS
    # Patterns: of plain text flask-cors lets in any spelling, and tells it to those who sent no origin.
    exactly = [re.compile(rf"{re.escape(origin)}\Z") for origin in sorted(house.all_origins)]
    CORS(app, resources={r"/cds-services(?:/|$)": {"origins": exactly, **_CROSS_ORIGIN}})
    app.after_request(_vary_by_origin)


def _vary_by_origin(response: Response) -> Response:
    """An answer that names no origin depends on it, too: kept in a cache, it would shut out those who are let in."""
    response.vary.add("Origin")
    return response
