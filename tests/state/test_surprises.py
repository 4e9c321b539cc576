"""The surprises of the reference implementation, by number (state-machine.md §18), and what is made of each here."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.status import STATES, State
from lb.state.actions import GLUED, LISTED, glue
from lb.state.collection import bucket, collection_state, propagate
from lb.state.fold import Outcome, blank, embryo, recompute, step
from lb.state.job import Job, decode, encode
from tests.state.make import JOB, OWNER, code, make, pbs_code, played, registered, running

SUBJOB = JobId("lb.ex", 9000, "sub0")


def condor_code(time: str, source: str, number: str = "200") -> str:
    return f"TIMESTAMP=20080110{time}:POS=0000000001:EV.CODE={number}:SRC={source}"


class GLite(SynchronousTestCase):
    """Surprises of the gLite engine."""

    def test_s1(self) -> None:
        """A late ReallyRunning from elsewhere, with no attempt chosen, is taken quietly."""
        job = played(registered(), make("Cancel", "NS", "U1 N1", 1, status_code="DONE"))
        job.hidden.last = None
        self.assertIs(step(job, make("ReallyRunning", "WM", "U1", 2)), Outcome.LATE)
        self.assertTrue(job.status.payload_running)

    def test_s4(self) -> None:
        """An Abort of WM counts in any state and lowers the last code to its own."""
        job = played(*running(), make("Clear", "NS", "U9 N96669", 20, reason="USER"))
        self.assertIs(step(job, make("Abort", "WM", "N96660", 21, reason="no")), Outcome.OK)
        self.assertEqual((job.status.state, job.hidden.last), (State.Aborted, code("N96660")))

    def test_s10(self) -> None:
        """Tag names are lower case, when recomputed as well."""
        events = [registered(), make("UserTag", "APP", "U1 A1", 1, name="Size", value="10")]
        self.assertEqual(played(*events).status.user_tags, [("size", "10")])
        self.assertEqual(recompute(events, jobid=JOB, owner=OWNER).status.user_tags, [("size", "10")])

    def test_s11(self) -> None:
        """A late Done still gives its done code and exit code."""
        job = played(*running(), make("Done", "LM", "U2 N2 W4 J4 L9", 20, status_code="OK", exit_code=0))
        late = make("Done", "LM", "U2 N2 W4 J4 L7", 21, status_code="OK", exit_code=5)
        self.assertIs(step(job, late), Outcome.LATE)
        self.assertEqual((job.status.state, job.status.exit_code), (State.Done, 5))

    def test_s12(self) -> None:
        """Done/KILLED is half taken, and never refused."""
        job = played(*running())
        killed = make("Done", "LM", "U2 N2 W4 J4 L7", 20, status_code="KILLED", reason="k")
        self.assertIs(step(job, killed), Outcome.SUSPECT)
        self.assertEqual((job.status.state, job.status.reason, job.status.done_code), (State.Done, "k", -1))
        self.assertEqual(job.status.lastUpdateTime, 18_000_000)

    def test_s13(self) -> None:
        """A late ReallyRunning of the active attempt shows the payload running on a finished job."""
        job = played(
            *running(),
            make("ReallyRunning", "LRMS", "U2 N2 W4 J4 L5 R3", 19),
            make("Done", "LM", "U2 N2 W4 J4 L9", 20, status_code="OK", exit_code=0),
        )
        self.assertFalse(job.status.payload_running)
        self.assertIs(step(job, make("ReallyRunning", "LRMS", "U2 N2 W4 J4 L5 R4", 21)), Outcome.LATE)
        self.assertEqual((job.status.state, job.status.payload_running), (State.Done, True))

    def test_s14(self) -> None:
        """A late EnQueued of WM replaces matched_jdl."""
        job = played(*running())
        late = make("EnQueued", "WM", "U2 N2 W1", 20, queue="q", job="[old]", result="OK")
        self.assertIs(step(job, late), Outcome.LATE)
        self.assertEqual(job.texts.matched_jdl, "[old]")

    def test_s15(self) -> None:
        """A grant that does not fit the pending claim drops both."""
        job = played(
            registered(),
            make("TakePayloadOwnership", "LRMS", "U1 R1", 1, user="/CN=Dan"),
            make("GrantPayloadOwnership", "LRMS", "U1 R2", 2, payload_owner="/CN=Eve"),
            make("TakePayloadOwnership", "LRMS", "U1 R3", 3, user="/CN=Eve"),
        )
        self.assertIsNone(job.status.payload_owner)
        step(job, make("GrantPayloadOwnership", "LRMS", "U1 R4", 4, payload_owner="/cn=eve/CN=proxy"))
        self.assertEqual(job.status.payload_owner, "/CN=Eve")

    def test_s20(self) -> None:
        """A CollectionState that names no state is suspect and changes nothing."""
        job = played(registered("COLLECTION", nsubjobs=2))
        for name in ("Nowhere", "Undefined", ""):
            before = encode(job)
            event = make("CollectionState", "LB", "U1 S1", 1, state=name, done_code=0)
            self.assertIs(step(job, event), Outcome.SUSPECT)
            job.hidden.number -= 1
            self.assertEqual(encode(job), before)
        self.assertIs(step(job, make("CollectionState", "LB", "U1 S1", 1, state="dONE", done_code=0)), Outcome.OK)
        self.assertEqual((job.status.state, job.status.done_code), (State.Done, 0))

    def test_s24(self) -> None:
        """WM value 0 is a number as any other: its data come back with it."""
        job = played(
            registered(),
            make("Match", "WM", "U1", 1, dest_id="CE0"),
            make("Match", "WM", "U1 W5", 2, dest_id="CE5"),
            make("ReallyRunning", "LM", "U1 W6 L1", 4, wn_seq=code("U1 R1")),
        )
        self.assertEqual(job.status.destination, "CE0")

    def test_s25(self) -> None:
        """A UI event with a raised UI counter makes what follows late, but for an Abort of WM."""
        job = played(*running(), make("UserTag", "UI", "U9", 20, name="x", value="y"))
        late = make("Done", "LM", "U2 N2 W4 J4 L9", 21, status_code="OK", exit_code=1)
        self.assertIs(step(job, late), Outcome.LATE)
        self.assertIs(step(job, make("Abort", "WM", "U2 N2 W5", 22)), Outcome.OK)

    def test_s27(self) -> None:
        """ChangeACL takes its number and touches nothing else, incrementally or recomputed."""
        acl = make("ChangeACL", "UI", "U9", 99, user_id="/CN=Bob")
        job = played(registered())
        before = encode(job)
        self.assertIs(step(job, acl), Outcome.OK)
        self.assertEqual(job.hidden.number, 1)
        job.hidden.number = 0
        self.assertEqual(encode(job), before)
        again = recompute([registered(), acl], jobid=JOB, owner=OWNER)
        self.assertEqual((again.status, again.hidden.number), (job.status, 1))

    def test_s28(self) -> None:
        """REFUSED counts as START: only its data are taken."""
        job = played(registered())
        event = make("Transfer", "JC", "U1 J1", 1, destination="LM", job="[C]", result="REFUSED", reason="no")
        self.assertIs(step(job, event), Outcome.IGNORE)
        self.assertEqual((job.status.state, job.status.reason, job.texts.condor_jdl), (State.Submitted, None, "[C]"))

    def test_s29(self) -> None:
        """EnQueued without a job clears the job description."""
        job = played(*running()[:5])
        step(job, make("EnQueued", "NS", "U2 N2 W4", 20, queue="q", result="OK"))
        step(job, make("EnQueued", "WM", "U2 N2 W4 J1", 21, queue="q", result="FAIL"))
        self.assertEqual((job.texts.jdl, job.texts.matched_jdl), (None, None))

    def test_s31(self) -> None:
        """An empty code is taken and never becomes the last one."""
        cases = {"SIMPLE": Outcome.SUSPECT, "CREAM": Outcome.OK, "PBS": Outcome.OK, "FILE_TRANSFER": Outcome.OK}
        for jobtype, expected in cases.items():
            job = played(registered(jobtype))
            last = job.hidden.last
            event = make("ConnectJob", "LB", "", 9, dest_jobid="https://lb.ex/jobB", jobtype="SIMPLE")
            self.assertIs(step(job, event), expected)
            self.assertEqual(job.hidden.last, last)

    def test_s36(self) -> None:
        """LogMonitor's Accepted after its Transfer takes a job back from Scheduled to Ready."""
        events = running()
        job = played(*events[:7], events[8])
        self.assertEqual(job.status.state, State.Scheduled)
        self.assertIs(step(job, events[7]), Outcome.OK)
        self.assertEqual(job.status.state, State.Ready)

    def test_s39(self) -> None:
        """The exit code is kept for Done/OK only."""
        job = played(*running())
        for number, (status_code, exit_code) in enumerate((("OK", 3), ("FAILED", 0))):
            step(job, make("Done", "LM", f"U2 N2 W4 J4 L{6 + number}", 20, status_code=status_code, exit_code=3))
            self.assertEqual(job.status.exit_code, exit_code)

    def test_s40(self) -> None:
        """The place on the active attempt outlives a deep resubmission; the next ReallyRunning leaves it."""
        job = played(
            *running(),
            make("ReallyRunning", "LM", "U2 N2 W4 J4 L7", 19, wn_seq=code("U2 N2 W4 J4 R3")),
            make("Resubmission", "WM", "U2 N2 W5", 20, result="WILLRESUB"),
            make("Pending", "WM", "U2 N2 W6", 21),
            make("ReallyRunning", "LM", "U2 N2 W6 L9", 22, wn_seq=code("U2 N2 W6 R1")),
        )
        self.assertEqual(job.hidden.lastbr, code("U2 N2 W4 J4 R3"))
        self.assertEqual((job.status.state, job.status.payload_running), (State.Waiting, True))

    def test_s42_bounded(self) -> None:
        """Lists of places hold a bounded number of entries, the last ones, at the bound and beyond it (P10)."""
        job = played(registered())
        for number in range(LISTED + 1):
            if number == LISTED:
                full = list(job.status.possible_ce_nodes or ())
            step(job, make("Running", "LM", f"U2 N2 W4 J4 L{number + 1}", number, node=f"n{number}"))
        self.assertEqual(full, [f"n{number}" for number in range(LISTED)])
        self.assertEqual(job.status.possible_ce_nodes, [f"n{number}" for number in range(1, LISTED + 1)])

    def test_reasons_bounded(self) -> None:
        """Reasons that are collected line by line stay whole up to a length, beyond it the oldest lines go (P10)."""
        line = "x" * 1023
        fits = "\n".join([line] * 64)
        self.assertEqual(len(fits), GLUED - 1)
        self.assertEqual(glue(fits, "new"), f"{fits}\nnew")
        self.assertEqual(glue(f"{line[:1]}\n{fits}", "new"), f"{fits}\nnew")
        self.assertEqual(glue(None, line * 100), line * 100)

    def test_s42_s43(self) -> None:
        """Events of a given-up attempt still append to the lists; its WILLRESUB lowers the boundary."""
        job = played(*running(), make("Resubmission", "WM", "U2 N2 W6", 20, result="WILLRESUB"))
        self.assertIs(step(job, make("Match", "WM", "U2 N2 W3", 21, dest_id="CE0")), Outcome.LATE)
        self.assertEqual((job.status.destination, job.status.possible_destinations), ("CE1/q1", ["CE0"]))
        self.assertIs(step(job, make("Resubmission", "WM", "U2 N2 W5", 22, result="WILLRESUB")), Outcome.LATE)
        self.assertEqual((job.hidden.deep, job.status.possible_destinations), (code("U2 N2 W5"), None))

    def test_s44(self) -> None:
        """A late Transfer replaces the description it carries."""
        job = played(*running())
        step(job, make("Transfer", "LM", "U2 N2 W1", 20, destination="LRMS", job="[old]", result="START"))
        self.assertEqual(job.texts.rsl, "[old]")

    def test_s45(self) -> None:
        """Helper, Match, Pending and Running are taken from any source."""
        job = played(registered())
        for number, event in enumerate(("HelperCall", "HelperReturn", "Match", "Pending", "Running", "Suspend")):
            self.assertIs(step(job, make(event, "CloudManager", f"U1 N{number}", number)), Outcome.OK)

    def test_s46(self) -> None:
        """A network server without an instance ends with a blank; it is taken from a late event, too."""
        job = played(registered(ns=None), make("Pending", "WM", "U2"))
        step(job, make("Pending", "NS", "U1 N1", src_instance=None))
        self.assertEqual(job.status.network_server, "wms.ex ")
        job = played(registered(ns=None), make("Pending", "NS", "U1 N1", src_instance=""))
        self.assertEqual(job.status.network_server, "wms.ex:")

    def test_s47_s48(self) -> None:
        """CREAM's progress events are not allowed on a gLite job; CREAMCancel/DONE leaves cream_state ABORTED."""
        job = played(*running())
        for name in ("CREAMRunning", "CREAMReallyRunning", "CREAMDone", "CREAMSuspend", "CREAMResume"):
            self.assertIs(step(job, make(name, "CREAME", "U2 N2 W5", 20)), Outcome.SUSPECT)
        self.assertEqual(job.status.state, State.Running)
        step(job, make("CREAMCancel", "CREAME", "U2 N2 W5", 20, status_code="DONE"))
        self.assertEqual((job.status.state, job.status.cream_state), (State.Cancelled, 8))


