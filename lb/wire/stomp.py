"""STOMP 1.0 to 1.2 frames: bytes in, frames out, and back (the protocol's specifications at stomp.github.io).

It takes bytes cut anywhere and refuses whatever is too long before memory is spent on it; bodies are any bytes.
Who may send which frame when is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from lb.model.errors import invalid

#: Versions that we speak, the best first.
VERSIONS: Final = ("1.2", "1.1", "1.0")
#: What an idle side sends so that the other one knows it is there.
HEARTBEAT: Final = b"\n"

#: What a character of a header becomes; a backslash has to be the first.
_ESCAPES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "1.0": (),
    "1.1": (("\\", "\\\\"), ("\n", "\\n"), (":", "\\c")),
    "1.2": (("\\", "\\\\"), ("\n", "\\n"), (":", "\\c"), ("\r", "\\r")),
}
_UNESCAPES: Final = {
    version: {escaped[1:]: plain for plain, escaped in escapes} for version, escapes in _ESCAPES.items()
}
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
#: Whether any character of a text may have to be escaped, or cannot be sent at all.
_SPECIAL = re.compile(r"[\\\n\r:\0]")
#: Frames that are written without escapes, since they tell which version both sides speak.
_HANDSHAKE: Final = frozenset({"CONNECT", "STOMP", "CONNECTED"})

#: How frames begin whose headers somebody else than the broker made up: they may hold a NUL.
_FROM_OTHERS: Final = (b"MESSAGE\n", b"MESSAGE\r\n")

_LF, _CR = 0x0A, 0x0D


class Limits(NamedTuple):
    """Bounds of what is read."""

    headers: int = 256  #: of one frame
    line: int = 65_536  #: command or header, bytes
    head: int = 262_144  #: command and all headers, bytes
    body: int = 134_217_728  #: bytes; the longest event line has 102,400,000


class Frame(NamedTuple):
    """One frame. Of a repeated header the first counts, as the specifications say."""

    command: str
    headers: Mapping[str, str]
    body: bytes = b""


class StompError(Exception):
    """Bytes that are no frame: nothing after them can be read. `complete` holds the frames before them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.complete: list[Frame] = []


# --- writing --------------------------------------------------------------------------------------------------


def write(frame: Frame, version: str = "1.2") -> bytes:
    """The frame's bytes, with a content-length wherever there is a body.

    Raises EINVAL for what the version cannot express: a NUL in a header, before 1.2 a CR, in 1.0 and in the first
    frames of a connection also a line feed, and a colon in the name of a header.
    """
    command, headers, body = frame
    if command in _HANDSHAKE:
        version = "1.0"
    lines = [command]
    for name, value in headers.items():
        if _SPECIAL.search(name):
            name = _escaped(name, version, name=True)
        if _SPECIAL.search(value):
            value = _escaped(value, version, name=False)
        lines.append(f"{name}:{value}")
    if body and "content-length" not in headers:
        lines.append(f"content-length:{len(body)}")
    lines.append("\n")
    try:
        return b"%b%b\0" % ("\n".join(lines).encode("utf-8", "surrogateescape"), body)
    except UnicodeEncodeError:
        raise invalid("half a character in a STOMP header") from None


def _escaped(text: str, version: str, *, name: bool) -> str:
    for plain, escaped in _ESCAPES[version]:
        text = text.replace(plain, escaped)
    # 1.2 allows lines to end with CR LF, so that a CR at the end of a value would be lost if it stood for itself.
    if "\0" in text or "\n" in text or "\r" in text or (name and ":" in text):
        raise invalid(f"{text[:80]!r} cannot be a header of a STOMP {version} frame")
    return text


# --- reading --------------------------------------------------------------------------------------------------


class _Head(NamedTuple):
    """The part of a frame before its body; `length` None: the body ends at the first NUL."""

    command: str
    headers: dict[str, str]
    length: int | None


