"""A step of a job's state, and the values that conditions of registrations ask of it, of its state before and after.

Of the state before, nothing is kept but what some registration may ask for: copying it cost more than a match. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from lb.model.indexing import STATUS_VALUES
from lb.model.jdl import attribute_of
from lb.model.jobid import JobId
from lb.model.query import Attribute, Condition, Operator
from lb.model.status import TERMINAL, JobStatus, State
from lb.model.subject import comparable
from lb.security.acl import ACL
from lb.server.conditions import compare, wanted_value
from lb.state.job import Job
from lb.store.interface import StoredJob

#: Stands for those who may read jobs of everybody.
EVERYBODY: Final = ""

# --- what is kept of the state before a step ---------------------------------------------------------------------


class Before(NamedTuple):
    """A job before a step: `state` None when there was none, and by attribute what its values can be read from."""

    state: int | None
    sources: Mapping[Attribute, Any]


NEW: Final = Before(None, {})
#: Most steps are of jobs of which nothing but the state is asked for.
_STATES: Final = tuple(Before(state, {}) for state in range(len(State)))


def _copied(values: list[Any] | None) -> list[Any] | None:
    """Of what the fold changes in place; the rest it replaces."""
    return None if values is None else values.copy()


#: What all values of an attribute are read from, where it is not the value itself.
_SOURCES: Final[dict[Attribute, Callable[[Job], Any]]] = {
    Attribute.OWNER: lambda job: job.status.owner,
    Attribute.USERTAG: lambda job: job.status.user_tags,
    Attribute.TIME: lambda job: job.status.stateEnterTimes,
    Attribute.JDL_ATTR: lambda job: job.texts.jdl,
}
_COPIED: Final = frozenset((Attribute.USERTAG, Attribute.TIME))


def _source(attribute: Attribute, job: Job) -> Any:
    source = _SOURCES.get(attribute)
    return STATUS_VALUES[attribute](job.status) if source is None else source(job)


def remember(job: Job, attributes: Collection[Attribute]) -> Before:
    """What a step of the job may be compared with afterwards; `attributes`: those whose changes are asked for."""
    state = job.status.state
    if not attributes:
        return _STATES[state]
    found = ((one, _source(one, job)) for one in attributes)
    return Before(state, {one: _copied(source) if one in _COPIED else source for one, source in found})


# --- values of a step --------------------------------------------------------------------------------------------


class Aspect(IntEnum):
    """What is asked of a step."""

    JOB = 1  #: which job it is
    EQUAL = 2  #: the value that an attribute has
    CHANGED = 3  #: whether an attribute has another value than before
    TERMINAL = 4  #: whether the job has come to its end


class Change:
    """A step of a job: as it is now, and what is known of it before."""

    __slots__ = ("before", "job", "new")

    def __init__(self, job: StoredJob, before: Before) -> None:
        self.job = job
        self.new: JobStatus = job.state.status
        self.before = before

    @property
    def readers(self) -> Collection[str]:
        """Comparable names of all persons who are named as readers, and what stands for everybody."""
        job, payload_owner = self.job, self.new.payload_owner
        if job.acl is None and not payload_owner:
            return EVERYBODY, job.owner_key
        named = {EVERYBODY, job.owner_key}
        if payload_owner:
            named.add(comparable(payload_owner))
        if job.acl is not None:
            named.update(comparable(name) for name in ACL.parse(job.acl).persons)
        return named

    def meets(self, condition: Condition, peer: str) -> bool:
        """Whether a condition of a registration of `peer` holds."""
        if condition.operator is Operator.CHANGED:
            return bool(key_of(condition, Aspect.CHANGED).of(self))
        value = key_of(condition, Aspect.EQUAL).of(self)
        wanted = wanted_value(condition.attribute, condition.value, peer)
        return compare(condition.operator, value, wanted, condition.value2)


class Key:
    """One question; attribute, name and state as in `Condition`. `of(change)` is the answer of a step.

    Keys are compared by identity, which is what most of a match does: `interned` ones are shared.
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

    def value(self, source: Any) -> Any:
        """The value that an attribute's source has for this question."""
        match self.attribute:
            case Attribute.USERTAG:
                return None if source is None else _tag(source, self.name)
            case Attribute.TIME:
                return source[self.state or 0]
            case Attribute.JDL_ATTR:
                return attribute_of(source or "", self.name or "")
            case Attribute.OWNER:
                return None if source is None else comparable(source)
            case _:
                return source


def _tag(tags: list[tuple[str, str]], folded: str | None) -> str | None:
    """The value of a user tag; a plain loop, as this is asked of most steps where anybody asks for a tag."""
    for name, value in tags:
        if name == folded or name.lower() == folded:
            return value
    return None


def _value(key: Key, change: Change) -> Any:
    assert key.attribute is not None
    return key.value(_source(key.attribute, change.job.state))


def _changed(key: Key, change: Change) -> bool:
    if change.before.state is None:
        return True
    assert key.attribute is not None
    was, now = change.before.sources[key.attribute], _source(key.attribute, change.job.state)
    return bool(was != now and key.value(was) != key.value(now))


def _state_changed(change: Change) -> bool:
    return change.before.state != change.new.state


def _owner(change: Change) -> str | None:
    job, owner = change.job, change.new.owner
    if owner == job.owner:
        return job.owner_key
    return None if owner is None else comparable(owner)


def _terminal(change: Change) -> bool:
    state, old = change.new.state, change.before.state
    # A job that had come to its end does so once, and being purged is no other end (§2, step 3).
    return state in TERMINAL and not (state == State.Purged and old in TERMINAL)


def _job(change: Change) -> tuple[str, int, str]:
    return place(change.job.jobid)


def place(jobid: JobId) -> tuple[str, int, str]:
    """What makes a job this job; host names have no case."""
    return jobid.host.lower(), jobid.port, jobid.unique


_READ: Final[dict[Aspect, Callable[[Key, Change], Any]]] = {Aspect.EQUAL: _value, Aspect.CHANGED: _changed}
#: What is asked of nearly every step.
_QUICK: Final[dict[tuple[Aspect, Attribute | None], Callable[[Change], Any]]] = {
    (Aspect.JOB, None): _job,
    (Aspect.TERMINAL, None): _terminal,
    (Aspect.EQUAL, Attribute.STATUS): lambda change: change.new.state,
    (Aspect.EQUAL, Attribute.OWNER): _owner,
    (Aspect.CHANGED, Attribute.STATUS): _state_changed,
}
#: Attributes whose changes are seen without remembering anything but the state.
UNREMEMBERED: Final = frozenset((Attribute.STATUS,))
interned = lru_cache(maxsize=4_096)(Key)


def key_of(condition: Condition, aspect: Aspect) -> Key:
    """The question that a condition asks."""
    name = condition.name.lower() if condition.name is not None else None
    return interned(aspect, condition.attribute, name, condition.state)
