"""States made anew: always those that arrival made, whatever came in whatever order; older forms included."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.event import Event
from lb.model.jobid import subjobs
from lb.model.status import STATES, JobType, State
from lb.state.fold import blank, embryo, recompute, step
from lb.state.job import VERSION, Job, decode, encode
from lb.state.rebuild import differences, is_current, rebuild
from lb.state.registration import REGISTRATION
from tests.state.make import JOB, OWNER, make, played, registered, running
from tests.state.strategies import events, streams

bounded = settings(deadline=None, max_examples=150)


def _again(job: Job, stream: list[Event]) -> Job:
    return rebuild(decode(encode(job), job.texts), stream, jobid=JOB, owner=OWNER)


class Rebuilding(SynchronousTestCase):
    """Incremental and full recomputation (P4, P9)."""

    @bounded
    @given(streams())
    def test_registered(self, stream: list[Event]) -> None:
        """The events of a registered job give its state again, to the last hidden field, after every step."""
        job = blank(JOB, OWNER)
        for number, event in enumerate(stream):
            step(job, event)
            if number % 5 == 0 or number == len(stream) - 1:
                self.assertEqual(differences(job, _again(job, stream[: number + 1])), [])

    @bounded
    @given(st.lists(events(), max_size=8), streams())
    def test_grey(self, before: list[Event], stream: list[Event]) -> None:
        """So do those of a job that collected events before it was registered."""
        grey = [event for event in before if event.type is not REGISTRATION]
        job = recompute([*grey, stream[0]], jobid=JOB, owner=OWNER)
        job.hidden.collected = len(grey) + 1
        for event in stream[1:]:
            step(job, event)
        self.assertEqual(differences(job, _again(job, [*grey, *stream])), [])

    @bounded
    @given(st.sampled_from(["COLLECTION", "FILE_TRANSFER_COLLECTION"]), st.lists(events(), max_size=20))
    def test_embryonic(self, jobtype: str, stream: list[Event]) -> None:
        """So do those of a subjob that its parent's registration has made."""
        parent = registered(jobtype, nsubjobs=1, seed="s", at=7)
        parent.jobid = JOB._replace(unique="parent")
        job = embryo(parent, next(subjobs(parent.jobid, 1, "s")), OWNER)
        job.status.jobId = str(JOB)
        for event in stream:
            step(job, event)
        self.assertEqual(differences(job, _again(job, stream)), [])

    def test_what_events_do_not_tell(self) -> None:
        """S8, S9: counts of subjobs and FQANs are carried over."""
        stream = [registered("COLLECTION", nsubjobs=2)]
        job = played(*stream)
        job.status.children_hist = [0] * STATES
        job.status.children_hist[State.Running] = 2
        job.status.user_fqans = ["/vo"]
        job.hidden.counted = State.Running
        self.assertEqual(differences(job, _again(job, stream)), [])

    def test_damage_shows(self) -> None:
        """What differs is named, and the rebuilt state has it right."""
        stream = running()
        job = played(*stream)
        job.status.ce_node = "elsewhere"
        job.hidden.last = None
        job.set_text("jdl", "[other]")
        again = _again(job, stream)
        self.assertEqual(sorted(differences(job, again)), [".last", "ce_node", "jdl"])
        self.assertEqual((again.status.ce_node, again.texts.jdl), ("w1", "[A]"))

    def test_older_form(self) -> None:
        """P9: a state of form 1 is read, known as old, and made anew; a subjob keeps how it began."""
        stream = [make("Running", "LM", "U2 N2 W4 L5", 9, node="w0")]
        parent = registered("COLLECTION", nsubjobs=1, at=7)
        job = embryo(parent, JOB, OWNER)
        step(job, stream[0])
        status, hidden = msgspec.json.decode(encode(job))
        for name in ("version", "born"):
            del hidden[name]
        old = decode(msgspec.json.encode([status, hidden]))
        self.assertFalse(is_current(old))
        again = rebuild(old, stream, jobid=JOB, owner=OWNER)
        self.assertEqual(again.hidden.version, VERSION)
        self.assertEqual(differences(job, again), [])
        self.assertEqual((again.status.jobtype, again.status.stateEnterTimes[State.Submitted]), (JobType.SIMPLE, 7))
