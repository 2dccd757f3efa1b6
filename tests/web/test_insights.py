"""The numbers on the page and in its file are those of a history that was counted by hand, in either database."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ehr import request_for, service_for
from encoding import Case, read_cases, site_of
from flask.testing import FlaskClient
from insights_history import (
    NEW,
    NOW,
    OLD,
    REASONS,
    SERVICES,
    TENANTS,
    THIS_MONDAY,
    WEEKS,
    History,
    Shown,
    append,
    counted,
    entry,
    write,
)

from cds_service.advisor import Advisor
from cds_service.hooks.feedback import Item
from cds_service.insights import Call, Counted, Fate, Firing, Place, Tally, Week, first_week
from cds_service.knowledge import Knowledge
from cds_service.records import Pseudonyms, Records, counts
from cds_service.records.memory import Memory
from cds_service.rendering.wording import Wording
from cds_service.settings import DEFAULT_SITE, Site, Terms
from cds_service.web.app import create_app
from cds_service.web.house import House
from cds_service.web.insights import KEPT_FOR, as_csv, harmless
from cds_service.web.plots import ControlChart, columns, row

OTHER = {"4711": "other"}


@dataclass
class Told:
    """A page, read: the cells of each section's tables, the tiles, and all of its words."""

    tables: dict[str, list[list[str]]]
    tiles: dict[str, str]
    text: str

    def rows(self, section: str) -> dict[str, tuple[int, ...]]:
        """Each row's numbers, by the first word of its first cell; shares are left out."""
        rows = {row[0].split()[0]: row[1:] for row in self.tables.get(section, [])[1:]}
        return {name: tuple(map(number, cells)) for name, cells in rows.items()}


def number(cell: str) -> int:
    return int(cell.split(maxsplit=1)[0].replace(",", ""))


