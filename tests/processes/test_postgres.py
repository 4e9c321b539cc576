"""A server on PostgreSQL from outside: whichever of the two is killed, what was answered is there, once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lb.model.errors import LBError
from tests.peers import postgres
from tests.processes import house, test_server
from tests.processes.daemon import Daemon, connect, free_port
from tests.store.on_postgres import fresh_schema, url

_SKIP = None if os.environ.get("CI") else postgres.absent


class Killed(test_server.Killed):
    """The server is killed, at instants of its choice."""

    skip = _SKIP

    rounds = 4

    def setUp(self) -> None:
        self.options = ("--database", url(fresh_schema()))
        super().setUp()


class Crashed(house.House):
    """Behind a logger, on a database server of its own."""

    skip = _SKIP

    def setUp(self) -> None:
        self.database = postgres.PostgreSQL()
        self.addCleanup(self.database.stop)
        self.server_options = ("--database", self.database.url)  # type: ignore[misc]
        super().setUp()

    def _crash(self) -> None:
        """Kill the database's process that serves our writer: all others end with it, and the log is recovered from."""
        pid = self.database.psql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
        os.kill(int(pid), signal.SIGKILL)

    def test_nothing_lost(self) -> None:
        """P2, P3: what the logger took is stored once and in its order, over crashes of the database and the server."""
        job = self.register()
        for number in range(4):
            first = number * 200
            with connect(self.logger_port, self.state / "pki") as connection:
                connection.sendall(b"".join(self.message(job, first + each) for each in range(200)))
                for count, code in enumerate(house.answers(connection), 1):
                    self.assertEqual(code, 0)
                    if count == 100:
                        self._crash() if number % 2 == 0 else self.server.kill()
                    if count == 200:
                        break
            if number % 2:
                self.server.start()
            self.assertEqual(self._arrived(job, first + 200), [f"wn{each}" for each in range(first + 200)])

    def _arrived(self, job: house.JobId, wanted: int) -> list[str]:
        """As `wait_for`; while the database recovers there is no answer to a question."""
        give_up = house.monotonic() + house.PATIENCE
        while True:
            try:
                return self.wait_for(job, wanted)
            except (LBError, AssertionError, OSError):
                if house.monotonic() > give_up:
                    raise


class Refused(SynchronousTestCase):
    """Databases that cannot be used."""

    def test_absent(self) -> None:
        """A server without its database does not start, and says which one it is, without the password."""
        state = Path(self.mktemp()).absolute()
        server = Daemon("lb", state, "--port", str(free_port()), "--database", "postgresql://u:geheim@localhost:1/x")
        self.addCleanup(server.kill)
        words = str(self.assertRaises(AssertionError, server.start))
        self.assertIn("--database: postgresql://u@localhost:1/x: ", words)
        self.assertNotIn("geheim", words)
