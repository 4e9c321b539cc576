"""Frames and messages out of a stream: cut anywhere, pipelined, bounded (P10); both readers under the same tests."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.wire import dglog, il
from lb.wire.lengthprefix import LengthPrefixError, LengthPrefixReader
from tests.wire import recorded
from tests.wire.strategies import pieces


class Kind(NamedTuple):
    """One of the two protocols."""

    reader: Callable[[int], LengthPrefixReader]
    wrap: Callable[[bytes], bytes]  #: the message with these contents
    header: Callable[[int], bytes]  #: that announces so many bytes
    broken: bytes  #: that no reader takes


FRAMES = Kind(
    il.FrameReader,
    lambda body: b"%16d\n%s" % (len(body), body),
    lambda length: b"%16d\n" % length,
    b" " * 15 + b"x\n",
)
MESSAGES = Kind(
    dglog.MessageReader,
    lambda line: b"DGLOG" + len(line).to_bytes(4, "little") + line,
    lambda length: b"DGLOG" + length.to_bytes(4, "little"),
    b"DGLOX\1\0\0\0",
)
KINDS = (FRAMES, MESSAGES)

#: Contents without NUL, which means something to one of the protocols.
contents = st.lists(st.binary(min_size=1, max_size=40).map(lambda data: data.replace(b"\0", b"0")), max_size=6)

BAD_FRAME_HEADERS = (
    b"x" * 17,
    b"%16d " % 5,
    b"%16d\r" % 5,
    b"%16s\n" % b"",
    b"%16s\n" % b"0",
    b"%16s\n" % b"-5",
    b"%16s\n" % b"+5",
    b"%16s\n" % b"5 5",
    b"%16s\n" % b"\t5",
    b"%16s\n" % b"0x5",
    b"%16s\n" % "\u0665".encode(),
    b"5%15s\n" % b"",
    b"\n" * 17,
    b"9" * 16 + b"\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00" + b"\1" * 12,
)
BAD_MESSAGE_HEADERS = (
    b"DGLOX\1\0\0\0",
    b"dglog\1\0\0\0",
    b"\0\0\0\0\0\0\0\0\0",
    b"DGLOG\0\0\0\0",
    b"DGLOG\xff\xff\xff\xff",
    b"DGLOG\0\0\0\x80",
    b"DGLOG\xff\xff\xff\x7f",
    b"GET / HTTP/1.1\r\n\r\n",
)


class StreamTests(SynchronousTestCase):
    """Any stream of messages."""

    @given(contents, st.lists(st.integers(0, 400), max_size=8))
    @settings(deadline=None)
    def test_any_split(self, messages: list[bytes], cuts: list[int]) -> None:
        """However a stream is cut, the messages come out whole and in order."""
        for kind in KINDS:
            reader = kind.reader(100)
            stream = b"".join(map(kind.wrap, messages))
            found = [message for piece in pieces(stream, cuts) for message in reader.feed(piece)]
            self.assertEqual(found, messages)
            self.assertEqual(reader.held, 0)

    def test_every_byte(self) -> None:
        """Recorded messages of C programs, cut in two at every byte, and byte by byte."""
        for kind, streams in ((FRAMES, recorded.frames()), (MESSAGES, recorded.messages())):
            for name, stream in list(streams.items())[:6]:
                with self.subTest(name):
                    (expected,) = kind.reader(len(stream)).feed(stream)
                    for place in range(len(stream)):
                        reader = kind.reader(len(stream))
                        self.assertEqual(reader.feed(stream[:place]), [])
                        self.assertEqual(reader.held, place)
                        self.assertEqual(reader.feed(stream[place:]), [expected])
                    reader = kind.reader(len(stream))
                    singly = [message for code in stream for message in reader.feed(bytes((code,)))]
                    self.assertEqual(singly, [expected])

    def test_pipelined(self) -> None:
        """Messages that arrive together come out together; a begun one waits for its end."""
        for kind in KINDS:
            reader = kind.reader(100)
            stream = kind.wrap(b"one") + kind.wrap(b"two") + kind.wrap(b"three")
            self.assertEqual(reader.feed(stream[:-1]), [b"one", b"two"])
            self.assertEqual(reader.held, len(kind.wrap(b"three")) - 1)
            self.assertEqual(reader.feed(stream[-1:] + kind.wrap(b"four")), [b"three", b"four"])
            self.assertEqual(reader.held, 0)
            self.assertEqual(reader.feed(b""), [])

    def test_bounds(self) -> None:
        """A message of the greatest length is taken, one of a byte more is refused by its header alone (P10)."""
        for kind in KINDS:
            for length in (1, 99, 100):
                message = b"x" * length
                self.assertEqual(kind.reader(100).feed(kind.wrap(message)), [message])
            for length in (101, 2**31 - 1):
                reader = kind.reader(100)
                error = self.assertRaises(LengthPrefixError, reader.feed, kind.header(length))
                self.assertIn(f"{length} bytes", str(error))
                self.assertLessEqual(reader.held, 17)

    def test_defaults(self) -> None:
        """Unless told otherwise, the longest line a producer may send is taken, and no more."""
        for kind, limit in ((FRAMES, il.MAX_FRAME), (MESSAGES, dglog.MAX_MESSAGE)):
            self.assertGreater(limit, 102_400_000)
            self.assertEqual(kind.reader(limit).feed(kind.header(limit)), [])
            self.assertRaises(LengthPrefixError, kind.reader(limit).feed, kind.header(limit + 1))
        self.assertEqual(il.FrameReader().feed(FRAMES.header(il.MAX_FRAME)), [])
        self.assertRaises(il.FrameError, il.FrameReader().feed, FRAMES.header(il.MAX_FRAME + 1))
        self.assertEqual(dglog.MessageReader().feed(MESSAGES.header(dglog.MAX_MESSAGE)), [])
        self.assertRaises(dglog.MessageError, dglog.MessageReader().feed, MESSAGES.header(dglog.MAX_MESSAGE + 1))

    def test_leading_zeros(self) -> None:
        """Zeros before the length of a frame are taken."""
        self.assertEqual(il.FrameReader().feed(b"0000000000000002\nab"), [b"ab"])
        self.assertEqual(il.FrameReader().feed(b"   0000000000002\nab"), [b"ab"])


class BrokenTests(SynchronousTestCase):
    """Streams that are none."""

    def test_headers(self) -> None:
        """What is no header is refused as soon as it is there, and every time after."""
        for kind, headers in ((FRAMES, BAD_FRAME_HEADERS), (MESSAGES, BAD_MESSAGE_HEADERS)):
            for header in headers:
                with self.subTest(header):
                    reader = kind.reader(100)
                    self.assertRaises(LengthPrefixError, reader.feed, header)
                    self.assertRaises(LengthPrefixError, reader.feed, kind.wrap(b"good"))
                    self.assertRaises(LengthPrefixError, reader.feed, b"")

    def test_kinds_of_errors(self) -> None:
        """Each reader raises its own error."""
        self.assertRaises(il.FrameError, il.FrameReader().feed, FRAMES.broken)
        self.assertRaises(dglog.MessageError, dglog.MessageReader().feed, MESSAGES.broken)

    @given(contents, st.lists(st.integers(0, 400), max_size=8))
    @settings(deadline=None)
    def test_good_ones_first(self, messages: list[bytes], cuts: list[int]) -> None:
        """Messages before the bad header are not lost, however the stream is cut (P2)."""
        for kind in KINDS:
            reader = kind.reader(100)
            found: list[bytes] = []
            errors = 0
            for piece in pieces(b"".join(map(kind.wrap, messages)) + kind.broken, cuts):
                try:
                    found += reader.feed(piece)
                except LengthPrefixError as error:
                    errors += 1
                    found += error.complete
            self.assertEqual(found, messages)
            self.assertGreater(errors, 0)

    @given(st.lists(st.binary(max_size=60), max_size=8))
    @settings(deadline=None)
    def test_garbage(self, stream: list[bytes]) -> None:
        """Any bytes give messages or the reader's error, and no more is held than was fed."""
        for kind in KINDS:
            reader = kind.reader(100)
            fed = 0
            for piece in stream:
                fed += len(piece)
                try:
                    reader.feed(piece)
                except LengthPrefixError:
                    break
                self.assertLessEqual(reader.held, fed)


