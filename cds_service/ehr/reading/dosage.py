"""What the dosages of an order state: dose, rate, time and number of doses, by their elements and by their text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from cds_service.ehr.elements import Resource, codes_in, codings, members, number, texts
from cds_service.ehr.units import Units
from cds_service.knowledge.shapes import OrderCheckWords

# Which doseAndRate speaks: Epic sends `calculated`, `admin-amount` and `ordered`, in this order. "" has no type.
_SPEAKS: Final = ("ordered", "calculated", "")
# Beyond this no amount is one: it would only fill the card with digits.
_LARGEST: Final = Fraction(10**9)
_LONGEST_TEXT: Final = 1_000
_MOST_DOSAGES: Final = 50
_NUMBER: Final = r"(?<![\w.,])(\d{1,7}(?:[.,]\d{1,6})?)"
# A quantity in a text. What is followed by a slash or its like ("mg / kg") is another unit than it seems.
_QUANTITY: Final = re.compile(rf"{_NUMBER}\s*([a-zµμ][a-zµμ/]*+)(?!\s*(?:/|per\b))")
_TOKEN: Final = re.compile(r"\s*([a-zµμ%]+)")
_TWO_OR_MORE: Final = r"(?:[2-9]|[1-9]\d{1,3})"
_DOSES: Final = ("doseQuantity", "doseRange")
_RATES: Final = ("rateRatio", "rateRange", "rateQuantity")
_ONE: Final = frozenset({None, "1"})


@dataclass(slots=True)
class Stated:
    """What one dosage, or all of an order together, states, in the units of `DraftedOrder`. None: it does not say."""

    dose_mg: Fraction | None = None
    dose_mg_per_kg: Fraction | None = None
    volume_ml: Fraction | None = None
    mixed_ml: Fraction | None = None
    dose_is_range: bool = False
    rate_mg_per_min: Fraction | None = None
    rate_mg_per_kg_per_min: Fraction | None = None
    rate_ml_per_h: Fraction | None = None
    minutes: Fraction | None = None
    longest_minutes: Fraction | None = None
    bolus: bool = False
    repeats: int = 1
    repeatable: bool = False
    unreadable: set[str] = field(default_factory=set)

    def more(self, name: str, value: Fraction) -> None:
        """Of two statements the greater counts: the higher dose, the faster rate."""
        held = getattr(self, name)
        setattr(self, name, value if held is None else max(held, value))

    @property
    def dosed(self) -> bool:
        """Is an amount to give stated, in whatever unit?"""
        return (self.dose_mg, self.dose_mg_per_kg, self.volume_ml) != (None, None, None)

    @property
    def rated(self) -> bool:
        """Is a rate stated?"""
        return (self.rate_mg_per_min, self.rate_mg_per_kg_per_min, self.rate_ml_per_h) != (None, None, None)

    @property
    def says_nothing(self) -> bool:
        """Neither dose, rate, time nor bolus, readable or not."""
        return not (self.dosed or self.rated or self.minutes or self.bolus or self.unreadable)


class Dosages:
    """Reads the dosages of orders, with the units and the words that are known in their text."""

    def __init__(self, units: Units, words: OrderCheckWords) -> None:
        self.units = units
        self.words = words

    def stated(self, order: Resource) -> Stated:
        """What all dosages of an order state together."""
        listed = _listed(order)
        told = []
        for dosage in _distinct(order):
            said = self._dosage(dosage)
            if not said.says_nothing:
                said.repeats *= listed.count(dosage)  # what is written twice is given twice
            told.append(said)
        whole = _together(told)
        whole.repeats *= 1 + _refills(order)
        return whole

    def strengths_in(self, text: str) -> set[Fraction]:
        """Every mg/mL that a text names."""
        found = set()
        for mass, mass_unit, volume, volume_unit in _strength_pattern(self.words).findall(_plain(text)):
            amount = self._written(mass, mass_unit, "mg")
            per = self._written(volume or "1", volume_unit, "mL")
            if amount is not None and per is not None:
                found.add(amount / per)
        return found

    # -- one dosage

    def _dosage(self, dosage: Mapping[str, Any]) -> Stated:
        said = Stated()
        entries = _entries(dosage)
        self._dose(entries, said)
        self._rate(entries, said)
        timing = dosage.get("timing")
        timing = timing if isinstance(timing, Mapping) else {}
        repeat = timing.get("repeat")
        repeat = repeat if isinstance(repeat, Mapping) else {}
        self._duration(repeat, said)
        text = _plain(dosage.get("text"))
        self._from_text(text, said)
        spoken = _spoken(dosage)
        self._repeats(dosage, timing, repeat, said)
        said.repeatable |= self._again_by_code(timing.get("code")) or any(map(self._again, spoken))
        # Whatever time stands beside it: "IV push" and 40 min are no order that anybody can follow.
        methods = [_plain(words) for words in texts(dosage.get("method"))]
        said.bolus = any(_bolus_pattern(self.words).search(words) for words in (*methods, *spoken))
        self._volumes(text, said)
        return said

    def _dose(self, entries: list[Mapping[str, Any]], said: Stated) -> None:
        """The dose of the entry that speaks; a volume beside it, from whichever entry holds one."""
        for kind in (*_SPEAKS, None):
            dosed = [e for e in entries if _is_kind(e, kind) and _has_any(e, _DOSES)]
            for entry in dosed:
                self._one_dose(entry, said)
            if dosed:
                break
        if said.volume_ml is None:
            volumes = [v for e in entries if (v := self.amount(e.get("doseQuantity"), "mL")) is not None]
            said.volume_ml = max(volumes, default=None)

    def _one_dose(self, entry: Mapping[str, Any], said: Stated) -> None:
        quantity = entry.get("doseQuantity")
        if quantity is None:
            between = entry.get("doseRange")
            quantity = between.get("high") if isinstance(between, Mapping) else None
            said.dose_is_range = True
        for name, unit in (("dose_mg", "mg"), ("dose_mg_per_kg", "mg/kg"), ("volume_ml", "mL")):
            if (value := self.amount(quantity, unit)) is not None:
                said.more(name, value)
                return
        said.unreadable.add("dose")

    def _rate(self, entries: list[Mapping[str, Any]], said: Stated) -> None:
        for kind in (*_SPEAKS, None):
            rated = [e for e in entries if _is_kind(e, kind) and _has_any(e, _RATES)]
            for entry in rated:
                if not self._one_rate(entry, said):
                    said.unreadable.add("rate")
            if rated:
                return

    def _one_rate(self, entry: Mapping[str, Any], said: Stated) -> bool:
        ratio, between = entry.get("rateRatio"), entry.get("rateRange")
        if isinstance(ratio, Mapping):
            top, bottom = ratio.get("numerator"), ratio.get("denominator")
            minutes = self.amount(bottom, "min")
            if minutes is not None:
                return self._per_minutes(top, minutes, said)
            # Seen: the whole unit in the numerator ("mL/h"), and 1 without a unit beneath it.
            return self._is_plain_one(bottom) and self._rate_quantity(top, said)
        if isinstance(between, Mapping):
            return self._rate_quantity(between.get("high"), said)
        return self._rate_quantity(entry.get("rateQuantity"), said)

    def _is_plain_one(self, quantity: object) -> bool:
        if not isinstance(quantity, Mapping):
            return quantity is None
        return number(quantity.get("value")) == 1 and self.units.code_of(quantity) in _ONE

    def _per_minutes(self, amount: object, minutes: Fraction, said: Stated) -> bool:
        for name, unit, scale in (
            ("rate_mg_per_min", "mg", 1),
            ("rate_mg_per_kg_per_min", "mg/kg", 1),
            ("rate_ml_per_h", "mL", 60),
        ):
            if (value := self.amount(amount, unit)) is not None:
                said.more(name, value * scale / minutes)
                return True
        return False

    def _rate_quantity(self, quantity: object, said: Stated) -> bool:
        for name, unit in (
            ("rate_mg_per_min", "mg/min"),
            ("rate_mg_per_kg_per_min", "mg/kg/min"),
            ("rate_ml_per_h", "mL/h"),
        ):
            if (value := self.amount(quantity, unit)) is not None:
                said.more(name, value)
                return True
        # "Over 40 min" is written as a rate by some.
        minutes = self.amount(quantity, "min")
        if minutes is not None:
            said.minutes = minutes if said.minutes is None else min(said.minutes, minutes)
        return minutes is not None

    def _duration(self, repeat: Mapping[str, Any], said: Stated) -> None:
        unit = repeat.get("durationUnit")
        shortest, longest = (
            self.amount({"value": repeat.get(name), "unit": unit}, "min") for name in ("duration", "durationMax")
        )
        if shortest is None and longest is None:
            if "duration" in repeat or "durationMax" in repeat:
                said.unreadable.add("time")
            return
        told = shortest if shortest is not None else longest
        if told is not None:
            said.minutes = told if said.minutes is None else min(said.minutes, told)
            said.longest_minutes = max(told, longest) if longest is not None else None

    def _from_text(self, text: str, said: Stated) -> None:
        """What the elements leave open, when the text of the dosage states it exactly once."""
        quantities = _QUANTITY.findall(text)
        if not said.dosed and "dose" not in said.unreadable:
            for name, unit in (("dose_mg", "mg"), ("dose_mg_per_kg", "mg/kg")):
                if (value := self._only(quantities, unit)) is not None:
                    setattr(said, name, value)
                    break
        if not said.rated and "rate" not in said.unreadable:
            for name, unit in (
                ("rate_mg_per_min", "mg/min"),
                ("rate_mg_per_kg_per_min", "mg/kg/min"),
                ("rate_ml_per_h", "mL/h"),
            ):
                if (value := self._only(quantities, unit)) is not None:
                    setattr(said, name, value)
        if said.minutes is None and "time" not in said.unreadable:
            spans = {
                (self._written(first, unit, "min"), self._written(last or first, unit, "min"))
                for first, last, unit in _over_pattern(self.words).findall(text)
            } - {(None, None)}
            if len(spans) == 1:
                said.minutes, said.longest_minutes = spans.pop()

    def _only(self, quantities: Iterable[tuple[str, str]], unit: str) -> Fraction | None:
        values = {value for digits, token in quantities if (value := self._written(digits, token, unit)) is not None}
        return values.pop() if len(values) == 1 else None

    def _volumes(self, text: str, said: Stated) -> None:
        """Tell the diluted volume from the one drawn up: by the text, or because the rate empties it in that time."""
        mixed = {
            value
            for digits, unit in _diluted_pattern(self.words).findall(text)
            if (value := self._written(digits, unit, "mL")) is not None
        }
        said.mixed_ml = mixed.pop() if len(mixed) == 1 else None
        if said.volume_ml is None:
            return
        runs_in = said.rate_ml_per_h * said.minutes / 60 if said.rate_ml_per_h and said.minutes else None
        dosed = said.dose_mg is not None or said.dose_mg_per_kg is not None
        if said.volume_ml == said.mixed_ml or (dosed and said.volume_ml == runs_in):
            said.mixed_ml, said.volume_ml = said.volume_ml, None

    def _repeats(
        self, dosage: Mapping[str, Any], timing: Mapping[str, Any], repeat: Mapping[str, Any], said: Stated
    ) -> None:
        """How many doses: by count, by the times listed, by the frequency within its bounds; else without an end."""
        said.repeatable = dosage.get("asNeededBoolean") is True or bool(dosage.get("asNeededCodeableConcept"))
        counts = [whole for name in ("count", "countMax") if (whole := _whole(repeat.get(name))) is not None]
        often = max((whole for name in ("frequency", "frequencyMax") if (whole := _whole(repeat.get(name)))), default=1)
        events = timing.get("event")
        if counts:
            said.repeats = max(counts)
        elif isinstance(events, list) and events:
            said.repeats = len(events)
        elif "period" in repeat:
            every = self.amount({"value": repeat.get("period"), "unit": repeat.get("periodUnit")}, "min")
            bounds = repeat.get("boundsDuration")
            within = self.amount(bounds, "min")
            if every is None or within is None:
                said.repeatable = True
            else:
                said.repeats = max(1, -(-within // every)) * often
        elif any(name in repeat for name in ("dayOfWeek", "timeOfDay", "when")):
            said.repeatable = True
        else:
            said.repeats = often

    def _again(self, text: str) -> bool:
        """Do the words tell of more than one dose: "daily", "x 2", but neither "do not repeat" nor "x 40 min"?"""
        return any(
            not (match[0][-1].isdigit() and self._is_unit(_TOKEN.match(text, match.end())))
            for match in _repeated_pattern(self.words).finditer(text)
        )

    def _again_by_code(self, code: object) -> bool:
        """To warn, every schedule repeats that is not known as one dose, in whichever code system it is written."""
        names = {name for name in map(_plain, (*codes_in(code), *texts(code))) if name}
        by_hl7 = any(  # every code of HL7's table of schedules ("BID", "Q4H") repeats
            isinstance(coding, Mapping) and str(coding.get("system")).endswith("GTSAbbreviation")
            for coding in codings(code)
        )
        once = any(_once_pattern(self.words).fullmatch(name) for name in names) and not any(map(self._again, names))
        return by_hl7 or (bool(names) and not once)

    def _is_unit(self, token: re.Match[str] | None) -> bool:
        return token is not None and self.units.code_of({"unit": token[1]}) is not None

    # -- amounts

    def amount(self, quantity: object, unit: str) -> Fraction | None:
        """A quantity in this unit, when it is one: above zero and within reason."""
        if not isinstance(quantity, Mapping):
            return None
        value = number(quantity.get("value"))
        if value is None or value <= 0 or not -12 <= value.adjusted() <= 12:
            return None
        found = self.units.convert(quantity, unit)
        return Fraction(found) if found is not None and found < _LARGEST else None

    def _written(self, digits: str, token: str, unit: str) -> Fraction | None:
        """A number and a unit in a text. "1,000" may be a thousand or one: it is not read."""
        if re.search(r",\d{3}$", digits):
            return None
        return self.amount({"value": digits.replace(",", "."), "unit": token}, unit)


def _entries(dosage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The doseAndRate entries. Epic's own example has the dose in the dosage itself, as before R4."""
    entries = members(dosage.get("doseAndRate"))[:_MOST_DOSAGES]
    older = {name: dosage[name] for name in (*_DOSES, *_RATES) if name in dosage}
    return [*entries, older] if older else entries


