"""Jobs that a peer follows: an object of the peer's is told what changes, from a number on, a batch at a time.

Bounded however slowly it answers: the next batch is read from the store when the one before has been taken. What is
told is what the stream of the web interface tells (`lb.server.feed`).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb

from lb.model.errors import LBError, missing
from lb.model.query import Query
from lb.rpc.pages import OpenAnswers
from lb.rpc.plain import HEARTBEAT
from lb.security.identity import Identity
from lb.server.changes import Change
from lb.server.feed import Feed, Subscription
from lb.wire.lbxml import results
from lb.wire.lbxml import status as status_document

#: Subscriptions of one connection.
MAX_SUBSCRIPTIONS: Final = 8


class Subscriptions:
    """The subscriptions of one connection."""

    def __init__(self, feed: Feed, clock: IReactorTime, most: int) -> None:
        """`most`: followers of the whole server."""
        self._feed = feed
        self._clock = clock
        self._most = most
        self._open: dict[int, _Following] = {}
        self._last = 0

    def subscribe(self, peer: Identity, query: Query, callback: pb.RemoteReference, after: int) -> tuple[int, int]:
        """Follow the jobs that meet a query; `after`: the number to go on behind, -1: from now on.

        The number of the subscription, and where it begins: that is less than `after` when this store never came so
        far. EAGAIN when there are too many.
        """
        if len(self._open) >= MAX_SUBSCRIPTIONS:
            raise LBError(errno.EAGAIN, f"there are {MAX_SUBSCRIPTIONS} subscriptions on this connection already")
        if self._feed.followers >= self._most:
            raise LBError(errno.EAGAIN, f"{self._most} followers are told of changes, more are not served")
        last = self._feed.position
        position = last if after < 0 else min(after, last)
        self._last += 1
        following = _Following(self._last, self, self._clock, callback, position)
        self._open[self._last] = following
        following.start(self._feed, peer, query)
        return self._last, position

    def unsubscribe(self, number: int) -> None:
        """Tell nothing more; ENOENT for a subscription that there is not."""
        following = self._open.get(number)
        if following is None:
            raise missing(f"there is no subscription {number}")
        following.end()

    def forget(self, number: int) -> None:
        """A subscription has ended."""
        self._open.pop(number, None)

    def clear(self) -> None:
        """The connection is gone."""
        for following in tuple(self._open.values()):
            following.end()


class _Following:
    """One subscription."""

    log = Logger()

    def __init__(
        self,
        number: int,
        subscriptions: Subscriptions,
        clock: IReactorTime,
        callback: pb.RemoteReference,
        position: int,
    ) -> None:
        self._number = number
        self._subscriptions = subscriptions
        self._clock = clock
        self._callback = callback
        self._position = position
        self._subscription: Subscription | None = None
        self._rest = OpenAnswers(1)
        self._telling = False
        #: A batch that was on its way from the store when the one before was told.
        self._next: tuple[int, bytes] | None = None
        self._ended = False
        self._beat: IDelayedCall | None = None

    def start(self, feed: Feed, peer: Identity, query: Query) -> None:
        """Follow from here on."""
        self._wait()
        self._subscription = feed.subscribe(peer, query, self._position, self._deliver)
        if self._telling:
            self._subscription.pause()

    def _wait(self) -> None:
        self._beat = self._clock.callLater(HEARTBEAT, lambda: self._tell(self._position, b""))

    def _deliver(self, changes: Sequence[Change], position: int) -> None:
        if not changes or self._ended:
            self._position = position
            return
        rows = (
            (str(change.jobid), None if change.status is None else status_document.write(change.status))
            for change in changes
        )
        document = b"".join(results.write_jobs(rows, None))
        if self._telling:
            self._next = position, document
            return
        if self._beat is not None and self._beat.active():
            self._beat.cancel()
        self._tell(position, document)

    def _tell(self, position: int, document: bytes) -> None:
        """Tell a batch, or only the position; there is no second before the answer."""
        self._position = position
        self._telling = True
        if self._subscription is not None:
            self._subscription.pause()
        first, rest = self._rest.paged(document)
        try:
            told = self._callback.callRemote("changed", self._number, position, first, rest)
        except pb.DeadReferenceError:
            self.end()
            return
        told.addCallbacks(self._taken, self._refused)

    def _taken(self, _: object) -> None:
        self._rest.clear()
        self._telling = False
        if self._ended:
            return
        if self._next is not None:
            batch, self._next = self._next, None
            self._tell(*batch)
            return
        self._wait()
        if self._subscription is not None:
            self._subscription.resume()

    def _refused(self, failure: Failure) -> None:
        """The peer is gone, or has no use for what it subscribed to."""
        if not failure.check(pb.PBConnectionLost):
            self.log.info(
                "subscription {number} ends: {reason}", number=self._number, reason=failure.getErrorMessage()[:200]
            )
        self.end()

    def end(self) -> None:
        """Tell nothing more."""
        self._ended = True
        if self._beat is not None and self._beat.active():
            self._beat.cancel()
        if self._subscription is not None:
            self._subscription.close()
        self._rest.clear()
        self._subscriptions.forget(self._number)
