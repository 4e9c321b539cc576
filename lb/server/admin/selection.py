"""Which jobs a purge means: those that are named, or those older than the time-out of their state.

A subjob goes with its parent and not before (spec: wire-query.md §8.1). Blocking, for the thread of administration;
it only reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from lb.model.status import STATES, State
from lb.store.interface import JobEntry, Reader
from lb.store.selection import PARENT, Place, Range, Selection
from lb.wire.lbxml.purge import NEVER, SERVER_DEFAULT, Request

_MICROSECONDS: Final = 1_000_000
_DAY: Final = 86_400
#: Jobs of one step.
SLICE: Final = 100
#: Parents of parents of parents: more than there are.
_DEEPEST: Final = 16

#: What C servers use, seconds by state.
DEFAULT_TIMEOUTS: Final = tuple(
    {State.Cleared: 3 * _DAY, State.Aborted: 7 * _DAY, State.Cancelled: 7 * _DAY}.get(State(state), 31 * _DAY)
    for state in range(STATES)
)


class Step(NamedTuple):
    """Jobs whose events are dumped, and jobs that are removed afterwards."""

    dump: Sequence[JobEntry]
    remove: Sequence[JobEntry]


class Choice:
    """What one request means."""

    def __init__(self, reader: Reader, asked: Request, now: int, defaults: Sequence[int] = DEFAULT_TIMEOUTS) -> None:
        """`now`: seconds since the epoch."""
        self._reader = reader
        self._jobs = None if asked.jobs is None else {job.unique: job for job in asked.jobs}
        self._now = now
        self._timeouts = [
            default if timeout == SERVER_DEFAULT else timeout
            for timeout, default in zip(asked.timeouts, defaults, strict=True)
        ]

    def steps(self) -> Iterator[Step | None]:
        """What is done one after another; None for a slice in which nothing was found.

        A parent is dumped before its subjobs and removed behind them: a purge that is interrupted is complete when
        it is asked for again.
        """
        for entries in self._slices():
            single: list[JobEntry] = []
            for entry in entries:
                if not self._meant(entry):
                    continue
                if self._children(entry, "", 1) and not self._in_circle(entry):
                    yield from self._family(entry, _DEEPEST)
                else:
                    single.append(entry)
            yield Step(single, single) if single else None

    def _slices(self) -> Iterator[list[JobEntry]]:
        if self._jobs is not None:
            uniques = sorted(self._jobs)
            for start in range(0, len(uniques), SLICE):
                yield self._reader.jobs(uniques[start : start + SLICE])
            return
        after = ""
        while places := self._reader.finder.places(Selection(None), after, SLICE):
            after = places[-1].unique
            yield self._entries(places)

    def _meant(self, entry: JobEntry) -> bool:
        if entry.parent is not None:
            if self._reader.job(entry.parent) is not None and not self._in_circle(entry):
                return False  # its parent decides
            if self._reader.job(entry.jobid.unique) is None:
                return False  # it went with its parent since this slice was read
        if self._jobs is not None:
            named = self._jobs[entry.jobid.unique]
            return (named.host.lower(), named.port) == (entry.jobid.host.lower(), entry.jobid.port)
        timeout = self._timeouts[entry.status.state]
        return timeout != NEVER and self._now - self._updated(entry) >= timeout

    def _in_circle(self, entry: JobEntry) -> bool:
        """Whether a job is among its own ancestors, as any two jobs may say, or below such: each decides for itself."""
        ancestor: JobEntry | None = entry
        for _ in range(_DEEPEST):
            ancestor = None if ancestor is None or ancestor.parent is None else self._reader.job(ancestor.parent)
            if ancestor is None or ancestor.key == entry.key:
                return ancestor is not None
        return True

    def _updated(self, entry: JobEntry) -> int:
        """When something last happened to a job; seconds."""
        moment = entry.status.lastUpdateTime
        if not moment:  # nobody has registered it yet
            _, moment = self._reader.finder.last_event(entry.key)
        return moment // _MICROSECONDS if moment else self._now

    def _children(self, entry: JobEntry, after: str, most: int) -> list[Place]:
        unique = entry.jobid.unique
        return self._reader.finder.places(Selection(PARENT, (Range(unique, unique),)), after, most)

    def _entries(self, places: Collection[Place]) -> list[JobEntry]:
        return self._reader.entries([place.key for place in places])

    def _family(self, parent: JobEntry, deep: int) -> Iterator[Step]:
        yield Step([parent], [])
        after = ""
        while places := self._children(parent, after, SLICE):
            after = places[-1].unique
            single = []
            for child in self._entries(places):
                if deep and self._children(child, "", 1):
                    yield from self._family(child, deep - 1)
                else:
                    single.append(child)
            if single:
                yield Step(single, single)
        yield Step([], [parent])
