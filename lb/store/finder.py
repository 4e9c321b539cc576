"""Finding jobs in an SQL database by selections: the reading side of queries, a page at a time.

Where an index gives the order of the answer a page costs what it holds; where it does not, a small selection is
sorted, and a great one picked out of all jobs in their order. Knows nothing of conditions or of who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from lb.model.indexing import OWNER, Column, Index, from_title
from lb.store.dialect import Dialect
from lb.store.indexed import META, IndexVersion, configured
from lb.store.interface import StoredEvent
from lb.store.selection import JOBID, PARENT, Arrived, Place, Range, Selection
from lb.store.walk import Picked, by_key, by_unique_part

#: Columns of `jobs` that stand for themselves.
_OWN: Final = {JOBID: "unique_part", OWNER: "owner_key", PARENT: "parent"}


#: Numbers of events that are looked up at once: 20,000 take some 2 ms.
_NUMBERS: Final = 20_000
#: Ranges that a statement tells apart: SQLite refuses expressions of a thousand terms.
_SPANS: Final = 100
#: Jobs that are sorted at once where no index gives their order: some 10 ms.
_SORTED: Final = 10_000
#: No event and no job has a greater number.
_LAST: Final = (1 << 63) - 1


class _Source(NamedTuple):
    """Where a selection's jobs stand: a table, its columns for key, and the condition with its parameters."""

    table: str
    key: str
    condition: str
    parameters: Sequence[Any]


class _Filled(NamedTuple):
    """What is indexed, as far as it is filled: the numbers of the columns in `indexed`, and the indices."""

    version: int
    columns: dict[Column, int]
    indices: tuple[Index, ...]


_ALL: Final = _Source("jobs", "id", "true", ())


