"""What the server's own options refuse."""

from __future__ import annotations

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from lb.server.options import Options


class Foreground(SynchronousTestCase):
    """The server under twistd."""

    def _parse(self, *arguments: str) -> None:
        options = Options()
        options.parent = ServerOptions()
        options.parent.subCommand = "lb"
        for argument in arguments:
            options.parent[argument] = 1
        options.parseOptions(["--state-dir", self.mktemp()])

    def test_no_daemon(self) -> None:
        """P2: twistd would fork when threads run and the database is open: neither lives on in the child."""
        self._parse("nodaemon")
        self._parse("debug")
        self.assertIn("--nodaemon", str(self.assertRaises(SystemExit, self._parse).code))
