"""The way from connections to the one writing thread: events that come while a batch commits make the next batch.

Group commit without a timer: an idle server stores an event at once, a busy one stores many with one fsync.
Bounded: `congested` says when readers have to pause (P6, P10).
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.security.identity import Identity
from lb.server.limits import ServerLimits
from lb.server.submission import Stream, Submission, Unstored
from lb.server.tally import Tally
from lb.wire.il import OK, Major, Reply

Ingesting = Callable[[list[Submission]], list[Reply]]

#: Why nothing of a stream is taken behind events of which nobody knows what became.
_BROKEN: Final = Unstored(Major.SYS, errno.EIO, "internal error of the server")


class _Chunk(NamedTuple):
    """Submissions of one stream that came together."""

    submissions: list[Submission]
    size: int  #: bytes
    stream: Stream
    answered: Deferred[list[Reply]]


class Collector:
    """Hands submissions to `ingest` in the writing thread, whole chunks in the order of their arrival."""

    log = Logger()

    def __init__(
        self,
        ingest: Ingesting,
        in_thread: Callable[[Ingesting, list[Submission]], Deferred[list[Reply]]],
        limits: ServerLimits = ServerLimits(),  # noqa: B008  # immutable
        tally: Tally | None = None,
    ) -> None:
        """`in_thread(function, argument)` runs a call in the writing thread and returns its result later."""
        self._ingest = ingest
        self._in_thread = in_thread
        self._limits = limits
        self._waiting: deque[_Chunk] = deque()
        self._bytes = 0
        self._busy = False
        self._paused: list[Callable[[], None]] = []
        self._idle: list[Deferred[None]] = []
        self._tally = tally if tally is not None else Tally()

    def submit(self, submissions: list[Submission], stream: Stream | None = None) -> Deferred[list[Reply]]:
        """Store a chunk of events; fires with a reply for each, in order, when they are on stable storage.

        After the first of a stream that the store could not take, the others of it are refused likewise, whatever
        the store can do by then: what comes again must find its place still free (P4).
        """
        if stream is not None and stream.ended is not None:
            return succeed([stream.ended] * len(submissions))
        if not submissions:
            return succeed([])
        size = sum(len(submission.line) for submission in submissions)
        chunk = _Chunk(submissions, size, stream or Stream(), Deferred())
        self._waiting.append(chunk)
        self._bytes += size
        if not self._busy:
            self._next_batch()
        return chunk.answered

    def store(self, peer: Identity, lines: Iterable[bytes]) -> Deferred[list[Reply]]:
        """`submit` for lines of one peer that came together, and on no connection that lasts."""
        return self.submit([Submission(line, peer) for line in lines], Stream())

    @property
    def congested(self) -> bool:
        """Whether more waits than should; whoever brings events has to pause then."""
        return self._bytes > self._limits.waiting_bytes

    @property
    def waiting_bytes(self) -> int:
        """Size of the events that wait or are being written."""
        return self._bytes

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
        chunks: list[_Chunk] = []
        batch: list[Submission] = []
        size = 0
        limits = self._limits
        # Long enough to share the fsync, short enough for a prompt answer.
        while self._waiting and len(batch) < limits.batch_events and size < limits.batch_bytes:
            chunk = self._waiting.popleft()
            batch += chunk.submissions
            size += chunk.size
            chunks.append(chunk)
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

    def _stored(self, replies: list[Reply], chunks: list[_Chunk], size: int) -> None:
        # The next batch first: the writing thread works while the answers go out.
        self._bytes -= size
        ended = self._end_streams(replies, chunks)
        self._next_batch()
        start = 0
        for chunk in chunks:
            count = len(chunk.submissions)
            chunk.answered.callback(replies[start : start + count])
            start += count
        _refuse(ended)
        self._tally.answered(replies)
        self._resume()

    def _end_streams(self, replies: list[Reply], chunks: list[_Chunk]) -> list[_Chunk]:
        """Take back the waiting chunks of streams of which a line was not stored."""
        if not any(isinstance(reply, Unstored) for reply in replies if reply is not OK):
            return []
        answers = iter(replies)
        for chunk in chunks:
            for _ in chunk.submissions:
                reply = next(answers)
                if isinstance(reply, Unstored) and chunk.stream.ended is None:
                    chunk.stream.ended = reply
        return self._take_back()

    def _take_back(self) -> list[_Chunk]:
        """The waiting chunks of ended streams, which wait no longer."""
        ended = [chunk for chunk in self._waiting if chunk.stream.ended is not None]
        self._waiting = deque(chunk for chunk in self._waiting if chunk.stream.ended is None)
        self._bytes -= sum(chunk.size for chunk in ended)
        return ended

    def _failed(self, failure: Failure, chunks: list[_Chunk], size: int) -> None:
        self.log.failure("the writing thread failed", failure=failure)
        self._bytes -= size
        for chunk in chunks:
            # What is behind it would be stored before it, which comes again.
            chunk.stream.ended = chunk.stream.ended or _BROKEN
        ended = self._take_back()
        self._next_batch()
        for chunk in chunks:
            chunk.answered.errback(failure)
        _refuse(ended)
        self._resume()

    def _resume(self) -> None:
        if self._paused and not self.congested:
            paused, self._paused = self._paused, []
            for resume in paused:
                resume()


def _refuse(ended: Iterable[_Chunk]) -> None:
    """Answer chunks of ended streams."""
    for chunk in ended:
        refusal = chunk.stream.ended
        assert refusal is not None  # that is why it was taken back
        chunk.answered.callback([refusal] * len(chunk.submissions))
