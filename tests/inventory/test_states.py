"""What the original tests do with jobs, line by line of their scripts, to a server without sockets."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lb.model import jobid
from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.query import NO_FLAGS, Attribute, Condition, Flag, Operator, Query
from lb.model.status import BY_NAME, JobStatus, JobType, State
from lb.security.identity import Identity
from lb.wire import il
from tests.inventory.script import DONE, LIFE, READY, Script
from tests.server.administered import NOW, Administered
from tests.server.fixture import OWNER

BEGIN = NOW - 10_000


class Scripts(SynchronousTestCase):
    """A server, and scripts of its jobs' owner."""

    def setUp(self) -> None:
        self.lb = self.server()
        self.script = Script(self.send, BEGIN)

    def server(self, **options: Any) -> Administered:
        """A server of its own."""
        made = Administered(Path(self.mktemp()), **options)
        self.addCleanup(made.close)
        return made

    def send(self, line: bytes) -> None:
        """Have a line stored."""
        self.assertEqual(self.lb.server.send(line), il.OK)

    def status(self, job: JobId, peer: Identity = OWNER, flags: str = "classadd+children") -> JobStatus:
        """What is answered of a job."""
        return self.lb.server.status(str(job), flags, peer)

    def state(self, job: JobId) -> str:
        """The name of a job's state."""
        return State(self.status(job).state).name

    def code(self, job: JobId, peer: Identity = OWNER) -> int:
        """The error of a question about a job, 0 when there is none."""
        try:
            self.status(job, peer)
        except LBError as error:
            return error.code
        return 0

    def found(self, *conditions: Condition) -> list[JobId]:
        """The jobs for which all conditions hold."""
        query = Query(jobs=tuple((each,) for each in conditions), flags=NO_FLAGS | Flag.NO_STATES)
        try:
            return [jobid.parse(str(each.jobId)) for each in self.lb.server.lookup.jobs(OWNER, query).jobs]
        except LBError as error:
            self.assertEqual(error.code, errno.ENOENT)
            return []

    def by_type(self, job: JobId, jobtype: JobType) -> tuple[list[JobId], list[JobId]]:
        """Who is found by a type, and by any other, beside a condition that spares them the index."""
        elsewhere = Condition(Attribute.JOBID, Operator.UNEQUAL, job)
        equal, unequal = (
            self.found(Condition(Attribute.JOB_TYPE, operator, int(jobtype)), elsewhere)
            for operator in (Operator.EQUAL, Operator.UNEQUAL)
        )
        return equal, unequal


class Simple(Scripts):
    """Jobs that workload managers run."""

    def test_registration(self) -> None:
        """lb-test-job-registration 2 to 5: Submitted at once; again is stored, again as a new one is refused."""
        job = self.script.register()
        self.assertEqual(self.state(job), "Submitted")
        self.script.register(job=job)
        self.assertEqual(len(self.lb.server.lookup.events_of(OWNER, job.unique)), 2)
        lines: list[bytes] = []
        Script(lines.append, BEGIN + 10).register(job=job, exclusive=True)
        self.assertEqual(self.lb.server.send(lines[0]).minor, errno.EEXIST)
        self.assertEqual(len(self.lb.server.lookup.events_of(OWNER, job.unique)), 2)

    def test_states(self) -> None:
        """lb-test-job-states 1 and 2: a job with a description is Submitted; each event leads to its state."""
        job = self.script.register()
        self.assertEqual(self.state(job), "Submitted")
        for source, name, given, state in LIFE:
            self.script.log(job, source, name, **given)
            self.assertEqual(self.state(job), state, name)

    def test_found(self) -> None:
        """lb-test-job-states 3 to 6: by time of change, time of state, the last description, and type; or not."""
        job = self.script.register(jdl='[ VirtualOrganisation = "none"; ]')
        other = self.script.register()
        self.script.live(job, len(LIFE))
        elsewhere = Condition(Attribute.JOBID, Operator.UNEQUAL, other)
        for attribute in Attribute.LASTUPDATETIME, Attribute.STATEENTERTIME:
            during = Condition(attribute, Operator.WITHIN, BEGIN, NOW)
            before = Condition(attribute, Operator.LESS, BEGIN)
            self.assertEqual((self.found(during, elsewhere), self.found(before, elsewhere)), ([job], []))
        for operator, wanted in ((Operator.EQUAL, [job]), (Operator.UNEQUAL, [])):
            described = Condition(Attribute.JDL_ATTR, operator, "VOCE", name="VirtualOrganisation")
            self.assertEqual(self.found(described, elsewhere), wanted)
        self.assertEqual(self.by_type(other, JobType.SIMPLE), ([job], []))

    def test_collections(self) -> None:
        """lb-test-collections 1 and 2: registered without its subjobs, it has five, found by their parent alone."""
        parent = self.script.register("COLLECTION", subjobs=5)
        found = self.found(Condition(Attribute.PARENT, Operator.EQUAL, parent))
        self.assertEqual(set(found), set(jobid.subjobs(parent, 5)))

    def test_delivery(self) -> None:
        """lb-test-event-delivery: Ready, Done; of subjobs Ready and Done Waiting is made, of two Cleared; purged."""
        job = self.script.register()
        self.script.live(job, READY)
        self.assertEqual(self.state(job), "Ready")
        self.script.live(job, DONE, READY)
        self.assertEqual(self.state(job), "Done")
        parent = self.script.register("COLLECTION", subjobs=2)
        first, second = jobid.subjobs(parent, 2)
        for each in first, second:
            self.script.register(job=each, parent=parent, jdl="[ b = 2 ]")
            events = self.lb.server.lookup.events_of(OWNER, each.unique)
            self.assertEqual([event.type.name for event in events], ["RegJob"])
            self.assertEqual(self.status(each).jdl, "[ b = 2 ]")
        self.script.live(first, READY)
        self.script.live(second, DONE)
        states = [self.state(each) for each in (first, second, parent)]
        self.assertEqual(states, ["Ready", "Done", "Waiting"])
        self.script.live(first, len(LIFE), READY)
        self.script.live(second, len(LIFE), DONE)
        self.assertEqual([self.state(each) for each in (first, second, parent)], ["Cleared"] * 3)
        self.lb.purge(jobs=(parent,))
        self.assertEqual({self.code(each) for each in (first, second, parent)}, {errno.EIDRM})


