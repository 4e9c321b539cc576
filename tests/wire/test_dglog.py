"""Producer messages and their answers (wire-logging.md §4)."""

from __future__ import annotations

import errno

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import Code
from lb.wire import dglog
from tests.wire.strategies import pieces

ANSWERS = {
    0: "00000000",
    errno.EINVAL: "16000000",
    errno.EAGAIN: "0b000000",
    Code.MESSAGE_INCOMPLETE: "7b050000",
    Code.IL_PROTO: "89050000",
    Code.IL_SYS: "8a050000",
    Code.IL_EVENTS_WAITING: "8b050000",
    -1: "ffffffff",
}

#: Answer of a logger → number that the caller of the logging API gets.
TOLD = {
    **{
        code: code
        for code in (
            errno.EINVAL,
            errno.ENOSPC,
            errno.ENOMEM,
            Code.GSS,
            Code.DNS,
            errno.ENOTCONN,
            errno.ECONNREFUSED,
            errno.ETIMEDOUT,
            errno.EAGAIN,
            errno.EPERM,
        )
    },
    # The C library says EAGAIN for 1401, whereupon callers repeat the broken line for ever.
    **dict.fromkeys((1401, 1402, 1403, 1404, 1405), errno.EINVAL),
    **dict.fromkeys((1406, 1417, 1418, 1419, errno.ENOENT, errno.EACCES, errno.EEXIST, 9999, -1), errno.EAGAIN),
}


class MessageTests(SynchronousTestCase):
    """Messages."""

    def test_bytes(self) -> None:
        """A message has its magic word, the length of all that follows, the line, LF and NUL."""
        self.assertEqual(dglog.message(b"x=y\n"), b"DGLOG\x05\0\0\0x=y\n\0")
        self.assertEqual(dglog.message(b"x=y"), b"DGLOG\x05\0\0\0x=y\n\0")
        self.assertEqual(dglog.message(b"x" * 448 + b"\n")[:9].hex(), "44474c4f47c2010000")

    def test_ends(self) -> None:
        """A line ends at the first NUL of its message; it may lack LF and NUL."""
        for sent, line in (
            (b"x=y\n\0", b"x=y\n"),
            (b"x=y\n", b"x=y\n"),
            (b"x=y\0", b"x=y"),
            (b"x=y", b"x=y"),
            (b"x=y\n\0\0\0", b"x=y\n"),
            (b"x=y\n\0z=w\n\0", b"x=y\n"),
            (b"\0", b""),
        ):
            with self.subTest(sent):
                message = b"DGLOG" + len(sent).to_bytes(4, "little") + sent
                self.assertEqual(dglog.MessageReader().feed(message), [line])

    @given(st.lists(st.binary(max_size=50).map(lambda line: line.replace(b"\0", b"") + b"\n")))
    @settings(deadline=None)
    def test_round_trip(self, lines: list[bytes]) -> None:
        """Any lines survive."""
        self.assertEqual(dglog.MessageReader().feed(b"".join(map(dglog.message, lines))), lines)

    def test_lines_before_a_bad_header(self) -> None:
        """What came before a bad header comes as lines, without NUL."""
        reader = dglog.MessageReader()
        error = self.assertRaises(dglog.MessageError, reader.feed, dglog.message(b"x=y\n") + b"nonsense!")
        self.assertEqual(error.complete, [b"x=y\n"])


class AnswerTests(SynchronousTestCase):
    """Answers."""

    def test_bytes(self) -> None:
        """An answer is one little-endian number, and is read as it was written."""
        for code, expected in ANSWERS.items():
            self.assertEqual(dglog.answer(code).hex(), expected)
            self.assertEqual(dglog.AnswerReader().feed(bytes.fromhex(expected)), [code])

    @given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.lists(st.integers(0, 100), max_size=8))
    @settings(deadline=None)
    def test_any_split(self, codes: list[int], cuts: list[int]) -> None:
        """Answers come out in order, however the stream is cut."""
        reader = dglog.AnswerReader()
        stream = b"".join(map(dglog.answer, codes))
        self.assertEqual([code for piece in pieces(stream, cuts) for code in reader.feed(piece)], codes)

    def test_told(self) -> None:
        """The caller of the logging API gets the numbers of the specification, and words for them."""
        self.assertIsNone(dglog.error_of(0))
        for code, told in TOLD.items():
            with self.subTest(str(code)):
                error = dglog.error_of(code)
                assert error is not None
                self.assertEqual(error.code, told)
                self.assertTrue(error.description)
