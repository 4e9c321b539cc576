"""Purging, dumping and loading jobs of all kinds, as the original scripts do."""

from __future__ import annotations

import errno
from typing import Any

from lb.model import jobid
from lb.model.jobid import JobId
from lb.security.identity import Identity
from tests.inventory.script import DONE, LIFE, READY, RUNNING, SERVER
from tests.inventory.test_states import Scripts
from tests.server.administered import ADMIN, ALL, LISTED, REALLY
from tests.server.fixture import OWNER
from tests.web.fixture import exchange, questions

_READER = Identity("/CN=TestIdentity")
_OTHERS = ("/CN=First", "/CN=Second")


class Purge(Scripts):
    """A server with a job of each class."""

    def test_everything(self) -> None:
        """lb-test-purge 1 and 2: all limits 0 leave nothing; jobs that scripts bring into a class show its state."""
        jobs = {name: self.script.register() for name in ("Aborted", "Cleared", "Cancelled", "Waiting", "Done")}
        self.script.log(jobs["Aborted"], "WorkloadManager", "Abort", reason="test")
        self.script.live(jobs["Cleared"], len(LIFE))
        self.script.log(jobs["Cancelled"], "WorkloadManager", "Cancel", status_code="DONE", reason="test")
        self.script.live(jobs["Waiting"], 1)
        self.script.live(jobs["Done"], DONE)
        for name, job in jobs.items():
            self.assertEqual(self.state(job), name)
        purged = self.lb.purge(timeouts=ALL, flags=REALLY | LISTED)
        self.assertEqual(set(purged.jobs or ()), set(map(str, jobs.values())))
        self.assertEqual({self.code(job) for job in jobs.values()}, {errno.EIDRM})


class DumpLoad(Scripts):
    """A server that takes grey jobs, with twenty-one jobs."""

    def server(self, **options: Any) -> Any:
        return super().server(grey_jobs=True, **options)

    def _jobs(self) -> dict[JobId, str]:
        """What is logged, and the state that each job must have."""
        script, states = self.script, dict[JobId, str]()
        simple, runs = script.register(), script.register()
        script.live(runs, RUNNING)
        states |= {simple: "Submitted", runs: "Running"}
        for jobtype, subjobs, running in (("COLLECTION", 3, 1), ("DAG", 2, 0)):
            parent = script.register(jobtype, subjobs=subjobs)
            children = list(jobid.subjobs(parent, subjobs))
            script.live(children[running], RUNNING)
            states |= dict.fromkeys(children, "Submitted")
            states |= {children[running]: "Running", parent: "Running" if jobtype == "COLLECTION" else "Submitted"}
        grey = jobid.create(SERVER)
        script.live(grey, 1)
        states[grey] = "Unknown"
        states |= self._with_sandboxes(0) | self._with_sandboxes(2)
        cream = script.register("CREAM", source="CREAMExecutor")
        managed = script.register()
        script.live(managed, 1)
        for job in cream, managed:
            script.log(job, "CREAMInterface", "CREAMAccepted", local_jobid="1")
            script.log(job, "CREAMInterface", "CREAMStore", command="CMDSTART", result="OK")
            states[job] = "Waiting"
        return states

    def _with_sandboxes(self, subjobs: int) -> dict[JobId, str]:
        """A job whose input comes by one transfer, or by a collection of them."""
        script, job = self.script, self.script.register()
        made = {}
        for kind in "INPUT", "OUTPUT":
            number = subjobs if kind == "INPUT" else 0
            transfer = script.register("FILE_TRANSFER_COLLECTION" if number else "FILE_TRANSFER", subjobs=number)
            script.log(job, "LRMS", "Sandbox", sandbox_type=kind, transfer_job=str(transfer))
            parts = list(jobid.subjobs(transfer, number)) if number else []
            for each in (transfer, *parts):
                script.log(each, "LRMS", "Sandbox", sandbox_type=kind, compute_job=str(job))
            made[kind] = transfer, parts
        (inwards, parts), (outwards, _) = made["INPUT"], made["OUTPUT"]
        if subjobs:
            script.log(parts[1], "LRMS", "FileTransfer", result="START")
            states = {job: "Submitted", inwards: "Running", parts[0]: "Submitted", parts[1]: "Running"}
        else:
            script.live(job, READY)
            for result in "START", "OK":
                script.log(inwards, "LRMS", "FileTransfer", result=result)
            states = {job: "Ready", inwards: "Done"}
        return {**states, outwards: "Submitted"}

    def _change(self, job: JobId, user: str, operation: str) -> None:
        given = {"user_id": user, "user_id_type": "DN", "permission": "READ", "permission_type": "ALLOW"}
        self.script.log(job, "UserInterface", "ChangeACL", operation=operation, **given)

    def _states(self, jobs: dict[JobId, str]) -> dict[JobId, str]:
        """As the pages tell them."""
        found = {}
        for job in jobs:
            peer = ADMIN if jobs[job] == "Unknown" else OWNER  # a grey job is nobody's
            text = exchange(questions(self.lb.server), f"/{job.unique}?text", peer).body.decode()
            found[job] = next(line for line in text.splitlines() if line.startswith("Status=")).partition("=")[2]
        return found

    def test_all_kinds(self) -> None:
        """lb-test-dump-load 1 to 5: of each kind, state and access list are the same after a dump, purge and load."""
        jobs = self._jobs()
        listed = self.script.register()
        for user in *_OTHERS, str(_READER.name):
            self._change(listed, user, "ADD")
        for user in _OTHERS:
            self._change(listed, user, "REMOVE")
        jobs[listed] = "Submitted"
        self.assertEqual(len(jobs), 21)
        self.assertEqual(self._states(jobs), jobs)
        acl = self.status(listed).acl or ""
        self.assertEqual(acl.count("dn:"), 1)
        self.assertIn("dn:/CN=TestIdentity<", acl)
        dumped = self.lb.dump().server_file
        with open(str(dumped)) as file:
            self.assertGreater(sum(1 for line in file if line.strip()), 50)
        self.lb.purge(flags=REALLY)
        known = [job for job, state in jobs.items() if state != "Unknown"]
        self.assertEqual({self.code(job) for job in known}, {errno.EIDRM})
        self.assertIsNone(self.lb.load(dumped).server_file)
        self.assertEqual(self._states(jobs), jobs)
        self.assertEqual(self.status(listed).acl, acl)
        self.assertEqual(self.code(listed, _READER), 0)
