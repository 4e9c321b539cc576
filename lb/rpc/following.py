"""Following jobs over Perspective Broker: an async iterator over their changes, which goes on behind lost connections.

Nothing is missed: changes have numbers in the server's store, and a new connection goes on behind the last one. The
server waits with the next batch until this one was taken.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from twisted.application.internet import backoffPolicy
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.spread import pb

from lb.model.errors import LBError
from lb.model.query import Query
from lb.model.status import JobStatus
from lb.rpc.pages import read_all
from lb.rpc.plain import HEARTBEAT
from lb.wire.lbxml import requests, results

#: Errors of a server that is away for some time.
_AWAY: Final = frozenset({errno.ENOTCONN, errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EPIPE})


#: Seconds without a word after which a server is given up: three of its heartbeats.
_SILENCE: Final = 3 * HEARTBEAT


class Change(NamedTuple):
    """A job changed: its state now, None when it does not meet the conditions."""

    jobid: str
    status: JobStatus | None


class Callback(pb.Referenceable):
    """What the server tells."""

    def __init__(self, tell: Callable[[int, bytes], Deferred[None]]) -> None:
        self._tell = tell

    async def _changed(self, position: Any, first: Any, rest: Any) -> None:
        document = await read_all(first, rest)
        await self._tell(int(position), document)

    def remote_changed(self, subscription: Any, position: Any, first: Any, rest: Any) -> Deferred[None]:
        """A batch; answered when it has been taken."""
        return Deferred.fromCoroutine(self._changed(position, first, rest))


class Link(Protocol):
    """How a following reaches its server; raises `LBError`."""

    async def subscribe(self, document: bytes, callback: Callback, after: int) -> tuple[int, int]:
        """The number of a subscription, and where it begins."""

    async def unsubscribe(self, number: int) -> None: ...

    @property
    def closed(self) -> bool:
        """Whether there is no way any more: it was closed on this side."""

    def when_lost(self) -> Deferred[None]:
        """Fires when the connection of the last subscription ends."""

    def cut(self) -> None:
        """End that connection."""


class Following:
    """Changes of the jobs that meet a query; an async iterator and context manager."""

    def __init__(
        self, link: Link, query: Query, after: int | None, clock: IReactorTime, random: Callable[[], float]
    ) -> None:
        """`after`: the `position` of an earlier following, None: from now on. `random`: from 0 to 1."""
        self._link = link
        self._document = requests.write_jobs(query)
        self._clock = clock
        self._pause = backoffPolicy(jitter=random)
        self._silence: IDelayedCall | None = None
        self._batch: deque[Change] = deque()
        self._taken: Deferred[None] | None = None
        self._next: Deferred[None] | None = None
        self._number: int | None = None
        self._reached = after  # of the batch that is being taken
        self._failure: LBError | None = None
        self._closed = False
        self.position = after  #: behind which everything is still to come: for a following that goes on here
        self.reset = False  #: the server's store never came as far as `after`

    async def open(self) -> None:
        """Subscribe for the first time; raises `LBError`."""
        await self._subscribe()

    async def _subscribe(self) -> None:
        after = -1 if self._reached is None else self._reached
        callback = Callback(self._told)
        self._number, begin = await self._link.subscribe(self._document, callback, after)
        self.reset = self.reset or begin < after
        self._reached = begin
        if not self._batch:
            self.position = begin
        self._listen()
        self._link.when_lost().addCallback(lambda _: self._lost())

    def _listen(self) -> None:
        """A server that says nothing for so long is not there."""
        self._deafen()
        self._silence = self._clock.callLater(_SILENCE, self._link.cut)

    def _deafen(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self._silence = None

    def _told(self, position: int, document: bytes) -> Deferred[None]:
        self._listen()
        answered: Deferred[None] = Deferred()
        self._batch.extend(Change(job.jobid or "", job.status) for job in _read(document))
        self._reached = position
        if self._batch:
            self._deafen()  # it waits for us
            self._taken = answered
            self._wake()
        else:
            self.position = position
            answered.callback(None)
        return answered

    def _wake(self) -> None:
        waiting, self._next = self._next, None
        if waiting is not None:
            waiting.callback(None)

    def _lost(self) -> None:
        self._taken = None
        self._deafen()
        if not self._closed:
            Deferred.fromCoroutine(self._again())

    async def _again(self) -> None:
        """Subscribe again, however long the server is away; other errors are the iterator's."""
        attempt = 0
        while not self._closed:
            try:
                await self._subscribe()
                return
            except LBError as error:
                if error.code not in _AWAY or self._link.closed:
                    self._failure = error
                    self._wake()
                    return
            await deferLater(self._clock, self._pause(attempt), lambda: None)
            attempt += 1

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> Change:
        """The next change; raises why it cannot be gone on, ends when it is closed."""
        while True:
            if self._batch:
                return self._batch.popleft()
            # All of the last batch is in the consumer's hands, and it comes for more.
            self.position = self._reached
            taken, self._taken = self._taken, None
            if taken is not None:
                self._listen()
                taken.callback(None)
                continue
            if self._closed:
                raise StopAsyncIteration
            if self._failure is not None:
                raise self._failure
            self._next = Deferred()
            await self._next

    async def receive(self, patience: float | None = None) -> Change | None:
        """The next change within so many seconds, else None; otherwise as the iterator."""
        asked = Deferred.fromCoroutine(self.__anext__())
        if patience is not None:
            asked.addTimeout(patience, self._clock)
        try:
            return await asked
        except defer.TimeoutError:
            return None

    async def close(self) -> None:
        """Follow no more."""
        if self._closed:
            return
        self._closed = True
        self._batch.clear()
        self._deafen()
        self._wake()
        if self._number is not None:
            try:
                await self._link.unsubscribe(self._number)
            except LBError:
                return  # it ended with its connection

    async def __aenter__(self) -> Following:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def _read(document: bytes) -> list[Any]:
    return list(results.read_jobs(document).jobs) if document else []
