"""Interlogger frames: how event lines reach a server and how it answers (spec: wire-logging.md §3).

A frame is a 17-byte header (length, right-aligned, LF) and a body of counted strings;
a reply is two numbers and a text for people. Nothing here knows what an event says.
"""

from __future__ import annotations

import errno
import re
from typing import Final, NamedTuple

from lb.model.errors import Code, LBError
from lb.wire.lengthprefix import LengthPrefixError, LengthPrefixReader

HEADER: Final = 17
MAGIC: Final = b"michal"
#: Largest frame taken by default, bytes: the longest line a producer may send, and its frame.
MAX_FRAME: Final = 102_400_128
#: Protocol name by which our own endpoints recognise each other in TLS (ALPN) and then pipeline.
ALPN: Final = b"lb-il/1"
#: A server's store port is this much above its main port (spec: wire-logging.md §1.1).
STORE_OFFSET: Final = 1


class FrameError(LengthPrefixError):
    """Bytes that are no frame, event or reply; of a reader, `complete` holds the frame bodies that came before them."""


class FrameTooLongError(FrameError):
    """A frame is announced that is longer than what is taken; nothing after its header is looked at.

    Without an answer its sender would repeat it for ever, and send nothing behind it.
    """

    @property
    def reply(self) -> Reply:
        """The refusal for good."""
        return Reply(Major.PROTO, errno.E2BIG, str(self))


class Major:
    """First numbers of a reply (wire-logging.md §3.4)."""

    OK: Final = 0
    NOMEM: Final = 200
    PROTO: Final = 400
    AUTH: Final = 500
    PERM: Final = 600
    DBERR: Final = 700
    SYS: Final = 800
    TIME: Final = 900


class Reply(NamedTuple):
    """A server's answer to one event."""

    major: int
    minor: int
    text: str


OK: Final = Reply(Major.OK, 0, "OK")


class FrameReader(LengthPrefixReader):
    """Cuts a stream into frame bodies; `feed` raises `FrameError` at a bad header or length."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        """`max_frame`: greatest length of a body, bytes."""
        super().__init__(HEADER)
        self._max_frame = max_frame

    def announced(self, header: bytes) -> int:
        digits = header[:16].lstrip(b" ")
        if header[16] != 0x0A or not digits.isdigit():
            raise FrameError(f"frame header {header!r} is not 16 blanks and digits and a line feed")
        length = int(digits)
        if not length:
            raise FrameError("frame of no bytes")
        if length > self._max_frame:
            raise FrameTooLongError(f"frame of {length} bytes, at most {self._max_frame} are taken")
        return length


def _string(value: bytes) -> bytes:
    return b"%d %s\n" % (len(value), value)


def _framed(body: bytes) -> bytes:
    return b"%16d\n%s" % (len(body), body)


_MAGIC_STRING: Final = _string(MAGIC)


def frame(line: bytes) -> bytes:
    """The frame that carries an event line, as it is (with or without its LF)."""
    return _framed(_MAGIC_STRING + _string(line))


def _read_string(body: bytes, position: int) -> tuple[bytes, int]:
    blank = body.find(b" ", position, position + 20)
    digits = body[position:blank]
    if blank < 0 or not digits.isdigit():
        raise FrameError("counted string without its length")
    start = blank + 1
    end = start + int(digits)
    if body[end : end + 1] != b"\n":
        raise FrameError("counted string of another length than announced")
    return body[start:end], end + 1


def read_line(body: bytes) -> bytes:
    """The event line of a frame body; raises `FrameError` when the body is no event."""
    magic, position = _read_string(body, 0)
    if magic != MAGIC:
        raise FrameError("decoding event string failed")
    line, end = _read_string(body, position)
    if end != len(body):
        raise FrameError(f"{len(body) - end} bytes after the event")
    return line


def write_reply(reply: Reply) -> bytes:
    """The framed reply."""
    if reply is OK:
        return _OK_BYTES
    text = reply.text.encode("utf-8", "surrogateescape")
    return _framed(b"%d\n%d\n%s" % (reply.major, reply.minor, _string(text)))


_OK_BYTES: Final = _framed(b"0\n0\n" + _string(b"OK"))


_NUMBERS = re.compile(rb"(-?\d{1,9})\n(-?\d{1,9})\n")


def read_reply(body: bytes) -> Reply:
    """The reply of a frame body; raises `FrameError`."""
    numbers = _NUMBERS.match(body)
    if numbers is None:
        raise FrameError(f"reply {body[:40]!r} does not begin with two numbers")
    text, _ = _read_string(body, numbers.end())
    return Reply(int(numbers[1]), int(numbers[2]), text.decode("utf-8", "surrogateescape"))


#: Errors that another try does not mend. Loggers of the C implementation repeat 700 for ever
#: unless its minor is ENOENT, so these become 400 for them (wire-logging.md §7).
_PERMANENT: Final = frozenset({errno.EEXIST, errno.EINVAL, errno.EIDRM, errno.E2BIG})

#: Trouble of the server's database: another try may do. Loggers of the C implementation drop an event
#: that is answered with 400, so these are sent as an I/O error.
_TRANSIENT: Final = frozenset({Code.DB_INIT, Code.DB_CALL, Code.DB_DEADLOCK, Code.DB_LOST_CONNECTION})


def reply_for(error: LBError, *, direct: bool) -> Reply:
    """The reply that tells an error to its sender; `direct`: to a producer, not to an interlogger."""
    code = error.code
    if code == 0:
        return OK
    if code == errno.ENOMEM:
        return Reply(Major.NOMEM, 0, error.description)
    if code == errno.EPERM:
        return Reply(Major.PERM, 0, error.description)
    if code == Code.IL_PROTO:
        return Reply(Major.PROTO, 0, error.description)
    if code in _TRANSIENT:
        return Reply(Major.DBERR, errno.EIO, error.description)
    if code > 1400 or (code in _PERMANENT and not direct):
        return Reply(Major.PROTO, code, error.description)
    return Reply(Major.DBERR, code, error.description)


def is_permanent(reply: Reply) -> bool:
    """Whether a refused event must not be sent again (wire-logging.md §7, with its fixes).

    Unknown job (700/2) and a permission are final too; replies with unknown majors count as refusals.
    """
    if reply.major == Major.PROTO:
        return reply.minor not in _TRANSIENT
    if reply.major in (Major.NOMEM, Major.DBERR):
        return reply.minor == errno.ENOENT or reply.minor in _PERMANENT
    return reply.major != Major.OK


def error_of(reply: Reply) -> LBError | None:
    """What a direct producer's caller is told, None for success (wire-logging.md §8.1).

    The C library says 1417 for any 400; here the caller gets the number that the server gave with it.
    """
    if reply.major == Major.OK:
        return None
    if reply.major == Major.NOMEM:
        return LBError(errno.ENOMEM, reply.text)
    if reply.major == Major.PERM:
        return LBError(errno.EPERM, reply.text)
    if reply.major in (Major.DBERR, Major.PROTO) and reply.minor:
        return LBError(reply.minor, reply.text)
    return LBError(Code.IL_PROTO, reply.text)
