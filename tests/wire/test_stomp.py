"""STOMP frames: written and read in every version, cut anywhere, bounded (P10), and never trusted."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.wire.stomp import HEARTBEAT, VERSIONS, Frame, FrameReader, Limits, StompError, heartbeats, write
from tests.wire.strategies import pieces

NASTY = 'a:\\\n\rncr"é\udcff \t'
#: What each version can say in names and in values of headers.
NAMES = {
    "1.0": "abc-.é",
    "1.1": NASTY.replace("\r", ""),
    "1.2": NASTY,
}
VALUES = {**NAMES, "1.0": 'abc:\\n"é'}

versions = st.sampled_from(VERSIONS)


def headers_of(version: str) -> st.SearchStrategy[dict[str, str]]:
    """Headers that the version can express; 1.0 takes blanks around them away."""
    names = st.text(st.sampled_from(NAMES[version]), min_size=1, max_size=8)
    values = st.text(st.sampled_from(VALUES[version]), max_size=12)
    return st.dictionaries(names.filter(lambda name: name != "content-length"), values, max_size=5)


def frames_of(version: str) -> st.SearchStrategy[Frame]:
    """Frames that come after the handshake."""
    return st.builds(Frame, st.sampled_from(["SEND", "MESSAGE", "ERROR"]), headers_of(version), st.binary(max_size=60))


streams = versions.flatmap(lambda version: st.tuples(st.just(version), st.lists(frames_of(version), max_size=5)))


def read(data: bytes, version: str = "1.2", cuts: tuple[int, ...] = (), limits: Limits = Limits()) -> list[Frame]:  # noqa: B008
    """The frames of a stream that arrives in pieces."""
    reader = FrameReader(limits, version)
    return [frame for piece in pieces(data, list(cuts)) for frame in reader.feed(piece)]


def outcome(parts: list[bytes]) -> tuple[list[Frame], str | None]:
    """What a reader makes of the pieces: its frames, and why it stopped."""
    reader = FrameReader(Limits(headers=4, line=40, head=100, body=50))
    frames: list[Frame] = []
    for part in parts:
        try:
            frames += reader.feed(part)
        except StompError as error:
            return frames + error.complete, "refused"
    return frames, None


def bare(frame: Frame) -> Frame:
    """The frame without the length that writing adds."""
    return frame._replace(headers={name: value for name, value in frame.headers.items() if name != "content-length"})


class RoundTripTests(SynchronousTestCase):
    """What is written is read."""

    @given(streams, st.lists(st.integers(0, 500), max_size=6), st.sampled_from([b"", HEARTBEAT, b"\r\n\n"]))
    def test_any_frames(self, stream: tuple[str, list[Frame]], cuts: list[int], between: bytes) -> None:
        """Any frames in any version come back equal, cut anywhere, heart-beats between them."""
        version, frames = stream
        data = between + between.join(write(frame, version) + b"\n" for frame in frames)
        self.assertEqual([bare(frame) for frame in read(data, version, tuple(cuts))], frames)

    @given(versions.flatmap(frames_of), st.integers(0, 3))
    def test_every_byte(self, frame: Frame, size: int) -> None:
        """Byte by byte, and in pieces of a few bytes, the same frame comes out."""
        data = write(frame)
        width = size + 1
        cuts = tuple(range(width, len(data), width))
        self.assertEqual(read(data, cuts=cuts), read(data))

    def test_bytes(self) -> None:
        """The bytes on the wire, as the specification of each version spells them."""
        frame = Frame("SEND", {"destination": "/queue/a", "x": "1:2\\3\n4"}, b"b\0dy")
        self.assertEqual(
            write(frame, "1.1"), b"SEND\ndestination:/queue/a\nx:1\\c2\\\\3\\n4\ncontent-length:4\n\nb\0dy\0"
        )
        self.assertEqual(write(Frame("SEND", {"x": "a\r"}), "1.2"), b"SEND\nx:a\\r\n\n\0")
        # Passwords are not escaped: the receiver of a first frame does not know how to read that.
        self.assertEqual(write(Frame("CONNECT", {"passcode": "a:b\\c"})), b"CONNECT\npasscode:a:b\\c\n\n\0")

    def test_not_expressible(self) -> None:
        """What a version has no form for is refused, not mangled."""
        for version, name, value in (
            ("1.2", "a\0", ""),
            ("1.2", "a", "\0"),
            ("1.2", "a", "\ud800"),
            ("1.1", "a", "\r"),
            ("1.0", "a", "1\n2"),
            ("1.0", "a:b", "1"),
        ):
            with self.subTest(version=version, name=name, value=value):
                self.assertRaises(LBError, write, Frame("SEND", {name: value}), version)


class ReadingTests(SynchronousTestCase):
    """What other programs send."""

    def test_forms(self) -> None:
        """Line ends of both kinds, bodies without length, repeated headers, empty lines inside bodies."""
        for data, expected in (
            (b"MESSAGE\na:1\na:2\n\nx\0", Frame("MESSAGE", {"a": "1"}, b"x")),
            (b"MESSAGE\r\na:1\r\n\r\nx\n\ny\0", Frame("MESSAGE", {"a": "1"}, b"x\n\ny")),
            (b"MESSAGE\na:1\n\n\r\n\r\n\0", Frame("MESSAGE", {"a": "1"}, b"\r\n\r\n")),
            (b"MESSAGE\na:x\0y\nb\0:z\n\nbody\0", Frame("MESSAGE", {"a": "x\0y", "b\0": "z"}, b"body")),
            (b"RECEIPT\n\n\0", Frame("RECEIPT", {})),
            (b"A\ncontent-length:0\n\n\0", Frame("A", {"content-length": "0"})),
            (b"A\ncontent-length:2\n\n\0\0\0", Frame("A", {"content-length": "2"}, b"\0\0")),
            (b"A\nb:c:d\\c\n\n\0", Frame("A", {"b": "c:d:"})),
            (b"A\n:\n\n\0", Frame("A", {"": ""})),
        ):
            with self.subTest(data=data):
                for cut in range(len(data)):
                    self.assertEqual(read(data, cuts=(cut,)), [expected])

    def test_version(self) -> None:
        """CONNECTED is read without escapes and says how what follows is read; without a version it is 1.0."""
        for head, escaped, value in (
            (b"version:1.2\n", b"a\\r", "a\r"),
            (b"version:1.1\n", b"a\\c", "a:"),
            (b"", b" a\\c ", "a\\c"),
        ):
            with self.subTest(head=head):
                frames = read(b"CONNECTED\ns:\\x\n" + head + b"\n\0\nMESSAGE\nh:" + escaped + b"\n\n\0", "1.2")
                self.assertEqual(frames[0].headers["s"], "\\x")
                self.assertEqual(frames[1].headers, {"h": value})

    def test_refused(self) -> None:
        """Bytes that are no frame stop the reader for good; the frames before them are not lost."""
        good = b"RECEIPT\nreceipt-id:1\n\n\0"
        for bad in (
            b"A\nb\n\n\0",
            b"A\nb:c\0",
            b"A\nb:c\n\0\n\n",
            b"MESSAGE\nb:c\n\0\n\n",
            b"A\nb:\\t\n\n\0",
            b"A\nb:\\\n\n\0",
            b"A\ncontent-length:x\n\n\0",
            b"A\ncontent-length:-1\n\n\0",
            b"A\ncontent-length:" + b"9" * 30 + b"\n\n\0",
            b"A\ncontent-length:1\n\nab\0",
            b"CONNECTED\nversion:2.0\n\n\0",
        ):
            with self.subTest(bad=bad):
                reader = FrameReader()
                error = self.assertRaises(StompError, reader.feed, good + bad + good + b"\n\n")
                self.assertEqual([frame.command for frame in error.complete], ["RECEIPT"])
                self.assertRaises(StompError, reader.feed, good)

    def test_escape_of_later_version(self) -> None:
        """An escape that came with 1.2 is refused in 1.1."""
        self.assertRaises(StompError, read, b"A\nb:\\r\n\n\0", "1.1")


class BoundTests(SynchronousTestCase):
    """P10: what is too much is refused while it arrives."""

    limits = Limits(headers=3, line=10, head=20, body=8)

    def test_bounds(self) -> None:
        """Each bound at its value and one beyond it."""
        for fits, beyond in (
            (b"A\na:\nb:\nc:\n\n\0", b"A\na:\nb:\nc:\nd:\n\n\0"),
            (b"A\na:" + b"x" * 8 + b"\n\n\0", b"A\na:" + b"x" * 9 + b"\n\n\0"),
            (b"A\na:xxxxx\nb:xxxxxx\n\n\0", b"A\na:xxxxxx\nb:xxxxxx\n\n\0"),
            (b"A\n\n" + b"x" * 8 + b"\0", b"A\n\n" + b"x" * 9 + b"\0"),
            (b"A\n\n\0", b"A\n\n" + b"x" * 9),
        ):
            with self.subTest(beyond=beyond):
                self.assertEqual(len(read(fits, limits=self.limits)), 1)
                for cuts in ((), tuple(range(1, len(beyond)))):
                    self.assertRaises(StompError, read, beyond, "1.2", cuts, self.limits)

    def test_announced_body(self) -> None:
        """A body that is announced too long is refused before it comes."""
        limits = Limits(body=100)
        self.assertEqual(read(b"A\ncontent-length:100\n\n", limits=limits), [])
        self.assertRaises(StompError, read, b"A\ncontent-length:101\n\n", "1.2", (), limits)

    def test_endless(self) -> None:
        """A line, headers or a body without end never take more memory than their bound allows."""
        limits = Limits(headers=10, line=1_000, head=2_000, body=3_000)
        for start, more in ((b"", b"x"), (b"A\n", b"b:c\n"), (b"A\n\n", b"x" * 10), (b"A\nb:", b"c" * 7)):
            with self.subTest(more=more):
                reader = FrameReader(limits)
                reader.feed(start)

                def flood(reader: FrameReader = reader, more: bytes = more) -> None:
                    for _ in range(4_000):
                        reader.feed(more)
                        self.assertLessEqual(reader.held, 3_000 + len(more))

                self.assertRaises(StompError, flood)
                self.assertEqual(reader.held, 0)


class FuzzTests(SynchronousTestCase):
    """Any bytes."""

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=10),
                st.sampled_from([b"\n", b"\n\n", b"\r\n", b"\0", b":", b"\\", b"A\n", b"a:b\n", b"content-length:"]),
                st.integers(0, 60).map(lambda number: b"%d" % number),
            ),
            max_size=30,
        ),
        st.lists(st.integers(0, 300), max_size=6),
    )
    @settings(max_examples=400)
    def test_any_bytes(self, parts: list[bytes], cuts: list[int]) -> None:
        """Whatever comes, the reader gives the same frames or refuses, wherever the bytes are cut."""
        data = b"".join(parts)
        places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        whole, why = outcome([data])
        cut, reason = outcome([data[start:end] for start, end in pairwise(places)])
        self.assertEqual((cut, reason), (whole, why))


class HeartbeatTests(SynchronousTestCase):
    """Signs of life."""

    def test_agreement(self) -> None:
        """Each direction has the longer interval of what one side can and the other wants; 0 switches it off."""
        for ours, theirs, expected in (
            ((5000, 10000), "20000,1000", (5000, 20000)),
            ((5000, 10000), "1000,9000", (9000, 10000)),
            ((5000, 10000), "0,0", (0, 0)),
            ((5000, 10000), None, (0, 0)),
            ((0, 10000), "1,1", (0, 10000)),
            ((5000, 0), "1,1", (5000, 0)),
        ):
            with self.subTest(ours=ours, theirs=theirs):
                self.assertEqual(heartbeats(ours, theirs), expected)

    def test_bad(self) -> None:
        """Anything but two numbers is refused."""
        for header in ("1", "a,b", "-1,0", "1,2,3", "9999999999,1", " 1,2"):
            self.assertRaises(LBError, heartbeats, (1, 1), header)
