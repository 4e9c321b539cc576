"""One server process, for tests that need no other."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.daemon import Daemon, free_port


class ServedTestCase(SynchronousTestCase):
    """A server runs on `port`, with its state in `state` and its certificates in `pki`."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.pki = self.state / "pki"
        self.port = free_port()
        self.server = Daemon("lb", self.state, "--port", str(self.port))
        self.addCleanup(self.server.kill)
        self.server.start()
