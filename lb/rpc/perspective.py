"""What a peer may ask over Perspective Broker; every call is answered as the same question over HTTPS would be.

Arguments come from a stranger: they are checked before they are used, and a wrong one is an answer, not a traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb

from lb.model.errors import LBError, invalid
from lb.model.query import Flag
from lb.rpc.errors import RefusedError
from lb.rpc.pages import OpenAnswers
from lb.rpc.subscriptions import Subscriptions
from lb.security.identity import Identity
from lb.server.answers import Answers
from lb.server.draft import Stream
from lb.server.query import Questions
from lb.service.watch import Watch
from lb.wire.http import MAX_RESPONSE_BODY
from lb.wire.lbxml import requests
from lb.wire.lbxml import status as status_document

#: Calls of one connection that may wait for their answer.
MAX_CALLS = 32
#: Bytes of one answer; it waits on disk for its reader. No option: clients read no more (`http.MAX_RESPONSE_BODY`), and
#: how many jobs and events an answer may have is one (`--max-answer-jobs`, `--max-answer-events`).
MAX_ANSWER: Final = MAX_RESPONSE_BODY


class Perspective(pb.Avatar):
    """The service as one peer sees it. Documents are those of the query protocol (spec: wire-query.md §§4 to 7)."""

    log: ClassVar[Logger] = Logger()

    def __init__(
        self, questions: Questions, peer: Identity, subscriptions: Subscriptions, watch: Watch | None = None
    ) -> None:
        self._questions = questions
        self._documents = Answers(questions, MAX_ANSWER)
        self._subscriptions = subscriptions
        self._watch = watch if watch is not None else Watch()
        self._peer = peer
        self._answers = OpenAnswers()
        self._calls = 0

    def logout(self) -> None:
        """The peer is gone."""
        self._answers.end()
        self._subscriptions.clear()

    def perspectiveMessageReceived(self, broker: Any, message: str, args: Any, kw: Any) -> Any:
        """Make a call; whatever goes wrong is told as `RefusedError`."""
        method = getattr(self, f"perspective_{message}", None)
        if method is None:
            raise RefusedError(LBError(errno.ENOSYS, f"there is no method {message[:80]!r}"))
        if self._calls >= MAX_CALLS:
            raise RefusedError(LBError(errno.EAGAIN, f"{MAX_CALLS} calls wait for their answer already"))
        try:
            arguments, named = broker.unserialize(args, self), broker.unserialize(kw, self)
        except Exception as error:
            raise RefusedError(invalid(f"{message}: arguments that cannot be read: {error}")) from None
        self._calls += 1
        began = self._watch.begin()
        called = maybeDeferred(_checked, method, arguments, named)
        called.addCallback(self._told)
        called.addBoth(self._called, began, message, arguments)
        called.addErrback(self._refused, message)
        return broker.serialize(called, self, method, arguments, named)

    def _told(self, answer: Any) -> Any:
        return self._answers.paged(answer) if isinstance(answer, bytes | Stream) else answer

    def _called(self, result: Any, began: float, message: str, arguments: Any) -> Any:
        self._calls -= 1
        question = arguments[0] if arguments and isinstance(arguments[0], bytes) else b""
        self._watch.end(began, f"PB {message}", self._peer.name, question)
        return result

    def _refused(self, failure: Failure, message: str) -> Failure:
        error = failure.value
        if isinstance(error, RefusedError):
            return failure
        if not isinstance(error, LBError):
            self.log.failure("call {message} failed", failure=failure, message=message)
            error = LBError(errno.EIO, "internal error of the server")
        return Failure(RefusedError(error))

    def perspective_query_jobs(self, document: bytes) -> Deferred[Stream]:
        """The jobs that a query document asks for, as a result document, which also tells of errors."""
        return self._documents.document(self._documents.about_jobs(self._peer, requests.read_jobs(document)))

    def perspective_query_events(self, document: bytes) -> Deferred[Stream]:
        """The events that a query document asks for, as a result document."""
        return self._documents.document(self._documents.about_events(self._peer, requests.read_events(document)))

    def perspective_status(self, unique: bytes, flags: int = 0) -> Deferred[bytes]:
        """The state of one job, by the unique part of its id, as a status document."""
        return self._questions.status(self._peer, unique.decode("utf-8", "surrogateescape"), Flag(flags)).addCallback(
            status_document.write
        )

    def perspective_own_jobs(self) -> Deferred[Stream]:
        """The ids of the caller's own jobs, as the document of ``GET /``."""
        return self._documents.document(self._documents.about_own_jobs(self._peer))

    def perspective_subscribe(self, document: bytes, callback: pb.RemoteReference, after: int = -1) -> tuple[int, int]:
        """Follow the jobs that a query document asks for, from behind a number on; see `Subscriptions.subscribe`.

        ``callback.changed(subscription, position, first, rest)`` is called, and called again when it has answered: a
        result document as of a query, paged as answers are, empty when only the position has changed. A job without a
        state does not meet the conditions now.
        """
        return self._subscriptions.subscribe(self._peer, requests.read_jobs(document), callback, after)

    def perspective_unsubscribe(self, subscription: int) -> None:
        """End a subscription of this connection."""
        self._subscriptions.unsubscribe(subscription)


class _Arguments(NamedTuple):
    """What a method takes: types, how many arguments at least, the least and the greatest number among them."""

    types: tuple[type, ...] = ()
    least: int = 0
    numbers: tuple[int, int] = (0, 0)


_ALL_FLAGS: Final = sum(flag.value for flag in Flag)
#: No number of a change or a subscription is greater.
_GREATEST: Final = (1 << 63) - 1
_ARGUMENTS: Final[dict[str, _Arguments]] = {
    "perspective_query_jobs": _Arguments((bytes,), 1),
    "perspective_query_events": _Arguments((bytes,), 1),
    "perspective_status": _Arguments((bytes, int), 1, (0, _ALL_FLAGS)),
    "perspective_own_jobs": _Arguments(),
    "perspective_subscribe": _Arguments((bytes, pb.RemoteReference, int), 2, (-1, _GREATEST)),
    "perspective_unsubscribe": _Arguments((int,), 1, (0, _GREATEST)),
}


def _checked(method: Callable[..., Any], arguments: Any, named: Any) -> Any:
    """Call a method with arguments of the right number and types."""
    name = method.__name__
    types, least, (lowest, highest) = _ARGUMENTS[name]
    right = not named and least <= len(arguments) <= len(types)
    if not right or not all(type(value) is wanted for value, wanted in zip(arguments, types, strict=False)):
        wanted = ", ".join(kind.__name__ for kind in types) or "nothing"
        raise invalid(f"{name.removeprefix('perspective_')} takes {wanted}")
    if any(isinstance(value, int) and not lowest <= value <= highest for value in arguments):
        raise invalid(f"a number that is not from {lowest} to {highest}")
    return method(*arguments)
