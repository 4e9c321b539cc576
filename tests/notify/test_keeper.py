"""Registrations of the site: made once, kept valid, changed and dropped as the configuration says."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from lb.model.query import Attribute, Flag
from lb.security.policy import Policy
from lb.server.notify.keeper import Keeper, Site, check
from lb.server.notify.registry import Registry
from lb.store.sqlite import SQLiteStore
from tests.notify.registrations import ALICE, JOBS, equal, registration

OWNER = "/CN=lb.example"
ENDS = Site("ends", "h:1", (equal(Attribute.STATUS, 7),), Flag.TERMINAL_STATES)


class Keeping(SynchronousTestCase):
    """A registry."""

    def setUp(self) -> None:
        self.now = 1_800_000_000
        store = SQLiteStore(Path(self.mktemp()))
        self.addCleanup(store.close)
        self.registry = Registry(store.writer(), Policy.open, lambda: float(self.now), "salt", self)
        self.dropped: list[int] = []

    def wake(self, numbers: Collection[int]) -> None: ...

    def gone(self, numbers: Collection[int]) -> None:
        self.dropped += numbers

    def _keep(self, *sites: Site) -> int:
        """How many registrations were touched."""
        return len(Keeper(self.registry, sites, OWNER, "lb.example:9000", lambda: float(self.now), 1_000)())

    def test_made_and_kept(self) -> None:
        """A registration is made once and extended when half of its time is over."""
        self.assertEqual([self._keep(ENDS), self._keep(ENDS)], [1, 0])
        (made,) = self.registry.all()
        self.assertEqual(str(made.id), "https://lb.example:9000/NOTIF:site-ends")
        self.assertEqual((made.owner, made.destination, made.flags), (OWNER, "h:1", Flag.TERMINAL_STATES))
        self.now += 499
        self.assertEqual(self._keep(ENDS), 0)
        self.now += 1
        self.assertEqual(self._keep(ENDS), 1)
        (kept,) = self.registry.all()
        self.assertEqual((kept.number, kept.valid), (made.number, self.now + 1_000))

    def test_changed(self) -> None:
        """Other conditions, another destination: the same registration, so that what waits goes on."""
        self._keep(ENDS)
        (made,) = self.registry.all()
        self.assertEqual(self._keep(ENDS._replace(destination="h:2", groups=(equal(Attribute.JOBID, JOBS[0]),))), 1)
        (changed,) = self.registry.all()
        self.assertEqual((changed.number, changed.destination, changed.jobs), (made.number, "h:2", (JOBS[0],)))

    def test_no_longer_listed(self) -> None:
        """What is no longer configured is dropped; registrations of others are left alone, whatever their ids."""
        foreign = self.registry.add(registration(1, owner=ALICE, valid=self.now + 9))
        self._keep(ENDS, Site("all", "h:3"))
        self.assertEqual(self._keep(ENDS), 0)
        self.assertEqual(len(self.dropped), 1)
        self.assertIn(foreign, self.registry.all())
        self._keep()
        self.assertEqual(self.registry.all(), [foreign])

    def test_mistakes(self) -> None:
        """Names that make no id, and names given twice, are refused."""
        for sites in ([Site("a b", "h:1")], [Site("", "h:1")], [Site("x" * 28, "h:1")], [ENDS, ENDS]):
            self.assertRaises(LBError, check, sites)
        check([ENDS, Site("x" * 27, "h:1")])
