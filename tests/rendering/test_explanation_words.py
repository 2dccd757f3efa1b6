"""How an entry of a chart is told to people, on a card and on the page behind it: what it says, where it is, when."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import NOON
from ehr import request_for
from encoding import Case, Json, read_cases, site_of

from cds_service.advisor import Advice, Advisor
from cds_service.clinical.facts import Evidence
from cds_service.ehr.reading.medicines import How
from cds_service.explanations import Explanations
from cds_service.hooks.request import parse_request, service_for
from cds_service.knowledge import Knowledge
from cds_service.rendering.explanation import as_json, as_text
from cds_service.rendering.figures import Figures, WallClock, kind_of_entry
from cds_service.rendering.languages import in_language
from cds_service.rendering.wording import Wording, cards_folder, defects
from cds_service.settings import Site
from cds_service.web.app import create_app

BASE = "https://cds.example.org"
CASES = {case.id: case for case in read_cases()}
# The case whose chart has an EPDS, a weight, vital signs, a drafted delivery order and a bipolar screen.
CASE = CASES["V01"]
RAW = re.compile(r"mm\[Hg\]|\{score\}|\d /min|10\*\d|\d\dT\d\d:\d\d|\w_\w")
WEIGHT = "29463-7"

Spoken = dict[str, tuple[Knowledge, Wording]]
# What the case whose body may have been changed is answered: its cards, and the page behind them.
Ask = Callable[..., tuple[list[Json], str]]


@pytest.fixture(scope="module")
def spoken(knowledge: Knowledge, wording: Wording) -> Spoken:
    return {"en": (knowledge, wording), "es": in_language("es", knowledge)}


@pytest.fixture(scope="module")
def ask(spoken: Spoken) -> Ask:
    """Over HTTP: the cards, then their link."""

    def asked(language: str, case: Case = CASE, change: Callable[[Json], Json] | None = None, **site: Any) -> Any:
        of_site = Site.from_table({**site_of(case), "language": language, **site})
        advisor = Advisor(*spoken[language], of_site, lambda: NOON, None, Explanations.in_memory(BASE))
        door = create_app(advisor).test_client()
        body = json.loads(json.dumps(request_for(case, NOON, advisor.discovery())))
        answer = door.post(f"/cds-services/{service_for(case['hook']).id}", json=change(body) if change else body)
        cards: list[Json] = answer.get_json()["cards"]
        page = door.get(cards[0]["links"][0]["url"].removeprefix(BASE)).get_data(as_text=True)
        return cards, unescape(re.sub(r"<[^>]+>", "", page))

    return asked


def advised(spoken: Spoken, language: str, case: Case) -> tuple[Advisor, Advice]:
    site = Site.from_table({**site_of(case), "language": language})
    advisor = Advisor(*spoken[language], site, lambda: NOON)
    body = json.loads(json.dumps(request_for(case, NOON, advisor.discovery())))
    return advisor, advisor.advise(parse_request(body))


def rows(cards: list[Json]) -> Iterator[list[str]]:
    """The cells of each row of data, without the headings."""
    for card in cards:
        for line in re.findall(r"^\| (.*\| .*\| .*\| .*) \|$", card["detail"], re.MULTILINE):
            cells = line.split(" | ")
            if cells[0] not in ("Fact", "Dato"):
                yield cells


def when(cards: list[Json], of: str) -> str:
    return next(cells[2] for cells in rows(cards) if cells[0] == of)


# ---- What it says


@pytest.mark.parametrize(
    ("language", "words"),
    [
        (
            "en",
            [
                "Blood pressure, both values: 118/74 mmHg on 2026-11-23 11:50 [Observation/",
                "EPDS 10 to 12 within 90 days: 12 on 2026-11-23 06:00 [Observation/",
                "Heart rate: 84 per min on 2026-11-23 11:50 [Observation/",
                "Bipolar screen or diagnosis: negative on 2026-10-24 12:00 [Observation/",
                "Delivery order in this call: drafted [ServiceRequest/",
                "Age; Age known: on 1995-05-27 [Patient/",
                "Breastfeeding; Breastfeeding, as recorded: on",
                "EPDS that contradicts itself;",
                "As of 2026-11-23 12:00 UTC. Stage",
            ],
        ),
        (
            "es",
            [
                "Presión arterial, ambos valores: 118/74 mmHg el 2026-11-23 11:50 [Observation/",
                "EPDS de 10 a 12 en los últimos 90 días: 12 el 2026-11-23 06:00 [Observation/",
                "Frecuencia cardíaca: 84 por min el 2026-11-23 11:50 [Observation/",
                "Cribado o diagnóstico de trastorno bipolar: negativo el 2026-10-24 12:00 [Observation/",
                "Orden de parto en esta llamada: en borrador [ServiceRequest/",
                "Edad; Edad conocida: el 1995-05-27 [Patient/",
                "Lactancia materna; Lactancia materna, según consta: el",
                "EPDS contradictoria;",
                "A fecha de 2026-11-23 12:00 UTC. Etapa",
            ],
        ),
    ],
)
def test_the_page_says_units_dates_and_facts_as_people_do(ask: Ask, language: str, words: list[str]) -> None:
    _, page = ask(language)
    assert [text for text in words if text not in page] == []
    assert RAW.findall(page) == []


@pytest.mark.parametrize(
    ("id_", "english", "spanish"),
    [
        ("B112b", "as needed on 2026-11-22 16:00 [MedicationRequest/", "a demanda el 2026-11-22 16:00 [Medication"),
        ("B112b", "given on 2026-11-23 10:00 [MedicationAdministration/", "administrado el 2026-11-23 10:00 [Medic"),
        ("B113c", "ordered on 2026-11-22 16:00 [MedicationRequest/", "solicitado el 2026-11-22 16:00 [Medication"),
        ("B114c", "running on 2026-11-23 11:00 [MedicationAdm", "en curso el 2026-11-23 11:00 [MedicationAdm"),
        ("B27a", "positive on 2026-10-24 12:00 [Observation/", "positivo el 2026-10-24 12:00 [Observation/"),
        ("V17", "remission on 2018-09-06 12:00 [Condition/", "en remisión el 2018-09-06 12:00 [Condition/"),
    ],
)
def test_what_an_entry_says_in_a_word_is_said_in_the_language(ask: Ask, id_: str, english: str, spanish: str) -> None:
    for language, words in (("en", english), ("es", spanish)):
        assert f": {words}" in ask(language, CASES[id_])[1]


def test_whatever_a_worked_chart_says_has_words(spoken: Spoken) -> None:
    """Each fact, word, unit and kind of entry, in both languages; and each way in which a medicine can matter."""
    facts, units, kinds = (set[str]() for _ in range(3))
    values = {how.value for how in How if how is not How.ENDED}  # of that one it is told how it ended
    for case in (case for case in CASES.values() if case.id[0] in "VSN"):
        advisor, advice = advised(spoken, "en", case)
        if advice.consultation is None:
            continue
        found = advice.consultation.facts
        entries = [entry for name in found for entry in found[name].evidence]
        facts |= set(found) - set(advisor.knowledge.says)
        values |= {e.value for e in entries if e.value is not None and not re.match(r"[\d.]", e.value)}
        units |= {e.unit for e in entries if e.unit is not None}
        kinds |= {e.reference.partition("/")[0] for e in entries}
    assert "negative" in values
    for _, wording in spoken.values():
        assert facts <= set(wording.facts)
        assert values <= set(wording.values)
        assert units <= set(wording.units)
        assert kinds <= set(wording.resources)


def test_what_programs_read_stays_in_codes(spoken: Spoken) -> None:
    """A line of `evaluate --json` has the unit in UCUM and the date as written, whatever the cards speak."""
    lines = {}
    for language in spoken:
        _, advice = advised(spoken, language, CASE)
        lines[language] = [
            reason["evidence"] for reason in as_json(advice.consultation, advice.who, ())["risk"]["because"]
        ]
    assert lines["es"] == lines["en"]
    (entry,) = lines["es"][0]
    assert (str(entry["value"]), entry["unit"], entry["date"]) == ("12", "{score}", "2026-11-23T06:00:00Z")


# ---- Where it is


def test_the_kind_of_entry_is_said_in_the_language(ask: Ask, spoken: Spoken) -> None:
    """In English it is the name that FHIR has for it."""
    seen = set()
    for id_ in ("V01", "V02", "V03", "V04", "V17", "V21", "B113c", "B114c"):
        english, spanish = (list(rows(ask(language, CASES[id_])[0])) for language in ("en", "es"))
        assert [spoken["es"][1].resources.get(cells[3], cells[3]) for cells in english] == [c[3] for c in spanish]
        seen |= {cells[3] for cells in spanish}
    assert {"Observación", "Problema", "Orden de medicamento", "Administración"} <= seen
    assert not seen & set(spoken["es"][1].resources)


def test_a_kind_of_which_there_is_no_word_keeps_its_name(spoken: Spoken) -> None:
    words = spoken["es"][1].resources
    told = [kind_of_entry(Evidence(r), words) for r in ("Patient/1", "RiskAssessment/1", "urn:uuid:1")]
    assert told == ["Paciente", "RiskAssessment", "–"]
    assert kind_of_entry(None, words) == "–"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('Patient = "Patient"', 'Patient = "Pati|ent"', "cards/blocks.toml: Patient: no word for a table"),
        ('negative = "negative"', 'negative = ""', "cards/blocks.toml: negative: no word for a table"),
        ('given = "given"', 'given = "$given"', "cards/blocks.toml: given: nobody says: given"),
        ('drafted = "drafted"', 'drafted = "<b>drafted"', "cards/blocks.toml: drafted: HTML does not belong on a card"),
    ],
)
def test_a_word_that_would_spoil_the_table_is_refused(
    tmp_path: Path, knowledge: Knowledge, old: str, new: str, named: str
) -> None:
    folder = shutil.copytree(cards_folder(), tmp_path / "cards")
    text = (folder / "blocks.toml").read_text(encoding="utf-8")
    assert text.count(f"\n{old}\n") == 1
    (folder / "blocks.toml").write_text(text.replace(f"\n{old}\n", f"\n{new}\n"), encoding="utf-8")
    assert named in defects(folder, knowledge)


# ---- When it was


def weighed_at(date: str) -> Callable[[Json], Json]:
    def change(body: Json) -> Json:
        for entry in body["prefetch"]["vital_signs"]["entry"]:
            if any(coding.get("code") == WEIGHT for coding in entry["resource"]["code"]["coding"]):
                entry["resource"]["effectiveDateTime"] = date
        return body

    return change


def all_written_at(offset: timedelta) -> Callable[[Json], Json]:
    """The same instants, as an EHR eight hours further east writes them."""

    def moved(match: re.Match[str]) -> str:
        at = datetime.fromisoformat(match[0]).astimezone(ZoneInfo("Asia/Shanghai"))
        assert at.utcoffset() == offset
        return at.isoformat()

    return lambda body: json.loads(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moved, json.dumps(body)))


EAST = timedelta(hours=8)
AGO = {"en": "{} h ago", "es": "hace {} h"}
EPDS = {"en": "EPDS total", "es": "Total de la EPDS"}
BODY = {"en": "Weight", "es": "Peso"}


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    ("change", "site", "epds", "weight"),
    [
        (None, {}, "2026-11-23 06:00", "2026-11-23 07:00"),
        (weighed_at("2026-11-23T15:00:00+08:00"), {}, "2026-11-23 06:00 UTC", "2026-11-23 15:00 +08:00"),
        (weighed_at("2026-11-23T07:00:00+00:00"), {}, "2026-11-23 06:00", "2026-11-23 07:00"),
        (all_written_at(EAST), {}, "2026-11-23 14:00", "2026-11-23 15:00"),
        (None, {"time_zone": "Asia/Shanghai"}, "2026-11-23 14:00", "2026-11-23 15:00"),
        (
            weighed_at("2026-11-23T15:00:00+08:00"),
            {"time_zone": "America/Chicago"},
            "2026-11-23 00:00",
            "2026-11-23 01:00",
        ),
    ],
    ids=["all in UTC", "two offsets", "UTC in two ways", "all in another", "the site's zone", "two, and the site's"],
)
def test_times_on_one_card_can_be_compared(
    ask: Ask, language: str, change: Any, site: Json, epds: str, weight: str
) -> None:
    cards, _ = ask(language, change=change, **site)
    assert when(cards, EPDS[language]) == f"{epds}, {AGO[language].format(6)}"
    assert when(cards, BODY[language]) == f"{weight}, {AGO[language].format(5)}"
    (dose,) = [line for card in cards for line in card["detail"].splitlines() if "0.2 mg/kg" in line]
    assert f" {weight}, {AGO[language].format(5)}. " in dose


@pytest.mark.parametrize(("language", "today"), [("en", "2026-11-23, today"), ("es", "2026-11-23, hoy")])
@pytest.mark.parametrize("site", [{}, {"time_zone": "Asia/Shanghai"}, {"time_zone": "America/Chicago"}])
def test_a_date_without_a_time_stays_as_it_is(ask: Ask, language: str, today: str, site: Json) -> None:
    cards, _ = ask(language, change=weighed_at("2026-11-23"), **site)
    assert when(cards, BODY[language]) == today


@pytest.mark.parametrize(
    ("language", "site", "now", "weight"),
    [
        ("en", {}, "As of 2026-11-23 12:00 UTC.", "72.4 kg on 2026-11-23 15:00 +08:00 ["),
        ("es", {}, "A fecha de 2026-11-23 12:00 UTC.", "72.4 kg el 2026-11-23 15:00 +08:00 ["),
        ("en", {"time_zone": "Asia/Shanghai"}, "As of 2026-11-23 20:00 +08:00.", "72.4 kg on 2026-11-23 15:00 ["),
        ("es", {"time_zone": "Asia/Shanghai"}, "A fecha de 2026-11-23 20:00 +08:00.", "72.4 kg el 2026-11-23 15:00 ["),
    ],
)
def test_times_on_the_page_can_be_compared_with_its_now(
    ask: Ask, language: str, site: Json, now: str, weight: str
) -> None:
    """The page says in UTC when it was thought, so one offset of the whole chart must be told, too."""
    _, page = ask(language, change=all_written_at(EAST), **site)
    assert now in page
    assert weight in page


def test_a_terminal_is_told_the_sites_time(spoken: Spoken) -> None:
    advisor, advice = advised(spoken, "en", CASE)
    site = advisor.site.model_copy(update={"time_zone": "Asia/Shanghai"})
    for of_site, at in ((None, "06:00"), (advisor.site, "06:00"), (site, "14:00")):
        text = as_text(advice.consultation, advice.who, advice.cards, advisor.wording, advisor.knowledge, of_site)
        assert f"EPDS 10 to 12 within 90 days: 12 on 2026-11-23 {at} [" in " ".join(text.split())


SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("clock", "now", "date", "told"),
    [
        # The day of a date without a time begins at midnight of the site.
        (
            WallClock(SHANGHAI),
            datetime(2026, 11, 23, 15, 59, tzinfo=UTC),
            "2026-11-24",
            "2026-11-24, dated ahead of now",
        ),
        (WallClock(SHANGHAI), datetime(2026, 11, 23, 16, 0, tzinfo=UTC), "2026-11-24", "2026-11-24, today"),
        (WallClock(), datetime(2026, 11, 23, 23, 59, tzinfo=UTC), "2026-11-24", "2026-11-24, dated ahead of now"),
        (WallClock(), datetime(2026, 11, 24, 0, 0, tzinfo=UTC), "2026-11-24", "2026-11-24, today"),
        # A time without a zone was read in the site's, so its age is told from there.
        (WallClock(SHANGHAI), NOON, "2026-11-23T08:00", "2026-11-23 08:00, 12 h ago"),
        (WallClock(), NOON, "2026-11-23T08:00", "2026-11-23 08:00, 4 h ago"),
        (WallClock(with_offset=True), NOON, "2026-11-23T08:00:00-00:00", "2026-11-23 08:00 UTC, 4 h ago"),
        (WallClock(with_offset=True), NOON, "2026-11-23T08:00:00.123-03:30", "2026-11-23 08:00 -03:30, 29 min ago"),
        # Summer time: one instant, and the hour that stood on the wall then.
        (WallClock(ZoneInfo("America/Chicago")), NOON, "2026-07-01T12:00:00Z", "2026-07-01 07:00, 145 days ago"),
        # Nothing breaks at either end of the calendar, nor on a day that there is not.
        (WallClock(ZoneInfo("America/Chicago")), NOON, "0001-01-01T00:00:00Z", "0001-01-01 00:00"),
        (WallClock(SHANGHAI), NOON, "9999-12-31T23:59:00Z", "9999-12-31 23:59"),
        (WallClock(SHANGHAI), NOON, "2026-02-30T08:00:00Z", "2026-02-30 08:00"),
        (WallClock(SHANGHAI, with_offset=True), NOON, "2026-05", "2026-05"),
        (WallClock(SHANGHAI), NOON, "soon", "no date"),
    ],
)
def test_a_date_is_told_in_the_time_of_its_clock(
    wording: Wording, clock: WallClock, now: datetime, date: str, told: str
) -> None:
    figures = Figures(wording.blocks, wording.units, now, frozenset(), clock)
    assert figures.when(Evidence("Observation/1", "1", None, date)) == told
