"""A stored state made anew of its job's events, as they made it when they came.

Unlike a recomputation, which takes events in the order of their codes, this gives the very state that the fold left,
unless older rules made it or it was damaged. Nothing here reads or writes a store.
"""

from __future__ import annotations

from collections.abc import Iterable

from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.status import JobType, State
from lb.state.fold import blank, recompute, step
from lb.state.generic.fold import Families
from lb.state.generic.loading import shipped
from lb.state.job import VERSION, Job
from lb.state.registration import newborn
from lb.state.turn import MICROSECONDS


def is_current(job: Job, families: Families | None = None) -> bool:
    """Whether a state was made by the rules of this version, and by the present description of its family."""
    hidden = job.hidden
    if hidden.version != VERSION:
        return False
    if hidden.generic is None:
        return True
    family = (shipped() if families is None else families).get(hidden.generic.family)
    return family is None or family.digest == hidden.generic.digest


def rebuild(
    stored: Job, events: Iterable[Event], *, jobid: JobId, owner: str | None, families: Families | None = None
) -> Job:
    """The state of a job after `events`, all of it in the order of arrival; `stored` is left as it is.

    What events do not tell is taken from `stored`: how the job began, the counts of its subjobs (S8) and the FQANs of
    who registered it (S9). `owner` is the registered one. Raises as `fold.step` does; events that these rules have
    taken never make it raise.
    """
    arrived = list(events)
    hidden = stored.hidden
    start = _embryo(stored, owner) if hidden.embryonic else blank(jobid, owner)
    if hidden.collected:
        collected = arrived[: hidden.collected]
        embryo = start if hidden.embryonic else None
        start = recompute(collected, jobid=jobid, owner=owner, embryo=embryo, families=families)
    for event in arrived[hidden.collected :]:
        step(start, event, families)
    status = start.status
    status.jobId = stored.status.jobId or status.jobId
    if stored.status.children_hist is not None:
        status.children_hist = stored.status.children_hist.copy()
    status.user_fqans = stored.status.user_fqans
    start.hidden.counted = hidden.counted
    start.hidden.collected = hidden.collected
    return start


def _embryo(stored: Job, owner: str | None) -> Job:
    status = stored.status
    jobtype = JobType.FILE_TRANSFER if status.jobtype == JobType.FILE_TRANSFER else JobType.SIMPLE
    born = stored.hidden.born or status.stateEnterTimes[State.Submitted] * MICROSECONDS
    return newborn(str(status.jobId), owner, jobtype, status.parent_job, born)


def differences(stored: Job, rebuilt: Job) -> list[str]:
    """Names of the attributes in which two states of one job differ, hidden ones with a leading dot."""
    pairs = (
        ("", stored.status, rebuilt.status),
        (".", stored.hidden, rebuilt.hidden),
        ("", stored.texts, rebuilt.texts),
    )
    return [
        prefix + name
        for prefix, old, new in pairs
        for name in old.__struct_fields__
        if getattr(old, name) != getattr(new, name)
    ]
