"""Brokers without a network: sessions that do what a test says, and the opener that hands them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from lb.broker.destination import Destination
from lb.broker.errors import LostError, RefusedError
from lb.broker.message import Delivery, Message
from lb.broker.session import Consumer, Session, Subscription
from lb.broker.url import BrokerURL


class FakeSession:
    """A session of which tests see what it was asked to do. `owner` is to be told by the test."""

    def __init__(self, url: BrokerURL, owner: Any) -> None:
        self.url = url
        self.owner = owner
        self.published: list[tuple[int, Message]] = []
        self.subscriptions: list[tuple[Subscription, Consumer, Deferred[None]]] = []
        self.acknowledged: list[Delivery] = []
        self.paused = False
        self.refuse_at_once: set[bytes] = set()
        #: How many consume from destinations; of others the broker does not tell.
        self.listening: dict[str, int] = {}

    def publish(self, messages: Sequence[tuple[int, Message]]) -> None:
        for tag, message in messages:
            if message.body in self.refuse_at_once:
                self.owner.refused(self, tag, RefusedError("bad", everything=False))
            else:
                self.published.append((tag, message))

    def subscribe(self, subscription: Subscription, consumer: Consumer) -> Deferred[None]:
        agreed: Deferred[None] = Deferred()
        self.subscriptions.append((subscription, consumer, agreed))
        return agreed

    def listeners(self, destination: Destination) -> Deferred[int | None]:
        return succeed(self.listening.get(str(destination)))

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += deliveries

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def close(self) -> Deferred[None]:
        self.end(LostError("closed"))
        return succeed(None)

    # --- what tests do ----------------------------------------------------------------------------------------

    @property
    def bodies(self) -> list[bytes]:
        """What was published, in order."""
        return [message.body for _, message in self.published]

    def confirm(self, count: int) -> None:
        """Confirm the next so many messages."""
        tags = [tag for tag, _ in self.published[:count]]
        del self.published[:count]
        self.owner.confirmed(self, tags)

    def end(self, reason: LostError | RefusedError) -> None:
        """The session is over."""
        self.owner.ended(self, reason)


class FakeOpener:
    """Opens sessions when the test says so."""

    def __init__(self) -> None:
        self.asked: list[BrokerURL] = []
        self.session: FakeSession | None = None
        self._opening: Deferred[Session] | None = None
        self._owner: Any = None

    def open(self, url: BrokerURL, owner: Any) -> Deferred[Session]:
        self.asked.append(url)
        self._owner = owner
        self._opening = Deferred()
        return self._opening

    def succeed(self, *refuse_at_once: bytes) -> FakeSession:
        """The session that was asked for stands."""
        opening, self._opening = self._opening, None
        assert opening is not None
        session = FakeSession(self.asked[-1], self._owner)
        session.refuse_at_once.update(refuse_at_once)
        opening.callback(session)
        return session

    def fail(self) -> None:
        """The session that was asked for cannot be had."""
        opening, self._opening = self._opening, None
        assert opening is not None
        opening.errback(LostError("nobody there"))
