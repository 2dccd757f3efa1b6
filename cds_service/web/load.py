"""Is there more to do than can be done in time? Then whoever comes next is told so at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cds_service.errors import Overloaded
from cds_service.events import Event, tell

# A delivery order takes about 10 ms of a processor. Behind this many, an answer would come when the EHR has given up.
MOST_WAITING: Final = 40


class Load:
    """
    How many requests have been read and wait for a thread. `waiting` is set by the server once it listens.

    Each request that is turned away takes well under a millisecond, so a queue that has grown is soon gone.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.most = most
        self.waiting: Callable[[], int] = lambda: 0

    def refuse_if_too_many_wait(self) -> None:
        """Raises Overloaded (503)."""
        if (waiting := self.waiting()) > self.most:
            tell(Event.OVERLOADED, waiting=waiting)
            raise Overloaded("too much is asked of this service now; ask again in a few seconds")
