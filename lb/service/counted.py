"""The connections of a port: counted in and out, and looked at once a second while there are any.

What a look finds and does is the port's business; this only bounds how many there are (P10).
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

_C = TypeVar("_C")

#: Seconds between looks at the connections' deadlines.
SWEEP: Final = 1.0


class Counted(Generic[_C]):
    """Part of a port's factory; `_look_at` is the factory's."""

    def __init__(self, clock: IReactorTime, most: int) -> None:
        """`most`: connections at once."""
        self.clock = clock
        self._most = most
        self._connections: set[_C] = set()
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = clock

    def add(self, connection: _C) -> bool:
        """Count a connection in; False when there are too many."""
        if len(self._connections) >= self._most:
            return False
        self._connections.add(connection)
        if not self._sweeping.running:
            self._sweeping.start(SWEEP, now=False)
        return True

    def remove(self, connection: _C) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        if not self._connections and self._sweeping.running:
            self._sweeping.stop()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def _sweep(self) -> None:
        now = self.clock.seconds()
        for connection in tuple(self._connections):
            self._look_at(connection, now)

    def _look_at(self, connection: _C, now: float) -> None:
        """End a connection whose time is over."""
        raise NotImplementedError
