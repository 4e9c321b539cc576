"""What a registration is told of a job: the copy that its owner may read, with what its flags ask for.

Spec: wire-notification.md §2, steps 6 to 8. Pure; the form is that of the store, which `read` undoes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from lb.model.query import Flag
from lb.model.status import PARENT_TYPES, STATES, JobStatus, JobType, State
from lb.server.access import Access, anonymised, reduced, told
from lb.server.events import read_events
from lb.state.job import Job, decode, encode
from lb.store.interface import StoredEvent
from lb.wire.history import write_history

#: Flags that make a difference to what is told.
_CONTENT: Final = Flag.CLASSADD | Flag.ANONYMIZED | Flag.HISTORY

#: What tells one copy of a state from another.
Variant = tuple[Access, Flag]


def variant(allowed: Access, flags: Flag) -> Variant:
    """Which copy a registration with these flags gets, whose owner may read so much."""
    flags &= _CONTENT
    if Flag.ANONYMIZED in flags and allowed is Access.FULL:
        allowed = Access.ANONYMISED
    return allowed, flags & ~Flag.ANONYMIZED


def write(job: Job, of: Variant, events: Callable[[], list[StoredEvent]], salt: str) -> bytes:
    """One copy of a job's present state; `events` gives all that are collected, in the order of arrival."""
    allowed, flags = of
    status = job.view() if Flag.CLASSADD in flags else msgspec.structs.replace(job.status)
    if status.state == State.Undefined:
        status.state = State.Unknown
    if status.jobtype not in PARENT_TYPES and status.children_hist is None:
        status.children_hist = [0] * STATES
    if allowed is Access.REDUCED:
        status = reduced(status)
    if Flag.HISTORY in flags:
        collected = read_events(events(), condor=status.jobtype == JobType.CONDOR)
        status.history = write_history(told(event, allowed, salt) for event in collected)
    if allowed is Access.ANONYMISED:
        status = anonymised(status, salt)
    return encode(Job(status))


def read(content: bytes) -> JobStatus:
    """The state that was written."""
    return decode(content).status
