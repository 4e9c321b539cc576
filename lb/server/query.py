"""Questions about jobs, asked from the reactor and answered by the reading thread.

The query protocol, the pages and every other way to ask use this one object; it knows no wire format. Long answers
are found in slices: between them the thread answers others.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from lb.server.lookup import Answer, EventsAnswer, JobPage, Lookup, was_cut
from lb.service.worker import Caller

_T = TypeVar("_T")

#: Seconds after which a slice of a long answer gives the thread to other questions.
SLICE: Final = 0.005


class Questions:
    """What may be asked; every method fails with `LBError` as `Lookup` says."""

    def __init__(self, thread: Caller, lookup: Lookup) -> None:
        self.thread = thread
        self.lookup = lookup  #: for the thread only

    def status(self, peer: Identity, unique: str, flags: Flag) -> Deferred[JobStatus]:
        return self.thread.call(self.lookup.status, peer, unique, flags)

    def events(self, peer: Identity, unique: str) -> Deferred[list[Event]]:
        return self.thread.call(self.lookup.events_of, peer, unique)

    def indices(self) -> Deferred[tuple[Index, ...]]:
        return self.thread.call(self.lookup.indices)

    def sequence_code(self, peer: Identity, unique: str) -> Deferred[str]:
        return self.thread.call(self.lookup.sequence_code, peer, unique)

    def own_jobs(self, peer: Identity, flags: Flag) -> Deferred[list[JobStatus]]:
        """All jobs of the peer; ENOENT with the peer's name when there is none, EPERM for who has none."""
        return Deferred.fromCoroutine(self._own_jobs(peer, flags))

    def jobs(self, peer: Identity, query: Query) -> Deferred[list[JobStatus]]:
        """Jobs for a page: an answer that was cut comes as it is."""
        return self.answer_jobs(peer, query).addCallback(lambda answer: answer.jobs)

    def page(self, peer: Identity, query: Query, after: str, most: int) -> Deferred[JobPage]:
        """At most so many of the jobs that meet a query and may be read, those behind the unique part `after`.

        They come in the order of their unique parts: whoever goes on from `next` meets each job once, whatever comes
        or changes meanwhile. To find none is no error.
        """
        return Deferred.fromCoroutine(self._page(peer, query, after, most))

    def answer_jobs(self, peer: Identity, query: Query) -> Deferred[Answer]:
        found: list[JobStatus] = []
        cut = self._cut(query, self.lookup.job_pages(peer, query), found)
        return Deferred.fromCoroutine(cut).addCallback(lambda error: Answer(found, error))

    def answer_events(self, peer: Identity, query: Query) -> Deferred[EventsAnswer]:
        found: list[Event] = []
        cut = self._cut(query, self.lookup.event_pages(peer, query), found)
        return Deferred.fromCoroutine(cut).addCallback(lambda error: EventsAnswer(found, error))

    async def _own_jobs(self, peer: Identity, flags: Flag) -> list[JobStatus]:
        found: list[JobStatus] = []
        await self._slices(self.lookup.own_job_pages(peer, flags), found)
        return found

    async def _page(self, peer: Identity, query: Query, after: str, most: int) -> JobPage:
        found: list[JobStatus] = []
        parts = self.lookup.parts(peer, query, after)
        while len(found) <= most and not await self.thread.call(_slice, parts, found, most):
            pass
        more = len(found) > most
        return JobPage(found[:most], parse_cached(str(found[most - 1].jobId)).unique if more else None)

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


def _slice(pages: Iterator[list[_T]], found: list[_T], most: int | None = None) -> bool:
    """Find what comes next, no more when there are more than `most`; whether that was all."""
    until = perf_counter() + SLICE
    while (page := next(pages, None)) is not None:
        found += page
        if perf_counter() > until or (most is not None and len(found) > most):
            return False
    return True
