"""Channels on which nothing is published: a consumer's, and those on which something is asked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lb.broker.amqp_model import Channel, ChannelError, Incoming, delivery_of
from lb.broker.errors import LostError
from lb.broker.message import Delivery
from lb.broker.session import Consumer

if TYPE_CHECKING:
    from lb.broker.amqp import AmqpSession


class Once:
    """Listens on channels for one question: the answer, or its failure, says everything."""

    def acknowledged(self, tag: int, multiple: bool, stored: bool) -> None:
        """Nothing is published there."""

    def returned(self, message_id: str, text: str) -> None:
        """Nothing is published there."""

    def delivered(self, incoming: Incoming) -> None:
        """Nothing is consumed there."""

    def cancelled(self, text: str) -> None:
        """Nothing is consumed there."""

    def closed(self, reason: ChannelError) -> None:
        """The question failed with the same reason."""


class Consuming(Once):
    """One consumer on a channel of its own."""

    def __init__(self, session: AmqpSession, consumer: Consumer) -> None:
        self.channel: Channel | None = None
        self.agreed = False
        self._session = session
        self._consumer = consumer
        self._outstanding: dict[int, None] = {}  # delivery tags, in order
        self._received: list[Delivery] = []

    def delivered(self, incoming: Incoming) -> None:
        self._outstanding[incoming.tag] = None
        self._received.append(delivery_of(incoming, (self, incoming.tag)))

    def pass_on(self) -> None:
        """Hand over what came."""
        received, self._received = self._received, []
        if received:
            self._consumer.received(self._session, received)

    def acknowledge(self, tags: list[int]) -> None:
        """Acknowledge messages, with one frame when they are the oldest ones."""
        channel = self.channel
        if channel is None:
            return  # the broker has ended the consumer, the messages are delivered again
        tags = [tag for tag in tags if tag in self._outstanding]
        for tag in tags:
            del self._outstanding[tag]
        if not tags:
            return
        last = max(tags)
        if not self._outstanding or next(iter(self._outstanding)) > last:
            channel.acknowledge(last, True)
            return
        for tag in tags:
            channel.acknowledge(tag, False)

    def cancelled(self, text: str) -> None:
        channel = self.channel
        if channel is not None:
            channel.close()
        self._over(text)

    def closed(self, reason: ChannelError) -> None:
        self.channel = None
        if reason.code:  # otherwise the session is over, and its owner is told
            self._over(str(reason))

    def _over(self, text: str) -> None:
        self.pass_on()
        self.channel = None
        self._outstanding.clear()
        self._session.drop(self)
        if self.agreed:
            self._consumer.cancelled(self._session, LostError(f"{self._session.url}: the broker says: {text}"))
