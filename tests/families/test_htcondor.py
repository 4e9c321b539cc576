"""HTCondor's job event log: from its text to job states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.families import htcondor
from lb.families.occurrence import Occurrence, Origin, PassedOver
from lb.model.jobid import JobId
from lb.model.status import State
from lb.state.generic.loading import shipped
from lb.state.job import Job
from tests.families.converted import folded, sorted_out
from tests.families.samples import LOG, OLD_LOG

NOW = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
ORIGIN = Origin("htcondor", "ap1.ex", "lb.ex:9000", "/CN=Condor")


def read(text: str) -> tuple[list[Occurrence], list[PassedOver]]:
    """What a log tells, and what was passed over."""
    return sorted_out(htcondor.convert(text.splitlines(), UTC, NOW))


def played(occurrences: list[Occurrence]) -> dict[JobId, Job]:
    """Jobs after all these events, in this order."""
    return folded(ORIGIN.events(occurrences))


def ways(text: str) -> dict[str, list[str]]:
    """The exact states that each job of a log goes through."""
    found: dict[str, list[str]] = {}
    occurrences, _ = read(text)
    for local in dict.fromkeys(each.job for each in occurrences):
        mine = [each for each in occurrences if each.job == local]
        states = [
            dict(played(mine[: count + 1])[ORIGIN.job(local)].status.user_tags or ())["htcondor.state"]
            for count in range(len(mine))
        ]
        found[local] = [state for state, before in zip(states, [None, *states], strict=False) if state != before]
    return found


class Logs(SynchronousTestCase):
    """Logs of both forms."""

    def test_ways(self) -> None:
        """Jobs go through the states that their log tells."""
        self.assertEqual(
            ways(LOG),
            {
                "236875.0": ["IDLE", "TRANSFERRING_INPUT", "RUNNING", "TRANSFERRING_OUTPUT", "RUNNING", "COMPLETED"],
                "236876.1": ["IDLE", "RUNNING", "DISCONNECTED", "IDLE", "HELD", "IDLE", "REMOVED"],
            },
        )
        self.assertEqual(
            ways(OLD_LOG), {"18.0": ["IDLE", "RUNNING", "SUSPENDED", "RUNNING", "IDLE", "RUNNING", "KILLED"]}
        )

    def test_any_order(self) -> None:
        """P4: the events of a log lead to the same states in any order of arrival."""
        occurrences, _ = read(LOG)
        ordered = {job: state.status for job, state in played(occurrences).items()}
        for seed in range(5):
            shuffled = occurrences.copy()
            Random(seed).shuffle(shuffled)
            for job, state in played(shuffled).items():
                # A job is registered by whatever is heard of it first.
                state.status.stateEnterTimes[State.Submitted] = ordered[job].stateEnterTimes[State.Submitted]
                self.assertEqual(state.status, ordered[job])

    def test_attributes(self) -> None:
        """What the lines say is shown as tags and in the attributes of the status that mean the same."""
        occurrences, _ = read(LOG)
        jobs = played(occurrences)
        done = jobs[ORIGIN.job("236875.0")].status
        shown = dict(done.user_tags or ())
        self.assertEqual((done.state, done.done_code, done.exit_code), (State.Done, 0, 3))
        self.assertEqual((done.localId, done.destination), ("236875.0", "e1540.chtc.wisc.edu"))
        self.assertEqual(done.ce_node, "slot1_4@e1540.chtc.wisc.edu")
        self.assertEqual(shown["htcondor.dag_node"], "Simple")
        self.assertEqual((shown["htcondor.image_size"], shown["htcondor.memory_usage"]), ("35", "4"))
        self.assertNotIn("htcondor.failures", shown)
        removed = jobs[ORIGIN.job("236876.1")].status
        self.assertEqual((removed.state, removed.cancelReason), (State.Cancelled, "via condor_rm (by user ann)"))
        self.assertEqual(removed.failure_reasons, "Job not found at execution machine")
        self.assertNotIn("htcondor.hold_code", dict(removed.user_tags or ()))

    def test_hold(self) -> None:
        """A held job waits, with the reason and the codes of the hold."""
        occurrences, _ = read(LOG)
        held = [each for each in occurrences if each.job == "236876.1"][:6]
        (job,) = played(held).values()
        shown = dict(job.status.user_tags or ())
        self.assertEqual((shown["htcondor.state"], job.status.state), ("HELD", State.Waiting))
        self.assertEqual(job.status.reason, "Job held by SYSTEM_PERIODIC_HOLD due to memory usage exceeded.")
        self.assertEqual((shown["htcondor.hold_code"], shown["htcondor.hold_subcode"]), ("26", "4"))

    def test_signal(self) -> None:
        """A job that a signal ended is done, and failed; an attempt that failed before is remembered."""
        occurrences, _ = read(OLD_LOG)
        (job,) = played(occurrences).values()
        self.assertEqual((job.status.state, job.status.done_code), (State.Done, 1))
        self.assertEqual(dict(job.status.user_tags or ())["htcondor.signal"], "9")
        self.assertIn("standard input", job.status.failure_reasons or "")
        self.assertEqual(dict(job.status.user_tags or ())["htcondor.hosts"], "10.0.2.4:37941\n10.0.2.5:37941")

    def test_passed_over(self) -> None:
        """P5: events of clusters, unknown ones, what is no event and an event half written are told with their line."""
        _, passed_over = read(OLD_LOG)
        self.assertEqual([each.line for each in passed_over], [1, 18, 20, 35])
        reasons = [each.reason for each in passed_over]
        for reason, words in zip(reasons, ("no single job", "not known", "no head", "not ended"), strict=True):
            self.assertIn(words, reason)

    def test_times(self) -> None:
        """Times are local ones unless they say their zone; where the year is missing it is the last possible one."""

        def time(text: str, zone: timezone) -> datetime:
            (found,) = htcondor.convert([f"001 (1.0.0) {text} Job executing on host: <a>", "..."], zone, NOW)
            assert isinstance(found, Occurrence)
            return datetime.fromtimestamp(found.time / 1_000_000, UTC)

        prague = timezone(timedelta(hours=2))
        self.assertEqual(time("2022-07-27 14:00:00", prague), datetime(2022, 7, 27, 12, tzinfo=UTC))
        self.assertEqual(time("2022-07-27T14:00:00.250Z", prague), datetime(2022, 7, 27, 14, 0, 0, 250000, UTC))
        self.assertEqual(time("07/17 09:00:00", UTC), datetime(2022, 7, 17, 9, tzinfo=UTC))
        self.assertEqual(time("01/01 20:00:00", UTC), datetime(2023, 1, 1, 20, tzinfo=UTC))
        self.assertEqual(time("02/29 09:00:00", UTC), datetime(2020, 2, 29, 9, tzinfo=UTC))
        (none,) = htcondor.convert(["001 (1.0.0) 13/41 09:00:00 x", "..."], UTC, NOW)
        self.assertIsInstance(none, PassedOver)

    def test_numbers(self) -> None:
        """Events of one second are told apart and keep their order."""
        occurrences, _ = read(LOG)
        last = [(each.event, each.number) for each in occurrences if each.job == "236875.0"][-4:]
        self.assertEqual([number for _, number in last], [1, 2, 3, 4])

    def test_vocabulary(self) -> None:
        """Every number of a job's events has its name in the family, and no event carries what the family lacks."""
        family = shipped()["htcondor"]
        for number in (*range(35), *range(40, 47)):
            (found,) = htcondor.convert([f"{number:03} (1.0.0) 2022-01-01 00:00:00 Text", "\tline", "..."], UTC, NOW)
            assert isinstance(found, Occurrence)
            self.assertLessEqual(set(found.given), set(family.events[found.event].attributes), found.event)
        names = {htcondor._KINDS[number][0] for number in htcondor._KINDS}
        self.assertEqual(names, set(family.events))

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """A log cut or damaged anywhere never raises, and all that it still tells folds."""
        lines = (LOG + OLD_LOG).split("\n")
        for _ in range(data.draw(st.integers(0, 4))):
            place = data.draw(st.integers(0, len(lines) - 1))
            lines[place] = data.draw(
                st.sampled_from(["...", "", "\x00", lines[place][: data.draw(st.integers(0, 60))], "012 (1.0.0)"])
            )
        text = "\n".join(lines)[: data.draw(st.integers(0, 5000))]
        played(read(text)[0])
