"""Loading dumped events: stored as they were, with the times of their arrival, where they are not stored already.

Whoever may load stands for what the events say: they were checked when they first came. What the server itself had
logged is in the dump, so nothing is logged anew, and nobody is notified (spec: wire-query.md §8.3).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from lb.model.catalogue import BY_NAME
from lb.model.errors import LBError, forbidden, missing
from lb.model.event import Event
from lb.model.jobid import JobId, parse_cached
from lb.model.status import State
from lb.security.identity import ANONYMOUS, Identity
from lb.security.policy import Policy
from lb.server import rules
from lb.server.admin.dumpfile import Dumped, DumpFile, read
from lb.server.batch import Batch
from lb.server.connections import Connections
from lb.server.duplicate import digest
from lb.server.ingest import Ingest
from lb.server.jobcache import JobCache
from lb.server.parents import Parents
from lb.server.submission import Submission, Unstored
from lb.service.worker import Caller
from lb.state.generic.fold import Families
from lb.store.interface import StoredEvent, StoredJob, StoreError, Writer
from lb.wire import il, ulm
from lb.wire.lbxml.dump import Result

_REGISTRATION: Final = BY_NAME["RegJob"]
_NSUBJOBS: Final = b"NSUBJOBS="
_MICROSECONDS: Final = 1_000_000
#: Lines, or bytes, of one transaction: some 20 ms.
_PAGE: Final = 200
_PAGE_BYTES: Final = 1 << 20
#: Longest line of a file, as that of the store port.
_LONGEST: Final = 102_400_128


class _Quiet(Parents):
    """Counts subjobs, and leaves it to the dump to bring their parents anywhere."""

    def bring(self, parent: StoredJob, to: State, cause: Event) -> None:
        """Nothing: the event that did it is in the dump."""


class _Known(Connections):
    """Keeps connections; the other side's events are in the dump."""

    def mirror(self, job: StoredJob, event: Event) -> None:
        """Nothing."""


class Loading(Ingest):
    """The writing side of loads; it shares writer and cache with the server's `Ingest`."""

    def __init__(
        self,
        writer: Writer,
        policy: Callable[[], Policy],
        now: Callable[[], float],
        cache: JobCache,
        families: Families | None,
        max_subjobs: int,
    ) -> None:
        super().__init__(
            writer,
            policy,
            now,
            grey_jobs=True,
            max_subjobs=max_subjobs,
            cache=cache,
            families=families,
            statistics=False,
        )

    def parents(self, batch: Batch) -> Parents:
        """Who counts subjobs."""
        return _Quiet(batch, self._writer.children, self._internal_time, host=self._host, user=self._user)

    def connections(self, batch: Batch) -> Connections:
        """Who keeps connections."""
        return _Known(batch, self._internal_time, user=self._user)

    def restore(self, lines: Sequence[tuple[int, bytes]]) -> list[il.Reply]:
        """Store lines, each with the time of its arrival (microseconds); one reply a line, in their order."""
        return self([Submission(line, ANONYMOUS, arrived) for arrived, line in lines])

    def _check(self, event: Event, peer: Identity, job: StoredJob, policy: Policy, *, new: bool) -> None:
        if not new:
            rules.check_place(event, job)


class Registrations:
    """Registrations that a dump made up for subjobs: known by those of their parents, in the same dump."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._parents: dict[JobId, set[bytes]] = {}  # a parent may be registered again
        for line in lines:
            event = _registration(line)
            if event is not None and event.number("nsubjobs"):
                self._parents.setdefault(event.jobid, set()).add(digest(event))

    def made_up(self, line: bytes) -> bool:
        """Whether a line is such a registration: our own subjobs come with the registrations of their parents."""
        event = _registration(line)
        if event is None or event.number("nsubjobs"):
            return False
        named = event.text("parent")
        return named is not None and digest(event) in self._parents.get(parse_cached(named), ())


def _registration(line: bytes) -> Event | None:
    if _NSUBJOBS not in line:
        return None
    try:
        event = ulm.parse(line)
    except LBError:
        return None
    return event if event.type is _REGISTRATION else None


class Load:
    """Loads files of the server's own directories."""

    log = Logger()

    def __init__(
        self,
        loading: Loading,
        thread: Caller,
        writing: Caller,
        directories: Sequence[Path],
        now: Callable[[], float],
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """`thread` reads files, `writing` is that of `loading`; the first of `directories` takes what is refused.

        `go_on` raises when it is time to end.
        """
        self._loading = loading
        self._thread = thread
        self._writing = writing
        self._directories = directories
        self._now = now
        self._go_on = go_on

    async def __call__(self, name: str) -> Result:
        """Load a file, or of an archive one job: ``FILE#UNIQUE``; raises ENOENT, EPERM, EINVAL, `StoreError`, OSError.

        What a file holds before it turns out to be damaged is loaded.
        """
        path, unique = self._find(name)
        registrations = await self._thread.call(lambda: Registrations(line for _, line in read(path, _LONGEST, unique)))
        pages = _pages(read(path, _LONGEST, unique), registrations, int(self._now() * _MICROSECONDS))
        refused: DumpFile | None = None
        first, last = 0, 0
        try:
            while page := await self._thread.call(next, pages, None):
                self._go_on()
                moments = [arrived // _MICROSECONDS for arrived, _ in page]
                first, last = min([*moments, *([first] if first else [])]), max(*moments, last)
                replies = await self._writing.call(self._loading.restore, page)
                for (arrived, line), reply in zip(page, replies, strict=True):
                    if isinstance(reply, Unstored):
                        raise StoreError(reply.minor, reply.text)
                    if reply is not il.OK:
                        self.log.warn("line of {path} refused: {text}: {line!r}", path=path, text=reply.text, line=line)
                        if refused is None:
                            refused = DumpFile(self._directories[0], "unloaded", int(self._now() * _MICROSECONDS))
                        refused.add([StoredEvent(arrived, line)])
        finally:
            if refused is not None:
                refused.close()
        return Result(None if refused is None else str(refused.path), first, last)

    def _find(self, name: str) -> tuple[Path, str | None]:
        text, mark, unique = name.partition("#")
        # A name alone, as listings of the directories show it, is looked for in each of them.
        named = [Path(os.path.realpath(directory / text)) for directory in self._directories]
        path = next(filter(Path.is_file, named), named[0])
        if not any(path.is_relative_to(os.path.realpath(directory)) for directory in self._directories):
            places = ", ".join(map(str, self._directories))
            raise forbidden(f"{text[:1000]} is not in a directory that is loaded from: {places}")
        if not path.is_file():
            raise missing(f"Server can not open the file {text[:1000]}")
        return path, unique if mark else None


def _pages(lines: Iterator[Dumped], registrations: Registrations, now: int) -> Iterator[list[tuple[int, bytes]]]:
    """The lines to be stored, so many at once."""
    page: list[tuple[int, bytes]] = []
    size = 0
    for arrived, line in lines:
        if registrations.made_up(line):
            continue
        page.append((now if arrived is None else arrived, line))
        size += len(line)
        if len(page) >= _PAGE or size >= _PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page