class Cream(Scripts):
    """Jobs at CREAM."""

    CREAM_STATES = BY_NAME["cream_state"].codes

    def _status(self, job: JobId, result: str, state: str) -> None:
        self.script.log(job, "CREAMExecutor", "CREAMStatus", old_state="any", new_state=state, result=result)

    def _is(self, job: JobId, state: str, cream_state: str) -> None:
        status = self.status(job)
        number = self.CREAM_STATES[f"CREAM_{cream_state.upper()}"]
        self.assertEqual((State(status.state).name, status.cream_state), (state, number))

    def test_direct(self) -> None:
        """lb-test-cream 1 to 3: a job of CREAM itself, without codes: both states at each step; found by its type."""
        job = self.script.register("CREAM", source="CREAMExecutor")
        self._is(job, "Submitted", "registered")
        self.script.log(job, "CREAMInterface", "CREAMAccepted", local_jobid="CREAM1")
        self._is(job, "Submitted", "registered")
        for reported, state, cream_state in (
            ("Pending", "Waiting", "pending"),
            ("Idle", "Scheduled", "idle"),
            ("Running", "Running", "running"),
            ("Really-running", "Running", "really-running"),
            ("Done-ok", "Done", "done-ok"),
        ):
            for result in "ARRIVED", "DONE":
                self._status(job, result, reported)
            self._is(job, state, cream_state)
        other = self.script.register()
        self.assertEqual(self.by_type(other, JobType.CREAM), ([job], []))

    def test_through_workload_manager(self) -> None:
        """lb-test-cream 4 to 8: both states at each step; it is suspended and goes on; LogMonitor ends it."""
        job = self.script.register()
        self.script.live(job, 1)
        self.assertEqual(self.state(job), "Waiting")
        for source, name, given, state in LIFE[2:6]:
            self.script.log(job, source, name, **given)
            self.assertEqual(self.state(job), state)
        self.script.log(job, "CREAMInterface", "CREAMAccepted", local_jobid="CREAM1")
        self.assertEqual(self.state(job), "Waiting")

        def command(name: str) -> None:
            for result in "START", "OK":
                self.script.log(job, "CREAMInterface", "CREAMStore", command=name, result=result)

        def done(reported: str) -> None:
            for result in "ARRIVED", "DONE":
                self._status(job, result, reported)

        command("CMDSTART")
        self._is(job, "Waiting", "pending")
        done("Pending")
        self._is(job, "Waiting", "pending")
        for source, name, given, _ in LIFE[6:9]:
            self.script.log(job, source, name, **given)
            self._is(job, "Ready", "pending")
        done("Idle")
        self._is(job, "Scheduled", "idle")
        done("Running")
        self._is(job, "Running", "running")
        command("CMDSUSPEND")
        self._is(job, "Running", "running")
        self.assertTrue(self.status(job).suspended)
        for reported, state in (("Idle", "Scheduled"), ("Running", "Running")):
            done(reported)
            self._is(job, state, reported.lower())
            self.assertFalse(self.status(job).suspended)
        done("Really-running")
        self._is(job, "Running", "really-running")
        done("Done-ok")
        self._is(job, "Done", "done-ok")
        self.script.log(job, "LogMonitor", "Done", status_code="OK", exit_code=0)
        self._is(job, "Done", "done-ok")
        self.script.log(job, "LogMonitor", "Clear", reason="USER")
        self._is(job, "Cleared", "done-ok")


