"""Purging: jobs are chosen and dumped in the thread of administration, removed in the writing one, step by step.

Nothing is removed whose events are not in the dump that was asked for, on stable storage (P2): a job that gets an
event meanwhile is dumped again or stays. Events go on being stored between the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lb.server.admin.dumpfile import DumpFile
from lb.server.admin.removal import Known
from lb.server.admin.selection import DEFAULT_TIMEOUTS, Choice, Step
from lb.service.worker import Caller
from lb.store.interface import JobEntry, Reader
from lb.wire.lbxml.purge import PurgeFlag, Request

#: Events of a removed job that one transaction deletes: some 20 ms.
_EVENTS: Final = 1_000
#: Events dumped at once.
_PAGE: Final = 256
#: Seconds of rest between two looks whether it is time to end.
_NAP: Final = 1.0
#: How often a job that gets events while it is dumped is dumped again.
_TRIES: Final = 3


class Removing(Protocol):
    """The writing thread's part: `Removal`, and what deletes the events of removed jobs."""

    def __call__(self, jobs: Sequence[Known]) -> set[int]: ...


class Purging:
    """Purges on request."""

    def __init__(
        self,
        reader: Reader,
        thread: Caller,
        removal: Removing,
        clear: Callable[[int], bool],
        writing: Caller,
        clock: IReactorTime,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """`reader` belongs to `thread`; `removal` and `clear` to `writing`; `go_on` raises when it is time to end."""
        self._reader = reader
        self._thread = thread
        self._removal = removal
        self._clear = clear
        self._writing = writing
        self._clock = clock
        self._go_on = go_on

    async def __call__(
        self,
        asked: Request,
        dump: DumpFile | None = None,
        *,
        defaults: Sequence[int] = DEFAULT_TIMEOUTS,
        found: Callable[[str], None] = lambda jobid: None,
        rest: float = 0.0,
    ) -> int:
        """Do what was asked; `found` gets the id of each job that is, or would be, purged. Their number.

        `rest`: seconds after each slice of the jobs that are looked at, for work that waits for nobody.

        Raises `StoreError` and OSError; what was done before stays done.
        """
        now = int(self._clock.seconds())
        really = PurgeFlag.REALLY_PURGE in asked.flags
        pause = await self._pause(asked, now, defaults) if really else 0.0
        steps = Choice(self._reader, asked, now, defaults).steps()
        dumped: dict[int, Known] = {}
        count = 0
        while (step := await self._thread.call(_next, steps)) is not _END:
            self._go_on()
            await self._rest(rest)
            if step is None:
                continue
            gone = await self._step(step, dump, dumped) if really else {entry.key for entry in step.remove}
            for entry in step.remove:
                dumped.pop(entry.key, None)
                if entry.key in gone:
                    found(str(entry.jobid))
                    count += 1
            await self._rest(pause * len(step.remove))
        return count

    async def _rest(self, seconds: float) -> None:
        """Do nothing for some time, or until it is time to end."""
        until = self._clock.seconds() + seconds
        while (left := until - self._clock.seconds()) > 0:
            await deferLater(self._clock, min(left, _NAP))
            self._go_on()

    async def _pause(self, asked: Request, now: int, defaults: Sequence[int]) -> float:
        """Seconds to rest for each job, so that the work takes as long as it was asked to."""
        if not asked.runtime:
            return 0.0
        steps = Choice(self._reader, asked, now, defaults).steps()
        jobs = 0
        while (step := await self._thread.call(_next, steps)) is not _END:
            self._go_on()
            jobs += len(step.remove) if step is not None else 0
        return asked.runtime / jobs if jobs else 0.0

    async def _step(self, step: Step, dump: DumpFile | None, dumped: dict[int, Known]) -> set[int]:
        """Dump and remove; the keys of those that are gone."""
        gone: set[int] = set()
        for entry in await self._thread.call(self._dump, step.dump, dump, dumped):
            dumped[entry.key] = entry
        left = [entry for entry in step.remove if entry.key in dumped]
        for _ in range(_TRIES):
            if not left:
                break
            gone |= await self._writing.call(self._removal, [dumped[entry.key] for entry in left])
            while await self._writing.call(self._clear, _EVENTS):
                pass
            left = [entry for entry in left if entry.key not in gone]
            for known in await self._thread.call(self._dump, left, dump, dumped):
                dumped[known.key] = known
        return gone

    def _dump(self, entries: Sequence[JobEntry], dump: DumpFile | None, before: dict[int, Known]) -> list[Known]:
        """Write what is not written yet of the events of jobs; what they were then."""
        finder, known = self._reader.finder, []
        for entry in entries:
            last, _ = finder.last_event(entry.key)
            seen = before.get(entry.key)
            if dump is not None:
                dump.begin(entry.jobid.unique)
                for page in finder.event_pages(entry.key, _PAGE, seen.last if seen is not None else 0, last):
                    dump.add(page)
            known.append(Known(entry.key, entry.jobid.unique, last))
        if dump is not None and entries:
            dump.sync()
        return known


_END: Final = Step((), ())


def _next(steps: Iterator[Step | None]) -> Step | None:
    return next(steps, _END)
