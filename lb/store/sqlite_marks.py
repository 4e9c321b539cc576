"""Numbers that a store keeps under a name, e.g. how far dumps have come."""

from __future__ import annotations

import sqlite3

from lb.store.columns import reported, transaction

_PREFIX = "mark "


class MarkTable:
    """Each call is a transaction of its own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, name: str) -> int:
        """The number, 0 when there is none yet."""
        with reported():
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (_PREFIX + name,)).fetchone()
        return 0 if row is None else int(row[0])

    def put(self, numbers: dict[str, int]) -> None:
        with transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [(_PREFIX + name, str(number)) for name, number in numbers.items()],
            )
