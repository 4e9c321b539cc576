"""The server's own quarantine: a directory of files of what came and could neither be stored nor handed back.

Blocking, for the one thread that may wait for the disk. Nothing in it is ever deleted by the program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from lb.spool import quarantine
from lb.spool.filesystem import FileSystem


class Quarantine:
    """Appends entries of the form that the logger's quarantine has (lb.spool.quarantine)."""

    def __init__(self, folder: str, filesystem: FileSystem, now: Callable[[], float]) -> None:
        """`now`: seconds since the epoch. The directory is made for the first entry."""
        self._folder = folder
        self._filesystem = filesystem
        self._now = now
        self._numbers = itertools.count(1)

    def append(self, payload: bytes, reason: str) -> None:
        """Returns when the entry is on stable storage; raises OSError."""
        time = int(self._now() * 1_000_000)
        quarantine.append(self._filesystem, self._folder, next(self._numbers), payload, reason, time)
