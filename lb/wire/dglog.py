"""Producer messages: how a producer hands an event line to a logger (spec: wire-logging.md §4).

``DGLOG``, a little-endian length, the line with LF and NUL; the answer is one little-endian error number.
What a line says is not looked at.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

from lb.model.errors import Code, LBError
from lb.wire.lengthprefix import LengthPrefixError, LengthPrefixReader

MAGIC: Final = b"DGLOG"
HEADER: Final = 9
#: Longest message taken by default, bytes: the longest line and its NUL (wire-logging.md §11).
MAX_MESSAGE: Final = 102_400_001
#: Protocol name by which our own producers and loggers recognise each other in TLS (ALPN) and then pipeline.
ALPN: Final = b"lb-dglog/1"

_LENGTH = struct.Struct("<i")
_ANSWER = struct.Struct("<i")


class MessageError(LengthPrefixError):
    """A header that is none: answered with EINVAL, then the connection is closed.

    `complete` holds the lines of the messages before it.
    """


class MessageReader(LengthPrefixReader):
    """Cuts a stream into messages, each returned as its line up to the first NUL."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        """`max_message`: greatest length announced, bytes."""
        super().__init__(HEADER)
        self._max_message = max_message

    def feed(self, data: bytes) -> list[bytes]:
        """Lines that `data` completes; raises `MessageError`."""
        try:
            return list(map(_line, super().feed(data)))
        except MessageError as error:
            error.complete = list(map(_line, error.complete))
            raise

    def announced(self, header: bytes) -> int:
        if not header.startswith(MAGIC):
            raise MessageError("message does not begin with DGLOG")
        length: int = _LENGTH.unpack_from(header, len(MAGIC))[0]
        if not 0 < length <= self._max_message:
            raise MessageError(f"message of {length} bytes, 1 to {self._max_message} are taken")
        return length


def _line(message: bytes) -> bytes:
    return message[:-1] if message.find(b"\0") == len(message) - 1 else message.partition(b"\0")[0]


def message(line: bytes) -> bytes:
    """The message that carries a line; LF and NUL are added where missing."""
    if not line.endswith(b"\n"):
        line += b"\n"
    return b"".join((MAGIC, _LENGTH.pack(len(line) + 1), line, b"\0"))


def answer(code: int) -> bytes:
    """The four bytes that answer a message."""
    return _ANSWER.pack(code)


class AnswerReader:
    """Cuts a logger's answers out of a stream."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[int]:
        """Error numbers, 0 = stored."""
        data = self._held + data
        whole = len(data) - len(data) % _ANSWER.size
        self._held = data[whole:]
        return [code for (code,) in _ANSWER.iter_unpack(data[:whole])]


#: Answers that a caller of the logging API sees as they are (wire-logging.md §4.7).
_KEPT: Final = frozenset(
    {
        0,
        errno.EINVAL,
        errno.ENOSPC,
        errno.ENOMEM,
        errno.ENOTCONN,
        errno.ECONNREFUSED,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EPERM,
        Code.GSS,
        Code.DNS,
    }
)
_MEANING: Final = {
    Code.BROKEN_ULM: "the logger cannot read the line",
    Code.EVENT_UNDEFINED: "the logger does not know this type of event",
    Code.MESSAGE_INCOMPLETE: "the logger misses a mandatory field",
    Code.KEY_DUPLICITY: "the logger found a field twice",
    Code.KEY_MISUSE: "the logger found a field of another event type",
    Code.IL_PROTO: "the server could not read the event; it is in the logger's quarantine",
    Code.IL_SYS: "the server refused the event; it is in the logger's quarantine",
    Code.IL_EVENTS_WAITING: "events are still waiting at the logger",
    errno.EAGAIN: "the logger has stored the event and will deliver it, the server has not confirmed it yet",
}


def error_of(code: int) -> LBError | None:
    """What the caller of the logging API is told, None for success.

    Errors of the line itself become EINVAL, so that nobody repeats them; what is left becomes EAGAIN.
    """
    if code == 0:
        return None
    meaning = _MEANING.get(code, f"the logger answered {code}")
    if code in _KEPT:
        return LBError(code, meaning)
    return LBError(errno.EINVAL if Code.BROKEN_ULM <= code <= Code.KEY_MISUSE else errno.EAGAIN, meaning)
