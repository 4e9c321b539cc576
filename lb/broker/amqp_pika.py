"""AMQP 0-9-1 by pika: its connection under Twisted, its channels with callbacks.

pika's own Deferreds are left alone: they blame the wrong message when the broker acknowledges several at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pika
from pika.adapters.twisted_connection import TwistedProtocolConnection
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from lb.broker.amqp import AmqpSession
from lb.broker.amqp_model import Channel, ChannelError, Incoming, Listener, Properties
from lb.broker.errors import words_of
from lb.broker.session import Owner, Session
from lb.broker.url import BrokerURL

_PROPERTIES: Final = ("headers", "message_id", "content_type", "correlation_id", "reply_to", "user_id")


def connect(clock: IReactorTime, url: BrokerURL, owner: Owner) -> tuple[IProtocol, Deferred[Session]]:
    """The protocol of a new connection, and what fires when its session stands."""
    session = AmqpSession(clock, url, owner)
    return PikaProtocol(session), session.opened


def _parameters(url: BrokerURL) -> pika.ConnectionParameters:
    credentials: Any
    if url.user is None and url.tls:
        credentials = pika.credentials.ExternalCredentials()
    else:
        guest = url.user is None
        credentials = pika.PlainCredentials("guest" if guest else url.user, "guest" if guest else url.password)
    return pika.ConnectionParameters(
        virtual_host=url.vhost,
        credentials=credentials,
        heartbeat=max(round(url.heartbeat), 1),
        client_properties={"connection_name": "lb"},
    )


class PikaProtocol(TwistedProtocolConnection):  # type: ignore[misc]  # pika has no types here
    """One connection."""

    def __init__(self, session: AmqpSession) -> None:
        super().__init__(_parameters(session.url), session.clock)
        self._session = session
        self.ready.addCallbacks(lambda _: self._stands(), lambda _: None)

    def dataReceived(self, data: bytes) -> None:
        self._session.heard()
        super().dataReceived(data)
        self._session.pass_on()

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # What the broker said before it closed: pika puts the way in which the connection ended in its place.
        said = self._impl._error
        stood = self._impl.is_open
        super().connectionLost(reason)
        text, distrust = words_of(reason)
        if isinstance(said, ConnectionClosedByBroker):
            text = f"the broker says: {said.reply_code} {said.reply_text}"
        elif said is not None:
            text = str(said) or text
        self._session.lost(text, login=distrust or (said is not None and not stood))

    def _stands(self) -> None:
        connection = self._impl
        connection.add_on_connection_blocked_callback(
            lambda _, frame: self._session.blocked(str(frame.method.reason) or "blocked")
        )
        connection.add_on_connection_unblocked_callback(lambda _, frame: self._session.blocked(None))
        self._session.stands(self, connection.params.heartbeat)

    # --- what the session calls -------------------------------------------------------------------------------

    def channel(self, listener: Listener) -> Deferred[Channel]:
        return _PikaChannel(self._impl, listener).opened

    def pause(self) -> None:
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.transport.resumeProducing()

    def close(self) -> None:
        super().close()

    def abort(self) -> None:
        self.transport.abortConnection()


class _PikaChannel:
    """A channel of pika's."""

    def __init__(self, connection: Any, listener: Listener) -> None:
        self.opened: Deferred[Channel] = Deferred()
        self._listener = listener
        self._calls: list[Deferred[Any]] = [self.opened]
        self._closing = False
        self._channel = connection.channel(on_open_callback=lambda _: self._answered(self.opened, self))
        self._channel.add_on_close_callback(self._on_close)
        self._channel.add_on_return_callback(self._on_return)
        self._channel.add_on_cancel_callback(lambda _: listener.cancelled("the consumer was cancelled"))

    def declare_queue(
        self, name: str, *, passive: bool = False, durable: bool = False, exclusive: bool = False
    ) -> Deferred[str]:
        asked = self._ask(
            self._channel.queue_declare, queue=name, passive=passive, durable=durable, exclusive=exclusive
        )
        return asked.addCallback(lambda frame: str(frame.method.queue))

    def consumers(self, queue: str) -> Deferred[int]:
        asked = self._ask(self._channel.queue_declare, queue=queue, passive=True)
        return asked.addCallback(lambda frame: int(frame.method.consumer_count))

    def check_exchange(self, name: str) -> Deferred[None]:
        return self._ask(self._channel.exchange_declare, exchange=name, passive=True)

    def bind_queue(self, queue: str, exchange: str, routing_key: str) -> Deferred[None]:
        return self._ask(self._channel.queue_bind, queue=queue, exchange=exchange, routing_key=routing_key)

    def prefetch(self, count: int) -> Deferred[None]:
        return self._ask(self._channel.basic_qos, prefetch_count=count)

    def confirm(self) -> Deferred[None]:
        return self._ask(self._channel.confirm_delivery, ack_nack_callback=self._on_confirm)

    def consume(self, queue: str) -> Deferred[None]:
        return self._ask(self._channel.basic_consume, queue=queue, on_message_callback=self._on_message)

    def publish(self, exchange: str, routing_key: str, properties: Properties, body: bytes, mandatory: bool) -> None:
        self._channel.basic_publish(exchange, routing_key, body, pika.BasicProperties(**properties), mandatory)

    def acknowledge(self, tag: int, multiple: bool) -> None:
        if self._channel.is_open:  # otherwise the message comes again
            self._channel.basic_ack(tag, multiple)

    def close(self) -> None:
        if self._channel.is_open:
            self._closing = True
            self._channel.close()

    # --- answers ----------------------------------------------------------------------------------------------

    def _ask(self, method: Callable[..., object], **arguments: object) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        if not self._channel.is_open:
            answer.errback(ChannelError(0, "the channel is closed"))
            return answer
        self._calls.append(answer)
        method(**arguments, callback=lambda frame: self._answered(answer, frame))
        return answer

    def _answered(self, answer: Deferred[Any], result: object) -> None:
        if answer in self._calls:
            self._calls.remove(answer)
            answer.callback(result)

    def _on_close(self, _: object, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            error = ChannelError(reason.reply_code, reason.reply_text)
        else:
            error = ChannelError(0, str(reason))
        calls, self._calls = self._calls, []
        for answer in calls:
            answer.errback(error)
        if not self._closing:
            self._listener.closed(error)

    def _on_return(self, _: object, method: Any, properties: Any, body: bytes) -> None:
        self._listener.returned(properties.message_id or "", f"{method.reply_code} {method.reply_text}")

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        self._listener.acknowledged(method.delivery_tag, method.multiple, isinstance(method, pika.spec.Basic.Ack))

    def _on_message(self, _: object, method: Any, properties: Any, body: bytes) -> None:
        self._listener.delivered(
            Incoming(
                method.delivery_tag,
                method.redelivered,
                method.exchange,
                method.routing_key,
                {name: getattr(properties, name) for name in _PROPERTIES},
                body,
            )
        )
