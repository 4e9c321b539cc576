"""Described families under any events: order, duplicates and truncation."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.event import Event
from lb.state.fold import blank, recompute, step
from lb.state.generic.description import Type, read
from lb.state.generic.fold import Families
from lb.state.job import Job, decode, encode
from tests.state.generic_jobs import any_events, contents, families, family_job, oven, oven_events
from tests.state.make import JOB, OWNER
from tests.state.strategies import events as other_events

OVENS = {"oven": oven()}
_quick = settings(max_examples=40, deadline=None)


def _played(events: Iterable[Event], known: Families) -> Job:
    job = blank(JOB, OWNER)
    for event in events:
        step(job, event, known)
    return job


class Values(SynchronousTestCase):
    """What is given for an attribute."""

    def test_time_out_of_reach(self) -> None:
        """Seconds that are finite as they are given and no longer so as microseconds are no time."""
        self.assertIsNone(read(Type.TIME, 1e303))
        self.assertEqual(read(Type.TIME, 1.5), 1_500_000)


class Properties(SynchronousTestCase):
    """What holds for every stream."""

    @_quick
    @given(st.lists(oven_events(), max_size=25), st.randoms(use_true_random=False))
    def test_order(self, events: list[Event], random: Random) -> None:
        """P4: events give the same job in any order of arrival."""
        shuffled = events.copy()
        random.shuffle(shuffled)
        job, other = _played([family_job(), *events], OVENS), _played([family_job(), *shuffled], OVENS)
        self.assertEqual(contents(other), contents(job))

    @_quick
    @given(st.lists(oven_events(), max_size=40), st.data())
    def test_duplicates(self, events: list[Event], data: st.DataObject) -> None:
        """P3: events that come again, whenever, change nothing but their count."""
        again = data.draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
        job = _played([family_job(), *events], OVENS)
        before = encode(job)
        for event in again:
            step(job, event, OVENS)
        job.hidden.number -= len(again)
        self.assertEqual(encode(job), before)

    @_quick
    @given(st.lists(st.one_of(oven_events(), oven_events(), other_events()), max_size=50))
    def test_any_stream(self, events: list[Event]) -> None:
        """Any events of any type fold, are stored and come back, and give the same when folded anew."""
        job = _played([family_job(), *events], OVENS)
        anew = recompute([family_job(), *events], jobid=JOB, owner=OWNER, families=OVENS)
        self.assertEqual(encode(anew), encode(job))
        self.assertEqual(encode(decode(encode(job), job.texts)), encode(job))

    @_quick
    @given(st.data())
    def test_any_description(self, data: st.DataObject) -> None:
        """Any valid description folds any stream, cut anywhere, in any order, to one of its states."""
        family = data.draw(families())
        events = data.draw(st.lists(any_events(family), max_size=30))
        known = {"any": family}
        job = _played([family_job("any"), *events], known)
        assert job.hidden.generic is not None
        self.assertIn(job.hidden.generic.now.state, family.states)
        self.assertEqual(job.status.state, family.states[job.hidden.generic.now.state].standard)
        shuffled = data.draw(st.permutations(events))
        self.assertEqual(contents(_played([family_job("any"), *shuffled], known)), contents(job))
