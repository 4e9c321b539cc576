"""Rates and durations of jobs by destination: counted once, merged without loss, answered within what is kept."""

from __future__ import annotations

import errno
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.query import Attribute, Condition, Operator
from lb.model.status import JobStatus, State
from lb.server.statistics import Counts, figures
from lb.store.sqlite import SQLiteStore
from lb.store.statistics import ARCHIVES, Count
from lb.wire.lbxml.statistics import Figure, Function, Request, by_destination
from tests.server.fixture import Server
from tests.server.test_ingest import line, registration
from tests.store.raw import execute

NOW = 1_800_000_000
CE = "ce:2119/queue"


def rate(state: State, minor: int = 0, destination: str = CE, since: int = NOW - 3_000, until: int = NOW) -> Request:
    return Request(Function.RATE, state, since, until, minor=minor, groups=by_destination(destination))


def way(base: State, final: State, minor: int = 0) -> Request:
    groups = by_destination(CE)
    return Request(Function.DURATION_FROM_TO, base, NOW - 3_000, NOW, final, minor, groups)


class Counted(SynchronousTestCase):
    """Counts that are put into a store."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        store = SQLiteStore(directory / "lb.sqlite")
        self.addCleanup(store.close)
        self.writer, self.reader = store.writer(), store.reader()
        self.addCleanup(self.writer.close)
        self.addCleanup(self.reader.close)

    def _job(self, seconds: dict[State, int], destination: str | None = CE) -> None:
        """A job that entered states so many seconds ago."""
        status, before = JobStatus(destination=destination), State.Undefined
        for state, ago in seconds.items():
            status.state = state
            status.stateEnterTime = (NOW - ago) * 1_000_000
            status.stateEnterTimes[state] = NOW - ago
            status.done_code = 0 if state is State.Done else -1
            counts = Counts()
            counts.entered(status, before)
            counts.entered(status, state)  # a step that changes no state
            self.writer.write([], [], counts=counts.all())
            before = state

    def test_figures(self) -> None:
        """lb-test-statistics 2 to 5: rates, mean ways and their dispersion, for one destination and for all."""
        for number in range(10):
            self._job({State.Submitted: 100, State.Running: 90 - number, State.Done: 50, State.Cleared: 1})
        self._job({State.Submitted: 100, State.Running: 80}, "other")
        self._job({State.Submitted: 100, State.Running: 80}, None)
        (running,) = figures(self.reader.statistics, rate(State.Running), NOW).figures
        self.assertAlmostEqual(running.rate or 0, 10 / 3_000)
        (there,) = figures(self.reader.statistics, way(State.Submitted, State.Running), NOW).figures
        self.assertAlmostEqual(there.duration or 0, 14.5)
        self.assertAlmostEqual(there.dispersion or 0, 8.25 / 14.5)
        (done,) = figures(self.reader.statistics, way(State.Submitted, State.Done), NOW).figures
        self.assertGreater(done.duration or 0, 20)
        self.assertEqual(done.dispersion, 0)
        everywhere = figures(self.reader.statistics, rate(State.Running, destination=""), NOW)
        self.assertEqual([each.group for each in everywhere.figures], [CE, "other"])

    def test_archives(self) -> None:
        """The finest archive that reaches back far enough is used, and named; what lies before all is not told."""
        self._job({State.Running: 5})
        for ago, width in ((600, 10), (601, 60), (1_800, 60), (1_801, 900), (10_800, 900), (10_801, 3_600)):
            found = figures(self.reader.statistics, rate(State.Running, since=NOW - ago), NOW)
            self.assertEqual((found.since, found.until), (NOW - ago, NOW))
            self.assertEqual((found.resolution_since, found.resolution_until), (width, width))
        found = figures(self.reader.statistics, rate(State.Running, since=5), NOW)
        self.assertEqual(found.since, NOW - 604_800)

    def test_refused(self) -> None:
        """wire-query.md §8.4: what is not counted, not grouped or not there, each in its words."""
        self._job({State.Running: 5})
        by_owner = ((Condition(Attribute.OWNER, Operator.EQUAL, "x"),),)
        for asked, code, words in (
            (Request(Function.DURATION, State.Done, 1, 2), errno.ENOSYS, "durations of a state are not counted"),
            (Request(Function.RATE, State.Done, 1, 2), errno.ENOSYS, "the only supported grouping is by destination"),
            (Request(Function.RATE, State.Done, 1, 2, groups=by_owner), errno.ENOSYS, "the only supported"),
            (rate(State.Running, since=5, until=5), errno.EINVAL, "ends before it begins"),
            (rate(State.Waiting), errno.ENOENT, "no matching state counter"),
            (rate(State.Running, minor=1), errno.ENOENT, "no matching state counter"),
            (way(State.Ready, State.Running), errno.ENOENT, "no matching state counter"),
            (rate(State.Running, destination="x"), errno.ENOENT, "no matching group"),
            (rate(State.Running, since=NOW + 1, until=NOW + 9), errno.ENOENT, "no data available"),
        ):
            error = self.assertRaises(LBError, figures, self.reader.statistics, asked, NOW)
            self.assertEqual(error.code, code, asked)
            self.assertIn(words, error.description)

    def test_merging(self) -> None:
        """Merging slots loses no count within the longest span, and what is asked for of whole slots stays the same."""

        @settings(max_examples=25, deadline=None)
        @given(
            st.lists(
                st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 700_000), st.integers(1, 3), st.integers(0, 9)),
                max_size=30,
            ),
            st.integers(1, 7),
        )
        def merged(counts: list[tuple[str, int, int, int]], most: int) -> None:
            execute(self.writer, "DELETE FROM statistics")
            for group, ago, number, seconds in counts:
                start = (NOW - ago) // 10 * 10
                self.writer.write([], [], counts=[Count("Running/0", group, start, number, seconds, seconds**2)])
            horizon = NOW - ARCHIVES[-1].span
            while self.writer.statistics.merge(NOW, most):
                pass
            slots = self.reader.statistics.slots("Running/0", None, 0, NOW + 10)
            kept = sum(slot.number for slot in slots)
            self.assertGreaterEqual(kept, sum(n for _, ago, n, _ in counts if NOW - ago >= horizon))
            self.assertLessEqual(kept, sum(n for _, _, n, _ in counts))
            for slot in slots:
                allowed = max(a.width for a in ARCHIVES if a.width == slot.width)
                self.assertEqual(slot.start % allowed, 0)
            fine = [slot for slot in slots if slot.width == 10]
            self.assertTrue(all(slot.start >= NOW - 620 for slot in fine))

        merged()

    def test_partial_slots(self) -> None:
        """A slot half in the time asked for counts half; one that has not ended counts whole."""
        self.writer.write([], [], counts=[Count("Running/0", CE, NOW - 100, 10)])
        (half,) = figures(self.reader.statistics, rate(State.Running, since=NOW - 95, until=NOW - 90), NOW).figures
        self.assertEqual(half, Figure(CE, rate=1.0))
        self.writer.write([], [], counts=[Count("Running/0", "new", NOW, 10)])
        asked = rate(State.Running, destination="new", since=NOW - 8, until=NOW + 2)
        (begun,) = figures(self.reader.statistics, asked, NOW + 2).figures
        self.assertEqual(begun, Figure("new", rate=1.0))


class OfEvents(SynchronousTestCase):
    """Events that are taken in."""

    def test_once(self) -> None:
        """P3: an event that comes twice counts once; one that changes no state does not count."""
        directory = Path(self.mktemp())
        directory.mkdir()
        server = Server(directory)
        self.addCleanup(server.close)
        matched = line("Match", f'DG.MATCH.DEST_ID="{CE}" ', source="WorkloadManager", number=1)
        runs = line("Running", 'DG.RUNNING.NODE="wn" ', source="LogMonitor", number=2)
        for each in (registration(), matched, runs, runs, matched):
            server.send(each)
        slots = server.reader.statistics.slots("Running/0", CE, 0, 1 << 40)
        self.assertEqual([slot.number for slot in slots], [1])
