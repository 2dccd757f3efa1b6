"""What the studies say for and against each medicine, and what would be ordered, in sentences and codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from string import Template
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from cds_service.knowledge.shapes import Kind, Name, Row, Sources, Table, Words

Medicine = Literal["esketamine", "ketamine"]
MEDICINES: Final[tuple[Medicine, ...]] = ("esketamine", "ketamine")
Paragraph = Annotated[str, Field(min_length=2, max_length=900)]
Brief = Annotated[str, Field(min_length=2, max_length=200)]
Medicines = Annotated[tuple[Medicine, ...], Field(min_length=1)]
TopicCode = Annotated[str, Field(pattern=r"^[A-Z]{4,20}$")]

# What the order writer fills in. A table that asks for anything else is refused at start.
DOSE_WORDS: Final = frozenset(
    {
        "Medicine", "medicine", "dose", "drug_volume", "diluent_volume", "total_volume", "strength", "concentration",
        "rate", "duration", "start_within", "valid_hours", "approval",
    }
)  # fmt: skip
SERVICE_WORDS: Final = frozenset({"medicine"})
LINE_WORDS: Final = frozenset({"says"})
EVIDENCE_WORDS: Final = frozenset({"medicine"})


# --- evidence ------------------------------------------------------------------------------------


class Statement(Row):
    """One finding, for or against, with its year, number of women and effect. `brief` is for the small cards."""

    medicines: Medicines
    side: Literal["for", "against"]
    says: Words
    brief: Brief | None = None
    sources: Sources


class Harm(Row):
    """A side effect that she should hear about before she says yes."""

    medicines: Medicines
    says: Words
    sources: Sources


class StatusLine(Row):
    """Off-label, not marketed, controlled: what the law says. No country means that it holds everywhere."""

    medicines: Medicines
    countries: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = ()
    says: Words
    sources: Sources


class Lactation(Row):
    """What to say about milk: to a woman who may breastfeed, and to one who has lost her child."""

    when: Literal["breastfeeding", "bereaved"]
    medicines: Medicines
    says: Paragraph
    sources: Sources


class Option(Row):
    """Something that can be chosen. `kind` "drug" is the site's protocol; a card needs at least one without a drug."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    kind: Literal["no drug", "drug", "other drug"]
    says: Words
    topics: Annotated[tuple[TopicCode, ...], Field(min_length=1)]
    sources: Sources


class Line(Row):
    """One sentence, and where it comes from."""

    says: Words
    sources: Sources


class EvidenceTable(Table):
    """For and against, per medicine; nothing here is weighed by a machine."""

    studied_from_epds: int
    statement: tuple[Statement, ...]
    harm: tuple[Harm, ...]
    status: tuple[StatusLine, ...]
    lactation: tuple[Lactation, ...]
    option: tuple[Option, ...]
    not_checked: tuple[Line, ...]
    sources: Sources

    def said(self, medicine: str, side: str) -> tuple[Statement, ...]:
        return tuple(s for s in self.statement if s.side == side and medicine in s.medicines)

    @model_validator(mode="after")
    def _two_sided(self) -> EvidenceTable:
        for medicine in MEDICINES:
            count = Counter(s.side for s in self.statement if medicine in s.medicines)
            if not 1 <= count["for"] <= 3:
                raise ValueError(f"{medicine}: 1 to 3 statements for, not {count['for']}")
            if not count["against"]:
                raise ValueError(f"{medicine}: no statement against")
            for side in ("for", "against"):
                if not any(s.brief for s in self.said(medicine, side)):
                    raise ValueError(f"{medicine}: no brief statement {side}")
            for what, rows in (("harm", self.harm), ("status", self.status)):
                if not any(medicine in row.medicines for row in rows):
                    raise ValueError(f"{medicine}: no {what}")
            for when in ("breastfeeding", "bereaved"):
                if sum(medicine in row.medicines and row.when == when for row in self.lactation) != 1:
                    raise ValueError(f"{medicine}: not one lactation text for {when}")
        return self

    @model_validator(mode="after")
    def _fillable(self) -> EvidenceTable:
        _promised("status", (row.says for row in self.status), EVIDENCE_WORDS)
        _promised("options", (row.says for row in self.option), EVIDENCE_WORDS)
        return self

    @model_validator(mode="after")
    def _real_choices(self) -> EvidenceTable:
        _once("option", (o.id for o in self.option))
        for topic in {t for o in self.option for t in o.topics}:
            offered = [o for o in self.option if topic in o.topics]
            if len(offered) < 2 or all(o.kind != "no drug" for o in offered):
                raise ValueError(f"{topic}: fewer than two options, or none without a drug")
        return self


# --- orders --------------------------------------------------------------------------------------


class Code(Row):
    """A code to send, and the concept of the value sets that it must belong to. The label is ours."""

    concept: Name
    system: str
    code: str
    label: Words


