"""Events of a long answer in event order, in bounded memory: sorted runs in a temporary file, then merged.

An answer that fits one run never touches the disk.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from heapq import merge
from tempfile import TemporaryFile
from typing import IO, Final

from lb.model.event import Event
from lb.model.seqcode import event_key
from lb.server.events import read_event

#: Events held at once, some 2 kB each, and bytes of their lines: descriptions have megabytes.
RUN: Final = 10_000
RUN_BYTES: Final = 16 << 20
#: Bytes read ahead of each run while they are merged.
_AHEAD: Final = 64 << 10
_HEAD: Final = struct.Struct("<qI")


class EventSorter:
    """Takes events in the order of their arrival and gives them in event order; `condor` as for `in_order`."""

    def __init__(self, *, condor: bool = False, run: int = RUN, run_bytes: int = RUN_BYTES) -> None:
        self.count = 0
        self._key = event_key(condor=condor)
        self._run = run
        self._run_bytes = run_bytes
        self._held_bytes = 0
        self._held: list[tuple[Event, bytes]] = []
        self._file: IO[bytes] | None = None
        self._runs: list[tuple[int, int]] = []

    def add(self, event: Event, line: bytes) -> None:
        """One more event and the line it was read from."""
        self._held.append((event, line))
        self.count += 1
        self._held_bytes += len(line)
        if len(self._held) == self._run or self._held_bytes >= self._run_bytes:
            self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115  # `close` is called for it
        start = self._file.seek(0, 2)
        for event, line in self._sorted():
            self._file.write(_HEAD.pack(event.arrived or 0, len(line)) + line)
        self._runs.append((start, self._file.tell()))
        self._held.clear()
        self._held_bytes = 0

    def __iter__(self) -> Iterator[Event]:
        """All events, once."""
        if not self._runs:
            yield from (event for event, _ in self._sorted())
            return
        self._spill()
        yield from merge(*(self._read(start, end) for start, end in self._runs), key=self._key)

    def _sorted(self) -> list[tuple[Event, bytes]]:
        return sorted(self._held, key=lambda held: self._key(held[0]))

    def _read(self, start: int, end: int) -> Iterator[Event]:
        assert self._file is not None  # it holds the runs
        held, position = b"", start
        while held or position < end:
            while len(held) < _HEAD.size or len(held) < _HEAD.size + _HEAD.unpack_from(held)[1]:
                self._file.seek(position)
                more = self._file.read(min(_AHEAD, end - position))
                held, position = held + more, position + len(more)
            arrived, length = _HEAD.unpack_from(held)
            event = read_event(arrived, held[_HEAD.size : _HEAD.size + length])
            held = held[_HEAD.size + length :]
            yield event

    def close(self) -> None:
        """Give the disk back."""
        if self._file is not None:
            self._file.close()
