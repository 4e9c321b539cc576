"""Frames for txamqp: pika reads what we write and the other way round; any split, any damage, within bounds (P10)."""

from __future__ import annotations

from typing import Any

import pika
from hypothesis import given
from hypothesis import strategies as st
from pika.frame import Body, Header, decode_frame
from twisted.trial.unittest import SynchronousTestCase

from lb.broker import txamqp_frames as frames
from tests.wire.strategies import pieces

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": texts,
        "headers": st.dictionaries(texts.filter(bool), texts | st.integers(-(2**31), 2**31 - 1) | st.booleans()),
        "delivery_mode": st.integers(1, 2),
        "correlation_id": texts,
        "reply_to": texts,
        "expiration": texts,
        "message_id": texts,
        "timestamp": st.integers(0, 2**40),
        "user_id": texts,
        "app_id": texts,
    },
)


def method(name: str) -> Any:
    """A method of the protocol's description."""
    return frames.description().parse_method(name)


class PikaTests(SynchronousTestCase):
    """Another implementation of the same protocol."""

    def test_description(self) -> None:
        """Every method of the description is one of pika's, with as many fields and the same idea of content."""
        for class_ in frames.description().classes:
            for each in class_.methods:
                theirs = pika.spec.methods[class_.id << 16 | each.id]
                arguments = theirs.__init__.__code__.co_argcount - 1
                with self.subTest(method=f"{class_.name}.{each.name}"):
                    self.assertEqual(len(each.fields), arguments)
                    self.assertEqual(each.content, pika.spec.has_content(theirs.INDEX))

    @given(properties, st.binary(max_size=300), st.integers(30, 120))
    def test_contents(self, given_properties: dict[str, Any], body: bytes, room: int) -> None:
        """pika reads the properties and the bodies that we write, and we what it writes."""
        data = frames.write_content(7, given_properties, body, 4096 if given_properties else room)
        read: list[Any] = []
        while data:
            count, frame = decode_frame(data)
            read.append(frame)
            data = data[count:]
        header, *bodies = read
        self.assertIsInstance(header, Header)
        self.assertEqual(header.body_size, len(body))
        for name, value in given_properties.items():
            self.assertEqual(getattr(header.properties, name), value)
        self.assertTrue(all(isinstance(frame, Body) for frame in bodies))
        self.assertEqual(b"".join(frame.fragment for frame in bodies), body)
        theirs = Header(7, len(body), pika.BasicProperties(**given_properties)).marshal()
        (frame,) = frames.FrameReader().feed(theirs)
        self.assertEqual(frames.read_header(frame.payload), (len(body), given_properties))

    @given(texts, st.integers(0, 2**64 - 1), st.booleans(), texts, texts)
    def test_methods(self, tag: str, number: int, redelivered: bool, exchange: str, key: str) -> None:
        """The same for methods, strings, numbers and bits."""
        arguments = (tag, number, redelivered, exchange, key)
        deliver = pika.spec.Basic.Deliver(*arguments)
        (frame,) = frames.FrameReader().feed(pika.frame.Method(3, deliver).marshal())
        read, ours = frames.read_method(frame.payload)
        self.assertEqual((read.name, ours), ("deliver", arguments))
        _, back = decode_frame(frames.frame(frames.METHOD, 3, frames.write_method(read, arguments)))
        self.assertEqual(vars(back.method), vars(deliver))

    @given(st.lists(st.booleans(), min_size=5, max_size=5))
    def test_bits(self, bits: list[bool]) -> None:
        """Bits that follow each other share an octet."""
        arguments = (0, "e", "direct", *bits, {"a": {"b": [1, "c"]}})
        payload = frames.write_method(method("exchange.declare"), arguments)
        self.assertEqual(frames.read_method(payload)[1], arguments)
        _, back = decode_frame(frames.frame(frames.METHOD, 1, payload))
        declared = back.method
        self.assertEqual(
            [declared.passive, declared.durable, declared.auto_delete, declared.internal, declared.nowait], bits
        )


class ReadingTests(SynchronousTestCase):
    """Streams of frames."""

    @given(st.lists(st.binary(max_size=50), max_size=6), st.lists(st.integers(0, 400), max_size=6))
    def test_any_split(self, payloads: list[bytes], cuts: list[int]) -> None:
        """Frames come out the same wherever the stream is cut."""
        stream = b"".join(frames.frame(frames.BODY, number, payload) for number, payload in enumerate(payloads))
        reader = frames.FrameReader()
        read = [frame for piece in pieces(stream, cuts) for frame in reader.feed(piece)]
        self.assertEqual([(frame.channel, frame.payload) for frame in read], list(enumerate(payloads)))

    def test_bound(self) -> None:
        """A frame of the agreed length is taken, one byte more is refused before it comes."""
        reader = frames.FrameReader()
        reader.frame_max = 100
        fits = frames.frame(frames.BODY, 1, bytes(100 - frames.OVERHEAD))
        self.assertEqual(len(reader.feed(fits)), 1)
        beyond = frames.frame(frames.BODY, 1, bytes(101 - frames.OVERHEAD))
        self.assertRaises(frames.FrameError, reader.feed, beyond[: frames.OVERHEAD])

    def test_no_end(self) -> None:
        """A frame without its end mark is refused."""
        data = frames.frame(frames.BODY, 1, b"abc")[:-1] + b"\0"
        self.assertRaises(frames.FrameError, frames.FrameReader().feed, data)

    @given(st.binary(max_size=60))
    def test_any_method(self, payload: bytes) -> None:
        """Any bytes are a method or a FrameError, nothing else."""
        for start in (b"", b"\0\x3c\0\x3c", b"\0\x0a\0\x0a", b"\0\x32\0\x0b"):
            try:
                frames.read_method(start + payload)
            except frames.FrameError:
                continue

    def test_deep_tables(self) -> None:
        """Tables in tables without end are refused like any other damage."""
        table = b""
        for _ in range(6_000):
            table = b"\1aF" + len(table).to_bytes(4, "big") + table
        payload = b"\0\x3c\0\0" + bytes(8) + b"\x20\0" + len(table).to_bytes(4, "big") + table
        self.assertRaises(frames.FrameError, frames.read_header, payload)

    @given(st.binary(max_size=60))
    def test_any_header(self, payload: bytes) -> None:
        """The same for headers of contents."""
        for start in (b"", b"\0\x3c\0\0" + bytes(8) + b"\xff\xfc", b"\0\x3c\0\0" + bytes(8) + b"\x20\0"):
            try:
                frames.read_header(start + payload)
            except frames.FrameError:
                continue
