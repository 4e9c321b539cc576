"""Removing jobs from a PostgreSQL database: their rows at once, their events in slices, their ids remembered.

Written by the store's writing thread. Decides nothing: who is purged, and whether what they were is kept elsewhere,
is for its caller.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lb.store.interface import NOTHING_OUTGOING, Outgoing
from lb.store.postgres_columns import columns, from_bytes, to_bytes
from lb.store.postgres_index import IndexTable
from lb.store.postgres_outbox import write_outgoing
from lb.store.postgres_session import Session


def purged_among(session: Session, uniques: Collection[str]) -> set[str]:
    """Those of these jobs that were purged and have not come again."""
    wanted = [to_bytes(unique) for unique in uniques]
    rows = session.rows("SELECT unique_part FROM purged WHERE unique_part = ANY(%s)", (wanted,))
    return {from_bytes(unique) for (unique,) in rows}


class PurgeTable:
    """Purged jobs and what is left of them."""

    def __init__(self, session: Session, index: IndexTable) -> None:
        self._session = session
        self._index = index

    @property
    def last_key(self) -> int:
        """The greatest number that a job has or had while something of it is left."""
        ((key,),) = self._session.rows(
            "SELECT greatest((SELECT coalesce(max(id), 0) FROM jobs), (SELECT coalesce(max(job), 0) FROM doomed))"
        )
        return int(key)

    def purged(self, uniques: Collection[str]) -> set[str]:
        """Those of these jobs that were purged and have not come again."""
        return purged_among(self._session, uniques)

    def revive(self, uniques: Sequence[str]) -> None:
        """Jobs that come again are purged no longer; within the transaction of whoever calls."""
        if uniques:
            self._session.change(
                "DELETE FROM purged WHERE unique_part = ANY(%s)", ([to_bytes(unique) for unique in uniques],)
            )

    def unchanged(self, seen: Sequence[tuple[int, int]]) -> set[int]:
        """Keys of those jobs whose last event has the number it had: (key, number of the last event or 0) pairs."""
        rows = self._session.rows(
            "SELECT v.job FROM unnest(%s::bigint[], %s::bigint[]) AS v (job, last)"
            " WHERE v.last = (SELECT coalesce(max(id), 0) FROM events WHERE job = v.job)",
            columns(list(seen), 2),
        )
        return {key for (key,) in rows}

    def remove(self, keys: Sequence[int], at: int, outgoing: Outgoing = NOTHING_OUTGOING) -> None:
        """Delete jobs, remember their ids, and add notices; their events are left to `clear`.

        `at`: microseconds since the epoch. One transaction; raises `StoreError`.
        """
        chosen = (list(keys),)
        with self._session.transaction():
            self._session.change(
                "INSERT INTO purged (unique_part, at) SELECT unique_part, %s FROM jobs WHERE id = ANY(%s)"
                " ON CONFLICT (unique_part) DO UPDATE SET at = excluded.at",
                (at, *chosen),
            )
            self._session.change("INSERT INTO doomed (job) SELECT unnest(%s::bigint[])", chosen)
            # Connections from and to them.
            self._session.change(
                "DELETE FROM connections WHERE other IN (SELECT convert_to('https://', 'UTF8') || host"
                " || convert_to(':' || port || '/', 'UTF8') || unique_part FROM jobs WHERE id = ANY(%s))",
                chosen,
            )
            self._index.remove(keys)
            for table, column in (("connections", "job"), ("texts", "job"), ("missed", "job"), ("jobs", "id")):
                self._session.change(f"DELETE FROM {table} WHERE {column} = ANY(%s)", chosen)
            write_outgoing(self._session, outgoing)

    def clear(self, most: int) -> bool:
        """Delete at most so many events of removed jobs; whether there may be more."""
        found = self._session.rows("SELECT job FROM doomed LIMIT 1")
        if not found:
            return False
        with self._session.transaction():
            deleted = self._session.change(
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE job = %s ORDER BY id LIMIT %s)",
                (*found[0], most),
            )
            if deleted < most:
                self._session.change("DELETE FROM doomed WHERE job = %s", found[0])
        return True