def _has_any(entry: Mapping[str, Any], names: Iterable[str]) -> bool:
    return any(entry.get(name) is not None for name in names)


def _is_kind(entry: Mapping[str, Any], kind: str | None) -> bool:
    """Is the entry of this type, by any of its codes, else by its words? None: of a type that does not speak."""
    type_ = entry.get("type")
    named = {code.lower() for code in codes_in(type_)} or {t for text in texts(type_) if (t := text.strip().lower())}
    if kind is None:
        return bool(named) and named.isdisjoint(_SPEAKS)
    return kind in named if kind else not named


def _listed(order: Resource) -> list[Mapping[str, Any]]:
    return members(order.get("dosageInstruction"))[:_MOST_DOSAGES]


def _distinct(order: Resource) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for dosage in _listed(order):
        if dosage not in found:
            found.append(dosage)
    return found


def dosage_texts(order: Resource) -> list[str]:
    """The texts of the dosages of an order. For matching only, never for a card."""
    return [text for dosage in _distinct(order) if isinstance(text := dosage.get("text"), str)]


def _spoken(dosage: Mapping[str, Any]) -> list[str]:
    """The words of a dosage, wherever they stand: what is to be done, and the instructions beside it."""
    beside = (text for concept in members(dosage.get("additionalInstruction")) for text in texts(concept))
    return [_plain(text) for text in (dosage.get("text"), dosage.get("patientInstruction"), *beside)]


