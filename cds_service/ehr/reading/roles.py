"""Who is asking: the user's own roles, and the topics that the site shows to people in them."""

from __future__ import annotations

from cds_service.ehr.chart import Chart
from cds_service.ehr.elements import codings, concepts_in, reference_of, relative
from cds_service.settings import Site


def topics_for(user: str, chart: Chart, site: Site) -> frozenset[str] | None:
    """
    The topics for this user ("Practitioner/…" or "PractitionerRole/…"); None means all.

    All, when no role is known or the site's table does not name it: a card too many is better than one too few. Those
    of every role that the table names, when there are several. A role of somebody else never counts.
    """
    if not site.role:
        return None
    held = [
        (coding.get("system"), coding.get("code"))
        for role in chart.of("PractitionerRole")
        if role.get("active") is not False and user in {reference_of(role), relative(role.get("practitioner"))}
        for concept in concepts_in(role.get("code"))
        for coding in codings(concept)
        if isinstance(coding, dict)
    ]
    named = [row for row in site.role if any((row.system, code) in held for code in row.codes)]
    return frozenset(topic for row in named for topic in row.topics) if named else None
