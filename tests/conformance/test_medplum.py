"""A real client calls: Medplum's SDK, in Node, with a chart that it reads from a real FHIR server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from calls import AFTER, topics
from conftest import NOON
from ehr import context_of
from encoding import encode, site_of
from real_server import real_server
from response_check import check_answer
from werkzeug.serving import make_server

from cds_service.advisor import Advisor
from cds_service.hooks.request import HOOKS, service_for
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site
from cds_service.web.app import create_app

Json = dict[str, Any]
Play = Callable[..., Json]

CLIENT = Path(__file__).parent / "medplum"
USER = {"resourceType": "Practitioner", "id": "obstetrician"}

# Where a change is about to land, it fails without Node.
if not (shutil.which("node") and shutil.which("npm")) and os.environ.get("CI") != "true":
    pytest.skip("Node or npm is missing: Medplum's client is not tried", allow_module_level=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with its package, exactly as locked, in a folder of its own."""
    folder = tmp_path_factory.mktemp("medplum")
    for file in CLIENT.iterdir():
        shutil.copy(file, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--cache", "cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return folder


@pytest.fixture(scope="module")
def fhir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    practitioner = {**USER, "active": True}
    with real_server(tmp_path_factory.mktemp("server"), [*encode(AFTER, NOON), practitioner]) as base:
        yield base


@pytest.fixture(scope="module")
def services(knowledge: Knowledge, wording: Wording) -> Iterator[str]:
    """Where discovery is."""
    advisor = Advisor(knowledge, wording, Site.from_table(site_of(AFTER)), lambda: NOON)
    server = make_server("127.0.0.1", 0, create_app(advisor), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/cds-services"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def play(installed: Path, fhir: str, services: str) -> Play:
    """Fires a hook with the SDK, and returns what it has to say. The user is not in its context by itself."""

    def played(hook: str, **changes: Any) -> Json:
        context = context_of(AFTER, NOON) | changes
        kept = {name: value for name, value in context.items() if value is not None}
        given = {"fhir": fhir, "services": services, "hook": hook, "user": USER, "context": kept}
        done = subprocess.run(
            ["node", "client.mjs"],  # noqa: S607  (the Node of whoever runs the tests)
            input=json.dumps(given),
            cwd=installed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        told: Json = json.loads(done.stdout)
        return told

    return played


def test_the_sdk_finds_the_service_fills_in_its_prefetch_and_reads_the_cards(play: Play) -> None:
    told = play("order-select")

    assert told["service"] == service_for("order-select").id
    assert topics(told["cards"]) == AFTER.expect["cards"]
    check_answer({"cards": told["cards"]}, told["request"])


def test_it_asks_for_all_that_discovery_asks_for(play: Play) -> None:
    told = play("order-select")
    prefetch = told["request"]["prefetch"]

    assert {"patient", "problems", "screens", "vital_signs", "questionnaire_responses"} <= prefetch.keys()
    assert prefetch["patient"]["id"] == f"woman-{AFTER.slug}"
    assert {value["resourceType"] for key, value in prefetch.items() if key not in ("patient", "encounter")} == {
        "Bundle"
    }
    assert "fhirServer" not in told["request"]


@pytest.mark.parametrize("hook", [service.hook for service in HOOKS])
def test_it_can_fire_each_hook(hook: str, play: Play) -> None:
    told = play(hook)

    assert told["service"] == service_for(hook).id
    assert told["cards"]
    check_answer({"cards": told["cards"]}, told["request"])


def test_without_an_encounter_a_template_cannot_be_filled_in_and_the_rest_is_read(play: Play) -> None:
    told = play("order-select", encounterId=None)

    assert told["request"]["prefetch"]["encounter"] is None
    assert "PPDRISK" in topics(told["cards"])


def test_it_does_not_say_who_the_user_is_and_reads_what_is_missing(play: Play) -> None:
    assert play("order-select", userId=None) == {"refused": "context.userId is missing"}
