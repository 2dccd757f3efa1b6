"""The page for the committee and the operator: what was shown, what became of it, and what is out of the ordinary."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, abort, render_template, request, url_for

from cds_service import __version__, insights
from cds_service.errors import RequestUnreadable
from cds_service.hooks.request import HOOKS
from cds_service.insights import ANY_CARD, INCOMPLETE, Alarm, Card, Counted, Firing, Place, Tally, percent
from cds_service.web.house import House
from cds_service.web.plots import Bar, ControlChart, columns, row
from cds_service.web.signing_in import Door, NotLetIn, OpenIdProvider, Provider

if TYPE_CHECKING:
    from cds_service.records import Records
    from cds_service.settings import Readers

WEEKS: Final = (13, 26, 52)
_USUAL_WEEKS: Final = 26
# Counting takes a second or two for a hundred thousand calls; nobody needs it fresher.
KEPT_FOR: Final = timedelta(minutes=1)
_SHORT_HASH: Final = len("sha256:") + 12
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# What a spreadsheet would take for a formula (OWASP, CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_PLACE: Final = ("mode", "tenant", "week", "knowledge", "service", "hook")
_HEAD: Final = ("counted", *_PLACE, "topic", "outcome", "reason", "number")


# --- the numbers ----------------------------------------------------------------------------------------------------


class Lately:
    """What was counted, kept for a minute. One reader counts, and the others wait for it."""

    def __init__(self, records: Records, clock: Callable[[], datetime]) -> None:
        self._records = records
        self._clock = clock
        self._kept: dict[int, tuple[datetime, Counted]] = {}
        self._turn = Lock()

    def of(self, weeks: int) -> tuple[datetime, Counted]:
        """The last so many weeks, and when they were counted. Raises StoreUnavailable."""
        with self._turn:
            now = self._clock()
            at, counted = self._kept.get(weeks, (now, None))
            if counted is None or now - at >= KEPT_FOR:
                at, counted = now, self._records.counts.since(insights.first_week(now, weeks))
                self._kept[weeks] = (at, counted)
            return at, counted


def as_csv(counted: Counted) -> str:
    """Every kind of call and of card with its number, one a line: for a pivot table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_HEAD)
    lines = [
        *(("call", *_placed(call.place), "", call.outcome, "", str(n)) for call, n in counted.calls.items()),
        *(("card", *_placed(c.place), c.topic, _fate(c), c.reason, str(n)) for c, n in counted.cards.items()),
    ]
    for line in sorted(lines):
        writer.writerow(map(harmless, line))
    return text.getvalue()


def _placed(place: Place) -> tuple[str, ...]:
    return tuple(str(getattr(place, name)) for name in _PLACE)


def _fate(card: Card) -> str:
    """What was not shown has no fate."""
    return card.fate.value if card.place.mode == "live" else "not-shown"


def harmless(cell: str) -> str:
    """The cell as text for a spreadsheet, too: with an apostrophe before what would begin a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


# --- what the page shows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """What the codes mean; and which tenants are served, with the topics that each has turned off."""

    topics: Mapping[str, str]
    reasons: Mapping[str, str]
    knowledge: Mapping[str, str]
    served: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, house: House) -> Words:
        advisors = house.advisors
        table = next(iter(advisors.values())).knowledge.topics
        return cls(
            topics={
                **{topic.code: topic.says for topic in table.topic},
                INCOMPLETE: "The check could not be completed",
            },
            reasons={**table.override_reason, "other": "A code of the EHR's own", "": "No reason given"},
            knowledge={a.knowledge.hash: a.knowledge.version for a in advisors.values()},
            served={a.terms.tenant: a.terms.off for a in advisors.values()},
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: what it is about, in code and words, its numbers, and its bar."""

    name: str
    says: str
    tally: Tally
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """How often a topic fires at a service: the numbers and the drawing."""

    firing: Firing
    says: str
    drawing: ControlChart

    @property
    def has_outside(self) -> bool:
        return any(dot.outside for dot in self.drawing.dots)


@dataclass(frozen=True, slots=True)
class Called:
    """One tenant's service: how many calls, how many of them with a card, and when the last one came."""

    tenant: str
    service: str
    hook: str
    calls: int
    fired: int
    last: date


