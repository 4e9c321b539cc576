"""Which registrations a change of a job's state meets (spec: wire-notification.md §2), found through an index.

The index is a tree: on each level one condition that a registration cannot do without, under it the values that
satisfy it. A change follows only the branches of its own values, so that its cost does not grow with registrations
that cannot match; whatever the index leaves open is compared afterwards. Pure; nothing here expires or is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from lb.model.query import Attribute, Flag, Group, Operator
from lb.model.registration import Registration
from lb.model.status import State
from lb.model.subject import comparable
from lb.security.identity import Identity
from lb.security.policy import Policy
from lb.server.access import Access, access, of_everybody
from lb.server.conditions import compare, for_watchers, wanted_value
from lb.server.notify.change import (
    EVERYBODY,
    UNREMEMBERED,
    Aspect,
    Before,
    Change,
    Key,
    interned,
    key_of,
    place,
    remember,
)
from lb.state.job import Job

#: Most leaves of the tree for one registration; conditions that would make more are compared one by one.
_MAX_LEAVES: Final = 1_024


#: Attributes of which all values are known: any condition on them is a choice of values.
_DOMAINS: Final[dict[Attribute, range]] = {
    Attribute.STATUS: range(len(State)),
    Attribute.RESUBMITTED: range(2),
}
_TRUE: Final = (True,)
_JOB: Final = interned(Aspect.JOB)
_TERMINAL: Final = interned(Aspect.TERMINAL)


class _Level(NamedTuple):
    """A level that a registration needs, and the values of which one must be there."""

    key: Key
    values: tuple[Any, ...]


def _level(group: Group, peer: str) -> _Level | None:
    """A group of alternatives as a level; None when no list of values tells when it holds."""
    first = group[0]
    if any(key_of(condition, Aspect.EQUAL) is not key_of(first, Aspect.EQUAL) for condition in group):
        return None  # times of several states
    if all(condition.operator is Operator.CHANGED for condition in group):
        return _Level(key_of(first, Aspect.CHANGED), _TRUE)
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
    return _Level(key_of(first, Aspect.EQUAL), tuple(values))


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
        self._asked: Counter[Attribute] = Counter()  # how many registrations ask for changes of an attribute
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
        self._asked.update(_remembered(registration))
        if levels is not None:
            root = self._readers.setdefault(self._reader(registration), _Node())
            for node in _leaves(root, levels):
                node.registrations[registration.number] = registration

    def remove(self, number: int) -> None:
        """Forget a registration, if it is there."""
        registration, levels = self._held.pop(number, (None, None))
        if registration is None:
            return
        self._asked -= Counter(_remembered(registration))
        if levels is not None:
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
        return comparable(registration.owner) if reads is Access.NONE else EVERYBODY

    def before(self, job: Job) -> Before:
        """Remember of a job what `matching` may ask of it after its next step."""
        return remember(job, self._asked)

    def matching(self, change: Change) -> list[tuple[Registration, Access]]:
        """The registrations that a change meets, in the order of their numbers, and what their owners may read."""
        candidates = self.candidates(change)
        if not candidates:
            return []
        found: list[tuple[Registration, Access]] = []
        job, payload_owner = change.job, change.new.payload_owner
        for registration in candidates:
            if _meets(registration, change):
                owner = Identity(registration.owner)
                allowed = access(self.policy, owner, job.owner, payload_owner, job.acl)
                if allowed is Access.REDUCED and not for_watchers(registration.groups):
                    continue
                if allowed is not Access.NONE:
                    found.append((registration, allowed))
        found.sort(key=lambda pair: pair[0].number)
        return found

    def candidates(self, change: Change) -> list[Registration]:
        """The registrations to which the index leads."""
        roots = self._readers
        nodes = [roots[reader] for reader in change.readers if reader in roots]
        found: list[Registration] = []
        for node in nodes:  # it grows meanwhile
            if node.registrations:
                found.extend(node.registrations.values())
            for key, branches in node.levels.items():
                below = branches.get(key.of(change))
                if below is not None:
                    nodes.append(below)
        return found


def _levels(registration: Registration) -> list[_Level] | None:
    """The levels that a registration needs; None when nothing can ever satisfy one of its conditions."""
    levels = []
    if registration.jobs:
        levels.append(_Level(_JOB, tuple(dict.fromkeys(map(place, registration.jobs)))))
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


def _remembered(registration: Registration) -> set[Attribute]:
    """The attributes whose changes a registration asks for."""
    asked = {one.attribute for group in registration.groups for one in group if one.operator is Operator.CHANGED}
    return asked - UNREMEMBERED


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
