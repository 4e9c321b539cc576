"""Interlogger frames: how event lines reach a server and how it answers (spec: wire-logging.md §3).

A frame is a 17-byte header (length, right-aligned, LF) and a body of counted strings;
the reader takes bytes cut anywhere and never holds more than one announced frame.
"""

from __future__ import annotations

import errno
from typing import Final, NamedTuple

from lb.model.errors import Code, LBError

HEADER: Final = 17
MAGIC: Final = b"michal"
#: Largest frame taken by default, bytes: the longest line a producer may send, and its frame.
MAX_FRAME: Final = 102_400_128
#: Protocol name by which our own endpoints recognise each other in TLS (ALPN) and then pipeline.
ALPN: Final = b"lb-il/1"


class FrameError(Exception):
    """Bytes that are no frame: nothing after them can be read; `complete` holds the bodies that came before them."""

    def __init__(self, reason: str, complete: list[bytes] | None = None) -> None:
        super().__init__(reason)
        self.complete = complete if complete is not None else []


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


class FrameReader:
    """Cuts a stream into frame bodies."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._pieces: list[bytes] = []  # what has come of an unfinished frame
        self._held = 0
        self._needed = HEADER

    @property
    def held(self) -> int:
        """Bytes kept of a frame that has begun and not ended."""
        return self._held

    def feed(self, data: bytes) -> list[bytes]:
        """Bodies of the frames that `data` completes; raises `FrameError` at a bad header or length."""
        self._held += len(data)
        if self._held < self._needed:
            self._pieces.append(data)
            return []
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
        bodies: list[bytes] = []
        position, size = 0, len(data)
        self._needed = HEADER
        while size - position >= HEADER:
            start = position + HEADER
            try:
                end = start + self._length(data[position:start])
            except FrameError as error:
                error.complete = bodies
                raise
            if end > size:
                self._needed = end - position
                break
            bodies.append(data[start:end])
            position = end
        self._held = size - position
        if self._held:
            self._pieces.append(data[position:])
        return bodies

    def _length(self, header: bytes) -> int:
        digits = header[:16].lstrip(b" ")
        if header[16] != 0x0A or not digits.isdigit():
            raise FrameError(f"frame header {header!r} is not 16 blanks and digits and a line feed")
        length = int(digits)
        if not 0 < length <= self._max_frame:
            raise FrameError(f"frame of {length} bytes, at most {self._max_frame} are taken")
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


def read_reply(body: bytes) -> Reply:
    """The reply of a frame body; raises `FrameError`."""
    major, _, rest = body.partition(b"\n")
    minor, _, rest = rest.partition(b"\n")
    try:
        numbers = int(major), int(minor)
    except ValueError:
        raise FrameError(f"reply {body[:40]!r} does not begin with two numbers") from None
    text, _ = _read_string(rest, 0)
    return Reply(*numbers, text.decode("utf-8", "surrogateescape"))


#: Errors that asynchronous senders must not retry: loggers of the C implementation repeat 700 for ever
#: unless its minor is ENOENT, so these become 400 for them (wire-logging.md §7).
_PERMANENT: Final = frozenset({errno.EEXIST, errno.EINVAL, errno.EIDRM})


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
    if code > 1400 or (code in _PERMANENT and not direct):
        return Reply(Major.PROTO, code, error.description)
    return Reply(Major.DBERR, code, error.description)


#: Trouble of the server's database: another try may do, whatever the major says.
_TRANSIENT: Final = frozenset({Code.DB_INIT, Code.DB_CALL, Code.DB_DEADLOCK, Code.DB_LOST_CONNECTION})


def is_permanent(reply: Reply) -> bool:
    """Whether a refused event must not be sent again (wire-logging.md §7, with its fixes).

    Unknown job (700/2) and a permission are final too; replies with unknown majors count as refusals.
    """
    if reply.major == Major.PROTO:
        return reply.minor not in _TRANSIENT
    if reply.major in (Major.NOMEM, Major.DBERR):
        return reply.minor in (errno.ENOENT, errno.EEXIST, errno.EINVAL, errno.EIDRM)
    return reply.major != Major.OK


def error_of(reply: Reply) -> LBError | None:
    """What a direct producer's caller is told, None for success (wire-logging.md §8.1)."""
    if reply.major == Major.OK:
        return None
    if reply.major == Major.NOMEM:
        return LBError(errno.ENOMEM, reply.text)
    if reply.major == Major.PERM:
        return LBError(errno.EPERM, reply.text)
    if reply.major == Major.DBERR and reply.minor:
        return LBError(reply.minor, reply.text)
    if reply.major == Major.PROTO and reply.minor:
        return LBError(reply.minor, reply.text)
    return LBError(Code.IL_PROTO, reply.text)
