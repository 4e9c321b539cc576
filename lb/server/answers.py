"""Answers of the query protocol: what was found becomes a document, slice by slice in the thread that finds it.

A document begins with its error and its length, so it is sent when it is complete; what does not fit memory waits in a
temporary file (spec: wire-query.md §3.1, §4.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, Final, Generic, NamedTuple, TypeVar

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


class Question(NamedTuple, Generic[_T]):
    """What is found for a query, a slice at a time, and how it is written."""

    frame: Frame
    pages: Iterator[list[_T]]
    write: Callable[[_T], bytes]
    query: Query


class Answers:
    """Makes documents of what is found for questions."""

    def __init__(self, questions: Questions, most: int = 0) -> None:
        """`most`: bytes of one document, 0 = no bound."""
        self._thread = questions.thread
        self._lookup = questions.lookup
        self._most = most

    def about_jobs(self, peer: Identity, query: Query) -> Question[JobStatus]:
        """A query for jobs."""

        def write(status: JobStatus) -> bytes:
            jobid = None if Flag.NO_JOBS in query.flags else status.jobId
            return results.write_job(jobid, None if Flag.NO_STATES in query.flags else status_document.write(status))

        return Question(JOBS, self._lookup.job_pages(peer, query), write, query)

    def about_events(self, peer: Identity, query: Query) -> Question[Event]:
        """A query for events."""
        return Question(EVENTS, self._lookup.event_pages(peer, query), event_document.write, query)

    def about_own_jobs(self, peer: Identity) -> Question[JobStatus]:
        """``GET /``."""

        def write(status: JobStatus) -> bytes:
            return results.write_user_job(str(status.jobId))

        return Question(USER_JOBS, self._lookup.own_job_pages(peer, Flag.NO_STATES), write, Query())

    def response(self, asked: Question[Any]) -> Deferred[bytes | Stream]:
        """The answer over HTTP; fails with mistakes of ours only."""
        return Deferred.fromCoroutine(self._response(asked))

    def document(self, asked: Question[Any]) -> Deferred[Stream]:
        """The answer's document; fails with `LBError` where there is none."""
        return Deferred.fromCoroutine(self._document(asked)).addCallback(lambda found: found[0])

    async def _response(self, asked: Question[Any]) -> bytes | Stream:
        try:
            document, error = await self._document(asked)
        except LBError as refused:
            return empty(asked.frame, refused)
        status = status_of(asked.frame.operation, error.code if error is not None else 0)
        whole = document.whole
        return (
            http.response(status, whole)
            if whole is not None
            else document.behind(http.response_head(status, document.size))
        )

    async def _document(self, asked: Question[Any]) -> tuple[Stream, LBError | None]:
        """The document, and the error of one that was cut."""
        draft, found = Draft(self._most), None
        try:
            while not await self._thread.call(_slice, asked.pages, asked.write, draft):
                pass
        except LBError as error:
            if not was_cut(error, asked.query):
                draft.close()
                raise
            # Its traceback leads back here: all that was found would wait for the garbage collector.
            found = error.with_traceback(None)
        except BaseException:
            draft.close()
            raise
        first, last = asked.frame.write(found)
        return Stream(first, draft, last), found


def _slice(pages: Iterator[list[_T]], write: Callable[[_T], bytes], draft: Draft) -> bool:
    """Write what comes next; whether that was all."""
    until = perf_counter() + SLICE
    while (page := next(pages, None)) is not None:
        for each in page:
            draft.write(write(each))
        if perf_counter() > until:
            return False
    return True
