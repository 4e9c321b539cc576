"""Which registrations a change of a job's state meets (spec: wire-notification.md §2), found through an index.

The index is a tree: on each level one condition that a registration cannot do without, under it the values that
satisfy it. A change follows only the branches of its own values, so that its cost does not grow with registrations
that cannot match; whatever the index leaves open is compared afterwards. Pure; nothing here expires or is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from lb.model.jdl import attribute_of
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Flag, Group, Operator
from lb.model.registration import Registration
from lb.model.status import TERMINAL, JobStatus, State
from lb.model.subject import comparable
from lb.security.acl import ACL
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.access import Access, access, of_everybody
from lb.server.conditions import compare, job_value, wanted_value

#: Most leaves of the tree for one registration; conditions that would make more are compared one by one.
_MAX_LEAVES: Final = 1_024


class Aspect(IntEnum):
    """What a level of the tree is about."""

    READER = 0  #: who may read the job
    JOB = 1
    EQUAL = 2  #: an attribute has a value
    CHANGED = 3  #: an attribute has another value than before
    TERMINAL = 4  #: the job has come to its end


class Key:
    """One level of the tree; attribute, name and state as in `Condition`.

    Keys are compared by identity, which is what most of a match does: those of `_interned` are shared.
    """

    __slots__ = ("aspect", "attribute", "name", "state")

    def __init__(
        self,
        aspect: Aspect,
        attribute: Attribute | None = None,
        name: str | None = None,
        state: int | None = None,
    ) -> None:
        self.aspect = aspect
        self.attribute = attribute
        self.name = name
        self.state = state


_interned = lru_cache(maxsize=4_096)(Key)
_READER: Final = Key(Aspect.READER)
_JOB: Final = Key(Aspect.JOB)
_TERMINAL: Final = Key(Aspect.TERMINAL)
#: Stands for those who may read jobs of everybody.
_EVERYBODY: Final = ""
_TRUE: Final = (True,)

#: Attributes of which all values are known: any condition on them is a choice of values.
_DOMAINS: Final[dict[Attribute, range]] = {
    Attribute.STATUS: range(len(State)),
    Attribute.RESUBMITTED: range(2),
}


class Change:
    """A step of a job: `old` is its status before, None when there was none; `owner_key`: its comparable owner.

    Statuses may lack their long texts; `descriptions` gives the job description before and after.
    """

    def __init__(
        self,
        jobid: JobId,
        owner: str,
        owner_key: str,
        acl: str | None,
        old: JobStatus | None,
        new: JobStatus,
        descriptions: tuple[str | None, str | None],
    ) -> None:
        self.jobid = jobid
        self.owner = owner
        self.owner_key = owner_key
        self.acl = acl
        self.old = old
        self.new = new
        self._descriptions = descriptions
        self._values: dict[Key, tuple[Any, ...]] = {}

    def values(self, key: Key) -> tuple[Any, ...]:
        """The values that lead on from a level of the tree."""
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = _VALUES[key.aspect](self, key)
        return found

    def value(self, key: Key, *, before: bool = False) -> Any:
        """An attribute's value after or before the change."""
        status = self.old if before else self.new
        assert key.attribute is not None and status is not None
        if key.attribute is Attribute.OWNER and status.owner == self.owner:
            return self.owner_key
        if key.attribute is Attribute.JDL_ATTR:
            return attribute_of(self._descriptions[0 if before else 1] or "", key.name or "")
        return job_value(key.attribute, key.name, key.state, status, self.jobid)

    def meets(self, condition: Condition, peer: str) -> bool:
        """Whether a condition of a registration of `peer` holds."""
        attribute = condition.attribute
        if condition.operator is Operator.CHANGED:
            return bool(self.values(_key(condition, Aspect.CHANGED)))
        (value,) = self.values(_key(condition, Aspect.EQUAL))
        return compare(condition.operator, value, wanted_value(attribute, condition.value, peer), condition.value2)


def _changed(change: Change, key: Key) -> tuple[Any, ...]:
    return _TRUE if change.old is None or change.value(key) != change.value(key, before=True) else ()


def _terminal(change: Change, key: Key) -> tuple[Any, ...]:
    state, old = change.new.state, change.old
    # A job that had come to its end does so once, and being purged is no other end (§2, step 3).
    if state not in TERMINAL or (state == State.Purged and old is not None and old.state in TERMINAL):
        return ()
    return _TRUE


def _readers(change: Change, key: Key) -> tuple[Any, ...]:
    if change.acl is None and not change.new.payload_owner:
        return _EVERYBODY, change.owner_key
    named = {_EVERYBODY, change.owner_key}
    if change.new.payload_owner:
        named.add(comparable(change.new.payload_owner))
    if change.acl is not None:
        named.update(comparable(name) for name in ACL.parse(change.acl).persons)
    return tuple(named)


_VALUES: Final[dict[Aspect, Callable[[Change, Key], tuple[Any, ...]]]] = {
    Aspect.READER: _readers,
    Aspect.JOB: lambda change, key: (_job(change.jobid),),
    Aspect.EQUAL: lambda change, key: (change.value(key),),
    Aspect.CHANGED: _changed,
    Aspect.TERMINAL: _terminal,
}


def _key(condition: Condition, aspect: Aspect) -> Key:
    name = condition.name.lower() if condition.name is not None else None
    return _interned(aspect, condition.attribute, name, condition.state)


def _job(jobid: JobId) -> tuple[str, int, str]:
    return jobid.host.lower(), jobid.port, jobid.unique


class _Level(NamedTuple):
    """A level that a registration needs, and the values of which one must be there."""

    key: Key
    values: tuple[Any, ...]


