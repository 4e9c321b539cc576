"""Plain text for scripts: byte for byte as the C server wrote it, but with every value kept to its line."""

from __future__ import annotations

import os
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code, LBError
from lb.model.status import STATES, JobStatus, JobType, State
from lb.web import plain, rows
from lb.web.rows import Form
from tests.web.fixture import recorded

MICROSECONDS = 1_000_000
RECORDED_JOB = JobStatus(
    state=State.Running,
    jobId="https://localhost:9000/7Sa4r2IS-QhYp-leSxbvyA",
    jobtype=JobType.SIMPLE,
    jw_status=1,
    owner="/C=CZ/O=LB Reference Test/CN=Test User",
    condorId="new jobId (Condor  Globus ...)",
    reason="detailed description of transfer",
    stateEnterTime=1_795_417_891 * MICROSECONDS,
    lastUpdateTime=1_795_417_895 * MICROSECONDS,
    location="LRMS/worknode/worker node",
    destination="destination CE/queue",
    ce_node="worker node",
    acl='<?xml version="1.0"?><gacl version="0.9.0"><entry><cred><auri>dn:/C=CZ/O=LB+Reference+Test/CN=Other+User'
    "</auri></cred><allow><read/></allow></entry></gacl>",
    user_tags=[("mytag", 'my value with "quotes" and = and\nnewline')],
    possible_destinations=["destination CE/queue"],
    possible_ce_nodes=["worker node"],
    ui_host="sending component hostname",
    jdl="job description in receiver language",
    rsl="job description in receiver language",
)
#: Any text that may be stored, bytes that are no UTF-8 included.
TEXTS = st.text(max_size=30) | st.text(st.sampled_from('a"\\\n\r\t\0\x85\u2028=,\udc80'), max_size=12)
STORED = TEXTS.map(lambda text: text.encode("utf-8", "replace").decode("utf-8", "surrogateescape"))
NAMED_TEXTS = [row.attribute for row in rows.ROWS if row.form in (Form.TEXT, Form.JOB)] + ["jdl", "rsl", "history"]


def keys(text: str) -> list[str]:
    """The keys of all that any reader may take for a line."""
    return [line.partition("=")[0] for line in text.splitlines()]


def utc(test: SynchronousTestCase) -> None:
    """Put the clock's zone to that of the recordings for a test."""
    zone = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()

    def back() -> None:
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone
        time.tzset()

    test.addCleanup(back)


class Recorded(SynchronousTestCase):
    """The recorded answers."""

    def setUp(self) -> None:
        """The zone of the recordings."""
        utc(self)

    def test_job(self) -> None:
        """A job as recorded; only the value that broke its line there is escaped here (wire-web.md §5)."""
        _, response = recorded("60d-GET-job-text")
        broken = '"mytag=my value with "quotes" and = and\nnewline"'
        kept = r'"mytag=my value with \"quotes\" and = and\nnewline"'
        self.assertIn(broken, response.body.decode())
        self.assertEqual(plain.job(RECORDED_JOB), response.body.decode().replace(broken, kept))

    def test_jobs(self) -> None:
        """A list as recorded."""
        _, response = recorded("60b-GET-root-text")
        ids = response.body.decode().partition("=")[2].partition("\n")[0].split(",")
        self.assertEqual(len(ids), 11)
        subject = "/C=CZ/O=LB Reference Test/CN=Test User"
        jobs = [JobStatus(jobId=jobid) for jobid in ids]
        for cut in (11, 4):
            text = plain.jobs_begin(jobs[:cut]) + plain.jobs_next(jobs[cut:]) + plain.jobs_end(subject)
            self.assertEqual(text, response.body.decode())


