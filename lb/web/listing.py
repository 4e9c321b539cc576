"""Jobs of a list in the order and the nesting of its page: newest first, children below their parent.

Pure; what a page may hold is bounded here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from lb.model.status import JobStatus
from lb.web.frame import registered

#: Jobs without a parent on one page, and children shown below each.
PAGE: Final = 50
CHILDREN: Final = 10
#: Parents of parents that are followed; a chain that is longer, or that leads back to itself, is not one.
_DEEPEST: Final = 4


class Nest(NamedTuple):
    """A job, its first children, and how many more there are."""

    job: JobStatus
    children: list[JobStatus]
    more: int


class Listing(NamedTuple):
    """One page of a list; `counts` are of the whole list, state → number."""

    nests: list[Nest]
    total: int
    counts: dict[int, int]
    page: int
    last: int


def listing(jobs: Iterable[JobStatus], page: int) -> Listing:
    """The page with this number, or the nearest there is."""
    by_id = {job.jobId: job for job in jobs}
    nests: dict[str | None, list[JobStatus]] = {}
    counts: dict[int, int] = {}
    for job in by_id.values():
        counts[job.state] = counts.get(job.state, 0) + 1
        top = _top(job, by_id)
        nests.setdefault(top.jobId, [])
        if top is not job:
            nests[top.jobId].append(job)
    tops = sorted((by_id[jobid] for jobid in nests), key=_newest)
    last = max(1, -(-len(tops) // PAGE))
    page = min(page, last)
    shown = [_nest(job, nests[job.jobId]) for job in tops[(page - 1) * PAGE : page * PAGE]]
    return Listing(shown, len(by_id), counts, page, last)


def _top(job: JobStatus, by_id: dict[str | None, JobStatus]) -> JobStatus:
    """The job of the list below which `job` belongs: itself when its parents are not there."""
    top = job
    for _ in range(_DEEPEST):
        parent = by_id.get(top.parent_job) if top.parent_job else None
        if parent is None:
            return top
        top = parent
    return job


def _nest(job: JobStatus, children: list[JobStatus]) -> Nest:
    children.sort(key=_newest)
    return Nest(job, children[:CHILDREN], max(0, len(children) - CHILDREN))


def _newest(job: JobStatus) -> tuple[int, str]:
    return -registered(job), job.jobId or ""
