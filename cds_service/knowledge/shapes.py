"""The shape of every table: what a row must say before this service will start with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from string import Template
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Words = Annotated[str, Field(min_length=2, max_length=400)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Sources = Annotated[tuple[str, ...], Field(min_length=1)]
Kind = Literal["label", "trial", "guideline", "project"]
Sure = Literal["full text", "abstract", "label", "secondary", "memory", "project"]
Amount = Annotated[Decimal, Field(allow_inf_nan=False)]
_T = TypeVar("_T")


class Row(BaseModel):
    """One row of a table. A misspelt key is refused; nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def nested(value: object, kind: type[_T]) -> Iterator[_T]:
    """Every row of a kind inside a table, however deep."""
    if isinstance(value, kind):
        yield value
    if isinstance(value, Row):
        for field in type(value).model_fields:
            yield from nested(getattr(value, field), kind)
    elif isinstance(value, tuple | list):
        for member in value:
            yield from nested(member, kind)
    elif isinstance(value, dict):
        for member in value.values():
            yield from nested(member, kind)


class Reviewed(Row):
    """Who read the table, when, and when it must be read again. `by` stays empty until real people have signed."""

    by: tuple[Words, ...]
    on: date
    again: date

    @model_validator(mode="after")
    def _again_is_later(self) -> Reviewed:
        if self.again <= self.on:
            raise ValueError("reviewed.again is not later than reviewed.on")
        if len(set(self.by)) < len(self.by):
            raise ValueError("reviewed.by names somebody twice")
        return self


class Table(Row):
    """A file of rows, and who reviewed it."""

    reviewed: Reviewed


class Source(Row):
    """Where a sentence, number or code comes from. `sure` says how well we could check it."""

    title: Words
    published: str
    url: str | None = None
    sure: Sure
    note: str | None = None


# --- what a chart can hold -----------------------------------------------------------------------


class Concept(Row):
    """
    One clinical idea and the codes that mean it: `{code: short label}` per code system.

    `*_below` codes also mean everything beneath them (ICD-10-CM and ATC are hierarchies by prefix); `poisoning_below`
    leaves out adverse effects and underdosing (6th character 5 or 6), `injury_below` leaves out sequelae (7th
    character S). `doubtful` codes are recorded but do not say enough: the fact is then unknown.
    `words` speak for entries whose codes say nothing to us; beside the code of a problem they only hint, and an
    allergy or a medicine is read by both. `expansions` name published value sets.
    """

    name: Name
    says: Words
    loinc: dict[str, str] = {}
    snomed: dict[str, str] = {}
    icd10cm: dict[str, str] = {}
    icd10cm_below: dict[str, str] = {}
    poisoning_below: dict[str, str] = {}
    injury_below: dict[str, str] = {}
    icd10pcs: dict[str, str] = {}
    rxnorm: dict[str, str] = {}
    atc: dict[str, str] = {}
    atc_below: dict[str, str] = {}
    hl7: dict[str, str] = {}
    medium: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    expansions: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    sources: Sources


class Shared(Row):
    """Two ideas of one list that a code may stand for at once, and why that is meant."""

    concepts: tuple[Name, Name]
    why: Words


class ConceptTable(Table):
    concept: tuple[Concept, ...]
    shared: tuple[Shared, ...] = ()


class Expansion(Row):
    """A published expansion of a value set, by OID: the codes of one code system."""

    oid: Annotated[str, Field(pattern=r"^[0-9.]+$|^[a-z][a-z0-9-]+$")]
    title: str
    version: str
    canonical: str
    system: Literal["icd10cm", "rxnorm"]
    codes: tuple[str, ...]


class ExpansionTable(Table):
    expansion: tuple[Expansion, ...]
    sources: Sources


class ConditionFact(Row):
    """
    A fact read from the problem list.

    `counts`: "active" = active, recurrence, relapse or not stated; "ever" = any clinical status; "recent" = active, or
    resolved within `resolved_days`; "this-pregnancy" = not dated before this pregnancy; "not-active" = remission,
    inactive or resolved. Refuted and entered-in-error never count.
    """

    fact: Name
    says: Words
    concepts: Annotated[tuple[Name, ...], Field(min_length=1)]
    counts: Literal["active", "ever", "recent", "this-pregnancy", "not-active"]
    resolved_days: int | None = None
    unless: tuple[Name, ...] = ()
    severe_only: bool = False
    sources: Sources