class Reader(HTMLParser):
    """Reads what a person would."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tiles: dict[str, str] = {}
        self.words: list[str] = []
        self._section = ""
        self._cell: list[str] | None = None
        self._term = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._section = dict(attrs).get("aria-labelledby") or ""
        elif tag == "tr":
            self.tables.setdefault(self._section, []).append([])
        elif tag in {"td", "th", "dt", "dd"}:
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if self._cell is None or tag not in {"td", "th", "dt", "dd"}:
            return
        cell = " ".join(" ".join(self._cell).split())
        if tag in {"td", "th"}:
            self.tables[self._section][-1].append(cell)
        elif tag == "dt":
            self._term = cell
        elif self._section == "outcome":
            self.tiles[self._term] = cell
        self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)


def read(client: FlaskClient, **query: object) -> Told:
    answer = client.get("/insights", query_string=query)
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    reader = Reader()
    reader.feed(answer.get_data(as_text=True))
    return Told(reader.tables, reader.tiles, " ".join(" ".join(reader.words).split()))


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


def door(knowledge: Knowledge, wording: Wording, records: Records, clock: Callable[[], datetime]) -> FlaskClient:
    """The front door of a house with three tenants, of which nobody has to say who they are."""
    advisors = {tenant: Advisor(knowledge, wording, DEFAULT_SITE, clock, terms=Terms(tenant)) for tenant in TENANTS}
    return create_app(House(advisors), records=records).test_client()


@dataclass
class Seen:
    history: History
    client: FlaskClient
    records: Records
    _pages: dict[str | None, Told] = field(default_factory=dict)

    def page(self, tenant: str | None) -> Told:
        """The page about a tenant, or about all: read once."""
        if tenant not in self._pages:
            self._pages[tenant] = read(self.client, tenant=tenant or "")
        return self._pages[tenant]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def seen(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    knowledge: Knowledge,
    wording: Wording,
) -> Iterator[Seen]:
    """The history in each kind of database, and the page about it. It is only read."""
    if request.param == "sqlite":
        records = Records.at(str(tmp_path_factory.mktemp("insights") / "records.sqlite3"))
    else:
        new: Callable[[], str] = request.getfixturevalue("new_postgres")
        records = Records.at(new())
    yield Seen(write(records), door(knowledge, wording, records, Clock()), records)
    records.close()


def those_of(history: History, tenant: str | None) -> list[Shown]:
    return [card for card in history.shown if tenant in {None, card.tenant}]


def total(cards: list[Shown]) -> tuple[int, int, int, int, int]:
    return counted(cards, lambda _: "all")["all"]


# --- the numbers


def test_the_history_holds_a_case_of_everything(seen: Seen, record_property: Callable[[str, object], None]) -> None:
    history = seen.history
    assert {card.did for card in history.shown} == {"accepted", "both", "overridden", "nothing", "cannot report"}
    assert {card.reason for card in history.shown} == {reason or "" for reason in REASONS}
    assert {card.tenant for card in history.shown} == set(TENANTS)
    assert {card.hook for card in history.shown} == set(SERVICES.values())
    assert {card.knowledge for card in history.shown} == {OLD, NEW}
    assert len({card.week for card in history.shown}) == WEEKS
    assert {"INCOMPLETE", "PPDFOLLOWUP"} < {card.topic for card in history.shown}
    assert history.in_the_shadow
    assert history.asked_again["north"] > 5
    record_property("safety", f"insights: {len(history.shown)} shown cards counted by hand in either database")


@pytest.mark.parametrize("tenant", [None, *TENANTS])
def test_what_became_of_the_cards_is_what_happened(seen: Seen, tenant: str | None) -> None:
    cards = those_of(seen.history, tenant)
    page = seen.page(tenant)
    shown, accepted, overridden, none, cannot = total(cards)

    assert {name: number(cell) for name, cell in page.tiles.items()} == {
        "Shown": shown,
        "Accepted": accepted,
        "Overridden": overridden,
        "No feedback": none,
        **({"Cannot report": cannot} if cannot else {}),
    }
    assert shown == accepted + overridden + none + cannot
    both = sum(card.did == "both" for card in cards)
    assert f"Of the accepted, {both} {'was' if both == 1 else 'were'} overridden as well." in page.text


BY: dict[str, Callable[[Shown], str]] = {
    "topics": lambda card: card.topic,
    "hooks": lambda card: card.hook,
    "knowledge": lambda card: card.knowledge[:19],
    "weeks-title": lambda card: str(card.week),
}


@pytest.mark.parametrize("tenant", [None, *TENANTS])
@pytest.mark.parametrize("section", BY)
def test_each_table_has_the_numbers_of_what_happened(seen: Seen, section: str, tenant: str | None) -> None:
    cards = those_of(seen.history, tenant)
    rows = seen.page(tenant).rows(section)
    if section == "weeks-title":  # a week in which nothing was shown has its row, too
        rows = {week: numbers for week, numbers in rows.items() if any(numbers)}

    columns = 5 if total(cards)[4] else 4
    assert rows == {name: numbers[:columns] for name, numbers in counted(cards, BY[section]).items()}
    assert rows


def test_the_tenants_are_told_apart(seen: Seen) -> None:
    assert seen.page(None).rows("by-tenant") == counted(seen.history.shown, lambda card: card.tenant)
    assert "by-tenant" not in seen.page("north").tables


@pytest.mark.parametrize("tenant", [None, *TENANTS])
def test_each_reason_is_counted_once_and_no_code_of_the_ehrs_own_is_spelled_out(
    seen: Seen, tenant: str | None, knowledge: Knowledge
) -> None:
    cards = [card for card in those_of(seen.history, tenant) if card.did == "overridden"]
    words = {**knowledge.topics.override_reason, "": "No reason given", "4711": "A code of the EHR's own"}
    page = seen.page(tenant)
    told = {row[0]: number(row[1]) for row in page.tables.get("reasons", [])[1:]}

    codes = {code: "" if code in {"", "4711"} else f" {code}" for code in words}
    assert told == Counter(words[card.reason] + codes[card.reason] for card in cards)
    assert "4711" not in page.text


@pytest.mark.parametrize("tenant", [None, *TENANTS])
def test_calls_count_once_however_often_they_are_asked(seen: Seen, tenant: str | None) -> None:
    history, page = seen.history, seen.page(tenant)
    mine = [call for call in history.calls if tenant in {None, call[0]}]
    live = Counter(outcome for _, _, mode, outcome in mine if mode == "live")
    again = sum(number for name, number in history.asked_again.items() if tenant in {None, name})
    services = Counter((name, service) for name, service, _, _ in mine)
    fired = Counter(pair for pair in history.with_a_card if tenant in {None, pair[0]})

    assert (
        f"{live.total()} live calls were looked into: {live['advised']} got cards, {live['nothing']} had nothing to "
        f"say, {live['failed']} failed, and for {live['unavailable']} the chart could not be read."
    ) in page.text
    assert f"; {again} {'answer was' if again == 1 else 'answers were'} left out for that." in page.text
    rows = page.tables["firing"][1:]
    assert {(row[0], row[1].split()[0]): (number(row[2]), number(row[3])) for row in rows} == {
        pair: (calls, fired[pair]) for pair, calls in services.items()
    }


@pytest.mark.parametrize("tenant", [None, *TENANTS])
def test_the_shadow_stands_apart_and_is_shown_nowhere_else(seen: Seen, tenant: str | None) -> None:
    made = Counter(card.topic for card in seen.history.in_the_shadow if tenant in {None, card.tenant})
    page = seen.page(tenant)

    assert page.rows("shadow") == {topic: (number,) for topic, number in made.items()}
    assert ("In the shadow" in page.text) == bool(made)


@pytest.mark.parametrize("tenant", [None, *TENANTS])
def test_feedback_on_cards_that_nobody_was_shown_is_counted_apart(seen: Seen, tenant: str | None) -> None:
    strangers = sum(number for name, number in seen.history.strangers.items() if tenant in {None, name})

    assert f"Feedback came for {strangers} cards that were not shown" in seen.page(tenant).text


def test_fewer_weeks_are_the_same_cards_without_the_older_ones(seen: Seen) -> None:
    counts = seen.records.counts.since(first_week(NOW, 3))
    since = THIS_MONDAY - timedelta(weeks=2)

    assert counts.since == since
    recent = [card for card in seen.history.shown if card.week >= since]
    assert sum(n for card, n in counts.cards.items() if card.place.mode == "live") == len(recent)
    assert len(recent) < len(seen.history.shown)


def test_it_does_not_matter_how_many_rows_are_read_at_a_time(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = seen.records.counts.since(first_week(NOW, 13))
    monkeypatch.setattr(counts, "_BATCH", 7)

    assert seen.records.counts.since(first_week(NOW, 13)) == whole


def test_a_call_of_last_week_that_is_asked_again_this_week_is_last_weeks(records: Records) -> None:
    """Its new card is this week's; and a rate of one card in no call is none."""
    sunday = datetime(2026, 11, 15, 23, 59, 59, 999_999, tzinfo=UTC)
    first = entry(sunday, ("PPDRISK",))
    again = entry(sunday + timedelta(microseconds=1), ("PPDRISK", "PPDSCREEN"), hook_instance=first.hook_instance)
    append(records, [first, replace(again, cards=(first.cards[0], again.cards[1]))])
    this_week, both = (records.counts.since(first_week(NOW, weeks)) for weeks in (1, 2))

    assert (list(this_week.calls), this_week.last, this_week.asked_again) == ([], (), {"north": 1})
    assert [(card.topic, card.place.week) for card in this_week.cards] == [("PPDSCREEN", THIS_MONDAY)]
    assert {card.topic: card.place.week for card in both.cards} == {
        "PPDRISK": THIS_MONDAY - timedelta(weeks=1),
        "PPDSCREEN": THIS_MONDAY,
    }
    assert sum(both.calls.values()) == 1


