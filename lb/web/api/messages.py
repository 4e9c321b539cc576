"""What the API is asked and what it answers, as values; errors as problem documents (RFC 9457).

A problem carries the number and the standard text of the protocol's errors beside the HTTP status.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

from lb.model.errors import Code, LBError, text_of
from lb.security.identity import Identity
from lb.wire.documents import clean

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
NDJSON: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"

#: Statuses of errors; all others are our own trouble.
_STATUSES: Final[dict[int, int]] = {
    errno.EPERM: 403,
    errno.ENOENT: 404,
    errno.EEXIST: 409,
    errno.EIDRM: 410,
    errno.E2BIG: 413,
    errno.EINVAL: 400,
    **dict.fromkeys((Code.BROKEN_ULM, Code.EVENT_UNDEFINED, Code.MESSAGE_INCOMPLETE), 400),
    **dict.fromkeys((Code.KEY_DUPLICITY, Code.KEY_MISUSE, Code.JOBID_FORMAT, Code.NO_INDEX), 400),
    errno.ENOSYS: 501,
    errno.EAGAIN: 503,
    errno.ENOSPC: 503,
}


class Asked(NamedTuple):
    """One request. `query` is what follows the first ``?``, as it came; `header` gives a header by its name."""

    method: str
    path: str
    query: str
    header: Callable[[str], str | None]
    peer: Identity
    host: str  #: address of the peer
    body: bytes = b""


class Answer(NamedTuple):
    """An answer with its whole body."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = {}


class Streaming(NamedTuple):
    """An answer that goes on: `run` is given the request once its head is known, and writes until who asked leaves."""

    run: Callable[[Any], None]
    content_type: str = EVENTS


class Problem(LBError):  # noqa: N818  # an answer, like its base
    """An error with its HTTP status and what the status asks for in headers."""

    def __init__(self, status: int, code: int, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code, description)
        self.status = status
        self.headers = headers or {}


def status_of(code: int) -> int:
    """The HTTP status of an error number."""
    return _STATUSES.get(code, 500)


def problem(error: LBError) -> Answer:
    """The answer that tells an error."""
    status = error.status if isinstance(error, Problem) else status_of(error.code)
    headers = dict(error.headers) if isinstance(error, Problem) else {}
    if status == 503:
        headers.setdefault("Retry-After", "1")
    document = {
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": clean(error.description),
        "code": error.code,
        "text": text_of(error.code),
    }
    return Answer(status, msgspec.json.encode(document), PROBLEM, headers)


def answer(document: Any, status: int = 200) -> Answer:
    """The answer with a document, tagged by its content: whoever has it already need not be sent it again."""
    body = msgspec.json.encode(document)
    return Answer(status, body, headers={"ETag": f'"{blake2b(body, digest_size=12).hexdigest()}"'})