def _refills(order: Resource) -> int:
    """How often it may be had again."""
    dispense = order.get("dispenseRequest")
    return _whole(dispense.get("numberOfRepeatsAllowed")) or 0 if isinstance(dispense, Mapping) else 0


def _together(dosages: list[Stated]) -> Stated:
    """What several dosages say together. One that states no dose may still say that it is given again."""
    speaking = [said for said in dosages if not said.says_nothing] or dosages[:1]
    whole = _one_after_the_other(speaking) if len(speaking) > 1 else next(iter(speaking), Stated())
    whole.repeats = max(whole.repeats, *(said.repeats for said in dosages), 1)
    whole.repeatable = any(said.repeatable for said in dosages)
    return whole


def _one_after_the_other(speaking: list[Stated]) -> Stated:
    """Doses add up, the fastest rate and the shortest time count."""
    whole = Stated(repeats=sum(said.repeats for said in speaking))
    for name in ("dose_mg", "dose_mg_per_kg", "volume_ml", "mixed_ml"):
        values = [value for said in speaking if (value := getattr(said, name)) is not None]
        setattr(whole, name, sum(values) if values else None)
    for said in speaking:
        for name in ("rate_mg_per_min", "rate_mg_per_kg_per_min", "rate_ml_per_h", "longest_minutes"):
            if (value := getattr(said, name)) is not None:
                whole.more(name, value)
        if said.minutes is not None:
            whole.minutes = said.minutes if whole.minutes is None else min(whole.minutes, said.minutes)
        whole.unreadable |= said.unreadable
    whole.bolus = any(said.bolus for said in speaking)
    whole.dose_is_range = any(said.dose_is_range for said in speaking)
    return whole