def test_another_hospitals_call_of_the_same_number_is_another_call(records: Records) -> None:
    """And feedback counts for the card of the hospital that sent it."""
    first = entry(NOW, ("PPDRISK",))
    append(records, [first, replace(first, tenant="south")])
    records.feedback.keep("south", first.service, [Item(first.cards[0], "accepted", "s1")], NOW, comments=False)
    found = records.counts.since(THIS_MONDAY)

    assert sum(found.calls.values()) == 2
    assert {card.place.tenant: card.fate for card in found.cards} == {
        "north": Fate.NO_FEEDBACK,
        "south": Fate.ACCEPTED,
    }
    assert found.strangers == {}


# --- from the front door to the page


def ward(
    knowledge: Knowledge, wording: Wording, records: Records, case: Case, tenant: str, dialect: str | None = None
) -> FlaskClient:
    """The service of the case's site as one tenant has it; what it advises is written down."""
    site, terms = Site.from_table({**site_of(case), "dialect": dialect}), Terms(tenant, shadow=tenant == "east")
    memory = Memory(records.trail, Pseudonyms(b"k" * 32), terms)
    advisor = Advisor(knowledge, wording, site, Clock(), memory=memory, terms=terms)
    return create_app(advisor, records=records).test_client()


def test_what_goes_through_the_front_door_is_what_is_counted(knowledge: Knowledge, wording: Wording) -> None:
    """Real calls and real feedback: each card is counted under its own topic, and has the fate that was reported."""
    records = Records.in_memory()
    shown: list[Shown] = []
    for n, case in enumerate(read_cases()[:24]):
        tenant, dialect = (("north", None), ("south", "cerner-1.0"), ("east", None))[n % 3]
        client = ward(knowledge, wording, records, case, tenant, dialect)
        discovery = client.get("/cds-services").get_json()
        path = f"/cds-services/{service_for(case['hook'], discovery)['id']}"
        body = json.dumps(request_for(case, NOW, discovery), default=str)
        cards = client.post(path, data=body, content_type="application/json").get_json()["cards"]
        for place, card in enumerate(cards):
            topic = card["source"]["topic"]["code"] if dialect is None else ""
            seen = Shown(tenant, THIS_MONDAY, case["hook"], path, knowledge.hash, topic)
            if dialect is not None:
                seen.did = "cannot report"
            elif place == 0:
                seen.did, seen.reason = "overridden", "limited-time"
                told = {
                    "card": card["uuid"],
                    "outcome": "overridden",
                    "overrideReason": {"reason": {"code": seen.reason}},
                }
                assert client.post(f"{path}/feedback", json={"feedback": [told]}).get_json() == {
                    "kept": 1,
                    "repeated": 0,
                }
            shown.append(seen)
    page = read(door(knowledge, wording, records, Clock()))
    north = [card for card in shown if card.tenant == "north"]

    assert len(north) >= 8
    assert {name: number(cell) for name, cell in page.tiles.items()} == dict(
        zip(("Shown", "Accepted", "Overridden", "No feedback", "Cannot report"), total(shown), strict=True)
    )
    assert read(door(knowledge, wording, records, Clock()), tenant="north").rows("topics") == {
        topic: numbers[:4] for topic, numbers in counted(north, lambda card: card.topic).items()
    }
    assert page.rows("by-tenant") == counted(shown, lambda card: card.tenant)
    assert page.rows("hooks") == counted(shown, lambda card: card.hook)
    assert page.rows("shadow"), "the shadow was written down"
    assert page.tables["knowledge"][1][0] == f"{knowledge.hash[:19]} version {knowledge.version}, in use"


