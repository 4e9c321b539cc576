"""The API on a connection: a request of Twisted becomes a question, its answer the response.

Bodies are read only where a route takes one, of a length announced, within the bounds; all else is answered at once.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from lb.model.errors import LBError
from lb.security.identity import Identity
from lb.web.api.messages import Answer, Asked, Problem, Streaming, problem
from lb.web.api.routes import ROOT
from lb.web.api.service import API

#: Beginning of all paths of the API.
PREFIX: Final = f"{ROOT}/".encode()
#: The answer when ours could not be made.
FAILED: Final = problem(LBError(errno.EIO, "internal error of the server"))

_Length = Callable[[str], str | None]


class Bodies:
    """Memory for the bodies that are being read or answered."""

    def __init__(self, api: API) -> None:
        self._api = api
        self._held = 0

    def take(self, method: str, path: str, header: _Length) -> int:
        """The length of a body that is to be read; its memory counts until `release`. Raises the refusal."""
        bound = self._api.body_bound(method, path)
        if not bound:
            return 0
        length = _length(header, bound)
        if self._held + length > self._api.limits.posts_bytes:
            raise Problem(503, errno.EAGAIN, "too many events are being sent; come again")
        self._held += length
        return length

    def release(self, length: int) -> None:
        self._held -= length


def _length(header: _Length, bound: int) -> int:
    text = header("content-length")
    if text is None:
        raise Problem(411, errno.EINVAL, "a body needs its Content-Length")
    # Twisted has checked that it is a number.
    if len(text) > 18 or int(text) > bound:
        raise Problem(413, errno.E2BIG, f"a body of {text[:18]} bytes, at most {bound} are taken")
    return int(text)


def asked(request: Any, peer: Identity) -> Asked:
    """What a request of Twisted asks."""
    path, _, query = request.uri.decode("utf-8", "surrogateescape").partition("?")
    address = request.getClientAddress()

    def header(name: str) -> str | None:
        values = request.requestHeaders.getRawHeaders(name)
        return None if values is None else ", ".join(values)

    method = request.method.decode("utf-8", "surrogateescape")
    return Asked(method, path, query, header, peer, getattr(address, "host", ""), request.content.read())


def respond(request: Any, answer: Answer | Streaming) -> None:
    """Send the answer, or begin to."""
    if isinstance(answer, Streaming):
        request.setResponseCode(HTTPStatus.OK, b"OK")
        request.setHeader("Content-Type", answer.content_type)
        request.setHeader("Cache-Control", "no-store")
        answer.run(request)
        return
    request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode("ascii"))
    for name, value in answer.headers.items():
        request.setHeader(name, value)
    if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        request.setHeader("Content-Type", answer.content_type)
        request.setHeader("Content-Length", str(len(answer.body)))
    request.write(answer.body)
    request.finish()
