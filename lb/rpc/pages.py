"""Answers of any length over a protocol that refuses strings of 640 KiB: a first page, and a reference to the rest.

An answer waits for its reader only up to a number of answers a connection; it never waits without a connection.
"""

from __future__ import annotations

import errno
from typing import Any, Final

from lb.model.errors import LBError
from lb.rpc.errors import Guarded, RefusedError

#: Bytes of one page.
PAGE: Final = 256 << 10
#: Answers of one connection that may be half read.
MAX_OPEN: Final = 8

#: What a method returns: the first bytes, and where the next ones are, None when that was all.
Paged = tuple[bytes, "Rest | None"]


class OpenAnswers:
    """The half-read answers of one connection."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self._limit = limit
        self._open: set[Rest] = set()

    def paged(self, answer: bytes) -> Paged:
        """An answer as a method returns it; raises `RefusedError` EAGAIN when too many others are half read."""
        if len(answer) <= PAGE:
            return answer, None
        if len(self._open) >= self._limit:
            raise RefusedError(LBError(errno.EAGAIN, f"{self._limit} answers are half read: read or close them first"))
        rest = Rest(answer, self)
        self._open.add(rest)
        return answer[:PAGE], rest

    def forget(self, rest: Rest) -> None:
        """An answer has been read, or is not wanted any more."""
        self._open.discard(rest)

    def clear(self) -> None:
        """The connection is gone."""
        for rest in tuple(self._open):
            rest.remote_close()


class Rest(Guarded):
    """What is left of an answer."""

    def __init__(self, answer: bytes, answers: OpenAnswers) -> None:
        self._answer = answer
        self._position = PAGE
        self._answers = answers

    def remote_next(self) -> bytes:
        """The next page; empty after the last."""
        page = self._answer[self._position : self._position + PAGE]
        self._position += len(page)
        if self._position >= len(self._answer):
            self.remote_close()
        return page

    def remote_close(self) -> None:
        """The rest is not wanted."""
        self._answer = b""
        self._answers.forget(self)


async def read_all(first: Any, rest: Any) -> bytes:
    """All pages of an answer, on the side that asked."""
    pages = [first]
    while rest is not None:
        page = await rest.callRemote("next")
        if not page:
            break
        pages.append(page)
        if len(page) < PAGE:
            break
    return b"".join(pages)
