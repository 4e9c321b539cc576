"""Newest jobs first: any query finds what a look at all jobs finds, from any place on, but what may not be read."""

from __future__ import annotations

import errno
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.grammar import read_query
from lb.model.indexing import from_title
from lb.model.query import Query, own_jobs
from lb.model.status import JobType
from lb.security.identity import ANONYMOUS
from lb.server import query as query_module
from lb.server.lookup import Newest
from lb.store.interface import Connection, Link
from tests.server.fixture import OTHER, OWNER, Server
from tests.server.test_connections import MACHINE, connect
from tests.server.test_ingest import JOB, registration, running
from tests.web.fixture import questions

JOBS = 230
PARENT = "https://localhost:9000/parent"
PAST = 1_700_000_000


def name(number: int) -> str:
    """Ids whose order is not that of their registration."""
    return f"https://localhost:9000/{number * 7919 % 1000:03d}"


class Lists(SynchronousTestCase):
    """Jobs of two owners, some of them children."""

    def setUp(self) -> None:
        """Every third job is somebody else's, every fifth runs, every seventh is a child."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory)
        self.addCleanup(self.server.close)
        self.questions = questions(self.server)
        for number in range(JOBS):
            peer = OTHER if number % 3 == 0 else OWNER
            line = registration(job=name(number), user=peer.name)
            if number % 7 == 0:
                line = line.replace('DG.REGJOB.PARENT=""', f'DG.REGJOB.PARENT="{PARENT}"')
            lines = [line]
            if number % 5 == 0:
                lines.append(running(1, job=name(number), user=peer.name))
            self.assertEqual({reply.major for reply in self.server.send_all(lines, peer)}, {0})

    def _newest(self, query: Query, before: int | None = None, most: int = 1_000) -> Newest:
        return self.successResultOf(self.questions.newest(OWNER, query, before, most))

    def _all(self, query: Query, most: int) -> list[str | None]:
        found = self._newest(query, None, most)
        jobs = list(found.jobs)
        while found.next is not None:
            self.assertLessEqual(len(found.jobs), most)
            found = self._newest(query, found.next, most)
            jobs += found.jobs
        keys = [key for key, _ in jobs]
        self.assertEqual(keys, sorted(keys, reverse=True))
        return [job.jobId for _, job in jobs]

    @given(st.integers(1, 120))
    @settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.differing_executors])
    def test_parts(self, most: int) -> None:
        """P7: in parts of any size each own job comes once, the last registered first, and no other."""
        own = [name(number) for number in reversed(range(JOBS)) if number % 3]
        self.assertEqual(self._all(own_jobs(), most), own)

    def test_conditions(self) -> None:
        """Whatever leads to the jobs (owner, parent, ids, an index, nothing): these, in this order."""
        owner = f"owner={OWNER.name}"
        for text, wanted in (
            (f"{owner}&status=running", lambda number: number % 5 == 0),
            (f"parent_job={PARENT}", lambda number: number % 7 == 0),
            (f"parent_job={PARENT}&status=submitted", lambda number: number % 7 == 0 and number % 5),
            (f"jobid={name(4)}|={name(20)}|={name(3)}", lambda number: number in (4, 20)),
        ):
            expected = [name(number) for number in reversed(range(JOBS)) if number % 3 and wanted(number)]
            for most in (1, 7, 1_000):
                self.assertEqual(self._all(read_query(text, PAST), most), expected, text)
        self.server.writer.index.configure([(from_title("STD_status"),)])
        while self.server.writer.index.fill(1_000):
            pass
        expected = [name(number) for number in reversed(range(JOBS)) if number % 3 and number % 5 == 0]
        self.assertEqual(self._all(read_query("status=running", PAST), 9), expected)
        self.assertEqual(len(self._all(own_jobs(), 50)), JOBS - JOBS // 3 - 1)

    def test_bound(self) -> None:
        """P10: when too many had to be looked at, what was found comes with the place where to go on."""
        self.patch(query_module, "CANDIDATES", 100)
        self.patch(query_module, "SLICE", 0)
        query = read_query(f"owner={OWNER.name}&jobid<>{name(229)}&status=done", PAST)
        parts, found = 1, self._newest(query)
        while found.next is not None:
            self.assertEqual(found.jobs, [])
            found = self._newest(query, found.next)
            parts += 1
        self.assertGreater(parts, 1)

    def test_none(self) -> None:
        """Why there is none: as for other queries; behind a place there may be none."""
        for query, peer, code in (
            (read_query("status=running", PAST), OWNER, 1416),
            (read_query(f"jobid={name(0)}", PAST), OWNER, errno.EPERM),
            (read_query("jobid=https://localhost:9000/nobody", PAST), OWNER, errno.ENOENT),
            (read_query(f"owner={OTHER.name}", PAST), OWNER, errno.ENOENT),
            (own_jobs(), ANONYMOUS, errno.EPERM),
        ):
            failed = self.failureResultOf(self.questions.newest(peer, query, None, 10), LBError)
            self.assertEqual(failed.value.code, code, query)
        self.assertEqual(self._newest(own_jobs(), 1), Newest([]))


class Related(SynchronousTestCase):
    """What a job is connected to."""

    def test_related(self) -> None:
        """P7: who reads the job reads its connections, by how they stand; nobody else does."""
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory)
        self.addCleanup(server.close)
        server.send_all([registration(), registration(job=MACHINE, jobtype="VIRTUAL_MACHINE"), running(1), connect(2)])
        unique = JOB.rpartition("/")[2]
        self.assertEqual(
            server.lookup.related(OWNER, unique), [Connection(MACHINE, JobType.VIRTUAL_MACHINE, Link.ACTIVE)]
        )
        for peer, job, code in ((OTHER, unique, errno.EPERM), (OWNER, "nobody", errno.ENOENT)):
            with self.assertRaises(LBError) as refused:
                server.lookup.related(peer, job)
            self.assertEqual(refused.exception.code, code)
