"""Stored forms of a job, registration and the tables."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import Source
from lb.model.errors import LBError
from lb.model.jobid import JobId
from lb.model.status import JobType, State
from lb.state.branches import KEPT
from lb.state.fold import blank, embryo, step, subjobs_of
from lb.state.job import NO_TEXTS, Job, decode, decode_texts, encode, encode_texts
from lb.state.rules import Table, on
from tests.state.make import JOB, OWNER, code, make, played, registered, running


class StoredForm(SynchronousTestCase):
    """What is written to the store."""

    def test_texts_apart(self) -> None:
        """A change of state leaves the long texts the same object, so that they need not be written again."""
        job = played(*running())
        texts = job.texts
        step(job, make("Done", "LM", "U2 N2 W4 J4 L9", 20, status_code="OK", exit_code=0))
        self.assertIs(job.texts, texts)
        self.assertNotIn(b"[M1]", encode(job))
        self.assertEqual(job.view().matched_jdl, "[M1]")
        self.assertIsNone(job.status.matched_jdl)

    def test_same_text_again(self) -> None:
        """A text that comes again is not a change."""
        job = played(registered())
        texts = job.texts
        step(job, registered(seqcode="U2"))
        self.assertIs(job.texts, texts)

    def test_any_bytes(self) -> None:
        """Text that is no UTF-8 survives storage."""
        job = played(registered(jdl="\udcff[]"), make("Match", "WM", "U2 W7", 1, dest_id="CE\udcfe"))
        step(job, make("EnQueued", "WM", "U2 W7", 2, result="OK", job="\udcfd"))
        again = decode(encode(job), decode_texts(encode_texts(job.texts)))
        self.assertEqual((again.status, again.hidden, again.texts), (job.status, job.hidden, job.texts))

    def test_no_texts(self) -> None:
        """A job without long texts needs none stored."""
        self.assertIs(decode_texts(None), NO_TEXTS)

    def test_earlier_form(self) -> None:
        """Version 1 of the stored form stays readable (P9)."""
        stored = (
            b'[{"state":5,"jobId":"https://lb.ex:9000/j","jobtype":0,"user_tags":[["a","b"]],"stateEnterTime":1000000,'
            b'"lastUpdateTime":1000000,"stateEnterTimes":[0,0,0,0,0,1,0,0,0,0,0,0]},'
            b'{"number":3,"last":"x","branches":[[2,"CE",null],[4,null,"w1"]],"tags":{"a":[0,"x"]}}]'
        )
        job = decode(stored, decode_texts(b'{"jdl":"[]","branches":{"2":"[M]"}}'))
        self.assertEqual((job.hidden.version, job.hidden.branches[1].ce_node, job.hidden.tags["a"].place), (1, "w1", 0))
        self.assertEqual((job.texts.branches, encode(job)), ({2: "[M]"}, stored))


class Registration(SynchronousTestCase):
    """Types, subjobs and embryonic states."""

    def test_subjob_ids(self) -> None:
        """Subjob ids are those that the C clients compute; an empty seed counts as none."""
        collection = registered("COLLECTION", nsubjobs=3, seed="seed1")
        collection.jobid = JobId("lb.ex", 9000, "collA")
        self.assertEqual(
            [job.unique for job in subjobs_of(collection)],
            ["5_xeJSBwAtb8bhMo_FvJIg", "GmoOl1NL2_bobh7Gwr0WiA", "wz3rTtL0O0dQZif8KBTOZQ"],
        )
        for seed in (None, ""):
            transfers = registered("FILE_TRANSFER_COLLECTION", nsubjobs=2, seed=seed)
            transfers.jobid = JobId("lb.ex", 9000, "FT:coll")
            self.assertEqual(
                [job.unique for job in subjobs_of(transfers)], ["DiZe9WVx-wQ5vDVNIrjhWg", "_tcL_kzw-BXUJwi4n9c5NQ"]
            )

    def test_without_subjobs(self) -> None:
        """Jobs without subjobs, PARTITIONABLE ones and other events make none."""
        for event in (
            registered(nsubjobs=3),
            registered("PARTITIONABLE", nsubjobs=3),
            registered("DAG"),
            make("Pending", "WM", "U2"),
        ):
            self.assertEqual(list(subjobs_of(event)), [])

    def test_negative_number(self) -> None:
        """A negative number of subjobs is an error before any id is made."""
        error = self.assertRaises(LBError, subjobs_of, registered("DAG", nsubjobs=-1))
        self.assertEqual((error.code, error.description), (22, "negative number of subjobs"))

    def test_embryo(self) -> None:
        """A subjob starts submitted at its parent's registration, its own events then count from 0."""
        subjob = JobId("lb.ex", 9000, "sub")
        child = embryo(registered("COLLECTION", at=7, nsubjobs=1), subjob, OWNER)
        status = child.status
        self.assertEqual((status.state, status.jobtype, status.parent_job), (State.Submitted, 0, str(JOB)))
        self.assertEqual((status.stateEnterTime, status.lastUpdateTime), (7_000_000, 7_000_000))
        self.assertEqual(status.stateEnterTimes[State.Submitted], 7)
        step(child, make("Pending", "WM", "U2", 8, of=subjob))
        self.assertEqual(child.hidden.number, 0)
        transfer = embryo(registered("FILE_TRANSFER_COLLECTION", nsubjobs=1), subjob, OWNER)
        self.assertEqual(transfer.status.jobtype, JobType.FILE_TRANSFER)

    def test_types(self) -> None:
        """PARTITIONABLE and PARTITIONED register a DAG; only parents change the type of a known job."""
        self.assertEqual(played(registered("PARTITIONABLE")).status.jobtype, JobType.DAG)
        job = played(registered("PARTITIONED"), registered("CREAM", seqcode="U2"))
        self.assertEqual(job.status.jobtype, JobType.DAG)
        step(job, registered("COLLECTION", seqcode="U3", nsubjobs=3))
        self.assertEqual((job.status.jobtype, job.status.children_num), (JobType.COLLECTION, 3))