@pytest.mark.parametrize("breaks", [False, True], ids=["turned off", "broke down"])
def test_the_card_that_says_that_the_check_is_incomplete_has_a_row_of_its_own(
    breaks: bool, knowledge: Knowledge, wording: Wording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in no plan: whether a part of the check is turned off, or thinking about an order broke down."""
    records = Records.in_memory()
    case = next(case for case in read_cases() if case.id == "N21")  # the medicine is ordered, and too much of it
    everything = frozenset(row.code for row in knowledge.topics.topic) - {"PPDSAFETY"}
    terms = Terms("north", off=frozenset() if breaks else everything)
    memory = Memory(records.trail, Pseudonyms(b"k" * 32), terms)
    advisor = Advisor(knowledge, wording, Site.from_table(site_of(case)), Clock(), memory=memory, terms=terms)
    if breaks:
        monkeypatch.setattr(advisor, "consult", lambda *_, **__: 1 / 0)
    client = create_app(advisor, records=records).test_client()
    discovery = client.get("/cds-services").get_json()
    path = f"/cds-services/{service_for(case['hook'], discovery)['id']}"
    body = json.dumps(request_for(case, NOW, discovery), default=str)
    (card,) = client.post(path, data=body, content_type="application/json").get_json()["cards"]
    told = {"card": card["uuid"], "outcome": "overridden"}
    client.post(f"{path}/feedback", json={"feedback": [told]})

    page = read(door(knowledge, wording, records, Clock()))
    assert page.rows("topics") == {"INCOMPLETE": (1, 0, 1, 0)}
    assert "The check could not be completed" in page.text


# --- the file


def exported(client: FlaskClient, **query: object) -> list[dict[str, str]]:
    answer = client.get("/insights.csv", query_string=query)
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == "attachment; filename=insights.csv"
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))


OUTCOMES = {
    "accepted": "accepted",
    "both": "accepted-and-overridden",
    "overridden": "overridden",
    "nothing": "no-feedback",
    "cannot report": "unreportable",
}


@pytest.mark.parametrize("tenant", [None, "east"])
def test_the_file_holds_every_kind_of_card_with_its_number(seen: Seen, tenant: str | None) -> None:
    rows = [row for row in exported(seen.client, tenant=tenant or "") if row["counted"] == "card"]
    told = {tuple(row[name] for name in list(row)[1:-1]): int(row["number"]) for row in rows}

    def kind(card: Shown, mode: str, outcome: str) -> tuple[str, ...]:
        place = (mode, card.tenant, str(card.week), card.knowledge, card.service, card.hook)
        return (*place, card.topic, outcome, OTHER.get(card.reason, card.reason))

    history = seen.history
    live = Counter(kind(card, "live", OUTCOMES[card.did]) for card in those_of(history, tenant))
    shadow = Counter(
        kind(card, "shadow", "not-shown") for card in history.in_the_shadow if tenant in {None, card.tenant}
    )
    assert told == live + shadow
    assert len(told) == len(rows), "two lines of one kind"


def test_the_file_holds_the_calls_too(seen: Seen) -> None:
    rows = [row for row in exported(seen.client) if row["counted"] == "call"]
    told: Counter[tuple[str, ...]] = Counter()
    for line in rows:
        told[line["tenant"], line["service"], line["mode"], line["outcome"]] += int(line["number"])

    assert told == Counter(seen.history.calls)


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_cell_that_a_spreadsheet_would_take_for_a_formula_is_text(begins: str) -> None:
    assert harmless(f"{begins}cmd|' /C calc'!A0") == f"'{begins}cmd|' /C calc'!A0"


@pytest.mark.parametrize("cell", ["", "north", "2026-11-16", "12", "KETOPTION", "a=b", "sha256:00"])
def test_any_other_cell_is_as_it_is(cell: str) -> None:
    assert harmless(cell) == cell


def test_a_formula_that_got_into_the_records_does_not_get_into_the_file() -> None:
    """No text of a caller's gets into them. Should one ever, it stays text."""
    place = Place("live", '=HYPERLINK("https://evil.example",1)', THIS_MONDAY, "@SUM(1)", "+1", "-1")
    file = as_csv(Counted(THIS_MONDAY, {Call(place, "\tnothing"): 1, Call(replace(place, tenant="a,b"), "x"): 2}))
    (head, *rows) = list(csv.reader(io.StringIO(file)))

    assert len(rows) == 2
    assert all(len(row) == len(head) for row in rows)
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert rows[0][2] == '\'=HYPERLINK("https://evil.example",1)'


# --- the page itself


def test_the_page_needs_no_script_and_nothing_from_elsewhere(seen: Seen) -> None:
    answer = seen.client.get("/insights")
    page = answer.get_data(as_text=True)

    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; img-src 'self'")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script" not in page
    assert " style=" not in page
    assert not re.findall(r"(?:href|src|action)=\"(?:https?:)?//", page)
    for address in re.findall(r"(?:href|src)=\"(/insights/static/[^\"]+)\"", page):
        with seen.client.get(address) as given:
            assert given.status_code == 200


def test_no_pseudonym_and_no_id_is_on_the_page_or_in_the_file(seen: Seen) -> None:
    rows = list(seen.records.trail.entries())
    secret = {row[name] for row in rows for name in ("patient_pseudonym", "user_pseudonym", "hook_instance", "hash")}
    secret |= {card for row in rows for card in row["cards"]} | {row["at"] for row in rows}
    told = "".join(seen.client.get(place).get_data(as_text=True) for place in ("/insights", "/insights.csv"))

    assert len(secret) > 1_000
    assert not [one for one in secret if one in told]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"tenant": "west"}, 404),
        ({"tenant": "north' OR 1=1"}, 404),
        ({"weeks": "0"}, 400),
        ({"weeks": "1000000"}, 400),
        ({"weeks": "x"}, 400),
        ({"weeks": "52"}, 200),
        ({"tenant": ""}, 200),
    ],
)
def test_a_choice_that_there_is_not_is_refused(seen: Seen, query: dict[str, str], status: int) -> None:
    for place in ("/insights", "/insights.csv"):
        assert seen.client.get(place, query_string=query).status_code == status


