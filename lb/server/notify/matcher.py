"""Which registrations a change of a job's state meets (spec: wire-notification.md §2), found through an index.

The index is a tree: on each level one condition that a registration cannot do without, under it the values that
satisfy it. A change follows only the branches of its own values, so that its cost does not grow with registrations
that cannot match; whatever the index leaves open is compared afterwards. Pure; nothing here expires or is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from enum import IntEnum
from functools import lru_cache, partial
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

    JOB = 1
    EQUAL = 2  #: an attribute has a value
    CHANGED = 3  #: an attribute has another value than before
    TERMINAL = 4  #: the job has come to its end


class Key:
    """One level of the tree; attribute, name and state as in `Condition`. `of(change)` is the change's value for it.

    Keys are compared by identity, which is what most of a match does: those of `_interned` are shared.
    """

    __slots__ = ("attribute", "name", "of", "state")

    def __init__(
        self,
        aspect: Aspect,
        attribute: Attribute | None = None,
        name: str | None = None,
        state: int | None = None,
    ) -> None:
        self.attribute = attribute
        self.name = name
        self.state = state
        self.of: Callable[[Change], Any] = _QUICK.get((aspect, attribute)) or partial(_READ[aspect], self)


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

    __slots__ = ("acl", "descriptions", "jobid", "new", "old", "owner", "owner_key")

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
        self.descriptions = descriptions

    @property
    def readers(self) -> Collection[str]:
        """Comparable names of all persons who are named as readers, and what stands for everybody."""
        if self.acl is None and not self.new.payload_owner:
            return _EVERYBODY, self.owner_key
        named = {_EVERYBODY, self.owner_key}
        if self.new.payload_owner:
            named.add(comparable(self.new.payload_owner))
        if self.acl is not None:
            named.update(comparable(name) for name in ACL.parse(self.acl).persons)
        return named

    def meets(self, condition: Condition, peer: str) -> bool:
        """Whether a condition of a registration of `peer` holds."""
        if condition.operator is Operator.CHANGED:
            return bool(_key(condition, Aspect.CHANGED).of(self))
        value = _key(condition, Aspect.EQUAL).of(self)
        wanted = wanted_value(condition.attribute, condition.value, peer)
        return compare(condition.operator, value, wanted, condition.value2)


def _value(key: Key, change: Change, status: JobStatus, description: str | None) -> Any:
    """An attribute's value in one of the two statuses of a change."""
    assert key.attribute is not None
    if key.attribute is Attribute.OWNER and status.owner == change.owner:
        return change.owner_key
    if key.attribute is Attribute.JDL_ATTR:
        return attribute_of(description or "", key.name or "")
    return job_value(key.attribute, key.name, key.state, status, change.jobid)


def _new_value(key: Key, change: Change) -> Any:
    return _value(key, change, change.new, change.descriptions[1])


def _changed(key: Key, change: Change) -> bool:
    if change.old is None:
        return True
    return bool(_value(key, change, change.old, change.descriptions[0]) != _new_value(key, change))


def _terminal(key: Key, change: Change) -> bool:
    state, old = change.new.state, change.old
    # A job that had come to its end does so once, and being purged is no other end (§2, step 3).
    return state in TERMINAL and not (state == State.Purged and old is not None and old.state in TERMINAL)


_READ: Final[dict[Aspect, Callable[[Key, Change], Any]]] = {
    Aspect.JOB: lambda key, change: _job(change.jobid),
    Aspect.EQUAL: _new_value,
    Aspect.CHANGED: _changed,
    Aspect.TERMINAL: _terminal,
}
#: What is asked of nearly every change.
_QUICK: Final[dict[tuple[Aspect, Attribute | None], Callable[[Change], Any]]] = {
    (Aspect.EQUAL, Attribute.STATUS): lambda change: change.new.state,
}
_interned = lru_cache(maxsize=4_096)(Key)
_JOB: Final = Key(Aspect.JOB)
_TERMINAL: Final = Key(Aspect.TERMINAL)


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
    place = _ORDER.index(attribute) if attribute in _ORDER and level.values is not _TRUE else len(_ORDER)
    return place, len(level.values)


class _Node:
    """Registrations that need no more than what led here, and the levels that others need besides."""

    __slots__ = ("levels", "registrations")

    def __init__(self) -> None:
        self.registrations: dict[int, Registration] = {}
        self.levels: dict[Key, dict[Any, _Node]] = {}

    @property
    def empty(self) -> bool:
        return not self.registrations and not self.levels


class Matcher:
    """Registrations, by number, in an index that is made for one policy."""

    def __init__(self, policy: Policy, registrations: Iterable[Registration] = ()) -> None:
        self.policy = policy
        self._readers: dict[str, _Node] = {}
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
        levels = _levels(registration)
        self._held[registration.number] = registration, levels
        if levels is not None:
            root = self._readers.setdefault(self._reader(registration), _Node())
            for node in _leaves(root, levels):
                node.registrations[registration.number] = registration

    def remove(self, number: int) -> None:
        """Forget a registration, if it is there."""
        registration, levels = self._held.pop(number, (None, None))
        if registration is not None and levels is not None:
            reader = self._reader(registration)
            root = self._readers[reader]
            _prune(root, levels, 0, number)
            if root.empty:
                del self._readers[reader]

    def get(self, number: int) -> Registration | None:
        return self._held[number][0] if number in self._held else None

    def _reader(self, registration: Registration) -> str:
        """Who has to be named as a reader of a job for the owner of the registration to be told of it."""
        reads = of_everybody(self.policy, Identity(registration.owner))
        return comparable(registration.owner) if reads is Access.NONE else _EVERYBODY

    def matching(self, change: Change) -> list[tuple[Registration, Access]]:
        """The registrations that a change meets, in the order of their numbers, and what their owners may read."""
        found: list[tuple[Registration, Access]] = []
        payload_owner = change.new.payload_owner
        for registration in self.candidates(change):
            if _meets(registration, change):
                owner = Identity(registration.owner)
                allowed = access(self.policy, owner, change.owner, payload_owner, change.acl)
                if allowed is not Access.NONE:
                    found.append((registration, allowed))
        found.sort(key=lambda pair: pair[0].number)
        return found

    def candidates(self, change: Change) -> Iterator[Registration]:
        """The registrations to which the index leads."""
        nodes = [self._readers[reader] for reader in change.readers if reader in self._readers]
        while nodes:
            node = nodes.pop()
            if node.registrations:
                yield from node.registrations.values()
            for key, branches in node.levels.items():
                below = branches.get(key.of(change))
                if below is not None:
                    nodes.append(below)


def _levels(registration: Registration) -> list[_Level] | None:
    """The levels that a registration needs; None when nothing can ever satisfy one of its conditions."""
    levels = []
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


def _meets(registration: Registration, change: Change) -> bool:
    owner = registration.owner
    return all(any(change.meets(condition, owner) for condition in group) for group in registration.groups)


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
        if below.empty:
            del branches[value]
    if not branches:
        del node.levels[key]
