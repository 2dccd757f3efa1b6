"""The manual tells every worked case, as the service answers it, on pages that lead somewhere and do nothing."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from encoding import read_cases
from playwright.sync_api import Browser, sync_playwright
from stories import MORE_RULES, as_text
from typer.testing import CliRunner

from cds_service import manual
from cds_service.__main__ import app
from cds_service.errors import SiteUnfit
from cds_service.knowledge import Knowledge
from cds_service.manual import INDEX, write_manual
from cds_service.settings import Site
from cds_service.stories import FILE, read_stories, tell

CASES = {case.id: case for case in read_cases()}
CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
SITE = """
name = "St Example"
country = "CN"
time_zone = "Asia/Shanghai"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual, written once for all tests."""
    return write_manual(tmp_path_factory.mktemp("manual"), None).parent


class Reader(HTMLParser):
    """What a page is made of: its elements, ids and links, and its words."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.words = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and tag == "a":
                self.links.append(value or "")
            if name == "src" or (name == "href" and tag != "a"):
                self.loads.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.words += data


# ---- What is told


def test_what_is_recorded_is_what_the_cases_say_today() -> None:
    assert FILE.read_text(encoding="utf-8") == as_text(), "python tests/stories.py writes it again"


def test_every_case_that_is_not_about_a_line_is_told(record_property: Callable[[str, object], None]) -> None:
    told = [story.id for story in read_stories()]

    assert len(told) == len(set(told))
    assert set(told) == {id_ for id_ in CASES if not id_.startswith("B")} | set(MORE_RULES)
    record_property("safety", f"{len(told)} worked cases in the manual")


def test_every_story_says_what_is_different_in_plain_words() -> None:
    silent = [story.id for story in read_stories() if not story.given]

    assert silent == ["V01"], "the usual woman herself"
    lines = [line for story in read_stories() for line in story.given]
    assert all(line[0].isupper() and line.endswith(".") and "_" not in line for line in lines)


def test_the_manual_gives_the_answers_that_the_cases_demand() -> None:
    for told in tell(read_stories(), None):
        demanded, thought = CASES[told.story.id].expect, told.advice.consultation
        cards = [topic.code for topic in told.advice.topics]
        assert cards == demanded.get("cards", cards), told.story.id
        if "status" in demanded:
            assert thought is not None
            assert thought.eligibility.status.value == demanded["status"], told.story.id


# ---- The pages


def test_the_same_stories_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_manual(tmp_path, None)

    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in folder.iterdir())
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / file.name).read_bytes(), file.name


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_afar(folder: Path) -> None:
    pages = {file.name: Reader(file) for file in folder.glob("*.html")}

    for name, page in pages.items():
        assert not [id_ for id_, n in Counter(page.ids).items() if n > 1], name
        assert set(page.loads) == {"api.css", "manual.css"}, name
        for link in page.links:
            if link.startswith("https://"):
                continue
            file, _, place = link.partition("#")
            assert file in {"", *pages}, f"{name}: {link}"
            assert not place or place in pages[file or name].ids, f"{name}: {link}"


def test_no_page_can_do_anything(folder: Path) -> None:
    for file in folder.glob("*.html"):
        page = Reader(file)
        assert not {"script", "iframe", "form", "img", "object"} & set(page.tags), file.name
        assert page.handlers == [], file.name
        assert file.read_text(encoding="utf-8").count("<button") == len(
            re.findall(r'<button type="button" disabled>', file.read_text(encoding="utf-8"))
        )


def test_every_rule_and_every_card_leads_to_a_story(folder: Path, knowledge: Knowledge) -> None:
    index = Reader(folder / INDEX)
    rules = [
        *(
            row.id
            for table in (knowledge.contraindications, knowledge.reviews, knowledge.modifiers)
            for row in table.criterion
        ),
        *(row.id for row in knowledge.inputs.input),
        *(row.code for row in knowledge.topics.topic),
    ]

    assert set(rules) <= set(index.ids)
    assert "No story shows it." not in index.words


