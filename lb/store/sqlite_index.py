"""The writing side of what is indexed of jobs in an SQLite database, changed while the server runs.

Values are kept in the transaction that changes their job; a column that is new is filled, and one that is dropped is
emptied, a slice at a time between the batches. Knows nothing of queries.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from lb.model.indexing import Index, from_title
from lb.model.status import JobStatus
from lb.state.job import decode
from lb.store.columns import from_sql, reported, to_sql, transaction
from lb.store.indexed import META, IndexVersion, Kept, configuration, configured, rows_of, wanted_titles
from lb.store.interface import StoredJob
from lb.store.selection import INDEXED_TEXT


def indexed_value(value: Any) -> Any:
    """A value as the index holds it: of texts the beginning only. JSON in SQLite ends at a zero byte."""
    return to_sql(value).partition("\0")[0][:INDEXED_TEXT] if isinstance(value, str) else value


class IndexTable:
    """Configured columns and their values; `write` belongs to the transaction of the jobs."""

    def __init__(self, connection: sqlite3.Connection, version: IndexVersion) -> None:
        self._connection = connection
        self._version = version
        self._kept = self._read()

    def _read(self) -> list[Kept]:
        rows = self._connection.execute("SELECT id, title FROM index_columns WHERE NOT dropped ORDER BY id")
        return [Kept(id_, from_title(from_sql(title))) for id_, title in rows]

    @property
    def indices(self) -> tuple[Index, ...]:
        """What is configured, filled or not."""
        with reported():
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (META,)).fetchone()
        return configured(None if row is None else row[0])

    def configure(self, indices: Sequence[Index]) -> None:
        """Have these indices from now on; what is new is usable when `fill` has nothing left to do."""
        wanted = wanted_titles(indices)
        with transaction(self._connection):
            self._connection.execute(
                "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (META, configuration(indices)),
            )
            gone = [kept.id for kept in self._kept if kept.column.title not in wanted]
            self._connection.execute(
                "UPDATE index_columns SET dropped = 1 WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(gone),),
            )
            here = {kept.column.title for kept in self._kept}
            self._connection.executemany(
                "INSERT INTO index_columns (title, filled, dropped) VALUES (?, 0, 0)",
                [(to_sql(title),) for title in wanted if title not in here],
            )
        self._kept = self._read()
        self._version.number += 1

    def write(self, jobs: Iterable[StoredJob]) -> None:
        """Keep the values of jobs that are written."""
        if self._kept:
            self._replace((job.key, job.jobid.unique, job.state.status) for job in jobs)

    def _replace(self, jobs: Iterable[tuple[int, str, JobStatus]]) -> None:
        keys, rows = rows_of(jobs, self._kept, indexed_value, to_sql)
        held = json.dumps(rows)
        # Most events change none of the values: what stands already is neither deleted nor written again.
        self._connection.execute(
            "DELETE FROM indexed WHERE job IN (SELECT value FROM json_each(?1)) AND (column_id, value, unique_part)"
            " NOT IN (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2))",
            (json.dumps(keys), held),
        )
        self._connection.execute(
            "INSERT INTO indexed (column_id, value, unique_part, job)"
            " SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)"
            " WHERE true ON CONFLICT DO NOTHING",
            (held,),
        )

    def fill(self, most: int) -> bool:
        """Fill new columns from the next jobs, or delete rows of dropped ones, so many; whether there is more to do."""
        with transaction(self._connection):
            more = self._empty(most) or self._fill(most)
        if more:
            self._version.number += 1
        return more

    def _empty(self, most: int) -> bool:
        found = self._connection.execute("SELECT id FROM index_columns WHERE dropped LIMIT 1").fetchone()
        if found is None:
            return False
        last = self._connection.execute(
            "SELECT value, unique_part FROM indexed WHERE column_id = ? ORDER BY value, unique_part LIMIT 1 OFFSET ?",
            (*found, most - 1),
        ).fetchone()
        if last is not None:
            self._connection.execute(
                "DELETE FROM indexed WHERE column_id = ? AND (value, unique_part) <= (?, ?)", (*found, *last)
            )
        else:
            self._connection.execute("DELETE FROM indexed WHERE column_id = ?", found)
            self._connection.execute("DELETE FROM index_columns WHERE id = ?", found)
        return True

    def _fill(self, most: int) -> bool:
        (behind,) = self._connection.execute(
            "SELECT min(filled) FROM index_columns WHERE NOT dropped AND filled IS NOT NULL"
        ).fetchone()
        if behind is None:
            return False
        rows = self._connection.execute(
            "SELECT id, unique_part, status FROM jobs WHERE id > ? ORDER BY id LIMIT ?", (behind, most)
        ).fetchall()
        self._replace((key, from_sql(unique), decode(status).status) for key, unique, status in rows)
        reached = rows[-1][0] if len(rows) == most else None
        self._connection.execute(
            "UPDATE index_columns SET filled = ?1 WHERE filled IS NOT NULL AND (?1 IS NULL OR filled < ?1)", (reached,)
        )
        return True

    def remove(self, keys: Sequence[int]) -> None:
        """Forget jobs, in the transaction that deletes them."""
        self._connection.execute(
            "DELETE FROM indexed WHERE job IN (SELECT value FROM json_each(?))", (json.dumps(list(keys)),)
        )
