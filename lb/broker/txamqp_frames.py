"""AMQP 0-9-1 frames for the txamqp driver: bytes in, methods and contents out, and back.

txamqp's own codec takes characters for bytes and knows few kinds of table values; what this uses of txamqp are the
tables that it makes of a protocol description. Field tables are pika's business, as for the other driver.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from pika.data import decode_short_string, decode_table, encode_table
from pika.exceptions import AMQPError
from txamqp import spec

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END: Final = b"\xce"
#: Type, channel and length before the payload; the end mark after it.
_FRAME_HEAD = struct.Struct(">BHI")
OVERHEAD: Final = _FRAME_HEAD.size + 1
_NUMBERS: Final = {
    "octet": struct.Struct(">B"),
    "short": struct.Struct(">H"),
    "long": struct.Struct(">I"),
    "longlong": struct.Struct(">Q"),
    "timestamp": struct.Struct(">Q"),
}
_METHOD_HEAD = struct.Struct(">HH")
_CONTENT_HEAD = struct.Struct(">HHQH")
_FLAGS = struct.Struct(">H")


#: What comes of bytes that mean nothing: also dates beyond the calendar, and tables in tables without end.
_UNREADABLE: Final = (LookupError, ValueError, OverflowError, OSError, RecursionError, struct.error, AMQPError)


class FrameError(Exception):
    """Bytes that are no frame of AMQP 0-9-1, or one that is longer than agreed."""


class Frame(NamedTuple):
    """A frame as it is."""

    type: int
    channel: int
    payload: bytes


@cache
def description() -> Any:
    """The protocol as txamqp knows it, from our own description."""
    with resources.as_file(resources.files("lb.broker") / "amqp0-9-1.xml") as path:
        return spec.load(str(path))


# --- frames ---------------------------------------------------------------------------------------------------


class FrameReader:
    """Cuts a stream into frames."""

    def __init__(self) -> None:
        self.frame_max = 131_072  #: bytes of a frame; what both sides agree on, once they have
        self._held = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that `data` completes; raises FrameError."""
        data = self._held + data if self._held else data
        frames: list[Frame] = []
        position, size = 0, len(data)
        while size - position >= OVERHEAD:
            type_, channel, length = _FRAME_HEAD.unpack_from(data, position)
            if length + OVERHEAD > self.frame_max:
                raise FrameError(f"frame of {length} bytes, at most {self.frame_max - OVERHEAD} were agreed")
            start = position + _FRAME_HEAD.size
            end = start + length
            if end >= size:
                break
            if data[end : end + 1] != FRAME_END:
                raise FrameError("frame without its end mark")
            frames.append(Frame(type_, channel, data[start:end]))
            position = end + 1
        self._held = data[position:]
        return frames


def frame(type_: int, channel: int, payload: bytes) -> bytes:
    """The bytes of a frame."""
    return b"%b%b%b" % (_FRAME_HEAD.pack(type_, channel, len(payload)), payload, FRAME_END)


# --- methods --------------------------------------------------------------------------------------------------


def write_method(method: Any, arguments: tuple[Any, ...]) -> bytes:
    """The payload of a method frame."""
    pieces = [_METHOD_HEAD.pack(method.klass.id, method.id)]
    bits: list[bool] = []
    for field, value in zip(method.fields, arguments, strict=True):
        if field.type == "bit":
            bits.append(bool(value))
            continue
        _flush(bits, pieces)
        _WRITERS[field.type](pieces, value)
    _flush(bits, pieces)
    return b"".join(pieces)


def _flush(bits: list[bool], pieces: list[bytes]) -> None:
    """Bits that follow each other share octets, the first in the lowest place."""
    for start in range(0, len(bits), 8):
        octet = sum(bit << place for place, bit in enumerate(bits[start : start + 8]))
        pieces.append(bytes((octet,)))
    bits.clear()


