"""What registration makes: the type of a job, its subjobs and their first state.

Spec: state-machine.md §2.1 and §14.1. Nothing here asks who may register.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lb.model import jobid
from lb.model.catalogue import BY_NAME
from lb.model.errors import invalid
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.status import STATES, JobStatus, JobType, State
from lb.state.job import VERSION, Hidden, Job
from lb.state.turn import MICROSECONDS, Turn

REGISTRATION: Final = BY_NAME["RegJob"]
_CODES: Final = REGISTRATION.by_name["jobtype"].codes

#: Type that a job gets by its first registration, by the number in the event.
JOB_TYPES: Final[dict[int, JobType]] = {
    _CODES["SIMPLE"]: JobType.SIMPLE,
    _CODES["DAG"]: JobType.DAG,
    _CODES["PARTITIONABLE"]: JobType.DAG,
    _CODES["PARTITIONED"]: JobType.DAG,
    _CODES["COLLECTION"]: JobType.COLLECTION,
    _CODES["PBS"]: JobType.PBS,
    _CODES["CONDOR"]: JobType.CONDOR,
    _CODES["CREAM"]: JobType.CREAM,
    _CODES["FILE_TRANSFER_COLLECTION"]: JobType.FILE_TRANSFER_COLLECTION,
    _CODES["FILE_TRANSFER"]: JobType.FILE_TRANSFER,
    _CODES["VIRTUAL_MACHINE"]: JobType.VIRTUAL_MACHINE,
}

#: Registrations that make subjobs, and change the type of a job that has one already.
PARENTS: Final[dict[int, JobType]] = {
    _CODES[name]: JOB_TYPES[_CODES[name]] for name in ("DAG", "PARTITIONED", "COLLECTION", "FILE_TRANSFER_COLLECTION")
}


def blank(jobid: JobId, owner: str | None) -> Job:
    """A job of which no event has been seen."""
    return Job(JobStatus(jobId=str(jobid), owner=owner))


def job_type(registration: Event) -> JobType:
    """The type a first registration asks for; raises EINVAL when its number means nothing."""
    number = registration.number("jobtype")
    try:
        return JOB_TYPES[number]
    except KeyError:
        raise invalid(f"unknown job type {number} in registration") from None


def subjobs_of(event: Event) -> Iterator[JobId]:
    """Ids of the subjobs that a RegJob event makes, none for other events; raises EINVAL for a negative number."""
    if event.type is not REGISTRATION or event.number("jobtype") not in PARENTS:
        return iter(())
    count = event.number("nsubjobs")
    if count < 0:
        raise invalid("negative number of subjobs")
    return jobid.subjobs(event.jobid, count, event.text("seed")) if count else iter(())


def embryo(parent: Event, subjob: JobId, owner: str | None) -> Job:
    """The state of a subjob that its parent's registration has made: submitted, of the parent's owner."""
    transfers = PARENTS.get(parent.number("jobtype")) is JobType.FILE_TRANSFER_COLLECTION
    jobtype = JobType.FILE_TRANSFER if transfers else JobType.SIMPLE
    return newborn(str(subjob), owner, jobtype, str(parent.jobid), parent.timestamp)


def newborn(jobid: str, owner: str | None, jobtype: JobType, parent: str | None, at: int) -> Job:
    """An embryo by its own data; `at` is the time of the parent's registration in microseconds."""
    times = [0] * STATES
    times[State.Submitted] = at // MICROSECONDS
    status = JobStatus(
        state=State.Submitted,
        jobId=jobid,
        owner=owner,
        jobtype=jobtype,
        parent_job=parent,
        stateEnterTime=at,
        lastUpdateTime=at,
        stateEnterTimes=times,
    )
    return Job(status, Hidden(version=VERSION, embryonic=True, born=at))


def link_parent(turn: Turn) -> None:
    """`parent_job` := `parent`; a subjob made by its parent keeps it when its own registration names none (S19)."""
    parent = turn.event.text("parent")
    if parent is not None or not turn.hidden.embryonic:
        turn.status.parent_job = parent


def count_children(turn: Turn) -> None:
    """`children_num` := `nsubjobs`; those that no histogram counts yet start in its Unknown bucket.

    A repeated registration must not count the known ones again (S37).
    """
    status, event = turn.status, turn.event
    status.children_num = event.number("nsubjobs")
    if event.number("jobtype") not in PARENTS:
        return
    if status.children_hist is None:
        status.children_hist = [0] * STATES
    status.children_hist[State.Unknown] += max(status.children_num - sum(status.children_hist), 0)


def change_type(turn: Turn) -> None:
    """`jobtype` ?= that of a parent."""
    status = turn.status
    status.jobtype = PARENTS.get(turn.event.number("jobtype"), status.jobtype)
