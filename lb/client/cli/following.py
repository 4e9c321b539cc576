"""``lb watch --pb``: jobs followed over Perspective Broker, where nothing has to listen on this side.

Changes come from the server's store by their numbers; over a lost connection the server is asked to go on behind the
last one, until this command ends.
"""

from __future__ import annotations

import argparse
import errno
import time
from typing import Any

from lb.client.cli import Surroundings
from lb.client.cli.arrivals import field_text
from lb.client.cli.output import visible, write_json
from lb.client.settings import Address
from lb.model.errors import LBError
from lb.model.query import Query
from lb.model.status import JobStatus
from lb.wire.documents import state_name, status_document


def follow(client: Any, query: Query, server: Address, given: argparse.Namespace, around: Surroundings) -> None:
    """Print the present states, then each change, until interrupted or for as long as is `given`."""
    printed = _Printed(around, given)

    async def begin(session: Any) -> Any:
        return await session.follow(query, server=server)

    async def present(session: Any) -> list[JobStatus]:
        try:
            found: list[JobStatus] = await session.consumer.jobs(query, server=server)
        except LBError as error:
            if error.code != errno.ENOENT:
                raise
            return []
        return found

    # Followed first, then looked at: what changes in between comes twice rather than never.
    following = client.run(begin)
    try:
        for status in client.run(present) if not given.new else ():
            printed.write(status.jobId or "", status)
        end = None if given.running is None else time.monotonic() + given.running
        while True:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return
            change = client.run(lambda session, left=left: following.receive(left))
            if change is not None:
                printed.write(change.jobid, change.status)
    finally:
        client.run(lambda session: following.close())


class _Printed:
    """Prints states, the same state of a job once unless all are wanted."""

    def __init__(self, around: Surroundings, given: argparse.Namespace) -> None:
        self._around = around
        self._given = given
        self._states: dict[str, int | None] = {}

    def write(self, jobid: str, status: JobStatus | None) -> None:
        state = None if status is None else int(status.state)
        if not self._given.every and self._states.get(jobid, -1) == state:
            return
        self._states[jobid] = state
        if self._given.json:
            document = None if status is None else status_document(status)
            write_json(self._around.stdout, {"jobId": jobid, "status": document})
        else:
            cells = [jobid, "-"]
            if status is not None:
                cells = [jobid, state_name(status.state), *(field_text(status, name) for name in self._given.fields)]
            self._around.stdout.write("".join(visible(cell).replace("\n", " ") + "\t" for cell in cells) + "\n")
        self._around.stdout.flush()
