"""Events in: JSON documents become event lines and go the way that lines of the store port go.

Each event has its own result, with the number and text that a producer at the store port would get. Who logs is
the peer of the connection, whatever the document says (P7).
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Iterable
from typing import Any, Final, Protocol

import msgspec

from lb.model.catalogue import Priority
from lb.model.errors import LBError, forbidden, invalid
from lb.model.subject import same_person
from lb.security.identity import Identity
from lb.web.api.limits import APILimits
from lb.web.api.messages import JSON, NDJSON, Answer, Asked, Problem, answer, problem
from lb.wire import il, ulm
from lb.wire.documents import clean
from lb.wire.jsonevent import Defaults, read_event

#: Types of a body.
CONTENT_TYPES: Final = (JSON, NDJSON)


class Storing(Protocol):
    """What stores lines."""

    @property
    def congested(self) -> bool:
        """Whether more waits than should."""

    def store(self, peer: Identity, lines: Iterable[bytes]) -> Awaitable[list[il.Reply]]:
        """Store lines of a peer; a reply for each, when they are on stable storage."""


class Intake:
    """Takes events in."""

    def __init__(self, storing: Storing, limits: APILimits) -> None:
        self._storing = storing
        self._limits = limits
        #: The last time that was given to an event, microseconds.
        self._given = 0

    async def post(self, asked: Asked, now: int) -> Answer:
        """Store the events of a body; `now`: microseconds since the epoch.

        One event alone is answered like any request. Of several each has its result in the answer, in their order; it
        is a 503 when one of them has to come again: then all may come again, as what is stored already stays so (P3).
        """
        documents, several = self._documents(asked)
        if self._storing.congested:
            raise Problem(503, errno.EAGAIN, "more events wait to be stored than should; come again")
        results: list[LBError | il.Reply] = []
        lines: list[bytes] = []
        for document in documents:
            # Equal times would make duplicates of events that tell none.
            self._given = max(now, self._given + 1)
            defaults = Defaults(self._given, asked.host)
            try:
                lines.append(_line(document, defaults, asked.peer))
            except LBError as error:
                results.append(error)
            else:
                results.append(il.OK)
        replies = iter(await self._storing.store(asked.peer, lines) if lines else ())
        results = [next(replies) if result is il.OK else result for result in results]
        return _several(results) if several else _single(results[0])

    def _documents(self, asked: Asked) -> tuple[list[Any], bool]:
        """The documents of a body, those that are no JSON as errors; whether there may be several."""
        content_type = (asked.header("content-type") or "").partition(";")[0].strip().lower()
        if content_type not in CONTENT_TYPES:
            raise Problem(
                415, errno.EINVAL, f"Content-Type {content_type[:80]!r}: give {' or '.join(CONTENT_TYPES)}", _ACCEPTED
            )
        if content_type == NDJSON:
            documents: Any = [_decoded(line) for line in asked.body.splitlines() if line.strip()]
        else:
            documents = _decoded(asked.body)
            if isinstance(documents, LBError):
                raise documents
        if not isinstance(documents, list):
            return [documents], False
        if not documents:
            raise invalid("there is no event in the body")
        if len(documents) > self._limits.post_events:
            raise Problem(413, errno.E2BIG, f"{len(documents)} events, at most {self._limits.post_events} are taken")
        return documents, True


_ACCEPTED: Final = {"Accept-Post": ", ".join(CONTENT_TYPES)}


def _decoded(text: bytes) -> Any:
    """The value of a JSON text; an error for what is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return invalid(f"no JSON: {error}")


def _line(document: object, defaults: Defaults, peer: Identity) -> bytes:
    if isinstance(document, LBError):
        raise document
    event = read_event(document, defaults)
    if event.user is not None and not same_person(event.user, peer.name):
        raise forbidden(f"user is not who sends this ({peer.name})")
    event.user = peer.name
    event.arrived = None
    event.priority |= Priority.DIRECT
    return ulm.write(event)


def _error(result: LBError | il.Reply) -> LBError | None:
    return result if isinstance(result, LBError) else il.error_of(result)


def _again(result: LBError | il.Reply) -> bool:
    """Whether the same event may be taken another time."""
    return isinstance(result, il.Reply) and result.major != il.Major.OK and not il.is_permanent(result)


def _result(result: LBError | il.Reply) -> dict[str, Any]:
    error = _error(result)
    if error is None:
        return {"code": 0, "text": "OK", "again": False}
    return {"code": error.code, "text": clean(error.description), "again": _again(result)}


def _several(results: list[LBError | il.Reply]) -> Answer:
    stored = sum(_error(result) is None for result in results)
    again = any(map(_again, results))
    made = answer(
        {"stored": stored, "refused": len(results) - stored, "results": list(map(_result, results))},
        503 if again else 200,
    )
    return made._replace(headers={"Retry-After": "1"} if again else {})


def _single(result: LBError | il.Reply) -> Answer:
    error = _error(result)
    if error is None:
        return answer(_result(result))._replace(headers={})
    return problem(Problem(503, error.code, error.description) if _again(result) else error)
