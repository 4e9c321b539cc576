"""The store port: event lines in interlogger frames, a reply to each (spec: wire-logging.md §3).

Loggers, producers and proxies all come here. A frame that cannot be decoded is answered and ends the connection,
a header that is none ends it without a word, as C peers expect.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from lb.server.collector import Collector
from lb.server.submission import Stream, Submission
from lb.service.bounds import Limits
from lb.service.exchange import Exchange
from lb.wire import il


class UndecodableFrameError(Exception):
    """A frame whose body is no event; `complete` holds the lines of the frames before it."""

    def __init__(self, reason: str, complete: list[bytes]) -> None:
        super().__init__(reason)
        self.complete = complete


class BrokenStreamError(Exception):
    """Bytes that are no frame; `complete` holds the lines of the frames before them."""

    def __init__(self, reason: str, complete: list[bytes]) -> None:
        super().__init__(reason)
        self.complete = complete


class LineReader:
    """Cuts a stream of frames into event lines."""

    def __init__(self, max_frame: int) -> None:
        self._frames = il.FrameReader(max_frame)

    @property
    def held(self) -> int:
        return self._frames.held

    def feed(self, data: bytes) -> list[bytes]:
        """Lines of the frames that `data` completes; raises UndecodableFrameError and BrokenStreamError."""
        broken = None
        try:
            bodies = self._frames.feed(data)
        except il.FrameError as error:
            broken = error
            bodies = error.complete
        lines: list[bytes] = []
        for body in bodies:
            try:
                lines.append(il.read_line(body))
            except il.FrameError as error:
                raise UndecodableFrameError(str(error), lines) from None
        if broken is not None:
            raise BrokenStreamError(str(broken), lines)
        return lines


class StorePort(Exchange):
    """One connection of the store port."""

    unreadable = (UndecodableFrameError, BrokenStreamError)

    def __init__(self, collector: Collector, limits: Limits) -> None:
        super().__init__(limits)
        self._collector = collector
        self._stream = Stream()

    def make_reader(self, max_message: int) -> LineReader:
        return LineReader(max_message)

    def handle(self, messages: list[bytes]) -> Deferred[bytes]:
        peer = self.peer
        stored = self._collector.submit([Submission(line, peer) for line in messages], self._stream)
        return stored.addCallback(self._written)

    def _written(self, replies: list[il.Reply]) -> bytes:
        if self._stream.ended is not None:
            # What was refused comes again on another connection, and with it all that was sent behind it.
            self.finish()
        return b"".join(map(il.write_reply, replies))

    def refusal(self, reason: Exception) -> bytes:
        if isinstance(reason, UndecodableFrameError):
            return il.write_reply(il.Reply(il.Major.PROTO, 0, "decoding event string failed"))
        return b""
