"""Collecting from brokers as a service: composes links, subscriptions and dead letters; decides nothing itself.

Each source has a link of its own, and so have the dead letters of a broker: where STOMP is spoken, a refusal of one
ends the session. A broker that is away delays nobody else, nor the start (P5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IReactorTime

from lb.broker.collect import Collect
from lb.broker.deadletter import DeadLetters, Keep
from lb.broker.dial import Opener
from lb.broker.limits import CollectLimits, LinkLimits, PublisherLimits
from lb.broker.link import Link
from lb.broker.publisher import Publisher
from lb.broker.session import Subscription
from lb.broker.source import Source
from lb.broker.subscriber import Subscriber
from lb.broker.url import BrokerURL
from lb.broker.vouching import Vouching
from lb.server.collecting import Collecting, EventStore, identify
from lb.service.metrics import Sampled, Values


class BrokerSources(Service):
    """All that the server collects from brokers."""

    def __init__(
        self,
        sources: Sequence[Source],
        brokers: Mapping[str, Sequence[BrokerURL]],
        vouching: Vouching,
        opener: Opener,
        collector: Collecting,
        keep: Keep,
        clock: IReactorTime,
        own_name: str,
        *,
        limits: CollectLimits = CollectLimits(),  # noqa: B008  # immutable
        link_limits: LinkLimits = LinkLimits(),  # noqa: B008  # immutable
        publisher_limits: PublisherLimits = PublisherLimits(),  # noqa: B008  # immutable
        delay: Callable[[int], float] | None = None,
    ) -> None:
        """`keep` is the quarantine; `own_name`: the server's subject, which hands in what loggers send.

        `delay(n)`: seconds to wait after n + 1 troubles of the store in a row, instead of the usual.
        """
        self.links: list[Link] = []
        self.dead_letters: dict[str, DeadLetters] = {}
        self.collects: list[Collect] = []
        self.subscribers: list[Subscriber] = []
        for name in dict.fromkeys(source.broker for source in sources):
            publishing = Link(name, _urls(brokers[name], None), opener, clock, limits=link_limits)
            publisher = Publisher(publishing, clock, publisher_limits)
            self.dead_letters[name] = DeadLetters(publishing, publisher, keep, clock, limits.longest_pause)
        for source in sources:
            collect = Collect(
                source,
                EventStore(collector, identify(source, vouching, own_name), limits.events),
                self.dead_letters[source.broker],
                clock,
                delay or backoffPolicy(limits.first_pause, limits.longest_pause, 2.0),
                limits.octets,
            )
            urls = _urls(brokers[source.broker], source.durable)
            link = Link(source.broker, urls, opener, clock, limits=link_limits)
            link.use(collect)
            subscription = Subscription(source.destination, limits.prefetch, source.durable)
            self.subscribers.append(Subscriber(link, subscription, collect, clock))
            self.collects.append(collect)
            self.links.append(link)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        for link in self.links:
            link.startService()

    @inlineCallbacks
    def stopService(self) -> Any:
        """Fires when what was being stored is stored and acknowledged, and the sessions are over."""
        super().stopService()  # type: ignore[no-untyped-call]
        for collect in self.collects:
            yield collect.stop()
        for letters in self.dead_letters.values():
            yield letters.stop()
        for link in self.links:
            yield link.stopService()

    def watch(self, registry: CollectorRegistry) -> None:
        """Register what is counted, to be looked up when somebody asks."""

        def messages() -> Values:
            return {
                (str(collect.source), outcome): getattr(collect.counts, outcome)
                for collect in self.collects
                for outcome in ("received", "stored", "refused")
            }

        def waiting() -> Values:
            return {(str(collect.source),): collect.waiting for collect in self.collects}

        def connected() -> Values:
            pairs = zip(self.collects, self.links, strict=True)
            return {(str(collect.source),): link.session is not None for collect, link in pairs}

        def subscribed() -> Values:
            pairs = zip(self.collects, self.subscribers, strict=True)
            return {(str(collect.source),): subscriber.agreed for collect, subscriber in pairs}

        def dead() -> Values:
            found: dict[tuple[str, ...], float] = {}
            for name, letters in self.dead_letters.items():
                found |= {(name, "broker"): letters.published, (name, "quarantine"): letters.kept}
            return found

        for sampled in (
            Sampled(
                "lb_collect_messages",
                "messages collected from brokers, by what became of them",
                messages,
                ("source", "outcome"),
                counter=True,
            ),
            Sampled("lb_collect_waiting", "collected messages that wait to be stored", waiting, ("source",)),
            Sampled("lb_collect_connected", "whether there is a session with the broker", connected, ("source",)),
            Sampled(
                "lb_collect_subscribed", "whether the broker agreed to give us its messages", subscribed, ("source",)
            ),
            Sampled("lb_dead_letters", "messages set aside, by place", dead, ("broker", "place"), counter=True),
        ):
            registry.register(sampled)


def _urls(urls: Sequence[BrokerURL], durable: str | None) -> list[BrokerURL]:
    """The URLs with a client's name that no other session of ours has; only durable subscriptions need one."""
    return [
        replace(url, client_id=None if url.client_id is None or durable is None else f"{url.client_id}.{durable}")
        for url in urls
    ]
