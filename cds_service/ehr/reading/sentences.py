"""What the words around a name say of it: that it is denied, that it is past, or that it is somebody else's."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final

from cds_service.knowledge.shapes import ConditionTable


class Sense(Enum):
    """`PAST_OR_NOW`: she has it or had it, and nobody can tell which. `UNCLEAR`: nor whether she ever had it."""

    PLAIN = "plain"
    PAST = "past"
    PAST_OR_NOW = "past or now"
    UNCLEAR = "unclear"
    NEGATED = "negated"


# Words that speak of somebody else's disorders, in a text or in a category.
FAMILY: Final = re.compile(r"(?<!\w)(?:family[\s_-]+(?:(?:medical|health)[\s_-]+)?history|famhx|fhx?)(?!\w)")
# Where another statement begins: a denial, a past or a family does not reach over it.
_CLAUSE: Final = re.compile(r"[.;]\s|,\s+(?=now\b|currently\b|but\b)|\bbut\b")
# Where another statement may begin. "No oedema, pre-eclampsia" affirms what "no stroke, pre-eclampsia" denies. A hyphen
# within a word is none of these.
_MARKS: Final = r"[,()\[\]{}/+&|;:=>\u2013\u2014\u2022\u3001\u3002\uff0c\uff1b]|(?<!\w)-|-(?!\w)"
_AFTER_A_PAST: Final = re.compile(rf"{_MARKS}|\b(?:and|now|currently)\b")
# "Previous pregnancy with pre-eclampsia" is past; "no prenatal care with pre-eclampsia" denies none.
_AFTER_A_DENIAL: Final = re.compile(rf"{_MARKS}|\b(?:and|now|currently|with)\b")


def sense(before: str, table: ConditionTable) -> Sense:
    """How a name is meant, by the lower-case text before it."""
    negated, past = _patterns(table.negations, table.past_words)
    clause = _CLAUSE.split(before)[-1]
    reach = " ".join(clause.split()[-table.negation_reach :])
    if denials := list(negated.finditer(reach)):
        return Sense.UNCLEAR if _breaks(_AFTER_A_DENIAL, reach, denials[-1]) else Sense.NEGATED
    if FAMILY.search(clause):
        return Sense.UNCLEAR  # further on in a family history it may be hers or theirs
    if pasts := list(past.finditer(reach)):
        return Sense.PAST_OR_NOW if _breaks(_AFTER_A_PAST, reach, pasts[-1]) else Sense.PAST
    return Sense.PLAIN


def _breaks(where: re.Pattern[str], reach: str, word: re.Match[str]) -> bool:
    """May another statement begin behind this word? A colon right behind it belongs to it: "FH: stroke"."""
    return where.search(reach[word.end() :].removeprefix(":")) is not None


def is_denied(before: str, table: ConditionTable) -> bool:
    """Do the words right before a name deny it, without a break between them?"""
    segment = _AFTER_A_DENIAL.split(_CLAUSE.split(before)[-1])[-1]
    negated, _ = _patterns(table.negations, table.past_words)
    return negated.search(" ".join(segment.split()[-table.negation_reach :])) is not None


def begins_with_a_denial(text: str, table: ConditionTable) -> bool:
    """Does a text begin by denying something?"""
    return _patterns(table.negations, table.past_words)[0].match(text.strip().lower()) is not None


@lru_cache(maxsize=4)
def _patterns(negations: tuple[str, ...], past: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    # "no." is a number ("pregnancy no. 2 with pre-eclampsia"), not a denial.
    def any_word(words: tuple[str, ...]) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?![\w.])")

    return any_word(negations), any_word(past)
