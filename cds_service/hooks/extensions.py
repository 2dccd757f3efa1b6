"""
What EHRs say beyond the specification, in the `extension` of a request.

Nothing here may fail a call: an extension that is not understood is passed over (CDS Hooks 2.0, extensions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

_EPIC: Final = "com.epic.cdshooks."
# Epic has no encounter hooks. Its patient-view carries the native trigger (fhir.epic.com, CDS Hooks tutorial); it comes
# as text in real payloads (connectathon, September 2021), and as a number in the tutorial.
_EPIC_TRIGGER: Final = "com.epic.cdshooks.request.bpa-trigger-action"
_EPIC_HOOKS: Final[Mapping[str, str]] = {"26": "encounter-start", "27": "encounter-discharge"}
# Da Vinci CRD 2.2 lets a client set a service's options for one call; the name of the option is PDDI-CDS's.
_OPTIONS: Final = "davinci-crd.configuration"
FILTER_REPEATS: Final = "filter-repeated-cards"
# Millennium's documentation names its hosts cds-hooks.cerner.com and authorization.cerner.com.
_CERNER: Final = ".cerner.com"

Shown = Literal["epic", "cerner-1.0"]


@dataclass(frozen=True, slots=True)
class Extensions:
    """
    `shows` is the kind of EHR that the request gives away. `hook` is the workflow behind a patient-view, when it says.

    `filter_repeats`: the client does not want to be shown again what this user was shown before.
    """

    shows: Shown | None = None
    hook: str | None = None
    filter_repeats: bool = False


NONE: Final = Extensions()


def read_extensions(request: Mapping[str, Any], fhir_server: str | None) -> Extensions:
    """What this request says beyond the specification."""
    given = request.get("extension")
    if not isinstance(given, dict):
        return Extensions("cerner-1.0") if _is_cerner(fhir_server) else NONE
    epic = any(name.startswith(_EPIC) for name in given)
    options = given.get(_OPTIONS)
    return Extensions(
        shows="epic" if epic else "cerner-1.0" if _is_cerner(fhir_server) else None,
        hook=_epic_hook(given.get(_EPIC_TRIGGER)) if request.get("hook") == "patient-view" else None,
        filter_repeats=isinstance(options, dict) and options.get(FILTER_REPEATS) is True,
    )


def _epic_hook(trigger: object) -> str | None:
    if isinstance(trigger, str | int) and not isinstance(trigger, bool):
        return _EPIC_HOOKS.get(str(trigger).strip())
    return None


def _is_cerner(fhir_server: str | None) -> bool:
    if fhir_server is None:
        return False
    host = fhir_server.partition("://")[2].partition("/")[0].partition(":")[0]
    return host.lower().endswith(_CERNER)


def options_offered() -> dict[str, Any]:
    """What a client may set for one call, as discovery says it (Da Vinci CRD 2.2, configuration options)."""
    return {
        "davinci-crd.configuration-options": [
            {
                "code": FILTER_REPEATS,
                "type": "boolean",
                "name": "Leave out repeated cards",
                "description": "Leave out a card that this user has been shown for this patient and stay, with the "
                "same content. A critical card, and any card about a drafted medicine, is always shown.",
                "default": False,
            }
        ]
    }
