"""What two SQL databases say differently in the statements that find jobs.

Statements are written once, with ``?`` for parameters; a dialect fills in the few places where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Dialect(NamedTuple):
    """How a database is spoken to."""

    rows: Callable[[str, Sequence[Any]], list[Any]]  #: all rows of a statement; raises `StoreError`
    text: Callable[[str], Any]  #: a text as columns hold it
    from_text: Callable[[Any], str]
    value: Callable[[Any], Any]  #: a number or text as `indexed` holds it
    among: str  #: what follows a column that is to have one of many values
    listed: Callable[[Sequence[Any]], Any]  #: these values as a parameter
    aloof: str  #: a column for which no index is chosen
    last_unique: str  #: the greatest of the unique parts, which come in their order
    indexed_by_job: str  #: the table `indexed`, looked at in the order of jobs
    events: str  #: arrival and line of events by their numbers, in the order of these
