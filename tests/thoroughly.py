"""On how many examples a property is tried. In CI they are the same ones each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = 2_000

settings.register_profile(
    "thorough",
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.register_profile("thorough-in-ci", settings.get_profile("thorough"), derandomize=True, database=None)

IN_CI = bool(os.environ.get("CI"))

# A decorator: at least 2,000 examples, no deadline.
thoroughly = settings.get_profile("thorough-in-ci" if IN_CI else "thorough")

# For counting how often something happens: the count must not depend on chance.
always_the_same = settings.get_profile("thorough-in-ci")