def test_nothing_at_all_is_a_page_too(knowledge: Knowledge, wording: Wording) -> None:
    page = read(door(knowledge, wording, Records.in_memory(), Clock()))

    assert page.tiles["Shown"] == "0"
    assert "No card was shown." in page.text
    assert "Nothing is out of the ordinary." in page.text


def test_what_was_counted_is_kept_for_a_minute(knowledge: Knowledge, wording: Wording) -> None:
    records, clock = Records.in_memory(), Clock()
    client = door(knowledge, wording, records, clock)
    assert read(client).tiles["Shown"] == "0"
    history = write(records)

    clock.now = NOW + KEPT_FOR - timedelta(seconds=1)
    assert read(client).tiles["Shown"] == "0"
    clock.now = NOW + KEPT_FOR
    assert number(read(client).tiles["Shown"]) == len(history.shown)


def test_an_alarm_stands_on_the_page_in_words(knowledge: Knowledge, wording: Wording) -> None:
    """Ten calls a day for five weeks, every other one with a card; then none for eight days."""
    records, begin = Records.in_memory(), datetime(2026, 10, 5, tzinfo=UTC)
    calls = (entry(begin + timedelta(hours=2.4 * n), ("PPDRISK",) * (n % 2)) for n in range(350))
    append(records, calls)
    clock = Clock(begin + timedelta(days=35 + 8))
    page = read(door(knowledge, wording, records, clock))

    assert "Nothing is out of the ordinary." not in page.text
    assert (
        "No calls All cards ppd-chart-review at north No call since 2026-11-08. "
        "In the 4 weeks before, 280 calls came, some in each week."
    ) in page.text
    clock.now = begin + timedelta(days=35 + 5)
    assert "Nothing is out of the ordinary." in read(door(knowledge, wording, records, clock)).text


