"""Whether a job or an event meets a query's conditions (spec: wire-query.md §5).

Pure comparisons of values; which jobs are looked at, and who may see them, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lb.model.event import Event
from lb.model.indexing import STATUS_VALUES, tag_value
from lb.model.jdl import attribute_of
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Group, Operator
from lb.model.status import JobStatus
from lb.model.subject import comparable

_MICROSECONDS: Final = 1_000_000

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
    if isinstance(value, str) and not (value.isascii() and str(wanted).isascii()):
        value, wanted, wanted2 = _as_bytes(value), _as_bytes(wanted), _as_bytes(wanted2)
    if operator is Operator.LESS:
        return bool(value < wanted)
    if operator is Operator.GREATER:
        return bool(value > wanted)
    return bool(wanted <= value <= wanted2)


def _as_bytes(text: str | None) -> bytes:
    """What texts are ordered by: bytes that are no UTF-8 stand elsewhere in the order of characters."""
    return b"" if text is None else text.encode("utf-8", "surrogateescape")


def job_meets(groups: tuple[Group, ...], status: JobStatus, jobid: JobId, peer: str | None) -> bool:
    """Whether a job meets all groups. The status must carry its long texts when a JDL attribute is asked for."""
    return all(any(_job_condition(one, status, jobid, peer) for one in group) for group in groups)


def event_meets(groups: tuple[Group, ...], event: Event) -> bool:
    """Whether an event meets all groups."""
    return all(any(_event_condition(one, event) for one in group) for group in groups)


def job_value(attribute: Attribute, name: str | None, state: int | None, status: JobStatus, jobid: JobId) -> Any:
    """What conditions on an attribute compare of a job; `name` and `state` as in `Condition`.

    The status must carry its long texts when a JDL attribute is asked for.
    """
    if attribute is Attribute.JOBID:
        return jobid.unique
    if attribute is Attribute.USERTAG:
        return tag_value(status, name or "")
    if attribute is Attribute.TIME:
        return status.stateEnterTimes[state or 0]
    if attribute is Attribute.JDL_ATTR:
        return attribute_of(status.jdl or "", name or "")
    return STATUS_VALUES[attribute](status)


def wanted_value(attribute: Attribute, value: Any, peer: str | None) -> Any:
    """The value of a condition as `job_value` gives it; an owner of None is the peer."""
    if attribute is Attribute.OWNER:
        person = peer if value is None else value
        return "" if person is None else comparable(person)
    if attribute is Attribute.JOBID:
        return value.unique if isinstance(value, JobId) else value
    return str(value) if attribute is Attribute.PARENT else value


def _job_condition(condition: Condition, status: JobStatus, jobid: JobId, peer: str | None) -> bool:
    attribute = condition.attribute
    value = job_value(attribute, condition.name, condition.state, status, jobid)
    return compare(condition.operator, value, wanted_value(attribute, condition.value, peer), condition.value2)


def _event_condition(condition: Condition, event: Event) -> bool:
    attribute = condition.attribute
    value: Any
    if attribute is Attribute.USERTAG:
        if event.type.name != "UserTag" or (event.text("name") or "").lower() != (condition.name or "").lower():
            return False
        value = event.text("value")
    elif attribute is Attribute.JDL_ATTR:
        if event.type.name != "RegJob":
            return False
        value = attribute_of(event.text("jdl") or "", condition.name or "")
    else:
        value = _EVENT[attribute](event)
    return compare(condition.operator, value, condition.value, condition.value2)
