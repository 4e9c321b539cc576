"""P10 inside the server: batches, what waits for them, jobs in memory, subjobs, each bound at its edges."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lb.server.collector import Collector
from lb.server.ingest import Submission
from lb.server.jobcache import JobCache
from lb.server.limits import ServerLimits
from lb.wire import il
from tests.server.fixture import OWNER, Server
from tests.server.test_ingest import registration, running


class Batches(SynchronousTestCase):
    """The collector before a writing thread that works when the test says so."""

    def _begin(self, **bounds: Any) -> None:
        self.batches: list[tuple[list[Submission], Deferred[list[il.Reply]]]] = []
        self.collector = Collector(lambda submissions: [], self._in_thread, ServerLimits(**bounds))

    def _in_thread(self, function: Any, submissions: list[Submission]) -> Deferred[list[il.Reply]]:
        self.batches.append((submissions, Deferred()))
        return self.batches[-1][1]

    def _submit(self, *sizes: int) -> Any:
        return self.collector.submit([Submission(b"x" * size, OWNER) for size in sizes])

    def _done(self) -> None:
        submissions, result = self.batches.pop(0)
        result.callback([il.OK] * len(submissions))

    def _next_batch(self, chunks: list[int]) -> int:
        """How many events the batch has that begins while these chunks, an event each, wait."""
        self._submit(1)
        for size in chunks:
            self._submit(size)
        self._done()
        return len(self.batches[0][0])

    def test_events(self) -> None:
        """A batch takes chunks until it has n events."""
        for waiting, taken in ((2, 2), (3, 3), (4, 3)):
            self._begin(batch_events=3)
            self.assertEqual(self._next_batch([1] * waiting), taken)

    def test_bytes(self) -> None:
        """A batch takes chunks until it has n bytes; an event of any size is taken."""
        for chunks, taken in (([99, 1, 1], 2), ([100, 1], 1), ([101, 1], 1), ([40, 40, 40, 40], 3)):
            self._begin(batch_bytes=100)
            self.assertEqual(self._next_batch(chunks), taken)

    def test_waiting(self) -> None:
        """P6: up to n bytes that wait nobody has to pause, beyond it everybody, until enough is stored."""
        for size, congested in ((99, False), (100, False), (101, True)):
            self._begin(waiting_bytes=100)
            self._submit(size)
            self.assertEqual(self.collector.congested, congested)
            resumed: list[bool] = []
            self.collector.when_ready(lambda resumed=resumed: resumed.append(True))  # type: ignore[misc]
            self._done()
            self.assertFalse(self.collector.congested)
            self.assertEqual(resumed, [True])


class Memory(SynchronousTestCase):
    """Jobs in memory and jobs made by one event, on a real store."""

    def _server(self, **options: Any) -> Server:
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory, **options)
        self.addCleanup(server.close)
        return server

    def test_cached_jobs(self) -> None:
        """No more than n jobs stay in memory, the latest ones; what left it is read again, unchanged."""
        for jobs, kept in ((2, 2), (3, 3), (4, 3)):
            cache = JobCache(3, 1 << 20)
            server = self._server(cache=cache)
            ids = [f"https://localhost:9000/job{number}" for number in range(jobs)]
            for job in ids:
                self.assertEqual(server.send(registration(job=job)), il.OK)
            self.assertEqual(list(cache._jobs), [f"job{number}" for number in range(jobs)][-kept:])
            self.assertEqual(server.send(running(1, job=ids[0])), il.OK)
            self.assertEqual(server.status(ids[0]).jobId, ids[0])

    def test_cached_text(self) -> None:
        """No more than n characters of long texts stay in memory, even if that leaves no job."""
        text = len("[ a = 1 ]")
        for bound, kept in ((2 * text - 1, 1), (2 * text, 2), (2 * text + 1, 2), (text - 1, 0)):
            cache = JobCache(100, bound)
            server = self._server(cache=cache)
            for number in range(2):
                server.send(registration(job=f"https://localhost:9000/job{number}"))
            self.assertEqual(len(cache._jobs), kept, bound)

    def test_subjobs(self) -> None:
        """A registration of n subjobs is taken, of one more refused."""
        for count, code in ((2, 0), (3, 0), (4, errno.E2BIG)):
            server = self._server(max_subjobs=3)
            self.assertEqual(server.send(registration(jobtype="COLLECTION", nsubjobs=count)).minor, code)
