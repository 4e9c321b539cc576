"""Answers in pages: every length comes whole, and what waits on disk is given back however the reading ends (P10)."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from lb.rpc.errors import RefusedError
from lb.rpc.pages import PAGE, OpenAnswers


class _Document:
    """An answer in pieces that fit no page."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.closed = False

    def pieces(self) -> Iterator[bytes]:
        whole = bytes(number % 251 for number in range(self.size))
        return (whole[start : start + 60_007] for start in range(0, self.size, 60_007))

    def close(self) -> None:
        self.closed = True


class Pages(SynchronousTestCase):
    """The answers of one connection."""

    def test_lengths(self) -> None:
        """Answers of n-1, n and n+1 pages are whole; nothing is open behind them."""
        answers = OpenAnswers(1)
        for size in (0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 1, 2 * PAGE, 2 * PAGE + 1):
            document = _Document(size)
            whole = b"".join(document.pieces())
            for answer in (whole, document):
                first, rest = answers.paged(answer)
                read = [first]
                while rest is not None and len(read[-1]) == PAGE:
                    read.append(rest.remote_next())
                self.assertEqual(b"".join(read), whole)
            self.assertTrue(document.closed)

    def test_half_read(self) -> None:
        """One answer more than may be half read is refused and given back at once; so is all when the peer is gone."""
        answers = OpenAnswers(2)
        documents = [_Document(2 * PAGE) for _ in range(4)]
        first, second = (answers.paged(document)[1] for document in documents[:2])
        assert first is not None
        assert second is not None
        refused = self.assertRaises(RefusedError, answers.paged, documents[2])
        self.assertIn(str(errno.EAGAIN), str(refused))
        first.remote_close()
        self.assertEqual([document.closed for document in documents], [True, False, True, False])
        answers.end()
        self.assertTrue(documents[1].closed)
        self.assertEqual(second.remote_next(), b"")
        self.assertRaises(RefusedError, answers.paged, documents[3])
        self.assertTrue(documents[3].closed)
