"""What an EHR is told before it calls: which services there are, and what to send along to each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cds_service.hooks.extensions import options_offered
from cds_service.hooks.request import Service

# The version of the CDS Hooks specification, not of this service.
SPECIFICATION: Final = "2.0"


def discovery_document(
    services: Iterable[Service], prefetch: Mapping[str, Mapping[str, str]], usage: str
) -> dict[str, Any]:
    """
    The answer to GET /cds-services.

    `prefetch` holds the templates by key, for each service id. A service without an entry there is a KeyError: it
    would be called without a chart, and nobody would notice. `usage` says what a service needs from the EHR.
    """
    return {"services": [_entry(service, prefetch[service.id], usage) for service in services]}


def _entry(service: Service, templates: Mapping[str, str], usage: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "hook": service.hook,
        "title": service.title,
        "description": service.description,
        "id": service.id,
        "prefetch": dict(templates),
        "usageRequirements": usage,
        "version": SPECIFICATION,
        "extension": options_offered(),
    }
    return {name: value for name, value in entry.items() if value}  # CDS Hooks allows no empty member
