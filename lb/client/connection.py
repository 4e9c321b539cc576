"""Kept connections on which requests are answered in order: the store port, the producer port, the query port.

A `Channel` speaks to one address. It keeps one connection, sends one request at a time to C peers and many to
our own (known by ALPN), and repeats a request once, on a new connection, when the kept one has died under it.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, TypeVar

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lb.client.dialer import Dialer, error_of_failure
from lb.client.settings import Address
from lb.model.errors import Code, LBError
from lb.wire import dglog, http, il

#: Requests on the way to a peer of ours, and their bytes; its own window is a multiple of both.
WINDOW: Final = 1024
WINDOW_BYTES: Final = 4 << 20
#: Seconds that a peer gets to close its side when we close ours.
_GOODBYE: Final = 1.0

Answer = TypeVar("Answer")
#: Gets the answer, or the error in its place.
Done = Callable[[Answer | None, LBError | None], None]


class _Request(Generic[Answer]):
    """One message and who waits for its answer."""

    __slots__ = ("deadline", "done", "message", "repeatable", "sent")

    def __init__(self, message: bytes, deadline: float, done: Done[Answer], repeatable: bool) -> None:
        self.message = message
        self.deadline = deadline
        self.done = done
        self.repeatable = repeatable
        self.sent = 0  # times

    @property
    def may_repeat(self) -> bool:
        return self.repeatable and self.sent < 2


@implementer(IHandshakeListener)
class _Connection(Protocol, Generic[Answer]):
    """One TLS connection; tells its channel what happens."""

    transport: Any  # what TLSMemoryBIOProtocol offers: ITCPTransport and INegotiated

    def __init__(self, channel: Channel[Answer], read: Callable[[bytes], list[Answer]]) -> None:
        self.channel: Channel[Answer] | None = channel
        self.window = 1
        self.answers = 0
        self.ready = False
        self._read = read
        self._lost = False
        self._gone: list[Deferred[None]] = []

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def handshakeCompleted(self) -> None:
        self.ready = True
        if self.channel is not None:
            negotiated = self.transport.negotiatedProtocol
            self.window = WINDOW if negotiated is not None and negotiated == self.channel.alpn else 1
            self.channel.connection_ready(self)

    def dataReceived(self, data: bytes) -> None:
        channel = self.channel
        if channel is None:
            return
        try:
            answers = self._read(data)
        except LBError as error:
            channel.connection_garbled(self, error)
        else:
            self.answers += len(answers)
            channel.answered(self, answers)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.connection_lost(self, reason)
        for waiter in self._gone:
            waiter.callback(None)

    def close(self, clock: IReactorTime) -> Deferred[None]:
        """End the connection in peace, or by force when the peer does not answer."""
        self.channel = None
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        self.transport.loseConnection()
        force = clock.callLater(_GOODBYE, self.transport.abortConnection)

        def over(result: None) -> None:
            if force.active():
                force.cancel()

        return gone.addCallback(over)

    def abort(self) -> None:
        """Drop the connection; nobody hears of it any more."""
        self.channel = None
        if not self._lost:
            self.transport.abortConnection()


class Channel(Generic[Answer]):
    """Requests to one address and their answers. Subclasses say what is spoken."""

    #: How peers of ours are recognised; None: never more than one request at a time.
    alpn: ClassVar[bytes | None] = None

    def __init__(self, address: Address, dialer: Dialer, clock: IReactorTime) -> None:
        self.address = address
        self._dialer = dialer
        self._clock = clock
        self._waiting: deque[_Request[Answer]] = deque()  # to be sent
        self._asked: deque[_Request[Answer]] = deque()  # sent, not answered
        self._asked_bytes = 0
        self._connection: _Connection[Answer] | None = None
        self._dialing: Deferred[None] | None = None
        self._ours = False  # the peer has shown that it is one of ours
        self._timer: IDelayedCall | None = None
        self._closed = False

    # What a protocol has to say.

    def make_reader(self) -> Callable[[bytes], list[Answer]]:
        """A reader of answers; raises `LBError` for what is none."""
        raise NotImplementedError

    # For callers.

    @property
    def outstanding(self) -> int:
        """Requests without an answer."""
        return len(self._waiting) + len(self._asked)

    @property
    def window(self) -> int:
        """Requests that the peer takes at once, 1 until it is known."""
        return 1 if self._connection is None else self._connection.window

    def submit(self, message: bytes, timeout: float, done: Done[Answer], *, repeatable: bool = True) -> None:
        """Send a message; `done` gets its answer, or ETIMEDOUT after `timeout` seconds, or why it could not be sent.

        A message that is not `repeatable` goes over a new connection and is never sent twice.
        """
        if self._closed:
            done(None, LBError(errno.ENOTCONN, f"{self.address}: this client is closed"))
            return
        request: _Request[Answer] = _Request(message, self._clock.seconds() + timeout, done, repeatable)
        self._waiting.append(request)
        self._arm(request.deadline)
        self._pump()

    def send(self, message: bytes, timeout: float, *, repeatable: bool = True) -> Deferred[Answer]:
        """As `submit`; fires with the answer or fails with `LBError`."""
        result: Deferred[Answer] = Deferred()

        def done(answer: Answer | None, error: LBError | None) -> None:
            if error is not None:
                result.errback(error)
            else:
                result.callback(answer)  # type: ignore[arg-type]  # there is an answer where there is no error

        self.submit(message, timeout, done, repeatable=repeatable)
        return result

    def close(self) -> Deferred[None]:
        """Fail what is outstanding and end the connection."""
        self._closed = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._fail(self._take_all(), LBError(errno.ENOTCONN, f"{self.address}: this client was closed"))
        connection, self._connection = self._connection, None
        gone: Deferred[None] = Deferred()
        if self._dialing is not None:
            self._dialing.cancel()
        if connection is not None:
            return connection.close(self._clock)
        gone.callback(None)
        return gone

    # The connection.

    def _pump(self) -> None:
        """Send what may be sent."""
        connection = self._connection
        if connection is None:
            if self._waiting and self._dialing is None and not self._closed:
                self._dial()
            return
        while connection.ready and self._waiting and len(self._asked) < connection.window:
            request = self._waiting[0]
            if self._asked and self._asked_bytes + len(request.message) > WINDOW_BYTES:
                return
            if not request.repeatable and connection.answers + len(self._asked):
                if not self._asked:
                    self._connection = None
                    connection.abort()
                    self._dial()
                return
            del self._waiting[0]
            request.sent += 1
            self._asked.append(request)
            self._asked_bytes += len(request.message)
            connection.transport.write(request.message)

    def _dial(self) -> None:
        factory = Factory.forProtocol(lambda: _Connection(self, self.make_reader()))
        factory.noisy = False
        # TLS 1.3 only towards peers known as ours: C servers stall when data come with the end of its handshake.
        version = 0 if self._ours else SSL.TLS1_2_VERSION
        self._dialing = self._dialer.dial(self.address, factory, alpn=self.alpn, max_version=version)
        self._dialing.addCallbacks(self._dialed, self._not_dialed)

    def _dialed(self, connection: object) -> None:
        self._dialing = None
        assert isinstance(connection, _Connection)
        if self._closed or not self._waiting:
            connection.abort()
        elif connection.channel is not None:
            self._connection = connection
            self._pump()

    def _not_dialed(self, reason: Failure) -> None:
        self._dialing = None
        self._fail(self._take_all(), error_of_failure(self.address, reason))

    def connection_ready(self, connection: _Connection[Answer]) -> None:
        """The handshake is done."""
        self._ours = connection.window > 1
        if connection is self._connection:
            self._pump()

    def answered(self, connection: _Connection[Answer], answers: list[Answer]) -> None:
        """Answers have come, in the order of the requests."""
        for answer in answers:
            if not self._asked:
                self.connection_garbled(connection, LBError(Code.SERVER_RESPONSE, "an answer to nothing"))
                return
            request = self._asked.popleft()
            self._asked_bytes -= len(request.message)
            request.done(answer, None)
        self._pump()

    def connection_garbled(self, connection: _Connection[Answer], error: LBError) -> None:
        """The peer sent what is no answer: its first request fails, the others are repeated."""
        connection.abort()
        failed = [self._asked.popleft()] if self._asked else []
        self._forget_connection()
        self._fail(failed, LBError(error.code, f"{self.address}: {error.description}"))
        self._pump()

    def connection_lost(self, connection: _Connection[Answer], reason: Failure) -> None:
        """The connection is gone: what it left unanswered is repeated once, elsewhere."""
        error = error_of_failure(self.address, reason)
        if connection is not self._connection:
            # Lost before the dialling was reported: the handshake can not have been completed.
            self._fail(self._take_all(), error)
            return
        if not connection.ready or error.code == Code.GSS:
            self._connection = None
            self._fail(self._take_all(), error)
        else:
            self._fail(self._forget_connection(), error)
        self._pump()

    def _forget_connection(self) -> list[_Request[Answer]]:
        """Take back what is not answered; returns what must not be sent again."""
        self._connection = None
        asked = list(self._asked)
        self._asked.clear()
        self._asked_bytes = 0
        self._waiting.extendleft(request for request in reversed(asked) if request.may_repeat)
        return [request for request in asked if not request.may_repeat]

    def _take_all(self) -> list[_Request[Answer]]:
        requests = [*self._asked, *self._waiting]
        self._asked.clear()
        self._asked_bytes = 0
        self._waiting.clear()
        return requests

    @staticmethod
    def _fail(requests: list[_Request[Answer]], error: LBError) -> None:
        for request in requests:
            request.done(None, LBError(error.code, error.description))

    # Time.

    def _arm(self, deadline: float) -> None:
        timer = self._timer
        if timer is not None and timer.active():
            if timer.getTime() <= deadline:
                return
            timer.cancel()
        self._timer = self._clock.callLater(max(0.0, deadline - self._clock.seconds()), self._look_at_deadlines)

    def _look_at_deadlines(self) -> None:
        now = self._clock.seconds()
        late = [request for request in (*self._asked, *self._waiting) if request.deadline <= now]
        if late:
            self._expire(set(map(id, late)), late)
        deadlines = [request.deadline for request in (*self._asked, *self._waiting)]
        if deadlines and not self._closed:
            self._arm(min(deadlines))

    def _expire(self, late: set[int], requests: list[_Request[Answer]]) -> None:
        self._waiting = deque(request for request in self._waiting if id(request) not in late)
        connection = self._connection
        stuck = any(id(request) in late for request in self._asked)
        unfinished = connection is not None and not connection.ready and not self._waiting
        others: list[_Request[Answer]] = []
        if connection is not None and (stuck or unfinished):
            connection.abort()
            self._asked = deque(request for request in self._asked if id(request) not in late)
            others = self._forget_connection()
        if self._dialing is not None and not self._waiting:
            self._dialing.cancel()
        self._fail([*requests, *others], LBError(errno.ETIMEDOUT, f"{self.address}: no answer in time"))
        self._pump()


# --- what is spoken -------------------------------------------------------------------------------------------


class ILConnection(Channel[il.Reply]):
    """To a store port: frames and replies."""

    alpn = il.ALPN

    def make_reader(self) -> Callable[[bytes], list[il.Reply]]:
        reader = il.FrameReader()

        def read(data: bytes) -> list[il.Reply]:
            try:
                return [il.read_reply(body) for body in reader.feed(data)]
            except il.FrameError as error:
                raise LBError(Code.IL_PROTO, str(error)) from None

        return read


class DGLogConnection(Channel[int]):
    """To a logger: messages and error numbers."""

    alpn = dglog.ALPN

    def make_reader(self) -> Callable[[bytes], list[int]]:
        return dglog.AnswerReader().feed


class HTTPConnection(Channel[http.Response]):
    """To a query port: requests and responses, strictly one after another."""

    def make_reader(self) -> Callable[[bytes], list[http.Response]]:
        reader = http.ResponseReader()

        def read(data: bytes) -> list[http.Response]:
            responses = reader.feed(data)
            if reader.error is not None and not responses:
                raise reader.error
            return responses

        return read
