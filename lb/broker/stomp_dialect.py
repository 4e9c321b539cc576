"""Messages as STOMP frames, in the words of the broker that is spoken with: RabbitMQ and ActiveMQ each add theirs.

Values in, values out: nothing here knows of a connection.
"""

from __future__ import annotations

from typing import Final

from lb.broker.destination import Destination, Kind
from lb.broker.errors import RefusedError
from lb.broker.message import ID_HEADER, Delivery, Message
from lb.broker.url import BrokerURL
from lb.wire import stomp

#: Headers that belong to the protocol: not a message's own.
_PROTOCOL: Final = frozenset(
    {"subscription", "message-id", "destination", "ack", "content-length", "content-type", "redelivered", "receipt",
     "correlation-id", "reply-to", "persistent", "expires", "expiration", "priority", "timestamp", ID_HEADER,
     "amqp-message-id", "amq-msg-type", "prefetch-count"}
)  # fmt: skip
#: Headers that change what a frame means: a message cannot have one of its own by that name.
_FORBIDDEN: Final = frozenset({"transaction", "receipt", "content-length", "destination", "id", "ack"})


class Dialect:
    """What the broker at `url` understands that names itself `server`, or has not yet done so."""

    def __init__(self, url: BrokerURL, server: str = "") -> None:
        self.is_activemq = server.startswith("ActiveMQ")
        self.is_rabbitmq = server.startswith("RabbitMQ")
        self._url = url

    def destination(self, destination: Destination) -> str:
        """The address of a destination; raises RefusedError when the broker has none of its kind."""
        if not self.is_activemq or destination.kind in (Kind.TOPIC, Kind.QUEUE, Kind.REPLY):
            return str(destination)
        if destination.kind is Kind.EXISTING:
            return f"/queue/{destination.name}"
        raise RefusedError(f"{self._url}: {destination}: ActiveMQ has no exchanges")

    def send(self, receipt: str, message: Message, now: float) -> stomp.Frame:
        """The frame of a message; `now`: seconds since the epoch. Raises RefusedError for what cannot be sent."""
        headers = dict(message.headers)
        for name in _FORBIDDEN & headers.keys():
            raise RefusedError(f"a message over STOMP cannot have a header {name!r}", everything=False)
        headers |= {
            "destination": self.destination(message.destination),
            "receipt": receipt,
            "content-type": message.content_type,
            "content-length": str(len(message.body)),
            "persistent": "true" if message.persistent else "false",
            ID_HEADER: message.id,
        }
        if message.correlation_id is not None:
            headers["correlation-id"] = message.correlation_id
        if message.reply_to is not None:
            headers["reply-to"] = message.reply_to
        if self.is_activemq:
            headers["amq-msg-type"] = "text" if message.is_text else "bytes"
        else:
            headers["amqp-message-id"] = message.id
        if self.is_rabbitmq:
            # It becomes the property that AMQP consumers believe; the broker refuses any name but the login's.
            headers.pop("user-id", None)
            if self._url.claimed is not None:
                headers["user-id"] = self._url.claimed
        if message.priority is not None:
            headers["priority"] = str(message.priority)
        if message.expires is not None:
            headers["expires"] = str(message.expires // 1000)
            headers["expiration"] = str(max(message.expires // 1000 - int(now * 1000), 0))
        return stomp.Frame("SEND", headers, message.body)

    def delivery(self, frame: stomp.Frame, token: object) -> Delivery:
        """The message of a frame; `token` is what its session acknowledges it by."""
        headers = frame.headers
        return Delivery(
            frame.body,
            {name: value for name, value in headers.items() if name not in _PROTOCOL},
            headers.get(ID_HEADER) or headers.get("amqp-message-id") or headers.get("message-id", ""),
            headers.get("destination", ""),
            headers.get("content-type", ""),
            headers.get("correlation-id"),
            headers.get("reply-to"),
            headers.get(self._url.vouched) if self._url.vouched else None,
            headers.get("redelivered") == "true",
            token,
        )
