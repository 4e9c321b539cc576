"""Event lines as fields: bytes to text, text to ``KEY=value`` fields, fields out of a text (spec: model.md §4).

Knows the syntax of a line and nothing of events. A broken line is a `ParseError` 1401; nothing is guessed,
and the work is linear in the length of the line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from lb.model.errors import Code, ParseError, invalid
from lb.wire.ulmvalues import unescape

#: What stands between quotes; possessive, so that a line that does not fit is refused in linear time.
QUOTED: Final = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
_VALUE = rf'[^ \t\n"=\\]*+(?:"{QUOTED}"(?=[ \t\n\r\v\f]|\Z)[^ \t\n"=\\]*+)*+'
_KEY = r"[A-Za-z0-9.\-_]++"
#: A field, or a word that is no field and is passed over.
_TOKEN = re.compile(rf"[ \t]*+(?:({_KEY})=(?![ \t])({_VALUE})|({_VALUE}))(?=[ \t\n]|\Z)", re.DOTALL)
_REST_OF_LINE = re.compile(r"[ \t\n\r\v\f]*\Z")


class Field(NamedTuple):
    """One field: key in upper case, value without quotes and escapes, its place in the text."""

    key: str
    value: str
    start: int
    end: int


def decode(line: bytes) -> str:
    """The line as text: up to the first NUL, one CR before the final LF dropped."""
    if b"\0" in line:
        line = line[: line.index(b"\0")]
    if line.endswith(b"\r\n"):
        line = line[:-2] + b"\n"
    return line.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The text as bytes again; EINVAL for half characters, which no bytes stand for."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise invalid(f"half a character in {text[max(error.start - 20, 0) : error.end]!a}") from None


def broken() -> ParseError:
    """1401: the text is no line of fields."""
    return ParseError(Code.BROKEN_ULM, "ULM parse error")


def split(text: str) -> Iterator[Field]:
    """The fields of a line in order; raises 1401 where the line is broken."""
    for token in _fields(text):
        yield Field(token[1].upper(), _value(token[2]), token.start(1), token.end())


def first(text: str, key: str) -> str | None:
    """The value of the first field with this key (upper case), None without one; raises 1401 for any broken line."""
    found = None
    for token in _fields(text):
        if found is None and token[1].upper() == key:
            found = _value(token[2])
    return found


def without(text: str, keys: Collection[str]) -> str:
    """The line without the fields of these keys (upper case) and the blank after each."""
    pieces, position = [], 0
    for token in _fields(text):
        if token[1].upper() in keys:
            pieces.append(text[position : token.start(1)])
            position = token.end()
            if text.startswith(" ", position):
                position += 1
    pieces.append(text[position:])
    return "".join(pieces)


def _fields(text: str) -> Iterator[re.Match[str]]:
    end_of_text = len(text)
    position, seen = 0, False
    while position < end_of_text:
        token = _TOKEN.match(text, position)
        if token is None:
            raise broken()
        if token[1] is not None:
            seen = True
            yield token
        position = token.end()
        if text.startswith("\n", position):
            if not _REST_OF_LINE.match(text, position):
                raise broken()
            break
    if not seen:
        raise broken()


def _value(raw: str) -> str:
    if len(raw) > 1 and raw[0] == raw[-1] == '"':
        raw = raw[1:-1]
    return unescape(raw)
