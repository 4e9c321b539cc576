"""All deliveries: one for each destination of the spool, be it a server or a broker's, as destinations come and go.

The spool is opened before producers are heard and closed after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Interface

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from lb.broker.destination import SCHEME
from lb.logger.confirmations import Confirmations
from lb.logger.limits import DeliveryLimits
from lb.model.errors import LBError, missing
from lb.service.delivery import Delivery
from lb.spool.queue import Queue
from lb.spool.segment import Record
from lb.spool.spool import Spool

_log = Logger()


class Carrier(Interface):
    """Takes what is in one queue to where it belongs."""

    failed: int  #: pauses after a failure, since the start

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def hasten(self) -> None: ...


#: Makes the carrier of a queue of tunnelled messages; raises `LBError` when they have to wait for another start.
Tunnelling = Callable[[Queue], Carrier]


def _untunnelled(queue: Queue) -> Carrier:
    raise missing("no broker is configured")


class Forwarder(Service):
    """Opens the spool and delivers what is in it. `endpoint(destination)` says how to reach a server."""

    def __init__(
        self,
        spool: Spool,
        endpoint: Callable[[str], IStreamClientEndpoint],
        confirmations: Confirmations,
        clock: IReactorTime,
        random: Callable[[], float],
        limits: DeliveryLimits = DeliveryLimits(),  # noqa: B008  # immutable
        tunnel: Tunnelling = _untunnelled,
    ) -> None:
        self._spool = spool
        self._endpoint = endpoint
        self._confirmations = confirmations
        self._clock = clock
        self._random = random
        self._limits = limits
        self._tunnel = tunnel
        self._carriers: dict[str, Carrier] = {}
        #: Destinations at brokers for which there are queues.
        self.addresses: set[str] = set()

    def startService(self) -> None:
        Service.startService(self)
        self._spool.observe(self._add, self._remove)
        for queue in self._spool.queues():
            self._add(queue)

    def stopService(self) -> Any:
        Service.stopService(self)
        for carrier in self._carriers.values():
            carrier.stop()
        self._carriers.clear()
        self._confirmations.close()
        return self._spool.close()

    @property
    def failures(self) -> dict[str, int]:
        """How often each destination failed since the start."""
        return {destination: carrier.failed for destination, carrier in self._carriers.items()}

    def hasten(self, destination: str) -> None:
        """Try a destination now that may be pausing after a failure."""
        carrier = self._carriers.get(destination)
        if carrier is not None:
            carrier.hasten()

    def _add(self, queue: Queue) -> None:
        if not self.running:
            return
        try:
            carrier = self._carrier(queue)
        except LBError as error:
            _log.error(
                "{destination}: {count} messages wait: {reason}",
                destination=queue.destination,
                count=queue.pending,
                reason=error.description,
            )
            return
        self._carriers[queue.destination] = carrier
        carrier.start()

    def _carrier(self, queue: Queue) -> Carrier:
        destination = queue.destination
        if destination.startswith(SCHEME):
            self.addresses.add(destination)
            return self._tunnel(queue)
        return Delivery[Record](
            queue,
            lambda: self._endpoint(destination),
            self._clock,
            self._random,
            self._limits,
            self._confirmations,
        )

    def _remove(self, queue: Queue) -> None:
        self.addresses.discard(queue.destination)
        carrier = self._carriers.pop(queue.destination, None)
        if carrier is not None:
            carrier.stop()
