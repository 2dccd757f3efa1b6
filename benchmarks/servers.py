"""A server as a process of its own, what it takes of this machine, and an EHR that signs each call."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://ehr.example.org"
_SITE = """
name = "Benchmark hospital"
country = "CN"

[protocol]
id = "esketamine-iv"
approval = "BENCHMARK-ONLY"
strength_mg_per_ml = 5
"""
_TENANT = """
[[tenant]]
id = "benchmark"
issuer = "{issuer}"
jwks_file = "keys.json"
algorithms = ["RS384"]
site = "site.toml"
fhir_servers = {fhir_servers}
"""


@dataclass(frozen=True)
class Server:
    """A process that listens, and how many seconds after its start it did."""

    pid: int
    port: int
    ready_after: float

    def processes(self) -> list[int]:
        """This one, and its children: gunicorn answers in one."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu(self) -> float:
        """Seconds on a processor so far, over all processes and threads."""
        threads = [thread for pid in self.processes() for thread in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def memory(self) -> float:
        """Resident memory in MB, of the process that answers."""
        status = Path(f"/proc/{self.processes()[-1]}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def descriptors(self) -> int:
        """Open files and sockets."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@contextmanager
def running(*command: str, **environment: str) -> Iterator[Server]:
    """Starts a server that prints its address, and stops it. What it logs is thrown away, but written as ever."""
    began = time.perf_counter()
    around = {**os.environ, **environment}
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=around
    )
    try:
        line = next((line for line in process.stdout or () if "http://" in line), "")
        if not line:
            sys.exit(f"did not start: {' '.join(command)}")
        port = int(line.split("http://")[1].split("/")[0].split(":")[1])
        yield Server(process.pid, port, time.perf_counter() - began)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@dataclass(frozen=True)
class Ehr:
    """
    Signs each call by itself (RS384, 2048 bits). `folder` holds what the service must know of it, and its records.

    With `fhir_servers` the service may read there what a call leaves out.
    """

    folder: Path
    fhir_servers: tuple[str, ...] = ()
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def __post_init__(self) -> None:
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        jwk = {**{name: public[name] for name in ("kty", "n", "e")}, "kid": "ehr", "use": "sig", "alg": "RS384"}
        (self.folder / "keys.json").write_text(json.dumps({"keys": [jwk]}))
        (self.folder / "site.toml").write_text(_SITE)
        tenant = _TENANT.format(issuer=ISSUER, fhir_servers=json.dumps(self.fhir_servers))
        (self.folder / "tenants.toml").write_text(tenant)

    @property
    def site(self) -> Path:
        return self.folder / "site.toml"

    @property
    def records(self) -> dict[str, str]:
        """Where the service keeps what it remembers, as its environment says it. Its processes share it."""
        return {"CDS_DATABASE": str(self.folder / "records.sqlite3")}

    @contextmanager
    def served(self) -> Iterator[Server]:
        """The service as it ships, for this EHR and nobody else."""
        arguments = ("-m", "cds_service", "serve", "--insecure", "--port", str(free_port()))
        with running(*arguments, "--tenants", str(self.folder / "tenants.toml"), **self.records) as server:
            yield server

    def token(self, server: Server, path: str) -> str:
        """For one call of this path, within five minutes from now."""
        now = int(time.time())
        audience = f"http://127.0.0.1:{server.port}{path}"
        claims = {"iss": ISSUER, "aud": audience, "iat": now, "exp": now + 300, "jti": str(uuid4())}
        return jwt.encode(claims, self.key, "RS384", {"kid": "ehr"})
