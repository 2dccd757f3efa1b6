"""
A rehearsal with a chart that lies on some FHIR server: we play the EHR there, and fire a hook as it would.

For integrators: before their EHR calls the service, they see what it will say about a chart on a test server.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import requests

from cds_service.ehr.answers import Answer, Had
from cds_service.ehr.client import Client, Question, Visit
from cds_service.ehr.elements import Resource, members, moment, relative
from cds_service.ehr.servers import Server, Servers
from cds_service.ehr.wanted import Query
from cds_service.errors import ChartUnavailable, RequestUnreadable, ServiceUnknown, operation_outcome
from cds_service.hooks.request import FhirAuthorization, parse_request
from cds_service.hooks.strict_json import read_json, write_json
from cds_service.settings import Site, SiteEhr

# Whoever rehearses waits longer than a clinician.
BUDGET_SECONDS: Final = 30.0
USER: Final = "Practitioner/rehearsal"
ORDER_HOOKS: Final = ("order-select", "order-sign")
# A stay that ended longer ago is not the one that the hook is about.
RECENT: Final = timedelta(days=14)
_MOST_ANSWER_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scene:
    """What is played: which hook fires, for whom, when, and the order that was just drafted, if any."""

    hook: str
    patient_id: str
    now: datetime
    draft: Resource | None = None

    @classmethod
    def of(cls, hook: str, patient: str, now: datetime, draft: Resource | None = None) -> Scene:
        """The scene, if hook and id are ones that the service can read. Raises RequestUnreadable."""
        context = {"userId": USER, "patientId": patient, "selections": []}
        request = parse_request({"hook": hook, "hookInstance": "rehearsal", "context": context})
        return cls(request.hook, request.patient_id, now, draft)


class Stage:
    """The FHIR server on which the chart lies, as an EHR sees its own. The token goes there and nowhere else."""

    def __init__(self, url: str, token: str | None = None, *, budget: float = BUDGET_SECONDS) -> None:
        """Raises RequestUnreadable when the URL is none of a FHIR server, or when the token may not travel there."""
        server = Server.at(url)
        if server is None:
            raise RequestUnreadable("--fhir-server is not an http or https base URL: scheme, host, port and path alone")
        # The user has named this server: that it stands in a private network is meant.
        site = Site(country="ZZ", ehr=SiteEhr(private_addresses=True))
        self._client = Client(Servers(site, also=(url,)), budget=budget)
        self.server = server
        if token is not None and server.scheme == "http" and not server.is_here:
            raise RequestUnreadable("a token is sent over https only, or to a server on this machine")
        if token is not None and not re.fullmatch(r"[\x21-\x7e]{1,16384}", token):
            raise RequestUnreadable("the token holds a character that no token has, or is too long")
        self._authorization = None if token is None else _bearer(token)

    def request(self, scene: Scene, templates: Mapping[str, str]) -> dict[str, Any]:
        """
        The request that an EHR sends for this scene, with the prefetch that these templates ask for.

        Raises ChartUnavailable when the patient cannot be had. Any other search that fails is an OperationOutcome, as
        an EHR sends it; what the server does not know, or what needs an id that is not there, is left out.
        """
        visit = self._client.visit(self.server.base, self._authorization)
        if visit is None:
            raise ChartUnavailable("the FHIR server may not be read")
        with visit:
            context = self._context(scene, visit)
            prefetch = _prefetch(templates, context, visit)
        return {
            "hook": scene.hook,
            "hookInstance": str(uuid.uuid4()),
            "fhirServer": self.server.base,
            "context": context,
            "prefetch": prefetch,
        }

    def _context(self, scene: Scene, visit: Visit) -> dict[str, Any]:
        hers = f"patient={scene.patient_id}"
        since = quote((scene.now - RECENT).astimezone(UTC).date().isoformat())
        found = visit.ask(
            {
                "patient": Question(f"Patient/{scene.patient_id}"),
                "open": Question(f"Encounter?{hers}&status=in-progress"),
                "recent": Question(f"Encounter?{hers}&date=ge{since}"),
            }
        )
        self._check_patient(scene, found["patient"], visit)
        context = {"userId": USER, "patientId": scene.patient_id}
        stays = [stay for name in ("open", "recent") for stay in _stays(found[name], scene)]
        if stay := _current(stays, scene.now):
            context["encounterId"] = stay
        return context | _orders(scene, context)

    def _check_patient(self, scene: Scene, answer: Answer, visit: Visit) -> None:
        if answer.had is Had.WHOLE and any(
            resource.get("resourceType") == "Patient" and resource.get("id") == scene.patient_id
            for resource in _resources(answer)
        ):
            return
        if answer.had is Had.RESTRICTED:
            raise ChartUnavailable("the FHIR server does not let this caller read the patient; is a token needed?")
        # A web server that is no FHIR server has no page of that name, either.
        told = next(_resources(visit.ask({"server": Question("metadata")})["server"]), {})
        if told.get("resourceType") == "CapabilityStatement":
            lacks = answer.had is Had.NOT_ASKED
            raise ChartUnavailable(
                "the FHIR server holds no patient with this id" if lacks else "the FHIR server did not give the patient"
            )
        raise ChartUnavailable(
            "what answers there is no FHIR R4 server; is the base URL whole?"
            if _listens(self.server)
            else "the FHIR server cannot be reached"
        )


def _bearer(token: str) -> FhirAuthorization:
    return FhirAuthorization(token, "Bearer", None, None, None, None)


def _listens(server: Server) -> bool:
    """Does anything answer at its address? Only to tell a wrong URL from a server that is down."""
    try:
        socket.create_connection((server.host.strip("[]"), server.port), timeout=5).close()
    except OSError:
        return False
    return True


# --- who, where and what --------------------------------------------------------------------------


def _resources(answer: Answer) -> Iterator[Resource]:
    for entry in answer.entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            yield resource


def _stays(answer: Answer, scene: Scene) -> Iterator[Resource]:
    """Her encounters of an answer. A server that does not know a search parameter may send everybody's."""
    for resource in _resources(answer):
        hers = relative(resource.get("subject")) == f"Patient/{scene.patient_id}"
        if hers and resource.get("resourceType") == "Encounter" and isinstance(resource.get("id"), str):
            yield resource


