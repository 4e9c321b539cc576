"""A connection to PostgreSQL that is made anew when it was lost.

What was begun on a lost connection is never taken for done: a transaction whose commit was not confirmed fails, and
the duplicate check makes its repetition harmless.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

from lb.store.interface import StoreError
from lb.store.postgres_columns import reported

#: What libpq is told where the URL says nothing. A peer that is gone without a word is noticed within a minute.
_DEFAULTS: Final = {
    "application_name": "lb",
    "connect_timeout": "10",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "50000",
}
#: The same for the other end, which keeps our lock as long as it believes in us. Commits are durable, whatever the
#: database's default; statements know their keys, so that a plan which reads a whole table is never the better one.
_SETTINGS: Final = (
    "SELECT set_config('tcp_keepalives_idle', '20', false), set_config('tcp_keepalives_interval', '10', false),"
    " set_config('tcp_keepalives_count', '3', false), set_config('statement_timeout', '0', false),"
    " set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false),"
    " CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END"
)

Connection = psycopg.Connection[tuple[Any, ...]]


class Session:
    """One connection for one thread; `close` may be called from any."""

    def __init__(self, conninfo: str, prepare: Callable[[Connection], None] = lambda connection: None) -> None:
        """`prepare` does with each new connection what it needs before it is used. Raises `StoreError`."""
        self._parameters = {**_DEFAULTS, **psycopg.conninfo.conninfo_to_dict(conninfo), "client_encoding": "UTF8"}
        self._prepare = prepare
        self._lock = threading.Lock()
        self._closed = False
        self._connection = self._connect()

    def _connect(self) -> Connection:
        if self._closed:
            raise StoreError(errno.ESHUTDOWN, "database: the store is closed")
        with reported():
            connection = psycopg.connect(**self._parameters, autocommit=True)  # type: ignore[arg-type]
            try:
                connection.execute(_SETTINGS)
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _run(self, statement: str, parameters: Sequence[Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        cursor = self._connection.cursor(binary=True)
        return cursor.execute(statement, parameters or None)

    def _again(self, statement: str, parameters: Sequence[Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run what changes nothing; once more on a new connection when the old one turns out to be lost."""
        if not self._connection.closed:
            try:
                return self._run(statement, parameters)
            except psycopg.Error:
                if not self._connection.closed:
                    raise
        self._connection = self._connect()
        return self._run(statement, parameters)

    @property
    def _in_transaction(self) -> bool:
        return self._connection.info.transaction_status in (
            psycopg.pq.TransactionStatus.INTRANS,
            psycopg.pq.TransactionStatus.INERROR,
        )

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement that changes nothing, or that is part of a transaction."""
        with self._lock, reported():
            inside = not self._connection.closed and self._in_transaction
            return (self._run if inside else self._again)(statement, parameters).fetchall()

    def change(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement within a transaction; how many rows it changed."""
        with self._lock, reported():
            return self._run(statement, parameters).rowcount

    def script(self, statements: str) -> None:
        """Run several statements within a transaction."""
        with self._lock, reported():
            self._connection.execute(statements.encode())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One durable transaction: everything inside, or nothing and a `StoreError`.

        When the connection is lost during the commit, what happened to it is unknown and `StoreError` is raised.
        """
        with self._lock, reported():
            self._again("BEGIN", ())
        try:
            yield
            with self._lock, reported():
                ended = self._run("COMMIT", ()).statusmessage
            if ended != "COMMIT":
                raise StoreError(errno.EIO, f"database: a commit ended as {ended}")
        except BaseException:
            with self._lock, suppress(psycopg.Error):
                if not self._connection.closed:
                    self._connection.rollback()
            raise

    def close(self) -> None:
        """End the connection for good."""
        with self._lock:
            self._closed = True
            self._connection.close()
