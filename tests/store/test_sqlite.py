"""The SQLite store: what is written comes back, one server at a time, versions, trouble with the file."""

from __future__ import annotations

import errno
import resource
import sqlite3
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lb.model.indexing import OWNER
from lb.model.jobid import JobId
from lb.state.fold import blank
from lb.state.job import Job, Texts
from lb.store.columns import from_sql, reported, to_sql
from lb.store.interface import NewEvent, RepeatedError, StoredJob, StoreError
from lb.store.selection import Range, Selection
from lb.store.sqlite import SCHEMA_VERSION, SQLiteStore

TEXTS = Texts(jdl="[ a = 1 ]", branches={3: "[]"})


def job(key: int, unique: str, owner: str = "/CN=a") -> StoredJob:
    """A job that was never stored."""
    jobid = JobId("localhost", 9000, unique)
    state = Job(blank(jobid, owner).status, texts=TEXTS)
    return StoredJob(key, jobid, owner, owner.lower(), state)


class Storing(SynchronousTestCase):
    """What is asked of every store."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.store = SQLiteStore(self.path)
        self.writer = self.store.writer()
        self.addCleanup(lambda: self.store.close())

    def test_round_trip(self) -> None:
        """Jobs, long texts and events come back as they were written, in the order of arrival."""
        written = job(self.writer.new_key(), "u\udcff1")
        written.acl = "<gacl/>"
        events = [NewEvent(written.key, number, number.to_bytes(16), b"line %d" % number) for number in range(300)]
        self.writer.write([written], events)
        loaded = self.writer.load(["u\udcff1", "absent"])
        self.assertEqual(list(loaded), ["u\udcff1"])
        again = loaded["u\udcff1"]
        self.assertEqual((again.jobid, again.owner, again.acl), (written.jobid, "/CN=a", "<gacl/>"))
        self.assertEqual((again.state.status, again.state.texts), (written.state.status, TEXTS))
        reader = self.store.reader()
        entry = reader.job("u\udcff1", texts=True)
        assert entry is not None
        self.assertEqual(entry.status.jdl, "[ a = 1 ]")
        self.assertEqual([event.arrived for event in reader.events(entry.key)], list(range(300)))

    def test_duplicates(self) -> None:
        """P3: a stored digest is found for its job and for no other."""
        first, second = job(self.writer.new_key(), "a"), job(self.writer.new_key(), "b")
        self.writer.write([first, second], [NewEvent(first.key, 1, b"d" * 16, b"x")])
        asked = [(second.key, b"d" * 16), (first.key, b"e" * 16), (first.key, b"d" * 16)]
        self.assertEqual(self.writer.duplicates(asked), {2})

    def test_transaction(self) -> None:
        """P2: when one row cannot be written, nothing of the batch is there."""
        known = job(self.writer.new_key(), "a")
        self.writer.write([known], [NewEvent(known.key, 1, b"d" * 16, b"x")])
        fresh = job(self.writer.new_key(), "b")
        repeated = NewEvent(known.key, 1, b"d" * 16, b"x")
        for events in ([repeated], [NewEvent(fresh.key, 1, b"e" * 16, b"y"), repeated]):
            with self.assertRaises(RepeatedError):
                self.writer.write([fresh], events)
            self.assertEqual(self.writer.load(["b"]), {})
            self.assertEqual(list(self.writer.events(fresh.key)), [])
            self.assertTrue(fresh.fresh)

    def test_keys_go_on(self) -> None:
        """Numbers of jobs are not given twice, also not after a restart."""
        self.writer.write([job(self.writer.new_key(), "a")], [])
        self.writer.close()
        self.assertEqual(self.store.writer().new_key(), 2)

    def test_by_owner_and_parent(self) -> None:
        """Jobs are found by owner, in the order of their unique parts, and by parent."""
        jobs = [job(self.writer.new_key(), unique) for unique in ("c", "a", "b")]
        jobs[2].parent = "a"
        self.writer.write(jobs, [])
        reader = self.store.reader()
        selection = Selection(OWNER, (Range("/cn=a", "/cn=a"),))
        places = reader.finder.places(selection, "", 2)
        places += reader.finder.places(selection, places[-1].unique, 2)
        self.assertEqual([place.unique for place in places], ["a", "b", "c"])
        found = reader.entries([place.key for place in places])
        self.assertEqual([entry.jobid.unique for entry in found], ["a", "b", "c"])
        self.assertEqual([entry.jobid.unique for entry in reader.children("a")], ["b"])
        self.assertEqual(reader.parents(["a", "b", "c", "d"]), {"a"})

    def test_one_server(self) -> None:
        """A second server is told that the first has the database; later it may have it."""
        self.assertEqual(self.assertRaises(StoreError, SQLiteStore, self.path).code, errno.EBUSY)
        self.store.close()
        self.store = SQLiteStore(self.path)

    def test_salt_stays(self) -> None:
        """What makes this server's hashes its own is made once."""
        salt = self.store.salt
        self.store.close()
        self.store = SQLiteStore(self.path)
        self.assertEqual(self.store.salt, salt)

    @settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None)  # on both databases
    @given(st.binary(max_size=40))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes have a text that a column holds and that comes back."""
        text = data.decode("utf-8", "surrogateescape")
        column = to_sql(text)
        self.assertEqual(from_sql(column), text)
        column.encode("utf-8")


class InFile(SynchronousTestCase):
    """The files of a database."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.store = SQLiteStore(self.path)
        self.writer = self.store.writer()
        self.addCleanup(lambda: self.store.close())

    def test_log_in_place(self) -> None:
        """The blocks of the write-ahead log are there from the start, and zeros in it harm no recovery."""
        log = Path(f"{self.path}-wal")
        size = log.stat().st_size
        self.assertGreater(size, 16_000_000)
        self.writer.write([job(self.writer.new_key(), "a")], [])
        self.assertEqual(log.stat().st_size, size)
        copy = Path(self.mktemp())  # as a machine that lost its power leaves it
        for suffix in ("", "-wal"):
            Path(f"{copy}{suffix}").write_bytes(Path(f"{self.path}{suffix}").read_bytes())
        crashed = SQLiteStore(copy)
        self.addCleanup(crashed.close)
        self.assertEqual(list(crashed.writer().load(["a"])), ["a"])

    def test_log_without_place(self) -> None:
        """P6: where there is no place for the whole log nothing is taken of what is left, and the store works."""
        self.writer.close()
        self.store.close()
        self.store = SQLiteStore(self.path)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, before[1]))
        try:
            self.writer = self.store.writer()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        self.assertLess(Path(f"{self.path}-wal").stat().st_size, 1 << 20)
        self.writer.write([job(self.writer.new_key(), "a")], [])
        self.assertEqual(list(self.writer.load(["a"])), ["a"])

    def test_private(self) -> None:
        """Nobody but the server's account may read the files, wherever they are."""
        self.writer.write([job(self.writer.new_key(), "a")], [])
        files = list(self.path.parent.glob(f"{self.path.name}*"))
        self.assertEqual({file.name.removeprefix(self.path.name) for file in files}, {"", ".lock", "-wal", "-shm"})
        self.assertEqual({file.stat().st_mode & 0o777 for file in files}, {0o600})

    def test_unusable(self) -> None:
        """A place where nothing can be opened, and a file that is no database, are told and not held on to."""
        error = self.assertRaises(StoreError, SQLiteStore, self.path / "absent" / "lb.sqlite")
        self.assertEqual(error.code, errno.ENOTDIR)
        self.assertIn(str(self.path / "absent"), str(error))
        other = Path(self.mktemp())
        other.write_bytes(b"no database" * 1_000)
        for _ in range(2):  # the second would meet the lock of the first
            self.assertEqual(self.assertRaises(StoreError, SQLiteStore, other).code, errno.EIO)
        self.assertEqual(other.read_bytes(), b"no database" * 1_000)

    def test_damage(self) -> None:
        """P2: of a damaged file it is the store that is complained of, not the events; short memory likewise."""
        key = self.writer.new_key()
        self.writer.write([job(key, "a")], [])
        self.writer.close()
        self.store.close()
        damaged = bytearray(self.path.read_bytes())
        damaged[4096:] = b"\xff" * (len(damaged) - 4096)
        self.path.write_bytes(damaged)
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        with self.assertRaises(StoreError) as caught, reported():
            connection.execute("SELECT * FROM jobs").fetchall()
        self.assertEqual(caught.exception.code, errno.EIO)
        with self.assertRaises(StoreError) as caught, reported():
            raise MemoryError
        self.assertEqual(caught.exception.code, errno.ENOMEM)
        self.store = SQLiteStore(Path(self.mktemp()))

    def test_newer_schema(self) -> None:
        """P9: a database of a newer server is refused and left alone."""
        self.writer.close()
        self.store.close()
        with sqlite3.connect(self.path) as connection:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.close()
        error = self.assertRaises(StoreError, SQLiteStore, self.path)
        self.assertIn("newer", str(error))
        self.store = SQLiteStore(Path(self.mktemp()))
