"""Recorded messages of producers and interloggers: answered byte for byte, or as this server must differ."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.model.jobid import parse
from lb.wire import il
from tests.server.administered import Administered
from tests.server.fixture import PEERS, Server
from tests.server.test_ingest import registration
from tests.server.test_vectors import answered_otherwise, same_reply
from tests.state.replay import Case, cases
from tests.wire import recorded

_PURGED = "https://localhost:9000/dWWmwBH2fGB36R5nnnPW0Q"
#: Registered by a producer whose messages were not recorded.
_ELSEWHERE = "https://localhost:9000/7Sa4r2IS-QhYp-leSxbvyA"
#: By direct producers, the last one of an id that was purged.
_REGISTRATIONS = (
    "01-job_reg.00.out.bin",
    "10-job_reg-dag.00.out.bin",
    "15-job_reg-again.00.out.bin",
    "15b-job_reg-again-exclusive.00.out.bin",
    "41e-job_reg-purged.00.out.bin",
)
#: The interlogger lost its connection after the first of these, and sent the event again; the other was not answered.
_REPEATED, _LAST = "interlogd.14.out.bin", "interlogd.23.out.bin"


class StorePort(SynchronousTestCase):
    """A server without sockets."""

    def test_replies(self) -> None:
        """New jobs, a job again, an id in use, an id that was purged; events, subjobs, an event that comes twice."""
        lb = Administered(Path(self.mktemp()))
        self.addCleanup(lb.close)
        for job in _PURGED, _ELSEWHERE:
            self.assertEqual(lb.server.send(registration(job=job)), il.OK)
        lb.purge(jobs=(parse(_PURGED),))
        sent = [name for name in recorded.starting("interlogd") if ".out." in name]
        for name in (*_REGISTRATIONS, *sorted(sent)):
            (frame,) = il.FrameReader().feed(recorded.files()[name])
            ours = il.write_reply(lb.server.send(il.read_line(frame)))
            if name in (_REPEATED, _LAST):
                self.assertEqual(ours, il.write_reply(il.OK), name)
                continue
            place = name.split(".")[1]
            answer = name.replace(f".{place}.out", f".{int(place) + 1:02}.in")
            self.assertEqual(ours, recorded.files()[answer], name)


class RequiredDifferences(SynchronousTestCase):
    """The two recorded cases that `tests.server.test_vectors` leaves out."""

    def _played(self, id_: str) -> list[str]:
        """What differs, a line a reply or an attribute."""
        (case,) = (each for each in cases(id_.partition("-")[0]) if each["id"] == id_)
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory)
        self.addCleanup(server.close)
        return [line for step in case["steps"] for line in self._step(server, case, step)]

    def _step(self, server: Server, case: Case, step: Case) -> list[str]:
        wrong = []
        if "send" in step:
            reply = server.send(step["send"], PEERS[step.get("as", "owner")])
            if not same_reply(step["reply"], reply, step["send"]):
                wrong.append(f"reply: {reply.major} {reply.text}")
        return wrong + [line for query in step.get("query", []) for line in answered_otherwise(server, case, query)]

    def test_owner(self) -> None:
        """security.md §18, 1: whom the access list lets read may not change it, though the event names a daemon."""
        reply, *attributes = self._played("registration-029")
        self.assertEqual(reply, "reply: 600 check_auth()")
        self.assertEqual({line.partition(":")[0] for line in attributes}, {"acl", "access_rights"})
        self.assertNotIn("/CN=z", "".join(line.partition(", ours ")[2] for line in attributes))

    def test_groups(self) -> None:
        """security.md §18, 7: an entry for a group is one for the VOMS attribute of that group."""
        attributes = self._played("examples-036")
        self.assertEqual({line.partition(":")[0] for line in attributes}, {"acl", "access_rights"})
        for line in attributes:
            self.assertIn("fqan:/vo/group", line.partition(", ours ")[2])
