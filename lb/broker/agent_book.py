"""The registrations that an agent made, and for whom: what it must remember over a restart.

A file that is replaced as a whole, with a version and a checksum (P9); what cannot be read is set aside, never dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec
from twisted.logger import Logger

_MAGIC: Final = b"lb-agent 1 "


class Entry(msgspec.Struct, frozen=True):
    """One registration. `valid`: seconds since the epoch; `lifetime`: seconds that it gets each time.

    `destination` is an ``x-msg:`` address; `place` the same at the agent's broker, None when it is at another one.
    `listener`: a queue that is there as long as whoever asked is.
    """

    notifid: str
    owner: str
    destination: str
    valid: int
    lifetime: int
    place: str | None = None
    listener: str | None = None


class Book:
    """Entries by id, and their file. `save` is for a thread that may wait for the disk."""

    log = Logger()

    def __init__(self, path: Path) -> None:
        """Read the file, when there is one."""
        self._path = path
        self._entries = {entry.notifid: entry for entry in self._read()}

    def _read(self) -> list[Entry]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        checksum, _, body = content.removeprefix(_MAGIC).partition(b"\n")
        try:
            if not content.startswith(_MAGIC) or int(checksum, 16) != crc32(body):
                raise ValueError("it is damaged, or of another version")
            return msgspec.json.decode(body, type=list[Entry])
        except (ValueError, msgspec.DecodeError) as error:
            aside = self._path.with_suffix(".damaged")
            self._path.replace(aside)
            self.log.error("{path}: {error}; it is {aside} now", path=self._path, error=str(error), aside=aside)
            return []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, notifid: str) -> Entry | None:
        """The entry of an id."""
        return self._entries.get(notifid)

    def put(self, entry: Entry) -> None:
        """Keep an entry, in place of a former one."""
        self._entries[entry.notifid] = entry

    def remove(self, notifid: str) -> None:
        """Forget an entry, if it is there."""
        self._entries.pop(notifid, None)

    def content(self) -> bytes:
        """What the file has to hold."""
        body = msgspec.json.encode(list(self._entries.values()))
        return b"%b%08x\n%b" % (_MAGIC, crc32(body), body)

    def save(self, content: bytes) -> None:
        """Replace the file; it is on stable storage afterwards. Raises OSError."""
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