class NotAllowed(SynchronousTestCase):
    """Events that a family does not know what to do with (examples E19 and E33)."""

    def test_unreadable_report(self) -> None:
        """A ReallyRunning that names no readable code chooses no attempt, and is not counted as running."""
        job = played(*running())
        before = job.copy()
        self.assertIs(step(job, make("ReallyRunning", "LM", "U2 N2 W4 J4 L7", 19, wn_seq="none")), Outcome.SUSPECT)
        self.assertEqual((job.status, job.hidden.tag, job.hidden.last), (before.status, None, before.hidden.last))

    def test_wrong_source(self) -> None:
        """A component that cannot have seen such an event leaves no trace (E4)."""
        job = played(*running())
        before = job.copy()
        for event in (
            make("DeQueued", "LM", "U3", 20, queue="q"),
            make("Transfer", "NS", "U3", 20, result="OK", job="[J]"),
            make("PBSRun", "LRMS", "U3", 20),
        ):
            self.assertIs(step(job, event), Outcome.SUSPECT)
        self.assertEqual((job.status, job.texts, job.hidden.last), (before.status, before.texts, before.hidden.last))

    def test_transfer_collection(self) -> None:
        """A collection of transfers does not enter a state that does not exist either (S20)."""
        job = played(registered("FILE_TRANSFER_COLLECTION", nsubjobs=2))
        event = make("CollectionState", "LB", "U1 S1", 9, state="Nowhere", done_code=0)
        self.assertIs(step(job, event), Outcome.SUSPECT)
        self.assertEqual((job.status.state, job.status.lastUpdateTime), (State.Submitted, 0))

    def test_unfinished(self) -> None:
        """A transfer, command or report that did not succeed moves nothing."""
        job = played(registered("PBS", seqcode=pbs_code("c1")))
        step(
            job,
            make("PBSTransfer", "PBSServer", pbs_code("c2"), destination="PBSMom", dest_instance="w", result="FAIL"),
        )
        self.assertIsNone(job.status.ce_node)
        cream = played(registered("CREAM"))
        step(cream, make("CREAMCall", "CREAME", "U2", command="CMDSTART", callee="CREAMI", result="OK"))
        step(cream, make("CREAMStatus", "CREAME", "U3", new_state="done-ok", result="ARRIVED", exit_code="3"))
        self.assertEqual((cream.status.state, cream.status.exit_code), (State.Submitted, 0))

    def test_exit_code(self) -> None:
        """Exit codes of CREAM are texts: their leading number counts, within 32 bits."""
        for text, number in (("12 (x)", 12), ("-1", -1), ("none", 0), ("9" * 5000, 2**31 - 1), ("N/A", 0)):
            job = played(registered("CREAM"))
            step(job, make("CREAMStatus", "CREAME", "U2", new_state="held", result="DONE", exit_code=text))
            self.assertEqual(job.status.exit_code, number)


