"""Which topics a user is shown, by the roles that are known to be the user's own."""

from __future__ import annotations

from typing import Any

import pytest

from cds_service.ehr.chart import Chart
from cds_service.ehr.reading.roles import topics_for
from cds_service.settings import Site

Json = dict[str, Any]

SITE = Site.from_table(
    {
        "country": "CN",
        "role": [
            {"system": "urn:roles", "codes": ["midwife", "nurse"], "topics": ["PPDSCREEN"]},
            {"system": "urn:roles", "codes": ["doctor"], "topics": ["PPDRISK", "KETOPTION"]},
            {"system": "urn:others", "codes": ["clerk"], "topics": []},
        ],
    }
)
ME, MINE = "Practitioner/me", "PractitionerRole/mine"
MIDWIFE, DOCTOR = frozenset({"PPDSCREEN"}), frozenset({"PPDRISK", "KETOPTION"})


def role(*codes: str, system: str = "urn:roles", of: str | None = ME, name: str = "mine", **more: Any) -> Json:
    coded = [{"coding": [{"system": system, "code": code}]} for code in codes]
    owner = {"practitioner": {"reference": of}} if of else {}
    return {"resourceType": "PractitionerRole", "id": name, "code": coded, **owner, **more}


ONE_CONCEPT = {"coding": ["odd", {"system": "urn:roles", "code": "doctor"}]}
ROLES: list[tuple[str, list[Json], str, frozenset[str] | None]] = [
    ("mine", [role("midwife")], ME, MIDWIFE),
    ("mine, the second code of a row", [role("nurse")], ME, MIDWIFE),
    ("mine, by the role itself", [role("doctor", of=None)], MINE, DOCTOR),
    ("mine, two in one", [role("midwife", "doctor")], ME, MIDWIFE | DOCTOR),
    ("mine, two roles", [role("midwife"), role("doctor", name="other")], ME, MIDWIFE | DOCTOR),
    ("mine, and shown nothing", [role("clerk", system="urn:others")], ME, frozenset()),
    ("mine, as one concept", [role() | {"code": ONE_CONCEPT}], ME, DOCTOR),
    ("mine, still active", [role("doctor", active=True)], ME, DOCTOR),
    ("mine no more", [role("doctor", active=False)], ME, None),
    ("somebody else's", [role("doctor", of="Practitioner/other")], ME, None),
    ("somebody else's role", [role("doctor", of=None, name="theirs")], MINE, None),
    ("of another system", [role("doctor", system="urn:others")], ME, None),
    ("that the site does not name", [role("porter")], ME, None),
    ("without a code", [role()], ME, None),
    ("none", [], ME, None),
]


@pytest.mark.parametrize(("roles", "user", "topics"), [row[1:] for row in ROLES], ids=[row[0] for row in ROLES])
def test_a_user_is_shown_the_topics_of_the_roles_that_are_known(
    roles: list[Json], user: str, topics: frozenset[str] | None
) -> None:
    chart = Chart({}, None, {"PractitionerRole": tuple(roles)}, {}, (), frozenset(), ())

    assert topics_for(user, chart, SITE) == topics
    assert topics_for(user, chart, Site.from_table({"country": "CN"})) is None
