"""Text inside the documents: its escaping, which works on bytes (spec: wire-query.md §4.2).

A document is no valid UTF-8, since bytes 80 to 9F are escaped wherever they stand; so it is bytes here, never `str`.
"""

from __future__ import annotations

import re
from typing import Final

_ENTITIES: Final = ((b"&", b"&amp;"), (b"<", b"&lt;"), (b">", b"&gt;"), (b'"', b"&quot;"), (b"'", b"&apos;"))
_CONTROLS: Final = bytes(byte for byte in range(256) if byte & 0x7F < 0x20)
_SPECIAL: Final = b"%&<>\"'" + _CONTROLS
_CONTROL: Final = re.compile(b"[" + re.escape(_CONTROLS) + b"]")
#: The layout of a document within another one has hundreds of these, a call for each is most of the work.
_LAYOUT: Final = ((b"\r", b"%0d"), (b"\n", b"%0a"), (b"\t", b"%09"))
_HEX: Final = {bytes([byte]): b"%%%02x" % byte for byte in _CONTROLS}
_ESCAPED: Final = re.compile(rb"%([01][0-9A-Fa-f]|[89][0-9A-Fa-f]|25)")


def escape(value: str) -> bytes:
    """The bytes that stand for `value` between tags or in an attribute."""
    return escape_bytes(value.encode("utf-8", "surrogateescape"))


def escape_bytes(raw: bytes) -> bytes:
    """As `escape`; of a document it makes text that stands in another one (wire-notification.md §3.2)."""
    if len(raw.translate(None, _SPECIAL)) == len(raw):
        return raw
    raw = raw.replace(b"%", b"%25")
    for character, entity in _ENTITIES:
        raw = raw.replace(character, entity)
    for character, escaped in _LAYOUT:
        raw = raw.replace(character, escaped)
    if len(raw.translate(None, _CONTROLS)) == len(raw):
        return raw
    return _CONTROL.sub(lambda found: _HEX[found[0]], raw)


def unescape(text: str) -> str:
    """The value of text as `tree.parse` gives it: entities undone, one character for each byte.

    Bytes that are no UTF-8 are taken as ISO-8859-1, which is what C programs understand them as.
    """
    if text.isascii():
        if "%" not in text:
            return text
        raw = text.encode("ascii")
    else:
        raw = _bytes(text)
    raw = _undo_hex(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("iso-8859-1")


def unescape_bytes(escaped: bytes) -> bytes:
    """Undo `escape_bytes`; what it never writes stays as it is."""
    raw = escaped
    if b"&" in raw:
        for character, entity in reversed(_ENTITIES):
            raw = raw.replace(entity, character)
    return _undo_hex(raw)


def _undo_hex(raw: bytes) -> bytes:
    if b"%" not in raw:
        return raw
    for character, escaped in _LAYOUT:
        raw = raw.replace(escaped, character)
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), raw) if b"%" in raw else raw


def _bytes(text: str) -> bytes:
    try:
        return text.encode("iso-8859-1")
    except UnicodeEncodeError:
        # Only a numeric character reference can name more than a byte.
        return b"".join(bytes([ord(c)]) if c < "\u0100" else c.encode("utf-8") for c in text)