class FormatCode(Row):
    """A code of the FHIR format itself: it says nothing clinical and belongs to no value set."""

    system: str
    code: str
    label: Words


class MedicationOrder(Row):
    """
    The wording and codes of the draft for the medicine. `$names` are filled from the protocol and the dose.

    The draft points to the chart entries of these facts: `because` of them, and `computed_from` them.
    """

    medicine_text: Words
    dosage_text: Paragraph
    route: Code
    reason_text: Words
    reason: tuple[Code, ...]
    category: FormatCode
    dose_type: FormatCode
    dose_unit: str
    rate_unit: str
    duration_unit: str
    notes: tuple[Paragraph, ...]
    because: tuple[Name, ...] = ()
    computed_from: tuple[Name, ...] = ()
    sources: Sources

    @model_validator(mode="after")
    def _fillable(self) -> MedicationOrder:
        _promised("medication", (self.medicine_text, self.dosage_text, *self.notes), DOSE_WORDS)
        return self


class ServiceOrder(Row):
    """
    Something other than a drug to order. No verified code: words only.

    `after_days` dates it that many days after birth, `within_days` sets its last day; before the birth both stay words.
    `during_infusion` adds the start checklist and the lines of the monitoring table to its note. `timing` is how often,
    in words; `every_min` and `until_min_after_end` say the first part of it in figures. The draft points to the chart
    entries of the facts in `because`.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    text: Words
    code: tuple[Code, ...] = ()
    priority: Literal["routine", "urgent", "asap", "stat"] = "routine"
    after_days: int | None = None
    within_days: int | None = None
    during_infusion: bool = False
    timing: Words | None = None
    every_min: Annotated[int, Field(gt=0)] | None = None
    until_min_after_end: Annotated[int, Field(ge=0)] = 0
    because: tuple[Name, ...] = ()
    note: tuple[Paragraph, ...] = ()
    sources: Sources

    @model_validator(mode="after")
    def _fillable(self) -> ServiceOrder:
        _promised(self.id, (self.text,), SERVICE_WORDS)
        _promised(f"{self.id}: note", self.note, frozenset())
        if self.after_days is not None and self.within_days is not None:
            raise ValueError(f"{self.id}: after_days and within_days exclude each other")
        if self.timing is not None and (self.after_days, self.within_days) != (None, None):
            raise ValueError(f"{self.id}: timing excludes a day")
        if self.every_min is not None and self.timing is None:
            raise ValueError(f"{self.id}: every_min without timing")
        return self


class CheckLine(Row):
    """A line of the start checklist that no criterion gives; with `only_if`, only while that fact is present."""

    says: Words
    only_if: Name | None = None
    sources: Sources


class Watch(Row):
    """One thing to watch, or one limit: pause and call, stop and call, or release."""

    when: Literal["monitor", "pause", "stop", "release", "newborn", "afterwards"]
    says: Words
    kind: Kind
    sources: Sources


class OrderTable(Table):
    """
    What would be ordered, as drafts for a clinician to sign.

    `before_start` is written before each line of the start checklist in a note, `the_medicine` where nobody knows
    which of them it is, and `no_approval` where the site has none; only a translation says otherwise than here.
    """

    medication: MedicationOrder
    service: tuple[ServiceOrder, ...]
    start_check: Annotated[tuple[CheckLine, ...], Field(min_length=1)]
    watch: tuple[Watch, ...]
    ucum: str
    rxnorm: str
    snomed: str
    atc: str
    before_start: Words = "Before the start: $says"
    the_medicine: Words = "medicine"
    no_approval: Words = "none"

    def lines(self, when: str) -> tuple[str, ...]:
        return tuple(row.says for row in self.watch if row.when == when)

    @model_validator(mode="after")
    def _complete(self) -> OrderTable:
        _promised("before_start", (self.before_start,), LINE_WORDS)
        _once("order", (s.id for s in self.service))
        for when in ("monitor", "pause", "stop", "release", "newborn", "afterwards"):
            if not self.lines(when):
                raise ValueError(f"nothing to {when}")
        for name in ("after_days", "within_days"):
            if all(getattr(row, name) is None for row in self.service):
                raise ValueError(f"no order has {name}")
        return self


def _once(what: str, ids: Iterable[str]) -> None:
    twice = [id_ for id_, number in Counter(ids).items() if number > 1]
    if twice:
        raise ValueError(f"{what} stands twice: {', '.join(twice)}")


def _promised(where: str, texts: Iterable[str], promised: frozenset[str]) -> None:
    for text in texts:
        template = Template(text)
        if not template.is_valid() or "$$" in text or "${" in text:
            raise ValueError(f"{where}: a $ that starts no plain name")
        if strangers := set(template.get_identifiers()) - promised:
            raise ValueError(f"{where}: nobody says: {', '.join(sorted(strangers))}")
