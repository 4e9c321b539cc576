"""Ports on which peers send messages and get an answer to each, in order: the store port and the producer port.

The skin around a sans-IO reader: TLS identity, bounds, pauses, time-outs, one write for all answers that are ready.
A peer may pipeline; what it sent before it closed its side is still answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lb.security.identity import ANONYMOUS, Identity, identity_of
from lb.service.bounds import Budget, Limits
from lb.service.counted import Counted


class NotTakenError(Exception):
    """What `Exchange.handle` fails with when the port takes nothing (any more): no answer, and nothing amiss."""


class Reader(Interface):
    """A sans-IO reader of messages."""

    def feed(self, data: bytes) -> list[bytes]: ...

    @property
    def held(self) -> int:
        """Bytes kept of a message that has begun."""


class Unreadable(Interface):
    """What a reader raises at bytes that are no message; the messages before them are in `complete`."""

    complete: list[bytes]


@implementer(IHandshakeListener, IHalfCloseableProtocol)
class Exchange(Protocol):
    """One connection. Subclasses say how messages are read, handled and refused."""

    log: ClassVar[Logger] = Logger()
    #: Exceptions of the reader that end a connection.
    unreadable: ClassVar[tuple[type[Exception], ...]]

    factory: ExchangeFactory
    #: TCP, or TLS over it; the interfaces of Twisted do not say what both have.
    transport: Any
    peer: Identity = ANONYMOUS

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reader: Reader | None = None
        self._waiting = 0  # messages without an answer
        self._waiting_bytes = 0
        self._held = 0  # bytes of a begun message
        self._deadline: float | None = None
        self._paused = False
        self._full = False  # the peer does not read its answers
        self._closing = False
        self._blocked = False  # the port asked us to wait
        self._left = False  # our side is done

    # What a port has to say.

    def make_reader(self, max_message: int) -> Reader:
        """A reader that refuses announced messages longer than `max_message` bytes."""
        raise NotImplementedError

    def handle(self, messages: list[bytes]) -> Deferred[bytes]:
        """Take in messages; fires with the bytes that answer them all, in order."""
        raise NotImplementedError

    def refusal(self, reason: Exception) -> bytes:
        """Last words to a peer that sent something unreadable."""
        raise NotImplementedError

    # The connection.

    def connectionMade(self) -> None:
        if not self.factory.add(self):
            self.log.warn("connection from {peer} closed: too many connections", peer=self._name())
            self.transport.abortConnection()
            self._closing = True
            return
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(Answers(self.answers_full), True)
        self._deadline = self.factory.now() + self._limits.handshake
        if not isinstance(self.transport, TLSMemoryBIOProtocol):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self.peer = identity_of(self.transport.getHandle())
        limit = self._limits.message_bytes if self.peer.name is not None else self._limits.anonymous_bytes
        self._reader = self.make_reader(limit)
        self._deadline = self.factory.now() + self._limits.idle

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        if self._reader is None:
            self.handshakeCompleted()
        reader = self._reader
        assert reader is not None
        reason: Exception | None = None
        try:
            messages = reader.feed(data)
        except self.unreadable as broken:
            reason = broken
            messages = getattr(broken, "complete", [])
        if messages:
            size = sum(map(len, messages))
            self._waiting += len(messages)
            self._waiting_bytes += size
            self.handle(messages).addCallbacks(
                self._answer, self._failed, callbackArgs=(len(messages), size), errbackArgs=()
            )
        if reason is not None:
            self._refuse(reason)
            return
        self._account(reader.held, begun=bool(messages) or self._held == 0)
        self._pace()

    def _account(self, held: int, *, begun: bool) -> None:
        """Bound the memory and the time of a message that has begun."""
        if not self.factory.budget.change(self._held, held):
            self._held = held
            self._release()
            self._closing = True
            self.log.warn("connection from {peer} closed: too many great messages at once", peer=self._name())
            self.transport.abortConnection()
            return
        if held == 0:
            self._deadline = self.factory.now() + self._limits.idle
        elif begun:
            self._deadline = self.factory.now() + self._limits.message
        elif held >> 20 > self._held >> 20:
            # Each further megabyte earns its time.
            self._deadline = self.factory.now() + self._limits.message
        self._held = held

    def _answer(self, answers: bytes, count: int, size: int) -> None:
        self._waiting -= count
        self._waiting_bytes -= size
        if self.connected and answers:
            self.transport.write(answers)
        if self._closing:
            self._close_when_answered()
        else:
            if self._held == 0:
                self._deadline = self.factory.now() + self._limits.idle
            self._pace()

    def finish(self) -> None:
        """Take nothing more from the peer; the connection ends when all is answered."""
        self._closing = True

    def _failed(self, failure: Failure) -> None:
        """The port could not take the messages: the peer keeps them and comes again."""
        if failure.check(NotTakenError):
            self.log.info(
                "messages of {peer} not answered: {reason}", peer=self._name(), reason=failure.getErrorMessage()
            )
        else:
            self.log.failure("messages of {peer} not answered", failure=failure, peer=self._name())
        self._closing = True
        self.transport.abortConnection()

    def _refuse(self, reason: Exception) -> None:
        self.log.info("connection from {peer} closed: {reason}", peer=self._name(), reason=str(reason))
        self._closing = True
        self._last_words = self.refusal(reason)
        self._close_when_answered()

    _last_words = b""

    def _close_when_answered(self) -> None:
        if self._waiting == 0 and self.connected:
            if self._last_words:
                self.transport.write(self._last_words)
                self._last_words = b""
            if not self._left:
                self._left = True
                # A transport does not close while it has a producer.
                self.transport.unregisterProducer()
            self.transport.loseConnection()

    # Pauses.

    def _pace(self) -> None:
        """Read on or pause, as the window and the port allow."""
        port = self.factory
        if port.congested() and not self._blocked:
            self._blocked = True
            port.when_ready(self._unblock)
        stop = (
            self._full
            or self._blocked
            or self._waiting >= self._limits.window_events
            or self._waiting_bytes >= self._limits.window_bytes
        )
        if stop != self._paused and self.connected:
            self._paused = stop
            if stop:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def _unblock(self) -> None:
        self._blocked = False
        if self.connected and not self._closing:
            self._pace()

    def answers_full(self, full: bool) -> None:
        """The peer stopped or began to read its answers."""
        self._full = full
        if not self._closing:
            self._pace()

    def overdue(self, now: float) -> bool:
        """Whether the peer used up its time; a peer that waits for us never does."""
        return self._deadline is not None and now > self._deadline and not self._waiting

    def outlived(self, now: float) -> bool:
        """Whether the connection lasts longer than the certificates that say who the peer is."""
        return self.peer.expires is not None and now > self.peer.expires and not self._closing

    def dismiss(self) -> None:
        """Answer what was taken and take nothing more; the peer may come again with a new certificate."""
        self.log.warn("connection from {peer} closed: its certificate has expired", peer=self._name())
        self.finish()
        self._close_when_answered()

    def expire(self) -> None:
        """End a connection that used up its time."""
        if self._reader is None:
            self.log.info("connection from {peer} closed: no TLS handshake in time", peer=self._name())
        elif self._held:
            self.log.info("connection from {peer} closed: message not complete in time", peer=self._name())
        self._closing = True
        self._deadline = None
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        self._closing = True
        self._close_when_answered()

    def writeConnectionLost(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.remove(self)
        self._release()
        self._closing = True

    def _release(self) -> None:
        """Let go of a begun message, now: connections go round in references and wait for the garbage collector."""
        self.factory.budget.change(self._held, 0)
        self._held = 0
        self._reader = None

    def _name(self) -> str:
        return described(self.peer, self.transport.getPeer())


def described(peer: Identity, address: Any) -> str:
    """A peer in a log line: its name, and host and port where its address has them."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    place = address if host is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{peer.name or 'anonymous'} at {place}"


