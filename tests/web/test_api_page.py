"""The specification as it is served, and the page that shows it to a person."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient

SPEC = Path(__file__).parents[2] / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(SPEC.read_text(encoding="utf-8"))


@pytest.fixture
def page(client: FlaskClient) -> str:
    answer = client.get("/docs")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    return answer.get_data(as_text=True)


@pytest.mark.parametrize("path", ["/openapi.yaml", "/openapi.yaml/"])
def test_the_specification_is_served_as_it_is_written(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (200, "application/yaml")
    assert answer.get_data() == SPEC.read_bytes()


@pytest.mark.conforms("O-2")
def test_the_page_shows_every_operation_status_and_schema(page: str) -> None:
    for path, item in DOCUMENT["paths"].items():
        assert path in page
        for operation in (held for method, held in item.items() if method in {"get", "post"}):
            article = page.partition(f'<article id="{operation["operationId"]}">')[2].partition("</article>")[0]
            assert operation["summary"] in article
            assert re.findall(r'class="status s\d">(\d+)<', article) == list(operation["responses"])
    for name, schema in DOCUMENT["components"]["schemas"].items():
        article = page.partition(f'<article id="{name}">')[2].partition("</article>")[0]
        assert article
        for member in schema.get("properties", {}):
            assert f"<code>{member}</code>" in article


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
    for path in re.findall(r'(?:href|src)="(/docs/static/[^"]+)"', page):
        with client.get(path) as answer:
            assert answer.status_code == 200