def read_method(payload: bytes) -> tuple[Any, tuple[Any, ...]]:
    """The method of a frame and its arguments; raises FrameError."""
    try:
        class_id, method_id = _METHOD_HEAD.unpack_from(payload)
        method = description().classes.byid[class_id].methods.byid[method_id]
        position, place, octet = _METHOD_HEAD.size, 0, 0
        arguments: list[Any] = []
        for field in method.fields:
            if field.type == "bit":
                if place % 8 == 0:
                    octet = payload[position]
                    position += 1
                arguments.append(bool(octet >> place % 8 & 1))
                place += 1
                continue
            place = 0
            value, position = _READERS[field.type](payload, position)
            arguments.append(value)
    except _UNREADABLE as error:
        raise FrameError(f"method that cannot be read: {error!r}") from None
    return method, tuple(arguments)


# --- contents -------------------------------------------------------------------------------------------------


def write_content(channel: int, properties: Mapping[str, Any], body: bytes, frame_max: int) -> bytes:
    """The frames of a content: the header with its properties, named with underscores, and the body."""
    flags = 0
    pieces: list[bytes] = []
    for place, (name, type_) in enumerate(_property_fields()):
        value = properties.get(name)
        if value is not None:
            flags |= 0x8000 >> place
            _WRITERS[type_](pieces, value)
    class_id = description().classes.byname["basic"].id
    frames = [frame(HEADER, channel, _CONTENT_HEAD.pack(class_id, 0, len(body), flags) + b"".join(pieces))]
    largest = frame_max - OVERHEAD
    frames += [frame(BODY, channel, body[start : start + largest]) for start in range(0, len(body), largest)]
    return b"".join(frames)


def read_header(payload: bytes) -> tuple[int, dict[str, Any]]:
    """The length of the body that follows, and the properties; raises FrameError."""
    try:
        _, _, length, flags = _CONTENT_HEAD.unpack_from(payload)
        position, more = _CONTENT_HEAD.size, flags
        while more & 1:  # properties beyond those that we know come last: their flags are passed over
            (more,) = _FLAGS.unpack_from(payload, position)
            position += _FLAGS.size
        properties: dict[str, Any] = {}
        for place, (name, type_) in enumerate(_property_fields()):
            if flags & 0x8000 >> place:
                properties[name], position = _READERS[type_](payload, position)
    except _UNREADABLE as error:
        raise FrameError(f"content header that cannot be read: {error!r}") from None
    return length, properties


@cache
def _property_fields() -> tuple[tuple[str, str], ...]:
    fields = description().classes.byname["basic"].fields
    return tuple((field.name.replace("-", "_"), field.type) for field in fields)


# --- kinds of fields ------------------------------------------------------------------------------------------


def _write_short(pieces: list[bytes], value: str | bytes) -> None:
    data = value if isinstance(value, bytes) else value.encode()
    pieces.append(b"%c%b" % (len(data), data))


def _write_long(pieces: list[bytes], value: str | bytes) -> None:
    data = value if isinstance(value, bytes) else value.encode()
    pieces.append(_NUMBERS["long"].pack(len(data)) + data)


def _read_short(data: bytes, position: int) -> tuple[Any, int]:
    if position + data[position] >= len(data):
        raise ValueError("short string beyond its frame")
    value: tuple[Any, int] = decode_short_string(data, position)
    return value


def _read_long(data: bytes, position: int) -> tuple[bytes, int]:
    (length,) = _NUMBERS["long"].unpack_from(data, position)
    start = position + 4
    if start + length > len(data):
        raise ValueError("long string beyond its frame")
    return data[start : start + length], start + length


def _number_writer(form: struct.Struct) -> Callable[[list[bytes], Any], None]:
    return lambda pieces, value: pieces.append(form.pack(value))


def _number_reader(form: struct.Struct) -> Callable[[bytes, int], tuple[Any, int]]:
    return lambda data, position: (form.unpack_from(data, position)[0], position + form.size)


_WRITERS: Final[dict[str, Callable[[list[bytes], Any], object]]] = {
    **{name: _number_writer(form) for name, form in _NUMBERS.items()},
    "shortstr": _write_short,
    "longstr": _write_long,
    "table": encode_table,
}
_READERS: Final[dict[str, Callable[[bytes, int], tuple[Any, int]]]] = {
    **{name: _number_reader(form) for name, form in _NUMBERS.items()},
    "shortstr": _read_short,
    "longstr": _read_long,
    "table": decode_table,
}