def _current(stays: Iterable[Resource], now: datetime) -> str | None:
    """The id of the stay that is going on, else of the latest of the last days; None without one."""
    ranked: list[tuple[bool, datetime, str]] = []
    for stay in stays:
        began, ended = _instant(stay, "start", now), _instant(stay, "end", now)
        goes_on = stay.get("status") == "in-progress"
        last = ended or began
        if goes_on or (last is not None and began is not None and began <= now and last >= now - RECENT):
            ranked.append((goes_on, began or datetime.min.replace(tzinfo=UTC), stay["id"]))
    return max(ranked)[2] if ranked else None


def _instant(stay: Resource, end: str, now: datetime) -> datetime | None:
    period = stay.get("period")
    found = moment(period.get(end), now.tzinfo or UTC) if isinstance(period, dict) else None
    return None if found is None else found.earliest


def _orders(scene: Scene, context: Mapping[str, str]) -> dict[str, Any]:
    """What an order hook has in its context besides: the draft on the screen, and that it was just picked."""
    if scene.hook not in ORDER_HOOKS:
        return {}
    drafts = [] if scene.draft is None else [_drafted(scene.draft, context, scene.now)]
    orders: dict[str, Any] = {"resourceType": "Bundle", "type": "collection"}
    if drafts:
        orders["entry"] = [{"resource": draft} for draft in drafts]
    found: dict[str, Any] = {"draftOrders": orders}
    if scene.hook == "order-select":
        found["selections"] = [f"{draft['resourceType']}/{draft['id']}" for draft in drafts]
    return found


