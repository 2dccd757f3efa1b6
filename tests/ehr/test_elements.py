"""One element at a time: whom a reference names, and which instants a date allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thoroughly import thoroughly

from cds_service.clinical.moment import Precision
from cds_service.ehr.elements import moment, relative

# ---- References

REFERENCES = [
    ("relative", "Patient/x", "Patient/x"),
    ("absolute", "https://ehr.example.org/fhir/R4/Patient/x", "Patient/x"),
    ("absolute, with a port", "http://localhost:8080/Patient/x", "Patient/x"),
    ("versioned", "Patient/x/_history/2", "Patient/x"),
    ("absolute and versioned", "https://ehr.example.org/fhir/Patient/x/_history/2", "Patient/x"),
    ("its history", "Patient/x/_history", "Patient/x"),
    ("a slash at the end", "Patient/x/", "Patient/x"),
    ("versioned, a slash at the end", "Patient/x/_history/2/", "Patient/x"),
    ("a slash before it", "/Patient/x", "Patient/x"),
    ("a query behind it", "Patient/x?_format=json", "Patient/x"),
    ("blanks around it", "  Patient/x\n", "Patient/x"),
    ("in a compartment", "Patient/x/Observation/y", "Observation/y"),
    ("an id of 256 letters", f"Patient/{'x' * 256}", f"Patient/{'x' * 256}"),
    ("an id with its case", "Patient/aB-9.z_~", "Patient/aB-9.z_~"),
    ("in a bundle", "urn:uuid:6b6551e6-ead9-5470-965f-bb19726a4c39", "urn:uuid:6b6551e6-ead9-5470-965f-bb19726a4c39"),
    ("contained", "#mother", "#mother"),
    ("an id of 257 letters", f"Patient/{'x' * 257}", None),
    ("an id alone", "x", None),
    ("a type alone", "Patient/", None),
    ("a type in lower case", "patient/x", None),
    ("a blank inside", "Patient/x y", None),
    ("another line", "Patient/x\nPatient/y", None),
    ("two slashes", "Patient//x", None),
    ("dots for an id", "Patient/..", None),
    ("part of a resource", "Patient/x#name", None),
    ("a search", "Patient?identifier=urn:a|1", None),
    ("a host that is called like a type", "http://Patient/x", None),
    ("a canonical with a version", "Questionnaire/x|1", None),
    ("nothing", "", None),
    ("blanks", "  ", None),
    ("a number", 7, None),
    ("none", None, None),
    ("a list", ["Patient/x"], None),
]


@pytest.mark.parametrize(("text", "target"), [row[1:] for row in REFERENCES], ids=[row[0] for row in REFERENCES])
def test_a_reference_names_one_resource_or_none(text: Any, target: str | None) -> None:
    assert relative(text) == target
    assert relative({"reference": text, "type": "Patient", "display": "Patient/y"}) == target


@pytest.mark.parametrize(
    "reference", [{}, {"display": "Patient/x"}, {"identifier": {"value": "x"}}, {"type": "Patient"}, {"reference": {}}]
)
def test_a_reference_without_a_target_names_none(reference: Any) -> None:
    assert relative(reference) is None


IDS = st.from_regex(r"[A-Za-z0-9.\-]{1,64}", fullmatch=True).filter(lambda id_: id_.strip("."))
TYPES = st.sampled_from(["Patient", "RelatedPerson", "Practitioner", "Group", "Device"])
BEFORE = st.sampled_from(["", "/", " ", "https://ehr.example.org/fhir/", "http://a.example.org:8080/b/c/Patient/z/"])
BEHIND = st.sampled_from(["", "/", " ", "/_history/1", "/_history/x/", "/_history", "?_format=json", "?a=b/Patient/z"])


@thoroughly
@given(TYPES, IDS, IDS, st.tuples(BEFORE, BEHIND), st.tuples(BEFORE, BEHIND))
def test_two_ids_never_become_one(
    kind: str, one: str, other: str, around: tuple[str, str], around_other: tuple[str, str]
) -> None:
    first, second = (
        relative(f"{before}{kind}/{id_}{behind}") for id_, (before, behind) in ((one, around), (other, around_other))
    )

    assert first == f"{kind}/{one}"
    assert (first == second) is (one == other)


@thoroughly
@given(st.text(max_size=40) | st.from_regex(r"[Pp]atient[/#?.:]{0,3}[a-z/#?.: ]{0,12}"))
def test_whatever_is_written_there_only_a_whole_reference_names_her(text: str) -> None:
    """The text that names her holds her type and id as they are, once nothing but a host or a version is around it."""
    if relative(text) == "Patient/x":
        assert "Patient/x" in text.split("?", maxsplit=1)[0]
        assert "#" not in text


# ---- Dates

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


MOMENTS = [
    ("2026", Precision.YEAR, "2026-01-01T00:00+08:00", "2027-01-01T00:00+08:00"),
    ("2026-12", Precision.MONTH, "2026-12-01T00:00+08:00", "2027-01-01T00:00+08:00"),
    ("2026-02", Precision.MONTH, "2026-02-01T00:00+08:00", "2026-03-01T00:00+08:00"),
    ("2024-02-29", Precision.DAY, "2024-02-29T00:00+08:00", "2024-03-01T00:00+08:00"),
    ("2026-12-31", Precision.DAY, "2026-12-31T00:00+08:00", "2027-01-01T00:00+08:00"),
    ("2026-11-23T11:50", Precision.TIME, "2026-11-23T11:50+08:00", "2026-11-23T11:50+08:00"),
    ("2026-11-23 11:50:00", Precision.TIME, "2026-11-23T11:50+08:00", "2026-11-23T11:50+08:00"),
    ("2026-11-23T11:50:00Z", Precision.TIME, "2026-11-23T11:50+00:00", "2026-11-23T11:50+00:00"),
    ("2026-11-23t11:50:00z", Precision.TIME, "2026-11-23T11:50+00:00", "2026-11-23T11:50+00:00"),
    ("2026-11-23T11:50:00+14:00", Precision.TIME, "2026-11-23T11:50+14:00", "2026-11-23T11:50+14:00"),
    ("2026-11-23T11:50:00-12:00", Precision.TIME, "2026-11-23T11:50-12:00", "2026-11-23T11:50-12:00"),
    ("2016-12-31T23:59:60Z", Precision.TIME, "2016-12-31T23:59:59+00:00", "2016-12-31T23:59:59+00:00"),
    ("2026-11-23T11:50:00.5Z", Precision.TIME, "2026-11-23T11:50:00.5+00:00", "2026-11-23T11:50:00.5+00:00"),
]


@pytest.mark.parametrize(("text", "precision", "earliest", "latest"), MOMENTS, ids=[row[0] for row in MOMENTS])
def test_a_date_is_as_exact_as_it_was_written(text: str, precision: Precision, earliest: str, latest: str) -> None:
    at = moment(text, SHANGHAI)

    assert at is not None
    assert (at.precision, at.earliest, at.latest) == (precision, utc(earliest), utc(latest))
    assert at.text == text


@pytest.mark.parametrize(
    "text",
    [
        "", "today", "26", "2026-1", "2026-13", "2026-02-30", "2026-11-23T", "2026-11-23T11", "2026-11-23T24:00Z",
        "2026-11-23T11:60Z", "2026-11-23T11:50:61Z", "2026-11-23T11:50+14:01", "2026-11-23T11:50-12:01",
        "2026-11-23T11:50+01:60", "2026-11-23T11:50+1", "0000-01-01", "9999-12-31", "20261123", "2026-11-23Z",
        "2026-11-23T11:50:00Z, or so", 2026, None, ["2026"], {"start": "2026"},
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(text: Any) -> None:
    assert moment(text, SHANGHAI) is None


def test_an_hour_that_comes_twice_may_be_either() -> None:
    at = moment("2026-10-25T02:30:00", BERLIN)

    assert at is not None
    assert (at.earliest, at.latest) == (utc("2026-10-25T02:30+02:00"), utc("2026-10-25T02:30+01:00"))


@pytest.mark.parametrize("text", ["2026-10-25T01:59:59", "2026-10-25T03:00:00"])
def test_the_hours_beside_it_come_once(text: str) -> None:
    at = moment(text, BERLIN)

    assert at is not None
    assert at.earliest == at.latest


@thoroughly
@given(
    seconds=st.integers(-(10**9), 4 * 10**9),  # from 1938 to 2096
    minutes=st.integers(-12 * 60, 14 * 60),
    colon=st.booleans(),
)
def test_every_clock_of_the_world_tells_the_same_instant(seconds: int, minutes: int, colon: bool) -> None:
    instant = datetime.fromtimestamp(seconds, UTC)
    written = instant.astimezone(timezone(timedelta(minutes=minutes))).isoformat()

    read = moment(written if colon else written[:-3] + written[-2:], SHANGHAI)

    assert read is not None
    assert read.earliest == read.latest == instant
