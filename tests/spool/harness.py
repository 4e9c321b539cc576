"""A spool without threads, time or disk: what the tests of this room drive by hand."""

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lb.spool.limits import Limits
from lb.spool.queue import Queue
from lb.spool.segment import Record
from lb.spool.spool import Spool
from tests.spool.faults import FaultyFileSystem

T = TypeVar("T")

ROOT = "/spool"
START_TIME = 1_795_418_093.25  # seconds


class SteppedWriter:
    """Implements lb.spool.writer.Writer: jobs wait until the test runs them."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()
        self.stopped = False

    def submit(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        self.jobs.append((job, done))

    def stop(self) -> None:
        self.stopped = True

    def step(self) -> None:
        job, done = self.jobs.popleft()
        job()
        done()

    def run(self) -> None:
        while self.jobs:
            self.step()


class Bench:
    """One file system and clock, and the spools opened on it one after the other."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.filesystem = FaultyFileSystem()
        self.clock = Clock()
        self.clock.advance(START_TIME)
        self.limits = limits or Limits()
        self._identities = 0
        self.writer = SteppedWriter()
        self.spool = self.build()

    def build(self) -> Spool:
        """Return a new spool, not open yet, in place of the one before."""
        self.writer = SteppedWriter()
        self.spool = Spool(
            ROOT,
            clock=self.clock,
            writer=self.writer,
            filesystem=self.filesystem,
            limits=self.limits,
            random=self._identity,
        )
        return self.spool

    def _identity(self, size: int) -> bytes:
        self._identities += 1
        return self._identities.to_bytes(size, "big")

    def open(self) -> Spool:
        spool = self.build()
        spool.open()
        return spool

    def close(self) -> None:
        closed = self.spool.close()
        self.writer.run()
        result_of(closed)

    def reopen(self) -> Spool:
        self.close()
        return self.open()

    def crash(self, seed: int = 0, *, kill: bool = False) -> Spool:
        """Stop without closing, lose what the disk may lose (nothing, with `kill`), and start again."""
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self.filesystem.restart(seed, kill=kill)
        return self.open()

    def result(self, deferred: Deferred[T]) -> T:
        """Run the writer and return the deferred's result, or raise its failure."""
        self.writer.run()
        return result_of(deferred)

    def append(self, *payloads: bytes, destination: str = "a:1") -> list[int]:
        """Store a chunk; return the numbers."""
        accepted = self.result(self.spool.append([(destination, payload) for payload in payloads]))
        return [number for _, number in accepted]

    def read(self, queue: Queue, max_records: int = 1000, max_bytes: int = 1 << 20) -> list[Record]:
        return self.result(queue.read(max_records, max_bytes))

    def drain(self, queue: Queue, max_records: int = 1000, max_bytes: int = 1 << 20) -> list[bytes]:
        """Read all there is without acknowledging; return the payloads."""
        payloads = []
        while queue.readable:
            payloads += [record.payload for record in self.read(queue, max_records, max_bytes)]
        return payloads

    def keep_house(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.writer.run()


def result_of(deferred: Deferred[T]) -> T:
    """Return the result of a deferred that has fired, or raise its failure."""
    results: list[T | Failure] = []
    deferred.addBoth(results.append)
    if not results:
        raise AssertionError("no result yet")
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]
