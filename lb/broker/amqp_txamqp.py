"""AMQP 0-9-1 by txamqp: its client, channels and protocol tables, with our frames under them.

txamqp reads and writes contents through queues of Deferreds, and text for bytes; whatever carries a message goes past
that. Its heart-beats are off: they would be counted from the wrong frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from txamqp.client import ChannelClosed, Closed, TwistedDelegate
from txamqp.connection import Frame
from txamqp.connection import Method as MethodPayload
from txamqp.message import Message as Method
from txamqp.protocol import AMQChannel, AMQClient

from lb.broker import txamqp_frames as frames
from lb.broker.amqp import AmqpSession
from lb.broker.amqp_model import CHANNEL_ERROR, Channel, ChannelError, Incoming, Listener, Properties
from lb.broker.errors import words_of
from lb.broker.liveness import Beat
from lb.broker.session import GOODBYE, Owner, Session
from lb.broker.url import BrokerURL

_GREETING: Final = b"AMQP\0\0\x09\x01"
#: Longest frame that we agree to, bytes, and the most channels.
_FRAME_MAX: Final = 131_072
_CHANNEL_MAX: Final = 2_047
_CAPABILITIES: Final = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


def connect(clock: IReactorTime, url: BrokerURL, owner: Owner) -> tuple[IProtocol, Deferred[Session]]:
    """The protocol of a new connection, and what fires when its session stands."""
    session = AmqpSession(clock, url, owner)
    return TxamqpProtocol(session), session.opened


class _Delegate(TwistedDelegate):  # type: ignore[misc]  # txamqp has no types
    """What to do about methods that the broker sends by itself."""

    client: TxamqpProtocol

    def connection_start(self, channel: Any, method: Any) -> None:
        client = self.client
        channel.connection_start_ok(
            client_properties={"product": "lb", "capabilities": _CAPABILITIES},
            mechanism=client.mechanism,
            response=client.response,
            locale=client.locale,
        )

    def connection_tune(self, channel: Any, method: Any) -> None:
        channel.connection_tune_ok(*self.client.tune(method.channel_max, method.frame_max))
        self.client.started.fire()

    def connection_blocked(self, channel: Any, method: Any) -> None:
        self.client.session.blocked(method.reason or "blocked")

    def connection_unblocked(self, channel: Any, method: Any) -> None:
        self.client.session.blocked(None)

    def connection_close(self, channel: Any, method: Any) -> None:
        self.client.failure = f"the broker says: {method.reply_code} {method.reply_text}"
        super().connection_close(channel, method)

    def channel_close(self, channel: Any, method: Any) -> None:
        super().channel_close(channel, method)
        channel.ended(ChannelError(method.reply_code, method.reply_text))

    def basic_ack(self, channel: Any, method: Any) -> None:
        channel.listener.acknowledged(method.delivery_tag, method.multiple, True)

    def basic_nack(self, channel: Any, method: Any) -> None:
        channel.listener.acknowledged(method.delivery_tag, method.multiple, False)

    def basic_cancel(self, channel: Any, method: Any) -> None:
        channel.listener.cancelled("the consumer was cancelled")

    def basic_return_(self, channel: Any, method: Any) -> None:
        properties, _ = method.content
        channel.listener.returned(properties.get("message_id") or "", f"{method.reply_code} {method.reply_text}")

    def basic_deliver(self, channel: Any, method: Any) -> None:
        properties, body = method.content
        channel.listener.delivered(
            Incoming(method.delivery_tag, method.redelivered, method.exchange, method.routing_key, properties, body)
        )


class _Channel(AMQChannel):  # type: ignore[misc]
    """A channel of txamqp's, and the content that is on its way over it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.listener: Any = None
        self.ended: Callable[[ChannelError], None] = lambda error: None
        self._method: Any = None
        self._arguments: tuple[Any, ...] = ()
        self._properties: dict[str, Any] = {}
        self._missing = 0
        self._body: list[bytes] = []

    def begin_content(self, method: Any, arguments: tuple[Any, ...]) -> None:
        """A method came whose content follows."""
        self._method, self._arguments = method, arguments

    def take_header(self, payload: bytes, most: int) -> Method | None:
        """The header came; returns the whole method when there is no body."""
        if self._method is None:
            raise frames.FrameError("content that no method announced")
        self._missing, self._properties = frames.read_header(payload)
        if self._missing > most:
            raise frames.FrameError(f"message of {self._missing} bytes, at most {most} are taken")
        return None if self._missing else self._whole()

    def take_body(self, payload: bytes) -> Method | None:
        """A part of the body came; returns the whole method with the last one."""
        self._missing -= len(payload)
        if self._method is None or self._missing < 0:
            raise frames.FrameError("more of a body than was announced")
        self._body.append(payload)
        return None if self._missing else self._whole()

    def _whole(self) -> Method:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        whole = Method(self._method, self._arguments, (self._properties, body))
        self._method, self._body = None, []
        return whole


