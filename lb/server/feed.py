"""Followers of jobs: each stands at a number of the store's changes and is told what comes behind it.

Bounded whatever a follower does: one that pauses is left where it stands and goes on from the store. Followers at the
same place are served by one look at the store, and looks are spaced, so that many changes of a job become one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.model.query import Query
from lb.security.identity import Identity
from lb.server.changes import Change, Changes, Following, Part
from lb.service.worker import Caller

#: Jobs of one look at the store, and followers that it serves: 20 ms of the reading thread (9 µs a job, and 4 to 8 µs
#: for each follower).
MOST: Final = 200
TOGETHER: Final = 20
#: Seconds between looks for one follower, and after one that failed.
PACE: Final = 0.1
_AFTER_FAILURE: Final = 1.0

#: Takes changes, and the number at which the follower stands now.
Deliver = Callable[[list[Change], int], None]


class Subscription:
    """One follower; closed by who opened it."""

    def __init__(self, feed: Feed, following: Following, position: int, deliver: Deliver) -> None:
        self._feed = feed
        self.following = following
        self.position = position
        self.deliver = deliver
        self.due = 0.0  #: when it may be told something again
        self.paused = False
        self.closed = False

    def pause(self) -> None:
        """Tell nothing more until `resume`."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._feed.look()

    def close(self) -> None:
        self.closed = True
        self._feed.remove(self)


class Feed(Service):
    """Serves all followers while it runs; belongs to the reactor's thread but for `stored`."""

    log = Logger()

    def __init__(
        self,
        thread: Caller,
        changes: Changes,
        last_change: Callable[[], int],
        clock: IReactorTime,
        call_from_thread: Callable[[Callable[[], None]], object],
    ) -> None:
        """`thread` is the reading one; `last_change`: the number of the last change that is stored."""
        self._thread = thread
        self._changes = changes
        self._last_change = last_change
        self._clock = clock
        self._call_from_thread = call_from_thread
        self._followers: deque[Subscription] = deque()
        self._told = False  # `look` is on its way from the writing thread
        self._busy = False
        self._timer: IDelayedCall | None = None

    def stopService(self) -> None:
        """Look no more: the thread ends."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def position(self) -> int:
        """The number of the last change: who reads a job now and follows it from here misses nothing."""
        return self._last_change()

    @property
    def followers(self) -> int:
        return len(self._followers)

    def subscribe(self, peer: Identity, query: Query, after: int, deliver: Deliver) -> Subscription:
        """Follow the jobs that meet a query's conditions, from behind a number on."""
        subscription = Subscription(self, Following(peer, query), after, deliver)
        self._followers.append(subscription)
        self.look()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        if subscription in self._followers:
            self._followers.remove(subscription)

    def stored(self) -> None:
        """Something was stored; from the writing thread."""
        if self._followers and not self._told:
            self._told = True
            self._call_from_thread(self._stored)

    def _stored(self) -> None:
        self._told = False
        self.look()

    def look(self) -> None:
        """There may be something to tell."""
        if self._busy or not self.running:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        behind = [one for one in self._followers if not one.paused and one.position < self._last_change()]
        if not behind:
            return
        now = self._clock.seconds()
        due = [one for one in behind if one.due <= now]
        if due:
            self._look([one for one in due if one.position == due[0].position][:TOGETHER])
        else:
            self._timer = self._clock.callLater(min(one.due for one in behind) - now, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.look()

    def _look(self, group: list[Subscription]) -> None:
        self._busy = True
        # What is stored by now is seen: a look that finds less than it could has come to the end.
        last = self._last_change()
        asked = self._thread.call(self._changes.part, [one.following for one in group], group[0].position, MOST)
        asked.addCallbacks(self._found, self._failed, callbackArgs=(group, last), errbackArgs=(group,))

    def _found(self, part: Part, group: list[Subscription], last: int) -> None:
        self._busy = False
        position = part.last if part.more else max(part.last, last)
        # To catch up costs what it costs; others take turns.
        due = 0.0 if part.more else self._clock.seconds() + PACE
        for subscription, changes in zip(group, part.told, strict=True):
            if subscription.closed:
                continue
            subscription.position = position
            subscription.due = due
            self._followers.remove(subscription)
            self._followers.append(subscription)
            subscription.deliver(changes, position)
        self.look()

    def _failed(self, failure: Failure, group: list[Subscription]) -> None:
        self._busy = False
        for subscription in group:
            subscription.due = self._clock.seconds() + _AFTER_FAILURE
        self.log.failure("changes cannot be read", failure=failure)
        self.look()
