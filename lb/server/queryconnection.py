"""Connections of the main port: the query protocol of L&B clients, and on the same port the pages for browsers.

The head of each request tells which it is; a browser's connection is handed, with all its bytes, to the web site.
A request is never kept before it is bounded, and none is answered in the name of a certificate that has expired.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IProtocolFactory, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lb.security.identity import ANONYMOUS, Identity, identity_of
from lb.server.draft import Stream
from lb.server.limits import QueryLimits
from lb.server.queryport import QueryPort, kind
from lb.service.bounds import Budget
from lb.service.counted import Counted
from lb.service.exchange import described
from lb.service.watch import Watch
from lb.wire import http


@implementer(IHandshakeListener, IPushProducer)
class QueryConnection(Protocol):
    """One connection of the main port."""

    log: ClassVar[Logger] = Logger()
    #: TCP, or TLS over it.
    transport: Any
    factory: QueryFactory

    def __init__(self, port: QueryPort, site: IProtocolFactory, limits: QueryLimits) -> None:
        self._port = port
        self._site = site
        self._limits = limits
        self._reader = self._make_reader(limits.anonymous_bytes)
        self._web: Any = None
        self._peer: Identity | None = None
        self._requests: deque[http.Request] = deque()
        self._waiting_bytes = 0  # of their bodies
        self._held = 0  # bytes of a begun request
        self._answering = False
        self._asked: Deferred[Any] | None = None
        self._stream: Stream | None = None  # an answer that is being sent, and what comes next of it
        self._sending: Iterator[bytes] | None = None
        self._closing = False
        self._leaving = False  # what was taken is answered, then the connection ends
        self._paused = False
        self._full = False  # the peer does not read its answers
        self.deadline: float | None = None

    def _make_reader(self, max_body: int) -> http.RequestReader:
        max_body = min(max_body, self._limits.request_bytes)
        return http.RequestReader(max_body=max_body, hand_over=lambda request: not request.protocol_mode)

    def connectionMade(self) -> None:
        if not self.factory.add(self):
            self._closing = True
            self.transport.abortConnection()
            return
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self.deadline = self.factory.clock.seconds() + self._limits.handshake
        if not isinstance(self.transport, TLSMemoryBIOProtocol):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self._peer = identity_of(self.transport.getHandle())
        else:
            self._peer = ANONYMOUS
        if self._peer.name is not None:
            self._reader = self._make_reader(self._limits.request_bytes)
        self._give_time(self._limits.idle)

    def _give_time(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else self.factory.clock.seconds() + seconds

    def dataReceived(self, data: bytes) -> None:
        if self._web is not None:
            self._web.dataReceived(data)
            return
        if self._closing:
            return
        came = self._reader.feed(data)
        self._requests += came
        self._waiting_bytes += sum(len(request.body) for request in came)
        held, before = self._reader.held, self._held
        if not self._account(held):
            return
        # The time of a request runs from its first byte, not from the last one that came.
        if not self._answering and (came or before == 0) and not self._reader.idle:
            self._give_time(self._limits.message)
        self._next()
        self._pace()

    def _account(self, held: int) -> bool:
        """Bound the memory of requests that have begun; False when the connection had to end."""
        granted = self.factory.budget.change(self._held, held)
        self._held = held
        if not granted:
            self._release()
            self.log.warn("connection from {peer} closed: too many great requests at once", peer=self._name())
            self._closing = True
            self.transport.abortConnection()
        return granted

    def _next(self) -> None:
        """Answer the requests one after another; what follows them comes when they are done."""
        while self._requests and not self._answering and not self._full:
            request = self._requests.popleft()
            self._waiting_bytes -= len(request.body)
            self._answering = True
            self._give_time(None)
            address = getattr(self.transport.getPeer(), "host", "")
            self._asked = self._port.answer(request, self._peer or ANONYMOUS, address)
            self._asked.addCallback(self._answered, request, self.factory.watch.begin())
        if self._answering or self._requests:
            return
        if self._leaving:
            self._leave()
        elif self._closing:
            return
        elif self._reader.refusal is not None:
            status, reason = self._reader.refusal
            self.log.info("request of {peer} refused: {reason}", peer=self._name(), reason=reason)
            self._closing = True
            # Scripts look for the usual words of the status, in whose place the reason of C servers stands.
            body, content = (b"400 Bad Request\n", "text/plain") if status == 400 else (b"", http.PROTOCOL_TYPE)
            self.transport.write(http.response(status, body, content_type=content, reason=reason))
            self._leave()
        elif self._reader.handed_over is not None:
            self._hand_over()

    def _leave(self) -> None:
        self._leaving = False
        # A transport does not close while it has a producer.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def outlived(self, now: float) -> bool:
        """Whether the connection lasts longer than the certificates that say who the peer is."""
        expires = None if self._peer is None else self._peer.expires
        return expires is not None and now > expires and not self._closing

    def dismiss(self) -> None:
        """Answer what was taken and take nothing more; the peer may come again with a new certificate."""
        self.log.info("connection from {peer} closed: its certificate has expired", peer=self._name())
        self._closing = True
        if self._web is not None:
            self._give_time(self._limits.idle)
            self._web.dismiss()
            return
        self._leaving = True
        self._next()

    def _answered(self, response: bytes | Stream, request: http.Request, began: float) -> None:
        self.factory.watch.end(began, kind(request), self._name(), request.body or request.path)
        if not self.connected:
            if isinstance(response, Stream):
                response.close()
        elif isinstance(response, Stream):
            self._stream = response
            self._sending = response.pieces()
            self._send()
        else:
            self.transport.write(response)
            self._sent()

    def _send(self) -> None:
        """Go on with a long answer as far as the peer reads it; each time that it does, it has as long again."""
        if self._sending is not None:
            self._give_time(self._limits.idle)
        while self._sending is not None and not self._full and self.connected:
            piece = next(self._sending, None)
            if piece is not None:
                self.transport.write(piece)
                continue
            self._sending = self._stream = None
            self._sent()

    def _sent(self) -> None:
        self._answering = False
        self._give_time(self._limits.idle if self._reader.idle else self._limits.message)
        self._next()
        self._pace()

    def _pace(self) -> None:
        """Read on or pause, as the answers go."""
        if self._closing or self._web is not None or not self.connected:
            return
        limits = self._limits
        stop = self._full or len(self._requests) >= limits.window_requests or self._waiting_bytes >= limits.window_bytes
        if stop != self._paused:
            self._paused = stop
            (self.transport.pauseProducing if stop else self.transport.resumeProducing)()

    def pauseProducing(self) -> None:
        """The peer does not read: nothing more is answered until it does."""
        self._full = True
        self._pace()

    def resumeProducing(self) -> None:
        self._full = False
        self._send()
        self._next()
        self._pace()

    def stopProducing(self) -> None:
        """The connection is going; nothing more is answered anyway."""

    def _hand_over(self) -> None:
        """From here on this is a browser's connection."""
        self._give_time(None)
        self.transport.unregisterProducer()
        if self._paused:
            self.transport.resumeProducing()
        self._account(0)
        self._web = self._site.buildProtocol(self.transport.getPeer())
        self._web.makeConnection(self.transport)
        self._web.dataReceived(self._reader.take_rest())

    def _release(self) -> None:
        """Let go of a begun request, now: connections go round in references and wait for the garbage collector."""
        self.factory.budget.change(self._held, 0)
        self._held = 0
        self._reader = self._make_reader(0)
        self._requests.clear()

    def _name(self) -> str:
        return described(self._peer or ANONYMOUS, self.transport.getPeer())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.remove(self)
        self._release()
        self._closing = True
        self.connected = 0
        if self._stream is not None:
            self._stream.close()
            self._stream = self._sending = None
        if self._answering and self._asked is not None:
            self._asked.cancel()
        if self._web is not None:
            self._web.connectionLost(reason)


class QueryFactory(Counted[QueryConnection], Factory):
    """The main port's connections and their bounds."""

    noisy = False

    def __init__(
        self,
        port: QueryPort,
        site: IProtocolFactory,
        clock: IReactorTime,
        limits: QueryLimits,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(clock, limits.connections)
        self.watch = watch if watch is not None else Watch()
        self._port = port
        self._site = site
        self._limits = limits
        self.budget = Budget(limits)

    def buildProtocol(self, addr: object) -> QueryConnection:  # type: ignore[override]  # knows its factory's kind
        connection = QueryConnection(self._port, self._site, self._limits)
        connection.factory = self
        return connection

    def _look_at(self, connection: QueryConnection, now: float) -> None:
        if connection.deadline is not None and now > connection.deadline:
            connection.transport.abortConnection()
        elif connection.outlived(now):
            connection.dismiss()
