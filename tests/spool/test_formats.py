"""The bytes on disk: segments, cursors, quarantine entries and names."""

import struct
from pathlib import Path
from zlib import crc32

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.spool.cursor import (
    FILE_SIZE,
    SLOT_DISTANCE,
    SLOT_SIZE,
    Cursor,
    Position,
    decode_cursor,
    encode_slot,
    slot_offset,
)
from lb.spool.errors import DamagedFileError, UnsupportedVersionError
from lb.spool.naming import destination_name, directory_name, segment_first, segment_name
from lb.spool.quarantine import decode_entries, encode_entry, file_name
from lb.spool.reader import next_record, read_run
from lb.spool.segment import (
    HEADER_ROOM,
    RECORD_OVERHEAD,
    decode_header,
    decode_records,
    encode_header,
    encode_records,
    find_record,
    record_seed,
)

VECTORS = Path(__file__).parent / "vectors"
IDENTITY = bytes(range(16))
SEED = record_seed(IDENTITY)
TIME = 1_795_418_093_250_000

payloads = st.lists(st.binary(max_size=200), min_size=1, max_size=8)
names = st.text(st.characters(exclude_categories=()), min_size=1, max_size=300).filter(
    lambda name: not any(0xD800 <= ord(c) < 0xDC80 or 0xDD00 <= ord(c) < 0xE000 for c in name)
)


def encoded(*content: bytes, first: int = 1) -> bytes:
    """Return the records of these payloads."""
    parts: list[bytes] = []
    size = encode_records(parts, content, first, TIME, SEED)
    data = b"".join(parts)
    assert len(data) == size
    return data


