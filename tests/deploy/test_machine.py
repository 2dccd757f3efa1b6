"""The unit for systemd and the proxy that ends TLS, on one machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cds_service.web.server import _PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy" / "systemd" / "cds-service.service"
NGINX = (ROOT / "deploy" / "nginx" / "cds-service.conf").read_text(encoding="utf-8")
# As systemd reckons, from 0 (shut) to 100 (open): a service without a word about it has 96.
MOST_EXPOSED = 15


def told(key: str) -> str:
    (value,) = re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    return str(value)


def test_systemd_finds_the_unit_shut_and_knows_every_line_of_it() -> None:
    if shutil.which("systemd-analyze") is None and os.environ.get("CI") != "true":
        pytest.skip("systemd-analyze is missing: the unit is not weighed")
    weigh = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager", str(UNIT)]
    weighed = subprocess.run(weigh, capture_output=True, text=True, check=False)
    read = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)  # noqa: S607

    assert weighed.returncode == 0, weighed.stdout[-500:]
    # It is installed nowhere here, so systemd misses the program, and may know no such man pages. It knows the rest.
    said = [line for line in read.stderr.splitlines() if "is not executable" not in line]
    assert said == []


def test_it_runs_as_nobody_and_every_folder_that_it_writes_to_is_its_own() -> None:
    assert told("DynamicUser") == "yes"
    assert told("ProtectSystem") == "strict"
    assert told("WorkingDirectory") == f"/var/lib/{told('StateDirectory')}"
    assert f"TMPDIR=/run/{told('RuntimeDirectory')} " in told("Environment")
    assert told("StateDirectoryMode") == told("RuntimeDirectoryMode") == "0700"


def test_it_is_waited_for_longer_than_it_takes_to_leave() -> None:
    assert told("KillSignal") == "SIGTERM"
    assert int(told("TimeoutStopSec")) > _PATIENCE_SECONDS


def test_it_listens_for_the_proxy_alone_and_no_secret_stands_in_the_unit() -> None:
    assert "--host 127.0.0.1 --port 8000" in told("ExecStart")
    assert "--insecure" not in told("ExecStart")
    assert not re.search(r"CDS_\w+=", UNIT.read_text(encoding="utf-8"))


def test_the_proxy_sends_each_call_once_to_the_service_and_keeps_nothing_of_it() -> None:
    assert "server 127.0.0.1:8000;" in NGINX
    assert re.search(r"^\s*proxy_next_upstream\s+off;", NGINX, re.MULTILINE)
    assert re.search(r"^\s*access_log\s+off;", NGINX, re.MULTILINE)
    assert re.search(r"^\s*proxy_max_temp_file_size\s+0;", NGINX, re.MULTILINE)
    sizes = dict(re.findall(r"^\s*(client_\w+_size)\s+(\S+);", NGINX, re.MULTILINE))
    assert sizes["client_body_buffer_size"] == sizes["client_max_body_size"]  # or a body would lie on the disk
    (explanations,) = re.findall(r"location /consultations \{(.*)\}", NGINX)
    assert "error_log /dev/null " in explanations  # a request line holds what opens the explanation
    assert re.findall(r"location (\S+)", NGINX) == ["/cds-services", "/consultations", "/"]
