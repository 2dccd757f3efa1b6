"""The image and the two containers of compose.yaml: linted, and shut where an attacker would like them open."""

from __future__ import annotations

import fnmatch
import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cds_service.settings import Settings
from cds_service.web.server import _PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SETTINGS = set(re.findall(r"\bCDS_[A-Z_]+[A-Z]\b", (ROOT / "cds_service" / "settings.py").read_text(encoding="utf-8")))
OPTIONAL = {name for name in SETTINGS if name.startswith("CDS_INSIGHTS_")} | {"CDS_EXPLANATION_KEY"}
TOOLS = Path(sys.executable).parent


def instructions() -> Iterator[tuple[str, str]]:
    """Each instruction of the last stage, and what it says."""
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    for line in re.sub(r"\\\n\s*", "", last_stage).splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest


LAST = dict(instructions())


# ---- The image


def test_hadolint_has_nothing_against_the_dockerfile() -> None:
    done = subprocess.run(
        [TOOLS / "hadolint", "--no-color", "-"], input=DOCKERFILE, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something() -> None:
    spoilt = DOCKERFILE.replace(":3.11-slim-bookworm", ":latest")
    done = subprocess.run(
        [TOOLS / "hadolint", "--no-color", "-"], input=spoilt, capture_output=True, text=True, check=False
    )

    assert "DL3007" in done.stdout


def test_every_package_in_the_image_is_pinned_by_its_hash() -> None:
    installs = re.findall(r"pip [^&]*?\binstall\b[^&]*", re.sub(r"\\\n\s*", "", DOCKERFILE))

    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-deps --no-index" in one for one in installs), installs


def test_it_runs_as_nobody_with_a_name_and_hears_the_signal_that_the_service_hears() -> None:
    assert LAST["USER"] == "10001:10001"
    assert LAST["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(LAST["ENTRYPOINT"]) == [
        "/opt/cds-service/bin/cds-service"
    ]  # no shell between, which would not hear it
    assert json.loads(LAST["CMD"])[0] == "serve"
    assert "--insecure" not in DOCKERFILE


def test_no_secret_is_built_in() -> None:
    assert not re.search(r"CDS_\w*(?:KEY|TOKEN|DATABASE)", DOCKERFILE)
    assert "ARG" not in dict.fromkeys(re.findall(r"^[A-Z]+", DOCKERFILE, re.MULTILINE))


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_of_the_image_passes_for_200_and_fails_for_anything_else(status: int, code: int) -> None:
    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert done_with(health_check(server.server_port)) == code
    server.shutdown()
    server.server_close()
    assert done_with(health_check(server.server_port)) == 1  # nobody listens


def health_check(port: int) -> str:
    python, minus_c, script = json.loads(LAST["HEALTHCHECK"].partition("CMD ")[2])
    assert (python, minus_c) == ("/opt/cds-service/bin/python", "-c")
    assert script.count("8000") == 1
    return str(script).replace("8000", str(port))


def done_with(script: str) -> int:
    # Where a proxy stands in the environment, it must not be asked.
    around = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, "-c", script], env=around, capture_output=True, check=False).returncode


def test_what_the_image_is_built_from_is_let_in_and_nothing_else() -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"]
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]

    assert sorted(let_in) == sorted(copied)
    assert all((ROOT / name).exists() for name in let_in)
    for secret in (".env", "etc", "tenants.toml", "cds-service.sqlite3", ".git"):
        assert not any(fnmatch.fnmatch(secret, name) for name in let_in)


# ---- compose.yaml


def test_compose_yaml_is_what_compose_reads() -> None:
    check = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / "compose.yaml")]
    done = subprocess.run(check, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_container_can_do_nothing_that_it_need_not(name: str) -> None:
    container = COMPOSE["services"][name]
    user, _, group = container["user"].partition(":")

    assert int(user) > 0
    assert int(group) > 0
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert "cap_add" not in container
    assert "privileged" not in container
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert container["pids_limit"] > 0


def test_only_the_proxy_on_this_machine_reaches_the_service_and_only_the_service_the_database() -> None:
    service, database = COMPOSE["services"]["service"], COMPOSE["services"]["database"]

    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert "ports" not in database
    assert database["networks"] == ["back"]
    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert service["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_a_container_is_waited_for_longer_than_the_service_takes_to_leave() -> None:
    assert int(COMPOSE["services"]["service"]["stop_grace_period"].rstrip("s")) > _PATIENCE_SECONDS


def test_no_secret_has_a_default() -> None:
    """`${NAME:?…}` stops compose where it is missing. What may stay away is empty, and then off."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    asked = dict(re.findall(r"\$\{(\w+)(:[?-][^}]*)?\}", text)[::-1])  # the first of each name
    must = {name for name, how in asked.items() if how.startswith(":?")}

    assert must == {"CDS_PUBLIC_BASE_URL", "CDS_AUDIT_KEY", "CDS_DATABASE_PASSWORD", "CDS_METRICS_TOKEN"}
    assert {how for name, how in asked.items() if name not in must} == {":-"}
    assert {name for name in asked if name not in must} == OPTIONAL
    Settings.from_environment(dict.fromkeys(OPTIONAL, ""))
    assert set(COMPOSE["services"]["service"]["environment"]) == SETTINGS - {"CDS_CORS_ORIGINS"}  # by tenant, too
