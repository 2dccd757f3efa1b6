"""An EHR's FHIR server for one woman, on a socket of this machine, that tells what it was asked and how."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from calls import FHIR_JSON
from conftest import NOON
from ehr import Ehr
from encoding import Case, Json, encode, site_of
from real_server import Handler, listening

from cds_service.advisor import Advisor
from cds_service.ehr.client import Client
from cds_service.ehr.gathering import Sources
from cds_service.ehr.servers import Servers
from cds_service.ehr.wanted import queries
from cds_service.knowledge import Knowledge
from cds_service.rendering.wording import Wording
from cds_service.settings import Site

GENEROUS_MS = 20_000
TOKEN = "token-Zebrafinch4711"  # noqa: S105  (of a server that lives as long as the test)


@dataclass
class Asked:
    """Where the server is, and what it was asked: each query with the headers that came along."""

    base: str = ""
    heard: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """The resource types that were asked for."""
        return sorted(query.partition("?")[0].partition("/")[0] for query, _ in self.heard)

    def sent_along(self) -> Json:
        """What a call says about this server."""
        authorization = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.rs"}
        return {"fhirServer": self.base, "fhirAuthorization": authorization}


@contextmanager
def serving(
    case: Case, meanwhile: Callable[[str], object] = lambda _: None, more: Iterable[Json] = ()
) -> Iterator[Asked]:
    """
    A server with the case's chart, and with more in it.

    `meanwhile` is called with the type that is asked for, before the answer.
    """
    chart = [*encode(case, NOON), *more]
    ehr = Ehr({f"woman-{case.slug}": chart})
    asked = Asked()

    class Serve(Handler):
        def page(self, body: bytes) -> tuple[int, str, bytes]:  # noqa: ARG002
            query = self.path.removeprefix("/fhir/")
            asked.heard.append((query, dict(self.headers.items())))
            meanwhile(query.partition("?")[0].partition("/")[0])
            try:
                return 200, FHIR_JSON, json.dumps(ehr.get(query)).encode()
            except (KeyError, ValueError):
                return 404, FHIR_JSON, b'{"resourceType": "OperationOutcome"}'

    with listening(Serve) as origin:
        asked.base = f"{origin}/fhir"
        yield asked


def reading(
    case: Case, server: str, knowledge: Knowledge, wording: Wording, clock: Callable[[], float] | None = None
) -> Advisor:
    """The advisor of a case's site that may read this server. With a `clock`, time goes by as that says."""
    site = Site.from_table(site_of(case) | {"ehr": {"servers": [server], "budget_ms": GENEROUS_MS}})
    sources = Sources.of(site, knowledge)
    if clock is not None:
        sources = Sources(queries(knowledge), knowledge, Client(Servers(site), budget=GENEROUS_MS / 1000, clock=clock))
    return Advisor(knowledge, wording, site, lambda: NOON, sources)


def without(request: Json, *keys: str) -> Json:
    """The request with these keys of its prefetch left out; without a key, all of them."""
    kept: dict[str, Any] = {key: value for key, value in request["prefetch"].items() if keys and key not in keys}
    return {**request, "prefetch": kept}
