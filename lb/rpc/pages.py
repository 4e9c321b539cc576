"""Answers of any length over a protocol that refuses strings of 640 KiB: a first page, and a reference to the rest.

An answer waits for its reader only up to a number of answers a connection; it never waits without a connection.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, Final, Protocol

from lb.model.errors import LBError
from lb.rpc.errors import Guarded, RefusedError

#: Bytes of one page.
PAGE: Final = 256 << 10
#: Answers of one connection that may be half read.
MAX_OPEN: Final = 8

#: What a method returns: the first bytes, and where the next ones are, None when that was all.
Paged = tuple[bytes, "Rest | None"]


class Document(Protocol):
    """An answer that need not be in memory."""

    @property
    def size(self) -> int: ...

    def pieces(self) -> Iterator[bytes]:
        """All of it, once."""

    def close(self) -> None:
        """The rest is not wanted."""


class _Held:
    """An answer that is."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.size = len(answer)

    def pieces(self) -> Iterator[bytes]:
        return (self._answer[start : start + PAGE] for start in range(0, self.size, PAGE))

    def close(self) -> None:
        self._answer = b""


class OpenAnswers:
    """The half-read answers of one connection."""

    def __init__(self, limit: int = MAX_OPEN) -> None:
        self._limit = limit
        self._open: set[Rest] = set()
        self._over = False

    def paged(self, answer: bytes | Document) -> Paged:
        """An answer as a method returns it; raises `RefusedError` EAGAIN when too many others are half read."""
        rest = Rest(_Held(answer) if isinstance(answer, bytes) else answer, self)
        if rest.size > PAGE:
            if len(self._open) >= self._limit or self._over:
                rest.remote_close()
                raise RefusedError(
                    LBError(errno.EAGAIN, f"{self._limit} answers are half read: read or close them first")
                )
            self._open.add(rest)
            return rest.remote_next(), rest
        return rest.remote_next(), None

    def forget(self, rest: Rest) -> None:
        """An answer has been read, or is not wanted any more."""
        self._open.discard(rest)

    def clear(self) -> None:
        """What is open is not wanted."""
        for rest in tuple(self._open):
            rest.remote_close()

    def end(self) -> None:
        """The connection is gone: nothing that comes is wanted."""
        self._over = True
        self.clear()


class Rest(Guarded):
    """What is left of an answer."""

    def __init__(self, document: Document, answers: OpenAnswers) -> None:
        self.size = document.size  #: bytes that are left
        self._document = document
        self._pieces = document.pieces()
        self._held = b""
        self._answers = answers

    def remote_next(self) -> bytes:
        """The next page; empty after the last."""
        while len(self._held) < PAGE and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        page, self._held = self._held[:PAGE], self._held[PAGE:]
        self.size -= len(page)
        if self.size <= 0:
            self.remote_close()
        return page

    def remote_close(self) -> None:
        """The rest is not wanted."""
        self._held, self._pieces = b"", iter(())
        self._document.close()
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
