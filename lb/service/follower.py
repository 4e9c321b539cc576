"""What brings a durable queue to its destination: it follows the queue, and pauses after a failure.

How records travel is its subclasses' matter. What is not acknowledged stays in the queue, whatever happens here (P2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from lb.service.deliverable import Listener, Queue, R
from lb.wire import il


class Follower(ABC, Generic[R]):
    """Follows one queue from `start` to `stop`, calling `wake` whenever there may be something to do."""

    _log = Logger()
    #: What a record is called in the log.
    _called: ClassVar[str] = "record"

    def __init__(self, queue: Queue[R], clock: IReactorTime, listener: Listener | None) -> None:
        """`listener` is told what became of each record."""
        self.failed = 0  #: pauses after a failure, since the start
        self._queue = queue
        self._clock = clock
        self._listener = listener
        self._failures = 0  # in a row
        self._pause: IDelayedCall | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin with what the queue holds, and follow it."""
        self._queue.wake_up = self.wake
        self.wake()

    def stop(self) -> None:
        """End; what is not acknowledged stays in the queue."""
        self._stopped = True
        self._queue.wake_up = None
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def hasten(self) -> None:
        """Try now instead of after the pause."""
        if self._pause is not None:
            self._pause.cancel()
            self._resume()

    @abstractmethod
    def wake(self) -> None:
        """There may be records to send, or the pause is over."""

    def _pause_for(self, pause: float, reason: str) -> None:
        """Call `wake` again after so many seconds; `reason` is that of the failure."""
        self._failures += 1
        self.failed += 1
        self._log.warn(
            "{destination}: {reason}; next try in {pause:.0f} s, {pending} {called}s wait",
            destination=self._queue.destination,
            reason=reason,
            pause=pause,
            pending=self._queue.pending,
            called=self._called,
        )
        self._pause = self._clock.callLater(pause, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self.wake()

    def _quarantine(self, record: R, reason: str) -> Deferred[None]:
        """Take a record out of the queue for good; fires when it is in quarantine."""
        self._log.warn(
            "{destination}: {called} {number} is set aside: {reason}",
            destination=self._queue.destination,
            called=self._called,
            number=record.number,
            reason=reason,
        )
        return self._queue.quarantine(record, reason)

    def _tell(self, record: R, reply: il.Reply) -> None:
        if self._listener:
            self._listener.tell(self._queue.destination, record.number, reply)