class ConditionTable(Table):
    row: tuple[ConditionFact, ...]
    severity_words: tuple[str, ...]
    negations: tuple[str, ...]
    past_words: tuple[str, ...]
    negation_reach: int


class ObservationFact(Row):
    """
    A measurement. `take` says which values of the window count; `if_none` says what silence means.

    `plausible` are the limits outside which a number is not believed (unit: `unit`). `ratio` divides the value by
    the upper limit that the laboratory sent with it. `measured_only`: not stated, estimated or before the pregnancy.
    """

    fact: Name
    says: Words
    concepts: Annotated[tuple[Name, ...], Field(min_length=1)]
    unit: str
    plausible: tuple[Amount, Amount]
    window_hours: int | None = None
    take: Literal["latest", "highest"]
    if_none: Literal["unknown", "absent"]
    preliminary: bool = False
    ratio: bool = False
    this_birth: bool = False
    measured_only: bool = False
    kind: Kind
    sources: Sources


class ObservationTable(Table):
    row: tuple[ObservationFact, ...]


class MedicineFact(Row):
    """
    A medicine that she takes, gets or is about to get.

    `active`: do running orders, reported medicines and drafts count? `within_hours`: since the last dose. `ended`: does
    an order or a report that ended within that time count like a dose? `route` limits it. `form` "infusion" or "bolus"
    limits how it is given. A PRN order that was not given never counts, except for a row with `prn_only`.
    """

    fact: Name
    says: Words
    concepts: Annotated[tuple[Name, ...], Field(min_length=1)]
    unless: tuple[Name, ...] = ()
    active: bool
    within_hours: Amount | None = None
    ended: bool = True
    route: Literal["any", "systemic", "neuraxial"] = "any"
    form: Literal["any", "infusion", "bolus"] = "any"
    for_prevention: bool | None = None
    prn_only: bool = False
    this_encounter: bool = False
    sources: Sources


class MedicineTable(Table):
    row: tuple[MedicineFact, ...]


class Instrument(Row):
    """A questionnaire: its codes, its score, its items. No item text is shipped."""

    fact: Name
    says: Words
    panel: Name
    total: Name | None
    items: tuple[Name, ...]
    item_max: int
    total_max: int
    self_harm_item: int | None = None
    linkid_words: tuple[str, ...] = ()
    item_linkids: tuple[tuple[str, ...], ...] = ()
    total_linkids: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    answers: dict[str, int] = {}
    sources: Sources


class ScreenTable(Table):
    same_form_minutes: int
    current_hours: int
    tier_days: int
    safety_days: int
    other_days: int
    instrument: tuple[Instrument, ...]
    sources: Sources


class TimeTable(Table):
    """Windows of the stay and the pregnancy."""

    after_birth_days: int
    postpartum_days: int
    late_postpartum_days: int
    gestation_days: int
    pregnancy_days: int
    this_birth_hours: int
    weight_conflict_days: int
    weight_conflict_percent: Amount
    weight_believable_kg: tuple[Amount, Amount]
    sources: Sources


class Unit(Row):
    """A UCUM code, the base unit it converts to, the exact factor, and spellings seen in charts without a code."""

    ucum: str
    base: str
    factor: Fraction
    spellings: tuple[str, ...] = ()


class UnitTable(Table):
    unit: tuple[Unit, ...]
    sources: Sources


# --- what is decided ------------------------------------------------------------------------------


class Test(Row):
    """One fact against one band: half-open (`at_least` <= value < `below`) or above `above`. No band: is it present?"""

    fact: Name
    says: Words
    at_least: Amount | None = None
    above: Amount | None = None
    below: Amount | None = None
    unit: str | None = None
    inputs: tuple[str, ...] = ()
    kind: Kind | None = None

    @property
    def banded(self) -> bool:
        return self.at_least is not None or self.above is not None or self.below is not None


# The entries of a chart that a criterion can be read from.
Carrier = Literal[
    "AllergyIntolerance", "Condition", "MedicationAdministration", "MedicationRequest",
    "MedicationRequest.dosageInstruction.route", "MedicationStatement", "Observation", "Patient.birthDate", "Procedure",
    "QuestionnaireResponse", "ServiceRequest",
]  # fmt: skip


