"""The specification as it is served, and the page that shows it to a person."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from cds_service.web.api_page import Document, Kind, specification

SPEC = Path(__file__).parents[2] / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
STYLE = Path(__file__).parents[2] / "cds_service/web/static/api.css"


@pytest.fixture
def page(client: FlaskClient) -> str:
    answer = client.get("/docs")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    return answer.get_data(as_text=True)


# --- the specification


@pytest.mark.parametrize("path", ["/openapi.yaml", "/openapi.yaml/"])
def test_the_specification_is_served_as_it_is_written(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (200, "application/yaml")
    assert answer.get_data() == SPEC.read_bytes()


def test_it_is_found_in_a_checkout_and_in_a_wheel(tmp_path: Path) -> None:
    package = tmp_path / "cds_service"
    package.mkdir()
    assert specification(package) == tmp_path / "openapi.yaml"
    (package / "openapi.yaml").touch()
    assert specification(package) == package / "openapi.yaml"
    assert specification() == SPEC


# --- the page


@pytest.mark.conforms("O-2")
def test_the_page_shows_every_operation_status_and_example(page: str) -> None:
    for path, item in DOCUMENT["paths"].items():
        for operation in (held for method, held in item.items() if method in {"get", "post"}):
            article = page.partition(f'<article id="{operation["operationId"]}">')[2].partition("</article>")[0]
            assert f"<code>{path}</code>" in article
            assert operation["summary"] in article
            assert re.findall(r'class="status s\d">(\d+)<', article) == list(operation["responses"])
            assert all(f"<dt><code>{parameter['name']}</code>" in article for parameter in item.get("parameters", ()))
    held = [node["examples"] for node in everything_in(DOCUMENT) if "schema" in node and "examples" in node]
    assert len(held) >= 15
    for examples in held:
        for example in examples.values():
            words = Document(DOCUMENT).resolved(example)["summary"].replace("'", "&#39;")
            assert f"<summary>Example: {words}</summary>" in page


def test_no_sign_of_markdown_is_left_on_the_page(page: str) -> None:
    assert "`" in str(DOCUMENT["components"]["securitySchemes"])
    assert "`" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)


def test_the_page_shows_every_member_of_every_schema(page: str) -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        article = page.partition(f'<article id="{name}">')[2].partition("</article>")[0]
        assert article
        for member in schema.get("properties", {}):
            needed = ' <span class="required">required</span>' * (member in schema.get("required", ()))
            assert f'<th scope="row"><code>{member}</code>{needed}</th>' in article


def everything_in(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from everything_in(inner)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, Kind("string")),
        ({"type": ["object", "null"]}, Kind("object or null")),
        ({"const": "2.0"}, Kind(values=("2.0",))),
        ({"type": "boolean", "const": True}, Kind(values=("true",))),
        ({"enum": ["info", "warning"]}, Kind(values=("info", "warning"))),
        ({"$ref": "#/components/schemas/Card", "description": "One"}, Kind("Card", "Card")),
        ({"type": "array", "items": {"type": "string"}}, Kind("list of ", of=(Kind("string"),))),
        ({"oneOf": [{"type": "null"}, {"const": 1}]}, Kind(of=(Kind("null"), Kind(values=("1",))))),
        ({}, Kind("any value")),
    ],
)
def test_a_schema_is_said_in_words(schema: dict[str, Any], kind: Kind) -> None:
    assert Document(DOCUMENT).kind(schema) == kind


def test_limits_are_said_in_words() -> None:
    limits = Document(DOCUMENT).limits
    assert limits({"minLength": 1, "maxLength": 16384}) == ["not empty", "at most 16,384 characters"]
    assert limits({"minLength": 2, "minimum": 0}) == ["at least 2 characters", "0 or more"]
    assert limits({"type": "string"}) == []


def test_every_link_within_the_page_leads_somewhere(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert len(links) > 20
    assert links <= set(ids)


def test_the_page_needs_no_script_and_may_run_none(client: FlaskClient, page: str) -> None:
    policy = client.get("/docs").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "script-src" not in policy
    assert not re.search(r"<script|style=|onclick|https?://[^<\s]*\.(?:js|css)", page)


def test_its_style_sheet_is_there(client: FlaskClient, page: str) -> None:
    paths = re.findall(r'(?:href|src)="(/docs/static/[^"]+)"', page)
    assert len(paths) == 2
    for path in paths:
        with client.get(path) as answer:
            assert answer.status_code == 200


# --- for every eye and every width


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_counted_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the grey that just fails


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out(scheme: str) -> None:
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in roots())
    colours = light if scheme == "light" else {**light, **dark}
    assert len(colours) == 11
    for ground in ("paper", "sheet", "inset"):
        for words in ("ink", "soft", "accent", "good", "bad", "worst"):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)
    assert contrast(colours["accent-ink"], colours["accent"]) >= 4.5


def roots() -> list[str]:
    """The colours by day, and those that differ by night."""
    found = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 2
    return found


CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SERVICE = """
from datetime import UTC, datetime
from cds_service.advisor import Advisor
from cds_service.knowledge import load_knowledge
from cds_service.rendering.wording import load_wording
from cds_service.settings import DEFAULT_SITE
from cds_service.web.app import create_app
from cds_service.web.server import serve

advisor = Advisor(load_knowledge(), load_wording(), DEFAULT_SITE, lambda: datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
serve(create_app(advisor), "127.0.0.1", 0, announce="{url}/docs")
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a running service shows the page."""
    server = subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("http://"), "the service did not start"
        yield url
    finally:
        server.terminate()
        server.communicate(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"left out: no browser at {CHROMIUM} (set CHROMIUM)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.mark.parametrize("width", [320, 390, 760, 761, 1280])
def test_it_fits_the_screen_and_the_browser_has_nothing_against_it(browser: Browser, address: str, width: int) -> None:
    context = browser.new_context(viewport=ViewportSize(width=width, height=844))
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 400 else None)
    page.goto(address)
    for details in page.locator("details > summary").all():
        details.click()
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    context.close()


def test_the_keyboard_goes_everywhere(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the operations"
    assert (skip.bounding_box() or {"x": -1})["x"] >= 0
    skip.press("Enter")
    page.keyboard.press("Tab")  # from the operations on, not from the list of contents
    assert page.locator("main :focus").count() == 1
    example = page.locator("#callService summary").first
    example.focus()
    example.press("Enter")
    assert page.locator("#callService details[open] pre").inner_text().startswith("{")
    context.close()
