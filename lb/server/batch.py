"""What one transaction will write, and the jobs that its events concern.

Jobs in it change as events are applied; when the transaction fails, all of them are forgotten.
It decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import partial

from lb.model.event import Event
from lb.model.jobid import JobId
from lb.server.duplicate import digest
from lb.server.jobcache import JobCache
from lb.server.notify.announcement import Announcement
from lb.server.notify.change import Before
from lb.server.renewal import renewed
from lb.server.statistics import Counts
from lb.state import fold
from lb.state.generic.fold import Families
from lb.state.rebuild import is_current
from lb.store.interface import (
    NOTHING_OUTGOING,
    ConnectionChange,
    NewEvent,
    Outgoing,
    StoredEvent,
    StoredJob,
    Writer,
)
from lb.wire import ulm


class Batch:
    """Jobs by unique part: `known` are those in memory, `changed` those to be written."""

    def __init__(
        self,
        writer: Writer,
        cache: JobCache,
        arrived: int,
        families: Families | None = None,
        announcement: Announcement | None = None,
        *,
        statistics: bool = False,
    ) -> None:
        """`arrived`: microseconds since the epoch; `families`: those that sites describe, None: the shipped ones.

        `announcement`: what finds out whom the steps concern, None when nobody is to be told. `statistics`: whether
        rates and durations are counted.
        """
        self.known: dict[str, StoredJob] = {}
        self.changed: dict[str, StoredJob] = {}
        self.events: list[NewEvent] = []
        self.connections: list[ConnectionChange] = []
        self.counts = Counts() if statistics else None
        self.repeated = 0  #: events that had come before
        self.registered: Counter[int] = Counter()  #: by job type
        self.arrived = arrived
        self.families = families
        self._announcement = announcement
        self._writer = writer
        self._cache = cache
        self._absent: set[str] = set()
        self._seen: set[tuple[int, bytes]] = set()

    def load(self, uniques: Iterable[str]) -> None:
        """Have these jobs in `known`, as far as there are any; states of older rules are made anew (P9)."""
        wanted = set(uniques) - self.known.keys() - self._absent
        if wanted:
            found = self._cache.take(self._writer, wanted)
            self.known.update(found)
            self._absent |= wanted - found.keys()
            for job in found.values():
                if not is_current(job.state, self.families):
                    lines = partial(self.lines_of, job)
                    job.state = renewed(job.state, job.jobid, job.owner, lines, self.families)
                    self.change(job)

    def load_anew(self, uniques: Collection[str]) -> None:
        """`load`, but from the store although they may be in memory."""
        self._cache.forget(uniques)
        self.load(uniques)

    def find(self, jobid: JobId) -> StoredJob | None:
        """A job by its whole id; another server's job with the same unique part is none of ours."""
        self.load((jobid.unique,))
        job = self.known.get(jobid.unique)
        return job if job is not None and same_server(job.jobid, jobid) else None

    def change(self, job: StoredJob) -> None:
        """A job that will be written."""
        self.known[job.jobid.unique] = self.changed[job.jobid.unique] = job

    def has(self, job: StoredJob, known_by: bytes) -> bool:
        """Whether an event has come in this batch already; `known_by`: its digest."""
        return (job.key, known_by) in self._seen

    def step(self, job: StoredJob, event: Event, known_by: bytes, line: bytes) -> None:
        """Fold an event into its job and put both here; raises as `fold.step` does, nothing is changed then."""
        fold.step(job.state, event, self.families)
        self.add(job, known_by, line)

    def step_internally(self, job: StoredJob, event: Event) -> None:
        """`step` for an event of the server's own; it is announced at once."""
        before = self.watch(job)
        self.step(job, event, digest(event), ulm.write(event).rstrip(b"\n"))
        self.announce(job, before)

    def watch(self, job: StoredJob) -> Before | None:
        """A job before a step, for `announce`."""
        return None if self._announcement is None else self._announcement.before(job)

    def announce(self, job: StoredJob, before: Before | None) -> None:
        """A step of a job is complete: who asked to be told of it will be."""
        if self._announcement is not None and before is not None:
            self._announcement.after(job, before, self.collected)

    @property
    def outgoing(self) -> Outgoing:
        """The notices that will be written."""
        return NOTHING_OUTGOING if self._announcement is None else self._announcement.outgoing

    def entered(self, job: StoredJob, before: int) -> None:
        """Count a step of a job that was in state `before`."""
        if self.counts is not None:
            self.counts.entered(job.state.status, before)

    def stored(self) -> None:
        """The transaction is done."""
        self._cache.add(self.changed)
        if self._announcement is not None:
            self._announcement.stored()

    def add(self, job: StoredJob, known_by: bytes, line: bytes) -> None:
        """An event that will be written, after those before it, and its job."""
        self.change(job)
        self._seen.add((job.key, known_by))
        self.events.append(NewEvent(job.key, self.arrived, known_by, line))

    def lines_of(self, job: StoredJob) -> Iterable[bytes]:
        """All events of a job, stored and new, in the order of their arrival."""
        return (event.line for event in self._collected(job))

    def collected(self, job: StoredJob) -> list[StoredEvent]:
        """As `lines_of`, with the times of their arrival."""
        return list(self._collected(job))

    def _collected(self, job: StoredJob) -> Iterator[StoredEvent]:
        if not job.fresh:
            yield from self._writer.events(job.key)
        yield from (StoredEvent(event.arrived, event.line) for event in self.events if event.job == job.key)


def same_server(a: JobId, b: JobId) -> bool:
    """Whether two ids are of one server; host names have no case."""
    return a.port == b.port and a.host.lower() == b.host.lower()
