"""``lb convert``: records of batch systems printed as events, or logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from lb.model.status import State
from lb.wire import ulm
from tests.client.site import Server
from tests.client.test_cli import lb
from tests.families.samples import LOG, OLD_LOG, SACCT


class Printing(SynchronousTestCase):
    """Without a network."""

    def _file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_lines(self) -> None:
        """Each line is an event as loggers take it; the jobs' registrations come first."""
        outcome = lb("convert", "slurm", self._file(SACCT), "--place", "c.ex", "--server", "lb.ex", "--zone", "UTC")
        events = [ulm.parse(line.encode(), "/CN=Slurm") for line in outcome.stdout.splitlines()]
        self.assertEqual((outcome.code, events[0].type.name, events[0].text("ns")), (0, "RegJob", "family:slurm@c.ex"))
        self.assertEqual((events[1].text("name"), str(events[1].jobid.server)), ("slurm.submit", "lb.ex:9000"))
        self.assertEqual(events[1].timestamp, 1714557600_000000)
        self.assertEqual(len({event.jobid for event in events}), 9)

    def test_passed_over(self) -> None:
        """What was passed over is told with its file and line, the first ones of many."""
        path = self._file(OLD_LOG)
        outcome = lb("convert", "htcondor", path)
        self.assertEqual(outcome.code, 0)
        self.assertIn(f"lb convert: {path}:1: passed over: event 035 is of no single job\n", outcome.stderr)
        outcome = lb("convert", "htcondor", self._file("nothing\n...\n" * 30))
        self.assertEqual(outcome.stderr.count("\n"), 21)
        self.assertIn("10 more records", outcome.stderr)

    def test_mistakes(self) -> None:
        """Unknown systems and zones are wrong usage, a missing file is a failure."""
        self.assertEqual(lb("convert", "pbs", "x").code, 2)
        self.assertEqual(lb("convert", "slurm", "x", "--zone", "Mars/Olympus").code, 2)
        outcome = lb("convert", "slurm", self.mktemp())
        self.assertEqual((outcome.code, outcome.stderr.count("\n")), (1, 1))


class Logging(TestCase):
    """To a server and a logger over TLS."""

    def _file(self) -> Path:
        path = Path(self.mktemp())
        path.write_text(LOG)
        return path

    async def test_log(self) -> None:
        """P3: jobs are registered and their events logged; a second time changes no state."""
        server = Server(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        path = self._file()

        def convert() -> Any:
            return lb(
                "convert",
                "htcondor",
                str(path),
                "--log",
                "--json",
                "--zone",
                "UTC",
                "--place",
                "ap",
                environ=server.environ,
            )

        outcome = await deferToThread(convert)
        self.assertEqual((outcome.code, outcome.stderr), (0, ""))
        self.assertEqual(outcome.json, {"registered": 2, "logged": 17, "refused": 0})
        states = {job: server.site.status(job) for job in server.site.events}
        self.assertEqual({status.state for status in states.values()}, {State.Done, State.Cancelled})
        self.assertEqual((await deferToThread(convert)).code, 0)
        self.assertEqual({job: server.site.status(job) for job in server.site.events}, states)

    async def test_refused(self) -> None:
        """P5: an event that the logger refuses is told, and fails the command, not the others."""
        server = Server(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        server.site.refuse = lambda event: 22 if event.text("name") == "htcondor.image_size" else 0
        path = self._file()
        outcome = await deferToThread(lambda: lb("convert", "htcondor", str(path), "--log", environ=server.environ))
        self.assertEqual(outcome.code, 1)
        self.assertIn("2 jobs registered, 16 events logged", outcome.stdout)
        self.assertIn("refused by the logger", outcome.stderr)
