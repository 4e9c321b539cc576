"""The HTTP/1.1 of the query protocol: requests and responses between bytes and values (spec: wire-query.md §3).

Readers take bytes cut anywhere and give whole messages; a body is framed by Content-Length alone. What breaks the
rules or a bound becomes a `Refusal` with the status to answer; nothing after it is read.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from lb.model.errors import Code, LBError
from lb.wire.http_status import REASONS

#: Longest request line or header line, bytes, without its CR LF: the receive buffer of the C server.
MAX_LINE: Final = 8192
#: Longest head, bytes; C clients send some 180.
MAX_HEAD: Final = 65_536
#: Longest body of a request, bytes (see `lbxml.tree.REQUEST_LIMITS`) and of a response (`ANSWER_LIMITS`).
MAX_REQUEST_BODY: Final = 8 << 20
MAX_RESPONSE_BODY: Final = 1 << 30

PROTOCOL_TYPE: Final = "application/x-dglb"
#: What browsers add to requests that a page makes, and no program of ours sends.
_BROWSERS: Final = frozenset({"origin", "sec-fetch-site", "sec-fetch-mode"})
#: What C programs call themselves; the numbers are the protocol version and those they can also speak.
CLIENT_NAME: Final = "edg_wll_Api/3.0/3.0"
SERVER_NAME: Final = "edg_wll_Server/3.0/3.0"

_VERSION: Final = 3.0

# --- messages ---------------------------------------------------------------------------------------------------


class Request:
    """One request. `headers`: lower-case name → value, values of a repeated header joined by ``, ``."""

    __slots__ = ("body", "head", "headers", "method", "path")

    def __init__(self, method: str, path: str, headers: dict[str, str], head: bytes) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.head = head  #: the bytes up to and with the empty line
        self.body = b""

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())

    @property
    def protocol_mode(self) -> bool:
        """A protocol client, to be answered in XML; else a browser (wire-query.md §3.4).

        A foreign page can have a browser accept any type, but not leave out what says that a browser sends it: requests
        of the protocol change things, in the name of the browser's certificate.
        """
        return PROTOCOL_TYPE in self.headers.get("accept", "") and not _BROWSERS.intersection(self.headers)


class Response:
    """One response; `headers` as in `Request`."""

    __slots__ = ("body", "headers", "reason", "status")

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = b""


class Refusal(NamedTuple):
    """Why a message is not read, and what to answer before the connection is closed."""

    status: int
    reason: str


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        self.refusal = Refusal(status, reason)


# --- reading ----------------------------------------------------------------------------------------------------

Message = TypeVar("Message", Request, Response)


class _MessageReader(ABC, Generic[Message]):
    """Cuts a stream into messages. `refusal` is set when the peer broke the rules; it takes no more after that."""

    def __init__(self, max_body: int, max_head: int) -> None:
        self.refusal: Refusal | None = None
        self._max_body = max_body
        self._max_head = max_head
        self._buffer = bytearray()
        #: Where the current line of the head starts, and from where on its end has not been looked for.
        self._line = 0
        self._scanned = 0
        #: The message whose body is awaited, and the length of that.
        self._message: Message | None = None
        self._length = 0

    @property
    def idle(self) -> bool:
        """True between messages: a connection that ends here ends well."""
        return self._message is None and not self._buffer

    @property
    def held(self) -> int:
        """Bytes kept of a message that has begun."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes; the messages that are complete with them, in order."""
        messages: list[Message] = []
        if self.refusal is None:
            self._buffer += data
            try:
                while (message := self._next()) is not None:
                    messages.append(message)
            except _RefusedError as refused:
                self.refusal = refused.refusal
                self._buffer.clear()
        return messages

    def _next(self) -> Message | None:
        message = self._message
        if message is None:
            head = self._next_head()
            if head is None:
                return None
            message = self._begin(head)
            if message is None:
                return None
            self._length = self._body_length(message)
            self._message = message
        if len(self._buffer) < self._length:
            return None
        if self._length:
            message.body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
        self._message = None
        return message

    def _next_head(self) -> bytes | None:
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n", self._scanned)
            # An unfinished line may still get the LF of its CR LF.
            if (end if end >= 0 else len(buffer) - 1) - self._line > MAX_LINE:
                raise _RefusedError(400, f"HTTP Request {'HEAD' if self._line else 'FIRST'} line too long")
            if end < 0:
                self._scanned = max(self._line, len(buffer) - 1)
                return None
            if end == self._line:
                head = bytes(buffer[: end + 2])
                del buffer[: end + 2]
                self._line = self._scanned = 0
                if end:
                    return head
                continue  # empty lines before a message are passed over (RFC 9112 §2.2)
            self._line = self._scanned = end + 2
            if self._line > self._max_head:
                raise _RefusedError(400, "HTTP Request HEAD too long")

    @abstractmethod
    def _begin(self, head: bytes) -> Message | None:
        """The message that a head begins; None when it is not for this reader."""

    def _body_length(self, message: Message) -> int:
        if "transfer-encoding" in message.headers:
            raise _RefusedError(400, "Transfer-Encoding is not supported")
        text = message.headers.get("content-length")
        if text is None:
            return 0
        if not (text.isascii() and text.isdigit()):
            raise _RefusedError(400, "Content-Length is no number")
        if len(text) > 18 or int(text) > self._max_body:
            raise _RefusedError(413, f"Content Too Large: {text[:18]} bytes, more than {self._max_body}")
        return int(text)


