"""The way into the fold: one event into a job, or all stored events into a new one.

Which family's rules apply is decided here by the type of the job (spec: state-machine.md §4).
Nothing here reads, writes or asks the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from lb.model.catalogue import BY_NAME
from lb.model.errors import invalid
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.seqcode import in_order
from lb.model.status import JobType, State
from lb.state import condor, cream, glite, pbs, transfer, vm
from lb.state.generic import fold as generic
from lb.state.generic.description import Family
from lb.state.generic.loading import shipped
from lb.state.job import Job
from lb.state.registration import JOB_TYPES, REGISTRATION, blank, embryo, job_type, subjobs_of
from lb.state.turn import MICROSECONDS, Outcome

__all__ = ["Outcome", "blank", "embryo", "recompute", "step", "subjobs_of"]

Fold = Callable[[Job, Event], Outcome]

FOLDS: Final[dict[int, Fold]] = {
    JobType.SIMPLE: glite.fold,
    JobType.DAG: glite.fold,
    JobType.COLLECTION: glite.fold,
    JobType.PBS: pbs.FAMILY.fold,
    JobType.CONDOR: condor.FAMILY.fold,
    JobType.CREAM: cream.FAMILY.fold,
    JobType.FILE_TRANSFER_COLLECTION: transfer.COLLECTION.fold,
    JobType.FILE_TRANSFER: transfer.TRANSFER.fold,
    JobType.VIRTUAL_MACHINE: vm.FAMILY.fold,
}

_CHANGE_ACL: Final = BY_NAME["ChangeACL"]
_CONDOR: Final = REGISTRATION.by_name["jobtype"].codes["CONDOR"]


def step(job: Job, event: Event, families: generic.Families | None = None) -> Outcome:
    """Apply the next event of a job to `job`, in place, and count it.

    `families`: those that sites describe, by name; None stands for the shipped ones.
    Raises `LBError` EINVAL for a job type that cannot be folded; `job` is then untouched and the event must be refused.
    Whatever is returned, the event is to be stored.
    """
    status = job.status
    if event.type is _CHANGE_ACL:
        # The ACL is no part of the state: the event only takes its number (S27).
        job.hidden.number += 1
        return Outcome.OK
    kind = status.jobtype
    if job.hidden.generic is not None:
        return _described(job, event, (shipped() if families is None else families).get(job.hidden.generic.family))
    if kind == JobType.UNREGISTERED:
        if event.type is not REGISTRATION:
            job.hidden.number += 1
            return Outcome.UNREG
        kind = job_type(event)
    fold = FOLDS.get(kind)
    if fold is None:
        raise invalid(f"undefined job type {kind}")
    family = _family(event, families) if kind == JobType.SIMPLE and event.type is REGISTRATION else None
    if family is not None and (status.jobtype == JobType.UNREGISTERED or job.hidden.embryonic):
        generic.begin(job, family)
        status.jobtype = kind
        return _described(job, event, family)
    status.jobtype = kind
    job.hidden.number += 1
    return fold(job, event)


def _family(registration: Event, families: generic.Families | None) -> Family | None:
    """The described family that a registration asks for; None when it asks for none, or one that is not known here."""
    name = generic.named_family(registration)
    return None if name is None else (shipped() if families is None else families).get(name)


def _described(job: Job, event: Event, family: Family | None) -> Outcome:
    """Fold by a description; while it is missing the job stands still, and its events wait for a recomputation."""
    job.hidden.number += 1
    return Outcome.SUSPECT if family is None else generic.fold(job, event, family)


def recompute(
    events: Iterable[Event],
    *,
    jobid: JobId,
    owner: str | None,
    embryo: Job | None = None,
    histogram: Sequence[int] | None = None,
    user_fqans: Sequence[str] | None = None,
    families: generic.Families | None = None,
) -> Job:
    """Fold all stored events of a job anew, in the order of their codes (§4.3).

    `events` come in the order of arrival. Give `embryo` for a subjob made by its parent (S7) and, as events
    do not tell them, the stored `histogram` of a collection (S8) and the stored `user_fqans` (S9). `families` as in
    `step`; their events are folded as they arrived, for that fold finds the order itself.
    Of a job without a registration the result is in state Unknown. Raises as `step` does; events that `step` took
    in any order never make it raise.
    """
    job = blank(jobid, owner) if embryo is None else embryo.copy()
    arrived = list(events)
    first = _registration(arrived)
    if first is not None and _family(first, families) is not None:
        ordered = [first, *(event for event in arrived if event is not first)]
    else:
        ordered = in_order(arrived) if embryo is not None else _registered_first(arrived)
    for event in ordered:
        step(job, event, families)
    status = job.status
    if status.state == State.Undefined:
        status.state = State.Unknown
        status.lastUpdateTime = max((event.timestamp for event in arrived), default=MICROSECONDS)
    if histogram is not None:
        status.children_hist = list(histogram)
    if user_fqans is not None:
        status.user_fqans = list(user_fqans)
    return job


def _registered_first(arrived: list[Event]) -> list[Event]:
    """The events of a job in their order, after its registration."""
    ordered = in_order(arrived)
    first = _registration(ordered)
    if first is not None and first.number("jobtype") == _CONDOR:
        ordered = in_order(arrived, condor=True)
        first = _registration(ordered)
    # Codes that cannot be read sort before the registration, without which their events mean nothing (S54).
    ordered.sort(key=lambda event: event is not first)
    return ordered


def _registration(events: Iterable[Event]) -> Event | None:
    """The event that gives the job its type; one of no known type may follow it, not precede it."""
    return next((each for each in events if each.type is REGISTRATION and each.number("jobtype") in JOB_TYPES), None)
