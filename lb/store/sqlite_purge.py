"""Removing jobs from an SQLite database: their rows at once, their events in slices, their ids remembered.

Written by the store's writing thread. Decides nothing: who is purged, and whether what they were is kept elsewhere,
is for its caller.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Final

from lb.store.columns import from_sql, json_texts, reported, transaction
from lb.store.interface import NOTHING_OUTGOING, Outgoing
from lb.store.sqlite_index import IndexTable
from lb.store.sqlite_outbox import write_outgoing

_CHOSEN: Final = "SELECT value FROM json_each(?)"


def purged_among(connection: sqlite3.Connection, uniques: Collection[str]) -> set[str]:
    """Those of these jobs that were purged and have not come again."""
    rows = connection.execute(
        f"SELECT unique_part FROM purged WHERE unique_part IN ({_CHOSEN})", (json_texts(uniques),)
    )
    return {from_sql(unique) for (unique,) in rows}


class PurgeTable:
    """Purged jobs and what is left of them."""

    def __init__(self, connection: sqlite3.Connection, index: IndexTable) -> None:
        self._connection = connection
        self._index = index

    @property
    def last_key(self) -> int:
        """The greatest number that a job has or had while something of it is left."""
        (key,) = self._connection.execute(
            "SELECT max((SELECT coalesce(max(id), 0) FROM jobs), (SELECT coalesce(max(job), 0) FROM doomed))"
        ).fetchone()
        return int(key)

    def purged(self, uniques: Collection[str]) -> set[str]:
        """Those of these jobs that were purged and have not come again."""
        with reported():
            return purged_among(self._connection, uniques)

    def revive(self, uniques: Sequence[str]) -> None:
        """Jobs that come again are purged no longer; within the transaction of whoever calls."""
        if uniques:
            self._connection.execute(f"DELETE FROM purged WHERE unique_part IN ({_CHOSEN})", (json_texts(uniques),))

    def unchanged(self, seen: Sequence[tuple[int, int]]) -> set[int]:
        """Keys of those jobs whose last event has the number it had: (key, number of the last event or 0) pairs."""
        with reported():
            rows = self._connection.execute(
                "SELECT value ->> 0 FROM json_each(?) WHERE (value ->> 1) ="
                " (SELECT coalesce(max(id), 0) FROM events WHERE job = (value ->> 0))",
                (json.dumps(list(seen)),),
            ).fetchall()
        return {key for (key,) in rows}

    def remove(self, keys: Sequence[int], at: int, outgoing: Outgoing = NOTHING_OUTGOING) -> None:
        """Delete jobs, remember their ids, and add notices; their events are left to `clear`.

        `at`: microseconds since the epoch. One transaction; raises `StoreError`.
        """
        chosen = (json.dumps(list(keys)),)
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO purged (unique_part, at) SELECT unique_part, ?2 FROM jobs"
                " WHERE id IN (SELECT value FROM json_each(?1))"
                " ON CONFLICT (unique_part) DO UPDATE SET at = excluded.at",
                (*chosen, at),
            )
            self._connection.execute(f"INSERT INTO doomed (job) {_CHOSEN}", chosen)
            # Connections from and to them.
            self._connection.execute(
                "DELETE FROM connections WHERE other IN (SELECT 'https://' || host || ':' || port || '/' || unique_part"
                f" FROM jobs WHERE id IN ({_CHOSEN}))",
                chosen,
            )
            self._index.remove(keys)
            for table, column in (("connections", "job"), ("texts", "job"), ("missed", "job"), ("jobs", "id")):
                self._connection.execute(f"DELETE FROM {table} WHERE {column} IN ({_CHOSEN})", chosen)
            write_outgoing(self._connection, outgoing)

    def clear(self, most: int) -> bool:
        """Delete at most so many events of removed jobs; whether there may be more."""
        with reported():
            found = self._connection.execute("SELECT job FROM doomed LIMIT 1").fetchone()
        if found is None:
            return False
        with transaction(self._connection):
            deleted = self._connection.execute(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE job = ? LIMIT ?)", (*found, most)
            ).rowcount
            if deleted < most:
                self._connection.execute("DELETE FROM doomed WHERE job = ?", found)
        return True
