"""The brokers of a logger: a link and a publisher for each, and a tunnel for each queue of messages to one of them.

A broker that is away keeps what is for it waiting, and nothing else (P5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.application.internet import backoffPolicy
from twisted.internet.interfaces import IReactorTime

from lb.broker.destination import SCHEME, read_destination
from lb.broker.dial import Opener
from lb.broker.limits import PublisherLimits
from lb.broker.link import Link
from lb.broker.message import Message
from lb.broker.publisher import Publisher
from lb.broker.tunnel import Tunnel, tunnelled
from lb.broker.url import BrokerURL
from lb.logger.limits import TunnelLimits
from lb.model.errors import missing
from lb.service.deliverable import Listener
from lb.spool.queue import Queue
from lb.spool.segment import Record


class Brokers:
    """Links to brokers, by name, at the URLs to be tried in order."""

    def __init__(
        self,
        brokers: Mapping[str, Sequence[BrokerURL]],
        opener: Opener,
        clock: IReactorTime,
        listener: Listener | None = None,
        limits: TunnelLimits = TunnelLimits(),  # noqa: B008  # immutable
    ) -> None:
        #: Services that run for as long as there is something to tunnel.
        self.links: list[Link] = []
        self._clock = clock
        self._listener = listener
        self._limits = limits
        self._publishers: dict[str, Publisher] = {}
        bounds = PublisherLimits(
            messages=limits.broker_messages,
            octets=limits.broker_bytes,
            refusal=limits.first_pause / 2,  # tunnels pause themselves, and want to hear the broker afterwards
        )
        for name, urls in brokers.items():
            link = Link(name, urls, opener, clock)
            self.links.append(link)
            self._publishers[name] = Publisher(link, clock, bounds)

    def tunnel(self, queue: Queue) -> Tunnel[Record]:
        """The tunnel for a queue that an address names; raises ENOENT for a broker that nobody configured."""
        name, _, path = queue.destination.removeprefix(SCHEME).partition("/")
        publisher = self._publishers.get(name)
        if publisher is None:
            raise missing(f"no broker {name} is configured")
        delay = backoffPolicy(self._limits.first_pause, self._limits.longest_pause, 2.0)
        destination = read_destination(path)

        def compose(record: Record) -> Message:
            return tunnelled(record.payload, destination)

        return Tunnel(queue, compose, publisher, self._clock, delay, self._limits, self._listener)
