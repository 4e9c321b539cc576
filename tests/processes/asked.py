"""Questions to a running server over its main port, answered in full."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lb.model.jobid import JobId
from lb.model.query import Flag, of_job
from lb.wire import http
from lb.wire.lbxml import requests, results
from tests.processes.daemon import connect


def history(port: int, pki: Path, job: JobId) -> list[dict[str, Any]]:
    """The events of a job in event order, as its status shows them; asked by the user of a development PKI."""
    reader, answers = http.ResponseReader(), []
    with connect(port, pki) as connection:
        connection.sendall(http.request("POST", "/queryJobs", requests.write_jobs(of_job(job, Flag.HISTORY))))
        while not answers:
            data = connection.recv(65536)
            assert data, "no answer"
            answers = reader.feed(data)
    (found,) = results.read_jobs(answers[0].body).jobs
    assert found.status is not None
    events: list[dict[str, Any]] = json.loads(found.status.history or "[]")
    return events
