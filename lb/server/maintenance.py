"""What an administrator asks of a running server: stored states checked and repaired.

Who may: whom the policy gives ADMIN_ACCESS, and who holds the server's own certificate. The work is done in the
writing thread, a slice for each request, so that events wait no longer than for a batch.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from lb.model.errors import LBError, forbidden
from lb.model.subject import same_person
from lb.security.identity import Identity
from lb.security.policy import Action, Policy
from lb.server.recomputation import Report
from lb.service.worker import Caller
from lb.store.interface import StoreError
from lb.wire import http, recompute
from lb.wire.http_status import Operation, status_of


class Recomputing(Protocol):
    """One slice of the recomputation."""

    def __call__(self, after: int, most: int, *, repair: bool) -> Report: ...


class Maintenance:
    """Answers the requests of administrators."""

    log = Logger()

    def __init__(self, thread: Caller, recomputing: Recomputing, policy: Callable[[], Policy], own_name: str) -> None:
        """`thread` is the writing one."""
        self._thread = thread
        self._recomputing = recomputing
        self._policy = policy
        self._own_name = own_name

    def recompute(self, request: http.Request, peer: Identity) -> Deferred[bytes]:
        """Check or repair one slice."""
        try:
            if not (self._policy().allows(Action.ADMIN_ACCESS, peer) or same_person(peer.name, self._own_name)):
                raise forbidden("only administrators may recompute states (ADMIN_ACCESS in the policy)")
            asked = recompute.read_request(request.body)
        except LBError as error:
            self.log.info("recomputation refused to {peer}: {error}", peer=peer.name, error=str(error))
            return succeed(_answer(recompute.Answer(error=(error.code, error.description))))
        found = self._thread.call(self._recomputing, asked.after, asked.most, repair=asked.repair)
        return found.addCallbacks(self._found, self._failed)

    def _found(self, report: Report) -> bytes:
        for each in report.differing:
            self.log.warn(
                "state of {job} is not what its events say: {differing}", job=each.job, differing=each.attributes
            )
        differing = [recompute.Differing(each.job, each.attributes) for each in report.differing]
        return _answer(recompute.Answer(report.checked, report.last, differing))

    def _failed(self, failure: Failure) -> bytes:
        if isinstance(failure.value, StoreError):
            return _answer(recompute.Answer(error=(failure.value.code, str(failure.value))))
        self.log.failure("recomputation failed", failure=failure)
        return _answer(recompute.Answer(error=(errno.EIO, "internal error of the server")))


def _answer(answer: recompute.Answer) -> bytes:
    status = status_of(Operation.QUERY, answer.error[0] if answer.error is not None else 0)
    return http.response(status, recompute.write(answer), content_type=recompute.CONTENT_TYPE)
