"""The jobs of a list in the order and the nesting of its page: newest first, children below their parent.

What a page looks at is bounded, whatever there is: it begins anywhere in the order, and says where the next begins.
A parent stands where the newest of its children, or itself, stands in the order, and only there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from lb.model.errors import LBError
from lb.model.jobid import parse_cached
from lb.model.query import Attribute, Condition, Operator, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.web.jobs import NewestJobs

#: Jobs that are not below another one on one page, and children shown below each.
PAGE: Final = 50
CHILDREN: Final = 10
#: Jobs that are looked at, and counted, for one page: 8 ms of the server's time.
WINDOW: Final = 500


class Nest(NamedTuple):
    """A job, its newest children, and whether there are more."""

    job: JobStatus
    children: list[JobStatus]
    more: bool = False


class Listing(NamedTuple):
    """One page of a list.

    `counts`: state → number of the jobs that were looked at, `complete`: these are all there are. `older`: the key
    behind which the next page begins, None for the last.
    """

    nests: list[Nest]
    counts: dict[int, int]
    complete: bool
    older: int | None

    @property
    def total(self) -> int:
        """How many jobs were looked at."""
        return sum(self.counts.values())


async def listing(jobs: NewestJobs, peer: Identity, query: Query, before: int | None) -> Listing:
    """The page of the jobs that are older than a key; errors as `NewestJobs.newest`."""
    found = await jobs.newest(peer, query, before, WINDOW)
    counts = Counter(int(job.state) for _, job in found.jobs)
    nesting = _Nesting(jobs, peer, query, before, dict(found.jobs))
    older = found.next
    for number, (key, job) in enumerate(found.jobs, 1):
        if number % PAGE == 1:
            await nesting.expect([each for _, each in found.jobs[number - 1 :][:PAGE]])
        await nesting.add(key, job)
        if len(nesting.nests) == PAGE:
            older = key if number < len(found.jobs) else found.next
            break
    complete = before is None and found.next is None
    return Listing(nesting.nests, dict(counts), complete, older)


def _unique(job: JobStatus) -> str | None:
    return None if job.jobId is None else parse_cached(job.jobId).unique


def children_of(jobid: str, query: Query) -> Query:
    """Those of a query's jobs that have a parent."""
    return _narrowed(query, Attribute.PARENT, jobid)


def _narrowed(query: Query, attribute: Attribute, jobid: str) -> Query:
    group = (Condition(attribute, Operator.EQUAL, parse_cached(jobid)),)
    return msgspec.structs.replace(query, jobs=(*query.jobs, group))


class _Nesting:
    """Puts jobs, newest first, into nests."""

    def __init__(
        self, jobs: NewestJobs, peer: Identity, query: Query, before: int | None, found: dict[int, JobStatus]
    ) -> None:
        self._jobs = jobs
        self._peer = peer
        self._query = query
        self._before = before
        #: Jobs of the list by id, with their keys; None for those that are not of it.
        self._members: dict[str | None, tuple[int, JobStatus] | None] = {
            job.jobId: (key, job) for key, job in found.items()
        }
        self._done: set[str | None] = set()
        self._parents: set[str] = set()  # unique parts of jobs that have children
        self.nests: list[Nest] = []

    async def expect(self, jobs: Sequence[JobStatus]) -> None:
        """Find out which of the next jobs have children, all at once."""
        self._parents |= await self._jobs.parents([unique for unique in map(_unique, jobs) if unique is not None])

    async def add(self, key: int, job: JobStatus) -> None:
        """The next job."""
        parent = None if job.parent_job is None else await self._member(job.parent_job)
        top_key, top = (key, job) if parent is None else parent
        if top.jobId in self._done:
            return
        self._done.add(top.jobId)
        # Of any job: who was there before its parent was registered may have one of whatever type.
        children = []
        if top.jobId is not None and (parent is not None or _unique(top) in self._parents):
            children = await self._newest(children_of(top.jobId, self._query), CHILDREN + 1)
        place = max(top_key, children[0][0]) if children else top_key
        if self._before is None or place < self._before:
            shown = [child for _, child in children[:CHILDREN]]
            self.nests.append(Nest(top, shown, len(children) > CHILDREN))

    async def _member(self, jobid: str) -> tuple[int, JobStatus] | None:
        """A job, and its key, if it is of the list."""
        if jobid not in self._members:
            found = await self._newest(_narrowed(self._query, Attribute.JOBID, jobid), 1)
            self._members[jobid] = found[0] if found else None
        return self._members[jobid]

    async def _newest(self, query: Query, most: int) -> list[tuple[int, JobStatus]]:
        try:
            return list((await self._jobs.newest(self._peer, query, None, most)).jobs)
        except LBError:
            return []  # none of them, or none that may be seen