class TxamqpProtocol(AMQClient):  # type: ignore[misc]
    """One connection."""

    channelClass = _Channel

    def __init__(self, session: AmqpSession) -> None:
        self.session = session
        self.failure: str | None = None
        self._reader = frames.FrameReader()
        self._stood = False
        self._ending = False
        self._beat: Beat | None = None
        self._interval = max(round(session.url.heartbeat), 1)
        self._channel_max = _CHANNEL_MAX
        super().__init__(_Delegate(), session.url.vhost, frames.description(), clock=session.clock)

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.write(_GREETING)
        url = self.session.url
        if url.user is None and url.tls:
            mechanism, response = "EXTERNAL", ""
        else:
            guest = url.user is None
            mechanism, response = "PLAIN", "\0guest\0guest" if guest else f"\0{url.user}\0{url.password}"
        self.channel(0)  # the broker speaks first
        started: Deferred[Any] = self.start(response, mechanism)
        started.addCallbacks(self._stands, lambda _: None)  # a failure ends the connection, which is told then

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._beat is not None:
            self._beat.stop()
        super().connectionLost(reason)
        text, distrust = words_of(reason)
        self.session.lost(self.failure or text, login=distrust or (self.failure is not None and not self._stood))

    def do_close(self, reason: Any) -> None:
        """Close all channels and queues; who hears of it may ask for a channel at once, and gets none."""
        self._ending = True
        for channel in list(self.channels.values()):  # txamqp goes over the very table
            channel.close(reason)
        super().do_close(reason)

    def _stands(self, _: object) -> None:
        self._stood = True
        sign = frames.frame(frames.HEARTBEAT, 0, b"")
        self._beat = Beat(self.session.clock, self._interval / 2, lambda: self.transport.write(sign))
        self.session.stands(_Connection(self), self._interval)

    def tune(self, channel_max: int, frame_max: int) -> tuple[int, int, int]:
        """Agree to what the broker offers, within our bounds: channels, bytes of a frame, seconds between beats."""
        self._channel_max = min(channel_max or _CHANNEL_MAX, _CHANNEL_MAX)
        self._reader.frame_max = min(frame_max or _FRAME_MAX, _FRAME_MAX)
        return self._channel_max, self._reader.frame_max, self._interval

    # --- frames -----------------------------------------------------------------------------------------------

    def send_frame(self, frame: Any) -> None:
        """What txamqp's channels send: methods without content."""
        self.send_method(frame.channel, frames.write_method(frame.payload.method, frame.payload.args))

    def dataReceived(self, data: bytes) -> None:
        self.session.heard()
        try:
            for type_, number, payload in self._reader.feed(data):
                if type_ != frames.HEARTBEAT:
                    self._take(type_, number, payload)
        except frames.FrameError as error:
            self.failure = f"the broker does not speak AMQP 0-9-1: {error}"
            self.abort()
        self.session.pass_on()

    def _take(self, type_: int, number: int, payload: bytes) -> None:
        channel = self.channels.get(number)
        if channel is None:
            return  # one that we have closed
        whole: Method | None = None
        if type_ == frames.METHOD:
            method, arguments = frames.read_method(payload)
            if method.content:
                channel.begin_content(method, arguments)
            elif method.response:
                channel.responses.put(Frame(number, MethodPayload(method, *arguments)))
            else:
                whole = Method(method, arguments)
        elif type_ == frames.HEADER:
            whole = channel.take_header(payload, self.session.url.frame_bytes)
        elif type_ == frames.BODY:
            whole = channel.take_body(payload)
        if whole is not None:
            self.delegate.dispatch(channel, whole)

    def send_method(self, channel: int, method: bytes) -> None:
        """Send the payload of a method without content."""
        self.transport.write(frames.frame(frames.METHOD, channel, method))

    def send_content(self, channel: int, method: bytes, properties: Properties, body: bytes) -> None:
        """Send a method's payload and its content, at once."""
        content = frames.write_content(channel, properties, body, self._reader.frame_max)
        self.transport.write(frames.frame(frames.METHOD, channel, method) + content)

    # --- what the session calls -------------------------------------------------------------------------------

    def channel_for(self, listener: Listener) -> Deferred[Channel]:
        """Open a channel under a free number."""
        return Deferred.fromCoroutine(self._open_channel(listener))

    async def _open_channel(self, listener: Listener) -> Channel:
        if self._ending:
            raise ChannelError(0, _OVER)
        numbers = range(1, self._channel_max + 1)
        number = next((number for number in numbers if number not in self.channels), None)
        if number is None:
            raise ChannelError(CHANNEL_ERROR, f"all {self._channel_max} channels are in use")
        channel = await self.channel(number)
        channel.listener = listener
        opened = _TxamqpChannel(self, channel)
        await _answer(channel.channel_open())
        return opened

    def abort(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()


class _Connection:
    """A connection as the session wants it: txamqp has other uses for some of the names."""

    def __init__(self, protocol: TxamqpProtocol) -> None:
        self._protocol = protocol

    def channel(self, listener: Listener) -> Deferred[Channel]:
        return self._protocol.channel_for(listener)

    def pause(self) -> None:
        self._protocol.transport.pauseProducing()

    def resume(self) -> None:
        self._protocol.transport.resumeProducing()

    def close(self) -> None:
        closing: Deferred[Any] = self._protocol.close(within=GOODBYE)
        closing.addErrback(lambda _: None)  # the connection ends in any case

    def abort(self) -> None:
        self._protocol.abort()


class _TxamqpChannel:
    """A channel as the session wants it."""

    def __init__(self, protocol: TxamqpProtocol, channel: Any) -> None:
        self._protocol = protocol
        self._channel = channel
        channel.ended = self._ended
        self._publish = frames.description().parse_method("basic.publish")
        self._ack = frames.description().parse_method("basic.ack")

    def declare_queue(
        self, name: str, *, passive: bool = False, durable: bool = False, exclusive: bool = False
    ) -> Deferred[str]:
        asked = self._channel.queue_declare(queue=name, passive=passive, durable=durable, exclusive=exclusive)
        return _answer(asked).addCallback(lambda method: str(method.queue))

    def consumers(self, queue: str) -> Deferred[int]:
        asked = self._channel.queue_declare(queue=queue, passive=True)
        return _answer(asked).addCallback(lambda method: int(method.consumer_count))

    def check_exchange(self, name: str) -> Deferred[None]:
        return _answer(self._channel.exchange_declare(exchange=name, passive=True))

    def bind_queue(self, queue: str, exchange: str, routing_key: str) -> Deferred[None]:
        return _answer(self._channel.queue_bind(queue=queue, exchange=exchange, routing_key=routing_key))

    def prefetch(self, count: int) -> Deferred[None]:
        return _answer(self._channel.basic_qos(prefetch_count=count))

    def confirm(self) -> Deferred[None]:
        return _answer(self._channel.confirm_select())

    def consume(self, queue: str) -> Deferred[None]:
        return _answer(self._channel.basic_consume(queue=queue))

    def publish(self, exchange: str, routing_key: str, properties: Properties, body: bytes, mandatory: bool) -> None:
        method = frames.write_method(self._publish, (0, exchange, routing_key, mandatory, False))
        self._protocol.send_content(self._channel.id, method, properties, body)

    def acknowledge(self, tag: int, multiple: bool) -> None:
        self._protocol.send_method(self._channel.id, frames.write_method(self._ack, (tag, multiple)))

    def close(self) -> None:
        if not self._channel.closed:
            _answer(self._channel.channel_close(reply_code=200)).addBoth(lambda _: self._forget())

    def _ended(self, error: ChannelError) -> None:
        self._forget()
        self._channel.listener.closed(error)

    def _forget(self) -> None:
        self._protocol.channels.pop(self._channel.id, None)


#: What is said to who asks for something that a lost connection will never give.
_OVER: Final = "the session is over"


def _answer(asked: Deferred[Any]) -> Deferred[Any]:
    """The same with a ChannelError instead of txamqp's exceptions."""

    def failed(failure: Failure) -> None:
        reason = failure.value
        if isinstance(reason, ChannelClosed):
            method = reason.args[0]
            raise ChannelError(method.reply_code, method.reply_text) from None
        failure.trap(Closed)
        raise ChannelError(0, _OVER) from None

    return asked.addErrback(failed)