def _split_head(head: bytes) -> tuple[str, dict[str, str]]:
    """First line and headers; each line of `head` ends in CR LF."""
    first, *lines = head[:-4].decode("utf-8", "surrogateescape").split("\r\n")
    line_ends = len(lines) + 2
    if head.count(b"\n") != line_ends or head.count(b"\r") != line_ends or b"\0" in head:
        raise _RefusedError(400, "control characters in the head")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or " " in name or "\t" in name:
            raise _RefusedError(400, "header line without a name")
        name = name.lower()
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return first, headers


class RequestReader(_MessageReader[Request]):
    """Reads requests, for a server.

    `hand_over` is asked at the end of each head; when it says yes, the request is left to another implementation of
    HTTP: `handed_over` is then that request (without its body) and `take_rest` gives all bytes from its head on.
    """

    def __init__(
        self,
        *,
        max_body: int = MAX_REQUEST_BODY,
        max_head: int = MAX_HEAD,
        hand_over: Callable[[Request], bool] = lambda request: False,
    ) -> None:
        super().__init__(max_body, max_head)
        self.handed_over: Request | None = None
        self._hand_over = hand_over

    def feed(self, data: bytes) -> list[Request]:
        """Take the next bytes; the requests that are complete with them. After a hand-over bytes are only kept."""
        if self.handed_over is not None:
            self._buffer += data
            return []
        return super().feed(data)

    def take_rest(self) -> bytes:
        """All bytes from the head of the request handed over; what is fed later can be taken again."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _begin(self, head: bytes) -> Request | None:
        first, headers = _split_head(head)
        parts = first.split(" ")
        if len(parts) != 3 or not parts[0] or not parts[1] or not parts[2].startswith("HTTP/1."):
            raise _RefusedError(400, REASONS[400])
        request = Request(parts[0], parts[1], headers, head)
        if self._hand_over(request):
            self.handed_over = request
            self._buffer[:0] = head
            return None
        if not request.path.startswith("/"):
            raise _RefusedError(400, REASONS[400])
        if request.method == "POST" and "content-length" not in headers:
            raise _RefusedError(400, "POST without Content-Length")
        return request


_STATUS_LINE = re.compile(r"HTTP/1\.\d (\d{3})(?: (.*))?", re.ASCII)


class ResponseReader(_MessageReader[Response]):
    """Reads responses, for a client. A response without Content-Length has no body."""

    def __init__(self, *, max_body: int = MAX_RESPONSE_BODY, max_head: int = MAX_HEAD) -> None:
        super().__init__(max_body, max_head)

    @property
    def error(self) -> LBError | None:
        """What the server did wrong."""
        return None if self.refusal is None else LBError(Code.SERVER_RESPONSE, self.refusal.reason)

    def _begin(self, head: bytes) -> Response:
        first, headers = _split_head(head)
        found = _STATUS_LINE.fullmatch(first)
        if found is None:
            raise _RefusedError(502, f"no HTTP response: {first[:80]!r}")
        return Response(int(found[1]), found[2] or "", headers)


# --- versions ---------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?)", re.ASCII)


def _number(text: str) -> float:
    # As C `strtod` reads it: 3.0.18 is 3.0, and what is no number is 0.
    found = _NUMBER.match(text)
    return float(found[1]) if found and len(found[1]) < 20 else 0.0


def negotiate(user_agent: str | None) -> int:
    """The status for a protocol client that calls itself so: 200 = served, 415 = versions do not meet, 400.

    Versions older than 3.0 are not spoken (wire-query.md §3.5, §11).
    """
    if user_agent == CLIENT_NAME:
        return 200
    if user_agent is None or "/" not in user_agent:
        return 400
    _, version, *compatible = user_agent.split("/", 2)
    if not compatible:
        return 415
    number = _number(version)
    if number == _VERSION:
        return 200
    return 200 if number > _VERSION and _VERSION in map(_number, compatible[0].split(",")) else 415


# --- writing ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _request_head(method: str, path: str, agent: str) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nCache-Control: no-cache\r\nAccept: {PROTOCOL_TYPE}\r\n"
        f"User-Agent: {agent}\r\nContent-Type: {PROTOCOL_TYPE}\r\n"
    ).encode("utf-8", "surrogateescape")


def request(method: str, path: str, body: bytes = b"", *, agent: str = CLIENT_NAME) -> bytes:
    """A request as C clients send it."""
    return _framed(_request_head(method, path, agent), len(body)) + body


def page_request(path: str, host: str) -> bytes:
    """A request for a page, as a script would send it: a protocol client's means something else."""
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain, */*\r\nUser-Agent: {CLIENT_NAME}\r\n\r\n"
    return head.encode("ascii")


@lru_cache(maxsize=256)
def _response_head(status: int, content_type: str, reason: str) -> bytes:
    return (
        f"HTTP/1.1 {status} {reason}\r\nCache-Control: no-cache\r\nServer: {SERVER_NAME}\r\n"
        f"Content-Type: {content_type}\r\n"
    ).encode("utf-8", "surrogateescape")


def response_head(status: int, length: int, *, content_type: str = PROTOCOL_TYPE, reason: str = "") -> bytes:
    """The head of a response whose body of `length` bytes follows; `reason` replaces the standard text."""
    return _framed(_response_head(status, content_type, reason or REASONS.get(status, "Unknown")), length)


def response(status: int, body: bytes = b"", *, content_type: str = PROTOCOL_TYPE, reason: str = "") -> bytes:
    """A response as the C server sends it."""
    return response_head(status, len(body), content_type=content_type, reason=reason) + body


def _framed(head: bytes, length: int) -> bytes:
    return b"%bContent-Length: %d\r\n\r\n" % (head, length) if length else head + b"\r\n"