class Criterion(Row):
    """
    A reason for no dose (C), for specialist review (R), or for more monitoring (M). Any one test is enough.

    `start_check` is its line of the start checklist: of a C or R row always there, of an M row only if it is met, and
    then `instead_of` the line of the row that it names.
    """

    id: Annotated[str, Field(pattern=r"^[CRM][0-9]{2}$")]
    says: Words
    kind: Kind
    sources: Sources
    carriers: Annotated[tuple[Carrier, ...], Field(min_length=1)]
    start_check: Words | None = None
    instead_of: Annotated[str, Field(pattern=r"^[CR][0-9]{2}$")] | None = None
    adds: Words | None = None
    test: Annotated[tuple[Test, ...], Field(min_length=1)]


class CriterionTable(Table):
    criterion: tuple[Criterion, ...]


class Input(Row):
    """A D row: what must be known before a dose, when it is usable, and whether it blocks or may be confirmed."""

    id: Annotated[str, Field(pattern=r"^D[0-9]{2}$")]
    says: Words
    limit: Words
    facts: Annotated[tuple[Name, ...], Field(min_length=1)]
    before_minutes: int | None = None
    after_minutes: int | None = None
    before_birth: Literal["block", "confirm", "not needed"]
    after_birth: Literal["block", "confirm", "not needed"]
    may_be_absent: bool
    confirm_as: Words
    kind: Kind
    sources: Sources


class InputTable(Table):
    input: tuple[Input, ...]


class GroupFrequency(Row):
    """What happened to a published group. Never this woman's probability; not shown at the tiers in `not_for`."""

    id: Name
    fact: Name | None
    says: Words
    n: Words
    country: Words
    outcome: Words
    not_for: tuple[Literal["high", "elevated", "not-elevated"], ...] = ()
    sources: Sources


class RiskTable(Table):
    """Section 3: first match. `safety` is also the safety concern of section 2."""

    sources: Sources
    safety: tuple[Test, ...]
    high: tuple[Test, ...]
    elevated: tuple[Test, ...]
    reassuring: tuple[Test, ...]
    positive_screen: tuple[Test, ...]
    not_indicated: tuple[Test, ...]
    context: tuple[Test, ...]
    frequency: tuple[GroupFrequency, ...]


