"""``POST /notifRequest``: documents in, documents out (spec: wire-query.md §8.5); what is asked is done elsewhere."""

from __future__ import annotations

import errno
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.model.errors import LBError
from lb.security.identity import Identity
from lb.store.interface import StoreError
from lb.wire import http
from lb.wire.http_status import Operation, status_of
from lb.wire.lbxml.registrations import Request, read_request, write_result

PATH: Final = "/notifRequest"
_INTERNAL: Final = LBError(errno.EIO, "internal error of the server")


class Performing(Protocol):
    """What carries requests out, see `Subscriptions.perform`."""

    def perform(self, peer: Identity, address: str, asked: Request) -> Coroutine[Any, Any, int | None]: ...


class RequestPort:
    """Answers the requests of the main port that are about registrations."""

    log = Logger()

    def __init__(self, subscriptions: Performing) -> None:
        self._subscriptions = subscriptions

    def answer(self, request: http.Request, peer: Identity, address: str) -> Deferred[bytes]:
        """The response to a request that came from a network address; never fails."""
        try:
            asked = read_request(request.body)
        except LBError as error:
            return succeed(_answer(None, error))
        done = Deferred.fromCoroutine(self._subscriptions.perform(peer, address, asked))
        return done.addCallbacks(_answer, self._failed)

    def _failed(self, failure: Failure) -> bytes:
        error = failure.value
        if isinstance(error, LBError):
            return _answer(None, error)
        if isinstance(error, StoreError):
            return _answer(None, LBError(error.code, str(error)))
        self.log.failure("request on a registration failed", failure=failure)
        return _answer(None, _INTERNAL)


def _answer(validity: int | None, error: LBError | None = None) -> bytes:
    status = status_of(Operation.NOTIFICATION, 0 if error is None else error.code)
    return http.response(status) if status == 400 else http.response(status, write_result(validity, error))
