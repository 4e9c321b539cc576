"""The server's own registration agents: composes one for each control destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from lb.broker.agent import Agent, Control
from lb.broker.agent_book import Book
from lb.broker.agent_requests import AgentLimits
from lb.broker.dial import Opener
from lb.broker.limits import LinkLimits
from lb.broker.notifications import Topics
from lb.broker.url import BrokerURL
from lb.broker.vouching import Vouching
from lb.server.notify.registrar import ServerRegistrar
from lb.service.worker import Worker


def agents(
    controls: Sequence[Control],
    brokers: Mapping[str, Sequence[BrokerURL]],
    opener: Opener,
    vouching: Vouching,
    registrar: ServerRegistrar,
    topics: Topics,
    state: Path,
    writing: Worker,
    reactor: Any,
    *,
    limits: AgentLimits,
    linking: LinkLimits,
    registry: CollectorRegistry,
) -> list[Agent]:
    """The agents, whose books are in the state directory and are written by the thread that writes the store."""
    counter = Agent.counter(registry)
    return [
        Agent(
            control,
            brokers[control.broker],
            opener,
            vouching,
            registrar,
            Book(state / f"agent-{control.broker}.book"),
            writing.call,
            topics.allows,
            reactor,
            named=control.broker,
            limits=limits,
            linking=linking,
            counter=counter,
        )
        for control in controls
    ]