class Attempts(SynchronousTestCase):
    """What is remembered of attempts."""

    def _attempts(self, count: int) -> Job:
        job = played(registered())
        for number in range(1, count + 1):
            step(job, make("EnQueued", "WM", f"U2 W{number}", number, result="OK", queue="q", job=f"[{number}]"))
        return job

    def test_bound(self) -> None:
        """As many WM values as are kept, one more drops the lowest; a still lower one is not kept at all (P10)."""
        job = self._attempts(KEPT)
        self.assertEqual((len(job.hidden.branches), job.hidden.branches[0].number), (KEPT, 1))
        job = self._attempts(KEPT + 1)
        self.assertEqual((len(job.hidden.branches), job.hidden.branches[0].number), (KEPT, 2))
        step(job, make("EnQueued", "WM", "U2 W1", 9, result="OK", job="[old]"))
        self.assertEqual([branch.number for branch in job.hidden.branches], sorted(job.texts.branches))
        self.assertEqual((job.hidden.branches[0].number, job.texts.matched_jdl), (2, "[old]"))

    def test_window(self) -> None:
        """The data of three WM values come back: that of the payload and the two before it (§5.6)."""
        job = played(
            registered(),
            make("Match", "WM", "U2 W1", 1, dest_id="CE1"),
            make("EnQueued", "WM", "U2 W2", 2, result="OK", job="[2]"),
            make("Running", "LM", "U2 W3", 3, node="w3"),
            make("Match", "WM", "U2 W4", 4, dest_id="CE4"),
            make("EnQueued", "WM", "U2 W5", 5, result="OK", job="[5]"),
            make("Running", "LM", "U2 W6", 6, node="w6"),
        )
        other = job.copy()
        step(job, make("ReallyRunning", "LM", "U2 W6 L1", 7, wn_seq=code("U2 W3 R1")))
        self.assertEqual((job.status.destination, job.texts.matched_jdl, job.status.ce_node), ("CE1", "[2]", "w3"))
        step(other, make("ReallyRunning", "LM", "U2 W6 L1", 7, wn_seq=code("U2 W4 R1")))
        self.assertEqual(
            (other.status.destination, other.texts.matched_jdl, other.status.ce_node), ("CE4", "[2]", "w3")
        )