class SegmentTests(SynchronousTestCase):
    """Headers and records."""

    @given(payloads, st.integers(1, 2**63))
    def test_records_round_trip(self, content: list[bytes], first: int) -> None:
        """What is encoded comes back with its numbers and time, and the end is where the bytes end."""
        data = encoded(*content, first=first)
        records, stop = decode_records(data, SEED, first - 1, len(content))
        self.assertEqual([record.payload for record in records], content)
        self.assertEqual([record.number for record in records], list(range(first, first + len(content))))
        self.assertEqual({record.time for record in records}, {TIME})
        self.assertEqual(stop, len(data))

    @given(payloads, st.data())
    def test_cut_anywhere(self, content: list[bytes], data: st.DataObject) -> None:
        """Of bytes that end anywhere exactly the complete records are returned."""
        whole = encoded(*content)
        cut = data.draw(st.integers(0, len(whole)))
        records, stop = decode_records(whole[:cut], SEED, 0, 100)
        complete = 0
        end = 0
        for payload in content:
            if end + RECORD_OVERHEAD + len(payload) > cut:
                break
            end += RECORD_OVERHEAD + len(payload)
            complete += 1
        self.assertEqual((len(records), stop), (complete, end))

    def test_limit(self) -> None:
        """No more records are decoded than asked for: n-1, n, n+1."""
        data = encoded(b"a", b"b", b"c")
        for limit, count in ((2, 2), (3, 3), (4, 3)):
            self.assertEqual(len(decode_records(data, SEED, 0, limit)[0]), count)

    def test_foreign_records(self) -> None:
        """P5: records of another journal do not pass for records of this one."""
        self.assertEqual(decode_records(encoded(b"a"), record_seed(b"x" * 16), 0, 9), ([], 0))

    def test_numbers_must_grow(self) -> None:
        """A record numbered like an earlier one is not taken."""
        data = encoded(b"a") + encoded(b"b")
        self.assertEqual(len(decode_records(data, SEED, 0, 9)[0]), 1)
        self.assertEqual(decode_records(data, SEED, 1, 9), ([], 0))

    def test_record_in_payload(self) -> None:
        """P5: a forged record inside a payload does not pass for one when the head around it is damaged."""
        parts: list[bytes] = []
        encode_records(parts, [b"forged"], 9, TIME, record_seed(b"guess, guess, gu"))
        data = bytearray(encoded(b"x" + b"".join(parts), b"next"))
        data[6] ^= 1
        found = find_record(bytes(data), 1, SEED)
        self.assertEqual(found, len(data) - RECORD_OVERHEAD - 4)

    @given(names, st.integers(1, 2**63), st.integers(0, 2**62))
    def test_header_round_trip(self, name: str, first: int, created: int) -> None:
        """A header says what it was made from."""
        data = encode_header(IDENTITY, first, created, name)
        header = decode_header(data + b"records")
        self.assertEqual(header, (IDENTITY, first, created, name, len(data)))
        self.assertLess(header.length, HEADER_ROOM)

    def test_header_damage(self) -> None:
        """P9: a header with any bit flipped, or cut anywhere, is refused."""
        data = encode_header(IDENTITY, 1, TIME, "host:9001")
        for index in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[index // 8] ^= 1 << index % 8
            self.assertRaises(DamagedFileError, decode_header, bytes(flipped))
        for cut in range(len(data)):
            self.assertRaises(DamagedFileError, decode_header, data[:cut])

    def test_later_version(self) -> None:
        """P9: a segment of a later version is told apart from a damaged one."""
        data = bytearray(encode_header(IDENTITY, 1, TIME, "host:9001"))
        struct.pack_into("<H", data, 8, 2)
        struct.pack_into("<I", data, len(data) - 4, crc32(data[:-4]))
        self.assertRaises(UnsupportedVersionError, decode_header, bytes(data))


class ReaderTests(SynchronousTestCase):
    """Stretches of a segment, good and bad."""

    def read_all(self, data: bytes, length: int) -> tuple[list[bytes], list[tuple[int, int]]]:
        """Return payloads and damaged regions of a segment without header."""

        def read_at(size: int, offset: int) -> bytes:
            return data[offset : offset + size]

        found: list[bytes] = []
        damaged = []
        offset = 0
        while offset < len(data):
            run = read_run(read_at, offset, len(data), SEED, 0, 3, length)
            self.assertGreater(run.stop, offset)
            if not run.records:
                damaged.append((offset, run.stop))
            found += [record.payload for record in run.records]
            offset = run.stop
        return found, damaged

    @given(payloads, st.integers(1, 300))
    def test_any_window(self, content: list[bytes], length: int) -> None:
        """Whatever is fetched at once, every record is found, however long."""
        self.assertEqual(self.read_all(encoded(*content), length), (content, []))

    @given(payloads, st.integers(1, 300), st.data())
    def test_flipped_bit(self, content: list[bytes], length: int, data: st.DataObject) -> None:
        """P5: one flipped bit costs the record that contains it and no other, and its region is reported."""
        whole = bytearray(encoded(*content))
        index = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[index // 8] ^= 1 << index % 8
        start = victim = 0
        while start + RECORD_OVERHEAD + len(content[victim]) <= index // 8:
            start += RECORD_OVERHEAD + len(content[victim])
            victim += 1
        stop = start + RECORD_OVERHEAD + len(content[victim])
        expected = content[:victim] + content[victim + 1 :]
        self.assertEqual(self.read_all(bytes(whole), length), (expected, [(start, stop)]))

    @given(payloads, payloads, st.binary(min_size=1, max_size=100))
    @example([b"a"], [b"b"], b"\xffLBR\x00\xffLBR")
    def test_garbage_between(self, before: list[bytes], after: list[bytes], garbage: bytes) -> None:
        """P5: garbage between records costs none of them."""
        head = encoded(*before)
        data = head + garbage + encoded(*after, first=100)
        self.assertEqual(self.read_all(data, 50), (before + after, [(len(head), len(head) + len(garbage))]))

    def test_file_shorter_than_known(self) -> None:
        """A file that ends before its known size ends the search, with what is missing as damage."""
        data = encoded(b"a" * 50)[:60]
        run = read_run(lambda length, offset: data[offset : offset + length], 0, 1000, SEED, 0, 9, 1000)
        self.assertEqual(run, ([], 1000))
        self.assertEqual(next_record(lambda length, offset: b"", 0, 10, SEED), 10)


class CursorTests(SynchronousTestCase):
    """Two slots, written in turn."""

    def cursor(self, serial: int) -> Cursor:
        return Cursor(IDENTITY, serial, serial * 10, Position(1, 77), Position(5, 88), 99)

    def file(self, *serials: int) -> bytearray:
        data = bytearray(FILE_SIZE)
        for serial in serials:
            data[slot_offset(serial) : slot_offset(serial) + SLOT_SIZE] = encode_slot(self.cursor(serial))
        return data

    def test_latest_counts(self) -> None:
        """The slot written last is the cursor, whichever place it has."""
        self.assertEqual(decode_cursor(self.file(1)[: SLOT_DISTANCE + SLOT_SIZE]), self.cursor(1))
        self.assertEqual(decode_cursor(self.file(1, 2)), self.cursor(2))
        self.assertEqual(decode_cursor(self.file(2, 3)), self.cursor(3))

    def test_torn_write(self) -> None:
        """P2, P9: any bit flipped in the latest slot, or a torn write of it, leaves the one before."""
        whole = self.file(2, 3)
        for index in range(SLOT_SIZE):
            flipped = bytearray(whole)
            flipped[slot_offset(3) + index] ^= 0x10
            self.assertEqual(decode_cursor(bytes(flipped)), self.cursor(2))
            torn = self.file(1, 2)
            torn[slot_offset(3) : slot_offset(3) + index] = encode_slot(self.cursor(3))[:index]
            self.assertEqual(decode_cursor(bytes(torn)), self.cursor(2))

    def test_nothing_intact(self) -> None:
        """A file with no intact slot is no cursor: empty, short, zeros."""
        for data in (b"", b"x" * 10, bytes(FILE_SIZE)):
            self.assertIsNone(decode_cursor(data))

    def test_later_version(self) -> None:
        """P9: a slot of a later version is not overlooked."""
        data = self.file(1)
        at = slot_offset(1)
        struct.pack_into("<H", data, at + 8, 2)
        struct.pack_into("<I", data, at + SLOT_SIZE - 4, crc32(data[at : at + SLOT_SIZE - 4]))
        self.assertRaises(UnsupportedVersionError, decode_cursor, bytes(data))


class VectorTests(SynchronousTestCase):
    """Files written once by version 1 and never again: they must stay readable and be written the same."""

    def test_segment_1(self) -> None:
        """P9: the frozen segment gives its header and records, and would be written byte for byte today."""
        data = (VECTORS / "segment-1.bin").read_bytes()
        header = decode_header(data)
        self.assertEqual(header, (IDENTITY, 41, TIME, "lb.example.org:9001/\udcff\u0161", 71))
        records, stop = decode_records(data[header.length :], record_seed(header.identity), 40, 9)
        self.assertEqual(records, [(41, b"first", TIME), (42, b"", TIME), (43, b"with \xff\x00 and\na line", TIME)])
        self.assertEqual(header.length + stop, len(data))
        again = encode_header(*header[:4]) + encoded(*(record.payload for record in records), first=41)
        self.assertEqual(again, data)

    def test_cursor_1(self) -> None:
        """P9: the frozen cursor file gives its state, and its slots would be written byte for byte today."""
        data = (VECTORS / "cursor-1.bin").read_bytes()
        latest = Cursor(IDENTITY, 7, 42, Position(41, 71), Position(41, 193), 43)
        self.assertEqual(decode_cursor(data), latest)
        self.assertEqual(data[slot_offset(7) : slot_offset(7) + SLOT_SIZE], encode_slot(latest))
        earlier = Cursor(IDENTITY, 6, 41, Position(41, 71), Position(41, 142), 42)
        self.assertEqual(data[slot_offset(6) : slot_offset(6) + SLOT_SIZE], encode_slot(earlier))


class QuarantineTests(SynchronousTestCase):
    """Entries for people, which nevertheless lose nothing."""

    @given(
        st.lists(st.tuples(st.integers(0, 2**63), st.binary(max_size=60), st.text(st.characters(max_codepoint=0x2FF))))
    )
    def test_round_trip(self, content: list[tuple[int, bytes, str]]) -> None:
        """P5: any payload and reason come back, one line each, whatever bytes they have."""
        data = b"".join(encode_entry(number, payload, reason, TIME) for number, payload, reason in content)
        self.assertEqual(data.count(b"\n"), 2 * len(content))
        self.assertEqual(
            list(decode_entries(data)),
            [("2026-11-23T07:14:53.250000Z", number, payload, reason, True) for number, payload, reason in content],
        )

    def test_readable(self) -> None:
        """An ordinary line stands as it came; only what would break the file's lines is escaped."""
        self.assertEqual(
            encode_entry(7, b'DATE=1 X="a\\b\nc\xc5\xa1"', "refused: 700/22", TIME),
            b"# lb-quarantine 1 2026-11-23T07:14:53.250000Z record 7 length 18 crc32 ef7c96e4: refused: 700/22\n"
            b'DATE=1 X="a\\\\b\\nc\xc5\xa1"\n',
        )
        self.assertEqual(encode_entry(7, b"# no comment", "", TIME).split(b"\n")[1], b"\\x23 no comment")
        self.assertEqual(file_name(TIME), "2026-11-23.txt")

    def test_damage_shows(self) -> None:
        """An entry whose payload was changed or cut says so, and a note written between entries does not matter."""
        data = encode_entry(1, b"payload", "why", TIME)
        self.assertEqual([entry.intact for entry in decode_entries(data.replace(b"payload", b"pAyload"))], [False])
        self.assertEqual([entry.intact for entry in decode_entries(data[:-3])], [False])
        self.assertEqual(len(list(decode_entries(b"a note\n" + data + b"# another\n" + data))), 2)


class NamingTests(SynchronousTestCase):
    """Directory and file names."""

    @given(names, names)
    def test_distinct_and_safe(self, one: str, other: str) -> None:
        """Different destinations have different, harmless directories, and short names can be read back."""
        for name in (one, other):
            directory = directory_name(name)
            self.assertTrue(directory.isascii() and "/" not in directory and "\0" not in directory)
            self.assertFalse(directory.startswith("."))
            self.assertLessEqual(len(directory), 200)
            self.assertIn(destination_name(directory), (name, None))
        self.assertEqual(directory_name(one) == directory_name(other), one == other)

    def test_examples(self) -> None:
        """Ordinary names stay legible; a long one keeps its beginning and gets a digest: n-1, n, n+1."""
        self.assertEqual(directory_name("lb.example.org:9001"), "lb.example.org%3A9001")
        self.assertEqual(directory_name("../../etc"), "%2E.%2F..%2Fetc")
        self.assertEqual(destination_name("%2E.%2F..%2Fetc"), "../../etc")
        for length in (199, 200):
            self.assertEqual(destination_name(directory_name("x" * length)), "x" * length)
        self.assertIsNone(destination_name(directory_name("x" * 201)))

    def test_segment_names(self) -> None:
        """Segments sort by name as by number, and other files are none."""
        self.assertEqual(segment_name(17), "00000000000000000017.seg")
        self.assertEqual(segment_first(segment_name(2**64 - 1)), 2**64 - 1)
        for name in ("cursor", "17.seg", "00000000000000000017.seg.bak", "quarantine"):
            self.assertIsNone(segment_first(name))
