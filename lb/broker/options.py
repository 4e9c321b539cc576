"""Options by which a daemon knows its brokers: the same for all daemons.

Nothing here opens anything; every mistake is a `usage.UsageError` that names the option.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from twisted.python import usage

from lb.broker.url import BrokerURL, read_brokers
from lb.broker.vouching import Vouching
from lb.model.errors import LBError
from lb.service.options import DaemonOptions, Repeated


class BrokerOptions(DaemonOptions):
    """Options of a daemon that has to do with brokers."""

    repeated: ClassVar[Mapping[str, Repeated]] = {
        **DaemonOptions.repeated,
        "broker": Repeated("NAME=URL of a broker, or of one more way to it", "="),
    }

    @property
    def brokers(self) -> dict[str, tuple[BrokerURL, ...]]:
        """The brokers: name → URLs in the order in which they are tried."""
        try:
            return read_brokers(self["broker"])
        except LBError as error:
            raise usage.UsageError(f"--broker: {error.description}") from None

    def check_senders(self, option: str, broker: str, vouching: Vouching) -> None:
        """Refuse `option` when it cannot be known from whom messages of a broker are."""
        if not vouching.knows_some(broker):
            raise usage.UsageError(
                f"{option}: no user of broker {broker} is known; give --broker-user {broker}:USER=SUBJECT"
            )
        for url in self.brokers[broker]:
            if not url.vouches:
                raise usage.UsageError(
                    f"{option}: over {url} nobody says who sent a message; "
                    "give an amqp URL for RabbitMQ, for ActiveMQ the option vouched=JMSXUserID (docs/brokers.md)"
                )