@dataclass(frozen=True)
class Page:
    """All that stands on the page, of one tenant or of all (None)."""

    counted: Counted
    words: Words
    now: datetime
    tenant: str | None
    weeks: int

    @property
    def tenants(self) -> tuple[str, ...]:
        return tuple(sorted({*self.words.served, *self.counted.tenants}))

    @cached_property
    def here(self) -> Counted:
        return self.counted if self.tenant is None else self.counted.of(self.tenant)

    @cached_property
    def cards(self) -> dict[Card, int]:
        return insights.shown(self.here)

    @cached_property
    def total(self) -> Tally:
        return insights.tallied(self.cards, lambda _: None).get(None, Tally())

    @cached_property
    def calls(self) -> dict[str, int]:
        """Live calls by how they ended."""
        found = dict.fromkeys(("advised", "nothing", "failed", "unavailable"), 0)
        for call, number in self.here.calls.items():
            if call.place.mode == "live":
                found[call.outcome] = found.get(call.outcome, 0) + number
        return found

    @cached_property
    def alarms(self) -> tuple[Alarm, ...]:
        return insights.alarms(self.here, self.now, self.words.served)

    # --- what was shown ------------------------------------------------------------------------------

    def by_topic(self) -> list[Line]:
        order = {code: n for n, code in enumerate(self.words.topics)}
        return self._lines(lambda card: card.topic, self.words.topics, lambda code: (order.get(code, len(order)), code))

    def by_hook(self) -> list[Line]:
        titles = {service.hook: service.title.partition(": ")[2] or service.title for service in HOOKS}
        order = {hook: n for n, hook in enumerate(titles)}
        return self._lines(lambda card: card.place.hook, titles, lambda hook: (order.get(hook, len(order)), hook))

    def by_tenant(self) -> list[Line]:
        return self._lines(lambda card: card.place.tenant, {}, str)

    def by_knowledge(self) -> list[Line]:
        """The newest first. Hashes are shortened; a version is known of what is in use."""
        last: dict[str, date] = {}
        for card in self.cards:
            hash_ = card.place.knowledge
            last[hash_] = max(card.place.week, last.get(hash_, card.place.week))
        says = {
            hash_: f"version {self.words.knowledge[hash_]}, in use"
            if hash_ in self.words.knowledge
            else f"last in the week of {week}"
            for hash_, week in last.items()
        }
        lines = self._lines(lambda c: c.place.knowledge, says, lambda h: (-last[h].toordinal(), h))
        return [Line(line.name[:_SHORT_HASH], line.says, line.tally, line.bars) for line in lines]

    def by_week(self) -> list[Line]:
        """Every week, also one in which nothing was shown."""
        found = insights.tallied(self.cards, lambda card: card.place.week)
        most = max((tally.shown for tally in found.values()), default=0)
        mondays = insights.weeks_from(self.counted.since, self.now.date())
        tallies = [(monday, found.get(monday, Tally())) for monday in mondays]
        return [Line(str(monday), "", tally, row(tally, most)) for monday, tally in tallies]

    def columns(self) -> tuple[Bar, ...]:
        return columns([line.tally for line in self.by_week()])

    def reasons(self) -> list[tuple[str, str, int]]:
        """Code, words and number, the most frequent first; whoever gave none at the end."""
        found = insights.reasons(self.cards)
        codes = sorted(found, key=lambda code: (code == "", -found[code], code))
        return [(code, self.words.reasons.get(code, code), found[code]) for code in codes]

    def shadow(self) -> list[tuple[str, str, int]]:
        """What would have been shown: topic, words and number."""
        made: dict[str, int] = {}
        for card, number in self.here.cards.items():
            if card.place.mode != "live":
                made[card.topic] = made.get(card.topic, 0) + number
        return [(code, self.says(code), made[code]) for code in sorted(made)]

    def _lines(self, by: Callable[[Card], str], says: Mapping[str, str], order: Callable[[str], Any]) -> list[Line]:
        found = insights.tallied(self.cards, by)
        most = max((tally.shown for tally in found.values()), default=0)
        return [Line(key, says.get(key, ""), found[key], row(found[key], most)) for key in sorted(found, key=order)]

    # --- how often it fires --------------------------------------------------------------------------

    def called(self) -> list[Called]:
        calls: dict[tuple[str, str], int] = {}
        for call, number in self.here.calls.items():
            key = (call.place.tenant, call.place.service)
            calls[key] = calls.get(key, 0) + number
        fired = {(last.tenant, last.service): last.fired for last in self.here.last if last.topic == ANY_CARD}
        hooks = {service.id: service.hook for service in HOOKS}
        return [
            Called(*key, hooks.get(key[1], ""), calls.get(key, 0), fired.get(key, 0), last)
            for key, last in sorted(self.here.last_calls.items())
        ]

    def charts(self) -> dict[str, list[Chart]]:
        """By service, of one tenant: rates of several together would show the mixture, and no drift."""
        if self.tenant is None and len(self.counted.tenants) > 1:
            return {}
        found: dict[str, list[Chart]] = {}
        for firing in insights.firings(self.here, self.now.date()):
            chart = Chart(firing, self.says(firing.topic), ControlChart.of(firing))
            found.setdefault(firing.service, []).append(chart)
        return found

    def says(self, topic: str) -> str:
        return self.words.topics.get(topic, topic)


