"""The documentation as a site: each link leads somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does. A link or an anchor that leads nowhere stops it; with --quiet it would not."""
    folder = tmp_path_factory.mktemp("site")
    done = _built(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _built(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=project,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_links_that_lead_nowhere_stop_the_build_and_each_is_named(tmp_path: Path) -> None:
    links = ("nowhere.md", "index.md#nowhere", "/absolute.md")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("\n\n".join(["# Start", *(f"[There]({link})" for link in links)]))
    settings = yaml.safe_dump({"INHERIT": str(ROOT / "mkdocs.yml"), "nav": ["index.md"], "hooks": [], "extra_css": []})
    (tmp_path / "mkdocs.yml").write_text(settings)

    done = _built(tmp_path, tmp_path / "site")

    assert done.returncode == 1
    assert [link for link in links if f"'{link}'" not in done.stderr] == []


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    fetched = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=[\"']?(https?:)?//", re.IGNORECASE)
    styles = re.compile(r"url\([\"']?https?:|@import\s+[\"']https?:")

    assert len(pages) > 30
    assert [page.name for page in pages if fetched.search(page.read_text(encoding="utf-8"))] == []
    assert [style.name for style in site.rglob("*.css") if styles.search(style.read_text(encoding="utf-8"))] == []


def test_every_page_can_be_reached_from_the_first(site: Path) -> None:
    first = (site / "index.html").read_text(encoding="utf-8")
    written = {
        path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")
    }

    assert {page for page in written if f'href="{page}"' not in first and page != "index.html"} == set()


def test_the_papers_of_the_project_are_shown_whole(site: Path) -> None:
    assert "What it does not protect against" in (site / "explanation" / "security.html").read_text(encoding="utf-8")
    assert "For clinicians" in (site / "explanation" / "changes.html").read_text(encoding="utf-8")
