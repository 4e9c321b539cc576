"""One event meeting one job: what the rules of a family see and change, and what came of it.

A turn lives for one step; nothing of it is kept.
"""

from __future__ import annotations

from enum import IntEnum

from lb.model.catalogue import SOURCE_NAMES
from lb.model.event import Event
from lb.state.job import Job

MICROSECONDS = 1_000_000


class Outcome(IntEnum):
    """What a step made of its event (state-machine.md §4.4); the event is stored whichever it is."""

    OK = 1
    LATE = 3  #: only its data were taken
    SUSPECT = 5  #: not allowed here; what it changed before that was found remains
    IGNORE = 6  #: no step of the job, only its data were taken
    UNREG = 10  #: the job has no type yet


class Standing(IntEnum):
    """How the event stands to the attempt that runs the payload (§4.4, fine results)."""

    UNDECIDED = 0
    ACTIVE = 1
    OTHER = 2
    TOO_OLD = 3


class Turn:
    """The working set of one step. `old` is the state before it, `given` the attributes of the event."""

    __slots__ = ("event", "given", "hidden", "job", "old", "outcome", "standing", "status")

    def __init__(self, job: Job, event: Event) -> None:
        self.job = job
        self.status = job.status
        self.hidden = job.hidden
        self.event = event
        self.given = event.attributes
        self.old = job.status.state
        self.outcome = Outcome.OK
        self.standing = Standing.UNDECIDED

    def record_time(self) -> None:
        """Note when the event happened and, if it moved the job, when the new state was entered."""
        status, now = self.status, self.event.timestamp
        status.lastUpdateTime = now
        if status.state != self.old:
            status.stateEnterTime = now
            status.stateEnterTimes[status.state] = now // MICROSECONDS

    def place(self) -> str:
        """Location text of the component that logged the event."""
        event = self.event
        return location(event.source, event.host, event.src_instance)


def location(source: int, host: str | None, instance: str | None) -> str:
    """Location text ``COMPONENT/HOST/INSTANCE``; what is not known reads ``(null)`` (§1)."""
    return named_location(SOURCE_NAMES[source], host, instance)


def named_location(name: str | None, host: str | None, instance: str | None) -> str:
    """`location` of something that is no component, e.g. a queue."""
    return f"{shown(name)}/{shown(host)}/{shown(instance)}"


def shown(text: str | None) -> str:
    """A text as it appears inside another one."""
    return "(null)" if text is None else text
