"""Connections between jobs: what ConnectJob and DisconnectJob do, and the end of a connected job.

Spec: state-machine.md §15.2. The other side gets an event of its own, in the transaction of the first; another job
that is not here never stops the one that names it (S30).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from lb.model.catalogue import BY_NAME, Priority, Source
from lb.model.event import Event, Value
from lb.model.jobid import parse_cached
from lb.model.status import JobType, State
from lb.server.batch import Batch
from lb.store.interface import ConnectionChange, Link, StoredJob

CONNECT: Final = BY_NAME["ConnectJob"]
DISCONNECT: Final = BY_NAME["DisconnectJob"]

#: States in which a job's connections end.
_ENDS: Final = frozenset({State.Done, State.Aborted, State.Cancelled})


class Connections:
    """Keeps the connections of one batch."""

    log = Logger()

    def __init__(self, batch: Batch, now: Callable[[], int], *, user: str) -> None:
        """`now`: microseconds, never the same twice; `user` is this server's."""
        self._batch = batch
        self._now = now
        self._user = user

    @staticmethod
    def check(event: Event) -> None:
        """Raises EINVAL for an event that names no job to be connected with; to be called before its step."""
        if event.type is CONNECT or event.type is DISCONNECT:
            parse_cached(event.text("dest_jobid") or "")

    def follow(self, job: StoredJob, before: int, event: Event) -> None:
        """After a step of `job`, which was in state `before`."""
        if event.type is CONNECT or event.type is DISCONNECT:
            self._change(job, event)
            if event.source != Source.LBServer:
                self.mirror(job, event)
        state = job.state.status.state
        if state != before and state in _ENDS:
            self._batch.connections.append(ConnectionChange(job.key, str(job.jobid), Link.INACTIVE))

    def _change(self, job: StoredJob, event: Event) -> None:
        other = str(parse_cached(event.text("dest_jobid") or ""))
        if event.type is CONNECT:
            # A registration's number of a type is one above the status's.
            change = ConnectionChange(job.key, other, Link.ACTIVE, event.number("jobtype") - 1)
        else:
            change = ConnectionChange(job.key, other, Link.CANCELLED)
        self._batch.connections.append(change)

    def mirror(self, job: StoredJob, event: Event) -> None:
        """Connect the other job, too, when it is here."""
        named = parse_cached(event.text("dest_jobid") or "")
        other = self._batch.find(named)
        if other is None:
            self.log.info("{job} is connected to {other}, which is not known here", job=job.jobid, other=named)
            return
        attributes: dict[str, Value] = {"dest_jobid": str(job.jobid)}
        if event.type is CONNECT:
            attributes["jobtype"] = max(job.state.status.jobtype, JobType.SIMPLE) + 1
        mirrored = Event(
            event.type,
            other.jobid,
            timestamp=self._now(),
            host="",
            source=Source.LBServer,
            seqcode="",
            user=self._user,
            attributes=attributes,
            priority=Priority.INTERNAL,
        )
        self._batch.step_internally(other, mirrored)
        self._change(other, mirrored)
