"""Taking jobs out of the store, in the writing thread: those that are still what was seen of them.

Who asked to be told of them is told that they are purged, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lb.model.status import State
from lb.server.jobcache import JobCache
from lb.server.notify.announcement import Announcement
from lb.store.interface import NOTHING_OUTGOING, Renewal, StoredEvent, StoredJob, Writer

_MICROSECONDS = 1_000_000


class Known(NamedTuple):
    """A job as it was when its events were looked at."""

    key: int
    unique: str
    last: int  #: number of its last event, 0 without any


class Removal:
    """For the writing thread."""

    def __init__(
        self,
        writer: Writer,
        cache: JobCache,
        now: Callable[[], float],
        announce: Callable[[], Announcement] | None = None,
        *,
        renewal: Renewal | None = None,
    ) -> None:
        """`cache`: the one that the events' side uses; `now`: seconds since the epoch.

        `renewal` makes states anew that older rules have made, before anybody is told of them.
        """
        self._renewal = renewal
        self._writer = writer
        self._cache = cache
        self._now = now
        self._announce = announce

    def __call__(self, jobs: Sequence[Known]) -> set[int]:
        """Remove those that had no event since; their keys. Raises `StoreError`, nothing is removed then."""
        unchanged = self._writer.purge.unchanged([(job.key, job.last) for job in jobs])
        chosen = [job for job in jobs if job.key in unchanged]
        if not chosen:
            return set()
        at = int(self._now() * _MICROSECONDS)
        announcement = None if self._announce is None else self._announce()
        if announcement is not None:
            for stored in self._writer.load([job.unique for job in chosen]).values():
                self._tell(stored, announcement, at)
        outgoing = NOTHING_OUTGOING if announcement is None else announcement.outgoing
        self._cache.forget([job.unique for job in chosen])
        self._writer.purge.remove([job.key for job in chosen], at, outgoing)
        if announcement is not None:
            announcement.stored()
        return {job.key for job in chosen}

    def _tell(self, job: StoredJob, announcement: Announcement, at: int) -> None:
        if self._renewal is not None:
            job.state = self._renewal(job.state, job.jobid, job.owner, lambda: (one.line for one in self._events(job)))
        before = announcement.before(job)
        status = job.state.status
        status.state = State.Purged
        status.stateEnterTime = status.lastUpdateTime = at
        status.stateEnterTimes[State.Purged] = at // _MICROSECONDS
        announcement.after(job, before, self._events)

    def _events(self, job: StoredJob) -> list[StoredEvent]:
        return list(self._writer.events(job.key))
