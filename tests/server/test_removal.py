"""Who asked to be told of a job is told that it is purged, in the transaction that removes it."""

from __future__ import annotations

import errno
import sqlite3
from unittest import mock

from lb.model.jobid import parse
from lb.model.query import Attribute, Flag
from lb.model.status import State
from lb.server.admin.removal import Known, Removal
from lb.server.notify.announcement import Announcement
from lb.server.renewal import renewal
from lb.state.job import VERSION
from lb.store.interface import StoreError
from lb.wire import il
from tests.notify.registrations import changed
from tests.notify.test_announcing import Registered
from tests.server.test_ingest import JOB, line, registration, running


class Told(Registered):
    """One job, and registrations of its owner."""

    def _remove(self) -> set[int]:
        removal = Removal(
            self.server.writer,
            self.server.ingest._cache,
            lambda: self.now,
            lambda: Announcement(self.registry, self.now, "salt"),
            renewal=renewal(),
        )
        ((key, unique),) = self.server.writer.after(0, 10)
        last = self.server.reader.finder.last_event(key)[0]
        return removal([Known(key, unique, last)])

    def test_purged(self) -> None:
        """state-machine.md §16.7: the new state is Purged; a registration for ends hears of no second one."""
        changes = self._register(1, changed(Attribute.STATUS))
        ends = self._register(2, flags=Flag.TERMINAL_STATES)
        for each in (registration(), running(1)):
            self.assertEqual(self.server.send(each), il.OK)
        self.assertEqual(len(self._remove()), 1)
        self.assertEqual(self._states(changes), ["Submitted", "Running", "Purged"])
        self.assertEqual(self._states(ends), ["Purged"])
        self.assertEqual(self._told(changes)[-1].jobId, JOB)
        self.server.send(registration(number=5))
        aborted = line("Abort", 'DG.ABORT.REASON="x" ', number=6)
        self.assertEqual(self.server.send(aborted), il.OK)
        self._remove()
        self.assertEqual(self._states(ends), ["Purged", "Aborted"])

    def test_states_of_older_rules(self) -> None:
        """P9: of a job that older rules left, the present state is told as it is purged."""
        told = self._register(1, changed(Attribute.STATUS))
        self.server.send_all([registration(), running(1, "wn1")])
        with sqlite3.connect(self.directory / "lb.sqlite") as database:
            ((made,),) = database.execute("SELECT status FROM jobs").fetchall()
            old = made.replace(b'"version":%d,' % VERSION, b"").replace(b'"ce_node":"wn1"', b'"ce_node":"as then"')
            self.assertEqual(old.count(b"as then"), 1)
            database.execute("UPDATE jobs SET status = ?", (old,))
        database.close()
        self.assertEqual(len(self._remove()), 1)
        purged = self._told(told)[-1]
        self.assertEqual((purged.state, purged.ce_node), (State.Purged, "wn1"))

    def test_trouble(self) -> None:
        """P2: when the removal cannot be stored nobody is told of it, and the job is there."""
        told = self._register(1, changed(Attribute.STATUS))
        self.server.send(registration())
        full = StoreError(errno.ENOSPC, "database: disk full")
        with mock.patch.object(self.server.writer.purge, "remove", side_effect=full):
            self.assertRaises(StoreError, self._remove)
        self.assertEqual(self._states(told), ["Submitted"])
        self.assertIsNotNone(self.server.reader.job(parse(JOB).unique))