def test_a_rule_that_no_story_shows_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_stories()[:1]
    monkeypatch.setattr(manual, "read_stories", lambda: first)

    text = write_manual(tmp_path, None).read_text(encoding="utf-8")

    (c02,) = re.findall(r'<div id="C02">.*?</div>', text, re.DOTALL)
    (c03,) = re.findall(r'<div id="C03">.*?</div>', text, re.DOTALL)
    assert "No story shows it." in c02
    assert f"#{first[0].id}" in c03


def test_the_cards_stand_there_as_they_are_sent(folder: Path) -> None:
    (told,) = [told for told in tell(read_stories(), None) if told.story.id == "V04"]

    page = Reader(folder / "medicine_and_dose.html")

    for card in told.advice.cards:
        assert card["summary"] in page.words
        assert all(suggestion["label"] in page.words for suggestion in card.get("suggestions", ()))
    assert "Dose. Esketamine: 0.2 mg/kg × 60 kg = 12 mg" in " ".join(page.words.split())


# ---- The command


def test_the_command_writes_it_and_says_where_it_begins(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["manual", "--output", str(tmp_path / "new" / "manual")])

    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == f"The manual begins at {tmp_path / 'new' / 'manual' / INDEX}"
    assert (tmp_path / "new" / "manual" / INDEX).is_file()


def test_with_a_site_it_is_answered_as_that_site_would_be(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE, encoding="utf-8")

    done = CliRunner().invoke(app, ["manual", "--site", str(tmp_path / "site.toml"), "--output", str(tmp_path)])

    page = Reader(tmp_path / "medicine_and_dose.html")
    assert done.exit_code == 0
    assert "Answered as St Example has set it up" in Reader(tmp_path / INDEX).words
    assert "Dose. Esketamine" not in page.words, "this site has approved no protocol"
    assert "no-approved-protocol" in page.words
    assert {"V01", "V04"} <= set(page.ids)
    assert not {"V02", "V03", "E05", "B163b"} & set(page.ids), "they are about another hospital"


def test_a_site_that_is_unfit_and_a_folder_that_cannot_be_written_are_plain_lines(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("nmae = 1\n", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")

    unfit = CliRunner().invoke(app, ["manual", "--site", f"{tmp_path}/site.toml", "--output", f"{tmp_path}/manual"])
    in_the_way = CliRunner().invoke(app, ["manual", "--output", f"{tmp_path}/file/manual"])

    assert isinstance(unfit.exception, SiteUnfit)  # `main` makes lines of it
    assert not (tmp_path / "manual").exists()
    assert in_the_way.exit_code == 1
    assert "Not a directory" in in_the_way.output


def test_another_site_changes_no_word_of_the_stories() -> None:
    site = Site.from_table({"name": "St Example", "country": "CN"})

    ids = [told.story.id for told in tell(read_stories(), site)]

    assert ids == [story.id for story in read_stories() if story.id not in {"V02", "V03", "E05", "B163b"}]


# ---- In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"left out: no browser at {CHROMIUM} (set CHROMIUM)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (375, 812)], ids=["desk", "phone"])
def test_a_reader_goes_from_a_rule_to_its_story_and_back(
    browser: Browser, folder: Path, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.goto((folder / INDEX).as_uri())

    page.locator("#C03").get_by_role("link", name="V10").click()
    story = page.locator("#V10")
    assert story.is_visible()
    assert "Severe pre-eclampsia (active)" in story.inner_text()
    for file in folder.glob("*.html"):
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{file.name} runs off the screen"
    page.goto((folder / "contraindications.html").as_uri())
    page.locator("#V10").get_by_role("link", name="C03").click()
    assert page.url.endswith("index.html#C03")
    assert complaints == []
    context.close()


def test_on_paper_every_card_is_there_and_the_list_of_contents_is_not(browser: Browser, folder: Path) -> None:
    page = browser.new_page()
    page.emulate_media(media="print")
    page.goto((folder / "contraindications.html").as_uri())

    assert not page.get_by_role("navigation").is_visible()
    cards = page.locator(".card .detail")
    assert cards.count() > 5
    assert all(cards.nth(number).is_visible() for number in range(cards.count()))
    page.close()
