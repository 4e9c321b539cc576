"""Producers that wait for the server's word on a priority event (spec: wire-logging.md §4.5).

Nothing here delays a delivery: who waits too long is told that the event is stored and will be delivered.
"""

from __future__ import annotations

import errno
from functools import partial

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from lb.logger.limits import AnswerLimits
from lb.model.errors import Code
from lb.wire import il

_Place = tuple[str, int]


def confirmed(reply: il.Reply) -> int:
    """What a producer is told of a final reply."""
    if reply.major == il.Major.OK:
        return 0
    if reply.major in (il.Major.DBERR, il.Major.NOMEM) and reply.minor == errno.ENOENT:
        return errno.ENOENT
    return Code.IL_PROTO if reply.major == il.Major.PROTO else Code.IL_SYS


class Confirmations:
    """Who waits for which record, by destination and number."""

    def __init__(self, clock: IReactorTime, limits: AnswerLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._waiting: dict[_Place, tuple[Deferred[int], IDelayedCall]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def expect(self, destination: str, number: int) -> Deferred[int]:
        """Fires with the answer for a stored record: the server's word, or EAGAIN when it does not come in time.

        EAGAIN at once when too many wait: producers that left count as well, until their time is over.
        """
        if len(self._waiting) >= self._limits.waiting:
            return succeed(errno.EAGAIN)
        place = destination, number
        told: Deferred[int] = Deferred()
        late = self._clock.callLater(self._limits.confirmation, partial(self._tell, place, errno.EAGAIN, late=True))
        self._waiting[place] = told, late
        return told

    def tell(self, destination: str, number: int, reply: il.Reply) -> None:
        """The server's final word on a record, to whoever waits for it."""
        self._tell((destination, number), confirmed(reply), late=False)

    def close(self) -> None:
        """Answer all who still wait: their events are stored."""
        for place in list(self._waiting):
            self._tell(place, errno.EAGAIN, late=False)

    def _tell(self, place: _Place, code: int, *, late: bool) -> None:
        waiting = self._waiting.pop(place, None)
        if waiting is not None:
            told, timer = waiting
            if not late:
                timer.cancel()
            told.callback(code)
