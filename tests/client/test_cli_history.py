"""lb history: the states that a job went through, made of its events (spec: cli.md §2.2)."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lb.model import jobid
from lb.model.jobid import JobId
from lb.state import fold
from lb.wire.documents import state_name
from tests.client.site import Server
from tests.client.test_cli import Outcome, lb

#: Event, source and attributes, and the state after it.
LIFE = (
    ("Accepted", "NetworkServer", ("--from", "UserInterface", "--from_host", "ui", "--local_jobid", "1"), "Waiting"),
    ("Match", "WorkloadManager", ("--dest_id", "ce1"), "Waiting"),
    ("Running", "LogMonitor", ("--node", "wn"), "Running"),
    ("Done", "LogMonitor", ("--status_code", "OK", "--exit_code", "0"), "Done"),
)


class HistoryTests(TestCase):
    """The command against a site behind real ports."""

    def setUp(self) -> None:
        self.server = Server(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.close()))

    def lb(self, *arguments: str) -> Deferred[Outcome]:
        return deferToThread(lb, *arguments, environ=self.server.environ)

    async def live(self, job: str, code: str) -> None:
        """The events of a job, each with the code that the last one left."""
        for event, source, given, _ in LIFE:
            arguments = ("log", event, "-j", job, "-s", source, "-c", code, *given)
            code = (await self.lb(*arguments)).stdout.strip()

    async def registered(self, *arguments: str) -> tuple[str, str]:
        """A job and its code."""
        found = (await self.lb("register", "--json", *arguments)).json
        return found["jobId"], found["sequence"]

    async def test_life(self) -> None:
        """Each event is told with the state after it, as a table, as JSON, and as bare lines for scripts."""
        job, code = await self.registered()
        await self.live(job, code)
        wanted = [("RegJob", "Submitted"), *((event, state) for event, _, _, state in LIFE)]
        (found,) = (await self.lb("history", job, "--json", "-f", "destination,exit_code")).json
        self.assertEqual([(each["event"], each["state"]) for each in found["states"]], wanted)
        self.assertEqual([each["destination"] for each in found["states"]], ["", "", "ce1", "ce1", "ce1"])
        self.assertEqual(found["states"][-1]["state"], state_name(self.server.site.status(jobid.parse(job)).state))
        lines = (await self.lb("history", "--compat", job)).stdout.splitlines()
        self.assertEqual([tuple(line.split("\t")[2:0:-1]) for line in lines], wanted)
        table = (await self.lb("history", job)).stdout
        self.assertTrue(table.startswith(f"{job}\nTIME "))
        self.assertRegex(table, r"Z  Running +Running +LogMonitor\n")

    async def test_changes(self) -> None:
        """Only what changed the state, when so asked."""
        job, code = await self.registered()
        await self.live(job, code)
        (found,) = (await self.lb("history", job, "--json", "--changes")).json
        self.assertEqual([each["event"] for each in found["states"]], ["RegJob", "Accepted", "Running", "Done"])

    async def test_registered_again(self) -> None:
        """The history of a job that was registered twice has two lines (lb-test-job-registration 3)."""
        job, _ = await self.registered()
        await self.registered("--jobid", job)
        self.assertEqual(len((await self.lb("history", "--compat", job)).stdout.splitlines()), 2)

    async def test_subjob(self) -> None:
        """A subjob that was not registered itself begins as its parent's registration made it."""
        parent, code = await self.registered("--type", "collection", "-n", "1", "--seed", "s")
        (child,) = jobid.subjobs(jobid.parse(parent), 1, "s")
        (registration,) = self.server.site.events[jobid.parse(parent)]
        known = self.server.site.status

        def status(job: JobId) -> object:
            found = known(job)
            if job == child:
                found.parent_job = parent
            return found

        self.server.site.status = status  # type: ignore[method-assign,assignment]
        self.assertIn(child, fold.subjobs_of(registration))
        await self.live(str(child), code)
        (found,) = (await self.lb("history", str(child), "--json", "-f", "parent_job")).json
        self.assertEqual([each["state"] for each in found["states"]], [state for _, _, _, state in LIFE])
        self.assertEqual({each["parent_job"] for each in found["states"]}, {parent})

    async def test_failures(self) -> None:
        """A job that is not there does not hide the others; two forms at once are a mistake."""
        job, _ = await self.registered()
        nowhere = f"https://{self.server.address}/nowhere"
        outcome = await self.lb("history", nowhere, job, "--compat")
        self.assertEqual((outcome.code, len(outcome.stdout.splitlines())), (1, 1))
        self.assertIn("lb history: edg_wll_JobLog: No such file or directory (", outcome.stderr)
        self.assertRegex(
            (await self.lb("history", nowhere)).stderr, rf"\Alb history: {nowhere}: No such file[^\n]+\n\Z"
        )
        self.assertEqual((await self.lb("history", job, "--compat", "--json")).code, 2)
        self.assertEqual((await self.lb("history", job, "-f", "nothing")).code, 2)
