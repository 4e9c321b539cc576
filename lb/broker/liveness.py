"""Signs of life in both directions: a frozen connection looks like an idle one to everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Silence that is borne, in intervals between the other side's signs of life.
MISSED: Final = 2.0


class Silence:
    """Calls `broken` once when nothing was heard for `limit` seconds."""

    def __init__(self, clock: IReactorTime, limit: float, broken: Callable[[], None]) -> None:
        self._clock = clock
        self._limit = limit
        self._broken = broken
        self._last = clock.seconds()
        self._check: IDelayedCall | None = clock.callLater(limit, self._look)

    def heard(self) -> None:
        """The other side gave a sign of life."""
        self._last = self._clock.seconds()

    def stop(self) -> None:
        """Listen no more."""
        check, self._check = self._check, None
        if check is not None:
            check.cancel()

    def _look(self) -> None:
        left = self._last + self._limit - self._clock.seconds()
        if left > 0:
            self._check = self._clock.callLater(left, self._look)
        else:
            self._check = None
            self._broken()


class Beat:
    """Calls `send` every `interval` seconds."""

    def __init__(self, clock: IReactorTime, interval: float, send: Callable[[], object]) -> None:
        self._clock = clock
        self._interval = interval
        self._send = send
        self._next = clock.callLater(interval, self._beat)

    def stop(self) -> None:
        """Send no more."""
        self._next.cancel()

    def _beat(self) -> None:
        self._next = self._clock.callLater(self._interval, self._beat)
        self._send()