# --- the addresses --------------------------------------------------------------------------------------------------


def insights_at(records: Records, house: House, readers: Readers) -> Blueprint:
    """
    GET /insights and /insights.csv, for whom `readers` names; for everybody where it names nobody.

    Raises SiteUnfit when a provider is named and cannot be spoken to.
    """
    advisor = next(iter(house.advisors.values()))
    lately, words, clock = Lately(records, advisor.clock), Words.of(house), advisor.clock
    door = Door(readers, clock) if readers.named else None
    provider = OpenIdProvider.of(readers, clock)
    blueprint = Blueprint(
        "insights", __name__, static_folder="static", static_url_path="/insights/static", template_folder="templates"
    )

    def asked() -> Page:
        weeks = request.args.get("weeks", str(_USUAL_WEEKS))
        if weeks not in map(str, WEEKS):
            raise RequestUnreadable(f"weeks is none of {', '.join(map(str, WEEKS))}")
        at, counted = lately.of(int(weeks))
        page = Page(counted, words, at, request.args.get("tenant") or None, int(weeks))
        if page.tenant is not None and page.tenant not in page.tenants:
            abort(404)
        return page

    @blueprint.get("/insights")
    def read() -> Response:
        if door is not None and not door.lets_in(request):
            return _sign_in(door, provider, 401)
        page = asked()
        return _shown("insights.html", page=page, signed_in=door is not None, periods=WEEKS, rules=insights)

    @blueprint.get("/insights.csv")
    def export() -> Response:
        if door is not None and not door.lets_in(request):
            refusal = Response(status=401, headers={"WWW-Authenticate": "Bearer"})
            del refusal.headers["Content-Type"]
            return refusal
        page = asked()
        headers = {"Content-Disposition": "attachment; filename=insights.csv"}
        return Response(as_csv(page.here), content_type="text/csv; charset=utf-8", headers=headers)

    if door is not None:
        _add_signing_in(blueprint, door, provider)
    return blueprint


def _add_signing_in(blueprint: Blueprint, door: Door, provider: Provider | None) -> None:
    @blueprint.post("/insights/session")
    def begin() -> Response:
        if not door.knows(request.form.get("token", "")):
            return _sign_in(door, provider, 401, "This is not the token.")
        return door.begin(_to(url_for("insights.read")), "token")

    @blueprint.post("/insights/session/end")
    def end() -> Response:
        return door.end(_to(url_for("insights.read")))

    if provider is None:
        return

    @blueprint.get("/insights/oidc")
    def leave() -> Response:
        try:
            place, noted = provider.begin()
        except NotLetIn as refused:
            return _sign_in(door, provider, refused.status, _WHY[refused.status])
        return door.note(_to(place), noted)

    @blueprint.get("/insights/oidc/callback")
    def come_back() -> Response:
        try:
            provider.end(request.args, door.noted(request))
        except NotLetIn as refused:
            return door.forget(_sign_in(door, provider, refused.status, _WHY[refused.status]))
        # Not a redirect: a browser that comes from elsewhere would not bring its new, Strict cookie along.
        return door.forget(door.begin(_shown("insights_signed_in.html"), "provider"))


_COME_AGAIN_SECONDS: Final = "5"
_WHY: Final = {
    403: "You have not been let in. Ask whoever runs this service whether you are on the list, and try again.",
    503: "The sign-in service cannot be reached now. Try again later.",
}


def _sign_in(door: Door, provider: Provider | None, status: int, why: str = "") -> Response:
    by_token, by_provider = door.readers.token is not None, provider is not None
    page = _shown("insights_sign_in.html", why=why, by_token=by_token, by_provider=by_provider)
    page.status_code = status
    if status == 401:
        page.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        page.headers["Retry-After"] = _COME_AGAIN_SECONDS
    return page


def _to(place: str) -> Response:
    return Response(status=303, headers={"Location": place})


def _shown(template: str, **told: Any) -> Response:
    response = Response(render_template(template, percent=percent, version=__version__, **told))
    response.headers["Content-Security-Policy"] = _POLICY
    return response
