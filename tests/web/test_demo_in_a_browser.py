"""A newcomer walks through a stay in a real browser: hooks, cards, why, what they change and what they answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
IN_CI = os.environ.get("CI") == "true"
PATIENCE_MS = 10_000
SCREENSHOTS = os.environ.get("CDS_TEST_SCREENSHOTS")
expect.set_options(timeout=PATIENCE_MS)

if not CHROMIUM.exists() and not IN_CI:
    pytest.skip(f"left out: no browser at {CHROMIUM} (set CHROMIUM)", allow_module_level=True)

# The real server with the demonstration's site, and a clock that stands still so that a screenshot is the same again.
DEMONSTRATION = """
from datetime import UTC, datetime
from cds_service.explanations import Explanations
from cds_service.records import Records
from cds_service.starting import advisor_at
from cds_service.web.app import create_app
from cds_service.web.demo import Demo, demo_site
from cds_service.web.server import listen, serve, url_of

def clock():
    return datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

explanations = Explanations.in_memory("")
app = create_app(
    advisor_at(demo_site(), clock, explanations=explanations), demo=Demo(clock), records=Records.in_memory()
)
listening = listen("127.0.0.1", 0)
explanations.base = url_of("127.0.0.1", listening)
serve(app, "127.0.0.1", 0, announce="{url}/demo", listening=listening)
"""

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
DESK = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=375, height=812)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the demonstration listens."""
    server = subprocess.Popen([sys.executable, "-c", DEMONSTRATION], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("http://"), "the demonstration did not start"
        yield url
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console held against the page."""
    return []


Opened = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, address: str, complaints: list[str]) -> Iterator[Opened]:
    """The demonstration in a window of its own; at the end the console must be clean."""
    contexts = []

    def opened(size: ViewportSize = DESK, scheme: Any = "light") -> Page:
        context = browser.new_context(
            viewport=size, device_scale_factor=1.25, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: Opened) -> Page:
    return open_page()


def open_chart(page: Page, woman: str) -> None:
    page.locator(f"[data-woman={woman}]").click()
    answered(page, "When the chart was opened")


def order(page: Page, name: str) -> None:
    button = page.locator(f"[data-order={name}]")
    button.click()
    answered(page, button.locator(".what").inner_text())


def step(page: Page, hook: str, why: str) -> None:
    page.locator(f".stay [data-hook={hook}]").click()
    answered(page, why)


def answered(page: Page, why: str) -> None:
    expect(page.locator("#moment")).to_contain_text(why)
    expect(page.locator("#cards")).not_to_have_attribute("aria-busy", "true")


def topics(page: Page) -> list[str | None]:
    return [card.get_attribute("data-topic") for card in page.locator(".card").all()]


def card_about(page: Page, topic: str) -> Locator:
    return page.locator(f".card[data-topic={topic}]")


def drafts(page: Page) -> Locator:
    return page.locator("#drafts li")


def sent(page: Page) -> Locator:
    return page.locator("#feedback li")


def unfold(page: Page, part: str) -> None:
    """On a phone the chart and the form are folded away."""
    if page.locator(f"{part}[open]").count() == 0:
        page.locator(f"{part} > summary").click()


def change(page: Page, fact: str, *values: str) -> None:
    unfold(page, "#change")
    for field, value in zip(page.locator(f"[data-fact={fact}] :is(input, select)").all(), values, strict=True):
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    with page.expect_response("**/cds-services/*"):  # the words of an earlier change may still stand there
        page.get_by_role("button", name="Change, and ask again").click()
    answered(page, "with what you changed")


def fits(page: Page) -> bool:
    """Nothing stands out to the side."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def picture(page: Page, name: str, size: ViewportSize | None = None) -> None:
    """A picture for the docs, where they are asked for."""
    if not SCREENSHOTS:
        return
    Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
    if size:
        page.set_viewport_size(size)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


# --- the story


@pytest.mark.parametrize("width", [1280, 375, 320])
def test_the_heading_that_gets_the_focus_is_not_under_the_tape(open_page: Opened, width: int) -> None:
    page = open_page(ViewportSize(width=width, height=667))
    open_chart(page, "alma")
    order(page, "vaginal-delivery")
    heading, tape = page.get_by_role("heading", name="Advice"), page.locator(".tape")
    expect(heading).to_be_focused()
    below, above = heading.bounding_box(), tape.bounding_box()
    assert below is not None
    assert above is not None
    assert above["y"] == 0, "the tape stays"
    assert below["y"] >= above["height"]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desktop", "phone"])
def test_she_walks_through_a_whole_stay(open_page: Opened, size: ViewportSize) -> None:
    page = open_page(size)
    assert fits(page)
    open_chart(page, "alma")
    expect(page.get_by_role("heading", name="Alma Sample")).to_be_focused()
    assert topics(page) == ["PPDRISK"]
    step(page, "encounter-start", "When she was admitted")
    expect(page.get_by_role("heading", name="Advice")).to_be_focused()
    assert topics(page) == ["PPDRISK"]
    order(page, "vaginal-delivery")
    assert topics(page) == ["KETOPTION", "PPDRISK"]
    if size == PHONE:
        picture(page, "demo-phone")

    card_about(page, "KETOPTION").get_by_role("button", name=re.compile("^Accept: Draft esketamine")).click()
    expect(sent(page).first).to_contain_text("Accepted")
    expect(sent(page).first.locator(".kept")).to_have_text("Kept: 1. Already known: 0.")
    expect(page.get_by_role("status")).to_contain_text("Accepted: Draft esketamine")
    drafted = drafts(page).count()
    assert drafted > 3  # the medicine, and its monitoring

    step(page, "order-sign", "When the draft orders were signed")
    assert "KETORDER" not in topics(page)  # what the service drafted itself, it has nothing against
    card = card_about(page, "PPDRISK")
    card.get_by_text("Dismiss with a reason").click()
    card.locator("[data-reason]").first.click()
    expect(sent(page)).to_have_count(2)
    expect(sent(page).first.locator(".outcome")).to_contain_text("Overridden")
    expect(sent(page).first.locator(".kept")).to_have_text("Kept: 1. Already known: 0.")
    assert fits(page)

    step(page, "encounter-discharge", "When she was discharged")
    assert topics(page) == ["PPDFOLLOWUP"]
    for hook in ("patient-view", "encounter-start", "order-select", "order-sign", "encounter-discharge"):
        expect(page.locator(f".stay [data-hook={hook}] .count")).to_have_text(re.compile("^[12] cards?$"))
    expect(page.locator(".stay [aria-current=step]")).to_contain_text("Discharge")
    assert fits(page)
    if size == PHONE:
        unfold(page, "#fold")
        page.get_by_role("button", name="Request and response").click()
        assert fits(page)
        page.get_by_role("button", name="Close").click()
        page.get_by_role("link", name="All patients").click()
        expect(page.locator("[data-woman=alma]")).to_be_visible()


def test_she_orders_a_caesarean_reads_the_card_and_asks_why(page: Page) -> None:
    expect(page.get_by_role("note")).to_have_text("Demonstration. Synthetic patients. Not for clinical use.")
    open_chart(page, "bruna")
    order(page, "caesarean")
    expect(page.get_by_role("heading", name="Advice")).to_be_focused()
    card = card_about(page, "KETOPTION")
    expect(card.locator(".indicator")).to_have_text("Information")
    expect(card.locator("h3")).to_contain_text("EPDS 12")
    expect(card.locator(".detail")).to_contain_text(re.compile(r"0\.2 mg/kg.*72\.4 kg.*14\.48.*14 mg"))
    expect(card.locator(".detail")).to_contain_text("2.8 mL")
    expect(card.locator(".source")).to_contain_text("Demonstration hospital")
    expect(page.get_by_role("status")).to_contain_text("2 cards. Information:")
    expect(page.locator(".badge")).to_have_count(0)  # no suggestion is ticked beforehand
    expect(page.locator(".accept[aria-disabled=true]")).to_have_count(0)
    page.evaluate("window.scrollTo(0, 0)")
    picture(page, "demo-desktop")
    picture(page, "card", ViewportSize(width=1280, height=1600))  # down to the dose
    if SCREENSHOTS:
        page.set_viewport_size(DESK)

    card.get_by_role("link", name="Why?").click()
    drawer = page.get_by_role("dialog", name="Why this card")
    expect(drawer).to_contain_text("What was found")
    expect(drawer).to_contain_text("72.4 kg")
    picture(page, "demo-why")
    with page.expect_popup() as popup:
        drawer.get_by_role("link", name="Open it as a page of its own").click()
    expect(popup.value.get_by_role("heading", name="How the service thought")).to_be_visible()
    popup.value.close()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()


def test_she_accepts_a_suggestion_and_takes_it_back(page: Page) -> None:
    open_chart(page, "bruna")
    order(page, "caesarean")
    expect(drafts(page)).to_have_count(1)
    accept = card_about(page, "KETOPTION").get_by_role("button", name=re.compile("^Accept: ")).first
    label = str(accept.get_attribute("aria-label")).removeprefix("Accept: ")
    accept.click()
    expect(drafts(page)).to_have_count(2)
    accepted = page.get_by_role("button", name=f"Accepted: {label}")
    expect(accepted).to_have_attribute("aria-disabled", "true")
    accepted.dispatch_event("click")  # a second click does nothing
    expect(drafts(page)).to_have_count(2)
    expect(sent(page)).to_have_count(1)
    drafts(page).nth(1).get_by_role("button").click()
    expect(drafts(page)).to_have_count(1)
    expect(page.get_by_role("button", name=f"Accept: {label}")).to_have_attribute("aria-disabled", "false")


def test_she_dismisses_a_card_with_a_reason_and_brings_it_back(page: Page) -> None:
    open_chart(page, "bruna")
    order(page, "caesarean")
    card = card_about(page, "KETOPTION")
    card.get_by_text("Dismiss with a reason").click()
    assert card.locator("[data-reason]").count() >= 5
    card.locator("[data-reason=patient-refuses]").click()
    expect(card).to_have_count(0)
    expect(page.locator(".dismissed")).to_contain_text("Dismissed")
    sent(page).get_by_text("What was sent, and the answer").click()
    report, answer = sent(page).locator("pre").inner_text().split("\n\n")
    item = json.loads(report)["feedback"][0]
    assert (item["outcome"], item["overrideReason"]["reason"]["code"]) == ("overridden", "patient-refuses")
    assert json.loads(answer) == {"kept": 1, "repeated": 0}
    page.get_by_role("button", name="Show again").click()
    expect(card).to_be_visible()


def test_a_drafted_medicine_goes_along_with_the_next_order_and_may_be_removed(page: Page) -> None:
    open_chart(page, "chiara")
    order(page, "esketamine")
    assert topics(page)[0] == "KETCONTRA"
    expect(card_about(page, "KETCONTRA").locator(".indicator")).to_have_text("Critical")
    order(page, "caesarean")
    expect(drafts(page)).to_have_count(2)
    page.get_by_role("button", name="Request and response").click()
    drawer = page.get_by_role("dialog", name="Request and response")
    expect(drawer.locator("#wire-request pre").first).to_contain_text("draft-esketamine")
    expect(drawer.locator("#wire-line")).to_contain_text("POST /cds-services/ppd-delivery-order: 200")
    drawer.get_by_role("button", name="Close").click()
    order(page, "esketamine")
    page.get_by_role("button", name=re.compile("^Accept: Remove")).click()
    expect(drafts(page)).to_have_count(1)


def test_nothing_is_signed_before_something_is_drafted(page: Page) -> None:
    open_chart(page, "hana")
    page.locator("[data-hook=order-sign]").click()
    expect(page.locator(".silence")).to_contain_text("Draft an order first.")
    expect(page.locator("[data-order]").first).to_be_focused()


def test_a_service_that_does_not_answer_is_not_shown_as_silence(page: Page, complaints: list[str]) -> None:
    open_chart(page, "bruna")
    page.route("**/cds-services/*", lambda route: route.abort())
    page.locator("[data-order=caesarean]").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    expect(page.locator(".silence")).to_have_count(0)
    page.unroute("**/cds-services/*")
    page.route("**/cds-services/*", lambda route: route.continue_(post_data='{"hook": "order-select"}'))
    page.locator("[data-order=caesarean]").click()
    expect(page.get_by_role("alert")).to_contain_text("The service refused the call (400). hookInstance is missing")
    complaints.clear()  # the browser, too, reports the calls that failed


# --- another fact, another card


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desktop", "phone"])
def test_a_changed_fact_changes_the_cards_and_stands_in_the_request(open_page: Opened, size: ViewportSize) -> None:
    page = open_page(size)
    open_chart(page, "bruna")
    order(page, "caesarean")
    change(page, "weight", "76.0")
    expect(card_about(page, "KETOPTION").locator(".detail")).to_contain_text("76.0 kg")
    expect(page.get_by_role("status")).to_contain_text("The chart has changed. 2 cards.")
    unfold(page, "#fold")
    expect(page.locator("#summary .tile.changed")).to_contain_text("76.0 kg")
    change(page, "blood-pressure", "146", "84")
    assert topics(page) == ["KETREVIEW", "PPDRISK"]
    page.get_by_role("button", name="Request and response").click()
    changed = page.locator("#wire-changed")
    expect(changed.locator("summary")).to_have_text(
        ["Observation/changed-weight", "Observation/changed-blood-pressure"]
    )
    expect(changed.locator("pre").first).to_contain_text('"value": 76.0')
    if size == DESK:
        picture(page, "demo-request")
    assert fits(page)
    page.keyboard.press("Escape")
    change(page, "allergy", "ketamine")
    assert topics(page)[0] == "KETCONTRA"
    page.get_by_role("button", name="Undo all changes").click()
    expect(page.locator("#moment")).not_to_contain_text("changed")
    expect(card_about(page, "KETOPTION").locator(".detail")).to_contain_text("72.4 kg")
    expect(page.locator("[data-fact=weight] input")).to_have_value("72.4")
    change(page, "weight", "")
    assert topics(page)[0] == "KETDATA"
    assert fits(page)


def test_a_change_that_cannot_be_made_says_why(page: Page, complaints: list[str]) -> None:
    open_chart(page, "bruna")
    page.get_by_role("button", name="Change, and ask again").click()
    expect(page.locator("#facts [role=alert]")).to_contain_text("Nothing was changed yet")
    page.locator("[data-fact=weight] input").fill("heavy")
    page.get_by_role("button", name="Change, and ask again").click()
    expect(page.locator("#facts [role=alert]")).to_have_text("facts.weight is not a number")
    complaints.clear()


# --- what a visitor brings


def test_she_brings_a_chart_and_a_request_of_her_own(open_page: Opened, tmp_path: Path) -> None:
    page = open_page(PHONE)
    open_chart(page, "bruna")
    order(page, "caesarean")
    unfold(page, "#fold")
    for link, name in (("Save this chart", "chart.json"), ("Save the request", "request.json")):
        if name == "request.json":
            page.get_by_role("button", name="Request and response").click()
        with page.expect_download() as download:
            page.get_by_role("link", name=link).click()
        download.value.save_as(tmp_path / name)
    page.get_by_role("button", name="Close").click()

    page.get_by_role("link", name="All patients").click()
    page.locator("[data-own]").click()
    page.locator("#file").set_input_files(tmp_path / "chart.json")
    page.get_by_role("button", name="Open it").click()
    answered(page, "When the chart was opened")
    expect(page.get_by_role("heading", name="Bruna Specimen")).to_be_focused()
    order(page, "caesarean")
    assert topics(page) == ["KETOPTION", "PPDRISK"]
    assert fits(page)

    page.get_by_role("link", name="All patients").click()
    page.locator("[data-own]").click()
    request = (tmp_path / "request.json").read_text("utf-8")
    page.locator("#pasted").fill(request)
    with page.expect_request("**/cds-services/ppd-delivery-order") as posted:
        page.get_by_role("button", name="Open it").click()
    answered(page, "When your own request was sent")
    assert posted.value.post_data == request  # as it is
    assert topics(page) == ["KETOPTION", "PPDRISK"]
    expect(drafts(page)).to_have_count(1)
    card_about(page, "KETOPTION").get_by_role("button", name=re.compile("^Accept: ")).first.click()
    expect(sent(page).locator(".kept")).to_have_text("Kept: 1. Already known: 0.")
    assert fits(page)


def test_what_cannot_be_opened_says_why_in_one_line(page: Page, complaints: list[str], tmp_path: Path) -> None:
    page.locator("[data-own]").click()
    refusal = page.locator("#own-refusal")
    for pasted, words in (
        ("", "Choose a file, or paste something."),
        (
            '{"resourceType": "Bundle", "entry": []}',
            "It cannot be opened: the Bundle holds no Patients: a chart is of one",
        ),
        ("<html>", "It cannot be opened: not JSON (Expecting value), at character 1"),
    ):
        page.locator("#pasted").fill(pasted)
        page.get_by_role("button", name="Open it").click()
        expect(refusal).to_have_text(words)
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (2 * 1024 * 1024 + 1))
    page.locator("#file").set_input_files(large)
    page.get_by_role("button", name="Open it").click()
    expect(refusal).to_have_text("This file is too large: 2 MB at most.")
    complaints.clear()


