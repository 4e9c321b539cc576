"""What scripts written for the C commands take apart: --compat of lb status, jobs and events (spec: cli.md §2)."""

from __future__ import annotations

import re

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.client.cli.compat import failure, ids_list, jobs_list, status_block
from lb.model.errors import LBError
from lb.model.query import Attribute
from lb.model.status import JobStatus, JobType, State
from lb.wire import http, ulm
from lb.wire.lbxml import requests, results
from tests.client.recorded import received
from tests.client.site import Server
from tests.client.test_cli import Outcome, lb

JOB = "https://lb:9000/one"


def recorded_job(name: str) -> JobStatus:
    """The state in a recorded answer."""
    (response,) = http.ResponseReader().feed(received(name))
    status = results.read_jobs(response.body).jobs[0].status
    assert status is not None
    return status


def said(block: str) -> dict[str, str]:
    """The lines of a block that name a value."""
    return dict(line.split(" : ", 1) for line in block.splitlines() if re.match(r"[\w ]+ : ", line))


class FormTests(SynchronousTestCase):
    """States and lists, as they are written."""

    def test_recorded(self) -> None:
        """The state that a C server answered, line by line: order, labels, and what is said of what is not known."""
        block = status_block(recorded_job("03-job_status"))
        lines = block.split("\n")
        self.assertEqual(
            lines[:15],
            [
                "",
                "state : Waiting",
                "jobId : https://localhost:9000/msw8BK0qi8up4XWiw6utvA",
                "owner : /C=CZ/O=LB Reference Test/CN=Test User",
                "payload_owner : (null)",
                "jobtype : Simple",
                "parent_job : (null)",
                "condorId : (null)",
                "globusId : (null)",
                "localId : (null)",
                "jdl : blabla",
                "matched_jdl : (null)",
                "destination : (null)",
                "network server : NS",
                "condor_jdl : (null)",
            ],
        )
        facts = said(block)
        self.assertEqual(facts["stateEnterTime"], "1795417861.799717")
        self.assertEqual((facts["done_code"], facts["exit_code"], facts["resubmitted"]), ("(null)", "0", "0"))
        self.assertRegex(block, r"\n {5}Submitted  \w{3} \w{3} +\d+ [\d:]+ 2026\n")
        self.assertIn("\n          Done     - not available -\n", block)
        names = [re.split(" :", line)[0] for line in lines if re.match(r"\w[\w ]* :", line)]
        self.assertEqual(names[-5:], ["osb_transfer", "ft_compute_job", "ft_sandbox_type", "ft_src", "ft_dest"])

    def test_matched_lines(self) -> None:
        """The lines that the original tests look for."""
        cases = (
            (JobStatus(state=State.Done, done_code=1), "done_code : DONE_CODE_FAILED"),
            (JobStatus(state=State.Done, done_code=0), "done_code : DONE_CODE_OK"),
            (JobStatus(state=State.Done, done_code=2), "done_code : DONE_CODE_CANCELLED"),
            (JobStatus(suspended=True), "suspended : 1"),
            (JobStatus(), "suspended : 0"),
            (JobStatus(state=State.Submitted), "state : Submitted"),
            (JobStatus(payload_owner="/CN=B"), "payload_owner : /CN=B"),
            (JobStatus(jobtype=JobType.CREAM, cream_state=2), "cream_state : idle"),
            (JobStatus(jobtype=JobType.CREAM, cream_state=4), "cream_state : really-running"),
            (JobStatus(jobtype=JobType.VIRTUAL_MACHINE, vm_state=1), "vm_state : boot"),
            (JobStatus(jobtype=JobType.PBS, pbs_state="Q"), "pbs_state : Q"),
            (JobStatus(isb_transfer=JOB), f"isb_transfer : {JOB}"),
            (JobStatus(user_tags=[("colour", "blue")]), '         colour = "blue"'),
            (JobStatus(access_rights="READ:\n\tallowed: dn:/CN=B\n"), "\tallowed: dn:/CN=B"),
            (JobStatus(possible_destinations=["ce1", "ce2"]), "\tce2"),
        )
        for status, line in cases:
            self.assertIn(line, status_block(status).splitlines())
        self.assertNotIn("cream_state", status_block(JobStatus(jobtype=JobType.PBS, pbs_state="Q")))

    def test_children(self) -> None:
        """Children of a parent are named, counted if asked for, and shown as the same block behind a tab."""
        child = JobStatus(state=State.Running, jobId=f"{JOB}a", jobtype=JobType.SIMPLE)
        hist = [0] * len(State)
        hist[State.Running] = 1
        parent = JobStatus(
            state=State.Running,
            jobId=JOB,
            jobtype=JobType.DAG,
            children_num=1,
            children=[f"{JOB}a"],
            children_hist=hist,
            children_states=[child],
        )
        block = status_block(parent)
        self.assertIn(
            f"children_num : 1\nchildren :\n\tchildren : {JOB}a\nchildren_states :\n\tstate : Running\n", block
        )
        self.assertNotIn("condorId", re.sub(r"(?m)^\t.*$", "", block))
        self.assertNotIn("children_hist", block)
        self.assertIn("\nchildren_hist :\n", status_block(parent, histogram=True))
        self.assertIn("\n       Running  1\n", status_block(parent, histogram=True))

    def test_terminal(self) -> None:
        """What a server sent cannot act on the terminal; tabs and line ends stay as they were."""
        block = status_block(JobStatus(reason="a\tb\nc\x1b[2J\udce9"))
        self.assertIn("reason : a\tb\nc\\x1b[2J\ufffd\n", block)

    def test_lists(self) -> None:
        """Each job is a line, children stand below their parents, and all are counted."""
        jobs = [
            JobStatus(state=State.Done, jobId=f"{JOB}1", jobtype=JobType.SIMPLE, done_code=0),
            JobStatus(state=State.Waiting, jobId=f"{JOB}3", jobtype=JobType.SIMPLE, parent_job=f"{JOB}2"),
            JobStatus(state=State.Waiting, jobId=f"{JOB}2", jobtype=JobType.DAG),
            JobStatus(state=State.Submitted, jobId=f"{JOB}4", jobtype=JobType.COLLECTION),
            JobStatus(state=State.Running, jobId=f"{JOB}5", jobtype=JobType.SIMPLE, parent_job="https://lb:9000/x"),
        ]
        self.assertEqual(
            jobs_list(jobs),
            f"      {JOB}1 .... Done DONE_CODE_OK\n"
            f"DAG   {JOB}2 .... Waiting \n"
            f" `-       {JOB}3 .... Waiting \n"
            f"COLL  {JOB}4 .... Submitted \n"
            f"      {JOB}5 .... Running \n"
            "\nFound 5 jobs\n",
        )
        self.assertEqual(jobs_list(()), "\nFound 0 jobs\n")
        self.assertEqual(ids_list([f"{JOB}1", f"{JOB}2"]), f"\t{JOB}1\n\t{JOB}2\n\nFound 2 jobs\n")

    def test_failures(self) -> None:
        """The errors that a C server answered, in the words that the original tests look for."""
        for name, line in (
            ("12-job_status-nonexistent", "No such file or directory (no matching jobs found)"),
            ("41c-job_status-purged", "Identifier removed (matching job already purged)"),
        ):
            (response,) = http.ResponseReader().feed(received(name))
            error = results.read_jobs(response.body).error
            assert error is not None
            self.assertEqual(failure("p", "edg_wll_JobStatus", error), f"p: edg_wll_JobStatus: {line}\n")
        self.assertEqual(failure("p", "c", LBError(1, "no\nway")), "p: c: Operation not permitted (no way)\n")


