"""Questions about jobs, asked from the reactor and answered by the reading thread.

The query protocol, the pages and every other way to ask use this one object; it knows no wire format. Long answers
are found in slices: between them the thread answers others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from time import perf_counter
from typing import Final, TypeVar

from twisted.internet.defer import Deferred

from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.indexing import Index
from lb.model.jobid import parse_cached
from lb.model.query import Flag, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.server.assembly import PAGE
from lb.server.lookup import Answer, JobPage, Lookup, Newest, was_cut
from lb.service.worker import Caller
from lb.store.interface import Connection

_T = TypeVar("_T")

#: Seconds after which a slice of a long answer gives the thread to other questions.
SLICE: Final = 0.005
#: Jobs that are looked at for one part of an answer, newest first: a second of the thread's time.
CANDIDATES: Final = 20_000


class Questions:
    """What may be asked; every method fails with `LBError` as `Lookup` says."""

    def __init__(self, thread: Caller, lookup: Lookup) -> None:
        self.thread = thread
        self.lookup = lookup  #: for the thread only

    def status(self, peer: Identity, unique: str, flags: Flag) -> Deferred[JobStatus]:
        return self.thread.call(self.lookup.status, peer, unique, flags)

    def events(self, peer: Identity, unique: str) -> Deferred[list[Event]]:
        return Deferred.fromCoroutine(self._events(peer, unique))

    def indices(self) -> Deferred[tuple[Index, ...]]:
        return self.thread.call(self.lookup.indices)

    def sequence_code(self, peer: Identity, unique: str) -> Deferred[str]:
        return self.thread.call(self.lookup.sequence_code, peer, unique)

    def jobs(self, peer: Identity, query: Query) -> Deferred[list[JobStatus]]:
        """Jobs for a page: an answer that was cut comes as it is."""
        return self.answer_jobs(peer, query).addCallback(lambda answer: answer.jobs)

    def page(self, peer: Identity, query: Query, after: str, most: int) -> Deferred[JobPage]:
        """At most so many of the jobs that meet a query and may be read, those behind the unique part `after`.

        They come in the order of their unique parts: whoever goes on from `next` meets each job once, whatever comes
        or changes meanwhile. To find none is no error.
        """
        return Deferred.fromCoroutine(self._page(peer, query, after, most))

    def newest(self, peer: Identity, query: Query, before: int | None, most: int) -> Deferred[Newest]:
        """At most so many of the jobs that meet a query and may be read, newest first, older than the key `before`.

        Fewer than there are when `CANDIDATES` others had to be looked at. ENOENT, EIDRM, EPERM when there is none at
        all, and nothing was to be older than.
        """
        return Deferred.fromCoroutine(self._newest(peer, query, before, most))

    def parents(self, uniques: Collection[str]) -> Deferred[set[str]]:
        """Those of these jobs that have subjobs, seen or not."""
        return self.thread.call(self.lookup.parents, uniques)

    def related(self, peer: Identity, unique: str) -> Deferred[list[Connection]]:
        return self.thread.call(self.lookup.related, peer, unique)

    def answer_jobs(self, peer: Identity, query: Query) -> Deferred[Answer]:
        found: list[JobStatus] = []
        cut = self._cut(query, self.lookup.job_pages(peer, query), found)
        return Deferred.fromCoroutine(cut).addCallback(lambda error: Answer(found, error))

    async def _events(self, peer: Identity, unique: str) -> list[Event]:
        found: list[Event] = []
        await self._slices(self.lookup.pages_of(peer, unique), found)
        return found

    async def _page(self, peer: Identity, query: Query, after: str, most: int) -> JobPage:
        found: list[JobStatus] = []
        parts = self.lookup.parts(peer, query, after, most)
        while len(found) <= most and not await self.thread.call(_slice, parts, found, most):
            pass
        more = len(found) > most
        return JobPage(found[:most], parse_cached(str(found[most - 1].jobId)).unique if more else None)

    async def _newest(self, peer: Identity, query: Query, before: int | None, most: int) -> Newest:
        slices = self.lookup.newest(peer, query, before, most)
        found = Newest([], before)
        looked = 0
        while looked < CANDIDATES and len(found.jobs) < most:
            done, last, number = await self.thread.call(_newest_slice, slices, found.jobs, most)
            looked += number
            if done:
                if before is None and not found.jobs:
                    raise await self.thread.call(self.lookup.why_none, peer, query)
                return Newest(found.jobs)
            found = Newest(found.jobs, last)
        return found

    async def _slices(self, pages: Iterator[list[_T]], found: list[_T]) -> None:
        """Have the reading thread find slice after slice."""
        while not await self.thread.call(_slice, pages, found):
            pass

    async def _cut(self, query: Query, pages: Iterator[list[_T]], found: list[_T]) -> LBError | None:
        """As `slices`; the error of an answer that is one although it was cut."""
        try:
            await self._slices(pages, found)
        except LBError as error:
            if not was_cut(error, query):
                raise
            return error
        return None


def _newest_slice(
    slices: Iterator[tuple[list[tuple[int, JobStatus]], int]], found: list[tuple[int, JobStatus]], most: int
) -> tuple[bool, int, int]:
    """Find what comes next; whether that was all, the key of the last job, and about how many were looked at."""
    until = perf_counter() + SLICE
    number = last = 0
    for page, last in slices:
        found += page
        number += PAGE
        if perf_counter() > until or len(found) >= most:
            return False, last, number
    return True, last, number


def _slice(pages: Iterator[list[_T]], found: list[_T], most: int | None = None) -> bool:
    """Find what comes next, no more when there are more than `most`; whether that was all."""
    until = perf_counter() + SLICE
    while (page := next(pages, None)) is not None:
        found += page
        if perf_counter() > until or (most is not None and len(found) > most):
            return False
    return True
