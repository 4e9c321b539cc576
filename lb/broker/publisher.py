"""Messages out, at least once each and in order: kept until the broker confirms them, sent again after a session ends.

The queue is in memory: who must not lose a message keeps it until its Deferred has fired (P1). Nothing is dropped (P6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lb.broker.destination import Destination
from lb.broker.errors import BrokerError, ExpiredError, FullError, LostError, RefusedError
from lb.broker.limits import PublisherLimits
from lb.broker.link import Link
from lb.broker.message import Message
from lb.broker.session import Session


@dataclass(slots=True)
class Counts:
    """What became of messages since the start."""

    confirmed: int = 0
    refused: int = 0
    expired: int = 0
    resent: int = 0


class _Entry:
    """A message, who waits for it, and whether it may be why a broker ended a session."""

    __slots__ = ("done", "dropped", "message", "suspect", "tag")

    def __init__(self, message: Message, drop: Callable[[_Entry], None]) -> None:
        self.message = message
        self.done: Deferred[None] = Deferred(lambda _: drop(self))
        self.dropped = False
        self.suspect = False
        self.tag = 0


_log = Logger()
_MICROSECONDS: Final = 1_000_000


class Publisher:
    """Publishes over a link."""

    def __init__(self, link: Link, clock: IReactorTime, limits: PublisherLimits = PublisherLimits()) -> None:  # noqa: B008  # immutable
        self.counts = Counts()
        self._link = link
        self._clock = clock
        self._limits = limits
        self._session: Session | None = None
        self._queue: deque[_Entry] = deque()  # not sent over this session
        self._sent: dict[int, _Entry] = {}  # by tag, in order
        self._dropped = 0  # of the queue
        self._octets = self._sent_octets = 0
        self._refusals: dict[Destination, tuple[float, RefusedError]] = {}
        self._room: list[Deferred[None]] = []
        self._pumping = False
        link.use(self)

    # --- what callers see -------------------------------------------------------------------------------------

    def publish(self, message: Message) -> Deferred[None]:
        """Fires when the broker has the message; fails with RefusedError, ExpiredError, or FullError at once.

        Cancelled, the message is not sent unless it is on its way.
        """
        if self.full:
            return fail(FullError(f"broker {self._link.broker}: {len(self)} messages wait already"))
        entry = _Entry(message, self._drop)
        self._queue.append(entry)
        self._octets += message.size
        self._pump()
        return entry.done

    def __len__(self) -> int:
        """Messages that wait or are on their way."""
        return len(self._queue) - self._dropped + len(self._sent)

    @property
    def full(self) -> bool:
        """Whether no more messages are taken."""
        return len(self) >= self._limits.messages or self._octets >= self._limits.octets

    def when_room(self) -> Deferred[None]:
        """Fires when messages are taken."""
        room: Deferred[None] = Deferred()
        self._room.append(room)
        self._tell_room()
        return room

    def give_up(self) -> None:
        """Fail all that waits with LostError: whoever must not lose it still has it."""
        entries = [*self._sent.values(), *self._queue]
        self._sent.clear()
        self._queue.clear()
        self._octets = self._sent_octets = 0
        self._dropped = 0
        for entry in entries:
            if not entry.dropped:
                entry.done.errback(LostError(f"broker {self._link.broker}: stopped before it was confirmed"))

    def _drop(self, entry: _Entry) -> None:
        """Nobody wants this message sent any longer."""
        entry.dropped = True
        if entry.tag in self._sent:
            return
        self._octets -= entry.message.size
        self._dropped += 1
        if self._dropped * 2 > len(self._queue):  # so that each costs its own place once, and no memory
            self._queue = deque(other for other in self._queue if not other.dropped)
            self._dropped = 0
        self._tell_room()

    # --- sending ----------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what may go; calls from within are no calls, for the loop goes on anyhow."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while (session := self._session) is not None and (batch := self._batch()):
                session.publish(batch)
        finally:
            self._pumping = False
        self._tell_room()

    def _batch(self) -> list[tuple[int, Message]]:
        batch: list[tuple[int, Message]] = []
        limits, sent = self._limits, self._sent
        while self._queue and len(sent) < limits.window:
            entry = self._queue[0]
            size = entry.message.size
            if sent and (self._sent_octets + size > limits.window_octets or self._tries_suspect):
                break
            self._queue.popleft()
            if entry.dropped:
                self._dropped -= 1
                continue
            if self._spared(entry):
                continue
            if entry.tag:
                self.counts.resent += 1
            entry.tag = next(self._link.tags)
            sent[entry.tag] = entry
            self._sent_octets += size
            batch.append((entry.tag, entry.message))
        return batch

    @property
    def _tries_suspect(self) -> bool:
        """Whether a suspect is on its way: it goes alone, so that nobody else is blamed for it."""
        return next(iter(self._sent.values())).suspect

    def _spared(self, entry: _Entry) -> bool:
        """Whether there is no use in sending the message: it has expired, or its destination refuses everything."""
        message = entry.message
        if message.expires is not None and message.expires <= self._clock.seconds() * _MICROSECONDS:
            self.counts.expired += 1
            self._settle(entry, ExpiredError(f"message {message.id} for {message.destination} has expired"))
            return True
        refusal = self._refusals.get(message.destination)
        if refusal is None:
            return False
        until, reason = refusal
        if self._clock.seconds() >= until:
            del self._refusals[message.destination]
            return False
        self.counts.refused += 1
        self._settle(entry, reason)
        return True

    def _settle(self, entry: _Entry, reason: BrokerError | None) -> None:
        self._octets -= entry.message.size
        if entry.dropped:
            return
        if reason is None:
            entry.done.callback(None)
        else:
            entry.done.errback(reason)

    def _taken(self, tag: int) -> _Entry | None:
        entry = self._sent.pop(tag, None)
        if entry is not None:
            self._sent_octets -= entry.message.size
        return entry

    def _tell_room(self) -> None:
        while self._room and not self.full:
            self._room.pop(0).callback(None)

    # --- user of the link -------------------------------------------------------------------------------------

    def begun(self, session: Session) -> None:
        self._session = session
        self._pump()

    def confirmed(self, session: Session, tags: list[int]) -> None:
        for tag in tags:
            entry = self._taken(tag)
            if entry is not None:
                self.counts.confirmed += 1
                self._settle(entry, None)
        self._pump()

    def refused(self, session: Session, tag: int, reason: RefusedError) -> None:
        entry = self._taken(tag)
        if entry is None:
            return
        self._refuse(entry, reason)
        self._pump()

    def _refuse(self, entry: _Entry, reason: RefusedError) -> None:
        message = entry.message
        _log.warn("message {id} refused: {reason}", id=message.id, reason=str(reason))
        self.counts.refused += 1
        if reason.everything:
            self._remember(message.destination, reason)
        self._settle(entry, reason)

    def _remember(self, destination: Destination, reason: RefusedError) -> None:
        """Keep a refusal for its time; those that are over go, for many destinations are never asked for again."""
        now = self._clock.seconds()
        self._refusals.pop(destination, None)
        self._refusals[destination] = (now + self._limits.refusal, reason)
        while (oldest := next(iter(self._refusals))) != destination and self._refusals[oldest][0] <= now:
            del self._refusals[oldest]

    def ended(self, session: Session, reason: LostError | RefusedError) -> None:
        """What was sent goes again, in order; when the broker blamed something, one by one until it is known what."""
        self._session = None
        sent = list(self._sent.values())
        self._sent.clear()
        self._sent_octets = 0
        if isinstance(reason, RefusedError):
            for entry in sent:
                entry.suspect = True
            if len(sent) == 1:
                self._refuse(sent.pop(), reason)
        self._octets -= sum(entry.message.size for entry in sent if entry.dropped)
        self._queue.extendleft(entry for entry in reversed(sent) if not entry.dropped)
        self._tell_room()