class CommandTests(TestCase):
    """The commands against a site behind real ports."""

    def setUp(self) -> None:
        self.server = Server(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))

    def lb(self, *arguments: str) -> Deferred[Outcome]:
        return deferToThread(lb, *arguments, environ=self.server.environ)

    async def test_status(self) -> None:
        """A state is a block; what fails is told in the words of the C library, and by the exit code."""
        job = (await self.lb("register", "--json")).json["jobId"]
        nowhere = f"https://{self.server.address}/nowhere"
        outcome = await self.lb("status", "--compat", nowhere, job)
        self.assertEqual(outcome.code, 1)
        self.assertTrue(outcome.stdout.startswith(f"\nstate : Submitted\njobId : {job}\n"))
        self.assertRegex(outcome.stderr, r"\Alb status: edg_wll_JobStatus: No such file or directory \([^\n]*\)\n\Z")
        (*_, asked) = self.server.query.messages
        self.assertIn(b"classadd+children+childstat", asked.body)

    async def test_jobs(self) -> None:
        """Own jobs are listed with states or as ids; having none is no failure."""
        self.assertEqual((await self.lb("jobs", "--compat")).stdout, "\nFound 0 jobs\n")
        job = (await self.lb("register", "--json")).json["jobId"]
        self.assertEqual((await self.lb("jobs", "--compat")).stdout, f"      {job} .... Submitted \n\nFound 1 jobs\n")
        self.assertEqual((await self.lb("jobs", "--compat", "-n")).stdout, f"\t{job}\n\nFound 1 jobs\n")
        self.assertEqual((await self.lb("jobs", "-n")).stdout, f"{job}\n")
        self.assertEqual((await self.lb("jobs", "-n", "--json")).json, [job])

    async def test_owner(self) -> None:
        """Jobs of the asker are asked for without a name, those of another owner by it."""
        for arguments in ((), ("--owner", "/CN=B"), ("-n", "-o", "/CN=C")):
            self.assertEqual((await self.lb("jobs", *arguments)).code, 0)
        asked = [requests.read_jobs(each.body).jobs[0][0] for each in self.server.query.messages]
        self.assertEqual([each.attribute for each in asked], [Attribute.OWNER] * 3)
        self.assertEqual([each.value for each in asked], [None, "/CN=B", "/CN=C"])

    async def test_events(self) -> None:
        """Events are lines that read back, an empty line, and their number; a job without any is a failure."""
        job = (await self.lb("register", "--json")).json["jobId"]
        shown = (await self.lb("events", "--compat", job)).stdout
        line, empty, end = shown.splitlines()
        self.assertEqual((ulm.parse(line.encode()).type.name, empty, end), ("RegJob", "", "Found 1 events"))
        outcome = await self.lb("events", "--compat", f"https://{self.server.address}/nowhere")
        self.assertEqual((outcome.code, outcome.stdout), (1, ""))
        self.assertIn("lb events: edg_wll_JobLog: No such file or directory (", outcome.stderr)

    async def test_one_form(self) -> None:
        """Two forms at once are a mistake of usage."""
        for command in (("status", JOB), ("events", JOB), ("jobs",)):
            outcome = await self.lb(*command, "--compat", "--json")
            self.assertEqual((outcome.code, outcome.stdout), (2, ""))
