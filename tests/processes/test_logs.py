"""What running daemons write into their logs."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.processes.daemon import Daemon, connect, free_port


class Logs(SynchronousTestCase):
    """A logger that refuses something and stops."""

    def _lines(self, *options: str) -> list[str]:
        state = Path(self.mktemp()).absolute()
        port = free_port()
        daemon = Daemon("lb-logger", state, "--port", str(port), *options, level="info")
        self.addCleanup(daemon.kill)
        daemon.start()
        connection = connect(port, state / "pki")
        connection.sendall(b"no message")
        while connection.recv(100):
            """Until it closes."""
        connection.close()
        daemon.stop()
        return [line for line in daemon.log.read_text().splitlines() if "ProducerPort" in line]

    def test_text(self) -> None:
        """A line has time, room, level and message."""
        (line,) = self._lines()
        self.assertRegex(
            line,
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[lb\.logger\.receiver\.ProducerPort#info\] "
            r"connection from /\S.* at 127\.0\.0\.1:\d+ closed: message does not begin with DGLOG$",
        )

    def test_json(self) -> None:
        """On request a line is an object with them and the values in the message."""
        (line,) = self._lines("--log-format", "json")
        event = json.loads(line)
        self.assertEqual(set(event), {"time", "level", "room", "message", "values"})
        self.assertEqual(event["values"]["reason"], "message does not begin with DGLOG")
        self.assertTrue(event["message"].startswith("connection from /"))
