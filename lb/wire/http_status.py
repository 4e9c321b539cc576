"""What HTTP statuses mean in the query protocol, to servers and to clients (spec: wire-query.md §3.8).

Tables only; no operation decides on its own what an error looks like.
"""

from __future__ import annotations

import errno
from enum import Enum
from typing import Final

from lb.model.errors import Code, LBError

REASONS: Final[dict[int, str]] = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    579: "Invalid Data",
}


class Operation(Enum):
    """What was asked for; each has its own column below. PAGE is GET of whatever kind."""

    QUERY = "query"
    PURGE = "purge"
    DUMP = "dump"
    LOAD = "load"
    SEQUENCE_CODE = "sequence code"
    STATS = "stats"
    NOTIFICATION = "notification"
    PAGE = "page"


#: Error → status, in the order of `Operation`.
_ROWS: Final[dict[int, tuple[int, ...]]] = {
    0: (200, 200, 200, 200, 200, 200, 200, 200),
    errno.EPERM: (401, 401, 401, 401, 401, 401, 401, 401),
    errno.ENOENT: (404, 404, 404, 404, 404, 404, 404, 404),
    errno.E2BIG: (401, 500, 500, 500, 500, 500, 503, 401),
    errno.EEXIST: (500, 500, 500, 200, 200, 200, 200, 500),
    errno.EINVAL: (401, 579, 500, 579, 579, 579, 579, 579),
    errno.ENOSYS: (500, 500, 500, 500, 500, 501, 503, 501),
    errno.EIDRM: (410, 500, 500, 500, 500, 500, 503, 410),
    Code.XML_PARSE: (400, 400, 400, 400, 400, 400, 400, 400),
    Code.NO_INDEX: (401, 500, 401, 401, 500, 500, 401, 503),
    Code.ACCEPTED_OK: (500, 202, 500, 500, 500, 500, 503, 500),
}
_OTHER: Final = (500, 500, 500, 500, 500, 500, 503, 500)
_STATUSES: Final = {
    operation: {code: row[column] for code, row in _ROWS.items()} for column, operation in enumerate(Operation)
}
_DEFAULTS: Final = dict(zip(Operation, _OTHER, strict=True))


def status_of(operation: Operation, code: int) -> int:
    """The status that answers an error number; 0 is success."""
    return _STATUSES[operation].get(code, _DEFAULTS[operation])


#: Statuses whose body is the answer document, with the error, if any, in its root.
_DOCUMENT: Final = frozenset({200, 401, 404, 410, 501, 503, 579})
_PLAIN: Final = {202: int(Code.ACCEPTED_OK), 405: errno.ENXIO, 415: errno.ENOTSUP}
#: The error that a page with a status is about; of several the first one above.
_OF_PAGES: Final = {status: code for code, status in reversed(_STATUSES[Operation.PAGE].items())}


def page_failure(status: int, reason: str) -> LBError | None:
    """The error that a page's status tells; None when the page is what was asked for."""
    return None if status == 200 else LBError(_OF_PAGES.get(status, Code.SERVER_RESPONSE), f"{status} {reason}")


def failure(status: int, reason: str, body: bytes) -> LBError | None:
    """The error that a response's status alone tells a client; None when its body is to be read.

    A server error with a body is read too: it says more than its status line.
    """
    if status in _DOCUMENT or (status == 500 and body):
        if body:
            return None
        return LBError(Code.SERVER_RESPONSE, f"{status} {reason}: no answer came with it")
    return LBError(_PLAIN.get(status, Code.SERVER_RESPONSE), f"{status} {reason}")
