"""Opening a journal that an earlier process left behind: the cursor and the last segment's tail are all it reads.

It changes nothing on disk but empty leftovers; damage is put in quarantine later, when the records around it are read.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from lb.spool.cursor import FILE_SIZE, START, Cursor, Position, decode_cursor
from lb.spool.errors import DamagedFileError
from lb.spool.journal import Journal, Segment
from lb.spool.limits import Limits
from lb.spool.naming import CURSOR_NAME, destination_name, directory_name, segment_first, segment_name
from lb.spool.openfiles import OpenFiles
from lb.spool.reader import WINDOW, next_record, read_run
from lb.spool.segment import HEADER_ROOM, RECORD_OVERHEAD, SegmentHeader, decode_header, record_seed


class Recovered(NamedTuple):
    """A journal, how far its records are done, where the rest begins, and since when it waits at most (µs)."""

    journal: Journal
    acknowledged: int
    position: Position
    oldest_time: int


class _Tail(NamedTuple):
    """The end of the last segment: its highest record number or an upper bound of it, and whether it ends cleanly."""

    last_number: int
    clean: bool


def recover(directory: str, files: OpenFiles, limits: Limits, now: Callable[[], int]) -> Recovered | None:
    """Return the journal in `directory`, None if there are no records there (it is then removed as far as it is empty).

    DamagedFileError if nothing tells whose journal it is, UnsupportedVersionError if a later program wrote it, OSError.
    """
    filesystem = files.filesystem
    names = filesystem.listdir(directory)
    firsts = sorted(first for first in map(segment_first, names) if first is not None)
    cursor_path = os.path.join(directory, CURSOR_NAME)
    if not firsts:
        if CURSOR_NAME in names:
            filesystem.unlink(cursor_path)
        if not set(names) - {CURSOR_NAME}:
            filesystem.rmdir(directory)
        return None
    segments = [Segment(first, filesystem.size(os.path.join(directory, segment_name(first)))) for first in firsts]
    headers = _Headers(directory, files)
    slots = filesystem.read(files.get(cursor_path), FILE_SIZE, 0) if CURSOR_NAME in names else b""
    identity, destination = _whose(directory, segments, headers, decode_cursor(slots))
    cursor = decode_cursor(slots, identity)
    tail = _scan_tail(segments[-1], headers, identity, cursor)
    journal = Journal(directory, destination, identity, files, limits, now)
    last_number = max(tail.last_number, cursor.last, cursor.acknowledged) if cursor else tail.last_number
    journal.restore(segments, open_ended=tail.clean, last_number=last_number, cursor=cursor)
    if CURSOR_NAME in names:
        journal.adopt_cursor_file()
    acknowledged = cursor.acknowledged if cursor else firsts[0] - 1
    oldest = max(
        (segment for segment in segments if segment.first <= acknowledged + 1), key=_first, default=segments[0]
    )
    header = headers.read(oldest)
    return Recovered(journal, acknowledged, cursor.position if cursor else START, header.created if header else now())


def _first(segment: Segment) -> int:
    return segment.first


class _Headers:
    """The headers of a directory's segments, read when asked for."""

    def __init__(self, directory: str, files: OpenFiles) -> None:
        self.files = files
        self._directory = directory

    def path(self, segment: Segment) -> str:
        return os.path.join(self._directory, segment_name(segment.first))

    def read_at(self, segment: Segment, length: int, offset: int) -> bytes:
        return self.files.filesystem.read(self.files.get(self.path(segment)), length, offset)

    def read(self, segment: Segment) -> SegmentHeader | None:
        """Return the header, None if it is damaged."""
        try:
            return decode_header(self.read_at(segment, HEADER_ROOM, 0))
        except DamagedFileError:
            return None

    def flush(self, segment: Segment) -> bool:
        """Put the segment on stable storage; False if that failed, and nothing should be appended to it."""
        try:
            self.files.filesystem.fsync(self.files.get(self.path(segment)))
        except OSError:
            return False
        return True


def _whose(directory: str, segments: list[Segment], headers: _Headers, cursor: Cursor | None) -> tuple[bytes, str]:
    """Return identity and destination of the journal, from the latest segment that has its header, else the cursor."""
    name = os.path.basename(directory)
    for segment in reversed(segments):
        header = headers.read(segment)
        if header is not None:
            if directory_name(header.destination) != name:
                raise DamagedFileError(f"{directory} holds the journal of {header.destination!r}")
            return header.identity, header.destination
    destination = destination_name(name)
    if cursor is None or destination is None:
        raise DamagedFileError(f"{directory}: every segment header is damaged, and the cursor does not help")
    return cursor.identity, destination


def _scan_tail(segment: Segment, headers: _Headers, identity: bytes, cursor: Cursor | None) -> _Tail:
    """Find the last record of the last segment, from where the cursor saw its end on; at most one segment is read."""
    seed = record_seed(identity)
    read_at = partial(headers.read_at, segment)
    header = headers.read(segment)
    last_number = segment.first - 1
    if cursor is not None and cursor.tail.segment == segment.first and cursor.tail.offset <= segment.size:
        offset = cursor.tail.offset
        last_number = max(last_number, cursor.last)
    elif header is not None:
        offset = header.length
    else:
        offset = next_record(read_at, 0, segment.size, seed)
    seen = offset
    torn = header is None
    while offset < segment.size:
        run = read_run(read_at, offset, segment.size, seed, segment.first - 1, segment.size, WINDOW)
        if run.records:
            last_number = max(last_number, run.records[-1].number)
        elif run.stop >= segment.size:
            torn = True
            break
        offset = run.stop
    if not torn:
        # Written, perhaps not yet flushed, by a process that was killed: make it as stable as what will follow.
        return _Tail(last_number, seen == segment.size or headers.flush(segment))
    # What cannot be read may have been records, if short ones: none of their numbers must be given again.
    return _Tail(last_number + (segment.size - offset) // RECORD_OVERHEAD + 1, False)
