"""What a store keeps of statistics: numbers and durations of what happened to groups of jobs, in slots of time.

The widths of the slots and how long each is kept are those of the C server (spec: wire-query.md §8.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol


class Archive(NamedTuple):
    """Slots of one width, and how far they reach back; in seconds."""

    width: int
    span: int


#: The finest first.
ARCHIVES: Final = (Archive(10, 600), Archive(60, 1_800), Archive(900, 10_800), Archive(3_600, 604_800))


def overdue(now: int) -> Iterator[tuple[int, int | None, int]]:
    """For each archive: its width, that of the next wider one or None, and before which time its slots are too old.

    `now`: seconds since the epoch.
    """
    for archive, wider in zip(ARCHIVES, (*ARCHIVES[1:], None), strict=True):
        yield archive.width, None if wider is None else wider.width, now - archive.span - archive.width


class Count(NamedTuple):
    """What is added to a slot: so many, with their durations' sum and sum of squares (s)."""

    counter: str
    group: str
    start: int  #: seconds since the epoch, a multiple of the finest width
    number: int
    total: float = 0.0
    squares: float = 0.0


class Slot(NamedTuple):
    """What a slot holds."""

    group: str
    start: int
    width: int
    number: int
    total: float
    squares: float


class StatisticsWriter(Protocol):
    """The writing side beside the events."""

    def merge(self, now: int, most: int) -> bool:
        """Merge slots into wider ones and forget old ones, at most so many; whether there is more to do.

        `now`: seconds since the epoch. A transaction of its own.
        """


class StatisticsReader(Protocol):
    """The reading side."""

    def slots(self, counter: str, group: str | None, since: int, until: int) -> Sequence[Slot]:
        """The slots that overlap a time, of one group or of all, by group."""
