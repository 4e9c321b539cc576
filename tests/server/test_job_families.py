"""Jobs of described families through a server: registered, logged and queried as all others."""

from __future__ import annotations

import errno
from pathlib import Path

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from lb.families.occurrence import Occurrence, Origin
from lb.model.errors import LBError
from lb.model.query import Attribute, Condition, Operator, Query, log_of_job, own_jobs
from lb.model.status import JobType, State
from lb.server.options import Options
from lb.wire import il, ulm
from lb.wire.lbxml import status as document
from tests.server.fixture import OTHER, OWNER, Server
from tests.state.generic_jobs import OVEN

assert OWNER.name is not None
SLURM = Origin("slurm", "cluster.ex", "localhost:9000", OWNER.name)
JOB = SLURM.job("123")

RUN = [
    Occurrence("123", "submit", 1_000_000, 1, {"job_id": "123", "partition": "long"}),
    Occurrence("123", "start", 2_000_000, 2, {"nodes": "n1"}),
    Occurrence("123", "end", 3_000_000, 3, {"observed": "OUT_OF_MEMORY", "exit_code": 0, "signal": 125}),
]


class Families(SynchronousTestCase):
    """A server with the shipped families, and one with a site's own."""

    def _server(self, *given: str) -> Server:
        directory = Path(self.mktemp())
        directory.mkdir()
        options = Options()
        options.parseOptions(list(given))
        server = Server(directory, families=options.read_families())
        self.addCleanup(server.close)
        return server

    def _lines(self, occurrences: list[Occurrence]) -> list[bytes]:
        return [ulm.write(event) for event in SLURM.events(occurrences)]

    def _count(self, server: Server, condition: Condition) -> int:
        """How many of the owner's jobs meet a condition; none is an error of the protocol."""
        try:
            return len(server.lookup.jobs(OWNER, Query(jobs=(*own_jobs().jobs, (condition,)))).jobs)
        except LBError as error:
            self.assertEqual(error.code, errno.ENOENT)
            return 0

    def test_status(self) -> None:
        """A job of a shipped family is shown to old clients in the nearest state, with the exact one as a tag."""
        server = self._server()
        self.assertEqual(server.send_all(self._lines(RUN)), [il.OK] * 4)
        status = document.read(document.write(server.status(str(JOB))))
        self.assertEqual((status.state, status.jobtype), (State.Aborted, JobType.SIMPLE))
        self.assertEqual((status.reason, status.localId, status.ce_node), ("OUT_OF_MEMORY", "123", "n1"))
        tags = dict(status.user_tags or ())
        self.assertEqual((tags["slurm.state"], tags["slurm.signal"]), ("OUT_OF_MEMORY", "125"))

    def test_line_by_line(self) -> None:
        """P3, P4: the same lines one by one, in another order and twice, make the same state."""
        server, other = self._server(), self._server()
        lines = self._lines(RUN)
        server.send_all(lines)
        for line in (lines[0], *reversed(lines[1:]), *lines):
            self.assertEqual(other.send(line), il.OK)
        self.assertEqual(other.status(str(JOB)), server.status(str(JOB)))

    def test_queries(self) -> None:
        """Such jobs are found by the exact state, the family and the attributes; their events come as they were."""
        server = self._server()
        server.send_all(self._lines(RUN))
        for attribute, name, value, found in (
            (Attribute.USERTAG, "slurm.state", "OUT_OF_MEMORY", 1),
            (Attribute.USERTAG, "slurm.state", "RUNNING", 0),
            (Attribute.NETWORK_SERVER, None, "family:slurm@cluster.ex", 1),
            (Attribute.DESTINATION, None, "long", 1),
            (Attribute.STATUS, None, int(State.Aborted), 1),
        ):
            self.assertEqual(self._count(server, Condition(attribute, Operator.EQUAL, value, name=name)), found)
        events = server.lookup.events(OWNER, log_of_job(JOB, 99)).events
        self.assertEqual([event.text("name") for event in events], [None, "slurm.submit", "slurm.start", "slurm.end"])

    def test_authorisation(self) -> None:
        """P7: who is not the owner moves no job of a family."""
        server = self._server()
        lines = self._lines(RUN)
        server.send_all(lines[:2])
        assert OTHER.name is not None
        foreign = Origin("slurm", "cluster.ex", "localhost:9000", OTHER.name)
        self.assertEqual(server.send(ulm.write(foreign.event(RUN[1])), OTHER).major, il.Major.PERM)
        self.assertEqual(server.status(str(JOB)).state, State.Waiting)

    def test_own_families(self) -> None:
        """A site's families come from the directory of --families, beside the shipped ones."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "oven.toml").write_text(OVEN)
        server = self._server("--families", str(directory))
        oven = Origin("oven", "kitchen", "localhost:9000", SLURM.user)
        events = [*oven.events([Occurrence("1", "heat", 1_000_000, 1, {"degrees": 180})]), *SLURM.events(RUN)]
        self.assertEqual(set(server.send_all([ulm.write(event) for event in events])), {il.OK})
        self.assertEqual(dict(server.status(str(oven.job("1"))).user_tags or ())["oven.state"], "HOT")
        self.assertEqual(server.status(str(JOB)).state, State.Aborted)

    def test_unusable(self) -> None:
        """A server does not start with a description that is wrong, and says what is."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "oven.toml").write_text(OVEN.replace('to = "BREAD"', 'to = "BRAED"'))
        options = Options()
        options.parseOptions(["--families", str(directory)])
        error = self.assertRaises(usage.UsageError, options.read_families)
        self.assertIn("oven.toml: transitions[4].to: no state 'BRAED'; did you mean 'BREAD'?", str(error))
