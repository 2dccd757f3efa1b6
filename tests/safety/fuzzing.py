"""What must be true of the answer to any call at all, however spoilt; and how many of which kind there were."""

from __future__ import annotations

import gc
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from asking import KNOWLEDGE, WORDING, doses_in
from conftest import NOON
from encoding import site_of
from flask.testing import FlaskClient
from invariant import assert_nothing_speaks_against
from mutations import Spoilt, spoilt
from response_check import check_answer, request_like

from cds_service.advisor import Advice, Advisor
from cds_service.hooks.request import HookRequest
from cds_service.settings import Site
from cds_service.web.app import create_app


class _Kept(Advisor):
    """Keeps the last request and what was advised."""

    last: tuple[HookRequest, Advice] | None = None

    def advise(self, request: HookRequest) -> Advice:
        advice = super().advise(request)
        self.last = (request, advice)
        return advice


class Fuzz:
    """Asks spoilt calls of the sites of the worked cases. `met` counts the statuses, the doses and the cards."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.met: Counter[str] = Counter()
        self._doors: dict[str, tuple[_Kept, FlaskClient]] = {}

    def ask(self, number: int) -> None:
        """Raises AssertionError where the answer is not as it must be."""
        call = spoilt(number, self.seed)
        advisor, door = self._door(call)
        advisor.last = None
        answer = door.post(call.path, data=call.body, content_type="application/json")
        self.met[str(answer.status_code)] += 1
        body = answer.get_json()
        if answer.status_code == 200:
            self._check(body, advisor.last)
        else:
            assert answer.status_code in (400, 412, 413), (number, answer.status_code)
            assert body["resourceType"] == "OperationOutcome", number

    def _check(self, body: Any, last: tuple[HookRequest, Advice] | None) -> None:
        assert last is not None
        request, advice = last
        cards = body["cards"]
        drafts = request.draft_orders
        check_answer(body, request_like(request.hook, request.patient_id, request.encounter_id, drafts))
        assert not advice.failed, "thinking broke down"
        thought = advice.consultation
        self.met["with cards"] += bool(cards)
        if thought is None or thought.dose is None:
            assert doses_in(cards) == []
            return
        self.met["with a dose"] += 1
        assert_nothing_speaks_against(thought.facts, thought.eligibility, thought.occasion.stage)

    def _door(self, call: Spoilt) -> tuple[_Kept, FlaskClient]:
        site = json.dumps(site_of(call.case), sort_keys=True)
        if site not in self._doors:
            advisor = _Kept(KNOWLEDGE, WORDING, Site.from_table(json.loads(site)), lambda: NOON)
            self._doors[site] = (advisor, create_app(advisor).test_client())
        return self._doors[site]


def resident_mb() -> float:
    """The memory that this process holds now, in MB, once what nobody needs is gone."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
