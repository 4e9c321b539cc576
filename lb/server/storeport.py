"""The store port: event lines in interlogger frames, a reply to each (spec: wire-logging.md §3).

Loggers, producers and proxies all come here. A frame that cannot be decoded is answered and ends the connection,
a header that is none ends it without a word, as C peers expect.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from lb.server.collector import Collector
from lb.server.ingest import Submission
from lb.service.bounds import Limits
from lb.service.exchange import Exchange
from lb.wire import il


class UndecodableFrame(il.FrameError):
    """A frame with a good header whose body is no event."""


class StorePort(Exchange):
    """One connection of the store port."""

    unreadable = (il.FrameError,)

    def __init__(self, collector: Collector, limits: Limits) -> None:
        super().__init__(limits)
        self._collector = collector

    def make_reader(self, max_message: int) -> il.LineReader:
        return il.LineReader(max_message)

    def handle(self, messages: list[bytes]) -> Deferred[bytes]:
        peer = self.peer
        stored = self._collector.submit([Submission(line, peer) for line in messages])
        return stored.addCallback(_written)

    def refusal(self, reason: Exception) -> bytes:
        if isinstance(reason, il.BodyError):
            return il.write_reply(il.Reply(il.Major.PROTO, 0, "decoding event string failed"))
        return b""


def _written(replies: list[il.Reply]) -> bytes:
    return b"".join(map(il.write_reply, replies))
