"""Statistics in an SQLite database: counted in the transaction of the events, so that each counts once (P3)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from lb.store.columns import from_sql, reported, to_sql, transaction
from lb.store.statistics import ARCHIVES, Count, Slot, overdue

_ADD: Final = (
    " ON CONFLICT (counter, grp, start, width) DO UPDATE SET number = number + excluded.number,"
    " total = total + excluded.total, squares = squares + excluded.squares"
)


class StatisticsTable:
    """The writing side; `add` belongs to the transaction of the events."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, counts: Sequence[Count]) -> None:
        if counts:
            rows = [(each.counter, to_sql(each.group), *each[2:]) for each in counts]
            self._connection.execute(
                "INSERT INTO statistics (counter, grp, start, width, number, total, squares)"
                f" SELECT value ->> 0, value ->> 1, value ->> 2, {ARCHIVES[0].width}, value ->> 3, value ->> 4,"
                f" value ->> 5 FROM json_each(?) WHERE true{_ADD}",
                (json.dumps(rows),),
            )

    def merge(self, now: int, most: int) -> bool:
        """Merge slots into wider ones and forget old ones, at most so many; whether there is more to do."""
        with transaction(self._connection):
            for width, wider, before in overdue(now):
                rows = self._connection.execute(
                    "SELECT counter, grp, start FROM statistics WHERE width = ? AND start < ? LIMIT ?",
                    (width, before, most),
                ).fetchall()
                if rows:
                    self._move(width, wider, rows)
                    return True
        return False

    def _move(self, width: int, wider: int | None, rows: list[tuple[str, str, int]]) -> None:
        chosen = json.dumps(rows)
        among = (
            "(counter, grp, start) IN (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)) AND width = ?2"
        )
        if wider is not None:
            self._connection.execute(
                "INSERT INTO statistics (counter, grp, start, width, number, total, squares)"
                " SELECT counter, grp, start - start % ?3, ?3, sum(number), sum(total), sum(squares)"
                f" FROM statistics WHERE {among} GROUP BY counter, grp, start - start % ?3{_ADD}",
                (chosen, width, wider),
            )
        self._connection.execute(f"DELETE FROM statistics WHERE {among}", (chosen, width))


class SQLiteStatisticsReader:
    """The reading side."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def slots(self, counter: str, group: str | None, since: int, until: int) -> list[Slot]:
        """The slots that overlap a time, of one group or of all, by group."""
        one = "" if group is None else " AND grp = ?"
        with reported():
            rows = self._connection.execute(
                "SELECT grp, start, width, number, total, squares FROM statistics"
                f" WHERE counter = ? AND start < ? AND start + width > ?{one} ORDER BY grp, start",
                (counter, until, since, *(() if group is None else (to_sql(group),))),
            ).fetchall()
        return [Slot(from_sql(row[0]), *row[1:]) for row in rows]
