"""The discovery document, as an EHR's analyst reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from calls import BEFORE, address, call, discovery, refusal, request_of
from flask.testing import FlaskClient
from response_check import hollow

from cds_service.hooks.discovery import discovery_document
from cds_service.hooks.request import HOOKS

Json = dict[str, Any]

README = Path(__file__).resolve().parents[2] / "README.md"
# CDS Hooks 2.0 and its hook library: the members of each context that may be tokens.
TOKENS_OF = {
    "patient-view": {"userId", "patientId", "encounterId"},
    "order-select": {"userId", "patientId", "encounterId"},
    "order-sign": {"userId", "patientId", "encounterId"},
    "encounter-start": {"userId", "patientId", "encounterId"},
    "encounter-discharge": {"userId", "patientId", "encounterId"},
}
USER_TOKENS = {"userPractitionerId", "userPractitionerRoleId", "userPatientId", "userRelatedPersonId"}
TOKEN = re.compile(r"\{\{(.*?)\}\}")
READ = re.compile(r"[A-Z][A-Za-z]+/\{\{[^{}]+\}\}")
SEARCH = re.compile(r"[A-Z][A-Za-z]+\?[^?]+")
PARAMETER = re.compile(r"[a-z][a-z-]*(:in)?|_count|_sort")
COMPARATOR = re.compile(r"(ne|sa|eb|ap)\d")


@pytest.fixture
def services(client: FlaskClient) -> list[Json]:
    found: list[Json] = discovery(client)["services"]
    return found


def templates(services: list[Json]) -> list[tuple[str, str]]:
    """Each template with the hook that it is for."""
    found = [(one["hook"], template) for one in services for template in one.get("prefetch", {}).values()]
    assert found
    return found


@pytest.mark.conforms("D-1")
@pytest.mark.parametrize("path", ["/cds-services", "/cds-services/"])
def test_discovery_is_200_with_a_list(path: str, client: FlaskClient) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert len(json.loads(answer.get_data())["services"]) == len(HOOKS)


@pytest.mark.conforms("D-1")
def test_without_services_the_list_is_empty() -> None:
    assert discovery_document((), {}, "Send it all.") == {"services": []}


@pytest.mark.conforms("D-2", "D-3")
@pytest.mark.parametrize("member", ["hook", "description", "id", "title"])
def test_each_service_says_what_it_is(member: str, services: list[Json]) -> None:
    assert [one[member] for one in services if isinstance(one[member], str) and one[member].strip()] != []
    assert all(isinstance(one[member], str) and one[member].strip() for one in services)


@pytest.mark.conforms("D-2", "R-1")
def test_each_service_that_is_listed_is_there(services: list[Json], client: FlaskClient) -> None:
    for service in services:
        assert refusal(client.post(f"/cds-services/{service['id']}", json={}), 400) == "hook is missing"


@pytest.mark.conforms("D-4")
def test_templates_and_requirements_are_text(services: list[Json]) -> None:
    for service in services:
        assert isinstance(service["usageRequirements"], str)
        assert isinstance(service["prefetch"], dict)
        assert all(isinstance(template, str) and template for template in service["prefetch"].values())


@pytest.mark.conforms("D-5")
def test_an_id_is_one_step_of_a_url(services: list[Json]) -> None:
    assert [one["id"] for one in services if not re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", one["id"])] == []


@pytest.mark.conforms("D-6")
def test_each_hook_has_an_id_of_its_own(services: list[Json]) -> None:
    assert len({one["id"] for one in services}) == len({one["hook"] for one in services}) == len(services)


@pytest.mark.conforms("D-7")
def test_the_version_is_that_of_the_specification(services: list[Json]) -> None:
    assert {one["version"] for one in services} == {"2.0"}
    assert {one["hookVersion"] for one in services if "hookVersion" in one} <= {"1.0"}


@pytest.mark.conforms("J-1", "X-1")
def test_nothing_in_it_is_empty_and_extensions_are_objects(client: FlaskClient) -> None:
    found = discovery(client)

    assert hollow(found) is None
    for holder in [found, *found["services"]]:
        for name in holder.get("extension", {}):
            assert re.fullmatch(r"[a-z0-9-]+(\.[A-Za-z0-9_-]+)+", name)


@pytest.mark.conforms("P-1", "P-2")
def test_a_token_is_a_plain_member_of_the_context(services: list[Json]) -> None:
    for hook, template in templates(services):
        assert template.count("{{") == template.count("}}") == len(TOKEN.findall(template))
        for token in TOKEN.findall(template):
            name = token.removeprefix("context.")
            assert (token in USER_TOKENS) or (token != name and name in TOKENS_OF[hook]), template


@pytest.mark.conforms("P-6")
def test_a_template_is_a_read_or_a_plain_search(services: list[Json]) -> None:
    for _, template in templates(services):
        if "?" not in template:
            assert READ.fullmatch(template), template
            continue
        assert SEARCH.fullmatch(template), template
        for parameter in template.partition("?")[2].split("&"):
            name, equals, value = parameter.partition("=")
            assert equals, template
            assert value, template
            assert PARAMETER.fullmatch(name), template
            assert not COMPARATOR.match(value), template


@pytest.mark.conforms("O-2")
def test_it_is_said_in_words_what_it_is_for_and_what_it_needs(services: list[Json]) -> None:
    readme = README.read_text(encoding="utf-8")

    for service in services:
        assert len(service["description"].split()) >= 15
        assert service["description"].endswith(".")
        assert "Patient is required" in service["usageRequirements"]
        assert f"`{service['id']}`" in readme
        assert f"`{service['hook']}`" in readme
    assert "## What this does not do" in readme


@pytest.mark.conforms("D-6", "R-3")
@pytest.mark.parametrize("hook", [service.hook for service in HOOKS])
def test_the_service_of_another_hook_does_not_answer(hook: str, client: FlaskClient) -> None:
    request = request_of(BEFORE, client)
    others = [service.hook for service in HOOKS if service.hook != hook]

    for other in others:
        said = refusal(client.post(address(client, other), json={**request, "hook": hook}), 400)
        assert said == f"hook is not {other}, the hook of this service"


@pytest.mark.conforms("D-6")
def test_the_hook_of_the_body_is_answered(client: FlaskClient) -> None:
    assert call(client, request_of(BEFORE, client)).status_code == 200
