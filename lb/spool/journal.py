"""One destination's directory of segments: appended in batches, read in chunks, shortened as the cursor moves.

Everything here blocks and belongs to the writer thread. A record number is never given twice, so bytes of a failed
write that turn up after a crash can never pass for later records.
"""

import contextlib
import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from lb.spool import quarantine
from lb.spool.cursor import START, Cursor, Position, encode_slot, slot_offset
from lb.spool.errors import FULL, DamagedFileError
from lb.spool.filesystem import make_directory, write_all
from lb.spool.limits import Limits
from lb.spool.naming import CURSOR_NAME, QUARANTINE_NAME, segment_first, segment_name
from lb.spool.openfiles import OpenFiles
from lb.spool.reader import WINDOW, next_record, read_run
from lb.spool.segment import HEADER_ROOM, Record, decode_header, encode_header, record_seed


class Segment:
    """One file: the number its name says its records begin with, and how many of its bytes are on stable storage."""

    __slots__ = ("first", "size")

    def __init__(self, first: int, size: int) -> None:
        self.first = first
        self.size = size


class Chunk(NamedTuple):
    """Records read, in order. Those of them that exist up to number `through` are all here.

    `start` is where they begin, `following` where the next ones will be; `damaged` counts regions put in quarantine.
    """

    records: list[Record]
    start: Position
    following: Position
    through: int
    damaged: int


