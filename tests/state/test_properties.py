"""What holds for every stream of events, sensible or not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.event import Event
from lb.model.status import STATES, JobType
from lb.state.fold import Outcome, blank, recompute, step
from lb.state.job import Job, decode, decode_texts, encode, encode_texts
from tests.state.make import JOB, OWNER
from tests.state.replay import accepted, cases
from tests.state.strategies import is_ordinary, normal_codes, ordinary_types, streams

bounded = settings(deadline=None, max_examples=150)


def stored(job: Job) -> tuple[bytes, bytes]:
    return encode(job), encode_texts(job.texts)


def restored(job: Job) -> Job:
    state, texts = stored(job)
    return decode(state, decode_texts(texts))


class AnyStream(SynchronousTestCase):
    """Streams of events of every type, in every order."""

    @bounded
    @given(streams())
    def test_never_raises(self, stream: list[Event]) -> None:
        """No event of a registered job, no repetition and no cut stops the fold; every event is counted (P5)."""
        job = blank(JOB, OWNER)
        for number, event in enumerate(stream + stream):
            self.assertIsInstance(step(job, event), Outcome)
            self.assertEqual(job.hidden.number, number)
            self.assertEqual(len(job.status.stateEnterTimes), STATES)

    @bounded
    @given(streams())
    def test_storage_between_steps(self, stream: list[Event]) -> None:
        """Storing and loading the job between any two steps changes nothing (P9)."""
        kept, reloaded = blank(JOB, OWNER), blank(JOB, OWNER)
        for event in stream:
            self.assertEqual(step(kept, event), step(reloaded, event))
            self.assertEqual(stored(kept), stored(reloaded))
            reloaded = restored(reloaded)
            self.assertEqual((kept.status, kept.hidden, kept.texts), (reloaded.status, reloaded.hidden, reloaded.texts))

    @bounded
    @given(streams())
    def test_copies(self, stream: list[Event]) -> None:
        """A copy is equal to its job, and a step of the job leaves it as it was."""
        job = blank(JOB, OWNER)
        for event in stream:
            copy, before = job.copy(), stored(job)
            self.assertEqual(stored(copy), before)
            step(job, event)
            self.assertEqual(stored(copy), before)

    @bounded
    @given(streams(), st.randoms(use_true_random=False))
    def test_recomputation_of_any_order(self, stream: list[Event], random: object) -> None:
        """Recomputation takes the events in whatever order they have arrived, and ends in a state."""
        random.shuffle(stream)  # type: ignore[attr-defined]
        job = recompute(stream, jobid=JOB, owner=OWNER)
        self.assertNotEqual(job.status.state, 0)
        self.assertNotEqual(job.status.jobtype, JobType.UNREGISTERED)
        self.assertEqual(job.hidden.number, len(stream) - 1)

    @bounded
    @given(streams(normal_codes, ordinary_types), st.randoms(use_true_random=False))
    def test_recomputation_forgets_arrival(self, stream: list[Event], random: object) -> None:
        """With codes or times that tell events apart, arrival order means nothing to a recomputation (P4)."""
        ordinary = filter(is_ordinary, reversed(stream))
        told_apart = list({(event.seqcode, event.timestamp): event for event in ordinary}.values())
        first = recompute(told_apart, jobid=JOB, owner=OWNER)
        random.shuffle(told_apart)  # type: ignore[attr-defined]
        self.assertEqual(stored(recompute(told_apart, jobid=JOB, owner=OWNER)), stored(first))


class RealStreams(SynchronousTestCase):
    """Properties of what was recorded."""

    def test_truncated(self) -> None:
        """Every recorded stream, cut anywhere, stored and loaded at every step, ends where the whole run passes."""
        for case in cases("glite")[:40]:
            through = reloaded = None
            for event in accepted(case):
                through = through or blank(event.jobid, OWNER)
                reloaded = restored(reloaded) if reloaded else blank(event.jobid, OWNER)
                step(through, event)
                step(reloaded, event)
                self.assertEqual(stored(through), stored(reloaded))
