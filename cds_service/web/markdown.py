"""Markdown as HTML that can do nothing: for pages of ours, and to show a card as an EHR would."""

from __future__ import annotations

from typing import Final

import nh3
from markdown_it import MarkdownIt

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")
_TAGS: Final = {
    *("a", "blockquote", "br", "code", "em", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong", "ul"),
    *("table", "tbody", "td", "th", "thead", "tr"),
}


def as_html(markdown: str) -> str:
    """Markdown as HTML that can do nothing: no raw HTML, no image, no script, no link but https."""
    tokens = _MARKDOWN.parse(markdown)
    for token in tokens:
        if token.tag in {"h1", "h2", "h3"}:  # the card's own heading is an h3
            token.tag = f"h{int(token.tag[1]) + 3}"
    html: str = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"https"},
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
