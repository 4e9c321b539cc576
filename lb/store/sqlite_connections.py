"""Connections between jobs in the SQLite store: the rows of a batch, and those of one job for answers.

A store in which nobody connects jobs never pays for them: whether there are any is remembered.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from itertools import groupby

from lb.store.columns import from_sql, to_sql
from lb.store.interface import Connection, ConnectionChange, Link


class ConnectionTable:
    """The writing side; its statements are part of the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        (self._used,) = connection.execute("SELECT EXISTS (SELECT 1 FROM connections)").fetchone()

    def write(self, changes: Sequence[ConnectionChange]) -> None:
        """Make the changes, in their order; a finished job's connections in both directions become inactive."""
        self._used = self._used or any(change.status is not Link.INACTIVE for change in changes)
        if not self._used:
            return
        for status, group in groupby(changes, lambda change: change.status):
            if status is Link.ACTIVE:
                self._connect(list(group))
            elif status is Link.CANCELLED:
                self._cancel(list(group))
            else:
                self._settle(list(group))

    def _connect(self, changes: list[ConnectionChange]) -> None:
        self._connection.execute(
            "INSERT INTO connections (job, other, type, status)"
            " SELECT value ->> 0, value ->> 1, value ->> 2, ?2 FROM json_each(?1) WHERE true"
            " ON CONFLICT (job, other) DO UPDATE SET type = excluded.type, status = excluded.status",
            (json.dumps([(each.job, to_sql(each.other), each.type) for each in changes]), Link.ACTIVE),
        )

    def _cancel(self, changes: list[ConnectionChange]) -> None:
        self._connection.execute(
            "UPDATE connections SET status = ?2 FROM json_each(?1) v"
            " WHERE connections.job = v.value ->> 0 AND connections.other = v.value ->> 1",
            (json.dumps([(each.job, to_sql(each.other)) for each in changes]), Link.CANCELLED),
        )

    def _settle(self, changes: list[ConnectionChange]) -> None:
        ended = {"job": [each.job for each in changes], "other": [to_sql(each.other) for each in changes]}
        for column, values in ended.items():
            self._connection.execute(
                "UPDATE connections SET status = ?2"
                f" WHERE status = ?3 AND {column} IN (SELECT value FROM json_each(?1))",
                (json.dumps(values), Link.INACTIVE, Link.ACTIVE),
            )


def connections_of(connection: sqlite3.Connection, job: int) -> list[Connection]:
    """What a job is connected to, by the id of the other."""
    rows = connection.execute("SELECT other, type, status FROM connections WHERE job = ? ORDER BY other", (job,))
    return [Connection(from_sql(other), type_, Link(status)) for other, type_, status in rows]