def _level(group: Group, peer: str) -> _Level | None:
    """A group of alternatives as a level; None when no list of values tells when it holds."""
    first = group[0]
    if all(condition.operator is Operator.CHANGED for condition in group):
        return _Level(_key(first, Aspect.CHANGED), _TRUE)
    if any(condition.operator is Operator.CHANGED for condition in group):
        return None
    wanted = [
        (condition.operator, wanted_value(condition.attribute, condition.value, peer), condition.value2)
        for condition in group
    ]
    domain = _DOMAINS.get(first.attribute)
    if domain is not None:
        values: Iterable[Any] = (value for value in domain if any(compare(op, value, a, b) for op, a, b in wanted))
    elif all(operator is Operator.EQUAL for operator, _, _ in wanted):
        values = dict.fromkeys(value for _, value, _ in wanted)
    else:
        return None
    return _Level(_key(first, Aspect.EQUAL), tuple(values))


#: Which levels come first: those whose values few jobs share.
_ORDER: Final = (
    Attribute.PARENT,
    Attribute.USERTAG,
    Attribute.OWNER,
    Attribute.DESTINATION,
    Attribute.LOCATION,
    Attribute.NETWORK_SERVER,
    Attribute.JDL_ATTR,
)


def _selectivity(level: _Level) -> tuple[int, int]:
    attribute = level.key.attribute
    place = _ORDER.index(attribute) if attribute in _ORDER else len(_ORDER)
    return (place if level.key.aspect is Aspect.EQUAL else len(_ORDER)), len(level.values)


class _Node:
    """Registrations that need no more than what led here, and the levels that others need besides."""

    __slots__ = ("levels", "registrations")

    def __init__(self) -> None:
        self.registrations: dict[int, Registration] = {}
        self.levels: dict[Key, dict[Any, _Node]] = {}


class Matcher:
    """Registrations, by number, in an index that is made for one policy."""

    def __init__(self, policy: Policy, registrations: Iterable[Registration] = ()) -> None:
        self.policy = policy
        self._root = _Node()
        self._held: dict[int, tuple[Registration, list[_Level] | None]] = {}
        for registration in registrations:
            self.add(registration)

    def __bool__(self) -> bool:
        return bool(self._held)

    def __iter__(self) -> Iterator[Registration]:
        return (registration for registration, _ in self._held.values())

    def add(self, registration: Registration) -> None:
        """Take in a registration, in place of a former one with its number."""
        self.remove(registration.number)
        levels = self._levels(registration)
        self._held[registration.number] = registration, levels
        for node in _leaves(self._root, levels) if levels is not None else ():
            node.registrations[registration.number] = registration

    def remove(self, number: int) -> None:
        """Forget a registration, if it is there."""
        held = self._held.pop(number, None)
        if held is not None and held[1] is not None:
            _prune(self._root, held[1], 0, number)

    def get(self, number: int) -> Registration | None:
        return self._held[number][0] if number in self._held else None

    def _levels(self, registration: Registration) -> list[_Level] | None:
        """The levels that a registration needs; None when nothing can ever satisfy one of its conditions."""
        reads = of_everybody(self.policy, Identity(registration.owner))
        levels = [_Level(_READER, (comparable(registration.owner) if reads is Access.NONE else _EVERYBODY,))]
        if registration.jobs:
            levels.append(_Level(_JOB, tuple(dict.fromkeys(map(_job, registration.jobs)))))
        if Flag.TERMINAL_STATES in registration.flags:
            levels.append(_Level(_TERMINAL, _TRUE))
        found = [level for group in registration.groups if (level := _level(group, registration.owner)) is not None]
        if not all(level.values for level in found):
            return None
        leaves = len(registration.jobs) or 1
        for level in sorted(found, key=_selectivity):
            if leaves * len(level.values) <= _MAX_LEAVES or leaves == 1:
                leaves *= len(level.values)
                levels.append(level)
        return levels

    def matching(self, change: Change) -> list[tuple[Registration, Access]]:
        """The registrations that a change meets, in the order of their numbers, and what their owners may read."""
        found: list[tuple[Registration, Access]] = []
        for registration in self.candidates(change):
            if self._meets(registration, change):
                allowed = access(
                    self.policy, Identity(registration.owner), change.owner, change.new.payload_owner, change.acl
                )
                if allowed is not Access.NONE:
                    found.append((registration, allowed))
        found.sort(key=lambda pair: pair[0].number)
        return found

    @staticmethod
    def _meets(registration: Registration, change: Change) -> bool:
        owner = registration.owner
        return all(any(change.meets(condition, owner) for condition in group) for group in registration.groups)

    def candidates(self, change: Change) -> Iterator[Registration]:
        """The registrations to which the index leads."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            yield from node.registrations.values()
            for key, branches in node.levels.items():
                for value in change.values(key):
                    below = branches.get(value)
                    if below is not None:
                        nodes.append(below)


def _leaves(root: _Node, levels: list[_Level]) -> list[_Node]:
    """The nodes under which a registration with these levels stands; made where they are missing."""
    nodes = [root]
    for key, values in levels:
        nodes = [node.levels.setdefault(key, {}).setdefault(value, _Node()) for node in nodes for value in values]
    return nodes


def _prune(node: _Node, levels: list[_Level], depth: int, number: int) -> None:
    if depth == len(levels):
        del node.registrations[number]
        return
    key, values = levels[depth]
    branches = node.levels[key]
    for value in values:
        below = branches[value]
        _prune(below, levels, depth + 1, number)
        if not below.registrations and not below.levels:
            del branches[value]
    if not branches:
        del node.levels[key]
