"""How a page is laid out: Markdown tables, and the note that says where a page comes from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

WORDS_FILE: Final = Path(__file__).parent / "words.toml"
WORDS: Final[Mapping[str, Any]] = tomllib.loads(WORDS_FILE.read_text(encoding="utf-8"))


class Wordless(Exception):
    """The code knows something that `words.toml` has no words for, or the other way round."""


def page(title: str, begin: str, *parts: str) -> str:
    """A whole page. Nobody should change it by hand, and it says so."""
    note = "<!-- Written by docs/written from the code. Do not change it here: run `make docs`. -->"
    return "\n\n".join([note, f"# {title}", begin, *parts]) + "\n"


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table. A bar inside a cell would end it, so it is escaped."""
    heads = tuple(heads)
    lines = [_line(heads), _line("---" for _ in heads), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def code(text: object) -> str:
    """As it is typed or printed."""
    return f"`{text}`"


def codes(texts: Iterable[object]) -> str:
    """Several of them, with commas between."""
    return ", ".join(code(text) for text in texts)


def words_for(part: str, names: Iterable[str]) -> Mapping[str, Any]:
    """What `words.toml` says of each of these names. Raises Wordless unless it knows these, and no others."""
    known, asked = set(WORDS[part]), set(names)
    if missing := sorted(asked - known):
        raise Wordless(f"docs/written/words.toml: [{part}] says nothing about {', '.join(missing)}")
    if left := sorted(known - asked):
        raise Wordless(f"docs/written/words.toml: [{part}] speaks of {', '.join(left)}, which the code does not know")
    return WORDS[part]  # type: ignore[no-any-return]
