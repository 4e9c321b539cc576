"""Registrations and the outbox in an SQLite database: the part of the store that notifications use.

Written by the store's writing thread, notices in the transaction of the events that caused them (P2); read beside it.
Knows nothing of conditions, states or destinations.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from lb.model.jobid import NOTIFICATION_PREFIX, JobId
from lb.store.columns import from_sql, reported, to_sql, transaction
from lb.store.interface import NewNotice, Notice, Outgoing, StoredRegistration

_COLUMNS: Final = "id, unique_part, host, port, owner, destination, valid, content"


_Row = tuple[int, str, str, int, str, str, int, bytes]


def _registrations(rows: Iterable[_Row]) -> Iterator[StoredRegistration]:
    for number, unique, host, port, owner, destination, valid, content in rows:
        id_ = JobId(from_sql(host), port, NOTIFICATION_PREFIX + from_sql(unique))
        yield StoredRegistration(number, id_, from_sql(owner), from_sql(destination), valid, content)


def write_outgoing(connection: sqlite3.Connection, outgoing: Outgoing) -> None:
    """Add notices and missed jobs, within the transaction of whoever calls."""
    if outgoing.notices:
        _write_notices(connection, outgoing.notices)
    if outgoing.missed:
        connection.execute(
            "INSERT INTO missed (registration, job) SELECT value ->> 0, value ->> 1 FROM json_each(?)"
            " WHERE true ON CONFLICT DO NOTHING",
            (json.dumps(list(outgoing.missed)),),
        )


def _write_notices(connection: sqlite3.Connection, notices: Sequence[NewNotice]) -> None:
    places, receivers, position = [], [], 1
    for notice in notices:
        size = len(notice.content)
        places.append((notice.number, notice.written, position, size))
        receivers += [(registration, notice.number, size) for registration in notice.registrations]
        position += size
    connection.execute(
        "INSERT INTO notices (id, written, content) SELECT value ->> 0, value ->> 1,"
        " substr(?2, value ->> 2, value ->> 3) FROM json_each(?1)",
        (json.dumps(places), b"".join(notice.content for notice in notices)),
    )
    connection.execute(
        "INSERT INTO outbox (registration, notice, size)"
        " SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
        (json.dumps(receivers),),
    )


class SQLiteOutboxWriter:
    """The writing side."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        (self._last_notice,) = connection.execute("SELECT coalesce(max(id), 0) FROM notices").fetchone()

    def continue_from(self, number: int) -> None:
        """Have notices get greater numbers than this."""
        self._last_notice = max(self._last_notice, number)

    def new_notice(self) -> int:
        self._last_notice += 1
        return int(self._last_notice)

    def registrations(self) -> list[StoredRegistration]:
        with reported():
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM registrations WHERE unique_part IS NOT NULL ORDER BY id"
            ).fetchall()
        return list(_registrations(rows))

    def add(self, registration: StoredRegistration) -> StoredRegistration:
        """Store a new registration; the result has its number."""
        with transaction(self._connection):
            cursor = self._connection.execute(
                "INSERT INTO registrations (unique_part, host, port, owner, destination, valid, content)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    to_sql(registration.id.notification),
                    to_sql(registration.id.host),
                    registration.id.port,
                    to_sql(registration.owner),
                    to_sql(registration.destination),
                    registration.valid,
                    registration.content,
                ),
            )
        number = cursor.lastrowid
        assert number is not None
        return registration._replace(number=number)

    def change(self, registration: StoredRegistration) -> None:
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE registrations SET destination = ?, valid = ?, content = ? WHERE id = ?",
                (to_sql(registration.destination), registration.valid, registration.content, registration.number),
            )

    def drop(self, numbers: Collection[int]) -> None:
        chosen = (json.dumps(list(numbers)),)
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE registrations SET unique_part = NULL WHERE id IN (SELECT value FROM json_each(?))", chosen
            )
            self._connection.execute(
                "DELETE FROM missed WHERE registration IN (SELECT value FROM json_each(?))", chosen
            )

    def clear(self, most: int) -> bool:
        """Delete at most so many rows of dropped registrations; whether there may be more."""
        with reported():
            found = self._connection.execute(
                "SELECT id FROM registrations WHERE unique_part IS NULL LIMIT 1"
            ).fetchone()
            if found is None:
                return False
            rows = self._connection.execute(
                "SELECT registration, notice FROM outbox WHERE registration = ? LIMIT ?", (*found, most)
            ).fetchall()
        with transaction(self._connection):
            self._delete(rows)
            if len(rows) < most:
                self._connection.execute("DELETE FROM registrations WHERE id = ?", found)
        return True

    def received(self, pairs: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
        with transaction(self._connection):
            return self._delete(pairs)

    def _delete(self, pairs: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
        """Remove (registration, notice) pairs, and the notices that nobody else waits for."""
        if not pairs:
            return []
        chosen = (json.dumps(list(pairs)),)
        removed = self._connection.execute(
            "DELETE FROM outbox WHERE (registration, notice) IN"
            " (SELECT value ->> 0, value ->> 1 FROM json_each(?)) RETURNING registration, size",
            chosen,
        ).fetchall()
        self._connection.execute(
            "DELETE FROM notices WHERE id IN (SELECT value ->> 1 FROM json_each(?))"
            " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.notice = notices.id)",
            chosen,
        )
        return removed

    def write(self, outgoing: Outgoing, told: Collection[tuple[int, int]] = ()) -> None:
        """Add notices of their own transaction; `told`: (registration, job) pairs that are missed no longer."""
        with transaction(self._connection):
            write_outgoing(self._connection, outgoing)
            if told:
                self._connection.execute(
                    "DELETE FROM missed WHERE (registration, job) IN"
                    " (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
                    (json.dumps(list(told)),),
                )

    def queued(self, number: int) -> tuple[int, int]:
        """How many notices wait for a registration, and their bytes."""
        with reported():
            count, size = self._connection.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM outbox WHERE registration = ?", (number,)
            ).fetchone()
        return count, size

    def missing(self) -> set[int]:
        """Registrations that missed something."""
        with reported():
            rows = self._connection.execute(
                "SELECT id FROM registrations r WHERE EXISTS (SELECT 1 FROM missed WHERE registration = r.id)"
            ).fetchall()
        return {number for (number,) in rows}

    def missed(self, number: int, most: int) -> list[tuple[int, str]]:
        """At most so many of the jobs that a registration missed: keys and unique parts."""
        with reported():
            rows = self._connection.execute(
                "SELECT m.job, j.unique_part FROM missed m JOIN jobs j ON j.id = m.job"
                " WHERE m.registration = ? ORDER BY m.job LIMIT ?",
                (number, most),
            ).fetchall()
        return [(job, from_sql(unique)) for job, unique in rows]


class SQLiteOutboxReader:
    """The reading side; sees what has been committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def waiting(self) -> list[int]:
        """Registrations for which something waits; looks once at each registration, whatever waits (P8)."""
        with reported():
            rows = self._connection.execute(
                "SELECT id FROM registrations r WHERE unique_part IS NOT NULL"
                " AND EXISTS (SELECT 1 FROM outbox WHERE registration = r.id) ORDER BY id"
            ).fetchall()
        return [number for (number,) in rows]

    def waits(self, number: int, after: int) -> bool:
        with reported():
            found = self._connection.execute(
                "SELECT 1 FROM outbox WHERE registration = ? AND notice > ? LIMIT 1", (number, after)
            ).fetchone()
        return found is not None

    def notices(self, number: int, after: int, most: int, most_bytes: int) -> list[Notice]:
        """What a registration is to be told after a notice: at most so many, and bytes unless the first has more."""
        found: list[Notice] = []
        size = 0
        with reported():
            rows = self._connection.execute(
                "SELECT n.id, n.written, n.content FROM outbox o CROSS JOIN notices n ON n.id = o.notice"
                " WHERE o.registration = ? AND o.notice > ? ORDER BY o.notice LIMIT ?",
                (number, after, most),
            )
            for notice, written, content in rows:
                size += len(content)
                if found and size > most_bytes:
                    break
                found.append(Notice(notice, written, content))
        return found

    def close(self) -> None:
        self._connection.close()
