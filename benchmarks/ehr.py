"""An EHR that thinks for 50 ms about each search of the benchmark's chart, and then answers it."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from body import chart

from cds_service.ehr.wanted import queries
from cds_service.knowledge import load_knowledge

THINKS_SECONDS = 0.050
BASE = "/fhir/"


def answers(now: datetime) -> dict[str, bytes]:
    """The body of each answer, by the read or search that asks for it."""
    tokens = {"context.patientId": "benchmark", "context.encounterId": "benchmark-stay"}
    told = chart(now)
    asked = {query.key: query.filled(tokens) for query in queries(load_knowledge())}
    return {unquote(url): json.dumps(told[key]).encode() for key, url in asked.items() if url is not None}


class Ehr(BaseHTTPRequestHandler):
    """One connection to the EHR."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer leaves in one piece
    told: dict[str, bytes]

    def do_GET(self) -> None:
        time.sleep(THINKS_SECONDS)
        body = self.told.get(unquote(self.path.removeprefix(BASE)))
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: Any) -> None:
        """Nobody listens."""


if __name__ == "__main__":
    Ehr.told = answers(datetime.now(UTC))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ehr)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}{BASE}\n")
    sys.stdout.flush()
    server.serve_forever()
