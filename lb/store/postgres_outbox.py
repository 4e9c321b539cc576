"""Registrations and the outbox in a PostgreSQL database: the part of the store that notifications use.

Written by the store's writing thread, notices in the transaction of the events that caused them (P2); read beside it.
Knows nothing of conditions, states or destinations.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from lb.model.jobid import NOTIFICATION_PREFIX, JobId
from lb.store.interface import Notice, Outgoing, StoredRegistration, StoreError
from lb.store.postgres_columns import columns, from_bytes, to_bytes
from lb.store.postgres_session import Session

_COLUMNS: Final = "unique_part, host, port, owner, destination, valid, content"
_PAIRS: Final = "(SELECT * FROM unnest(%s::bigint[], %s::bigint[]))"


def _registration(row: tuple[Any, ...]) -> StoredRegistration:
    number, unique, host, port, owner, destination, valid, content = row
    id_ = JobId(from_bytes(host), port, NOTIFICATION_PREFIX + from_bytes(unique))
    return StoredRegistration(number, id_, from_bytes(owner), from_bytes(destination), valid, content)


def write_outgoing(session: Session, outgoing: Outgoing) -> None:
    """Add notices and missed jobs, within the transaction of whoever calls."""
    if outgoing.notices:
        session.change(
            "INSERT INTO notices (id, written, content) SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[])",
            columns([notice[:3] for notice in outgoing.notices], 3),
        )
        receivers = [
            (registration, notice.number, len(notice.content))
            for notice in outgoing.notices
            for registration in notice.registrations
        ]
        session.change(
            "INSERT INTO outbox (registration, notice, size)"
            " SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[])",
            columns(receivers, 3),
        )
    if outgoing.missed:
        session.change(
            f"INSERT INTO missed (registration, job) {_PAIRS} ON CONFLICT DO NOTHING",
            columns(list(outgoing.missed), 2),
        )


class PostgresOutboxWriter:
    """The writing side."""

    def __init__(self, session: Session) -> None:
        self._session = session
        ((self._last_notice,),) = session.rows("SELECT coalesce(max(id), 0) FROM notices")
        self._doubtful: set[bytes] = set()

    def continue_from(self, number: int) -> None:
        """Have notices get greater numbers than this."""
        self._last_notice = max(self._last_notice, number)

    def new_notice(self) -> int:
        self._last_notice += 1
        return int(self._last_notice)

    def registrations(self) -> list[StoredRegistration]:
        rows = self._session.rows(f"SELECT id, {_COLUMNS} FROM registrations WHERE unique_part IS NOT NULL ORDER BY id")
        return [_registration(row) for row in rows]

    def add(self, registration: StoredRegistration) -> StoredRegistration:
        """Store a new registration; the result has its number."""
        unique = to_bytes(registration.id.notification)
        row = (
            unique,
            to_bytes(registration.id.host),
            registration.id.port,
            to_bytes(registration.owner),
            to_bytes(registration.destination),
            registration.valid,
            registration.content,
        )
        try:
            with self._session.transaction():
                # Nobody was told of those whose commit may have been done nevertheless.
                self._session.change(
                    "UPDATE registrations SET unique_part = NULL WHERE unique_part = ANY(%s::bytea[])",
                    (list(self._doubtful),),
                )
                ((number,),) = self._session.rows(
                    f"INSERT INTO registrations ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id", row
                )
        except StoreError:
            self._doubtful.add(unique)
            raise
        self._doubtful.clear()
        return registration._replace(number=number)

    def change(self, registration: StoredRegistration) -> None:
        with self._session.transaction():
            self._session.change(
                "UPDATE registrations SET destination = %s, valid = %s, content = %s WHERE id = %s",
                (to_bytes(registration.destination), registration.valid, registration.content, registration.number),
            )

    def drop(self, numbers: Collection[int]) -> None:
        chosen = (list(numbers),)
        with self._session.transaction():
            self._session.change("UPDATE registrations SET unique_part = NULL WHERE id = ANY(%s)", chosen)
            self._session.change("DELETE FROM missed WHERE registration = ANY(%s)", chosen)

    def clear(self, most: int) -> bool:
        """Delete at most so many rows of dropped registrations; whether there may be more."""
        found = self._session.rows("SELECT id FROM registrations WHERE unique_part IS NULL LIMIT 1")
        if not found:
            return False
        rows = self._session.rows(
            "SELECT registration, notice FROM outbox WHERE registration = %s LIMIT %s", (*found[0], most)
        )
        with self._session.transaction():
            self._delete(rows)
            if len(rows) < most:
                self._session.change("DELETE FROM registrations WHERE id = %s", found[0])
        return True

    def received(self, pairs: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
        with self._session.transaction():
            return self._delete(pairs)

    def _delete(self, pairs: Collection[tuple[int, int]]) -> list[tuple[int, int]]:
        """Remove (registration, notice) pairs, and the notices that nobody else waits for."""
        if not pairs:
            return []
        chosen = columns(list(pairs), 2)
        removed = self._session.rows(
            f"DELETE FROM outbox WHERE (registration, notice) IN {_PAIRS} RETURNING registration, size", chosen
        )
        self._session.change(
            "DELETE FROM notices WHERE id = ANY(%s)"
            " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.notice = notices.id)",
            (chosen[1],),
        )
        return removed

    def write(self, outgoing: Outgoing, told: Collection[tuple[int, int]] = ()) -> None:
        """Add notices that no event caused; `told`: (registration, job) pairs that are missed no longer."""
        with self._session.transaction():
            write_outgoing(self._session, outgoing)
            if told:
                self._session.change(
                    f"DELETE FROM missed WHERE (registration, job) IN {_PAIRS}", columns(list(told), 2)
                )

    def queued(self, number: int) -> tuple[int, int]:
        """How many notices wait for a registration, and their bytes."""
        ((count, size),) = self._session.rows(
            "SELECT count(*), coalesce(sum(size), 0)::bigint FROM outbox WHERE registration = %s", (number,)
        )
        return count, size

    def missing(self) -> set[int]:
        """Registrations that missed something."""
        rows = self._session.rows(
            "SELECT id FROM registrations r WHERE EXISTS (SELECT 1 FROM missed WHERE registration = r.id)"
        )
        return {number for (number,) in rows}

    def missed(self, number: int, most: int) -> list[tuple[int, str]]:
        """At most so many of the jobs that a registration missed: keys and unique parts."""
        rows = self._session.rows(
            "SELECT m.job, j.unique_part FROM missed m JOIN jobs j ON j.id = m.job"
            " WHERE m.registration = %s ORDER BY m.job LIMIT %s",
            (number, most),
        )
        return [(job, from_bytes(unique)) for job, unique in rows]


class PostgresOutboxReader:
    """The reading side; sees what has been committed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def waiting(self) -> list[int]:
        """Registrations for which something waits; looks once at each registration, whatever waits (P8)."""
        rows = self._session.rows(
            "SELECT id FROM registrations r WHERE unique_part IS NOT NULL AND"
            " (SELECT notice FROM outbox WHERE registration = r.id LIMIT 1) IS NOT NULL ORDER BY id"
        )
        return [number for (number,) in rows]

    def waits(self, number: int, after: int) -> bool:
        return bool(
            self._session.rows("SELECT 1 FROM outbox WHERE registration = %s AND notice > %s LIMIT 1", (number, after))
        )

    def notices(self, number: int, after: int, most: int, most_bytes: int) -> list[Notice]:
        """What a registration is to be told after a notice: at most so many, and bytes unless the first has more."""
        places = self._session.rows(
            "SELECT notice, size FROM outbox WHERE registration = %s AND notice > %s ORDER BY notice LIMIT %s",
            (number, after, most),
        )
        chosen: list[int] = []
        total = 0
        for notice, size in places:
            total += size
            if chosen and total > most_bytes:
                break
            chosen.append(notice)
        rows = self._session.rows("SELECT id, written, content FROM notices WHERE id = ANY(%s) ORDER BY id", (chosen,))
        return [Notice(*row) for row in rows]

    def close(self) -> None:
        self._session.close()
