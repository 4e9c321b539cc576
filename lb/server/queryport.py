"""What requests of the query protocol are answered with, over the main port.

Every request that was framed gets an answer, with a body where clients need one (spec: wire-query.md §3); nothing here
knows of connections.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.model.errors import LBError
from lb.model.indexing import Index
from lb.model.query import Flag
from lb.model.status import JobStatus
from lb.security.identity import Identity
from lb.server import answers
from lb.server.draft import Stream
from lb.server.query import Questions
from lb.wire import http
from lb.wire.http_status import Operation, status_of
from lb.wire.lbxml import indices, requests, sequence
from lb.wire.lbxml import status as status_document

_INTERNAL: Final = LBError(errno.EIO, "internal error of the server")

#: Answers one request of a peer, which came from a network address; never fails.
Answering = Callable[[http.Request, Identity, str], Deferred[Any]]


class QueryPort:
    """What protocol requests are answered with; knows nothing of connections."""

    log = Logger()

    def __init__(self, questions: Questions, more: Mapping[str, Answering] | None = None, longest: int = 0) -> None:
        """`more`: what answers requests to other paths; `longest`: bytes of one answer, 0 = no bound."""
        self._questions = questions
        self._answers = answers.Answers(questions, longest)
        self._more = more or {}

    def answer(self, request: http.Request, peer: Identity, address: str = "") -> Deferred[bytes | Stream]:
        """The response to one protocol request, which came from a network address; never fails."""
        status = http.negotiate(request.header("user-agent"))
        if status != 200:
            return succeed(http.response(status))
        if request.method == "POST" and request.path in self._more:
            answered = maybeDeferred(self._more[request.path], request, peer, address)
            return _to_the_end(answered.addErrback(self._internal, request))
        handle = _POSTS.get(request.path) if request.method == "POST" else None
        if request.method == "GET":
            handle = QueryPort._own_jobs if request.path == "/" else QueryPort._status
        if handle is None:
            return succeed(http.response(400 if request.method == "POST" else 405))
        return maybeDeferred(handle, self, request, peer).addErrback(self._internal, request)

    def _internal(self, failure: Failure, request: http.Request) -> bytes:
        if isinstance(failure.value, LBError):
            return http.response(status_of(Operation.QUERY, failure.value.code))
        if failure.check(CancelledError):
            return http.response(503)  # nobody is there to read it
        self.log.failure("request {method} {path} failed", failure=failure, method=request.method, path=request.path)
        return http.response(500)

    def _query_jobs(self, request: http.Request, peer: Identity) -> Deferred[bytes | Stream]:
        try:
            asked = self._answers.about_jobs(peer, requests.read_jobs(request.body))
        except LBError as error:
            return succeed(_unread(answers.JOBS, error))
        return self._answers.response(asked)

    def _query_events(self, request: http.Request, peer: Identity) -> Deferred[bytes | Stream]:
        try:
            asked = self._answers.about_events(peer, requests.read_events(request.body))
        except LBError as error:
            return succeed(_unread(answers.EVENTS, error))
        return self._answers.response(asked)

    def _own_jobs(self, request: http.Request, peer: Identity) -> Deferred[bytes | Stream]:
        return self._answers.response(self._answers.about_own_jobs(peer))

    def _indexed(self, request: http.Request, peer: Identity) -> Deferred[bytes | Stream]:
        def found(configured: tuple[Index, ...]) -> bytes:
            return http.response(200, indices.write_result(configured))

        return self._questions.indices().addCallback(found)

    def _sequence_code(self, request: http.Request, peer: Identity) -> Deferred[bytes | Stream]:
        def failed(failure: Failure) -> bytes:
            error = _error(failure)
            return _document(Operation.SEQUENCE_CODE, error, sequence.write_result(None, error))

        def found(code: str) -> bytes:
            return http.response(200, sequence.write_result(code))

        try:
            job = sequence.read_request(request.body)
        except LBError as error:
            return succeed(_document(Operation.SEQUENCE_CODE, error, sequence.write_result(None, error)))
        return self._questions.sequence_code(peer, job.unique).addCallbacks(found, failed)

    def _status(self, request: http.Request, peer: Identity) -> Deferred[bytes | Stream]:
        def failed(failure: Failure) -> bytes:
            error = _error(failure)
            return _document(Operation.PAGE, error, status_document.write_error(error))

        def found(status: JobStatus) -> bytes:
            return _document(Operation.PAGE, None, status_document.write(status))

        asked = self._questions.status(peer, request.path[1:], Flag.CLASSADD | Flag.CHILDREN)
        return asked.addCallbacks(found, failed)


_POSTS: Final[dict[str, Callable[[QueryPort, http.Request, Identity], Deferred[bytes | Stream]]]] = {
    "/queryJobs": QueryPort._query_jobs,
    "/queryEvents": QueryPort._query_events,
    "/indexedAttrs": QueryPort._indexed,
    "/querySequenceCode": QueryPort._sequence_code,
}


def _to_the_end(answered: Deferred[Any]) -> Deferred[Any]:
    """As `answered`, but what has begun goes on when nobody waits for its answer any more."""
    waiting: Deferred[Any] = Deferred()
    answered.addCallback(waiting.callback)
    return waiting


def _error(failure: Failure) -> LBError:
    if isinstance(failure.value, LBError):
        return failure.value
    if failure.check(CancelledError):
        return _INTERNAL  # nobody is there to read it
    QueryPort.log.failure("query failed", failure=failure)
    return _INTERNAL


def _document(operation: Operation, error: LBError | None, body: bytes) -> bytes:
    status = status_of(operation, error.code if error is not None else 0)
    return http.response(status) if status == 400 else http.response(status, body)


def _unread(frame: answers.Frame, error: LBError) -> bytes:
    status = status_of(frame.operation, error.code)
    return http.response(status) if status == 400 else answers.empty(frame, error)


def kind(request: http.Request) -> str:
    """The kind of a question, as metrics tell it."""
    if request.method == "GET":
        return "own jobs" if request.path == "/" else "status"
    return request.path[1:] if request.path in _POSTS else "other"