def test_without_a_store_there_is_503(tmp_path: Path, knowledge: Knowledge, wording: Wording) -> None:
    place = tmp_path / "records.sqlite3"
    records = Records.at(str(place))
    client = door(knowledge, wording, records, Clock())
    place.rename(tmp_path / "away")

    answer = client.get("/insights")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    records.close()


# --- the drawings


def test_a_bar_is_as_long_as_its_cards() -> None:
    bars = row(Tally(accepted=1, overridden=2, no_feedback=0, unreportable=1), most=8)

    assert [(bar.part, bar.x, bar.width) for bar in bars] == [
        ("accepted", 0, 12.5),
        ("overridden", 12.5, 25),
        ("unreportable", 37.5, 12.5),
    ]
    assert row(Tally(), most=0) == ()


def test_the_tallest_column_is_as_high_as_the_drawing_and_each_stands_on_the_ground() -> None:
    bars = columns([Tally(accepted=3, no_feedback=1), Tally(), Tally(overridden=2)])

    assert [(bar.part, bar.x, bar.y, bar.height) for bar in bars] == [
        ("accepted", 1, 25, 75),
        ("no_feedback", 1, 0, 25),
        ("overridden", 21, 50, 50),
    ]


def test_a_control_chart_marks_the_weeks_outside_and_leaves_out_those_without_calls() -> None:
    weeks = (
        Week(THIS_MONDAY, 100, 10),
        Week(THIS_MONDAY, 0, 0),
        Week(THIS_MONDAY, 100, 40, 0.1, 0.01, 0.19, outside=True),
        Week(THIS_MONDAY, 2, 0, 0.1, 0.0, 0.74),
    )
    chart = ControlChart.of(Firing("north", "ppd-admission", "PPDRISK", weeks))

    assert [dot.outside for dot in chart.dots] == [False, True, False]
    assert [dot.y for dot in chart.dots] == [60.5, 8.0, 78.0], "40 % is the top, and nothing is the ground"
    assert len(chart.rates) == 2, "the line is broken where no call came"
    assert chart.top == 0.4
    assert all(8 <= float(point.split(",")[1]) <= 78 for point in chart.band.split()), "the band is cut off at the top"
