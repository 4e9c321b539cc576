"""The timeline: everything has its place, nothing covers anything, and the present state is the last."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.catalogue import BY_NAME, SOURCE_NAMES
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.status import STATES, JobStatus, State
from lb.web.timeline import COLUMNS, LEFT, WIDTH, Layout, layout

SECOND = 1_000_000
JOB = JobId("localhost", 9000, "abc")
#: Seconds that are close, far, and equal.
SECONDS = st.integers(1, 40) | st.integers(1, 2_000_000_000)


def event(timestamp: int, source: int = 1) -> Event:
    return Event(
        BY_NAME["Clear"], JOB, timestamp=timestamp, host="h", source=source, seqcode="", user=None, attributes={}
    )


def status(state: State, **entered: int) -> JobStatus:
    times = [0] * STATES
    for name, seconds in entered.items():
        times[State[name]] = seconds
    return JobStatus(state=state, stateEnterTimes=times, lastUpdateTime=max(times) * SECOND)


def drawn(job: JobStatus, *events: Event) -> Layout:
    picture = layout(job, events)
    assert picture is not None
    return picture


class Timelines(SynchronousTestCase):
    """Geometry without a picture."""

    def test_nothing(self) -> None:
        """Without any time there is no picture."""
        self.assertIsNone(layout(JobStatus(), ()))

    def test_states(self) -> None:
        """States follow each other in the order of their times and fill the band without a gap."""
        picture = drawn(status(State.Done, Submitted=10, Waiting=20, Running=15, Done=500))
        self.assertEqual(
            [segment.state for segment in picture.segments], [State.Submitted, State.Running, State.Waiting, State.Done]
        )
        for one, other in pairwise(picture.segments):
            self.assertAlmostEqual(one.x + one.width, other.x)
        self.assertIn("Waiting from 1970-01-01T00:00:20Z, 8 min", [segment.hint for segment in picture.segments])

    def test_present_state_is_last(self) -> None:
        """A clock ahead does not make an older state the last one; recorded of a job aborted before it was done."""
        for done in (100, 107):
            picture = drawn(status(State.Aborted, Submitted=10, Done=done, Aborted=100))
            self.assertEqual(picture.segments[-1].state, State.Aborted)
        picture = drawn(status(State.Waiting, Submitted=10, Running=20, Waiting=20))
        self.assertEqual([flag.state for flag in picture.flags], [State.Submitted, State.Waiting])

    def test_entries_stand_at_their_event(self) -> None:
        """Times of states are whole seconds; a state stands at the first event of its second."""
        picture = drawn(status(State.Submitted, Submitted=10), event(10 * SECOND + 300_000), event(12 * SECOND))
        self.assertEqual(picture.segments[0].x, picture.dots[0].x)

    def test_words(self) -> None:
        """The words say what the picture shows."""
        picture = drawn(status(State.Running, Submitted=10, Running=70), event(10 * SECOND), event(70 * SECOND))
        self.assertEqual(
            picture.summary,
            "Submitted entered at 1970-01-01T00:00:10Z; Running entered at 1970-01-01T00:01:10Z; "
            "2 events between 1970-01-01T00:00:10Z and 1970-01-01T00:01:10Z",
        )

    @given(
        st.lists(SECONDS | st.just(0), min_size=STATES, max_size=STATES),
        st.sampled_from(list(State)),
        st.lists(st.tuples(SECONDS, st.integers(0, 19)), max_size=120),
    )
    @settings(deadline=None, max_examples=80)
    def test_everything_has_its_place(self, entered: list[int], state: State, logged: list[tuple[int, int]]) -> None:
        """All events are counted once in the lane of their source, all is inside the picture, no names overlap."""
        job = JobStatus(state=state, stateEnterTimes=entered)
        events = [event(seconds * SECOND, source) for seconds, source in logged]
        picture = layout(job, events)
        if picture is None:
            self.assertFalse(events)
            return
        self.assertEqual(sum(dot.number for dot in picture.dots), len(events))
        self.assertEqual(set(picture.lanes), {SOURCE_NAMES.get(source, "Undefined") for _, source in logged})
        for dot in picture.dots:
            self.assertTrue(LEFT <= dot.x <= WIDTH)
        places = {dot.x for dot in picture.dots} | {flag.x for flag in picture.flags}
        self.assertLessEqual(len(places), COLUMNS + STATES + 1)
        for segment in picture.segments:
            self.assertGreater(segment.width, 0)
            self.assertLessEqual(segment.x + segment.width, WIDTH)
        names: dict[int, list[tuple[float, float]]] = {}
        for flag in picture.flags:
            width = 7.2 * len(State(flag.state).name)
            begin = flag.x - width if flag.leftwards else flag.x
            names.setdefault(flag.row, []).append((begin, begin + width))
        for row in names.values():
            for (_, end), (begin, _) in pairwise(sorted(row)):
                self.assertLessEqual(end, begin)
        for one, other in pairwise(picture.times):
            self.assertLess(one.x + 7.2 * len(one.text), other.x)
