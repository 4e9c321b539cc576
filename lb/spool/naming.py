"""Names on disk: a destination's directory and a segment's file.

A destination is any text, a file name is not: bytes other than letters, digits, `-`, `_` and inner dots become `%XX`;
a name too long for the file system keeps its beginning and gets its digest after a `~`. The full name stands in each
segment.
"""

import hashlib
import re

_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_LONGEST = 200  # bytes; file systems allow 255, and renaming a damaged journal appends to the name
_SEGMENT = re.compile(r"([0-9]{20})\.seg\Z")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")

CURSOR_NAME = "cursor"
QUARANTINE_NAME = "quarantine"


def directory_name(destination: str) -> str:
    """Return the directory name of a destination; different destinations have different names."""
    raw = destination.encode("utf-8", "surrogateescape")
    name = "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in raw)
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) <= _LONGEST:
        return name
    return name[: _LONGEST - 65] + "~" + hashlib.sha256(raw).hexdigest()


def destination_name(directory: str) -> str | None:
    """Return the destination whose directory name this is, None where only the segments know (a shortened name)."""
    if "~" in directory:
        return None
    raw = _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), directory.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def segment_name(first: int) -> str:
    """Return the file name of the segment whose first record has this number."""
    return f"{first:020d}.seg"


def segment_first(name: str) -> int | None:
    """Return the number of the first record of a segment by its file name, None for any other file."""
    match = _SEGMENT.match(name)
    return int(match[1]) if match else None
