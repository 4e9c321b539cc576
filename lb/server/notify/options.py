"""Options about notifications by way of brokers: where they may go, how they are written, who is served there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.python import usage

from lb.broker.agent import Control, read_control
from lb.broker.agent_requests import AgentLimits
from lb.broker.limits import LinkLimits, PublisherLimits
from lb.broker.notifications import DEFAULT_PREFIXES, TopicLimits, Topics, read_format
from lb.broker.options import BrokerOptions
from lb.broker.vouching import Vouching
from lb.model.errors import LBError
from lb.service.options import Repeated
from lb.wire.brokerstate import Format


class NotifyOptions(BrokerOptions):
    """Options of a server that sends notifications to brokers."""

    optParameters: ClassVar[list[list[Any]]] = [
        *BrokerOptions.optParameters,
        ["notif-format", None, None, "notifications for brokers are plain JSON, or cloudevents (default: plain)"],
    ]
    option_defaults: ClassVar[Mapping[str, str]] = {
        **BrokerOptions.option_defaults,
        "notif-format": Format.PLAIN.value,
    }
    bounds: ClassVar[tuple[type, ...]] = (TopicLimits, AgentLimits, LinkLimits, PublisherLimits)
    repeated: ClassVar[Mapping[str, Repeated]] = {
        **BrokerOptions.repeated,
        "topic-prefix": Repeated(
            f"beginning of topics at brokers that notifications may be sent to (default: {' '.join(DEFAULT_PREFIXES)})"
        ),
        "agent": Repeated("NAME:DESTINATION: requests on registrations are taken there, at broker NAME"),
    }

    @property
    def topics(self) -> Topics:
        """The addresses at brokers that notifications may be sent to."""
        try:
            form = read_format(self["notif-format"])
        except LBError as error:
            raise usage.UsageError(f"--notif-format: {error.description}") from None
        return Topics(tuple(self.brokers), self["topic-prefix"] or DEFAULT_PREFIXES, form)

    def read_controls(self, vouching: Vouching) -> list[Control]:
        """Where requests on registrations are taken; from whom they are, it must be possible to know."""
        brokers = self.brokers
        try:
            controls = [read_control(text, brokers) for text in self["agent"]]
        except LBError as error:
            raise usage.UsageError(f"--agent: {error.description}") from None
        for control in controls:
            self.check_senders("--agent", control.broker, vouching)
        if len({control.broker for control in controls}) < len(controls):
            raise usage.UsageError("--agent: give one destination for each broker")
        return controls
