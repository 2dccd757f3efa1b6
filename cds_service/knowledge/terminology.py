"""Which clinical ideas a code, or a word where there is no code, stands for."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cds_service.knowledge.shapes import Concept, Expansion
from cds_service.settings import LocalMeaning

# The URIs under which EHRs send the same code system: the official one, and the urn:oid form that Epic sends
# (its CDS Hooks tutorial). WHO ICD-10 and the national ones are read as ICD-10-CM: the categories that our criteria
# name agree, and hospitals outside the US send nothing else.
SYSTEMS: Final[Mapping[str, str]] = {
    "http://loinc.org": "loinc",
    "urn:oid:2.16.840.1.113883.6.1": "loinc",
    "http://snomed.info/sct": "snomed",
    "urn:oid:2.16.840.1.113883.6.96": "snomed",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "rxnorm",
    "urn:oid:2.16.840.1.113883.6.88": "rxnorm",
    "http://hl7.org/fhir/sid/icd-10-cm": "icd10cm",
    "urn:oid:2.16.840.1.113883.6.90": "icd10cm",
    "http://hl7.org/fhir/sid/icd-10": "icd10cm",
    "urn:oid:2.16.840.1.113883.6.3": "icd10cm",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "icd10cm",
    "http://fhir.de/CodeSystem/dimdi/icd-10-gm": "icd10cm",
    "http://hl7.org/fhir/sid/icd-10-de": "icd10cm",
    "urn:oid:2.16.156.10011.2.3.3.11.5": "icd10cm",
    "http://www.cms.gov/Medicare/Coding/ICD10": "icd10pcs",
    "http://hl7.org/fhir/sid/icd-10-pcs": "icd10pcs",
    "urn:oid:2.16.840.1.113883.6.4": "icd10pcs",
    "http://www.whocc.no/atc": "atc",
    "urn:oid:2.16.840.1.113883.6.73": "atc",
    "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips": "hl7",
    "urn:oid:2.16.840.1.113883.5.1150.1": "hl7",
}
_HL7: Final = "http://terminology.hl7.org/CodeSystem/"
# The German and the Chinese ICD-10 cut the categories of WHO's finer: I67.10 of the one and I67.100 of the other are
# I67.1. What stands above a code of theirs, they mean, too.
_FINER: Final = frozenset({
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm",
    "http://fhir.de/CodeSystem/dimdi/icd-10-gm",
    "http://hl7.org/fhir/sid/icd-10-de",
    "urn:oid:2.16.156.10011.2.3.3.11.5",
})  # fmt: skip
_CATEGORY: Final = 4  # signs of a category of WHO's, its dot left out
# Code systems that hold nothing but reasons why a thing is not told, as the editions of FHIR name them.
_UNTOLD: Final = frozenset({
    _HL7 + "data-absent-reason",
    _HL7 + "v3-NullFlavor",
    "http://hl7.org/fhir/data-absent-reason",
    "http://hl7.org/fhir/v3/NullFlavor",
    "urn:oid:2.16.840.1.113883.5.1008",
})  # fmt: skip
# ... but for those that say that it is told, only not by a code.
_TOLD_IN_WORDS: Final = frozenset({"as-text", "astext", "OTH", "UNC"})
_SAYS_NOTHING: Final = "says_nothing"
# Exact columns of a concept, and the code system they belong to.
EXACT: Final = {
    "loinc": "loinc",
    "snomed": "snomed",
    "icd10cm": "icd10cm",
    "icd10pcs": "icd10pcs",
    "rxnorm": "rxnorm",
    "atc": "atc",
    "hl7": "hl7",
}
BELOW: Final = {"icd10cm_below": "icd10cm", "poisoning_below": "icd10cm", "injury_below": "icd10cm", "atc_below": "atc"}
_NOTHING: Final[frozenset[str]] = frozenset()
_LONGEST_TEXT: Final = 400


def system_of(uri: object) -> str | None:
    """Our short name for a code system's URI, or None."""
    if not isinstance(uri, str):
        return None
    known = SYSTEMS.get(uri) or SYSTEMS.get(uri.rstrip("/"))
    if known is None and uri.startswith(_HL7):
        return "hl7"
    return known


@dataclass(frozen=True, slots=True)
class Meaning:
    """The concepts that an entry stands for: those it says, and those it only hints at."""

    says: frozenset[str]
    hints: frozenset[str]


MEANINGLESS: Final = Meaning(_NOTHING, _NOTHING)


