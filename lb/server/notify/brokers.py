"""Notifications to brokers: a link and a publisher for each broker, a tunnel for each destination.

A broker that is away, or that refuses a destination, keeps waiting what is for it and nothing else (P5). What waits is
in the outbox, not here: a row goes when the broker has confirmed its message (P2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry
from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from lb.broker.dial import Opener
from lb.broker.errors import UnroutableError
from lb.broker.limits import LinkLimits, PublisherLimits
from lb.broker.link import Link
from lb.broker.message import Message
from lb.broker.notifications import TopicLimits, Topics
from lb.broker.publisher import Publisher
from lb.broker.tunnel import Tunnel
from lb.broker.url import BrokerURL
from lb.model.errors import LBError
from lb.model.registration import Registration
from lb.server.notify.brokerline import BrokerLines, message
from lb.server.notify.notifier import Deliverer, Kind
from lb.server.notify.queue import OutboxQueue, Sent
from lb.service.metrics import Sampled, Values

#: The kind of the addresses of brokers (`lb.server.notify.address.kind_of`).
BROKER: Final = "x-msg"


class Brokers:
    """The brokers of a server, by name, at the URLs to be tried in order; the first one is the default."""

    def __init__(
        self,
        brokers: Mapping[str, Sequence[BrokerURL]],
        topics: Topics,
        opener: Opener,
        clock: IReactorTime,
        *,
        limits: TopicLimits = TopicLimits(),  # noqa: B008  # immutable
        publishing: PublisherLimits = PublisherLimits(),  # noqa: B008  # immutable
        linking: LinkLimits = LinkLimits(),  # noqa: B008  # immutable
    ) -> None:
        #: Services that run for as long as there is something to send.
        self.links = [Link(name, urls, opener, clock, limits=linking) for name, urls in brokers.items()]
        self._topics = topics
        self._clock = clock
        self._limits = limits
        # Tunnels pause themselves, and want to hear the broker afterwards.
        publishing = replace(publishing, refusal=min(publishing.refusal, limits.first_pause / 2))
        self._publishers = {link.broker: (link, Publisher(link, clock, publishing)) for link in self.links}

    @property
    def kind(self) -> Kind:
        """What the notifier has to know of destinations at brokers."""
        return Kind(BrokerLines(self._topics), self.deliverer, self._topics.accept)

    def deliverer(self, queue: OutboxQueue, registration: Registration) -> Deliverer:
        """Who delivers what is in a queue; nobody, when broker or destination are allowed no longer."""
        try:
            topic = self._topics.read(self._topics.accept(registration.destination))
        except LBError as error:
            return _Nobody(error.description)
        link, publisher = self._publishers[topic.broker]
        compose = partial(message, destination=topic.destination, form=topic.form)
        delay = backoffPolicy(self._limits.first_pause, self._limits.longest_pause, 2.0)
        return _Delivery(Tunnel(queue, compose, _Forgiving(publisher), self._clock, delay, self._limits), link)

    def watch(self, registry: CollectorRegistry) -> None:
        """Have a registry ask for what we count."""
        for name, meaning, read, labels, counter in (
            ("notifications", "what became of notifications", self._outcomes, ("broker", "outcome"), True),
            ("waiting", "notifications in memory that are not confirmed", self._waiting, ("broker",), False),
            ("connected", "whether a session for notifications stands", self._connected, ("broker",), False),
        ):
            registry.register(Sampled(f"lb_broker_{name}", meaning, read, labels, counter=counter))

    @property
    def sent(self) -> int:
        """Notifications that brokers confirmed."""
        return sum(publisher.counts.confirmed for _, publisher in self._publishers.values())

    def _outcomes(self) -> Values:
        return {
            (name, outcome): getattr(publisher.counts, outcome)
            for name, (_, publisher) in self._publishers.items()
            for outcome in ("confirmed", "refused", "resent")
        }

    def _waiting(self) -> Values:
        return {(name,): len(publisher) for name, (_, publisher) in self._publishers.items()}

    def _connected(self) -> Values:
        return {(link.broker,): link.session is not None for link in self.links}


class _Delivery:
    """A tunnel, and the link that it leads over."""

    def __init__(self, tunnel: Tunnel[Sent], link: Link) -> None:
        self.start = tunnel.start
        self.stop = tunnel.stop
        self.hasten = tunnel.hasten
        self._tunnel = tunnel
        self._link = link

    @property
    def trouble(self) -> str | None:
        """A refused destination first: that is for the owner of the registration to mend."""
        link = self._link
        return self._tunnel.refusal or link.blocked_reason or (str(link.trouble) if link.trouble is not None else None)


class _Forgiving:
    """A publisher to which it is no failure that nobody listens: an exchange without queues is like a topic then."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.when_room = publisher.when_room

    @property
    def full(self) -> bool:
        return self._publisher.full

    def publish(self, message: Message) -> Deferred[None]:
        return self._publisher.publish(message).addErrback(_forgive)


def _forgive(failure: Failure) -> None:
    failure.trap(UnroutableError)


class _Nobody:
    """Delivers nothing: what waits is kept until the registration expires, or the site allows its address again."""

    def __init__(self, reason: str) -> None:
        self.trouble: str | None = reason

    def start(self) -> None:
        """There is nothing to begin."""

    def stop(self) -> None:
        """There is nothing to end."""

    def hasten(self) -> None:
        """Nothing would come of it."""
