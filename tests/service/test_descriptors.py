"""What a daemon asks of the system for its connections and files."""

from __future__ import annotations

import resource

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lb.service.descriptors import RESERVE, provide

NEEDED = 1_000
WANTED = NEEDED + RESERVE
INFINITE = resource.RLIM_INFINITY


class Provided(SynchronousTestCase):
    """The soft limit that `provide` leaves, and what it logs."""

    def _provided(self, soft: int, hard: int) -> tuple[tuple[int, int], int]:
        limits = {resource.RLIMIT_NOFILE: (soft, hard)}
        logged: list[object] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        provide(NEEDED, limits.__getitem__, limits.__setitem__)
        return limits[resource.RLIMIT_NOFILE], len(logged)

    def test_limits(self) -> None:
        """P2, P10: the soft limit becomes what the bounds need and is never lowered; a lower hard limit is logged."""
        for soft, hard, left, logged in (
            (256, 100_000, WANTED, 0),
            (256, INFINITE, WANTED, 0),
            (WANTED - 1, WANTED, WANTED, 0),
            (WANTED, WANTED, WANTED, 0),
            (WANTED + 1, 100_000, WANTED + 1, 0),
            (INFINITE, INFINITE, INFINITE, 0),
            (256, WANTED - 1, WANTED - 1, 1),
            (256, 256, 256, 1),
        ):
            self.assertEqual(self._provided(soft, hard), ((left, hard), logged), (soft, hard))
