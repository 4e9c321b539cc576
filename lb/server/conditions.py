"""Whether a job or an event meets a query's conditions (spec: wire-query.md §5).

Pure comparisons of values; which jobs are looked at, and who may see them, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lb.model.event import Event
from lb.model.jdl import attribute_of
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Group, Operator
from lb.model.status import JobStatus
from lb.model.subject import same_person

_MICROSECONDS: Final = 1_000_000

#: Plain attributes of a status, by condition.
_STATUS: Final[dict[Attribute, Callable[[JobStatus], Any]]] = {
    Attribute.STATUS: lambda status: int(status.state),
    Attribute.LOCATION: lambda status: status.location,
    Attribute.DESTINATION: lambda status: status.destination,
    Attribute.DONECODE: lambda status: status.done_code,
    Attribute.RESUBMITTED: lambda status: int(status.resubmitted),
    Attribute.EXITCODE: lambda status: status.exit_code,
    Attribute.STATEENTERTIME: lambda status: status.stateEnterTime // _MICROSECONDS,
    Attribute.LASTUPDATETIME: lambda status: status.lastUpdateTime // _MICROSECONDS,
    Attribute.NETWORK_SERVER: lambda status: status.network_server,
    Attribute.JOB_TYPE: lambda status: int(status.jobtype),
    Attribute.VM_STATUS: lambda status: status.vm_state,
}

_EVENT: Final[dict[Attribute, Callable[[Event], Any]]] = {
    Attribute.TIME: lambda event: event.timestamp // _MICROSECONDS,
    Attribute.STATEENTERTIME: lambda event: event.timestamp // _MICROSECONDS,
    Attribute.LASTUPDATETIME: lambda event: event.timestamp // _MICROSECONDS,
    Attribute.LEVEL: lambda event: event.level,
    Attribute.SOURCE: lambda event: event.source,
    Attribute.HOST: lambda event: event.host,
    Attribute.INSTANCE: lambda event: event.src_instance or "",
    Attribute.EVENT_TYPE: lambda event: event.type.code,
}


def compare(operator: Operator, value: Any, wanted: Any, wanted2: Any = None) -> bool:
    """One comparison; what is absent differs from everything and is neither less nor greater."""
    if operator is Operator.CHANGED:
        return True
    if operator is Operator.EQUAL:
        return bool(value == wanted)
    if operator is Operator.UNEQUAL:
        return bool(value != wanted)
    if value is None:
        return False
    if operator is Operator.LESS:
        return bool(value < wanted)
    if operator is Operator.GREATER:
        return bool(value > wanted)
    return bool(wanted <= value <= wanted2)


def job_meets(groups: tuple[Group, ...], status: JobStatus, jobid: JobId, peer: str | None) -> bool:
    """Whether a job meets all groups. The status must carry its long texts when a JDL attribute is asked for."""
    return all(any(_job_condition(one, status, jobid, peer) for one in group) for group in groups)


def event_meets(groups: tuple[Group, ...], event: Event) -> bool:
    """Whether an event meets all groups."""
    return all(any(_event_condition(one, event) for one in group) for group in groups)


def _job_condition(condition: Condition, status: JobStatus, jobid: JobId, peer: str | None) -> bool:
    attribute, operator, wanted = condition.attribute, condition.operator, condition.value
    value: Any
    if attribute is Attribute.OWNER:
        person = peer if wanted is None else wanted
        return same_person(status.owner, str(person)) is (operator is not Operator.UNEQUAL)
    if attribute is Attribute.JOBID:
        value = jobid.unique
        wanted = wanted.unique if isinstance(wanted, JobId) else wanted
    elif attribute is Attribute.PARENT:
        value = status.parent_job
        wanted = str(wanted)
    elif attribute is Attribute.USERTAG:
        name = (condition.name or "").lower()
        value = next((value for tag, value in status.user_tags or () if tag.lower() == name), None)
    elif attribute is Attribute.TIME:
        value = status.stateEnterTimes[condition.state or 0]
    elif attribute is Attribute.JDL_ATTR:
        value = attribute_of(status.jdl or "", condition.name or "")
    else:
        value = _STATUS[attribute](status)
    return compare(operator, value, wanted, condition.value2)


def _event_condition(condition: Condition, event: Event) -> bool:
    attribute = condition.attribute
    value: Any
    if attribute is Attribute.USERTAG:
        if event.type.name != "UserTag" or (event.text("name") or "").lower() != (condition.name or "").lower():
            return False
        value = event.text("value")
    else:
        value = _EVENT[attribute](event)
    return compare(condition.operator, value, condition.value, condition.value2)