class OtherFamilies(SynchronousTestCase):
    """Surprises of the other engines."""

    def test_s2(self) -> None:
        """PBS events from an unexpected source bring their data and move nothing; an unknown state has no letter."""
        job = played(registered("PBS", seqcode=pbs_code("c1")))
        step(job, make("PBSRun", "WM", pbs_code("c2"), 1, scheduler="maui", pid=7))
        step(job, make("PBSRerun", "WM", pbs_code("c3"), 2))
        step(job, make("PBSDone", "WM", pbs_code("c4"), 3, exit_status=2))
        step(job, make("PBSInternalStateChange", "WM", pbs_code("c5"), 4, newstate=7, newsubstate=1))
        status = job.status
        self.assertEqual((status.state, status.done_code, status.pbs_state), (State.Submitted, -1, None))
        self.assertEqual((status.pbs_scheduler, status.pbs_pid, status.pbs_exit_status), ("maui", 7, 2))

    def test_s16(self) -> None:
        """A second failure reason of CREAM replaces the first and ends with a line end."""
        job = played(registered("CREAM"))
        for reason in ("f1", "f2"):
            event = make("CREAMStatus", "CREAME", "U2", 1, new_state="held", result="DONE", failure_reason=reason)
            step(job, event)
        self.assertEqual(job.status.failure_reasons, "f2\n")

    def test_s17(self) -> None:
        """The owner that VMCreate names in free text does not become the owner of the job (P7)."""
        job = played(registered("VIRTUAL_MACHINE"), make("VMCreate", "CloudManager", "U2", 1, owner="/CN=Mallory"))
        self.assertEqual(job.status.owner, OWNER)

    def test_s18(self) -> None:
        """VMImage sets the image, VMShutdown the usage."""
        job = played(
            registered("VIRTUAL_MACHINE"),
            make("VMImage", "CloudManager", "U2", 1, image="img2"),
            make("VMShutdown", "VMSystem", "U3", 2, usage="u1"),
        )
        self.assertEqual((job.status.vm_image, job.status.vm_usage), ("img2", "u1"))

    def test_s21(self) -> None:
        """pbs_substate and vm_system_halting outlive the event that set them."""
        job = played(
            registered("PBS", seqcode=pbs_code("c1")),
            make("PBSInternalStateChange", "PBSServer", pbs_code("c2"), newstate=1, newsubstate=10),
        )
        self.assertEqual(decode(encode(job)).status.pbs_substate, 10)
        machine = played(registered("VIRTUAL_MACHINE"), make("VMShutdown", "VMSystem", "U2", 1))
        machine = decode(encode(machine))
        step(machine, make("VMHost", "CloudManager", "U3", 2, hostname="h"))
        self.assertTrue(machine.status.vm_system_halting)

    def test_s22(self) -> None:
        """An equal PBS code is not late, a lower one is."""
        job = played(
            registered("PBS", seqcode=pbs_code("c1")),
            make("PBSQueued", "PBSServer", pbs_code("c2"), 1),
            make("PBSMatch", "PBSScheduler", pbs_code("c2"), 2),
        )
        self.assertEqual(job.status.state, State.Ready)
        step(job, make("PBSQueued", "PBSServer", pbs_code("c1"), 3))
        self.assertEqual(job.status.state, State.Ready)

    def test_s23(self) -> None:
        """Condor jobs go by the log that an event was read from and by the time in its code, recomputed as well."""
        events = [
            registered("CONDOR", seqcode=condor_code("000000", "j", "017")),
            make("CondorMatch", "APP", condor_code("000001", "N"), 1, dest_host="wn1"),
            make("CondorShadowStarted", "APP", condor_code("000002", "C"), 2, shadow_pid=77),
            make("CondorStarterStarted", "APP", condor_code("000003", "S"), 3, starter_pid=88),
            make("CondorStarterStarted", "APP", condor_code("000004", "s"), 4, starter_pid=88, universe="VANILLA"),
            make("CondorStarterExited", "APP", condor_code("000005", "s"), 5, job_pid=99, job_exit_status=1),
            make("CondorShadowExited", "APP", condor_code("000006", "H"), 6, shadow_exit_status=100),
            make("CondorReject", "APP", condor_code("000003", "N"), 7, status_code="NOMATCH"),
        ]
        status = played(*events).status
        self.assertEqual((status.state, status.condor_status), (State.Done, "Completed"))
        self.assertEqual((status.condor_shadow_pid, status.condor_universe), (77, "VANILLA"))
        self.assertEqual((status.condor_job_pid, status.condor_job_exit_status), (99, 1))
        self.assertEqual((status.condor_shadow_exit_status, status.condor_reason), (100, "No match found."))
        again = recompute(reversed(events), jobid=JOB, owner=OWNER).status
        self.assertEqual(again.stateEnterTimes[State.Running], 4)

    def test_s49(self) -> None:
        """In families without an order an old event applied last wins."""
        for jobtype, event, state in (
            ("FILE_TRANSFER", make("FileTransfer", "LRMS", "R1", 9, result="START"), State.Running),
            ("VIRTUAL_MACHINE", make("VMRunning", "VMManager", "U1", 9), State.Running),
            ("CREAM", make("CREAMAbort", "CREAME", "", 9), State.Aborted),
        ):
            job = played(registered(jobtype, seqcode="U9"))
            self.assertIs(step(job, event), Outcome.OK)
            self.assertEqual(job.status.state, state)


