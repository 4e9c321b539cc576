"""The writing and the reading side of the store in PostgreSQL.

A batch is one transaction, rows of one table go in by one statement as arrays of their columns.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any, Final

from lb.model.jobid import JobId
from lb.state.job import decode, encode
from lb.store.dialect import Dialect
from lb.store.finder import SQLFinder
from lb.store.indexed import IndexVersion
from lb.store.interface import (
    NOTHING_OUTGOING,
    Connection,
    ConnectionChange,
    JobEntry,
    NewEvent,
    Outgoing,
    Renewal,
    RepeatedError,
    StoredEvent,
    StoredJob,
    StoreError,
)
from lb.store.postgres_columns import columns, from_bytes, optional, sortable, to_bytes, to_key
from lb.store.postgres_index import IndexTable
from lb.store.postgres_outbox import PostgresOutboxWriter, write_outgoing
from lb.store.postgres_purge import PurgeTable, purged_among
from lb.store.postgres_session import Session
from lb.store.postgres_tables import (
    ConnectionTable,
    MarkTable,
    PostgresStatisticsReader,
    StatisticsTable,
    connections_of,
)
from lb.store.rows import JOB_COLUMNS, changed_texts, job_entry, job_id, stored_job
from lb.store.statistics import Count

#: Rows that are fetched at once where there may be any number of them.
_ROWS: Final = 256


def _events(session: Session, key: int) -> Iterator[StoredEvent]:
    last = 0
    while rows := session.rows(
        "SELECT id, arrived, line FROM events WHERE job = %s AND id > %s ORDER BY id LIMIT %s", (key, last, _ROWS)
    ):
        for last, arrived, line in rows:  # noqa: B007  # used by the next statement
            yield StoredEvent(arrived, line)


class PostgresWriter:
    """The writing side."""

    def __init__(self, session: Session, indexed: IndexVersion, first_change: int) -> None:
        """Changes of jobs get numbers behind `first_change`."""
        self._session = session
        self.outbox = PostgresOutboxWriter(session)
        self.index = IndexTable(session, indexed)
        self.purge = PurgeTable(session, self.index)
        self.statistics = StatisticsTable(session)
        self.marks = MarkTable(session)
        self._connections = ConnectionTable(session)
        self._last_key = self.purge.last_key
        self.last_change = first_change
        self._changes = count(first_change + 1)  # also a commit whose outcome is unknown has used its numbers

    def new_key(self) -> int:
        self._last_key += 1
        return self._last_key

    def load(self, uniques: Collection[str]) -> dict[str, StoredJob]:
        rows = self._session.rows(
            f"SELECT {JOB_COLUMNS}, t.content FROM jobs j LEFT JOIN texts t ON t.job = j.id"
            " WHERE j.unique_part = ANY(%s)",
            ([to_bytes(unique) for unique in uniques],),
        )
        found = (stored_job(row, from_bytes) for row in rows)
        return {job.jobid.unique: job for job in found}

    def duplicates(self, digests: Sequence[tuple[int, bytes]]) -> set[int]:
        if not digests:
            return set()
        rows = self._session.rows(
            "SELECT v.place - 1 FROM unnest(%s::bigint[], %s::bytea[]) WITH ORDINALITY AS v (job, digest, place)"
            " JOIN events e ON e.job = v.job AND e.digest = v.digest",
            columns(digests, 2),
        )
        return {index for (index,) in rows}

    def children(self, parent: str) -> list[str]:
        rows = self._session.rows("SELECT unique_part FROM jobs WHERE parent = %s ORDER BY id", (to_bytes(parent),))
        return [from_bytes(unique) for (unique,) in rows]

    def after(self, key: int, most: int) -> list[tuple[int, str]]:
        rows = self._session.rows("SELECT id, unique_part FROM jobs WHERE id > %s ORDER BY id LIMIT %s", (key, most))
        return [(number, from_bytes(unique)) for number, unique in rows]

    def events(self, key: int) -> Iterator[StoredEvent]:
        return _events(self._session, key)

    def write(
        self,
        jobs: Collection[StoredJob],
        events: Sequence[NewEvent],
        outgoing: Outgoing = NOTHING_OUTGOING,
        connections: Sequence[ConnectionChange] = (),
        counts: Sequence[Count] = (),
    ) -> None:
        last = self.last_change
        fresh = [(job, next(self._changes)) for job in jobs if job.fresh]
        known = [(job, next(self._changes)) for job in jobs if not job.fresh]
        for _, last in (*fresh, *known):  # noqa: B007  # the last one is wanted
            pass
        with self._session.transaction():
            self._write_jobs(fresh)
            self._write_statuses(known)
            self._write_texts(changed_texts(jobs))
            self._write_events(events)
            self.index.write(jobs)
            self.purge.revive([job.jobid.unique for job, _ in fresh])
            write_outgoing(self._session, outgoing)
            self._connections.write(connections)
            self.statistics.add(counts)
        self.last_change = last
        for job in jobs:
            job.written()

    def _write_jobs(self, jobs: list[tuple[StoredJob, int]]) -> None:
        if jobs:
            self._session.change(
                f"INSERT INTO jobs ({JOB_COLUMNS.replace('j.', '')}, changed) SELECT * FROM unnest(%s::bigint[],"
                " %s::bytea[], %s::bytea[], %s::integer[], %s::bytea[], %s::bytea[], %s::boolean[], %s::bytea[],"
                " %s::bytea[], %s::bytea[], %s::bigint[])",
                columns([(*_row(job), change) for job, change in jobs], 11),
            )

    def _write_statuses(self, jobs: list[tuple[StoredJob, int]]) -> None:
        if not jobs:
            return
        changed = self._session.change(
            "UPDATE jobs SET status = v.status, acl = v.acl, changed = v.changed FROM"
            " unnest(%s::bigint[], %s::bytea[], %s::bytea[], %s::bigint[]) AS v (id, status, acl, changed)"
            " WHERE jobs.id = v.id",
            columns([(job.key, encode(job.state), optional(job.acl), change) for job, change in jobs], 4),
        )
        if changed != len(jobs):
            # What is in memory is not what is stored, e.g. since an older database was restored: nothing may be said
            # to be stored that nobody would find.
            raise StoreError(errno.ESTALE, f"database: {len(jobs) - changed} jobs are gone that were stored")
        for job, _ in jobs:
            if job.registration != job.stored_registration:  # a grey job got its owner, a job a parent: rare
                self._session.change(
                    "UPDATE jobs SET owner = %s, owner_key = %s, grey = %s, host = %s, port = %s, parent = %s"
                    " WHERE id = %s",
                    (
                        to_bytes(job.owner),
                        to_key(job.owner_key),
                        job.grey,
                        to_bytes(job.jobid.host),
                        job.jobid.port,
                        optional(job.parent),
                        job.key,
                    ),
                )

    def _write_texts(self, changed: list[tuple[int, bytes]]) -> None:
        if changed:
            self._session.change(
                "INSERT INTO texts (job, content) SELECT * FROM unnest(%s::bigint[], %s::bytea[])"
                " ON CONFLICT (job) DO UPDATE SET content = excluded.content",
                columns(changed, 2),
            )

    def _write_events(self, events: Sequence[NewEvent]) -> None:
        # An error would be logged by the database each time that a logger repeats something.
        if events and self._session.change(
            "INSERT INTO events (job, arrived, digest, line)"
            " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[]) ON CONFLICT DO NOTHING",
            columns(events, 4),
        ) != len(events):
            raise RepeatedError

    def close(self) -> None:
        """The session is the store's: its lock is given up when the store is closed."""


