"""An EHR in memory: it answers searches over the charts filed in it, and fires hooks with prefetch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from encoding import Case, Json, drafts, encode

BASE = "https://ehr.example.org/fhir"

LISTS = {
    "problems": ("Condition",),
    "medications": ("MedicationRequest", "MedicationAdministration", "MedicationStatement"),
    "allergies": ("AllergyIntolerance",),
}
FAILED: Json = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "timeout", "diagnostics": "The search took too long."}],
}
SHARED = ("Questionnaire",)  # belongs to no patient

USERS = {
    "Practitioner": "Practitioner/obstetrician",
    "PractitionerRole": "PractitionerRole/midwife-ward-4",
    "RelatedPerson": "RelatedPerson/mother-of-the-patient",
}


class Ehr:
    """
    Charts by patient id. What is filed in a chart is found there, even if somebody filed it wrongly.

    `down` names the resource types whose searches fail.
    """

    def __init__(self, charts: dict[str, list[Json]], down: Iterable[str] = ()) -> None:
        self.charts = charts
        self.down = frozenset(down)

    def get(self, query: str) -> Json:
        """A read of one instance, or a search by type."""
        path, _, search = query.partition("?")
        if search:
            return self._search(path, parse_qsl(search, keep_blank_values=True, strict_parsing=True))
        kind, _, wanted = path.partition("/")
        (found,) = [one for one in self._everything() if (one["resourceType"], one["id"]) == (kind, wanted)]
        return found

    def _everything(self) -> list[Json]:
        return [one for chart in self.charts.values() for one in chart]

    def _search(self, kind: str, parameters: list[tuple[str, str]]) -> Json:
        if kind in self.down:
            return FAILED
        # A token that repeats means "and"; the result parameters (_count, _sort) stand once.
        by_name = dict(parameters)
        patient = by_name.get("patient") or by_name.get("subject")
        assert patient or kind in SHARED, f"a search over every patient's {kind}"
        pool = self.charts[patient.removeprefix("Patient/")] if patient else self._everything()
        found = [one for one in pool if one["resourceType"] == kind]
        for name, value in parameters:
            if name not in ("patient", "subject", "_count", "_sort"):
                found = [one for one in found if _matches(one, name, value)]
        for key in reversed(by_name.get("_sort", "").split(",")):
            if key:
                found.sort(key=lambda one, key=key: _moment(one, key.lstrip("-")), reverse=key.startswith("-"))
        return _searchset(kind, found, int(by_name.get("_count", "1000")))


def _searchset(kind: str, found: list[Json], page: int) -> Json:
    """FHIR R4, Bundle of type searchset. Empty arrays are forbidden; a longer result says that there is more."""
    bundle: Json = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(found),
        "link": [{"relation": "self", "url": f"{BASE}/{kind}"}],
    }
    if len(found) > page:
        bundle["link"].append({"relation": "next", "url": f"{BASE}/{kind}?_page=2"})
    if found:
        bundle["entry"] = [
            {"fullUrl": f"{BASE}/{kind}/{one['id']}", "resource": one, "search": {"mode": "match"}}
            for one in found[:page]
        ]
    return bundle


def _concepts(*names: str) -> Callable[[Json], list[Json]]:
    """The codings of some elements, whether the element is a code, a Coding, a CodeableConcept or a list of them."""

    def read(resource: Json) -> list[Json]:
        codings: list[Json] = []
        for name in names:
            values = resource.get(name, [])
            for value in values if isinstance(values, list) else [values]:
                match value:
                    case str():
                        codings.append({"code": value})
                    case {"coding": [*inner]}:
                        codings += inner
                    case {"code": _}:
                        codings.append(value)
        return codings

    return read


def _references(name: str) -> Callable[[Json], list[Json]]:
    def read(resource: Json) -> list[Json]:
        reference = resource.get(name, {}).get("reference", "")
        return [{"code": reference}, {"code": reference.rpartition("/")[2]}]

    return read


# The token and reference searches of FHIR R4 that an ordinary EHR offers.
SEARCHES: dict[str, Callable[[Json], list[Json]]] = {
    "_id": _concepts("id"),
    "code": _concepts("code", "medicationCodeableConcept"),
    "category": _concepts("category"),
    "class": _concepts("class"),
    "clinical-status": _concepts("clinicalStatus"),
    "context": _references("context"),
    "encounter": _references("encounter"),
    "intent": _concepts("intent"),
    "status": _concepts("status"),
    "url": _concepts("url"),
    "verification-status": _concepts("verificationStatus"),
}


def _matches(resource: Json, name: str, value: str) -> bool:
    """Token search: `code`, `system|code` or `system|`, several joined by commas (FHIR R4, search, token)."""
    codings = SEARCHES[name](resource)  # a search that the EHR does not know is an error, never "everything"
    return any(_is(coding, token) for token in value.split(",") for coding in codings)


def _is(coding: Json, token: str) -> bool:
    system, bar, code = token.rpartition("|")
    return (not bar or coding.get("system", "") == system) and (not code or coding.get("code") == code)


def _moment(resource: Json, key: str) -> str:
    dates = {
        "date": ("effectiveDateTime", "performedDateTime", "authored", "recordedDate", "onsetDateTime"),
        "authored": ("authored", "authoredOn"),
        "authoredon": ("authoredOn",),
        "effective-time": ("effectiveDateTime",),
        "recorded-date": ("recordedDate",),
        "onset-date": ("onsetDateTime",),
        "_lastUpdated": (),
    }[key]
    return next((resource[name] for name in dates if name in resource), "")


# ---- Firing a hook


def service_for(hook: str, discovery: Json) -> Json:
    """The one service of the discovery document that is registered for this hook."""
    (service,) = [one for one in discovery["services"] if one["hook"] == hook]
    return service


def request_for(case: Case, now: datetime, discovery: Json) -> Json:
    """The CDS Hooks request that this case's EHR sends."""
    context = context_of(case, now)
    return {
        "hook": case["hook"],
        "hookInstance": case.hook_instance,
        "context": context,
        "prefetch": prefetch_for(case, now, service_for(case["hook"], discovery).get("prefetch", {}), context),
    }