class SQLFinder:
    """The part of a reading side that answers selections."""

    def __init__(self, dialect: Dialect, version: IndexVersion) -> None:
        """`version`: of what the writing side keeps indexed."""
        self._dialect = dialect
        self._rows = dialect.rows
        self._version = version
        self._filled: _Filled | None = None

    def indices(self) -> tuple[Index, ...]:
        """What is configured to be indexed, as far as it is filled."""
        return self._read().indices

    def _columns(self) -> dict[Column, int]:
        return self._read().columns

    def _read(self) -> _Filled:
        version = self._version.number
        if self._filled is None or self._filled.version != version:
            rows = self._rows("SELECT title, id FROM index_columns WHERE NOT dropped AND filled IS NULL", ())
            columns = {from_title(self._dialect.from_text(title)): id_ for title, id_ in rows}
            ready = {*_OWN, *columns}
            found = self._rows("SELECT value FROM meta WHERE name = ?", (META,))
            indices = configured(found[0][0] if found else None)
            self._filled = _Filled(version, columns, tuple(index for index in indices if ready.issuperset(index)))
        return self._filled

    def _source(self, selection: Selection) -> _Source | None:
        if selection.column is None:
            return _ALL
        own = _OWN.get(selection.column)
        if own is not None:
            return _Source("jobs", "id", *_ranges(own, selection.ranges, self._whole, self._dialect))
        column = self._columns().get(selection.column)
        if column is None:
            return None
        condition, parameters = _ranges("value", selection.ranges, self._dialect.value, self._dialect)
        return _Source("indexed", "job", f"column_id = ? AND {condition}", [column, *parameters])

    def _whole(self, value: Any) -> Any:
        return self._dialect.text(value) if isinstance(value, str) else value

    def estimate(self, selection: Selection, most: int) -> int:
        """How many jobs there are in a selection; `most` stands for all greater numbers and for what is unknown."""
        source = self._source(selection)
        if source is None:
            return most
        ((count,),) = self._rows(
            f"SELECT count(*) FROM (SELECT 1 FROM {source.table} WHERE {source.condition} LIMIT ?) AS counted",
            (*source.parameters, most),
        )
        return int(count)

    def places(self, selection: Selection, after: str, most: int) -> list[Place]:
        """The next jobs of a selection behind a unique part, at most so many, in the order of their unique parts."""
        # A column that was dropped meanwhile leads nowhere: all jobs are looked at then.
        source = self._source(selection) or _ALL
        # A job has one value in a column: nothing comes twice.
        rows = self._rows(
            f"SELECT {source.key}, unique_part FROM {source.table}"
            f" WHERE {source.condition} AND unique_part > ? ORDER BY unique_part LIMIT ?",
            (*source.parameters, self._dialect.text(after), most),
        )
        return [Place(key, self._dialect.from_text(unique)) for key, unique in rows]

    def pages(self, selection: Selection, after: str, most: int) -> Iterator[list[Place]]:
        """The jobs of a selection behind a unique part, in the order of these, at most so many at once, or none.

        Nothing is held open between the pages, and each takes milliseconds.
        """
        size = most if _point(selection) or selection.column in (None, JOBID) else _SORTED
        picked = self._picked(selection, "j.", "i.") if size != most and self._great(selection) else None
        if picked is not None:
            for rows in by_unique_part(self._dialect, picked, self._dialect.text(after), most):
                yield [Place(key, self._dialect.from_text(unique)) for key, unique in rows]
            return
        while places := self.places(selection, after, size):
            for start in range(0, len(places), most):
                yield places[start : start + most]
            if len(places) < size:
                return
            after = places[-1].unique

    def newest(self, selection: Selection, before: int | None, most: int) -> Iterator[tuple[list[int], int]]:
        """Keys of the jobs of a selection that are older than a key, newest first, at most so many at once, or none.

        With each page the key behind which to go on. Nothing is held open between the pages, and each takes
        milliseconds.
        """
        before = _LAST if before is None else before
        ordered = selection.column is None or (selection.column in (OWNER, PARENT) and _point(selection))
        size = most if ordered else _SORTED
        picked = self._picked(selection) if size != most and self._great(selection) else None
        if picked is not None:
            yield from by_key(self._dialect, picked, before, most)
            return
        while keys := self._newest(selection, before, size):
            for start in range(0, len(keys), most):
                page = keys[start : start + most]
                yield page, page[-1]
            if len(keys) < size:
                return
            before = keys[-1]

    def _newest(self, selection: Selection, before: int, most: int) -> list[int]:
        source = self._source(selection) or _ALL
        rows = self._rows(
            f"SELECT {source.key} FROM {source.table} WHERE {source.condition} AND {source.key} < ?"
            f" ORDER BY {source.key} DESC LIMIT ?",
            (*source.parameters, before, most),
        )
        return [key for (key,) in rows]

    def _great(self, selection: Selection) -> bool:
        """Whether there are too many jobs in a selection for them to be sorted."""
        return self.estimate(selection, _SORTED) == _SORTED

    def _picked(self, selection: Selection, jobs: str = "", indexed: str = "") -> Picked | None:
        """What tells the jobs of a selection one by one, with the names of the tables; None for a dropped column."""
        assert selection.column is not None
        own = _OWN.get(selection.column)
        aloof = self._dialect.aloof
        if own is not None:
            return Picked(*_ranges(aloof.format(f"{jobs}{own}"), selection.ranges, self._whole, self._dialect))
        column = self._columns().get(selection.column)
        if column is None:
            return None
        value = aloof.format(f"{indexed}value")
        return Picked(*_ranges(value, selection.ranges, self._dialect.value, self._dialect), column)

    def last_event(self, key: int) -> tuple[int, int]:
        """Number and time of arrival (microseconds) of the last event of a job; zeros without any."""
        rows = self._rows(
            "SELECT id, arrived FROM events WHERE id = (SELECT max(id) FROM events WHERE job = ?)", (key,)
        )
        return rows[0] if rows else (0, 0)

    def arrived(self, since: int, until: int, after: Arrived | None, most: int) -> list[Arrived]:
        """Events that arrived after one time and not after another (microseconds), in that order, at most so many.

        `after`: the last one of those before.
        """
        moment, number = (since, _LAST) if after is None else (after.arrived, after.number)
        rows = self._rows(
            "SELECT e.arrived, e.id, e.line FROM events e JOIN jobs j ON j.id = e.job"
            " WHERE e.arrived >= ? AND e.arrived <= ? AND (e.arrived > ? OR e.id > ?)"
            " ORDER BY e.arrived, e.id LIMIT ?",
            (moment, until, moment, number, most),
        )
        return [Arrived(*row) for row in rows]

    def event_pages(self, key: int, most: int, after: int = 0, until: int | None = None) -> Iterator[list[StoredEvent]]:
        """The events of a job in the order of arrival, so many at once; nothing is held open between the pages."""
        last = after
        while chosen := self._event_numbers(key, last, _LAST if until is None else until):
            for start in range(0, len(chosen), most):
                yield self._events(chosen[start : start + most])
            last = chosen[-1]
            if len(chosen) < _NUMBERS:
                return

    def _event_numbers(self, key: int, after: int, until: int) -> list[int]:
        rows = self._rows(
            "SELECT id FROM events WHERE job = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?",
            (key, after, until, _NUMBERS),
        )
        return [number for (number,) in rows]

    def _events(self, numbers: Sequence[int]) -> list[StoredEvent]:
        rows = self._rows(self._dialect.events, (self._dialect.listed(numbers),))
        return [StoredEvent(arrived, line) for arrived, line in rows]


def _point(selection: Selection) -> bool:
    """Whether there is one value that all jobs of a selection have in its column."""
    return len(selection.ranges) == 1 and selection.ranges[0].low == selection.ranges[0].high is not None


def _ranges(
    column: str, ranges: Sequence[Range], convert: Callable[[Any], Any], dialect: Dialect
) -> tuple[str, list[Any]]:
    """The condition that a column lies in one of the ranges, with its parameters: as few terms as many ranges have."""
    whole = [Range(convert(low), convert(high)) for low, high in ranges]
    points = [low for low, high in whole if low is not None and low == high]
    spans = [each for each in whole if each.low is None or each.low != each.high]
    terms, parameters = [], []
    if len(points) == 1:
        terms.append(f"{column} = ?")
        parameters += points
    elif points:
        terms.append(f"{column} {dialect.among}")
        parameters.append(dialect.listed(points))
    for low, high in spans if len(spans) <= _SPANS else [_around(spans)]:
        bounds = [(f"{column} >= ?", low), (f"{column} <= ?", high)]
        terms.append("(" + (" AND ".join(term for term, bound in bounds if bound is not None) or "true") + ")")
        parameters += [bound for _, bound in bounds if bound is not None]
    return "(" + " OR ".join(terms) + ")" if terms else "false", parameters


def _around(spans: Sequence[Range]) -> Range:
    """The range that holds all these."""
    lows, highs = zip(*spans, strict=True)
    return Range(None if None in lows else min(lows), None if None in highs else max(highs))
