"""What a store is asked to find jobs by: ranges of values in one column, or all jobs.

A selection may give more jobs than meet a query's conditions, never fewer; who asks looks at each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from lb.model.indexing import Column, Index
from lb.model.query import Attribute
from lb.store.interface import StoredEvent

#: Characters of a text that an index holds; what is longer is found by its beginning.
INDEXED_TEXT: Final = 120

#: Columns that need no configuration.
JOBID: Final = Column(Attribute.JOBID)
PARENT: Final = Column(Attribute.PARENT)


class Range(NamedTuple):
    """Values from `low` to `high`, both included; None is no bound."""

    low: Any
    high: Any


class Selection(NamedTuple):
    """Jobs whose value in a column lies in one of the ranges; without a column all jobs."""

    column: Column | None
    ranges: Sequence[Range] = ()


class Place(NamedTuple):
    """Where a job stands: its key, and its unique part, in whose order jobs are listed."""

    key: int
    unique: str


class Arrived(NamedTuple):
    """An event as it came, of whatever job."""

    arrived: int  #: microseconds since the epoch
    number: int
    line: bytes


class Finder(Protocol):
    """The part of a reading side that finds jobs by selections."""

    def indices(self) -> tuple[Index, ...]:
        """What is configured to be indexed, as far as it is filled."""

    def estimate(self, selection: Selection, most: int) -> int:
        """How many jobs there are in a selection; `most` stands for all greater numbers."""

    def places(self, selection: Selection, after: str, most: int) -> list[Place]:
        """The next jobs of a selection behind a unique part, at most so many, in the order of their unique parts."""

    def pages(self, selection: Selection, after: str, most: int) -> Iterator[list[Place]]:
        """The jobs of a selection behind a unique part, in the order of these, at most so many at once, or none.

        Nothing is held open between the pages, and each takes milliseconds, however many jobs there are.
        """

    def newest(self, selection: Selection, before: int | None, most: int) -> Iterator[tuple[list[int], int]]:
        """Keys of the jobs of a selection that are older than a key, newest first, at most so many at once, or none.

        With each page the key behind which to go on; otherwise as `pages`.
        """

    def last_event(self, key: int) -> tuple[int, int]:
        """Number and time of arrival (microseconds) of the last event of a job; zeros without any."""

    def arrived(self, since: int, until: int, after: Arrived | None, most: int) -> list[Arrived]:
        """Events that arrived after one time and not after another (microseconds), in that order, at most so many.

        `after`: the last one of those before.
        """

    def event_pages(self, key: int, most: int, after: int = 0, until: int | None = None) -> Iterator[list[StoredEvent]]:
        """The events of a job in the order of arrival, so many at once; numbers behind `after` to `until`."""
