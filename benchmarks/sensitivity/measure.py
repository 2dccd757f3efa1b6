"""
Asks the service about each invented woman, under each number: through the request and `Advisor.consult`, as an EHR's
call does. Nothing is reckoned here but how many women have which status.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ehr import request_for
from encoding import Json, site_of

from cds_service.advisor import Advisor
from cds_service.clinical.eligibility import Status
from cds_service.clinical.risk import Tier
from cds_service.ehr.chart import Chart
from cds_service.ehr.gathering import gather
from cds_service.hooks.request import HookRequest, parse_request
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import Knowledge, load_knowledge
from cds_service.rendering.wording import Wording, load_wording
from cds_service.settings import Site
from sensitivity.moves import MOVES, STEPS, Move, digest
from sensitivity.women import INPUTS, Change, case_of, dice, laid_over, plain, woman

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MISSING = (0, 5, 10, 20, 30)
Statuses = tuple[Status, ...]


@dataclass(frozen=True)
class Sizes:
    """How many women are in each group."""

    ward: int = 1000
    positive: int = 250
    near: int = 42


@dataclass(frozen=True)
class Call:
    """One woman's call: the request and the chart that came with it."""

    request: HookRequest
    chart: Chart


@dataclass(frozen=True)
class Moved:
    """One number at each of its steps: the cohort with a positive screen, and the women near the line."""

    move: Move
    positive: Mapping[int, Statuses]
    near: Mapping[int, Statuses]
    # Only of the two numbers that move the tier of risk, and of the EPDS in the whole ward.
    ward: Mapping[int, Statuses]
    tiers: Mapping[int, Mapping[Tier, int]]


@dataclass(frozen=True)
class Asked:
    """One input: what becomes of the cohort when it alone is unknown, and when it alone is abnormal."""

    says: str
    row: str
    unknown: Statuses
    abnormal: Mapping[str, Statuses]


@dataclass(frozen=True)
class Found:
    """All that was measured, and with which knowledge."""

    version: str
    hash: str
    digest: str
    sizes: Sizes
    ward: Statuses
    positive: Statuses
    born: int  # of the positive
    unapproved: Statuses
    moved: tuple[Moved, ...]
    asked: tuple[Asked, ...]
    missing_ward: Mapping[int, Statuses]
    missing_positive: Mapping[int, Statuses]


class Service:
    """The service of one site that has approved esketamine, or of one that has approved nothing."""

    def __init__(self, knowledge: Knowledge, *, approved: bool = True) -> None:
        site = site_of(case_of(1, plain()))
        if not approved:
            del site["protocol"]
        self.advisor = Advisor(knowledge, _wording(), Site.from_table(site), lambda: NOW)
        self._discovery = self.advisor.discovery()

    def call(self, number: int, given: Json) -> Call:
        """A birth is ordered, and the EHR sends her chart."""
        body = json.dumps(request_for(case_of(number, given), NOW, self._discovery))
        request = parse_request(read_json(body.encode()))
        return Call(request, gather(request, self.advisor.sources))

    def calls(self, women: Iterable[Json]) -> list[Call]:
        return [self.call(number, given) for number, given in enumerate(women, 1)]

    def statuses(self, calls: Iterable[Call]) -> Statuses:
        return tuple(status for status, _ in self.outcomes(calls))

    def outcomes(self, calls: Iterable[Call]) -> list[tuple[Status, Tier]]:
        thoughts = (self.advisor.consult(call.request, call.chart, NOW) for call in calls)
        return [(thought.eligibility.status, thought.risk.tier) for thought in thoughts]


@cache
def _wording() -> Wording:
    return load_wording(knowledge=load_knowledge())


def cohort(size: int, *, positive: bool) -> list[Json]:
    start = plain()
    return [woman(number, positive=positive, start=start) for number in range(1, size + 1)]


def near_the_line(move: Move, size: int) -> list[Json]:
    """Women with nothing against the medicine but, perhaps, this one value: spread evenly around the number."""
    start, women = plain(), []
    for number in range(size):
        born = number % 2 == 0 if move.born is None else move.born
        birth = {"encounter": {"stage": "post_delivery", "minutes_since_cord_clamp": 20, "qbl_ml": 280}} if born else {}
        epds = {"screens": {"epds": {"total": 10 + number % 9}}}
        clear = laid_over(laid_over(start, epds), birth)
        women.append(laid_over(clear, move.near(move.value(number, size), dice("near", move.id, number))))
    return women


def measured(
    sizes: Sizes = Sizes(),
    moves: Iterable[Move] = MOVES,
    tell: Callable[[str], None] = lambda _: None,
) -> Found:
    """Everything. `tell` hears how far it is."""
    known = load_knowledge()
    service = Service(known)
    ward, positive = cohort(sizes.ward, positive=False), cohort(sizes.positive, positive=True)
    ward_calls, positive_calls = service.calls(ward), service.calls(positive)
    moved = []
    for move in moves:
        tell(f"{move.row}: {move.says} {move.label(0)} {move.unit}")
        moved.append(_moved(move, service, ward_calls, positive_calls, sizes.near))
    tell("inputs, one after the other")
    return Found(
        version=known.version,
        hash=known.hash,
        digest=digest(),
        sizes=sizes,
        ward=service.statuses(ward_calls),
        positive=service.statuses(positive_calls),
        born=sum(given["encounter"]["stage"] == "post_delivery" for given in positive),
        unapproved=Service(known, approved=False).statuses(positive_calls),
        moved=tuple(moved),
        asked=tuple(_asked(service, positive)),
        missing_ward=_missing(service, ward[: sizes.positive]),
        missing_positive=_missing(service, positive),
    )


def _moved(move: Move, service: Service, ward: list[Call], positive: list[Call], size: int) -> Moved:
    """Each step with the tables of that step; the charts stay the same."""
    near = service.calls(near_the_line(move, size))
    of_positive, of_near, of_ward, tiers = {}, {}, {}, {}
    for step in STEPS:
        there = service if step == 0 else _moved_service(move, step)
        of_positive[step], of_near[step] = there.statuses(positive), there.statuses(near)
        if move.id in OF_THE_WARD:
            outcomes = there.outcomes(ward)
            of_ward[step] = tuple(status for status, _ in outcomes)
            tiers[step] = Counter(tier for _, tier in outcomes)
    return Moved(move, of_positive, of_near, of_ward, tiers)


def _moved_service(move: Move, step: int) -> Service:
    with tempfile.TemporaryDirectory() as folder:
        return Service(load_knowledge(move.moved(Path(folder) / "knowledge", step)))


# What is decided by the EPDS is looked at in the whole ward.
OF_THE_WARD = frozenset({"epds-from", "epds-high"})


def _asked(service: Service, women: list[Json]) -> Iterable[Asked]:
    def with_(change: Change) -> Statuses:
        return service.statuses(service.calls(change(given) for given in women))

    for says, row, unknown, abnormal in INPUTS:
        yield Asked(says, row, with_(unknown), {name: with_(change) for name, change in abnormal})


def _missing(service: Service, women: list[Json]) -> dict[int, Statuses]:
    """Each input is missing by itself, in so many of 100 women. What is missing at 5 % is missing at 10 %, too."""
    found = {}
    for of_100 in MISSING:
        charts = []
        for number, given in enumerate(women, 1):
            left = given
            for says, _, unknown, _ in INPUTS:
                if dice("missing", number, says).random() * 100 < of_100:
                    left = unknown(left)
            charts.append(left)
        found[of_100] = service.statuses(service.calls(charts))
    return found
