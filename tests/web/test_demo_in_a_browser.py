"""A newcomer opens the demonstration in a real browser, orders a birth and reads the card."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright
from test_demo import SHOWS

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
PATIENCE_MS = 10_000
SCREENSHOTS = os.environ.get("CDS_SCREENSHOTS")

if not CHROMIUM.exists() and os.environ.get("CI") != "true":
    pytest.skip(f"left out: no browser at {CHROMIUM} (set CHROMIUM)", allow_module_level=True)

# The real server with the demonstration's site, and a clock that stands still so that a screenshot is the same again.
DEMONSTRATION = """
from datetime import UTC, datetime
from cds_service.advisor import Advisor
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.web.app import create_app
from cds_service.web.demo import Demo, demo_site
from cds_service.web.server import serve

def clock():
    return datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

advisor = Advisor(load_knowledge(), load_wording(), demo_site(), clock)
serve(create_app(advisor, demo=Demo(clock)), "127.0.0.1", 0, announce="{url}/demo")
"""

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
DESK = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=375, height=812)
README_PICTURE = ViewportSize(width=1280, height=1470)  # down to the dose


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


@pytest.fixture
def page(browser: Browser, address: str, complaints: list[str]) -> Iterator[Page]:
    yield from opened(browser, address, complaints, DESK)


@pytest.fixture
def phone(browser: Browser, address: str, complaints: list[str]) -> Iterator[Page]:
    yield from opened(browser, address, complaints, PHONE)


def opened(browser: Browser, address: str, complaints: list[str], size: ViewportSize) -> Iterator[Page]:
    """The demonstration in a window of its own; at the end the console must be clean."""
    context = browser.new_context(viewport=size, device_scale_factor=1.25, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert complaints == []


def open_chart(page: Page, woman: str) -> None:
    page.locator(f"[data-woman={woman}]").click()
    answered(page, "When the chart was opened")


def order(page: Page, name: str) -> None:
    button = page.locator(f"[data-order={name}]")
    button.click()
    answered(page, button.locator(".what").inner_text())


def answered(page: Page, why: str) -> None:
    expect(page.locator("#moment")).to_contain_text(why)
    expect(page.locator("#cards")).not_to_have_attribute("aria-busy", "true")


def topics(page: Page) -> list[str | None]:
    return [card.get_attribute("data-topic") for card in page.locator(".card").all()]


def card_about(page: Page, topic: str) -> Locator:
    return page.locator(f".card[data-topic={topic}]")


def drafts(page: Page) -> Locator:
    return page.locator("#drafts li")


# --- the story


def test_she_orders_a_caesarean_and_reads_the_card(page: Page) -> None:
    expect(page.get_by_role("note")).to_have_text("Demonstration. Synthetic patients. Not for clinical use.")
    open_chart(page, "bruna")
    expect(page.get_by_role("heading", name="Bruna Specimen")).to_be_focused()
    order(page, "caesarean")
    expect(page.get_by_role("heading", name="Advice")).to_be_focused()
    card = card_about(page, "KETOPTION")
    expect(card.locator(".indicator")).to_have_text("Information")
    expect(card.locator("h3")).to_contain_text("EPDS 12")
    expect(card.locator(".detail")).to_contain_text(re.compile(r"0\.2 mg/kg.*72\.4 kg.*14\.48.*14\.0 mg"))
    expect(card.locator(".detail")).to_contain_text("2.8 mL")
    expect(card.locator(".source")).to_contain_text("Demonstration hospital")
    expect(page.get_by_role("status")).to_contain_text("2 cards. Information:")
    if SCREENSHOTS:
        keep_a_picture(page, Path(SCREENSHOTS))


def keep_a_picture(page: Page, folder: Path) -> None:
    """The README's picture: the woman, the order and the top of her card."""
    folder.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size(README_PICTURE)
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.wait_for_timeout(300)  # the card slides in
    page.screenshot(path=folder / "card.png")


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
    drafts(page).nth(1).get_by_role("button").click()
    expect(drafts(page)).to_have_count(1)
    expect(page.get_by_role("button", name=f"Accept: {label}")).to_have_attribute("aria-disabled", "false")


def test_no_suggestion_is_ticked_beforehand(page: Page) -> None:
    open_chart(page, "alma")
    order(page, "vaginal-delivery")
    expect(page.locator(".badge")).to_have_count(0)
    expect(page.locator(".accept[aria-disabled=true]")).to_have_count(0)