class FrameReader:
    """Cuts a stream into frames. `version` is how headers are escaped; the frame CONNECTED sets it."""

    def __init__(self, limits: Limits = Limits(), version: str = "1.2") -> None:  # noqa: B008  # immutable
        self.version = version
        self._limits = limits
        self._begun = bytearray()  # of a frame without its end; once `_head` is there, of its body only
        self._head: _Head | None = None
        self._failed: StompError | None = None

    @property
    def held(self) -> int:
        """Bytes kept of a frame that has begun and not ended."""
        return len(self._begun)

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that `data` completes; raises StompError, and again whenever it is fed after that."""
        if self._failed is not None:
            raise StompError(str(self._failed))
        frames: list[Frame] = []
        try:
            if self._begun or self._head is not None:
                if self._waits(data):
                    self._begun += data
                    return frames
                data = bytes(self._begun) + data
            self._begun = bytearray(data[self._read(data, frames) :])
        except StompError as error:
            error.complete = frames
            self._failed = error
            self._begun = bytearray()
            raise
        return frames

    def _waits(self, data: bytes) -> bool:
        """Whether the begun frame cannot go on with these bytes: they are kept without a second look at the others."""
        size = len(self._begun) + len(data)
        if self._head is None:
            return b"\n" not in data and size <= self._limits.line
        if self._head.length is None:
            return b"\0" not in data and size <= self._limits.body
        return size <= self._head.length

    def _read(self, data: bytes, frames: list[Frame]) -> int:
        """Add all complete frames; return how many bytes are done with."""
        position, size = 0, len(data)
        head = self._head
        while True:
            if head is None:
                while position < size and (data[position] == _LF or data[position] == _CR):
                    position += 1
                found = self._find_head(data, position)
                if found is None:
                    break
                end, position_after = found
                head = self._read_head(data[position:end])
                position = position_after
            if head.length is None:
                end = data.find(b"\0", position, position + self._limits.body + 1)
                if end < 0:
                    if size - position > self._limits.body:
                        raise StompError(f"body of more than {self._limits.body} bytes")
                    break
            else:
                end = position + head.length
                if end >= size:
                    break
                if data[end]:
                    raise StompError(f"no NUL after the {head.length} bytes of a body")
            frames.append(Frame(head.command, head.headers, data[position:end]))
            position = end + 1
            head = None
        self._head = head
        return position

    def _find_head(self, data: bytes, position: int) -> tuple[int, int] | None:
        """Where the headers end and where the body begins, None when the empty line is not there yet."""
        until = position + self._limits.head
        end = data.find(b"\n\n", position, until)
        # Lines of 1.2 may end with CR LF; the body may hold an empty line of its own.
        other = data.find(b"\n\r\n", position, end + 1 if end >= 0 else until)
        if other >= 0:
            return other, other + 3
        if end >= 0:
            return end, end + 2
        if data.count(b"\n", position, until) > self._limits.headers:
            raise StompError(f"frame of more than {self._limits.headers} headers")
        if len(data) > until:
            raise StompError(f"headers of more than {self._limits.head} bytes")
        self._check_lines(data[position:])
        return None

    def _read_head(self, head: bytes) -> _Head:
        # Brokers hand on what other protocols let into a header: refused, it would block its queue for ever.
        if b"\0" in head and (b"\n\0" in head or not head.startswith(_FROM_OTHERS)):
            raise StompError("frame without an empty line after its headers")
        lines = head.decode("utf-8", "surrogateescape").split("\n")
        if len(lines) > self._limits.headers + 1:
            raise StompError(f"frame of {len(lines) - 1} headers, at most {self._limits.headers} are taken")
        self._check_lines(head)
        if b"\r" in head:
            lines = [line.removesuffix("\r") for line in lines]
        command = lines[0]
        if not command:
            raise StompError("frame without a command")
        headers: dict[str, str] = {}
        plain = b"\\" not in head or command in _HANDSHAKE or self.version == "1.0"
        trimmed = self.version == "1.0"
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise StompError(f"header {line[:80]!r} without a colon")
            if not plain:
                name, value = self._unescaped(name), self._unescaped(value)
            elif trimmed:
                name, value = name.strip(" \t"), value.strip(" \t")
            if name not in headers:
                headers[name] = value
        if command == "CONNECTED":
            self._agree(headers.get("version", "1.0"))
        return _Head(command, headers, self._length(headers))

    def _agree(self, version: str) -> None:
        if version not in _UNESCAPES:
            raise StompError(f"version {version[:20]!r} is none of {', '.join(VERSIONS)}")
        self.version = version

    def _check_lines(self, lines: bytes) -> None:
        longest = self._limits.line
        if len(lines) > longest and max(map(len, lines.split(b"\n"))) > longest:
            raise StompError(f"line of more than {longest} bytes")

    def _length(self, headers: Mapping[str, str]) -> int | None:
        text = headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise StompError(f"content-length {text[:40]!r} is no number")
        length = int(text)
        if length > self._limits.body:
            raise StompError(f"body of {length} bytes, at most {self._limits.body} are taken")
        return length

    def _unescaped(self, text: str) -> str:
        if "\\" not in text:
            return text
        meanings = _UNESCAPES[self.version]
        try:
            return _ESCAPED.sub(lambda found: meanings[found[1]], text)
        except KeyError:
            raise StompError(f"header {text[:80]!r} has an escape that STOMP {self.version} does not know") from None


# --- heart-beats ----------------------------------------------------------------------------------------------

_BEATS = re.compile(r"(\d{1,9}),(\d{1,9})", re.ASCII)


def heartbeats(ours: tuple[int, int], header: str | None) -> tuple[int, int]:
    """What two sides agree on: milliseconds between our signs of life and between theirs, 0 = none.

    `ours`: what we can send and want to get; `header`: the other side's ``heart-beat``. Raises EINVAL.
    """
    found = _BEATS.fullmatch(header or "0,0")
    if found is None:
        raise invalid(f"heart-beat {header!r} is not two numbers of milliseconds")
    can_send, wants = int(found[1]), int(found[2])
    return _interval(ours[0], wants), _interval(can_send, ours[1])


def _interval(sent: int, wanted: int) -> int:
    return max(sent, wanted) if sent and wanted else 0
