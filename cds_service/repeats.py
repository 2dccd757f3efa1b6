"""
What this user has been shown before, so that an EHR may ask not to be told twice.

Nothing of a chart is kept: only keyed digests, whose key lives and dies with the process. What is forgotten, or was
shown by another process, is shown once more.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import blake2b
from threading import Lock
from typing import Final

from cds_service.clinical.consultation import Consultation, Encountered
from cds_service.clinical.facts import Facts
from cds_service.clinical.plan import Indicator, Topic

REMEMBERED_FOR: Final = timedelta(hours=12)  # a shift
_MOST: Final = 20_000
# What each card rests on besides the eligibility and the risk.
_SCREENS: Final = ("epds_current_score", "epds_for_risk", "phq9_for_risk", "positive_screen", "bipolar_known")
# Never left out: a safety concern.
_ALWAYS: Final = frozenset({"PPDSAFETY"})


class Repeats:
    """The digests of the cards shown, by patient, stay, user, topic and content. Safe to use from many threads."""

    def __init__(self, most: int = _MOST) -> None:
        self._key = os.urandom(32)
        self._shown: OrderedDict[bytes, tuple[str, datetime]] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def without(self, consultation: Consultation, who: Encountered) -> Consultation:
        """
        The same thought, without the cards that this user saw in an earlier call.

        Never without a critical card, a safety concern, or any card about a medicine that is being ordered. The same
        call, asked again, gets the same answer.
        """
        now, plan = consultation.facts.now, consultation.plan
        if consultation.occasion.ppd_order:
            return consultation
        with self._lock:
            repeated = tuple(t for t in plan.topics if self._is_repeat(t, self._digest(t, consultation, who), who, now))
        topics = tuple(topic for topic in plan.topics if topic not in repeated)
        return replace(consultation, plan=replace(plan, topics=topics, repeated=repeated))

    def note(self, consultation: Consultation, who: Encountered) -> None:
        """These cards have been written, and are about to be shown."""
        now = consultation.facts.now
        with self._lock:
            for topic in consultation.plan.topics:
                digest = self._digest(topic, consultation, who)
                self._shown[digest] = (who.hook_instance, now)
                self._shown.move_to_end(digest)
            while len(self._shown) > self._most:
                self._shown.popitem(last=False)

    def _is_repeat(self, topic: Topic, digest: bytes, who: Encountered, now: datetime) -> bool:
        if topic.indicator is Indicator.CRITICAL or topic.code in _ALWAYS:
            return False
        hook_instance, at = self._shown.get(digest, (who.hook_instance, now))
        return hook_instance != who.hook_instance and timedelta(0) <= now - at <= REMEMBERED_FOR

    def _digest(self, topic: Topic, consultation: Consultation, who: Encountered) -> bytes:
        about = (who.patient, who.encounter, who.user, topic.code, topic.indicator, *_content(topic, consultation))
        return blake2b(repr(about).encode(), key=self._key, digest_size=16).digest()


def _content(topic: Topic, consultation: Consultation) -> Iterator[object]:
    """What the card says that another chart would change; never how long ago it was."""
    facts, eligibility, risk = consultation.facts, consultation.eligibility, consultation.risk
    if topic.code.startswith("KET"):
        rows = (*eligibility.contraindications, *eligibility.reviews)
        yield eligibility.status
        yield [(met.row.id, [_told(facts, reason.fact) for reason in met.because]) for met in rows]
        yield [(open_.id, open_.doubts) for open_ in (*eligibility.missing, *eligibility.confirm)]
        yield consultation.dose.dose_mg if consultation.dose else None
    if topic.code.startswith("PPD"):
        yield risk.tier
        yield [(reason.fact, reason.says, _told(facts, reason.fact)) for reason in risk.because]
    yield [_told(facts, name) for name in _SCREENS]


def _told(facts: Facts, name: str) -> tuple[object, ...]:
    fact = facts[name]
    return (fact.state, fact.values, fact.doubt, [(e.reference, e.date) for e in fact.evidence])
