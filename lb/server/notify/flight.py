"""Memory that notifications on their way hold, over all destinations (P10).

A receiver that answers slowly holds what it was sent. When all of them together hold too much, each still gets its
equal share, so that frozen ones never keep others from being told (P5).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from twisted.internet.interfaces import IReactorTime

#: Who waited that are called for each notification that arrived: more might read in vain.
_AT_ONCE: Final = 8


class Flight:
    """How many bytes are on their way."""

    def __init__(self, limit: int, sharers: int, clock: IReactorTime) -> None:
        """`limit`: bytes; `sharers`: destinations that may have something on its way at once."""
        self._clock = clock
        self._limit = limit
        self._share = max(1, limit // sharers)
        self._waiting: dict[Callable[[], None], None] = {}
        self.held = 0

    def most(self, held: int, wanted: int) -> int:
        """How many bytes are worth reading for a destination that holds `held` and wants up to so many; at least 1."""
        return max(1, min(wanted, max(self._limit - self.held, self._share - held)))

    def take(self, held: int, size: int) -> bool:
        """Add `size` bytes for a destination that holds `held`; False when there is no room for them now.

        One that alone is greater than everything may go when nothing else is on its way.
        """
        if self.held and self.held + size > self._limit and held + size > self._share:
            return False
        self.held += size
        return True

    def give(self, size: int, own: Callable[[], None]) -> None:
        """So many bytes have arrived, or have to be sent again: who waited is called soon.

        These are the first who waited, when there is room again, and in any case `own`, who has more of his share now.
        """
        self.held -= size
        if not self._waiting:
            return
        chosen = list(islice(self._waiting, _AT_ONCE)) if self.held < self._limit else []
        for wake in dict.fromkeys((own, *chosen)):
            if wake in self._waiting:
                del self._waiting[wake]
                # Not at once: whoever gives may be amid something.
                self._clock.callLater(0, wake)

    def wait(self, wake: Callable[[], None]) -> None:
        """Have something called when there is room again; the same again counts once."""
        self._waiting[wake] = None
