"""P10 inside the server: batches, what waits for them, jobs in memory, subjobs, each bound at its edges."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.jobid import parse
from lb.model.query import Flag
from lb.server import assembly, ingest
from lb.server.collector import Collector
from lb.server.ingest import Submission
from lb.server.jobcache import JobCache
from lb.server.limits import ServerLimits
from lb.server.lookup import Limits, Lookup
from lb.server.submission import Stream, Unstored
from lb.store.interface import StoreError
from lb.wire import il
from tests.server.fixture import OWNER, Server, query_error
from tests.server.test_ingest import JOB, registration, running


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

    def test_nothing(self) -> None:
        """A chunk without events is answered, and holds up nobody."""
        self._begin()
        self.assertEqual(self.successResultOf(self._submit()), [])
        self._submit(1)
        self.assertEqual(len(self.batches), 1)

    def test_broken_thread(self) -> None:
        """P4: behind events of which nobody knows what became nothing of their stream is stored, others' are."""
        self._begin(batch_events=1)
        stream = Stream()
        first, behind = (self.collector.submit([Submission(text, OWNER)], stream) for text in (b"first", b"behind"))
        other = self.collector.submit([Submission(b"other", OWNER)], Stream())
        self.batches.pop(0)[1].errback(ZeroDivisionError())
        self.failureResultOf(first, ZeroDivisionError)
        self.assertIsInstance(self.successResultOf(behind)[0], Unstored)
        self.assertEqual([submission.line for submission in self.batches[0][0]], [b"other"])
        self._done()
        self.assertEqual(self.successResultOf(other), [il.OK])
        self.assertEqual(self.collector.waiting_bytes, 0)
        self.flushLoggedErrors(ZeroDivisionError)

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

    def test_history(self) -> None:
        """The history of one job is bounded by its events' bytes at n-1, n, n+1; without it the job is told."""
        server = self._server()
        server.send_all([registration(), running(1), running(2)])
        entry = server.reader.job(parse(JOB).unique)
        assert entry is not None
        size = sum(len(event.line) for event in server.reader.events(entry.key))
        for bound, code in ((size - 1, errno.E2BIG), (size, 0), (size + 1, 0), (0, 0)):
            server.lookup = Lookup(server.reader, lambda: server.policy, "salt", Limits(status_bytes=bound))
            self.assertEqual(query_error(server, JOB, "history", OWNER), code, bound)
            if code:
                self.assertRaises(LBError, server.lookup.events_of, OWNER, parse(JOB).unique)
            else:
                self.assertEqual(len(server.lookup.events_of(OWNER, parse(JOB).unique)), 3)
            self.assertEqual(query_error(server, JOB, "", OWNER), 0)

    def test_states_of_subjobs(self) -> None:
        """So are states of subjobs; ids and counts of them are told however many there are."""
        server = self._server()
        server.send(registration(jobtype="COLLECTION", nsubjobs=5))
        for fit, code in ((4, errno.E2BIG), (5, 0), (6, 0)):
            limits = Limits(status_bytes=fit * assembly._STATUS)
            server.lookup = Lookup(server.reader, lambda: server.policy, "salt", limits)
            self.assertEqual(query_error(server, JOB, "childstat", OWNER), code, fit)
            status = server.status(JOB, "children+childhist_thorough")
            self.assertEqual((len(status.children or ()), sum(status.children_hist or ())), (5, 5))

    def _collections(self, *counts: int) -> tuple[Server, list[int], list[str]]:
        server = self._server()
        written: list[int] = []
        server.stored = lambda: written.append(server.writer.last_change)
        lines = [
            registration(job=f"https://localhost:9000/coll{number}", jobtype="COLLECTION", nsubjobs=count)
            for number, count in enumerate(counts)
        ]
        return server, written, lines

    def test_subjobs_at_once(self) -> None:
        """However many registrations come together, a transaction makes so many subjobs, or those of one."""
        self.patch(ingest, "_SUBJOBS_AT_ONCE", 4)
        for counts, jobs in (((2, 2), [6]), ((2, 3), [3, 4]), ((9, 0, 0, 1), [10, 4]), ((0, 3, 1, 1), [7, 2])):
            server, written, lines = self._collections(*counts)
            before = server.writer.last_change
            self.assertEqual(server.send_all(lines), [il.OK] * len(counts))
            places = [before, *written]
            self.assertEqual([after - before for before, after in itertools.pairwise(places)], jobs, counts)
            self.assertEqual(len(server.lookup.own_jobs(OWNER, Flag(0))), len(counts) + sum(counts))

    def test_subjobs_not_stored(self) -> None:
        """P2, P4: behind a part of a batch that the store did not take nothing is stored, and all of it comes again."""
        self.patch(ingest, "_SUBJOBS_AT_ONCE", 2)
        server, _, lines = self._collections(2, 2, 2)
        write, failing = server.writer.write, StoreError(errno.ENOSPC, "database: full")
        with mock.patch.object(server.writer, "write", side_effect=[mock.DEFAULT, failing, mock.DEFAULT], wraps=write):
            replies = server.send_all(lines)
        self.assertEqual([reply.major for reply in replies], [il.Major.OK, il.Major.DBERR, il.Major.DBERR])
        self.assertEqual(len(server.lookup.own_jobs(OWNER, Flag(0))), 3)
        self.assertEqual(server.send_all(lines), [il.OK] * 3)
        self.assertEqual(len(server.lookup.own_jobs(OWNER, Flag(0))), 9)
