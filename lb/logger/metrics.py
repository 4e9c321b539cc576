"""What the logger counts, and what it looks up when somebody asks for its metrics."""

from __future__ import annotations

import errno
from collections import Counter as Count
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter

from lb.service.exchange import ExchangeFactory
from lb.service.metrics import Sampled, Values
from lb.service.monitoring import NotReadyError
from lb.spool.queue import Queue
from lb.spool.spool import Spool


class LoggerMetrics:
    """Counters of lines, and the state of the spool."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lines = Counter("lb_lines_answered", "lines that came, by their answer", ["answer"], registry=registry)
        self._lines.labels("ok")

    def answered(self, codes: Sequence[int]) -> None:
        """A chunk of lines has its answers."""
        for code, number in Count(codes).items():
            self._lines.labels("ok" if code == 0 else errno.errorcode.get(code, str(code))).inc(number)

    def watch(
        self,
        spool: Spool,
        failures: Callable[[], Mapping[str, int]],
        producers: ExchangeFactory,
        now: Callable[[], float],
        expires: Callable[[], float | None],
    ) -> None:
        """Parts whose state is looked up when somebody asks; `failures`: those of each destination since the start.

        `now`, and `expires` of our certificate: seconds since the epoch.
        """

        def each(read: Callable[[Queue], float]) -> Callable[[], Values]:
            return lambda: {(queue.destination,): read(queue) for queue in spool.queues()}

        def connections() -> Values:
            return {("producers",): producers.connections}

        def failed() -> Values:
            return {(destination,): number for destination, number in failures().items()}

        by = ("destination",)
        for sampled in (
            Sampled("lb_pending", "records that are not delivered", each(lambda queue: queue.pending), by),
            Sampled("lb_oldest_seconds", "age of the oldest of them", each(lambda queue: queue.oldest_age(now())), by),
            Sampled("lb_spool_bytes", "segments on the disk, bytes", each(lambda queue: queue.disk_bytes), by),
            Sampled("lb_quarantined", "records set aside", each(lambda queue: queue.quarantined), by, counter=True),
            Sampled("lb_delivery_failures", "pauses after a failure", failed, by, counter=True),
            Sampled("lb_waiting_bytes", "lines that wait for the disk, bytes", lambda: spool.waiting_bytes),
            Sampled("lb_unusable_journals", "journals that cannot be opened", lambda: len(spool.unusable)),
            Sampled("lb_connections", "connections of a port", connections, ("port",)),
            Sampled("lb_certificate_expiry_seconds", "when our certificate expires, epoch", lambda: expires() or 0),
        ):
            self._registry.register(sampled)


def check_spool(spool: Spool) -> Callable[[], None]:
    """Fails while journals are refused, or more waits for the disk than should."""

    def check() -> None:
        if spool.unusable:
            raise NotReadyError(f"{len(spool.unusable)} journals cannot be opened: {', '.join(sorted(spool.unusable))}")
        if spool.congested:
            raise NotReadyError(f"{spool.waiting_bytes} bytes wait for the disk")

    return check
