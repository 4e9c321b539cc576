"""The small tables of a PostgreSQL store that are written beside jobs and events: connections, statistics, marks.

`write` and `add` belong to the transaction of the events; other calls are transactions of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from lb.store.interface import Connection, ConnectionChange, Link
from lb.store.postgres_columns import columns, from_bytes, to_bytes, to_key
from lb.store.postgres_session import Session
from lb.store.statistics import ARCHIVES, Count, Slot, overdue

_MARK: Final = "mark "
_ADD: Final = (
    " ON CONFLICT (counter, grp, start, width) DO UPDATE SET number = statistics.number + excluded.number,"
    " total = statistics.total + excluded.total, squares = statistics.squares + excluded.squares"
)


class ConnectionTable:
    """Connections between jobs. Who never connects any never pays for them: whether there are some is remembered."""

    def __init__(self, session: Session) -> None:
        self._session = session
        ((self._used,),) = session.rows("SELECT EXISTS (SELECT 1 FROM connections)")

    def write(self, changes: Sequence[ConnectionChange]) -> None:
        """Make the changes, in their order; a finished job's connections in both directions become inactive."""
        self._used = self._used or any(change.status is not Link.INACTIVE for change in changes)
        if not self._used:
            return
        for status, group in groupby(changes, lambda change: change.status):
            several = list(group)
            if status is Link.INACTIVE:
                self._settle(several)
            else:
                # The last of several changes of one connection counts.
                self._set({(each.job, to_bytes(each.other)): each.type for each in several}, status)

    def _set(self, types: dict[tuple[int, bytes], int], status: Link) -> None:
        rows = columns([(*pair, type_) for pair, type_ in types.items()], 3)
        unnested = "unnest(%s::bigint[], %s::bytea[], %s::integer[]) AS v (job, other, type)"
        if status is Link.ACTIVE:
            self._session.change(
                f"INSERT INTO connections (job, other, type, status) SELECT job, other, type, %s FROM {unnested}"
                " ON CONFLICT (job, other) DO UPDATE SET type = excluded.type, status = excluded.status",
                (int(status), *rows),
            )
        else:
            self._session.change(
                f"UPDATE connections SET status = %s FROM {unnested}"
                " WHERE connections.job = v.job AND connections.other = v.other",
                (int(status), *rows),
            )

    def _settle(self, changes: list[ConnectionChange]) -> None:
        ended = {"job": [each.job for each in changes], "other": [to_bytes(each.other) for each in changes]}
        for column, values in ended.items():
            self._session.change(
                f"UPDATE connections SET status = %s WHERE status = %s AND {column} = ANY(%s)",
                (int(Link.INACTIVE), int(Link.ACTIVE), values),
            )


def connections_of(session: Session, job: int) -> list[Connection]:
    """What a job is connected to, by the id of the other."""
    rows = session.rows("SELECT other, type, status FROM connections WHERE job = %s ORDER BY other", (job,))
    return [Connection(from_bytes(other), type_, Link(status)) for other, type_, status in rows]


class StatisticsTable:
    """The writing side of statistics."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, counts: Sequence[Count]) -> None:
        if counts:
            # A statement changes a row once: groups of which the beginning is the same become one in it.
            self._session.change(
                "INSERT INTO statistics (counter, grp, start, width, number, total, squares)"
                f" SELECT counter, grp, start, {ARCHIVES[0].width}, sum(number), sum(total), sum(squares)"
                " FROM unnest(%s::text[], %s::bytea[], %s::bigint[], %s::bigint[], %s::float8[], %s::float8[])"
                f" AS v (counter, grp, start, number, total, squares) GROUP BY counter, grp, start{_ADD}",
                columns([(each.counter, to_key(each.group), *each[2:]) for each in counts], 6),
            )

    def merge(self, now: int, most: int) -> bool:
        """Merge slots into wider ones and forget old ones, at most so many; whether there is more to do."""
        with self._session.transaction():
            for width, wider, before in overdue(now):
                rows = self._session.rows(
                    "SELECT counter, grp, start FROM statistics WHERE width = %s AND start < %s LIMIT %s",
                    (width, before, most),
                )
                if rows:
                    self._move(width, wider, rows)
                    return True
        return False

    def _move(self, width: int, wider: int | None, rows: list[tuple[str, bytes, int]]) -> None:
        chosen = columns(rows, 3)
        among = "(counter, grp, start) IN (SELECT * FROM unnest(%s::text[], %s::bytea[], %s::bigint[])) AND width = %s"
        if wider is not None:
            self._session.change(
                "INSERT INTO statistics (counter, grp, start, width, number, total, squares)"
                f" SELECT counter, grp, start - mod(start, {wider}), {wider}, sum(number), sum(total), sum(squares)"
                f" FROM statistics WHERE {among} GROUP BY counter, grp, start - mod(start, {wider}){_ADD}",
                (*chosen, width),
            )
        self._session.change(f"DELETE FROM statistics WHERE {among}", (*chosen, width))


class PostgresStatisticsReader:
    """The reading side of statistics."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def slots(self, counter: str, group: str | None, since: int, until: int) -> list[Slot]:
        """The slots that overlap a time, of one group or of all, by group."""
        one = "" if group is None else " AND grp = %s"
        rows = self._session.rows(
            "SELECT grp, start, width, number, total, squares FROM statistics"
            f" WHERE counter = %s AND start < %s AND start + width > %s{one} ORDER BY grp, start",
            (counter, until, since, *(() if group is None else (to_key(group),))),
        )
        return [Slot(from_bytes(row[0]), *row[1:]) for row in rows]


class MarkTable:
    """Numbers that a store keeps under a name."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, name: str) -> int:
        """The number, 0 when there is none yet."""
        rows = self._session.rows("SELECT value FROM meta WHERE name = %s", (_MARK + name,))
        return int(rows[0][0]) if rows else 0

    def put(self, numbers: dict[str, int]) -> None:
        if not numbers:
            return
        with self._session.transaction():
            self._session.change(
                "INSERT INTO meta (name, value) SELECT * FROM unnest(%s::text[], %s::text[])"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                columns([(_MARK + name, str(number)) for name, number in numbers.items()], 2),
            )
