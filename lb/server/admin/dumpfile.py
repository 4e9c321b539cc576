"""Files of events: lines as they came with the time of their arrival before them, as the C tools write and read them.

Plain, or an archive: gzip with one member a job, and an index of the members beside it. Whoever deletes what was
written calls `sync` first: what it returned from is on stable storage (P2).
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final, NamedTuple

from lb.model.errors import LBError, invalid, missing
from lb.model.event import Event
from lb.store.interface import StoredEvent
from lb.wire import ulm

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEY: Final = b"DG.ARRIVED="
_STAMP: Final = "%Y%m%d%H%M%S.%f"
_GZIP: Final = b"\x1f\x8b"
#: First line of an index: what it is, and the version of its form.
_INDEX: Final = "lb archive index 1"
#: Level of compression: twice as fast as the default for two per cent more.
_LEVEL: Final = 4


class Dumped(NamedTuple):
    """A line of a file: when it arrived (microseconds), None where the file does not say, and the event's line."""

    arrived: int | None
    line: bytes


def stamp(microseconds: int) -> str:
    """``20261123071257.940933``, in UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).strftime(_STAMP)


def written(stored: StoredEvent) -> bytes:
    """An event as a line of a file, with its line end."""
    line = stored.line
    if b"\n" in line:  # a raw line end inside a value: written as other values write theirs
        line = ulm.write(ulm.parse(line)).rstrip(b"\n")
    return b"%b%b %b\n" % (_KEY, stamp(stored.arrived).encode("ascii"), line)


def written_event(event: Event, arrived: int) -> bytes:
    """As `written`, for an event that is in no store."""
    return written(StoredEvent(arrived, ulm.write(event).rstrip(b"\n")))


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on stable storage."""
    number = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class DumpFile:
    """A plain file that grows, one job after another."""

    def __init__(self, directory: Path, prefix: str, now: int, suffix: str = "", *, spaced: bool = False) -> None:
        """Make a file named after the time `now` (microseconds); raises OSError.

        `spaced`: with an empty line after each, as the C server writes dumps but not those of purges.
        """
        self._after = b"\n" if spaced else b""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, self._file = _fresh(directory, prefix, now, suffix)
        sync_directory(directory)

    def begin(self, unique: str) -> None:
        """What follows belongs to this job."""

    def add(self, events: Iterable[StoredEvent]) -> None:
        """More events of the job."""
        self._file.writelines(written(event) + self._after for event in events)

    def add_line(self, line: bytes) -> None:
        """A line with its line end."""
        self._file.write(line + self._after)

    def sync(self) -> None:
        """What was added is on stable storage when this returns; raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the file; one without a line is removed."""
        self.sync()
        empty = self._file.tell() == 0
        self._file.close()
        if empty:
            self.path.unlink()


def _fresh(directory: Path, prefix: str, now: int, suffix: str) -> tuple[Path, IO[bytes]]:
    while True:
        path = directory / f"{prefix}_{stamp(now)}{suffix}"
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            now += 1
        else:
            return path, os.fdopen(number, "wb")


class Archive(DumpFile):
    """A compressed file with an index, ``FILE.index``: a line a job with its place, and a checksum at the end."""

    def __init__(self, directory: Path, prefix: str, now: int) -> None:
        super().__init__(directory, prefix, now, ".ulm.gz")
        # `close` is called for it
        self._index = open(index_of(self.path), "x", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        self._check = 0
        self._member: gzip.GzipFile | None = None
        self._started = ("", 0)
        self._note(_INDEX)

    def _note(self, line: str) -> None:
        self._index.write(f"{line}\n")
        self._check = zlib.crc32(f"{line}\n".encode("utf-8", "surrogateescape"), self._check)

    def begin(self, unique: str) -> None:
        self._end()
        self._started = unique, self._file.tell()
        self._member = gzip.GzipFile("", "wb", _LEVEL, self._file, 0)

    def _end(self) -> None:
        if self._member is not None:
            self._member.close()
            self._member = None
            unique, start = self._started
            self._note(f"{unique}\t{start}\t{self._file.tell() - start}")

    def add(self, events: Iterable[StoredEvent]) -> None:
        assert self._member is not None  # a job has begun
        self._member.writelines(map(written, events))

    def sync(self) -> None:
        self._end()
        super().sync()
        self._index.flush()
        os.fsync(self._index.fileno())

    def close(self) -> None:
        self._end()
        self._index.write(f"end\t{self._check:08x}\n")
        super().close()
        self._index.flush()
        os.fsync(self._index.fileno())
        self._index.close()
        if not self.path.exists():
            index_of(self.path).unlink()


def index_of(path: Path) -> Path:
    """Where the index of an archive is."""
    return path.with_name(path.name + ".index")


def read_index(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Place and length of the members of an archive by job; raises EINVAL for an index that is damaged."""
    text = index_of(path).read_text("utf-8", "surrogateescape")
    body, _, last = text.rstrip("\n").rpartition("\n")
    lines = body.split("\n")
    check = zlib.crc32((body + "\n").encode("utf-8", "surrogateescape"))
    if lines[0] != _INDEX or last != f"end\t{check:08x}":
        raise invalid(f"{index_of(path)} is damaged or not complete; the archive itself can be loaded without it")
    found: dict[str, list[tuple[int, int]]] = {}
    for line in lines[1:]:
        unique, start, length = line.split("\t")
        found.setdefault(unique, []).append((int(start), int(length)))
    return found


def read(path: Path, longest: int, unique: str | None = None) -> Iterator[Dumped]:
    """The lines of a file of either kind; `unique`: of this job only, which needs the index of an archive.

    Raises ENOENT for a job that is not in it, EINVAL for a file that ends early or has a line of more than `longest`
    bytes; what came before stays valid. Raises OSError.
    """
    with open(path, "rb") as file:
        compressed = file.read(2) == _GZIP
        file.seek(0)
        if unique is not None:
            places = read_index(path).get(unique)
            if places is None:
                raise missing(f"{path}: job {unique} is not in this archive")
            for start, length in places:
                file.seek(start)
                yield from _lines(gzip.decompress(file.read(length)).splitlines(keepends=True), path, longest)
            return
        try:
            with gzip.GzipFile("", "rb", fileobj=file) if compressed else file as stream:
                yield from _lines(iter(lambda: stream.readline(longest + 1), b""), path, longest)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise invalid(f"{path} is damaged or ends early ({error}); what came before was read") from None


def _lines(lines: Iterable[bytes], path: Path, longest: int) -> Iterator[Dumped]:
    for line in lines:
        if len(line) > longest:
            raise LBError(7, f"{path}: a line of more than {longest} bytes; what came before was read")
        text = line.rstrip(b"\n")
        if text:
            yield _split(text)


def _split(line: bytes) -> Dumped:
    if not line.startswith(_KEY):
        return Dumped(None, line)
    text, _, rest = line[len(_KEY) :].partition(b" ")
    try:
        moment = datetime.strptime(text.decode("ascii"), _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return Dumped(None, rest)
    return Dumped((moment - _EPOCH) // timedelta(microseconds=1), rest)
