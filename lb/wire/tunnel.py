"""Message lines: any message on its way through a logger to a destination at a broker (docs/protocol.md).

A line of fields like that of an event, whose last field is the body, as text or as base64. The reader is strict, its
work is linear in the length of the line, and a sender in the line is never believed by who takes it from a producer.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from lb.bound import KIBIBYTE
from lb.model.catalogue import LEVEL_NAMES, LEVEL_SYSTEM, Priority
from lb.model.errors import Code, ParseError, invalid
from lb.wire.ulmfields import QUOTED, broken, decode, encode, split, without
from lb.wire.ulmvalues import escape, read_date, read_integer, unescape, write_date

#: What tells a message from an event; no value holds it, for quotes within values are escaped.
MESSAGE_MARK: Final = b'DG.TYPE="message"'

MAX_DESTINATION: Final = 512  #: characters
MAX_HEADERS: Final = 64
#: Characters of all names and values of headers together: they share a frame of 128 KiB with AMQP brokers.
MAX_HEADER_TEXT: Final = 16 * KIBIBYTE
#: Bytes of an id, a content type, a correlation id, a reply address: short strings of AMQP.
MAX_SHORT: Final = 255
HIGHEST_PRIORITY: Final = 9
#: RabbitMQ's name for whoever sends: it closes the channel of a sender that does not wait for replies.
_OWN_REPLIES: Final = "amq.rabbitmq.reply-to"

_TYPE, _DESTINATION = "DG.TYPE", "DG.DEST"
_PREFIX: Final = "DG.MESSAGE."
_BODY: Final = b' DG.MESSAGE.BODY="'
_DATE, _HOST, _USER, _FLAGS = "DATE", "HOST", "DG.USER", "DG.PRIORITY"
#: What a logger says of a line, and a producer has no say in; the last is an old name of the receipt.
_OF_LOGGERS: Final = frozenset({_USER, "DG.LLLID", "DG.LLPID"})
_MAY_BE_OF_LOGGERS = re.compile(r"DG\.(?:USER|LLLID|LLPID)=", re.IGNORECASE)
_TEXT, _BASE64 = "text", "base64"
_ID = re.compile(rf"[!-~]{{1,{MAX_SHORT}}}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
#: Headers that mean something to a broker or to us, whatever protocol carries the message; in lower case.
RESERVED: Final = frozenset(
    {"ack", "app-id", "auto-delete", "bcc", "browser", "cc", "cluster-id", "content-encoding", "content-length",
     "content-type", "correlation-id", "destination", "durable", "exclusive", "expiration", "expires", "id", "login",
     "message-id", "passcode", "persistent", "priority", "receipt", "receipt-id", "redelivered", "reply-to",
     "selector", "subscription", "timestamp", "transaction", "type", "user-id", "x-expires", "x-message-ttl",
     "x-overflow", "x-single-active-consumer"}
)  # fmt: skip
RESERVED_PREFIXES: Final = ("activemq", "amq", "jms", "lb-", "transformation", "x-dead-letter", "x-max-", "x-queue-")
#: Neither brokers nor terminals are given control characters in what is no body.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Message(msgspec.Struct, frozen=True):
    """A message and where it goes: `destination` is an ``x-msg:`` address, which is not looked into here.

    `id` stays the same however often the message travels. Times are microseconds since the epoch; after `expires`
    nobody wants it. `priority` 0…9, None for the broker's usual one. `user`: who sent it, as the logger knows it,
    empty before. `flags`: DG.PRIORITY, as of events.
    """

    destination: str
    body: bytes
    id: str
    timestamp: int
    host: str
    content_type: str = ""
    headers: Mapping[str, str] = {}
    persistent: bool = True
    expires: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    user: str = ""
    flags: int = int(Priority.LOCAL)


# --- writing --------------------------------------------------------------------------------------------------

_LEVEL: Final = LEVEL_NAMES[LEVEL_SYSTEM]


def write(message: Message) -> bytes:
    """The line, with its final blank and LF, and without the user: that is not for a producer to say.

    Raises EINVAL for a message that no logger takes.
    """
    _check(message)
    m = message
    body, encoding = _written(m.body)
    fields = {
        "ID": m.id,
        "CONTENT_TYPE": m.content_type,
        "PERSISTENT": "1" if m.persistent else "0",
        "PRIORITY": "" if m.priority is None else str(m.priority),
        "EXPIRES": "" if m.expires is None else write_date(m.expires),
        "CORRELATION_ID": m.correlation_id or "",
        "REPLY_TO": m.reply_to or "",
        "HEADERS": msgspec.json.encode(m.headers).decode() if m.headers else "",
        "ENCODING": encoding,
    }
    head = (
        f'DATE={write_date(m.timestamp)} HOST="{escape(m.host)}" PROG=edg-wms LVL={_LEVEL} DG.PRIORITY={m.flags} '
        f'{_TYPE}="message" {_DESTINATION}="{escape(m.destination)}"'
    )
    head += "".join(f' {_PREFIX}{key}="{escape(text)}"' for key, text in fields.items() if text)
    return b"".join((encode(head), _BODY, body, b'" \n'))


def _written(body: bytes) -> tuple[bytes, str]:
    """The body as it stands between quotes, and how it is written: as text where it is text."""
    if b"\0" not in body:
        try:
            body.decode()
        except UnicodeDecodeError:
            pass
        else:
            return body.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n"), _TEXT
    return binascii.b2a_base64(body, newline=False), _BASE64


# --- checks ---------------------------------------------------------------------------------------------------


def _check(message: Message) -> None:
    m = message
    if not 0 < len(m.destination) <= MAX_DESTINATION:
        raise invalid(f"the destination of a message has 1 to {MAX_DESTINATION} characters")
    if not _ID.fullmatch(m.id):
        raise invalid(f"the id of a message is 1 to {MAX_SHORT} visible ASCII characters")
    if m.priority is not None and not 0 <= m.priority <= HIGHEST_PRIORITY:
        raise invalid(f"the priority of a message is 0 to {HIGHEST_PRIORITY}")
    shorts = {"content type": m.content_type, "correlation id": m.correlation_id, "reply address": m.reply_to}
    for name, text in shorts.items():
        if text and len(_plain(name, text)) > MAX_SHORT:
            raise invalid(f"the {name} of a message has at most {MAX_SHORT} bytes")
    for name, text in {"destination": m.destination, "host": m.host}.items():
        _plain(name, text)
    if m.reply_to and (m.reply_to.startswith("/temp-") or m.reply_to == _OWN_REPLIES):
        raise invalid(
            "the reply address of a message is one that its sender can read, no temporary queue of the logger"
        )
    if m.headers:
        _check_headers(m.headers)


def _plain(name: str, text: str) -> bytes:
    if _CONTROL.search(text):
        raise invalid(f"the {name} of a message has no control characters")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid(f"the {name} of a message is UTF-8") from None


def _check_headers(headers: Mapping[str, str]) -> None:
    if len(headers) > MAX_HEADERS or sum(len(name) + len(text) for name, text in headers.items()) > MAX_HEADER_TEXT:
        raise invalid(f"a message has at most {MAX_HEADERS} headers, of {MAX_HEADER_TEXT} characters together")
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise invalid(f"the header {name[:80]!r}: names are letters, digits, '.', '_' and '-', up to 128")
        if name.lower() in RESERVED or name.lower().startswith(RESERVED_PREFIXES):
            raise invalid(f"the header {name} has a meaning of its own to brokers, no sender can set it")
        if b"\0" in (text.encode() if text.isascii() else _utf8(name, text)):
            raise invalid(f"the header {name}: NUL in its value")


def _utf8(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid(f"the header {name}: its value is UTF-8") from None


# --- reading --------------------------------------------------------------------------------------------------


def read(line: bytes) -> Message:
    """Read a line, with or without its LF. Fields that nobody knows are passed over.

    Raises `ParseError` 1401 broken, 1402 no message, 1403 incomplete, 1404 duplicate key, and EINVAL for values
    that cannot be.
    """
    return _read(*_cut(line), user=None)


def receive(line: bytes, user: str, receipt: int) -> tuple[Message, bytes]:
    """Read a producer's line as a logger does: the message, and the line to store, without LF.

    The stored line begins with the receipt number and the authenticated `user`; a DG.USER or DG.LLLID of the
    producer is taken out, for identity never comes from a message (P7). Raises as `read`.
    """
    head, body = _cut(line)
    message = _read(head, body, user=user)
    if _MAY_BE_OF_LOGGERS.search(head):
        head = without(head, _OF_LOGGERS)
    kept = head.strip(" ")
    front = f'DG.LLLID={receipt} {_USER}="{escape(user)}" {kept}'
    return message, b"".join((encode(front), _BODY, body, b'" '))


def _cut(line: bytes) -> tuple[str, bytes]:
    """The fields before the body as text, and the body as it stands between its quotes."""
    if b"\0" in line:
        raise broken()
    start = line.find(_BODY)
    if start < 0:
        _read_fields(decode(line).rstrip("\n"))  # whatever else may be wrong is said first
        raise _incomplete(f"{_PREFIX}BODY")
    end = len(line.rstrip(b" \n\r")) - 1
    if end < start + len(_BODY) or line[end : end + 1] != b'"':
        raise broken()
    return decode(line[:start]), line[start + len(_BODY) : end]


def _incomplete(key: str) -> ParseError:
    return ParseError(Code.MESSAGE_INCOMPLETE, f"Message incomplete, missing or empty field {key}.")


#: Fields of a line as `write` and `receive` make it: key, value, whether it may be missing.
_FORM: Final = (
    (_USER, rf'"({QUOTED})"', True),
    (_DATE, r"(\d{14}\.\d{6})", False),
    (_HOST, rf'"({QUOTED})"', False),
    ("PROG", "(edg-wms)", False),
    ("LVL", r"(\w+)", False),
    (_FLAGS, r"(\d{1,9})", False),
    (_TYPE, '"(message)"', False),
    (_DESTINATION, rf'"({QUOTED})"', False),
    (f"{_PREFIX}ID", rf'"({QUOTED})"', False),
    *(
        (f"{_PREFIX}{name}", rf'"({QUOTED})"', True)
        for name in (
            "CONTENT_TYPE", "PERSISTENT", "PRIORITY", "EXPIRES", "CORRELATION_ID", "REPLY_TO", "HEADERS", "ENCODING"
        )
    ),
)  # fmt: skip
_KEYS: Final = tuple(key for key, _, _ in _FORM)
#: A third of the time of the general reader, which has the same result.
_match = re.compile(
    r"(?:DG\.LLLID=-?\d+ )?"
    + "".join(rf"(?:{re.escape(key)}={value}(?: |\Z)){'?' if optional else ''}" for key, value, optional in _FORM)
    + r"\Z",
    re.DOTALL | re.ASCII,
).match


def _read_head(text: str) -> dict[str, str]:
    found = _match(text)
    if found is not None and "\n" not in text:
        return {key: unescape(value) for key, value in zip(_KEYS, found.groups(), strict=True) if value is not None}
    return _read_fields(text)


def _read_fields(text: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    if "\n" in text:  # spools and receivers of the C implementation split lines there
        raise broken()
    for field in split(text):
        if field.key in texts and field.key not in _OF_LOGGERS:
            raise ParseError(Code.KEY_DUPLICITY, f"Key {field.key} already exists.")
        texts.setdefault(field.key, field.value)
    if texts.get(_TYPE) != "message":
        raise ParseError(Code.EVENT_UNDEFINED, "line that is no message")
    return texts


def _read(head: str, body: bytes, *, user: str | None) -> Message:
    texts = _read_head(head)

    def text(name: str) -> str:
        return texts.get(_PREFIX + name, "")

    for key in (_DATE, _DESTINATION, f"{_PREFIX}ID"):
        if not texts.get(key):
            raise _incomplete(key)
    timestamp = read_date(texts[_DATE])
    if timestamp is None:
        raise _incomplete(_DATE)
    message = Message(
        destination=texts[_DESTINATION],
        body=_read_body(body, text("ENCODING")),
        id=text("ID"),
        timestamp=timestamp,
        host=texts.get(_HOST, ""),
        content_type=text("CONTENT_TYPE"),
        headers=_read_headers(text("HEADERS")),
        persistent=_one_of(text("PERSISTENT") or "1", {"0": False, "1": True}, "PERSISTENT"),
        expires=_read_expiry(text("EXPIRES")),
        priority=_read_priority(text("PRIORITY")),
        correlation_id=text("CORRELATION_ID") or None,
        reply_to=text("REPLY_TO") or None,
        user=texts.get(_USER, "") if user is None else user,
        flags=read_integer(texts.get(_FLAGS, "")),
    )
    _check(message)
    return message


def _read_body(body: bytes, encoding: str) -> bytes:
    if not encoding or encoding == _TEXT:
        return _unescaped(body)
    if encoding != _BASE64:
        raise invalid(f"{_PREFIX}ENCODING is {_TEXT} or {_BASE64}")
    try:
        return binascii.a2b_base64(body, strict_mode=True)
    except binascii.Error as error:
        raise invalid(f"{_PREFIX}BODY is no base64: {error}") from None


def _unescaped(body: bytes) -> bytes:
    """Undo the escapes, all in whole passes: a loop over the escapes of 10 MB would hold up everybody."""
    if b"\\" not in body:
        if b'"' in body or b"\n" in body:
            raise broken()
        return body
    # A line has no NUL, so it can stand for a pair of backslashes.
    single = body.replace(b"\\\\", b"\0")
    if b"\n" in body or single.count(b'"') != single.count(b'\\"') or single.endswith(b"\\"):
        raise broken()
    return single.replace(b"\\n", b"\n").replace(b"\\", b"").replace(b"\0", b"\\")


def _one_of(text: str, values: Mapping[str, bool], name: str) -> bool:
    if text not in values:
        raise invalid(f"{_PREFIX}{name} is {' or '.join(values)}")
    return values[text]


def _read_expiry(text: str) -> int | None:
    if not text:
        return None
    expires = read_date(text)
    if expires is None:
        raise invalid(f"{_PREFIX}EXPIRES is no time of the form YYYYMMDDhhmmss.uuuuuu")
    return expires


def _read_priority(text: str) -> int | None:
    if not text:
        return None
    if len(text) > 1 or text not in "0123456789":
        raise invalid(f"{_PREFIX}PRIORITY is 0 to {HIGHEST_PRIORITY}")
    return int(text)


def _read_headers(text: str) -> Mapping[str, str]:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, str])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise invalid(f"{_PREFIX}HEADERS is no JSON object of texts") from None