class Copies(SynchronousTestCase):
    """What is told of a job is a copy of its state."""

    def test_s35(self) -> None:
        """S35: a copy has every attribute, isb_transfer as well."""
        transfer = "https://lb.ex:9000/FT:x"
        event = make("Sandbox", "UI", "U1", 1, sandbox_type="INPUT", transfer_job=transfer)
        job = played(registered(), event)
        self.assertEqual(job.copy().status, job.status)
        self.assertEqual((job.copy().status.isb_transfer, job.view().isb_transfer), (transfer, transfer))


class Recomputation(SynchronousTestCase):
    """Surprises of the full recomputation."""

    parent = registered("COLLECTION", nsubjobs=2, seed="seed1")

    def test_s7(self) -> None:
        """A subjob without a registration of its own starts from what its parent's registration made."""
        start = embryo(self.parent, SUBJOB, OWNER)
        again = recompute(
            [make("Running", "LM", "U2 N2 W4 L5", 2, of=SUBJOB, node="w0")], jobid=SUBJOB, owner=OWNER, embryo=start
        )
        self.assertEqual((again.status.state, again.status.parent_job), (State.Running, str(JOB)))
        self.assertEqual((start.status.state, start.hidden.number), (State.Submitted, -1))

    def test_s8_s9(self) -> None:
        """Histogram and FQANs, which events do not tell, are carried over."""
        histogram = [0] * STATES
        histogram[State.Running] = 2
        again = recompute([self.parent], jobid=JOB, owner=OWNER, histogram=histogram, user_fqans=["/vo"])
        self.assertEqual((again.status.children_hist, again.status.user_fqans), (histogram, ["/vo"]))

    def test_s54(self) -> None:
        """Unreadable codes do not hide events behind the registration, and keep the order of arrival."""
        events = [
            registered(at=9),
            make("UserTag", "APP", "none", 3, name="a", value="1"),
            make("UserTag", "APP", "none", 2, name="b", value="2"),
        ]
        self.assertEqual(recompute(events, jobid=JOB, owner=OWNER).status.user_tags, [("a", "1"), ("b", "2")])

    def test_without_registration(self) -> None:
        """What cannot be told a job's state is Unknown, since the latest event or the first second."""
        grey = recompute([make("Running", "LM", "U2", 7, node="w")], jobid=JOB, owner="GREY JOB")
        self.assertEqual((grey.status.state, grey.status.lastUpdateTime), (State.Unknown, 7_000_000))
        self.assertEqual(recompute([], jobid=JOB, owner=None).status.lastUpdateTime, 1_000_000)


