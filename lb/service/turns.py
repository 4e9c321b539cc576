"""Connections from a daemon to its peers: no more at once than a bound, never all of them for one owner.

Who finds none free waits; meanwhile those that have lasted longest are asked to make way, so that all get their turn.
It opens and closes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import cycle, islice
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds that a connection may last whoever waits, between two looks for one to make way, and how many then do:
#: each change of turn costs a handshake.
LEAST: Final = 3.0
TICK: Final = 0.2
_AT_ONCE: Final = 5

Leave = Callable[[], None]


class _Turn:
    """One connection, from before it is made until it is gone."""

    __slots__ = ("asked", "make_way", "owner", "since")

    def __init__(self, owner: str, make_way: Callable[[], None], since: float) -> None:
        self.owner = owner
        self.make_way = make_way
        self.since = since
        self.asked = False


class Turns:
    """Who may have a connection now."""

    def __init__(self, limit: int, clock: IReactorTime) -> None:
        self._limit = limit
        self._clock = clock
        self._held: dict[str, dict[_Turn, None]] = {}  # by owner, the oldest first
        self._waiting: dict[str, deque[tuple[Deferred[Leave], Callable[[], None]]]] = {}  # by owner, the next first
        self._watch: IDelayedCall | None = None
        self.held = 0

    @property
    def waiting(self) -> int:
        """How many have to wait."""
        return sum(map(len, self._waiting.values()))

    def enter(self, owner: str, make_way: Callable[[], None]) -> Deferred[Leave]:
        """Fires when a connection may be made, with what is to be called once when it is gone; cancel to give up.

        `make_way` is called when others wait: the connection should end as soon as it can do so without harm.
        """
        if owner not in self._waiting and self._fits(owner):
            return succeed(self._hold(owner, make_way))
        granted: Deferred[Leave] = Deferred(lambda given_up: self._give_up(owner, given_up))
        self._waiting.setdefault(owner, deque()).append((granted, make_way))
        self._look_again()
        return granted

    def _fits(self, owner: str) -> bool:
        """Whether an owner may have one more: half of what others leave, so that there is always some left."""
        own = len(self._held.get(owner, ()))
        left = self._limit - (self.held - own)
        return self.held < self._limit and own < max(1, (left + 1) // 2)

    def _hold(self, owner: str, make_way: Callable[[], None]) -> Leave:
        turn = _Turn(owner, make_way, self._clock.seconds())
        self._held.setdefault(owner, {})[turn] = None
        self.held += 1
        return lambda: self._leave(turn)

    def _leave(self, turn: _Turn) -> None:
        turns = self._held.get(turn.owner, {})
        if turn not in turns:
            return
        del turns[turn]
        if not turns:
            del self._held[turn.owner]
        self.held -= 1
        self._grant()

    def _give_up(self, owner: str, granted: Deferred[Leave]) -> None:
        waiting = self._waiting.get(owner, deque())
        left = deque(pair for pair in waiting if pair[0] is not granted)
        if left:
            self._waiting[owner] = left
        else:
            self._waiting.pop(owner, None)

    def _grant(self) -> None:
        """Give what is free to those who wait, an owner after the other."""
        while (owner := next(filter(self._fits, self._waiting), None)) is not None:
            waiting = self._waiting.pop(owner)
            granted, make_way = waiting.popleft()
            if waiting:
                self._waiting[owner] = waiting  # behind the others
            granted.callback(self._hold(owner, make_way))

    def _look_again(self) -> None:
        if self._watch is None:
            self._watch = self._clock.callLater(TICK, self._look)

    def _look(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        until = self._clock.seconds() - LEAST
        for owner in islice(cycle(tuple(self._waiting)), _AT_ONCE):
            # Who has some takes turns with himself.
            turns = self._held.get(owner) or max(self._held.values(), key=len, default={})
            oldest = next((turn for turn in turns if not turn.asked), None)
            if oldest is not None and oldest.since <= until:
                oldest.asked = True
                oldest.make_way()
        if self._waiting:
            self._look_again()
