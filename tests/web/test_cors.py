"""Which pages may call the services from a browser: those whose very origin is named, and nobody by default."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cds_service.advisor import Advisor
from cds_service.errors import SiteUnfit
from cds_service.hooks.strict_json import MOST_BYTES
from cds_service.records import Records
from cds_service.settings import Settings
from cds_service.web.app import create_app

EHR = "https://ehr.example.org"
# A delivery is ordered, and nobody says for whom: neither by prefetch nor by a server that may be asked.
WITHOUT_HER = {
    "hook": "order-select",
    "hookInstance": "1",
    "context": {
        "userId": "Practitioner/1",
        "patientId": "1",
        "selections": ["ServiceRequest/1"],
        "draftOrders": {
            "resourceType": "Bundle",
            "entry": [
                {"resource": {"resourceType": "ServiceRequest", "id": "1", "code": {"text": "Vaginal delivery"}}},
            ],
        },
    },
}
PATHS = ["/cds-services", "/cds-services/ppd-delivery-order", "/cds-services/ppd-delivery-order/feedback"]


@pytest.fixture(scope="module")
def door(advisor: Advisor) -> FlaskClient:
    return create_app(advisor, records=Records.in_memory(), origins=(EHR, "http://localhost:3000")).test_client()


def preflight(door: FlaskClient, path: str, origin: str = EHR, method: str = "POST", **more: str) -> TestResponse:
    asked = "authorization,content-type"
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": asked}
    return door.options(path, headers={**headers, **more})


@pytest.mark.conforms("O-1")
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_is_answered_without_credentials(door: FlaskClient, path: str, slash: str) -> None:
    answer = preflight(door, path + slash)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == EHR
    assert {"GET", "POST"} == set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert answer.headers["Access-Control-Allow-Headers"].lower() == "authorization, content-type"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (EHR, True),
        ("http://ehr.example.org", False),
        ("https://EHR.example.org", False),
        ("https://ehr.example.org:443", False),
        ("https://ehr.example.org:8443", False),
        ("https://ehr.example.org/", False),
        ("https://evil.ehr.example.org", False),
        ("https://ehr.example.org.evil.com", False),
        ("https://ehr-example.org", False),
        ("https://ehr.example.org https://ehr.example.org", False),
        ("http://localhost:3000", True),
        ("http://localhost:3001", False),
        ("http://localhost:30000", False),
        ("null", False),
        ("*", False),
    ],
)
@pytest.mark.parametrize("ask", ["preflight", "discovery"])
def test_only_the_very_origin_is_let_in(door: FlaskClient, ask: str, origin: str, allowed: bool) -> None:
    answer = preflight(door, PATHS[1], origin) if ask == "preflight" else door.get(PATHS[0], headers={"Origin": origin})
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (lambda d, h: d.post(PATHS[1], data=b"{", content_type="application/json", headers=h), 400),
        (lambda d, h: d.post("/cds-services/unknown", json={}, headers=h), 404),
        (lambda d, h: d.post(PATHS[1], data=b"{}", content_type="text/plain", headers=h), 415),
        (lambda d, h: d.get(PATHS[1], headers=h), 405),
        (lambda d, h: d.post(PATHS[1], json=WITHOUT_HER, headers=h), 412),
        (lambda d, h: d.post(PATHS[1], data=b" " * (MOST_BYTES + 1), content_type="application/json", headers=h), 413),
        (lambda d, h: d.post(PATHS[2], json={"feedback": []}, headers=h), 400),
    ],
)
def test_a_refusal_can_be_read_by_the_page_that_caused_it(
    door: FlaskClient, call: Callable[[FlaskClient, dict[str, str]], TestResponse], status: int
) -> None:
    answer = call(door, {"Origin": EHR})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, EHR)


def test_an_accident_can_be_read_too(advisor: Advisor) -> None:
    app = create_app(advisor, origins=(EHR,))

    @app.get("/cds-services/accident/today")
    def accident() -> None:
        raise KeyError

    answer = app.test_client().get("/cds-services/accident/today", headers={"Origin": EHR})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (500, EHR)


def test_a_page_may_read_when_to_send_its_feedback_again(advisor: Advisor, tmp_path: Path) -> None:
    file = tmp_path / "feedback.sqlite3"
    broken = create_app(advisor, records=Records.at(str(file)), origins=(EHR,)).test_client()
    file.rename(tmp_path / "elsewhere")
    feedback = {"feedback": [{"card": "1", "outcome": "accepted"}]}
    answer = broken.post(PATHS[2], json=feedback, headers={"Origin": EHR})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (503, EHR)
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"


@pytest.mark.parametrize("others", [(), ("http://localhost:3000",)], ids=["alone", "with another"])
@pytest.mark.parametrize("headers", [{}, {"Origin": EHR}, {"Origin": "https://evil.example"}], ids=str)
def test_a_cache_is_told_that_the_answer_depends_on_the_origin(
    advisor: Advisor, others: tuple[str, ...], headers: dict[str, str]
) -> None:
    answer = create_app(advisor, origins=(EHR, *others)).test_client().get(PATHS[0], headers=headers)
    assert answer.headers.getlist("Vary") == ["Origin"]
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [EHR] * (headers.get("Origin") == EHR)


def test_nothing_but_the_services_is_shared(door: FlaskClient) -> None:
    for path in ("/healthz", "/readyz", "/version", "/docs", "/openapi.yaml", "/cds-services-not"):
        assert "Access-Control-Allow-Origin" not in door.get(path, headers={"Origin": EHR}).headers


def test_by_default_nobody_is_let_in(client: FlaskClient) -> None:
    answer = preflight(client, PATHS[1])
    assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


def test_chromium_is_told_that_a_page_may_call_this_machine(door: FlaskClient) -> None:
    more = {"Access-Control-Request-Private-Network": "true"}
    assert preflight(door, PATHS[1], **more).headers["Access-Control-Allow-Private-Network"] == "true"
    assert (
        "Access-Control-Allow-Private-Network" not in preflight(door, PATHS[1], "https://evil.example", **more).headers
    )


# The port that goes without saying for one scheme must be said for the other.
PORTS_SWAPPED = ("https://ehr.example.org:80", "http://ehr.example.org:443")


@pytest.mark.parametrize(
    ("setting", "origins"),
    [
        ("", ()),
        ("https://ehr.example.org", ("https://ehr.example.org",)),
        ("https://ehr.example.org:80,http://ehr.example.org:443", PORTS_SWAPPED),
        (" https://ehr.example.org , http://localhost:3000,", ("https://ehr.example.org", "http://localhost:3000")),
    ],
)
def test_the_setting_names_origins(setting: str, origins: tuple[str, ...]) -> None:
    assert Settings.from_environment({"CDS_CORS_ORIGINS": setting}).cors_origins == origins


@pytest.mark.parametrize(
    "setting",
    [
        "*",
        "null",
        "https://*.example.org",
        "https://ehr.example.org/",
        "https://ehr.example.org/path",
        "https://EHR.example.org",
        "ehr.example.org",
        "https://ehr.example.org https://b.example.org",
        "https://",
        "https://ehr.example.org:port",
        "https://ehr.example.org:0",
        "https://ehr.example.org:443",
        "http://ehr.example.org:80",
    ],
)
def test_what_is_no_origin_is_refused_at_start(setting: str) -> None:
    with pytest.raises(SiteUnfit, match="CDS_CORS_ORIGINS: not exact origins"):
        Settings.from_environment({"CDS_CORS_ORIGINS": f"https://ok.example.org,{setting}"})


def test_serve_says_so_in_one_line() -> None:
    command = [sys.executable, "-m", "cds_service", "serve", "--insecure", "--port", "0"]
    setting = {**os.environ, "CDS_CORS_ORIGINS": "*"}
    done = subprocess.run(command, env=setting, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CDS_CORS_ORIGINS: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("origin", "allowed"), [("https://sandbox.cds-hooks.org", True), (EHR, False)])
def test_the_demonstration_lets_in_the_public_sandbox_alone(demonstration: int, origin: str, allowed: bool) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Private-Network": "true",
    }
    connection = http.client.HTTPConnection("127.0.0.1", demonstration, timeout=20)
    connection.request("OPTIONS", PATHS[1], headers=asked)
    told = connection.getresponse()
    connection.close()
    assert told.headers["Access-Control-Allow-Origin"] == (origin if allowed else None)
    assert told.headers["Access-Control-Allow-Private-Network"] == ("true" if allowed else None)


@pytest.fixture(scope="module")
def demonstration() -> Iterator[int]:
    """The port of the demonstration, as `cds-service demo` runs it."""
    command = [sys.executable, "-m", "cds_service", "demo", "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:(\d+)/demo", process.stdout.readline())
        assert found, "the demonstration did not start"
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=30)
