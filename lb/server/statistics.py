"""Rates and durations of jobs, counted as events move them and asked for by destination (spec: wire-query.md §8.4).

Counts belong to the transaction of the events that cause them. Who may ask is decided elsewhere.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from lb.model.errors import LBError, invalid, missing
from lb.model.query import Attribute, Group, Operator
from lb.model.status import JobStatus, State
from lb.store.statistics import ARCHIVES, Archive, Count, Slot, StatisticsReader
from lb.wire.lbxml.statistics import Figure, Function, Request, Result

_MICROSECONDS: Final = 1_000_000


class Counter(NamedTuple):
    """Entries into a state, or with a `base` the time from there; `minor`: done code, of Done only."""

    final: State
    minor: int = 0
    base: State | None = None

    @property
    def name(self) -> str:
        """What the store knows it by."""
        way = self.final.name if self.base is None else f"{self.base.name}>{self.final.name}"
        return f"{way}/{self.minor}"


#: States whose entries are counted, and from which states the way there is measured.
_COUNTED: Final[dict[int, tuple[State, ...]]] = {
    State.Ready: (),
    State.Scheduled: (),
    State.Running: (State.Submitted, State.Scheduled),
    State.Done: (State.Submitted, State.Running),
}
#: Done codes that are told apart.
_MINORS: Final = (0, 1)


def _known(counter: Counter) -> bool:
    ways = _COUNTED.get(counter.final)
    minors = _MINORS if counter.final is State.Done else (0,)
    return ways is not None and counter.minor in minors and (counter.base is None or counter.base in ways)


class Counts:
    """What one batch of events adds."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str, int], tuple[int, float, float]] = {}

    def entered(self, status: JobStatus, before: int) -> None:
        """Count a step of a job that was in state `before`; jobs without a destination belong to no group."""
        state = status.state
        if state == before or state not in _COUNTED or status.destination is None:
            return
        minor = status.done_code if state == State.Done else 0
        if minor not in _MINORS:
            return
        entered = status.stateEnterTime / _MICROSECONDS
        width = ARCHIVES[0].width
        start = int(entered) // width * width
        self._add(Counter(State(state), minor), status.destination, start, 0.0)
        for base in _COUNTED[state]:
            left = status.stateEnterTimes[base]
            if left:
                self._add(Counter(State(state), minor, base), status.destination, start, max(0.0, entered - left))

    def _add(self, counter: Counter, group: str, start: int, seconds: float) -> None:
        key = counter.name, group, start
        number, total, squares = self._slots.get(key, (0, 0.0, 0.0))
        self._slots[key] = number + 1, total + seconds, squares + seconds * seconds

    def all(self) -> list[Count]:
        """What the store has to add."""
        return [Count(*key, *sums) for key, sums in self._slots.items()]


def figures(reader: StatisticsReader, asked: Request, now: int) -> Result:
    """The answer to a request; EINVAL, ENOSYS, ENOENT. `now`: seconds since the epoch."""
    if asked.function is Function.DURATION:
        raise LBError(errno.ENOSYS, "durations of a state are not counted, only those from one state to another")
    group = _group(asked.groups)
    if asked.since >= asked.until:
        raise invalid("the time asked for ends before it begins")
    rates = asked.function is Function.RATE
    counter = Counter(asked.base, asked.minor) if rates else Counter(asked.final, asked.minor, asked.base)
    if not _known(counter):
        raise missing("no matching state counter")
    archive = _archive(asked.since, now)
    since, until = max(asked.since, now - archive.span), min(asked.until, now)
    if since >= until:
        raise missing("no data available")
    slots = reader.slots(counter.name, group or None, since, until)
    found = [
        _figure(name, list(slots), since, until, now, rates) for name, slots in groupby(slots, lambda slot: slot.group)
    ]
    if not found:
        raise missing("no matching group")
    width = archive.width
    return Result(since, until, width, width, tuple(found))


def _group(groups: Sequence[Group]) -> str:
    """The destination asked for, empty for all."""
    conditions = [condition for group in groups for condition in group]
    if len(conditions) == 1:
        (condition,) = conditions
        if condition.attribute is Attribute.DESTINATION and condition.operator is Operator.EQUAL:
            return str(condition.value)
    raise LBError(errno.ENOSYS, "the only supported grouping is by destination")


def _archive(since: int, now: int) -> Archive:
    """The finest archive that reaches back to a time."""
    return next((archive for archive in ARCHIVES if now - archive.span <= since), ARCHIVES[-1])


def _figure(group: str, slots: Iterable[Slot], since: int, until: int, now: int, rates: bool) -> Figure:
    """The figures of one group; slots that stand out of the time asked for count for the part that is in it."""
    number = total = squares = 0.0
    for slot in slots:
        # A slot that has not ended has its counts already.
        end = min(slot.start + slot.width, now)
        part = (min(end, until) - max(slot.start, since)) / (end - slot.start)
        number += part * slot.number
        total += part * slot.total
        squares += part * slot.squares
    if rates:
        return Figure(group, rate=number / (until - since))
    mean = total / number if number else 0.0
    variance = max(0.0, squares / number - mean * mean) if number else 0.0
    return Figure(group, duration=mean, dispersion=variance / mean if mean else 0.0)
