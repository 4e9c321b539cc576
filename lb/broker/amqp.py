"""A session over AMQP 0-9-1, whichever library speaks the protocol.

Whatever a destination's refusal closes, it must never take messages for others along; confirms decide what is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker.amqp_consuming import Consuming, Once
from lb.broker.amqp_lane import Lane
from lb.broker.amqp_model import (
    FINAL,
    LOCKED,
    NOT_FOUND,
    Channel,
    ChannelError,
    Connection,
    route,
)
from lb.broker.destination import Destination, Kind
from lb.broker.errors import LoginError, LostError, RefusedError
from lb.broker.liveness import MISSED, Silence
from lb.broker.message import Delivery, Message
from lb.broker.session import GOODBYE, Consumer, Owner, Session, Subscription
from lb.broker.url import BrokerURL

#: Channels at once on which it is asked whether destinations exist; brokers allow some 2,000 in all.
_QUESTIONS: Final = 50

#: How many listen to a queue of which the broker says no more than this: a queue that is locked has its owner.
_LISTENERS: Final = {NOT_FOUND: 0, LOCKED: 1}

_T = TypeVar("_T")
_log = Logger()


class _Gate(NamedTuple):
    """What has to be looked at before messages for it may go: a queue, an exchange; topics always exist."""

    kind: Kind
    name: str


#: Kinds that are not asked about: topics, and queues of which there is one for each request.
_UNASKED: Final = frozenset({Kind.TOPIC, Kind.REPLY})


def _gate(destination: Destination) -> _Gate:
    return _Gate(destination.kind, "" if destination.kind in _UNASKED else destination.name)


class AmqpSession:
    """A session; its driver tells it when it stands, what comes, and when it is over.

    `opened` fires with the session when the broker has let us in, or fails with LostError.
    """

    def __init__(self, clock: IReactorTime, url: BrokerURL, owner: Owner) -> None:
        self.url = url
        self.clock = clock
        self.owner = owner
        self.opened: Deferred[Session] = Deferred()
        self._connection: Connection | None = None
        self._reason: LostError | RefusedError | None = None
        self._waiting: dict[_Gate, list[tuple[int, Message]]] = {}
        self._open: set[_Gate] = set()
        self._closed_gates: deque[tuple[_Gate, Destination]] = deque()  # that nobody has asked about yet
        self._asking = 0
        self._starting = False
        self._lanes: dict[str, Lane] = {}
        self._confirmed: list[int] = []
        self._consuming: list[Consuming] = []
        self._silence: Silence | None = None
        self._goodbye: IDelayedCall | None = None
        self._closed: list[Deferred[None]] = []

    # --- what the owner calls ---------------------------------------------------------------------------------

    def publish(self, messages: Sequence[tuple[int, Message]]) -> None:
        if self._connection is None or self._goodbye is not None:
            return
        for tag, message in messages:
            gate = _gate(message.destination)
            if gate in self._open:
                self._lane(message.destination).send(tag, message)
            elif gate in self._waiting:
                self._waiting[gate].append((tag, message))
            else:
                self._waiting[gate] = [(tag, message)]
                self._closed_gates.append((gate, message.destination))
        self._ask()
        self.pass_on()  # what was refused at once

    def subscribe(self, subscription: Subscription, consumer: Consumer) -> Deferred[None]:
        return Deferred.fromCoroutine(self._subscribe(subscription, consumer))

    def listeners(self, destination: Destination) -> Deferred[int | None]:
        return Deferred.fromCoroutine(self._listeners(destination))

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        tags: dict[Consuming, list[int]] = {}
        for delivery in deliveries:
            consuming, tag = delivery.token
            tags.setdefault(consuming, []).append(tag)
        for consuming, numbers in tags.items():
            consuming.acknowledge(numbers)

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def close(self) -> Deferred[None]:
        if self._connection is None:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        if self._goodbye is None:
            self._reason = self._reason or LostError(f"{self.url}: the session was closed")
            self._goodbye = self.clock.callLater(GOODBYE, self._connection.abort)
            self._connection.close()
        return closed

    # --- what the driver calls --------------------------------------------------------------------------------

    def stands(self, connection: Connection, interval: float) -> None:
        """The broker has let us in and gives a sign of life every `interval` seconds, 0: never."""
        self._connection = connection
        if interval:
            self._silence = Silence(self.clock, MISSED * interval, self._silent)
        self.opened.callback(self)

    def heard(self) -> None:
        """Bytes came; to be followed by `pass_on` when they were read."""
        if self._silence is not None:
            self._silence.heard()

    def pass_on(self) -> None:
        """Tell the owner and the consumers what the bytes that just came said."""
        confirmed, self._confirmed = self._confirmed, []
        if confirmed:
            self.owner.confirmed(self, confirmed)
        for consuming in self._consuming:
            consuming.pass_on()

    def blocked(self, reason: str | None) -> None:
        """The broker takes nothing for the time being, None: it does again."""
        self.owner.blocked(self, reason)

    def lost(self, reason: str, *, login: bool = False) -> None:
        """The connection is gone; a driver says so once."""
        if self._silence is not None:
            self._silence.stop()
        if self._goodbye is not None and self._goodbye.active():
            self._goodbye.cancel()
        ended = self._reason or (LoginError if login else LostError)(f"{self.url}: {reason}")
        if self._connection is not None:
            self._connection = None
            self.owner.ended(self, ended)
        elif not self.opened.called:
            self.opened.errback(ended)
        closed, self._closed = self._closed, []
        for deferred in closed:
            deferred.callback(None)

    # --- what lanes and consumers call ------------------------------------------------------------------------

    def channel(self, listener: Lane | Once) -> Deferred[Channel]:
        """Open a channel."""
        if self._connection is None:
            failed: Deferred[Channel] = Deferred()
            failed.errback(ChannelError(0, "the session is over"))
            return failed
        return self._connection.channel(listener)

    def confirm(self, tags: list[int]) -> None:
        """Messages are stored; the owner is told when all bytes that came are read."""
        self._confirmed += tags

    def refuse(self, tag: int, reason: RefusedError) -> None:
        """A message is not taken."""
        self.owner.refused(self, tag, reason)

    def lane_closed(self, lane: Lane, left: list[tuple[int, Message]]) -> None:
        """The broker closed a lane; what was not to blame goes once more, through gates that look again."""
        if self._lanes.get(lane.exchange) is lane:
            del self._lanes[lane.exchange]
        self._open = {gate for gate in self._open if route(Destination(gate.kind, gate.name))[0] != lane.exchange}
        if self._connection is not None:
            self.publish(left)

    def look_again(self, messages: list[tuple[int, Message]]) -> None:
        """Queues that were there are gone: make them anew, and send what they did not get."""
        self._open -= {_gate(message.destination) for _, message in messages}
        self.publish(messages)

    def drop(self, consuming: Consuming) -> None:
        """A consumer is over."""
        self._consuming = [other for other in self._consuming if other is not consuming]

    def end(self, reason: LostError | RefusedError) -> None:
        """Drop the connection for this reason, the first one given."""
        self._reason = self._reason or reason
        if self._connection is not None:
            self._connection.abort()

    def _silent(self) -> None:
        self.end(LostError(f"{self.url}: no sign of life from the broker"))

    # --- gates ------------------------------------------------------------------------------------------------

    def _lane(self, destination: Destination) -> Lane:
        exchange, _ = route(destination)
        lane = self._lanes.get(exchange)
        if lane is None:
            lane = self._lanes[exchange] = Lane(self, exchange)
            self._run(lane.open())
        return lane

    def _ask(self) -> None:
        """Ask about gates, a few at a time; in a loop, for all answers come at once when the session ends."""
        if self._starting:
            return
        self._starting = True
        while self._closed_gates and self._asking < _QUESTIONS and self._connection is not None:
            self._asking += 1
            self._run(self._asked(*self._closed_gates.popleft()))
        self._starting = False

    async def _asked(self, gate: _Gate, destination: Destination) -> None:
        try:
            await self._open_gate(gate, destination)
        finally:
            self._asking -= 1
            self._ask()

    async def _open_gate(self, gate: _Gate, destination: Destination) -> None:
        try:
            if gate.kind is Kind.EXCHANGE:
                await self._once(lambda channel: channel.check_exchange(gate.name))
            elif gate.kind not in _UNASKED:
                await self._queue(gate)
        except ChannelError as error:
            waiting = self._waiting.pop(gate)
            if error.code in FINAL:
                reason = RefusedError(f"{self.url}: {destination}: the broker says: {error}")
                for tag, _ in waiting:
                    self.refuse(tag, reason)
            elif error.code:
                self.end(LostError(f"{self.url}: {destination}: the broker says: {error}"))
            return
        self._open.add(gate)
        for tag, message in self._waiting.pop(gate):
            self._lane(destination).send(tag, message)

    async def _queue(self, gate: _Gate) -> None:
        """Make sure of a queue; one that is there is taken as it is, whatever its properties."""
        try:
            await self._once(lambda channel: channel.declare_queue(gate.name, passive=True))
        except ChannelError as error:
            if error.code != NOT_FOUND or gate.kind is Kind.EXISTING:
                raise
            await self._once(lambda channel: channel.declare_queue(gate.name, durable=True))

    async def _listeners(self, destination: Destination) -> int | None:
        if destination.kind in (Kind.TOPIC, Kind.EXCHANGE):
            return None
        _, queue = route(destination)
        try:
            return await self._once(lambda channel: channel.consumers(queue))
        except ChannelError as error:
            return _LISTENERS.get(error.code)

    async def _once(self, ask: Callable[[Channel], Deferred[_T]]) -> _T:
        """Ask something on a channel of its own: the broker answers a no by closing it."""
        channel = await self.channel(Once())
        answer = await ask(channel)
        channel.close()
        return answer

    def _run(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        Deferred.fromCoroutine(work).addErrback(self._mistake)

    def _mistake(self, failure: Failure) -> None:
        """Something nobody thought of: the session ends, so that nothing waits for ever."""
        _log.failure("session with {url}", failure, url=self.url)
        self.end(LostError(f"{self.url}: {failure.getErrorMessage()}"))

    # --- consuming --------------------------------------------------------------------------------------------

    async def _subscribe(self, subscription: Subscription, consumer: Consumer) -> None:
        source = subscription.source
        consuming = Consuming(self, consumer)
        try:
            if source.kind in (Kind.QUEUE, Kind.EXISTING):
                await self._queue(_Gate(source.kind, source.name))
            channel = await self.channel(consuming)
            queue = source.name
            if source.kind in (Kind.TOPIC, Kind.EXCHANGE):
                name = subscription.durable
                queue = await channel.declare_queue(name or "", durable=bool(name), exclusive=not name)
                await channel.bind_queue(queue, *route(source))
            await channel.prefetch(subscription.prefetch)
            consuming.channel = channel
            self._consuming.append(consuming)
            await channel.consume(queue)
        except ChannelError as error:
            self.drop(consuming)
            text = f"{self.url}: {source}: the broker says: {error}"
            raise (RefusedError(text) if error.code in FINAL else LostError(text)) from None
        consuming.agreed = True
