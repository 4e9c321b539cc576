"""The writing side of what is indexed of jobs in a PostgreSQL database, changed while the server runs.

Values are kept in the transaction that changes their job; slices fill a new column and empty a dropped one.
Knows nothing of queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lb.model.indexing import Index, from_title
from lb.model.status import JobStatus
from lb.state.job import decode
from lb.store.indexed import META, IndexVersion, Kept, configuration, configured, rows_of, wanted_titles
from lb.store.interface import StoredJob
from lb.store.postgres_columns import columns, from_bytes, sortable, to_bytes
from lb.store.postgres_session import Session


class IndexTable:
    """Configured columns and their values; `write` belongs to the transaction of the jobs."""

    def __init__(self, session: Session, version: IndexVersion) -> None:
        self._session = session
        self._version = version
        self._known: list[Kept] | None = None

    @property
    def _kept(self) -> list[Kept]:
        if self._known is None:
            rows = self._session.rows("SELECT id, title FROM index_columns WHERE NOT dropped ORDER BY id")
            self._known = [Kept(id_, from_title(from_bytes(title))) for id_, title in rows]
        return self._known

    @property
    def indices(self) -> tuple[Index, ...]:
        """What is configured, filled or not."""
        rows = self._session.rows("SELECT value FROM meta WHERE name = %s", (META,))
        return configured(rows[0][0] if rows else None)

    def configure(self, indices: Sequence[Index]) -> None:
        """Have these indices from now on; what is new is usable when `fill` has nothing left to do."""
        wanted = wanted_titles(indices)
        kept = self._kept
        self._known = None  # also after a commit whose outcome is unknown
        with self._session.transaction():
            self._session.change(
                "INSERT INTO meta (name, value) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (META, configuration(indices)),
            )
            gone = [each.id for each in kept if each.column.title not in wanted]
            self._session.change("UPDATE index_columns SET dropped = true WHERE id = ANY(%s)", (gone,))
            here = {each.column.title for each in kept}
            fresh = [to_bytes(title) for title in wanted if title not in here]
            self._session.change(
                "INSERT INTO index_columns (title, filled, dropped) SELECT title, 0, false"
                " FROM unnest(%s::bytea[]) AS title",
                (fresh,),
            )
        self._version.number += 1

    def write(self, jobs: Iterable[StoredJob]) -> None:
        """Keep the values of jobs that are written."""
        if self._kept:
            self._replace((job.key, job.jobid.unique, job.state.status) for job in jobs)

    def _replace(self, jobs: Iterable[tuple[int, str, JobStatus]]) -> None:
        keys, rows = rows_of(jobs, self._kept, sortable, to_bytes)
        held = columns(rows, 4)
        # Most events change none of the values: what stands already is neither deleted nor written again.
        self._session.change(
            "DELETE FROM indexed WHERE job = ANY(%s) AND NOT EXISTS (SELECT 1 FROM"
            " unnest(%s::bigint[], %s::bytea[], %s::bytea[]) AS v (column_id, value, unique_part)"
            " WHERE v.column_id = indexed.column_id AND v.value = indexed.value"
            " AND v.unique_part = indexed.unique_part)",
            (keys, *held[:3]),
        )
        self._session.change(
            "INSERT INTO indexed (column_id, value, unique_part, job)"
            " SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[], %s::bigint[]) ON CONFLICT DO NOTHING",
            held,
        )

    def fill(self, most: int) -> bool:
        """Fill new columns from the next jobs, or delete rows of dropped ones, so many; whether there is more to do."""
        with self._session.transaction():
            more = self._empty(most) or self._fill(most)
        if more:
            self._version.number += 1
        return more

    def _empty(self, most: int) -> bool:
        found = self._session.rows("SELECT id FROM index_columns WHERE dropped LIMIT 1")
        if not found:
            return False
        (column,) = found[0]
        last = self._session.rows(
            "SELECT value, unique_part FROM indexed WHERE column_id = %s ORDER BY value, unique_part LIMIT 1 OFFSET %s",
            (column, most - 1),
        )
        if last:
            self._session.change(
                "DELETE FROM indexed WHERE column_id = %s AND (value, unique_part) <= (%s, %s)", (column, *last[0])
            )
        else:
            self._session.change("DELETE FROM indexed WHERE column_id = %s", (column,))
            self._session.change("DELETE FROM index_columns WHERE id = %s", (column,))
        return True

    def _fill(self, most: int) -> bool:
        ((behind,),) = self._session.rows(
            "SELECT min(filled) FROM index_columns WHERE NOT dropped AND filled IS NOT NULL"
        )
        if behind is None:
            return False
        rows = self._session.rows(
            "SELECT id, unique_part, status FROM jobs WHERE id > %s ORDER BY id LIMIT %s", (behind, most)
        )
        self._replace((key, from_bytes(unique), decode(status).status) for key, unique, status in rows)
        reached = rows[-1][0] if len(rows) == most else None
        self._session.change(
            "UPDATE index_columns SET filled = %s::bigint WHERE filled < coalesce(%s::bigint, filled + 1)",
            (reached, reached),
        )
        return True

    def remove(self, keys: Sequence[int]) -> None:
        """Forget jobs, in the transaction that deletes them."""
        self._session.change("DELETE FROM indexed WHERE job = ANY(%s)", (list(keys),))
