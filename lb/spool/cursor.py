"""The cursor file, version 1: how far a destination's records are done, and hints that keep opening the journal short.

Two slots, written in turn, 4096 bytes apart so that no torn write spoils both. Slot, little endian: magic `LBCURSOR`,
u16 version = 1, 16 bytes identity of the journal, u64 serial, u64 acknowledged, u64 + u64 position of the records
behind it, u64 + u64 + u64 segment, end offset and last record number of the durable tail, u32 CRC-32 of all before.
"""

import struct
from typing import NamedTuple
from zlib import crc32

from lb.spool.errors import UnsupportedVersionError

VERSION = 1
MAGIC = b"LBCURSOR"
SLOT_DISTANCE = 4096  # bytes: one page, the unit that is written back as a whole

_SLOT = struct.Struct("<8sH16sQQQQQQQ")
_CRC = struct.Struct("<I")
SLOT_SIZE = _SLOT.size + _CRC.size
FILE_SIZE = SLOT_DISTANCE + SLOT_SIZE


class Position(NamedTuple):
    """A place in a journal: the segment (by its first record's number) and the byte offset in it, 0 = its beginning."""

    segment: int
    offset: int


START = Position(0, 0)


class Cursor(NamedTuple):
    """One state of the file.

    All records up to `acknowledged` are done; those after it lie at or behind `position`. At the time of writing the
    journal's stable end was `tail`, its last record number `last`. The slot with the higher `serial` counts.
    """

    identity: bytes
    serial: int
    acknowledged: int
    position: Position
    tail: Position
    last: int


def encode_slot(cursor: Cursor) -> bytes:
    """Return the SLOT_SIZE bytes of a slot."""
    body = _SLOT.pack(
        MAGIC,
        VERSION,
        cursor.identity,
        cursor.serial,
        cursor.acknowledged,
        *cursor.position,
        *cursor.tail,
        cursor.last,
    )
    return body + _CRC.pack(crc32(body))


def slot_offset(serial: int) -> int:
    """Return where the slot with this serial is written: serials alternate between the two places."""
    return serial % 2 * SLOT_DISTANCE


def decode_cursor(data: bytes, identity: bytes | None = None) -> Cursor | None:
    """Return the latest intact state in the file's bytes (of this journal, if `identity` is given) or None.

    UnsupportedVersionError if a later program wrote a slot.
    """
    slots = (_decode_slot(data[offset : offset + SLOT_SIZE]) for offset in (0, SLOT_DISTANCE))
    fitting = (slot for slot in slots if slot is not None and identity in (None, slot.identity))
    return max(fitting, key=lambda slot: slot.serial, default=None)


def _decode_slot(data: bytes) -> Cursor | None:
    if len(data) < SLOT_SIZE:
        return None
    body = data[: _SLOT.size]
    magic, version, identity, serial, acknowledged, *rest = _SLOT.unpack(body)
    if magic != MAGIC or _CRC.unpack_from(data, _SLOT.size)[0] != crc32(body):
        return None
    if version != VERSION:
        raise UnsupportedVersionError(f"cursor of version {version}, this program knows {VERSION}")
    return Cursor(identity, serial, acknowledged, Position(rest[0], rest[1]), Position(rest[2], rest[3]), rest[4])
