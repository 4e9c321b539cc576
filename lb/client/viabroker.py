"""Logging events by way of a broker, from which a server collects them; nothing of ours stands between.

An event is sent when the broker has confirmed it, and counts once however often it was sent. Who logs it is, to the
server, whom the broker vouches for.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from lb.broker.destination import Destination
from lb.broker.dial import Opener
from lb.broker.errors import BrokerError, LoginError, LostError, RefusedError
from lb.broker.link import Link
from lb.broker.message import Message
from lb.broker.publisher import Publisher
from lb.broker.session import Owner, Session
from lb.broker.url import BrokerURL
from lb.client.outgoing import new_id
from lb.client.producer import bounded, line_of
from lb.model.catalogue import Priority
from lb.model.errors import LBError
from lb.model.event import Event
from lb.wire.eventmessage import LINES

#: Events on their way without confirmation; the publisher bears more, unless they are large.
_WINDOW: Final = 2_000


class BrokerProducer:
    """Sends events to one destination, over a session that is kept until `close`."""

    def __init__(
        self,
        urls: Sequence[BrokerURL],
        destination: Destination,
        opener: Opener,
        clock: IReactorTime,
        timeout: float,
        make_id: Callable[[], str] = new_id,
        delay: Callable[[int], float] | None = None,
    ) -> None:
        """`urls`: of one broker, tried in order; `timeout`: seconds until an event must be confirmed.

        `delay`: of the link, see there.
        """
        self._destination = destination
        self._clock = clock
        self._timeout = timeout
        self._make_id = make_id
        self._trouble: BrokerError | None = None
        self._link = Link("of events", urls, _Rounds(opener, len(urls), self._unreachable), clock, delay=delay)
        self._publisher = Publisher(self._link, clock)
        self._link.startService()

    async def log(self, event: Event | bytes) -> None:
        """Send one event, or its line; returns when the broker has it.

        Raises `LBError`: ECONNREFUSED when the broker cannot be reached by any URL, EACCES when it does not let us in,
        EREMOTEIO when it refuses the event, ETIMEDOUT when it has not confirmed it in time; then it may come later.
        """
        await self._send(_line(event))

    async def log_many(self, events: Iterable[Event | bytes]) -> int:
        """Send many events, or lines, in their order; returns how many. The first error ends it, as of `log`.

        `events` is drawn upon no faster than the broker confirms.
        """
        flow = _Flow()
        for event in events:
            if flow.error is None and (flow.out >= _WINDOW or self._publisher.full):
                await flow.until(flow.out // 2)
            if flow.error is not None:
                break
            flow.out += 1
            self._send(_line(event)).addCallbacks(flow.sent, flow.failed)
        await flow.until(0)
        if flow.error is not None:
            flow.error.raiseException()
        return flow.taken

    async def close(self) -> None:
        """End the session; what is not confirmed fails."""
        self._publisher.give_up()
        await defer.maybeDeferred(self._link.stopService)

    def _send(self, line: bytes) -> Deferred[None]:
        message = Message(self._destination, line, self._make_id(), content_type=LINES)
        full = self._publisher.full
        sent = Deferred.fromCoroutine(self._when_room(message)) if full else self._publisher.publish(message)
        return sent.addTimeout(self._timeout, self._clock).addErrback(self._failed)

    async def _when_room(self, message: Message) -> None:
        while self._publisher.full:
            await self._publisher.when_room()
        await self._publisher.publish(message)

    def _failed(self, failure: Failure) -> None:
        reason = failure.value
        if isinstance(reason, RefusedError):
            raise LBError(errno.EREMOTEIO, str(reason))
        if isinstance(reason, LostError):
            code = errno.ENOTCONN
            if self._trouble is not None:
                code = errno.EACCES if isinstance(self._trouble, LoginError) else errno.ECONNREFUSED
            raise LBError(code, str(self._trouble or reason))
        failure.trap(defer.TimeoutError)
        words = str(self._link.trouble or self._link.blocked_reason or "the broker says nothing")
        raise LBError(errno.ETIMEDOUT, f"{self._destination}: not confirmed in {self._timeout:g} s: {words}")

    def _unreachable(self, reason: BrokerError) -> None:
        """No URL leads to the broker: whoever waits is told, and may come again."""
        self._trouble = reason
        self._publisher.give_up()
        self._trouble = None


def _line(event: Event | bytes) -> bytes:
    return bounded(event if isinstance(event, bytes) else line_of(event, int(Priority.LOCAL), user=True))


class _Rounds:
    """Opens sessions, and tells when so many attempts in a row have failed."""

    def __init__(self, opener: Opener, most: int, tell: Callable[[BrokerError], None]) -> None:
        self._opener = opener
        self._most = most
        self._tell = tell
        self._failures = 0

    def open(self, url: BrokerURL, owner: Owner) -> Deferred[Session]:
        return self._opener.open(url, owner).addCallbacks(self._opened, self._failed)

    def _opened(self, session: Session) -> Session:
        self._failures = 0
        return session

    def _failed(self, failure: Failure) -> Failure:
        self._failures += 1
        if self._failures % self._most == 0 and isinstance(failure.value, BrokerError):
            self._tell(failure.value)
        return failure


class _Flow:
    """Events on their way, and the first error."""

    def __init__(self) -> None:
        self.out = 0
        self.taken = 0
        self.error: Failure | None = None
        self._waiting: tuple[int, Deferred[None]] | None = None

    def sent(self, _: None) -> None:
        """The broker has one."""
        self.taken += 1
        self._one_less()

    def failed(self, failure: Failure) -> None:
        """One was not sent."""
        self.error = self.error or failure
        self._one_less()

    def until(self, count: int) -> Deferred[None]:
        """Fires when no more than so many are on their way."""
        reached: Deferred[None] = Deferred()
        self._waiting = count, reached
        self._look()
        return reached

    def _one_less(self) -> None:
        self.out -= 1
        self._look()

    def _look(self) -> None:
        if self._waiting is not None and self.out <= self._waiting[0]:
            (_, reached), self._waiting = self._waiting, None
            reached.callback(None)
