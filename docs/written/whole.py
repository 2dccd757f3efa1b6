"""Two pages of the site show a file from the top of the project: what is guarded against, and what has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
WHOLE: Final = {"explanation/security.md": "SECURITY.md", "explanation/changes.md": "CHANGELOG.md"}


def on_page_markdown(markdown: str, page: Any, **_more: Any) -> str:
    """MkDocs asks for each page: the file in its place, with its links as the site has them."""
    name = WHOLE.get(page.file.src_uri)
    if name is None:
        return markdown
    text = (ROOT / name).read_text(encoding="utf-8")
    for uri, file in WHOLE.items():
        text = text.replace(f"]({file}", f"]({uri.rpartition('/')[2]}")
    return text.replace("](docs/", "](../")
