"""Replays against a site in memory, by a clock that the test winds."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lb.client.producer import Refused, line_of
from lb.client.recording import Recording, read
from lb.client.replay import Replay, Report, Stage
from lb.model.errors import LBError, text_of
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.query import Flag
from lb.model.status import JobStatus, State
from lb.wire import il
from tests.client import peers
from tests.client.site import Site
from tests.client.test_recording import line, registration, sample


class Memory:
    """A producer and a consumer that use a site directly."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def store(self, event: Event) -> None:
        reply = self.site.register(event)
        error = il.error_of(reply)
        if error is not None:
            raise error

    async def log_many(self, events: Iterable[Event], *, refused: Refused) -> int:
        taken = 0
        for event in events:
            code = self.site.log(event)
            if code:
                refused(line_of(event, 4, user=False), LBError(code, text_of(code)))
            else:
                taken += 1
        return taken

    async def events(self, job: JobId, *, level: int) -> list[Event]:
        return self.site.find(job)

    async def status(self, job: JobId, flags: Flag) -> JobStatus:
        return self.site.status(job)


class ReplayTests(SynchronousTestCase):
    """What is sent where, and what is told in the end."""

    def setUp(self) -> None:
        self.site = Site()
        self.clock = Clock()
        self.stages: list[Stage] = []

    def start(self, *recordings: Recording, copies: int = 1, **options: Any) -> Deferred[Report]:
        memory = Memory(self.site)
        session: Any = SimpleNamespace(identity=peers.IDENTITY, producer=memory, consumer=memory)
        replay = Replay(self.clock, session, server="localhost:9100", watch=self.stages.append, **options)
        return Deferred.fromCoroutine(replay.run(recordings, copies))

    def test_samples(self) -> None:
        """P3, P4: every recorded event is there once, events of a job in their order, and the states come out."""
        for name, state in (("job-typical", State.Cleared), ("job-resubmitted", State.Aborted)):
            self.setUp()
            recording = sample(name)
            report = self.successResultOf(self.start(recording))
            self.assertTrue(report.complete)
            self.assertEqual((report.registered, report.logged), (1, len(recording.events) - 1))
            (events,) = self.site.events.values()
            self.assertEqual(
                [(event.type, event.timestamp, event.seqcode) for event in events],
                [(event.type, event.timestamp, event.seqcode) for event in recording.events],
            )
            (status,) = report.states
            self.assertEqual((status.state, status.owner), (state, peers.IDENTITY))

    def test_collection(self) -> None:
        """A collection's subjobs are those that its registration makes: each event finds its job."""
        report = self.successResultOf(self.start(sample("collection-100"), copies=3))
        self.assertTrue(report.complete)
        self.assertEqual((report.registered, report.logged, len(report.states)), (3, 3 * 1781, 303))
        self.assertEqual(sum(map(len, self.site.events.values())), 3 * 1782)

    def test_refused(self) -> None:
        """P5: what the logger refuses is reported, and nothing waits for it."""
        self.site.refuse = lambda event: errno.EINVAL if event.type.name == "Match" else 0
        report = self.successResultOf(self.start(sample("job-typical")))
        self.assertEqual({reason for _, reason in report.refused}, {"Invalid argument"})
        self.assertFalse(report.complete)
        self.assertEqual(report.missing, {})

    def test_invisible(self) -> None:
        """What does not appear is waited for until the patience is over, then counted as missing."""
        self.site.find = lambda job: []  # type: ignore[method-assign]
        replaying = self.start(read("x", [registration(), line("Running", NODE="a")]), patience=30.0)
        self.clock.pump([0.5] * 59)
        self.assertNoResult(replaying)
        self.clock.pump([2] * 3)
        report = self.successResultOf(replaying)
        self.assertEqual(list(report.missing.values()), [2])
        self.assertFalse(report.complete)

    def test_late_delivery(self) -> None:
        """Events that arrive later are waited for, as long as something arrives."""
        find = self.site.find
        self.site.find = lambda job: find(job)[: int(self.clock.seconds() / 20)]  # type: ignore[method-assign]
        replaying = self.start(sample("job-typical"), patience=30.0)
        self.clock.pump([0.5] * 790)
        self.assertNoResult(replaying)
        self.clock.pump([0.5] * 20)
        self.assertTrue(self.successResultOf(replaying).complete)

    def test_rate(self) -> None:
        """lb-generate-events 1: with a rate no more events are sent than that many a second."""
        replaying = self.start(sample("job-resubmitted"), rate=40.0)
        for second in range(1, 4):
            self.clock.pump([0.05] * 20)
            self.assertLessEqual(len(self.site.logged), 40 * second + 2)
            self.assertGreaterEqual(len(self.site.logged), 40 * second - 2)
        self.clock.pump([0.05] * 40)
        self.assertTrue(self.successResultOf(replaying).complete)

    def test_progress(self) -> None:
        """Who watches is told how far each stage is, to its end."""
        self.successResultOf(self.start(sample("collection-100")))
        last = {stage.name: stage for stage in self.stages}
        self.assertEqual(set(last), {"register", "log", "wait"})
        self.assertEqual(last["wait"].done, last["wait"].total)

    def test_registration_fails(self) -> None:
        """A registration that the server refuses ends the replay with its error."""
        self.site.register = lambda event: il.Reply(600, 0, "not here")  # type: ignore[method-assign]
        error = self.failureResultOf(self.start(sample("job-typical")), LBError).value
        self.assertEqual(error.code, errno.EPERM)
        self.assertEqual(self.site.logged, [])
