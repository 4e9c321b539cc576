"""Changes of jobs as server-sent events (WHATWG HTML §9.2): ``job`` with a state, ``gone`` for one that left.

The id of each event is the place in the store's changes, so that a reader that comes again with `Last-Event-ID` misses
nothing, whatever happened to the connection or the server. A reader that is slow is left where it stands.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from lb.model.errors import invalid
from lb.model.jobid import JobId
from lb.model.query import Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.web.api.limits import APILimits
from lb.web.api.messages import Asked, Problem, Streaming
from lb.web.api.parameters import AFTER, FLAG, QUERY, read
from lb.wire.documents import clean, status_document

#: Seconds after which a reader that heard nothing is told where it stands: proxies and readers give up on silence.
HEARTBEAT: Final = 15.0
#: Milliseconds after which a reader comes again that lost its connection.
_RETRY: Final = 2_000
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)


class Change(Protocol):
    """A job changed; without a status it does not meet the conditions now."""

    @property
    def number(self) -> int: ...

    @property
    def jobid(self) -> JobId: ...

    @property
    def status(self) -> JobStatus | None: ...


class Subscription(Protocol):
    """A place in the changes that moves on."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


class Changes(Protocol):
    """What tells of changes."""

    @property
    def position(self) -> int:
        """The number of the last change."""

    @property
    def followers(self) -> int: ...

    def subscribe(
        self, peer: Identity, query: Query, after: int, deliver: Callable[[Sequence[Any], int], None]
    ) -> Subscription:
        """Have changes (`Change`) behind a number delivered, and each time the number that was reached."""


class _Begin(NamedTuple):
    """Where a stream begins; `reset` when the place that was asked for is none of this store."""

    position: int
    reset: bool


class Streams:
    """Opens streams."""

    def __init__(self, changes: Changes, clock: IReactorTime, limits: APILimits) -> None:
        self._changes = changes
        self._clock = clock
        self._limits = limits

    @property
    def position(self) -> int:
        """The number of the last change."""
        return self._changes.position

    async def open(self, asked: Asked) -> Streaming:
        """The stream of the jobs that meet the conditions; of one's own without any."""
        given = read(asked.query, FLAG, QUERY, AFTER, conditions=True)
        query = given.query(int(self._clock.seconds()))
        begin = self._begin(asked.header("last-event-id") or given.named.get(AFTER.name))
        if self._changes.followers >= self._limits.streams:
            raise Problem(503, errno.EAGAIN, f"{self._limits.streams} streams are open, more are not served")

        def run(request: Any) -> None:
            _Stream(request, self._changes, self._clock, asked.peer, query, begin).start()

        return Streaming(run)

    def _begin(self, after: str | None) -> _Begin:
        last = self._changes.position
        if after is None:
            return _Begin(last, False)
        if not _NUMBER.fullmatch(after):
            raise invalid(f"{after[:40]!r} is no id of an event of this stream")
        # A store that was brought back from a backup knows less than its readers.
        return _Begin(min(int(after), last), int(after) > last)


@implementer(IPushProducer)
class _Stream:
    """One open stream."""

    def __init__(
        self, request: Any, changes: Changes, clock: IReactorTime, peer: Identity, query: Query, begin: _Begin
    ) -> None:
        self._request = request
        self._changes = changes
        self._clock = clock
        self._peer = peer
        self._query = query
        self._begin = begin
        self._position = begin.position
        self._paused = False
        self._subscription: Subscription | None = None
        self._beat: IDelayedCall | None = None
        self._expiry: IDelayedCall | None = None

    def start(self) -> None:
        """Tell the beginning, then what changes."""
        request = self._request
        request.notifyFinish().addErrback(lambda gone: self._end())
        request.registerProducer(self, True)
        first = "reset" if self._begin.reset else "begin"
        request.write(b"retry: %d\n" % _RETRY + _event(first, self._position, {}))
        self._beat = self._clock.callLater(HEARTBEAT, self._tell_place)
        if self._peer.expires is not None:
            self._expiry = self._clock.callLater(max(0.0, self._peer.expires - self._clock.seconds()), self._finish)
        self._subscription = self._changes.subscribe(self._peer, self._query, self._position, self._deliver)
        if self._paused:
            self._subscription.pause()

    def _deliver(self, changes: Sequence[Change], position: int) -> None:
        self._position = position
        if changes:
            if self._beat is not None:
                self._beat.reset(HEARTBEAT)
            self._request.write(b"".join(map(_told, changes)))

    def _tell_place(self) -> None:
        """An id without data moves the reader's place and tells it nothing."""
        self._beat = self._clock.callLater(HEARTBEAT, self._tell_place)
        if not self._paused:
            self._request.write(b"id: %d\n\n" % self._position)

    def pauseProducing(self) -> None:
        self._paused = True
        if self._subscription is not None:
            self._subscription.pause()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._subscription is not None:
            self._subscription.resume()

    def stopProducing(self) -> None:
        self._end()

    def _finish(self) -> None:
        """The certificate that says who reads has expired: its reader may come again with another."""
        self._end()
        self._request.unregisterProducer()
        self._request.finish()

    def _end(self) -> None:
        for call in (self._beat, self._expiry):
            if call is not None and call.active():
                call.cancel()
        self._beat = self._expiry = None
        if self._subscription is not None:
            self._subscription.close()


def _told(change: Change) -> bytes:
    if change.status is None:
        return _event("gone", change.number, {"jobId": clean(str(change.jobid))})
    return _event("job", change.number, status_document(change.status))


def _event(kind: str, number: int, document: Any) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind.encode(), msgspec.json.encode(document))
