"""All deliveries: one for each destination of the spool, as destinations come and go.

The spool is opened before producers are heard and closed after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from lb.logger.confirmations import Confirmations
from lb.logger.limits import DeliveryLimits
from lb.service.delivery import Delivery
from lb.spool.queue import Queue
from lb.spool.segment import Record
from lb.spool.spool import Spool


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
    ) -> None:
        self._spool = spool
        self._endpoint = endpoint
        self._confirmations = confirmations
        self._clock = clock
        self._random = random
        self._limits = limits
        self._deliveries: dict[str, Delivery[Record]] = {}

    def startService(self) -> None:
        Service.startService(self)
        self._spool.observe(self._add, self._remove)
        for queue in self._spool.queues():
            self._add(queue)

    def stopService(self) -> Any:
        Service.stopService(self)
        for delivery in self._deliveries.values():
            delivery.stop()
        self._deliveries.clear()
        self._confirmations.close()
        return self._spool.close()

    def hasten(self, destination: str) -> None:
        """Try a destination now that may be pausing after a failure."""
        delivery = self._deliveries.get(destination)
        if delivery is not None:
            delivery.hasten()

    def _add(self, queue: Queue) -> None:
        if not self.running:
            return
        destination = queue.destination
        delivery = Delivery(
            queue,
            lambda: self._endpoint(destination),
            self._clock,
            self._random,
            self._limits,
            self._confirmations,
        )
        self._deliveries[destination] = delivery
        delivery.start()

    def _remove(self, queue: Queue) -> None:
        delivery = self._deliveries.pop(queue.destination, None)
        if delivery is not None:
            delivery.stop()
