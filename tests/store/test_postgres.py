"""The store in PostgreSQL keeps the promises of the one in SQLite, and survives what only a database server does."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import psycopg
from twisted.trial.unittest import SynchronousTestCase

from lb.store.interface import NewEvent, StoreError
from lb.store.postgres import SCHEMA_VERSION, PostgresStore
from tests.peers import postgres
from tests.store import test_changes, test_outbox, test_scale, test_sqlite
from tests.store.on_postgres import OnPostgres
from tests.store.test_sqlite import job


class Storing(OnPostgres, test_sqlite.Storing):
    """Jobs and events."""

    modules = (test_sqlite,)


class Outbox(OnPostgres, test_outbox.Outbox):
    """Registrations and notices."""

    modules = (test_outbox,)
    repeated = psycopg.errors.UniqueViolation
    writing = "lb.store.postgres_sides.write_outgoing"

    def _stored_notices(self) -> int:
        ((count,),) = self.writer._session.rows("SELECT count(*) FROM notices")  # type: ignore[attr-defined]
        return int(count)


class Changes(OnPostgres, test_changes.Changes):
    """Numbers of changes."""

    modules = (test_changes,)


class Pages(OnPostgres, test_scale.PageTests):
    """Every selection in both orders, sorted and picked out."""

    modules = (test_scale,)


class Lost(OnPostgres, SynchronousTestCase):
    """Connections that the database server ends."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp())
        self.store = self.open(self.path)
        self.writer, self.reader = self.store.writer(), self.store.reader()

    def _cut(self) -> None:
        """End all connections to the database, and wait until they are gone."""
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'lb'"
        postgres.shared().psql(ended)

    def test_between_batches(self) -> None:
        """A connection that was lost meanwhile is made anew: nobody notices."""
        first = job(self.writer.new_key(), "a")
        self.writer.write([first], [NewEvent(first.key, 1, b"d" * 16, b"x")])
        self._cut()
        self.assertEqual(self.writer.duplicates([(first.key, b"d" * 16)]), {0})
        self._cut()
        self.writer.write([first], [NewEvent(first.key, 2, b"e" * 16, b"y")])
        self.assertEqual([event.line for event in self.reader.events(first.key)], [b"x", b"y"])

    def test_during_a_batch(self) -> None:
        """P2: a batch during which the connection is lost is not stored and says so; the next one is."""
        first = job(self.writer.new_key(), "a")
        write_events = self.writer._write_events

        def interrupted(events: Any) -> None:
            write_events(events)
            self._cut()

        self.patch(self.writer, "_write_events", interrupted)
        event = NewEvent(first.key, 1, b"d" * 16, b"x")
        error = self.assertRaises(StoreError, self.writer.write, [first], [event])
        self.assertEqual(error.code, errno.ENOTCONN)
        self.assertEqual(self.writer.load(["a"]), {})
        self.patch(self.writer, "_write_events", write_events)
        self.writer.write([first], [event])
        self.assertEqual(list(self.writer.load(["a"])), ["a"])

    def test_unknown_outcome(self) -> None:
        """P3: a commit that was done and not confirmed is told as not stored, and its repetition is known as one."""
        first = job(self.writer.new_key(), "a")
        session = self.writer._session
        run = session._run

        def unconfirmed(statement: str, parameters: Any) -> Any:
            done = run(statement, parameters)
            if statement == "COMMIT":
                session._connection.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            return done

        self.patch(session, "_run", unconfirmed)
        event, last = NewEvent(first.key, 1, b"d" * 16, b"x"), self.writer.last_change
        self.assertRaises(StoreError, self.writer.write, [first], [event])
        self.patch(session, "_run", run)
        known = self.writer.load(["a"])["a"]
        self.assertEqual(self.writer.duplicates([(known.key, event.digest)]), {0})
        self.writer.write([known], [])
        self.assertGreater(self.writer.last_change, last + 1)

    def test_another_server(self) -> None:
        """Who lost the database to another server, even for a while, writes no more: what it remembers is too old."""
        first = job(self.writer.new_key(), "a")
        self.writer.write([first], [])
        self.store._own._connection.close()
        other = self.open(self.path)
        self.assertEqual(self.assertRaises(StoreError, self.writer.write, [first], []).code, errno.EBUSY)
        other.writer().write([job(7, "b")], [])
        other.close()
        error = self.assertRaises(StoreError, self.writer.write, [first], [])
        self.assertIn("restart", str(error))

    def test_gone(self) -> None:
        """A job that is in memory and was taken out of the database is no place for events."""
        first = job(self.writer.new_key(), "a")
        self.writer.write([first], [])
        self.writer.purge.remove([first.key], 1)
        event = NewEvent(first.key, 1, b"d" * 16, b"x")
        self.assertEqual(self.assertRaises(StoreError, self.writer.write, [first], [event]).code, errno.ESTALE)
        self.assertEqual(list(self.writer.events(first.key)), [])

    def test_newer_schema(self) -> None:
        """P9: a database of a newer server is refused and left alone."""
        self.store.close()
        where = f"UPDATE {self.schema(self.path)}.meta SET value = '{SCHEMA_VERSION + 1}' WHERE name = 'schema'"
        postgres.shared().psql(where)
        self.assertIn("newer", str(self.assertRaises(StoreError, self.open, self.path)))

    def test_absent(self) -> None:
        """A server that is not there, and an address that is none, are told."""
        absent = "postgresql://lb@/lb?host=/nonexistent"
        self.assertEqual(self.assertRaises(StoreError, PostgresStore, absent).code, errno.ENOTCONN)
        self.assertEqual(self.assertRaises(StoreError, PostgresStore, "postgresql://?nothing=1").code, errno.EINVAL)

    def test_read_only(self) -> None:
        """A database that takes no writes for now is trouble of the store, and passes."""
        session = self.writer._session
        session.rows("SELECT set_config('default_transaction_read_only', 'on', false)")
        error = self.assertRaises(StoreError, self.writer.write, [job(self.writer.new_key(), "a")], [])
        self.assertEqual(error.code, errno.EROFS)
        session.rows("SELECT set_config('default_transaction_read_only', 'off', false)")
        self.writer.write([job(self.writer.new_key(), "a")], [])

    def test_any_bytes(self) -> None:
        """Zero bytes and bytes that are no UTF-8 are held, found, and sorted as bytes."""
        uniques = ["a\0b", "a", "\udcff", "é", "B"]
        jobs = [job(self.writer.new_key(), unique) for unique in uniques]
        self.writer.write(jobs, [])
        found = [entry.jobid.unique for entry in self.reader.jobs(uniques)]
        self.assertEqual(found, sorted(uniques, key=lambda text: text.encode("utf-8", "surrogateescape")))


del OnPostgres
