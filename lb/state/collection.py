"""What a subjob's progress means for its parent: the histogram of classes, and the state that follows from it.

Spec: state-machine.md §14.2 and §14.3. Who holds the parent and stores the event is the server's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lb.model.catalogue import BY_NAME, Priority, Source
from lb.model.event import Event
from lb.model.jobid import JobId
from lb.model.seqcode import LBS, NORMAL_COUNTERS, format_normal, parse_normal
from lb.model.status import BY_NAME as STATUS
from lb.model.status import STATES, JobStatus, JobType, State
from lb.state.job import Job

_DONE_OK: Final = STATUS["done_code"].codes["OK"]

#: Buckets of the states that are told apart besides Done.
BUCKETS: Final[dict[int, State]] = {
    State.Running: State.Running,
    State.Aborted: State.Aborted,
    State.Cleared: State.Cleared,
    State.Cancelled: State.Cleared,
}
#: Bucket of all others.
REMAINING: Final = State.Unknown

_Target = Callable[[Sequence[int], int], State]


def bucket(child: JobStatus) -> State:
    """The class of a subjob, as the state whose counter in the parent's histogram counts it.

    Compare it before and after *every* step: a change of the done code alone is a change of class, too (S6).
    """
    if child.state == State.Done:
        return State.Done if child.done_code == _DONE_OK else REMAINING
    return BUCKETS.get(child.state, REMAINING)


def _of_collection(histogram: Sequence[int], children: int) -> State:
    cleared = histogram[State.Cleared]
    done = histogram[State.Done] + cleared
    if histogram[State.Running] > 0:
        return State.Running
    if cleared == children:
        return State.Cleared
    if done == children:
        return State.Done
    return State.Aborted if histogram[State.Aborted] + done == children else State.Waiting


def _of_transfers(histogram: Sequence[int], children: int) -> State:
    done = histogram[State.Done]
    if histogram[State.Running] > 0:
        return State.Running
    if done == children:
        return State.Done
    return State.Aborted if histogram[State.Aborted] + done == children else State.Waiting


#: Parents whose state follows from that of their subjobs; a DAG has events of its own for that.
_TARGETS: Final[dict[int, _Target]] = {
    JobType.COLLECTION: _of_collection,
    JobType.FILE_TRANSFER_COLLECTION: _of_transfers,
}


def propagate(parent: Job, before: State, after: State) -> State | None:
    """Count a subjob's move between two buckets in the parent's histogram, in place.

    Returns the state that the parent must now be brought to by a CollectionState event, None if it is there.
    """
    if before == after:
        return None
    status = parent.status
    if status.children_hist is None:
        status.children_hist = [0] * STATES
        status.children_hist[State.Unknown] = status.children_num
    status.children_hist[before] -= 1
    status.children_hist[after] += 1
    return target(parent)


def target(parent: Job) -> State | None:
    """The state that a parent must be brought to by what its histogram says, None if it is there."""
    status = parent.status
    find = _TARGETS.get(status.jobtype)
    if find is None or status.children_hist is None:
        return None
    found = find(status.children_hist, status.children_num)
    return found if found != status.state else None


def collection_state(
    parent: Job, parent_id: JobId, to: State, cause: Event, *, now: int, host: str, user: str
) -> Event:
    """The internal event that brings a parent `to` a state because of `cause`, an event of a subjob.

    `now` is in microseconds, `host` and `user` are those of the server.
    """
    histogram = parent.status.children_hist or [0] * STATES
    return Event(
        BY_NAME["CollectionState"],
        parent_id,
        timestamp=now,
        host=host,
        source=Source.LBServer,
        seqcode=_next_code(parent.hidden.last),
        user=user,
        attributes={
            "state": to.name,
            "done_code": _DONE_OK,
            "histogram": ", ".join(f"{state.name}={histogram[state]}" for state in list(State)[1:]),
            "child": str(cause.jobid),
            "child_event": cause.type.name,
        },
        priority=Priority.INTERNAL,
    )


def _next_code(last: str | None) -> str:
    """The parent's last code with the server's own counter raised."""
    counters = list((parse_normal(last) if last else None) or (0,) * len(NORMAL_COUNTERS))
    counters[LBS] += 1
    return format_normal(counters)
