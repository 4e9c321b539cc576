"""Messages and destinations as AMQP 0-9-1 knows them, and what a driver has to offer to a session.

Nothing here sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from lb.broker.destination import Destination, Kind
from lb.broker.errors import RefusedError
from lb.broker.message import ID_HEADER, Delivery, Message

TOPICS: Final = "amq.topic"
PERSISTENT, TRANSIENT = 2, 1
#: Longest short string, bytes: most properties of a message are such.
SHORT: Final = 255

NOT_ALLOWED, NOT_FOUND, LOCKED, PRECONDITION = 403, 404, 405, 406
CHANNEL_ERROR: Final = 504
#: Reply codes that another try does not mend.
FINAL: Final = frozenset({NOT_ALLOWED, NOT_FOUND, LOCKED, PRECONDITION})

#: How RabbitMQ calls the temporary queues of STOMP clients in their requests.
_REPLIES: Final = "/reply-queue/"

Properties = dict[str, Any]


class ChannelError(Exception):
    """A channel was closed, by the broker with a reply code, or with its connection: then the code is 0."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}" if code else text)
        self.code = code


class Incoming(NamedTuple):
    """A message as a driver hands it over. Texts of properties may be None."""

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str
    properties: Mapping[str, Any]
    body: bytes


class Listener(Protocol):
    """Who is told what happens on a channel."""

    def acknowledged(self, tag: int, multiple: bool, stored: bool) -> None:
        """The broker has messages up to (`multiple`) or of this number, or says that it could not store them."""

    def returned(self, message_id: str, text: str) -> None:
        """A mandatory message has no queue to go to; its acknowledgement follows."""

    def delivered(self, incoming: Incoming) -> None:
        """A message came."""

    def cancelled(self, text: str) -> None:
        """The broker ended the consumer of this channel."""

    def closed(self, reason: ChannelError) -> None:
        """The channel ended otherwise than by us, once."""


class Channel(Protocol):
    """What a driver's channel does. Deferreds fail with ChannelError."""

    def declare_queue(
        self, name: str, *, passive: bool = False, durable: bool = False, exclusive: bool = False
    ) -> Deferred[str]:
        """Fires with the queue's name; an exclusive one goes with the connection."""

    def consumers(self, queue: str) -> Deferred[int]:
        """Fires with the number of consumers that a queue has, which must be there."""

    def check_exchange(self, name: str) -> Deferred[None]:
        """Fires when the exchange exists."""

    def bind_queue(self, queue: str, exchange: str, routing_key: str) -> Deferred[None]:
        """Bind a queue."""

    def prefetch(self, count: int) -> Deferred[None]:
        """Bound the messages without acknowledgement."""

    def confirm(self) -> Deferred[None]:
        """From now on the broker acknowledges what is published, from number 1."""

    def consume(self, queue: str) -> Deferred[None]:
        """Begin to consume."""

    def publish(self, exchange: str, routing_key: str, properties: Properties, body: bytes, mandatory: bool) -> None:
        """Publish a message."""

    def acknowledge(self, tag: int, multiple: bool) -> None:
        """Acknowledge the message, or all up to it."""

    def close(self) -> None:
        """Close in good order."""


class Connection(Protocol):
    """What a driver's connection does."""

    def channel(self, listener: Listener) -> Deferred[Channel]:
        """Open a channel; fails with ChannelError."""

    def pause(self) -> None:
        """Read nothing until `resume`."""

    def resume(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Begin to close in good order."""

    def abort(self) -> None:
        """Drop the connection at once."""


Connected = Callable[[Connection], None]


def route(destination: Destination) -> tuple[str, str]:
    """Exchange and routing key of a destination."""
    if destination.kind is Kind.TOPIC:
        return TOPICS, destination.name
    if destination.kind is Kind.EXCHANGE:
        return destination.name, destination.key
    if destination.kind is Kind.REPLY:
        return "", destination.name.removeprefix(_REPLIES)
    return "", destination.name


def properties_of(message: Message, user_id: str | None, now: float) -> Properties:
    """The properties of a message, all given. Raises RefusedError for what AMQP has no room for.

    `now`: seconds since the epoch; a message's time of life counts from its sending.
    """
    properties: Properties = {
        "content_type": message.content_type,
        "delivery_mode": PERSISTENT if message.persistent else TRANSIENT,
        "message_id": message.id,
    }
    if message.headers:
        properties["headers"] = dict(message.headers)
    if message.correlation_id is not None:
        properties["correlation_id"] = message.correlation_id
    if message.reply_to is not None:
        properties["reply_to"] = message.reply_to
    if message.priority is not None:
        properties["priority"] = message.priority
    if message.expires is not None:
        properties["expiration"] = str(max(message.expires // 1000 - int(now * 1000), 0))
    if user_id is not None:
        properties["user_id"] = user_id
    try:
        _check(properties)
    except UnicodeEncodeError as error:
        raise RefusedError(f"AMQP carries UTF-8 only, not {error.object[:80]!r}", everything=False) from None
    return properties


def _check(properties: Properties) -> None:
    for name, value in properties.items():
        if isinstance(value, str) and len(value.encode()) > SHORT:
            raise RefusedError(f"{name} of more than {SHORT} bytes cannot be sent over AMQP", everything=False)
    for name, value in properties.get("headers", {}).items():
        value.encode()
        if len(name.encode()) > SHORT:
            raise RefusedError(f"header name of more than {SHORT} bytes cannot be sent over AMQP", everything=False)


def delivery_of(incoming: Incoming, token: object) -> Delivery:
    """The delivery that a driver's message is. Its user is the property that RabbitMQ checks when it is sent."""
    properties = incoming.properties
    headers = {str(name): _text(value) for name, value in (properties.get("headers") or {}).items()}
    named = headers.pop(ID_HEADER, None)
    return Delivery(
        incoming.body,
        headers,
        _given(properties.get("message_id")) or named or "",
        _source(incoming.exchange, incoming.routing_key),
        _given(properties.get("content_type")) or "",
        _given(properties.get("correlation_id")),
        _given(properties.get("reply_to")),
        _given(properties.get("user_id")),
        incoming.redelivered,
        token,
    )


def _source(exchange: str, key: str) -> str:
    if exchange == TOPICS:
        return f"/topic/{key}"
    if not exchange:
        return f"/queue/{key}"
    return f"/exchange/{exchange}/{key}" if key else f"/exchange/{exchange}"


def _given(value: Any) -> str | None:
    return None if value is None else _text(value)


def _text(value: Any) -> str:
    """A value of a header as text, as STOMP would have it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
