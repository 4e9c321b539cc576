"""Options by which a daemon knows its brokers: the same for all daemons.

Nothing here opens anything; every mistake is a `usage.UsageError` that names the option.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from twisted.python import usage

from lb.broker.url import BrokerURL, read_brokers
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
