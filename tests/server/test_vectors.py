"""Recorded cases through the server's taking in and answering: replies and states as the C server gave them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import Priority
from lb.model.errors import LBError, ParseError
from lb.server.recomputation import Recomputation
from lb.state.job import encode
from lb.wire import ulm
from lb.wire.il import Major, Reply
from tests.server.fixture import PEERS, Server, events_json
from tests.state.compare import Object, as_object, differences
from tests.state.replay import Case, cases

#: Where this server must differ: rights are given away by the owner only, and group entries mean something
#: (security.md §18, 1 and 7).
_REQUIRED_DIFFERENCES = frozenset({"registration-029", "examples-036"})


def _direct(line: str) -> bool:
    try:
        return bool(ulm.parse(line.encode()).priority & Priority.DIRECT)
    except ParseError:
        return "DG.PRIORITY=16" in line


def same_reply(recorded: list[Any], reply: Reply, line: str) -> bool:
    """Whether a reply is the recorded one, within the freedoms of the recordings' README."""
    major, minor = recorded[:2]
    if (major, minor) == (reply.major, reply.minor):
        return True
    if minor in (1404, 1405):
        return reply.major == major and reply.minor in (1404, 1405)
    if major == Major.DBERR and minor in (17, 22) and not _direct(line):
        return (reply.major, reply.minor) in ((Major.PROTO, minor), (Major.PERM, 0))
    return False


def followed_cases(category: str) -> Iterator[Case]:
    """The cases of a category that this server has to follow; those about defects are told in `test_defects`."""
    for case in cases(category):
        if "defect" in case or case["id"] in _REQUIRED_DIFFERENCES:
            continue
        yield case


def takes_grey_jobs(case: Case) -> bool:
    """Whether a case was recorded with grey jobs enabled."""
    return "greyjobs" in case.get("needs", [])


def job_id(case: Case, number: int) -> str:
    """The id of a job of a case."""
    return f"https://localhost:9000/{case['jobs'][number]['unique']}"


def answered_otherwise(server: Server, case: Case, query: dict[str, Any]) -> list[str]:
    """How our answer to a recorded query differs from the recorded one, a line an attribute."""
    jobid = job_id(case, query["job"])
    flags = query.get("flags", case.get("flags", "classadd+children+childstat"))
    recorded = query["state"]
    try:
        ours = as_object(server.status(jobid, flags, PEERS[query.get("as", "owner")]))
    except LBError as error:
        return [] if recorded.get("error") in (error.code, 2) else [f"error {error}, recorded {recorded}"]
    if "error" in recorded:
        return [f"recorded error {recorded['error']}, ours a state"]
    return [*differences(recorded, ours, {*case.get("ignore", {}), "history"}), *other_history(recorded, ours)]


def other_history(recorded: Object, ours: Object) -> list[str]:
    """How the events of a job differ from the recorded ones, where those were recorded."""
    theirs = [event["type"] for event in recorded.get("history", [])]
    mine = [event["type"] for event in events_json(ours.get("history"))]
    return [f"history: recorded {theirs}, ours {mine}"] if "history" in recorded and theirs != mine else []


class RecordedCases(SynchronousTestCase):
    """P3 and the state machine, seen from outside."""

    def setUp(self) -> None:
        """No server yet."""
        self._servers: dict[bool, tuple[Server, set[str]]] = {}

    def _server_for(self, case: Case) -> Server:
        """A server that has not seen the jobs of a case; an earlier one when it has not."""
        grey_jobs = takes_grey_jobs(case)
        uniques = {job["unique"] for job in case["jobs"]}
        if grey_jobs not in self._servers or uniques & self._servers[grey_jobs][1]:
            directory = Path(self.mktemp())
            directory.mkdir()
            server = Server(directory, grey_jobs=grey_jobs)
            self.addCleanup(server.close)
            self._servers[grey_jobs] = server, set()
        server, seen = self._servers[grey_jobs]
        seen |= uniques
        return server

    def _play(self, case: Case) -> list[str]:
        server = self._server_for(case)
        wrong = []
        for number, step in enumerate(case["steps"]):
            peer = PEERS[step.get("as", "owner")]
            if "send" in step:
                reply = server.send(step["send"], peer)
                if not same_reply(step["reply"], reply, step["send"]):
                    wrong.append(f"{case['id']} step {number}: reply {step['reply']}, ours {reply}")
            for query in step.get("query", []):
                if "defect" in query:
                    continue
                wrong += [f"{case['id']} step {number}: {line}" for line in answered_otherwise(server, case, query)]
        return wrong

    def _play_all(self, category: str, at_least: int) -> None:
        wrong, played = [], 0
        for case in followed_cases(category):
            played += 1
            wrong += self._play(case)
        self.assertEqual("\n".join(wrong), "")
        self.assertGreaterEqual(played, at_least)
        for server, _ in self._servers.values():
            recomputed = Recomputation(server.writer, server.ingest)(most=100_000)
            self.assertEqual(recomputed.differing, [])

    def test_glite(self) -> None:
        """Random lives of simple jobs."""
        self._play_all("glite", 230)

    def test_registration(self) -> None:
        """Rules of registration, authorship and ACL, incomplete lines, grey jobs, a second user."""
        self._play_all("registration", 35)

    def test_examples(self) -> None:
        """The worked examples of the state machine chapter, and the classic sequences as they are meant (S51)."""
        self._play_all("examples", 37)

    def test_real(self) -> None:
        """Recorded streams: single jobs, DAGs, a collection of 100 jobs, in several orders (P4)."""
        self._play_all("real", 9)

    def test_collection(self) -> None:
        """Collections and DAGs, events of their subjobs interleaved: histogram, states and children of the parent."""
        self._play_all("collection", 39)

    def test_other_families(self) -> None:
        """CREAM, PBS and Condor jobs, file transfers and their collections, virtual machines."""
        for category, at_least in (("cream", 35), ("pbs", 35), ("condor", 27), ("transfer", 33), ("vm", 31)):
            self._play_all(category, at_least)


class Repeated(SynchronousTestCase):
    """P3: what comes again changes nothing."""

    def _states(self, category: str, times: int) -> list[bytes]:
        """Stored forms of all jobs of a category, each of whose lines came in `times` batches of `times`."""
        states = []
        for grey_jobs in (False, True):
            directory = Path(self.mktemp())
            directory.mkdir()
            server = Server(directory, grey_jobs=grey_jobs)
            self.addCleanup(server.close)
            for case in followed_cases(category):
                if takes_grey_jobs(case) is grey_jobs:
                    for step in case["steps"]:
                        for _ in range(times if "send" in step else 0):
                            server.send_all([step["send"]] * times, PEERS[step.get("as", "owner")])
            uniques = [unique for _, unique in server.writer.after(0, 100_000)]
            jobs = server.writer.load(uniques)
            states += [encode(jobs[unique].state) for unique in uniques]
        return states

    def test_duplicates(self) -> None:
        """Lines that come twice in one batch and twice in the next leave the states of lines that came once."""
        for category in ("collection", "registration", "transfer"):
            self.assertEqual(self._states(category, 2), self._states(category, 1))
