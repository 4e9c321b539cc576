"""The interface of a session with a broker, the same for all drivers.

A session never connects again and never repeats anything: who owns it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from lb.broker.destination import Destination
from lb.broker.errors import BrokerError, LostError, RefusedError
from lb.broker.message import Delivery, Message
from lb.broker.url import BrokerURL

#: Seconds that a broker may take to agree to the end of a session.
GOODBYE: Final = 2.0


class Subscription(NamedTuple):
    """What to consume. `prefetch`: messages that may be out without acknowledgement.

    `durable`: name under which a broker keeps messages of a topic or an exchange while nobody is there;
    without it there are only those that come while the session lasts. Queues keep theirs in any case.
    """

    source: Destination
    prefetch: int = 500
    durable: str | None = None


class Consumer(Protocol):
    """Who gets the messages of a subscription."""

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        """Messages, in order, as many as came at once."""

    def cancelled(self, session: Session, reason: BrokerError) -> None:
        """The broker ended the subscription, the session goes on; unacknowledged messages are delivered again."""


class Owner(Protocol):
    """Who owns a session. Nothing is called before the session is given to its owner."""

    def confirmed(self, session: Session, tags: list[int]) -> None:
        """The broker has stored the messages of these tags, or handed them to whom they were for."""

    def refused(self, session: Session, tag: int, reason: RefusedError) -> None:
        """The broker does not take the message of this tag."""

    def blocked(self, session: Session, reason: str | None) -> None:
        """The broker takes no messages for the time being, None: it does again. Not all protocols tell."""

    def ended(self, session: Session, reason: LostError | RefusedError) -> None:
        """The session is over, once; RefusedError when the broker ended it for something that we sent.

        Messages of tags that were neither confirmed nor refused may or may not be stored.
        """


class Session(Protocol):
    """A session that stands."""

    url: BrokerURL

    def publish(self, messages: Sequence[tuple[int, Message]]) -> None:
        """Send messages under tags, which tell them apart while they are not confirmed; nothing is sent once over."""

    def subscribe(self, subscription: Subscription, consumer: Consumer) -> Deferred[None]:
        """Fires when the broker has agreed; fails with RefusedError or LostError."""

    def listeners(self, destination: Destination) -> Deferred[int | None]:
        """Fires with how many consume there just now, None when this broker does not tell; never fails."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """These need not be delivered again."""

    def pause(self) -> None:
        """Read nothing until `resume`. Signs of life are not read either: a session that pauses for long ends."""

    def resume(self) -> None:
        """Read again."""

    def close(self) -> Deferred[None]:
        """End in good order, or abruptly when that takes long. The owner is told as of any other end."""
