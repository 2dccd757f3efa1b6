"""A member of the committee opens the numbers in a real browser, without a script, on a desk and on a phone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from insights_history import NOW, write
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from werkzeug.serving import make_server

from cds_service.advisor import Advisor
from cds_service.records import Records
from cds_service.settings import Readers
from cds_service.web.app import create_app

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
IN_CI = os.environ.get("CI") == "true"
PATIENCE_MS = 20_000
TOKEN = "a-token-for-the-numbers"  # noqa: S105  (of this test alone)
DESK, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=375, height=812)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

if not CHROMIUM.exists() and not IN_CI:
    pytest.skip(f"left out: no browser at {CHROMIUM} (set CHROMIUM)", allow_module_level=True)


def clock() -> datetime:
    return NOW


@pytest.fixture(scope="module")
def address(advisor: Advisor) -> Iterator[str]:
    """Where a service with a history listens, of which the token opens the numbers."""
    records = Records.in_memory()
    write(records)
    known = Advisor(advisor.knowledge, advisor.wording, advisor.site, clock)
    server = make_server("127.0.0.1", 0, create_app(known, records=records, readers=Readers(TOKEN)), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/insights"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


def sign_in(page: Page, token: str) -> None:
    page.get_by_label("Operator's token").fill(token)
    page.get_by_role("button", name="Open").click()


def test_the_whole_way_without_a_script_and_with_the_keyboard(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport=DESK, java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    sign_in(page, "another-token-than-that")
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    sign_in(page, TOKEN)
    expect(page.get_by_role("heading", level=1)).to_have_text("How the advice fares")
    expect(page.get_by_role("heading", name="By tenant")).to_be_visible()

    page.get_by_label("Tenant", exact=True).select_option("north")
    page.get_by_label("Weeks", exact=True).press("Tab")
    page.get_by_role("button", name="Show").press("Enter")
    expect(page).to_have_url(f"{address}?tenant=north&weeks=26")
    expect(page.get_by_role("heading", name="By tenant")).to_have_count(0)
    page.get_by_text("The weeks as a table").press("Enter")
    expect(page.get_by_role("table", name="Cards shown by week")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert download.value.suggested_filename == "insights.csv"

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Operator's token")).to_be_visible()
    context.close()


FAULTS = """
async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations.flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.failureSummary}: ${node.html}`));
}
"""


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone in the dark"])
def test_axe_finds_nothing_and_nothing_sticks_out(
    browser: Browser, address: str, axe: str, size: ViewportSize, scheme: str
) -> None:
    context = browser.new_context(viewport=size, color_scheme="dark" if scheme == "dark" else "light")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.goto(address)
    page.evaluate(axe)
    assert page.evaluate(FAULTS) == []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    sign_in(page, TOKEN)
    for place in (address, f"{address}?tenant=north"):
        page.goto(place)
        page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        page.evaluate(axe)
        assert page.evaluate(FAULTS) == []
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
    context.close()
    assert complaints == []
