"""The store port: event lines in interlogger frames, a reply to each (spec: wire-logging.md §3).

Loggers, producers and proxies all come here. A frame that cannot be decoded or is too long is answered and ends the
connection, a header that is none ends it without a word, as C peers expect.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred

from lb.server.collector import Collector
from lb.server.submission import Stream, Submission
from lb.service.bounds import Limits
from lb.service.exchange import Exchange
from lb.wire import il

_UNDECODABLE: Final = il.Reply(il.Major.PROTO, 0, "decoding event string failed")


class BrokenStreamError(Exception):
    """Bytes after which nothing can be read; `complete` holds the lines of the frames before them.

    `reply` is what is said of them, None for bytes that are no frame.
    """

    def __init__(self, reason: str, complete: list[bytes], reply: il.Reply | None) -> None:
        super().__init__(reason)
        self.complete = complete
        self.reply = reply


class LineReader:
    """Cuts a stream of frames into event lines."""

    def __init__(self, max_frame: int) -> None:
        self._frames = il.FrameReader(max_frame)

    @property
    def held(self) -> int:
        return self._frames.held

    def feed(self, data: bytes) -> list[bytes]:
        """Lines of the frames that `data` completes; raises BrokenStreamError."""
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
                raise BrokenStreamError(str(error), lines, _UNDECODABLE) from None
        if broken is not None:
            raise BrokenStreamError(
                str(broken), lines, broken.reply if isinstance(broken, il.FrameTooLongError) else None
            )
        return lines


class StorePort(Exchange):
    """One connection of the store port."""

    unreadable = (BrokenStreamError,)

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
        reply = reason.reply if isinstance(reason, BrokenStreamError) else None
        return il.write_reply(reply) if reply is not None else b""
