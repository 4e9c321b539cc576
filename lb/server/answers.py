"""Answers of the query protocol: what was found becomes a document, slice by slice in the thread that finds it.

A document begins with its error and its length, so it is sent when it is complete; what does not fit memory waits in a
temporary file (spec: wire-query.md §3.1, §4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred

from lb.model.errors import LBError
from lb.model.event import Event
from lb.model.query import Flag, Query
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.server.draft import Draft, Stream
from lb.server.lookup import was_cut
from lb.server.query import SLICE, Questions
from lb.wire import http
from lb.wire.http_status import Operation, status_of
from lb.wire.lbxml import event as event_document
from lb.wire.lbxml import results
from lb.wire.lbxml import status as status_document

_T = TypeVar("_T")


class Frame(NamedTuple):
    """The first and last lines of a document, by the error it has to tell."""

    operation: Operation
    write: Callable[[LBError | None], Iterator[bytes]]


JOBS: Final = Frame(Operation.QUERY, lambda error: results.write_jobs((), error))
EVENTS: Final = Frame(Operation.QUERY, lambda error: results.write_events((), error))
USER_JOBS: Final = Frame(Operation.PAGE, lambda error: results.write_user_jobs((), error))


def empty(frame: Frame, error: LBError) -> bytes:
    """The response without any results."""
    return http.response(status_of(frame.operation, error.code), b"".join(frame.write(error)))


class Answers:
    """Makes documents of what is found for questions."""

    def __init__(self, questions: Questions, most: int = 0) -> None:
        """`most`: bytes of one document, 0 = no bound."""
        self._thread = questions.thread
        self._lookup = questions.lookup
        self._most = most

    def jobs(self, peer: Identity, query: Query) -> Deferred[bytes | Stream]:
        """The answer to a query for jobs; fails with mistakes of ours only."""

        def write(status: JobStatus) -> bytes:
            jobid = None if Flag.NO_JOBS in query.flags else status.jobId
            return results.write_job(jobid, None if Flag.NO_STATES in query.flags else status_document.write(status))

        return self._begin(JOBS, self._lookup.job_pages(peer, query), write, query)

    def events(self, peer: Identity, query: Query) -> Deferred[bytes | Stream]:
        """The answer to a query for events; as `jobs`."""

        def write(event: Event) -> bytes:
            return event_document.write(event)

        return self._begin(EVENTS, self._lookup.event_pages(peer, query), write, query)

    def own_jobs(self, peer: Identity) -> Deferred[bytes | Stream]:
        """The answer to ``GET /``; as `jobs`."""

        def write(status: JobStatus) -> bytes:
            return results.write_user_job(str(status.jobId))

        return self._begin(USER_JOBS, self._lookup.own_job_pages(peer, Flag.NO_STATES), write, Query())

    def _begin(
        self, frame: Frame, pages: Iterator[list[_T]], write: Callable[[_T], bytes], query: Query
    ) -> Deferred[bytes | Stream]:
        return Deferred.fromCoroutine(self._document(frame, pages, write, query))

    async def _document(
        self, frame: Frame, pages: Iterator[list[_T]], write: Callable[[_T], bytes], query: Query
    ) -> bytes | Stream:
        draft, found = Draft(self._most), None
        try:
            while not await self._thread.call(_slice, pages, write, draft):
                pass
        except LBError as error:
            if not was_cut(error, query):
                draft.close()
                return empty(frame, error)
            found = error
        except BaseException:
            draft.close()
            raise
        first, last = frame.write(found)
        status = status_of(frame.operation, found.code if found is not None else 0)
        whole = draft.whole
        if whole is not None:
            return http.response(status, first + whole + last)
        length = len(first) + draft.size + len(last)
        return Stream(http.response_head(status, length) + first, draft, last)


def _slice(pages: Iterator[list[_T]], write: Callable[[_T], bytes], draft: Draft) -> bool:
    """Write what comes next; whether that was all."""
    until = perf_counter() + SLICE
    while (page := next(pages, None)) is not None:
        for each in page:
            draft.write(write(each))
        if perf_counter() > until:
            return False
    return True
