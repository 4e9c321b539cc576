"""The order of changes: each job stands at its last one, and no number is given twice."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.model.jobid import JobId
from lb.state import fold
from lb.store.interface import StoredJob, Writer
from lb.store.sqlite import SQLiteStore


def job(writer: Writer, unique: str) -> StoredJob:
    jobid = JobId("localhost", 9000, unique)
    return StoredJob(writer.new_key(), jobid, "/CN=a", "/cn=a", fold.blank(jobid, "/CN=a"))


class Changes(SynchronousTestCase):
    """Numbers of changes."""

    def setUp(self) -> None:
        """An empty store."""
        self.path = Path(self.mktemp())
        self._open()
        self.addCleanup(lambda: self._close())

    def _open(self) -> None:
        self.store = SQLiteStore(self.path)
        self.writer, self.reader = self.store.writer(), self.store.reader()

    def _close(self) -> None:
        self.reader.close()
        self.writer.close()
        self.store.close()

    def _order(self, after: int = 0, most: int = 10) -> list[int]:
        return [key for _, key in self.reader.changes(after, most)]

    def test_order(self) -> None:
        """Jobs come in the order of their last changes, behind any number, so many at once."""
        a, b, c = (job(self.writer, unique) for unique in "abc")
        begin = self.writer.last_change
        self.writer.write([a, b], [])
        middle = self.writer.last_change
        self.assertEqual(self._order(begin), [a.key, b.key])
        self.writer.write([c, a], [])
        self.assertEqual(self._order(), [b.key, c.key, a.key])
        self.assertEqual(self._order(most=2), [b.key, c.key])
        self.assertEqual(set(self._order(middle)), {a.key, c.key})
        self.assertEqual(self._order(self.writer.last_change), [])
        self.assertEqual(self.reader.changes(middle, 10)[-1][0], self.writer.last_change)

    def test_starts(self) -> None:
        """After a start numbers are greater than all before, also than those of jobs that are no longer there."""
        first = job(self.writer, "a")
        self.writer.write([first], [])
        last = self.writer.last_change
        self._close()
        self._open()
        self.assertGreater(self.writer.last_change, last)
        self.assertEqual(self._order(last), [])
        again = self.writer.load(["a"])["a"]
        self.writer.write([again], [])
        self.assertEqual(self._order(last), [first.key])

    def test_failed(self) -> None:
        """A transaction that fails has changed nothing."""
        a = job(self.writer, "a")
        self.writer.write([a], [])
        last = self.writer.last_change
        twin = job(self.writer, "a")
        self.assertRaises(Exception, self.writer.write, [twin], [])  # noqa: B017  # the database's own error
        self.assertEqual(self.writer.last_change, last)
        self.assertEqual(self._order(last), [])
