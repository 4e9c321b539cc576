"""Jobs as the scripts of the original tests make them: registered, then events with the code that the last one left.

`Script` writes the lines; whoever makes one says where they go.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from lb.model import jobid
from lb.model.catalogue import SOURCE_CODES, Source
from lb.model.jobid import JobId
from lb.model.seqcode import Sequence
from lb.wire import ulm
from tests.server.fixture import OWNER
from tests.state.make import make

SERVER = "localhost:9000"
NO_CODE = "no_seqcodes_with_CREAM"
JDL = '[ VirtualOrganisation = "VOCE"; ]'
#: The events of a simple job, each with the state after it.
LIFE: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("NetworkServer", "Accepted", {"from": "UserInterface", "from_host": "ui", "local_jobid": "1"}, "Waiting"),
    ("NetworkServer", "EnQueued", {"queue": "q", "job": JDL, "result": "OK"}, "Waiting"),
    ("WorkloadManager", "DeQueued", {"queue": "q"}, "Waiting"),
    ("WorkloadManager", "HelperCall", {"helper_name": "broker", "src_role": "CALLING"}, "Waiting"),
    ("WorkloadManager", "Match", {"dest_id": "ce.example.org/q"}, "Waiting"),
    ("WorkloadManager", "HelperReturn", {"helper_name": "broker", "src_role": "CALLING"}, "Waiting"),
    (
        "WorkloadManager",
        "EnQueued",
        {"queue": "jc", "job": JDL, "result": "OK"},
        "Ready",
    ),
    ("JobController", "DeQueued", {"queue": "jc"}, "Ready"),
    ("JobController", "Transfer", {"destination": "LogMonitor", "dest_host": "h", "job": "j", "result": "OK"}, "Ready"),
    ("LogMonitor", "Accepted", {"from": "JobController", "from_host": "h", "local_jobid": "1"}, "Ready"),
    ("LogMonitor", "Transfer", {"destination": "LRMS", "dest_host": "ce", "job": "j", "result": "OK"}, "Scheduled"),
    ("LogMonitor", "Running", {"node": "wn"}, "Running"),
    ("LogMonitor", "Done", {"status_code": "OK", "exit_code": 0}, "Done"),
    ("LogMonitor", "Clear", {"reason": "USER"}, "Cleared"),
)
READY, RUNNING, DONE = 7, 12, 13  #: events of `LIFE` to these states


class Script:
    """What happens to jobs, a line a call.

    `send` takes a line; `codes` has the last code of each job, and may be set by hand. An event a second.
    """

    def __init__(self, send: Callable[[bytes], None], since: int) -> None:
        self._send = send
        self._times = count(since)
        self.codes: dict[JobId, str] = {}

    def register(
        self,
        jobtype: str = "SIMPLE",
        *,
        job: JobId | None = None,
        source: str = "UserInterface",
        jdl: str = "[ a = 1 ]",
        parent: JobId | None = None,
        subjobs: int = 0,
        exclusive: bool = False,
    ) -> JobId:
        """Register a job, a fresh one unless it is given."""
        job = job or jobid.create(SERVER)
        cream = source.startswith("CREAM")
        code = NO_CODE if cream else Sequence(_source(source)).text
        given = {"jdl": jdl, "ns": "https://ns", "jobtype": jobtype, "nsubjobs": subjobs}
        if parent is not None:
            given["parent"] = str(parent)
        if not cream:
            sequence = Sequence(_source(source), code=code)
            sequence.increment()
            code = sequence.text
        self._write(job, "RegJob", source, code, given, priority=80 if exclusive else 16)
        self.codes[job] = code
        return job

    def log(self, job: JobId, source: str, name: str, /, **given: Any) -> None:
        """An event; its source takes the job over, unless its code is to be none."""
        code = self.codes.get(job) or Sequence(Source.UserInterface).text
        if code != NO_CODE:
            sequence = Sequence(_source(source), code=code)
            sequence.increment()
            code = sequence.text
            sequence.increment()
            self.codes[job] = sequence.text
        self._write(job, name, source, code, given)

    def live(self, job: JobId, steps: int, since: int = 0) -> None:
        """So many of the events of a simple job."""
        for source, name, given, _ in LIFE[since:steps]:
            self.log(job, source, name, **given)

    def _write(self, job: JobId, name: str, source: str, code: str, given: dict[str, Any], priority: int = 0) -> None:
        event = make(name, source, code, next(self._times), of=job, user=OWNER.name, **given)
        event.priority = priority
        self._send(ulm.write(event))


def _source(name: str) -> Source:
    return Source(SOURCE_CODES[name.lower()])
