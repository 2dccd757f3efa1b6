"""From FHIR resources to facts. Reads only the elements that the tables need; sets odd resources aside and says so."""

from __future__ import annotations

from dataclasses import dataclass

from cds_service.clinical.facts import ABSENT, Evidence, Facts, Finding, any_of, present
from cds_service.clinical.moment import Moment
from cds_service.clinical.order_check import DraftedOrder
from cds_service.clinical.screening import screen
from cds_service.clinical.stage import Stage, stage_of
from cds_service.ehr.answers import Had
from cds_service.ehr.reading import conditions, medicines, observations, ordered, patient, pregnancy, screens
from cds_service.ehr.reading.view import View, missing
from cds_service.settings import Site


@dataclass(frozen=True, slots=True)
class Read:
    """The facts of a chart, the stage that they were read for, and the suicide risk assessments on record."""

    facts: Facts
    stage: Stage
    assessments: tuple[Moment, ...]


def read(view: View, drafted: tuple[DraftedOrder, ...], site: Site) -> Read:
    """Every fact that the tables ask of a chart, as of the view's instant. Never raises on an odd resource."""
    observed = observations.observe(view)
    problems = conditions.read_problems(view)
    where = {
        "birth": pregnancy.read_birth(view, observed),
        "delivery_order": ordered.read_delivery_order(view.chart, view.knowledge),
        "due_date_ahead": pregnancy.read_due_date(view, observed),
        "pregnancy": any_of(
            conditions.is_pregnant(problems, view.now), pregnancy.read_pregnancy_status(view, observed)
        ),
    }
    stage = stage_of(Facts(where, view.now), view.knowledge.times)
    # A birth long ago is not the end of this pregnancy: what was lost or done then says nothing about now.
    born = stage in {Stage.AFTER_BIRTH, Stage.POSTPARTUM}
    birth = where["birth"] if born else ABSENT
    began = pregnancy.began(view, observed, birth)
    since = pregnancy.this_birth_since(view, birth)
    findings: dict[str, Finding] = {
        **where,
        **conditions.read_conditions(view, problems, began),
        **patient.read_allergies(view, empty_means_none=site.empty_allergy_list_means_none),
        **medicines.read_medicines(view, elsewhere=site.administrations_elsewhere),
        **observations.read_observations(view, observed, birth.at),
        **pregnancy.read_mode(view, observed, born=born, since=since),
        **pregnancy.read_anaesthesia(view, since),
        **screen(
            screens.read_forms(view, observed),
            not_had=None if (had := screens.forms_had(view)) is Had.WHOLE else missing(had),
            encounter_began=pregnancy.encounter_began(view),
            table=view.knowledge.screens,
            now=view.now,
        ),
        "age": patient.read_age(view),
        "asa_class": pregnancy.read_asa(view, observed, began),
        "bipolar_screen": screens.read_bipolar_screen(view, observed, began),
        "breastfeeding_recorded": pregnancy.read_breastfeeding(view, observed),
        "prevention_order_nasal": _nasal(drafted),
    }
    return Read(Facts(findings, view.now), stage, pregnancy.read_assessments(view, observed))


def _nasal(drafted: tuple[DraftedOrder, ...]) -> Finding:
    found = [order for order in drafted if order.for_prevention and order.selected and order.route == "nasal"]
    return present(*(Evidence(order.reference, order.route) for order in found)) if found else ABSENT
