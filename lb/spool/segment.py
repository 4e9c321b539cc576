"""The bytes of a segment, version 1: a header, then records one after the other; pure functions over bytes.

Header, little endian: magic `LBSPOOL\\n`, u16 version = 1, u16 length of the whole header, 16 bytes identity of the
journal, u64 number of the first record, u64 creation time (µs since the epoch), destination name (UTF-8), u32 CRC-32
of all before. Record: 4 bytes marker, u8 kind = 0, u32 payload length, u64 number, u64 time (µs), u32 CRC-32 of the
fields before (started with the CRC-32 of the identity), u32 CRC-32 of the payload (started with the previous one),
payload.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from lb.spool.errors import DamagedFileError, UnsupportedVersionError

VERSION = 1
IDENTITY_SIZE = 16
MAGIC = b"LBSPOOL\n"
# The first byte occurs neither in ASCII nor in UTF-8, so text payloads never contain a marker.
MARKER = b"\xffLBR\x00"

_PREFIX = struct.Struct("<8sHH")
_HEADER = struct.Struct(f"<8sHH{IDENTITY_SIZE}sQQ")
_CRC = struct.Struct("<I")
_FIELDS = struct.Struct("<5sIQQ")
_RECORD = struct.Struct("<5sIQQII")
_SUMS = struct.Struct("<II")

RECORD_OVERHEAD = _RECORD.size
_FIELDS_SIZE = _FIELDS.size
HEADER_ROOM = 4096  # bytes; no header is longer, a reader fetches this much at once


class Record(NamedTuple):
    """One record read back: number in the journal (from 1), payload, time of its append (µs since the epoch)."""

    number: int
    payload: bytes
    time: int


class SegmentHeader(NamedTuple):
    """What a segment says of itself; `length` is the offset of its first record."""

    identity: bytes
    first: int
    created: int
    destination: str
    length: int


def encode_header(identity: bytes, first: int, created: int, destination: str) -> bytes:
    """Return the header of a new segment."""
    name = destination.encode("utf-8", "surrogateescape")
    length = _HEADER.size + len(name) + _CRC.size
    head = _HEADER.pack(MAGIC, VERSION, length, identity, first, created) + name
    return head + _CRC.pack(crc32(head))


def decode_header(data: bytes) -> SegmentHeader:
    """Return the header a segment begins with (`data`: its first HEADER_ROOM bytes, fewer if it is shorter).

    DamagedFileError if there is no intact one, UnsupportedVersionError if a later program wrote it.
    """
    if len(data) < _PREFIX.size:
        raise DamagedFileError("segment header incomplete")
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise DamagedFileError("segment header without its magic")
    if not _CRC.size < length <= len(data) or _CRC.unpack_from(data, length - _CRC.size)[0] != crc32(
        data[: length - _CRC.size]
    ):
        raise DamagedFileError("segment header with a wrong checksum")
    if version != VERSION:
        raise UnsupportedVersionError(f"segment of version {version}, this program knows {VERSION}")
    _, _, _, identity, first, created = _HEADER.unpack_from(data)
    name = data[_HEADER.size : length - _CRC.size].decode("utf-8", "surrogateescape")
    return SegmentHeader(identity, first, created, name, length)


def record_seed(identity: bytes) -> int:
    """Return what the checksums of a journal's records start with.

    The identity is random, so a payload cannot carry bytes that pass for a record of its journal.
    """
    return crc32(identity)


def encode_records(parts: list[bytes], payloads: Sequence[bytes], first: int, time: int, seed: int) -> int:
    """Append the records of `payloads`, numbered from `first`, to `parts` (to be joined); return their total size."""
    pack_fields, pack_sums, append = _FIELDS.pack, _SUMS.pack, parts.append
    size = len(payloads) * RECORD_OVERHEAD
    number = first
    for payload in payloads:
        length = len(payload)
        fields = pack_fields(MARKER, length, number, time)
        head_sum = crc32(fields, seed)
        append(fields + pack_sums(head_sum, crc32(payload, head_sum)))
        append(payload)
        size += length
        number += 1
    return size


def decode_records(data: bytes, seed: int, previous: int, limit: int) -> tuple[list[Record], int]:
    """Return the intact records `data` begins with, at most `limit`, and the offset behind the last of them.

    It stops before a record that is incomplete, damaged, or not numbered above `previous` and those before it.
    """
    records: list[Record] = []
    append, unpack, crc = records.append, _RECORD.unpack_from, crc32
    position = 0
    last = len(data) - RECORD_OVERHEAD
    size = len(data)
    while position <= last and limit:
        marker, length, number, time, head_sum, payload_sum = unpack(data, position)
        start = position + RECORD_OVERHEAD
        stop = start + length
        if marker != MARKER or stop > size or number <= previous:
            break
        if crc(data[position : position + _FIELDS_SIZE], seed) != head_sum:
            break
        payload = data[start:stop]
        if crc(payload, head_sum) != payload_sum:
            break
        append(Record(number, payload, time))
        previous = number
        position = stop
        limit -= 1
    return records, position


def record_length(data: bytes, offset: int, seed: int) -> int | None:
    """Return the length, overhead included, that the record head at `offset` announces; None if it is not intact."""
    if len(data) - offset < RECORD_OVERHEAD:
        return None
    marker, length, _, _, head_sum, _ = _RECORD.unpack_from(data, offset)
    if marker != MARKER or crc32(data[offset : offset + _FIELDS_SIZE], seed) != head_sum:
        return None
    return RECORD_OVERHEAD + int(length)


def find_record(data: bytes, start: int, seed: int) -> int | None:
    """Return the offset of the first intact record head at or after `start`, None if `data` holds none complete."""
    while (start := data.find(MARKER, start)) >= 0:
        if record_length(data, start, seed) is not None:
            return start
        start += 1
    return None