class Protocol(Row):
    """A medicine, its dose and its infusion. Doses in mg, weights in kg, volumes in mL."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    medicine: Literal["esketamine", "ketamine"]
    says: Words
    dose_mg_per_kg: Amount
    weight_cap_kg: Amount
    round_down_to_mg: Amount
    ceiling_mg: Amount
    total_volume_ml: Amount
    rate_ml_per_h: Amount
    duration_min: int
    strength_mg_per_ml: Amount
    not_marketed_in: tuple[str, ...]
    evidence_label: Words | None = None
    uri: str
    rxnorm: str
    snomed: str
    atc: str
    sources: Sources


class ProtocolTable(Table):
    protocol: tuple[Protocol, ...]
    start_within_min: int
    valid_hours: int


class AbsoluteLimit(Row):
    medicine: Literal["esketamine", "ketamine"]
    mg: Amount
    mg_per_kg: Amount


# Every departure that the order check can find: each must have its words, and no other.
DepartureId = Literal[
    "above_limit", "above_limit_per_kg", "strength_error",
    "other_medicine", "medicine_unclear", "not_iv",
    "no_total", "mg_for_mg_per_kg", "mg_per_kg_for_mg", "times_too_high", "times_too_low", "dose_differs", "dose_range",
    "bolus", "no_time", "too_short", "too_long",
    "repeats", "repeatable", "other_strength", "strength_unclear", "second_order", "no_monitoring",
]  # fmt: skip
# What the words of a departure may be filled with.
DEPARTURE_SLOTS = frozenset(
    {"dose", "limit", "limit_per_kg", "per_kg", "times", "expected_dose", "medicine", "expected_medicine", "route",
     "time", "shortest", "longest", "repeats", "most_repeats", "strength", "expected_strength", "volume", "by_volume"}
)  # fmt: skip


class DepartureWords(Row):
    """One line of the card: what is looked at, what is wrong, what the draft says, and what was expected."""

    what: Words
    says: Words
    drafted: Words
    expected: Words

    @model_validator(mode="after")
    def _only_what_is_filled(self) -> DepartureWords:
        for text in (self.drafted, self.expected):
            if strangers := set(Template(text).get_identifiers()) - DEPARTURE_SLOTS:
                raise ValueError(f"nobody says: {', '.join(sorted(strangers))}")
        return self


class OrderCheckWords(Row):
    """
    The words of the order check: those it says, and those it knows in the text of an order.

    `medicine` is what each medicine is called; only a translation says otherwise than its name in the tables.
    `times` are the slips of a decimal point that are named as such. `bolus`, `repeated` (more than one dose; "#" is a
    number of two or more), `once` (the whole of a schedule that is one dose), `negations` (before any of the former),
    `per` (between the two halves of a strength), `diluted_to` (before the volume of the infusion) and `over` (before
    its time) are looked for in the text of an order, which is never shown.
    """

    departure: dict[DepartureId, DepartureWords]
    route: dict[str, Words]
    not_stated: Words
    not_readable: Words
    not_clear: Words
    no_weight: Words
    no_dose: Words
    medicine: dict[str, Words] = {"esketamine": "esketamine", "ketamine": "ketamine"}
    times: tuple[int, ...]
    bolus: tuple[str, ...]
    repeated: tuple[str, ...]
    once: tuple[str, ...]
    negations: tuple[str, ...]
    per: tuple[str, ...]
    diluted_to: tuple[str, ...]
    over: tuple[str, ...]

    @model_validator(mode="after")
    def _whole(self) -> OrderCheckWords:
        if missing := set(get_args(DepartureId)) - set(self.departure):
            raise ValueError(f"no words for: {', '.join(sorted(missing))}")
        if set(self.route) != {"iv", "nasal", "neuraxial", "other"}:
            raise ValueError("routes are iv, nasal, neuraxial and other")
        if set(self.medicine) != {"esketamine", "ketamine"}:
            raise ValueError("medicines are esketamine and ketamine")
        return self


class OrderCheckTable(Table):
    """Section 8: what a drafted order may differ by, and in which words it is said."""

    dose_tolerance_percent: Amount
    shortest_min: int
    longest_min: int
    most_repeats: int
    absolute: tuple[AbsoluteLimit, ...]
    words: OrderCheckWords
    sources: Sources

    @model_validator(mode="after")
    def _each_has_its_limit(self) -> OrderCheckTable:
        # A medicine without a limit of its own would be held against the other's.
        if sorted(row.medicine for row in self.absolute) != ["esketamine", "ketamine"]:
            raise ValueError("absolute: esketamine and ketamine have one limit each")
        return self


class TopicRow(Row):
    """A card topic: its code, the hooks that may show it, and the override reasons offered with it."""

    code: Annotated[str, Field(pattern=r"^[A-Z]{4,20}$")]
    says: Words
    hooks: Annotated[tuple[str, ...], Field(min_length=1)]
    override_reasons: tuple[str, ...]


class TopicTable(Table):
    """The cards in their order. `override_reason` is the display of each code, `reason_words` those of one card."""

    most_not_critical: int
    topic: tuple[TopicRow, ...]
    override_reason: dict[str, str]
    reason_words: dict[str, dict[str, Words]] = {}
    override_system: str
    topic_system: str
    sources: Sources

    def displays(self, topic: str) -> dict[str, str]:
        """What each override reason is called on the card of a topic."""
        return {**self.override_reason, **self.reason_words.get(topic, {})}


class Forbidden(Row):
    """A code that means something else than it seems: `system` as in a concept, or "value set" for an OID."""

    system: str
    code: str
    why: str


class ForbiddenTable(Table):
    forbidden: tuple[Forbidden, ...]
    sources: Sources


class BannedWords(Row):
    """Words that belong on no card ("anywhere"), or not into its first line ("summary")."""

    words: Annotated[tuple[Words, ...], Field(min_length=1)]
    where: Literal["anywhere", "summary"]
    why: Words
    sources: Sources


class WordingTable(Table):
    """How a card may not speak."""

    banned: tuple[BannedWords, ...]

    @property
    def anywhere(self) -> tuple[str, ...]:
        """Words that no sentence of a card may use."""
        return self._words("anywhere")

    @property
    def summary(self) -> tuple[str, ...]:
        """Words that the first line may not use, either."""
        return self._words("summary")

    def _words(self, where: str) -> tuple[str, ...]:
        return tuple(word for row in self.banned if row.where == where for word in row.words)

    @model_validator(mode="after")
    def _each_once(self) -> WordingTable:
        words = [word.lower() for row in self.banned for word in row.words]
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"banned twice: {', '.join(twice)}")
        return self


class DerivedFact(Row):
    """A fact that is worked out from others in `clinical/derived.py`, because a table row tests one fact only."""

    fact: Name
    says: Words
    unit: str | None = None


class DerivedTable(Table):
    row: tuple[DerivedFact, ...]


class About(Table):
    """Which knowledge this is."""

    version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
    title: Words
