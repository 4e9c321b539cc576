"""The store in a PostgreSQL database: whose it is, its schema, and the sessions of its sides.

One server has a database: it holds an advisory lock on the connection that writes, so that who has lost the lock
cannot write, and after a loss it goes on only if nobody else has written meanwhile.
"""

from __future__ import annotations

import errno
import secrets
from importlib import resources
from typing import Any, Final

import psycopg

from lb.store.indexed import IndexVersion
from lb.store.interface import Renewal, StoreError
from lb.store.postgres_outbox import PostgresOutboxReader
from lb.store.postgres_session import Connection, Session
from lb.store.postgres_sides import PostgresReader, PostgresWriter

#: Newest schema this code knows; `schema/postgres/N.sql` leads from N-1 to N.
SCHEMA_VERSION: Final = 1
#: Upper half of the number of the lock ("lb"); the lower one is the number of the schema that holds the tables.
_LOCK: Final = 0x6C62 << 32
#: How long the lock is waited for: the database may not have noticed yet that the server before this one is gone.
_LOCK_WAIT: Final = "3s"
#: Bits of a change's number within one start of the server, as in SQLite.
_CHANGE_BITS: Final = 40


class PostgresStore:
    """The tables of one schema of a database.

    Raises `StoreError` when the database cannot be reached, another server has it, or its schema is too new.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._indexed = IndexVersion()
        self._starts: int | None = None
        try:
            self._own = Session(url, self._take)
        except psycopg.ProgrammingError as error:
            raise StoreError(errno.EINVAL, f"{error}".strip()) from error
        self._sessions = [self._own]
        try:
            self._upgrade()
            self.salt = self._fixed_salt()
        except BaseException:
            self.close()
            raise

    def _take(self, connection: Connection) -> None:
        """Have the database for this server alone, as long as the connection lasts."""
        connection.execute("SELECT set_config('lock_timeout', %s, false)", (_LOCK_WAIT,))
        try:
            found: Any = connection.execute(
                "SELECT pg_advisory_lock(%s + oid::bigint) FROM pg_namespace WHERE nspname = current_schema()", (_LOCK,)
            ).fetchone()
        except psycopg.errors.LockNotAvailable:
            raise StoreError(errno.EBUSY, "another server has this database open") from None
        connection.execute("SET lock_timeout = 0")
        if found is None:
            raise StoreError(errno.ENOENT, "no schema of the search path exists")
        if self._starts is not None:
            now: Any = connection.execute("SELECT value FROM meta WHERE name = 'changes'").fetchone()
            if now is None or int(now[0]) != self._starts:
                raise StoreError(
                    errno.EBUSY, "another server has used this database since the connection was lost: restart this one"
                )

    def _upgrade(self) -> None:
        with self._own.transaction():
            self._own.change("CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, value text NOT NULL)")
            rows = self._own.rows("SELECT value FROM meta WHERE name = 'schema'")
            version = int(rows[0][0]) if rows else 0
            if version > SCHEMA_VERSION:
                raise StoreError(errno.EPROTO, f"schema version {version} is newer than this server ({SCHEMA_VERSION})")
            for number in range(version + 1, SCHEMA_VERSION + 1):
                script = resources.files("lb.store").joinpath("schema", "postgres", f"{number}.sql").read_text("utf-8")
                self._own.script(script)
                self._own.change(
                    "INSERT INTO meta (name, value) VALUES ('schema', %s)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (str(number),),
                )

    def _fixed_salt(self) -> str:
        """What makes this server's hashes its own, made once."""
        with self._own.transaction():
            self._own.change(
                "INSERT INTO meta (name, value) VALUES ('salt', %s) ON CONFLICT (name) DO NOTHING",
                (secrets.token_hex(16),),
            )
            ((salt,),) = self._own.rows("SELECT value FROM meta WHERE name = 'salt'")
        return str(salt)

    def writer(self) -> PostgresWriter:
        with self._own.transaction():
            ((starts,),) = self._own.rows(
                "UPDATE meta SET value = value::bigint + 1 WHERE name = 'changes' RETURNING value::bigint"
            )
        self._starts = starts
        return PostgresWriter(self._own, self._indexed, starts << _CHANGE_BITS)

    def reader(self, renewal: Renewal | None = None) -> PostgresReader:
        return PostgresReader(self._reading(), self._indexed, renewal)

    def outbox_reader(self) -> PostgresOutboxReader:
        return PostgresOutboxReader(self._reading())

    def _reading(self) -> Session:
        session = Session(self._url, _read_only)
        self._sessions.append(session)
        return session

    def close(self) -> None:
        for session in self._sessions:
            session.close()


def _read_only(connection: Connection) -> None:
    connection.execute("SET default_transaction_read_only = on")