# --- without a mouse, and for everybody


def test_a_keyboard_is_enough(page: Page) -> None:
    def press_until(name: str, key: str = "Tab") -> None:
        for _ in range(90):
            page.keyboard.press(key)
            if name in str(page.evaluate("document.activeElement.innerText + ' ' + document.activeElement.ariaLabel")):
                return
        raise AssertionError(f"no way to {name} by keyboard")

    press_until("Bruna Specimen")
    page.keyboard.press("Enter")
    answered(page, "When the chart was opened")
    press_until("Caesarean")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    answered(page, "Caesarean")
    press_until("Accept: ")
    page.keyboard.press("Enter")
    expect(drafts(page)).to_have_count(2)
    press_until("Why?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Why this card")).to_be_visible()
    page.keyboard.press("Escape")
    press_until("Dismiss with a reason")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".dismissed")).to_have_count(1)
    expect(page.get_by_role("button", name="Show again")).to_be_focused()


GRAVE = """
async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const grave = found.violations.filter((one) => ["serious", "critical"].includes(one.impact));
  return grave.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}
"""


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESK, "light"), (DESK, "dark"), (PHONE, "light")], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing_grave(
    open_page: Opened, axe: str, size: ViewportSize, scheme: str, record_property: Any
) -> None:
    page = open_page(size, scheme)
    page.evaluate(axe)
    states = 0

    def check() -> None:
        nonlocal states
        states += 1
        assert page.evaluate(GRAVE) == []

    check()
    page.locator("[data-own]").click()
    page.locator("#bring button").click()
    expect(page.locator("#own-refusal")).to_be_visible()
    check()
    if size == PHONE:
        page.get_by_role("link", name="All patients").click()
    open_chart(page, "greta")
    order(page, "esketamine")  # critical, warning and information
    change(page, "weight", "73.5")
    unfold(page, "#fold")
    for card in page.locator(".card").all():
        card.locator(".dismissal > summary").click()
    page.locator(".card [data-suggestion]").first.click()
    page.locator(".card [data-reason]").last.click()
    expect(sent(page)).to_have_count(2)
    for fold in page.locator("#feedback summary, .long > summary").all():
        fold.click()
    check()
    page.get_by_role("button", name="Request and response").click()
    check()
    page.keyboard.press("Escape")
    page.locator(".why").first.click()
    expect(page.locator("#why-told article").first).to_be_visible()
    check()
    record_property(
        "safety", f"demonstration: axe-core found nothing grave in {states} states, {scheme}, {size['width']} px"
    )
