"""From conditions to jobs: which selection leads to all jobs that may meet a query, and whether it may be asked.

A plan never misses a job; whether a job meets the query is for `lb.server.conditions` to say. Nothing here reads jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from lb.model.errors import Code, LBError
from lb.model.indexing import OWNER, Column, Index
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Group, Operator, Query
from lb.model.subject import comparable
from lb.store.selection import JOBID, PARENT, Range, Selection

#: Jobs to which selections are counted, first and then; beyond these it does not matter which is the smaller one.
_COUNTED: Final = (100, 10_000)

_RANGES: Final[dict[Operator, Callable[[Any, Any], Range]]] = {
    Operator.EQUAL: lambda value, _: Range(value, value),
    Operator.LESS: lambda value, _: Range(None, value),
    Operator.GREATER: lambda value, _: Range(value, None),
    Operator.WITHIN: Range,
}


class Plan(NamedTuple):
    """Where a query's jobs are: among `uniques` when there are any named, else in the selection."""

    selection: Selection
    uniques: Sequence[str] | None = None


def column_of(condition: Condition) -> Column:
    """The column that a condition compares."""
    if condition.attribute is Attribute.USERTAG:
        return Column(condition.attribute, name=(condition.name or "").lower())
    return Column(condition.attribute, state=condition.state if condition.attribute is Attribute.TIME else None)


def check_index(groups: Sequence[Group], indices: Iterable[Index], *, by_time: bool = False) -> None:
    """Refuse with NOINDEX what no index leads to (wire-query.md §5.5). `by_time`: conditions on events name a time."""
    named = {condition.attribute for group in groups for condition in group}
    if named & {Attribute.JOBID, Attribute.PARENT} or by_time:
        return
    if not groups:
        raise LBError(Code.NO_INDEX, "unrestricted queries unsupported")
    configured = list(indices)
    if not configured:
        raise LBError(Code.NO_INDEX, "no indices configured: jobid required in query")
    first = {column_of(group[0]) for group in groups}
    if not any(first.issuperset(index) for index in configured):
        if len(groups) == 1 and first == {OWNER}:
            raise LBError(Code.NO_INDEX, '"-all" queries denied by server configuration')
        raise LBError(Code.NO_INDEX, "No indexed condition in query")


def plan(
    query: Query, peer: str | None, columns: Collection[Column], estimate: Callable[[Selection, int], int]
) -> Plan:
    """The narrowest way to a query's jobs over `columns`; `peer` stands for an owner of None."""
    for group in query.jobs:
        uniques = [unique for unique in map(_named_job, group) if unique is not None]
        if len(uniques) == len(group):
            return Plan(Selection(JOBID), sorted(set(uniques)))
    found = [selection for group in query.jobs if (selection := _selection(group, peer, columns)) is not None]
    if len(found) > 1:
        return Plan(_smallest(found, estimate))
    return Plan(found[0] if found else Selection(None))


def _smallest(selections: Sequence[Selection], estimate: Callable[[Selection, int], int]) -> Selection:
    """The selection with the fewest jobs: often one has so few that the others need not be counted to their end."""
    sizes: list[int] = []
    for most in _COUNTED:
        sizes = [estimate(selection, most) for selection in selections]
        if min(sizes) < most:
            break
    return selections[sizes.index(min(sizes))]


def _named_job(condition: Condition) -> str | None:
    if condition.attribute is not Attribute.JOBID or condition.operator is not Operator.EQUAL:
        return None
    return condition.value.unique if isinstance(condition.value, JobId) else None


def _selection(group: Group, peer: str | None, columns: Collection[Column]) -> Selection | None:
    """The selection that holds all jobs meeting a group, None when no column tells them."""
    column = column_of(group[0])
    if column not in columns and column not in (JOBID, PARENT, OWNER):
        return None
    ranges = []
    for condition in group:
        # What differs from a value, or from what it was, may have none and stand in no column.
        if condition.operator not in _RANGES:
            return None
        low, high = _key(condition, condition.value, peer), _key(condition, condition.value2, peer)
        ranges.append(_RANGES[condition.operator](low, high))
    return Selection(column, tuple(ranges))


def _key(condition: Condition, value: Any, peer: str | None) -> Any:
    """The value of a condition as its column holds it."""
    if condition.attribute is Attribute.OWNER:
        return comparable(str(value if value is not None else peer))
    return value.unique if isinstance(value, JobId) else value