def context_of(case: Case, now: datetime) -> Json:
    """Who looks at whom, and what is on the screen."""
    patient = f"woman-{case.slug}"
    context: Json = {
        "userId": f"Patient/{patient}" if case["user"] == "Patient" else USERS[case["user"]],
        "patientId": patient,
        "encounterId": f"stay-{case.slug}",
    }
    orders, selections = drafts(case, now)
    if case["hook"] == "order-select":
        context["selections"] = selections
    if case["hook"] in ("order-select", "order-sign"):
        context["draftOrders"] = {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": order} for order in orders],
        }
    return context


def prefetch_for(case: Case, now: datetime, templates: dict[str, str], context: Json) -> Json:
    """
    Each template, resolved and answered.

    A list that cannot be had is left out where the case's number is odd, and is an OperationOutcome where it is even.
    """
    down = [kind for name, kinds in LISTS.items() if not case[name]["available"] for kind in kinds]
    ehr = Ehr({context["patientId"]: encode(case, now)}, down)
    answers = {key: ehr.get(query) for key, query in resolved(templates, context).items()}
    return {key: answer for key, answer in answers.items() if answer is not FAILED or case.number % 2 == 0}


def resolved(templates: dict[str, str], context: Json) -> dict[str, str]:
    """Templates with their tokens filled in. One whose token is not there is left out (CDS Hooks 2.0, prefetch)."""
    kind, _, user = context["userId"].partition("/")
    tokens: dict[str, Any] = {f"context.{name}": value for name, value in context.items() if isinstance(value, str)}
    tokens[f"user{kind}Id"] = user
    return {
        key: re.sub(r"\{\{(.+?)\}\}", lambda found: tokens[found[1].strip()], template)
        for key, template in templates.items()
        if all(name.strip() in tokens for name in re.findall(r"\{\{(.+?)\}\}", template))
    }