def _row(job: StoredJob) -> tuple[Any, ...]:
    return (
        job.key,
        to_bytes(job.jobid.unique),
        to_bytes(job.jobid.host),
        job.jobid.port,
        to_bytes(job.owner),
        to_key(job.owner_key),
        job.grey,
        optional(job.parent),
        optional(job.acl),
        encode(job.state),
    )


class PostgresReader:
    """A reading side."""

    def __init__(self, session: Session, indexed: IndexVersion, renewal: Renewal | None = None) -> None:
        self._session = session
        self._renewal = renewal
        self.finder = SQLFinder(_dialect(session), indexed)
        self.statistics = PostgresStatisticsReader(session)

    def job(self, unique: str, *, texts: bool = False) -> JobEntry | None:
        return next(self._select("j.unique_part = %s", (to_bytes(unique),), texts), None)

    def jobs(self, uniques: Collection[str], *, texts: bool = False) -> list[JobEntry]:
        wanted = [to_bytes(unique) for unique in uniques]
        return list(self._select("j.unique_part = ANY(%s) ORDER BY j.unique_part", (wanted,), texts))

    def last_code(self, unique: str) -> str | None:
        rows = self._session.rows("SELECT status FROM jobs WHERE unique_part = %s", (to_bytes(unique),))
        return decode(rows[0][0]).hidden.last if rows else None

    def purged(self, uniques: Collection[str]) -> set[str]:
        return purged_among(self._session, uniques)

    def changes(self, after: int, most: int) -> list[tuple[int, int]]:
        return self._session.rows(
            "SELECT changed, id FROM jobs WHERE changed > %s ORDER BY changed LIMIT %s", (after, most)
        )

    def entries(self, keys: Sequence[int], *, texts: bool = False) -> list[JobEntry]:
        return list(self._select("j.id = ANY(%s) ORDER BY j.unique_part", (list(keys),), texts))

    def children(self, parent: str, *, texts: bool = False) -> Iterator[JobEntry]:
        condition = "j.parent = %s AND j.id > %s ORDER BY j.id LIMIT %s"
        last = 0
        while page := list(self._select(condition, (to_bytes(parent), last, _ROWS), texts)):
            yield from page
            last = page[-1].key

    def parents(self, uniques: Collection[str]) -> set[str]:
        rows = self._session.rows(
            "SELECT v FROM unnest(%s::bytea[]) AS v WHERE (SELECT id FROM jobs WHERE parent = v LIMIT 1) IS NOT NULL",
            ([to_bytes(unique) for unique in uniques],),
        )
        return {from_bytes(unique) for (unique,) in rows}

    def child_ids(self, parent: str) -> list[JobId]:
        rows = self._session.rows(
            "SELECT unique_part, host, port FROM jobs WHERE parent = %s ORDER BY id", (to_bytes(parent),)
        )
        return [job_id(row, from_bytes) for row in rows]

    def events(self, key: int) -> Iterator[StoredEvent]:
        return _events(self._session, key)

    def _lines(self, key: int) -> Iterator[bytes]:
        return (line for _, line in self.events(key))

    def connections(self, key: int) -> list[Connection]:
        return connections_of(self._session, key)

    def _select(self, condition: str, parameters: tuple[Any, ...], texts: bool) -> Iterator[JobEntry]:
        join, content = ("LEFT JOIN texts t ON t.job = j.id", "t.content") if texts else ("", "NULL")
        rows = self._session.rows(f"SELECT {JOB_COLUMNS}, {content} FROM jobs j {join} WHERE {condition}", parameters)
        for row in rows:
            yield job_entry(row, from_bytes, self._renewal, self._lines, texts=texts)

    def close(self) -> None:
        self._session.close()


def _dialect(session: Session) -> Dialect:
    return Dialect(
        rows=lambda statement, parameters: session.rows(statement.replace("?", "%s"), parameters),
        text=to_key,
        from_text=from_bytes,
        value=sortable,
        among="= ANY(?)",
        listed=list,
        aloof="({} || ''::bytea)",
        last_unique="(array_agg(unique_part ORDER BY unique_part DESC))[1]",
        indexed_by_job="indexed",
        events="SELECT arrived, line FROM events WHERE id = ANY(?) ORDER BY id",
    )
