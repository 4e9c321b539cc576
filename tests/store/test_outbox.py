"""Registrations and the outbox in the SQLite store: transactions, order, what is deleted when, the older schema."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from lb.model import notifid
from lb.store.interface import NewEvent, NewNotice, Outgoing, StoredRegistration, StoreError
from lb.store.sqlite import SCHEMA_VERSION, SQLiteStore
from tests.store.test_sqlite import job


def registration(unique: str, owner: str = "/CN=a") -> StoredRegistration:
    """A registration that was never stored."""
    id_ = notifid.of_unique("localhost:9000", unique)
    return StoredRegistration(0, id_, owner, "127.0.0.1:4000", 1_800_000_000, b"{}")


class Outbox(SynchronousTestCase):
    """A store with two registrations."""

    repeated: type[Exception] = sqlite3.IntegrityError
    writing = "lb.store.sqlite.write_outgoing"

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.store = SQLiteStore(self.path)
        self.addCleanup(lambda: self.store.close())
        self.writer = self.store.writer()
        self.outbox = self.writer.outbox
        self.reader = self.store.outbox_reader()
        self.first = self.outbox.add(registration("first"))
        self.second = self.outbox.add(registration("second", "/CN=B"))

    def _tell(self, *receivers: StoredRegistration, content: bytes = b"state") -> int:
        number = self.outbox.new_notice()
        numbers = tuple(receiver.number for receiver in receivers)
        self.outbox.write(Outgoing([NewNotice(number, number * 10, content, numbers)]))
        return number

    def _waiting(self, receiver: StoredRegistration, after: int = 0) -> list[int]:
        return [notice.number for notice in self.reader.notices(receiver.number, after, 100, 1 << 20)]

    def _stored_notices(self) -> int:
        (count,) = self.writer._connection.execute("SELECT count(*) FROM notices").fetchone()
        return int(count)

    def test_registrations_come_back(self) -> None:
        """What was registered is there after a restart; changes are kept."""
        changed = self.first._replace(destination="127.0.0.1:4001", valid=1, content=b"[]")
        self.outbox.change(changed)
        self.store.close()
        self.store = SQLiteStore(self.path)
        self.assertEqual(self.store.writer().outbox.registrations(), [changed, self.second])

    def test_id_is_taken_once(self) -> None:
        """An id in use is not given to another; that of a dropped registration is free again, its number is not."""
        self.assertRaises(self.repeated, self.outbox.add, registration("first"))
        self.outbox.drop([self.first.number])
        again = self.outbox.add(registration("first"))
        self.assertGreater(again.number, self.second.number)

    def test_in_the_transaction_of_the_event(self) -> None:
        """P2: a notice is stored with the event that caused it, or neither is."""
        known = job(self.writer.new_key(), "a")
        notice = NewNotice(self.outbox.new_notice(), 1, b"x", (self.first.number,))
        event = NewEvent(known.key, 1, b"d" * 16, b"line")
        with mock.patch(self.writing, side_effect=StoreError(28, "full")):
            self.assertRaises(StoreError, self.writer.write, [known], [event], Outgoing([notice]))
        self.assertEqual((self.writer.load(["a"]), self._waiting(self.first)), ({}, []))
        self.writer.write([known], [event], Outgoing([notice]))
        self.assertEqual((list(self.writer.load(["a"])), self._waiting(self.first)), (["a"], [notice.number]))

    def test_read_in_order_and_chunks(self) -> None:
        """P4: notices are read in the order of the changes, after the last one read, within the bounds asked for."""
        numbers = [self._tell(self.first, content=b"x" * 100) for _ in range(5)]
        self._tell(self.second)
        self.assertEqual(self._waiting(self.first), numbers)
        self.assertEqual(self._waiting(self.first, after=numbers[2]), numbers[3:])
        self.assertTrue(self.reader.waits(self.first.number, numbers[3]))
        self.assertFalse(self.reader.waits(self.first.number, numbers[4]))
        by_count = self.reader.notices(self.first.number, 0, 2, 1 << 20)
        self.assertEqual([(notice.number, notice.written) for notice in by_count], [(n, n * 10) for n in numbers[:2]])
        self.assertEqual(len(self.reader.notices(self.first.number, 0, 100, 250)), 2)
        self.assertEqual(len(self.reader.notices(self.first.number, 0, 100, 10)), 1)

    def test_removed_on_receipt(self) -> None:
        """A notice stays until its last receiver has it; receipts that come twice change nothing."""
        shared, other = self._tell(self.first, self.second), self._tell(self.second)
        self.assertEqual(self.outbox.received([(self.first.number, shared)]), [(self.first.number, 5)])
        self.assertEqual(
            (self._waiting(self.first), self._waiting(self.second), self._stored_notices()), ([], [shared, other], 2)
        )
        again = self.outbox.received([(self.first.number, shared), (self.second.number, shared)])
        self.assertEqual(again, [(self.second.number, 5)])
        self.assertEqual((self._waiting(self.second), self._stored_notices()), ([other], 1))
        self.assertEqual(self.outbox.queued(self.second.number), (1, 5))

    def test_who_waits(self) -> None:
        """P8: after a restart those with something to be told are known without reading what it is."""
        self._tell(self.second)
        self.assertEqual(self.reader.waiting(), [self.second.number])
        self.outbox.drop([self.second.number])
        self.assertEqual(self.reader.waiting(), [])

    def test_dropped_queue_goes_in_steps(self) -> None:
        """What waits for a dropped registration is deleted in bounded steps, and nothing else is."""
        for _ in range(5):
            self._tell(self.first, self.second)
        self.outbox.drop([self.first.number])
        steps = 0
        while self.outbox.clear(2):
            steps += 1
        self.assertEqual(steps, 3)
        self.assertEqual((self._waiting(self.first), len(self._waiting(self.second))), ([], 5))
        self.assertEqual(self._stored_notices(), 5)

    def test_missed_jobs(self) -> None:
        """Jobs of which a full queue missed something are known once each, until they are told."""
        jobs = [job(self.writer.new_key(), unique) for unique in ("a", "b", "c")]
        pairs = [(self.first.number, each.key) for each in jobs]
        self.writer.write(jobs, [], Outgoing((), [*pairs, pairs[0]]))
        self.assertEqual(self.outbox.missing(), {self.first.number})
        self.assertEqual(self.outbox.missed(self.first.number, 2), [(jobs[0].key, "a"), (jobs[1].key, "b")])
        notice = NewNotice(self.outbox.new_notice(), 1, b"x", (self.first.number,))
        self.outbox.write(Outgoing([notice]), pairs[:2])
        self.assertEqual(self.outbox.missed(self.first.number, 9), [(jobs[2].key, "c")])
        self.outbox.drop([self.first.number])
        self.assertEqual((self.outbox.missing(), self.outbox.missed(self.first.number, 9)), (set(), []))


class Upgraded(SynchronousTestCase):
    """A database of an older server."""

    def test_older_schema(self) -> None:
        """P9: a database of version 1 is read and gets what version 2 adds."""
        path = Path(self.mktemp())
        script = resources.files("lb.store").joinpath("schema", "1.sql").read_text("utf-8")
        with sqlite3.connect(path) as connection:
            connection.executescript(f"{script}; INSERT INTO meta VALUES ('salt', 'old'); PRAGMA user_version = 1;")
            connection.execute(
                "INSERT INTO jobs VALUES (1, 'u', 'localhost', 9000, '/CN=a', '/cn=a', 0, NULL, NULL, '[{},{}]')"
            )
        connection.close()
        store = SQLiteStore(path)
        self.addCleanup(store.close)
        self.assertEqual(store.salt, "old")
        writer = store.writer()
        self.assertEqual(list(writer.load(["u"])), ["u"])
        self.assertEqual(writer.outbox.add(registration("r")).number, 1)
        ((version,),) = writer._connection.execute("PRAGMA user_version").fetchall()
        self.assertEqual(version, SCHEMA_VERSION)