class Journal:
    """The files of one destination.

    `disk_bytes` is what its segments occupy, `last_number` the last record number used (stored or failed): the
    reactor thread may look at the first, nothing else is for it. `now()` returns the time in µs since the epoch.
    """

    def __init__(
        self,
        directory: str,
        destination: str,
        identity: bytes,
        files: OpenFiles,
        limits: Limits,
        now: Callable[[], int],
    ) -> None:
        self.directory = directory
        self.destination = destination
        self.identity = identity
        self.seed = record_seed(identity)
        self.segments: list[Segment] = []
        self.disk_bytes = 0
        self.quarantined_bytes = 0  # put there since the journal was opened
        self.last_number = 0
        self._files = files
        self._filesystem = files.filesystem
        self._limits = limits
        self._now = now
        self._current: Segment | None = None  # the segment that may be appended to
        self._exists = False  # the directory, durably
        self._has_cursor = False
        self._cursor = Cursor(identity, 0, 0, START, START, 0)
        self._reported: set[tuple[int, int]] = set()  # damaged regions already in quarantine: segment, offset

    def restore(self, segments: list[Segment], *, open_ended: bool, last_number: int, cursor: Cursor | None) -> None:
        """Take over what recovery found; with `open_ended` the last segment may be appended to."""
        self.segments = segments
        self.disk_bytes = sum(segment.size for segment in segments)
        self._current = segments[-1] if open_ended else None
        self.last_number = last_number
        self._exists = True
        if cursor is not None:
            self._cursor = cursor

    def adopt_cursor_file(self) -> None:
        """Note that a cursor file exists, whatever its content."""
        self._has_cursor = True

    # Appending

    def commit(self, parts: Sequence[bytes], first: int, last: int, time: int) -> None:
        """Put the encoded records numbered `first` to `last` on stable storage, or raise OSError and forget them."""
        self.last_number = last
        data = b"".join(parts)
        segment = self._current
        if segment is None or segment.size >= self._limits.segment_bytes:
            self._current = None
            self._current = self._create(data, first, time)
            return
        try:
            write_all(self._filesystem, self._files.get(self._path(segment)), data, segment.size)
        except OSError:
            self._abandon(segment)
            raise
        segment.size += len(data)
        self.disk_bytes += len(data)

    def _create(self, data: bytes, first: int, time: int) -> Segment:
        if not self._exists:
            make_directory(self._filesystem, self.directory)
            self._exists = True
        data = encode_header(self.identity, first, time, self.destination) + data
        segment = Segment(first, len(data))
        path = self._path(segment)
        fd = self._files.get(path, create=True)
        try:
            write_all(self._filesystem, fd, data, 0)
            if not self._has_cursor:
                self._write_cursor(self._cursor.acknowledged, self._cursor.position)
            self._filesystem.fsync_directory(self.directory)
        except OSError:
            self._discard(path)
            raise
        self.segments.append(segment)
        self.disk_bytes += segment.size
        return segment

    def _abandon(self, segment: Segment) -> None:
        """Give up a segment after a failed write: cut off what may have got there, and never append to it again.

        After a failed fsync the kernel may hold pages for clean that are not on the disk, so only a new file is
        trusted. If cutting fails as well, the rest is found after a restart and either still delivered or put in
        quarantine.
        """
        self._current = None
        path = self._path(segment)
        with contextlib.suppress(OSError):
            self._filesystem.truncate(self._files.get(path), segment.size)
        with contextlib.suppress(OSError):
            self._files.forget(path)

    def _discard(self, path: str) -> None:
        """Remove a file that could not be completed; if it stays, it is harmless: its numbers are not used again."""
        with contextlib.suppress(OSError):
            self._files.forget(path)
        with contextlib.suppress(OSError):
            self._filesystem.unlink(path)

    # Reading

    def read(self, position: Position, after: int, limit: int, length: int) -> Chunk:
        """Return the next records above number `after` at or behind `position`: at most `limit`, about `length` bytes.

        At least one if there is one, however long. Damage met on the way is in quarantine before this returns.
        """
        segments = self.segments
        damaged = 0
        index = bisect_left(segments, position.segment, key=lambda segment: segment.first)
        offset = position.offset if index < len(segments) and segments[index].first == position.segment else 0
        while index < len(segments):
            segment = segments[index]
            if offset >= segment.size:
                index += 1
                offset = 0
                continue
            read_at = partial(self._read_at, segment)
            if offset == 0:
                stop, reason = self._skip_header(segment)
                records: list[Record] = []
            else:
                reason = "damaged or unfinished record"
                records, stop = read_run(read_at, offset, segment.size, self.seed, segment.first - 1, limit, length)
            if not records and reason:
                damaged += self._quarantine_region(segment, offset, stop, reason)
            start, offset = offset, stop
            if records and records[0].number <= after:
                records = [record for record in records if record.number > after]
            if records:
                here = segment.first
                return Chunk(records, Position(here, start), Position(here, stop), records[-1].number, damaged)
        end = Position(segments[-1].first, segments[-1].size) if segments else Position(self.last_number + 1, 0)
        return Chunk([], end, end, self.last_number, damaged)

    def _read_at(self, segment: Segment, length: int, offset: int) -> bytes:
        return self._filesystem.read(self._files.get(self._path(segment)), length, offset)

    def _skip_header(self, segment: Segment) -> tuple[int, str]:
        """Return the offset of the first record, and what is wrong with the bytes before it, if anything."""
        try:
            header = decode_header(self._read_at(segment, min(HEADER_ROOM, segment.size), 0))
        except DamagedFileError as error:
            return next_record(partial(self._read_at, segment), 1, segment.size, self.seed), str(error)
        if header.identity != self.identity:
            return segment.size, "segment of another journal"
        return header.length, ""

    def _quarantine_region(self, segment: Segment, offset: int, stop: int, reason: str) -> int:
        if (segment.first, offset) in self._reported:
            return 0
        for start in range(offset, stop, WINDOW):
            data = self._read_at(segment, min(WINDOW, stop - start), start)
            where = f"{reason} at byte {start} of {segment_name(segment.first)}"
            if not data.strip(b"\0"):
                self.quarantine(0, b"", f"{where}: {len(data)} zero bytes")
            else:
                self.quarantine(0, data, where)
        self._reported.add((segment.first, offset))
        return 1

    def quarantine(self, number: int, payload: bytes, reason: str) -> None:
        """Append an entry to the destination's quarantine file and return when it is on stable storage."""
        folder = os.path.join(self.directory, QUARANTINE_NAME)
        self.quarantined_bytes += quarantine.append(self._filesystem, folder, number, payload, reason, self._now())

    # Shortening

    def save_cursor(self, acknowledged: int, position: Position) -> None:
        """Write the cursor to stable storage, then remove segments of which it says that all records are done.

        On a full disk they go first, or nothing would ever make room again; the numbers that are missing then count
        for done like any others, so that at worst a crash brings some of them twice.
        """
        if not self._exists:
            return
        try:
            self._write_cursor(acknowledged, position)
        except OSError as error:
            if error.errno not in FULL or not self._shorten(acknowledged, least=0):
                raise
            self._write_cursor(acknowledged, position)
        else:
            self._shorten(acknowledged, least=self._limits.trim_bytes)

    def _shorten(self, acknowledged: int, least: int) -> bool:
        """Remove segments of which all records are done, the last one only if there are `least` bytes; whether any."""
        before = len(self.segments)
        while len(self.segments) > 1 and self.segments[1].first <= acknowledged + 1:
            self._unlink_oldest()
        if acknowledged >= self.last_number and self.disk_bytes >= least:
            self._unlink_all()
        return len(self.segments) < before

    def remove(self, acknowledged: int) -> bool:
        """Remove the directory if all records are done; the answer is whether no record is left on disk.

        The quarantine, if there is one, stays, and the directory with it. The journal can go on afterwards.
        """
        if acknowledged < self.last_number:
            return False
        filesystem = self._filesystem
        self._unlink_all()
        if not self._exists:
            return True
        names = filesystem.listdir(self.directory)
        for name in names:
            if segment_first(name) is not None:  # left by a write that failed
                filesystem.unlink(os.path.join(self.directory, name))
        filesystem.fsync_directory(self.directory)  # no segment may outlive its cursor
        cursor_path = os.path.join(self.directory, CURSOR_NAME)
        if self._has_cursor:
            self._files.forget(cursor_path)
            with contextlib.suppress(FileNotFoundError):
                filesystem.unlink(cursor_path)
            self._has_cursor = False
        self._cursor = self._cursor._replace(acknowledged=acknowledged, position=START)
        self._reported.clear()
        self._exists = False
        if QUARANTINE_NAME not in names:
            filesystem.rmdir(self.directory)
            filesystem.fsync_directory(os.path.dirname(self.directory))
        return True

    def _unlink_all(self) -> None:
        self._current = None
        while self.segments:
            self._unlink_oldest()

    def _unlink_oldest(self) -> None:
        segment = self.segments[0]
        path = self._path(segment)
        self._files.forget(path)
        with contextlib.suppress(FileNotFoundError):
            self._filesystem.unlink(path)
        del self.segments[0]
        self.disk_bytes -= segment.size

    def _write_cursor(self, acknowledged: int, position: Position) -> None:
        tail = Position(self.segments[-1].first, self.segments[-1].size) if self.segments else START
        cursor = Cursor(self.identity, self._cursor.serial + 1, acknowledged, position, tail, self.last_number)
        fd = self._files.get(os.path.join(self.directory, CURSOR_NAME), create=not self._has_cursor)
        data, offset = encode_slot(cursor), slot_offset(cursor.serial)
        if not self._has_cursor:
            # With room for the other slot, which is needed most when the disk is full.
            data, offset = data.rjust(offset + len(data), b"\0"), 0
        self._has_cursor = True
        write_all(self._filesystem, fd, data, offset)
        self._cursor = cursor

    def _path(self, segment: Segment) -> str:
        return os.path.join(self.directory, segment_name(segment.first))
