"""What EHRs say beyond the specification, and that no oddity in it fails a call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.hooks.extensions import NONE, Extensions, read_extensions

TRIGGER = "com.epic.cdshooks.request.bpa-trigger-action"
VERSION = "com.epic.cdshooks.request.cds-hooks-specification-version"
OPTIONS = "davinci-crd.configuration"
CERNER = "https://fhir-ehr.cerner.com/r4/tenant"


def read(extension: Any, hook: str = "patient-view", server: str | None = None) -> Extensions:
    return read_extensions({"hook": hook, "extension": extension}, server)


@pytest.mark.parametrize(
    ("trigger", "hook"),
    [
        ("26", "encounter-start"),
        (26, "encounter-start"),
        ("27", "encounter-discharge"),
        (27, "encounter-discharge"),
        (" 27 ", "encounter-discharge"),
        ("25", None),
        (28, None),
        ("60", None),
        ("", None),
        (26.0, None),
        (True, None),
        (["26"], None),
        ({"code": 26}, None),
        (None, None),
    ],
)
def test_epics_trigger_names_the_workflow_as_text_or_as_number(trigger: Any, hook: str | None) -> None:
    assert read({TRIGGER: trigger}) == Extensions("epic", hook)


@pytest.mark.parametrize("hook", ["order-select", "order-sign", "encounter-start"])
def test_the_trigger_speaks_at_patient_view_only(hook: str) -> None:
    assert read({TRIGGER: "26"}, hook).hook is None


def test_any_extension_of_epics_gives_epic_away() -> None:
    assert read({VERSION: "1.1"}).shows == "epic"
    assert read({"com.epicure.cdshooks": "1.1"}).shows is None


@pytest.mark.parametrize(
    ("server", "shows"),
    [
        (CERNER, "cerner-1.0"),
        ("https://FHIR-EHR.CERNER.COM:443/r4", "cerner-1.0"),
        ("https://cerner.com.example.org/r4", None),
        ("https://notcerner.com/r4", None),
        ("https://example.org/.cerner.com/", None),
        (None, None),
    ],
)
def test_millennium_is_known_by_the_host_of_its_fhir_server(server: str | None, shows: str | None) -> None:
    assert read({}, server=server).shows == shows
    assert read_extensions({"hook": "patient-view"}, server).shows == shows


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"filter-repeated-cards": True}, True),
        ({"filter-repeated-cards": True, "max-cards": 5}, True),
        ({"filter-repeated-cards": False}, False),
        ({"filter-repeated-cards": "true"}, False),
        ({"filter-repeated-cards": 1}, False),
        ({}, False),
        ([], False),
        (None, False),
    ],
)
def test_only_a_plain_true_asks_to_leave_out_repeats(options: Any, asked: bool) -> None:
    assert read({OPTIONS: options}).filter_repeats is asked


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([TRIGGER, VERSION, OPTIONS]), inner),
    max_leaves=8,
)


@given(JUNK)
def test_no_extension_fails_a_call(extension: Any) -> None:
    found = read(extension)
    assert isinstance(found, Extensions)
    if not isinstance(extension, dict):
        assert found == NONE
