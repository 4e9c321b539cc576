"""Whether a job or an event meets a query's conditions (spec: wire-query.md §5).

Pure comparisons of values; which jobs are looked at, and who may see them, is decided elsewhere.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any, Final

from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.indexing import STATUS_VALUES, tag_value
from lb.model.jdl import attribute_of
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Group, Operator
from lb.model.status import JobStatus
from lb.model.subject import comparable
from lb.server.access import WATCHED_JDL, Access

_MICROSECONDS: Final = 1_000_000
#: Comparisons that one query, or registration, may ask of a job or event: some 0.3 ms. No option: it bounds what a
#: stranger makes a slice of the reading thread cost, not what an answer may hold; equal values of one attribute are one
#: comparison, so that lists of names are as long as a request may be.
MAX_EFFORT: Final = 1_000

#: What those who only watch a job are told, and may therefore ask for (security.md §11.2). Whose jobs they watch they
#: name in registrations; queries tell them no owner, see `JobConditions.open_to`.
_WATCHED: Final = frozenset(
    {
        Attribute.JOBID,
        Attribute.OWNER,
        Attribute.PARENT,
        Attribute.STATUS,
        Attribute.DESTINATION,
        Attribute.NETWORK_SERVER,
        Attribute.JOB_TYPE,
        Attribute.TIME,
        Attribute.STATEENTERTIME,
        Attribute.LASTUPDATETIME,
    }
)
_WATCHED_JDL: Final = frozenset(name.lower() for name in WATCHED_JDL)

#: What is compared: attribute, name and state of a condition.
_Question = tuple[Attribute, str | None, int | None]

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


def for_watchers(groups: Iterable[Group]) -> bool:
    """Whether who meets conditions tells no more of a job than those who only watch it may know."""
    return all(
        one.attribute in _WATCHED or (one.attribute is Attribute.JDL_ATTR and (one.name or "").lower() in _WATCHED_JDL)
        for group in groups
        for one in group
    )


class _Alternatives:
    """A group of conditions; values of which one must be equal are looked up together, however many there are."""

    def __init__(self, group: Group, peer: str | None) -> None:
        self._equal: dict[_Question, set[Any]] = {}
        self._others: list[tuple[Condition, Any]] = []
        for one in group:
            wanted = wanted_value(one.attribute, one.value, peer)
            if one.operator is Operator.EQUAL:
                self._equal.setdefault((one.attribute, one.name, one.state), set()).add(wanted)
            else:
                self._others.append((one, wanted))

    def __len__(self) -> int:
        return len(self._equal) + len(self._others)

    def hold(self, status: JobStatus, jobid: JobId) -> bool:
        """Whether one of them does."""
        for (attribute, name, state), values in self._equal.items():
            if job_value(attribute, name, state, status, jobid) in values:
                return True
        return any(
            compare(one.operator, job_value(one.attribute, one.name, one.state, status, jobid), wanted, one.value2)
            for one, wanted in self._others
        )


class JobConditions:
    """The conditions of a query in the form in which they are asked of one job after another."""

    def __init__(self, groups: Iterable[Group], peer: str | None) -> None:
        """`peer` stands for an owner of None."""
        groups = tuple(dict.fromkeys(groups))
        self._groups = [_Alternatives(group, peer) for group in groups]
        self._for_watchers = for_watchers(groups)
        own = wanted_value(Attribute.OWNER, None, peer)
        self._names_others = any(
            one.attribute is Attribute.OWNER
            and one.operator is not Operator.CHANGED
            and wanted_value(one.attribute, one.value, peer) != own
            for group in groups
            for one in group
        )

    @property
    def effort(self) -> int:
        """Comparisons that they ask of a job."""
        return sum(map(len, self._groups))

    def open_to(self, allowed: Access) -> bool:
        """Whether who reads so much of a job learns no more by its being among those that meet the conditions.

        Of whoever is not told a job's owner no guess at his name is confirmed.
        """
        if allowed is Access.FULL:
            return True
        return not self._names_others and (allowed is Access.ANONYMISED or self._for_watchers)

    def hold(self, status: JobStatus, jobid: JobId) -> bool:
        """Whether a job meets all groups. The status must carry its long texts when a JDL attribute is asked for."""
        return all(group.hold(status, jobid) for group in self._groups)


def check_effort(jobs: tuple[Group, ...], events: tuple[Group, ...] = ()) -> None:
    """Refuse with E2BIG what would ask too much of each job or event (P10)."""
    effort = JobConditions(jobs, None).effort + sum(map(len, events))
    if effort > MAX_EFFORT:
        raise LBError(
            errno.E2BIG, f"{effort} comparisons, at most {MAX_EFFORT} are made; equal values of one attribute are one"
        )


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