@implementer(IPushProducer)
class Answers:
    """The producer side of a connection: told by the transport when answers pile up, and when they do not any more."""

    def __init__(self, full: Callable[[bool], None]) -> None:
        self._full = full

    def pauseProducing(self) -> None:
        self._full(True)

    def resumeProducing(self) -> None:
        self._full(False)

    def stopProducing(self) -> None:
        """The connection is going; nothing more is produced anyway."""


class ExchangeFactory(Counted[Exchange], Factory):
    """A port: its connections, their bounds, and how to make a protocol for each."""

    noisy = False

    def __init__(
        self,
        make: Callable[[], Exchange],
        clock: IReactorTime,
        limits: Limits,
        *,
        congested: Callable[[], bool] = lambda: False,
        when_ready: Callable[[Callable[[], None]], None] = lambda resume: None,
    ) -> None:
        super().__init__(clock, limits.connections)
        self._make = make
        self.congested = congested
        self.when_ready = when_ready
        self.budget = Budget(limits)

    def now(self) -> float:
        return self.clock.seconds()

    def buildProtocol(self, addr: IAddress | None) -> Exchange:  # type: ignore[override]  # knows its factory's kind
        exchange = self._make()
        exchange.factory = self
        return exchange

    def _look_at(self, connection: Exchange, now: float) -> None:
        if connection.overdue(now):
            connection.expire()
        elif connection.outlived(now):
            connection.dismiss()

    def close(self) -> None:
        """End all connections; peers keep what is not answered."""
        for exchange in list(self._connections):
            exchange.expire()