class Rows(SynchronousTestCase):
    """Which rows there are, and how values are written."""

    def test_families(self) -> None:
        """Rows of a family are there for its jobs only, in the documented order (§5)."""
        beginning = {
            JobType.SIMPLE: ["jw_status"],
            JobType.DAG: ["seed", "children_num", "subjob_failed"],
            JobType.COLLECTION: ["seed", "children_num", "subjob_failed"],
            JobType.FILE_TRANSFER_COLLECTION: ["seed", "children_num", "subjob_failed"],
            JobType.CREAM: [
                *("CREAM_Status", "cream_endpoint", "cream_node", "cream_reason", "cream_lrms_id", "cream_node"),
                *("cream_cancelling", "cream_cpu_time", "cream_done_code", "cream_exit_code"),
            ],
            JobType.FILE_TRANSFER: ["compute_job", "sandbox_type", "ft_source", "ft_destination"],
            JobType.VIRTUAL_MACHINE: [
                *("vm_state", "vm_image", "vm_require", "vm_usage", "vm_hostname"),
                *("vm_machine", "vm_id", "vm_name", "vm_phy_hostname"),
            ],
            JobType.PBS: [
                *("pbs_state", "pbs_substate", "pbs_queue", "pbs_owner", "pbs_name", "pbs_reason"),
                *("pbs_scheduler", "pbs_dest_host", "pbs_pid", "pbs_exit_status", "pbs_error_desc"),
            ],
            JobType.CONDOR: [],
            JobType.UNREGISTERED: [],
        }
        before = ["Job", "cream_id", "parent_job", "Status", "job_type"]
        after = [
            *("VM_Status", "owner", "payload_owner", "condorId", "globusId", "localId", "reason"),
            *("stateEnterTime", "lastUpdateTime", "expectUpdate", "expectFrom", "location", "destination", "ce_node"),
            *("resubmitted", "cancelling", "cancelReason", "cpuTime", "done_code", "exit_code"),
            *("input_sandbox", "output_sandbox", "acl", "payload_running", "suspended", "suspend_reason"),
            *("failure_reasons", "remove_from_proxy", "ui_host", "history", "jdl", "rsl"),
        ]
        for kind, own in beginning.items():
            self.assertEqual(keys(plain.job(JobStatus(jobtype=kind))), [*before, *own, *after], kind)

    def test_values(self) -> None:
        """Numbers, codes, lists, pairs and the histogram in their forms; unknown types say so."""
        parent = JobStatus(jobtype=JobType.COLLECTION, children_num=3, children_hist=[0, 2, *[0] * (STATES - 3), 1])
        self.assertIn("\nchildren_hist=Undefined=0,Submitted=2,Waiting=0,", plain.job(parent))
        self.assertIn(",Unknown=0,Purged=1\n", plain.job(parent))
        self.assertIn("\nchildren_num=3\n", plain.job(parent))
        batch = JobStatus(jobtype=JobType.PBS, pbs_resource_usage=[("cput", "1"), ("mem", "2")], pbs_exit_status=-1)
        self.assertIn('\npbs_resource_usage="cput=1","mem=2"\n', plain.job(batch))
        self.assertIn("\npbs_exit_status=\n", plain.job(batch))
        transfer = JobStatus(jobtype=JobType.FILE_TRANSFER, ft_sandbox_type=1)
        self.assertRegex(plain.job(transfer), r"\nsandbox_type=(INPUT|OUTPUT)\n")
        self.assertIn("\njob_type=Unknown!\n", plain.job(JobStatus()))
        lists = JobStatus(possible_destinations=["a", "b"], user_fqans=["/vo", "/vo/g"], resubmitted=True, cpuTime=7)
        for line in ("possible_destinations=a,b", "user_fqans=/vo,/vo/g", "resubmitted=1", "cpuTime=7"):
            self.assertIn(f"\n{line}\n", plain.job(lists))

    def test_error(self) -> None:
        """An error in its three lines (§9)."""
        error = LBError(2, "jobid='x' not registered in DB")
        self.assertEqual(
            plain.error("Not Found", error),
            "Error=Not Found\nCode=2\nDescription=No such file or directory (jobid='x' not registered in DB)\n",
        )
        self.assertIn("Code=1416\n", plain.error("Service Unavailable", LBError(Code.NO_INDEX, "x")))


class Escaping(SynchronousTestCase):
    """No value makes a line of its own, whatever its reader takes for a line's end (P10)."""

    @given(STORED, STORED)
    @settings(deadline=None)
    def test_job(self, value: str, other: str) -> None:
        """A hostile value of any text attribute leaves the lines of the page as they are."""
        tame = dict.fromkeys(NAMED_TEXTS, "x")
        lists = {"user_tags": [("x", "x")], "possible_destinations": ["x"], "user_fqans": ["x"]}
        hostile = dict.fromkeys(NAMED_TEXTS, value or "x")
        hostile_lists = {
            "user_tags": [(value, other)],
            "possible_destinations": [value, other],
            "user_fqans": [other],
        }
        for kind in (JobType.SIMPLE, JobType.PBS, JobType.VIRTUAL_MACHINE, JobType.CREAM):
            expected = keys(plain.job(JobStatus(jobtype=kind, **tame, **lists)))
            self.assertEqual(keys(plain.job(JobStatus(jobtype=kind, **hostile, **hostile_lists))), expected)

    @given(STORED)
    @settings(deadline=None)
    def test_others(self, value: str) -> None:
        """The same of lists, errors and the configuration."""
        self.assertEqual(
            keys(plain.jobs_begin([JobStatus(jobId=value)]) + plain.jobs_end(value)), ["User_jobs", "User_subject"]
        )
        self.assertEqual(keys(plain.error("Not Found", LBError(2, value))), ["Error", "Code", "Description"])
        self.assertEqual(keys(plain.configuration([("a", "A", (value, value)), ("b", "B", ())])), ["a", "b"])
