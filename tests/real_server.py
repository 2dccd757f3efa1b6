"""A real FHIR server for tests: SEKMET, an R4 server of other people's, in a process of its own, with charts in it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import requests
import yaml
from ehr import FAILED
from encoding import Json

FHIR_JSON = "application/fhir+json"
START_SECONDS = 60
LOAD_SECONDS = 120
# A transaction is one commit. In a batch each entry is one, and the charts of all vignettes take five times as long.
IN_ONE_BUNDLE = 500


@contextmanager
def real_server(folder: Path, resources: Iterable[Json] = (), **settings: Any) -> Iterator[str]:
    """
    The base URL of a running server that holds these resources under their own ids. It ends with the block.

    Its ways that matter here, each seen in version 0.1.1 with a request by hand:

    - A search parameter that it does not know is ignored: it answers with everybody's resources, and with an
      OperationOutcome (`warning`, `not-supported`) as an entry of mode `outcome`; the self link leaves the parameter
      out. It knows no parameter of QuestionnaireResponse and Questionnaire, not even `patient`. So each woman's search
      for her forms brings the forms of all women, over several pages. Nothing is done about that here: the service
      must pass over what is not hers.
    - Pages have 20 entries unless `_count` says otherwise, `total` counts the matches alone, and the links of paging
      begin with `base_url` of its settings, whatever host was called. So that is the address that it is called by.
    - It adds `meta.versionId` and `meta.lastUpdated`. Ids, references and numbers stay as they were put.
    - It answers `/metadata` without a token, too.
    """
    port = _free_port()
    base = f"http://127.0.0.1:{port}/fhir"
    file = folder / "settings.yaml"
    plain = {
        "base_url": base,
        "data_dir": str(folder),
        "simulator": {"enabled": False},  # it would fill the orders that it holds
        "validation": {"inbound": "off"},  # a chart is loaded as it is
        "log_inbound": False,
    }
    file.write_text(yaml.safe_dump(plain | settings))
    tokens = settings.get("server_auth", {}).get("tokens", [])
    command = [Path(sys.executable).with_name("sekmet"), "serve", "--config", file, "--host", "127.0.0.1"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*map(str, command), "--port", str(port)], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            with requests.Session() as session:
                session.trust_env = False
                if tokens:
                    session.headers["Authorization"] = f"Bearer {tokens[0]}"
                _await(session, base, process, folder / "server.log")
                _put(session, base, resources)
            yield base
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    """Its settings must name the port before it listens, so that it cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await(session: requests.Session, base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if session.get(f"{base}/metadata", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError(f"the FHIR server did not start:\n{log.read_text()}")


def _put(session: requests.Session, base: str, resources: Iterable[Json]) -> None:
    """Loads the resources in transactions. One id must not mean two things."""
    held: dict[str, Json] = {}
    for resource in resources:
        url = f"{resource['resourceType']}/{resource['id']}"
        assert held.setdefault(url, resource) == resource, f"two different resources are {url}"
    entries = [{"resource": one, "request": {"method": "PUT", "url": url}} for url, one in held.items()]
    for start in range(0, len(entries), IN_ONE_BUNDLE):
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries[start : start + IN_ONE_BUNDLE]}
        headers = {"Content-Type": FHIR_JSON, "Prefer": "return=minimal"}
        answer = session.post(base, data=json.dumps(bundle), headers=headers, timeout=LOAD_SECONDS)
        assert answer.status_code == 200, answer.text[:2000]
        assert {entry["response"]["status"] for entry in answer.json()["entry"]} <= {"200 OK", "201 Created"}


# ---- Servers of our own


class Handler(BaseHTTPRequestHandler, ABC):
    """Answers with what `page` returns. Says nothing on the way."""

    protocol_version: ClassVar[str] = "HTTP/1.1"

    @abstractmethod
    def page(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer to this request, of which `body` is the body."""

    def _answer(self) -> None:
        status, kind, body = self.page(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815  (the names that the standard library calls)

    def log_message(self, *_: Any) -> None:
        """Not on the standard error that a test may look at."""


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # so that closing it waits for them

    def handle_error(self, *_: Any) -> None:
        """A client may hang up as it likes."""


@contextmanager
def listening(handler: type[Handler]) -> Iterator[str]:
    """The address of a server in this process. It ends with the block."""
    server = _Listener(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def lame(base: str) -> Iterator[str]:
    """
    A go-between before a FHIR server that answers 500 to some searches.

    Below its address the first step of the path names the types that fail: `…/without.Condition.Procedure`. A base
    URL may have such a path, so that one go-between serves all vignettes.
    """

    class GoBetween(Handler):
        def page(self, body: bytes) -> tuple[int, str, bytes]:  # noqa: ARG002
            _, lamed, rest = self.path.split("/", 2)
            if rest.partition("?")[0].partition("/")[0] in lamed.split(".")[1:]:
                return 500, FHIR_JSON, json.dumps(FAILED).encode()
            sent = {name: self.headers[name] for name in ("Accept", "Authorization") if name in self.headers}
            answer = session.get(f"{base}/{rest}", headers=sent, timeout=30)
            # The links of paging lead back here, or the client would not follow them.
            here = f"{origin}/{lamed}".encode()
            return answer.status_code, FHIR_JSON, answer.content.replace(base.encode(), here)

    with requests.Session() as session, listening(GoBetween) as origin:
        session.trust_env = False
        yield origin