class Transfers(Scripts):
    """Sandboxes as jobs of their own."""

    def _sandbox(self, job: JobId, kind: str, subjobs: int = 0) -> JobId:
        """Register the transfer of a sandbox and tie it to its job: what `register_sandbox` does."""
        jobtype = "FILE_TRANSFER_COLLECTION" if subjobs else "FILE_TRANSFER"
        transfer = self.script.register(jobtype, source="LRMS", subjobs=subjobs)
        self.script.log(job, "LRMS", "Sandbox", sandbox_type=kind, transfer_job=str(transfer))
        for each in (transfer, *(jobid.subjobs(transfer, subjobs) if subjobs else ())):
            self.script.log(each, "LRMS", "Sandbox", sandbox_type=kind, compute_job=str(job))
        return transfer

    def _moves(self, transfer: JobId, result: str) -> None:
        self.script.log(transfer, "LRMS", "FileTransfer", result=result, reason="because")

    def _done_code(self, job: JobId) -> int:
        return self.status(job).done_code

    def test_simple(self) -> None:
        """lb-test-sandbox-transfer 1 to 6: transfers run, succeed or fail, know their job and it knows them."""
        job = self.script.register()
        self.assertEqual(self.state(job), "Submitted")
        inwards, outwards = (self._sandbox(job, kind) for kind in ("INPUT", "OUTPUT"))
        for transfer, result, code in ((inwards, "OK", 0), (outwards, "FAIL", 1)):
            self.assertEqual(self.state(transfer), "Submitted")
            self._moves(transfer, "START")
            self.assertEqual(self.state(transfer), "Running")
            self._moves(transfer, result)
            self.assertEqual((self.state(transfer), self._done_code(transfer)), ("Done", code))
            self.assertEqual(self.status(transfer).ft_compute_job, str(job))
        status = self.status(job)
        self.assertEqual((status.isb_transfer, status.osb_transfer), (str(inwards), str(outwards)))
        of_type, others = self.by_type(job, JobType.FILE_TRANSFER)
        self.assertEqual((set(of_type), others), ({inwards, outwards}, []))

    def test_collections(self) -> None:
        """lb-test-sandbox-transfer 7 to 15: of two transfers in one, step by step; purged, nothing is told of them."""
        job = self.script.register()
        parent = self._sandbox(job, "INPUT", 2)
        first, second = jobid.subjobs(parent, 2)
        self.assertEqual(self.status(job).isb_transfer, str(parent))
        for each in parent, first, second:
            self.assertEqual(self.status(each).ft_compute_job, str(job))
            self.assertEqual(self.state(each), "Submitted")
        for each in first, second:
            self.assertEqual(self.status(each).parent_job, str(parent))
            self.script.log(each, "LRMS", "FileTransferRegister", src="from", dest="to")
            self.assertEqual((self.status(each).ft_src, self.status(each).ft_dest), ("from", "to"))
        for transfer, result, states, code in (
            (second, "START", ("Running", "Running"), None),
            (second, "OK", ("Done", "Waiting"), 0),
            (first, "START", ("Running", "Running"), None),
            (first, "FAIL", ("Done", "Waiting"), 1),
            (first, "START", ("Running", "Running"), None),
            (first, "OK", ("Done", "Done"), 0),
        ):
            self._moves(transfer, result)
            self.assertEqual((self.state(transfer), self.state(parent)), states)
            if code is not None:
                self.assertEqual(self._done_code(transfer), code)
        self.assertEqual(self._done_code(parent), 0)
        self.lb.purge(jobs=(job, parent))
        self.assertEqual({self.code(each) for each in (job, parent, first)}, {errno.EIDRM})
