"""Where state is kept."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.security.state_directory import state_directory


class StateDirectoryTests(SynchronousTestCase):
    """The search order, which daemons and clients share."""

    def test_order(self) -> None:
        """The environment, then the customary places of root and of others."""
        home = Path("/home/x")
        self.assertEqual(state_directory({"LB_STATE_DIR": "/s"}, home, 0), Path("/s"))
        self.assertEqual(state_directory({"LB_STATE_DIR": ""}, home, 0), Path("/var/lib/lb"))
        self.assertEqual(state_directory({}, home, 5), home / ".local/state/lb")