class Terminology:
    """Every concept, indexed once at start. Look-ups are pure, and remembered."""

    def __init__(self, concepts: Mapping[str, Iterable[Concept]], expansions: Iterable[Expansion] = ()) -> None:
        """`concepts` by domain (the file they stand in): medicines, conditions, orders and so on."""
        self._exact: dict[tuple[str, str], set[str]] = {}
        self._below: dict[str, dict[str, set[tuple[str, str]]]] = {"icd10cm": {}, "atc": {}}
        self._doubtful: set[tuple[str, str]] = set()
        self._without: dict[str, frozenset[str]] = {}
        self._words: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
        self._explains: dict[str, frozenset[str]] = {}
        self._local: dict[tuple[str, str], frozenset[str]] = {}
        self.tokens: dict[str, tuple[str, ...]] = {}
        expanded: dict[str, list[tuple[str, str]]] = {}
        for expansion in expansions:
            expanded.setdefault(expansion.oid, []).extend(
                (expansion.system, as_compared(expansion.system, code)) for code in expansion.codes
            )
        for domain, members in concepts.items():
            for concept in members:
                self._index(domain, concept, expanded)
        for members in concepts.values():
            for concept in members:
                named = (self._meaning_of_text(domain, word) for word in concept.words for domain in self._words)
                self._explains[concept.name] = frozenset(name for found in named for name, _, _ in found)
        self._remember()

    def _remember(self) -> None:
        self.meaning_of_code = lru_cache(maxsize=20_000)(self._meaning_of_code)
        self._meaning_of_codings = lru_cache(maxsize=20_000)(self._together)
        self.meaning_of_text = lru_cache(maxsize=20_000)(self._meaning_of_text)

    def with_local(self, rows: Iterable[LocalMeaning], domains: Mapping[str, Iterable[str]]) -> Terminology:
        """
        The same, and a site's own codes and words besides. What stands here already keeps its meaning.

        `domains` holds the names of the concepts by domain: words are looked for in the domain of what they mean.
        """
        wider = copy.copy(self)
        wider._local, wider.tokens = dict(self._local), dict(self.tokens)
        wider._words = {domain: list(rows) for domain, rows in self._words.items()}
        for row in rows:
            for code in row.codes:
                key = (str(row.system), code)
                wider._local[key] = wider._local.get(key, _NOTHING) | set(row.means)
            for name in row.means:
                wider.tokens[name] = (*wider.tokens.get(name, ()), *(f"{row.system}|{code}" for code in row.codes))
                for domain in (domain for domain, names in domains.items() if row.words and name in names):
                    wider._words.setdefault(domain, []).append((name, _pattern(row.words)))
        wider._remember()
        return wider

    def _index(self, domain: str, concept: Concept, expanded: Mapping[str, list[tuple[str, str]]]) -> None:
        name = concept.name
        for column, system in EXACT.items():
            for code in getattr(concept, column):
                self._exact.setdefault((system, as_compared(system, code)), set()).add(name)
        for column, system in BELOW.items():
            for code in getattr(concept, column):
                self._below[system].setdefault(as_compared(system, code), set()).add((name, column))
        for oid in concept.expansions:
            for key in expanded.get(oid, ()):
                self._exact.setdefault(key, set()).add(name)
        for code in concept.doubtful:
            self._doubtful.add((name, code.replace(".", "")))
        if concept.without:
            self._without[name] = frozenset(concept.without)
        if concept.words:
            self._words.setdefault(domain, []).append((name, _pattern(concept.words)))
        self.tokens[name] = (
            *(f"http://loinc.org|{code}" for code in concept.loinc if not code.startswith("LA")),
            *(f"http://snomed.info/sct|{code}" for code in concept.snomed),
        )

    def _meaning_of_code(self, system: str, code: str) -> Meaning:
        """What one code stands for. `system` is one of our short names."""
        plain = as_compared(system, code)
        found = set(self._exact.get((system, plain), _NOTHING))
        below = self._below.get(system)
        matched = dict.fromkeys(found, plain)
        if below:
            for length in range(1, len(plain) + 1):
                for name, column in below.get(plain[:length], ()):
                    if _excluded(column, plain):
                        continue
                    found.add(name)
                    matched.setdefault(name, plain[:length])
        found -= {name for name in found if self._without.get(name, _NOTHING) & found}
        hints = frozenset(name for name in found if (name, matched[name]) in self._doubtful)
        return Meaning(frozenset(found) - hints, hints)

    def _meaning_of_text(self, domain: str, text: str) -> tuple[tuple[str, int, str], ...]:
        """
        The concepts that words in a text name: (concept, position, lower-case text). Compared without case.

        A concept comes once for each place where it is named: what is denied here may be affirmed there.
        """
        lowered = _lowered(text)
        found: dict[str, set[int]] = {}
        for name, pattern in self._words.get(domain, ()):
            for match in pattern.finditer(lowered):
                found.setdefault(name, set()).add(match.start())
        dropped = {name for name in found if self._without.get(name, _NOTHING) & set(found)}
        return tuple(
            (name, at, lowered) for name, places in found.items() if name not in dropped for at in sorted(places)
        )

    def is_all_of(self, text: str, domain: str, name: str) -> bool:
        """Are the words of this concept all that the text says?"""
        bare = _lowered(text).strip(" .,:;!?-")
        return any(name == named and pattern.fullmatch(bare) for named, pattern in self._words.get(domain, ()))

    def explained_by(self, concepts: Iterable[str]) -> frozenset[str]:
        """The concepts and all that their own words name, too, as "pulmonary hypertension" names hypertension."""
        return frozenset().union(*({name} | self._explains.get(name, _NOTHING) for name in concepts))

    def is_known(self, coding: Any) -> bool:
        """Is a FHIR Coding a code of a system that we know, or one of the site's own, and of a thing?"""
        if not isinstance(coding, dict):
            return False
        system, code = coding.get("system"), coding.get("code")
        if not isinstance(system, str) or not isinstance(code, str) or not code.strip():
            return False
        if system.rstrip("/") in _UNTOLD:
            return False
        return (system_of(system) is not None or (system, code) in self._local) and not self.is_untold(coding)

    def is_untold(self, coding: Any) -> bool:
        """Does a FHIR Coding say no more than that nobody knows, nobody asked, or that it is withheld?"""
        if not isinstance(coding, dict):
            return False
        system, code = coding.get("system"), coding.get("code")
        if isinstance(system, str) and system.rstrip("/") in _UNTOLD:
            return code not in _TOLD_IN_WORDS
        return _SAYS_NOTHING in self.codings_of([coding]).says

    def codings_of(self, codings: Iterable[Any]) -> Meaning:
        """What a list of FHIR Codings stands for, taken together. Odd members are passed over."""
        pairs: list[tuple[str, str]] = []
        for coding in codings:
            if isinstance(coding, dict):
                system, code = coding.get("system"), coding.get("code")
                if isinstance(system, str) and isinstance(code, str):
                    pairs.append((system, code))
        return self._meaning_of_codings(tuple(pairs)) if pairs else MEANINGLESS

    def _together(self, pairs: tuple[tuple[str, str], ...]) -> Meaning:
        says: set[str] = set()
        hints: set[str] = set()
        for uri, code in pairs:
            system = system_of(uri)
            if system is not None:
                for one in _as_filed(uri, system, code):
                    meaning = self.meaning_of_code(system, one)
                    says |= meaning.says
                    hints |= meaning.hints
            says |= self._local.get((uri, code), _NOTHING)
        return Meaning(frozenset(says), frozenset(hints - says)) if says or hints else MEANINGLESS


