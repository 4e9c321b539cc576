"""Slurm's accounting: from sacct's lines to job states."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from lb.families import slurm
from lb.families.occurrence import Occurrence, Origin, PassedOver
from lb.model.jobid import JobId
from lb.model.status import State
from lb.state.job import Job
from tests.families.converted import folded, sorted_out
from tests.families.samples import SACCT

NOW = int(datetime(2024, 5, 1, 13, tzinfo=UTC).timestamp()) * 1_000_000
ORIGIN = Origin("slurm", "cluster.ex", "lb.ex:9000", "/CN=Slurm")


def read(text: str) -> tuple[list[Occurrence], list[PassedOver]]:
    """What a listing tells, and what was passed over."""
    return sorted_out(slurm.convert(text.splitlines(), UTC, NOW))


def played(occurrences: list[Occurrence]) -> dict[JobId, Job]:
    """Jobs after all these events, in this order."""
    return folded(ORIGIN.events(occurrences))


class Slurm(SynchronousTestCase):
    """sacct's lines."""

    def setUp(self) -> None:
        self.occurrences, self.passed_over = read(SACCT)

    def test_states(self) -> None:
        """Every kind of record leads to its exact state and the standard one near to it, in any order of events."""
        for seed in range(3):
            occurrences = self.occurrences.copy()
            if seed:
                Random(seed).shuffle(occurrences)
            jobs = played(occurrences)
            for local, exact, standard, done_code in (
                ("123", "COMPLETED", State.Done, 0),
                ("124", "CANCELLED", State.Cancelled, -1),
                ("125_1", "TIMEOUT", State.Aborted, -1),
                ("125_2", "RUNNING", State.Running, -1),
                ("126", "OUT_OF_MEMORY", State.Aborted, -1),
                ("127", "FAILED", State.Done, 1),
                ("128", "PENDING", State.Waiting, -1),
                ("129", "SUSPENDED", State.Running, -1),
                ("130", "COMPLETING", State.Running, -1),
            ):
                status = jobs[ORIGIN.job(local)].status
                shown = dict(status.user_tags or ())
                self.assertEqual((shown["slurm.state"], status.state, status.done_code), (exact, standard, done_code))
            self.assertTrue(jobs[ORIGIN.job("129")].status.suspended)

    def test_attributes(self) -> None:
        """What the fields say is shown as tags and in the attributes of the status that mean the same."""
        jobs = played(self.occurrences)
        status = jobs[ORIGIN.job("123")].status
        shown = dict(status.user_tags or ())
        self.assertEqual((status.localId, status.destination, status.ce_node), ("123", "long", "node[01-02]"))
        self.assertEqual((shown["slurm.name"], shown["slurm.user"], shown["slurm.cpus"]), ("align", "ann", "64"))
        self.assertEqual(shown["slurm.max_rss"], "1.5G")
        self.assertEqual(jobs[ORIGIN.job("127")].status.exit_code, 3)
        self.assertEqual(dict(jobs[ORIGIN.job("125_1")].status.user_tags or ())["slurm.signal"], "15")
        cancelled = jobs[ORIGIN.job("124")].status
        self.assertEqual((cancelled.cancelReason, cancelled.ce_node, cancelled.reason), ("1000", None, None))
        self.assertEqual(cancelled.stateEnterTimes[State.Running], 0)
        # The separator in the name of a job shifts nothing.
        self.assertEqual(dict(cancelled.user_tags or ())["slurm.name"], "a|b")

    def test_times(self) -> None:
        """Events have the times of the records; states of unknown beginning that of the listing."""
        jobs = played(self.occurrences)
        times = jobs[ORIGIN.job("123")].status.stateEnterTimes
        begin = int(datetime(2024, 5, 1, 10, tzinfo=UTC).timestamp())
        self.assertEqual([times[state] - begin for state in (State.Waiting, State.Running, State.Done)], [0, 5, 3600])
        self.assertEqual(jobs[ORIGIN.job("129")].status.lastUpdateTime, NOW)

    def test_requeued(self) -> None:
        """A job that Slurm takes back in the very second of its failure runs a second time."""
        states = [(each.event, each.number) for each in self.occurrences if each.job == "126"]
        self.assertEqual(states, [("submit", 1), ("start", 2), ("end", 3), ("submit", 5), ("start", 6), ("end", 7)])
        status = played([each for each in self.occurrences if each.job == "126" and each.number < 7])
        self.assertEqual(status[ORIGIN.job("126")].status.state, State.Running)

    def test_restarts(self) -> None:
        """Where the listing counts restarts, a listing of the last attempt alone has the same numbers."""
        head, row = "JobID|State|Submit|Restarts", "126|PENDING|2024-05-01T10:30:00|1"
        (found,), _ = read(f"{head}\n{row}\n")
        self.assertEqual(found.number, 5)

    def test_again(self) -> None:
        """P3: a listing that is converted again, or a later one, repeats the same events."""
        self.assertEqual(read(SACCT)[0], self.occurrences)
        earlier, _ = read("".join(SACCT.splitlines(keepends=True)[:4]))
        self.assertEqual(self.occurrences[: len(earlier)], earlier)

    def test_passed_over(self) -> None:
        """P5: what cannot be converted is told with its line, and harms no other."""
        self.assertEqual([each.line for each in self.passed_over], [8, 15, 16])
        reasons = "\n".join(each.reason for each in self.passed_over)
        for words in ("array", "'EXPLODED' is no state", "3 fields"):
            self.assertIn(words, reasons)

    def test_never_ran(self) -> None:
        """A start without a node is none; where nodes are not listed, that of a cancelled job is none."""
        for head, cell, events in (
            ("NodeList|", "None assigned|", ["submit", "end"]),
            ("NodeList|", "n1|", ["submit", "start", "end"]),
            ("", "", ["submit", "end"]),
        ):
            row = f"{cell}CANCELLED by 0|2024-05-01T10:00:00|2024-05-01T10:05:00|2024-05-01T10:05:00"
            occurrences, _ = read(f"JobID|{head}State|Submit|Start|End\n124|{row}\n")
            self.assertEqual([each.event for each in occurrences], events)

    def test_odd_lines(self) -> None:
        """Empty lines and repeated headings say nothing; lines without a job or a state are passed over."""
        head = "JobID|State|MaxRSS"
        occurrences, passed_over = read(
            f"{head}\n\n1|RUNNING|\n1.0|RUNNING|odd\n{head}\n|RUNNING|\n2||\n3.0|FAILED|1K\n"
        )
        self.assertEqual([(each.event, each.time) for each in occurrences], [("state", NOW)])
        self.assertEqual([each.reason for each in passed_over], ["no JobID", "2: no State"])

    def test_no_heading(self) -> None:
        """Without a heading nothing is guessed."""
        occurrences, (problem,) = read("123|COMPLETED|0:0\n")
        self.assertEqual(occurrences, [])
        self.assertIn("heading", problem.reason)

    def test_all_states(self) -> None:
        """Every state that the family knows can be read from a listing."""
        from lb.state.generic.loading import shipped

        for name in shipped()["slurm"].states:
            if name == "SUBMITTED":
                continue
            occurrences, _ = read(f"JobID|State|Submit|Start|End\n1|{name}|2024-05-01T10:00:00|Unknown|Unknown\n")
            (job,) = played(occurrences).values()
            self.assertEqual(dict(job.status.user_tags or ())["slurm.state"], name)
