"""A channel on which the messages for one exchange are published, and what the broker says of each.

A broker tells a refusal by closing the channel: the lane finds out whom it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lb.broker.amqp_model import FINAL, Channel, ChannelError, Incoming, properties_of, route
from lb.broker.destination import Kind
from lb.broker.errors import LostError, RefusedError, UnroutableError, refused
from lb.broker.message import Message

if TYPE_CHECKING:
    from lb.broker.amqp import AmqpSession


class Lane:
    """Publishes in order; messages that come before the channel is open wait."""

    def __init__(self, session: AmqpSession, exchange: str) -> None:
        self.exchange = exchange
        self._session = session
        self._channel: Channel | None = None
        self._backlog: list[tuple[int, Message]] = []
        self._sent: dict[int, tuple[int, Message]] = {}  # by number on the channel, in order
        self._unroutable: dict[int, str] = {}  # the same, with the reason
        self._number = 0

    async def open(self) -> None:
        """Open the channel; whatever keeps us from it ends the session."""
        try:
            channel = await self._session.channel(self)
            await channel.confirm()
        except ChannelError as error:
            if error.code:
                self._session.end(LostError(f"{self._session.url}: no channel: {error}"))
            return
        self._channel = channel
        backlog, self._backlog = self._backlog, []
        for tag, message in backlog:
            self.send(tag, message)

    def send(self, tag: int, message: Message) -> None:
        """Publish, or keep until the channel is open."""
        channel = self._channel
        if channel is None:
            self._backlog.append((tag, message))
            return
        session = self._session
        try:
            properties = properties_of(message, session.url.claimed, session.clock.seconds())
        except RefusedError as reason:
            session.refuse(tag, reason)
            return
        exchange, key = route(message.destination)
        self._number += 1
        self._sent[self._number] = (tag, message)
        # A topic may have nobody who listens; a queue or an exchange without queues would lose the message.
        channel.publish(exchange, key, properties, message.body, message.destination.kind is not Kind.TOPIC)

    # --- what the channel tells -------------------------------------------------------------------------------

    def acknowledged(self, tag: int, multiple: bool, stored: bool) -> None:
        if multiple:
            numbers = []
            for number in self._sent:
                if number > tag:
                    break
                numbers.append(number)
        else:
            numbers = [tag] if tag in self._sent else []
        confirmed: list[int] = []
        deleted: list[tuple[int, Message]] = []
        for number in numbers:
            sent, message = self._sent.pop(number)
            text = self._unroutable.pop(number, None)
            if text is not None and message.destination.kind is Kind.QUEUE:
                deleted.append((sent, message))  # somebody took away a queue that is ours to make
            elif text is not None:
                text = f"{self._session.url}: {message.destination}: nobody gets it: {text}"
                self._session.refuse(sent, UnroutableError(text))
            elif stored:
                confirmed.append(sent)
            else:
                # Its queue is full, mostly: that concerns nobody else on this session (P5).
                text = f"{self._session.url}: {message.destination}: not stored by the broker, is the queue full?"
                self._session.refuse(sent, RefusedError(text))
        if confirmed:
            self._session.confirm(confirmed)
        if deleted:
            self._session.look_again(deleted)

    def returned(self, message_id: str, text: str) -> None:
        for number, (_, message) in self._sent.items():
            if message.id == message_id and number not in self._unroutable:
                self._unroutable[number] = text
                return

    def delivered(self, incoming: Incoming) -> None:
        """Nothing is consumed here."""

    def cancelled(self, text: str) -> None:
        """Nothing is consumed here."""

    def closed(self, reason: ChannelError) -> None:
        self._channel = None
        if not reason.code:
            return  # the session is over, and its owner is told
        left = [*self._sent.values(), *self._backlog]
        if reason.code not in FINAL:
            self._session.end(LostError(f"{self._session.url}: the broker says: {reason}"))
            return
        error = refused(f"{self._session.url}: the broker says: {reason}", str(reason))
        if not error.everything:
            self._find_out(error)
            return
        innocent: list[tuple[int, Message]] = []
        by_key = " topic '" in str(reason)  # permissions may be given key by key
        for tag, message in left:
            _, key = route(message.destination)
            if by_key and f" topic '{key}'" not in str(reason):
                innocent.append((tag, message))
            else:
                text = f"{self._session.url}: {message.destination}: the broker says: {reason}"
                self._session.refuse(tag, RefusedError(text))
        self._session.lane_closed(self, innocent)

    def _find_out(self, error: RefusedError) -> None:
        """One message is to blame: the one that was on its way; of several, whoever sends them again finds out."""
        if len(self._sent) != 1:
            self._session.end(error)
            return
        ((tag, _),) = self._sent.values()
        self._session.refuse(tag, error)
        self._session.lane_closed(self, self._backlog)
