"""Connections between jobs (state-machine.md §15.2, example E38)."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.status import JobType
from lb.store.interface import Connection, Link
from lb.wire import il
from tests.server.fixture import OWNER, Server
from tests.server.test_ingest import JOB, line, registration, running
from tests.server.test_parents import done

MACHINE = "https://localhost:9000/machine"


def connect(number: int, *, job: str = JOB, to: str = MACHINE, jobtype: str = "VIRTUAL_MACHINE") -> str:
    attributes = f'DG.CONNECTJOB.DEST_JOBID="{to}" DG.CONNECTJOB.JOBTYPE="{jobtype}" '
    return line("ConnectJob", attributes, job=job, number=number)


class Connected(SynchronousTestCase):
    """A job and the virtual machine that it runs on."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.server = Server(directory)
        self.addCleanup(self.server.close)
        self.server.send_all([registration(), registration(job=MACHINE, jobtype="VIRTUAL_MACHINE"), running(1)])

    def _connections(self, job: str) -> list[Connection]:
        entry = self.server.reader.job(jobid.parse(job).unique)
        assert entry is not None
        return self.server.reader.connections(entry.key)

    def test_both_sides(self) -> None:
        """E38: each side knows the other and its type; the end of one ends the connection, a new one renews it."""
        self.assertEqual(self.server.send(connect(2)), il.OK)
        here = Connection(MACHINE, JobType.VIRTUAL_MACHINE, Link.ACTIVE)
        there = Connection(JOB, JobType.SIMPLE, Link.ACTIVE)
        self.assertEqual((self._connections(JOB), self._connections(MACHINE)), ([here], [there]))
        for event, status in ((done(3), Link.INACTIVE), (running(2), Link.INACTIVE), (connect(5), Link.ACTIVE)):
            self.server.send(event)
            both = [*self._connections(JOB), *self._connections(MACHINE)]
            self.assertEqual([each.status for each in both], [status] * 2)
        self.server.send(line("DisconnectJob", f'DG.DISCONNECTJOB.DEST_JOBID="{MACHINE}" ', number=6))
        both = [*self._connections(JOB), *self._connections(MACHINE)]
        self.assertEqual([each.status for each in both], [Link.CANCELLED] * 2)

    def test_one_batch(self) -> None:
        """What happens in one batch happens in its order."""
        self.server.send_all([connect(2), done(3)])
        self.assertEqual([each.status for each in self._connections(JOB)], [Link.INACTIVE])
        self.server.send_all([connect(4), done(5, job=MACHINE), connect(6)])
        self.assertEqual([each.status for each in self._connections(JOB)], [Link.ACTIVE])

    def test_s30_s32(self) -> None:
        """S30, S32: a job of another server is connected by its whole id; that it is not here is no error."""
        for number, other in enumerate(("https://localhost:9000/absent", "https://elsewhere.ex:9000/machine"), 2):
            self.assertEqual(self.server.send(connect(number, to=other)), il.OK)
            self.assertIn(other, [each.other for each in self._connections(JOB)])
        self.assertEqual(self._connections(MACHINE), [])

    def test_no_id(self) -> None:
        """What is no job id connects nothing, and is refused."""
        before = self.server.status(JOB, "history").history
        self.assertNotEqual(self.server.send_all([connect(2, to="nowhere"), connect(3)]), [il.OK] * 2)
        self.assertEqual([each.other for each in self._connections(JOB)], [MACHINE])
        self.assertNotIn("nowhere", self.server.status(JOB, "history").history or "")
        self.assertNotEqual(self.server.status(JOB, "history").history, before)

    def test_s31(self) -> None:
        """S31: the event for the other side carries no code, and what comes after it is no earlier for it."""
        self.server.send(connect(2))
        self.server.send(connect(2, job=MACHINE, to=JOB, jobtype="SIMPLE"))
        events = self.server.lookup.events_of(OWNER, jobid.parse(JOB).unique)
        self.assertEqual([event.seqcode for event in events].count(""), 1)
        self.assertEqual(self.server.send(done(3)), il.OK)
        self.assertEqual(self.server.status(JOB).done_code, 0)
