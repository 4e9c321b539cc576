"""One destination's messages on their way from a durable queue to a broker: in order, with confirmation (P2, P4).

A destination that the broker refuses is tried again with growing pauses, for a time; what expired, or is refused for
good, goes to quarantine with the reason. Tunnels share nothing but the session, so that none delays another (P5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker.destination import Destination
from lb.broker.errors import ExpiredError, FullError, LostError, RefusedError
from lb.broker.message import BINARY
from lb.broker.message import Message as Outgoing
from lb.model.errors import LBError
from lb.service import deliverable
from lb.service.deliverable import Listener, Queue
from lb.service.follower import Follower
from lb.wire import il
from lb.wire.tunnel import read

#: Headers that tell receivers who sent a message, as the logger knows, and from which machine, as the sender says.
USER_HEADER, HOST_HEADER = "lb-user", "lb-host"
_MICROSECONDS: Final = 1_000_000


class Record(deliverable.Record, Interface):
    """A message in a queue."""

    @property
    def time(self) -> int:
        """When it was stored, microseconds since the epoch."""


R = TypeVar("R", bound=Record)


class Limits(Interface):
    """Bounds of a tunnel; `lb.logger.limits.TunnelLimits` says what each means."""

    @property
    def window_messages(self) -> int: ...

    @property
    def window_bytes(self) -> int: ...

    @property
    def patience(self) -> float: ...


class Publisher(Interface):
    """What sends messages; `lb.broker.publisher.Publisher` does."""

    @property
    def full(self) -> bool: ...

    def publish(self, message: Outgoing) -> Deferred[None]: ...

    def when_room(self) -> Deferred[None]: ...


@dataclass(slots=True)
class Counts:
    """What became of messages since the start."""

    confirmed: int = 0
    expired: int = 0
    refused: int = 0


def tunnelled(line: bytes, destination: Destination) -> Outgoing:
    """A message line as brokers get it, with the name of its sender among the headers; raises LBError."""
    message = read(line)
    return Outgoing(
        destination,
        message.body,
        message.id,
        {**message.headers, USER_HEADER: _text(message.user), HOST_HEADER: _text(message.host)},
        message.content_type or BINARY,
        message.correlation_id,
        message.reply_to,
        message.persistent,
        message.expires,
        message.priority,
    )


def _text(name: str) -> str:
    """A name as text that any broker carries; names of certificates may hold other bytes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Tunnel(Follower[R], Generic[R]):
    """Publishes a queue's records, which are all for one destination."""

    _log = Logger()
    _called = "message"

    def __init__(
        self,
        queue: Queue[R],
        compose: Callable[[R], Outgoing],
        publisher: Publisher,
        clock: IReactorTime,
        delay: Callable[[int], float],
        limits: Limits,
        listener: Listener | None = None,
    ) -> None:
        """`compose` makes the message of a record, or raises LBError; its id must always be the same.

        `delay(n)`: seconds to wait after n + 1 refusals in a row.
        """
        super().__init__(queue, clock, listener)
        self.counts = Counts()
        #: Why the destination was refused last, None when it is not.
        self.refusal: str | None = None
        self._compose = compose
        self._publisher = publisher
        self._delay = delay
        self._limits = limits
        self._held: deque[R] = deque()  # read, not published
        self._published: dict[int, Deferred[None]] = {}  # without the broker's word, by number
        self._out = 0  # published and not settled, or on their way to quarantine
        self._out_bytes = 0
        self._reading = False
        self._pumping = False
        self._waiting_for_room = False
        self._trouble: str | None = None  # why nothing is published until all that is out has come back
        self._refused_since: float | None = None  # seconds since the epoch, None once something was taken

    def stop(self) -> None:
        """End; what is not confirmed stays in the queue."""
        super().stop()
        self._held.clear()
        for published in list(self._published.values()):
            published.cancel()

    def wake(self) -> None:
        """There may be messages to publish."""
        if self._pumping:
            return
        self._pumping = True
        try:
            self._pump()
        finally:
            self._pumping = False
        if self._trouble is not None and not self._out and not self._reading and not self._stopped:
            self._back_off(self._trouble)

    @property
    def _at_rest(self) -> bool:
        return self._stopped or self._pause is not None or self._trouble is not None or self._waiting_for_room

    # --- messages out -----------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Publish what the windows allow, and have more read when there is room for it."""
        # A destination that was refused is tried with one message, so that order holds when it is mended meanwhile.
        window = self._limits.window_messages if not self._failures else 1
        while not self._at_rest and self._out < window:
            if not self._held and (self._reading or not self._queue.readable):
                return
            if self._publisher.full:  # nor is anything read, so that it waits on disk
                self._waiting_for_room = True
                self._publisher.when_room().addCallback(self._room)
                continue
            if not self._held:
                # Not for every message that is confirmed: a look at the disk costs more than all the rest.
                if self._out > window * 3 // 4 or self._out_bytes > self._limits.window_bytes * 3 // 4:
                    return
                self._reading = True
                fetched = self._queue.read(window - self._out, self._limits.window_bytes - self._out_bytes)
                fetched.addCallbacks(self._fetched, self._unread)
                continue  # it may have come at once
            if self._out and self._out_bytes + len(self._held[0].payload) > self._limits.window_bytes:
                return
            self._publish(self._held.popleft())

    def _room(self, _: None) -> None:
        self._waiting_for_room = False
        self.wake()

    def _fetched(self, records: list[R]) -> None:
        self._reading = False
        if not self._stopped and self._trouble is None:
            self._held.extend(records)
        self.wake()

    def _unread(self, failure: Failure) -> None:
        self._reading = False
        self._stumble(f"spool: {failure.getErrorMessage()}")
        self.wake()

    def _publish(self, record: R) -> None:
        self._out += 1
        self._out_bytes += len(record.payload)
        try:
            message = self._compose(record)
        except LBError as error:
            self._set_aside(record, f"it cannot be read: {error}")
            return
        if message.expires is not None and message.expires <= self._clock.seconds() * _MICROSECONDS:
            self._expired(record, message.expires)
            return
        published = self._published[record.number] = self._publisher.publish(message)
        published.addCallbacks(
            self._confirmed, self._failed, callbackArgs=(record,), errbackArgs=(record, message.expires)
        )

    # --- what became of them ----------------------------------------------------------------------------------

    def _settled(self, record: R) -> None:
        self._out -= 1
        self._out_bytes -= len(record.payload)

    def _confirmed(self, _: None, record: R) -> None:
        self._published.pop(record.number, None)
        self._settled(record)
        if self._stopped:
            return  # the spool may be closed: the message goes again, with the same id
        self.counts.confirmed += 1
        self._failures = 0
        self.refusal = self._refused_since = None
        self._queue.acknowledge_one(record.number)
        self._tell(record, il.OK)
        self.wake()

    def _failed(self, failure: Failure, record: R, expires: int | None) -> None:
        self._published.pop(record.number, None)
        if self._stopped:
            self._settled(record)
            return
        reason = failure.value
        if isinstance(reason, ExpiredError) and expires is not None:
            self._expired(record, expires)
        elif isinstance(reason, RefusedError) and (not reason.everything or self._waited(record)):
            self.counts.refused += 1
            self._set_aside(record, str(reason))
        else:
            self._settled(record)
            if isinstance(reason, RefusedError):
                self.refusal = str(reason)
            elif not isinstance(reason, FullError | LostError):
                self._log.failure("{destination}", failure, destination=self._queue.destination)
            self._stumble(str(reason))
        self.wake()

    def _waited(self, record: R) -> bool:
        """Whether a message has waited long enough for a destination that is refused: outages do not count."""
        now = self._clock.seconds()
        if self._refused_since is None:
            self._refused_since = now
        return now - max(self._refused_since, record.time / _MICROSECONDS) >= self._limits.patience

    def _expired(self, record: R, expires: int) -> None:
        self.counts.expired += 1
        moment = datetime.fromtimestamp(expires / _MICROSECONDS, UTC)
        self._set_aside(record, f"it expired at {moment:%Y-%m-%dT%H:%M:%S}Z, before the broker had it")

    def _set_aside(self, record: R, reason: str) -> None:
        set_aside = self._quarantine(record, reason)
        set_aside.addCallbacks(self._aside, self._not_aside, callbackArgs=(record, reason), errbackArgs=(record,))

    def _aside(self, _: None, record: R, reason: str) -> None:
        self._settled(record)
        self._tell(record, il.Reply(il.Major.PERM, 0, reason))
        self.wake()

    def _not_aside(self, failure: Failure, record: R) -> None:
        self._settled(record)
        self._stumble(f"quarantine: {failure.getErrorMessage()}")
        self.wake()

    # --- pauses -----------------------------------------------------------------------------------------------

    def _stumble(self, reason: str) -> None:
        """Publish nothing more; when all that is out has come back, pause and begin again with what is left."""
        self._trouble = self._trouble or reason
        self._held.clear()

    def _back_off(self, reason: str) -> None:
        self._trouble = None
        self._queue.rewind()
        self._pause_for(self._delay(self._failures), reason)