# A sign that a word does not end at. Chinese and Japanese set no blanks between words: there, any place will do.
_OF_A_WORD: Final = r"[^\W\u3040-\u30ff\u3400-\u9fff]"


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    alternatives = "|".join(re.escape(word.lower()) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<!{_OF_A_WORD})(?:{alternatives})(?:e?s)?(?!{_OF_A_WORD})")


def _lowered(text: str) -> str:
    return " ".join(text[:_LONGEST_TEXT].lower().split())


def _as_filed(uri: str, system: str, code: str) -> tuple[str, ...]:
    """A code, and in a national ICD-10 the categories of WHO's that it stands beneath."""
    if uri.rstrip("/") not in _FINER:
        return (code,)
    plain = as_compared(system, code)
    return (*(plain[:length] for length in range(_CATEGORY, len(plain))), plain)


def as_compared(system: str, code: str) -> str:
    """EHRs send ICD-10-CM with and without the dot, and in either case."""
    return code.replace(".", "").upper() if system in {"icd10cm", "icd10pcs", "atc"} else code


def _excluded(column: str, plain: str) -> bool:
    """ICD-10-CM: T40 and its like hold adverse effects (5) and underdosing (6), too; a 7th S is a sequela."""
    if column == "poisoning_below":
        return len(plain) >= 6 and plain[5] in "56"
    if column == "injury_below":
        return len(plain) == 7 and plain[6] == "S"
    return False
