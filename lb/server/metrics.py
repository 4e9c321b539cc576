"""What the server counts, and what it looks up when somebody asks for its metrics."""

from __future__ import annotations

import errno
from collections import Counter as Count
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from lb.server.collector import Collector
from lb.server.submission import Unstored
from lb.server.tally import Tally
from lb.service.metrics import DURATIONS, NUMBERS, Distribution, Sampled, Values
from lb.service.monitoring import NotReadyError
from lb.service.worker import Worker
from lb.wire.il import OK, Major, Reply

#: Classes of replies, as labels.
_CLASSES: Final = {
    Major.OK: "ok",
    Major.NOMEM: "memory",
    Major.PROTO: "protocol",
    Major.AUTH: "authentication",
    Major.PERM: "permission",
    Major.DBERR: "database",
    Major.SYS: "system",
    Major.TIME: "time",
}


class Port(Protocol):
    """Something with connections."""

    @property
    def connections(self) -> int: ...


class ServerMetrics(Tally):
    """Counters of the storing side and of questions, in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._trouble: Unstored | None = None
        self._answered = dict.fromkeys(_CLASSES, 0)
        self._stored = self._repeated = 0
        self._batches = Distribution("lb_batch_events", "events answered together", NUMBERS)
        self._commits = Distribution("lb_commit_seconds", "time of a transaction", DURATIONS)
        self._queries = Distribution(
            "lb_query_seconds", "time from a whole question to its answer, by kind", DURATIONS, "kind"
        )

        def answered() -> Values:
            return {(name,): self._answered[major] for major, name in _CLASSES.items()}

        for metric in (
            Sampled(
                "lb_events_answered", "events that came, by the kind of their reply", answered, ("reply",), counter=True
            ),
            Sampled("lb_events_stored", "events written to the store", lambda: self._stored, counter=True),
            Sampled("lb_events_repeated", "events that had come before", lambda: self._repeated, counter=True),
            self._batches,
            self._commits,
            self._queries,
        ):
            registry.register(metric)

    def committed(self, events: int, repeated: int, seconds: float) -> None:
        self._stored += events
        self._repeated += repeated
        self._commits.observe(seconds)

    def answered(self, replies: Sequence[Reply]) -> None:
        self._batches.observe(len(replies))
        others = [reply for reply in replies if reply is not OK]
        self._answered[Major.OK] += len(replies) - len(others)
        self._trouble = None
        if others:
            for major, number in Count(reply.major for reply in others).items():
                self._answered[major] += number
            self._trouble = next((reply for reply in others if isinstance(reply, Unstored)), None)

    def asked(self, kind: str, seconds: float) -> None:
        """A question is answered."""
        self._queries.observe(seconds, kind)

    def watch(
        self,
        collector: Collector,
        threads: Mapping[str, Worker],
        ports: Mapping[str, Port],
        expires: Callable[[], float | None],
    ) -> None:
        """Parts whose state is looked up when somebody asks; `expires`: our certificate, seconds since the epoch."""

        def waiting() -> Values:
            return {(name,): thread.waiting for name, thread in threads.items()}

        def connections() -> Values:
            return {(name,): port.connections for name, port in ports.items()}

        for sampled in (
            Sampled("lb_waiting_bytes", "events that wait to be stored, bytes", lambda: collector.waiting_bytes),
            Sampled("lb_thread_queue", "calls that wait for a thread", waiting, ("thread",)),
            Sampled("lb_connections", "connections of a port", connections, ("port",)),
            Sampled("lb_certificate_expiry_seconds", "when our certificate expires, epoch", lambda: expires() or 0),
        ):
            self._registry.register(sampled)

    def check_store(self) -> None:
        """Fails while the last batch could not be stored."""
        if self._trouble is not None:
            raise NotReadyError(f"{errno.errorcode.get(self._trouble.minor, self._trouble.minor)} {self._trouble.text}")
