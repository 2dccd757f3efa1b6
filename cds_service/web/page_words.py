"""
The words of the demonstration's page, in the language of the site.

The English stands in the templates themselves. Another language is a file in `words/`, with what stands for each
English text; no clinician has reviewed one. What a file lacks is shown in English, and a test finds it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from markupsafe import Markup, escape

from cds_service.settings import DEFAULT_LANGUAGE


@dataclass(frozen=True, slots=True)
class PageWords:
    """What is said on the page, by the English. `language` is the one in which the page really speaks."""

    language: str = DEFAULT_LANGUAGE
    instead: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, language: str) -> PageWords:
        """The words of that language; the English ones where there are none."""
        file = files("cds_service.web") / "words" / f"{language}.toml"
        return cls(language, tomllib.loads(file.read_text("utf-8"))) if file.is_file() else cls()

    def say(self, english: str, **parts: str) -> Markup:
        """These words, as HTML, with the parts in their places. A place without a part stays for the page's script."""
        words = escape(self.instead.get(english, english))
        return words.format(**parts) if parts else words
