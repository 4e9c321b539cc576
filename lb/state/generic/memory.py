"""What the fold of a described family remembers of a job, beside its status.

It is bounded whatever the length of the job's history, but for the user's own tags. Everything is ordered by keys,
not by arrival, so that the order in which events come does not show.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Final

import msgspec

from lb.model.status import STATES

#: Steps that are kept to be taken again when an event between them comes late; older ones are final.
MAX_STEPS: Final = 32
#: Values that an appended attribute keeps: the last ones.
MAX_APPENDED: Final = 16

#: Place of an event among those of its job: its time, its code and what tells it from others there, all numbers.
Key = tuple[int, ...]


class Step(msgspec.Struct, array_like=True, frozen=True):
    """An event that may move the job: the rows of the table that fit it, whatever the state is it meets."""

    key: Key
    time: int  #: microseconds
    rows: tuple[int, ...]


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """A value, as it is shown, and the event that brought it; None: the event took the value away."""

    key: Key
    text: str | None


class Position(msgspec.Struct, array_like=True):
    """Where a job stands: its exact state, and when it entered the standard ones."""

    state: str
    entered: int = 0  #: the standard state it is in, microseconds
    times: list[int] = msgspec.field(default_factory=lambda: [0] * STATES)  #: seconds, by standard state

    def copy(self) -> Position:
        """A copy that shares nothing."""
        return Position(self.state, self.entered, self.times.copy())


class Memory(msgspec.Struct, omit_defaults=True):
    """The memory of one job. `base` is the position before the first of `steps`."""

    family: str
    digest: str
    now: Position
    base: Position
    settled: Key | None = None  #: the last event that `base` includes
    steps: list[Step] = []
    values: dict[str, list[Kept]] = {}  #: by attribute, by rising key
    tags: dict[str, Kept] = {}  #: the user's own, by name in lower case

    def copy(self) -> Memory:
        """A copy that shares nothing that changes."""
        return Memory(
            self.family,
            self.digest,
            self.now.copy(),
            self.base.copy(),
            self.settled,
            self.steps.copy(),
            {name: kept.copy() for name, kept in self.values.items()},
            self.tags.copy(),
        )


_key = attrgetter("key")


def keep_last(held: list[Kept], new: Kept) -> None:
    """The value with the highest key stays."""
    if not held or new.key > held[0].key:
        held[:] = [new]


def keep_first(held: list[Kept], new: Kept) -> None:
    """The value with the lowest key stays."""
    if not held or new.key < held[0].key:
        held[:] = [new]


def keep_all(held: list[Kept], new: Kept) -> None:
    """All values stay, each event's once, in order; of very many the last ones."""
    place = bisect_left(held, new.key, key=_key)
    if place == len(held) or held[place].key != new.key:
        held.insert(place, new)
        del held[:-MAX_APPENDED]


def add_step(steps: list[Step], new: Step) -> bool:
    """Put a step in its place unless it is there; whether it has become the last one."""
    if not steps or new.key > steps[-1].key:
        steps.append(new)
        return True
    place = bisect_left(steps, new.key, key=_key)
    if steps[place].key != new.key:
        steps.insert(place, new)
    return False
