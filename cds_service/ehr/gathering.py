"""Gathers the chart: what the EHR sent along, and what it did not, read from its FHIR server in one time budget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from cds_service.ehr.answers import answer_of
from cds_service.ehr.chart import Chart, chart_of, same_patient_leave
from cds_service.ehr.client import Client, Question, Visit
from cds_service.ehr.elements import Resource
from cds_service.ehr.prefetch import Told, prefetched
from cds_service.ehr.reading.medicines import medication_pool, wanted_medications
from cds_service.ehr.reading.screens import wanted_questionnaires
from cds_service.ehr.servers import Servers
from cds_service.ehr.wanted import Query, queries
from cds_service.errors import ServiceError, SiteUnfit
from cds_service.hooks.request import FHIR_ID, HookRequest
from cds_service.hooks.strict_json import read_json
from cds_service.knowledge import Knowledge
from cds_service.settings import Site
from cds_service.telemetry import span

# More medicines or forms than this behind references are not looked up: what they are stays unknown.
_MOST_LOOKED_UP: Final = 40
_MEDICINES: Final = ("MedicationRequest", "MedicationAdministration", "MedicationStatement")


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """
    Where a chart comes from at this site: what is asked, who may be asked beyond prefetch, and the site's own forms.

    `client` is None where only prefetch is read. `excluded`: security labels whose resources are not to be read.
    """

    wanted: tuple[Query, ...]
    knowledge: Knowledge
    client: Client | None = None
    forms: tuple[Resource, ...] = ()
    excluded: frozenset[str] = frozenset()

    @classmethod
    def of(cls, site: Site, knowledge: Knowledge, also: tuple[str, ...] = ()) -> Sources:
        """
        The sources of a site. `also`: FHIR servers named on the command line.

        Raises SiteUnfit when a server cannot be meant, or a form cannot be read.
        """
        servers = Servers(site, also)
        client = Client(servers, budget=site.ehr.budget_ms / 1000) if site.ehr.servers or also else None
        forms = () if site.ehr.questionnaires is None else tuple(_forms(site.ehr.questionnaires))
        return cls(
            queries(knowledge, roles=bool(site.role)), knowledge, client, forms, frozenset(site.ehr.excluded_labels)
        )


@span("read")
def gather(request: HookRequest, sources: Sources) -> Chart:
    """
    The chart: from prefetch, and from the EHR's server for what was not sent.

    Raises ChartUnavailable (412) when the patient cannot be had or is somebody else. Whatever else does not come is
    unknown (decision logic, section 10).
    """
    same_patient_leave(request)
    told = [*prefetched(request, sources.wanted), *(_shelved(form) for form in sources.forms)]
    visit = sources.client.visit(request.fhir_server, request.fhir_authorization) if sources.client else None
    if visit is None:
        return chart_of(request, told, sources.wanted, sources.excluded)
    with visit:
        told = _completed(request, told, sources.wanted, visit)
        chart = chart_of(request, told, sources.wanted, sources.excluded)
        more = _looked_up(chart, sources.knowledge, visit)
    return chart_of(request, [*told, *more], sources.wanted, sources.excluded) if more else chart


def _completed(request: HookRequest, told: list[Told], wanted: tuple[Query, ...], visit: Visit) -> list[Told]:
    """The answers, with the pages that were still to come, and with one for each question that was not asked yet."""
    answered = {key for one in told for key in one.keys}
    tokens = {"context.patientId": request.patient_id}
    if request.encounter_id is not None:
        tokens["context.encounterId"] = request.encounter_id
    user, _, id_ = request.user_id.partition("/")
    tokens[f"user{user}Id"] = id_
    missing = {
        query.key: Question(url)
        for query in wanted
        if query.key not in answered and (url := query.filled(tokens)) is not None
    }
    # A `next` link of prefetch is followed with the EHR's own leave only.
    begun = {
        f"{number}": Question(url, (one.value,))
        for number, one in enumerate(told)
        if one.answer.more and visit.has_token and (url := visit.next_url(one.answer.more, visit.server.base + "/"))
    }
    if not missing and not begun:
        return told
    replies = visit.ask({**missing, **begun})
    finished = [replace(one, answer=replies.get(f"{number}", one.answer)) for number, one in enumerate(told)]
    return finished + [Told((key,), None, replies[key], key, about_her=True) for key in missing]


def _looked_up(chart: Chart, knowledge: Knowledge, visit: Visit) -> list[Told]:
    """The medicines and forms that the chart names without saying what they are."""
    entries = (*chart.drafts, *(one for kind in _MEDICINES for one in chart.of(kind)))
    medications = sorted(wanted_medications(entries, medication_pool(chart), knowledge))
    forms = sorted(wanted_questionnaires(chart.of("QuestionnaireResponse"), chart.of("Questionnaire"), knowledge))
    questions = {reference: Question(reference) for reference in medications[:_MOST_LOOKED_UP]}
    questions |= {f"form {canonical}": Question(_form_at(canonical, visit)) for canonical in forms[:_MOST_LOOKED_UP]}
    if not questions:
        return []
    return [Told((), None, answer, "a reference", about_her=False) for answer in visit.ask(questions).values()]


def _form_at(canonical: str, visit: Visit) -> str:
    """Where the EHR holds a form: read by its id where the canonical points there, else searched by its url."""
    url, _, version = canonical.partition("|")
    base = f"{visit.server.base}/"
    if re.fullmatch(rf"Questionnaire/{FHIR_ID}", url.removeprefix(base)):
        return url.removeprefix(base)
    return "Questionnaire?" + urlencode({"url": url, "version": version} if version else {"url": url})


def _shelved(form: Resource) -> Told:
    return Told((), form, answer_of(form), "the site's own forms", about_her=False)


def _forms(folder: Path) -> Iterator[Resource]:
    """The Questionnaires of a folder. Raises SiteUnfit naming the file that holds none."""
    if not folder.is_dir():
        raise SiteUnfit(f"ehr.questionnaires: {folder}: no such folder")
    for path in sorted(folder.glob("*.json")):
        try:
            form: Any = read_json(path.read_bytes())
        except (OSError, ServiceError) as error:
            raise SiteUnfit(f"ehr.questionnaires: {path}: cannot be read as JSON") from error
        if not isinstance(form, dict) or form.get("resourceType") != "Questionnaire" or not form.get("url"):
            raise SiteUnfit(f"ehr.questionnaires: {path}: not a Questionnaire with a url")
        yield form