class GreatTests(SynchronousTestCase):
    """Great messages."""

    def test_in_pieces(self) -> None:
        """Ten megabytes in pieces of 16 kB are put together once, or this would not end; what follows is whole."""
        body = bytes(range(1, 256)) * 40_000
        for kind in KINDS:
            reader = kind.reader(len(body))
            stream = kind.wrap(b"before") + kind.wrap(body) + kind.wrap(b"after")
            found = [
                message
                for place in range(0, len(stream), 16_384)
                for message in reader.feed(stream[place : place + 16_384])
            ]
            self.assertEqual([len(message) for message in found], [6, len(body), 5])
            self.assertEqual(found[1], body)

    def test_memory_of_small_pieces(self) -> None:
        """A message in pieces of three bytes takes about its length of memory while held, not many times it (P10)."""
        size = 300_000
        for kind in KINDS:
            reader = kind.reader(size)
            tracemalloc.start()
            reader.feed(kind.header(size))
            for _ in range(size // 3 - 1):
                reader.feed(b"abc")
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertGreater(reader.held, size - 20)
            self.assertLess(peak, 2 * size)

    def test_announced_is_not_allocated(self) -> None:
        """An announced hundred megabytes cost nothing before they come (P10)."""
        for kind in KINDS:
            tracemalloc.start()
            reader = kind.reader(100_000_000)
            reader.feed(kind.header(100_000_000) + b"x")
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertLess(peak, 100_000)
