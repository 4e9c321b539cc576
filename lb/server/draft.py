"""An answer while it is written and sent: in memory while it is short, in a temporary file when it grows.

Written by the thread that finds what it holds, then read by the reactor as fast as the peer reads; bounded (P10).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Final

from lb.model.errors import LBError

#: Bytes kept in memory, and read from the file at once.
_IN_MEMORY: Final = 256 << 10
_PIECE: Final = 64 << 10


class Draft:
    """The growing middle of an answer."""

    def __init__(self, most: int) -> None:
        """`most`: bytes that it may have, 0 = no bound."""
        self.size = 0
        self._most = most
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: IO[bytes] | None = None

    def write(self, piece: bytes) -> None:
        """Add to the end; raises E2BIG for more than it may have."""
        self.size += len(piece)
        if self._most and self.size > self._most:
            raise LBError(errno.E2BIG, f"Query result size limit exceeded: the answer has more than {self._most} bytes")
        self._pieces.append(piece)
        self._held += len(piece)
        if self._held > _IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115  # `close` is called for it
        self._file.write(b"".join(self._pieces))
        self._pieces.clear()
        self._held = 0

    @property
    def whole(self) -> bytes | None:
        """Everything, when it is in memory."""
        return b"".join(self._pieces) if self._file is None else None

    def pieces(self) -> Iterator[bytes]:
        """Everything from the beginning, a piece at a time; it is closed behind the last."""
        if self._file is not None:
            self._spill()
            self._file.seek(0)
            while piece := self._file.read(_PIECE):
                yield piece
        else:
            yield b"".join(self._pieces)
        self.close()

    def close(self) -> None:
        """Give memory and disk back."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()


class Stream:
    """A document, or a response, that is sent in pieces."""

    def __init__(self, before: bytes, draft: Draft, after: bytes) -> None:
        """`before`: what stands before the draft, e.g. a head and the beginning of the body; `after`: its end."""
        self._before = before
        self._draft = draft
        self._after = after

    @property
    def size(self) -> int:
        """Bytes of it all."""
        return len(self._before) + self._draft.size + len(self._after)

    @property
    def whole(self) -> bytes | None:
        """Everything, when it is in memory."""
        draft = self._draft.whole
        return None if draft is None else self._before + draft + self._after

    def behind(self, head: bytes) -> Stream:
        """The same with a head before it."""
        return Stream(head + self._before, self._draft, self._after)

    def pieces(self) -> Iterator[bytes]:
        """All of it, once."""
        yield self._before
        yield from self._draft.pieces()
        yield self._after

    def close(self) -> None:
        """It is not going to be sent."""
        self._draft.close()
