"""From FHIR resources to facts. Reads only the elements that the tables need; sets odd resources aside and says so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cds_service.clinical.facts import ABSENT, Evidence, Facts, Finding, any_of, present
from cds_service.clinical.moment import Moment
from cds_service.clinical.order_check import DraftedOrder
from cds_service.clinical.screening import screen
from cds_service.ehr.chart import Chart, Had
from cds_service.ehr.elements import span
from cds_service.ehr.reading import conditions, medicines, observations, ordered, patient, pregnancy, screens
from cds_service.ehr.units import Units
from cds_service.ehr.wanted import Query
from cds_service.knowledge import Knowledge
from cds_service.settings import Site


@dataclass(frozen=True, slots=True)
class Read:
    """The facts of a chart, and the suicide risk assessments with which some of them are weighed."""

    facts: Facts
    assessments: tuple[Moment, ...]


def read(
    chart: Chart,
    drafted: tuple[DraftedOrder, ...],
    knowledge: Knowledge,
    units: Units,
    wanted: tuple[Query, ...],
    site: Site,
    now: datetime,
) -> Read:
    """Every fact that the tables ask of a chart, as of `now` (aware). Never raises on an odd resource."""
    zone = site.zone(now)
    listed = observations.entries(chart, knowledge, zone)
    began = pregnancy.began(listed, knowledge.times, now, zone)
    birth = pregnancy.read_birth(chart, listed, knowledge, now, zone)
    since = pregnancy.this_birth_since(chart, birth, knowledge.times, now, zone)
    problems = conditions.read_conditions(chart, knowledge, now, zone, began)
    born = birth.at is not None and birth.at.latest >= began
    assessments = pregnancy.read_assessments(chart, listed, knowledge, zone)
    findings: dict[str, Finding] = {
        **problems,
        **patient.read_allergies(chart, knowledge, empty_means_none=site.empty_allergy_list_means_none),
        **medicines.read_medicines(chart, knowledge, now, zone, elsewhere=site.administrations_elsewhere),
        **observations.read_observations(chart, listed, knowledge, units, wanted, now, birth.at),
        **pregnancy.read_mode(chart, listed, wanted, knowledge, zone, born=born, since=since),
        **pregnancy.read_anaesthesia(chart, wanted, knowledge, zone, since),
        **screen(
            screens.read_forms(chart, listed, knowledge, zone),
            received=screens.forms_had(chart, wanted) is Had.WHOLE,
            encounter_began=span(chart.encounter.get("period"), zone)[0] if chart.encounter is not None else None,
            table=knowledge.screens,
            now=now,
        ),
        "age": patient.read_age(chart, now, zone),
        "asa_class": pregnancy.read_asa(listed, chart, knowledge, wanted, began),
        "birth": birth,
        "bipolar_screen": screens.read_bipolar_screen(listed, chart, knowledge, wanted, began, now),
        "breastfeeding_recorded": pregnancy.read_breastfeeding(listed, knowledge),
        "delivery_order": ordered.read_delivery_order(chart, knowledge),
        "due_date_ahead": pregnancy.read_due_date(listed, now, zone),
        "pregnancy": any_of(problems["pregnancy"], pregnancy.read_pregnancy_status(listed, knowledge)),
        "prevention_order_nasal": _nasal(drafted),
    }
    return Read(Facts(findings, now), tuple(at for at, _ in assessments))


def _nasal(drafted: tuple[DraftedOrder, ...]) -> Finding:
    found = [order for order in drafted if order.for_prevention and order.selected and order.route == "nasal"]
    return present(*(Evidence(order.reference, order.route) for order in found)) if found else ABSENT
