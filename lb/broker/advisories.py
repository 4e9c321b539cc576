"""Who listens at ActiveMQ: the broker announces each consumer that comes or goes, and at first those that are there.

A broker that does not let us read its announcements tells nothing; that is an answer, too.
"""

from __future__ import annotations

import re
from typing import Final

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.broker.destination import Destination, Kind
from lb.broker.errors import BrokerError
from lb.broker.message import Delivery
from lb.broker.session import Session, Subscription

#: Begins the names of the topics on which the broker announces.
ADVISORY: Final = "ActiveMQ.Advisory."
_CONSUMERS: Final = f"/topic/{ADVISORY}Consumer."
_KINDS: Final = {Kind.TOPIC: "Topic", Kind.QUEUE: "Queue", Kind.EXISTING: "Queue"}
#: Consumers of these are those of queues with other names.
_VIRTUAL: Final = "VirtualTopic."
#: Seconds in which the broker announces the consumers that are there when we begin to listen.
_SETTLING: Final = 1.0
_COUNT: Final = "consumerCount"

_log = Logger()


class Advisories:
    """The consumers of one broker, as far as a session was told."""

    def __init__(self, clock: IReactorTime, session: Session) -> None:
        self._clock = clock
        self._told = False
        self._counts: dict[str, int] = {}  # by the topic of the announcement
        self._waiting: list[Deferred[None]] | None = []
        subscribed = [
            session.subscribe(Subscription(Destination(Kind.TOPIC, f"{ADVISORY}Consumer.{kind}.>")), self)
            for kind in dict.fromkeys(_KINDS.values())
        ]
        gatherResults(subscribed, consumeErrors=True).addCallbacks(self._agreed, self._refused)

    def listeners(self, destination: Destination) -> Deferred[int | None]:
        """How many consume from a destination, wildcards included; None when that is not known."""
        if self._waiting is None:
            return succeed(self._count(destination))
        settled: Deferred[None] = Deferred()
        self._waiting.append(settled)
        return settled.addCallback(lambda _: self._count(destination))

    def _count(self, destination: Destination) -> int | None:
        kind = _KINDS.get(destination.kind)
        if not self._told or kind is None or destination.name.startswith(_VIRTUAL):
            return None
        before = f"{_CONSUMERS}{kind}."
        return sum(
            count
            for topic, count in self._counts.items()
            if topic.startswith(before) and _meets(topic[len(before) :], destination.name)
        )

    # --- consumer ---------------------------------------------------------------------------------------------

    def received(self, session: Session, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            count = delivery.headers.get(_COUNT, "")
            if count.isdigit() and int(count):
                self._counts[delivery.destination] = int(count)
            else:
                self._counts.pop(delivery.destination, None)
        session.acknowledge(deliveries)

    def cancelled(self, session: Session, reason: BrokerError) -> None:
        self.over()

    def over(self) -> None:
        """Nothing more will be announced, and nothing is known any longer."""
        self._told = False

    # ----------------------------------------------------------------------------------------------------------

    def _agreed(self, _: object) -> None:
        self._told = True
        deferLater(self._clock, _SETTLING, self._settle)

    def _refused(self, failure: Failure) -> None:
        reason = failure.value.subFailure.value if isinstance(failure.value, FirstError) else failure.value
        _log.warn("the broker does not say who listens: {reason}", reason=str(reason))
        self._settle()

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting or [], None
        for settled in waiting:
            settled.callback(None)


def _meets(pattern: str, name: str) -> bool:
    """Whether a name is among those that a consumer's pattern means."""
    if pattern == name:
        return True
    if "*" not in pattern and not pattern.endswith(">"):
        return False
    expression = re.escape(pattern).replace(r"\*", r"[^.]+").replace(">", ".*")
    return re.fullmatch(expression, name) is not None
