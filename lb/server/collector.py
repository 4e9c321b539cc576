"""The way from connections to the one writing thread: events that come while a batch commits make the next batch.

Group commit without a timer: an idle server stores an event at once, a busy one stores many with one fsync.
Bounded: `congested` says when readers have to pause (P6, P10).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.server.ingest import Submission
from lb.server.limits import ServerLimits
from lb.wire.il import Reply

Ingesting = Callable[[list[Submission]], list[Reply]]


class Collector:
    """Hands submissions to `ingest` in the writing thread, whole chunks in the order of their arrival."""

    log = Logger()

    def __init__(
        self,
        ingest: Ingesting,
        in_thread: Callable[[Ingesting, list[Submission]], Deferred[list[Reply]]],
        limits: ServerLimits = ServerLimits(),  # noqa: B008  # immutable
    ) -> None:
        """`in_thread(function, argument)` runs a call in the writing thread and returns its result later."""
        self._ingest = ingest
        self._in_thread = in_thread
        self._limits = limits
        self._waiting: deque[tuple[list[Submission], int, Deferred[list[Reply]]]] = deque()
        self._bytes = 0
        self._busy = False
        self._paused: list[Callable[[], None]] = []
        self._idle: list[Deferred[None]] = []
        self.stored = 0  #: events answered, for the metrics

    def submit(self, submissions: list[Submission]) -> Deferred[list[Reply]]:
        """Store a chunk of events; fires with a reply for each, in order, when they are on stable storage."""
        answered: Deferred[list[Reply]] = Deferred()
        size = sum(len(submission.line) for submission in submissions)
        self._waiting.append((submissions, size, answered))
        self._bytes += size
        if not self._busy:
            self._next_batch()
        return answered

    @property
    def congested(self) -> bool:
        """Whether more waits than should; whoever brings events has to pause then."""
        return self._bytes > self._limits.waiting_bytes

    def when_ready(self, resume: Callable[[], None]) -> None:
        """Call `resume` once when the congestion is over."""
        self._paused.append(resume)

    def when_idle(self) -> Deferred[None]:
        """Fires when nothing waits and nothing is being written."""
        idle: Deferred[None] = Deferred()
        if self._busy:
            self._idle.append(idle)
        else:
            idle.callback(None)
        return idle

    def _next_batch(self) -> None:
        chunks: list[tuple[int, Deferred[list[Reply]]]] = []
        batch: list[Submission] = []
        size = 0
        limits = self._limits
        # Long enough to share the fsync, short enough for a prompt answer.
        while self._waiting and len(batch) < limits.batch_events and size < limits.batch_bytes:
            submissions, chunk_size, answered = self._waiting.popleft()
            batch += submissions
            size += chunk_size
            chunks.append((len(submissions), answered))
        if not batch:
            self._busy = False
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)
            return
        self._busy = True
        self._in_thread(self._ingest, batch).addCallbacks(
            self._stored, self._failed, callbackArgs=(chunks, size), errbackArgs=(chunks, size)
        )

    def _stored(self, replies: list[Reply], chunks: list[tuple[int, Deferred[list[Reply]]]], size: int) -> None:
        # The next batch first: the writing thread works while the answers go out.
        self._bytes -= size
        self._next_batch()
        self.stored += len(replies)
        start = 0
        for count, answered in chunks:
            answered.callback(replies[start : start + count])
            start += count
        self._resume()

    def _failed(self, failure: Failure, chunks: list[tuple[int, Deferred[list[Reply]]]], size: int) -> None:
        self.log.failure("the writing thread failed", failure=failure)
        self._bytes -= size
        self._next_batch()
        for _, answered in chunks:
            answered.errback(failure)
        self._resume()

    def _resume(self) -> None:
        if self._paused and not self.congested:
            paused, self._paused = self._paused, []
            for resume in paused:
                resume()
