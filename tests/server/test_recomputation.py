"""States made anew in a running server: checked, repaired, and lazily after an upgrade."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.status import State
from lb.security.identity import Identity
from lb.server.lookup import Lookup
from lb.server.recomputation import Recomputation, Report
from lb.server.renewal import renewal
from lb.state.job import VERSION, decode, encode
from lb.wire import il
from tests.server.fixture import OWNER, Server
from tests.server.test_ingest import JOB, registration, running
from tests.server.test_parents import done, named, subjobs


class Checking(SynchronousTestCase):
    """A collection of three, of which one runs; what is changed behind the server's back."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.server = Server(self.directory)
        self.addCleanup(lambda: self.server.close())
        self.first, *_ = subjobs(count=3)
        self.server.send_all([registration(jobtype="COLLECTION", nsubjobs=3), running(1, job=self.first)])

    def _recompute(self, *, repair: bool = False) -> Report:
        """With nothing in memory but what is stored."""
        self.server.close()
        self.server = Server(self.directory)
        return Recomputation(self.server.writer, self.server.ingest)(repair=repair)

    def _rewrite(self, job: str, old: str, new: str) -> None:
        """Damage a stored state."""
        with sqlite3.connect(self.directory / "lb.sqlite") as database:
            where = "WHERE unique_part = ?", (jobid.parse(job).unique,)
            ((status,),) = database.execute(f"SELECT status FROM jobs {where[0]}", where[1])
            self.assertIn(old, status.decode())
            changed = status.decode().replace(old, new).encode()
            database.execute(f"UPDATE jobs SET status = ? {where[0]}", (changed, *where[1]))
        database.close()

    def test_sound(self) -> None:
        """A store that nobody has touched is found so, in slices of any size."""
        self.assertEqual(self._recompute(), Report(4, None, []))
        recomputation = Recomputation(self.server.writer, self.server.ingest)
        checked, after = 0, 0
        while (report := recomputation(after, 2)).last is not None:
            checked, after = checked + report.checked, report.last
        self.assertEqual(checked + report.checked, 4)

    def test_damaged(self) -> None:
        """What differs is told by name; checking leaves it, repairing brings it right, also the parent's counts."""
        self._rewrite(self.first, '"ce_node":"wn1"', '"ce_node":"wn2"')
        self._rewrite(JOB, "[0,0,0,0,0,1,0,0,0,0,2,0]", "[0,0,0,0,0,0,0,0,0,0,3,0]")
        expected = [(JOB, ["children_hist"]), (self.first, ["ce_node"])]
        for repair in (False, True):
            self.assertEqual(sorted(map(tuple, self._recompute(repair=repair).differing)), sorted(expected))
        self.assertEqual(self._recompute().differing, [])
        self.assertEqual(self.server.status(self.first).ce_node, "wn1")
        self.assertEqual(named(self.server.status(JOB, "childhist_fast").children_hist), {"Running": 1, "Unknown": 2})

    def test_class_changes(self) -> None:
        """S8: a subjob whose class changes by its repair moves its parent."""
        self._rewrite(self.first, '"state":5', '"state":3')
        self._rewrite(self.first, '"counted":5', '"counted":10')
        self._rewrite(JOB, "[0,0,0,0,0,1,0,0,0,0,2,0]", "[0,0,0,0,0,0,0,0,0,0,3,0]")
        self._rewrite(JOB, '"state":5', '"state":2')
        self._recompute(repair=True)
        self.assertEqual(self.server.status(JOB).state, State.Running)
        self.assertEqual(self._recompute().differing, [])

    def test_after_an_upgrade(self) -> None:
        """P9: states of older rules are right in every answer at once, and stored anew with the job's next event."""
        self._rewrite(self.first, f'"version":{VERSION},', "")
        self._rewrite(self.first, '"ce_node":"wn1"', '"ce_node":"as it was then"')
        self.server.close()
        self.server = Server(self.directory)
        self.server.reader.close()
        self.server.reader = self.server.store.reader(renewal())
        self.server.lookup = Lookup(self.server.reader, lambda: self.server.policy, "salt")
        self.assertEqual(self.server.status(self.first).ce_node, "wn1")
        self.server.send(done(2, job=self.first))
        row = self.server.writer.load([jobid.parse(self.first).unique])[jobid.parse(self.first).unique]
        self.assertEqual((row.state.hidden.version, row.state.status.ce_node), (VERSION, "wn1"))

    def test_cannot_be_made(self) -> None:
        """A state that the present rules cannot make is told, stays as it was, and stops nothing (P5)."""
        with sqlite3.connect(self.directory / "lb.sqlite") as database:
            broken = b'DG.EVNT="Nonsense"', b'DG.EVNT="Running"'
            database.execute("UPDATE events SET line = ? WHERE instr(line, ?)", broken)
        database.close()
        ((job, (error,)),) = self._recompute(repair=True).differing[:1]
        self.assertEqual((job, self.server.status(self.first).state), (self.first, State.Running))
        self.assertIn("event type", error)
        self._rewrite(self.first, f'"version":{VERSION},', "")
        self.server.close()
        self.server = Server(self.directory)
        self.assertEqual(self.server.send(done(2, job=self.first)), il.OK)

    def test_fqans(self) -> None:
        """S9: the FQANs of who registered a job are in its state, and stay there."""
        member = Identity(OWNER.name, ("/vo/Role=x",))
        job = "https://localhost:9000/member"
        self.server.send_all([registration(job=job)], member)
        self.server.send(running(1, job=job))
        self._recompute(repair=True)
        self.assertEqual(self.server.status(job).user_fqans, ["/vo/Role=x"])

    def test_forms(self) -> None:
        """The stored form names its version, as the rewriting above relies on."""
        row = self.server.writer.load([jobid.parse(self.first).unique])[jobid.parse(self.first).unique]
        stored = encode(row.state)
        self.assertEqual(msgspec.json.decode(stored)[1]["version"], VERSION)
        self.assertEqual(encode(decode(stored)), stored)
