"""How `evaluate` plays an EHR at a terminal: what was typed about it, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cds_service.advisor import Advisor
from cds_service.batch import Asked, explain
from cds_service.errors import RequestUnreadable, ServiceUnknown
from cds_service.hooks.strict_json import write_json
from cds_service.rehearsal import ORDER_HOOKS, Desk, Response, Scene, Stage, rehearse
from cds_service.web.played_ehr import draftable_orders

# As an integrator names them: the orders that the demonstration can draft, too.
_ORDERS: Final = {"delivery": "vaginal-delivery", "caesarean": "caesarean", "esketamine": "esketamine"}


@dataclass(frozen=True, slots=True)
class Played:
    """What was said on the command line about the EHR that is played."""

    fhir_server: str
    patient: str | None
    hook: str | None
    order: str | None
    token_env: str | None
    service: str | None
    save: Path | None


def play(
    played: Played,
    clock: Callable[[], datetime],
    advisor_here: Callable[[], Advisor],
    environment: Mapping[str, str],
) -> Response:
    """
    One call as an EHR makes it, and what comes back.

    Raises RequestUnreadable, ServiceUnknown or ChartUnavailable, each with one plain line.
    """
    if played.patient is None:
        raise RequestUnreadable("--fhir-server needs --patient: whose chart is it?")
    hook = played.hook or "order-select"
    if played.order is not None and hook not in ORDER_HOOKS:
        raise RequestUnreadable(f"--order is drafted at {' and '.join(ORDER_HOOKS)} only.")
    if (order := played.order or "delivery") not in _ORDERS:
        raise RequestUnreadable(f"--order is none of {', '.join(_ORDERS)}.")
    draft = draftable_orders()[_ORDERS[order]] if hook in ORDER_HOOKS else None
    scene = Scene.of(hook, played.patient, clock(), draft)
    stage = Stage(played.fhir_server, token_in(environment, played.token_env))
    answering = _Here(advisor_here()) if played.service is None else Desk(played.service)
    response = rehearse(scene, stage, answering, played.save)
    if response.error is not None:
        raise ServiceUnknown(response.error)
    return response


def token_in(environment: Mapping[str, str], name: str | None) -> str | None:
    """The FHIR server's token. Raises RequestUnreadable when the variable that was named holds none."""
    token = environment.get(name) if name is not None else None
    if name is not None and not token:
        raise RequestUnreadable("--token-env: there is no environment variable of that name, or it is empty.")
    return token


@dataclass(frozen=True, slots=True)
class _Here:
    """The service in this very process, which also says why."""

    advisor: Advisor

    def discovery(self) -> Any:
        return self.advisor.discovery()

    def respond(self, service_id: str, request: bytes) -> Response:  # noqa: ARG002  (the hook says which service)
        told = explain(Asked("rehearsal", len(request), request), self.advisor)
        return Response(write_json(told.answer), write_json(told.line).decode(), told.text, told.error)