def _whole(value: object) -> int | None:
    """A count: a whole number of at least one, and not so large that it is none."""
    found = number(value)
    if found is None or not 1 <= found <= 10_000 or found != found.to_integral_value():
        return None
    return int(found)


# --- texts ----------------------------------------------------------------------------------------


def _plain(text: object) -> str:
    return " ".join(text[:_LONGEST_TEXT].lower().split()) if isinstance(text, str) else ""


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


@lru_cache(maxsize=8)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _strength_pattern(words: OrderCheckWords) -> re.Pattern[str]:
    """ "10 mg/mL", "25 mg / 5 mL", "50 mg per mL"."""
    return _compiled(
        rf"{_NUMBER}\s*([a-zµμ]++)\s*(?:{_any_of(words.per)})\s*(\d{{1,5}}(?:[.,]\d{{1,4}})?)?\s*([a-z]++)"
    )


def _diluted_pattern(words: OrderCheckWords) -> re.Pattern[str]:
    """ "made up to 20 mL"."""
    return _compiled(rf"(?<!\w)(?:{_any_of(words.diluted_to)})\s*:?\s+{_NUMBER}\s*([a-z]++)(?!\s*(?:/|per\b))")


def _over_pattern(words: OrderCheckWords) -> re.Pattern[str]:
    """ "over 40 min", "over 40 to 60 min"."""
    return _compiled(
        rf"(?<!\w)(?:{_any_of(words.over)})\s+{_NUMBER}(?:\s*(?:-|–|to)\s*(\d{{1,4}}))?\s*([a-z]++)(?!\s*/)"
    )


def _bolus_pattern(words: OrderCheckWords) -> re.Pattern[str]:
    """A bolus that is not forbidden: "IV push", but not "no bolus"."""
    return _compiled(rf"{_not_denied(words)}(?<!\w)(?:{_any_of(words.bolus)})(?:es)?(?!\w)")


def _repeated_pattern(words: OrderCheckWords) -> re.Pattern[str]:
    """What tells of more than one dose: "daily", "q8h", "3 doses", but not "do not repeat". "#" is two or more."""
    told = _any_of(words.repeated).replace(re.escape("#"), _TWO_OR_MORE)
    return _compiled(rf"{_not_denied(words)}(?<!\w)(?:{told})(?![\w]|[.,]\d)")


def _once_pattern(words: OrderCheckWords) -> re.Pattern[str]:
    """What tells of one dose and of nothing else: "once", "STAT (1 time)"."""
    told = rf"(?>{_any_of(words.once)})"  # the longest, with no second thought: a long text may cost little
    return _compiled(rf"[\s(]*{told}(?:[\s,;:()/-]+{told})*+[\s.)]*")


def _not_denied(words: OrderCheckWords) -> str:
    return "".join(rf"(?<!\b{re.escape(word)} )" for word in sorted(words.negations))
