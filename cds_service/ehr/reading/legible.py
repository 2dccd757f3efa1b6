"""Can anybody here tell what an entry is about? What cannot be read may be anything, and is never nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cds_service.ehr.elements import codings, texts
from cds_service.knowledge.terminology import Terminology

# Latin letters end here: every word that the tables look for in a sentence is written with them.
_AFTER_LATIN: Final = "\u0250"


def has_known_code(concept: object, terms: Terminology) -> bool:
    """A code of a system that we know, and that says more than that nobody knows."""
    return any(terms.is_known(coding) for coding in codings(concept))


def has_words(concept: object, terms: Terminology) -> bool:
    """
    Words that can be read, and that say more than that nobody knows.

    A code that says that nobody knows speaks for the words beside it, in whatever language they are.
    """
    if any(terms.is_untold(coding) for coding in codings(concept)):
        return False
    return any(_is_latin(text) and not terms.is_all_of(text, "allergies", "says_nothing") for text in words(concept))


def words(concept: object) -> Iterator[str]:
    """The words of a CodeableConcept that are more than blanks and signs."""
    return (text for text in texts(concept) if any(sign.isalpha() for sign in text))


def _is_latin(text: str) -> bool:
    """Written with Latin letters, for the most part."""
    letters = [sign for sign in text if sign.isalpha()]
    return 2 * sum(sign < _AFTER_LATIN for sign in letters) > len(letters)