class Order(SynchronousTestCase):
    """The hidden codes, which no answer shows (columns "ordering" of the worked examples)."""

    def test_worker_node_overtakes(self) -> None:
        """LogMonitor leaves its counter as 0, so that the worker node's events are not late (E1, E9)."""
        job = played(*running()[:9])
        self.assertEqual(job.hidden.last, code("U2 N2 W4 J4"))

    def test_active_attempt(self) -> None:
        """ReallyRunning chooses the attempt; then its own last code decides, until the job comes in anew (E1)."""
        job = played(*running(), make("ReallyRunning", "LM", "U2 N2 W4 J4 L7", 19, wn_seq=code("U2 N2 W4 J4 R3")))
        self.assertEqual((job.hidden.tag, job.hidden.lastbr), (code("U2 N2 W4 J4 R3"),) * 2)
        step(job, make("Done", "LRMS", "U2 N2 W4 J4 R5", 20, status_code="OK"))
        self.assertEqual((job.hidden.last, job.hidden.lastbr), (code("U2 N2 W4 J4 R5"),) * 2)
        step(job, make("Clear", "NS", "U9 N96669", 21, reason="USER"))
        self.assertEqual((job.hidden.tag, job.hidden.lastbr, job.hidden.deep), (None, None, None))

    def test_first_report_chooses(self) -> None:
        """Of several reports of LogMonitor the first names the attempt, though it came too late to give a place."""
        job = played(
            *running(),
            make("Cancel", "WM", "U2 N2 W5", 19, status_code="DONE"),
            make("ReallyRunning", "LM", "U2 N2 W4 J4 L7", 20, wn_seq=code("U2 N2 W4 R3")),
        )
        self.assertEqual((job.hidden.tag, job.hidden.lastbr), (code("U2 N2 W4 R3"), None))
        step(job, make("ReallyRunning", "LM", "U2 N2 W4 J4 L9", 21, wn_seq=code("U2 N2 W4 R9")))
        self.assertEqual((job.hidden.tag, job.hidden.lastbr), (code("U2 N2 W4 R3"), None))

    def test_cancel_has_its_own(self) -> None:
        """Only a cancellation that is done moves the last code (E10, E11)."""
        job = played(*running())
        last = job.hidden.last
        step(job, make("Cancel", "NS", "U2 N3", 20, status_code="REQ"))
        self.assertEqual((job.hidden.last, job.hidden.cancel), (last, code("U2 N3")))
        step(job, make("Cancel", "NS", "U2 N4", 21, status_code="DONE"))
        self.assertEqual((job.hidden.last, job.hidden.cancel), (code("U2 N4"),) * 2)

    def test_payload_events_keep_it(self) -> None:
        """Ownership events do not move the last code (E17)."""
        job = played(registered(), make("TakePayloadOwnership", "LRMS", "U5", 9))
        self.assertEqual((job.hidden.last, job.status.lastUpdateTime), (code("U1"), 9_000_000))


class Tables(SynchronousTestCase):
    """The language of the rules."""

    def test_first_row_counts(self) -> None:
        """Of two rows that fit an event the first is taken; codes and sources without a row have no rule."""
        table = Table(
            (
                on("Done", when="status_code", is_="OK", source=Source.LRMS, to=State.Ready),
                on("Done", when="status_code", source=(Source.LRMS, Source.LogMonitor), to=State.Done),
            )
        )
        found = {
            (source, status): table.find(make("Done", source, "U1", status_code=status))
            for source in ("LRMS", "LM", "NS")
            for status in ("OK", "KILLED")
        }
        self.assertEqual(
            {key: rule and rule.to for key, rule in found.items()},
            {
                ("LRMS", "OK"): State.Ready,
                ("LRMS", "KILLED"): State.Done,
                ("LM", "OK"): State.Done,
                ("LM", "KILLED"): State.Done,
                ("NS", "OK"): None,
                ("NS", "KILLED"): None,
            },
        )
        self.assertIsNone(table.find(make("Pending", "LM", "U1")))

    def test_one_attribute_a_type(self) -> None:
        """Rows of one type that look at different attributes are a mistake in the table."""
        self.assertRaises(ValueError, Table, (on("Done", when="status_code"), on("Done")))


class Blank(SynchronousTestCase):
    """A job before its first event."""

    def test_blank(self) -> None:
        """A job without events knows its id and owner only."""
        status = blank(JOB, OWNER).status
        self.assertEqual((status.state, status.jobId, status.owner), (State.Undefined, str(JOB), OWNER))
