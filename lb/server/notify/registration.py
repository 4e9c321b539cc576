"""What the store keeps of a registration for notifications, and what becomes of the conditions of a request.

The stored form is the document of a request that would make it: whoever can read requests can read it.
"""

from __future__ import annotations

from typing import Final

from lb.model.errors import invalid
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Group, Operator
from lb.model.registration import Registration
from lb.store.interface import StoredRegistration
from lb.wire.lbxml.registrations import Function, Request, read_request, write_request

#: Flags that are kept; others mean nothing to a registration.
_KEPT: Final = Flag.CLASSADD | Flag.ANONYMIZED | Flag.TERMINAL_STATES | Flag.HISTORY | Flag.BOOTSTRAP | Flag.VOLATILE


def split_jobs(groups: tuple[Group, ...]) -> tuple[tuple[JobId, ...], tuple[Group, ...]]:
    """The jobs that conditions name, and the conditions that name none; EINVAL for other than equality of job ids."""
    jobs: list[JobId] = []
    others: list[Group] = []
    for group in groups:
        if group[0].attribute is not Attribute.JOBID:
            others.append(group)
            continue
        for condition in group:
            if condition.operator is not Operator.EQUAL or not isinstance(condition.value, JobId):
                raise invalid("only `=' supported with job id in a registration for notifications")
            jobs.append(condition.value)
    return tuple(dict.fromkeys(jobs)), tuple(others)


def kept_flags(flags: Flag) -> Flag:
    """The flags of a request that a registration remembers."""
    return flags & _KEPT


def to_store(registration: Registration) -> StoredRegistration:
    """What the store keeps."""
    named = tuple(Condition(Attribute.JOBID, Operator.EQUAL, job) for job in registration.jobs)
    document = write_request(
        Request(
            Function.NEW,
            registration.id,
            address=registration.destination,
            groups=((named,) if named else ()) + registration.groups,
            flags=registration.flags,
        )
    )
    return StoredRegistration(
        registration.number,
        registration.id,
        registration.owner,
        registration.destination,
        registration.valid,
        document,
    )


def from_store(stored: StoredRegistration) -> Registration:
    """The registration that was stored."""
    asked = read_request(stored.content)
    jobs, groups = split_jobs(asked.groups)
    return Registration(
        stored.number, stored.id, stored.owner, stored.destination, stored.valid, jobs, groups, asked.flags
    )