class Relatives(SynchronousTestCase):
    """Surprises of collections."""

    def _family(self) -> tuple[Job, Job]:
        parent = registered("COLLECTION", nsubjobs=2)
        return played(parent), embryo(parent, SUBJOB, OWNER)

    def _step(self, parent: Job, child: Job, name: str, seqcode: str, **given: object) -> State | None:
        before = bucket(child.status)
        step(child, make(name, "LM", seqcode, 5, of=SUBJOB, **given))
        return propagate(parent, before, bucket(child.status))

    def test_s6(self) -> None:
        """A done code that changes without the state moves the subjob to another bucket; none goes below zero."""
        parent, child = self._family()
        self.assertIs(self._step(parent, child, "Running", "U2 W4 L5", node="w"), State.Running)
        self._step(parent, child, "Done", "U2 W4 L7", status_code="FAILED")
        self.assertEqual(parent.status.children_hist[State.Unknown], 2)
        self._step(parent, child, "Done", "U2 W4 L8", status_code="OK", exit_code=0)
        self.assertEqual(parent.status.children_hist[State.Done], 1)
        self._step(parent, child, "Clear", "U9", reason="USER")
        self.assertEqual(
            {State(n): count for n, count in enumerate(parent.status.children_hist) if count},
            {State.Cleared: 1, State.Unknown: 1},
        )

    def test_s19(self) -> None:
        """A registration without a parent takes the parent from a job, but not from a subjob made by its parent."""
        _, child = self._family()
        step(child, registered(seqcode="U2", of=SUBJOB))
        self.assertEqual(child.status.parent_job, str(JOB))
        job = played(registered(parent="https://lb.ex:9000/p"), registered(seqcode="U2"))
        self.assertIsNone(job.status.parent_job)

    def test_s37(self) -> None:
        """A repeated registration counts no subjob twice, and starts new ones in the Unknown bucket."""
        parent, child = self._family()
        self._step(parent, child, "Running", "U2 W4 L5", node="w")
        step(parent, registered("COLLECTION", seqcode="U2", nsubjobs=2))
        self.assertEqual(sum(parent.status.children_hist), 2)
        step(parent, registered("COLLECTION", seqcode="U3", nsubjobs=3))
        self.assertEqual(parent.status.children_hist[State.Unknown], 2)

    def test_s38(self) -> None:
        """A collection of which all subjobs are cancelled is Cleared."""
        parent, child = self._family()
        other = embryo(registered("COLLECTION", nsubjobs=2), SUBJOB, OWNER)
        self.assertIs(self._step(parent, child, "Cancel", "U2", status_code="DONE"), State.Waiting)
        self.assertIs(self._step(parent, other, "Cancel", "U2", status_code="DONE"), State.Cleared)

    def test_collection_state(self) -> None:
        """The event for the parent says what happened, and brings the parent there even when it was aborted."""
        parent, child = self._family()
        step(parent, make("Abort", "WM", "U2", 4))
        cause = make("Running", "LM", "U2 W4 L5", 5, of=SUBJOB, node="w")
        before = bucket(child.status)
        step(child, cause)
        target = propagate(parent, before, bucket(child.status))
        assert target is not None
        event = collection_state(parent, JOB, target, cause, now=7, host="lb.ex", user="/CN=lb.ex")
        self.assertEqual(event.seqcode, code("U2 S1"))
        self.assertEqual(
            event.attributes,
            {
                "state": "Running",
                "done_code": 0,
                "histogram": "Submitted=0, Waiting=0, Ready=0, Scheduled=0, Running=1, Done=0, Cleared=0, Aborted=0, "
                "Cancelled=0, Unknown=1, Purged=0",
                "child": str(SUBJOB),
                "child_event": "Running",
            },
        )
        self.assertIs(step(parent, event), Outcome.OK)
        self.assertEqual((parent.status.state, parent.status.lastUpdateTime), (State.Running, 7))

    def test_dag(self) -> None:
        """Of a DAG only the histogram follows its subjobs."""
        parent = played(registered("DAG", nsubjobs=2))
        self.assertIsNone(propagate(parent, State.Unknown, State.Running))
        self.assertEqual(parent.status.children_hist[State.Running], 1)


class Refusals(SynchronousTestCase):
    """The two events that are refused."""

    def test_unknown_type(self) -> None:
        """A registration of no known type is refused before anything changed."""
        job = blank(JOB, OWNER)
        before = encode(job)
        event = registered()
        event.attributes["jobtype"] = 77
        error = self.assertRaises(LBError, step, job, event)
        self.assertEqual((error.code, error.description), (22, "unknown job type 77 in registration"))
        self.assertEqual(encode(job), before)

    def test_type_without_rules(self) -> None:
        """A job of a type that has no rules refuses every event."""
        job = played(registered())
        job.status.jobtype = 2
        before = encode(job)
        error = self.assertRaises(LBError, step, job, make("Pending", "WM", "U2"))
        self.assertEqual((error.code, error.description), (22, "undefined job type 2"))
        self.assertEqual(encode(job), before)

    def test_before_registration(self) -> None:
        """Without a type an event is only counted."""
        job = blank(JOB, OWNER)
        self.assertIs(step(job, make("Running", "LM", "U2", node="w")), Outcome.UNREG)
        self.assertEqual((job.status.state, job.hidden.number), (State.Undefined, 0))
