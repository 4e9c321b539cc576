"""Surprises of the C server that show in a server only, by number (state-machine.md §18)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.query import Flag
from lb.model.status import State
from lb.security.policy import Action, Policy
from lb.server.collector import Collector
from lb.server.ingest import Submission
from lb.server.recomputation import Recomputation
from lb.server.tally import Tally
from lb.store.interface import Link
from lb.wire import il
from tests.server.fixture import OTHER, OWNER, Server, events_json
from tests.server.test_connections import MACHINE, connect
from tests.server.test_ingest import JOB, line, registration, running
from tests.server.test_parents import done, subjobs


class Surprises(SynchronousTestCase):
    """One test a number."""

    def _server(self, policy: Policy | None = None, **options: Any) -> Server:
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory, policy, **options)
        self.addCleanup(server.close)
        return server

    def test_s3(self) -> None:
        """S3: REGISTER_FOREIGN permits what it says; without it a registration comes from who is named in it."""
        policy = Policy.open().permitting(str(OTHER.name), Action.REGISTER_FOREIGN)
        server = self._server(policy)
        self.assertEqual(server.send(registration(), OTHER), il.OK)
        self.assertEqual(server.status(JOB).owner, OWNER.name)
        early = "https://localhost:9000/early"
        self.assertEqual(server.send(running(1, job=early), OWNER).text, "job not registered")
        self.assertEqual(server.send(running(1, job=early), OTHER), il.OK)
        foreign = registration(job=early, user=OTHER.name)
        self.assertEqual(server.send(foreign, OWNER).text, "job registration must go directly")
        self.assertEqual(server.send(registration(job=early), OWNER), il.OK)
        self.assertEqual(server.status(early).state, State.Running)

    def test_s33(self) -> None:
        """S33: the ACL of a job is at hand wherever its states are told."""
        server = self._server()
        attributes = (
            f'DG.CHANGEACL.USER_ID="{OTHER.name}" DG.CHANGEACL.USER_ID_TYPE="DN" DG.CHANGEACL.PERMISSION="READ" '
            'DG.CHANGEACL.PERMISSION_TYPE="ALLOW" DG.CHANGEACL.OPERATION="ADD" '
        )
        server.send_all([registration(), line("ChangeACL", attributes, number=1, source="UserInterface")])
        self.assertEqual(server.status(JOB, peer=OTHER).state, State.Submitted)
        row = server.writer.load([jobid.parse(JOB).unique])[jobid.parse(JOB).unique]
        self.assertIn("Other", row.acl or "")

    def test_s34(self) -> None:
        """S34: the history of a job without events is an empty list."""
        server = self._server()
        server.send(registration(jobtype="COLLECTION", nsubjobs=2))
        child = jobid.parse(subjobs(count=2)[0]).unique
        status = server.lookup.status(OWNER, child, Flag.HISTORY)
        self.assertIsNotNone(status.history)
        self.assertEqual(events_json(status.history), [])

    def test_s50(self) -> None:
        """S50: a state made anew is no change of state: connections of a finished job that were made since stay."""
        server = self._server()
        server.send_all([registration(), registration(job=MACHINE, jobtype="VIRTUAL_MACHINE"), running(1), done(2)])
        server.send(connect(3))
        row = server.writer.load([jobid.parse(JOB).unique])[jobid.parse(JOB).unique]
        row.state.status.state = State.Waiting
        server.writer.write([row], [])
        report = Recomputation(server.writer, server.ingest)(repair=True)
        self.assertEqual([each.attributes for each in report.differing], [["state"]])
        self.assertEqual(server.status(JOB).state, State.Done)
        self.assertEqual([each.status for each in server.reader.connections(row.key)], [Link.ACTIVE])

    def test_s53(self) -> None:
        """S53: each event is counted once, when it comes; states that are made anew count nothing."""
        server = self._server()

        def at_once(function: Any, submissions: Any) -> Deferred[Any]:
            return succeed(function(submissions))

        answered: list[int] = []

        class Counting(Tally):
            def answered(self, replies: Sequence[il.Reply]) -> None:
                answered.append(len(replies))

        collector = Collector(server.ingest, at_once, tally=Counting())
        lines = [registration(), running(1)]
        self.successResultOf(collector.submit([Submission(each.encode(), OWNER) for each in lines]))
        Recomputation(server.writer, server.ingest)(repair=True)
        self.assertEqual(answered, [2])
