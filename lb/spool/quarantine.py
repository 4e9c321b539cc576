"""The quarantine file, version 1: what could not be read or delivered, with its reason, for a person to look at.

An entry is a comment line `# lb-quarantine 1 TIME record NUMBER length N crc32 HEX: REASON` and the payload as one
line; both are escaped (`\\\\`, `\\n`, `\\r`, `\\xHH` for other control characters and a leading `#`), other bytes
stand as they are. Nothing here is ever deleted by the program.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from zlib import crc32

from lb.spool.filesystem import FileSystem, make_directory, write_all

VERSION = 1

_UNSAFE = re.compile(rb"[\\\x00-\x08\x0a-\x1f\x7f]|^#")
_NAMED = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.))")
_PLAIN = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}
_COMMENT = re.compile(rb"# lb-quarantine 1 (\S+) record (\d+) length (\d+) crc32 ([0-9a-f]{8}): (.*)\Z")


class Entry(NamedTuple):
    """One entry read back; `number` is 0 for bytes that are no record, `intact` tells if length and checksum agree."""

    time: str
    number: int
    payload: bytes
    reason: str
    intact: bool


def file_name(time: int) -> str:
    """Return the name of the file for entries of this time (µs since the epoch): one a day, UTC."""
    return f"{_moment(time):%Y-%m-%d}.txt"


def encode_entry(number: int, payload: bytes, reason: str, time: int) -> bytes:
    """Return an entry; `time` in µs since the epoch."""
    comment = (
        f"# lb-quarantine {VERSION} {_moment(time):%Y-%m-%dT%H:%M:%S.%fZ} record {number} length {len(payload)} "
        f"crc32 {crc32(payload):08x}: "
    )
    text = _escape(reason.encode("utf-8", "surrogateescape"))
    return comment.encode("ascii") + text + b"\n" + _escape(payload) + b"\n"


def append(filesystem: FileSystem, folder: str, number: int, payload: bytes, reason: str, time: int) -> int:
    """Put an entry into the file of its day in a directory, made when missing; its bytes when it is on stable storage.

    Raises OSError; then nothing is known of the entry.
    """
    path = os.path.join(folder, file_name(time))
    entry = encode_entry(number, payload, reason, time)
    try:
        size = filesystem.size(path)
        fd = filesystem.open(path)
    except FileNotFoundError:
        make_directory(filesystem, folder)
        size = 0
        fd = filesystem.open(path, create=True)
    try:
        if size and filesystem.read(fd, 1, size - 1) != b"\n":
            entry = b"\n" + entry  # the last entry was torn: keep it apart
        write_all(filesystem, fd, entry, size)
    finally:
        filesystem.close(fd)
    if not size:
        filesystem.fsync_directory(folder)
    return len(entry)


def decode_entries(data: bytes) -> Iterator[Entry]:
    """Yield the entries of a quarantine file; lines that belong to none (notes, a torn end) are passed over."""
    lines = iter(data.split(b"\n"))
    for line in lines:
        match = _COMMENT.match(line)
        if match is None:
            continue
        payload = _unescape(next(lines, b""))
        intact = len(payload) == int(match[3]) and crc32(payload) == int(match[4], 16)
        reason = _unescape(match[5]).decode("utf-8", "surrogateescape")
        yield Entry(match[1].decode("ascii"), int(match[2]), payload, reason, intact)


def _moment(time: int) -> datetime:
    seconds, microseconds = divmod(time, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)


def _escape(data: bytes) -> bytes:
    return _UNSAFE.sub(lambda match: _NAMED.get(match[0]) or b"\\x%02x" % match[0][0], data)


def _unescape(data: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        return bytes((int(match[1], 16),)) if match[1] else _PLAIN.get(match[2], match[0])

    return _ESCAPE.sub(plain, data)
