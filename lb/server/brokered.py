"""What a server does by way of its brokers, as its options say: composes the parts, decides nothing itself."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from lb.broker.agent import Agent
from lb.broker.agent_requests import AgentLimits
from lb.broker.deadletter import Keep
from lb.broker.dial import SessionOpener
from lb.broker.limits import CollectLimits, LinkLimits, PublisherLimits
from lb.broker.notifications import TopicLimits
from lb.security.tls import EndpointCredentials
from lb.server.brokersources import BrokerSources
from lb.server.collecting import Collecting
from lb.server.notify.agents import agents
from lb.server.notify.brokers import Brokers
from lb.server.notify.registrar import ServerRegistrar
from lb.server.options import Options
from lb.service.worker import Worker


class Brokered:
    """Makes notifications to brokers, events from brokers and registration agents; each with links of its own."""

    def __init__(self, options: Options, credentials: EndpointCredentials, reactor: Any) -> None:
        """Raises `usage.UsageError` for what cannot be used."""
        self.brokers = options.brokers
        self._vouching = options.read_vouching()
        #: Where events are collected.
        self.sources = options.read_sources(self._vouching)
        #: The addresses at brokers that notifications may be sent to.
        self.topics = options.topics
        self._options = options
        self._opener = SessionOpener(reactor, credentials)
        self._reactor = reactor
        self._linking = options.limits(LinkLimits)
        self._publishing = options.limits(PublisherLimits)

    def outlets(self, registry: CollectorRegistry) -> Brokers:
        """What notifications leave by."""
        outlets = Brokers(
            self.brokers,
            self.topics,
            self._opener,
            self._reactor,
            limits=self._options.limits(TopicLimits),
            publishing=self._publishing,
            linking=self._linking,
        )
        outlets.watch(registry)
        return outlets

    def collecting(self, collector: Collecting, keep: Keep, registry: CollectorRegistry) -> BrokerSources:
        """What takes events to the collector; `keep` is the quarantine."""
        collecting = BrokerSources(
            self.sources,
            self.brokers,
            self._vouching,
            self._opener,
            collector,
            keep,
            self._reactor,
            self._options.own_name,
            limits=self._options.limits(CollectLimits),
            link_limits=self._linking,
            publisher_limits=self._publishing,
        )
        collecting.watch(registry)
        return collecting

    def agents(self, registrar: ServerRegistrar, writing: Worker, registry: CollectorRegistry) -> list[Agent]:
        """What takes requests on registrations to the registrar; their books are written by `writing`."""
        return agents(
            self._options.read_controls(self._vouching),
            self.brokers,
            self._opener,
            self._vouching,
            registrar,
            self.topics,
            self._options.state,
            writing,
            self._reactor,
            limits=self._options.limits(AgentLimits),
            linking=self._linking,
            registry=registry,
        )