def test_she_dismisses_a_card_with_a_reason_and_brings_it_back(page: Page) -> None:
    open_chart(page, "bruna")
    order(page, "caesarean")
    card = card_about(page, "KETOPTION")
    card.get_by_text("Dismiss with a reason").click()
    reasons = card.locator("[data-reason]")
    assert reasons.count() >= 5
    card.locator("[data-reason=patient-refuses]").click()
    expect(card).to_have_count(0)
    expect(page.locator(".dismissed")).to_contain_text("Dismissed")
    page.get_by_role("button", name="Show again").click()
    expect(card).to_be_visible()


def test_a_drafted_medicine_goes_along_with_the_next_order(page: Page) -> None:
    open_chart(page, "chiara")
    order(page, "esketamine")
    assert topics(page)[0] == "KETCONTRA"
    expect(card_about(page, "KETCONTRA").locator(".indicator")).to_have_text("Critical")
    order(page, "caesarean")
    expect(drafts(page)).to_have_count(2)
    page.get_by_text("What went over the wire").click()
    expect(page.locator("#wire-request")).to_contain_text("draft-esketamine")
    expect(page.locator("#wire-line")).to_contain_text("POST /cds-services/ppd-delivery-order: 200")


def test_a_suggestion_to_remove_a_draft_removes_it(page: Page) -> None:
    open_chart(page, "chiara")
    order(page, "esketamine")
    expect(drafts(page)).to_have_count(1)
    page.get_by_role("button", name=re.compile("^Accept: Remove")).click()
    expect(drafts(page)).to_have_count(0)


def test_a_service_that_does_not_answer_is_not_shown_as_silence(page: Page, complaints: list[str]) -> None:
    open_chart(page, "bruna")
    page.route("**/cds-services/*", lambda route: route.abort())
    page.locator("[data-order=caesarean]").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    expect(page.locator(".silence")).to_have_count(0)
    complaints.clear()  # the browser, too, reports the call that failed


def test_a_refused_call_shows_why(page: Page, complaints: list[str]) -> None:
    open_chart(page, "bruna")
    page.route("**/cds-services/*", lambda route: route.continue_(post_data='{"hook": "order-select"}'))
    page.locator("[data-order=caesarean]").click()
    expect(page.get_by_role("alert")).to_contain_text("The service refused the call (400).")
    complaints.clear()


@pytest.mark.parametrize("woman", SHOWS)
def test_each_woman_shows_what_she_is_here_to_show(page: Page, woman: str) -> None:
    on_opening, name, on_ordering = SHOWS[woman]
    open_chart(page, woman)
    assert topics(page) == on_opening
    order(page, name)
    assert topics(page) == on_ordering
    if not on_ordering:
        expect(page.locator(".silence")).to_contain_text("No cards.")


# --- without a mouse, on a phone, in the dark


def test_a_keyboard_is_enough(page: Page) -> None:
    def press_until(name: str, key: str = "Tab") -> None:
        for _ in range(80):
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
    press_until("Dismiss with a reason")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".dismissed")).to_have_count(1)
    expect(page.get_by_role("button", name="Show again")).to_be_focused()


@pytest.mark.parametrize("woman", ["bruna", "greta"])
def test_a_phone_never_scrolls_sideways(phone: Page, woman: str) -> None:
    def fits() -> bool:
        return bool(phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    assert fits()
    open_chart(phone, woman)
    phone.get_by_text("Chart summary").click()
    assert fits()
    order(phone, "caesarean")
    for fold in phone.get_by_text("Dismiss with a reason").all():
        fold.click()
    phone.get_by_text("What went over the wire").click()
    assert fits()
    phone.get_by_role("link", name="All patients").click()
    expect(phone.locator("[data-woman=alma]")).to_be_visible()


CONTRAST = """
() => {
  const channel = (of255) => {
    const value = of255 / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest(".unseen, .skip, .tape")) continue;
    const both = [numbers(getComputedStyle(element).color), behind(element)].map(light);
    const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent.trim().slice(0, 40)}`);
  }
  return faint;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("woman", ["bruna", "chiara", "greta"])
def test_every_word_stands_out_from_what_is_behind_it(page: Page, scheme: Any, woman: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    assert page.evaluate(CONTRAST) == []
    open_chart(page, woman)
    order(page, "esketamine")
    card = page.locator(".card").first
    card.get_by_text("Dismiss with a reason").click()
    card.locator(".accept").first.click()
    assert page.evaluate(CONTRAST) == []
