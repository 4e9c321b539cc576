"""The store in an SQLite database: one writing connection, readers beside it (WAL), a commit with fsync a batch.

Rows of a batch go in by one statement, as JSON numbers and one joined blob: the interpreter's lock is taken
once a statement and not once a row, else the writing thread would queue for it behind a busy reactor
(measured: 8 µs a row this way, 550 µs row by row, see docs/performance.md). A row that comes alone goes in as it is.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any, Final

from lb.model.jobid import JobId
from lb.state.job import decode, encode
from lb.store.columns import from_sql, json_texts, optional, reported, to_sql, transaction
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
from lb.store.rows import JOB_COLUMNS, changed_texts, job_entry, job_id, stored_job
from lb.store.sqlite_connections import ConnectionTable, connections_of
from lb.store.sqlite_index import IndexTable, indexed_value
from lb.store.sqlite_marks import MarkTable
from lb.store.sqlite_outbox import SQLiteOutboxReader, SQLiteOutboxWriter, write_outgoing
from lb.store.sqlite_purge import PurgeTable, purged_among
from lb.store.sqlite_statistics import SQLiteStatisticsReader, StatisticsTable
from lb.store.statistics import Count

#: Newest schema this code knows; `schema/N.sql` leads from N-1 to N.
SCHEMA_VERSION: Final = 8
#: Bytes of a page, and of what the WAL has in front of each.
_PAGE: Final = 4096
_FRAME: Final = 24
#: Pages of WAL after which the writer moves them into the database file: 16 MB.
_CHECKPOINT_PAGES: Final = 4000
#: Bytes of pages that each connection keeps. With a million jobs stored 32 MB take no less CPU: what is not here is in
#: the system's cache.
_CACHE: Final = 8 << 20
_DIGEST: Final = 16
#: Bits of a change's number within one start of the server: 35 years at a thousand changes a second, and room for
#: eight million starts.
_CHANGE_BITS: Final = 40


class SQLiteStore:
    """A database file. Raises `StoreError` when another server has it open or its schema is too new."""

    def __init__(self, path: Path, *, cache_bytes: int = _CACHE) -> None:
        self.path = path
        self._cache_kib = cache_bytes >> 10
        self._indexed = IndexVersion()
        with ExitStack() as opened:
            try:
                self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                opened.callback(os.close, self._lock)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # SQLite would make it readable by all; its other files follow the permissions of this one.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except BlockingIOError:
                raise StoreError(errno.EBUSY, f"{path}: another server has this database open") from None
            except OSError as error:
                raise StoreError(error.errno or errno.EIO, f"{error.filename or path}: {error.strerror}") from None
            with reported(), closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                self._upgrade(connection)
                self.salt = self._fixed(connection, "salt", secrets.token_hex(16))
            opened.pop_all()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=64)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{self._cache_kib}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute("PRAGMA busy_timeout = 10000")
        return connection

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(
                errno.EPROTO, f"{self.path}: schema version {version} is newer than this server ({SCHEMA_VERSION})"
            )
        for number in range(version + 1, SCHEMA_VERSION + 1):
            script = resources.files("lb.store").joinpath("schema", f"{number}.sql").read_text("utf-8")
            connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")

    @staticmethod
    def _fixed(connection: sqlite3.Connection, name: str, fresh: str) -> str:
        """A value that a store gets once and keeps."""
        connection.execute("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, fresh))
        (value,) = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(value)

    def writer(self) -> SQLiteWriter:
        with reported():
            writer = SQLiteWriter(self._connect(), self._indexed)
        _allocate(Path(f"{self.path}-wal"))
        return writer

    def reader(self, renewal: Renewal | None = None) -> SQLiteReader:
        with reported():
            return SQLiteReader(self._connect_reader(), self._indexed, renewal)

    def outbox_reader(self) -> SQLiteOutboxReader:
        with reported():
            return SQLiteOutboxReader(self._connect_reader())

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def close(self) -> None:
        os.close(self._lock)


def _allocate(log: Path) -> None:
    """Lengthen the write-ahead log with zeros to the size that it will have.

    A commit then finds its blocks in place and its fsync has the data alone to write: without this, the commits of
    the first 16 MB take 0.2 ms longer. SQLite takes zeros for the end of the log. All or nothing: what is left of a
    disk that is nearly full is for whoever needs it.
    """
    size = _CHECKPOINT_PAGES * (_PAGE + _FRAME)
    with suppress(OSError), log.open("r+b", buffering=0) as file:  # a full disk shows when there is something to store
        begun = file.seek(0, os.SEEK_END)
        try:
            while (missing := size - file.tell()) > 0:
                file.write(bytes(min(missing, 1 << 20)))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(begun)


_WANTED = "SELECT value FROM json_each(?)"


class SQLiteWriter:
    """The writing side of an `SQLiteStore`."""

    def __init__(self, connection: sqlite3.Connection, indexed: IndexVersion) -> None:
        self._connection = connection
        self.outbox = SQLiteOutboxWriter(connection)
        self.index = IndexTable(connection, indexed)
        self.purge = PurgeTable(connection, self.index)
        self.statistics = StatisticsTable(connection)
        self.marks = MarkTable(connection)
        self._connections = ConnectionTable(connection)
        self._last_key = self.purge.last_key
        self.last_change = self._begin_changes()

    def _begin_changes(self) -> int:
        """A range of numbers for the changes from this start to the next."""
        with transaction(self._connection):
            self._connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'changes'")
            (starts,) = self._connection.execute("SELECT value FROM meta WHERE name = 'changes'").fetchone()
        return int(starts) << _CHANGE_BITS

    def new_key(self) -> int:
        self._last_key += 1
        return int(self._last_key)

    def load(self, uniques: Collection[str]) -> dict[str, StoredJob]:
        with reported():
            rows = self._connection.execute(
                f"SELECT {JOB_COLUMNS}, t.content FROM jobs j LEFT JOIN texts t ON t.job = j.id"
                f" WHERE j.unique_part IN ({_WANTED})",
                (json_texts(uniques),),
            ).fetchall()
        found = (stored_job(row, from_sql) for row in rows)
        return {job.jobid.unique: job for job in found}

    def duplicates(self, digests: Sequence[tuple[int, bytes]]) -> set[int]:
        if not digests:
            return set()
        with reported():
            rows = self._connection.execute(
                f"SELECT v.key FROM json_each(?1) v CROSS JOIN events e"
                f" ON e.job = v.value AND e.digest = substr(?2, v.key * {_DIGEST} + 1, {_DIGEST})",
                (json.dumps([key for key, _ in digests]), b"".join(digest for _, digest in digests)),
            ).fetchall()
        return {index for (index,) in rows}

    def children(self, parent: str) -> list[str]:
        with reported():
            rows = self._connection.execute(
                "SELECT unique_part FROM jobs WHERE parent = ? ORDER BY id", (to_sql(parent),)
            ).fetchall()
        return [from_sql(unique) for (unique,) in rows]

    def events(self, key: int) -> Iterator[StoredEvent]:
        with reported():
            yield from _events(self._connection, key)

    def write(
        self,
        jobs: Collection[StoredJob],
        events: Sequence[NewEvent],
        outgoing: Outgoing = NOTHING_OUTGOING,
        connections: Sequence[ConnectionChange] = (),
        counts: Sequence[Count] = (),
    ) -> None:
        change = count(self.last_change + 1)
        with transaction(self._connection):
            self._write_jobs([job for job in jobs if job.fresh], change)
            self._write_statuses([job for job in jobs if not job.fresh], change)
            self._write_texts(changed_texts(jobs))
            self._write_events(events)
            self.index.write(jobs)
            self.purge.revive([job.jobid.unique for job in jobs if job.fresh])
            write_outgoing(self._connection, outgoing)
            self._connections.write(connections)
            self.statistics.add(counts)
        self.last_change += len(jobs)
        for job in jobs:
            job.written()

    def _write_jobs(self, jobs: list[StoredJob], change: Iterator[int]) -> None:
        if jobs:
            values, blob = _packed(jobs, lambda job: (*_whole_row(job), next(change)))
            self._connection.execute(
                "INSERT INTO jobs (status, id, unique_part, host, port, owner, owner_key, grey, parent, acl, changed)"
                " SELECT substr(?2, value ->> 0, value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5,"
                " value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11 FROM json_each(?1)",
                (values, blob),
            )

    def _write_statuses(self, jobs: list[StoredJob], change: Iterator[int]) -> None:
        if len(jobs) == 1:
            (job,) = jobs
            self._connection.execute(
                "UPDATE jobs SET status = ?, acl = ?, changed = ? WHERE id = ?",
                (encode(job.state), optional(job.acl, to_sql), next(change), job.key),
            )
        elif jobs:
            values, blob = _packed(jobs, lambda job: (job.key, optional(job.acl, to_sql), next(change)))
            self._connection.execute(
                "UPDATE jobs SET status = v.status, acl = v.acl, changed = v.changed FROM"
                " (SELECT substr(?2, value ->> 0, value ->> 1) AS status, value ->> 2 AS id, value ->> 3 AS acl,"
                " value ->> 4 AS changed FROM json_each(?1)) AS v WHERE jobs.id = v.id",
                (values, blob),
            )
        for job in jobs:
            if job.registration != job.stored_registration:  # a grey job got its owner, a job a parent: rare
                self._connection.execute(
                    "UPDATE jobs SET owner = ?, owner_key = ?, grey = ?, host = ?, port = ?, parent = ? WHERE id = ?",
                    (
                        to_sql(job.owner),
                        to_sql(job.owner_key),
                        job.grey,
                        to_sql(job.jobid.host),
                        job.jobid.port,
                        optional(job.parent, to_sql),
                        job.key,
                    ),
                )

    def _write_texts(self, changed: list[tuple[int, bytes]]) -> None:
        if changed:
            places, position = [], 1
            for key, content in changed:
                places.append((key, position, len(content)))
                position += len(content)
            self._connection.execute(
                "INSERT INTO texts (job, content) SELECT value ->> 0, substr(?2, value ->> 1, value ->> 2)"
                " FROM json_each(?1) WHERE true ON CONFLICT (job) DO UPDATE SET content = excluded.content",
                (json.dumps(places), b"".join(content for _, content in changed)),
            )

    def _write_events(self, events: Sequence[NewEvent]) -> None:
        try:
            if len(events) == 1:
                self._connection.execute(
                    "INSERT INTO events (job, arrived, digest, line) VALUES (?, ?, ?, ?)", tuple(events[0])
                )
            elif events:
                self._write_many_events(events)
        except sqlite3.IntegrityError:
            raise RepeatedError from None

    def _write_many_events(self, events: Sequence[NewEvent]) -> None:
        places, position = [], 1
        for event in events:
            places.append((event.job, event.arrived, position, len(event.line)))
            position += len(event.line)
        self._connection.execute(
            "INSERT INTO events (job, arrived, digest, line) SELECT value ->> 0, value ->> 1,"
            f" substr(?2, key * {_DIGEST} + 1, {_DIGEST}), substr(?3, value ->> 2, value ->> 3)"
            " FROM json_each(?1)",
            (
                json.dumps(places),
                b"".join(event.digest for event in events),
                b"".join(event.line for event in events),
            ),
        )

    def after(self, key: int, most: int) -> list[tuple[int, str]]:
        with reported():
            rows = self._connection.execute(
                "SELECT id, unique_part FROM jobs WHERE id > ? ORDER BY id LIMIT ?", (key, most)
            ).fetchall()
        return [(number, from_sql(unique)) for number, unique in rows]

    def close(self) -> None:
        self._connection.close()


def _packed(jobs: list[StoredJob], columns: Callable[[StoredJob], tuple[Any, ...]]) -> tuple[str, bytes]:
    """Statuses joined into one blob, and for each job the JSON row ``[place, length, *columns]``."""
    rows, statuses, position = [], [], 1
    for job in jobs:
        status = encode(job.state)
        statuses.append(status)
        rows.append((position, len(status), *columns(job)))
        position += len(status)
    return json.dumps(rows), b"".join(statuses)


def _whole_row(job: StoredJob) -> tuple[Any, ...]:
    return (
        job.key,
        to_sql(job.jobid.unique),
        to_sql(job.jobid.host),
        job.jobid.port,
        to_sql(job.owner),
        to_sql(job.owner_key),
        int(job.grey),
        optional(job.parent, to_sql),
        optional(job.acl, to_sql),
    )


def _events(connection: sqlite3.Connection, key: int) -> Iterator[StoredEvent]:
    # The index leads to the rows, row numbers give the order of arrival.
    cursor = connection.execute("SELECT arrived, line FROM events WHERE job = ? ORDER BY id", (key,))
    while rows := cursor.fetchmany(256):
        for arrived, line in rows:
            yield StoredEvent(arrived, line)


def _dialect(connection: sqlite3.Connection) -> Dialect:
    def rows(statement: str, parameters: Sequence[Any]) -> list[Any]:
        with reported():
            return connection.execute(statement, parameters).fetchall()

    return Dialect(
        rows=rows,
        text=to_sql,
        from_text=from_sql,
        value=indexed_value,
        among=f"IN ({_WANTED})",
        listed=json.dumps,
        aloof="+{}",
        last_unique="max(unique_part)",
        indexed_by_job="indexed INDEXED BY indexed_job",
        events="SELECT e.arrived, e.line FROM json_each(?) v CROSS JOIN events e ON e.id = v.value ORDER BY v.key",
    )


class SQLiteReader:
    """A reading side of an `SQLiteStore`."""

    def __init__(self, connection: sqlite3.Connection, indexed: IndexVersion, renewal: Renewal | None = None) -> None:
        self._connection = connection
        self._renewal = renewal
        self.finder = SQLFinder(_dialect(connection), indexed)
        self.statistics = SQLiteStatisticsReader(connection)

    def job(self, unique: str, *, texts: bool = False) -> JobEntry | None:
        return next(self._select("j.unique_part = ?", (to_sql(unique),), texts), None)

    def jobs(self, uniques: Collection[str], *, texts: bool = False) -> list[JobEntry]:
        condition = f"j.unique_part IN ({_WANTED}) ORDER BY j.unique_part"
        return list(self._select(condition, (json_texts(uniques),), texts))

    def last_code(self, unique: str) -> str | None:
        with reported():
            row = self._connection.execute(
                "SELECT status FROM jobs WHERE unique_part = ?", (to_sql(unique),)
            ).fetchone()
        return None if row is None else decode(row[0]).hidden.last

    def purged(self, uniques: Collection[str]) -> set[str]:
        with reported():
            return purged_among(self._connection, uniques)

    def changes(self, after: int, most: int) -> list[tuple[int, int]]:
        with reported():
            return self._connection.execute(
                # The first condition is that of the index.
                "SELECT changed, id FROM jobs WHERE changed > 0 AND changed > ? ORDER BY changed LIMIT ?",
                (after, most),
            ).fetchall()

    def entries(self, keys: Sequence[int], *, texts: bool = False) -> list[JobEntry]:
        condition = f"j.id IN ({_WANTED}) ORDER BY j.unique_part"
        return list(self._select(condition, (json.dumps(list(keys)),), texts))

    def children(self, parent: str, *, texts: bool = False) -> Iterator[JobEntry]:
        return self._select("j.parent = ? ORDER BY j.id", (to_sql(parent),), texts)

    def parents(self, uniques: Collection[str]) -> set[str]:
        with reported():
            rows = self._connection.execute(
                f"SELECT value FROM ({_WANTED}) WHERE EXISTS (SELECT 1 FROM jobs WHERE parent = value)",
                (json_texts(uniques),),
            ).fetchall()
        return {from_sql(unique) for (unique,) in rows}

    def child_ids(self, parent: str) -> list[JobId]:
        with reported():
            rows = self._connection.execute(
                "SELECT unique_part, host, port FROM jobs WHERE parent = ? ORDER BY id", (to_sql(parent),)
            ).fetchall()
        return [job_id(row, from_sql) for row in rows]

    def events(self, key: int) -> Iterator[StoredEvent]:
        with reported():
            yield from _events(self._connection, key)

    def _lines(self, key: int) -> Iterator[bytes]:
        return (line for _, line in _events(self._connection, key))

    def connections(self, key: int) -> list[Connection]:
        with reported():
            return connections_of(self._connection, key)

    def _select(self, condition: str, parameters: tuple[str, ...], texts: bool) -> Iterator[JobEntry]:
        join = "LEFT JOIN texts t ON t.job = j.id" if texts else ""
        content = "t.content" if texts else "NULL"
        with reported():
            cursor = self._connection.execute(
                f"SELECT {JOB_COLUMNS}, {content} FROM jobs j {join} WHERE {condition}", parameters
            )
            while rows := cursor.fetchmany(256):
                for row in rows:
                    yield job_entry(row, from_sql, self._renewal, self._lines, texts=texts)

    def close(self) -> None:
        self._connection.close()
