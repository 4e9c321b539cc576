"""Messages from a destination into a store: in their order, acknowledged when they are stored (P2, P4).

One that can never be stored is set aside and delays nobody (P5). While the store is in trouble nothing is acknowledged
or overtaken; what waits meanwhile is bounded by the prefetch, and in bytes (P6, P10).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker.deadletter import Letter, Refusal
from lb.broker.errors import BrokerError, LostError, RefusedError
from lb.broker.message import Delivery
from lb.broker.session import Session
from lb.broker.source import Source

#: Bytes of messages that go into the store together; one message may have more.
_CHUNK: Final = 4 << 20


class Trouble(NamedTuple):
    """Why a message could not be stored this time; it has to come again, and nothing may overtake it."""

    reason: str


#: What became of a message: None, it is stored.
Outcome = Refusal | Trouble | None
#: Stores messages that came one after another; an outcome for each. After a Trouble, all that follow have one.
Take = Callable[[list[Delivery]], Deferred[list[Outcome]]]


class Store(Protocol):
    """Where messages go."""

    @property
    def congested(self) -> bool:
        """Whether more waits than should."""

    def when_ready(self, resume: Callable[[], None]) -> None:
        """Call `resume` once when that is over."""

    def begin(self) -> Take:
        """Begin a stream of messages whose order counts."""


class Undertaker(Protocol):
    """Sets messages aside; `lb.broker.deadletter.DeadLetters` does."""

    def bury(self, letter: Letter) -> Deferred[None]:
        """Fires when the message is safe elsewhere."""


@dataclass(slots=True)
class Counts:
    """What became of messages since the start."""

    received: int = 0
    stored: int = 0
    refused: int = 0
    troubles: int = 0  #: times that the store could not take what came


class _Held(NamedTuple):
    """A message that is not acknowledged: its place in the order of arrival, and in which subscription it came."""

    place: int
    subscription: int
    delivery: Delivery


class _Stream:
    """Messages on their way into the store, in order."""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.out = 0
        self.again: list[_Held] = []
        self.trouble: str | None = None


def _size(deliveries: list[Delivery]) -> int:
    return sum(len(delivery.body) for delivery in deliveries)


class Collect:
    """Consumes one destination. `delay(n)`: seconds to wait after n + 1 troubles in a row."""

    log = Logger()

    def __init__(
        self,
        source: Source,
        store: Store,
        undertaker: Undertaker,
        clock: IReactorTime,
        delay: Callable[[int], float],
        octets: int,
    ) -> None:
        """`octets`: of messages that are held, beyond which no more are read."""
        self.source = source
        self.counts = Counts()
        self._store = store
        self._undertaker = undertaker
        self._clock = clock
        self._delay = delay
        self._most = octets
        self._octets = 0  # of the messages that this session brought and that are not acknowledged
        self._reading = True
        self._session: Session | None = None  # that brought what is held
        self._subscription = 0
        self._places = itertools.count()
        self._waiting: deque[_Held] = deque()
        self._stream = _Stream(store.begin())
        self._failures = 0
        self._pause: IDelayedCall | None = None
        self._congested = False
        self._pumping = False
        self._stopped: Deferred[None] | None = None

    @property
    def waiting(self) -> int:
        """Messages that are held and not on their way into the store."""
        return len(self._waiting) + len(self._stream.again)

    @property
    def paused(self) -> bool:
        """Whether nothing is read from the session until more is acknowledged."""
        return not self._reading

    # --- consumer ---------------------------------------------------------------------------------------------

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        if self._stopped is not None:
            return
        self._session = session
        self.counts.received += len(deliveries)
        self._waiting.extend(_Held(next(self._places), self._subscription, delivery) for delivery in deliveries)
        self._octets += _size(deliveries)
        if self._octets > self._most and self._reading:
            self._reading = False
            session.pause()
        self._pump()

    def cancelled(self, session: Session, reason: BrokerError) -> None:
        self._forget()

    # --- user of the link -------------------------------------------------------------------------------------

    def begun(self, session: Session) -> None:
        """Messages will tell."""

    def confirmed(self, session: Session, tags: list[int]) -> None:
        """Nothing is published here."""

    def refused(self, session: Session, tag: int, reason: RefusedError) -> None:
        """Nothing is published here."""

    def ended(self, session: Session, reason: LostError | RefusedError) -> None:
        self._forget()

    def _forget(self) -> None:
        """The broker delivers again, in order, what is not acknowledged; what is being stored is a duplicate then."""
        self._resume_reading()
        self._session = None
        self._octets = 0
        self._subscription += 1
        self._waiting.clear()
        self._begin()
        self._settle()

    def _begin(self) -> None:
        self._stream = _Stream(self._store.begin())

    # --- into the store ---------------------------------------------------------------------------------------

    def stop(self) -> Deferred[None]:
        """Take nothing more; fires when what is being stored is, and is acknowledged."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._waiting.clear()
            if self._pause is not None:
                self._pause.cancel()
                self._pause = None
            self._settle()
        return self._stopped

    def _pump(self) -> None:
        """Hand over what waits, as far as the store takes it."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._waiting and self._pause is None and not self._congested and self._stream.trouble is None:
                if self._store.congested:
                    self._congested = True
                    self._store.when_ready(self._ready)
                else:
                    self._submit(self._chunk())
        finally:
            self._pumping = False
        self._settle()

    def _ready(self) -> None:
        self._congested = False
        self._pump()

    def _chunk(self) -> list[_Held]:
        chunk: list[_Held] = []
        size = 0
        while self._waiting and size < _CHUNK:
            chunk.append(self._waiting.popleft())
            size += len(chunk[-1].delivery.body)
        return chunk

    def _submit(self, chunk: list[_Held]) -> None:
        stream = self._stream
        stream.out += len(chunk)
        taken = stream.take([held.delivery for held in chunk])
        taken.addErrback(self._mistake, len(chunk))
        taken.addCallback(self._taken, stream, chunk)

    def _mistake(self, failure: Failure, count: int) -> list[Outcome]:
        """Something nobody thought of, in the store: it is tried again like anything else."""
        self.log.failure("{source}", failure, source=str(self.source))
        return [Trouble(failure.getErrorMessage())] * count

    def _taken(self, outcomes: list[Outcome], stream: _Stream, chunk: list[_Held]) -> None:
        stream.out -= len(chunk)
        if stream is not self._stream:
            return  # the broker delivers all of it again
        stored: list[Delivery] = []
        for held, outcome in zip(chunk, outcomes, strict=True):
            if outcome is None:
                stored.append(held.delivery)
            elif isinstance(outcome, Trouble):
                stream.again.append(held)
                stream.trouble = stream.trouble or outcome.reason
            else:
                self._set_aside(held, outcome)
        if stored:
            self.counts.stored += len(stored)
            self._failures = 0
            self._acknowledge(stored)
        if not self._pumping:
            self._settle()

    def _acknowledge(self, deliveries: list[Delivery]) -> None:
        if self._session is None:
            return
        self._session.acknowledge(deliveries)
        self._octets -= _size(deliveries)
        if self._octets <= self._most // 2:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._session is not None and not self._reading:
            self._session.resume()
        self._reading = True

    def _set_aside(self, held: _Held, refusal: Refusal) -> None:
        self.counts.refused += 1
        letter = Letter(held.delivery, refusal, str(self.source), self.source.dead)
        self._undertaker.bury(letter).addCallbacks(self._aside, self._not_aside, callbackArgs=(held,))

    def _aside(self, _: None, held: _Held) -> None:
        if held.subscription == self._subscription:
            self._acknowledge([held.delivery])

    def _not_aside(self, failure: Failure) -> None:
        """We stop, or made a mistake: the broker keeps the message, and delivers it another time."""
        if self._stopped is None:
            self.log.failure("{source}: a message cannot be set aside", failure, source=str(self.source))

    # --- trouble ----------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """When all that was on its way has come back: pause if some of it was not stored, end if we stop."""
        stream = self._stream
        if stream.out:
            return
        if self._stopped is not None:
            if not self._stopped.called:
                self._stopped.callback(None)
        elif stream.trouble is not None:
            self._back_off(stream.trouble)

    def _back_off(self, reason: str) -> None:
        """Begin anew after a pause, with what was not stored in front, in the order in which it came."""
        again = sorted(self._stream.again)
        self._waiting.extendleft(reversed(again))
        self._begin()
        pause = self._delay(self._failures)
        self._failures += 1
        self.counts.troubles += 1
        self.log.warn(
            "{source}: not stored: {reason}; next try in {pause:.1f} s, {waiting} messages wait",
            source=str(self.source),
            reason=reason,
            pause=pause,
            waiting=len(self._waiting),
        )
        if self._pause is None:
            self._pause = self._clock.callLater(pause, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._pump()