def _drafted(draft: Resource, context: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The order as it stands on the screen before anybody signs it."""
    stay = context.get("encounterId")
    return {
        **draft,
        "subject": {"reference": f"Patient/{context['patientId']}"},
        **({"encounter": {"reference": f"Encounter/{stay}"}} if stay else {}),
        "requester": {"reference": context["userId"]},
        "authoredOn": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


# --- the chart ------------------------------------------------------------------------------------


def _prefetch(templates: Mapping[str, str], context: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    """Each template, resolved and answered (CDS Hooks 2.0, prefetch template)."""
    kind, _, user = USER.partition("/")
    tokens = {f"context.{name}": value for name, value in context.items() if isinstance(value, str)}
    tokens[f"user{kind}Id"] = user
    urls = {key: url for key, template in templates.items() if (url := _filled(template, tokens)) is not None}
    answers = visit.ask({key: Question(url) for key, url in urls.items()})
    sent = {key: _as_sent(answers[key], f"{visit.server.base}/{url}") for key, url in urls.items()}
    return {key: value for key, value in sent.items() if value is not None}


def _filled(template: str, tokens: Mapping[str, str]) -> str | None:
    plain = re.sub(r"\{\{\s*(.*?)\s*\}\}", r"{{\1}}", template)
    return Query("", plain.partition("?")[0].partition("/")[0], plain).filled(tokens)


def _as_sent(answer: Answer, url: str) -> dict[str, Any] | None:
    """
    One prefetch value: the resource that was read, or the searchset with the entries of all pages as they came.

    None: the server does not know what was asked. An OperationOutcome says that it could not be had, and stands among
    the entries where some came nonetheless. A list that was cut short keeps a `next` link: there is no other word for
    it.
    """
    if answer.had is Had.NOT_ASKED:
        return None
    lost = operation_outcome("forbidden", "not to be read by this caller")
    failed = operation_outcome("exception", "the search failed")
    outcome = {Had.RESTRICTED: lost, Had.FAILED: failed}.get(answer.had)
    if outcome and not answer.entries:
        return outcome
    if "?" not in url and not answer.searched and len(answer.entries) == 1 and not outcome:
        resource: dict[str, Any] = answer.entries[0]["resource"]
        return resource
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": url}],
    }
    if answer.had is Had.CUT_SHORT:
        bundle["link"].append({"relation": "next", "url": answer.more or url})
    entries = [*answer.entries, *([{"resource": outcome, "search": {"mode": "outcome"}}] if outcome else [])]
    if entries:
        bundle["entry"] = entries
    return bundle


# --- who answers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Response:
    """
    What was answered, as it came, and the same to be printed: as a line of JSON and as text.

    `error` says in a line why there are no cards, if so.
    """

    answer: bytes
    line: str
    text: str
    error: str | None = None


class Answering(Protocol):
    """Whoever answers the call: the service in this process, or one that runs elsewhere."""

    def discovery(self) -> Any:
        """The discovery document. Raises ServiceUnknown when it cannot be had."""

    def respond(self, service_id: str, request: bytes) -> Response:
        """What it says to a request. Raises ServiceUnknown when nothing can be had from it."""


def rehearse(scene: Scene, stage: Stage, answering: Answering, folder: Path | None = None) -> Response:
    """
    Plays the scene: the discovery document, the chart, the request, the answer. `folder` keeps the last two.

    Raises ChartUnavailable, RequestUnreadable or ServiceUnknown, each with one plain line.
    """
    service_id, templates = _service_in(answering.discovery(), scene.hook)
    request = write_json(stage.request(scene, templates))
    if folder is not None:
        _keep(folder, "request.json", request)
        _keep(folder, "answer.json", None)  # an older answer must not stand beside the new request
    response = answering.respond(service_id, request)
    if folder is not None:
        _keep(folder, "answer.json", response.answer)
    return response


class Desk:
    """A CDS service that runs somewhere, ours or another, called as an EHR calls it. It never sees the token."""

    def __init__(self, url: str, *, timeout: float = BUDGET_SECONDS) -> None:
        """Raises RequestUnreadable when the URL is none. It may end with /cds-services, or stop before that."""
        if not re.fullmatch(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?", url):
            raise RequestUnreadable("--service is not an http or https base URL")
        self._url = f"{url.rstrip('/').removesuffix('/cds-services')}/cds-services"
        self._timeout = timeout

    def discovery(self) -> Any:
        """Its discovery document."""
        status, body = self._call("GET", self._url)
        if status != 200:
            raise ServiceUnknown(f"the service answered {status} where its discovery document should be")
        return _parsed(body)

    def respond(self, service_id: str, request: bytes) -> Response:
        """Its cards. Why it shows them stands in no answer."""
        status, body = self._call("POST", f"{self._url}/{quote(service_id, safe='')}", request)
        if status != 200:
            return Response(body, "", "", f"the service answered {status}{_complaint(body)}")
        answer = _parsed(body)
        return Response(body, write_json(answer).decode(), _cards_as_text(service_id, answer))

    def _call(self, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            answer = requests.request(
                method, url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            raise ServiceUnknown(f"the service cannot be reached: {type(error).__name__}") from None
        return answer.status_code, answer.content


def _service_in(discovery: Any, hook: str) -> tuple[str, dict[str, str]]:
    """The id and the prefetch templates of the service for a hook. Raises ServiceUnknown when it has none."""
    for service in members(discovery.get("services")) if isinstance(discovery, dict) else ():
        id_, templates = service.get("id"), service.get("prefetch") or {}
        if service.get("hook") == hook and isinstance(id_, str) and isinstance(templates, dict):
            return id_, {key: text for key, text in templates.items() if isinstance(text, str)}
    raise ServiceUnknown(f"the discovery document names no service for {hook}")


def _cards_as_text(service_id: str, answer: Any) -> str:
    """The cards of an answer for a person at a terminal: what they say, and what they offer to do."""
    cards = members(answer.get("cards")) if isinstance(answer, dict) else []
    lines = [service_id, "=" * len(service_id), ""]
    for card in cards:
        lines.append(f"- [{card.get('indicator')}] {card.get('summary')}")
        lines += [f"    {line}".rstrip() for line in str(card.get("detail") or "").splitlines()]
        lines += [f"    + {suggestion.get('label')}" for suggestion in members(card.get("suggestions"))]
    text = "\n".join(lines if cards else [*lines, "No card."]) + "\n"
    return "".join(sign for sign in text if sign.isprintable() or sign == "\n")  # a terminal obeys control characters


def _parsed(body: bytes) -> Any:
    try:
        return read_json(body, most_bytes=_MOST_ANSWER_BYTES)
    except RequestUnreadable:
        raise ServiceUnknown("what the service answered cannot be read as JSON") from None


def _complaint(body: bytes) -> str:
    """What an OperationOutcome says, in a few printable words."""
    try:
        outcome = read_json(body, most_bytes=_MOST_ANSWER_BYTES)
    except RequestUnreadable:
        return ""
    issues = members(outcome.get("issue")) if isinstance(outcome, dict) else ()
    told = next((text for issue in issues if isinstance(text := issue.get("diagnostics"), str)), "")
    words = "".join(sign for sign in told if sign.isprintable())[:200]
    return f": {words}" if words else ""


# --- keeping it -----------------------------------------------------------------------------------


def _keep(folder: Path, name: str, body: bytes | None) -> None:
    """Writes a file that its owner alone can read, since it holds the chart; or takes it away, if `body` is None."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)  # one that was there may be open to others
        if body is not None:
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(body)
    except OSError as error:
        raise RequestUnreadable(f"--save {folder}: {error.strerror}") from None
